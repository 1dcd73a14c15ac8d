#include "esp/ring.h"

#include <stdlib.h>
#include <string.h>

/* A record: its length, then its bytes, in multiples of 8. A record never wraps: what is left
 * at the end is filled with a header that says so. */
struct record {
	uint32_t len;
	uint32_t skip;
};

static size_t record_bytes(size_t len)
{
	return sizeof(struct record) + ((len + 7) & ~(size_t)7);
}

bool ring_init(struct ring *r, size_t size)
{
	memset(r, 0, sizeof(*r));
	r->buf = malloc(size);
	r->size = size;
	return r->buf != NULL;
}

void ring_free(struct ring *r)
{
	free(r->buf);
	r->buf = NULL;
}

void *ring_reserve(struct ring *r, size_t len)
{
	size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	size_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
	size_t at = head & (r->size - 1);
	size_t need = record_bytes(len);
	size_t to_end = r->size - at;
	struct record *rec;

	if (need + (to_end < need ? to_end : 0) > r->size - (head - tail))
		return NULL;
	if (to_end < need) {
		rec = (struct record *)(void *)(r->buf + at);
		*rec = (struct record){ .len = (uint32_t)(to_end - sizeof(*rec)), .skip = 1 };
		atomic_store_explicit(&r->head, head + to_end, memory_order_release);
		at = 0;
	}
	rec = (struct record *)(void *)(r->buf + at);
	*rec = (struct record){ .len = (uint32_t)len, .skip = 0 };
	return rec + 1;
}

void ring_commit(struct ring *r)
{
	size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	const struct record *rec = (const void *)(r->buf + (head & (r->size - 1)));

	atomic_store_explicit(&r->head, head + record_bytes(rec->len), memory_order_release);
}

const void *ring_peek(struct ring *r, size_t *len)
{
	for (;;) {
		size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
		const struct record *rec;

		if (tail == atomic_load_explicit(&r->head, memory_order_acquire))
			return NULL;
		rec = (const void *)(r->buf + (tail & (r->size - 1)));
		if (!rec->skip) {
			*len = rec->len;
			return rec + 1;
		}
		ring_pop(r);
	}
}

void ring_pop(struct ring *r)
{
	size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	const struct record *rec = (const void *)(r->buf + (tail & (r->size - 1)));

	atomic_store_explicit(&r->tail, tail + record_bytes(rec->len), memory_order_release);
}
