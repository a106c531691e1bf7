"""libtutti: where it is, and the types of its functions (include/tutti/tutti.h)."""
import ctypes
import os
import pathlib
import warnings
from ctypes import POINTER, c_char, c_char_p, c_double, c_int, c_size_t, c_uint, c_uint32, c_uint64, c_void_p
from typing import Optional

from ._errors import Error

ENVIRONMENT = "TUTTI_PYTHON_LIBRARY"  # names another libtutti.so than the package's
_NAMES = (ENVIRONMENT, "TUTTI_PYTHON_CACHE", "TUTTI_PYTHON_BACKEND")  # the latter two of tutti.torch
ANY_SOURCE = -1
ANY_TAG = -1

SetFunction = ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p, c_size_t)
GetFunction = ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p, POINTER(c_size_t), c_int)
CombineFunction = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p)
NotifyFunction = ctypes.CFUNCTYPE(None, c_void_p)


class StoreCallbacks(ctypes.Structure):
    _fields_ = [("set", SetFunction), ("get", GetFunction), ("context", c_void_p)]


class Config(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("rank", c_int), ("size", c_int), ("id", c_void_p), ("store", c_char_p),
                ("callbacks", POINTER(StoreCallbacks)), ("name", c_char_p), ("timeout_ms", c_int), ("settings", POINTER(c_char_p))]


class StatsStruct(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("operations", c_uint64), ("input_bytes", c_uint64), ("sent_bytes", c_uint64),
                ("received_bytes", c_uint64), ("nanoseconds", c_uint64), ("memory_bytes", c_uint64),
                ("last_algorithm", c_char * 24), ("last_reason", c_char * 104), ("transports", c_char * 64),
                ("last_lanes", c_uint32), ("last_stripe_bytes", c_uint32), ("last_predicted_us", c_double),
                ("last_codec", c_char * 160)]


class ReductionStruct(ctypes.Structure):
    _fields_ = [("combine", CombineFunction), ("context", c_void_p), ("width", c_size_t)]


class CallOptions(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("algorithm", c_char_p), ("timeout_ms", c_int), ("codec", c_void_p),
                ("factor", POINTER(c_double)), ("reduction", POINTER(ReductionStruct))]


class ReceivedStruct(ctypes.Structure):
    _fields_ = [("source", c_int), ("tag", c_int), ("count", c_size_t)]


class MessageOptions(ctypes.Structure):
    _fields_ = [("struct_size", c_size_t), ("timeout_ms", c_int), ("received", POINTER(ReceivedStruct))]


def _collectives():
    """Arguments of each collective between the communicator and the options."""
    p, n, e = c_void_p, c_size_t, c_int  # an address (of an array, too), a count, an enum or a rank
    return {
        "all_reduce": [p, p, n, e, e],
        "all_reduce_list": [p, p, p, n, e, e],
        "reduce_scatter": [p, p, n, e, e],
        "reduce_scatter_v": [p, p, p, e, e],
        "reduce_scatter_parts": [p, p, p, e, e],
        "all_gather": [p, p, n, e],
        "all_gather_v": [p, p, p, e],
        "all_gather_parts": [p, p, p, e],
        "broadcast": [p, p, n, e, e],
        "reduce": [p, p, n, e, e, e],
        "scan": [p, p, n, e, e],
        "exscan": [p, p, n, e, e],
        "gather": [p, p, n, e, e],
        "gather_v": [p, p, p, e, e],
        "gather_parts": [p, p, p, e, e],
        "scatter": [p, p, n, e, e],
        "scatter_v": [p, p, p, e, e],
        "scatter_parts": [p, p, p, e, e],
        "all_to_all": [p, p, n, e],
        "all_to_all_v": [p, p, p, p, p, p, e],
        "all_to_all_parts": [p, p, p, p, e],
        "barrier": [],
        "send": [p, n, e, e, e],
        "recv": [p, n, e, e, e],
    }


_OTHERS = {
    "tutti_version": (c_char_p, []),
    "tutti_last_error": (c_char_p, [c_void_p]),
    "tutti_get_unique_id": (c_int, [c_void_p]),
    "tutti_config_init_sized": (None, [POINTER(Config), c_size_t]),
    "tutti_comm_create": (c_int, [POINTER(c_void_p), POINTER(Config)]),
    "tutti_comm_create_local": (c_int, [POINTER(c_void_p), c_int]),
    "tutti_comm_split": (c_int, [c_void_p, c_int, c_int, POINTER(c_void_p)]),
    "tutti_comm_create_group": (c_int, [c_void_p, POINTER(c_int), c_int, c_int, c_int, POINTER(c_void_p)]),
    "tutti_comm_set_timeout": (c_int, [c_void_p, c_int]),
    "tutti_comm_abort": (c_int, [c_void_p, c_char_p]),
    "tutti_comm_destroy": (c_int, [c_void_p]),
    "tutti_comm_destroy_within": (c_int, [c_void_p, c_int]),
    "tutti_comm_rank": (c_int, [c_void_p]),
    "tutti_comm_size": (c_int, [c_void_p]),
    "tutti_comm_stats": (c_int, [c_void_p, POINTER(StatsStruct)]),
    "tutti_alloc_with": (c_int, [c_void_p, c_size_t, c_uint, POINTER(c_void_p)]),
    "tutti_free": (c_int, [c_void_p, c_void_p]),
    "tutti_call_options_init_sized": (None, [POINTER(CallOptions), c_size_t]),
    "tutti_message_options_init_sized": (None, [POINTER(MessageOptions), c_size_t]),
    "tutti_group_begin": (c_int, [c_void_p]),
    "tutti_group_end": (c_int, [c_void_p]),
    "tutti_group_end_start": (c_int, [c_void_p, POINTER(c_void_p)]),
    "tutti_wait": (c_int, [c_void_p]),
    "tutti_test": (c_int, [c_void_p, POINTER(c_int)]),
    "tutti_wait_for": (c_int, [c_void_p, c_int, POINTER(c_int)]),
    "tutti_request_notify": (c_int, [c_void_p, NotifyFunction, c_void_p]),
    "tutti_codec_create": (c_int, [POINTER(c_void_p), c_char_p, c_size_t, c_int]),
    "tutti_codec_destroy": (c_int, [c_void_p]),
    "tutti_codec_spec": (c_char_p, [c_void_p]),
    "tutti_codec_reset": (c_int, [c_void_p]),
    "tutti_codec_scale": (c_int, [c_void_p, c_double]),
    "tutti_codec_norm": (c_int, [c_void_p, POINTER(c_double)]),
    "tutti_codec_export": (c_int, [c_void_p, c_void_p, POINTER(c_size_t)]),
    "tutti_codec_import": (c_int, [c_void_p, c_void_p, c_size_t]),
}


def path() -> pathlib.Path:
    """The libtutti.so that this process uses: what TUTTI_PYTHON_LIBRARY names, else the package's."""
    named = os.environ.get(ENVIRONMENT)
    return pathlib.Path(named) if named else pathlib.Path(__file__).parent / "libtutti.so"


def _load() -> ctypes.CDLL:
    file = path()
    for name in sorted(os.environ):
        if name.startswith("TUTTI_PYTHON_") and name not in _NAMES:
            warnings.warn(f"{name} (environment) is no setting of Tutti's Python package; there are {', '.join(_NAMES)}",
                          stacklevel=2)
    advice = (f"set {ENVIRONMENT} to a libtutti.so that loads here, or unset it" if ENVIRONMENT in os.environ else
              f"install the package (pip install .), or set {ENVIRONMENT} to the libtutti.so of a build")
    try:
        loaded = ctypes.CDLL(str(file))
        types = {f"tutti_{name}": (c_int, [c_void_p, *arguments, c_void_p]) for name, arguments in _collectives().items()}
        types.update({f"tutti_{name}_start": (c_int, [c_void_p, *arguments, c_void_p, POINTER(c_void_p)])
                      for name, arguments in _collectives().items()})
        for name, (result, arguments) in {**types, **_OTHERS}.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:  # not there, needs what is not there, or an older library
        raise ImportError(f"tutti cannot load its library {file}: {error}; {advice}", path=str(file)) from error
    return loaded


lib = _load()


def sentence_of(handle: Optional[int] = None) -> str:
    """The library's sentence about the last failure on a communicator, or of this thread's last call that had none."""
    return lib.tutti_last_error(handle).decode(errors="replace")


def check(status: int) -> None:
    """Raises the failure of a call that had no communicator."""
    if status:
        raise Error(status, sentence_of())
