/* What the decoder of IKEv2 messages refuses, skips and limits: RFC 7296 §2.5 and §3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hex.h"
#include "ike/message.h"
#include "vectors.h"

static struct message m; /* large; one is enough */

/* Decodes an exchange whose payloads are `body`; the header is put in front. */
static enum decode_status decode_body(uint8_t exchange, bool response, uint8_t first, const char *body)
{
	struct blob b = hex(body);
	size_t len = IKE_HEADER_BYTES + b.len;
	uint8_t *p = calloc(1, len);
	enum decode_status status;

	p[7] = 1;
	p[16] = first;
	p[17] = 0x20;
	p[18] = exchange;
	p[19] = response ? 0x20 : 0x08;
	p[26] = (uint8_t)(len >> 8);
	p[27] = (uint8_t)len;
	memcpy(p + IKE_HEADER_BYTES, b.ptr, b.len);
	status = message_decode_clear(BYTES(p, len), &m);
	free(b.ptr);
	free(p);
	return status;
}

static void check_ts(const struct ts_list *ts, const char *want)
{
	char text[256];

	assert_string_equal(ts_list_format(ts, text, sizeof(text)), want);
}

static void check_transform(const struct proposal *p, size_t i, uint8_t type, uint16_t id, uint16_t bits)
{
	assert_true(i < p->count);
	assert_int_equal(p->transforms[i].type, type);
	assert_int_equal(p->transforms[i].id, id);
	assert_int_equal(p->transforms[i].key_bits, bits);
}

static void headers(void **state)
{
	struct blob b = hex(libreswan_init_request);
	struct ike_header h;

	(void)state;
	b.ptr[17] = 0x10;
	assert_int_equal(message_decode_header(BYTES(b.ptr, b.len), &h), DECODE_VERSION);
	assert_true(h.spi_i != 0); /* who answers INVALID_MAJOR_VERSION needs it */
	b.ptr[17] = 0x30;
	assert_int_equal(message_decode_header(BYTES(b.ptr, b.len), &h), DECODE_VERSION);
	b.ptr[17] = 0x2f; /* §3.1: minor versions are ignored */
	assert_int_equal(message_decode_clear(BYTES(b.ptr, b.len), &m), DECODE_OK);
	b.ptr[18] = 33;
	assert_int_equal(message_decode_header(BYTES(b.ptr, b.len), &h), DECODE_SYNTAX);
	b.ptr[18] = 38;
	assert_int_equal(message_decode_header(BYTES(b.ptr, b.len), &h), DECODE_SYNTAX);
	b.ptr[18] = 34;
	memset(b.ptr, 0, 8);
	assert_int_equal(message_decode_header(BYTES(b.ptr, b.len), &h), DECODE_SYNTAX);
	b.ptr[7] = 1;
	b.ptr[27]++;
	assert_int_equal(message_decode_header(BYTES(b.ptr, b.len), &h), DECODE_SHORT);
	b.ptr[27] -= 2;
	assert_int_equal(message_decode_header(BYTES(b.ptr, b.len), &h), DECODE_SHORT);
	assert_int_equal(message_decode_header(BYTES(b.ptr, 27), &h), DECODE_SHORT);
	assert_int_equal(message_decode_header(BYTES(NULL, 0), &h), DECODE_SHORT);
	free(b.ptr);
}

struct bad {
	uint8_t exchange;
	bool response;
	uint8_t first;
	enum decode_status want;
	const char *body;
};

static void refused(void **state)
{
	static const struct bad cases[] = {
		/* generic header */
		{ 37, false, 0, DECODE_OK, "" },
		{ 37, false, 0, DECODE_SHORT, "00" },
		{ 37, false, 43, DECODE_OK, "00000004" },
		{ 37, false, 43, DECODE_SHORT, "00000003" },
		{ 37, false, 43, DECODE_SHORT, "000000" },
		{ 37, false, 43, DECODE_SHORT, "00000005" },
		{ 37, false, 43, DECODE_SHORT, "0000000400" },
		{ 37, false, 43, DECODE_SHORT, "2b000004" },
		{ 37, false, 46, DECODE_NOT_PROTECTED, "00000008 00000000" },
		/* SA: one proposal of ESP with one transform; then its variations */
		{ 36, false, 33, DECODE_OK, "00000018 00000014 01030401 deadbeef 00000008 0100000b" },
		{ 36, false, 33, DECODE_SYNTAX, "00000018 00000014 02030401 deadbeef 00000008 0100000b" },
		{ 36, true, 33, DECODE_OK, "00000018 00000014 02030401 deadbeef 00000008 0100000b" },
		{ 36, true, 33, DECODE_SYNTAX, "00000018 00000014 00030401 deadbeef 00000008 0100000b" },
		{ 36, false, 33, DECODE_SHORT, "00000018 02000014 01030401 deadbeef 00000008 0100000b" },
		{ 36, false, 33, DECODE_SYNTAX, "00000018 01000014 01030401 deadbeef 00000008 0100000b" },
		{ 36, false, 33, DECODE_SYNTAX, "00000018 00000014 01030401 deadbeef 03000008 0100000b" },
		{ 36, false, 33, DECODE_SHORT, "00000018 00000014 01030402 deadbeef 03000008 0100000b" },
		{ 36, false, 33, DECODE_SYNTAX, "00000010 0000000c 01030400 deadbeef" },
		{ 36, false, 33, DECODE_SYNTAX, "0000001c 00000018 01030801 deadbeefdeadbeef 00000008 0100000b" },
		{ 36, false, 33, DECODE_SYNTAX, "00000018 00000014 01010401 deadbeef 00000008 0100000b" },
		{ 34, false, 33, DECODE_OK, "00000014 00000010 01010001 00000008 0100000b" },
		{ 36, false, 33, DECODE_SYNTAX, "00000014 00000010 01010001 00000008 0100000b" },
		{ 34, false, 33, DECODE_SYNTAX, "0000001c 00000018 01010801 deadbeefdeadbeef 00000008 0100000b" },
		{ 36, false, 33, DECODE_SHORT, "00000018 00000013 01030401 deadbeef 00000008 0100000b" },
		{ 36, false, 33, DECODE_SHORT, "00000018 00000007 01030401 deadbeef 00000008 0100000b" },
		{ 36, false, 33, DECODE_SHORT, "00000018 00000015 01030401 deadbeef 00000008 0100000b" },
		{ 36, false, 33, DECODE_SHORT, "00000018 00000014 01030401 deadbeef 00000007 0100000b" },
		{ 36, false, 33, DECODE_SHORT, "00000018 00000014 01030401 deadbeef 00000009 0100000b" },
		{ 36, false, 33, DECODE_SHORT, "00000004" },
		{ 36, false, 33, DECODE_SYNTAX, "00000018 00000014 0103ff01 deadbeef 00000008 0100000b" },
		/* attributes that do not fit in their transform */
		{ 36, false, 33, DECODE_SHORT, "0000001a 00000016 01030401 deadbeef 0000000a 0100000c 800e" },
		{ 36, false, 33, DECODE_SHORT, "0000001c 00000018 01030401 deadbeef 0000000c 0100000c 000e0001" },
		/* KE, nonce, AUTH */
		{ 34, false, 34, DECODE_OK, "00000009 00130000 aa" },
		{ 34, false, 34, DECODE_SYNTAX, "00000008 00130000" },
		{ 34, false, 34, DECODE_SHORT, "00000007 001300" },
		{ 34, false, 40, DECODE_OK, "00000014 00112233445566778899aabbccddeeff" },
		{ 34, false, 40, DECODE_SYNTAX, "00000013 00112233445566778899aabbccddee" },
		{ 35, false, 39, DECODE_OK, "00000009 02000000 aa" },
		{ 35, false, 39, DECODE_SYNTAX, "00000008 02000000" },
		{ 35, false, 39, DECODE_SHORT, "00000006 0200" },
		/* identities */
		{ 35, false, 35, DECODE_OK, "0000000c 01000000 c0000201" },
		{ 35, false, 35, DECODE_SYNTAX, "0000000b 01000000 c00002" },
		{ 35, false, 36, DECODE_SYNTAX, "0000000c 05000000 c0000201" },
		{ 35, false, 35, DECODE_SHORT, "00000007 010000" },
		/* twice */
		{ 34, false, 34, DECODE_TWICE, "22000009 00130000 aa 00000009 00130000 aa" },
		{ 35, false, 35, DECODE_TWICE, "2300000c 01000000 c0000201 0000000c 01000000 c0000201" },
		/* notify */
		{ 37, false, 41, DECODE_OK, "00000008 00004000" },
		{ 37, false, 41, DECODE_OK, "00000008 0100000e" },
		{ 37, false, 41, DECODE_SHORT, "00000007 000040" },
		{ 37, false, 41, DECODE_SHORT, "00000008 00044000" },
		{ 37, false, 41, DECODE_SYNTAX, "0000000b 00034000 000000" },
		{ 36, false, 41, DECODE_OK, "0000000c 03044009 00000000" },
		{ 36, false, 41, DECODE_SYNTAX, "00000008 03004009" },
		{ 36, false, 41, DECODE_SYNTAX, "0000000c 01044009 00000000" },
		{ 34, true, 41, DECODE_OK, "0000000a 00000011 0013" },
		{ 34, true, 41, DECODE_SYNTAX, "0000000b 00000011 001300" },
		{ 34, true, 41, DECODE_SYNTAX, "00000008 00004006" },
		/* delete */
		{ 37, false, 42, DECODE_OK, "00000008 01000000" },
		{ 37, false, 42, DECODE_SYNTAX, "0000000c 01040001 00000000" },
		{ 37, false, 42, DECODE_SYNTAX, "00000008 01000001" },
		{ 37, false, 42, DECODE_OK, "0000000c 03040001 00000000" },
		{ 37, false, 42, DECODE_SHORT, "0000000c 03040002 00000000" },
		{ 37, false, 42, DECODE_SHORT, "0000000c 03040000 00000000" },
		{ 37, false, 42, DECODE_SYNTAX, "0000000a 03020001 0000" },
		{ 37, false, 42, DECODE_SYNTAX, "0000000c 09040001 00000000" },
		{ 37, false, 42, DECODE_SHORT, "00000007 030400" },
		/* traffic selectors */
		{ 35, false, 44, DECODE_OK, "00000018 01000000 07000010 0000ffff c0000200 c00002ff" },
		{ 35, false, 44, DECODE_SYNTAX, "00000008 00000000" },
		{ 35, false, 44, DECODE_SYNTAX, "00000018 01000000 07000010 0000ffff c00002ff c0000200" },
		{ 35, false, 44, DECODE_SYNTAX, "00000018 01000000 07000010 00020001 c0000200 c00002ff" },
		{ 35, false, 44, DECODE_OK, "00000018 01000000 07000010 ffff0000 c0000200 c00002ff" },
		{ 35, false, 44, DECODE_SHORT, "00000018 01000000 08000010 0000ffff c0000200 c00002ff" },
		{ 35, false, 44, DECODE_SHORT, "00000018 01000000 0700000f 0000ffff c0000200 c00002ff" },
		{ 35, false, 44, DECODE_SHORT, "00000018 02000000 07000010 0000ffff c0000200 c00002ff" },
		{ 35, false, 44, DECODE_SHORT, "00000019 01000000 07000010 0000ffff c0000200 c00002ff 00" },
		{ 35, false, 44, DECODE_SHORT, "0000000c 01000000 07000003" },
		/* those that we do not use */
		{ 35, false, 37, DECODE_SHORT, "00000004" },
		{ 35, false, 47, DECODE_SHORT, "00000007 000000" },
		{ 35, false, 48, DECODE_OK, "00000008 01000004" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct bad *c = &cases[i];
		enum decode_status got = decode_body(c->exchange, c->response, c->first, c->body);

		if (got != c->want)
			fail_msg("case %zu (%s): %s, not %s", i, c->body, decode_status_text(got),
				 decode_status_text(c->want));
	}
}

/* §2.5: payloads that we do not know are skipped unless they are marked critical. */
static void unknown_payloads(void **state)
{
	(void)state;
	assert_int_equal(decode_body(37, false, 53, "c8000006 aabb 00000004"), DECODE_OK);
	assert_int_equal(m.unknown_critical, 0);
	assert_int_equal(decode_body(37, false, 53, "c8000006 aabb 00800004"), DECODE_OK);
	assert_int_equal(m.unknown_critical, 200);
	assert_int_equal(decode_body(37, false, 1, "00800004"), DECODE_OK);
	assert_int_equal(m.unknown_critical, 1);
	/* The bit on a payload that we know is ignored. */
	assert_int_equal(decode_body(37, false, 43, "00800004"), DECODE_OK);
	assert_int_equal(m.unknown_critical, 0);
}

/* §3.3.6: a transform with an attribute that we do not know can never be chosen. */
static void unknown_attributes(void **state)
{
	static const char *const unfit[] = {
		"00000020 0000001c 01030401 deadbeef 00000010 0100000c 800e0080 80110001",
		"00000020 0000001c 01030401 deadbeef 00000010 0100000c 800e0080 00110000",
		"00000020 0000001c 01030401 deadbeef 00000010 0100000c 800e0080 800e0080",
		"0000001c 00000018 01030401 deadbeef 0000000c 0100000c 800e0000",
		"0000001c 00000018 01030401 deadbeef 0000000c 0300000c 800e0080",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(unfit) / sizeof(unfit[0]); i++) {
		assert_int_equal(decode_body(36, false, 33, unfit[i]), DECODE_OK);
		assert_int_equal(m.sa.p[0].count, 1);
		assert_int_equal(m.sa.p[0].transforms[0].id, 0xffff);
		assert_int_equal(m.sa.p[0].transforms[0].key_bits, 0);
	}
	assert_int_equal(decode_body(36, false, 33,
				     "0000001c 00000018 01030401 deadbeef 0000000c 0100000c 800e0080"),
			 DECODE_OK);
	check_transform(&m.sa.p[0], 0, TRANSFORM_ENCR, ENCR_AES_CBC, 128);
}

/* A selector of another type is left out, its neighbours stay. */
static void unknown_selectors(void **state)
{
	(void)state;
	assert_int_equal(decode_body(35, false, 44,
				     "00000020 02000000 0a000008 01020304 07000010 0000ffff c0000200 c00002ff"),
			 DECODE_OK);
	check_ts(&m.tsi, "192.0.2.0/24");
	assert_int_equal(decode_body(35, false, 44, "00000010 01000000 0a000008 01020304"), DECODE_OK);
	assert_int_equal(m.tsi.count, 0);
}

/* `head`, then `count` times `item`, decoded as one message. */
static enum decode_status decode_many(uint8_t exchange, uint8_t first, const char *head, const char *item,
				      size_t count, const char *tail)
{
	char *s = calloc(1, strlen(head) + strlen(item) * count + strlen(tail) + 1);
	enum decode_status status;

	strcpy(s, head);
	while (count-- > 0)
		strcat(s, item);
	strcat(s, tail);
	status = decode_body(exchange, false, first, s);
	free(s);
	return status;
}

static void limits(void **state)
{
	char head[64];

	(void)state;
	assert_int_equal(decode_many(37, 41, "", "29000008 00004000", MESSAGE_NOTIFIES_MAX - 1,
				     "00000008 00004000"), DECODE_OK);
	assert_int_equal(decode_many(37, 41, "", "29000008 00004000", MESSAGE_NOTIFIES_MAX,
				     "00000008 00004000"), DECODE_LIMIT);
	assert_int_equal(decode_many(37, 42, "", "2a000008 01000000", MESSAGE_DELETES_MAX,
				     "00000008 01000000"), DECODE_LIMIT);
	assert_int_equal(decode_many(37, 43, "", "2b000004", MESSAGE_PAYLOADS_MAX - 1, "00000004"),
			 DECODE_OK);
	assert_int_equal(decode_many(37, 43, "", "2b000004", MESSAGE_PAYLOADS_MAX, "00000004"),
			 DECODE_LIMIT);
	snprintf(head, sizeof(head), "0000%04x 0304%04x", 8 + 4 * DELETE_SPIS_MAX, DELETE_SPIS_MAX);
	assert_int_equal(decode_many(37, 42, head, "00000001", DELETE_SPIS_MAX, ""), DECODE_OK);
	snprintf(head, sizeof(head), "0000%04x 0304%04x", 12 + 4 * DELETE_SPIS_MAX, DELETE_SPIS_MAX + 1);
	assert_int_equal(decode_many(37, 42, head, "00000001", DELETE_SPIS_MAX + 1, ""), DECODE_LIMIT);
	snprintf(head, sizeof(head), "0000%04x %02x000000", 8 + 16 * TS_LIST_MAX, TS_LIST_MAX);
	assert_int_equal(decode_many(35, 44, head, "07000010 0000ffff c0000200 c00002ff", TS_LIST_MAX, ""),
			 DECODE_OK);
	snprintf(head, sizeof(head), "0000%04x %02x000000", 24 + 16 * TS_LIST_MAX, TS_LIST_MAX + 1);
	assert_int_equal(decode_many(35, 44, head, "07000010 0000ffff c0000200 c00002ff", TS_LIST_MAX + 1, ""),
			 DECODE_LIMIT);
	snprintf(head, sizeof(head), "0000%04x 02000000", 8 + IDENTITY_MAX);
	assert_int_equal(decode_many(35, 35, head, "61", IDENTITY_MAX, ""), DECODE_OK);
	snprintf(head, sizeof(head), "0000%04x 02000000", 9 + IDENTITY_MAX);
	assert_int_equal(decode_many(35, 35, head, "61", IDENTITY_MAX + 1, ""), DECODE_LIMIT);
	snprintf(head, sizeof(head), "0000%04x", 4 + NONCE_MAX + 1);
	assert_int_equal(decode_many(34, 40, head, "61", NONCE_MAX + 1, ""), DECODE_SYNTAX);
	snprintf(head, sizeof(head), "0000%04x 0000%04x 010304%02x 00000001", 16 + 8 * (PROPOSAL_TRANSFORMS_MAX + 1),
		 12 + 8 * (PROPOSAL_TRANSFORMS_MAX + 1), PROPOSAL_TRANSFORMS_MAX + 1);
	assert_int_equal(decode_many(36, 33, head, "03000008 0100000b", PROPOSAL_TRANSFORMS_MAX,
				     "00000008 0100000b"), DECODE_LIMIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers),
		cmocka_unit_test(refused),
		cmocka_unit_test(unknown_payloads),
		cmocka_unit_test(unknown_attributes),
		cmocka_unit_test(unknown_selectors),
		cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests_name("ike.message_refused", tests, NULL, NULL);
}
