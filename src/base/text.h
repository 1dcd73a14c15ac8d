/* Text: a bounded, growable string and small helpers for parsing. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * A string that grows; zeroed memory is an empty one. Owned by whoever declared
 * it and freed with text_free(). Out of memory sets `bad`.
 */
struct text {
	char *str; /* always terminated; NULL while empty: use text_str() */
	size_t len;
	size_t cap;
	bool bad;
};

void text_add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_vadd(struct text *t, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));
/** The string so far, "" when empty; valid until the next change. */
const char *text_str(const struct text *t);
void text_free(struct text *t);

/** A decimal number of `max` at most that takes all of `s`; false otherwise. */
bool text_to_u64(const char *s, uint64_t max, uint64_t *out);

#endif
