#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# Installation, with an apt that only takes notes.
# shellcheck disable=SC2016  # what is quoted runs in the programs that the tests make

load helpers

setup() {
  new_checkout
  printf '%s\n' '# SPDX' '' 'one   # what for' 'two' >"$SCRIPTS/packages.txt"
  printf '%s\n' '# SPDX' '' 'server   # what for' >"$SCRIPTS/unpacked.txt"
  BIN=$BATS_TEST_TMPDIR/bin
  NOTES=$BATS_TEST_TMPDIR/notes
  mkdir "$BIN"
  export BIN NOTES PATH=$BIN:$PATH
  : >"$NOTES"
  echo 'one' >"$BIN/installed"
  echo 'two' >"$BIN/available"
  program dpkg-query 'for p in "${@:4}"; do grep -qx "$p" "$BIN/installed" && echo "installed $p"; done'
  program apt-cache 'grep -qx "$2" "$BIN/available" && echo "  Candidate: 1" || echo "  Candidate: (none)"'
  # What is downloaded: the server, and a library that it needs.
  package server ./usr/sbin/server ./usr/bin/suid ./etc/init.d/server
  package library ./lib/x86_64-linux-gnu/library.so
  program apt-get '
    [[ $* == *"-s "* ]] || echo "apt-get $*" >>"$NOTES"
    case $* in
      *"-s "*) [[ ! -e $BIN/no-server ]] || { echo "E: no server" >&2; exit 100; }
        echo "Inst library [1:0] (1:1-1 Debian:12/stable [amd64])"
        echo "Inst server (2~b Debian:12/stable [all]) []"; echo "Conf server (2~b x [all])" ;;
      *download*) [[ ! -e $BIN/no-archive ]] || { echo "E: no answer" >&2; exit 100; }
        cp "$BIN"/*.deb . ;;
      *update*) echo two >>"$BIN/available"; rm -f "$BIN"/no-* ;;
      *install*) [[ ! -e $BIN/stale ]] || { rm "$BIN/stale"; exit 100; }
        echo two >>"$BIN/installed" ;;
    esac'
  program sudo 'echo sudo >>"$NOTES"; "$@"'
}

# program NAME BODY: a program in front of the machine's own.
program() {
  printf '#!/usr/bin/env bash\n%s\n' "$2" >"$BIN/$1"
  chmod +x "$BIN/$1"
}

# package NAME FILE...: $BIN/NAME.deb with these files, one of them with a set-user-ID bit.
package() {
  local name=$1 file deb=$BATS_TEST_TMPDIR/deb
  mkdir -p "$deb/DEBIAN"
  printf '%s\n' "Package: $name" 'Version: 1' 'Architecture: all' 'Maintainer: nobody <a@b>' \
    'Description: a package' >"$deb/DEBIAN/control"
  printf '#!/bin/sh\ntouch "%s"\n' "$BATS_TEST_TMPDIR/service" >"$deb/DEBIAN/postinst"
  chmod 755 "$deb/DEBIAN/postinst"
  for file in "${@:2}"; do
    install -D /dev/null "$deb/$file"
    [[ $file != */suid ]] || chmod 4755 "$deb/$file"
  done
  dpkg-deb -Znone --root-owner-group -b "$deb" "$BIN/$name.deb" >/dev/null
  rm -r "$deb"
}

# unpacked: what is there of the second list.
unpacked() {
  (cd "$CACHE/unpacked/root" && find . -type f | sort | xargs)
}

@test "nothing missing: apt is not asked" {
  echo two >>"$BIN/installed"
  "$SCRIPTS/setup"
  : >"$NOTES"
  rm "$BIN"/*.deb
  run "$SCRIPTS/setup"
  ((status == 0))
  says 'nothing is missing (2 packages, 1 unpacked)'
  [[ ! -s $NOTES ]]
}

@test "packages of the second list are unpacked with what they need, and not installed" {
  echo two >>"$BIN/installed"
  run "$SCRIPTS/setup"
  ((status == 0))
  says 'unpacking, not installing: server'
  # Where the machine's own root has them.
  [[ $(unpacked) == './etc/init.d/server ./usr/bin/suid ./usr/lib/x86_64-linux-gnu/library.so ./usr/sbin/server' ]]
  [[ ! -u $CACHE/unpacked/root/usr/bin/suid ]]
  [[ $(xargs <"$CACHE/unpacked/packages") == 'library=1:1-1 server=2~b' ]]
  [[ ! -e $BATS_TEST_TMPDIR/service ]]
  [[ $(<"$NOTES") == 'apt-get '*' download library=1:1-1 server=2~b' ]]
}

@test "another list is unpacked anew" {
  echo two >>"$BIN/installed"
  "$SCRIPTS/setup"
  touch "$CACHE/unpacked/root/old"
  echo library >>"$SCRIPTS/unpacked.txt"
  run "$SCRIPTS/setup"
  ((status == 0))
  says 'unpacking, not installing: library server'
  [[ $(unpacked) != *old* ]]
}

@test "what apt cannot download is asked for again with new lists" {
  echo two >>"$BIN/installed"
  touch "$BIN/no-archive"
  run "$SCRIPTS/setup"
  ((status == 0))
  [[ $(grep -o 'download\|update' "$NOTES" | xargs) == 'download update download' ]]
  [[ $(unpacked) == *server* ]]
}

@test "what cannot be unpacked: apt's reason, and nothing is left behind" {
  echo two >>"$BIN/installed"
  echo 'other' >>"$SCRIPTS/unpacked.txt"
  run "$SCRIPTS/setup"
  ((status == 1))
  says 'cannot get what scripts/unpacked.txt names'
  says 'E: no other to be downloaded'
  sed -i '$d' "$SCRIPTS/unpacked.txt"
  echo broken >"$BIN/server.deb"
  run "$SCRIPTS/setup"
  ((status == 1))
  says 'dpkg-deb: error'
  [[ ! -e $CACHE/unpacked && ! -e $CACHE/unpacked.new ]]
  rm "$BIN/server.deb"
  program apt-get 'echo "E: as ever" >&2; [[ $* == *update* ]]'
  run "$SCRIPTS/setup"
  ((status == 1))
  says 'E: as ever'
}

@test "what is missing is said and installed, without an update" {
  run "$SCRIPTS/setup"
  ((status == 0))
  says 'missing: two'
  says 'install two'
  grep -q 'apt-get .*--no-remove.* install two$' "$NOTES"
  run ! grep -q update "$NOTES"
}

@test "apt's lists are updated if they lack a package" {
  : >"$BIN/available"
  run "$SCRIPTS/setup"
  ((status == 0))
  [[ $(grep -o 'update\|install two' "$NOTES" | xargs) == 'update install two' ]]
}

@test "apt's lists are updated if they are too old" {
  touch "$BIN/stale"
  run "$SCRIPTS/setup"
  ((status == 0))
  [[ $(grep -o 'update\|install two' "$NOTES" | xargs) == 'install two update install two' ]]
}

@test "an installation that fails is an error" {
  program apt-get '[[ $* != *install* ]]'
  run "$SCRIPTS/setup"
  ((status == 1))
  says 'apt cannot install: two'
}

@test "an installation that installs nothing is an error" {
  program apt-get 'exit 0'
  run "$SCRIPTS/setup"
  ((status == 1))
  says 'still missing after installation: two'
}
