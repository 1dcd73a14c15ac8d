/* The growing string; see text.h. */
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

enum { TEXT_FIRST_CAP = 64 };

/* Room for `len` more characters and the terminator. */
static bool text_grow(struct text *t, size_t len)
{
	size_t cap = t->cap ? t->cap : TEXT_FIRST_CAP;
	char *str;

	if (len > SIZE_MAX / 4 - t->len)
		return false;
	while (cap - t->len <= len)
		cap *= 2;
	if (cap == t->cap)
		return true;
	str = realloc(t->str, cap);
	if (!str)
		return false;
	t->str = str;
	t->cap = cap;
	return true;
}

void text_vadd(struct text *t, const char *format, va_list args)
{
	va_list copy;
	int need;

	if (t->bad)
		return;
	va_copy(copy, args);
	need = vsnprintf(NULL, 0, format, copy);
	va_end(copy);
	if (need < 0 || !text_grow(t, (size_t)need)) {
		t->bad = true;
		return;
	}
	vsnprintf(t->str + t->len, t->cap - t->len, format, args);
	t->len += (size_t)need;
}

void text_add(struct text *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	text_vadd(t, format, args);
	va_end(args);
}

const char *text_str(const struct text *t)
{
	return t->str ? t->str : "";
}

void text_free(struct text *t)
{
	free(t->str);
	*t = (struct text){ 0 };
}

bool text_to_u64(const char *s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (*s == '\0')
		return false;
	for (; *s != '\0'; s++) {
		if (*s < '0' || *s > '9')
			return false;
		uint64_t digit = (uint64_t)(*s - '0');
		if (v > (UINT64_MAX - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	if (v > max)
		return false;
	*out = v;
	return true;
}
