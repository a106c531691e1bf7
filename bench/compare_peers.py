"""Who is compared: how each library's driver is built, started and read."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

RUN_LIMIT_S = 180  # of one driver
END_S = 5  # that a process gets to end by itself


@dataclass(frozen=True)
class Peer:
    name: str
    driver: str  # bench/drivers/driver_…
    transports: tuple
    about: str
    launcher: str = ""  # "": ranks are started here and told by COMPARE_… and TUTTI_…
    environment: dict = field(default_factory=dict)
    ucx: bool = False  # its messages go over UCX, which is told to use this transport
    limit: bool = False  # what the hardware or the kernel allows, not an all-reduce
    one_core: bool = True  # a rank can do with one core


# A temporary as large as the data is mapped, faulted in and given back on every large call unless malloc keeps it.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "8589934592"}

PEERS = [
    Peer("tutti", "tutti", ("shm", "tcp"), "Tutti's own choice of algorithm"),
    Peer("tutti_ring", "tutti", ("shm", "tcp"), "Tutti's ring", environment={"TUTTI_ALGORITHM": "all_reduce:ring"}),
    Peer("tutti_alloc", "tutti", ("shm", "tcp"), "Tutti's own choice, buffers from tutti_alloc"),
    Peer("tutti_async", "tutti", ("shm", "tcp"), "Tutti's own choice, started and waited for"),
    Peer("tutti_single", "tutti", ("shm", "tcp"), "Tutti's own choice, one thread a rank", environment={"TUTTI_THREADS": "1"}),
    Peer("tutti_overlap", "tutti", ("shm", "tcp"), "32 asynchronous all-reduces in flight, of a 32nd of the data each"),
    *(Peer(f"tutti_{name}", "tutti", ("shm", "tcp"), f"Tutti with codec {spec}", environment={"COMPARE_CODEC": spec})
      for name, spec in (("int8", "int8"), ("int4", "int4"), ("sign", "sign"), ("topk", "topk:ratio=0.01"), ("auto", "auto:int8"))),
    Peer("tutti_ucx", "tutti", ("shm", "tcp"), "Tutti over UCX", ucx=True),
    Peer("openmpi", "openmpi", ("shm", "tcp"), "Open MPI, pml ob1, btl vader or tcp", "openmpi"),
    Peer("openmpi_keep", "openmpi", ("shm",), "the same, malloc keeping large memory", "openmpi", KEEP_MEMORY),
    Peer("openmpi_ucx", "openmpi", ("shm", "tcp"), "Open MPI, pml ucx", "openmpi", ucx=True),
    Peer("mpich", "mpich", ("shm",), "MPICH's default", "mpich"),
    # Its thread for the network and the caller's, which polls, take turns of 4 ms on one core.
    Peer("gloo_ring", "gloo", ("tcp",), "Gloo's ring over loopback", one_core=False),
    Peer("gloo_halving", "gloo", ("tcp",), "Gloo's halving/doubling over loopback", one_core=False),
    Peer("memcpy", "memcpy", ("shm",), "limit: all ranks copy input to output", limit=True),
    Peer("memcpy_nt", "memcpy", ("shm",), "limit: the same by non-temporal stores", limit=True),
    Peer("socket", "socket", ("tcp",), "limit: raw full-duplex exchange of a ring's bytes", limit=True),
]
# Runs a command on the hardware thread that COMPARE_BOUND lists for this rank.  Not by the launchers' own options: each
# numbers cores in its own way.
BIND = ("/bin/sh", "-c", 'rank=${COMPARE_RANK:-${OMPI_COMM_WORLD_RANK:-$PMI_RANK}}\n'
        'exec taskset -c "$(echo "$COMPARE_BOUND" | cut -d , -f $((rank + 1)))" "$@"', "bind")
UCX_TRANSPORTS = {"shm": "sm,self", "tcp": "tcp,self"}  # UCX_TLS
DEFAULT_LIBS = ["tutti", "openmpi", "openmpi_keep", "mpich", "gloo_ring", "gloo_halving", "memcpy", "memcpy_nt", "socket"]
PACKAGES = {"openmpi": "libopenmpi-dev", "mpich": "libmpich-dev", "gloo": "libgloo-dev"}
LAUNCHERS = {"openmpi": ("mpirun.openmpi", "mpirun"), "mpich": ("mpiexec.hydra", "mpiexec.mpich")}


def cores(allowed=None, root="/sys/devices/system/cpu"):
    """The hardware threads that this process may use, by the kernel's numbers, in the order in which ranks are bound to them:
    one of each core before the second of any; cores of one package, and in it of one last-level cache, side by side."""
    files = ("topology/physical_package_id", "cache/index3/shared_cpu_list", "topology/core_id")

    def number(cpu, name):
        try:
            return int((Path(root) / f"cpu{cpu}" / name).read_text().split(",")[0].split("-")[0])
        except (OSError, ValueError):
            return -1  # the kernel does not say

    def place(cpu):
        return *(number(cpu, name) for name in files), cpu

    by_core = {}
    for cpu in sorted(allowed or os.sched_getaffinity(0), key=place):
        by_core.setdefault(place(cpu)[:3] if place(cpu)[2] >= 0 else cpu, []).append(cpu)
    layers = max(map(len, by_core.values()))
    return [cpus[layer] for layer in range(layers) for cpus in by_core.values() if layer < len(cpus)]


def launcher_of(peer):
    return next((path for path in map(shutil.which, LAUNCHERS.get(peer.launcher, ())) if path), None)


def found(folder, peers):
    """The drivers of `peers` that the folder holds already, as `build` returns them."""
    ready, missing = {}, []
    for peer in peers:
        path = folder / "bench/drivers" / f"driver_{peer.driver}"
        if not path.is_file():
            missing.append((peer.name, f"there is no {path}"))
        elif peer.launcher and not launcher_of(peer):
            missing.append(without_launcher(peer))
        else:
            ready[peer.name] = path
    return ready, missing


def without_launcher(peer):
    return peer.name, f"none of {', '.join(LAUNCHERS[peer.launcher])} is in PATH"


def build(root, folder, peers):
    """Builds the drivers of `peers` in the Meson folder; returns {peer name: path} and [(peer name, why not)]."""
    if not (folder / "build.ninja").exists():
        subprocess.run(["meson", "setup", "--buildtype=release", str(folder), str(root)], check=True, stdout=subprocess.DEVNULL)
    known = drivers_in(folder)
    if any(peer.driver not in known for peer in peers):  # installed since the folder was configured?
        subprocess.run(["meson", "setup", "--reconfigure", str(folder), str(root)], check=True, stdout=subprocess.DEVNULL)
        known = drivers_in(folder)
    ready, missing = {}, []
    for peer in peers:
        if peer.driver not in known:
            missing.append((peer.name, f"not installed (Debian: {PACKAGES.get(peer.driver, peer.driver)})"))
        elif peer.launcher and not launcher_of(peer):
            missing.append(without_launcher(peer))
        else:
            ready[peer.name] = folder / "bench/drivers" / f"driver_{peer.driver}"
    targets = sorted({str(path.relative_to(folder)) for path in ready.values()})
    subprocess.run(["ninja", "-C", str(folder), "-j2", *targets], check=True, stdout=subprocess.DEVNULL)
    return ready, missing


def drivers_in(folder):
    text = subprocess.run(["meson", "introspect", "--targets", str(folder)], check=True, capture_output=True, text=True).stdout
    return {target["name"][len("driver_"):] for target in json.loads(text) if target["name"].startswith("driver_")}


def algorithm_peers(driver):
    """A peer for each of Tutti's all-reduce algorithms, whose names the driver knows."""
    listed = subprocess.run([str(driver), "--algorithms"], check=True, capture_output=True, text=True).stdout.split()
    return [Peer(f"tutti_{name}", "tutti", ("shm", "tcp"), f"Tutti's {name}", environment={"TUTTI_ALGORITHM": "all_reduce:" + name})
            for name in listed]


def before_peers(libs):
    """Each of Tutti's peers in `libs` once more, for another build of the library and its driver."""
    return [replace(peer, name=peer.name + "_before", about=peer.about + "; the other build")
            for peer in PEERS if peer.driver == "tutti" and peer.name in libs]


def serves(peer, sample):
    """False where Tutti took another algorithm because the one that the peer stands for does not serve such a call."""
    wanted = peer.environment.get("TUTTI_ALGORITHM")
    return wanted is None or "all_reduce:" + sample["algorithm"] == wanted


def run(peer, driver, transport, ranks, arguments, bound=(), limit_s=RUN_LIMIT_S):
    """One run of a driver: its samples, or a RuntimeError that says what went wrong.  `bound`: the hardware threads that the
    ranks run on, one each; empty: as the launcher places them."""
    with tempfile.TemporaryDirectory(prefix="tutti-compare-") as directory:
        environment = {
            **os.environ,
            **peer.environment,
            "COMPARE_DIRECTORY": directory,
            "COMPARE_PAGE": directory + "/page",
            "COMPARE_CORES": str(len(os.sched_getaffinity(0))),
            "COMPARE_SIZE": str(ranks),
            "TUTTI_SIZE": str(ranks),
            "TUTTI_STORE": "file:" + directory + "/store",
            "TUTTI_TRANSPORT": "ucx" if peer.ucx else transport,
        }
        if peer.ucx:
            environment["UCX_TLS"] = UCX_TRANSPORTS[transport]
        command = [str(driver), "--label", peer.name.removesuffix("_before"), "--transport", transport, *arguments]
        if bound:
            environment["COMPARE_BOUND"] = ",".join(map(str, bound))
            command = [*BIND, *command]
        if peer.launcher:
            for name in ("COMPARE_SIZE", "TUTTI_SIZE", "TUTTI_STORE"):
                del environment[name]
            return watch([start(launch(peer, transport, ranks, bool(bound)) + command, environment)], limit_s)
        ranks_of = [{**environment, "COMPARE_RANK": str(rank), "TUTTI_RANK": str(rank)} for rank in range(ranks)]
        return watch([start(command, each) for each in ranks_of], limit_s)


@contextlib.contextmanager
def busy(count):
    """Other programs that compute meanwhile, in the session of the ranks, as a data loader or a pool of threads would."""
    processes = [start(["/bin/sh", "-c", "while :; do :; done"], dict(os.environ)) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            end(process)


def launch(peer, transport, ranks, bound):
    if peer.launcher == "openmpi":
        links = "vader,self" if transport == "shm" else "tcp,self"
        messages = ["--mca", "pml", "ob1", "--mca", "btl", links]
        if peer.ucx:  # which by itself serves only where a network card is
            messages = ["--mca", "pml", "ucx", "--mca", "pml_ucx_tls", "any", "--mca", "pml_ucx_devices", "any"]
        # As many slots as hardware threads: it counts cores, and ranks that outnumber slots yield while they wait.
        places = ["--host", f"localhost:{len(os.sched_getaffinity(0))}", "--oversubscribe"] + ["--bind-to", "none"] * bound
        return [launcher_of(peer), "--allow-run-as-root", *places, *messages, "-np", str(ranks)]
    return [launcher_of(peer), "-n", str(ranks)]


def start(command, environment):
    """A process in a group of its own, so that it can be ended with all it starts, but not in a session of its own: the
    kernel shares out cores between sessions, and a rank that yields would not yield to a rank of another one."""
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=os.setpgrp)


class Unfinished(RuntimeError):
    """A run was ended because its time was over; `samples` are those that it had printed by then."""

    def __init__(self, text, samples=()):
        super().__init__(text)
        self.samples = list(samples)


def watch(processes, limit_s=RUN_LIMIT_S):
    """Waits for all and returns their samples; ends all as soon as one fails or time is over."""
    outputs = []
    deadline = time.monotonic() + limit_s
    try:
        for process in processes:
            try:
                out, err = process.communicate(timeout=max(deadline - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                for each in processes:
                    end(each)
                outputs += [each.communicate()[0] for each in processes[len(outputs):]]
                raise Unfinished(f"no end after {limit_s:.0f} s", samples_in(outputs)) from None
            if process.returncode != 0:
                raise RuntimeError((err.strip().splitlines() or [f"exit status {process.returncode}"])[-1])
            outputs.append(out)
    finally:
        for process in processes:
            end(process)
    return samples_in(outputs)


def samples_in(outputs):
    return [json.loads(line) for out in outputs for line in out.splitlines() if line.startswith("{") and line.endswith("}")]


def end(process):
    """Ends a process group that `start` made.  A launcher's ranks are in groups of their own, so it gets a moment to end them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=END_S)
