// clock: monotonic time and the process's own figures.
#ifndef MLCC_RUNTIME_BASE_CLOCK_H
#define MLCC_RUNTIME_BASE_CLOCK_H

#include <stdint.h>

double mlcc_clock_s(void);          // monotonic seconds since an arbitrary start
double mlcc_clock_thread_s(void);   // processor seconds of the calling thread
uint64_t mlcc_peak_rss_bytes(void); // highest resident size of this process so far
// From now on the highest since this call, where the kernel allows it (proc(5), clear_refs): leaves
// out what only a measurement needed.
void mlcc_peak_rss_restart(void);

#endif
