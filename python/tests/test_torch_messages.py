"""send, recv and their kin over tutti: what arrives, whence, in which order."""
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
import torch.distributed as dist

from torch_cases import LAYOUTS, MOVABLE, SHAPES, bytes_of, lay, name_of, values_of


def around(rank):
    return (rank.rank + 1) % rank.size, (rank.rank - 1) % rank.size


def ring(rank, dtype):
    """Each rank sends tensors of every shape and layout to the next one, which receives them in another layout."""
    following, preceding = around(rank)
    works, sent, received = [], [], []
    for seed, shape in enumerate(SHAPES):
        for turn, layout in enumerate(LAYOUTS):
            tensor, _ = lay(values_of(dtype, shape, "", 100 * rank.rank + seed), layout)
            output, gaps = lay(torch.zeros(shape).to(dtype), LAYOUTS[turn - 1])
            works += [dist.irecv(output, src=preceding), dist.isend(tensor, dst=following)]
            sent.append(tensor)
            received.append((output, gaps, values_of(dtype, shape, "", 100 * preceding + seed)))
    for work in works:
        assert work.wait() is True and work.is_completed()
    for output, gaps, expected in received:
        assert torch.equal(bytes_of(output), bytes_of(expected)), (output, expected)
        assert torch.equal(bytes_of(gaps), bytes_of(torch.ones(gaps.shape).to(dtype)))


@pytest.mark.parametrize("dtype", MOVABLE, ids=name_of)
def test_ring(world, dtype):
    world.run(ring, dtype)


def blocking(rank):
    """Rank 0 sends a tensor around, which each rank adds itself to; recv() returns whom it heard from."""
    following, preceding = around(rank)
    tensor = torch.zeros(3, 5)
    if rank.rank == 0:
        dist.send(tensor, dst=following)
        assert dist.recv(tensor, src=preceding) == preceding
        rank.same(tensor, torch.full((3, 5), float(sum(rank.ranks))))
    else:
        assert dist.recv(tensor, src=preceding) == preceding
        dist.send(tensor + rank.rank, dst=following)


def test_blocking(world):
    world.run(blocking)


def tags(rank):
    """Messages are received by their tags, in an order that is not that of sending; those of one tag keep their order."""
    following, preceding = around(rank)
    works = [dist.isend(torch.tensor([float(tag * 10 + number)]), dst=following, tag=tag)
             for tag in (3, 0, 7) for number in range(2)]
    for tag in (7, 3, 0):
        for number in range(2):
            tensor = torch.empty(1)
            assert dist.recv(tensor, src=preceding, tag=tag) == preceding
            assert tensor.item() == tag * 10 + number
    for work in works:
        work.wait()


def test_tags(world):
    world.run(tags)


def any_source(rank):
    """Rank 0 hears from everybody, each several times, without knowing from whom next."""
    messages = 5
    for tag in (0, 4):
        if rank.rank != 0:
            for number in range(messages):
                dist.send(torch.tensor([rank.rank, number]), dst=0, tag=tag)
        else:
            heard = {other: 0 for other in rank.others}
            for _ in range(messages * len(rank.others)):
                tensor = torch.empty(2, dtype=torch.int64)
                source = dist.recv(tensor, tag=tag)
                assert tensor.tolist() == [source, heard[source]]
                heard[source] += 1
        dist.barrier(group=rank.gloo)


def test_any_source(world):
    world.run(any_source)


def any_source_in_group(rank):
    """Sources are global ranks, also in a group in which everybody's number is another."""
    others = dist.new_group(rank.others and list(range(1, rank.size)))
    if rank.rank != 0 and rank.size > 2:
        if rank.rank == 1:
            tensor = torch.empty(1)
            sources = {dist.recv(tensor, group=others) for _ in range(rank.size - 2)}
            assert sources == set(range(2, rank.size))
        else:
            dist.send(torch.ones(1), dst=1, group=others)
    if rank.rank != 0:
        dist.destroy_process_group(others)


def test_any_source_in_group(worlds):
    worlds.of(3).run(any_source_in_group)


def to_oneself(rank):
    sent = torch.arange(6.0).view(2, 3).t()
    received = torch.zeros(3, 2)
    send = dist.isend(sent, dst=rank.rank)
    receive = dist.irecv(received, src=rank.rank)
    receive.wait()
    send.wait()
    rank.same(received, sent)
    receive = dist.irecv(received, src=rank.rank, tag=1)  # the other way about
    send = dist.isend(sent + 1, dst=rank.rank, tag=1)
    send.wait()
    receive.wait()
    rank.same(received, sent + 1)


def test_to_oneself(world):
    world.run(to_oneself)


def batch(rank):
    """Everybody exchanges with everybody, itself too, in one batch; then a batch of tensors that are many."""
    outputs = [torch.zeros(1000 + other) for other in rank.ranks]
    operations = [dist.P2POp(dist.irecv, outputs[other], other) for other in rank.others]
    operations += [dist.P2POp(dist.isend, torch.full((1000 + rank.rank,), float(rank.rank)), other) for other in rank.others]
    for work in dist.batch_isend_irecv(operations):
        work.wait()
    for other in rank.others:
        rank.same(outputs[other], torch.full((1000 + other,), float(other)))

    following, preceding = around(rank)
    outputs = [torch.zeros(()) for _ in range(200)]
    operations = [dist.P2POp(dist.isend, torch.tensor(float(number)), following) for number in range(200)]
    operations += [dist.P2POp(dist.irecv, output, preceding) for output in outputs]
    for work in dist.batch_isend_irecv(operations):
        work.wait()
    assert [output.item() for output in outputs] == list(range(200))


def test_batch(world):
    world.run(batch)


def large(rank):
    """Both ends send before they receive; more than any buffer holds."""
    following, preceding = around(rank)
    positions = torch.arange(3_000_000)
    output = torch.empty(3_000_000, dtype=torch.int64)
    work = dist.isend(positions * (rank.rank + 1), dst=following)
    dist.recv(output, src=preceding)
    work.wait()
    rank.same(output, positions * (preceding + 1))


def test_large(world):
    world.run(large)


def among_collectives(rank):
    """A message that is received late keeps no collective waiting."""
    following, preceding = around(rank)
    work = dist.isend(torch.full((10,), float(rank.rank)), dst=following)
    tensor = torch.ones(10)
    for _ in range(5):
        dist.all_reduce(tensor)
    output = torch.empty(10)
    dist.recv(output, src=preceding)
    work.wait()
    rank.same(tensor, torch.full((10,), float(rank.size**5)))
    rank.same(output, torch.full((10,), float(preceding)))


def test_among_collectives(world):
    world.run(among_collectives)


def future_of_a_message(rank):
    following, preceding = around(rank)
    output = torch.zeros(4)
    receive = dist.irecv(output, src=preceding)
    send = dist.isend(torch.full((4,), 1.0 + rank.rank), dst=following)
    doubled = receive.get_future().then(lambda future: [tensor * 2 for tensor in future.value()])
    send.get_future().wait()
    rank.same(doubled.wait()[0], torch.full((4,), 2.0 + 2 * preceding))


def test_future_of_a_message(world):
    world.run(future_of_a_message)
