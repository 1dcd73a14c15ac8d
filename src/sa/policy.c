/* Priorities of policies: the more exact a selector, the lower the number, the earlier it is met. */
#include "sa/child_sa.h"

/*
 * The number has four parts, most significant first: how exact protocol and ports are, the
 * width of the local prefix, the width of the remote one, and a set last bit. A selector
 * that lies within another one is never wider in any part and so never loses to it.
 */
enum {
	PRIORITY_ANY_PROTOCOL = 13, /* no protocol, no ports: what is most common */
	PRIORITY_PORT_LEVELS = 6,   /* a single port; a range counts for less */
	PRIORITY_WIDTH_MAX = 128,
	PORT_BITS = 16,
};

/** Bits of the longest prefix whose size the range does not exceed. */
static unsigned range_prefix_bits(const struct ip_address *lo, const struct ip_address *hi)
{
	unsigned size = (unsigned)ip_address_size(lo), bits = 0;
	uint8_t span[16] = { 0 };
	unsigned borrow = 0;

	/* hi - lo: a block of 2^n addresses spans 2^n - 1, n bits */
	for (unsigned i = size; i-- > 0;) {
		unsigned d = 256u + hi->bytes[i] - lo->bytes[i] - borrow;

		span[i] = (uint8_t)d;
		borrow = d < 256u;
	}
	while (bits < size * 8 && (span[bits / 8] & (0x80u >> bits % 8)) == 0)
		bits++;
	return bits;
}

static unsigned address_width(const struct traffic_selector *ts)
{
	return PRIORITY_WIDTH_MAX - range_prefix_bits(&ts->lo, &ts->hi);
}

/** 0 for every port, PRIORITY_PORT_LEVELS for a single one (or OPAQUE). */
static unsigned port_level(const struct traffic_selector *ts)
{
	unsigned bits = 0;

	if (ts->port_lo >= ts->port_hi)
		return PRIORITY_PORT_LEVELS;
	if (ts->port_lo == 0 && ts->port_hi == UINT16_MAX)
		return 0;
	for (unsigned span = (unsigned)(ts->port_hi - ts->port_lo); span > 0; span >>= 1)
		bits++;
	return 1 + (PORT_BITS - bits) * (PRIORITY_PORT_LEVELS - 1) / PORT_BITS;
}

uint32_t sa_policy_priority(const struct traffic_selector *local,
			    const struct traffic_selector *remote)
{
	unsigned exact = port_level(local) + port_level(remote);

	if (local->protocol != 0 || remote->protocol != 0)
		exact++;
	return (uint32_t)(PRIORITY_ANY_PROTOCOL - exact) << 17 | address_width(local) << 9 |
	       address_width(remote) << 1 | 1;
}
