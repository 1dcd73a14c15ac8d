/* Time: microseconds of a monotonic clock. Only hosts call it; the IKE engine is told the time. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define US_PER_S UINT64_C(1000000)
#define US_PER_MS UINT64_C(1000)

/** CLOCK_BOOTTIME in microseconds: goes on while the machine is suspended. */
uint64_t clock_now_us(void);

/** Seconds since 1970 (the clock on the wall). */
uint64_t clock_wall_s(void);

#endif
