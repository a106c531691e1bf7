"""Values of every collective, between threads, against NumPy; blocking and asynchronous."""
import itertools

import pytest

import tutti

np = pytest.importorskip("numpy", reason="numpy is not installed")

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
FLOATS = ["float16", "float32", "float64"]
N = 37  # elements of a part: no multiple of a vector


def data(rank, dtype, count=N):
    """Small whole numbers, so that sums and products of some ranks are exact in every type."""
    values = np.random.default_rng([rank, count]).integers(1, 5, count)
    return values.astype(dtype)


def inputs(size, dtype, count=N):
    return [data(rank, dtype, count) for rank in range(size)]


def reduced(op, arrays):
    if op == "avg":
        total = np.sum([array.astype("float64") for array in arrays], axis=0) / len(arrays)
        return (np.trunc(total) if arrays[0].dtype.kind in "iu" else total).astype(arrays[0].dtype)
    function = {"sum": np.add, "prod": np.multiply, "min": np.minimum, "max": np.maximum, "band": np.bitwise_and,
                "bor": np.bitwise_or, "bxor": np.bitwise_xor}[op]
    result = arrays[0]
    for array in arrays[1:]:
        result = function(result, array)
    return result


def same(got, expected):
    np.testing.assert_array_equal(got, np.asarray(expected).astype(got.dtype))


def call(function, *arguments, async_op, **options):
    request = function(*arguments, async_op=async_op, **options)
    if async_op:
        assert isinstance(request, tutti.Request)
        request.wait()
        assert request.test()
    else:
        assert request is None


both_ways = pytest.mark.parametrize("async_op", [False, True], ids=["blocking", "async"])


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
def test_all_reduce_of_every_type_and_operator(ranks, dtype):
    ops = ["sum", "prod", "min", "max", "avg"] + (["band", "bor", "bxor"] if dtype in INTEGERS else [])
    arrays = inputs(ranks.size, dtype)

    def run(comm):
        for op, async_op in itertools.product(ops, [False, True]):
            mine, output = arrays[comm.rank].copy(), np.zeros(N, dtype)
            call(comm.all_reduce, mine, output, op, async_op=async_op)
            same(mine, arrays[comm.rank])
            same(output, reduced(op, arrays))
            call(comm.all_reduce, mine, op=op, async_op=async_op)
            same(mine, reduced(op, arrays))

    ranks(run)


def test_all_reduce_of_bool_and_complex(ranks):
    bools = [np.random.default_rng(rank).integers(0, 2, N).astype(bool) for rank in range(ranks.size)]
    numbers = [(data(rank, "float64") + 1j * data(rank + 10, "float64")) for rank in range(ranks.size)]

    def run(comm):
        for op in ("prod", "min", "max", "band", "bor", "bxor"):
            mine = bools[comm.rank].copy()
            comm.all_reduce(mine, op=op)
            bits = {"prod": "band", "min": "band", "max": "bor"}.get(op, op)
            same(mine, reduced(bits, bools))
        for dtype, op in itertools.product(("complex64", "complex128"), ("sum", "avg")):
            mine = numbers[comm.rank].astype(dtype)
            comm.all_reduce(mine, op=op)
            np.testing.assert_allclose(mine, sum(numbers) / (ranks.size if op == "avg" else 1), rtol=1e-6)
        for bad, op in ((bools, "sum"), (numbers, "prod"), (numbers, "max")):
            with pytest.raises(TypeError, match=f"{op} is not defined for elements of"):
                comm.all_reduce(bad[comm.rank].copy(), op=op)
        with pytest.raises(TypeError, match="band is not defined for elements of float32"):
            comm.all_reduce(np.zeros(1, "float32"), op="band")
        with pytest.raises(ValueError, match="there is no reduction 'mean'; there are sum, prod"):
            comm.all_reduce(np.zeros(1, "float32"), op="mean")

    ranks(run)


@both_ways
def test_a_list_is_reduced_as_one(ranks, async_op):
    lengths = [3, 0, 1, 500]
    arrays = [inputs(ranks.size, "float32", length) for length in lengths]

    def run(comm):
        mine = [array[comm.rank].copy() for array in arrays]
        outputs = [np.zeros(length, "float32") for length in lengths]
        call(comm.all_reduce, mine, outputs, async_op=async_op)
        for output, array in zip(outputs, arrays):
            same(output, reduced("sum", array))
        if comm.rank == 0:  # one rank in one piece
            whole = np.concatenate(mine)
            call(comm.all_reduce, whole, op="max", async_op=async_op)
            mine = np.split(whole, np.cumsum(lengths)[:-1])
        else:
            call(comm.all_reduce, mine, op="max", async_op=async_op)
        for got, array in zip(mine, arrays):
            same(got, reduced("max", array))
        with pytest.raises(ValueError, match="empty list"):
            comm.all_reduce([])
        with pytest.raises(TypeError, match="different types of elements: float32 and int32"):
            comm.all_reduce([np.zeros(1, "float32"), np.zeros(1, "int32")])

    ranks(run)


@both_ways
def test_reduce_and_broadcast_with_each_root(ranks, async_op):
    arrays = inputs(ranks.size, "int32")

    def run(comm):
        for root in range(comm.size):
            mine, output = arrays[comm.rank].copy(), np.full(N, 7, "int32")
            call(comm.reduce, mine, output, "max", root, async_op=async_op)
            same(mine, arrays[comm.rank])
            same(output, reduced("max", arrays) if comm.rank == root else np.full(N, 7))
            call(comm.reduce, mine, root=root, async_op=async_op)
            if comm.rank == root:
                same(mine, reduced("sum", arrays))
            mine = arrays[comm.rank].copy()
            call(comm.broadcast, mine, root, async_op=async_op)
            same(mine, arrays[root])

    ranks(run)


@both_ways
def test_scans(ranks, async_op):
    arrays = inputs(ranks.size, "int64")

    def run(comm):
        mine, output = arrays[comm.rank].copy(), np.full(N, 7, "int64")
        call(comm.exscan, mine, output, async_op=async_op)
        same(output, reduced("sum", arrays[:comm.rank]) if comm.rank else np.full(N, 7))
        call(comm.scan, mine, op="prod", async_op=async_op)
        same(mine, reduced("prod", arrays[:comm.rank + 1]))

    ranks(run)


@both_ways
@pytest.mark.parametrize("form", ["equal", "counts", "list"])
def test_a_part_for_each_rank(ranks, async_op, form):
    """gather, all_gather, scatter and reduce_scatter, with equal parts, unequal ones, and parts in arrays of their own."""
    counts = [5] * ranks.size if form == "equal" else [3 * r for r in range(ranks.size)]
    whole = np.arange(sum(counts), dtype="float32")
    ends = np.cumsum(counts)
    parts = np.split(whole, ends[:-1])
    options = {} if form == "equal" else {"counts": counts}

    def empty():
        return [np.zeros(count, "float32") for count in counts] if form == "list" else np.zeros(sum(counts), "float32")

    def full():
        return [part.copy() for part in parts] if form == "list" else whole.copy()

    def check(got):
        same(np.concatenate(got) if form == "list" else got, whole)

    def place(array, rank):  # of a rank's part
        return array[rank] if form == "list" else array[ends[rank] - counts[rank]:ends[rank]]

    def run(comm):
        mine, rank = parts[comm.rank].copy(), comm.rank
        output = empty()
        call(comm.all_gather, mine, output, async_op=async_op, **options)
        check(output)
        output = empty()
        place(output, rank)[...] = mine
        call(comm.all_gather, None, output, async_op=async_op, **options)
        check(output)
        output = np.zeros_like(mine)
        call(comm.reduce_scatter, full(), output, async_op=async_op, **options)
        same(output, mine * comm.size)
        output = full()
        call(comm.reduce_scatter, output, op="max", async_op=async_op, **options)
        same(place(output, rank), mine)
        for root in range(comm.size):
            output = empty() if rank == root else None
            call(comm.gather, mine, output, root, async_op=async_op, **options)
            if rank == root:
                check(output)
                output = empty()
                place(output, rank)[...] = mine
            call(comm.gather, None if rank == root else mine, output, root, async_op=async_op, **options)
            if rank == root:
                check(output)
            output = np.zeros_like(mine)
            call(comm.scatter, full() if rank == root else None, output, root, async_op=async_op, **options)
            same(output, mine)
            source = full() if rank == root else None
            output = None if rank == root else np.zeros_like(mine)
            call(comm.scatter, source, output, root, async_op=async_op, **options)
            same(place(source, rank) if rank == root else output, mine)

    ranks(run)


@both_ways
def test_all_to_all(ranks, async_op):
    def sent(sender, receiver, count):
        return np.arange(count) + 100 * sender + 1000 * receiver

    def run(comm):
        size, rank = comm.size, comm.rank
        source = np.concatenate([sent(rank, r, 4) for r in range(size)])
        expected = np.concatenate([sent(r, rank, 4) for r in range(size)])
        output = np.zeros_like(source)
        call(comm.all_to_all, source, output, async_op=async_op)
        same(output, expected)
        call(comm.all_to_all, None, source, async_op=async_op)
        same(source, expected)
        # rank i sends i + j elements to rank j
        pieces = [sent(rank, r, rank + r) for r in range(size)]
        counts = [rank + r for r in range(size)]
        expected = [sent(r, rank, rank + r) for r in range(size)]
        output = np.zeros(sum(counts), "int64")
        call(comm.all_to_all, np.concatenate(pieces), output, send_counts=counts, recv_counts=counts, async_op=async_op)
        same(output, np.concatenate(expected))
        spread = np.zeros(100 * size, "int64")
        call(comm.all_to_all, np.concatenate(pieces), spread, send_counts=counts, recv_counts=counts,
             recv_offsets=[100 * r for r in range(size)], async_op=async_op)
        for r in range(size):
            same(spread[100 * r:100 * r + counts[r]], expected[r])
        outputs = [np.zeros(count, "int64") for count in counts]
        call(comm.all_to_all, pieces, outputs, async_op=async_op)
        for got, want in zip(outputs, expected):
            same(got, want)
        with pytest.raises(ValueError, match="rank 0's part ends at"):
            comm.all_to_all(source, output, send_counts=[99999] * size, recv_counts=counts)

    ranks(run)


@both_ways
def test_barrier(ranks, async_op):
    arrived = []

    def run(comm):
        arrived.append(comm.rank)
        call(comm.barrier, async_op=async_op)
        return len(arrived)

    assert ranks(run) == [ranks.size] * ranks.size


@both_ways
def test_a_function_as_reduction(ranks, async_op):
    arrays = inputs(ranks.size, "float32")
    pairs = np.dtype([("value", "f4"), ("place", "i4")])

    def smallest(left, right):
        assert left.dtype == pairs
        return np.where((right["value"] < left["value"]), right, left)

    def run(comm):
        mine = arrays[comm.rank].copy()
        call(comm.all_reduce, mine, op=lambda left, right: np.hypot(left, right), async_op=async_op)
        np.testing.assert_allclose(mine, np.sqrt(np.sum(np.square(arrays), axis=0)), rtol=1e-5)
        items = np.zeros(N, pairs)
        items["value"], items["place"] = arrays[comm.rank], comm.rank
        call(comm.all_reduce, items, op=smallest, async_op=async_op)
        same(items["value"], reduced("min", arrays))
        if not async_op:
            same(items["place"], np.argmin(arrays, axis=0))
        # matrices, whose product depends on the order, which scans keep
        matrices = [data(r, "int64", 4 * N) for r in range(comm.size)]

        def product(left, right):
            assert left.shape[1:] == (4,)
            return (left.reshape(-1, 2, 2) @ right.reshape(-1, 2, 2)).reshape(-1, 4)

        mine = matrices[comm.rank].copy()
        call(comm.scan, mine, op=tutti.Reduction(product, width=4), async_op=async_op)
        expected = matrices[0].reshape(-1, 4)
        for matrix in matrices[1:comm.rank + 1]:
            expected = product(expected, matrix.reshape(-1, 4))
        same(mine, expected.ravel())
        with pytest.raises(tutti.Error, match="multiple of the reduction's width") as caught:
            comm.all_reduce(np.zeros(5), op=tutti.Reduction(product, width=4))
        assert caught.value.status == tutti.Status.INVALID_ARGUMENT

    ranks(run)


def until_it_fails(comm):
    while True:
        comm.barrier()


def test_a_reduction_that_raises_ends_the_communicator(ranks):
    if ranks.size == 1:
        pytest.skip("a rank alone reduces nothing")

    def run(comm):
        def fails(left, right):
            raise KeyError("no such thing")

        with pytest.raises((KeyError, tutti.Error)) as caught:
            comm.all_reduce(np.ones(4), op=fails)
            until_it_fails(comm)  # who had nothing to reduce hears of it now
        with pytest.raises(tutti.Error, match="the function given as reduction raised KeyError") as aborted:
            comm.barrier()
        assert aborted.value.status == tutti.Status.ABORTED
        return caught.type

    assert KeyError in ranks(run)


def test_factor_algorithm_and_timeout(ranks):
    arrays = inputs(ranks.size, "float64")

    def run(comm):
        mine = arrays[comm.rank].copy()
        comm.all_reduce(mine, factor=comm.rank + 1.0)
        same(mine, sum((r + 1) * array for r, array in enumerate(arrays)))
        for algorithm in ("ring", "tree", "recursive", "doubling", "direct"):
            mine = arrays[comm.rank].copy()
            comm.all_reduce(mine, algorithm=algorithm, timeout=30)
            same(mine, sum(arrays))
            if comm.size > 1:
                assert comm.stats().last_algorithm == algorithm
        with pytest.raises(tutti.Error, match="factor goes with sum and avg") as caught:
            comm.all_reduce(mine, op="max", factor=2)
        assert caught.value.status == tutti.Status.UNSUPPORTED and caught.value.rank == comm.rank
        assert str(caught.value) == caught.value.sentence
        with pytest.raises(tutti.Error, match="fastest"):
            comm.all_reduce(mine, algorithm="fastest")
        with pytest.raises(ValueError, match="timeout is 0"):
            comm.all_reduce(mine, timeout=0)
        comm.barrier()

    ranks(run)


def test_large_messages_of_memory_of_the_library(ranks):
    def run(comm):
        data, output = comm.empty((3, 100_000), "float32"), comm.zeros(300_000)
        assert not output.any()
        data[...] = comm.rank + 1
        comm.all_reduce(data, output, "avg")
        same(output, np.full(300_000, (comm.size + 1) / 2))
        raw = comm.alloc(1 << 20)
        assert raw.nbytes == 1 << 20 and not any(raw[:100])
        raw[:] = bytes([comm.rank + 1]) * len(raw)
        comm.all_reduce(raw, op="max")
        assert bytes(raw) == bytes([comm.size]) * len(raw)
        return data, raw[5:10]

    for data, some in ranks(run):  # the communicators are closed, the memory lives
        assert bytes(some) == bytes([ranks.size]) * 5 and data.sum() > 0
