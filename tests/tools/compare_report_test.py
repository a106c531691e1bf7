"""The arithmetic of bench/compare's table."""

import sys
import unittest

sys.path.insert(0, sys.argv.pop(1))

import compare_peers
import compare_report


def sample(lib, turn, p50, placement="SAME", size=4):
    return {"lib": lib, "transport": "shm", "ranks": 2, "bytes": size, "p50_us": p50, "placement": placement, "turn": turn,
        "wrong": 0}


class Report(unittest.TestCase):
    def test_ratios_are_taken_within_turns(self):
        # The machine gets slower by half from turn to turn; the ratio stays.
        samples = [sample(lib, turn, us * 1.5**turn) for turn in range(3) for lib, us in (("openmpi", 3), ("tutti", 2))]
        (table,) = compare_report.tables(samples, "tutti")
        self.assertEqual(table.libs, ["tutti", "openmpi"])
        self.assertAlmostEqual(table.ratio("openmpi", 4), 1.5)
        self.assertAlmostEqual(table.median("tutti", 4), 3)
        self.assertAlmostEqual(table.spread("tutti", 4), (4.5 - 2) / 2 / 3)

    def test_placements_are_kept_apart(self):
        samples = [sample("tutti", 0, 1), sample("openmpi", 0, 9, "CROSS"), sample("tutti", 1, 5, "MOVED"), sample("tutti", 2, 7,
            "BUSY")]
        same, cross = compare_report.tables(samples, "tutti")
        self.assertEqual((same.placement, same.median("tutti", 4)), ("SAME", 1))
        self.assertEqual((cross.placement, cross.libs), ("CROSS", ["openmpi"]))
        self.assertIsNone(cross.ratio("openmpi", 4))

    def test_text_shows_sizes_and_gaps(self):
        samples = [sample("tutti", 0, 2, size=65536), sample("openmpi", 0, 3, size=65536), sample("tutti", 0, 1)]
        text = compare_report.tables(samples, "tutti")[0].text()
        self.assertRegex(text, r"\n +64K +2\.00 ±  0% +3\.00 ±  0% +1\.50\n?")
        self.assertRegex(text, r"\n +4 +1\.00 ±  0% +- +-\n")

    def test_the_choice_is_held_against_the_best(self):
        samples = [sample(lib, turn, us) for turn in range(3) for lib, us in (("tutti", 3), ("tutti_ring", 4), ("tutti_tree", 2))]
        samples = [{**one, "algorithm": {"tutti": "ring"}.get(one["lib"], one["lib"][6:])} for one in samples]
        (table,) = compare_report.tables(samples, "tutti")
        text = table.choice_text("tutti", ["tutti_ring", "tutti_tree", "tutti_flat"])
        self.assertRegex(text, r"\n +4 +ring +tree +1\.50$")
        self.assertIsNone(table.choice_text("tutti", ["tutti_flat"]))

    def test_an_algorithm_that_does_not_serve_is_not_counted(self):
        flat = compare_peers.Peer("tutti_flat", "tutti", ("shm",), "", environment={"TUTTI_ALGORITHM": "all_reduce:flat"})
        self.assertTrue(compare_peers.serves(flat, {"algorithm": "flat"}))
        self.assertFalse(compare_peers.serves(flat, {"algorithm": "ring"}))
        self.assertTrue(compare_peers.serves(compare_peers.PEERS[0], {"algorithm": "ring"}))

    def test_a_failed_rank_is_told_and_the_others_are_ended(self):
        bad = compare_peers.start(["sh", "-c", "echo it broke >&2; exit 3"], {"PATH": "/usr/bin:/bin"})
        other = compare_peers.start(["sleep", "60"], {"PATH": "/usr/bin:/bin"})
        with self.assertRaisesRegex(RuntimeError, "it broke"):
            compare_peers.watch([bad, other])
        self.assertIsNotNone(other.poll())

    def test_every_default_library_is_known(self):
        self.assertLessEqual(set(compare_peers.DEFAULT_LIBS), {peer.name for peer in compare_peers.PEERS})


unittest.main()
