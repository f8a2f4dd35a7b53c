# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""Builds of the touched directories, and what the compiler and sparse say.

A build directory goes from one state of the tree to the next, so that a patch
costs what it touches. Warnings are kept by object: an object that was not
built again still has those of its last build, and a state's warnings are
complete however it was reached.
"""

import collections
import dataclasses
import hashlib
import inspect
import json
import os
import re
import shutil
from pathlib import Path

from series.worktree import Broken, Worktree, run

_STEP = re.compile(r"^  (CC|CHECK)(?: \[M\])?\s+(\S+)$")
_OTHER_STEP = re.compile(r"^  [A-Z][A-Z0-9_]*(?: \[M\])?\s+\S")
_PLACE = re.compile(r"^\S*?([\w.-]+/[\w.-]+\.[chS]|[\w.-]+\.[chS]):[\d:]+ ")

# Sparse 0.6.4 has no __typeof_unqual__, and kbuild then leaves it out with a warning.
SPARSE_FLAGS = "-D__typeof_unqual__=__typeof__"


@dataclasses.dataclass(frozen=True)
class Variant:
    """A configuration to build in; `config` are the lines on top of allnoconfig. With `off`
    nothing that the series adds to Kconfig is asked for."""

    name: str
    what: str
    arch: str
    fragments: tuple[str, ...]
    config: str
    sparse: bool = False
    off: bool = False


# What Kconfig gives to 64-bit kernels only.
ONLY_64BIT = ("CONFIG_IA32_EMULATION", "CONFIG_TCP_AO")

# As the guest that runs the tests, without what boots and observes it.
FRAGMENTS = ("10", "20", "30", "35")

VARIANTS = {v.name: v for v in (
    Variant("on", "option on", "x86_64", FRAGMENTS, "", sparse=True),
    Variant("off", "option off", "x86_64", FRAGMENTS, "", off=True),
    Variant("minimal", "allnoconfig, networking and the option", "x86_64", (),
            "CONFIG_64BIT=y\nCONFIG_NET=y\nCONFIG_INET=y\nCONFIG_INET_REPAIR=y\n"),
    Variant("i386", "option on, 32-bit x86", "i386", FRAGMENTS, "# CONFIG_64BIT is not set\n"),
)}


@dataclasses.dataclass
class State:
    """The tree as built. Steps are `CC net/ipv4/udp.o` and `CHECK net/ipv4/udp.c`;
    `steps` has all that were taken in the build directory so far, `warnings`
    what the last of each kind said."""

    tree: str
    code: int
    steps: list[str]
    warnings: dict[str, list[str]]
    tail: str


def parse(text: str) -> tuple[list[str], dict[str, list[str]]]:
    """What kbuild did, as `CC object` and `CHECK source`, and what each step said.

    Needs the output of make -Otarget: a step's line stands before its messages.
    """
    built: list[str] = []
    said: dict[str, list[str]] = collections.defaultdict(list)
    step = ""
    for line in text.split("\n"):
        found = _STEP.match(line)
        if found:
            step = f"{found[1]} {found[2]}"
            built.append(step)
        elif _OTHER_STEP.match(line) or line.startswith("make"):
            step = ""
        elif step and re.search(r": (?:warning|error|fatal error): ", line):
            said[step].append(line)
    return built, dict(said)


def plain(message: str) -> str:
    """A message without the place it was found at, which moves with any edit."""
    return _PLACE.sub(lambda m: m[1] + ": ", message)


def new_warnings(before: dict[str, list[str]], after: dict[str, list[str]],
                 kind: str) -> list[str]:
    """Messages of `after` that `before` does not have, as they were printed."""
    def count(state: dict[str, list[str]]) -> collections.Counter[str]:
        return collections.Counter(plain(m) for step, ms in state.items()
                                   if step.startswith(kind + " ") for m in ms)
    more = count(after) - count(before)
    new = []
    for step, messages in after.items():
        for message in messages if step.startswith(kind + " ") else []:
            if more[plain(message)] > 0:
                more[plain(message)] -= 1
                new.append(message)
    return new


def total(state: dict[str, list[str]], kind: str) -> int:
    return sum(len(ms) for step, ms in state.items() if step.startswith(kind + " "))


class Builder:
    """Build directories under `folder`, one a variant, of a worktree's states.

    `symbols` are those that the series adds to Kconfig, with the file: before the patch that
    brings one, asking for it is no error.
    """

    def __init__(self, work: Worktree, folder: Path, snippets: Path, cache: Path,
                 jobs: int, symbols: dict[str, str]) -> None:
        self.work = work
        self.symbols = symbols
        self.folder = folder
        self.snippets = snippets
        self.jobs = jobs
        self.env = {
            "LC_ALL": "C", "CCACHE_DIR": str(cache / "ccache"), "CCACHE_BASEDIR": str(cache),
            "CCACHE_NOHASHDIR": "1", "CCACHE_COMPRESS": "1", "CCACHE_MAXSIZE": "8G",
            "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 1970",
            "KBUILD_BUILD_USER": "sockrepair", "KBUILD_BUILD_HOST": "localhost",
        }
        for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "KBUILD_OUTPUT"):
            os.environ.pop(name, None)

    def command(self, variant: Variant, *args: str) -> list[str]:
        return ["nice", "-n", "5", "make", f"O={self.folder / variant.name}",
                f"ARCH={variant.arch}", "CC=ccache gcc", "HOSTCC=ccache gcc",
                f"-j{self.jobs}", "-Otarget", *args]

    def wanted(self, variant: Variant) -> dict[str, str]:
        """Each symbol that a variant asks for, with its line of .config."""
        lines = ""
        for fragment in variant.fragments:
            found = sorted(self.snippets.glob(f"{fragment}-*.config"))
            if len(found) != 1:
                raise Broken(f"{self.snippets}/{fragment}-*.config: {len(found)} files")
            lines += found[0].read_text(encoding="utf-8")
        # The last line for a symbol counts.
        wanted = {}
        for line in (lines + variant.config).split("\n"):
            name = re.match(r"(?:# )?(CONFIG_\w+)[ =]", line)
            if name:
                wanted[name[1]] = line
        if variant.off:
            wanted |= {n: f"# {n} is not set" for n in map("CONFIG_".__add__, self.symbols)}
        if variant.arch == "i386":
            wanted = {n: t for n, t in wanted.items() if n not in ONLY_64BIT}
        return wanted

    def digest(self) -> str:
        """Of all that variants ask for."""
        return hashlib.sha256(json.dumps(
            [self.wanted(v) for v in VARIANTS.values()]).encode()).hexdigest()

    def configure(self, variant: Variant) -> None:
        """Writes .config; a line that asked for something and did not get it is an error."""
        out = self.folder / variant.name
        out.mkdir(parents=True, exist_ok=True)
        wanted = self.wanted(variant)
        merged = out.with_suffix(".config")
        merged.write_text("".join(line + "\n" for line in wanted.values()), encoding="utf-8")
        ran = run(self.command(variant, f"KCONFIG_ALLCONFIG={merged}", "allnoconfig"),
                  self.work.path, self.env)
        if ran.code:
            raise Broken(f"configuration '{variant.name}': {ran.text}")
        got = (out / ".config").read_text(encoding="utf-8").split("\n")
        for name, line in wanted.items():
            unset = line.startswith("#") or line.endswith("=n")
            if not self._defined(name.removeprefix("CONFIG_")):
                continue
            if (any(g.startswith(name + "=") for g in got) if unset else line not in got):
                raise Broken(f"configuration '{variant.name}': {line} did not survive")

    def _defined(self, symbol: str) -> bool:
        """False for a symbol of the series that the checkout does not have yet."""
        file = self.work.path / self.symbols.get(symbol, "")
        return symbol not in self.symbols or file.exists() and f"config {symbol}\n" in \
            file.read_text(encoding="utf-8")

    def build(self, variant: Variant, commit: str, targets: list[str]) -> State:
        """A variant of a commit, built if it never was; a failed build has a code."""
        tree = self.work.hash(commit)
        tools = run(["gcc", "--version"], Path("/")).text + run(["sparse", "--version"],
                                                                Path("/")).text \
            if variant.sparse else run(["gcc", "--version"], Path("/")).text
        key = hashlib.sha256("\0".join([
            tree, tools, json.dumps(self.wanted(variant)), *targets, *map(inspect.getsource, (
                parse, Builder.command, Builder.configure, Builder._build))
        ]).encode()).hexdigest()[:24]
        known = self.folder / "states" / f"{variant.name}-{key}.json"
        state = _load(known)
        if state is None:
            state = self._build(variant, commit, tree, targets)
            known.parent.mkdir(exist_ok=True)
            known.write_text(json.dumps(dataclasses.asdict(state)), encoding="utf-8")
        return state

    def _build(self, variant: Variant, commit: str, tree: str, targets: list[str]) -> State:
        self.work.checkout(commit)
        current = self.folder / f"{variant.name}.json"
        old = _load(current)
        # A build that was stopped leaves objects whose warnings nobody has.
        current.unlink(missing_ok=True)
        if old is None:
            shutil.rmtree(self.folder / variant.name, ignore_errors=True)
        self.configure(variant)
        checks = ["C=1", f"CF={SPARSE_FLAGS}"] if variant.sparse else []
        ran = run(self.command(variant, "-k", "W=1", *checks, *targets), self.work.path,
                  self.env)
        if "is not available or not up to date" in ran.text:
            raise Broken("kbuild left sparse out: " + ran.text.split("\n")[0])
        built, said = parse(ran.text)
        warnings = dict(old.warnings) if old else {}
        for step in built:
            warnings.pop(step, None)
        warnings.update(said)
        tail = "\n".join(line for line in ran.text.split("\n")
                         if not _OTHER_STEP.match(line))[-6000:] if ran.code else ""
        steps = sorted({*built, *(old.steps if old else [])})
        state = State(tree, ran.code, steps, warnings, tail)
        current.write_text(json.dumps(dataclasses.asdict(state)), encoding="utf-8")
        return state


def _load(file: Path) -> State | None:
    try:
        return State(**json.loads(file.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
