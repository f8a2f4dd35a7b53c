/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
#ifndef SOCKREPAIR_TESTS_CONSUMER_KTAP_H_
#define SOCKREPAIR_TESTS_CONSUMER_KTAP_H_

/*
 * Cases of a program in C, reported as KTAP.
 *
 *   static void adds_up(void) {
 *     if (!has("tcp-repair")) return;
 *     EXPECT(1 + 1 == 2);
 *   }
 *   static const struct test_case cases[] = {{"adds_up", adds_up}};
 *   int main(void) { return run_cases(cases, sizeof(cases) / sizeof(cases[0])); }
 *
 *   # adds_up.c:3: not so: 1 + 1 == 2
 *   not ok 1 adds_up
 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "sockrepair/sockrepair.h"

static int failures;
/* Why the case cannot run here; NULL: it can. */
static const char* skipped;

/* A line about what was wrong; the case goes on. */
#define EXPECT(condition)                                              \
  do {                                                                 \
    if (!(condition)) {                                                \
      printf("# %s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      failures++;                                                      \
    }                                                                  \
  } while (0)

/* Expects an error object with this code, and `part` in what it says; frees it. */
#define EXPECT_ERROR(error, code, part)                           \
  do {                                                            \
    EXPECT(sockrepair_error_code(error) == (code));               \
    EXPECT(strstr(sockrepair_error_what(error), (part)) != NULL); \
    if (strstr(sockrepair_error_what(error), (part)) == NULL)     \
      printf("# it says: %s\n", sockrepair_error_what(error));    \
    sockrepair_error_free(error);                                 \
  } while (0)

/* Whether there is what the case needs. */
static inline int has(const char* feature) {
  if (sockrepair_feature_check(feature, NULL) == 0) return 1;
  skipped = feature;
  return 0;
}

/* Bound to 127.0.0.1 and the port that it got. */
static inline int loopback_socket(struct sockaddr_in* name, int type) {
  socklen_t size = sizeof(*name);
  int fd = socket(AF_INET, type, 0);

  memset(name, 0, sizeof(*name));
  name->sin_family = AF_INET;
  name->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT(fd >= 0);
  EXPECT(bind(fd, (struct sockaddr*)name, sizeof(*name)) == 0);
  EXPECT(getsockname(fd, (struct sockaddr*)name, &size) == 0);
  return fd;
}

/* A listener, and a socket that is connected to it. */
static inline int listener_of(struct sockaddr_in* name, int* peer) {
  int fd = loopback_socket(name, SOCK_STREAM);

  EXPECT(listen(fd, 9) == 0);
  *peer = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT(connect(*peer, (struct sockaddr*)name, sizeof(*name)) == 0);
  return fd;
}

struct test_case {
  const char* name;
  void (*run)(void);
};

/* What main() returns. */
static inline int run_cases(const struct test_case* cases, size_t count) {
  int failed = 0;
  size_t i;

  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("KTAP version 1\n1..%zu\n", count);
  for (i = 0; i < count; i++) {
    failures = 0;
    skipped = NULL;
    cases[i].run();
    printf("%sok %zu %s", failures ? "not " : "", i + 1, cases[i].name);
    if (skipped != NULL) printf(" # SKIP no %s", skipped);
    printf("\n");
    failed |= failures != 0;
  }
  return failed;
}

#endif /* SOCKREPAIR_TESTS_CONSUMER_KTAP_H_ */
