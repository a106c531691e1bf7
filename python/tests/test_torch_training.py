"""DistributedDataParallel over tutti learns what it learns over Gloo: to the last bit with two ranks."""
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook
from torch.distributed.algorithms.join import Join
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch_training import (CLASSES, FEATURES, HIDDEN, STEPS, batches, parameters_of, perceptron, same_everywhere,
                            same_training, train)
from torch_world import BACKEND


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


MANY_BUCKETS = 0.005  # MiB: each layer of the perceptron in a bucket of its own

OPTIONS = {
    "plain": {},
    "many_buckets": {"bucket_cap_mb": MANY_BUCKETS},
    "views": {"gradient_as_bucket_view": True, "bucket_cap_mb": MANY_BUCKETS},
    "static_graph": {"static_graph": True},
    "no_unused_parameters": {"find_unused_parameters": True},
}


def ddp(rank, options):
    def training(rank, group):
        model = DistributedDataParallel(perceptron(), process_group=group, **options)
        return train(rank, model, sgd(model)), parameters_of(model)

    _, parameters = same_training(rank, training)
    same_everywhere(rank, parameters)
    assert not torch.equal(parameters, parameters_of(perceptron()))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_ddp(world, options):
    world.run(ddp, options)


def average_of_gradients(rank):
    """Without Gloo: the gradient is that of the whole batch, which one rank computes alone."""
    model = DistributedDataParallel(perceptron())
    inputs, labels = next(batches(rank))
    cross_entropy(model(inputs), labels).backward()

    pieces = [[torch.empty_like(own) for _ in rank.ranks] for own in (inputs, labels)]
    for everyones, own in zip(pieces, (inputs, labels)):
        dist.all_gather(everyones, own, group=rank.gloo)
    alone = perceptron()
    cross_entropy(alone(torch.cat(pieces[0])), torch.cat(pieces[1])).backward()
    for parameter, whole in zip(model.parameters(), alone.parameters()):
        torch.testing.assert_close(parameter.grad, whole.grad)


def test_average_of_gradients(world):
    world.run(average_of_gradients)


class Forked(torch.nn.Module):
    """Takes one of two ways; the parameters of the other have no gradient at this rank."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.ways = torch.nn.ModuleList(torch.nn.Linear(FEATURES, HIDDEN) for _ in range(2))
        self.unused = torch.nn.Linear(3, 3)
        self.last = torch.nn.Linear(HIDDEN, CLASSES)
        self.way = 0

    def forward(self, inputs):
        return self.last(self.ways[self.way](inputs).relu())


def unused_parameters(rank):
    def training(rank, group):
        forked = Forked()
        model = DistributedDataParallel(forked, process_group=group, find_unused_parameters=True)
        optimizer = sgd(model)
        losses = []
        for step, (inputs, labels) in enumerate(batches(rank)):
            forked.way = (step // 2 + rank.rank) % 2 if step % 2 else 0  # in turn the same everywhere, and one of its own
            optimizer.zero_grad()
            losses.append(cross_entropy(model(inputs), labels))
            losses[-1].backward()
            optimizer.step()
        assert forked.unused.weight.grad is None
        return torch.stack(losses).detach(), parameters_of(model)

    _, parameters = same_training(rank, training)
    same_everywhere(rank, parameters)


def test_unused_parameters(world):
    world.run(unused_parameters)


def accumulation(rank):
    """no_sync: gradients of several batches travel once."""
    def training(rank, group):
        model = DistributedDataParallel(perceptron(), process_group=group)
        optimizer = sgd(model)
        losses = []
        for step, (inputs, labels) in enumerate(batches(rank)):
            if step % 3:
                with model.no_sync():
                    losses.append(cross_entropy(model(inputs), labels))
                    losses[-1].backward()
            else:
                losses.append(cross_entropy(model(inputs), labels))
                losses[-1].backward()
                optimizer.step()
                optimizer.zero_grad()
        return torch.stack(losses).detach(), parameters_of(model)

    same_training(rank, training)


def test_accumulation(world):
    world.run(accumulation)


def normed():
    return torch.nn.Sequential(torch.nn.Linear(FEATURES, HIDDEN), torch.nn.BatchNorm1d(HIDDEN), torch.nn.Linear(HIDDEN, CLASSES))


def batch_norm(rank):
    """Buffers are broadcast before each forward pass; SyncBatchNorm needs a GPU, so this is what there is."""
    def training(rank, group):
        torch.manual_seed(0)
        layers = normed()
        model = DistributedDataParallel(layers, process_group=group)
        losses = train(rank, model, sgd(model))
        model(next(batches(rank))[0])  # broadcasts rank 0's statistics, and adds this rank's own to them
        return losses, torch.cat([parameters_of(model), layers[1].running_mean])

    same_training(rank, training)


def test_batch_norm(world):
    world.run(batch_norm)


HOOKS = {"allreduce": (default_hooks.allreduce_hook, 1e-5), "fp16": (default_hooks.fp16_compress_hook, 1e-2)}


def hook(rank, name):
    function, tolerance = HOOKS[name]

    def training(rank, group):
        model = DistributedDataParallel(perceptron(), process_group=group, bucket_cap_mb=MANY_BUCKETS)
        model.register_comm_hook(group, function)
        return train(rank, model, sgd(model)), parameters_of(model)

    _, parameters = same_training(rank, training, tolerance)
    same_everywhere(rank, parameters)


@pytest.mark.parametrize("name", HOOKS)
def test_hook(world, name):
    world.run(hook, name)


POWER_SGD = {
    "alone": powerSGD_hook.powerSGD_hook,
    "fp16": default_hooks.fp16_compress_wrapper(powerSGD_hook.powerSGD_hook),
}


def power_sgd(rank, kind):
    """Its callbacks start further collectives and wait for them.

    There is one bucket, since torch lets the callbacks of several run in other orders at other ranks (Gloo would wait for ever).
    """
    compressed = []

    def training(rank, group):
        model = DistributedDataParallel(perceptron(), process_group=group)
        state = powerSGD_hook.PowerSGDState(group, matrix_approximation_rank=2, start_powerSGD_iter=2, min_compression_rate=1)
        model.register_comm_hook(state, POWER_SGD[kind])
        losses = train(rank, model, sgd(model))
        compressed.append(state.compression_stats()[0])
        return losses, parameters_of(model)

    _, parameters = same_training(rank, training, 2e-2)
    same_everywhere(rank, parameters)
    if kind == "alone":
        assert compressed[0] > 1, compressed  # the hook was at work


@pytest.mark.parametrize("kind", POWER_SGD)
def test_power_sgd(world, kind):
    world.run(power_sgd, kind)


def uneven_inputs(rank, zero):
    """Rank r has r batches more than rank 0; those without shadow the others' collectives."""
    def training(rank, group):
        model = DistributedDataParallel(perceptron(), process_group=group)
        optimizer = sgd(model)
        joined = [model]
        if zero:
            optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.SGD, process_group=group, lr=0.1, momentum=0.9)
            joined = [model, optimizer]
        with Join(joined):
            losses = train(rank, model, optimizer, STEPS + rank.rank)
        return losses, parameters_of(model)

    losses, parameters = same_training(rank, training)
    assert len(losses) == STEPS + rank.rank
    same_everywhere(rank, parameters)


@pytest.mark.parametrize("zero", [False, True], ids=["ddp", "zero"])
def test_uneven_inputs(world, zero):
    world.run(uneven_inputs, zero)


def uneven_inputs_told(rank):
    """throw_on_early_termination: the rank with fewer batches ends all."""
    model = DistributedDataParallel(perceptron())
    with pytest.raises(RuntimeError, match="exhausted"):
        with model.join(throw_on_early_termination=True):
            train(rank, model, sgd(model), STEPS + rank.rank)
    total = torch.ones(1)
    dist.all_reduce(total)
    rank.same(total, torch.full((1,), float(rank.size)))


def test_uneven_inputs_told(world):
    world.run(uneven_inputs_told)


def zero_redundancy(rank, views):
    """Each rank keeps a share of Adam's state, and the whole of it comes together at rank 0."""
    states = []

    def training(rank, group):
        model = DistributedDataParallel(perceptron(), process_group=group)
        optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.Adam, process_group=group,
                                            parameters_as_bucket_view=views, lr=0.01)
        losses = train(rank, model, optimizer)
        optimizer.consolidate_state_dict(to=0)
        states.append(optimizer.state_dict()["state"] if rank.rank == 0 else {})
        return losses, parameters_of(model)

    _, parameters = same_training(rank, training)
    same_everywhere(rank, parameters)
    assert len(states[0]) == (len(list(perceptron().parameters())) if rank.rank == 0 else 0)
    for number, state in states[0].items():
        torch.testing.assert_close(state["exp_avg"], states[1][number]["exp_avg"])

    alone = DistributedDataParallel(perceptron())  # the same without sharing
    train(rank, alone, torch.optim.Adam(alone.parameters(), lr=0.01))
    torch.testing.assert_close(parameters, parameters_of(alone))


@pytest.mark.parametrize("views", [False, True], ids=["plain", "views"])
def test_zero_redundancy(world, views):
    world.run(zero_redundancy, views)


def subgroup(rank):
    """DDP on some of the ranks."""
    members = list(range(1, rank.size))
    group = dist.new_group(members)
    gloo = dist.new_group(members, backend="gloo")
    if rank.rank not in members:
        return
    parameters = []
    for each in (group, gloo):
        model = DistributedDataParallel(perceptron(), process_group=each)
        train(rank, model, sgd(model))
        parameters.append(parameters_of(model))
    tolerance = 0 if len(members) <= 2 else 1e-5
    torch.testing.assert_close(*parameters, rtol=tolerance, atol=tolerance)


def test_subgroup(world):
    world.run(subgroup)


def begin_alike(rank):
    """broadcast_parameters and broadcast_optimizer_state: everyone goes on from what the last rank has learnt."""
    import tutti.torch

    root = rank.size - 1
    torch.manual_seed(rank.rank)
    model = normed()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1 / (1 + rank.rank))
    if rank.rank == root:
        train(rank, model, optimizer)
    tutti.torch.broadcast_parameters(model.state_dict(), root)
    tutti.torch.broadcast_optimizer_state(optimizer, root)
    assert optimizer.param_groups[0]["lr"] == 0.1 / (1 + root)
    moments = [optimizer.state[parameter]["exp_avg"].flatten() for parameter in model.parameters()]
    assert optimizer.state[model[0].weight]["step"] == STEPS
    same_everywhere(rank, torch.cat([parameters_of(model), model[1].running_mean, *moments]))


def test_begin_alike(world):
    if BACKEND != "tutti":
        pytest.skip("only tutti.torch has it")
    world.run(begin_alike)
