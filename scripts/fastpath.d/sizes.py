# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""Sizes of objects of several builds, and whether option off is the base, byte for byte."""

from __future__ import annotations

from pathlib import Path

from elf import SHF_WRITE, Object
from normalise import section_differences

Size = list[int]  # text with read-only data, writable data, bss


def size(obj: Object) -> Size:
    """Bytes that an object adds to the running kernel."""
    total = [0, 0, 0]
    for section in obj.allocated:
        total[2 if section.is_nobits else 1 if section.has(SHF_WRITE) else 0] += section.size
    return total


def read(path: Path) -> Object | None:
    """An object, None if there is none."""
    return Object(path) if path.exists() else None


def compare(base: Path, patched: Path, off: Path | None, objects: list[str],
            off_base: Path | None = None) -> dict[str, object]:
    """Sizes where they differ, sums, and every difference of `off` to `off_base`.

    `off` is the patched kernel with the options of the series off, None for a
    series without options. `off_base` is the base with the same options off, if
    it has some already: then it is `base` and `patched` with options on whose
    sizes are told. `objects` is what any of the builds has; an object that one
    lacks counts as empty, and for `off` against `off_base` as a difference.
    """
    builds = {"base": base, "patched": patched}
    if off_base in (None, base):
        off_base = base
        if off is not None:
            builds = {"base": base, "off": off, "on": patched}
    totals = {name: [0, 0, 0] for name in builds}
    rows: list[dict[str, object]] = []
    differences: dict[str, list[str]] = {}
    lines_only: list[str] = []
    for name in objects:
        found = {label: read(path / name) for label, path in builds.items()}
        sizes = {label: size(obj) if obj else [0, 0, 0] for label, obj in found.items()}
        for label, numbers in sizes.items():
            totals[label] = [a + b for a, b in zip(totals[label], numbers)]
        if len({tuple(s) for s in sizes.values()}) > 1:
            rows.append({"object": name, **sizes})
        if off is None:
            continue
        a, b = read(off_base / name), read(off / name)
        if a and b:
            if found_here := section_differences(a, b):
                differences[name] = found_here
            elif any(x.data != y.data for x, y in zip(a.allocated, b.allocated)):
                lines_only.append(name)
        elif a or b:
            differences[name] = [f"only in {'base' if a else 'the build with the option off'}"]
    return {"objects": len(objects), "totals": totals, "rows": rows, "has_off": off is not None,
            "off_differs": differences, "off_lines_moved": lines_only}
