/* algorithms.h: the table agrees with itself and with OpenSSL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>

#include "crypto/algorithms.h"

/* RFC 4868, RFC 7296 §3.3.2, RFC 8247: numbers that must never drift. */
static void numbers(void **state)
{
	static const struct {
		enum transform_type type;
		uint16_t id;
		const char *name;
	} rows[] = {
		{ TRANSFORM_ENCR, 20, "AES_GCM_16" },	    { TRANSFORM_ENCR, 12, "AES_CBC" },
		{ TRANSFORM_ENCR, 28, "CHACHA20_POLY1305" }, { TRANSFORM_ENCR, 3, "3DES" },
		{ TRANSFORM_PRF, 5, "HMAC_SHA2_256" },	    { TRANSFORM_PRF, 7, "HMAC_SHA2_512" },
		{ TRANSFORM_PRF, 2, "HMAC_SHA1" },	    { TRANSFORM_INTEG, 12, "HMAC_SHA2_256_128" },
		{ TRANSFORM_INTEG, 14, "HMAC_SHA2_512_256" }, { TRANSFORM_INTEG, 0, "NONE" },
		{ TRANSFORM_INTEG, 2, "HMAC_SHA1_96" },	    { TRANSFORM_KE, 14, "MODP2048" },
		{ TRANSFORM_KE, 18, "MODP8192" },	    { TRANSFORM_KE, 19, "DH19" },
		{ TRANSFORM_KE, 31, "DH31" },		    { TRANSFORM_KE, 2, "MODP1024" },
		{ TRANSFORM_SN, 0, "NO_ESN" },		    { TRANSFORM_SN, 1, "ESN" },
		{ TRANSFORM_ENCR, 1023, "unknown(1023)" },  { 77, 5, "unknown(5)" },
	};
	char buf[TRANSFORM_NAME_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(transform_name(rows[i].type, rows[i].id, buf), rows[i].name);
	/* The buffer itself has the name, of whichever table it is. */
	assert_ptr_equal(transform_name(TRANSFORM_KE, KE_ECP256, buf), buf);
	assert_string_equal(buf, "DH19");
}

static void spellings(void **state)
{
	static const struct {
		enum transform_type type;
		const char *name;
		int id; /* -1: none */
	} rows[] = {
		{ TRANSFORM_ENCR, "aes", 12 },		{ TRANSFORM_ENCR, "AES_GCM", 20 },
		{ TRANSFORM_ENCR, "aes_gcm_c", 20 },	{ TRANSFORM_ENCR, "chacha20_poly1305", 28 },
		{ TRANSFORM_ENCR, "aes_g", -1 },	{ TRANSFORM_ENCR, "", -1 },
		{ TRANSFORM_ENCR, "aes aes_cbc", -1 },	{ TRANSFORM_ENCR, "3des", -1 },
		{ TRANSFORM_PRF, "sha2", 5 },		{ TRANSFORM_PRF, "sha512", 7 },
		{ TRANSFORM_INTEG, "sha2_384", 13 },	{ TRANSFORM_INTEG, "none", 0 },
		{ TRANSFORM_KE, "modp2048", 14 },	{ TRANSFORM_KE, "dh14", 14 },
		{ TRANSFORM_KE, "x25519", 31 },		{ TRANSFORM_KE, "ecp_256", 19 },
		{ TRANSFORM_KE, "modp1024", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct algorithm *a = algorithm_find_name(rows[i].type, rows[i].name);

		if (rows[i].id < 0)
			assert_null(a);
		else
			assert_int_equal(a ? a->id : -1, rows[i].id);
	}
	assert_string_equal(algorithm_known_find(TRANSFORM_KE, "MODP1024")->name, "MODP1024");
	assert_null(algorithm_known_find(TRANSFORM_KE, "modp2048"));
}

/* Each row is found by its number and all its spellings, and no other row shares them. */
static void rows_are_unique(void **state)
{
	const struct algorithm *a;

	(void)state;
	for (size_t i = 0; (a = algorithm_at(i)); i++) {
		char words[200], *word, *rest = words;

		assert_ptr_equal(algorithm_find(a->type, a->id), a);
		snprintf(words, sizeof(words), "%s", a->aliases);
		while ((word = strtok_r(rest, " ", &rest)))
			assert_ptr_equal(algorithm_find_name(a->type, word), a);
	}
}

/* Key, IV and output sizes are those of OpenSSL's algorithms. */
static void sizes_are_openssls(void **state)
{
	const struct algorithm *a;

	(void)state;
	for (size_t i = 0; (a = algorithm_at(i)); i++) {
		if ((a->type == TRANSFORM_PRF || a->type == TRANSFORM_INTEG) && a->key_bytes != 0) {
			EVP_MD *md = EVP_MD_fetch(NULL, a->openssl[0], NULL);

			assert_non_null(md);
			assert_int_equal(EVP_MD_get_size(md), a->key_bytes);
			if (a->type == TRANSFORM_INTEG)
				assert_int_equal(a->icv_bytes * 2, a->key_bytes);
			EVP_MD_free(md);
		}
		for (size_t k = 0; a->type == TRANSFORM_ENCR && k < 3 && a->key_bits[k]; k++) {
			EVP_CIPHER *c = EVP_CIPHER_fetch(NULL, a->openssl[k], NULL);

			assert_non_null(c);
			assert_int_equal(EVP_CIPHER_get_key_length(c) * 8, a->key_bits[k]);
			assert_int_equal(EVP_CIPHER_get_iv_length(c), a->iv_bytes + a->salt_bytes);
			assert_ptr_equal(algorithm_cipher(a, a->key_bits[k]), a->openssl[k]);
			assert_true(algorithm_key_bits_ok(a, a->key_bits[k]));
			EVP_CIPHER_free(c);
		}
	}
}

static void key_sizes(void **state)
{
	const struct algorithm *gcm = algorithm_find(TRANSFORM_ENCR, ENCR_AES_GCM_16);
	const struct algorithm *null = algorithm_find(TRANSFORM_ENCR, ENCR_NULL);

	(void)state;
	assert_true(algorithm_key_bits_ok(gcm, 192));
	assert_false(algorithm_key_bits_ok(gcm, 0));
	assert_false(algorithm_key_bits_ok(gcm, 255));
	assert_null(algorithm_cipher(gcm, 64));
	assert_true(algorithm_key_bits_ok(null, 0));
	assert_false(algorithm_key_bits_ok(null, 128));
	assert_string_equal(algorithm_wireshark_ike(gcm, 128),
			    "AES-GCM-128 with 16 octet ICV [RFC5282]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(spellings),
		cmocka_unit_test(rows_are_unique),
		cmocka_unit_test(sizes_are_openssls),
		cmocka_unit_test(key_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
