/*
 * Addresses, prefixes and endpoints of IPv4 and IPv6, and their text forms.
 */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/reader.h"

/** An IP address. `family` is AF_INET, AF_INET6 or AF_UNSPEC (no address; all zero). */
struct ip_address {
	uint8_t family;
	uint8_t bytes[16]; /* network order; IPv4 uses the first 4, the rest is zero */
};

/** An address and a UDP port (host order). */
struct ip_endpoint {
	struct ip_address address;
	uint16_t port;
};

/** An address with a prefix length; host bits are zero. */
struct ip_prefix {
	struct ip_address address;
	uint8_t length;
};

enum { IP_ADDRESS_TEXT = 46, IP_ENDPOINT_TEXT = 56, IP_PREFIX_TEXT = 50 };

/** 4 or 16, 0 for AF_UNSPEC. */
size_t ip_address_size(const struct ip_address *a);
/** From `len` network-order bytes (4 or 16); AF_UNSPEC otherwise. */
struct ip_address ip_address_from_bytes(struct bytes b);
struct bytes ip_address_bytes(const struct ip_address *a);
/** Numeric text only, no names. */
bool ip_address_parse(const char *s, struct ip_address *out);
/** Writes to `buf` of IP_ADDRESS_TEXT bytes and returns it; "<none>" for AF_UNSPEC. */
const char *ip_address_format(const struct ip_address *a, char *buf);
bool ip_address_equal(const struct ip_address *a, const struct ip_address *b);
/** Order by family, then bytes: <0, 0, >0. */
int ip_address_compare(const struct ip_address *a, const struct ip_address *b);
/** 0.0.0.0 or :: */
bool ip_address_is_any(const struct ip_address *a);

bool ip_endpoint_equal(const struct ip_endpoint *a, const struct ip_endpoint *b);
/** `192.0.2.1:500`, `[2001:db8::1]:500` into `buf` of IP_ENDPOINT_TEXT. */
const char *ip_endpoint_format(const struct ip_endpoint *e, char *buf);
bool ip_endpoint_from_sockaddr(const struct sockaddr *sa, struct ip_endpoint *out);
/** Fills `ss` and returns its length, 0 for AF_UNSPEC. */
socklen_t ip_endpoint_to_sockaddr(const struct ip_endpoint *e, struct sockaddr_storage *ss);

/**
 * `192.0.2.0/24` or a bare address (its full length). Host bits that are set are
 * cleared and told in `*host_bits` (may be NULL).
 */
bool ip_prefix_parse(const char *s, struct ip_prefix *out, bool *host_bits);
const char *ip_prefix_format(const struct ip_prefix *p, char *buf);
bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_address *a);
bool ip_prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b);
/** First and last address. */
void ip_prefix_range(const struct ip_prefix *p, struct ip_address *lo, struct ip_address *hi);
/** The prefix that is just the range lo..hi; false when the range is none. */
bool ip_prefix_from_range(const struct ip_address *lo, const struct ip_address *hi,
			  struct ip_prefix *out);

#endif
