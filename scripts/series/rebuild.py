# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
"""What scripts/gen-series runs: prints the last commit of the series as their sources
make them, then a line for each series that others follow: its name and its last commit."""

import os
import sys
from pathlib import Path

from series import generate
from series.bench import Bench
from series.worktree import Broken


def main() -> int:
    root = Path(__file__).resolve().parents[2]
    cache = Path(os.environ.get("SOCKREPAIR_CACHE") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sockrepair")
    try:
        with Bench(root, cache, root / "kernel-patches", cache / "tree", "", 1) as bench:
            tip, ends = generate.rebuild(bench)
        print(tip)
        for name, commit in ends.items():
            print(name, commit)
    except (Broken, ValueError, FileNotFoundError) as error:
        print(f"gen-series: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
