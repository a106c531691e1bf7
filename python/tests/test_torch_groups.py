"""Groups of some ranks over tutti: new_group, splits, meshes, what a group says of itself, and memory that it allocates."""
import threading
from datetime import timedelta

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh


def sum_of_ranks(rank, group):
    """An all-reduce over the group, compared with what its members make."""
    tensor = torch.full((3,), float(rank.rank))
    dist.all_reduce(tensor, group=group)
    rank.same(tensor, torch.full((3,), float(sum(dist.get_process_group_ranks(group)))))


def subsets(rank):
    """Every set of ranks that has this one, each made by all ranks of the world, as torch has it."""
    for members in range(1, 2**rank.size):
        ranks = [other for other in rank.ranks if members >> other & 1]
        group = dist.new_group(ranks)
        if rank.rank not in ranks:
            assert group is dist.GroupMember.NON_GROUP_MEMBER
            continue
        assert dist.get_process_group_ranks(group) == ranks
        assert dist.get_rank(group) == ranks.index(rank.rank) and dist.get_world_size(group) == len(ranks)
        sum_of_ranks(rank, group)
        dist.barrier(group=group)
        dist.destroy_process_group(group)


def test_subsets(world):
    world.run(subsets)


def members_only(rank):
    """use_local_synchronization: only members call new_group, here each rank in groups with each of its neighbours.

    Torch 2.14 names groups by counting at each rank, so one of them has other names on different ranks.  Each rank is in
    two of them, so that the counts agree again afterwards.
    """
    for first in range(rank.size):
        pair = sorted([first, (first + 1) % rank.size])
        if rank.rank in pair:
            group = dist.new_group(pair, use_local_synchronization=True)
            sum_of_ranks(rank, group)
            dist.destroy_process_group(group)


def test_members_only(world):
    world.run(members_only)


def alike(rank):
    """Several groups of the same ranks at a time, whose calls do not mix."""
    groups = [dist.new_group() for _ in range(5)]
    tensors = [torch.full((1000,), float(number + rank.rank)) for number in range(5)]
    works = [dist.all_reduce(tensors[number], group=groups[number], async_op=True) for number in range(5)]
    order = reversed(range(5)) if rank.rank else range(5)  # each rank ends them in its own order
    for number in order:
        works[number].wait()
        rank.same(tensors[number], torch.full((1000,), float(sum(rank.ranks) + number * rank.size)))
    for group in groups:
        dist.destroy_process_group(group)


def test_alike(world):
    world.run(alike)


def subgroups(rank):
    group, groups = dist.new_subgroups_by_enumeration([[other] for other in rank.ranks])
    assert len(groups) == rank.size
    sum_of_ranks(rank, group)
    dist.destroy_process_group(group)
    if rank.size % 2 == 0:
        group, _ = dist.new_subgroups(2)
        sum_of_ranks(rank, group)
        dist.destroy_process_group(group)


def test_subgroups(world):
    world.run(subgroups)


def split(rank):
    """By the group's own method: dist.split_group() is for accelerators."""
    world = dist.group.WORLD
    assert world._get_backend(torch.device("cpu")).supports_splitting
    ranks = [other for other in rank.ranks if other % 2 == rank.rank % 2]
    group = world.split_group(ranks, timeout=timedelta(seconds=30), group_name=f"split {rank.rank % 2}", group_desc="even and odd")
    assert group.rank() == ranks.index(rank.rank) and group.size() == len(ranks)
    tensor = torch.full((3,), float(rank.rank))
    group.allreduce([tensor]).wait()
    rank.same(tensor, torch.full((3,), float(sum(ranks))))
    group.shutdown()


def test_split(world):
    world.run(split)


def mesh(rank, rows):
    """Every dimension of a mesh is a group."""
    mesh = init_device_mesh("cpu", (rows, rank.size // rows), mesh_dim_names=("rows", "columns"))
    for name in ("rows", "columns"):
        group = mesh[name].get_group()
        sum_of_ranks(rank, group)
        if group is not dist.group.WORLD:
            dist.destroy_process_group(group)


@pytest.mark.parametrize("rows", [1, pytest.param(2, marks=pytest.mark.long)])
def test_mesh(world, rows):
    if world.size % rows == 0:
        world.run(mesh, rows)


def said_of_a_group(rank):
    assert dist.get_backend() == rank.backend
    assert dist.get_backend_config() == f"cpu:{rank.backend}"
    backend = dist.group.WORLD._get_backend(torch.device("cpu"))
    assert backend.name() == rank.backend and backend.rank() == rank.rank and backend.size() == rank.size
    group = dist.new_group(group_desc="seventeen")
    assert group.group_desc == "seventeen"
    dist.destroy_process_group(group)


def test_said_of_a_group(world):
    world.run(said_of_a_group)


def settings(rank):
    """tutti.torch.Options: settings of Tutti for one group, and its statistics."""
    import tutti.torch

    group = dist.new_group(pg_options=tutti.torch.Options(["TUTTI_ALGORITHM=ring"]))
    tensor = torch.ones(100_000)
    dist.all_reduce(tensor, group=group)
    rank.same(tensor, torch.full((100_000,), float(rank.size)))
    told = tutti.torch.statistics(group)
    assert told["last_algorithm"] == "ring" and told["input_bytes"] == 400_000 and told["sent_bytes"] > 0, told
    assert tutti.torch.backend_of(group).rank() == rank.rank and tutti.torch.backend_of(rank.gloo) is None
    dist.destroy_process_group(group)
    with pytest.raises(ValueError, match="not one over tutti"):
        tutti.torch.statistics(rank.gloo)


def test_settings(world):
    world.run(settings)


def allocated(rank):
    """Tensors of the backend's memory, used by calls, by another group, and after the group that made them is gone."""
    group = dist.new_group()
    backend = group._get_backend(torch.device("cpu"))
    assert backend.supports_tensor_alloc(torch.device("cpu"))
    tensor = backend.allocate_tensor(100_000, dtype=torch.float32, device=torch.device("cpu"))
    assert tensor.shape == (100_000,) and tensor.dtype == torch.float32
    small = backend.allocate_tensor(0, dtype=torch.int64, device=torch.device("cpu"))
    assert small.numel() == 0
    for user in (group, None):
        tensor.fill_(1.0 + rank.rank)
        dist.all_reduce(tensor, group=user)
        rank.same(tensor, torch.full((100_000,), float(sum(rank.ranks) + rank.size)))
    dist.destroy_process_group(group)
    tensor += 1
    dist.all_reduce(tensor)
    rank.same(tensor, torch.full((100_000,), rank.size * float(sum(rank.ranks) + rank.size + 1)))


def test_allocated(world):
    world.run(allocated)


def two_threads(rank):
    """Each has a group of its own, and they are not in step."""
    groups = [dist.new_group() for _ in range(2)]
    failures = []

    def use(number):
        try:
            for turn in range(200):
                tensor = torch.full((1 + turn * 10,), float(rank.rank + number))
                work = dist.all_reduce(tensor, group=groups[number], async_op=turn % 3 == 0)
                if work is not None:
                    work.wait()
                rank.same(tensor, torch.full((1 + turn * 10,), float(sum(rank.ranks) + number * rank.size)))
        except BaseException as error:  # told where the test can see it
            failures.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    for group in groups:
        dist.destroy_process_group(group)


def test_two_threads(world):
    world.run(two_threads)


def hundred_at_once(rank):
    """Works of all of them are under way together."""
    groups = [dist.new_group() for _ in range(100)]
    tensors = [torch.full((10,), float(number)) for number in range(100)]
    works = [dist.all_reduce(tensor, group=group, async_op=True) for tensor, group in zip(tensors, groups)]
    for number, work in enumerate(works):
        work.wait()
        rank.same(tensors[number], torch.full((10,), float(number * rank.size)))
    for group in groups:
        dist.destroy_process_group(group)


def test_hundred_at_once(world):
    world.run(hundred_at_once)
