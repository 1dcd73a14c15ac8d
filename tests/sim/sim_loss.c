/* Bringing a tunnel up, and keeping it, over a bad network. */
#include "sim.h"

#define SECONDS(n) ((n) * US_PER_S)

static void network_heals(struct sim *s)
{
	s->network.loss_percent = s->network.duplicate_percent = 0;
	s->network.delay_max_us = s->network.delay_min_us + US_PER_MS;
}

/* 30 % of the datagrams are lost: it comes up, and there is one of each SA. */
static void loss(struct sim *s)
{
	s->network.loss_percent = 30;
	s->network.duplicate_percent = 10;
	s->network.delay_max_us = 300 * US_PER_MS;
	s->packet_interval_us = 100 * US_PER_MS;
	s->node[0].wanted = true;
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(600), sim_is_up), "not up in ten minutes");
	SIM_CHECK(s, sim_run(s, SECONDS(60)), "failed");
	network_heals(s);
	SIM_CHECK(s, sim_run_until(s, SECONDS(200), sim_is_quiet), "not quiet");
}

/* Nothing is lost, but all comes twice and in any order: no retry of the attempt is needed. */
static void reordered(struct sim *s)
{
	s->network.duplicate_percent = 100;
	s->network.delay_min_us = US_PER_MS;
	s->network.delay_max_us = 400 * US_PER_MS;
	s->packet_interval_us = 20 * US_PER_MS;
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(10), sim_is_up), "not up");
	for (unsigned i = 0; i < 6; i++) {
		struct sim_node *n = &s->node[prng_below(&s->chance, 2)];

		if (prng_chance(&s->chance, 50))
			ike_engine_rekey_child(n->engine, n->conn);
		else
			ike_engine_rekey_ike(n->engine, n->conn);
		sim_node_called(n);
		SIM_CHECK(s, sim_run(s, prng_below(&s->chance, SECONDS(6))), "failed");
	}
	SIM_CHECK(s, s->node[0].told[IKE_EVENT_FAILED] == 0, "an attempt failed");
	network_heals(s);
	SIM_CHECK(s, sim_run_until(s, SECONDS(120), sim_is_quiet), "not quiet");
}

/* A worse network yet, both ends want it up, and rekeys are frequent. */
static void stormy(struct sim *s)
{
	s->network.loss_percent = 40;
	s->network.duplicate_percent = 20;
	s->network.delay_max_us = 800 * US_PER_MS;
	for (unsigned i = 0; i < SIM_NODES; i++) {
		struct ike_conn *c = s->node[i].conn;

		s->node[i].wanted = true;
		c->child_lifetime_us = SECONDS(120);
		c->ike_lifetime_us = SECONDS(300);
		c->rekey_margin_us = SECONDS(60);
		c->rekey_fuzz_percent = 30;
		c->dpd_delay_us = SECONDS(10);
		c->dpd_action = DPD_RESTART;
	}
	sim_start(s);
	sim_up(&s->node[0]);
	sim_up(&s->node[1]);
	SIM_CHECK(s, sim_run(s, SECONDS(3600)), "failed");
	network_heals(s);
	SIM_CHECK(s, sim_run_until(s, SECONDS(400), sim_is_quiet), "not quiet after the storm");
}

static void up_of(struct sim *s, unsigned node)
{
	sim_up(&s->node[node]);
}

/* Both initiate at about the same time: what is too much goes away, what carries packets stays. */
static void both(struct sim *s)
{
	s->network.delay_min_us = US_PER_MS;
	s->network.delay_max_us = (1 + prng_below(&s->chance, 50)) * US_PER_MS;
	s->packet_interval_us = 10 * US_PER_MS;
	sim_start(s);
	sim_at(s, prng_below(&s->chance, 100 * US_PER_MS), up_of, 0);
	sim_at(s, prng_below(&s->chance, 100 * US_PER_MS), up_of, 1);
	SIM_CHECK(s, sim_run_until(s, SECONDS(2), sim_is_up), "not up");
	SIM_CHECK(s, sim_run_until(s, SECONDS(120), sim_is_quiet), "not quiet: %zu %zu, %zu %zu",
		  sim_count_ike(&s->node[0]), sim_count_child(&s->node[0]), sim_count_ike(&s->node[1]),
		  sim_count_child(&s->node[1]));
	SIM_CHECK(s, sim_run(s, SECONDS(60)) && sim_is_quiet(s), "not quiet for long");
}

static void both_with_loss(struct sim *s)
{
	s->network.loss_percent = 25;
	s->network.duplicate_percent = 25;
	s->network.delay_max_us = 100 * US_PER_MS;
	s->node[0].wanted = s->node[1].wanted = true;
	sim_start(s);
	sim_at(s, prng_below(&s->chance, 1000 * US_PER_MS), up_of, 0);
	sim_at(s, prng_below(&s->chance, 1000 * US_PER_MS), up_of, 1);
	SIM_CHECK(s, sim_run_until(s, SECONDS(300), sim_is_up), "not up");
	SIM_CHECK(s, sim_run(s, SECONDS(30)), "failed");
	network_heals(s);
	SIM_CHECK(s, sim_run_until(s, SECONDS(300), sim_is_quiet), "not quiet: %zu %zu, %zu %zu",
		  sim_count_ike(&s->node[0]), sim_count_child(&s->node[0]), sim_count_ike(&s->node[1]),
		  sim_count_child(&s->node[1]));
}

int main(int argc, char **argv)
{
	static const struct scenario scenarios[] = {
		{ "30 % loss", loss, 60 },
		{ "duplicated and reordered", reordered, 60 },
		{ "both ends initiate", both, 100 },
		{ "both ends initiate, with loss", both_with_loss, 60 },
		{ "an hour of storm", stormy, 10 },
	};

	return sim_main(argc, argv, scenarios, sizeof(scenarios) / sizeof(scenarios[0]));
}
