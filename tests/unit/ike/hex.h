/* Hex to memory of exactly its size, so that a read past its end is caught. */
#ifndef TESTS_IKE_HEX_H
#define TESTS_IKE_HEX_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct blob {
	uint8_t *ptr;
	size_t len;
};

static inline int hex_digit(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* Spaces are allowed; free with free(blob.ptr). */
static inline struct blob hex(const char *s)
{
	struct blob b = { malloc(strlen(s) / 2 + 1), 0 };

	while (*s) {
		if (*s == ' ') {
			s++;
			continue;
		}
		b.ptr[b.len++] = (uint8_t)(hex_digit(s[0]) << 4 | hex_digit(s[1]));
		s += 2;
	}
	b.ptr = realloc(b.ptr, b.len ? b.len : 1);
	return b;
}

#endif
