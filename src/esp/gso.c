#include "esp/gso.h"

#include <netinet/in.h>

#include "esp/headers.h"

enum { EXTENSIONS_MAX = 8, TCP_HEADER_MIN = 20 };
enum { TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_CWR = 0x80 };

/*
 * Where TCP or UDP begins: 0 if the packet is no IP packet of exactly `len` bytes that has just
 * this, whole. A routing header that is still to be followed would change the pseudo-header.
 */
static size_t find_l4(const uint8_t *p, size_t len, uint8_t protocol)
{
	size_t at = IPV6_HEADER;
	uint8_t next;

	if (len >= IPV4_HEADER && p[0] >> 4 == 4) {
		at = (size_t)(p[0] & 15) * 4;
		if (at < IPV4_HEADER || at > len || load_be16(p + 2) != len)
			return 0;
		return p[9] == protocol && !(load_be16(p + 6) & 0x3fff) ? at : 0;
	}
	if (len < IPV6_HEADER || p[0] >> 4 != 6 || IPV6_HEADER + (size_t)load_be16(p + 4) != len)
		return 0;
	next = p[6];
	for (int i = 0; next != protocol; i++) {
		if (i == EXTENSIONS_MAX || len - at < 8)
			return 0;
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_DSTOPTS && (next != IPPROTO_ROUTING || p[at + 3] != 0))
			return 0;
		next = p[at];
		at += (size_t)p[at + 1] * 8 + 8;
		if (at > len)
			return 0;
	}
	return at;
}

static bool type_fits(const struct virtio_net_hdr *h, const uint8_t *p, size_t len, bool *tcp)
{
	*tcp = true;
	switch (h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return len && p[0] >> 4 == 4;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return len && p[0] >> 4 == 6;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		*tcp = false;
		return true;
	default:
		return false;
	}
}

/* Length of the headers up to the payload; 0 if they are not whole. */
static size_t header_len(const uint8_t *p, size_t len, size_t l4, bool tcp)
{
	size_t n = UDP_HEADER;

	if (len - l4 < (tcp ? (size_t)TCP_HEADER_MIN : UDP_HEADER))
		return 0;
	if (tcp) {
		n = (size_t)(p[l4 + 12] >> 4) * 4;
		if (n < TCP_HEADER_MIN)
			return 0;
	} else if (load_be16(p + l4 + 4) != len - l4) {
		return 0;
	}
	return n <= len - l4 && l4 + n <= GSO_HEADER_MAX ? l4 + n : 0;
}

/* What differs between the packets counts as zero. */
static void sum_headers(struct gso *g)
{
	uint8_t *l4 = g->head + g->l4;

	memcpy(g->head, g->packet, g->header);
	if (g->head[0] >> 4 == 4) {
		g->id = load_be16(g->head + 4);
		memset(g->head + 2, 0, 4);
		memset(g->head + 10, 0, 2);
		g->ip_sum = checksum_add(g->head, (size_t)(g->head[0] & 15) * 4, 0);
	}
	if (g->tcp) {
		g->seq = load_be32(l4 + 4);
		g->flags = l4[13];
		memset(l4 + 4, 0, 4);
		l4[13] = 0;
		memset(l4 + 16, 0, 2);
	} else {
		memset(l4 + 4, 0, 4);
	}
	g->l4_sum = checksum_pseudo(g->head, g->tcp ? IPPROTO_TCP : IPPROTO_UDP, 0);
	g->l4_sum = checksum_fold(checksum_add(l4, g->header - g->l4, g->l4_sum));
}

bool gso_open(struct gso *g, const struct virtio_net_hdr *h, uint8_t *packet, size_t len)
{
	size_t payload;

	g->count = g->done = 0;
	g->over = NULL;
	if (len > UINT16_MAX || h->gso_size == 0 || !type_fits(h, packet, len, &g->tcp))
		return false;
	g->l4 = find_l4(packet, len, g->tcp ? IPPROTO_TCP : IPPROTO_UDP);
	if (g->l4 == 0)
		return false;
	g->header = header_len(packet, len, g->l4, g->tcp);
	if (g->header == 0)
		return false;
	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM && (h->csum_start != g->l4 || h->csum_offset != (g->tcp ? 16 : 6)))
		return false;
	g->packet = packet;
	g->len = len;
	g->at = 0;
	g->size = h->gso_size;
	payload = len - g->header;
	g->count = payload ? (uint32_t)((payload + g->size - 1) / g->size) : 1;
	sum_headers(g);
	return true;
}

size_t gso_count(const struct gso *g)
{
	return g->count - g->done;
}

static void put_tcp(struct gso *g, const uint8_t *payload, size_t n)
{
	uint8_t *l4 = g->head + g->l4, flags = g->flags;
	uint32_t seq = g->seq + (uint32_t)g->at, sum = g->l4_sum;
	size_t l4_len = g->header - g->l4 + n;

	if (g->done + 1 < g->count)
		flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (g->done > 0)
		flags &= (uint8_t)~TCP_CWR; /* RFC 3168 §6.1.2: once */
	store_be32(l4 + 4, seq);
	l4[13] = flags;
	sum += (seq >> 16) + (seq & 0xffff) + flags + (uint32_t)l4_len;
	store_be16(l4 + 16, (uint16_t)~checksum_fold(checksum_add(payload, n, sum)));
}

static void put_udp(struct gso *g, const uint8_t *payload, size_t n)
{
	uint8_t *l4 = g->head + g->l4;
	uint32_t l4_len = (uint32_t)(UDP_HEADER + n);
	uint16_t sum;

	store_be16(l4 + 4, (uint16_t)l4_len);
	/* once in the pseudo-header and once as it stands there */
	sum = (uint16_t)~checksum_fold(checksum_add(payload, n, g->l4_sum + 2 * l4_len));
	store_be16(l4 + 6, sum ? sum : UINT16_MAX);
}

static void put_ip(struct gso *g, size_t total)
{
	uint16_t id = (uint16_t)(g->id + g->done);

	if (g->head[0] >> 4 == 6) {
		store_be16(g->head + 4, (uint16_t)(total - IPV6_HEADER));
		return;
	}
	store_be16(g->head + 2, (uint16_t)total);
	store_be16(g->head + 4, id);
	store_be16(g->head + 10, (uint16_t)~checksum_fold(g->ip_sum + (uint32_t)total + id));
}

bool gso_next(struct gso *g, uint8_t **packet, size_t *len)
{
	uint8_t *start;
	size_t n;

	if (g->over) {
		memcpy(g->over, g->tail, GSO_TAIL);
		g->over = NULL;
	}
	if (g->done == g->count)
		return false;
	start = g->packet + g->at;
	n = g->len - g->header - g->at;
	if (n > g->size)
		n = g->size;
	(g->tcp ? put_tcp : put_udp)(g, start + g->header, n);
	put_ip(g, g->header + n);
	memcpy(start, g->head, g->header);
	g->at += n;
	g->done++;
	*packet = start;
	*len = g->header + n;
	g->over = start + *len;
	memcpy(g->tail, g->over, GSO_TAIL);
	return true;
}

bool gso_checksum(const struct virtio_net_hdr *h, uint8_t *packet, size_t len)
{
	size_t start = h->csum_start, field = start + h->csum_offset;
	uint16_t sum;

	if (len < IPV4_HEADER || start < (packet[0] >> 4 == 6 ? IPV6_HEADER : IPV4_HEADER) || field + 2 > len)
		return false;
	/* the field holds the sum of the pseudo-header; -0 for 0, which in UDP says "none" */
	sum = (uint16_t)~checksum_fold(checksum_add(packet + start, len - start, 0));
	store_be16(packet + field, sum ? sum : UINT16_MAX);
	return true;
}
