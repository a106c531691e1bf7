"""How communicators are made, split and ended; what they know; codecs."""
import array
import gc
import os
import pickle
import threading
import time

import pytest

import tutti
from ranks import SECONDS, fine, processes


class Shelf:
    """A store as Communicator takes it."""

    def __init__(self):
        self.values, self.changed = {}, threading.Condition()

    def set(self, key, value):
        assert isinstance(key, str) and isinstance(value, bytes)
        with self.changed:
            self.values[key] = value
            self.changed.notify_all()

    def get(self, key, timeout):
        with self.changed:
            if not self.changed.wait_for(lambda: key in self.values, timeout):
                raise KeyError(key)
            return self.values[key]


def together(*makers):
    """Calls each in a thread of its own; returns what they returned."""
    results = [None] * len(makers)

    def run(i):
        try:
            results[i] = makers[i]()
        except BaseException as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(makers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def meet(**where):
    made = together(*(lambda rank=rank: tutti.Communicator(rank, 2, **where) for rank in range(2)))
    for communicator in made:
        if isinstance(communicator, BaseException):
            raise communicator
    return made


@pytest.mark.parametrize("where", ["store", "file", "id"])
def test_where_ranks_meet(where, tmp_path):
    place = {"store": lambda: {"store": Shelf()}, "file": lambda: {"store": f"file:{tmp_path}/store"},
             "id": lambda: {"id": tutti.unique_id()}}[where]()
    first, second = meet(name="trio", timeout=30, settings={"TUTTI_ALGORITHM": "ring", "TUTTI_THREADS": 1}, **place)
    assert (first.rank, first.size, second.rank, second.name) == (0, 2, 1, "trio")
    data = array.array("f", range(10))
    together(lambda: first.all_reduce(data), lambda: second.all_reduce(array.array("f", [1] * 10)))
    assert data.tolist() == [i + 1 for i in range(10)]
    assert first.stats().last_algorithm == "ring"
    together(first.close, second.close)
    first.close()
    assert "closed" in repr(first)


def test_creation_that_is_refused(tmp_path):
    with pytest.raises(TypeError, match="store is a int"):
        tutti.Communicator(0, 1, store=5)
    with pytest.raises(ValueError, match="id has 3 bytes"):
        tutti.Communicator(0, 1, id=b"abc")
    with pytest.raises(tutti.Error, match="TUTTI_ALGORITHMS") as caught:
        tutti.Communicator(0, 1, store=f"file:{tmp_path}/store", settings={"TUTTI_ALGORITHMS": "ring"})
    assert caught.value.status is tutti.Status.INVALID_ARGUMENT

    class Broken(Shelf):
        def get(self, key, timeout):
            raise ConnectionError("the shelf fell down")

    with pytest.raises(tutti.Error) as caught:
        tutti.Communicator(1, 2, store=Broken(), settings={"TUTTI_BOOTSTRAP_TIMEOUT": "2s"})
    assert caught.value.status in (tutti.Status.UNREACHABLE, tutti.Status.SYSTEM)
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_split_and_group(ranks):
    def run(comm):
        half = comm.split(comm.rank % 2, key=-comm.rank)
        members = [rank for rank in range(comm.size) if rank % 2 == comm.rank % 2]
        assert (half.size, half.rank) == (len(members), members[::-1].index(comm.rank))
        assert (comm.split(None) is None) == (comm.size > 0)
        backwards = comm.group(range(comm.size - 1, -1, -1))
        assert backwards.rank == comm.size - 1 - comm.rank
        total = array.array("i", [comm.rank])
        half.all_reduce(total)
        assert total[0] == sum(members)
        comm.close()  # before its children
        backwards.barrier()
        with pytest.raises(ValueError, match="color is -2"):
            half.split(-2)
        with pytest.raises(tutti.Error, match="rank 99 is not a rank of the parent"):
            half.group([half.rank, 99] if half.size > 1 else [99])
        half.close()
        backwards.close()

    ranks(run)


def test_stats(ranks):
    def run(comm):
        comm.all_reduce(array.array("d", [0] * 1000))
        stats = comm.stats()
        assert stats.operations >= 1 and stats.input_bytes >= 8000 and stats.memory_bytes > 0
        assert stats.last_algorithm and isinstance(stats.transports, str) and stats.last_codec == ""

    ranks(run)


def test_threads_see_the_communicators_name_and_rank_in_errors():
    first, second = tutti.Communicator.local(2)
    second.abort("enough of this")
    with pytest.raises(tutti.Error, match="enough of this") as caught:
        while True:
            first.barrier()
    error = caught.value
    assert (error.status, error.rank, error.sentence) == (tutti.Status.ABORTED, 0, str(error))
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.status, copy.rank, copy.sentence) == (error.status, error.rank, error.sentence)
    assert isinstance(error, RuntimeError)
    first.close()
    second.close()


def test_timeout_names_the_late_rank():
    first, second = tutti.Communicator.local(2)
    first.set_timeout(0.05)
    with pytest.raises(tutti.Error, match="rank 1") as caught:
        first.barrier()
    assert caught.value.status is tutti.Status.TIMEOUT
    for bad in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="more than 0 seconds"):
            first.set_timeout(bad)
    first.close()
    second.close()


def test_ranks_that_call_different_things():
    first, second = tutti.Communicator.local(2)
    results = together(lambda: first.all_reduce(array.array("f", [1])), lambda: second.all_reduce(array.array("f", [1, 2])))
    assert [error.status for error in results] == [tutti.Status.MISMATCH] * 2
    first.close()
    second.close()


def test_close_waits_for_requests_and_not_for_threads():
    first, second = tutti.Communicator.local(2)
    buffer = bytearray(1)
    request = second.recv(buffer, async_op=True)
    with pytest.raises(tutti.Error) as caught:
        second.close(timeout=0)
    assert caught.value.status is tutti.Status.INVALID_ARGUMENT
    with pytest.raises(TimeoutError):
        second.close(timeout=0.01)
    first.send(b"x", 1)
    second.close()
    assert buffer == b"x" and request.wait().count == 1
    with pytest.raises(tutti.Error, match="rank 1: communicator world is closed"):
        second.barrier()
    first.close()

    first, second = tutti.Communicator.local(2)
    entered = threading.Event()

    def wait_in_vain():
        entered.set()
        first.recv(bytearray(1))

    thread = threading.Thread(target=wait_in_vain)
    thread.start()
    entered.wait(SECONDS)
    while not first._inside:
        pass
    with pytest.raises(tutti.Error, match="while another thread's call"):
        first.close()
    second.send(b"x", 0)
    thread.join()
    first.close()
    second.close()


def test_leaving_by_an_exception_lets_it_pass():
    first, second = tutti.Communicator.local(2)
    with pytest.raises(KeyError):
        with first:
            first.recv(bytearray(1), async_op=True)
            raise KeyError
    with pytest.raises(tutti.Error, match="left in the middle of a call"):
        while True:
            second.barrier()
    second.close()


def test_made_again_a_hundred_times_it_leaves_no_descriptors():
    def count():
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    def once(closed):
        first, second = tutti.Communicator.local(2)
        memory = first.alloc(100_000)
        with first.exchange() as exchange:
            exchange.send(memory, 0)
            exchange.recv(bytearray(100_000), 0)
        if closed:
            first.close()
            second.close()
        else:
            del first, second, exchange  # as a program that forgets to
            gc.collect()

    once(True)
    before = count()
    for i in range(100):
        once(i % 4 > 0)
    until = time.monotonic() + 60
    while any(now > then for now, then in zip(count(), before)) and time.monotonic() < until:
        time.sleep(0.01)  # one that was left by its end goes in the background
    assert all(now <= then for now, then in zip(count(), before)), (count(), before)


# ---- processes ----


def test_under_a_launcher_and_left_open_at_the_end():
    out = fine(3, """
        import array
        comm = tutti.Communicator()
        data = array.array("i", [comm.rank + 1])
        comm.all_reduce(data)
        child = comm.split(0)
        request = child.barrier(async_op=True)
        request.wait()
        print(comm.rank, comm.size, data[0])
        # The program ends with both open.
    """)
    assert out == [f"{rank} 3 6\n" for rank in range(3)]


def test_groups_of_the_same_ranks_without_a_pause():
    """A rank that is done may begin to create the next one while another one still leaves this one."""
    fine(3, """
        with tutti.Communicator() as comm:
            groups = [comm.group([2, 0, 1], timeout=20) for _ in range(100)]
            assert [group.rank for group in groups] == [[2, 0, 1].index(comm.rank)] * 100
            groups[-1].barrier()
            for group in groups:
                group.close()
    """)


def test_a_program_that_ends_in_the_middle_of_a_call_says_so():
    ended = processes(2, """
        comm = tutti.Communicator()
        if comm.rank == 1:
            forgotten = comm.recv(bytearray(1), async_op=True)
        else:
            try:
                comm.barrier()
            except tutti.Error as error:
                print(error.status.name, error.sentence)
    """)
    assert [process.status for process in ended] == [0, 0]
    assert ended[0].out.startswith("ABORTED") and "it left in the middle of a call" in ended[0].out


def test_a_daemon_thread_in_a_call_at_the_end_does_no_harm():
    ended = processes(2, """
        import threading, time
        comm = tutti.Communicator()
        if comm.rank == 0:
            def wait_in_vain():
                try:
                    comm.recv(bytearray(1), 1)
                except tutti.Error:
                    time.sleep(1000)
            threading.Thread(target=wait_in_vain, daemon=True).start()
            while not comm._inside:
                pass
        else:
            try:
                comm.recv(bytearray(1), 0)
            except tutti.Error as error:
                print(error.status.name)
    """)
    assert [(process.status, process.err) for process in ended] == [(0, "")] * 2
    assert ended[1].out == "ABORTED\n"


def test_a_rank_that_dies_is_named():
    ended = processes(3, """
        import os, signal
        comm = tutti.Communicator()
        comm.barrier()
        if comm.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            comm.all_reduce(bytearray(4))
        except tutti.Error as error:
            print(error.status.name, error.rank, error.sentence)
            try:
                comm.barrier()
            except tutti.Error as again:
                assert again.status == error.status
        comm.close()
    """)
    for rank in (0, 2):
        assert ended[rank].status == 0, ended[rank].err
        assert ended[rank].out.startswith(f"PEER_LOST {rank} ") and "rank 1" in ended[rank].out
    assert ended[1].status == -9


def test_a_forked_child_leaves_the_parents_communicator_alone():
    out = fine(2, """
        import gc, os
        comm = tutti.Communicator()
        memory = comm.alloc(4096)
        codec = tutti.Codec("int8", 10)
        request = comm.recv(bytearray(1), async_op=True)
        child = os.fork()
        if child == 0:
            for call in (comm.barrier, lambda: comm.send(b"x", 0), comm.stats):
                try:
                    call()
                except tutti.Error as error:
                    assert f"belongs to process {os.getppid()}" in str(error), error
                else:
                    raise AssertionError("a child used its parent's communicator")
            comm.close()
            del comm, memory, codec, request
            gc.collect()
            sys.exit(0)  # with all that Python does at its end
        assert os.waitpid(child, 0)[1] == 0
        comm.send(b"x", 1 - comm.rank)
        request.wait()
        memory[:] = bytes([comm.rank]) * 4096
        comm.all_reduce(memory, op="max")
        print(memory[0], codec.spec)
        comm.close()
    """)
    assert out == ["1 int8\n"] * 2


def test_a_library_that_does_not_load_is_named():
    ended, = processes(1, "", TUTTI_PYTHON_LIBRARY="/nowhere/libtutti.so")
    assert ended.status == 1
    assert "tutti cannot load its library /nowhere/libtutti.so" in ended.err and "set TUTTI_PYTHON_LIBRARY to" in ended.err


def test_version():
    assert tutti.__version__ == "0.1.0"
