/* The engine and peers that have keys and do not behave, or only claim to be somebody. */
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

static void bring_up(struct world *w)
{
	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	world_settle(w);
	assert_int_equal(end_children(&w->end[0]), 1);
	assert_int_equal(end_children(&w->end[1]), 1);
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

/* What the peer of an IKE SA knows: the SA's first, in order of age. */
struct peer {
	bool found, initiator; /* of the IKE SA */
	uint64_t spi_i, spi_r;
	struct sk *sk;
};

static void keep_peer(void *context, const struct ike_sa_info *info, struct bytes ei, struct bytes er, struct bytes ai,
		      struct bytes ar)
{
	struct peer *p = context;

	if (p->found)
		return;
	p->found = true;
	p->initiator = !info->initiator;
	p->spi_i = info->spi_i;
	p->spi_r = info->spi_r;
	p->sk = p->initiator ? sk_new(&info->suite, ei, ai) : sk_new(&info->suite, er, ar);
}

static void no_child(void *context, const struct child_sa *sa)
{
	(void)context;
	(void)sa;
}

static struct peer peer_of(struct end *n)
{
	struct peer p = { 0 };

	ike_engine_export_keys(n->engine, keep_peer, no_child, &p);
	assert_non_null(p.sk);
	return p;
}

static uint8_t out[8192];

static void peer_begin(const struct peer *p, enum exchange_type exchange, bool response, uint32_t id,
		       struct message_builder *b)
{
	static uint8_t iv[16] = { 0xff };
	struct ike_header h = { .spi_i = p->spi_i, .spi_r = p->spi_r, .version = 0x20, .exchange = (uint8_t)exchange,
				.initiator = p->initiator, .response = response, .message_id = id };

	iv[7]++;
	builder_begin(b, out, sizeof(out), &h);
	builder_protect(b, p->sk, iv);
}

static void peer_send(struct peer *p, struct end *to, struct message_builder *b)
{
	struct bytes bytes = builder_end_protected(b, p->sk);

	assert_true(bytes.len > 0);
	end_inject(to, bytes.ptr, bytes.len);
	sk_free(p->sk);
}

/* Who waits for the attempt is told that it is over, whatever ended it. */
static void test_malformed_auth_response(void **state)
{
	struct world *w = *state;
	struct message_builder b;
	struct peer p;

	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	step(w);
	step(w);
	w->count = 0; /* the IKE_AUTH request is lost */
	p = peer_of(&w->end[0]);
	peer_begin(&p, EXCHANGE_IKE_AUTH, true, 1, &b);
	builder_notify(&b, N_COOKIE, 0, BYTES(NULL, 0), BYTES(NULL, 0)); /* a cookie has at least one byte */
	peer_send(&p, &w->end[0], &b);
	assert_int_equal(w->end[0].told[IKE_EVENT_FAILED], 1);
	assert_int_equal(end_event(&w->end[0], IKE_EVENT_FAILED)->reason, REASON_INVALID_SYNTAX);
	assert_int_equal(end_ikes(&w->end[0]), 0);
	assert_int_equal(w->end[0].spis_out, 0);
}

/* RFC 7619: who proves nothing cannot end the SAs of who proves to be the one that both claim to be. */
static void test_null_is_nobody(void **state)
{
	struct world *w = *state;
	struct ike_conn *c[ENDS];
	struct identity admin;
	char err[128];

	assert_true(identity_parse("@admin", &admin, err, sizeof(err)));
	w->end[0].conns[0]->local_id = w->end[1].conns[0]->remote_id = admin;
	c[0] = end_add_conn(&w->end[0], "null", "192.168.11.0/24", "192.168.31.0/24");
	c[1] = end_add_conn(&w->end[1], "null", "192.168.31.0/24", "192.168.11.0/24");
	for (unsigned i = 0; i < ENDS; i++) {
		c[i]->local_auth = c[i]->remote_auth = IKE_AUTH_NULL;
		c[i]->initial_contact = true;
	}
	c[0]->local_id = admin;
	c[1]->remote_id = (struct identity){ 0 };
	bring_up(w);
	ike_engine_up(w->end[0].engine, c[0]);
	world_run(w, 5 * US_PER_S);
	for (unsigned i = 0; i < ENDS; i++) {
		assert_int_equal(end_ikes(&w->end[i]), 2);
		assert_int_equal(end_children(&w->end[i]), 2);
		assert_int_equal(w->end[i].told[IKE_EVENT_CHILD_DOWN], 0);
	}
}

/* The end is told to the peer also when a request is under way, whose ID the peer has seen. */
static void test_shutdown_in_exchange(void **state)
{
	struct world *w = *state;

	bring_up(w);
	ike_engine_rekey_child(w->end[0].engine, w->end[0].conns[0]);
	step(w);
	w->count = 0; /* the response is lost */
	ike_engine_shutdown(w->end[0].engine);
	world_settle(w);
	assert_int_equal(end_ikes(&w->end[1]), 0);
	assert_int_equal(w->end[1].in_count + w->end[1].out_count, 0);
}

/* A delete that the peer sent before it knew of the rekey of the IKE SA, and which comes late. */
static void test_delete_on_old_ike(void **state)
{
	struct world *w = *state;
	uint32_t spi;
	struct message_builder b;
	struct peer p;

	bring_up(w);
	spi = w->end[0].in[0].in.spi;
	ike_engine_rekey_ike(w->end[0].engine, w->end[0].conns[0]);
	step(w); /* end 1 has moved the Child SA to the new one */
	p = peer_of(&w->end[1]);
	peer_begin(&p, EXCHANGE_INFORMATIONAL, false, 3, &b);
	builder_delete_esp(&b, &spi, 1);
	peer_send(&p, &w->end[1], &b);
	assert_int_equal(end_children(&w->end[1]), 0);
	assert_int_equal(w->end[1].in_count + w->end[1].out_count, 0);
}

/* The peer asks for one more Child SA of the connection, that it receives on `spi`. */
static void peer_create(struct world *w, uint32_t id, uint32_t spi)
{
	const struct ike_conn *c = w->end[0].conns[0];
	struct proposal_list offer = *c->esp_proposals;
	uint8_t nonce[32] = { (uint8_t)id };
	struct peer p = peer_of(&w->end[1]);
	struct message_builder b;
	struct writer to;

	proposal_set_esn(&offer, true, true);
	offer.p[0].spi_size = 4;
	to = writer_new(offer.p[0].spi, 4);
	writer_u32(&to, spi);
	peer_begin(&p, EXCHANGE_CREATE_CHILD_SA, false, id, &b);
	builder_sa(&b, &offer);
	builder_nonce(&b, BYTES(nonce, sizeof(nonce)));
	builder_ts(&b, PAYLOAD_TSI, &c->local_ts);
	builder_ts(&b, PAYLOAD_TSR, &c->remote_ts);
	peer_send(&p, &w->end[1], &b);
	w->count = 0;
}

/* More deletes than fit into one payload of the answer. */
static void test_many_deletes(void **state)
{
	enum { MANY = DELETE_SPIS_MAX + 6 };
	struct world *w = *state;
	uint32_t spis[MANY];
	struct message_builder b;
	struct peer p;

	bring_up(w);
	for (uint32_t i = 0; i < MANY; i++) {
		spis[i] = 0x9000 + i;
		peer_create(w, 2 + i, spis[i]);
	}
	assert_int_equal(end_children(&w->end[1]), 1 + MANY);
	p = peer_of(&w->end[1]);
	peer_begin(&p, EXCHANGE_INFORMATIONAL, false, 2 + MANY, &b);
	builder_delete_esp(&b, spis, DELETE_SPIS_MAX);
	builder_delete_esp(&b, spis + DELETE_SPIS_MAX, MANY - DELETE_SPIS_MAX);
	peer_send(&p, &w->end[1], &b);
	assert_int_equal(w->count, 1); /* it is answered */
	assert_int_equal(end_children(&w->end[1]), 1);
}

/* Peers choose the SPIs of what goes out: one that takes another's cannot end it by its own limit. */
static void test_same_spi_expires(void **state)
{
	struct world *w = *state;

	bring_up(w);
	peer_create(w, 2, 0x9000);
	peer_create(w, 3, 0x9000);
	peer_create(w, 4, 0x9001); /* shows that the others are known to the peer */
	ike_engine_expire(w->end[1].engine, 0x9000, SA_OUT, true);
	assert_int_equal(end_children(&w->end[1]), 5); /* with the larval one of the first rekey */
	assert_int_equal(w->end[1].told[IKE_EVENT_CHILD_DOWN], 0);
	assert_true(end_said(&w->end[1], "initiating rekey"));
}

/* Requests that leave nothing half-open cost something too: above a rate they need a cookie. */
static void test_flood_needs_cookies(void **state)
{
	struct world *w = *state;
	const struct ike_counters *c;
	struct wire d;

	conn_set_algorithms(w->end[1].conns[0], "aes_gcm256-sha2_512-dh31", "aes_gcm256");
	world_start(w);
	c = ike_engine_counters(w->end[1].engine);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	d = w->last;
	for (unsigned i = 0; i < 3000; i++) {
		d.bytes[0] = (uint8_t)(i >> 8);
		d.bytes[1] = (uint8_t)i;
		end_inject(&w->end[1], d.bytes, d.len);
		w->count = 0;
	}
	assert_int_equal(c->half_open, 0);
	assert_in_range(c->cookies_sent, 1500, 2500);
	/* and who returns it goes on as ever */
	ike_engine_down(w->end[0].engine, w->end[0].conns[0], REASON_ADMIN);
	conn_set_algorithms(w->end[1].conns[0], "aes_gcm256-sha2_256-dh31", "aes_gcm256");
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	world_settle(w);
	assert_true(end_said(&w->end[0], "COOKIE"));
	assert_int_equal(end_children(&w->end[0]), 1);
}

/* Forged refusals that take turns: each is told once, and none ends the attempt. */
static void test_refusals_in_turn(void **state)
{
	static const uint16_t types[] = { N_NO_PROPOSAL_CHOSEN, N_INVALID_SYNTAX, N_AUTHENTICATION_FAILED };
	struct world *w = *state;
	struct message_builder b;
	struct ike_header h;
	struct bytes bytes;

	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	assert_int_equal(message_decode_header(BYTES(w->last.bytes, w->last.len), &h), DECODE_OK);
	h.response = true;
	h.initiator = false;
	for (unsigned i = 0; i < 300; i++) {
		builder_begin(&b, out, sizeof(out), &h);
		builder_notify(&b, types[i % 3], 0, BYTES(NULL, 0), BYTES(NULL, 0));
		bytes = builder_end(&b);
		end_inject(&w->end[0], bytes.ptr, bytes.len);
	}
	assert_int_equal(w->end[0].told[IKE_EVENT_REFUSED], 3);
	assert_int_equal(w->end[0].told[IKE_EVENT_FAILED], 0);
	world_settle(w);
	assert_int_equal(end_children(&w->end[0]), 1);
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(malformed_auth_response), T(null_is_nobody), T(shutdown_in_exchange), T(delete_on_old_ike),
		T(many_deletes), T(same_spi_expires), T(flood_needs_cookies), T(refusals_in_turn),
	};

	return cmocka_run_group_tests_name("ike.engine_hostile", tests, NULL, NULL);
}
