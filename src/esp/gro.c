#include "esp/gro.h"

#include <netinet/in.h>

#include "esp/headers.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

enum { TCP_HEADER_MIN = 20, TOTAL_MAX = 65535 };
enum { TCP_PSH = 0x08, TCP_ACK = 0x10 };

/* What a packet is to the order of the flows. */
enum kind {
	KIND_FLOW,    /* TCP or UDP, well-formed, right behind the IP header */
	KIND_UNCLEAR, /* may belong to any flow: fragments, options, extension headers, lies */
	KIND_OTHER,   /* to none */
};

struct parsed {
	uint8_t *p;
	size_t len, l4, header;
	bool tcp;
};

/* Compared for equality only, so the order of the bytes does not matter. */
static uint64_t word64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t word32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint16_t word16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static enum kind parse_l4(struct parsed *x, uint8_t protocol)
{
	const uint8_t *t = x->p + x->l4;
	size_t have = x->len - x->l4, n = UDP_HEADER;

	x->tcp = protocol == IPPROTO_TCP;
	if (x->tcp) {
		if (have < TCP_HEADER_MIN)
			return KIND_UNCLEAR;
		n = (size_t)(t[12] >> 4) * 4;
		if (n < TCP_HEADER_MIN || n > have)
			return KIND_UNCLEAR;
	} else if (have < UDP_HEADER || load_be16(t + 4) != have) {
		return KIND_UNCLEAR;
	}
	x->header = x->l4 + n;
	return KIND_FLOW;
}

static enum kind parse(struct parsed *x, uint8_t *p, size_t len)
{
	x->p = p;
	x->len = len;
	if (len >= IPV4_HEADER && p[0] >> 4 == 4) {
		if (p[9] != IPPROTO_TCP && p[9] != IPPROTO_UDP)
			return KIND_OTHER;
		x->l4 = IPV4_HEADER;
		if (p[0] != 0x45 || load_be16(p + 2) != len || load_be16(p + 6) & 0x3fff)
			return KIND_UNCLEAR;
		return parse_l4(x, p[9]);
	}
	if (len >= IPV6_HEADER && p[0] >> 4 == 6) {
		x->l4 = IPV6_HEADER;
		if (IPV6_HEADER + (size_t)load_be16(p + 4) != len)
			return KIND_UNCLEAR;
		if (p[6] == IPPROTO_TCP || p[6] == IPPROTO_UDP)
			return parse_l4(x, p[6]);
		return p[6] == IPPROTO_ICMPV6 ? KIND_OTHER : KIND_UNCLEAR;
	}
	return KIND_UNCLEAR;
}

static bool same_flow(const struct gro_item *it, const struct parsed *x)
{
	const uint8_t *a = it->head, *b = x->p;

	if (it->l4 != x->l4 || word32(a + it->l4) != word32(b + it->l4))
		return false;
	if (it->l4 == IPV4_HEADER)
		return word64(a + 12) == word64(b + 12) && a[9] == b[9];
	return word64(a + 8) == word64(b + 8) && word64(a + 16) == word64(b + 16) &&
	       word64(a + 24) == word64(b + 24) && word64(a + 32) == word64(b + 32) && a[6] == b[6];
}

/* Ports and the ends of the addresses. */
static uint32_t key_of(const struct parsed *x)
{
	return word32(x->p + x->l4) * 0x9e3779b1 + word32(x->p + x->l4 - 4) * 0x85ebca6b + word32(x->p + x->l4 - 20 + 12);
}

static struct gro_item *find(struct gro *g, const struct parsed *x)
{
	uint32_t key = key_of(x);

	if (g->used && g->key[g->last] == key && same_flow(&g->items[g->last], x))
		return &g->items[g->last];
	for (uint32_t i = 0; i < g->used; i++)
		if (g->key[i] == key && same_flow(&g->items[i], x)) {
			g->last = i;
			return &g->items[i];
		}
	return NULL;
}

static bool checksums_right(const struct parsed *x)
{
	const uint8_t *t = x->p + x->l4;
	size_t n = x->len - x->l4;
	uint32_t sum;

	if (x->l4 == IPV4_HEADER && checksum_fold(checksum_words(x->p, IPV4_HEADER, 0)) != 0xffff)
		return false;
	if (!x->tcp && word16(t + 6) == 0) /* there is none: nothing vouches for the payload */
		return false;
	sum = checksum_pseudo(x->p, x->tcp ? IPPROTO_TCP : IPPROTO_UDP, n);
	return checksum_fold(checksum_add(t, n, sum)) == 0xffff;
}

static void write_alone(struct gro *g, uint8_t *p, size_t len)
{
	struct virtio_net_hdr none = { 0 };
	struct iovec iov[2] = { { &none, sizeof(none) }, { p, len } };

	g->write(g->context, iov, 2, 1, len);
}

/* The first packet's headers become the super-packet's. */
static void finish(struct gro_item *it)
{
	uint8_t *p = it->iov[1].iov_base, *t = p + it->l4;
	bool v4 = it->l4 == IPV4_HEADER, tcp = p[v4 ? 9 : 6] == IPPROTO_TCP;
	uint32_t l4_len = it->total - it->l4;
	size_t field = tcp ? 16 : 6;

	it->vnet = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .hdr_len = it->header, .gso_size = it->size,
		.csum_start = it->l4, .csum_offset = (uint16_t)field,
	};
	it->vnet.gso_type = !tcp ? VIRTIO_NET_HDR_GSO_UDP_L4 :
			    v4	 ? VIRTIO_NET_HDR_GSO_TCPV4 :
				   VIRTIO_NET_HDR_GSO_TCPV6;
	if (v4) {
		store_be16(p + 2, (uint16_t)it->total);
		store_be16(p + 10, 0);
		store_be16(p + 10, (uint16_t)~checksum_fold(checksum_words(p, IPV4_HEADER, 0)));
	} else {
		store_be16(p + 4, (uint16_t)l4_len);
	}
	if (!tcp)
		store_be16(t + 4, (uint16_t)l4_len);
	/* CHECKSUM_PARTIAL: the pseudo-header's sum stands where the checksum will be */
	store_be16(t + field, checksum_fold(checksum_pseudo(p, tcp ? IPPROTO_TCP : IPPROTO_UDP, l4_len)));
}

static void item_write(struct gro *g, struct gro_item *it)
{
	if (it->count == 0)
		return;
	if (it->count == 1)
		memset(&it->vnet, 0, sizeof(it->vnet));
	else
		finish(it);
	g->write(g->context, it->iov, 1 + it->count, it->count, it->total);
	it->count = 0;
}

static void write_all(struct gro *g)
{
	for (uint32_t i = 0; i < g->used; i++)
		item_write(g, &g->items[i]);
}

/* Could packets follow in the same super-packet? */
static bool mergeable(const struct gro *g, const struct parsed *x)
{
	const uint8_t *t = x->p + x->l4;

	if (x->len == x->header)
		return false;
	if (!x->tcp)
		return g->udp;
	return g->tcp && (load_be16(t + 12) & 0x0fff & ~TCP_PSH) == TCP_ACK;
}

/* TCP headers of `n` bytes: ACK; header length, flags and window; urgent pointer; options. */
static bool tcp_same_head(const uint8_t *a, const uint8_t *b, size_t n)
{
	static const uint8_t psh[4] = { 0, TCP_PSH };

	if (word32(a + 8) != word32(b + 8) || ((word32(a + 12) ^ word32(b + 12)) & ~word32(psh)) != 0 ||
	    word16(a + 18) != word16(b + 18))
		return false;
	for (size_t i = TCP_HEADER_MIN; i < n; i += 4)
		if (word32(a + i) != word32(b + i))
			return false;
	return true;
}

/* The packet continues what the item has, as if one packet had been cut. */
static bool continues(const struct gro_item *it, const struct parsed *x)
{
	const uint8_t *a = it->head, *b = x->p;
	size_t n = x->len - x->header;

	if (it->count == 0 || it->count == GRO_SEGMENTS || n > it->size || it->total + n > TOTAL_MAX)
		return false;
	if (it->l4 == IPV4_HEADER) {
		/* TOS; fragment field, TTL, protocol */
		if (word16(a) != word16(b) || word32(a + 6) != word32(b + 6))
			return false;
		/* RFC 6864 §4: an ID has a meaning unless DF is set */
		if (!(b[6] & 0x40) && load_be16(b + 4) != it->next_id)
			return false;
	} else if (word32(a) != word32(b) || word16(a + 6) != word16(b + 6)) {
		return false;
	}
	a += it->l4;
	b += it->l4;
	if (!x->tcp)
		return true;
	return load_be32(b + 4) == it->next_seq && tcp_same_head(a, b, it->header - it->l4);
}

static void item_begin(struct gro_item *it, const struct parsed *x)
{
	size_t n = x->len - x->header;

	memcpy(it->head, x->p, x->header);
	it->l4 = (uint8_t)x->l4;
	it->header = (uint16_t)x->header;
	it->size = (uint16_t)n;
	it->count = 1;
	it->verified = false;
	it->next_id = (uint16_t)(load_be16(x->p + 4) + 1);
	it->next_seq = x->tcp ? load_be32(x->p + x->l4 + 4) + (uint32_t)n : 0;
	it->total = (uint32_t)x->len;
	it->iov[0] = (struct iovec){ &it->vnet, sizeof(it->vnet) };
	it->iov[1] = (struct iovec){ x->p, x->len };
}

static void item_append(struct gro_item *it, const struct parsed *x)
{
	size_t n = x->len - x->header;

	it->count++;
	it->iov[it->count] = (struct iovec){ x->p + x->header, n };
	it->total += (uint32_t)n;
	it->next_seq += (uint32_t)n;
	it->next_id++;
}

static bool pushes(const struct parsed *x)
{
	return x->tcp && x->p[x->l4 + 13] & TCP_PSH;
}

/* The first packet's checksums are looked at when a second comes: most have none to follow. */
static bool first_right(struct gro_item *it)
{
	struct parsed first = { it->iov[1].iov_base, it->iov[1].iov_len, it->l4, it->header, false };

	if (!it->verified) {
		first.tcp = first.p[it->l4 == IPV4_HEADER ? 9 : 6] == IPPROTO_TCP;
		it->verified = checksums_right(&first);
	}
	return it->verified;
}

/* A packet of the item's flow. */
static void take(struct gro *g, struct gro_item *it, const struct parsed *x)
{
	if (!mergeable(g, x)) {
		item_write(g, it);
		write_alone(g, x->p, x->len);
		return;
	}
	if (continues(it, x) && first_right(it)) {
		if (!checksums_right(x)) {
			item_write(g, it);
			write_alone(g, x->p, x->len);
			return;
		}
		item_append(it, x);
		if (pushes(x))
			((uint8_t *)it->iov[1].iov_base)[it->l4 + 13] |= TCP_PSH;
		if (pushes(x) || x->len - x->header < it->size)
			item_write(g, it);
		return;
	}
	item_write(g, it);
	item_begin(it, x);
	if (pushes(x))
		item_write(g, it);
}

static struct gro_item *new_item(struct gro *g, const struct parsed *x)
{
	struct gro_item *it;

	if (g->used < GRO_ITEMS) {
		g->last = g->used++;
	} else {
		g->last = g->victim;
		g->victim = (g->victim + 1) % GRO_ITEMS;
		item_write(g, &g->items[g->last]);
	}
	g->key[g->last] = key_of(x);
	it = &g->items[g->last];
	it->count = 0;
	it->l4 = (uint8_t)x->l4;
	memcpy(it->head, x->p, x->header);
	return it;
}

void gro_init(struct gro *g, gro_write write, void *context, bool tcp, bool udp)
{
	*g = (struct gro){ .write = write, .context = context, .tcp = tcp, .udp = udp };
}

bool gro_continue(struct gro *g, uint8_t *packet, size_t len, const void *tag)
{
	struct gro_item *it;
	struct parsed x;

	if (g->used == 0 || parse(&x, packet, len) != KIND_FLOW)
		return false;
	it = find(g, &x);
	if (!it || it->tag != tag)
		return false;
	take(g, it, &x);
	return true;
}

void gro_add(struct gro *g, uint8_t *packet, size_t len, const void *tag)
{
	struct gro_item *it;
	struct parsed x;

	switch (parse(&x, packet, len)) {
	case KIND_FLOW:
		it = find(g, &x);
		if (!it)
			it = new_item(g, &x);
		it->tag = tag;
		take(g, it, &x);
		return;
	case KIND_UNCLEAR:
		write_all(g);
		break;
	case KIND_OTHER:
		break;
	}
	write_alone(g, packet, len);
}

void gro_flush(struct gro *g)
{
	write_all(g);
	g->used = g->last = g->victim = 0;
}
