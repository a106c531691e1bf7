"""Point to point: the sends and receives of a Communicator."""
import ctypes
from typing import Any, List, Optional, Tuple

from ._buffers import Span, span
from ._calls import Timeout, milliseconds
from ._library import ANY_SOURCE, ANY_TAG, MessageOptions, lib
from .request import Received, Request

_SEND = lib.tutti_send, lib.tutti_send_start
_RECV = lib.tutti_recv, lib.tutti_recv_start


def _options(timeout: Optional[Timeout], received: Optional[Received]) -> Optional[MessageOptions]:
    if timeout is None and received is None:
        return None
    options = MessageOptions()
    lib.tutti_message_options_init_sized(ctypes.byref(options), ctypes.sizeof(options))
    if timeout is not None:
        options.timeout_ms = milliseconds(timeout)
    if received is not None:
        options.received = ctypes.pointer(received._struct)
    return options


class _Message:
    """A checked send or receive."""

    __slots__ = ("pair", "data", "peer", "tag", "received", "options")

    def __init__(self, size: int, pair: tuple, data: Span, peer: int, tag: int, timeout: Optional[Timeout]):
        receives = pair is _RECV
        if not (0 <= peer < size or receives and peer == ANY_SOURCE):
            any_source = ", nor ANY_SOURCE" if receives else ""
            raise ValueError(f"peer {peer} is no rank of this communicator (0 to {size - 1}){any_source}")
        if tag < 0 and not (receives and tag == ANY_TAG):
            raise ValueError(f"tag {tag} is below 0" + (", and not ANY_TAG" if receives else ""))
        self.pair, self.data, self.peer, self.tag = pair, data, peer, tag
        self.received = Received(data.element.width) if receives else None
        self.options = _options(timeout, self.received)

    def arguments(self) -> tuple:
        data = self.data
        return (data.address, data.count * data.element.width, data.element.code, self.peer, self.tag,
                None if self.options is None else ctypes.byref(self.options))


class Messages:
    """Messages go to the receive that was called first of those that ask for them; messages of one rank and tag arrive in order.

    Buffers are as in the collectives; both ends have elements of the same type.
    """

    def send(self, buffer: Any, peer: int, tag: int = 0, *, dtype: Any = None, timeout: Optional[Timeout] = None,
             async_op: bool = False) -> Optional[Request]:
        """Sends the buffer to rank `peer`.  It may return before the peer has received, or wait for it.

        tag: 0 or more.  timeout: seconds without any progress; None: the communicator's.  async_op: returns a Request at once.
        """
        message = _Message(self.size, _SEND, span(buffer, "buffer", dtype), peer, tag, timeout)
        return self._carry_out(message, async_op)

    def recv(self, buffer: Any, source: int = ANY_SOURCE, tag: int = ANY_TAG, *, dtype: Any = None,
             timeout: Optional[Timeout] = None, async_op: bool = False) -> Any:
        """Receives a message of up to as many elements as buffer has, from rank `source` with `tag`, or any.

        Returns what it got, a Received; with async_op a Request whose wait() returns that.
        """
        message = _Message(self.size, _RECV, span(buffer, "buffer", dtype, True), source, tag, timeout)
        return self._carry_out(message, async_op)

    def _carry_out(self, message: _Message, async_op: bool) -> Any:
        if async_op:
            handle = ctypes.c_void_p()
            self._check(message.pair[1](self._handle, *message.arguments(), ctypes.byref(handle)))
            return self._request(handle.value, message, None, message.received)
        self._block(message.pair[0], *message.arguments())
        return message.received

    def exchange(self, *, async_op: bool = False) -> "Exchange":
        """Sends and receives that are carried out together, so that a ring of them cannot deadlock:

            with comm.exchange() as exchange:
                exchange.send(mine, (comm.rank + 1) % comm.size)
                exchange.recv(theirs, (comm.rank - 1) % comm.size)

        They begin at the end of the block, which waits for them; with async_op, exchange.request has to be waited for.
        Nothing is sent if the block raises an exception.
        """
        return Exchange(self, async_op)


class Exchange:
    """See Communicator.exchange.  request: once the block has ended with async_op, the Request of all its messages."""

    def __init__(self, communicator: Any, async_op: bool):
        self._communicator, self._async = communicator, async_op
        self._messages: List[_Message] = []
        self.request: Optional[Request] = None

    def send(self, buffer: Any, peer: int, tag: int = 0, *, dtype: Any = None, timeout: Optional[Timeout] = None) -> None:
        """As Communicator.send, at the end of the block."""
        self._messages.append(_Message(self._communicator.size, _SEND, span(buffer, "buffer", dtype), peer, tag, timeout))

    def recv(self, buffer: Any, source: int = ANY_SOURCE, tag: int = ANY_TAG, *, dtype: Any = None,
             timeout: Optional[Timeout] = None) -> Received:
        """As Communicator.recv, at the end of the block; what it returns is filled in when the exchange has ended."""
        message = _Message(self._communicator.size, _RECV, span(buffer, "buffer", dtype, True), source, tag, timeout)
        self._messages.append(message)
        return message.received

    def __enter__(self) -> "Exchange":
        return self

    def __exit__(self, kind: Any, *_: Tuple) -> None:
        messages, self._messages = self._messages, []
        if kind is not None:
            return
        communicator = self._communicator
        communicator._check(lib.tutti_group_begin(communicator._handle))
        refusal = None
        for message in messages:
            status = message.pair[0](communicator._handle, *message.arguments())
            refusal = refusal or (communicator._error(status) if status else None)
        if self._async:
            handle = ctypes.c_void_p()
            communicator._check(lib.tutti_group_end_start(communicator._handle, ctypes.byref(handle)))
            self.request = communicator._request(handle.value, messages)
        else:
            communicator._block(lib.tutti_group_end)
        if refusal:
            raise refusal
