# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""Faults that the checks must find: one patch more, at the end of the last series.

A check that passes says something only if it can fail. Each row of SEEDS adds
a few lines to the tree as the series leaves it, and names the check that must
fail for them, and what it must say.
"""

import copy
import dataclasses
import hashlib
import re
from collections.abc import Callable

from series import patchfile
from series.bench import (FAIL, HERE, PASS, Bench, Check, Outcome, file_digest, perform, remember)
from series.patchfile import Patch
from series.worktree import Broken, git, need


@dataclasses.dataclass(frozen=True)
class Seed:
    """A fault: `files` are paths and the text that each gets at its end; `says` is a pattern
    of what the check has to answer."""

    check: str
    what: str
    says: str
    files: tuple[tuple[str, str], ...]
    message: str = "udp: add a fault\n\nIt must be found."


UDP = "net/ipv4/udp.c"
PAGE = "Documentation/networking/udp_repair.rst"
TESTS = "tools/testing/selftests/net"


def c(text: str, file: str = UDP) -> tuple[tuple[str, str], ...]:
    """A function's body, as the last lines of a file."""
    return ((file, f"\nstatic int udp_fault(void)\n{{\n{text}}}\n"),)


SEEDS = (
    Seed("applies", "white space at the end of a line", "trailing whitespace",
         ((UDP, "\n/* one */ \n"),)),
    Seed("subject", "a full stop", "full stop", c("\treturn 0;\n"), "udp: add a fault.\n\nWhy."),
    Seed("fixes", "a tag of 11 digits", "not `Fixes: <12 digits>", c("\treturn 0;\n"),
         'udp: add a fault\n\nWhy.\n\nFixes: ee9952831cf ("tcp: Initial repair mode")'),
    Seed("fixes", "another commit's subject", r"is \(tcp: Initial repair mode\), not",
         c("\treturn 0;\n"),
         'udp: add a fault\n\nWhy.\n\nFixes: ee9952831cfd ("tcp: add repair mode")'),
    Seed("inline", "inline in a .c file", "static inline int udp_fault",
         ((UDP, "\nstatic inline int udp_fault(void)\n{\n\treturn 0;\n}\n"),)),
    Seed("sorted", "an option behind all others", "stands before CONFIG_ANY",
         ((f"{TESTS}/config", "CONFIG_ANY=y\n"),)),
    Seed("listed", "a program that nothing builds", "udp_fault is not in .*/Makefile",
         ((f"{TESTS}/udp_fault.c", "int main(void)\n{\n\treturn 0;\n}\n"),)),
    Seed("checkpatch", "a line of 81 columns", "LONG_LINE", c(
        "\tint a_name_that_is_long = 1, another_name_that_is_long_too = 2, and_one = 3333;\n\n"
        "\treturn a_name_that_is_long;\n")),
    Seed("checkpatch", "a misspelled word", "TYPO_SPELLING",
         c("\t/* what we recieve */\n\treturn 0;\n")),
    Seed("checkpatch", "what only --strict names", "CHECK:", c("\tint a = 0;\n\n\n\treturn a;\n")),
    Seed("maintainers", "a file of nobody", "no section of MAINTAINERS",
         (("nowhere/fault.c", "int fault;\n"),)),
    Seed("kernel-doc", "a parameter that is not described", "'flags' not described", (
        (UDP, "\n/**\n * udp_fault() - nothing\n * @sk: socket\n *\n * Return: 0\n */\n"
         "static int udp_fault(struct sock *sk, int flags)\n{\n\treturn 0;\n}\n"),)),
    Seed("uapi", "a header without the types it uses", "unknown type name .__u32",
         (("include/uapi/linux/fault.h", "struct fault {\n\t__u32 size;\n};\n"),)),
    Seed("uapi", "a header that C++ does not take", "g..",
         (("include/uapi/linux/fault.h", "struct fault {\n\tint class;\n};\n"),)),
    Seed("rst", "a title without its whole line", "underline too short",
         ((PAGE, "\nA fault in its form\n----------\n\nText.\n"),)),
    Seed("series", "code and selftests in one patch", "code and selftests in one patch",
         (*c("\treturn 0;\n"), (f"{TESTS}/udp_repair.c", "/* more */\n"))),
    Seed("sources", "a page that is not as its source", "-A line that the source does not have",
         ((PAGE, "\nA line that the source does not have.\n"),)),
    Seed("build-on", "a variable that nobody uses", "unused variable",
         c("\tint unused;\n\n\treturn 0;\n")),
    Seed("build-off", "a name that only the option brings", "udp_nothing", (
        (UDP, "\n#ifndef CONFIG_INET_REPAIR\nint udp_fault = udp_nothing;\n#endif\n"),)),
    Seed("build-minimal", "a name that only IPv6 brings", "udp_nothing", (
        (UDP, "\n#if !IS_ENABLED(CONFIG_IPV6)\nint udp_fault = udp_nothing;\n#endif\n"),)),
    Seed("build-i386", "a long of 64 bits", "static assertion failed",
         ((UDP, "\nstatic_assert(sizeof(long) == 8);\n"),)),
    Seed("sparse", "user memory that is read as the kernel's", "dereference of noderef", (
        (UDP, "\nint udp_fault(int __user *p);\nint udp_fault(int __user *p)\n{\n"
         "\treturn *p;\n}\n"),)),
    Seed("coccicheck", "a test that kfree() makes", "ifnullfree", (
        ("net/ipv4/udp_fault.c", "#include <linux/slab.h>\n\nvoid udp_fault(void *p)\n{\n"
         "\tif (p)\n\t\tkfree(p);\n}\n"),)),
    Seed("selftest", "a variable that nobody uses", "unused variable", (
        (f"{TESTS}/udp_repair.c", "\nint udp_fault(void)\n{\n\tint unused;\n\n\treturn 0;\n}\n"),)),
    Seed("htmldocs", "a page that does not exist", "unknown document",
         ((PAGE, "\nSee :doc:`no_such_page`.\n"),)),
)


def sow(bench: Bench, seed: Seed) -> tuple[Bench, Patch]:
    """The series with the fault as one patch more; the work tree is not touched."""
    tree, final = bench.work.tree, bench.commit(bench.order[-1])
    folder = bench.scratch("seed")
    env = {"GIT_INDEX_FILE": str(folder / "index"), "GIT_AUTHOR_NAME": "sockrepair",
           "GIT_AUTHOR_EMAIL": "sockrepair@localhost", "GIT_AUTHOR_DATE": "@0 +0000",
           "GIT_COMMITTER_DATE": "@0 +0000"}

    def ask(*args: str, stdin: str = "") -> str:
        return need(git(tree, *args, stdin=stdin, env=env), f"git {args[0]}")
    ask("read-tree", final)
    for path, text in seed.files:
        blob = ask("hash-object", "-w", "--stdin", stdin=bench.work.show(final, path) + text)
        ask("update-index", "--add", "--cacheinfo", f"100644,{blob.strip()},{path}")
    commit = ask("commit-tree", "-p", final, ask("write-tree").strip(),
                 stdin=seed.message + "\n").strip()
    number = len(bench.series[bench.last]) + 1
    file = folder / f"{number:04d}-fault.patch"
    file.write_text(ask("format-patch", "-1", "--stdout", "--zero-commit", "--no-renames",
                        f"--subject-prefix=PATCH {bench.trees[bench.last]}", commit), encoding="utf-8")
    patch = patchfile.parse(file.read_text(encoding="utf-8"), file, bench.last, number)
    other = copy.copy(bench)
    other.series = {**bench.series, bench.last: [*bench.series[bench.last], patch]}
    other.order = [*bench.order, patch]
    return other, patch


# What concerns a series as a whole is asked of the series.
Whole = dict[str, Callable[[Bench], Outcome]]


def found(bench: Bench, seed: Seed, check: Check | None, whole: Whole) -> Outcome:
    """Passes if the check fails for the fault, and says what it must."""
    other, patch = sow(bench, seed)
    outcome = perform(check, other, patch, True)[0] if check else whole[seed.check](other)
    if outcome.status == FAIL and re.search(seed.says, outcome.text):
        return Outcome(PASS, f"found: {seed.what}")
    if outcome.note == "cannot run":
        raise Broken(outcome.text)
    return Outcome(FAIL, "blind", f"a fault was added, {seed.what}, and the check said: "
                   f"{outcome.status} {outcome.note}\n{outcome.text}")


def self_test(bench: Bench, seed: Seed, check: Check | None, whole: Whole,
              again: bool) -> tuple[Outcome, bool]:
    """Whether a check finds a fault, remembered under what that depends on."""
    last = bench.order[-1]
    key = hashlib.sha256("\0".join([
        repr(seed), file_digest(HERE / "seeds.py"), file_digest(HERE / "patchfile.py"),
        check.key(bench, last) if check else bench.prefix(last) + file_digest(HERE / "rules.py")
        + file_digest(HERE / "generate.py")]).encode()).hexdigest()
    return remember(bench, f"seed-{key}", again, lambda: found(bench, seed, check, whole))
