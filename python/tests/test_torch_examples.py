"""The examples run under the launchers, print what they promise, and learn."""
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
LINE = re.compile(r"^epoch +(\d+): loss ([\d.]+), +(\d+) examples/s, +([\d.]+) MB sent by rank 0$", re.MULTILINE)
SECONDS = 120  # an outer bound


def torchrun():
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def mpirun():
    path = shutil.which("mpirun")
    version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout if path else ""
    if "Open MPI" not in version:
        pytest.skip("Open MPI is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [path, "--allow-run-as-root", "--oversubscribe", "-n", "2", "-x", f"MASTER_PORT={port}", sys.executable]


def alone():
    return [sys.executable]


RUNS = {
    "torchrun": (torchrun, "ddp.py", ["--codec", "int8", "--workers", "1"]),
    "mpirun": (mpirun, "ddp.py", []),
    "alone": pytest.param((alone, "ddp.py", []), marks=pytest.mark.long),
    "fsdp": (torchrun, "fsdp.py", []),
    "fsdp_mpirun": pytest.param((mpirun, "fsdp.py", ["--workers", "1"]), marks=pytest.mark.long),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_example(run, tmp_path):
    launcher, example, arguments = run
    if example == "fsdp.py":
        arguments = [*arguments, "--checkpoint", str(tmp_path / "checkpoint")]
    command = [*launcher(), str(EXAMPLES / example), "--epochs", "3", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    epochs = LINE.findall(done.stdout)
    assert [epoch for epoch, _, _, _ in epochs] == ["1", "2", "3"], done.stdout
    assert all((float(sent) > 0.1) == (launcher is not alone) for _, _, _, sent in epochs), done.stdout
    assert float(epochs[2][1]) < 0.4 * float(epochs[0][1]), done.stdout
    share = re.search(r"^([\d.]+)% of the other 297 digits are recognized$", done.stdout, re.MULTILINE)
    assert share and float(share[1]) > 80, done.stdout
    assert example != "fsdp.py" or len(list((tmp_path / "checkpoint").glob("*.distcp"))) == 2
