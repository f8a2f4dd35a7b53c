# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# What the pipeline's tests share: a copy of the scripts in a checkout of its own, and kernel
# sources of a few files. Each test has its own cache; nothing touches the machine's.

bats_require_minimum_version 1.5.0

# new_checkout: two empty series, small fragments and our scripts in $REPO; the cache in $CACHE.
new_checkout() {
  REPO=$BATS_TEST_TMPDIR/repo
  CACHE=$BATS_TEST_TMPDIR/cache
  TREE=$CACHE/tree
  export SOCKREPAIR_CACHE=$CACHE
  # No archive but the one that a test makes.
  export SOCKREPAIR_APT_ETC=$BATS_TEST_TMPDIR/etc
  unset KERNEL_TREE KERNEL_TARBALL SOCKREPAIR_STEP SOCKREPAIR_CACHE_HELD
  export GIT_CONFIG_GLOBAL=$BATS_TEST_TMPDIR/gitconfig GIT_CONFIG_SYSTEM=/dev/null
  git config --global user.name 'A Developer'
  git config --global user.email dev@localhost
  # Settings that would change patches if they were looked at.
  git config --global diff.noprefix true
  git config --global format.signOff true
  git config --global core.abbrev 7
  mkdir -p "$REPO/kernel-patches/net" "$REPO/kernel-patches/net-next" "$REPO/Kconfig.snippets"
  mkdir "$REPO/scripts"
  find "$BATS_TEST_DIRNAME/.." -maxdepth 1 -type f -exec cp -t "$REPO/scripts" {} +
  echo 7.3.4 >"$REPO/kernel-patches/BASE"
  printf '%s\n' '# comment' 'net net' 'net-next net-next' >"$REPO/kernel-patches/series.txt"
  local file n
  for file in "$BATS_TEST_DIRNAME"/../../Kconfig.snippets/*.config; do
    n=$(basename "$file" | cut -d- -f1)
    printf '# SPDX\nCONFIG_PART_%d=y\n' "$n" >"$REPO/Kconfig.snippets/$n-part.config"
  done
  SCRIPTS=$REPO/scripts
}

# new_kernel DIR VERSION: a source whose Makefile configures and builds, each in one line.
new_kernel() {
  local dir=$1 major minor point
  IFS=. read -r major minor point <<<"$2"
  mkdir -p "$dir/net/ipv4" "$dir/include/linux"
  cat >"$dir/Makefile" <<END
VERSION = $major
PATCHLEVEL = $minor
SUBLEVEL = $point
EXTRAVERSION =
# VERSION = 9 is not what counts

# Everything but the symbol GHOST exists here.
allnoconfig:
	@grep -v -e GHOST \$(KCONFIG_ALLCONFIG) >\$(O)/.config
bzImage:
	@mkdir -p \$(O)/arch/x86/boot
	@echo '  CC      net/ipv4/udp.o'
	@if grep -q WARN net/ipv4/udp.c; then echo '../../tree/net/ipv4/udp.c:1:1: warning: odd'; fi
	@if grep -q BROKEN net/ipv4/udp.c; then \\
	  echo 'net/ipv4/udp.c:1:1: error: broken'; seq -f 'noise %g' 40; exit 1; fi
	@cat net/ipv4/*.c >\$(O)/vmlinux
	@cp \$(O)/vmlinux \$(O)/arch/x86/boot/bzImage
END
  seq -f 'int line_%g;' 60 >"$dir/net/ipv4/udp.c"
  seq -f 'int tcp_%g;' 20 >"$dir/net/ipv4/tcp.c"
  printf 'config PART_10\n\tbool\n' >"$dir/net/Kconfig"
  echo '#define UDP 1' >"$dir/include/linux/udp.h"
  # As in Debian's source package.
  printf '*.o\n.*\n\n/*\n!/debian/\n' >"$dir/.gitignore"
}

# new_tarball FILE VERSION: the same, packed as kernel sources are.
new_tarball() {
  local dir=$BATS_TEST_TMPDIR/pack/linux-$2
  new_kernel "$dir" "$2"
  tar -C "$BATS_TEST_TMPDIR/pack" -c "linux-$2" | xz -0 >"$1"
  rm -rf "$BATS_TEST_TMPDIR/pack"
}

# fetched VERSION: the cache has this kernel.
fetched() {
  new_tarball "$BATS_TEST_TMPDIR/linux-$1.tar.xz" "$1"
  export KERNEL_TARBALL=$BATS_TEST_TMPDIR/linux-$1.tar.xz
  "$SCRIPTS/fetch"
}

# commit SUBJECT: a developer's commit of all that changed in the tree.
commit() {
  git -C "$TREE" add -A
  git -C "$TREE" commit -q -m "$1" "${@:2}"
}

# new_series: one patch for net and two for net-next, made in the tree and written out; then the
# tree has them applied.
new_series() {
  sed -i 's/^int tcp_3;/long tcp_3;/' "$TREE/net/ipv4/tcp.c"
  commit 'tcp: fix three' -m 'It was too short.'
  git -C "$TREE" tag net-end -f >/dev/null
  sed -i 's/^int line_30;/long line_30;/' "$TREE/net/ipv4/udp.c"
  commit 'udp: widen thirty'
  echo 'int repair;' >"$TREE/net/ipv4/udp_repair.c"
  commit 'udp: add repair'
  run "$SCRIPTS/export-series"
  ((status == 0))
  says '1 patches in net, 2 in net-next'
}

# third_series: the last patch becomes one of a series of its own, for the same tree as the one
# before it.
third_series() {
  echo 'net-next-more net-next' >>"$REPO/kernel-patches/series.txt"
  git -C "$TREE" tag net-next-end HEAD~1
  run "$SCRIPTS/export-series"
  ((status == 0))
  says '1 patches in net, 1 in net-next, 1 in net-next-more'
}

# patches: the files of the series, relative to kernel-patches/.
patches() {
  (cd "$REPO/kernel-patches" && find . -name '*.patch' -printf '%P\n' | sort)
}

# archive VERSION...: a Debian archive in $BATS_TEST_TMPDIR/archive whose suite trixie-backports has
# a package linux-source of each version, and $APT_ETC with a source list for its main release.
archive() {
  local version line dir=$BATS_TEST_TMPDIR/archive suite codename deb
  codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  mkdir -p "$dir/pool" "$dir/dists/trixie-backports/main/binary-amd64"
  for version in "$@"; do
    line=$(cut -d. -f1,2 <<<"$version")
    deb=$BATS_TEST_TMPDIR/deb
    mkdir -p "$deb/DEBIAN" "$deb/usr/src"
    new_tarball "$deb/usr/src/linux-source-$line.tar.xz" "$version"
    printf '%s\n' "Package: linux-source-$line" "Version: $version-1~bpo13+1" 'Architecture: all' \
      'Maintainer: nobody <nobody@localhost>' 'Description: a kernel' >"$deb/DEBIAN/control"
    dpkg-deb -Znone --root-owner-group -b "$deb" "$dir/pool" >/dev/null
    rm -r "$deb"
  done
  for deb in "$dir"/pool/*.deb; do
    dpkg-deb -f "$deb"
    printf '%s\n' "Filename: pool/${deb##*/}" "Size: $(stat -c %s "$deb")" \
      "SHA256: $(sha256sum "$deb" | cut -d' ' -f1)" ''
  done >"$dir/dists/trixie-backports/main/binary-amd64/Packages"
  suite=$dir/dists/trixie-backports
  printf '%s\n' 'Suite: trixie-backports' 'Codename: trixie-backports' 'Components: main' \
    'Architectures: amd64' "Date: $(date -R)" 'SHA256:' \
    " $(sha256sum "$suite/main/binary-amd64/Packages" | cut -d' ' -f1) $(
      stat -c %s "$suite/main/binary-amd64/Packages") main/binary-amd64/Packages" >"$suite/Release"
  mkdir -p "$SOCKREPAIR_APT_ETC/sources.list.d"
  printf '%s\n' 'Types: deb' "URIs: file:$dir" "Suites: $codename $codename-updates" \
    'Components: main' 'Trusted: yes' >"$SOCKREPAIR_APT_ETC/sources.list.d/debian.sources"
}

# state DIR: every file below DIR with its content and time, and where HEAD is, to see whether
# anything was touched.
state() {
  (cd "$1" && find . -name .git -prune -o -type f -printf '%p %T@ ' -exec sha256sum {} \; | sort)
  git -C "$1" rev-parse HEAD series 2>/dev/null || true
}

# says TEXT: $output contains it.
says() {
  [[ $output == *"$1"* ]] || {
    echo "expected: $1"
    echo "got: $output"
    return 1
  }
}
