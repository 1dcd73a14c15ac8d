/* Inbound SPIs: layout, reuse, stale generations; limits and MTU of an SA. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "esp/sa_table.h"

static void spis_are_not_reserved_and_carry_index_and_worker(void **state)
{
	struct sa_table t;

	(void)state;
	assert_true(sa_table_init(&t));
	uint32_t first = sa_table_alloc(&t, 5);
	for (unsigned i = 1; i < 1000; i++) {
		uint32_t spi = sa_table_alloc(&t, 5);

		assert_true(spi > 255);
		assert_int_equal(spi >> 18 & 63, 5);
		assert_int_equal(SPI_INDEX(spi), SPI_INDEX(first + i));
		assert_true(sa_table_taken(&t, spi));
	}
	sa_table_free(&t);
}

static void all_slots_can_be_taken_and_no_more(void **state)
{
	struct sa_table t;
	uint32_t last = 0;

	(void)state;
	assert_true(sa_table_init(&t));
	for (unsigned i = 0; i < SA_SLOTS; i++) {
		last = sa_table_alloc(&t, 0);
		assert_true(last > 255);
	}
	assert_int_equal(sa_table_alloc(&t, 0), 0);
	sa_table_release(&t, last);
	assert_int_equal(SPI_INDEX(sa_table_alloc(&t, 0)), SPI_INDEX(last));
	sa_table_free(&t);
}

static void stale_generation_finds_nothing(void **state)
{
	struct sa_table t;
	struct sa_in sa = { 0 };
	uint32_t spi, stale;

	(void)state;
	assert_true(sa_table_init(&t));
	spi = sa_table_alloc(&t, 0);
	stale = spi ^ 0x01000000;
	sa.c.spi = spi;
	sa_table_put(&t, spi, &sa);
	assert_ptr_equal(sa_table_get(&t, spi), &sa);
	assert_null(sa_table_get(&t, stale));
	assert_null(sa_table_get(&t, spi ^ (1 << 18))); /* another worker's */
	assert_null(sa_table_get(&t, spi + 1));
	sa_table_release(&t, stale); /* not taken: nothing happens */
	assert_true(sa_table_taken(&t, spi));
	sa_table_release(&t, spi); /* in use: nothing happens */
	assert_true(sa_table_taken(&t, spi));
	sa_table_put(&t, spi, NULL);
	sa_table_release(&t, spi);
	assert_false(sa_table_taken(&t, spi));
	sa_table_free(&t);
}

static void foreign_spi_is_claimed_once(void **state)
{
	struct sa_table t;

	(void)state;
	assert_true(sa_table_init(&t));
	assert_false(sa_table_claim(&t, 255));
	assert_true(sa_table_claim(&t, 0x01020304));
	assert_false(sa_table_claim(&t, 0x01020304));
	assert_false(sa_table_claim(&t, 0x02020304)); /* the same index */
	sa_table_free(&t);
}

static struct child_sa sa_with(enum encr_id encr, unsigned bits, bool esn)
{
	struct child_sa sa = { .id = 1, .reqid = 16384, .in.spi = 0x01000001, .out.spi = 0x01000001,
			       .replay_window = 64 };

	sa.suite.encr = algorithm_find(TRANSFORM_ENCR, encr);
	sa.suite.encr_bits = (uint16_t)bits;
	if (!sa.suite.encr->aead)
		sa.suite.integ = algorithm_find(TRANSFORM_INTEG, INTEG_HMAC_SHA2_256_128);
	sa.suite.esn = esn;
	sa.in.encr_key.len = sa.out.encr_key.len = (uint8_t)esp_cipher_encr_key_bytes(&sa.suite);
	sa.in.integ_key.len = sa.out.integ_key.len = (uint8_t)esp_cipher_integ_key_bytes(&sa.suite);
	sa.path.local.address.family = sa.path.remote.address.family = AF_INET;
	return sa;
}

/* The MTU is exact: one byte more would not fit. */
static void mtu_leaves_room_for_all_of_esp(void **state)
{
	static const enum encr_id ciphers[] = { ENCR_AES_GCM_16, ENCR_CHACHA20_POLY1305, ENCR_AES_CBC };

	(void)state;
	for (size_t i = 0; i < sizeof(ciphers) / sizeof(ciphers[0]); i++)
		for (int udp = 0; udp < 2; udp++) {
			struct child_sa sa = sa_with(ciphers[i], 256, false);
			const char *why;
			struct sa_out *out = sa_out_new(&sa, &why);
			struct sa_path path;

			assert_non_null(out);
			sa.path.udp_encap = udp;
			path = sa_path_make(&sa.path, 0);
			for (size_t mtu = 576; mtu < 1600; mtu++) {
				size_t inner = sa_inner_mtu(&out->c, &path, mtu);
				size_t a = out->c.align, o = sa_overhead(&out->c, &path);

				assert_true(o + (inner + 2 + a - 1) / a * a <= mtu);
				assert_true(o + (inner + 1 + 2 + a - 1) / a * a > mtu);
			}
			assert_int_equal(sa_inner_mtu(&out->c, &path, 40), 0);
			sa_out_free(out);
		}
}

static void article_has_an_mtu_of_1446(void **state)
{
	struct child_sa sa = sa_with(ENCR_AES_GCM_16, 256, true);
	const char *why;
	struct sa_out *out = sa_out_new(&sa, &why);
	struct sa_path path = sa_path_make(&sa.path, 0);

	(void)state;
	/* 1500 - 20 - 8 - 8 - 16 = 1448, less the two bytes of the trailer */
	assert_int_equal(sa_inner_mtu(&out->c, &path, 1500), 1446);
	sa_out_free(out);
}

static void soft_limits_come_before_the_hard_ones(void **state)
{
	struct child_sa sa = sa_with(ENCR_AES_GCM_16, 128, false);
	const char *why;

	(void)state;
	for (int i = 0; i < 50; i++) {
		struct sa_out *out;

		sa.max_packets = 1000;
		sa.max_bytes = i ? 1000000 : 0;
		out = sa_out_new(&sa, &why);
		assert_int_equal(out->c.limits.hard_packets, 1000);
		assert_in_range(out->c.limits.soft_packets, 1000 - 125 - 63, 875);
		assert_true(out->c.limits.soft_bytes == (i ? out->c.limits.soft_bytes : UINT64_MAX));
		sa_out_free(out);
	}
	/* without ESN the sequence number must not cycle (RFC 4303 §3.3.3); with it, it never does */
	sa.max_packets = sa.max_bytes = 0;
	for (int esn = 0; esn < 2; esn++) {
		struct sa_out *out;

		sa.suite.esn = esn;
		out = sa_out_new(&sa, &why);
		assert_true(out->c.limits.hard_packets == (esn ? UINT64_MAX : UINT32_MAX));
		assert_true(out->c.limits.soft_packets <= out->c.limits.hard_packets);
		sa_out_free(out);
	}
}

static void sa_without_algorithms_or_with_a_wrong_key_is_refused(void **state)
{
	struct child_sa sa = sa_with(ENCR_AES_GCM_16, 128, false);
	const char *why = NULL;

	(void)state;
	sa.in.encr_key.len = 3;
	assert_null(sa_in_new(&sa, &why));
	assert_non_null(why);
	sa.suite.encr = NULL;
	assert_null(sa_out_new(&sa, &why));
	assert_non_null(why);
}

/* A worker in a batch goes on by the path that it has read while the next one is set. */
static void path_is_replaced_beside_the_one_in_use(void **state)
{
	struct child_sa sa = sa_with(ENCR_AES_GCM_16, 128, false);
	const char *why;
	struct sa_out *out = sa_out_new(&sa, &why);

	(void)state;
	assert_non_null(out);
	assert_null(atomic_load(&out->path));
	for (uint8_t i = 0; i < 5; i++) {
		const struct sa_path *before = atomic_load(&out->path);
		struct sa_path path;

		sa.path.remote.address.bytes[3] = i;
		path = sa_path_make(&sa.path, i);
		sa_out_set_path(out, &path);
		assert_int_equal(atomic_load(&out->path)->socket, i);
		assert_int_equal(atomic_load(&out->path)->remote.address.bytes[3], i);
		if (before) {
			assert_ptr_not_equal(before, atomic_load(&out->path));
			assert_int_equal(before->socket, i - 1);
		}
	}
	sa_out_free(out);
}

/* Structure, window, context and selectors lie in one block, none in another, whatever their sizes. */
static void parts_of_an_sa_do_not_overlap(void **state)
{
	static const uint32_t windows[] = { 0, 64, 128, 2048, REPLAY_WINDOW_MAX };

	(void)state;
	for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
		struct child_sa sa = sa_with(i % 2 ? ENCR_AES_CBC : ENCR_AES_GCM_16, i % 4 ? 256 : 128, true);
		size_t window = replay_window_bytes(windows[i]);
		struct traffic_selector ts = { .lo.family = AF_INET, .hi.family = AF_INET, .port_hi = UINT16_MAX };
		const char *why;
		struct sa_in *in;

		for (size_t k = 0; k <= i; k++) {
			ts.protocol = (uint8_t)(k + 1);
			assert_true(ts_list_add(&sa.local_ts, &ts));
			assert_true(ts_list_add(&sa.remote_ts, &ts));
		}
		sa.replay_window = windows[i];
		in = sa_in_new(&sa, &why);
		assert_non_null(in);
		assert_true((uint8_t *)in->replay >= (uint8_t *)(in + 1));
		assert_true((uint8_t *)in->c.cipher >= (uint8_t *)in->replay + window);
		assert_int_equal((uintptr_t)in->c.cipher % SECRET_ALIGN, 0);
		assert_true((const uint8_t *)in->c.local >= (uint8_t *)in->c.cipher + esp_cipher_bytes(&sa.suite));
		assert_int_equal(in->c.local_count, i + 1);
		assert_int_equal(in->c.remote_count, i + 1);
		/* writing to all of the window spoils nothing */
		memset(in->replay->blocks, 0xff, window - sizeof(*in->replay));
		assert_memory_equal(in->c.local, sa.local_ts.ts, (i + 1) * sizeof(ts));
		assert_memory_equal(in->c.remote, sa.remote_ts.ts, (i + 1) * sizeof(ts));
		assert_string_equal(esp_cipher_provider(in->c.cipher), esp_provider_for(&sa.suite));
		sa_in_free(in);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spis_are_not_reserved_and_carry_index_and_worker),
		cmocka_unit_test(all_slots_can_be_taken_and_no_more),
		cmocka_unit_test(stale_generation_finds_nothing),
		cmocka_unit_test(foreign_spi_is_claimed_once),
		cmocka_unit_test(mtu_leaves_room_for_all_of_esp),
		cmocka_unit_test(article_has_an_mtu_of_1446),
		cmocka_unit_test(soft_limits_come_before_the_hard_ones),
		cmocka_unit_test(sa_without_algorithms_or_with_a_wrong_key_is_refused),
		cmocka_unit_test(path_is_replaced_beside_the_one_in_use),
		cmocka_unit_test(parts_of_an_sa_do_not_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
