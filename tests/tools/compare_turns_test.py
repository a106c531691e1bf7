"""The turns of bench/compare, and where its ranks run."""

import os
import signal
import sys
import tempfile
import time
import types
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, sys.argv.pop(1))

import compare_peers
import compare_turns

PEERS = [compare_peers.Peer("tutti", "tutti", ("shm", "tcp"), ""), compare_peers.Peer("openmpi", "openmpi", ("shm",), "")]
PATHS = {"PATH": os.environ["PATH"]}
FILES = ("topology/physical_package_id", "cache/index3/shared_cpu_list", "topology/core_id")


class Cores(unittest.TestCase):
    def order(self, threads, allowed=None):
        """`threads`: the package, the first thread of the last-level cache and the core of each hardware thread."""
        with tempfile.TemporaryDirectory() as root:
            for cpu, values in enumerate(threads):
                for name, value in zip(FILES, values):
                    file = Path(root, f"cpu{cpu}", name)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(f"{value}\n")
            return compare_peers.cores(allowed or range(len(threads)), root)

    def test_each_core_comes_before_the_second_thread_of_any(self):
        self.assertEqual(self.order([(0, "0-3", 0), (0, "0-3", 0), (0, "0-3", 1), (0, "0-3", 1)]), [0, 2, 1, 3])
        self.assertEqual(self.order([(0, "0-3", 0), (0, "0-3", 0), (0, "0-3", 1), (0, "0-3", 1)], {1, 2, 3}), [1, 2, 3])

    def test_cores_of_a_package_and_of_a_cache_are_neighbours(self):
        dealt_in_turn = [(0, "0,2", 0), (1, "1,3", 0), (0, "0,2", 1), (1, "1,3", 1)]
        self.assertEqual(self.order(dealt_in_turn), [0, 2, 1, 3])
        two_caches = [(0, "0,2", 0), (0, "1,3", 1), (0, "0,2", 2), (0, "1,3", 3)]
        self.assertEqual(self.order(two_caches), [0, 2, 1, 3])

    def test_a_kernel_that_says_nothing_leaves_their_numbers(self):
        self.assertEqual(self.order([(), (), ()], {0, 1, 2}), [0, 1, 2])

    def test_a_bound_rank_runs_where_it_is_told(self):
        allowed = sorted(os.sched_getaffinity(0))
        told = ",".join(map(str, [allowed[0], allowed[-1], allowed[0]]))
        show = [sys.executable, "-c", "import json, os; print(json.dumps(sorted(os.sched_getaffinity(0))))"]
        for name in ("COMPARE_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"):
            for rank, cpu in (("0", allowed[0]), ("1", allowed[-1])):
                environment = {**PATHS, "COMPARE_BOUND": told, name: rank}
                process = compare_peers.start([*compare_peers.BIND, *show], environment)
                self.assertEqual(process.communicate(timeout=60)[0], f"[{cpu}]\n")


class Turns(unittest.TestCase):
    def collection(self, answer, peers=PEERS, **given):
        """What a collection becomes, and which runs it asked for, where `answer(name, turn)` stands for each run."""
        chosen = types.SimpleNamespace(**{"repeat": 2, "transports": ["shm"], "ranks": [2], "sizes": [4], "quick": True, "busy": 0,
                                          "bind": False, "limit": None, **given})
        made = compare_turns.Collection(chosen, peers, {peer.name: "" for peer in peers})
        made.bound, asked = [], []

        def run(peer, driver, transport, ranks, arguments, bound, limit_s):
            asked.append((peer.name, transport, ranks))
            made.bound.append(bound)
            return answer(made, peer.name)

        with mock.patch.object(compare_peers, "run", run), mock.patch("builtins.print") as told:
            made.collect()
        made.told = told.call_count
        return made, asked

    def test_every_second_turn_goes_backwards(self):
        made, asked = self.collection(lambda *_: [{"placement": "SAME"}])
        self.assertEqual([name for name, *_ in asked], ["tutti", "openmpi", "openmpi", "tutti"])
        self.assertEqual([(one["lib"], one["turn"]) for one in made.samples],
                         [("tutti", 0), ("openmpi", 0), ("openmpi", 1), ("tutti", 1)])

    def test_neighbouring_sizes_share_a_run(self):
        sizes = [4, 64 << 10, 256 << 10, 4 << 20, 16 << 20, 64 << 20]
        self.assertEqual(compare_turns.groups(sizes, False), [sizes[:2], sizes[2:4], sizes[4:5], sizes[5:]])
        self.assertEqual(compare_turns.groups(sizes, True), [sizes[:4], sizes[4:]])
        self.assertEqual(compare_turns.groups([16 << 20], False), [[16 << 20]])

    def test_a_transport_is_run_by_those_who_have_it(self):
        _, asked = self.collection(lambda *_: [], transports=["tcp", "shm"], repeat=1)
        self.assertEqual(asked, [("tutti", "tcp", 2), ("tutti", "shm", 2), ("openmpi", "shm", 2)])

    def test_ranks_are_bound_where_that_is_asked_for(self):
        for bind, cores in ((False, ()), (True, compare_peers.cores()[:2])):
            made, _ = self.collection(lambda *_: [], bind=bind)
            self.assertEqual(made.bound, [cores] * 4)

    def test_a_rank_of_two_threads_is_not_bound(self):
        (gloo,) = (peer for peer in compare_peers.PEERS if peer.name == "gloo_ring")
        made, asked = self.collection(lambda *_: [], peers=[gloo], transports=["tcp"], bind=True)
        self.assertEqual((made.bound, len(asked)), ([()] * 2, 2))

    def test_other_programs_are_the_label(self):
        for busy, label in ((0, "SAME"), (3, "3 busy")):
            made, _ = self.collection(lambda *_: [{"placement": "SAME"}], busy=busy)
            self.assertEqual({one["placement"] for one in made.samples}, {label})

    def test_a_run_that_fails_is_tried_again_and_one_that_has_no_end_is_not(self):
        def answer(_, name):
            raise RuntimeError("broken") if name == "openmpi" else compare_peers.Unfinished("no end")

        made, asked = self.collection(answer, ranks=[2, 3])
        self.assertEqual(asked.count(("openmpi", "shm", 2)), 2)
        self.assertEqual(asked.count(("tutti", "shm", 2)), 1)
        self.assertEqual(asked.count(("tutti", "shm", 3)), 1)
        self.assertEqual(made.failures, {(name, "shm", ranks, "4"): text for ranks in (2, 3)
                                         for name, text in (("tutti", "no end"), ("openmpi", "broken"))})

    def test_a_limit_keeps_what_was_measured(self):
        def answer(made, name):
            if name == "openmpi":
                made.started -= 100  # the clock goes on
                raise compare_peers.Unfinished("no end after what was left", [{"placement": "CROSS"}])
            return [{"placement": "SAME"}]

        made, asked = self.collection(answer, limit=50, sizes=[4, 16 << 20])
        self.assertEqual([name for name, *_ in asked], ["tutti", "openmpi"])
        self.assertEqual([one["placement"] for one in made.samples], ["SAME", "CROSS"])
        self.assertEqual((made.failures, made.told), ({}, 1))

    def test_drivers_that_are_there_are_not_built(self):
        with tempfile.TemporaryDirectory() as folder:
            driver = Path(folder, "bench/drivers/driver_tutti")
            driver.parent.mkdir(parents=True)
            driver.touch()
            ready, missing = compare_peers.found(Path(folder), PEERS)
            self.assertEqual(ready, {"tutti": driver})
            self.assertEqual(missing, [("openmpi", f"there is no {driver.parent}/driver_openmpi")])

    def test_a_run_ends_when_its_time_is_over_and_leaves_what_it_had_told(self):
        with tempfile.TemporaryDirectory() as folder:
            ready = [Path(folder, name) for name in ("told", "deaf")]
            # The last line is cut where the process is ended; the other process ends only when it is killed.
            telling = r'''echo '{"bytes": 4}'; echo text; printf '{"bytes": '; touch "$0"; exec sleep 600'''
            told = compare_peers.start(["sh", "-c", telling, str(ready[0])], PATHS)
            deaf = compare_peers.start(["sh", "-c", 'trap "" TERM; touch "$0"; sleep 600', str(ready[1])], PATHS)
            while not all(file.exists() for file in ready):
                time.sleep(0.01)
            with mock.patch.object(compare_peers, "END_S", 0.1), self.assertRaises(compare_peers.Unfinished) as raised:
                compare_peers.watch([told, deaf], 1)
        self.assertEqual(str(raised.exception), "no end after 1 s")
        self.assertEqual(raised.exception.samples, [{"bytes": 4}])
        self.assertEqual((told.poll(), deaf.poll()), (-signal.SIGTERM, -signal.SIGKILL))


unittest.main()
