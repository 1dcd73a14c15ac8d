/* Policies of XFRM as netlink messages, and the rules that one struct sa_policy becomes. */
#include "kernel/xfrm_policy.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/xfrm_state.h"

enum {
	PREFIXES_MAX = 254, /* a range of IPv6 addresses at worst */
	PORTS_MAX = 32,     /* a range of ports gives 30 at worst */
	PORT_ALL = UINT16_MAX,
};

/** Ports as the kernel compares them. */
struct port_mask {
	uint16_t value, mask;
};

void xfrm_rules_free(struct xfrm_rules *rules)
{
	free(rules->rule);
	*rules = (struct xfrm_rules){ 0 };
}

static struct xfrm_rule *rules_add(struct xfrm_rules *rules)
{
	if (rules->count == rules->cap) {
		size_t cap = rules->cap == 0 ? 3 : rules->cap * 2;
		struct xfrm_rule *r = realloc(rules->rule, cap * sizeof(*r));

		if (r == NULL)
			return NULL;
		rules->rule = r;
		rules->cap = cap;
	}
	memset(&rules->rule[rules->count], 0, sizeof(struct xfrm_rule));
	return &rules->rule[rules->count++];
}

/** Split lo..hi into aligned blocks. OPAQUE (65535..0) is a packet whose ports read as zero. */
static size_t split_ports(uint16_t lo, uint16_t hi, struct port_mask out[PORTS_MAX])
{
	uint32_t at = lo, end = (uint32_t)hi + 1;
	size_t n = 0;

	if (lo > hi) {
		out[0] = (struct port_mask){ .value = 0, .mask = PORT_ALL };
		return 1;
	}
	while (at < end && n < PORTS_MAX) {
		uint32_t size = at == 0 ? 1u << 16 : at & -at;

		while (size > end - at)
			size >>= 1;
		out[n++] = (struct port_mask){ .value = (uint16_t)at,
					       .mask = (uint16_t)~(size - 1) };
		at += size;
	}
	return n;
}

static bool ports_any(const struct traffic_selector *ts)
{
	return ts->port_lo == 0 && ts->port_hi == PORT_ALL;
}

/** ICMP has type and code where others have ports, in the same fields whatever the direction. */
static bool has_type_and_code(uint8_t protocol)
{
	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6 || protocol == IPPROTO_MH;
}

/** One pair of selectors on its way to rules. */
struct pair {
	const struct sa_policy *policy;
	const struct traffic_selector *local, *remote;
	uint8_t protocol;
	uint32_t priority;
	struct xfrm_rules *out;
};

/** The template of a tunnel or of transport, from the view of `direction`. */
static void put_template(struct xfrm_rule *r, const struct sa_policy *p, uint32_t direction)
{
	struct xfrm_user_tmpl *t = &r->template;
	bool out = direction == XFRM_POLICY_OUT;
	/* Who the peer will be is not known: no SA can fit, but what is to be sent is told. */
	bool unknown = p->remote.family == AF_UNSPEC;
	bool tunnel = p->mode == MODE_TUNNEL && !unknown;

	r->has_template = true;
	t->id.proto = IPPROTO_ESP;
	t->family = unknown ? r->key.sel.family : p->remote.family;
	t->reqid = p->reqid;
	t->mode = tunnel ? XFRM_MODE_TUNNEL : XFRM_MODE_TRANSPORT;
	t->aalgos = t->ealgos = t->calgos = UINT32_MAX;
	if (!tunnel)
		return; /* the addresses are the packet's own */
	t->saddr = xfrm_address_put(out ? &p->local : &p->remote);
	t->id.daddr = xfrm_address_put(out ? &p->remote : &p->local);
}

/** What there is to do for a rule: pass, block, or protect by a template. */
static void put_action(struct xfrm_rule *r, const struct sa_policy *p, uint32_t direction)
{
	if (p->action == POLICY_PASS)
		return;
	if (p->action == POLICY_DROP ||
	    (p->action == POLICY_PROTECT && p->remote.family == AF_UNSPEC))
		r->block = true;
	else
		put_template(r, p, direction);
}

static void put_ports(struct xfrm_selector *sel, uint8_t protocol, struct port_mask s,
		      struct port_mask d)
{
	if (has_type_and_code(protocol)) {
		/* the high byte is the type, the low one the code */
		uint16_t type = s.mask >> 8, code = s.mask & 0xff;

		d = (struct port_mask){ .value = s.value & 0xff,
					.mask = code == 0xff ? PORT_ALL : code };
		s = (struct port_mask){ .value = s.value >> 8,
					.mask = type == 0xff ? PORT_ALL : type };
	}
	sel->sport = htons(s.value);
	sel->sport_mask = htons(s.mask);
	sel->dport = htons(d.value);
	sel->dport_mask = htons(d.mask);
}

static bool add_rule(const struct pair *pair, uint32_t direction, const struct ip_prefix *src,
		     const struct ip_prefix *dst, struct port_mask sport, struct port_mask dport)
{
	const struct sa_policy *p = pair->policy;
	struct xfrm_rule *r = pair->out->count < XFRM_RULES_MAX ? rules_add(pair->out) : NULL;

	if (r == NULL)
		return false;
	r->key.direction = direction;
	r->key.sel.family = src->address.family;
	r->key.sel.saddr = xfrm_address_put(&src->address);
	r->key.sel.daddr = xfrm_address_put(&dst->address);
	r->key.sel.prefixlen_s = src->length;
	r->key.sel.prefixlen_d = dst->length;
	r->key.sel.proto = pair->protocol;
	put_ports(&r->key.sel, pair->protocol, sport, dport);
	if (direction == XFRM_POLICY_OUT)
		r->key.mark = (struct xfrm_mark){ p->mark_out, p->mark_out_mask };
	else
		r->key.mark = (struct xfrm_mark){ p->mark_in, p->mark_in_mask };
	r->priority = pair->priority;
	put_action(r, p, direction);
	return true;
}

/** In, forward and out; the outbound rule last, when what comes back is provided for. */
static bool add_rules(const struct pair *pair, const struct ip_prefix *l, const struct ip_prefix *r,
		      struct port_mask lport, struct port_mask rport)
{
	struct port_mask from = has_type_and_code(pair->protocol) ? lport : rport;
	const struct sa_policy *p = pair->policy;
	/* what transport mode protects is for this host: nothing of it is forwarded */
	bool forward = p->mode == MODE_TUNNEL || p->action == POLICY_DROP || p->action == POLICY_PASS;

	return add_rule(pair, XFRM_POLICY_IN, r, l, from, lport) &&
	       (!forward || add_rule(pair, XFRM_POLICY_FWD, r, l, from, lport)) &&
	       add_rule(pair, XFRM_POLICY_OUT, l, r, lport, rport);
}

static bool expand_ports(const struct pair *pair, const struct ip_prefix *l,
			 const struct ip_prefix *r)
{
	struct port_mask lports[PORTS_MAX], rports[PORTS_MAX];
	const struct traffic_selector *lts = pair->local, *rts = pair->remote;
	size_t nl, nr;

	/* type and code are said by either end, and then mean the same packet */
	if (has_type_and_code(pair->protocol)) {
		lts = ports_any(lts) ? rts : lts;
		rts = lts;
	}
	nl = split_ports(lts->port_lo, lts->port_hi, lports);
	nr = has_type_and_code(pair->protocol) ? 1 : split_ports(rts->port_lo, rts->port_hi, rports);
	if (has_type_and_code(pair->protocol))
		rports[0] = (struct port_mask){ 0 };
	for (size_t i = 0; i < nl; i++)
		for (size_t j = 0; j < nr; j++)
			if (!add_rules(pair, l, r, lports[i], rports[j]))
				return false;
	return true;
}

static bool expand_pair(const struct pair *pair)
{
	struct ip_prefix l[PREFIXES_MAX], r[PREFIXES_MAX];
	size_t nl = ts_to_prefixes(pair->local, l, PREFIXES_MAX);
	size_t nr = ts_to_prefixes(pair->remote, r, PREFIXES_MAX);

	for (size_t i = 0; i < nl; i++)
		for (size_t j = 0; j < nr; j++)
			if (!expand_ports(pair, &l[i], &r[j]))
				return false;
	return true;
}

bool xfrm_rules_expand(const struct sa_policy *policy, struct xfrm_rules *out,
		       struct backend_error *err)
{
	for (size_t i = 0; i < policy->local_ts.count; i++) {
		for (size_t j = 0; j < policy->remote_ts.count; j++) {
			const struct traffic_selector *l = &policy->local_ts.ts[i];
			const struct traffic_selector *r = &policy->remote_ts.ts[j];
			struct pair pair = { .policy = policy, .local = l, .remote = r, .out = out };

			if (l->lo.family != r->lo.family ||
			    (l->protocol != 0 && r->protocol != 0 && l->protocol != r->protocol))
				continue; /* no packet has both */
			pair.protocol = l->protocol != 0 ? l->protocol : r->protocol;
			pair.priority = policy->priority != 0 ? policy->priority :
								sa_policy_priority(l, r);
			if (!expand_pair(&pair)) {
				xfrm_rules_free(out);
				snprintf(err->text, sizeof(err->text),
					 "the selectors of \"%s\" need more than %d kernel policies; "
					 "use prefixes and single ports instead of ranges",
					 policy->conn, XFRM_RULES_MAX);
				return false;
			}
		}
	}
	if (out->count > 0)
		return true;
	snprintf(err->text, sizeof(err->text), "\"%s\" has no selectors of one address family",
		 policy->conn);
	return false;
}

bool xfrm_rules_neighbour_discovery(struct xfrm_rules *out)
{
	static const uint8_t types[] = { ND_NEIGHBOR_SOLICIT, ND_NEIGHBOR_ADVERT };
	static const uint8_t directions[] = { XFRM_POLICY_IN, XFRM_POLICY_FWD, XFRM_POLICY_OUT };

	for (size_t t = 0; t < sizeof(types); t++) {
		for (size_t d = 0; d < sizeof(directions); d++) {
			struct xfrm_rule *r = rules_add(out);

			if (r == NULL)
				return false;
			r->key.direction = directions[d];
			r->key.sel.family = AF_INET6;
			r->key.sel.proto = IPPROTO_ICMPV6;
			r->key.sel.sport = htons(types[t]);
			r->key.sel.sport_mask = PORT_ALL;
			r->priority = 1;
		}
	}
	return true;
}

static bool start(struct nlmsghdr *m, size_t room, uint16_t type, const void *fixed, size_t size)
{
	if (room < (size_t)MNL_NLMSG_HDRLEN + MNL_ALIGN(size))
		return false;
	mnl_nlmsg_put_header(m);
	m->nlmsg_type = type;
	memcpy(mnl_nlmsg_put_extra_header(m, size), fixed, size);
	return true;
}

static bool put_mark(struct nlmsghdr *m, size_t room, const struct xfrm_mark *mark)
{
	return mark->m == 0 || mnl_attr_put_check(m, room, XFRMA_MARK, sizeof(*mark), mark);
}

bool xfrm_rule_encode(struct nlmsghdr *m, size_t room, const struct xfrm_rule *rule)
{
	struct xfrm_userpolicy_info p = {
		.sel = rule->key.sel,
		.lft = { .soft_byte_limit = XFRM_INF, .hard_byte_limit = XFRM_INF,
			 .soft_packet_limit = XFRM_INF, .hard_packet_limit = XFRM_INF },
		.priority = rule->priority,
		.index = rule->index,
		.dir = (uint8_t)rule->key.direction,
		.action = rule->block ? XFRM_POLICY_BLOCK : XFRM_POLICY_ALLOW,
	};

	return start(m, room, XFRM_MSG_UPDPOLICY, &p, sizeof(p)) &&
	       (!rule->has_template || mnl_attr_put_check(m, room, XFRMA_TMPL, sizeof(rule->template),
							  &rule->template)) &&
	       put_mark(m, room, &rule->key.mark);
}

bool xfrm_rule_encode_delete(struct nlmsghdr *m, size_t room, const struct xfrm_rule_key *key)
{
	struct xfrm_userpolicy_id p = { .sel = key->sel, .dir = (uint8_t)key->direction };

	return start(m, room, XFRM_MSG_DELPOLICY, &p, sizeof(p)) && put_mark(m, room, &key->mark);
}

bool xfrm_rule_encode_dump(struct nlmsghdr *m, size_t room)
{
	if (!start(m, room, XFRM_MSG_GETPOLICY, "", 0))
		return false;
	m->nlmsg_flags |= NLM_F_DUMP;
	return true;
}

/** Field by field: padding that the kernel left must not tell two selectors apart. */
static void copy_selector(struct xfrm_selector *to, const struct xfrm_selector *from)
{
	memset(to, 0, sizeof(*to));
	to->daddr = from->daddr;
	to->saddr = from->saddr;
	to->dport = from->dport;
	to->dport_mask = from->dport_mask;
	to->sport = from->sport;
	to->sport_mask = from->sport_mask;
	to->family = from->family;
	to->prefixlen_d = from->prefixlen_d;
	to->prefixlen_s = from->prefixlen_s;
	to->proto = from->proto;
	to->ifindex = from->ifindex;
	to->user = from->user;
}

bool xfrm_rule_decode(const struct nlmsghdr *m, struct xfrm_rule *out)
{
	struct xfrm_userpolicy_info p;
	const struct nlattr *attr;

	memset(out, 0, sizeof(*out));
	if (mnl_nlmsg_get_payload_len(m) < sizeof(p))
		return false;
	memcpy(&p, mnl_nlmsg_get_payload(m), sizeof(p));
	if (p.dir >= XFRM_POLICY_MAX)
		return false; /* directions from 3 on are those of sockets */
	copy_selector(&out->key.sel, &p.sel);
	out->key.direction = p.dir;
	out->priority = p.priority;
	out->index = p.index;
	out->block = p.action == XFRM_POLICY_BLOCK;
	mnl_attr_for_each(attr, m, sizeof(p)) {
		const void *data = mnl_attr_get_payload(attr);
		size_t len = mnl_attr_get_payload_len(attr);

		if (mnl_attr_get_type(attr) == XFRMA_TMPL && len >= sizeof(out->template)) {
			memcpy(&out->template, data, sizeof(out->template));
			out->has_template = true;
		} else if (mnl_attr_get_type(attr) == XFRMA_MARK && len >= sizeof(out->key.mark)) {
			memcpy(&out->key.mark, data, sizeof(out->key.mark));
		}
	}
	return true;
}

bool xfrm_rule_is_ours(const struct xfrm_rule *rule)
{
	return (rule->index & XFRM_INDEX_MASK) == XFRM_INDEX_MARK ||
	       (rule->has_template && rule->template.id.proto == IPPROTO_ESP &&
		rule->template.reqid >= XFRM_REQID_FIRST);
}
