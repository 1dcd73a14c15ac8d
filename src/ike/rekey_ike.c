/*
 * Rekeying the IKE SA: RFC 7296 §1.3.2, §2.18, and its collisions §2.8.2 and
 * §2.25.2. The new SA inherits identities, addresses and Child SAs; its keys
 * come from the old SA's PRF and SK_d.
 */
#include <string.h>

#include "ike/internal.h"

/** `p` without PRFs other than `prf`; false when that leaves it none. */
static bool keep_prf(struct proposal *p, uint16_t prf)
{
	uint8_t kept = 0;
	bool found = false;

	for (uint8_t i = 0; i < p->count; i++) {
		if (p->transforms[i].type == TRANSFORM_PRF && p->transforms[i].id != prf)
			continue;
		found |= p->transforms[i].type == TRANSFORM_PRF;
		p->transforms[kept++] = p->transforms[i];
	}
	p->count = kept;
	return found;
}

/**
 * The suite in use first, then what is configured with the same PRF: there are peers that expand the
 * new keys with the wrong one of two PRFs. `wide`: whatever is configured.
 */
static void offer_ike(const struct ike_sa *sa, uint64_t spi, bool wide, struct proposal_list *out)
{
	const struct proposal_list *configured = sa->conn->ike_proposals;
	struct writer w;

	proposal_from_suite(PROTOCOL_IKE, &sa->suite, out);
	for (size_t i = 0; i < configured->count && out->count < PROPOSALS_MAX; i++) {
		out->p[out->count] = configured->p[i];
		if (wide || keep_prf(&out->p[out->count], sa->suite.prf->id))
			out->count++;
	}
	for (size_t i = 0; i < out->count; i++) {
		out->p[i].number = (uint8_t)(i + 1);
		out->p[i].protocol = PROTOCOL_IKE;
		out->p[i].spi_size = 8;
		w = writer_new(out->p[i].spi, sizeof(out->p[i].spi));
		writer_u64(&w, spi);
	}
}

static uint64_t proposal_spi(const struct proposal *p)
{
	struct reader r = reader_new(p->spi, sizeof(p->spi));

	return p->spi_size == 8 ? reader_u64(&r) : 0;
}

/** A larval SA that will take over from `old`. */
static struct ike_sa *successor(struct ike_engine *e, struct ike_sa *old, bool initiator)
{
	struct ike_sa *sa = ike_sa_new(e, old->conn, initiator, IKE_STATE_REKEY_I);

	if (!sa)
		return NULL;
	sa->local = old->local;
	sa->remote = old->remote;
	sa->local_id = old->local_id;
	sa->remote_id = old->remote_id;
	sa->nat_local = old->nat_local;
	sa->nat_remote = old->nat_remote;
	sa->nat_known = old->nat_known;
	sa->encap = old->encap;
	sa->rekeys = old->id;
	return sa;
}

bool rekey_ike_start(struct ike_engine *e, struct ike_sa *sa, struct task *t)
{
	struct ike_sa *new = successor(e, sa, true);
	struct negotiation *n;
	struct message_builder b;
	uint16_t method = t->ke_method ? t->ke_method : sa->suite.ke->id;

	if (!new)
		return false;
	n = new->nego;
	if (t->nego) { /* asked before: which methods were tried stays known */
		memcpy(n->ke_tried, t->nego->ke_tried, sizeof(n->ke_tried));
		n->ke_tries = t->nego->ke_tries;
		negotiation_free(t->nego);
		t->nego = NULL;
	}
	n->ni_len = 32;
	engine_random(e, n->ni, n->ni_len);
	offer_ike(sa, new->spi_i, t->wide, &e->list);
	if (!negotiation_set_ke(e, n, method)) {
		ike_sa_close(e, new, REASON_INTERNAL, false);
		return false;
	}
	request_begin(e, sa, EXCHANGE_CREATE_CHILD_SA, &b);
	builder_sa(&b, &e->list);
	builder_nonce(&b, BYTES(n->ni, n->ni_len));
	builder_ke(&b, method, ke_public(n->ke));
	if (!request_send(e, sa, EXCHANGE_CREATE_CHILD_SA, &b)) {
		ike_sa_close(e, new, REASON_INTERNAL, false);
		return false;
	}
	t->new_id = new->id;
	t->collision_id = 0;
	event_progress(e, ABOUT_IKE(new), "initiating rekey to replace IKE SA #%u", sa->id);
	event_progress(e, ABOUT_IKE(new), "sent CREATE_CHILD_SA request to rekey IKE SA");
	return true;
}

static bool derive(struct ike_sa *old, struct ike_sa *new, struct bytes peer_ke)
{
	struct negotiation *n = new->nego;
	struct bytes ni = BYTES(n->ni, n->ni_len), nr = BYTES(n->nr, n->nr_len);
	struct secret shared;
	bool ok = ke_derive(n->ke, peer_ke, &shared) &&
		  ike_keys_rekey(old->suite.prf, &old->keys.d, &new->suite, ni, nr, BYTES(shared.bytes, shared.len),
				 new->spi_i, new->spi_r, &new->keys) &&
		  ike_sa_set_keys(new);

	secret_wipe(&shared, sizeof(shared));
	nonce_lowest(ni, nr, new->nonce_min, &new->nonce_min_len);
	return ok;
}

/** `new` takes all that `old` had. `delete`: we delete the old one; else the peer does. */
static void take_over(struct ike_engine *e, struct ike_sa *old, struct ike_sa *new, bool delete)
{
	ike_sa_move_children(e, old, new);
	ike_sa_set_conn(e, new, old->conn); /* whose it is may have changed since the request */
	old->rekeyed_by = new->id;
	if (old->state != IKE_STATE_ESTABLISHED)
		return;
	ike_sa_set_state(e, old, IKE_STATE_REKEYED);
	timer_cancel(e->wheel, &old->dpd_timer);
	timer_cancel(e->wheel, &old->keepalive_timer);
	timer_arm(e->wheel, &old->life_timer, e->now + SUPERSEDED_US);
	if (delete)
		ike_sa_delete(e, old, REASON_REPLACED);
}

static void report(struct ike_engine *e, struct ike_sa *old, struct ike_sa *new)
{
	char text[256];

	e->counters.ike_rekeyed++;
	event_emit(e, IKE_EVENT_IKE_REKEYED, LOG_LEVEL_INFO, REASON_NONE, ABOUT_IKE(new), "%s rekeyed IKE SA #%u %s",
		   new->initiator ? "initiator" : "responder", old->id,
		   suite_format_ike(&new->suite, text, sizeof(text)));
}

static void finish(struct ike_engine *e, struct ike_sa *new)
{
	negotiation_free(new->nego);
	new->nego = NULL;
	ike_sa_establish(e, new);
}

/* Responder */

static bool choose(const struct message *m, const struct proposal_list *ours, struct proposal *chosen,
		   struct cipher_suite *suite)
{
	struct proposal_list same;

	/* the method of the payload first: it saves a round trip */
	same.count = 0;
	for (size_t i = 0; i < ours->count; i++)
		if (proposal_has_ke(&ours->p[i], m->ke_method))
			same.p[same.count++] = ours->p[i];
	proposal_strip_ke(&same);
	proposal_add_ke(&same, m->ke_method);
	return (same.count && proposal_choose(&same, &m->sa, chosen, suite)) ||
	       proposal_choose(ours, &m->sa, chosen, suite);
}

static uint64_t spi_of(const struct proposal_list *list, uint8_t number)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->p[i].number == number)
			return proposal_spi(&list->p[i]);
	return 0;
}

static void send_answer(struct ike_engine *e, struct ike_sa *old, struct ike_sa *new, struct proposal *chosen)
{
	struct message_builder b;
	struct writer w = writer_new(chosen->spi, sizeof(chosen->spi));

	writer_u64(&w, new->spi_r);
	chosen->protocol = PROTOCOL_IKE;
	chosen->spi_size = 8;
	e->list.count = 1;
	e->list.p[0] = *chosen;
	response_begin(e, old, &b);
	builder_sa(&b, &e->list);
	builder_nonce(&b, BYTES(new->nego->nr, new->nego->nr_len));
	builder_ke(&b, new->suite.ke->id, ke_public(new->nego->ke));
	response_send(e, old, &b);
}

static void refuse_proposals(struct ike_engine *e, struct ike_sa *sa, const struct message *m)
{
	struct event_about about = ABOUT_IKE(sa);
	char ours[PROPOSAL_TEXT], theirs[PROPOSAL_TEXT];

	about.ours = proposal_list_format(&e->list, ours, sizeof(ours));
	about.theirs = proposal_list_format(&m->sa, theirs, sizeof(theirs));
	e->counters.no_proposal++;
	event_emit(e, IKE_EVENT_PROGRESS, LOG_LEVEL_WARNING, REASON_NO_PROPOSAL_CHOSEN, about,
		   "rekey of the IKE SA by the peer is refused: no IKE proposal of the peer fits ours");
	response_notify(e, sa, N_NO_PROPOSAL_CHOSEN, BYTES(NULL, 0));
}

void rekey_ike_request(struct ike_engine *e, struct ike_sa *sa, const struct message *m)
{
	struct task *ours = sa->active && sa->active->type == TASK_IKE_REKEY ? sa->active : NULL;
	struct cipher_suite suite;
	struct proposal chosen;
	struct ike_sa *new;
	struct negotiation *n;
	struct writer w;
	uint8_t group[2];
	uint64_t spi;

	if (ours && ike_sa_by_id(e, ours->collision_id)) {
		response_notify(e, sa, N_TEMPORARY_FAILURE, BYTES(NULL, 0)); /* once is enough */
		return;
	}
	if (!message_has(m, PAYLOAD_NONCE) || !message_has(m, PAYLOAD_KE)) {
		response_notify(e, sa, N_INVALID_SYNTAX, BYTES(NULL, 0));
		return;
	}
	offer_ike(sa, 0, false, &e->list);
	if (!choose(m, &e->list, &chosen, &suite)) {
		offer_ike(sa, 0, true, &e->list);
		if (!choose(m, &e->list, &chosen, &suite))
			suite.ke = NULL;
	}
	if (!suite.ke) {
		refuse_proposals(e, sa, m);
		return;
	}
	spi = spi_of(&m->sa, chosen.number);
	if (suite.ke->id != m->ke_method) {
		w = writer_new(group, sizeof(group));
		writer_u16(&w, suite.ke->id);
		response_notify(e, sa, N_INVALID_KE_PAYLOAD, writer_bytes(&w));
		return;
	}
	new = spi ? successor(e, sa, false) : NULL;
	if (!new) {
		response_notify(e, sa, spi ? N_TEMPORARY_FAILURE : N_INVALID_SYNTAX, BYTES(NULL, 0));
		return;
	}
	n = new->nego;
	new->spi_i = spi;
	new->suite = suite;
	memcpy(n->ni, m->nonce.ptr, m->nonce.len);
	n->ni_len = (uint16_t)m->nonce.len;
	n->nr_len = 32;
	engine_random(e, n->nr, n->nr_len);
	if (!negotiation_set_ke(e, n, suite.ke->id) || !derive(sa, new, m->ke)) {
		response_notify(e, sa, N_INVALID_SYNTAX, BYTES(NULL, 0));
		ike_sa_close(e, new, REASON_INVALID_SYNTAX, false);
		return;
	}
	send_answer(e, sa, new, &chosen);
	finish(e, new);
	if (ours) {
		ours->collision_id = new->id; /* §2.8.2: decided when our response comes */
		return;
	}
	take_over(e, sa, new, false);
	report(e, sa, new);
}

/* Initiator */

/** The peer's own rekey, if there was one, is the one that stays. */
static void forget_ours(struct ike_engine *e, struct ike_sa *sa, struct task *t)
{
	struct ike_sa *theirs = ike_sa_by_id(e, t->collision_id), *new = ike_sa_by_id(e, t->new_id);

	if (new && new->state == IKE_STATE_REKEY_I)
		ike_sa_close(e, new, REASON_REPLACED, false);
	if (theirs && ike_sa_is_up(theirs)) {
		take_over(e, sa, theirs, false);
		report(e, sa, theirs);
	}
}

struct ike_sa *rekey_ike_undecided(struct ike_engine *e, const struct ike_sa *sa)
{
	struct ike_sa *old = sa->rekeys ? ike_sa_by_id(e, sa->rekeys) : NULL;

	return old && ike_sa_is_up(old) && old->active && old->active->type == TASK_IKE_REKEY &&
	       old->active->collision_id == sa->id ? old : NULL;
}

void rekey_ike_forget(struct ike_engine *e, struct ike_sa *sa)
{
	struct task *t = sa->active;

	if (!t || t->type != TASK_IKE_REKEY)
		return;
	sa->active = NULL;
	request_cancel(e, sa);
	forget_ours(e, sa, t);
	task_free(e, t);
}

static void refused(struct ike_engine *e, struct ike_sa *sa, struct task *t, struct ike_sa *new, const struct message *m)
{
	const struct notify *error = message_error(m);
	struct ike_sa *theirs = ike_sa_by_id(e, t->collision_id);
	uint64_t delay = 0;
	uint16_t method = 0;
	char name[24];

	if (theirs || !ike_sa_is_up(sa)) {
		forget_ours(e, sa, t);
		task_free(e, t);
		return;
	}
	if (error && error->type == N_INVALID_KE_PAYLOAD) {
		offer_ike(sa, 0, t->wide, &e->list);
		method = ke_retry(new->nego, m, &e->list);
		t->nego = new->nego; /* remembers what was tried */
		new->nego = NULL;
	}
	if (method) {
		t->ke_method = method;
	} else if (error && error->type == N_NO_PROPOSAL_CHOSEN && !t->wide) {
		t->wide = true;
	} else if (error && error->type == N_TEMPORARY_FAILURE) {
		delay = task_backoff_us(e, ++t->temporary);
	} else {
		event_emit(e, IKE_EVENT_PROGRESS, LOG_LEVEL_WARNING,
			   error ? reason_from_notify(error->type) : REASON_INVALID_SYNTAX, ABOUT_IKE(sa),
			   "rekey of IKE SA #%u was rejected with %s; trying again", sa->id,
			   error ? notify_name(error->type, name) : "a response without SA");
		t->refusals += t->refusals < 64;
		delay = task_backoff_us(e, t->refusals);
		t->ke_method = 0;
		negotiation_free(t->nego);
		t->nego = NULL;
	}
	ike_sa_close(e, new, REASON_TEMPORARY_FAILURE, false);
	t->new_id = 0;
	task_requeue(e, sa, t, delay);
}

/** The answer's suite, SPI and keys into `new`. */
static bool take_answer(struct ike_engine *e, struct ike_sa *sa, const struct task *t, struct ike_sa *new,
			const struct message *m)
{
	struct negotiation *n = new->nego;

	offer_ike(sa, new->spi_i, t->wide, &e->list);
	if (m->sa.count != 1 || !proposal_accept(&e->list, &m->sa.p[0], &new->suite) || !new->suite.ke ||
	    new->suite.ke->id != ke_method(n->ke)->id || m->ke_method != new->suite.ke->id)
		return false;
	new->spi_r = proposal_spi(&m->sa.p[0]);
	if (!new->spi_r)
		return false;
	memcpy(n->nr, m->nonce.ptr, m->nonce.len);
	n->nr_len = (uint16_t)m->nonce.len;
	return derive(sa, new, m->ke);
}

void rekey_ike_response(struct ike_engine *e, struct ike_sa *sa, struct task *t, const struct message *m)
{
	static const uint8_t wanted[] = { PAYLOAD_SA, PAYLOAD_NONCE, PAYLOAD_KE };
	struct ike_sa *new = ike_sa_by_id(e, t->new_id), *theirs = ike_sa_by_id(e, t->collision_id);
	uint8_t missing;

	if (!new || new->state != IKE_STATE_REKEY_I) {
		task_free(e, t);
		return;
	}
	if (t->abandoned) {
		/* taken down meanwhile: what the peer has made of it goes too */
		if (message_require(m, wanted, sizeof(wanted), &missing) && take_answer(e, sa, t, new, m)) {
			ike_sa_set_state(e, new, IKE_STATE_REKEYED);
			ike_sa_delete(e, new, REASON_ADMIN);
		}
		task_free(e, t);
		return;
	}
	if (!message_require(m, wanted, sizeof(wanted), &missing)) {
		refused(e, sa, t, new, m);
		return;
	}
	if (!take_answer(e, sa, t, new, m)) {
		/* the peer has an SA that we cannot have: start over with a new one */
		event_emit(e, IKE_EVENT_PROGRESS, LOG_LEVEL_ERROR, REASON_NO_PROPOSAL_CHOSEN, ABOUT_IKE(sa),
			   "response to the rekey of IKE SA #%u is not acceptable", sa->id);
		ike_sa_close(e, new, REASON_NO_PROPOSAL_CHOSEN, false);
		task_free(e, t);
		ike_sa_delete(e, sa, REASON_NO_PROPOSAL_CHOSEN);
		return;
	}
	finish(e, new);
	if (theirs && ike_sa_is_up(theirs) &&
	    nonce_compare(BYTES(new->nonce_min, new->nonce_min_len), BYTES(theirs->nonce_min, theirs->nonce_min_len)) < 0) {
		/* §2.8.2: ours has the lowest nonce, so we delete it and the peer the old one */
		take_over(e, sa, theirs, false);
		report(e, sa, theirs);
		ike_sa_set_state(e, new, IKE_STATE_REKEYED);
		ike_sa_delete(e, new, REASON_REPLACED);
	} else {
		take_over(e, sa, new, true);
		report(e, sa, new);
		if (theirs && ike_sa_is_up(theirs)) { /* the peer deletes it; we in case it forgets */
			ike_sa_set_state(e, theirs, IKE_STATE_REKEYED);
			timer_arm(e->wheel, &theirs->life_timer, e->now + SUPERSEDED_US);
		}
	}
	task_free(e, t);
}
