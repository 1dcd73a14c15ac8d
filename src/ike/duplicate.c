/*
 * Several IKE SAs of one pair of identities: a peer that restarted, and two
 * ends that initiate at once.
 *
 * An SA of the peer's is concurrent with one of ours when its first message
 * came before ours was established; then the rule of RFC 7296 §2.8.1 decides
 * on both ends alike: the one with the lowest nonce is redundant and goes, by
 * the end that made it, after the other carries the traffic. An SA that comes
 * later replaces the older one: its maker has lost that one.
 */
#include "ike/internal.h"

enum { REDUNDANT_TRIES = 30 };

static struct peer_entry *peers_of(struct ike_engine *e, const struct ike_sa *sa)
{
	struct peer_entry *p;

	if (!sa->peer_key)
		return NULL;
	HASH_FIND(hh, e->peers, &sa->peer_key, sizeof(sa->peer_key), p);
	return p;
}

/** Who proved nothing is nobody's duplicate, whatever name it gives: RFC 7619 §2.3. */
static bool same_peer(const struct ike_sa *a, const struct ike_sa *b)
{
	return a != b && a->conn->remote_auth != IKE_AUTH_NULL && b->conn->remote_auth != IKE_AUTH_NULL &&
	       identity_equal(&a->local_id, &b->local_id) && identity_equal(&a->remote_id, &b->remote_id);
}

bool duplicate_exists(struct ike_engine *e, const struct ike_sa *sa)
{
	struct peer_entry *p = peers_of(e, sa);
	struct ike_sa *other;

	if (p)
		TAILQ_FOREACH(other, &p->ikes, of_peer)
			if (same_peer(sa, other) && ike_sa_is_up(other))
				return true;
	return false;
}

/** What was to be done on `from` is done on `to`. */
static void move_tasks(struct ike_engine *e, struct ike_sa *from, struct ike_sa *to)
{
	struct task *t, *next;

	TAILQ_FOREACH_SAFE(t, &from->tasks, entry, next) {
		if (t->type != TASK_CHILD_CREATE)
			continue;
		task_unqueue(from, t);
		task_requeue(e, to, t, 0);
	}
}

/** Our attempt has come second: the peer's SA serves as well. */
static void supersede_attempt(struct ike_engine *e, struct ike_sa *attempt, struct ike_sa *sa)
{
	event_progress(e, ABOUT_IKE(attempt), "dropping negotiation as superseded by established IKE SA #%u", sa->id);
	move_tasks(e, attempt, sa);
	if (!child_newest(e, attempt->conn))
		task_add(e, sa, TASK_CHILD_CREATE, attempt->conn, 0);
	ike_sa_close(e, attempt, REASON_REPLACED, false);
}

/** `old` belongs to a life that the peer has forgotten. */
static void replace(struct ike_engine *e, struct ike_sa *old, struct ike_sa *sa)
{
	event_progress(e, ABOUT_IKE(old), "IKE SA is replaced by #%u of the same peer", sa->id);
	move_tasks(e, old, sa);
	informational_send_once(e, old, 0); /* in case the peer does remember; nobody waits for an answer */
	old->forgotten = true;
	ike_sa_close(e, old, REASON_REPLACED, false);
}

static void concurrent(struct ike_engine *e, struct ike_sa *mine, struct ike_sa *theirs)
{
	bool lost = nonce_compare(BYTES(mine->nonce_min, mine->nonce_min_len),
				  BYTES(theirs->nonce_min, theirs->nonce_min_len)) < 0;
	struct ike_sa *redundant = lost ? mine : theirs;

	event_progress(e, ABOUT_IKE(redundant), "both ends initiated at once: IKE SA #%u is redundant, #%u stays",
		       redundant->id, lost ? theirs->id : mine->id);
	redundant->redundant = true;
	/* its maker deletes it; the other end only if that was forgotten */
	timer_arm(e->wheel, &redundant->life_timer, e->now + (lost ? REDUNDANT_US : SUPERSEDED_US));
}

static void resolve(struct ike_engine *e, struct ike_sa *sa, struct ike_sa *other, bool replaces)
{
	struct ike_sa *mine = sa->initiator ? sa : other, *theirs = sa->initiator ? other : sa;

	if (other->state == IKE_STATE_INIT_I && !sa->initiator) {
		supersede_attempt(e, other, sa);
		return;
	}
	if (!ike_sa_is_up(other) || other->redundant || sa->redundant)
		return;
	/* serial numbers are given when an SA's first message comes or goes */
	if (mine->initiator && !theirs->initiator && theirs->id <= mine->established_serial)
		concurrent(e, mine, theirs);
	else if (replaces)
		replace(e, other, sa);
}

void duplicate_resolve(struct ike_engine *e, struct ike_sa *sa, bool initial_contact)
{
	struct peer_entry *p = peers_of(e, sa);
	struct ike_sa *other, *next;

	if (!p || !ike_sa_is_up(sa))
		return;
	/* the entry lives as long as `sa` is in it */
	TAILQ_FOREACH_SAFE(other, &p->ikes, of_peer, next)
		if (same_peer(sa, other))
			resolve(e, sa, other, initial_contact || sa->conn->unique_ids);
}

/** The SA that stays instead of `sa`, NULL when it has gone meanwhile. */
static struct ike_sa *survivor(struct ike_engine *e, const struct ike_sa *sa)
{
	struct peer_entry *p = peers_of(e, sa);
	struct ike_sa *other;

	if (p)
		TAILQ_FOREACH(other, &p->ikes, of_peer)
			if (same_peer(sa, other) && ike_sa_is_up(other) && !other->redundant)
				return other;
	return NULL;
}

/** The connection of `c` has a Child SA elsewhere; when it has none, it gets one. */
static bool child_covered(struct ike_engine *e, const struct child *c, struct ike_sa *to)
{
	struct conn_entry *entry = conn_entry_find(e, c->conn);
	struct child *other;
	bool found = c->state != CHILD_STATE_ESTABLISHED || c->sa.resource; /* its fallback speaks for it */
	struct task *t;

	TAILQ_FOREACH(other, &entry->children, of_conn)
		found |= other->ike_id != c->ike_id && other->state == CHILD_STATE_ESTABLISHED && !other->sa.resource;
	if (found || entry->tasks)
		return found;
	t = task_add(e, to, TASK_CHILD_CREATE, c->conn, 0);
	if (t)
		t->forced = true;
	return false;
}

/** All that `sa` does `to` does as well, as far as both ends know. */
static bool children_covered(struct ike_engine *e, const struct ike_sa *sa, struct ike_sa *to)
{
	const struct child *c;
	bool covered = true;

	TAILQ_FOREACH(c, &sa->children, of_ike)
		covered &= child_covered(e, c, to);
	if (covered && to->unproved_child) {
		if (!task_find(to, TASK_PROBE, 0))
			task_add(e, to, TASK_PROBE, NULL, 0); /* an answer will prove it */
		return false;
	}
	return covered;
}

void duplicate_due(struct ike_engine *e, struct ike_sa *sa)
{
	struct ike_sa *to = survivor(e, sa);

	if (!to) {
		sa->redundant = false;
		ike_arm_life(e, sa);
		return;
	}
	if (!children_covered(e, sa, to)) {
		if (++sa->redundant_tries < REDUNDANT_TRIES) {
			timer_arm(e->wheel, &sa->life_timer, e->now + REDUNDANT_US);
			return;
		}
		if (to->unproved_child) {
			/* the peer never had our IKE_AUTH response: this is the SA that both have */
			sa->redundant = false;
			ike_arm_life(e, sa);
			ike_sa_delete(e, to, REASON_TIMEOUT);
			return;
		}
	}
	move_tasks(e, sa, to);
	ike_sa_delete(e, sa, REASON_REPLACED);
}
