"""Every collective of torch.distributed that moves tensors as they are × type over tutti, against Gloo's answer."""
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
import torch.distributed as dist

from torch_cases import MOVABLE, SHAPES, check, name_of


def broadcast(case):
    tensors = [case.tensor(shape) for _ in case.ranks for shape in SHAPES]
    for position, tensor in enumerate(tensors):
        case.call(dist.broadcast, tensor, src=position // len(SHAPES))
    return tensors


def all_gather(case):
    results = []
    for shape in SHAPES:
        outputs = [case.empty(shape) for _ in case.ranks]
        case.call(dist.all_gather, outputs, case.tensor(shape))
        results += outputs
    return results


def all_gather_uneven(case):
    """Ranks give 0, 3, 6 … elements.  Gloo is asked for a broadcast of each."""
    parts = [case.tensor((3, rank)) for rank in case.ranks]
    if case.gloo:
        for root, part in enumerate(parts):
            case.call(dist.broadcast, part, src=root)
        return parts
    outputs = [case.empty((3, rank)) for rank in case.ranks]
    case.call(dist.all_gather, outputs, parts[case.me])
    return outputs


def all_gather_in_place(case):
    """The input is this rank's part of the output, as FSDP has it."""
    mine = case.tensor((5,))
    if case.gloo:
        outputs = [case.empty((5,)) for _ in case.ranks]
        case.call(dist.all_gather, outputs, mine)
        return outputs + outputs
    whole, outputs = case.empty((5 * case.size,)).contiguous(), [case.empty((5,)) for _ in case.ranks]
    whole.chunk(case.size)[case.me].copy_(mine)
    outputs[case.me].copy_(mine)
    case.call(dist.all_gather_single, whole, whole.chunk(case.size)[case.me])
    case.call(dist.all_gather, outputs, outputs[case.me])
    return [*whole.chunk(case.size), *outputs]


def all_gather_single(case):
    """The output is a concatenation, then a stack of the ranks' inputs."""
    joined, part = case.empty((3 * case.size, 2)), case.tensor((3, 2))
    stacked, row = case.empty((case.size, 5)), case.tensor((5,))
    nothing = case.empty((0,))
    case.call(dist.all_gather_single, joined, part)
    case.call(dist.all_gather_single, stacked.view(-1) if case.gloo else stacked, row)
    case.call(dist.all_gather_single, nothing, case.tensor((0,)))
    return [joined, stacked, nothing]


def all_gather_manager(case):
    outputs = [case.empty((case.size * n, 2)) for n in (1, 4, 0)]
    inputs = [case.tensor((n, 2)) for n in (1, 4, 0)]
    with dist.distributed_c10d._coalescing_manager(group=case.group, async_ops=case.mode != "blocking") as manager:
        for output, tensor in zip(outputs, inputs):
            dist.all_gather_single(output, tensor, group=case.group)
    if case.mode != "blocking":
        manager.wait()
    return outputs


def all_gather_coalesced(case):
    inputs = [case.tensor(shape) for shape in SHAPES]
    outputs = [[case.empty(shape) for shape in SHAPES] for _ in case.ranks]
    case.call(dist.all_gather_coalesced, outputs, inputs)
    return [output for outputs_of_rank in outputs for output in outputs_of_rank]


def gather(case):
    """To each rank in turn.  Gloo has no complex types here, and is asked for an all-gather."""
    results = []
    for root in case.ranks:
        for shape in SHAPES:
            tensor, outputs = case.tensor(shape), [case.empty(shape) for _ in case.ranks]
            if case.gloo:
                case.call(dist.all_gather, outputs, tensor)
            else:
                case.call(dist.gather, tensor, outputs if case.me == root else None, dst=root)
            results += outputs if case.me == root else []
    return results


def scatter(case):
    results = []
    for root in case.ranks:
        for shape in SHAPES:
            output, inputs = case.empty(shape), [case.tensor(shape) for _ in case.ranks]
            case.call(dist.scatter, output, inputs if case.me == root else None, src=root)
            results.append(output)
    return results


def all_to_all(case):
    results = []
    for shape in SHAPES:
        outputs, inputs = [case.empty(shape) for _ in case.ranks], [case.tensor(shape) for _ in case.ranks]
        case.call(dist.all_to_all, outputs, inputs)
        results += outputs
    return results


def splits(case):
    """Rank i has i + 2j elements or rows for rank j, so rank 0 none for itself."""
    return [case.me + 2 * other for other in case.ranks], [other + 2 * case.me for other in case.ranks]


def all_to_all_uneven(case):
    """Gloo is asked for the form with one tensor."""
    sent, received = splits(case)
    inputs, outputs = [case.tensor((n,)) for n in sent], [case.empty((n,)) for n in received]
    if case.gloo:
        output = torch.cat(outputs)
        case.call(dist.all_to_all_single, output, torch.cat(inputs), received, sent)
        return list(output.split(received))
    case.call(dist.all_to_all, outputs, inputs)
    return outputs


def all_to_all_single(case):
    results = []
    for shape in [(2 * case.size,), (case.size, 3), (0, 2)]:
        output = case.empty(shape)
        case.call(dist.all_to_all_single, output, case.tensor(shape))
        results.append(output)
    return results


def all_to_all_splits(case):
    sent, received = splits(case)
    output = case.empty((sum(received), 3))
    case.call(dist.all_to_all_single, output, case.tensor((sum(sent), 3)), received, sent)
    return [output]


OPERATIONS = [broadcast, all_gather, all_gather_uneven, all_gather_in_place, all_gather_single, all_gather_manager,
              all_gather_coalesced,
              gather, scatter, all_to_all, all_to_all_uneven, all_to_all_single, all_to_all_splits]


@pytest.mark.filterwarnings("ignore:.*all_gather_coalesced:FutureWarning")
@pytest.mark.parametrize("dtype", MOVABLE, ids=name_of)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_move(world, operation, dtype):
    world.run(check, operation, dtype)


def expanded(rank):
    """Inputs whose elements are one place of memory."""
    tensor = torch.full((1,), float(rank.rank)).expand(4)
    output = torch.empty(4 * rank.size)
    dist.all_gather_single(output, tensor)
    rank.same(output, torch.arange(float(rank.size)).repeat_interleave(4))
    tensor = torch.full((1,), float(rank.rank)).expand(4 * rank.size)
    dist.all_to_all_single(output, tensor)
    rank.same(output, torch.arange(float(rank.size)).repeat_interleave(4))


def test_expanded(world):
    world.run(expanded)


def objects(rank):
    """Objects of other lengths at each rank, over the group under test alone."""
    mine = {"rank": rank.rank, "text": "x" * (1000 * rank.rank)}
    everybodys = [{"rank": other, "text": "x" * (1000 * other)} for other in rank.ranks]
    for root in rank.ranks:
        gathered = [None] * rank.size
        dist.all_gather_object(gathered, mine)
        assert gathered == everybodys

        gathered = [None] * rank.size if rank.rank == root else None
        dist.gather_object(mine, gathered, dst=root)
        assert gathered == (everybodys if rank.rank == root else None)

        told = [mine, rank.rank, None] if rank.rank == root else [None] * 3
        dist.broadcast_object_list(told, src=root)
        assert told == [everybodys[root], root, None]

        given = [None]
        dist.scatter_object_list(given, everybodys if rank.rank == root else None, src=root)
        assert given == [mine]

    following, preceding = (rank.rank + 1) % rank.size, (rank.rank - 1) % rank.size
    received = [None, None]
    if rank.rank % 2 == 0 and rank.rank != rank.size - 1:
        dist.send_object_list([mine, 1], dst=following)
    elif rank.rank % 2 == 1:
        dist.recv_object_list(received, src=preceding)
        assert received == [everybodys[preceding], 1]


def test_objects(world):
    world.run(objects)


def barrier(rank):
    for meeting in range(1, 20):
        rank.store.add("arrived", 1)
        if meeting % 2:
            dist.barrier()
        else:
            dist.barrier(async_op=True).wait()
        assert rank.store.add("arrived", 0) >= meeting * rank.size
        dist.barrier(group=rank.gloo)
    if rank.rank == 0:
        rank.store.delete_key("arrived")


def test_barrier(world):
    """Nobody leaves before all have come."""
    world.run(barrier)
