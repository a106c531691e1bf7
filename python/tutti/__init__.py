"""Tutti: all-reduce and its family for the processes of one job, over shared memory and TCP.

    import numpy, tutti

    with tutti.Communicator() as comm:            # started by torchrun, mpirun, srun …
        gradient = numpy.ones(1000, "float32")
        comm.all_reduce(gradient, op="avg")       # in place

Communicator has the collectives, messages and asynchronous calls; Codec compresses gradients; failures are tutti.Error.
tutti.torch is the backend for torch.distributed.
"""
from ._calls import Reduction
from ._errors import Error, Status
from ._library import ANY_SOURCE, ANY_TAG, lib
from .codec import Codec
from .communicator import Communicator, Stats, unique_id
from .request import Received, Request

__version__ = lib.tutti_version().decode()

__all__ = ["ANY_SOURCE", "ANY_TAG", "Codec", "Communicator", "Error", "Received", "Reduction", "Request", "Stats", "Status",
           "unique_id", "__version__"]
