/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */

/*
 * The C API, used from C99: a program of somebody else, who has the installed headers and library
 * and nothing more. Prints KTAP. Needs no rights.
 */

/* SO_REUSEPORT is not POSIX. */
#define _DEFAULT_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sockrepair/sockrepair.h"

static int failures;

/* A line about what was wrong; the case goes on. */
#define EXPECT(condition)                                              \
  do {                                                                 \
    if (!(condition)) {                                                \
      printf("# %s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      failures++;                                                      \
    }                                                                  \
  } while (0)

/* A UDP socket bound to 127.0.0.1 and the port that it got. */
static int bound_socket(struct sockaddr_in* name) {
  socklen_t size = sizeof(*name);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);

  memset(name, 0, sizeof(*name));
  name->sin_family = AF_INET;
  name->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT(fd >= 0);
  EXPECT(bind(fd, (struct sockaddr*)name, sizeof(*name)) == 0);
  EXPECT(getsockname(fd, (struct sockaddr*)name, &size) == 0);
  return fd;
}

static void comes_back(void) {
  struct sockaddr_in name, again, inside;
  socklen_t size = sizeof(again);
  sockrepair_udp* socket = NULL;
  sockrepair_losses* losses = NULL;
  sockrepair_error* error = NULL;
  size_t bytes = 1;
  int ttl = 7, fd, restored = -1;
  char* text;

  fd = bound_socket(&name);
  EXPECT(setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)) == 0);
  EXPECT(sockrepair_udp_dump(fd, 0, &socket, &error) == 0);
  EXPECT(error == NULL);
  close(fd);

  EXPECT(sockrepair_udp_domain(socket) == AF_INET);
  EXPECT(sockrepair_udp_received(socket) == 0);
  EXPECT(sockrepair_udp_unsent(socket, &bytes) == 0 && bytes == 0);
  size = sizeof(inside);
  EXPECT(sockrepair_udp_local(socket, (struct sockaddr*)&inside, &size) == 0);
  EXPECT(size == sizeof(inside) && memcmp(&inside, &name, sizeof(name)) == 0);
  EXPECT(sockrepair_udp_peer(socket, (struct sockaddr*)&inside, &size) == ENOTCONN);
  text = sockrepair_udp_describe(socket);
  EXPECT(text != NULL && strstr(text, "IP_TTL: 7") != NULL);
  free(text);

  EXPECT(sockrepair_udp_restore(socket, 0, &restored, &losses, &error) == 0);
  EXPECT(error == NULL);
  EXPECT(sockrepair_losses_count(losses) == 0);
  EXPECT(sockrepair_loss_text(losses, 0) == NULL);
  size = sizeof(again);
  EXPECT(getsockname(restored, (struct sockaddr*)&again, &size) == 0);
  EXPECT(memcmp(&again, &name, sizeof(name)) == 0);
  ttl = 0;
  size = sizeof(ttl);
  EXPECT(getsockopt(restored, IPPROTO_IP, IP_TTL, &ttl, &size) == 0 && ttl == 7);

  close(restored);
  sockrepair_losses_free(losses);
  sockrepair_udp_free(socket);
}

static void errors_say_what_and_why(void) {
  struct sockaddr_in name;
  sockrepair_udp* socket = NULL;
  sockrepair_error* error = NULL;
  int fd = bound_socket(&name), restored = 5;

  EXPECT(sockrepair_udp_dump(fd, 0, &socket, NULL) == 0);
  /* The first one is still there. */
  EXPECT(sockrepair_udp_restore(socket, 0, &restored, NULL, &error) == EADDRINUSE);
  EXPECT(restored == -1);
  EXPECT(sockrepair_error_code(error) == EADDRINUSE);
  EXPECT(strncmp(sockrepair_error_what(error), "local: 127.0.0.1:", 17) == 0);
  EXPECT(strstr(sockrepair_error_text(error), "EADDRINUSE") != NULL);
  sockrepair_error_free(error);
  EXPECT(sockrepair_udp_restore(socket, 0, &restored, NULL, NULL) == EADDRINUSE);
  close(fd);
  sockrepair_udp_free(socket);

  EXPECT(sockrepair_udp_dump(-1, 0, &socket, &error) == EBADF);
  EXPECT(socket == NULL);
  sockrepair_error_free(error);
}

static void bad_arguments_are_refused(void) {
  struct sockaddr_in name;
  socklen_t size = sizeof(name);
  sockrepair_udp* socket = NULL;
  sockrepair_error* error = NULL;
  int fd = bound_socket(&name), restored = -1;

  EXPECT(sockrepair_udp_dump(fd, 0, NULL, &error) == EINVAL);
  EXPECT(strstr(sockrepair_error_what(error), "socket is NULL") != NULL);
  sockrepair_error_free(error);
  EXPECT(sockrepair_udp_dump(fd, 0x80, &socket, &error) == EINVAL);
  EXPECT(strstr(sockrepair_error_what(error), "flags 128") != NULL);
  sockrepair_error_free(error);
  EXPECT(sockrepair_udp_dump(fd, 0, &socket, NULL) == 0);
  close(fd);
  EXPECT(sockrepair_udp_restore(NULL, 0, &restored, NULL, NULL) == EINVAL);
  EXPECT(sockrepair_udp_restore(socket, 0, NULL, NULL, NULL) == EINVAL);
  EXPECT(sockrepair_udp_restore(socket, 2, &restored, NULL, NULL) == EINVAL);
  EXPECT(restored == -1);
  EXPECT(sockrepair_udp_local(socket, NULL, &size) == EINVAL);
  EXPECT(sockrepair_udp_local(socket, (struct sockaddr*)&name, NULL) == EINVAL);
  sockrepair_udp_free(socket);
}

static void null_is_nothing(void) {
  EXPECT(sockrepair_error_code(NULL) == 0);
  EXPECT(strcmp(sockrepair_error_text(NULL), "") == 0);
  EXPECT(strcmp(sockrepair_error_what(NULL), "") == 0);
  EXPECT(sockrepair_losses_count(NULL) == 0);
  EXPECT(sockrepair_loss_text(NULL, 0) == NULL);
  EXPECT(sockrepair_loss_subject(NULL, 0) == NULL);
  EXPECT(sockrepair_udp_domain(NULL) == 0);
  EXPECT(sockrepair_udp_received(NULL) == 0);
  EXPECT(sockrepair_udp_unsent(NULL, NULL) == 0);
  EXPECT(sockrepair_udp_losses(NULL) == NULL);
  EXPECT(sockrepair_udp_describe(NULL) == NULL);
  sockrepair_error_free(NULL);
  sockrepair_losses_free(NULL);
  sockrepair_udp_free(NULL);
}

static void losses_are_listed(void) {
  sockrepair_udp* dump = NULL;
  const sockrepair_losses* losses;
  size_t i, named = 0;
  int one = 1, fd = socket(AF_INET, SOCK_DGRAM, 0);

  EXPECT(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) == 0);
  EXPECT(sockrepair_udp_dump(fd, SOCKREPAIR_DUMP_NO_SEND_QUEUE | SOCKREPAIR_DUMP_NO_RECEIVE_QUEUE,
                             &dump, NULL) == 0);
  losses = sockrepair_udp_losses(dump);
  for (i = 0; i < sockrepair_losses_count(losses); i++) {
    EXPECT(strstr(sockrepair_loss_text(losses, i), sockrepair_loss_subject(losses, i)) ==
           sockrepair_loss_text(losses, i));
    if (strstr(sockrepair_loss_subject(losses, i), "SO_ATTACH_REUSEPORT_EBPF") != NULL) named++;
  }
  EXPECT(named == 1);
  EXPECT(sockrepair_loss_text(losses, i) == NULL);
  close(fd);
  sockrepair_udp_free(dump);
}

static void features_are_told(void) {
  sockrepair_error* error = NULL;
  size_t i, count = sockrepair_features_count();
  int code;

  EXPECT(count > 0);
  for (i = 0; i < count; i++) {
    EXPECT(sockrepair_feature_cost(i) != NULL && *sockrepair_feature_cost(i) != '\0');
    code = sockrepair_feature_check(sockrepair_feature_name(i), &error);
    EXPECT((code == 0) == (error == NULL));
    EXPECT(code == sockrepair_error_code(error) && code != EINVAL);
    sockrepair_error_free(error);
  }
  EXPECT(sockrepair_feature_name(count) == NULL && sockrepair_feature_cost(count) == NULL);
  EXPECT(sockrepair_feature_check("no-such-thing", NULL) == EINVAL);
  EXPECT(sockrepair_feature_check(NULL, NULL) == EINVAL);
}

static void version_is_told(void) {
  int major = -1, minor = -1, patch = -1;

  EXPECT(sscanf(sockrepair_version(), "%d.%d.%d", &major, &minor, &patch) == 3);
  EXPECT(major == 0 && minor >= 1 && patch >= 0);
}

static const struct {
  const char* name;
  void (*run)(void);
} cases[] = {
    {"comes_back", comes_back},
    {"errors_say_what_and_why", errors_say_what_and_why},
    {"bad_arguments_are_refused", bad_arguments_are_refused},
    {"null_is_nothing", null_is_nothing},
    {"losses_are_listed", losses_are_listed},
    {"features_are_told", features_are_told},
    {"version_is_told", version_is_told},
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
