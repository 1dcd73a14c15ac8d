/*
 * Writing wire bytes into a fixed buffer, with a sticky failure.
 *
 * A write that does not fit sets `bad` and writes nothing, as does every later
 * write; the caller checks writer_ok() once at the end. Lengths that are known
 * only later are reserved and patched. Integers are in network byte order.
 */
#ifndef BASE_WRITER_H
#define BASE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/reader.h"

struct writer {
	uint8_t *base;
	size_t len; /* bytes written so far */
	size_t cap;
	bool bad;
};

/** A writer into `cap` bytes at `buf`, which must outlive it. */
static inline struct writer writer_new(void *buf, size_t cap)
{
	return (struct writer){ .base = buf, .len = 0, .cap = cap, .bad = false };
}

static inline bool writer_ok(const struct writer *w)
{
	return !w->bad;
}

/** What has been written so far; empty once a write has failed. */
static inline struct bytes writer_bytes(const struct writer *w)
{
	return w->bad ? BYTES(NULL, 0) : BYTES(w->base, w->len);
}

/** Reserve `len` zeroed bytes and return them, NULL when they do not fit. */
uint8_t *writer_reserve(struct writer *w, size_t len);

void writer_put(struct writer *w, const void *p, size_t len);
void writer_put_bytes(struct writer *w, struct bytes b);
void writer_u8(struct writer *w, uint8_t v);
void writer_u16(struct writer *w, uint16_t v);
void writer_u32(struct writer *w, uint32_t v);
void writer_u64(struct writer *w, uint64_t v);

/**
 * Overwrite two (four) bytes written earlier at offset `at`; fails if they have
 * not all been written yet.
 */
void writer_patch_u8(struct writer *w, size_t at, uint8_t v);
void writer_patch_u16(struct writer *w, size_t at, uint16_t v);
void writer_patch_u32(struct writer *w, size_t at, uint32_t v);

#endif
