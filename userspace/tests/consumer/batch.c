/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */

/*
 * Batches from C99, and the same source as C++: who fails, fails alone or with all others, and
 * callbacks end it. Prints KTAP. Needs no rights, but for one case.
 */

#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ktap.h"
#include "sockrepair/sockrepair.h"

#define COUNT 5

/* Sockets that are moved, and what callbacks were told. Each ends the batch with its answer when it
 * is called for the `stop_at`th time, from 1 on. */
struct world {
  struct sockaddr_in names[COUNT];
  int fds[COUNT];
  struct sockrepair_socket dumps[COUNT];
  int codes[COUNT]; /* of errors; 0: none */
  char what[200];   /* of the last error */
  size_t sunk;      /* calls of a sink */
  size_t losses;    /* of what was made */
  size_t progress;  /* what the last one was told */
  int all_made;     /* calls; -1: one was too late */
  size_t stop_sink, stop_progress;
  int stop_code, all_made_code;
};

/* UDP sockets and listeners in turns. */
static void open_all(struct world* world) {
  int i;

  memset(world, 0, sizeof(*world));
  for (i = 0; i < COUNT; i++) {
    world->fds[i] = loopback_socket(&world->names[i], i % 2 ? SOCK_STREAM : SOCK_DGRAM);
    if (i % 2) {
      EXPECT(listen(world->fds[i], 5) == 0);
    }
  }
}

static void close_all(struct world* world) {
  int i;

  for (i = 0; i < COUNT; i++) {
    if (world->fds[i] >= 0) close(world->fds[i]);
    world->fds[i] = -1;
  }
}

static void free_all(struct world* world) {
  int i;

  close_all(world);
  for (i = 0; i < COUNT; i++) {
    sockrepair_udp_free(world->dumps[i].udp);
    sockrepair_tcp_free(world->dumps[i].tcp);
  }
}

/* Forgets what callbacks were told. */
static void begin(struct world* world) {
  memset(world->codes, 0, sizeof(world->codes));
  world->what[0] = '\0';
  world->sunk = world->losses = world->progress = 0;
  world->all_made = 0;
  world->stop_sink = world->stop_progress = 0;
  world->stop_code = world->all_made_code = 0;
}

static int note(struct world* world, size_t index, const sockrepair_error* error) {
  world->codes[index] = sockrepair_error_code(error);
  if (error != NULL) snprintf(world->what, sizeof(world->what), "%s", sockrepair_error_what(error));
  world->sunk++;
  return world->sunk == world->stop_sink ? world->stop_code : 0;
}

static int keep_dump(void* context, size_t index, struct sockrepair_socket socket,
                     const sockrepair_error* error) {
  struct world* world = (struct world*)context;

  EXPECT(index == world->sunk);
  EXPECT((socket.udp != NULL) + (socket.tcp != NULL) == (error == NULL));
  world->dumps[index] = socket;
  return note(world, index, error);
}

static int keep_made(void* context, size_t index, int fd, const sockrepair_losses* losses,
                     const sockrepair_error* error) {
  struct world* world = (struct world*)context;

  EXPECT((fd >= 0) == (error == NULL) && (losses != NULL) == (error == NULL));
  world->losses += sockrepair_losses_count(losses);
  if (fd >= 0) {
    EXPECT((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    EXPECT(world->fds[index] == -1);
    world->fds[index] = fd;
  }
  return note(world, index, error);
}

static int progress(void* context, size_t done) {
  struct world* world = (struct world*)context;

  EXPECT(done == world->progress + 1);
  world->progress = done;
  return done == world->stop_progress ? world->stop_code : 0;
}

static int all_made(void* context) {
  struct world* world = (struct world*)context;
  size_t i, handed_over = 0;

  for (i = 0; i < COUNT; i++) handed_over += world->fds[i] >= 0;
  world->all_made = handed_over == 0 ? world->all_made + 1 : -1;
  return world->all_made_code;
}

/* Dumps all, without a failure, and closes them. */
static void dump_and_close(struct world* world) {
  sockrepair_error* error = NULL;

  open_all(world);
  EXPECT(sockrepair_batch_dump(world->fds, COUNT, NULL, keep_dump, world, NULL, &error) == 0);
  EXPECT(error == NULL && world->sunk == COUNT);
  close_all(world);
  begin(world);
}

/* Whether the sockets are those that were, with the same names and kinds. */
static void expect_all_back(const struct world* world, int but) {
  struct sockaddr_in name;
  socklen_t size;
  int i, listens;

  for (i = 0; i < COUNT; i++) {
    if (i == but) continue;
    size = sizeof(name);
    EXPECT(getsockname(world->fds[i], (struct sockaddr*)&name, &size) == 0);
    EXPECT(memcmp(&name, &world->names[i], sizeof(name)) == 0);
    size = sizeof(listens);
    EXPECT(getsockopt(world->fds[i], SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0);
    EXPECT(listens == i % 2);
  }
}

/* Whether nobody has the names any more. */
static void expect_none_there(const struct world* world, int but) {
  int i, fd;

  for (i = 0; i < COUNT; i++) {
    if (i == but) continue;
    EXPECT(world->fds[i] == -1);
    fd = socket(AF_INET, i % 2 ? SOCK_STREAM : SOCK_DGRAM, 0);
    EXPECT(bind(fd, (const struct sockaddr*)&world->names[i], sizeof(world->names[i])) == 0);
    close(fd);
  }
}

/* For so many sockets and more io_uring is used. */
static const size_t io_uring_from[] = {0, 1, SIZE_MAX};

static void all_come_back(void) {
  struct sockrepair_batch_restore_options restore;
  struct sockrepair_batch_dump_options dump;
  sockrepair_batch_report* report = NULL;
  sockrepair_error* error = NULL;
  struct world world;
  size_t i;

  for (i = 0; i < sizeof(io_uring_from) / sizeof(io_uring_from[0]); i++) {
    open_all(&world);
    memset(&dump, 0, sizeof(dump));
    dump.size = sizeof(dump);
    dump.io_uring_from = io_uring_from[i];
    dump.progress = progress;
    EXPECT(sockrepair_batch_dump(world.fds, COUNT, &dump, keep_dump, &world, &report, &error) == 0);
    EXPECT(error == NULL);
    EXPECT(world.sunk == COUNT && world.progress == COUNT);
    EXPECT(sockrepair_batch_report_sockets(report) == COUNT);
    EXPECT(sockrepair_batch_report_failed(report) == 0);
    /* Either it was used, or it is said why not, or it was not to be. */
    EXPECT((sockrepair_batch_report_carried(report) != 0) ==
           (sockrepair_batch_report_submissions(report) != 0));
    EXPECT((sockrepair_batch_report_carried(report) != 0) +
               (sockrepair_batch_report_no_io_uring(report) != NULL) ==
           (io_uring_from[i] == 1));
    sockrepair_batch_report_free(report);
    close_all(&world);

    begin(&world);
    memset(&restore, 0, sizeof(restore));
    restore.size = sizeof(restore);
    restore.in_flight = 2;
    restore.io_uring_from = io_uring_from[i];
    restore.progress = progress;
    restore.all_made = all_made;
    EXPECT(sockrepair_batch_restore(world.dumps, COUNT, &restore, keep_made, &world, &report,
                                    &error) == 0);
    EXPECT(error == NULL);
    EXPECT(world.sunk == COUNT && world.progress == COUNT && world.all_made == 1);
    EXPECT(sockrepair_batch_report_sockets(report) == COUNT);
    EXPECT(sockrepair_batch_report_failed(report) == 0);
    EXPECT((sockrepair_batch_report_carried(report) != 0) +
               (sockrepair_batch_report_no_io_uring(report) != NULL) ==
           (io_uring_from[i] == 1));
    sockrepair_batch_report_free(report);
    EXPECT(world.losses == 0);
    expect_all_back(&world, -1);
    free_all(&world);
  }
}

static int in_repair(int fd) {
  int repair = -1;
  socklen_t size = sizeof(repair);

  EXPECT(getsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &repair, &size) == 0);
  return repair;
}

/* A listener after its connection, as they are given. */
static void connections_go_on(void) {
  struct sockrepair_tcp_dump_options leave = {sizeof(leave), SOCKREPAIR_TCP_DUMP_LEAVE_IN_REPAIR,
                                              NULL};
  struct sockrepair_tcp_restore_options keep;
  struct sockrepair_batch_dump_options dump;
  struct sockrepair_batch_restore_options restore;
  struct sockaddr_in name;
  struct world world;
  char text[8];
  int peer, i;

  if (!has("tcp-repair")) return;
  memset(&world, 0, sizeof(world));
  memset(world.fds, -1, sizeof(world.fds));
  world.fds[1] = listener_of(&name, &peer);
  world.fds[0] = accept(world.fds[1], NULL, NULL);
  EXPECT(write(peer, "unread", 6) == 6);
  EXPECT(recv(world.fds[0], text, sizeof(text), MSG_PEEK) == 6);

  memset(&dump, 0, sizeof(dump));
  dump.size = sizeof(dump);
  dump.tcp = &leave;
  EXPECT(sockrepair_batch_dump(world.fds, 2, &dump, keep_dump, &world, NULL, NULL) == 0);
  EXPECT(in_repair(world.fds[0]) == 1);
  close_all(&world);

  begin(&world);
  memset(&keep, 0, sizeof(keep));
  keep.size = sizeof(keep);
  keep.flags = SOCKREPAIR_TCP_RESTORE_KEEP_REPAIR;
  memset(&restore, 0, sizeof(restore));
  restore.size = sizeof(restore);
  restore.tcp = &keep;
  EXPECT(sockrepair_batch_restore(world.dumps, 2, &restore, keep_made, &world, NULL, NULL) == 0);
  EXPECT(world.sunk == 2 && world.codes[0] == 0 && world.codes[1] == 0);
  EXPECT(in_repair(world.fds[0]) == 1);
  for (i = 0; i < 2; i++)
    EXPECT(sockrepair_tcp_resume(world.fds[i], world.dumps[i].tcp, &keep, NULL) == 0);
  EXPECT(in_repair(world.fds[0]) == 0);
  EXPECT(read(world.fds[0], text, sizeof(text)) == 6 && memcmp(text, "unread", 6) == 0);
  EXPECT(write(world.fds[0], "there", 5) == 5);
  EXPECT(recv(peer, text, 5, MSG_WAITALL) == 5 && memcmp(text, "there", 5) == 0);
  close(peer);
  free_all(&world);
}

static void one_fails_and_the_rest_is_kept(void) {
  sockrepair_batch_report* report = NULL;
  struct world world;
  int in_the_way, closed;

  /* No socket at all. */
  open_all(&world);
  closed = world.fds[2];
  close(closed);
  EXPECT(sockrepair_batch_dump(world.fds, COUNT, NULL, keep_dump, &world, &report, NULL) == 0);
  EXPECT(world.sunk == COUNT && world.codes[2] == EBADF && world.codes[3] == 0);
  EXPECT(sockrepair_batch_report_sockets(report) == COUNT - 1);
  EXPECT(sockrepair_batch_report_failed(report) == 1);
  sockrepair_batch_report_free(report);
  world.fds[2] = -1;
  free_all(&world);

  /* Somebody else has the name. */
  dump_and_close(&world);
  in_the_way = socket(AF_INET, SOCK_DGRAM, 0);
  EXPECT(bind(in_the_way, (struct sockaddr*)&world.names[2], sizeof(world.names[2])) == 0);
  EXPECT(sockrepair_batch_restore(world.dumps, COUNT, NULL, keep_made, &world, &report, NULL) == 0);
  EXPECT(world.sunk == COUNT && world.codes[2] == EADDRINUSE);
  EXPECT(strncmp(world.what, "local: 127.0.0.1:", 17) == 0);
  EXPECT(sockrepair_batch_report_sockets(report) == COUNT - 1);
  EXPECT(sockrepair_batch_report_failed(report) == 1);
  sockrepair_batch_report_free(report);
  expect_all_back(&world, 2);
  close(in_the_way);
  free_all(&world);
}

static void one_fails_and_none_is_there(void) {
  struct sockrepair_batch_dump_options dump;
  struct sockrepair_batch_restore_options restore;
  sockrepair_batch_report* report = NULL;
  sockrepair_error* error = NULL;
  struct world world;
  int in_the_way;

  memset(&dump, 0, sizeof(dump));
  dump.size = sizeof(dump);
  dump.flags = SOCKREPAIR_BATCH_ALL_OR_NONE;
  dump.in_flight = 1;
  open_all(&world);
  close(world.fds[2]);
  EXPECT(sockrepair_batch_dump(world.fds, COUNT, &dump, keep_dump, &world, &report, &error) ==
         EBADF);
  EXPECT_ERROR(error, EBADF, "socket 2: ");
  EXPECT(report == NULL && world.sunk == 3);
  world.fds[2] = -1;
  free_all(&world);

  memset(&restore, 0, sizeof(restore));
  restore.size = sizeof(restore);
  restore.flags = SOCKREPAIR_BATCH_ALL_OR_NONE;
  restore.all_made = all_made;
  dump_and_close(&world);
  in_the_way = socket(AF_INET, SOCK_DGRAM, 0);
  EXPECT(bind(in_the_way, (struct sockaddr*)&world.names[2], sizeof(world.names[2])) == 0);
  EXPECT(sockrepair_batch_restore(world.dumps, COUNT, &restore, keep_made, &world, &report,
                                  &error) == EADDRINUSE);
  EXPECT_ERROR(error, EADDRINUSE, "socket 2: local: 127.0.0.1:");
  EXPECT(report == NULL && world.sunk == 1 && world.codes[2] == EADDRINUSE);
  EXPECT(world.all_made == 0);
  expect_none_there(&world, 2);
  close(in_the_way);
  free_all(&world);
}

static void callbacks_end_it(void) {
  struct sockrepair_batch_dump_options dump;
  struct sockrepair_batch_restore_options restore;
  sockrepair_batch_report* report = NULL;
  sockrepair_error* error = NULL;
  struct world world;

  memset(&dump, 0, sizeof(dump));
  dump.size = sizeof(dump);
  dump.in_flight = 1;
  dump.progress = progress;
  open_all(&world);
  world.stop_sink = 2;
  world.stop_code = ECANCELED;
  EXPECT(sockrepair_batch_dump(world.fds, COUNT, &dump, keep_dump, &world, &report, &error) ==
         ECANCELED);
  EXPECT_ERROR(error, ECANCELED, "sockrepair_batch_dump: sink, socket 1");
  EXPECT(report == NULL && world.sunk == 2);
  free_all(&world);

  /* Not an errno number, but not 0 either. */
  open_all(&world);
  world.stop_progress = 3;
  world.stop_code = -1;
  EXPECT(sockrepair_batch_dump(world.fds, COUNT, &dump, keep_dump, &world, &report, &error) == -1);
  EXPECT_ERROR(error, -1, "sockrepair_batch_dump: progress 3");
  EXPECT(report == NULL && world.progress == 3);
  free_all(&world);

  memset(&restore, 0, sizeof(restore));
  restore.size = sizeof(restore);
  restore.in_flight = 1;
  restore.progress = progress;
  restore.all_made = all_made;
  dump_and_close(&world);
  world.stop_progress = 2;
  world.stop_code = EINTR;
  EXPECT(sockrepair_batch_restore(world.dumps, COUNT, &restore, keep_made, &world, &report,
                                  &error) == EINTR);
  EXPECT_ERROR(error, EINTR, "sockrepair_batch_restore: progress 2");
  EXPECT(report == NULL && world.sunk == 0 && world.all_made == 0);
  expect_none_there(&world, -1);

  begin(&world);
  world.all_made_code = EIO;
  EXPECT(sockrepair_batch_restore(world.dumps, COUNT, &restore, keep_made, &world, NULL, &error) ==
         EIO);
  EXPECT_ERROR(error, EIO, "sockrepair_batch_restore: all_made");
  EXPECT(world.sunk == 0 && world.all_made == 1);
  expect_none_there(&world, -1);

  /* All are made by then, and it gets the others, too. */
  begin(&world);
  world.stop_sink = 2;
  world.stop_code = ENOSPC;
  EXPECT(sockrepair_batch_restore(world.dumps, COUNT, &restore, keep_made, &world, NULL, &error) ==
         ENOSPC);
  EXPECT_ERROR(error, ENOSPC, "sockrepair_batch_restore: sink, socket ");
  EXPECT(world.sunk == COUNT);
  expect_all_back(&world, -1);
  free_all(&world);
}

/* What must be refused, and how it is said. */
static const struct sockrepair_tcp_dump_options bad_tcp_dump = {sizeof(bad_tcp_dump), 0x10, NULL};
static const struct bad_dump {
  struct sockrepair_batch_dump_options options;
  int code;
  const char* what;
} bad_dumps[] = {
    {{3, 0, 0, 0, 0, NULL, NULL},
     EINVAL,
     "sockrepair_batch_dump: options, size: 3, must be 8 at least"},
    {{sizeof(struct sockrepair_batch_dump_options), 2, 0, 0, 0, NULL, NULL},
     EINVAL,
     "sockrepair_batch_dump: flags 2, must be some of 1"},
    {{sizeof(struct sockrepair_batch_dump_options), 0, 1025, 0, 0, NULL, NULL},
     EINVAL,
     "sockrepair_batch_dump: options, in_flight: 1025, must be 0 to 1024"},
    {{sizeof(struct sockrepair_batch_dump_options), 0, 0, 0x80, 0, NULL, NULL},
     EINVAL,
     "sockrepair_batch_dump: options, udp_flags: flags 128, must be some of 7"},
    {{sizeof(struct sockrepair_batch_dump_options), 0, 0, 0, 0, &bad_tcp_dump, NULL},
     EINVAL,
     "sockrepair_batch_dump: options, tcp: flags 16, must be some of 15"},
};

static const struct sockrepair_tcp_restore_options bad_tcp_restore = {
    sizeof(bad_tcp_restore), 0, 3, 0, NULL, 0};
static const struct bad_restore {
  struct sockrepair_batch_restore_options options;
  int code;
  const char* what;
} bad_restores[] = {
    {{3, 0, 0, 0, 0, NULL, NULL, NULL},
     EINVAL,
     "sockrepair_batch_restore: options, size: 3, must be 8 at least"},
    {{sizeof(struct sockrepair_batch_restore_options), 2, 0, 0, 0, NULL, NULL, NULL},
     EINVAL,
     "sockrepair_batch_restore: flags 2, must be some of 1"},
    {{sizeof(struct sockrepair_batch_restore_options), 0, 1025, 0, 0, NULL, NULL, NULL},
     EINVAL,
     "sockrepair_batch_restore: options, in_flight: 1025, must be 0 to 1024"},
    {{sizeof(struct sockrepair_batch_restore_options), 0, 0, 2, 0, NULL, NULL, NULL},
     EINVAL,
     "sockrepair_batch_restore: options, udp_flags: flags 2, must be some of 1"},
    {{sizeof(struct sockrepair_batch_restore_options), 0, 0, 0, 0, &bad_tcp_restore, NULL, NULL},
     EINVAL,
     "sockrepair_batch_restore: options, tcp: options, congestion: 3, must be 0 to 2"},
};

static void bad_arguments_are_named(void) {
  sockrepair_batch_report* report;
  sockrepair_error* error = NULL;
  struct sockrepair_socket kept;
  struct world world;
  size_t i;

  dump_and_close(&world);
  for (i = 0; i < sizeof(bad_dumps) / sizeof(bad_dumps[0]); i++) {
    const struct bad_dump* row = &bad_dumps[i];
    report = (sockrepair_batch_report*)&world;
    EXPECT(sockrepair_batch_dump(world.fds, COUNT, &row->options, keep_dump, &world, &report,
                                 &error) == row->code);
    EXPECT_ERROR(error, row->code, row->what);
    EXPECT(report == NULL);
  }
  for (i = 0; i < sizeof(bad_restores) / sizeof(bad_restores[0]); i++) {
    const struct bad_restore* row = &bad_restores[i];
    report = (sockrepair_batch_report*)&world;
    EXPECT(sockrepair_batch_restore(world.dumps, COUNT, &row->options, keep_made, &world, &report,
                                    &error) == row->code);
    EXPECT_ERROR(error, row->code, row->what);
    EXPECT(report == NULL);
  }

  EXPECT(sockrepair_batch_dump(NULL, 1, NULL, keep_dump, &world, NULL, &error) == EINVAL);
  EXPECT_ERROR(error, EINVAL, "sockrepair_batch_dump: fds is NULL");
  EXPECT(sockrepair_batch_dump(world.fds, COUNT, NULL, NULL, &world, NULL, &error) == EINVAL);
  EXPECT_ERROR(error, EINVAL, "sockrepair_batch_dump: sink is NULL");
  EXPECT(sockrepair_batch_restore(NULL, 1, NULL, keep_made, &world, NULL, &error) == EINVAL);
  EXPECT_ERROR(error, EINVAL, "sockrepair_batch_restore: sockets is NULL");
  EXPECT(sockrepair_batch_restore(world.dumps, COUNT, NULL, NULL, &world, NULL, &error) == EINVAL);
  EXPECT_ERROR(error, EINVAL, "sockrepair_batch_restore: sink is NULL");

  kept = world.dumps[4];
  world.dumps[4].tcp = world.dumps[3].tcp;
  EXPECT(sockrepair_batch_restore(world.dumps, COUNT, NULL, keep_made, &world, NULL, &error) ==
         EINVAL);
  EXPECT_ERROR(error, EINVAL, "socket 4: both of udp and tcp, must be one");
  memset(&world.dumps[4], 0, sizeof(world.dumps[4]));
  EXPECT(sockrepair_batch_restore(world.dumps, COUNT, NULL, keep_made, &world, NULL, &error) ==
         EINVAL);
  EXPECT_ERROR(error, EINVAL, "socket 4: neither of udp and tcp, must be one");
  world.dumps[4] = kept;
  EXPECT(world.sunk == 0);
  expect_none_there(&world, -1);
  free_all(&world);
}

static void none_is_a_batch_too(void) {
  sockrepair_batch_report* report = NULL;
  struct world world;

  memset(&world, 0, sizeof(world));
  EXPECT(sockrepair_batch_dump(NULL, 0, NULL, keep_dump, &world, &report, NULL) == 0);
  EXPECT(report != NULL && sockrepair_batch_report_sockets(report) == 0);
  sockrepair_batch_report_free(report);
  EXPECT(sockrepair_batch_restore(NULL, 0, NULL, keep_made, &world, &report, NULL) == 0);
  EXPECT(report != NULL && sockrepair_batch_report_failed(report) == 0);
  sockrepair_batch_report_free(report);
  EXPECT(world.sunk == 0);
}

static void null_is_nothing(void) {
  EXPECT(sockrepair_batch_report_sockets(NULL) == 0);
  EXPECT(sockrepair_batch_report_failed(NULL) == 0);
  EXPECT(sockrepair_batch_report_carried(NULL) == 0);
  EXPECT(sockrepair_batch_report_submissions(NULL) == 0);
  EXPECT(sockrepair_batch_report_no_io_uring(NULL) == NULL);
  sockrepair_batch_report_free(NULL);
}

static const struct test_case cases[] = {
    {"all_come_back", all_come_back},
    {"connections_go_on", connections_go_on},
    {"one_fails_and_the_rest_is_kept", one_fails_and_the_rest_is_kept},
    {"one_fails_and_none_is_there", one_fails_and_none_is_there},
    {"callbacks_end_it", callbacks_end_it},
    {"bad_arguments_are_named", bad_arguments_are_named},
    {"none_is_a_batch_too", none_is_a_batch_too},
    {"null_is_nothing", null_is_nothing},
};

int main(void) {
  return run_cases(cases, sizeof(cases) / sizeof(cases[0]));
}
