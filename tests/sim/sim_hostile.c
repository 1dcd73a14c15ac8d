/* What strangers send; and that a seed replays. */
#include "ike/message.h"
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#define SECONDS(n) ((n) * US_PER_S)

static void rekey(struct sim *s, unsigned what)
{
	struct sim_node *n = &s->node[what & 1];

	if (what & 2)
		ike_engine_rekey_ike(n->engine, n->conn);
	else
		ike_engine_rekey_child(n->engine, n->conn);
	sim_node_called(n);
}

/* Changed, cut, old and reflected copies of what the ends say, from the first datagram on. */
static void from_the_start(struct sim *s)
{
	s->network.hostile_percent = 60;
	s->network.delay_max_us = 20 * US_PER_MS;
	s->packet_interval_us = 50 * US_PER_MS;
	s->node[0].wanted = true;
	sim_start(s);
	sim_up(&s->node[0]);
	/* before authentication a stranger can spoil an attempt, not the next one */
	SIM_CHECK(s, sim_run_until(s, SECONDS(600), sim_is_up), "not up");
	for (unsigned i = 0; i < 6; i++) {
		rekey(s, (unsigned)prng_below(&s->chance, 4));
		SIM_CHECK(s, sim_run(s, SECONDS(5)), "failed");
	}
	s->network.hostile_percent = 0;
	SIM_CHECK(s, sim_run_until(s, SECONDS(300), sim_is_quiet), "not quiet: %zu %zu, %zu %zu",
		  sim_count_ike(&s->node[0]), sim_count_child(&s->node[0]), sim_count_ike(&s->node[1]),
		  sim_count_child(&s->node[1]));
}

/* Once authenticated, nothing that a stranger sends changes anything. */
static void once_up(struct sim *s)
{
	s->packet_interval_us = 50 * US_PER_MS;
	for (unsigned i = 0; i < SIM_NODES; i++)
		s->node[i].conn->dpd_delay_us = SECONDS(2);
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(2), sim_is_up), "not up");
	s->network.hostile_percent = 100;
	for (unsigned i = 0; i < 20; i++) {
		rekey(s, (unsigned)prng_below(&s->chance, 4));
		SIM_CHECK(s, sim_run(s, SECONDS(3)), "failed");
	}
	for (unsigned i = 0; i < SIM_NODES; i++) {
		const struct ike_counters *c = ike_engine_counters(s->node[i].engine);

		SIM_CHECK(s, s->node[i].told[IKE_EVENT_CHILD_DOWN] == 0, "node %u went down", i);
		SIM_CHECK(s, s->node[i].told[IKE_EVENT_IKE_UP] == 1, "node %u: %u IKE SAs came up", i,
			  s->node[i].told[IKE_EVENT_IKE_UP]);
		SIM_CHECK(s, s->node[i].told[IKE_EVENT_FAILED] == 0, "node %u: something failed", i);
		SIM_CHECK(s, c->dropped_malformed + c->dropped_integrity + c->dropped_unknown_spi +
				     c->dropped_replay > 10,
			  "node %u does not count what it drops", i);
	}
	s->network.hostile_percent = 0;
	SIM_CHECK(s, sim_run_until(s, SECONDS(300), sim_is_quiet), "not quiet");
}

/* Bytes from nowhere. */
static void noise(struct sim *s)
{
	struct sim_node *n = &s->node[1];
	uint8_t bytes[600];

	s->packet_interval_us = 50 * US_PER_MS;
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(2), sim_is_up), "not up");
	for (unsigned i = 0; i < 3000; i++) {
		size_t len = prng_below(&s->chance, sizeof(bytes));

		for (size_t j = 0; j < len; j++)
			bytes[j] = (uint8_t)prng_next(&s->chance);
		if (len >= 28) {
			bytes[17] = 0x20;
			bytes[18] = (uint8_t)(34 + prng_below(&s->chance, 4));
			bytes[24] = bytes[25] = 0;
			bytes[26] = (uint8_t)(len >> 8);
			bytes[27] = (uint8_t)len;
		}
		ike_engine_receive(n->engine, &n->address, &s->node[0].address, BYTES(bytes, len));
		sim_node_called(n);
		SIM_CHECK(s, sim_run(s, 10 * US_PER_MS), "failed");
	}
	SIM_CHECK(s, sim_run_until(s, SECONDS(120), sim_is_quiet), "not quiet");
}

static void init_request(uint8_t *buf, size_t cap, uint64_t spi, struct bytes *out)
{
	struct ike_header h = { .spi_i = spi, .exchange = EXCHANGE_IKE_SA_INIT, .initiator = true };
	static uint8_t public_value[32] = { 9 };
	struct proposal_list list = { .count = 1 };
	struct message_builder b;
	uint8_t nonce[32];

	memset(nonce, (int)(spi & 0xff), sizeof(nonce));
	list.p[0] = (struct proposal){ .number = 1, .protocol = PROTOCOL_IKE, .count = 3,
				       .transforms = { { TRANSFORM_ENCR, ENCR_AES_GCM_16, 256 },
						       { TRANSFORM_PRF, PRF_HMAC_SHA2_256, 0 },
						       { TRANSFORM_KE, KE_CURVE25519, 0 } } };
	public_value[0] = (uint8_t)(9 + (spi & 7));
	builder_begin(&b, buf, cap, &h);
	builder_sa(&b, &list);
	builder_ke(&b, KE_CURVE25519, BYTES(public_value, sizeof(public_value)));
	builder_nonce(&b, BYTES(nonce, sizeof(nonce)));
	*out = builder_end(&b);
}

/* A flood of first messages: cookies are asked for, memory is bounded, and it all goes away. */
static void flood(struct sim *s)
{
	struct sim_node *n = &s->node[1];
	struct ip_endpoint stranger = { .port = 500 };
	uint8_t buf[512];

	n->config.cookie_threshold = 50;
	n->config.half_open_max = 100;
	n->conn->remote = (struct ip_endpoint){ 0 };
	n->conn->remote_id = (struct identity){ 0 };
	s->packet_interval_us = 50 * US_PER_MS;
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(2), sim_is_up), "not up");
	for (unsigned i = 0; i < 500; i++) {
		struct bytes d;

		ip_address_parse("198.51.100.1", &stranger.address);
		stranger.address.bytes[3] = (uint8_t)i;
		init_request(buf, sizeof(buf), 1000 + i, &d);
		ike_engine_receive(n->engine, &n->address, &stranger, d);
		n->second_sent = 0; /* answers to a flood are no storm */
		sim_node_called(n);
		SIM_CHECK(s, sim_run(s, US_PER_MS), "failed");
	}
	SIM_CHECK(s, ike_engine_counters(n->engine)->half_open <= 50, "%u half-open SAs",
		  (unsigned)ike_engine_counters(n->engine)->half_open);
	SIM_CHECK(s, ike_engine_counters(n->engine)->cookies_sent >= 400, "%u cookies",
		  (unsigned)ike_engine_counters(n->engine)->cookies_sent);
	/* who is real comes through */
	sim_node_crash(&s->node[0]);
	sim_node_start(&s->node[0]);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(5), sim_is_up), "the true peer does not come through");
	SIM_CHECK(s, sim_run_until(s, SECONDS(60), sim_is_quiet), "not quiet");
	SIM_CHECK(s, ike_engine_counters(n->engine)->half_open == 0, "half-open SAs stay");
}

/* A run of everything, for its trace. */
static void run_for_trace(struct sim *s)
{
	s->network.loss_percent = 15;
	s->network.duplicate_percent = 15;
	s->network.hostile_percent = 15;
	s->network.delay_max_us = 100 * US_PER_MS;
	s->packet_interval_us = 200 * US_PER_MS;
	for (unsigned i = 0; i < SIM_NODES; i++) {
		struct ike_conn *c = s->node[i].conn;

		s->node[i].wanted = true;
		c->child_lifetime_us = SECONDS(120);
		c->ike_lifetime_us = SECONDS(300);
		c->rekey_margin_us = SECONDS(60);
		c->dpd_delay_us = SECONDS(10);
	}
	sim_start(s);
	sim_up(&s->node[0]);
	sim_up(&s->node[1]);
	sim_run(s, SECONDS(1800));
}

/* The engine is pure: the same seed gives the same bytes at the same times. */
static void replays(struct sim *s)
{
	struct sim *again = sim_new(s->seed, false), *other = sim_new(s->seed + 1000, false);
	bool same, different;

	run_for_trace(s);
	run_for_trace(again);
	run_for_trace(other);
	same = s->trace_hash == again->trace_hash;
	different = s->trace_hash != other->trace_hash;
	sim_free(again);
	sim_free(other);
	SIM_CHECK(s, same, "the same seed gives another trace");
	SIM_CHECK(s, different, "another seed gives the same trace");
}

int main(int argc, char **argv)
{
	static const struct scenario scenarios[] = {
		{ "hostile from the start", from_the_start, 40 },
		{ "hostile once it is up", once_up, 20 },
		{ "noise", noise, 3 },
		{ "a flood of first messages", flood, 2 },
		{ "a seed replays", replays, 4 },
	};

	return sim_main(argc, argv, scenarios, sizeof(scenarios) / sizeof(scenarios[0]));
}
