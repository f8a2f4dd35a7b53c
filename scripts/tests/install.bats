#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
# selftests/install, on a kernel tree that has the lists of one collection.
# shellcheck disable=SC2030,SC2031  # each test is a subshell of its own

setup() {
  INSTALL=$BATS_TEST_TMPDIR/selftests/install
  mkdir -p "$BATS_TEST_TMPDIR/selftests/net"
  cp "$BATS_TEST_DIRNAME/../../selftests/install" "$INSTALL"
  echo '/* ours */' >"$BATS_TEST_TMPDIR/selftests/net/tcp_ours.c"
  printf '# SPDX\nCONFIG_NET_OURS=y\nCONFIG_INET=y\n' >"$BATS_TEST_TMPDIR/selftests/net/config"
  TREE=$BATS_TEST_TMPDIR/tree
  NET=$TREE/tools/testing/selftests/net
  mkdir -p "$NET"
  touch "$TREE/tools/testing/selftests/lib.mk"
  cat >"$NET/Makefile" <<'END'
TEST_PROGS := \
	a.sh \
	z.sh \
# end of TEST_PROGS
TEST_GEN_PROGS := \
	bind \
	tcp2_x \
# end of TEST_GEN_PROGS
TEST_FILES := \
END
  printf '%s\n' '# SPDX' bind tcp2_x udp >"$NET/.gitignore"
  printf '%s\n' CONFIG_INET=y CONFIG_NET=y CONFIG_NET_CLS=m CONFIG_NETFILTER=y >"$NET/config"
}

@test "a program gets its file and its lines, in order" {
  "$INSTALL" "$TREE"
  cmp "$BATS_TEST_TMPDIR/selftests/net/tcp_ours.c" "$NET/tcp_ours.c"
  [[ $(sed -n '/^TEST_GEN_PROGS/,/^# end/p' "$NET/Makefile") == \
    $'TEST_GEN_PROGS := \\\n\tbind \\\n\ttcp_ours \\\n\ttcp2_x \\\n# end of TEST_GEN_PROGS' ]]
  [[ $(wc -l <"$NET/Makefile") == 10 ]]
  [[ $(cat "$NET/.gitignore") == $'# SPDX\nbind\ntcp_ours\ntcp2_x\nudp' ]]
  [[ $(cat "$NET/config") == \
    $'CONFIG_INET=y\nCONFIG_NET=y\nCONFIG_NET_CLS=m\nCONFIG_NET_OURS=y\nCONFIG_NETFILTER=y' ]]
}

@test "the last of a list goes before its end" {
  mv "$BATS_TEST_TMPDIR"/selftests/net/{tcp_ours,zz}.c
  "$INSTALL" "$TREE"
  [[ $(grep -A1 $'^\tzz' "$NET/Makefile") == $'\tzz \\\n# end of TEST_GEN_PROGS' ]]
  [[ $(tail -n 1 "$NET/.gitignore") == zz ]]
}

@test "a second time changes nothing" {
  "$INSTALL" "$TREE"
  cp -r "$TREE" "$TREE.once"
  "$INSTALL" "$TREE"
  diff -r "$TREE.once" "$TREE"
}

@test "a list without a place is an error, and is left alone" {
  sed -i '/^# end of TEST_GEN_PROGS/d' "$NET/Makefile"
  cp "$NET/Makefile" "$BATS_TEST_TMPDIR/before"
  sed -i 's/tcp2_x/aaa/' "$NET/Makefile" "$BATS_TEST_TMPDIR/before"
  sed -i '/^TEST_FILES/d' "$NET/Makefile" "$BATS_TEST_TMPDIR/before"
  run "$INSTALL" "$TREE"
  ((status == 1))
  [[ $output == *"no place for"*"Makefile" ]]
  cmp "$BATS_TEST_TMPDIR/before" "$NET/Makefile"
  [[ ! -e $NET/Makefile.new ]]
}

@test "what is no kernel tree is refused" {
  run "$INSTALL" "$BATS_TEST_TMPDIR"
  ((status == 2))
  run "$INSTALL"
  ((status == 2))
}
