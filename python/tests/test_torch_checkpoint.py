"""Distributed checkpoints over tutti: saved by shares, also while training goes on, and loaded by another number of shares."""
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
import torch.distributed as dist
import torch.distributed.checkpoint as checkpoint
from torch.distributed.checkpoint.state_dict import (StateDictOptions, get_model_state_dict, get_state_dict,
                                                           set_model_state_dict, set_state_dict)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch_training import parameters_of, perceptron, train


def begin(rank, sharded=True):
    """A model that is shared out (or replicated) and its optimizer."""
    model = perceptron()
    if sharded:
        for layer in (model[0], model[2], model):
            fully_shard(layer, mesh=init_device_mesh("cpu", (rank.size,)))
    else:
        model = DistributedDataParallel(model)
    return model, torch.optim.Adam(model.parameters(), lr=0.01)


def state_of(model, optimizer):
    model_state, optimizer_state = get_state_dict(model, optimizer)
    return {"model": model_state, "optimizer": optimizer_state}


def go_on_from(rank, path, sharded):
    """Loads the checkpoint at `path`, trains three steps and returns the parameters."""
    model, optimizer = begin(rank, sharded)
    train(rank, model, optimizer, 1)  # leaves a state that has to be replaced
    state = state_of(model, optimizer)
    checkpoint.load(state, checkpoint_id=path)
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    train(rank, model, optimizer, 3)
    return parameters_of(model)


def save_and_load(rank, path):
    model, optimizer = begin(rank)
    train(rank, model, optimizer)
    checkpoint.save(state_of(model, optimizer), checkpoint_id=path)
    train(rank, model, optimizer, 3)
    rank.same(go_on_from(rank, path, True), parameters_of(model))
    torch.testing.assert_close(go_on_from(rank, path, False), parameters_of(model))  # into DistributedDataParallel


def test_save_and_load(world, tmp_path):
    world.run(save_and_load, str(tmp_path / "checkpoint"))


def save_while_training(rank, path):
    """async_save's own thread calls collectives on a group of its own while training goes on."""
    model, optimizer = begin(rank)
    group = dist.new_group()
    train(rank, model, optimizer)
    saved = checkpoint.async_save(state_of(model, optimizer), checkpoint_id=path, process_group=group)
    train(rank, model, optimizer, 3)
    saved.result(timeout=60)
    rank.same(go_on_from(rank, path, True), parameters_of(model))
    dist.destroy_process_group(group)


def test_save_while_training(world, tmp_path):
    world.run(save_while_training, str(tmp_path / "checkpoint"))


def load_by_fewer(rank, path):
    """What all ranks have saved, one loads alone."""
    whole = {name: torch.zeros_like(tensor) for name, tensor in perceptron().state_dict().items()}
    if rank.rank == 0:
        checkpoint.load({"model": whole}, checkpoint_id=path, no_dist=True)
    dist.barrier()
    return torch.cat([tensor.flatten() for tensor in whole.values()])


def save_shares(rank, path):
    model, optimizer = begin(rank)
    train(rank, model, optimizer)
    checkpoint.save(state_of(model, optimizer), checkpoint_id=path)
    return parameters_of(model)


def test_load_by_fewer(world, tmp_path):
    path = str(tmp_path / "checkpoint")
    saved = world.run(save_shares, path)
    loaded = world.run(load_by_fewer, path)
    torch.testing.assert_close(loaded[0], saved[0], rtol=0, atol=0)


def whole_state(rank):
    """The whole model at rank 0 alone, and from there each rank's share."""
    model, optimizer = begin(rank)
    train(rank, model, optimizer)
    whole = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    assert bool(whole) == (rank.rank == 0)
    again, _ = begin(rank)
    set_model_state_dict(again, whole, options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True))
    rank.same(parameters_of(again), parameters_of(model))


def test_whole_state(world):
    world.run(whole_state)


def nowhere(rank, path):
    """A checkpoint that is not there: the same exception at all ranks, and the group goes on."""
    model, optimizer = begin(rank)
    with pytest.raises(checkpoint.api.CheckpointException):
        checkpoint.load({"model": model.state_dict()}, checkpoint_id=path)
    total = torch.ones(1)
    dist.all_reduce(total)
    rank.same(total, torch.full((1,), float(rank.size)))


def test_nowhere(world, tmp_path):
    world.run(nowhere, str(tmp_path / "nowhere"))
