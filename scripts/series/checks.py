# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""The table of checks, and what each of them runs.

To add a check, write a function (bench, patch) -> Outcome and add its row to
CHECKS. A function raises Broken when it could not find anything out.
"""

import fnmatch
import hashlib
import os
import re
import shlex
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from series import builds, rules
from series.bench import (FAIL, HERE, PASS, Bench, Broken, Check, Outcome, remember, run,
                          tool_version, verdict)
from series.builds import VARIANTS, Variant
from series.patchfile import Patch
from series.worktree import git, need

PYTHON = {"PYTHONDONTWRITEBYTECODE": "1"}


def applies(bench: Bench, patch: Patch) -> Outcome:
    bench.before(patch)
    commit, said = bench.try_apply(patch)
    return Outcome(PASS) if commit else Outcome(FAIL, "rejected", said)


# ---------------------------------------------------------------------- text


def subject(_bench: Bench, patch: Patch) -> Outcome:
    return verdict(rules.subject(patch, rules.read_table(HERE / "subject-prefixes.txt")),
                   f"{len(patch.subject)} characters")


def fixes(_bench: Bench, patch: Patch) -> Outcome:
    tags = [t for t in patch.trailers if t.startswith("Fixes:")]
    named = rules.commits(patch.body, rules.read_table(HERE / "commits.txt"))
    return verdict(rules.fixes(patch) + named, f"{len(tags)} tags")


def inline(_bench: Bench, patch: Patch) -> Outcome:
    return verdict(rules.inline(patch))


def sorted_entries(bench: Bench, patch: Patch) -> Outcome:
    commit = bench.commit(patch)
    files = patch.touched(rules.SELFTESTS + r".*/(Makefile|config|\.gitignore)$")
    return verdict([fault for f in files
                    for fault in rules.unsorted(f, bench.work.show(commit, f.path))],
                   f"{sum(len(f.added) for f in files)} lines added")


def listed(bench: Bench, patch: Patch) -> Outcome:
    commit = bench.commit(patch)
    new = [f for f in patch.touched(rules.SELFTESTS) if f.new]
    faults = []
    for file in new:
        folder = file.path.rpartition("/")[0]
        faults += rules.unlisted(file, bench.work.show(commit, f"{folder}/Makefile"),
                                 bench.work.show(commit, f"{folder}/.gitignore"))
    return verdict(faults, f"{len(new)} new files")


def _dictionary(bench: Bench) -> Path:
    """codespell's words, without those that are none of its business here."""
    path = run(["python3", "-c", "import codespell_lib as c, os; print(os.path.join("
                "os.path.dirname(c.__file__), 'data', 'dictionary.txt'))"], Path("/")).text.strip()
    if not Path(path).is_file():
        raise Broken(f"codespell has no dictionary: {path}")
    ours = {word for word, _ in rules.read_table(HERE / "words.txt")}
    lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    copy = bench.folder / "words"
    copy.write_text("".join(w for w in lines if w.partition("->")[0] not in ours),
                    encoding="utf-8")
    return copy


def checkpatch(bench: Bench, patch: Patch) -> Outcome:
    ignored = [t for t, _ in rules.read_table(HERE / "checkpatch-ignore.txt")]
    tree = bench.at(bench.before(patch))
    ran = run(["scripts/checkpatch.pl", "--strict", "--codespell",
               "--codespellfile", str(_dictionary(bench)),
               "--max-line-length=80", "--show-types", "--ignore", ",".join(ignored),
               str(patch.path.resolve())], tree, PYTHON)
    # What it cannot load it leaves out, and goes on.
    for sign in ("Traceback", "No codespell typos", "No typos will be found",
                 "No structs that should be const"):
        if sign in ran.text:
            raise Broken(f"checkpatch left a part out: {ran.text}")
    total = re.search(r"^total: (.*)$", ran.text, re.MULTILINE)
    if total is None:
        raise Broken(f"checkpatch did not finish: {ran.text}")
    clean = re.match(r"0 errors, 0 warnings, 0 checks,", total[1]) and ran.code == 0
    return Outcome(PASS, total[1]) if clean else Outcome(FAIL, total[1], ran.text)


def maintainers(bench: Bench, patch: Patch) -> Outcome:
    tree = bench.at(bench.commit(patch))
    faults = []
    for file in patch.touched("."):
        if file.path == "MAINTAINERS":
            continue
        text = need(run(["scripts/get_maintainer.pl", "--nogit", "--nogit-fallback", "--sections",
                         "-f", file.path], tree), "get_maintainer.pl")
        sections = [s for s in text.strip().split("\n") if re.fullmatch(r"[A-Z][A-Z0-9 ].*", s)]
        if not [s for s in sections if s != "THE REST"]:
            faults.append(f"{file.path}: no section of MAINTAINERS but THE REST has it")
    return verdict(faults)


def kernel_doc(bench: Bench, patch: Patch) -> Outcome:
    def warnings(commit: str, paths: list[str]) -> list[str]:
        tree = bench.at(commit)
        ran = run(["scripts/kernel-doc", "-none", "-Wall", *paths], tree, PYTHON) if paths else None
        if ran and "Traceback" in ran.text:
            raise Broken(ran.text)
        return sorted(set(ran.text.strip().split("\n")) - {""}) if ran else []
    files = patch.touched(r"\.[ch]$")
    old = {re.sub(r":\d+ ", ": ", w)
           for w in warnings(bench.before(patch), [f.path for f in files if not f.new])}
    after = warnings(bench.commit(patch), [f.path for f in files])
    new = [w for w in after if re.sub(r":\d+ ", ": ", w) not in old]
    return verdict(new, f"{len(files)} files, warnings {len(old)} before, {len(after)} after")


def uapi(bench: Bench, patch: Patch) -> Outcome:
    tree = bench.at(bench.commit(patch))
    out = bench.folder / "headers"
    need(run(["make", f"O={out / 'build'}", "ARCH=x86", f"INSTALL_HDR_PATH={out}",
              "headers_install"], tree), "make headers_install")
    faults = []
    compiled = 0
    for file in patch.touched(r"^include/uapi/.*\.h$"):
        header = file.path.removeprefix("include/uapi/")
        source = f"#include <{header}>\n#include <{header}>\n"
        for compiler in ("gcc -xc -std=c90", "gcc -xc -std=gnu17", "g++ -xc++ -std=c++98",
                         "g++ -xc++ -std=c++20"):
            for width in ("-m64", "-m32"):
                command = [*compiler.split(), width, "-Wall", "-Wextra", "-Werror",
                           "-fsyntax-only", f"-I{out}/include", "-"]
                ran = run(command, tree, stdin=source)
                compiled += 1
                if ran.code:
                    faults.append(f"{header}: {shlex.join(command)}\n{ran.text}")
    return verdict(faults, f"compiled {compiled} times")


def rst(bench: Bench, patch: Patch) -> Outcome:
    """Sphinx on each page by itself: its form, and the kernel-doc it takes in."""
    tree = bench.at(bench.commit(patch))
    faults = []
    pages = [f for f in patch.touched(r"^Documentation/.*\.rst$") if f.path.count("/") > 1]
    for file in pages:
        if file.path.endswith("/index.rst"):
            continue
        folder = bench.scratch("rst")
        name = Path(file.path).stem
        (folder / f"{name}.rst").write_bytes((tree / file.path).read_bytes())
        (folder / "conf.py").write_text(
            f"import sys\nsys.path[:0] = [{str(tree / 'Documentation/sphinx')!r},"
            f" {str(tree / 'tools/lib/python')!r}]\n"
            f"extensions = ['kerneldoc']\nkerneldoc_srctree = {str(tree)!r}\n"
            f"kerneldoc_bin = {str(tree / 'scripts/kernel-doc')!r}\nmaster_doc = {name!r}\n",
            encoding="utf-8")
        ran = run(["sphinx-build", "-q", "-b", "dummy", "-d", str(folder / "trees"),
                   str(folder), str(folder / "out")], tree, {**PYTHON, "srctree": str(tree)})
        if ran.code:
            raise Broken(f"sphinx-build: {ran.text}")
        # References to other pages need the whole manual: `htmldocs` resolves them.
        said = [line for line in ran.text.split("\n") if line.strip() and not re.search(
            r"undefined label|unknown document|document isn't included", line)]
        if any(re.search("WARNING|ERROR", line) for line in said):
            faults.append(f"{file.path}:\n" + "\n".join(said))
    return verdict(faults, f"{len(pages)} pages")


# -------------------------------------------------------------------- builds


def targets(bench: Bench) -> list[str]:
    """Directories to build: the same for every patch, so that states compare."""
    table = rules.read_table(HERE / "build-dirs.txt")
    return sorted({d for p in bench.order for f in p.files for glob, dirs in table
                   for d in dirs if fnmatch.fnmatchcase(f.path, glob)}) or ["net/ipv4/"]


def _states(bench: Bench, patch: Patch, variant: Variant) -> tuple[builds.State, builds.State]:
    before = bench.builder.build(variant, bench.before(patch), targets(bench))
    after = bench.builder.build(variant, bench.commit(patch), targets(bench))
    return before, after


def build(bench: Bench, patch: Patch, variant: Variant) -> Outcome:
    before, after = _states(bench, patch, variant)
    if after.code:
        return Outcome(FAIL, "does not build", after.tail)
    if before.code:
        raise Broken("the tree before this patch does not build")
    missing = [] if variant.name in ("off", "minimal") else [
        f"CC {f.path[:-2]}.o" for f in patch.touched(r"^net/.*\.c$")
        if f"CC {f.path[:-2]}.o" not in after.steps]
    if missing:
        raise Broken(f"not built, though the patch touches it: {missing}")
    new = builds.new_warnings(before.warnings, after.warnings, "CC")
    return verdict(new, "warnings "
                   f"{builds.total(before.warnings, 'CC')} before, "
                   f"{builds.total(after.warnings, 'CC')} after")


def build_on(bench: Bench, patch: Patch) -> Outcome:
    return build(bench, patch, VARIANTS["on"])


def build_off(bench: Bench, patch: Patch) -> Outcome:
    return build(bench, patch, VARIANTS["off"])


def build_minimal(bench: Bench, patch: Patch) -> Outcome:
    return build(bench, patch, VARIANTS["minimal"])


def build_i386(bench: Bench, patch: Patch) -> Outcome:
    return build(bench, patch, VARIANTS["i386"])


def sparse(bench: Bench, patch: Patch) -> Outcome:
    before, after = _states(bench, patch, VARIANTS["on"])
    if before.code or after.code:
        raise Broken("the tree does not build, see build-on")
    missing = [f.path for f in patch.touched(r"^net/.*\.c$")
               if f"CHECK {f.path}" not in after.steps]
    if missing:
        raise Broken(f"sparse did not see {missing}")
    new = builds.new_warnings(before.warnings, after.warnings, "CHECK")
    return verdict(new, f"warnings {builds.total(before.warnings, 'CHECK')} before, "
                   f"{builds.total(after.warnings, 'CHECK')} after")


def _semantic_patches(tree: Path) -> tuple[list[Path], list[str]]:
    """The kernel's semantic patches that can report, and the names of those that need OCaml
    where there is none."""
    able, left_out = [], []
    for script in sorted((tree / "scripts/coccinelle").rglob("*.cocci")):
        text = script.read_text(encoding="utf-8")
        if not re.search(r"virtual\s+(.*,\s*)?report\b", text):
            continue
        if re.search(r"(script|initialize|finalize):ocaml", text) and not shutil.which("ocamlopt"):
            left_out.append(script.stem)
        else:
            able.append(script)
    return able, left_out


def _reports(bench: Bench, commit: str, path: str, scripts: list[Path]) -> list[str]:
    """What semantic patches say of a file. Remembered: before one patch it is as after another."""
    out = bench.builder.folder / VARIANTS["on"].name
    tree = bench.at(commit)
    include = " ".join(f"-I{tree / d}" for d in (
        "arch/x86/include", "include", "arch/x86/include/uapi", "include/uapi")) + \
        f" -I{out}/arch/x86/include/generated -I{out}/include"

    def look(script: Path) -> list[str]:
        ran = run(["nice", "-n", "5", "scripts/coccicheck", path], tree, {
            "C": "2", "MODE": "report", "V": "0", "COCCI": str(script),
            "srctree": str(tree), "LINUXINCLUDE": include, "DEBUG_FILE": "/dev/null"})
        if ran.code:
            raise Broken(f"{script.name} on {path}: {ran.text}")
        return [f"{script.name}: {line}" for line in ran.text.split("\n")
                if re.match(r"\S+:\d+:\d+-\d+: ", line)]

    def find() -> Outcome:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return Outcome(PASS, "", "\n".join(line for found in pool.map(look, scripts)
                                               for line in found))
    # All that can be included, the file itself, and the scripts.
    headers = [line for line in need(git(tree, "ls-tree", "-r", commit), "git ls-tree").split("\n")
               if line.endswith((".h", ".cocci", f"\t{path}"))]
    key = hashlib.sha256("\0".join([path, tool_version("spatch"), *headers]).encode()).hexdigest()
    outcome = remember(bench, f"cocci-{key}", False, find)[0]
    if outcome.status != PASS:
        raise Broken(outcome.text)
    return outcome.text.split("\n") if outcome.text else []


def coccicheck(bench: Bench, patch: Patch) -> Outcome:
    """Every semantic patch of the kernel that can report, on each touched .c file."""
    files = patch.touched(r"\.c$")
    before, after = _states(bench, patch, VARIANTS["on"])
    if before.code or after.code:
        raise Broken("the tree does not build, see build-on")
    scripts, left_out = _semantic_patches(bench.at(bench.commit(patch)))
    old = [re.sub(r":\d+:\d+-\d+:", ":", r) for f in files if not f.new
           for r in _reports(bench, bench.before(patch), f.path, scripts)]
    now = [r for f in files for r in _reports(bench, bench.commit(patch), f.path, scripts)]
    new = [r for r in now if re.sub(r":\d+:\d+-\d+:", ":", r) not in old]
    note = f"{len(scripts)} semantic patches, {len(files)} files, reports {len(old)} before, " \
        f"{len(now)} after"
    if left_out:
        note += f"; not run, they need OCaml: {', '.join(left_out)}"
    return verdict(new, note)


def smatch(bench: Bench, patch: Patch) -> Outcome:
    def warnings(commit: str, paths: list[str]) -> list[str]:
        tree = bench.at(commit)
        bench.builder.configure(VARIANTS["on"])
        objects = [p[:-2] + ".o" for p in paths]
        ran = run(bench.builder.command(VARIANTS["on"], "C=2", "CHECK=smatch -p=kernel",
                                        *objects), tree, bench.builder.env) if objects else None
        if ran and (ran.code or "is not available" in ran.text):
            raise Broken(ran.text[-2000:])
        return [m for ms in builds.parse(ran.text)[1].values() for m in ms] if ran else []
    files = patch.touched(r"\.c$")
    old = {builds.plain(w)
           for w in warnings(bench.before(patch), [f.path for f in files if not f.new])}
    after = warnings(bench.commit(patch), [f.path for f in files])
    return verdict([w for w in after if builds.plain(w) not in old],
                   f"warnings {len(old)} before, {len(after)} after")


def selftest(bench: Bench, patch: Patch) -> Outcome:
    """Each program of a touched selftest, by the selftests' own Makefile."""
    tree = bench.at(bench.commit(patch))
    headers = bench.folder / "headers"
    need(run(["make", f"O={headers / 'build'}", "ARCH=x86", f"INSTALL_HDR_PATH={headers}",
              "headers_install"], tree), "make headers_install")
    faults = []
    programs = patch.touched(r"^tools/testing/selftests/.*(?<!\.bpf)\.c$")
    for file in programs:
        folder, _, name = file.path.rpartition("/")
        out = bench.scratch("selftest")
        ran = run(["make", "-C", folder, f"OUTPUT={out}",
                   f"KHDR_INCLUDES=-isystem {headers / 'include'}", f"{out / name[:-2]}"], tree)
        if ran.code or "warning:" in ran.text or not (out / name[:-2]).exists():
            faults.append(f"{file.path}:\n{ran.text}")
    return verdict(faults, f"{len(programs)} programs")


def htmldocs(bench: Bench, patch: Patch) -> Outcome:
    """The manual's part that the patch touches, and its warnings before and after."""
    parts = sorted({f.path.split("/")[1] for f in patch.touched(r"^Documentation/[^/]+/")})

    def warnings(commit: str) -> set[str]:
        tree = bench.at(commit)
        out = bench.folder / "docs"
        out.mkdir(exist_ok=True)
        # Sphinx repeats no warning about a page that it does not read again.
        shutil.rmtree(out / "Documentation/output", ignore_errors=True)
        ran = need(run(["nice", "-n", "5", "make", "-s", f"O={out}", "htmldocs",
                        f"SPHINXDIRS={' '.join(parts)}"], tree), "make htmldocs")
        for part in parts:
            if not (out / "Documentation/output" / part / "index.html").exists() and \
                    not list((out / "Documentation/output").rglob("index.html")):
                raise Broken(f"make htmldocs wrote nothing for {part}: {ran[-2000:]}")
        return {re.sub(r":\d+: ", ": ", line.replace(str(tree) + "/", ""))
                for line in ran.split("\n") if re.search("WARNING|ERROR|CRITICAL", line)}

    before, after = warnings(bench.before(patch)), warnings(bench.commit(patch))
    return verdict(sorted(after - before),
                   f"{', '.join(parts)}: warnings {len(before)} before, {len(after)} after")


CODE = r"^(?!Documentation/|tools/|MAINTAINERS$)"
BUILDS = ("builds.py", "build-dirs.txt")
COMPILER = ("gcc", "ccache", "make", "flex", "bison")

CHECKS = (
    Check("applies", "git am, no fuzz, no white space errors", applies, sources=()),
    Check("subject", f"a prefix of its files, at most {rules.MAX_SUBJECT} characters", subject,
          sources=("rules.py", "patchfile.py", "subject-prefixes.txt")),
    Check("fixes", "Fixes: tags whole, 12 digits, trailers; commits that exist, by their subject",
          fixes, sources=("rules.py", "patchfile.py", "commits.txt")),
    Check("inline", "no new inline in .c files", inline, concerns=r"\.c$"),
    Check("sorted", "selftest Makefile, config and .gitignore entries in order", sorted_entries,
          concerns=rules.SELFTESTS + r".*/(Makefile|config|\.gitignore)$"),
    Check("listed", "new selftests are in Makefile and .gitignore", listed,
          concerns=rules.SELFTESTS),
    Check("checkpatch", "checkpatch.pl --strict --codespell --max-line-length=80", checkpatch,
          needs=("perl", "codespell"), sources=("checkpatch-ignore.txt", "words.txt")),
    Check("maintainers", "get_maintainer.pl knows each file", maintainers, needs=("perl",)),
    Check("kernel-doc", "kernel-doc -none -Wall, before and after", kernel_doc,
          concerns=r"\.[ch]$"),
    Check("uapi", "each header compiles alone, twice included: C90 to C++20, 64 and 32 bit", uapi,
          concerns=r"^include/uapi/.*\.h$", needs=("make", "gcc", "g++", "rsync")),
    Check("rst", "sphinx-build of each touched page by itself", rst,
          concerns=r"^Documentation/.*\.rst$", needs=("sphinx-build",)),
    Check("build-on", "make W=1, option on, warnings before and after", build_on, fast=False,
          concerns=CODE, needs=COMPILER, sources=BUILDS),
    Check("build-off", "make W=1, option off, warnings before and after", build_off, fast=False,
          concerns=CODE, needs=COMPILER, sources=BUILDS),
    Check("build-minimal", "make W=1, allnoconfig with networking and the option", build_minimal,
          fast=False, concerns=CODE, needs=COMPILER, sources=BUILDS),
    Check("build-i386", "make W=1 ARCH=i386, option on", build_i386, fast=False, concerns=CODE,
          needs=COMPILER, sources=BUILDS),
    Check("sparse", "make C=1, warnings before and after", sparse, fast=False, concerns=CODE,
          needs=(*COMPILER, "sparse"), sources=BUILDS),
    Check("coccicheck", "scripts/coccicheck on touched .c files, before and after", coccicheck,
          fast=False, concerns=r"\.c$", needs=(*COMPILER, "spatch"), sources=BUILDS),
    Check("smatch", "make C=2 CHECK=smatch on touched .c files", smatch, fast=False,
          concerns=CODE + r".*\.c$", needs=(*COMPILER, "smatch"), sources=BUILDS,
          optional="Debian does not package it"),
    Check("selftest", "touched selftest programs compile without a warning", selftest,
          fast=False, concerns=rules.SELFTESTS + r".*\.c$", needs=("make", "gcc", "rsync")),
    Check("htmldocs", "make htmldocs of the touched part, warnings before and after", htmldocs,
          fast=False, concerns=r"^Documentation/[^/]+/", needs=("make", "sphinx-build")),
)
