# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""Whole runs of a guest, captured, and what scripts/report must say of each.

golden/NAME.txt begins with comments that are the expectation:

    # counts: 1 passed, 2 failed, 0 skipped
    # want: TEXT          the report holds TEXT
    # not: TEXT           the report does not
    # expect: SUITE...    the suites that should have run

and goes on with the files of the run, each after a line `--- FILE`. In the verdict, bytes=@ stands
for what the KTAP log holds.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import types
import unittest
from pathlib import Path

import ktap

HERE = Path(__file__).resolve().parent


def load_report() -> types.ModuleType:
    path = HERE.parent / "report"
    loader = importlib.machinery.SourceFileLoader("report", str(path))
    spec = importlib.util.spec_from_loader("report", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules["report"] = module
    loader.exec_module(module)
    return module


report = load_report()


class Golden:
    def __init__(self, path: Path) -> None:
        self.files: dict[str, str] = {}
        self.want: list[str] = []
        self.unwanted: list[str] = []
        self.counts = ""
        self.expect: list[str] = []
        name = ""
        for line in path.read_text().splitlines(keepends=True):
            if line.startswith("--- "):
                name = line.split()[1]
                self.files[name] = ""
            elif name:
                self.files[name] += line
            elif line.startswith("# want: "):
                self.want.append(line[8:].rstrip("\n"))
            elif line.startswith("# not: "):
                self.unwanted.append(line[7:].rstrip("\n"))
            elif line.startswith("# counts: "):
                self.counts = line[10:].strip()
            elif line.startswith("# expect: "):
                self.expect = line[10:].split()

    def run(self):
        info = dict(line.split("=", 1) for line in
                    self.files.get("guest.info", "ended=exit\nwhere=\nstatus=0\n").splitlines())
        log = self.files.get("ktap.log", "")
        verdict = self.files.get("verdict", "").replace("bytes=@", f"bytes={len(log.encode())}")
        return report.Run("plain", "plain", info, log, verdict, self.files.get("console.log", ""),
                          self.files.get("qemu.log", ""), self.expect)


class GoldenTest(unittest.TestCase):
    def test_a_suite_whose_cases_have_no_names_is_run_again_as_a_whole(self) -> None:
        run = report.Run("debug", "debug", {}, "", "", "", "", [], whole={"kunit"})
        for suite, want in (("kunit", "make test T=kunit FLAVOUR=debug"),
                            ("udp", "make test T=a.b.c FLAVOUR=debug")):
            outcome = ktap.Outcome(suite, "a.b.c", ktap.Status.FAIL)
            self.assertEqual(want, report.again(outcome, run, [outcome]))


    def test_a_suite_that_was_run_in_part_says_so(self) -> None:
        run = report.Run("plain", "plain", {}, "", "", "", "", [], shares={"udp": "4"})
        outcomes = [ktap.Outcome(suite, "a.b.c", ktap.Status.PASS) for suite in ("udp", "tcp")]
        lines = [line.split(maxsplit=1) for line in report.text_report(run, outcomes)[1:]]
        self.assertEqual([["udp", "1 passed (1 case in 4)"], ["tcp", "1 passed"]], lines)


def add(path: Path) -> None:
    def test(self: unittest.TestCase) -> None:
        golden = Golden(path)
        run = golden.run()
        outcomes, _ = report.judge(run)
        text = "\n".join(report.text_report(run, outcomes))
        self.assertTrue(golden.counts, "the golden log has no '# counts:'")
        self.assertEqual(golden.counts,
                         "{} passed, {} failed, {} skipped".format(*ktap.counts(outcomes)), text)
        for want in golden.want:
            self.assertIn(want, text)
        for unwanted in golden.unwanted:
            self.assertNotIn(unwanted, text)

    setattr(GoldenTest, f"test_{path.stem}", test)


for golden_path in sorted((HERE / "golden").glob("*.txt")):
    add(golden_path)
