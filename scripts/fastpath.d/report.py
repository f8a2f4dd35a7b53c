# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""The verdict, and the tables of a cover letter: plain text of at most 72 columns."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WIDTH = 72


class AllowError(Exception):
    """allowed.txt has a line that means nothing."""


@dataclass(frozen=True)
class Allowed:
    """What may change, with the reason: ("code", function) or ("layout", struct, member, kind)."""

    what: tuple[str, ...]
    reason: str


def read_allowed(path: Path) -> list[Allowed]:
    """Lines of allowed.txt; a line without a reason is an error."""
    entries = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        size = {"code": 2, "layout": 4}.get(words[0], 0)
        if not size or len(words) <= size:
            raise AllowError(f"{path}:{number}: expected 'code FUNCTION reason' or "
                             "'layout STRUCT MEMBER KIND reason'")
        entries.append(Allowed(tuple(words[:size]), " ".join(words[size:])))
    return entries


def checks(results: dict[str, dict[str, Any]], counts: dict[str, Any] | None,
           allowed: list[Allowed]) -> dict[str, list[str]]:
    """Each check by name with the reasons why it fails; without one it passed.

    `results` are those of `main.py static`, by series.
    """
    used: set[tuple[str, ...]] = set()
    permitted = {a.what for a in allowed}
    found: dict[str, list[str]] = {}

    def unless_allowed(check: str, what: tuple[str, ...], text: str) -> None:
        used.add(what)
        if what not in permitted:
            found[check].append(text)

    for series, result in results.items():
        code, layouts, missing = (f"{series}: {check}" for check in
                                  ("machine code", "layouts", "functions found"))
        found |= {code: [], layouts: [], missing: []}
        for verdict in result["code"]["functions"]:
            name = f"{verdict['function']} ({verdict['object']})"
            if verdict["status"] == "changed":
                unless_allowed(code, ("code", verdict["function"]),
                               f"{series}: {name} changed{_note(verdict)}")
            elif verdict["status"] == "missing":
                found[missing].append(f"{series}: {name} not found{_note(verdict)}")
        for change in result["layout"]["changes"]:
            what = ("layout", change["struct"], change["member"].replace(" ", "_"), change["kind"])
            group = f" (group {change['group']})" if change["group"] else ""
            unless_allowed(layouts, what, f"{series}: struct {change['struct']}: "
                           f"{change['member']} {change['kind']}, {change['detail']}{group}")
        if result["sizes"]["has_off"]:
            found[f"{series}: option off"] = [
                f"{series}: option off differs from base in {name}: {'; '.join(differences)}"
                for name, differences in result["sizes"]["off_differs"].items()]
    if counts:
        found["instruction counts"] = [
            f"{row['call']}: {row['difference']} instructions apart, bound {row['bound']}"
            for row in counts["rows"] if row["difference"] > row["bound"]]
    found["allowed changes"] = [f"allowed.txt: nothing matches '{' '.join(a.what)}'"
                                for a in allowed if a.what not in used]
    return found


def _note(verdict: dict[str, Any]) -> str:
    return f": {verdict['note']}" if verdict["note"] else ""


def _wrap(text: str, indent: str = "  ") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ",
                         break_on_hyphens=False)


def _row(label: str, *columns: object, width: int = 10) -> str:
    tail = "".join(f"{column:>{width}}" for column in columns)
    return f"{label:<{WIDTH - len(tail)}}{tail}"


def _code(code: dict[str, Any]) -> list[str]:
    lines = [_row("Machine code", "compared", "changed", "not found")]
    subsystems: dict[str, list[int]] = {}
    for verdict in code["functions"]:
        numbers = subsystems.setdefault(verdict["subsystem"], [0, 0, 0])
        numbers[0] += verdict["status"] != "missing"
        numbers[1] += verdict["status"] == "changed"
        numbers[2] += verdict["status"] == "missing"
    lines += [_row(f"  {name}", *numbers) for name, numbers in subsystems.items()]
    lines.append(_row("  all", code["compared"], len(code["changed"]), len(code["missing"])))
    inlined = sum(v["parts"][:1] != [] and v["parts"][0].startswith("in ")
                  for v in code["functions"])
    lines += _wrap(f"Of these {inlined} are inlined and compared as part of their caller.")
    others = sorted(name.rsplit(" ", 1)[-1] for name in code["other_changed"])
    lines += _wrap("Changed off the data path: " + (", ".join(others) or "nothing") + ".")
    return lines


def _layout(layout: dict[str, Any]) -> list[str]:
    changed = {c["struct"] for c in layout["changes"]}
    lines = [_row("Structure layout", "base", "patched", "changes")]
    for struct in ("sk_buff", "sock", "inet_sock", "udp_sock", "tcp_sock", "proto"):
        if struct in layout["sizes"]:
            old, new = layout["sizes"][struct]
            count = sum(c["struct"] == struct for c in layout["changes"])
            lines.append(_row(f"  {struct}, bytes", old, new, count))
    lines.append(_row(f"  all {layout['compared']} structures, changed", "", "", len(changed)))
    groups = sum(layout["groups"].values())
    lines += _wrap(f"{groups} cacheline groups compared member by member, "
                   f"{layout['groups'].get('tcp_sock', 0)} of them in tcp_sock.")
    for change in layout["changes"]:
        lines += _wrap(f"{change['struct']}: {change['member']} {change['kind']}, "
                       f"{change['detail']}")
    return lines


def _sizes(sizes: dict[str, Any]) -> list[str]:
    labels = list(sizes["totals"])
    lines = [_row("Object size, bytes", *labels)]
    for row in sizes["rows"]:
        for i, kind in enumerate(("text", "data", "bss")):
            numbers = [row[label][i] for label in labels]
            if len(set(numbers)) > 1:
                lines.append(_row(f"  {row['object']}, {kind}", *numbers))
    for i, kind in enumerate(("text", "data", "bss")):
        numbers = [sizes["totals"][label][i] for label in labels]
        lines.append(_row(f"  all {sizes['objects']} objects, {kind}", *numbers))
    if not sizes["has_off"]:
        return lines
    differs = sizes["off_differs"]
    moved = sizes["off_lines_moved"]
    off, base = ("Off", "base") if "off" in labels else (
        "With the options off, patched", "base with them off")
    text = (f"{off} differs from {base} in {', '.join(differs)}." if differs else
            f"{off} is {base} byte for byte, relocations included")
    if not differs:
        text += (f", but for line numbers of WARN() in {', '.join(moved)}." if moved else ".")
    return lines + _wrap(text)


def counted(counts: dict[str, Any] | None) -> str:
    """The table of instruction counts."""
    if not counts:
        return _text(_wrap("Instructions of a call: not counted in this run (make fastpath "
                           "counts them).", ""))
    lines = [_row("Instructions of a call", "base", "patched", "apart", "bound")]
    lines += [_row(f"  {r['call']}", r["base"], r["patched"], r["difference"], r["bound"])
              for r in counts["rows"]]
    lines += _wrap("patched has all patches of all series. "
                   "QEMU -icount shift=0: the guest's time stamp counter counts instructions. "
                   "Delivery on loopback is part of the sending call. Least of all repetitions, "
                   f"median of {counts['boots']} boots of each kernel; bound: how far apart "
                   "boots of base are.")
    return _text(lines)


def _text(*blocks: list[str]) -> str:
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def tables(result: dict[str, Any]) -> str:
    """Code, layouts and sizes of one series."""
    return _text(result["title"], _code(result["code"]), _layout(result["layout"]),
                 _sizes(result["sizes"]))


def verdict(found: dict[str, list[str]], allowed: list[Allowed]) -> str:
    """The last lines of a summary."""
    reasons = [reason for those in found.values() for reason in those]
    if not reasons and not allowed:
        return "Nothing on the data path changed.\n"
    if not reasons:
        lines = ["Nothing on the data path changed but what is meant to:"]
        for entry in allowed:
            lines += _wrap(f"{' '.join(entry.what[1:])}: {entry.reason}")
        return _text(lines)
    lines = [f"FAILED, {len(reasons)} reasons:" if len(reasons) > 1 else "FAILED:"]
    for reason in reasons:
        lines += _wrap(reason)
    return _text(lines)


def diffs(static: dict[str, Any]) -> str:
    """The diff of each changed function."""
    lines: list[str] = []
    for verdict in static["code"]["functions"]:
        if verdict["status"] == "changed":
            lines += [f"{verdict['object']}: {verdict['function']}{_note(verdict)}",
                      *verdict["diff"], ""]
    return "\n".join(lines)
