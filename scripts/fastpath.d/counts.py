# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""Reads what userspace/bench/count_syscalls printed, and compares two kernels."""

from __future__ import annotations

import re
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

_BEGIN = re.compile(r"count begin (\d+)")
_CASE = re.compile(r"count (.+): (\d+) (\d+) (\d+) \(median, least, most of \d+\)")


class CountError(Exception):
    """A boot did not give all its numbers."""


@dataclass(frozen=True)
class Row:
    """One call: instructions of both kernels, and how far apart they may be.

    Of several boots the median counts: what is random in a boot (hash seeds)
    can put one apart. The bound is the largest distance of base from base.
    """

    call: str
    base: int
    patched: int
    difference: int
    bound: int


def parse(path: Path) -> dict[str, int]:
    """Instructions of each call: the least of a boot, which no timer interrupt is part of."""
    found: dict[str, int] = {}
    announced = None
    ended = False
    for line in path.read_text(errors="replace").splitlines():
        line = line.strip()
        if line.startswith("count failed"):
            raise CountError(f"{path}: {line}")
        if match := _BEGIN.fullmatch(line):
            announced = int(match[1])
        elif match := _CASE.fullmatch(line):
            found[match[1]] = int(match[3])
        ended = ended or line == "count end"
    if announced is None or not ended or len(found) != announced:
        raise CountError(f"{path}: {len(found)} results of {announced or 'an unknown number'}"
                         f"{'' if ended else ', and no end'}; the guest died or did not start")
    return found


def compare(base: list[Path], patched: list[Path]) -> list[Row]:
    """The n-th boots of both kernels must have had the same parameters."""
    if len(base) != len(patched) or len(base) < 3:
        raise CountError("three boots of base and as many of the patched kernel are the least")
    ours, theirs = [parse(p) for p in base], [parse(p) for p in patched]
    if len({tuple(boot) for boot in ours + theirs}) != 1:
        raise CountError("boots did not count the same calls")
    rows = []
    for call in ours[0]:
        before, after = ([boot[call] for boot in boots] for boots in (ours, theirs))
        middle = statistics.median_low(before), statistics.median_low(after)
        rows.append(Row(call, *middle, abs(middle[1] - middle[0]), max(before) - min(before)))
    return rows


def result(base: list[Path], patched: list[Path]) -> dict[str, object]:
    """The comparison as JSON knows it."""
    return {"boots": len(base), "rows": [asdict(row) for row in compare(base, patched)]}
