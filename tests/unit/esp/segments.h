/*
 * TCP and UDP packets made, and super-packets cut, in the plainest way: what gso.c and gro.c are
 * held against. Shares no code with them; a checksum is a loop over words.
 */
#ifndef TESTS_UNIT_ESP_SEGMENTS_H
#define TESTS_UNIT_ESP_SEGMENTS_H

#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32, ECE = 64, CWR = 128 };

/** What a packet is made of; zeros are ordinary. */
struct recipe {
	bool v6, udp;
	bool df;
	uint8_t tos, ttl, flags;
	uint8_t ip_options, tcp_options; /* bytes, multiples of 4 (of 8: IPv6's extensions) */
	uint8_t host;                    /* of the source address */
	uint16_t sport, id, window;
	uint32_t label, seq, ack;
	uint8_t fill;                    /* the payload's first byte; each next one is one more */
	size_t payload;
};

static inline void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static inline uint32_t get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t get32(const uint8_t *p)
{
	return get16(p) << 16 | get16(p + 2);
}

static inline uint32_t plain_sum(const uint8_t *p, size_t len, uint32_t sum)
{
	uint64_t s = sum;

	for (; len >= 2; p += 2, len -= 2)
		s += get16(p);
	if (len)
		s += (uint32_t)p[0] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint32_t)s;
}

/** Where the upper layer begins. */
static inline size_t upper_at(const uint8_t *p, uint8_t *protocol)
{
	size_t at = 40;

	if (p[0] >> 4 == 4) {
		*protocol = p[9];
		return (size_t)(p[0] & 15) * 4;
	}
	for (*protocol = p[6]; *protocol == IPPROTO_HOPOPTS || *protocol == IPPROTO_DSTOPTS;) {
		*protocol = p[at];
		at += (size_t)p[at + 1] * 8 + 8;
	}
	return at;
}

static inline uint32_t pseudo_sum(const uint8_t *p, uint8_t protocol, size_t upper_len)
{
	return p[0] >> 4 == 4 ? plain_sum(p + 12, 8, protocol + (uint32_t)upper_len) :
				plain_sum(p + 8, 32, protocol + (uint32_t)upper_len);
}

/** Lengths and checksums of a packet whose other fields stand. */
static inline void complete(uint8_t *p, size_t len)
{
	uint8_t protocol;
	size_t l4 = upper_at(p, &protocol), field = protocol == IPPROTO_TCP ? 16 : 6;
	uint32_t sum;

	if (p[0] >> 4 == 4) {
		put16(p + 2, (uint32_t)len);
		put16(p + 10, 0);
		put16(p + 10, ~plain_sum(p, l4, 0));
	} else {
		put16(p + 4, (uint32_t)len - 40);
	}
	if (protocol == IPPROTO_UDP)
		put16(p + l4 + 4, (uint32_t)(len - l4));
	put16(p + l4 + field, 0);
	sum = ~plain_sum(p + l4, len - l4, pseudo_sum(p, protocol, len - l4)) & 0xffff;
	put16(p + l4 + field, protocol == IPPROTO_UDP && sum == 0 ? 0xffff : sum);
}

static inline size_t make_ip(uint8_t *p, const struct recipe *r, uint8_t protocol)
{
	if (!r->v6) {
		memset(p, 0, 20);
		memset(p + 20, 1, r->ip_options); /* no operation */
		p[0] = (uint8_t)(0x45 + r->ip_options / 4);
		p[1] = r->tos;
		put16(p + 4, r->id);
		p[6] = r->df ? 0x40 : 0;
		p[8] = r->ttl ? r->ttl : 64;
		p[9] = protocol;
		memcpy(p + 12, (const uint8_t[]){ 10, 1, 0, r->host, 10, 2, 0, 1 }, 8);
		return 20u + r->ip_options;
	}
	memset(p, 0, 40u + r->ip_options);
	put32(p, 6u << 28 | (uint32_t)r->tos << 20 | r->label);
	p[6] = r->ip_options ? IPPROTO_HOPOPTS : protocol;
	p[7] = r->ttl ? r->ttl : 64;
	memcpy(p + 8, (const uint8_t[]){ 0x20, 1, 0x0d, 0xb8 }, 4);
	memcpy(p + 24, p + 8, 4);
	p[23] = r->host;
	p[39] = 2;
	for (size_t at = 40; at < 40u + r->ip_options; at += 8)
		put32(p + at, (uint32_t)(at + 8 < 40u + r->ip_options ? IPPROTO_DSTOPTS : protocol) << 24 | 0x0104);
	return 40u + r->ip_options;
}

/** Write the headers, without lengths and checksums, and return their length. */
static inline size_t make_headers(uint8_t *p, const struct recipe *r)
{
	size_t at = make_ip(p, r, r->udp ? IPPROTO_UDP : IPPROTO_TCP);

	put16(p + at, r->sport ? r->sport : 1000);
	put16(p + at + 2, 2000);
	if (!r->udp) {
		put32(p + at + 4, r->seq);
		put32(p + at + 8, r->ack);
		p[at + 12] = (uint8_t)((20 + r->tcp_options) / 4 << 4);
		p[at + 13] = r->flags ? r->flags : ACK;
		put16(p + at + 14, r->window ? r->window : 500);
		put32(p + at + 16, 0);
		for (size_t i = 0; i < r->tcp_options; i++)
			p[at + 20 + i] = i < 2 ? 1 : (uint8_t)(r->tcp_options - i);
	}
	return at + (r->udp ? 8 : 20u + r->tcp_options);
}

/** Write a whole packet and return its length. */
static inline size_t make(uint8_t *p, const struct recipe *r)
{
	size_t at = make_headers(p, r);

	for (size_t i = 0; i < r->payload; i++)
		p[at + i] = (uint8_t)(r->fill + i);
	complete(p, at + r->payload);
	return at + r->payload;
}

static inline bool all_right(const uint8_t *p, size_t len)
{
	uint8_t protocol;
	size_t l4 = upper_at(p, &protocol);

	if (p[0] >> 4 == 4 && plain_sum(p, l4, 0) != 0xffff)
		return false;
	return plain_sum(p + l4, len - l4, pseudo_sum(p, protocol, len - l4)) == 0xffff;
}

/** As the kernel gives a super-packet: the sum of the pseudo-header in the checksum's place. */
static inline struct virtio_net_hdr make_super(uint8_t *p, size_t len, uint16_t size)
{
	uint8_t protocol;
	size_t l4 = upper_at(p, &protocol);
	struct virtio_net_hdr h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_size = size, .csum_start = (uint16_t)l4 };

	h.csum_offset = protocol == IPPROTO_TCP ? 16 : 6;
	h.gso_type = protocol == IPPROTO_UDP ? 5 : p[0] >> 4 == 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
	put16(p + l4 + h.csum_offset, pseudo_sum(p, protocol, len - l4));
	return h;
}

/** Packet `i` of the super-packet; false behind the last. `out` has room for one. */
static inline bool cut(const uint8_t *p, size_t len, uint16_t size, size_t i, uint8_t *out, size_t *out_len)
{
	uint8_t protocol;
	size_t l4 = upper_at(p, &protocol);
	size_t header = l4 + (protocol == IPPROTO_TCP ? (size_t)(p[l4 + 12] >> 4) * 4 : 8);
	size_t from = header + i * size, n;

	if (i > 0 && from >= len)
		return false;
	n = len - from < size ? len - from : size;
	memcpy(out, p, header);
	memcpy(out + header, p + from, n);
	if (p[0] >> 4 == 4)
		put16(out + 4, get16(p + 4) + (uint32_t)i);
	if (protocol == IPPROTO_TCP) {
		put32(out + l4 + 4, get32(p + l4 + 4) + (uint32_t)(i * size));
		if (from + n < len)
			out[l4 + 13] &= (uint8_t) ~(FIN | PSH);
		if (i > 0)
			out[l4 + 13] &= (uint8_t)~CWR;
	}
	complete(out, header + n);
	*out_len = header + n;
	return true;
}

#endif
