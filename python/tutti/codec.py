"""Gradient compression: codecs for all_reduce."""
import ctypes
import os
from typing import Any

from ._elements import element_named
from ._library import check, lib


class Codec:
    """Compresses what travels in all-reduces (sum, avg) of one array, and keeps what it left out for the next call.

    spec:  "int8", "topk:ratio=0.01,values=fp16", "auto:int4:group=128" … (docs/compression.md)
    count: elements of the array;  dtype: "float32", "float16" or "bfloat16"

    One for each array, equal on all ranks, and used in equally many calls; one call at a time.  It takes 4 bytes an element if it
    has a residual, 4 more with momentum, until close() or the end of its life.  After a call that failed on the way it refuses
    further calls until reset() or load().
    """

    def __init__(self, spec: str, count: int, dtype: Any = "float32"):
        self.handle = None
        self._process = os.getpid()
        handle = ctypes.c_void_p()
        check(lib.tutti_codec_create(ctypes.byref(handle), spec.encode(), count, element_named(dtype).code))
        self.handle = handle.value  # the address of the tutti_codec, for code that calls the C API itself

    @property
    def spec(self) -> str:
        """The codec as it may be given to Codec()."""
        return lib.tutti_codec_spec(self._opened()).decode()

    def norm(self) -> float:
        """L2 norm of this rank's residual, in units of the sum (for avg, too); 0 without feedback."""
        value = ctypes.c_double()
        check(lib.tutti_codec_norm(self._opened(), ctypes.byref(value)))
        return value.value

    def scale(self, factor: float) -> None:
        """Multiplies the residual.

        Call it with old rate / new rate when a learning rate that multiplies what comes out changes: what was left out then counts
        at the rate of its own step.
        """
        check(lib.tutti_codec_scale(self._opened(), factor))

    def reset(self) -> None:
        """Residual, momentum and number of steps as after creation."""
        check(lib.tutti_codec_reset(self._opened()))

    def state(self) -> bytes:
        """A checkpoint of this rank's residual, momentum and number of steps."""
        size = ctypes.c_size_t()
        check(lib.tutti_codec_export(self._opened(), None, ctypes.byref(size)))
        memory = ctypes.create_string_buffer(size.value)
        check(lib.tutti_codec_export(self.handle, memory, ctypes.byref(size)))
        return memory.raw[:size.value]

    def load(self, state: bytes) -> None:
        """Takes what state() of an equal codec of this rank returned; anything else is refused and changes nothing."""
        state = bytes(state)
        check(lib.tutti_codec_import(self._opened(), state, len(state)))

    def close(self) -> None:
        """Frees it; refused while a call uses it.  Closing again does nothing."""
        if self.handle is not None and self._process == os.getpid():  # a child's copy is left alone
            check(lib.tutti_codec_destroy(self.handle))
        self.handle = None

    def _opened(self) -> int:
        if self.handle is None:
            raise ValueError("this codec is closed")
        return self.handle

    def __enter__(self) -> "Codec":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self):
        if getattr(self, "handle", None) is not None and self._process == os.getpid():
            lib.tutti_codec_destroy(self.handle)

    def __repr__(self):
        return "<tutti.Codec closed>" if self.handle is None else f"<tutti.Codec {self.spec}>"
