/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Prints the frequency of this machine's time stamp counter in kHz.
 *
 * QEMU without KVM hands the counter to the guest as it is, but the guest cannot measure it: its
 * only reference, the PIT, is emulated, and late whenever the host is busy. Told the frequency,
 * its clock has nanoseconds; else it falls back to jiffies, 4 ms apart.
 */
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

static double nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(void)
{
	unsigned long long ticks = __rdtsc();
	double start = nanoseconds();
	double passed;

	do {
		passed = nanoseconds() - start;
	} while (passed < 5e7);
	printf("%.0f\n", (__rdtsc() - ticks) * 1e6 / passed);
	return 0;
}
