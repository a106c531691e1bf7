"""torch.compile over tutti: functional collectives within compiled functions, compiled models that are trained on several ranks."""
import shutil

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
import torch.distributed as dist
import torch.distributed._functional_collectives as functional
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch_training import parameters_of, perceptron, same_everywhere, train

# aot_eager runs what torch.compile has made of a function as it is; inductor makes C++ of it, which takes its time.
COMPILERS = [
    "aot_eager",
    pytest.param("inductor", marks=[pytest.mark.long, pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++")]),
]


def mixture(tensor, size):
    """Several collectives, and something to compute between them."""
    group = dist.group.WORLD
    total = functional.all_reduce(tensor * 2, "sum", group)
    gathered = functional.all_gather_tensor(total + tensor, 0, group)
    share = functional.reduce_scatter_tensor(gathered, "sum", 0, group)
    exchanged = functional.all_to_all_single(share.repeat(size, 1).contiguous(), None, None, group)
    return functional.broadcast(exchanged.cos(), 0, group) + share.sum()


def functional_collectives(rank, compiler):
    torch._dynamo.reset()
    compiled = torch.compile(mixture, backend=compiler, fullgraph=True)
    for factor in (1.0, 3.0):
        tensor = torch.arange(12, dtype=torch.float32).reshape(4, 3) * factor * (rank.rank + 1) / 16
        torch.testing.assert_close(compiled(tensor, rank.size), mixture(tensor, rank.size))


@pytest.mark.parametrize("compiler", COMPILERS)
def test_functional_collectives(world, compiler):
    world.run(functional_collectives, compiler)


def plain_calls(rank, compiler):
    """torch rewrites dist.all_reduce in place and others into functional collectives."""
    torch._dynamo.reset()

    def function(tensor):
        tensor = tensor + 1
        dist.all_reduce(tensor)
        gathered = torch.empty(tensor.numel() * rank.size)
        dist.all_gather_into_tensor(gathered, tensor)
        return gathered * 2

    got = torch.compile(function, backend=compiler, fullgraph=True)(torch.full((5,), float(rank.rank)))
    rank.same(got, torch.full((5 * rank.size,), 2.0 * (sum(rank.ranks) + rank.size)))


@pytest.mark.parametrize("compiler", COMPILERS)
def test_plain_calls(world, compiler):
    world.run(plain_calls, compiler)


def trainings(rank, compiler, wrap):
    """Compiled and not, training learns the same."""
    torch._dynamo.reset()
    results = []
    for compiled in (True, False):
        model = wrap(rank, perceptron())
        step = torch.compile(model, backend=compiler) if compiled else model
        losses = train(rank, step, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
        results.append((losses, parameters_of(model)))
        same_everywhere(rank, results[-1][1])
    torch.testing.assert_close(*(losses for losses, _ in results), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*(parameters for _, parameters in results), rtol=1e-4, atol=1e-5)


def replicate(rank, model):
    return DistributedDataParallel(model)


def shard(rank, model):
    mesh = init_device_mesh("cpu", (rank.size,))
    for layer in (model[0], model[2], model):
        fully_shard(layer, mesh=mesh)
    return model


@pytest.mark.parametrize("wrap", [replicate, shard], ids=["ddp", "fully_shard"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_training(world, compiler, wrap):
    world.run(trainings, compiler, wrap)
