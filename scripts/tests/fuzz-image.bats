#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# fuzz-image: what it says of what libFuzzer did, and what it keeps. The program is a script here.

# shellcheck disable=SC2016  # the scripts made here expand it

load helpers

setup() {
  new_checkout
  mkdir -p "$BATS_TEST_TMPDIR/bin" "$CACHE/image-fuzz/crashes"
  export PATH=$BATS_TEST_TMPDIR/bin:$PATH
  local program
  for program in cmake ninja clang++ protoc; do
    printf '#!/bin/sh\n' >"$BATS_TEST_TMPDIR/bin/$program"
    chmod +x "$BATS_TEST_TMPDIR/bin/$program"
  done
  FUZZ=$CACHE/image-fuzz/cmake/fuzz
  CRASHES=$CACHE/image-fuzz/crashes
  mkdir -p "$FUZZ"
  ln -s "$REPO" "$CACHE/image-fuzz/checkout"
  printf '#!/bin/sh\ntouch "$1/seed"\n' >"$FUZZ/image_seeds"
  chmod +x "$FUZZ/image_seeds"
}

# fake_fuzzer TEXT: what runs when images are searched; $CRASHES is where crashes go. One input alone
# crashes as long as its name has "bad" in it.
fake_fuzzer() {
  cat >"$FUZZ/image_fuzz" <<END
#!/usr/bin/env bash
CRASHES=$CRASHES
if [[ \$* != *max_total_time* ]]; then [[ \${*: -1} != *bad* ]]; exit; fi
echo "\$*" >"$BATS_TEST_TMPDIR/arguments"
$1
END
  chmod +x "$FUZZ/image_fuzz"
}

@test "inputs that were tried are counted" {
  fake_fuzzer 'echo "stat::number_of_executed_units: 1234"'
  run "$SCRIPTS/fuzz-image" 7
  ((status == 0))
  says '1234 inputs in 7 s'
  grep -q -- '-max_total_time=7 ' "$BATS_TEST_TMPDIR/arguments"
  [[ -e $CACHE/image-fuzz/seeds/seed ]]
}

@test "a crash is a failure, and is kept with the command that repeats it" {
  fake_fuzzer 'echo x >$CRASHES/crash-bad; echo "ERROR: what ASan said"; exit 77'
  run "$SCRIPTS/fuzz-image" 1
  ((status == 1))
  says 'ERROR: what ASan said'
  says "rerun: scripts/fuzz-image --rerun $CRASHES/crash-bad"
  run "$SCRIPTS/fuzz-image" --rerun "$CRASHES/crash-bad"
  ((status == 1))
}

@test "earlier crashes are tried first, and are seeds once they are mended" {
  echo x >"$CRASHES/crash-bad"
  fake_fuzzer 'echo "stat::number_of_executed_units: 5"'
  run "$SCRIPTS/fuzz-image" 1
  ((status == 1))
  [[ -e $CRASHES/crash-bad && ! -e $BATS_TEST_TMPDIR/arguments ]]
  mv "$CRASHES/crash-bad" "$CRASHES/crash-mended"
  run "$SCRIPTS/fuzz-image" 1
  ((status == 0))
  [[ -e $CACHE/image-fuzz/corpus/crash-mended ]]
}

@test "a run without inputs is a failure" {
  fake_fuzzer 'echo "stat::number_of_executed_units: 0"'
  run "$SCRIPTS/fuzz-image" 1
  ((status == 1))
}

@test "as KTAP" {
  fake_fuzzer 'echo "stat::number_of_executed_units: 5"'
  run "$SCRIPTS/fuzz-image" --ktap 1
  [[ $output == $'KTAP version 1\n1..1\n# 5 inputs in 1 s\nok 1 image_fuzz' ]]
  fake_fuzzer 'echo "ERROR: what ASan said"; exit 1'
  run "$SCRIPTS/fuzz-image" --ktap 1
  ((status == 1))
  [[ ${lines[1]} == 1..1 && ${lines[2]} == '# ERROR: what ASan said' ]]
  [[ ${lines[-1]} == 'not ok 1 image_fuzz' ]]
}

@test "a wrong call is refused" {
  fake_fuzzer true
  for call in 0 x '1 2' '--rerun /nowhere'; do
    # shellcheck disable=SC2086  # several words
    run "$SCRIPTS/fuzz-image" $call
    ((status == 1))
    says usage
  done
}
