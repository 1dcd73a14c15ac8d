#include "esp/replay.h"

#include <string.h>

enum { BLOCK_BITS = 64 };

static uint32_t within_limits(uint32_t size)
{
	if (size < REPLAY_WINDOW_MIN)
		return REPLAY_WINDOW_MIN;
	return size > REPLAY_WINDOW_MAX ? REPLAY_WINDOW_MAX : size;
}

/* One block more than the window needs: the newest is only partly used (RFC 6479 §2). */
static uint32_t blocks_of(uint32_t size)
{
	uint32_t blocks = 2;

	while (blocks < (size + BLOCK_BITS - 1) / BLOCK_BITS + 1)
		blocks *= 2;
	return blocks;
}

size_t replay_window_bytes(uint32_t size)
{
	return sizeof(struct replay_window) + blocks_of(within_limits(size)) * sizeof(uint64_t);
}

void replay_window_init(struct replay_window *w, uint32_t size)
{
	w->size = within_limits(size);
	w->mask = blocks_of(w->size) - 1;
}

uint64_t replay_window_infer(const struct replay_window *w, uint32_t low)
{
	uint32_t top_low = (uint32_t)w->top;
	uint64_t top_high = w->top >> 32;
	uint32_t bottom = top_low - w->size + 1; /* wraps in case B */

	if (top_low >= w->size - 1) /* case A: the window lies in one subspace */
		return (low >= bottom ? top_high : top_high + 1) << 32 | low;
	/* case B: the window reaches back into the subspace before */
	if (low < bottom)
		return top_high << 32 | low;
	return top_high ? (top_high - 1) << 32 | low : 0;
}

bool replay_window_check(const struct replay_window *w, uint64_t seq)
{
	if (seq == 0)
		return false;
	if (seq > w->top)
		return true;
	if (w->top - seq >= w->size)
		return false;
	return !(w->blocks[seq / BLOCK_BITS & w->mask] >> (seq % BLOCK_BITS) & 1);
}

void replay_window_update(struct replay_window *w, uint64_t seq)
{
	if (seq > w->top) {
		uint64_t old = w->top / BLOCK_BITS, new = seq / BLOCK_BITS;

		if (new - old > w->mask) /* all blocks are passed over */
			memset(w->blocks, 0, (w->mask + 1) * sizeof(w->blocks[0]));
		else
			while (old != new)
				w->blocks[++old & w->mask] = 0;
		w->top = seq;
	}
	w->blocks[seq / BLOCK_BITS & w->mask] |= UINT64_C(1) << (seq % BLOCK_BITS);
}
