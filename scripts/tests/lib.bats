#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# What the scripts share.
# shellcheck disable=SC2016  # what is quoted runs in the scripts that the tests make

load helpers

setup() {
  new_checkout
  printf '#!/usr/bin/env bash\nsource "%s/lib.sh"\n%s\n' "$SCRIPTS" \
    'eval "$1"' >"$BATS_TEST_TMPDIR/with-lib"
  chmod +x "$BATS_TEST_TMPDIR/with-lib"
}

# lib COMMANDS: run with lib.sh.
lib() {
  "$BATS_TEST_TMPDIR/with-lib" "$1"
}

@test "versions and lines" {
  run lib 'kernel_line 7.3; kernel_line 7.3.4; kernel_line 7.10-rc1; kernel_line 12.0.11'
  [[ $output == $'7.3\n7.3\n7.10\n12.0' ]]
  run lib "printf 'VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 0\nEXTRAVERSION = -rc2\n' | kernel_version"
  [[ $output == 7.3-rc2 ]]
  run lib 'echo all: | kernel_version'
  ((status != 0))
}

@test "BASE may have comments" {
  printf '# SPDX\n\n 7.3.4 \n' >"$REPO/kernel-patches/BASE"
  run lib base_wanted
  [[ $output == 7.3.4 ]]
}

@test "steps are numbered, and the first that fails ends the run" {
  printf '#!/usr/bin/env bash\nsource "%s/lib.sh"\nsay "got $*"\n[[ ${1:-} != bad ]]\n' "$SCRIPTS" >"$SCRIPTS/dummy"
  chmod +x "$SCRIPTS/dummy"
  run lib 'run_steps dummy "dummy a b" "dummy bad" dummy; echo not reached'
  ((status != 0))
  [[ $output == $'[1/4] dummy: got \n[2/4] dummy: got a b\n[3/4] dummy: got bad' ]]
}

@test "a second run waits for the first, a step of the first does not" {
  mkdir "$CACHE"
  exec 8>>"$CACHE/lock"
  flock 8
  run timeout 2 "$BATS_TEST_TMPDIR/with-lib" 'cache_open; echo in'
  ((status == 124))
  says "another run is using $CACHE"
  flock -u 8
  run lib 'cache_open; timeout 5 "'"$BATS_TEST_TMPDIR/with-lib"'" "cache_open; echo inner"; echo outer'
  [[ $output == $'inner\nouter' ]]
}

@test "a long command: its status, its output in the log, no clock left behind" {
  run lib 'long label "'"$BATS_TEST_TMPDIR/log"'" "" bash -c "echo out; exit 3" || echo "status $?"; jobs -r'
  [[ $output == 'status 3' ]]
  [[ $(cat "$BATS_TEST_TMPDIR/log") == out ]]
}

@test "a long command ends with the script, and all that it started" {
  "$BATS_TEST_TMPDIR/with-lib" 'long label "'"$BATS_TEST_TMPDIR/log"'" "" \
    bash -c "echo started; sleep 60 | sleep 60"' 3>&- &
  script=$!
  timeout 10 tail -F "$BATS_TEST_TMPDIR/log" 2>/dev/null | grep -q -m 1 started
  group=$(pgrep -P "$script" -x bash | head -n 1)
  kill "$script"
  status=0
  wait "$script" || status=$?
  ((status == 143))
  # Grandchildren are nobody's to wait for: they are asked for until they are gone.
  timeout 10 bash -c 'while pgrep -g "$0" >/dev/null; do sleep 0.1; done' "$group"
}

@test "cleanup runs once, last first, and keeps the status" {
  run lib 'on_exit "echo one"; on_exit "echo two"; exit 5'
  ((status == 5))
  [[ $output == $'two\none' ]]
}

@test "a child that ends by our traps does not clean up for us" {
  run lib 'on_exit "echo cleaned"; (run_cleanup); echo after the child'
  [[ $output == $'after the child\ncleaned' ]]
}

@test "a cache whose path kbuild cannot take is refused" {
  SOCKREPAIR_CACHE="$BATS_TEST_TMPDIR/a b" run lib cache_open
  ((status == 1))
  says 'white space'
}

@test "the snapshot has new files, and looking changes nothing" {
  fetched 7.3.4
  "$SCRIPTS/apply"
  first=$(lib tree_snapshot)
  [[ $first == $(git -C "$TREE" rev-parse 'HEAD^{tree}') ]]
  echo 'int new;' >"$TREE/new.c"
  second=$(lib tree_snapshot)
  [[ $second != "$first" ]]
  # Neither index nor work tree is changed by looking.
  [[ $(git -C "$TREE" status --porcelain) == '?? new.c' ]]
}
