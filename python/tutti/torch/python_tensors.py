"""Tensors as the backend in Python gives them to a Communicator."""
import torch
import torch.distributed as dist

from .._buffers import Span
from .._elements import ELEMENTS, Element, opaque

_ELEMENTS = {getattr(torch, name): element for name, element in ELEMENTS.items()}
_ELEMENTS[torch.complex32] = Element("complex32", ELEMENTS["float16"].code, 2, 4, ELEMENTS["complex64"].ops)
_REDUCE_OPS = {dist.ReduceOp.SUM: "sum", dist.ReduceOp.AVG: "avg", dist.ReduceOp.PRODUCT: "prod", dist.ReduceOp.MIN: "min",
               dist.ReduceOp.MAX: "max", dist.ReduceOp.BAND: "band", dist.ReduceOp.BOR: "bor", dist.ReduceOp.BXOR: "bxor"}
_OF_TRUTH_VALUES = {"sum": "max", "prod": "min"}  # or, and


def operator_of(reduce_op):
    """ReduceOp.SUM …, of that itself or of a ReduceOp that holds it."""
    return getattr(reduce_op, "op", reduce_op)


def reduction(dtype, reduce_op):
    """(op, factor) of a torch ReduceOp as Communicator takes them."""
    operator = operator_of(reduce_op)
    with_factor = operator == dist.ReduceOp.PREMUL_SUM
    op = "sum" if with_factor else _REDUCE_OPS.get(operator)
    if dtype == torch.bool:
        op = None if with_factor else _OF_TRUTH_VALUES.get(op, op)
    element = _ELEMENTS.get(dtype)
    if element is None or op not in element.ops:
        raise NotImplementedError(f"tutti has no reduction {operator.name} of tensors of type {dtype}.")
    return op, float(reduce_op.factor) if with_factor else None


def _is_plain(tensor):
    return tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg()


def _check(tensor):
    if tensor.device.type != "cpu":
        raise ValueError(f"a tensor is on {tensor.device}; the backend tutti takes tensors on the CPU: move it there, or use "
                         'another backend for this device ("cpu:tutti,cuda:nccl").')
    if tensor.layout != torch.strided:
        raise NotImplementedError("of sparse tensors tutti has all_reduce only.")


def _check_output(tensor):
    _check(tensor)
    if any(stride == 0 and length > 1 for stride, length in zip(tensor.stride(), tensor.size())) and tensor.numel():
        raise ValueError("a tensor that the call writes is an expanded one, several of whose elements are one place of memory; "
                         "give a clone() of it.")


def _span(tensor):
    # Where nothing is computed, elements of any type travel: float8 … as their bytes.
    element = _ELEMENTS.get(tensor.dtype) or opaque(tensor.element_size(), str(tensor.dtype))
    return Span(tensor.data_ptr(), tensor.numel(), element, tensor)


class Operands:
    """What one operation reads and writes.  Each method returns memory for a call of Communicator's."""

    def __init__(self):
        self._staged = []  # (the caller's tensor, what the operation writes for it)

    def read(self, tensor):
        """With the tensor's values: its own memory if it is contiguous, else a copy."""
        _check(tensor)
        return _span(tensor if _is_plain(tensor) else self._copy(tensor))

    def write(self, tensor):
        """For the tensor's values: its own memory if it is contiguous, else one whose values go to it after success."""
        _check_output(tensor)
        return _span(tensor) if _is_plain(tensor) else self._stage(tensor, torch.empty(tensor.size(), dtype=tensor.dtype))

    def read_write(self, tensor):
        _check_output(tensor)
        return _span(tensor) if _is_plain(tensor) else self._stage(tensor, self._copy(tensor))

    @staticmethod
    def _copy(tensor):
        with torch.no_grad():
            return torch.empty(tensor.size(), dtype=tensor.dtype).copy_(tensor)

    def _stage(self, tensor, values):
        self._staged.append((tensor, values))
        return _span(values)

    def copy_back(self):
        """After success."""
        if self._staged:
            with torch.inference_mode():  # also tensors that were made in this mode
                for tensor, values in self._staged:
                    tensor.copy_(values)

    def source(self):
        raise RuntimeError("this work is no receive: it has no source.")


class ReceiveOperands(Operands):
    """Of a message that has as many elements as `tensor`."""

    def __init__(self, tensor):
        super().__init__()
        self.memory = self.write(tensor)
        self.received = None  # a Received of the library's

    def copy_back(self):
        got = self.received
        if got.count != self.memory.count:
            raise ValueError(f"the message of rank {got.source} with tag {got.tag} has {got.count} elements, the tensor that "
                             f"receives it {self.memory.count}.")
        super().copy_back()

    def source(self):
        return self.received.source


# ---- checks: what does not fit is a ValueError before anything has started ----


def only_of(tensors, what):
    if len(tensors) != 1:
        raise ValueError(f"tutti takes one {what} of a rank, not {len(tensors)}.")
    return tensors[0]


def check_types(tensors, like):
    for tensor in tensors:
        if tensor.dtype != like.dtype:
            raise ValueError(f"tensors of one call have one type; these have {like.type()} and {tensor.type()}.")


def check_root(root, size):
    if not 0 <= root < size:
        raise ValueError(f"the root is {root}, and the group has {size} ranks.")


def check_list(tensors, size, like, what):
    """One tensor for each rank."""
    if len(tensors) != size:
        raise ValueError(f"the list of {what}s has {len(tensors)} tensors, and the group {size} ranks.")
    check_types(tensors, like)


def check_elements(tensor, count, what):
    if tensor.numel() != count:
        raise ValueError(f"the {what} has {tensor.numel()} elements; {count} are needed.")


def check_pairs(outputs, inputs):
    if len(outputs) != len(inputs):
        raise ValueError(f"there are {len(outputs)} outputs for {len(inputs)} inputs.")


def elements_of_ranks(tensor, splits, size, what):
    """Elements of each rank's part of a tensor that is split along its first dimension."""
    if tensor.dim() == 0:
        raise ValueError(f"the {what} of all_to_all_single has no dimension that could be split.")
    rows = tensor.size(0)
    if splits and len(splits) != size:
        raise ValueError(f"the {what} has {len(splits)} split sizes, and the group {size} ranks.")
    if not splits:
        if rows % size:
            raise ValueError(f"the {what} has {rows} rows, which {size} ranks cannot share alike; give split sizes.")
        splits = [rows // size] * size
    if min(splits) < 0:
        raise ValueError(f"a split size of the {what} is {min(splits)}.")
    if sum(splits) != rows:
        raise ValueError(f"the split sizes of the {what} make {sum(splits)} rows; it has {rows}.")
    row = tensor.numel() // rows if rows else 0
    return [split * row for split in splits]
