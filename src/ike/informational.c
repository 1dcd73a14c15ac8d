/* INFORMATIONAL: deletes and signs of life, both roles. RFC 7296 §1.4, §2.4, §2.25. */
#include <string.h>

#include "ike/internal.h"

/* Initiator */

bool probe_start(struct ike_engine *e, struct ike_sa *sa, struct task *t)
{
	struct message_builder b;

	(void)t;
	request_begin(e, sa, EXCHANGE_INFORMATIONAL, &b);
	e->counters.dpd_probes++;
	event_debug(e, ABOUT_IKE(sa), "sent INFORMATIONAL request to see whether the peer is alive");
	return request_send(e, sa, EXCHANGE_INFORMATIONAL, &b);
}

bool child_delete_start(struct ike_engine *e, struct ike_sa *sa, struct task *t)
{
	struct child *c = child_by_id(e, t->child_id);
	struct message_builder b;

	if (!c || c->state != CHILD_STATE_DELETING)
		return false; /* the peer was first */
	request_begin(e, sa, EXCHANGE_INFORMATIONAL, &b);
	builder_delete_esp(&b, &c->sa.in.spi, 1);
	if (!request_send(e, sa, EXCHANGE_INFORMATIONAL, &b)) {
		child_close(e, c, c->closing, false);
		return false;
	}
	event_progress(e, ABOUT_CHILD(sa, c), "sent INFORMATIONAL request to delete Child SA using IKE SA #%u", sa->id);
	return true;
}

bool ike_delete_start(struct ike_engine *e, struct ike_sa *sa, struct task *t)
{
	struct message_builder b;

	(void)t;
	request_begin(e, sa, EXCHANGE_INFORMATIONAL, &b);
	builder_delete_ike(&b);
	if (!request_send(e, sa, EXCHANGE_INFORMATIONAL, &b)) {
		ike_sa_close(e, sa, REASON_INTERNAL, false);
		return false;
	}
	event_progress(e, ABOUT_IKE(sa), "sent INFORMATIONAL request to delete IKE SA");
	return true;
}

void informational_send_once(struct ike_engine *e, struct ike_sa *sa, uint16_t notify)
{
	struct message_builder b;
	struct bytes bytes;

	if (!sa->sk_out || request_under_way(sa))
		return;
	request_begin(e, sa, EXCHANGE_INFORMATIONAL, &b);
	if (notify)
		builder_notify(&b, notify, 0, BYTES(NULL, 0), BYTES(NULL, 0));
	else
		builder_delete_ike(&b);
	bytes = builder_end_protected(&b, sa->sk_out);
	sa->request_id++;
	if (bytes.len)
		engine_send(e, &sa->local, &sa->remote, bytes);
}

void informational_response(struct ike_engine *e, struct ike_sa *sa, const struct message *m)
{
	struct task *t = sa->active;
	struct child *c;

	(void)m; /* what it holds changes nothing: §1.4.1 */
	request_done(e, sa);
	sa->active = NULL;
	if (!t)
		return;
	if (t->type == TASK_CHILD_DELETE) {
		c = child_by_id(e, t->child_id);
		if (c && c->state == CHILD_STATE_DELETING)
			child_close(e, c, c->closing, true);
	} else if (t->type == TASK_IKE_DELETE) {
		ike_sa_close(e, sa, REASON_NONE, false);
	}
	task_free(e, t);
}

/* Responder */

static struct child *find_child(struct ike_engine *e, struct ike_sa *sa, uint32_t spi)
{
	struct child *c = child_by_peer_spi(sa, spi);
	struct ike_sa *other = c ? NULL : rekey_ike_undecided(e, sa);

	/* sent before the peer knew that the IKE SA is rekeyed: it has moved on */
	if (!c && !other && sa->rekeyed_by)
		other = ike_sa_by_id(e, sa->rekeyed_by);
	return other ? child_by_peer_spi(other, spi) : c;
}

/** Child SAs that the peer deletes; fills the SPIs to answer. §1.4.1, §2.25.1 */
static size_t delete_children(struct ike_engine *e, struct ike_sa *sa, const struct message *m, uint32_t *answer,
			      size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < m->delete_count; i++) {
		const struct delete_payload *d = &m->deletes[i];

		for (size_t j = 0; d->protocol == PROTOCOL_ESP && j < d->count && count < max; j++) {
			struct child *c = find_child(e, sa, d->spis[j]);
			enum ike_reason reason;

			if (!c) {
				child_ended_early(sa, d->spis[j]);
				continue;
			}
			if (c->state == CHILD_STATE_DELETING) {
				/* both delete it: no SPI in the answer, each knows */
				child_close(e, c, c->closing, true);
				continue;
			}
			reason = c->state == CHILD_STATE_REKEYED || c->redundant ? REASON_REPLACED : REASON_PEER_DELETED;
			answer[count++] = c->sa.in.spi;
			child_close(e, c, reason, true);
		}
	}
	return count;
}

static bool deletes_ike(const struct message *m)
{
	for (size_t i = 0; i < m->delete_count; i++)
		if (m->deletes[i].protocol == PROTOCOL_IKE)
			return true;
	return false;
}

/** An empty answer, then the SA is gone; §1.4.1, §2.25.2. */
static void delete_ike(struct ike_engine *e, struct ike_sa *sa)
{
	struct message_builder b;

	response_begin(e, sa, &b);
	response_send(e, sa, &b);
	rekey_ike_forget(e, sa);
	/* one that nobody used any more is no loss */
	ike_sa_close(e, sa, TAILQ_EMPTY(&sa->children) ? REASON_NONE : REASON_PEER_DELETED, true);
}

void informational_request(struct ike_engine *e, struct ike_sa *sa, const struct message *m)
{
	uint32_t spis[MESSAGE_DELETES_MAX * DELETE_SPIS_MAX];
	struct message_builder b;
	size_t count;

	if (deletes_ike(m)) {
		delete_ike(e, sa);
		return;
	}
	if (message_notify(m, N_AUTHENTICATION_FAILED)) {
		/* §2.21.2: the initiator did not believe our proof */
		char local[IDENTITY_TEXT], remote[IDENTITY_TEXT];
		struct event_about about = ABOUT_IKE(sa);

		about.ours = identity_text(&sa->local_id, local, sizeof(local));
		about.theirs = identity_text(&sa->remote_id, remote, sizeof(remote));
		e->counters.auth_failed++;
		event_emit(e, IKE_EVENT_FAILED, LOG_LEVEL_ERROR, REASON_AUTHENTICATION_FAILED, about,
			   "the peer says that our authentication failed; we are %s, the peer is %s", about.ours, about.theirs);
		response_begin(e, sa, &b);
		response_send(e, sa, &b);
		ike_sa_close(e, sa, REASON_AUTHENTICATION_FAILED, true);
		return;
	}
	count = delete_children(e, sa, m, spis, sizeof(spis) / sizeof(spis[0]));
	response_begin(e, sa, &b);
	for (size_t at = 0; at < count; at += DELETE_SPIS_MAX) {
		size_t left = count - at;

		builder_delete_esp(&b, spis + at, left < DELETE_SPIS_MAX ? left : DELETE_SPIS_MAX);
	}
	response_send(e, sa, &b);
}
