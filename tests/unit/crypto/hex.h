/* Published vectors are written in hexadecimal. */
#ifndef TEST_HEX_H
#define TEST_HEX_H

#include <ctype.h>
#include <stdio.h>

#include "base/reader.h"

/* Bytes of `s`, spaces allowed, in one of eight buffers that are used in turn. */
static inline struct bytes hex(const char *s)
{
	static uint8_t buffers[8][2048];
	static unsigned turn;
	uint8_t *buf = buffers[turn++ % 8];
	size_t n = 0;
	unsigned v;

	while (*s != '\0') {
		if (isspace((unsigned char)*s)) {
			s++;
			continue;
		}
		assert_int_equal(sscanf(s, "%2x", &v), 1);
		assert_true(n < sizeof(buffers[0]));
		buf[n++] = (uint8_t)v;
		s += 2;
	}
	return BYTES(buf, n);
}

/* `size_` bytes at `have_` are those of the hexadecimal `text_`. */
#define assert_bytes(have_, size_, text_)                          \
	do {                                                       \
		struct bytes want_ = hex(text_);                   \
		assert_int_equal(size_, want_.len);                \
		assert_memory_equal(have_, want_.ptr, want_.len);  \
	} while (0)

#endif
