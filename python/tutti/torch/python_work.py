"""Works of the backend in Python: operations under way as torch sees them, and their failures as torch's exceptions."""
import _thread
import collections
import datetime
import os
import threading
import time
from functools import partial

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import Work
from torch._C._profiler import _RecordFunctionFast

from .._errors import Error, Status

# ---- threads that complete futures ----


class _Threads:
    """A callback of a future may wait for further futures (PowerSGD's hook of DistributedDataParallel does), so no number of
    threads that is fixed in advance is enough: a job never waits for another one.  Threads stay for later jobs."""

    def __init__(self):
        self._lock = threading.Lock()
        self._ready, self._finished = threading.Condition(self._lock), threading.Condition(self._lock)
        self._jobs, self._idle, self._unfinished = collections.deque(), 0, 0

    def run(self, job):
        """`job()` begins at once, whatever the jobs before it wait for.  It raises nothing."""
        with self._lock:
            self._unfinished += 1
            self._jobs.append(job)
            if len(self._jobs) <= self._idle:
                self._ready.notify()
                return
        _thread.start_new_thread(self._work, ())

    def _work(self):
        while True:
            with self._lock:
                while not self._jobs:
                    self._idle += 1
                    self._ready.wait()
                    self._idle -= 1
                job = self._jobs.popleft()
            job()
            del job  # and what it holds, before waiting
            with self._lock:
                self._unfinished -= 1
                if self._unfinished == 0:
                    self._finished.notify_all()

    def await_idle(self, longest):
        """Waits until all jobs are finished, but no longer than `longest` seconds."""
        with self._lock:
            self._finished.wait_for(lambda: self._unfinished == 0, longest)


threads = _Threads()


def _in_child():
    threads.__init__()  # the parent's threads do not live here


os.register_at_fork(after_in_child=_in_child)


def recorded(title, inputs):
    """An event of torch's profiler, around what begins an operation."""
    return _RecordFunctionFast(f"tutti:{title}", inputs)


# ---- failures ----

_CLASSES = {Status.PEER_LOST: dist.DistNetworkError, Status.UNREACHABLE: dist.DistNetworkError, Status.INVALID_ARGUMENT: ValueError,
            Status.UNSUPPORTED: NotImplementedError, Status.OUT_OF_MEMORY: torch.OutOfMemoryError}


def as_torch(error, addition=""):
    """The exception that users of torch.distributed expect instead of a tutti.Error."""
    sentence = error.sentence
    if error.status == Status.TIMEOUT and " timeout " not in sentence:  # programs look for this word
        sentence = f"a timeout ended this call: {sentence}"
    return _CLASSES.get(error.status, dist.DistBackendError)(sentence + addition)


# ---- what a Work is asked ----
# c10d hands out works of Python in a holder that passes on wait() and get_future() only.  So the other methods of
# torch's Work that programs use ask the work in the holder, which they find by its answer to get_future().

_asking = threading.local()


def _behind(holder):
    """The work of this module that a Work holds, or None."""
    if type(holder) is not Work:
        return holder if isinstance(holder, TuttiWork) else None
    _asking.work, _asking.now = None, True
    try:
        holder.get_future()
    except Exception:
        pass  # a work of another backend, which has no futures
    finally:
        _asking.now = False
    work, _asking.work = _asking.work, None
    return work


def _pass_on(name):
    original = getattr(Work, name)

    def method(self, *arguments):
        work = None if getattr(_asking, "now", False) else _behind(self)
        return original(self, *arguments) if work is None else getattr(work, f"_{name.lstrip('_')}")(*arguments)

    method.__name__, method.__doc__ = name, original.__doc__
    setattr(Work, name, method)


def _answer():
    future = torch.futures.Future()
    future.set_result(None)
    return future


_AN_ANSWER = _answer()


class TuttiWork(Work):
    """One that has ended, or that a subclass ends by _end()."""

    def __init__(self, results, done=True):
        super().__init__()
        self._results, self._done = results, done
        self._failure = self._future = self._promise = None
        self._lock = threading.Lock()

    def wait(self, timeout=datetime.timedelta(0)):
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        return True

    def get_future(self):
        """As C++ sees it: a failure is a RuntimeError with the exception's text there."""
        if getattr(_asking, "now", False):
            _asking.work = self
            return _AN_ANSWER
        with self._lock:
            if self._future is None:
                self._promise = torch.futures.Future()
                self._future = self._promise.then(self._outcome)
                if self._done:
                    self._promise.set_result(None)
            return self._future

    def _get_future(self):
        """As Python sees it."""
        if not self._done or self._failure is None:
            return self.get_future()
        future = torch.futures.Future()
        future.set_exception(self._failure)
        return future

    def _outcome(self, _promise):
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        return self._results

    def _end(self, failure):
        """Returns a function that completes the future, if it was asked for: to be called on a thread of `threads` that holds no
        lock, since it runs the future's callbacks."""
        with self._lock:
            self._failure, self._done = failure, True
            return partial(self._promise.set_result, None) if self._promise is not None else None

    def _is_completed(self):
        return self._done

    def _is_success(self):
        return self._done and self._failure is None

    def _exception(self):
        return self._failure

    def _result(self):
        if not self._done:
            raise RuntimeError("the work has not ended: wait() for it before result().")
        return self._results

    def _source_rank(self):
        raise RuntimeError("this work is no receive: it has no source.")


for _name in ("is_completed", "is_success", "exception", "result", "source_rank", "_source_rank", "get_future"):
    _pass_on(_name)


def _over(timeout):
    milliseconds = round(timeout.total_seconds() * 1000)
    return dist.DistBackendError(f"the operation did not end within the timeout of {milliseconds} ms that was given to wait(); it "
                                 "goes on, and wait() may be called again.")


class RequestWork(TuttiWork):
    """One asynchronous call.  `start(async_op=True)` starts it; `operands` are what it uses."""

    def __init__(self, backend, operands, results, start):
        super().__init__(results, done=False)
        self._backend, self._operands = backend, operands
        self._ending = threading.Lock()
        backend._enter()
        try:
            self._request = start(async_op=True)
        except BaseException:
            backend._leave()
            raise
        self._request.notify(self._notified)

    def wait(self, timeout=datetime.timedelta(0)):
        if not self._done:
            try:
                self._request.wait(timeout if timeout > datetime.timedelta(0) else None)
            except TimeoutError:
                raise _over(timeout) from None
            except Error:
                pass  # _conclude tells
            self._conclude()
        return super().wait()

    def _is_completed(self):
        if not self._done:
            try:
                ended = self._request.test()
            except Error:
                ended = True
            if ended:
                self._conclude()
        return self._done

    def _source_rank(self):
        return self._operands.source()

    def _notified(self):
        """The operation has ended.  Whoever calls this keeps others waiting meanwhile."""
        threads.run(partial(self._conclude, here=True))

    def _conclude(self, here=False):
        """Of an operation that has ended.  here: this is one of `threads`."""
        with self._ending:
            if self._done:
                return
            failure = None
            try:
                self._request.wait()
                self._operands.copy_back()
            except Error as error:
                failure = self._backend._failure(error)
            except Exception as error:
                failure = error
            self._backend._leave()
            complete = self._end(failure)
        if complete:
            complete() if here else threads.run(complete)


class SeveralWorks(TuttiWork):
    """Works that torch takes for one."""

    def __init__(self, works, results):
        super().__init__(results, done=False)
        self._works, self._awaited = works, False
        self._ending = threading.Lock()

    def wait(self, timeout=datetime.timedelta(0)):
        unlimited = timeout <= datetime.timedelta(0)
        deadline = time.monotonic() + timeout.total_seconds()
        for work in self._works:
            try:
                work.wait(datetime.timedelta(seconds=0 if unlimited else max(deadline - time.monotonic(), 0.001)))
            except Exception:
                if not work._is_completed():
                    raise  # the time is over
        self._conclude()
        return super().wait()

    def get_future(self):
        future = super().get_future()
        if not getattr(_asking, "now", False) and not self._done and not self._awaited:
            self._awaited = True
            threads.run(self._wait_for_all)
        return future

    def _wait_for_all(self):
        try:
            self.wait()
        except Exception:
            pass  # the future has it

    def _is_completed(self):
        if not self._done and all(work._is_completed() for work in self._works):
            self._conclude()
        return self._done

    def _conclude(self):
        with self._ending:
            if self._done:
                return
            complete = self._end(next((work._failure for work in self._works if work._failure is not None), None))
        if complete:
            threads.run(complete)
