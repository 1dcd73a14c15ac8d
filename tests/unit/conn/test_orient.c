/* Which end is ours, and what the engine is told of a connection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fake_host.h"

#define NET1 \
	"conn net1\n    left=192.168.20.10\n    leftsubnet=192.168.10.0/24\n    right=192.168.20.20\n" \
	"    rightsubnet=192.168.30.0/24\n    authby=secret\n"

static void check_end(const struct ip_endpoint *e, const char *text)
{
	char buf[IP_ENDPOINT_TEXT];

	assert_string_equal(ip_endpoint_format(e, buf), text);
}

static void check_ts(const struct ts_list *list, const char *text)
{
	char buf[400];

	assert_string_equal(ts_list_format(list, buf, sizeof(buf)), text);
}

static void check_id(const struct identity *id, const char *text)
{
	char buf[IDENTITY_TEXT];

	assert_string_equal(identity_format(id, buf, sizeof(buf)), text);
}

static void test_left_is_ours(void **state)
{
	struct fake f;

	(void)state;
	fake_init(&f);
	fake_load(&f, NET1 "    auto=add\n");
	struct conn *c = fake_conn(&f, "net1");
	assert_int_equal(c->orientation.state, ORIENT_YES);
	assert_true(c->orientation.left_is_local);
	check_end(&c->ike->local, "192.168.20.10:500");
	check_end(&c->ike->remote, "192.168.20.20:500");
	check_id(&c->ike->local_id, "192.168.20.10");
	check_id(&c->ike->remote_id, "192.168.20.20");
	check_ts(&c->ike->local_ts, "192.168.10.0/24");
	check_ts(&c->ike->remote_ts, "192.168.30.0/24");
	assert_int_equal(c->ike->mode, MODE_TUNNEL);
	assert_true(c->ike->esn && c->ike->no_esn);
	assert_int_equal(c->ike->child_lifetime_us, UINT64_C(8) * 3600 * 1000000);
	fake_free(&f);
}

static void test_right_is_ours(void **state)
{
	struct fake f;

	(void)state;
	fake_init(&f);
	f.local[0] = "192.168.20.20";
	fake_load(&f, NET1 "    leftid=@one\n    rightid=@two\n    auto=add\n");
	struct conn *c = fake_conn(&f, "net1");
	assert_false(c->orientation.left_is_local);
	check_end(&c->ike->local, "192.168.20.20:500");
	check_ts(&c->ike->local_ts, "192.168.30.0/24");
	check_id(&c->ike->local_id, "@two");
	check_id(&c->ike->remote_id, "@one");
	fake_free(&f);
}

static void test_neither_or_both(void **state)
{
	struct fake f;

	(void)state;
	fake_init(&f);
	f.local[0] = "10.0.0.1";
	f.local[1] = NULL;
	fake_load(&f, NET1 "    auto=start\n");
	struct conn *c = fake_conn(&f, "net1");
	assert_int_equal(c->orientation.state, ORIENT_NO);
	assert_non_null(strstr(c->orientation.text, "neither left=192.168.20.10 nor right=192.168.20.20"));
	assert_string_equal(fake_turn(&f, 0), "");
	/* the address comes: the connection goes to work */
	f.local[0] = "192.168.20.10";
	conn_set_reorient(f.set);
	assert_string_equal(fake_turn(&f, 0), "policy 16384 protect\nup net1\n");
	/* and goes: SAs and policy stay, for it may come back */
	f.local[0] = "10.0.0.1";
	conn_set_reorient(f.set);
	assert_string_equal(fake_turn(&f, 0), "");
	assert_int_equal(c->orientation.state, ORIENT_NO);
	fake_free(&f);

	fake_init(&f);
	f.local[1] = "192.168.20.20";
	fake_load(&f, NET1 "    auto=add\n");
	c = fake_conn(&f, "net1");
	assert_int_equal(c->orientation.state, ORIENT_NO);
	assert_non_null(strstr(c->orientation.text, "both"));
	fake_free(&f);
}

static void test_address_moves(void **state)
{
	struct fake f;

	(void)state;
	fake_init(&f);
	f.local[0] = "192.0.2.1";
	f.route_address = "192.0.2.1";
	fake_load(&f, "conn road\n    left=%defaultroute\n    right=192.168.20.20\n    authby=secret\n    auto=start\n");
	struct conn *c = fake_conn(&f, "road");
	check_end(&c->ike->local, "192.0.2.1:500");
	check_ts(&c->ike->local_ts, "192.0.2.1/32");
	check_id(&c->ike->local_id, "192.0.2.1");
	fake_turn(&f, 0);
	f.local[0] = f.route_address = "192.0.2.2";
	text_free(&f.log);
	conn_set_reorient(f.set);
	assert_string_equal(text_str(&f.log), "down road REPLACED\n");
	assert_string_equal(fake_turn(&f, 0), "policy 16384 protect\nup road\n");
	check_end(&c->ike->local, "192.0.2.2:500");
	fake_free(&f);
}

static void test_names(void **state)
{
	struct fake f;

	(void)state;
	fake_init(&f);
	fake_load(&f, "conn named\n    left=192.168.20.10\n    right=peer.example\n    authby=secret\n    auto=start\n");
	struct conn *c = fake_conn(&f, "named");
	assert_int_equal(c->orientation.state, ORIENT_WAITING);
	assert_non_null(strstr(c->orientation.text, "peer.example"));
	assert_string_equal(fake_turn(&f, 0), "");
	f.name_address = "192.0.2.9";
	conn_set_reorient(f.set);
	assert_string_equal(fake_turn(&f, 0), "policy 16384 protect\nup named\n");
	check_end(&c->ike->remote, "192.0.2.9:500");
	fake_free(&f);
}

/* While the peer's name has no address, what it is to protect does not go in clear. */
static void test_blocked_until_named(void **state)
{
	static const char *const rest[] = { "    rightsubnet=192.168.30.0/24\n", "    rightsubnet=0.0.0.0/0\n", "" };
	struct fake f;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		char text[512];

		fake_init(&f);
		snprintf(text, sizeof(text), "conn named\n    left=192.168.20.10\n    leftsubnet=192.168.10.0/24\n"
					     "    right=gw.example.com\n%s    authby=secret\n    auto=start\n", rest[i]);
		fake_load(&f, text);
		/* where it could hide the name servers it has to wait */
		assert_string_equal(fake_turn(&f, 0), i == 0 ? "policy 16384 drop\n" : "");
		if (i == 0) {
			check_ts(&f.last_policy.local_ts, "192.168.10.0/24");
			check_ts(&f.last_policy.remote_ts, "192.168.30.0/24");
		}
		f.name_address = "192.168.20.20";
		conn_set_reorient(f.set);
		assert_string_equal(fake_turn(&f, 0), "policy 16384 protect\nup named\n");
		fake_free(&f);
	}
}

static void test_parameters(void **state)
{
	struct fake f;

	(void)state;
	fake_init(&f);
	fake_load(&f, NET1 "    auto=add\n    replay-window=0\n    dpddelay=10\n    dpdaction=restart\n    pfs=yes\n"
			   "    leftprotoport=tcp/80\n    rightprotoport=tcp\n");
	struct conn *c = fake_conn(&f, "net1");
	assert_false(c->ike->esn);
	assert_true(c->ike->no_esn);
	assert_true(c->ike->pfs && c->ike->pfs_required);
	assert_int_equal(c->ike->dpd_delay_us, 10000000);
	assert_int_equal(c->ike->dpd_action, DPD_RESTART);
	check_ts(&c->ike->local_ts, "192.168.10.0/24/tcp/80");
	check_ts(&c->ike->remote_ts, "192.168.30.0/24/tcp");
	fake_free(&f);

	fake_init(&f);
	fake_load(&f, NET1 "    auto=add\n");
	c = fake_conn(&f, "net1");
	assert_true(c->ike->pfs);
	assert_false(c->ike->pfs_required);
	fake_free(&f);
}

/* clones=: as many as the back end has, at most as many as are written. */
static void test_resources(void **state)
{
	static const struct {
		const char *clones;
		unsigned of_backend, resources;
	} cases[] = {
		{ "", 1, 0 }, { "", 4, 0 }, { "    clones=yes\n", 1, 1 }, { "    clones=yes\n", 4, 4 }, { "    clones=no\n", 4, 0 },
		{ "    clones=0\n", 4, 0 }, { "    clones=2\n", 4, 2 }, { "    clones=8\n", 4, 4 }, { "    clones=yes\n", 100, 64 },
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fake f;

		fake_init(&f);
		f.resources = cases[i].of_backend;
		snprintf(text, sizeof(text), "%s    auto=add\n%s", NET1, cases[i].clones);
		fake_load(&f, text);
		assert_int_equal(fake_conn(&f, "net1")->ike->resources, cases[i].resources);
		fake_free(&f);
	}
}

static void test_not_usable(void **state)
{
	struct fake f;
	struct conn_reply reply;

	(void)state;
	fake_init(&f);
	fake_load(&f, "conn rsa\n    left=192.168.20.10\n    right=192.168.20.20\n    authby=rsasig\n    auto=start\n");
	struct conn *c = fake_conn(&f, "rsa");
	assert_non_null(c->problem.what);
	assert_non_null(strstr(c->problem.remedy, "authby=secret"));
	assert_string_equal(fake_turn(&f, 0), "");
	conn_up(c, &reply);
	assert_int_equal(reply.rc, CONN_RC_FATAL);
	fake_free(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_left_is_ours), cmocka_unit_test(test_right_is_ours),
		cmocka_unit_test(test_neither_or_both), cmocka_unit_test(test_address_moves),
		cmocka_unit_test(test_names), cmocka_unit_test(test_blocked_until_named),
		cmocka_unit_test(test_parameters), cmocka_unit_test(test_resources),
		cmocka_unit_test(test_not_usable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
