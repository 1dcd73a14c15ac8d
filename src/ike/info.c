/* What the engine shows: status, and the keys for those who ask for them by name. */
#include "ike/internal.h"

static uint64_t seconds_until(const struct ike_engine *e, uint64_t due_us)
{
	return !due_us ? UINT64_MAX : due_us > e->now ? (due_us - e->now) / US_PER_S : 0;
}

static bool shown(const struct ike_sa *sa)
{
	return sa->state != IKE_STATE_CLOSED && sa->state != IKE_STATE_DEAD && sa->state != IKE_STATE_REKEY_I;
}

static bool is_newest(struct ike_engine *e, const struct ike_sa *sa)
{
	struct conn_entry *entry = conn_entry_find(e, sa->conn);
	struct ike_sa *other;

	if (!ike_sa_is_up(sa))
		return false;
	TAILQ_FOREACH(other, &entry->ikes, of_conn)
		if (ike_sa_is_up(other) && !other->redundant && other->id > sa->id)
			return false;
	return true;
}

static struct ike_sa_info info_of(struct ike_engine *e, const struct ike_sa *sa)
{
	bool authenticated = sa->state == IKE_STATE_ESTABLISHED || sa->state == IKE_STATE_REKEYED ||
			     sa->state == IKE_STATE_DELETING;

	return (struct ike_sa_info){
		.id = sa->id,
		.conn = sa->conn,
		.initiator = sa->initiator,
		.established = ike_sa_is_up(sa),
		.newest = is_newest(e, sa),
		.state = ike_state_name(sa->state),
		.spi_i = sa->spi_i,
		.spi_r = sa->spi_r,
		.local = sa->local,
		.remote = sa->remote,
		.local_id = authenticated ? &sa->local_id : NULL,
		.remote_id = authenticated ? &sa->remote_id : NULL,
		.suite = sa->suite,
		.nat_local = sa->nat_local,
		.nat_remote = sa->nat_remote,
		.rekey_in_s = ike_sa_is_up(sa) ? seconds_until(e, sa->rekey_due_us) : UINT64_MAX,
		.replace_in_s = ike_sa_is_up(sa) ? seconds_until(e, sa->expire_us) : UINT64_MAX,
		.established_s = sa->established_us ? (e->now - sa->established_us) / US_PER_S : 0,
	};
}

void ike_engine_each_ike(struct ike_engine *e, void (*fn)(void *, const struct ike_sa_info *), void *context)
{
	struct ike_sa *sa;

	e->now = e->host->now_us(e->host->context);
	for (sa = e->by_id; sa; sa = sa->hh_id.next) {
		struct ike_sa_info info;

		if (!shown(sa))
			continue;
		info = info_of(e, sa);
		fn(context, &info);
	}
}

void ike_engine_each_child(struct ike_engine *e, void (*fn)(void *, const struct child_sa_info *), void *context)
{
	struct child *c;

	e->now = e->host->now_us(e->host->context);
	for (c = e->child_by_id; c; c = c->hh_id.next) {
		const struct ike_sa *ike = ike_sa_by_id(e, c->ike_id);
		struct child_sa_info info;

		/* what lingers in the back end for its last packets is no SA any more */
		if (!ike || !(child_is_up(c) || c->state == CHILD_STATE_LARVAL))
			continue;
		info = (struct child_sa_info){
			.id = c->sa.id,
			.ike_id = c->ike_id,
			.conn = c->conn,
			.established = child_is_up(c),
			.newest = child_newest(e, c->conn) == c,
			.initiator = c->initiator,
			.state = child_state_name(c->state),
			.sa = &c->sa,
			.remote_id = &ike->remote_id,
			.rekey_in_s = child_is_up(c) ? seconds_until(e, c->rekey_due_us) : UINT64_MAX,
			.replace_in_s = child_is_up(c) ? seconds_until(e, c->expire_us) : UINT64_MAX,
			.liveness_in_s = ike->dpd_timer.armed ? seconds_until(e, ike->dpd_timer.due_ms * US_PER_MS)
							      : UINT64_MAX,
			.added_s = c->established_us ? (e->now - c->established_us) / US_PER_S : 0,
		};
		fn(context, &info);
	}
}

void ike_engine_export_keys(struct ike_engine *e,
			    void (*ike)(void *, const struct ike_sa_info *, struct bytes sk_ei, struct bytes sk_er,
					struct bytes sk_ai, struct bytes sk_ar),
			    void (*child)(void *, const struct child_sa *), void *context)
{
	struct ike_sa *sa;
	struct child *c;

	e->now = e->host->now_us(e->host->context);
	for (sa = e->by_id; sa; sa = sa->hh_id.next) {
		struct ike_sa_info info = info_of(e, sa);

		if (sa->sk_in)
			ike(context, &info, key_bytes(&sa->keys.ei), key_bytes(&sa->keys.er), key_bytes(&sa->keys.ai),
			    key_bytes(&sa->keys.ar));
	}
	for (c = e->child_by_id; c; c = c->hh_id.next)
		if (c->was_installed)
			child(context, &c->sa);
}
