#!/usr/bin/env python3
"""Makes one document and a table of what the phases of check left: summary.py FOLDER_OF_PHASES FOLDER_OF_RESULTS."""
import json
import sys
from pathlib import Path


def tests_of(document):
    cases = [case for suite in document["testsuites"] for case in suite["testsuite"]]
    return {
        "passed": sum(case.get("result") == "COMPLETED" and "failures" not in case for case in cases),
        "skipped": [f"{case['classname']}.{case['name']}" for case in cases if case.get("result") == "SKIPPED"],
        "failed": {
            f"{case['classname']}.{case['name']}": [failure["failure"] for failure in case["failures"]]
            for case in cases if "failures" in case
        },
    }


def main(work, out):
    phases = []
    for line in (work / "phases").read_text(encoding="utf-8").splitlines():
        name, limit, status, seconds = line.split("\t")
        phase = {"phase": name, "status": int(status), "seconds": float(seconds), "limit": int(limit)}
        found = work / f"{name}.json"
        if found.exists():
            document = json.loads(found.read_text(encoding="utf-8"))
            phase.update({"facts": document} if isinstance(document, list) else {"tests": tests_of(document)})
        elif name == "system":
            phase["text"] = (work / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
        else:
            phase["end_of_log"] = (work / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        phases.append(phase)
    version = Path("version").read_text(encoding="utf-8").strip()
    (out / "results.json").write_text(json.dumps({"version": version, "phases": phases}, indent=1, ensure_ascii=False) + "\n",
                                      encoding="utf-8")

    print(f"\nversion {version}")
    for phase in phases:
        verdict = {0: "ok", 124: "TIME RAN OUT", 137: "TIME RAN OUT"}.get(phase["status"], f"FAILED ({phase['status']})")
        tests = phase.get("tests")
        counts = f"{tests['passed']} passed, {len(tests['skipped'])} skipped, {len(tests['failed'])} failed" if tests else ""
        print(f"{phase['phase']:<20} {phase['seconds']:6.1f} s  {verdict:<14} {counts}")
        for name in tests["failed"] if tests else ():
            print(f"    failed: {name}")
        for fact in phase.get("facts", ()):
            if "error" in fact:
                print(f"    failed: {fact['fact']}: {fact['error']}")
    print(f"{'sum':<20} {sum(phase['seconds'] for phase in phases):6.1f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
