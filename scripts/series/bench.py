# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""Where checks run: the series, the tree they apply to, and remembered results.

A result is remembered under what it depends on: the base, the patches up to
and with the one checked, the check's own code and data, and its tools.
"""

import dataclasses
import fcntl
import functools
import hashlib
import inspect
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from series import patchfile
from series.builds import Builder
from series.patchfile import Patch
from series.worktree import Broken, Worktree, git, run

HERE = Path(__file__).parent
PASS, FAIL, SKIP, NONE = "pass", "FAIL", "skip", "none"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a check says: a status, one line about it, and the whole of a failure."""

    status: str
    note: str = ""
    text: str = ""


def verdict(faults: list[str], note: str = "") -> Outcome:
    """Passes if there are no faults."""
    if faults:
        return Outcome(FAIL, f"{len(faults)} fault{'s'[:len(faults) > 1]}", "\n".join(faults))
    return Outcome(PASS, note)


@functools.cache
def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def tool_version(tool: str) -> str:
    """What identifies a program: its file, so that nothing has to be started."""
    found = shutil.which(tool)
    if found is None:
        return "none"
    real = Path(found).resolve()
    return f"{real} {real.stat().st_size} {real.stat().st_mtime_ns}"


@functools.cache
def source(function: Callable[..., object]) -> str:
    """The code of a function and of those of its module that it calls."""
    module = sys.modules[function.__module__]
    found: dict[str, str] = {}
    waiting = [function]
    while waiting:
        one = waiting.pop()
        if one.__qualname__ in found:
            continue
        found[one.__qualname__] = inspect.getsource(one)
        for word in re.findall(r"\w+", found[one.__qualname__]):
            other = vars(module).get(word)
            if inspect.isfunction(other) and other.__module__ == module.__name__:
                waiting.append(other)
    return "\n".join(found[name] for name in sorted(found))


def read_series(patches: Path) -> dict[str, str]:
    """The table of series: the folder of each, in order, and the tree that it is mailed for."""
    file = patches / "series.txt"
    if not file.exists():
        raise Broken(f"no {file}")
    rows = [line.split() for line in file.read_text(encoding="utf-8").splitlines()
            if line.strip() and not line.startswith("#")]
    table = {row[0]: row[-1] for row in rows}
    if any(len(row) != 2 for row in rows) or len(table) != len(rows) or not rows:
        raise Broken(f"{file}: not rows of a folder and a tree, each folder once")
    others = {p.parent.name for p in patches.glob("*/*.patch")} - set(table)
    if others:
        raise Broken(f"{file}: not in it, and with patches: {', '.join(sorted(others))}")
    return table


class Bench:
    """One run's view; made once, given to every check. Others wait until it is left."""

    def __init__(self, root: Path, cache: Path, patches: Path, tree: Path, base: str,
                 jobs: int) -> None:
        self.root = root
        self.patches = patches
        self.folder = cache / "series"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.results = self.folder / "results"
        self.results.mkdir(exist_ok=True)
        # pylint: disable-next=consider-using-with
        self._lock = open(self.folder / "lock", "w", encoding="utf-8")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.work = Worktree(tree, self.folder / "tree", base)
        self.jobs = jobs
        self.trees = read_series(patches)
        self.series = {name: patchfile.load(patches / name) for name in self.trees}
        self.last = list(self.trees)[-1]
        self.order = [p for patches_of in self.series.values() for p in patches_of]
        self.builder = Builder(self.work, self.folder / "build", root / "Kconfig.snippets",
                               cache, jobs, patchfile.symbols(self.order))
        self.base_tree = self.work.hash(self.work.base)
        self._commits: dict[str, str] = {}

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_: object) -> None:
        """Lets another run have the work tree."""
        self._lock.close()

    # ------------------------------------------------------------- commits

    def prefix(self, patch: Patch | None) -> str:
        """Identity of the tree after a patch; of the base for None."""
        digest = hashlib.sha256(self.base_tree.encode())
        for other in self.order if patch else []:
            digest.update(other.digest.encode())
            if other is patch:
                break
        return digest.hexdigest()

    def previous(self, patch: Patch) -> Patch | None:
        at = self.order.index(patch)
        return self.order[at - 1] if at else None

    def commit(self, patch: Patch | None) -> str:
        """The commit after a patch; Broken if the patches do not apply."""
        if patch is None:
            return self.work.base
        commit, said = self.try_apply(patch)
        if not commit:
            raise Broken(f"{patch.name} does not apply: {said.strip().splitlines()[0]}")
        return commit

    def before(self, patch: Patch) -> str:
        return self.commit(self.previous(patch))

    def try_apply(self, patch: Patch) -> tuple[str, str]:
        """The commit after a patch and "", or "" and what git said."""
        key = self.prefix(patch)
        if key not in self._commits:
            ref = f"refs/sockrepair/series/{key}"
            known = git(self.work.tree, "rev-parse", "-q", "--verify", f"{ref}^{{commit}}")
            if known.code == 0:
                self._commits[key] = known.text.strip()
            else:
                commit, said = self.work.apply(self.before(patch), patch)
                if not commit:
                    return "", said
                # The reference keeps git from collecting the commit.
                git(self.work.tree, "update-ref", ref, commit)
                self._commits[key] = commit
        return self._commits[key], ""

    def at(self, commit: str) -> Path:
        """The worktree, at a commit."""
        return self.work.checkout(commit)

    def scratch(self, name: str) -> Path:
        """An empty folder."""
        path = self.folder / "scratch" / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path


@dataclasses.dataclass(frozen=True)
class Check:
    """A row of the table of checks.

    `concerns` is a pattern of paths: a patch that touches none of them has
    nothing to check. `sources` are the files whose content a result depends on
    besides the function itself. `optional` is the reason why a missing tool is
    a skip; without one it is a failure.
    """

    name: str
    what: str
    run: Callable[[Bench, Patch], Outcome]
    fast: bool = True
    concerns: str = ""
    needs: tuple[str, ...] = ()
    sources: tuple[str, ...] = ("rules.py", "patchfile.py")
    optional: str = ""

    def key(self, bench: Bench, patch: Patch) -> str:
        parts = [self.name, source(self.run), bench.prefix(patch), self.optional]
        parts += [file_digest(HERE / s) for s in self.sources]
        parts += [tool_version(t) for t in self.needs]
        parts += [bench.builder.digest()] if "builds.py" in self.sources else []
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def perform(check: Check, bench: Bench, patch: Patch, again: bool) -> tuple[Outcome, bool]:
    """Runs a check or remembers it; the second value says that it was remembered."""
    if check.concerns and not patch.touched(check.concerns):
        return Outcome(NONE, "nothing in it to check"), False
    missing = [t for t in check.needs if shutil.which(t) is None]
    if missing:
        reason = f"{', '.join(missing)} not installed"
        if check.optional:
            return Outcome(SKIP, f"{reason}: {check.optional}"), False
        return Outcome(FAIL, reason, f"cannot run: {reason}; run: make setup"), False
    return remember(bench, check.key(bench, patch), again, lambda: check.run(bench, patch))


def remember(bench: Bench, key: str, again: bool,
             find_out: Callable[[], Outcome]) -> tuple[Outcome, bool]:
    """What is known under a key, else what `find_out` says, which is known from then on."""
    file = bench.results / key
    try:
        if again:
            raise FileNotFoundError
        return Outcome(**json.loads(file.read_text(encoding="utf-8"))), True
    except (FileNotFoundError, ValueError, TypeError):
        pass
    try:
        outcome = find_out()
    except Broken as error:
        return Outcome(FAIL, "cannot run", f"cannot run: {error}"), False
    part = file.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(dataclasses.asdict(outcome)), encoding="utf-8")
    part.rename(file)
    return outcome, False


__all__ = ["Bench", "Broken", "Check", "FAIL", "NONE", "Outcome", "PASS", "SKIP",
           "perform", "read_series", "remember", "run", "verdict"]
