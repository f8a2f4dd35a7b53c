# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""Compares the machine code of listed functions between two build directories."""

from __future__ import annotations

import difflib
import re
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path

from elf import STT_OBJECT, Object, Symbol
from normalise import Code, Line, base_name, section_differences

SAME, CHANGED, MISSING = "same", "changed", "missing"


class ListError(Exception):
    """The list of functions has a line that means nothing."""


@dataclass(frozen=True)
class Entry:
    """A line of functions.txt."""

    function: str
    object: str
    inlined_in: str | None
    subsystem: str
    why: str


@dataclass
class Verdict:
    """What became of one function: `diff` if changed, `note` if there is more to say."""

    function: str
    object: str
    subsystem: str
    status: str
    parts: list[str] = field(default_factory=list)
    note: str = ""
    diff: list[str] = field(default_factory=list)


def read_list(path: Path) -> list[Entry]:
    """Entries of a functions.txt; a line that cannot be read is an error."""
    entries: list[Entry] = []
    seen: set[tuple[str, str]] = set()
    subsystem = ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if match := re.fullmatch(r"\[(.+)\]", line):
            subsystem = match[1]
            continue
        words = line.split(None, 2)
        if len(words) != 3 or not words[1].endswith(".o") or not subsystem:
            raise ListError(f"{path}:{number}: expected 'function object [in=CALLER] why' "
                            "below a [subsystem]")
        function, where, why = words
        inlined_in = None
        if match := re.match(r"in=(\S+)\s+(.+)", why):
            inlined_in, why = match.groups()
        if (function, where) in seen:
            raise ListError(f"{path}:{number}: {function} is listed twice")
        seen.add((function, where))
        entries.append(Entry(function, where, inlined_in, subsystem, why))
    return entries


def inlined_into(obj: Object, code: Code, callee: str, caller: str) -> bool:
    """Does the debug information of `obj` put code of `callee` into `caller`?"""
    for part in code.parts(caller):
        section = obj.sections[part.section or 0].name
        addresses = [f"{i:#x}" for i in range(part.value, part.value + part.size)]
        command = ["addr2line", "-f", "-i", "-e", str(obj.path), "-j", section]
        out = subprocess.run(command, input="\n".join(addresses), check=True, text=True,
                             capture_output=True).stdout
        if callee in (base_name(name) for name in out.splitlines()[::2]):
            return True
    return False


def diff_lines(old: list[Line], new: list[Line], name: str) -> list[str]:
    """Unified diff; jump targets only count where nothing else tells the lines apart."""
    plain = [[line.text for line in lines] for lines in (old, new)]
    if plain[0] == plain[1]:
        plain = [[str(line) for line in lines] for lines in (old, new)]
    return list(difflib.unified_diff(*plain, f"base/{name}", f"patched/{name}", lineterm=""))


class Pair:
    """One object in both builds."""

    def __init__(self, base: Path, other: Path) -> None:
        self.base, self.other = Object(base), Object(other)
        self.differences = section_differences(self.base, self.other)
        self._code: tuple[Code, Code] | None = None

    @property
    def code(self) -> tuple[Code, Code]:
        if self._code is None:
            self._code = Code(self.base), Code(self.other)
        return self._code

    def function(self, entry: Entry) -> Verdict:
        """Compares one function with all that was split off it."""
        verdict = Verdict(entry.function, entry.object, entry.subsystem, SAME)
        old, new = (code.parts(entry.function) for code in self.code)
        if not old and not new:
            old, new = (code.tables(entry.function) for code in self.code)
        verdict.parts = [s.name for s in old]
        if not old and not new:
            return self._inlined(entry, verdict)
        if not old or not new:
            verdict.status = CHANGED
            verdict.note = f"only in {'base' if old else 'the patched kernel'}"
            return verdict
        verdict.diff = self._diff(old, new)
        if verdict.diff:
            verdict.status = CHANGED
        return verdict

    def _diff(self, old: list[Symbol], new: list[Symbol]) -> list[str]:
        if not self.differences:
            return []
        names = sorted({s.name for s in old} | {s.name for s in new})
        sides = [{s.name: code.table_lines(s) if s.type == STT_OBJECT else code.lines(s)
                  for s in parts} for code, parts in zip(self.code, (old, new))]
        diff: list[str] = []
        for name in names:
            diff += diff_lines(sides[0].get(name, []), sides[1].get(name, []), name)
        return diff

    def _inlined(self, entry: Entry, verdict: Verdict) -> Verdict:
        if entry.inlined_in is None:
            verdict.status = MISSING
            verdict.note = "no such function, and no caller stated that it is inlined in"
            return verdict
        for obj, code in zip((self.base, self.other), self.code):
            if not inlined_into(obj, code, entry.function, entry.inlined_in):
                verdict.status = MISSING
                verdict.note = f"not in {entry.inlined_in} as stated ({obj.path})"
                return verdict
        verdict.parts = [f"in {entry.inlined_in}"]
        caller = self.function(Entry(entry.inlined_in, entry.object, None, "", ""))
        verdict.status, verdict.note, verdict.diff = caller.status, caller.note, caller.diff
        return verdict

    def others(self, listed: set[str]) -> list[str]:
        """Names of changed functions that are not on the list."""
        if not self.differences:
            return []
        names = {base_name(s.name) for code in self.code for s in code.obj.functions}
        return sorted(name for name in names - listed
                      if self.function(Entry(name, "", None, "", "")).status != SAME)


def compare(base: Path, other: Path, entries: list[Entry], objects: list[str]) -> dict[str, object]:
    """Compares two build directories: the list, and whatever else differs in `objects`."""
    verdicts: list[Verdict] = []
    others: list[str] = []
    by_object: dict[str, list[Entry]] = {}
    for entry in entries:
        by_object.setdefault(entry.object, []).append(entry)
    for name in sorted(set(objects) | set(by_object)):
        listed = by_object.get(name, [])
        if not (base / name).exists() or not (other / name).exists():
            for entry in listed:
                verdicts.append(Verdict(entry.function, name, entry.subsystem, MISSING,
                                        note="no such object in one of the builds"))
            continue
        pair = Pair(base / name, other / name)
        verdicts += [pair.function(entry) for entry in listed]
        others += [f"{name}: {f}" for f in pair.others({e.function for e in listed})]
    order = {(e.object, e.function): i for i, e in enumerate(entries)}
    verdicts.sort(key=lambda v: order[(v.object, v.function)])
    return {
        "compared": sum(v.status != MISSING for v in verdicts),
        "changed": [v.function for v in verdicts if v.status == CHANGED],
        "missing": [v.function for v in verdicts if v.status == MISSING],
        "other_changed": others,
        "functions": [asdict(v) for v in verdicts],
    }
