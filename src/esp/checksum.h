/*
 * The Internet checksum: RFC 1071, 768 (zero), 9293 §3.1 and 8200 §8.1 (pseudo-header).
 *
 * Sums are of big-endian 16-bit words, not complemented. Which code adds is decided once, by the
 * CPU, before main().
 */
#ifndef ESP_CHECKSUM_H
#define ESP_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/**
 * Add `len` bytes to `sum`; an odd byte at the end counts as if a zero followed. The sum is 0 only
 * if everything in it was.
 */
uint32_t checksum_add(const uint8_t *p, size_t len, uint32_t sum);

static inline uint16_t checksum_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)(sum + (sum >> 16));
}

/** The same of a few bytes, a multiple of 4 that the compiler knows. */
static inline uint32_t checksum_words(const uint8_t *p, size_t len, uint32_t sum)
{
	uint64_t s = sum;

	for (size_t i = 0; i < len; i += 4)
		s += (uint32_t)p[i] << 24 | (uint32_t)p[i + 1] << 16 | (uint32_t)p[i + 2] << 8 | p[i + 3];
	s = (s & UINT32_MAX) + (s >> 32);
	return (uint32_t)(s + (s >> 32));
}

/** Pseudo-header of the IPv4 or IPv6 packet at `ip`, for `len` bytes of `protocol`. */
static inline uint32_t checksum_pseudo(const uint8_t *ip, uint8_t protocol, size_t len)
{
	uint32_t sum = protocol + (uint32_t)len;

	return ip[0] >> 4 == 4 ? checksum_words(ip + 12, 8, sum) : checksum_words(ip + 8, 32, sum);
}

/** A way to add; the sum is of words as they lie in memory, folded. */
struct checksum_variant {
	const char *name;
	uint16_t (*add)(const uint8_t *p, size_t len);
};
/** The `i`th that this CPU can do, the plainest first; NULL behind the last, which is used. */
const struct checksum_variant *checksum_variant(size_t i);

#endif
