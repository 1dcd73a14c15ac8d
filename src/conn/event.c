/*
 * What the engine tells, and how a connection goes on after it: revival with
 * back-off, dpdaction=, instances of templates.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "conn/set.h"

enum conn_rc conn_rc_of(enum ike_reason reason)
{
	switch (reason) {
	case REASON_NONE:
		return CONN_RC_OK;
	case REASON_TIMEOUT:
	case REASON_DPD:
		return CONN_RC_NO_ANSWER;
	case REASON_NO_SECRET:
		return CONN_RC_NO_KEY;
	case REASON_BACKEND:
		return CONN_RC_ROUTE;
	case REASON_INTERNAL:
	case REASON_LIMIT:
		return CONN_RC_INTERNAL;
	default:
		return CONN_RC_FATAL;
	}
}

/* Delay before attempt `attempts` + 1: 0 s, then 5 s more each time, and up to a tenth on top. */
static uint64_t retry_delay_us(struct conn *c)
{
	uint64_t s = (uint64_t)(c->attempts - 1) * CONN_RETRY_STEP_S;

	if (s > CONN_RETRY_MAX_S)
		s = CONN_RETRY_MAX_S;
	if (s == 0)
		return 0;
	uint32_t jitter_ms = c->set->host->random_below(c->set->host->context, (uint32_t)(s * 100));
	return s * US_PER_S + jitter_ms * US_PER_MS;
}

/* It is down and should be up: schedule the next attempt. */
static void conn_revive(struct conn *c)
{
	if (c->set->hold)
		return; /* the daemon's end */
	c->attempts++;
	uint64_t delay = retry_delay_us(c);

	conn_say(c, LOG_LEVEL_INFO,
		 "connection is supposed to remain up; revival attempt %u scheduled in %u seconds",
		 c->attempts, (unsigned)(delay / US_PER_S));
	timer_arm(c->set->wheel, &c->retry, c->set->host->now_us(c->set->host->context) + delay);
}

void conn_record(struct conn *c, struct failure *f)
{
	if (f == NULL)
		return;
	failure_log_add(&c->set->failures, f);
	failure_free(c->failure);
	c->failure = f;
}

void conn_fail(struct conn *c, struct failure *f, bool final)
{
	const struct conn_host *host = c->set->host;

	conn_record(c, f);
	if (final) {
		if (c->phase == CONN_TRYING)
			c->phase = CONN_IDLE;
		c->once = false;
		/* a trap reports traffic once; it has to be set anew to report the next */
		c->policy_stale = true;
		if (c->want_up != WISH_NO && c->phase == CONN_IDLE && !c->retry.armed)
			conn_revive(c);
		conn_mark(c);
	}
	if (f != NULL)
		host->failed(host->context, c, f, final);
}

static void on_up(struct conn *c)
{
	const struct conn_host *host = c->set->host;

	c->phase = CONN_UP;
	c->up_since_us = host->now_us(host->context);
	c->once = c->held = false;
	c->protect = true;
	timer_cancel(c->set->wheel, &c->retry);
	failure_free(c->failure);
	c->failure = NULL;
	conn_mark(c);
	host->came_up(host->context, c);
}

/* dpdaction=: the peer is dead. */
static void on_dead(struct conn *c)
{
	switch (c->config->dpd_action) {
	case CONN_DPD_RESTART:
		c->once = true;
		return;
	case CONN_DPD_CLEAR:
		c->want_up = WISH_NO;
		c->protect = false;
		return;
	case CONN_DPD_HOLD:
		c->held = true;
		return;
	}
}

static void on_down(struct conn *c, const struct ike_event *ev)
{
	enum ike_reason reason = ev->reason;
	const struct conn_host *host = c->set->host;
	bool was_up = c->phase == CONN_UP;

	c->phase = CONN_IDLE;
	conn_mark(c);
	if (c->template != NULL) {
		c->protect = false;
		return;
	}
	if (was_up && host->now_us(host->context) - c->up_since_us >= CONN_STABLE_S * US_PER_S)
		c->attempts = 0;
	if (reason == REASON_DPD || reason == REASON_EXPIRED || reason == REASON_BACKEND)
		conn_record(c, failure_from_event(ev, c->config, host->wall_s(host->context)));
	if (reason == REASON_DPD)
		on_dead(c);
	else if (c->config->auto_mode == AUTO_KEEP && reason != REASON_ADMIN)
		c->once = true;
	if (c->want_up != WISH_NO && !c->retry.armed)
		conn_revive(c);
}

void conn_set_event(struct conn_set *set, const struct ike_event *ev)
{
	struct conn *c = ev->conn != NULL ? ev->conn->owner : NULL;
	uint64_t wall = set->host->wall_s(set->host->context);
	bool final = ev->type == IKE_EVENT_FAILED;

	if (final || ev->type == IKE_EVENT_REFUSED || ev->type == IKE_EVENT_REMOTE) {
		struct failure *f = failure_from_event(ev, c != NULL ? c->config : NULL, wall);

		if (c != NULL && ev->type != IKE_EVENT_REMOTE) {
			conn_fail(c, f, final);
		} else if (f != NULL) {
			failure_log_add(&set->failures, f);
			failure_free(f);
		}
		return;
	}
	if (c == NULL)
		return;
	if (ev->type == IKE_EVENT_CHILD_UP)
		on_up(c);
	else if (ev->type == IKE_EVENT_CHILD_DOWN)
		on_down(c, ev);
}

/* --- peers that call ----------------------------------------------------------------------- */

/* The instance of `template` for a peer; made when there is none yet. NULL: too many. */
static struct conn *instance_for(struct conn *template, const struct ip_address *remote)
{
	struct conn_set *set = template->set;
	struct peer_bucket *b = NULL;
	struct conn *c;

	HASH_FIND(hh, set->by_peer, remote, sizeof(*remote), b);
	if (b != NULL) {
		TAILQ_FOREACH(c, &b->conns, peer_entry) {
			if (c->template == template)
				return c;
		}
	}
	if (set->instances >= CONN_INSTANCES_MAX)
		return NULL;
	c = conn_new(set, template->name, template->source, template->config);
	if (c == NULL)
		return NULL;
	c->template = template;
	c->instance = set->next_instance++;
	set->instances++;
	c->orientation = template->orientation;
	c->orientation.remote = *remote;
	struct orient_build with = {
		.name = c->name, .serial = c->serial, .reqid = c->reqid, .owner = c,
		.setup = &c->source->config->setup,
		.ike = template->ike->ike_proposals, .esp = template->ike->esp_proposals,
		.resources = set->host->resources(set->host->context),
	};
	c->ike = orient_build(c->config, &c->orientation, &with);
	if (c->ike == NULL) {
		conn_mark(c);
		return NULL;
	}
	/* the peer's identity need not be its address */
	c->ike->remote_id = template->ike->remote_id;
	conn_peer_link(c, remote);
	timer_arm(set->wheel, &c->retry,
		  set->host->now_us(set->host->context) + CONN_INSTANCE_IDLE_S * US_PER_S);
	return c;
}

size_t conn_set_candidates(struct conn_set *set, const struct ip_address *local,
			   const struct ip_address *remote, struct ike_conn **out, size_t max)
{
	static const struct ip_address any;
	struct peer_bucket *b = NULL;
	struct conn *c;
	size_t n = 0;

	HASH_FIND(hh, set->by_peer, remote, sizeof(*remote), b);
	if (b != NULL) {
		TAILQ_FOREACH(c, &b->conns, peer_entry) {
			if (n < max && c->template == NULL && c->problem.what == NULL && conn_negotiates(c) &&
			    ip_address_equal(&c->ike->local.address, local))
				out[n++] = c->ike;
		}
	}
	b = NULL;
	HASH_FIND(hh, set->by_peer, &any, sizeof(any), b);
	if (b == NULL)
		return n;
	TAILQ_FOREACH(c, &b->conns, peer_entry) {
		if (n >= max || c->problem.what != NULL || !conn_negotiates(c) ||
		    !ip_address_equal(&c->ike->local.address, local))
			continue;
		struct conn *instance = instance_for(c, remote);

		if (instance != NULL)
			out[n++] = instance->ike;
	}
	return n;
}
