/*
 * IKE_SA_INIT as responder: RFC 7296 §1.2, §2.6, §2.7.
 *
 * A stranger costs us as little as may be: nothing is kept before a cookie is
 * proved (when they are demanded), no key is derived before IKE_AUTH comes.
 */
#include <string.h>

#include "crypto/prf.h"
#include "ike/internal.h"

/** A clear response of one notify; nothing is kept for it. */
static void answer(struct ike_engine *e, const struct message *m, uint16_t type, struct bytes data)
{
	struct ike_header h = { .spi_i = m->header.spi_i, .version = 0x20, .exchange = EXCHANGE_IKE_SA_INIT,
				.response = true };
	struct message_builder b;

	builder_begin(&b, e->out, sizeof(e->out), &h);
	builder_notify(&b, type, 0, BYTES(NULL, 0), data);
	engine_send(e, &e->at, &e->from, builder_end(&b));
}

/** Nobody here for this peer, or nothing in common: both sides' lists are told. */
static void refuse(struct ike_engine *e, const struct message *m, const struct ike_conn *conn)
{
	char ours[PROPOSAL_TEXT], theirs[PROPOSAL_TEXT], peer[IP_ENDPOINT_TEXT + 4];
	struct event_about about = { .conn = conn, .peer = &e->from };

	answer(e, m, N_NO_PROPOSAL_CHOSEN, BYTES(NULL, 0));
	e->counters.no_proposal++;
	about.theirs = proposal_list_format(&m->sa, theirs, sizeof(theirs));
	endpoint_text(&e->from, peer);
	if (!conn) {
		event_emit(e, IKE_EVENT_REMOTE, LOG_LEVEL_WARNING, REASON_NO_CONNECTION, about,
			   "IKE_SA_INIT request from %s: no connection is configured for this peer; answered NO_PROPOSAL_CHOSEN",
			   peer);
		return;
	}
	about.ours = proposal_list_format(conn->ike_proposals, ours, sizeof(ours));
	event_emit(e, IKE_EVENT_REMOTE, LOG_LEVEL_WARNING, REASON_NO_PROPOSAL_CHOSEN, about,
		   "IKE_SA_INIT request from %s: no IKE proposal of the peer fits ours; answered NO_PROPOSAL_CHOSEN", peer);
}

/** The first connection whose proposals fit; NULL after an answer was sent. */
static struct ike_conn *choose_conn(struct ike_engine *e, const struct message *m, struct proposal *chosen,
				    struct cipher_suite *suite)
{
	size_t count = conn_candidates(e, &e->at.address, &e->from.address);
	const struct proposal_list *refused = NULL;
	struct writer w;
	uint8_t group[2];

	for (size_t i = 0; i < count; i++) {
		struct ike_conn *c = e->candidates[i];

		/* most connections share their list: a stranger must not make us compare it a thousand times */
		if (c->ike_proposals == refused)
			continue;
		refused = c->ike_proposals;
		if (!proposal_choose(c->ike_proposals, &m->sa, chosen, suite) || !suite->ke)
			continue;
		if (m->ke_method == suite->ke->id)
			return c;
		w = writer_new(group, sizeof(group));
		writer_u16(&w, suite->ke->id);
		answer(e, m, N_INVALID_KE_PAYLOAD, writer_bytes(&w));
		return NULL;
	}
	refuse(e, m, count ? e->candidates[0] : NULL);
	return NULL;
}

/** True when the sender has proved that it receives at its address, or need not. */
static bool cookie_passed(struct ike_engine *e, const struct message *m)
{
	const struct notify *cookie = message_notify(m, N_COOKIE);
	uint8_t fresh[COOKIE_BYTES];

	if (!cookie_wanted(e))
		return true;
	if (cookie && cookie_verify(e, &e->from, m->header.spi_i, m->nonce, cookie->data))
		return true;
	if (cookie_make(e, &e->from, m->header.spi_i, m->nonce, fresh)) {
		e->counters.cookies_sent++;
		answer(e, m, N_COOKIE, BYTES(fresh, sizeof(fresh)));
	}
	return false;
}

static bool send_answer(struct ike_engine *e, struct ike_sa *sa, struct proposal *chosen)
{
	struct ike_header h = { .spi_i = sa->spi_i, .spi_r = sa->spi_r, .version = 0x20,
				.exchange = EXCHANGE_IKE_SA_INIT, .response = true };
	struct proposal_list *list = &e->list;
	struct negotiation *n = sa->nego;
	struct message_builder b;

	chosen->protocol = PROTOCOL_IKE;
	chosen->spi_size = 0;
	list->count = 1;
	list->p[0] = *chosen;
	builder_begin(&b, e->out, sizeof(e->out), &h);
	builder_sa(&b, list);
	builder_ke(&b, sa->suite.ke->id, ke_public(n->ke));
	builder_nonce(&b, BYTES(n->nr, n->nr_len));
	nat_put(e, sa, &b);
	packet_set(&n->response, builder_end(&b));
	if (!n->response.ptr)
		return false;
	engine_send(e, &sa->local, &sa->remote, packet_bytes(&n->response));
	return true;
}

static void half_open(struct ike_engine *e, const struct message *m, struct bytes datagram, const uint8_t hash[32],
		      struct ike_conn *conn, struct proposal *chosen, const struct cipher_suite *suite)
{
	struct ike_sa *sa = ike_sa_new(e, conn, false, IKE_STATE_INIT_R);
	struct negotiation *n;
	char peer[IP_ENDPOINT_TEXT + 4], text[256];

	if (!sa)
		return;
	n = sa->nego;
	sa->spi_i = m->header.spi_i;
	sa->local = e->at;
	sa->remote = e->from;
	sa->suite = *suite;
	sa->expected_id = 1;
	memcpy(n->ni, m->nonce.ptr, m->nonce.len);
	n->ni_len = (uint16_t)m->nonce.len;
	n->nr_len = 32;
	engine_random(e, n->nr, n->nr_len);
	memcpy(n->request_hash, hash, sizeof(n->request_hash));
	packet_set(&n->peer_ke, m->ke);
	packet_set(&n->request, datagram);
	nat_detect(e, sa, m);
	if (!n->peer_ke.ptr || !n->request.ptr || !ike_sa_index_half_open(e, sa) ||
	    !negotiation_set_ke(e, n, suite->ke->id) || !send_answer(e, sa, chosen)) {
		ike_sa_close(e, sa, REASON_INTERNAL, false);
		return;
	}
	timer_arm(e->wheel, &sa->life_timer, e->now + HALF_OPEN_US);
	event_debug(e, ABOUT_IKE(sa), "answered IKE_SA_INIT request of %s %s", endpoint_text(&sa->remote, peer),
		    suite_format_ike(&sa->suite, text, sizeof(text)));
}

void init_request(struct ike_engine *e, const struct ip_endpoint *local, const struct ip_endpoint *remote,
		  struct bytes datagram)
{
	static const uint8_t wanted[] = { PAYLOAD_SA, PAYLOAD_KE, PAYLOAD_NONCE };
	struct reader r = reader_of(datagram);
	struct ike_sa *known = ike_sa_half_open(e, remote, reader_u64(&r));
	struct message *m = &e->in;
	struct proposal chosen;
	struct cipher_suite suite;
	struct ike_conn *conn;
	uint8_t hash[32], missing;

	if (!hash_sha256(&datagram, 1, hash))
		return;
	if (known) {
		/* a retransmission; anything else with these SPIs is somebody's game */
		if (bytes_equal(BYTES(hash, 32), BYTES(known->nego->request_hash, 32))) {
			e->counters.retransmitted++;
			engine_send(e, local, remote, packet_bytes(&known->nego->response));
		} else {
			e->counters.dropped_replay++;
		}
		return;
	}
	if (message_decode_clear(datagram, m) != DECODE_OK) {
		e->counters.dropped_malformed++;
		return;
	}
	if (m->unknown_critical) {
		answer(e, m, N_UNSUPPORTED_CRITICAL_PAYLOAD, BYTES(&m->unknown_critical, 1));
		return;
	}
	if (!message_require(m, wanted, sizeof(wanted), &missing)) {
		e->counters.dropped_malformed++;
		return;
	}
	if (!cookie_passed(e, m))
		return;
	if ((e->config.half_open_max && e->counters.half_open >= e->config.half_open_max) ||
	    (e->config.sa_max && e->counters.ike_total >= e->config.sa_max)) {
		e->counters.dropped_limit++;
		return;
	}
	conn = choose_conn(e, m, &chosen, &suite);
	if (conn)
		half_open(e, m, datagram, hash, conn, &chosen, &suite);
}
