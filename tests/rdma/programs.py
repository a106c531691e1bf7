#!/usr/bin/env python3
"""Runs test programs one after the other, so that one boot of tests/rdma/guest serves them all.

usage: programs.py [--each SECONDS] {--run | --full} PROGRAM [ARGUMENT …] [{--run | --full} PROGRAM [ARGUMENT …]]…
       what follows --full is run only with RDMA_TEST_FULL=1 (77 if that leaves nothing); --each limits each program (default: 120)

Shows what the programs write, then a line for each with its cases (of a program without GoogleTest: one), then the sum.
The exit status is 1 if any failed.
"""
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "driver"))
from tally import Tally


def parse(arguments):
    each, programs = 120.0, []
    if arguments[:1] == ["--each"]:
        each, arguments = float(arguments[1]), arguments[2:]
    for word in arguments:
        if word in ("--run", "--full"):
            programs.append((word == "--full", []))
        elif programs:
            programs[-1][1].append(word)
        else:
            sys.exit(__doc__)
    if not programs or not all(command for _, command in programs):
        sys.exit(__doc__)
    return each, [command for only_in_full, command in programs if not only_in_full or os.environ.get("RDMA_TEST_FULL") == "1"]


def run(command, limit):
    """Shows the program's output as it comes.  As a test in Meson's log has it: name, result, returncode, stdout."""
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace",
        start_new_session=True)
    late = threading.Event()
    timer = threading.Timer(limit, lambda: (late.set(), os.killpg(program.pid, signal.SIGKILL)))
    timer.start()
    lines = []
    for line in program.stdout:
        lines.append(line)
        print(line, end="", flush=True)
    status = program.wait()
    timer.cancel()
    result = "TIMEOUT" if late.is_set() else {0: "OK", 77: "SKIP"}.get(status, "FAIL")
    return {"name": " ".join([os.path.basename(command[0]), *command[1:]]), "result": result, "returncode": status,
        "stdout": "".join(lines)}


def main(arguments):
    each, commands = parse(arguments)
    if not commands:
        return 77
    total, lines = Tally(), []
    for command in commands:
        print(f"== {' '.join(command)}", flush=True)
        test, tally = run(command, each), Tally()
        for one in (tally, total):
            one.add_test(test)
        lines += [f"{test['name']}: {tally}"] + [f"  failed   {what}" for what in tally.failed]
    print(*lines, f"\n{total}", sep="\n", flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
