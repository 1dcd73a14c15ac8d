/* Headers read and written: RFC 791, 8200, 6040 figure 4, 1624, 4303 §2.4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/in.h>

#include "esp/headers.h"

/* An ICMP echo of RFC 7634 appendix A: a real packet with a right header checksum. */
static const uint8_t icmp_v4[] = {
	0x45, 0x00, 0x00, 0x54, 0xa6, 0xf2, 0x00, 0x00, 0x40, 0x01, 0xe7, 0x78, 0xc6, 0x33, 0x64, 0x05,
	0xc0, 0x00, 0x02, 0x05, 0x08, 0x00, 0x5b, 0x7a, 0x3a, 0x08, 0x00, 0x00, 0x55, 0x3b, 0xec, 0x10,
	0x00, 0x07, 0x36, 0x27, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13,
	0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23,
	0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f, 0x30, 0x31, 0x32, 0x33,
	0x34, 0x35, 0x36, 0x37,
};

/* IPv6: hop-by-hop, destination options, UDP 1000 -> 2000 */
static const uint8_t udp_v6[] = {
	0x6b, 0xa0, 0x00, 0x00, 0x00, 0x1c, 0x00, 0x40, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 1, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
	60, 0, 5, 2, 0, 0, 1, 0, /* hop-by-hop */
	17, 0, 1, 4, 0, 0, 0, 0, /* destination options */
	0x03, 0xe8, 0x07, 0xd0, 0, 12, 0, 0, 'a', 'b', 'c', 'd',
};

static void ipv4_packet_is_read(void **state)
{
	char text[IP_ADDRESS_TEXT];
	struct flow f;

	(void)state;
	assert_true(flow_parse(icmp_v4, sizeof(icmp_v4), &f));
	assert_string_equal(ip_address_format(&f.src, text), "198.51.100.5");
	assert_string_equal(ip_address_format(&f.dst, text), "192.0.2.5");
	assert_int_equal(f.protocol, IPPROTO_ICMP);
	assert_true(f.ports_known);
	assert_int_equal(f.sport, 8 << 8);
	assert_int_equal(f.dport, 8 << 8);
	assert_false(f.dont_fragment);
	assert_false(f.fragment);
	assert_int_equal(f.total_len, sizeof(icmp_v4));
}

static void ipv6_extensions_are_passed(void **state)
{
	struct flow f;

	(void)state;
	assert_true(flow_parse(udp_v6, sizeof(udp_v6), &f));
	assert_int_equal(f.protocol, IPPROTO_UDP);
	assert_int_equal(f.base_next, 0);
	assert_true(f.ports_known);
	assert_int_equal(f.sport, 1000);
	assert_int_equal(f.dport, 2000);
	assert_int_equal(f.tos, 0xba);
	assert_true(f.dont_fragment);
}

static void fragments_show_no_ports_but_the_first(void **state)
{
	uint8_t p[sizeof(icmp_v4)], q[sizeof(udp_v6)];
	struct flow f;

	(void)state;
	memcpy(p, icmp_v4, sizeof(p));
	p[6] = 0x20; /* more fragments, offset 0 */
	assert_true(flow_parse(p, sizeof(p), &f));
	assert_true(f.fragment && f.ports_known);
	p[6] = 0;
	p[7] = 1;
	assert_true(flow_parse(p, sizeof(p), &f));
	assert_true(f.fragment);
	assert_false(f.ports_known);
	memcpy(q, udp_v6, sizeof(q));
	q[40] = IPPROTO_FRAGMENT; /* in place of the destination options */
	q[50] = 0;
	q[51] = 8; /* offset 1 */
	assert_true(flow_parse(q, sizeof(q), &f));
	assert_true(f.fragment);
	assert_false(f.ports_known);
	assert_int_equal(f.protocol, IPPROTO_UDP);
}

static void malformed_packets_are_refused(void **state)
{
	uint8_t p[sizeof(icmp_v4)];
	struct flow f;

	(void)state;
	assert_false(flow_parse(icmp_v4, 0, &f));
	for (size_t n = 1; n < sizeof(icmp_v4); n++) /* shorter than it says */
		assert_false(flow_parse(icmp_v4, n, &f));
	for (size_t n = 1; n < sizeof(udp_v6); n++)
		assert_false(flow_parse(udp_v6, n, &f));
	memcpy(p, icmp_v4, sizeof(p));
	p[0] = 0x44; /* header of 16 bytes */
	assert_false(flow_parse(p, sizeof(p), &f));
	p[0] = 0x55;
	assert_false(flow_parse(p, sizeof(p), &f));
	p[0] = 0x4f; /* header of 60 bytes in a packet of 24 */
	p[3] = 24;
	assert_false(flow_parse(p, sizeof(p), &f));
}

static void cut_extensions_leave_ports_unknown(void **state)
{
	uint8_t q[sizeof(udp_v6)];
	struct flow f;

	(void)state;
	memcpy(q, udp_v6, sizeof(q));
	q[41] = 200; /* a header longer than the packet */
	assert_true(flow_parse(q, sizeof(q), &f));
	assert_false(f.ports_known);
	memcpy(q, udp_v6, sizeof(q));
	q[5] = 4; /* payload of 4 bytes */
	assert_true(flow_parse(q, 44, &f));
	assert_false(f.ports_known);
}

/* RFC 6040 figure 4. */
static void ecn_table(void **state)
{
	static const int want[4][4] = {
		/* outer:           Not-ECT      ECT(1)       ECT(0)       CE */
		[ECN_NOT_ECT] = { ECN_NOT_ECT, ECN_NOT_ECT, ECN_NOT_ECT, -1 },
		[ECN_ECT1] = { ECN_ECT1, ECN_ECT1, ECN_ECT1, ECN_CE },
		[ECN_ECT0] = { ECN_ECT0, ECN_ECT1, ECN_ECT0, ECN_CE },
		[ECN_CE] = { ECN_CE, ECN_CE, ECN_CE, ECN_CE },
	};

	(void)state;
	for (uint8_t inner = 0; inner < 4; inner++)
		for (uint8_t outer = 0; outer < 4; outer++)
			assert_int_equal(ecn_decapsulate(inner | 0xb8, outer | 0x44),
					 want[inner][outer]);
}

static void changing_tos_keeps_the_checksum_right(void **state)
{
	uint8_t p[sizeof(icmp_v4)], q[sizeof(udp_v6)];
	struct flow f;

	(void)state;
	memcpy(p, icmp_v4, sizeof(p));
	for (int tos = 0; tos < 256; tos++) {
		ip_set_tos(p, (uint8_t)tos);
		assert_int_equal(p[1], tos);
		assert_int_equal(checksum_fold(checksum_add(p, 20, 0)), 0xffff);
	}
	memcpy(q, udp_v6, sizeof(q));
	ip_set_tos(q, 0x45);
	assert_true(flow_parse(q, sizeof(q), &f));
	assert_int_equal(f.tos, 0x45);
	assert_int_equal(q[0] >> 4, 6);
}

static void header_is_written(void **state)
{
	struct ip_header_fields h = { .protocol = IPPROTO_ESP, .tos = 3, .dont_fragment = true,
				      .payload_len = 100 };
	uint8_t out[40];

	(void)state;
	assert_true(ip_address_parse("192.0.2.1", &h.src) && ip_address_parse("192.0.2.2", &h.dst));
	assert_int_equal(ip_header_put(out, &h), 20);
	assert_int_equal(load_be16(out + 2), 120);
	assert_int_equal(out[6], 0x40);
	assert_int_equal(out[8], OUTER_TTL);
	assert_int_equal(out[9], 50);
	assert_int_equal(checksum_fold(checksum_add(out, 20, 0)), 0xffff);
	assert_true(ip_address_parse("2001:db8::1", &h.src) &&
		    ip_address_parse("2001:db8::2", &h.dst));
	assert_int_equal(ip_header_put(out, &h), 40);
	assert_int_equal(load_be16(out + 4), 100);
	assert_int_equal(out[0], 0x60);
	assert_int_equal(out[1], 0x30);
}

static void trailer_is_as_rfc_4303_says(void **state)
{
	uint8_t text[64] = "abcde", next;
	size_t len;

	(void)state;
	/* 5 + 2 -> 8: one byte of padding */
	assert_int_equal(esp_trailer_put(text, 5, 0, 4, 4), 8);
	assert_memory_equal(text, "abcde\x01\x01\x04", 8);
	assert_int_equal(esp_trailer_put(text, 6, 0, 4, 4), 8); /* none needed */
	assert_memory_equal(text + 6, "\x00\x04", 2);
	assert_int_equal(esp_trailer_put(text, 5, 0, 16, 41), 16);
	assert_memory_equal(text + 5, "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x09\x29", 11);
	len = 16;
	assert_true(esp_trailer_take(text, &len, &next));
	assert_int_equal(len, 5);
	assert_int_equal(next, 41);
	assert_int_equal(esp_trailer_put(text, 5, 3, 4, 4), 12); /* traffic flow padding */
	assert_memory_equal(text + 5, "\0\0\0\x01\x02\x02\x04", 7);
}

static void padding_lies_are_refused(void **state)
{
	uint8_t text[16] = { 'a', 'b', 1, 2, 3, 3, 4 }, next;
	size_t len = 7;

	(void)state;
	assert_true(esp_trailer_take(text, &len, &next));
	assert_int_equal(len, 2);
	len = 7;
	text[3] = 9;
	assert_false(esp_trailer_take(text, &len, &next));
	text[3] = 2;
	text[5] = 6; /* more padding than there are bytes */
	assert_false(esp_trailer_take(text, &len, &next));
	text[5] = 255;
	assert_false(esp_trailer_take(text, &len, &next));
	for (len = 0; len < 2;) {
		size_t n = len;

		assert_false(esp_trailer_take(text, &n, &next));
		len++;
	}
}

static void selector_takes_ranges_protocols_and_ports(void **state)
{
	struct traffic_selector ts = { .protocol = IPPROTO_TCP, .port_lo = 80, .port_hi = 90 };
	struct ip_address in, out;

	(void)state;
	assert_true(ip_address_parse("10.0.0.5", &ts.lo) && ip_address_parse("10.0.0.9", &ts.hi) &&
		    ip_address_parse("10.0.0.9", &in) && ip_address_parse("10.0.0.10", &out));
	assert_true(selector_matches(&ts, &in, IPPROTO_TCP, 80, true));
	assert_true(selector_matches(&ts, &in, IPPROTO_TCP, 90, true));
	assert_false(selector_matches(&ts, &out, IPPROTO_TCP, 80, true));
	assert_false(selector_matches(&ts, &in, IPPROTO_TCP, 91, true));
	assert_false(selector_matches(&ts, &in, IPPROTO_UDP, 80, true));
	/* RFC 4301 §7: a later fragment does not match a selector with ports */
	assert_false(selector_matches(&ts, &in, IPPROTO_TCP, 0, false));
	ts.port_lo = 0;
	ts.port_hi = UINT16_MAX;
	assert_true(selector_matches(&ts, &in, IPPROTO_TCP, 0, false));
	ts.port_lo = UINT16_MAX; /* OPAQUE */
	ts.port_hi = 0;
	assert_true(selector_matches(&ts, &in, IPPROTO_TCP, 0, false));
	assert_false(selector_matches(&ts, &in, IPPROTO_TCP, 80, true));
	assert_true(ip_address_parse("::a00:9", &in));
	assert_false(selector_matches(&ts, &in, IPPROTO_TCP, 0, false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ipv4_packet_is_read),
		cmocka_unit_test(ipv6_extensions_are_passed),
		cmocka_unit_test(fragments_show_no_ports_but_the_first),
		cmocka_unit_test(malformed_packets_are_refused),
		cmocka_unit_test(cut_extensions_leave_ports_unknown),
		cmocka_unit_test(ecn_table),
		cmocka_unit_test(changing_tos_keeps_the_checksum_right),
		cmocka_unit_test(header_is_written),
		cmocka_unit_test(trailer_is_as_rfc_4303_says),
		cmocka_unit_test(padding_lies_are_refused),
		cmocka_unit_test(selector_takes_ranges_protocols_and_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
