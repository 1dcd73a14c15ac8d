/* Priorities: the number that is known, and that the more exact selector is met first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "sa/child_sa.h"

static struct traffic_selector net(const char *text)
{
	struct ip_prefix p;

	assert_true(ip_prefix_parse(text, &p, NULL));
	return ts_from_prefix(&p);
}

static struct traffic_selector ports(struct traffic_selector ts, uint8_t protocol, uint16_t lo,
				     uint16_t hi)
{
	ts.protocol = protocol;
	ts.port_lo = lo;
	ts.port_hi = hi;
	return ts;
}

static void known_value(void **state)
{
	struct traffic_selector l = net("192.168.10.0/24"), r = net("192.168.30.0/24");

	(void)state;
	assert_int_equal(sa_policy_priority(&l, &r), 1757393);
	assert_int_equal(sa_policy_priority(&r, &l), 1757393);
}

static void longer_prefixes_come_first(void **state)
{
	static const char *const nets[] = { "0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24",
					    "10.1.2.0/25", "10.1.2.3/32" };
	struct traffic_selector other = net("192.168.0.0/16");

	(void)state;
	for (size_t i = 1; i < sizeof(nets) / sizeof(nets[0]); i++) {
		struct traffic_selector wide = net(nets[i - 1]), exact = net(nets[i]);

		assert_true(sa_policy_priority(&exact, &other) < sa_policy_priority(&wide, &other));
		assert_true(sa_policy_priority(&other, &exact) < sa_policy_priority(&other, &wide));
	}
}

static void ipv6(void **state)
{
	struct traffic_selector all = net("::/0"), wide = net("2001:db8::/32");
	struct traffic_selector exact = net("2001:db8::1/128");

	(void)state;
	assert_true(sa_policy_priority(&exact, &exact) < sa_policy_priority(&exact, &wide));
	assert_true(sa_policy_priority(&exact, &wide) < sa_policy_priority(&wide, &wide));
	assert_true(sa_policy_priority(&wide, &wide) < sa_policy_priority(&all, &wide));
	assert_true(sa_policy_priority(&all, &all) < UINT32_MAX);
}

static void ranges_count_by_their_size(void **state)
{
	struct traffic_selector range = net("10.0.0.0/24"), o = net("10.9.0.0/16");

	(void)state;
	uint32_t whole = sa_policy_priority(&range, &o);

	assert_true(ip_address_parse("10.0.0.1", &range.lo));
	assert_true(ip_address_parse("10.0.0.9", &range.hi));
	struct traffic_selector within = net("10.0.0.4/31");

	assert_true(sa_policy_priority(&range, &o) < whole);
	assert_true(sa_policy_priority(&within, &o) < sa_policy_priority(&range, &o));
}

static void protocols_and_ports_come_first(void **state)
{
	struct traffic_selector any = net("10.0.0.0/24"), r = net("10.9.0.0/16");
	struct traffic_selector tcp = ports(any, 6, 0, 65535), wide = ports(any, 6, 1024, 65535);
	struct traffic_selector range = ports(any, 6, 8000, 8015), one = ports(any, 6, 80, 80);
	struct traffic_selector opaque = ports(any, 6, 65535, 0), r80 = ports(r, 6, 80, 80);

	(void)state;
	assert_true(sa_policy_priority(&tcp, &r) < sa_policy_priority(&any, &r));
	assert_true(sa_policy_priority(&wide, &r) < sa_policy_priority(&tcp, &r));
	assert_true(sa_policy_priority(&range, &r) < sa_policy_priority(&wide, &r));
	assert_true(sa_policy_priority(&one, &r) < sa_policy_priority(&range, &r));
	assert_true(sa_policy_priority(&one, &r80) < sa_policy_priority(&one, &r));
	assert_int_equal(sa_policy_priority(&opaque, &r), sa_policy_priority(&one, &r));
	assert_true(sa_policy_priority(&one, &r80) > 0);
}

/* Whatever lies within another selector is never met after it. */
static void containment_is_order(void **state)
{
	static const char *const nets[] = { "0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/24", "10.0.0.1/32" };
	static const struct { uint8_t protocol; uint16_t lo, hi; } ends[] = {
		{ 0, 0, 65535 }, { 17, 0, 65535 }, { 17, 0, 1023 }, { 17, 500, 510 }, { 17, 500, 500 },
	};
	struct traffic_selector ts[20], remote = net("172.16.0.0/12");
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < 4; i++)
		for (size_t k = 0; k < 5; k++)
			ts[n++] = ports(net(nets[i]), ends[k].protocol, ends[k].lo, ends[k].hi);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++)
			if (ts_contains(&ts[i], &ts[k]) && !ts_equal(&ts[i], &ts[k]))
				assert_true(sa_policy_priority(&ts[k], &remote) <
					    sa_policy_priority(&ts[i], &remote));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_value),
		cmocka_unit_test(longer_prefixes_come_first),
		cmocka_unit_test(ipv6),
		cmocka_unit_test(ranges_count_by_their_size),
		cmocka_unit_test(protocols_and_ports_come_first),
		cmocka_unit_test(containment_is_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
