#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# Installation, with an apt that only takes notes.
# shellcheck disable=SC2016  # what is quoted runs in the programs that the tests make

load helpers

setup() {
  new_checkout
  printf '%s\n' '# SPDX' '' 'one   # what for' 'two' >"$SCRIPTS/packages.txt"
  BIN=$BATS_TEST_TMPDIR/bin
  NOTES=$BATS_TEST_TMPDIR/notes
  mkdir "$BIN"
  export BIN NOTES PATH=$BIN:$PATH
  : >"$NOTES"
  echo 'one' >"$BIN/installed"
  echo 'two' >"$BIN/available"
  program dpkg-query 'for p in "${@:4}"; do grep -qx "$p" "$BIN/installed" && echo "installed $p"; done'
  program apt-cache 'grep -qx "$2" "$BIN/available" && echo "  Candidate: 1" || echo "  Candidate: (none)"'
  program apt-get 'echo "apt-get $*" >>"$NOTES"
    case $* in
      *update*) echo two >>"$BIN/available" ;;
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

@test "nothing missing: apt is not asked" {
  echo two >>"$BIN/installed"
  run "$SCRIPTS/setup"
  ((status == 0))
  says 'nothing is missing (2 packages)'
  [[ ! -s $NOTES ]]
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
