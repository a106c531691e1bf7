"""Tells torch that there is a backend "tutti", without loading it.

Entry points name `register`: torch 2.13 calls those of the group torch.backends when it is imported, torch 2.14 and later
that of torch.distributed.backends when a process group over "tutti" is asked for.
"""


def register():
    """Registers the backend "tutti" for tensors on the CPU.  The rest is imported when a group is created."""
    import torch.distributed as dist

    if dist.is_available() and not hasattr(dist.Backend, "TUTTI"):
        dist.Backend.register_backend("tutti", _create, extended_api=True, devices=["cpu"])


def _create(group, pg_options):
    from . import torch as backend

    return backend.create_backend(group, pg_options)
