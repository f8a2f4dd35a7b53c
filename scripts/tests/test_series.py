#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""The checks of a series, its generator and its way through mail, on kernels of a few files."""

import dataclasses
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
from series import bench, builds, check, checks, generate, mail  # noqa: E402
from series import patchfile, rules, seeds, submit  # noqa: E402
from series.worktree import GIT_ENV, Broken, Worktree  # noqa: E402

HEAD = """From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: A Developer <dev@localhost>
Date: Sat, 21 Nov 2026 21:22:41 +0000
Subject: [PATCH net-next] {subject}

{body}
---
 {path} | 2 +-

diff --git a/{path} b/{path}
{mode}--- a/{path}
+++ b/{path}
@@ -1,3 +{start},4 @@
 one
-two
{lines}
 three
"""


def patch(subject: str = "udp: do a thing", body: str = "Why.", path: str = "net/ipv4/udp.c",
          lines: str = "+two", series: str = "net-next", new: bool = False,
          start: int = 1) -> patchfile.Patch:
    mode = "new file mode 100644\n" if new else ""
    return patchfile.parse(HEAD.format(subject=subject, body=body, path=path, lines=lines,
                                       mode=mode, start=start), Path("0001-x.patch"), series, 1)


def sh(folder: Path, *command: str, text: str | None = None) -> str:
    """Runs a command that has to work."""
    return subprocess.run(command, cwd=folder, input=text, check=True, text=True,
                          stdout=subprocess.PIPE, env={**os.environ, **GIT_ENV,
                                                       "GIT_AUTHOR_NAME": "A Developer",
                                                       "GIT_AUTHOR_EMAIL": "dev@localhost"}).stdout


class Parse(unittest.TestCase):
    def test_subject_is_unfolded_decoded_and_without_tag(self) -> None:
        one = patch("udp: a subject that\n is long")
        self.assertEqual(one.subject, "udp: a subject that is long")
        self.assertEqual(patch("=?UTF-8?q?udp:_Gr=C3=B6=C3=9Fe?=").subject, "udp: Größe")

    def test_added_lines_have_their_numbers(self) -> None:
        file = patch(lines="+two\n+and\n", start=7).file("net/ipv4/udp.c")
        self.assertEqual([(line.number, line.text) for line in file.added],
                         [(8, "two"), (9, "and")])

    def test_body_ends_at_the_dashes(self) -> None:
        self.assertEqual(patch(body="Why.\n\nFixes: x").body, "Why.\n\nFixes: x\n")

    def test_trailers_are_the_last_paragraph_only(self) -> None:
        self.assertEqual(patch(body="Why.\n\nLink: a\nFixes: b").trailers, ["Link: a", "Fixes: b"])
        self.assertEqual(patch(body="Fixes: b\n\nWhy.").trailers, [])

    def test_no_diff_is_an_error(self) -> None:
        with self.assertRaises(ValueError):
            patchfile.parse("Subject: x\n\nonly text\n", Path("x"), "net", 1)


class Subject(unittest.TestCase):
    table = [("net/ipv4/udp*", ["udp"]), ("tools/testing/selftests/net/*", ["selftests: net"])]

    def test_good(self) -> None:
        self.assertEqual(rules.subject(patch("udp: add it"), self.table), [])
        self.assertEqual(rules.subject(patch("udp: " + "x" * 70), self.table), [])

    def test_faults(self) -> None:
        for subject, said in (("udp: " + "x" * 71, "76 characters"), ("udp: add it.", "full stop"),
                              ("tcp: add it", "no known prefix"), ("add it", "no known prefix"),
                              ("selftests: net: add it", "no known prefix")):
            with self.subTest(subject):
                self.assertIn(said, "".join(rules.subject(patch(subject), self.table)))

    def test_the_table_of_the_project_reads(self) -> None:
        table = rules.read_table(bench.HERE / "subject-prefixes.txt")
        self.assertEqual(rules.subject(patch("udp: add it"), table), [])


class Fixes(unittest.TestCase):
    good = 'Fixes: 0123456789ab ("udp: break it")'

    def test_good(self) -> None:
        self.assertEqual(rules.fixes(patch(body=f"Why.\n\n{self.good}", series="net")), [])
        self.assertEqual(rules.fixes(patch()), [])

    def test_faults(self) -> None:
        for tag in ('Fixes: 0123456789a ("udp: break it")', 'Fixes: 0123456789abc ("udp: x")',
                    "Fixes: 0123456789ab udp: break it", 'fixes: 0123456789ab ("udp: x")',
                    'Fixes: 0123456789AB ("udp: x")', 'Fixes: 0123456789ab ("udp: break\nit")',
                    'Fixes: commit 0123456789ab ("udp: x")', ' Fixes: 0123456789ab ("udp: x")'):
            with self.subTest(tag):
                self.assertTrue(rules.fixes(patch(body=f"Why.\n\n{tag}")))

    def test_place(self) -> None:
        self.assertTrue(rules.fixes(patch(body=f"{self.good}\n\nWhy.")))


class Commits(unittest.TestCase):
    known = [("0123456789ab", ["udp: break it", "and more"])]

    def test_good(self) -> None:
        for text in ("Why.", 'Fixes: 0123456789ab ("udp: break it, and more")',
                     'since commit 0123456789ab ("udp: break\nit, and more") it', "deadbeef12",
                     "since commit 0123456789ab it"):
            self.assertEqual(rules.commits(text, self.known), [], text)

    def test_faults(self) -> None:
        for text, said in (('Fixes: 0123456789ac ("udp: break it, and more")', "not in commits"),
                           ('Fixes: 0123456789ab ("udp: break it")', "is (udp: break it, and"),
                           ('since commit 0123456789ab ("udp: x")', "is (udp: break it, and"),
                           ("since commit 0123456 it", "by 12 digits")):
            with self.subTest(text):
                self.assertIn(said, "".join(rules.commits(text, self.known)))

    def test_the_table_of_the_project_reads(self) -> None:
        for name, subject in rules.read_table(bench.HERE / "commits.txt"):
            self.assertRegex(name, "^[0-9a-f]{12}$")
            self.assertRegex(", ".join(subject), "^[a-z0-9/_-]+: .")


class Inline(unittest.TestCase):
    def test_words(self) -> None:
        for line in ("static inline int f(void)", "static __always_inline int f(void)",
                     "/* inline */"):
            self.assertTrue(rules.inline(patch(lines=f"+{line}")), line)
        for line in ("int inlined;", "asm_inline_not;"):
            self.assertEqual(rules.inline(patch(lines=f"+{line}")), [], line)

    def test_only_added_lines_of_c_files(self) -> None:
        self.assertEqual(rules.inline(patch(lines="-static inline int f(void)\n+two")), [])
        self.assertEqual(rules.inline(patch(path="net/x.h", lines="+static inline int f;")), [])


class Sorted(unittest.TestCase):
    def faults(self, name: str, text: str, *added: str) -> list[str]:
        lines = text.split("\n")
        file = patchfile.FilePatch(f"tools/testing/selftests/net/{name}", False, False, tuple(
            patchfile.Line(lines.index(a) + 1, a) for a in added))
        return rules.unsorted(file, text)

    def test_makefile(self) -> None:
        text = ("TEST_GEN_PROGS := \\\n\ttap \\\n\tudp_repair \\\n\tudpgso \\\n# end\n\n"
                "X := \\\n\ta \\\n")
        self.assertEqual(self.faults("Makefile", text, "\tudp_repair \\"), [])
        text = ("A := \\\n\tzoo \\\n# end\n"
                "TEST_GEN_PROGS := \\\n\ttap \\\n\tudpgso \\\n\tudp_repair \\\n")
        self.assertEqual(len(self.faults("Makefile", text, "\tudp_repair \\")), 1)
        self.assertEqual(self.faults("Makefile", text, "\ttap \\"), [])

    def test_makefile_wants_one_list(self) -> None:
        text = "TEST_GEN_PROGS += udp_repair\nLDLIBS += -lfoo\n"
        self.assertEqual(len(self.faults("Makefile", text, *text.split("\n")[:2])), 1)

    def test_config(self) -> None:
        text = "CONFIG_INET_DIAG=y\nCONFIG_INET_REPAIR=y\nCONFIG_IPV6=y\n"
        self.assertEqual(self.faults("config", text, "CONFIG_INET_REPAIR=y"), [])
        text = "CONFIG_IPV6=y\nCONFIG_INET_REPAIR=y\n"
        self.assertEqual(len(self.faults("config", text, "CONFIG_INET_REPAIR=y")), 1)

    def test_gitignore(self) -> None:
        self.assertEqual(self.faults(".gitignore", "tap\nudp_repair\nudpgso\n", "udp_repair"), [])
        self.assertEqual(len(self.faults(".gitignore", "zap\nudp_repair\nvrf\n", "udp_repair")), 1)

    def test_what_was_unsorted_before_is_not_our_fault(self) -> None:
        self.assertEqual(self.faults(".gitignore", "z\na\nb\nudp_repair\n", "udp_repair"), [])

    def test_new_tests_are_listed(self) -> None:
        file = patchfile.FilePatch("tools/testing/selftests/net/udp_repair.c", True, False, ())
        self.assertEqual(rules.unlisted(file, "A := \\\n\tudp_repair \\\n", "udp_repair\n"), [])
        self.assertEqual(len(rules.unlisted(file, "A := \\\n\tudp \\\n", "udp_repair_x\n")), 2)
        script = dataclasses.replace(file, path="tools/testing/selftests/net/a.sh")
        self.assertEqual(rules.unlisted(script, "A := \\\n\ta.sh \\\n", ""), [])


class WholeSeries(unittest.TestCase):
    known = [("0123456789ab", ["udp: break it"])]

    def faults(self, patches: list[patchfile.Patch], cover: str | None) -> list[str]:
        return rules.series(patches, cover, self.known)

    def test_faults(self) -> None:
        self.assertEqual(self.faults([patch(), patch()], "s"), [])
        self.assertIn("cover-letter", "".join(self.faults([patch(), patch()], None)))
        self.assertIn("16 patches", "".join(self.faults([patch()] * 16, "s")))
        self.assertIn("cover-letter.txt:2: 80", "".join(self.faults([patch()], "s\n" + "x" * 80)))
        self.assertEqual(self.faults([patch()], "s\n[1] https://" + "x" * 80), [])
        self.assertIn("feedfeedfeed is not in", "".join(self.faults(
            [patch()], "s\nsince commit feedfeedfeed")))
        signed = patch(body="Why.\n\nSigned-off-by: A Person <a@localhost>")
        self.assertIn("a person signs", "".join(self.faults([signed], "s")))
        self.assertIn("without one Fixes", "".join(self.faults([patch(series="net")], "s")))
        self.assertEqual(self.faults([patch(series="net"), patch(
            series="net", body=f"Why.\n\n{Fixes.good}")], "s"), [])
        mixed = dataclasses.replace(patch(), files=patch().files + patch(
            path="tools/testing/selftests/net/a.c").files)
        self.assertIn("in one patch", "".join(self.faults([mixed], "s")))


class Warnings(unittest.TestCase):
    text = """make[1]: Entering directory '/b'
  CC      net/ipv4/udp.o
/t/net/ipv4/udp.c:10:5: warning: unused variable 'a' [-Wunused-variable]
  393 | int a;
/t/net/ipv4/udp.c:11:5: warning: unused variable 'b' [-Wunused-variable]
  CHECK   net/ipv4/udp.c
/t/net/ipv4/udp.c:20:5: warning: context imbalance
  CC [M]  net/ipv4/foo.o
  AR      net/ipv4/built-in.a
/t/x.c:1:1: warning: of no step
"""

    def test_a_message_belongs_to_its_step(self) -> None:
        built, said = builds.parse(self.text)
        self.assertEqual(built, ["CC net/ipv4/udp.o", "CHECK net/ipv4/udp.c", "CC net/ipv4/foo.o"])
        self.assertEqual({k: len(v) for k, v in said.items()},
                         {"CC net/ipv4/udp.o": 2, "CHECK net/ipv4/udp.c": 1})

    def test_a_moved_warning_is_not_new_but_a_second_one_is(self) -> None:
        step = "CC net/ipv4/udp.o"
        old = {step: ["/t/net/ipv4/udp.c:10:5: warning: unused"]}
        moved = {step: ["/t/net/ipv4/udp.c:99:5: warning: unused"]}
        self.assertEqual(builds.new_warnings(old, moved, "CC"), [])
        second = {step: moved[step] + ["/t/net/ipv4/udp.c:120:5: warning: unused"]}
        self.assertEqual(len(builds.new_warnings(old, second, "CC")), 1)
        self.assertEqual(builds.new_warnings(old, second, "CHECK"), [])


class Variants(unittest.TestCase):
    """What is asked of a configuration, and what it depends on."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.snippets = self.folder / "snippets"
        self.snippets.mkdir()
        for number in builds.FRAGMENTS:
            (self.snippets / f"{number}-x.config").write_text(f"CONFIG_X{number}=y\n", "utf-8")
        sh(self.folder, "git", "init", "-q")
        sh(self.folder, "git", "commit", "-q", "--allow-empty", "-m", "base")
        work = Worktree(self.folder, self.folder / "work")
        self.builder = builds.Builder(work, self.folder / "b", self.snippets, self.folder, 1,
                                      {"NEW": "net/Kconfig", "INET_REPAIR": "net/Kconfig"})

    def test_the_last_line_for_a_symbol_counts(self) -> None:
        (self.snippets / "35-x.config").write_text("CONFIG_INET_REPAIR=y\n", "utf-8")
        for name, line in (("on", "CONFIG_INET_REPAIR=y"),
                           ("off", "# CONFIG_INET_REPAIR is not set")):
            wanted = self.builder.wanted(builds.VARIANTS[name])
            self.assertEqual(wanted["CONFIG_INET_REPAIR"], line)
            self.assertEqual("CONFIG_NEW" in wanted, name == "off")
            self.assertIn("CONFIG_X10", wanted)

    def test_a_changed_snippet_is_another_build(self) -> None:
        before = self.builder.digest()
        (self.snippets / "20-x.config").write_text("CONFIG_Y=y\n", "utf-8")
        self.assertNotEqual(self.builder.digest(), before)
        (self.snippets / "20-y.config").write_text("", "utf-8")
        with self.assertRaisesRegex(Broken, "2 files"):
            self.builder.digest()

    def test_a_symbol_of_the_series_may_be_missing_before_it(self) -> None:
        # pylint: disable=protected-access
        self.assertTrue(self.builder._defined("OTHER"))
        self.assertFalse(self.builder._defined("NEW"))
        (self.folder / "work/net").mkdir(parents=True)
        kconfig = self.folder / "work/net/Kconfig"
        for text, known in (("config NEWER\n", False), ("config NEW\n\tbool\n", True)):
            kconfig.write_text(text, "utf-8")
            self.assertEqual(self.builder._defined("NEW"), known)

    def test_symbols_of_a_series(self) -> None:
        lines = "+config NEW\n+\tbool\n+menuconfig MENU\n+# config NOT"
        self.assertEqual(patchfile.symbols([patch(path="net/ipv4/Kconfig", lines=lines)]),
                         {"NEW": "net/ipv4/Kconfig", "MENU": "net/ipv4/Kconfig"})
        self.assertEqual(patchfile.symbols([patch(lines=lines)]), {})


class Kernel(unittest.TestCase):
    """With a tree of a few files, a series of three patches, and a generated one at its end."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.cache, self.root = self.folder / "cache", self.folder / "root"
        self.tree, self.patches = self.cache / "tree", self.root / "kernel-patches"
        (self.tree / "net/ipv4").mkdir(parents=True)
        (self.patches / "net-next").mkdir(parents=True)
        (self.patches / "series.txt").write_text("# rows\nnet net\nnet-next  net-next\n", "utf-8")
        (self.root / "selftests/net").mkdir(parents=True)
        self.file("net/ipv4/udp.c", "".join(f"line {n}\n" for n in range(40)))
        self.file("tools/testing/selftests/net/Makefile", "TEST_GEN_PROGS := \\\n\ttap \\\n# end\n")
        sh(self.tree, "git", "init", "-q")
        self.commit("base")
        self.file("net/ipv4/udp.c", (self.tree / "net/ipv4/udp.c").read_text("utf-8").replace(
            "line 20\n", "line twenty\n"))
        self.commit("udp: write twenty\n\nNumbers are hard to read.")
        self.file("net/ipv4/udp_repair.c", "/* Größe */\nint repair;\n\n>From here\n")
        self.commit("udp: add repair\n\nZoë asked for it.\n\nLink: https://example.invalid/1\n")
        (self.root / "selftests/net/udp_repair.c").write_text("int main;\n", encoding="utf-8")
        install = self.root / "selftests/install"
        install.write_text(
            '#!/bin/sh\nset -e\nd=$1/tools/testing/selftests/net\n'
            'cp "$(dirname "$0")/net/udp_repair.c" $d/\necho udp_repair >$d/.gitignore\n'
            'grep -q udp_repair $d/Makefile ||\n'
            r"sed -i 's/^# end/\tudp_repair \\\n# end/' $d/Makefile" "\n", encoding="utf-8")
        install.chmod(0o755)
        sh(self.root, str(install), str(self.tree))
        message = "selftests: net: test it\n\nEvery call.\n"
        (self.patches / "net-next/tests.txt").write_text(message, encoding="utf-8")
        (self.patches / "generated.txt").write_text(
            "# rows\nselftests/install  net-next/tests.txt\n", encoding="utf-8")
        self.commit(message)
        (self.patches / "net-next/cover-letter.txt").write_text(
            "udp: repair\n\nÜber alles.\n\n@MEASUREMENTS@\n\nv1: first\n", encoding="utf-8")
        self.export()

    def file(self, name: str, text: str) -> None:
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def commit(self, message: str) -> None:
        sh(self.tree, "git", "add", "-A")
        sh(self.tree, "git", "commit", "-q", "-F", "-", text=message)

    def export(self) -> None:
        for old in (self.patches / "net-next").glob("*.patch"):
            old.unlink()
        base = sh(self.tree, "git", "rev-list", "--max-parents=0", "HEAD").strip()
        sh(self.tree, "git", "format-patch", "-q", "--zero-commit", "--no-numbered",
           "--subject-prefix=PATCH net-next", "-o", str(self.patches / "net-next"), base)

    def split(self) -> None:
        """All patches but the first become a series of their own, for the same tree."""
        more = self.patches / "net-next-more"
        more.mkdir()
        for path in sorted((self.patches / "net-next").glob("*.patch"))[1:]:
            path.rename(more / f"{int(path.name[:4]) - 1:04d}{path.name[4:]}")
        with (self.patches / "series.txt").open("a", encoding="utf-8") as table:
            table.write("net-next-more net-next\n")

    def bench(self) -> bench.Bench:
        return self.enterContext(bench.Bench(self.root, self.cache, self.patches, self.tree, "", 1))

    def run_check(self, *args: str, sown: tuple[seeds.Seed, ...] = ()) -> tuple[int, str]:
        out = io.StringIO()
        os.environ["SOCKREPAIR_CACHE"] = str(self.cache)
        with redirect_stdout(out), redirect_stderr(out):
            code = check.main(list(args), self.root, sown)
        return code, out.getvalue()


class Apply(Kernel):
    def test_each_patch_is_a_commit_with_a_stable_name(self) -> None:
        first = [self.bench_commits() for _ in range(2)]
        self.assertEqual(first[0], first[1])
        self.assertEqual(len(set(first[0])), 3)

    def bench_commits(self) -> list[str]:
        with bench.Bench(self.root, self.cache, self.patches, self.tree, "", 1) as one:
            return [one.commit(p) for p in one.order]

    def spoil(self, number: int, old: str, new: str, series: str = "net-next") -> None:
        path = sorted((self.patches / series).glob("*.patch"))[number]
        text = path.read_text("utf-8")
        self.assertIn(old, text)
        path.write_text(text.replace(old, new), encoding="utf-8")

    def test_a_reject_is_a_failure_and_stops_those_that_follow(self) -> None:
        self.spoil(0, " line 19\n", " line nineteen\n")
        code, said = self.run_check("--only", "applies")
        self.assertEqual(code, 1)
        self.assertIn("net/ipv4/udp.c", said)
        self.assertEqual(said.split("\n")[-2], "0 passed, 3 failed, 0 skipped")

    def test_white_space_errors_are_rejected(self) -> None:
        self.spoil(0, "+line twenty", "+line twenty ")
        self.assertEqual(self.run_check("--only", "applies", "--patch", "1")[0], 1)

    def test_results_are_remembered_by_content(self) -> None:
        args = ("--only", "applies", "--only", "inline")
        code, said = self.run_check(*args)
        self.assertEqual((code, said.count("remembered")), (0, 0))
        self.assertEqual(self.run_check(*args)[1].count("remembered"), 6)
        # Which series a patch is in, and its number there, are not its content.
        self.split()
        self.assertEqual(self.run_check(*args)[1].count("remembered"), 6)
        # The second patch changes: what is known of the first one still holds.
        self.spoil(0, "+int repair;", "+int mended;", "net-next-more")
        self.assertEqual(self.run_check(*args)[1].count("remembered"), 2)

    def test_last_line_and_json(self) -> None:
        file = self.folder / "out.json"
        code, said = self.run_check("--only", "inline", "--only", "series", "--json", str(file))
        self.assertEqual(code, 0)
        # The generated patch touches a .c file too.
        self.assertEqual(said.split("\n")[-2], "4 passed, 0 failed, 0 skipped")
        rows = json.loads(file.read_text("utf-8"))
        self.assertEqual({r["outcome"]["status"] for r in rows}, {"pass"})

    def test_a_failure_says_how_to_repeat_it(self) -> None:
        self.spoil(1, "+int repair;", "+inline int repair;")
        code, said = self.run_check("--only", "inline")
        self.assertEqual(code, 1)
        self.assertIn("net/ipv4/udp_repair.c:2: inline int repair;", said)
        self.assertIn("scripts/check-series --only inline --series net-next --patch 2", said)

    def test_a_fault_of_a_series_is_of_that_one(self) -> None:
        self.split()
        code, said = self.run_check("--only", "series")
        self.assertEqual(code, 1)
        self.assertIn("net-next-more all: series: 1 fault\nno cover-letter.txt\n"
                      "again: scripts/check-series --only series --series net-next-more\n", said)
        self.assertEqual(said.count("net-next-more all"), 2)

    def test_to_check_nothing_is_an_error(self) -> None:
        self.assertEqual(self.run_check("--only", "nothing")[0], 2)
        self.assertEqual(self.run_check("--only", "inline", "--patch", "9")[0], 2)
        self.assertEqual(self.run_check("--only", "inline", "--series", "net")[0], 2)
        code, said = self.run_check("--only", "inline", "--series", "net-more")
        self.assertEqual(code, 2)
        self.assertIn("no series net-more; there are: net, net-next", said)

    def test_the_table_of_series_is_whole(self) -> None:
        table = self.patches / "series.txt"
        good = table.read_text("utf-8")
        for bad in ("", good + "net-more\n", good + "net net\n", good + "a b c\n", "net net\n"):
            table.write_text(bad, encoding="utf-8")
            code, said = self.run_check("--only", "inline")
            self.assertEqual((code, "series.txt: not " in said), (2, True), said)
        table.unlink()
        self.assertEqual(self.run_check("--only", "inline")[0], 2)

    def test_empty_series_have_no_faults(self) -> None:
        for path in (self.patches / "net-next").glob("*.patch"):
            path.unlink()
        code, said = self.run_check()
        self.assertEqual(code, 0)
        self.assertIn("nothing was checked: all series are empty", said)

    def test_selftest_entries(self) -> None:
        self.assertEqual(self.run_check("--only", "sorted", "--only", "listed")[0], 0)
        self.spoil(2, "+\tudp_repair \\", "+\ta_udp \\")
        code, said = self.run_check("--only", "sorted", "--only", "listed")
        self.assertEqual(code, 1)
        self.assertIn("tap stands before a_udp", said)
        self.assertIn("udp_repair is not in", said)


class Perform(Kernel):
    def outcome(self, **row: object) -> bench.Outcome:
        values: dict[str, object] = {"name": "x", "what": "", "sources": (),
                                     "run": checks.inline, **row}
        with bench.Bench(self.root, self.cache, self.patches, self.tree, "", 1) as one:
            return bench.perform(bench.Check(**values), one, one.order[0],  # type: ignore
                                 False)[0]

    def test_a_check_that_cannot_run_is_no_pass(self) -> None:
        self.assertEqual(self.outcome().status, bench.PASS)
        self.assertEqual(self.outcome(needs=("no-such-tool",)).status, bench.FAIL)
        self.assertEqual(self.outcome(needs=("no-such-tool",), optional="why").status, bench.SKIP)
        self.assertEqual(self.outcome(concerns="^elsewhere/").status, bench.NONE)
        self.assertEqual(self.outcome(run=broken).status, bench.FAIL)

    def test_what_could_not_run_is_not_remembered(self) -> None:
        one = self.bench()
        row = bench.Check("y", "", broken, sources=())
        for _ in range(2):
            self.assertFalse(bench.perform(row, one, one.order[0], False)[1])


def broken(_bench: bench.Bench, _patch: patchfile.Patch) -> bench.Outcome:
    raise Broken("no idea")


class Seeds(Kernel):
    """The faults that show that a check can fail."""

    fault = seeds.Seed("inline", "a word", "inline int fault", (
        ("net/ipv4/udp.c", "static inline int fault(void)\n"),))

    def said(self, *args: str, sown: tuple[seeds.Seed, ...]) -> tuple[int, str, str]:
        code, said = self.run_check(*args, sown=sown)
        rows = [line for line in said.split("\n") if "self-test" in line]
        return code, "\n".join(rows), said

    def test_a_fault_that_is_found_is_a_pass_and_remembered(self) -> None:
        before = sh(self.tree, "git", "log", "-1", "--format=%H", "HEAD")
        for remembered in (0, 1):
            code, rows, said = self.said("--only", "inline", sown=(self.fault,))
            self.assertEqual(code, 0, said)
            self.assertRegex(rows, r"^pass +self-test +inline +.* found: a word$")
            self.assertEqual(rows.count("remembered"), remembered)
        self.assertEqual(sh(self.tree, "git", "log", "-1", "--format=%H", "HEAD"), before)
        self.assertEqual(sh(self.tree, "git", "status", "--short"), "")

    def test_a_blind_check_is_a_failure(self) -> None:
        for blind in (dataclasses.replace(self.fault, files=(("net/ipv4/udp.c", "int f;\n"),)),
                      dataclasses.replace(self.fault, says="another fault")):
            code, rows, said = self.said("--only", "inline", sown=(blind,))
            self.assertEqual(code, 1)
            self.assertIn("blind", rows)
            self.assertIn("a fault was added, a word, and the check said: ", said)
            self.assertIn("scripts/check-series --only inline", said)

    def test_checks_of_a_whole_series(self) -> None:
        sown = (seeds.Seed("series", "a mix", "code and selftests in one patch", (
            ("net/ipv4/udp.c", "int f;\n"), ("tools/testing/selftests/net/x.c", "int f;\n"))),
                seeds.Seed("sources", "a change", "-int more;", (
                    ("tools/testing/selftests/net/udp_repair.c", "int more;\n"),)))
        code, rows, said = self.said("--only", "series", "--only", "sources", sown=sown)
        self.assertEqual((code, rows.count("pass")), (0, 2), said)

    def test_only_what_ran_is_tested(self) -> None:
        self.assertEqual(self.said("--only", "applies", sown=(self.fault,))[1], "")
        self.assertEqual(self.said("--only", "inline", "--patch", "1", sown=(self.fault,))[1], "")

    def test_every_check_has_a_fault(self) -> None:
        names = {c.name for c in checks.CHECKS if not c.optional} | {"series", "sources"}
        self.assertEqual({s.check for s in seeds.SEEDS}, names)


class Sources(Kernel):
    """Files of the repository, and the patches that hold them."""

    def faults(self) -> str:
        code, said = self.run_check("--only", "sources")
        self.assertEqual(code, 1)
        return said

    def test_equal(self) -> None:
        self.assertEqual(self.run_check("--only", "sources")[0], 0)

    def test_an_edited_source_differs(self) -> None:
        (self.root / "selftests/net/udp_repair.c").write_text("int other;\n", encoding="utf-8")
        said = self.faults()
        self.assertIn("+int other;", said)
        self.assertIn("make gen-series", said)

    def test_an_edited_message_differs(self) -> None:
        (self.patches / "net-next/tests.txt").write_text(
            "selftests: net: test it\n\nOther.\n", encoding="utf-8")
        self.assertIn("not the message", self.faults())

    def test_a_patch_that_is_missing(self) -> None:
        sorted((self.patches / "net-next").glob("*.patch"))[2].unlink()
        said = self.faults()
        self.assertIn("no patch has the subject", said)
        self.assertIn("create mode 100644 tools/testing/selftests/net/udp_repair.c", said)

    def test_an_edited_patch_differs(self) -> None:
        path = sorted((self.patches / "net-next").glob("*.patch"))[2]
        path.write_text(path.read_text("utf-8").replace("+int main;", "+int edited;"), "utf-8")
        self.assertIn("-int edited;", self.faults())

    def test_a_file_without_source_differs(self) -> None:
        (self.root / "selftests/net/udp_repair.c").unlink()
        (self.root / "selftests/install").write_text("#!/bin/sh\n", encoding="utf-8")
        self.assertIn("there is no selftests/net/udp_repair.c", self.faults())

    def test_digest_sees_every_source(self) -> None:
        one = self.bench()
        before = generate.digest(one)
        (self.root / "selftests/new").write_text("x", encoding="utf-8")
        self.assertNotEqual(generate.digest(one), before)

    def rebuilt(self) -> list[str]:
        with bench.Bench(self.root, self.cache, self.patches, self.tree, "", 1) as one:
            tip, _ = generate.rebuild(one)
            return sh(self.tree, "git", "log", "--reverse", "--format=%T %an %aI %B",
                      f"{one.work.base}..{tip}").split("\0")

    def test_rebuilding_what_is_equal_changes_nothing(self) -> None:
        before = sh(self.tree, "git", "log", "--reverse", "--format=%T %an %aI %B", "HEAD~3..HEAD")
        self.assertEqual(self.rebuilt(), before.split("\0"))

    def test_rebuilding_takes_the_sources(self) -> None:
        (self.root / "selftests/net/udp_repair.c").write_text("int other;\n", encoding="utf-8")
        (self.patches / "net-next/tests.txt").write_text(
            "selftests: net: test it\n\nOther.\n", encoding="utf-8")
        said = self.rebuilt()[0]
        self.assertIn("Other.", said)
        self.assertNotIn("Every call.", said)
        file = sh(self.tree, "git", "show", "refs/sockrepair/generated:"
                  "tools/testing/selftests/net/udp_repair.c")
        self.assertEqual(file, "int other;\n")

    def test_a_file_that_no_patch_has_needs_a_row(self) -> None:
        (self.patches / "generated.txt").write_text("", encoding="utf-8")
        install = self.root / "selftests/install"
        install.write_text(install.read_text("utf-8") + "echo x >$d/stray\n", encoding="utf-8")
        with self.assertRaisesRegex(Broken, "stray: no patch has it"):
            self.rebuilt()


class Mails(Kernel):
    """The real git send-email, a server on loopback, the real git am."""

    def setUp(self) -> None:
        super().setUp()
        self.one = self.bench()
        statement = submit.Statement("LLM sparse", "For all of it.")
        letter = submit.cover((self.patches / "net-next/cover-letter.txt").read_text("utf-8"), 1,
                              "a table: 1 µs", statement)
        self.made = submit.commits(self.one, "net-next", submit.DRY_PERSON, statement)
        out = self.folder / "out"
        out.mkdir()
        self.files = submit.write(self.one, "net-next", self.made, 1, letter, submit.DRY_PERSON,
                                  out)
        self.mails: list[mail.Mail] = []

    def send(self, files: list[Path]) -> None:
        with mail.Sink() as sink:
            ran = mail.send(files, sink, str(submit.DRY_PERSON), submit.DRY_TO, submit.DRY_CC)
            self.assertEqual(ran.code, 0, ran.text)
            self.mails = sink.mails

    def faults(self) -> list[str]:
        return mail.faults(self.mails, self.files, submit.DRY_TO, submit.DRY_CC)

    def applied(self) -> list[str]:
        tree = self.one.at(self.one.work.base)
        self.one.work.at = ""
        box = Path(self.enterContext(tempfile.TemporaryDirectory()))
        return mail.changed(self.tree, self.made, mail.apply(self.mails[1:], tree, box)[0])

    def test_everything_survives(self) -> None:
        self.send(self.files)
        self.assertEqual(self.faults() + self.applied(), [])
        self.assertIn("1 µs", self.mails[0].text)
        self.assertIn("Tools: LLM sparse. For all of it.", self.mails[0].text)
        self.assertEqual(self.mails[0].header("Subject"), "[PATCH net-next 0/3] udp: repair")
        for each in self.mails[1:]:
            self.assertRegex(each.text, r"\nAssisted-by: LLM sparse\n"
                             r"Signed-off-by: Zoë Größe <dry-run@sockrepair.invalid>\n---\n")
        # Tags that are there stay in one paragraph with those that are added.
        self.assertIn("Link: https://example.invalid/1\nAssisted-by:", self.mails[2].text)
        self.assertIn("base-commit: ", self.mails[0].text)

    def test_each_loss_is_seen(self) -> None:
        self.send(self.files)
        good = list(self.mails)

        def change(at: int, old: bytes, new: bytes) -> list[mail.Mail]:
            self.assertIn(old, good[at].data)
            return [dataclasses.replace(m, data=m.data.replace(old, new)) if n == at else m
                    for n, m in enumerate(good)]
        for what, mails in (
                ("one lost", good[:3]),
                ("order", [good[0], good[2], good[1], good[3]]),
                ("thread", change(2, b"In-Reply-To:", b"X-Was:")),
                ("references", change(2, b"References:", b"X-Was:")),
                ("charset", change(2, b"charset=UTF-8", b"charset=us-ascii")),
                ("subject", change(2, b"udp: add repair", b"udp: add despair")),
                ("text", change(2, b"int repair", b"int mended")),
                ("to", change(1, b"\nTo:", b"\nX-To:")),
                ("ids", [good[0]] + [dataclasses.replace(m, data=m.data.replace(
                    m.header("Message-ID").encode(), b"<same@x>")) for m in good[1:]])):
            with self.subTest(what):
                self.mails = mails
                self.assertTrue(self.faults())

    def test_a_changed_patch_makes_another_commit(self) -> None:
        self.send(self.files)
        self.mails[2] = dataclasses.replace(self.mails[2], data=self.mails[2].data.replace(
            b"int repair", b"int mended"))
        self.assertTrue(self.applied())

    def test_a_patch_that_is_lost_is_seen_by_git_am(self) -> None:
        self.send(self.files)
        del self.mails[3]
        self.assertEqual(self.applied(), ["3 commits sent, 2 applied"])


class Submit(Kernel):
    def test_cover_letter_is_complete_or_refused(self) -> None:
        none = submit.Statement("", "")
        text = "s\n\nbody\n\n@MEASUREMENTS@\n\nv1: first\n"
        self.assertEqual(submit.cover(text, 1, "table\n", none),
                         ("s", "body\n\ntable\n\nv1: first"))
        for bad in (text.replace("v1:", "v2:"), text.replace("@MEASUREMENTS@", "")):
            with self.assertRaises(Broken):
                submit.cover(bad, 1, "table", none)

    def test_tools_must_be_stated(self) -> None:
        def state(*args: str) -> submit.Statement:
            return submit.state_tools(submit.arguments("submit", ["--series", "net", *args]))
        with open(os.devnull, encoding="ascii") as nothing, unittest.mock.patch("sys.stdin",
                                                                               nothing):
            with self.assertRaises(Broken):
                state()
            self.assertEqual(state("--tools", "none"), submit.Statement("", ""))
            self.assertEqual(state("--tools", "LLM").tools, "LLM")
            for bad in ("", "Assisted-by: LLM", "a\nb"):
                with self.assertRaises(Broken):
                    state("--tools", bad)

    def test_no_measurements_no_series(self) -> None:
        file = self.cache / "fastpath/summary-net.txt"
        file.parent.mkdir()
        for text in (None, "\n", "Instructions of a call: not counted in this run", "FAILED:"):
            if text is not None:
                file.write_text(text, encoding="utf-8")
            with self.assertRaisesRegex(Broken, "make fastpath"):
                submit.measured(self.cache, "net")
        file.write_text("Nothing changed.\n", encoding="utf-8")
        self.assertEqual(submit.measured(self.cache, "net"), "Nothing changed.\n")

    def test_only_addresses_are_recipients(self) -> None:
        good = ['"David S. Miller" <a@b.org>', "Zoë Größe <zoe@c.org>", "netdev@vger.kernel.org"]
        self.assertEqual(submit.addresses("\n".join([
            *good[:2], "fatal: ambiguous argument 'b139ba4e90dc'", "Use '--' to separate paths",
            "warning: a@b.org: odd", "", good[2]])), good)

    def test_who_wrote_what_is_fixed(self) -> None:
        base = sh(self.tree, "git", "rev-list", "--max-parents=0", "HEAD").strip()[:12]
        fixing = [patch(body=f'Why.\n\nFixes: {name} ("base")', series="net")
                  for name in (base, base, "feedfeedfeed")]
        self.assertEqual(submit.blamed(fixing, str(self.tree)),
                         (["A Developer <dev@localhost>"], ["feedfeedfeed"]))
        self.assertEqual(submit.blamed(fixing, ""), ([], [base, "feedfeedfeed"]))

    def test_no_tag_for_no_tools(self) -> None:
        text = submit.with_trailers(patch(body="Why."), submit.DRY_PERSON,
                                    submit.Statement("", ""))
        self.assertEqual(text, "udp: do a thing\n\nWhy.\n\nSigned-off-by: "
                         "Zoë Größe <dry-run@sockrepair.invalid>\n")


class Written(Kernel):
    """make submit as a whole: what it writes, says and keeps to itself."""

    def setUp(self) -> None:
        super().setUp()
        script = self.tree / "scripts/get_maintainer.pl"
        script.parent.mkdir()
        script.write_text('#!/bin/sh\ncase "$*" in\n*--nom*) echo list@lists.invalid;;\n'
                          '*) echo "Ann Other <ann@lists.invalid>";;\nesac\n', "utf-8")
        script.chmod(0o755)
        sh(self.tree, "git", "checkout", "-q", "--detach")
        base = sh(self.tree, "git", "rev-list", "--max-parents=0", "HEAD").strip()
        sh(self.tree, "git", "reset", "-q", "--soft", base)
        sh(self.tree, "git", "reset", "-q")
        sh(self.tree, "git", "add", "scripts")
        sh(self.tree, "git", "commit", "-q", "-m", "maintainers")
        sh(self.tree, "git", "tag", "base")
        sh(self.root, "git", "init", "-q")
        for key, value in (("name", "Zoë Größe"), ("email", "zoe@submit.invalid")):
            sh(self.root, "git", "config", f"user.{key}", value)

    def submit(self, *args: str, series: str = "net-next") -> tuple[int, str]:
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(out), unittest.mock.patch.multiple(
                submit, measure=lambda *_: "a table\n", check=lambda *_: None), \
                unittest.mock.patch.dict(os.environ, {"SOCKREPAIR_CACHE": str(self.cache)}):
            os.environ.pop("KERNEL_TREE", None)
            code = submit.submit(["--series", series, *args], self.root)
        return code, out.getvalue()

    def test_all_is_written_and_nothing_is_sent(self) -> None:
        code, said = self.submit("--tools", "LLM", "--tools-note", "For the tests.")
        self.assertEqual(code, 0, said)
        files = sorted((self.root / "outgoing/net-next-v1").iterdir())
        self.assertEqual([f.name[:5] for f in files], ["0000-", "0001-", "0002-", "0003-"])
        letter = files[0].read_text("utf-8")
        for text in ("Subject: [PATCH net-next 0/3] udp: repair", "a table", "v1: first",
                     "Tools: LLM. For the tests.", "base-commit: "):
            self.assertIn(text, letter)
        for file in files[1:]:
            self.assertIn("Assisted-by: LLM\nSigned-off-by: Zoë Größe <zoe@submit.invalid>\n---",
                          file.read_text("utf-8"))
        command = said.split("\n\n  ")[1].replace("\\\n", "").split()
        self.assertEqual(command[:2], ["git", "send-email"])
        self.assertIn("--cc=list@lists.invalid", command)
        self.assertIn("Ann Other <ann@lists.invalid>", said)
        self.assertIn("Nothing was mailed", said)

    def test_one_of_two_series_for_one_tree(self) -> None:
        self.split()
        more = self.patches / "net-next-more/cover-letter.txt"
        more.write_text("udp: more\n\n@MEASUREMENTS@\n\nv1: first\n", "utf-8")
        self.assertNotIn("follow", self.submit("--tools", "none")[1])
        code, said = self.submit("--tools", "none", series="net-next-more")
        self.assertEqual(code, 0, said)
        self.assertIn("These patches follow the 1 of net-next.", said)
        for name, subjects in (
                ("net-next", ["0/1] udp: repair", "1/1] udp: write twenty"]),
                ("net-next-more", ["0/2] udp: more", "1/2] udp: add repair",
                                   "2/2] selftests: net: test it"])):
            mails = [f.read_text("utf-8") for f in sorted(
                (self.root / f"outgoing/{name}-v1").iterdir())]
            self.assertEqual(len(mails), len(subjects))
            for text, subject in zip(mails, subjects):
                self.assertIn(f"Subject: [PATCH net-next {subject}\n", text)
            self.assertEqual(mails[0].count("prerequisite-patch-id: "), name == "net-next-more")

    def test_a_series_that_is_not_there(self) -> None:
        code, said = self.submit("--tools", "none", series="net-more")
        self.assertEqual(code, 1)
        self.assertIn("no series net-more; there are, in this order: net, net-next\n", said)

    def test_no_series_is_chosen_for_the_submitter(self) -> None:
        with redirect_stderr(io.StringIO()) as said:
            self.assertEqual(submit.submit(["--tools", "none"], self.root), 1)
        self.assertIn("which one? --series NAME; there are, in this order: net, net-next\n",
                      said.getvalue())

    def test_who_gets_it_is_kept_nowhere(self) -> None:
        self.assertEqual(self.submit("--tools", "none")[0], 0)
        written = [f for f in self.root.rglob("*") if f.is_file() and ".git" not in f.parts]
        self.assertTrue(written)
        for file in written:
            self.assertNotIn(b"lists.invalid", file.read_bytes(), file)

    def test_a_second_version_says_so(self) -> None:
        letter = self.patches / "net-next/cover-letter.txt"
        self.assertEqual(self.submit("--tools", "none", "--version", "2")[0], 1)
        letter.write_text(letter.read_text("utf-8") + "v2: second\n", "utf-8")
        self.assertEqual(self.submit("--tools", "none", "--version", "2")[0], 0)
        file = next((self.root / "outgoing/net-next-v2").glob("v2-0001-*"))
        self.assertIn("[PATCH net-next v2 1/3]", file.read_text("utf-8"))

    def test_nobody_submits_nothing(self) -> None:
        sh(self.root, "git", "config", "--unset", "user.email")
        with unittest.mock.patch.dict(os.environ, {"GIT_CONFIG_GLOBAL": os.devnull,
                                                   "GIT_CONFIG_NOSYSTEM": "1"}):
            code, said = self.submit("--tools", "none")
        self.assertEqual(code, 1)
        self.assertIn("who signs off?", said)
        self.assertFalse((self.root / "outgoing").exists())


class Work(Kernel):
    def test_no_tree_is_said(self) -> None:
        with self.assertRaisesRegex(Broken, "make apply"):
            Worktree(self.folder, self.folder / "w")

    def test_the_tree_itself_is_left_alone(self) -> None:
        (self.tree / "edited").write_text("by a developer", encoding="utf-8")
        def state() -> list[str]:
            return [sh(self.tree, "git", *command) for command in (
                ("status", "--short"), ("rev-parse", "HEAD"))]
        before = state()
        self.run_check("--only", "applies", "--only", "sources")
        self.assertEqual(before, state())


class Table(unittest.TestCase):
    def test_a_result_depends_on_all_the_code_of_its_check(self) -> None:
        text = bench.source(checks.build_on)
        for name in ("build_on", "build", "_states", "targets"):
            self.assertEqual(text.count(f"def {name}("), 1)
        self.assertNotIn("def uapi(", text)

    def test_rows(self) -> None:
        names = [c.name for c in checks.CHECKS]
        self.assertEqual(len(names), len(set(names)))
        for row in checks.CHECKS:
            for source in row.sources:
                self.assertTrue((bench.HERE / source).exists(), source)

    def test_every_ignored_type_has_a_reason(self) -> None:
        for name, reason in rules.read_table(bench.HERE / "checkpatch-ignore.txt"):
            self.assertRegex(name, "^[A-Z_]+$")
            self.assertTrue("".join(reason))


if __name__ == "__main__":
    unittest.main()
