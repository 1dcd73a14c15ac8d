/*
 * CREATE_CHILD_SA for Child SAs, as initiator: new ones and rekeys. RFC 7296
 * §1.3.1, §1.3.3, §2.8.1 and, for what the peer answers, §2.25.
 */
#include <stdio.h>
#include <string.h>

#include "ike/internal.h"
#include "ike/resource.h"

enum { TEMPORARY_MAX = 8 }; /* some four minutes of TEMPORARY_FAILURE, then the SA is out of step */

/** Fills the task's negotiation; false without memory or key exchange method. */
static bool prepare(struct ike_engine *e, struct task *t, const struct proposal_list *offer)
{
	uint16_t ke = t->ke_method ? t->ke_method : proposal_first_ke(offer);

	if (!t->nego)
		t->nego = negotiation_new();
	if (!t->nego)
		return false;
	t->nego->ni_len = 32;
	engine_random(e, t->nego->ni, t->nego->ni_len);
	ke_free(t->nego->ke);
	t->nego->ke = NULL;
	return ke == KE_NONE || negotiation_set_ke(e, t->nego, ke);
}

static void offer_of(const struct ike_sa *sa, const struct task *t, const struct child *c, struct proposal_list *out)
{
	child_offer(c->conn, sa, t, t->has_first ? &t->first : NULL, out);
}

bool child_send_request(struct ike_engine *e, struct ike_sa *sa, struct task *t, struct child *c, const struct child *old)
{
	struct message_builder b;
	uint8_t spi[4];
	struct writer w = writer_new(spi, sizeof(spi));

	offer_of(sa, t, c, &e->list);
	if (!prepare(e, t, &e->list))
		return false;
	request_begin(e, sa, EXCHANGE_CREATE_CHILD_SA, &b);
	if (old) {
		writer_u32(&w, old->sa.in.spi); /* the SPI that the peer knows as outbound */
		builder_notify(&b, N_REKEY_SA, PROTOCOL_ESP, writer_bytes(&w), BYTES(NULL, 0));
	}
	child_put_sa(&b, c, &e->list);
	builder_nonce(&b, BYTES(t->nego->ni, t->nego->ni_len));
	if (t->nego->ke)
		builder_ke(&b, ke_method(t->nego->ke)->id, ke_public(t->nego->ke));
	child_put_ts(&b, c, true);
	if (!old || c->group)
		resource_put(&b, c);
	return request_send(e, sa, EXCHANGE_CREATE_CHILD_SA, &b);
}

void child_could_not_start(struct ike_engine *e, struct ike_sa *sa, const struct task *t, struct child *c,
			   struct ike_conn *conn, const char *err)
{
	struct event_about about = { .conn = conn, .ike = sa, .peer = &sa->remote };

	event_emit(e, t->type == TASK_CHILD_CREATE ? IKE_EVENT_FAILED : IKE_EVENT_PROGRESS, LOG_LEVEL_ERROR,
		   REASON_BACKEND, about, "Child SA could not be asked for: %s", err);
	if (c)
		child_close(e, c, REASON_BACKEND, false);
}

bool child_create_start(struct ike_engine *e, struct ike_sa *sa, struct task *t)
{
	struct child *up = child_newest(e, t->conn), *c;
	char err[256] = "no memory", local[256], remote[256];

	/* the peer may have made it meanwhile */
	if (t->abandoned || (up && (!t->forced || up->ike_id == sa->id)))
		return false;
	c = child_new(e, sa, t->conn, 0, err);
	if (!c || !child_send_request(e, sa, t, c, NULL)) {
		child_could_not_start(e, sa, t, c, t->conn, err);
		return false;
	}
	t->new_id = c->sa.id;
	event_progress(e, ABOUT_CHILD(sa, c), "sent CREATE_CHILD_SA request to create Child SA using IKE SA #%u "
		       "{ESP <0x%08x} [%s===%s]", sa->id, c->sa.in.spi,
		       ts_list_format(&c->sa.local_ts, local, sizeof(local)),
		       ts_list_format(&c->sa.remote_ts, remote, sizeof(remote)));
	return true;
}

bool child_rekey_start(struct ike_engine *e, struct ike_sa *sa, struct task *t)
{
	struct child *old = child_by_id(e, t->child_id), *c;
	char err[256] = "no memory";

	if (!old || old->state != CHILD_STATE_ESTABLISHED || old->redundant || old->ike_id != sa->id)
		return false;
	if (old->out_pending) {
		/* the peer may not know yet that it has this one */
		struct task *later = task_add(e, sa, TASK_CHILD_REKEY, NULL, t->child_id);

		if (later)
			later->not_before_us = e->now + US_PER_S;
		return false;
	}
	c = child_new(e, sa, old->conn, old->sa.resource, err);
	if (c) {
		c->group = old->group;
		c->sa.local_ts = old->sa.local_ts;
		c->sa.remote_ts = old->sa.remote_ts;
		t->first = old->sa.suite;
		t->has_first = true;
	}
	if (!c || !child_send_request(e, sa, t, c, old)) {
		child_could_not_start(e, sa, t, c, old->conn, err);
		return false;
	}
	t->new_id = c->sa.id;
	t->collision_id = 0;
	event_progress(e, ABOUT_CHILD(sa, c), "initiating rekey to replace Child SA #%u using IKE SA #%u", old->sa.id, sa->id);
	event_progress(e, ABOUT_CHILD(sa, c), "sent CREATE_CHILD_SA request to rekey IPsec SA");
	return true;
}

/** Ask again with what the peer wants. The larval Child SA is gone, the task waits in the queue. */
static void again(struct ike_engine *e, struct ike_sa *sa, struct task *t, uint64_t delay_us)
{
	t->new_id = 0;
	t->collision_id = 0;
	task_requeue(e, sa, t, delay_us);
}

/** A rekey that was refused: until it succeeds or the old SA expires. */
static void retry(struct ike_engine *e, struct ike_sa *sa, struct task *t)
{
	t->refusals += t->refusals < 64;
	again(e, sa, t, task_backoff_us(e, t->refusals));
}

/** What has become of a refusal for good. */
static void refused(struct ike_engine *e, struct ike_sa *sa, struct task *t, const struct child *c,
		    struct child_refusal *why, const char *name)
{
	struct child *old = child_by_id(e, t->child_id);
	struct event_about about = { .conn = why->conn, .ike = sa, .child = c, .peer = &sa->remote, .ours = why->ours };

	if (t->type == TASK_CHILD_CREATE) {
		child_tell_refused(e, IKE_EVENT_FAILED, sa, c, why, "CREATE_CHILD_SA request for the Child SA was rejected with %s", name);
		task_free(e, t);
		return;
	}
	if (t->type == TASK_RESOURCE_CREATE) {
		event_progress(e, about, "CREATE_CHILD_SA request for one more resource was answered with %s", name);
		resource_refused(e, sa, t, 0);
		task_free(e, t);
		return;
	}
	event_emit(e, IKE_EVENT_PROGRESS, LOG_LEVEL_WARNING, why->reason, about,
		   "rekey of Child SA #%u was rejected with %s%s", t->child_id, name,
		   old && old->state == CHILD_STATE_ESTABLISHED ? "; trying again" : "");
	t->temporary = 0;
	t->without_ke = false;
	retry(e, sa, t);
}

/** RFC 7296 §2.25: the peer does not have what we want to rekey. */
static void not_found(struct ike_engine *e, struct ike_sa *sa, struct task *t)
{
	struct child *old = child_by_id(e, t->child_id);
	struct ike_conn *conn;

	/* after its own rekey, or its delete, that is what the peer must say; §2.8.1 */
	if (!t->collision_id && old && old->state == CHILD_STATE_ESTABLISHED) {
		conn = ike_conn_ref(old->conn);
		child_close(e, old, REASON_CHILD_SA_NOT_FOUND, false);
		if (!child_newest(e, conn))
			task_add(e, sa, TASK_CHILD_CREATE, conn, 0);
		ike_conn_unref(conn);
	}
	task_free(e, t);
}

static void temporary_failure(struct ike_engine *e, struct ike_sa *sa, struct task *t)
{
	if (t->type == TASK_RESOURCE_CREATE) {
		resource_refused(e, sa, t, N_TEMPORARY_FAILURE); /* what it was for may be done by then */
		task_free(e, t);
		return;
	}
	if (t->temporary++ < TEMPORARY_MAX) {
		again(e, sa, t, task_backoff_us(e, t->temporary));
		return;
	}
	/* §2.25: after several minutes of it both sides are out of step */
	event_emit(e, IKE_EVENT_PROGRESS, LOG_LEVEL_WARNING, REASON_TEMPORARY_FAILURE, ABOUT_IKE(sa),
		   "the peer answers TEMPORARY_FAILURE for minutes: closing the IKE SA");
	task_requeue(e, sa, t, 0);
	ike_sa_delete(e, sa, REASON_TEMPORARY_FAILURE);
}

static void error_response(struct ike_engine *e, struct ike_sa *sa, struct task *t, struct child *c,
			   const struct message *m, const struct notify *error)
{
	struct child_refusal why = { .conn = c ? c->conn : t->conn };
	bool had_ke = t->nego && t->nego->ke;
	uint16_t method = 0;
	char name[24];

	why.reason = error ? reason_from_notify(error->type) : REASON_INVALID_SYNTAX;
	if (c) {
		offer_of(sa, t, c, &e->list);
		proposal_list_format(&e->list, why.ours, sizeof(why.ours));
		if (error && error->type == N_INVALID_KE_PAYLOAD && t->nego)
			method = ke_retry(t->nego, m, &e->list);
		if (why.reason == REASON_TS_UNACCEPTABLE)
			ts_list_format(&c->sa.remote_ts, why.ours, sizeof(why.ours));
	}
	if (error && error->type == N_TEMPORARY_FAILURE) {
		temporary_failure(e, sa, t);
	} else if (error && error->type == N_CHILD_SA_NOT_FOUND && t->type == TASK_CHILD_REKEY) {
		not_found(e, sa, t);
	} else if (method) {
		t->ke_method = method;
		again(e, sa, t, 0);
	} else if (why.reason == REASON_NO_PROPOSAL_CHOSEN && had_ke && !t->without_ke && c && !c->conn->pfs_required) {
		t->without_ke = true; /* peers that choke on an offer with both */
		t->ke_method = 0;
		again(e, sa, t, 0);
	} else {
		refused(e, sa, t, c, &why, error ? notify_name(error->type, name) : "a response without SA");
	}
	/* last: what was told above names it */
	if (c)
		child_close(e, c, why.reason, false);
}

void child_ended_early(struct ike_sa *sa, uint32_t peer_spi)
{
	struct task *t = sa->active;

	if (t)
		t->ended[t->ended_next++ % TASK_ENDED_MAX] = peer_spi;
}

static bool has_ended(const struct task *t, uint32_t peer_spi)
{
	for (size_t i = 0; i < TASK_ENDED_MAX; i++)
		if (t->ended[i] == peer_spi)
			return true;
	return false;
}

/** The new SA's keys. */
static bool take_keys(struct ike_sa *sa, struct task *t, struct child *c, const struct message *m,
		      struct child_refusal *why)
{
	struct secret shared = { 0 };
	struct child_exchange x = { .ni = BYTES(t->nego->ni, t->nego->ni_len), .nr = m->nonce, .initiator = true };
	bool ok = true;

	why->reason = REASON_INVALID_KE_PAYLOAD;
	snprintf(why->text, sizeof(why->text), "its key exchange value is missing or not valid");
	if (c->sa.suite.ke) {
		ok = t->nego->ke && message_has(m, PAYLOAD_KE) && m->ke_method == c->sa.suite.ke->id &&
		     ke_method(t->nego->ke)->id == m->ke_method && ke_derive(t->nego->ke, m->ke, &shared);
		x.shared = BYTES(shared.bytes, shared.len);
	}
	if (ok) {
		ok = child_derive(sa, c, &x);
		why->reason = REASON_INTERNAL;
		snprintf(why->text, sizeof(why->text), "its keys could not be derived");
	}
	secret_wipe(&shared, sizeof(shared));
	return ok;
}

/** Suite, selectors and keys of the answer, into `c`. False when it cannot be used. */
static bool take_answer(struct ike_sa *sa, struct task *t, struct child *c, const struct message *m,
			const struct proposal_list *offer, struct child_refusal *why)
{
	if (!child_accept(c, m, offer, why))
		return false;
	if (has_ended(t, c->sa.out.spi)) {
		why->reason = REASON_PEER_DELETED;
		snprintf(why->text, sizeof(why->text), "the peer has deleted the Child SA already");
		return false;
	}
	return take_keys(sa, t, c, m, why);
}

/**
 * Both sides have rekeyed the same SA (§2.8.1). True when ours, which has the lowest nonce of
 * the four, is the redundant one.
 */
static bool collision_lost(struct ike_engine *e, struct ike_sa *sa, struct child *c, struct child *theirs)
{
	if (!theirs || !child_is_up(theirs))
		return false;
	if (nonce_compare(BYTES(c->nonce_min, c->nonce_min_len), BYTES(theirs->nonce_min, theirs->nonce_min_len)) < 0)
		return true;
	theirs->redundant = true; /* the peer deletes it; we in case it forgets */
	timer_arm(e->wheel, &theirs->life_timer, e->now + SUPERSEDED_US);
	event_debug(e, ABOUT_CHILD(sa, theirs), "simultaneous rekey: the peer's Child SA #%u is redundant", theirs->sa.id);
	return false;
}

/** The peer has made what we cannot have: it is told to delete it. A rekey is tried again later. */
static void not_made(struct ike_engine *e, struct ike_sa *sa, struct task *t, struct child *c, struct child_refusal *why)
{
	child_tell_refused(e, t->type == TASK_CHILD_CREATE ? IKE_EVENT_FAILED : IKE_EVENT_PROGRESS, sa, c, why,
			   "response to the CREATE_CHILD_SA request cannot be used: %s", why->text);
	child_discard(e, sa, c);
	if (t->type == TASK_RESOURCE_CREATE)
		resource_refused(e, sa, t, 0);
	if (t->type == TASK_CHILD_REKEY)
		retry(e, sa, t);
	else
		task_free(e, t);
}

static void install(struct ike_engine *e, struct ike_sa *sa, struct task *t, struct child *c, struct child_refusal *why)
{
	struct child *old = t->type == TASK_CHILD_REKEY ? child_by_id(e, t->child_id) : NULL;
	struct child *theirs = child_by_id(e, t->collision_id);
	bool lost = t->type == TASK_CHILD_REKEY && collision_lost(e, sa, c, theirs);

	why->reason = REASON_BACKEND;
	if (lost) {
		/* the peer may use it until it knows both results, so its inbound half must be there */
		c->redundant = true;
		if (child_install(e, sa, c, false, why->text)) {
			event_debug(e, ABOUT_CHILD(sa, c), "simultaneous rekey: our Child SA #%u is redundant", c->sa.id);
			child_delete(e, sa, c, REASON_REPLACED, false);
		} else {
			child_discard(e, sa, c);
		}
		task_free(e, t);
		return;
	}
	if (!child_install(e, sa, c, true, why->text)) {
		not_made(e, sa, t, c, why);
		return;
	}
	if (theirs)
		child_stop_outbound(e, theirs);
	if (old && child_is_up(old)) {
		child_stop_outbound(e, old);
		child_replaced(e, old, c);
	}
	child_report(e, sa, c, old && child_is_up(old) ? old : NULL);
	if (old)
		child_delete(e, sa, old, REASON_REPLACED, false);
	else
		resource_established(e, sa, c);
	task_free(e, t);
}

static void child_response(struct ike_engine *e, struct ike_sa *sa, struct task *t, const struct message *m)
{
	static const uint8_t wanted[] = { PAYLOAD_SA, PAYLOAD_NONCE, PAYLOAD_TSI, PAYLOAD_TSR };
	struct child *c = child_by_id(e, t->new_id);
	struct child_refusal why;
	uint8_t missing;

	if (!message_require(m, wanted, sizeof(wanted), &missing)) {
		if (!t->abandoned && sa->state == IKE_STATE_ESTABLISHED && c) {
			error_response(e, sa, t, c, m, message_error(m));
			return;
		}
		if (c)
			child_close(e, c, REASON_ADMIN, false);
		task_free(e, t);
		return;
	}
	if (!c || sa->state != IKE_STATE_ESTABLISHED) {
		task_free(e, t); /* its IKE SA is being deleted, and it with it */
		return;
	}
	offer_of(sa, t, c, &e->list);
	if (t->abandoned || (t->type == TASK_RESOURCE_CREATE && !resource_useful(e, sa, c))) {
		child_discard(e, sa, c);
		task_free(e, t);
	} else if (!take_answer(sa, t, c, m, &e->list, &why)) {
		not_made(e, sa, t, c, &why);
	} else {
		if (t->type == TASK_CHILD_CREATE)
			resource_agree(c, m);
		install(e, sa, t, c, &why);
	}
}

void create_child_response(struct ike_engine *e, struct ike_sa *sa, const struct message *m)
{
	struct task *t = sa->active;

	request_done(e, sa);
	sa->active = NULL;
	if (!t)
		return;
	if (t->type == TASK_IKE_REKEY)
		rekey_ike_response(e, sa, t, m);
	else
		child_response(e, sa, t, m);
}
