/* The engine between two ends: coming up, refusals, addresses, what strangers send. */
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

static void assert_up(struct world *w)
{
	for (unsigned i = 0; i < ENDS; i++) {
		struct end *n = &w->end[i], *o = &w->end[1 - i];

		assert_int_equal(end_ikes(n), 1);
		assert_int_equal(end_children(n), 1);
		assert_int_equal(n->in_count, 1);
		assert_int_equal(n->out_count, 1);
		assert_int_equal(n->spis_out, 0);
		assert_int_equal(n->out[0].out.spi, o->in[0].in.spi);
		assert_memory_equal(n->out[0].out.encr_key.bytes, o->in[0].in.encr_key.bytes, 36);
	}
}

static void assert_empty(struct world *w)
{
	for (unsigned i = 0; i < ENDS; i++) {
		struct end *n = &w->end[i];

		assert_int_equal(end_ikes(n), 0);
		assert_int_equal(end_children(n), 0);
		assert_int_equal(n->in_count + n->out_count, 0);
		assert_int_equal(n->spis_out, 0);
		assert_int_equal(ike_engine_counters(n->engine)->ike_total, 0);
		assert_int_equal(ike_engine_counters(n->engine)->child_total, 0);
		assert_int_equal(ike_engine_counters(n->engine)->half_open, 0);
	}
}

static void bring_up(struct world *w)
{
	world_start(w);
	assert_int_equal(ike_engine_up(w->end[0].engine, w->end[0].conns[0]), IKE_UP_STARTED);
	world_settle(w);
	assert_up(w);
}

/* The lines of `ipsec up`, in the order and shape of Libreswan 5.x. */
static void test_up_says(void **state)
{
	static const char *const lines[] = {
		"initiating IKEv2 connection to 192.168.20.20 using UDP",
		"sent IKE_SA_INIT request to 192.168.20.20:UDP/500",
		"processed IKE_SA_INIT response from 192.168.20.20:UDP/500 {cipher=AES_GCM_16_256 integ=n/a "
		"prf=HMAC_SHA2_256 ke=DH31}, initiating IKE_AUTH",
		"sent IKE_AUTH request to 192.168.20.20:UDP/500",
		"initiator established IKE SA; authenticated peer using authby=secret and IPV4_ADDR '192.168.20.20'",
		"initiator established Child SA using #1; IPsec tunnel [192.168.10.0/24===192.168.30.0/24] "
		"{ESP/ESN=>0x00002001 <0x00001001 xfrm=AES_GCM_16_256 DPD=passive}",
	};
	struct world *w = *state;

	bring_up(w);
	assert_int_equal(w->end[0].event_count, 6);
	for (size_t i = 0; i < 6; i++)
		assert_string_equal(w->end[0].events[i].text, lines[i]);
	assert_int_equal(w->end[0].events[4].type, IKE_EVENT_IKE_UP);
	assert_int_equal(w->end[0].events[5].type, IKE_EVENT_CHILD_UP);
	assert_int_equal(w->end[0].events[5].ike_id, 1);
	assert_int_equal(w->end[0].events[5].child_id, 2);
	assert_true(end_said(&w->end[1], "responder established Child SA using #1"));
	assert_int_equal(ike_engine_up(w->end[0].engine, w->end[0].conns[0]), IKE_UP_ALREADY);
	assert_int_equal(ike_engine_up(w->end[1].engine, w->end[1].conns[0]), IKE_UP_ALREADY);
}

/* RFC 7296 §1.2: the first request is SA, KE, Ni and what NAT detection needs, nothing else. */
static void test_first_request(void **state)
{
	struct world *w = *state;
	struct message m;
	char text[128];

	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	assert_int_equal(message_decode_clear(BYTES(w->last.bytes, w->last.len), &m), DECODE_OK);
	assert_string_equal(message_describe(&m, text, sizeof(text)),
			    "SA,KE,Ni,N(NAT_DETECTION_SOURCE_IP),N(NAT_DETECTION_DESTINATION_IP)");
	assert_int_equal(m.nonce.len, 32);
	assert_int_equal(m.header.message_id, 0);
	assert_int_equal(m.header.spi_r, 0);
	assert_true(m.header.initiator);
}

static void test_down(void **state)
{
	struct world *w = *state;

	bring_up(w);
	ike_engine_down(w->end[0].engine, w->end[0].conns[0], REASON_ADMIN);
	/* at once, without waiting for the peer */
	assert_int_equal(w->end[0].in_count + w->end[0].out_count, 0);
	assert_int_equal(w->end[0].told[IKE_EVENT_CHILD_DOWN], 1);
	world_run(w, 15 * US_PER_S);
	assert_empty(w);
	assert_int_equal(end_event(&w->end[1], IKE_EVENT_CHILD_DOWN)->reason, REASON_PEER_DELETED);
	assert_int_equal(w->end[1].told[IKE_EVENT_IKE_DOWN], 1);
	assert_int_equal(ike_engine_up(w->end[0].engine, w->end[0].conns[0]), IKE_UP_STARTED);
	world_settle(w);
	assert_up(w);
}

/* Wrong PSK: both ends say so, with both identities, and keep nothing. */
static void test_wrong_psk(void **state)
{
	struct world *w = *state;

	w->end[1].psk = "another";
	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	world_settle(w);
	for (unsigned i = 0; i < ENDS; i++) {
		const struct seen_event *ev = end_event(&w->end[i], IKE_EVENT_FAILED);

		assert_non_null(ev);
		assert_int_equal(ev->reason, REASON_AUTHENTICATION_FAILED);
		assert_non_null(strstr(ev->text, "192.168.20.10"));
		assert_non_null(strstr(ev->text, "192.168.20.20"));
		assert_null(strstr(ev->text, "net1234567890"));
		assert_int_equal(end_ikes(&w->end[i]), 0);
		assert_int_equal(ike_engine_counters(w->end[i].engine)->auth_failed, 1);
	}
	world_run(w, 15 * US_PER_S);
	assert_empty(w);
}

static void test_no_secret(void **state)
{
	struct world *w = *state;
	const struct seen_event *ev;

	w->end[0].psk = NULL;
	world_start(w);
	assert_int_equal(ike_engine_up(w->end[0].engine, w->end[0].conns[0]), IKE_UP_FAILED);
	ev = end_event(&w->end[0], IKE_EVENT_FAILED);
	assert_int_equal(ev->reason, REASON_NO_SECRET);
	assert_non_null(strstr(ev->text, "'192.168.20.10'"));
	assert_non_null(strstr(ev->text, "'192.168.20.20'"));
	assert_int_equal(w->end[0].told[IKE_EVENT_FAILED], 1);
	assert_empty(w);
}

/* A refusal in the clear is told at once; the attempt goes on to its end, and ends with that reason. */
static void test_refused_in_the_clear(void **state)
{
	struct world *w = *state;
	const struct seen_event *ev;

	conn_set_algorithms(w->end[1].conns[0], "aes256-sha2_512-dh19", "aes_gcm256");
	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	world_settle(w);
	ev = end_event(&w->end[0], IKE_EVENT_REFUSED);
	assert_non_null(ev);
	assert_int_equal(ev->reason, REASON_NO_PROPOSAL_CHOSEN);
	assert_non_null(strstr(ev->ours, "AES_GCM_16_256-HMAC_SHA2_256-DH31"));
	ev = end_event(&w->end[1], IKE_EVENT_REMOTE);
	assert_non_null(strstr(ev->ours, "AES_CBC_256"));
	assert_non_null(strstr(ev->theirs, "AES_GCM_16_256"));
	assert_int_equal(end_ikes(&w->end[1]), 0);
	world_run(w, 59 * US_PER_S);
	assert_int_equal(w->end[0].told[IKE_EVENT_FAILED], 0);
	assert_int_equal(w->end[0].told[IKE_EVENT_REFUSED], 1);
	world_run(w, 2 * US_PER_S);
	assert_int_equal(w->end[0].told[IKE_EVENT_FAILED], 1);
	ev = end_event(&w->end[0], IKE_EVENT_FAILED);
	assert_int_equal(ev->reason, REASON_NO_PROPOSAL_CHOSEN);
	assert_empty(w);
}

/* The peer's configuration is mended while the refused attempt goes on. */
static void test_refused_then_accepted(void **state)
{
	struct world *w = *state;

	conn_set_algorithms(w->end[1].conns[0], "aes256-sha2_512-dh19", "aes_gcm256");
	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	world_run(w, 5 * US_PER_S);
	conn_set_algorithms(w->end[1].conns[0], "aes_gcm256-sha2_256-dh31", "aes_gcm256");
	world_run(w, 10 * US_PER_S);
	assert_up(w);
}

static void test_silence(void **state)
{
	struct world *w = *state;
	const struct seen_event *ev;

	w->cut = true;
	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	world_run(w, 59 * US_PER_S);
	assert_int_equal(ike_engine_counters(w->end[0].engine)->retransmitted, 7); /* 0.5 1 2 4 8 16 32 */
	assert_true(end_said(&w->end[0], "retransmitting IKE_SA_INIT request; will wait 0.5 seconds for response"));
	assert_true(end_said(&w->end[0], "retransmitting IKE_SA_INIT request; will wait 16 seconds for response"));
	world_run(w, 2 * US_PER_S);
	ev = end_event(&w->end[0], IKE_EVENT_FAILED);
	assert_int_equal(ev->reason, REASON_TIMEOUT);
	assert_string_equal(ev->text, "60 second timeout exceeded after 7 retransmits.  No response (or no acceptable "
				      "response) to our first IKEv2 message");
	assert_empty(w);
}

/* `up` fails when only the Child SA is refused, with both lists at both ends. */
static void test_child_refused(void **state)
{
	struct world *w = *state;
	const struct seen_event *ev;

	conn_set_algorithms(w->end[1].conns[0], "aes_gcm256-sha2_256-dh31", "aes256-sha2_512");
	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	world_settle(w);
	ev = end_event(&w->end[0], IKE_EVENT_FAILED);
	assert_int_equal(ev->reason, REASON_NO_PROPOSAL_CHOSEN);
	assert_non_null(strstr(ev->ours, "AES_GCM_16_256"));
	ev = end_event(&w->end[1], IKE_EVENT_FAILED);
	assert_non_null(strstr(ev->ours, "AES_CBC_256-HMAC_SHA2_512_256"));
	assert_non_null(strstr(ev->theirs, "AES_GCM_16_256"));
	assert_int_equal(w->end[0].told[IKE_EVENT_IKE_UP], 1);
	world_run(w, 20 * US_PER_S);
	assert_empty(w); /* an IKE SA that serves nobody goes */
}

/* Two connections of one pair of ends share the IKE SA; the last one takes it down. */
static void test_shared_ike_sa(void **state)
{
	struct world *w = *state;
	struct ike_conn *a = end_add_conn(&w->end[0], "net2", "10.1.0.0/16", "10.2.0.0/16");

	end_add_conn(&w->end[1], "net2", "10.2.0.0/16", "10.1.0.0/16");
	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	assert_int_equal(ike_engine_up(w->end[0].engine, a), IKE_UP_STARTED); /* waits for the IKE SA */
	assert_int_equal(ike_engine_up(w->end[0].engine, a), IKE_UP_PENDING);
	world_settle(w);
	for (unsigned i = 0; i < ENDS; i++) {
		assert_int_equal(end_ikes(&w->end[i]), 1);
		assert_int_equal(end_children(&w->end[i]), 2);
		assert_int_equal(w->end[i].told[IKE_EVENT_CHILD_UP], 2);
	}
	assert_string_equal(w->end[1].in[1].conn, "net2");
	assert_int_equal(w->end[1].in[1].reqid, 16388);
	ike_engine_down(w->end[0].engine, w->end[0].conns[0], REASON_ADMIN);
	world_run(w, US_PER_S);
	assert_int_equal(end_ikes(&w->end[1]), 1);
	assert_int_equal(end_children(&w->end[1]), 1);
	assert_string_equal(w->end[1].in[0].conn, "net2");
	ike_engine_down(w->end[0].engine, a, REASON_ADMIN);
	world_run(w, 20 * US_PER_S);
	assert_empty(w);
}

/* RFC 7296 §2.23: both ends notice, IKE moves to 4500, ESP goes in UDP, keepalives keep the mapping. */
static void test_nat(void **state)
{
	struct world *w = *state;

	w->nat_port = 20000;
	w->end[1].conns[0]->remote.address = (struct ip_address){ .family = AF_UNSPEC };
	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	world_settle(w);
	assert_up(w);
	assert_true(w->end[0].out[0].path.udp_encap);
	assert_true(w->end[1].out[0].path.udp_encap);
	assert_int_equal(w->end[0].out[0].path.local.port, 4500);
	assert_int_equal(w->end[0].out[0].path.remote.port, 4500);
	assert_int_equal(w->end[1].out[0].path.local.port, 4500);
	assert_int_equal(w->end[1].out[0].path.remote.port, 24500);
	assert_true(ip_address_equal(&w->end[1].out[0].path.remote.address, &w->nat_address));
	world_run(w, 65 * US_PER_S);
	assert_int_equal(w->end[0].keepalives, 3);
	assert_int_equal(w->end[1].keepalives, 0);

	/* the mapping changes: what is authentic moves the peer, and its Child SA */
	w->nat_port = 30000;
	ike_engine_rekey_child(w->end[0].engine, w->end[0].conns[0]);
	world_run(w, 5 * US_PER_S);
	assert_up(w);
	assert_int_equal(w->end[1].out[0].path.remote.port, 34500);
}

static void test_encapsulation_forced(void **state)
{
	struct world *w = *state;

	w->end[0].conns[0]->encapsulation = ENCAP_YES;
	bring_up(w);
	assert_true(w->end[0].out[0].path.udp_encap);
	assert_true(w->end[1].out[0].path.udp_encap);
	assert_int_equal(w->end[1].out[0].path.remote.port, 4500);
}

static void test_encapsulation_never(void **state)
{
	struct world *w = *state;

	w->end[0].conns[0]->encapsulation = ENCAP_NO;
	w->end[1].conns[0]->encapsulation = ENCAP_YES;
	bring_up(w);
	assert_false(w->end[0].out[0].path.udp_encap);
	assert_false(w->end[1].out[0].path.udp_encap);
}

/* RFC 7296 §2.6: demanded, nothing is kept before it, another address cannot use it. */
static void test_cookie(void **state)
{
	struct world *w = *state;

	w->end[1].config.always_cookie = true;
	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	world_settle(w);
	assert_up(w);
	assert_int_equal(ike_engine_counters(w->end[1].engine)->cookies_sent, 1);
	assert_true(end_said(&w->end[0], "received anti-DDOS COOKIE response"));
}

static void test_cookie_keeps_nothing(void **state)
{
	struct world *w = *state;
	struct message m;

	w->end[1].config.always_cookie = true;
	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	for (unsigned i = 0; i < 50; i++)
		end_inject(&w->end[1], w->last.bytes, w->queue[0].len);
	assert_int_equal(end_ikes(&w->end[1]), 0);
	assert_int_equal(message_decode_clear(BYTES(w->last.bytes, w->last.len), &m), DECODE_OK);
	assert_non_null(message_notify(&m, N_COOKIE));
	w->count = 0;
}

/* RFC 7296 §2.5: another major version is answered, in the clear and seldom. */
static void test_version(void **state)
{
	struct world *w = *state;
	uint8_t request[28] = { 1, 2, 3, 4, 5, 6, 7, 8, [17] = 0x30, [18] = 34, [19] = 0x08, [27] = 28 };
	struct message m;

	world_start(w);
	for (unsigned i = 0; i < 100; i++)
		end_inject(&w->end[1], request, sizeof(request));
	assert_int_equal(message_decode_clear(BYTES(w->last.bytes, w->last.len), &m), DECODE_OK);
	assert_non_null(message_notify(&m, N_INVALID_MAJOR_VERSION));
	assert_in_range(w->count, 1, 10);
	assert_int_equal(ike_engine_counters(w->end[1].engine)->dropped_malformed, 100);
	w->count = 0;
	/* an IKEv1 message, and a response, get nothing */
	request[17] = 0x10;
	end_inject(&w->end[1], request, sizeof(request));
	request[17] = 0x30;
	request[19] = 0x20;
	w->now_us += 60 * US_PER_S;
	end_inject(&w->end[1], request, sizeof(request));
	assert_int_equal(w->count, 0);
}

static void test_unknown_spi(void **state)
{
	struct world *w = *state;
	uint8_t request[28] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9, 9, 9, [17] = 0x20, [18] = 37, [19] = 0x08, [27] = 28 };

	world_start(w);
	end_inject(&w->end[1], request, sizeof(request));
	assert_int_equal(w->count, 0);
	assert_int_equal(ike_engine_counters(w->end[1].engine)->dropped_unknown_spi, 1);
}

/* RFC 7296 §2.1: the same request gets the same answer, and makes nothing new. */
static void test_retransmitted_requests(void **state)
{
	struct world *w = *state;
	struct wire first, second;

	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	first = w->queue[0];
	end_inject(&w->end[1], first.bytes, first.len);
	assert_int_equal(w->count, 2);
	assert_int_equal(w->queue[1].len, w->last.len);
	end_inject(&w->end[1], first.bytes, first.len);
	assert_int_equal(w->count, 3);
	assert_memory_equal(w->queue[1].bytes, w->queue[2].bytes, w->queue[1].len);
	assert_int_equal(end_ikes(&w->end[1]), 1);
	/* another request with the same SPI is dropped */
	first.bytes[first.len - 1] ^= 1;
	end_inject(&w->end[1], first.bytes, first.len);
	assert_int_equal(w->count, 3);
	world_settle(w);
	assert_up(w);
	ike_engine_rekey_child(w->end[0].engine, w->end[0].conns[0]);
	second = w->queue[0];
	end_inject(&w->end[1], second.bytes, second.len);
	end_inject(&w->end[1], second.bytes, second.len);
	assert_int_equal(w->count, 3);
	assert_memory_equal(w->queue[1].bytes, w->queue[2].bytes, w->queue[1].len);
	assert_int_equal(end_children(&w->end[1]), 2);
	world_run(w, 5 * US_PER_S);
	assert_up(w);
	/* long past */
	end_inject(&w->end[1], second.bytes, second.len);
	assert_int_equal(w->count, 0);
}

static void test_tampered(void **state)
{
	struct world *w = *state;
	struct wire d;

	bring_up(w);
	ike_engine_rekey_child(w->end[0].engine, w->end[0].conns[0]);
	d = w->queue[0];
	w->count = 0;
	for (size_t i = 28; i < d.len; i += 7) {
		d.bytes[i] ^= 0x10;
		end_inject(&w->end[1], d.bytes, d.len);
		d.bytes[i] ^= 0x10;
	}
	assert_int_equal(w->count, 0);
	assert_int_equal(end_children(&w->end[1]), 1);
	assert_true(ike_engine_counters(w->end[1].engine)->dropped_integrity > 10);
	end_inject(&w->end[1], d.bytes, d.len);
	world_run(w, 5 * US_PER_S);
	assert_up(w);
}

static void test_half_open_goes(void **state)
{
	struct world *w = *state;

	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	end_inject(&w->end[1], w->last.bytes, w->last.len);
	w->count = 0;
	w->cut = true;
	assert_int_equal(ike_engine_counters(w->end[1].engine)->half_open, 1);
	world_run(w, 31 * US_PER_S);
	assert_int_equal(ike_engine_counters(w->end[1].engine)->half_open, 0);
	assert_int_equal(end_ikes(&w->end[1]), 0);
}

static void test_half_open_limit(void **state)
{
	struct world *w = *state;
	struct wire d;

	w->end[1].config.half_open_max = 3;
	world_start(w);
	ike_engine_up(w->end[0].engine, w->end[0].conns[0]);
	d = w->last;
	for (uint8_t i = 0; i < 10; i++) {
		d.bytes[0] = i;
		end_inject(&w->end[1], d.bytes, d.len);
	}
	assert_int_equal(end_ikes(&w->end[1]), 3);
	assert_int_equal(ike_engine_counters(w->end[1].engine)->dropped_limit, 7);
	w->count = 0;
}

struct exported {
	uint8_t keys[8][64];
	size_t ikes, children;
};

static void export_ike(void *context, const struct ike_sa_info *info, struct bytes ei, struct bytes er, struct bytes ai,
		       struct bytes ar)
{
	struct exported *x = context;

	(void)ai;
	(void)ar;
	assert_true(info->established);
	memcpy(x->keys[0], ei.ptr, ei.len);
	memcpy(x->keys[1], er.ptr, er.len);
	x->ikes++;
}

static void export_child(void *context, const struct child_sa *sa)
{
	(void)sa;
	((struct exported *)context)->children++;
}

static void test_export(void **state)
{
	struct world *w = *state;
	struct exported a = { 0 }, b = { 0 };

	bring_up(w);
	ike_engine_export_keys(w->end[0].engine, export_ike, export_child, &a);
	ike_engine_export_keys(w->end[1].engine, export_ike, export_child, &b);
	assert_int_equal(a.ikes, 1);
	assert_int_equal(a.children, 1);
	assert_memory_equal(&a, &b, sizeof(a));
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(up_says), T(first_request), T(down), T(wrong_psk), T(no_secret), T(refused_in_the_clear),
		T(refused_then_accepted), T(silence), T(child_refused), T(shared_ike_sa), T(nat),
		T(encapsulation_forced), T(encapsulation_never), T(cookie), T(cookie_keeps_nothing), T(version),
		T(unknown_spi), T(retransmitted_requests), T(tampered), T(half_open_goes), T(half_open_limit),
		T(export),
	};

	return cmocka_run_group_tests_name("ike.engine", tests, NULL, NULL);
}
