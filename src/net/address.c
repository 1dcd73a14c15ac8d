/* Addresses, endpoints and prefixes; see address.h. */
#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

size_t ip_address_size(const struct ip_address *a)
{
	switch (a->family) {
	case AF_INET: return 4;
	case AF_INET6: return 16;
	default: return 0;
	}
}

struct ip_address ip_address_from_bytes(struct bytes b)
{
	struct ip_address a = { 0 };

	if (b.len == 4)
		a.family = AF_INET;
	else if (b.len == 16)
		a.family = AF_INET6;
	else
		return a;
	memcpy(a.bytes, b.ptr, b.len);
	return a;
}

struct bytes ip_address_bytes(const struct ip_address *a)
{
	return BYTES(a->bytes, ip_address_size(a));
}

bool ip_address_parse(const char *s, struct ip_address *out)
{
	struct ip_address a = { 0 };

	if (inet_pton(AF_INET, s, a.bytes) == 1)
		a.family = AF_INET;
	else if (inet_pton(AF_INET6, s, a.bytes) == 1)
		a.family = AF_INET6;
	else
		return false;
	*out = a;
	return true;
}

const char *ip_address_format(const struct ip_address *a, char *buf)
{
	if (ip_address_size(a) == 0 || !inet_ntop(a->family, a->bytes, buf, IP_ADDRESS_TEXT))
		snprintf(buf, IP_ADDRESS_TEXT, "<none>");
	return buf;
}

bool ip_address_equal(const struct ip_address *a, const struct ip_address *b)
{
	return ip_address_compare(a, b) == 0;
}

int ip_address_compare(const struct ip_address *a, const struct ip_address *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->bytes, b->bytes, ip_address_size(a));
}

bool ip_address_is_any(const struct ip_address *a)
{
	static const uint8_t zero[16];
	size_t size = ip_address_size(a);

	return size > 0 && memcmp(a->bytes, zero, size) == 0;
}

bool ip_endpoint_equal(const struct ip_endpoint *a, const struct ip_endpoint *b)
{
	return a->port == b->port && ip_address_equal(&a->address, &b->address);
}

const char *ip_endpoint_format(const struct ip_endpoint *e, char *buf)
{
	char address[IP_ADDRESS_TEXT];

	ip_address_format(&e->address, address);
	snprintf(buf, IP_ENDPOINT_TEXT, e->address.family == AF_INET6 ? "[%s]:%u" : "%s:%u",
		 address, e->port);
	return buf;
}

bool ip_endpoint_from_sockaddr(const struct sockaddr *sa, struct ip_endpoint *out)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	*out = (struct ip_endpoint){ 0 };
	switch (sa->sa_family) {
	case AF_INET:
		memcpy(&v4, sa, sizeof(v4));
		out->address = ip_address_from_bytes(BYTES(&v4.sin_addr, 4));
		out->port = ntohs(v4.sin_port);
		return true;
	case AF_INET6:
		memcpy(&v6, sa, sizeof(v6));
		/* A socket for both families shows IPv4 peers as mapped addresses. */
		if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
			out->address = ip_address_from_bytes(BYTES(&v6.sin6_addr.s6_addr[12], 4));
		else
			out->address = ip_address_from_bytes(BYTES(&v6.sin6_addr, 16));
		out->port = ntohs(v6.sin6_port);
		return true;
	default:
		return false;
	}
}

socklen_t ip_endpoint_to_sockaddr(const struct ip_endpoint *e, struct sockaddr_storage *ss)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(e->port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(e->port) };

	memset(ss, 0, sizeof(*ss));
	switch (e->address.family) {
	case AF_INET:
		memcpy(&v4.sin_addr, e->address.bytes, 4);
		memcpy(ss, &v4, sizeof(v4));
		return sizeof(v4);
	case AF_INET6:
		memcpy(&v6.sin6_addr, e->address.bytes, 16);
		memcpy(ss, &v6, sizeof(v6));
		return sizeof(v6);
	default:
		return 0;
	}
}

/* Set all bits after the first `length` to `ones`. */
static void fill_host_bits(struct ip_address *a, unsigned length, bool ones)
{
	size_t size = ip_address_size(a);

	for (size_t i = 0; i < size; i++) {
		unsigned keep = length <= i * 8 ? 0 : length - (unsigned)i * 8;
		uint8_t host = keep >= 8 ? 0 : (uint8_t)(0xff >> keep);

		a->bytes[i] = ones ? a->bytes[i] | host : a->bytes[i] & (uint8_t)~host;
	}
}

bool ip_prefix_parse(const char *s, struct ip_prefix *out, bool *host_bits)
{
	char address[IP_ADDRESS_TEXT];
	const char *slash = strchr(s, '/');
	size_t len = slash ? (size_t)(slash - s) : strlen(s);
	struct ip_prefix p = { 0 };
	struct ip_address given;
	uint64_t length;

	if (len >= sizeof(address))
		return false;
	memcpy(address, s, len);
	address[len] = '\0';
	if (!ip_address_parse(address, &p.address))
		return false;
	length = ip_address_size(&p.address) * 8;
	if (slash && !text_to_u64(slash + 1, length, &length))
		return false;
	p.length = (uint8_t)length;
	given = p.address;
	fill_host_bits(&p.address, p.length, false);
	if (host_bits)
		*host_bits = !ip_address_equal(&given, &p.address);
	*out = p;
	return true;
}

const char *ip_prefix_format(const struct ip_prefix *p, char *buf)
{
	char address[IP_ADDRESS_TEXT];

	snprintf(buf, IP_PREFIX_TEXT, "%s/%u", ip_address_format(&p->address, address), p->length);
	return buf;
}

bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_address *a)
{
	struct ip_address net = *a;

	fill_host_bits(&net, p->length, false);
	return ip_address_size(a) > 0 && ip_address_equal(&net, &p->address);
}

bool ip_prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return a->length == b->length && ip_address_equal(&a->address, &b->address);
}

void ip_prefix_range(const struct ip_prefix *p, struct ip_address *lo, struct ip_address *hi)
{
	*lo = p->address;
	*hi = p->address;
	fill_host_bits(lo, p->length, false);
	fill_host_bits(hi, p->length, true);
}

bool ip_prefix_from_range(const struct ip_address *lo, const struct ip_address *hi,
			  struct ip_prefix *out)
{
	struct ip_prefix p = { .address = *lo };
	unsigned bits = (unsigned)ip_address_size(lo) * 8;
	unsigned length = 0;
	struct ip_address first, last;

	if (bits == 0 || lo->family != hi->family)
		return false;
	while (length < bits &&
	       ((lo->bytes[length / 8] ^ hi->bytes[length / 8]) & (0x80 >> (length % 8))) == 0)
		length++;
	p.length = (uint8_t)length;
	ip_prefix_range(&p, &first, &last);
	if (!ip_address_equal(&first, lo) || !ip_address_equal(&last, hi))
		return false;
	*out = p;
	return true;
}
