#!/usr/bin/env python3
"""torch.distributed over tutti against Gloo: two groups of the same processes, measured turn by turn.

Each turn of all_reduce ends with one more call, whose result is checked; every message is, and the parameters after training are.

  python python/bench/compare_gloo.py                        2 ranks of this host, about 2 minutes
  python python/bench/compare_gloo.py --ranks 4 --busy 2     4 ranks, beside two processes that compute without end
  python python/bench/compare_gloo.py --only all_reduce      one part: all_reduce, messages, new_group, ddp
  torchrun --nproc-per-node 2 python/bench/compare_gloo.py   ranks that torchrun starts, also of several hosts

A time is that of the slowest rank.  Tables show medians in microseconds, in brackets the quartiles, and the ratio of the medians,
above 1 where tutti is faster.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import torch
import torch.distributed as dist

PARTS = ("all_reduce", "messages", "new_group", "ddp")
BACKENDS = ("gloo", "tutti")
SIZES = [4, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26]
HIDDEN, LAYERS, BATCH = 2048, 6, 16  # of the model: 25.2 million parameters


def blocking(tensor, group):
    dist.all_reduce(tensor, group=group)


def with_wait(tensor, group):
    dist.all_reduce(tensor, group=group, async_op=True).wait()


def by_future(tensor, group):
    dist.all_reduce(tensor, group=group, async_op=True).get_future().wait()


class Comparison:
    def __init__(self, arguments):
        self.arguments = arguments
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.groups = {name: dist.new_group(backend=name) for name in BACKENDS}
        self.rows = []

    def slowest(self, times):
        """Each entry's maximum over ranks."""
        tensor = torch.tensor(times, dtype=torch.float64)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return tensor.tolist()

    def compare(self, part, what, run, repeat, turns):
        """run(backend, group) → seconds of `repeat` operations; the first turn warms up."""
        times = {name: [] for name in BACKENDS}
        for turn in range(turns + 1):
            for name in BACKENDS if turn % 2 else reversed(BACKENDS):
                dist.barrier()
                seconds = run(name, self.groups[name], repeat if turn else max(1, repeat // 10))
                if turn:
                    times[name].append(seconds / repeat * 1e6)
        times = {name: self.slowest(values) for name, values in times.items()}
        row = {"part": part, "what": what, "ranks": self.size, "busy": self.arguments.busy}
        for name, values in times.items():
            low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
            row[name] = {"median_us": middle, "q1_us": low, "q3_us": high}
        row["ratio"] = row["gloo"]["median_us"] / row["tutti"]["median_us"]
        self.rows.append(row)
        if self.rank == 0:
            cells = [f"{row[name]['median_us']:10.1f} ({row[name]['q1_us']:.1f}-{row[name]['q3_us']:.1f})" for name in BACKENDS]
            print(f"| {part} | {what} | {cells[0]} | {cells[1]} | {row['ratio']:.2f} |", flush=True)

    def all_reduce(self):
        for form in (blocking, with_wait, by_future):
            for size in SIZES:
                tensors = {name: torch.empty(size // 4) for name in BACKENDS}

                def run(name, group, repeat, form=form, tensors=tensors):
                    tensor = tensors[name].zero_()  # sums stay what they are
                    started = time.perf_counter()
                    for _ in range(repeat):
                        form(tensor, group)
                    seconds = time.perf_counter() - started
                    self.check(name, group, form, tensor)
                    return seconds

                bytes_of_a_turn = self.arguments.megabytes << 20
                repeat = max(2, min(200 if not self.arguments.quick else 50, bytes_of_a_turn // size))
                self.compare(f"all_reduce, {form.__name__.replace('_', ' ')}", f"{size} B", run, repeat, self.arguments.turns)

    def check(self, name, group, form, tensor):
        """One more call with values that tell ranks and places apart."""
        places = torch.arange(tensor.numel()) % 1000
        tensor.copy_(places + self.rank)
        form(tensor, group)
        if not torch.equal(tensor, (places * self.size + sum(range(self.size))).float()):
            raise SystemExit(f"all_reduce of {tensor.numel()} float32 over {name}: the result is wrong")

    def messages(self):
        """Round trips between ranks 0 and 1."""
        for size in (4, 1 << 12, 1 << 16, 1 << 20, 1 << 24):
            tensor, back = 1 + torch.arange(size // 4).float(), torch.zeros(size // 4)

            def run(name, group, repeat, tensor=tensor, back=back):
                back.zero_()
                started = time.perf_counter()
                for _ in range(repeat):
                    if self.rank == 0:
                        dist.send(tensor, 1, group=group)
                        dist.recv(back, 1, group=group)
                    elif self.rank == 1:
                        dist.recv(back, 0, group=group)
                        dist.send(back, 0, group=group)
                seconds = time.perf_counter() - started
                if self.rank < 2 and not torch.equal(tensor, back):
                    raise SystemExit(f"a message of {size} bytes over {name} arrived wrong")
                return seconds

            repeat = max(2, min(100, (self.arguments.megabytes << 20) // size))
            self.compare("send and receive, both ways", f"{size} B", run, repeat, self.arguments.turns)

    def new_group(self):
        """Groups of all ranks within a world over the same backend."""
        for name in BACKENDS:  # the world is another in each turn, so this cannot go turn by turn
            dist.destroy_process_group()
            dist.init_process_group(name)
            times = []
            for _ in range(3 * self.arguments.turns):
                dist.barrier()
                started = time.perf_counter()
                group = dist.new_group()
                times.append((time.perf_counter() - started) * 1e6)
                one = torch.ones(1)
                dist.all_reduce(one, group=group)
                assert one.item() == self.size
                dist.destroy_process_group(group)
            low, middle, high = statistics.quantiles(self.slowest(times), n=4)
            self.rows.append({"part": "new_group", "ranks": self.size, "busy": self.arguments.busy, "backend": name,
                              "median_us": middle, "q1_us": low, "q3_us": high})
            if self.rank == 0:
                print(f"| new_group | {name} | {middle:.0f} ({low:.0f}-{high:.0f}) µs | | |", flush=True)

    def ddp(self):
        """Training steps of a DistributedDataParallel model."""
        runs = {}
        for name, group in self.groups.items():
            torch.manual_seed(0)
            layers = [layer for _ in range(LAYERS) for layer in (torch.nn.Linear(HIDDEN, HIDDEN), torch.nn.ReLU())]
            model = torch.nn.parallel.DistributedDataParallel(torch.nn.Sequential(*layers), process_group=group)
            runs[name] = model, torch.optim.SGD(model.parameters(), lr=1e-3)
        torch.manual_seed(1 + self.rank)
        inputs = torch.randn(BATCH, HIDDEN)

        def run(name, _group, repeat):
            model, optimizer = runs[name]
            started = time.perf_counter()
            for _ in range(repeat):
                optimizer.zero_grad()
                model(inputs).square().mean().backward()
                optimizer.step()
            return time.perf_counter() - started

        self.compare("DistributedDataParallel", "a step, 25 million parameters", run, 3, 2 * self.arguments.turns)
        ends = [torch.cat([parameter.detach().flatten() for parameter in model.parameters()]) for model, _ in runs.values()]
        if not torch.allclose(*ends, rtol=1e-4, atol=1e-6):
            raise SystemExit("training over tutti and gloo did not end at the same parameters")


def measure(arguments):
    import tutti.torch  # noqa: F401  registers the backend

    dist.init_process_group("gloo")
    comparison = Comparison(arguments)
    if comparison.rank == 0:
        print(f"torch {torch.__version__}, {comparison.size} ranks, {os.cpu_count()} cores, {arguments.busy} busy beside\n")
        print("| | | Gloo, µs | tutti, µs | ratio |\n|---|---|---|---|---|", flush=True)
    for part in sorted(arguments.only or PARTS, key=lambda part: part == "new_group"):  # which makes other worlds: last
        getattr(comparison, part)()
    if comparison.rank == 0 and arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(comparison.rows, file, indent=1)
    dist.barrier()
    dist.destroy_process_group()


def start(arguments):
    """Busy processes, and this program under torchrun."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(arguments.busy)]
    try:
        return subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={arguments.ranks}",
                               os.path.abspath(__file__), *sys.argv[1:]],
                              env={"OMP_NUM_THREADS": "1", **os.environ}).returncode
    finally:
        for process in busy:
            process.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=2, help="ranks to start (default: 2); torchrun's --nproc-per-node beats it")
    parser.add_argument("--busy", type=int, default=0, help="processes that compute beside the ranks (default: 0)")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part; may be given several times")
    parser.add_argument("--turns", type=int, default=9, help="turns of each backend (default: 9)")
    parser.add_argument("--megabytes", type=int, default=64, help="bytes reduced in a turn, at most (default: 64 MiB)")
    parser.add_argument("--quick", action="store_true", help="3 turns of fewer calls: a look, not a measurement")
    parser.add_argument("--json", metavar="FILE", help="all figures, too")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.turns = 3
    if "RANK" not in os.environ:
        sys.exit(start(arguments))
    measure(arguments)


if __name__ == "__main__":
    main()
