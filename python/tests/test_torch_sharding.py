"""Models that are shared out among ranks: fully_shard, FSDP1, tensor parallelism and DTensor, pipelines."""
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecisionPolicy, ShardingStrategy, fully_shard
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, SequenceParallel, parallelize_module
from torch.nn.functional import cross_entropy
from torch_training import (BATCH, CLASSES, FEATURES, HIDDEN, batches, parameters_of, perceptron, same_everywhere, same_training,
                            train)
from torch_world import BACKEND


def mesh_of(rank, group, shape=None, names=None):
    """A mesh of all ranks over the backend under test, or over Gloo if `group` is Gloo's."""
    shape = shape or (rank.size,)
    backends = {dimension: "gloo" for dimension in range(len(shape))} if group is rank.gloo else None
    return init_device_mesh("cpu", shape, mesh_dim_names=names, backend_override=backends)


def shard(model, mesh, **options):
    for layer in model:
        if isinstance(layer, torch.nn.Linear):
            fully_shard(layer, mesh=mesh, **options)
    return fully_shard(model, mesh=mesh, **options)


def sharded_training(rank, shape, allocate, options):
    def training(rank, group):
        names = ("replicas", "shares") if shape else None
        model = shard(perceptron(), mesh_of(rank, group, shape, names), **options)
        if allocate and group is not rank.gloo:
            model.set_allocate_memory_from_process_group_for_comm(True)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        return train(rank, model, optimizer), parameters_of(model)

    half = "mp_policy" in options
    losses, parameters = same_training(rank, training, 2e-2 if half else 1e-5)
    same_everywhere(rank, parameters)

    if not half:  # what DistributedDataParallel learns
        alone = torch.nn.parallel.DistributedDataParallel(perceptron())
        alone_losses = train(rank, alone, torch.optim.Adam(alone.parameters(), lr=0.01))
        torch.testing.assert_close(losses, alone_losses, rtol=1e-4, atol=1e-5)


HALF = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.bfloat16)
FULLY_SHARD = {
    "plain": (False, {}),
    "allocated": (True, {}),
    "kept_after_forward": (False, {"reshard_after_forward": False}),
    "bfloat16": (True, {"mp_policy": HALF}),
}


@pytest.mark.parametrize("allocate, options", FULLY_SHARD.values(), ids=FULLY_SHARD)
def test_fully_shard(world, allocate, options):
    world.run(sharded_training, None, allocate, options)


@pytest.mark.parametrize("groups_first", [True, False], ids=["replicated", "sharded"])
def test_fully_shard_2d(world, groups_first):
    """Replicated over the first dimension of the mesh, sharded over the second."""
    few = 2 if world.size % 2 == 0 and world.size > 2 else 1
    shape = (world.size // few, few) if groups_first else (few, world.size // few)
    world.run(sharded_training, shape, False, {})


def allocate(rank):
    """What fully_shard asks the backend for."""
    backend = dist.group.WORLD._get_backend(torch.device("cpu"))
    assert backend.supports_tensor_alloc(torch.device("cpu"))
    tensor = backend.allocate_tensor(1000, dtype=torch.float32, device=torch.device("cpu"))
    tensor.fill_(1 + rank.rank)
    dist.all_reduce(tensor)
    rank.same(tensor, torch.full((1000,), float(sum(rank.ranks) + rank.size)))


def test_allocate(world):
    if BACKEND != "tutti":
        pytest.skip("Gloo allocates nothing")
    world.run(allocate)


STRATEGIES = [ShardingStrategy.FULL_SHARD, ShardingStrategy.SHARD_GRAD_OP, ShardingStrategy.NO_SHARD]


def fsdp1(rank, strategy):
    def training(rank, group):
        model = FullyShardedDataParallel(perceptron(), group, strategy, device_id=torch.device("cpu"), use_orig_params=True,
                                         auto_wrap_policy=lambda module, recurse, nonwrapped_numel: recurse or
                                         isinstance(module, torch.nn.Linear))
        losses = train(rank, model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
        with FullyShardedDataParallel.summon_full_params(model):
            return losses, parameters_of(model).clone()

    _, parameters = same_training(rank, training)
    same_everywhere(rank, parameters)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name.lower())
@pytest.mark.filterwarnings("ignore")
def test_fsdp1(world, strategy):
    world.run(fsdp1, strategy)


def clip_and_norm(rank):
    """The norm of sharded gradients is that of the whole ones."""
    model = shard(perceptron(), mesh_of(rank, None))
    alone = torch.nn.parallel.DistributedDataParallel(perceptron())
    inputs, labels = next(batches(rank))
    for each in (model, alone):
        cross_entropy(each(inputs), labels).backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1).full_tensor()
    torch.testing.assert_close(norm, torch.nn.utils.clip_grad_norm_(alone.parameters(), 0.1))
    for parameter, whole in zip(model.parameters(), alone.parameters()):
        torch.testing.assert_close(parameter.grad.full_tensor(), whole.grad)


def test_clip_and_norm(world):
    world.run(clip_and_norm)


PLACEMENTS = [Replicate(), Shard(0), Shard(1), Partial()]


def redistribute(rank):
    """From each placement to each other one; lengths that ranks cannot share evenly."""
    mesh = mesh_of(rank, None)
    whole = torch.arange(7 * 5, dtype=torch.float32).reshape(7, 5)
    for source in PLACEMENTS:
        if source.is_partial():
            tensor = DTensor.from_local(whole * (rank.rank + 1) / sum(range(1, rank.size + 1)), mesh, [source])
        else:
            tensor = distribute_tensor(whole, mesh, [source])
        for target in PLACEMENTS:
            if target.is_partial() and not source.is_partial():
                continue  # torch allows it inside of its operators only
            moved = tensor.redistribute(mesh, [target])
            assert moved.placements == (target,)
            torch.testing.assert_close(moved.full_tensor(), whole, msg=lambda text: f"{source} → {target}: {text}")


def test_redistribute(world):
    world.run(redistribute)


def dtensor_operators(rank):
    """Sums, products and random numbers of shared-out tensors."""
    mesh = mesh_of(rank, None)
    torch.manual_seed(1)
    left, right = torch.randn(10, 8), torch.randn(8, 4)
    for placement in (Shard(0), Shard(1), Replicate()):
        product = distribute_tensor(left, mesh, [placement]) @ distribute_tensor(right, mesh, [Shard(0)])
        torch.testing.assert_close(product.full_tensor(), left @ right)
        maximum = distribute_tensor(left, mesh, [placement]).max()
        rank.same(maximum.full_tensor(), left.max())
    mean = distribute_tensor(left, mesh, [Shard(0)]).mean(0)
    torch.testing.assert_close(mean.full_tensor(), left.mean(0))
    zeros = torch.distributed.tensor.zeros(8, 3, device_mesh=mesh, placements=[Shard(0)])
    rank.same(zeros.full_tensor(), torch.zeros(8, 3))


def test_dtensor_operators(world):
    world.run(dtensor_operators)


class Block(torch.nn.Module):
    """A transformer's feed-forward block with its norm."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.LayerNorm(FEATURES)
        self.up = torch.nn.Linear(FEATURES, HIDDEN)
        self.down = torch.nn.Linear(HIDDEN, FEATURES)

    def forward(self, inputs):
        return self.down(self.up(self.norm(inputs)).relu())


def block():
    torch.manual_seed(0)
    return Block()


def tensor_parallel_plan(sequence):
    if not sequence:
        return {"up": ColwiseParallel(), "down": RowwiseParallel()}
    return {
        "norm": SequenceParallel(sequence_dim=0),
        "up": ColwiseParallel(input_layouts=Shard(0)),
        "down": RowwiseParallel(output_layouts=Replicate()),
    }


def tensor_parallel(rank, sequence):
    """Layers split by columns, then by rows, compute what the whole ones do, and so do their gradients."""
    length = 4 * rank.size
    torch.manual_seed(3)
    inputs, weights = torch.randn(length, FEATURES), torch.randn(length, FEATURES)
    alone = block()
    expected = alone(inputs)
    (expected * weights).sum().backward()
    for group in (None, rank.gloo):
        model = parallelize_module(block(), mesh_of(rank, group), tensor_parallel_plan(sequence))
        output = model(inputs.chunk(rank.size)[rank.rank] if sequence else inputs)
        (output * weights).sum().backward()
        torch.testing.assert_close(output, expected)
        for (name, parameter), whole in zip(model.named_parameters(), alone.parameters()):
            gradient = parameter.grad.full_tensor() if isinstance(parameter.grad, DTensor) else parameter.grad
            torch.testing.assert_close(gradient, whole.grad, rtol=1e-4, atol=1e-5, msg=lambda text: f"{name}: {text}")


@pytest.mark.parametrize("sequence", [False, True], ids=["plain", "sequence"])
def test_tensor_parallel(world, sequence):
    world.run(tensor_parallel, sequence)


class Member:
    """Stands for a rank in batches(), where several ranks work on the same data."""

    def __init__(self, rank):
        self.rank = rank


def two_kinds_at_once(rank, shape):
    """fully_shard over the first dimension of a mesh, tensor parallelism over the second."""
    def training(rank, group):
        mesh = mesh_of(rank, group, shape, ("data", "tensor"))
        model = perceptron()
        parallelize_module(model, mesh["tensor"], {"0": ColwiseParallel(), "2": RowwiseParallel()})
        shard(model, mesh["data"])
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        losses = []
        for inputs, labels in batches(Member(mesh.get_local_rank("data"))):
            optimizer.zero_grad()
            losses.append(cross_entropy(model(inputs), labels))
            losses[-1].backward()
            optimizer.step()
        return torch.stack(losses).detach(), parameters_of(model)

    _, parameters = same_training(rank, training)
    same_everywhere(rank, parameters)


def test_two_kinds_at_once(world):
    few = 2 if world.size == 4 else 1
    for shape in {(world.size // few, few), (few, world.size // few)}:
        world.run(two_kinds_at_once, shape)


def pipeline(rank, kind):
    """Each rank holds one stage; losses and gradients are those of the whole model."""
    torch.manual_seed(0)
    stages = [torch.nn.Sequential(torch.nn.Linear(FEATURES, FEATURES), torch.nn.Tanh()) for _ in rank.ranks]
    stages[-1].append(torch.nn.Linear(FEATURES, CLASSES))
    inputs, labels = next(batches(Member(0), batch=BATCH))
    whole = torch.nn.Sequential(*stages)
    expected = cross_entropy(whole(inputs), labels)
    expected.backward()
    gradients = [parameter.grad.clone() for parameter in stages[rank.rank].parameters()]

    for group in (dist.group.WORLD, rank.gloo):
        whole.zero_grad()
        stage = PipelineStage(stages[rank.rank], rank.rank, rank.size, torch.device("cpu"), group=group)
        schedule = kind(stage, n_microbatches=4, loss_fn=cross_entropy)
        losses = []
        if rank.rank == 0:
            schedule.step(inputs)
        elif rank.rank == rank.size - 1:
            schedule.step(target=labels, losses=losses)
            torch.testing.assert_close(torch.stack(losses).mean().detach(), expected.detach())
        else:
            schedule.step()
        for parameter, gradient in zip(stages[rank.rank].parameters(), gradients):
            torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("kind", [ScheduleGPipe, Schedule1F1B], ids=lambda kind: kind.__name__)
def test_pipeline(world, kind):
    world.run(pipeline, kind)
