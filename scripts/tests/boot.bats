#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# boot: how it ends, and what it leaves, for guests of every behaviour. QEMU is a script here.

# shellcheck disable=SC2016  # the scripts made here expand it

load helpers

setup() {
  new_checkout
  mkdir -p "$CACHE/build/plain/arch/x86/boot" "$CACHE/user" "$BATS_TEST_TMPDIR/bin"
  touch "$CACHE/build/plain/arch/x86/boot/bzImage" "$CACHE/user/initramfs.cpio.lz4"
  printf '#!/bin/sh\necho 2600000\n' >"$CACHE/user/tsc-khz"
  chmod +x "$CACHE/user/tsc-khz"
  export SOCKREPAIR_ACCEL=tcg PATH=$BATS_TEST_TMPDIR/bin:$PATH
  sed -i 's/^declare -A BOOT_DEADLINE=.*/declare -A BOOT_DEADLINE=([plain]=3 [debug]=3)/
    s/^\(SUITE_GRACE\|END_DEADLINE\|PROBE_DEADLINE\)=[0-9]*/\1=3/' "$SCRIPTS/boot"
  RUN=$CACHE/run/plain
}

# fake_qemu TEXT: a QEMU that finds its channels as the real one does, then runs TEXT.
fake_qemu() {
  cat >"$BATS_TEST_TMPDIR/bin/qemu-system-x86_64" <<END
#!/usr/bin/env bash
echo \$\$ >"$BATS_TEST_TMPDIR/qemu.pid"
if [[ \$1 == --version ]]; then echo 'QEMU of a test'; exit; fi
ARGS=" \$* "
channel() { grep -oE "(id=\$1,path=|\$1:)[^ ]+" <<<"\$ARGS" | sed 's/.*[=:]//'; }
KTAP=\$(channel ktap) VERDICT=\$(channel verdict) CONSOLE=\$(channel file | tail -n 1)
$1
END
  chmod +x "$BATS_TEST_TMPDIR/bin/qemu-system-x86_64"
}

# gone: QEMU does not outlive boot.
gone() {
  ! kill -0 "$(<"$BATS_TEST_TMPDIR/qemu.pid")" 2>/dev/null
}

@test "a guest that ends is left to the report" {
  fake_qemu 'printf "KTAP version 1\n1..1\n# begin a 5\n  1..2\n  ok 1 x\n  not ok 2 y\nnot ok 1 a\n" >"$KTAP"
    echo "done" >"$VERDICT"'
  run "$SCRIPTS/boot" plain
  echo "$output"
  ((status == 0))
  [[ $output == *"not ok 2 y"* ]]
  [[ $output == *"a: 1 ok, 1 not ok (0:0"* ]]
  grep -qx 'ended=exit' "$RUN/guest.info"
  grep -qx 'status=0' "$RUN/guest.info"
  grep -q 'not ok 2 y' "$RUN/ktap.log"
}

@test "a guest that never speaks is stopped at the deadline" {
  fake_qemu 'exec sleep 60'
  run timeout 30 "$SCRIPTS/boot" plain
  ((status == 0))
  [[ $output == *"no word from the guest in 3 s"* ]]
  grep -qx 'ended=deadline' "$RUN/guest.info"
  gone
}

@test "a guest that hangs in a suite is stopped at the suite's deadline, and the suite named" {
  fake_qemu 'printf "KTAP version 1\n1..1\n# begin slow 1\n  1..2\n  ok 1 x\n" >"$KTAP"; exec sleep 60'
  run timeout 30 "$SCRIPTS/boot" plain
  ((status == 0))
  [[ $output == *"suite slow has not ended in its 1 s"* ]]
  grep -qx 'ended=deadline' "$RUN/guest.info"
  grep -qx 'where=suite slow has not ended in its 1 s' "$RUN/guest.info"
  gone
}

@test "a guest that hangs after its last suite is stopped" {
  fake_qemu 'printf "KTAP version 1\n1..1\n# begin a 1\nok 1 a\n" >"$KTAP"; exec sleep 60'
  run timeout 30 "$SCRIPTS/boot" plain
  ((status == 0))
  [[ $output == *"did not go on after suite a"* ]]
  gone
}

@test "a guest that writes without end is stopped" {
  fake_qemu 'printf "# begin a 1\n" >"$KTAP"
    while sleep 0.05; do echo "  # again" >>"$KTAP"; done'
  run timeout 30 "$SCRIPTS/boot" plain
  ((status == 0))
  grep -qx 'ended=deadline' "$RUN/guest.info"
  gone
}

@test "QEMU that fails is said, with its words" {
  fake_qemu 'echo "qemu: bad size" >&2; exit 3'
  run "$SCRIPTS/boot" plain
  [[ $output == *"QEMU failed with status 3: qemu: bad size"* ]]
  grep -qx 'ended=qemu' "$RUN/guest.info"
  grep -qx 'status=3' "$RUN/guest.info"
}

@test "boot that is interrupted takes QEMU along" {
  fake_qemu 'exec sleep 60'
  "$SCRIPTS/boot" plain >/dev/null 3>&- &
  # The fake says when it is there.
  timeout 10 bash -c "until [[ -s $BATS_TEST_TMPDIR/qemu.pid ]]; do sleep 0.05; done"
  kill "$!"
  wait "$!" || true
  timeout 10 bash -c "while kill -0 $(<"$BATS_TEST_TMPDIR/qemu.pid") 2>/dev/null; do sleep 0.05; done"
}

@test "nothing of an earlier run is left" {
  mkdir -p "$RUN"
  echo 'done' >"$RUN/verdict"
  echo '{}' >"$RUN/report.json"
  fake_qemu 'exit 0'
  run "$SCRIPTS/boot" plain
  [[ ! -s $RUN/verdict && ! -e $RUN/report.json ]]
}

@test "without a kernel or an initramfs it says what to run" {
  fake_qemu 'exit 0'
  rm "$CACHE/user/initramfs.cpio.lz4"
  run "$SCRIPTS/boot" plain
  ((status == 1))
  [[ $output == *"make build-user"* ]]
  run "$SCRIPTS/boot" debug
  ((status == 1))
  [[ $output == *"make build-kernel FLAVOUR=debug"* ]]
  run "$SCRIPTS/boot" fast
  ((status == 1))
  [[ $output == *"no flavour 'fast'"* ]]
}

@test "what to run is passed to the guest" {
  fake_qemu 'echo "$ARGS" >"$CONSOLE"'
  run "$SCRIPTS/boot" plain --only a:x.y --only b
  grep -q 'sockrepair.flavour=plain .*sockrepair.only=a:x.y,b ' "$RUN/console.log"
  grep -qx 'only=a:x.y,b' "$RUN/guest.info"
}

@test "quick: a part of the suites that take long" {
  mkdir -p "$CACHE/user/root/tests"
  printf '%s\n' 'a gtest plain/4 60 /tests/a' 'b gtest plain/0 60 /tests/b' \
    'c ktap plain 60 /tests/c' >"$CACHE/user/root/tests/suites.txt"
  fake_qemu 'echo "$ARGS" >"$CONSOLE"'
  run "$SCRIPTS/boot" plain --quick
  grep -q 'sockrepair.only=a/4,c ' "$RUN/console.log"
  grep -qx 'only=a/4,c' "$RUN/guest.info"
  run "$SCRIPTS/boot" plain
  run grep -q 'sockrepair.only' "$RUN/console.log"
  ((status == 1))
}

@test "the kernel's own tests run where the suite that reads them does" {
  fake_qemu 'echo "$ARGS" >"$CONSOLE"'
  local arguments
  for arguments in '' '--only a --only kunit' '--only kunit:tcp_repair --only b' \
    '--only kunit/3'; do
    # shellcheck disable=SC2086 # words
    run "$SCRIPTS/boot" plain $arguments
    ((status == 0))
    grep -q 'sockrepair.flavour=plain' "$RUN/console.log"
    run grep -q 'kunit.enable' "$RUN/console.log"
    ((status == 1))
  done
  run "$SCRIPTS/boot" plain --only a:kunit --only kunit_tool
  grep -q ' kunit.enable=0 ' "$RUN/console.log"
}

@test "what only some guests have is passed to QEMU" {
  fake_qemu 'echo "$ARGS" >"$CONSOLE"'
  run "$SCRIPTS/boot" plain --into other --processors 1 --memory 512M --clock 2031-02-03T04:05:06 \
    --cable near:/tmp/a --cable far:/tmp/b --set migrations=7 --again 'make migrate N=7'
  ((status == 0))
  local said=$CACHE/run/other/console.log
  grep -q -- '-smp 1,sockets=2,maxcpus=2 -m 512M ' "$said"
  grep -q -- '-rtc base=2031-02-03T04:05:06 ' "$said"
  grep -q -- '-netdev stream,id=cable0,server=on,addr.type=unix,addr.path=/tmp/a -device' "$said"
  grep -q -- '-netdev stream,id=cable1,server=off,addr.type=unix,addr.path=/tmp/b -device' "$said"
  grep -q 'sockrepair.cpus=1 sockrepair.migrations=7 ' "$said"
  grep -qx 'again=make migrate N=7' "$CACHE/run/other/guest.info"
}

@test "words for the kernel's command line are passed on, before those for init" {
  fake_qemu 'echo "$ARGS" >"$CONSOLE"'
  run "$SCRIPTS/boot" plain --kernel-argument vdso=0 --kernel-argument quiet
  ((status == 0))
  grep -q ' no_timer_check .*vdso=0 quiet sockrepair.mode=run ' "$RUN/console.log"
}

@test "a cable without an end, or without a path, is refused" {
  fake_qemu 'exit 0'
  local cable
  for cable in /tmp/a left:/tmp/a near: near:a; do
    run "$SCRIPTS/boot" plain --cable "$cable"
    ((status == 1))
    [[ $output == *'--cable is near:SOCKET or far:SOCKET'* ]]
  done
}

@test "the printed command can be pasted" {
  fake_qemu 'echo "pasted $#"'
  run "$SCRIPTS/boot" plain --print
  [[ $output == qemu-system-x86_64* ]]
  run bash -c "$output"
  [[ $output == pasted* ]]
}

@test "KVM is used only if a guest's init was reached in it; the answer is kept" {
  [[ -r /dev/kvm && -w /dev/kvm ]] || skip 'this machine has no /dev/kvm'
  unset SOCKREPAIR_ACCEL
  fake_qemu 'if [[ $ARGS == *mode=probe* ]]; then echo probed >>"$0.log"; echo hello >"$VERDICT"; fi'
  run "$SCRIPTS/boot" plain
  grep -qx 'accel=kvm' "$RUN/guest.info"
  run "$SCRIPTS/boot" plain
  [[ $(wc -l <"$BATS_TEST_TMPDIR/bin/qemu-system-x86_64.log") == 1 ]]
  # Another kernel is probed anew.
  echo new >"$CACHE/build/plain/arch/x86/boot/bzImage"
  run "$SCRIPTS/boot" plain
  [[ $(wc -l <"$BATS_TEST_TMPDIR/bin/qemu-system-x86_64.log") == 2 ]]
}

@test "a probe that hangs means TCG, and is not tried again" {
  [[ -r /dev/kvm && -w /dev/kvm ]] || skip 'this machine has no /dev/kvm'
  unset SOCKREPAIR_ACCEL
  fake_qemu 'if [[ $ARGS == *mode=probe* ]]; then echo probed >>"$0.log"; : >"$VERDICT"; exec sleep 60; fi'
  run "$SCRIPTS/boot" plain
  [[ $output == *"no init after 3 s"* ]]
  grep -qx 'accel=tcg' "$RUN/guest.info"
  run "$SCRIPTS/boot" plain
  [[ $(wc -l <"$BATS_TEST_TMPDIR/bin/qemu-system-x86_64.log") == 1 ]]
}
