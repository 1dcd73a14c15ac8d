/* Child SAs in the back end: make before break, and their end. */
#include "ike/child.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ike/internal.h"
#include "ike/resource.h"

static const char *const state_names[] = {
#define X(id, name) [CHILD_STATE_##id] = name,
	CHILD_STATES(X)
#undef X
};

const char *child_state_name(enum child_state s)
{
	return state_names[s];
}

struct child *child_by_id(struct ike_engine *e, uint32_t id)
{
	struct child *c;

	if (!id)
		return NULL;
	HASH_FIND(hh_id, e->child_by_id, &id, sizeof(id), c);
	return c;
}

struct child *child_by_own_spi(struct ike_engine *e, uint32_t spi)
{
	struct child *c;

	HASH_FIND(hh_spi, e->child_by_spi, &spi, sizeof(spi), c);
	return c;
}

struct child *child_by_peer_spi(struct ike_sa *ike, uint32_t spi)
{
	struct child *c;

	TAILQ_FOREACH(c, &ike->children, of_ike)
		if (c->state != CHILD_STATE_LARVAL && c->sa.out.spi == spi)
			return c;
	return NULL;
}

struct child *child_newest(struct ike_engine *e, const struct ike_conn *conn)
{
	struct conn_entry *entry = conn_entry_find(e, conn);
	struct child *c, *newest = NULL;

	if (!entry)
		return NULL;
	TAILQ_FOREACH(c, &entry->children, of_conn)
		if (c->state == CHILD_STATE_ESTABLISHED && !c->redundant && !c->sa.resource &&
		    (!newest || c->sa.id > newest->sa.id))
			newest = c;
	return newest;
}

/** What the connection says about its Child SAs. */
static void child_configure(struct child *c, const struct ike_sa *ike, const struct ike_conn *conn)
{
	struct child_sa *sa = &c->sa;

	sa->reqid = conn->reqid;
	snprintf(sa->conn, sizeof(sa->conn), "%s", conn->name);
	sa->mode = conn->mode;
	sa->path = (struct esp_path){ .local = ike->local, .remote = ike->remote, .udp_encap = ike->encap };
	sa->local_ts = conn->local_ts;
	sa->remote_ts = conn->remote_ts;
	sa->replay_window = conn->replay_window;
	sa->max_bytes = conn->max_bytes;
	sa->max_packets = conn->max_packets;
	sa->decap_dscp = conn->decap_dscp;
	sa->encap_dscp = conn->encap_dscp;
	sa->no_pmtu_disc = conn->no_pmtu_disc;
	sa->tfc_pad = conn->tfc_pad;
	sa->mark_in = conn->mark_in;
	sa->mark_in_mask = conn->mark_in_mask;
	sa->mark_out = conn->mark_out;
	sa->mark_out_mask = conn->mark_out_mask;
}

struct child *child_new(struct ike_engine *e, struct ike_sa *ike, struct ike_conn *conn, uint16_t resource, char *err)
{
	struct conn_entry *entry;
	struct child *c;
	uint32_t spi;

	snprintf(err, 256, "no memory for a Child SA");
	if (ike->child_count >= CHILDREN_MAX) {
		snprintf(err, 256, "the IKE SA has %d Child SAs already", CHILDREN_MAX);
		return NULL;
	}
	c = secret_alloc(sizeof(*c));
	entry = conn_entry_get(e, conn);
	if (!c || !entry) {
		secret_free(c);
		conn_entry_release(e, entry);
		return NULL;
	}
	spi = e->host->alloc_spi(e->host->context, conn, &ike->local.address, &ike->remote.address, resource);
	if (!spi || child_by_own_spi(e, spi)) {
		snprintf(err, 256, "no SPI could be allocated");
		if (spi)
			e->host->free_spi(e->host->context, &ike->local.address, spi);
		secret_free(c);
		conn_entry_release(e, entry);
		return NULL;
	}
	child_configure(c, ike, conn);
	c->sa.id = ++e->serial;
	c->sa.in.spi = spi;
	c->sa.resource = resource;
	c->conn = ike_conn_ref(conn);
	c->ike_id = ike->id;
	timer_init(&c->life_timer, child_life_due, e);
	timer_init(&c->resource_timer, resource_due, e);
	HASH_ADD(hh_id, e->child_by_id, sa.id, sizeof(c->sa.id), c);
	HASH_ADD(hh_spi, e->child_by_spi, sa.in.spi, sizeof(c->sa.in.spi), c);
	c->in_id = c->hh_id.tbl != NULL;
	c->in_spi = c->hh_spi.tbl != NULL;
	TAILQ_INSERT_TAIL(&ike->children, c, of_ike);
	ike->child_count++;
	TAILQ_INSERT_TAIL(&entry->children, c, of_conn);
	if (c->in_id && c->in_spi)
		return c;
	child_close(e, c, REASON_INTERNAL, false);
	return NULL;
}

bool child_usage(struct ike_engine *e, const struct child *c, struct child_sa_usage *out)
{
	return (c->in_installed || c->out_installed) && e->host->sa_query(e->host->context, &c->sa, out);
}

void child_free(struct child *c)
{
	ike_conn_unref(c->conn);
	secret_free(c);
}

static void child_set_state(struct ike_engine *e, struct child *c, enum child_state state)
{
	struct event_about about = { .conn = c->conn, .child = c };

	if (c->state == state)
		return;
	event_debug(e, about, "Child SA: %s -> %s", child_state_name(c->state), child_state_name(state));
	c->state = state;
}

bool child_install(struct ike_engine *e, struct ike_sa *ike, struct child *c, bool outbound, char *err)
{
	enum sa_direction which = outbound ? SA_BOTH : SA_IN;

	c->sa.path = (struct esp_path){ .local = ike->local, .remote = ike->remote, .udp_encap = ike->encap };
	if (!e->host->sa_add(e->host->context, &c->sa, which, err))
		return false;
	c->in_installed = c->was_installed = true;
	c->out_installed = outbound;
	c->out_pending = !outbound;
	c->established_us = e->now;
	c->counted = true;
	child_set_state(e, c, CHILD_STATE_ESTABLISHED);
	e->counters.child_total++;
	e->counters.child_established++;
	child_arm_life(e, c);
	/* what we answer the peer has when it says something, not before */
	if (!c->initiator) {
		ike->unproved_child = c->sa.id;
		ike->answer_proves = ike->nego != NULL;
	}
	dpd_arm(e, ike);
	return true;
}

void child_stop_outbound(struct ike_engine *e, struct child *c)
{
	c->out_pending = false;
	if (!c->out_installed)
		return;
	c->out_installed = false;
	e->host->sa_remove(e->host->context, &c->sa, SA_OUT);
}

void child_switch_outbound(struct ike_engine *e, struct child *c)
{
	struct event_about about = { .conn = c->conn, .child = c };
	struct child *old = child_by_id(e, c->replaces);
	char err[256] = "";

	c->out_pending = false;
	if (c->redundant || c->out_installed || c->state != CHILD_STATE_ESTABLISHED)
		return;
	if (!e->host->sa_add(e->host->context, &c->sa, SA_OUT, err)) {
		event_emit(e, IKE_EVENT_PROGRESS, LOG_LEVEL_ERROR, REASON_BACKEND, about,
			   "outbound SA could not be installed: %s", err);
		return;
	}
	c->out_installed = true;
	if (old)
		child_stop_outbound(e, old);
}

/** We rekey the same SA, and which of the two stays is known when our response comes: §2.8.1. */
static bool child_is_undecided(const struct ike_sa *ike, const struct child *c)
{
	const struct task *t = ike->active;

	return t && t->type == TASK_CHILD_REKEY && t->collision_id == c->sa.id;
}

void child_proved(struct ike_engine *e, struct ike_sa *ike, uint32_t child_id)
{
	struct child *c = child_by_id(e, child_id);

	if (ike->unproved_child == child_id)
		ike->unproved_child = 0;
	if (c && c->out_pending && !child_is_undecided(ike, c))
		child_switch_outbound(e, c);
}

void child_replaced(struct ike_engine *e, struct child *old, struct child *c)
{
	c->replaces = old->sa.id;
	old->replaced_by = c->sa.id;
	resource_inherit(e, old, c);
	if (old->state != CHILD_STATE_ESTABLISHED)
		return;
	child_set_state(e, old, CHILD_STATE_REKEYED);
	timer_arm(e->wheel, &old->life_timer, e->now + SUPERSEDED_US);
}

/**
 * Another Child SA of the same connection carries its traffic: of the same resource, or a fallback.
 * Prefers the one that replaces `c`.
 */
static struct child *child_sibling(struct ike_engine *e, const struct child *c)
{
	struct conn_entry *entry = conn_entry_find(e, c->conn);
	struct child *other = child_by_id(e, c->replaced_by), *found = NULL;

	if (other && other->state == CHILD_STATE_ESTABLISHED && !other->redundant && other->ike_id != e->dropping)
		return other;
	if (!entry)
		return NULL;
	TAILQ_FOREACH(other, &entry->children, of_conn)
		if (other != c && child_is_up(other) && other->in_installed && other->ike_id != e->dropping &&
		    (!other->sa.resource || other->sa.resource == c->sa.resource) &&
		    (!found || (found->redundant && !other->redundant) || other->sa.id > found->sa.id))
			found = other;
	return found;
}

static void child_gone(struct ike_engine *e, struct child *c)
{
	if (c->in_installed)
		e->host->sa_remove(e->host->context, &c->sa, SA_IN);
	else if (!c->was_installed)
		e->host->free_spi(e->host->context, &c->sa.path.local.address, c->sa.in.spi);
	c->in_installed = false;
	timer_cancel(e->wheel, &c->life_timer);
	timer_cancel(e->wheel, &c->resource_timer);
	if (c->in_id)
		HASH_DELETE(hh_id, e->child_by_id, c);
	if (c->in_spi)
		HASH_DELETE(hh_spi, e->child_by_spi, c);
	c->in_id = c->in_spi = false;
	child_set_state(e, c, CHILD_STATE_DEAD);
	TAILQ_INSERT_TAIL(&e->dead_children, c, of_dead);
}

/** No other Child SA of its connection is up. */
static bool child_is_last(struct ike_engine *e, const struct child *c)
{
	struct conn_entry *entry = conn_entry_find(e, c->conn);
	struct child *other;

	TAILQ_FOREACH(other, &entry->children, of_conn)
		if (other != c && other->counted)
			return false;
	return true;
}

/** Its end is told, once: IKE_EVENT_CHILD_DOWN when it was the connection's last. */
static void child_tell_down(struct ike_engine *e, struct child *c, enum ike_reason reason)
{
	bool last = child_is_last(e, c);
	struct ike_sa *ike = ike_sa_by_id(e, c->ike_id);
	struct event_about about = { .conn = c->conn, .ike = ike, .child = c, .peer = ike ? &ike->remote : NULL };
	struct child_sa_usage usage;

	if (!c->counted)
		return;
	c->counted = false;
	e->counters.child_total--;
	if (e->host->sa_query(e->host->context, &c->sa, &usage))
		event_progress(e, about, "ESP traffic information: in=%" PRIu64 "B out=%" PRIu64 "B", usage.in_bytes,
			       usage.out_bytes);
	event_emit(e, last ? IKE_EVENT_CHILD_DOWN : IKE_EVENT_PROGRESS, LOG_LEVEL_INFO, reason, about,
		   "deleting established Child SA using IKE SA #%u: %s", c->ike_id, ike_reason_text(reason));
	if (ike && ike->id != e->dropping)
		resource_lost(e, ike, c, reason);
}

/** Leave the list of the IKE SA and that of the connection. */
static void child_unlist(struct ike_engine *e, struct child *c)
{
	struct ike_sa *ike = ike_sa_by_id(e, c->ike_id);
	struct conn_entry *entry = conn_entry_find(e, c->conn);

	TAILQ_REMOVE(&ike->children, c, of_ike);
	ike->child_count--;
	idle_arm(e, ike);
	TAILQ_REMOVE(&entry->children, c, of_conn);
	conn_entry_release(e, entry);
}

void child_close(struct ike_engine *e, struct child *c, enum ike_reason reason, bool linger)
{
	struct child *sibling;

	if (c->state == CHILD_STATE_DEAD)
		return;
	if (c->state == CHILD_STATE_LINGER) {
		child_gone(e, c);
		return;
	}
	if (c->state == CHILD_STATE_LARVAL) {
		child_unlist(e, c);
		child_gone(e, c);
		return;
	}
	sibling = child_sibling(e, c);
	/* the peer lets go of the old one, so it has the new one; or nothing else is left to send on */
	if (sibling && sibling->out_pending && (sibling->replaces == c->sa.id || c->out_installed))
		child_switch_outbound(e, sibling);
	child_tell_down(e, c, reason);
	child_stop_outbound(e, c);
	child_unlist(e, c);
	c->ike_id = 0;
	if (linger && sibling && c->in_installed) {
		child_set_state(e, c, CHILD_STATE_LINGER);
		timer_arm(e->wheel, &c->life_timer, e->now + LINGER_US);
		return;
	}
	child_gone(e, c);
}

void child_delete(struct ike_engine *e, struct ike_sa *ike, struct child *c, enum ike_reason reason, bool now)
{
	if (!child_is_up(c))
		return;
	if (now) {
		child_tell_down(e, c, reason);
		child_stop_outbound(e, c);
		if (c->in_installed)
			e->host->sa_remove(e->host->context, &c->sa, SA_IN);
		c->in_installed = false;
	}
	c->closing = reason;
	child_set_state(e, c, CHILD_STATE_DELETING);
	timer_cancel(e->wheel, &c->life_timer);
	if (!task_add(e, ike, TASK_CHILD_DELETE, NULL, c->sa.id))
		child_close(e, c, reason, false);
}

void child_discard(struct ike_engine *e, struct ike_sa *ike, struct child *c)
{
	child_set_state(e, c, CHILD_STATE_DELETING);
	c->closing = REASON_ADMIN;
	if (!task_add(e, ike, TASK_CHILD_DELETE, NULL, c->sa.id))
		child_close(e, c, REASON_ADMIN, false);
}

void child_move(struct ike_engine *e, struct ike_sa *ike, struct child *c)
{
	struct esp_path to = { .local = ike->local, .remote = ike->remote, .udp_encap = ike->encap };

	if ((c->in_installed || c->out_installed) && !e->host->sa_move(e->host->context, &c->sa, &to))
		event_emit(e, IKE_EVENT_PROGRESS, LOG_LEVEL_WARNING, REASON_BACKEND, ABOUT_CHILD(ike, c),
			   "the Child SA could not follow the peer to its new address");
	c->sa.path = to;
}

void child_report(struct ike_engine *e, struct ike_sa *ike, struct child *c, struct child *old)
{
	char suite[160], local[320], remote[320], what[40] = "established Child SA", resource[24] = "";
	enum ike_event_type type = old ? IKE_EVENT_CHILD_REKEYED : IKE_EVENT_CHILD_UP;
	const char *role = c->initiator ? "initiator" : "responder";

	if (c->sa.resource)
		snprintf(resource, sizeof(resource), " of resource %u", c->sa.resource);
	suite_format_esp(&c->sa.suite, suite, sizeof(suite));
	ts_list_format(&c->sa.local_ts, local, sizeof(local));
	ts_list_format(&c->sa.remote_ts, remote, sizeof(remote));
	if (old) {
		snprintf(what, sizeof(what), "rekeyed Child SA #%u", old->sa.id);
		e->counters.child_rekeyed++;
	}
	/* the connection came up, and is rekeyed, with its fallback */
	if (c->sa.resource)
		type = IKE_EVENT_PROGRESS;
	event_emit(e, type, LOG_LEVEL_INFO, REASON_NONE,
		   ABOUT_CHILD(ike, c), "%s %s using #%u; IPsec %s [%s===%s] {ESP%s%s=>0x%08x <0x%08x xfrm=%s DPD=%s}%s",
		   role, what, ike->id, c->sa.mode == MODE_TUNNEL ? "tunnel" : "transport", local, remote,
		   c->sa.path.udp_encap ? "inUDP" : "", c->sa.suite.esn ? "/ESN" : "", c->sa.out.spi, c->sa.in.spi,
		   suite, c->conn->dpd_delay_us ? "active" : "passive", resource);
}
