/* What users are told when the kernel refuses, and probing this machine's own kernel. */
#include "messages.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "kernel/xfrm_internal.h"

static void says_what_to_do(void **state)
{
	static const struct { int error; const char *words; } cases[] = {
		{ EPERM, "CAP_NET_ADMIN" }, { EPROTONOSUPPORT, "esp4" }, { ENOSYS, "esp=" },
		{ ENOENT, "esp=" },         { ETIMEDOUT, "did not answer" },
		{ EINVAL, "Invalid argument" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct backend_error err;

		assert_false(xfrm_fail(&err, cases[i].error, "kernel's words", "SA 0x%x", 7));
		assert_ptr_equal(strstr(err.text, "SA 0x7: "), err.text);
		assert_non_null(strstr(err.text, cases[i].words));
		assert_non_null(strstr(err.text, "(kernel's words)"));
	}
}

static void long_words_are_cut(void **state)
{
	struct backend_error err;
	char why[NETLINK_WHY_MAX], name[200];

	(void)state;
	memset(why, 'w', sizeof(why) - 1);
	why[sizeof(why) - 1] = '\0';
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	xfrm_fail(&err, EPERM, why, "%s", name);
	assert_true(strlen(err.text) < sizeof(err.text));
}

/* In a namespace of its own. Whether this kernel has ESP or not: a plain answer, and no trace. */
static void probe_answers(void **state)
{
	struct backend_error why, again;
	bool has;

	(void)state;
	if (unshare(CLONE_NEWNET) != 0)
		skip();
	has = xfrm_probe(&why);
	assert_int_equal(has, why.text[0] == '\0');
	if (!has)
		assert_non_null(strstr(why.text, "the kernel"));
	print_message("# probe: %s\n", has ? "the kernel has ESP" : why.text);
	assert_int_equal(xfrm_probe(&again), has);
	assert_string_equal(again.text, why.text);
}

/* Policies and SPIs need no ESP in the kernel. */
static void back_end_without_esp(void **state)
{
	struct backend_events events = { 0 };
	struct backend_error err = { "" };
	struct ip_address l = address("192.0.2.1"), r = address("192.0.2.2");
	struct ip_prefix net;
	struct sa_policy p = { .reqid = 16384, .conn = "net1", .action = POLICY_TRAP, .local = l,
			       .remote = r };
	struct traffic_selector ts;
	struct backend *b;

	(void)state;
	if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0)
		skip();
	b = xfrm_backend_new(&events, NULL, &err);
	if (b == NULL) /* no XFRM at all */
		skip();
	assert_true(ip_prefix_parse("10.0.0.0/8", &net, NULL));
	ts = ts_from_prefix(&net);
	ts_list_add(&p.local_ts, &ts);
	ts_list_add(&p.remote_ts, &ts);
	assert_true(backend_ops(b)->policy_set(b, &p, &err));
	assert_true(backend_ops(b)->policy_set(b, &p, &err));
	assert_int_equal(HASH_COUNT(xfrm_of(b)->slots), 6 + 3);
	p.local_ts.ts[0].lo = address("10.0.0.1");
	p.local_ts.ts[0].hi = p.local_ts.ts[0].lo;
	assert_true(backend_ops(b)->policy_set(b, &p, &err));
	assert_int_equal(HASH_COUNT(xfrm_of(b)->slots), 6 + 3);
	backend_ops(b)->close(b, true);
	/* the next one finds them, and lets go of them when it has settled */
	b = xfrm_backend_new(&events, NULL, &err);
	assert_non_null(b);
	assert_int_equal(HASH_COUNT(xfrm_of(b)->slots), 6 + 3);
	xfrm_backend_settle(b);
	assert_int_equal(HASH_COUNT(xfrm_of(b)->slots), 6);
	backend_ops(b)->close(b, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_what_to_do),
		cmocka_unit_test(long_words_are_cut),
		cmocka_unit_test(probe_answers),
		cmocka_unit_test(back_end_without_esp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
