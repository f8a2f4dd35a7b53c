#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# The patch applier, on a kernel of five files.
# shellcheck disable=SC2030,SC2031  # each test is a subshell of its own

load helpers

setup() {
  new_checkout
  fetched 7.3.4
  new_series
}

# other_cache: as on another machine.
other_cache() {
  export SOCKREPAIR_CACHE=$BATS_TEST_TMPDIR/other
  TREE=$SOCKREPAIR_CACHE/tree
  "$SCRIPTS/fetch"
}

@test "the series is applied in order, one commit a patch" {
  other_cache
  run "$SCRIPTS/apply"
  says '3 patches on 7.3.4'
  ((status == 0))
  run git -C "$TREE" log --reverse --format=%s
  [[ $output == $'Linux 7.3.4\ntcp: fix three\nudp: widen thirty\nudp: add repair' ]]
  run git -C "$TREE" log -1 --format='%an %cn'
  [[ $output == 'A Developer sockrepair' ]]
  [[ $(git -C "$TREE" log -1 --format=%s net-end) == 'tcp: fix three' ]]
  [[ ! $(git -C "$TREE" status --porcelain) ]]
  grep -q '^long line_30' "$TREE/net/ipv4/udp.c"
}

@test "a third series is applied after the second, and its end is known" {
  first=$(git -C "$TREE" rev-parse series)
  third_series
  other_cache
  run "$SCRIPTS/apply"
  says '3 patches on 7.3.4'
  [[ $(git -C "$TREE" rev-parse series) == "$first" ]]
  [[ $(git -C "$TREE" log -1 --format=%s net-end) == 'tcp: fix three' ]]
  [[ $(git -C "$TREE" log -1 --format=%s net-next-end) == 'udp: widen thirty' ]]
  run ! git -C "$TREE" rev-parse -q --verify net-next-more-end
}

@test "an empty series ends where the one before it does" {
  rm "$REPO"/kernel-patches/net/*.patch
  other_cache
  "$SCRIPTS/apply"
  [[ $(git -C "$TREE" rev-parse net-end) == $(git -C "$TREE" rev-parse base-7.3.4) ]]
}

@test "the table of series is whole, or nothing is done" {
  table=$REPO/kernel-patches/series.txt
  before=$(state "$TREE")
  for line in 'net-more' 'net net' 'net-more net more' 'net/more net'; do
    cp "$table" "$BATS_TEST_TMPDIR/table"
    echo "$line" >>"$table"
    run "$SCRIPTS/apply"
    ((status == 1))
    says 'series.txt: not a row'
    mv "$BATS_TEST_TMPDIR/table" "$table"
  done
  sed -i '/^net-next/d' "$table"
  run "$SCRIPTS/apply"
  ((status == 1))
  says 'kernel-patches/net-next has patches and is not in'
  rm "$table"
  run "$SCRIPTS/apply"
  ((status == 1))
  [[ $(state "$TREE") == "$before" ]]
}

@test "the same series makes the same commits everywhere" {
  first=$(git -C "$TREE" rev-parse series)
  other_cache
  "$SCRIPTS/apply"
  [[ $(git -C "$TREE" rev-parse series) == "$first" ]]
}

@test "a second run touches nothing" {
  before=$(state "$TREE")
  run "$SCRIPTS/apply"
  says 'as before'
  [[ $(state "$TREE") == "$before" ]]
}

@test "only files that differ are written" {
  before=$(stat -c %Y.%i "$TREE/net/ipv4/tcp.c" "$TREE/Makefile")
  rm "$REPO"/kernel-patches/net-next/0002-*
  run "$SCRIPTS/apply"
  says '2 patches on 7.3.4'
  [[ ! -e $TREE/net/ipv4/udp_repair.c ]]
  [[ $(stat -c %Y.%i "$TREE/net/ipv4/tcp.c" "$TREE/Makefile") == "$before" ]]
}

@test "a reject is fatal, shows the hunk and changes nothing" {
  sed -i 's/^ int line_29;/ int line_other;/' "$REPO"/kernel-patches/net-next/0001-*
  before=$(state "$TREE")
  run "$SCRIPTS/apply"
  ((status == 1))
  says 'net-next/0001-udp-widen-thirty.patch does not apply to Linux 7.3.4'
  says 'rejected in net/ipv4/udp.c'
  says $'\n-int line_30;\n+long line_30;\n'
  says $'what net/ipv4/udp.c has there, from line 27:\nint line_27;'
  says 'make export-series'
  says "$REPO/kernel-patches/net/*.patch $REPO/kernel-patches/net-next/*.patch"
  [[ $(state "$TREE") == "$before" ]]
  [[ ! -e $CACHE/apply.tmp ]]
  # Nor does a later attempt suffer from it.
  sed -i 's/^ int line_other;/ int line_29;/' "$REPO"/kernel-patches/net-next/0001-*
  run "$SCRIPTS/apply"
  says '3 patches on 7.3.4'
}

@test "a patch that the source has already is named as such" {
  cp "$REPO"/kernel-patches/net-next/0001-* "$REPO"/kernel-patches/net-next/0003-again.patch
  run "$SCRIPTS/apply"
  ((status == 1))
  says 'net-next/0003-again.patch does not apply'
  says 'in the source already'
}

@test "a file that is no patch, or more than one, is refused" {
  echo 'not a patch' >"$REPO"/kernel-patches/net-next/0003-x.patch
  run "$SCRIPTS/apply"
  ((status == 1))
  says '0003-x.patch does not apply'
  cat "$REPO"/kernel-patches/net-next/000[12]-* >"$BATS_TEST_TMPDIR/two"
  rm "$REPO"/kernel-patches/net-next/*
  mv "$BATS_TEST_TMPDIR/two" "$REPO"/kernel-patches/net-next/0001-two.patch
  run "$SCRIPTS/apply"
  ((status == 1))
  says 'net-next/0001-two.patch made 2 commits'
}

@test "edits in the tree are refused and stay" {
  echo 'int mine;' >>"$TREE/net/ipv4/tcp.c"
  echo 'int mine;' >"$TREE/mine.c"
  rm "$REPO"/kernel-patches/net-next/0002-*
  run "$SCRIPTS/apply"
  ((status == 1))
  says 'net/ipv4/tcp.c'
  says '?? mine.c'
  says 'make export-series'
  says '--discard'
  grep -q mine "$TREE/net/ipv4/tcp.c"
  [[ -e $TREE/mine.c ]]
}

@test "edits are refused even if the series did not change" {
  echo 'int mine;' >>"$TREE/net/ipv4/tcp.c"
  run "$SCRIPTS/apply"
  ((status == 1))
  says 'net/ipv4/tcp.c'
}

@test "commits that were not exported are refused and stay" {
  echo 'int mine;' >>"$TREE/net/ipv4/tcp.c"
  commit 'tcp: mine'
  head=$(git -C "$TREE" rev-parse HEAD)
  run "$SCRIPTS/apply"
  ((status == 1))
  says 'tcp: mine'
  says 'make export-series'
  [[ $(git -C "$TREE" rev-parse HEAD) == "$head" ]]
}

@test "a rebase that was not ended is refused" {
  # A rebase that stops at once.
  GIT_SEQUENCE_EDITOR='sed -i 1s/^pick/edit/' git -C "$TREE" rebase -q -i HEAD~2
  run "$SCRIPTS/apply"
  ((status == 1))
  says 'rebase-merge'
}

@test "--discard puts work aside where it can be found" {
  echo 'int mine;' >"$TREE/mine.c"
  echo 'int mine;' >>"$TREE/net/ipv4/tcp.c"
  commit 'tcp: mine'
  echo 'int more;' >"$TREE/more.c"
  run "$SCRIPTS/apply" --discard
  ((status == 0))
  says '3 patches on 7.3.4'
  [[ ! -e $TREE/mine.c && ! -e $TREE/more.c ]]
  [[ ! $(git -C "$TREE" status --porcelain) ]]
  [[ $(git -C "$TREE" show refs/sockrepair/discarded:more.c) == 'int more;' ]]
  [[ $(git -C "$TREE" log -1 --format=%s refs/sockrepair/discarded^) == 'tcp: mine' ]]
}

@test "another point release of the line works, and is said" {
  new_kernel "$BATS_TEST_TMPDIR/k" 7.3.5
  sed -i '1i int shifted;\nint by_two;' "$BATS_TEST_TMPDIR/k/net/ipv4/udp.c"
  unset KERNEL_TARBALL
  export KERNEL_TREE=$BATS_TEST_TMPDIR/k
  run "$SCRIPTS/fetch"
  says 'the series was made for 7.3.4, this is 7.3.5'
  run "$SCRIPTS/apply"
  says '3 patches on 7.3.5'
  grep -q by_two "$TREE/net/ipv4/udp.c"
  grep -q '^long line_30' "$TREE/net/ipv4/udp.c"
  [[ $(git -C "$TREE" rev-list --count base-7.3.5..HEAD) == 3 ]]
  # And back.
  unset KERNEL_TREE
  export KERNEL_TARBALL=$BATS_TEST_TMPDIR/linux-7.3.4.tar.xz
  "$SCRIPTS/fetch"
  run "$SCRIPTS/apply"
  says '3 patches on 7.3.4'
}

@test "without a kernel it says what to run" {
  export SOCKREPAIR_CACHE=$BATS_TEST_TMPDIR/none
  run "$SCRIPTS/apply"
  ((status == 1))
  says 'make fetch'
}
