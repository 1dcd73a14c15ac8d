/*
 * Numbers, times and choices.
 */
#include "config/values.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

bool value_wrong(struct value_error *e, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(e->what, sizeof(e->what), format, args);
	va_end(args);
	return false;
}

void value_remedy(struct value_error *e, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(e->remedy, sizeof(e->remedy), format, args);
	va_end(args);
}

const char *value_printable(const char *text, char *buf, size_t len)
{
	size_t n = 0;

	for (; *text && n + 4 < len; text++)
		buf[n++] = (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text;
	buf[n] = '\0';
	if (*text)
		memcpy(buf + n, "...", 4);
	return buf;
}

bool value_yes_no(const char *text, bool *out, struct value_error *e)
{
	static const char *const yes[] = { "yes", "true", "on", "y", "1" };
	static const char *const no[] = { "no", "false", "off", "n", "0" };

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
			*out = strcasecmp(text, yes[i]) == 0;
			return true;
		}
	}
	return value_wrong(e, "is neither yes nor no");
}

bool value_choice(const struct keyword_value *values, const char *text, int *out,
		  struct value_error *e)
{
	for (; values && values->name; values++) {
		if (strcasecmp(values->name, text) == 0) {
			*out = values->value;
			return true;
		}
	}
	return value_wrong(e, "is not known");
}

/** Digits at `*s`, moved past; false without any and beyond `max`. */
static bool digits(const char **s, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;

	if (!isdigit((unsigned char)**s))
		return false;
	for (; isdigit((unsigned char)**s); (*s)++) {
		uint64_t d = (uint64_t)(**s - '0');

		if (n > (max - d) / 10)
			return false;
		n = n * 10 + d;
	}
	*out = n;
	return true;
}

struct unit {
	const char *name;
	uint64_t us;
};

static const struct unit *find_unit(const char *name)
{
	static const struct unit units[] = {
		{ "us", 1 },
		{ "ms", 1000 },
		{ "s", 1000000 },
		{ "m", 60 * 1000000ull },
		{ "h", 3600 * 1000000ull },
		{ "d", 86400 * 1000000ull },
		{ "w", 7 * 86400 * 1000000ull },
	};

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcasecmp(units[i].name, name) == 0)
			return &units[i];
	return NULL;
}

/** The digits after a decimal point, as a part of `unit`. */
static uint64_t fraction(const char **s, uint64_t unit)
{
	uint64_t value = 0, weight = unit;

	for (; isdigit((unsigned char)**s); (*s)++) {
		weight /= 10;
		value += weight * (uint64_t)(**s - '0');
	}
	return value;
}

bool value_time(const char *text, uint64_t unit_us, uint64_t *out_us, struct value_error *e)
{
	const uint64_t longest_us = 1000ull * 366 * 86400 * 1000000;
	const char *s = text, *point = NULL;
	char shown[24];
	const struct unit *u;
	uint64_t n;

	if (!isdigit((unsigned char)*s))
		return value_wrong(e, "is not a time");
	if (!digits(&s, longest_us, &n))
		return value_wrong(e, "is too long a time");
	if (*s == '.') {
		point = ++s;
		if (!isdigit((unsigned char)*s))
			return value_wrong(e, "is not a time");
		s += strspn(s, "0123456789");
	}
	u = *s ? find_unit(s) : NULL;
	if (*s && !u)
		return value_wrong(e, "is not a time: its unit \"%s\" is unknown",
				   value_printable(s, shown, sizeof(shown)));
	if (u)
		unit_us = u->us;
	if (n > longest_us / unit_us)
		return value_wrong(e, "is too long a time");
	*out_us = n * unit_us + (point ? fraction(&point, unit_us) : 0);
	return true;
}

bool value_bytes(const char *text, uint64_t *out, struct value_error *e)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	const char *s = text;
	unsigned shift = 0;
	uint64_t n;

	if (!isdigit((unsigned char)*s))
		return value_wrong(e, "is not a number of bytes");
	// 2^63 is what the kernel and the peers count to.
	if (!digits(&s, INT64_MAX, &n))
		return value_wrong(e, "is too many bytes");
	if (*s && strcasecmp(s, "B") != 0) {
		for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
			if (strcasecmp(s, units[i]) == 0)
				shift = 10 * (unsigned)(i + 1);
		if (!shift)
			return value_wrong(e, "is not a number of bytes: its unit is unknown");
	}
	if (n > (uint64_t)INT64_MAX >> shift)
		return value_wrong(e, "is too many bytes");
	*out = n << shift;
	return true;
}

bool value_number(const char *text, uint64_t min, uint64_t max, uint64_t *out,
		  struct value_error *e)
{
	uint64_t n = 0;
	const char *s = text;

	if (!isdigit((unsigned char)*s) || s[strspn(s, "0123456789")])
		return value_wrong(e, "is not a number");
	if (!digits(&s, max, &n) || n < min) {
		value_remedy(e, "write a number from %llu to %llu", (unsigned long long)min,
			     (unsigned long long)max);
		return value_wrong(e, "is out of range");
	}
	*out = n;
	return true;
}

bool value_percent(const char *text, uint64_t max, uint32_t *out, struct value_error *e)
{
	const char *s = text;
	uint64_t n;

	if (!digits(&s, UINT32_MAX, &n))
		return value_wrong(e, "is not a number and %%");
	if (strcmp(s, "%") != 0)
		return value_wrong(e, *s ? "does not end in %%" : "has no %% behind it");
	if (n > max)
		return value_wrong(e, "is over %llu%%", (unsigned long long)max);
	*out = (uint32_t)n;
	return true;
}

/** A decimal or 0x number of 32 bits, moved past. */
static bool number32(const char **s, uint32_t *out)
{
	uint64_t n = 0;

	if ((*s)[0] == '0' && ((*s)[1] == 'x' || (*s)[1] == 'X')) {
		size_t len = strspn(*s + 2, "0123456789abcdefABCDEF");

		if (len == 0 || len > 8)
			return false;
		*s += 2;
		for (; len; len--, (*s)++) {
			int c = tolower((unsigned char)**s);

			n = n << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
		}
	} else if (!digits(s, UINT32_MAX, &n)) {
		return false;
	}
	*out = (uint32_t)n;
	return true;
}

bool value_mark(const char *text, uint32_t *mark, uint32_t *mask, struct value_error *e)
{
	const char *s = text;

	if (strcmp(text, "-1") == 0) {
		value_remedy(e, "give the connection a mark of its own, as in 0x10/0xff");
		return value_wrong(e, "(a mark that is chosen) is not built yet");
	}
	*mask = UINT32_MAX;
	if (!number32(&s, mark) || (*s && *s != '/'))
		return value_wrong(e, "is not a mark");
	if (*s == '/') {
		s++;
		if (!number32(&s, mask) || *s)
			return value_wrong(e, "is not a mark: its mask is no number");
	}
	return true;
}

bool list_next(const char **list, bool blanks, char *buf, size_t len, bool *too_long)
{
	const char *separators = blanks ? ", \t" : ",";
	size_t n;

	*list += strspn(*list, ", \t");
	if (!**list)
		return false;
	n = strcspn(*list, separators);
	*too_long = n >= len;
	if (*too_long)
		n = len - 1;
	memcpy(buf, *list, n);
	*list += n;
	if (*too_long)
		*list += strcspn(*list, separators);
	while (n && (buf[n - 1] == ' ' || buf[n - 1] == '\t'))
		n--;
	buf[n] = '\0';
	return true;
}
