/* Peers that vanish, come back, and start anew. */
#include "sim.h"

#define SECONDS(n) ((n) * US_PER_S)

static bool begin(struct sim *s)
{
	for (unsigned i = 0; i < SIM_NODES; i++) {
		s->node[i].conn->dpd_delay_us = SECONDS(10);
		s->node[i].conn->dpd_action = DPD_RESTART;
	}
	sim_start(s);
	sim_up(&s->node[0]);
	if (!sim_run_until(s, SECONDS(5), sim_is_up)) {
		sim_fail(s, "not up");
		return false;
	}
	return true;
}

static bool both_down(struct sim *s)
{
	return !s->node[0].up && !s->node[1].up;
}

static bool first_down(struct sim *s)
{
	return !s->node[0].up;
}

/* The network parts them: each notices within dpddelay and the time-out; then it heals. */
static void partition(struct sim *s)
{
	s->packet_interval_us = 500 * US_PER_MS;
	if (!begin(s))
		return;
	SIM_CHECK(s, sim_run(s, SECONDS(30) + prng_below(&s->chance, SECONDS(30))), "failed");
	s->node[0].wanted = s->node[1].wanted = true;
	s->network.cut = true;
	SIM_CHECK(s, sim_run_until(s, SECONDS(10 + 60 + 15), both_down), "not noticed in time");
	SIM_CHECK(s, s->node[0].told[IKE_EVENT_CHILD_DOWN] == 1, "told %u times",
		  s->node[0].told[IKE_EVENT_CHILD_DOWN]);
	SIM_CHECK(s, sim_run(s, SECONDS(200)), "failed");
	s->network.cut = false;
	SIM_CHECK(s, sim_run_until(s, SECONDS(120), sim_is_up), "not up again");
	SIM_CHECK(s, sim_run_until(s, SECONDS(200), sim_is_quiet), "not quiet");
}

static void partition_reason(struct sim *s)
{
	if (!begin(s))
		return;
	s->network.cut = true;
	SIM_CHECK(s, sim_run_until(s, SECONDS(10 + 60 + 15), both_down), "not noticed in time");
	for (unsigned i = 0; i < SIM_NODES; i++)
		SIM_CHECK(s, s->node[i].reason == REASON_DPD, "node %u is down for %s", i,
			  ike_reason_name(s->node[i].reason));
	SIM_CHECK(s, sim_run(s, SECONDS(60)) && sim_is_empty(s), "SAs are left");
}

/* A short break is survived. */
static void short_break(struct sim *s)
{
	s->packet_interval_us = 100 * US_PER_MS;
	if (!begin(s))
		return;
	for (unsigned i = 0; i < 5; i++) {
		s->network.cut = true;
		SIM_CHECK(s, sim_run(s, prng_below(&s->chance, SECONDS(25))), "failed");
		s->network.cut = false;
		SIM_CHECK(s, sim_run(s, SECONDS(60)), "failed");
	}
	for (unsigned i = 0; i < SIM_NODES; i++)
		SIM_CHECK(s, s->node[i].told[IKE_EVENT_CHILD_DOWN] == 0, "node %u went down", i);
	SIM_CHECK(s, sim_run_until(s, SECONDS(60), sim_is_quiet), "not quiet");
}

/* Only silence is probed: a tunnel in use asks no questions, an idle one a few. */
static void probes(struct sim *s)
{
	s->packet_interval_us = 500 * US_PER_MS;
	if (!begin(s))
		return;
	SIM_CHECK(s, sim_run(s, SECONDS(600)), "failed");
	for (unsigned i = 0; i < SIM_NODES; i++)
		SIM_CHECK(s, ike_engine_counters(s->node[i].engine)->dpd_probes <= 3, "node %u: %u probes while busy", i,
			  (unsigned)ike_engine_counters(s->node[i].engine)->dpd_probes);
	s->packet_interval_us = 0;
	SIM_CHECK(s, sim_run(s, SECONDS(600)), "failed");
	{
		uint64_t sum = ike_engine_counters(s->node[0].engine)->dpd_probes +
			       ike_engine_counters(s->node[1].engine)->dpd_probes;

		SIM_CHECK(s, sum >= 30 && sum <= 140, "%u probes while idle", (unsigned)sum);
	}
	SIM_CHECK(s, sim_is_quiet(s), "not quiet");
}

/* The peer's process dies and stays away. */
static void crash(struct sim *s)
{
	s->packet_interval_us = 100 * US_PER_MS;
	if (!begin(s))
		return;
	sim_node_crash(&s->node[1]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(10 + 60 + 15), first_down), "not noticed in time");
	s->node[0].wanted = true;
	sim_node_start(&s->node[1]);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(60), sim_is_up), "not up again");
	SIM_CHECK(s, sim_run_until(s, SECONDS(100), sim_is_quiet), "not quiet");
}

/* A peer that starts anew says INITIAL_CONTACT: the old SAs go at once (RFC 7296 §2.4). */
static void restart(struct sim *s)
{
	unsigned who = s->seed & 1;

	s->packet_interval_us = 100 * US_PER_MS;
	if (!begin(s))
		return;
	SIM_CHECK(s, sim_run(s, prng_below(&s->chance, SECONDS(30))), "failed");
	sim_node_crash(&s->node[who]);
	SIM_CHECK(s, sim_run(s, prng_below(&s->chance, SECONDS(5))), "failed");
	sim_node_start(&s->node[who]);
	sim_up(&s->node[who]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(2), sim_is_up), "not up again");
	SIM_CHECK(s, sim_run(s, SECONDS(1)), "failed");
	SIM_CHECK(s, sim_count_ike(&s->node[1 - who]) == 1, "the old IKE SA is still there");
	SIM_CHECK(s, sim_run_until(s, SECONDS(30), sim_is_quiet), "not quiet");
	SIM_CHECK(s, sim_run(s, SECONDS(100)) && sim_is_quiet(s), "not quiet for long");
}

/* Both die and start, over and over, at any time. */
static void restarts(struct sim *s)
{
	s->network.loss_percent = 10;
	s->network.delay_max_us = 50 * US_PER_MS;
	s->node[0].wanted = s->node[1].wanted = true;
	if (!begin(s))
		return;
	for (unsigned i = 0; i < 10; i++) {
		struct sim_node *n = &s->node[prng_below(&s->chance, 2)];

		SIM_CHECK(s, sim_run(s, prng_below(&s->chance, prng_chance(&s->chance, 50) ? SECONDS(2) : SECONDS(90))),
			  "failed");
		sim_node_crash(n);
		SIM_CHECK(s, sim_run(s, prng_below(&s->chance, SECONDS(10))), "failed");
		sim_node_start(n);
		sim_up(n);
	}
	s->network.loss_percent = 0;
	SIM_CHECK(s, sim_run_until(s, SECONDS(600), sim_is_quiet), "not quiet: %zu %zu, %zu %zu",
		  sim_count_ike(&s->node[0]), sim_count_child(&s->node[0]), sim_count_ike(&s->node[1]),
		  sim_count_child(&s->node[1]));
}

/* The daemon is stopped: its peer is told of everything. */
static void stop(struct sim *s)
{
	if (!begin(s))
		return;
	s->path_up = false;
	ike_engine_shutdown(s->node[0].engine);
	sim_node_crash(&s->node[0]);
	SIM_CHECK(s, sim_run(s, SECONDS(1)), "failed");
	SIM_CHECK(s, !s->node[1].up && s->node[1].reason == REASON_PEER_DELETED, "the peer was not told");
	SIM_CHECK(s, sim_run(s, SECONDS(30)) && sim_is_empty(s), "SAs are left");
}

int main(int argc, char **argv)
{
	static const struct scenario scenarios[] = {
		{ "a partition, and healing", partition, 20 },
		{ "a partition is told as such", partition_reason, 4 },
		{ "short breaks", short_break, 10 },
		{ "probes only when silent", probes, 2 },
		{ "the peer dies", crash, 4 },
		{ "the peer starts anew", restart, 20 },
		{ "both start anew, over and over", restarts, 20 },
		{ "the peer is stopped", stop, 4 },
	};

	return sim_main(argc, argv, scenarios, sizeof(scenarios) / sizeof(scenarios[0]));
}
