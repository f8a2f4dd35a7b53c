/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
#ifndef SOCKREPAIR_SOCKREPAIR_H_
#define SOCKREPAIR_SOCKREPAIR_H_

/*
 * UDP and TCP sockets for programs in C: read a whole socket out of a process, make it again in the
 * same or another one. The C++ headers beside this one say more about what is carried; udp_socket.h
 * and tcp_socket.h are where to begin.
 *
 *   sockrepair_udp *socket = NULL;
 *   sockrepair_error *error = NULL;
 *   if (sockrepair_udp_dump(fd, 0, &socket, &error) != 0) {
 *     fprintf(stderr, "%s\n", sockrepair_error_text(error));
 *     sockrepair_error_free(error);
 *     return -1;
 *   }
 *   close(fd);
 *   int again = -1;
 *   if (sockrepair_udp_restore(socket, 0, &again, NULL, &error) != 0) ...
 *   sockrepair_udp_free(socket);
 *
 * A TCP connection goes the same way, while its segments are dropped:
 *
 *   struct sockrepair_connection connection;
 *   sockrepair_lock *lock = NULL;
 *   if (sockrepair_connection_of(fd, &connection, &error) != 0) ...
 *   if (sockrepair_lock_create(-1, &lock, &error) != 0) ...
 *   if (sockrepair_lock_add(lock, &connection, 1, &error) != 0) ...
 *   struct sockrepair_tcp_dump_options how = {sizeof(how), SOCKREPAIR_TCP_DUMP_LEAVE_IN_REPAIR,
 * NULL}; if (sockrepair_tcp_dump(fd, &how, &socket, &error) != 0) ... close(fd); // nothing is sent
 *   if (sockrepair_tcp_restore(socket, NULL, &again, NULL, &error) != 0) ...
 *   sockrepair_lock_free(lock);
 *
 * Functions that can fail return 0 or an errno number. With `error` not NULL they also make an
 * object that says which call, member or option it was and what its limit is; *error is NULL on
 * success.
 *
 * Options are in structs that grow: `size` is what the program was compiled with, members behind it
 * are 0. Larger than the library knows is E2BIG unless all it does not know is 0. NULL stands for
 * options that are all 0.
 *
 * Objects made for the caller belong to the caller, who frees each with the function of its name;
 * all of these take NULL. Strings and lists that come with `const` belong to the object they were
 * asked of, and are good until it is freed.
 *
 * No exception leaves a function. Every function may be called from any thread. An object that
 * nobody frees meanwhile may be read by several threads at once. Two threads may not dump or
 * restore the same socket at once. A lock is for one thread at a time.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "sockrepair/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Why a call failed. */
typedef struct sockrepair_error sockrepair_error;
/* What could not be carried. */
typedef struct sockrepair_losses sockrepair_losses;
/* A UDP socket as a value: it can be restored any number of times, and is never changed. */
typedef struct sockrepair_udp sockrepair_udp;
/* The same of a TCP socket, with its connection. It can hold keys of TCP-AO, which are secrets. */
typedef struct sockrepair_tcp sockrepair_tcp;
/* What sock_diag(7) tells of all TCP sockets of a network namespace. */
typedef struct sockrepair_survey sockrepair_survey;
/* Keeps the segments of connections from their sockets. */
typedef struct sockrepair_lock sockrepair_lock;
/* Connections that no process has a descriptor of. */
typedef struct sockrepair_detached sockrepair_detached;
/* Those of them that are over, as values: they can be restored any number of times. */
typedef struct sockrepair_time_wait sockrepair_time_wait;
/* What a batch did. */
typedef struct sockrepair_batch_report sockrepair_batch_report;

/* "0.1.0", of the library that is running. */
SOCKREPAIR_EXPORT const char* sockrepair_version(void);

/* --- errors --- */

/* An errno number, never 0. */
SOCKREPAIR_EXPORT int sockrepair_error_code(const sockrepair_error* error);
/* "option IPPROTO_IP, IP_TTL: 256, refused": the call with its arguments, or the member and its
 * limit. */
SOCKREPAIR_EXPORT const char* sockrepair_error_what(const sockrepair_error* error);
/* The same with the errno number in words: one line for a person. */
SOCKREPAIR_EXPORT const char* sockrepair_error_text(const sockrepair_error* error);
SOCKREPAIR_EXPORT void sockrepair_error_free(sockrepair_error* error);

/* --- losses --- */

SOCKREPAIR_EXPORT size_t sockrepair_losses_count(const sockrepair_losses* losses);
/* What loss number `index` belongs to, "receive queue, datagram 3"; NULL from the count on. */
SOCKREPAIR_EXPORT const char* sockrepair_loss_subject(const sockrepair_losses* losses,
                                                      size_t index);
/* The whole loss, one line for a person; NULL from the count on. */
SOCKREPAIR_EXPORT const char* sockrepair_loss_text(const sockrepair_losses* losses, size_t index);
SOCKREPAIR_EXPORT void sockrepair_losses_free(sockrepair_losses* losses);

/* --- what this kernel and the rights of the caller allow --- */

/* How many features there are; each has a name, "udp-receive-queue", that does not change, and a
 * sentence about what its absence costs. NULL from the count on. */
SOCKREPAIR_EXPORT size_t sockrepair_features_count(void);
SOCKREPAIR_EXPORT const char* sockrepair_feature_name(size_t index);
SOCKREPAIR_EXPORT const char* sockrepair_feature_cost(size_t index);
/*
 * 0 if the feature called `name` is there and permitted in the network namespace of the calling
 * thread, else why not: ENOPROTOOPT, ENOSYS or ENOENT of something missing, EPERM of a right.
 * EINVAL: there is no such name.
 */
SOCKREPAIR_EXPORT int sockrepair_feature_check(const char* name, sockrepair_error** error);

/* --- UDP sockets --- */

/* Flags of sockrepair_udp_dump(). */
#define SOCKREPAIR_DUMP_NO_SEND_QUEUE 0x1u
#define SOCKREPAIR_DUMP_NO_RECEIVE_QUEUE 0x2u
/* Take the pending error and the error queue off the socket, which will be closed. */
#define SOCKREPAIR_DUMP_TAKE_ERRORS 0x4u

/*
 * Dumps the UDP socket `fd`, which stays open and as it was. EPROTONOSUPPORT: it is none. EINVAL:
 * an unknown flag, or `socket` is NULL. What could not be carried is in sockrepair_udp_losses().
 */
SOCKREPAIR_EXPORT int sockrepair_udp_dump(int fd, unsigned int flags, sockrepair_udp** socket,
                                          sockrepair_error** error);

/* Flags of sockrepair_udp_restore(). */
/* Values that the kernel refuses are losses. Without it they are errors. */
#define SOCKREPAIR_RESTORE_LENIENT 0x1u

/*
 * Makes the socket again in the network namespace of the calling thread and gives its descriptor,
 * with close-on-exec, in *fd. After an error nothing is left of it. EINVAL: an unknown flag, or
 * `socket` or `fd` is NULL, or the error names a member. With `losses` not NULL it becomes the list
 * of what is not as in the value, perhaps empty; on error NULL.
 */
SOCKREPAIR_EXPORT int sockrepair_udp_restore(const sockrepair_udp* socket, unsigned int flags,
                                             int* fd, sockrepair_losses** losses,
                                             sockrepair_error** error);

/* AF_INET or AF_INET6. */
SOCKREPAIR_EXPORT int sockrepair_udp_domain(const sockrepair_udp* socket);
/*
 * Like getsockname(2) and getpeername(2) of the dumped socket, on an AF_INET6 socket with
 * IPv4-mapped addresses. ENOTCONN: unbound, not connected. EINVAL: a pointer is NULL.
 */
SOCKREPAIR_EXPORT int sockrepair_udp_local(const sockrepair_udp* socket, struct sockaddr* address,
                                           socklen_t* size);
SOCKREPAIR_EXPORT int sockrepair_udp_peer(const sockrepair_udp* socket, struct sockaddr* address,
                                          socklen_t* size);
/* How many datagrams wait to be received. */
SOCKREPAIR_EXPORT size_t sockrepair_udp_received(const sockrepair_udp* socket);
/* 1 if a datagram is under construction, else 0; its bytes so far in *bytes unless that is NULL. */
SOCKREPAIR_EXPORT int sockrepair_udp_unsent(const sockrepair_udp* socket, size_t* bytes);
/* What the dump could not carry. */
SOCKREPAIR_EXPORT const sockrepair_losses* sockrepair_udp_losses(const sockrepair_udp* socket);
/* Several lines for a person, to be freed with free(3); NULL when there is no memory. */
SOCKREPAIR_EXPORT char* sockrepair_udp_describe(const sockrepair_udp* socket);
SOCKREPAIR_EXPORT void sockrepair_udp_free(sockrepair_udp* socket);

/* --- TCP sockets --- */

/* Flags of struct sockrepair_tcp_dump_options. */
/* Leave a connection in repair mode, in which close(2) sends nothing: for a socket that will be
 * closed. Otherwise sockrepair_tcp_resume_source() ends the mode. */
#define SOCKREPAIR_TCP_DUMP_LEAVE_IN_REPAIR 0x1u
/* Connections that wait for accept(2) are a loss of their listener, and no EBUSY. */
#define SOCKREPAIR_TCP_DUMP_DROP_WAITING 0x2u
/* Take the pending error and the error queue off the socket, which will be closed. */
#define SOCKREPAIR_TCP_DUMP_TAKE_ERRORS 0x4u
/* As on a kernel without TCP_REPAIR_CB. */
#define SOCKREPAIR_TCP_DUMP_NO_CONTROL_BLOCK 0x8u

struct sockrepair_tcp_dump_options {
  size_t size; /* of this struct */
  unsigned int flags;
  /* Of the namespace of the socket, taken after the socket was made; stays the caller's. NULL: the
   * kernel is asked. */
  const sockrepair_survey* survey;
};

/*
 * Dumps the TCP socket `fd`, which stays open and as it was, but for what the flags say. Refused by
 * name, before anything is changed: EPROTONOSUPPORT, it is no TCP socket of AF_INET or AF_INET6;
 * EOPNOTSUPP, it has TCP-MD5 keys, an upper layer (kTLS), or a state that this kernel cannot carry;
 * EBUSY, connections wait for accept(2), or somebody else has it in repair mode; EPERM, connections
 * take CAP_NET_ADMIN. EAGAIN: the connection went on meanwhile; drop its segments. EINVAL: an
 * unknown flag, or `socket` is NULL. What could not be carried is in sockrepair_tcp_losses().
 */
SOCKREPAIR_EXPORT int sockrepair_tcp_dump(int fd, const struct sockrepair_tcp_dump_options* options,
                                          sockrepair_tcp** socket, sockrepair_error** error);

/*
 * Ends what SOCKREPAIR_TCP_DUMP_LEAVE_IN_REPAIR left on `fd`, which was dumped as `socket`: it goes
 * on as it was, and nothing is sent for it.
 */
SOCKREPAIR_EXPORT int sockrepair_tcp_resume_source(int fd, const sockrepair_tcp* socket,
                                                   sockrepair_error** error);

/* Flags of struct sockrepair_tcp_restore_options. */
/* Values of options that the kernel refuses are losses. Without it they are errors. */
#define SOCKREPAIR_TCP_RESTORE_LENIENT 0x1u
/* The pause counts for timers and clocks, as if the connection had been idle. */
#define SOCKREPAIR_TCP_RESTORE_COUNT_PAUSE 0x2u
/* `pause_us` is the pause. Without it, from the clock of the dump until now. */
#define SOCKREPAIR_TCP_RESTORE_PAUSE 0x4u
/* As on a kernel without TCP_REPAIR_CB. */
#define SOCKREPAIR_TCP_RESTORE_NO_CONTROL_BLOCK 0x8u
/* The caller drops the segments of the connection until it is restored. */
#define SOCKREPAIR_TCP_RESTORE_SEGMENTS_DROPPED 0x10u
/* A connection stays in repair mode until sockrepair_tcp_resume(): nothing is sent before. */
#define SOCKREPAIR_TCP_RESTORE_KEEP_REPAIR 0x20u
/* The end of repair mode does not ask the peer for a segment. */
#define SOCKREPAIR_TCP_RESTORE_NO_WINDOW_PROBE 0x40u

/* How much of the congestion window is used. */
#define SOCKREPAIR_TCP_CONGESTION_CAPPED 0u /* half of it, as far as it was in use */
#define SOCKREPAIR_TCP_CONGESTION_WHOLE 1u  /* as it was: the path is the same */
#define SOCKREPAIR_TCP_CONGESTION_SKIP 2u   /* as for a new connection */

/* Where the value has the one address, local or of a peer, take the other one. Both of the same
 * family, AF_INET or AF_INET6, and with port 0. */
struct sockrepair_rewrite {
  struct sockaddr_storage from;
  struct sockaddr_storage to;
};

struct sockrepair_tcp_restore_options {
  size_t size; /* of this struct */
  unsigned int flags;
  unsigned int congestion;                   /* SOCKREPAIR_TCP_CONGESTION_* */
  uint64_t pause_us;                         /* 0 without SOCKREPAIR_TCP_RESTORE_PAUSE */
  const struct sockrepair_rewrite* rewrites; /* `rewrites_count` of them */
  size_t rewrites_count;
};

/*
 * Makes the socket again in the network namespace of the calling thread and gives its descriptor,
 * with close-on-exec, in *fd. The value is checked before the first call. After an error *fd is -1
 * and nothing was sent. EINVAL: an unknown flag, or `socket` or `fd` is NULL, or the error names a
 * member and its limit; EOPNOTSUPP: the state or the keys take what this kernel does not have;
 * EPERM: connections take CAP_NET_ADMIN; EADDRINUSE, EADDRNOTAVAIL: the error names the address.
 * With `losses` not NULL it becomes the list of what is not as in the value, perhaps empty; on
 * error NULL. A listener is restored before the connections of its port.
 */
SOCKREPAIR_EXPORT int sockrepair_tcp_restore(const sockrepair_tcp* socket,
                                             const struct sockrepair_tcp_restore_options* options,
                                             int* fd, sockrepair_losses** losses,
                                             sockrepair_error** error);

/*
 * The second part of a restore with SOCKREPAIR_TCP_RESTORE_KEEP_REPAIR, with the same arguments:
 * ends repair mode and sends what was to be sent. After an error the socket should be closed.
 */
SOCKREPAIR_EXPORT int sockrepair_tcp_resume(int fd, const sockrepair_tcp* socket,
                                            const struct sockrepair_tcp_restore_options* options,
                                            sockrepair_error** error);

/* Closes `fd`, so that its peer is told nothing; as it is where repair mode is not permitted. */
SOCKREPAIR_EXPORT void sockrepair_tcp_close_silently(int fd);

/*
 * A new object: the socket as its program finds it when the connection is over. A listener, or a
 * socket without a connection, is as it was.
 */
SOCKREPAIR_EXPORT int sockrepair_tcp_without_connection(const sockrepair_tcp* socket,
                                                        sockrepair_tcp** closed,
                                                        sockrepair_error** error);

/* AF_INET or AF_INET6. */
SOCKREPAIR_EXPORT int sockrepair_tcp_domain(const sockrepair_tcp* socket);
/* As the kernel numbers them, TCP_ESTABLISHED 1 to TCP_CLOSING 11, and "ESTABLISHED". */
SOCKREPAIR_EXPORT int sockrepair_tcp_state(const sockrepair_tcp* socket);
SOCKREPAIR_EXPORT const char* sockrepair_tcp_state_name(const sockrepair_tcp* socket);
/* As sockrepair_udp_local() and sockrepair_udp_peer(). */
SOCKREPAIR_EXPORT int sockrepair_tcp_local(const sockrepair_tcp* socket, struct sockaddr* address,
                                           socklen_t* size);
SOCKREPAIR_EXPORT int sockrepair_tcp_peer(const sockrepair_tcp* socket, struct sockaddr* address,
                                          socklen_t* size);
/* Bytes that wait to be read; that are not acknowledged, and of these in *unsent, unless that is
 * NULL, those that were never sent. */
SOCKREPAIR_EXPORT size_t sockrepair_tcp_received(const sockrepair_tcp* socket);
SOCKREPAIR_EXPORT size_t sockrepair_tcp_written(const sockrepair_tcp* socket, size_t* unsent);
/* How many keys of TCP-AO there are: with any, the object and its image hold secrets. */
SOCKREPAIR_EXPORT size_t sockrepair_tcp_keys(const sockrepair_tcp* socket);
/* What the dump could not carry. */
SOCKREPAIR_EXPORT const sockrepair_losses* sockrepair_tcp_losses(const sockrepair_tcp* socket);
/* Several lines for a person, without keys, to be freed with free(3); NULL when there is no
 * memory. */
SOCKREPAIR_EXPORT char* sockrepair_tcp_describe(const sockrepair_tcp* socket);
SOCKREPAIR_EXPORT void sockrepair_tcp_free(sockrepair_tcp* socket);

/*
 * For who dumps many: what would otherwise be asked for each socket, of the network namespace of
 * the socket `fd`. It can be used by several threads at once.
 */
SOCKREPAIR_EXPORT int sockrepair_survey_take(int fd, sockrepair_survey** survey,
                                             sockrepair_error** error);
SOCKREPAIR_EXPORT void sockrepair_survey_free(sockrepair_survey* survey);

/* --- many sockets in one call --- */

/*
 * What comes out is what the functions for one socket give for each, errors included. The sockets
 * are worked on side by side, and what is the same for all is asked once; batch.h says more.
 *
 * Callbacks are called by the calling thread with the `context` that the batch was given, and
 * return 0 to go on. Any other number ends the batch as soon as the sockets that are being worked
 * on are done, and is what the batch returns. They may call the functions of this header; they must
 * return, not leave by longjmp(3) or an exception.
 */

/* A socket of either kind: one of the two is not NULL. */
struct sockrepair_socket {
  sockrepair_udp* udp;
  sockrepair_tcp* tcp;
};

/* Flags of the options of both batches. */
/* One that cannot be dumped or restored ends the batch, see there. Without it the others are dumped
 * or restored as if nothing had been. */
#define SOCKREPAIR_BATCH_ALL_OR_NONE 0x1u

struct sockrepair_batch_dump_options {
  size_t size;            /* of this struct */
  unsigned int flags;     /* SOCKREPAIR_BATCH_* */
  unsigned int in_flight; /* how many are worked on at the same time, up to 1024; 0: 64 */
  unsigned int udp_flags; /* of sockrepair_udp_dump() */
  /* For so many sockets and more io_uring is used, if there is one. 0: 1000; 1: always; SIZE_MAX:
   * never. */
  size_t io_uring_from;
  /* For all TCP sockets. NULL: all 0. Without a survey the batch takes those that it needs. */
  const struct sockrepair_tcp_dump_options* tcp;
  /* Called when another socket was dumped, or was not, with the number of those. NULL: not. */
  int (*progress)(void* context, size_t done);
};

/*
 * Takes the socket that was dumped from the descriptor at `index`, to free it; or with `error` not
 * NULL why it was not, and both members of `socket` are NULL. The error is good until this returns.
 */
typedef int (*sockrepair_batch_dump_sink)(void* context, size_t index,
                                          struct sockrepair_socket socket,
                                          const sockrepair_error* error);

/*
 * Dumps the sockets `fds`, UDP and TCP of any network namespace, which stay the caller's. `sink` is
 * called once for each, by ascending index. With `report` not NULL it becomes a new object, on
 * error NULL.
 *
 * The error is that of a socket, with SOCKREPAIR_BATCH_ALL_OR_NONE, "socket INDEX: " in front; that
 * of a callback; or EINVAL: an unknown flag, `fds` or `sink` is NULL, or the error names the
 * member. After any error no source is in repair mode that was not before, whatever
 * SOCKREPAIR_TCP_DUMP_LEAVE_IN_REPAIR says; what the sink has taken stays good.
 */
SOCKREPAIR_EXPORT int sockrepair_batch_dump(const int* fds, size_t count,
                                            const struct sockrepair_batch_dump_options* options,
                                            sockrepair_batch_dump_sink sink, void* context,
                                            sockrepair_batch_report** report,
                                            sockrepair_error** error);

struct sockrepair_batch_restore_options {
  size_t size;            /* of this struct */
  unsigned int flags;     /* SOCKREPAIR_BATCH_* */
  unsigned int in_flight; /* how many are worked on at the same time, up to 1024; 0: 64 */
  unsigned int udp_flags; /* of sockrepair_udp_restore() */
  size_t io_uring_from;   /* as of a dump */
  /* For all TCP sockets. NULL: all 0. With SOCKREPAIR_TCP_RESTORE_KEEP_REPAIR the caller calls
   * sockrepair_tcp_resume() for each. */
  const struct sockrepair_tcp_restore_options* tcp;
  /* Called when another socket was made, or was not, with the number of those. NULL: not. */
  int (*progress)(void* context, size_t done);
  /* Called once, when all are made and none of their connections has sent a segment: the place to
   * let segments pass again. NULL: not. */
  int (*all_made)(void* context);
};

/*
 * Takes the descriptor that was made from the socket at `index`, to close it, and what is not as in
 * the value; or with `error` not NULL why there is none, and `fd` is -1. The error and `losses` are
 * good until this returns; `losses` is NULL with an error, and when there is no memory.
 */
typedef int (*sockrepair_batch_restore_sink)(void* context, size_t index, int fd,
                                             const sockrepair_losses* losses,
                                             const sockrepair_error* error);

/*
 * Makes the sockets again in the network namespace of the calling thread, in the order that they
 * need: listeners before the connections of their port, groups that share one by their rank. They
 * stay the caller's, and the order in which they are given does not matter. `sink` is called once
 * for each, in any order, when all are made. With `report` not NULL it becomes a new object, on
 * error NULL.
 *
 * All are made first, connections in repair mode; then, unless the caller does it, repair mode ends
 * for all of them. With SOCKREPAIR_BATCH_ALL_OR_NONE, and after an error of a callback until then,
 * those that were made are closed without a segment, and the sink is only called for what failed.
 * What fails after that is reported to the sink, whatever the flags, and the sink gets all others,
 * whatever it answers: they have gone on.
 *
 * Errors are as of a dump. EINVAL names an element of `sockets` that is not one socket, from 0 on,
 * before anything is made. No net.* sysctl should change meanwhile.
 */
SOCKREPAIR_EXPORT int sockrepair_batch_restore(
    const struct sockrepair_socket* sockets, size_t count,
    const struct sockrepair_batch_restore_options* options, sockrepair_batch_restore_sink sink,
    void* context, sockrepair_batch_report** report, sockrepair_error** error);

/* How many sockets were dumped or restored, and how many were not. */
SOCKREPAIR_EXPORT size_t sockrepair_batch_report_sockets(const sockrepair_batch_report* report);
SOCKREPAIR_EXPORT size_t sockrepair_batch_report_failed(const sockrepair_batch_report* report);
/* Calls that io_uring made in the place of system calls, and calls of io_uring_enter(2) for them.
 */
SOCKREPAIR_EXPORT uint64_t sockrepair_batch_report_carried(const sockrepair_batch_report* report);
SOCKREPAIR_EXPORT uint64_t
sockrepair_batch_report_submissions(const sockrepair_batch_report* report);
/* Why io_uring was not used although it was to be; NULL: it was, or was not to be, or there is no
 * memory. */
SOCKREPAIR_EXPORT const sockrepair_error* sockrepair_batch_report_no_io_uring(
    const sockrepair_batch_report* report);
SOCKREPAIR_EXPORT void sockrepair_batch_report_free(sockrepair_batch_report* report);

/* --- segments that are dropped --- */

/* A connection, as getsockname(2) and getpeername(2) of its socket on this host have it. */
struct sockrepair_connection {
  struct sockaddr_storage local;
  struct sockaddr_storage peer;
};

/* The connection that the socket `fd` has. ENOTCONN: none. */
SOCKREPAIR_EXPORT int sockrepair_connection_of(int fd, struct sockrepair_connection* connection,
                                               sockrepair_error** error);

/*
 * A lock of no connection yet, in the network namespace of `socket`, or with -1 of the calling
 * thread. It lasts until it is released or freed, or the process ends, however it does. EPERM:
 * CAP_NET_ADMIN; EPROTONOSUPPORT, EOPNOTSUPP: Linux 5.12 with nf_tables; ELIBACC: libnftables.so.1.
 */
SOCKREPAIR_EXPORT int sockrepair_lock_create(int socket, sockrepair_lock** lock,
                                             sockrepair_error** error);

/*
 * Locks `count` connections as well, all or, with an error, none. When this returns, no segment of
 * theirs reaches a socket any more, and none leaves. EINVAL names the first that cannot be locked,
 * from 0 on. EBADF: the lock is released.
 */
SOCKREPAIR_EXPORT int sockrepair_lock_add(sockrepair_lock* lock,
                                          const struct sockrepair_connection* connections,
                                          size_t count, sockrepair_error** error);

/* Lets all segments pass, at once. */
SOCKREPAIR_EXPORT void sockrepair_lock_release(sockrepair_lock* lock);
/* Releases it, too. */
SOCKREPAIR_EXPORT void sockrepair_lock_free(sockrepair_lock* lock);

/* --- connections that no process has --- */

/* All of the network namespace of the calling thread, which a dump of processes does not carry. */
SOCKREPAIR_EXPORT int sockrepair_detached_find(sockrepair_detached** list,
                                               sockrepair_error** error);
SOCKREPAIR_EXPORT size_t sockrepair_detached_count(const sockrepair_detached* list);
/* "handshake", "unaccepted", "orphan", "time-wait"; NULL from the count on. */
SOCKREPAIR_EXPORT const char* sockrepair_detached_kind(const sockrepair_detached* list,
                                                       size_t index);
/* One line with its addresses, and what becomes of it; NULL from the count on. */
SOCKREPAIR_EXPORT const char* sockrepair_detached_text(const sockrepair_detached* list,
                                                       size_t index);
/* Its two names. EINVAL: a pointer is NULL, or from the count on. */
SOCKREPAIR_EXPORT int sockrepair_detached_connection(const sockrepair_detached* list, size_t index,
                                                     struct sockrepair_connection* connection);
SOCKREPAIR_EXPORT void sockrepair_detached_free(sockrepair_detached* list);

/* --- connections in TIME_WAIT --- */

/*
 * TCP connections that are over, and that the kernel remembers so that it can answer what comes
 * late. When their addresses move to another place, who comes late is answered there with a reset,
 * unless they come along. tcp_time_wait.h says more.
 *
 *   sockrepair_time_wait *list = NULL;
 *   if (sockrepair_time_wait_find(-1, &list, &error) != 0) ...
 *   if (sockrepair_time_wait_end(list, -1, NULL, &error) != 0) ...            // here ...
 *   for (i = 0; i < sockrepair_time_wait_count(list); i++)
 *     if (sockrepair_time_wait_restore(list, i, NULL, NULL, &error) != 0) ... // ... and there
 *   sockrepair_time_wait_free(list);
 */

/*
 * All of the network namespace of `socket`, or with -1 of the calling thread, in no order. What
 * ends meanwhile may be in the list, what begins may be missing. Takes tens of milliseconds. EPERM:
 * CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, in the first user namespace; EOPNOTSUPP: Linux 5.9
 * with CONFIG_DEBUG_INFO_BTF, or the library was built without this; ELIBACC: libbpf.so.1.
 */
SOCKREPAIR_EXPORT int sockrepair_time_wait_find(int socket, sockrepair_time_wait** list,
                                                sockrepair_error** error);
SOCKREPAIR_EXPORT size_t sockrepair_time_wait_count(const sockrepair_time_wait* list);
/* "TIME_WAIT, 10.0.0.1:80 to 10.0.0.2:40000, 59.2 s left"; NULL from the count on. */
SOCKREPAIR_EXPORT const char* sockrepair_time_wait_text(const sockrepair_time_wait* list,
                                                        size_t index);
/* Its two names, of an AF_INET6 socket IPv4-mapped ones. EINVAL: a pointer is NULL, or from the
 * count on. */
SOCKREPAIR_EXPORT int sockrepair_time_wait_connection(const sockrepair_time_wait* list,
                                                      size_t index,
                                                      struct sockrepair_connection* connection);
/* As the kernel numbers them: TCP_FIN_WAIT2 5, closed by us, or TCP_TIME_WAIT 6, by both; 0 from
 * the count on. */
SOCKREPAIR_EXPORT int sockrepair_time_wait_state(const sockrepair_time_wait* list, size_t index);
/* Microseconds until the kernel would have forgotten it, when it was found; 0 from the count on. */
SOCKREPAIR_EXPORT uint64_t sockrepair_time_wait_remaining(const sockrepair_time_wait* list,
                                                          size_t index);
/* Takes one off the list, for who moves only some; those behind it move up by one. Only while no
 * other thread uses the list. From the count on: nothing. */
SOCKREPAIR_EXPORT void sockrepair_time_wait_remove(sockrepair_time_wait* list, size_t index);

/*
 * Has the kernel of the namespace of `socket`, as above, forget what is on the list: nothing is
 * sent, and the ports are free. *ended becomes how many of them were there, unless that is NULL; 0
 * on error. EPERM: CAP_NET_ADMIN; EOPNOTSUPP: CONFIG_INET_DIAG_DESTROY, of a kernel that ends
 * these. EINVAL: `list` is NULL.
 */
SOCKREPAIR_EXPORT int sockrepair_time_wait_end(const sockrepair_time_wait* list, int socket,
                                               size_t* ended, sockrepair_error** error);

/* Flags of struct sockrepair_time_wait_restore_options. */
/* The time since it was found counts for what remains of it. What is over by then is not made
 * again, which is no error. */
#define SOCKREPAIR_TIME_WAIT_COUNT_PAUSE 0x1u
/* `pause_us` is that time. Without it, by the clocks of the two hosts. */
#define SOCKREPAIR_TIME_WAIT_PAUSE 0x2u

struct sockrepair_time_wait_restore_options {
  size_t size; /* of this struct */
  unsigned int flags;
  uint64_t pause_us;                         /* 0 without SOCKREPAIR_TIME_WAIT_PAUSE */
  const struct sockrepair_rewrite* rewrites; /* `rewrites_count` of them */
  size_t rewrites_count;
};

/*
 * Makes the connection at `index` again in the network namespace of the calling thread. It is
 * checked before the first call; after an error nothing is left of it. EINVAL: an unknown flag,
 * `list` is NULL, or the error names the index, or a member and its limit; EOPNOTSUPP:
 * TCP_REPAIR_CB of the kernel series, or it was signed (TCP-MD5, TCP-AO); EPERM: CAP_NET_ADMIN;
 * EADDRNOTAVAIL, EADDRINUSE: the error names the address; ENOBUFS: net.ipv4.tcp_max_tw_buckets.
 * With `losses` not NULL it becomes the list of what is not as it was, perhaps empty; on error
 * NULL.
 */
SOCKREPAIR_EXPORT int sockrepair_time_wait_restore(
    const sockrepair_time_wait* list, size_t index,
    const struct sockrepair_time_wait_restore_options* options, sockrepair_losses** losses,
    sockrepair_error** error);
SOCKREPAIR_EXPORT void sockrepair_time_wait_free(sockrepair_time_wait* list);

#ifdef __cplusplus
}
#endif

#endif /* SOCKREPAIR_SOCKREPAIR_H_ */
