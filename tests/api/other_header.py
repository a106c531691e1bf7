#!/usr/bin/env python3
"""Writes the public header as another version has it: each struct that begins with struct_size has one member fewer or one more.

other_header.py HEADER older|newer OUTPUT
"""
import re
import sys
from pathlib import Path

STRUCT = re.compile(r"typedef struct (\w+) \{\n  size_t struct_size;.*?\n\} \1;", re.DOTALL)


def other(struct, version):
    *members, end = struct.splitlines()
    return "\n".join([*members[:-1], end] if version == "older" else [*members, "  uint64_t added_later;", end])


def main(header, version, output):
    text, count = STRUCT.subn(lambda struct: other(struct[0], version), Path(header).read_text())
    if count != 5:
        sys.exit(f"other_header.py: {header} has {count} structs with struct_size, not 5")
    Path(output).write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
