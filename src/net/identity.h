/* Identities of IKE: RFC 7296 §3.5, with ipsec.conf's and ipsec.secrets' spellings. */
#ifndef NET_IDENTITY_H
#define NET_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/reader.h"
#include "net/address.h"

enum identity_type {
	IDENTITY_NONE = 0, /* not given, or %any: matches everything */
	IDENTITY_IPV4 = 1,
	IDENTITY_FQDN = 2,
	IDENTITY_EMAIL = 3, /* RFC 822 address */
	IDENTITY_IPV6 = 5,
	IDENTITY_DN = 9,    /* DER of an X.501 name */
	IDENTITY_KEY_ID = 11,
	IDENTITY_NULL = 13, /* RFC 7619 */
};

enum { IDENTITY_MAX = 256, IDENTITY_TEXT = 600 };

/** A value; `data` is what goes into the ID payload. */
struct identity {
	uint8_t type; /* enum identity_type, or another number that a peer sent */
	uint16_t len;
	uint8_t data[IDENTITY_MAX];
};

/**
 * `192.0.2.1`, `2001:db8::1`, `@name`, `user@name`, `@@user@name`, `@[keyid]`, `@#hex`,
 * `@~hex` (DER of a DN), `%any`, `%null`,
 * `C=JP, CN=x` (a DN). A bare name without `@` becomes FQDN here; who needs it resolved does
 * that first. False with a sentence in `err` when it is none of these.
 */
bool identity_parse(const char *s, struct identity *out, char *err, size_t err_len);
struct identity identity_from_address(const struct ip_address *a);
bool identity_from_wire(uint8_t type, struct bytes data, struct identity *out);
/** `pattern` is NONE, which matches everything, or the two are equal. */
bool identity_matches(const struct identity *pattern, const struct identity *id);
/** Same type and value; a DN by RFC 5280's rules; FQDN, EMAIL ignore case and a trailing dot. */
bool identity_equal(const struct identity *a, const struct identity *b);
/** `192.0.2.1`, `@name`, `@[keyid]`, `%any`; anything unprintable is escaped. `buf` of `len`. */
const char *identity_format(const struct identity *id, char *buf, size_t len);
/** `IPV4_ADDR`, `FQDN`, ... */
const char *identity_type_name(const struct identity *id);

#endif
