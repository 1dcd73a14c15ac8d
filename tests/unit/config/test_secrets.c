/*
 * ipsec.secrets: what is taken, what is refused and how it is said, and which record serves whom.
 */
#include "config_files.h"

#include <sys/stat.h>
#include <time.h>

#include "config/secrets.h"

static struct diag_list diags;

static struct secrets *load_path(const char *path)
{
	struct secrets *s;

	diag_list_init(&diags);
	s = secrets_load(path, &diags);
	assert_non_null(s);
	return s;
}

static struct secrets *load(const char *text)
{
	return load_path(files_write("s", text, strlen(text)));
}

static void done(struct secrets *s)
{
	secrets_free(s);
	diag_list_free(&diags);
	files_clear();
}

static struct identity id_of(const char *text)
{
	struct identity id;
	char err[200];

	assert_true(identity_parse(text, &id, err, sizeof(err)));
	return id;
}

/** The secret for a pair as text, NULL when there is none. Valid until the next call. */
static const char *psk(const struct secrets *s, const char *local, const char *remote)
{
	static struct secret found;
	static char text[SECRET_MAX + 1];
	struct identity a = id_of(local), b = id_of(remote);

	if (!secrets_psk(s, &a, &b, &found, NULL))
		return NULL;
	memcpy(text, found.bytes, found.len);
	text[found.len] = '\0';
	return text;
}

#define AB "192.168.20.10 192.168.20.20 "
#define WEAK                                                                                   \
	": warning: the pre-shared key is weak: it has less than 8 characters; use 32 random " \
	"bytes or more: 0s and what openssl rand -base64 32 prints\n"
#define WRITE_PSK                                                                              \
	"; write PSK and the secret behind the colon, or indent the line that goes on\n"
#define WRITE_INDEX                                                                            \
	"; write an address, @name, user@name, @[key id], a DN in quotes or %any, then : PSK " \
	"and the secret\n"
#define WRITE_FORM                                                                             \
	"; write \"text\", 0x and hexadecimal digits, 0s and base64, or 0t and text\n"

/** A file, the secret that 192.168.20.10 and .20 get from it, and all that is said. */
static const struct {
	const char *text, *psk, *said;
} forms[] = {
	{ AB ": PSK \"net1234567890\"\n", "net1234567890", "" },
	{ AB ": PSK 'single quotes ok'\n", "single quotes ok", "" },
	{ AB ": PSK `back quotes ok`\n", "back quotes ok", "" },
	{ AB ": PSK \"a \"\n", "a ", "s:1" WEAK },
	{ AB ": PSK \"with # and : and 'x'\"\n", "with # and : and 'x'", "" },
	{ ": PSK \"for all\"\n", "for all", "s:1" WEAK },
	{ "%any 192.168.20.10 : PSK \"anything\"\n", "anything", "" },
	{ "%any6 192.168.20.10: PSK \"anything\"\n", "anything", "" },
	{ "0.0.0.0 192.168.20.10: PSK \"anything\"\n", "anything", "" },
	{ AB ": psk \"lower case\"", "lower case", "" },
	{ AB ": PSK 0x61626364_6566_6768\n", "abcdefgh", "" },
	{ AB ": PSK 0X4a4B\n", "JK", "" },
	{ AB ": PSK 0sMTIzNDU2Nzg5MDEyMzQ1Ng==\n", "1234567890123456", "" },
	{ AB ": PSK 0SYWJj\n", "abc", "" },
	{ AB ": PSK 0sYWI=\n", "ab", "" },
	{ AB ": PSK 0tto the end of: the # line  \n", "to the end of: the # line", "" },
	{ "# comment\n" AB ": PSK \"after comment\" # trailing\n", "after comment", "" },
	{ AB "\n\t: PSK \"continued line\"\n", "continued line", "" },
	{ "192.168.20.10\n# in between\n\n 192.168.20.20 :\n\tPSK\n\t\"many lines\"\n", "many lines",
	  "" },
	{ AB ": PSK \"windows text\"\r\n", "windows text", "" },
	{ "\xef\xbb\xbf" AB ": PSK \"from an editor\"\n", "from an editor", "" },
	{ "192.168.20.10 : PSK \"only ours\"\n", "only ours", "" },
	{ "192.168.20.20 : PSK \"only theirs\"\n", NULL, "" },
	{ "10.1.1.1 10.1.1.2 : PSK \"of others\"\n", NULL, "" },
	{ "@a @b : PSK \"of names\"\n", NULL, "" },

	{ AB ": PSK unquoted1234\n", NULL,
	  "s:1: the secret is neither in quotes nor begins with 0x, 0s or 0t" WRITE_FORM },
	{ AB ": PSK \"unterminated\n", NULL,
	  "s:1: a quote without its end, or text right behind it; end the secret with the quote "
	  "that it begins with\n" },
	{ AB ": PSK \"a\"b\n", NULL,
	  "s:1: a quote without its end, or text right behind it; end the secret with the quote "
	  "that it begins with\n" },
	{ AB ": PSK \"\"\n", NULL, "s:1: the secret is empty" WRITE_FORM },
	{ AB ": PSK 0x123\n", NULL,
	  "s:1: the secret behind 0x is not pairs of hexadecimal digits" WRITE_FORM },
	{ AB ": PSK 0x12__34\n", NULL,
	  "s:1: the secret behind 0x is not pairs of hexadecimal digits" WRITE_FORM },
	{ AB ": PSK 0x\n", NULL,
	  "s:1: the secret behind 0x is not pairs of hexadecimal digits" WRITE_FORM },
	{ AB ": PSK 0sYWI\n", NULL, "s:1: the secret behind 0s is not base64" WRITE_FORM },
	{ AB ": PSK 0sYWJ=\n", NULL, "s:1: the secret behind 0s is not base64" WRITE_FORM },
	{ AB ": PSK 0sYR==\n", NULL, "s:1: the secret behind 0s is not base64" WRITE_FORM },
	{ AB ": PSK 0sYQ==YWJj\n", NULL, "s:1: the secret behind 0s is not base64" WRITE_FORM },
	{ AB ": PSK 0t\n", NULL, "s:1: the secret is empty" WRITE_FORM },
	{ AB ": PSK\n", NULL, "s:1: a record that ends at PSK" WRITE_PSK },
	{ AB ":\n", NULL, "s:1: a record that ends at its colon" WRITE_PSK },
	{ AB ":\nPSK \"not indented\"\n", NULL,
	  "s:1: a record that ends at its colon" WRITE_PSK
	  "s:2: a record without a colon; write IDENTITIES : PSK and the secret\n" },
	{ AB "PSK \"nocolon\"\n", NULL,
	  "s:1: a record without a colon; write IDENTITIES : PSK and the secret\n" },
	{ "192.168.20.10 192.168.20.20:PSK \"nospace\"\n", NULL,
	  "s:1: a record without a colon; write IDENTITIES : PSK and the secret\n" },
	{ AB ": \"mysecret\"\n", NULL, "s:1: a record whose kind is not PSK" WRITE_PSK },
	{ AB ": FOO \"what\"\n", NULL, "s:1: a record whose kind is not PSK" WRITE_PSK },
	{ ": RSA key.pem\n", NULL,
	  "s:1: warning: a secret of the kind RSA has no effect: only PSK is used\n" },
	{ "user : XAUTH \"password\"\n", NULL,
	  "s:1: warning: a secret of the kind XAUTH has no effect: only PSK is used\n" },
	{ AB ": PSK \"one\" extra\n", NULL,
	  "s:1: a record with more behind its secret; put the secret in quotes\n" },
	// What cannot be read as an identity makes the record nobody's, not everyone's.
	{ "192.168.20.300 : PSK \"widened?\"\n", NULL,
	  "s:1: word 1 of the record is no identity: the record is left out" WRITE_INDEX },
	{ "192.168.20.10 not/a/name : PSK \"widened?\"\n", NULL,
	  "s:1: word 2 of the record is no identity: the record is left out" WRITE_INDEX },
	{ "%frob : PSK \"widened?\"\n", NULL,
	  "s:1: word 1 of the record is no identity: the record is left out" WRITE_INDEX },
	{ "\"\" : PSK \"widened?\"\n", NULL,
	  "s:1: word 1 of the record is no identity: the record is left out" WRITE_INDEX },
	{ "gw.example.org : PSK \"a bare name\"\n", NULL,
	  "s:1: warning: gw.example.org: names are compared as they are and not resolved; write its "
	  "address, or @ in front of it\n" },
	{ "\t" AB ": PSK \"indented\"\n" AB ": PSK \"the next one\"\n", "the next one",
	  "s:1: the file begins with an indented line, which continues a record; begin the record "
	  "in the first column\n" },
	{ AB ": PSK \"the first\"\n" AB ": PSK \"the second\"\n", "the first",
	  "s:2: warning: the identities are those of s:1, with another secret: the first is used; "
	  "remove one of them\n" },
	{ AB ": PSK \"the same\"\n192.168.20.20 192.168.20.10 : PSK \"the same\"\n", "the same", "" },
	{ AB ": PSK \"bad one\" x\n" AB ": PSK \"good one\"\n", "good one",
	  "s:1: a record with more behind its secret; put the secret in quotes\n" },
	{ "include nosuch*.secrets\n", NULL, "" },
	{ "include nosuch.secrets\n", NULL,
	  "s:1: warning: no secrets file matches this include; make the file, or remove the line\n" },
	{ "INCLUDE a b\n", NULL, "s:1: include takes one file; write include FILE\n" },
	{ "include s\n", NULL,
	  "s:1: warning: s is included already and is not read again; remove one of the includes\n" },
	{ "", NULL, "" },
};

static void all_forms(void **state)
{
	unsigned failed = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct secrets *s = load(forms[i].text);
		const char *found = psk(s, "192.168.20.10", "192.168.20.20");
		char *said = files_diags(&diags);

		if (strcmp(said, forms[i].said) != 0 || !found != !forms[i].psk ||
		    (found && strcmp(found, forms[i].psk) != 0)) {
			print_message("%sgave %s (want %s), said\n%swant\n%s", forms[i].text,
				      found ? found : "nothing",
				      forms[i].psk ? forms[i].psk : "nothing", said, forms[i].said);
			failed++;
		}
		free(said);
		done(s);
	}
	assert_int_equal(failed, 0);
}

/** Whatever is wrong with a record, nothing of its secret is said. */
static void secrets_stay_secret(void **state)
{
	static const char *const lines[] = {
		AB "PSK \"hush-hush\"\n",       AB ": hush-hush\n",     AB ": \"hush-hush\"\n",
		AB ": PSK hush-hush\n",         AB ": PSK \"hush-hush\n", "hush-hush\n",
		AB ": PSK \"x\" hush-hush\n",   "hush-hush! : PSK\n",   AB ": PSK 0xhush-hush\n",
		AB ": PSK 0shush-hush\n",       ": RSA hush-hush\n",    "hush-hush/ : PSK \"abcdefgh\"\n",
		AB ": PSK\n\"hush-hush\"\n",    AB ":\nhush-hush : \n", "@#hush-hush : PSK \"x\"\n",
		"\thush-hush\n",                "include hush-hush\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct secrets *s = load(lines[i]);
		char *said = files_diags(&diags);
		struct text list = { 0 };

		assert_true(*said);
		assert_null(strstr(said, "hush"));
		secrets_list(s, &list);
		assert_null(strstr(text_str(&list), "hush"));
		text_free(&list);
		free(said);
		done(s);
	}
}

static void selection(void **state)
{
	static const char text[] =
		": PSK \"everyone\"\n"
		"%any @peer : PSK \"their any\"\n"
		"@me : PSK \"me alone\"\n"
		"@me %any : PSK \"my any\"\n"
		"@me @peer : PSK \"the pair\"\n"
		"@lone @lone : PSK \"lone alone\"\n"
		"@x @y %any : PSK \"x, y and all\"\n"
		"@many @a @b @c : PSK \"a group\"\n"
		"@half @other : PSK \"of two\"\n";
	static const struct {
		const char *local, *remote, *psk;
	} cases[] = {
		{ "@me", "@peer", "the pair" },           /* 12 */
		{ "@peer", "@me", "the pair" },
		{ "@ME.", "@Peer", "the pair" },          /* names: no case, no dot at the end */
		{ "@me", "@stranger", "my any" },         /* 10 */
		{ "@me", "%any", "my any" },
		{ "@lone", "@stranger", "lone alone" },   /* 9 */
		{ "@stranger", "@peer", "their any" },    /* 6 */
		{ "@stranger", "@me", "my any" },
		{ "@stranger", "@other", "everyone" },    /* 2 */
		{ "@x", "@y", "x, y and all" },           /* 14, taken as 12 */
		{ "@x", "@stranger", "x, y and all" },
		{ "@many", "@b", "a group" },
		{ "@c", "@a", "a group" },
		{ "@half", "@stranger", "everyone" },     /* 8 is not enough */
		{ "@stranger", "@half", "everyone" },     /* neither is 4 */
		{ "192.168.20.10", "%any", "everyone" },
		{ "me@x", "peer@x", "everyone" },         /* another kind of identity */
	};
	struct secrets *s = load(text);

	(void)state;
	assert_int_equal(secrets_count(s), 9);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *found = psk(s, cases[i].local, cases[i].remote);

		if (!found || strcmp(found, cases[i].psk) != 0)
			fail_msg("%s and %s got \"%s\", not \"%s\"", cases[i].local,
				 cases[i].remote, found ? found : "", cases[i].psk);
	}
	done(s);
}

static void not_everyones(void **state)
{
	// `%any @b` is @b's with anyone; a pair without @b has no part in it.
	struct secrets *s = load("%any @b : PSK \"with b\"\n@c @d : PSK \"of two\"\n");

	(void)state;
	assert_null(psk(s, "@a", "@c"));
	assert_string_equal(psk(s, "@a", "@b"), "with b");
	assert_string_equal(psk(s, "@b", "@a"), "with b");
	assert_null(psk(s, "@c", "%any"));
	done(s);
}

static void kinds_of_identities(void **state)
{
	struct secrets *s = load("2001:db8::1 \"2001:db8::\" : PSK \"sixes\"\n"
				 "\"C=JP, CN=Gate One\" @west : PSK \"a DN\"\n"
				 "me@example.org @[key id] : PSK \"rejected\"\n"
				 "me@example.org @[keyid]: PSK \"mail and key\"\n"
				 "@#0102 gate : PSK \"hex and bare\"\n");

	(void)state;
	assert_int_equal(diags.errors, 1); // blanks without quotes
	assert_string_equal(psk(s, "2001:db8::", "2001:db8:0::1"), "sixes");
	assert_string_equal(psk(s, "c=jp,  cn=gate one", "@west"), "a DN");
	assert_string_equal(psk(s, "ME@example.org", "@[keyid]"), "mail and key");
	assert_string_equal(psk(s, "@#0102", "@gate"), "hex and bare");
	done(s);
}

static void why_not(void **state)
{
	struct secrets *s = load("192.168.20.10 192.168.20.21 : PSK \"the wrong peer\"\n"
				 "# two\n@a 192.168.20.20 : PSK \"of somebody\"\n");
	struct identity local = id_of("192.168.20.10"), remote = id_of("192.168.20.20");
	struct identity nobody = id_of("@nobody");
	struct secret found;
	struct text why = { 0 };
	char expected[300];

	(void)state;
	assert_false(secrets_psk(s, &local, &remote, &found, &why));
	snprintf(expected, sizeof(expected),
		 "no pre-shared key for 192.168.20.10 and 192.168.20.20: searched 2 records; nearest: "
		 "%s/s:1 (192.168.20.10 192.168.20.21)", files_dir);
	assert_string_equal(text_str(&why), expected);
	assert_int_equal(found.len, 0);
	text_free(&why);
	assert_false(secrets_psk(s, &nobody, &remote, &found, &why));
	assert_non_null(strstr(text_str(&why), "/s:3 (@a 192.168.20.20)"));
	text_free(&why);
	assert_false(secrets_psk(s, &nobody, &nobody, &found, &why));
	assert_string_equal(text_str(&why),
			    "no pre-shared key for @nobody and @nobody: searched 2 records");
	text_free(&why);
	done(s);
}

static void list(void **state)
{
	struct secrets *s = load(AB ": PSK \"net1234567890\"\n\n: PSK \"for everyone\"\n"
				 "%any @b : PSK \"any and b\"\n");
	struct text t = { 0 };

	(void)state;
	secrets_list(s, &t);
	assert_string_equal(text_str(&t), "    4: PSK @b %any\n"
					  "    3: PSK (none) (none)\n"
					  "    1: PSK 192.168.20.20 192.168.20.10\n");
	text_free(&t);
	done(s);
}

static void modes(void **state)
{
	const char *path = files_write("s", AB ": PSK \"net1234567890\"\n",
				       strlen(AB ": PSK \"net1234567890\"\n"));
	struct secrets *s;
	char *said;

	(void)state;
	assert_int_equal(chmod(path, 0640), 0);
	s = load_path(path);
	said = files_diags(&diags);
	assert_string_equal(said, "s: warning: others than its owner may read this file of secrets "
				  "(mode 0640); chmod 600\n");
	free(said);
	done(s);
	// A file that only includes others holds nothing to hide.
	path = files_write("s", "include nosuch*\n", 16);
	assert_int_equal(chmod(path, 0644), 0);
	s = load_path(path);
	assert_int_equal(diags.warnings, 0);
	done(s);
}

static void includes(void **state)
{
	char dir[100], text[100], name[40], *said;
	struct secrets *s;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/d", files_dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	files_write("d/one.secrets", AB ": PSK \"from the directory\"\n",
		    strlen(AB ": PSK \"from the directory\"\n"));
	files_write("d/two.secrets", "@a @b : PSK \"from the other\"\n",
		    strlen("@a @b : PSK \"from the other\"\n"));
	s = load("include d/*.secrets\n");
	assert_int_equal(diags.warnings + diags.errors, 0);
	assert_string_equal(psk(s, "192.168.20.10", "192.168.20.20"), "from the directory");
	assert_string_equal(psk(s, "@a", "@b"), "from the other");
	done(s);

	for (int i = 1; i <= 12; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		snprintf(text, sizeof(text), "@f%d : PSK \"12345678\"\ninclude f%d\n", i, i + 1);
		files_write(name, text, strlen(text));
	}
	s = load("include f1\n");
	assert_int_equal(secrets_count(s), 10);
	said = files_diags(&diags);
	assert_string_equal(said, "f10:2: includes stand more than 10 deep in each other\n");
	free(said);
	done(s);
}

static void odd_bytes(void **state)
{
	static const char nul[] = AB ": PSK \"with\0nul\"\n@a : PSK \"the next\"\n";
	char *longest = malloc(SECRET_MAX + 200), *said;
	struct secrets *s;
	int head;

	(void)state;
	s = load_path(files_write("s", nul, sizeof(nul) - 1));
	said = files_diags(&diags);
	assert_non_null(strstr(said, "s:1: a line with a NUL byte or of over 64 KiB"));
	free(said);
	assert_int_equal(secrets_count(s), 1);
	done(s);
	for (int extra = 0; extra < 2; extra++) {
		head = sprintf(longest, AB ": PSK \"");
		memset(longest + head, 'x', SECRET_MAX + (size_t)extra);
		strcpy(longest + head + SECRET_MAX + extra, "\"\n");
		s = load(longest);
		assert_int_equal(secrets_count(s), extra ? 0 : 1);
		assert_int_equal(diags.errors, extra);
		done(s);
	}
	free(longest);
	s = load_path("/nonexistent/ipsec.secrets");
	assert_int_equal(diags.errors, 1);
	assert_int_equal(secrets_count(s), 0);
	done(s);
}

/** One gateway with many peers: a look-up does not walk through all of them. */
static void many_records(void **state)
{
	enum { COUNT = 10000 };
	struct text t = { 0 };
	struct timespec a, b;
	struct identity local = id_of("@gateway");
	struct secret found;
	struct secrets *s;
	double ms;

	(void)state;
	for (int i = 0; i < COUNT; i++)
		text_add(&t, "@gateway 10.0.%d.%d : PSK \"key-number-%d\"\n", i >> 8, i & 255, i);
	clock_gettime(CLOCK_MONOTONIC, &a);
	s = load(text_str(&t));
	for (int i = 0; i < COUNT; i++) {
		char text[40];
		struct identity remote;

		snprintf(text, sizeof(text), "10.0.%d.%d", i >> 8, i & 255);
		remote = id_of(text);
		assert_true(secrets_psk(s, &local, &remote, &found, NULL));
		snprintf(text, sizeof(text), "key-number-%d", i);
		assert_int_equal(found.len, strlen(text));
		assert_memory_equal(found.bytes, text, found.len);
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	ms = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
	print_message("%d records loaded and looked up in %.0f ms\n", COUNT, ms);
	assert_true(ms < 10000);
	text_free(&t);
	done(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_forms),
		cmocka_unit_test(secrets_stay_secret),
		cmocka_unit_test(selection),
		cmocka_unit_test(not_everyones),
		cmocka_unit_test(kinds_of_identities),
		cmocka_unit_test(why_not),
		cmocka_unit_test(list),
		cmocka_unit_test(modes),
		cmocka_unit_test(includes),
		cmocka_unit_test(odd_bytes),
		cmocka_unit_test(many_records),
	};

	return cmocka_run_group_tests_name("config.secrets", tests, files_setup, files_teardown);
}
