/*
 * Lifetimes and signs of life. The initiator of an SA rekeys at life - margin *
 * (1 .. 1 + fuzz), its responder at life - margin / 2, so that both rarely do it
 * at once (RFC 7296 §2.8). What was not rekeyed ends at its lifetime.
 */
#include "ike/internal.h"

/** How long before the end to rekey. A short life leaves room for at least half of it. */
static uint64_t rekey_before(struct ike_engine *e, const struct ike_conn *conn, uint64_t life, bool initiator)
{
	uint64_t margin = conn->rekey_margin_us, fuzz;
	uint64_t most = life / 2 * 100 / (100 + (uint64_t)conn->rekey_fuzz_percent);

	if (margin > most)
		margin = most;
	if (!initiator)
		return margin / 2;
	fuzz = margin / 100 * conn->rekey_fuzz_percent;
	return margin + (fuzz ? engine_random_below(e, fuzz) : 0);
}

void ike_arm_life(struct ike_engine *e, struct ike_sa *sa)
{
	const struct ike_conn *conn = sa->conn;
	uint64_t life = conn->ike_lifetime_us;

	sa->rekey_due_us = sa->expire_us = 0;
	if (!life)
		return;
	sa->expire_us = e->now + life;
	if (conn->rekey)
		sa->rekey_due_us = sa->expire_us - rekey_before(e, conn, life, sa->initiator);
	timer_arm(e->wheel, &sa->life_timer, sa->rekey_due_us ? sa->rekey_due_us : sa->expire_us);
}

void child_arm_life(struct ike_engine *e, struct child *c)
{
	const struct ike_conn *conn = c->conn;
	uint64_t life = conn->child_lifetime_us;

	c->rekey_due_us = c->expire_us = 0;
	if (!life)
		return;
	c->expire_us = e->now + life;
	if (conn->rekey)
		c->rekey_due_us = c->expire_us - rekey_before(e, conn, life, c->initiator);
	timer_arm(e->wheel, &c->life_timer, c->rekey_due_us ? c->rekey_due_us : c->expire_us);
}

static void established_due(struct ike_engine *e, struct ike_sa *sa)
{
	if (sa->redundant) {
		duplicate_due(e, sa);
		return;
	}
	if (sa->expire_us && e->now >= sa->expire_us) {
		ike_sa_delete(e, sa, REASON_EXPIRED);
		return;
	}
	sa->rekey_due_us = 0;
	if (!task_find(sa, TASK_IKE_REKEY, 0))
		task_add(e, sa, TASK_IKE_REKEY, NULL, 0);
	timer_arm(e->wheel, &sa->life_timer, sa->expire_us);
}

void ike_life_due(struct timer *t, void *context)
{
	struct ike_engine *e = context;
	struct ike_sa *sa = (struct ike_sa *)((char *)t - offsetof(struct ike_sa, life_timer));

	switch (sa->state) {
	case IKE_STATE_INIT_R:
		event_debug(e, ABOUT_IKE(sa), "half-open IKE SA: no IKE_AUTH request came");
		ike_sa_close(e, sa, REASON_TIMEOUT, false);
		break;
	case IKE_STATE_ESTABLISHED:
		established_due(e, sa);
		break;
	case IKE_STATE_REKEYED: /* the peer forgot to delete it */
		ike_sa_delete(e, sa, REASON_REPLACED);
		break;
	case IKE_STATE_DELETING:
	case IKE_STATE_CLOSED:
		ike_sa_close(e, sa, REASON_NONE, false);
		break;
	case IKE_STATE_INIT_I:
	case IKE_STATE_AUTH_I:
	case IKE_STATE_REKEY_I:
	case IKE_STATE_DEAD:
		break;
	}
}

void child_rekey_soon(struct ike_engine *e, struct child *c)
{
	struct ike_sa *sa = ike_sa_by_id(e, c->ike_id);

	if (c->state != CHILD_STATE_ESTABLISHED)
		return; /* its timer waits for its end */
	c->rekey_due_us = 0;
	if (sa && !task_find(sa, TASK_CHILD_REKEY, c->sa.id))
		task_add(e, sa, TASK_CHILD_REKEY, NULL, c->sa.id);
	if (c->expire_us)
		timer_arm(e->wheel, &c->life_timer, c->expire_us);
}

void child_life_due(struct timer *t, void *context)
{
	struct ike_engine *e = context;
	struct child *c = (struct child *)((char *)t - offsetof(struct child, life_timer));
	struct ike_sa *sa = ike_sa_by_id(e, c->ike_id);

	if (c->state == CHILD_STATE_LINGER || !sa)
		child_close(e, c, REASON_NONE, false);
	else if (c->state == CHILD_STATE_REKEYED || c->redundant)
		child_delete(e, sa, c, REASON_REPLACED, false); /* the peer forgot to delete it */
	else if (c->expire_us && e->now >= c->expire_us)
		child_delete(e, sa, c, REASON_EXPIRED, true);
	else
		child_rekey_soon(e, c);
}

static bool is_idle(const struct ike_sa *sa)
{
	return ike_sa_is_up(sa) && TAILQ_EMPTY(&sa->children) && TAILQ_EMPTY(&sa->tasks) && !sa->active;
}

void idle_arm(struct ike_engine *e, struct ike_sa *sa)
{
	if (ike_sa_is_up(sa) && TAILQ_EMPTY(&sa->children))
		timer_arm(e->wheel, &sa->idle_timer, e->now + (sa->initiator ? IDLE_INITIATOR_US : IDLE_RESPONDER_US));
}

void idle_due(struct timer *t, void *context)
{
	struct ike_engine *e = context;
	struct ike_sa *sa = (struct ike_sa *)((char *)t - offsetof(struct ike_sa, idle_timer));

	if (is_idle(sa))
		ike_sa_delete(e, sa, REASON_NONE);
	else
		idle_arm(e, sa);
}

/* Dead peer detection */

/** The shortest delay that a connection of the SA asks for; 0: none does. */
static uint64_t dpd_delay(const struct ike_sa *sa)
{
	uint64_t delay = sa->conn->dpd_delay_us;
	struct child *c;

	TAILQ_FOREACH(c, &sa->children, of_ike)
		if (c->conn->dpd_delay_us && (!delay || c->conn->dpd_delay_us < delay))
			delay = c->conn->dpd_delay_us;
	return delay;
}

void dpd_arm(struct ike_engine *e, struct ike_sa *sa)
{
	uint64_t delay = dpd_delay(sa);

	if (delay == sa->dpd_delay_us && sa->dpd_timer.armed)
		return;
	sa->dpd_delay_us = delay;
	if (delay && ike_sa_is_up(sa))
		timer_arm(e->wheel, &sa->dpd_timer, e->now + delay);
	else
		timer_cancel(e->wheel, &sa->dpd_timer);
}

/** When the peer last proved to be there: an authentic IKE message, or ESP. */
static uint64_t last_sign(struct ike_engine *e, const struct ike_sa *sa)
{
	uint64_t last = sa->last_received_us;
	const struct child *c;

	for (c = TAILQ_FIRST(&sa->children); c; c = TAILQ_NEXT(c, of_ike)) {
		struct child_sa_usage usage;

		if (!child_usage(e, c, &usage))
			continue;
		if (usage.in_last_s < e->now / US_PER_S && e->now - usage.in_last_s * US_PER_S > last)
			last = e->now - usage.in_last_s * US_PER_S;
	}
	return last;
}

void dpd_due(struct timer *t, void *context)
{
	struct ike_engine *e = context;
	struct ike_sa *sa = (struct ike_sa *)((char *)t - offsetof(struct ike_sa, dpd_timer));
	uint64_t last;

	if (!ike_sa_is_up(sa) || !sa->dpd_delay_us)
		return;
	last = last_sign(e, sa);
	if (last + sa->dpd_delay_us > e->now) {
		timer_arm(e->wheel, &sa->dpd_timer, last + sa->dpd_delay_us);
		return;
	}
	/* any request that is under way asks the same question */
	if (!request_under_way(sa) && !task_find(sa, TASK_PROBE, 0))
		task_add(e, sa, TASK_PROBE, NULL, 0);
	timer_arm(e->wheel, &sa->dpd_timer, e->now + sa->dpd_delay_us);
}
