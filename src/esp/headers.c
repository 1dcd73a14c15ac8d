#include "esp/headers.h"

#include <netinet/in.h>

enum { IPV6_EXTENSIONS_MAX = 8 };

/* Ports, or ICMP's type and code, of the upper layer's first bytes. */
static void flow_ports(const uint8_t *p, size_t len, struct flow *f)
{
	switch (f->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		if (len < 4)
			return;
		f->sport = load_be16(p);
		f->dport = load_be16(p + 2);
		f->ports_known = true;
		return;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (len < 2)
			return;
		f->sport = f->dport = load_be16(p);
		f->ports_known = true;
		return;
	case 135: /* mobility header: its type stands in the third byte, RFC 4301 §4.4.1.1 */
		if (len < 3)
			return;
		f->sport = f->dport = (uint16_t)(p[2] << 8);
		f->ports_known = true;
		return;
	default:
		return;
	}
}

static bool flow_parse_v4(const uint8_t *p, size_t len, struct flow *f)
{
	size_t header, total;
	uint16_t frag;

	if (len < IPV4_HEADER)
		return false;
	header = (size_t)(p[0] & 15) * 4;
	total = load_be16(p + 2);
	if (header < IPV4_HEADER || total < header || total > len)
		return false;
	frag = load_be16(p + 6);
	f->src.family = f->dst.family = AF_INET;
	memcpy(f->src.bytes, p + 12, 4);
	memcpy(f->dst.bytes, p + 16, 4);
	f->tos = p[1];
	f->protocol = f->base_next = p[9];
	f->base_len = (uint16_t)header;
	f->total_len = (uint32_t)total;
	f->dont_fragment = frag & 0x4000;
	f->fragment = frag & 0x3fff;
	if (!(frag & 0x1fff))
		flow_ports(p + header, total - header, f);
	return true;
}

static bool flow_parse_v6(const uint8_t *p, size_t len, struct flow *f)
{
	size_t at = IPV6_HEADER, total;
	bool later_fragment = false;

	if (len < IPV6_HEADER)
		return false;
	total = IPV6_HEADER + (size_t)load_be16(p + 4);
	if (total > len)
		return false;
	f->src.family = f->dst.family = AF_INET6;
	memcpy(f->src.bytes, p + 8, 16);
	memcpy(f->dst.bytes, p + 24, 16);
	f->tos = (uint8_t)(p[0] << 4 | p[1] >> 4);
	f->protocol = f->base_next = p[6];
	f->base_len = IPV6_HEADER;
	f->total_len = (uint32_t)total;
	f->dont_fragment = true;
	for (int i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
		size_t ext;

		if (f->protocol != IPPROTO_HOPOPTS && f->protocol != IPPROTO_ROUTING &&
		    f->protocol != IPPROTO_DSTOPTS && f->protocol != IPPROTO_FRAGMENT)
			break;
		if (total - at < 8)
			return true; /* cut short: nothing more is known */
		ext = f->protocol == IPPROTO_FRAGMENT ? 8 : (size_t)p[at + 1] * 8 + 8;
		if (f->protocol == IPPROTO_FRAGMENT) {
			f->fragment = true;
			later_fragment = load_be16(p + at + 2) & 0xfff8;
		}
		f->protocol = p[at];
		if (later_fragment || ext > total - at)
			return true;
		at += ext;
	}
	flow_ports(p + at, total - at, f);
	return true;
}

bool flow_parse(const uint8_t *packet, size_t len, struct flow *out)
{
	memset(out, 0, sizeof(*out));
	if (len == 0)
		return false;
	switch (packet[0] >> 4) {
	case 4:
		return flow_parse_v4(packet, len, out);
	case 6:
		return flow_parse_v6(packet, len, out);
	default:
		return false;
	}
}

bool selector_matches(const struct traffic_selector *ts, const struct ip_address *a,
		      uint8_t protocol, uint16_t port, bool port_known)
{
	size_t n = ip_address_size(a);

	if (ts->lo.family != a->family || memcmp(a->bytes, ts->lo.bytes, n) < 0 ||
	    memcmp(a->bytes, ts->hi.bytes, n) > 0)
		return false;
	if (ts->protocol != 0 && ts->protocol != protocol)
		return false;
	if (ts->port_lo == 0 && ts->port_hi == UINT16_MAX)
		return true;
	if (ts->port_lo > ts->port_hi) /* OPAQUE */
		return !port_known;
	return port_known && port >= ts->port_lo && port <= ts->port_hi;
}

int ecn_decapsulate(uint8_t inner, uint8_t outer)
{
	inner &= ECN_MASK;
	outer &= ECN_MASK;
	if (outer == ECN_CE)
		return inner == ECN_NOT_ECT ? -1 : ECN_CE;
	if (outer == ECN_ECT1 && inner == ECN_ECT0)
		return ECN_ECT1;
	return inner;
}

void ip_set_tos(uint8_t *p, uint8_t tos)
{
	if (p[0] >> 4 == 4) {
		/* RFC 1624: HC' = ~(~HC + ~m + m') */
		uint16_t old = load_be16(p), new = (uint16_t)(p[0] << 8 | tos);
		uint32_t sum = (uint16_t)~load_be16(p + 10);

		sum += (uint16_t)~old;
		sum += new;
		p[1] = tos;
		store_be16(p + 10, (uint16_t)~checksum_fold(sum));
		return;
	}
	p[0] = (uint8_t)((p[0] & 0xf0) | tos >> 4);
	p[1] = (uint8_t)((p[1] & 0x0f) | tos << 4);
}

size_t ip_header_put(uint8_t *p, const struct ip_header_fields *f)
{
	if (f->src.family == AF_INET) {
		memset(p, 0, IPV4_HEADER);
		p[0] = 0x45;
		p[1] = f->tos;
		store_be16(p + 2, (uint16_t)(IPV4_HEADER + f->payload_len));
		p[6] = f->dont_fragment ? 0x40 : 0;
		p[8] = OUTER_TTL;
		p[9] = f->protocol;
		memcpy(p + 12, f->src.bytes, 4);
		memcpy(p + 16, f->dst.bytes, 4);
		store_be16(p + 10, (uint16_t)~checksum_fold(checksum_add(p, IPV4_HEADER, 0)));
		return IPV4_HEADER;
	}
	p[0] = (uint8_t)(0x60 | f->tos >> 4);
	p[1] = (uint8_t)(f->tos << 4);
	p[2] = p[3] = 0;
	store_be16(p + 4, f->payload_len);
	p[6] = f->protocol;
	p[7] = OUTER_TTL;
	memcpy(p + 8, f->src.bytes, 16);
	memcpy(p + 24, f->dst.bytes, 16);
	return IPV6_HEADER;
}

size_t esp_trailer_len(size_t len, size_t align)
{
	return (len + 2 + align - 1) / align * align;
}

size_t esp_trailer_put(uint8_t *text, size_t len, size_t tfc, size_t align, uint8_t next_header)
{
	size_t total, pad;

	memset(text + len, 0, tfc);
	len += tfc;
	total = esp_trailer_len(len, align);
	pad = total - len - 2;
	for (size_t i = 0; i < pad; i++)
		text[len + i] = (uint8_t)(i + 1);
	text[total - 2] = (uint8_t)pad;
	text[total - 1] = next_header;
	return total;
}

bool esp_trailer_take(const uint8_t *text, size_t *len, uint8_t *next_header)
{
	size_t pad, payload;

	if (*len < 2)
		return false;
	pad = text[*len - 2];
	if (pad > *len - 2)
		return false;
	payload = *len - 2 - pad;
	for (size_t i = 0; i < pad; i++)
		if (text[payload + i] != (uint8_t)(i + 1))
			return false;
	*next_header = text[*len - 1];
	*len = payload;
	return true;
}
