/* identity.h and distinguished_name.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/distinguished_name.h"
#include "net/identity.h"

static struct identity parse(const char *s)
{
	struct identity id;
	char err[200] = "";

	if (!identity_parse(s, &id, err, sizeof(err)))
		fail_msg("'%s': %s", s, err);
	return id;
}

static void spellings(void **state)
{
	static const struct {
		const char *text;
		uint8_t type;
		const char *data;
		size_t len;
		const char *shown;
	} cases[] = {
		{ "192.0.2.1", IDENTITY_IPV4, "\xc0\x00\x02\x01", 4, "192.0.2.1" },
		{ "::1", IDENTITY_IPV6, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16, "::1" },
		{ "@east", IDENTITY_FQDN, "east", 4, "@east" },
		{ "gw.example.com", IDENTITY_FQDN, "gw.example.com", 14, "@gw.example.com" },
		{ "@192.0.2.1", IDENTITY_FQDN, "192.0.2.1", 9, "@192.0.2.1" },
		{ "user@example.com", IDENTITY_EMAIL, "user@example.com", 16, "user@example.com" },
		{ "@@user@example.com", IDENTITY_EMAIL, "user@example.com", 16, "user@example.com" },
		{ "@[my key]", IDENTITY_KEY_ID, "my key", 6, "@[my key]" },
		{ "@#0aff", IDENTITY_KEY_ID, "\x0a\xff", 2, "@#0aff" },
		{ "@#0x0aFF", IDENTITY_KEY_ID, "\x0a\xff", 2, "@#0aff" },
		{ "%any", IDENTITY_NONE, "", 0, "%any" },
		{ "0.0.0.0", IDENTITY_NONE, "", 0, "%any" },
		{ "%null", IDENTITY_NULL, "", 0, "%null" },
	};
	char buf[IDENTITY_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct identity id = parse(cases[i].text), again;

		assert_int_equal(id.type, cases[i].type);
		assert_int_equal(id.len, cases[i].len);
		assert_memory_equal(id.data, cases[i].data, cases[i].len);
		assert_string_equal(identity_format(&id, buf, sizeof(buf)), cases[i].shown);
		again = parse(buf);
		assert_true(identity_equal(&id, &again));
	}
}

static void rejected(void **state)
{
	static const char *const bad[] = { "", "  ", "@", "@#", "@#abc", "@#zz", "@[", "@[]", "@@",
					   "%what", "@~00", "C=", "XX=1", "C=JP,", "=x", "CN=\"x",
					   "C=Japan" };
	static char big[400];
	struct identity id;
	char err[200];

	(void)state;
	memset(big, 'a', sizeof(big) - 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err[0] = '\0';
		if (identity_parse(bad[i], &id, err, sizeof(err)))
			fail_msg("'%s' was accepted", bad[i]);
		assert_true(strlen(err) > 10);
	}
	assert_false(identity_parse(big, &id, err, sizeof(err)));
	big[0] = '@';
	big[1] = '[';
	assert_false(identity_parse(big, &id, err, sizeof(err)));
	memcpy(big, "CN=", 3);
	assert_false(identity_parse(big, &id, err, sizeof(err)));
}

static void distinguished_names(void **state)
{
	static const char *const same[][2] = {
		{ "C=JP, O=Example, CN=gw", "C=jp,O=EXAMPLE,CN=Gw" },
		{ "C=JP, O=Example, CN=gw", "/C=JP/O=Example/CN=gw" },
		{ "C=JP,O=Kan\\, Saku,CN=x", "C=JP,O=\"Kan, Saku\",CN=x" },
		{ "C=JP,O=Kan,, Saku,CN=x", "C=JP,O=\"Kan, Saku\",CN=x" },
		{ "CN=x, E=a@b.c", "CN=x, emailAddress=a@b.c" },
		{ "CN=\\E9\\96\\A2", "CN=関" },
		{ "CN=a+OU=b", "CN=a + OU=b" },
	};
	struct identity a, b, c;
	char buf[IDENTITY_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		a = parse(same[i][0]);
		b = parse(same[i][1]);
		assert_int_equal(a.type, IDENTITY_DN);
		assert_true(identity_equal(&a, &b));
		/* What is shown can be read back. */
		c = parse(identity_format(&a, buf, sizeof(buf)));
		assert_true(identity_equal(&a, &c));
	}
	a = parse("C=JP, O=Example, CN=gw");
	assert_string_equal(identity_format(&a, buf, sizeof(buf)), "C=JP, O=Example, CN=gw");
	b = parse("C=JP, O=Example, CN=gw2");
	assert_false(identity_equal(&a, &b));
	b = parse("O=Example, C=JP, CN=gw");
	assert_false(identity_equal(&a, &b));
	/* DER of CN=x, checked by hand: SEQUENCE SET SEQUENCE OID 2.5.4.3 UTF8String */
	a = parse("@~300c310a300806035504030c0178");
	b = parse("CN=x");
	assert_true(identity_equal(&a, &b));
	assert_int_equal(b.len, 14);
}

static void from_the_wire(void **state)
{
	static const uint8_t dn[] = { 0x30, 0x0c, 0x31, 0x0a, 0x30, 0x08, 0x06, 0x03,
				      0x55, 0x04, 0x03, 0x0c, 0x01, 0x78, 0x00 };
	static uint8_t big[IDENTITY_MAX + 1];
	struct identity id;
	char buf[IDENTITY_TEXT];

	(void)state;
	assert_true(identity_from_wire(IDENTITY_IPV4, BYTES("\1\2\3\4", 4), &id));
	assert_false(identity_from_wire(IDENTITY_IPV4, BYTES("\1\2\3", 3), &id));
	assert_int_equal(id.type, IDENTITY_NONE);
	assert_false(identity_from_wire(IDENTITY_IPV6, BYTES("\1\2\3\4", 4), &id));
	assert_false(identity_from_wire(IDENTITY_FQDN, BYTES("", 0), &id));
	assert_false(identity_from_wire(IDENTITY_FQDN, BYTES("a\0b", 3), &id));
	assert_false(identity_from_wire(IDENTITY_NONE, BYTES("", 0), &id));
	assert_false(identity_from_wire(IDENTITY_KEY_ID, BYTES(big, sizeof(big)), &id));
	assert_true(identity_from_wire(IDENTITY_KEY_ID, BYTES(big, IDENTITY_MAX), &id));
	assert_true(identity_from_wire(IDENTITY_NULL, BYTES(big, sizeof(big)), &id));
	assert_int_equal(id.len, 0);
	assert_true(identity_from_wire(IDENTITY_DN, BYTES(dn, 14), &id));
	assert_string_equal(identity_type_name(&id), "DER_ASN1_DN");
	for (size_t len = 0; len <= sizeof(dn); len++)
		assert_int_equal(identity_from_wire(IDENTITY_DN, BYTES(dn, len), &id), len == 14);
	assert_true(identity_from_wire(77, BYTES("\1", 1), &id));
	assert_string_equal(identity_format(&id, buf, sizeof(buf)), "type 77: 01");
	assert_true(identity_from_wire(IDENTITY_FQDN, BYTES("a\nb c", 5), &id));
	assert_string_equal(identity_format(&id, buf, sizeof(buf)), "@a\\x0ab\\x20c");
	assert_string_equal(identity_format(&id, buf, 4), "@a\\");
}

static void equality(void **state)
{
	struct identity a = parse("@East.Example."), b = parse("@east.example"), c = parse("@west");
	struct identity any = parse("%any"), mail = parse("@@east.example");

	(void)state;
	assert_true(identity_equal(&a, &b));
	assert_false(identity_equal(&a, &c));
	assert_false(identity_equal(&b, &mail));
	assert_false(identity_equal(&any, &a));
	assert_true(identity_matches(&any, &a));
	assert_true(identity_matches(&a, &b));
	assert_false(identity_matches(&a, &c));
	a = parse("@[Key]");
	b = parse("@[key]");
	assert_false(identity_equal(&a, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spellings),	 cmocka_unit_test(rejected),
		cmocka_unit_test(distinguished_names), cmocka_unit_test(from_the_wire),
		cmocka_unit_test(equality),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
