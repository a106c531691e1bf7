"""Programs over tutti, each rank an interpreter of its own: how they end, torchrun's restarts, and backends that do not fit."""
import os
import re
import shutil
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch_world import BACKEND

BEGIN = f"""
import os, sys, time
import torch, torch.distributed as dist
if "{BACKEND}" == "tutti":
    import tutti.torch
dist.init_process_group("{BACKEND}")
rank, size = dist.get_rank(), dist.get_world_size()
tensor = torch.ones(1000)
dist.all_reduce(tensor)
assert tensor[999] == size
"""
SECONDS = 120  # an outer bound of a program


def environment(**more):
    return {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", **more}


def run_ranks(folder, script, size=2, **more):
    """Runs the program at every rank; returns each rank's exit status and what it printed, standard error included."""
    (folder / "program.py").write_text(BEGIN + script)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [subprocess.Popen([sys.executable, str(folder / "program.py")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, env=environment(RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1",
                                                         MASTER_PORT=str(port), **more))
             for rank in range(size)]
    printed = [rank.communicate(timeout=SECONDS)[0] for rank in ranks]
    return [rank.returncode for rank in ranks], printed


ENDS = {
    "without a word": "",
    "with a work that was not waited for": "dist.all_reduce(tensor, async_op=True)",
    "with a work that nobody can finish": "dist.irecv(tensor, src=1 - rank)",
    "with a group that was not destroyed": "group = dist.new_group(); dist.all_reduce(tensor, group=group)",
    "at different times": "time.sleep(rank)",
    "the other way round": "time.sleep(1 - rank)",
    "by sys.exit": "sys.exit(0)",
    "as the manual says": "dist.destroy_process_group()",
    "destroyed at different times": "time.sleep(rank); dist.destroy_process_group()",
}


@pytest.mark.parametrize("end", [name if name in ("without a word", "as the manual says")
                                 else pytest.param(name, marks=pytest.mark.long) for name in ENDS])
def test_program_ends(tmp_path, end):
    """Cleanly, and without a word of warning."""
    statuses, printed = run_ranks(tmp_path, ENDS[end])
    assert statuses == [0, 0], printed
    about_destroying = "destroy_process_group() was not called"  # torch's own advice
    words = [line for text in printed for line in text.splitlines() if about_destroying not in line]
    assert not words, words


def test_the_end_waits_for_what_works_keep(tmp_path):
    """A work that nobody can finish is given up at the end, and its tensor goes on a thread that needs Python for that."""
    statuses, printed = run_ranks(tmp_path, """
class Slow(torch.Tensor):
    def __del__(self):
        time.sleep(0.5)
        print("gone", flush=True)

slow = torch.ones(1000).as_subclass(Slow)
dist.irecv(slow, src=1 - rank)
del slow
""")
    assert statuses == [0, 0], printed
    for text in printed:
        assert re.sub("^.*destroy_process_group.*\n", "", text, flags=re.MULTILINE) == "gone\n", text


def test_exception_at_one_rank(tmp_path):
    """The others hear of it at once: who it was, and what happened there."""
    statuses, printed = run_ranks(tmp_path, """
if rank == 1:
    raise ValueError("this rank has had enough")
while True:
    dist.all_reduce(tensor)
""", size=3)
    assert all(statuses), printed
    for rank in (0, 2):
        assert re.search(r"DistBackendError: rank 1 .* its program ended by ValueError: this rank has had enough", printed[rank]), \
            printed[rank]


def torchrun(folder, script, *options):
    (folder / "program.py").write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *options,
               str(folder / "program.py")]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS, env=environment())


def test_restart_by_torchrun(tmp_path):
    """A rank kills itself; torchrun starts all of them again, and they come to the end."""
    done = torchrun(tmp_path, BEGIN + """
import signal
attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
for step in range(20):
    dist.all_reduce(tensor)
    if attempt == 0 and rank == 1 and step == 10:
        os.kill(os.getpid(), signal.SIGKILL)
print(f"rank {rank} came to the end in attempt {attempt}", flush=True)
""", "--max-restarts=1")
    assert done.returncode == 0, done.stdout
    for rank in (0, 1):
        assert f"rank {rank} came to the end in attempt 1" in done.stdout, done.stdout
    assert "in attempt 0" not in done.stdout


def test_found_by_torch(tmp_path):
    """Where Tutti was installed by pip, torch finds the backend by itself."""
    groups = {entry.group for package in metadata.distributions(name="tutti") for entry in package.entry_points
              if entry.value == "tutti._discovery:register"}
    if not groups:
        pytest.skip("the package tutti was not installed by pip")
    assert groups == {"torch.backends", "torch.distributed.backends"}
    (tmp_path / "program.py").write_text("""
import torch.distributed as dist, sys
dist.init_process_group("tutti", rank=0, world_size=1, store=dist.HashStore())
assert dist.get_backend() == "tutti"
dist.barrier()
""")
    subprocess.run([sys.executable, str(tmp_path / "program.py")], check=True, env=environment())


def bare_package(folder):
    """A copy of the package without a compiled backend, and the environment in which it is found and its cache is empty."""
    import tutti

    installed = Path(tutti.__file__).parent
    shutil.copytree(installed, folder / "tutti", ignore=shutil.ignore_patterns("_backend*.so", "__pycache__"))
    if installed.with_name("tutti.libs").exists():  # libraries that a wheel carries
        shutil.copytree(installed.with_name("tutti.libs"), folder / "tutti.libs")
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return folder / "tutti", environment(PYTHONPATH=path, TUTTI_PYTHON_CACHE=str(folder / "cache"))


def import_backend(variables, **more):
    """The exit status and what is printed where `import tutti.torch` is tried with this environment."""
    done = subprocess.run([sys.executable, "-c", "import tutti.torch"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=SECONDS, env={**variables, **more}, cwd="/")
    return done.returncode, done.stdout


@pytest.fixture
def compiled():
    """The file of the compiled backend that is in use."""
    from tutti.torch import backend_module

    if not getattr(backend_module, "__file__", "").endswith(".so"):
        pytest.skip("the backend in Python is in use")
    return Path(backend_module.__file__)


@pytest.mark.parametrize("what, other", [("torch", b"1.9"), ("tutti", b"0.0")])
def test_package_for_another_build(tmp_path, compiled, what, other):
    """A backend in the package that does not fit is refused before it is loaded, with the command that helps."""
    from tutti import build_torch

    content = compiled.read_bytes()
    mark = build_torch.MARK.search(content)
    version = mark[1] if what == "torch" else mark[2]
    changed = mark[0].replace(version, other + version[len(other):], 1)
    package, variables = bare_package(tmp_path)
    suffix = compiled.name[compiled.name.index(".cpython"):]
    (package / "torch" / f"_backend{suffix}").write_bytes(content.replace(mark[0], changed))
    status, printed = import_backend(variables)
    assert status != 0 and "ImportError" in printed, printed
    refusal = rf"was compiled for torch .*{re.escape(other.decode())}.*; here are torch .*python -m tutti.build_torch"
    assert re.search(refusal, printed), printed


def test_file_that_is_no_backend(tmp_path, compiled):
    package, variables = bare_package(tmp_path)
    suffix = compiled.name[compiled.name.index(".cpython"):]
    (package / "torch" / f"_backend{suffix}").write_bytes(b"nothing that could be loaded" * 100)
    status, printed = import_backend(variables)
    assert status != 0 and "is not a backend that Tutti compiled" in printed, printed


def test_no_compiler(tmp_path):
    """torch 2.14 and later then have the backend in Python; before that the error says what to install."""
    from tutti.torch import _load

    _, variables = bare_package(tmp_path)
    status, printed = import_backend(variables, PATH="/nowhere", CXX="", TUTTI_PYTHON_BACKEND="")
    if _load._release(torch.__version__) >= _load.PYTHON_SINCE:
        assert status == 0 and "backend in Python serves instead" in printed, printed
    else:
        assert status != 0 and "is no C++ compiler" in printed and "g++" in printed, printed
    status, printed = import_backend(variables, CXX="/nowhere/c++", TUTTI_PYTHON_BACKEND="cpp")
    assert status != 0 and "/nowhere/c++ could not be run" in printed, printed


@pytest.mark.long
def test_several_ranks_compile_once(tmp_path):
    """They find no backend, one of them compiles it, and the others wait."""
    if not (shutil.which("g++") or shutil.which("c++")):
        pytest.skip("there is no C++ compiler")
    _, variables = bare_package(tmp_path)
    statuses, printed = run_ranks(tmp_path, "", size=3, **variables)
    assert statuses == [0, 0, 0], printed
    assert sum("compiling the backend" in text for text in printed) == 1, printed
