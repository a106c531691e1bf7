"""Types of elements: what arrays hold, and as which of the library's types it travels."""
from typing import Any, NamedTuple, Optional

_ARITHMETIC = frozenset(["sum", "prod", "min", "max", "avg"])
_BITS = frozenset(["band", "bor", "bxor"])
_FLOAT_CODES = (6, 7, 8, 9)  # tutti_dtype of floating point types


class Element(NamedTuple):
    """One element of an array is `width` of the library's elements of type `code` (tutti_dtype)."""

    name: str
    code: int
    width: int
    bytes: int
    ops: frozenset  # names of the reductions that it has


_CODES = {"int8": (0, 1), "uint8": (1, 1), "int32": (2, 4), "uint32": (3, 4), "int64": (4, 8), "uint64": (5, 8), "float16": (6, 2),
          "bfloat16": (7, 2), "float32": (8, 4), "float64": (9, 8), "int16": (10, 2), "uint16": (11, 2)}
ELEMENTS = {name: Element(name, code, 1, size, _ARITHMETIC if code in _FLOAT_CODES else _ARITHMETIC | _BITS)
            for name, (code, size) in _CODES.items()}
# True and false as bytes 1 and 0; these reductions keep them so.
ELEMENTS["bool"] = Element("bool", ELEMENTS["uint8"].code, 1, 1, frozenset(["prod", "min", "max"]) | _BITS)
# Real and imaginary part as two elements; sums and averages are those of the parts.
ELEMENTS["complex64"] = Element("complex64", ELEMENTS["float32"].code, 2, 8, frozenset(["sum", "avg"]))
ELEMENTS["complex128"] = Element("complex128", ELEMENTS["float64"].code, 2, 16, frozenset(["sum", "avg"]))


def opaque(size: int, name: str) -> Element:
    """Elements of another type, `size` bytes each: they can be moved, and reduced by a function of the caller's."""
    return Element(name, ELEMENTS["uint8"].code, size, size, frozenset())


def element_named(dtype: Any) -> Element:
    """Of "float32", numpy.float32, numpy.dtype("float32"), torch.float32 …"""
    name = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", None) or str(dtype)
    try:
        return ELEMENTS[name.rpartition(".")[2]]
    except KeyError:
        raise TypeError(f"there is no dtype {dtype!r}; there are {', '.join(ELEMENTS)}") from None


_SIGNED, _UNSIGNED, _FLOATS = "bhilqn", "BHILQN", "efd"
_of_formats: dict = {}  # what element_of_format has found


def element_of_format(format: Optional[str], size: int) -> Element:
    """Of a format of the buffer protocol (struct's letters) whose items have `size` bytes."""
    try:
        return _of_formats[format, size]
    except KeyError:
        element = _of_formats[format, size] = _find(format or "B", size)
        return element


def _find(format: str, size: int) -> Element:
    letter = format.lstrip("@=<")  # ">" stays: bytes in the other order can be moved only
    if letter == "?":
        return ELEMENTS["bool"]
    if letter in ("c", "s"):
        return ELEMENTS["uint8"]
    if letter in ("Zf", "Zd"):
        return ELEMENTS[f"complex{8 * size}"]
    for letters, kind in ((_SIGNED, "int"), (_UNSIGNED, "uint"), (_FLOATS, "float")):
        if len(letter) == 1 and letter in letters:
            return ELEMENTS[f"{kind}{8 * size}"]
    return opaque(size, f"format {format!r}")


_DLPACK_KINDS = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 5: "complex"}  # DLDataTypeCode


def element_of_dlpack(kind: int, bits: int, lanes: int) -> Element:
    name = "bool" if kind == 6 else f"{_DLPACK_KINDS.get(kind, 'kind')}{bits}"
    if lanes == 1 and name in ELEMENTS:
        return ELEMENTS[name]
    if bits % 8:
        raise TypeError(f"elements of {bits} bits are no whole bytes")
    return opaque(bits // 8 * lanes, f"DLPack type {kind} of {bits} bits, {lanes} lanes")
