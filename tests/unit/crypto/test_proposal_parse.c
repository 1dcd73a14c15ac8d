/* proposal.h: the grammar of ike= and esp=, good and bad. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/proposal.h"

#define PRFS "HMAC_SHA2_512+HMAC_SHA2_256"
#define KES "DH19+DH20+DH21+DH31+MODP4096+MODP3072+MODP2048+MODP8192"

static void good(void **state)
{
	static const struct {
		enum ike_protocol protocol;
		const char *text, *shown;
	} rows[] = {
		{ PROTOCOL_IKE, "aes_gcm256-sha2_512-dh19", "AES_GCM_16_256-HMAC_SHA2_512-DH19" },
		{ PROTOCOL_IKE, "aes_gcm_256-sha2_512-dh19", "AES_GCM_16_256-HMAC_SHA2_512-DH19" },
		{ PROTOCOL_IKE, "aes_gcm_16_256-sha2_512-dh19", "AES_GCM_16_256-HMAC_SHA2_512-DH19" },
		{ PROTOCOL_IKE, "aes_gcm-256-sha2_512-dh19", "AES_GCM_16_256-HMAC_SHA2_512-DH19" },
		{ PROTOCOL_IKE, "AES_GCM256-SHA2_512-DH19", "AES_GCM_16_256-HMAC_SHA2_512-DH19" },
		{ PROTOCOL_IKE, "aes256-sha2_256;modp2048", "AES_CBC_256-HMAC_SHA2_256-MODP2048" },
		{ PROTOCOL_IKE, "aes192-sha384-dh20", "AES_CBC_192-HMAC_SHA2_384-DH20" },
		{ PROTOCOL_IKE, "aes-sha2-dh14", "AES_CBC_256+AES_CBC_128-HMAC_SHA2_256-MODP2048" },
		{ PROTOCOL_IKE, "aes256", "AES_CBC_256-" PRFS "-" KES },
		{ PROTOCOL_IKE, "aes_gcm", "AES_GCM_16_256+AES_GCM_16_128-" PRFS "-" KES },
		{ PROTOCOL_IKE, "aes_gcm128-dh31", "AES_GCM_16_128-" PRFS "-DH31" },
		{ PROTOCOL_IKE, "chacha20_poly1305-sha2_256-x25519",
		  "CHACHA20_POLY1305-HMAC_SHA2_256-DH31" },
		{ PROTOCOL_IKE, "chacha20poly1305_256-sha2_256-x25519",
		  "CHACHA20_POLY1305-HMAC_SHA2_256-DH31" },
		{ PROTOCOL_IKE, "aes256-sha2_512+sha2_256-dh19+dh20",
		  "AES_CBC_256-HMAC_SHA2_512+HMAC_SHA2_256-DH19+DH20" },
		/* PRF, then INTEG; and the other way round */
		{ PROTOCOL_IKE, "aes256-sha2_512-sha2_256-dh19",
		  "AES_CBC_256-HMAC_SHA2_512-HMAC_SHA2_256_128-DH19" },
		{ PROTOCOL_IKE, "aes256-hmac_sha2_256_128-sha2_512-dh19",
		  "AES_CBC_256-HMAC_SHA2_512-HMAC_SHA2_256_128-DH19" },
		{ PROTOCOL_IKE, "aes256-sha2_256_128-dh19", "AES_CBC_256-HMAC_SHA2_256-DH19" },
		{ PROTOCOL_IKE, "aes_gcm256-none-sha2_512-dh19", "AES_GCM_16_256-HMAC_SHA2_512-DH19" },
		{ PROTOCOL_IKE, "aes_gcm256-sha2_512-none-dh19", "AES_GCM_16_256-HMAC_SHA2_512-DH19" },
		{ PROTOCOL_IKE, "aes128-sha2-dh19, aes_gcm256-sha2-dh19",
		  "AES_CBC_128-HMAC_SHA2_256-DH19, AES_GCM_16_256-HMAC_SHA2_256-DH19" },
		/* AEAD and not joined: two proposals */
		{ PROTOCOL_IKE, "aes128+aes_gcm256-sha2-dh19",
		  "AES_CBC_128-HMAC_SHA2_256-DH19, AES_GCM_16_256-HMAC_SHA2_256-DH19" },
		{ PROTOCOL_IKE, "aes256-sha2-dh19+dh19+ecp256", "AES_CBC_256-HMAC_SHA2_256-DH19" },
		{ PROTOCOL_IKE, "aes256-sha2;modp2048!", "AES_CBC_256-HMAC_SHA2_256-MODP2048" },
		{ PROTOCOL_ESP, "aes_gcm256", "AES_GCM_16_256" },
		{ PROTOCOL_ESP, "aes_gcm", "AES_GCM_16_256+AES_GCM_16_128" },
		{ PROTOCOL_ESP, "aes_gcm_c_128-none", "AES_GCM_16_128" },
		{ PROTOCOL_ESP, "aes_gcm256-dh19", "AES_GCM_16_256-DH19" },
		{ PROTOCOL_ESP, "aes_gcm256-none-dh19", "AES_GCM_16_256-DH19" },
		{ PROTOCOL_ESP, "aes_gcm256;none", "AES_GCM_16_256;NONE" },
		{ PROTOCOL_ESP, "aes256-sha2_256;modp2048", "AES_CBC_256-HMAC_SHA2_256_128-MODP2048" },
		{ PROTOCOL_ESP, "aes128-sha512", "AES_CBC_128-HMAC_SHA2_512_256" },
		{ PROTOCOL_ESP, "aes128", "AES_CBC_128-HMAC_SHA2_512_256+HMAC_SHA2_256_128" },
		{ PROTOCOL_ESP, "null-sha2_256", "NULL-HMAC_SHA2_256_128" },
		{ PROTOCOL_ESP, "aes128-sha2-dh19,aes256-sha2-dh20+none",
		  "AES_CBC_128-HMAC_SHA2_256_128-DH19, AES_CBC_256-HMAC_SHA2_256_128-DH20+NONE" },
		{ PROTOCOL_ESP, "chacha20_poly1305+aes256",
		  "CHACHA20_POLY1305, AES_CBC_256-HMAC_SHA2_512_256+HMAC_SHA2_256_128" },
	};
	static struct proposal_list list;
	char err[300], buf[4096];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!proposal_parse(rows[i].protocol, rows[i].text, &list, err, sizeof(err)))
			fail_msg("%s: %s", rows[i].text, err);
		assert_string_equal(proposal_list_format(&list, buf, sizeof(buf)), rows[i].shown);
		for (size_t k = 0; k < list.count; k++) {
			assert_int_equal(list.p[k].number, k + 1);
			assert_int_equal(list.p[k].protocol, rows[i].protocol);
			assert_int_equal(list.p[k].spi_size, 0);
		}
	}
}

static void bad(void **state)
{
	static const struct {
		enum ike_protocol protocol;
		const char *text, *error; /* how it begins */
	} rows[] = {
		{ PROTOCOL_IKE, "rot13", "IKE encryption algorithm 'rot13' is not recognized" },
		{ PROTOCOL_IKE, "aes-rot13", "IKE PRF algorithm 'rot13' is not recognized" },
		{ PROTOCOL_IKE, "aes-sha2-sha2-rot13", "IKE DH algorithm 'rot13' is not recognized" },
		{ PROTOCOL_IKE, "aes-sha2;modp1024", "IKE DH algorithm 'modp1024' is not supported: " },
		{ PROTOCOL_IKE, "aes-sha2-modp1024", "IKE DH algorithm 'modp1024' is not supported: " },
		{ PROTOCOL_IKE, "3des-sha2", "IKE encryption algorithm '3des' is not supported: " },
		{ PROTOCOL_IKE, "aes_ctr256", "IKE encryption algorithm 'aes_ctr256' is not supported: " },
		{ PROTOCOL_IKE, "aes-sha1", "IKE PRF algorithm 'sha1' is not supported: " },
		{ PROTOCOL_IKE, "aes-md5", "IKE PRF algorithm 'md5' is not supported: " },
		{ PROTOCOL_IKE, "null-sha2", "IKE encryption algorithm 'null' is not supported: " },
		{ PROTOCOL_IKE, "aes-sha2;none", "IKE DH algorithm 'none' is not supported: " },
		{ PROTOCOL_IKE, "aes64", "IKE encryption algorithm 'AES_CBC' has no key of 64 bits" },
		{ PROTOCOL_IKE, "aes-64", "IKE encryption algorithm 'AES_CBC' has no key of 64 bits" },
		{ PROTOCOL_IKE, "aes99999999", "IKE encryption algorithm 'aes99999999' is not recog" },
		{ PROTOCOL_IKE, "aes-99999999", "IKE PRF algorithm '99999999' is not recognized" },
		{ PROTOCOL_IKE, "", "IKE proposal is empty" },
		{ PROTOCOL_IKE, ",aes", "IKE proposal is empty" },
		{ PROTOCOL_IKE, "aes,", "IKE proposal is empty" },
		{ PROTOCOL_IKE, "aes,,aes", "IKE proposal is empty" },
		{ PROTOCOL_IKE, "-aes", "IKE encryption algorithm is empty" },
		{ PROTOCOL_IKE, "aes-", "IKE PRF algorithm is empty" },
		{ PROTOCOL_IKE, "aes+", "IKE encryption algorithm is empty" },
		{ PROTOCOL_IKE, "aes;", "IKE DH algorithm is empty" },
		{ PROTOCOL_IKE, "aes-dh19-sha2", "IKE proposal goes on with 'sha2' after its DH" },
		{ PROTOCOL_IKE, "aes;dh19;dh20", "IKE proposal has the DH algorithm twice" },
		{ PROTOCOL_IKE, "aes;dh19,aes;addke1=ml_kem_768", "IKE proposal has 'addke1=ml_kem_768'" },
		{ PROTOCOL_IKE, "aes_gcm-sha2-sha2-dh19", "AEAD IKE encryption algorithm AES_GCM_16 must" },
		{ PROTOCOL_IKE, "aes-sha2-none-dh19", "non-AEAD IKE encryption algorithm AES_CBC cannot" },
		{ PROTOCOL_ESP, "aes-rot13", "ESP integrity algorithm 'rot13' is not recognized" },
		{ PROTOCOL_ESP, "aes-sha1", "ESP integrity algorithm 'sha1' is not supported: " },
		{ PROTOCOL_ESP, "aes_gcm-sha2", "AEAD ESP encryption algorithm AES_GCM_16 must have" },
		{ PROTOCOL_ESP, "aes-none", "non-AEAD ESP encryption algorithm AES_CBC cannot have" },
		{ PROTOCOL_ESP, "aes-sha2;dh19,aes-sha2", "either all or no ESP proposals should" },
		{ PROTOCOL_ESP, "aes-sha2,aes-sha2;dh19", "either all or no ESP proposals should" },
		{ PROTOCOL_ESP, "aes-sha2-dh2", "ESP DH algorithm 'dh2' is not supported: " },
		{ PROTOCOL_ESP, "aes-sha2-dh19-dh19", "ESP proposal goes on with 'dh19' after its DH" },
		{ PROTOCOL_ESP, "aes_gcm_8", "ESP encryption algorithm 'aes_gcm_8' is not supported: " },
		{ PROTOCOL_ESP, "aes_gcm_8_128", "ESP encryption algorithm 'aes_gcm_8_128' is not supp" },
		{ PROTOCOL_IKE,
		  "aes+aes+aes+aes+aes+aes+aes+aes+aes+aes+aes+aes+aes+aes+aes+aes+aes",
		  "IKE proposal has more than 16 encryption algorithms" },
		{ PROTOCOL_ESP,
		  "aes,aes,aes,aes,aes,aes,aes,aes,aes,aes,aes,aes,aes,aes,aes,aes,aes,aes,aes,aes,aes,aes,"
		  "aes,aes,aes",
		  "there are more than 24 ESP proposals" },
	};
	static struct proposal_list list;
	char err[300];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		err[0] = '\0';
		if (proposal_parse(rows[i].protocol, rows[i].text, &list, err, sizeof(err)))
			fail_msg("'%s' was accepted", rows[i].text);
		assert_int_equal(list.count, 0);
		if (strncmp(err, rows[i].error, strlen(rows[i].error)) != 0)
			fail_msg("'%s': %s", rows[i].text, err);
	}
	assert_false(proposal_parse(PROTOCOL_IKE, "rot13", &list, NULL, 0));
}

/* Any text of these characters is taken or refused with a sentence, and what is taken reads back. */
static void random_texts(void **state)
{
	static const char *const words[] = { "aes",  "aes_gcm", "256", "128", "sha2", "sha2_512", "none",
					     "dh19", "modp2048", "-",	"-",   "-",   "+",	  ",",
					     ";",    "_",	"=",   "null", " ",   "chacha20_poly1305" };
	static struct proposal_list list, again;
	unsigned seed = 3, taken = 0;
	char text[256], err[300], shown[4096], shown_again[4096];

	(void)state;
	for (int i = 0; i < 20000; i++) {
		int n = 1 + rand_r(&seed) % 8;

		text[0] = '\0';
		while (n-- > 0)
			strcat(text, words[(unsigned)rand_r(&seed) % 20]);
		enum ike_protocol protocol = i % 2 ? PROTOCOL_IKE : PROTOCOL_ESP;
		err[0] = '\0';
		if (!proposal_parse(protocol, text, &list, err, sizeof(err))) {
			assert_true(strlen(err) > 10);
			continue;
		}
		taken++;
		assert_true(list.count > 0);
		proposal_list_format(&list, shown, sizeof(shown));
		if (!proposal_parse(protocol, shown, &again, err, sizeof(err)))
			fail_msg("'%s' became '%s': %s", text, shown, err);
		proposal_list_format(&again, shown_again, sizeof(shown_again));
		assert_string_equal(shown, shown_again);
	}
	assert_true(taken > 500);
}

static void defaults(void **state)
{
	static struct proposal_list list;
	char buf[4096];

	(void)state;
	proposal_default(PROTOCOL_IKE, &list);
	assert_string_equal(proposal_list_format(&list, buf, sizeof(buf)),
			    "AES_GCM_16_256-" PRFS "-" KES ", AES_GCM_16_128-" PRFS "-" KES
			    ", CHACHA20_POLY1305-" PRFS "-" KES ", AES_CBC_256-" PRFS "-" KES
			    ", AES_CBC_128-" PRFS "-" KES);
	assert_int_equal(proposal_first_ke(&list), KE_ECP256);
	proposal_default(PROTOCOL_ESP, &list);
	assert_int_equal(proposal_first_ke(&list), KE_NONE);
	assert_false(proposal_list_has_ke(&list));
	proposal_set_esn(&list, true, true);
	proposal_add_ke(&list, KE_ECP256);
	assert_true(proposal_has_ke(&list.p[4], KE_ECP256));
	assert_string_equal(proposal_list_format(&list, buf, sizeof(buf)),
			    "AES_GCM_16_256-DH19-ESN:YES+NO, AES_GCM_16_128-DH19-ESN:YES+NO, "
			    "CHACHA20_POLY1305-DH19-ESN:YES+NO, "
			    "AES_CBC_256-HMAC_SHA2_512_256+HMAC_SHA2_256_128-DH19-ESN:YES+NO, "
			    "AES_CBC_128-HMAC_SHA2_512_256+HMAC_SHA2_256_128-DH19-ESN:YES+NO");
	proposal_strip_ke(&list);
	proposal_set_esn(&list, false, true);
	assert_string_equal(proposal_format(&list.p[0], buf, sizeof(buf)), "AES_GCM_16_256-ESN:NO");
}

static void formatting_is_bounded(void **state)
{
	static struct proposal_list list;

	(void)state;
	proposal_default(PROTOCOL_IKE, &list);
	for (size_t len = 1; len < 100; len++) {
		char *buf = malloc(len);

		assert_non_null(buf);
		proposal_list_format(&list, buf, len);
		assert_true(strlen(buf) < len);
		if (len > 4)
			assert_string_equal(buf + len - 4, "...");
		free(buf);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good),	    cmocka_unit_test(bad),
		cmocka_unit_test(defaults), cmocka_unit_test(random_texts),
		cmocka_unit_test(formatting_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
