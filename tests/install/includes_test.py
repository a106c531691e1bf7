#!/usr/bin/env python3
"""Who may include whom (ARCHITECTURE.md): a folder's files include headers of the folders it may see, by bare name only.

Meson already hides the headers of other boxes; this test also finds relative paths and names that two boxes share.
usage: includes_test.py SOURCE_FOLDER
"""
import pathlib
import re
import sys

BASE = {"src/base"}
FLOOR_1 = {"src/plan", "algorithms", "src/transport", "src/kernels", "src/codec", "transports/memory", "transports/shm", "transports/tcp"}
VISIBLE = {
    "src/base": set(),
    "src/plan": BASE,
    "src/kernels": BASE,
    "src/codec": BASE | {"src/kernels"},
    "src/transport": BASE,
    "algorithms": BASE | {"src/plan"},
    "transports/memory": BASE | {"src/transport"},
    "transports/shm": BASE | {"src/transport", "transports/memory"},  # the same arena, in memory that processes share
    "transports/tcp": BASE | {"src/transport"},
    "src/engine": BASE | FLOOR_1 - {"algorithms"},
    "src/comm": BASE | FLOOR_1 | {"src/engine"},
    "src": BASE | {"src/comm", "src/engine", "src/codec", "src/plan", "src/transport", "include/tutti"},
    "include/tutti": set(),
}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)


def sources(root):
    for top in ("src", "algorithms", "transports", "include", "tools", "bench", "tests"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix in (".h", ".cpp", ".c"):
                yield path


def main():
    root = pathlib.Path(sys.argv[1])
    wrong = []
    home = {}  # a header's bare name → the folder it is in
    for path in sources(root):
        folder = path.relative_to(root).parent.as_posix()
        if path.suffix != ".h" or folder.startswith(("tests", "tools", "bench")):
            continue
        if path.name in home:
            wrong.append(f"{path.name} is in {home[path.name]} and in {folder}")
        home[path.name] = folder

    checked = 0
    for path in sources(root):
        name = path.relative_to(root)
        folder = name.parent.as_posix()
        for bracket, header in INCLUDE.findall(path.read_text(encoding="utf-8")):
            checked += 1
            if header.startswith(".") or "/../" in header:
                wrong.append(f"{name} includes {header} by a relative path")
            target = home.get(pathlib.PurePosixPath(header).name) if bracket == '"' else None
            if target is None or folder not in VISIBLE:
                continue
            if target != folder and target not in VISIBLE[folder]:
                wrong.append(f"{name} includes {header} of {target}, which {folder} may not see")
    for folder in sorted({path.relative_to(root).parent.as_posix() for path in sources(root)}):
        if folder.startswith(("src", "transports", "algorithms", "include")) and folder not in VISIBLE:
            wrong.append(f"{folder} is on no floor: add it to this test and to ARCHITECTURE.md")
    print("\n".join(wrong) or f"{checked} includes in order")
    return 1 if wrong or checked == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
