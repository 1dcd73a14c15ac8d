/* esp_aead.h: RFC 4106, RFC 7634, RFC 3602, RFC 4868, with every provider. */
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

#include "base/secret.h"
#include "esp_packet.h"
#include "hex.h"

/* draft-mcgrew-gcm-test-01 (for RFC 4106) and RFC 7634 Appendix A, with every provider. */
static void published_aead(void **state)
{
	static const struct {
		uint16_t encr, bits;
		const char *key, *salt_iv, *aad, *text, *sealed;
	} rows[] = {
		{ ENCR_AES_GCM_16, 128, "4c80cdefbb5d10da906ac73c3613a634", "2e443b684956ed7e3b244cfe",
		  "000043218765432100000000",
		  "45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000"
		  "00000000045f736970045f756470037369700963796265726369747902646b00"
		  "0021000101020201",
		  "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34"
		  "cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce"
		  "61bc17d768fd9732459018148f6cbe722fd04796562dfdb4" },
		{ ENCR_AES_GCM_16, 192, "feffe9928665731c6d6a8f9467308308feffe9928665731c",
		  "cafebabefacedbaddecaf888", "0000a5f80000000a",
		  "45000028a4ad4000400678800a01038f0a010612802306b8cb712602dd6bb03e"
		  "501016d075680001",
		  "a5b1f8066029aea40e598b8122de02420938b3ab33f828e687b8858b5bfbdbd0"
		  "315b27452144cc7795457b9652037f5318027b5b4cd7a636" },
		{ ENCR_AES_GCM_16, 256,
		  "abbccddef00112233445566778899aababbccddef00112233445566778899aab",
		  "112233440102030405060708", "4a2cbfe300000002",
		  "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee000000000"
		  "7002400020bf0000020405b40101040201020201",
		  "ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763"
		  "748a637985771d347f0545659f14e99def842d8eb335f4eecfdbf831824b4c49"
		  "15956c96" },
		{ ENCR_CHACHA20_POLY1305, 256,
		  "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
		  "a0a1a2a31011121314151617", "0102030400000005",
		  "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10"
		  "0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223"
		  "2425262728292a2b2c2d2e2f303132333435363701020204",
		  "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6"
		  "14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3"
		  "cbec163fac469b502773f6fb94e664da9165b82829f641e0"
		  "76aaa8266b7fb0f7b11b369907e1ad43" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) * PROVIDERS; i++) {
		const struct esp_provider *provider = providers[i % PROVIDERS];
		size_t r = i / PROVIDERS;
		struct cipher_suite s = suite_of(rows[r].encr, rows[r].bits, 0);
		struct bytes salt_iv = hex(rows[r].salt_iv), text = hex(rows[r].text);
		struct bytes key = hex(rows[r].key), aad = hex(rows[r].aad);
		struct esp_cipher *out, *in;
		struct packet p;
		uint8_t full[36];

		if (!runs(provider, &s))
			continue;
		memcpy(full, key.ptr, key.len);
		memcpy(full + key.len, salt_iv.ptr, 4);
		assert_int_equal(esp_cipher_encr_key_bytes(&s), key.len + 4);
		out = esp_provider_new(provider, &s, BYTES(full, key.len + 4), BYTES(NULL, 0), false);
		in = esp_provider_new(provider, &s, BYTES(full, key.len + 4), BYTES(NULL, 0), true);
		assert_non_null(out);
		assert_non_null(in);
		packet_init(&p, &s, false, text.len);
		memcpy(p.job.aad, aad.ptr, aad.len);
		p.job.aad_len = (uint8_t)aad.len;
		memcpy(p.job.iv, salt_iv.ptr + 4, 8);
		memcpy(p.job.text, text.ptr, text.len);
		provider->seal(out, &p.job, 1);
		assert_true(p.job.ok);
		assert_bytes(p.job.text, text.len + 16, rows[r].sealed);
		provider->open(in, &p.job, 1);
		assert_true(p.job.ok);
		assert_memory_equal(p.job.text, text.ptr, text.len);
		esp_cipher_free(out);
		esp_cipher_free(in);
	}
}

/* RFC 3602 §4, case 5: ESP's ciphertext; the ICV by OpenSSL's one-call HMAC (RFC 4868 §2.1). */
static void published_cbc(void **state)
{
	struct cipher_suite s = suite_of(ENCR_AES_CBC, 128, INTEG_HMAC_SHA2_256_128);
	struct bytes key = hex("90d382b410eeba7ad938c46cec1a82bf");
	struct bytes mac_key = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
	struct bytes text = hex("08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f1011121314151617"
				"18191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637"
				"0102030405060708090a0b0c0d0e0e01");
	struct esp_cipher *out = esp_cipher_new(&s, key, mac_key, false);
	struct esp_cipher *in = esp_cipher_new(&s, key, mac_key, true);
	uint8_t icv[32];
	struct packet p;

	(void)state;
	assert_non_null(out);
	assert_non_null(in);
	memcpy(p.wire, hex("0000432100000001e96e8c08ab465763fd098d45dd3ff893").ptr, 24);
	packet_init(&p, &s, false, text.len);
	memcpy(p.job.text, text.ptr, text.len);
	esp_cipher_seal(out, &p.job, 1);
	assert_true(p.job.ok);
	assert_bytes(p.job.text, text.len,
		     "f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856"
		     "a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874a"
		     "a269add047ad2d5913ac19b7cfbad4a6");
	HMAC(EVP_sha256(), mac_key.ptr, 32, p.wire, 24 + text.len, icv, NULL);
	assert_memory_equal(p.job.icv, icv, 16);
	esp_cipher_open(in, &p.job, 1);
	assert_true(p.job.ok);
	assert_memory_equal(p.job.text, text.ptr, text.len);
	esp_cipher_free(out);
	esp_cipher_free(in);
}

/*
 * AES-CBC (RFC 3602) and NULL with HMAC-SHA2 (RFC 4868), with and without an extended number, as
 * `openssl enc -nopad` and `openssl dgst -mac HMAC` computed them: alone and in a batch.
 */
static void computed_mac(void **state)
{
	static const struct {
		uint16_t encr, bits, integ;
		bool esn;
		const char *sealed;
	} rows[] = {
		{ ENCR_AES_CBC, 128, INTEG_HMAC_SHA2_256_128, false,
		  "e33976d9723c869b895bb80e60433896c0fa9f061ab296e513496ec8c35f33b9"
		  "0eebed58d75aa303b0180306a41a8b21c2d1f2dc63728fc6772b84ebeb4e7cdb"
		  "3c7cf833b3e30d64cb10c903c5c9ea7cbdea417ce5e0877303fe86531f37d059"
		  "b16e7235a167bb70d46793838a81aec3" },
		{ ENCR_AES_CBC, 128, INTEG_HMAC_SHA2_256_128, true,
		  "e33976d9723c869b895bb80e60433896c0fa9f061ab296e513496ec8c35f33b9"
		  "0eebed58d75aa303b0180306a41a8b21c2d1f2dc63728fc6772b84ebeb4e7cdb"
		  "3c7cf833b3e30d64cb10c903c5c9ea7cbdea417ce5e0877303fe86531f37d059"
		  "e6a4a5f37ccf74f05cf1b86a8a38ad49" },
		{ ENCR_AES_CBC, 128, INTEG_HMAC_SHA2_384_192, false,
		  "e33976d9723c869b895bb80e60433896c0fa9f061ab296e513496ec8c35f33b9"
		  "0eebed58d75aa303b0180306a41a8b21c2d1f2dc63728fc6772b84ebeb4e7cdb"
		  "3c7cf833b3e30d64cb10c903c5c9ea7cbdea417ce5e0877303fe86531f37d059"
		  "67a433ba5030d0f0bd30f4fbe165df04b582c0a3c48b80c0" },
		{ ENCR_AES_CBC, 128, INTEG_HMAC_SHA2_512_256, false,
		  "e33976d9723c869b895bb80e60433896c0fa9f061ab296e513496ec8c35f33b9"
		  "0eebed58d75aa303b0180306a41a8b21c2d1f2dc63728fc6772b84ebeb4e7cdb"
		  "3c7cf833b3e30d64cb10c903c5c9ea7cbdea417ce5e0877303fe86531f37d059"
		  "6ecb55283b1c0a90f9c32de3d6bc9c64d8b49955c6a83b39829120ebe0303677" },
		{ ENCR_AES_CBC, 192, INTEG_HMAC_SHA2_256_128, false,
		  "740b7636402d8c20e2b27f0b0dd9bf30cadaec28b54ef94b8c736658bf296ce7"
		  "4d39bfcc2e8092a16ebd5941a31b3ccfb82c2bbeaaa301068116f47b22ed8e07"
		  "ecda88b0579bdb00816bb2940194a644bc5b90298efdab15637e2114eebeb74e"
		  "cd2905d8a620b864609112532fdee22e" },
		{ ENCR_AES_CBC, 192, INTEG_HMAC_SHA2_384_192, false,
		  "740b7636402d8c20e2b27f0b0dd9bf30cadaec28b54ef94b8c736658bf296ce7"
		  "4d39bfcc2e8092a16ebd5941a31b3ccfb82c2bbeaaa301068116f47b22ed8e07"
		  "ecda88b0579bdb00816bb2940194a644bc5b90298efdab15637e2114eebeb74e"
		  "0740c6f838a33404d8b2dcbb68feb311b5a35c7423da7759" },
		{ ENCR_AES_CBC, 192, INTEG_HMAC_SHA2_384_192, true,
		  "740b7636402d8c20e2b27f0b0dd9bf30cadaec28b54ef94b8c736658bf296ce7"
		  "4d39bfcc2e8092a16ebd5941a31b3ccfb82c2bbeaaa301068116f47b22ed8e07"
		  "ecda88b0579bdb00816bb2940194a644bc5b90298efdab15637e2114eebeb74e"
		  "37652501cee7fcb7dacc732ab85377dc554f9cf37114af47" },
		{ ENCR_AES_CBC, 192, INTEG_HMAC_SHA2_512_256, false,
		  "740b7636402d8c20e2b27f0b0dd9bf30cadaec28b54ef94b8c736658bf296ce7"
		  "4d39bfcc2e8092a16ebd5941a31b3ccfb82c2bbeaaa301068116f47b22ed8e07"
		  "ecda88b0579bdb00816bb2940194a644bc5b90298efdab15637e2114eebeb74e"
		  "d58a8f6cb84a9d109d3033e47487808c5e620d60bea35353963b5323b8a841e5" },
		{ ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_256_128, false,
		  "deb693e4ca4b4e5fc7076a22b03368e3811b649974a18bbddbafbf89551fe5ed"
		  "48fed1ed38305a43024d34e93e2ea5da595f083d7088f01336e7767b71f40733"
		  "486abc511b96e11f35ddb1294f303d7f620034edc4a5d8b8d8b6a142091d3c7c"
		  "19523196f59b589059b154c2b50c662e" },
		{ ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_384_192, false,
		  "deb693e4ca4b4e5fc7076a22b03368e3811b649974a18bbddbafbf89551fe5ed"
		  "48fed1ed38305a43024d34e93e2ea5da595f083d7088f01336e7767b71f40733"
		  "486abc511b96e11f35ddb1294f303d7f620034edc4a5d8b8d8b6a142091d3c7c"
		  "c7de21afb74839787d6f7e72dc2434e8436a938e1adeb1de" },
		{ ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_512_256, false,
		  "deb693e4ca4b4e5fc7076a22b03368e3811b649974a18bbddbafbf89551fe5ed"
		  "48fed1ed38305a43024d34e93e2ea5da595f083d7088f01336e7767b71f40733"
		  "486abc511b96e11f35ddb1294f303d7f620034edc4a5d8b8d8b6a142091d3c7c"
		  "3d11355d73661ef8e4d227a26abd2c5eca3bf5e2f6bd2e768d3c2f7529a340b5" },
		{ ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_512_256, true,
		  "deb693e4ca4b4e5fc7076a22b03368e3811b649974a18bbddbafbf89551fe5ed"
		  "48fed1ed38305a43024d34e93e2ea5da595f083d7088f01336e7767b71f40733"
		  "486abc511b96e11f35ddb1294f303d7f620034edc4a5d8b8d8b6a142091d3c7c"
		  "4996394b33cb2fde0e3d569b277a538492e963aa36825ab6b6e0853919a2b4d8" },
		{ ENCR_NULL, 0, INTEG_HMAC_SHA2_256_128, false,
		  "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10"
		  "0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223"
		  "2425262728292a2b2c2d2e2f303132333435363701020304050607080909090a"
		  "ee6d9e9c15f9e20ca1649a24ffa3370e" },
		{ ENCR_NULL, 0, INTEG_HMAC_SHA2_256_128, true,
		  "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10"
		  "0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223"
		  "2425262728292a2b2c2d2e2f303132333435363701020304050607080909090a"
		  "a01c86ec288984b6fcd5dceca7554827" },
		{ ENCR_NULL, 0, INTEG_HMAC_SHA2_384_192, false,
		  "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10"
		  "0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223"
		  "2425262728292a2b2c2d2e2f303132333435363701020304050607080909090a"
		  "9eb46bdea35b695329cbb6f78b0cad143d7c639eb0d37b78" },
		{ ENCR_NULL, 0, INTEG_HMAC_SHA2_512_256, false,
		  "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10"
		  "0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223"
		  "2425262728292a2b2c2d2e2f303132333435363701020304050607080909090a"
		  "ee2b2a1fc2613bf7749e7fd8353ef728908883c6efb3e9d8d9eef4f1e3be468f" },
	};
	enum { BATCH = 10 };
	static struct packet p[BATCH];
	struct esp_packet_job jobs[BATCH];
	uint8_t key[32], mac_key[64], iv[16], text[96];

	(void)state;
	memcpy(text,
	       hex("45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10"
				"0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223"
				"2425262728292a2b2c2d2e2f303132333435363701020304050607080909090a").ptr,
	       sizeof(text));
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(0x10 + i);
	for (size_t i = 0; i < sizeof(mac_key); i++)
		mac_key[i] = (uint8_t)(0x80 + i);
	for (size_t i = 0; i < sizeof(iv); i++)
		iv[i] = (uint8_t)(0xf0 + i);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) * PROVIDERS * 2; i++) {
		const struct esp_provider *provider = providers[i / 2 % PROVIDERS];
		size_t r = i / 2 / PROVIDERS, count = i % 2 ? BATCH : 1;
		struct cipher_suite s = suite_of(rows[r].encr, rows[r].bits, rows[r].integ);
		struct bytes k = BYTES(key, esp_cipher_encr_key_bytes(&s));
		struct bytes m = BYTES(mac_key, esp_cipher_integ_key_bytes(&s));
		struct esp_cipher *out, *in;

		if (!runs(provider, &s))
			continue;
		out = esp_provider_new(provider, &s, k, m, false);
		in = esp_provider_new(provider, &s, k, m, true);
		assert_non_null(out);
		assert_non_null(in);
		for (size_t j = 0; j < count; j++) {
			memcpy(p[j].wire, "\x00\x00\x43\x21\x00\x00\x00\x01", 8);
			packet_init(&p[j], &s, rows[r].esn, sizeof(text));
			memcpy(p[j].job.iv, iv, s.encr->iv_bytes);
			memcpy(p[j].job.text, text, sizeof(text));
			jobs[j] = p[j].job;
		}
		provider->seal(out, jobs, count);
		for (size_t j = 0; j < count; j++) {
			assert_true(jobs[j].ok);
			assert_bytes(jobs[j].text, sizeof(text) + s.integ->icv_bytes, rows[r].sealed);
		}
		provider->open(in, jobs, count);
		for (size_t j = 0; j < count; j++) {
			assert_true(jobs[j].ok);
			assert_memory_equal(jobs[j].text, text, sizeof(text));
		}
		esp_cipher_free(out);
		esp_cipher_free(in);
	}
}

/* RFC 4303 §2.2.1: the high half of the number follows the packet in the ICV's computation. */
static void esn_in_mac(void **state)
{
	struct cipher_suite s = suite_of(ENCR_NULL, 0, INTEG_HMAC_SHA2_512_256);
	uint8_t mac_key[64], plain[12] = "hello world", icv[64];
	struct esp_cipher *out, *in;
	struct packet p;

	(void)state;
	random_fill(mac_key, sizeof(mac_key));
	out = esp_cipher_new(&s, BYTES(NULL, 0), BYTES(mac_key, 64), false);
	in = esp_cipher_new(&s, BYTES(NULL, 0), BYTES(mac_key, 64), true);
	assert_non_null(out);
	memcpy(p.wire, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
	packet_init(&p, &s, true, sizeof(plain));
	memcpy(p.job.text, plain, sizeof(plain));
	esp_cipher_seal(out, &p.job, 1);
	assert_true(p.job.ok);
	assert_memory_equal(p.job.text, plain, sizeof(plain));
	uint8_t covered[24];
	memcpy(covered, p.wire, 20);
	memcpy(covered + 20, "\0\0\0\7", 4);
	HMAC(EVP_sha512(), mac_key, 64, covered, 24, icv, NULL);
	assert_memory_equal(p.job.icv, icv, 32);
	p.job.aad[7] = 8;
	esp_cipher_open(in, &p.job, 1);
	assert_false(p.job.ok);
	esp_cipher_free(out);
	esp_cipher_free(in);
}

/* Any changed bit of any covered byte is found, leaves no text, and spoils no later packet. */
static void tampering(void **state)
{
	(void)state;
	for (size_t i = 0; i < (size_t)SUITES * PROVIDERS; i++) {
		const struct esp_provider *provider = providers[i % PROVIDERS];
		size_t r = i / PROVIDERS, len = 48;
		struct cipher_suite s = suite_of(all_suites[r].encr, all_suites[r].bits, all_suites[r].integ);
		size_t icv = s.integ ? s.integ->icv_bytes : s.encr->icv_bytes;
		size_t whole = 8 + s.encr->iv_bytes + len + icv;
		uint8_t key[36], mac_key[64];
		struct packet p, copy;
		struct esp_cipher *out, *in;

		if (!runs(provider, &s))
			continue;
		random_fill(key, sizeof(key));
		random_fill(mac_key, sizeof(mac_key));
		struct bytes k = BYTES(key, esp_cipher_encr_key_bytes(&s));
		struct bytes m = BYTES(mac_key, esp_cipher_integ_key_bytes(&s));
		out = esp_provider_new(provider, &s, k, m, false);
		in = esp_provider_new(provider, &s, k, m, true);
		assert_non_null(out);
		random_fill(p.wire, sizeof(p.wire));
		packet_init(&p, &s, true, len);
		memset(p.job.text, 0xaa, len);
		provider->seal(out, &p.job, 1);
		assert_true(p.job.ok);
		memcpy(&copy.wire, p.wire, sizeof(p.wire));
		for (size_t at = 0; at < whole; at++) {
			memcpy(p.wire, copy.wire, sizeof(p.wire));
			p.wire[at] ^= (uint8_t)(1 << at % 8);
			packet_init(&p, &s, true, len);
			provider->open(in, &p.job, 1);
			assert_false(p.job.ok);
			for (size_t k2 = 0; k2 < len; k2++)
				assert_int_equal(p.job.text[k2], 0);
		}
		/* A forged ICV of zeros, and of ones. */
		for (int fill = 0; fill <= 0xff; fill += 0xff) {
			memcpy(p.wire, copy.wire, sizeof(p.wire));
			packet_init(&p, &s, true, len);
			memset(p.job.icv, fill, icv);
			provider->open(in, &p.job, 1);
			assert_false(p.job.ok);
		}
		memcpy(p.wire, copy.wire, sizeof(p.wire));
		packet_init(&p, &s, true, len);
		provider->open(in, &p.job, 1);
		assert_true(p.job.ok);
		for (size_t k2 = 0; k2 < len; k2++)
			assert_int_equal(p.job.text[k2], 0xaa);
		esp_cipher_free(out);
		esp_cipher_free(in);
	}
}

static void odd_lengths_and_keys(void **state)
{
	struct cipher_suite s = suite_of(ENCR_AES_CBC, 128, INTEG_HMAC_SHA2_256_128);
	uint8_t key[64] = { 1 };
	struct esp_cipher *c = esp_cipher_new(&s, BYTES(key, 16), BYTES(key, 32), false);
	struct packet p;

	(void)state;
	random_fill(p.wire, sizeof(p.wire));
	packet_init(&p, &s, false, 17);
	esp_cipher_seal(c, &p.job, 1);
	assert_false(p.job.ok);
	/* What is not contiguous cannot be covered by one HMAC. */
	packet_init(&p, &s, false, 32);
	p.job.esp = p.wire + 1;
	esp_cipher_seal(c, &p.job, 1);
	assert_false(p.job.ok);
	esp_cipher_free(c);
	esp_cipher_free(NULL);
	assert_null(esp_cipher_new(&s, BYTES(key, 32), BYTES(key, 32), false));
	assert_null(esp_cipher_new(&s, BYTES(key, 16), BYTES(key, 16), false));
	s.integ = NULL;
	assert_null(esp_cipher_new(&s, BYTES(key, 16), BYTES(NULL, 0), false));
	assert_null(esp_provider_for(&s));
	s = suite_of(ENCR_AES_GCM_16, 128, INTEG_HMAC_SHA2_256_128);
	assert_null(esp_cipher_new(&s, BYTES(key, 20), BYTES(key, 32), false));
	s = suite_of(ENCR_AES_GCM_16, 256, 0);
	c = esp_cipher_new(&s, BYTES(key, 36), BYTES(NULL, 0), true);
	assert_non_null(c);
	assert_string_equal(esp_cipher_provider(c), esp_provider_for(&s));
	print_message("# AES-GCM by %s\n", esp_cipher_provider(c));
	esp_cipher_free(c);
}

/* In memory of the caller's, with something else right behind it. */
static void context_in_a_room(void **state)
{
	static const struct {
		enum encr_id encr;
		uint16_t bits;
		enum integ_id integ;
	} suites[] = { { ENCR_AES_GCM_16, 128, 0 }, { ENCR_AES_GCM_16, 256, 0 }, { ENCR_CHACHA20_POLY1305, 256, 0 },
		       { ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_256_128 } };
	uint8_t key[64] = { 1, 2, 3 }, mac[64] = { 4 }, behind[16];

	(void)state;
	memset(behind, 0xa5, sizeof(behind));
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
		struct cipher_suite s = suite_of(suites[i].encr, suites[i].bits, suites[i].integ);
		struct bytes k = BYTES(key, esp_cipher_encr_key_bytes(&s)), m = BYTES(mac, esp_cipher_integ_key_bytes(&s));
		size_t size = esp_cipher_bytes(&s);
		uint8_t *room = secret_alloc(size + sizeof(behind));
		struct esp_cipher *out, *in = esp_cipher_new(&s, k, m, true);
		struct packet p;

		assert_true(size > 0);
		assert_non_null(room);
		memcpy(room + size, behind, sizeof(behind));
		assert_null(esp_cipher_init(room, &s, BYTES(key, k.len - 1), m, false));
		out = esp_cipher_init(room, &s, k, m, false);
		assert_ptr_equal(out, room);
		random_fill(p.wire, sizeof(p.wire));
		packet_init(&p, &s, false, 1024);
		memset(p.job.text, 0x3c, 1024);
		esp_cipher_seal(out, &p.job, 1);
		esp_cipher_open(in, &p.job, 1);
		assert_true(p.job.ok);
		assert_memory_equal(room + size, behind, sizeof(behind));
		esp_cipher_release(out);
		secret_free(room);
		esp_cipher_free(in);
	}
	esp_cipher_release(NULL);
	struct cipher_suite unsound = suite_of(ENCR_AES_GCM_16, 128, INTEG_HMAC_SHA2_256_128);
	assert_int_equal(esp_cipher_bytes(&unsound), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_aead),  cmocka_unit_test(published_cbc),
		cmocka_unit_test(esn_in_mac),	   cmocka_unit_test(computed_mac),
		cmocka_unit_test(tampering),	   cmocka_unit_test(odd_lengths_and_keys),
		cmocka_unit_test(context_in_a_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
