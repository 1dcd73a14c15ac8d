/* What both sides of IKE_AUTH compute: RFC 7296 §2.15, RFC 7619 for NULL. */
#include <string.h>

#include "ike/internal.h"

uint8_t auth_method(enum ike_auth how)
{
	return how == IKE_AUTH_NULL ? AUTH_METHOD_NULL : AUTH_METHOD_SHARED_KEY;
}

enum auth_outcome auth_compute(struct ike_engine *e, struct ike_sa *sa, const struct ike_conn *conn,
			       const struct identity *local, const struct identity *remote, bool of_initiator,
			       uint8_t *out)
{
	const struct negotiation *n = sa->nego;
	bool own = of_initiator == sa->initiator;
	const struct key *sk_p = of_initiator ? &sa->keys.pi : &sa->keys.pr;
	struct bytes message = packet_bytes(of_initiator ? &n->request : &n->response);
	struct bytes nonce = of_initiator ? BYTES(n->nr, n->nr_len) : BYTES(n->ni, n->ni_len);
	uint8_t body[IDENTITY_MAX + 4];
	struct bytes id = BYTES(body, identity_body(own ? local : remote, body));
	struct secret secret = { 0 };
	bool ok;

	if ((own ? conn->local_auth : conn->remote_auth) == IKE_AUTH_NULL)
		return auth_psk_compute(sa->suite.prf, key_bytes(sk_p), message, nonce, sk_p, id, out) ? AUTH_OK : AUTH_ERROR;
	if (!e->host->psk(e->host->context, conn, local, remote, &secret))
		return AUTH_NO_SECRET;
	ok = auth_psk_compute(sa->suite.prf, BYTES(secret.bytes, secret.len), message, nonce, sk_p, id, out);
	secret_wipe(&secret, sizeof(secret));
	return ok ? AUTH_OK : AUTH_ERROR;
}

enum auth_outcome auth_verify(struct ike_engine *e, struct ike_sa *sa, const struct ike_conn *conn,
			      const struct identity *local, const struct identity *remote, const struct message *m)
{
	uint8_t want[64];
	enum auth_outcome outcome;
	bool same;

	if (m->auth_method != auth_method(conn->remote_auth))
		return AUTH_ERROR;
	outcome = auth_compute(e, sa, conn, local, remote, !sa->initiator, want);
	if (outcome != AUTH_OK)
		return outcome;
	same = bytes_equal(BYTES(want, sa->suite.prf->key_bytes), m->auth);
	secret_wipe(want, sizeof(want));
	return same ? AUTH_OK : AUTH_ERROR;
}

void auth_report_up(struct ike_engine *e, struct ike_sa *sa)
{
	char id[IDENTITY_TEXT];

	e->counters.ike_established++;
	event_emit(e, IKE_EVENT_IKE_UP, LOG_LEVEL_INFO, REASON_NONE, ABOUT_IKE(sa),
		   "%s established IKE SA; authenticated peer using authby=%s and %s",
		   sa->initiator ? "initiator" : "responder", sa->conn->remote_auth == IKE_AUTH_NULL ? "null" : "secret",
		   identity_text(&sa->remote_id, id, sizeof(id)));
}
