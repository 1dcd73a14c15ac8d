#include "esp/guard.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/log.h"
#include "base/text.h"
#include "esp/esp.h"
#include "esp/nftables.h"

#ifdef HAVE_NFTABLES

#define TABLE "inet " ESP_NFT_TABLE

static void add_base(struct guard *g, struct text *t)
{
	text_add(t, "add table " TABLE "\n"
		 "add set " TABLE " own4 { type ipv4_addr; }\n"
		 "add set " TABLE " own6 { type ipv6_addr; }\n"
		 /* before connection tracking, and for a packet that leaves before its source is
		  * translated */
		 "add chain " TABLE " from_clear { type filter hook prerouting priority -300; }\n"
		 "add chain " TABLE " to_clear { type filter hook postrouting priority -10; }\n");
	/* the most frequent first: what protects is what a gateway sees most of */
	text_add(t, "add rule " TABLE " to_clear meta mark & 0x%x == 0x%x accept\n", ESP_MARK_MASK,
		 ESP_MARK);
	for (int v6 = 0; v6 < 2; v6++)
		text_add(t, "add rule " TABLE " from_clear meta l4proto 50 %s accept\n"
			 "add rule " TABLE " from_clear udp dport { 500, 4500 } %s accept\n",
			 v6 ? "ip6 daddr @own6" : "ip daddr @own4", v6 ? "ip6 daddr @own6" : "ip daddr @own4");
	text_add(t, "add rule " TABLE " from_clear iifname { \"%s\", \"lo\" } accept\n"
		 "add rule " TABLE " to_clear oifname { \"%s\", \"lo\" } accept\n", g->tun, g->tun);
	/* neighbour discovery is the link's own */
	for (int in = 0; in < 2; in++)
		text_add(t, "add rule " TABLE " %s meta l4proto 58 icmpv6 type 133-137 accept\n",
			 in ? "from_clear" : "to_clear");
}

static bool whole_family(const struct traffic_selector *ts)
{
	size_t n = ip_address_size(&ts->lo);

	for (size_t i = 0; i < n; i++)
		if (ts->lo.bytes[i] != 0 || ts->hi.bytes[i] != 0xff)
			return false;
	return true;
}

static void add_addresses(struct text *t, const char *which, const struct traffic_selector *ts)
{
	char lo[IP_ADDRESS_TEXT], hi[IP_ADDRESS_TEXT];

	if (whole_family(ts))
		return;
	text_add(t, " %s %s %s", ts->lo.family == AF_INET6 ? "ip6" : "ip", which,
		 ip_address_format(&ts->lo, lo));
	if (!ip_address_equal(&ts->lo, &ts->hi))
		text_add(t, "-%s", ip_address_format(&ts->hi, hi));
}

static bool has_ports(const struct traffic_selector *ts)
{
	return ts->port_lo <= ts->port_hi && !(ts->port_lo == 0 && ts->port_hi == UINT16_MAX);
}

static void add_ports(struct text *t, unsigned offset, const struct traffic_selector *ts)
{
	if (has_ports(ts)) /* ICMP's type and code stand where the source port would */
		text_add(t, " @th,%u,16 %u-%u",
			 ts->protocol == IPPROTO_ICMP || ts->protocol == IPPROTO_ICMPV6 ? 0 : offset,
			 ts->port_lo, ts->port_hi);
}

static void add_rule(struct text *t, const struct policy_entry *e,
		     const struct traffic_selector *from, const struct traffic_selector *to,
		     const char *chain)
{
	uint8_t proto = from->protocol ? from->protocol : to->protocol;
	bool ports = has_ports(from) || has_ports(to), pass = e->action == POLICY_PASS;

	/* a later fragment has no ports to look at: it does not go in clear, whosever it is */
	for (int fragments = ports && !pass; fragments >= 0; fragments--) {
		text_add(t, "add rule " TABLE " %s meta nfproto %s", chain,
			 from->lo.family == AF_INET6 ? "ipv6" : "ipv4");
		add_addresses(t, "saddr", from);
		add_addresses(t, "daddr", to);
		if (proto)
			text_add(t, " meta l4proto %u", proto);
		if (fragments) {
			text_add(t, "%s", from->lo.family == AF_INET6 ? " frag frag-off != 0" :
									" ip frag-off & 0x1fff != 0");
		} else {
			add_ports(t, 0, from);
			add_ports(t, 16, to);
		}
		text_add(t, pass ? " accept" : " counter drop");
		text_add(t, " comment \"reqid %u\"\n", e->state->reqid);
	}
}

/* --- sets of pairs ------------------------------------------------------------------------- */

struct pair_set_key {
	uint32_t band;
	uint8_t family, local_len, remote_len, zero;
};

struct pair_set {
	struct pair_set_key key;
	struct text elements; /* not in force yet */
	UT_hash_handle hh;
};

/* An element, so that it goes with the last pair that needs it. */
struct pair_element {
	struct pair_element_key {
		struct pair_set_key set;
		struct ip_prefix local, remote;
	} key;
	unsigned users;
	UT_hash_handle hh;
};

enum { SET_NAME = 48 };

static const char *set_name(const struct pair_set_key *k, char *buf)
{
	snprintf(buf, SET_NAME, "%s_%u_%u_%u", k->family == AF_INET6 ? "ipv6" : "ipv4", k->band,
		 k->local_len, k->remote_len);
	return buf;
}

static void add_set(struct guard *g, const struct pair_set_key *k)
{
	const char *type = k->family == AF_INET6 ? "ipv6_addr" : "ipv4_addr";
	struct text *t = &g->pending;
	char name[SET_NAME];

	set_name(k, name);
	text_add(t, "add set " TABLE " %s { type %s . %s; }\n", name, type, type);
	for (int in = 0; in < 2; in++) {
		text_add(t, "add rule " TABLE " %s ", in ? "from_clear" : "to_clear");
		nftables_masked(t, in ? "daddr" : "saddr", k->family, k->local_len);
		text_add(t, " . ");
		nftables_masked(t, in ? "saddr" : "daddr", k->family, k->remote_len);
		text_add(t, " @%s counter drop\n", name);
	}
}

static struct pair_set *set_of(struct guard *g, const struct pair_set_key *k)
{
	struct pair_set *set;

	HASH_FIND(hh, g->sets, k, sizeof(*k), set);
	if (set)
		return set;
	set = calloc(1, sizeof(*set));
	if (!set) {
		g->pending.bad = true;
		return NULL;
	}
	set->key = *k;
	HASH_ADD(hh, g->sets, key, sizeof(set->key), set);
	add_set(g, k);
	return set;
}

static void forget_sets(struct guard *g)
{
	struct pair_element *element = g->elements, *after;
	struct pair_set *set = g->sets, *next;

	HASH_CLEAR(hh, g->elements);
	for (; element; element = after) {
		after = element->hh.next;
		free(element);
	}
	HASH_CLEAR(hh, g->sets);
	for (; set; set = next) {
		next = set->hh.next;
		text_free(&set->elements);
		free(set);
	}
}

/* Where a pair goes that is one of prefixes and nothing else; false if it needs rules. */
static bool element_key(const struct policy_entry *e, struct pair_element_key *key)
{
	struct ip_prefix local, remote;

	if (e->action == POLICY_PASS || e->local.protocol || e->remote.protocol ||
	    has_ports(&e->local) || has_ports(&e->remote) ||
	    !ip_prefix_from_range(&e->local.lo, &e->local.hi, &local) ||
	    !ip_prefix_from_range(&e->remote.lo, &e->remote.hi, &remote))
		return false;
	memset(key, 0, sizeof(*key));
	key->local.address = local.address;
	key->local.length = key->set.local_len = local.length;
	key->remote.address = remote.address;
	key->remote.length = key->set.remote_len = remote.length;
	key->set.family = local.address.family;
	return true;
}

static void put_element(struct text *t, const struct pair_element_key *key)
{
	char local[IP_ADDRESS_TEXT], remote[IP_ADDRESS_TEXT];

	text_add(t, "%s . %s", ip_address_format(&key->local.address, local),
		 ip_address_format(&key->remote.address, remote));
}

/* The pair is an element of a set: false if it needs rules. */
static bool add_element(struct guard *g, const struct policy_entry *e)
{
	struct pair_element_key key;
	struct pair_element *element;
	struct pair_set *set;

	if (!element_key(e, &key))
		return false;
	key.set.band = g->bands;
	HASH_FIND(hh, g->elements, &key, sizeof(key), element);
	if (element) {
		element->users++;
		return true;
	}
	element = calloc(1, sizeof(*element));
	set = set_of(g, &key.set);
	if (!element || !set) {
		free(element);
		g->pending.bad = true;
		return true;
	}
	element->key = key;
	element->users = 1;
	HASH_ADD(hh, g->elements, key, sizeof(element->key), element);
	if (set->elements.len)
		text_add(&set->elements, ", ");
	put_element(&set->elements, &key);
	return true;
}

static bool remove_element(struct guard *g, const struct policy_entry *e)
{
	struct pair_element *element = NULL;
	struct pair_element_key key;
	char name[SET_NAME];

	if (!element_key(e, &key))
		return false;
	HASH_FIND(hh, g->elements, &key, sizeof(key), element);
	if (!element)
		return false;
	if (--element->users > 0)
		return true;
	text_add(&g->pending, "delete element " TABLE " %s { ", set_name(&key.set, name));
	put_element(&g->pending, &key);
	text_add(&g->pending, " }\n");
	g->waiting = g->removing = true;
	HASH_DEL(g->elements, element);
	free(element);
	return true;
}

static bool add_pair(struct guard *g, const struct policy_entry *e)
{
	g->waiting = true;
	if (add_element(g, e))
		return true;
	add_rule(&g->pending, e, &e->remote, &e->local, "from_clear");
	add_rule(&g->pending, e, &e->local, &e->remote, "to_clear");
	g->bands += e->action == POLICY_PASS;
	return true;
}

static bool for_pairs(struct guard *g, const struct sa_policy *p,
		      bool (*f)(struct guard *g, const struct policy_entry *e))
{
	struct policy_state state = { .reqid = p->reqid };
	bool ok = true;

	for (size_t l = 0; l < p->local_ts.count; l++)
		for (size_t r = 0; ok && r < p->remote_ts.count; r++) {
			struct policy_entry e = { .local = p->local_ts.ts[l], .action = p->action,
						  .remote = p->remote_ts.ts[r], .state = &state };

			if (e.local.lo.family == e.remote.lo.family)
				ok = f(g, &e);
		}
	return ok;
}

static void add_own(struct guard *g, const struct ip_address *own)
{
	char address[IP_ADDRESS_TEXT];

	if (own->family == AF_UNSPEC || ip_address_is_any(own) || ip_address_equal(own, &g->own))
		return;
	g->own = *own;
	g->waiting = true;
	text_add(&g->pending, "add element " TABLE " %s { %s }\n",
		 own->family == AF_INET6 ? "own6" : "own4", ip_address_format(own, address));
}

/* --- the guard ------------------------------------------------------------------------------- */

void guard_open(struct guard *g, const char *tun)
{
	memset(g, 0, sizeof(*g));
	g->tun = tun;
	g->nft = nftables_open();
	if (g->nft && nftables_find_table(NFPROTO_INET, ESP_NFT_TABLE) == 0) {
		g->built = true; /* a predecessor's: stays until guard_rebuild() */
	} else if (g->nft && !nftables_run(g->nft, "add table " TABLE "\ndelete table " TABLE "\n", true)) {
		guard_close(g);
	}
	if (!g->nft)
		log_warning("nf_tables does not work here: packets that come in clear although a "
			    "policy covers them cannot be dropped");
}

static void forget(struct guard *g)
{
	forget_sets(g);
	text_free(&g->pending);
	g->own = (struct ip_address){ 0 };
	g->bands = 0;
	g->built = g->waiting = g->removing = false;
}

void guard_close(struct guard *g)
{
	forget(g);
	nftables_close(g->nft);
	g->nft = NULL;
}

/* All that waits, as one transaction. */
static bool flush(struct guard *g, bool quiet)
{
	struct text *t = &g->pending;
	char name[SET_NAME];
	bool ok;

	for (struct pair_set *set = g->sets; set; set = set->hh.next) {
		t->bad |= set->elements.bad;
		if (set->elements.len)
			text_add(t, "add element " TABLE " %s { %s }\n", set_name(&set->key, name),
				 text_str(&set->elements));
		text_free(&set->elements);
	}
	ok = !t->bad && nftables_run(g->nft, text_str(t), quiet);
	text_free(t);
	g->waiting = g->removing = false;
	return ok;
}

bool guard_flush(struct guard *g)
{
	return !g->waiting || flush(g, true);
}

bool guard_append(struct guard *g, const struct sa_policy *p)
{
	if (!g->nft)
		return true;
	/* with exceptions, its place may be before others */
	if (g->bands || p->action == POLICY_PASS || (g->removing && !guard_flush(g)))
		return false;
	if (!g->built)
		add_base(g, &g->pending);
	g->built = true;
	add_own(g, &p->local);
	return for_pairs(g, p, add_pair);
}

bool guard_remove(struct guard *g, const struct sa_policy *p)
{
	if (!g->nft)
		return true;
	if (!g->built || g->bands || (g->waiting && !g->removing && !guard_flush(g)))
		return false;
	return for_pairs(g, p, remove_element);
}

void guard_rebuild(struct guard *g, const struct policy_entry *const *pairs, size_t n,
		   const struct ip_address *own, size_t own_n)
{
	forget(g);
	if (!g->nft || (n == 0 && guard_clear(g)))
		return;
	text_add(&g->pending, "add table " TABLE "\ndelete table " TABLE "\n");
	add_base(g, &g->pending);
	for (size_t i = 0; i < own_n; i++)
		add_own(g, &own[i]);
	for (size_t i = 0; i < n; i++)
		add_pair(g, pairs[i]);
	g->built = flush(g, false);
}

bool guard_clear(struct guard *g)
{
	if (!g->nft)
		return true;
	forget(g);
	return nftables_run(g->nft, "add table " TABLE "\ndelete table " TABLE "\n", false);
}

bool guard_gone(struct guard *g)
{
	if (!g->nft || !g->built)
		return false;
	g->built = nftables_find_table(NFPROTO_INET, ESP_NFT_TABLE) != -ENOENT;
	return !g->built;
}

const char *guard_state(const struct guard *g)
{
	return g->nft ? "nftables" : "not available: nf_tables does not work here";
}

#else /* built without libnftables */

void guard_open(struct guard *g, const char *tun)
{
	memset(g, 0, sizeof(*g));
	g->tun = tun;
	log_warning("built without libnftables: packets that come in clear although a policy covers "
		    "them cannot be dropped");
}

void guard_close(struct guard *g)
{
	(void)g;
}

bool guard_append(struct guard *g, const struct sa_policy *policy)
{
	(void)g;
	(void)policy;
	return true;
}

bool guard_remove(struct guard *g, const struct sa_policy *policy)
{
	(void)g;
	(void)policy;
	return true;
}

bool guard_flush(struct guard *g)
{
	(void)g;
	return true;
}

void guard_rebuild(struct guard *g, const struct policy_entry *const *pairs, size_t n,
		   const struct ip_address *own, size_t own_n)
{
	(void)g;
	(void)pairs;
	(void)n;
	(void)own;
	(void)own_n;
}

bool guard_clear(struct guard *g)
{
	(void)g;
	return true;
}

bool guard_gone(struct guard *g)
{
	(void)g;
	return false;
}

const char *guard_state(const struct guard *g)
{
	(void)g;
	return "not available: built without libnftables";
}

#endif
