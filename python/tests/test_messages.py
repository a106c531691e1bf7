"""Sends, receives, exchanges, and what requests promise."""
import array
import gc
import threading
import time

import pytest

import tutti
from ranks import SECONDS


@pytest.fixture
def pair():
    communicators = tutti.Communicator.local(2)
    yield communicators
    for communicator in communicators:
        communicator.close()


def test_send_and_recv(pair):
    first, second = pair
    first.send(array.array("i", [1, 2, 3]), 1, tag=7)
    got = array.array("i", [0] * 5)
    received = second.recv(got, 0, 7)
    assert (received.source, received.tag, received.count) == (0, 7, 3)
    assert got.tolist() == [1, 2, 3, 0, 0]


def test_any_source_and_any_tag(pair):
    first, second = pair
    first.send(b"a", 1, tag=3)
    second.send(b"b", 1, tag=4)
    got = {}
    for _ in range(2):
        buffer = bytearray(1)
        received = second.recv(buffer)
        got[received.source, received.tag] = bytes(buffer)
    assert got == {(0, 3): b"a", (1, 4): b"b"}
    assert (tutti.ANY_SOURCE, tutti.ANY_TAG) == (-1, -1)


def test_messages_of_complex_numbers_are_counted_as_such(pair):
    np = pytest.importorskip("numpy", reason="numpy is not installed")
    first, second = pair
    first.send(np.array([1j, 2]), 1)
    buffer = np.zeros(4, complex)
    assert second.recv(buffer, 0).count == 2
    assert buffer.tolist() == [1j, 2, 0, 0]


def test_an_asynchronous_receive(pair):
    first, second = pair
    buffer = bytearray(5)
    request = second.recv(buffer, async_op=True)
    assert not request.test()
    with pytest.raises(TimeoutError, match="has not ended after 0.01 seconds"):
        request.wait(timeout=0.01)
    first.send(b"later", 1)
    received = request.wait(SECONDS)
    assert (received.source, received.count, buffer) == (0, 5, b"later")
    assert request.wait() is received and request.test()


def test_received_is_empty_until_the_end(pair):
    first, second = pair
    with second.exchange(async_op=True) as exchange:
        received = exchange.recv(bytearray(1))
    assert (received.source, received.tag, received.count) == (None, None, None)
    first.send(b"x", 1, 2)
    exchange.request.wait()
    assert (received.source, received.tag, received.count) == (0, 2, 1)


def test_a_ring_by_exchange(ranks):
    def run(comm):
        right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
        for async_op in (False, True):
            mine, theirs = array.array("q", [comm.rank] * 50_000), array.array("q", [-1] * 50_000)
            with comm.exchange(async_op=async_op) as exchange:
                exchange.send(mine, right, 1)
                received = exchange.recv(theirs, left, 1)
            if async_op:
                exchange.request.wait()
            assert theirs.tolist() == [left] * 50_000 and received.count == 50_000
        with pytest.raises(KeyError):
            with comm.exchange() as exchange:
                exchange.send(mine, right)
                raise KeyError  # nothing is sent
        comm.barrier()

    ranks(run)


def test_what_is_refused(pair):
    first, _ = pair
    for call in (lambda: first.send(b"", 2), lambda: first.send(b"", -1), lambda: first.recv(bytearray(), 2),
                 lambda: first.send(b"", 1, tag=-1), lambda: first.recv(bytearray(), 1, tag=-2)):
        with pytest.raises(ValueError, match="is no rank of this communicator|is below 0"):
            call()
    with pytest.raises(ValueError, match="buffer is read-only"):
        first.recv(b"x")
    with first.exchange() as exchange:  # also inside of one
        with pytest.raises(ValueError, match="peer 9 is no rank"):
            exchange.send(b"", 9)


def test_a_message_that_is_too_long_ends_both(pair):
    first, second = pair
    with pytest.raises(tutti.Error) as caught:
        first.send(b"abc", 1)
        second.recv(bytearray(2), 0)
    assert caught.value.status == tutti.Status.MISMATCH


def test_notify(pair):
    first, second = pair
    called = threading.Event()
    request = second.recv(bytearray(1), async_op=True)
    request.notify(called.set)
    assert not called.is_set()
    first.send(b"x", 1)
    assert called.wait(SECONDS)
    assert request.test()
    again = []
    request.notify(lambda: again.append(1))  # of one that has ended: at once
    assert again == [1]


def test_a_dropped_request_keeps_its_buffer(pair):
    first, second = pair
    for _ in range(300):  # more than are looked at together
        second.recv(bytearray(10_000), 0, 1, async_op=True)
    gc.collect()
    for i in range(300):
        first.send(bytes([i % 256]) * 10_000, 1, 1)
    buffer = bytearray(1)
    second.recv(buffer, 0, 2, async_op=True)
    first.send(b"z", 1, 2)
    second.barrier(async_op=True)
    first.barrier()
    assert buffer == b"z"


def test_requests_that_have_ended_are_let_go(pair):
    first, second = pair
    for _ in range(1000):
        first.send(b"x", 1, async_op=True)
        second.recv(bytearray(1))
    assert len(first._requests) < 200


def test_a_wait_ends_by_a_signal(pair):
    """Ctrl-C, as it were: Python's handler runs although the wait goes on in the library."""
    import signal

    first, second = pair
    request = second.recv(bytearray(1), async_op=True)

    def interrupt(*_):
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            request.wait(SECONDS)
        assert time.monotonic() - started < SECONDS / 2
    finally:
        signal.signal(signal.SIGALRM, previous)
    first.send(b"x", 1)
    assert request.wait().count == 1
