/*
 * Identities of IKE; see identity.h. Distinguished names are left to distinguished_name.c.
 */
#include "net/identity.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "net/distinguished_name.h"

static bool fail(char *err, size_t err_len, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static bool fail(char *err, size_t err_len, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (err_len > 0)
		vsnprintf(err, err_len, format, args);
	va_end(args);
	return false;
}

static bool identity_set(struct identity *out, uint8_t type, const void *data, size_t len)
{
	*out = (struct identity){ .type = type };
	if (len > IDENTITY_MAX)
		return false;
	if (len > 0)
		memcpy(out->data, data, len);
	out->len = (uint16_t)len;
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Hexadecimal digits, an even number of them, with or without `0x` and colons. */
static bool parse_hex(const char *s, uint8_t *out, size_t max, size_t *len)
{
	size_t n = 0;

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
		s += 2;
	while (*s != '\0') {
		int hi = hex_digit(s[0]);
		int lo = hi < 0 ? -1 : hex_digit(s[1]);

		if (lo < 0 || n == max)
			return false;
		out[n++] = (uint8_t)(hi << 4 | lo);
		s += 2;
		if (*s == ':' && s[1] != '\0')
			s++;
	}
	*len = n;
	return n > 0;
}

static bool set_text(struct identity *out, uint8_t type, const char *s, size_t len, char *err,
		     size_t err_len)
{
	if (len == 0)
		return fail(err, err_len, "the identity is empty");
	if (!identity_set(out, type, s, len))
		return fail(err, err_len, "the identity is longer than %d bytes", IDENTITY_MAX);
	return true;
}

/* The spellings that begin with `@`; `s` is what follows it. */
static bool parse_at(const char *s, struct identity *out, char *err, size_t err_len)
{
	uint8_t raw[IDENTITY_MAX];
	size_t len = strlen(s);

	switch (s[0]) {
	case '#':
		if (!parse_hex(s + 1, raw, sizeof(raw), &len))
			return fail(err, err_len, "'@%s' is not '@#' and hexadecimal digits", s);
		return identity_set(out, IDENTITY_KEY_ID, raw, len);
	case '~':
		if (!parse_hex(s + 1, raw, sizeof(raw), &len) || !dn_valid(BYTES(raw, len)))
			return fail(err, err_len, "'@%s' is not '@~' and the DER of a DN in "
						  "hexadecimal digits", s);
		return identity_set(out, IDENTITY_DN, raw, len);
	case '[':
		if (s[len - 1] == ']')
			len--;
		return set_text(out, IDENTITY_KEY_ID, s + 1, len - 1, err, err_len);
	case '@':
		return set_text(out, IDENTITY_EMAIL, s + 1, len - 1, err, err_len);
	default:
		return set_text(out, IDENTITY_FQDN, s, len, err, err_len);
	}
}

static bool parse_percent(const char *s, struct identity *out, char *err, size_t err_len)
{
	if (strcasecmp(s, "%any") == 0 || strcasecmp(s, "%none") == 0)
		return true;
	if (strcasecmp(s, "%null") == 0) {
		out->type = IDENTITY_NULL;
		return true;
	}
	return fail(err, err_len, "'%s' is not an identity; known are %%any and %%null", s);
}

bool identity_parse(const char *s, struct identity *out, char *err, size_t err_len)
{
	struct ip_address address;
	size_t len;

	*out = (struct identity){ 0 };
	while (isspace((unsigned char)*s))
		s++;
	len = strlen(s);
	if (len == 0)
		return fail(err, err_len, "the identity is empty");
	if (s[0] == '%')
		return parse_percent(s, out, err, err_len);
	if (s[0] == '@')
		return parse_at(s + 1, out, err, err_len);
	if (ip_address_parse(s, &address)) {
		if (!ip_address_is_any(&address))
			*out = identity_from_address(&address);
		return true;
	}
	if (strchr(s, '=')) {
		size_t der_len;
		uint8_t der[IDENTITY_MAX];

		return dn_parse(s, der, sizeof(der), &der_len, err, err_len) &&
		       identity_set(out, IDENTITY_DN, der, der_len);
	}
	if (strchr(s, '@'))
		return set_text(out, IDENTITY_EMAIL, s, len, err, err_len);
	return set_text(out, IDENTITY_FQDN, s, len, err, err_len);
}

struct identity identity_from_address(const struct ip_address *a)
{
	struct identity id = { 0 };
	struct bytes b = ip_address_bytes(a);

	if (b.len > 0)
		identity_set(&id, b.len == 4 ? IDENTITY_IPV4 : IDENTITY_IPV6, b.ptr, b.len);
	return id;
}

bool identity_from_wire(uint8_t type, struct bytes data, struct identity *out)
{
	bool fits = data.len <= IDENTITY_MAX;

	switch (type) {
	case IDENTITY_NONE: fits = false; break;
	case IDENTITY_IPV4: fits = data.len == 4; break;
	case IDENTITY_IPV6: fits = data.len == 16; break;
	case IDENTITY_FQDN:
	case IDENTITY_EMAIL:
		/* A NUL would let two readers see two names. */
		fits = fits && data.len > 0 && !memchr(data.ptr, '\0', data.len);
		break;
	case IDENTITY_DN: fits = fits && dn_valid(data); break;
	case IDENTITY_NULL: /* RFC 7619 §2.2: its content is ignored */
		data.len = 0;
		fits = true;
		break;
	default: break;
	}
	if (!fits || !identity_set(out, type, data.ptr, data.len)) {
		*out = (struct identity){ 0 };
		return false;
	}
	return true;
}

bool identity_matches(const struct identity *pattern, const struct identity *id)
{
	return pattern->type == IDENTITY_NONE || identity_equal(pattern, id);
}

/* Length of a name without the dot at its end. */
static size_t name_len(const struct identity *id)
{
	return id->len > 1 && id->data[id->len - 1] == '.' ? id->len - 1u : id->len;
}

bool identity_equal(const struct identity *a, const struct identity *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case IDENTITY_FQDN:
	case IDENTITY_EMAIL:
		return name_len(a) == name_len(b) &&
		       strncasecmp((const char *)a->data, (const char *)b->data, name_len(a)) == 0;
	case IDENTITY_DN:
		return dn_equal(BYTES(a->data, a->len), BYTES(b->data, b->len));
	default:
		return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
	}
}

/* Text that a peer chose: one line, printable, and no doubt where it ends. */
static void add_escaped(struct text *t, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] > 0x20 && data[i] < 0x7f && data[i] != '\\' && data[i] != '"')
			text_add(t, "%c", data[i]);
		else
			text_add(t, "\\x%02x", data[i]);
	}
}

static bool printable(const struct identity *id)
{
	for (size_t i = 0; i < id->len; i++) {
		if (id->data[i] < 0x20 || id->data[i] > 0x7e)
			return false;
	}
	return id->len > 0;
}

static void add_hex(struct text *t, const struct identity *id)
{
	for (size_t i = 0; i < id->len; i++)
		text_add(t, "%02x", id->data[i]);
}

static void format_value(const struct identity *id, struct text *t)
{
	struct ip_address address;
	char buf[IDENTITY_TEXT];

	switch (id->type) {
	case IDENTITY_NONE: text_add(t, "%%any"); break;
	case IDENTITY_NULL: text_add(t, "%%null"); break;
	case IDENTITY_IPV4:
	case IDENTITY_IPV6:
		address = ip_address_from_bytes(BYTES(id->data, id->len));
		text_add(t, "%s", ip_address_format(&address, buf));
		break;
	case IDENTITY_FQDN:
		text_add(t, "@");
		add_escaped(t, id->data, id->len);
		break;
	case IDENTITY_EMAIL:
		if (!memchr(id->data + (id->len > 0), '@', id->len - (id->len > 0)))
			text_add(t, "@@");
		add_escaped(t, id->data, id->len);
		break;
	case IDENTITY_DN:
		text_add(t, "%s", dn_format(BYTES(id->data, id->len), buf, sizeof(buf)));
		break;
	case IDENTITY_KEY_ID:
		if (printable(id)) {
			text_add(t, "@[");
			for (size_t i = 0; i < id->len; i++)
				text_add(t, "%c", id->data[i]);
			text_add(t, "]");
		} else {
			text_add(t, "@#");
			add_hex(t, id);
		}
		break;
	default:
		text_add(t, "type %u: ", id->type);
		add_hex(t, id);
		break;
	}
}

const char *identity_format(const struct identity *id, char *buf, size_t len)
{
	struct text t = { 0 };

	format_value(id, &t);
	if (len > 0)
		snprintf(buf, len, "%s", text_str(&t));
	text_free(&t);
	return buf;
}

const char *identity_type_name(const struct identity *id)
{
	/* RFC 7296 §3.5, without the common "ID_". */
	switch (id->type) {
	case IDENTITY_NONE: return "NONE";
	case IDENTITY_IPV4: return "IPV4_ADDR";
	case IDENTITY_FQDN: return "FQDN";
	case IDENTITY_EMAIL: return "RFC822_ADDR";
	case IDENTITY_IPV6: return "IPV6_ADDR";
	case IDENTITY_DN: return "DER_ASN1_DN";
	case 10: return "DER_ASN1_GN";
	case IDENTITY_KEY_ID: return "KEY_ID";
	case 12: return "FC_NAME";
	case IDENTITY_NULL: return "NULL";
	default: return "unknown";
	}
}
