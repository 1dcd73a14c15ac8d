/* One rule, one route: to and from the kernel. */
#include <linux/fib_rules.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "esp/esp.h"
#include "esp/route_internal.h"

enum { METRIC_DEVICE = 10, METRIC_UNREACHABLE = 20000 };

static void put_ports(struct netlink_request *q, uint16_t attr, uint16_t lo, uint16_t hi)
{
	struct fib_rule_port_range range = { .start = lo, .end = hi };

	if (lo || hi)
		mnl_attr_put(q->header, attr, sizeof(range), &range);
}

int rule_send(struct routing *r, const struct rule *rule, uint16_t type, uint16_t flags)
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
		h->table = rule->target < 256 ? (uint8_t)rule->target : RT_TABLE_UNSPEC;
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

int route_send(struct routing *r, const struct route_key *key, bool unreachable,
	       const struct route_options *options, uint16_t type)
{
	bool add = type == RTM_NEWROUTE;
	const struct ip_address *dst = &key->dst.address;
	struct netlink_request q;
	struct rtmsg *m = netlink_begin(&q, type, add ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof(*m));

	m->rtm_family = dst->family;
	m->rtm_dst_len = key->dst.length;
	m->rtm_table = key->table < 256 ? (uint8_t)key->table : RT_TABLE_UNSPEC;
	m->rtm_protocol = ESP_PROTOCOL;
	m->rtm_type = unreachable ? RTN_UNREACHABLE : RTN_UNICAST;
	m->rtm_scope = unreachable || dst->family == AF_INET6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	mnl_attr_put_u32(q.header, RTA_TABLE, key->table);
	if (key->dst.length)
		netlink_put_address(&q, RTA_DST, dst);
	mnl_attr_put_u32(q.header, RTA_PRIORITY, unreachable ? METRIC_UNREACHABLE : METRIC_DEVICE);
	if (!unreachable)
		mnl_attr_put_u32(q.header, RTA_OIF, r->ifindex);
	if (options && options->source.family == dst->family)
		netlink_put_address(&q, RTA_PREFSRC, &options->source);
	if (options && options->mtu) {
		struct nlattr *nest = mnl_attr_nest_start(q.header, RTA_METRICS);

		/* IPv6 goes on learning smaller ones of a path; a locked one of IPv4 would cost own packets their DF */
		if (r->lock_v6 && dst->family == AF_INET6)
			mnl_attr_put_u32(q.header, RTAX_LOCK, 1u << RTAX_MTU);
		mnl_attr_put_u32(q.header, RTAX_MTU, options->mtu);
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

bool rule_read(const struct nlmsghdr *h, struct rule *rule)
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
	return protocol == ESP_PROTOCOL;
}

bool route_read(const struct nlmsghdr *h, struct route_key *key)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *a;

	if (m->rtm_protocol != ESP_PROTOCOL)
		return false;
	memset(key, 0, sizeof(*key));
	key->dst.address.family = m->rtm_family;
	key->dst.length = m->rtm_dst_len;
	key->table = m->rtm_table;
	mnl_attr_for_each(a, h, sizeof(*m)) {
		if (mnl_attr_get_type(a) == RTA_DST)
			key->dst.address = attr_address(a);
		else if (mnl_attr_get_type(a) == RTA_TABLE)
			key->table = mnl_attr_get_u32(a);
	}
	return routing_owns_table(key->table);
}

bool routing_foreign(const struct routing *r, const struct nlmsghdr *h)
{
	const struct ifinfomsg *link = mnl_nlmsg_get_payload(h);
	struct route_key route;
	struct rule rule;

	switch (h->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return link->ifi_index != (int)r->ifindex;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return !route_read(h, &route);
	case RTM_NEWRULE:
	case RTM_DELRULE:
		return !rule_read(h, &rule);
	default:
		return false;
	}
}

/* IPv4: 5.10. IPv6: a locked one, and since 5.7 that does not keep the kernel from learning of narrower paths. */
bool routing_forwards_by_mtu(void)
{
	struct utsname u;
	unsigned major = 0, minor = 0;

	return uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 5 || (major == 5 && minor >= 10));
}
