/* Super-packets cut: RFC 9293 §3.7.1, 768, 791, 8200, 3168 §6.1.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "esp/gso.h"
#include "tests/unit/esp/segments.h"

enum { BYTES = 65535 };

static uint8_t super[BYTES + GSO_TAIL], work[BYTES + GSO_TAIL], want[BYTES];

/* Cut and held against the plain way; what stands behind each packet is spoilt as ESP's trailer does. */
static size_t cut_and_compare(const struct virtio_net_hdr *h, size_t len)
{
	size_t got_len, want_len, i = 0;
	uint8_t *got;
	struct gso g;

	memset(super + len, 0x5a, GSO_TAIL);
	memcpy(work, super, len + GSO_TAIL);
	assert_true(gso_open(&g, h, work, len));
	while (cut(super, len, h->gso_size, i, want, &want_len)) {
		size_t left = gso_count(&g);

		assert_true(gso_next(&g, &got, &got_len));
		assert_int_equal(gso_count(&g), left - 1);
		assert_int_equal(got_len, want_len);
		assert_memory_equal(got, want, want_len);
		assert_true(all_right(got, got_len));
		memset(got + got_len, 0xee, GSO_TAIL);
		i++;
	}
	assert_int_equal(gso_count(&g), 0);
	assert_false(gso_next(&g, &got, &got_len));
	assert_false(gso_next(&g, &got, &got_len));
	assert_memory_equal(work + len, super + len, GSO_TAIL); /* as it was */
	return i;
}

struct row {
	const char *name;
	struct recipe r;
	uint16_t size;
	size_t packets;
};

static const struct row rows[] = {
	{ "TCP over IPv4", { .payload = 14000, .seq = 0xfffff000, .id = 65530 }, 1400, 10 },
	{ "a shorter last packet", { .payload = 14001 }, 1400, 11 },
	{ "timestamps", { .payload = 4000, .tcp_options = 12, .df = true }, 1388, 3 },
	{ "all options", { .payload = 4000, .tcp_options = 40, .ip_options = 40 }, 1380, 3 },
	{ "PSH and FIN are the last one's", { .payload = 3000, .flags = ACK | PSH | FIN }, 1000, 3 },
	{ "CWR is the first one's, ECE everyone's", { .payload = 3000, .flags = ACK | CWR | ECE, .tos = 2 }, 1000, 3 },
	{ "all flags", { .payload = 3000, .flags = 0xff }, 999, 4 },
	{ "TCP over IPv6", { .v6 = true, .payload = 9000, .tos = 0xbb, .label = 0xabcde }, 1380, 7 },
	{ "extension headers", { .v6 = true, .payload = 9000, .ip_options = 64, .tcp_options = 12 }, 1300, 7 },
	{ "UDP over IPv4", { .udp = true, .payload = 13000, .id = 9 }, 1300, 10 },
	{ "UDP over IPv6", { .udp = true, .v6 = true, .payload = 13001 }, 1300, 11 },
	{ "UDP behind extension headers", { .udp = true, .v6 = true, .payload = 130, .ip_options = 8 }, 100, 2 },
	{ "UDP behind IPv4 options", { .udp = true, .payload = 130, .ip_options = 12 }, 100, 2 },
	{ "size larger than the payload", { .payload = 100, .flags = ACK | PSH | CWR }, 1400, 1 },
	{ "size of exactly the payload", { .udp = true, .payload = 1400 }, 1400, 1 },
	{ "no payload", { .flags = ACK | FIN }, 1400, 1 },
	{ "UDP without payload", { .udp = true, .v6 = true }, 1400, 1 },
	{ "single bytes", { .payload = 300, .tcp_options = 12, .flags = ACK | PSH }, 1, 300 },
	{ "single bytes of UDP", { .udp = true, .v6 = true, .payload = 300 }, 1, 300 },
	{ "less than a header", { .v6 = true, .payload = 1000, .ip_options = 64 }, 17, 59 },
	{ "less than the tail", { .payload = 1000 }, 63, 16 },
	{ "the largest", { .payload = 65495, .id = 1 }, 1460, 45 },
	{ "as many as there can be", { .udp = true, .payload = 65507 }, 1, 65507 },
	{ "size of 65535", { .payload = 65495 }, 65535, 1 },
};

static void packets_are_those_of_the_plain_way(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t len = make(super, &rows[i].r), n;
		struct virtio_net_hdr h = make_super(super, len, rows[i].size);

		h.hdr_len = (uint16_t)(i * 7919); /* not looked at */
		if (i & 1 && h.gso_type != VIRTIO_NET_HDR_GSO_UDP_L4)
			h.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
		n = cut_and_compare(&h, len);
		if (n != rows[i].packets)
			fail_msg("%s: %zu packets", rows[i].name, n);
	}
}

static void every_small_size(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++)
		for (uint16_t size = 1; size < 200; size++) {
			struct recipe r = { .udp = kind & 1, .v6 = kind & 2, .payload = 333, .flags = ACK | PSH };
			size_t len = make(super, &r);
			struct virtio_net_hdr h = make_super(super, len, size);

			assert_int_equal(cut_and_compare(&h, len), (333u + size - 1) / size);
		}
}

/* Exact bytes, reckoned by hand: 3 bytes in packets of 2. */
static void bytes_of_udp(void **state)
{
	static const uint8_t first[] = { 0x45, 0, 0, 30, 0, 7, 0, 0, 64, 17, 0x66, 0xc5, 10, 1, 0, 0, 10, 2, 0, 1,
					 0x03, 0xe8, 0x07, 0xd0, 0, 10, 0x7e, 0xbc, 'a', 'b' };
	static const uint8_t second[] = { 0x45, 0, 0, 29, 0, 8, 0, 0, 64, 17, 0x66, 0xc5, 10, 1, 0, 0, 10, 2, 0, 1,
					  0x03, 0xe8, 0x07, 0xd0, 0, 9, 0x7d, 0x20, 'c' };
	struct recipe r = { .udp = true, .payload = 3, .fill = 'a', .id = 7 };
	size_t len = make(super, &r);
	struct virtio_net_hdr h = make_super(super, len, 2);
	struct gso g;
	uint8_t *p;

	(void)state;
	assert_true(gso_open(&g, &h, super, len));
	assert_int_equal(gso_count(&g), 2);
	assert_true(gso_next(&g, &p, &len));
	assert_int_equal(len, sizeof(first));
	assert_memory_equal(p, first, sizeof(first));
	assert_true(gso_next(&g, &p, &len));
	assert_int_equal(len, sizeof(second));
	assert_memory_equal(p, second, sizeof(second));
	assert_false(gso_next(&g, &p, &len));
}

/* RFC 768: a checksum that comes out as zero is sent as all ones. */
static void udp_checksum_is_never_zero(void **state)
{
	struct recipe r = { .udp = true, .payload = 2 };
	size_t len = make(super, &r);
	struct virtio_net_hdr h;
	struct gso g;
	uint8_t *p;

	(void)state;
	put16(super + 28, 0);
	complete(super, len);
	put16(super + 28, get16(super + 26)); /* the payload takes up what is missing */
	complete(super, len);
	assert_int_equal(get16(super + 26), 0xffff);
	memcpy(want, super, len);
	h = make_super(super, len, 100);
	memcpy(work, super, len);
	assert_true(gso_open(&g, &h, super, len));
	assert_true(gso_next(&g, &p, &len));
	assert_memory_equal(p, want, len);
	h.gso_type = VIRTIO_NET_HDR_GSO_NONE;
	assert_true(gso_checksum(&h, work, len));
	assert_memory_equal(work, want, len);
}

/* Sums that come close to 2^32 before the payload is added. */
static void no_carry_is_lost(void **state)
{
	struct recipe r = { .payload = 300, .seq = 0xffff0000 };

	(void)state;
	for (uint32_t udp = 0; udp < 2; udp++)
		for (uint32_t src = 0xffe80000; src >= 0xffe80000; src += 0x371) {
			struct virtio_net_hdr h;
			size_t len;

			r.udp = udp;
			len = make(super, &r);
			put32(super + 12, src);
			put32(super + 16, 0);
			h = make_super(super, len, 150);
			assert_int_equal(cut_and_compare(&h, len), 2);
		}
}

/* Without NEEDS_CSUM nothing is said about where the checksum is; it is made all the same. */
static void checksum_is_made_without_being_asked(void **state)
{
	struct recipe r = { .payload = 3000 };
	size_t len = make(super, &r);
	struct virtio_net_hdr h = make_super(super, len, 1000);

	(void)state;
	h.flags = h.csum_start = h.csum_offset = 0;
	assert_int_equal(cut_and_compare(&h, len), 3);
}

static bool opens(const struct virtio_net_hdr *h, size_t len)
{
	uint8_t *exact = malloc(len + GSO_TAIL), *p;
	struct gso g;
	bool ok;

	assert_non_null(exact);
	memcpy(exact, super, len);
	ok = gso_open(&g, h, exact, len);
	if (!ok) {
		assert_int_equal(gso_count(&g), 0);
		assert_false(gso_next(&g, &p, &len));
	}
	free(exact);
	return ok;
}

static void lies_are_refused(void **state)
{
	static const struct lie {
		const char *name;
		struct recipe r;
		size_t at; /* this byte of the packet */
		uint8_t is;
	} lies[] = {
		{ "version", { .payload = 300 }, 0, 0x55 },
		{ "header of 16 bytes", { .payload = 300 }, 0, 0x44 },
		{ "protocol", { .payload = 300 }, 9, IPPROTO_UDP },
		{ "total length", { .payload = 300 }, 3, 1 },
		{ "more fragments", { .payload = 300 }, 6, 0x20 },
		{ "fragment offset", { .payload = 300 }, 7, 1 },
		{ "TCP header of 16 bytes", { .payload = 300 }, 32, 0x40 },
		{ "TCP header longer than the packet", { .payload = 3 }, 32, 0xf0 },
		{ "UDP length", { .udp = true, .payload = 300 }, 25, 9 },
		{ "payload length", { .v6 = true, .payload = 300 }, 5, 1 },
		{ "next header", { .v6 = true, .payload = 300 }, 6, IPPROTO_UDP },
		{ "fragment header", { .v6 = true, .payload = 300, .ip_options = 8 }, 6, IPPROTO_FRAGMENT },
		{ "route to follow", { .v6 = true, .payload = 300, .ip_options = 8 }, 6, IPPROTO_ROUTING },
		{ "extension longer than the packet", { .v6 = true, .payload = 300, .ip_options = 8 }, 41, 200 },
		{ "too many extensions", { .v6 = true, .payload = 300, .ip_options = 72 }, 0, 0x60 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		size_t len = make(super, &lies[i].r);
		struct virtio_net_hdr h = make_super(super, len, 100);

		super[lies[i].at] = lies[i].is;
		if (opens(&h, len))
			fail_msg("%s", lies[i].name);
	}
}

static void headers_have_a_limit(void **state)
{
	(void)state;
	for (uint8_t more = 0; more <= 8; more += 8) {
		struct recipe r = { .v6 = true, .payload = 300, .ip_options = (uint8_t)(192 + more), .tcp_options = 4 };
		size_t len = make(super, &r);
		struct virtio_net_hdr h;

		super[40] = IPPROTO_TCP; /* one extension header, not many */
		super[41] = (uint8_t)(r.ip_options / 8 - 1);
		h = make_super(super, len, 100);
		assert_int_equal(opens(&h, len), more == 0);
		if (more == 0)
			assert_int_equal(cut_and_compare(&h, len), 3);
	}
}

static void nothing_is_longer_than_65535_bytes(void **state)
{
	struct recipe r = { .v6 = true, .payload = 65535 - 60 };
	size_t len = make(super, &r);
	struct virtio_net_hdr h = make_super(super, len, 65535);

	(void)state;
	assert_int_equal(cut_and_compare(&h, len), 1);
	r.payload++;
	len = make(super, &r);
	h = make_super(super, len, 65535);
	assert_false(opens(&h, len));
}

static void header_has_to_agree(void **state)
{
	struct recipe tcp = { .payload = 300 }, udp = { .udp = true, .v6 = true, .payload = 300 };
	size_t len = make(super, &tcp);
	const struct virtio_net_hdr good = make_super(super, len, 100);
	static const uint8_t types[] = { 0, 2, VIRTIO_NET_HDR_GSO_UDP, VIRTIO_NET_HDR_GSO_TCPV6,
					 VIRTIO_NET_HDR_GSO_UDP_L4, 6, 0x7f, VIRTIO_NET_HDR_GSO_ECN };
	struct virtio_net_hdr h = good;

	(void)state;
	assert_true(opens(&h, len));
	for (size_t i = 0; i < sizeof(types); i++) {
		h.gso_type = types[i];
		assert_false(opens(&h, len));
	}
	h = good;
	h.gso_size = 0;
	assert_false(opens(&h, len));
	h = good;
	h.csum_start--;
	assert_false(opens(&h, len));
	h = good;
	h.csum_offset = 6;
	assert_false(opens(&h, len));
	h = good;
	for (size_t n = 0; n < len; n++)
		assert_false(opens(&h, n));
	len = make(super, &udp);
	h = make_super(super, len, 100);
	assert_true(opens(&h, len));
	h.csum_offset = 16;
	assert_false(opens(&h, len));
	h = make_super(super, len, 100);
	for (size_t n = 0; n < len; n++)
		assert_false(opens(&h, n));
	h.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
	assert_false(opens(&h, len));
}

static void single_packets_get_their_checksum(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 8; kind++) {
		struct recipe r = { .udp = kind & 1, .v6 = kind & 2, .payload = kind & 4 ? 101 : 0 };
		size_t len = make(super, &r);
		struct virtio_net_hdr h;

		memcpy(want, super, len);
		h = make_super(super, len, 0);
		h.gso_type = VIRTIO_NET_HDR_GSO_NONE;
		assert_true(gso_checksum(&h, super, len));
		assert_memory_equal(super, want, len);
	}
}

static void checksum_outside_the_packet_is_refused(void **state)
{
	struct recipe r = { .payload = 10 };
	size_t len = make(super, &r);
	struct virtio_net_hdr h = make_super(super, len, 0);
	uint8_t *exact = malloc(len);

	(void)state;
	assert_non_null(exact);
	memcpy(exact, super, len);
	assert_false(gso_checksum(&h, exact, 0));
	assert_false(gso_checksum(&h, exact, 19));
	assert_false(gso_checksum(&h, exact, 37)); /* the field's second byte is missing */
	h.csum_start = 19;
	assert_false(gso_checksum(&h, exact, len));
	h.csum_start = 20;
	h.csum_offset = UINT16_MAX;
	assert_false(gso_checksum(&h, exact, len));
	h.csum_start = UINT16_MAX;
	h.csum_offset = 6;
	assert_false(gso_checksum(&h, exact, len));
	h.csum_start = (uint16_t)(len - 2);
	h.csum_offset = 0;
	assert_true(gso_checksum(&h, exact, len));
	exact[0] = 0x60;
	h.csum_start = 20; /* in the middle of the addresses */
	assert_false(gso_checksum(&h, exact, len));
	free(exact);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_are_those_of_the_plain_way),
		cmocka_unit_test(every_small_size),
		cmocka_unit_test(bytes_of_udp),
		cmocka_unit_test(udp_checksum_is_never_zero),
		cmocka_unit_test(no_carry_is_lost),
		cmocka_unit_test(checksum_is_made_without_being_asked),
		cmocka_unit_test(lies_are_refused),
		cmocka_unit_test(headers_have_a_limit),
		cmocka_unit_test(nothing_is_longer_than_65535_bytes),
		cmocka_unit_test(header_has_to_agree),
		cmocka_unit_test(single_packets_get_their_checksum),
		cmocka_unit_test(checksum_outside_the_packet_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
