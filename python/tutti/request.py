"""An operation under way, and what a receive got."""
import ctypes
import itertools
import threading
from typing import Any, Callable, Optional

from ._calls import Timeout, milliseconds
from ._library import NotifyFunction, ReceivedStruct, lib

_SLICE_MS = 200  # of a wait: between slices Python handles signals, such as Ctrl-C

# One function for all notifications, as the library may be about to call it when the request is long gone.
_waiting_functions: dict = {}  # number → function
_numbers = itertools.count(1)


@NotifyFunction
def _notify(number):
    _waiting_functions.pop(number)()


class Request:
    """An asynchronous call, as `async_op=True` returns it; a thread of the library's carries it on.

    Its buffers stay alive until the operation has ended, also when the program drops the request.  Any thread may call its methods;
    of several that wait, one waits for the operation and the others for that one.
    """

    __slots__ = ("_communicator", "_handle", "_keep", "_combiner", "_result", "_failure", "_lock")

    def __init__(self, communicator: Any, handle: int, keep: Any, combiner: Any = None, result: Any = None):
        self._communicator, self._handle, self._keep, self._combiner = communicator, handle, keep, combiner
        self._result, self._failure = result, None
        self._lock = threading.Lock()
        communicator._requests.add(self)

    def wait(self, timeout: Optional[Timeout] = None) -> Any:
        """Blocks until the operation has ended; returns what the call returns: Received of a receive, else None.

        Raises Error if it failed, each time it is asked, and TimeoutError if it has not ended after `timeout` seconds: then it goes
        on, and the request is as before.
        """
        left = None if timeout is None else milliseconds(timeout)
        with self._lock:
            while self._handle is not None and not self._ended_within(_SLICE_MS if left is None else min(left, _SLICE_MS)):
                if left is not None:
                    left -= _SLICE_MS
                    if left <= 0:
                        raise TimeoutError(f"the operation has not ended after {timeout} seconds; it goes on")
        return self._outcome()

    def test(self) -> bool:
        """True if the operation has ended; raises Error if it failed.  Does not block."""
        if not self._lock.acquire(blocking=False):
            return False  # another thread waits for it
        try:
            if self._handle is not None and not self._ended_within(0):
                return False
        finally:
            self._lock.release()
        self._outcome()
        return True

    def notify(self, function: Callable[[], Any]) -> None:
        """Calls `function()` once, when the operation has ended, with success or not.

        It is called by whichever thread finds that: this one at once, or one that keeps all asynchronous calls of the process
        waiting meanwhile.  So it is short, raises nothing, and leaves wait() to another thread, which does not block then.
        Once for each request.
        """
        with self._lock:
            if self._handle is not None:
                number = next(_numbers)
                _waiting_functions[number] = function
                status = lib.tutti_request_notify(self._handle, _notify, number)
                if status:
                    del _waiting_functions[number]
                    raise self._communicator._error(status)
                return
        function()

    @property
    def result(self) -> Any:
        """What wait() will return; a Received is filled in at the end."""
        return self._result

    def _ended_within(self, milliseconds: int) -> bool:
        done = ctypes.c_int()
        status = lib.tutti_wait_for(self._handle, milliseconds, ctypes.byref(done))
        if not done.value and not status:
            return False
        self._handle = None  # the library has freed it
        communicator = self._communicator
        communicator._requests.discard(self)
        if self._combiner is not None and self._combiner.failure is not None:
            self._failure = communicator._failed_reduction(self._combiner.failure)
        elif status:
            self._failure = communicator._error(status)
        self._keep = self._combiner = None
        return True

    def _outcome(self) -> Any:
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        return self._result

    def __repr__(self):
        state = "under way" if self._handle is not None else "failed" if self._failure is not None else "done"
        return f"<tutti.Request {state}, {self._communicator!r}>"


_NOTHING_YET = -2


class Received:
    """What a receive got: known once it has ended, None until then.

    source: rank of the sender;  tag: of the message;  count: elements that came, of the buffer's type
    """

    __slots__ = ("_struct", "_width")

    def __init__(self, width: int):
        self._struct, self._width = ReceivedStruct(source=_NOTHING_YET), width

    @property
    def source(self) -> Optional[int]:
        return self._of_ended(self._struct.source)

    @property
    def tag(self) -> Optional[int]:
        return self._of_ended(self._struct.tag)

    @property
    def count(self) -> Optional[int]:
        return self._of_ended(self._struct.count // self._width)

    def _of_ended(self, value: int) -> Optional[int]:
        return None if self._struct.source == _NOTHING_YET else value

    def __repr__(self):
        return f"<tutti.Received source={self.source} tag={self.tag} count={self.count}>"
