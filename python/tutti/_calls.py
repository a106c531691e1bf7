"""What calls are given besides buffers: times, reductions, and the library's struct of options."""
import ctypes
import datetime
import math
from typing import Any, Callable, List, Optional, Union

from ._buffers import Span
from ._elements import Element
from ._library import CallOptions, CombineFunction, ReductionStruct, lib

Timeout = Union[float, int, datetime.timedelta]  # seconds
OPS = {"sum": 0, "prod": 1, "min": 2, "max": 3, "avg": 4, "band": 5, "bor": 6, "bxor": 7}
_CUSTOM = 8
_MOST_MILLISECONDS = 2**31 - 1


def milliseconds(timeout: Timeout) -> int:
    """At least 1: for the library 0 means the communicator's own timeout, or not to wait."""
    seconds = timeout.total_seconds() if isinstance(timeout, datetime.timedelta) else float(timeout)
    if not seconds > 0:
        raise ValueError(f"timeout is {timeout}, and must be more than 0 seconds")
    return int(min(max(math.ceil(min(seconds, _MOST_MILLISECONDS) * 1000), 1), _MOST_MILLISECONDS))


class Reduction:
    """An operator of the caller's own: `function(left, right)` returns left o right for NumPy arrays of items.

    function: associative, and commutative but in scans.  It gets two arrays of equal shape and returns one; it is called by
              whichever thread drives the communicator, and calls nothing of this package.  The arrays have the data's dtype.
    width:    elements that make one item (a value and its place …): every count is a multiple of it, and with more than one
              the arrays have the shape (items, width).

    An exception of the function is raised from the call, or its request's wait(), and aborts the communicator: the other ranks
    need the result that there is none of.
    """

    def __init__(self, function: Callable[[Any, Any], Any], width: int = 1):
        if width < 1:
            raise ValueError(f"width is {width}, and must be 1 or more")
        self.function, self.width = function, width


class _Combiner:
    """A Reduction for one call, as the library calls it."""

    def __init__(self, reduction: Reduction, example: Span):
        try:
            import numpy
        except ImportError as error:
            raise ImportError("a function as reduction takes NumPy arrays, and numpy is not there: pip install numpy") from error
        self._numpy = numpy
        self._function = reduction.function
        self._dtype = self._numpy_dtype(example)
        self._shape = (-1,) if reduction.width == 1 else (-1, reduction.width)
        self._item = reduction.width * example.element.bytes
        self.failure: Optional[BaseException] = None
        self._combine = CombineFunction(self._run)
        self.struct = ReductionStruct(self._combine, None, reduction.width * example.element.width)

    def _numpy_dtype(self, example: Span) -> Any:
        if isinstance(getattr(example.array, "dtype", None), self._numpy.dtype):
            if example.array.dtype.itemsize == example.element.bytes:
                return example.array.dtype
        try:
            return self._numpy.dtype(example.element.name)
        except TypeError:
            raise TypeError(f"a function as reduction takes NumPy arrays; they lack elements of {example.element.name}") from None

    def _run(self, left: int, right: int, result: int, count: int, _context: Any) -> None:
        if self.failure is not None:
            return
        try:
            bytes_ = ctypes.c_char * (count * self._item)
            left, right, result = (self._numpy.frombuffer(bytes_.from_address(address), self._dtype).reshape(self._shape)
                                   for address in (left, right, result))
            result[...] = self._function(left, right)
        except BaseException as error:  # nothing may be raised into the library; the call's end raises it
            self.failure = error


class Options:
    """The struct of a call's options, and what it points to."""

    __slots__ = ("struct", "pointer", "codec", "combiner")

    def __init__(self, algorithm: Optional[str], timeout: Optional[Timeout], codec: Any, factor: Optional[float],
                 combiner: Optional[_Combiner]):
        self.struct = struct = CallOptions()
        self.pointer = pointer = ctypes.byref(struct)
        lib.tutti_call_options_init_sized(pointer, ctypes.sizeof(struct))
        self.codec, self.combiner = codec, combiner
        if algorithm is not None:
            struct.algorithm = algorithm.encode()
        if timeout is not None:
            struct.timeout_ms = milliseconds(timeout)
        if codec is not None:
            struct.codec = codec._opened()
        if factor is not None:
            struct.factor = ctypes.pointer(ctypes.c_double(factor))
        if combiner is not None:
            struct.reduction = ctypes.pointer(combiner.struct)


def op_code(op: Any, example: Span) -> int:
    """Of a name, checked against the type of elements."""
    try:
        code = OPS[op]
    except (KeyError, TypeError):
        raise ValueError(f"there is no reduction {op!r}; there are {', '.join(OPS)}, functions of two arrays and tutti.Reduction") \
            from None
    if op not in example.element.ops:
        raise TypeError(f"{op} is not defined for elements of {example.element.name}")
    return code


def reduction(op: Any, example: Span, algorithm, timeout, codec, factor) -> tuple:
    """(tutti_op, Options or None) of a call that reduces."""
    combiner = None
    if type(op) is str:
        code = op_code(op, example)
        if algorithm is None and timeout is None and codec is None and factor is None:
            return code, None
    else:
        if not isinstance(op, Reduction):
            if not callable(op):
                op_code(op, example)
            op = Reduction(op)
        code, combiner = _CUSTOM, _Combiner(op, example)
    return code, Options(algorithm, timeout, codec, factor, combiner)


def move(algorithm, timeout) -> Optional[Options]:
    """Options or None of a call that reduces nothing."""
    return None if algorithm is None and timeout is None else Options(algorithm, timeout, None, None, None)


# ---- arrays of numbers and addresses ----


def sizes(numbers: List[int]) -> Any:
    return (ctypes.c_size_t * len(numbers))(*numbers)


def addresses(spans: List[Optional[Span]]) -> Any:
    return (ctypes.c_void_p * len(spans))(*[found.address if found else None for found in spans])


def same_elements(spans: List[Span], names: str) -> Element:
    """The type of the elements that all of them have."""
    element = spans[0].element
    for found in spans:
        if found.element is not element and found.element != element:
            raise TypeError(f"{names} hold different types of elements: {element.name} and {found.element.name}")
    return element
