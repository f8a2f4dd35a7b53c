#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# The config merger, on a kernel whose kconfig takes every symbol but GHOST.
# shellcheck disable=SC2030,SC2031  # each test is a subshell of its own

load helpers

setup() {
  new_checkout
  fetched 7.3.4
  # One symbol a fragment.
  COUNT=$(sed -nE "s/^ *\[plain\]='([0-9 ]+)'$/\1/p" "$SCRIPTS/lib.sh" | wc -w)
  ((COUNT >= 5))
}

@test "a flavour is its fragments, and a second run does nothing" {
  run "$SCRIPTS/configure" plain
  ((status == 0))
  says "plain: $COUNT symbols set, $COUNT asked for"
  [[ $(grep -c PART "$CACHE/build/plain/.config") == "$COUNT" ]]
  run "$SCRIPTS/configure" plain
  says 'plain, as before'
  run "$SCRIPTS/configure" debug
  grep -q PART_60 "$CACHE/build/debug/.config"
  run ! grep -q PART_50 "$CACHE/build/debug/.config"
}

@test "a symbol that does not survive fails, with its name, value and place" {
  printf 'CONFIG_FINE=m\n\n' >>"$REPO/Kconfig.snippets/30-part.config"
  "$SCRIPTS/configure" plain
  echo 'CONFIG_GHOST="x y"' >>"$REPO/Kconfig.snippets/30-part.config"
  run "$SCRIPTS/configure" plain
  ((status == 1))
  says 'CONFIG_GHOST: wanted "x y", got n (Kconfig.snippets/30-part.config:5)'
  says 'no such symbol in this kernel'
  [[ $output != *CONFIG_FINE* ]]
  # It fails as long as it is so, and no kernel is built meanwhile.
  run "$SCRIPTS/configure" plain
  ((status == 1))
  "$SCRIPTS/apply"
  run "$SCRIPTS/build-kernel" plain
  ((status == 1))
  says 'make configure FLAVOUR=plain'
  # Nor is what it left behind taken for the configuration of the fragments as they were.
  sed -i '$d' "$REPO/Kconfig.snippets/30-part.config"
  run "$SCRIPTS/build-kernel" plain
  ((status == 1))
  says 'make configure FLAVOUR=plain'
}

@test "a symbol that the kernel has is shown where it is defined" {
  sed -i 's/GHOST/PART_10/' "$TREE/Makefile"
  run "$SCRIPTS/configure" plain
  ((status == 1))
  says 'CONFIG_PART_10: wanted y, got n'
  says 'defined in net/Kconfig:1'
}

@test "a symbol that is asked to be off must be off" {
  echo '# CONFIG_ON is not set' >>"$REPO/Kconfig.snippets/20-part.config"
  # shellcheck disable=SC2016  # make expands it
  sed -i 's/^allnoconfig:/&\n\t@echo CONFIG_ON=y >$(O)\/forced/; s/^bzImage:/\t@cat $(O)\/forced >>$(O)\/.config\n&/' \
    "$TREE/Makefile"
  run "$SCRIPTS/configure" plain
  ((status == 1))
  says 'CONFIG_ON: wanted n, got y (Kconfig.snippets/20-part.config:3)'
}

@test "a later fragment overrides an earlier one" {
  echo 'CONFIG_LEVEL=1' >>"$REPO/Kconfig.snippets/10-part.config"
  echo 'CONFIG_LEVEL=2' >>"$REPO/Kconfig.snippets/40-part.config"
  sed -i 's/ -e GHOST/ -e GHOST -e LEVEL=1/' "$TREE/Makefile"
  run "$SCRIPTS/configure" plain
  ((status == 0))
}

@test "a line that asks for nothing is an error" {
  echo 'PART_70=y' >>"$REPO/Kconfig.snippets/10-part.config"
  run "$SCRIPTS/configure" plain
  ((status == 1))
  says 'unreadable line: wanted PART_70=y'
}

@test "a result that was edited by hand is made anew" {
  "$SCRIPTS/configure" plain
  echo 'CONFIG_HAND=y' >>"$CACHE/build/plain/.config"
  run "$SCRIPTS/configure" plain
  says "$COUNT symbols set"
  run ! grep -q HAND "$CACHE/build/plain/.config"
}

@test "an unknown flavour is named" {
  run "$SCRIPTS/configure" fast
  ((status == 1))
  says "no flavour 'fast'; there are: debug plain"
}
