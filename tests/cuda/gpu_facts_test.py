#!/usr/bin/env python3
"""Each fact that gpu_facts prints lies in its file by then: gpu_facts_test.py GPU_FACTS PART PROBES"""
import json
import subprocess
import sys
import tempfile


def main(program, part, probes):
    with tempfile.NamedTemporaryFile() as file:
        with subprocess.Popen([program, part, probes, file.name], stdout=subprocess.PIPE, text=True) as facts:
            printed = []
            for line in facts.stdout:
                print(line, end="")
                printed.append(line.split()[0])
                with open(file.name, encoding="utf-8") as written:
                    found = [row["fact"] for row in map(json.loads, written) if "fact" in row]
                assert found[:len(printed)] == printed, f"printed {printed}, written {found}"
        assert printed, "nothing is found"
    return facts.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
