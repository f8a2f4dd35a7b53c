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
 * process, and then what is in `connections`, unless that is NULL; all of them stay the caller's.
 * EINVAL: a pointer is NULL, an element has both or none, or a value cannot be stored. EACCES: a
 * socket has keys of TCP-AO, which are written in clear, and `fd` is a file with a name to which
 * group or others have any right. After an error what was written is not an image.
 */
SOCKREPAIR_EXPORT int sockrepair_image_write(int fd, const struct sockrepair_socket* sockets,
                                             size_t count, const sockrepair_time_wait* connections,
                                             sockrepair_error** error);

/*
 * Reads all of an image from `fd`: a regular file from its beginning, whatever its position, and
 * something else to its end. Everything is checked before anything is given out; EBADMSG: not an
 * image, or damaged, the error says where. *sockets becomes an array of *count elements, NULL if
 * there is none; sockrepair_image_free() frees it with the objects in it that are not NULL. Who
 * takes one out puts NULL in its place. *connections becomes a list of those in TIME_WAIT, perhaps
 * empty, the caller's to free; with `connections` NULL such an image is EPROTONOSUPPORT. On error
 * nothing is there to free.
 */
SOCKREPAIR_EXPORT int sockrepair_image_read(int fd, struct sockrepair_socket** sockets,
                                            size_t* count, sockrepair_time_wait** connections,
                                            sockrepair_error** error);

/* `sockets` may be NULL. */
SOCKREPAIR_EXPORT void sockrepair_image_free(struct sockrepair_socket* sockets, size_t count);

#ifdef __cplusplus
}
#endif

#endif /* SOCKREPAIR_SOCKREPAIR_IMAGE_H_ */
