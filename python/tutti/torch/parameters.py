"""Makes ranks begin alike, by Horovod's names: every rank gets the root's parameters and optimizer state."""

import io

import torch
import torch.distributed as dist


def broadcast_parameters(parameters, root_rank=0, group=None):
    """Every rank's tensors become those of `root_rank` (its number in the whole job), in place.  Collective, blocking.

    parameters: model.state_dict(), model.named_parameters(), or an iterable of tensors; the same shapes and types in the same
    order on all ranks.
    """
    if hasattr(parameters, "items"):
        parameters = parameters.items()
    tensors = [entry[1] if isinstance(entry, tuple) else entry for entry in parameters]
    with torch.no_grad():
        works = [dist.broadcast(tensor.detach(), root_rank, group=group, async_op=True)
                 for tensor in tensors if isinstance(tensor, torch.Tensor)]
        for work in works:
            work.wait()


def broadcast_optimizer_state(optimizer, root_rank=0, group=None):
    """Every rank's optimizer gets the state and the options (learning rates …) of that of `root_rank`.  Collective, blocking.

    The optimizers have the same groups of parameters on all ranks.  A rank whose optimizer has made no step yet gets the state
    of one that has.
    """
    memory = io.BytesIO()
    if dist.get_rank() == root_rank:
        torch.save(optimizer.state_dict(), memory)
    data = torch.frombuffer(bytearray(memory.getvalue()), dtype=torch.uint8) if memory.tell() else torch.empty(0, dtype=torch.uint8)
    length = torch.tensor([data.numel()])
    dist.broadcast(length, root_rank, group=group)
    if dist.get_rank() != root_rank:
        data = torch.empty(int(length), dtype=torch.uint8)
    dist.broadcast(data, root_rank, group=group)
    if dist.get_rank() != root_rank:
        # The root is a rank of this job, and may pickle no more than what a state dict is made of.
        state = torch.load(io.BytesIO(data.numpy().tobytes()), weights_only=True)
        optimizer.load_state_dict(state)
