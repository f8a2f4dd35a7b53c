# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""Selftests and pages of the series, and their one source in this repository.

Programs of this repository (INSTALLERS) put them into a kernel tree. A series
agrees with its sources if they change nothing in the tree that the series
makes. Where they do, each file goes into the last patch that touches it, and
what no patch has yet into a new one of kernel-patches/generated.txt.
"""

import dataclasses
import hashlib
import re

from series.bench import Bench
from series.worktree import Broken, git, need, run

INSTALLERS = ("selftests/install", "Documentation/install")
# What must have a source: the group is its path here.
SOURCED = re.compile(r"(?:tools/testing/(selftests/.+\.(?:c|h|sh|py))|(Documentation/.+\.rst))$")


@dataclasses.dataclass(frozen=True)
class NewPatch:
    """A row of generated.txt."""

    installer: str
    message: str


def rows(bench: Bench) -> list[NewPatch]:
    file = bench.patches / "generated.txt"
    if not file.exists():
        return []
    return [NewPatch(*line.split()) for line in file.read_text(encoding="utf-8").splitlines()
            if line.strip() and not line.startswith("#")]


def message(bench: Bench, row: NewPatch) -> tuple[str, str]:
    """Subject and body."""
    subject, _, body = (bench.patches / row.message).read_text(encoding="utf-8").partition("\n")
    return subject, body.strip("\n")


def digest(bench: Bench) -> str:
    """Of everything that is a source."""
    total = hashlib.sha256()
    files = [bench.patches / "generated.txt", *[bench.patches / r.message for r in rows(bench)]]
    for installer in INSTALLERS:
        folder = (bench.root / installer).parent
        files += sorted(f for f in folder.rglob("*") if f.is_file())
    for file in files:
        if file.exists():
            total.update(f"{file}\0".encode() + file.read_bytes())
    return total.hexdigest()


def install(bench: Bench, commit: str, installers: tuple[str, ...] = INSTALLERS) -> str:
    """The git tree of a commit with the sources put into it, now also checked out."""
    tree = bench.at(commit)
    bench.work.at = ""
    for installer in installers:
        if (bench.root / installer).exists():
            need(run([str(bench.root / installer), str(tree)], bench.root), installer)
    need(git(tree, "add", "-A", "-f"), "git add")
    return need(git(tree, "write-tree"), "git write-tree").strip()


def faults(bench: Bench) -> list[str]:
    """In what the series and its sources differ."""
    found = []
    subjects = {p.subject: p for p in bench.order}
    for row in rows(bench):
        subject, body = message(bench, row)
        if subject not in subjects:
            found.append(f"no patch has the subject of {row.message}: {subject}")
        elif subjects[subject].body.strip("\n") != body:
            found.append(f"{row.message} is not the message of its patch")
    final = bench.commit(bench.order[-1])
    for path in sorted({f.path for p in bench.order for f in p.files if f.new}):
        name = SOURCED.match(path)
        source = (name[1] or name[2]) if name else ""
        if source and bench.work.show(final, path) and not (bench.root / source).exists():
            found.append(f"{path}: there is no {source} here that it comes from")
    made = install(bench, final)
    # A file that one side does not have at all is named and not shown.
    between = ("diff", "--no-renames", f"{final}^{{tree}}", made)
    stat = need(git(bench.work.path, *between, "--stat=100", "--summary"), "git diff")
    if stat:
        found.append("the sources make another tree (+) than the series (-):\n" + stat + need(
            git(bench.work.path, *between, "--diff-filter=M"), "git diff"))
    return found + ["to write the sources into the series: make gen-series"] if found else []


# ---------------------------------------------------------------- writing


def _owners(bench: Bench, commits: list[str], made: str) -> dict[str, list[str]]:
    """For each commit the paths that `made` changes and that it is the last to touch."""
    changed = need(git(bench.work.path, "diff", "--name-only", "--no-renames",
                       f"{commits[-1]}^{{tree}}", made), "git diff").split()
    owners: dict[str, list[str]] = {}
    for path in changed:
        last = need(git(bench.work.path, "log", "-1", "--format=%H",
                        f"{bench.work.base}..{commits[-1]}", "--", path), "git log").strip()
        if not last:
            raise Broken(f"{path}: no patch has it; add a row to kernel-patches/generated.txt")
        owners.setdefault(last, []).append(path)
    return owners


def _amend(bench: Bench, made: str, paths: list[str]) -> None:
    """Gives files of the commit that is checked out the content that they have in `made`."""
    for path in paths:
        need(git(bench.work.path, "checkout", made, "--", path), "git checkout")
    need(git(bench.work.path, "commit", "-q", "--amend", "--no-edit", "--allow-empty"),
         "git commit --amend")


def _author(bench: Bench, commit: str) -> dict[str, str]:
    values = need(git(bench.work.path, "log", "-1", "--format=%an%n%ae%n%aI", commit),
                  "git log").split("\n")
    return {"GIT_AUTHOR_NAME": values[0], "GIT_AUTHOR_EMAIL": values[1],
            "GIT_AUTHOR_DATE": values[2]}


def rebuild(bench: Bench) -> tuple[str, dict[str, str]]:
    """Commits of the series as their sources make them: the last one, and that of each series
    that others follow.

    A new patch takes author and date of the one before it, an old one keeps
    its own: the same sources make the same patches.
    """
    if not bench.order:
        raise Broken("there is no patch that others could follow")
    commits = [bench.commit(p) for p in bench.order]
    subjects = {p.subject for p in bench.order}
    for row in rows(bench):
        if message(bench, row)[0] in subjects:
            continue
        install(bench, commits[-1], (row.installer,))
        ran = git(bench.work.path, "commit", "-q", "--cleanup=whitespace", "-F",
                  str(bench.patches / row.message), env=_author(bench, commits[-1]))
        if ran.code:
            raise Broken(f"{row.installer} adds nothing for {row.message}: {ran.text}")
        commits.append(need(git(bench.work.path, "rev-parse", "HEAD"), "HEAD").strip())
    made = install(bench, commits[-1])
    owners = _owners(bench, commits, made)
    words = {message(bench, r)[0]: r.message for r in rows(bench)}
    tip = bench.work.base
    tips = [tip]
    for commit in commits:
        tree = bench.at(tip)
        bench.work.at = ""
        need(git(tree, "cherry-pick", "--keep-redundant-commits", commit), "git cherry-pick")
        if commit in owners:
            _amend(bench, made, owners[commit])
        subject = need(git(tree, "log", "-1", "--format=%s"), "git log").strip()
        if subject in words:
            need(git(tree, "commit", "-q", "--amend", "--cleanup=whitespace", "-F",
                     str(bench.patches / words[subject])), "git commit --amend")
        tip = need(git(tree, "rev-parse", "HEAD"), "HEAD").strip()
        bench.work.at = tip
        tips.append(tip)
    if need(git(bench.work.path, "rev-parse", "HEAD^{tree}"), "HEAD").strip() != made:
        raise Broken("the patches do not make the tree that the sources make")
    need(git(bench.work.tree, "update-ref", "refs/sockrepair/generated", tip), "git update-ref")
    ends, count = {}, 0
    for name, patches in list(bench.series.items())[:-1]:
        count += len(patches)
        ends[name] = tips[count]
    return tip, ends
