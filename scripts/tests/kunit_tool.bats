#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# kunit: what it makes of what the kernel's own tool says. The tool is a script of a line.

load helpers

setup() {
  new_checkout
  mkdir -p "$CACHE" "$TREE/tools/testing/kunit" "$TREE/net/ipv4"
  git init -q "$TREE"
  git -C "$TREE" commit -q --allow-empty -m base
  echo "commit=$(git -C "$TREE" rev-parse HEAD)" >"$CACHE/base.info"
  echo CONFIG_KUNIT=y >"$TREE/net/ipv4/.kunitconfig"
  git -C "$TREE" add -f net
  git -C "$TREE" commit -q -m series
}

# tool STATUS LINE...: what it says and how it ends.
tool() {
  local status=$1
  shift
  {
    echo '#!/usr/bin/env bash'
    printf 'echo %q\n' "$@"
    echo "exit $status"
  } >"$TREE/tools/testing/kunit/kunit.py"
  chmod +x "$TREE/tools/testing/kunit/kunit.py"
}

@test "all passed" {
  tool 0 '[01:02:03] Testing complete. Ran 17 tests: passed: 17'
  run "$SCRIPTS/kunit"
  echo "$output"
  ((status == 0))
  [[ ${lines[-1]} == '17 passed, 0 failed, 0 skipped' ]]
}

@test "failed, crashed and skipped tests are counted" {
  tool 1 '[01:02:03] [FAILED] option_codes' \
    '[01:02:03] Testing complete. Ran 6 tests: passed: 2, failed: 1, crashed: 2, skipped: 1'
  run "$SCRIPTS/kunit"
  ((status == 1))
  [[ $output == *option_codes* ]]
  [[ ${lines[-1]} == '2 passed, 3 failed, 1 skipped' ]]
}

@test "a tool that fails without a result is a failure" {
  tool 1 'ERROR:root:make: *** no rule'
  run "$SCRIPTS/kunit"
  ((status == 1))
  [[ $output == *'no rule'* && ${lines[-1]} == '0 passed, 1 failed, 0 skipped' ]]
}

@test "a tool that passes without a test is a failure" {
  tool 0 '[01:02:03] Testing complete. Ran 0 tests: '
  run "$SCRIPTS/kunit"
  ((status == 1))
  [[ ${lines[-1]} == '0 passed, 1 failed, 0 skipped' ]]
}

@test "a folder without tests is an error" {
  tool 0 '[01:02:03] Testing complete. Ran 17 tests: passed: 17'
  run "$SCRIPTS/kunit" net/ipv6
  ((status == 1))
  [[ $output == *'no .kunitconfig in net/ipv6'* ]]
}
