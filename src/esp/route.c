#include "esp/route.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/log.h"
#include "esp/esp.h"

enum {
	PREFIXES_MAX = 256,
	RULES_MAX = 4096, /* for one policy */
	METRIC_DEVICE = 10,
	METRIC_UNREACHABLE = 20000,
	PRIORITY_STALE = UINT32_MAX,
};

/* A rule as the kernel has it; zeroed padding, compared as bytes. */
struct rule {
	struct ip_prefix src, dst; /* AF_UNSPEC: any */
	uint32_t pref, action, target, mark, mask, flags; /* target: table, or preference of a goto */
	uint16_t sport_lo, sport_hi, dport_lo, dport_hi;  /* 0, 0: any */
	uint8_t family, ipproto;
	uint8_t zero[2];
};

struct rule_item {
	struct rule rule;
	unsigned refs; /* 0: a predecessor's, nobody's yet */
	uint32_t priority;
	uint64_t position; /* order in which the kernel got it */
	UT_hash_handle hh;
};

/* A destination of table 220. */
struct route_item {
	struct ip_prefix dst;
	unsigned refs;
	UT_hash_handle hh;
};

/* --- one rule, one route: to and from the kernel -------------------------------------------- */

static void put_ports(struct netlink_request *q, uint16_t attr, uint16_t lo, uint16_t hi)
{
	struct fib_rule_port_range range = { .start = lo, .end = hi };

	if (lo || hi)
		mnl_attr_put(q->header, attr, sizeof(range), &range);
}

static int rule_send(struct routing *r, const struct rule *rule, uint16_t type, uint16_t flags)
{
	struct netlink_request q;
	struct fib_rule_hdr *h = netlink_begin(&q, type, flags, sizeof(*h));

	h->family = rule->family;
	h->action = (uint8_t)rule->action;
	h->flags = rule->flags;
	if (rule->src.address.family != AF_UNSPEC) {
		h->src_len = rule->src.length;
		netlink_put_address(&q, FRA_SRC, &rule->src.address);
	}
	if (rule->dst.address.family != AF_UNSPEC) {
		h->dst_len = rule->dst.length;
		netlink_put_address(&q, FRA_DST, &rule->dst.address);
	}
	mnl_attr_put_u32(q.header, FRA_PRIORITY, rule->pref);
	mnl_attr_put_u8(q.header, FRA_PROTOCOL, ESP_PROTOCOL);
	if (rule->action == FR_ACT_TO_TBL) {
		h->table = (uint8_t)rule->target;
		mnl_attr_put_u32(q.header, FRA_TABLE, rule->target);
	} else if (rule->action == FR_ACT_GOTO) {
		mnl_attr_put_u32(q.header, FRA_GOTO, rule->target);
	}
	if (rule->mask) {
		mnl_attr_put_u32(q.header, FRA_FWMARK, rule->mark);
		mnl_attr_put_u32(q.header, FRA_FWMASK, rule->mask);
	}
	if (rule->ipproto)
		mnl_attr_put_u8(q.header, FRA_IP_PROTO, rule->ipproto);
	put_ports(&q, FRA_SPORT_RANGE, rule->sport_lo, rule->sport_hi);
	put_ports(&q, FRA_DPORT_RANGE, rule->dport_lo, rule->dport_hi);
	return netlink_do(&r->nl, &q);
}

static int rule_do(struct routing *r, const struct rule *rule, bool add)
{
	return rule_send(r, rule, add ? RTM_NEWRULE : RTM_DELRULE, add ? NLM_F_CREATE : 0);
}

static int route_do(struct routing *r, const struct ip_prefix *dst, bool unreachable,
		    const struct ip_address *source, uint32_t mtu, bool add)
{
	struct netlink_request q;
	struct rtmsg *m = netlink_begin(&q, add ? RTM_NEWROUTE : RTM_DELROUTE,
					add ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof(*m));

	m->rtm_family = dst->address.family;
	m->rtm_dst_len = dst->length;
	m->rtm_table = ESP_ROUTE_TABLE;
	m->rtm_protocol = ESP_PROTOCOL;
	m->rtm_type = unreachable ? RTN_UNREACHABLE : RTN_UNICAST;
	m->rtm_scope = unreachable || dst->address.family == AF_INET6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	if (dst->length)
		netlink_put_address(&q, RTA_DST, &dst->address);
	mnl_attr_put_u32(q.header, RTA_PRIORITY, unreachable ? METRIC_UNREACHABLE : METRIC_DEVICE);
	if (!unreachable)
		mnl_attr_put_u32(q.header, RTA_OIF, r->ifindex);
	if (add && source && source->family == dst->address.family)
		netlink_put_address(&q, RTA_PREFSRC, source);
	if (add && mtu) {
		struct nlattr *nest = mnl_attr_nest_start(q.header, RTA_METRICS);

		mnl_attr_put_u32(q.header, RTAX_MTU, mtu);
		mnl_attr_nest_end(q.header, nest);
	}
	return netlink_do(&r->nl, &q);
}

static struct ip_address attr_address(const struct nlattr *a)
{
	return ip_address_from_bytes(BYTES(mnl_attr_get_payload(a), mnl_attr_get_payload_len(a)));
}

static void attr_ports(const struct nlattr *a, uint16_t *lo, uint16_t *hi)
{
	struct fib_rule_port_range range;

	if (mnl_attr_get_payload_len(a) != sizeof(range))
		return;
	memcpy(&range, mnl_attr_get_payload(a), sizeof(range));
	*lo = range.start;
	*hi = range.end;
}

/* A rule of a dump; false if it is not ours. */
static bool rule_read(const struct nlmsghdr *h, struct rule *rule)
{
	const struct fib_rule_hdr *f = mnl_nlmsg_get_payload(h);
	const struct nlattr *a;
	uint8_t protocol = 0;

	memset(rule, 0, sizeof(*rule));
	rule->family = f->family;
	rule->action = f->action;
	rule->flags = f->flags & FIB_RULE_FIND_SADDR;
	mnl_attr_for_each(a, h, sizeof(*f)) {
		switch (mnl_attr_get_type(a)) {
		case FRA_SRC:
			rule->src = (struct ip_prefix){ attr_address(a), f->src_len };
			break;
		case FRA_DST:
			rule->dst = (struct ip_prefix){ attr_address(a), f->dst_len };
			break;
		case FRA_PRIORITY:
			rule->pref = mnl_attr_get_u32(a);
			break;
		case FRA_TABLE:
			if (f->action == FR_ACT_TO_TBL)
				rule->target = mnl_attr_get_u32(a);
			break;
		case FRA_GOTO:
			rule->target = mnl_attr_get_u32(a);
			break;
		case FRA_FWMARK:
			rule->mark = mnl_attr_get_u32(a);
			break;
		case FRA_FWMASK:
			rule->mask = mnl_attr_get_u32(a);
			break;
		case FRA_IP_PROTO:
			rule->ipproto = mnl_attr_get_u8(a);
			break;
		case FRA_SPORT_RANGE:
			attr_ports(a, &rule->sport_lo, &rule->sport_hi);
			break;
		case FRA_DPORT_RANGE:
			attr_ports(a, &rule->dport_lo, &rule->dport_hi);
			break;
		case FRA_PROTOCOL:
			protocol = mnl_attr_get_u8(a);
			break;
		default:
			break;
		}
	}
	if (rule->mark == 0)
		rule->mask = 0;
	return protocol == ESP_PROTOCOL;
}

/* --- what is there -------------------------------------------------------------------------- */

static struct rule_item *rule_item_add(struct routing *r, const struct rule *rule, uint32_t priority)
{
	struct rule_item *item = calloc(1, sizeof(*item));

	if (!item)
		return NULL;
	item->rule = *rule;
	item->priority = priority;
	item->position = ++r->position;
	HASH_ADD(hh, r->rules, rule, sizeof(item->rule), item);
	return item;
}

static struct route_item *route_item_add(struct routing *r, const struct ip_prefix *dst)
{
	struct route_item *item = calloc(1, sizeof(*item));

	if (!item)
		return NULL;
	item->dst = *dst;
	HASH_ADD(hh, r->routes, dst, sizeof(item->dst), item);
	return item;
}

static void on_rule(const struct nlmsghdr *h, void *context)
{
	struct routing *r = context;
	struct rule_item *item;
	struct rule rule;

	if (h->nlmsg_type != RTM_NEWRULE || !rule_read(h, &rule))
		return;
	HASH_FIND(hh, r->rules, &rule, sizeof(rule), item);
	if (!item)
		rule_item_add(r, &rule, PRIORITY_STALE);
}

static void on_route(const struct nlmsghdr *h, void *context)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	struct routing *r = context;
	struct ip_prefix dst;
	struct route_item *item;
	const struct nlattr *a;

	if (h->nlmsg_type != RTM_NEWROUTE || m->rtm_protocol != ESP_PROTOCOL ||
	    m->rtm_table != ESP_ROUTE_TABLE)
		return;
	memset(&dst, 0, sizeof(dst));
	dst.address.family = m->rtm_family;
	dst.length = m->rtm_dst_len;
	mnl_attr_for_each(a, h, sizeof(*m))
		if (mnl_attr_get_type(a) == RTA_DST)
			dst.address = attr_address(a);
	HASH_FIND(hh, r->routes, &dst, sizeof(dst), item);
	if (!item)
		route_item_add(r, &dst);
}

int routing_open(struct routing *r)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	int rc;

	memset(r, 0, sizeof(*r));
	rc = rtnetlink_open(&r->nl);
	for (size_t i = 0; rc == 0 && i < sizeof(families); i++) {
		int rules = netlink_dump(&r->nl, RTM_GETRULE, families[i], on_rule, r);
		int routes = netlink_dump(&r->nl, RTM_GETROUTE, families[i], on_route, r);

		if (families[i] == AF_INET)
			rc = rules ? rules : routes;
		else
			r->have_v6 = rules == 0 && routes == 0;
	}
	return rc;
}

static int rule_drop(struct routing *r, struct rule_item *item)
{
	int rc = rule_do(r, &item->rule, false);

	HASH_DEL(r->rules, item);
	free(item);
	return rc == -ENOENT ? 0 : rc;
}

static int route_drop(struct routing *r, struct route_item *item)
{
	int a = route_do(r, &item->dst, false, NULL, 0, false);
	int b = route_do(r, &item->dst, true, NULL, 0, false);

	HASH_DEL(r->routes, item);
	free(item);
	if (a && a != -ESRCH)
		return a;
	return b == -ESRCH ? 0 : b;
}

void routing_close(struct routing *r)
{
	struct route_item *route = r->routes, *next_route;
	struct rule_item *rule = r->rules, *next_rule;

	HASH_CLEAR(hh, r->routes);
	HASH_CLEAR(hh, r->rules);
	for (; route; route = next_route) {
		next_route = route->hh.next;
		free(route);
	}
	for (; rule; rule = next_rule) {
		next_rule = rule->hh.next;
		free(rule);
	}
	rtnetlink_close(&r->nl);
}

bool routing_clear(struct routing *r)
{
	struct route_item *route, *t1;
	struct rule_item *rule, *t2;
	bool ok = true;

	/* the rules that lead in go before those that lead around */
	for (uint32_t pref = ESP_RULE_POLICY, pass = 0; pass < 3; pass++) {
		HASH_ITER(hh, r->rules, rule, t2)
			if (rule->rule.pref == pref)
				ok = rule_drop(r, rule) == 0 && ok;
		pref = pass == 0 ? ESP_RULE_BYPASS : ESP_RULE_END;
	}
	HASH_ITER(hh, r->routes, route, t1)
		ok = route_drop(r, route) == 0 && ok;
	return ok;
}

bool routing_has_stale(const struct routing *r)
{
	for (const struct rule_item *i = r->rules; i; i = i->hh.next)
		if (i->refs == 0)
			return true;
	return r->routes != NULL && r->routes->refs == 0;
}

void routing_settle(struct routing *r)
{
	struct route_item *route, *t1;
	struct rule_item *rule, *t2;

	HASH_ITER(hh, r->rules, rule, t2)
		if (rule->refs == 0)
			rule_drop(r, rule);
	HASH_ITER(hh, r->routes, route, t1)
		if (route->refs == 0)
			route_drop(r, route);
}

/* --- policies --------------------------------------------------------------------------------- */

static int rule_ref(struct routing *r, const struct rule *rule, uint32_t priority,
		    struct rule_item **out)
{
	struct rule_item *item;

	HASH_FIND(hh, r->rules, rule, sizeof(*rule), item);
	if (!item) {
		int rc = rule_do(r, rule, true);

		if (rc)
			return rc;
		item = rule_item_add(r, rule, priority);
		if (!item) {
			rule_do(r, rule, false);
			return -ENOMEM;
		}
	}
	if (priority < item->priority)
		item->priority = priority;
	item->refs++;
	*out = item;
	return 0;
}

static int by_priority(const void *x, const void *y)
{
	const struct rule_item *a = *(struct rule_item *const *)x, *b = *(struct rule_item *const *)y;

	if (a->priority != b->priority)
		return a->priority < b->priority ? -1 : 1;
	return a->position < b->position ? -1 : a->position > b->position;
}

/*
 * The kernel asks rules of one preference in the order they were added. That matters once
 * there is a rule that lets traffic through: then all are laid anew, behind the old ones, before
 * these go. (Without one, all lead to the worker, which knows the order.)
 */
static void keep_order(struct routing *r)
{
	struct rule_item **sorted, *item, *tmp;
	bool pass = false, in_order = true;
	uint64_t before = r->position;
	size_t n = 0;

	HASH_ITER(hh, r->rules, item, tmp)
		pass |= item->rule.pref == ESP_RULE_POLICY && item->rule.action == FR_ACT_GOTO;
	if (!pass)
		return;
	sorted = calloc(HASH_COUNT(r->rules), sizeof(struct rule_item *));
	if (!sorted) {
		log_error("out of memory: passthrough policies may be hidden by others");
		return;
	}
	HASH_ITER(hh, r->rules, item, tmp)
		if (item->rule.pref == ESP_RULE_POLICY)
			sorted[n++] = item;
	qsort(sorted, n, sizeof(struct rule_item *), by_priority);
	for (size_t i = 1; i < n; i++)
		in_order &= sorted[i - 1]->position < sorted[i]->position;
	for (size_t i = 0; !in_order && i < n; i++)
		if (rule_do(r, &sorted[i]->rule, true) == 0)
			sorted[i]->position = ++r->position;
	for (size_t i = 0; !in_order && i < n; i++)
		if (sorted[i]->position > before) /* else it could not be laid anew: the only one */
			rule_do(r, &sorted[i]->rule, false); /* the first of two equal ones: the old */
	free(sorted);
}

static bool selector_has(const struct traffic_selector *ts, const struct ip_address *a)
{
	return ts->lo.family == a->family && ip_address_compare(a, &ts->lo) >= 0 &&
	       ip_address_compare(a, &ts->hi) <= 0;
}

static bool fail(struct backend_error *err, const char *what, int rc)
{
	snprintf(err->text, sizeof(err->text), "cannot add a %s for the policy: %s", what,
		 strerror(-rc));
	return false;
}

static bool add_rule(struct routing *r, struct route_set *set, const struct rule *rule,
		     uint32_t priority, struct backend_error *err)
{
	int rc = set->rule_count < RULES_MAX ? rule_ref(r, rule, priority, &set->rules[set->rule_count]) :
					       -E2BIG;

	if (rc)
		return fail(err, "routing rule", rc);
	set->rule_count++;
	return true;
}

static bool any_ports(const struct traffic_selector *ts)
{
	/* rules have no ICMP types; OPAQUE is left to the worker */
	return (ts->port_lo == 0 && ts->port_hi == UINT16_MAX) || ts->port_lo > ts->port_hi ||
	       ts->protocol == IPPROTO_ICMP || ts->protocol == IPPROTO_ICMPV6;
}

static struct rule policy_rule(const struct sa_policy *p, const struct traffic_selector *local,
			       const struct traffic_selector *remote)
{
	struct rule rule;

	memset(&rule, 0, sizeof(rule));
	rule.family = local->lo.family;
	rule.pref = ESP_RULE_POLICY;
	rule.action = p->action == POLICY_PASS ? FR_ACT_GOTO : FR_ACT_TO_TBL;
	rule.target = p->action == POLICY_PASS ? (uint32_t)ESP_RULE_END : (uint32_t)ESP_ROUTE_TABLE;
	rule.ipproto = local->protocol ? local->protocol : remote->protocol;
	if (!any_ports(local)) {
		rule.sport_lo = local->port_lo;
		rule.sport_hi = local->port_hi;
	}
	if (!any_ports(remote)) {
		rule.dport_lo = remote->port_lo;
		rule.dport_hi = remote->port_hi;
	}
	return rule;
}

static void set_prefix(struct ip_prefix *out, const struct ip_prefix *p)
{
	if (p->length) {
		out->address = p->address;
		out->length = p->length;
	}
}

/*
 * Which source this host's own packets to `remote` get when they are bound to none: a rule by
 * source does not match those at first. False if it lies outside the policy.
 */
static bool own_source(struct routing *r, const struct sa_policy *p,
		       const struct traffic_selector *local, const struct ip_prefix *remote,
		       struct ip_address *source)
{
	struct ip_address to = remote->address;
	struct netlink_route route;
	size_t n = ip_address_size(&to);

	if (p->source_ip.family == to.family) {
		*source = p->source_ip;
	} else {
		if (p->remote.family == to.family && ip_prefix_contains(remote, &p->remote))
			to = p->remote;
		else if (remote->length == 0)
			memcpy(to.bytes, n == 4 ? "\xc0\x00\x02\x01" : "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1",
			       n); /* an address of no one in particular */
		else if (remote->length < n * 8)
			to.bytes[n - 1] |= 1;
		if (netlink_route_get(&r->nl, &to, NULL, ESP_MARK, &route) != 0)
			return false;
		*source = route.source;
	}
	return selector_has(local, source);
}

static bool add_route(struct routing *r, struct route_set *set, const struct sa_policy *p,
		      const struct ip_prefix *dst, const struct ip_address *source,
		      struct backend_error *err)
{
	struct route_item *item;
	struct ip_prefix key;
	int rc;

	memset(&key, 0, sizeof(key));
	key.address = dst->address;
	key.length = dst->length;
	for (size_t i = 0; i < set->route_count; i++)
		if (memcmp(&set->routes[i]->dst, &key, sizeof(key)) == 0)
			return true;
	HASH_FIND(hh, r->routes, &key, sizeof(key), item);
	/* beneath first: it must be there when the device goes */
	rc = route_do(r, &key, true, NULL, 0, true);
	if (rc == 0)
		rc = route_do(r, &key, false, source, p->mtu, true);
	if (rc == -EINVAL && source) /* an address that is not here (yet) */
		rc = route_do(r, &key, false, NULL, p->mtu, true);
	if (rc)
		return fail(err, "route", rc);
	if (!item)
		item = route_item_add(r, &key);
	if (!item)
		return fail(err, "route", -ENOMEM);
	item->refs++;
	set->routes[set->route_count++] = item;
	return true;
}

static bool add_pair(struct routing *r, struct route_set *set, const struct sa_policy *p,
		     const struct traffic_selector *local, const struct traffic_selector *remote,
		     struct backend_error *err)
{
	struct ip_prefix lp[PREFIXES_MAX], rp[PREFIXES_MAX];
	size_t nl = ts_to_prefixes(local, lp, PREFIXES_MAX);
	size_t nr = ts_to_prefixes(remote, rp, PREFIXES_MAX);
	uint32_t priority = p->priority ? p->priority : sa_policy_priority(local, remote);

	for (size_t j = 0; j < nr; j++) {
		struct rule rule = policy_rule(p, local, remote);
		struct ip_address source = { 0 };
		bool own = p->action != POLICY_PASS && own_source(r, p, local, &rp[j], &source);

		if (p->action != POLICY_PASS &&
		    !add_route(r, set, p, &rp[j], own ? &source : NULL, err))
			return false;
		set_prefix(&rule.dst, &rp[j]);
		if (own && rule.family == AF_INET6)
			rule.flags = FIB_RULE_FIND_SADDR;
		for (size_t i = 0; i < nl; i++) {
			rule.src = (struct ip_prefix){ 0 };
			set_prefix(&rule.src, &lp[i]);
			if (!add_rule(r, set, &rule, priority, err))
				return false;
		}
		if (own && rule.family == AF_INET && (nl > 1 || lp[0].length)) {
			rule.src = (struct ip_prefix){ .address.family = AF_INET, .length = 32 };
			if (!add_rule(r, set, &rule, priority, err))
				return false;
		}
	}
	return true;
}

/*
 * The peer lies inside its own policy (host to host). Our packets to it have the mark; but
 * strict reverse path filtering asks, for its ESP and IKE packets, for the way back without.
 */
static void add_peer_bypass(struct routing *r, struct route_set *set, const struct sa_policy *p)
{
	static const struct { uint8_t proto; uint16_t port; } pass[] = {
		{ IPPROTO_ESP, 0 }, { IPPROTO_UDP, 500 }, { IPPROTO_UDP, 4500 },
	};
	struct backend_error err;
	bool inside = false;

	for (size_t i = 0; i < p->remote_ts.count; i++)
		inside |= selector_has(&p->remote_ts.ts[i], &p->remote);
	if (!inside || p->action == POLICY_PASS || p->local.family != p->remote.family)
		return;
	for (size_t i = 0; i < sizeof(pass) / sizeof(pass[0]); i++) {
		uint8_t bits = (uint8_t)(ip_address_size(&p->local) * 8);
		struct rule rule;

		memset(&rule, 0, sizeof(rule));
		rule.family = p->local.family;
		rule.pref = ESP_RULE_BYPASS;
		rule.action = FR_ACT_GOTO;
		rule.target = ESP_RULE_END;
		rule.ipproto = pass[i].proto;
		rule.sport_lo = rule.sport_hi = pass[i].port;
		rule.src.address = p->local;
		rule.dst.address = p->remote;
		rule.src.length = rule.dst.length = bits;
		if (!add_rule(r, set, &rule, 0, &err))
			log_warning("\"%s\": with strict reverse path filtering (rp_filter=1) the peer's "
				    "packets may be dropped: %s", p->conn, err.text);
	}
}

/* There may be thousands of sets: give back what was taken for the largest. */
static void route_set_shrink(struct route_set *set)
{
	void *rules = realloc(set->rules, (set->rule_count + 1) * sizeof(struct rule_item *));
	void *routes = realloc(set->routes, (set->route_count + 1) * sizeof(struct route_item *));

	if (rules)
		set->rules = rules;
	if (routes)
		set->routes = routes;
}

struct route_set *routing_add(struct routing *r, const struct sa_policy *p,
			      struct backend_error *err)
{
	struct route_set *set = calloc(1, sizeof(*set));
	bool ok = set != NULL;

	if (ok) {
		set->rules = calloc(RULES_MAX, sizeof(struct rule_item *));
		set->routes = calloc(TS_LIST_MAX * PREFIXES_MAX, sizeof(struct route_item *));
		ok = set->rules && set->routes;
	}
	if (!ok) {
		fail(err, "route", -ENOMEM);
		routing_remove(r, set);
		return NULL;
	}
	add_peer_bypass(r, set, p);
	for (size_t l = 0; ok && l < p->local_ts.count; l++)
		for (size_t m = 0; ok && m < p->remote_ts.count; m++)
			if (p->local_ts.ts[l].lo.family == p->remote_ts.ts[m].lo.family)
				ok = add_pair(r, set, p, &p->local_ts.ts[l], &p->remote_ts.ts[m], err);
	if (!ok) {
		routing_remove(r, set);
		return NULL;
	}
	keep_order(r);
	route_set_shrink(set);
	return set;
}

void routing_remove(struct routing *r, struct route_set *set)
{
	if (!set)
		return;
	for (size_t i = 0; i < set->rule_count; i++)
		if (--set->rules[i]->refs == 0)
			rule_drop(r, set->rules[i]);
	for (size_t i = 0; i < set->route_count; i++)
		if (--set->routes[i]->refs == 0)
			route_drop(r, set->routes[i]);
	free(set->rules);
	free(set->routes);
	free(set);
}

/* --- what all policies need ------------------------------------------------------------------- */

bool routing_start(struct routing *r, unsigned ifindex, struct backend_error *err)
{
	struct rule_item *item, *tmp;

	r->ifindex = ifindex;
	/* a predecessor's exceptions must not stand before the policies to come */
	HASH_ITER(hh, r->rules, item, tmp)
		if (item->rule.pref == ESP_RULE_POLICY && item->rule.action == FR_ACT_GOTO)
			rule_drop(r, item);
	for (int i = 0; i < (r->have_v6 ? 2 : 1); i++) {
		struct rule rule;
		int rc;

		memset(&rule, 0, sizeof(rule));
		rule.family = i ? AF_INET6 : AF_INET;
		rule.pref = ESP_RULE_END;
		rule.action = FR_ACT_NOP;
		rc = rule_ref(r, &rule, 0, &item);
		rule.pref = ESP_RULE_BYPASS;
		rule.action = FR_ACT_GOTO;
		rule.target = ESP_RULE_END;
		rule.mark = ESP_MARK;
		rule.mask = ESP_MARK_MASK;
		if (rc == 0)
			rc = rule_ref(r, &rule, 0, &item);
		if (rc && i == 0) {
			snprintf(err->text, sizeof(err->text),
				 "the kernel refuses policy routing rules: %s", strerror(-rc));
			return false;
		}
		if (rc)
			r->have_v6 = false;
	}
	return true;
}

/* --- what others took away --------------------------------------------------------------------- */

struct present {
	struct routing *routing;
	size_t rules, device_routes, unreachable_routes;
};

static void see_rule(const struct nlmsghdr *h, void *context)
{
	struct present *p = context;
	struct rule_item *item = NULL;
	struct rule rule;

	if (h->nlmsg_type != RTM_NEWRULE || !rule_read(h, &rule))
		return;
	HASH_FIND(hh, p->routing->rules, &rule, sizeof(rule), item);
	p->rules += item != NULL;
}

static void see_route(const struct nlmsghdr *h, void *context)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	struct present *p = context;

	if (h->nlmsg_type != RTM_NEWROUTE || m->rtm_protocol != ESP_PROTOCOL || m->rtm_table != ESP_ROUTE_TABLE)
		return;
	p->unreachable_routes += m->rtm_type == RTN_UNREACHABLE;
	p->device_routes += m->rtm_type == RTN_UNICAST;
}

bool routing_check(struct routing *r)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	struct present p = { .routing = r };
	struct rule_item *item, *tmp;
	size_t routes = HASH_COUNT(r->routes), back = 0;

	for (size_t i = 0; i < (r->have_v6 ? 2 : 1); i++)
		if (netlink_dump(&r->nl, RTM_GETRULE, families[i], see_rule, &p) != 0 ||
		    netlink_dump(&r->nl, RTM_GETROUTE, families[i], see_route, &p) != 0)
			return true; /* not known: next time */
	if (p.rules < HASH_COUNT(r->rules)) {
		HASH_ITER(hh, r->rules, item, tmp)
			if (rule_send(r, &item->rule, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL) == 0) {
				item->position = ++r->position;
				back++;
			}
		log_warning("%zu routing rules of ours were removed by someone: put back", back);
		keep_order(r);
	}
	return p.device_routes >= routes && p.unreachable_routes >= routes;
}
