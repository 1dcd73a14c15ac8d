/* IKE_AUTH as initiator: RFC 7296 §1.2, §2.15, §2.21.2. */
#include <stdio.h>
#include <string.h>

#include "ike/internal.h"
#include "ike/resource.h"

static void failed(struct ike_engine *e, struct ike_sa *sa, enum ike_reason reason, const char *what)
{
	char local[IDENTITY_TEXT], remote[IDENTITY_TEXT];
	struct event_about about = ABOUT_IKE(sa);

	about.ours = identity_text(&sa->local_id, local, sizeof(local));
	about.theirs = identity_text(&sa->remote_id, remote, sizeof(remote));
	if (reason == REASON_AUTHENTICATION_FAILED)
		e->counters.auth_failed++;
	if (!sa->abandoned)
		event_emit(e, IKE_EVENT_FAILED, LOG_LEVEL_ERROR, reason, about, "%s; we are %s, the peer is %s", what,
			   about.ours, about.theirs);
	ike_sa_close(e, sa, reason, false);
}

static struct child *first_child(struct ike_engine *e, struct ike_sa *sa)
{
	return child_by_id(e, sa->first_child);
}

void auth_start(struct ike_engine *e, struct ike_sa *sa)
{
	uint8_t auth[64];
	struct message_builder b;
	struct child *c;
	char err[256], peer[IP_ENDPOINT_TEXT + 4];

	if (auth_compute(e, sa, sa->conn, &sa->local_id, &sa->remote_id, true, auth) != AUTH_OK) {
		failed(e, sa, REASON_NO_SECRET, "no pre-shared key");
		return;
	}
	c = child_new(e, sa, sa->conn, 0, err);
	if (!c) {
		failed(e, sa, REASON_BACKEND, err);
		return;
	}
	sa->first_child = c->sa.id;
	ike_sa_set_state(e, sa, IKE_STATE_AUTH_I);
	child_offer(sa->conn, sa, NULL, NULL, &e->list);
	request_begin(e, sa, EXCHANGE_IKE_AUTH, &b);
	builder_id(&b, PAYLOAD_IDI, &sa->local_id);
	if (sa->conn->initial_contact && sa->conn->local_auth != IKE_AUTH_NULL && !duplicate_exists(e, sa))
		builder_notify(&b, N_INITIAL_CONTACT, 0, BYTES(NULL, 0), BYTES(NULL, 0));
	builder_auth(&b, auth_method(sa->conn->local_auth), BYTES(auth, sa->suite.prf->key_bytes));
	child_put_sa(&b, c, &e->list);
	child_put_ts(&b, c, true);
	resource_put(&b, c);
	if (!request_send(e, sa, EXCHANGE_IKE_AUTH, &b)) {
		failed(e, sa, REASON_INTERNAL, "IKE_AUTH request could not be made");
		return;
	}
	event_progress(e, ABOUT_IKE(sa), "sent IKE_AUTH request to %s", endpoint_text(&sa->remote, peer));
}

/** The responder's proof. False after the attempt has been ended. */
static bool authenticated(struct ike_engine *e, struct ike_sa *sa, const struct message *m)
{
	const struct ike_conn *conn = sa->conn;
	char text[IDENTITY_TEXT + 64], id[IDENTITY_TEXT];

	if (!message_has(m, PAYLOAD_IDR) || !message_has(m, PAYLOAD_AUTH)) {
		const struct notify *error = message_error(m);
		char name[24];

		if (!error) {
			failed(e, sa, REASON_INVALID_SYNTAX, "IKE_AUTH response has neither AUTH nor an error");
			return false;
		}
		snprintf(text, sizeof(text), "IKE SA authentication request rejected by peer: %s",
			 notify_name(error->type, name));
		failed(e, sa, reason_from_notify(error->type), text);
		return false;
	}
	if (conn->remote_id.type != IDENTITY_NONE && !identity_equal(&conn->remote_id, &m->idr)) {
		snprintf(text, sizeof(text), "the peer says that it is %s", identity_text(&m->idr, id, sizeof(id)));
		informational_send_once(e, sa, N_AUTHENTICATION_FAILED);
		failed(e, sa, REASON_AUTHENTICATION_FAILED, text);
		return false;
	}
	if (auth_verify(e, sa, conn, &sa->local_id, &m->idr, m) != AUTH_OK) {
		sa->remote_id = m->idr;
		informational_send_once(e, sa, N_AUTHENTICATION_FAILED);
		failed(e, sa, REASON_AUTHENTICATION_FAILED, "authentication of the peer failed");
		return false;
	}
	sa->remote_id = m->idr;
	return true;
}

/** The first Child SA's part of the response. */
static void take_child(struct ike_engine *e, struct ike_sa *sa, struct child *c, const struct message *m)
{
	const struct negotiation *n = sa->nego;
	const struct child_exchange x = { .ni = BYTES(n->ni, n->ni_len), .nr = BYTES(n->nr, n->nr_len), .initiator = true };
	const struct notify *error = message_error(m);
	struct child_refusal why = { .conn = c->conn };
	char err[256] = "", name[24], a[256], b[256];

	if (!message_has(m, PAYLOAD_SA) || !message_has(m, PAYLOAD_TSI) || !message_has(m, PAYLOAD_TSR)) {
		why.reason = error ? reason_from_notify(error->type) : REASON_INVALID_SYNTAX;
		if (why.reason == REASON_TS_UNACCEPTABLE)
			snprintf(why.ours, sizeof(why.ours), "%s===%s", ts_list_format(&c->sa.local_ts, a, sizeof(a)),
				 ts_list_format(&c->sa.remote_ts, b, sizeof(b)));
		else
			proposal_list_format(&e->list, why.ours, sizeof(why.ours));
		child_tell_refused(e, IKE_EVENT_FAILED, sa, c, &why, "IKE_AUTH response rejected Child SA with %s",
				   error ? notify_name(error->type, name) : "no SA and no error");
		child_close(e, c, why.reason, false);
		return;
	}
	if (!child_accept(c, m, &e->list, &why)) {
		child_tell_refused(e, IKE_EVENT_FAILED, sa, c, &why, "IKE_AUTH response for the Child SA is not acceptable: %s", why.text);
		child_discard(e, sa, c);
		return;
	}
	if (!child_derive(sa, c, &x) || !child_install(e, sa, c, true, err)) {
		why.reason = REASON_BACKEND;
		child_tell_refused(e, IKE_EVENT_FAILED, sa, c, &why, "Child SA could not be installed: %s", err);
		child_discard(e, sa, c);
		return;
	}
	resource_agree(c, m);
	child_report(e, sa, c, NULL);
	resource_established(e, sa, c);
}

void auth_response(struct ike_engine *e, struct ike_sa *sa, const struct message *m)
{
	struct child *c = first_child(e, sa);

	request_done(e, sa);
	if (!authenticated(e, sa, m))
		return;
	if (sa->abandoned) {
		/* taken down while the peer was answering: it is told to forget it */
		ike_sa_set_state(e, sa, IKE_STATE_REKEYED);
		ike_sa_delete(e, sa, REASON_ADMIN);
		return;
	}
	ike_sa_establish(e, sa);
	auth_report_up(e, sa);
	sa->first_child = 0;
	if (c) {
		child_offer(c->conn, sa, NULL, NULL, &e->list);
		take_child(e, sa, c, m);
	}
	negotiation_free(sa->nego);
	sa->nego = NULL;
	duplicate_resolve(e, sa, false);
}
