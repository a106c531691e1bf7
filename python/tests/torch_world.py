"""Worlds for the tests of tutti.torch: ranks that are processes, stay, and run one small function after another.

Importing torch takes a second of a core, so it is imported once, in a server that forks (multiprocessing's forkserver), and ranks
are forked from there.  A world is used by many tests:

    def add(rank, tensor_size):          # runs at every rank, with the Rank below first
        tensor = torch.ones(tensor_size)
        dist.all_reduce(tensor)
        rank.same(tensor, torch.full((tensor_size,), float(rank.size)))

    def test_add(world):
        world.run(add, 5)

The function is sent by its name, so it stands at the top of its module.  Where a rank raises, dies or does not answer, run()
raises a Failure with the tracebacks, and the world is closed; the next test is given a new one.
"""
import contextlib
import faulthandler
import multiprocessing
import multiprocessing.connection
import os
import signal
import time
import traceback
from datetime import timedelta

import torch
import torch.distributed as dist

BACKEND = os.environ.get("TUTTI_PYTHON_TEST_BACKEND", "tutti")  # "gloo": a check of the tests themselves
MODULES = ["torch", "torch.distributed", "torch.testing", "torch._dynamo", "torch.nn.parallel", "torch.optim", "pytest"]
ANSWER_SECONDS = 120  # an outer bound of one function; no test is expected to come near
LAST_WORDS_SECONDS = 2  # for the other ranks, once one has failed


class Failure(AssertionError):
    """A function failed at some rank; the text holds each rank's traceback or end."""


class Rank:
    """What a function is given: who it is, and the groups of its world.  The default group is of the backend under test."""

    def __init__(self, rank, size, backend, port):
        self.rank, self.size, self.backend = rank, size, backend
        self.store = dist.TCPStore("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=60))
        self.ranks = range(size)
        self.others = [other for other in range(size) if other != rank]

    def join(self):
        dist.init_process_group(self.backend, store=self.store, rank=self.rank, world_size=self.size,
                                timeout=timedelta(seconds=60))
        self.gloo = dist.new_group(backend="gloo")

    def same(self, got, expected, what=""):
        """Asserts equality to the last bit, of shape and type as well; a not-a-number equals itself."""
        torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True,
                                   msg=lambda text: f"rank {self.rank}: {what}\n{text}")


def load_backend(name):
    if name == "tutti":
        import tutti.torch  # noqa: F401  registers the backend


def backend_in_python():
    """Whether tutti's backend is the one in Python, of torch 2.14 and later without a compiler."""
    return BACKEND == "tutti" and os.environ.get("TUTTI_PYTHON_BACKEND") == "python"


def _serve(rank, size, backend, port, jobs):
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    me = Rank(rank, size, backend, port)
    load_backend(backend)
    while True:
        try:
            function, arguments = jobs.recv()
        except EOFError:
            return
        try:
            answer = True, function(me, *arguments)
        except BaseException:  # also KeyboardInterrupt and SystemExit: the test is to see them
            answer = False, traceback.format_exc()
        try:
            jobs.send(answer)
        except BrokenPipeError:  # nobody waits any more: another rank has failed
            return


class World:
    """`size` ranks; with joined=False they have no process group yet, and the tests make their own from rank.store."""

    def __init__(self, size, backend=BACKEND, joined=True):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(MODULES)
        self.size, self.backend = size, backend
        self._store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # outlives any rank
        self._jobs, self.processes = [], []
        for rank in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(rank, size, backend, self._store.port, theirs))
            process.start()
            theirs.close()
            self._jobs.append(ours)
            self.processes.append(process)
        self.closed = False
        if joined:
            self.run(Rank.join)

    def run(self, function, *arguments, seconds=ANSWER_SECONDS):
        """Calls function(rank, *arguments) at every rank; returns what each rank returned."""
        self.start(function, *arguments)
        return self.finish(seconds=seconds)

    def start(self, function, *arguments):
        for jobs in self._jobs:
            with contextlib.suppress(BrokenPipeError):  # that rank is dead: finish() will say so
                jobs.send((function, arguments))

    def kill(self, rank, number=signal.SIGKILL):
        os.kill(self.processes[rank].pid, number)

    def finish(self, seconds=ANSWER_SECONDS, dead=()):
        """Waits for the answers of what start() began, None from the ranks in `dead`, which are to die on the way."""
        answers, ends = self._collect(seconds, dead)
        wrong = [f"---- rank {rank}: {text}" for rank, text in sorted(ends.items())]
        wrong += [f"---- rank {rank}:\n{value}" for rank, (good, value) in sorted(answers.items()) if not good]
        if wrong:
            self.close()
            raise Failure("\n" + "\n".join(wrong))
        return [answers[rank][1] if rank in answers else None for rank in range(self.size)]

    def _collect(self, seconds, dead):
        answers, ends = {}, {}
        open_ranks = set(range(self.size))
        deadline = time.monotonic() + seconds
        while open_ranks:
            # A rank that has died may have left children, which hold its pipe open.
            watched = {self._jobs[rank]: rank for rank in open_ranks} | {self.processes[rank].sentinel: rank for rank in open_ranks}
            ready = multiprocessing.connection.wait(watched, max(0, deadline - time.monotonic()))
            if not ready:
                ends.update({rank: self._stuck(rank, seconds) for rank in open_ranks})
                break
            for rank in {watched[told] for told in ready}:
                open_ranks.remove(rank)
                answer = self._answer(rank)
                if answer is not None:
                    answers[rank] = answer
                elif rank not in dead:
                    ends[rank] = self._end(rank)
                if rank in ends or not answers.get(rank, (True,))[0]:  # the others may wait for this one
                    deadline = min(deadline, time.monotonic() + LAST_WORDS_SECONDS)
        return answers, ends

    def _answer(self, rank):
        """(whether it is good, the function's value or the traceback); None: the rank has died."""
        try:
            return self._jobs[rank].recv() if self._jobs[rank].poll() else None
        except (EOFError, ConnectionResetError):
            return None

    def _end(self, rank):
        self.processes[rank].join(LAST_WORDS_SECONDS)
        code = self.processes[rank].exitcode
        return f"died of signal {-code} ({signal.Signals(-code).name})" if code and code < 0 else f"ended with status {code}"

    def _stuck(self, rank, seconds):
        with contextlib.suppress(ProcessLookupError):
            self.kill(rank, signal.SIGUSR1)  # faulthandler prints where each thread is
        time.sleep(0.2)
        return (f"no answer after {seconds} s, or {LAST_WORDS_SECONDS} s after another rank failed; its stacks are in what it "
                "printed")

    def close(self):
        """Ranks that wait for a function end by themselves; what is left of the others is killed."""
        if self.closed:
            return
        self.closed = True
        for jobs in self._jobs:
            jobs.close()
        for process in self.processes:
            process.join(1)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()


class Worlds:
    """One living world of each size; a failed one is replaced."""

    def __init__(self, joined=True):
        self._joined, self._worlds = joined, {}

    def of(self, size):
        if size not in self._worlds or self._worlds[size].closed:
            self._worlds[size] = World(size, joined=self._joined)
        return self._worlds[size]

    def close(self):
        for world in self._worlds.values():
            world.close()
        self._worlds.clear()
