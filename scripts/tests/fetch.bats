#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# Where the kernel source comes from. The archive is a folder; no network is used.
# shellcheck disable=SC2030,SC2031  # each test is a subshell of its own

load helpers

setup() {
  new_checkout
}

@test "the newest package of the line comes from the archive, once" {
  archive 7.3.2 7.3.10 7.3.9 7.4.1
  lists=$(ls -la --full-time /var/lib/apt/lists /var/cache/apt)
  run "$SCRIPTS/fetch"
  ((status == 0))
  says 'Linux 7.3.10 from linux-source-7.3_7.3.10-1~bpo13+1, imported'
  says 'the series was made for 7.3.4, this is 7.3.10'
  [[ $(ls "$CACHE/download") == 'linux-source-7.3_7.3.10-1~bpo13+1_all.deb' ]]
  [[ $(git -C "$TREE" log --format=%s) == 'Linux 7.3.10' ]]
  [[ $(git -C "$TREE" rev-parse base-7.3.10) == $(git -C "$TREE" rev-parse base) ]]
  [[ ! $(git -C "$TREE" status --porcelain) ]]
  # The machine's own apt did not notice.
  [[ $(ls -la --full-time /var/lib/apt/lists /var/cache/apt) == "$lists" ]]
  rm -r "$BATS_TEST_TMPDIR/archive"
  run "$SCRIPTS/fetch"
  ((status == 0))
  says 'imported before'
}

@test "--newer asks the archive again" {
  archive 7.3.4
  "$SCRIPTS/fetch"
  archive 7.3.5
  run "$SCRIPTS/fetch"
  says 'Linux 7.3.4'
  run "$SCRIPTS/fetch" --newer
  says 'Linux 7.3.5'
  says 'imported'
}

@test "a package that is in the download folder needs no archive" {
  archive 7.3.4
  mkdir -p "$CACHE/download"
  mv "$BATS_TEST_TMPDIR"/archive/pool/*.deb "$CACHE/download"
  rm -r "$SOCKREPAIR_APT_ETC"
  run "$SCRIPTS/fetch"
  ((status == 0))
  says 'Linux 7.3.4'
}

@test "an archive without the line: what it has, and what to do" {
  archive 7.4.1 7.5
  run "$SCRIPTS/fetch"
  ((status == 1))
  says 'the archive has no linux-source-7.3 (any more); it has: 7.4 7.5'
  says 'KERNEL_TARBALL='
  says 'KERNEL_TREE='
  says 'kernel-patches/BASE'
  [[ ! -e $TREE && ! -e $CACHE/base.info ]]
}

@test "an archive that does not answer is not one that lacks the line" {
  archive 7.3.4
  rm -r "$BATS_TEST_TMPDIR/archive"
  run "$SCRIPTS/fetch"
  ((status == 1))
  says 'the archive does not answer'
  says 'E: '
}

@test "no mirror at all: what to do" {
  run "$SCRIPTS/fetch"
  ((status == 1))
  says 'no mirror of the Debian archive'
}

@test "a broken package leaves nothing behind" {
  mkdir -p "$CACHE/download"
  echo broken >"$CACHE/download/linux-source-7.3_7.3.4-1_all.deb"
  run "$SCRIPTS/fetch"
  ((status == 1))
  says 'cannot unpack'
  [[ ! -e $TREE && ! -e $TREE.new && ! -e $CACHE/base.info ]]
}

@test "mirrors are found in both formats of apt's sources" {
  codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  printf '%s\n' '# deb http://no/commented '"$codename"' main' \
    "deb http://one/debian $codename main contrib # yes" \
    "deb [arch=amd64 signed-by=/k.gpg] http://two/debian $codename main" \
    "deb-src http://no/source $codename main" "deb http://no/suite $codename-security main" \
    "deb http://no/component $codename nonfree" >"$BATS_TEST_TMPDIR/a.list"
  printf '%s\n' '# a comment' 'Types: deb deb-src' 'URIs: http://three/debian' \
    '  http://four/debian' "Suites: $codename $codename-updates" 'Components: main' \
    'Signed-By: /j.gpg' '' '' 'Types: deb' 'URIs: http://no/off' "Suites: $codename" \
    'Components: main' 'Enabled: no' '' 'Types: deb' 'URIs: http://no/other' 'Suites: other' \
    'Components: main' >"$BATS_TEST_TMPDIR/b.sources"
  printf '%s\n' 'types: deb' 'uris: http://five/debian' "suites: $codename" 'components: main' \
    'Signed-By:' ' -----BEGIN PGP PUBLIC KEY BLOCK-----' ' .' >"$BATS_TEST_TMPDIR/c.sources"
  run awk -v codename="$codename" -f "$SCRIPTS/apt-classic.awk" "$BATS_TEST_TMPDIR/a.list"
  [[ $output == $'http://one/debian\t\nhttp://two/debian\tsigned-by=/k.gpg' ]]
  run awk -v codename="$codename" -f "$SCRIPTS/apt-deb822.awk" "$BATS_TEST_TMPDIR/b.sources"
  [[ $output == $'http://three/debian\tsigned-by=/j.gpg\nhttp://four/debian\tsigned-by=/j.gpg' ]]
  run awk -v codename="$codename" -f "$SCRIPTS/apt-deb822.awk" "$BATS_TEST_TMPDIR/c.sources"
  [[ $output == $'http://five/debian\t' ]]
}

@test "a tar file of one's own" {
  new_tarball "$BATS_TEST_TMPDIR/linux-7.3.7.tar.xz" 7.3.7
  export KERNEL_TARBALL=$BATS_TEST_TMPDIR/linux-7.3.7.tar.xz
  run "$SCRIPTS/fetch"
  ((status == 0))
  says "Linux 7.3.7 from $BATS_TEST_TMPDIR/linux-7.3.7.tar.xz, imported"
  run "$SCRIPTS/fetch"
  says 'imported before'
}

@test "the same source is the same commit, wherever it comes from" {
  archive 7.3.4
  "$SCRIPTS/fetch"
  package=$(git -C "$TREE" rev-parse base)
  fetched 7.3.4
  [[ $(git -C "$TREE" rev-parse base) == "$package" ]]
}

@test "files that the package ignores are seen all the same" {
  fetched 7.3.4
  echo 'int mine;' >"$TREE/net/ipv4/new.c"
  [[ $(git -C "$TREE" status --porcelain) == '?? net/ipv4/new.c' ]]
  [[ $(git -C "$TREE" ls-files .gitignore Makefile | xargs) == '.gitignore Makefile' ]]
}

@test "a git tree of one's own: as it is now, and never written to" {
  mine=$BATS_TEST_TMPDIR/mine
  new_kernel "$mine" 7.4
  sed -i '/debian/d; /^\/\*/d' "$mine/.gitignore"
  git -C "$mine" init -q
  git -C "$mine" add -f -A
  git -C "$mine" commit -q -m mine
  echo 'int edited;' >>"$mine/net/ipv4/udp.c"
  echo 'int new;' >"$mine/net/ipv4/new.c"
  echo 'object' >"$mine/net/ipv4/new.o"
  rm "$mine/include/linux/udp.h"
  before=$(find "$mine" -type f -printf '%p %T@\n' -exec sha256sum {} \; | sort)
  export KERNEL_TREE=$mine
  run "$SCRIPTS/fetch"
  ((status == 0))
  says 'the series was made for 7.3.4, this is 7.4'
  [[ $(find "$mine" -type f -printf '%p %T@\n' -exec sha256sum {} \; | sort) == "$before" ]]
  grep -q edited "$TREE/net/ipv4/udp.c"
  [[ -e $TREE/net/ipv4/new.c && ! -e $TREE/net/ipv4/new.o && ! -e $TREE/include/linux/udp.h ]]
  # Tracked, although the tree's own rules ignore it.
  [[ -e $TREE/.gitignore ]]
  run "$SCRIPTS/fetch"
  says 'unchanged'
  # What changes there is taken at the next fetch and arrives with apply.
  rm "$mine/net/ipv4/new.c"
  echo 'int again;' >>"$mine/net/ipv4/udp.c"
  run "$SCRIPTS/fetch"
  says 'imported'
  "$SCRIPTS/apply"
  grep -q again "$TREE/net/ipv4/udp.c"
  [[ ! -e $TREE/net/ipv4/new.c ]]
}

@test "a plain directory of one's own, unless it was built in" {
  new_kernel "$BATS_TEST_TMPDIR/mine" 7.3.8
  export KERNEL_TREE=$BATS_TEST_TMPDIR/mine
  run "$SCRIPTS/fetch"
  says 'Linux 7.3.8'
  ((status == 0))
  touch "$BATS_TEST_TMPDIR/mine/.config"
  run "$SCRIPTS/fetch"
  ((status == 1))
  says 'make mrproper'
}

@test "what is no kernel source is refused" {
  mkdir "$BATS_TEST_TMPDIR/mine"
  KERNEL_TREE=$BATS_TEST_TMPDIR/mine run "$SCRIPTS/fetch"
  ((status == 1))
  says 'not a kernel source'
  echo 'all:' >"$BATS_TEST_TMPDIR/mine/Makefile"
  KERNEL_TREE=$BATS_TEST_TMPDIR/mine run "$SCRIPTS/fetch"
  ((status == 1))
  says 'names no version'
  [[ ! -e $TREE && ! -e $CACHE/base.info ]]
  KERNEL_TREE=x KERNEL_TARBALL=y run "$SCRIPTS/fetch"
  ((status == 1))
  says 'which one?'
  KERNEL_TARBALL=/none run "$SCRIPTS/fetch"
  ((status == 1))
  says 'not a file: /none'
}
