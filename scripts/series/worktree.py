# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""A git work tree of the kernel that checks may leave in any state.

It hangs on the pipeline's tree (same objects, own checkout), so that nothing
here changes a file's time where the kernel under test is built. The base is
what `make fetch` tagged so, else the tree's first commit; patches become
commits with fixed names and dates, so that the same patches give the same
commits.
"""

import dataclasses
import os
import subprocess
from pathlib import Path

from series.patchfile import Patch


class Broken(Exception):
    """Something other than the series is at fault; nothing can be said."""


@dataclasses.dataclass(frozen=True)
class Ran:
    """A finished command; `text` is what it printed, both streams in order."""

    code: int
    text: str


# Tools come with the libraries of the distribution's Python, not of another one in PATH.
PATH = f"/usr/bin:/bin:{os.environ.get('PATH', '')}"


def run(command: list[str], cwd: Path, env: dict[str, str] | None = None,
        stdin: str = "") -> Ran:
    done = subprocess.run(command, cwd=cwd, env={**os.environ, "PATH": PATH, **(env or {})},
                          input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, encoding="utf-8", errors="replace")
    return Ran(done.returncode, done.stdout)


# No configuration of the person who runs this may change what git does.
GIT_ENV = {
    "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_COMMITTER_NAME": "sockrepair", "GIT_COMMITTER_EMAIL": "sockrepair@localhost",
    "GIT_TERMINAL_PROMPT": "0",
}


def git(cwd: Path, *args: str, stdin: str = "",
        env: dict[str, str] | None = None) -> Ran:
    return run(["git", *args], cwd, {**GIT_ENV, **(env or {})}, stdin)


def need(ran: Ran, what: str) -> str:
    """The text of a command that had to work."""
    if ran.code:
        raise Broken(f"{what}: {ran.text.strip()}")
    return ran.text


class Worktree:
    """A checkout of `tree`'s objects at `path`, made when it is first needed."""

    def __init__(self, tree: Path, path: Path, base: str = "") -> None:
        self.tree = tree
        self.path = path
        if git(tree, "rev-parse", "--git-dir").code:
            raise Broken(f"no kernel tree under git at {tree}: run `make apply`")
        known = base or ("base" if git(tree, "rev-parse", "-q", "--verify",
                                       "refs/tags/base").code == 0 else "")
        self.base = need(git(tree, "rev-parse", "--verify", f"{known}^{{commit}}"), known).strip() \
            if known else need(git(tree, "rev-list", "--max-parents=0", "HEAD"), "first commit"
                               ).split()[0]
        self.at = ""

    def hash(self, commit: str) -> str:
        """Identity of a commit's content."""
        return need(git(self.tree, "rev-parse", f"{commit}^{{tree}}"), commit).strip()

    def show(self, commit: str, path: str) -> str:
        """A file as of a commit; empty if it has no such file."""
        ran = git(self.tree, "show", f"{commit}:{path}")
        return "" if ran.code else ran.text

    def checkout(self, commit: str) -> Path:
        """Brings the checkout to exactly a commit and returns where it is."""
        if not (self.path / ".git").exists():
            git(self.tree, "worktree", "prune")
            need(git(self.tree, "worktree", "add", "-q", "--force", "--detach",
                     str(self.path), commit), "git worktree add")
            self.at = commit
        if self.at != commit:
            git(self.path, "am", "--abort")
            need(git(self.path, "checkout", "-q", "-f", "--detach", commit), "git checkout")
            need(git(self.path, "clean", "-qfdx"), "git clean")
            self.at = commit
        return self.path

    def apply(self, onto: str, patch: Patch) -> tuple[str, str]:
        """Applies one patch: the new commit and "", or "" and what git said."""
        self.checkout(onto)
        self.at = ""
        ran = git(self.path, "am", "-q", "--committer-date-is-author-date",
                  "--whitespace=error-all", str(patch.path.resolve()))
        if ran.code:
            more = git(self.path, "apply", "--check", "--verbose", str(patch.path.resolve()))
            git(self.path, "am", "--abort")
            return "", ran.text + more.text
        self.at = need(git(self.path, "rev-parse", "HEAD"), "HEAD").strip()
        return self.at, ""
