/*
 * Packets merged: RFC 9293, 768, 3168, 6864. What is written is cut again the plain way, and has
 * to be what came, flow by flow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "esp/gro.h"
#include "tests/unit/esp/segments.h"

enum { IN_MAX = 400, BYTES = 2100, SUPER = 65535 };

/* One batch: what came, and what was written of it. */
struct rig {
	struct gro g;
	uint8_t in[IN_MAX][BYTES], was[IN_MAX][BYTES];
	size_t len[IN_MAX], count;
	bool seen[IN_MAX];
	char writes[4 * IN_MAX]; /* packets of each, in order */
	struct virtio_net_hdr vnet;  /* of the last */
	uint8_t super[SUPER];
	size_t super_len, taken;
};

static struct rig *rig;

/* As far as the tests tell flows apart: family, protocol, source address and port. */
static uint32_t flow_of(const uint8_t *p)
{
	uint8_t protocol;
	size_t l4 = upper_at(p, &protocol);

	return (uint32_t)p[p[0] >> 4 == 4 ? 15 : 23] << 24 | (uint32_t)(p[0] >> 4 == 6) << 23 | (uint32_t)protocol << 16 | get16(p + l4);
}

/* RFC 6864: with DF an ID means nothing. */
static void forget_id(uint8_t *p)
{
	if (p[0] >> 4 == 4 && p[6] & 0x40) {
		put16(p + 4, 0);
		put16(p + 10, 0);
	}
}

static void next_of_its_flow(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < rig->count; i++) {
		uint8_t was[BYTES];

		if (rig->seen[i] || flow_of(rig->was[i]) != flow_of(p))
			continue;
		rig->seen[i] = true;
		rig->taken++;
		memcpy(was, rig->was[i], rig->len[i]);
		forget_id(was);
		forget_id(p);
		assert_int_equal(len, rig->len[i]);
		assert_memory_equal(p, was, len);
		return;
	}
	fail_msg("a packet that did not come");
}

static void check_merged(const struct virtio_net_hdr *h, const uint8_t *p, size_t len, size_t packets)
{
	uint8_t protocol, out[BYTES];
	size_t l4 = upper_at(p, &protocol), n, i = 0;
	bool v4 = p[0] >> 4 == 4, tcp = protocol == IPPROTO_TCP;

	assert_int_equal(h->flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(h->gso_type, tcp ? v4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6 : 5);
	assert_int_equal(h->csum_start, l4);
	assert_int_equal(h->csum_offset, tcp ? 16 : 6);
	assert_int_equal(h->hdr_len, l4 + (tcp ? (size_t)(p[l4 + 12] >> 4) * 4 : 8));
	assert_int_equal(len, v4 ? get16(p + 2) : 40 + get16(p + 4));
	assert_true(tcp || get16(p + l4 + 4) == len - l4);
	assert_true(!v4 || plain_sum(p, 20, 0) == 0xffff);
	assert_int_equal(get16(p + l4 + h->csum_offset), pseudo_sum(p, protocol, len - l4));
	for (; cut(p, len, h->gso_size, i, out, &n); i++)
		next_of_its_flow(out, n);
	assert_int_equal(i, packets);
}

static void on_write(void *context, const struct iovec *iov, int count, size_t packets, size_t bytes)
{
	static const struct virtio_net_hdr none;
	struct rig *r = context;
	char *end = r->writes + strlen(r->writes);

	assert_int_equal(iov[0].iov_len, sizeof(r->vnet));
	memcpy(&r->vnet, iov[0].iov_base, sizeof(r->vnet));
	assert_in_range(count, 2, 1 + GRO_SEGMENTS);
	r->super_len = 0;
	for (int i = 1; i < count; i++) {
		assert_true(r->super_len + iov[i].iov_len <= SUPER);
		memcpy(r->super + r->super_len, iov[i].iov_base, iov[i].iov_len);
		r->super_len += iov[i].iov_len;
	}
	assert_int_equal(r->super_len, bytes);
	snprintf(end, 8, "%s%zu", end == r->writes ? "" : " ", packets);
	if (packets > 1) {
		assert_int_equal(count, 1 + packets);
		check_merged(&r->vnet, r->super, bytes, packets);
	} else {
		assert_int_equal(count, 2);
		assert_memory_equal(&r->vnet, &none, sizeof(none));
		next_of_its_flow(r->super, bytes);
	}
}

static void begin(bool tcp, bool udp)
{
	rig = calloc(1, sizeof(*rig));
	assert_non_null(rig);
	gro_init(&rig->g, on_write, rig, tcp, udp);
}

static const int tag_a, tag_b;

static void add(uint8_t *p, size_t len)
{
	assert_in_range(rig->count, 0, IN_MAX - 1);
	memcpy(rig->was[rig->count], p, len);
	rig->len[rig->count++] = len;
	if (!gro_continue(&rig->g, p, len, &tag_a))
		gro_add(&rig->g, p, len, &tag_a);
}

static void add_made(const struct recipe *r)
{
	uint8_t *p = rig->in[rig->count];

	add(p, make(p, r));
}

static void end(const char *name, const char *writes)
{
	gro_flush(&rig->g);
	if (strcmp(rig->writes, writes) != 0)
		fail_msg("%s: written %s, not %s", name, rig->writes, writes);
	assert_int_equal(rig->taken, rig->count);
	gro_flush(&rig->g); /* nothing is left */
	assert_string_equal(rig->writes, writes);
	free(rig);
}

/* The nth of packets with 100 bytes each */
#define NTH(n) .seq = 0xffffff00u + 100 * (n), .id = (uint16_t)(0xfffe + (n)), .fill = (uint8_t)(31 * (n))
#define TCP(n) { NTH(n), .payload = 100 }
#define UDP(n) { .udp = true, NTH(n), .payload = 100 }
#define TCP6(n) { .v6 = true, NTH(n), .payload = 100 }
#define UDP6(n) { .v6 = true, .udp = true, NTH(n), .payload = 100 }

static const struct row {
	const char *name;
	struct recipe packets[5];
	size_t count;
	const char *writes;
} rows[] = {
	{ "one", { TCP(0) }, 1, "1" },
	{ "TCP over IPv4", { TCP(0), TCP(1), TCP(2), TCP(3), TCP(4) }, 5, "5" },
	{ "TCP over IPv6", { TCP6(0), TCP6(1), TCP6(2) }, 3, "3" },
	{ "UDP over IPv4", { UDP(0), UDP(1), UDP(2) }, 3, "3" },
	{ "UDP over IPv6", { UDP6(0), UDP6(1), UDP6(2) }, 3, "3" },
	/* what ends a super-packet and belongs to it */
	{ "PSH closes", { TCP(0), { NTH(1), .payload = 100, .flags = ACK | PSH }, TCP(2), TCP(3) }, 4, "2 2" },
	{ "PSH first", { { NTH(0), .payload = 100, .flags = ACK | PSH }, TCP(1), TCP(2) }, 3, "1 2" },
	{ "a short one closes", { TCP(0), { NTH(1), .payload = 99 }, { .seq = 0xffffffc7, .payload = 99 } }, 3, "2 1" },
	{ "a short one of UDP closes", { UDP(0), { .udp = true, NTH(1), .payload = 99 }, UDP(2), UDP(3) }, 4, "2 2" },
	{ "a longer one begins anew", { TCP(0), { NTH(1), .payload = 101 }, { .seq = 0xffffffc9, .payload = 101 } }, 3, "1 2" },
	/* what has to be the same */
	{ "gap in the IDs", { TCP(0), TCP(2), TCP(3) }, 3, "1 2" },
	{ "gap", { TCP6(0), TCP6(2), TCP6(3) }, 3, "1 2" },
	{ "overlap", { TCP6(0), { .v6 = true, .seq = 0xffffff63, .payload = 100 } }, 2, "1 1" },
	{ "twice the same", { TCP(0), TCP(0) }, 2, "1 1" },
	{ "backwards", { TCP(2), TCP(1), TCP(0) }, 3, "1 1 1" },
	{ "ACK", { TCP(0), { NTH(1), .payload = 100, .ack = 1 } }, 2, "1 1" },
	{ "window", { TCP(0), { NTH(1), .payload = 100, .window = 501 } }, 2, "1 1" },
	{ "TOS", { TCP(0), { NTH(1), .payload = 100, .tos = 4 } }, 2, "1 1" },
	{ "congestion was met", { { NTH(0), .payload = 100, .tos = 2 }, { NTH(1), .payload = 100, .tos = 3 } }, 2, "1 1" },
	{ "TTL", { TCP(0), { NTH(1), .payload = 100, .ttl = 63 } }, 2, "1 1" },
	{ "DF", { TCP(0), { NTH(1), .payload = 100, .df = true } }, 2, "1 1" },
	{ "ID without DF", { TCP(0), { .seq = 0xffffff64, .payload = 100, .id = 0xfffe } }, 2, "1 1" },
	{ "ID with DF", { { NTH(0), .payload = 100, .df = true }, { .seq = 0xffffff64, .payload = 100, .df = true } }, 2, "2" },
	{ "ID without DF, UDP", { UDP(0), { .udp = true, .payload = 100, .id = 0xfffe } }, 2, "1 1" },
	{ "traffic class", { TCP6(0), { .v6 = true, NTH(1), .payload = 100, .tos = 1 } }, 2, "1 1" },
	{ "flow label", { TCP6(0), { .v6 = true, NTH(1), .payload = 100, .label = 1 } }, 2, "1 1" },
	{ "hop limit", { TCP6(0), { .v6 = true, NTH(1), .payload = 100, .ttl = 65 } }, 2, "1 1" },
	{ "options there and not",
	  { { NTH(0), .payload = 100, .tcp_options = 12 }, TCP(1), { NTH(2), .payload = 100, .tcp_options = 12 } }, 3, "1 1 1" },
	{ "the same options", { { NTH(0), .payload = 100, .tcp_options = 40 }, { NTH(1), .payload = 100, .tcp_options = 40 } }, 2, "2" },
	/* what is never merged, and ends what its flow has */
	{ "FIN", { TCP(0), TCP(1), { NTH(2), .payload = 100, .flags = ACK | FIN }, TCP(3) }, 4, "2 1 1" },
	{ "SYN", { TCP(0), TCP(1), { NTH(2), .payload = 100, .flags = SYN } }, 3, "2 1" },
	{ "RST", { TCP(0), TCP(1), { NTH(2), .flags = RST | ACK } }, 3, "2 1" },
	{ "URG", { TCP(0), TCP(1), { NTH(2), .payload = 100, .flags = ACK | URG }, TCP(3) }, 4, "2 1 1" },
	{ "ECE", { { NTH(0), .payload = 100, .flags = ACK | ECE }, { NTH(1), .payload = 100, .flags = ACK | ECE } }, 2, "1 1" },
	{ "CWR", { TCP(0), { NTH(1), .payload = 100, .flags = ACK | CWR }, TCP(2), TCP(3) }, 4, "1 1 2" },
	{ "no ACK", { { NTH(0), .payload = 100, .flags = PSH }, { NTH(1), .payload = 100, .flags = PSH } }, 2, "1 1" },
	{ "bare ACK", { TCP(0), TCP(1), { NTH(2) }, TCP(2) }, 4, "2 1 1" },
	{ "nothing in UDP", { UDP(0), UDP(1), { .udp = true, NTH(2) }, UDP(3) }, 4, "2 1 1" },
	{ "IPv4 options", { TCP(0), TCP(1), { NTH(2), .payload = 100, .ip_options = 4 }, TCP(3) }, 4, "2 1 1" },
	{ "IPv6 extensions",
	  { TCP6(0), TCP6(1), { .v6 = true, NTH(2), .payload = 100, .ip_options = 8 }, TCP6(3) }, 4, "2 1 1" },
	/* flows among each other */
	{ "two flows", { TCP(0), { NTH(0), .payload = 100, .host = 1 }, TCP(1), { NTH(1), .payload = 100, .host = 1 } }, 4, "2 2" },
	{ "two ports", { UDP(0), { .udp = true, NTH(0), .payload = 100, .sport = 7 }, UDP(1) }, 3, "2 1" },
	{ "TCP and UDP", { TCP(0), UDP(0), TCP(1), UDP(1) }, 4, "2 2" },
	{ "TCP and UDP over IPv6", { TCP6(0), UDP6(0), TCP6(1), UDP6(1) }, 4, "2 2" },
	{ "both families", { TCP(0), TCP6(0), TCP(1), TCP6(1) }, 4, "2 2" },
};

static void rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		begin(true, true);
		for (size_t n = 0; n < rows[i].count; n++)
			add_made(&rows[i].packets[n]);
		end(rows[i].name, rows[i].writes);
	}
}

/* Four packets that would merge, but a byte of the third is another than it was when it was made. */
static void changed_packets_are_written_alone_and_unchanged(void **state)
{
	static const struct {
		const char *name;
		struct recipe r;
		size_t at;
		uint8_t mask;
		size_t which; /* of the four */
		const char *writes;
		bool right; /* and the checksums are made right again */
	} changes[] = {
		{ "payload", { .payload = 100 }, 139, 1, 2, "2 1 1", false },
		{ "first packet's payload", { .payload = 100 }, 139, 1, 0, "1 3", false },
		{ "second packet's payload", { .payload = 100 }, 139, 1, 1, "1 1 2", false },
		{ "last packet's payload", { .payload = 100 }, 139, 1, 3, "3 1", false },
		{ "TCP checksum", { .payload = 100 }, 36, 0x80, 2, "2 1 1", false },
		{ "IPv4 checksum", { .payload = 100 }, 10, 0x80, 2, "2 1 1", false },
		{ "first packet's IPv4 checksum", { .payload = 100 }, 11, 0x80, 0, "1 3", false },
		{ "UDP checksum", { .udp = true, .payload = 100 }, 27, 1, 2, "2 1 1", false },
		{ "UDP payload", { .v6 = true, .udp = true, .payload = 100 }, 147, 1, 0, "1 3", false },
		{ "option", { .payload = 100, .tcp_options = 12 }, 51, 1, 2, "2 1 1", false },
		{ "urgent pointer", { .payload = 100 }, 39, 1, 2, "2 1 1", false },
		{ "urgent pointer, checksum right", { .payload = 100 }, 39, 1, 2, "2 1 1", true },
		{ "reserved bit, checksum right", { .payload = 100 }, 32, 1, 2, "2 1 1", true },
		{ "option, checksum right", { .payload = 100, .tcp_options = 40 }, 79, 1, 2, "2 1 1", true },
		{ "option of the first, checksum right", { .v6 = true, .payload = 100, .tcp_options = 4 }, 60, 1, 0, "1 3", true },
		{ "reserved bit", { .payload = 100 }, 32, 8, 2, "2 1 1", false },
		{ "reserved bit of IPv4", { .payload = 100 }, 6, 0x80, 2, "2 1 1", false },
		{ "TCP header's length", { .payload = 100 }, 32, 0x80, 2, "2 1 1", false },
		{ "UDP length", { .udp = true, .payload = 100 }, 25, 1, 2, "2 1 1", false },
		{ "total length", { .payload = 100 }, 3, 1, 2, "2 1 1", false },
		{ "IPv4 header's length", { .payload = 100 }, 0, 0x0b, 2, "2 1 1", false },
		{ "payload length", { .v6 = true, .payload = 100 }, 5, 1, 2, "2 1 1", false },
		{ "fragment", { .payload = 100 }, 6, 0x20, 2, "2 1 1", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		begin(true, true);
		for (size_t n = 0; n < 4; n++) {
			struct recipe r = changes[i].r;
			uint8_t *p = rig->in[n];
			size_t len;

			r.seq = 100 * (uint32_t)n;
			r.id = (uint16_t)n;
			r.fill = (uint8_t)(n * 50);
			len = make(p, &r);
			if (n == changes[i].which)
				p[changes[i].at] ^= changes[i].mask;
			if (changes[i].right)
				complete(p, len);
			add(p, len);
		}
		end(changes[i].name, changes[i].writes);
	}
}

/* RFC 768: zero says that there is none, so nothing vouches for the payload. */
static void udp_without_checksum_is_not_merged(void **state)
{
	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		begin(true, true);
		for (uint32_t n = 0; n < 3; n++) {
			struct recipe r = { .v6 = v6, .udp = true, NTH(n), .payload = 100 };
			size_t len = make(rig->in[n], &r);

			put16(rig->in[n] + (v6 ? 46 : 26), 0);
			add(rig->in[n], len);
		}
		end("no checksum", "1 1 1");
	}
	/* not even where all bytes add up to what would be right */
	begin(true, true);
	for (size_t n = 0; n < 3; n++) {
		struct recipe r = { .udp = true, .id = (uint16_t)n, .payload = 2 };
		uint8_t *p = rig->in[n];
		size_t len = make(p, &r);

		put16(p + 28, plain_sum(p + 26, 4, 0));
		put16(p + 26, 0);
		assert_true(all_right(p, len));
		add(p, len);
	}
	end("zero that is right", "1 1 1");
}

static void fragments_end_all_that_is_in_the_making(void **state)
{
	static const uint16_t fields[] = { 0x2000, 0x0001, 0x2010 };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct recipe r[] = { TCP(0), TCP(1), UDP(0), UDP(1), UDP(2), TCP(2) };
		uint8_t *p;
		size_t len;

		begin(true, true);
		for (size_t n = 0; n < 4; n++)
			add_made(&r[n]);
		p = rig->in[4];
		len = make(p, &r[4]);
		put16(p + 6, fields[i]);
		put16(p + 10, 0);
		put16(p + 10, ~plain_sum(p, 20, 0));
		add(p, len);
		assert_string_equal(rig->writes, "2 2 1");
		add_made(&r[5]);
		end("fragment", "2 2 1 1");
	}
}

static void other_packets_pass_at_once(void **state)
{
	struct recipe r[] = { TCP(0), TCP(1), TCP6(0), TCP6(1) };

	(void)state;
	for (size_t i = 0; i < 4; i += 2) {
		uint8_t icmp[BYTES];
		size_t len;

		begin(true, true);
		add_made(&r[i]);
		len = make(icmp, &r[i + 1]);
		icmp[i ? 6 : 9] = i ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
		add(icmp, len);
		assert_string_equal(rig->writes, "1");
		add_made(&r[i + 1]);
		end("ICMP between", "1 2");
	}
}

static void what_the_device_does_not_take_is_not_merged(void **state)
{
	struct recipe r[] = { TCP(0), UDP(0), TCP(1), UDP(1) };

	(void)state;
	for (int mask = 0; mask < 4; mask++) {
		begin(mask & 1, mask & 2);
		for (size_t n = 0; n < 4; n++)
			add_made(&r[n]);
		end("device", mask == 0 ? "1 1 1 1" : mask == 1 ? "1 1 2" : mask == 2 ? "1 1 2" : "2 2");
	}
}

static void count_and_bytes_are_bounded(void **state)
{
	struct recipe r = { .payload = 2 };

	(void)state;
	begin(true, true);
	for (uint32_t n = 0; n < 2 * GRO_SEGMENTS + 1; n++) {
		r.seq = 2 * n;
		r.id = (uint16_t)n;
		add_made(&r);
	}
	end("segments", "128 128 1");
	begin(true, true);
	r.payload = 2000;
	for (uint32_t n = 0; n < 34; n++) {
		r.seq = 2000 * n;
		r.id = (uint16_t)n;
		add_made(&r);
	}
	end("IPv4's total length", "32 2");
	begin(true, true);
	r.v6 = r.udp = true;
	for (uint32_t n = 0; n < 34; n++)
		add_made(&r);
	end("IPv6's payload length", "32 2");
}

static void more_flows_than_items(void **state)
{
	struct recipe r = { .payload = 100 };
	char writes[200] = "1";

	(void)state;
	begin(true, true);
	for (uint32_t n = 0; n < 2; n++)
		for (uint32_t host = 0; host < GRO_ITEMS; host++) {
			r.host = (uint8_t)host;
			r.seq = 100 * n;
			r.id = (uint16_t)n;
			add_made(&r);
		}
	assert_string_equal(rig->writes, "");
	r.host = 200; /* takes the first one's place */
	add_made(&r);
	assert_string_equal(rig->writes, "2");
	r.host = 0;
	r.seq = 200;
	r.id = 2;
	add_made(&r);
	strcpy(writes, "2 2 1 1");
	for (int i = 2; i < GRO_ITEMS; i++)
		strcat(writes, " 2");
	end("more flows", writes);
}

static void known_flows_are_those_of_the_same_tag(void **state)
{
	struct recipe r[] = { TCP(0), TCP(1), { NTH(2) }, TCP(2), TCP(3), UDP(0) };
	struct gro *g;
	uint8_t *p;
	size_t len;

	(void)state;
	begin(true, true);
	g = &rig->g;
	for (size_t i = 0; i < 6; i++) {
		rig->len[i] = make(rig->in[i], &r[i]);
		memcpy(rig->was[i], rig->in[i], rig->len[i]);
	}
	rig->count = 6;
	assert_false(gro_continue(g, rig->in[0], rig->len[0], &tag_a));
	gro_add(g, rig->in[0], rig->len[0], &tag_a);
	assert_false(gro_continue(g, rig->in[1], rig->len[1], &tag_b));
	assert_true(gro_continue(g, rig->in[1], rig->len[1], &tag_a));
	/* also what is not merged, and what comes after it */
	assert_true(gro_continue(g, rig->in[2], rig->len[2], &tag_a));
	assert_string_equal(rig->writes, "2 1");
	assert_true(gro_continue(g, rig->in[3], rig->len[3], &tag_a));
	/* another SA: it goes on, and is its flow from then on */
	assert_false(gro_continue(g, rig->in[4], rig->len[4], &tag_b));
	gro_add(g, rig->in[4], rig->len[4], &tag_b);
	assert_false(gro_continue(g, rig->in[5], rig->len[5], &tag_b)); /* UDP's ports are not TCP's */
	gro_add(g, rig->in[5], rig->len[5], &tag_b);
	p = rig->super;
	len = make(p, &r[4]);
	assert_false(gro_continue(g, p, len, &tag_a));
	end("tags", "2 1 2 1");
	/* after a flush nothing is known */
	begin(true, true);
	rig->count = 1;
	rig->len[0] = make(rig->in[0], &r[0]);
	memcpy(rig->was[0], rig->in[0], rig->len[0]);
	gro_add(&rig->g, rig->in[0], rig->len[0], &tag_a);
	gro_flush(&rig->g);
	assert_false(gro_continue(&rig->g, rig->in[0], rig->len[0], &tag_a));
	end("flush", "1");
}

/* The caller's full check must see them. */
static void malformed_packets_never_continue_a_flow(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		struct recipe r = { .v6 = kind & 1, .udp = kind & 2, .payload = 30 };
		uint8_t first[BYTES], whole[BYTES];
		size_t len = make(first, &r);
		size_t l4 = r.v6 ? 40 : 20;

		begin(true, true);
		memcpy(whole, first, len);
		memcpy(rig->was[0], first, len);
		rig->len[0] = len;
		rig->count = 1;
		gro_add(&rig->g, first, len, &tag_a);
		for (size_t n = 0; n < len; n++) { /* cut short */
			uint8_t *exact = malloc(n ? n : 1);

			assert_non_null(exact);
			memcpy(exact, whole, n);
			assert_false(gro_continue(&rig->g, exact, n, &tag_a));
			if (n > l4 && r.v6) { /* and the IP length says so too, but not what follows */
				put16(exact + 4, (uint32_t)(n - 40));
				if (r.udp || n < 60)
					assert_false(gro_continue(&rig->g, exact, n, &tag_a));
			}
			free(exact);
		}
		assert_false(gro_continue(&rig->g, whole, len + 1, &tag_a));
		for (size_t at = 0; at < l4 + 4; at++)
			for (int bit = 0; bit < 8; bit++) {
				/* TOS, flow label, ID, DF, TTL and checksum make no other flow */
				if (r.v6 ? (at == 0 && bit < 4) || (at > 0 && at < 4) || at == 7 :
					   at == 1 || at == 4 || at == 5 || (at == 6 && bit > 5) || at == 8 || at == 10 || at == 11)
					continue;
				whole[at] ^= (uint8_t)(1 << bit);
				assert_false(gro_continue(&rig->g, whole, len, &tag_a));
				whole[at] ^= (uint8_t)(1 << bit);
			}
		for (unsigned words = 0; !r.udp && words < 16; words++) {
			whole[l4 + 12] = (uint8_t)(words << 4);
			if (words < 5 || 4 * words > len - l4)
				assert_false(gro_continue(&rig->g, whole, len, &tag_a));
		}
		assert_string_equal(rig->writes, "");
		end("malformed", "1");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules),
		cmocka_unit_test(changed_packets_are_written_alone_and_unchanged),
		cmocka_unit_test(udp_without_checksum_is_not_merged),
		cmocka_unit_test(fragments_end_all_that_is_in_the_making),
		cmocka_unit_test(other_packets_pass_at_once),
		cmocka_unit_test(what_the_device_does_not_take_is_not_merged),
		cmocka_unit_test(count_and_bytes_are_bounded),
		cmocka_unit_test(more_flows_than_items),
		cmocka_unit_test(known_flows_are_those_of_the_same_tag),
		cmocka_unit_test(malformed_packets_never_continue_a_flow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
