"""What the Python programs here need of libtutti, by ctypes and numpy: a communicator, average of an array, and codecs.

Not a binding: no asynchronous calls, one collective.  Errors raise RuntimeError with the library's own sentence.
"""

import ctypes
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_size_t, c_void_p

FLOAT32, SUM, AVG = 8, 0, 4  # tutti_dtype, tutti_op


class CallOptions(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("algorithm", c_char_p), ("timeout_ms", c_int), ("codec", c_void_p)]


class Library:
    """libtutti.so at `path`."""

    def __init__(self, path):
        self.c = ctypes.CDLL(str(path))
        for name, arguments in {
            "tutti_comm_create": [POINTER(c_void_p), c_void_p],
            "tutti_comm_destroy": [c_void_p],
            "tutti_comm_rank": [c_void_p],
            "tutti_comm_size": [c_void_p],
            "tutti_call_options_init_sized": [POINTER(CallOptions), c_size_t],
            "tutti_all_reduce": [c_void_p, c_void_p, c_void_p, c_size_t, c_int, c_int, POINTER(CallOptions)],
            "tutti_codec_create": [POINTER(c_void_p), c_char_p, c_size_t, c_int],
            "tutti_codec_destroy": [c_void_p],
            "tutti_codec_scale": [c_void_p, c_double],
            "tutti_codec_norm": [c_void_p, POINTER(c_double)],
        }.items():
            getattr(self.c, name).argtypes = arguments
        self.c.tutti_last_error.argtypes, self.c.tutti_last_error.restype = [c_void_p], c_char_p

    def check(self, status, comm=None):
        if status != 0:
            raise RuntimeError(self.c.tutti_last_error(comm).decode())


class Communicator:
    """The ranks that the environment tells of (TUTTI_RANK, TUTTI_SIZE, TUTTI_STORE, or a launcher's)."""

    def __init__(self, library):
        self.library, self.handle = library, c_void_p()
        library.check(library.c.tutti_comm_create(byref(self.handle), None))
        self.rank, self.size = library.c.tutti_comm_rank(self.handle), library.c.tutti_comm_size(self.handle)
        self.options = CallOptions()
        library.c.tutti_call_options_init_sized(byref(self.options), ctypes.sizeof(CallOptions))

    def average(self, array, codec=None):
        """Replaces a contiguous float32 array by its average over ranks."""
        self.options.codec = codec.handle if codec else None
        address = array.ctypes.data
        self.library.check(self.library.c.tutti_all_reduce(self.handle, address, address, array.size, FLOAT32, AVG,
            byref(self.options)),
                           self.handle)

    def close(self):
        self.library.check(self.library.c.tutti_comm_destroy(self.handle))


class Codec:
    """Compression of one float32 array of `count` elements, with its residual at this rank."""

    def __init__(self, library, spec, count):
        self.library, self.handle = library, c_void_p()
        library.check(library.c.tutti_codec_create(byref(self.handle), spec.encode(), count, FLOAT32))

    def scale(self, factor):
        self.library.check(self.library.c.tutti_codec_scale(self.handle, factor))

    def norm(self):
        value = c_double()
        self.library.check(self.library.c.tutti_codec_norm(self.handle, byref(value)))
        return value.value

    def close(self):
        self.library.check(self.library.c.tutti_codec_destroy(self.handle))
