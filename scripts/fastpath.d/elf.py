# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""Reads relocatable ELF objects for x86-64: sections, symbols, relocations."""

from __future__ import annotations

import bisect
import struct
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

SHT_SYMTAB, SHT_RELA, SHT_NOBITS = 2, 4, 8
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_MERGE, SHF_STRINGS = 1, 2, 4, 0x10, 0x20
STT_OBJECT, STT_FUNC, STT_SECTION = 1, 2, 3

# Relocations relative to the place that is patched.
PC_RELATIVE = {"R_X86_64_PC32", "R_X86_64_PLT32", "R_X86_64_PC64"}
RELOC_NAMES = {1: "R_X86_64_64", 2: "R_X86_64_PC32", 4: "R_X86_64_PLT32", 10: "R_X86_64_32",
               11: "R_X86_64_32S", 24: "R_X86_64_PC64"}


class ElfError(Exception):
    """The file is not an object this reader knows how to read."""


@dataclass(frozen=True)
class Reloc:
    """One relocation: at `offset` of its section, to `symbol` plus `addend`."""

    offset: int
    type: str
    symbol: Symbol
    addend: int


@dataclass(frozen=True)
class Symbol:
    """A symbol; `section` is None for one defined elsewhere."""

    name: str
    section: int | None
    value: int
    size: int
    type: int
    is_local: bool


@dataclass
class Section:
    """A section with its bytes (empty for .bss) and its relocations by offset."""

    index: int
    name: str
    flags: int
    size: int
    entsize: int
    is_nobits: bool
    data: bytes
    relocs: list[Reloc] = field(default_factory=list)

    def has(self, flags: int) -> bool:
        return self.flags & flags == flags

    @cached_property
    def reloc_offsets(self) -> list[int]:
        return [r.offset for r in self.relocs]

    def relocs_in(self, start: int, end: int) -> list[Reloc]:
        """Relocations with start <= offset < end."""
        low = bisect.bisect_left(self.reloc_offsets, start)
        return self.relocs[low : bisect.bisect_left(self.reloc_offsets, end)]


class Object:
    """A relocatable object file, read as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        raw = path.read_bytes()
        if raw[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<HH", raw, 16) != (1, 62):
            raise ElfError(f"{path}: not a relocatable x86-64 ELF object")
        self._read_sections(raw)
        self._read_symbols()
        self._read_relocs()

    def _read_sections(self, raw: bytes) -> None:
        (shoff,) = struct.unpack_from("<Q", raw, 40)
        shentsize, shnum, shstrndx = struct.unpack_from("<HHH", raw, 58)
        first = struct.unpack_from("<IIQQQQIIQQ", raw, shoff)
        shnum = shnum or first[5]
        headers = [
            struct.unpack_from("<IIQQQQIIQQ", raw, shoff + i * shentsize) for i in range(shnum)
        ]
        names = headers[first[6] if shstrndx == 0xFFFF else shstrndx]
        table = raw[names[4] : names[4] + names[5]]
        self._headers = headers
        self.sections = []
        for i, header in enumerate(headers):
            name, kind, flags, _, offset, size, _, _, _, entsize = header
            is_nobits = kind == SHT_NOBITS
            data = b"" if is_nobits else raw[offset : offset + size]
            text = table[name : table.index(b"\0", name)].decode()
            self.sections.append(Section(i, text, flags, size, entsize, is_nobits, data))

    def _read_symbols(self) -> None:
        self.symbols: list[Symbol] = []
        for header, section in zip(self._headers, self.sections):
            if header[1] != SHT_SYMTAB:
                continue
            strings = self.sections[header[6]].data
            for name, info, _, shndx, value, size in struct.iter_unpack("<IBBHQQ", section.data):
                kind = info & 15
                where = shndx if 0 < shndx < 0xFF00 else None
                text = strings[name : strings.index(b"\0", name)].decode()
                if kind == STT_SECTION and where is not None:
                    text = self.sections[where].name
                self.symbols.append(Symbol(text, where, value, size, kind, info >> 4 == 0))

    def _read_relocs(self) -> None:
        for header, section in zip(self._headers, self.sections):
            if header[1] != SHT_RELA:
                continue
            target = self.sections[header[7]]
            if not target.has(SHF_ALLOC):
                continue
            for offset, info, addend in struct.iter_unpack("<QQq", section.data):
                kind = info & 0xFFFFFFFF
                name = RELOC_NAMES.get(kind, f"R_X86_64_#{kind}")
                target.relocs.append(Reloc(offset, name, self.symbols[info >> 32], addend))
            target.relocs.sort(key=lambda r: r.offset)

    @cached_property
    def allocated(self) -> list[Section]:
        """Sections that take part in the running kernel."""
        return [s for s in self.sections if s.has(SHF_ALLOC)]

    @cached_property
    def functions(self) -> list[Symbol]:
        """Function symbols with code, by section and address, one name an address."""
        best: dict[tuple[int, int], Symbol] = {}
        for sym in self.symbols:
            if sym.type != STT_FUNC or sym.section is None or not sym.size:
                continue
            key = (sym.section, sym.value)
            old = best.get(key)
            if old is None or (sym.is_local, sym.name) < (old.is_local, old.name):
                best[key] = sym
        return [best[key] for key in sorted(best)]

    @cached_property
    def _by_section(self) -> dict[int, tuple[list[int], list[Symbol]]]:
        """Per section: start addresses and sized symbols, sorted."""
        groups: dict[int, dict[int, Symbol]] = {}
        for sym in self.symbols:
            if sym.section is None or not sym.size or sym.type == STT_SECTION:
                continue
            group = groups.setdefault(sym.section, {})
            old = group.get(sym.value)
            if old is None or (sym.is_local, sym.name) < (old.is_local, old.name):
                group[sym.value] = sym
        return {
            index: (sorted(group), [group[start] for start in sorted(group)])
            for index, group in groups.items()
        }

    def symbol_at(self, section: int, offset: int) -> Symbol | None:
        """The sized symbol that covers `offset`, None between symbols."""
        starts, symbols = self._by_section.get(section, ([], []))
        i = bisect.bisect_right(starts, offset) - 1
        if i < 0 or offset >= symbols[i].value + symbols[i].size:
            return None
        return symbols[i]

    def symbol_starts(self, section: int) -> list[int]:
        """Start addresses of the sized symbols of a section, sorted."""
        return self._by_section.get(section, ([], []))[0]
