# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""splat.py: each kind of splat is found and named, and nothing else is."""

from __future__ import annotations

import subprocess
import tempfile
import unittest
from pathlib import Path

import splat

# One line of the kernel's per kind, and a word of the reason that people are shown.
KINDS = [
    ("Kernel panic - not syncing: Fatal exception in interrupt", "panic"),
    ("WARNING: net/core/skbuff.c:12 at skb_over_panic+0x1/0x2, CPU#0: x/1", "WARN_ON"),
    ("WARNING: at skb_over_panic+0x1/0x2, CPU#0: x/1", "WARN_ON"),
    ("kernel BUG at net/core/skbuff.c:214!", "BUG()"),
    ("BUG: KASAN: slab-use-after-free in udp_repair_dump+0x1/0x2", "KASAN"),
    ("BUG: KASAN: wild-memory-access in do_raw_spin_lock+0x109/0x240", "KASAN"),
    ("UBSAN: shift-out-of-bounds in net/ipv4/udp_repair.c:3:4", "UBSAN"),
    ("UBSAN: array-index-out-of-bounds in net/ipv4/udp_repair.c:3:4", "UBSAN"),
    ("WARNING: possible circular locking dependency detected", "lockdep"),
    ("WARNING: possible recursive locking detected", "lockdep"),
    ("WARNING: possible irq lock inversion dependency detected", "lockdep"),
    ("WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected", "lockdep"),
    ("WARNING: inconsistent lock state", "lockdep"),
    ("WARNING: suspicious RCU usage", "lockdep"),
    ("WARNING: bad unlock balance detected!", "lockdep"),
    ("WARNING: held lock freed!", "lockdep"),
    ("WARNING: udp_repair/71 still has locks held!", "lockdep"),
    ("WARNING: lock held when returning to user space!", "lockdep"),
    ("[ BUG: Invalid wait context ]", "lockdep"),
    ("BUG: MAX_LOCK_DEPTH too low!", "lockdep"),
    ("BUG: MAX_LOCKDEP_CHAINS too low!", "lockdep"),
    ("turning off the locking correctness validator.", "lockdep"),
    ("refcount_t: underflow; use-after-free.", "reference count"),
    ("refcount_t: addition on 0; use-after-free.", "reference count"),
    ("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "RCU stall"),
    ("rcu: INFO: rcu_preempt self-detected stall on CPU", "RCU stall"),
    ("rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-... }", "RCU stall"),
    ("rcu: rcu_preempt kthread starved for 5250 jiffies! g1 f0x0", "RCU stall"),
    ("watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [udp_repair:71]", "soft lockup"),
    ("CPU1: Watchdog detected hard LOCKUP on cpu 1", "hard lockup"),
    ("INFO: task udp_repair:71 blocked for more than 20 seconds.", "hung task"),
    ("BUG: sleeping function called from invalid context at net/core/sock.c:3", "slept"),
    ("BUG: scheduling while atomic: udp_repair/71/0x00000002", "slept"),
    ("BUG: kernel NULL pointer dereference, address: 0000000000000008", "Oops"),
    ("BUG: unable to handle page fault for address: ffffc90000010000", "Oops"),
    ("Oops: general protection fault, probably for non-canonical address 0xdead: 0000", "Oops"),
    ("Oops: divide error: 0000 [#1] SMP", "Oops"),
    ("BUG kmalloc-64 (Not tainted): Right Redzone overwritten", "SLUB"),
    ("ODEBUG: free active (active state 0) object: x object type: timer_list", "wrong state"),
    ("unregister_netdevice: waiting for veth0 to become free. Usage count = 2", "reference"),
    ("ref_tracker: netdev@ffff888 has 1/1 users at", "reference"),
    ("list_del corruption. prev->next should be ffff888, but was 0", "list"),
    ("kmemleak: unreferenced object 0xffff888004e3a0a8 (size 64):", "kmemleak"),
    ("kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)", "kmemleak"),
    ("kmemleak: Kernel memory leak detector disabled", "kmemleak"),
    ("kmemleak: Memory pool empty, consider increasing CONFIG_X", "kmemleak"),
    ("Out of memory: Killed process 71 (udp_repair)", "memory"),
    ("    not ok 2 tcp_repair_mss", "KUnit"),
    ("BUG: Bad page state in process udp_repair  pfn:00001", "bug"),
]

CLEAN = [
    "Kernel command line: console=ttyS0 panic=-1 oops=panic",
    "kmemleak: Kernel memory leak detector initialized (mem pool available: 39000)",
    "kmemleak: Automatic memory scanning thread started",
    "Running RCU self tests",
    "... MAX_LOCKDEP_CHAINS:      65536",
    "Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar",
    "rcu: \tRCU debug extended QS entry/exit.",
    "x86/mm: Checked W+X mappings: passed, no W+X pages found.",
    "debug_vm_pgtable: [debug_vm_pgtable         ]: Validating architecture page table helpers",
    "    ok 2 tcp_repair_mss",
    "tsc: Fast TSC calibration failed",
    "watchdog: Delayed init of the lockup detector failed: -19",
]


def log(*lines: str, start: float = 1.0) -> str:
    return "".join(f"[{start + n / 1000:12.6f}] {line}\n" for n, line in enumerate(lines))


class Find(unittest.TestCase):
    def test_each_kind_is_found_and_named(self) -> None:
        for line, reason in KINDS:
            with self.subTest(line):
                found = splat.find(log("fine", line, "more"))
                self.assertEqual(1, len(found))
                self.assertEqual(line, found[0].title)
                self.assertIn(reason, found[0].reason)

    def test_every_pattern_is_tried_by_a_kind(self) -> None:
        rules, _ = splat.load_rules()
        first = [next(i for i, r in enumerate(rules) if r.regex.search(line))
                 for line, _ in KINDS]
        untried = [r.regex.pattern for i, r in enumerate(rules) if i not in first]
        self.assertLessEqual(len(untried), 5, untried)

    def test_clean_lines(self) -> None:
        self.assertEqual([], splat.find(log(*CLEAN)))

    def test_user_space_is_not_the_kernel(self) -> None:
        self.assertEqual([], splat.find("".join(line + "\n" for line, _ in KINDS)))

    def test_user_space_in_front_of_a_kernel_line(self) -> None:
        self.assertEqual(1, len(splat.find("prompt# " + log(KINDS[0][0]))))

    def test_line_with_its_caller(self) -> None:
        self.assertEqual(1, len(splat.find("[    1.000000][  T71] BUG: KASAN: x in y+0x1/0x2\n")))

    def test_special_reason_wins_in_one_report(self) -> None:
        found = splat.find(log("WARNING: lib/refcount.c:28 at f+0x1/0x2, CPU#0: x/1",
                               "refcount_t: underflow; use-after-free.",
                               "---[ end trace 0 ]---"))
        self.assertEqual(["a reference count went wrong"], [s.reason for s in found])

    def test_oops_and_the_panic_after_it_are_two(self) -> None:
        found = splat.find(log("BUG: kernel NULL pointer dereference, address: 8",
                               "Oops: Oops: 0000 [#1] SMP", " <TASK>", " f+0x1/0x2", " </TASK>",
                               "---[ end trace 0000000000000000 ]---",
                               "Kernel panic - not syncing: Fatal exception"))
        self.assertEqual([False, True], [s.is_panic for s in found])

    def test_two_reports_without_a_pause(self) -> None:
        found = splat.find(log("WARNING: suspicious RCU usage", " <TASK>", " f+0x1/0x2", " </TASK>",
                               "BUG: sleeping function called from invalid context at a.c:1"))
        self.assertEqual(2, len(found))

    def test_later_message_is_not_part_of_it(self) -> None:
        text = log("UBSAN: x in y.c:1:1", "a") + log("b", start=9.0)
        self.assertEqual([["UBSAN: x in y.c:1:1", "a"]], [s.lines for s in splat.find(text)])

    def test_suite_that_was_running(self) -> None:
        text = log("sockrepair: suite one", "UBSAN: a", "---[ end trace ]---",
                   "sockrepair: suite two", "UBSAN: b")
        self.assertEqual(["one", "two"], [s.suite for s in splat.find(text)])

    def test_same_bug_is_counted_once(self) -> None:
        one = log("WARNING: a.c:1 at f+0x1/0x2, CPU#0: x/1", "---[ end trace ]---")
        two = log("WARNING: a.c:1 at f+0x1/0x2, CPU#1: y/2", "---[ end trace ]---")
        other = log("WARNING: a.c:2 at f+0x1/0x2, CPU#1: y/2", "---[ end trace ]---")
        self.assertEqual([2, 1], [s.times for s in splat.find(one + two + other)])

    def test_leaks_with_different_stacks_are_different(self) -> None:
        one = log("kmemleak: unreferenced object 0xffff888004e3a0a8 (size 64):", " f+0x1/0x2")
        two = log("kmemleak: unreferenced object 0xffff888004e3b000 (size 64):", " g+0x1/0x2",
                  start=9.0)
        self.assertEqual(2, len(splat.find(one + two)))
        self.assertEqual([2], [s.times for s in splat.find(one + two.replace(" g", " f"))])


class Rules(unittest.TestCase):
    def load(self, text: str) -> tuple[list[splat.Rule], list[splat.Rule]]:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(text)
            file.flush()
            return splat.load_rules(Path(file.name))

    def test_allowed_splat(self) -> None:
        rules = self.load("splat ^WARNING: -- a warning\n"
                          "allow WARNING: drivers/foo -- not ours, reported upstream\n")
        text = log("WARNING: drivers/foo.c:1 at f", "---[ end trace ]---",
                   "WARNING: net/bar.c:1 at f")
        self.assertEqual(["WARNING: net/bar.c:1 at f"], [s.title for s in splat.find(text, rules)])

    def test_entry_without_reason(self) -> None:
        for text in ("splat ^WARNING:\n", "allow x --\n", "allow x -- \n", "deny x -- y\n",
                     "splat ( -- not a regular expression\n"):
            with self.subTest(text), self.assertRaises(ValueError):
                self.load(text)


class Decode(unittest.TestCase):
    def test_symbol_gets_its_line(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            tree = Path(name) / "tree/net"
            tree.mkdir(parents=True)
            (tree / "udp.c").write_text("int global;\nint dump(void)\n{\n\tglobal++;\n"
                                        "\tglobal--;\n\treturn 0;\n}\n")
            vmlinux = Path(name) / "vmlinux"
            subprocess.run(["gcc", "-g", "-O0", "-fPIC", "-nostdlib", "-shared", "-o", str(vmlinux),
                            str(tree / "udp.c")], check=True)
            size = next(s for a, s in splat._symbols(vmlinux)["dump"])
            lines = splat.decode([f" dump+0x10/{size:#x}", "nobody+0x1/0x2", "plain text"], vmlinux)
            self.assertRegex(lines[0], r"^ dump\+0x10/0x[0-9a-f]+ \(net/udp\.c:\d\)$")
            self.assertEqual(["nobody+0x1/0x2", "plain text"], lines[1:])


if __name__ == "__main__":
    unittest.main()
