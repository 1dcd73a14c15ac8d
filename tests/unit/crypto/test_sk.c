/* sk.h: RFC 7296 §3.14, RFC 5282, RFC 7634 Appendix B. */
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

#include "crypto/sk.h"
#include "hex.h"

static const char keys[128] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-";

static struct cipher_suite suite_of(uint16_t encr, uint16_t bits, uint16_t integ)
{
	return (struct cipher_suite){
		.encr = algorithm_find(TRANSFORM_ENCR, encr),
		.encr_bits = bits,
		.prf = algorithm_find(TRANSFORM_PRF, PRF_HMAC_SHA2_256),
		.integ = integ ? algorithm_find(TRANSFORM_INTEG, integ) : NULL,
	};
}

static const struct {
	uint16_t encr, bits, integ;
} suites[] = {
	{ ENCR_AES_GCM_16, 256, 0 },
	{ ENCR_AES_GCM_16, 192, 0 },
	{ ENCR_AES_GCM_16, 128, 0 },
	{ ENCR_CHACHA20_POLY1305, 256, 0 },
	{ ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_512_256 },
	{ ENCR_AES_CBC, 192, INTEG_HMAC_SHA2_384_192 },
	{ ENCR_AES_CBC, 128, INTEG_HMAC_SHA2_256_128 },
};
enum { SUITES = sizeof(suites) / sizeof(suites[0]) };

static struct sk *new_sk(const struct cipher_suite *s)
{
	struct sk *sk = sk_new(s, BYTES(keys, sk_encr_key_bytes(s)),
			       BYTES(keys + 1, sk_integ_key_bytes(s)));

	assert_non_null(sk);
	return sk;
}

/* RFC 7634 Appendix B: an INFORMATIONAL message. */
static void rfc7634(void **state)
{
	struct cipher_suite s = suite_of(ENCR_CHACHA20_POLY1305, 256, 0);
	struct sk *sk = sk_new(&s,
			       hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"
				   "a0a1a2a3"),
			       BYTES(NULL, 0));
	struct bytes aad = hex("c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000004529000029");
	uint8_t iv[8], text[13 + 16];
	size_t plain;

	(void)state;
	assert_non_null(sk);
	memcpy(iv, hex("1011121314151617").ptr, 8);
	memcpy(text, hex("0000000c000040010000000a").ptr, 12);
	assert_int_equal(sk_cipher_len(sk, 12), 13);
	assert_int_equal(sk_iv_bytes(sk), 8);
	assert_int_equal(sk_icv_bytes(sk), 16);
	assert_true(sk_seal(sk, aad, iv, text, 12));
	assert_bytes(text, 29, "610394701f8d017f7c129248896b71bfe25236efd7cdc67066906315b2");
	assert_true(sk_open(sk, aad, iv, text, 13, &plain));
	assert_bytes(text, plain, "0000000c000040010000000a");
	sk_free(sk);
}

/* CBC and HMAC by OpenSSL's other interfaces, from the definition. */
static void cbc_by_hand(void **state)
{
	struct cipher_suite s = suite_of(ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_256_128);
	struct sk *sk = new_sk(&s);
	uint8_t message[32 + 16 + 32 + 16], want[32 + 16 + 32], icv[32];
	uint8_t *iv = message + 32, *text = message + 48;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n;

	(void)state;
	memset(message, 0x11, 48);
	memset(text, 0x22, 20);
	memcpy(want, message, 48 + 20);
	memset(want + 68, 0, 11);
	want[79] = 11;
	assert_int_equal(sk_cipher_len(sk, 20), 32);
	assert_true(sk_seal(sk, BYTES(message, 32), iv, text, 20));
	EVP_EncryptInit_ex(ctx, EVP_aes_256_cbc(), NULL, (const uint8_t *)keys, want + 32);
	EVP_CIPHER_CTX_set_padding(ctx, 0);
	EVP_EncryptUpdate(ctx, want + 48, &n, want + 48, 32);
	assert_memory_equal(message, want, 80);
	HMAC(EVP_sha256(), keys + 1, 32, want, 80, icv, NULL);
	assert_memory_equal(text + 32, icv, 16);
	EVP_CIPHER_CTX_free(ctx);
	sk_free(sk);
}

static void padding_rules(void **state)
{
	struct cipher_suite gcm = suite_of(ENCR_AES_GCM_16, 256, 0);
	struct cipher_suite cbc = suite_of(ENCR_AES_CBC, 128, INTEG_HMAC_SHA2_256_128);
	struct sk *a = new_sk(&gcm), *c = new_sk(&cbc);

	(void)state;
	for (size_t plain = 0; plain < 70; plain++) {
		assert_int_equal(sk_cipher_len(a, plain), plain + 1);
		assert_int_equal(sk_cipher_len(c, plain) % 16, 0);
		assert_in_range(sk_cipher_len(c, plain), plain + 1, plain + 16);
	}
	sk_free(a);
	sk_free(c);
}

/* All sizes there and back; then every byte of the message changed in turn. */
static void round_trips(void **state)
{
	(void)state;
	for (size_t i = 0; i < SUITES; i++) {
		struct cipher_suite s = suite_of(suites[i].encr, suites[i].bits, suites[i].integ);
		struct sk *out = new_sk(&s), *in = new_sk(&s);

		for (size_t plain = 0; plain < 100; plain += plain < 40 ? 1 : 13) {
			uint8_t aad[36], iv[16], text[200], copy[200];
			size_t len = sk_cipher_len(out, plain), whole = len + sk_icv_bytes(out), got;

			memset(aad, (int)plain, sizeof(aad));
			memset(iv, (int)plain + 1, sizeof(iv));
			memset(text, 0xee, sizeof(text));
			for (size_t k = 0; k < plain; k++)
				text[k] = (uint8_t)k;
			assert_true(sk_seal(out, BYTES(aad, 36), iv, text, plain));
			assert_int_equal(text[whole], 0xee);
			memcpy(copy, text, sizeof(copy));
			assert_true(sk_open(in, BYTES(aad, 36), iv, text, len, &got));
			assert_int_equal(got, plain);
			for (size_t k = 0; k < plain; k++)
				assert_int_equal(text[k], k);
			for (size_t k = 0; k < whole; k++) {
				memcpy(text, copy, sizeof(copy));
				text[k] ^= 0x10;
				assert_false(sk_open(in, BYTES(aad, 36), iv, text, len, &got));
				assert_int_equal(got, 0);
				/* Nothing of the plaintext stays behind. */
				for (size_t j = 0; j < len; j++)
					assert_int_equal(text[j], 0);
			}
			memcpy(text, copy, sizeof(copy));
			aad[35] ^= 1;
			assert_false(sk_open(in, BYTES(aad, 36), iv, text, len, &got));
			aad[35] ^= 1;
			memcpy(text, copy, sizeof(copy));
			iv[0] ^= 1;
			assert_false(sk_open(in, BYTES(aad, 36), iv, text, len, &got));
			/* A failure does not spoil the context. */
			iv[0] ^= 1;
			memcpy(text, copy, sizeof(copy));
			assert_true(sk_open(in, BYTES(aad, 36), iv, text, len, &got));
		}
		sk_free(out);
		sk_free(in);
	}
}

/* A pad length that is more than there is: authentic, but malformed. */
static void too_much_padding(void **state)
{
	struct cipher_suite s = suite_of(ENCR_AES_GCM_16, 128, 0);
	struct sk *sk = new_sk(&s);
	uint8_t iv[8] = { 1 }, text[64];
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t nonce[12], inner[4] = { 9, 9, 9, 0 };
	size_t plain;
	int n;

	(void)state;
	memcpy(nonce, keys + 16, 4);
	memcpy(nonce + 4, iv, 8);
	for (unsigned pad = 0; pad < 8; pad++) {
		inner[3] = (uint8_t)pad;
		EVP_EncryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, (const uint8_t *)keys, nonce);
		EVP_EncryptUpdate(ctx, NULL, &n, (const uint8_t *)"aad", 3);
		EVP_EncryptUpdate(ctx, text, &n, inner, 4);
		EVP_EncryptFinal_ex(ctx, text + 4, &n);
		EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, text + 4);
		assert_int_equal(sk_open(sk, BYTES("aad", 3), iv, text, 4, &plain), pad <= 3);
		if (pad <= 3)
			assert_int_equal(plain, 3 - pad);
	}
	assert_false(sk_open(sk, BYTES("aad", 3), iv, text, 0, &plain));
	EVP_CIPHER_CTX_free(ctx);
	sk_free(sk);
}

static void wrong_keys_and_suites(void **state)
{
	struct cipher_suite s = suite_of(ENCR_AES_GCM_16, 256, 0);

	(void)state;
	assert_int_equal(sk_encr_key_bytes(&s), 36);
	assert_int_equal(sk_integ_key_bytes(&s), 0);
	assert_null(sk_new(&s, BYTES(keys, 32), BYTES(NULL, 0)));
	assert_null(sk_new(&s, BYTES(keys, 36), BYTES(keys, 32)));
	s = suite_of(ENCR_AES_GCM_16, 250, 0);
	assert_null(sk_new(&s, BYTES(keys, sk_encr_key_bytes(&s)), BYTES(NULL, 0)));
	s = suite_of(ENCR_AES_CBC, 256, 0);
	assert_null(sk_new(&s, BYTES(keys, 32), BYTES(NULL, 0)));
	s = suite_of(ENCR_NULL, 0, INTEG_HMAC_SHA2_256_128);
	assert_null(sk_new(&s, BYTES(keys, 0), BYTES(keys, 32)));
	s = suite_of(ENCR_AES_CBC, 192, INTEG_HMAC_SHA2_384_192);
	assert_int_equal(sk_encr_key_bytes(&s), 24);
	assert_int_equal(sk_integ_key_bytes(&s), 48);
	sk_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc7634),	   cmocka_unit_test(cbc_by_hand),
		cmocka_unit_test(padding_rules),   cmocka_unit_test(round_trips),
		cmocka_unit_test(too_much_padding), cmocka_unit_test(wrong_keys_and_suites),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
