# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
#   cmake -DIN=FILE -DOUT=FILE.inc -P embed.cmake
#
# The bytes of FILE as the elements of an array of C.
file(READ "${IN}" bytes HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "(................................................................................)"
  "\\1\n" bytes "${bytes}")
file(WRITE "${OUT}" "${bytes}\n")
