#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""Reads KTAP and judges it.

    ktap.py KTAP [VERDICT]      prints what failed and the counts; exit 1 if anything did

KTAP is the guest's channel org.sockrepair.ktap: one top-level result per suite, the suite's own
KTAP nested in it. VERDICT is the line from org.sockrepair.verdict. Whatever is planned starts as
CRASHED and stays so until its own result line says otherwise.
"""

from __future__ import annotations

import enum
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

VERSION = re.compile(r"(?:KTAP version 1|TAP version 1[34])$")
PLAN = re.compile(r"1\.\.(\d+)(?:\s*#\s*SKIP\b\s*(.*))?$", re.I)
RESULT = re.compile(r"(not )?ok (\d+)(?:\s+-)?(?:\s+(.*))?$")
DIRECTIVE = re.compile(r"(?:^|\s)#\s+(?:(SKIP|TODO|XFAIL|XPASS|TIMEOUT|ERROR)\b[: ]*)?(.*)$", re.I)
BEGIN = re.compile(r"# begin (\S+)")
# What kselftest_harness.h prints for a skip whose test gave no reason.
NO_REASON = ("", "unknown")


class Status(enum.Enum):
    PASS = "pass"
    FAIL = "fail"
    SKIP = "skip"
    CRASHED = "crashed"


@dataclass
class Node:
    """A test, or a group of tests when `plan` or `children` say so."""

    name: str
    status: Status = Status.CRASHED
    reason: str = ""
    ok: bool = False  # as printed, whatever the directive
    log: list[str] = field(default_factory=list)
    plan: int | None = None
    children: list[Node] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    is_group: bool = False


@dataclass
class Outcome:
    """What is counted: a test case, or something wrong with the run itself."""

    suite: str
    name: str
    status: Status
    reason: str = ""
    log: list[str] = field(default_factory=list)
    is_case: bool = True

    def failed(self) -> bool:
        return self.status in (Status.FAIL, Status.CRASHED)


def _set_status(node: Node, ok: bool, directive: str, reason: str) -> None:
    node.ok = ok
    node.status = Status.PASS if ok else Status.FAIL
    node.reason = reason
    if directive in ("SKIP", "XFAIL"):
        node.status = Status.SKIP
        node.reason = reason if directive == "SKIP" else f"expected to fail: {reason}"
        if reason.strip().lower() in NO_REASON:
            node.status, node.reason = Status.FAIL, f"{directive} without a reason"
    elif directive:
        node.status = Status.FAIL
        node.reason = f"{directive} {reason}".strip()


class _Reader:
    def __init__(self) -> None:
        self.root = Node("guest", is_group=True)
        self.open: list[Node] = []  # the group that is open at each level of indentation
        self.pending: list[str] = []
        self.running = ""

    def line(self, text: str) -> None:
        body = text.lstrip(" ")
        level, odd = divmod(len(text) - len(body), 2)
        if not odd and VERSION.match(body) and level <= len(self.open):
            self.version(level)
        elif not odd and level < len(self.open) and (m := PLAN.match(body)):
            self.plan(level, int(m[1]), m[2])
        elif not odd and level < len(self.open) and (m := RESULT.match(body)):
            self.result(level, not m[1], int(m[2]), m[3] or "")
        elif body.startswith("Bail out!"):
            (self.open[-1] if self.open else self.root).problems.append(body)
        else:
            if level == 0 and (m := BEGIN.match(body)):
                self.running = m[1]
            self.pending.append(text.strip())

    def version(self, level: int) -> None:
        if level < len(self.open):
            self.open[level].problems.append("a second version line")
        elif level == 0:
            self.open.append(self.root)
        else:
            self.open.append(Node(self.running or f"level {level}", is_group=True))
            self.pending = []

    def plan(self, level: int, count: int, skip: str | None) -> None:
        group = self.open[level]
        if group.plan is not None:
            group.problems.append("a second plan")
        elif group.children:
            group.problems.append("the plan comes after the first result")
        elif count == 0 and (skip or "").strip().lower() in NO_REASON:
            group.problems.append("the plan is empty: no test ran")
        elif count == 0:
            group.reason = skip or ""
        group.plan = count

    def result(self, level: int, ok: bool, number: int, rest: str) -> None:
        self.close(level + 2)
        parent = self.open[level]
        node = self.open.pop() if len(self.open) > level + 1 else Node("")
        m = DIRECTIVE.search(rest)
        node.name = rest[: m.start()].strip() if m else rest.strip()
        directive, reason = ((m[1] or "").upper(), m[2].strip()) if m else ("", "")
        if node.plan == 0 and node.reason and ok and not directive:
            directive, reason = "SKIP", node.reason
        _set_status(node, ok, directive, reason)
        node.log += self.pending
        self.pending = []
        want = len(parent.children) + 1
        if number != want:
            kind = "is there twice" if number < want else "is out of order"
            parent.problems.append(f"number {number} ({node.name}) {kind}: {want} was due")
        parent.children.append(node)
        self.running = "" if level == 0 else self.running

    def close(self, level: int) -> None:
        """Ends groups at `level` and deeper that have had no result line of their own."""
        while len(self.open) > max(level, 1):
            group = self.open.pop()
            group.log += self.pending[-10:]
            self.pending = []
            self.open[-1].children.append(group)

    def finish(self) -> Node:
        if self.running and len(self.open) == 1:
            self.open.append(Node(self.running, is_group=True))
        self.close(1)
        _finish(self.root)
        if not self.open:
            self.root.problems = ["no KTAP version line"]
        self.root.status = Status.PASS
        return self.root


def _finish(group: Node) -> None:
    seen = len(group.children)
    if group.plan is None:
        if group.status is not Status.SKIP:
            group.problems.append("no plan")
    elif seen > group.plan:
        group.problems.append(f"{seen} results, {group.plan} planned")
    else:
        for number in range(seen + 1, group.plan + 1):
            group.children.append(Node(
                f"#{number}", reason=f"short count: {seen} results, {group.plan} planned"))
    for child in group.children:
        if child.is_group:
            _finish(child)


def read(text: str) -> Node:
    """The tree of results in `text`."""
    reader = _Reader()
    for line in text.splitlines():
        reader.line(line.rstrip("\r"))
    return reader.finish()


def _judge_suite(suite: Node) -> list[Outcome]:
    outcomes: list[Outcome] = []
    not_ok: list[str] = []

    def wrong(reason: str, log: list[str]) -> None:
        outcomes.append(Outcome(suite.name, suite.name, Status.FAIL, reason, log, is_case=False))

    def walk(node: Node, prefix: str) -> None:
        for child in node.children:
            if child.is_group and child.children:
                walk(child, f"{prefix}{child.name}/")
            else:
                outcomes.append(
                    Outcome(suite.name, prefix + child.name, child.status, child.reason, child.log))
                if child.status is Status.FAIL and not child.ok:
                    not_ok.append(child.name)
            for problem in child.problems:
                wrong(f"{prefix}{child.name}: {problem}", [])

    walk(suite, "")
    for problem in suite.problems:
        wrong(problem, suite.log[-10:])
    bad = sum(o.failed() for o in outcomes)
    if suite.status is Status.CRASHED:
        last = next((c.name for c in reversed(suite.children)
                     if c.status is not Status.CRASHED), "")
        after = f"after {last}" if last else "before its first result"
        wrong(f"the guest was lost in this suite, {after}", suite.log[-10:])
    elif suite.status is Status.SKIP and not suite.children:
        outcomes.append(Outcome(suite.name, suite.name, Status.SKIP, suite.reason, suite.log))
    elif suite.status is Status.PASS and not_ok:
        wrong(f"reported ok, but {len(not_ok)} of its results are not", [])
    elif suite.status is Status.PASS and not suite.is_group:
        wrong("reported ok, but printed no KTAP", suite.log[-10:])
    elif suite.status is Status.FAIL and (not bad or suite.reason):
        wrong(suite.reason or "reported not ok, but none of its tests failed", suite.log[-10:])
    return outcomes


def judge(root: Node, expected: list[str] | None = None) -> list[Outcome]:
    """Everything that counts in `root`; `expected` are the suites that must be there."""
    outcomes = [Outcome("guest", "guest", Status.FAIL, p, root.log[-10:], is_case=False)
                for p in root.problems]
    for suite in root.children:
        if suite.name.startswith("#") and suite.status is Status.CRASHED:
            continue  # a planned suite that never began: counted below, by its name if that is known
        outcomes += _judge_suite(suite)
    seen = [s.name for s in root.children]
    absent = [n for n in expected or [] if n not in seen]
    absent = absent or [n for n in seen if n.startswith("#")]
    outcomes += [Outcome(n, n, Status.CRASHED, "the suite never ran", is_case=False)
                 for n in absent]
    if not root.problems and not any(o.is_case for o in outcomes):
        outcomes.append(Outcome("guest", "guest", Status.FAIL, "no test ran", is_case=False))
    return outcomes


def check_verdict(verdict: str, root: Node, size: int) -> str:
    """What is wrong with the verdict line, or nothing.

    The line is `done suites=N ok=N not_ok=N bytes=N`; bytes is what the guest wrote to the KTAP
    channel, and `size` what arrived.
    """
    if not verdict.strip():
        return "the guest ended without a verdict"
    said = dict(re.findall(r"(\w+)=(\d+)", verdict))
    suites = [s for s in root.children if s.status is not Status.CRASHED]
    ok = sum(s.ok for s in suites)
    have = {"suites": len(suites), "ok": ok, "not_ok": len(suites) - ok, "bytes": size}
    if not verdict.startswith("done ") or said.keys() != have.keys():
        return f"not a verdict: {verdict.strip()}"
    for name, value in have.items():
        if int(said[name]) != value:
            return f"the verdict says {name}={said[name]}, the results say {value}"
    return ""


def counts(outcomes: list[Outcome]) -> tuple[int, int, int]:
    """Passed, failed, skipped."""
    return (sum(o.status is Status.PASS for o in outcomes),
            sum(o.failed() for o in outcomes),
            sum(o.status is Status.SKIP for o in outcomes))


def main(argv: list[str]) -> int:
    if len(argv) not in (2, 3) or argv[1] in ("-h", "--help"):
        print(__doc__)
        return 0 if argv[1:] in (["-h"], ["--help"]) else 2
    text = Path(argv[1]).read_text(errors="replace")
    root = read(text)
    outcomes = judge(root)
    if len(argv) == 3:
        size = Path(argv[1]).stat().st_size
        if problem := check_verdict(Path(argv[2]).read_text(errors="replace"), root, size):
            outcomes.append(Outcome("guest", "guest", Status.FAIL, problem, is_case=False))
    for o in outcomes:
        if o.status is not Status.PASS:
            print(f"{o.status.value}: {o.suite}: {o.name}" + (f": {o.reason}" if o.reason else ""))
            for line in o.log if o.failed() else []:
                print(f"    {line}")
    passed, failed, skipped = counts(outcomes)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
