"""Gradient compression by Codec."""
import array

import pytest

import tutti

COUNT = 1000


def test_what_a_codec_leaves_out_comes_later(ranks):
    def run(comm):
        with tutti.Codec("topk:ratio=0.05", COUNT) as codec:
            total = [0.0] * COUNT
            for round in range(80):  # a twentieth comes each time; all has come when nothing more goes in
                data = array.array("f", [(comm.rank + 1.0) * (i % 7) if round < 5 else 0 for i in range(COUNT)])
                comm.all_reduce(data, codec=codec)
                total = [a + b for a, b in zip(total, data)]
                if round == 0 and comm.size > 1:
                    assert comm.stats().last_codec.startswith("topk") and codec.norm() > 0
            assert codec.norm() == 0
            return total

    weights = sum(range(1, ranks.size + 1))
    assert ranks(run) == [[5.0 * weights * (i % 7) for i in range(COUNT)]] * ranks.size


def test_residual_and_checkpoint():
    first, second = tutti.Communicator.local(2)
    with tutti.Codec("topk:ratio=0.05", COUNT) as codec, tutti.Codec("topk:ratio=0.05", COUNT) as other, first, second:
        request = first.all_reduce(array.array("f", range(COUNT)), codec=codec, async_op=True)
        second.all_reduce(array.array("f", range(COUNT)), codec=other)
        request.wait()
        norm = codec.norm()
        assert norm > 0
        codec.scale(0.5)
        assert codec.norm() == pytest.approx(norm / 2, rel=1e-5)
        state = codec.state()
        codec.reset()
        assert codec.norm() == 0
        codec.load(state)
        assert codec.norm() == pytest.approx(norm / 2, rel=1e-5)
        with pytest.raises(tutti.Error):
            codec.load(state[:-1])
        assert (codec.spec, repr(codec)) == ("topk:ratio=0.05", "<tutti.Codec topk:ratio=0.05>")
        assert isinstance(codec.handle, int)


def test_an_asynchronous_call_keeps_its_codec(ranks):
    def run(comm):
        data = array.array("f", [comm.rank] * COUNT)
        request = comm.all_reduce(data, op="avg", codec=tutti.Codec("fp16", COUNT), async_op=True)
        request.wait()
        return data[0]

    assert ranks(run) == [(ranks.size - 1) / 2] * ranks.size


def test_what_is_refused():
    with pytest.raises(tutti.Error, match="zip") as caught:
        tutti.Codec("zip", 10)
    assert caught.value.status is tutti.Status.INVALID_ARGUMENT and caught.value.rank is None
    with pytest.raises(tutti.Error):
        tutti.Codec("int8", 10, "int32")
    codec = tutti.Codec("int8", 10, "bfloat16")
    with tutti.Communicator.local(1)[0] as comm:
        with pytest.raises(tutti.Error, match="10 bfloat16"):
            comm.all_reduce(array.array("f", [0] * 10), codec=codec)
        codec.close()
        codec.close()
        assert "closed" in repr(codec)
        with pytest.raises(ValueError, match="this codec is closed"):
            comm.all_reduce(array.array("f", [0] * 10), codec=codec)
