/* What is wanted against what there is: policies first, revival, commands, reload. */
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

enum { S = 1000000 };

static int setup(void **state)
{
	static struct fake f;

	fake_init(&f);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	fake_free(*state);
	return 0;
}

static void test_reqids(void **state)
{
	struct fake *f = *state;

	fake_load(f, NET1 "    auto=add\nconn b\n    also=net1\n    reqid=77\n    auto=add\n"
			  "conn c\n    also=net1\n    rightsubnet=192.168.31.0/24\n    auto=add\n");
	assert_int_equal(fake_conn(f, "net1")->reqid, 16384);
	assert_int_equal(fake_conn(f, "b")->reqid, 77);
	assert_int_equal(fake_conn(f, "c")->reqid, 16388);
	assert_int_equal(fake_conn(f, "net1")->serial, 1);
	assert_int_equal(fake_conn(f, "c")->serial, 3);
}

/* A reqid names a policy: a second connection with it must not take the first one's away. */
static void test_reqid_is_taken(void **state)
{
	struct fake *f = *state;

	fake_load(f, NET1 "    reqid=77\n    auto=start\nconn b\n    also=net1\n    rightsubnet=192.168.31.0/24\n"
			  "    auto=start\n");
	assert_int_equal(fake_conn(f, "net1")->reqid, 77);
	assert_int_equal(fake_conn(f, "b")->reqid, 16384);
	conn_delete(fake_conn(f, "net1"));
	assert_ptr_equal(conn_set_by_reqid(f->set, 16384), fake_conn(f, "b"));
	assert_null(conn_set_by_reqid(f->set, 77));
}

/* Nothing leaks before the first SA: the policy comes before the negotiation. */
static void test_start_policy_first(void **state)
{
	struct fake *f = *state;

	conn_set_hold(f->set, true);
	fake_load(f, NET1 "    auto=start\n");
	assert_string_equal(fake_turn(f, 0), "policy 16384 protect\n");
	conn_set_hold(f->set, false);
	assert_string_equal(fake_turn(f, 0), "up net1\n");
	struct conn *c = fake_conn(f, "net1");
	assert_int_equal(c->phase, CONN_TRYING);
	assert_string_equal(conn_state_name(c), "routed-tunnel");
	fake_event(f, c, IKE_EVENT_CHILD_UP, REASON_NONE);
	assert_int_equal(c->phase, CONN_UP);
	assert_string_equal(fake_turn(f, 0), "");
}

static void test_no_policy_no_negotiation(void **state)
{
	struct fake *f = *state;

	f->policy_fails = true;
	fake_load(f, NET1 "    auto=start\n");
	const char *log = fake_turn(f, 0);
	assert_non_null(strstr(log, "failed net1 BACKEND"));
	assert_null(strstr(log, "up net1"));
	f->policy_fails = false;
	assert_string_equal(fake_turn(f, 5 * S), "policy 16384 protect\nup net1\n");
}

/* A policy that is refused is not asked for in every turn of the loop. */
static void test_refused_policy_waits(void **state)
{
	static const char *const autos[] = { "start", "ondemand" };
	struct fake *f = *state;

	for (size_t i = 0; i < 2; i++) {
		char text[1024];

		snprintf(text, sizeof(text), NET1 "    auto=%s\n", autos[i]);
		f->policy_fails = true;
		fake_load(f, text);
		fake_turn(f, 0);
		fake_turn(f, 0);
		assert_string_equal(fake_turn(f, 0), "");
		assert_true(fake_wait(f) > 0);
		f->policy_fails = false;
		assert_non_null(strstr(fake_turn(f, 6 * S), i == 0 ? "protect" : "trap"));
		conn_delete(fake_conn(f, "net1"));
		text_free(&f->log);
	}
}

static void test_add_has_no_policy_until_up(void **state)
{
	struct fake *f = *state;
	struct conn_reply reply;

	fake_load(f, NET1 "    auto=add\n");
	assert_string_equal(fake_turn(f, 0), "");
	struct conn *c = fake_conn(f, "net1");
	assert_string_equal(conn_state_name(c), "unrouted");
	conn_up(c, &reply);
	assert_int_equal(reply.rc, CONN_RC_OK);
	assert_string_equal(fake_turn(f, 0), "policy 16384 protect\nup net1\n");
	fake_event(f, c, IKE_EVENT_CHILD_UP, REASON_NONE);
	fake_turn(f, 0);
	text_free(&f->log);
	conn_down(c);
	assert_string_equal(text_str(&f->log), "down net1 ADMIN\n");
	assert_string_equal(fake_turn(f, 0), "no policy 16384\n");
	assert_string_equal(fake_turn(f, 1000 * (uint64_t)S), "");
}

/* A responder's connection protects from its first SA on, also when the peer has deleted it. */
static void test_responder_keeps_protecting(void **state)
{
	struct fake *f = *state;
	struct child_sa sa = { .id = 2, .reqid = 16384 };
	char err[256];

	fake_load(f, NET1 "    auto=add\n");
	fake_turn(f, 0);
	struct conn *c = fake_conn(f, "net1");
	text_free(&f->log);
	assert_true(conn_child_adding(c, &sa, err));
	assert_string_equal(text_str(&f->log), "policy 16384 protect\n");
	fake_event(f, c, IKE_EVENT_CHILD_UP, REASON_NONE);
	assert_string_equal(fake_turn(f, 0), "");
	fake_event(f, c, IKE_EVENT_CHILD_DOWN, REASON_PEER_DELETED);
	assert_string_equal(fake_turn(f, 100 * S), "");
	assert_string_equal(conn_state_name(c), "routed-tunnel");
	conn_down(c);
	assert_string_equal(fake_turn(f, 0), "no policy 16384\n");
}

static uint64_t fail_once(struct fake *f, struct conn *c)
{
	fake_event(f, c, IKE_EVENT_FAILED, REASON_TIMEOUT);
	assert_int_equal(c->phase, CONN_IDLE);
	uint64_t waited = 0;
	/* the wheel may wake early, never late */
	for (int i = 0; i < 100 && c->phase == CONN_IDLE; i++) {
		uint64_t wait = fake_wait(f);

		if (c->phase != CONN_IDLE)
			break;
		fake_turn(f, wait);
		waited += wait;
	}
	assert_int_equal(c->phase, CONN_TRYING);
	return waited;
}

static void test_back_off(void **state)
{
	struct fake *f = *state;
	static const unsigned seconds[] = { 0, 5, 10, 15, 20 };

	fake_load(f, NET1 "    auto=start\n");
	fake_turn(f, 0);
	struct conn *c = fake_conn(f, "net1");
	for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
		uint64_t wait = fail_once(f, c);

		assert_in_range(wait, seconds[i] == 0 ? 0 : (uint64_t)seconds[i] * S - 2000, (uint64_t)seconds[i] * S + 2000);
	}
	for (int i = 0; i < 80; i++)
		fail_once(f, c);
	assert_in_range(fail_once(f, c), UINT64_C(299) * S, UINT64_C(301) * S);
	/* jitter is a tenth at most */
	f->random = UINT32_MAX;
	assert_in_range(fail_once(f, c), UINT64_C(325) * S, UINT64_C(330) * S);
}

static void test_back_off_ends_when_stable(void **state)
{
	struct fake *f = *state;

	fake_load(f, NET1 "    auto=start\n");
	fake_turn(f, 0);
	struct conn *c = fake_conn(f, "net1");
	for (int i = 0; i < 5; i++)
		fail_once(f, c);
	fake_event(f, c, IKE_EVENT_CHILD_UP, REASON_NONE);
	fake_turn(f, 1 * S);
	/* up for a second only: no reset, or two gateways that refuse each other would spin */
	fake_event(f, c, IKE_EVENT_CHILD_DOWN, REASON_PEER_DELETED);
	assert_string_equal(fake_turn(f, 0), "");
	assert_true(fake_wait(f) > 20 * S);
	assert_string_equal(fake_turn(f, 40 * S), "up net1\n");
	fake_event(f, c, IKE_EVENT_CHILD_UP, REASON_NONE);
	fake_turn(f, 11 * S);
	fake_event(f, c, IKE_EVENT_CHILD_DOWN, REASON_PEER_DELETED);
	assert_string_equal(fake_turn(f, 2000), "up net1\n");
}

static void test_up_ends_waiting(void **state)
{
	struct fake *f = *state;
	struct conn_reply reply;

	fake_load(f, NET1 "    auto=start\n");
	fake_turn(f, 0);
	struct conn *c = fake_conn(f, "net1");
	for (int i = 0; i < 5; i++)
		fail_once(f, c);
	fake_event(f, c, IKE_EVENT_FAILED, REASON_TIMEOUT);
	fake_turn(f, 0);
	assert_int_equal(c->phase, CONN_IDLE);
	conn_up(c, &reply);
	assert_string_equal(fake_turn(f, 0), "up net1\n");
}

static void test_up_renews_an_old_attempt(void **state)
{
	struct fake *f = *state;
	struct conn_reply reply;

	fake_load(f, NET1 "    auto=start\n");
	fake_turn(f, 0);
	struct conn *c = fake_conn(f, "net1");
	fake_turn(f, 1 * S);
	conn_up(c, &reply);
	assert_string_equal(fake_turn(f, 0), "");
	fake_turn(f, 30 * S);
	text_free(&f->log);
	conn_up(c, &reply);
	assert_string_equal(text_str(&f->log), "down net1 ADMIN\n");
	assert_string_equal(fake_turn(f, 0), "up net1\n");
}

/* A thousand connections do not all begin at once, and none is forgotten. */
static void test_bursts(void **state)
{
	struct fake *f = *state;
	struct text t = { 0 };
	unsigned trying = 0;

	for (int i = 0; i < 500; i++)
		text_add(&t, "conn c%d\n    left=192.168.20.10\n    right=10.0.%d.%d\n    authby=secret\n    auto=start\n",
			 i, i / 250, i % 250 + 1);
	fake_load(f, text_str(&t));
	text_free(&t);
	conn_set_reconcile(f->set);
	for (struct conn *c = conn_set_first(f->set); c != NULL; c = conn_next(c)) {
		trying += c->phase == CONN_TRYING;
		assert_true(c->policy_installed);
	}
	assert_int_equal(trying, CONN_BURST);
	for (int i = 0; i < 8; i++)
		fake_turn(f, CONN_BURST_MS * 1000);
	for (struct conn *c = conn_set_first(f->set); c != NULL; c = conn_next(c))
		assert_int_equal(c->phase, CONN_TRYING);
}

static void test_refused_goes_on(void **state)
{
	struct fake *f = *state;

	fake_load(f, NET1 "    auto=start\n");
	fake_turn(f, 0);
	struct conn *c = fake_conn(f, "net1");
	text_free(&f->log);
	fake_event(f, c, IKE_EVENT_REFUSED, REASON_NO_PROPOSAL_CHOSEN);
	assert_string_equal(text_str(&f->log), "refused net1 NO_PROPOSAL_CHOSEN\n");
	assert_int_equal(c->phase, CONN_TRYING);
	assert_int_equal(c->failure->reason, REASON_NO_PROPOSAL_CHOSEN);
	assert_string_equal(fake_turn(f, 0), "");
	fake_event(f, c, IKE_EVENT_CHILD_UP, REASON_NONE);
	assert_null(c->failure);
	assert_int_equal(failure_log_count(conn_set_failures(f->set)), 1);
}

static void test_missing_key(void **state)
{
	struct fake *f = *state;

	f->no_key = true;
	fake_load(f, NET1 "    auto=start\n");
	const char *log = fake_turn(f, 0);
	assert_non_null(strstr(log, "failed net1 NO_SECRET"));
	assert_null(strstr(log, "up net1"));
	/* the secret comes: no waiting */
	fake_turn(f, 20 * S);
	f->no_key = false;
	conn_set_retry_now(f->set);
	assert_string_equal(fake_turn(f, 0), "up net1\n");
}

static void test_on_demand(void **state)
{
	struct fake *f = *state;

	fake_load(f, NET1 "    auto=ondemand\n");
	assert_string_equal(fake_turn(f, 0), "policy 16384 trap\n");
	struct conn *c = fake_conn(f, "net1");
	assert_string_equal(conn_state_name(c), "routed-ondemand");
	conn_set_acquire(f->set, 16384);
	assert_string_equal(fake_turn(f, 0), "policy 16384 protect\nup net1\n");
	/* it fails: the trap is set anew, for the next packet, and nothing is tried without one */
	fake_event(f, c, IKE_EVENT_FAILED, REASON_TIMEOUT);
	assert_string_equal(fake_turn(f, 0), "policy 16384 trap\n");
	assert_string_equal(fake_turn(f, 100 * S), "");
	conn_set_acquire(f->set, 16384);
	assert_string_equal(fake_turn(f, 0), "policy 16384 protect\nup net1\n");
	fake_event(f, c, IKE_EVENT_CHILD_UP, REASON_NONE);
	assert_string_equal(fake_turn(f, 0), "");
	/* one more packet while it is up changes nothing */
	conn_set_acquire(f->set, 16384);
	assert_string_equal(fake_turn(f, 0), "");
	conn_down(c);
	assert_string_equal(fake_turn(f, 0), "policy 16384 trap\n");
	conn_unroute(c);
	assert_string_equal(fake_turn(f, 0), "no policy 16384\n");
}

/* Packets go on coming while it is taken down, and are told of afterwards. */
static void test_traffic_after_down(void **state)
{
	struct fake *f = *state;
	struct conn_reply reply;

	fake_load(f, NET1 "    auto=add\n");
	fake_turn(f, 0);
	struct conn *c = fake_conn(f, "net1");
	conn_up(c, &reply);
	assert_string_equal(fake_turn(f, 0), "policy 16384 protect\nup net1\n");
	fake_event(f, c, IKE_EVENT_CHILD_UP, REASON_NONE);
	conn_down(c);
	conn_set_acquire(f->set, 16384);
	assert_string_equal(fake_turn(f, 0), "no policy 16384\n");
	conn_set_acquire(f->set, 16384);
	assert_string_equal(fake_turn(f, 0), "");
	/* what is routed is brought up by them */
	conn_route(c, &reply);
	conn_set_acquire(f->set, 16384);
	assert_string_equal(fake_turn(f, 0), "policy 16384 protect\nup net1\n");
}

/* A back end that gathers policies tells later that one is not there. */
static void test_policy_fails_later(void **state)
{
	struct fake *f = *state;

	fake_load(f, NET1 "    auto=start\n");
	conn_set_hold(f->set, true);
	assert_string_equal(fake_turn(f, 0), "policy 16384 protect\n");
	struct conn *c = fake_conn(f, "net1");
	text_free(&f->log);
	conn_set_policy_failed(f->set, 16384, "no room");
	assert_string_equal(text_str(&f->log), "failed net1 BACKEND\n");
	assert_string_equal(conn_state_name(c), "unrouted");
	assert_non_null(strstr(c->failure->text, "no room"));
	/* nothing is asked for without it */
	conn_set_hold(f->set, false);
	assert_string_equal(fake_turn(f, 0), "");
	assert_string_equal(fake_turn(f, 6 * S), "policy 16384 protect\nup net1\n");
	/* of what is not there, or not known, nothing is told */
	conn_down(c);
	fake_turn(f, 0);
	text_free(&f->log);
	conn_set_policy_failed(f->set, 16384, "no room");
	conn_set_policy_failed(f->set, 16388, "no room");
	assert_string_equal(text_str(&f->log), "");
}

static void test_route_command(void **state)
{
	struct fake *f = *state;
	struct conn_reply reply;

	fake_load(f, NET1 "    auto=add\n");
	fake_turn(f, 0);
	struct conn *c = fake_conn(f, "net1");
	text_free(&f->log);
	conn_route(c, &reply);
	assert_int_equal(reply.rc, CONN_RC_OK);
	assert_string_equal(text_str(&f->log), "policy 16384 trap\n");
	conn_unroute(c);
	assert_string_equal(fake_turn(f, 0), "no policy 16384\n");
	f->policy_fails = true;
	conn_route(c, &reply);
	assert_int_equal(reply.rc, CONN_RC_ROUTE);
	assert_non_null(strstr(reply.text, "no room"));
	assert_string_equal(fake_turn(f, 0), "");
}

static void dead_peer(struct fake *f, const char *config)
{
	fake_load(f, config);
	fake_turn(f, 0);
	struct conn *c = fake_conn(f, "net1");
	struct child_sa sa = { .id = 2, .reqid = 16384 };
	char err[256];

	assert_true(conn_child_adding(c, &sa, err));
	fake_event(f, c, IKE_EVENT_CHILD_UP, REASON_NONE);
	fake_turn(f, 20 * S);
	fake_event(f, c, IKE_EVENT_CHILD_DOWN, REASON_DPD);
	assert_int_equal(c->failure->reason, REASON_DPD);
}

static void test_dpd_restart(void **state)
{
	dead_peer(*state, NET1 "    auto=add\n    dpdaction=restart\n");
	assert_string_equal(fake_turn(*state, 2000), "up net1\n");
}

static void test_dpd_hold(void **state)
{
	dead_peer(*state, NET1 "    auto=add\n    dpdaction=hold\n");
	assert_string_equal(fake_turn(*state, 2000), "policy 16384 trap\n");
	conn_set_acquire(((struct fake *)*state)->set, 16384);
	assert_string_equal(fake_turn(*state, 0), "policy 16384 protect\nup net1\n");
}

static void test_dpd_clear(void **state)
{
	dead_peer(*state, NET1 "    auto=start\n    dpdaction=clear\n");
	assert_string_equal(fake_turn(*state, 2000), "no policy 16384\n");
	assert_string_equal(fake_turn(*state, 100 * S), "");
}

static void test_replace(void **state)
{
	struct fake *f = *state;

	fake_load(f, NET1 "    auto=start\n");
	fake_turn(f, 0);
	struct conn *c = fake_conn(f, "net1");
	fake_event(f, c, IKE_EVENT_CHILD_UP, REASON_NONE);
	fake_turn(f, 0);
	struct ike_conn *before = c->ike;
	/* nothing that matters has changed: the SA stays */
	fake_replace(f, NET1 "    auto=start\n", "net1");
	assert_ptr_equal(c->ike, before);
	assert_string_equal(fake_turn(f, 0), "policy 16384 protect\n");
	assert_int_equal(c->phase, CONN_UP);
	/* other selectors: down, the policy changes in place, and up again */
	fake_replace(f, NET1 "    rightsubnet=192.168.31.0/24\n    auto=start\n", "net1");
	fake_replace(f, "conn net1\n    left=192.168.20.10\n    leftsubnet=192.168.10.0/24\n    right=192.168.20.20\n"
			"    rightsubnet=192.168.31.0/24\n    authby=secret\n    auto=start\n", "net1");
	assert_string_equal(text_str(&f->log), "down net1 REPLACED\n");
	assert_string_equal(fake_turn(f, 0), "policy 16384 protect\nup net1\n");
	assert_int_equal(conn_set_count(f->set), 1);
	fake_event(f, c, IKE_EVENT_CHILD_UP, REASON_NONE);
	/* the configuration does not want it up any more: it stays as it is, and is not revived */
	fake_replace(f, "conn net1\n    left=192.168.20.10\n    leftsubnet=192.168.10.0/24\n    right=192.168.20.20\n"
			"    rightsubnet=192.168.31.0/24\n    authby=secret\n    auto=add\n", "net1");
	fake_turn(f, 0);
	fake_event(f, c, IKE_EVENT_CHILD_DOWN, REASON_PEER_DELETED);
	assert_null(strstr(fake_turn(f, 100 * S), "up"));
}

static void test_delete(void **state)
{
	struct fake *f = *state;

	fake_load(f, NET1 "    auto=start\n");
	fake_turn(f, 0);
	text_free(&f->log);
	conn_delete(fake_conn(f, "net1"));
	assert_string_equal(text_str(&f->log), "down net1 ADMIN\nno policy 16384\n");
	assert_null(conn_set_find(f->set, "net1", NULL));
	assert_int_equal(conn_set_count(f->set), 0);
}

static void test_aliases(void **state)
{
	struct fake *f = *state;
	int n = 0;

	fake_load(f, "conn many\n    left=192.168.20.10\n    right=192.168.20.20\n    authby=secret\n    auto=add\n"
		     "    leftsubnets=10.1.0.0/24,10.2.0.0/24\n    rightsubnets=10.3.0.0/24,10.4.0.0/24\n");
	for (struct conn *c = conn_set_find(f->set, "many", NULL); c != NULL; c = conn_set_find(f->set, "many", c))
		n++;
	assert_int_equal(n, 4);
	assert_non_null(conn_set_find(f->set, "many/1x2", NULL));
	assert_null(conn_set_find(f->set, "man", NULL));
}

/* Parts that the new configuration does not have go; what only looks alike stays. */
static void test_prune(void **state)
{
	struct fake *f = *state;

	fake_load(f, "conn many\n    left=192.168.20.10\n    right=192.168.20.20\n    authby=secret\n    auto=start\n"
		     "    leftsubnets=10.1.0.0/24,10.2.0.0/24\n    rightsubnet=10.3.0.0/24\n"
		     NET1 "    auto=add\nconn many/else\n    also=net1\n    auto=add\n");
	fake_turn(f, 0);
	struct conn *kept = fake_conn(f, "many/2x0");
	conn_set_prune(f->set, "many", fake_conn(f, "many/1x0")->source);
	assert_int_equal(conn_set_count(f->set), 4);
	struct conn_source other = { .refs = 2, .config = kept->source->config };
	struct conn_source *old = kept->source;
	kept->source = &other;
	conn_set_prune(f->set, "many", &other);
	assert_null(conn_set_find(f->set, "many/1x0", NULL));
	assert_ptr_equal(conn_set_find(f->set, "many", NULL), kept);
	assert_non_null(conn_set_find(f->set, "many/else", NULL));
	assert_int_equal(conn_set_count(f->set), 3);
	assert_non_null(strstr(text_str(&f->log), "no policy"));
	kept->source = old;
}

/* What an earlier SA was narrowed to says nothing about the connection's new networks. */
static void test_replace_widens(void **state)
{
	struct fake *f = *state;
	struct child_sa sa = { .id = 7 };
	struct ip_prefix inner;
	char err[256];

	fake_load(f, NET1 "    narrowing=yes\n    auto=start\n");
	fake_turn(f, 0);
	struct conn *c = fake_conn(f, "net1");
	sa.reqid = c->reqid;
	sa.local_ts = c->ike->local_ts;
	assert_true(ip_prefix_parse("192.168.30.64/26", &inner, NULL));
	struct traffic_selector ts = ts_from_prefix(&inner);
	ts_list_add(&sa.remote_ts, &ts);
	assert_true(conn_child_adding(c, &sa, err));
	assert_true(ts_list_equal(&f->last_policy.remote_ts, &sa.remote_ts));
	fake_event(f, c, IKE_EVENT_CHILD_UP, REASON_NONE);
	fake_replace(f, "conn net1\n    left=192.168.20.10\n    leftsubnet=192.168.10.0/24\n    right=192.168.20.20\n"
			"    rightsubnet=192.168.31.0/24\n    authby=secret\n    auto=start\n", "net1");
	fake_turn(f, 0);
	assert_true(ts_list_equal(&f->last_policy.remote_ts, &c->ike->remote_ts));
}

static void test_template(void **state)
{
	struct fake *f = *state;
	struct ike_conn *found[4];
	struct ip_address local, peer, other;
	struct conn_reply reply;
	struct child_sa sa = { .id = 7 };
	struct ip_prefix inner;
	char err[256];

	fake_load(f, "conn road\n    left=192.168.20.10\n    right=%any\n    rightid=%any\n    rightsubnet=10.0.0.0/8\n"
		     "    narrowing=yes\n    authby=secret\n    auto=start\n");
	assert_string_equal(fake_turn(f, 0), "");
	struct conn *c = fake_conn(f, "road");
	assert_true(conn_is_template(c));
	conn_up(c, &reply);
	assert_int_equal(reply.rc, CONN_RC_NO_PEER);
	assert_true(ip_address_parse("192.168.20.10", &local));
	assert_true(ip_address_parse("198.51.100.7", &peer));
	assert_true(ip_address_parse("198.51.100.8", &other));
	assert_int_equal(conn_set_candidates(f->set, &local, &peer, found, 4), 1);
	struct conn *one = found[0]->owner;
	assert_ptr_equal(one->template, c);
	assert_int_not_equal(one->reqid, c->reqid);
	assert_int_equal(found[0]->remote_id.type, IDENTITY_NONE);
	/* the same peer gets the same, another one another */
	assert_int_equal(conn_set_candidates(f->set, &local, &peer, found, 4), 1);
	assert_ptr_equal(found[0]->owner, one);
	assert_int_equal(conn_set_candidates(f->set, &local, &other, found, 4), 1);
	assert_ptr_not_equal(found[0]->owner, one);
	/* its policy is what its SA covers, and goes with it */
	sa.reqid = one->reqid;
	sa.local_ts = one->ike->local_ts;
	assert_true(ip_prefix_parse("10.1.2.0/24", &inner, NULL));
	struct traffic_selector ts = ts_from_prefix(&inner);
	ts_list_add(&sa.remote_ts, &ts);
	assert_true(conn_child_adding(one, &sa, err));
	assert_true(ts_list_equal(&f->last_policy.remote_ts, &sa.remote_ts));
	assert_true(ip_address_equal(&f->last_policy.remote, &peer));
	fake_event(f, one, IKE_EVENT_CHILD_UP, REASON_NONE);
	fake_turn(f, 0);
	fake_event(f, one, IKE_EVENT_CHILD_DOWN, REASON_PEER_DELETED);
	assert_non_null(strstr(fake_turn(f, 0), "down road ADMIN\nno policy"));
	/* the one that never came goes after a while */
	fake_turn(f, UINT64_C(200) * S);
	assert_int_equal(conn_set_count(f->set), 1);
}

static void test_failure_ring(void **state)
{
	struct fake *f = *state;

	fake_load(f, NET1 "    auto=add\n");
	for (int i = 0; i < 100; i++)
		fake_event(f, fake_conn(f, "net1"), IKE_EVENT_REFUSED, i < 50 ? REASON_TIMEOUT : REASON_TS_UNACCEPTABLE);
	const struct failure_log *log = conn_set_failures(f->set);
	assert_int_equal(failure_log_count(log), FAILURES_MAX);
	assert_int_equal(failure_log_at(log, 0)->reason, REASON_TIMEOUT);
	assert_int_equal(failure_log_at(log, FAILURES_MAX - 1)->reason, REASON_TS_UNACCEPTABLE);
	assert_null(failure_log_at(log, FAILURES_MAX));
	assert_string_equal(failure_log_at(log, 0)->conn, "net1");
	assert_int_equal(failure_log_at(log, 0)->line, 1);
	assert_non_null(failure_log_at(log, 0)->remedy);
}

static void test_exit_codes(void **state)
{
	(void)state;
	assert_int_equal(conn_rc_of(REASON_NONE), 0);
	assert_int_equal(conn_rc_of(REASON_TIMEOUT), 51);
	assert_int_equal(conn_rc_of(REASON_NO_SECRET), 28);
	assert_int_equal(conn_rc_of(REASON_BACKEND), 25);
	assert_int_equal(conn_rc_of(REASON_AUTHENTICATION_FAILED), 56);
	assert_int_equal(conn_rc_of(REASON_NO_PROPOSAL_CHOSEN), 56);
	assert_int_equal(conn_rc_of(REASON_TS_UNACCEPTABLE), 56);
	assert_int_equal(conn_rc_of(REASON_INTERNAL), 52);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(test_reqids), WITH(test_start_policy_first), WITH(test_no_policy_no_negotiation),
		WITH(test_add_has_no_policy_until_up), WITH(test_responder_keeps_protecting), WITH(test_back_off),
		WITH(test_back_off_ends_when_stable), WITH(test_up_ends_waiting), WITH(test_up_renews_an_old_attempt), WITH(test_bursts), WITH(test_refused_goes_on),
		WITH(test_missing_key), WITH(test_on_demand), WITH(test_traffic_after_down), WITH(test_policy_fails_later), WITH(test_route_command), WITH(test_dpd_restart),
		WITH(test_dpd_hold), WITH(test_dpd_clear), WITH(test_replace), WITH(test_delete), WITH(test_aliases),
		WITH(test_prune), WITH(test_replace_widens), WITH(test_reqid_is_taken),
		WITH(test_refused_policy_waits), WITH(test_template), WITH(test_failure_ring), cmocka_unit_test(test_exit_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
