/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */

/*
 * Connections in TIME_WAIT from C99, and the same source as C++: found, stored, ended and made
 * again. Prints KTAP. Most of it takes rights, and a kernel with the series to make them again.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ktap.h"
#include "sockrepair/sockrepair.h"
#include "sockrepair/sockrepair_image.h"

#define COUNT 2
#define PATIENCE_S 10

/* As the kernel numbers states; <linux/tcp.h> and <netinet/tcp.h> do not go together. */
enum { FIN_WAIT2 = 5, TIME_WAIT = 6 };

/* Connections of one port, ours closed first. */
struct world {
  struct sockaddr_in name;
  int peers[COUNT];
  sockrepair_time_wait* list; /* these and no others */
};

/* The list without the connections of others. */
static size_t keep_ours(const struct world* world, sockrepair_time_wait* list) {
  struct sockrepair_connection connection;
  size_t i = 0;

  while (sockrepair_time_wait_connection(list, i, &connection) == 0) {
    if (memcmp(&connection.local, &world->name, sizeof(world->name)) == 0)
      i++;
    else
      sockrepair_time_wait_remove(list, i);
  }
  return i;
}

/* Until there are `count` of ours; there is no other sign of it. */
static sockrepair_time_wait* wait_for(const struct world* world, size_t count) {
  const time_t deadline = time(NULL) + PATIENCE_S;
  sockrepair_time_wait* list = NULL;

  for (;;) {
    EXPECT(sockrepair_time_wait_find(-1, &list, NULL) == 0);
    if (keep_ours(world, list) == count || time(NULL) > deadline) break;
    sockrepair_time_wait_free(list);
  }
  EXPECT(sockrepair_time_wait_count(list) == count);
  return list;
}

/* The peer closes the first one, too. */
static void remember(struct world* world) {
  int listener = loopback_socket(&world->name, SOCK_STREAM), ours, i;

  EXPECT(listen(listener, COUNT) == 0);
  for (i = 0; i < COUNT; i++) {
    world->peers[i] = socket(AF_INET, SOCK_STREAM, 0);
    EXPECT(connect(world->peers[i], (struct sockaddr*)&world->name, sizeof(world->name)) == 0);
    ours = accept(listener, NULL, NULL);
    close(ours);
  }
  close(world->peers[0]);
  close(listener);
  world->list = wait_for(world, COUNT);
}

static void forget(struct world* world) {
  close(world->peers[1]);
  sockrepair_time_wait_free(world->list);
}

static int state_number(const sockrepair_time_wait* list, int state) {
  int i, found = 0;

  for (i = 0; i < COUNT; i++) found += sockrepair_time_wait_state(list, (size_t)i) == state;
  return found;
}

static void found_and_described(void) {
  struct sockrepair_connection connection;
  struct world world;
  size_t i;
  int peers_port = 0;

  if (!has("time-wait")) return;
  remember(&world);
  EXPECT(state_number(world.list, TIME_WAIT) == 1);
  EXPECT(state_number(world.list, FIN_WAIT2) == 1);
  for (i = 0; i < COUNT; i++) {
    const char* text = sockrepair_time_wait_text(world.list, i);
    EXPECT(sockrepair_time_wait_connection(world.list, i, &connection) == 0);
    EXPECT(connection.peer.ss_family == AF_INET);
    peers_port += ((struct sockaddr_in*)&connection.peer)->sin_port != 0;
    EXPECT(strstr(text, ", 127.0.0.1:") != NULL && strstr(text, " s left") != NULL);
    EXPECT(sockrepair_time_wait_remaining(world.list, i) > 0);
    EXPECT(sockrepair_time_wait_remaining(world.list, i) <= 60000000);
  }
  EXPECT(peers_port == COUNT);
  EXPECT(sockrepair_time_wait_text(world.list, i) == NULL);
  EXPECT(sockrepair_time_wait_state(world.list, i) == 0);
  EXPECT(sockrepair_time_wait_remaining(world.list, i) == 0);
  EXPECT(sockrepair_time_wait_connection(world.list, i, &connection) == EINVAL);
  EXPECT(sockrepair_time_wait_connection(world.list, 0, NULL) == EINVAL);
  sockrepair_time_wait_remove(world.list, i);
  EXPECT(sockrepair_time_wait_count(world.list) == COUNT);
  forget(&world);
}

static void stored_in_an_image(void) {
  int memory = memfd_create("image", MFD_CLOEXEC);
  struct sockrepair_socket* sockets = NULL;
  sockrepair_time_wait* again = NULL;
  sockrepair_error* error = NULL;
  struct world world;
  size_t i, count = 7;

  if (!has("time-wait")) return;
  remember(&world);
  EXPECT(sockrepair_image_write(memory, NULL, 0, world.list, &error) == 0);
  EXPECT(sockrepair_image_read(memory, &sockets, &count, NULL, &error) == EPROTONOSUPPORT);
  EXPECT_ERROR(error, EPROTONOSUPPORT, "2 connections in TIME_WAIT");
  EXPECT(sockets == NULL && count == 0);
  EXPECT(sockrepair_image_read(memory, &sockets, &count, &again, &error) == 0);
  EXPECT(error == NULL && sockets == NULL && count == 0);
  EXPECT(sockrepair_time_wait_count(again) == COUNT);
  for (i = 0; i < COUNT; i++)
    EXPECT(strcmp(sockrepair_time_wait_text(again, i), sockrepair_time_wait_text(world.list, i)) ==
           0);
  sockrepair_time_wait_free(again);
  close(memory);
  forget(&world);
}

static void ended_and_made_again(void) {
  struct sockrepair_time_wait_restore_options over;
  sockrepair_losses* losses = NULL;
  sockrepair_error* error = NULL;
  sockrepair_time_wait* again;
  struct world world;
  size_t i, ended = 7;
  int code;

  if (!has("time-wait") || !has("tcp-control-block")) return;
  remember(&world);
  EXPECT(sockrepair_time_wait_end(world.list, -1, &ended, &error) == 0);
  EXPECT(error == NULL && ended == COUNT);
  EXPECT(sockrepair_time_wait_end(world.list, -1, &ended, NULL) == 0 && ended == 0);
  sockrepair_time_wait_free(wait_for(&world, 0));

  /* An hour that counts: it is over. */
  memset(&over, 0, sizeof(over));
  over.size = sizeof(over);
  over.flags = SOCKREPAIR_TIME_WAIT_COUNT_PAUSE | SOCKREPAIR_TIME_WAIT_PAUSE;
  over.pause_us = 3600000000u;
  EXPECT(sockrepair_time_wait_restore(world.list, 0, &over, NULL, &error) == 0);
  EXPECT(error == NULL);
  sockrepair_time_wait_free(wait_for(&world, 0));

  for (i = 0; i < COUNT; i++) {
    code = sockrepair_time_wait_restore(world.list, i, NULL, &losses, &error);
    EXPECT(code == 0 && error == NULL && losses != NULL);
    if (code != 0) printf("# %s\n", sockrepair_error_text(error));
    sockrepair_error_free(error);
    sockrepair_losses_free(losses);
  }
  again = wait_for(&world, COUNT);
  EXPECT(state_number(again, TIME_WAIT) == 1 && state_number(again, FIN_WAIT2) == 1);
  /* For whom they are still there. */
  EXPECT(sockrepair_time_wait_end(again, -1, &ended, NULL) == 0 && ended == COUNT);
  sockrepair_time_wait_free(again);
  forget(&world);
}

/* What must be refused, and how it is said. */
static const struct bad_restore {
  struct sockrepair_time_wait_restore_options options;
  const char* what;
} bad_restores[] = {
    {{3, 0, 0, NULL, 0}, "options, size: 3, must be 8 at least"},
    {{sizeof(struct sockrepair_time_wait_restore_options), 4, 0, NULL, 0},
     "flags 4, must be some of 3"},
    {{sizeof(struct sockrepair_time_wait_restore_options), SOCKREPAIR_TIME_WAIT_COUNT_PAUSE, 5,
      NULL, 0},
     "options, pause_us: 5, must be 0 without SOCKREPAIR_TIME_WAIT_PAUSE"},
    {{sizeof(struct sockrepair_time_wait_restore_options), 0, 0, NULL, 1},
     "options, rewrites is NULL"},
};

static void bad_arguments_are_named(void) {
  sockrepair_losses* losses = NULL;
  sockrepair_error* error = NULL;
  struct world world;
  size_t i;

  if (!has("time-wait")) return;
  EXPECT(sockrepair_time_wait_find(1000000, &world.list, NULL) != 0 && world.list == NULL);
  remember(&world);
  for (i = 0; i < sizeof(bad_restores) / sizeof(bad_restores[0]); i++) {
    const struct bad_restore* row = &bad_restores[i];
    losses = (sockrepair_losses*)&world;
    EXPECT(sockrepair_time_wait_restore(world.list, 0, &row->options, &losses, &error) == EINVAL);
    EXPECT_ERROR(error, EINVAL, row->what);
    EXPECT(losses == NULL);
  }
  EXPECT(sockrepair_time_wait_restore(world.list, COUNT, NULL, NULL, &error) == EINVAL);
  EXPECT_ERROR(error, EINVAL, "sockrepair_time_wait_restore: index: 2, must be less than 2");
  forget(&world);
}

static void null_is_nothing(void) {
  size_t ended = 7;

  EXPECT(sockrepair_time_wait_find(-1, NULL, NULL) == EINVAL);
  EXPECT(sockrepair_time_wait_count(NULL) == 0);
  EXPECT(sockrepair_time_wait_text(NULL, 0) == NULL);
  EXPECT(sockrepair_time_wait_connection(NULL, 0, NULL) == EINVAL);
  EXPECT(sockrepair_time_wait_state(NULL, 0) == 0);
  EXPECT(sockrepair_time_wait_remaining(NULL, 0) == 0);
  EXPECT(sockrepair_time_wait_end(NULL, -1, &ended, NULL) == EINVAL && ended == 0);
  EXPECT(sockrepair_time_wait_restore(NULL, 0, NULL, NULL, NULL) == EINVAL);
  sockrepair_time_wait_remove(NULL, 0);
  sockrepair_time_wait_free(NULL);
}

static const struct test_case cases[] = {
    {"found_and_described", found_and_described},
    {"stored_in_an_image", stored_in_an_image},
    {"ended_and_made_again", ended_and_made_again},
    {"bad_arguments_are_named", bad_arguments_are_named},
    {"null_is_nothing", null_is_nothing},
};

int main(void) {
  return run_cases(cases, sizeof(cases) / sizeof(cases[0]));
}
