/* address.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <netinet/in.h>

#include "net/address.h"

static struct ip_address addr(const char *s)
{
	struct ip_address a;

	assert_true(ip_address_parse(s, &a));
	return a;
}

static void parse_and_format(void **state)
{
	static const char *const good[] = { "0.0.0.0", "192.168.20.10", "255.255.255.255", "::",
					    "2001:db8::1", "::ffff:1.2.3.4", "fe80::1" };
	static const char *const bad[] = { "", "1.2.3", "1.2.3.4.5", "256.1.1.1", "host", "1.2.3.4 ",
					   "2001:db8:::1", "fe80::1%eth0", "1.2.3.4/24", "01.2.3.4x" };
	char buf[IP_ADDRESS_TEXT];
	struct ip_address a = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		a = addr(good[i]);
		assert_string_equal(ip_address_format(&a, buf), good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(ip_address_parse(bad[i], &a));
	a = (struct ip_address){ 0 };
	assert_string_equal(ip_address_format(&a, buf), "<none>");
	assert_false(ip_address_is_any(&a));
	a = addr("::");
	assert_true(ip_address_is_any(&a));
	assert_int_equal(ip_address_from_bytes(BYTES("12345", 5)).family, AF_UNSPEC);
}

static void order(void **state)
{
	static const char *const sorted[] = { "1.2.3.4", "1.2.4.0", "200.0.0.0", "::1", "2001:db8::" };

	(void)state;
	for (int i = 0; i < 5; i++) {
		for (int k = 0; k < 5; k++) {
			struct ip_address a = addr(sorted[i]), b = addr(sorted[k]);
			int c = ip_address_compare(&a, &b);

			assert_true(i < k ? c < 0 : i > k ? c > 0 : c == 0);
			assert_int_equal(ip_address_equal(&a, &b), i == k);
		}
	}
}

static void endpoints(void **state)
{
	struct ip_endpoint e = { .address = addr("2001:db8::1"), .port = 4500 }, back;
	struct sockaddr_storage ss;
	struct sockaddr_in6 mapped = { .sin6_family = AF_INET6, .sin6_port = htons(500) };
	char buf[IP_ENDPOINT_TEXT];

	(void)state;
	assert_string_equal(ip_endpoint_format(&e, buf), "[2001:db8::1]:4500");
	assert_int_equal(ip_endpoint_to_sockaddr(&e, &ss), sizeof(struct sockaddr_in6));
	assert_true(ip_endpoint_from_sockaddr((struct sockaddr *)&ss, &back));
	assert_true(ip_endpoint_equal(&e, &back));
	e = (struct ip_endpoint){ .address = addr("192.0.2.1"), .port = 500 };
	assert_string_equal(ip_endpoint_format(&e, buf), "192.0.2.1:500");
	assert_int_equal(ip_endpoint_to_sockaddr(&e, &ss), sizeof(struct sockaddr_in));
	assert_true(ip_endpoint_from_sockaddr((struct sockaddr *)&ss, &back));
	assert_true(ip_endpoint_equal(&e, &back));
	mapped.sin6_addr.s6_addr[10] = mapped.sin6_addr.s6_addr[11] = 0xff;
	memcpy(&mapped.sin6_addr.s6_addr[12], e.address.bytes, 4);
	assert_true(ip_endpoint_from_sockaddr((struct sockaddr *)&mapped, &back));
	assert_true(ip_endpoint_equal(&e, &back));
	e.address.family = AF_UNSPEC;
	assert_int_equal(ip_endpoint_to_sockaddr(&e, &ss), 0);
	ss.ss_family = AF_UNIX;
	assert_false(ip_endpoint_from_sockaddr((struct sockaddr *)&ss, &back));
}

static void prefixes(void **state)
{
	static const struct {
		const char *text, *shown; /* NULL: rejected */
		bool host_bits;
	} cases[] = {
		{ "192.168.10.0/24", "192.168.10.0/24", false },
		{ "192.168.10.10/24", "192.168.10.0/24", true },
		{ "192.168.10.10", "192.168.10.10/32", false },
		{ "10.0.0.129/25", "10.0.0.128/25", true },
		{ "0.0.0.0/0", "0.0.0.0/0", false },
		{ "2001:db8::ff/121", "2001:db8::80/121", true },
		{ "::/0", "::/0", false },
		{ "2001:db8::1", "2001:db8::1/128", false },
		{ "1.2.3.4/33", NULL, false },
		{ "::/129", NULL, false },
		{ "1.2.3.4/", NULL, false },
		{ "1.2.3.4/-1", NULL, false },
		{ "1.2.3.4/255.0.0.0", NULL, false },
		{ "/24", NULL, false },
		{ "00000000000000000000000000000000000000000000000000000000000/8", NULL, false },
	};
	char buf[IP_PREFIX_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ip_prefix p, again;
		struct ip_address lo, hi;
		bool host_bits;

		assert_int_equal(ip_prefix_parse(cases[i].text, &p, &host_bits), !!cases[i].shown);
		if (!cases[i].shown)
			continue;
		assert_string_equal(ip_prefix_format(&p, buf), cases[i].shown);
		assert_int_equal(host_bits, cases[i].host_bits);
		ip_prefix_range(&p, &lo, &hi);
		assert_true(ip_prefix_contains(&p, &lo) && ip_prefix_contains(&p, &hi));
		assert_true(ip_prefix_from_range(&lo, &hi, &again));
		assert_true(ip_prefix_equal(&p, &again));
	}
}

static void no_prefix(void **state)
{
	static const char *const ranges[][2] = {
		{ "10.0.0.0", "10.0.0.2" }, { "10.0.0.1", "10.0.0.2" },	  { "10.0.0.2", "10.0.0.1" },
		{ "10.0.0.0", "::" },	    { "2001:db8::", "2001:db8::5" },
	};
	struct ip_prefix p;

	(void)state;
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		struct ip_address lo = addr(ranges[i][0]), hi = addr(ranges[i][1]);

		assert_false(ip_prefix_from_range(&lo, &hi, &p));
	}
	assert_true(ip_prefix_parse("10.0.0.0/8", &p, NULL));
	struct ip_address out = addr("11.0.0.0"), v6 = addr("a00::"), none = { 0 };
	assert_false(ip_prefix_contains(&p, &out));
	assert_false(ip_prefix_contains(&p, &v6));
	assert_false(ip_prefix_contains(&p, &none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_and_format), cmocka_unit_test(order),
		cmocka_unit_test(endpoints),	    cmocka_unit_test(prefixes),
		cmocka_unit_test(no_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
