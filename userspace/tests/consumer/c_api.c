/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */

/*
 * The C API, used from C99, and the same source as C++: a program of somebody else, who has the
 * installed headers and library and nothing more. Prints KTAP. Needs no rights: without them, what
 * takes some is skipped.
 */

/* SO_REUSEPORT is not POSIX. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ktap.h"
#include "sockrepair/sockrepair.h"

static void comes_back(void) {
  struct sockaddr_in name, again, inside;
  socklen_t size = sizeof(again);
  sockrepair_udp* socket = NULL;
  sockrepair_losses* losses = NULL;
  sockrepair_error* error = NULL;
  size_t bytes = 1;
  int ttl = 7, fd, restored = -1;
  char* text;

  fd = loopback_socket(&name, SOCK_DGRAM);
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
  int fd = loopback_socket(&name, SOCK_DGRAM), restored = 5;

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
  int fd = loopback_socket(&name, SOCK_DGRAM), restored = -1;

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

/* --- TCP --- */

static void listener_comes_back(void) {
  struct sockaddr_in name, again;
  socklen_t size = sizeof(again);
  sockrepair_tcp* socket = NULL;
  sockrepair_tcp* same = NULL;
  sockrepair_losses* losses = NULL;
  sockrepair_error* error = NULL;
  int fd = loopback_socket(&name, SOCK_STREAM), restored = -1;
  size_t unsent = 1;
  char* text;

  EXPECT(listen(fd, 9) == 0);
  EXPECT(sockrepair_tcp_dump(fd, NULL, &socket, &error) == 0);
  EXPECT(error == NULL);
  close(fd);
  EXPECT(sockrepair_tcp_domain(socket) == AF_INET);
  EXPECT(sockrepair_tcp_state(socket) == 10);
  EXPECT(strcmp(sockrepair_tcp_state_name(socket), "LISTEN") == 0);
  EXPECT(sockrepair_tcp_received(socket) == 0);
  EXPECT(sockrepair_tcp_written(socket, &unsent) == 0 && unsent == 0);
  EXPECT(sockrepair_tcp_keys(socket) == 0);
  EXPECT(sockrepair_tcp_losses(socket) != NULL);
  EXPECT(sockrepair_tcp_local(socket, (struct sockaddr*)&again, &size) == 0);
  EXPECT(size == sizeof(again) && memcmp(&again, &name, sizeof(name)) == 0);
  EXPECT(sockrepair_tcp_peer(socket, (struct sockaddr*)&again, &size) == ENOTCONN);
  text = sockrepair_tcp_describe(socket);
  EXPECT(text != NULL && strstr(text, "backlog: 9\n") != NULL);
  free(text);
  EXPECT(sockrepair_tcp_without_connection(socket, &same, &error) == 0);
  EXPECT(sockrepair_tcp_state(same) == 10);

  EXPECT(sockrepair_tcp_restore(same, NULL, &restored, &losses, &error) == 0);
  EXPECT(error == NULL && sockrepair_losses_count(losses) == 0);
  size = sizeof(again);
  EXPECT(getsockname(restored, (struct sockaddr*)&again, &size) == 0);
  EXPECT(memcmp(&again, &name, sizeof(name)) == 0);
  sockrepair_losses_free(losses);

  /* The one is in the way of the other. */
  fd = 5;
  EXPECT(sockrepair_tcp_restore(socket, NULL, &fd, &losses, &error) == EADDRINUSE);
  EXPECT(fd == -1 && losses == NULL);
  EXPECT(strncmp(sockrepair_error_what(error), "local: 127.0.0.1:", 17) == 0);
  sockrepair_error_free(error);
  close(restored);
  sockrepair_tcp_free(same);
  sockrepair_tcp_free(socket);
}

static void connection_goes_on(void) {
  struct sockrepair_tcp_dump_options how = {sizeof(how), SOCKREPAIR_TCP_DUMP_LEAVE_IN_REPAIR, NULL};
  struct sockrepair_tcp_restore_options back;
  struct sockrepair_connection connection;
  struct sockaddr_in name, peer_name;
  socklen_t size = sizeof(peer_name);
  sockrepair_survey* survey = NULL;
  sockrepair_lock* lock = NULL;
  sockrepair_tcp *socket = NULL, *over = NULL;
  sockrepair_error* error = NULL;
  int peer, fd, listener, restored = -1, closed = -1;
  char text[8];

  if (!has("tcp-repair") || !has("connection-lock")) return;
  listener = listener_of(&name, &peer);
  fd = accept(listener, NULL, NULL);
  close(listener);
  EXPECT(write(peer, "unread", 6) == 6);
  EXPECT(recv(fd, text, sizeof(text), MSG_PEEK) == 6);

  EXPECT(sockrepair_survey_take(fd, &survey, &error) == 0);
  EXPECT(sockrepair_connection_of(fd, &connection, &error) == 0);
  EXPECT(sockrepair_lock_create(fd, &lock, &error) == 0);
  EXPECT(sockrepair_lock_add(lock, &connection, 1, &error) == 0);
  how.survey = survey;
  EXPECT(sockrepair_tcp_dump(fd, &how, &socket, &error) == 0);
  EXPECT(error == NULL);
  /* It could go on where it is. */
  EXPECT(sockrepair_tcp_resume_source(fd, socket, &error) == 0);
  sockrepair_tcp_free(socket);
  EXPECT(sockrepair_tcp_dump(fd, &how, &socket, &error) == 0);
  sockrepair_survey_free(survey);
  close(fd);
  EXPECT(sockrepair_tcp_state(socket) == 1);
  EXPECT(sockrepair_tcp_received(socket) == 6);
  EXPECT(sockrepair_tcp_peer(socket, (struct sockaddr*)&peer_name, &size) == 0);
  EXPECT(peer_name.sin_port == ((struct sockaddr_in*)&connection.peer)->sin_port);

  memset(&back, 0, sizeof(back));
  back.size = sizeof(back);
  back.flags = SOCKREPAIR_TCP_RESTORE_KEEP_REPAIR | SOCKREPAIR_TCP_RESTORE_SEGMENTS_DROPPED |
               SOCKREPAIR_TCP_RESTORE_PAUSE;
  back.congestion = SOCKREPAIR_TCP_CONGESTION_WHOLE;
  back.pause_us = 1000;
  EXPECT(sockrepair_tcp_restore(socket, &back, &restored, NULL, &error) == 0);
  EXPECT(error == NULL);
  /* It is never there twice. */
  EXPECT(sockrepair_tcp_restore(socket, &back, &closed, NULL, &error) == EADDRNOTAVAIL);
  EXPECT(strncmp(sockrepair_error_what(error), "peer: 127.0.0.1:", 16) == 0);
  sockrepair_error_free(error);
  sockrepair_lock_release(lock);
  EXPECT(sockrepair_lock_add(lock, &connection, 1, NULL) == EBADF);
  sockrepair_lock_free(lock);
  EXPECT(sockrepair_tcp_resume(restored, socket, &back, &error) == 0);
  EXPECT(read(restored, text, sizeof(text)) == 6 && memcmp(text, "unread", 6) == 0);
  EXPECT(write(restored, "there", 5) == 5);
  EXPECT(recv(peer, text, 5, MSG_WAITALL) == 5 && memcmp(text, "there", 5) == 0);

  EXPECT(sockrepair_tcp_without_connection(socket, &over, &error) == 0);
  EXPECT(sockrepair_tcp_state(over) == 7);
  EXPECT(sockrepair_tcp_received(over) == 0);
  sockrepair_tcp_close_silently(restored);
  EXPECT(recv(peer, text, sizeof(text), MSG_DONTWAIT) == -1 && errno == EAGAIN);
  close(peer);
  sockrepair_tcp_free(over);
  sockrepair_tcp_free(socket);
}

static void tcp_refusals_are_named(void) {
  struct sockrepair_tcp_dump_options drop = {sizeof(drop), SOCKREPAIR_TCP_DUMP_DROP_WAITING, NULL};
  struct sockaddr_in name;
  sockrepair_tcp* socket = NULL;
  sockrepair_error* error = NULL;
  int peer, fd = listener_of(&name, &peer);

  EXPECT(sockrepair_tcp_dump(fd, NULL, &socket, &error) == EBUSY);
  EXPECT(socket == NULL);
  EXPECT(strcmp(sockrepair_error_what(error), "accept_queue: 1 connections wait for accept(2)") ==
         0);
  sockrepair_error_free(error);
  EXPECT(sockrepair_tcp_dump(fd, &drop, &socket, NULL) == 0);
  EXPECT(sockrepair_losses_count(sockrepair_tcp_losses(socket)) > 0);
  sockrepair_tcp_free(socket);
  close(peer);
  close(fd);

  fd = loopback_socket(&name, SOCK_DGRAM);
  EXPECT(sockrepair_tcp_dump(fd, NULL, &socket, &error) == EPROTONOSUPPORT);
  EXPECT(strstr(sockrepair_error_what(error), "must be TCP") != NULL);
  sockrepair_error_free(error);
  EXPECT(sockrepair_udp_dump(fd, 0, NULL, NULL) == EINVAL);
  close(fd);
}

/* A later version's struct, for this library and for one that has the member. */
struct longer_options {
  struct sockrepair_tcp_restore_options now;
  uint64_t later;
};

/* What must be refused with these options, and how it is said. */
static const struct bad_restore {
  struct sockrepair_tcp_restore_options options;
  int code;
  const char* what;
} bad_restores[] = {
    {{1, 0, 0, 0, NULL, 0}, EINVAL, "options, size: 1, must be 8 at least"},
    {{sizeof(struct sockrepair_tcp_restore_options), 0x80, 0, 0, NULL, 0}, EINVAL, "flags 128"},
    {{sizeof(struct sockrepair_tcp_restore_options), 0, 3, 0, NULL, 0},
     EINVAL,
     "options, congestion: 3, must be 0 to 2"},
    {{sizeof(struct sockrepair_tcp_restore_options), 0, 0, 1, NULL, 0},
     EINVAL,
     "options, pause_us: 1, must be 0 without"},
    {{sizeof(struct sockrepair_tcp_restore_options), SOCKREPAIR_TCP_RESTORE_PAUSE, 0, UINT64_MAX,
      NULL, 0},
     EINVAL,
     "pause"},
    {{sizeof(struct sockrepair_tcp_restore_options), 0, 0, 0, NULL, 1},
     EINVAL,
     "options, rewrites is NULL"},
};

static void tcp_options_are_checked(void) {
  struct sockrepair_tcp_dump_options flags = {sizeof(flags), 0x10, NULL};
  struct sockrepair_tcp_restore_options options;
  struct sockrepair_rewrite rewrite;
  struct longer_options longer;
  struct sockaddr_in name;
  sockrepair_tcp* dump = NULL;
  sockrepair_error* error = NULL;
  socklen_t size = sizeof(name);
  int fd = loopback_socket(&name, SOCK_STREAM), restored = -1;
  size_t i;

  EXPECT(sockrepair_tcp_dump(fd, &flags, &dump, &error) == EINVAL);
  EXPECT(strstr(sockrepair_error_what(error), "flags 16, must be some of 15") != NULL);
  sockrepair_error_free(error);
  EXPECT(sockrepair_tcp_dump(fd, NULL, NULL, NULL) == EINVAL);
  EXPECT(sockrepair_tcp_dump(-1, NULL, &dump, NULL) == EBADF);
  EXPECT(sockrepair_tcp_dump(fd, NULL, &dump, NULL) == 0);
  close(fd);
  for (i = 0; i < sizeof(bad_restores) / sizeof(bad_restores[0]); i++) {
    const struct bad_restore* row = &bad_restores[i];
    EXPECT(sockrepair_tcp_restore(dump, &row->options, &restored, NULL, &error) == row->code);
    EXPECT(strstr(sockrepair_error_what(error), row->what) != NULL);
    EXPECT(restored == -1);
    sockrepair_error_free(error);
  }

  memset(&longer, 0, sizeof(longer));
  longer.now.size = sizeof(longer);
  EXPECT(sockrepair_tcp_restore(dump, &longer.now, &restored, NULL, NULL) == 0);
  close(restored);
  longer.later = 1;
  EXPECT(sockrepair_tcp_restore(dump, &longer.now, &restored, NULL, &error) == E2BIG);
  EXPECT(restored == -1);
  sockrepair_error_free(error);
  /* An earlier version's struct: what is behind its end is 0, whatever is there. */
  memset(&longer, 0xff, sizeof(longer));
  longer.now.size = sizeof(longer.now.size);
  EXPECT(sockrepair_tcp_restore(dump, &longer.now, &restored, NULL, NULL) == 0);
  close(restored);

  memset(&rewrite, 0, sizeof(rewrite));
  memset(&options, 0, sizeof(options));
  options.size = sizeof(options);
  options.rewrites = &rewrite;
  options.rewrites_count = 1;
  EXPECT(sockrepair_tcp_restore(dump, &options, &restored, NULL, &error) == EINVAL);
  EXPECT(strstr(sockrepair_error_what(error), "options, rewrites 0, from, family: 0") != NULL);
  sockrepair_error_free(error);
  memcpy(&rewrite.from, &name, sizeof(name));
  EXPECT(sockrepair_tcp_restore(dump, &options, &restored, NULL, &error) == EINVAL);
  EXPECT(strstr(sockrepair_error_what(error), "options, rewrites 0, from, port: ") != NULL);
  sockrepair_error_free(error);
  name.sin_port = 0;
  memcpy(&rewrite.from, &name, sizeof(name));
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
  memcpy(&rewrite.to, &name, sizeof(name));
  EXPECT(sockrepair_tcp_restore(dump, &options, &restored, NULL, NULL) == 0);
  EXPECT(getsockname(restored, (struct sockaddr*)&name, &size) == 0);
  EXPECT(name.sin_addr.s_addr == htonl(INADDR_LOOPBACK + 1));
  close(restored);
  sockrepair_tcp_free(dump);
}

static void tcp_null_is_nothing(void) {
  int fd = 7;

  EXPECT(sockrepair_tcp_restore(NULL, NULL, &fd, NULL, NULL) == EINVAL && fd == -1);
  EXPECT(sockrepair_tcp_resume(0, NULL, NULL, NULL) == EINVAL);
  EXPECT(sockrepair_tcp_resume_source(0, NULL, NULL) == EINVAL);
  EXPECT(sockrepair_tcp_without_connection(NULL, NULL, NULL) == EINVAL);
  EXPECT(sockrepair_tcp_domain(NULL) == 0);
  EXPECT(sockrepair_tcp_state(NULL) == 0);
  EXPECT(strcmp(sockrepair_tcp_state_name(NULL), "") == 0);
  EXPECT(sockrepair_tcp_received(NULL) == 0);
  EXPECT(sockrepair_tcp_written(NULL, NULL) == 0);
  EXPECT(sockrepair_tcp_keys(NULL) == 0);
  EXPECT(sockrepair_tcp_losses(NULL) == NULL);
  EXPECT(sockrepair_tcp_describe(NULL) == NULL);
  EXPECT(sockrepair_tcp_local(NULL, NULL, NULL) == EINVAL);
  EXPECT(sockrepair_tcp_peer(NULL, NULL, NULL) == EINVAL);
  EXPECT(sockrepair_survey_take(-1, NULL, NULL) == EINVAL);
  EXPECT(sockrepair_connection_of(0, NULL, NULL) == EINVAL);
  EXPECT(sockrepair_lock_create(-1, NULL, NULL) == EINVAL);
  EXPECT(sockrepair_lock_add(NULL, NULL, 0, NULL) == EINVAL);
  EXPECT(sockrepair_detached_find(NULL, NULL) == EINVAL);
  EXPECT(sockrepair_detached_count(NULL) == 0);
  EXPECT(sockrepair_detached_kind(NULL, 0) == NULL);
  EXPECT(sockrepair_detached_text(NULL, 0) == NULL);
  EXPECT(sockrepair_detached_connection(NULL, 0, NULL) == EINVAL);
  sockrepair_tcp_close_silently(-1);
  sockrepair_tcp_free(NULL);
  sockrepair_survey_free(NULL);
  sockrepair_lock_release(NULL);
  sockrepair_lock_free(NULL);
  sockrepair_detached_free(NULL);
}

static void lock_says_what_it_cannot_lock(void) {
  struct sockrepair_connection connections[2];
  struct sockaddr_in one;
  sockrepair_lock* lock = NULL;
  sockrepair_error* error = NULL;

  EXPECT(sockrepair_connection_of(-1, connections, &error) == EBADF);
  sockrepair_error_free(error);
  EXPECT(sockrepair_lock_create(1000000, &lock, NULL) != 0 && lock == NULL);
  if (!has("connection-lock")) return;
  EXPECT(sockrepair_lock_create(-1, &lock, NULL) == 0);
  memset(connections, 0, sizeof(connections));
  EXPECT(sockrepair_lock_add(lock, connections, 2, &error) == EINVAL);
  EXPECT(strstr(sockrepair_error_what(error), "connection 0, local, family: 0") != NULL);
  sockrepair_error_free(error);
  memset(&one, 0, sizeof(one));
  one.sin_family = AF_INET;
  one.sin_port = htons(1);
  one.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  memcpy(&connections[0].local, &one, sizeof(one));
  memcpy(&connections[0].peer, &one, sizeof(one));
  connections[1] = connections[0];
  ((struct sockaddr_in*)&connections[1].peer)->sin_port = 0;
  EXPECT(sockrepair_lock_add(lock, connections, 2, &error) == EINVAL);
  EXPECT(strstr(sockrepair_error_what(error), "connection 1") != NULL);
  sockrepair_error_free(error);
  EXPECT(sockrepair_lock_add(lock, connections, 1, NULL) == 0);
  EXPECT(sockrepair_lock_add(lock, NULL, 0, NULL) == 0);
  sockrepair_lock_free(lock);
}

static void detached_connections_are_listed(void) {
  struct sockrepair_connection connection;
  struct sockaddr_in name;
  sockrepair_detached* list = NULL;
  size_t i, found = 0;
  int peer, fd;

  if (!has("tcp-diag")) return;
  fd = listener_of(&name, &peer);
  EXPECT(sockrepair_detached_find(&list, NULL) == 0);
  for (i = 0; i < sockrepair_detached_count(list); i++) {
    EXPECT(sockrepair_detached_connection(list, i, &connection) == 0);
    if (memcmp(&connection.local, &name, sizeof(name)) != 0) continue;
    found++;
    EXPECT(strcmp(sockrepair_detached_kind(list, i), "unaccepted") == 0);
    EXPECT(strstr(sockrepair_detached_text(list, i), "unaccepted") != NULL);
  }
  EXPECT(found == 1);
  EXPECT(sockrepair_detached_kind(list, i) == NULL && sockrepair_detached_text(list, i) == NULL);
  EXPECT(sockrepair_detached_connection(list, i, &connection) == EINVAL);
  sockrepair_detached_free(list);
  close(peer);
  close(fd);
}

static const struct test_case cases[] = {
    {"comes_back", comes_back},
    {"errors_say_what_and_why", errors_say_what_and_why},
    {"bad_arguments_are_refused", bad_arguments_are_refused},
    {"null_is_nothing", null_is_nothing},
    {"losses_are_listed", losses_are_listed},
    {"features_are_told", features_are_told},
    {"version_is_told", version_is_told},
    {"listener_comes_back", listener_comes_back},
    {"connection_goes_on", connection_goes_on},
    {"tcp_refusals_are_named", tcp_refusals_are_named},
    {"tcp_options_are_checked", tcp_options_are_checked},
    {"tcp_null_is_nothing", tcp_null_is_nothing},
    {"lock_says_what_it_cannot_lock", lock_says_what_it_cannot_lock},
    {"detached_connections_are_listed", detached_connections_are_listed},
};

int main(void) {
  return run_cases(cases, sizeof(cases) / sizeof(cases[0]));
}
