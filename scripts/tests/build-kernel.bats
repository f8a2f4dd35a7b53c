#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# The build's bookkeeping, on a kernel that builds at once.
# shellcheck disable=SC2030,SC2031  # each test is a subshell of its own

load helpers

setup() {
  new_checkout
  fetched 7.3.4
  new_series
  "$SCRIPTS/configure" plain
}

@test "a kernel is built once, and says what it was built from" {
  run "$SCRIPTS/build-kernel" plain
  ((status == 0))
  says 'plain: Linux 7.3.4 with 3 patches'
  grep -q '^state=applied$' "$CACHE/build/plain/kernel.info"
  grep -q "^tree=$(git -C "$TREE" rev-parse 'HEAD^{tree}')$" "$CACHE/build/plain/kernel.info"
  before=$(stat -c %y "$CACHE/build/plain/vmlinux")
  run "$SCRIPTS/build-kernel" plain
  says 'as before'
  [[ $(stat -c %y "$CACHE/build/plain/vmlinux") == "$before" ]]
}

@test "it is built again when the series, the configuration or the image changed" {
  "$SCRIPTS/build-kernel" plain
  rm "$CACHE/build/plain/arch/x86/boot/bzImage"
  run "$SCRIPTS/build-kernel" plain
  [[ $output != *'as before'* ]]
  echo 'CONFIG_MORE=y' >>"$REPO/Kconfig.snippets/10-part.config"
  "$SCRIPTS/configure" plain
  run "$SCRIPTS/build-kernel" plain
  [[ $output != *'as before'* ]]
  rm "$REPO"/kernel-patches/net-next/0002-*
  "$SCRIPTS/apply"
  run "$SCRIPTS/build-kernel" plain
  says '2 patches'
  [[ $output != *'as before'* ]]
  run ! grep -q repair "$CACHE/build/plain/vmlinux"
}

@test "a tree without all patches is not built" {
  sed -i 's/thirty/30/' "$REPO"/kernel-patches/net-next/0001-*
  run "$SCRIPTS/build-kernel" plain
  ((status == 1))
  says 'make apply'
}

@test "a tree on another base than the one that was fetched is not built" {
  fetched 7.3.5
  run "$SCRIPTS/build-kernel" plain
  ((status == 1))
  says 'make apply'
}

@test "a developer's edits are built, and said" {
  echo 'int edit;' >>"$TREE/net/ipv4/udp.c"
  run "$SCRIPTS/build-kernel" plain
  ((status == 0))
  says 'AND EDITS THAT ARE NOT IN kernel-patches/'
  grep -q '^state=edited$' "$CACHE/build/plain/kernel.info"
  grep -q 'int edit' "$CACHE/build/plain/vmlinux"
}

@test "a failure shows the error, the end of the log and how to run it again" {
  echo 'BROKEN' >>"$TREE/net/ipv4/udp.c"
  run "$SCRIPTS/build-kernel" plain
  ((status == 1))
  says 'net/ipv4/udp.c:1:1: error: broken'
  says $'\nnoise 20\n'
  says 'noise 40'
  [[ $output != *$'\nnoise 9\n'* ]]
  says "again:       SOCKREPAIR_CACHE=$CACHE $SCRIPTS/build-kernel plain"
  [[ ! -e $CACHE/build/plain/kernel.info ]]
  run "$SCRIPTS/build-kernel" plain
  ((status == 1))
}

@test "warnings are shown, with the file as the tree has it" {
  echo '// WARN' >>"$TREE/net/ipv4/udp.c"
  run "$SCRIPTS/build-kernel" plain
  ((status == 0))
  says $'1 warnings:\nnet/ipv4/udp.c:1:1: warning: odd'
}
