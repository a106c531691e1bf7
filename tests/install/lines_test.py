#!/usr/bin/env python3
"""No line of the sources, meson.build and scripts is longer than 132 columns, and no comment than 120.

usage: lines_test.py SOURCE_FOLDER
"""
import pathlib
import sys

CODE, COMMENT = 132, 120
FOLDERS = ("algorithms", "bench", "include", "python", "src", "tests", "tools", "transports")
SUFFIXES = {".c", ".cpp", ".h", ".build", ".py", ".sh"}


def files(root):
    yield root / "meson.build"
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and not {"corpus", "__pycache__"} & set(path.parts):
                if path.suffix in SUFFIXES or not path.suffix and path.read_bytes().startswith(b"#!"):
                    yield path


def limit_of(path, line):
    """A comment at the end of code may be as long as code."""
    return COMMENT if line.lstrip().startswith("//" if path.suffix in (".cpp", ".h") else "# ") else CODE


def main():
    root = pathlib.Path(sys.argv[1])
    lines, long = 0, []
    for path in files(root):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            lines += 1
            if len(line) > limit_of(path, line):
                long.append(f"{path.relative_to(root)}:{number}: {len(line)} columns, at most {limit_of(path, line)}")
    print("\n".join(long) or f"{lines} lines fit")
    return 1 if long or lines == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
