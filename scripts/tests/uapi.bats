#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# The library's copy of a kernel header of ours is the one that the series makes.

# shellcheck disable=SC2154  # bats sets them

@test "userspace/uapi is what the series has in include/uapi" {
  cd "$BATS_TEST_DIRNAME/../.." || return 1
  local copy patch made=$BATS_TEST_TMPDIR/tree count=0
  git init -q "$made"
  for copy in $(cd userspace/uapi && find . -name '*.h' -printf '%P\n'); do
    while read -r patch; do
      git -C "$made" apply --include="include/uapi/$copy" "$patch"
    done < <(source scripts/lib.sh && series_patches)
    diff -u "$made/include/uapi/$copy" "userspace/uapi/$copy"
    count=$((count + 1))
  done
  ((count > 0))
}
