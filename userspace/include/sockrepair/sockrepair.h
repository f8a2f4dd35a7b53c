/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
#ifndef SOCKREPAIR_SOCKREPAIR_H_
#define SOCKREPAIR_SOCKREPAIR_H_

/*
 * UDP sockets for programs in C: read a whole socket out of a process, make it again in the same or
 * another one. The C++ headers beside this one say more about what is carried; udp_socket.h is
 * where to begin.
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
 * Functions that can fail return 0 or an errno number. With `error` not NULL they also make an
 * object that says which call, member or option it was and what its limit is; *error is NULL on
 * success.
 *
 * Objects made for the caller belong to the caller, who frees each with the function of its name;
 * all of these take NULL. Strings and lists that come with `const` belong to the object they were
 * asked of, and are good until it is freed.
 *
 * Every function may be called from any thread. An object that nobody frees meanwhile may be read
 * by several threads at once. Two threads may not dump the same socket at once.
 */

#include <stddef.h>
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

#ifdef __cplusplus
}
#endif

#endif /* SOCKREPAIR_SOCKREPAIR_H_ */
