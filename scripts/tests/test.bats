#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# test: what it counts, and that nothing which goes wrong is lost. Its steps are scripts of a line.

# shellcheck disable=SC2016  # the scripts made here expand it

load helpers

setup() {
  new_checkout
  local step
  for step in setup fetch apply configure build-kernel build-user boot; do
    fake "$step" 'true'
  done
  part test-offline offline '3 passed, 0 failed, 0 skipped'
  part migrate migrate '7 passed, 0 failed, 0 skipped'
  part fuzz fuzz '1 passed, 0 failed, 0 skipped'
  part test-install install '2 passed, 0 failed, 0 skipped'
  part fastpath fastpath '4 passed, 0 failed, 0 skipped'
  part test-series series '5 passed, 0 failed, 0 skipped'
  cp "$SCRIPTS/test-offline" "$SCRIPTS/report"
  cat >"$SCRIPTS/report" <<'END'
#!/usr/bin/env bash
mkdir -p "$SOCKREPAIR_CACHE/run/$1"
cp "$SOCKREPAIR_CACHE/$1.summary" "$SOCKREPAIR_CACHE/run/$1/summary"
! grep -vq ' 0 failed' "$SOCKREPAIR_CACHE/$1.summary"
END
  mkdir -p "$CACHE" "$REPO/userspace/guest"
  printf '%s\n' 'a gtest plain,debug 60 /tests/a' 'b gtest debug.2 60 /tests/b' \
    >"$REPO/userspace/guest/suites.txt"
  echo '10 passed, 0 failed, 1 skipped' >"$CACHE/plain.summary"
  echo '18 passed, 0 failed, 1 skipped' >"$CACHE/debug.1.summary"
  echo '2 passed, 0 failed, 1 skipped' >"$CACHE/debug.2.summary"
}

# fake STEP TEXT: a script that says it ran, then runs TEXT.
fake() {
  printf '#!/usr/bin/env bash\necho "[$SOCKREPAIR_STEP] %s $*"\n%s\n' "$1" "$2" >"$SCRIPTS/$1"
  chmod +x "$SCRIPTS/$1"
}

# part STEP DIR SUMMARY: a step that counts.
part() {
  fake "$1" "mkdir -p $CACHE/run/$2; echo '$3' >$CACHE/run/$2/summary"
}

last_line() {
  tail -n 1 <<<"$output"
}

@test "the last line is the sum of all parts" {
  run "$SCRIPTS/test"
  ((status == 0))
  [[ $(last_line) == '52 passed, 0 failed, 3 skipped' ]]
  [[ $output == *'[1/17] setup'* && $output == *'[11/17 debug.2] boot debug.2'* ]]
}

@test "the guests run at the same time" {
  fake boot 'touch $SOCKREPAIR_CACHE/$1.up; cd $SOCKREPAIR_CACHE; for n in {1..100}; do
    [[ -e plain.up && -e debug.1.up && -e debug.2.up ]] && exit; sleep 0.1; done; exit 1'
  run "$SCRIPTS/test"
  ((status == 0))
}

@test "a guest that cannot be booted is a failure" {
  fake boot '[[ $1 != plain ]]'
  run "$SCRIPTS/test"
  ((status != 0))
  [[ $(last_line) == '5 passed, 1 failed, 0 skipped' ]]
}

@test "a failed part fails the whole, and the other parts still run" {
  echo '9 passed, 1 failed, 1 skipped' >"$CACHE/plain.summary"
  run "$SCRIPTS/test"
  ((status == 1))
  [[ $(last_line) == '51 passed, 1 failed, 3 skipped' ]]
}

@test "a migration that fails fails the whole, and the fuzzer still runs" {
  part migrate migrate '6 passed, 1 failed, 0 skipped'
  run "$SCRIPTS/test"
  ((status == 1))
  [[ $(last_line) == '51 passed, 1 failed, 3 skipped' ]]
  [[ $output == *'migrate --ci'*'fuzz --ci'* ]]
}

@test "a failed test of the scripts fails the whole" {
  fake test-offline "mkdir -p $CACHE/run/offline
    echo '2 passed, 1 failed, 0 skipped' >$CACHE/run/offline/summary; exit 1"
  run "$SCRIPTS/test"
  ((status == 1))
  [[ $(last_line) == '51 passed, 1 failed, 3 skipped' ]]
}

@test "a step that cannot run is a failure, and the count is still the last line" {
  fake build-kernel '[[ $1 != debug ]]'
  run "$SCRIPTS/test"
  ((status != 0))
  [[ $(last_line) == '5 passed, 1 failed, 0 skipped' ]]
}

@test "a part without a summary is a failure, also when an earlier run left one" {
  mkdir -p "$CACHE/run/debug.1"
  echo '99 passed, 0 failed, 0 skipped' >"$CACHE/run/debug.1/summary"
  rm "$CACHE/debug.1.summary"
  run "$SCRIPTS/test"
  ((status != 0))
  [[ $(last_line) == '22 passed, 1 failed, 1 skipped' ]]
}

@test "the last guest counts as well" {
  echo '2 passed, 1 failed, 1 skipped' >"$CACHE/debug.2.summary"
  run "$SCRIPTS/test"
  ((status == 1))
  [[ $(last_line) == '52 passed, 1 failed, 3 skipped' ]]
}

@test "a summary that cannot be read is a failure" {
  echo 'all well' >"$CACHE/debug.1.summary"
  run "$SCRIPTS/test"
  ((status != 0))
  [[ $(last_line) == '22 passed, 1 failed, 1 skipped' ]]
}

# built: a kernel, an initramfs and their list of cases are there.
built() {
  mkdir -p "$CACHE/build/plain/arch/x86/boot" "$CACHE/user/root/tests"
  touch "$CACHE/build/plain/arch/x86/boot/bzImage" "$CACHE/build/plain/vmlinux"
  echo 'udp_repair kselftest plain,debug 60 /tests/udp_repair' >"$CACHE/user/root/tests/suites.txt"
  printf 'udp_repair\tkselftest\ts.v4.get\n' >"$CACHE/user/cases.txt"
}

@test "one case is booted by its name, on the kernel that is there" {
  built
  run "$SCRIPTS/test" s.v4.get
  ((status == 0))
  [[ $output == *'boot plain --only udp_repair:s.v4.get'* ]]
  [[ $output != *'build-kernel'* ]]
}

@test "an unknown name is an error that lists what is close to it" {
  built
  run "$SCRIPTS/test" s.v4.gte
  ((status == 1))
  [[ $output == *'s.v4.get'* && $output != *'boot plain'* ]]
}

@test "a suite that is not of the flavour is an error, not an empty run" {
  built
  mkdir -p "$CACHE/build/debug/arch/x86/boot"
  touch "$CACHE/build/debug/arch/x86/boot/bzImage"
  sed -i 's/plain,debug/plain/' "$CACHE/user/root/tests/suites.txt"
  FLAVOUR=debug run "$SCRIPTS/test" s.v4.get
  ((status == 1))
  [[ $output == *'does not run in flavour debug'* && $output != *'boot debug'* ]]
}

@test "a case that needs guests of its own names the verb" {
  built
  echo 'udp_repair kselftest migrate 60 /tests/udp_repair' >"$CACHE/user/root/tests/suites.txt"
  run "$SCRIPTS/test" s.v4.get
  ((status == 1))
  [[ $output == *'run: make migrate'* && $output != *'boot plain'* ]]
}

@test "a kernel that is not there is built first" {
  built
  rm "$CACHE/build/plain/arch/x86/boot/bzImage"
  run "$SCRIPTS/test" s.v4.get
  [[ $output == *'not built yet'*'build-kernel plain'*'boot plain'* ]]
}

@test "a case that fails makes the command fail" {
  built
  echo '0 passed, 1 failed, 0 skipped' >"$CACHE/plain.summary"
  run "$SCRIPTS/test" s.v4.get
  ((status == 1))
}

@test "run boots the guests of flavour plain at the same time and adds them up" {
  printf '%s\n' 'a gtest plain,debug 60 /tests/a' 'b gtest plain.2 60 /tests/b' \
    >"$REPO/userspace/guest/suites.txt"
  echo '10 passed, 0 failed, 1 skipped' >"$CACHE/plain.1.summary"
  echo '18 passed, 0 failed, 1 skipped' >"$CACHE/plain.2.summary"
  fake boot 'touch $SOCKREPAIR_CACHE/$1.up; cd $SOCKREPAIR_CACHE; for n in {1..100}; do
    [[ -e plain.1.up && -e plain.2.up ]] && exit; sleep 0.1; done; exit 1'
  run "$SCRIPTS/run"
  ((status == 0))
  [[ $(last_line) == '28 passed, 0 failed, 2 skipped' ]]
  [[ $output == *'[1/9] setup'* && $output == *'[7/9 plain.2] boot plain.2'* ]]
  [[ $output != *debug* ]]
  echo '9 passed, 1 failed, 1 skipped' >"$CACHE/plain.1.summary"
  run "$SCRIPTS/run"
  ((status == 1))
  [[ $(last_line) == '27 passed, 1 failed, 2 skipped' ]]
}
