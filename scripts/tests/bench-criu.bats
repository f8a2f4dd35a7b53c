#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# bench-criu: what it asks of the guest, what it shows of what the guest says, and that a run which
# lost something, or did not come to its end, is no result. Guest and build are scripts of a few lines.

# shellcheck disable=SC2016,SC2154  # the scripts made here expand it; bats sets stderr

load helpers

setup() {
  new_checkout
  mkdir -p "$CACHE/build/plain/arch/x86/boot" "$CACHE/user"
  touch "$CACHE/build/plain/arch/x86/boot/bzImage" "$CACHE/build/plain/vmlinux" \
    "$CACHE/user/initramfs.cpio.lz4"
  script build-user 'echo built; echo built >>"$SOCKREPAIR_CACHE/log"'
  guest_says 'bench_criu begin' '100 connections' '  criu 10' '  sockrepair 5' \
    'bench_criu json {"loads": []}' 'bench_criu end' 'bench_criu status 0'
}

# script NAME TEXT: instead of a script of ours.
script() {
  printf '#!/usr/bin/env bash\n%s\n' "$2" >"$SCRIPTS/$1"
  chmod +x "$SCRIPTS/$1"
}

# guest_says LINE...: on its console, amid other lines, with the line ends of a terminal.
guest_says() {
  printf '%s\r\n' '[    3.4] Run /init as init process' "$@" 'guest:/tests# exit' >"$CACHE/console"
  script boot 'echo "boot $* $SOCKREPAIR_TYPED_DEADLINE" >>"$SOCKREPAIR_CACHE/log"
    cat >>"$SOCKREPAIR_CACHE/log"; cat "$SOCKREPAIR_CACHE/console"'
}

@test "the table is shown, and nothing else of the console" {
  run --separate-stderr "$SCRIPTS/bench-criu"
  ((status == 0))
  [[ $output == $'100 connections\n  criu 10\n  sockrepair 5' ]]
}

@test "the guest is built anew first, and boots without a vDSO" {
  run "$SCRIPTS/bench-criu"
  [[ $(<"$CACHE/log") == 'built
boot plain --shell --kernel-argument vdso=0 1800
bench_criu; echo "bench_criu status $?"' ]]
}

@test "--json is JSON and nothing else" {
  run --separate-stderr "$SCRIPTS/bench-criu" --json
  ((status == 0))
  [[ $output == '{"loads": []}' ]]
}

@test "figures are shown, and the run fails, if a command failed or lost something" {
  guest_says 'bench_criu begin' '  criu FAILED: byte 7 is not the one that was sent' \
    'bench_criu json {"loads": [1]}' 'bench_criu end' 'bench_criu status 1'
  run "$SCRIPTS/bench-criu"
  ((status == 1))
  says 'criu FAILED: byte 7'
  says 'a command failed, or lost something'
  run --separate-stderr "$SCRIPTS/bench-criu" --json
  ((status == 1))
  [[ $output == '{"loads": [1]}' ]]
}

@test "a run that did not come to its end shows no figures, but the last it said" {
  guest_says 'bench_criu begin' '  criu 10' 'Kernel panic'
  run --separate-stderr "$SCRIPTS/bench-criu"
  ((status == 1))
  [[ ! $output && $stderr == *'did not come to its end'*'Kernel panic'* ]]
  # Nor does one that fell silent between its figures and its verdict.
  guest_says 'bench_criu begin' '  criu 10' 'bench_criu json {}' 'bench_criu end'
  run "$SCRIPTS/bench-criu"
  ((status == 1))
}

@test "other arguments are refused before anything is booted" {
  run "$SCRIPTS/bench-criu" --text
  ((status == 1))
  says 'usage: scripts/bench-criu [--json]'
  [[ ! -e $CACHE/log ]]
}
