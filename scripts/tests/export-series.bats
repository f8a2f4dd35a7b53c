#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# The exporter: what it writes is what apply reads, byte for byte.
# shellcheck disable=SC2030,SC2031  # each test is a subshell of its own

load helpers

setup() {
  new_checkout
  fetched 7.3.4
  new_series
}

@test "apply and export give the same bytes back" {
  before=$(state "$REPO/kernel-patches")
  # As on another machine, with other settings.
  export SOCKREPAIR_CACHE=$BATS_TEST_TMPDIR/other
  TREE=$SOCKREPAIR_CACHE/tree
  git config --global core.abbrev 20
  git config --global format.subjectPrefix 'OTHER'
  git config --global diff.context 9
  "$SCRIPTS/fetch"
  "$SCRIPTS/apply"
  run "$SCRIPTS/export-series"
  says 'already holds these commits'
  [[ $(state "$REPO/kernel-patches") == "$before" ]]
}

@test "awkward commits survive the round trip" {
  printf 'no newline at the end' >"$TREE/net/ipv4/raw.c"
  commit 'raw: a subject that is so long that it does not fit on one line of a mail and is wrapped' \
    --author 'Zoë Müller <zoe@localhost>' -m $'Line one\n\n> quoted\n  indented\nFixes: 123456789012 ("x")'
  chmod +x "$TREE/net/ipv4/tcp.c"
  git -C "$TREE" mv net/ipv4/raw.c net/ipv4/raw2.c
  git -C "$TREE" rm -q include/linux/udp.h
  commit '[sub] raw: move, drop, and change a mode'
  printf '\0\1\2binary\0' >"$TREE/net/blob"
  commit 'net: a blob'
  tree=$(git -C "$TREE" rev-parse 'HEAD^{tree}')
  git -C "$TREE" log --format='%an %ae %aI %B' >"$BATS_TEST_TMPDIR/before"
  "$SCRIPTS/export-series"
  # apply has made commits of its own out of the files.
  [[ $(git -C "$TREE" log -1 --format=%cn) == sockrepair ]]
  [[ $(git -C "$TREE" rev-parse 'HEAD^{tree}') == "$tree" ]]
  git -C "$TREE" log --format='%an %ae %aI %B' >"$BATS_TEST_TMPDIR/after"
  diff "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/after"
  run "$SCRIPTS/export-series"
  says 'already holds these commits'
}

@test "patches carry no ids, numbers, versions or sign-offs" {
  run cat "$REPO"/kernel-patches/net-next/*.patch
  [[ $(head -n 1 <<<"$output") == 'From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001' ]]
  says 'Subject: [PATCH net-next] udp: widen thirty'
  [[ $output != *"$(git --version | awk '{ print $3 }')"* ]]
  [[ $output != *Signed-off-by* ]]
  grep -q '^Subject: \[PATCH net\] ' "$REPO"/kernel-patches/net/0001-*
}

@test "a patch in the middle changes its own file only, the others are renamed at most" {
  first=$(sha256sum <"$REPO/kernel-patches/net-next/0001-udp-widen-thirty.patch")
  second=$(sha256sum <"$REPO/kernel-patches/net-next/0002-udp-add-repair.patch")
  last=$(git -C "$TREE" rev-parse HEAD)
  git -C "$TREE" reset -q --hard HEAD~1
  echo 'int between;' >"$TREE/net/ipv4/between.c"
  commit 'udp: between'
  git -C "$TREE" cherry-pick "$last"
  run "$SCRIPTS/export-series"
  says 'gone:    net-next/0002-udp-add-repair.patch'
  [[ $output != *'written: net-next/0001'* ]]
  says '1 patches in net, 3 in net-next'
  [[ $(patches | xargs) == 'net-next/0001-udp-widen-thirty.patch net-next/0002-udp-between.patch net-next/0003-udp-add-repair.patch net/0001-tcp-fix-three.patch' ]]
  [[ $(sha256sum <"$REPO/kernel-patches/net-next/0001-udp-widen-thirty.patch") == "$first" ]]
  [[ $(sha256sum <"$REPO/kernel-patches/net-next/0003-udp-add-repair.patch") == "$second" ]]
}

@test "after an edit and an export apply has nothing against the tree" {
  echo 'int more;' >>"$TREE/net/ipv4/udp_repair.c"
  commit 'fixup' --fixup HEAD
  git -C "$TREE" reset -q --soft HEAD~2
  git -C "$TREE" commit -q -m 'udp: add repair'
  run "$SCRIPTS/apply"
  ((status == 1))
  "$SCRIPTS/export-series"
  run "$SCRIPTS/apply"
  says 'as before'
  grep -q 'int more' "$REPO"/kernel-patches/net-next/0002-*
}

@test "commits that were exported elsewhere and came back are no work of their own" {
  echo 'int more;' >"$TREE/net/ipv4/more.c"
  commit 'udp: more'
  mine=$(git -C "$TREE" rev-parse HEAD)
  "$SCRIPTS/export-series"
  git -C "$TREE" checkout -q "$mine"
  run "$SCRIPTS/apply"
  says '4 patches'
}

@test "the tag says where net ends" {
  git -C "$TREE" tag -f net-end HEAD~1 >/dev/null
  run "$SCRIPTS/export-series"
  says '2 patches in net, 1 in net-next'
  [[ $(patches | xargs) == 'net-next/0001-udp-add-repair.patch net/0001-tcp-fix-three.patch net/0002-udp-widen-thirty.patch' ]]
}

@test "without the tag it does not guess" {
  git -C "$TREE" tag -d net-end >/dev/null
  run "$SCRIPTS/export-series"
  ((status == 1))
  says 'tag -f net-end COMMIT'
}

@test "two series for one tree are cut by a tag, and nothing in their patches changes" {
  before=$(cat "$REPO"/kernel-patches/net-next/*.patch)
  third_series
  [[ $(patches | xargs) == 'net-next-more/0001-udp-add-repair.patch net-next/0001-udp-widen-thirty.patch net/0001-tcp-fix-three.patch' ]]
  [[ $(cat "$REPO"/kernel-patches/net-next{,-more}/*.patch) == "$before" ]]
  run "$SCRIPTS/export-series"
  says 'already holds these commits'
}

@test "tags that are not in the order of the series are refused" {
  third_series
  git -C "$TREE" tag -f net-next-end base-7.3.4 >/dev/null
  run "$SCRIPTS/export-series"
  ((status == 1))
  says 'tag -f net-next-end COMMIT'
}

@test "edits that are not committed are refused" {
  echo 'int mine;' >"$TREE/mine.c"
  before=$(state "$REPO/kernel-patches")
  run "$SCRIPTS/export-series"
  ((status == 1))
  says '?? mine.c'
  [[ $(state "$REPO/kernel-patches") == "$before" ]]
}

@test "sign-offs and merges are refused" {
  echo 'int mine;' >"$TREE/mine.c"
  commit 'mine' -s
  run "$SCRIPTS/export-series"
  ((status == 1))
  says 'sign-off'
  git -C "$TREE" reset -q --hard HEAD~1
  git -C "$TREE" checkout -q -b side HEAD~1
  echo 'int side;' >"$TREE/side.c"
  commit 'side'
  git -C "$TREE" checkout -q series
  git -C "$TREE" merge -q -m merged side
  run "$SCRIPTS/export-series"
  ((status == 1))
  says 'merges'
}

@test "an export from another base moves BASE" {
  fetched 7.3.6
  "$SCRIPTS/apply"
  echo 'int more;' >"$TREE/net/ipv4/more.c"
  commit 'udp: more'
  run "$SCRIPTS/export-series"
  says 'written: BASE, 7.3.6'
  [[ $(cat "$REPO/kernel-patches/BASE") == 7.3.6 ]]
}
