/*
 * Negotiating a Child SA: the payloads SA, TSi and TSr of IKE_AUTH and
 * CREATE_CHILD_SA, in both roles. RFC 7296 §1.2, §1.3, §2.7, §2.9.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ike/internal.h"

static void list_append(struct proposal_list *list, const struct proposal_list *more)
{
	for (size_t i = 0; i < more->count && list->count < PROPOSALS_MAX; i++)
		list->p[list->count++] = more->p[i];
}

static void list_number(struct proposal_list *list, uint32_t spi)
{
	struct writer w;

	for (size_t i = 0; i < list->count; i++) {
		list->p[i].number = (uint8_t)(i + 1);
		list->p[i].protocol = PROTOCOL_ESP;
		list->p[i].spi_size = 4;
		w = writer_new(list->p[i].spi, sizeof(list->p[i].spi));
		writer_u32(&w, spi);
	}
}

/** The configured proposals, after what the Child SA that is rekeyed has; `only` that. */
static void list_configured(const struct ike_conn *conn, const struct cipher_suite *first, bool only,
			    struct proposal_list *out)
{
	struct proposal_list configured = *conn->esp_proposals;

	out->count = 0;
	proposal_set_esn(&configured, conn->esn, conn->no_esn);
	if (first)
		proposal_from_suite(PROTOCOL_ESP, first, out);
	if (first && !first->ke && proposal_list_has_ke(&configured))
		proposal_add_ke(out, proposal_first_ke(&configured));
	if (!only)
		list_append(out, &configured);
}

void child_offer(const struct ike_conn *conn, const struct ike_sa *ike, const struct task *t,
		 const struct cipher_suite *first, struct proposal_list *out)
{
	struct proposal_list without;

	list_configured(conn, first, t && t->type == TASK_RESOURCE_CREATE, out);
	without = *out;
	proposal_strip_ke(&without);
	/* IKE_AUTH has no key exchange of its own (t is NULL) */
	if (!t || !conn->pfs || (t->without_ke && !conn->pfs_required)) {
		*out = without;
	} else {
		proposal_add_ke(out, ike->suite.ke->id);
		/* peers whose default has no key exchange in ESP find what they want behind it */
		if (!conn->pfs_required)
			list_append(out, &without);
	}
	list_number(out, 0);
}

void child_put_sa(struct message_builder *b, const struct child *c, struct proposal_list *offer)
{
	list_number(offer, c->sa.in.spi);
	builder_sa(b, offer);
}

void child_put_ts(struct message_builder *b, const struct child *c, bool initiator)
{
	builder_ts(b, PAYLOAD_TSI, initiator ? &c->sa.local_ts : &c->sa.remote_ts);
	builder_ts(b, PAYLOAD_TSR, initiator ? &c->sa.remote_ts : &c->sa.local_ts);
	if (c->sa.mode == MODE_TRANSPORT)
		builder_notify(b, N_USE_TRANSPORT_MODE, 0, BYTES(NULL, 0), BYTES(NULL, 0));
}

__attribute__((format(printf, 4, 5))) static bool refuse(struct child_refusal *why, uint16_t notify,
							 enum ike_reason reason, const char *format, ...)
{
	va_list args;

	why->notify = notify;
	why->reason = reason;
	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return false;
}

/** Our methods for a Child SA's own key exchange: those of esp=, or any that ike= allows. */
static void add_own_ke(struct proposal_list *list, const struct ike_sa *ike, const struct message *m)
{
	const struct proposal_list *methods = ike->conn->ike_proposals;
	uint16_t first = ike->suite.ke->id;

	if (proposal_list_has_ke(list))
		return;
	/* the method of the payload saves a round trip when it is one of ours */
	for (size_t i = 0; message_has(m, PAYLOAD_KE) && i < methods->count; i++)
		if (proposal_has_ke(&methods->p[i], m->ke_method))
			first = m->ke_method;
	proposal_add_ke(list, first);
}

/** Only those of `list` that have method `ke`. */
static void keep_ke(struct proposal_list *list, uint16_t ke)
{
	size_t kept = 0;

	for (size_t i = 0; i < list->count; i++)
		if (proposal_has_ke(&list->p[i], ke))
			list->p[kept++] = list->p[i];
	list->count = kept;
	proposal_strip_ke(list);
	proposal_add_ke(list, ke);
}

/** Suite of a Child SA made by CREATE_CHILD_SA: with the payload's method, without any, with another. */
static bool choose_create(const struct ike_sa *ike, const struct ike_conn *conn, const struct message *m,
			  struct proposal_list *ours, struct proposal *chosen, struct cipher_suite *suite)
{
	struct proposal_list with = *ours, try;

	add_own_ke(&with, ike, m);
	if (message_has(m, PAYLOAD_KE)) {
		try = with;
		keep_ke(&try, m->ke_method);
		if (try.count && proposal_choose(&try, &m->sa, chosen, suite))
			return true;
	}
	if (!conn->pfs_required) {
		try = *ours;
		proposal_strip_ke(&try);
		if (proposal_choose(&try, &m->sa, chosen, suite))
			return true;
	}
	*ours = with;
	return proposal_choose(&with, &m->sa, chosen, suite);
}

static bool choose_suite(const struct ike_sa *ike, struct child *c, const struct message *m, bool create_child_sa,
			 const struct child *like, struct proposal *chosen, struct child_refusal *why)
{
	struct proposal_list ours, theirs = m->sa;
	bool found;

	list_configured(c->conn, like ? &like->sa.suite : NULL, like != NULL, &ours);
	if (create_child_sa) {
		found = choose_create(ike, c->conn, m, &ours, chosen, &c->sa.suite);
	} else {
		/* IKE_AUTH has no key exchange, whatever a peer lists; RFC 7296 §1.2 */
		proposal_strip_ke(&ours);
		proposal_strip_ke(&theirs);
		found = proposal_choose(&ours, &theirs, chosen, &c->sa.suite);
	}
	if (found)
		return true;
	proposal_list_format(&ours, why->ours, sizeof(why->ours));
	proposal_list_format(&m->sa, why->theirs, sizeof(why->theirs));
	return refuse(why, N_NO_PROPOSAL_CHOSEN, REASON_NO_PROPOSAL_CHOSEN, "no ESP proposal of the peer fits ours");
}

/** The SPI that the peer put into its proposal `number`; 0: none of use. */
static uint32_t peer_spi(const struct proposal_list *list, uint8_t number)
{
	for (size_t i = 0; i < list->count; i++) {
		struct reader r = reader_new(list->p[i].spi, 4);
		uint32_t spi = reader_u32(&r);

		if (list->p[i].number == number)
			return list->p[i].spi_size == 4 && spi >= 256 ? spi : 0;
	}
	return 0;
}

/** RFC 7296 §1.3.1: a peer that cannot strip padding gets none. */
static void take_tfc(struct child *c, const struct message *m)
{
	if (message_notify(m, N_ESP_TFC_PADDING_NOT_SUPPORTED))
		c->sa.tfc_pad = 0;
}

bool child_choose(struct ike_sa *ike, struct child *c, const struct message *m, bool create_child_sa,
		  const struct child *like, struct proposal *chosen, struct child_refusal *why)
{
	const struct ike_conn *conn = c->conn;
	bool transport = message_notify(m, N_USE_TRANSPORT_MODE);
	struct writer w;

	memset(why, 0, sizeof(*why));
	why->conn = conn;
	if (!choose_suite(ike, c, m, create_child_sa, like, chosen, why))
		return false;
	c->sa.out.spi = peer_spi(&m->sa, chosen->number);
	if (!c->sa.out.spi)
		return refuse(why, N_INVALID_SYNTAX, REASON_INVALID_SYNTAX, "the peer's proposal has no valid SPI");
	ts_list_narrow(&m->tsi, &conn->remote_ts, &c->sa.remote_ts);
	ts_list_narrow(&m->tsr, &conn->local_ts, &c->sa.local_ts);
	if (like) { /* what asks for more than these was told apart before */
		c->sa.remote_ts = like->sa.remote_ts;
		c->sa.local_ts = like->sa.local_ts;
	}
	if (!c->sa.remote_ts.count || !c->sa.local_ts.count) {
		char a[256], b[256];

		snprintf(why->ours, sizeof(why->ours), "%s===%s", ts_list_format(&conn->local_ts, a, sizeof(a)),
			 ts_list_format(&conn->remote_ts, b, sizeof(b)));
		snprintf(why->theirs, sizeof(why->theirs), "%s===%s", ts_list_format(&m->tsr, a, sizeof(a)),
			 ts_list_format(&m->tsi, b, sizeof(b)));
		return refuse(why, N_TS_UNACCEPTABLE, REASON_TS_UNACCEPTABLE,
			      "the peer's traffic selectors have nothing in common with ours");
	}
	if (conn->mode == MODE_TRANSPORT && !transport)
		return refuse(why, N_NO_PROPOSAL_CHOSEN, REASON_NO_PROPOSAL_CHOSEN,
			      "the peer asks for tunnel mode, the connection is type=transport");
	c->sa.mode = conn->mode;
	take_tfc(c, m);
	if (c->sa.suite.ke && (!message_has(m, PAYLOAD_KE) || m->ke_method != c->sa.suite.ke->id)) {
		why->ke = c->sa.suite.ke->id;
		return refuse(why, N_INVALID_KE_PAYLOAD, REASON_INVALID_KE_PAYLOAD, "the peer must use %s",
			      c->sa.suite.ke->name);
	}
	chosen->protocol = PROTOCOL_ESP;
	chosen->spi_size = 4;
	w = writer_new(chosen->spi, sizeof(chosen->spi));
	writer_u32(&w, c->sa.in.spi);
	return true;
}

static bool accept_ts(struct child *c, const struct message *m, struct child_refusal *why)
{
	const struct child_sa *asked = &c->sa;
	bool within = ts_list_contains(&asked->local_ts, &m->tsi) && ts_list_contains(&asked->remote_ts, &m->tsr);
	bool all = ts_list_contains(&m->tsi, &asked->local_ts) && ts_list_contains(&m->tsr, &asked->remote_ts);
	char a[256], b[256];

	if (m->tsi.count && m->tsr.count && within && (all || (c->conn->narrowing && !c->sa.resource))) {
		c->sa.local_ts = m->tsi;
		c->sa.remote_ts = m->tsr;
		return true;
	}
	snprintf(why->ours, sizeof(why->ours), "%s===%s", ts_list_format(&asked->local_ts, a, sizeof(a)),
		 ts_list_format(&asked->remote_ts, b, sizeof(b)));
	snprintf(why->theirs, sizeof(why->theirs), "%s===%s", ts_list_format(&m->tsi, a, sizeof(a)),
		 ts_list_format(&m->tsr, b, sizeof(b)));
	return refuse(why, N_TS_UNACCEPTABLE, REASON_TS_UNACCEPTABLE, "the peer's answer %s",
		      within ? "is narrower than what we asked for, and narrowing=no"
			     : "has traffic selectors that we did not ask for");
}

bool child_accept(struct child *c, const struct message *m, const struct proposal_list *offer,
		  struct child_refusal *why)
{
	bool transport = message_notify(m, N_USE_TRANSPORT_MODE);
	struct reader spi = reader_new(m->sa.p[0].spi, 4);

	memset(why, 0, sizeof(*why));
	why->conn = c->conn;
	c->sa.out.spi = reader_u32(&spi);
	if (m->sa.count != 1 || m->sa.p[0].spi_size != 4 || c->sa.out.spi < 256 ||
	    !proposal_accept(offer, &m->sa.p[0], &c->sa.suite)) {
		proposal_list_format(offer, why->ours, sizeof(why->ours));
		proposal_list_format(&m->sa, why->theirs, sizeof(why->theirs));
		return refuse(why, N_NO_PROPOSAL_CHOSEN, REASON_NO_PROPOSAL_CHOSEN,
			      "the peer's answer is none of our ESP proposals");
	}
	if (c->conn->mode == MODE_TRANSPORT && !transport)
		return refuse(why, N_NO_PROPOSAL_CHOSEN, REASON_NO_PROPOSAL_CHOSEN,
			      "the peer does not want transport mode");
	if (c->conn->mode == MODE_TUNNEL && transport)
		return refuse(why, N_INVALID_SYNTAX, REASON_INVALID_SYNTAX,
			      "the peer answers transport mode, which we did not ask for");
	take_tfc(c, m);
	return accept_ts(c, m, why);
}

bool child_derive(struct ike_sa *ike, struct child *c, const struct child_exchange *x)
{
	c->initiator = x->initiator;
	nonce_lowest(x->ni, x->nr, c->nonce_min, &c->nonce_min_len);
	return child_keys_derive(ike->suite.prf, &ike->keys.d, x->shared, x->ni, x->nr, x->initiator, &c->sa);
}

enum ike_event_type child_failure_of_peer(struct ike_engine *e, const struct ike_conn *conn)
{
	return child_newest(e, conn) || conn_is_pending(e, conn) ? IKE_EVENT_REMOTE : IKE_EVENT_FAILED;
}

void child_tell_refused(struct ike_engine *e, enum ike_event_type type, struct ike_sa *ike, const struct child *c,
			const struct child_refusal *why, const char *format, ...)
{
	char text[TEXT_MAX];
	va_list args;
	struct event_about about = { .conn = why->conn, .ike = ike, .child = c, .peer = &ike->remote };

	if (why->ours[0])
		about.ours = why->ours;
	if (why->theirs[0])
		about.theirs = why->theirs;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (why->reason == REASON_NO_PROPOSAL_CHOSEN)
		e->counters.no_proposal++;
	else if (why->reason == REASON_TS_UNACCEPTABLE)
		e->counters.ts_unacceptable++;
	event_emit(e, type, type == IKE_EVENT_FAILED ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, why->reason, about, "%s", text);
}
