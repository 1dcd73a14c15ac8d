/*
 * IKE_SA_INIT as initiator: RFC 7296 §1.2, §2.6, §1.3 for INVALID_KE_PAYLOAD.
 *
 * Nothing here is authenticated. So a refusal is told and remembered but ends
 * nothing, and what cannot be used is dropped while the request goes on being
 * retransmitted: a forged answer cannot stop an attempt.
 */
#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"

bool negotiation_set_ke(struct ike_engine *e, struct negotiation *n, uint16_t method)
{
	const struct algorithm *a = algorithm_find(TRANSFORM_KE, method);

	ke_free(n->ke);
	n->ke = a ? ke_generate(a, e->host->random, e->host->context) : NULL;
	if (!n->ke)
		return false;
	for (size_t i = 0; i < n->ke_tries; i++)
		if (n->ke_tried[i] == method)
			return true;
	if (n->ke_tries < sizeof(n->ke_tried) / sizeof(n->ke_tried[0]))
		n->ke_tried[n->ke_tries++] = method;
	return true;
}

static bool send_request(struct ike_engine *e, struct ike_sa *sa, bool restart)
{
	struct negotiation *n = sa->nego;
	struct ike_header h = { .spi_i = sa->spi_i, .version = 0x20, .exchange = EXCHANGE_IKE_SA_INIT, .initiator = true };
	struct message_builder b;

	builder_begin(&b, e->out, sizeof(e->out), &h);
	if (n->cookie.len)
		builder_notify(&b, N_COOKIE, 0, BYTES(NULL, 0), packet_bytes(&n->cookie));
	builder_sa(&b, sa->conn->ike_proposals);
	builder_ke(&b, ke_method(n->ke)->id, ke_public(n->ke));
	builder_nonce(&b, BYTES(n->ni, n->ni_len));
	nat_put(e, sa, &b);
	packet_set(&n->request, builder_end(&b));
	return n->request.ptr && request_send_bytes(e, sa, EXCHANGE_IKE_SA_INIT, packet_bytes(&n->request), restart);
}

bool init_start(struct ike_engine *e, struct ike_sa *sa)
{
	struct negotiation *n = sa->nego;
	char address[IP_ADDRESS_TEXT], peer[IP_ENDPOINT_TEXT + 4];

	n->ni_len = 32;
	engine_random(e, n->ni, n->ni_len);
	event_progress(e, ABOUT_IKE(sa), "initiating IKEv2 connection to %s using UDP",
		       ip_address_format(&sa->remote.address, address));
	if (!negotiation_set_ke(e, n, proposal_first_ke(sa->conn->ike_proposals)) || !send_request(e, sa, true))
		return false;
	event_progress(e, ABOUT_IKE(sa), "sent IKE_SA_INIT request to %s", endpoint_text(&sa->remote, peer));
	return true;
}

uint16_t ke_retry(struct negotiation *n, const struct message *m, const struct proposal_list *offer)
{
	const struct notify *wish = message_notify(m, N_INVALID_KE_PAYLOAD);
	struct reader r = reader_of(wish->data);
	uint16_t method = reader_u16(&r);

	if (!reader_done(&r) || n->ke_tries > KE_RETRIES_MAX)
		return 0;
	for (size_t i = 0; i < n->ke_tries; i++)
		if (n->ke_tried[i] == method)
			return 0;
	/* only what we offer ourselves: nobody talks us into anything else */
	for (size_t i = 0; i < offer->count; i++)
		if (method != KE_NONE && proposal_has_ke(&offer->p[i], method))
			return method;
	return 0;
}

static void take_cookie(struct ike_engine *e, struct ike_sa *sa, const struct notify *cookie)
{
	struct negotiation *n = sa->nego;

	/* the same again is the answer to a retransmission */
	if (!cookie->data.len || cookie->data.len > 64 || n->cookies >= COOKIES_MAX ||
	    bytes_equal(cookie->data, packet_bytes(&n->cookie)))
		return;
	n->cookies++;
	packet_set(&n->cookie, cookie->data);
	event_progress(e, ABOUT_IKE(sa),
		       "received anti-DDOS COOKIE response, resending IKE_SA_INIT request with COOKIE payload");
	send_request(e, sa, false);
}

static void refused(struct ike_engine *e, struct ike_sa *sa, enum ike_reason reason, const char *what,
		    const char *theirs)
{
	struct event_about about = ABOUT_IKE(sa);
	char ours[PROPOSAL_TEXT];

	e->counters.no_proposal += reason == REASON_NO_PROPOSAL_CHOSEN && !(sa->refused_told >> reason & 1);
	if (sa->refused_told >> reason & 1)
		return; /* told before; who forges them cannot fill the log by changing the reason */
	sa->refused = reason;
	sa->refused_told |= UINT64_C(1) << reason;
	free(sa->refused_theirs);
	sa->refused_theirs = theirs ? strdup(theirs) : NULL;
	about.ours = proposal_list_format(sa->conn->ike_proposals, ours, sizeof(ours));
	about.theirs = theirs;
	event_emit(e, IKE_EVENT_REFUSED, LOG_LEVEL_WARNING, reason, about,
		   "IKE_SA_INIT request was refused by the peer (not authenticated): %s; trying on", what);
}

static void take_invalid_ke(struct ike_engine *e, struct ike_sa *sa, const struct message *m)
{
	struct negotiation *n = sa->nego;
	const struct notify *wish = message_notify(m, N_INVALID_KE_PAYLOAD);
	struct reader r = reader_of(wish->data);
	uint16_t method = ke_retry(n, m, sa->conn->ike_proposals);
	char old[32], new[32];

	transform_name(TRANSFORM_KE, ke_method(n->ke)->id, old);
	if (!method) {
		uint16_t asked = reader_u16(&r);

		transform_name(TRANSFORM_KE, asked, new);
		for (size_t i = 0; i < n->ke_tries; i++)
			if (n->ke_tried[i] == asked)
				return; /* the answer to a retransmission */
		refused(e, sa, REASON_INVALID_KE_PAYLOAD, "INVALID_KE_PAYLOAD with a group that ike= does not have", new);
		return;
	}
	transform_name(TRANSFORM_KE, method, new);
	event_progress(e, ABOUT_IKE(sa), "received unauthenticated INVALID_KE_PAYLOAD response to Key Exchange Method "
		       "(DH) %s; resending with suggested %s", old, new);
	if (!negotiation_set_ke(e, n, method) || !send_request(e, sa, false))
		event_debug(e, ABOUT_IKE(sa), "IKE_SA_INIT request could not be made again");
}

/** An answer that agrees: its content must be one of our proposals. */
static bool answer_fits(struct ike_sa *sa, const struct message *m, struct cipher_suite *suite)
{
	static const uint8_t wanted[] = { PAYLOAD_SA, PAYLOAD_KE, PAYLOAD_NONCE };
	uint8_t missing;

	return message_require(m, wanted, sizeof(wanted), &missing) && m->header.spi_r && !m->unknown_critical &&
	       m->sa.count == 1 && proposal_accept(sa->conn->ike_proposals, &m->sa.p[0], suite) && suite->ke &&
	       suite->ke->id == ke_method(sa->nego->ke)->id && m->ke_method == suite->ke->id;
}

static bool derive(struct ike_sa *sa, const struct message *m)
{
	struct negotiation *n = sa->nego;
	struct secret shared;
	bool ok;

	memcpy(n->nr, m->nonce.ptr, m->nonce.len);
	n->nr_len = (uint16_t)m->nonce.len;
	ok = ke_derive(n->ke, m->ke, &shared) &&
	     ike_keys_derive(&sa->suite, BYTES(n->ni, n->ni_len), BYTES(n->nr, n->nr_len),
			     BYTES(shared.bytes, shared.len), m->header.spi_i, m->header.spi_r, &sa->keys) &&
	     ike_sa_set_keys(sa);
	secret_wipe(&shared, sizeof(shared));
	return ok;
}

void init_response(struct ike_engine *e, struct ike_sa *sa, const struct message *m)
{
	struct negotiation *n = sa->nego;
	const struct notify *error = message_error(m);
	char text[256], peer[IP_ENDPOINT_TEXT + 4], name[24];
	struct cipher_suite suite;

	if (message_notify(m, N_COOKIE) && !message_has(m, PAYLOAD_SA)) {
		take_cookie(e, sa, message_notify(m, N_COOKIE));
		return;
	}
	if (error && error->type == N_INVALID_KE_PAYLOAD) {
		take_invalid_ke(e, sa, m);
		return;
	}
	if (error) {
		refused(e, sa, reason_from_notify(error->type), notify_name(error->type, name), NULL);
		return;
	}
	if (!answer_fits(sa, m, &suite)) {
		event_debug(e, ABOUT_IKE(sa), "dropping IKE_SA_INIT response that does not fit our request: %s",
			    message_describe(m, text, sizeof(text)));
		e->counters.dropped_malformed++;
		return;
	}
	sa->suite = suite;
	if (!derive(sa, m)) {
		event_debug(e, ABOUT_IKE(sa), "dropping IKE_SA_INIT response: its key exchange value is not valid");
		e->counters.dropped_malformed++;
		return;
	}
	sa->spi_r = m->header.spi_r;
	nonce_lowest(BYTES(n->ni, n->ni_len), BYTES(n->nr, n->nr_len), sa->nonce_min, &sa->nonce_min_len);
	packet_set(&n->response, e->datagram_bytes);
	nat_detect(e, sa, m);
	request_done(e, sa);
	event_progress(e, ABOUT_IKE(sa), "processed IKE_SA_INIT response from %s %s, initiating IKE_AUTH",
		       endpoint_text(&sa->remote, peer), suite_format_ike(&sa->suite, text, sizeof(text)));
	nat_float(sa);
	auth_start(e, sa);
}
