/*
 * Headers of packets: what the data path reads and writes of IP, and ESP's trailer.
 * RFC 791, 8200, 4303 §2, 6040, 1624.
 *
 * Nothing here trusts a length that it has not compared with the bytes at hand.
 */
#ifndef ESP_HEADERS_H
#define ESP_HEADERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "esp/checksum.h"
#include "net/address.h"
#include "net/selector.h"

enum { IPV4_HEADER = 20, IPV6_HEADER = 40, UDP_HEADER = 8, ESP_HEADER = 8, OUTER_TTL = 64 };
enum { ECN_NOT_ECT = 0, ECN_ECT1 = 1, ECN_ECT0 = 2, ECN_CE = 3, ECN_MASK = 3 };

/** What policies and SAs are selected by, and what the outer header takes over. */
struct flow {
	struct ip_address src, dst;
	uint16_t sport, dport; /* ICMP: both type << 8 | code */
	uint8_t protocol;      /* upper layer; of an IPv6 packet the last header known */
	bool ports_known;      /* no: a later fragment, or a protocol without ports */
	bool fragment;         /* any fragment, also the first */
	bool dont_fragment;    /* IPv4's DF; always for IPv6 */
	uint8_t tos;           /* DSCP and ECN */
	uint16_t base_len;     /* IP header with IPv4's options, without IPv6's extensions */
	uint8_t base_next;     /* protocol (next header) field of the base header */
	uint32_t total_len;    /* as the header says: at most the length given */
};

/** Read the headers of an IP packet; false when it is none or is shorter than it says. */
bool flow_parse(const uint8_t *packet, size_t len, struct flow *out);

/** Address, protocol and port are covered; a later fragment only if the selector has all ports. */
bool selector_matches(const struct traffic_selector *ts, const struct ip_address *a,
		      uint8_t protocol, uint16_t port, bool port_known);

/** RFC 6040 §4.2, figure 4: ECN field of the packet to forward, -1: drop it. */
int ecn_decapsulate(uint8_t inner, uint8_t outer);

/** Set DSCP and ECN of a packet that flow_parse() took; keeps IPv4's checksum right. */
void ip_set_tos(uint8_t *packet, uint8_t tos);

struct ip_header_fields {
	struct ip_address src, dst;
	uint8_t protocol;
	uint8_t tos;
	bool dont_fragment;
	uint16_t payload_len;
};
/** Write an IPv4 or IPv6 header (of src's family) and return its length. */
size_t ip_header_put(uint8_t *out, const struct ip_header_fields *f);

/**
 * RFC 4303 §2.4-2.7: behind `len` bytes at `text` put `tfc` zeros, padding 1, 2, 3, ... to a
 * multiple of `align`, pad length and next header. Returns the new length.
 */
size_t esp_trailer_put(uint8_t *text, size_t len, size_t tfc, size_t align, uint8_t next_header);
/** Length with the trailer, as esp_trailer_put() makes it. */
size_t esp_trailer_len(size_t len, size_t align);
/** Take trailer off: payload's length in `*len`; false if the padding is not what it should be. */
bool esp_trailer_take(const uint8_t *text, size_t *len, uint8_t *next_header);

static inline uint16_t load_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t load_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void store_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void store_be32(uint8_t *p, uint32_t v)
{
	store_be16(p, (uint16_t)(v >> 16));
	store_be16(p + 2, (uint16_t)v);
}

static inline void store_be64(uint8_t *p, uint64_t v)
{
	store_be32(p, (uint32_t)(v >> 32));
	store_be32(p + 4, (uint32_t)v);
}

#endif
