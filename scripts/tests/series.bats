#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# Files of the checkout that travel in the series. For its checks and mails see test_series.py.
# shellcheck disable=SC2030,SC2031  # each test is a subshell of its own

load helpers

setup() {
  new_checkout
  cp -r "$BATS_TEST_DIRNAME/../series" "$SCRIPTS/"
  fetched 7.3.4
  new_series
  sources
}

# sources: one test and one page, with programs that put them into a tree, and their messages.
sources() {
  mkdir -p "$REPO/selftests" "$REPO/Documentation/networking" "$REPO/kernel-patches/messages"
  cat >"$REPO/selftests/install" <<'END'
#!/bin/sh
mkdir -p "$1/selftests" && cp "$(dirname "$0")/udp_repair.c" "$1/selftests/"
END
  cp "$BATS_TEST_DIRNAME/../../Documentation/install" "$REPO/Documentation/"
  chmod +x "$REPO/selftests/install"
  echo 'int test;' >"$REPO/selftests/udp_repair.c"
  echo 'A page' >"$REPO/Documentation/networking/udp_repair.rst"
  printf 'selftests: net: test\n\nAll of it.\n' >"$REPO/kernel-patches/messages/tests.txt"
  printf 'Documentation: networking: tell\n' >"$REPO/kernel-patches/messages/page.txt"
  printf '%s\n' '# comment' 'selftests/install messages/tests.txt' \
    'Documentation/install messages/page.txt' >"$REPO/kernel-patches/generated.txt"
  mkdir -p "$TREE/Documentation/networking"
  printf '%s\n' 'Networking' '' '.. toctree::' '   :maxdepth: 1' '' '   tcp' '   udplite' \
    '   vrf' '' 'End' >"$TREE/Documentation/networking/index.rst"
  commit 'Documentation: networking: have an index'
  "$SCRIPTS/export-series"
}

@test "patches are made from their sources, at the end, and the same each time" {
  "$SCRIPTS/gen-series"
  [[ $(patches | grep net-next | tail -n 2 | xargs) == \
    'net-next/0004-selftests-net-test.patch net-next/0005-Documentation-networking-tell.patch' ]]
  grep -q '^+int test;' "$REPO"/kernel-patches/net-next/0004-*
  grep -q '^+   udp_repair' "$REPO"/kernel-patches/net-next/0005-*
  before=$(state "$REPO/kernel-patches")
  "$SCRIPTS/gen-series"
  [[ $(state "$REPO/kernel-patches") == "$before" ]]
}

@test "an edited source changes its own patch only" {
  "$SCRIPTS/gen-series"
  before=$(cd "$REPO/kernel-patches" && sha256sum net*/*.patch)
  echo 'int more;' >>"$REPO/selftests/udp_repair.c"
  "$SCRIPTS/gen-series"
  after=$(cd "$REPO/kernel-patches" && sha256sum net*/*.patch)
  [[ $(diff <(echo "$before") <(echo "$after") | grep '^>' | cut -d' ' -f4) == net-next/0004-* ]]
  grep -q '^+int more;' "$REPO"/kernel-patches/net-next/0004-*
}

@test "a source of a series that others follow changes its patch there" {
  "$SCRIPTS/gen-series"
  echo 'net-next-more net-next' >>"$REPO/kernel-patches/series.txt"
  git -C "$TREE" tag net-next-end HEAD~1
  "$SCRIPTS/export-series"
  echo 'int more;' >>"$REPO/selftests/udp_repair.c"
  "$SCRIPTS/gen-series"
  grep -q '^+int more;' "$REPO"/kernel-patches/net-next/0004-*
  [[ $(patches | grep -c net-next/) == 4 ]]
  [[ $(patches | grep more) == net-next-more/0001-Documentation-networking-tell.patch ]]
  [[ $(git -C "$TREE" log -1 --format=%s net-next-end) == 'selftests: net: test' ]]
}

@test "a patch by hand may follow one that is made" {
  "$SCRIPTS/gen-series"
  echo 'int late;' >"$TREE/net/ipv4/late.c"
  commit 'udp: come late'
  "$SCRIPTS/export-series"
  echo 'int more;' >>"$REPO/selftests/udp_repair.c"
  "$SCRIPTS/gen-series"
  grep -q '^+int more;' "$REPO"/kernel-patches/net-next/0004-*
  [[ $(patches | grep net-next | tail -n 1) == net-next/0006-udp-come-late.patch ]]
}

@test "commits that were not written out are not lost" {
  "$SCRIPTS/gen-series"
  echo 'int late;' >"$TREE/net/ipv4/late.c"
  commit 'udp: come late'
  head=$(git -C "$TREE" rev-parse HEAD)
  run "$SCRIPTS/gen-series"
  ((status == 1))
  says 'make export-series, first'
  [[ $(git -C "$TREE" rev-parse HEAD) == "$head" ]]
}

@test "a source that cannot be put into the tree leaves the tree as it was" {
  "$SCRIPTS/gen-series"
  head=$(git -C "$TREE" rev-parse HEAD)
  echo 'exit 1' >"$REPO/Documentation/install"
  run "$SCRIPTS/gen-series"
  ((status != 0))
  [[ $(git -C "$TREE" rev-parse HEAD) == "$head" ]]
}

@test "a page is listed once, in the order of the index" {
  index=$TREE/Documentation/networking/index.rst
  "$REPO/Documentation/install" "$TREE"
  "$REPO/Documentation/install" "$TREE"
  [[ $(sed -n '6,9p' "$index" | xargs) == 'tcp udp_repair udplite vrf' ]]
  echo 'no list' >"$index"
  run "$REPO/Documentation/install" "$TREE"
  ((status == 1))
  says 'no toctree'
  [[ $(cat "$index") == 'no list' ]]
}
