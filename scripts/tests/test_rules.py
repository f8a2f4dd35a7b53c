# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""The table of TCP_REPAIR's rules is one: that of the kernel's documentation, and those that the
tests are made from, say the same.

The table is the comment "DOC: rules" of net/ipv4/tcp_repair.c, as the series leaves it.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "net/ipv4/tcp_repair.c"
KUNIT = "net/ipv4/tcp_repair_test.c"
Row = tuple[str, str, str]

# Rules that are no range of one value, and where they are tested.
ELSEWHERE = {
    "option list": ("userspace/tests/tcp_witness/moments_test.cc",
                    ["unknown_last", "twice", "no_option", "trailing_bytes"]),
    "TCP_QUEUE_SEQ": ("userspace/tests/tcp_witness/moments_test.cc",
                      ["snd_seq", "rcv_seq", "seq_of_no_queue"]),
    "TCP_TIMESTAMP": ("userspace/tests/tcp_witness/moments_test.cc",
                      ["timestamp", "timestamp_usec"]),
}
# What the selftest calls the values.
VARIANTS = {"SACK_PERM": "sack", "TIMESTAMP": "timestamps", "MSS": "mss"}


def from_series(directory: Path, *files: str) -> dict[str, str]:
    """Files that the series makes, as its last patch leaves them."""
    for patch in sorted((ROOT / "kernel-patches/net").glob("*.patch")):
        if not any(f"+++ b/{name}" in patch.read_text() for name in files):
            continue
        subprocess.run(["git", "apply", *(f"--include={name}" for name in files), str(patch)],
                       cwd=directory, check=True, capture_output=True)
    return {name: (directory / name).read_text() for name in files}


def read_table(text: str) -> list[Row]:
    """The rows of the first simple table after DOC: rules: name, rule, error."""
    lines = [line.removeprefix(" *").removeprefix(" ")
             for line in text[text.index("DOC: rules"):].splitlines()]
    rulers = [i for i, line in enumerate(lines) if re.fullmatch(r"=+( =+)+", line)]
    columns = [(m.start(), m.end()) for m in re.finditer(r"=+", lines[rulers[0]])]
    rows: list[list[str]] = []
    for line in lines[rulers[1] + 1:rulers[2]]:
        cells = [line[start:end].strip() for start, end in columns[:3]]
        if cells[0]:
            rows.append(cells)
        else:
            rows[-1] = [f"{a} {b}".strip() for a, b in zip(rows[-1], cells)]
    return [(name, rule, error) for name, rule, error in rows]


class RulesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        with tempfile.TemporaryDirectory() as directory:
            files = from_series(Path(directory), SOURCE, KUNIT)
        cls.table = read_table(files[SOURCE])
        cls.kunit = files[KUNIT]

    def ranges(self) -> list[Row]:
        """Rules that a value by itself keeps or breaks."""
        return [row for row in self.table
                if row[0] not in ELSEWHERE and "once a window" not in row[1]]

    def test_the_table_is_read_whole(self) -> None:
        self.assertEqual(15, len(self.table), self.table)
        self.assertIn(("MSS", "88 to 65535", "EINVAL"), self.table)
        self.assertIn(("snd_wl1", "rcv_nxt - max(14) to rcv_nxt + rcv_wnd", "EINVAL"), self.table)

    def test_the_boundary_tests_are_made_from_the_same_rules(self) -> None:
        text = (ROOT / "userspace/tests/tcp_witness/rules.cc").read_text()
        rows = re.findall(r'^    \{"(\w+)", "([^"]+)", (E\w+),$', text, re.M)
        self.assertEqual(self.ranges(), rows)

    def test_scales_after_a_window_are_tested(self) -> None:
        late = [row for row in self.table if "once a window" in row[1]]
        self.assertEqual([("snd_wscale", "max_window <= max(s), once a window is known", "EINVAL"),
                          ("rcv_wscale", "rcv_wnd <= max(s), once a window is known", "EINVAL")],
                         late)
        self.assertIn("TcpLateScaleTest",
                      (ROOT / "userspace/tests/tcp_witness/bounds_test.cc").read_text())

    def test_the_other_rules_are_tested(self) -> None:
        self.assertEqual({row[0] for row in self.table} & ELSEWHERE.keys(), ELSEWHERE.keys())
        for name, (path, cases) in ELSEWHERE.items():
            text = (ROOT / path).read_text()
            for case in cases:
                self.assertRegex(text, rf'\{{"{case}",', name)

    def test_the_selftest_has_a_variant_for_each_rule(self) -> None:
        text = (ROOT / "selftests/net/tcp_repair_bounds.c").read_text()
        variants = re.findall(r"FIXTURE_VARIANT_ADD\(bounds, (\w+)\)", text)
        for name, _, _ in self.ranges():
            want = VARIANTS.get(name, name)
            self.assertTrue(any(v == want or v.startswith(f"{want}_") for v in variants), name)

    def test_the_kunit_suite_has_rows_for_each_rule(self) -> None:
        cases = re.findall(r'^\t\{ "(\w+)", TCPOPT_', self.kunit, re.M)
        cases += re.findall(r"\bROW\((\w+),", self.kunit)
        for name, _, _ in self.ranges():
            self.assertIn({"SACK_PERM": "sack"}.get(name, name).lower(), cases)
