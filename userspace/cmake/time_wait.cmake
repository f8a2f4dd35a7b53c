# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# The BPF program that finds TIME_WAIT connections, within the library. It is compiled against no
# kernel's types, see bpf/time_wait.bpf.c; libbpf is loaded by who runs it. Of libbpf only headers
# are needed here.
find_program(CLANG NAMES clang clang-14)
find_path(LIBBPF_INCLUDE bpf/libbpf.h)
if(NOT CLANG OR NOT LIBBPF_INCLUDE)
  message(FATAL_ERROR "SOCKREPAIR_TIME_WAIT takes clang and the headers of libbpf; "
    "with -DSOCKREPAIR_TIME_WAIT=OFF the library finds no TIME_WAIT connections")
endif()

set(object ${CMAKE_CURRENT_BINARY_DIR}/time_wait.bpf.o)
# The line numbers in it would name the directory.
add_custom_command(
  OUTPUT ${object}.inc
  COMMAND ${CLANG} -target bpf -O2 -g -Wall -Werror -ffile-prefix-map=${PROJECT_SOURCE_DIR}/=
          -fdebug-compilation-dir=. -I${LIBBPF_INCLUDE}
          -c ${PROJECT_SOURCE_DIR}/bpf/time_wait.bpf.c -o ${object}
  COMMAND ${CMAKE_COMMAND} -DIN=${object} -DOUT=${object}.inc
          -P ${PROJECT_SOURCE_DIR}/cmake/embed.cmake
  DEPENDS bpf/time_wait.bpf.c bpf/time_wait.h cmake/embed.cmake
  BYPRODUCTS ${object}
  COMMENT "time_wait.bpf.o"
  VERBATIM)
add_custom_target(time_wait_object DEPENDS ${object}.inc)
add_dependencies(sockrepair time_wait_object)
target_sources(sockrepair PRIVATE lib/libbpf.cc)
target_include_directories(sockrepair PRIVATE ${CMAKE_CURRENT_BINARY_DIR} bpf)
target_include_directories(sockrepair SYSTEM PRIVATE ${LIBBPF_INCLUDE})
target_compile_definitions(sockrepair PRIVATE SOCKREPAIR_TIME_WAIT)
