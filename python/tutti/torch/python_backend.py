"""The backend "tutti" in Python, over tutti.Communicator: for torch 2.14 and later where there is no compiler.

The same operations as in C++ (csrc/backend.h), slower.  Two things differ: a future that was asked for before its work failed
raises RuntimeError with the text of the exception, and the profiler's event of an asynchronous call ends when the call has begun.
"""
import datetime
import os
import re
import threading

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import Backend as C10dBackend
from torch._C._distributed_c10d import ErrorType

from .._errors import Error, Status
from ..communicator import Communicator
from .python_operations import Operations
from .python_work import RequestWork, SeveralWorks, TuttiWork, as_torch, recorded, threads

_PATIENCE = 5  # seconds that operations under way have to end when a group is destroyed
# Until shutdown(): a wrapper in C++ (TORCH_DISTRIBUTED_DEBUG=DETAIL) does not keep the part of a backend in Python.
_open: "set[Backend]" = set()


class Options(C10dBackend.Options):
    """pg_options of a process group over tutti.  settings: "TUTTI_ALGORITHM=ring" …, as environment variables for this group."""

    def __init__(self, settings=()):
        super().__init__("tutti")
        self.settings = list(settings)


class _Store:
    """torch's store as tutti.Communicator takes it."""

    def __init__(self, store):
        self._store = store

    def set(self, key, value):
        self._store.set(key, value)

    def get(self, key, timeout):
        self._store.wait([key], datetime.timedelta(seconds=timeout))
        return self._store.get(key)


def _settings(options):
    """The caller's, and the time that torch gives for creating a group, unless the environment has another one."""
    settings = dict(text.split("=", 1) for text in options.settings)
    if "TUTTI_BOOTSTRAP_TIMEOUT" not in os.environ:
        settings.setdefault("TUTTI_BOOTSTRAP_TIMEOUT", f"{max(1, int(options._timeout.total_seconds() * 1000))}ms")
    return settings


class Backend(Operations):
    """What torch.distributed calls; see c10d::Backend.  `create` and `create_group` make it."""

    def __init__(self, communicator, options):
        super().__init__(communicator.rank, communicator.size)
        self._communicator, self._options = communicator, options
        self._ranks = list(options.global_ranks_in_group)
        self._coalescing = threading.local()
        self._collectives = 0  # calls that have begun
        self._quiet, self._uses, self._closed = threading.Condition(), 0, False
        self._status = Status.SUCCESS  # what ended it, as far as this rank knows
        _open.add(self)

    @classmethod
    def create(cls, store, rank, size, options):
        """The ranks meet through `store`.  `options` has the timeout, the group's name and its ranks in the whole job."""
        try:
            communicator = Communicator(rank, size, store=_Store(store), name=options.group_name or "world",
                                        timeout=options._timeout, settings=_settings(options))
        except Error as error:
            raise as_torch(error, f" The store said: {error.__cause__}" if error.__cause__ else "") from error.__cause__
        return cls(communicator, options)

    def create_group(self, ranks, options):
        """Some ranks of this group, in the given order; only they call it."""
        self._enter()
        try:
            # No key of the group's name: with use_local_synchronization torch 2.14 gives it another one on each rank.
            communicator = self._communicator.group(ranks, timeout=options._timeout)
        except Error as error:
            raise self._failure(error) from None
        finally:
            self._leave()
        return type(self)(communicator, options)

    # ---- what it is ----

    def getBackendName(self):
        return "tutti"

    def _set_sequence_number_for_group(self):  # all ranks begin with 0
        pass

    def _get_sequence_number_for_group(self):
        return self._collectives

    @property
    def options(self):
        copy = Options(self._options.settings)  # split() may change what it is given
        for name in ("_timeout", "group_name", "global_ranks_in_group"):
            setattr(copy, name, getattr(self._options, name))
        return copy

    supports_coalescing = True
    supports_splitting = True

    @property
    def usable(self):
        return not self._closed

    def statistics(self):
        stats = self._blocking(lambda: self._communicator.stats())
        return {name: getattr(stats, name) for name in ("operations", "input_bytes", "sent_bytes", "received_bytes", "memory_bytes",
                                                        "last_algorithm", "last_codec", "transports")}

    def set_timeout(self, timeout):
        self._blocking(lambda: self._communicator.set_timeout(timeout))
        self._options._timeout = timeout

    def get_error(self):
        return {Status.SUCCESS: ErrorType.SUCCESS, Status.TIMEOUT: ErrorType.TIMEOUT, Status.PEER_LOST: ErrorType.REMOTE_ERROR,
                Status.ABORTED: ErrorType.REMOTE_ERROR}.get(self._status, ErrorType.COMM_ERROR)

    # ---- its end ----

    def abort(self):
        if not self._closed:
            self._communicator.abort("torch.distributed aborted the process group")

    def shutdown(self):
        """Says goodbye to the other ranks: no call begins any more; those under way have some time to end, then are aborted."""
        with self._quiet:
            if self._closed:
                return
            self._closed = True
            _open.discard(self)
            if not self._quiet.wait_for(lambda: self._uses == 0, _PATIENCE):
                self._communicator.abort("the process group was destroyed while operations of it were under way")
                self._quiet.wait_for(lambda: self._uses == 0)  # what is aborted ends
        try:
            self._communicator.close(_PATIENCE)
        except Error:
            pass  # it has ended all the same

    def _enter(self):
        """A call begins, or a request."""
        with self._quiet:
            if self._closed:
                raise dist.DistBackendError(f"the process group {self._communicator.name} was destroyed; call "
                                            "torch.distributed.init_process_group or new_group again.")
            self._uses += 1

    def _leave(self):
        with self._quiet:
            self._uses -= 1
            if self._closed and self._uses == 0:
                self._quiet.notify_all()

    def _failure(self, error):
        """Of a call: torch's exception, whose sentence has the global numbers of ranks besides."""
        if error.status not in (Status.INVALID_ARGUMENT, Status.UNSUPPORTED, Status.OUT_OF_MEMORY):
            self._status = error.status
        named = sorted({int(number) for number in re.findall(r"rank (\d{1,9})", error.sentence)})
        numbers = [f"rank {rank} is global rank {self._ranks[rank]}" for rank in named if rank < len(self._ranks)]
        if not numbers or self._ranks == list(range(len(self._ranks))):
            return as_torch(error)
        return as_torch(error, f" (In group {self._communicator.name}, {', '.join(numbers)}.)")

    # ---- carrying out ----

    def _blocking(self, call):
        self._enter()
        try:
            return call()
        except Error as error:
            raise self._failure(error) from None
        finally:
            self._leave()

    def _run(self, title, asynchronous, inputs, results, *steps):
        """Carries out calls, or starts them; they are one work.  A step is the Operands and a function that takes async_op."""
        self._collectives += 1
        with recorded(title, inputs):
            works = getattr(self._coalescing, "works", None)
            if works is None and not asynchronous:
                for operands, call in steps:
                    self._blocking(lambda: call(async_op=False))
                    operands.copy_back()
                return TuttiWork(results)
            try:
                parts = [RequestWork(self, operands, results, call) for operands, call in steps]
            except Error as error:
                raise self._failure(error) from None
            work = parts[0] if len(parts) == 1 else SeveralWorks(parts, results)
            if works is not None:
                works.append(work)
            return work

    def start_coalescing(self):
        if getattr(self._coalescing, "works", None) is not None:
            raise RuntimeError("start_coalescing was called twice without end_coalescing in between.")
        self._coalescing.works = []

    def end_coalescing(self):
        works, self._coalescing.works = getattr(self._coalescing, "works", None), None
        if works is None:
            raise RuntimeError("end_coalescing was called without start_coalescing.")
        return SeveralWorks(works, [])

    # ---- memory, groups ----

    def supports_tensor_alloc(self, device):
        return True

    def allocate_tensor(self, size, *, dtype, device):
        """A tensor of `size` elements in memory that is cheap to communicate from and into, with any content."""
        if torch.device(device).type != "cpu":
            raise ValueError(f"tutti allocates on the CPU, not on {device}.")
        if size == 0:
            return torch.empty(0, dtype=dtype)
        memory = self._blocking(lambda: self._communicator.alloc(size * dtype.itemsize, zeroed=False))
        return torch.frombuffer(memory, dtype=dtype)

    def split(self, store, ranks, opts):
        if self.rank() not in ranks:
            return None
        options = self.options
        if opts is not None:
            options._timeout, options.group_name = opts._timeout, opts.group_name
        options.global_ranks_in_group = [self._ranks[rank] if rank < len(self._ranks) else rank for rank in ranks]
        return self.create_group(ranks, options)


def close_all(failure):
    """At the end of the process: nobody shall take it for dead.  Where the program failed, others hear of `failure` at once."""
    for backend in list(_open):
        if failure:
            backend._communicator.abort(failure)
        backend.shutdown()
    threads.await_idle(10)


def _in_child():
    for backend in list(_open):
        backend._closed = True  # it is the parent's
    _open.clear()


os.register_at_fork(after_in_child=_in_child)
