"""What may be given as an array: the buffer protocol, NumPy, DLPack; and what is refused before anything is started."""
import array
import ctypes

import pytest

import tutti
from ranks import fine

try:
    import numpy as np
except ImportError:
    np = None
needs_numpy = pytest.mark.skipif(np is None, reason="numpy is not installed")


@pytest.fixture
def alone():
    """A communicator of one rank: arguments are checked as with more."""
    with tutti.Communicator.local(1)[0] as communicator:
        yield communicator


@pytest.mark.parametrize("letter", "bBhHiIlLqQfd")
def test_array_of_every_type(ranks, letter):
    def run(comm):
        data = array.array(letter, [1, 2, comm.rank])
        comm.all_reduce(data)
        return list(data)

    size = ranks.size
    assert ranks(run) == [[size, 2 * size, sum(range(size))]] * size


def test_bytes_and_their_like(ranks):
    def run(comm):
        output = bytearray(3 * comm.size)
        comm.all_gather(bytes([comm.rank] * 3), output)  # bytes are read-only, and need not be more
        view = memoryview(bytearray(10))[2:5]
        view[:] = b"abc" if comm.rank == 0 else b"xyz"
        comm.broadcast(view)
        numbers = (ctypes.c_int16 * 2)(comm.rank, 1)
        comm.all_reduce(numbers, op="max")
        return bytes(output), bytes(view), list(numbers)

    expected = b"".join(bytes([rank] * 3) for rank in range(ranks.size))
    assert ranks(run) == [(expected, b"abc", [ranks.size - 1, 1])] * ranks.size


def test_dtype_takes_memory_as_another_type(ranks):
    ones = b"\x80\x3f" * 4  # four of bfloat16

    def run(comm):
        data = bytearray(ones)
        comm.all_reduce(data, dtype="bfloat16")
        with pytest.raises(ValueError, match="input has 8 bytes, no multiple of the 16 of a complex128"):
            comm.all_reduce(data, dtype="complex128")
        with pytest.raises(TypeError, match="there is no dtype 'float31'; there are int8"):
            comm.all_reduce(data, dtype="float31")
        return bytes(data)

    expected = {1: b"\x80\x3f", 2: b"\x00\x40", 3: b"\x40\x40"}[ranks.size] * 4
    assert ranks(run) == [expected] * ranks.size


def test_nothing_is_an_array_too(ranks):
    def run(comm):
        comm.all_reduce(bytearray())
        comm.all_reduce(array.array("f"), array.array("f"), "avg")
        comm.all_gather(b"", bytearray())
        comm.broadcast(memoryview(b"")[0:0].cast("B") if comm.rank == 0 else bytearray())
        comm.all_to_all(bytearray(), bytearray(), send_counts=[0] * comm.size, recv_counts=[0] * comm.size)
        assert comm.alloc(0).nbytes == 0

    ranks(run)


def test_a_bytearray_keeps_its_size_while_it_is_used():
    first, second = tutti.Communicator.local(2)
    data = bytearray(4)
    request = first.recv(data, 1, async_op=True)
    with pytest.raises(BufferError):
        data.extend(b"more")
    second.send(b"four", 0)
    assert request.wait().count == 4
    data.extend(b"more")
    assert data == b"fourmore"
    first.close()
    second.close()


def test_what_is_no_array_is_refused(alone):
    for bad in (3.5, None, "text", {1: 2}, object()):
        with pytest.raises(TypeError, match="which has no memory to communicate"):
            alone.all_reduce(bad)
    with pytest.raises(ValueError, match="input is read-only, and the call writes it"):
        alone.all_reduce(b"abcd")
    with pytest.raises(ValueError, match="output is read-only"):
        alone.all_reduce(b"abcd", b"abcd")
    with pytest.raises(ValueError, match="not contiguous"):
        alone.all_reduce(memoryview(bytearray(10))[::2])
    with pytest.raises(ValueError, match="output has 3 elements, and the call needs 4"):
        alone.all_reduce(bytearray(4), bytearray(3))
    with pytest.raises(TypeError, match="input and output hold different types of elements: uint8 and float32"):
        alone.all_reduce(bytearray(4), array.array("f", [0] * 4))
    with pytest.raises(ValueError, match="counts has 2 numbers, and the communicator 1 ranks"):
        alone.all_gather(b"", bytearray(), counts=[1, 2])
    with pytest.raises(ValueError, match="counts has a number below 0"):
        alone.all_gather(b"", bytearray(), counts=[-1])
    with pytest.raises(ValueError, match="output is a list of 2 arrays, and the communicator has 1 ranks"):
        alone.all_gather(b"", [bytearray(), bytearray()])
    with pytest.raises(ValueError, match="output is None at the root"):
        alone.gather(b"a")
    with pytest.raises(tutti.Error, match="root 4 is not a rank") as caught:
        alone.broadcast(bytearray(1), root=4)
    assert caught.value.status is tutti.Status.INVALID_ARGUMENT
    with pytest.raises(tutti.Error, match="overlap"):
        memory = memoryview(bytearray(8))
        alone.all_reduce(memory[:4], memory[2:6])
    alone.barrier()  # nothing of this has hurt it


@needs_numpy
def test_numpy_arrays_that_are_refused(alone):
    square = np.zeros((4, 4), "float32")
    for scattered in (square[::2], square.T, square[:, 1]):
        with pytest.raises(ValueError, match="not contiguous"):
            alone.all_reduce(scattered.copy("C"), scattered)
    fixed = np.ones(3)
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        alone.all_reduce(fixed)
    output = np.zeros(3)
    alone.all_reduce(fixed, output)
    assert output.tolist() == [1, 1, 1]
    with pytest.raises(TypeError, match="sum is not defined for elements of format '>i'"):
        alone.all_reduce(np.zeros(2, ">i4"))
    with pytest.raises(TypeError, match="sum is not defined for elements of format"):
        alone.all_reduce(np.zeros(2, [("a", "f4"), ("b", "i8")]))
    alone.broadcast(np.zeros((2, 3, 4))[1])  # a row is contiguous
    alone.all_reduce(np.array(3.0))  # as is an array without dimensions


@needs_numpy
def test_types_that_the_library_does_not_know_are_moved(ranks):
    def run(comm):
        records = np.zeros(5, [("name", "S3"), ("value", ">f8")])
        days = np.zeros(2, "datetime64[s]")
        if comm.rank == 0:
            records["name"], records["value"], days[1] = b"abc", 2.5, np.datetime64("2001-02-03")
        comm.broadcast(records)
        comm.broadcast(days)
        return records.tolist(), str(days[1])

    assert ranks(run) == [([(b"abc", 2.5)] * 5, "2001-02-03T00:00:00")] * ranks.size


class Exported:
    """An array that can be reached by DLPack only."""

    class Tensor(ctypes.Structure):  # DLManagedTensor
        pass

    Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    Tensor._fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int), ("device_id", ctypes.c_int),
                       ("ndim", ctypes.c_int), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
                       ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
                       ("byte_offset", ctypes.c_uint64), ("manager", ctypes.c_void_p), ("deleter", Deleter)]

    def __init__(self, memory, code, bits, shape, strides=None, device=1, offset=0):
        self.memory, self.device = memory, device
        numbers = ctypes.c_int64 * len(shape)
        self.shape, self.strides = numbers(*shape), numbers(*strides) if strides else None
        self.tensor = self.Tensor(ctypes.addressof(ctypes.c_char.from_buffer(memory)), device, 0, len(shape), code, bits, 1,
                                  self.shape, self.strides, offset, None, self.Deleter())

    def __dlpack_device__(self):
        return self.device, 0

    def __dlpack__(self):
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return new(ctypes.addressof(self.tensor), b"dltensor", None)


def test_dlpack(ranks):
    def run(comm):
        memory = bytearray(b"....") + bytearray(b"\x80\x3f" * 6)
        comm.all_reduce(Exported(memory, 4, 16, [2, 3], [3, 1], offset=4))  # bfloat16
        flags = bytearray([comm.rank == 0, 0])
        comm.all_reduce(Exported(flags, 6, 8, [2]), op="bor")
        with pytest.raises(ValueError, match="not contiguous"):
            comm.all_reduce(Exported(memory, 4, 16, [2, 3], [1, 2]))
        with pytest.raises(TypeError, match="not in the memory of the CPU"):
            comm.all_reduce(Exported(memory, 4, 16, [6], device=2))
        with pytest.raises(TypeError, match="4 bits are no whole bytes"):
            comm.broadcast(Exported(memory, 1, 4, [6]))
        comm.broadcast(Exported(memory, 10, 8, [4]))  # of a kind that is only moved
        return bytes(memory[4:]), list(flags)

    expected = {1: b"\x80\x3f", 2: b"\x00\x40", 3: b"\x40\x40"}[ranks.size] * 6
    assert ranks(run) == [(expected, [1, 0])] * ranks.size


def test_torch_tensors(ranks):
    torch = pytest.importorskip("torch", reason="torch is not installed")

    def run(comm):
        tensor = torch.full((2, 3), comm.rank + 1.0, dtype=torch.bfloat16)
        comm.all_reduce(tensor)
        output = torch.zeros(comm.size, dtype=torch.bool)
        comm.all_gather(torch.tensor([comm.rank == 0]), output)
        for bad, error in ((torch.zeros(2, 3).T, ValueError), (torch.zeros(2, requires_grad=True), TypeError)):
            with pytest.raises(error, match="not contiguous|cannot be reached"):
                comm.all_reduce(bad)
        return tensor.tolist(), output.tolist()

    total = sum(range(1, ranks.size + 1))
    assert ranks(run) == [([[total] * 3] * 2, [True] + [False] * (ranks.size - 1))] * ranks.size


def test_without_numpy():
    fine(2, """
        sys.modules["numpy"] = None  # an import of it fails
        import array
        with tutti.Communicator() as comm:
            data = array.array("d", [1, comm.rank])
            comm.all_reduce(data)
            assert list(data) == [2, 1]
            memory = comm.alloc(8)
            memory[:] = bytes([comm.rank]) * 8
            comm.all_reduce(memory, op="max")
            assert bytes(memory) == bytes([1]) * 8
            for takes_numpy in (lambda: comm.zeros(3), lambda: comm.all_reduce(data, op=max)):
                try:
                    takes_numpy()
                except ImportError as error:
                    assert "pip install numpy" in str(error)
                else:
                    raise AssertionError("no ImportError")
    """)
