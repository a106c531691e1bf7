#!/usr/bin/env python3
"""Makes one document and a table of what the phases of check left: summary.py FOLDER_OF_PHASES FOLDER_OF_RESULTS."""
import json
import sys
from pathlib import Path


def tests_of(documents):
    cases = [case for document in documents for suite in document["testsuites"] for case in suite["testsuite"]]
    return {
        "passed": sum(case.get("result") == "COMPLETED" and "failures" not in case for case in cases),
        "skipped": [f"{case['classname']}.{case['name']}" for case in cases if case.get("result") == "SKIPPED"],
        "failed": {
            f"{case['classname']}.{case['name']}": [failure["failure"] for failure in case["failures"]]
            for case in cases if "failures" in case
        },
    }


def document_in(text):
    """None if whoever wrote it was killed."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def found_by(work, name):
    """What a phase left, also one that was killed: facts, each a line, or documents of tests."""
    lines = work / f"{name}.jsonl"
    if lines.exists():
        rows = [document_in(line) for line in lines.read_text(encoding="utf-8").splitlines()]
        facts = [row for row in rows if row and "fact" in row]
        done = [row["done"] for row in rows if row and "done" in row]
        planned = [way for row in rows if row for way in row.get("planned", ())]
        return {"facts": facts, "not_done": [way for way in planned if way not in done]}
    documents = [document_in(file.read_text(encoding="utf-8"))
                 for file in sorted([*work.glob(f"{name}.json"), *work.glob(f"{name}-*.json")])]
    return {"tests": tests_of([document for document in documents if document])} if any(documents) else {}


def main(work, out):
    phases = []
    for line in (work / "phases").read_text(encoding="utf-8").splitlines():
        name, limit, status, seconds = line.split("\t")
        phase = {"phase": name, "status": status if status == "not run" else int(status), "seconds": float(seconds),
                 "limit": int(limit)}
        if phase["status"] != "not run":
            log = (work / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
            phase |= {"text": log} if name == "system" else found_by(work, name)
            if name != "system" and (phase["status"] != 0 or not phase.keys() & {"tests", "facts"}):
                phase["end_of_log"] = log[-15:]
        phases.append(phase)
    version = Path("version").read_text(encoding="utf-8").strip()
    (out / "results.json").write_text(json.dumps({"version": version, "phases": phases}, indent=1, ensure_ascii=False) + "\n",
                                      encoding="utf-8")

    print(f"\nversion {version}")
    for phase in phases:
        verdicts = {0: "ok", "not run": "NOT RUN", 124: "TIME RAN OUT", 137: "TIME RAN OUT"}
        verdict = verdicts.get(phase["status"], f"FAILED ({phase['status']})")
        tests = phase.get("tests")
        counts = f"{tests['passed']} passed, {len(tests['skipped'])} skipped, {len(tests['failed'])} failed" if tests else ""
        print(f"{phase['phase']:<20} {phase['seconds']:6.1f} s  {verdict:<14} {counts}")
        for name in tests["failed"] if tests else ():
            print(f"    failed: {name}")
        for fact in phase.get("facts", ()):
            if "error" in fact:
                print(f"    failed: {fact['fact']}: {fact['error']}")
        for way in phase.get("not_done", ()):
            print(f"    not done: {way}")
    print(f"{'sum':<20} {sum(phase['seconds'] for phase in phases):6.1f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
