/*
 * The engine's door: making it, the dispatch of datagrams, the timers' drive.
 * What may come in which state stands in one table.
 */
#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"

struct ike_engine *ike_engine_new(const struct ike_host *host, const struct ike_engine_config *config)
{
	struct ike_engine *e = secret_alloc(sizeof(*e));

	if (!e)
		return NULL;
	e->host = host;
	e->config = *config;
	e->now = host->now_us(host->context);
	e->version_limit = (struct rate_limit){ .burst = 10, .per_second = 5 };
	e->stranger_limit = (struct rate_limit){ .burst = 1000, .per_second = 50 };
	TAILQ_INIT(&e->dirty);
	TAILQ_INIT(&e->dead);
	TAILQ_INIT(&e->dead_children);
	e->wheel = timer_wheel_new(e->now);
	e->datagram = malloc(IKE_MESSAGE_MAX);
	if (!e->wheel || !e->datagram) {
		ike_engine_free(e);
		return NULL;
	}
	return e;
}

void ike_engine_configure(struct ike_engine *e, const struct ike_engine_config *config)
{
	e->config = *config;
}

static void engine_reap(struct ike_engine *e)
{
	struct ike_sa *sa;
	struct child *c;

	while ((c = TAILQ_FIRST(&e->dead_children))) {
		TAILQ_REMOVE(&e->dead_children, c, of_dead);
		child_free(c);
	}
	while ((sa = TAILQ_FIRST(&e->dead))) {
		TAILQ_REMOVE(&e->dead, sa, of_dead);
		ike_sa_free(sa);
	}
}

/** Frees a task without a thought for the SA that it makes: that is freed by itself. */
static void task_drop(struct ike_engine *e, struct task *t)
{
	if (t)
		t->new_id = 0;
	task_free(e, t);
}

static void free_sas(struct ike_engine *e)
{
	struct child *c = e->child_by_id, *next_child;
	struct ike_sa *sa = e->by_id, *next;
	struct task *t, *next_task;

	/* the tables first: what they link stays linked by `next` */
	HASH_CLEAR(hh_id, e->child_by_id);
	HASH_CLEAR(hh_spi, e->child_by_spi);
	HASH_CLEAR(hh_id, e->by_id);
	HASH_CLEAR(hh_spi, e->by_spi);
	HASH_CLEAR(hh_half, e->by_half);
	for (; c; c = next_child) {
		next_child = c->hh_id.next;
		child_free(c);
	}
	for (; sa; sa = next) {
		next = sa->hh_id.next;
		for (t = TAILQ_FIRST(&sa->tasks); t; t = next_task) {
			next_task = TAILQ_NEXT(t, entry);
			task_drop(e, t);
		}
		task_drop(e, sa->active);
		ike_sa_free(sa);
	}
}

void ike_engine_free(struct ike_engine *e)
{
	struct conn_entry *n, *next_conn;
	struct peer_entry *p, *next_peer;

	if (!e)
		return;
	engine_reap(e);
	timer_wheel_free(e->wheel); /* timers stand in what is freed below */
	free_sas(e);
	n = e->conns;
	HASH_CLEAR(hh, e->conns);
	for (; n; n = next_conn) {
		next_conn = n->hh.next;
		free(n);
	}
	p = e->peers;
	HASH_CLEAR(hh, e->peers);
	for (; p; p = next_peer) {
		next_peer = p->hh.next;
		free(p);
	}
	if (e->datagram)
		secret_wipe(e->datagram, IKE_MESSAGE_MAX);
	free(e->datagram);
	secret_free(e);
}

void engine_enter(struct ike_engine *e)
{
	e->now = e->host->now_us(e->host->context);
}

void engine_leave(struct ike_engine *e)
{
	struct ike_sa *sa;

	/* each turn either sends a request, which closes the window, or empties the queue */
	while ((sa = TAILQ_FIRST(&e->dirty))) {
		TAILQ_REMOVE(&e->dirty, sa, of_dirty);
		sa->dirty = false;
		tasks_run(e, sa);
	}
	engine_reap(e);
}

void engine_random(struct ike_engine *e, void *buf, size_t len)
{
	e->host->random(e->host->context, buf, len);
}

uint64_t engine_random_below(struct ike_engine *e, uint64_t bound)
{
	uint64_t r;

	engine_random(e, &r, sizeof(r));
	return bound ? r % bound : 0;
}

void engine_send(struct ike_engine *e, const struct ip_endpoint *local, const struct ip_endpoint *remote,
		 struct bytes datagram)
{
	e->counters.sent++;
	e->host->send(e->host->context, local, remote, datagram);
}

struct conn_entry *conn_entry_find(struct ike_engine *e, const struct ike_conn *conn)
{
	struct conn_entry *c;

	HASH_FIND_PTR(e->conns, &conn, c);
	return c;
}

struct conn_entry *conn_entry_get(struct ike_engine *e, const struct ike_conn *conn)
{
	struct conn_entry *c = conn_entry_find(e, conn);

	if (c)
		return c;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->conn = conn;
	TAILQ_INIT(&c->ikes);
	TAILQ_INIT(&c->children);
	HASH_ADD_PTR(e->conns, conn, c);
	if (!c->hh.tbl) {
		free(c);
		return NULL;
	}
	return c;
}

void conn_entry_release(struct ike_engine *e, struct conn_entry *c)
{
	if (!c || c->tasks || !TAILQ_EMPTY(&c->ikes) || !TAILQ_EMPTY(&c->children))
		return;
	HASH_DELETE(hh, e->conns, c);
	free(c);
}

/** What may come in which state; anything else is dropped. */
static const struct {
	enum ike_state state;
	enum exchange_type exchange;
	bool response;
	message_fn *fn;
} dispatch[] = {
	{ IKE_STATE_INIT_I, EXCHANGE_IKE_SA_INIT, true, init_response },
	{ IKE_STATE_AUTH_I, EXCHANGE_IKE_AUTH, true, auth_response },
	{ IKE_STATE_INIT_R, EXCHANGE_IKE_AUTH, false, auth_request },
	{ IKE_STATE_ESTABLISHED, EXCHANGE_CREATE_CHILD_SA, false, create_child_request },
	{ IKE_STATE_ESTABLISHED, EXCHANGE_CREATE_CHILD_SA, true, create_child_response },
	{ IKE_STATE_ESTABLISHED, EXCHANGE_INFORMATIONAL, false, informational_request },
	{ IKE_STATE_ESTABLISHED, EXCHANGE_INFORMATIONAL, true, informational_response },
	{ IKE_STATE_REKEYED, EXCHANGE_CREATE_CHILD_SA, false, create_child_request },
	{ IKE_STATE_REKEYED, EXCHANGE_CREATE_CHILD_SA, true, create_child_response },
	{ IKE_STATE_REKEYED, EXCHANGE_INFORMATIONAL, false, informational_request },
	{ IKE_STATE_REKEYED, EXCHANGE_INFORMATIONAL, true, informational_response },
	{ IKE_STATE_DELETING, EXCHANGE_CREATE_CHILD_SA, false, create_child_request },
	{ IKE_STATE_DELETING, EXCHANGE_CREATE_CHILD_SA, true, create_child_response },
	{ IKE_STATE_DELETING, EXCHANGE_INFORMATIONAL, false, informational_request },
	{ IKE_STATE_DELETING, EXCHANGE_INFORMATIONAL, true, informational_response },
};

static message_fn *dispatch_find(const struct ike_sa *sa, const struct ike_header *h)
{
	for (size_t i = 0; i < sizeof(dispatch) / sizeof(dispatch[0]); i++)
		if (dispatch[i].state == sa->state && dispatch[i].exchange == (enum exchange_type)h->exchange &&
		    dispatch[i].response == h->response)
			return dispatch[i].fn;
	return NULL;
}

/** An answer in the clear to a request of another major version; RFC 7296 §2.5. */
static void answer_version(struct ike_engine *e, const struct ip_endpoint *local,
			   const struct ip_endpoint *remote, struct bytes datagram)
{
	struct reader r = reader_of(datagram);
	struct ike_header h = { .version = 0x20, .response = true };
	struct message_builder b;
	uint8_t flags, version, exchange;

	h.spi_i = reader_u64(&r);
	h.spi_r = reader_u64(&r);
	reader_skip(&r, 1);
	version = reader_u8(&r);
	exchange = reader_u8(&r);
	flags = reader_u8(&r);
	h.message_id = reader_u32(&r);
	/* IKEv1 has no such answer; a response is never answered */
	if (!reader_ok(&r) || version >> 4 <= 2 || flags & 0x20 ||
	    !rate_limit_take(&e->version_limit, e->now))
		return;
	h.exchange = exchange;
	h.initiator = !(flags & 0x08);
	builder_begin(&b, e->out, sizeof(e->out), &h);
	builder_notify(&b, N_INVALID_MAJOR_VERSION, 0, BYTES(NULL, 0), BYTES(NULL, 0));
	engine_send(e, local, remote, builder_end(&b));
}

/** The SA that a header names, when our SPI, the peer's SPI and the roles fit. */
static struct ike_sa *find_sa(struct ike_engine *e, const struct ike_header *h)
{
	struct ike_sa *sa = ike_sa_by_spi(e, h->initiator ? h->spi_r : h->spi_i);

	if (!sa || sa->initiator == h->initiator || sa->spi_i != h->spi_i)
		return NULL;
	if (sa->state == IKE_STATE_INIT_I || sa->state == IKE_STATE_REKEY_I)
		return sa->state == IKE_STATE_INIT_I ? sa : NULL; /* the peer's SPI is not known yet */
	return sa->spi_r == h->spi_r ? sa : NULL;
}

/** Authentic, but not to be understood: RFC 7296 §2.21.3. */
static void malformed_request(struct ike_engine *e, struct ike_sa *sa, enum decode_status status)
{
	bool unknown = sa->state == IKE_STATE_INIT_R;

	event_emit(e, unknown ? IKE_EVENT_REMOTE : IKE_EVENT_PROGRESS, LOG_LEVEL_WARNING, REASON_INVALID_SYNTAX,
		   ABOUT_IKE(sa), "malformed %s request: %s", exchange_name(e->in.header.exchange),
		   decode_status_text(status));
	response_notify(e, sa, N_INVALID_SYNTAX, BYTES(NULL, 0));
	ike_sa_close(e, sa, REASON_INVALID_SYNTAX, true);
}

static void handle(struct ike_engine *e, struct ike_sa *sa, const struct ike_header *h,
		   const struct ip_endpoint *local, const struct ip_endpoint *remote)
{
	message_fn *fn = dispatch_find(sa, h);
	uint32_t proved;

	/* the responder may be ahead of its IKE_AUTH response; it asks again */
	if (!h->response && sa->state == IKE_STATE_AUTH_I)
		return;
	sa->last_received_us = e->now;
	nat_follow(e, sa, local, remote);
	if (!fn) {
		if (h->response)
			return;
		/* an exchange that we do not know, or not now */
		response_notify(e, sa, sa->state == IKE_STATE_INIT_R ? N_AUTHENTICATION_FAILED : N_INVALID_SYNTAX,
				BYTES(NULL, 0));
		return;
	}
	if (!h->response && e->in.unknown_critical) {
		response_notify(e, sa, N_UNSUPPORTED_CRITICAL_PAYLOAD, BYTES(&e->in.unknown_critical, 1));
		return;
	}
	proved = h->response && !sa->answer_proves ? 0 : sa->unproved_child;
	fn(e, sa, &e->in);
	/* last: the message may have been the end of it */
	if (proved && sa->state != IKE_STATE_DEAD)
		child_proved(e, sa, proved);
}

/** A message that must be protected, of an SA that we have. */
static void receive_protected(struct ike_engine *e, struct ike_sa *sa, const struct ike_header *h,
			      const struct ip_endpoint *local, const struct ip_endpoint *remote,
			      struct bytes datagram)
{
	bool again = !h->response && h->message_id + 1 == sa->expected_id && sa->response.ptr;
	enum decode_status status;

	if (h->response ? !request_under_way(sa) || h->message_id != sa->request_id ||
				  h->exchange != sa->request_exchange
			: h->message_id != sa->expected_id && !again) {
		e->counters.dropped_replay++;
		return;
	}
	if (sa->state == IKE_STATE_AUTH_I && !h->response) {
		e->counters.dropped_replay++; /* ahead of the IKE_AUTH response; it will come again */
		return;
	}
	if (sa->state == IKE_STATE_CLOSED && !again) {
		e->counters.dropped_unknown_spi++;
		return;
	}
	if (!sa->sk_in && (sa->state != IKE_STATE_INIT_R || h->exchange != EXCHANGE_IKE_AUTH || !auth_derive(e, sa))) {
		e->counters.dropped_integrity++;
		return;
	}
	memcpy(e->datagram, datagram.ptr, datagram.len);
	status = message_decode_protected(e->datagram, datagram.len, sa->sk_in, &e->in);
	if (status != DECODE_OK && !message_has(&e->in, PAYLOAD_SK)) {
		e->counters.dropped_integrity++;
		return;
	}
	if (again) {
		response_resend(e, sa);
		return;
	}
	if (status != DECODE_OK) {
		e->counters.dropped_malformed++;
		e->in.header = *h;
		sa->last_received_us = e->now;
		if (!h->response) {
			malformed_request(e, sa, status);
			return;
		}
		/* RFC 7296 §2.21.3: a response that is authentic and malformed ends the SA */
		event_emit(e, sa->state == IKE_STATE_AUTH_I && !sa->abandoned ? IKE_EVENT_FAILED : IKE_EVENT_PROGRESS,
			   LOG_LEVEL_WARNING, REASON_INVALID_SYNTAX, ABOUT_IKE(sa), "malformed %s response: %s",
			   exchange_name(h->exchange), decode_status_text(status));
		ike_sa_close(e, sa, REASON_INVALID_SYNTAX, false);
		return;
	}
	handle(e, sa, h, local, remote);
}

/** A response in the clear: only IKE_SA_INIT has one. */
static void receive_init_response(struct ike_engine *e, struct ike_sa *sa, const struct ike_header *h,
				  const struct ip_endpoint *local, const struct ip_endpoint *remote,
				  struct bytes datagram)
{
	if (sa->state != IKE_STATE_INIT_I || !h->response || h->exchange != EXCHANGE_IKE_SA_INIT ||
	    h->message_id != 0 || !request_under_way(sa) ||
	    !ip_address_equal(&sa->remote.address, &remote->address) ||
	    !ip_address_equal(&sa->local.address, &local->address)) {
		e->counters.dropped_replay++;
		return;
	}
	memcpy(e->datagram, datagram.ptr, datagram.len);
	e->datagram_bytes = BYTES(e->datagram, datagram.len);
	if (message_decode_clear(e->datagram_bytes, &e->in) != DECODE_OK) {
		e->counters.dropped_malformed++;
		return;
	}
	init_response(e, sa, &e->in);
}

static void receive(struct ike_engine *e, const struct ip_endpoint *local, const struct ip_endpoint *remote,
		    struct bytes datagram)
{
	struct ike_header h;
	enum decode_status status;
	struct ike_sa *sa;

	e->counters.received++;
	if (datagram.len > IKE_MESSAGE_MAX) {
		e->counters.dropped_malformed++;
		return;
	}
	status = message_decode_header(datagram, &h);
	if (status != DECODE_OK) {
		e->counters.dropped_malformed++;
		if (status == DECODE_VERSION)
			answer_version(e, local, remote, datagram);
		return;
	}
	if (h.exchange == EXCHANGE_IKE_SA_INIT && !h.response) {
		if (h.initiator && !h.spi_r && h.spi_i && !h.message_id)
			init_request(e, local, remote, datagram);
		else
			e->counters.dropped_malformed++;
		return;
	}
	sa = find_sa(e, &h);
	if (!sa)
		e->counters.dropped_unknown_spi++; /* RFC 7296 §2.21.4 lets us keep silent */
	else if (sa->state == IKE_STATE_INIT_I)
		receive_init_response(e, sa, &h, local, remote, datagram);
	else
		receive_protected(e, sa, &h, local, remote, datagram);
}

void ike_engine_receive(struct ike_engine *e, const struct ip_endpoint *local, const struct ip_endpoint *remote,
			struct bytes datagram)
{
	engine_enter(e);
	e->from = *remote;
	e->at = *local;
	receive(e, local, remote, datagram);
	engine_leave(e);
}

uint64_t ike_engine_advance(struct ike_engine *e)
{
	engine_enter(e);
	timer_wheel_advance(e->wheel, e->now);
	engine_leave(e);
	return timer_wheel_next_us(e->wheel);
}

const struct ike_counters *ike_engine_counters(struct ike_engine *e)
{
	return &e->counters;
}
