/*
 * A bounded queue of records from one thread to another, without locks.
 *
 * One producer, one consumer; memory is taken once. The consumer is woken by
 * other means (an eventfd).
 */
#ifndef ESP_RING_H
#define ESP_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RING_APART = 64 - sizeof(atomic_size_t) };

/* Each side's counter stands a cache line from all else, so that they do not slow each other. By
 * padding: an aligned type would ask the same alignment of whoever allocates what holds a ring. */
struct ring {
	uint8_t *buf;
	size_t size;        /* a power of two */
	uint8_t apart_buf[RING_APART];
	atomic_size_t head; /* producer's: bytes ever written */
	uint8_t apart_head[RING_APART];
	atomic_size_t tail; /* consumer's: bytes ever read */
	uint8_t apart_tail[RING_APART];
};

/** `size`: a power of two. False without memory. */
bool ring_init(struct ring *r, size_t size);
void ring_free(struct ring *r);

/** Producer: room for a record of `len` bytes, NULL when full. Ends with ring_commit(). */
void *ring_reserve(struct ring *r, size_t len);
/** Producer: hand over what the last ring_reserve() returned. */
void ring_commit(struct ring *r);

/** Consumer: the oldest record, NULL when there is none. Valid until ring_pop(). */
const void *ring_peek(struct ring *r, size_t *len);
void ring_pop(struct ring *r);

#endif
