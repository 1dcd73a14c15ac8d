/* Comparing messages with recorded ones. */
#ifndef TESTS_UNIT_KERNEL_MESSAGES_H
#define TESTS_UNIT_KERNEL_MESSAGES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <linux/netlink.h>

#include "net/address.h"

/** Room for one message. */
union message {
	struct nlmsghdr header;
	uint8_t bytes[2048];
};

static inline size_t from_hex(const char *hex, uint8_t *out, size_t max)
{
	size_t n = strlen(hex) / 2;

	assert_true(n <= max);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(sscanf(hex + 2 * i, "%2hhx", &out[i]), 1);
	return n;
}

/** Same bytes, and the same length, but for the first two fields that the socket fills in. */
static inline void assert_message(const union message *m, const char *recorded)
{
	uint8_t bytes[2048];
	size_t n = from_hex(recorded, bytes, sizeof(bytes));

	for (size_t i = 0; i < n && i < m->header.nlmsg_len; i++)
		if (m->bytes[i] != bytes[i])
			fail_msg("byte %zu is %02x, not %02x", i, m->bytes[i], bytes[i]);
	assert_int_equal(m->header.nlmsg_len, n);
}

/** The same, of the first `n` bytes, whatever the lengths are. */
static inline void assert_message_begins(const union message *m, const char *recorded, size_t n)
{
	uint8_t bytes[2048];

	assert_true(from_hex(recorded, bytes, sizeof(bytes)) >= n && m->header.nlmsg_len >= n);
	assert_int_equal(m->header.nlmsg_type, bytes[4] | bytes[5] << 8);
	assert_memory_equal(m->bytes + sizeof(m->header), bytes + sizeof(m->header),
			    n - sizeof(m->header));
}

static inline struct ip_address address(const char *text)
{
	struct ip_address a;

	assert_true(ip_address_parse(text, &a));
	return a;
}

#endif
