/* Policies in order, and which SA of a reqid a packet takes. RFC 4301 §4.4.1, §5. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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
	first = policy_list_replace(NULL, &wide, NULL, &a);
	both = policy_list_replace(first, &narrow, NULL, &b);
	assert_int_equal(both->count, 2);
	assert_ptr_equal(policy_list_find(both, &f)->state, &narrow);
	assert_ptr_equal(policy_list_find(both, &g)->state, &wide);
	f = flow("192.0.2.1", "10.2.0.1"); /* nobody's source */
	assert_null(policy_list_find(both, &f));
	assert_null(policy_list_find(NULL, &f));
	none = policy_list_replace(both, &narrow, &b, NULL);
	assert_int_equal(none->count, 1);
	f = flow("10.1.0.1", "10.2.0.1");
	assert_ptr_equal(policy_list_find(none, &f)->state, &wide);
	assert_ptr_equal(policy_list_find(both, &f)->state, &narrow); /* as it was */
	policy_list_free(first);
	policy_list_free(both);
	policy_list_free(none);
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
	first = policy_list_replace(NULL, &narrow, NULL, &b);
	both = policy_list_replace(first, &wide, NULL, &a);
	assert_ptr_equal(policy_list_find(both, &f)->state, &wide);
	policy_list_free(first);
	policy_list_free(both);
}

static void replacing_takes_the_place_of_all_old_pairs(void **state)
{
	struct policy_state s = { .reqid = 1 };
	struct sa_policy a = policy(1, "10.0.0.0/8", "10.2.0.0/16"), b;
	struct traffic_selector more = selector("10.9.0.0/16"), v6 = selector("2001:db8::/32");
	struct policy_list *one, *two;

	(void)state;
	ts_list_add(&a.remote_ts, &more);
	ts_list_add(&a.remote_ts, &v6); /* pairs of two families do not exist */
	one = policy_list_replace(NULL, &s, NULL, &a);
	assert_int_equal(one->count, 2);
	b = policy(1, "10.0.0.0/8", "10.3.0.0/16");
	two = policy_list_replace(one, &s, &a, &b);
	assert_int_equal(two->count, 1);
	policy_list_free(one);
	policy_list_free(two);
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
	list = policy_list_replace(NULL, &s, NULL, &a);
	assert_non_null(policy_list_find(list, &f));
	f.dport = 81;
	assert_null(policy_list_find(list, &f));
	f.dport = 80;
	f.protocol = IPPROTO_UDP;
	assert_null(policy_list_find(list, &f));
	f.protocol = IPPROTO_TCP;
	f.ports_known = false; /* a later fragment */
	assert_null(policy_list_find(list, &f));
	policy_list_free(list);
}

/* --- against a plain list ------------------------------------------------------------------ */

enum { STATES = 300, CHANGES = 3000, FLOWS_A_CHANGE = 40 };

static uint64_t dice = 88172645463325252U;

static unsigned roll(unsigned below)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (unsigned)(dice >> 33) % below;
}

/* What the trie has to do: pairs in the order of priority, equals in the order they came. */
struct plain {
	struct policy_entry entries[STATES * 4];
	size_t count;
};

static void plain_remove(struct plain *p, const struct policy_state *state)
{
	size_t left = 0;

	for (size_t i = 0; i < p->count; i++)
		if (p->entries[i].state != state)
			p->entries[left++] = p->entries[i];
	p->count = left;
}

static void plain_add(struct plain *p, struct policy_state *state, const struct sa_policy *policy)
{
	for (size_t l = 0; l < policy->local_ts.count; l++)
		for (size_t r = 0; r < policy->remote_ts.count; r++) {
			struct policy_entry e = { .local = policy->local_ts.ts[l], .state = state,
						  .remote = policy->remote_ts.ts[r],
						  .priority = policy->priority };
			size_t at = p->count;

			if (e.local.lo.family != e.remote.lo.family)
				continue;
			if (e.priority == 0)
				e.priority = sa_policy_priority(&e.local, &e.remote);
			for (; at > 0 && p->entries[at - 1].priority > e.priority; at--)
				p->entries[at] = p->entries[at - 1];
			p->entries[at] = e;
			p->count++;
		}
}

static const struct policy_entry *plain_find(const struct plain *p, const struct flow *f)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct policy_entry *e = &p->entries[i];

		if (selector_matches(&e->local, &f->src, f->protocol, f->sport, f->ports_known) &&
		    selector_matches(&e->remote, &f->dst, f->protocol, f->dport, f->ports_known))
			return e;
	}
	return NULL;
}

/* Few values for each byte, so that prefixes nest and flows hit; also beyond bit 64. */
static struct ip_address random_address(uint8_t family)
{
	static const uint8_t values[] = { 0, 1, 10, 127, 128, 255 };
	struct ip_address a = { .family = family };
	size_t n = ip_address_size(&a);

	a.bytes[0] = family == AF_INET6 ? 0x20 : 10;
	for (size_t i = 1; i < n; i++)
		a.bytes[i] = n == 4 || i % 4 == 3 ? values[roll(6)] : 0;
	return a;
}

static struct traffic_selector random_selector(uint8_t family)
{
	struct ip_prefix p = { random_address(family), 0 };
	struct ip_address other = random_address(family);
	unsigned bits = family == AF_INET6 ? 128 : 32;
	struct traffic_selector ts;
	char text[IP_PREFIX_TEXT], at[IP_ADDRESS_TEXT];

	snprintf(text, sizeof(text), "%s/%u", ip_address_format(&p.address, at),
		 roll(8) ? bits - roll(bits * 3 / 4) : roll(bits + 1));
	assert_true(ip_prefix_parse(text, &p, NULL));
	ts = ts_from_prefix(&p);
	if (roll(4) == 0) {
		bool less = ip_address_compare(&p.address, &other) < 0;

		ts.lo = less ? p.address : other;
		ts.hi = less ? other : p.address;
	}
	if (roll(3) == 0) {
		ts.protocol = roll(2) ? IPPROTO_TCP : IPPROTO_UDP;
		ts.port_lo = (uint16_t)roll(4);
		ts.port_hi = (uint16_t)(ts.port_lo + roll(4));
		if (roll(4) == 0) { /* OPAQUE */
			ts.port_lo = UINT16_MAX;
			ts.port_hi = 0;
		}
	}
	return ts;
}

static struct sa_policy random_policy(void)
{
	struct sa_policy p = { .action = POLICY_PROTECT, .priority = roll(3) ? 0 : 1 + roll(3) };

	for (unsigned i = 0; i <= roll(2); i++) {
		struct traffic_selector l = random_selector(roll(2) ? AF_INET : AF_INET6);
		struct traffic_selector r = random_selector(l.lo.family);

		assert_true(ts_list_add(&p.local_ts, &l) && ts_list_add(&p.remote_ts, &r));
	}
	return p;
}

static struct flow random_flow(void)
{
	uint8_t family = roll(2) ? AF_INET : AF_INET6;

	return (struct flow){ .src = random_address(family), .dst = random_address(family),
			      .protocol = roll(2) ? IPPROTO_TCP : IPPROTO_UDP, .sport = (uint16_t)roll(8),
			      .dport = (uint16_t)roll(8), .ports_known = roll(4) != 0 };
}

static bool same_pair(const struct policy_entry *a, const struct policy_entry *b)
{
	if (!a || !b)
		return a == b;
	return a->state == b->state && a->priority == b->priority && ts_equal(&a->local, &b->local) &&
	       ts_equal(&a->remote, &b->remote);
}

static void assert_same_list(const struct policy_list *list, const struct plain *plain)
{
	const struct policy_entry **sorted = policy_list_sorted(list);
	bool v6 = false, v4 = false;

	assert_int_equal(list->count, plain->count);
	for (size_t i = 0; i < plain->count; i++) {
		assert_true(same_pair(sorted[i], &plain->entries[i]));
		v6 |= plain->entries[i].local.lo.family == AF_INET6;
		v4 |= plain->entries[i].local.lo.family == AF_INET;
	}
	assert_int_equal(policy_list_has(list, AF_INET6), v6);
	assert_int_equal(policy_list_has(list, AF_INET), v4);
	free(sorted);
}

static void the_trie_finds_what_a_plain_list_finds(void **state)
{
	static struct policy_state states[STATES];
	static struct sa_policy policies[STATES];
	static bool set[STATES];
	struct policy_list *list = NULL, *next;
	struct plain *plain = calloc(1, sizeof(*plain));
	size_t hits = 0, misses = 0;

	(void)state;
	assert_non_null(plain);
	for (unsigned i = 0; i < CHANGES + STATES; i++) {
		unsigned at = i < CHANGES ? roll(STATES) : i - CHANGES; /* at last all go */
		bool add = i < CHANGES && (!set[at] || roll(2));
		struct sa_policy p = random_policy();

		next = policy_list_replace(list, &states[at], set[at] ? &policies[at] : NULL,
					   add ? &p : NULL);
		assert_non_null(next);
		policy_list_free(list);
		list = next;
		plain_remove(plain, &states[at]);
		if (add)
			plain_add(plain, &states[at], &p);
		policies[at] = p;
		set[at] = add;
		for (unsigned k = 0; k < FLOWS_A_CHANGE; k++) {
			struct flow f = random_flow();
			const struct policy_entry *found = policy_list_find(list, &f);

			assert_true(same_pair(found, plain_find(plain, &f)));
			*(found ? &hits : &misses) += 1;
		}
		if (i % 100 == 0)
			assert_same_list(list, plain);
	}
	assert_true(hits > CHANGES && misses > CHANGES); /* the dice are not loaded */
	assert_int_equal(list->count, 0);
	assert_false(policy_list_has(list, AF_INET) || policy_list_has(list, AF_INET6));
	policy_list_free(list);
	free(plain);
}

/* --- SAs ----------------------------------------------------------------------------------- */

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
		cmocka_unit_test(the_trie_finds_what_a_plain_list_finds),
		cmocka_unit_test(newest_sa_is_first),
		cmocka_unit_test(sa_selectors_turn_round_inbound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
