"""Small trainings for the tests: a model, each rank's own data, and the comparison of what two backends make of them."""
import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy

STEPS = 6
BATCH = 16
FEATURES, HIDDEN, CLASSES = 12, 48, 5


def perceptron():
    """The same on all ranks, and each time."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(FEATURES, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, HIDDEN), torch.nn.ReLU(),
                               torch.nn.Linear(HIDDEN, CLASSES))


def batches(rank, steps=STEPS, batch=BATCH):
    """Pairs of inputs and labels, other ones at each rank; the labels can be learnt."""
    generator = torch.Generator().manual_seed(100)
    teacher = torch.randn(FEATURES, CLASSES, generator=generator)
    generator.manual_seed(200 + rank.rank)
    for _ in range(steps):
        inputs = torch.randn(batch, FEATURES, generator=generator)
        yield inputs, (inputs @ teacher).argmax(1)


def train(rank, model, optimizer, steps=STEPS):
    """The loss of each step."""
    losses = []
    for inputs, labels in batches(rank, steps):
        optimizer.zero_grad()
        loss = cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def parameters_of(model):
    """All parameters in one vector; those of DTensors whole."""
    whole = [parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter for parameter in model.parameters()]
    return torch.cat([parameter.detach().flatten() for parameter in whole])


def same_training(rank, training, tolerance=1e-5):
    """Asserts that training(rank, group) → (losses, parameters) is the same over the backend under test and over Gloo.

    To the last bit where two ranks add; more of them may add in another order.
    """
    losses, parameters = training(rank, dist.group.WORLD)
    gloo_losses, gloo_parameters = training(rank, rank.gloo)
    tolerance = 0 if rank.size == 2 else tolerance
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(losses, gloo_losses, **close)
    torch.testing.assert_close(parameters, gloo_parameters, **close)
    assert len(losses) > 0 and losses.isfinite().all(), losses
    return losses, parameters


def same_everywhere(rank, tensor):
    """Asserts that all ranks hold the same bits."""
    everyones = [torch.empty_like(tensor) for _ in rank.ranks]
    dist.all_gather(everyones, tensor, group=rank.gloo)
    for other in rank.ranks:
        rank.same(tensor, everyones[other], f"as at rank {other}")
