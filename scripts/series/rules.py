# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""Rules on the text of a patch: each returns what is wrong, one line a fault.

No tree, no build: what a reviewer sees without applying the patch. Rules on
a file's content take that content from the caller.
"""

import fnmatch
import re
from pathlib import Path, PurePosixPath

from series.patchfile import FilePatch, Patch

MAX_SUBJECT = 75
MAX_PATCHES = 15
FIXES = re.compile(r'^Fixes: ([0-9a-f]{12}) \("(.+)"\)$')
NAMED = re.compile(r'\b(?:commit|Fixes:)\s+([0-9a-f]{7,40})\b(?:\s+\("(.+?)"\))?', re.DOTALL)
SELFTESTS = r"^tools/testing/selftests/"

Table = list[tuple[str, list[str]]]


def read_table(path: Path) -> Table:
    """Rows `key  value, value`; empty lines and `#` lines are comments."""
    rows: Table = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            key, _, values = line.partition("  ")
            rows.append((key, [v.strip() for v in values.split(",")]))
    return rows


def subject(patch: Patch, prefixes: Table) -> list[str]:
    """`prefix: summary`, with a prefix its files are known by."""
    faults = []
    if len(patch.subject) > MAX_SUBJECT:
        faults.append(f"{len(patch.subject)} characters, at most {MAX_SUBJECT} are read")
    if patch.subject.endswith("."):
        faults.append("ends in a full stop")
    known = [p for glob, ps in prefixes for p in ps
             if any(fnmatch.fnmatchcase(f.path, glob) for f in patch.files)]
    used = next((p for p in known if patch.subject.startswith(p + ": ")), None)
    if used is None:
        faults.append("no known prefix; for these files: " + (
            ", ".join(sorted(set(known))) or "none, add a row to subject-prefixes.txt"))
    elif not patch.subject[len(used) + 2:].strip():
        faults.append("nothing after the prefix")
    return [f"{fault}: {patch.subject}" for fault in faults]


def fixes(patch: Patch) -> list[str]:
    """Fixes: tags are whole, of 12 digits, and among the trailers."""
    faults = []
    lines = patch.body.split("\n")
    tags = [line for line in lines if re.match(r"\s*fixes\s*:", line, re.IGNORECASE)]
    for tag in tags:
        if not FIXES.match(tag):
            faults.append(f'not `Fixes: <12 digits> ("subject")` on one line: {tag}')
        elif tag not in patch.trailers:
            faults.append(f"not among the trailers at the end: {tag}")
    return faults


def commits(text: str, known: Table) -> list[str]:
    """Commits that a text names are those of the table, by 12 digits and by their subject."""
    faults = []
    subjects = {key: ", ".join(values) for key, values in known}
    for name, said in NAMED.findall(text):
        said = " ".join(said.split())
        if name not in subjects:
            faults.append(f"{name} is not in commits.txt: look the commit up, name it by 12 digits "
                          "and add a row")
        elif said and said != subjects[name]:
            faults.append(f"{name} is ({subjects[name]}), not ({said})")
    return faults


def inline(patch: Patch) -> list[str]:
    """The compiler decides in .c files. Comments count too: the list's bot greps."""
    word = re.compile(r"\b(?:__always_inline|__inline__|__inline|inline)\b", re.IGNORECASE)
    return [f"{f.path}:{line.number}: {line.text.strip()}"
            for f in patch.touched(r"\.c$") for line in f.added if word.search(line.text)]


def _item(path: str, line: str) -> str | None:
    """The entry that a line of a selftest list holds, None if it holds none."""
    text = line.strip()
    if not text or text.startswith("#"):
        return None
    name = PurePosixPath(path).name
    if name == "Makefile":
        item = text.removesuffix("\\").strip()
        return item if line.startswith("\t") and item and "$" not in item else None
    if name == "config":
        return text.partition("=")[0] if "=" in text else None
    return text


def _ordered(first: str, second: str, config: bool) -> bool:
    """Either of the orders in use: by byte, or by depth and without case; for options
    without `_` too."""
    def key(item: str) -> tuple[int, str]:
        return item.count("/"), item.replace("_", "") if config else item.lower()
    return first <= second or key(first) <= key(second)


def unsorted(changed: FilePatch, text: str) -> list[str]:
    """Added entries of a selftest Makefile, config or .gitignore stand in order.

    `text` is the file after the patch. Neighbours are those of the same list:
    in a Makefile a list is one continued assignment.
    """
    faults = []
    lines = text.split("\n")
    makefile = changed.path.endswith("/Makefile")
    for added in changed.added:
        if makefile and re.match(r"[A-Z][A-Z0-9_]*\s*[:+]?=\s*[^\\$\s]", added.text):
            name = re.split(r"\s*[:+]?=", added.text)[0]
            if re.match(r"(TEST|YNL)_", name):
                faults.append(f"{changed.path}:{added.number}: belongs into the list of "
                              f"{name}, one entry a line: {added.text}")
            continue
        item = _item(changed.path, added.text)
        if item is None:
            continue
        at = added.number - 1
        for step, before in ((-1, True), (1, False)):
            near = at + step
            while 0 <= near < len(lines):
                other = _item(changed.path, lines[near])
                if other is not None:
                    pair = (other, item) if before else (item, other)
                    if not _ordered(*pair, changed.path.endswith("/config")):
                        faults.append(f"{changed.path}:{added.number}: {pair[0]} "
                                      f"stands before {pair[1]}")
                    break
                if makefile and not lines[near].startswith("\t"):
                    break
                near += step
    return faults


def unlisted(new: FilePatch, makefile: str, gitignore: str) -> list[str]:
    """A new selftest is built or run by its Makefile; its program is ignored by git."""
    path = PurePosixPath(new.path)
    if path.suffix not in (".c", ".sh", ".py") or path.name.endswith(".bpf.c"):
        return []
    name = path.stem if path.suffix == ".c" else path.name
    faults = []
    if not re.search(rf"(?m)^\t{re.escape(name)}(?:\.o)?(?: \\)?$|\b{re.escape(name)}\b",
                     makefile):
        faults.append(f"{new.path}: {name} is not in {path.parent}/Makefile")
    if path.suffix == ".c" and not re.search(rf"(?m)^/?{re.escape(name)}$", gitignore):
        faults.append(f"{new.path}: {name} is not in {path.parent}/.gitignore")
    return faults


def series(patches: list[Patch], cover: str | None, known: Table) -> list[str]:
    """What the list asks of a series as a whole; `cover` is its letter, None if it has none,
    `known` the commits that it may name."""
    faults = [f"cover-letter.txt:{n}: {len(line)} characters, at most {MAX_SUBJECT}: {line}"
              for n, line in enumerate((cover or "").split("\n"), 1)
              if len(line) > MAX_SUBJECT and "://" not in line]
    faults += [f"cover-letter.txt: {fault}" for fault in commits(cover or "", known)]
    if len(patches) > MAX_PATCHES:
        faults.append(f"{len(patches)} patches, the list takes at most {MAX_PATCHES}")
    if len(patches) > 1 and cover is None:
        faults.append("no cover-letter.txt")
    if patches and patches[0].series == "net" and not any(
            t.startswith("Fixes:") for p in patches for t in p.trailers):
        faults.append("a series for net without one Fixes: tag")
    for patch in patches:
        areas = {bool(re.match(SELFTESTS, f.path)) for f in patch.files
                 if f.path != "MAINTAINERS"}
        if len(areas) > 1:
            faults.append(f"{patch.path.name}: code and selftests in one patch")
        signed = [t for t in patch.trailers if t.startswith("Signed-off-by:")]
        faults += [f"{patch.path.name}: {tag}: a person signs when they submit"
                   for tag in signed]
    return faults
