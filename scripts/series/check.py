# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""The command behind scripts/check-series; see its head."""

import argparse
import dataclasses
import hashlib
import json
import os
import sys
import time
from pathlib import Path

from series import generate, rules, seeds
from series.bench import (FAIL, HERE, NONE, PASS, SKIP, Bench, Broken, Check, Outcome,
                          file_digest, perform, read_series, remember, verdict)
from series.checks import CHECKS
from series.patchfile import Patch

MARKS = {PASS: "pass", FAIL: "FAIL", SKIP: "skip", NONE: "  - "}


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the result."""

    patch: str
    check: str
    outcome: Outcome
    seconds: float
    remembered: bool

    def line(self) -> str:
        took = "remembered" if self.remembered else f"{self.seconds:.1f} s"
        note = f"  {self.outcome.note}" if self.outcome.note else ""
        return f"{MARKS[self.outcome.status]}  {self.patch:<13} {self.check:<14} {took:>10}{note}"


def whole_series(bench: Bench, series: str) -> Outcome:
    """What concerns a series as a whole and no single patch."""
    patches = bench.series[series]
    file = bench.patches / series / "cover-letter.txt"
    cover = file.read_text(encoding="utf-8") if file.exists() else None
    known = rules.read_table(HERE / "commits.txt")
    return verdict(rules.series(patches, cover, known), f"{len(patches)} patches")


def sources(bench: Bench, again: bool) -> tuple[Outcome, bool]:
    """Whether selftests and documentation of all series equal their sources here."""
    key = hashlib.sha256("\0".join([
        bench.prefix(bench.order[-1]), generate.digest(bench),
        file_digest(HERE / "generate.py")]).encode()).hexdigest()
    return remember(bench, f"sources-{key}", again, lambda: verdict(generate.faults(bench)))


def rerun(row: Row, args: argparse.Namespace) -> str:
    series, _, number = row.patch.partition(" ")
    command = f"scripts/check-series --only {row.check}"
    if number:
        command += f" --series {series}"
    if number.isdigit():
        command += f" --patch {int(number)}"
    for option in ("patches", "tree", "base"):
        if getattr(args, option):
            command += f" --{option} {getattr(args, option)}"
    return command


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="check-series", description="Checks the series in kernel-patches/, patch by patch.")
    parser.add_argument("--fast", action="store_true", help="only what needs no build")
    parser.add_argument("--only", metavar="CHECK", action="append", help="only these checks")
    parser.add_argument("--series", metavar="NAME", action="append",
                        help="only this series of kernel-patches/series.txt")
    parser.add_argument("--patch", type=int, action="append", metavar="N",
                        help="only the Nth patch of a series")
    parser.add_argument("--again", action="store_true", help="remember nothing")
    parser.add_argument("--json", metavar="FILE", type=Path, help="results as JSON too")
    parser.add_argument("--list", action="store_true", help="the table of checks, and nothing else")
    parser.add_argument("--quiet", action="store_true", help="no lines for what passed")
    parser.add_argument("--patches", type=Path, metavar="DIR", help="instead of kernel-patches/")
    parser.add_argument("--tree", type=Path, metavar="DIR", help="instead of the cache's tree/")
    parser.add_argument("--base", default="", metavar="COMMIT",
                        help="what the series applies to, if it is not the tree's first commit")
    return parser.parse_args(argv)


def show(row: Row, quiet: bool) -> None:
    if not quiet or row.outcome.status in (FAIL, SKIP):
        print(row.line(), flush=True)


def run_checks(bench: Bench, args: argparse.Namespace, chosen: list[Check],
               sown: tuple[seeds.Seed, ...]) -> list[Row]:
    rows: list[Row] = []

    def one(check: Check, patch: Patch) -> None:
        start = time.monotonic()
        outcome, remembered = perform(check, bench, patch, args.again)
        rows.append(Row(patch.name, check.name, outcome, time.monotonic() - start, remembered))
        show(rows[-1], args.quiet)

    patches = [p for p in bench.order if (not args.series or p.series in args.series)
               and (not args.patch or p.number in args.patch)]
    for name in args.series or bench.series:
        if bench.series[name] and not args.patch and (not args.only or "series" in args.only):
            rows.append(Row(f"{name} all", "series", whole_series(bench, name), 0.0, False))
            show(rows[-1], args.quiet)
    if bench.order and not args.patch and (not args.only or "sources" in args.only):
        start = time.monotonic()
        outcome, remembered = sources(bench, args.again)
        rows.append(Row("all", "sources", outcome, time.monotonic() - start, remembered))
        show(rows[-1], args.quiet)
    # Quick checks go patch by patch; builds go by configuration, which they share.
    for patch in patches:
        for check in chosen:
            if check.fast:
                one(check, patch)
    for check in chosen:
        for patch in patches if not check.fast else ():
            one(check, patch)
    if bench.series[bench.last] and not args.series and not args.patch:
        rows += self_tests(bench, args, {c.name: c for c in chosen}, sown)
    return rows


def self_tests(bench: Bench, args: argparse.Namespace, chosen: dict[str, Check],
               sown: tuple[seeds.Seed, ...]) -> list[Row]:
    """Each check that ran also finds the faults that are there to be found."""
    whole: seeds.Whole = {"series": lambda b: whole_series(b, b.last),
                          "sources": lambda b: verdict(generate.faults(b))}
    rows = []
    for seed in sown:
        check = chosen.get(seed.check)
        if check is None and (seed.check not in whole or args.only
                              and seed.check not in args.only):
            continue
        start = time.monotonic()
        outcome, remembered = seeds.self_test(bench, seed, check, whole, args.again)
        rows.append(Row("self-test", seed.check, outcome, time.monotonic() - start, remembered))
        show(rows[-1], args.quiet)
    return rows


def main(argv: list[str], root: Path, sown: tuple[seeds.Seed, ...] = seeds.SEEDS) -> int:
    args = arguments(argv)
    names = {c.name: c for c in CHECKS}
    unknown = set(args.only or ()) - set(names) - {"series", "sources"}
    if unknown:
        print(f"check-series: no check {', '.join(sorted(unknown))}; there are: series, sources, "
              f"{', '.join(names)}", file=sys.stderr)
        return 2
    if args.list:
        print("series         fast  at most 15 patches, cover letter, no sign-off, tests apart, "
              "net fixes\n"
              "sources        fast  selftests and documentation equal their sources here")
        for check in CHECKS:
            print(f"{check.name:<14} {'fast' if check.fast else '':<5} {check.what}"
                  + (f"  [{', '.join(check.needs)}]" if check.needs else ""))
        return 0
    cache = Path(os.environ.get("SOCKREPAIR_CACHE") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sockrepair")
    chosen = [c for c in CHECKS if (c.name in args.only if args.only
                                    else c.fast or not args.fast)]
    try:
        strangers = set(args.series or ()) - set(known := read_series(
            args.patches or root / "kernel-patches"))
        if strangers:
            raise Broken(f"no series {', '.join(sorted(strangers))}; there are: {', '.join(known)}")
        with Bench(root, cache, args.patches or root / "kernel-patches",
                   args.tree or cache / "tree", args.base, min(2, os.cpu_count() or 1)) as bench:
            rows = run_checks(bench, args, chosen, sown)
    except (Broken, ValueError) as error:
        print(f"check-series: {error}", file=sys.stderr)
        return 2
    for row in rows:
        if row.outcome.status == FAIL:
            print(f"\n{row.patch}: {row.check}: {row.outcome.note}\n{row.outcome.text.rstrip()}\n"
                  f"again: {rerun(row, args)}")
    if args.json:
        args.json.write_text(json.dumps([dataclasses.asdict(r) for r in rows], indent=1) + "\n",
                             encoding="utf-8")
    count = {s: sum(r.outcome.status == s for r in rows) for s in (PASS, FAIL, SKIP)}
    if not rows:
        print("nothing was checked: " + ("all series are empty" if not bench.order
                                         else "there is no such patch"))
    print(f"{count[PASS]} passed, {count[FAIL]} failed, {count[SKIP]} skipped")
    return 1 if count[FAIL] else 2 if not rows and bench.order else 0
