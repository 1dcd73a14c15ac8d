/* Which rules and routes a policy needs: see route.h. */
#include <errno.h>
#include <linux/fib_rules.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "esp/esp.h"
#include "esp/route_internal.h"

enum {
	RULES_MAX = 4096, /* for one pair of selectors */
	GROUP_FEW = 8,    /* up to so many destinations have a rule each */
	GROUP_TABLES = ESP_GROUP_TABLE_END - ESP_GROUP_TABLE,
	TABLES = ESP_COMMON_OWN_TABLE + 1 - ESP_GROUP_TABLE,
};

struct pass_pair {
	struct traffic_selector local, remote;
	const struct route_set *owner;
	struct pass_pair *next;
};

struct route_set {
	struct rule_array rules; /* that are the policy's own: bypass, exceptions */
	size_t member_count;
	struct member **members;
	uint32_t mtu; /* of their routes */
};

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

static bool ranges_meet(const struct ip_address *lo, const struct ip_address *hi,
			const struct traffic_selector *ts)
{
	return lo->family == ts->lo.family && ip_address_compare(lo, &ts->hi) <= 0 &&
	       ip_address_compare(&ts->lo, hi) <= 0;
}

/* Room for one more at a power of two; false without memory. */
static bool grow(void *array, size_t count)
{
	void **at = array, *more;

	if (count & (count - 1))
		return true;
	more = realloc(*at, (count ? 2 * count : 1) * sizeof(void *));
	if (more)
		*at = more;
	return more != NULL;
}

/* --- rules ------------------------------------------------------------------------------------ */

void rules_unref(struct routing *r, struct rule_array *rules)
{
	while (rules->count > 0)
		rule_unref(r, rules->items[--rules->count]);
	free(rules->items);
	*rules = (struct rule_array){ 0 };
}

int rules_ref(struct routing *r, struct rule_array *rules, const struct rule *rule, uint32_t priority)
{
	int rc = grow(&rules->items, rules->count) ? 0 : -ENOMEM;

	if (rc == 0)
		rc = rule_ref(r, rule, priority, &rules->items[rules->count]);
	rules->count += rc == 0;
	return rc;
}

static bool set_rule(struct routing *r, struct route_set *set, const struct rule *rule,
		     uint32_t priority, struct backend_error *err)
{
	int rc = rules_ref(r, &set->rules, rule, priority);

	return rc == 0 || fail(err, "routing rule", rc);
}

static bool any_ports(const struct traffic_selector *ts)
{
	/* rules have no ICMP types; OPAQUE is left to the worker */
	return (ts->port_lo == 0 && ts->port_hi == UINT16_MAX) || ts->port_lo > ts->port_hi ||
	       ts->protocol == IPPROTO_ICMP || ts->protocol == IPPROTO_ICMPV6;
}

static struct rule base_rule(const struct sa_policy *p, const struct traffic_selector *local,
			     const struct traffic_selector *remote)
{
	struct rule rule;

	memset(&rule, 0, sizeof(rule));
	rule.family = local->lo.family;
	rule.pref = ESP_RULE_POLICY;
	rule.action = p->action == POLICY_PASS ? FR_ACT_GOTO : FR_ACT_TO_TBL;
	rule.target = p->action == POLICY_PASS ? ESP_RULE_END : 0;
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
		if (netlink_route_get(&r->nl, &to, ESP_MARK, &route) != 0)
			return false;
		*source = route.source;
	}
	return selector_has(local, source);
}

/* --- groups ----------------------------------------------------------------------------------- */

size_t group_prefixes(const struct route_group *g, struct ip_prefix *out)
{
	struct traffic_selector ts = { .lo = g->key.lo, .hi = g->key.hi, .port_hi = UINT16_MAX };

	return ts_to_prefixes(&ts, out, PREFIXES_MAX);
}

/* Rules from the group's local addresses to `dst` (NULL: anywhere); all or none. */
static int group_rules(struct routing *r, const struct route_group *g, const struct ip_prefix *dst,
		       uint32_t table, uint32_t priority, struct rule_array *out)
{
	struct ip_prefix lp[PREFIXES_MAX];
	size_t n = group_prefixes(g, lp);
	struct rule rule = g->key.base;
	bool unbound = g->key.own && rule.family == AF_INET && (n > 1 || lp[0].length);
	int rc = 0;

	rule.target = table;
	if (dst)
		set_prefix(&rule.dst, dst);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		rule.src = (struct ip_prefix){ 0 };
		set_prefix(&rule.src, &lp[i]);
		rc = rules_ref(r, out, &rule, priority);
	}
	if (rc == 0 && unbound) {
		rule.src = (struct ip_prefix){ .address.family = AF_INET, .length = 32 };
		rc = rules_ref(r, out, &rule, priority);
	}
	if (rc)
		rules_unref(r, out);
	return rc;
}

bool meets_pass(const struct routing *r, const struct route_group *g, const struct ip_prefix *dst)
{
	struct ip_address lo, hi;

	ip_prefix_range(dst, &lo, &hi);
	for (const struct pass_pair *p = r->passes; p; p = p->next)
		if (ranges_meet(&g->key.lo, &g->key.hi, &p->local) && ranges_meet(&lo, &hi, &p->remote))
			return true;
	return false;
}

static enum place place_for(const struct routing *r, const struct member *m)
{
	if (meets_pass(r, m->group, &m->dst))
		return PLACE_RULES;
	if (m->place == PLACE_COMMON)
		return PLACE_COMMON;
	return m->group->table ? PLACE_GROUP : PLACE_RULES;
}

/* What leads `m` is there; where it was before is left. */
static void member_settle(struct routing *r, struct member *m, enum place place)
{
	enum place before = m->place;

	m->place = place;
	m->group->in_table += place == PLACE_GROUP;
	m->group->in_table -= before == PLACE_GROUP;
	if (before == PLACE_COMMON && place != PLACE_COMMON)
		common_leave(r, m);
	common_wait(r, m, place == PLACE_RULES && common_suits(m->group) &&
			  !meets_pass(r, m->group, &m->dst));
}

/* Install (again), with the new before the old. */
static int member_install(struct routing *r, struct member *m, enum place place)
{
	struct rule_array rules = { 0 }, old_rules = m->rules;
	struct route_item *route, *old_route = m->route;
	struct route_options options = { m->options.source, mtu_set_least(&m->mtus) };
	struct route_key key;
	int rc;

	if (place == PLACE_COMMON) {
		m->options.mtu = options.mtu;
		return common_update(r, m);
	}
	memset(&key, 0, sizeof(key));
	key.dst = m->dst;
	key.table = place == PLACE_GROUP ? m->group->table : ESP_ROUTE_TABLE;
	rc = route_ref(r, &key, &options, &route);
	if (rc)
		return rc;
	if (place == PLACE_RULES)
		rc = group_rules(r, m->group, &m->dst, ESP_ROUTE_TABLE, m->priority, &rules);
	if (rc) {
		route_unref(r, route, options.mtu);
		return rc;
	}
	m->rules = rules;
	m->route = route;
	member_settle(r, m, place);
	rules_unref(r, &old_rules);
	if (old_route)
		route_unref(r, old_route, m->options.mtu);
	m->options.mtu = options.mtu;
	return 0;
}

/* A policy that wanted `from` (0: none) for this destination wants `to`. */
static int member_change_mtu(struct routing *r, struct member *m, uint32_t from, uint32_t to)
{
	int rc = mtu_set_change(&m->mtus, from, to) ? 0 : -ENOMEM, changed = 0;
	uint32_t mtu = mtu_set_least(&m->mtus), before = m->options.mtu;

	if (mtu == before)
		return rc;
	m->options.mtu = mtu;
	if (m->place == PLACE_COMMON)
		changed = common_change_mtu(r, m);
	else if (m->route)
		changed = route_change_mtu(r, m->route, before, mtu);
	if (changed == -ENOMEM)
		m->options.mtu = before;
	return rc ? rc : changed;
}

static void group_give_up_table(struct routing *r, struct route_group *g)
{
	rules_unref(r, &g->rules);
	r->common.tables -= g->table && common_suits(g);
	g->table = 0;
}

void member_moved(struct routing *r, struct member *m)
{
	member_settle(r, m, PLACE_COMMON);
	rules_unref(r, &m->rules);
	route_unref(r, m->route, m->options.mtu);
	m->route = NULL;
	if (m->group->in_table == 0)
		group_give_up_table(r, m->group);
}

/* That a predecessor's rules lead to from the same packets, or one that nobody uses; 0: none left. */
static uint32_t choose_table(const struct routing *r, const struct route_group *g)
{
	const struct rule_item *rule;
	const struct route_item *route;
	const struct route_group *other;
	bool used[TABLES] = { false };
	struct ip_prefix lp[PREFIXES_MAX];
	struct rule wanted = g->key.base;

	group_prefixes(g, lp);
	set_prefix(&wanted.src, &lp[0]);
	for (rule = r->rules; rule; rule = rule->hh.next) {
		uint32_t table = rule->rule.target;

		if (table < ESP_GROUP_TABLE || !routing_owns_table(table))
			continue;
		wanted.target = table;
		if (rule->refs == 0 && memcmp(&wanted, &rule->rule, sizeof(wanted)) == 0)
			return table;
		used[table - ESP_GROUP_TABLE] = true;
	}
	for (route = r->routes; route; route = route->hh.next)
		if (route->key.table >= ESP_GROUP_TABLE)
			used[route->key.table - ESP_GROUP_TABLE] = true;
	for (other = r->groups; other; other = other->hh.next)
		if (other->table)
			used[other->table - ESP_GROUP_TABLE] = true;
	for (uint32_t i = 0; i < GROUP_TABLES; i++)
		if (!used[i])
			return ESP_GROUP_TABLE + i;
	return 0;
}

/* Those that need no rules of their own into the table, the others out of it (and of the common one). */
static int group_sort(struct routing *r, struct route_group *g)
{
	int rc = 0;

	for (struct member *m = g->members; m && rc == 0; m = m->hh.next) {
		enum place place = place_for(r, m);

		if (place != m->place)
			rc = member_install(r, m, place);
		else
			member_settle(r, m, place);
	}
	return rc;
}

/* Many destinations: a table of their own. While that cannot be had, each keeps its rules. */
static void group_give_table(struct routing *r, struct route_group *g)
{
	uint32_t table = choose_table(r, g);

	if (table == 0 || group_rules(r, g, NULL, table, PRIORITY_NONE, &g->rules) != 0)
		return;
	g->table = table;
	r->common.tables += common_suits(g);
	group_sort(r, g); /* what cannot move keeps its rules */
}

static struct route_group *group_get(struct routing *r, const struct group_key *key)
{
	struct route_group *g;

	HASH_FIND(hh, r->groups, key, sizeof(*key), g);
	if (g)
		return g;
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->key = *key;
	HASH_ADD(hh, r->groups, key, sizeof(g->key), g);
	return g;
}

static void group_put(struct routing *r, struct route_group *g)
{
	if (g->members)
		return;
	group_give_up_table(r, g);
	HASH_DEL(r->groups, g);
	free(g);
}

static struct member *member_new(struct route_group *g, const struct ip_prefix *dst)
{
	struct member *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->dst = *dst;
	m->group = g;
	m->priority = PRIORITY_NONE;
	HASH_ADD(hh, g->members, dst, sizeof(m->dst), m);
	return m;
}

static void member_put(struct routing *r, struct member *m)
{
	struct route_group *g = m->group;

	if (m->refs > 0)
		return;
	common_wait(r, m, false);
	if (m->place == PLACE_COMMON)
		common_leave(r, m);
	g->in_table -= m->place == PLACE_GROUP;
	rules_unref(r, &m->rules);
	if (m->route)
		route_unref(r, m->route, m->options.mtu);
	HASH_DEL(g->members, m);
	mtu_set_free(&m->mtus);
	free(m);
	group_put(r, g);
}

/* One user more of a destination. */
static int member_ref(struct routing *r, const struct group_key *key, const struct ip_prefix *dst,
		      uint32_t priority, const struct route_options *options, struct member **out)
{
	struct route_group *g = group_get(r, key);
	struct member *m = NULL;
	int rc;

	if (!g)
		return -ENOMEM;
	HASH_FIND(hh, g->members, dst, sizeof(*dst), m);
	if (!m) {
		if (!g->table && HASH_COUNT(g->members) >= GROUP_FEW && !common_takes(r, g))
			group_give_table(r, g);
		m = member_new(g, dst);
	}
	if (!m) {
		group_put(r, g);
		return -ENOMEM;
	}
	if (priority < m->priority)
		m->priority = priority;
	m->options.source = options->source;
	rc = mtu_set_change(&m->mtus, 0, options->mtu) ? 0 : -ENOMEM;
	if (rc == 0)
		rc = member_install(r, m, place_for(r, m));
	if (rc) {
		mtu_set_change(&m->mtus, options->mtu, 0);
		member_put(r, m);
		return rc;
	}
	m->refs++;
	*out = m;
	return 0;
}

/* --- exceptions --------------------------------------------------------------------------------- */

static int sort_groups(struct routing *r)
{
	int rc = 0;

	for (struct route_group *g = r->groups; g && rc == 0; g = g->hh.next)
		if (g->table || common_used(r))
			rc = group_sort(r, g);
	return rc;
}

static bool add_pass(struct routing *r, struct route_set *set, const struct sa_policy *p,
		     const struct traffic_selector *local, const struct traffic_selector *remote,
		     struct backend_error *err)
{
	struct ip_prefix lp[PREFIXES_MAX], rp[PREFIXES_MAX];
	size_t nl = ts_to_prefixes(local, lp, PREFIXES_MAX);
	size_t nr = ts_to_prefixes(remote, rp, PREFIXES_MAX);
	uint32_t priority = p->priority ? p->priority : sa_policy_priority(local, remote);
	struct pass_pair *pass = calloc(1, sizeof(*pass));
	struct rule rule = base_rule(p, local, remote);
	int rc;

	if (!pass)
		return fail(err, "routing rule", -ENOMEM);
	*pass = (struct pass_pair){ *local, *remote, set, r->passes };
	r->passes = pass;
	/* those that it must not hide have rules of their own before it has */
	rc = sort_groups(r);
	if (rc)
		return fail(err, "routing rule", rc);
	for (size_t i = 0; i < nl; i++)
		for (size_t j = 0; j < nr; j++) {
			rule.src = rule.dst = (struct ip_prefix){ 0 };
			set_prefix(&rule.src, &lp[i]);
			set_prefix(&rule.dst, &rp[j]);
			if (!set_rule(r, set, &rule, priority, err))
				return false;
		}
	return true;
}

static bool remove_passes(struct routing *r, const struct route_set *set)
{
	struct pass_pair **at = &r->passes;
	bool any = false;

	while (*at) {
		struct pass_pair *p = *at;

		if (p->owner != set) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		free(p);
		any = true;
	}
	return any;
}

/* --- policies --------------------------------------------------------------------------------- */

static bool add_destination(struct routing *r, struct route_set *set, const struct group_key *key,
			    const struct ip_prefix *dst, uint32_t priority,
			    const struct route_options *options, struct backend_error *err)
{
	struct ip_prefix zeroed;
	int rc = -ENOMEM;

	memset(&zeroed, 0, sizeof(zeroed));
	zeroed.address = dst->address;
	zeroed.length = dst->length;
	if (grow(&set->members, set->member_count))
		rc = member_ref(r, key, &zeroed, priority, options, &set->members[set->member_count]);
	if (rc)
		return fail(err, "route", rc);
	set->member_count++;
	return true;
}

static bool add_pair(struct routing *r, struct route_set *set, const struct sa_policy *p,
		     const struct traffic_selector *local, const struct traffic_selector *remote,
		     struct backend_error *err)
{
	uint32_t priority = p->priority ? p->priority : sa_policy_priority(local, remote);
	struct ip_prefix lp[PREFIXES_MAX], rp[PREFIXES_MAX];
	size_t nl = ts_to_prefixes(local, lp, PREFIXES_MAX);
	size_t nr = ts_to_prefixes(remote, rp, PREFIXES_MAX);
	struct group_key key;

	if (nl * nr > RULES_MAX)
		return fail(err, "routing rule", -E2BIG);
	if (p->action == POLICY_PASS)
		return add_pass(r, set, p, local, remote, err);
	memset(&key, 0, sizeof(key));
	key.base = base_rule(p, local, remote);
	key.lo = local->lo;
	key.hi = local->hi;
	for (size_t i = 0; i < nr; i++) {
		struct route_options options = { .mtu = set->mtu };

		key.own = own_source(r, p, local, &rp[i], &options.source);
		if (!key.own)
			options.source = (struct ip_address){ 0 };
		key.base.flags = key.own && key.base.family == AF_INET6 ? FIB_RULE_FIND_SADDR : 0;
		if (!add_destination(r, set, &key, &rp[i], priority, &options, err))
			return false;
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
	struct backend_error err = { "" };
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
		if (!set_rule(r, set, &rule, 0, &err))
			log_warning("\"%s\": with strict reverse path filtering (rp_filter=1) the peer's "
				    "packets may be dropped: %s", p->conn, err.text);
	}
}

struct route_set *routing_add(struct routing *r, const struct sa_policy *p, uint32_t mtu,
			      struct backend_error *err)
{
	struct route_set *set = calloc(1, sizeof(*set));
	bool ok = set != NULL;

	if (!set) {
		fail(err, "route", -ENOMEM);
		return NULL;
	}
	set->mtu = mtu;
	add_peer_bypass(r, set, p);
	for (size_t l = 0; ok && l < p->local_ts.count; l++)
		for (size_t m = 0; ok && m < p->remote_ts.count; m++)
			if (p->local_ts.ts[l].lo.family == p->remote_ts.ts[m].lo.family)
				ok = add_pair(r, set, p, &p->local_ts.ts[l], &p->remote_ts.ts[m], err);
	if (!ok) {
		routing_remove(r, set);
		return NULL;
	}
	routing_keep_order(r);
	common_gather(r, false);
	return set;
}

void routing_remove(struct routing *r, struct route_set *set)
{
	if (!set)
		return;
	rules_unref(r, &set->rules);
	for (size_t i = 0; i < set->member_count; i++) {
		set->members[i]->refs--;
		/* the last one takes the route along */
		if (set->members[i]->refs > 0)
			member_change_mtu(r, set->members[i], set->mtu, 0);
		member_put(r, set->members[i]);
	}
	if (remove_passes(r, set))
		sort_groups(r);
	route_set_free(set);
}

int routing_set_mtu(struct routing *r, struct route_set *set, uint32_t mtu)
{
	int rc = 0;

	if (!set || set->mtu == mtu)
		return 0;
	for (size_t i = 0; i < set->member_count; i++) {
		int one = member_change_mtu(r, set->members[i], set->mtu, mtu);

		rc = rc ? rc : one;
	}
	set->mtu = mtu;
	return rc;
}

/* --- memory ----------------------------------------------------------------------------------- */

void route_set_free(struct route_set *set)
{
	if (!set)
		return;
	free(set->rules.items);
	free(set->members);
	free(set);
}

static void group_free(struct route_group *g)
{
	struct member *m = g->members, *next;

	HASH_CLEAR(hh, g->members);
	for (; m; m = next) {
		next = m->hh.next;
		free(m->rules.items);
		mtu_set_free(&m->mtus);
		free(m);
	}
	free(g->rules.items);
	free(g);
}

void route_groups_free(struct routing *r)
{
	struct route_group *g = r->groups, *next;
	struct pass_pair *p = r->passes;

	HASH_CLEAR(hh, r->groups);
	for (; g; g = next) {
		next = g->hh.next;
		group_free(g);
	}
	for (r->passes = NULL; p;) {
		struct pass_pair *after = p->next;

		free(p);
		p = after;
	}
}
