/* Traffic selectors; see selector.h. */
#include "net/selector.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

enum { PORT_MAX = 65535 };

struct traffic_selector ts_from_prefix(const struct ip_prefix *p)
{
	struct traffic_selector ts = { .port_lo = 0, .port_hi = PORT_MAX };

	ip_prefix_range(p, &ts.lo, &ts.hi);
	return ts;
}

static bool ports_opaque(const struct traffic_selector *ts)
{
	return ts->port_lo == PORT_MAX && ts->port_hi == 0;
}

static bool ports_any(const struct traffic_selector *ts)
{
	return ts->port_lo == 0 && ts->port_hi == PORT_MAX;
}

bool ts_equal(const struct traffic_selector *a, const struct traffic_selector *b)
{
	return a->protocol == b->protocol && a->port_lo == b->port_lo && a->port_hi == b->port_hi &&
	       ip_address_equal(&a->lo, &b->lo) && ip_address_equal(&a->hi, &b->hi);
}

bool ts_contains(const struct traffic_selector *outer, const struct traffic_selector *inner)
{
	struct traffic_selector both;

	return ts_intersect(outer, inner, &both) && ts_equal(&both, inner);
}

static struct ip_address later(const struct ip_address *a, const struct ip_address *b)
{
	return ip_address_compare(a, b) > 0 ? *a : *b;
}

static struct ip_address earlier(const struct ip_address *a, const struct ip_address *b)
{
	return ip_address_compare(a, b) < 0 ? *a : *b;
}

/* ANY covers OPAQUE, no other range does (RFC 4301 §4.4.1.1). */
static bool intersect_ports(const struct traffic_selector *a, const struct traffic_selector *b,
			    struct traffic_selector *out)
{
	const struct traffic_selector *opaque = ports_opaque(a) ? a : b;

	if (ports_opaque(a) || ports_opaque(b)) {
		const struct traffic_selector *other = opaque == a ? b : a;

		out->port_lo = opaque->port_lo;
		out->port_hi = opaque->port_hi;
		return ports_opaque(other) || ports_any(other);
	}
	out->port_lo = a->port_lo > b->port_lo ? a->port_lo : b->port_lo;
	out->port_hi = a->port_hi < b->port_hi ? a->port_hi : b->port_hi;
	return out->port_lo <= out->port_hi;
}

bool ts_intersect(const struct traffic_selector *a, const struct traffic_selector *b,
		  struct traffic_selector *out)
{
	struct traffic_selector ts = { 0 };

	if (a->lo.family != b->lo.family || ip_address_size(&a->lo) == 0)
		return false;
	if (a->protocol != 0 && b->protocol != 0 && a->protocol != b->protocol)
		return false;
	ts.protocol = a->protocol ? a->protocol : b->protocol;
	ts.lo = later(&a->lo, &b->lo);
	ts.hi = earlier(&a->hi, &b->hi);
	if (ip_address_compare(&ts.lo, &ts.hi) > 0 || !intersect_ports(a, b, &ts))
		return false;
	*out = ts;
	return true;
}

bool ts_matches(const struct traffic_selector *ts, const struct ip_address *a, uint8_t protocol,
		uint16_t port)
{
	if (ip_address_compare(a, &ts->lo) < 0 || ip_address_compare(a, &ts->hi) > 0)
		return false;
	if (ts->protocol != 0 && ts->protocol != protocol)
		return false;
	return ports_any(ts) || (port >= ts->port_lo && port <= ts->port_hi);
}

bool ts_valid(const struct traffic_selector *ts)
{
	if (ip_address_size(&ts->lo) == 0 || ts->lo.family != ts->hi.family)
		return false;
	if (ip_address_compare(&ts->lo, &ts->hi) > 0)
		return false;
	return ts->port_lo <= ts->port_hi || ports_opaque(ts);
}

bool ts_list_add(struct ts_list *list, const struct traffic_selector *ts)
{
	if (list->count >= TS_LIST_MAX)
		return false;
	list->ts[list->count++] = *ts;
	return true;
}

bool ts_list_equal(const struct ts_list *a, const struct ts_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (!ts_equal(&a->ts[i], &b->ts[i]))
			return false;
	}
	return true;
}

static bool list_covers(const struct ts_list *list, const struct traffic_selector *ts)
{
	for (size_t i = 0; i < list->count; i++) {
		if (ts_contains(&list->ts[i], ts))
			return true;
	}
	return false;
}

bool ts_list_contains(const struct ts_list *outer, const struct ts_list *inner)
{
	for (size_t i = 0; i < inner->count; i++) {
		if (!list_covers(outer, &inner->ts[i]))
			return false;
	}
	return true;
}

/* Add `ts`, which makes the members that it covers redundant. */
static void list_absorb(struct ts_list *list, const struct traffic_selector *ts)
{
	size_t kept = 0;

	if (list_covers(list, ts))
		return;
	for (size_t i = 0; i < list->count; i++) {
		if (!ts_contains(ts, &list->ts[i]))
			list->ts[kept++] = list->ts[i];
	}
	list->count = kept;
	/* A full list loses the rest: narrowing may always choose less (RFC 7296 §2.9). */
	ts_list_add(list, ts);
}

void ts_list_narrow(const struct ts_list *proposed, const struct ts_list *ours, struct ts_list *out)
{
	struct ts_list result = { 0 };
	struct traffic_selector both;

	for (size_t i = 0; i < proposed->count; i++) {
		for (size_t k = 0; k < ours->count; k++) {
			if (ts_intersect(&proposed->ts[i], &ours->ts[k], &both))
				list_absorb(&result, &both);
		}
	}
	*out = result;
}

/* The address after the last one of `p`; false when that would be past the end of the family. */
static bool address_after(const struct ip_prefix *p, struct ip_address *next)
{
	struct ip_address lo;

	ip_prefix_range(p, &lo, next);
	for (size_t i = ip_address_size(next); i-- > 0;) {
		if (++next->bytes[i] != 0)
			return true;
	}
	return false;
}

size_t ts_to_prefixes(const struct traffic_selector *ts, struct ip_prefix *out, size_t max)
{
	struct ip_address from = ts->lo;
	size_t count = 0;

	if (!ts_valid(ts))
		return 0;
	while (count < max) {
		struct ip_prefix p = { 0 };
		struct ip_address lo, hi;

		/* The widest prefix that begins at `from` and does not go past the end. */
		for (unsigned length = 0; length <= ip_address_size(&from) * 8; length++) {
			p = (struct ip_prefix){ .address = from, .length = (uint8_t)length };
			ip_prefix_range(&p, &lo, &hi);
			if (ip_address_equal(&lo, &from) && ip_address_compare(&hi, &ts->hi) <= 0)
				break;
		}
		out[count++] = p;
		if (!address_after(&p, &from) || ip_address_compare(&from, &ts->hi) > 0)
			break;
	}
	return count;
}

const char *ip_protocol_format(uint8_t protocol, char *buf)
{
	static const struct {
		uint8_t number;
		const char *name;
	} names[] = {
		{ IPPROTO_ICMP, "icmp" }, { IPPROTO_IGMP, "igmp" },
		{ IPPROTO_IPIP, "ipip" }, { IPPROTO_TCP, "tcp" },
		{ IPPROTO_UDP, "udp" }, { IPPROTO_IPV6, "ipv6" },
		{ IPPROTO_GRE, "gre" }, { IPPROTO_ESP, "esp" },
		{ IPPROTO_AH, "ah" }, { IPPROTO_ICMPV6, "icmp6" },
		{ 89, "ospf" }, { 112, "vrrp" },
		{ 115, "l2tp" }, { IPPROTO_SCTP, "sctp" },
		{ 135, "mh" }, { IPPROTO_UDPLITE, "udplite" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].number == protocol) {
			snprintf(buf, IP_PROTOCOL_TEXT, "%s", names[i].name);
			return buf;
		}
	}
	snprintf(buf, IP_PROTOCOL_TEXT, "%u", protocol);
	return buf;
}

/* Protocols that put type << 8 | code where others have ports (RFC 4301 §4.4.1.1). */
static bool has_type_and_code(uint8_t protocol)
{
	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

static void format_ports(const struct traffic_selector *ts, struct text *t)
{
	unsigned lo = ts->port_lo, hi = ts->port_hi;

	if (ports_any(ts))
		return;
	if (ports_opaque(ts))
		text_add(t, "/OPAQUE");
	else if (has_type_and_code(ts->protocol) && lo == hi)
		text_add(t, "/%u(%u)", lo >> 8, lo & 0xff);
	else if (has_type_and_code(ts->protocol) && lo == (hi & 0xff00) && (hi & 0xff) == 0xff)
		text_add(t, "/%u", lo >> 8);
	else if (has_type_and_code(ts->protocol))
		text_add(t, "/%u(%u)-%u(%u)", lo >> 8, lo & 0xff, hi >> 8, hi & 0xff);
	else if (lo == hi)
		text_add(t, "/%u", lo);
	else
		text_add(t, "/%u-%u", lo, hi);
}

const char *ts_format(const struct traffic_selector *ts, char *buf)
{
	char lo[IP_PREFIX_TEXT], hi[IP_ADDRESS_TEXT], protocol[IP_PROTOCOL_TEXT];
	struct text t = { 0 };
	struct ip_prefix p;

	if (ip_prefix_from_range(&ts->lo, &ts->hi, &p))
		text_add(&t, "%s", ip_prefix_format(&p, lo));
	else
		text_add(&t, "%s-%s", ip_address_format(&ts->lo, lo),
			 ip_address_format(&ts->hi, hi));
	if (ts->protocol != 0 || !ports_any(ts))
		text_add(&t, "/%s", ip_protocol_format(ts->protocol, protocol));
	format_ports(ts, &t);
	snprintf(buf, TS_TEXT, "%s", text_str(&t));
	text_free(&t);
	return buf;
}

const char *ts_list_format(const struct ts_list *list, char *buf, size_t len)
{
	static const char more[] = "…";
	char one[TS_TEXT];
	size_t used = 0;

	if (len == 0)
		return buf;
	buf[0] = '\0';
	for (size_t i = 0; i < list->count; i++) {
		size_t need = strlen(ts_format(&list->ts[i], one)) + (i > 0);
		size_t reserve = i + 1 < list->count ? sizeof(more) - 1 : 0;

		if (used + need + reserve >= len) {
			if (used + sizeof(more) <= len)
				memcpy(buf + used, more, sizeof(more));
			break;
		}
		snprintf(buf + used, len - used, "%s%s", i > 0 ? "," : "", one);
		used += need;
	}
	return buf;
}
