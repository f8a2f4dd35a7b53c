# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# What the scripts share; sourced by them, never run.
#
# Set here:
#   ROOT SCRIPTS   the checkout and its scripts/
#   CACHE          everything that is built or downloaded; SOCKREPAIR_CACHE says where
#   TREE           the kernel's git work tree, one for all flavours
#
# Messages carry the name of the script, and its place in the run when the script is a step of one:
#   [3/9] apply: 2 patches on 7.3.4 (0:03)

set -euo pipefail
shopt -s inherit_errexit

SCRIPTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$SCRIPTS")
CACHE=${SOCKREPAIR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sockrepair}
TREE=$CACHE/tree
PATCHES=$ROOT/kernel-patches
SNIPPETS=$ROOT/Kconfig.snippets
ME=${0##*/}

# Sorting, messages and dates must not depend on who runs this, nor the kernel's build on the
# variables that make hands to its recipes.
export LC_ALL=C LANG=C.UTF-8 TZ=UTC
unset LANGUAGE LC_CTYPE LC_MESSAGES
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL ARCH CROSS_COMPILE LLVM KCFLAGS KCPPFLAGS KAFLAGS
unset KBUILD_OUTPUT KCONFIG_CONFIG KCONFIG_ALLCONFIG CDPATH GREP_OPTIONS
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_AUTHOR_DATE GIT_COMMITTER_DATE

# Objects are shared between flavours.
export CCACHE_DIR=$CACHE/ccache CCACHE_BASEDIR=$CACHE CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE=8G
export CCACHE_COMPRESS=1
# Same sources, same image.
export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970' KBUILD_BUILD_USER=sockrepair
export KBUILD_BUILD_HOST=localhost KBUILD_BUILD_VERSION=1

# ---------------------------------------------------------------------------------- messages

# say TEXT: one line of progress.
say() {
  echo "${SOCKREPAIR_STEP:+[$SOCKREPAIR_STEP] }$ME: $*"
}

# say_done TEXT: the last line of a step, with the time it took.
say_done() {
  say "$* ($(elapsed "$SECONDS"))"
}

# die TEXT...: one line of the error message per argument, then the script ends with status 1.
die() {
  say "error: $1" >&2
  shift
  local line
  for line in "$@"; do
    echo "  $line" >&2
  done
  exit 1
}

# elapsed SECONDS: as minutes and seconds, 0:42.
elapsed() {
  printf '%d:%02d' $(($1 / 60)) $(($1 % 60))
}

# usage: the comment at the top of the running script, as its help text.
usage() {
  sed -n '4,/^$/{s/^# \{0,1\}//p}' "$0"
}

# help_if_asked "$@": answers -h and --help, and ends.
help_if_asked() {
  local arg
  for arg in "$@"; do
    case $arg in
      -h | --help)
        usage
        exit 0
        ;;
    esac
  done
}

# on_exit COMMAND: evaluated when the script ends, however it ends; the last one given runs first.
on_exit() {
  CLEANUP=("$1" "${CLEANUP[@]}")
}
CLEANUP=()
run_cleanup() {
  local status=$? command
  # A child that a signal meets before it has left our traps behind must not clean up for us.
  if ((BASHPID != $$)); then
    exit "$status"
  fi
  set +e
  for command in "${CLEANUP[@]}"; do
    eval "$command"
  done
  exit "$status"
}
trap run_cleanup EXIT
# A signal ends the script as an error, by way of the EXIT trap.
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# run COMMAND...: for commands that change the system: shown, then carried out.
run() {
  echo "+ $*"
  "$@"
}

# long LABEL LOG PATTERN COMMAND...: runs COMMAND with its output in LOG and its input closed, and
# says how long it has been running; with PATTERN not empty, also how many lines of LOG match it.
# COMMAND is a process group of its own, which ends when the script is told to end.
long() {
  local label=$1 log=$2 pattern=$3 status=0 command ticker
  shift 3
  : >"$log"
  set -m
  "$@" >>"$log" 2>&1 </dev/null &
  command=$!
  tick "$label" "$log" "$pattern" 9>&- </dev/null &
  ticker=$!
  set +m
  on_exit "kill -- -$command -$ticker 2>/dev/null; wait $command $ticker 2>/dev/null"
  wait "$command" || status=$?
  kill "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  CLEANUP=("${CLEANUP[@]:1}")
  if [[ -t 1 ]]; then
    printf '\r\e[K'
  fi
  return "$status"
}

# tick LABEL LOG PATTERN: the line that `long` shows: rewritten each second on a terminal, a new
# one every 30 s elsewhere. Ends when it is killed.
tick() {
  local start=$SECONDS last=0 count='' now clock
  trap - EXIT INT TERM HUP
  exec {clock}<> <(:)
  while true; do
    # A clock: nothing is waited for, and `read` leaves no child behind as sleep would.
    read -rt 1 -u "$clock" || true
    now=$((SECONDS - start))
    if [[ ! -t 1 ]] && ((now - last < 30)); then
      continue
    fi
    last=$now
    if [[ $3 ]]; then
      count=", $(grep -cE "$3" "$2" || true) objects"
    fi
    if [[ -t 1 ]]; then
      printf '\r\e[K%s' "$(say "$1 $(elapsed "$now")$count")"
    else
      say "$1 $(elapsed "$now")$count"
    fi
  done
}

# run_steps STEP...: runs scripts one after another, each numbered; a STEP is a script's name and
# its arguments. Ends with the first one that fails. STEPS_IN_ALL: more steps follow.
run_steps() {
  local n=0 step words
  for step in "$@"; do
    n=$((n + 1))
    read -ra words <<<"$step"
    SOCKREPAIR_STEP=$n/${STEPS_IN_ALL:-$#} "$SCRIPTS/${words[0]}" "${words[@]:1}"
  done
}

# guests FLAVOUR: the guests that together run every suite of a flavour, or of all with ''.
guests() {
  local names
  names=$("$SCRIPTS/cases.py" guests "$ROOT/userspace/guest/suites.txt")
  grep -E "^${1:-.*}(\.[0-9])?\$" <<<"$names" ||
    die "userspace/guest/suites.txt has no suite ${1:+of flavour $1}"
}

# boot_together STEP GUEST...: boots all of them at the same time, with BOOT_OPTIONS: most suites keep
# one processor busy at most, and many wait. Fails if one cannot be booted.
BOOT_OPTIONS=()
boot_together() {
  local step=$1 guest process status=0 booting=()
  for guest in "${@:2}"; do
    SOCKREPAIR_STEP="$step $guest" "$SCRIPTS/boot" "$guest" "${BOOT_OPTIONS[@]}" &
    booting+=($!)
  done
  on_exit "kill ${booting[*]} 2>/dev/null; wait"
  for process in "${booting[@]}"; do
    wait "$process" || status=$?
  done
  CLEANUP=("${CLEANUP[@]:1}")
  return "$status"
}

# sum_add FILE: counts in what a part's last line said; sum_close prints and judges the sum.
PASSED=0 FAILED=0 SKIPPED=0
sum_add() {
  local passed failed skipped
  [[ -f $1 ]] || die "no summary: $1"
  read -r passed failed skipped < <(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/p' "$1")
  PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed)) SKIPPED=$((SKIPPED + skipped))
}

sum_close() {
  echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"
  ((FAILED == 0))
}

# need PROGRAM...: ends the script if a program is missing.
need() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || die "$program is not installed; run: make setup"
  done
}

# ------------------------------------------------------------------------------------- cache

# cache_open: makes the cache and holds it until the script ends, so that two runs do not build
# over each other. A script that is called by one that holds it goes on at once.
cache_open() {
  if [[ $CACHE =~ [[:space:]:] ]]; then
    die "the cache's path must not contain white space or a colon (kbuild): $CACHE"
  fi
  mkdir -p "$CACHE"/{download,build,ccache,log}
  if [[ ${SOCKREPAIR_CACHE_HELD:-} == "$CACHE" ]]; then
    return
  fi
  exec 9>>"$CACHE/lock"
  if ! flock -n 9; then
    say "another run is using $CACHE; waiting for it to end"
    flock 9
  fi
  export SOCKREPAIR_CACHE_HELD=$CACHE
}

# info_get FILE KEY: a value out of a file of KEY=VALUE lines; nothing if there is none.
info_get() {
  if [[ -f $1 ]]; then
    sed -n "s/^$2=//p" "$1"
  fi
}

# link_sources CHECKOUT LINK BUILD: makes LINK one path for every checkout, as cmake and ccache know
# sources by their path, and removes what was built of another one in BUILD.
link_sources() {
  if [[ $(readlink "$2" || true) != "$1" ]]; then
    rm -rf "$3"
    ln -sfn "$1" "$2"
  fi
}

# digest: of what is on standard input, short enough to read.
digest() {
  sha256sum | cut -c1-16
}

# -------------------------------------------------------------------------------------- tree

# The files of KEY=VALUE lines that say what $TREE holds; readable by any script.
#   base.info      version origin key commit         written by fetch
#   applied.info   series base patches tip tree      written by apply
BASE_INFO=$CACHE/base.info
APPLIED_INFO=$CACHE/applied.info

# tgit ARGS...: git in the kernel tree, the same whoever's settings are in force.
tgit() {
  GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_PAGER=cat GIT_EDITOR=true \
    GIT_AUTHOR_NAME=${GIT_AUTHOR_NAME:-sockrepair} \
    GIT_AUTHOR_EMAIL=${GIT_AUTHOR_EMAIL:-sockrepair@localhost} \
    GIT_COMMITTER_NAME=sockrepair GIT_COMMITTER_EMAIL=sockrepair@localhost \
    git -C "$TREE" -c core.hooksPath=/dev/null -c commit.gpgSign=false -c gc.auto=0 \
    -c advice.detachedHead=false -c core.autocrlf=false -c core.fsmonitor=false "$@"
}

# base_wanted: the version that the series was made for, from kernel-patches/BASE.
base_wanted() {
  sed -n '/^#/d; s/[[:space:]]//g; /./{p;q}' "$PATCHES/BASE"
}

# kernel_line VERSION: 7.3 for 7.3, 7.3.4 and 7.3-rc1.
kernel_line() {
  sed -E 's/^([0-9]+\.[0-9]+).*/\1/' <<<"$1"
}

# kernel_version: the version in the kernel Makefile on standard input.
kernel_version() {
  awk '$2 == "=" && !($1 in v) { v[$1] = $3 }
       END { if (v["VERSION"] == "") exit 1
             printf "%s.%s", v["VERSION"], v["PATCHLEVEL"]
             if (v["SUBLEVEL"] + 0) printf ".%s", v["SUBLEVEL"]
             print v["EXTRAVERSION"] }'
}

# kernel-patches/series.txt, the only place that says what belongs to the series: SERIES_ORDER has
# the directories in the order in which they are applied, SERIES_TREE the tree each is mailed for.
SERIES_ORDER=()
declare -A SERIES_TREE=()
series_read() {
  local name tree rest file
  while read -r name tree rest; do
    if [[ $name == [!#]* ]]; then
      [[ $name$tree =~ ^[a-z-]+$ && $tree && ! $rest && ! ${SERIES_TREE[$name]:-} ]] ||
        die "kernel-patches/series.txt: not a row: $name $tree $rest"
      SERIES_ORDER+=("$name")
      SERIES_TREE[$name]=$tree
    fi
  done <"$PATCHES/series.txt"
  ((${#SERIES_ORDER[@]})) || die 'kernel-patches/series.txt has no rows'
  for file in "$PATCHES"/*/*.patch; do
    name=${file%/*}
    [[ ! -e $file || ${SERIES_TREE[${name##*/}]:-} ]] ||
      die "$name has patches and is not in kernel-patches/series.txt"
  done
}
series_read

# series_patches: the patches in the order in which they are applied, one a line.
series_patches() {
  local series patch
  for series in "${SERIES_ORDER[@]}"; do
    for patch in "$PATCHES/$series"/*.patch; do
      if [[ -e $patch ]]; then
        echo "$patch"
      fi
    done
  done
}

# series_digest: names and contents of the patches.
series_digest() {
  local patch
  while read -r patch; do
    echo "${patch#"$PATCHES"/}"
    cat "$patch"
  done < <(series_patches) | digest
}

# tree_snapshot: the git tree object of what is in $TREE now, uncommitted edits and new files
# included. Changes neither the work tree nor its index.
tree_snapshot() {
  local index
  index=$(tgit rev-parse --absolute-git-dir)/sockrepair.index
  cp -p "${index%/*}/index" "$index"
  GIT_INDEX_FILE=$index tgit add -A
  GIT_INDEX_FILE=$index tgit write-tree
}

# tree_state SNAPSHOT: how $TREE, whose content is SNAPSHOT, stands to kernel-patches/:
#   applied   the base with every patch, and nothing else
#   edited    the same, and then changed by a developer
#   stale     something else: patches or base have changed since they were applied, or never were
tree_state() {
  if [[ ! -f $APPLIED_INFO ||
    $(info_get "$APPLIED_INFO" series) != "$(series_digest)" ||
    $(info_get "$APPLIED_INFO" base) != "$(info_get "$BASE_INFO" commit)" ]]; then
    echo stale
  elif [[ $(info_get "$APPLIED_INFO" tree) == "$1" ]]; then
    echo applied
  else
    echo edited
  fi
}

# need_tree: ends the script if there is no kernel tree yet.
need_tree() {
  if [[ ! -e $TREE/.git || ! -f $BASE_INFO ]]; then
    die "no kernel tree in $CACHE; run: make fetch"
  fi
}

# ------------------------------------------------------------------------------------ flavour

# The table of flavours: which fragments of Kconfig.snippets/ make each.
declare -A FLAVOUR_FRAGMENTS=(
  [plain]='10 20 30 35 40 50'
  [debug]='10 20 30 35 40 60'
)

# flavour_check NAME: ends the script if there is no such flavour.
flavour_check() {
  if [[ ! ${FLAVOUR_FRAGMENTS[${1:-none}]:-} ]]; then
    die "no flavour '${1:-}'; there are: $(printf '%s\n' "${!FLAVOUR_FRAGMENTS[@]}" | sort | xargs)"
  fi
}

# flavour_fragments NAME: the files, one a line, in the order in which they are merged.
flavour_fragments() {
  local prefix file
  for prefix in ${FLAVOUR_FRAGMENTS[$1]}; do
    file=$(compgen -G "$SNIPPETS/$prefix-*.config") || die "no $SNIPPETS/$prefix-*.config"
    echo "$file"
  done
}

# flavour_dir NAME: where kbuild works.
flavour_dir() {
  echo "$CACHE/build/$1"
}

# kmake FLAVOUR ARGS...: kbuild, with what must be the same for configuring and for building.
kmake() {
  local flavour=$1
  shift
  make -C "$TREE" O="$(flavour_dir "$flavour")" CC='ccache gcc' "$@"
}

# toolchain: what compiles, as text; part of every build's key.
toolchain() {
  local program
  for program in gcc ld pahole; do
    command -v "$program" >/dev/null && "$program" --version | head -n 1
  done
  return 0
}

# config_key FLAVOUR SNAPSHOT: names all that decides what configure makes of this flavour.
config_key() {
  {
    flavour_fragments "$1" | xargs cat
    tgit ls-tree -r "$2" | grep -E $'\t(.*Kconfig[^/]*|scripts/.*|Makefile|arch/x86/Makefile.*)$'
    toolchain
  } | digest
}
