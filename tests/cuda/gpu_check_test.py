#!/usr/bin/env python3
"""tools/gpu/check with programs of this test's own in place of those that need a device: gpu_check_test.py SOURCE_ROOT"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(sys.argv.pop(1))
# The phase's timeout leads its process group, and takes this for the end of its time.
TIME_RUNS_OUT = r"""kill -ALRM "$(cut -d ' ' -f 5 /proc/$$/stat)"; echo $$ >>pids; exec sleep 1000
"""
# Leaves two facts and the beginning of a third.
FACTS = r"""#!/bin/sh
echo '{"planned":["this","that","more"]}' >"$3"
echo '{"fact":"one","value":1,"unit":"us"}' >>"$3"
echo '{"fact":"two","error":"too late"}' >>"$3"
echo '{"done":"this"}' >>"$3"
printf '{"fact":"thr' >>"$3"
"""
TESTS = r"""#!/bin/sh
for word; do case $word in --gtest_output=json:*) json=${word#--gtest_output=json:} ;; esac; done
if [ "$2" = "$STOPS_AT" ]; then trap '' TERM; %s fi
printf '{"testsuites":[{"testsuite":[{"classname":"A","name":"B","result":"COMPLETED"}]}]}' >"$json"
""" % TIME_RUNS_OUT


def lives(pid):
    try:
        return Path("/proc", pid, "stat").read_text(encoding="utf-8").rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


class Check(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        for name in ("check", "summary.py"):
            shutil.copy(ROOT / "tools/gpu" / name, self.folder)
        (self.folder / "version").write_text("of a test\n", encoding="utf-8")

    def program(self, name, text):
        (self.folder / name).write_text(text, encoding="utf-8")
        (self.folder / name).chmod(0o755)

    def run_check(self, *arguments, stops_at=""):
        out = self.folder / "out"
        environment = os.environ | {"OUT": str(out), "STOPS_AT": stops_at}
        self.ended = subprocess.run(["bash", self.folder / "check", *arguments], env=environment, capture_output=True, text=True,
                                    check=False)
        if (out / "results.json").exists():
            document = json.loads((out / "results.json").read_text(encoding="utf-8"))
            self.phases = {phase["phase"]: phase for phase in document["phases"]}
            self.table = (out / "table.txt").read_text(encoding="utf-8")

    def order(self):
        return self.run_check("--help") or self.ended.stdout.split("\n\n")[1].split("comes first.")[1].split("--limit")[0].split()

    def test_says_what_it_does_not_know(self):
        for arguments in (["facts"], ["--limit", "soon"], ["--limit"], ["--fast"]):
            self.run_check(*arguments)
            self.assertEqual(self.ended.returncode, 2, arguments)
            self.assertNotIn("==", self.ended.stdout)

    def test_every_phase_has_its_turn(self):
        order = self.order()
        self.assertIn("failures", order)
        self.run_check("--limit", "0")
        self.assertEqual(list(self.phases), order)
        self.assertEqual({phase["status"] for phase in self.phases.values()}, {"not run"})
        self.assertEqual(self.table.count("NOT RUN"), len(order))
        self.assertEqual(self.ended.returncode, 124)

    def test_no_phase_has_more_time_than_all(self):
        self.program("gpu_facts", "#!/bin/sh\nexec sleep 1000\n")
        self.run_check("--limit", "7", "facts_device", "facts_calls", "ranks")
        self.assertLess(self.phases["facts_device"]["limit"], 7)
        self.assertIn(self.phases["facts_device"]["status"], (124, "not run"))
        for name in ("facts_calls", "ranks"):
            self.assertEqual(self.phases[name]["status"], "not run")
        self.assertEqual(self.ended.returncode, 124)

    def test_what_is_killed_leaves_its_facts(self):
        self.program("gpu_facts", FACTS + TIME_RUNS_OUT)
        self.run_check("facts_device")
        phase = self.phases["facts_device"]
        self.assertEqual([fact["fact"] for fact in phase["facts"]], ["one", "two"])
        self.assertEqual(phase["not_done"], ["that", "more"])
        self.assertEqual(phase["status"], 124)
        self.assertIn("end_of_log", phase)
        self.assertIn("not done: that\n", self.table)
        self.assertIn("failed: two: too late\n", self.table)
        self.assertEqual(self.ended.returncode, 124)

    # Nor goes on beside the next phase.
    def test_a_suite_that_hangs_hides_no_other(self):
        self.program("api_tests", TESTS)
        self.run_check("calls", stops_at="async_test.cpp")
        phase = self.phases["calls"]
        self.assertIn(phase["status"], (124, 137))
        self.assertEqual(phase["tests"]["passed"], 3)  # before it
        self.assertIn("end_of_log", phase)
        for pid in (self.folder / "pids").read_text(encoding="utf-8").split():
            self.assertFalse(lives(pid))

    def test_all_is_well(self):
        self.program("api_tests", TESTS)
        self.program("api_process_tests", TESTS)
        self.program("cuda_tests", TESTS)
        self.run_check("calls", "failures", "interpreter", "graph")
        self.assertEqual(self.ended.returncode, 0, self.ended.stdout)
        self.assertEqual(self.phases["calls"]["tests"]["passed"], 9)
        self.assertEqual(self.phases["failures"]["tests"]["passed"], 2)
        for name in ("interpreter", "graph"):
            self.assertEqual(self.phases[name]["tests"]["passed"], 1)


if __name__ == "__main__":
    unittest.main()
