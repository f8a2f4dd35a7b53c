/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
#ifndef SOCKREPAIR_SOCKREPAIR_IMAGE_H_
#define SOCKREPAIR_SOCKREPAIR_IMAGE_H_

/*
 * Sockets as bytes, for programs in C: an image, as image.h and `sockrepair show` know it.
 * Ownership, errors and threads are as in sockrepair.h. In a library of its own,
 * libsockrepair_image.
 *
 * To have them in a buffer, write to memfd_create(2).
 */

#include <stddef.h>

#include "sockrepair/export.h"
#include "sockrepair/sockrepair.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Writes `count` sockets to the descriptor `fd`, at its file position, as sockets of the calling
 * process. EINVAL: a pointer is NULL, or a value cannot be stored. After an error what was written
 * is not an image.
 */
SOCKREPAIR_EXPORT int sockrepair_image_write(int fd, const sockrepair_udp* const* sockets,
                                             size_t count, sockrepair_error** error);

/*
 * Reads all UDP sockets of an image from `fd`: a regular file from its beginning, whatever its
 * position, and something else to its end. Everything is checked before anything is given out;
 * EBADMSG: not an image, or damaged, the error says where. EPROTONOSUPPORT: there is a TCP socket
 * in it, for which there is no object here. *sockets becomes an array of *count objects, NULL if
 * there is none; sockrepair_image_free() frees both.
 */
SOCKREPAIR_EXPORT int sockrepair_image_read(int fd, sockrepair_udp*** sockets, size_t* count,
                                            sockrepair_error** error);

SOCKREPAIR_EXPORT void sockrepair_image_free(sockrepair_udp** sockets, size_t count);

#ifdef __cplusplus
}
#endif

#endif /* SOCKREPAIR_SOCKREPAIR_IMAGE_H_ */
