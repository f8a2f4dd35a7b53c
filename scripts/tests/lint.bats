#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# What holds for every script and verb.

setup() {
  cd "$BATS_TEST_DIRNAME/../.." || return 1
}

# shell_files: every file of ours that a shell reads.
shell_files() {
  git grep -lE '^#!/usr/bin/env (bash|bats)|^# shellcheck shell=' -- . ':!kernel-patches' ':!selftests'
}

@test "shell scripts are clean" {
  shell_files | xargs shellcheck -x
}

@test "scripts fail on errors, and explain themselves" {
  local file missing=()
  for file in $(git ls-files scripts | grep -v '/.*/' | xargs grep -l '^#!/usr/bin/env bash'); do
    grep -qE '^set -euo pipefail|^(source|\.) .*lib\.sh' "$file" || missing+=("$file: set -euo pipefail")
    grep -q "^# ${file##*/}: " "$file" || missing+=("$file: no line '# ${file##*/}: ...'")
    grep -q '^#   usage:' "$file" || missing+=("$file: no usage")
    timeout 10 "$file" --help </dev/null | grep -q "^${file##*/}: " || missing+=("$file: no --help")
  done
  printf '%s\n' "${missing[@]}"
  ((${#missing[@]} == 0))
}

@test "every verb of the Makefile is one call of a script that exists, and has its help" {
  local verb script count=0
  while read -r verb; do
    count=$((count + 1))
    script=$(make -n "$verb" | awk 'NR == 1 { print $1 }')
    [[ -x $script ]] || { echo "$verb: no $script"; return 1; }
    [[ $(make -n "$verb" | wc -l) == 1 ]]
    make -s help | grep -q "make $verb  *[^ ]"
  done < <(sed -n 's/^\([a-z-]*\):.*/\1/p' Makefile)
  ((count >= 12))
}

@test "every file says its licence" {
  local lacking
  lacking=$(git ls-files | grep -vE '^LICENSES/|\.patch$|^kernel-patches/' |
    xargs grep -L 'SPDX-License-Identifier' || true)
  echo "$lacking"
  [[ ! $lacking ]]
}

@test "no file names a host of a package registry, or this machine's folders" {
  run git grep -nE 'deb\.debian|(ftp|security|archive)\.debian\.org|registry\.npmjs|(^|[^[:alnum:]])/(root|work)/' \
    -- . ':!scripts/tests/lint.bats'
  echo "$output"
  ((status == 1))
}
