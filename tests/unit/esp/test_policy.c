/* Policies in order, and which SA of a reqid a packet takes. RFC 4301 §4.4.1, §5. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/in.h>

#include "esp/policy.h"

static struct traffic_selector selector(const char *prefix)
{
	struct ip_prefix p;

	assert_true(ip_prefix_parse(prefix, &p, NULL));
	return ts_from_prefix(&p);
}

static struct sa_policy policy(uint32_t reqid, const char *local, const char *remote)
{
	struct sa_policy p = { .reqid = reqid, .action = POLICY_PROTECT };
	struct traffic_selector l = selector(local), r = selector(remote);

	assert_true(ts_list_add(&p.local_ts, &l) && ts_list_add(&p.remote_ts, &r));
	return p;
}

static struct flow flow(const char *src, const char *dst)
{
	struct flow f = { .protocol = IPPROTO_TCP, .ports_known = true, .sport = 1024, .dport = 80 };

	assert_true(ip_address_parse(src, &f.src) && ip_address_parse(dst, &f.dst));
	return f;
}

static void more_exact_policies_come_first(void **state)
{
	struct policy_state wide = { .reqid = 1 }, narrow = { .reqid = 2 };
	struct sa_policy a = policy(1, "10.0.0.0/8", "0.0.0.0/0");
	struct sa_policy b = policy(2, "10.1.0.0/16", "10.2.0.0/16");
	struct flow f = flow("10.1.0.1", "10.2.0.1"), g = flow("10.1.0.1", "192.0.2.1");
	struct policy_list *first, *both, *none;

	(void)state;
	first = policy_list_replace(NULL, &wide, &a);
	both = policy_list_replace(first, &narrow, &b);
	assert_int_equal(both->count, 2);
	assert_ptr_equal(policy_list_find(both, &f)->state, &narrow);
	assert_ptr_equal(policy_list_find(both, &g)->state, &wide);
	f = flow("192.0.2.1", "10.2.0.1"); /* nobody's source */
	assert_null(policy_list_find(both, &f));
	assert_null(policy_list_find(NULL, &f));
	none = policy_list_replace(both, &narrow, NULL);
	assert_int_equal(none->count, 1);
	assert_ptr_equal(none->entries[0].state, &wide);
	free(first);
	free(both);
	free(none);
}

static void priority_of_the_policy_wins_over_the_computed_one(void **state)
{
	struct policy_state wide = { .reqid = 1 }, narrow = { .reqid = 2 };
	struct sa_policy a = policy(1, "10.0.0.0/8", "0.0.0.0/0");
	struct sa_policy b = policy(2, "10.1.0.0/16", "10.2.0.0/16");
	struct flow f = flow("10.1.0.1", "10.2.0.1");
	struct policy_list *first, *both;

	(void)state;
	a.priority = 1;
	first = policy_list_replace(NULL, &narrow, &b);
	both = policy_list_replace(first, &wide, &a);
	assert_ptr_equal(policy_list_find(both, &f)->state, &wide);
	free(first);
	free(both);
}

static void replacing_takes_the_place_of_all_old_pairs(void **state)
{
	struct policy_state s = { .reqid = 1 };
	struct sa_policy a = policy(1, "10.0.0.0/8", "10.2.0.0/16");
	struct traffic_selector more = selector("10.9.0.0/16"), v6 = selector("2001:db8::/32");
	struct policy_list *one, *two;

	(void)state;
	ts_list_add(&a.remote_ts, &more);
	ts_list_add(&a.remote_ts, &v6); /* pairs of two families do not exist */
	one = policy_list_replace(NULL, &s, &a);
	assert_int_equal(one->count, 2);
	a = policy(1, "10.0.0.0/8", "10.3.0.0/16");
	two = policy_list_replace(one, &s, &a);
	assert_int_equal(two->count, 1);
	free(one);
	free(two);
}

static void selectors_with_ports(void **state)
{
	struct policy_state s = { .reqid = 1 };
	struct sa_policy a = policy(1, "10.0.0.0/8", "10.2.0.0/16");
	struct flow f = flow("10.0.0.1", "10.2.0.1");
	struct policy_list *list;

	(void)state;
	a.remote_ts.ts[0].protocol = IPPROTO_TCP;
	a.remote_ts.ts[0].port_lo = a.remote_ts.ts[0].port_hi = 80;
	a.local_ts.ts[0].protocol = IPPROTO_TCP;
	list = policy_list_replace(NULL, &s, &a);
	assert_non_null(policy_list_find(list, &f));
	f.dport = 81;
	assert_null(policy_list_find(list, &f));
	f.dport = 80;
	f.protocol = IPPROTO_UDP;
	assert_null(policy_list_find(list, &f));
	f.protocol = IPPROTO_TCP;
	f.ports_known = false; /* a later fragment */
	assert_null(policy_list_find(list, &f));
	free(list);
}

static void newest_sa_is_first(void **state)
{
	struct sa_out a = { 0 }, b = { 0 };
	struct sa_list *one = sa_list_with(NULL, &a), *two = sa_list_with(one, &b);
	struct sa_list *again = sa_list_with(two, &a), *left = sa_list_without(two, &b);

	(void)state;
	assert_int_equal(two->count, 2);
	assert_ptr_equal(two->sa[0], &b);
	assert_int_equal(again->count, 2);
	assert_ptr_equal(again->sa[0], &a);
	assert_int_equal(left->count, 1);
	assert_ptr_equal(left->sa[0], &a);
	free(one);
	free(two);
	free(again);
	free(left);
}

static void sa_selectors_turn_round_inbound(void **state)
{
	struct traffic_selector local = selector("10.1.0.0/16"), remote = selector("10.2.0.0/16");
	struct sa_common c = { .local = &local, .remote = &remote, .local_count = 1, .remote_count = 1 };
	struct flow out = flow("10.1.0.1", "10.2.0.1"), in = flow("10.2.0.1", "10.1.0.1");

	(void)state;
	assert_true(sa_covers_outbound(&c, &out));
	assert_false(sa_covers_outbound(&c, &in));
	assert_true(sa_covers_inbound(&c, &in));
	assert_false(sa_covers_inbound(&c, &out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_exact_policies_come_first),
		cmocka_unit_test(priority_of_the_policy_wins_over_the_computed_one),
		cmocka_unit_test(replacing_takes_the_place_of_all_old_pairs),
		cmocka_unit_test(selectors_with_ports),
		cmocka_unit_test(newest_sa_is_first),
		cmocka_unit_test(sa_selectors_turn_round_inbound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
