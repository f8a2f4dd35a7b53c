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
    """Code, layouts and sizes of a series, as JSON."""
    builds = [b for b in (args.base, args.patched, args.off, args.off_base) if b]
    objects = [o for o in objects_of(builds, args.places) if o not in args.without]
    entries = codediff.read_list(HERE / "functions.txt")
    structs = layout.read_structs(HERE / "structs.txt")
    if len(objects) < len({e.object for e in entries}):
        raise codediff.ListError(f"{len(objects)} objects built: fewer than the list names")
    result = {
        "title": args.title,
        "code": codediff.compare(args.base, args.patched, entries, objects),
        "layout": layout.compare(args.base, args.patched, structs),
        "sizes": sizes.compare(args.base, args.patched, args.off, objects, args.off_base),
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
    """Writes summary*.txt and functions-*.diff, prints all; the status is the verdict."""
    results = {path.stem: json.loads(path.read_text()) for path in args.static}
    counted = json.loads(args.counts.read_text()) if args.counts else None
    allowed = report.read_allowed(HERE / "allowed.txt")
    checks = report.checks(results, counted, allowed)
    tables = []
    for series, result in results.items():
        tables.append(report.tables(result))
        (args.output / f"functions-{series}.diff").write_text(report.diffs(result))
    tables.append(report.counted(counted))
    for series, table in zip(results, tables):
        (args.output / f"summary-{series}.txt").write_text(f"{table}\n{tables[-1]}")
    text = "\n".join([*tables, report.verdict(checks, allowed)])
    (args.output / "summary.txt").write_text(text)
    failed = sum(map(bool, checks.values()))
    args.tally.write_text(f"{len(checks) - failed + args.passed} passed, {failed} failed, "
                          "0 skipped\n")
    print(text, end="")
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("static", help=static.__doc__)
    verb.add_argument("--base", type=Path, required=True)
    verb.add_argument("--patched", type=Path, required=True)
    verb.add_argument("--off", type=Path, help="patched, with the options of the series off")
    verb.add_argument("--off-base", type=Path,
                      help="base, with options that it has already off (default: base)")
    verb.add_argument("--title", action="append", required=True)
    verb.add_argument("--output", type=Path, required=True)
    verb.add_argument("--without", action="append", default=[], metavar="OBJECT",
                      help="no part of the series: an object of its tests")
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
    verb.add_argument("--static", type=Path, action="append", required=True,
                      help="SERIES.json, in the order of the series")
    verb.add_argument("--counts", type=Path)
    verb.add_argument("--output", type=Path, required=True, help="directory")
    verb.add_argument("--tally", type=Path, required=True)
    verb.add_argument("--passed", type=int, default=0, help="checks that passed elsewhere")
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
