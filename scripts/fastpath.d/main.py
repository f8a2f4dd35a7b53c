#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""Compares builds of the kernel; scripts/fastpath makes the builds and calls this."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import codediff
import counts
import layout
import report
import sizes
from elf import ElfError

HERE = Path(__file__).parent


def objects_of(builds: list[Path], places: list[str]) -> list[str]:
    """Objects of any of the builds: one by name, or all that kbuild put into a directory.

    kbuild's archives are asked, not the directories: an object of a source that
    is gone stays where it was.
    """
    names: set[str] = set()
    for build in builds:
        for place in places:
            if place.endswith(".o"):
                names.add(place)
                continue
            archive = f"{place.rstrip('/')}/built-in.a"
            listed = subprocess.run(["ar", "t", archive], cwd=build, check=True, text=True,
                                    capture_output=True).stdout.split()
            names.update(listed)
    return sorted(names)


def static(args: argparse.Namespace) -> int:
    """Code, layouts and sizes of three builds, as JSON."""
    builds = [args.base, args.off, args.on]
    objects = objects_of(builds, args.places)
    entries = codediff.read_list(HERE / "functions.txt")
    structs = layout.read_structs(HERE / "structs.txt")
    if len(objects) < len({e.object for e in entries}):
        raise codediff.ListError(f"{len(objects)} objects built: fewer than the list names")
    result = {
        "code": codediff.compare(args.base, args.on, entries, objects),
        "layout": layout.compare(args.base, args.on, structs),
        "sizes": sizes.compare(args.base, args.off, args.on, objects),
    }
    args.output.write_text(json.dumps(result, indent=1))
    return 0


def seeded(args: argparse.Namespace) -> int:
    """Is exactly the function that a seeded patch changed reported, and nothing without it?"""
    entries = [e for e in codediff.read_list(HERE / "functions.txt") if e.object == args.object]
    for other, expected in ((args.control, []), (args.seeded, [args.expect])):
        found = codediff.compare(args.control, other, entries, [args.object])
        changed = [name for name in found["changed"]]
        if found["missing"] or changed != expected:
            print(f"{other}: changed {changed}, expected {expected}; not found {found['missing']}",
                  file=sys.stderr)
            return 1
        print(report.diffs({"code": found}), end="")
    return 0


def count(args: argparse.Namespace) -> int:
    """Consoles of the boots to JSON."""
    args.output.write_text(json.dumps(counts.result(args.base, args.patched), indent=1))
    return 0


def summarise(args: argparse.Namespace) -> int:
    """Prints the tables; the verdict is the exit status."""
    static_result = json.loads(args.static.read_text())
    counted = json.loads(args.counts.read_text()) if args.counts else None
    checks = report.checks(static_result, counted, report.read_allowed(HERE / "allowed.txt"))
    reasons = [reason for found in checks.values() for reason in found]
    failed = sum(map(bool, checks.values()))
    args.diffs.write_text(report.diffs(static_result))
    args.tally.write_text(f"{len(checks) - failed + args.passed} passed, {failed} failed, "
                          "0 skipped\n")
    print(report.summary(args.title, static_result, counted, reasons), end="")
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("static", help=static.__doc__)
    for build in ("base", "off", "on"):
        verb.add_argument(f"--{build}", type=Path, required=True)
    verb.add_argument("--output", type=Path, required=True)
    verb.add_argument("places", nargs="+")
    verb.set_defaults(run=static)
    verb = verbs.add_parser("seeded", help=seeded.__doc__)
    verb.add_argument("--control", type=Path, required=True)
    verb.add_argument("--seeded", type=Path, required=True)
    verb.add_argument("--object", required=True)
    verb.add_argument("--expect", required=True)
    verb.set_defaults(run=seeded)
    verb = verbs.add_parser("count", help=count.__doc__)
    verb.add_argument("--base", type=Path, action="append", required=True)
    verb.add_argument("--patched", type=Path, action="append", required=True)
    verb.add_argument("--output", type=Path, required=True)
    verb.set_defaults(run=count)
    verb = verbs.add_parser("summary", help=summarise.__doc__)
    verb.add_argument("--static", type=Path, required=True)
    verb.add_argument("--counts", type=Path)
    verb.add_argument("--diffs", type=Path, required=True)
    verb.add_argument("--tally", type=Path, required=True)
    verb.add_argument("--passed", type=int, default=0, help="checks that passed elsewhere")
    verb.add_argument("--title", action="append", required=True)
    verb.set_defaults(run=summarise)
    args = parser.parse_args()
    try:
        return int(args.run(args))
    except (codediff.ListError, layout.LayoutError, counts.CountError, report.AllowError,
            ElfError) as error:
        print(f"fastpath: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
