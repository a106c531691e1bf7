"""Works and futures of tutti: several under way, callbacks that wait for others, works that nobody keeps."""
import gc

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
import torch.distributed as dist
import torch.distributed._functional_collectives as functional


def many_at_once(rank):
    """Waited for in another order than they were started in, at each rank in its own."""
    tensors = [torch.full((1 + 37 * number,), float(rank.rank + number)) for number in range(50)]
    works = [dist.all_reduce(tensor, async_op=True) for tensor in tensors]
    for number in sorted(range(50), key=lambda number: (number * (rank.rank + 7)) % 50):
        works[number].wait()
        rank.same(tensors[number], torch.full((1 + 37 * number,), float(sum(rank.ranks) + number * rank.size)))


def test_many_at_once(world):
    world.run(many_at_once)


def poll(rank):
    """Goes on while nobody waits."""
    tensor = torch.ones(100_000)
    work = dist.all_reduce(tensor, async_op=True)
    while not work.is_completed():
        pass
    rank.same(tensor, torch.full((100_000,), float(rank.size)))
    work.wait()
    assert work.wait() is True  # once more


def test_poll(world):
    world.run(poll)


def future_holds_the_outputs(rank):
    tensor = torch.ones(3)
    (value,) = dist.all_reduce(tensor, async_op=True).get_future().wait()
    assert value.data_ptr() == tensor.data_ptr()

    outputs = [torch.empty(2) for _ in rank.ranks]
    dist.all_gather(outputs, torch.full((2,), float(rank.rank)), async_op=True).get_future().wait()
    for other in rank.ranks:
        rank.same(outputs[other], torch.full((2,), float(other)))

    tensor = torch.ones(3)
    done = dist.all_reduce(tensor, async_op=True)
    done.wait()
    assert done.get_future().done() and done.is_success() and done.result()[0].data_ptr() == tensor.data_ptr()


def test_future_holds_the_outputs(world):
    world.run(future_holds_the_outputs)


def chain(rank):
    """A callback starts the next call, as communication hooks do."""
    tensor = torch.ones(4)

    def again(future):
        return dist.all_reduce(future.value()[0], async_op=True).get_future().wait()[0] + 1

    future = dist.all_reduce(tensor, async_op=True).get_future().then(again)
    rank.same(future.wait(), torch.full((4,), float(rank.size**2 + 1)))


def test_chain(world):
    world.run(chain)


def callbacks_wait_for_futures(rank):
    """Twenty callbacks wait for a message that is received after theirs, so they need as many threads, and that needs one more."""
    following, preceding = (rank.rank + 1) % rank.size, (rank.rank - 1) % rank.size
    latch = torch.futures.Future()

    def wait_for_the_last(future):
        latch.wait()
        return future.value()[0] * 2

    outputs = [torch.empty(2) for _ in range(21)]
    futures = [dist.irecv(output, src=preceding).get_future() for output in outputs]
    doubled = [future.then(wait_for_the_last) for future in futures[:-1]]  # pending, or then() would call it here
    last = futures[-1].then(lambda future: latch.set_result(future.value()[0]))
    dist.barrier(group=rank.gloo)
    works = [dist.isend(torch.full((2,), float(number)), dst=following) for number in range(21)]
    for work in works:
        work.wait()
    last.wait()
    for number, future in enumerate(doubled):
        rank.same(future.wait(), torch.full((2,), 2.0 * number))


def test_callbacks_wait_for_futures(world):
    world.run(callbacks_wait_for_futures)


def exception_in_a_callback(rank):
    """Ends the future that then() made, and nothing else."""
    def fail(future):
        raise ValueError("this callback fails")

    failed = dist.all_reduce(torch.ones(1), async_op=True).get_future().then(fail)
    with pytest.raises(RuntimeError, match="ValueError: this callback fails"):
        failed.wait()
    tensor = torch.ones(1)
    dist.all_reduce(tensor)
    assert tensor.item() == rank.size


def test_exception_in_a_callback(world):
    world.run(exception_in_a_callback)


def dropped(rank):
    """Works and tensors that the program has let go of; the other ranks' results are right all the same."""
    elements = 200_000
    for number in range(10):
        if rank.rank == 0:
            dist.all_reduce(torch.full((elements,), float(number)), async_op=True)
            dist.broadcast(torch.full((elements,), float(number)), src=0, async_op=True)
            gc.collect()
            junk = [torch.full((elements,), -1.0) for _ in range(4)]
            assert junk[3][0] == -1
        else:
            tensor, copy = torch.zeros(elements), torch.zeros(elements)
            works = [dist.all_reduce(tensor, async_op=True), dist.broadcast(copy, src=0, async_op=True)]
            for work in works:
                work.wait()
            rank.same(tensor, torch.full((elements,), float(number)))
            rank.same(copy, torch.full((elements,), float(number)))
    dist.barrier()


def test_dropped(world):
    world.run(dropped)


def profiler_titles(rank):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profile:
        for asynchronous in (False, True):
            work = dist.all_reduce(torch.ones(3, 5), async_op=asynchronous)
            if asynchronous:
                work.wait()
        dist.broadcast(torch.ones(7), src=0)
        dist.barrier()
    shapes = {}
    for event in profile.events():
        shapes.setdefault(event.name, []).append(event.input_shapes)
    assert shapes[f"{rank.backend}:all_reduce"] == [[[3, 5]]] * 2, shapes
    assert shapes[f"{rank.backend}:broadcast"] == [[[7]]], shapes
    assert f"{rank.backend}:barrier" in shapes or rank.backend == "gloo", shapes


def test_profiler_titles(world):
    world.run(profiler_titles)


def functional_collectives(rank):
    """What torch.compile and DTensor are made of."""
    group = dist.group.WORLD
    mine = torch.arange(2.0 * rank.size).view(rank.size, 2) + rank.rank
    all_of_them = [torch.arange(2.0 * rank.size).view(rank.size, 2) + other for other in rank.ranks]
    total = sum(all_of_them)
    rank.same(functional.all_reduce(mine, "sum", group) + 0, total)
    rank.same(functional.all_reduce(mine, "avg", group) + 0, total / rank.size)
    rank.same(functional.all_gather_tensor(mine, 0, group) + 0, torch.cat(all_of_them))
    rank.same(functional.all_gather_tensor(mine, 1, group) + 0, torch.cat(all_of_them, 1))
    rank.same(functional.reduce_scatter_tensor(mine, "sum", 0, group) + 0, total.chunk(rank.size)[rank.rank])
    rank.same(functional.broadcast(mine, rank.size - 1, group) + 0, all_of_them[-1])
    expected = torch.cat([other.chunk(rank.size)[rank.rank] for other in all_of_them])
    rank.same(functional.all_to_all_single(mine, None, None, group) + 0, expected)
    for got in functional.all_reduce_coalesced([mine, mine], "sum", group):
        rank.same(got + 0, total)
    for got in functional.all_gather_into_tensor_coalesced([mine, mine], group):
        rank.same(got + 0, torch.cat(all_of_them))
    for got in functional.reduce_scatter_tensor_coalesced([mine, mine], "sum", [0, 0], group):
        rank.same(got + 0, total.chunk(rank.size)[rank.rank])
    following = [(other + 1) % rank.size for other in rank.ranks]
    rank.same(functional.permute_tensor(mine.view(-1), following, group) + 0, all_of_them[rank.rank - 1].view(-1))


def test_functional_collectives(world):
    world.run(functional_collectives)


def gradients(rank):
    """Through collectives that autograd knows."""
    from torch.distributed.nn import functional as differentiable

    tensor = torch.full((3,), 1.0 + rank.rank, requires_grad=True)
    differentiable.all_reduce(tensor * (1 + rank.rank)).sum().backward()
    rank.same(tensor.grad, torch.full((3,), rank.size * (1.0 + rank.rank)))

    tensor = torch.full((rank.size,), 1.0, requires_grad=True)
    output = functional.all_to_all_single_autograd(tensor, [1] * rank.size, [1] * rank.size, dist.group.WORLD)
    (output * (1 + rank.rank)).sum().backward()
    rank.same(tensor.grad, torch.arange(1.0, rank.size + 1))


def test_gradients(world):
    world.run(gradients)


def order_of_blocking_and_asynchronous(rank):
    """A blocking call behind calls that are still under way, on tensors that depend on each other."""
    for _ in range(20):
        first, second = torch.ones(50_000), torch.full((10,), 1.0 + rank.rank)
        work = dist.all_reduce(first, async_op=True)
        dist.all_reduce(second)
        work.wait()
        rank.same(first, torch.full((50_000,), float(rank.size)))
        rank.same(second, torch.full((10,), float(sum(rank.ranks) + rank.size)))


def test_order_of_blocking_and_asynchronous(world):
    world.run(order_of_blocking_and_asynchronous)
