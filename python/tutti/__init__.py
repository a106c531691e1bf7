"""Tutti: all-reduce and its family for the processes of one job, over shared memory and TCP."""
from ._errors import Error, Status
from ._library import ANY_SOURCE, ANY_TAG, lib

__version__ = lib.tutti_version().decode()

__all__ = ["ANY_SOURCE", "ANY_TAG", "Error", "Status", "__version__"]
