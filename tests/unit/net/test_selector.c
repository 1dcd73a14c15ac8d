/* selector.h: RFC 7296 §2.9, RFC 4301 §4.4.1.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/selector.h"

/* `lo hi protocol port_lo port_hi` */
static struct traffic_selector sel(const char *lo, const char *hi, uint8_t protocol,
				   uint16_t port_lo, uint16_t port_hi)
{
	struct traffic_selector ts = { .protocol = protocol, .port_lo = port_lo, .port_hi = port_hi };

	assert_true(ip_address_parse(lo, &ts.lo));
	assert_true(ip_address_parse(hi, &ts.hi));
	return ts;
}

static struct traffic_selector net(const char *prefix)
{
	struct ip_prefix p;

	assert_true(ip_prefix_parse(prefix, &p, NULL));
	return ts_from_prefix(&p);
}

static void formats(void **state)
{
	const struct {
		struct traffic_selector ts;
		const char *text;
	} cases[] = {
		{ net("192.168.10.0/24"), "192.168.10.0/24" },
		{ net("::/0"), "::/0" },
		{ sel("10.0.0.1", "10.0.0.9", 0, 0, 65535), "10.0.0.1-10.0.0.9" },
		{ sel("192.0.2.0", "192.0.2.255", 6, 80, 80), "192.0.2.0/24/tcp/80" },
		{ sel("192.0.2.1", "192.0.2.1", 17, 1000, 2000), "192.0.2.1/32/udp/1000-2000" },
		{ sel("192.0.2.1", "192.0.2.1", 17, 0, 65535), "192.0.2.1/32/udp" },
		{ sel("192.0.2.1", "192.0.2.1", 17, 65535, 0), "192.0.2.1/32/udp/OPAQUE" },
		{ sel("192.0.2.1", "192.0.2.1", 1, 0x0800, 0x0800), "192.0.2.1/32/icmp/8(0)" },
		{ sel("192.0.2.1", "192.0.2.1", 1, 0x0800, 0x08ff), "192.0.2.1/32/icmp/8" },
		{ sel("2001:db8::1", "2001:db8::1", 58, 0x8000, 0x81ff),
		  "2001:db8::1/128/icmp6/128(0)-129(255)" },
		{ sel("192.0.2.1", "192.0.2.1", 0, 7, 7), "192.0.2.1/32/0/7" },
		{ sel("192.0.2.1", "192.0.2.1", 200, 0, 65535), "192.0.2.1/32/200" },
	};
	char buf[TS_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(ts_format(&cases[i].ts, buf), cases[i].text);
}

static void longest_text_fits(void **state)
{
	struct traffic_selector ts = sel("1111:1111:1111:1111:1111:1111:1111:1111",
					 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", 58, 0xffee,
					 0xfffe);
	char buf[TS_TEXT];

	(void)state;
	assert_non_null(strstr(ts_format(&ts, buf), "/icmp6/255(238)-255(254)"));
}

static void intersections(void **state)
{
	const struct {
		struct traffic_selector a, b;
		const char *both; /* NULL: nothing */
	} cases[] = {
		{ net("10.0.0.0/8"), net("10.1.0.0/16"), "10.1.0.0/16" },
		{ net("10.0.0.0/8"), net("11.0.0.0/8"), NULL },
		{ net("0.0.0.0/0"), net("::/0"), NULL },
		{ sel("10.0.0.0", "10.0.0.9", 0, 0, 65535), sel("10.0.0.5", "10.0.1.0", 0, 0, 65535),
		  "10.0.0.5-10.0.0.9" },
		{ sel("10.0.0.0", "10.0.0.9", 6, 0, 65535), net("10.0.0.0/24"),
		  "10.0.0.0-10.0.0.9/tcp" },
		{ sel("10.0.0.0", "10.0.0.0", 6, 0, 65535), sel("10.0.0.0", "10.0.0.0", 17, 0, 65535),
		  NULL },
		{ sel("10.0.0.0", "10.0.0.0", 6, 1, 100), sel("10.0.0.0", "10.0.0.0", 6, 50, 200),
		  "10.0.0.0/32/tcp/50-100" },
		{ sel("10.0.0.0", "10.0.0.0", 6, 1, 49), sel("10.0.0.0", "10.0.0.0", 6, 50, 200), NULL },
		{ sel("10.0.0.0", "10.0.0.0", 6, 65535, 0), sel("10.0.0.0", "10.0.0.0", 6, 0, 65535),
		  "10.0.0.0/32/tcp/OPAQUE" },
		{ sel("10.0.0.0", "10.0.0.0", 6, 65535, 0), sel("10.0.0.0", "10.0.0.0", 6, 65535, 0),
		  "10.0.0.0/32/tcp/OPAQUE" },
		{ sel("10.0.0.0", "10.0.0.0", 6, 65535, 0), sel("10.0.0.0", "10.0.0.0", 6, 80, 80),
		  NULL },
	};
	char buf[TS_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct traffic_selector out, swapped;
		bool any = ts_intersect(&cases[i].a, &cases[i].b, &out);

		assert_int_equal(any, cases[i].both != NULL);
		assert_int_equal(ts_intersect(&cases[i].b, &cases[i].a, &swapped), any);
		if (!any)
			continue;
		assert_string_equal(ts_format(&out, buf), cases[i].both);
		assert_true(ts_equal(&out, &swapped));
		assert_true(ts_contains(&cases[i].a, &out) && ts_contains(&cases[i].b, &out));
	}
}

static void validity(void **state)
{
	struct traffic_selector ts = sel("10.0.0.0", "10.0.0.1", 0, 0, 65535);

	(void)state;
	assert_true(ts_valid(&ts));
	ts.hi.family = AF_INET6;
	assert_false(ts_valid(&ts));
	ts = sel("10.0.0.1", "10.0.0.0", 0, 0, 65535);
	assert_false(ts_valid(&ts));
	ts = sel("10.0.0.1", "10.0.0.1", 6, 2, 1);
	assert_false(ts_valid(&ts));
	ts = sel("10.0.0.1", "10.0.0.1", 6, 65535, 0);
	assert_true(ts_valid(&ts));
	ts.lo.family = ts.hi.family = AF_UNSPEC;
	assert_false(ts_valid(&ts));
}

static void matching(void **state)
{
	struct traffic_selector web = sel("10.0.0.1", "10.0.0.9", 6, 80, 81);
	struct traffic_selector all = net("10.0.0.0/24");
	struct traffic_selector in = net("10.0.0.9"), out = net("10.0.0.10"), v6 = net("a00::9");

	(void)state;
	assert_true(ts_matches(&web, &in.lo, 6, 80));
	assert_true(ts_matches(&web, &in.lo, 6, 81));
	assert_false(ts_matches(&web, &in.lo, 6, 82));
	assert_false(ts_matches(&web, &in.lo, 17, 80));
	assert_false(ts_matches(&web, &out.lo, 6, 80));
	assert_false(ts_matches(&web, &v6.lo, 6, 80));
	assert_true(ts_matches(&all, &out.lo, 1, 0x0800));
}

static struct ts_list list_of(const char *const *prefixes)
{
	struct ts_list list = { 0 };

	for (; *prefixes; prefixes++) {
		struct traffic_selector ts = net(*prefixes);

		assert_true(ts_list_add(&list, &ts));
	}
	return list;
}

static void narrowing(void **state)
{
	static const struct {
		const char *proposed[4], *ours[4], *result;
	} cases[] = {
		{ { "0.0.0.0/0" }, { "10.1.0.0/16", "10.2.0.0/16" }, "10.1.0.0/16,10.2.0.0/16" },
		{ { "10.1.0.0/16" }, { "0.0.0.0/0" }, "10.1.0.0/16" },
		{ { "10.1.1.0/24", "10.1.0.0/16" }, { "10.0.0.0/8" }, "10.1.0.0/16" },
		{ { "10.1.0.0/16", "10.1.0.0/16" }, { "10.0.0.0/8", "10.1.0.0/16" }, "10.1.0.0/16" },
		{ { "10.1.0.0/16" }, { "10.2.0.0/16" }, "" },
		{ { "::/0", "0.0.0.0/0" }, { "10.2.0.0/16", "2001:db8::/32" }, "2001:db8::/32,10.2.0.0/16" },
		{ { NULL }, { "10.2.0.0/16" }, "" },
	};
	char buf[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ts_list proposed = list_of(cases[i].proposed), ours = list_of(cases[i].ours);
		struct ts_list out;

		ts_list_narrow(&proposed, &ours, &out);
		assert_string_equal(ts_list_format(&out, buf, sizeof(buf)), cases[i].result);
		assert_true(ts_list_contains(&proposed, &out) && ts_list_contains(&ours, &out));
	}
}

/* 32 x 32 disjoint members have at most 32 in common; overlapping ones must not overflow either. */
static void narrowing_of_full_lists(void **state)
{
	struct ts_list a = { 0 }, b = { 0 }, out;
	char text[64];

	(void)state;
	for (int i = 0; i < TS_LIST_MAX; i++) {
		struct traffic_selector ts;

		snprintf(text, sizeof(text), "10.0.%d.0", i);
		ts = sel(text, "10.0.100.0", 0, (uint16_t)i, 65534);
		assert_true(ts_list_add(&a, &ts));
		ts = sel("10.0.0.0", "10.0.90.0", 0, (uint16_t)(i * 7), (uint16_t)(1000 + i * 7));
		assert_true(ts_list_add(&b, &ts));
	}
	assert_false(ts_list_add(&a, &a.ts[0]));
	ts_list_narrow(&a, &b, &out);
	assert_true(out.count > 0 && out.count <= TS_LIST_MAX);
	assert_true(ts_list_contains(&a, &out) && ts_list_contains(&b, &out));
}

static void list_text_is_cut(void **state)
{
	static const char *const three[] = { "10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8", NULL };
	struct ts_list list = list_of(three);

	(void)state;
	for (size_t len = 1; len < 40; len++) {
		char *buf = malloc(len);

		assert_non_null(buf);
		ts_list_format(&list, buf, len);
		assert_true(strlen(buf) < len);
		if (len > 32)
			assert_string_equal(buf, "10.0.0.0/8,11.0.0.0/8,12.0.0.0/8");
		else if (len > 3)
			assert_non_null(strstr(buf, "…"));
		free(buf);
	}
}

/* The prefixes are disjoint, in order, and cover just the range. */
static void splitting(void **state)
{
	static const struct {
		const char *lo, *hi, *prefixes;
	} cases[] = {
		{ "10.0.0.0", "10.0.0.255", "10.0.0.0/24" },
		{ "10.0.0.1", "10.0.0.9", "10.0.0.1/32 10.0.0.2/31 10.0.0.4/30 10.0.0.8/31" },
		{ "0.0.0.0", "255.255.255.255", "0.0.0.0/0" },
		{ "255.255.255.254", "255.255.255.255", "255.255.255.254/31" },
		{ "127.255.255.255", "128.0.0.0", "127.255.255.255/32 128.0.0.0/32" },
		{ "2001:db8::", "2001:db8::2", "2001:db8::/127 2001:db8::2/128" },
		{ "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct traffic_selector ts = sel(cases[i].lo, cases[i].hi, 0, 0, 65535);
		struct ip_prefix out[300];
		char buf[IP_PREFIX_TEXT], all[1024] = "";
		size_t n = ts_to_prefixes(&ts, out, 300);

		for (size_t k = 0; k < n; k++) {
			strcat(all, k ? " " : "");
			strcat(all, ip_prefix_format(&out[k], buf));
		}
		assert_string_equal(all, cases[i].prefixes);
	}
	struct traffic_selector worst =
		sel("::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", 0, 0, 65535);
	struct ip_prefix out[300];
	assert_int_equal(ts_to_prefixes(&worst, out, 300), 254);
	assert_int_equal(ts_to_prefixes(&worst, out, 7), 7);
	assert_int_equal(ts_to_prefixes(&worst, out, 0), 0);
	worst.lo.family = AF_INET;
	assert_int_equal(ts_to_prefixes(&worst, out, 300), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(formats),	 cmocka_unit_test(longest_text_fits),
		cmocka_unit_test(intersections), cmocka_unit_test(validity),
		cmocka_unit_test(matching),	 cmocka_unit_test(narrowing),
		cmocka_unit_test(narrowing_of_full_lists),
		cmocka_unit_test(list_text_is_cut),
		cmocka_unit_test(splitting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
