#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# The guest's reader of KUnit results: what the kernel leaves in debugfs, judged as a run's KTAP.

setup() {
  cd "$BATS_TEST_DIRNAME/../.." || return 1
  export SOCKREPAIR_KUNIT=$BATS_TEST_TMPDIR
}

# kernel_says SUITE FIRST SECOND VERDICT: the results of SUITE: one test with two parameters, and
# one without.
kernel_says() {
  mkdir "$SOCKREPAIR_KUNIT/$1"
  cat >"$SOCKREPAIR_KUNIT/$1/results" <<END
KTAP version 1
1..1
    KTAP version 1
    # Subtest: $1
    1..2
        KTAP version 1
        # Subtest: bounds
        ok 1 mss
        $2
    # bounds: pass:2 fail:0 skip:0 total:2
    ok 1 bounds
    $3
# Totals: pass:3 fail:0 skip:0 total:3
$4
END
}

# judge SUITE...: reads them and has the run's reader count.
judge() {
  {
    echo 'KTAP version 1'
    echo '1..1'
    if userspace/guest/kunit "$@" >"$BATS_TEST_TMPDIR/out"; then
      sed 's/^/  /' "$BATS_TEST_TMPDIR/out"
      echo 'ok 1 kunit'
    else
      sed 's/^/  /' "$BATS_TEST_TMPDIR/out"
      echo 'not ok 1 kunit'
    fi
  } >"$BATS_TEST_TMPDIR/ktap"
  run scripts/ktap.py "$BATS_TEST_TMPDIR/ktap"
  echo "$output"
}

@test "every parameter and every test is a result of its own" {
  kernel_says tcp_repair 'ok 2 wscale' 'ok 2 codes' 'ok 1 tcp_repair'
  judge tcp_repair
  [[ ${lines[-1]} == '3 passed, 0 failed, 0 skipped' ]]
}

@test "several suites" {
  kernel_says tcp_repair 'ok 2 wscale' 'ok 2 codes' 'ok 1 tcp_repair'
  kernel_says udp_repair 'ok 2 wscale' 'ok 2 codes' 'ok 1 udp_repair'
  judge tcp_repair udp_repair
  [[ ${lines[-1]} == '6 passed, 0 failed, 0 skipped' ]]
}

@test "a failed parameter fails" {
  kernel_says tcp_repair 'not ok 2 wscale' 'ok 2 codes' 'not ok 1 tcp_repair'
  judge tcp_repair
  ((status == 1))
  [[ $output == *'fail: kunit: tcp_repair/bounds/wscale'* ]]
}

@test "a verdict of the kernel that its results do not show fails" {
  kernel_says tcp_repair 'ok 2 wscale' 'ok 2 codes' 'not ok 1 tcp_repair'
  judge tcp_repair
  ((status == 1))
}

@test "a suite that was not run to its end fails" {
  kernel_says tcp_repair 'ok 2 wscale' '' 'ok 1 tcp_repair'
  judge tcp_repair
  ((status == 1))
  [[ $output == *'short count'* ]]
}

@test "a suite without results fails, whatever the kernel says" {
  mkdir "$SOCKREPAIR_KUNIT/tcp_repair"
  printf 'KTAP version 1\n1..1\nok 1 tcp_repair\n' >"$SOCKREPAIR_KUNIT/tcp_repair/results"
  judge tcp_repair
  ((status == 1))
}

@test "the guest's awk is enough" {
  mkdir "$BATS_TEST_TMPDIR/bin"
  ln -s "$(command -v busybox)" "$BATS_TEST_TMPDIR/bin/awk"
  PATH=$BATS_TEST_TMPDIR/bin:$PATH
  kernel_says tcp_repair 'ok 2 wscale' 'ok 2 codes' 'ok 1 tcp_repair'
  judge tcp_repair
  [[ ${lines[-1]} == '3 passed, 0 failed, 0 skipped' ]]
}

@test "a suite that the kernel does not have fails" {
  judge tcp_repair
  ((status == 1))
  [[ $output == *'tcp_repair'* ]]
}
