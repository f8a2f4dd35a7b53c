#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""Finds splats in a console log.

    splat.py CONSOLE [VMLINUX]      prints each splat, decoded if VMLINUX is given;
                                    exit 1 if there is one

A splat is a message of the kernel that no healthy run prints: a warning, a sanitizer's report, a
lock order, a leak, a panic. What counts is data: splat-patterns.txt, beside this file.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PATTERNS = Path(__file__).with_name("splat-patterns.txt")
# A kernel line: time stamp, on some kernels the caller, the text.
KERNEL_LINE = re.compile(r"\[\s*(\d+\.\d+)\](?:\[\s*[TC]\d+\])? (.*)")
ENTRY = re.compile(r"(splat|allow)\s+(\S.*?)\s+--\s+(\S.*)")
SUITE = re.compile(r"sockrepair: suite (\S+)")
# What differs between two reports of one bug.
VARYING = re.compile(r",? CPU#\d+.*|\b0x[0-9a-f]{8,}\b|\bpid \d+|\bfor \d+s\b|\[[^]]*:\d+\]")
SYMBOL = re.compile(r"([A-Za-z_][\w.]*)\+0x([0-9a-f]+)/0x([0-9a-f]+)")
END = re.compile(r"---\[ end ")
RULER = re.compile(r"={20,}$")
MAX_LINES = 120
# Lines of one report follow each other at the speed of the serial line; what comes later than
# this is another message.
MAX_GAP = 2.0


@dataclass
class Rule:
    regex: re.Pattern[str]
    reason: str


@dataclass
class Splat:
    title: str  # the line that matched
    reason: str
    suite: str  # the suite that was running, or ""
    lines: list[str]
    times: int = 1  # how often it came

    @property
    def is_panic(self) -> bool:
        return self.title.startswith("Kernel panic")


def load_rules(path: Path = PATTERNS) -> tuple[list[Rule], list[Rule]]:
    """The `splat` and the `allow` entries of a pattern file."""
    rules: dict[str, list[Rule]] = {"splat": [], "allow": []}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        entry = ENTRY.fullmatch(line.strip())
        if not entry:
            raise ValueError(f"{path.name}:{number}: want 'splat|allow REGEX -- REASON': {line}")
        try:
            rules[entry[1]].append(Rule(re.compile(entry[2]), entry[3]))
        except re.error as error:
            raise ValueError(f"{path.name}:{number}: {error}: {entry[2]}") from error
    return rules["splat"], rules["allow"]


def _rank(rules: list[Rule], text: str) -> int | None:
    return next((i for i, rule in enumerate(rules) if rule.regex.search(text)), None)


def find(text: str, rules: tuple[list[Rule], list[Rule]] | None = None) -> list[Splat]:
    """Every splat in a console log, in the order in which they came."""
    splats, allow = rules or load_rules()
    found: list[Splat] = []
    suite = ""
    rank = 0
    current: Splat | None = None
    last = 0.0
    for raw in text.splitlines():
        kernel = KERNEL_LINE.search(raw)
        if not kernel:
            continue
        time, line = float(kernel[1]), kernel[2].rstrip()
        if mark := SUITE.match(line):
            suite = mark[1]
        match = _rank(splats, line)
        if current and (time - last > MAX_GAP or len(current.lines) >= MAX_LINES):
            current = None
        if current and match is not None and any("</TASK>" in seen for seen in current.lines):
            current = None
        last = time
        if current is None:
            if match is None or any(rule.regex.search(line) for rule in allow):
                continue
            current = Splat(line, splats[match].reason, suite, [])
            rank = match
            found.append(current)
        elif match is not None and match < rank:
            rank, current.reason = match, splats[match].reason
        current.lines.append(line)
        if END.search(line) or (RULER.search(line) and len(current.lines) > 4):
            current = None
    return _fold(found)


def _fold(found: list[Splat]) -> list[Splat]:
    """`found` with each bug once: reports with the same title, and for leaks the same stack."""
    once: dict[str, Splat] = {}
    for one in found:
        key = VARYING.sub("", one.title)
        if key.startswith("kmemleak"):
            key += " ".join(m.group(0) for line in one.lines for m in SYMBOL.finditer(line))
        if key in once:
            once[key].times += 1
        else:
            once[key] = one
    return list(once.values())


@functools.lru_cache(maxsize=1)
def _symbols(vmlinux: Path) -> dict[str, list[tuple[int, int]]]:
    table: dict[str, list[tuple[int, int]]] = {}
    out = subprocess.run(["nm", "-S", str(vmlinux)], capture_output=True, text=True, check=True)
    for line in out.stdout.splitlines():
        field = line.split()
        if len(field) == 4 and field[2] in "tTwW":
            table.setdefault(field[3], []).append((int(field[0], 16), int(field[1], 16)))
    return table


def decode(lines: list[str], vmlinux: Path) -> list[str]:
    """`lines` with the source position behind each symbol+offset, innermost inlined call first."""
    wanted = {m.group(0): m for line in lines for m in SYMBOL.finditer(line)}
    if not wanted:
        return lines
    table = _symbols(vmlinux)
    addresses: dict[str, int] = {}
    for key, m in wanted.items():
        size = int(m[3], 16)
        places = table.get(m[1], [])
        exact = [a for a, s in places if s <= size < s + 64]
        if len(places) == 1 or exact:
            # The address in a trace is the one returned to: the call is before it.
            back = 0 if any(f"RIP: 0010:{key}" in line for line in lines) else 1
            addresses[key] = (exact or [places[0][0]])[0] + max(int(m[2], 16) - back, 0)
    out = subprocess.run(["addr2line", "-a", "-i", "-e", str(vmlinux)]
                         + [hex(a) for a in addresses.values()],
                         capture_output=True, text=True, check=True)
    places_of: dict[int, list[str]] = {}
    address = 0
    for line in out.stdout.splitlines():
        if line.startswith("0x"):
            address = int(line, 16)
            places_of[address] = []
        elif not line.startswith("?"):
            places_of[address].append(_short(line.split(" (")[0]))

    def position(m: re.Match[str]) -> str:
        places = places_of.get(addresses.get(m.group(0), 0), [])
        return f"{m.group(0)} ({' '.join(places)})" if places else m.group(0)

    return [SYMBOL.sub(position, line) for line in lines]


def _short(place: str) -> str:
    """A path inside the kernel tree, without the tree's own place: .../tree/net/ipv4/udp.c:12."""
    return os.path.normpath(place).split("/tree/", 1)[-1]


def main(argv: list[str]) -> int:
    if len(argv) not in (2, 3) or argv[1] in ("-h", "--help"):
        print(__doc__)
        return 0 if argv[1:] in (["-h"], ["--help"]) else 2
    splats = find(Path(argv[1]).read_text(errors="replace"))
    for splat in splats:
        print(splat.reason + (f" (in suite {splat.suite})" if splat.suite else "")
              + (f" ({splat.times} times)" if splat.times > 1 else ""))
        for line in decode(splat.lines, Path(argv[2])) if len(argv) == 3 else splat.lines:
            print(f"    {line}")
    print(f"{len(splats)} splats")
    return 1 if splats else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
