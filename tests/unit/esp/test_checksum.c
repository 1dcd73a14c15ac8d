/* The Internet checksum against the loop of RFC 1071 §4.1, each variant that this CPU can do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/in.h>

#include "esp/headers.h"

enum { LEN_MAX = 2100, OFFSETS = 64 };

static uint32_t plain(const uint8_t *p, size_t len, uint32_t sum)
{
	uint64_t s = sum;

	for (; len >= 2; p += 2, len -= 2)
		s += load_be16(p);
	if (len)
		s += (uint32_t)*p << 8;
	while (s >> 32)
		s = (s & UINT32_MAX) + (s >> 32);
	return (uint32_t)s;
}

/* Ends where the memory ends, so that AddressSanitizer sees a byte too many. */
static uint8_t *random_bytes(size_t len)
{
	uint8_t *p = malloc(len ? len : 1);

	assert_non_null(p);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)((uint32_t)rand() >> 7);
	return p;
}

static void check(const struct checksum_variant *v, const uint8_t *p, size_t len)
{
	uint16_t sum = v->add(p, len);

	if (load_be16((const uint8_t *)&sum) != checksum_fold(plain(p, len, 0)))
		fail_msg("%s, %zu bytes", v->name, len);
}

static void every_variant_length_and_alignment(void **state)
{
	uint8_t *bytes = random_bytes(LEN_MAX + OFFSETS);
	const struct checksum_variant *v;

	(void)state;
	for (size_t i = 0; (v = checksum_variant(i)); i++)
		for (size_t len = 0; len <= LEN_MAX; len++)
			for (size_t offset = 0; offset < OFFSETS; offset++)
				check(v, bytes + offset, len);
	free(bytes);
}

static void nothing_behind_the_end_is_read(void **state)
{
	const struct checksum_variant *v;

	(void)state;
	for (size_t len = 0; len < 400; len++) {
		uint8_t *p = random_bytes(len);

		for (size_t i = 0; (v = checksum_variant(i)); i++)
			check(v, p, len);
		assert_int_equal(checksum_fold(checksum_add(p, len, 0)), checksum_fold(plain(p, len, 0)));
		free(p);
	}
}

/* Carries at every step, and sums that are 0 or -0. */
static void extremes(void **state)
{
	static uint8_t ones[65535], zeros[65535];
	const struct checksum_variant *v;

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	for (size_t len = 0; len <= sizeof(ones); len += len < 300 ? 1 : 997)
		for (size_t i = 0; (v = checksum_variant(i)); i++) {
			check(v, ones, len);
			check(v, zeros, len);
		}
	check(checksum_variant(0), ones, sizeof(ones));
	assert_int_equal(checksum_add(zeros, sizeof(zeros), 0), 0);
	assert_int_equal(checksum_fold(checksum_add(ones, sizeof(ones) - 1, 0)), 0xffff);
}

static void sums_go_on_from_sums(void **state)
{
	static const uint32_t from[] = { 0, 1, 0xffff, 0x10000, 0x7fffffff, 0xfffe0000, 0xfffffffe, UINT32_MAX };
	uint8_t *p = random_bytes(1500);

	(void)state;
	for (size_t i = 0; i < sizeof(from) / sizeof(from[0]); i++)
		for (size_t len = 0; len <= 1500; len += 13) {
			uint32_t want = plain(p, len, from[i]);

			assert_int_equal(checksum_fold(checksum_add(p, len, from[i])), checksum_fold(want));
			assert_int_equal(checksum_fold(want), checksum_fold(checksum_fold(want)));
		}
	free(p);
}

static void pseudo_headers(void **state)
{
	static const uint8_t v4[20] = { 0x45, [12] = 10, 1, 0, 1, 10, 2, 0, 1 };
	static const uint8_t v6[40] = { 0x60, [8] = 0x20, 1, 0x0d, 0xb8, [23] = 1, 0x20, 1, 0x0d, 0xb8, [39] = 2 };

	(void)state;
	assert_int_equal(checksum_fold(checksum_pseudo(v4, IPPROTO_TCP, 40)), 0x0a01 + 1 + 0x0a02 + 1 + 6 + 40);
	assert_int_equal(checksum_fold(checksum_pseudo(v6, IPPROTO_UDP, 0x10001)),
			 2 * (0x2001 + 0x0db8) + 1 + 2 + 17 + 1 + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_variant_length_and_alignment),
		cmocka_unit_test(nothing_behind_the_end_is_read),
		cmocka_unit_test(extremes),
		cmocka_unit_test(sums_go_on_from_sums),
		cmocka_unit_test(pseudo_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
