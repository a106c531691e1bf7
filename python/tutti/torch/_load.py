"""Loads the C++ backend: the one that was compiled with the package, one from the cache, or a new one.

The module it ends in is `backend_module`.  TUTTI_PYTHON_BACKEND=python asks for the backend in Python (torch 2.14 and later),
TUTTI_PYTHON_BACKEND=cpp allows no other than the compiled one.
"""

import importlib.machinery
import importlib.util
import os
import warnings
from pathlib import Path

import torch

from .. import build_torch

PYTHON_SINCE = (2, 14)  # torch._C._distributed_c10d.Backend can be subclassed


def _release(version):
    return tuple(int(part) for part in version.split("+")[0].split(".")[:2])


def fits(path):
    """Whether the backend at `path` was compiled for this release of torch and this Tutti."""
    built, here = build_torch.built_for(path), build_torch.this_build()
    return _release(built["torch"]) == _release(here["torch"]) and built["tutti"] == here["tutti"]


def _refusal(path):
    built, here = build_torch.built_for(path), build_torch.this_build()
    return ImportError(
        f"{path} was compiled for torch {built['torch']} and Tutti {built['tutti']}; here are torch {here['torch']} and Tutti "
        f"{here['tutti']}. Compile it for these by `python -m tutti.build_torch`, or install Tutti again by "
        "`pip install --no-build-isolation .`")


def _path():
    """The file to load; compiles it if there is none.  One that came with the package and does not fit is told of."""
    packaged = Path(__file__).with_name("_backend" + importlib.machinery.EXTENSION_SUFFIXES[0])
    if packaged.exists() and fits(packaged):
        return packaged
    cached = build_torch.cached_path()
    if cached.exists() and fits(cached):
        return cached
    if packaged.exists():
        raise _refusal(packaged)
    return build_torch.build(cached)


def _load(path):
    # The file asks for libtutti.so, which the package has loaded.
    spec = importlib.util.spec_from_file_location("tutti.torch._backend", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _python_backend():
    from . import python_backend

    return python_backend


def _choose():
    wanted = os.environ.get("TUTTI_PYTHON_BACKEND", "")
    if wanted not in ("", "cpp", "python"):
        raise ImportError(f'TUTTI_PYTHON_BACKEND is "{wanted}"; it may be cpp or python.')
    possible = _release(torch.__version__) >= PYTHON_SINCE
    if wanted == "python":
        if not possible:
            raise ImportError(f"TUTTI_PYTHON_BACKEND=python needs torch 2.14 or later; this is torch {torch.__version__}.")
        return _python_backend()
    try:
        return _load(_path())
    except build_torch.CannotBuild as error:
        if wanted == "cpp" or not possible:
            raise ImportError(str(error)) from error
        warnings.warn(f"{error} The backend in Python serves instead, which is slower.", stacklevel=2)
        return _python_backend()


backend_module = _choose()
