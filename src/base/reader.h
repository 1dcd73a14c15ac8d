/*
 * Reading wire bytes: a bounds-checked cursor with a sticky failure.
 *
 * Every byte that a peer or a file sent is read through this type and nothing
 * else does offset arithmetic. A read past the end sets `bad`, returns zeros
 * (or NULL) and every later read fails as well, so a decoder may read a whole
 * structure and check reader_ok() once. Integers are in network byte order.
 */
#ifndef BASE_READER_H
#define BASE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** A borrowed, read-only run of bytes; never owns its memory. */
struct bytes {
	const uint8_t *ptr;
	size_t len;
};

#define BYTES(p, n) ((struct bytes){ .ptr = (const uint8_t *)(p), .len = (n) })

struct reader {
	const uint8_t *pos;
	const uint8_t *end;
	bool bad;
};

/** A reader over `len` bytes at `ptr`, which must outlive it. */
static inline struct reader reader_new(const void *ptr, size_t len)
{
	const uint8_t *p = ptr;

	return (struct reader){ .pos = p, .end = p ? p + len : p, .bad = false };
}

/** A reader over `b`. */
static inline struct reader reader_of(struct bytes b)
{
	return reader_new(b.ptr, b.len);
}

/** Bytes left to read; 0 once a read has failed. */
static inline size_t reader_left(const struct reader *r)
{
	return r->bad ? 0 : (size_t)(r->end - r->pos);
}

/** No read has failed so far. */
static inline bool reader_ok(const struct reader *r)
{
	return !r->bad;
}

/** No read has failed and nothing is left. */
static inline bool reader_done(const struct reader *r)
{
	return !r->bad && r->pos == r->end;
}

/** Take `len` bytes; on success the result points into the reader's memory. */
struct bytes reader_bytes(struct reader *r, size_t len);

/** Take all that is left. */
struct bytes reader_rest(struct reader *r);

/** Copy `len` bytes to `out`, which is zeroed when the read fails. */
bool reader_copy(struct reader *r, void *out, size_t len);

/** Skip `len` bytes. */
bool reader_skip(struct reader *r, size_t len);

/** A reader over the next `len` bytes, which are skipped in `r`; bad if there are fewer. */
struct reader reader_sub(struct reader *r, size_t len);

/** Integers in network byte order; 0 when the read fails. */
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);

/** Constant-time comparison of two runs of bytes; lengths are not secret. */
bool bytes_equal(struct bytes a, struct bytes b);

#endif
