# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""cases.py: names out of listings, and what a name on the command line stands for."""

from __future__ import annotations

import unittest

import cases

KSELFTEST = """\
# FIXTURE            VARIANT                   TEST
global                                         plain
                                               other
--------------------------------------------------------------------------------
s                    v4                        get
                     v6                        skipme
                     a_variant_with_a_name_of_35_letters \n\
--------------------------------------------------------------------------------
a_fixture_of_more_than_20                           one
"""

GTEST = """\
Running main() from file
FdTest.
  Closes
  Moves
All/ParseTest.
  IsRefused/empty  # GetParam() = 16-byte object <00-00>
Typed/0.  # TypeParam = int
  Works
"""

SUITES = {"udp_repair": ["plain", "debug"], "udp_repair_32": ["plain", "debug"],
          "udp_witness": ["plain"]}
CASES = [("udp_repair", "s.v4.get"), ("udp_repair_32", "s.v4.get"),
         ("udp_witness", "All/Cork.Equal/v4")]


class Listing(unittest.TestCase):
    def test_kselftest_columns_are_independent(self) -> None:
        self.assertEqual(
            ["global.plain", "global.other", "s.v4.get", "s.v4.skipme", "s.v6.get", "s.v6.skipme",
             "s.a_variant_with_a_name_of_35_letters.get",
             "s.a_variant_with_a_name_of_35_letters.skipme", "a_fixture_of_more_than_20.one"],
            cases.kselftest_names(KSELFTEST))

    def test_gtest(self) -> None:
        self.assertEqual(["FdTest.Closes", "FdTest.Moves", "All/ParseTest.IsRefused/empty",
                          "Typed/0.Works"], cases.gtest_names(GTEST))

    def test_suites(self) -> None:
        self.assertEqual({"a": ["plain", "debug"], "b": ["debug"]},
                         cases.read_suites("# name\n\na gtest plain,debug 60 /tests/a\n"
                                           "b ktap debug 5 /tests/b --x\n"))


class Guests(unittest.TestCase):
    DEALT = {"a": ["plain", "debug"], "b": ["debug.2"], "c": ["plain", "debug.*"], "d": ["debug.1"]}

    def suites_of(self, guest: str) -> list[str]:
        return [s for s, guests in self.DEALT.items() if cases.runs_in(guests, guest)]

    def test_all_are_named(self) -> None:
        self.assertEqual(["plain", "debug.1", "debug.2"], cases.all_guests(self.DEALT))

    def test_a_set_of_guests_of_its_own_is_none_of_them(self) -> None:
        suites = {**self.DEALT, "e": ["migrate"]}
        self.assertEqual(["plain", "debug.1", "debug.2"], cases.all_guests(suites))
        for guest in ("plain", "debug", "debug.1", "debug.2"):
            self.assertFalse(cases.runs_in(suites["e"], guest))

    def test_a_suite_without_a_number_is_for_the_first(self) -> None:
        self.assertEqual(["a", "c", "d"], self.suites_of("debug.1"))
        self.assertEqual(["b", "c"], self.suites_of("debug.2"))

    def test_a_flavour_has_all_its_suites(self) -> None:
        self.assertEqual(["a", "b", "c", "d"], self.suites_of("debug"))
        self.assertEqual(["a", "c"], self.suites_of("plain"))


class Quick(unittest.TestCase):
    TEXT = ("a gtest plain/4,debug 60 /tests/a\nb gtest plain.2/3,debug 60 /tests/b\n"
            "c kselftest plain/0,debug 60 /tests/c\nd ktap debug.2,plain 60 /tests/d\n")

    def test_a_share_is_told(self) -> None:
        self.assertEqual(["a/4", "d"], cases.quick_suites(self.TEXT, "plain.1"))
        self.assertEqual(["b/3"], cases.quick_suites(self.TEXT, "plain.2"))
        self.assertEqual(["a/4", "b/3", "d"], cases.quick_suites(self.TEXT, "plain"))

    def test_a_share_of_one_flavour_is_not_of_the_other(self) -> None:
        self.assertEqual(["a", "b", "c"], cases.quick_suites(self.TEXT, "debug.1"))

    def test_all_is_all(self) -> None:
        suites = cases.read_suites(self.TEXT)
        self.assertEqual({"a": ["plain", "debug"], "b": ["plain.2", "debug"],
                          "c": ["plain", "debug"], "d": ["debug.2", "plain"]}, suites)


class Find(unittest.TestCase):
    def test_case_of_two_suites_is_both(self) -> None:
        self.assertEqual(["udp_repair:s.v4.get", "udp_repair_32:s.v4.get"],
                         cases.find("s.v4.get", SUITES, CASES))

    def test_case_of_one_suite(self) -> None:
        self.assertEqual(["udp_repair_32:s.v4.get"],
                         cases.find("udp_repair_32:s.v4.get", SUITES, CASES))

    def test_suite(self) -> None:
        self.assertEqual(["udp_witness"], cases.find("udp_witness", SUITES, CASES))

    def test_a_case_of_a_fuzzer_is_named_by_its_arguments(self) -> None:
        for name in ("fuzz:seed=7.case=12", "fuzz:calls=5"):
            self.assertEqual([name], cases.find(name, SUITES, CASES, {"fuzz"}))
        for name in ("fuzz:", "fuzz:seed", "fuzz:seed=", "fuzz:seed=-1", "fuzz:seed=1.",
                     "fuzz:seed=1 case=2", "other:seed=7"):
            self.assertEqual([], cases.find(name, SUITES, CASES, {"fuzz"}))

    def test_fuzzers_are_the_suites_of_that_kind(self) -> None:
        self.assertEqual({"a"}, cases.read_fuzzers("a fuzz plain 60 /tests/a\n"
                                                   "# b fuzz plain 60 /tests/b\n"
                                                   "c ktap plain,debug 60 /tests/c\n"))

    def test_part_of_a_name_is_no_name(self) -> None:
        self.assertEqual([], cases.find("s.v4", SUITES, CASES))
        self.assertEqual(["s.v4.get"], cases.close_names("s.v4", SUITES, CASES))

    def test_misspelt(self) -> None:
        self.assertIn("All/Cork.Equal/v4", cases.close_names("All/Cork.Eqal/v4", SUITES, CASES))
        self.assertIn("udp_repair", cases.close_names("udp_repiar", SUITES, CASES))


if __name__ == "__main__":
    unittest.main()
