/* The cursor that builds messages; see writer.h. */
#include "base/writer.h"

#include <string.h>

uint8_t *writer_reserve(struct writer *w, size_t len)
{
	uint8_t *p;

	if (w->bad || w->cap - w->len < len) {
		w->bad = true;
		return NULL;
	}
	p = w->base + w->len;
	if (len > 0)
		memset(p, 0, len);
	w->len += len;
	return p;
}

void writer_put(struct writer *w, const void *p, size_t len)
{
	uint8_t *to = writer_reserve(w, len);

	if (to && len > 0)
		memcpy(to, p, len);
}

void writer_put_bytes(struct writer *w, struct bytes b)
{
	writer_put(w, b.ptr, b.len);
}

static void store(uint8_t *to, uint64_t v, size_t len)
{
	for (size_t i = 0; i < len; i++)
		to[i] = (uint8_t)(v >> (8 * (len - 1 - i)));
}

static void write_number(struct writer *w, uint64_t v, size_t len)
{
	uint8_t *to = writer_reserve(w, len);

	if (to)
		store(to, v, len);
}

void writer_u8(struct writer *w, uint8_t v)
{
	write_number(w, v, 1);
}

void writer_u16(struct writer *w, uint16_t v)
{
	write_number(w, v, 2);
}

void writer_u32(struct writer *w, uint32_t v)
{
	write_number(w, v, 4);
}

void writer_u64(struct writer *w, uint64_t v)
{
	write_number(w, v, 8);
}

static void patch(struct writer *w, size_t at, uint64_t v, size_t len)
{
	if (w->bad || w->len < len || at > w->len - len)
		w->bad = true;
	else
		store(w->base + at, v, len);
}

void writer_patch_u8(struct writer *w, size_t at, uint8_t v)
{
	patch(w, at, v, 1);
}

void writer_patch_u16(struct writer *w, size_t at, uint16_t v)
{
	patch(w, at, v, 2);
}

void writer_patch_u32(struct writer *w, size_t at, uint32_t v)
{
	patch(w, at, v, 4);
}
