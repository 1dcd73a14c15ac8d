/* Message IDs, windows of one, retransmission and the queue of tasks: RFC 7296 §2.1 to §2.3. */
#include "ike/exchange.h"

#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"
#include "ike/resource.h"

static void begin(struct ike_engine *e, struct ike_sa *sa, enum exchange_type exchange, bool response, uint32_t id,
		  struct message_builder *b)
{
	uint8_t iv[16] = { 0 };
	struct ike_header h = {
		.spi_i = sa->spi_i,
		.spi_r = sa->spi_r,
		.version = 0x20,
		.exchange = (uint8_t)exchange,
		.initiator = sa->initiator,
		.response = response,
		.message_id = id,
	};

	/* an AEAD needs an IV that never repeats, CBC one that cannot be guessed */
	if (sa->suite.encr->aead) {
		struct writer w = writer_new(iv, sizeof(iv));

		writer_u64(&w, ++sa->iv_counter);
	} else {
		engine_random(e, iv, sizeof(iv));
	}
	builder_begin(b, e->out, sizeof(e->out), &h);
	builder_protect(b, sa->sk_out, iv);
}

void request_begin(struct ike_engine *e, struct ike_sa *sa, enum exchange_type exchange, struct message_builder *b)
{
	begin(e, sa, exchange, false, sa->request_id, b);
}

bool request_send(struct ike_engine *e, struct ike_sa *sa, enum exchange_type exchange, struct message_builder *b)
{
	struct bytes bytes = builder_end_protected(b, sa->sk_out);

	return bytes.len && request_send_bytes(e, sa, exchange, bytes, true);
}

bool request_send_bytes(struct ike_engine *e, struct ike_sa *sa, enum exchange_type exchange, struct bytes bytes,
			bool restart)
{
	packet_set(&sa->request, bytes);
	if (!sa->request.ptr)
		return false;
	sa->request_exchange = (uint8_t)exchange;
	if (restart) {
		sa->request_since_us = e->now;
		sa->retransmits = 0;
	}
	sa->last_sent_us = e->now;
	engine_send(e, &sa->local, &sa->remote, packet_bytes(&sa->request));
	timer_arm(e->wheel, &sa->request_timer, e->now + sa->conn->retransmit_interval_us);
	return true;
}

void request_cancel(struct ike_engine *e, struct ike_sa *sa)
{
	packet_free(&sa->request);
	timer_cancel(e->wheel, &sa->request_timer);
}

void request_done(struct ike_engine *e, struct ike_sa *sa)
{
	request_cancel(e, sa);
	sa->request_id++;
	tasks_mark(e, sa);
}

/** Nobody answers: what that means depends on what was asked. */
static void request_timed_out(struct ike_engine *e, struct ike_sa *sa)
{
	unsigned seconds = (unsigned)((e->now - sa->request_since_us) / US_PER_S);
	unsigned tries = sa->retransmits;
	bool first = sa->state == IKE_STATE_INIT_I;

	e->counters.timeouts++;
	request_cancel(e, sa);
	if (sa->state == IKE_STATE_DELETING || sa->state == IKE_STATE_REKEYED || sa->abandoned) {
		ike_sa_close(e, sa, REASON_TIMEOUT, false); /* its end was told before */
		return;
	}
	if (sa->state != IKE_STATE_ESTABLISHED) {
		struct event_about about = ABOUT_IKE(sa);
		char ours[PROPOSAL_TEXT] = "";

		if (sa->refused == REASON_NO_PROPOSAL_CHOSEN)
			about.ours = proposal_list_format(sa->conn->ike_proposals, ours, sizeof(ours));
		about.theirs = sa->refused_theirs;
		event_emit(e, IKE_EVENT_FAILED, LOG_LEVEL_ERROR, sa->refused ? sa->refused : REASON_TIMEOUT, about,
			   "%u second timeout exceeded after %u retransmits.  No response (or no acceptable "
			   "response) to our %s%s%s", seconds, tries, first ? "first IKEv2 message" : "IKE_AUTH request",
			   sa->refused ? "; the peer refuses: " : "", sa->refused ? ike_reason_name(sa->refused) : "");
		ike_sa_close(e, sa, sa->refused ? sa->refused : REASON_TIMEOUT, false);
		return;
	}
	event_emit(e, IKE_EVENT_PROGRESS, LOG_LEVEL_WARNING, REASON_DPD, ABOUT_IKE(sa),
		   "%u second timeout exceeded after %u retransmits.  No response to our %s request: the peer is gone",
		   seconds, tries, exchange_name(sa->request_exchange));
	ike_sa_close(e, sa, REASON_DPD, false);
}

void request_timer_due(struct timer *t, void *context)
{
	struct ike_engine *e = context;
	struct ike_sa *sa = (struct ike_sa *)((char *)t - offsetof(struct ike_sa, request_timer));
	uint64_t end, wait;

	if (!request_under_way(sa)) {
		tasks_mark(e, sa); /* a delayed task is due */
		return;
	}
	end = sa->request_since_us + sa->conn->retransmit_timeout_us;
	if (e->now >= end) {
		request_timed_out(e, sa);
		return;
	}
	wait = sa->conn->retransmit_interval_us << (sa->retransmits < 20 ? sa->retransmits : 20);
	if (wait < US_PER_MS)
		wait = US_PER_MS; /* an interval of 0 must not spin */
	sa->retransmits++;
	e->counters.retransmitted++;
	event_progress(e, ABOUT_IKE(sa), "retransmitting %s request; will wait %g seconds for response",
		       exchange_name(sa->request_exchange), (double)wait / US_PER_S);
	engine_send(e, &sa->local, &sa->remote, packet_bytes(&sa->request));
	sa->last_sent_us = e->now;
	timer_arm(e->wheel, &sa->request_timer, e->now + wait < end ? e->now + wait : end);
}

void response_begin(struct ike_engine *e, struct ike_sa *sa, struct message_builder *b)
{
	begin(e, sa, e->in.header.exchange, true, e->in.header.message_id, b);
}

void response_send(struct ike_engine *e, struct ike_sa *sa, struct message_builder *b)
{
	struct bytes bytes = builder_end_protected(b, sa->sk_out);

	if (!bytes.len)
		return;
	packet_set(&sa->response, bytes);
	sa->expected_id = e->in.header.message_id + 1;
	sa->last_sent_us = e->now;
	engine_send(e, &e->at, &e->from, bytes); /* RFC 7296 §2.11: to where the request came from */
}

void response_notify(struct ike_engine *e, struct ike_sa *sa, uint16_t type, struct bytes data)
{
	struct message_builder b;

	response_begin(e, sa, &b);
	builder_notify(&b, type, 0, BYTES(NULL, 0), data);
	response_send(e, sa, &b);
}

void response_resend(struct ike_engine *e, struct ike_sa *sa)
{
	e->counters.retransmitted++;
	engine_send(e, &e->at, &e->from, packet_bytes(&sa->response));
}

/* Tasks */

struct task *task_add(struct ike_engine *e, struct ike_sa *sa, enum task_type type, struct ike_conn *conn,
		      uint32_t child_id)
{
	struct conn_entry *entry = NULL;
	struct task *t;

	if (sa->task_count >= TASKS_MAX)
		return NULL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	if (conn) {
		entry = conn_entry_get(e, conn);
		if (!entry) {
			free(t);
			return NULL;
		}
		entry->tasks++;
	}
	t->type = type;
	t->conn = ike_conn_ref(conn);
	t->child_id = child_id;
	task_requeue(e, sa, t, 0);
	return t;
}

void task_requeue(struct ike_engine *e, struct ike_sa *sa, struct task *t, uint64_t delay_us)
{
	t->not_before_us = delay_us ? e->now + delay_us : 0;
	TAILQ_INSERT_TAIL(&sa->tasks, t, entry);
	sa->task_count++;
	tasks_mark(e, sa);
}

void task_unqueue(struct ike_sa *sa, struct task *t)
{
	TAILQ_REMOVE(&sa->tasks, t, entry);
	sa->task_count--;
}

/** It is no connection's any more. */
static void task_leave_conn(struct ike_engine *e, struct task *t)
{
	struct conn_entry *entry = t->conn ? conn_entry_find(e, t->conn) : NULL;

	if (!entry)
		return;
	entry->tasks--;
	conn_entry_release(e, entry);
	ike_conn_unref(t->conn);
	t->conn = NULL;
}

void task_abandon(struct ike_engine *e, struct task *t)
{
	t->abandoned = true;
	task_leave_conn(e, t);
}

void task_free(struct ike_engine *e, struct task *t)
{
	if (!t)
		return;
	task_leave_conn(e, t);
	if (t->type == TASK_IKE_REKEY && t->new_id) {
		struct ike_sa *larval = ike_sa_by_id(e, t->new_id);

		if (larval && larval->state == IKE_STATE_REKEY_I)
			ike_sa_close(e, larval, REASON_NONE, false);
	}
	negotiation_free(t->nego);
	free(t);
}

uint64_t task_backoff_us(struct ike_engine *e, unsigned n)
{
	uint64_t base = US_PER_S << (n < 6 ? n : 6);

	return base / 2 + engine_random_below(e, base);
}

struct task *task_find(struct ike_sa *sa, enum task_type type, uint32_t child_id)
{
	struct task *t = sa->active;

	if (t && t->type == type && (!child_id || t->child_id == child_id))
		return t;
	TAILQ_FOREACH(t, &sa->tasks, entry)
		if (t->type == type && (!child_id || t->child_id == child_id))
			return t;
	return NULL;
}

void tasks_mark(struct ike_engine *e, struct ike_sa *sa)
{
	if (sa->dirty || sa->state == IKE_STATE_DEAD)
		return;
	sa->dirty = true;
	TAILQ_INSERT_TAIL(&e->dirty, sa, of_dirty);
}

/** Starts a request; false when there is nothing left to do for the task. */
static bool task_start(struct ike_engine *e, struct ike_sa *sa, struct task *t)
{
	static bool (*const start[])(struct ike_engine *, struct ike_sa *, struct task *) = {
		[TASK_PROBE] = probe_start,
		[TASK_CHILD_CREATE] = child_create_start,
		[TASK_CHILD_REKEY] = child_rekey_start,
		[TASK_CHILD_DELETE] = child_delete_start,
		[TASK_IKE_REKEY] = rekey_ike_start,
		[TASK_IKE_DELETE] = ike_delete_start,
		[TASK_RESOURCE_CREATE] = resource_start,
	};

	/* An SA that is on its way out only says so. */
	if (sa->state != IKE_STATE_ESTABLISHED && t->type != TASK_IKE_DELETE)
		return false;
	return start[t->type](e, sa, t);
}

void tasks_run(struct ike_engine *e, struct ike_sa *sa)
{
	struct task *t, *next;
	uint64_t soonest = UINT64_MAX;

	if (sa->state != IKE_STATE_ESTABLISHED && sa->state != IKE_STATE_REKEYED && sa->state != IKE_STATE_DELETING)
		return;
	for (t = TAILQ_FIRST(&sa->tasks); t && !sa->active && !request_under_way(sa); t = next) {
		next = TAILQ_NEXT(t, entry);
		if (t->not_before_us > e->now) {
			if (t->not_before_us < soonest)
				soonest = t->not_before_us;
			continue;
		}
		task_unqueue(sa, t);
		sa->active = t;
		if (task_start(e, sa, t))
			return;
		if (sa->state == IKE_STATE_DEAD)
			return;
		if (sa->active == t)
			sa->active = NULL;
		task_free(e, t);
		next = TAILQ_FIRST(&sa->tasks); /* starting may have changed the queue */
		soonest = UINT64_MAX;
	}
	if (soonest != UINT64_MAX && !request_under_way(sa))
		timer_arm(e->wheel, &sa->request_timer, soonest);
}

/** A task that nobody will run: told when a connection waits for it. */
static void task_fail(struct ike_engine *e, struct ike_sa *sa, struct task *t, enum ike_reason reason)
{
	if (t->type == TASK_CHILD_CREATE && !t->abandoned) {
		struct event_about about = { .conn = t->conn, .ike = sa, .peer = &sa->remote };

		event_emit(e, IKE_EVENT_FAILED, LOG_LEVEL_ERROR, reason, about,
			   "Child SA was not made: its IKE SA #%u ended: %s", sa->id, ike_reason_text(reason));
	}
}

void tasks_fail(struct ike_engine *e, struct ike_sa *sa, enum ike_reason reason)
{
	struct task *t, *next;

	if (sa->active) {
		task_fail(e, sa, sa->active, reason);
		/* its response may still come, and finds nothing to do */
		if (sa->state == IKE_STATE_ESTABLISHED && request_under_way(sa)) {
			task_abandon(e, sa->active);
		} else {
			task_free(e, sa->active);
			sa->active = NULL;
		}
	}
	for (t = TAILQ_FIRST(&sa->tasks); t; t = next) {
		next = TAILQ_NEXT(t, entry);
		task_unqueue(sa, t);
		task_fail(e, sa, t, reason);
		task_free(e, t);
	}
}
