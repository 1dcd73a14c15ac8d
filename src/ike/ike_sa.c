/* IKE SAs: making, indexing, changing state, ending. */
#include "ike/ike_sa.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "ike/internal.h"

static const char *const state_names[] = {
#define X(id, name) [IKE_STATE_##id] = name,
	IKE_STATES(X)
#undef X
};

const char *ike_state_name(enum ike_state s)
{
	return state_names[s];
}

void packet_free(struct packet *p)
{
	free(p->ptr);
	*p = (struct packet){ 0 };
}

void packet_set(struct packet *p, struct bytes from)
{
	packet_free(p);
	if (!from.len)
		return;
	p->ptr = malloc(from.len);
	if (!p->ptr)
		return;
	memcpy(p->ptr, from.ptr, from.len);
	p->len = from.len;
}

struct negotiation *negotiation_new(void)
{
	return secret_alloc(sizeof(struct negotiation));
}

void negotiation_free(struct negotiation *n)
{
	if (!n)
		return;
	ke_free(n->ke);
	packet_free(&n->peer_ke);
	packet_free(&n->cookie);
	packet_free(&n->request);
	packet_free(&n->response);
	secret_free(n);
}

int nonce_compare(struct bytes a, struct bytes b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int order = n ? memcmp(a.ptr, b.ptr, n) : 0;

	if (order)
		return order;
	return a.len < b.len ? -1 : a.len > b.len; /* the one that ends first is the lower */
}

void nonce_lowest(struct bytes a, struct bytes b, uint8_t out[32], uint8_t *out_len)
{
	struct bytes low = nonce_compare(a, b) < 0 ? a : b;

	*out_len = (uint8_t)(low.len < 32 ? low.len : 32);
	memcpy(out, low.ptr, *out_len);
}

/* Indexes */

struct ike_sa *ike_sa_by_id(struct ike_engine *e, uint32_t id)
{
	struct ike_sa *sa;

	HASH_FIND(hh_id, e->by_id, &id, sizeof(id), sa);
	return sa;
}

struct ike_sa *ike_sa_by_spi(struct ike_engine *e, uint64_t spi)
{
	struct ike_sa *sa;

	HASH_FIND(hh_spi, e->by_spi, &spi, sizeof(spi), sa);
	return sa;
}

static struct half_open_key half_open_key(const struct ip_endpoint *remote, uint64_t spi_i)
{
	struct half_open_key key;

	memset(&key, 0, sizeof(key)); /* padding is hashed too */
	key.address = remote->address;
	key.port = remote->port;
	key.spi_i = spi_i;
	return key;
}

struct ike_sa *ike_sa_half_open(struct ike_engine *e, const struct ip_endpoint *remote, uint64_t spi_i)
{
	struct half_open_key key = half_open_key(remote, spi_i);
	struct ike_sa *sa;

	HASH_FIND(hh_half, e->by_half, &key, sizeof(key), sa);
	return sa;
}

bool ike_sa_index_half_open(struct ike_engine *e, struct ike_sa *sa)
{
	struct half_open_key key = half_open_key(&sa->remote, sa->spi_i);

	memcpy(&sa->half_key, &key, sizeof(key));
	HASH_ADD(hh_half, e->by_half, half_key, sizeof(sa->half_key), sa);
	sa->in_half = sa->hh_half.tbl != NULL;
	return sa->in_half;
}

void ike_sa_unindex_half_open(struct ike_engine *e, struct ike_sa *sa)
{
	if (sa->in_half)
		HASH_DELETE(hh_half, e->by_half, sa);
	sa->in_half = false;
}

static uint64_t hash_identity(uint64_t h, const struct identity *id)
{
	size_t len = id->len;

	if (id->type == IDENTITY_FQDN && len && id->data[len - 1] == '.')
		len--;
	h = (h ^ id->type) * UINT64_C(0x100000001b3);
	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)tolower(id->data[i])) * UINT64_C(0x100000001b3);
	return h;
}

uint64_t identities_key(const struct identity *local, const struct identity *remote)
{
	uint64_t h = hash_identity(hash_identity(UINT64_C(0xcbf29ce484222325), local), remote);

	return remote->type == IDENTITY_NONE ? 0 : h ? h : 1;
}

static void ike_sa_unindex_peer(struct ike_engine *e, struct ike_sa *sa)
{
	struct peer_entry *p;

	if (!sa->peer_key)
		return;
	HASH_FIND(hh, e->peers, &sa->peer_key, sizeof(sa->peer_key), p);
	sa->peer_key = 0;
	TAILQ_REMOVE(&p->ikes, sa, of_peer);
	if (!TAILQ_EMPTY(&p->ikes))
		return;
	HASH_DELETE(hh, e->peers, p);
	free(p);
}

void ike_sa_index_peer(struct ike_engine *e, struct ike_sa *sa)
{
	uint64_t key = identities_key(&sa->local_id, &sa->remote_id);
	struct peer_entry *p;

	if (key == sa->peer_key)
		return;
	ike_sa_unindex_peer(e, sa);
	if (!key)
		return;
	HASH_FIND(hh, e->peers, &key, sizeof(key), p);
	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return;
		p->key = key;
		TAILQ_INIT(&p->ikes);
		HASH_ADD(hh, e->peers, key, sizeof(p->key), p);
		if (!p->hh.tbl) {
			free(p);
			return;
		}
	}
	TAILQ_INSERT_TAIL(&p->ikes, sa, of_peer);
	sa->peer_key = key;
}

void ike_sa_set_conn(struct ike_engine *e, struct ike_sa *sa, struct ike_conn *conn)
{
	struct conn_entry *entry, *old;
	struct ike_conn *before = sa->conn;

	if (before == conn)
		return;
	entry = conn ? conn_entry_get(e, conn) : NULL;
	if (conn && !entry)
		return; /* no memory: it stays where it is */
	if (before) {
		old = conn_entry_find(e, before);
		TAILQ_REMOVE(&old->ikes, sa, of_conn);
		conn_entry_release(e, old);
	}
	if (entry)
		TAILQ_INSERT_TAIL(&entry->ikes, sa, of_conn);
	sa->conn = ike_conn_ref(conn);
	ike_conn_unref(before);
}

/* Making */

static uint64_t new_spi(struct ike_engine *e)
{
	uint64_t spi;

	do {
		engine_random(e, &spi, sizeof(spi));
	} while (!spi || ike_sa_by_spi(e, spi));
	return spi;
}

struct ike_sa *ike_sa_new(struct ike_engine *e, struct ike_conn *conn, bool initiator, enum ike_state state)
{
	struct ike_sa *sa;
	uint64_t spi;

	if (e->config.sa_max && e->counters.ike_total >= e->config.sa_max)
		return NULL;
	sa = secret_alloc(sizeof(*sa));
	if (!sa)
		return NULL;
	sa->state = state;
	sa->initiator = initiator;
	TAILQ_INIT(&sa->tasks);
	TAILQ_INIT(&sa->children);
	timer_init(&sa->request_timer, request_timer_due, e);
	timer_init(&sa->life_timer, ike_life_due, e);
	timer_init(&sa->dpd_timer, dpd_due, e);
	timer_init(&sa->keepalive_timer, nat_keepalive_due, e);
	timer_init(&sa->idle_timer, idle_due, e);
	ike_sa_set_conn(e, sa, conn);
	if (!sa->conn) {
		secret_free(sa);
		return NULL;
	}
	sa->id = ++e->serial;
	spi = new_spi(e);
	*(initiator ? &sa->spi_i : &sa->spi_r) = spi;
	HASH_ADD(hh_id, e->by_id, id, sizeof(sa->id), sa);
	sa->in_id = sa->hh_id.tbl != NULL;
	if (initiator)
		HASH_ADD(hh_spi, e->by_spi, spi_i, sizeof(sa->spi_i), sa);
	else
		HASH_ADD(hh_spi, e->by_spi, spi_r, sizeof(sa->spi_r), sa);
	sa->in_spi = sa->hh_spi.tbl != NULL;
	e->counters.ike_total++;
	if (state == IKE_STATE_INIT_R)
		e->counters.half_open++;
	sa->nego = negotiation_new();
	if (!sa->in_id || !sa->in_spi || !sa->nego) {
		ike_sa_close(e, sa, REASON_INTERNAL, false);
		return NULL;
	}
	return sa;
}

bool ike_sa_set_keys(struct ike_sa *sa)
{
	struct sk *i = sk_new(&sa->suite, key_bytes(&sa->keys.ei), key_bytes(&sa->keys.ai));
	struct sk *r = sk_new(&sa->suite, key_bytes(&sa->keys.er), key_bytes(&sa->keys.ar));

	if (!i || !r) {
		sk_free(i);
		sk_free(r);
		return false;
	}
	sk_free(sa->sk_out);
	sk_free(sa->sk_in);
	sa->sk_out = sa->initiator ? i : r;
	sa->sk_in = sa->initiator ? r : i;
	return true;
}

void ike_sa_free(struct ike_sa *sa)
{
	sk_free(sa->sk_in);
	sk_free(sa->sk_out);
	packet_free(&sa->request);
	packet_free(&sa->response);
	negotiation_free(sa->nego);
	free(sa->refused_theirs);
	ike_conn_unref(sa->conn);
	secret_free(sa);
}

/* Life */

void ike_sa_set_state(struct ike_engine *e, struct ike_sa *sa, enum ike_state state)
{
	if (sa->state == state)
		return;
	event_debug(e, ABOUT_IKE(sa), "IKE SA: %s -> %s", ike_state_name(sa->state), ike_state_name(state));
	if (sa->state == IKE_STATE_INIT_R)
		e->counters.half_open--;
	if (state == IKE_STATE_CLOSED || (state == IKE_STATE_DEAD && sa->state != IKE_STATE_CLOSED))
		e->counters.ike_total--;
	sa->state = state;
}

void ike_sa_establish(struct ike_engine *e, struct ike_sa *sa)
{
	ike_sa_set_state(e, sa, IKE_STATE_ESTABLISHED);
	sa->established_us = e->now;
	sa->established_serial = e->serial;
	sa->last_received_us = e->now;
	ike_sa_index_peer(e, sa);
	ike_arm_life(e, sa);
	dpd_arm(e, sa);
	nat_keepalive_arm(e, sa);
	idle_arm(e, sa);
	tasks_mark(e, sa);
}

/** What uses the SA ends with it: children, waiting tasks, the exchange under way. */
static void ike_sa_drop_contents(struct ike_engine *e, struct ike_sa *sa, enum ike_reason reason)
{
	/* a peer that is gone sends nothing any more */
	bool linger = reason != REASON_DPD && reason != REASON_ADMIN && !sa->forgotten;
	struct child *c;

	if (sa->state == IKE_STATE_ESTABLISHED)
		event_emit(e, IKE_EVENT_IKE_DOWN, LOG_LEVEL_INFO, reason, ABOUT_IKE(sa),
			   "deleting IKE SA (established IKE SA): %s",
			   reason == REASON_NONE ? "no Child SA uses it" : ike_reason_text(reason));
	e->dropping = sa->id;
	while ((c = TAILQ_FIRST(&sa->children)))
		child_close(e, c, reason, linger);
	e->dropping = 0;
	tasks_fail(e, sa, reason);
	timer_cancel(e->wheel, &sa->dpd_timer);
	timer_cancel(e->wheel, &sa->keepalive_timer);
	timer_cancel(e->wheel, &sa->idle_timer);
	timer_cancel(e->wheel, &sa->life_timer);
}

static void ike_sa_unlink(struct ike_engine *e, struct ike_sa *sa)
{
	timer_cancel(e->wheel, &sa->request_timer);
	timer_cancel(e->wheel, &sa->life_timer);
	if (sa->dirty)
		TAILQ_REMOVE(&e->dirty, sa, of_dirty);
	sa->dirty = false;
	if (sa->in_id)
		HASH_DELETE(hh_id, e->by_id, sa);
	if (sa->in_spi)
		HASH_DELETE(hh_spi, e->by_spi, sa);
	sa->in_id = sa->in_spi = false;
	ike_sa_unindex_half_open(e, sa);
	ike_sa_unindex_peer(e, sa);
	if (sa->conn) {
		struct conn_entry *entry = conn_entry_find(e, sa->conn);

		/* the reference stays until the memory goes */
		TAILQ_REMOVE(&entry->ikes, sa, of_conn);
		conn_entry_release(e, entry);
	}
	TAILQ_INSERT_TAIL(&e->dead, sa, of_dead);
}

void ike_sa_close(struct ike_engine *e, struct ike_sa *sa, enum ike_reason reason, bool linger)
{
	if (sa->state == IKE_STATE_DEAD)
		return;
	if (sa->state != IKE_STATE_CLOSED)
		ike_sa_drop_contents(e, sa, reason);
	request_cancel(e, sa);
	task_free(e, sa->active);
	sa->active = NULL;
	if (linger && sa->state != IKE_STATE_CLOSED && sa->response.ptr) {
		ike_sa_unindex_peer(e, sa);
		ike_sa_set_state(e, sa, IKE_STATE_CLOSED);
		timer_arm(e->wheel, &sa->life_timer, e->now + CLOSED_US);
		return;
	}
	ike_sa_set_state(e, sa, IKE_STATE_DEAD);
	ike_sa_unlink(e, sa);
}

void ike_sa_delete(struct ike_engine *e, struct ike_sa *sa, enum ike_reason reason)
{
	if (sa->state == IKE_STATE_DELETING || sa->state == IKE_STATE_CLOSED || sa->state == IKE_STATE_DEAD)
		return;
	if (sa->state != IKE_STATE_ESTABLISHED && sa->state != IKE_STATE_REKEYED) {
		ike_sa_close(e, sa, reason, false); /* the peer does not know it yet */
		return;
	}
	ike_sa_drop_contents(e, sa, reason);
	ike_sa_set_state(e, sa, IKE_STATE_DELETING);
	ike_sa_unindex_peer(e, sa);
	timer_arm(e->wheel, &sa->life_timer, e->now + DELETE_TIMEOUT_US);
	if (!task_add(e, sa, TASK_IKE_DELETE, NULL, 0))
		ike_sa_close(e, sa, reason, false);
}

void ike_sa_move_children(struct ike_engine *e, struct ike_sa *from, struct ike_sa *to)
{
	struct child *c;
	struct task *t;

	while ((c = TAILQ_FIRST(&from->children))) {
		TAILQ_REMOVE(&from->children, c, of_ike);
		from->child_count--;
		TAILQ_INSERT_TAIL(&to->children, c, of_ike);
		to->child_count++;
		c->ike_id = to->id;
	}
	if (from->unproved_child) {
		to->unproved_child = from->unproved_child;
		to->answer_proves = false;
	}
	/* what was waiting goes on in the new SA; the old one only gets deleted */
	while ((t = TAILQ_FIRST(&from->tasks))) {
		task_unqueue(from, t);
		if (t->type == TASK_PROBE || t->type == TASK_IKE_REKEY || t->type == TASK_IKE_DELETE)
			task_free(e, t);
		else
			task_requeue(e, to, t, 0);
	}
	dpd_arm(e, to);
	idle_arm(e, to);
}
