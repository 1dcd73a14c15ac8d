/* Groups of Child SAs, one for each resource: RFC 9611. */
#include "ike/resource.h"

#include <stdio.h>

#include "ike/internal.h"

#define RESOURCE_TURN_US (2 * US_PER_S)    /* the peer has made what it lacks when it asks for no more */
#define RESOURCE_RETRY_US (3 * US_PER_S)   /* after TEMPORARY_FAILURE */
#define RESOURCE_REVIVE_US (30 * US_PER_S) /* one that was lost, which a peer may have thought idle */

static bool counts(const struct child *c)
{
	return c->state == CHILD_STATE_ESTABLISHED && c->counted && !c->redundant;
}

struct child *resource_fallback(struct ike_engine *e, const struct child *c)
{
	struct ike_sa *sa = ike_sa_by_id(e, c->ike_id);
	struct child *other;

	if (sa && c->group)
		TAILQ_FOREACH(other, &sa->children, of_ike)
			if (other->group == c->group && !other->sa.resource && counts(other))
				return other;
	return NULL;
}

/** How many SAs each of our resources has in the group of `fallback`; returns the sum. */
static size_t loads(const struct ike_sa *sa, const struct child *fallback, size_t load[RESOURCES_MAX + 1])
{
	const struct child *c;
	size_t sum = 0;

	for (size_t i = 0; i <= RESOURCES_MAX; i++)
		load[i] = 0;
	TAILQ_FOREACH(c, &sa->children, of_ike)
		if (c->group == fallback->group && c->sa.resource && counts(c)) {
			load[c->sa.resource]++;
			sum++;
		}
	return sum;
}

static uint16_t resources_of(const struct child *fallback)
{
	return fallback->conn->resources < RESOURCES_MAX ? fallback->conn->resources : RESOURCES_MAX;
}

/** The first of our resources that has no SA; 0: none. */
static uint16_t lacking(const struct ike_sa *sa, const struct child *fallback)
{
	size_t load[RESOURCES_MAX + 1];

	loads(sa, fallback, load);
	for (uint16_t r = 1; r <= resources_of(fallback); r++)
		if (!load[r])
			return r;
	return 0;
}

void resource_put(struct message_builder *b, const struct child *c)
{
	uint8_t id[2];
	struct writer w = writer_new(id, sizeof(id));

	if (!c->group && !resource_wanted(c->conn))
		return;
	/* §5.1: the data are for debugging, and must tell the SAs of a group apart */
	if (c->sa.resource)
		writer_u16(&w, c->sa.resource);
	builder_notify(b, N_SA_RESOURCE_INFO, 0, BYTES(NULL, 0), writer_bytes(&w));
}

void resource_agree(struct child *c, const struct message *m)
{
	if (!c->group && resource_wanted(c->conn) && message_notify(m, N_SA_RESOURCE_INFO))
		c->group = c->sa.id;
}

/** In `us` look at what the group of `fallback` lacks. */
static void arm(struct ike_engine *e, struct child *fallback, uint64_t us)
{
	timer_arm(e->wheel, &fallback->resource_timer, e->now + us);
}

/** One request at a time: what the peer makes meanwhile need not be made. */
static bool ask_for_next(struct ike_engine *e, struct ike_sa *sa, struct child *fallback)
{
	if (fallback->resource_full || !ike_sa_is_up(sa) || !lacking(sa, fallback))
		return false;
	return task_find(sa, TASK_RESOURCE_CREATE, fallback->sa.id) ||
	       task_add(e, sa, TASK_RESOURCE_CREATE, NULL, fallback->sa.id);
}

void resource_established(struct ike_engine *e, struct ike_sa *sa, struct child *c)
{
	struct child *fallback = resource_fallback(e, c);

	if (!fallback)
		return;
	if (!c->initiator) {
		arm(e, fallback, RESOURCE_TURN_US);
		return;
	}
	/* the last one: its peer sends on it when it knows that we have the answer */
	if (!ask_for_next(e, sa, fallback) && c->sa.resource && !task_find(sa, TASK_PROBE, 0))
		task_add(e, sa, TASK_PROBE, NULL, 0);
}

void resource_inherit(struct ike_engine *e, struct child *old, struct child *c)
{
	c->group = old->group;
	c->resource_full = old->resource_full;
	timer_cancel(e->wheel, &old->resource_timer);
	if (c->group && !c->sa.resource)
		arm(e, c, RESOURCE_TURN_US);
}

/** The rest of a group without fallback. */
static void end_group(struct ike_engine *e, struct ike_sa *sa, const struct child *fallback, enum ike_reason reason)
{
	struct child *c, *next;

	TAILQ_FOREACH_SAFE(c, &sa->children, of_ike, next)
		if (c != fallback && c->group == fallback->group)
			child_delete(e, sa, c, reason, true);
}

void resource_lost(struct ike_engine *e, struct ike_sa *sa, struct child *c, enum ike_reason reason)
{
	struct child *fallback;

	if (!c->group || c->redundant || c->replaced_by)
		return;
	if (!c->sa.resource) {
		timer_cancel(e->wheel, &c->resource_timer);
		end_group(e, sa, c, reason);
		return;
	}
	fallback = resource_fallback(e, c);
	if (!fallback)
		return;
	fallback->resource_full = false; /* there was room for this one */
	arm(e, fallback, sa->initiator ? RESOURCE_REVIVE_US : RESOURCE_REVIVE_US + RESOURCE_RETRY_US);
}

void resource_due(struct timer *t, void *context)
{
	struct ike_engine *e = context;
	struct child *c = (struct child *)((char *)t - offsetof(struct child, resource_timer));
	struct ike_sa *sa = ike_sa_by_id(e, c->ike_id);

	if (sa && resource_fallback(e, c) == c)
		ask_for_next(e, sa, c);
}

/* Responder */

struct child *resource_request(struct ike_sa *sa, const struct message *m)
{
	struct child *c;

	if (!message_notify(m, N_SA_RESOURCE_INFO) || message_notify(m, N_REKEY_SA))
		return NULL;
	TAILQ_FOREACH(c, &sa->children, of_ike)
		if (c->group && !c->sa.resource && counts(c) &&
		    ts_list_contains(&m->tsi, &c->sa.remote_ts) && ts_list_contains(&m->tsr, &c->sa.local_ts))
			return c;
	return NULL;
}

/** The resource whose SA we are asking the peer for, 0: none. */
static uint16_t asked_for(struct ike_engine *e, const struct ike_sa *sa, const struct child *fallback)
{
	const struct task *t = sa->active;
	const struct child *c = t && t->type == TASK_RESOURCE_CREATE ? child_by_id(e, t->new_id) : NULL;

	return c && c->group == fallback->group ? c->sa.resource : 0;
}

uint16_t resource_choose(struct ike_engine *e, struct ike_sa *sa, const struct child *fallback, uint16_t *notify)
{
	uint16_t ours = asked_for(e, sa, fallback), best = 0;
	size_t load[RESOURCES_MAX + 1];
	bool last;

	/* not NO_ADDITIONAL_SAS, which would mean other selectors too */
	*notify = N_TS_MAX_QUEUE;
	if (loads(sa, fallback, load) >= RESOURCES_MAX)
		return 0;
	last = ours && !load[ours];
	load[ours] += ours != 0;
	for (uint16_t r = 1; r <= resources_of(fallback); r++)
		if (!best || load[r] < load[best])
			best = r;
	if (!last || !load[best])
		return best;
	/* both ends ask for the last one at once: one of the two requests is enough, and both know which */
	*notify = N_TEMPORARY_FAILURE;
	return sa->initiator ? 0 : ours;
}

/* Initiator */

bool resource_start(struct ike_engine *e, struct ike_sa *sa, struct task *t)
{
	struct child *fallback = child_by_id(e, t->child_id), *c;
	char err[256] = "no memory";
	uint16_t r;

	if (!fallback || resource_fallback(e, fallback) != fallback || fallback->ike_id != sa->id ||
	    fallback->resource_full)
		return false;
	if (sa->redundant) {
		arm(e, fallback, RESOURCE_REVIVE_US); /* unless it goes, as it should */
		return false;
	}
	r = lacking(sa, fallback);
	if (!r)
		return false;
	c = child_new(e, sa, fallback->conn, r, err);
	if (c) {
		c->group = fallback->group;
		c->sa.local_ts = fallback->sa.local_ts;
		c->sa.remote_ts = fallback->sa.remote_ts;
		t->first = fallback->sa.suite;
		t->has_first = true;
	}
	if (!c || !child_send_request(e, sa, t, c, NULL)) {
		child_could_not_start(e, sa, t, c, fallback->conn, err);
		resource_refused(e, sa, t, 0);
		return false;
	}
	t->new_id = c->sa.id;
	event_debug(e, ABOUT_CHILD(sa, c), "sent CREATE_CHILD_SA request for a Child SA of resource %u", r);
	return true;
}

bool resource_useful(struct ike_engine *e, const struct ike_sa *sa, const struct child *c)
{
	struct child *fallback = resource_fallback(e, c);
	size_t load[RESOURCES_MAX + 1];

	if (!fallback)
		return false;
	loads(sa, fallback, load);
	return !load[c->sa.resource];
}

void resource_refused(struct ike_engine *e, struct ike_sa *sa, const struct task *t, uint16_t notify)
{
	struct child *c = child_by_id(e, t->child_id), *fallback;

	/* it may have been rekeyed meanwhile */
	while (c && c->replaced_by)
		c = child_by_id(e, c->replaced_by);
	fallback = c ? resource_fallback(e, c) : NULL;
	if (!fallback)
		return;
	if (notify == N_TEMPORARY_FAILURE) {
		arm(e, fallback, RESOURCE_RETRY_US + engine_random_below(e, RESOURCE_RETRY_US));
		return;
	}
	fallback->resource_full = true;
	event_progress(e, ABOUT_CHILD(sa, fallback), "no more Child SAs are made for single resources");
}
