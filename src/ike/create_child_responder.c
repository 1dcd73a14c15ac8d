/* CREATE_CHILD_SA as responder, and its collisions: RFC 7296 §1.3, §2.8, §2.25. */
#include <stdio.h>
#include <string.h>

#include "ike/internal.h"
#include "ike/resource.h"

/** A Child SA of ours is being made, whose response has not come. */
static bool busy_making(const struct ike_sa *sa)
{
	const struct task *t = sa->active;

	return t && (t->type == TASK_CHILD_CREATE || t->type == TASK_CHILD_REKEY || t->type == TASK_RESOURCE_CREATE);
}

/** §2.25.1: what is to be rekeyed; NULL after the answer was sent. */
static struct child *find_old(struct ike_engine *e, struct ike_sa *sa, const struct notify *rekey)
{
	struct reader r = reader_of(rekey->spi);
	uint32_t spi = reader_u32(&r);
	struct child *old = reader_done(&r) && rekey->protocol == PROTOCOL_ESP ? child_by_peer_spi(sa, spi) : NULL;
	struct child *newer;
	struct message_builder b;

	if (!old && busy_making(sa)) {
		/* it may be the very one that we are making, whose response is still on its way */
		response_notify(e, sa, N_TEMPORARY_FAILURE, BYTES(NULL, 0));
		return NULL;
	}
	if (!old) {
		response_begin(e, sa, &b);
		builder_notify(&b, N_CHILD_SA_NOT_FOUND, rekey->protocol, rekey->spi, BYTES(NULL, 0));
		response_send(e, sa, &b);
		return NULL;
	}
	newer = child_by_id(e, old->replaced_by);
	if (!child_is_up(old) || (old->state == CHILD_STATE_REKEYED && newer && child_is_up(newer))) {
		response_notify(e, sa, N_TEMPORARY_FAILURE, BYTES(NULL, 0)); /* we are closing it */
		return NULL;
	}
	return old;
}

static void send_answer(struct ike_engine *e, struct ike_sa *sa, struct child *c, const struct proposal *chosen,
			struct bytes nr, const struct ke *ke)
{
	struct message_builder b;

	e->list.count = 1;
	e->list.p[0] = *chosen;
	response_begin(e, sa, &b);
	builder_sa(&b, &e->list);
	builder_nonce(&b, nr);
	if (ke)
		builder_ke(&b, ke_method(ke)->id, ke_public(ke));
	child_put_ts(&b, c, false);
	if (c->group)
		resource_put(&b, c);
	response_send(e, sa, &b);
}

static void refuse(struct ike_engine *e, struct ike_sa *sa, struct child *c, const struct child_refusal *why)
{
	uint8_t group[2];
	struct writer w = writer_new(group, sizeof(group));

	if (why->notify == N_INVALID_KE_PAYLOAD) {
		writer_u16(&w, why->ke);
		response_notify(e, sa, why->notify, writer_bytes(&w)); /* the peer asks again */
	} else {
		response_notify(e, sa, why->notify, BYTES(NULL, 0));
		child_tell_refused(e, child_failure_of_peer(e, why->conn), sa, c, why, "Child SA of the CREATE_CHILD_SA request is refused: %s", why->text);
	}
	if (c)
		child_close(e, c, why->reason, false);
}

/** Our half of the exchange, keys, and the inbound SA: in this order before the answer. */
static bool make(struct ike_engine *e, struct ike_sa *sa, struct child *c, struct child *old, const struct message *m,
		 struct negotiation *n, struct child_refusal *why)
{
	struct child_exchange x = { .ni = m->nonce };
	struct secret shared = { 0 };
	bool ok = true;

	why->notify = N_TEMPORARY_FAILURE;
	why->reason = REASON_BACKEND;
	n->nr_len = 32;
	engine_random(e, n->nr, n->nr_len);
	x.nr = BYTES(n->nr, n->nr_len);
	if (c->sa.suite.ke) {
		ok = negotiation_set_ke(e, n, c->sa.suite.ke->id) && ke_derive(n->ke, m->ke, &shared);
		x.shared = BYTES(shared.bytes, shared.len);
		if (!ok) {
			why->notify = N_INVALID_SYNTAX;
			why->reason = REASON_INVALID_SYNTAX;
			snprintf(why->text, sizeof(why->text), "the peer's key exchange value is not valid");
		}
	}
	ok = ok && child_derive(sa, c, &x) &&
	     child_install(e, sa, c, !old && !c->sa.resource && !child_newest(e, c->conn), why->text);
	secret_wipe(&shared, sizeof(shared));
	return ok;
}

/** `old`: what is rekeyed; `fallback`: whose group it is for, RFC 9611; both may be NULL. */
static void answer_child(struct ike_engine *e, struct ike_sa *sa, struct child *old, struct child *fallback,
			 const struct message *m)
{
	struct child *first = old ? old : fallback;
	struct ike_conn *conn = first ? first->conn : conn_select_child(e, sa, m);
	struct child_refusal why = { .conn = conn, .reason = REASON_LIMIT, .notify = N_NO_ADDITIONAL_SAS };
	struct child *c;
	uint16_t resource = fallback ? resource_choose(e, sa, fallback, &why.notify) : old ? old->sa.resource : 0;
	struct negotiation *n = negotiation_new();
	struct task *ours = old ? task_find(sa, TASK_CHILD_REKEY, old->sa.id) : NULL;
	struct proposal chosen;

	if (fallback && !resource) {
		event_debug(e, ABOUT_CHILD(sa, fallback), "no Child SA for one more resource of the peer's");
		response_notify(e, sa, why.notify, BYTES(NULL, 0));
		negotiation_free(n);
		return;
	}
	c = child_new(e, sa, conn, resource, why.text);
	if (c)
		c->group = first ? first->group : 0;
	if (!c || !n || !child_choose(sa, c, m, true, fallback, &chosen, &why) || !make(e, sa, c, old, m, n, &why)) {
		refuse(e, sa, c, &why);
		negotiation_free(n);
		return;
	}
	if (!old)
		resource_agree(c, m);
	send_answer(e, sa, c, &chosen, BYTES(n->nr, n->nr_len), c->sa.suite.ke ? n->ke : NULL);
	negotiation_free(n);
	if (old) {
		child_replaced(e, old, c);
		/* §2.8.1: we rekey it as well; which one stays is known when our response comes */
		if (ours && ours == sa->active)
			ours->collision_id = c->sa.id;
	}
	child_report(e, sa, c, old);
	if (!old)
		resource_established(e, sa, c);
}

/** An exchange of ours about a Child SA is under way or waits: §2.25.1's last rule. */
static bool busy_with_child(const struct ike_sa *sa)
{
	return busy_making(sa) || (sa->active && sa->active->type == TASK_CHILD_DELETE);
}

void create_child_request(struct ike_engine *e, struct ike_sa *sa, const struct message *m)
{
	static const uint8_t wanted[] = { PAYLOAD_SA, PAYLOAD_NONCE, PAYLOAD_TSI, PAYLOAD_TSR };
	const struct notify *rekey = message_notify(m, N_REKEY_SA);
	bool of_ike = message_has(m, PAYLOAD_SA) && m->sa.count && m->sa.p[0].protocol == PROTOCOL_IKE;
	struct child *old = NULL;
	uint8_t missing;

	/* §2.25.2: an SA that is rekeyed already, is being closed, or may turn out to be redundant */
	if (sa->state != IKE_STATE_ESTABLISHED || rekey_ike_undecided(e, sa)) {
		response_notify(e, sa, N_TEMPORARY_FAILURE, BYTES(NULL, 0));
		return;
	}
	if (of_ike) {
		if (busy_with_child(sa))
			response_notify(e, sa, N_TEMPORARY_FAILURE, BYTES(NULL, 0));
		else
			rekey_ike_request(e, sa, m);
		return;
	}
	if (!message_require(m, wanted, sizeof(wanted), &missing)) {
		response_notify(e, sa, N_INVALID_SYNTAX, BYTES(NULL, 0));
		return;
	}
	if (sa->active && sa->active->type == TASK_IKE_REKEY) {
		response_notify(e, sa, N_TEMPORARY_FAILURE, BYTES(NULL, 0)); /* §2.25.2 */
		return;
	}
	if (rekey) {
		old = find_old(e, sa, rekey);
		if (!old)
			return;
	}
	answer_child(e, sa, old, old ? NULL : resource_request(sa, m), m);
}
