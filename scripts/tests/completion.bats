#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# Completion of sockrepair, its man pages, and that both know what the tool knows.
# shellcheck disable=SC2034  # what is set is read by the completion

setup() {
  USERSPACE=$BATS_TEST_DIRNAME/../../userspace
  MAIN=$USERSPACE/tools/sockrepair/main.cc
  # shellcheck source=/dev/null
  source "$USERSPACE/completion/sockrepair.bash"
  cd "$BATS_TEST_TMPDIR" || return 1
  touch all.img other.img
}

# complete_line WORD...: what is offered for the last word, blank-separated and sorted.
complete_line() {
  COMP_WORDS=(sockrepair "$@")
  COMP_CWORD=$#
  _sockrepair
  printf '%s\n' "${COMPREPLY[@]}" | sort | xargs
}

# body_of FUNCTION: of main.cc.
body_of() {
  sed -n "/^[a-zA-Z].* $1(CLI::App/,/^}/p" "$MAIN"
}

# options_of VERB: the long options that main.cc gives it, in add_VERB() and in what that calls.
options_of() {
  local body helper
  body=$(body_of "add_$1")
  for helper in $(grep -oE '\badd_[a-z_]+\(' <<<"$body" | tr -d '(' | sort -u); do
    if [[ $helper != "add_$1" ]]; then
      body+=$(body_of "$helper")
    fi
  done
  grep -oE '"(-o,)?--[a-z-]+"' <<<"$body" | grep -oE -- '--[a-z-]+' | sort -u
}

@test "the verbs" {
  [[ $(complete_line '') == '--help --version check detached dump restore show' ]]
  [[ $(complete_line d) == 'detached dump' ]]
  [[ $(complete_line x) == '' ]]
}

@test "each verb has all of its options, and no others" {
  local verb
  for verb in dump restore show check detached; do
    COMP_WORDS=(sockrepair "$verb" -)
    COMP_CWORD=2
    _sockrepair
    (($(options_of "$verb" | wc -l) >= 1))
    diff <(printf '%s\n' "${COMPREPLY[@]}" | grep -vx -- -- | sort) \
      <({ options_of "$verb" && echo --help; } | sort)
  done
}

@test "every option is in the man page and in the completion of zsh" {
  local verb option
  for verb in dump restore show check detached; do
    for option in $(options_of "$verb"); do
      grep -qF -- "Fl -${option#--}" "$USERSPACE/man/sockrepair.1" || { echo "man: $option"; return 1; }
      grep -qF -- "$option" "$USERSPACE/completion/_sockrepair" || { echo "zsh: $option"; return 1; }
    done
  done
}

@test "files where a file belongs" {
  [[ $(complete_line show all) == all.img ]]
  [[ $(complete_line restore '') == 'all.img other.img' ]]
  [[ $(complete_line restore --send-to o) == other.img ]]
  [[ $(complete_line dump --pid 1 -o a) == all.img ]]
  [[ $(complete_line check '') == '' ]]
}

@test "processes, and the sockets of the one that was named" {
  [[ " $(complete_line dump --pid '') " == *" $$ "* ]]
  [[ $(complete_line dump --pid $$) == *$$* ]]
  # A socket of this shell: bash makes one.
  exec {udp}<>/dev/udp/127.0.0.1/9
  local found
  found=$(complete_line dump --pid "$BASHPID" --fd '')
  exec {udp}>&-
  [[ " $found " == *" $udp "* ]]
  [[ $(complete_line dump --fd '') == '' ]]
}

@test "a program after --" {
  [[ " $(complete_line restore all.img -- bas) " == *' bash '* ]]
  [[ $(complete_line restore all.img -- cat all) == all.img ]]
}

@test "zsh takes its completion" {
  command -v zsh >/dev/null
  zsh -n "$USERSPACE/completion/_sockrepair"
  [[ $(head -n 1 "$USERSPACE/completion/_sockrepair") == '#compdef sockrepair' ]]
}

@test "the man pages are clean" {
  run mandoc -T lint -W warning "$USERSPACE"/man/*.[13]
  echo "$output"
  ((status == 0))
  [[ ! $output ]]
}

@test "the man page has every exit status" {
  local value count=0
  while read -r value; do
    count=$((count + 1))
    if ((value == 128)); then
      value='128\+N'
    fi
    grep -qE "^\.It $value$" "$USERSPACE/man/sockrepair.1" || { echo "no $value"; return 1; }
  done < <(sed -n '/^enum ExitStatus/,/^}/s/.* = \([0-9]*\),.*/\1/p' \
    "$USERSPACE/tools/sockrepair/command.h")
  ((count == 8))
}
