/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
#ifndef SOCKREPAIR_BPF_CALL_COUNT_H_
#define SOCKREPAIR_BPF_CALL_COUNT_H_

/* System calls by number that are counted; those of x86-64 are well below. */
#define CALL_COUNT_NUMBERS 512

#endif /* SOCKREPAIR_BPF_CALL_COUNT_H_ */
