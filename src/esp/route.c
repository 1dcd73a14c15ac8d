#include "esp/route.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "esp/esp.h"
#include "esp/route_internal.h"

/* --- what is there -------------------------------------------------------------------------- */

bool routing_owns_table(uint32_t table)
{
	return table == ESP_ROUTE_TABLE || (table >= ESP_GROUP_TABLE && table <= ESP_COMMON_OWN_TABLE);
}

static int rule_do(struct routing *r, const struct rule *rule, bool add)
{
	return rule_send(r, rule, add ? RTM_NEWRULE : RTM_DELRULE, add ? NLM_F_CREATE : 0);
}

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

static struct route_item *route_item_add(struct routing *r, const struct route_key *key)
{
	struct route_item *item = calloc(1, sizeof(*item));

	if (!item)
		return NULL;
	item->key = *key;
	HASH_ADD(hh, r->routes, key, sizeof(item->key), item);
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
		rule_item_add(r, &rule, PRIORITY_NONE);
}

static void on_route(const struct nlmsghdr *h, void *context)
{
	struct routing *r = context;
	struct route_item *item;
	struct route_key key;

	if (h->nlmsg_type != RTM_NEWROUTE || !route_read(h, &key))
		return;
	HASH_FIND(hh, r->routes, &key, sizeof(key), item);
	if (!item)
		route_item_add(r, &key);
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

static void route_item_free(struct routing *r, struct route_item *item)
{
	HASH_DEL(r->routes, item);
	mtu_set_free(&item->mtus);
	free(item);
}

static int route_drop(struct routing *r, struct route_item *item)
{
	int a = route_send(r, &item->key, false, NULL, RTM_DELROUTE);
	int b = route_send(r, &item->key, true, NULL, RTM_DELROUTE);

	route_item_free(r, item);
	if (a && a != -ESRCH)
		return a;
	return b == -ESRCH ? 0 : b;
}

void routing_close(struct routing *r)
{
	struct route_item *route = r->routes, *next_route;
	struct rule_item *rule = r->rules, *next_rule;

	route_groups_free(r);
	common_free(r);
	HASH_CLEAR(hh, r->routes);
	HASH_CLEAR(hh, r->rules);
	for (; route; route = next_route) {
		next_route = route->hh.next;
		mtu_set_free(&route->mtus);
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
	return marker_clear(&r->common.marker) && ok;
}

bool routing_has_stale(const struct routing *r)
{
	for (const struct rule_item *i = r->rules; i; i = i->hh.next)
		if (i->refs == 0)
			return true;
	return (r->routes != NULL && r->routes->refs == 0) || marker_has_stale(&r->common.marker);
}

void routing_settle(struct routing *r)
{
	struct route_item *route, *t1;
	struct rule_item *rule, *t2;

	common_gather(r, true);
	HASH_ITER(hh, r->rules, rule, t2)
		if (rule->refs == 0)
			rule_drop(r, rule);
	HASH_ITER(hh, r->routes, route, t1)
		if (route->refs == 0)
			route_drop(r, route);
	marker_settle(&r->common.marker);
}

/* --- users of rules and routes ------------------------------------------------------------------ */

int rule_ref(struct routing *r, const struct rule *rule, uint32_t priority,
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

void rule_unref(struct routing *r, struct rule_item *item)
{
	if (--item->refs == 0)
		rule_drop(r, item);
}

/* The route to the device, in place of what is there. */
static int route_lay(struct routing *r, const struct route_item *item)
{
	struct route_options options = { item->source, mtu_set_least(&item->mtus) };
	int rc = route_send(r, &item->key, false, &options, RTM_NEWROUTE);

	if (rc == -EINVAL && options.source.family) { /* an address that is not here (yet) */
		options.source = (struct ip_address){ 0 };
		rc = route_send(r, &item->key, false, &options, RTM_NEWROUTE);
	}
	return rc;
}

int route_ref(struct routing *r, const struct route_key *key, const struct route_options *options,
	      struct route_item **out)
{
	struct route_item *item;
	bool fresh;
	int rc;

	HASH_FIND(hh, r->routes, key, sizeof(*key), item);
	fresh = !item;
	if (fresh)
		item = route_item_add(r, key);
	if (!item)
		return -ENOMEM;
	item->source = options->source;
	rc = mtu_set_change(&item->mtus, 0, options->mtu) ? 0 : -ENOMEM;
	/* beneath first: it must be there when the device goes */
	if (rc == 0)
		rc = route_send(r, key, true, NULL, RTM_NEWROUTE);
	if (rc == 0)
		rc = route_lay(r, item);
	if (rc && fresh)
		route_item_free(r, item);
	else if (rc)
		mtu_set_change(&item->mtus, options->mtu, 0);
	if (rc)
		return rc;
	item->refs++;
	*out = item;
	return 0;
}

int route_change_mtu(struct routing *r, struct route_item *item, uint32_t from, uint32_t to)
{
	uint32_t had = mtu_set_least(&item->mtus);

	if (!mtu_set_change(&item->mtus, from, to))
		return -ENOMEM;
	return mtu_set_least(&item->mtus) == had ? 0 : route_lay(r, item);
}

void route_unref(struct routing *r, struct route_item *item, uint32_t mtu)
{
	if (--item->refs == 0)
		route_drop(r, item);
	else
		route_change_mtu(r, item, mtu, 0);
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
void routing_keep_order(struct routing *r)
{
	struct rule_item **sorted, *item, *tmp;
	bool in_order = true;
	uint64_t before = r->position;
	size_t n = 0;

	if (!r->passes)
		return;
	sorted = calloc(HASH_COUNT(r->rules) + 1, sizeof(struct rule_item *));
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
	struct route_key key;

	if (h->nlmsg_type != RTM_NEWROUTE || !route_read(h, &key))
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
		routing_keep_order(r);
	}
	common_check(r);
	return p.device_routes >= routes && p.unreachable_routes >= routes;
}
