#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""Tests of scripts/fastpath.d: what counts as moved, and what as changed.

Objects are assembled from a few lines each, so that each case shows in the
source what differs. No kernel and no guest; seconds.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "fastpath.d"))

import codediff
import counts
import layout
import report
import sizes
from elf import Object
from normalise import base_name, section_differences

DATA = Path(__file__).parent / "fastpath"

# A function with a jump, a call, a string, a table of its own and data of others.
PLAIN = """
    .text
    .globl helper
    .type helper, @function
helper:
    ret
    .size helper, .-helper

    .globl receive
    .type receive, @function
receive:
    test %rdi, %rdi
    je 1f
    call helper
    call elsewhere
    mov $text, %rdi
    mov table(,%rax,8), %rdx
    mov counter.1(%rip), %eax
    jmp *cases(,%rax,8)
1:  xor %eax, %eax
2:  ret
    .size receive, .-receive

    .section .rodata.str1.1, "aMS", @progbits, 1
text: .string "a message"

    .section .rodata
    .align 8
    .type table, @object
    .size table, 16
table: .quad 1, 2
cases: .quad 1b, 2b

    .local counter.1
    .comm counter.1, 4, 4
"""

BUG = """
    .section __bug_table, "aw"
5:  .long {site} - .
    .long file - .
    .word {line}
    .word {flags}
    .section .rodata.str1.1, "aMS", @progbits, 1
file: .string "net/ipv4/udp.c"
    .text
"""


class WithObjects(unittest.TestCase):
    """Assembles sources; `a` and `b` are the builds to compare."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = Path(scratch.name)
        for build in ("a", "b"):
            (self.directory / build).mkdir()

    def assemble(self, build: str, source: str, name: str = "x.o") -> Path:
        path = self.directory / build / name
        subprocess.run(["as", "-o", str(path), "-"], input=source, check=True, text=True)
        return path

    def verdict(self, a: str, b: str, function: str) -> codediff.Verdict:
        self.assertNotEqual(a, b, "the sources must differ, else this tests nothing")
        pair = codediff.Pair(self.assemble("a", a), self.assemble("b", b))
        self.assertTrue(pair.differences, "the objects must differ, else this tests nothing")
        return pair.function(codediff.Entry(function, "x.o", None, "s", ""))

    def assert_same(self, a: str, b: str, function: str = "receive") -> None:
        verdict = self.verdict(a, b, function)
        self.assertEqual((verdict.status, verdict.diff), (codediff.SAME, []))

    def assert_changed(self, a: str, b: str, function: str = "receive") -> None:
        verdict = self.verdict(a, b, function)
        self.assertEqual(verdict.status, codediff.CHANGED)
        self.assertTrue([line for line in verdict.diff[2:] if line[0] in "+-"])

    def edit(self, old: str, new: str, source: str = PLAIN) -> str:
        self.assertEqual(source.count(old), 1, f"'{old}' must be in the source once")
        return source.replace(old, new)


class Moved(WithObjects):
    """What only lies elsewhere is not a change."""

    def test_function_behind_new_code(self) -> None:
        self.assert_same(PLAIN, self.edit("    .globl helper", "    .fill 1000, 1, 0x90\n"
                                          "    .globl helper"))

    def test_call_to_function_that_moved(self) -> None:
        # Between the two: the distance of the call changes.
        self.assert_same(PLAIN, self.edit("    .globl receive", "    .fill 999, 1, 0x90\n"
                                          "    .globl receive"))

    def test_string_behind_new_string(self) -> None:
        self.assert_same(PLAIN, self.edit('text: .string', '.string "new"\ntext: .string'))

    def test_table_behind_new_data(self) -> None:
        self.assert_same(PLAIN, self.edit("    .align 8", "    .quad 7, 7, 7\n    .align 8"))

    def test_jump_table_behind_new_data(self) -> None:
        self.assert_same(PLAIN, self.edit("cases:", "    .quad 7\ncases:"))

    def test_compiler_numbered_symbol(self) -> None:
        # More static variables above it make the compiler count further.
        new = "    .local counter.1\n    .comm counter.1, 8, 8\n"
        self.assert_same(PLAIN, new + PLAIN.replace("counter.1", "counter.12"))

    def test_variable_behind_new_variable(self) -> None:
        self.assert_same(PLAIN, self.edit("    .local counter.1", "    .local first\n"
                                          "    .comm first, 64, 8\n    .local counter.1"))

    def test_callee_became_global(self) -> None:
        self.assert_same(PLAIN, self.edit("    .globl helper\n", ""))

    def test_short_jump_that_became_long(self) -> None:
        tail = "    .type tail, @function\ntail:\n    jmp helper\n    .size tail, .-tail\n"
        near = self.edit("    .globl receive", tail + "    .globl receive")
        near = self.edit("    .globl helper\n", "", near)
        self.assert_same(near, near.replace(tail, "    .fill 300, 1, 0x90\n" + tail), "tail")

    def test_line_of_a_warning(self) -> None:
        place = "    call helper\n"
        warn = [self.edit(place, "9:  ud2\n" + BUG.format(site="9b", line=line, flags=2305) + place)
                for line in (100, 111)]
        self.assert_same(warn[0], "    .text\n    .fill 16, 1, 0x90\n" + warn[1])


class Changed(WithObjects):
    """One instruction is a change, wherever it hides."""

    def test_added_branch(self) -> None:
        self.assert_changed(PLAIN, self.edit("    call helper\n", "    jc 1f\n    call helper\n"))

    def test_added_nop(self) -> None:
        self.assert_changed(PLAIN, self.edit("    call helper\n", "    nop\n    call helper\n"))

    def test_other_register(self) -> None:
        self.assert_changed(PLAIN, self.edit("test %rdi, %rdi", "test %rsi, %rsi"))

    def test_other_condition(self) -> None:
        self.assert_changed(PLAIN, self.edit("je 1f", "jne 1f"))

    def test_other_jump_target(self) -> None:
        self.assert_changed(PLAIN, self.edit("je 1f", "je 2f"))

    def test_other_callee(self) -> None:
        self.assert_changed(PLAIN, self.edit("call elsewhere", "call somewhere"))

    def test_other_immediate(self) -> None:
        a = self.edit("    call helper\n", "    mov $1, %esi\n    call helper\n")
        self.assert_changed(a, a.replace("$1, %esi", "$2, %esi"))

    def test_other_offset_in_a_structure(self) -> None:
        a = self.edit("    call helper\n", "    mov 8(%rdi), %rsi\n    call helper\n")
        self.assert_changed(a, a.replace("8(%rdi), %rsi", "16(%rdi), %rsi"))

    def test_other_string(self) -> None:
        self.assert_changed(PLAIN, self.edit("a message", "a massage"))

    def test_other_variable(self) -> None:
        more = PLAIN + "    .local other.2\n    .comm other.2, 4, 4\n"
        self.assert_changed(more, self.edit("counter.1(%rip)", "other.2(%rip)", more))

    def test_other_place_without_a_name(self) -> None:
        more = PLAIN + "    .data\nplaces: .quad 0, 0\n"
        load = self.edit("    call helper\n", "    mov places(%rip), %rsi\n", more)
        self.assert_changed(load, load.replace("places(%rip)", "places+8(%rip)"))

    def test_other_constant_without_a_name(self) -> None:
        more = PLAIN + "    .section .rodata\nvalue: .quad {}\n"
        load = self.edit("    call helper\n", "    mov value(%rip), %rsi\n", more)
        self.assert_changed(load.format(5), load.format(6))

    def test_other_entry_of_a_table(self) -> None:
        self.assert_changed(PLAIN, self.edit("mov table(", "mov table+8("))

    def test_other_jump_table(self) -> None:
        self.assert_changed(PLAIN, self.edit("cases: .quad 1b, 2b", "cases: .quad 2b, 1b"))

    def test_part_of_its_own(self) -> None:
        cold = '    .section .text.unlikely, "ax"\n    .type receive.cold, @function\n' \
               "receive.cold:\n    {}\n    ret\n    .size receive.cold, .-receive.cold\n"
        self.assert_changed(PLAIN + cold.format("nop"), PLAIN + cold.format("cld"))

    def test_exception_fixup(self) -> None:
        table = '    .section __ex_table, "a"\n    .long 1b - ., {}b - .\n    .long 3\n    .text\n'
        end = "2:  ret\n"
        self.assert_changed(self.edit(end, end + table.format(1)),
                            self.edit(end, end + table.format(2)))

    def test_alternative(self) -> None:
        text = '    .section .altinstructions, "a"\n    .long 1b - ., 8f - .\n    .long {}\n' \
               '    .byte 2, 2\n    .section .altinstr_replacement, "ax"\n8:  {}\n    .text\n'
        end = "2:  ret\n"
        a = self.edit(end, end + text.format(5, "xor %ecx, %ecx"))
        self.assert_changed(a, self.edit(end, end + text.format(6, "xor %ecx, %ecx")))
        self.assert_changed(a, self.edit(end, end + text.format(5, "xor %edx, %edx")))

    def test_flags_of_a_warning(self) -> None:
        place = "    call helper\n"
        warn = [self.edit(place, "9:  ud2\n" + BUG.format(site="9b", line=100, flags=flags) + place)
                for flags in (2305, 2307)]
        self.assert_changed(*warn)

    def test_pointer_in_a_dispatch_table(self) -> None:
        table = '    .data\n    .globl ops\n    .type ops, @object\n    .size ops, 24\n' \
                "ops: .quad helper, 0, {}\n"
        verdicts = []
        for new in ("receive", "helper"):
            self.assemble("a", PLAIN + table.format("receive"))
            self.assemble("b", "    .data\n    .quad 1\n" + PLAIN + table.format(new))
            entry = codediff.Entry("ops", "x.o", None, "dispatch", "")
            pair = codediff.Pair(self.directory / "a/x.o", self.directory / "b/x.o")
            verdicts.append(pair.function(entry).status)
        self.assertEqual(verdicts, [codediff.SAME, codediff.CHANGED])


class ByteIdentity(WithObjects):
    """The option off: nothing but line numbers may differ."""

    def differences(self, a: str, b: str) -> list[str]:
        return section_differences(Object(self.assemble("a", a)), Object(self.assemble("b", b)))

    def test_same(self) -> None:
        self.assertEqual(self.differences(PLAIN, PLAIN), [])

    def test_line_numbers_only(self) -> None:
        warn = [PLAIN + "9:  ud2\n" + BUG.format(site="9b", line=line, flags=1) for line in (1, 2)]
        self.assertEqual(self.differences(*warn), [])

    def test_flags_of_a_warning(self) -> None:
        warn = [PLAIN + "9:  ud2\n" + BUG.format(site="9b", line=1, flags=f) for f in (1, 3)]
        self.assertEqual(self.differences(*warn), ["__bug_table: 1 bytes differ"])

    def test_one_byte_of_code(self) -> None:
        other = self.edit("test %rdi, %rdi", "test %rsi, %rsi")
        self.assertEqual(self.differences(PLAIN, other), [".text: 1 bytes differ"])

    def test_moved_code(self) -> None:
        self.assertTrue(self.differences(PLAIN, "    nop\n" + PLAIN))

    def test_other_callee(self) -> None:
        other = self.edit("call elsewhere", "call somewhere")
        self.assertEqual(self.differences(PLAIN, other), [".text: relocations differ"])

    def test_new_section(self) -> None:
        self.assertEqual(self.differences(PLAIN, PLAIN + '    .section .new, "a"\n    .byte 1\n'),
                         [".new: only in the other"])

    def test_larger_bss(self) -> None:
        self.assertEqual(self.differences(PLAIN, PLAIN + "    .lcomm more, 4\n"),
                         [".bss: size 4 to 8"])


class OptionOff(WithObjects):
    """A series is compared with what it starts from, which can have options of its own."""

    MORE = PLAIN + "    nop\n"

    def compare(self, **builds: str) -> dict[str, object]:
        paths = {}
        for build, source in builds.items():
            paths[build] = self.directory / build
            paths[build].mkdir()
            self.assemble(build, source)
        return sizes.compare(paths["base"], paths["patched"], paths.get("off"), ["x.o"],
                             paths.get("off_base", paths["base"]))

    def test_no_option(self) -> None:
        result = self.compare(base=PLAIN, patched=self.MORE)
        self.assertEqual((list(result["totals"]), result["has_off"]), (["base", "patched"], False))

    def test_the_first_option(self) -> None:
        result = self.compare(base=PLAIN, patched=self.MORE, off=PLAIN)
        self.assertEqual((list(result["totals"]), result["off_differs"]),
                         (["base", "off", "on"], {}))
        self.assertEqual([row["object"] for row in result["rows"]], ["x.o"])

    def test_a_base_with_the_option_on(self) -> None:
        result = self.compare(base=self.MORE, patched=self.MORE + "    nop\n", off=PLAIN,
                              off_base=PLAIN)
        self.assertEqual((list(result["totals"]), result["off_differs"]),
                         (["base", "patched"], {}))

    def test_a_base_with_the_option_on_and_a_change_with_it_off(self) -> None:
        result = self.compare(base=PLAIN, patched=PLAIN, off=self.MORE, off_base=PLAIN)
        self.assertEqual(list(result["off_differs"]), ["x.o"])


class List(WithObjects):
    """The list of functions, and what is not found."""

    def write(self, text: str) -> Path:
        path = self.directory / "functions.txt"
        path.write_text(text)
        return path

    def compare(self, text: str, a: str = PLAIN, b: str = PLAIN) -> dict[str, object]:
        self.assemble("a", a)
        self.assemble("b", b)
        entries = codediff.read_list(self.write("[s]\n" + text))
        return codediff.compare(self.directory / "a", self.directory / "b", entries, ["x.o"])

    def test_missing_function_is_reported(self) -> None:
        found = self.compare("receive x.o entry\ngone x.o entry\n")
        self.assertEqual((found["compared"], found["missing"]), (1, ["gone"]))

    def test_missing_object_is_reported(self) -> None:
        self.assertEqual(self.compare("receive y.o entry\n")["missing"], ["receive"])

    def test_function_only_in_one_build_is_a_change(self) -> None:
        found = self.compare("receive x.o entry\n", PLAIN, PLAIN.replace("receive", "renamed"))
        self.assertEqual(found["changed"], ["receive"])

    def test_inlined_without_evidence_is_missing(self) -> None:
        found = self.compare("gone x.o in=receive entry\n")
        self.assertEqual((found["missing"], found["changed"]), (["gone"], []))

    def test_change_off_the_list_is_told(self) -> None:
        found = self.compare("helper x.o entry\n", PLAIN,
                             self.edit("test %rdi, %rdi", "test %rsi, %rsi"))
        self.assertEqual((found["changed"], found["other_changed"]), ([], ["x.o: receive"]))

    def test_alias_is_found(self) -> None:
        alias = PLAIN + "    .globl alias\n    .type alias, @function\n    .set alias, receive\n" \
                        "    .size alias, 4\n"
        self.assertEqual(self.compare("alias x.o entry\n", alias, alias)["compared"], 1)

    def test_split_names(self) -> None:
        self.assertEqual(base_name("f.constprop.0.isra.0"), "f")
        self.assertEqual(base_name("f.part.0.cold"), "f")
        self.assertEqual(base_name("f.particle"), "f.particle")

    def test_unreadable_lines(self) -> None:
        for text in ("receive x.o entry", "[s]\nreceive x.o", "[s]\nreceive x.c entry",
                     "[s]\nf x.o one\nf x.o two"):
            with self.subTest(text), self.assertRaises(codediff.ListError):
                codediff.read_list(self.write(text))

    def test_our_list(self) -> None:
        entries = codediff.read_list(Path(codediff.__file__).parent / "functions.txt")
        self.assertGreaterEqual(len(entries), 60)
        for family in ("udp_recvmsg", "udpv6_recvmsg", "udp_sendmsg", "udpv6_sendmsg",
                       "tcp_recvmsg", "tcp_sendmsg", "tcp_ack", "tcp_write_timer"):
            self.assertIn(family, [e.function for e in entries])


class Inlined(WithObjects):
    """Inlining is believed if the debug information says so."""

    def build(self, build: str, attribute: str) -> None:
        source = f"""
            static {attribute} int inner(int x) {{ return x * 3 + 1; }}
            int outer(int x) {{ return inner(x) ^ inner(x + 1); }}"""
        subprocess.run(["gcc", "-O2", "-g", "-x", "c", "-c", "-", "-o",
                        str(self.directory / build / "x.o")], input=source, check=True, text=True)

    def verdict(self, function: str) -> codediff.Verdict:
        pair = codediff.Pair(self.directory / "a/x.o", self.directory / "b/x.o")
        return pair.function(codediff.Entry(function, "x.o", "outer", "s", ""))

    def test_inlined_in_both(self) -> None:
        self.build("a", "inline")
        self.build("b", "inline")
        verdict = self.verdict("inner")
        self.assertEqual((verdict.status, verdict.parts), (codediff.SAME, ["in outer"]))
        self.assertEqual(self.verdict("other").status, codediff.MISSING)

    def test_no_longer_inlined(self) -> None:
        self.build("a", "inline")
        self.build("b", "__attribute__((noinline))")
        self.assertEqual(self.verdict("inner").status, codediff.CHANGED)


class Layout(unittest.TestCase):
    """pahole's text, captured from a kernel and shortened."""

    OLD = (DATA / "tcp_sock.pahole").read_text()

    def changes(self, old: str, new: str) -> list[tuple[str, str, str]]:
        self.assertEqual(self.OLD.count(old), 1)
        found = layout.compare_structs("tcp_sock", layout.parse(self.OLD),
                                       layout.parse(self.OLD.replace(old, new)))
        return [(c.member, c.kind, c.group) for c in found]

    def test_parse(self) -> None:
        size, members = layout.parse(self.OLD)
        self.assertEqual(size, 2368)
        by_name = {m.name: m for m in members}
        self.assertEqual((by_name["repair"].offset, by_name["repair"].bit), (1463, 0))
        self.assertEqual(by_name["snd_wnd"].group, "tcp_sock_read_txrx")
        self.assertEqual(by_name["inet_conn"].group, "")
        self.assertEqual(by_name["received_ecn_bytes"].size, 12)
        self.assertIn("time", by_name)
        size, members = layout.parse((DATA / "udp_sock.pahole").read_text())
        by_name = {m.name: m for m in members}
        self.assertEqual((size, by_name["encap_rcv"].offset), (1344, 1056))
        self.assertEqual(by_name["reader_queue"].size, 24)

    def test_same(self) -> None:
        size, members = layout.parse(self.OLD)
        self.assertEqual(layout.compare_structs("s", (size, members), (size, members)), [])

    def test_growth(self) -> None:
        self.assertEqual(self.changes("size: 2368", "size: 2376"), [("(size)", "resized", "")])

    def test_moved_bit(self) -> None:
        self.assertEqual(self.changes("repair:1;             /*  1463: 0 ",
                                      "repair:1;             /*  1463: 5 "),
                         [("repair", "moved", "tcp_sock_read_txrx")])

    def test_new_member_in_a_group(self) -> None:
        line = "\tu32                        mss_cache;            /*  1440     4 */\n"
        new = "\tu32                        repair_bias;          /*  1436     4 */\n"
        self.assertEqual(self.changes(line, line + new),
                         [("repair_bias", "added", "tcp_sock_read_txrx")])

    def test_wider_member(self) -> None:
        self.assertEqual(self.changes("u32                        mss_cache;            /*  1440 "
                                      "    4", "u64                        mss_cache;            "
                                      "/*  1440     8"),
                         [("mss_cache", "resized", "tcp_sock_read_txrx")])

    def test_no_structure(self) -> None:
        with self.assertRaises(layout.LayoutError):
            layout.parse("pahole: type 'x' not found\n")


class Counts(unittest.TestCase):
    """Consoles of guests."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = Path(scratch.name)
        self.files = 0

    def log(self, recvmsg: int, text: str = "") -> Path:
        self.files += 1
        path = self.directory / f"{self.files}.log"
        path.write_text(text or (DATA / "count.log").read_text().replace("RECVMSG", str(recvmsg)))
        return path

    def exceeded(self, base: list[int], patched: list[int]) -> list[str]:
        rows = counts.compare([self.log(n) for n in base], [self.log(n) for n in patched])
        return [row.call for row in rows if row.difference > row.bound]

    def test_equal(self) -> None:
        self.assertEqual(self.exceeded([1618] * 3, [1618] * 3), [])

    def test_one_instruction_more(self) -> None:
        self.assertEqual(self.exceeded([1618] * 3, [1619] * 3), ["udp4 recvmsg"])

    def test_within_what_base_does(self) -> None:
        self.assertEqual(self.exceeded([1618, 1621, 1618], [1621] * 3), [])

    def test_one_odd_boot(self) -> None:
        self.assertEqual(self.exceeded([1618] * 3, [1618, 1615, 1618]), [])

    def test_incomplete_guest(self) -> None:
        whole = self.log(1618).read_text()
        for text in (whole.replace("count end", ""), whole.replace("count begin 3", ""),
                     whole.replace("count begin 3", "count begin 4"), "SeaBIOS\n",
                     whole + "count failed recv: Resource temporarily unavailable\n"):
            with self.subTest(text[-40:]), self.assertRaises(counts.CountError):
                counts.parse(self.log(0, text))

    def test_too_few_boots(self) -> None:
        with self.assertRaises(counts.CountError):
            counts.compare([self.log(1)] * 2, [self.log(1)] * 2)


class Report(unittest.TestCase):
    """The verdict and the tables."""

    def result(self) -> dict[str, object]:
        verdicts = [{"function": f, "object": "net/ipv4/udp.o", "subsystem": "UDP over IPv4, "
                     "receive", "status": "same", "parts": [f], "note": "", "diff": []}
                    for f in ("udp_recvmsg", "udp_rcv")]
        return {
            "title": ["Linux"],
            "code": {"compared": 2, "changed": [], "missing": [], "other_changed": [],
                     "functions": verdicts},
            "layout": {"compared": 1, "sizes": {"udp_sock": [1344, 1344]},
                       "groups": {"udp_sock": 0}, "changes": []},
            "sizes": {"objects": 1, "totals": {k: [1, 2, 3] for k in ("base", "off", "on")},
                      "rows": [], "has_off": True, "off_differs": {}, "off_lines_moved": []},
        }

    def failures(self, result: dict[str, object], allowed: list[report.Allowed] | None = None,
                 counted: dict[str, object] | None = None) -> list[str]:
        checks = report.checks({"net-next": result}, counted, allowed or [])
        self.assertEqual(len(checks), 6 if counted else 5)
        return [reason for reasons in checks.values() for reason in reasons]

    def test_clean(self) -> None:
        self.assertEqual(self.failures(self.result()), [])

    def test_changed_function(self) -> None:
        result = self.result()
        result["code"]["functions"][0]["status"] = "changed"
        self.assertEqual(self.failures(result), ["net-next: udp_recvmsg (net/ipv4/udp.o) changed"])
        allowed = [report.Allowed(("code", "udp_recvmsg"), "because")]
        self.assertEqual(self.failures(result, allowed), [])

    def test_missing_function_cannot_be_allowed(self) -> None:
        result = self.result()
        result["code"]["functions"][0]["status"] = "missing"
        allowed = [report.Allowed(("code", "udp_recvmsg"), "because")]
        self.assertEqual(len(self.failures(result, allowed)), 2)

    def test_layout(self) -> None:
        result = self.result()
        result["layout"]["changes"] = [{"struct": "udp_sock", "member": "(size)", "kind": "resized",
                                        "detail": "1344 to 1408 bytes", "group": ""}]
        self.assertEqual(len(self.failures(result)), 1)
        allowed = [report.Allowed(("layout", "udp_sock", "(size)", "resized"), "because")]
        self.assertEqual(self.failures(result, allowed), [])

    def test_option_off(self) -> None:
        result = self.result()
        result["sizes"]["off_differs"] = {"net/ipv4/udp.o": [".text: 1 bytes differ"]}
        self.assertEqual(len(self.failures(result)), 1)

    def test_what_is_said_of_the_option_off(self) -> None:
        result = self.result()
        for labels, said in (
                (("base", "off", "on"), "Off is base byte for byte, relocations included."),
                (("base", "patched"), "With the options off, patched is base with them off byte "
                 "for byte, relocations included.")):
            result["sizes"]["totals"] = {label: [1, 2, 3] for label in labels}
            self.assertIn(said, " ".join(report.tables(result).split()))

    def test_counts(self) -> None:
        row = {"call": "udp4 recvmsg", "base": 10, "patched": 12, "difference": 2, "bound": 1}
        self.assertEqual(len(self.failures(self.result(), counted={"rows": [row]})), 1)
        row["bound"] = 2
        self.assertEqual(self.failures(self.result(), counted={"rows": [row]}), [])

    def test_stale_permission(self) -> None:
        allowed = [report.Allowed(("code", "udp_recvmsg"), "because")]
        self.assertEqual(len(self.failures(self.result(), allowed)), 1)

    def test_permission_needs_a_reason(self) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "allowed.txt"
            for text in ("code udp_recvmsg", "layout udp_sock (size) resized", "maybe x y"):
                path.write_text(text)
                with self.subTest(text), self.assertRaises(report.AllowError):
                    report.read_allowed(path)

    def test_permission_used_by_one_of_two_series(self) -> None:
        changed = self.result()
        changed["code"]["functions"][0]["status"] = "changed"
        allowed = [report.Allowed(("code", "udp_recvmsg"), "because")]
        checks = report.checks({"net": self.result(), "net-next": changed}, None, allowed)
        self.assertEqual([r for reasons in checks.values() for r in reasons], [])

    def test_tables_fit_a_mail(self) -> None:
        row = {"call": "udp4 sendmsg MSG_MORE, begins", "base": 10, "patched": 10, "difference": 0,
               "bound": 0}
        found = {"code": ["a reason that takes more than one line of a summary, " * 2]}
        text = "\n".join([report.tables(self.result()), report.verdict(found, []),
                          report.counted({"boots": 3, "rows": [row]}), report.counted(None)])
        self.assertLessEqual(max(map(len, text.splitlines())), report.WIDTH)
        self.assertIn("FAILED", text)
        self.assertIn("not counted", text)
        clean = report.verdict({"code": []}, [])
        self.assertEqual(clean, "Nothing on the data path changed.\n")
        meant = report.verdict({"code": []}, [report.Allowed(("code", "udp_recvmsg"), "because")])
        self.assertIn("udp_recvmsg: because", meant)


if __name__ == "__main__":
    unittest.main()
