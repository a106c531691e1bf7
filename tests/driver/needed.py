#!/usr/bin/env python3
"""What ninja has to build for the tests that `meson test` runs: those of the suites that a setup leaves out need not be compiled.

needed.py FOLDER ARGUMENT…   FOLDER is a build folder; the arguments are given to `meson test`.
"""
import json
import os
import subprocess
import sys
from pathlib import Path


def main(folder, *arguments):
    listed = subprocess.run(["meson", "test", "-C", folder, "--list", *arguments], check=True, stdout=subprocess.PIPE, text=True)
    chosen = {line.rpartition(" / ")[2] for line in listed.stdout.splitlines()}
    info = Path(folder) / "meson-info"
    tests = [test for test in json.loads((info / "intro-tests.json").read_text()) if test["name"] in chosen]
    if not tests:
        sys.exit(f"needed.py: meson test runs nothing in {folder}")
    needed = {target for test in tests for target in test["depends"]}
    for target in json.loads((info / "intro-targets.json").read_text()):
        if target["id"] in needed:
            print(*(os.path.relpath(path, folder) for path in target["filename"]), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
