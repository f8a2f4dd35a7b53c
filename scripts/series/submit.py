# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""The commands behind scripts/submit and scripts/submit-dry-run; see their heads."""

import argparse
import dataclasses
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from series import mail, rules
from series.bench import HERE, Bench, file_digest, read_series
from series.patchfile import Patch
from series.worktree import Broken, git, need, run

PLACE = "@MEASUREMENTS@"
HELP = """\
The kernel asks to be told which tools made a meaningful part of a contribution
(Documentation/process/generated-content.rst, coding-assistants.rst; basic ones
such as git, gcc and editors are not named). Each patch gets what you state:
  Assisted-by: <your answer>       for example: LLM coccinelle sparse
Your answer, or none: """
HELP_NOTE = """\
What they were used for, and how the result was checked; it goes into the cover
letter as you write it, on one line: """


@dataclasses.dataclass(frozen=True)
class Person:
    """Who submits; certifies the patches with a Signed-off-by."""

    name: str
    address: str

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>"


@dataclasses.dataclass(frozen=True)
class Statement:
    """Tools that were used, as the submitter states them; empty for none."""

    tools: str
    note: str


def fill(text: str) -> list[str]:
    """A paragraph in lines of at most 72 characters."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > 72:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines


def with_trailers(patch: Patch, person: Person, statement: Statement) -> str:
    """The commit message as it is mailed."""
    tags = [f"Assisted-by: {statement.tools}"] if statement.tools else []
    tags.append(f"Signed-off-by: {person}")
    body = patch.body.strip("\n")
    gap = "\n" if patch.trailers else "\n\n"
    return f"{patch.subject}\n\n{body}{gap if body else ''}" + "\n".join(tags) + "\n"


def cover(text: str, version: int, measurements: str, statement: Statement) -> tuple[str, str]:
    """Subject and body of the cover letter; Broken if it is not complete."""
    subject, _, body = text.partition("\n")
    body = body.strip("\n")
    if not re.search(rf"(?m)^v{version}:", body):
        raise Broken(f"the cover letter's changelog has no line `v{version}:`")
    if body.count(PLACE) != 1:
        raise Broken(f"the cover letter has {body.count(PLACE)} places for {PLACE}, not 1")
    body = body.replace(PLACE, measurements.strip("\n"))
    if statement.tools:
        body += "\n\n" + "\n".join(fill(f"Tools: {statement.tools}. {statement.note}".strip()))
    return subject, body


def commits(bench: Bench, series: str, person: Person, statement: Statement) -> list[str]:
    """The series as the submitter mails it: their sign-off, and their name where the
    patch has that of nobody."""
    parent = bench.before(bench.series[series][0])
    made = []
    for patch in bench.series[series]:
        name, _, address = patch.author.rpartition(" <")
        author = person if address.rstrip(">").endswith("@localhost") else Person(
            name, address.rstrip(">"))
        parent = need(git(
            bench.work.tree, "commit-tree", "-p", parent, f"{bench.commit(patch)}^{{tree}}",
            stdin=with_trailers(patch, person, statement), env={
                "GIT_AUTHOR_NAME": author.name, "GIT_AUTHOR_EMAIL": author.address,
                "GIT_AUTHOR_DATE": patch.date, "GIT_COMMITTER_DATE": patch.date,
                "GIT_COMMITTER_NAME": person.name, "GIT_COMMITTER_EMAIL": person.address,
            }), "git commit-tree").strip()
        made.append(parent)
    return made


def write(bench: Bench, series: str, made: list[str], version: int, letter: tuple[str, str],
          person: Person, out: Path) -> list[Path]:
    """Writes the mails, cover letter first, into an empty folder."""
    tree = bench.work.tree
    onto = bench.before(bench.series[series][0])
    need(git(tree, "-c", "core.abbrev=12", "format-patch", "-q", "--cover-letter",
             f"--base={bench.work.base}", f"--subject-prefix=PATCH {bench.trees[series]}",
             *([f"-v{version}"] if version > 1 else []), "--cover-from-description=none",
             "--no-signature", "--stat=72", "-o", str(out), f"{onto}..{made[-1]}", env={
                 "GIT_COMMITTER_NAME": person.name, "GIT_COMMITTER_EMAIL": person.address}),
         "git format-patch")
    files = sorted(out.glob("*.patch"))
    text = files[0].read_text(encoding="utf-8")
    for mark, value in zip(("*** SUBJECT HERE ***", "*** BLURB HERE ***"), letter):
        if text.count(mark) != 1:
            raise Broken(f"git's cover letter has no {mark}")
        text = text.replace(mark, value)
    if not text.isascii() and "Content-Type:" not in text:
        text = text.replace("\n\n", "\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n"
                            "Content-Transfer-Encoding: 8bit\n\n", 1)
    files[0].write_text(text, encoding="utf-8")
    return files


def addresses(text: str) -> list[str]:
    """The lines that are mail addresses; git's complaints about commits that an imported
    tree does not have are none."""
    return [line for line in text.split("\n")
            if re.fullmatch(r"(?:[^<>@:]+ <[^<>@\s]+@[^<>@\s]+>|[^<>@\s:]+@[^<>@\s:]+)", line)]


def recipients(bench: Bench, series: str, files: list[Path]) -> tuple[list[str], list[str]]:
    """To and Cc, by the kernel's MAINTAINERS."""
    tree = bench.at(bench.commit(bench.series[series][-1]))

    def ask(*options: str) -> list[str]:
        text = need(run(["scripts/get_maintainer.pl", "--nogit", "--nogit-fallback",
                         "--norolestats", *options, *[str(f.resolve()) for f in files[1:]]],
                        tree), "get_maintainer.pl")
        return addresses(text)
    to = ask("--nol", "--nor")
    return to, [a for a in ask("--nom") if a not in to]


def identity(root: Path) -> Person:
    """The submitter, by their own git configuration."""
    values = [subprocess.run(["git", "config", f"user.{key}"], cwd=root, text=True, check=False,
                             stdout=subprocess.PIPE).stdout.strip() for key in ("name", "email")]
    if not all(values):
        raise Broken("who signs off? set git config user.name and user.email")
    return Person(*values)


def state_tools(args: argparse.Namespace) -> Statement:
    """Asks what was not given; a submitter who says nothing cannot go on."""
    tools, note = args.tools, args.tools_note
    if tools is None and not sys.stdin.isatty():
        raise Broken("state the tools used: --tools 'LLM coccinelle', or --tools none")
    tools = (input(HELP) if tools is None else tools).strip()
    if not tools or "\n" in tools or tools.startswith("Assisted-by"):
        raise Broken("state the tools used, on one line and without the tag, or none")
    if tools.lower() == "none":
        return Statement("", "")
    if note is None and sys.stdin.isatty():
        note = input(HELP_NOTE)
    return Statement(tools, (note or "").strip())


def measured(cache: Path, series: str) -> str:
    """The tables that `make fastpath` wrote; Broken if they are not there or not whole."""
    file = cache / "fastpath" / f"summary-{series}.txt"
    if not file.exists():
        raise Broken(f"no measurements in {file}; run: make fastpath")
    text = file.read_text(encoding="utf-8")
    if not text.strip() or "not counted in this run" in text or "FAILED" in text:
        raise Broken(f"{file} is not what a cover letter can show; run: make fastpath")
    return text


def measure(root: Path, series: str) -> str:
    """The tables for the series as it is: fastpath itself knows whether they still hold, and
    takes no time if they do."""
    measured(cache_folder(), series)
    if subprocess.run([str(root / "scripts/fastpath")], check=False).returncode:
        raise Broken("fastpath failed, there is nothing to show")
    return measured(cache_folder(), series)


def cache_folder() -> Path:
    return Path(os.environ.get("SOCKREPAIR_CACHE") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sockrepair")


def open_bench(args: argparse.Namespace, root: Path) -> Bench:
    return Bench(root, cache_folder(), args.patches or root / "kernel-patches",
                 args.tree or cache_folder() / "tree", args.base, 1)


def arguments(prog: str, argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=prog)
    parser.add_argument("--patches", type=Path, metavar="DIR", help="instead of kernel-patches/")
    parser.add_argument("--tree", type=Path, metavar="DIR", help="instead of the cache's tree/")
    parser.add_argument("--base", default="", metavar="COMMIT",
                        help="what the series applies to, if it is not the tree's first commit")
    if prog == "submit":
        parser.add_argument("--series", metavar="NAME",
                            help="one of kernel-patches/series.txt")
        parser.add_argument("--version", type=int, default=1, metavar="N",
                            help="of the series, as in [PATCH net-next vN]")
        parser.add_argument("--tools", metavar="TEXT", help="tools used, or none; asked if absent")
        parser.add_argument("--tools-note", metavar="TEXT", help="what they were used for")
    else:
        parser.add_argument("--again", action="store_true", help="remember nothing")
    return parser.parse_args(argv)


def check(args: argparse.Namespace, root: Path) -> None:
    """Broken if check-series finds a fault."""
    command = [str(root / "scripts/check-series"), "--quiet", "--series", args.series]
    for option in ("patches", "tree", "base"):
        if getattr(args, option):
            command += [f"--{option}", str(getattr(args, option))]
    if subprocess.run(command, check=False).returncode:
        raise Broken("the series has faults, nothing was written")


def published(bench: Bench, origin: str) -> str:
    """The base's name outside of this machine: the commit that a git tree given as
    KERNEL_TREE has checked out, if that has the base's content. Empty if it has none."""
    if not origin or git(Path(origin), "rev-parse", "HEAD^{tree}").text.strip() != bench.base_tree:
        return ""
    return git(Path(origin), "rev-parse", "HEAD").text.strip()


def blamed(patches: list[Patch], origin: str) -> tuple[list[str], list[str]]:
    """Authors of the commits that Fixes: tags name, by the history of a git tree given as
    KERNEL_TREE; and those commits that it does not have."""
    people: list[str] = []
    unknown: list[str] = []
    tags = [rules.FIXES.match(t) for p in patches for t in p.trailers if t.startswith("Fixes:")]
    for name in dict.fromkeys(tag[1] for tag in tags if tag):
        ran = git(Path(origin), "log", "-1", "--format=%an <%ae>", name) if origin else None
        if ran is None or ran.code:
            unknown.append(name)
        else:
            people += addresses(ran.text)
    return list(dict.fromkeys(people)), unknown


def before(bench: Bench, series: str) -> str:
    """The series that this one needs, with their numbers of patches; empty if there are none."""
    names = list(bench.series)
    return " and ".join(f"the {len(bench.series[name])} of {name}"
                        for name in names[:names.index(series)] if bench.series[name])


def submit(argv: list[str], root: Path) -> int:
    args = arguments("submit", argv)
    out = root / "outgoing" / f"{args.series}-v{args.version}"
    try:
        known = read_series(args.patches or root / "kernel-patches")
        if args.series not in known:
            raise Broken((f"no series {args.series}" if args.series else "which one? --series NAME")
                         + f"; there are, in this order: {', '.join(known)}")
        person = identity(root)
        text = ((args.patches or root / "kernel-patches") / args.series / "cover-letter.txt"
                ).read_text(encoding="utf-8")
        measurements = measure(root, args.series)
        statement = state_tools(args)
        letter = cover(text, args.version, measurements, statement)
        check(args, root)
        with open_bench(args, root) as bench:
            if not bench.series[args.series]:
                raise Broken(f"{args.series} has no patches")
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir(parents=True)
            made = commits(bench, args.series, person, statement)
            files = write(bench, args.series, made, args.version, letter, person, out)
            to, cc = recipients(bench, args.series, files)
            name = published(bench, os.environ.get("KERNEL_TREE", ""))
            authors, unknown = blamed(bench.series[args.series], os.environ.get("KERNEL_TREE", ""))
            cc += [a for a in authors if a not in to + cc]
            base = bench.work.base
            others = before(bench, args.series)
    except (Broken, ValueError, FileNotFoundError) as error:
        print(f"submit: {error}", file=sys.stderr)
        return 1
    if name:
        files[0].write_text(files[0].read_text(encoding="utf-8").replace(
            f"base-commit: {base}", f"base-commit: {name}"), encoding="utf-8")
    for file in files:
        print(f"written: {file.relative_to(root)}")
    if others:
        print(f"\nThese patches follow {others}. Mail them when the list's tree has those: one series "
              "at a time.")
    if not name:
        print(f"\nbase-commit {base[:12]} is this machine's import of a kernel, nobody else has "
              "it.\nBefore you mail, take the list's tree as the base: "
              "KERNEL_TREE=DIR make fetch apply submit")
    if unknown:
        print(f"\nWho wrote what Fixes: names belongs into Cc; no history here has "
              f"{', '.join(unknown)}.")
    print("\nNothing was mailed. Read the files; then, to mail them:\n\n  " + " \\\n    ".join(
        ["git send-email --8bit-encoding=UTF-8", *[f"--to={shlex.quote(a)}" for a in to],
         *[f"--cc={shlex.quote(a)}" for a in cc], f"{out.relative_to(root)}/*.patch"]))
    return 0


# A name that ASCII cannot carry, at a domain that cannot exist.
DRY_PERSON = Person("Zoë Größe", "dry-run@sockrepair.invalid")
DRY_TO = ["Łukasz Example <to@sockrepair.invalid>"]
DRY_CC = ["list@sockrepair.invalid"]


def dry_run(bench: Bench, series: str, measurements: str) -> list[str]:
    """Sends a series to itself; what did not survive, empty if all did."""
    statement = Statement("none-real", "A dry run: no person stated this.")
    letter = cover((bench.patches / series / "cover-letter.txt").read_text(encoding="utf-8"),
                   1, measurements, statement)
    made = commits(bench, series, DRY_PERSON, statement)
    files = write(bench, series, made, 1, letter, DRY_PERSON, bench.scratch("outgoing"))
    with mail.Sink() as sink:
        ran = mail.send(files, sink, str(DRY_PERSON), DRY_TO, DRY_CC)
        if ran.code:
            raise Broken(f"git send-email: {ran.text}")
        mails = sink.mails
    wrong = mail.faults(mails, files, DRY_TO, DRY_CC)
    tree = bench.at(bench.before(bench.series[series][0]))
    bench.work.at = ""
    got, said = mail.apply(mails[1:], tree, bench.scratch("mbox"))
    return wrong + mail.changed(bench.work.tree, made, got) + ([said] if said.strip() else [])


def submit_dry_run(argv: list[str], root: Path) -> int:
    args = arguments("submit-dry-run", argv)
    failed = 0
    try:
        with open_bench(args, root) as bench:
            for series in bench.series:
                if not bench.series[series]:
                    print(f"{series}: no patches, nothing to send")
                elif not survives(bench, series, args.again):
                    failed += 1
    except (Broken, ValueError, FileNotFoundError) as error:
        print(f"submit-dry-run: {error}", file=sys.stderr)
        return 1
    return 1 if failed else 0


def survives(bench: Bench, series: str, again: bool) -> bool:
    """Sends a series unless it is known to survive, and says what became of it."""
    patches = bench.series[series]
    try:
        measurements = measured(cache_folder(), series)
    except Broken:
        measurements = "(dry run: nothing was measured)"
    known = bench.results / ("dry-run-" + hashlib.sha256("\0".join([
        bench.prefix(patches[-1]), measurements,
        file_digest(bench.patches / series / "cover-letter.txt"),
        *[file_digest(HERE / f) for f in ("mail.py", "submit.py", "worktree.py", "patchfile.py")]
    ]).encode()).hexdigest())
    count = f"{series}: {len(patches) + 1} mails"
    if known.exists() and not again:
        print(f"{count} survived (remembered)")
        return True
    wrong = dry_run(bench, series, measurements)
    if wrong:
        print("\n".join(f"{series}: {w}" for w in wrong))
        return False
    known.touch()
    print(f"{count} sent to loopback; they arrived in order and in one thread, and git am made "
          "the same commits of them")
    return True
