/* reader.h and writer.h: exact bytes, and failure at every truncation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/reader.h"
#include "base/writer.h"

static const uint8_t sample[] = { 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
				  0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 'a',
				  'b',  'c',  0xf1, 0xf2, 0xff };

/* Read all of the sample; what was read goes to `out` so that a failed read shows as zeros. */
static void read_sample(struct reader *r, uint64_t out[7])
{
	struct reader sub;
	struct bytes b;
	uint8_t copy[2];

	out[0] = reader_u8(r);
	out[1] = reader_u16(r);
	out[2] = reader_u32(r);
	out[3] = reader_u64(r);
	b = reader_bytes(r, 3);
	out[4] = b.ptr ? b.ptr[0] : 0;
	sub = reader_sub(r, 2);
	reader_copy(&sub, copy, 2);
	out[5] = (uint64_t)copy[0] << 8 | copy[1];
	out[6] = reader_rest(r).len;
}

static void reads_in_network_order(void **state)
{
	struct reader r = reader_new(sample, sizeof(sample));
	uint64_t v[7];

	(void)state;
	read_sample(&r, v);
	assert_true(reader_done(&r));
	assert_int_equal(v[0], 0x01);
	assert_int_equal(v[1], 0x0203);
	assert_int_equal(v[2], 0x04050607);
	assert_true(v[3] == UINT64_C(0x08090a0b0c0d0e0f));
	assert_int_equal(v[4], 'a');
	assert_int_equal(v[5], 0xf1f2);
	assert_int_equal(v[6], 1);
}

/* Memory of just the truncated size, so that AddressSanitizer sees a read past the end. */
static void fails_at_every_truncation(void **state)
{
	static const size_t ends[] = { 1, 3, 7, 15, 18, 20, SIZE_MAX };

	(void)state;
	for (size_t len = 0; len < 20; len++) {
		uint8_t *copy = malloc(len + 1);
		struct reader r;
		uint64_t v[7];

		assert_non_null(copy);
		copy = realloc(copy, len > 0 ? len : 1);
		memcpy(copy, sample, len);
		r = reader_new(copy, len);
		read_sample(&r, v);
		assert_false(reader_ok(&r));
		assert_false(reader_done(&r));
		assert_int_equal(reader_left(&r), 0);
		for (size_t i = 0; i < 6; i++)
			assert_true(ends[i] <= len ? v[i] != 0 : v[i] == 0);
		free(copy);
	}
}

static void failure_is_sticky(void **state)
{
	struct reader r = reader_new(sample, 2);
	uint8_t out[1] = { 0x55 };

	(void)state;
	assert_int_equal(reader_u32(&r), 0);
	assert_int_equal(reader_u8(&r), 0);
	assert_null(reader_bytes(&r, 0).ptr);
	assert_false(reader_copy(&r, out, 1));
	assert_int_equal(out[0], 0);
	assert_false(reader_skip(&r, 0));
	assert_false(reader_ok(&r));
	assert_true(reader_sub(&r, 0).bad);
}

static void empty_and_huge(void **state)
{
	struct reader r = reader_new(NULL, 0);

	(void)state;
	assert_true(reader_done(&r));
	assert_int_equal(reader_rest(&r).len, 0);
	assert_true(reader_skip(&r, 0));
	assert_null(reader_bytes(&r, SIZE_MAX).ptr);
	assert_true(r.bad);
}

static void equality(void **state)
{
	(void)state;
	assert_true(bytes_equal(BYTES("abc", 3), BYTES("abc", 3)));
	assert_false(bytes_equal(BYTES("abc", 3), BYTES("abd", 3)));
	assert_false(bytes_equal(BYTES("abc", 3), BYTES("ab", 2)));
	assert_true(bytes_equal(BYTES(NULL, 0), BYTES(NULL, 0)));
}

static void write_sample(struct writer *w)
{
	writer_u8(w, 0x01);
	writer_u16(w, 0);
	writer_u32(w, 0);
	writer_u64(w, UINT64_C(0x08090a0b0c0d0e0f));
	writer_put(w, "abc", 3);
	writer_put_bytes(w, BYTES("\xf1\xf2", 2));
	writer_reserve(w, 1);
	writer_patch_u16(w, 1, 0x0203);
	writer_patch_u32(w, 3, 0x04050607);
	writer_patch_u8(w, 20, 0xff);
}

static void writes_what_reads_back(void **state)
{
	uint8_t buf[sizeof(sample)];
	struct writer w = writer_new(buf, sizeof(buf));

	(void)state;
	write_sample(&w);
	assert_true(writer_ok(&w));
	assert_true(bytes_equal(writer_bytes(&w), BYTES(sample, sizeof(sample))));
}

static void write_fails_at_every_truncation(void **state)
{
	(void)state;
	for (size_t cap = 0; cap < sizeof(sample); cap++) {
		uint8_t *buf = malloc(cap > 0 ? cap : 1);
		struct writer w = writer_new(buf, cap);

		assert_non_null(buf);
		write_sample(&w);
		assert_false(writer_ok(&w));
		assert_int_equal(writer_bytes(&w).len, 0);
		assert_true(w.len <= cap);
		free(buf);
	}
}

static void patch_only_what_is_written(void **state)
{
	uint8_t buf[8] = { 0 };
	struct writer w = writer_new(buf, sizeof(buf));

	(void)state;
	writer_u16(&w, 1);
	writer_patch_u16(&w, 1, 0xffff);
	assert_false(writer_ok(&w));
	assert_int_equal(buf[1], 1);
	assert_int_equal(buf[2], 0);
	w = writer_new(buf, sizeof(buf));
	writer_patch_u8(&w, SIZE_MAX, 1);
	assert_false(writer_ok(&w));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_in_network_order),
		cmocka_unit_test(fails_at_every_truncation),
		cmocka_unit_test(failure_is_sticky),
		cmocka_unit_test(empty_and_huge),
		cmocka_unit_test(equality),
		cmocka_unit_test(writes_what_reads_back),
		cmocka_unit_test(write_fails_at_every_truncation),
		cmocka_unit_test(patch_only_what_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
