/* proposal.h: the choice of RFC 7296 §3.3.6, as responder and as initiator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/proposal.h"

static struct proposal_list parse(enum ike_protocol protocol, const char *text)
{
	struct proposal_list list;
	char err[300];

	if (!proposal_parse(protocol, text, &list, err, sizeof(err)))
		fail_msg("%s: %s", text, err);
	proposal_set_esn(&list, true, true);
	return list;
}

static void choices(void **state)
{
	static const struct {
		enum ike_protocol protocol;
		const char *ours, *theirs, *suite; /* NULL: nothing fits */
		unsigned number;
	} rows[] = {
		{ PROTOCOL_IKE, "aes_gcm256-sha2-dh19", "aes_gcm256-sha2-dh19",
		  "{cipher=AES_GCM_16_256 integ=n/a prf=HMAC_SHA2_256 ke=DH19}", 1 },
		/* our order of proposals decides, not theirs */
		{ PROTOCOL_IKE, "aes_gcm256-sha2-dh19,aes256-sha2-dh19",
		  "aes128-sha2-dh19,aes256-sha2-dh19,aes_gcm256-sha2-dh19",
		  "{cipher=AES_GCM_16_256 integ=n/a prf=HMAC_SHA2_256 ke=DH19}", 3 },
		/* within a proposal, our order of transforms */
		{ PROTOCOL_IKE, "aes256+aes128-sha2_512+sha2_256-dh31+dh19",
		  "aes128+aes256-sha2_256+sha2_512-dh19+dh31",
		  "{cipher=AES_CBC_256 integ=HMAC_SHA2_512_256 prf=HMAC_SHA2_512 ke=DH31}", 1 },
		{ PROTOCOL_IKE, "aes256-sha2-dh19", "aes128-sha2-dh19", NULL, 0 },
		{ PROTOCOL_IKE, "aes256-sha2-dh19", "aes256-sha2-dh20", NULL, 0 },
		{ PROTOCOL_IKE, "aes256-sha2-dh19", "aes256-sha512-dh19", NULL, 0 },
		{ PROTOCOL_IKE, "aes256-sha2-dh19", "aes_gcm256-sha2-dh19", NULL, 0 },
		{ PROTOCOL_IKE, "chacha20_poly1305-sha2-dh31", "aes256-sha2-dh31,chacha20-sha2-dh31",
		  "{cipher=CHACHA20_POLY1305 integ=n/a prf=HMAC_SHA2_256 ke=DH31}", 2 },
		{ PROTOCOL_ESP, "aes_gcm256", "aes_gcm256", "AES_GCM_16_256", 1 },
		{ PROTOCOL_ESP, "aes256-sha2", "aes_gcm256,aes256-sha512+sha2",
		  "AES_CBC_256-HMAC_SHA2_256_128", 2 },
		{ PROTOCOL_ESP, "aes_gcm256-dh19", "aes_gcm256-dh20+dh19", "AES_GCM_16_256-DH19", 1 },
		/* KE NONE is the same as none */
		{ PROTOCOL_ESP, "aes_gcm256", "aes_gcm256;dh19", NULL, 0 },
		{ PROTOCOL_ESP, "aes_gcm256", "aes_gcm256;dh19+none", "AES_GCM_16_256", 1 },
		{ PROTOCOL_ESP, "aes_gcm256;dh19", "aes_gcm256", NULL, 0 },
		{ PROTOCOL_ESP, "aes_gcm256;dh19+none", "aes_gcm256", "AES_GCM_16_256", 1 },
		{ PROTOCOL_ESP, "null-sha2", "null-sha2", "NULL-HMAC_SHA2_256_128", 1 },
	};
	struct proposal chosen;
	struct cipher_suite suite, accepted;
	char buf[200];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct proposal_list ours = parse(rows[i].protocol, rows[i].ours);
		struct proposal_list theirs = parse(rows[i].protocol, rows[i].theirs);
		bool any = proposal_choose(&ours, &theirs, &chosen, &suite);

		if (any != (rows[i].suite != NULL))
			fail_msg("row %zu", i);
		if (!any) {
			assert_null(suite.encr);
			continue;
		}
		if (rows[i].protocol == PROTOCOL_IKE)
			suite_format_ike(&suite, buf, sizeof(buf));
		else
			suite_format_esp(&suite, buf, sizeof(buf));
		assert_string_equal(buf, rows[i].suite);
		assert_int_equal(chosen.number, rows[i].number);
		assert_int_equal(suite.esn, rows[i].protocol == PROTOCOL_ESP);
		/* The initiator takes the answer, with the same result. */
		assert_true(proposal_accept(&theirs, &chosen, &accepted));
		assert_memory_equal(&accepted, &suite, sizeof(suite));
		chosen.number++;
		assert_false(proposal_accept(&theirs, &chosen, &accepted) &&
			     theirs.count < chosen.number);
	}
}

/* A list with one proposal of the given transforms; type 0 ends. */
static struct proposal_list raw(enum ike_protocol protocol, const struct transform *t)
{
	struct proposal_list list = { .count = 1 };

	list.p[0].number = 1;
	list.p[0].protocol = (uint8_t)protocol;
	for (; t->type != 0; t++)
		list.p[0].transforms[list.p[0].count++] = *t;
	return list;
}

static void wire_oddities(void **state)
{
	static const struct {
		enum ike_protocol protocol;
		const char *ours;
		struct transform theirs[10];
		int count; /* of transforms in the answer; -1: nothing fits */
		const char *why;
	} rows[] = {
		{ PROTOCOL_ESP, "aes_gcm256", { { 1, 20, 256 }, { 5, 0, 0 } }, 2, "plain" },
		{ PROTOCOL_ESP, "aes_gcm256", { { 1, 20, 256 }, { 3, 0, 0 }, { 5, 0, 0 } }, 3,
		  "AEAD with INTEG NONE; the answer has it too" },
		{ PROTOCOL_ESP, "aes_gcm256", { { 1, 20, 256 }, { 4, 0, 0 }, { 5, 1, 0 } }, 3,
		  "KE NONE is answered" },
		{ PROTOCOL_ESP, "aes_gcm256", { { 1, 20, 256 }, { 3, 12, 0 }, { 5, 0, 0 } }, -1,
		  "AEAD with an integrity algorithm" },
		{ PROTOCOL_ESP, "aes_gcm256", { { 1, 20, 256 } }, -1, "ESN is mandatory" },
		{ PROTOCOL_ESP, "aes_gcm256", { { 1, 20, 0 }, { 5, 0, 0 } }, -1, "no Key Length" },
		{ PROTOCOL_ESP, "aes_gcm256", { { 1, 20, 128 }, { 5, 0, 0 } }, -1, "other Key Length" },
		{ PROTOCOL_ESP, "chacha20", { { 1, 28, 0 }, { 5, 0, 0 } }, 2, "fixed key size" },
		{ PROTOCOL_ESP, "chacha20", { { 1, 28, 256 }, { 5, 0, 0 } }, -1,
		  "Key Length where none may be (RFC 7634)" },
		{ PROTOCOL_ESP, "aes_gcm256", { { 1, 20, 256 }, { 5, 0, 0 }, { 6, 36, 0 } }, -1,
		  "a type that we do not know" },
		{ PROTOCOL_ESP, "aes_gcm256", { { 1, 20, 256 }, { 5, 0, 0 }, { 241, 1, 0 } }, -1,
		  "a private type" },
		{ PROTOCOL_ESP, "aes_gcm256", { { 1, 20, 256 }, { 2, 5, 0 }, { 5, 0, 0 } }, -1,
		  "a PRF in ESP" },
		{ PROTOCOL_ESP, "aes_gcm256", { { 1, 999, 256 }, { 1, 20, 256 }, { 5, 7, 0 }, { 5, 0, 0 } },
		  2, "unknown transforms beside known ones" },
		{ PROTOCOL_ESP, "aes_gcm256", { { 5, 0, 0 } }, -1, "no cipher" },
		{ PROTOCOL_ESP, "aes_gcm256", { { 0, 0, 0 } }, -1, "nothing at all" },
		{ PROTOCOL_ESP, "aes256-sha2", { { 1, 12, 256 }, { 5, 0, 0 } }, -1, "no integrity" },
		{ PROTOCOL_ESP, "aes256-sha2", { { 1, 12, 256 }, { 3, 0, 0 }, { 5, 0, 0 } }, -1,
		  "integrity NONE" },
		{ PROTOCOL_IKE, "aes_gcm256-sha2-dh19", { { 1, 20, 256 }, { 2, 5, 0 }, { 4, 19, 0 } }, 3,
		  "plain" },
		{ PROTOCOL_IKE, "aes_gcm256-sha2-dh19",
		  { { 1, 20, 256 }, { 2, 5, 0 }, { 3, 0, 0 }, { 4, 19, 0 } }, 4, "INTEG NONE" },
		{ PROTOCOL_IKE, "aes_gcm256-sha2-dh19", { { 1, 20, 256 }, { 4, 19, 0 } }, -1, "no PRF" },
		{ PROTOCOL_IKE, "aes_gcm256-sha2-dh19", { { 1, 20, 256 }, { 2, 5, 0 } }, -1, "no KE" },
		{ PROTOCOL_IKE, "aes_gcm256-sha2-dh19",
		  { { 1, 20, 256 }, { 2, 5, 0 }, { 4, 19, 0 }, { 5, 0, 0 } }, -1, "ESN in IKE" },
	};
	struct proposal chosen;
	struct cipher_suite suite;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct proposal_list ours = parse(rows[i].protocol, rows[i].ours);
		struct proposal_list theirs = raw(rows[i].protocol, rows[i].theirs);
		bool any = proposal_choose(&ours, &theirs, &chosen, &suite);

		if (any != (rows[i].count >= 0))
			fail_msg("%s", rows[i].why);
		assert_int_equal(chosen.count, any ? rows[i].count : 0);
		theirs.p[0].protocol = PROTOCOL_AH;
		assert_false(proposal_choose(&ours, &theirs, &chosen, &suite));
	}
}

static void answers_that_are_none(void **state)
{
	static const struct {
		const char *ours;
		struct transform answer[10];
		bool ok;
	} rows[] = {
		{ "aes_gcm256+aes_gcm128", { { 1, 20, 128 }, { 5, 0, 0 } }, true },
		{ "aes_gcm256+aes_gcm128", { { 1, 20, 192 }, { 5, 0, 0 } }, false },
		{ "aes_gcm256", { { 1, 20, 256 }, { 1, 20, 256 }, { 5, 0, 0 } }, false },
		{ "aes_gcm256", { { 1, 20, 256 }, { 5, 0, 0 }, { 5, 1, 0 } }, false },
		{ "aes_gcm256;dh19", { { 1, 20, 256 }, { 5, 0, 0 } }, false },
		{ "aes_gcm256;dh19", { { 1, 20, 256 }, { 4, 20, 0 }, { 5, 0, 0 } }, false },
		{ "aes_gcm256", { { 1, 20, 256 }, { 4, 19, 0 }, { 5, 0, 0 } }, false },
		{ "aes_gcm256", { { 1, 20, 256 }, { 3, 0, 0 }, { 5, 0, 0 } }, true },
		{ "aes256-sha2", { { 1, 12, 256 }, { 5, 0, 0 } }, false },
	};
	struct cipher_suite suite;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct proposal_list ours = parse(PROTOCOL_ESP, rows[i].ours);
		struct proposal_list answer = raw(PROTOCOL_ESP, rows[i].answer);

		if (proposal_accept(&ours, &answer.p[0], &suite) != rows[i].ok)
			fail_msg("row %zu", i);
		assert_int_equal(suite.encr != NULL, rows[i].ok);
	}
}

static void suite_to_proposal(void **state)
{
	struct proposal_list ours = parse(PROTOCOL_IKE, "chacha20-sha2-dh31,aes128-sha512-dh19");
	struct proposal_list again;
	struct proposal chosen;
	struct cipher_suite suite, same;
	char buf[200];

	(void)state;
	assert_true(proposal_choose(&ours, &ours, &chosen, &suite));
	proposal_from_suite(PROTOCOL_IKE, &suite, &again);
	assert_string_equal(proposal_list_format(&again, buf, sizeof(buf)),
			    "CHACHA20_POLY1305-HMAC_SHA2_256-DH31");
	assert_true(proposal_choose(&ours, &again, &chosen, &same));
	assert_memory_equal(&suite, &same, sizeof(suite));
	ours = parse(PROTOCOL_ESP, "aes128-sha512;dh19");
	assert_true(proposal_choose(&ours, &ours, &chosen, &suite));
	proposal_from_suite(PROTOCOL_ESP, &suite, &again);
	assert_string_equal(proposal_list_format(&again, buf, sizeof(buf)),
			    "AES_CBC_128-HMAC_SHA2_512_256-DH19-ESN:YES");
}

static void spi_of_theirs_is_kept(void **state)
{
	struct proposal_list ours = parse(PROTOCOL_ESP, "aes_gcm256"), theirs = ours;
	struct proposal chosen;
	struct cipher_suite suite;

	(void)state;
	theirs.p[0].spi_size = 4;
	memcpy(theirs.p[0].spi, "\x01\x02\x03\x04", 4);
	theirs.p[0].number = 9;
	assert_true(proposal_choose(&ours, &theirs, &chosen, &suite));
	assert_int_equal(chosen.spi_size, 4);
	assert_memory_equal(chosen.spi, "\x01\x02\x03\x04", 4);
	assert_int_equal(chosen.number, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(choices),
		cmocka_unit_test(wire_oddities),
		cmocka_unit_test(answers_that_are_none),
		cmocka_unit_test(suite_to_proposal),
		cmocka_unit_test(spi_of_theirs_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
