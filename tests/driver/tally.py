#!/usr/bin/env python3
"""Adds up what tools/check ran.  Each argument is LABEL:STATUS or LABEL:STATUS:LOG.

LOG is the testlog.json of a `meson test`: a GoogleTest program in it counts each of its cases, any other test counts as one.
Or it is the .xml of a pytest.
Without a log the label itself counts as one.  A non-zero STATUS is at least one failure, whatever the log says.
The last line printed is the sum, "N passed, N failed, N skipped"; the exit status is 1 if anything failed.
"""
import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

CASE = re.compile(r"\[ +(OK|FAILED|SKIPPED) +\] (\S+?)(?:, where .*)? \(\d+ ms\)$", re.MULTILINE)
SKIP_REASON = re.compile(r": Skipped\n(.*)\n+\[ +SKIPPED +\] (\S+) ")
KIND = {"OK": "passed", "FAILED": "failed", "SKIPPED": "skipped"}
GOOD = {"OK": "passed", "EXPECTEDFAIL": "passed", "SKIP": "skipped"}


class Tally:
    def __init__(self):
        self.count = {"passed": 0, "failed": 0, "skipped": 0}
        self.failed, self.skipped = [], []

    def add(self, kind, what, reason=""):
        self.count[kind] += 1
        if kind == "failed":
            self.failed.append(what)
        elif kind == "skipped":
            self.skipped.append(f"{what}: {reason}" if reason else what)

    def add_test(self, test):
        cases = {name: result for result, name in CASE.findall(test["stdout"])}
        verdict = GOOD.get(test["result"], "failed")
        if not cases:
            return self.add(verdict, test["name"])
        reasons = {name: reason for reason, name in SKIP_REASON.findall(test["stdout"])}
        for name, result in cases.items():
            self.add(KIND[result], f"{test['name']}: {name}", reasons.get(name, ""))
        if verdict == "failed" and "FAILED" not in cases.values():  # crashed, hung, or a sanitizer spoke at the end
            self.add("failed", f"{test['name']}: {test['result'].lower()}, exit status {test['returncode']}")

    def add_case(self, case):
        """Of pytest's XML."""
        name = f"{case.get('classname')}.{case.get('name')}"
        bad, skipped = [case.find(one) for one in ("failure", "error")], case.find("skipped")
        kind = "failed" if any(one is not None for one in bad) else "skipped" if skipped is not None else "passed"
        self.add(kind, name, skipped.get("message") if kind == "skipped" else "")

    def __str__(self):
        return ", ".join(f"{n} {kind}" for kind, n in self.count.items())


def tally_of(label, status, log):
    tally = Tally()
    if log is None:
        tally.add("failed" if status else "passed", label)
        return tally
    if log.exists():
        if log.suffix == ".xml":
            for case in ElementTree.parse(log).iter("testcase"):
                tally.add_case(case)
        else:
            for line in log.read_text(errors="replace").splitlines():
                tally.add_test(json.loads(line))
    if status and not tally.failed:
        tally.add("failed", f"{label}: exit status {status}")
    return tally


def main(arguments):
    total = Tally()
    for argument in arguments:
        label, status, *log = argument.split(":", 2)
        tally = tally_of(label, int(status), Path(log[0]) if log else None)
        print(f"{label}: {tally}")
        for what in tally.failed:
            print(f"  failed   {what}")
        for what in tally.skipped:
            print(f"  skipped  {what}")
        for kind, n in tally.count.items():
            total.count[kind] += n
    print(f"\n{total}")
    return 1 if total.count["failed"] or not total.count["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
