/*
 * The anti-replay window: RFC 4303 §3.4.3 as the ring of RFC 6479, and the
 * inference of the high half of extended sequence numbers (RFC 4303 appendix A2).
 *
 * Used by the one worker that owns the SA; check before, update after the
 * integrity check. Sequence numbers are 64 bits wide throughout; without ESN
 * the high half is 0.
 */
#ifndef ESP_REPLAY_H
#define ESP_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REPLAY_WINDOW_MIN = 32, REPLAY_WINDOW_MAX = 8192 };

struct replay_window {
	uint64_t top;  /* highest sequence number that was valid; 0 at the start */
	uint32_t size; /* packets */
	uint32_t mask; /* number of blocks, a power of two, minus 1 */
	uint64_t blocks[];
};

/** Bytes of a window of `size` packets, which is brought into the limits. */
size_t replay_window_bytes(uint32_t size);
/** Make such a window of zeroed memory of that many bytes. */
void replay_window_init(struct replay_window *w, uint32_t size);

/**
 * The whole number that `low`, as on the wire, stands for with ESN. 0, which is
 * never valid, for what would lie before the first packet.
 */
uint64_t replay_window_infer(const struct replay_window *w, uint32_t low);

/** Not seen before and not older than the window. */
bool replay_window_check(const struct replay_window *w, uint64_t seq);

/** Mark `seq` as seen; call only after the integrity check and a check that held. */
void replay_window_update(struct replay_window *w, uint64_t seq);

#endif
