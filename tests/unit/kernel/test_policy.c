/* Policies as messages, as `ip xfrm policy` writes them; and what selectors become. */
#include "messages.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "kernel/xfrm_policy.h"
#include "recorded.h"

static struct traffic_selector net(const char *text)
{
	struct ip_prefix p;

	assert_true(ip_prefix_parse(text, &p, NULL));
	return ts_from_prefix(&p);
}

static struct sa_policy policy(enum policy_action action, const char *local, const char *remote)
{
	struct sa_policy p = { .reqid = 16389, .conn = "net1", .action = action,
			       .mode = MODE_TUNNEL, .local = address("192.168.20.10"),
			       .remote = address("192.168.20.20") };
	struct traffic_selector l = net(local), r = net(remote);

	ts_list_add(&p.local_ts, &l);
	ts_list_add(&p.remote_ts, &r);
	return p;
}

static struct xfrm_rules expand(const struct sa_policy *p, size_t count)
{
	struct xfrm_rules rules = { 0 };
	struct backend_error err = { "" };

	if (!xfrm_rules_expand(p, &rules, &err))
		fail_msg("%s", err.text);
	assert_int_equal(rules.count, count);
	return rules;
}

static void article_as_recorded(void **state)
{
	struct sa_policy p = policy(POLICY_TRAP, "192.168.10.0/24", "192.168.30.0/24");
	struct xfrm_rules rules = expand(&p, 3);
	union message m;

	(void)state;
	for (size_t i = 0; i < 3; i++)
		rules.rule[i].index = XFRM_INDEX_MARK | rules.rule[i].key.direction;
	assert_int_equal(rules.rule[0].key.direction, XFRM_POLICY_IN);
	assert_true(xfrm_rule_encode(&m.header, sizeof(m), &rules.rule[1]));
	assert_message(&m, recorded_policy_fwd);
	assert_true(xfrm_rule_encode(&m.header, sizeof(m), &rules.rule[2]));
	assert_message(&m, recorded_policy_out);
	assert_true(xfrm_rule_encode_delete(&m.header, sizeof(m), &rules.rule[2].key));
	assert_message(&m, recorded_policy_delete);
	xfrm_rules_free(&rules);
}

static void block_as_recorded(void **state)
{
	struct sa_policy p = policy(POLICY_DROP, "192.0.2.1/32", "10.0.0.0/8");
	struct xfrm_rules rules;
	union message m;

	(void)state;
	p.remote_ts.ts[0].protocol = IPPROTO_TCP;
	p.remote_ts.ts[0].port_lo = p.remote_ts.ts[0].port_hi = 443;
	p.priority = 7;
	p.mark_in = 5;
	p.mark_in_mask = 255;
	rules = expand(&p, 3);
	rules.rule[0].index = XFRM_INDEX_MARK;
	assert_true(xfrm_rule_encode(&m.header, sizeof(m), &rules.rule[0]));
	assert_message(&m, recorded_policy_block);
	/* the mark of the other direction is another one: none */
	assert_int_equal(rules.rule[2].key.mark.m, 0);
	xfrm_rules_free(&rules);
}

static void neighbours_as_recorded(void **state)
{
	struct xfrm_rules rules = { 0 };
	union message m;

	(void)state;
	assert_true(xfrm_rules_neighbour_discovery(&rules));
	assert_int_equal(rules.count, 6);
	rules.rule[0].index = XFRM_INDEX_MARK;
	assert_true(xfrm_rule_encode(&m.header, sizeof(m), &rules.rule[0]));
	assert_message(&m, recorded_policy_icmp6);
	xfrm_rules_free(&rules);
}

static void reads_what_it_writes(void **state)
{
	struct sa_policy p = policy(POLICY_PROTECT, "2001:db8:1::/48", "2001:db8:2::/48");
	struct xfrm_rules rules = expand(&p, 3);
	struct xfrm_rule r;
	union message m;

	(void)state;
	for (size_t i = 0; i < rules.count; i++) {
		assert_true(xfrm_rule_encode(&m.header, sizeof(m), &rules.rule[i]));
		m.header.nlmsg_type = XFRM_MSG_NEWPOLICY;
		assert_true(xfrm_rule_decode(&m.header, &r));
		assert_memory_equal(&r.key, &rules.rule[i].key, sizeof(r.key));
		assert_memory_equal(&r.template, &rules.rule[i].template, sizeof(r.template));
		assert_int_equal(r.priority, rules.rule[i].priority);
		assert_true(xfrm_rule_is_ours(&r));
	}
	/* an IPv6 net in an IPv4 tunnel */
	assert_int_equal(r.key.sel.family, AF_INET6);
	assert_int_equal(r.template.family, AF_INET);
	xfrm_rules_free(&rules);
}

static void ours_and_not_ours(void **state)
{
	struct xfrm_rule r = { .index = 193 };

	(void)state;
	assert_false(xfrm_rule_is_ours(&r));
	r.has_template = true;
	r.template.id.proto = IPPROTO_ESP;
	r.template.reqid = 1;
	assert_false(xfrm_rule_is_ours(&r));
	r.template.reqid = 16384;
	assert_true(xfrm_rule_is_ours(&r));
	r = (struct xfrm_rule){ .index = XFRM_INDEX_MARK | 800 | XFRM_POLICY_OUT };
	assert_true(xfrm_rule_is_ours(&r));
}

static void actions(void **state)
{
	struct sa_policy p = policy(POLICY_PASS, "10.0.0.0/24", "10.0.1.0/24");
	struct xfrm_rules rules = expand(&p, 3);

	(void)state;
	assert_false(rules.rule[2].block || rules.rule[2].has_template);
	xfrm_rules_free(&rules);
	/* no peer known: there is nothing to protect with, and a trap tells what it caught */
	p = policy(POLICY_PROTECT, "10.0.0.0/24", "10.0.1.0/24");
	p.remote = (struct ip_address){ 0 };
	rules = expand(&p, 3);
	assert_true(rules.rule[0].block && rules.rule[1].block && rules.rule[2].block);
	xfrm_rules_free(&rules);
	p.action = POLICY_TRAP;
	rules = expand(&p, 3);
	assert_true(rules.rule[2].has_template && !rules.rule[2].block);
	assert_int_equal(rules.rule[2].template.reqid, 16389);
	assert_int_equal(rules.rule[2].template.mode, XFRM_MODE_TRANSPORT);
	xfrm_rules_free(&rules);
	/* transport mode: nothing is forwarded, and the addresses are the packets' own */
	p = policy(POLICY_TRAP, "192.168.20.10/32", "192.168.20.20/32");
	p.mode = MODE_TRANSPORT;
	rules = expand(&p, 2);
	assert_int_equal(rules.rule[1].key.direction, XFRM_POLICY_OUT);
	assert_int_equal(rules.rule[1].template.id.daddr.a4, 0);
	xfrm_rules_free(&rules);
}

static void every_pair(void **state)
{
	struct sa_policy p = policy(POLICY_TRAP, "10.0.0.0/24", "10.1.0.0/24");
	struct traffic_selector more = net("10.2.0.0/24"), v6 = net("2001:db8::/32"), udp;
	struct xfrm_rules rules;

	(void)state;
	ts_list_add(&p.remote_ts, &more);
	ts_list_add(&p.remote_ts, &v6);
	rules = expand(&p, 2 * 3); /* IPv4 to IPv6 is no pair */
	xfrm_rules_free(&rules);
	udp = net("10.3.0.0/24");
	udp.protocol = IPPROTO_UDP;
	p.local_ts.ts[0].protocol = IPPROTO_TCP;
	ts_list_add(&p.remote_ts, &udp);
	rules = expand(&p, 2 * 3); /* TCP to UDP is none either */
	assert_int_equal(rules.rule[0].key.sel.proto, IPPROTO_TCP);
	xfrm_rules_free(&rules);
}

static void ranges_of_addresses(void **state)
{
	struct sa_policy p = policy(POLICY_TRAP, "10.0.0.0/24", "10.1.0.0/24");
	struct xfrm_rules rules;

	(void)state;
	p.local_ts.ts[0].lo = address("10.0.0.1");
	p.local_ts.ts[0].hi = address("10.0.0.6"); /* .1/32 .2/31 .4/31 .6/32 */
	rules = expand(&p, 4 * 3);
	assert_int_equal(rules.rule[5].key.sel.prefixlen_s, 31);
	xfrm_rules_free(&rules);
}

/* A set of ports is exactly the one that its blocks match. */
static void ranges_of_ports(void **state)
{
	static const struct { uint16_t lo, hi; } cases[] = {
		{ 80, 80 }, { 1, 65534 }, { 1024, 65535 }, { 8000, 8010 }, { 0, 0 }, { 65535, 65535 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sa_policy p = policy(POLICY_TRAP, "10.0.0.0/24", "10.1.0.0/24");
		struct xfrm_rules rules = { 0 };
		struct backend_error err;

		p.remote_ts.ts[0].protocol = IPPROTO_TCP;
		p.remote_ts.ts[0].port_lo = cases[i].lo;
		p.remote_ts.ts[0].port_hi = cases[i].hi;
		assert_true(xfrm_rules_expand(&p, &rules, &err));
		for (uint32_t port = 0; port <= UINT16_MAX; port++) {
			unsigned hits = 0;

			for (size_t k = 2; k < rules.count; k += 3) {
				const struct xfrm_selector *s = &rules.rule[k].key.sel;

				hits += ((port ^ ntohs(s->dport)) & ntohs(s->dport_mask)) == 0;
			}
			assert_int_equal(hits, port >= cases[i].lo && port <= cases[i].hi);
		}
		xfrm_rules_free(&rules);
	}
}

static void icmp_type_and_code(void **state)
{
	struct sa_policy p = policy(POLICY_TRAP, "10.0.0.0/24", "10.1.0.0/24");
	struct traffic_selector *l = &p.local_ts.ts[0];
	struct xfrm_rules rules;
	const struct xfrm_selector *s;

	(void)state;
	l->protocol = p.remote_ts.ts[0].protocol = IPPROTO_ICMP;
	l->port_lo = 0x0800; /* type 8, every code */
	l->port_hi = 0x08ff;
	rules = expand(&p, 3);
	for (size_t i = 0; i < 3; i++) { /* the same in every direction */
		s = &rules.rule[i].key.sel;
		assert_int_equal(ntohs(s->sport), 8);
		assert_int_equal(s->sport_mask, 0xffff);
		assert_int_equal(s->dport_mask, 0);
	}
	xfrm_rules_free(&rules);
	l->port_lo = l->port_hi = 0x0304;
	rules = expand(&p, 3);
	s = &rules.rule[0].key.sel;
	assert_true(ntohs(s->sport) == 3 && ntohs(s->dport) == 4 && s->dport_mask == 0xffff);
	xfrm_rules_free(&rules);
}

static void what_is_too_much(void **state)
{
	struct sa_policy p = policy(POLICY_TRAP, "10.0.0.0/24", "10.1.0.0/24");
	struct backend_error err = { "" };
	struct xfrm_rules rules = { 0 };

	(void)state;
	p.local_ts.ts[0].lo = address("10.0.0.1");
	p.local_ts.ts[0].hi = address("10.255.255.254");
	p.local_ts.ts[0].protocol = IPPROTO_TCP;
	p.local_ts.ts[0].port_lo = 1;
	p.local_ts.ts[0].port_hi = 65534;
	p.remote_ts.ts[0] = p.local_ts.ts[0];
	assert_false(xfrm_rules_expand(&p, &rules, &err));
	assert_non_null(strstr(err.text, "\"net1\""));
	assert_null(rules.rule);
	p = policy(POLICY_TRAP, "10.0.0.0/24", "2001:db8::/32");
	assert_false(xfrm_rules_expand(&p, &rules, &err));
	assert_non_null(strstr(err.text, "family"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(article_as_recorded), cmocka_unit_test(block_as_recorded),
		cmocka_unit_test(neighbours_as_recorded), cmocka_unit_test(reads_what_it_writes),
		cmocka_unit_test(ours_and_not_ours), cmocka_unit_test(actions),
		cmocka_unit_test(every_pair), cmocka_unit_test(ranges_of_addresses),
		cmocka_unit_test(ranges_of_ports), cmocka_unit_test(icmp_type_and_code),
		cmocka_unit_test(what_is_too_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
