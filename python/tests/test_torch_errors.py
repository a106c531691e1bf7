"""What tutti raises: torch's class for each kind of failure, with the sentence that says who and what; and what stays usable."""
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
import torch.distributed as dist

from torch_cases import name_of
from torch_world import World


def usable(rank, group=None):
    tensor = torch.ones(3)
    dist.all_reduce(tensor, group=group)
    rank.same(tensor, torch.full((3,), float(dist.get_world_size(group))))


def raises(error, call, *words):
    """Calls it; the exception is of this very class, and its text holds the words."""
    try:
        call()
    except Exception as raised:
        assert type(raised) is error, f"{type(raised).__name__} instead of {error.__name__}: {raised}"
        missing = [word for word in words if word not in str(raised)]
        assert not missing, f"not in the text: {missing}; the text: {raised}"
        return str(raised)
    raise AssertionError(f"nothing was raised instead of {error.__name__}")


def wrong_arguments(rank):
    """Each is found at every rank before anything has started: the same group goes on."""
    size, me = rank.size, rank.rank
    wrong = {
        "too few outputs": (lambda: dist.all_gather([torch.ones(2)] * (size + 1), torch.ones(2)), "tensors"),
        "output too small": (lambda: dist.all_gather_single(torch.ones(2 * size - 1), torch.ones(2)), "elements"),
        "other types": (lambda: dist.group.WORLD.allgather([[torch.ones(2).int()] * size], [torch.ones(2)]), "Int", "Float"),
        "input too small": (lambda: dist.reduce_scatter_single(torch.ones(2), torch.ones(2 * size + 1)), "elements"),
        "rows that cannot be shared": (lambda: dist.all_to_all_single(torch.ones(size + 1), torch.ones(size + 1)), "split"),
        "splits that make too much": (
            lambda: dist.all_to_all_single(torch.ones(size), torch.ones(size), [2] * size, [1] * size), "split", "rows"),
        "negative split": (
            lambda: dist.all_to_all_single(torch.ones(size), torch.ones(size), [1] * size, [-1] + [1] * (size - 1)), "split"),
        "several tensors": (lambda: dist.group.WORLD.allreduce([torch.ones(2), torch.ones(2)]), "one tensor"),
        "expanded output": (lambda: dist.all_reduce(torch.ones(1).expand(4)), "expanded"),
        "negative tag": (lambda: dist.isend(torch.ones(2), dst=(me + 1) % size, tag=-1), "tag"),
    }
    for what, (call, *words) in wrong.items():
        try:
            raises(ValueError, call, *words)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from None
        usable(rank)


def test_wrong_arguments(world):
    world.run(wrong_arguments)


def unsupported(rank):
    bits, most = dist.ReduceOp.BAND, dist.ReduceOp.MAX
    cases = [(torch.float32, bits), (torch.float16, bits), (torch.complex64, most), (torch.float8_e4m3fn, dist.ReduceOp.SUM)]
    for dtype, operator in cases:
        tensor = torch.ones(4).to(dtype)
        raises(NotImplementedError, lambda: dist.reduce(tensor, dst=0, op=operator))
        rank.same(tensor.float() if dtype == torch.float8_e4m3fn else tensor.real.float(), torch.ones(4), name_of(dtype))
        usable(rank)
    sparse = torch.sparse_coo_tensor([[0]], [1.0], (4,))
    raises(NotImplementedError, lambda: dist.all_reduce(sparse, op=most))
    usable(rank)


def test_unsupported(world):
    world.run(unsupported)


def mismatch(rank):
    """Each on a group of its own, since it ends the group; all at once, since it takes a while to be told."""
    first = rank.rank == 0
    calls = [
        lambda **options: dist.all_reduce(torch.ones(3 if first else 4), **options),
        lambda **options: dist.all_reduce(torch.ones(4).to(torch.float64 if first else torch.float32), **options),
        lambda **options: dist.all_reduce(torch.ones(4), op=dist.ReduceOp.MAX if first else dist.ReduceOp.SUM, **options),
        lambda **options: (dist.barrier if first else dist.all_reduce)(*([] if first else [torch.ones(4)]), **options),
    ]
    groups = [dist.new_group() for _ in calls]
    with ThreadPoolExecutor(len(calls)) as threads:
        works = [threads.submit(call, group=group) for call, group in zip(calls, groups)]
    for group, work in zip(groups, works):
        sentence = raises(dist.DistBackendError, work.result, "rank 0", "different")
        again = raises(dist.DistBackendError, lambda: dist.all_reduce(torch.ones(4), group=group))
        assert again in sentence or sentence in again, (sentence, again)
        dist.destroy_process_group(group)
    usable(rank)


def test_mismatch(world):
    world.run(mismatch)


def truncated(rank):
    """A message longer than the tensor it is received into."""
    group = dist.new_group()
    if rank.rank == 0:
        dist.isend(torch.ones(10), dst=1, group=group)
    if rank.rank == 1:
        raises(dist.DistBackendError, lambda: dist.recv(torch.ones(3), src=0, group=group), "rank 0", "10")
    dist.barrier(group=rank.gloo)
    dist.destroy_process_group(group)
    usable(rank)


def test_truncated(world):
    world.run(truncated)


def timeout(rank, asynchronous):
    """The last rank stays away; the sentence names it, and holds the word that programs look for."""
    group = dist.new_group(timeout=timedelta(seconds=1))
    started = time.monotonic()
    if rank.rank != rank.size - 1:
        work = []

        def call():
            work.append(dist.all_reduce(torch.ones(4), group=group, async_op=asynchronous))
            work[0].wait()

        raises(dist.DistBackendError, call, " timeout ", f"rank {rank.size - 1}")
        assert 0.9 < time.monotonic() - started < 30
        if asynchronous:
            assert work[0].is_completed() and not work[0].is_success()
            raises(dist.DistBackendError, lambda: work[0].get_future().wait(), " timeout ")
    dist.barrier(group=rank.gloo)
    dist.destroy_process_group(group)
    usable(rank)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["blocking", "asynchronous"])
def test_timeout(world, asynchronous):
    world.run(timeout, asynchronous)


def timeout_of_a_wait(rank):
    """Work.wait(timeout) gives up waiting; the call goes on and can be waited for again."""
    group = dist.new_group()
    tensor = torch.ones(4)
    if rank.rank != 0:
        work = dist.all_reduce(tensor, group=group, async_op=True)
        raises(dist.DistBackendError, lambda: work.wait(timedelta(milliseconds=50)), " timeout ")
    dist.barrier(group=rank.gloo)
    if rank.rank == 0:
        work = dist.all_reduce(tensor, group=group, async_op=True)
    assert work.wait() is True
    rank.same(tensor, torch.full((4,), float(rank.size)))
    dist.destroy_process_group(group)


def test_timeout_of_a_wait(world):
    world.run(timeout_of_a_wait)


def set_timeout(rank):
    """Of a group that exists."""
    group = dist.new_group()
    group.set_timeout(timedelta(seconds=1))
    if rank.rank == 0:
        raises(dist.DistBackendError, lambda: dist.recv(torch.ones(1), src=1, group=group), " timeout ", "rank 1")
    dist.barrier(group=rank.gloo)
    dist.destroy_process_group(group)


def test_set_timeout(world):
    world.run(set_timeout)


def aborted(rank):
    """One rank aborts the group, from another thread than the one that waits in a call; all hear who did."""
    group = dist.new_group()
    aborting = rank.rank == rank.size - 1
    thread = threading.Timer(0.2, group.abort)
    if aborting:
        thread.start()
    raises(dist.DistBackendError, lambda: dist.recv(torch.ones(1), src=(rank.rank + 1) % rank.size, group=group),
           "abort", f"rank {rank.size - 1}")
    if aborting:
        thread.join()
    dist.barrier(group=rank.gloo)
    dist.destroy_process_group(group)
    usable(rank)


def test_aborted(world):
    world.run(aborted)


def two_threads_and_abort(rank):
    """Collectives from two threads on two groups; a third aborts one of them, and the other goes on."""
    groups = [dist.new_group() for _ in range(2)]
    turns, ends = [0, 0], [None, None]

    def use(number):
        try:
            while number == 0 or turns[1] < 200:
                tensor = torch.ones(1000)
                dist.all_reduce(tensor, group=groups[number])
                rank.same(tensor, torch.full((1000,), float(rank.size)))
                turns[number] += 1
        except Exception as error:
            ends[number] = error

    threads = [threading.Thread(target=use, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    if rank.rank == 0:
        while turns[0] < 20:
            time.sleep(0.001)
        groups[0].abort()
    for thread in threads:
        thread.join()
    assert isinstance(ends[0], dist.DistBackendError) and "rank 0" in str(ends[0]), ends[0]
    assert ends[1] is None and turns[1] == 200, (ends[1], turns)
    for group in groups:
        dist.destroy_process_group(group)


def test_two_threads_and_abort(world):
    world.run(two_threads_and_abort)


def unreachable(rank):
    """A rank does not come to a new group."""
    rank.join()
    if rank.rank != 0:
        timeout = timedelta(seconds=2)
        raises(dist.DistNetworkError, lambda: dist.new_group(use_local_synchronization=True, timeout=timeout), "rank 0")
    dist.barrier(group=rank.gloo)
    usable(rank)


def test_unreachable():
    world = World(3, joined=False)
    world.run(unreachable)
    world.close()


def used_after_its_end(rank):
    group = dist.new_group()
    kept = group._get_backend(torch.device("cpu"))
    dist.destroy_process_group(group)
    raises(dist.DistBackendError, lambda: kept.allreduce([torch.ones(1)]), "destroyed")
    usable(rank)


def test_used_after_its_end(world):
    world.run(used_after_its_end)
