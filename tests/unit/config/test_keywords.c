/*
 * The table of keywords: complete, without doubles, with defaults that are values of their types;
 * and the parsers of values.
 */
#include "config_files.h"

#include "config/config.h"
#include "config/keywords.h"
#include "config/values.h"

/** Every name that a configuration may have, as documented for this family of files. */
static const char setup_names[] =
	"audit-log crl-strict crl-timeout crlcheckinterval curl-iface ddos-ike-threshold ddos-mode "
	"dns-resolver dnssec-anchors dnssec-enable dnssec-rootkey-file drop-oppo-null dumpdir exampledir "
	"expire-lifetime expire-shunt-interval global-redirect global-redirect-to ike-socket-bufsize "
	"ike-socket-errqueue ikev1-policy ipsec-interface-managed ipsecdir keep-alive listen listen-tcp "
	"listen-udp logappend logfile logip loglimit logstderr logtime max-halfopen-ike myvendorid "
	"nflog-all nhelpers nssdir ocsp-cache-max-age ocsp-cache-min-age ocsp-cache-size ocsp-enable "
	"ocsp-method ocsp-strict ocsp-timeout ocsp-trustname ocsp-uri plutodebug protostack rundir "
	"seccomp secretsfile seedbits seeddev shuntlifetime statsbin uniqueids virtual-private "
	"curl-timeout xfrmlifetime syslog plutostderrlog virtual_private interfaces "
	"ikev1-secctx-attr-type secctx-attr-type";
static const char end_names[] =
	"subnet subnets id cert ckaid sendcert ca rsasigkey ecdsakey eddsakey pubkey auth autheap "
	"addresspool protoport nexthop sourceip interface-ip vti updown updown-config ikeport "
	"modecfgserver modecfgclient xauthserver xauthclient username cat groundhog xauthusername";
static const char conn_names[] =
	"also auto authby keyexchange ikev2 type ike esp ah phase2 phase2alg ikelifetime ipsec-lifetime "
	"ipsec-max-bytes ipsec-max-packets rekey reauth rekeymargin rekeyfuzz replay-window pfs compress "
	"esn encapsulation fragmentation mobike narrowing nat-keepalive nat-ikev1-method dpddelay "
	"dpdtimeout retransmit-timeout retransmit-interval initial-contact aggressive ppk ppk-ids "
	"intermediate session-resumption send-supported-auth-methods sha2-truncbug ms-dh-downgrade "
	"pfs-rekey-workaround require-id-on-certificate dns-match-id modecfgpull modecfgdns "
	"modecfgdomains modecfgbanner ignore-peer-dns pam-authorize xauthby xauthfail send-redirect "
	"redirect-to accept-redirect accept-redirect-to decap-dscp encap-dscp nopmtudisc mtu metric "
	"priority tfc send-esp-tfc-padding-not-supported reqid mark mark-in mark-out vti-interface "
	"vti-routing vti-shared ipsec-interface clones nic-offload iptfs iptfs-fragmentation "
	"iptfs-packet-size iptfs-max-queue-size iptfs-reorder-window iptfs-init-delay iptfs-drop-time "
	"enable-tcp tcp-remoteport hostaddrfamily overlapip failureshunt negotiationshunt sendca "
	"sec-label connalias debug fake-strongswan send-vendorid ikepad nflog-group remote-peer-type "
	"nm-configured cisco-unity cisco-split share-lease reject-simultaneous-ike-auth aggrmode keylife "
	"lifetime salifetime ikev1-dpdtimeout nflog policy-label remote_peer_type send-no-esp-tfc "
	"dpdaction keyingtries clientaddrfamily forceencaps alsoflip";

static void assert_all_found(bool setup, const char *prefix, const char *names)
{
	struct keyword_index *index = keyword_index_new();
	char *copy = strdup(names), *save = NULL, spelled[80];

	assert_non_null(index);
	for (char *name = strtok_r(copy, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
		const struct keyword *k;
		enum keyword_side side;

		snprintf(spelled, sizeof(spelled), "%s%s", prefix, name);
		if (keyword_lookup(index, setup, spelled, strlen(spelled), &k, &side) !=
		    KEYWORD_FOUND)
			fail_msg("%s is not known", spelled);
	}
	free(copy);
	keyword_index_free(index);
}

static void all_are_known(void **state)
{
	(void)state;
	assert_all_found(true, "", setup_names);
	assert_all_found(false, "", conn_names);
	assert_all_found(false, "left", end_names);
	assert_all_found(false, "right-", end_names);
	assert_all_found(false, "", "left right leftfirewall");
}

static void rows(void **state)
{
	const struct keyword *k, *other;

	(void)state;
	assert_null(keyword_at(keyword_count()));
	for (size_t i = 0; (k = keyword_at(i)); i++) {
		struct text t = { 0 };

		keyword_describe(k, &t);
		assert_true(t.len > 0);
		text_free(&t);
		assert_true(k->help && strlen(k->help) > 5);
		assert_non_null(k->since);
		if (k->status == KEYWORD_REMOVED || k->status == KEYWORD_IKEV1)
			assert_non_null(k->hint);
		if (k->type == KEYWORD_CHOICE || k->type == KEYWORD_VERSION)
			assert_non_null(k->values);
		for (size_t j = 0; j < i; j++) {
			other = keyword_at(j);
			if (strcmp(k->name, other->name) == 0 &&
			    (k->scope == KEYWORD_SETUP) == (other->scope == KEYWORD_SETUP))
				fail_msg("%s stands twice", k->name);
		}
	}
}

static void fallbacks_are_values(void **state)
{
	const struct keyword *k;

	(void)state;
	for (size_t i = 0; (k = keyword_at(i)); i++) {
		struct value_error e = { 0 };
		uint64_t n;
		uint32_t n32;
		bool yn, good = true;
		int choice;

		if (!k->fallback)
			continue;
		if (k->type == KEYWORD_YN)
			good = value_yes_no(k->fallback, &yn, &e);
		else if (k->type == KEYWORD_CHOICE || k->type == KEYWORD_VERSION)
			good = value_choice(k->values, k->fallback, &choice, &e);
		else if (k->type == KEYWORD_SECONDS)
			good = value_time(k->fallback, 1000000, &n, &e);
		else if (k->type == KEYWORD_NUMBER)
			good = (k->values && value_choice(k->values, k->fallback, &choice, &e)) ||
			       value_number(k->fallback, k->min, k->max ? k->max : UINT32_MAX, &n, &e);
		else if (k->type == KEYWORD_PERCENT)
			good = value_percent(k->fallback, k->max, &n32, &e);
		if (!good)
			fail_msg("%s=%s %s", k->name, k->fallback, e.what);
	}
}

static void lookup(void **state)
{
	struct keyword_index *index = keyword_index_new();
	const struct keyword *k;
	enum keyword_side side;
	char near[64];

	(void)state;
	assert_int_equal(keyword_lookup(index, false, "LEFT", 4, &k, &side), KEYWORD_FOUND);
	assert_int_equal(side, SIDE_LEFT);
	assert_string_equal(k->name, "");
	assert_int_equal(keyword_lookup(index, false, "right-id", 8, &k, &side), KEYWORD_FOUND);
	assert_int_equal(side, SIDE_RIGHT);
	assert_string_equal(k->name, "id");
	assert_int_equal(keyword_lookup(index, false, "left-", 5, &k, &side), KEYWORD_UNKNOWN);
	assert_int_equal(keyword_lookup(index, false, "leftright", 9, &k, &side), KEYWORD_UNKNOWN);
	assert_int_equal(keyword_lookup(index, false, "", 0, &k, &side), KEYWORD_UNKNOWN);
	assert_int_equal(keyword_lookup(index, false, "id", 2, &k, &side), KEYWORD_NEEDS_SIDE);
	assert_int_equal(keyword_lookup(index, false, "leftauto", 8, &k, &side),
			 KEYWORD_HAS_NO_SIDE);
	assert_int_equal(keyword_lookup(index, true, "auto", 4, &k, &side), KEYWORD_UNKNOWN);
	assert_int_equal(keyword_lookup(index, false, "salifetime", 10, &k, &side), KEYWORD_FOUND);
	assert_string_equal(k->name, "ipsec-lifetime");
	assert_true(keyword_nearest(false, "rihgtsubnet", near, sizeof(near)));
	assert_string_equal(near, "rightsubnet");
	assert_false(keyword_nearest(false, "frobnicate", near, sizeof(near)));
	keyword_index_free(index);
}

static void times(void **state)
{
	static const struct {
		const char *text;
		uint64_t us;
	} good[] = {
		{ "0", 0 },
		{ "10", 10000000 },
		{ "90m", 5400000000 },
		{ "1.5h", 5400000000 },
		{ "0.25s", 250000 },
		{ "500ms", 500000 },
		{ "7us", 7 },
		{ "1D", 86400000000 },
		{ "2w", 1209600000000 },
		{ "0.0000001s", 0 },
	};
	static const char *const bad[] = { "", "s", "-1", "8x", "0xA", "1..5s", ".5s", "1 s", "1.s",
					   "18446744073709551616", "99999999999w", "1ss" };
	struct value_error e = { 0 };
	uint64_t us;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(value_time(good[i].text, 1000000, &us, &e));
		assert_true(us == good[i].us);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (value_time(bad[i], 1000000, &us, &e))
			fail_msg("\"%s\" was taken for a time", bad[i]);
}

static void bytes_and_marks(void **state)
{
	struct value_error e = { 0 };
	uint64_t n;
	uint32_t mark, mask, percent;

	(void)state;
	assert_true(value_bytes("1KiB", &n, &e) && n == 1024);
	assert_true(value_bytes("7EiB", &n, &e) && n == 7ull << 60);
	assert_true(value_bytes("9223372036854775807", &n, &e) && n == INT64_MAX);
	assert_false(value_bytes("8EiB", &n, &e));
	assert_false(value_bytes("9223372036854775808", &n, &e));
	assert_false(value_bytes("1KB", &n, &e));
	assert_true(value_mark("0xffffffff/0xff00", &mark, &mask, &e));
	assert_true(mark == 0xffffffff && mask == 0xff00);
	assert_false(value_mark("0x1ffffffff", &mark, &mask, &e));
	assert_false(value_mark("0x", &mark, &mask, &e));
	assert_false(value_mark("5/5/5", &mark, &mask, &e));
	assert_true(value_percent("0%", 1000, &percent, &e) && percent == 0);
	assert_false(value_percent("%", 1000, &percent, &e));
}

static void lists(void **state)
{
	const char *list = " a, b,,c d ,";
	char word[8];
	bool too_long;

	(void)state;
	assert_true(list_next(&list, false, word, sizeof(word), &too_long));
	assert_string_equal(word, "a");
	assert_true(list_next(&list, false, word, sizeof(word), &too_long));
	assert_string_equal(word, "b");
	assert_true(list_next(&list, false, word, sizeof(word), &too_long));
	assert_string_equal(word, "c d");
	assert_false(list_next(&list, false, word, sizeof(word), &too_long));
	list = "123456789 x";
	assert_true(list_next(&list, true, word, sizeof(word), &too_long));
	assert_true(too_long);
	assert_true(list_next(&list, true, word, sizeof(word), &too_long));
	assert_string_equal(word, "x");
	assert_false(too_long);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_are_known),
		cmocka_unit_test(rows),
		cmocka_unit_test(fallbacks_are_values),
		cmocka_unit_test(lookup),
		cmocka_unit_test(times),
		cmocka_unit_test(bytes_and_marks),
		cmocka_unit_test(lists),
	};

	return cmocka_run_group_tests_name("config.keywords", tests, NULL, NULL);
}
