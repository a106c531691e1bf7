"""Communicators: how they are made, what they know, and how they end."""
import atexit
import ctypes
import dataclasses
import os
import weakref
from typing import Any, List, Mapping, Optional, Sequence, Union

from . import _memory
from ._calls import Options, Timeout, milliseconds
from ._collectives import Collectives
from ._config import ConfigBuilder
from ._errors import Error, Status
from ._library import StatsStruct, check, lib, sentence_of
from ._messages import Messages
from .request import Request

_open: "weakref.WeakSet[Communicator]" = weakref.WeakSet()  # communicators of this process


@dataclasses.dataclass(frozen=True)
class Stats:
    """The work of a communicator on this rank since its creation."""

    operations: int  # finished operations
    input_bytes: int  # sum of count × element size over them
    sent_bytes: int  # payload this rank handed to peers
    received_bytes: int  # payload this rank took from peers
    nanoseconds: int  # from start to end of operations, summed; exchanges by algorithm "flat" are not timed
    memory_bytes: int  # memory held by the communicator on this rank
    last_algorithm: str  # of the last operation: "ring", "flat" …
    last_reason: str  # why it was chosen
    transports: str  # per kind of peers: "shm 3, tcp 4"
    last_lanes: int  # stripes in flight
    last_stripe_bytes: int
    last_predicted_us: float  # what the last operation was predicted to take; 0: nothing was predicted
    last_codec: str  # "" if the last operation was given none; else what it sent, or "none: " and why not


class Communicator(Collectives, Messages):
    """An ordered set of ranks 0 … size-1, which make the same collective calls in the same order.

        with tutti.Communicator() as comm:                      # under torchrun, mpirun, srun …, or TUTTI_RANK and so on
            comm.all_reduce(gradient, op="avg")

    Creation is collective, blocking, and bounded by TUTTI_BOOTSTRAP_TIMEOUT.  Without arguments the launcher says who is who
    (docs/launchers.md); otherwise:

    rank, size: of this process, and of all
    store:      where the ranks meet: "host:port" (rank 0 listens there), "file:/path/that/all/ranks/see", or an object with
                set(key, value: bytes) and get(key, timeout: seconds) -> bytes, which waits for the key
    id:         instead of a store, what unique_id() returned at one rank
    name:       shown in messages, equal on all ranks ("world")
    timeout:    seconds without any progress after which a call fails (TUTTI_TIMEOUT, 10 minutes)
    settings:   {"TUTTI_ALGORITHM": "ring", …}: as environment variables (docs/environment.md), for this communicator and all
                that are split off it

    Any thread may call anything at any time, but close() only once no other call is under way; which collective of two threads
    comes first must be the same on all ranks.  Only the process that created a communicator may use it.  At the end of the program
    what is still open is left with a goodbye to the other ranks.
    """

    def __init__(self, rank: Optional[int] = None, size: Optional[int] = None, *, store: Any = None, id: Optional[bytes] = None,
                 name: Optional[str] = None, timeout: Optional[Timeout] = None, settings: Optional[Mapping[str, Any]] = None):
        self._handle = None
        config = ConfigBuilder(rank, size, store, id, name, timeout, settings)
        handle = ctypes.c_void_p()
        status = lib.tutti_comm_create(ctypes.byref(handle), ctypes.byref(config.struct))
        if status:
            raise Error(status, sentence_of(), rank) from config.failure
        self._opened(handle.value, name or "world")

    @classmethod
    def _of(cls, handle: int, name: str) -> "Communicator":
        new = cls.__new__(cls)
        new._opened(handle, name)
        return new

    def _opened(self, handle: int, name: str) -> None:
        self._handle, self.name = handle, name
        self.rank: int = lib.tutti_comm_rank(handle)
        self.size: int = lib.tutti_comm_size(handle)
        self._requests: set = set()  # that have not ended, as far as this process has looked
        self._look_at = 64  # so many requests: time to let those go that have ended and were dropped
        self._inside: list = []  # an item for each call that blocks now; lists count without a lock
        self._parent: Optional[int] = None  # in a child after fork: the process that it belongs to
        _open.add(self)

    @classmethod
    def local(cls, size: int) -> List["Communicator"]:
        """`size` communicators of one group inside this process, [r] for rank r, to be used by different threads."""
        handles = (ctypes.c_void_p * size)()
        check(lib.tutti_comm_create_local(handles, size))
        return [cls._of(handle, "world") for handle in handles]

    def split(self, color: Optional[int], key: int = 0) -> Optional["Communicator"]:
        """A communicator of the ranks that give the same color, ordered by key, then by rank.  color None: this rank joins none.

        Collective over all ranks, blocking.
        """
        if color is not None and color < 0:
            raise ValueError(f"color is {color}, and must be 0 or more, or None")
        handle = ctypes.c_void_p()
        self._block(lib.tutti_comm_split, -1 if color is None else color, key, ctypes.byref(handle))
        return None if handle.value is None else self._of(handle.value, f"{self.name}/{color}")

    def group(self, ranks: Sequence[int], key: int = 0, timeout: Optional[Timeout] = None) -> "Communicator":
        """A communicator of some ranks: its rank i is ranks[i] here.  Collective over these ranks only, blocking.

        Threads that make groups of the same ranks at the same time tell them apart by `key` (0 or more).  timeout: seconds for
        making it, and then for its calls; None: TUTTI_BOOTSTRAP_TIMEOUT, and as here.
        """
        ranks = [int(rank) for rank in ranks]
        handle = ctypes.c_void_p()
        self._block(lib.tutti_comm_create_group, (ctypes.c_int * len(ranks))(*ranks), len(ranks), key,
                    0 if timeout is None else milliseconds(timeout), ctypes.byref(handle))
        return self._of(handle.value, f"{self.name}/{','.join(map(str, ranks))}")

    def set_timeout(self, timeout: Timeout) -> None:
        """The longest time, in seconds, for which a later call waits without any progress, and close() too.  Local."""
        self._check(lib.tutti_comm_set_timeout(self._handle, milliseconds(timeout)))

    def stats(self) -> Stats:
        """The work of this rank so far."""
        struct = StatsStruct(struct_size=ctypes.sizeof(StatsStruct))
        self._check(lib.tutti_comm_stats(self._handle, ctypes.byref(struct)))
        values = (getattr(struct, field.name) for field in dataclasses.fields(Stats))
        return Stats(*(value.decode() if isinstance(value, bytes) else value for value in values))

    # ---- memory that is cheap to communicate from and into ----
    # Ranks of one host reach it where it lies, so large messages of it are not copied, in calls of this communicator
    # and of all that are split off it.  It lives as long as the program refers to it, also when the communicator is
    # closed.

    def alloc(self, bytes: int, *, zeroed: bool = True) -> memoryview:
        """Memory of so many bytes, page aligned.  zeroed=False spares the zeroing of pages that were used before."""
        return _memory.allocate(self, bytes, zeroed)

    def zeros(self, shape: Union[int, Sequence[int]], dtype: Any = "float32") -> Any:
        """A NumPy array of zeros in such memory."""
        return _memory.array(self, shape, dtype, True)

    def empty(self, shape: Union[int, Sequence[int]], dtype: Any = "float32") -> Any:
        """A NumPy array with any content in such memory."""
        return _memory.array(self, shape, dtype, False)

    # ---- the end ----

    def abort(self, reason: str) -> None:
        """Ends every call on this communicator at every rank with ABORTED, naming this rank.  Does not wait, and any thread may."""
        self._check(lib.tutti_comm_abort(self._handle, reason.encode()))

    def close(self, timeout: Optional[Timeout] = None) -> None:
        """Ends it, once its requests have ended.  Every rank does so, and waits for no other, except that this process's last
        communicator may wait for ranks that hear of failures through it.

        timeout: seconds after which it waits for them no longer; 0: it says goodbye and goes.
        Raises Error and leaves it as it was while another thread's call is under way, or with a timeout of 0 a request.
        Closing again does nothing.
        """
        if self._handle is None:
            return
        if self._inside:
            raise Error(Status.INVALID_ARGUMENT, f"rank {self.rank}: communicator {self.name} cannot be closed while another "
                        "thread's call on it is under way; wait for it, or abort", self.rank)
        self._end_requests(None if timeout is None else timeout or 0)
        if timeout is None:
            status = lib.tutti_comm_destroy(self._handle)
        else:
            status = lib.tutti_comm_destroy_within(self._handle, milliseconds(timeout) if timeout else 0)
        if status != Status.INVALID_ARGUMENT:  # else it is as it was
            self._handle = None
            _open.discard(self)
        if status:
            raise Error(status, sentence_of(), self.rank)

    def _end_requests(self, timeout: Optional[Timeout]) -> None:
        """Looks which have ended, or waits until they have; what they failed with is told by their own wait()."""
        for request in list(self._requests):
            try:
                if timeout == 0:
                    request.test()
                else:
                    request.wait(timeout)
            except TimeoutError:
                raise
            except Exception:
                pass

    def __enter__(self) -> "Communicator":
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self.close()
        else:
            self._leave()  # an exception is on its way: say goodbye, and let it pass

    def _leave(self) -> None:
        """Ends it without waiting, and with it what is under way: nobody may keep the memory of that any longer."""
        handle = self._handle
        if handle is None:
            return
        self._end_requests(0)
        if self._requests or self._inside:
            lib.tutti_comm_abort(handle, b"it left in the middle of a call")
        if not self._inside and lib.tutti_comm_destroy_within(handle, 0) != Status.INVALID_ARGUMENT:
            self._handle = None
        _open.discard(self)

    def __del__(self):
        if getattr(self, "_handle", None) is not None:
            self._leave()

    # ---- what the other files call ----

    def _call(self, pair: tuple, options: Optional[Options], async_op: bool, keep: Any, *arguments: Any) -> Optional[Request]:
        pointer = None if options is None else options.pointer
        combiner = None if options is None else options.combiner
        if not async_op:
            self._inside.append(None)
            status = pair[0](self._handle, *arguments, pointer)
            self._inside.pop()
            if combiner is not None and combiner.failure is not None:
                raise self._failed_reduction(combiner.failure)
            if status:
                raise self._error(status)
            return None
        handle = ctypes.c_void_p()
        status = pair[1](self._handle, *arguments, pointer, ctypes.byref(handle))
        if status:
            raise self._error(status)
        return self._request(handle.value, (keep, options), combiner)

    def _request(self, handle: int, keep: Any, combiner: Any = None, result: Any = None) -> Request:
        """A started operation.  Requests that the program dropped are let go now and then."""
        if len(self._requests) >= self._look_at:
            for request in list(self._requests):
                try:
                    request.test()
                except Error:
                    pass  # its own wait() tells
            self._look_at = max(64, 2 * len(self._requests))
        return Request(self, handle, keep, combiner, result)

    def _block(self, function: Any, *arguments: Any) -> None:
        """Another call that waits for other ranks."""
        self._inside.append(None)
        status = function(self._handle, *arguments)
        self._inside.pop()
        self._check(status)

    def _check(self, status: int) -> None:
        if status:
            raise self._error(status)

    def _error(self, status: int) -> Error:
        if self._handle is not None:
            return Error(status, sentence_of(self._handle), self.rank)
        if status != Status.INVALID_ARGUMENT:  # a request that had not been waited for when its communicator ended
            return Error(status, sentence_of(), self.rank)
        state = "is closed" if self._parent is None else f"belongs to process {self._parent}, from which this one was forked"
        return Error(status, f"rank {self.rank}: communicator {self.name} {state}; create a new one", self.rank)

    def _failed_reduction(self, failure: BaseException) -> BaseException:
        """The function given as reduction raised `failure`, so the other ranks lack a result: they must not go on."""
        lib.tutti_comm_abort(self._handle, f"the function given as reduction raised {failure!r}".encode())
        return failure

    def __repr__(self):
        state = "" if self._handle is not None else ", closed"
        return f"<tutti.Communicator {self.name}, rank {self.rank} of {self.size}{state}>"


def unique_id() -> bytes:
    """Names one communicator to be: 128 bytes, made by one rank and handed to the others, for Communicator(id=…).

    The ranks meet at this process, which therefore is one of them or stays until they have met.
    """
    memory = ctypes.create_string_buffer(128)
    check(lib.tutti_get_unique_id(memory))
    return memory.raw


def _leave_all() -> None:
    for communicator in list(_open):
        communicator._leave()


def _forget_all() -> None:
    """In a child after fork: the communicators are the parent's."""
    for communicator in list(_open):
        communicator._handle, communicator._parent = None, os.getppid()
    _open.clear()


atexit.register(_leave_all)
os.register_at_fork(after_in_child=_forget_all)
