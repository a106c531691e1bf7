"""Where the elements of an array are: NumPy arrays, the buffer protocol, DLPack on the CPU."""
import ctypes
from typing import Any

from ._elements import Element, element_named, element_of_dlpack, element_of_format, opaque

_address_of = ctypes.addressof
_first_byte = ctypes.c_char.from_buffer
_EMPTY = ctypes.create_string_buffer(64)  # the place of buffers without elements
_NOWHERE = _address_of(_EMPTY)


class Span:
    """`count` elements at `address`.  While a Span is alive, so is the memory: its `owner` keeps it where it is."""

    __slots__ = ("address", "count", "element", "owner", "array")

    def __init__(self, address: int, count: int, element: Element, owner: Any = None, array: Any = None):
        self.address, self.count, self.element, self.owner, self.array = address, count, element, owner, array


def span(array: Any, name: str, dtype: Any = None, writable: bool = False) -> Span:
    """The memory of `array`, which an error calls `name`.  dtype: what its bytes are, if not what the array says.

    Raises TypeError for what has no memory here, ValueError for what lies scattered or must not be written.
    """
    if type(array) is Span:
        return array
    try:
        view = memoryview(array)
    except (TypeError, ValueError, BufferError):  # no such protocol, or not for this type (NumPy's extensions)
        view = None
    if view is None:
        found = _of_other(array, name, writable)
    else:
        try:
            address = _address_of(_first_byte(view))
        except (TypeError, ValueError):
            address = None
        if address is None:
            address = _unusual_address(view, name, writable)
        size = view.itemsize
        found = Span(address, view.nbytes // size if size else 0, element_of_format(view.format, size), view, array)
    return found if dtype is None else _as(found, element_named(dtype), name)


def _as(found: Span, element: Element, name: str) -> Span:
    count, rest = divmod(found.count * found.element.bytes, element.bytes)
    if rest:
        raise ValueError(f"{name} has {found.count * found.element.bytes} bytes, no multiple of the {element.bytes} "
                         f"of a {element.name}")
    return Span(found.address, count, element, found.owner, found.array)


def _scattered(name: str) -> ValueError:
    return ValueError(f"{name} is not contiguous (rows one after another, no gaps): give a contiguous copy of it")


def _read_only(name: str) -> ValueError:
    return ValueError(f"{name} is read-only, and the call writes it")


# ---- the buffer protocol where ctypes gives no address: no bytes, read-only, scattered ----


class _PyBuffer(ctypes.Structure):
    _fields_ = [("buf", ctypes.c_void_p), ("obj", ctypes.py_object), ("len", ctypes.c_ssize_t), ("itemsize", ctypes.c_ssize_t),
                ("readonly", ctypes.c_int), ("ndim", ctypes.c_int), ("format", ctypes.c_char_p), ("shape", ctypes.c_void_p),
                ("strides", ctypes.c_void_p), ("suboffsets", ctypes.c_void_p), ("internal", ctypes.c_void_p)]


_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = [ctypes.py_object, ctypes.POINTER(_PyBuffer), ctypes.c_int]
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = [ctypes.POINTER(_PyBuffer)]
_release_buffer.restype = None


def _unusual_address(view: memoryview, name: str, writable: bool) -> int:
    if not view.c_contiguous:
        raise _scattered(name)
    if writable and view.readonly:
        raise _read_only(name)
    if view.nbytes == 0:
        return _NOWHERE
    buffer = _PyBuffer()
    _get_buffer(view, ctypes.byref(buffer), 0)  # `view` keeps the memory in place once this is released
    try:
        return buffer.buf
    finally:
        _release_buffer(ctypes.byref(buffer))


# ---- DLPack, and NumPy's own protocol for the types that the buffer protocol does not know ----


class _DLTensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int), ("device_id", ctypes.c_int), ("ndim", ctypes.c_int),
                ("kind", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
                ("byte_offset", ctypes.c_uint64)]


_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_capsule_pointer.restype = ctypes.c_void_p
_ON_CPU = (1, 3, 11)  # DLDeviceType: CPU, and memory of the host that CUDA or ROCm has pinned


def _of_other(array: Any, name: str, writable: bool) -> Span:
    if hasattr(array, "__array_interface__"):
        return _of_array_interface(array, name, writable)
    if hasattr(array, "__dlpack__"):
        return _of_dlpack(array, name)
    raise TypeError(f"{name} is a {type(array).__name__}, which has no memory to communicate: "
                    "give an object with the buffer protocol or DLPack (NumPy array, torch tensor, bytearray …)")


def _of_array_interface(array: Any, name: str, writable: bool) -> Span:
    interface = array.__array_interface__
    if interface.get("strides") is not None:
        raise _scattered(name)
    address, read_only = interface["data"]
    if writable and read_only:
        raise _read_only(name)
    size = int(interface["typestr"][2:].partition("[")[0])  # "<V2", "<M8[s]"
    kind = getattr(getattr(array, "dtype", None), "name", None) or interface["typestr"]
    try:
        element = element_named(kind)
    except TypeError:
        element = opaque(size, kind)
    count = 1
    for length in interface["shape"]:
        count *= length
    return Span(address if count else _NOWHERE, count, element, array, array)


def _of_dlpack(array: Any, name: str) -> Span:
    if hasattr(array, "__dlpack_device__") and array.__dlpack_device__()[0] not in _ON_CPU:
        raise TypeError(f"{name} is not in the memory of the CPU (DLPack device {array.__dlpack_device__()}): copy it there first")
    try:
        capsule = array.__dlpack__()
    except (BufferError, RuntimeError) as error:
        raise TypeError(f"{name} cannot be reached: {error}") from error
    # The capsule owns the description and, by it, the memory; whoever drops an unused capsule releases both.
    tensor = _DLTensor.from_address(_capsule_pointer(capsule, b"dltensor"))
    shape = tensor.shape[:tensor.ndim]
    if tensor.strides and not _is_contiguous(shape, tensor.strides[:tensor.ndim]):
        raise _scattered(name)
    count = 1
    for length in shape:
        count *= length
    element = element_of_dlpack(tensor.kind, tensor.bits, tensor.lanes)
    return Span((tensor.data or 0) + tensor.byte_offset if count else _NOWHERE, count, element, capsule, array)


def _is_contiguous(shape, strides) -> bool:
    expected = 1
    for length, stride in zip(reversed(shape), reversed(strides)):
        if length == 0:
            return True
        if length != 1 and stride != expected:
            return False
        expected *= length
    return True
