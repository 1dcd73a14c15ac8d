/*
 * What only the whole connection shows: ends that do not fit each other,
 * keywords that contradict each other.
 */
#include <stdio.h>
#include <string.h>

#include "config/load.h"

/** One check of a connection. */
struct check {
	struct loader *l;
	struct section *s;
	struct conn_config *c;
	const struct diag *problem; /* the first that a check found */
	bool broken;                /* there was one before */
};

static struct diag_at at_of(const struct check *k, const struct item *item)
{
	return (struct diag_at){ .file = item ? item->file : k->s->file,
				 .line = item ? item->line : k->s->line, .conn = k->s->name };
}

#define check_error(k, item, remedy, ...)                                                      \
	check_problem(k, problem_at((k)->l, DIAG_ERROR, at_of(k, item), remedy, __VA_ARGS__))

static void check_problem(struct check *k, const struct diag *problem)
{
	if (!k->problem)
		k->problem = problem;
}

static struct item *end_item(const struct check *k, const char *keyword)
{
	struct item *left = slot_find(k->l, keyword, SIDE_LEFT);

	return left ? left : slot_find(k->l, keyword, SIDE_RIGHT);
}

/** An incomplete section that others include is their base, not a connection gone wrong. */
static bool incomplete(struct check *k, const char *remedy, const char *what)
{
	bool base = k->s->referenced;

	// What is missing may be the line that could not be read: one error is enough.
	if (base || k->broken) {
		k->c->section_only = base && !k->broken;
		check_problem(k, problem_quiet(k->l, at_of(k, NULL), remedy, "%s", what));
	} else {
		check_error(k, NULL, remedy, "%s", what);
	}
	return false;
}

/** Nothing is missing. What is there but wrong has been told already. */
static bool check_complete(struct check *k)
{
	const struct conn_config *c = k->c;
	bool clear = c->type == CONN_PASS || c->type == CONN_DROP;

	if (!slot_find(k->l, "left", SIDE_LEFT))
		return incomplete(k, "write left=, one end's address", "left= is not set");
	if (!slot_find(k->l, "right", SIDE_RIGHT))
		return incomplete(k, "write right=, one end's address", "right= is not set");
	if (!clear && !slot_find(k->l, "authby", SIDE_NONE) && !end_item(k, "auth"))
		return incomplete(k, "write authby=secret",
				  "authby= is not set, and its default, certificates, is not built yet");
	return c->left.host != HOST_UNSET && c->right.host != HOST_UNSET;
}

static void check_auth(struct check *k)
{
	struct conn_config *c = k->c;
	bool clear = c->type == CONN_PASS || c->type == CONN_DROP;
	struct item *left = slot_find(k->l, "auth", SIDE_LEFT);
	struct item *right = slot_find(k->l, "auth", SIDE_RIGHT);

	if (clear) {
		c->left.auth = c->right.auth = CONN_AUTH_NEVER;
		return;
	}
	if ((left != NULL) != (right != NULL))
		check_error(k, left ? left : right, "write both", "%s= without %s=",
			    left ? "leftauth" : "rightauth", left ? "rightauth" : "leftauth");
	if (c->left.auth == CONN_AUTH_NEVER || c->right.auth == CONN_AUTH_NEVER)
		check_error(k, left ? left : slot_find(k->l, "authby", SIDE_NONE),
			    "write authby=secret, or type=passthrough or drop",
			    "a connection with IPsec needs authentication");
}

static void check_hosts(struct check *k)
{
	struct conn_config *c = k->c;
	struct item *right = slot_find(k->l, "right", SIDE_RIGHT);
	char a[IP_ADDRESS_TEXT];

	if (c->left.host == c->right.host && (c->left.host == HOST_ANY ||
					      c->left.host == HOST_DEFAULTROUTE)) {
		check_error(k, right, "write this host's address on one side",
			    "left= and right= are both %s",
			    c->left.host == HOST_ANY ? "%any" : "%defaultroute");
		return;
	}
	if (c->left.host == HOST_ADDRESS && c->right.host == HOST_ADDRESS) {
		if (c->left.address.family != c->right.address.family)
			check_error(k, right, "use addresses of one family",
				    "left= and right= are not of the same family");
		else if (ip_address_equal(&c->left.address, &c->right.address))
			check_error(k, right, "write the other end's address",
				    "left= and right= are both %s",
				    ip_address_format(&c->left.address, a));
	}
	if (c->auto_mode == AUTO_START && c->type <= CONN_TRANSPORT &&
	    (c->left.host == HOST_ANY || c->right.host == HOST_ANY)) {
		struct item *item = slot_find(k->l, "auto", SIDE_NONE);

		if (item)
			warn_item(k->l, item, "write auto=add",
				  "%s=%s cannot call an end that is %%any: it waits to be called",
				  item->spelled, item->value);
	}
}

/** Family of an end's traffic; AF_UNSPEC when only the peer will tell. */
static uint8_t traffic_family(const struct end_config *e)
{
	if (e->subnets.count)
		return e->subnets.ts[0].lo.family;
	return e->host == HOST_ADDRESS ? e->address.family : AF_UNSPEC;
}

static void check_end(struct check *k, struct end_config *e, enum keyword_side side)
{
	const char *name = side == SIDE_LEFT ? "left" : "right";
	struct item *subnet = slot_find(k->l, "subnet", side);
	uint8_t family = traffic_family(e);

	if (e->next_hop.family != AF_UNSPEC && e->host == HOST_ADDRESS &&
	    e->next_hop.family != e->address.family)
		check_error(k, slot_find(k->l, "nexthop", side), NULL,
			    "%snexthop= is not of the family of %s=", name, name);
	if (e->source_ip.family != AF_UNSPEC && family != AF_UNSPEC &&
	    e->source_ip.family != family)
		check_error(k, slot_find(k->l, "sourceip", side), NULL,
			    "%ssourceip= is not of the family of %ssubnet=", name, name);
	for (size_t i = 0; e->protocol && i < e->subnets.count; i++) {
		if (e->subnets.ts[i].protocol) {
			check_error(k, subnet, "write it in one of the two",
				    "%ssubnet= and %sprotoport= both have a protocol", name, name);
			break;
		}
	}
	if (k->c->type == CONN_TRANSPORT && e->subnets.count) {
		struct ip_address lo = e->subnets.ts[0].lo;

		if (e->subnets.count > 1 || e->host != HOST_ADDRESS ||
		    !ip_address_equal(&lo, &e->subnets.ts[0].hi) ||
		    !ip_address_equal(&lo, &e->address))
			check_error(k, subnet, "remove it, or write type=tunnel",
				    "type=transport is between the two hosts: %ssubnet= does not fit",
				    name);
	}
}

static void check_traffic(struct check *k)
{
	struct conn_config *c = k->c;
	uint8_t left = traffic_family(&c->left), right = traffic_family(&c->right);
	struct item *item = slot_find(k->l, "subnet", SIDE_RIGHT);

	check_end(k, &c->left, SIDE_LEFT);
	check_end(k, &c->right, SIDE_RIGHT);
	if (!item)
		item = slot_find(k->l, "subnet", SIDE_LEFT);
	if (item && left != AF_UNSPEC && right != AF_UNSPEC && left != right)
		check_error(k, item, "use networks of one family on both sides",
			    "the networks of left and right are not of the same family");
	if (c->left.protocol && c->right.protocol && c->left.protocol != c->right.protocol)
		check_error(k, slot_find(k->l, "protoport", SIDE_RIGHT),
			    "write the same protocol on both sides",
			    "leftprotoport= and rightprotoport= have different protocols");
}

static void check_dpd(struct check *k)
{
	struct item *timeout = slot_find(k->l, "dpdtimeout", SIDE_NONE);
	struct conn_config *c = k->c;
	struct item *delay = slot_find(k->l, "dpddelay", SIDE_NONE);

	if (!timeout || c->dpd_timeout_s == 0)
		return;
	if (c->dpd_timeout_s >= c->dpd_delay_s) {
		use_count(k->l, timeout);
		return;
	}
	warn_item(k->l, timeout, "remove dpdtimeout=",
		  "%s=%s is below dpddelay=%s and has no effect in IKEv2; a dead peer is noticed "
		  "dpddelay plus the retransmission timeout (retransmit-timeout=%llus) after it "
		  "falls silent",
		  timeout->spelled, timeout->value, delay ? delay->value : "0",
		  (unsigned long long)c->retransmit_timeout_s);
}

static void check_lifetimes(struct check *k)
{
	struct conn_config *c = k->c;
	uint64_t longest = c->rekey_margin_s * (100 + c->rekey_fuzz_percent) / 100;
	struct item *item;
	const char *names[] = { "ikelifetime", "ipsec-lifetime" };
	uint64_t lives[] = { c->ike_lifetime_s, c->ipsec_lifetime_s };

	for (size_t i = 0; i < 2 && c->rekey; i++) {
		if (longest < lives[i])
			continue;
		item = slot_find(k->l, names[i], SIDE_NONE);
		if (!item)
			item = slot_find(k->l, "rekeymargin", SIDE_NONE);
		if (!item)
			item = slot_find(k->l, "rekeyfuzz", SIDE_NONE);
		if (item)
			warn_item(k->l, item, "choose a rekeymargin= well below the lifetime",
				  "rekeymargin=%llus with rekeyfuzz=%u%% is not below %s=%llus",
				  (unsigned long long)c->rekey_margin_s, c->rekey_fuzz_percent,
				  names[i], (unsigned long long)lives[i]);
	}
	if (c->retransmit_interval_ms >= c->retransmit_timeout_s * 1000) {
		item = slot_find(k->l, "retransmit-interval", SIDE_NONE);
		if (!item)
			item = slot_find(k->l, "retransmit-timeout", SIDE_NONE);
		if (item)
			warn_item(k->l, item, "choose a shorter retransmit-interval=",
				  "retransmit-interval=%llums is not below retransmit-timeout=%llus: "
				  "nothing is sent again", (unsigned long long)c->retransmit_interval_ms,
				  (unsigned long long)c->retransmit_timeout_s);
	}
}

static void check_replay(struct check *k)
{
	struct conn_config *c = k->c;
	struct item *esn = slot_find(k->l, "esn", SIDE_NONE);

	// ESN infers the upper half of the sequence number from the window (RFC 4303 §3.3.3, A2).
	if (c->replay_window || !c->esn)
		return;
	if (esn && !c->no_esn)
		warn_item(k->l, esn, "write esn=no, or a replay-window=",
			  "%s=%s needs a replay window, and replay-window= is 0: esn=no is used",
			  esn->spelled, esn->value);
	c->esn = false;
	c->no_esn = true;
}

const struct diag *check_conn(struct loader *l, struct section *s, struct conn_config *c,
			      bool broken)
{
	struct check k = { .l = l, .s = s, .c = c, .broken = broken };

	if (!check_complete(&k))
		return k.problem;
	check_auth(&k);
	check_hosts(&k);
	check_traffic(&k);
	check_dpd(&k);
	check_lifetimes(&k);
	check_replay(&k);
	return k.problem;
}
