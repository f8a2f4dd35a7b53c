# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""recovery_plot.py: the plot has what the table has, and no table is no plot."""

from __future__ import annotations

import unittest
import xml.etree.ElementTree as ElementTree

import recovery_plot

TABLE = """link: 100.0 Mbit/s, 50 ms round trip <&>
undisturbed: 95.0 Mbit/s, 95 % of the link
stock: pause 200 ms
table: rtt undisturbed stock
table: -1 95.0 95.0
table: 1 95.0 0.0
table: 2 95.0 47.5
goal: stock: MISSED
"""
SVG = "{http://www.w3.org/2000/svg}"


class RecoveryPlot(unittest.TestCase):
    def drawn(self, table: str) -> ElementTree.Element:
        return ElementTree.fromstring("\n".join(recovery_plot.draw(*recovery_plot.read(table.splitlines()))))

    def test_each_curve_has_each_point(self) -> None:
        curves = self.drawn(TABLE).findall(f"{SVG}polyline")
        self.assertEqual(2, len(curves))
        for curve in curves:
            self.assertEqual(3, len(curve.get("points", "").split()))

    def test_less_goodput_is_further_down(self) -> None:
        stock = self.drawn(TABLE).findall(f"{SVG}polyline")[1].get("points", "").split()
        before, first, second = (float(point.split(",")[1]) for point in stock)
        self.assertGreater(first, second)
        self.assertGreater(second, before)
        self.assertAlmostEqual((first + before) / 2, second, delta=0.2)

    def test_names_and_title_are_there(self) -> None:
        texts = [text.text for text in self.drawn(TABLE).findall(f"{SVG}text")]
        for text in ("undisturbed", "stock", "100.0 Mbit/s, 50 ms round trip <&>", "-1", "2"):
            self.assertIn(text, texts)

    def test_what_is_no_table_is_refused(self) -> None:
        tables = {
            "nothing": "",
            "no goodput to compare with": TABLE.replace("undisturbed: ", "other: "),
            "no points": "\n".join(TABLE.splitlines()[:4]),
            "a row that is too short": TABLE.replace("table: 2 95.0 47.5", "table: 2 95.0"),
            "more curves than lines": TABLE.replace("stock\n", "a b c d e f\n").replace("table: 2", "rest: 2"),
            "no number": TABLE.replace("47.5", "much"),
        }
        for why, table in tables.items():
            with self.subTest(why), self.assertRaises(ValueError):
                recovery_plot.read(table.splitlines())
