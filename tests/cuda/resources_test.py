#!/usr/bin/env python3
"""What the compiler says of the kernels: all are there, none has a stack or spills, and registers leave room for blocks
of 512 threads; float32 is read and written 16 bytes at a time.

usage: resources_test.py SOURCE_FOLDER ARCHITECTURES FAMILY.resources … -- NVCC FLAG …
"""
import pathlib
import re
import subprocess
import sys
import tempfile

MOST_REGISTERS = 128
INTEGERS = [f"uint{bits}" for bits in (8, 16, 32, 64)]
FLOATS = ["float16", "bfloat16", "float32", "float64"]


def expected():
    rows = {f"{kind}_{op}" for kind in INTEGERS for op in ("sum", "prod", "min", "max", "avg", "band", "bor", "bxor")}
    rows |= {f"{kind[1:]}_{op}" for kind in INTEGERS for op in ("min", "max", "avg")}
    rows |= {f"{kind}_{op}" for kind in FLOATS for op in ("sum", "prod", "min", "max", "avg")}
    return {f"{kernel}_{row}" for kernel in ("fold", "interpret") for row in rows}


def kernels(text):
    """(architecture, kernel) → (registers, bytes of stack and spills)."""
    found, key = {}, None
    for line in text.splitlines():
        if match := re.search(r"Compiling entry function '(\w+)' for '(sm_\w+)'", line):
            key = (match[2], match[1])
            found[key] = [None, 0]
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            found[key][1] += sum(map(int, match.groups()))
        elif match := re.search(r"Used (\d+) registers", line):
            found[key][0] = int(match[1])
    return found


def wide_accesses(ptx, kernel):
    body = re.search(rf"\.entry {kernel}\(.*?\n}}", ptx, re.DOTALL)
    return body and "ld.global.v4.u32" in body[0] and "st.global.v4.u32" in body[0]


def main():
    root, architectures = pathlib.Path(sys.argv[1]), sys.argv[2].split(",")
    split = sys.argv.index("--")
    reports, nvcc = sys.argv[3:split], sys.argv[split + 1:]
    found, wrong = {}, []
    for report in reports:
        found |= kernels(pathlib.Path(report).read_text())
    for architecture in architectures:
        have = {name for arch, name in found if arch == f"sm_{architecture}"}
        wrong += [f"sm_{architecture} has no {name}" for name in sorted(expected() - have)]
    for (architecture, name), (registers, bytes_in_memory) in sorted(found.items()):
        if registers is None or registers > MOST_REGISTERS:
            wrong.append(f"{name} for {architecture} uses {registers} registers, at most {MOST_REGISTERS}")
        if bytes_in_memory:
            wrong.append(f"{name} for {architecture} keeps {bytes_in_memory} bytes in local memory")
    with tempfile.TemporaryDirectory() as folder:
        ptx = pathlib.Path(folder) / "float32.ptx"
        subprocess.run([*nvcc, f"-arch=sm_{architectures[0]}", "-DTUTTI_FAMILY=float32", "-ptx", "-o", str(ptx),
                        str(root / "src/cuda/kernels.cu")], check=True)
        wide = wide_accesses(ptx.read_text(), "fold_float32_sum")
    if not wide:
        wrong.append("fold_float32_sum does not read and write 16 bytes at a time")
    print("\n".join(wrong) or f"{len(found)} kernels, at most {max(registers for registers, _ in found.values())} registers")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
