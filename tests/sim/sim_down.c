/*
 * `down` and `delete` at every point of an exchange that makes or replaces what they end: what is
 * taken down stays down at both ends, and a connection that shares the IKE SA stays up.
 */
#include "sim.h"

#define SECONDS(n) ((n) * US_PER_S)

enum exchange { CHILD_REKEY, IKE_REKEY, CHILD_CREATE, EXCHANGES };

/** One run of the many: all of it comes from the seed, so that seeds in a row try all there is. */
struct plan {
	enum exchange exchange;
	bool shared;    /* another connection uses the IKE SA */
	bool second;    /* the one that ends did not make the IKE SA */
	bool delete;    /* forgotten, not only taken down */
	unsigned starts, ends; /* nodes */
	uint64_t point; /* how much happens between the start of the exchange and the end */
};

enum { PLANS = 5 * 16, POINTS = 16 };

static struct plan plan_of(uint64_t seed)
{
	uint64_t n = (seed - 1) % PLANS, kind = n / 16;

	return (struct plan){
		.exchange = (enum exchange)(kind % EXCHANGES),
		.shared = kind < EXCHANGES,
		.second = n & 1 && kind < EXCHANGES,
		.delete = n & 2,
		.starts = n >> 2 & 1,
		.ends = n >> 3 & 1,
		.point = (seed - 1) / PLANS,
	};
}

/** The connection that is taken down, at either end; and the one that is not. */
static struct ike_conn *target(struct sim_node *n, const struct plan *p)
{
	return p->second ? n->other : n->conn;
}

static struct ike_conn *survivor(struct sim_node *n, const struct plan *p)
{
	return p->second ? n->conn : n->other;
}

static bool conn_is_up(const struct sim_node *n, const struct ike_conn *c)
{
	return c == n->other ? n->other_up : n->up;
}

static unsigned told(const struct sim_node *n, const struct ike_conn *c, enum ike_event_type type)
{
	return c == n->other ? n->other_told[type] : n->told[type];
}

static size_t halves(const struct sim_node *n, const struct ike_conn *c)
{
	size_t count = 0;

	for (size_t i = 0; i < SIM_HALVES_MAX; i++)
		count += n->halves[i].used && n->halves[i].reqid == c->reqid;
	return count;
}

struct counting {
	const struct ike_conn *conn;
	size_t count;
};

static void count_child(void *context, const struct child_sa_info *info)
{
	struct counting *c = context;

	c->count += info->conn == c->conn;
}

static void count_ike(void *context, const struct ike_sa_info *info)
{
	struct counting *c = context;

	c->count += info->conn == c->conn;
}

static size_t children(struct sim_node *n, const struct ike_conn *conn)
{
	struct counting c = { .conn = conn };

	ike_engine_each_child(n->engine, count_child, &c);
	return c.count;
}

static size_t ikes(struct sim_node *n, const struct ike_conn *conn)
{
	struct counting c = { .conn = conn };

	ike_engine_each_ike(n->engine, count_ike, &c);
	return c.count;
}

/** It is there once, with both halves. */
static bool is_whole(struct sim_node *n, const struct ike_conn *c)
{
	return conn_is_up(n, c) && halves(n, c) == 2 && children(n, c) == 1;
}

static bool is_doubled(struct sim_node *n, const struct ike_conn *c)
{
	return conn_is_up(n, c) && halves(n, c) == 4 && children(n, c) == 2;
}

/** Nothing is left of it. */
static bool is_gone(struct sim_node *n, const struct ike_conn *c)
{
	return !conn_is_up(n, c) && halves(n, c) == 0 && children(n, c) == 0;
}

static bool starting_point(struct sim *s, const struct plan *p, uint64_t dpd_us)
{
	struct sim_node *n = &s->node[p->starts];
	struct ike_conn *first = p->second ? survivor(n, p) : target(n, p);

	for (unsigned i = 0; i < SIM_NODES; i++) {
		s->node[i].conn->dpd_delay_us = dpd_us;
		if (p->shared)
			sim_conn_other(&s->node[i])->dpd_delay_us = dpd_us;
	}
	sim_start(s);
	/* the connection that is to be made finds the IKE SA that the other has made */
	if (p->exchange == CHILD_CREATE)
		first = survivor(n, p);
	sim_conn_up(n, first);
	if (p->shared && p->exchange != CHILD_CREATE) {
		sim_run(s, SECONDS(1));
		sim_conn_up(n, first == n->conn ? n->other : n->conn);
	}
	sim_run(s, SECONDS(20));
	for (unsigned i = 0; i < SIM_NODES; i++) {
		struct sim_node *m = &s->node[i];

		if ((p->exchange != CHILD_CREATE && !is_whole(m, target(m, p))) ||
		    (p->shared && !is_whole(m, survivor(m, p))) || sim_count_ike(m) != 1)
			sim_fail(s, "node %u: not up to begin with", i);
	}
	return !s->failed;
}

static void start_exchange(struct sim_node *n, const struct plan *p, enum exchange what)
{
	sim_trace(n->sim, "%u starts the exchange", n->index);
	if (what == CHILD_REKEY)
		ike_engine_rekey_child(n->engine, target(n, p));
	else if (what == IKE_REKEY)
		ike_engine_rekey_ike(n->engine, target(n, p));
	else
		ike_engine_up(n->engine, target(n, p));
	sim_node_called(n);
}

static void end_target(struct sim *s, const struct plan *p)
{
	struct sim_node *n = &s->node[p->ends];

	if (p->delete)
		n->deleted = target(n, p);
	sim_conn_down(n, target(n, p));
}

static uint64_t steps_left;

static bool step_done(struct sim *s)
{
	(void)s;
	return steps_left-- == 0;
}

/** Until so much has happened; a world that has come to rest stays as it is. */
static void run_to_point(struct sim *s, uint64_t point)
{
	steps_left = point;
	sim_run_until(s, SECONDS(1), step_done);
}

/** The peer asked for it after it was taken down, and nothing forbids that. */
static bool may_be_up(const struct plan *p)
{
	return p->exchange == CHILD_CREATE && p->starts != p->ends && !p->delete;
}

static void check_ended(struct sim *s, const struct plan *p, unsigned ups)
{
	struct sim_node *ender = &s->node[p->ends];

	if (may_be_up(p) && is_whole(ender, target(ender, p)) && is_whole(&s->node[p->starts], target(&s->node[p->starts], p)))
		return;
	SIM_CHECK(s, may_be_up(p) || told(ender, target(ender, p), IKE_EVENT_CHILD_UP) == ups, "it came up again");
	for (unsigned i = 0; i < SIM_NODES; i++) {
		struct sim_node *n = &s->node[i];

		SIM_CHECK(s, is_gone(n, target(n, p)), "node %u: %s, %zu halves and %zu Child SAs of it are left", i,
			  conn_is_up(n, target(n, p)) ? "up" : "down", halves(n, target(n, p)), children(n, target(n, p)));
		SIM_CHECK(s, sim_count_spis(n) == 0, "node %u: %zu SPIs are not given back", i, sim_count_spis(n));
	}
}

/** What shares the IKE SA has seen nothing of it. */
static void check_survivor(struct sim *s, const struct plan *p)
{
	for (unsigned i = 0; i < SIM_NODES; i++) {
		struct sim_node *n = &s->node[i];

		SIM_CHECK(s, is_whole(n, survivor(n, p)), "node %u: the other is %s, %zu halves and %zu Child SAs", i,
			  conn_is_up(n, survivor(n, p)) ? "up" : "down", halves(n, survivor(n, p)), children(n, survivor(n, p)));
		SIM_CHECK(s, told(n, survivor(n, p), IKE_EVENT_CHILD_UP) == 1 &&
			  told(n, survivor(n, p), IKE_EVENT_CHILD_DOWN) == 0, "node %u: the other went down", i);
		SIM_CHECK(s, sim_count_ike(n) == 1, "node %u has %zu IKE SAs", i, sim_count_ike(n));
	}
}

static void check(struct sim *s, const struct plan *p, unsigned ups)
{
	struct sim_node *ender = &s->node[p->ends];

	check_ended(s, p, ups);
	if (s->failed)
		return;
	if (p->shared)
		check_survivor(s, p);
	else
		SIM_CHECK(s, sim_is_empty(s), "SAs are left");
	/* the IKE SA is not that of a connection which is down */
	SIM_CHECK(s, conn_is_up(ender, target(ender, p)) || ikes(ender, target(ender, p)) == 0,
		  "an IKE SA of what is down is left");
}

/* Every plan, at every point. */
static void every_point(struct sim *s)
{
	struct plan p = plan_of(s->seed);
	unsigned ups;

	s->network.delay_min_us = s->network.delay_max_us = US_PER_MS;
	if (!starting_point(s, &p, 0))
		return;
	start_exchange(&s->node[p.starts], &p, p.exchange);
	run_to_point(s, p.point);
	ups = told(&s->node[p.ends], target(&s->node[p.ends], &p), IKE_EVENT_CHILD_UP);
	end_target(s, &p);
	SIM_CHECK(s, sim_run(s, SECONDS(200)), "failed");
	check(s, &p, ups);
}

/* The same over a network that loses, doubles and reorders; by one end, or both. */
static void with_loss(struct sim *s)
{
	struct plan p = plan_of(s->seed);
	unsigned ups;

	if (!starting_point(s, &p, SECONDS(10)))
		return;
	s->network.loss_percent = 25;
	s->network.duplicate_percent = 20;
	s->network.delay_max_us = 200 * US_PER_MS;
	start_exchange(&s->node[p.starts], &p, p.exchange);
	if (p.exchange != CHILD_CREATE && p.point & 1)
		start_exchange(&s->node[1 - p.starts], &p, p.exchange);
	SIM_CHECK(s, sim_run(s, prng_below(&s->chance, SECONDS(1))), "failed");
	ups = told(&s->node[p.ends], target(&s->node[p.ends], &p), IKE_EVENT_CHILD_UP);
	end_target(s, &p);
	SIM_CHECK(s, sim_run(s, SECONDS(30)), "failed");
	s->network.loss_percent = s->network.duplicate_percent = 0;
	SIM_CHECK(s, sim_run(s, SECONDS(200)), "failed");
	check(s, &p, ups);
}

/* Both ends rekey at once: the same kind of SA, or one each (RFC 7296 §2.8, §2.25). */
static void crossing(struct sim *s)
{
	struct plan p = plan_of(s->seed);
	enum exchange other = p.exchange == CHILD_CREATE ? IKE_REKEY : p.exchange;
	unsigned ups;

	if (p.exchange == CHILD_CREATE)
		p.exchange = CHILD_REKEY;
	s->network.delay_min_us = s->network.delay_max_us = US_PER_MS;
	if (!starting_point(s, &p, 0))
		return;
	/* so that either answer may come first */
	s->network.delay_max_us = 4 * US_PER_MS;
	start_exchange(&s->node[p.starts], &p, p.exchange);
	start_exchange(&s->node[1 - p.starts], &p, other);
	run_to_point(s, p.point);
	ups = told(&s->node[p.ends], target(&s->node[p.ends], &p), IKE_EVENT_CHILD_UP);
	end_target(s, &p);
	SIM_CHECK(s, sim_run(s, SECONDS(200)), "failed");
	check(s, &p, ups);
}

/* Taken down by mistake: `up` right behind it has its way. */
static void up_again(struct sim *s)
{
	struct plan p = plan_of(s->seed);
	struct sim_node *n = &s->node[p.ends];

	p.delete = false;
	s->network.delay_min_us = s->network.delay_max_us = US_PER_MS;
	if (!starting_point(s, &p, 0))
		return;
	start_exchange(&s->node[p.starts], &p, p.exchange);
	run_to_point(s, p.point);
	end_target(s, &p);
	run_to_point(s, (s->seed / 7) % 5);
	sim_conn_up(n, target(n, &p));
	SIM_CHECK(s, sim_run(s, SECONDS(200)), "failed");
	for (unsigned i = 0; i < SIM_NODES; i++) {
		n = &s->node[i];
		/* both ends may have asked for it at once: a pair each */
		SIM_CHECK(s, is_whole(n, target(n, &p)) ||
			  (p.exchange == CHILD_CREATE && p.starts != p.ends && is_doubled(n, target(n, &p))), "node %u: not up again: %s, %zu halves and %zu Child SAs", i,
			  conn_is_up(n, target(n, &p)) ? "up" : "down", halves(n, target(n, &p)), children(n, target(n, &p)));
		SIM_CHECK(s, sim_count_spis(n) == 0, "node %u: %zu SPIs are not given back", i, sim_count_spis(n));
	}
	if (p.shared)
		check_survivor(s, &p);
}

int main(int argc, char **argv)
{
	static const struct scenario scenarios[] = {
		{ "down at every point", every_point, PLANS * POINTS },
		{ "down with loss", with_loss, PLANS * 6 },
		{ "down while both rekey", crossing, PLANS * POINTS },
		{ "down and up again", up_again, PLANS * POINTS },
	};

	return sim_main(argc, argv, scenarios, sizeof(scenarios) / sizeof(scenarios[0]));
}
