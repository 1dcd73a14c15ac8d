/* Which connection a peer means: by identities, then by what it wants to protect. RFC 4301 §4.4.3. */
#include "ike/internal.h"

struct identity conn_local_id(const struct ike_conn *conn, const struct ip_address *local)
{
	return conn->local_id.type == IDENTITY_NONE ? identity_from_address(local) : conn->local_id;
}

bool conn_matches_ids(const struct ike_conn *conn, const struct ip_address *local, const struct identity *idr,
		      const struct identity *idi)
{
	struct identity own = conn_local_id(conn, local);

	if (idr->type != IDENTITY_NONE && !identity_equal(&own, idr))
		return false;
	return conn->remote_id.type == IDENTITY_NONE || identity_equal(&conn->remote_id, idi);
}

size_t conn_candidates(struct ike_engine *e, const struct ip_address *local, const struct ip_address *remote)
{
	size_t count = e->host->connections(e->host->context, local, remote, e->candidates, CANDIDATES_MAX);

	return count < CANDIDATES_MAX ? count : CANDIDATES_MAX;
}

/** 0: nothing in common; more is better. */
static unsigned fit(const struct ike_conn *conn, const struct message *m)
{
	bool transport = message_notify(m, N_USE_TRANSPORT_MODE);
	unsigned score = 1;
	struct ts_list common;

	ts_list_narrow(&m->tsi, &conn->remote_ts, &common);
	if (!common.count)
		return 0;
	ts_list_narrow(&m->tsr, &conn->local_ts, &common);
	if (!common.count)
		return 0;
	if (ts_list_contains(&conn->remote_ts, &m->tsi) && ts_list_contains(&conn->local_ts, &m->tsr))
		score += 2;
	if (ts_list_contains(&m->tsi, &conn->remote_ts) && ts_list_contains(&m->tsr, &conn->local_ts))
		score += 2;
	/* tunnel mode can be answered to who asks for transport mode, not the other way round */
	if (transport == (conn->mode == MODE_TRANSPORT))
		score += 8;
	else if (!transport)
		return 0;
	return score;
}

struct ike_conn *conn_select_child(struct ike_engine *e, struct ike_sa *sa, const struct message *m)
{
	struct ike_conn *best = NULL;
	unsigned best_score = 0;
	size_t count = conn_candidates(e, &sa->local.address, &sa->remote.address);

	for (size_t i = 0; i < count; i++) {
		struct ike_conn *c = e->candidates[i];
		unsigned score;

		if (!conn_matches_ids(c, &sa->local.address, &sa->local_id, &sa->remote_id) ||
		    c->local_auth != sa->conn->local_auth || c->remote_auth != sa->conn->remote_auth)
			continue;
		score = fit(c, m);
		if (score > best_score) {
			best = c;
			best_score = score;
		}
	}
	return best ? best : sa->conn;
}
