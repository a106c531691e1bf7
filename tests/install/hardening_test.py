#!/usr/bin/env python3
"""The library and the programs are built so that a mistake in memory is hard to exploit: no executable stack, tables of
addresses that are read-only after start (full RELRO), stack canaries, checked functions of the C library, programs at
random addresses.

usage: hardening_test.py --fortified|--plain LIBRARY [PROGRAM …]   (--plain: not optimized,
    or no C library that has checked functions)
"""
import struct
import sys

PT_LOAD, PT_DYNAMIC, PT_GNU_STACK, PT_GNU_RELRO = 1, 2, 0x6474E551, 0x6474E552
ET_DYN, SHT_DYNSYM, PF_X = 3, 11, 1
DT_BIND_NOW, DT_FLAGS, DT_FLAGS_1 = 24, 30, 0x6FFFFFFB
DF_BIND_NOW, DF_1_NOW, DF_1_PIE = 0x8, 0x1, 0x08000000
SKIPPED = 77  # for Meson


class Elf:
    """As much of a 64-bit ELF file as is asked for here."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        if self.data[:5] != b"\x7fELF\x02":
            raise NotImplementedError(f"{path} is no 64-bit ELF file")
        self.order = "<" if self.data[5] == 1 else ">"
        self.type, = self.unpack("H", 16)
        program_at, section_at = self.unpack("QQ", 32)
        program_size, programs, section_size, sections = self.unpack("HHHH", 54)
        # type, flags, offset, address, physical address, bytes in the file, in memory, alignment
        self.segments = [self.unpack("IIQQQQQQ", program_at + i * program_size) for i in range(programs)]
        # name, type, flags, address, offset, bytes, link, info, alignment, bytes of an entry
        self.sections = [self.unpack("IIQQQQIIQQ", section_at + i * section_size) for i in range(sections)]

    def unpack(self, layout, at):
        return struct.unpack_from(self.order + layout, self.data, at)

    def segment(self, kind):
        return next((segment for segment in self.segments if segment[0] == kind), None)

    def dynamic(self):
        segment = self.segment(PT_DYNAMIC)
        entries = {}
        for at in range(segment[2], segment[2] + segment[5], 16):
            tag, value = self.unpack("QQ", at)
            entries.setdefault(tag, value)
        return entries

    def symbols(self):
        """Names of the dynamic symbols, the imported ones among them."""
        names = set()
        for _, kind, _, _, offset, size, link, _, _, entry in self.sections:
            if kind != SHT_DYNSYM:
                continue
            strings = self.sections[link][4]
            for at in range(offset, offset + size, entry):
                begin = strings + self.unpack("I", at)[0]
                names.add(self.data[begin:self.data.index(b"\0", begin)].decode())
        return names


def weaknesses(elf, is_program, fortified):
    dynamic, symbols = elf.dynamic(), elf.symbols()
    stack, flags_1 = elf.segment(PT_GNU_STACK), dynamic.get(DT_FLAGS_1, 0)
    if stack is None or stack[1] & PF_X:
        yield "its stack is executable"
    if elf.segment(PT_GNU_RELRO) is None:
        yield "its tables of addresses stay writable (no RELRO)"
    if not (DT_BIND_NOW in dynamic or dynamic.get(DT_FLAGS, 0) & DF_BIND_NOW or flags_1 & DF_1_NOW):
        yield "symbols are bound late, so that the table of functions stays writable (no BIND_NOW)"
    if "__stack_chk_fail" not in symbols:
        yield "nothing guards return addresses (no stack protector)"
    if fortified and not any(name.startswith("__") and name.endswith("_chk") for name in symbols):
        yield "no function of the C library is the checked one (no _FORTIFY_SOURCE)"
    if is_program and not (elf.type == ET_DYN and flags_1 & DF_1_PIE):
        yield "it is loaded at a fixed address (no PIE)"


def main():
    fortified, files = sys.argv[1] == "--fortified", sys.argv[2:]
    found = 0
    for i, path in enumerate(files):
        try:
            elf = Elf(path)
        except NotImplementedError as why:
            print(why)
            return SKIPPED
        for weakness in weaknesses(elf, i > 0, fortified):
            print(f"{path}: {weakness}")
            found += 1
    print(f"{len(files)} files, {found} weaknesses")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
