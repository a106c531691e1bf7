"""How process groups over tutti end: with a rank that is killed, many times over, in a child; and what they leave behind."""
import gc
import os
import signal
import time
from datetime import timedelta

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from torch_world import World, backend_in_python


@pytest.fixture
def unjoined():
    """Makes worlds whose ranks have no process group yet; they are closed after the test."""
    worlds = []

    def make(size):
        worlds.append(World(size, joined=False))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


def join_again(rank, size, name):
    dist.init_process_group(rank.backend, store=dist.PrefixStore(name, rank.store), rank=rank.rank, world_size=size,
                            timeout=timedelta(seconds=60))


def train_until_killed(rank, victim):
    """Trains with two DataLoader workers, children of this rank that hold copies of its descriptors."""
    rank.join()
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Linear(64, 64))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loader = DataLoader(TensorDataset(torch.randn(4000, 64)), batch_size=4, num_workers=2, multiprocessing_context="fork")
    try:
        for step, (batch,) in enumerate(loader):
            loss = model(batch).square().sum()
            if rank.rank == victim and step == 20:
                rank.store.set("death", str(time.monotonic()))
                os.kill(os.getpid(), signal.SIGKILL)
            loss.backward()
            optimizer.step()
    except RuntimeError as error:  # of which DistNetworkError is one; a future of Python's has its text only
        assert type(error) is dist.DistNetworkError or (backend_in_python() and "DistNetworkError" in str(error)), error
        seconds = time.monotonic() - float(rank.store.get("death"))
        assert step == 20 and f"rank {victim}" in str(error), f"step {step}: {error}"
    else:
        raise AssertionError("training went on to its end")
    dist.destroy_process_group()

    # Those who are left go on by themselves, in new ranks.
    rank.rank, left = rank.rank - (rank.rank > victim), rank.size - 1
    join_again(rank, left, "left")
    tensor = torch.ones(2)
    dist.all_reduce(tensor)
    rank.same(tensor, torch.full((2,), float(left)))
    dist.destroy_process_group()
    return seconds


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_rank_is_killed_in_training(unjoined, victim):
    world = unjoined(3)
    world.start(train_until_killed, victim)
    seconds = [told for told in world.finish(dead=[victim]) if told is not None]
    print(f"known to the other ranks after {', '.join(f'{told:.3f} s' for told in seconds)}")
    assert len(seconds) == 2 and max(seconds) < 30  # 2 s on a machine that has time for it


def resources():
    """Open descriptors, threads, mappings, and KiB of memory of this process; and what lies in /dev/shm."""
    gc.collect()
    with open("/proc/self/maps") as maps, open("/proc/self/statm") as pages:
        mappings, resident = len(maps.readlines()), int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    return {"descriptors": len(os.listdir("/proc/self/fd")), "threads": len(os.listdir("/proc/self/task")), "mappings": mappings,
            "resident": resident, "shm": len([name for name in os.listdir("/dev/shm") if "tutti" in name])}


def come_and_go(rank, whole):
    """A group that is used in every way and destroyed, 10 times to warm up and then 100 times."""
    if not whole:
        rank.join()
    for turn in range(110):
        if whole:
            join_again(rank, rank.size, f"turn {turn}")
            group = dist.group.WORLD
        else:
            group = dist.new_group()
        tensor = torch.ones(1000)
        dist.all_reduce(tensor, group=group)
        work = dist.all_reduce(tensor, group=group, async_op=True)
        work.get_future().wait()
        rank.same(tensor, torch.full((1000,), float(rank.size**2)))
        dist.destroy_process_group(group)
        del group, work
        if turn == 9:
            before = resources()
    after = resources()
    growth = {name: after[name] - before[name] for name in before}
    assert growth["descriptors"] <= 0 and growth["shm"] <= 0, growth
    assert growth["threads"] <= 8, growth  # the backend keeps that many, which complete futures
    assert growth["mappings"] < 20 and growth["resident"] < 8192, growth
    return growth


@pytest.mark.parametrize("whole", [True, False], ids=["world", "subgroup"])
def test_come_and_go(unjoined, whole):
    print(unjoined(2).run(come_and_go, whole))


def child(rank):
    """A child of a rank cannot use the group, is told so, and leaves it as it is for its parent."""
    rank.join()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            dist.all_reduce(torch.ones(1))
            text = "it could be used"
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        text = told.read()
    assert os.waitpid(pid, 0)[1] == 0
    assert (text.startswith("ValueError: ") and "fork" in text) or (backend_in_python() and "DistBackendError" in text), text
    tensor = torch.ones(1)
    dist.all_reduce(tensor)
    assert tensor.item() == rank.size
    dist.destroy_process_group()


def test_child(unjoined):
    unjoined(2).run(child)


def leave(rank, first):
    """One rank destroys the group and goes while the others still use groups of their own."""
    rank.join()
    others = dist.new_group([other for other in rank.ranks if other != first])
    if rank.rank == first:
        dist.destroy_process_group()
        rank.store.set("left", "")
        return
    rank.store.get("left")
    for _ in range(50):
        tensor = torch.ones(1000)
        dist.all_reduce(tensor, group=others)
        rank.same(tensor, torch.full((1000,), rank.size - 1.0))
    dist.destroy_process_group()


@pytest.mark.parametrize("first", [0, 2])
def test_leave(unjoined, first):
    unjoined(3).run(leave, first)


def destroyed_under_way(rank):
    """A group is destroyed while a work of it waits for a rank that does not come."""
    rank.join()
    group = dist.new_group()
    work = dist.irecv(torch.ones(1), src=(rank.rank + 1) % rank.size, group=group)
    dist.destroy_process_group(group)
    with pytest.raises(dist.DistBackendError, match="destroyed|abort"):
        work.wait()
    tensor = torch.ones(1)
    dist.all_reduce(tensor)
    assert tensor.item() == rank.size
    dist.destroy_process_group()


def test_destroyed_under_way(unjoined):
    unjoined(2).run(destroyed_under_way)


def checked_by_torch(rank):
    """TORCH_DISTRIBUTED_DEBUG=DETAIL wraps the backend; torch then compares the calls of the ranks itself."""
    os.environ["TORCH_DISTRIBUTED_DEBUG"] = "DETAIL"
    dist.set_debug_level_from_env()
    rank.join()
    tensor = torch.ones(3)
    dist.all_reduce(tensor)
    rank.same(tensor, torch.full((3,), float(rank.size)))
    outputs = [torch.empty(1) for _ in rank.ranks]
    dist.all_gather(outputs, torch.full((1,), float(rank.rank)))
    rank.same(torch.cat(outputs), torch.arange(float(rank.size)))
    model = DistributedDataParallel(torch.nn.Linear(3, 3))
    model(torch.ones(1, 3)).sum().backward()
    with pytest.raises(RuntimeError, match="Detected mismatch between collectives on ranks"):
        dist.all_reduce(torch.ones(3 + rank.rank))
    dist.destroy_process_group()


def test_checked_by_torch(unjoined):
    unjoined(2).run(checked_by_torch)


def for_a_device(rank, backend):
    dist.init_process_group(backend, store=rank.store, rank=rank.rank, world_size=rank.size)
    tensor = torch.ones(3)
    dist.all_reduce(tensor)
    rank.same(tensor, torch.full((3,), float(rank.size)))
    objects = [None] * rank.size
    dist.all_gather_object(objects, {"rank": rank.rank})
    assert objects == [{"rank": other} for other in rank.ranks]
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.parametrize("backend", ["cpu:{}", "cpu:{},cuda:gloo"])
def test_for_a_device(unjoined, backend):
    world = unjoined(2)
    world.run(for_a_device, backend.format(world.backend))
