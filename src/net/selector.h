/*
 * Traffic selectors: RFC 7296 §2.9 and §3.13.1, RFC 4301 §4.4.1.1.
 *
 * A selector is a range of addresses, one protocol (0: any) and a range of
 * ports. OPAQUE ports (start 65535, end 0) stand for packets whose ports cannot
 * be seen. ICMP type and code take the place of the ports (type << 8 | code).
 */
#ifndef NET_SELECTOR_H
#define NET_SELECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/address.h"

struct traffic_selector {
	struct ip_address lo, hi; /* inclusive; the same family */
	uint16_t port_lo, port_hi;
	uint8_t protocol;         /* IP protocol number; 0: any */
};

enum { TS_LIST_MAX = 32, TS_TEXT = 160, IP_PROTOCOL_TEXT = 16 };

/** At most TS_LIST_MAX selectors; a value, copied freely. */
struct ts_list {
	size_t count;
	struct traffic_selector ts[TS_LIST_MAX];
};

/** All protocols and ports of `p`. */
struct traffic_selector ts_from_prefix(const struct ip_prefix *p);
bool ts_equal(const struct traffic_selector *a, const struct traffic_selector *b);
/** Everything `inner` covers is covered by `outer`. */
bool ts_contains(const struct traffic_selector *outer, const struct traffic_selector *inner);
/** What both cover; false when that is nothing. */
bool ts_intersect(const struct traffic_selector *a, const struct traffic_selector *b,
		  struct traffic_selector *out);
/** A packet's address, protocol and port are covered. */
bool ts_matches(const struct traffic_selector *ts, const struct ip_address *a, uint8_t protocol,
		uint16_t port);
/** lo <= hi, the same family, ports ordered or OPAQUE. */
bool ts_valid(const struct traffic_selector *ts);

bool ts_list_add(struct ts_list *list, const struct traffic_selector *ts);
bool ts_list_equal(const struct ts_list *a, const struct ts_list *b);
/**
 * Narrowing as responder (RFC 7296 §2.9): what `proposed` and `ours` have in
 * common, without duplicates and without members that others cover. Empty when nothing.
 */
void ts_list_narrow(const struct ts_list *proposed, const struct ts_list *ours,
		    struct ts_list *out);
/** Every member of `inner` is covered by a member of `outer`. */
bool ts_list_contains(const struct ts_list *outer, const struct ts_list *inner);

/** Split into prefixes (a range that is none gives several); returns how many, at most `max`. */
size_t ts_to_prefixes(const struct traffic_selector *ts, struct ip_prefix *out, size_t max);

/** `tcp`, `icmp`, ..., or the number, into `buf` of IP_PROTOCOL_TEXT bytes. */
const char *ip_protocol_format(uint8_t protocol, char *buf);

/**
 * `192.168.10.0/24`, `10.0.0.1-10.0.0.9`, `192.0.2.0/24/tcp/80`,
 * `192.0.2.0/24/icmp/8(0)`; `buf` of TS_TEXT bytes.
 */
const char *ts_format(const struct traffic_selector *ts, char *buf);
/** Comma separated; truncated to `len` with a trailing "…" if need be. */
const char *ts_list_format(const struct ts_list *list, char *buf, size_t len);

#endif
