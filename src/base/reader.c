/* The cursor over received bytes; see reader.h. */
#include "base/reader.h"

#include <string.h>

#include <openssl/crypto.h>

struct bytes reader_bytes(struct reader *r, size_t len)
{
	struct bytes b;

	if (r->bad || (size_t)(r->end - r->pos) < len) {
		r->bad = true;
		return BYTES(NULL, 0);
	}
	b = BYTES(r->pos, len);
	if (len > 0)
		r->pos += len;
	return b;
}

struct bytes reader_rest(struct reader *r)
{
	return reader_bytes(r, reader_left(r));
}

bool reader_copy(struct reader *r, void *out, size_t len)
{
	struct bytes b = reader_bytes(r, len);

	if (r->bad) {
		memset(out, 0, len);
		return false;
	}
	if (len > 0)
		memcpy(out, b.ptr, len);
	return true;
}

bool reader_skip(struct reader *r, size_t len)
{
	reader_bytes(r, len);
	return !r->bad;
}

struct reader reader_sub(struct reader *r, size_t len)
{
	struct reader sub = reader_of(reader_bytes(r, len));

	sub.bad = r->bad;
	return sub;
}

/* `len` bytes as one number, most significant first. */
static uint64_t read_number(struct reader *r, size_t len)
{
	struct bytes b = reader_bytes(r, len);
	uint64_t v = 0;

	for (size_t i = 0; i < b.len; i++)
		v = v << 8 | b.ptr[i];
	return v;
}

uint8_t reader_u8(struct reader *r)
{
	return (uint8_t)read_number(r, 1);
}

uint16_t reader_u16(struct reader *r)
{
	return (uint16_t)read_number(r, 2);
}

uint32_t reader_u32(struct reader *r)
{
	return (uint32_t)read_number(r, 4);
}

uint64_t reader_u64(struct reader *r)
{
	return read_number(r, 8);
}

bool bytes_equal(struct bytes a, struct bytes b)
{
	if (a.len != b.len)
		return false;
	return a.len == 0 || CRYPTO_memcmp(a.ptr, b.ptr, a.len) == 0;
}
