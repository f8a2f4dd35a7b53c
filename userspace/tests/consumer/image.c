/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */

/*
 * Images from C99: sockets into memory, out of it, and back to life. Prints KTAP. Needs no rights.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sockrepair/sockrepair_image.h"

static int failures;

#define EXPECT(condition)                                              \
  do {                                                                 \
    if (!(condition)) {                                                \
      printf("# %s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      failures++;                                                      \
    }                                                                  \
  } while (0)

#define COUNT 3

static void comes_back_from_memory(void) {
  struct sockaddr_in names[COUNT], again;
  sockrepair_udp *dumps[COUNT], **read = NULL;
  int memory = memfd_create("image", MFD_CLOEXEC), i, fd, restored;
  socklen_t size;
  size_t count = 0;

  for (i = 0; i < COUNT; i++) {
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    memset(&names[i], 0, sizeof(names[i]));
    names[i].sin_family = AF_INET;
    names[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    size = sizeof(names[i]);
    EXPECT(bind(fd, (struct sockaddr*)&names[i], size) == 0);
    EXPECT(getsockname(fd, (struct sockaddr*)&names[i], &size) == 0);
    EXPECT(sockrepair_udp_dump(fd, 0, &dumps[i], NULL) == 0);
    close(fd);
  }
  EXPECT(sockrepair_image_write(memory, (const sockrepair_udp* const*)dumps, COUNT, NULL) == 0);
  for (i = 0; i < COUNT; i++) sockrepair_udp_free(dumps[i]);

  EXPECT(sockrepair_image_read(memory, &read, &count, NULL) == 0);
  EXPECT(count == COUNT);
  for (i = 0; i < (int)count; i++) {
    restored = -1;
    EXPECT(sockrepair_udp_restore(read[i], 0, &restored, NULL, NULL) == 0);
    size = sizeof(again);
    EXPECT(getsockname(restored, (struct sockaddr*)&again, &size) == 0);
    EXPECT(memcmp(&again, &names[i], sizeof(again)) == 0);
    close(restored);
  }
  sockrepair_image_free(read, count);
  close(memory);
}

static void no_socket_is_an_image_too(void) {
  int memory = memfd_create("image", MFD_CLOEXEC);
  sockrepair_udp** read = (sockrepair_udp**)&read;
  size_t count = 7;

  EXPECT(sockrepair_image_write(memory, NULL, 0, NULL) == 0);
  EXPECT(sockrepair_image_read(memory, &read, &count, NULL) == 0);
  EXPECT(read == NULL && count == 0);
  sockrepair_image_free(read, count);
  close(memory);
}

static void damage_is_said_with_its_place(void) {
  int memory = memfd_create("image", MFD_CLOEXEC);
  sockrepair_udp** read = NULL;
  sockrepair_error* error = NULL;
  size_t count = 0;

  EXPECT(sockrepair_image_write(memory, NULL, 0, NULL) == 0);
  EXPECT(ftruncate(memory, lseek(memory, 0, SEEK_END) - 1) == 0);
  EXPECT(sockrepair_image_read(memory, &read, &count, &error) == EBADMSG);
  EXPECT(strstr(sockrepair_error_what(error), "offset") != NULL);
  EXPECT(read == NULL && count == 0);
  sockrepair_error_free(error);
  close(memory);
}

static void bad_arguments_are_refused(void) {
  const sockrepair_udp* none = NULL;
  sockrepair_udp** read = NULL;
  size_t count = 0;
  int memory = memfd_create("image", MFD_CLOEXEC);

  EXPECT(sockrepair_image_write(memory, NULL, 1, NULL) == EINVAL);
  EXPECT(sockrepair_image_write(memory, &none, 1, NULL) == EINVAL);
  EXPECT(sockrepair_image_write(-1, NULL, 0, NULL) == EBADF);
  EXPECT(sockrepair_image_read(memory, NULL, &count, NULL) == EINVAL);
  EXPECT(sockrepair_image_read(memory, &read, NULL, NULL) == EINVAL);
  EXPECT(sockrepair_image_read(-1, &read, &count, NULL) == EBADF);
  close(memory);
}

static const struct {
  const char* name;
  void (*run)(void);
} cases[] = {
    {"comes_back_from_memory", comes_back_from_memory},
    {"no_socket_is_an_image_too", no_socket_is_an_image_too},
    {"damage_is_said_with_its_place", damage_is_said_with_its_place},
    {"bad_arguments_are_refused", bad_arguments_are_refused},
};

int main(void) {
  size_t count = sizeof(cases) / sizeof(cases[0]), i;
  int failed = 0;

  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("KTAP version 1\n1..%zu\n", count);
  for (i = 0; i < count; i++) {
    failures = 0;
    cases[i].run();
    printf("%sok %zu %s\n", failures ? "not " : "", i + 1, cases[i].name);
    failed |= failures != 0;
  }
  return failed;
}
