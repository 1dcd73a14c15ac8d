#include "esp/guard.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "esp/esp.h"

#ifdef HAVE_NFTABLES

#include <nftables/libnftables.h>

#define TABLE "inet " ESP_NFT_TABLE

/* Run commands as one transaction; what nft says about a failure goes to the log. */
static bool run(struct guard *g, const char *commands, bool quiet)
{
	bool ok;

	if (!g->nft)
		return false;
	ok = nft_run_cmd_from_buffer(g->nft, commands) == 0;
	if (!ok && !quiet) {
		const char *why = nft_ctx_get_error_buffer(g->nft);

		log_error("the packet filter refuses our rules: %.*s", (int)strcspn(why, "\n"), why);
	}
	nft_ctx_get_output_buffer(g->nft);
	nft_ctx_get_error_buffer(g->nft);
	return ok;
}

static void add_base(struct guard *g, struct text *t)
{
	text_add(t, "add table " TABLE "\n"
		 "add set " TABLE " own4 { type ipv4_addr; }\n"
		 "add set " TABLE " own6 { type ipv6_addr; }\n"
		 /* before connection tracking, and for a packet that leaves before its source is
		  * translated */
		 "add chain " TABLE " from_clear { type filter hook prerouting priority -300; }\n"
		 "add chain " TABLE " to_clear { type filter hook postrouting priority -10; }\n");
	text_add(t, "add rule " TABLE " from_clear iifname \"%s\" accept\n"
		 "add rule " TABLE " from_clear iifname \"lo\" accept\n"
		 "add rule " TABLE " to_clear oifname \"%s\" accept\n"
		 "add rule " TABLE " to_clear oifname \"lo\" accept\n", g->tun, g->tun);
	text_add(t, "add rule " TABLE " to_clear meta mark & 0x%x == 0x%x accept\n", ESP_MARK_MASK,
		 ESP_MARK);
	/* neighbour discovery is the link's own; ESP and IKE to our end points are what protects */
	for (int in = 0; in < 2; in++)
		text_add(t, "add rule " TABLE " %s meta l4proto 58 icmpv6 type 133-137 accept\n",
			 in ? "from_clear" : "to_clear");
	for (int v6 = 0; v6 < 2; v6++) {
		const char *to = v6 ? "ip6 daddr @own6" : "ip daddr @own4";

		text_add(t, "add rule " TABLE " from_clear %s meta l4proto 50 accept\n", to);
		text_add(t, "add rule " TABLE " from_clear %s udp dport 500 accept\n", to);
		text_add(t, "add rule " TABLE " from_clear %s udp dport 4500 accept\n", to);
	}
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

static void add_rule(struct text *t, const struct sa_policy *p, const struct traffic_selector *from,
		     const struct traffic_selector *to, const char *chain)
{
	uint8_t proto = from->protocol ? from->protocol : to->protocol;
	bool ports = has_ports(from) || has_ports(to), pass = p->action == POLICY_PASS;

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
		text_add(t, " comment \"reqid %u\"\n", p->reqid);
	}
}

static void add_policy(struct text *t, const struct sa_policy *p)
{
	char address[IP_ADDRESS_TEXT];

	if (p->local.family != AF_UNSPEC && !ip_address_is_any(&p->local))
		text_add(t, "add element " TABLE " %s { %s }\n",
			 p->local.family == AF_INET6 ? "own6" : "own4",
			 ip_address_format(&p->local, address));
	for (size_t l = 0; l < p->local_ts.count; l++)
		for (size_t r = 0; r < p->remote_ts.count; r++) {
			const struct traffic_selector *local = &p->local_ts.ts[l];
			const struct traffic_selector *remote = &p->remote_ts.ts[r];

			if (local->lo.family != remote->lo.family)
				continue;
			add_rule(t, p, remote, local, "from_clear");
			add_rule(t, p, local, remote, "to_clear");
		}
}

void guard_open(struct guard *g, const char *tun)
{
	memset(g, 0, sizeof(*g));
	g->tun = tun;
	g->nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!g->nft || nft_ctx_buffer_output(g->nft) || nft_ctx_buffer_error(g->nft)) {
		guard_close(g);
	} else if (run(g, "list table " TABLE "\n", true)) {
		g->built = true; /* a predecessor's: stays until guard_rebuild() */
	} else if (!run(g, "add table " TABLE "\ndelete table " TABLE "\n", true)) {
		guard_close(g);
	}
	if (!g->nft)
		log_warning("nf_tables does not work here: packets that come in clear although a "
			    "policy covers them cannot be dropped");
}

void guard_close(struct guard *g)
{
	if (g->nft)
		nft_ctx_free(g->nft);
	g->nft = NULL;
	text_free(&g->pending);
}

bool guard_append(struct guard *g, const struct sa_policy *policy)
{
	if (!g->nft)
		return true;
	if (g->ordered || policy->action == POLICY_PASS)
		return false;
	if (!g->built)
		add_base(g, &g->pending);
	g->built = true;
	add_policy(&g->pending, policy);
	return true;
}

bool guard_flush(struct guard *g)
{
	bool ok = !g->pending.len || (!g->pending.bad && run(g, text_str(&g->pending), true));

	text_free(&g->pending);
	return ok;
}

static int by_priority(const void *x, const void *y)
{
	const struct sa_policy *a = *(const struct sa_policy *const *)x;
	const struct sa_policy *b = *(const struct sa_policy *const *)y;
	uint32_t pa = a->priority, pb = b->priority;

	if (!pa && a->local_ts.count && a->remote_ts.count)
		pa = sa_policy_priority(&a->local_ts.ts[0], &a->remote_ts.ts[0]);
	if (!pb && b->local_ts.count && b->remote_ts.count)
		pb = sa_policy_priority(&b->local_ts.ts[0], &b->remote_ts.ts[0]);
	return pa < pb ? -1 : pa > pb;
}

void guard_rebuild(struct guard *g, const struct sa_policy *const *policies, size_t n)
{
	const struct sa_policy **sorted;
	struct text t = { 0 };

	text_free(&g->pending);
	if (!g->nft || (n == 0 && guard_clear(g)))
		return;
	sorted = calloc(n + 1, sizeof(const struct sa_policy *));
	if (!sorted) {
		log_error("out of memory: the packet filter stays as it is");
		return;
	}
	memcpy(sorted, policies, n * sizeof(const struct sa_policy *));
	qsort(sorted, n, sizeof(const struct sa_policy *), by_priority);
	text_add(&t, "add table " TABLE "\ndelete table " TABLE "\n");
	add_base(g, &t);
	g->ordered = false;
	for (size_t i = 0; i < n; i++) {
		g->ordered |= sorted[i]->action == POLICY_PASS;
		add_policy(&t, sorted[i]);
	}
	g->built = !t.bad && run(g, text_str(&t), false);
	text_free(&t);
	free(sorted);
}

bool guard_clear(struct guard *g)
{
	if (!g->nft)
		return true;
	g->built = g->ordered = false;
	return run(g, "add table " TABLE "\ndelete table " TABLE "\n", false);
}

bool guard_gone(struct guard *g)
{
	if (!g->nft || !g->built || nft_run_cmd_from_buffer(g->nft, "list tables inet\n") != 0)
		return false;
	const char *tables = nft_ctx_get_output_buffer(g->nft);

	g->built = tables == NULL || strstr(tables, "table " TABLE "\n") != NULL;
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

bool guard_flush(struct guard *g)
{
	(void)g;
	return true;
}

void guard_rebuild(struct guard *g, const struct sa_policy *const *policies, size_t n)
{
	(void)g;
	(void)policies;
	(void)n;
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
