/*
 * The common table: policies with many different local sides, led by their remote sides and the
 * marks of the packet filter; see route.h.
 *
 * What must hold: a policy has rules of its own until its pair of networks is in the marker's
 * sets and its route in the table, and again before it leaves them. So nothing of it goes in
 * clear, and nothing of others to the device.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/log.h"
#include "esp/esp.h"
#include "esp/route_internal.h"

enum { COMMON_ABOVE = 64 }; /* so many policies have rules of their own */

/* The destination is the route's user. */
struct laid_route {
	struct route_item *item; /* NULL: none */
	uint32_t mtu;
};

/* A remote network. Zeroed padding, compared as bytes. */
struct destination {
	struct ip_prefix dst;
	struct member *members;   /* list, newest first */
	size_t own_members;       /* of these, whose packets may be without a source when they are routed first */
	struct route_options options; /* of the routes: what suits all */
	struct laid_route route;  /* in the common table */
	struct laid_route own;    /* in the one for packets without a source */
	UT_hash_handle hh;
};

bool common_suits(const struct route_group *g)
{
	const struct rule *b = &g->key.base;

	return !b->ipproto && !b->sport_lo && !b->sport_hi && !b->dport_lo && !b->dport_hi;
}

/* --- rules into the table --------------------------------------------------------------------- */

static int add_rule(struct routing *r, uint8_t family, const struct ip_prefix *src, bool own)
{
	struct rule rule;

	memset(&rule, 0, sizeof(rule));
	rule.family = family;
	rule.pref = ESP_RULE_POLICY;
	rule.action = FR_ACT_TO_TBL;
	rule.target = own ? ESP_COMMON_OWN_TABLE : ESP_COMMON_TABLE;
	rule.mask = ESP_UNCOVERED; /* with a mark of 0: the bit is clear */
	if (src) {
		rule.src.address = src->address;
		rule.src.length = src->length;
	}
	return rules_ref(r, &r->common.rules, &rule, PRIORITY_NONE);
}

/*
 * A packet without a source (yet) must find nothing but what it may be given one for, or it would get
 * one by a route that it does not take in the end. IPv4 has 0.0.0.0 in such a look-up, which no
 * packet has for a source (0.0.0.0/8 is "this network"), so the rules have all but that. In IPv6, rules
 * with a source are not asked then.
 */
static int add_rules(struct routing *r, uint8_t family)
{
	struct ip_prefix src = { .address.family = family };
	int rc;

	if (family == AF_INET6) {
		rc = add_rule(r, family, NULL, true);
		src.length = 1;
		for (int i = 0; rc == 0 && i < 2; i++) {
			src.address.bytes[0] = i ? 0x80 : 0;
			rc = add_rule(r, family, &src, false);
		}
		return rc;
	}
	src.length = 32;
	rc = add_rule(r, family, &src, true);
	for (unsigned i = 0; rc == 0 && i < 8; i++) {
		src.length = (uint8_t)(8 - i);
		src.address.bytes[0] = (uint8_t)(1u << i);
		rc = add_rule(r, family, &src, false);
	}
	return rc;
}

static int need_rules(struct routing *r, uint8_t family)
{
	bool *there = &r->common.families[family == AF_INET6];
	int rc = *there ? 0 : add_rules(r, family);

	*there |= rc == 0;
	return rc;
}

/* Nothing is led by the table any more. */
static void end(struct routing *r)
{
	struct common_table *c = &r->common;

	rules_unref(r, &c->rules);
	c->families[0] = c->families[1] = false;
	if (!marker_has_stale(&c->marker))
		marker_clear(&c->marker);
}

/* --- destinations ------------------------------------------------------------------------------- */

static void take_route_away(struct routing *r, struct laid_route *laid)
{
	if (laid->item)
		route_unref(r, laid->item, laid->mtu);
	laid->item = NULL;
}

static int write_route(struct routing *r, const struct destination *d, uint32_t table,
		       const struct route_options *options, struct laid_route *laid)
{
	struct route_item *route;
	struct route_key key;
	int rc;

	memset(&key, 0, sizeof(key));
	key.dst = d->dst;
	key.table = table;
	rc = route_ref(r, &key, options, &route);
	if (rc)
		return rc;
	take_route_away(r, laid);
	*laid = (struct laid_route){ route, options->mtu };
	return 0;
}

/* The group's packets may be without a source when they are routed first. */
static bool from_here(const struct route_group *g)
{
	struct ip_prefix local;

	return g->key.own || (ip_prefix_from_range(&g->key.lo, &g->key.hi, &local) && local.length == 0);
}

static uint32_t narrower(uint32_t a, uint32_t b)
{
	return a && (!b || a < b) ? a : b;
}

/* What suits all: the narrowest MTU, which is not below `floor`, and a source that one has. */
static struct route_options common_options(const struct destination *d, uint32_t floor)
{
	struct route_options o = { 0 };
	const struct member *m;

	DL_FOREACH2(d->members, m, next_same) {
		o.mtu = narrower(m->options.mtu, o.mtu);
		if (!o.source.family)
			o.source = m->options.source;
		if (o.mtu == floor && (o.source.family || d->own_members == 0))
			break;
	}
	return o;
}

static int destination_write(struct routing *r, struct destination *d, const struct route_options *options)
{
	struct route_options without_source = { .mtu = options->mtu };
	int rc = write_route(r, d, ESP_COMMON_TABLE, &without_source, &d->route);

	if (rc == 0 && d->own_members)
		rc = write_route(r, d, ESP_COMMON_OWN_TABLE, options, &d->own);
	if (rc)
		return rc;
	d->options = *options;
	if (d->own_members == 0)
		take_route_away(r, &d->own);
	return 0;
}

/* After its members changed. */
static int destination_adapt(struct routing *r, struct destination *d, uint32_t floor)
{
	struct route_options o = common_options(d, floor);

	if (d->route.item && o.mtu == d->options.mtu && ip_address_equal(&o.source, &d->options.source) &&
	    (d->own.item != NULL) == (d->own_members > 0))
		return 0;
	return destination_write(r, d, &o);
}

static struct destination *destination_get(struct routing *r, const struct ip_prefix *dst)
{
	struct destination *d;

	HASH_FIND(hh, r->common.destinations, dst, sizeof(*dst), d);
	if (d)
		return d;
	d = calloc(1, sizeof(*d));
	if (!d)
		return NULL;
	d->dst = *dst;
	HASH_ADD(hh, r->common.destinations, dst, sizeof(d->dst), d);
	return d;
}

static void destination_put(struct routing *r, struct destination *d)
{
	if (d->members)
		return;
	take_route_away(r, &d->route);
	take_route_away(r, &d->own);
	HASH_DEL(r->common.destinations, d);
	free(d);
	if (!common_used(r))
		end(r);
}

/* --- members ------------------------------------------------------------------------------------ */

/*
 * In IPv6 it is packet filters that look for the way back (firewalld's IPv6_rpfilter), before the mark is
 * there. With a route to everywhere in the table they would drop what comes from anywhere.
 */
static bool too_wide(const struct member *m)
{
	return m->dst.address.family == AF_INET6 && m->dst.length == 0;
}

void common_wait(struct routing *r, struct member *m, bool wait)
{
	wait = wait && !too_wide(m);
	if (m->waits == wait)
		return;
	m->waits = wait;
	if (wait) {
		DL_APPEND(r->common.waiting, m);
		r->common.waits++;
	} else {
		DL_DELETE(r->common.waiting, m);
		r->common.waits--;
	}
}

static void tell_marker(struct routing *r, const struct member *m,
			void (*f)(struct marker *, const struct ip_prefix *, const struct ip_prefix *))
{
	struct ip_prefix local[PREFIXES_MAX];
	size_t n = group_prefixes(m->group, local);

	for (size_t i = 0; i < n; i++)
		f(&r->common.marker, &local[i], &m->dst);
}

int common_update(struct routing *r, struct member *m)
{
	struct destination *d = m->destination;
	struct route_options o = common_options(d, narrower(m->options.mtu, d->options.mtu));

	return destination_write(r, d, &o);
}

int common_change_mtu(struct routing *r, struct member *m)
{
	struct destination *d = m->destination;

	return destination_adapt(r, d, narrower(m->options.mtu, d->options.mtu));
}

static int join(struct routing *r, struct destination *d, struct member *m)
{
	m->destination = d;
	DL_PREPEND2(d->members, m, prev_same, next_same);
	d->own_members += from_here(m->group);
	return destination_adapt(r, d, narrower(m->options.mtu, d->options.mtu));
}

static void part(struct routing *r, struct member *m)
{
	struct destination *d = m->destination;

	m->destination = NULL;
	DL_DELETE2(d->members, m, prev_same, next_same);
	d->own_members -= from_here(m->group);
	if (d->members && destination_adapt(r, d, d->options.mtu) != 0)
		log_warning("a route of policies stays as it was when they were more");
	destination_put(r, d);
}

void common_leave(struct routing *r, struct member *m)
{
	tell_marker(r, m, marker_remove);
	part(r, m);
}

/* The marker knows `m`. */
static bool take(struct routing *r, struct member *m)
{
	struct destination *d = need_rules(r, m->dst.address.family) == 0 ? destination_get(r, &m->dst) : NULL;

	if (d && join(r, d, m) == 0)
		return true;
	if (d)
		part(r, m);
	else if (!common_used(r))
		end(r);
	return false;
}

/* --- moving ------------------------------------------------------------------------------------- */

static int read_number(const char *interface, const char *name)
{
	char path[320], text[16] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/%s", interface, name);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (!fgets(text, sizeof(text), f))
		text[0] = '\0';
	fclose(f);
	return atoi(text);
}

/*
 * Strict reverse path filtering asks, without a mark, where answers would go. For a packet that comes in clear
 * from a remote network and is no policy's, the table would say: to the device, and the packet would be dropped.
 */
static bool strict_reverse_path(void)
{
	int all = read_number("all", "rp_filter");
	DIR *dir = opendir("/proc/sys/net/ipv4/conf");
	bool strict = dir == NULL;
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		int own = 0;

		if (e->d_name[0] == '.' || strcmp(e->d_name, "all") == 0 || strcmp(e->d_name, "lo") == 0)
			continue;
		own = read_number(e->d_name, "rp_filter");
		strict |= (own > all ? own : all) == 1;
	}
	if (dir)
		closedir(dir);
	return strict;
}

static void refuse(struct routing *r, const char *why)
{
	r->common.refused = true;
	if (!r->common.told)
		log_warning("policies with different local networks have a routing rule each, which slows "
			    "down every packet: %s", why);
	r->common.told = true;
}

static bool possible(struct routing *r)
{
	if (!r->common.marker.nft)
		refuse(r, "nf_tables does not work here");
	else if (!common_used(r) && strict_reverse_path())
		refuse(r, "strict reverse path filtering (rp_filter=1) is on; 2 would do");
	return !r->common.refused;
}

/* Those in tables of their groups have no rules of their own, but the groups have. */
static void add_tables(struct routing *r)
{
	if (!r->common.tables)
		return;
	for (struct route_group *g = r->groups; g; g = g->hh.next)
		for (struct member *m = common_suits(g) ? g->members : NULL; m; m = m->hh.next)
			if (m->place == PLACE_GROUP)
				common_wait(r, m, true);
}

static void move(struct routing *r)
{
	struct member *m, *next;

	add_tables(r);
	DL_FOREACH(r->common.waiting, m)
		tell_marker(r, m, marker_add);
	if (!marker_flush(&r->common.marker))
		refuse(r, "the packet filter refuses our marks");
	DL_FOREACH_SAFE(r->common.waiting, m, next) {
		if (!r->common.refused && take(r, m)) {
			member_moved(r, m);
			continue;
		}
		tell_marker(r, m, marker_remove);
		common_wait(r, m, m->place == PLACE_RULES); /* a group's table goes on leading */
		refuse(r, "the kernel refuses the common table");
	}
}

void common_gather(struct routing *r, bool all)
{
	struct common_table *c = &r->common;
	bool many = c->waits + c->tables > COMMON_ABOVE, used = common_used(r);

	if (c->refused || !(many || (all && used && c->waits)) || !possible(r))
		return;
	move(r);
	if (!used && common_used(r))
		log_info("policies with different local networks: routed by a common table and marks of the packet filter");
}

void routing_use_marks(struct routing *r)
{
	marker_open(&r->common.marker);
}

void routing_flush(struct routing *r)
{
	if (r->common.marker.waiting)
		marker_flush(&r->common.marker);
}

void common_check(struct routing *r)
{
	struct marker *m = &r->common.marker;

	routing_flush(r);
	if (common_used(r) && (m->broken || marker_gone(m))) {
		log_warning("the packet filter was flushed by someone: our marks are put back");
		marker_rebuild(m);
	}
	r->common.refused = false;
	common_gather(r, false);
}

void common_free(struct routing *r)
{
	struct destination *d = r->common.destinations, *next;

	HASH_CLEAR(hh, r->common.destinations);
	for (; d; d = next) {
		next = d->hh.next;
		free(d);
	}
	free(r->common.rules.items);
	marker_close(&r->common.marker);
	memset(&r->common, 0, sizeof(r->common));
}
