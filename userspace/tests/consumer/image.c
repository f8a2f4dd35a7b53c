/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */

/*
 * Images from C99, and the same source as C++: sockets into memory, out of it, and back to life.
 * Prints KTAP. Needs no rights.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ktap.h"
#include "sockrepair/sockrepair_image.h"

#define COUNT 3

/* A listener or a bound UDP socket, as an element of an image. */
static struct sockrepair_socket dumped(int type, struct sockaddr_in* name) {
  struct sockrepair_socket dump = {NULL, NULL};
  int fd = loopback_socket(name, type);

  if (type == SOCK_STREAM) {
    EXPECT(listen(fd, 7) == 0);
    EXPECT(sockrepair_tcp_dump(fd, NULL, &dump.tcp, NULL) == 0);
  } else {
    EXPECT(sockrepair_udp_dump(fd, 0, &dump.udp, NULL) == 0);
  }
  close(fd);
  return dump;
}

static void comes_back_from_memory(void) {
  static const int types[COUNT] = {SOCK_DGRAM, SOCK_STREAM, SOCK_DGRAM};
  struct sockaddr_in names[COUNT], again;
  struct sockrepair_socket dumps[COUNT], *read = NULL;
  int memory = memfd_create("image", MFD_CLOEXEC), i, restored, listens;
  socklen_t size;
  size_t count = 0;

  for (i = 0; i < COUNT; i++) dumps[i] = dumped(types[i], &names[i]);
  EXPECT(sockrepair_image_write(memory, dumps, COUNT, NULL, NULL) == 0);
  for (i = 0; i < COUNT; i++) {
    sockrepair_udp_free(dumps[i].udp);
    sockrepair_tcp_free(dumps[i].tcp);
  }

  EXPECT(sockrepair_image_read(memory, &read, &count, NULL, NULL) == 0);
  EXPECT(count == COUNT);
  for (i = 0; i < (int)count; i++) {
    restored = -1;
    EXPECT((read[i].udp == NULL) == (types[i] == SOCK_STREAM));
    EXPECT((read[i].tcp == NULL) == (types[i] == SOCK_DGRAM));
    if (read[i].udp != NULL) {
      EXPECT(sockrepair_udp_restore(read[i].udp, 0, &restored, NULL, NULL) == 0);
    } else {
      EXPECT(sockrepair_tcp_restore(read[i].tcp, NULL, &restored, NULL, NULL) == 0);
    }
    size = sizeof(again);
    EXPECT(getsockname(restored, (struct sockaddr*)&again, &size) == 0);
    EXPECT(memcmp(&again, &names[i], sizeof(again)) == 0);
    size = sizeof(listens);
    EXPECT(getsockopt(restored, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0);
    EXPECT(listens == (types[i] == SOCK_STREAM));
    close(restored);
  }
  /* One that is taken out stays. */
  sockrepair_udp_free(read[0].udp);
  read[0].udp = NULL;
  sockrepair_image_free(read, count);
  close(memory);
}

static void no_socket_is_an_image_too(void) {
  int memory = memfd_create("image", MFD_CLOEXEC);
  struct sockrepair_socket one, *read = &one;
  sockrepair_time_wait* connections = NULL;
  size_t count = 7;

  EXPECT(sockrepair_image_write(memory, NULL, 0, NULL, NULL) == 0);
  EXPECT(sockrepair_image_read(memory, &read, &count, NULL, NULL) == 0);
  EXPECT(read == NULL && count == 0);
  EXPECT(sockrepair_image_read(memory, &read, &count, &connections, NULL) == 0);
  EXPECT(connections != NULL && sockrepair_time_wait_count(connections) == 0);
  sockrepair_time_wait_free(connections);
  sockrepair_image_free(read, count);
  close(memory);
}

static void damage_is_said_with_its_place(void) {
  int memory = memfd_create("image", MFD_CLOEXEC);
  struct sockrepair_socket* read = NULL;
  sockrepair_error* error = NULL;
  sockrepair_time_wait* connections = (sockrepair_time_wait*)&read;
  size_t count = 0;

  EXPECT(sockrepair_image_write(memory, NULL, 0, NULL, NULL) == 0);
  EXPECT(ftruncate(memory, lseek(memory, 0, SEEK_END) - 1) == 0);
  EXPECT(sockrepair_image_read(memory, &read, &count, &connections, &error) == EBADMSG);
  EXPECT(strstr(sockrepair_error_what(error), "offset") != NULL);
  EXPECT(read == NULL && count == 0 && connections == NULL);
  sockrepair_error_free(error);
  close(memory);
}

static void bad_arguments_are_refused(void) {
  struct sockrepair_socket none = {NULL, NULL}, both, *read = NULL;
  struct sockaddr_in name;
  sockrepair_error* error = NULL;
  size_t count = 0;
  int memory = memfd_create("image", MFD_CLOEXEC);

  EXPECT(sockrepair_image_write(memory, NULL, 1, NULL, NULL) == EINVAL);
  EXPECT(sockrepair_image_write(memory, &none, 1, NULL, &error) == EINVAL);
  EXPECT(strstr(sockrepair_error_what(error), "socket 0: neither of udp and tcp") != NULL);
  sockrepair_error_free(error);
  both = dumped(SOCK_DGRAM, &name);
  both.tcp = dumped(SOCK_STREAM, &name).tcp;
  EXPECT(sockrepair_image_write(memory, &both, 1, NULL, &error) == EINVAL);
  EXPECT(strstr(sockrepair_error_what(error), "socket 0: both of udp and tcp") != NULL);
  sockrepair_error_free(error);
  sockrepair_udp_free(both.udp);
  sockrepair_tcp_free(both.tcp);
  EXPECT(sockrepair_image_write(-1, NULL, 0, NULL, NULL) == EBADF);
  EXPECT(sockrepair_image_read(memory, NULL, &count, NULL, NULL) == EINVAL);
  EXPECT(sockrepair_image_read(memory, &read, NULL, NULL, NULL) == EINVAL);
  EXPECT(sockrepair_image_read(-1, &read, &count, NULL, NULL) == EBADF);
  close(memory);
}

static const struct test_case cases[] = {
    {"comes_back_from_memory", comes_back_from_memory},
    {"no_socket_is_an_image_too", no_socket_is_an_image_too},
    {"damage_is_said_with_its_place", damage_is_said_with_its_place},
    {"bad_arguments_are_refused", bad_arguments_are_refused},
};

int main(void) {
  return run_cases(cases, sizeof(cases) / sizeof(cases[0]));
}
