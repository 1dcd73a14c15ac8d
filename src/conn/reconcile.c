/*
 * The reconciler: what is wanted against what there is, policies first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "conn/set.h"
#include "sa/backend.h"

/* --- policies ------------------------------------------------------------------------------ */

/* The policy that there should be; false: none. */
static bool policy_wanted(const struct conn *c, enum policy_action *out)
{
	const struct conn_config *config = c->config;
	bool asked = c->want_up != WISH_NO || c->once;

	if (c->problem.what != NULL || conn_is_template(c))
		return false;
	if (c->ike == NULL) {
		struct ts_list local, remote;

		*out = POLICY_DROP;
		return conn_negotiates(c) && (asked || c->routed != WISH_NO) &&
		       config->negotiation_shunt != SHUNT_PASS &&
		       orient_selectors(config, &c->orientation, &local, &remote);
	}
	if (!conn_negotiates(c)) {
		*out = config->type == CONN_PASS ? POLICY_PASS : POLICY_DROP;
		return c->want_up != WISH_NO || c->routed != WISH_NO;
	}
	*out = POLICY_PROTECT;
	if (c->phase == CONN_UP)
		return true;
	if (asked || c->phase == CONN_TRYING) {
		/* in the clear only where it is written: negotiationshunt=passthrough, failureshunt= */
		if ((c->attempts > 0 ? config->failure_shunt : config->negotiation_shunt) == SHUNT_PASS)
			*out = POLICY_PASS;
		return true;
	}
	if (c->routed != WISH_NO || c->held) {
		*out = POLICY_TRAP;
		return true;
	}
	return c->protect;
}

static void policy_fill(const struct conn *c, enum policy_action action, struct sa_policy *p)
{
	const struct ike_conn *ike = c->ike;

	memset(p, 0, sizeof(*p));
	p->reqid = c->reqid;
	snprintf(p->conn, sizeof(p->conn), "%s", c->name);
	p->action = action;
	p->priority = c->config->priority;
	if (ike == NULL) {
		p->local = c->orientation.local;
		orient_selectors(c->config, &c->orientation, &p->local_ts, &p->remote_ts);
		return;
	}
	p->mode = ike->mode;
	p->local_ts = c->narrowed_local != NULL ? *c->narrowed_local : ike->local_ts;
	p->remote_ts = c->narrowed_remote != NULL ? *c->narrowed_remote : ike->remote_ts;
	p->local = ike->local.address;
	p->remote = ike->remote.address;
	p->mark_in = ike->mark_in;
	p->mark_in_mask = ike->mark_in_mask;
	p->mark_out = ike->mark_out;
	p->mark_out_mask = ike->mark_out_mask;
	p->mtu = c->config->mtu;
	p->source_ip = orient_local(c->config, c->orientation.left_is_local)->source_ip;
}

void conn_widen(struct conn *c)
{
	free(c->narrowed_local);
	free(c->narrowed_remote);
	c->narrowed_local = c->narrowed_remote = NULL;
}

void conn_policy_forget(struct conn *c)
{
	if (c->policy_installed)
		c->set->host->policy_remove(c->set->host->context, c->reqid);
	c->policy_installed = false;
	conn_widen(c);
}

bool conn_policy_apply(struct conn *c, char *err)
{
	enum policy_action action = POLICY_TRAP;

	if (!policy_wanted(c, &action)) {
		conn_policy_forget(c);
		c->policy_stale = c->policy_failed = false;
		return true;
	}
	if (c->policy_installed && !c->policy_stale && c->policy_action == action)
		return true;
	struct sa_policy policy;
	policy_fill(c, action, &policy);
	c->policy_failed = !c->set->host->policy_set(c->set->host->context, &policy, err);
	if (c->policy_failed)
		return false;
	c->policy_installed = true;
	c->policy_stale = false;
	c->policy_action = action;
	return true;
}

static bool narrower(const struct ts_list *sa, const struct ts_list *ours)
{
	return !ts_list_equal(sa, ours);
}

/* Traffic selectors of the SA in place of ours; both copies or none. */
static void conn_narrow(struct conn *c, const struct child_sa *sa)
{
	struct ts_list *local = malloc(sizeof(*local)), *remote = malloc(sizeof(*remote));

	if (local == NULL || remote == NULL) {
		free(local);
		free(remote);
		return;
	}
	*local = sa->local_ts;
	*remote = sa->remote_ts;
	free(c->narrowed_local);
	free(c->narrowed_remote);
	c->narrowed_local = local;
	c->narrowed_remote = remote;
	c->policy_stale = true;
}

bool conn_child_adding(struct conn *c, const struct child_sa *sa, char *err)
{
	/* what was left open to the peer is settled by the SA: the policy follows it */
	bool open = c->template != NULL || c->ike->narrowing;
	const struct ts_list *local = c->narrowed_local != NULL ? c->narrowed_local : &c->ike->local_ts;
	const struct ts_list *remote = c->narrowed_remote != NULL ? c->narrowed_remote : &c->ike->remote_ts;

	if (open && (narrower(&sa->local_ts, local) || narrower(&sa->remote_ts, remote)))
		conn_narrow(c, sa);
	c->protect = true;
	enum conn_phase phase = c->phase;
	c->phase = CONN_UP; /* the policy of an SA that is there */
	bool ok = conn_policy_apply(c, err);
	c->phase = phase;
	return ok;
}

/* --- negotiations -------------------------------------------------------------------------- */

/* No secret: known before a packet is sent. */
static bool key_missing(struct conn *c)
{
	const struct conn_host *host = c->set->host;
	struct text why = { 0 };

	if (host->has_key(host->context, c->ike, &why))
		return false;
	conn_say(c, LOG_LEVEL_ERROR, "%s", text_str(&why));
	conn_fail(c, failure_new(c->name, c->config, REASON_NO_SECRET, "secrets", text_str(&why), NULL,
				 host->wall_s(host->context)),
		  true);
	text_free(&why);
	return true;
}

static void conn_start(struct conn *c)
{
	const struct conn_host *host = c->set->host;

	if (key_missing(c))
		return;
	c->phase = CONN_TRYING;
	c->tried_us = host->now_us(host->context);
	if (host->up(host->context, c->ike) == IKE_UP_ALREADY) {
		c->phase = CONN_UP;
		c->once = false;
		host->came_up(host->context, c);
	}
	/* otherwise events have told, or will tell, how it went */
}

static void conn_policy_failed(struct conn *c, const char *err)
{
	const struct conn_host *host = c->set->host;

	conn_say(c, LOG_LEVEL_ERROR, "cannot install the policy: %s", err);
	conn_fail(c, failure_new(c->name, c->config, REASON_BACKEND, "policy", err, NULL,
				 host->wall_s(host->context)),
		  true);
	/* whatever is wanted: not in the very next turn, and the next, and the next */
	if (!c->retry.armed)
		timer_arm(c->set->wheel, &c->retry, host->now_us(host->context) + CONN_RETRY_STEP_S * US_PER_S);
}

/* A thousand connections at the start do not all begin in the same turn of the loop. */
static bool burst_is_over(struct conn_set *set)
{
	uint64_t now = set->host->now_us(set->host->context);

	if (now - set->burst_us >= CONN_BURST_MS * US_PER_MS) {
		set->burst_us = now;
		set->burst = 0;
	}
	return set->burst++ >= CONN_BURST;
}

static void conn_reconcile(struct conn *c)
{
	char err[BACKEND_ERROR_TEXT] = "";

	if (c->policy_failed && c->retry.armed)
		return;
	/* nothing may leak: without the policy no SA is asked for */
	if (!conn_policy_apply(c, err)) {
		conn_policy_failed(c, err);
		return;
	}
	if (c->ike == NULL || c->problem.what != NULL || !conn_negotiates(c) || conn_is_template(c))
		return;
	if (c->phase != CONN_IDLE || c->retry.armed || (c->want_up == WISH_NO && !c->once))
		return;
	if (c->orientation.state != ORIENT_YES || c->set->hold)
		return;
	if (burst_is_over(c->set))
		timer_arm(c->set->wheel, &c->retry, c->set->burst_us + CONN_BURST_MS * US_PER_MS);
	else
		conn_start(c);
}

/* An instance whose peer never came, or is gone, goes; what the engine still uses waits. */
static bool instance_over(struct conn *c)
{
	if (c->template == NULL || c->phase != CONN_IDLE || c->retry.armed)
		return false;
	if (c->ike == NULL || c->ike->refs == 1)
		return true;
	timer_arm(c->set->wheel, &c->retry,
		  c->set->host->now_us(c->set->host->context) + CONN_INSTANCE_IDLE_S * US_PER_S);
	return false;
}

void conn_retry_due(struct timer *timer, void *context)
{
	struct conn *c = context;

	(void)timer;
	conn_mark(c);
}

void conn_set_hold(struct conn_set *set, bool hold)
{
	struct conn *c;

	set->hold = hold;
	TAILQ_FOREACH(c, &set->conns, entry)
		conn_mark(c);
}

uint64_t conn_set_reconcile(struct conn_set *set)
{
	const struct conn_host *host = set->host;
	struct conn *c;

	timer_wheel_advance(set->wheel, host->now_us(host->context));
	/* those that mark themselves meanwhile wait for the next call: each is looked at once */
	struct conn_list work = TAILQ_HEAD_INITIALIZER(work);
	TAILQ_CONCAT(&work, &set->dirty, dirty_entry);
	while ((c = TAILQ_FIRST(&work)) != NULL) {
		TAILQ_REMOVE(&work, c, dirty_entry);
		c->dirty = false;
		if (instance_over(c))
			conn_delete(c);
		else
			conn_reconcile(c);
	}
	return TAILQ_EMPTY(&set->dirty) ? timer_wheel_next_us(set->wheel) : host->now_us(host->context);
}

/* --- commands ------------------------------------------------------------------------------ */

static void __attribute__((format(printf, 4, 5)))
refuse(struct conn_reply *reply, enum conn_rc rc, enum ike_reason reason, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reply->text, sizeof(reply->text), format, args);
	va_end(args);
	reply->rc = rc;
	reply->reason = reason;
}

/* It can be routed at all; else `reply` says why not. */
static bool conn_usable(const struct conn *c, struct conn_reply *reply)
{
	memset(reply, 0, sizeof(*reply));
	if (c->problem.what != NULL) {
		refuse(reply, CONN_RC_FATAL, REASON_INTERNAL, "\"%s\": set aside: %s:%u: %s", c->name,
		       c->problem.file ? c->problem.file : "?", c->problem.line, c->problem.what);
		return false;
	}
	if (c->ike == NULL || c->orientation.state != ORIENT_YES) {
		refuse(reply, CONN_RC_ORIENT, REASON_NO_CONNECTION, "\"%s\": we cannot identify ourselves: %s",
		       c->name, c->orientation.text);
		return false;
	}
	if (conn_is_template(c)) {
		refuse(reply, CONN_RC_NO_PEER, REASON_NO_CONNECTION,
		       "\"%s\": cannot initiate connection without knowing peer IP address", c->name);
		return false;
	}
	return true;
}

void conn_up(struct conn *c, struct conn_reply *reply)
{
	if (!conn_usable(c, reply))
		return;
	const struct conn_host *host = c->set->host;

	/* an attempt that waits long between retransmissions is not what `up` asks for */
	if (c->phase == CONN_TRYING && host->now_us(host->context) - c->tried_us >= CONN_FRESH_S * US_PER_S) {
		host->down(host->context, c->ike, REASON_ADMIN);
		c->phase = CONN_IDLE;
	}
	c->want_up = WISH_COMMAND;
	c->attempts = 0;
	timer_cancel(c->set->wheel, &c->retry);
	conn_mark(c);
}

void conn_down(struct conn *c)
{
	c->want_up = WISH_NO;
	c->once = false;
	c->protect = c->held = false;
	c->attempts = 0;
	timer_cancel(c->set->wheel, &c->retry);
	if (c->ike != NULL)
		c->set->host->down(c->set->host->context, c->ike, REASON_ADMIN);
	c->phase = CONN_IDLE;
	conn_mark(c);
}

void conn_route(struct conn *c, struct conn_reply *reply)
{
	char err[BACKEND_ERROR_TEXT] = "";

	if (!conn_usable(c, reply))
		return;
	enum conn_wish before = c->routed;
	c->routed = WISH_COMMAND;
	if (conn_policy_apply(c, err))
		return;
	c->routed = before;
	refuse(reply, CONN_RC_ROUTE, REASON_BACKEND, "\"%s\": cannot install the policy: %s", c->name, err);
}

void conn_unroute(struct conn *c)
{
	c->routed = WISH_NO;
	conn_down(c);
}

void conn_set_retry_now(struct conn_set *set)
{
	struct conn *c;

	TAILQ_FOREACH(c, &set->conns, entry) {
		if (c->template != NULL || !c->retry.armed)
			continue;
		timer_cancel(set->wheel, &c->retry);
		conn_mark(c);
	}
}

void conn_set_acquire(struct conn_set *set, uint32_t reqid)
{
	struct conn *c = conn_set_by_reqid(set, reqid);
	enum policy_action action = POLICY_DROP;

	if (c == NULL || c->phase != CONN_IDLE || c->template != NULL)
		return;
	/* a packet that came between the end of the SA and that of the policy must not undo `down` */
	if (!policy_wanted(c, &action) || (action != POLICY_TRAP && action != POLICY_PROTECT))
		return;
	c->once = true;
	conn_mark(c);
}

void conn_set_policy_failed(struct conn_set *set, uint32_t reqid, const char *why)
{
	struct conn *c = conn_set_by_reqid(set, reqid);

	if (c == NULL || !c->policy_installed)
		return;
	c->policy_installed = false;
	c->policy_failed = true;
	conn_policy_failed(c, why);
}
