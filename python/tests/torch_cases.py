"""What the tests of tutti.torch's operations share: types, operators, tensors that lie in memory in many ways, and Gloo's answer.

A test of an operation is a function of a Case, which it asks for its tensors and its calls:

    def all_reduce(case):
        tensor = case.tensor((4, 3))
        case.call(dist.all_reduce, tensor, op=case.op)
        return [tensor]

check() runs it over the group under test and over a gloo group, whose tensors hold the same values, and compares what both return.
Values are such that every order of additions gives the same bits.
"""
import torch
import torch.distributed as dist

REDUCIBLE = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16,
             torch.float32, torch.float64, torch.complex64, torch.complex128, torch.uint16, torch.uint32, torch.uint64]
MOVABLE = REDUCIBLE + [torch.float8_e4m3fn, torch.float8_e5m2]
OPERATORS = ["SUM", "AVG", "PRODUCT", "MIN", "MAX", "BAND", "BOR", "BXOR", "PREMUL_SUM"]
BITS = ["BAND", "BOR", "BXOR"]

# Types that Gloo does not take, or not in every operation, and wider ones that hold all values of the tests: Gloo is
# asked in these.
STAND_IN = {torch.int16: torch.int32, torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.int64,
            torch.float8_e4m3fn: torch.float32, torch.float8_e5m2: torch.float32}

SHAPES = [(7,), (4, 3), (2, 3, 2), (), (0,), (3, 0), (2, 1)]
LAYOUTS = ["contiguous", "transposed", "strided", "offset"]
MODES = ["blocking", "wait", "future"]


def name_of(dtype):
    return str(dtype).removeprefix("torch.")


def has_operator(dtype, operator):
    """Whether a backend for CPU tensors reduces this type by this operator; Gloo's table, with averages and factors."""
    if dtype.is_complex:
        return operator in ("SUM", "AVG", "PREMUL_SUM")
    if dtype.is_floating_point:
        return operator not in BITS
    return operator not in (("AVG", "PREMUL_SUM") if dtype == torch.bool else ("PREMUL_SUM",))


def values_of(dtype, shape, operator, seed):
    """Values that depend on the seed, in a contiguous tensor; exact in every sum, product and average of a few ranks."""
    generator = torch.Generator().manual_seed(seed)

    def integers(low, high):
        return torch.randint(low, high, shape, generator=generator, dtype=torch.int64)

    if dtype == torch.bool:
        return integers(0, 2).bool()
    if dtype.is_complex:
        return torch.complex(integers(-8, 9).double(), integers(-8, 9).double()).to(dtype)
    if dtype.is_floating_point:
        return (integers(1, 5).double() / 2 if operator == "PRODUCT" else integers(-8, 9).double() / 4).to(dtype)
    if operator in BITS:
        return integers(0, (1 << (8 * dtype.itemsize - 1)) - 1).to(dtype)
    if operator == "PRODUCT":
        return integers(1, 4).to(dtype)
    return integers(-20 if dtype.is_signed else 1, 21).to(dtype)


def lay(values, layout):
    """A tensor of these values, and the ones that fill the gaps between its elements, which nobody is to write."""
    shape, dtype = values.shape, values.dtype
    gaps = torch.ones(0).to(dtype)
    if layout == "transposed" and values.dim() > 1:
        tensor = torch.empty(shape[::-1], dtype=dtype).permute(*reversed(range(values.dim())))
    elif layout == "strided" and values.dim() > 0:
        memory = torch.ones(*shape[:-1], 2 * shape[-1]).to(dtype)
        tensor, gaps = memory[..., ::2], memory[..., 1::2]
    elif layout == "offset":
        memory = torch.ones(values.numel() + 2).to(dtype)
        tensor, gaps = memory[1:-1].view(shape), memory[:: memory.numel() - 1]
    else:
        tensor = torch.empty(shape, dtype=dtype)
    return tensor.copy_(values), gaps


def bytes_of(tensor):
    """The bytes of the elements in logical order, so that any type compares to the last bit."""
    flat = torch.empty(tensor.numel(), dtype=tensor.dtype).copy_(tensor.detach().reshape(-1))
    return flat.view(torch.uint8) if flat.numel() else torch.empty(0, dtype=torch.uint8)


class Case:
    """One call of an operation at one rank, over one of two groups.

    dtype, operator  the type of the tensors, and a reduction ("" where nothing is reduced)
    op               the operator as torch takes it
    layout, mode     how tensors lie in memory, and how the end of the call is waited for
    """

    def __init__(self, rank, dtype, operator, layout, mode, gloo):
        self.rank, self.size, self.ranks, self.me = rank, rank.size, rank.ranks, rank.rank
        self.dtype, self.operator, self.layout, self.mode, self.gloo = dtype, operator, layout, mode, gloo
        self.group = rank.gloo if gloo else None
        self.factor = 0.5 * (self.me + 1) if operator == "PREMUL_SUM" else 1
        self.op = self._op() if operator else None
        self._seed, self._gaps = 0, []

    def _op(self):
        if self.operator == "PREMUL_SUM" and not self.gloo:
            return dist._make_nccl_premul_sum(self.factor)
        sums = self.operator == "PREMUL_SUM" or (self.operator == "AVG" and not self.dtype.is_floating_point)
        return dist.ReduceOp.SUM if self.gloo and sums else getattr(dist.ReduceOp, self.operator)

    def tensor(self, shape):
        """A tensor of values that depend on the rank and on how many tensors it asked for before."""
        self._seed += 1
        return self._placed(values_of(self.dtype, shape, self.operator, 1000 * self.me + self._seed))

    def empty(self, shape):
        """A tensor for results.  It holds what no sum, average or product of the tests is."""
        return self._placed(torch.full(shape, 99).to(self.dtype))

    def _placed(self, values):
        if not self.gloo:
            tensor, gaps = lay(values, self.layout)
            self._gaps.append(gaps)
            return tensor
        if self.dtype in STAND_IN:
            values = values.to(STAND_IN[self.dtype])
        return values * self.factor if self.operator == "PREMUL_SUM" else values

    def call(self, function, *arguments, **options):
        """Calls a function of torch.distributed, and returns when it has ended; over Gloo always by the blocking form."""
        if self.gloo or self.mode == "blocking":
            work = function(*arguments, group=self.group, async_op=False, **options)
            assert work is None, work
            return
        work = function(*arguments, group=self.group, async_op=True, **options)
        if isinstance(work, torch._C.Future):  # all_reduce_coalesced returns one
            work.wait()
            return
        if self.mode == "future":
            work.get_future().wait()
        assert work.wait() is True and work.is_completed()

    def answer(self, tensors):
        """Gloo's results as the group under test should give them."""
        if self.dtype == torch.bool:  # Gloo may leave other bytes than 0 and 1 in one
            tensors = [tensor.view(torch.uint8).ne(0) for tensor in tensors]
        elif self.operator == "AVG" and self.dtype.is_complex:
            tensors = [torch.view_as_complex(torch.view_as_real(tensor) / self.size) for tensor in tensors]
        elif self.operator == "AVG" and not self.dtype.is_floating_point:
            tensors = [torch.div(tensor, self.size, rounding_mode="trunc") for tensor in tensors]
        return [tensor.to(self.dtype) for tensor in tensors]

    def check_gaps(self):
        for gaps in self._gaps:
            assert torch.equal(bytes_of(gaps), bytes_of(torch.ones(gaps.shape).to(self.dtype))), "the call wrote beside its tensors"


def check(rank, operation, dtype, operators=("",)):
    """Runs an operation over both groups, in every layout and mode, and compares.  For World.run."""
    for operator in operators:
        reference = Case(rank, dtype, operator, "contiguous", "blocking", gloo=True)
        expected = reference.answer(operation(reference))
        for turn in range(len(LAYOUTS) * len(MODES)):
            round_of = turn // len(LAYOUTS)  # in the first round all ranks' tensors lie alike, then each rank's otherwise
            layout, mode = LAYOUTS[(turn + round_of * rank.rank) % len(LAYOUTS)], MODES[turn % len(MODES)]
            what = f"{operation.__name__} of {name_of(dtype)} {operator}, {layout}, {mode}, rank {rank.rank}"
            case = Case(rank, dtype, operator, layout, mode, gloo=False)
            got = operation(case)
            assert len(got) == len(expected), what
            for tensor, want in zip(got, expected):
                assert tensor.shape == want.shape and tensor.dtype == want.dtype, what
                if not torch.equal(bytes_of(tensor), bytes_of(want)):
                    raise AssertionError(f"{what}:\ngot      {tensor}\nexpected {want}")
            case.check_gaps()
