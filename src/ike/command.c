/* What the host asks for: up, down, rekey, stop; and what its back end tells. */
#include <stdio.h>
#include <string.h>

#include "ike/internal.h"

bool conn_is_pending(struct ike_engine *e, const struct ike_conn *conn)
{
	struct conn_entry *entry = conn_entry_find(e, conn);
	struct ike_sa *sa;

	if (!entry)
		return false;
	if (entry->tasks)
		return true;
	TAILQ_FOREACH(sa, &entry->ikes, of_conn)
		if ((sa->state == IKE_STATE_INIT_I || sa->state == IKE_STATE_AUTH_I) && !sa->abandoned)
			return true;
	return false;
}

static bool serves(const struct ike_sa *sa, const struct ike_conn *conn, const struct identity *local)
{
	bool attempt = (sa->state == IKE_STATE_INIT_I || sa->state == IKE_STATE_AUTH_I) && !sa->abandoned;

	return (attempt || (ike_sa_is_up(sa) && !sa->redundant)) &&
	       (conn->remote.address.family == AF_UNSPEC ||
		ip_address_equal(&sa->remote.address, &conn->remote.address) ||
		(sa->nat_remote && conn->remote_auth != IKE_AUTH_NULL)) &&
	       identity_equal(&sa->local_id, local) &&
	       (conn->remote_id.type == IDENTITY_NONE || identity_equal(&sa->remote_id, &conn->remote_id)) &&
	       sa->conn->local_auth == conn->local_auth && sa->conn->remote_auth == conn->remote_auth;
}

/** An IKE SA, or an attempt at one, that `conn` can share; an established one first. */
static struct ike_sa *find_shared(struct ike_engine *e, const struct ike_conn *conn, const struct identity *local)
{
	struct conn_entry *entry = conn_entry_find(e, conn);
	uint64_t key = identities_key(local, &conn->remote_id);
	struct ike_sa *sa, *found = NULL;
	struct peer_entry *p = NULL;

	if (key)
		HASH_FIND(hh, e->peers, &key, sizeof(key), p);
	if (p)
		TAILQ_FOREACH(sa, &p->ikes, of_peer)
			/* one that may turn out to be redundant gets no work: what waits on the other moves */
			if (serves(sa, conn, local) && !rekey_ike_undecided(e, sa) && (!found || ike_sa_is_up(sa)))
				found = sa;
	if (!found && entry)
		TAILQ_FOREACH(sa, &entry->ikes, of_conn)
			if (serves(sa, conn, local) && !rekey_ike_undecided(e, sa))
				found = sa;
	return found;
}

static enum ike_up fail(struct ike_engine *e, struct ike_conn *conn, enum ike_reason reason, const char *text)
{
	struct event_about about = { .conn = conn, .peer = &conn->remote };

	event_emit(e, IKE_EVENT_FAILED, LOG_LEVEL_ERROR, reason, about, "%s", text);
	return IKE_UP_FAILED;
}

static bool has_secret(struct ike_engine *e, const struct ike_conn *conn, const struct identity *local)
{
	struct secret secret;
	bool found;

	if (conn->local_auth == IKE_AUTH_NULL && conn->remote_auth == IKE_AUTH_NULL)
		return true;
	found = e->host->psk(e->host->context, conn, local, &conn->remote_id, &secret);
	secret_wipe(&secret, sizeof(secret));
	return found;
}

static enum ike_up initiate(struct ike_engine *e, struct ike_conn *conn, const struct identity *local)
{
	struct ike_sa *sa = ike_sa_new(e, conn, true, IKE_STATE_INIT_I);

	if (!sa)
		return fail(e, conn, REASON_LIMIT, "no room for another IKE SA");
	sa->local = conn->local;
	sa->remote = conn->remote;
	if (!sa->local.port)
		sa->local.port = 500;
	if (!sa->remote.port)
		sa->remote.port = 500;
	sa->local_id = *local;
	sa->remote_id = conn->remote_id;
	ike_sa_index_peer(e, sa);
	if (init_start(e, sa))
		return IKE_UP_STARTED;
	ike_sa_close(e, sa, REASON_INTERNAL, false);
	return fail(e, conn, REASON_INTERNAL, "the IKE_SA_INIT request could not be made");
}

static enum ike_up bring_up(struct ike_engine *e, struct ike_conn *conn)
{
	struct identity local = conn_local_id(conn, &conn->local.address);
	char text[2 * IDENTITY_TEXT + 64], a[IDENTITY_TEXT], b[IDENTITY_TEXT];
	struct event_about about = { .conn = conn };
	struct ike_sa *sa;

	if (child_newest(e, conn))
		return IKE_UP_ALREADY;
	if (conn_is_pending(e, conn))
		return IKE_UP_PENDING;
	sa = find_shared(e, conn, &local);
	if (sa) {
		about.ike = sa;
		if (!task_add(e, sa, TASK_CHILD_CREATE, conn, 0))
			return fail(e, conn, REASON_LIMIT, "too many requests are waiting for the IKE SA");
		event_progress(e, about, ike_sa_is_up(sa) ? "initiating Child SA using IKE SA #%u"
							  : "queue Child SA; waiting on IKE SA #%u", sa->id);
		return IKE_UP_STARTED;
	}
	if (conn->remote.address.family == AF_UNSPEC)
		return fail(e, conn, REASON_NO_CONNECTION, "the peer's address is not known");
	if (!has_secret(e, conn, &local)) {
		snprintf(text, sizeof(text), "authentication failed: no PSK found for %s and %s",
			 identity_text(&local, a, sizeof(a)), identity_text(&conn->remote_id, b, sizeof(b)));
		return fail(e, conn, REASON_NO_SECRET, text);
	}
	return initiate(e, conn, &local);
}

enum ike_up ike_engine_up(struct ike_engine *e, struct ike_conn *conn)
{
	enum ike_up result;

	engine_enter(e);
	result = bring_up(e, conn);
	engine_leave(e);
	return result;
}

/** Tasks of `conn` that wait on `sa` end; the one under way is deleted when it succeeds. */
static void cancel_tasks(struct ike_engine *e, struct ike_sa *sa, const struct ike_conn *conn)
{
	struct task *t, *next;
	const struct child *c;

	TAILQ_FOREACH_SAFE(t, &sa->tasks, entry, next) {
		if (t->conn != conn)
			continue;
		task_unqueue(sa, t);
		task_free(e, t);
	}
	t = sa->active;
	if (!t)
		return;
	c = child_by_id(e, t->new_id);
	if (t->conn == conn || (c && c->conn == conn))
		task_abandon(e, t);
}

/** Another connection that has a Child SA on `sa`, or waits for one; NULL: none. */
static struct ike_conn *used_by_other(const struct ike_sa *sa, const struct ike_conn *conn)
{
	const struct child *c;
	const struct task *t;

	TAILQ_FOREACH(c, &sa->children, of_ike)
		if (c->conn != conn && child_is_known(c))
			return c->conn;
	TAILQ_FOREACH(t, &sa->tasks, entry)
		if (t->conn && t->conn != conn)
			return t->conn;
	return sa->active && sa->active->conn != conn ? sa->active->conn : NULL;
}

/** An attempt that is not authenticated yet; others that waited for it start their own. */
static void end_attempt(struct ike_engine *e, struct ike_sa *sa)
{
	struct task *t;

	/* the peer may have made it already: let the answer come, then delete it */
	bool answered = sa->state == IKE_STATE_AUTH_I;
	struct task_list waiting = TAILQ_HEAD_INITIALIZER(waiting);

	sa->abandoned = true;
	while ((t = TAILQ_FIRST(&sa->tasks))) {
		task_unqueue(sa, t);
		TAILQ_INSERT_TAIL(&waiting, t, entry);
	}
	if (!answered)
		ike_sa_close(e, sa, REASON_ADMIN, false);
	while ((t = TAILQ_FIRST(&waiting))) {
		struct ike_conn *conn = ike_conn_ref(t->conn);

		TAILQ_REMOVE(&waiting, t, entry);
		task_free(e, t);
		if (conn)
			bring_up(e, conn);
		ike_conn_unref(conn);
	}
}

static void down_ike(struct ike_engine *e, struct ike_sa *sa, const struct ike_conn *conn, enum ike_reason reason)
{
	struct ike_sa *old = rekey_ike_undecided(e, sa);
	struct child *c, *next;
	struct ike_conn *other;

	cancel_tasks(e, sa, conn);
	if (sa->state == IKE_STATE_INIT_I || sa->state == IKE_STATE_AUTH_I) {
		if (sa->conn == conn && !sa->abandoned)
			end_attempt(e, sa);
		return;
	}
	if (!ike_sa_is_up(sa))
		return;
	other = used_by_other(sa, conn);
	if (!other && old)
		other = used_by_other(old, conn); /* whose Child SAs it may get */
	if (!other) {
		event_progress(e, ((struct event_about){ .conn = conn }), "initiating delete of connection's IKE SA #%u", sa->id);
		ike_sa_delete(e, sa, reason);
		return;
	}
	TAILQ_FOREACH_SAFE(c, &sa->children, of_ike, next)
		if (c->conn == conn)
			child_delete(e, sa, c, reason, true);
	if (sa->conn == conn)
		ike_sa_set_conn(e, sa, other); /* who is left has the say over it */
}

/** Tasks may wait on any SA of the peer's: look at all. */
static void down_everywhere(struct ike_engine *e, const struct ike_conn *conn, enum ike_reason reason)
{
	struct ike_sa *sa, *next;

	/* what ends meanwhile is freed later, so `next` stays readable */
	for (sa = e->by_id; sa; sa = next) {
		bool concerned = sa->conn == conn || (sa->active && sa->active->conn == conn);
		struct child *c;
		struct task *t;

		next = sa->hh_id.next;
		TAILQ_FOREACH(c, &sa->children, of_ike)
			concerned |= c->conn == conn;
		TAILQ_FOREACH(t, &sa->tasks, entry)
			concerned |= t->conn == conn;
		if (concerned)
			down_ike(e, sa, conn, reason);
	}
}

/** The SAs that its Child SAs are on, and those that were made for it. */
static void down_own(struct ike_engine *e, const struct ike_conn *conn, enum ike_reason reason)
{
	struct conn_entry *entry = conn_entry_find(e, conn);
	struct child *c, *next_child;
	struct ike_sa *sa, *next;

	TAILQ_FOREACH_SAFE(c, &entry->children, of_conn, next_child) {
		sa = ike_sa_by_id(e, c->ike_id);
		if (sa)
			down_ike(e, sa, conn, reason);
	}
	entry = conn_entry_find(e, conn);
	if (entry)
		TAILQ_FOREACH_SAFE(sa, &entry->ikes, of_conn, next)
			down_ike(e, sa, conn, reason);
}

void ike_engine_down(struct ike_engine *e, struct ike_conn *conn, enum ike_reason reason)
{
	struct event_about about = { .conn = conn };
	struct conn_entry *entry;
	bool attempt;

	engine_enter(e);
	ike_conn_ref(conn);
	attempt = conn_is_pending(e, conn);
	entry = conn_entry_find(e, conn);
	if (entry && entry->tasks)
		down_everywhere(e, conn, reason);
	else if (entry)
		down_own(e, conn, reason);
	if (attempt)
		event_emit(e, IKE_EVENT_FAILED, LOG_LEVEL_INFO, reason, about, "attempt ended: %s", ike_reason_text(reason));
	ike_conn_unref(conn);
	engine_leave(e);
}

bool ike_engine_rekey_ike(struct ike_engine *e, struct ike_conn *conn)
{
	struct child *c;
	struct ike_sa *sa = NULL;
	bool started = false;

	engine_enter(e);
	c = child_newest(e, conn);
	if (c) {
		sa = ike_sa_by_id(e, c->ike_id);
	} else {
		struct conn_entry *entry = conn_entry_find(e, conn);
		struct ike_sa *other;

		if (entry)
			TAILQ_FOREACH(other, &entry->ikes, of_conn)
				if (ike_sa_is_up(other))
					sa = other;
	}
	if (sa && ike_sa_is_up(sa))
		started = task_find(sa, TASK_IKE_REKEY, 0) || task_add(e, sa, TASK_IKE_REKEY, NULL, 0);
	engine_leave(e);
	return started;
}

bool ike_engine_rekey_child(struct ike_engine *e, struct ike_conn *conn)
{
	struct conn_entry *entry;
	struct child *c, *of_resource;

	engine_enter(e);
	c = child_newest(e, conn);
	entry = c ? conn_entry_find(e, conn) : NULL;
	/* the fallback last: its event tells that all are done */
	if (entry)
		TAILQ_FOREACH(of_resource, &entry->children, of_conn)
			if (of_resource->sa.resource && !of_resource->redundant)
				child_rekey_soon(e, of_resource);
	if (c)
		child_rekey_soon(e, c);
	engine_leave(e);
	return c != NULL;
}

void ike_engine_shutdown(struct ike_engine *e)
{
	struct ike_sa *sa, *next;

	engine_enter(e);
	for (sa = e->by_id; sa; sa = next) {
		next = sa->hh_id.next;
		/* one message: who stops does not wait for answers */
		if (sa->state == IKE_STATE_ESTABLISHED || sa->state == IKE_STATE_REKEYED) {
			if (request_under_way(sa))
				request_done(e, sa); /* the peer has seen its ID: this one takes the next */
			informational_send_once(e, sa, 0);
		}
		ike_sa_close(e, sa, REASON_ADMIN, false);
	}
	engine_leave(e);
}

/** An inbound SPI is ours and names one SA; outbound, peers choose: each that has it. */
static struct child *expired(struct ike_engine *e, uint32_t spi, enum sa_direction direction, struct child *after)
{
	struct child *c = after ? after->hh_id.next : e->child_by_id;

	if (direction == SA_IN)
		return after ? NULL : child_by_own_spi(e, spi);
	while (c && !(c->out_installed && c->sa.out.spi == spi))
		c = c->hh_id.next;
	return c;
}

void ike_engine_expire(struct ike_engine *e, uint32_t spi, enum sa_direction direction, bool hard)
{
	struct child *c;
	struct ike_sa *sa;
	bool several;

	engine_enter(e);
	c = expired(e, spi, direction, NULL);
	several = c && expired(e, spi, direction, c);
	sa = c ? ike_sa_by_id(e, c->ike_id) : NULL;
	if (sa && hard && !several)
		child_delete(e, sa, c, REASON_EXPIRED, true);
	else
		/* a peer that took the SPI of another's must not end that one: a new SA is no loss to either */
		for (; c; c = expired(e, spi, direction, c))
			if (several || c->conn->rekey)
				child_rekey_soon(e, c);
	engine_leave(e);
}

void ike_engine_first_packet(struct ike_engine *e, uint32_t child_id)
{
	struct child *c;

	engine_enter(e);
	c = child_by_id(e, child_id);
	if (c && c->out_pending)
		child_switch_outbound(e, c);
	engine_leave(e);
}

void ike_engine_peer_moved(struct ike_engine *e, uint32_t child_id, const struct ip_endpoint *to)
{
	struct child *c;
	struct ike_sa *sa;

	engine_enter(e);
	c = child_by_id(e, child_id);
	sa = c ? ike_sa_by_id(e, c->ike_id) : NULL;
	if (sa)
		nat_follow(e, sa, &sa->local, to);
	engine_leave(e);
}
