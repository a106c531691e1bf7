"""Every reduction of torch.distributed × type × operator over tutti, against Gloo's answer."""
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
import torch.distributed as dist

from torch_cases import OPERATORS, REDUCIBLE, SHAPES, bytes_of, check, has_operator, name_of


def all_reduce(case):
    tensors = [case.tensor(shape) for shape in SHAPES]
    for tensor in tensors:
        case.call(dist.all_reduce, tensor, op=case.op)
    return tensors


def all_reduce_coalesced(case):
    tensors = [case.tensor(shape) for shape in SHAPES]
    case.call(dist.all_reduce_coalesced, tensors, op=case.op)
    return tensors


def all_reduce_manager(case):
    """What _coalescing_manager makes of several calls."""
    tensors = [case.tensor(shape) for shape in SHAPES]
    with dist.distributed_c10d._coalescing_manager(group=case.group, async_ops=case.mode != "blocking") as manager:
        for tensor in tensors:
            dist.all_reduce(tensor, op=case.op, group=case.group)
    if case.mode != "blocking":
        manager.wait()
    return tensors


def reduce(case):
    """To each rank in turn; what the others' tensors hold then is nobody's business."""
    results = []
    for root in case.ranks:
        tensors = [case.tensor(shape) for shape in SHAPES]
        for tensor in tensors:
            case.call(dist.reduce, tensor, dst=root, op=case.op)
        if case.me == root:
            results += tensors
    return results


def reduce_scatter(case):
    results = []
    for shape in SHAPES:
        output, inputs = case.empty(shape), [case.tensor(shape) for _ in case.ranks]
        case.call(dist.reduce_scatter, output, inputs, op=case.op)
        results.append(output)
    return results


def reduce_scatter_uneven(case):
    """Parts of 0, 3, 6 … elements.  Gloo is asked for the sum of each."""
    inputs = [case.tensor((3, rank)) for rank in case.ranks]
    if case.gloo:
        for tensor in inputs:
            case.call(dist.all_reduce, tensor, op=case.op)
        return [inputs[case.me]]
    output = case.empty((3, case.me))
    case.call(dist.reduce_scatter, output, inputs, op=case.op)
    return [output]


def reduce_scatter_single(case):
    """The input is a concatenation, then a stack of the ranks' parts."""
    joined, part = case.tensor((3 * case.size, 2)), case.empty((3, 2))
    stacked, row = case.tensor((case.size, 5)), case.empty((5,))
    none, nothing = case.tensor((0,)), case.empty((0,))
    case.call(dist.reduce_scatter_single, part, joined, op=case.op)
    case.call(dist.reduce_scatter_single, row, stacked.view(-1) if case.gloo else stacked, op=case.op)  # Gloo takes no stack
    case.call(dist.reduce_scatter_single, nothing, none, op=case.op)
    return [part, row, nothing]


def reduce_scatter_manager(case):
    inputs = [case.tensor((case.size * n, 2)) for n in (1, 4, 0)]
    outputs = [case.empty((n, 2)) for n in (1, 4, 0)]
    with dist.distributed_c10d._coalescing_manager(group=case.group, async_ops=case.mode != "blocking") as manager:
        for output, tensor in zip(outputs, inputs):
            dist.reduce_scatter_single(output, tensor, op=case.op, group=case.group)
    if case.mode != "blocking":
        manager.wait()
    return outputs


def reduce_scatter_in_place(case):
    """The output is this rank's part of the input, as FSDP has it."""
    whole = case.tensor((6 * case.size,)).contiguous()
    part = case.empty((6,)) if case.gloo else whole.chunk(case.size)[case.me]
    case.call(dist.reduce_scatter_single, part, whole, op=case.op)
    return [part]


OPERATIONS = [all_reduce, all_reduce_coalesced, all_reduce_manager, reduce, reduce_scatter, reduce_scatter_uneven,
              reduce_scatter_single,
              reduce_scatter_manager, reduce_scatter_in_place]


@pytest.mark.filterwarnings("ignore:.*all_reduce_coalesced:FutureWarning")
@pytest.mark.parametrize("dtype", REDUCIBLE, ids=name_of)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_reduction(world, operation, dtype):
    operators = [operator for operator in OPERATORS if has_operator(dtype, operator)]
    world.run(check, operation, dtype, operators)


def all_reduce_large(rank, dtype, elements):
    """More than fits into a message, in pieces whose ends are not those of pages; every element is looked at."""
    position = torch.arange(elements) % 50
    tensor = (position + rank.rank).to(dtype)
    dist.all_reduce(tensor)
    expected = (position * rank.size + sum(rank.ranks)).to(dtype)
    rank.same(tensor, expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float32, torch.float64], ids=name_of)
def test_all_reduce_large(world, dtype):
    world.run(all_reduce_large, dtype, 1_000_003)


def not_a_number(rank):
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        for operator in ("SUM", "PRODUCT", "MIN", "MAX", "AVG"):
            tensor = torch.tensor([1.0, float("nan") if rank.rank == rank.size - 1 else 2.0, float("inf")], dtype=dtype)
            dist.all_reduce(tensor, op=getattr(dist.ReduceOp, operator))
            what = f"{name_of(dtype)} {operator}: {tensor}"
            assert tensor[0].isfinite() and tensor[1].isnan() and tensor[2].isposinf(), what


def test_not_a_number(world):
    """One rank's not-a-number is everybody's, and stays where it is."""
    world.run(not_a_number)


def all_ranks_same_bits(rank):
    """Sums whose bits depend on the order of additions: the ranks must agree on one."""
    generator = torch.Generator().manual_seed(rank.rank)
    for elements in (1, 1000, 300_000):
        tensor = torch.randn(elements, generator=generator)
        expected = tensor.double()
        dist.all_reduce(tensor)
        dist.all_reduce(expected, group=rank.gloo)
        torch.testing.assert_close(tensor.double(), expected, rtol=1e-5, atol=1e-5)
        everybodys = [torch.empty_like(tensor) for _ in rank.ranks]
        dist.all_gather(everybodys, tensor, group=rank.gloo)
        for other in everybodys:
            assert torch.equal(bytes_of(other), bytes_of(tensor))


def test_all_ranks_same_bits(world):
    world.run(all_ranks_same_bits)


def factor_as_tensor(rank):
    tensor = torch.full((5,), 3.0)
    dist.all_reduce(tensor, op=dist._make_nccl_premul_sum(torch.tensor([0.5])))
    rank.same(tensor, torch.full((5,), 1.5 * rank.size))


def test_factor_as_tensor(world):
    world.run(factor_as_tensor)


def bools_are_zero_or_one(rank):
    """Gloo leaves the number of ranks in a bool; arithmetic on such a bool is undefined."""
    tensor = torch.tensor([True, rank.rank == 0, False])
    dist.all_reduce(tensor)
    rank.same(tensor.view(torch.uint8), torch.tensor([1, 1, 0], dtype=torch.uint8))


def test_bools_are_zero_or_one(world):
    world.run(bools_are_zero_or_one)


def sparse(rank, dtype):
    """Ranks give different numbers of different entries, one of them none; some entries are not coalesced."""
    size = rank.size
    for entries in (1, 3, 0 if rank.rank == 0 else 2):
        rows = torch.tensor([(rank.rank + entry) % (size + 2) for entry in range(entries)] + [0] * bool(entries))
        values = torch.zeros(0, 4)
        if entries:
            values = torch.stack([torch.full((4,), entry + 1.0 + rank.rank) for entry in range(len(rows))])
        tensor = torch.sparse_coo_tensor(rows.reshape(1, -1), values.to(dtype), (size + 2, 4))
        expected = tensor.to_dense()
        dist.all_reduce(expected, group=rank.gloo)
        for asynchronous in (False, True):
            summed = tensor.clone()
            work = dist.all_reduce(summed, async_op=asynchronous)
            if asynchronous:
                work.wait()
            rank.same(summed.to_dense(), expected, f"{entries} entries")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32, torch.int64], ids=name_of)
def test_sparse(world, dtype):
    world.run(sparse, dtype)
