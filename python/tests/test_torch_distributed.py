"""Torch's own tests of torch.distributed, DistributedTest._DistTestBase of the installed torch, over tutti.

What torch's tests do for Gloo they do here for tutti: the tests are run from a copy of their module in which tutti stands beside
Gloo in every list of backend names.  Most of the others are for GPUs or NCCL, or switched off by torch; they skip themselves.
"""
import importlib.util
import itertools
import os
import re
import sys
import tempfile
import types
import unittest
from datetime import timedelta
from unittest import mock

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("expecttest", reason="torch's own tests need the package expecttest")
import torch.distributed as dist
from torch.testing._internal import common_distributed, common_utils

import torch_world

SOURCE = importlib.util.find_spec("torch.testing._internal.distributed.distributed_test").origin

# What cannot pass over any backend but Gloo and NCCL, and why.
MONITORED_BARRIER = "torch's monitored_barrier asks for Gloo by name"
LISTED = {
    "test_monitored_barrier_gloo": MONITORED_BARRIER,
    "test_monitored_barrier_gloo_rank_0_timeout": MONITORED_BARRIER,
    "test_monitored_barrier_gloo_subgroup": MONITORED_BARRIER,
    "test_monitored_barrier_wait_all_ranks": MONITORED_BARRIER,
    "test_ddp_logging_data_cpu": "DistributedDataParallel logs the backend as 'custom'",
}


def copy_of_the_module(backend, size, folder):
    """Torch's module, as it reads with this backend's name where it names Gloo's."""
    os.environ.update(BACKEND=backend, WORLD_SIZE=str(size), TEMP_DIR=folder, INIT_METHOD=f"file://{folder}/store",
                      MASTER_ADDR="127.0.0.1")
    with open(SOURCE) as source:
        text = source.read()
    text = re.sub(r'BACKEND (==|!=) "gloo"', rf'BACKEND \1 "{backend}"', text)
    text = re.sub(r'BACKEND != "mpi",( "Only MPI supports all_to_all")', rf'BACKEND != "{backend}",\1', text)
    text = text.replace('{"gloo"}', f'{{"gloo", "{backend}"}}')
    text = re.sub(r"^    dist\.Backend\.GLOO,$", f'    dist.Backend.GLOO, "{backend}",', text, flags=re.MULTILINE)
    if torch_world.backend_in_python():  # ends its profiler events on the thread that began them
        text = re.sub(r"self\.assertTrue\((e|event)\.is_async\)", "pass", text)
    for names in common_distributed.DistTestCases.backend_feature.values():
        if "gloo" in names or not names:  # the empty one: plugins
            names.add(backend)
    module = types.ModuleType("copy_of_distributed_test")
    module.__file__ = SOURCE
    sys.modules[module.__name__] = module  # where pickle looks for the classes in it
    exec(compile(text, SOURCE, "exec"), module.__dict__)
    return module


def names_that_run():
    """The names of those that torch would run for Gloo without a GPU."""
    with mock.patch.dict(os.environ):
        base = copy_of_the_module(torch_world.BACKEND, 3, tempfile.gettempdir()).DistributedTest._DistTestBase
    tests = {name: getattr(base, name) for name in dir(base) if name.startswith("test_")}
    names = [name for name, test in sorted(tests.items()) if not getattr(test, "__unittest_skip__", False)]
    listed = LISTED if torch_world.BACKEND != "gloo" else {}
    return [pytest.param(name, marks=[pytest.mark.xfail(strict=True, reason=listed[name])] if name in listed else [])
            for name in names]


def class_of_the_tests(rank, folder):
    """At a rank: a TestCase of torch's tests, which run in the processes that are there."""
    module = copy_of_the_module(rank.backend, rank.size, folder)
    barriers = itertools.count()

    class Tests(module.DistributedTest._DistTestBase, common_distributed.TestCase):
        world_size = rank.size
        init_method = os.environ["INIT_METHOD"]

        def _barrier(self, wait_for=None, timeout=None):  # torch's polls files ten times a second
            key = f"barrier {next(barriers)}"
            rank.store.add(key, 1)
            while rank.store.add(key, 0) < rank.size:
                pass

    return Tests


def run_one(rank, folder, name):
    """Runs one test in a process group of its own; returns why it is skipped, or None."""
    if not hasattr(rank, "tests"):
        rank.tests = class_of_the_tests(rank, folder)
    test = rank.tests(name)
    test.rank = rank.rank
    dist.init_process_group(rank.backend, store=dist.PrefixStore(name, rank.store), rank=rank.rank, world_size=rank.size,
                            timeout=timedelta(seconds=30))
    common_utils.set_rng_seed()
    test._barrier()
    reason = None
    with mock.patch.dict(os.environ):
        try:
            getattr(test, name)()
        except unittest.SkipTest as skip:
            reason = str(skip)
        except SystemExit as end:
            reason = next(skip.message for skip in common_distributed.TEST_SKIPS.values() if skip.exit_code == end.code)
    dist.set_debug_level_from_env()  # some tests set it
    test._barrier()
    if dist.is_initialized():
        dist.destroy_process_group()
    return reason


def test_they_are_there():
    """A change of torch's module that this copy of it does not know would leave little to run."""
    names = [parameter.values[0] for parameter in names_that_run()]
    assert len(names) > 150 and "test_all_reduce_sum" in names and "test_DistributedDataParallel_SyncBatchNorm" in names, names


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("torch")
    (folder / "test_dir").mkdir()
    return str(folder)


@pytest.fixture(scope="module")
def unjoined_worlds():
    worlds = torch_world.Worlds(joined=False)
    yield worlds
    worlds.close()


@pytest.mark.parametrize("name", names_that_run())
@pytest.mark.parametrize("size", [3, pytest.param(4, marks=pytest.mark.long)], ids="{}ranks".format)
def test_of_torch(unjoined_worlds, size, name, folder):
    skips = {skip for skip in unjoined_worlds.of(size).run(run_one, folder, name) if skip}
    if skips:
        pytest.skip("; ".join(sorted(skips)))
