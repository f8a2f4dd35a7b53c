# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""Compares layouts of structures, as pahole reads them from debug information."""

from __future__ import annotations

import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

_MEMBER = re.compile(r"^\t+(?P<decl>.*?);?\s*/\*\s*(?P<offset>\d+)(?::\s*(?P<bit>\d+))?"
                     r"\s+(?P<size>\d+)\s*\*/$")
_SIZE = re.compile(r"/\* size: (\d+),")
_NAME = re.compile(r"\(\*(\w+)\)|(\w+)(?:\[[^]]*\])*(?::\d+)?\s*(?:__attribute__.*)?$")
_GROUP = re.compile(r"__cacheline_group_(begin|end)__(\w+)")
CACHELINE = 64


class LayoutError(Exception):
    """pahole does not know the structure, or says what cannot be read."""


@dataclass(frozen=True)
class Member:
    """A member: offset and size in bytes, `bit` of a bit-field, else None."""

    name: str
    offset: int
    bit: int | None
    size: int
    declaration: str
    group: str


@dataclass(frozen=True)
class Change:
    """One difference: kind is added, removed, moved or resized."""

    struct: str
    member: str
    kind: str
    detail: str
    group: str


def parse(text: str) -> tuple[int, list[Member]]:
    """Size and members, in order, of one structure as pahole prints it."""
    members: list[Member] = []
    group = ""
    unnamed = 0
    size = _SIZE.search(text)
    if size is None:
        raise LayoutError("no structure in pahole's output")
    for line in text.splitlines():
        match = _MEMBER.match(line.split(" /* size:")[0] if " /* size:" in line else line)
        if match is None:
            continue
        declaration = " ".join(match["decl"].lstrip("} ").split())
        name_match = _NAME.search(declaration)
        name = name_match and (name_match[1] or name_match[2]) or ""
        if marker := _GROUP.search(declaration):
            group = marker[2] if marker[1] == "begin" else ""
            name = f"group {marker[2]} {marker[1]}"
        if not name:
            unnamed += 1
            name = f"(unnamed {unnamed})"
        bit = int(match["bit"]) if match["bit"] else None
        members.append(Member(name, int(match["offset"]), bit, int(match["size"]), declaration,
                              group))
    return int(size[1]), members


def pahole(obj: Path, struct: str) -> str:
    """pahole's text for one structure."""
    done = subprocess.run(["pahole", "-C", struct, str(obj)], capture_output=True, text=True)
    # Several definitions of a name are printed one after another; the first is it.
    text = done.stdout.split("\n}")[0]
    if done.returncode or f"struct {struct} {{" not in text:
        raise LayoutError(f"pahole finds no struct {struct} in {obj}")
    return done.stdout


def compare_structs(struct: str, old: tuple[int, list[Member]],
                    new: tuple[int, list[Member]]) -> list[Change]:
    """How a layout changed. A name that occurs twice (in unions) is told by its order."""
    changes: list[Change] = []
    if old[0] != new[0]:
        changes.append(Change(struct, "(size)", "resized", f"{old[0]} to {new[0]} bytes", ""))
    sides: list[dict[tuple[str, int], Member]] = []
    for _, members in (old, new):
        keyed: dict[tuple[str, int], Member] = {}
        seen: dict[str, int] = {}
        for member in members:
            seen[member.name] = seen.get(member.name, 0) + 1
            keyed[member.name, seen[member.name]] = member
        sides.append(keyed)
    for key in sides[0].keys() | sides[1].keys():
        before, after = sides[0].get(key), sides[1].get(key)
        if before is None and after is not None:
            changes.append(Change(struct, key[0], "added", f"at {after.offset}: "
                                  f"{after.declaration}", after.group))
        elif after is None and before is not None:
            changes.append(Change(struct, key[0], "removed", f"from {before.offset}: "
                                  f"{before.declaration}", before.group))
        elif before is not None and after is not None:
            if (before.offset, before.bit, before.group) != (after.offset, after.bit, after.group):
                lines = before.offset // CACHELINE, after.offset // CACHELINE
                where = "" if lines[0] == lines[1] else f", cacheline {lines[0]} to {lines[1]}"
                changes.append(Change(struct, key[0], "moved",
                                      f"{before.offset} to {after.offset}{where}", before.group))
            if (before.size, before.declaration) != (after.size, after.declaration):
                changes.append(Change(struct, key[0], "resized", f"'{before.declaration}' to "
                                      f"'{after.declaration}'", before.group))
    return sorted(changes, key=lambda c: (c.struct, c.member, c.kind))


def read_structs(path: Path) -> list[tuple[str, str]]:
    """Lines of structs.txt: structure and object."""
    lines = [line.split() for line in path.read_text().splitlines()
             if line.strip() and not line.startswith("#")]
    for words in lines:
        if len(words) != 2:
            raise LayoutError(f"{path}: expected 'structure object', not '{' '.join(words)}'")
    return [(words[0], words[1]) for words in lines]


def compare(base: Path, other: Path, structs: list[tuple[str, str]]) -> dict[str, object]:
    """Compares every structure of the list between two build directories."""
    changes: list[Change] = []
    groups: dict[str, int] = {}
    sizes: dict[str, list[int]] = {}
    for struct, obj in structs:
        old, new = (parse(pahole(directory / obj, struct)) for directory in (base, other))
        changes += compare_structs(struct, old, new)
        sizes[struct] = [old[0], new[0]]
        groups[struct] = len({m.group for m in old[1] if m.group})
    return {"compared": len(structs), "sizes": sizes, "groups": groups,
            "changes": [asdict(c) for c in changes]}
