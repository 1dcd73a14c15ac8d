/* prf.h: RFC 4231, RFC 7296 §2.13. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "crypto/prf.h"
#include "hex.h"

static const struct algorithm *prf(uint16_t id)
{
	return algorithm_find(TRANSFORM_PRF, id);
}

/* RFC 4231 §4.2, 4.3, 4.7. */
static void rfc4231(void **state)
{
	static const struct {
		const char *key, *data, *mac256, *mac384, *mac512;
	} rows[] = {
		{ "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
		  "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
		  "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c"
		  "faea9ea9076ede7f4af152e8b2fa9cb6",
		  "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
		  "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854" },
		{ "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
		  "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
		  "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
		  "8e2240ca5e69e2c78b3239ecfab21649",
		  "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
		  "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bytes key = hex(rows[i].key), data = hex(rows[i].data);
		/* In two parts and an empty one, which must make no difference. */
		struct bytes parts[] = { BYTES(data.ptr, 3), BYTES(NULL, 0),
					 BYTES(data.ptr + 3, data.len - 3) };
		uint8_t out[64];

		assert_true(prf_compute(prf(PRF_HMAC_SHA2_256), key, parts, 3, out));
		assert_bytes(out, 32, rows[i].mac256);
		assert_true(prf_compute(prf(PRF_HMAC_SHA2_384), key, parts, 3, out));
		assert_bytes(out, 48, rows[i].mac384);
		assert_true(prf_compute(prf(PRF_HMAC_SHA2_512), key, parts, 3, out));
		assert_bytes(out, 64, rows[i].mac512);
	}
}

/* RFC 4231 §4.7: a key longer than the block. */
static void long_key(void **state)
{
	uint8_t key[131], out[32];
	struct bytes data = BYTES("Test Using Larger Than Block-Size Key - Hash Key First", 54);

	(void)state;
	memset(key, 0xaa, sizeof(key));
	assert_true(prf_compute(prf(PRF_HMAC_SHA2_256), BYTES(key, 131), &data, 1, out));
	assert_bytes(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

/* The keys of one computation do not stay for the next; an empty key is a key. */
static void empty_key(void **state)
{
	uint8_t first[32], out[32];
	struct bytes none = BYTES(NULL, 0);

	(void)state;
	assert_true(prf_compute(prf(PRF_HMAC_SHA2_256), none, NULL, 0, first));
	assert_bytes(first, 32, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
	assert_true(prf_compute(prf(PRF_HMAC_SHA2_256), BYTES("x", 1), NULL, 0, out));
	assert_true(prf_compute(prf(PRF_HMAC_SHA2_256), none, NULL, 0, out));
	assert_memory_equal(first, out, 32);
}

/* Against the definition, written out with OpenSSL's one-call HMAC. */
static void plus(void **state)
{
	static const uint16_t ids[] = { PRF_HMAC_SHA2_256, PRF_HMAC_SHA2_384, PRF_HMAC_SHA2_512 };
	struct bytes key = BYTES("some key", 8), seed = BYTES("nonces and SPIs", 15);
	static uint8_t want[255 * 64], out[255 * 64 + 1];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		size_t size = prf(ids[i])->key_bytes;
		const EVP_MD *md = size == 32 ? EVP_sha256() : size == 48 ? EVP_sha384() : EVP_sha512();

		for (unsigned n = 1; n <= 255; n++) {
			uint8_t in[64 + 15 + 1];
			size_t len = 0;

			if (n > 1)
				memcpy(in, want + (n - 2) * size, size), len = size;
			memcpy(in + len, seed.ptr, seed.len);
			len += seed.len;
			in[len++] = (uint8_t)n;
			assert_non_null(HMAC(md, key.ptr, 8, in, len, want + (n - 1) * size, NULL));
		}
		for (size_t len = 0; len <= 255 * size; len += 1 + len / 3) {
			memset(out, 0x55, sizeof(out));
			assert_true(prf_plus(prf(ids[i]), key, seed, out, len));
			assert_memory_equal(out, want, len);
			assert_int_equal(out[len], 0x55);
		}
		assert_true(prf_plus(prf(ids[i]), key, seed, out, 255 * size));
		assert_memory_equal(out, want, 255 * size);
		if (size < 64)
			assert_false(prf_plus(prf(ids[i]), key, seed, out, 255 * size + 1));
	}
}

static void hashes(void **state)
{
	struct bytes parts[] = { BYTES("a", 1), BYTES(NULL, 0), BYTES("bc", 2) };
	uint8_t out[32];

	(void)state;
	assert_true(hash_sha256(parts, 3, out));
	assert_bytes(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_true(hash_sha1(parts, 3, out));
	assert_bytes(out, 20, "a9993e364706816aba3e25717850c26c9cd0d89d");
}

static void only_prfs(void **state)
{
	uint8_t out[64];

	(void)state;
	assert_false(prf_compute(algorithm_find(TRANSFORM_INTEG, INTEG_HMAC_SHA2_256_128),
				 BYTES("k", 1), NULL, 0, out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc4231), cmocka_unit_test(long_key), cmocka_unit_test(empty_key),
		cmocka_unit_test(plus),	   cmocka_unit_test(hashes),   cmocka_unit_test(only_prfs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
