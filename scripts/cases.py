#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""The names of test cases.

    cases.py list SUITE KIND PROGRAM           what PROGRAM can run, as lines of cases.txt
    cases.py find NAME FLAVOUR SUITES CASES    what NAME stands for, as SUITE:CASE or SUITE lines
    cases.py suites GUEST SUITES [--quick]     the suites that GUEST runs, one a line; quick: what of
                                               them `make run` takes, SUITE/N for one case in N
    cases.py guests SUITES                     the guests that run all suites, one a line

NAME is a case (fixture.variant.test, Suite.Test/Param), a suite of suites.txt, or SUITE:CASE. A
case that several suites have (64-bit and 32-bit) stands for all of them. A case of a fuzzer is named
by its arguments, SUITE:seed=7.case=12. If nothing has the name, the closest ones are listed and the
exit status is 1.
"""

from __future__ import annotations

import difflib
import re
import subprocess
import sys
from pathlib import Path

# The columns of kselftest_harness.h's list: fixture, variant, test; a longer name moves the next.
FIXTURE_WIDTH, VARIANT_WIDTH = 20, 25
# What column GUESTS says of suites that make a set of guests of their own, and what runs that.
SETS = {"migrate": "make migrate"}
ARGUMENTS = re.compile(r"[a-z]+=\d+(\.[a-z]+=\d+)*")


def kselftest_names(listing: str) -> list[str]:
    """Every fixture.variant.test of a `-l` listing, whose columns are independent lists."""
    names: list[str] = []
    fixture = ""
    variants: list[str] = []
    tests: list[str] = []

    def flush() -> None:
        for variant in variants or [""]:
            names.extend(".".join(p for p in (fixture, variant, test) if p) for test in tests)

    for line in listing.splitlines():
        if line.startswith(("#", "---")) or not line.strip():
            continue
        first = line.split(" ", 1)[0]
        if first:
            flush()
            fixture, variants, tests = first, [], []
        rest = line[max(FIXTURE_WIDTH, len(first)) + 1:]
        variant = rest.split(" ", 1)[0]
        test = rest[max(VARIANT_WIDTH, len(variant)) + 1:].strip()
        variants += [variant] if variant else []
        tests += [test] if test else []
    flush()
    return names


def gtest_names(listing: str) -> list[str]:
    """Every Suite.Test of a --gtest_list_tests listing."""
    names: list[str] = []
    suite = ""
    for line in listing.splitlines():
        text = line.split("#")[0].rstrip()
        if text.startswith("  "):
            names.append(suite + text.strip())
        elif text.endswith("."):
            suite = text
    return names


def list_cases(suite: str, kind: str, program: str) -> int:
    if kind in ("ktap", "fuzz"):
        return 0
    argument = "-l" if kind == "kselftest" else "--gtest_list_tests"
    done = subprocess.run([program, argument], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, check=False)
    # kselftest_harness.h lists on stderr, and says "skipped" (4).
    names = kselftest_names(done.stderr) if kind == "kselftest" else gtest_names(done.stdout)
    if not names:
        print(f"{program} {argument} names no test:\n{done.stdout}{done.stderr}", file=sys.stderr)
        return 1
    for name in names:
        print(suite, kind, name, sep="\t")
    return 0


def read_rows(text: str) -> list[list[str]]:
    rows = (line.split() for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [row for row in rows if row]


def read_suites(text: str) -> dict[str, list[str]]:
    """The suites of suites.txt and their column GUESTS without shares, in order."""
    return {row[0]: [one.partition("/")[0] for one in row[2].split(",")]
            for row in read_rows(text)}


def quick_suites(text: str, guest: str) -> list[str]:
    """What of suites.txt GUEST runs for `make run`: SUITE, or SUITE/N for one case in N."""
    chosen = []
    for row in read_rows(text):
        for one in row[2].split(","):
            its_guest, _, share = one.partition("/")
            if runs_in([its_guest], guest) and share != "0":
                chosen.append(f"{row[0]}/{share}" if share else row[0])
                break
    return chosen


def runs_in(guests: list[str], guest: str) -> bool:
    """Whether a suite with this column GUESTS runs in `guest`: FLAVOUR.N, or FLAVOUR for all."""
    flavour, _, number = guest.partition(".")
    for one in guests:
        its_flavour, _, its_number = one.partition(".")
        if its_flavour == flavour and (not number or its_number == "*"
                                       or (its_number or "1") == number):
            return True
    return False


def all_guests(suites: dict[str, list[str]]) -> list[str]:
    """The guests that together run every suite: FLAVOUR, or FLAVOUR.1, FLAVOUR.2, ..."""
    numbers: dict[str, set[str]] = {}
    for one in (guest for guests in suites.values() for guest in guests if guest not in SETS):
        flavour, _, number = one.partition(".")
        numbers.setdefault(flavour, {"1"}).update({number} - {"", "*"})
    return [flavour if len(its) == 1 else f"{flavour}.{number}"
            for flavour, its in numbers.items() for number in sorted(its)]


def read_fuzzers(text: str) -> set[str]:
    """The suites whose cases have no names but their arguments."""
    return {row[0] for row in read_rows(text) if row[1] == "fuzz"}


def read_whole(text: str) -> set[str]:
    """The suites of which no single case can be chosen by its name."""
    return {row[0] for row in read_rows(text) if row[1] in ("ktap", "fuzz")}


def find(name: str, suites: dict[str, list[str]], cases: list[tuple[str, str]],
         fuzzers: set[str] | None = None) -> list[str]:
    """`name` as SUITE or SUITE:CASE, in any flavour; empty if there is no such thing."""
    if name in suites:
        return [name]
    suite, _, case = name.partition(":")
    if suite in (fuzzers or ()) and ARGUMENTS.fullmatch(case):
        return [name]
    return [f"{s}:{c}" for s, c in cases if name in (c, f"{s}:{c}")]


def close_names(name: str, suites: dict[str, list[str]], cases: list[tuple[str, str]]) -> list[str]:
    """What the user may have meant: names that contain it, then names like it."""
    known = list(dict.fromkeys([*suites, *(c for _, c in cases)]))
    part = name.split(":")[-1].lower()
    inside = [k for k in known if part in k.lower()]
    return list(dict.fromkeys(inside[:12] + difflib.get_close_matches(part, known, 5, 0.5)))


def find_main(name: str, flavour: str, suites_file: str, cases_file: str) -> int:
    text = Path(suites_file).read_text()
    suites = read_suites(text)
    rows = (line.split("\t") for line in Path(cases_file).read_text().splitlines())
    cases = [(row[0], row[2]) for row in rows]
    found = find(name, suites, cases, read_fuzzers(text))
    if not found:
        print(f"no test, and no suite, is called {name}", file=sys.stderr)
        if near := close_names(name, suites, cases):
            print("close to it:", *near, sep="\n  ", file=sys.stderr)
        return 1
    here = [one for one in found if runs_in(suites[one.split(":")[0]], flavour)]
    if not here and (verb := SETS.get(suites[found[0].split(":")[0]][0])):
        print(f"{name} needs guests of its own; run: {verb}", file=sys.stderr)
        return 1
    if not here:
        print(f"{name} does not run in flavour {flavour}; try FLAVOUR="
              + suites[found[0].split(":")[0]][0].partition(".")[0], file=sys.stderr)
        return 1
    print(*here, sep="\n")
    return 0


def main(argv: list[str]) -> int:
    if len(argv) == 5 and argv[1] == "list":
        return list_cases(*argv[2:])
    if len(argv) == 6 and argv[1] == "find":
        return find_main(*argv[2:])
    if len(argv) == 4 and argv[1] == "suites":
        suites = read_suites(Path(argv[3]).read_text())
        print(*(s for s, guests in suites.items() if runs_in(guests, argv[2])), sep="\n")
        return 0
    if len(argv) == 5 and argv[1] == "suites" and argv[4] == "--quick":
        print(*quick_suites(Path(argv[3]).read_text(), argv[2]), sep="\n")
        return 0
    if len(argv) == 3 and argv[1] == "guests":
        print(*all_guests(read_suites(Path(argv[2]).read_text())), sep="\n")
        return 0
    print(__doc__)
    return 0 if argv[1:] in (["-h"], ["--help"]) else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))
