# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# Completion of sockrepair(1) for bash. Needs nothing else; with bash-completion loaded, the
# arguments of PROGRAM after -- are completed as well.

# What each verb takes.
_sockrepair_options() {
  case $1 in
    dump)
      echo --pid --fd --udp --tcp --listen-only --connections-only --local --peer --output \
        --leave-running --close --kill --drop-waiting --time-wait --no-lock --hold --patience --strict \
        --json --help
      ;;
    restore)
      echo --netns --listen-only --connections-only --congestion --count-pause --rewrite \
        --no-lock --listen-fds --send-to --into --strict --help
      ;;
    show | check | detached) echo --json --help ;;
    *) echo --help --version ;;
  esac
}

# The value of --pid so far, empty if there is none.
_sockrepair_pid() {
  local i
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [[ ${COMP_WORDS[i]} == --pid ]]; then
      echo "${COMP_WORDS[i + 1]}"
    fi
  done
}

# The numbers under which a process has sockets.
_sockrepair_sockets() {
  local link
  for link in "/proc/$1/fd/"*; do
    if [[ $(readlink "$link" 2>/dev/null) == socket:* ]]; then
      echo "${link##*/}"
    fi
  done
}

_sockrepair() {
  local word=${COMP_WORDS[COMP_CWORD]} before='' verb='' words='' i
  if ((COMP_CWORD > 1)); then
    before=${COMP_WORDS[COMP_CWORD - 1]}
    verb=${COMP_WORDS[1]}
  fi
  COMPREPLY=()
  for ((i = 2; i < COMP_CWORD; i++)); do
    if [[ ${COMP_WORDS[i]} == -- ]]; then
      if declare -F _command_offset >/dev/null; then
        _command_offset $((i + 1))
      elif ((i + 1 == COMP_CWORD)); then
        mapfile -t COMPREPLY < <(compgen -c -- "$word")
      else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
      fi
      return
    fi
  done
  case $before in
    --pid) words=$(cd /proc && printf '%s\n' [0-9]*) ;;
    --fd) words=$(_sockrepair_sockets "$(_sockrepair_pid)") ;;
    --patience) words='1 5 30' ;;
    --hold) words='0 60 600' ;;
    --congestion) words='capped whole skip' ;;
    --local | --peer | --rewrite) ;;
    --netns)
      words=$(cd /run/netns 2>/dev/null && printf '%s\n' *)
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      ;;
    -o | --output | --send-to)
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      return
      ;;
    *)
      if [[ ! $verb ]]; then
        words="dump restore show check detached $(_sockrepair_options '')"
      elif [[ $word == -* ]]; then
        words=$(_sockrepair_options "$verb")
        if [[ $verb == restore ]]; then
          words+=' --'
        fi
      elif [[ $verb == restore || $verb == show ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
      fi
      ;;
  esac
  local -a found
  mapfile -t found < <(compgen -W "$words" -- "$word")
  COMPREPLY+=("${found[@]}")
}

complete -o filenames -F _sockrepair sockrepair
