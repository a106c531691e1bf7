"""Ranks for the tests of tutti.Communicator: threads of this process, or processes."""
import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import threading

import tutti

SECONDS = 60  # an outer bound; no call comes near


class Ranks:
    """Runs a function at each rank of a group of threads: ranks(function) → what each returned."""

    def __init__(self, size):
        self.size = size

    def __call__(self, function):
        communicators = tutti.Communicator.local(self.size)
        results = [None] * self.size

        def run(communicator):
            try:
                with communicator:
                    communicator.set_timeout(SECONDS)
                    results[communicator.rank] = function(communicator)
            except BaseException as error:
                results[communicator.rank] = error

        threads = [threading.Thread(target=run, args=(communicator,)) for communicator in communicators]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            # The others failed because one of them did; that one's exception is no tutti.Error.
            raise next((failure for failure in failures if not isinstance(failure, tutti.Error)), failures[0])
        return results


class Ended:
    """How a process ended."""

    def __init__(self, process):
        self.out, self.err = process.communicate(timeout=SECONDS)
        self.status = process.returncode


def processes(size, program, **environment):
    """Runs a Python program as `size` ranks; returns an Ended for each.  It finds `tutti` imported, and who it is by TUTTI_RANK."""
    program = "import os, sys, tutti\n" + textwrap.dedent(program)
    with tempfile.TemporaryDirectory(prefix="tutti-tests-") as folder:
        paths = [str(pathlib.Path(tutti.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
        common = {**os.environ, "TUTTI_SIZE": str(size), "TUTTI_STORE": f"file:{folder}/store", "TUTTI_TIMEOUT": f"{SECONDS}",
                  "PYTHONPATH": os.pathsep.join(filter(None, paths)), **environment}
        started = [subprocess.Popen([sys.executable, "-c", program], env={**common, "TUTTI_RANK": str(rank)}, text=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE) for rank in range(size)]
        try:
            return [Ended(process) for process in started]
        finally:
            for process in started:
                process.kill()
                process.wait()


def fine(size, program, **environment):
    """As processes, all of which must end without a word on stderr; returns what they printed."""
    ended = processes(size, program, **environment)
    for rank, process in enumerate(ended):
        assert process.status == 0 and not process.err, f"rank {rank} ended with {process.status}:\n{process.err}"
    return [process.out for process in ended]
