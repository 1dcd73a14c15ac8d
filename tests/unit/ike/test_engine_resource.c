/* RFC 9611 in the engine: who asks, what is in the messages, and where it stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "crypto/sk.h"
#include "engine_host.h"

enum { MINE = 4 };

static int setup(void **state)
{
	struct world *w = world_new();

	w->end[0].conns[0]->resources = w->end[1].conns[0]->resources = MINE;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	world_free(*state);
	return 0;
}

static void begin(struct world *w)
{
	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	world_run(w, US_PER_S);
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

/* --- what an end of the newest IKE SA can read and write --- */

struct keys {
	bool of_peer; /* those that the other end seals with */
	struct ike_header h;
	struct sk *sk;
};

static void keep_keys(void *context, const struct ike_sa_info *info, struct bytes ei, struct bytes er, struct bytes ai,
		      struct bytes ar)
{
	struct keys *k = context;
	bool initiator = info->initiator != k->of_peer;

	sk_free(k->sk);
	k->sk = initiator ? sk_new(&info->suite, ei, ai) : sk_new(&info->suite, er, ar);
	k->h = (struct ike_header){ .spi_i = info->spi_i, .spi_r = info->spi_r, .version = 0x20, .initiator = initiator };
}

static void no_child(void *context, const struct child_sa *sa)
{
	(void)context;
	(void)sa;
}

static struct keys keys_of(struct end *n, bool of_peer)
{
	struct keys k = { .of_peer = of_peer };

	ike_engine_export_keys(n->engine, keep_keys, no_child, &k);
	assert_non_null(k.sk);
	return k;
}

/* The last datagram, that `n` sent, decrypted into memory of the test. */
static const struct message *last_sent(struct end *n)
{
	static uint8_t bytes[4096];
	static struct message m;
	struct keys k = keys_of(n, false);
	size_t len = n->world->last.len;

	memcpy(bytes, n->world->last.bytes, len);
	assert_int_equal(message_decode_protected(bytes, len, k.sk, &m), DECODE_OK);
	sk_free(k.sk);
	return &m;
}

static uint8_t out[4096];

static void peer_begin(const struct keys *k, enum exchange_type exchange, bool response, uint32_t id,
		       struct message_builder *b)
{
	static uint8_t iv[16] = { 0xff };
	struct ike_header h = k->h;

	h.exchange = (uint8_t)exchange;
	h.response = response;
	h.message_id = id;
	iv[7]++;
	builder_begin(b, out, sizeof(out), &h);
	builder_protect(b, k->sk, iv);
}

static void peer_send(struct keys *k, struct end *to, struct message_builder *b)
{
	struct bytes bytes = builder_end_protected(b, k->sk);

	assert_true(bytes.len > 0);
	end_inject(to, bytes.ptr, bytes.len);
	sk_free(k->sk);
}

/* The peer refuses the request of `n` that is under way. */
static void refuse(struct end *n, uint32_t id, uint16_t notify)
{
	struct keys k = keys_of(n, true);
	struct message_builder b;

	peer_begin(&k, EXCHANGE_CREATE_CHILD_SA, true, id, &b);
	builder_notify(&b, notify, 0, BYTES(NULL, 0), BYTES(NULL, 0));
	peer_send(&k, n, &b);
}

/* --- what there is --- */

static size_t of_resource(const struct child_sa *list, size_t count, unsigned resource)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += list[i].resource == resource;
	return n;
}

static void assert_complete(struct world *w)
{
	for (unsigned i = 0; i < ENDS; i++) {
		struct end *n = &w->end[i];

		assert_int_equal(end_children(n), 1 + MINE);
		assert_int_equal(n->spis_out, 0);
		for (unsigned r = 0; r <= MINE; r++) {
			assert_int_equal(of_resource(n->in, n->in_count, r), 1);
			assert_int_equal(of_resource(n->out, n->out_count, r), 1);
		}
	}
}

/*
 * §3: "Additional resource-specific Child SAs are negotiated as regular Child SAs using the
 * CREATE_CHILD_SA exchange and are identified by an accompanying SA_RESOURCE_INFO notification", and
 * "MUST be negotiated with identical Child SA properties". §5.1: protocol and SPI size are 0.
 */
static void test_messages(void **state)
{
	struct world *w = *state;
	const struct message *m;
	const struct notify *n;
	uint16_t encr;

	conn_set_algorithms(w->end[0].conns[0], "aes_gcm256-sha2_256-dh31", "aes_gcm128,aes_gcm256");
	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	step(w);
	step(w);
	n = message_notify(last_sent(&w->end[0]), N_SA_RESOURCE_INFO); /* IKE_AUTH request */
	assert_non_null(n);
	assert_int_equal(n->protocol, 0);
	assert_int_equal(n->spi.len + n->data.len, 0);
	step(w);
	m = last_sent(&w->end[1]);
	assert_int_equal(m->header.exchange, EXCHANGE_IKE_AUTH);
	assert_non_null(message_notify(m, N_SA_RESOURCE_INFO));
	encr = m->sa.p[0].transforms[0].key_bits;
	step(w);
	m = last_sent(&w->end[0]);
	assert_int_equal(m->header.exchange, EXCHANGE_CREATE_CHILD_SA);
	n = message_notify(m, N_SA_RESOURCE_INFO);
	assert_non_null(n);
	assert_int_equal(n->type, 16444);
	assert_int_equal(n->protocol, 0);
	assert_int_equal(n->spi.len, 0);
	assert_null(message_notify(m, N_REKEY_SA));
	assert_true(ts_list_equal(&m->tsi, &w->end[0].in[0].local_ts));
	assert_true(ts_list_equal(&m->tsr, &w->end[0].in[0].remote_ts));
	for (size_t i = 0; i < m->sa.count; i++)
		assert_int_equal(m->sa.p[i].transforms[0].key_bits, encr);
	step(w);
	assert_non_null(message_notify(last_sent(&w->end[1]), N_SA_RESOURCE_INFO));
	world_run(w, 10 * US_PER_S);
	assert_complete(w);
	for (unsigned i = 0; i < ENDS; i++)
		assert_int_equal(w->end[i].told[IKE_EVENT_CHILD_UP], 1);
}

/* One resource at either end: not a byte of it, and the answer of who does not know it ends it. */
static void test_not_wanted(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < ENDS; i++) {
		w->end[i].conns[0]->resources = 1;
		w->end[1 - i].conns[0]->resources = MINE;
		w->end[0].engine = w->end[1].engine = NULL;
		world_start(w);
		ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
		step(w);
		step(w);
		assert_int_equal(message_notify(last_sent(&w->end[0]), N_SA_RESOURCE_INFO) != NULL, i == 1);
		step(w);
		assert_null(message_notify(last_sent(&w->end[1]), N_SA_RESOURCE_INFO));
		world_run(w, 100 * US_PER_S);
		assert_int_equal(end_children(&w->end[0]), 1);
		assert_int_equal(end_children(&w->end[1]), 1);
		assert_int_equal(ike_engine_counters(w->end[0].engine)->received, 2);
		ike_engine_rekey_child(w->end[0].engine, w->end[0].conns[0]);
		assert_null(message_notify(last_sent(&w->end[0]), N_SA_RESOURCE_INFO));
		world_run(w, 10 * US_PER_S);
		assert_int_equal(end_children(&w->end[0]), 1);
		ike_engine_down(w->end[0].engine, w->end[0].conns[0], REASON_ADMIN);
		world_run(w, 20 * US_PER_S);
		ike_engine_free(w->end[0].engine);
		ike_engine_free(w->end[1].engine);
	}
	w->end[0].engine = w->end[1].engine = NULL;
}

/* Nothing more is asked for, and what is up stays. */
static void stops(struct world *w, uint16_t notify)
{
	struct message_builder b;
	struct keys k;
	uint64_t sent;

	w->end[1].conns[0]->resources = 2; /* it is content with two */
	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	for (unsigned i = 0; i < 8; i++)
		step(w); /* IKE_SA_INIT, IKE_AUTH, two more Child SAs */
	assert_int_equal(end_children(&w->end[1]), 3);
	w->count = 0;
	refuse(&w->end[0], 4, notify);
	sent = ike_engine_counters(w->end[0].engine)->sent;
	assert_int_equal(w->end[0].out_count, 3);
	assert_int_equal(w->end[0].spis_out, 0);
	w->cut = true;
	world_run(w, 300 * US_PER_S);
	assert_int_equal(ike_engine_counters(w->end[0].engine)->sent, sent);
	assert_int_equal(w->end[0].told[IKE_EVENT_FAILED] + w->end[0].told[IKE_EVENT_CHILD_DOWN], 0);
	assert_int_equal(w->end[0].told[IKE_EVENT_CHILD_UP], 1);
	assert_int_equal(end_children(&w->end[0]), 3);
	/* nor does a rekey; that the other end never had the request must not show in its window */
	k = keys_of(&w->end[1], true);
	peer_begin(&k, EXCHANGE_INFORMATIONAL, false, 4, &b);
	peer_send(&k, &w->end[1], &b);
	w->count = 0;
	w->cut = false;
	ike_engine_rekey_child(w->end[0].engine, w->end[0].conns[0]);
	world_run(w, 60 * US_PER_S);
	assert_int_equal(w->end[0].told[IKE_EVENT_CHILD_REKEYED], 1);
	assert_int_equal(ike_engine_counters(w->end[0].engine)->sent - sent, 6); /* three rekeys, three deletes */
	assert_int_equal(end_children(&w->end[0]), 3);
	assert_int_equal(of_resource(w->end[0].out, w->end[0].out_count, 3), 0);
}

static void test_max_queue(void **state)
{
	stops(*state, 48);
}

static void test_no_additional_sas(void **state)
{
	stops(*state, N_NO_ADDITIONAL_SAS);
}

/* Both ask for the last one, and the answer of one overtakes the other's request: one of the two goes. */
static void test_overtaken(void **state)
{
	struct world *w = *state;
	struct wire d;

	w->end[0].conns[0]->resources = w->end[1].conns[0]->resources = 2;
	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	for (unsigned i = 0; i < 6; i++)
		step(w);
	assert_int_equal(w->count, 1); /* the first end's second request */
	w->now_us += 3 * US_PER_S;
	ike_engine_advance(w->end[1].engine);
	assert_int_equal(w->count, 2);
	step(w);
	d = w->queue[0];
	w->queue[0] = w->queue[1];
	w->queue[1] = d;
	world_run(w, 100 * US_PER_S);
	for (unsigned i = 0; i < ENDS; i++) {
		assert_int_equal(end_children(&w->end[i]), 3);
		for (unsigned r = 0; r <= 2; r++)
			assert_int_equal(of_resource(w->end[i].out, w->end[i].out_count, r), 1);
		assert_int_equal(w->end[i].told[IKE_EVENT_CHILD_DOWN] + w->end[i].told[IKE_EVENT_FAILED], 0);
	}
}

/* A peer that is busy is asked again. */
static void test_temporary_failure(void **state)
{
	struct world *w = *state;

	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	for (unsigned i = 0; i < 6; i++)
		step(w);
	w->count = 0;
	refuse(&w->end[0], 3, N_TEMPORARY_FAILURE);
	assert_int_equal(w->count, 0);
	w->cut = true;
	world_run(w, 8 * US_PER_S);
	assert_true(w->last.len > 0 && ike_engine_counters(w->end[0].engine)->sent > 4);
	assert_int_equal(last_sent(&w->end[0])->header.exchange, EXCHANGE_CREATE_CHILD_SA);
}

/* A peer's request for one more, that it receives on `spi`; returns the error of the answer, 0: none. */
static uint16_t peer_asks(struct world *w, uint32_t id, uint32_t spi, bool other_selectors)
{
	const struct ike_conn *c = w->end[0].conns[0];
	struct proposal_list offer = *c->esp_proposals;
	struct keys k = keys_of(&w->end[1], true);
	struct ts_list tsi = c->local_ts;
	uint8_t nonce[32] = { (uint8_t)id };
	const struct notify *error;
	struct message_builder b;
	struct writer to;

	if (other_selectors)
		tsi.ts[0].hi = tsi.ts[0].lo;
	proposal_set_esn(&offer, true, true);
	offer.p[0].spi_size = 4;
	to = writer_new(offer.p[0].spi, 4);
	writer_u32(&to, spi);
	peer_begin(&k, EXCHANGE_CREATE_CHILD_SA, false, id, &b);
	builder_sa(&b, &offer);
	builder_nonce(&b, BYTES(nonce, sizeof(nonce)));
	builder_ts(&b, PAYLOAD_TSI, &tsi);
	builder_ts(&b, PAYLOAD_TSR, &c->remote_ts);
	builder_notify(&b, N_SA_RESOURCE_INFO, 0, BYTES(NULL, 0), BYTES("whatever it is", 14));
	peer_send(&k, &w->end[1], &b);
	error = message_error(last_sent(&w->end[1]));
	w->count = 0;
	return error ? error->type : 0;
}

/*
 * RFC 9611: "MUST NOT return NO_ADDITIONAL_SAS ... Instead, it MUST return TS_MAX_QUEUE". Until then the
 * SAs go to the resource that has the fewest.
 */
static void test_limit(void **state)
{
	struct world *w = *state;
	uint32_t spi = 0x9000, id = 5; /* after IKE_AUTH, two more Child SAs and a probe */
	uint16_t error = 0;

	w->end[0].conns[0]->resources = 2;
	begin(w);
	assert_int_equal(end_children(&w->end[1]), 3);
	w->cut = true;
	for (; !error; spi++) {
		assert_true(w->end[1].in_count < HALVES_MAX);
		error = peer_asks(w, id++, spi, false);
		for (unsigned r = 2; r <= MINE; r++)
			assert_in_range(of_resource(w->end[1].in, w->end[1].in_count, 1) -
					of_resource(w->end[1].in, w->end[1].in_count, r), 0, 1);
	}
	assert_int_equal(error, N_TS_MAX_QUEUE);
	assert_int_equal(end_children(&w->end[1]), 1 + 64);
	assert_int_equal(w->end[1].spis_out, 0);
	assert_int_equal(peer_asks(w, id, spi, true), 0); /* other selectors are not meant */
	assert_int_equal(w->end[1].told[IKE_EVENT_CHILD_DOWN] + w->end[1].told[IKE_EVENT_FAILED], 0);
}

/* What has other selectors, or no fallback to go with, is a Child SA like any other. */
static void test_other_selectors(void **state)
{
	struct world *w = *state;

	begin(w);
	assert_complete(w);
	assert_int_equal(peer_asks(w, 7, 0x9000, true), 0);
	assert_int_equal(of_resource(w->end[1].in, w->end[1].in_count, 0), 2);
}

/* §3: "the rekeyed Child SA should be bound to the same resource(s)". The connection is told of one. */
static void test_rekey(void **state)
{
	struct world *w = *state;

	begin(w);
	assert_complete(w);
	for (unsigned i = 0; i < ENDS; i++) {
		uint32_t before[MINE + 1];

		for (unsigned r = 0; r <= MINE; r++)
			before[r] = w->end[i].in[r].in.spi;
		assert_true(ike_engine_rekey_child(w->end[i].engine, w->end[i].conns[0]));
		world_run(w, 20 * US_PER_S);
		assert_complete(w);
		for (unsigned r = 0; r <= MINE; r++)
			for (unsigned k = 0; k <= MINE; k++)
				assert_int_not_equal(w->end[i].in[r].in.spi, before[k]);
		assert_int_equal(w->end[i].told[IKE_EVENT_CHILD_REKEYED], i + 1);
	}
	ike_engine_rekey_ike(w->end[1].engine, w->end[1].conns[0]);
	world_run(w, 20 * US_PER_S);
	assert_complete(w);
}

/* Down, and the fallback's end, are the end of all; told once. */
static void test_down(void **state)
{
	struct world *w = *state;

	begin(w);
	ike_engine_down(w->end[1].engine, w->end[1].conns[0], REASON_ADMIN);
	world_run(w, 20 * US_PER_S);
	for (unsigned i = 0; i < ENDS; i++) {
		assert_int_equal(end_children(&w->end[i]), 0);
		assert_int_equal(w->end[i].in_count + w->end[i].out_count, 0);
		assert_int_equal(w->end[i].told[IKE_EVENT_CHILD_DOWN], 1);
	}
}

/* Another connection shares the IKE SA: each has its own group, and its end is not the other's. */
static void test_shared_ike(void **state)
{
	struct world *w = *state;
	struct ike_conn *c[ENDS];

	c[0] = end_add_conn(&w->end[0], "two", "192.168.11.0/24", "192.168.31.0/24");
	c[1] = end_add_conn(&w->end[1], "two", "192.168.31.0/24", "192.168.11.0/24");
	c[0]->resources = c[1]->resources = 2;
	begin(w);
	assert_int_equal(ike_engine_up(w->end[1].engine, c[1]), IKE_UP_STARTED);
	world_run(w, 10 * US_PER_S);
	for (unsigned i = 0; i < ENDS; i++) {
		assert_int_equal(end_ikes(&w->end[i]), 1);
		assert_int_equal(end_children(&w->end[i]), 1 + MINE + 1 + 2);
	}
	ike_engine_down(w->end[0].engine, c[0], REASON_ADMIN);
	world_run(w, 60 * US_PER_S);
	assert_complete(w);
	assert_int_equal(w->end[0].told[IKE_EVENT_CHILD_DOWN], 1);
	assert_int_equal(w->end[1].told[IKE_EVENT_CHILD_DOWN], 1);
}

/* The back end takes no more: what is up stays, and the peer keeps nothing that we do not have. */
static void test_backend_refuses(void **state)
{
	struct world *w = *state;

	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	for (unsigned i = 0; i < 4; i++)
		step(w);
	w->end[0].refuse_add = true;
	world_run(w, 20 * US_PER_S);
	assert_int_equal(end_children(&w->end[0]), 1);
	assert_int_equal(end_children(&w->end[1]), 1);
	assert_int_equal(w->end[0].spis_out, 0);
	assert_int_equal(w->end[0].told[IKE_EVENT_CHILD_DOWN] + w->end[0].told[IKE_EVENT_FAILED], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(test_messages), TEST(test_not_wanted), TEST(test_max_queue), TEST(test_no_additional_sas),
		TEST(test_temporary_failure), TEST(test_overtaken), TEST(test_limit), TEST(test_other_selectors), TEST(test_rekey),
		TEST(test_down), TEST(test_shared_ike), TEST(test_backend_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
