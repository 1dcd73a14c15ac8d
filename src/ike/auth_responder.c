/* IKE_AUTH as responder: RFC 7296 §1.2, §2.15, §2.21.2. */
#include <stdio.h>
#include <string.h>

#include "ike/internal.h"
#include "ike/resource.h"

bool auth_derive(struct ike_engine *e, struct ike_sa *sa)
{
	struct negotiation *n = sa->nego;
	struct secret shared;
	bool ok;

	if (!n || !n->ke)
		return false;
	ok = ke_derive(n->ke, packet_bytes(&n->peer_ke), &shared) &&
	     ike_keys_derive(&sa->suite, BYTES(n->ni, n->ni_len), BYTES(n->nr, n->nr_len),
			     BYTES(shared.bytes, shared.len), sa->spi_i, sa->spi_r, &sa->keys) &&
	     ike_sa_set_keys(sa);
	secret_wipe(&shared, sizeof(shared));
	nonce_lowest(BYTES(n->ni, n->ni_len), BYTES(n->nr, n->nr_len), sa->nonce_min, &sa->nonce_min_len);
	/* once: what did not work does not work better the next time */
	ke_free(n->ke);
	n->ke = NULL;
	packet_free(&n->peer_ke);
	if (!ok)
		event_debug(e, ABOUT_IKE(sa), "the peer's key exchange value is not valid");
	return ok;
}

static void failed(struct ike_engine *e, struct ike_sa *sa, enum ike_reason reason, const struct ike_conn *conn,
		   const struct identity *local, const struct identity *remote, const char *what)
{
	char ours[IDENTITY_TEXT], theirs[IDENTITY_TEXT], peer[IP_ENDPOINT_TEXT + 4];
	struct event_about about = ABOUT_IKE(sa);

	about.conn = conn;
	about.ours = identity_text(local, ours, sizeof(ours));
	about.theirs = identity_text(remote, theirs, sizeof(theirs));
	e->counters.auth_failed++;
	event_emit(e, child_failure_of_peer(e, conn), LOG_LEVEL_ERROR, reason, about,
		   "authentication of the peer at %s failed: %s; we are %s, the peer is %s",
		   endpoint_text(&e->from, peer), what, about.ours, about.theirs);
	response_notify(e, sa, N_AUTHENTICATION_FAILED, BYTES(NULL, 0));
	ike_sa_close(e, sa, reason, true);
}

/** The first connection of these identities whose secret verifies; NULL after the answer was sent. */
static struct ike_conn *authenticate(struct ike_engine *e, struct ike_sa *sa, const struct message *m)
{
	static const struct identity any = { .type = IDENTITY_NONE };
	const struct identity *idr = message_has(m, PAYLOAD_IDR) ? &m->idr : &any;
	size_t count = conn_candidates(e, &sa->local.address, &sa->remote.address);
	struct ike_conn *named = NULL;
	bool secret = false;
	struct identity local = idr->type == IDENTITY_NONE ? conn_local_id(sa->conn, &sa->local.address) : *idr;

	for (size_t i = 0; i < count; i++) {
		struct ike_conn *c = e->candidates[i];
		struct proposal_list *suite = &e->list;
		struct proposal chosen;
		struct cipher_suite same;
		enum auth_outcome outcome;

		if (!conn_matches_ids(c, &sa->local.address, idr, &m->idi))
			continue;
		proposal_from_suite(PROTOCOL_IKE, &sa->suite, suite);
		if (!proposal_choose(c->ike_proposals, suite, &chosen, &same))
			continue; /* its ike= would not have allowed this */
		sa->local_id = conn_local_id(c, &sa->local.address);
		outcome = auth_verify(e, sa, c, &sa->local_id, &m->idi, m);
		if (outcome == AUTH_OK)
			return c;
		if (!named)
			local = sa->local_id;
		named = named ? named : c;
		secret |= outcome != AUTH_NO_SECRET;
	}
	if (!named)
		failed(e, sa, REASON_AUTHENTICATION_FAILED, sa->conn, &local, &m->idi,
		       "no connection has these identities");
	else
		failed(e, sa, secret ? REASON_AUTHENTICATION_FAILED : REASON_NO_SECRET, named, &local, &m->idi,
		       secret ? "its proof does not fit our secret" : "no pre-shared key for these identities");
	return NULL;
}

/** The Child SA that the request asks for, installed; else NULL with `why`. */
static struct child *make_child(struct ike_engine *e, struct ike_sa *sa, const struct message *m,
				struct proposal *chosen, struct child_refusal *why)
{
	const struct negotiation *n = sa->nego;
	const struct child_exchange x = { .ni = BYTES(n->ni, n->ni_len), .nr = BYTES(n->nr, n->nr_len) };
	struct ike_conn *conn = conn_select_child(e, sa, m);
	char err[256] = "";
	struct child *c;

	why->conn = conn;
	why->reason = REASON_BACKEND;
	why->notify = N_TEMPORARY_FAILURE;
	c = child_new(e, sa, conn, 0, err);
	if (!c) {
		snprintf(why->text, sizeof(why->text), "%s", err);
		return NULL;
	}
	if (!child_choose(sa, c, m, false, NULL, chosen, why)) {
		child_close(e, c, why->reason, false);
		return NULL;
	}
	/* where another already carries the traffic it goes on doing so until this one is known to work */
	if (!child_derive(sa, c, &x) || !child_install(e, sa, c, !child_newest(e, conn), err)) {
		why->notify = N_TEMPORARY_FAILURE;
		why->reason = REASON_BACKEND;
		snprintf(why->text, sizeof(why->text), "it could not be installed: %.200s", err);
		child_close(e, c, why->reason, false);
		return NULL;
	}
	return c;
}

static void answer(struct ike_engine *e, struct ike_sa *sa, const struct message *m, const uint8_t *auth)
{
	struct child_refusal why = { 0 };
	struct message_builder b;
	struct proposal chosen;
	struct child *c = make_child(e, sa, m, &chosen, &why);

	response_begin(e, sa, &b);
	builder_id(&b, PAYLOAD_IDR, &sa->local_id);
	builder_auth(&b, auth_method(sa->conn->local_auth), BYTES(auth, sa->suite.prf->key_bytes));
	if (c) {
		resource_agree(c, m);
		e->list.count = 1;
		e->list.p[0] = chosen;
		builder_sa(&b, &e->list);
		child_put_ts(&b, c, false);
		if (c->group)
			resource_put(&b, c);
	} else {
		builder_notify(&b, why.notify, 0, BYTES(NULL, 0), BYTES(NULL, 0));
	}
	response_send(e, sa, &b);
	if (c) {
		child_report(e, sa, c, NULL);
		resource_established(e, sa, c);
	} else {
		child_tell_refused(e, child_failure_of_peer(e, why.conn), sa, NULL, &why, "Child SA of the IKE_AUTH request is refused: %s", why.text);
	}
}

void auth_request(struct ike_engine *e, struct ike_sa *sa, const struct message *m)
{
	static const uint8_t wanted[] = { PAYLOAD_IDI, PAYLOAD_AUTH, PAYLOAD_SA, PAYLOAD_TSI, PAYLOAD_TSR };
	bool initial_contact = message_notify(m, N_INITIAL_CONTACT);
	uint8_t auth[64], missing;
	struct ike_conn *conn;

	ike_sa_unindex_half_open(e, sa);
	if (!message_require(m, wanted, sizeof(wanted), &missing)) {
		/* without AUTH the peer wants EAP; that is no way in here */
		event_emit(e, IKE_EVENT_REMOTE, LOG_LEVEL_WARNING, REASON_AUTHENTICATION_FAILED, ABOUT_IKE(sa),
			   "IKE_AUTH request without %s", payload_name(missing));
		response_notify(e, sa, missing == PAYLOAD_AUTH ? N_AUTHENTICATION_FAILED : N_INVALID_SYNTAX, BYTES(NULL, 0));
		ike_sa_close(e, sa, REASON_AUTHENTICATION_FAILED, true);
		return;
	}
	conn = authenticate(e, sa, m);
	if (!conn)
		return;
	ike_sa_set_conn(e, sa, conn);
	sa->remote_id = m->idi;
	if (auth_compute(e, sa, conn, &sa->local_id, &sa->remote_id, false, auth) != AUTH_OK) {
		failed(e, sa, REASON_NO_SECRET, conn, &sa->local_id, &sa->remote_id, "no pre-shared key for ourselves");
		return;
	}
	ike_sa_establish(e, sa);
	auth_report_up(e, sa);
	answer(e, sa, m, auth);
	negotiation_free(sa->nego);
	sa->nego = NULL;
	duplicate_resolve(e, sa, initial_contact);
}
