/* The engine once a tunnel is up: rekeys, lifetimes, liveness, peers that start anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine_host.h"

static int setup(void **state)
{
	*state = world_new();
	return 0;
}

static int teardown(void **state)
{
	world_free(*state);
	return 0;
}

static bool is_up(struct world *w)
{
	for (unsigned i = 0; i < ENDS; i++) {
		struct end *n = &w->end[i], *o = &w->end[1 - i];

		if (end_ikes(n) != 1 || end_children(n) != 1 || n->in_count != 1 || n->out_count != 1 || n->spis_out ||
		    n->out[0].out.spi != o->in[0].in.spi ||
		    memcmp(n->out[0].out.encr_key.bytes, o->in[0].in.encr_key.bytes, 36) != 0)
			return false;
	}
	return true;
}

static void bring_up(struct world *w)
{
	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	world_settle(w);
	assert_true(is_up(w));
}

/* Deliver one datagram of the queue. */
static void step(struct world *w)
{
	struct wire d = w->queue[0];

	assert_true(w->count > 0);
	memmove(&w->queue[0], &w->queue[1], --w->count * sizeof(d));
	for (unsigned i = 0; i < ENDS; i++)
		if (ip_address_equal(&w->end[i].address.address, &d.to.address))
			ike_engine_receive(w->end[i].engine, &d.to, &d.from, BYTES(d.bytes, d.len));
}

/* At no step does an end send on what the other cannot receive. */
static void assert_receivable(struct world *w)
{
	for (unsigned i = 0; i < ENDS; i++) {
		struct end *n = &w->end[i], *o = &w->end[1 - i];
		uint32_t spi = n->out_count ? n->out[n->out_count - 1].out.spi : 0;
		bool found = false;

		assert_true(spi != 0);
		for (size_t k = 0; k < o->in_count; k++)
			found |= o->in[k].in.spi == spi;
		assert_true(found);
	}
}

static void rekey_make_before_break(struct world *w, unsigned who)
{
	uint32_t first[ENDS] = { w->end[0].in[0].in.spi, w->end[1].in[0].in.spi };

	assert_true(ike_engine_rekey_child(w->end[who].engine, w->end[who].conns[0]));
	while (w->count) {
		step(w);
		assert_receivable(w);
	}
	for (unsigned i = 0; i < ENDS; i++) {
		assert_int_equal(w->end[i].in_count, 2); /* the old inbound half stays for what is on its way */
		assert_int_equal(w->end[i].in[0].in.spi, first[i]);
		assert_int_equal(w->end[i].out_count, 1);
		assert_int_equal(w->end[i].told[IKE_EVENT_CHILD_REKEYED], 1);
		assert_int_equal(w->end[i].told[IKE_EVENT_CHILD_DOWN], 0);
	}
	world_run(w, 5 * US_PER_S);
	assert_true(is_up(w));
	assert_int_not_equal(w->end[0].in[0].in.spi, first[0]);
}

static void test_rekey_child(void **state)
{
	struct world *w = *state;

	bring_up(w);
	rekey_make_before_break(w, 0);
	assert_true(end_said(&w->end[0], "initiating rekey to replace Child SA #2 using IKE SA #1"));
	assert_true(end_said(&w->end[0], "initiator rekeyed Child SA #2 using #1; IPsec tunnel "
					 "[192.168.10.0/24===192.168.30.0/24]"));
	assert_true(end_said(&w->end[0], "xfrm=AES_GCM_16_256-DH31"));
}

static void test_rekey_child_by_responder(void **state)
{
	struct world *w = *state;

	bring_up(w);
	rekey_make_before_break(w, 1);
}

/* The responder changes over at the first packet already. */
static void test_first_packet(void **state)
{
	struct world *w = *state;
	uint32_t id;

	bring_up(w);
	ike_engine_rekey_child(w->end[0].engine, w->end[0].conns[0]);
	step(w); /* request */
	assert_int_equal(w->end[1].in_count, 2);
	assert_int_equal(w->end[1].out_count, 1);
	id = w->end[1].in[1].id;
	assert_int_not_equal(w->end[1].out[0].id, id);
	step(w); /* response */
	assert_int_equal(w->end[0].out[0].out.spi, w->end[1].in[1].in.spi);
	ike_engine_first_packet(w->end[1].engine, id);
	assert_int_equal(w->end[1].out_count, 1);
	assert_int_equal(w->end[1].out[0].id, id);
	world_run(w, 5 * US_PER_S);
	assert_true(is_up(w));
}

/* Peers whose ESP proposals know no key exchange: offered with and without. RFC 7296 §1.3 */
static void test_rekey_without_ke(void **state)
{
	struct world *w = *state;

	w->end[1].conns[0]->pfs = false;
	bring_up(w);
	ike_engine_rekey_child(w->end[1].engine, w->end[1].conns[0]); /* offers none */
	world_run(w, 5 * US_PER_S);
	assert_true(is_up(w));
	assert_int_equal(w->end[0].told[IKE_EVENT_CHILD_REKEYED], 1);
	assert_false(end_said(&w->end[1], "-DH31"));
}

/* pfs=yes was written: nothing without a key exchange. The rekey is tried again, the SA goes on. */
static void test_pfs_required(void **state)
{
	struct world *w = *state;

	w->end[0].conns[0]->pfs_required = true;
	w->end[1].conns[0]->pfs = false;
	bring_up(w);
	ike_engine_rekey_child(w->end[1].engine, w->end[1].conns[0]);
	world_run(w, 5 * US_PER_S);
	assert_true(is_up(w));
	assert_int_equal(w->end[0].told[IKE_EVENT_CHILD_REKEYED], 0);
	assert_true(end_said(&w->end[1], "rekey of Child SA #2 was rejected with NO_PROPOSAL_CHOSEN; trying again"));
	assert_int_equal(w->end[1].told[IKE_EVENT_FAILED], 0);
	assert_int_equal(w->end[0].told[IKE_EVENT_FAILED], 0);
	ike_engine_rekey_child(w->end[0].engine, w->end[0].conns[0]);
	world_run(w, 120 * US_PER_S);
	assert_true(is_up(w));
	assert_true(w->end[0].told[IKE_EVENT_CHILD_REKEYED] >= 1);
}

static void test_rekey_ike(void **state)
{
	struct world *w = *state;
	uint32_t spi;

	bring_up(w);
	spi = w->end[0].in[0].in.spi;
	assert_true(ike_engine_rekey_ike(w->end[0].engine, w->end[0].conns[0]));
	world_run(w, US_PER_S);
	assert_true(is_up(w));
	assert_int_equal(w->end[0].in[0].in.spi, spi); /* Child SAs are inherited */
	assert_true(end_said(&w->end[0], "initiator rekeyed IKE SA #1 {cipher=AES_GCM_16_256 integ=n/a "
					 "prf=HMAC_SHA2_256 ke=DH31}"));
	assert_int_equal(w->end[0].told[IKE_EVENT_IKE_DOWN], 0);
	assert_int_equal(w->end[1].told[IKE_EVENT_IKE_REKEYED], 1);
	/* and by the other end, with a Child SA that works in it */
	assert_true(ike_engine_rekey_ike(w->end[1].engine, w->end[1].conns[0]));
	world_run(w, US_PER_S);
	rekey_make_before_break(w, 1);
	world_run(w, 20 * US_PER_S);
	assert_int_equal(ike_engine_counters(w->end[0].engine)->ike_total, 1);
}

static void keep_prf(void *context, const struct ike_sa_info *info)
{
	*(uint16_t *)context = info->suite.prf->id;
}

static uint16_t prf_of(struct end *n)
{
	uint16_t prf = 0;

	ike_engine_each_ike(n->engine, keep_prf, &prf);
	return prf;
}

/* A rekey keeps the PRF where it can: peers disagree about what makes the keys when it changes. */
static void test_rekey_ike_keeps_prf(void **state)
{
	struct world *w = *state;

	conn_set_algorithms(w->end[0].conns[0], "aes_gcm256-sha2_512+sha2_256-dh31", "aes_gcm256");
	conn_set_algorithms(w->end[1].conns[0], "aes_gcm256-sha2_256+sha2_512-dh31", "aes_gcm256");
	bring_up(w);
	for (unsigned i = 0; i < ENDS; i++) {
		ike_engine_rekey_ike(w->end[i].engine, w->end[i].conns[0]);
		world_run(w, US_PER_S);
		assert_true(is_up(w));
		assert_int_equal(prf_of(&w->end[0]), PRF_HMAC_SHA2_256);
		assert_int_equal(prf_of(&w->end[1]), PRF_HMAC_SHA2_256);
	}
	rekey_make_before_break(w, 0);
}

/* A short life: rekeyed before its end, again and again, by one end only. */
static void test_short_life(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < ENDS; i++)
		w->end[i].conns[0]->child_lifetime_us = 20 * US_PER_S;
	bring_up(w);
	world_run(w, 300 * US_PER_S);
	for (unsigned i = 0; i < ENDS; i++) {
		assert_int_equal(w->end[i].told[IKE_EVENT_CHILD_DOWN], 0);
		/* between life - 2 * margin (10 s) and life - margin (15 s) */
		assert_in_range(w->end[i].told[IKE_EVENT_CHILD_REKEYED], 19, 30);
	}
	assert_false(end_said(&w->end[1], "initiator rekeyed"));
}

static void test_expires(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < ENDS; i++) {
		w->end[i].conns[0]->rekey = false;
		w->end[i].conns[0]->child_lifetime_us = (100 + 50 * i) * US_PER_S;
	}
	bring_up(w);
	world_run(w, 99 * US_PER_S);
	assert_true(is_up(w));
	world_run(w, 2 * US_PER_S);
	assert_int_equal(end_event(&w->end[0], IKE_EVENT_CHILD_DOWN)->reason, REASON_EXPIRED);
	assert_int_equal(end_event(&w->end[1], IKE_EVENT_CHILD_DOWN)->reason, REASON_PEER_DELETED);
	assert_int_equal(w->end[0].in_count + w->end[0].out_count + w->end[1].in_count + w->end[1].out_count, 0);
}

static void test_limits(void **state)
{
	struct world *w = *state;
	uint32_t in;

	bring_up(w);
	in = w->end[0].in[0].in.spi;
	ike_engine_expire(w->end[0].engine, w->end[0].out[0].out.spi, SA_OUT, false);
	world_run(w, 5 * US_PER_S);
	assert_true(is_up(w));
	assert_int_not_equal(w->end[0].in[0].in.spi, in);
	ike_engine_expire(w->end[0].engine, w->end[0].in[0].in.spi, SA_IN, true);
	assert_int_equal(end_event(&w->end[0], IKE_EVENT_CHILD_DOWN)->reason, REASON_EXPIRED);
	ike_engine_expire(w->end[0].engine, 0x7777, SA_IN, true); /* nobody's */
}

/* A peer that is silent is asked, and is gone when it does not answer. */
static void test_dpd(void **state)
{
	struct world *w = *state;
	const struct ike_counters *c;

	w->end[0].conns[0]->dpd_delay_us = 10 * US_PER_S;
	bring_up(w);
	c = ike_engine_counters(w->end[0].engine);
	world_run(w, 101 * US_PER_S);
	assert_in_range(c->dpd_probes, 9, 10);
	w->end[0].in_last_s = 0; /* ESP comes in: no questions */
	world_run(w, 100 * US_PER_S);
	assert_in_range(c->dpd_probes, 9, 11);
	w->end[0].in_last_s = UINT64_MAX;
	w->cut = true;
	world_run(w, 59 * US_PER_S);
	assert_int_equal(w->end[0].told[IKE_EVENT_CHILD_DOWN], 0);
	world_run(w, 13 * US_PER_S);
	assert_int_equal(end_event(&w->end[0], IKE_EVENT_CHILD_DOWN)->reason, REASON_DPD);
	assert_int_equal(end_event(&w->end[0], IKE_EVENT_IKE_DOWN)->reason, REASON_DPD);
	assert_int_equal(end_ikes(&w->end[0]), 0);
	assert_int_equal(w->end[0].in_count + w->end[0].out_count, 0);
}

/* A restarted peer's new SA replaces the old one, which is told to nobody and waits for nobody. */
static void test_restarted_peer(void **state)
{
	struct world *w = *state;
	struct end *peer = &w->end[1];

	bring_up(w);
	ike_engine_free(peer->engine);
	peer->in_count = peer->out_count = 0;
	peer->engine = ike_engine_new(&peer->host, &peer->config);
	assert_int_equal(ike_engine_up(peer->engine, peer->conns[0]), IKE_UP_STARTED);
	world_settle(w);
	assert_true(is_up(w));
	assert_int_equal(w->end[0].told[IKE_EVENT_CHILD_DOWN], 0); /* its new one was there first */
	assert_int_equal(end_event(&w->end[0], IKE_EVENT_IKE_DOWN)->reason, REASON_REPLACED);
}

/* uniqueids=no, and no INITIAL_CONTACT: both stay. */
static void test_not_unique(void **state)
{
	struct world *w = *state;
	struct end *peer = &w->end[1];

	w->end[0].conns[0]->unique_ids = false;
	bring_up(w);
	ike_engine_free(peer->engine);
	peer->in_count = peer->out_count = 0;
	peer->engine = ike_engine_new(&peer->host, &peer->config);
	ike_engine_up(peer->engine, peer->conns[0]);
	world_settle(w);
	assert_int_equal(end_ikes(&w->end[0]), 2);
	/* the peer says that it has nothing else: the others go */
	ike_engine_free(peer->engine);
	peer->in_count = peer->out_count = 0;
	peer->conns[0]->initial_contact = true;
	peer->engine = ike_engine_new(&peer->host, &peer->config);
	ike_engine_up(peer->engine, peer->conns[0]);
	world_settle(w);
	assert_true(is_up(w));
}

/* Both ends initiate in the same moment: one IKE SA is left, and traffic had one all the time. */
static void test_both_initiate(void **state)
{
	struct world *w = *state;

	world_start(w);
	for (unsigned i = 0; i < ENDS; i++)
		ike_engine_up(w->end[i].engine, w->end[i].conns[0]);
	while (w->count) {
		step(w);
		if (w->end[0].out_count && w->end[1].out_count && w->count == 0)
			assert_receivable(w);
	}
	for (unsigned i = 0; i < 40; i++) {
		world_run(w, US_PER_S / 4);
		assert_receivable(w);
	}
	assert_true(is_up(w));
	for (unsigned i = 0; i < ENDS; i++) {
		assert_int_equal(w->end[i].told[IKE_EVENT_CHILD_DOWN], 0);
		assert_int_equal(w->end[i].told[IKE_EVENT_FAILED], 0);
	}
}

/* RFC 7296 §2.8.1 and §2.8.2: both rekey the same SA at once. */
static void test_simultaneous_rekeys(void **state)
{
	struct world *w = *state;

	bring_up(w);
	for (unsigned round = 0; round < 8; round++) {
		for (unsigned i = 0; i < ENDS; i++) {
			if (round & 1)
				ike_engine_rekey_ike(w->end[i].engine, w->end[i].conns[0]);
			else
				ike_engine_rekey_child(w->end[i].engine, w->end[i].conns[0]);
		}
		while (w->count) {
			step(w);
			assert_receivable(w);
		}
		world_run(w, 20 * US_PER_S);
		assert_true(is_up(w));
	}
	assert_int_equal(w->end[0].told[IKE_EVENT_CHILD_DOWN] + w->end[1].told[IKE_EVENT_CHILD_DOWN], 0);
	assert_int_equal(w->end[0].told[IKE_EVENT_IKE_DOWN] + w->end[1].told[IKE_EVENT_IKE_DOWN], 0);
}

/* Selectors: the answer may be narrower only when the connection allows it. */
static void narrow(struct world *w, bool allowed)
{
	struct ip_prefix p;
	struct traffic_selector ts;

	ip_prefix_parse("192.168.10.0/25", &p, NULL);
	ts = ts_from_prefix(&p);
	w->end[1].conns[0]->remote_ts.count = 0;
	ts_list_add(&w->end[1].conns[0]->remote_ts, &ts);
	w->end[0].conns[0]->narrowing = allowed;
	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	world_run(w, 2 * US_PER_S);
}

static void test_narrowed(void **state)
{
	struct world *w = *state;

	narrow(w, true);
	assert_true(is_up(w));
	assert_true(end_said(&w->end[0], "[192.168.10.0/25===192.168.30.0/24]"));
	rekey_make_before_break(w, 0);
	assert_true(is_up(w));
}

static void test_not_narrowed(void **state)
{
	struct world *w = *state;
	const struct seen_event *ev;

	narrow(w, false);
	ev = end_event(&w->end[0], IKE_EVENT_FAILED);
	assert_int_equal(ev->reason, REASON_TS_UNACCEPTABLE);
	assert_string_equal(ev->ours, "192.168.10.0/24===192.168.30.0/24");
	assert_string_equal(ev->theirs, "192.168.10.0/25===192.168.30.0/24");
	assert_int_equal(w->end[1].in_count + w->end[1].out_count, 0); /* deleted at the peer */
}

static void test_refused_by_back_end(void **state)
{
	struct world *w = *state;

	w->end[0].refuse_add = true;
	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	world_run(w, 2 * US_PER_S);
	assert_int_equal(end_event(&w->end[0], IKE_EVENT_FAILED)->reason, REASON_BACKEND);
	assert_int_equal(w->end[1].in_count + w->end[1].out_count, 0);
	assert_int_equal(w->end[0].spis_out, 0);
}

static void test_shutdown(void **state)
{
	struct world *w = *state;

	bring_up(w);
	ike_engine_shutdown(w->end[0].engine);
	assert_int_equal(end_ikes(&w->end[0]), 0);
	assert_int_equal(w->end[0].in_count + w->end[0].out_count, 0);
	world_settle(w);
	assert_int_equal(end_event(&w->end[1], IKE_EVENT_CHILD_DOWN)->reason, REASON_PEER_DELETED);
	assert_int_equal(end_ikes(&w->end[1]), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(rekey_child), T(rekey_child_by_responder), T(first_packet), T(rekey_without_ke), T(pfs_required),
		T(rekey_ike), T(rekey_ike_keeps_prf), T(short_life), T(expires), T(limits), T(dpd), T(restarted_peer),
		T(not_unique), T(both_initiate), T(simultaneous_rekeys), T(narrowed), T(not_narrowed),
		T(refused_by_back_end), T(shutdown),
	};

	return cmocka_run_group_tests_name("ike.engine_life", tests, NULL, NULL);
}
