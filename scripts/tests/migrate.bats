#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# migrate: which guests it boots, in which order, and that the loss of any one is a failure. Guests
# and report are scripts of a few lines.

# shellcheck disable=SC2016  # the scripts made here expand it

load helpers

setup() {
  new_checkout
  unset N T
  mkdir -p "$CACHE/user"
  printf 'migration_peer\tgtest\tAll/Test.GoesOn/%s\n' v4_loss v6_loss v4_everything v6_everything \
    >"$CACHE/user/cases.txt"
  sed -i 's/^START=.*/START=20/' "$SCRIPTS/migrate"
  # Makes its cables, says that it is up, and what it was asked. Like a guest, it is there until all
  # three have begun, for as long as migrate waits: the loss of one ends the wait for another.
  script boot 'into="" log=$SOCKREPAIR_CACHE/boot.log
    echo "[$SOCKREPAIR_STEP] $*" >>"$log"
    while (($#)); do
      case $1 in
        --into) into=$SOCKREPAIR_CACHE/run/$2; mkdir -p "$into" ;;
        --cable) case $2 in near:*) python3 -c "import socket, sys
socket.socket(socket.AF_UNIX).bind(sys.argv[1])" "${2#near:}" ;; *) [[ -S ${2#far:} ]] || exit 1 ;; esac ;;
      esac
      shift
    done
    echo "# begin x 5" >"$into/ktap.log"
    while (($(wc -l <"$log") < 3 && SECONDS < 20)); do sleep 0.05; done'
  script report 'cp "$SOCKREPAIR_CACHE/$2.summary" "$SOCKREPAIR_CACHE/run/$2/summary"'
  local role
  for role in peer source destination; do
    finds "$role" '1 passed, 0 failed, 0 skipped'
  done
}

# script NAME TEXT: instead of a script of ours.
script() {
  printf '#!/usr/bin/env bash\n%s\n' "$2" >"$SCRIPTS/$1"
  chmod +x "$SCRIPTS/$1"
}

# finds ROLE SUMMARY: what the report of that guest says.
finds() {
  echo "$2" >"$CACHE/migrate.$1.summary"
}

@test "three guests, the peer first, the destination last and with another clock" {
  run "$SCRIPTS/migrate"
  echo "$output"
  ((status == 0))
  [[ ${lines[-1]} == '3 passed, 0 failed, 0 skipped' ]]
  [[ $(<"$CACHE/run/migrate/summary") == '3 passed, 0 failed, 0 skipped' ]]
  local booted
  mapfile -t booted <"$CACHE/boot.log"
  ((${#booted[@]} == 3))
  [[ ${booted[0]} == '[peer] plain --into migrate.peer --only migration_peer:*/v?_everything* '*near:*near:* ]]
  [[ ${booted[1]} == '[source] plain --into migrate.source --only migration_source '*far:*/source ]]
  [[ ${booted[2]} == *'--only migration_destination '*far:*/destination' --clock '* ]]
  [[ ${booted[0]} == *' --set migrations=1000 '* && ${booted[0]} != *--clock* ]]
}

@test "N, T and CI decide how often and where" {
  run "$SCRIPTS/migrate" --ci
  grep -q -- '--set migrations=50 ' "$CACHE/boot.log"
  rm "$CACHE/boot.log"
  N=3 T='v4_*' run "$SCRIPTS/migrate"
  # 20 s to begin with, 6 s for each of 3 migrations in each of 2 cases, 360 s for one that hangs.
  grep -q -- '--only migration_peer:\*/v4_\* --timeout 416 --set migrations=3 ' "$CACHE/boot.log"
  grep -q "make migrate N=3 T='v4_\*'" "$CACHE/boot.log"
}

@test "what is no number and no case is refused before anything is booted" {
  N=many run "$SCRIPTS/migrate"
  ((status == 1))
  T='v4 v6' run "$SCRIPTS/migrate"
  ((status == 1))
  T=v5_loss run "$SCRIPTS/migrate"
  ((status == 1))
  [[ $output == *'no case is called v5_loss; there are: v4_loss v6_loss'* ]]
  run "$SCRIPTS/migrate" --cl
  ((status == 1))
  [[ ! -e $CACHE/boot.log ]]
}

@test "what any of the guests reports counts" {
  local role
  for role in peer source destination; do
    finds "$role" '0 passed, 1 failed, 0 skipped'
    run "$SCRIPTS/migrate"
    ((status == 1))
    [[ ${lines[-1]} == '2 passed, 1 failed, 0 skipped' ]]
    finds "$role" '1 passed, 0 failed, 0 skipped'
  done
}

@test "a guest that cannot be booted is an error, and no summary is left" {
  script boot 'exit 1'
  run "$SCRIPTS/migrate"
  ((status == 1))
  [[ $output == *'a guest could not be run'* ]]
  [[ ! -e $CACHE/run/migrate/summary ]]
}

@test "without the suites it says what to run" {
  rm "$CACHE/user/cases.txt"
  run "$SCRIPTS/migrate"
  ((status == 1))
  [[ $output == *'make build-user'* ]]
}

@test "a guest without a report is an error, also when an earlier run left one" {
  run "$SCRIPTS/migrate"
  ((status == 0))
  rm "$CACHE/migrate.source.summary"
  run "$SCRIPTS/migrate"
  ((status == 1))
  [[ ! -e $CACHE/run/migrate/summary ]]
}
