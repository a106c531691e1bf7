#!/usr/bin/env python3
"""The rooms of ARCHITECTURE.md: who may see whom.

Checks the table below against the sources (every include goes where it may,
    by bare name), and then the build: for each pair of rooms that
must not see each other one file is compiled with the first room's flags that includes a header of the second, which
the compiler must refuse.
usage: rooms_test.py SOURCE_FOLDER BUILD_FOLDER
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

# A room → the rooms that it is built upon; it also sees what those are built upon.
BUILT_UPON = {
    "src/base": [],
    "src/settings": ["src/base"],
    "src/plan": ["src/base"],
    "algorithms": ["src/plan"],
    "src/proof": ["src/plan"],
    "src/price": ["src/plan"],
    "src/memory": ["src/base"],
    "src/link": ["src/memory"],
    "src/kernels": ["src/base"],
    "src/cuda": ["src/base"],
    "src/codec": ["src/kernels"],
    "transports/memory": ["src/link"],
    "transports/shm": ["transports/memory"],  # the same arena, in memory that processes share
    "transports/tcp": ["src/link", "src/settings"],
    "transports/rdma": ["transports/tcp"],  # over whose connections the ends of a link meet
    "transports/ucx": ["src/link", "src/settings"],
    "transports": ["src/link"],  # the registry
    "src/engine": ["src/plan", "src/link", "src/codec", "src/cuda"],
    "src/flat": ["src/engine"],
    "src/bootstrap": ["src/settings"],
    "src/control": ["src/bootstrap"],
    "src/topology": ["src/plan"],
    "src/tuning": ["src/settings", "algorithms", "src/price", "src/link", "src/codec"],
    "src/comm": ["src/tuning", "src/flat", "src/control", "src/topology"],
    "src/api": ["src/comm"],
}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)


def visible(room):
    seen = {room}
    for below in BUILT_UPON[room]:
        seen |= visible(below)
    return seen


def sources(root):
    for top in ("src", "algorithms", "transports", "include", "tools", "bench", "tests"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix in (".h", ".cpp", ".c"):
                yield path


def room_of(root, path):
    return path.relative_to(root).parent.as_posix()


def wrong_includes(root, headers):
    wrong, checked = [], 0
    for path in sources(root):
        room = room_of(root, path)
        for bracket, header in INCLUDE.findall(path.read_text(encoding="utf-8")):
            checked += 1
            if header.startswith(".") or "/../" in header:
                wrong.append(f"{path.relative_to(root)} includes {header} by a relative path")
            target = headers.get(pathlib.PurePosixPath(header).name) if bracket == '"' else None
            if target and room in BUILT_UPON and target not in visible(room) | {"include/tutti"}:
                wrong.append(f"{path.relative_to(root)} includes {header} of {target}, which {room} may not see")
    return wrong, checked


def headers_by_name(root):
    """A header's bare name → its room, and the names that two rooms share."""
    home, twice = {}, []
    for path in sources(root):
        room = room_of(root, path)
        if path.suffix == ".h" and room.startswith(("src", "transports", "algorithms", "include")):
            if path.name in home:
                twice.append(f"{path.name} is in {home[path.name]} and in {room}")
            home[path.name] = room
    return home, twice


def compilers(root, build):
    """A room → how the build compiles its sources, without the source: a command that only reads includes."""
    commands = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        file = pathlib.Path(os.path.normpath(os.path.join(entry["directory"], entry["file"])))
        if not file.is_relative_to(root) or file.is_relative_to(build):  # a unity build's own file: its room is that of its target
            match = re.match(r"(.+?)/lib[^/]+\.a\.p/", entry.get("output", ""))
            room = match.group(1) if match else ""
            if entry.get("output", "").startswith("src/libtutti."):  # the sources of the C API go into the library itself
                room = "src/api"
        else:
            room = room_of(root, file)
        if room not in BUILT_UPON or room in commands:
            continue
        words, kept = iter(shlex.split(entry["command"])), []
        for word in words:
            if word in ("-o", "-MQ", "-MF", "-MT", "-c"):
                next(words)
            elif word not in ("-MD", "-MMD"):
                kept.append(word)
        commands[room] = ([w for w in kept if w != "ccache"] + ["-E", "-w", "-o", os.devnull], entry["directory"])
    return commands


def accepts(command, folder, directory, header):
    """Does the compiler find the header?  True, False, or what else it says."""
    file = pathlib.Path(folder) / f"includes_{abs(hash((tuple(command), header)))}.cpp"
    file.write_text(f'#include "{header}"\n')
    done = subprocess.run([*command, str(file)], cwd=directory, capture_output=True, text=True)
    if done.returncode == 0:
        return True
    refused = re.search(rf"fatal error: '?{re.escape(header)}'?(:| file not found)", re.sub(r"\x1b\[[0-9;]*[mK]", "", done.stderr))
    return False if refused else done.stderr


def wrong_answers(root, build, headers):
    first = {}  # a header of each room
    for name, room in sorted(headers.items()):
        if not name.endswith("-inl.h"):
            first.setdefault(room, name)
    commands = compilers(root, build)
    wrong = [f"nothing of {room} is compiled in {build}" for room in BUILT_UPON if room not in commands and exists(root, room)]
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        asked = {}
        for room, (command, directory) in commands.items():
            for other in BUILT_UPON:
                if other in first and other != room:
                    asked[room, other] = pool.submit(accepts, command, folder, directory, first[other])
        refused = 0
        for (room, other), answer in asked.items():
            expected = other in visible(room)
            refused += not expected
            if answer.result() is not expected:
                output = f"\n{answer.result()}" if isinstance(answer.result(), str) else ""
                wrong.append(f"{room} including {first[other]} of {other}: must be {'found' if expected else 'refused'}{output}")
    return wrong, refused


def exists(root, room):
    return any((root / room).glob("*.cpp"))


def main():
    root, build = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    headers, wrong = headers_by_name(root)
    for room in sorted({room_of(root, path) for path in sources(root)}):
        if room.startswith(("src", "transports", "algorithms")) and room not in BUILT_UPON:
            wrong.append(f"{room} is no room: add it to this test and to ARCHITECTURE.md")
    astray, checked = wrong_includes(root, headers)
    answers, refused = wrong_answers(root, build, headers)
    wrong += astray + answers
    print("\n".join(wrong) or f"{checked} includes in order, {refused} forbidden ones refused by the compiler")
    return 1 if wrong or checked == 0 or refused == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
