# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""Machine code of a function in a form that does not depend on where things lie.

Code of two builds is equal in this form exactly if the processor does the
same. What only moved is taken out:

  addresses          a jump inside a function names the instruction it goes to,
                     any other jump or call names the symbol
  references         a relocation becomes the symbol and the offset in it; a
                     string, a constant and a jump table become their content;
                     symbols that the compiler numbers (__func__.4) are
                     numbered by their first use in the function
  line numbers       of WARN() and BUG() in __bug_table

What changes how an instruction acts stays in: exception fixups, alternatives,
static calls, BUG() entries (all but the line) are listed with the instruction
they belong to. Unwind tables (.orc_*) are left out: they follow the stack
operations, which are compared.
"""

from __future__ import annotations

import bisect
import hashlib
import re
import struct
import subprocess
from dataclasses import dataclass, field
from functools import cached_property

from elf import (PC_RELATIVE, SHF_EXECINSTR, SHF_MERGE, SHF_STRINGS, SHF_WRITE, STT_OBJECT,
                 ElfError, Object, Reloc, Section, Symbol)

# Tables with an entry for an instruction: size of an entry and its fields
# after the address of the instruction, as (offset, how to read it).
SIDE_TABLES: dict[str, tuple[int, list[tuple[int, str]]]] = {
    "__ex_table": (12, [(4, "ref"), (8, "u32")]),
    ".altinstructions": (14, [(8, "u32"), (12, "u8"), (4, "replacement")]),
    ".smp_locks": (4, []),
    ".static_call_sites": (8, [(4, "ref")]),
    "__jump_table": (16, [(4, "ref"), (8, "ref")]),
    ".retpoline_sites": (4, []),
    ".return_sites": (4, []),
    ".call_sites": (4, []),
    ".ibt_endbr_seal": (4, []),
    "__mcount_loc": (8, []),
}

_BRANCH = re.compile(r"^((?:[\w.,]+ )*(?:call|jmp|j[a-z]+|loop[a-z]*|xbegin)[a-z,]*) +"
                     r"(?:0x)?([0-9a-f]+)(?: <.*>)?$")
_RIP_TARGET = re.compile(r"\s+# (?:0x)?([0-9a-f]+)(?: <.*>)?$")
_RIP_OPERAND = re.compile(r"-?0x[0-9a-f]+\(%rip\)")
_INSN = re.compile(r"^ *([0-9a-f]+):\t(.*?)\s*$")
_SECTION = re.compile(r"^Disassembly of section (.*):$")
_NUMBERED = re.compile(r"^(?:(__UNIQUE_ID_.+)_\d+|(.+?))(?:\.\d+)?$")
_SPLIT_OFF = re.compile(r"\.(?:cold|part|isra|constprop|lto_priv)(?:\.\d+)*(?=\.|$)")


def base_name(name: str) -> str:
    """Name of the function in the source that a piece was split off from."""
    return _SPLIT_OFF.sub("", name)


def bug_entry(obj: Object, section: Section) -> tuple[int, int | None]:
    """Size of an entry of __bug_table, and where its line number is, if any."""
    sites = [r.offset for r in section.relocs
             if r.symbol.section is not None
             and obj.sections[r.symbol.section].has(SHF_EXECINSTR)]
    gaps = {b - a for a, b in zip(sites, sites[1:])} or {section.size}
    size = min(gaps)
    # address, format, file: 4 bytes each as configured, then line and flags.
    layouts: dict[int, int | None] = {16: 12, 12: 8, 8: None}
    if size not in layouts or any(g % size for g in gaps) or section.size % size:
        raise ElfError(f"__bug_table with entries of {size} bytes: layout not known")
    return size, layouts[size]


@dataclass(frozen=True)
class Insn:
    """An instruction: where it is, how long, and objdump's text."""

    address: int
    end: int
    text: str


@dataclass(frozen=True)
class Line:
    """One instruction in normal form; `targets` are jumps inside the function."""

    text: str
    targets: tuple[int, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.text, *(f"@{t}" for t in self.targets)])


@dataclass
class _Function:
    symbol: Symbol
    insns: list[Insn]
    numbers: dict[str, dict[tuple[int, int], int]] = field(default_factory=dict)

    @cached_property
    def index(self) -> dict[int, int]:
        return {insn.address: i for i, insn in enumerate(self.insns)}


def parse_objdump(text: str) -> dict[str, list[tuple[int, str]]]:
    """Instructions of `objdump -d --no-show-raw-insn -w`, by section."""
    sections: dict[str, list[tuple[int, str]]] = {}
    current: list[tuple[int, str]] = []
    for line in text.splitlines():
        if match := _SECTION.match(line):
            current = sections.setdefault(match[1], [])
        elif match := _INSN.match(line):
            current.append((int(match[1], 16), match[2]))
    return sections


def disassemble(obj: Object) -> str:
    """What objdump says of an object. Whole sections: it sees every byte."""
    command = ["objdump", "-d", "-z", "-w", "--no-show-raw-insn", str(obj.path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Code:
    """The functions of one object in normal form."""

    def __init__(self, obj: Object, disassembly: str | None = None) -> None:
        self.obj = obj
        self._insns: dict[int, list[Insn]] = {}
        names = {s.name: s for s in obj.sections if s.has(SHF_EXECINSTR)}
        if len(names) != sum(s.has(SHF_EXECINSTR) for s in obj.sections):
            raise ElfError(f"{obj.path}: two code sections of one name")
        parsed = parse_objdump(disassemble(obj) if disassembly is None else disassembly)
        for name, insns in parsed.items():
            section = names[name]
            ends = [address for address, _ in insns[1:]] + [section.size]
            self._insns[section.index] = [
                Insn(address, end, text) for (address, text), end in zip(insns, ends)]
        self._functions = {(s.section, s.value): s for s in obj.functions}
        self._cache: dict[tuple[int, int], _Function] = {}

    def parts(self, name: str) -> list[Symbol]:
        """The function called `name` and all that the compiler split off it."""
        # An alias (two names, one address) is found under either name.
        addresses = {(s.section, s.value) for s in self.obj.symbols
                     if s.size and base_name(s.name) == name}
        return [s for s in self.obj.functions if (s.section, s.value) in addresses]

    def lines(self, symbol: Symbol) -> list[Line]:
        """A function in normal form, one line an instruction."""
        self._current = self._function(symbol)
        # Numbers belong to one run: the same call gives the same text.
        self._current.numbers = {}
        section = self.obj.sections[symbol.section or 0]
        return [self._line(section, insn) for insn in self._current.insns]

    def tables(self, name: str) -> list[Symbol]:
        """The data objects called `name`."""
        return [s for s in self.obj.symbols
                if s.name == name and s.type == STT_OBJECT and s.section is not None]

    def table_lines(self, symbol: Symbol) -> list[Line]:
        """A data object, one line for each pointer and each word that is not 0."""
        self._current = _Function(symbol, [])
        section = self.obj.sections[symbol.section or 0]
        lines: list[Line] = []
        for start in range(symbol.value, symbol.value + symbol.size, 8):
            end = min(start + 8, symbol.value + symbol.size)
            for reloc in section.relocs_in(start, end):
                text = self._reference(reloc)[0]
                lines.append(Line(f"+{reloc.offset - symbol.value:#x} {text}"))
            if word := section.data[start:end].rstrip(b"\0"):
                lines.append(Line(f"+{start - symbol.value:#x} bytes {word.hex()}"))
        return [Line(f"size {symbol.size}"), *lines]

    def _function(self, symbol: Symbol) -> _Function:
        key = (symbol.section or 0, symbol.value)
        if key not in self._cache:
            insns = self._insns.get(key[0], [])
            low = bisect.bisect_left(insns, symbol.value, key=lambda i: i.address)
            high = bisect.bisect_left(insns, symbol.value + symbol.size, key=lambda i: i.address)
            if low == high or insns[low].address != symbol.value:
                raise ElfError(f"{self.obj.path}: no disassembly of {symbol.name}")
            self._cache[key] = _Function(symbol, insns[low:high])
        return self._cache[key]

    def _line(self, section: Section, insn: Insn) -> Line:
        targets: list[int] = []
        relocs = section.relocs_in(insn.address, insn.end)
        branch = _BRANCH.match(insn.text)
        text = insn.text
        if branch:
            text = branch[1]
            if not relocs:
                text += self._join(self._place(section.index, int(branch[2], 16)), targets)
        elif rip := _RIP_TARGET.search(text):
            text = text[: rip.start()]
            if not relocs:
                place = self._place(section.index, int(rip[1], 16))
                text = _RIP_OPERAND.sub("(%rip)", text) + self._join(place, targets)
        for reloc in relocs:
            end = insn.end if reloc.type in PC_RELATIVE else reloc.offset
            # A call of a function that became global is the same instruction.
            kind = "" if branch else " " + reloc.type.removeprefix("R_X86_64_")
            text += kind + self._join(self._reference(reloc, end - reloc.offset), targets)
        for note in self._notes(section.index, insn.address):
            text += f" ; {note[0]}"
            targets.extend(note[1])
        return Line(text, tuple(targets))

    @staticmethod
    def _join(place: tuple[str, list[int]], targets: list[int]) -> str:
        targets.extend(place[1])
        return f" {place[0]}"

    def _reference(self, reloc: Reloc, bias: int = 0) -> tuple[str, list[int]]:
        symbol, addend = reloc.symbol, reloc.addend + bias
        if symbol.section is None or not symbol.is_local:
            return symbol.name + (f"{addend:+#x}" if addend else ""), []
        return self._place(symbol.section, symbol.value + addend)

    def _place(self, index: int, offset: int) -> tuple[str, list[int]]:
        """What is at an offset of a section; a jump inside the function in the list."""
        section = self.obj.sections[index]
        if section.has(SHF_EXECINSTR):
            return self._code_place(section, offset)
        if section.name == "__bug_table":
            return self._bug(section, offset)
        if section.has(SHF_MERGE | SHF_STRINGS) and 0 <= offset < section.size:
            end = section.data.index(b"\0", offset)
            return f'"{section.data[offset:end].decode("latin-1")}"', []
        if section.has(SHF_MERGE) and 0 <= offset < section.size:
            return f"={section.data[offset:offset + section.entsize].hex()}", []
        symbol = self.obj.symbol_at(index, offset)
        if symbol is None:
            if section.has(SHF_WRITE) or not 0 <= offset < section.size:
                return f"{section.name}{offset:+#x}", []
            return self._anonymous(section, offset)
        inner = f"{offset - symbol.value:+#x}" if offset != symbol.value else ""
        match = _NUMBERED.match(symbol.name)
        name = match and (match[1] or match[2]) or symbol.name
        if not symbol.is_local or name == symbol.name:
            return symbol.name + inner, []
        known = self._current.numbers.setdefault(name, {})
        name += f"#{known.setdefault((index, symbol.value), len(known))}"
        if not section.has(SHF_WRITE):
            text, targets = self._content(section, symbol.value, symbol.value + symbol.size)
            return f"{name}{inner}={text}", targets
        return name + inner, []

    def _code_place(self, section: Section, offset: int) -> tuple[str, list[int]]:
        symbol = self.obj.symbol_at(section.index, offset)
        symbol = symbol and self._functions.get((section.index, symbol.value))
        if symbol is None:
            return f"{section.name}{offset:+#x}", []
        if symbol == self._current.symbol:
            i = self._current.index.get(offset)
            return ("", [i]) if i is not None else (f"self{offset - symbol.value:+#x}", [])
        if offset == symbol.value:
            return symbol.name, []
        i = self._function(symbol).index.get(offset)
        return f"{symbol.name}@{i}" if i is not None else f"{section.name}{offset:+#x}", []

    def _anonymous(self, section: Section, offset: int) -> tuple[str, list[int]]:
        """Read-only data without a name: constants and jump tables, by content."""
        anchors = self._anchors(section.index)
        i = bisect.bisect_right(anchors, offset)
        return self._content(section, offset, anchors[i] if i < len(anchors) else section.size)

    def _content(self, section: Section, start: int, end: int) -> tuple[str, list[int]]:
        data = bytearray(section.data[start:end])
        words: list[str] = []
        targets: list[int] = []
        for reloc in section.relocs_in(start, end):
            place, inner = self._reference(reloc)
            words.append(f"{reloc.offset - start:#x}:{place}")
            targets.extend(inner)
        # Padding up to the next object is not content.
        data = data.rstrip(b"\0")
        digest = hashlib.sha256(data).hexdigest()[:16] if len(data) > 32 else data.hex()
        return f"[{digest}{''.join(' ' + w for w in words)}]", targets

    @cached_property
    def _all_anchors(self) -> dict[int, list[int]]:
        found: dict[int, set[int]] = {}
        for section in self.obj.sections:
            for reloc in section.relocs:
                where = reloc.symbol.section
                if where is not None and reloc.symbol.is_local:
                    found.setdefault(where, set()).add(reloc.symbol.value + reloc.addend)
        return {index: sorted(offsets | set(self.obj.symbol_starts(index)))
                for index, offsets in found.items()}

    def _anchors(self, section: int) -> list[int]:
        return self._all_anchors.get(section, [])

    def _bug(self, section: Section, offset: int) -> tuple[str, list[int]]:
        size, line = bug_entry(self.obj, section)
        start = offset - offset % size
        entry = bytearray(section.data[start : start + size])
        if line is not None:
            entry[line : line + 2] = b"\0\0"
        words: list[str] = []
        targets: list[int] = []
        for reloc in section.relocs_in(start, start + size):
            place, inner = self._reference(reloc)
            words.append(place)
            targets.extend(inner)
        inner_offset = f"{offset - start:+#x}" if offset != start else ""
        return f"bug{inner_offset}[{entry.hex()} {' '.join(words)}]", targets

    @cached_property
    def _sites(self) -> dict[tuple[int, int], list[tuple[Section, int]]]:
        """Entries of side tables by the instruction they belong to."""
        sites: dict[tuple[int, int], list[tuple[Section, int]]] = {}
        for section in self.obj.sections:
            if section.name == "__bug_table":
                size = bug_entry(self.obj, section)[0]
            elif section.name in SIDE_TABLES:
                size = SIDE_TABLES[section.name][0]
            else:
                continue
            if section.size % size:
                raise ElfError(f"{self.obj.path}: {section.name} is not of {size}-byte entries")
            for start in range(0, section.size, size):
                relocs = section.relocs_in(start, start + 1)
                if relocs and relocs[0].symbol.section is not None:
                    key = (relocs[0].symbol.section, relocs[0].symbol.value + relocs[0].addend)
                    sites.setdefault(key, []).append((section, start))
        return sites

    def _notes(self, section: int, address: int) -> list[tuple[str, list[int]]]:
        notes = []
        for table, start in self._sites.get((section, address), []):
            if table.name == "__bug_table":
                text, targets = self._bug(table, start)
                notes.append((text, targets))
                continue
            words = [table.name]
            inner: list[int] = []
            for offset, kind in SIDE_TABLES[table.name][1]:
                words.append(self._field(table, start, offset, kind, inner))
            notes.append((" ".join(words), inner))
        return notes

    def _field(self, table: Section, start: int, offset: int, kind: str, inner: list[int]) -> str:
        if kind == "u32":
            return f"{struct.unpack_from('<I', table.data, start + offset)[0]:#x}"
        if kind == "u8":
            return str(table.data[start + offset])
        relocs = table.relocs_in(start + offset, start + offset + 1)
        if not relocs:
            return "none"
        if kind == "ref":
            return self._join(self._reference(relocs[0]), inner).strip()
        # Replacement code: its length is the last byte of the entry.
        where = relocs[0].symbol.section or 0
        begin = relocs[0].symbol.value + relocs[0].addend
        end = begin + table.data[start + 13]
        section = self.obj.sections[where]
        lines = [self._line(section, i) for i in self._insns.get(where, [])
                 if begin <= i.address < end]
        for line in lines:
            inner.extend(line.targets)
        return "{" + "; ".join(line.text for line in lines) + "}"


def masked(obj: Object, section: Section) -> bytes:
    """Bytes of a section without what only tells a line of the source."""
    if section.name != "__bug_table":
        return section.data
    size, line = bug_entry(obj, section)
    data = bytearray(section.data)
    if line is not None:
        for start in range(0, len(data), size):
            data[start + line : start + line + 2] = b"\0\0"
    return bytes(data)


def _absolute(reloc: Reloc) -> tuple[int, str, str | int, int]:
    symbol = reloc.symbol
    if symbol.section is not None and symbol.is_local:
        return reloc.offset, reloc.type, symbol.section, symbol.value + reloc.addend
    return reloc.offset, reloc.type, symbol.name, reloc.addend


def section_differences(a: Object, b: Object) -> list[str]:
    """How the allocated sections of two objects differ, byte by byte; no list: not at all.

    Line numbers in __bug_table are the only thing that may differ: they change
    when lines are added above, and no code reads them but a splat.
    """
    ours = {s.name: s for s in a.allocated}
    theirs = {s.name: s for s in b.allocated}
    found = [f"{name}: only in {'base' if name in ours else 'the other'}"
             for name in sorted(ours.keys() ^ theirs.keys())]
    # Section numbers can differ (debug sections); names say which is which.
    names_a = [s.name for s in a.sections]
    names_b = [s.name for s in b.sections]
    for name in ours.keys() & theirs.keys():
        x, y = ours[name], theirs[name]
        if (x.size, x.flags, x.entsize) != (y.size, y.flags, y.entsize):
            found.append(f"{name}: size {x.size} to {y.size}")
        elif masked(a, x) != masked(b, y):
            count = sum(p != q for p, q in zip(masked(a, x), masked(b, y)))
            found.append(f"{name}: {count} bytes differ")
        else:
            rels = [[(o, t, names[s] if isinstance(s, int) else s, d)
                     for o, t, s, d in map(_absolute, section.relocs)]
                    for section, names in ((x, names_a), (y, names_b))]
            if rels[0] != rels[1]:
                found.append(f"{name}: relocations differ")
    return sorted(found)
