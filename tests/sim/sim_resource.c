/* A Child SA for each resource (RFC 9611): loss, rekeys, collisions, deaths, unequal ends. */
#include "sim.h"

#define SECONDS(n) ((n) * US_PER_S)

static void resources(struct sim *s, unsigned a, unsigned b)
{
	s->node[0].conn->resources = (uint16_t)a;
	s->node[1].conn->resources = (uint16_t)b;
}

static void up_of(struct sim *s, unsigned node)
{
	sim_up(&s->node[node]);
}

static bool begin(struct sim *s)
{
	sim_start(s);
	sim_up(&s->node[0]);
	if (sim_run_until(s, SECONDS(30), sim_is_quiet))
		return true;
	sim_fail(s, "not quiet: %zu %zu, %zu %zu", sim_count_ike(&s->node[0]), sim_count_child(&s->node[0]),
		 sim_count_ike(&s->node[1]), sim_count_child(&s->node[1]));
	return false;
}

/* It came up once and stayed so. */
static void check_steady(struct sim *s)
{
	SIM_CHECK(s, sim_run_until(s, SECONDS(300), sim_is_quiet), "not quiet: %zu %zu, %zu %zu",
		  sim_count_ike(&s->node[0]), sim_count_child(&s->node[0]), sim_count_ike(&s->node[1]),
		  sim_count_child(&s->node[1]));
	for (unsigned i = 0; i < SIM_NODES; i++) {
		SIM_CHECK(s, s->node[i].told[IKE_EVENT_CHILD_UP] == 1, "node %u: came up %u times", i,
			  s->node[i].told[IKE_EVENT_CHILD_UP]);
		SIM_CHECK(s, s->node[i].told[IKE_EVENT_CHILD_DOWN] == 0, "node %u: went down", i);
		SIM_CHECK(s, s->node[i].told[IKE_EVENT_FAILED] == 0, "node %u: failed", i);
	}
	SIM_CHECK(s, sim_run(s, SECONDS(200)) && sim_is_quiet(s), "not quiet for long");
}

/* RFC 9611 §3: one for each, made by the initiator; down ends all. */
static void equal(struct sim *s)
{
	resources(s, 4, 4);
	s->packet_interval_us = 5 * US_PER_MS;
	s->network.delay_max_us = 20 * US_PER_MS;
	if (!begin(s))
		return;
	check_steady(s);
	sim_down(&s->node[s->seed & 1]);
	SIM_CHECK(s, sim_run(s, SECONDS(60)), "failed");
	SIM_CHECK(s, sim_is_empty(s), "SAs are left");
	for (unsigned i = 0; i < SIM_NODES; i++)
		SIM_CHECK(s, s->node[i].told[IKE_EVENT_CHILD_DOWN] == 1, "node %u: down %u times", i,
			  s->node[i].told[IKE_EVENT_CHILD_DOWN]);
}

/* Every outbound half is in use once both ends have said something. */
static void all_in_use(struct sim *s)
{
	resources(s, 4, 4);
	if (!begin(s))
		return;
	SIM_CHECK(s, sim_run(s, SECONDS(1)), "failed");
	for (unsigned i = 0; i < SIM_NODES; i++)
		for (unsigned r = 0; r <= 4; r++)
			SIM_CHECK(s, s->node[i].outbound[r], "node %u: resource %u has no outbound SA", i, r);
}

/* The end that has more makes what it lacks; who has one resource or none gets what it always got. */
static void unequal(struct sim *s)
{
	static const unsigned counts[][2] = { { 4, 2 }, { 2, 4 }, { 4, 1 }, { 1, 4 }, { 0, 8 }, { 8, 3 }, { 2, 2 }, { 3, 8 } };

	resources(s, counts[s->seed % 8][0], counts[s->seed % 8][1]);
	s->packet_interval_us = 5 * US_PER_MS;
	s->network.delay_max_us = 20 * US_PER_MS;
	if (begin(s))
		check_steady(s);
}

static void lifetimes(struct sim *s, uint64_t child, uint64_t ike, uint64_t margin)
{
	for (unsigned i = 0; i < SIM_NODES; i++) {
		struct ike_conn *c = s->node[i].conn;

		c->child_lifetime_us = SECONDS(child);
		c->ike_lifetime_us = SECONDS(ike);
		c->rekey_margin_us = SECONDS(margin);
		c->rekey_fuzz_percent = 50;
	}
}

/* Each is rekeyed on its own, and stays with its resource. */
static void day(struct sim *s)
{
	resources(s, 4, 4);
	lifetimes(s, 600, 3600, 90);
	s->packet_interval_us = SECONDS(1);
	s->network.delay_max_us = 100 * US_PER_MS;
	if (!begin(s))
		return;
	SIM_CHECK(s, sim_run(s, SECONDS(86400)), "failed");
	SIM_CHECK(s, ike_engine_counters(s->node[0].engine)->child_rekeyed > 5 * 86400 / 600, "few rekeys");
	check_steady(s);
}

static void day_with_loss(struct sim *s)
{
	resources(s, 4, 4);
	lifetimes(s, 600, 3600, 120);
	s->packet_interval_us = SECONDS(1);
	s->network.loss_percent = 15;
	s->network.duplicate_percent = 5;
	s->network.delay_max_us = 200 * US_PER_MS;
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(60), sim_is_up), "not up");
	SIM_CHECK(s, sim_run(s, SECONDS(21600)), "failed");
	s->network.loss_percent = 0;
	SIM_CHECK(s, sim_run_until(s, SECONDS(300), sim_is_quiet), "not quiet: %zu %zu, %zu %zu",
		  sim_count_ike(&s->node[0]), sim_count_child(&s->node[0]), sim_count_ike(&s->node[1]),
		  sim_count_child(&s->node[1]));
}

static void rekey(struct sim *s, unsigned what)
{
	struct sim_node *n = &s->node[what & 1];

	sim_trace(s, "%u rekeys %s", n->index, what & 2 ? "IKE" : "Child");
	if (what & 2)
		ike_engine_rekey_ike(n->engine, n->conn);
	else
		ike_engine_rekey_child(n->engine, n->conn);
	sim_node_called(n);
}

/* The command is for all of them, and its event comes when the last is done. */
static void by_command(struct sim *s)
{
	struct sim_node *n = &s->node[s->seed & 1];

	resources(s, 4, 4);
	s->packet_interval_us = 5 * US_PER_MS;
	if (!begin(s))
		return;
	SIM_CHECK(s, sim_run(s, SECONDS(1)), "failed");
	rekey(s, n->index);
	while (n->told[IKE_EVENT_CHILD_REKEYED] == 0 && sim_run(s, US_PER_MS))
		;
	SIM_CHECK(s, ike_engine_counters(n->engine)->child_rekeyed == 5, "%u rekeyed",
		  (unsigned)ike_engine_counters(n->engine)->child_rekeyed);
	SIM_CHECK(s, sim_run(s, SECONDS(30)), "failed");
	SIM_CHECK(s, n->told[IKE_EVENT_CHILD_REKEYED] == 1, "told %u times", n->told[IKE_EVENT_CHILD_REKEYED]);
	check_steady(s);
}

/* Rekeys of both kinds and from both ends while the SAs are made, and later. */
static void collide(struct sim *s)
{
	resources(s, 4, s->seed % 3 ? 4 : 6);
	s->packet_interval_us = 5 * US_PER_MS;
	s->network.delay_min_us = US_PER_MS;
	s->network.delay_max_us = (1 + prng_below(&s->chance, 30)) * US_PER_MS;
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(10), sim_is_up), "not up");
	for (unsigned i = 0; i < 8; i++) {
		for (unsigned n = 2 + (unsigned)prng_below(&s->chance, 3); n > 0; n--)
			sim_at(s, prng_below(&s->chance, 80 * US_PER_MS), rekey, (unsigned)prng_below(&s->chance, 4));
		SIM_CHECK(s, sim_run(s, prng_below(&s->chance, SECONDS(4))), "failed");
	}
	check_steady(s);
}

/* Both ends initiate, and so both make SAs for their resources. */
static void both(struct sim *s)
{
	resources(s, 4, 4);
	s->network.delay_min_us = US_PER_MS;
	s->network.delay_max_us = (1 + prng_below(&s->chance, 50)) * US_PER_MS;
	s->packet_interval_us = 10 * US_PER_MS;
	sim_start(s);
	sim_at(s, prng_below(&s->chance, 100 * US_PER_MS), up_of, 0);
	sim_at(s, prng_below(&s->chance, 100 * US_PER_MS), up_of, 1);
	SIM_CHECK(s, sim_run_until(s, SECONDS(2), sim_is_up), "not up");
	SIM_CHECK(s, sim_run_until(s, SECONDS(200), sim_is_quiet), "not quiet: %zu %zu, %zu %zu",
		  sim_count_ike(&s->node[0]), sim_count_child(&s->node[0]), sim_count_ike(&s->node[1]),
		  sim_count_child(&s->node[1]));
	SIM_CHECK(s, sim_run(s, SECONDS(100)) && sim_is_quiet(s), "not quiet for long");
}

static void storm(struct sim *s)
{
	resources(s, 4, 4);
	s->network.loss_percent = 30;
	s->network.duplicate_percent = 20;
	s->network.delay_max_us = 500 * US_PER_MS;
	lifetimes(s, 240, 700, 90);
	for (unsigned i = 0; i < SIM_NODES; i++) {
		s->node[i].wanted = true;
		s->node[i].conn->dpd_delay_us = SECONDS(10);
		s->node[i].conn->dpd_action = DPD_RESTART;
	}
	sim_start(s);
	sim_up(&s->node[0]);
	sim_up(&s->node[1]);
	SIM_CHECK(s, sim_run(s, SECONDS(1800)), "failed");
	s->network.loss_percent = s->network.duplicate_percent = 0;
	s->network.delay_max_us = US_PER_MS;
	SIM_CHECK(s, sim_run_until(s, SECONDS(500), sim_is_quiet), "not quiet: %zu %zu, %zu %zu",
		  sim_count_ike(&s->node[0]), sim_count_child(&s->node[0]), sim_count_ike(&s->node[1]),
		  sim_count_child(&s->node[1]));
}

/* The hard limit of a single one ends it alone: it is made anew, and traffic goes on meanwhile. */
static void lost(struct sim *s)
{
	struct sim_node *n = &s->node[s->seed & 1];
	unsigned r = 1 + (s->seed >> 1) % 4;

	resources(s, 4, 4);
	if (!begin(s))
		return;
	SIM_CHECK(s, sim_run(s, SECONDS(1)), "failed");
	s->path_up = false; /* what the peer sends until it knows is lost */
	ike_engine_expire(n->engine, n->outbound[r]->spi, SA_OUT, true);
	sim_node_called(n);
	SIM_CHECK(s, sim_run(s, SECONDS(10)) && !n->outbound[r], "still there");
	s->packet_interval_us = 10 * US_PER_MS;
	check_steady(s);
}

/* The fallback ends: the group does, as one connection that went down. */
static void lost_fallback(struct sim *s)
{
	struct sim_node *n = &s->node[s->seed & 1];

	resources(s, 4, 4);
	s->node[0].wanted = true;
	if (!begin(s))
		return;
	SIM_CHECK(s, sim_run(s, SECONDS(1)), "failed");
	s->path_up = false;
	ike_engine_expire(n->engine, n->outbound[0]->spi, SA_OUT, true);
	sim_node_called(n);
	SIM_CHECK(s, sim_run_until(s, SECONDS(60), sim_is_quiet), "not quiet again: %zu %zu, %zu %zu",
		  sim_count_ike(&s->node[0]), sim_count_child(&s->node[0]), sim_count_ike(&s->node[1]),
		  sim_count_child(&s->node[1]));
	for (unsigned i = 0; i < SIM_NODES; i++)
		SIM_CHECK(s, s->node[i].told[IKE_EVENT_CHILD_DOWN] == 1 && s->node[i].told[IKE_EVENT_CHILD_UP] == 2,
			  "node %u: down %u times, up %u", i, s->node[i].told[IKE_EVENT_CHILD_DOWN],
			  s->node[i].told[IKE_EVENT_CHILD_UP]);
}

/* A process dies and comes again, at any moment. */
static void crash(struct sim *s)
{
	struct sim_node *n = &s->node[s->seed & 1];

	resources(s, 4, 4);
	for (unsigned i = 0; i < SIM_NODES; i++) {
		s->node[i].wanted = true;
		s->node[i].conn->dpd_delay_us = SECONDS(5);
		s->node[i].conn->retransmit_timeout_us = SECONDS(20);
	}
	s->network.delay_max_us = 20 * US_PER_MS;
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(10), sim_is_up), "not up");
	SIM_CHECK(s, sim_run(s, prng_below(&s->chance, 200 * US_PER_MS)), "failed");
	sim_node_crash(n);
	SIM_CHECK(s, sim_run(s, prng_below(&s->chance, SECONDS(40))), "failed");
	sim_node_start(n);
	sim_up(n);
	SIM_CHECK(s, sim_run_until(s, SECONDS(300), sim_is_quiet), "not quiet: %zu %zu, %zu %zu",
		  sim_count_ike(&s->node[0]), sim_count_child(&s->node[0]), sim_count_ike(&s->node[1]),
		  sim_count_child(&s->node[1]));
}

static void down(struct sim *s, unsigned node)
{
	sim_down(&s->node[node]);
}

/* Down while they are being made. */
static void down_early(struct sim *s)
{
	resources(s, 4, 5);
	s->network.delay_min_us = US_PER_MS;
	s->network.delay_max_us = 20 * US_PER_MS;
	sim_start(s);
	sim_up(&s->node[0]);
	sim_at(s, prng_below(&s->chance, SECONDS(4)) / (1 + s->seed % 20), down, s->seed & 1);
	SIM_CHECK(s, sim_run(s, SECONDS(150)), "failed");
	SIM_CHECK(s, s->node[0].up || sim_is_empty(s), "SAs are left: %zu %zu, %zu %zu", sim_count_ike(&s->node[0]),
		  sim_count_child(&s->node[0]), sim_count_ike(&s->node[1]), sim_count_child(&s->node[1]));
}

int main(int argc, char **argv)
{
	static const struct scenario scenarios[] = {
		{ "one for each resource", equal, 10 },
		{ "all outbound halves in use", all_in_use, 4 },
		{ "unequal ends", unequal, 32 },
		{ "a day", day, 2 },
		{ "six hours with loss", day_with_loss, 4 },
		{ "rekeyed by command", by_command, 4 },
		{ "rekeys against each other", collide, 60 },
		{ "both ends initiate", both, 60 },
		{ "half an hour of storm", storm, 10 },
		{ "one is lost", lost, 8 },
		{ "the fallback is lost", lost_fallback, 4 },
		{ "an end dies", crash, 40 },
		{ "down while they are made", down_early, 60 },
	};

	return sim_main(argc, argv, scenarios, sizeof(scenarios) / sizeof(scenarios[0]));
}
