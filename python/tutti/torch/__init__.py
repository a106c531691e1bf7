"""Tutti as a backend of torch.distributed, for tensors on the CPU.

    import tutti.torch                       # not needed where Tutti was installed by pip: torch finds it
    torch.distributed.init_process_group("tutti")

Everything in torch.distributed that takes CPU tensors works over it: collectives, DistributedDataParallel, fully_shard, DTensor,
distributed checkpoints.  `CompressState` and `compress_hook` compress the gradients of DistributedDataParallel;
`broadcast_parameters` and `broadcast_optimizer_state` make ranks begin alike.  docs/pytorch.md explains all of it.

Errors are torch's: DistNetworkError for a rank that died or cannot be reached, DistBackendError for timeouts, calls that do not
match, aborts and failures of the system, ValueError and NotImplementedError for a call that is wrong or not to be had (the group
stays as it was); each with Tutti's sentence.
"""

import atexit
import os
import sys

import torch
import torch.distributed as dist

from .. import _discovery
from ._load import backend_module
from .compression import CompressState, compress_hook
from .parameters import broadcast_optimizer_state, broadcast_parameters

__all__ = [
    "Backend", "CompressState", "Options", "backend_of", "broadcast_optimizer_state", "broadcast_parameters", "compress_hook",
    "statistics"
]

Backend = backend_module.Backend
Options = backend_module.Options


def create_backend(group, pg_options=None):
    """The backend of a new process group; torch.distributed calls it.  `group` says who its ranks are and where they meet."""
    if pg_options is not None and not isinstance(pg_options, Options):
        raise TypeError(f"pg_options of a process group over tutti are tutti.torch.Options, not {type(pg_options).__name__}.")
    options = Options(list(pg_options.settings) if pg_options is not None else [])
    options._timeout = group.timeout
    options.group_name = group.group_id
    options.global_ranks_in_group = group.global_ranks_in_group
    # Within the world of all ranks, unless the group has settings of its own, which all its ranks give.
    world = backend_of(dist.group.WORLD) if dist.is_initialized() else None
    if world is not None and world.usable and group.global_ranks_in_group and not options.settings:
        return world.create_group(group.global_ranks_in_group, options)
    return Backend.create(group.store, group.group_rank, group.group_size, options)


def backend_of(group=None):
    """The Backend of a process group (default: all ranks), or None if its CPU tensors are another backend's."""
    group = group if group is not None else dist.group.WORLD
    if group is None:
        raise ValueError('there is no process group yet; call torch.distributed.init_process_group("tutti").')
    try:
        backend = group._get_backend(torch.device("cpu"))
    except RuntimeError:  # none for the CPU
        return None
    backend = getattr(backend, "wrapped_pg", backend)  # TORCH_DISTRIBUTED_DEBUG=DETAIL wraps it
    return backend if isinstance(backend, Backend) else None


def statistics(group=None):
    """What a process group has done on this rank: a dict of operations, input_bytes, sent_bytes, received_bytes, memory_bytes …"""
    backend = backend_of(group)
    if backend is None:
        raise ValueError("the process group is not one over tutti.")
    return backend.statistics()


def _say_goodbye(process=os.getpid()):
    if os.getpid() != process:  # a child that was forked
        return
    error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)  # of a program that ends by an exception
    backend_module.close_all(f"its program ended by {type(error).__name__}: {error}"[:300] if error is not None else "")


_discovery.register()
atexit.register(_say_goodbye)
