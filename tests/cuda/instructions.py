#!/usr/bin/env python3
"""A table of the kernels: registers, and instructions for each 16 bytes of the result of two sources.

Instructions are those of the innermost loop that reads and writes 16 bytes at a time, with all of its inner loops run
once: two sources, one target.  Where a quotient takes a function of its own, that is not counted.
usage: instructions.py CUOBJDUMP FOLDER_OF_FATBINS ARCHITECTURE
"""
import pathlib
import re
import subprocess
import sys

INSTRUCTION = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;", re.MULTILINE)


def per_vector(code):
    """Instructions for each store of 16 bytes, in the innermost loop that loads two sources of the most vectors."""
    loops = []
    for address, text in code:
        target = re.search(r"\bBRA\S* (?:\S+, )?0x([0-9a-f]+)", text)
        if not target or int(target[1], 16) >= address:
            continue
        begin, body = int(target[1], 16), [t for a, t in code if int(target[1], 16) <= a <= address]
        stores = sum("STG.E.128" in t for t in body)
        if 0 < stores < sum("LDG.E.128" in t for t in body):
            loops.append((begin, address, stores, len(body)))
    innermost = [x for x in loops if not any(y != x and x[0] <= y[0] and y[1] <= x[1] for y in loops)]
    if not innermost:
        return None
    _, _, stores, length = max(innermost, key=lambda loop: (loop[2], -loop[3]))
    return f"{length / stores:.0f}"


def disassembly(cuobjdump, fatbin, architecture):
    text = subprocess.run([cuobjdump, "--dump-sass", "--gpu-architecture", architecture, fatbin],
                          capture_output=True, text=True, check=True).stdout
    for part in text.split("Function : ")[1:]:
        yield part.split(None, 1)[0], [(int(a, 16), t) for a, t in INSTRUCTION.findall(part)]


def registers(report, architecture):
    text = pathlib.Path(report).read_text()
    return dict(re.findall(rf"entry function '(\w+)' for '{architecture}'.*?Used (\d+) registers", text, re.DOTALL))


def main():
    cuobjdump, folder, architecture = sys.argv[1:4]
    rows = {}
    for fatbin in sorted(pathlib.Path(folder).glob("*.fatbin")):
        if not fatbin.with_suffix(".resources").exists():
            continue
        used = registers(fatbin.with_suffix(".resources"), architecture)
        for name, code in disassembly(cuobjdump, str(fatbin), architecture):
            kind, row = name.split("_", 1)
            if kind == "scale":  # which has one source
                continue
            rows.setdefault(tuple(row.split("_")), {})[kind] = (used[name], per_vector(code))
    print("| type | operator | fold: registers | instructions | interpreter: registers | instructions |")
    print("|---|---|---|---|---|---|")
    for (kind, op), kernels in sorted(rows.items()):
        cells = [cell or "–" for kernel in ("fold", "interpret") for cell in kernels[kernel]]
        print(f"| {kind} | {op} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
