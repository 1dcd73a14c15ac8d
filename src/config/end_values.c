/*
 * Values of an end: host, networks, identity.
 */
#include "config/values.h"

#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

static const struct {
	const char *name;
	uint8_t number;
} protocols[] = {
	// The names that selectors of IPsec are used with; everything else by its number.
	{ "icmp", 1 },    { "igmp", 2 },  { "ipip", 4 },    { "tcp", 6 },
	{ "udp", 17 },    { "dccp", 33 }, { "ipv6", 41 },   { "gre", 47 },
	{ "esp", 50 },    { "ah", 51 },   { "icmpv6", 58 }, { "ipv6-icmp", 58 },
	{ "ospf", 89 },   { "pim", 103 }, { "ipcomp", 108 }, { "vrrp", 112 },
	{ "l2tp", 115 },  { "sctp", 132 }, { "udplite", 136 },
};

const char *protocol_name(uint8_t protocol)
{
	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
		if (protocols[i].number == protocol)
			return protocols[i].name;
	return NULL;
}

static bool protocol_parse(const char *text, uint8_t *out, struct value_error *e)
{
	uint64_t n;

	if (strcasecmp(text, "%any") == 0) {
		*out = 0;
		return true;
	}
	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++) {
		if (strcasecmp(protocols[i].name, text) == 0) {
			*out = protocols[i].number;
			return true;
		}
	}
	if (!text_to_u64(text, 255, &n))
		return value_wrong(e, "has a protocol that is neither known nor a number up to 255");
	*out = (uint8_t)n;
	return true;
}

/** `80`, `1000-2000`, `%any`, `%opaque`. */
static bool port_parse(const char *text, uint16_t *lo, uint16_t *hi, struct value_error *e)
{
	char first[8];
	const char *dash = strchr(text, '-');
	uint64_t a, b;

	*lo = 0;
	*hi = 65535;
	if (strcasecmp(text, "%any") == 0)
		return true;
	if (strcasecmp(text, "%opaque") == 0) {
		*lo = 65535;
		*hi = 0;
		return true;
	}
	snprintf(first, sizeof(first), "%.*s", dash ? (int)(dash - text) : 7, text);
	if (!text_to_u64(dash ? first : text, 65535, &a))
		return value_wrong(e, "has a port that is no number up to 65535");
	b = a;
	if (dash && (!text_to_u64(dash + 1, 65535, &b) || b < a))
		return value_wrong(e, "has a range of ports that is none");
	// Port 0 stands for any port, as everywhere in this family of files.
	if (a || b) {
		*lo = (uint16_t)a;
		*hi = (uint16_t)b;
	}
	return true;
}

bool value_protoport(const char *text, uint8_t *protocol, uint16_t *port_lo, uint16_t *port_hi,
		     struct value_error *e)
{
	const char *slash = strchr(text, '/');
	char name[32];

	if (slash && (size_t)(slash - text) >= sizeof(name))
		return value_wrong(e, "has a protocol that is not known");
	snprintf(name, sizeof(name), "%.*s", slash ? (int)(slash - text) : 31, text);
	if (!protocol_parse(name, protocol, e))
		return false;
	*port_lo = 0;
	*port_hi = 65535;
	if (slash && !port_parse(slash + 1, port_lo, port_hi, e))
		return false;
	if (*protocol == 0 && !(*port_lo == 0 && *port_hi == 65535))
		return value_wrong(e, "has a port without a protocol");
	return true;
}

static bool looks_numeric(const char *text)
{
	return strchr(text, ':') || !text[strspn(text, "0123456789.")];
}

/** Letters, digits, dashes, dots and underscores, as host names are. */
static bool is_host_name(const char *text)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";

	return *text && strlen(text) <= 253 && !text[strspn(text, allowed)] && *text != '-' &&
	       *text != '.';
}

static bool interface_host(const char *text, enum host_kind *kind, const char **name,
			   struct value_error *e)
{
	static const char *const opportunistic[] = { "%opportunistic", "%oppo", "%group",
						     "%opportunisticgroup", "%oppogroup" };

	for (size_t i = 0; i < sizeof(opportunistic) / sizeof(opportunistic[0]); i++) {
		if (strcasecmp(text, opportunistic[i]) == 0) {
			value_remedy(e, "write an address, a name or %%any");
			return value_wrong(e, "(opportunistic encryption) is not built yet");
		}
	}
	if (strlen(text + 1) == 0 || strlen(text + 1) >= IF_NAMESIZE || strchr(text, '/'))
		return value_wrong(e, "is not the name of an interface");
	*kind = HOST_INTERFACE;
	*name = text + 1;
	return true;
}

bool value_host(const char *text, enum host_kind *kind, struct ip_address *address,
		const char **name, struct value_error *e)
{
	*name = NULL;
	memset(address, 0, sizeof(*address));
	if (strcasecmp(text, "%any") == 0) {
		*kind = HOST_ANY;
		return true;
	}
	if (strcasecmp(text, "%defaultroute") == 0) {
		*kind = HOST_DEFAULTROUTE;
		return true;
	}
	if (*text == '%')
		return interface_host(text, kind, name, e);
	if (ip_address_parse(text, address)) {
		*kind = ip_address_is_any(address) ? HOST_ANY : HOST_ADDRESS;
		return true;
	}
	// Digits and dots are a mistyped address, not a name to ask the DNS for.
	if (looks_numeric(text))
		return value_wrong(e, "is not an address");
	if (!is_host_name(text))
		return value_wrong(e, "is neither an address nor a name");
	*kind = HOST_NAME;
	*name = text;
	return true;
}

/** 24 for 255.255.255.0; false for a mask with holes and for what is no mask. */
static bool mask_length(const char *text, unsigned *length)
{
	struct ip_address mask;
	uint32_t bits;

	if (!strchr(text, '.') || !ip_address_parse(text, &mask) || ip_address_size(&mask) != 4)
		return false;
	bits = (uint32_t)mask.bytes[0] << 24 | (uint32_t)mask.bytes[1] << 16 |
	       (uint32_t)mask.bytes[2] << 8 | mask.bytes[3];
	*length = (unsigned)__builtin_popcount(bits);
	return *length == 0 ? bits == 0 : bits == UINT32_MAX << (32 - *length);
}

static bool is_prefix_length(const char *s)
{
	return *s && !s[strspn(s, "0123456789")];
}

/** The prefix at the front of `parts`: its address and, when there is one, its length or mask. */
static bool prefix_parse(char **parts, size_t count, size_t *used, struct ip_prefix *out,
			 bool *host_bits, struct value_error *e)
{
	char whole[IP_PREFIX_TEXT + 16];
	struct ip_address address;
	unsigned length;
	const char *base = strcmp(parts[0], "0") == 0 ? "0.0.0.0" : parts[0];

	*used = 1;
	if (!ip_address_parse(base, &address))
		return value_wrong(e, "has an address that is none: %.60s", parts[0]);
	snprintf(whole, sizeof(whole), "%s", base);
	if (count > 1 && is_prefix_length(parts[1])) {
		if (strlen(parts[1]) > 3 ||
		    strtoul(parts[1], NULL, 10) > ip_address_size(&address) * 8)
			return value_wrong(e, "has a prefix length over %zu",
					   ip_address_size(&address) * 8);
		snprintf(whole, sizeof(whole), "%s/%s", base, parts[1]);
		*used = 2;
	} else if (count > 1 && strchr(parts[1], '.')) {
		if (!mask_length(parts[1], &length) || ip_address_size(&address) != 4)
			return value_wrong(e, "has a mask that is none");
		snprintf(whole, sizeof(whole), "%s/%u", base, length);
		*used = 2;
	}
	if (!ip_prefix_parse(whole, out, host_bits))
		return value_wrong(e, "is not a network");
	return true;
}

bool value_selector(const char *text, struct traffic_selector *out, bool *host_bits,
		    struct value_error *e)
{
	char copy[128], *parts[5], *save = NULL;
	struct ip_prefix prefix;
	size_t count = 0, used;

	*host_bits = false;
	if (strncasecmp(text, "vhost:", 6) == 0 || strncasecmp(text, "vnet:", 5) == 0) {
		value_remedy(e, "remove it: IKEv2 agrees on the networks by itself");
		return value_wrong(e, "is for IKEv1");
	}
	if (strlen(text) >= sizeof(copy))
		return value_wrong(e, "is not a network");
	strcpy(copy, text);
	if (text[0] == '/' || strstr(text, "//") || (*text && text[strlen(text) - 1] == '/'))
		return value_wrong(e, "has a / without something beside it");
	for (char *p = strtok_r(copy, "/", &save); p; p = strtok_r(NULL, "/", &save)) {
		if (count == 4)
			return value_wrong(e, "has more than prefix, length, protocol and port");
		parts[count++] = p;
	}
	if (count == 0)
		return value_wrong(e, "is empty");
	if (!prefix_parse(parts, count, &used, &prefix, host_bits, e))
		return false;
	*out = ts_from_prefix(&prefix);
	if (used < count && !protocol_parse(parts[used++], &out->protocol, e))
		return false;
	if (used < count && !port_parse(parts[used++], &out->port_lo, &out->port_hi, e))
		return false;
	if (used < count)
		return value_wrong(e, "has more than prefix, length, protocol and port");
	if (out->protocol == 0 && !(out->port_lo == 0 && out->port_hi == 65535))
		return value_wrong(e, "has a port without a protocol");
	return true;
}

bool value_subnet_list(const char *text, struct ts_list *out, bool *host_bits,
		       struct value_error *e)
{
	struct traffic_selector ts = { 0 };
	char word[128];
	bool too_long, bits;

	out->count = 0;
	*host_bits = false;
	while (list_next(&text, false, word, sizeof(word), &too_long)) {
		if (too_long)
			return value_wrong(e, "is not a network");
		if (!value_selector(word, &ts, &bits, e))
			return false;
		*host_bits |= bits;
		if (out->count && out->ts[0].lo.family != ts.lo.family) {
			value_remedy(e, "use two connections, one for each family");
			return value_wrong(e, "mixes IPv4 and IPv6");
		}
		if (!ts_list_add(out, &ts))
			return value_wrong(e, "has over %d networks", TS_LIST_MAX);
	}
	if (out->count == 0)
		return value_wrong(e, "is empty");
	return true;
}

bool value_id(const char *text, struct end_config *end, struct value_error *e)
{
	char err[160] = "";

	end->id_any = false;
	end->id_from_host_name = false;
	memset(&end->id, 0, sizeof(end->id));
	if (strcasecmp(text, "%none") == 0)
		return true;
	if (strcasecmp(text, "%fromcert") == 0) {
		value_remedy(e, "write the identity itself, as in @name");
		return value_wrong(e, "needs certificates, which are not built yet");
	}
	if (*text == '%' && strcasecmp(text, "%any") != 0 && strcasecmp(text, "%null") != 0)
		return value_wrong(e, "is not an identity");
	if (!strchr(text, '@') && !strchr(text, '=') && looks_numeric(text)) {
		struct ip_address a;

		if (!ip_address_parse(text, &a)) {
			value_remedy(e, "write an address, or @ before a name");
			return value_wrong(e, "is not an address");
		}
	}
	if (!identity_parse(text, &end->id, err, sizeof(err)))
		return value_wrong(e, "is not an identity: %s", err);
	end->id_any = end->id.type == IDENTITY_NONE;
	end->id_from_host_name = end->id.type == IDENTITY_FQDN && !strchr(text, '@');
	return true;
}
