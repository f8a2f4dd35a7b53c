#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# fuzz: what it asks the guest for, and what it remembers. Guest and report are scripts of a line.

# shellcheck disable=SC2016  # the scripts made here expand it

load helpers

setup() {
  new_checkout
  unset N SEED
  mkdir -p "$CACHE/build/debug/arch/x86/boot" "$CACHE/user/root/tests" "$CACHE/run/fuzz"
  echo kernel >"$CACHE/build/debug/arch/x86/boot/bzImage"
  echo fuzzer >"$CACHE/user/root/tests/tcp_repair_fuzz"
  echo init >"$CACHE/user/root/init"
  script boot 'echo "boot $*"'
  finds '1 passed, 0 failed, 0 skipped'
}

# script NAME TEXT: instead of a script of ours.
script() {
  printf '#!/usr/bin/env bash\n%s\n' "$2" >"$SCRIPTS/$1"
  chmod +x "$SCRIPTS/$1"
}

# finds SUMMARY: what the report says.
finds() {
  script report "echo '$1' | tee $CACHE/run/fuzz/summary; [[ '$1' == *' 0 failed'* ]]"
}

# fuzz_again: a second run of CI, in $output and $status.
fuzz_again() {
  run "$SCRIPTS/fuzz" --ci
  echo "$output"
}

@test "on demand ten million calls from a seed that is new" {
  run "$SCRIPTS/fuzz"
  ((status == 0))
  [[ $output == *'boot debug --into fuzz --timeout 10120 --only tcp_repair_fuzz:calls=10000000'* ]]
  [[ $output != *seed=* ]]
  [[ ${lines[-1]} == '1 passed, 0 failed, 0 skipped' ]]
}

@test "N and SEED decide" {
  N=5000 SEED=7 run "$SCRIPTS/fuzz"
  [[ $output == *'--timeout 125 --only tcp_repair_fuzz:calls=5000.seed=7'* ]]
}

@test "what is no number is refused" {
  N=many run "$SCRIPTS/fuzz"
  ((status == 1))
  SEED=-1 run "$SCRIPTS/fuzz"
  ((status == 1))
  run "$SCRIPTS/fuzz" --cl
  ((status == 1))
  [[ $output != *'boot debug'* ]]
}

@test "in CI a clean result is remembered, and said to be" {
  fuzz_again
  [[ $output == *'boot debug'*'calls=1000000.seed=1'* ]]
  fuzz_again
  ((status == 0))
  [[ $output != *'boot debug'* && $output == *'(remembered)'* ]]
  [[ ${lines[-1]} == '1 passed, 0 failed, 0 skipped' ]]
  [[ $(<"$CACHE/run/fuzz/summary") == '1 passed, 0 failed, 0 skipped' ]]
}

@test "another kernel, fuzzer, init, number or seed is run" {
  local change
  for change in build/debug/arch/x86/boot/bzImage user/root/tests/tcp_repair_fuzz user/root/init; do
    "$SCRIPTS/fuzz" --ci
    echo more >>"$CACHE/$change"
    fuzz_again
    [[ $output == *'boot debug'* ]]
  done
  SEED=2 fuzz_again
  [[ $output == *'boot debug'* ]]
  N=3 fuzz_again
  [[ $output == *'boot debug'* ]]
}

@test "a failure is not remembered" {
  finds '0 passed, 1 failed, 0 skipped'
  fuzz_again
  ((status == 1))
  finds '1 passed, 0 failed, 0 skipped'
  fuzz_again
  ((status == 0))
  [[ $output == *'boot debug'* ]]
}

@test "without kernel or fuzzer there is no result" {
  rm "$CACHE/user/root/tests/tcp_repair_fuzz"
  run "$SCRIPTS/fuzz" --ci
  ((status == 1))
  [[ $output == *'make build-user'* ]]
  rm "$CACHE/build/debug/arch/x86/boot/bzImage"
  run "$SCRIPTS/fuzz" --ci
  ((status == 1))
  [[ $output == *'make build-kernel'* ]]
}
