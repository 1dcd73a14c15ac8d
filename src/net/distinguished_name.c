/* Distinguished names; see distinguished_name.h. */
#include "net/distinguished_name.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509.h>

enum { ATTRIBUTE_MAX = 256 };

/* One `type=value`, both unescaped and terminated. */
struct attribute {
	char type[64];
	char value[ATTRIBUTE_MAX];
	size_t value_len;
	bool joined; /* by `+` to the one before it */
};

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

static const char *skip_spaces(const char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	return s;
}

static int hex_pair(const char *s)
{
	unsigned v;

	if (!isxdigit((unsigned char)s[0]) || !isxdigit((unsigned char)s[1]))
		return -1;
	return sscanf(s, "%2x", &v) == 1 ? (int)v : -1;
}

/* One character of a value, escapes undone; moves `*s` past it. False at the end of the value. */
static bool next_character(const char **s, char separator, bool *quoted, char *out)
{
	const char *p = *s;

	while (*p == '"') {
		*quoted = !*quoted;
		p++;
	}
	if (*p == '\0')
		return *s = p, false;
	if (*p == '\\' && p[1] != '\0') {
		int v = hex_pair(p + 1);

		*out = v >= 0 ? (char)v : p[1];
		*s = p + (v >= 0 ? 3 : 2);
		return true;
	}
	if (!*quoted && *p == ',' && p[1] == ',' && separator == ',')
		p++;
	else if (!*quoted && (*p == separator || *p == '+'))
		return *s = p, false;
	*out = *p;
	*s = p + 1;
	return true;
}

static const char *parse_attribute(const char *s, char separator, struct attribute *a, char *err,
				   size_t err_len)
{
	const char *equals = strchr(s, '=');
	bool quoted = false;
	size_t len, solid = 0;
	char c;

	len = equals ? (size_t)(equals - s) : 0;
	while (len > 0 && isspace((unsigned char)s[len - 1]))
		len--;
	if (len == 0 || len >= sizeof(a->type) || memchr(s, separator, len)) {
		fail(err, err_len, "'%s' in the DN is not TYPE=VALUE", s);
		return NULL;
	}
	memcpy(a->type, s, len);
	a->type[len] = '\0';
	s = skip_spaces(equals + 1);
	a->value_len = 0;
	for (;;) {
		const char *at = s;

		if (!next_character(&s, separator, &quoted, &c))
			break;
		if (a->value_len + 1 >= sizeof(a->value)) {
			fail(err, err_len, "the value of '%s' in the DN is too long", a->type);
			return NULL;
		}
		a->value[a->value_len++] = c;
		/* Spaces at the end count only if they were quoted or escaped. */
		if (!isspace((unsigned char)c) || quoted || *at == '\\')
			solid = a->value_len;
	}
	if (quoted) {
		fail(err, err_len, "the value of '%s' in the DN has no closing quote", a->type);
		return NULL;
	}
	a->value_len = solid;
	a->value[solid] = '\0';
	return s;
}

/* OpenSSL's number for a spelling; names that others use for e-mail are known too. */
static int attribute_nid(const char *type)
{
	static const struct {
		const char *name;
		int nid;
	} names[] = {
		{ "C", NID_countryName },	    { "ST", NID_stateOrProvinceName },
		{ "S", NID_stateOrProvinceName },   { "L", NID_localityName },
		{ "O", NID_organizationName },	    { "OU", NID_organizationalUnitName },
		{ "CN", NID_commonName },	    { "DC", NID_domainComponent },
		{ "E", NID_pkcs9_emailAddress },    { "Email", NID_pkcs9_emailAddress },
		{ "emailAddress", NID_pkcs9_emailAddress },
		{ "UID", NID_userId },		    { "G", NID_givenName },
		{ "serialNumber", NID_serialNumber },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcasecmp(type, names[i].name) == 0)
			return names[i].nid;
	}
	return OBJ_txt2nid(type);
}

static bool name_add(X509_NAME *name, const struct attribute *a, char *err, size_t err_len)
{
	int nid = attribute_nid(a->type);

	if (nid == NID_undef)
		return fail(err, err_len, "'%s' is not a type of attribute of a DN", a->type);
	if (a->value_len == 0)
		return fail(err, err_len, "the value of '%s' in the DN is empty", a->type);
	if (X509_NAME_add_entry_by_NID(name, nid, MBSTRING_UTF8,
				       (const unsigned char *)a->value, (int)a->value_len, -1,
				       a->joined ? -1 : 0) != 1) {
		ERR_clear_error();
		return fail(err, err_len, "'%s' is not a value that '%s' in a DN can have",
			    a->value, a->type);
	}
	return true;
}

static bool parse_into(const char *s, X509_NAME *name, char *err, size_t err_len)
{
	char separator = ',';
	struct attribute a = { .joined = false };

	s = skip_spaces(s);
	if (*s == '/') {
		separator = '/';
		s++;
	}
	while (*(s = skip_spaces(s)) != '\0') {
		s = parse_attribute(s, separator, &a, err, err_len);
		if (!s || !name_add(name, &a, err, err_len))
			return false;
		a.joined = *s == '+';
		if (*s != '\0' && *skip_spaces(s + 1) == '\0')
			return fail(err, err_len, "the DN ends with '%c'", *s);
		if (*s != '\0')
			s++;
	}
	return true;
}

bool dn_parse(const char *s, uint8_t *der, size_t max, size_t *len, char *err, size_t err_len)
{
	X509_NAME *name = X509_NAME_new();
	uint8_t *to = der;
	bool ok = false;
	int need;

	if (!name)
		return fail(err, err_len, "no memory");
	if (!parse_into(s, name, err, err_len))
		goto out;
	need = i2d_X509_NAME(name, NULL);
	if (need < 0 || (size_t)need > max || X509_NAME_entry_count(name) == 0) {
		fail(err, err_len, "the DN is empty or longer than %zu bytes of DER", max);
		goto out;
	}
	*len = (size_t)i2d_X509_NAME(name, &to);
	ok = true;
out:
	X509_NAME_free(name);
	return ok;
}

/* NULL unless all of `der` is one name. */
static X509_NAME *name_from_der(struct bytes der)
{
	const unsigned char *p = der.ptr;
	X509_NAME *name;

	if (der.len == 0 || der.len > 65535)
		return NULL;
	name = d2i_X509_NAME(NULL, &p, (long)der.len);
	if (name && p != der.ptr + der.len) {
		X509_NAME_free(name);
		name = NULL;
	}
	ERR_clear_error();
	return name;
}

bool dn_valid(struct bytes der)
{
	X509_NAME *name = name_from_der(der);

	X509_NAME_free(name);
	return name != NULL;
}

const char *dn_format(struct bytes der, char *buf, size_t len)
{
	const unsigned long flags = XN_FLAG_SEP_CPLUS_SPC | XN_FLAG_FN_SN | ASN1_STRFLGS_RFC2253;
	X509_NAME *name = name_from_der(der);
	BIO *bio = BIO_new(BIO_s_mem());
	size_t used = 0;
	int n;

	if (len == 0)
		goto out;
	buf[0] = '\0';
	if (name && bio && X509_NAME_print_ex(bio, name, 0, flags) >= 0) {
		n = BIO_read(bio, buf, (int)(len - 1));
		buf[n > 0 ? n : 0] = '\0';
		goto out;
	}
	for (size_t i = 0; i < der.len && used + 3 <= len; i++)
		used += (size_t)snprintf(buf + used, len - used, "%02x", der.ptr[i]);
out:
	ERR_clear_error();
	BIO_free(bio);
	X509_NAME_free(name);
	return buf;
}

bool dn_equal(struct bytes a, struct bytes b)
{
	X509_NAME *x = name_from_der(a);
	X509_NAME *y = name_from_der(b);
	bool equal;

	if (x && y)
		equal = X509_NAME_cmp(x, y) == 0;
	else
		equal = a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
	X509_NAME_free(x);
	X509_NAME_free(y);
	return equal;
}
