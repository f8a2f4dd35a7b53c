# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""A patch as `git format-patch` writes it, read into values.

    series = load(Path("kernel-patches/net-next"))
    series[0].subject               # "udp: add the UDP_REPAIR socket option"
    series[0].file("net/ipv4/udp.c").added      # (Line(3025, "\\tcase ..."), ...)

Reads text only: no tree and no git are needed.
"""

import dataclasses
import email
import email.header
import email.policy
import hashlib
import re
from pathlib import Path

_HUNK = re.compile(r"^@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_TAG = re.compile(r"^\[[^\]]*\]\s*")
_TRAILER = re.compile(r"^[A-Z][A-Za-z-]*: \S")


@dataclasses.dataclass(frozen=True)
class Line:
    """An added line; `number` counts in the file as the patch leaves it."""

    number: int
    text: str


@dataclasses.dataclass(frozen=True)
class FilePatch:
    """What a patch does to one file."""

    path: str
    new: bool
    deleted: bool
    added: tuple[Line, ...]


@dataclasses.dataclass(frozen=True)
class Patch:
    """One patch of a series; `number` is its place, from 1."""

    path: Path
    series: str
    number: int
    author: str
    date: str
    subject: str
    body: str
    files: tuple[FilePatch, ...]
    digest: str

    @property
    def name(self) -> str:
        return f"{self.series} {self.number:04d}"

    @property
    def trailers(self) -> list[str]:
        """Lines of the last paragraph, if all of it is `Tag: value`."""
        last = self.body.rstrip("\n").split("\n\n")[-1].split("\n")
        return last if all(_TRAILER.match(line) for line in last) else []

    def file(self, path: str) -> FilePatch:
        return next(f for f in self.files if f.path == path)

    def touched(self, pattern: str) -> list[FilePatch]:
        """Files that still exist after the patch and whose path matches."""
        return [f for f in self.files if not f.deleted and re.search(pattern, f.path)]


def _header(value: str | None) -> str:
    if value is None:
        return ""
    text = re.sub(r"\n[ \t]+", " ", value)
    return str(email.header.make_header(email.header.decode_header(text)))


def _files(diff: str) -> tuple[FilePatch, ...]:
    files: list[FilePatch] = []
    for part in re.split(r"(?m)^diff --git ", diff)[1:]:
        lines = part.split("\n")
        names = re.match(r"a/(.*) b/(.*)$", lines[0])
        if names is None:
            raise ValueError(f"not a diff header: {lines[0]!r}")
        added: list[Line] = []
        old_left = new_left = number = 0
        new = deleted = False
        for line in lines[1:]:
            if old_left or new_left:
                mark = line[:1]
                if mark == "+":
                    added.append(Line(number, line[1:]))
                if mark in ("+", " ", ""):
                    number += 1
                    new_left -= 1
                if mark in ("-", " ", ""):
                    old_left -= 1
                continue
            new = new or line.startswith("new file mode")
            deleted = deleted or line.startswith("deleted file mode")
            hunk = _HUNK.match(line)
            if hunk:
                old_left = int(hunk[1] or 1)
                number = int(hunk[2])
                new_left = int(hunk[3] or 1)
        files.append(FilePatch(names[2], new, deleted, tuple(added)))
    return tuple(files)


def parse(text: str, path: Path, series: str, number: int) -> Patch:
    """Reads one patch; raises ValueError if there is no diff in it."""
    # git writes the text as it is, in UTF-8, whatever the headers call it.
    head, _, content = text.partition("\n\n")
    message = email.message_from_string(head, policy=email.policy.compat32)
    start = re.search(r"(?m)^diff --git ", content)
    if start is None:
        raise ValueError(f"{path}: no diff in it")
    before = content[:start.start()]
    body = re.split(r"(?m)^---$", before)[0]
    return Patch(
        path=path, series=series, number=number,
        author=_header(message["From"]), date=_header(message["Date"]),
        subject=_TAG.sub("", _header(message["Subject"])),
        body=body, files=_files(content[start.start():]),
        digest=hashlib.sha256(text.encode()).hexdigest())


def load(folder: Path) -> list[Patch]:
    """The series in a folder, in order; an empty one is no error."""
    paths = sorted(folder.glob("[0-9][0-9][0-9][0-9]-*.patch"))
    return [parse(p.read_text(encoding="utf-8"), p, folder.name, n)
            for n, p in enumerate(paths, 1)]


def symbols(patches: list[Patch]) -> dict[str, str]:
    """Kconfig symbols that patches add, with the file of each."""
    return {found[1]: file.path for patch in patches for file in patch.touched(r"(^|/)Kconfig")
            for line in file.added if (found := re.match(r"(?:menu)?config (\w+)$", line.text))}
