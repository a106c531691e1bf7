"""Memory of tutti_alloc as memoryview and NumPy array, which frees itself."""
import ctypes
import os
import weakref
from typing import Any, Sequence, Union

from ._library import lib

_UNINITIALIZED, _KEEP = 1, 2  # flags of tutti_alloc_with


def allocate(communicator: Any, bytes: int, zeroed: bool) -> memoryview:
    if bytes < 0:
        raise ValueError(f"bytes is {bytes}, and must be 0 or more")
    if bytes == 0:
        return memoryview(bytearray())
    address = ctypes.c_void_p()
    # Kept beyond the communicator's end: views of it may live longer.
    communicator._check(lib.tutti_alloc_with(communicator._handle, bytes, _KEEP | (0 if zeroed else _UNINITIALIZED),
                                             ctypes.byref(address)))
    memory = (ctypes.c_ubyte * bytes).from_address(address.value)
    weakref.finalize(memory, _free, address.value, os.getpid()).atexit = False  # the process's end frees all
    return memoryview(memory).cast("B")


def _free(address: int, process: int) -> None:
    if os.getpid() == process:  # in a child after fork it is the parent's
        lib.tutti_free(None, address)


def array(communicator: Any, shape: Union[int, Sequence[int]], dtype: Any, zeroed: bool) -> Any:
    try:
        import numpy
    except ImportError as error:
        raise ImportError("NumPy arrays take numpy: pip install numpy; alloc() returns a memoryview without it") from error
    empty = numpy.empty(0, dtype)
    lengths = (shape,) if isinstance(shape, int) else tuple(shape)
    count = 1
    for length in lengths:
        count *= length
    return numpy.frombuffer(allocate(communicator, count * empty.itemsize, zeroed), empty.dtype).reshape(lengths)
