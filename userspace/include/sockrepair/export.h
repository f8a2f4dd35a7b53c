/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
#ifndef SOCKREPAIR_EXPORT_H_
#define SOCKREPAIR_EXPORT_H_

/*
 * What the shared libraries show; everything else in them is hidden. C functions are marked one by
 * one, C++ by the namespace in each public header: `namespace SOCKREPAIR_EXPORT sockrepair {`.
 */
#if defined(__cplusplus)
#define SOCKREPAIR_EXPORT [[gnu::visibility("default")]]
#elif defined(__GNUC__)
#define SOCKREPAIR_EXPORT __attribute__((visibility("default")))
#else
#define SOCKREPAIR_EXPORT
#endif

#endif /* SOCKREPAIR_EXPORT_H_ */
