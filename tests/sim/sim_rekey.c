/* Rekeying: simulated days, both kinds, either end, and both ends at once. */
#include "sim.h"

#define SECONDS(n) ((n) * US_PER_S)

/* Up, from node 0, with packets passing. */
static bool begin(struct sim *s)
{
	sim_start(s);
	sim_up(&s->node[0]);
	if (!sim_run_until(s, SECONDS(10), sim_is_up)) {
		sim_fail(s, "not up");
		return false;
	}
	return true;
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

static void check_days(struct sim *s, uint64_t day, uint64_t least_child, uint64_t least_ike)
{
	uint64_t child = 0, ike = 0;

	for (unsigned i = 0; i < SIM_NODES; i++) {
		const struct ike_counters *c = ike_engine_counters(s->node[i].engine);

		child += c->child_rekeyed;
		ike += c->ike_rekeyed;
		SIM_CHECK(s, s->node[i].told[IKE_EVENT_CHILD_UP] == 1, "node %u: came up %u times", i,
			  s->node[i].told[IKE_EVENT_CHILD_UP]);
		SIM_CHECK(s, s->node[i].told[IKE_EVENT_CHILD_DOWN] == 0, "node %u: went down", i);
	}
	/* both ends count each */
	SIM_CHECK(s, child / 2 >= least_child && child / 2 <= 4 * least_child, "%u rekeys of Child SAs in %u s",
		  (unsigned)(child / 2), (unsigned)(day / US_PER_S));
	SIM_CHECK(s, ike / 2 >= least_ike && ike / 2 <= 4 * least_ike, "%u rekeys of IKE SAs", (unsigned)(ike / 2));
	SIM_CHECK(s, sim_run_until(s, SECONDS(300), sim_is_quiet), "not quiet");
}

/* Two days with an hour of IKE SA and ten minutes of Child SA. */
static void days(struct sim *s)
{
	lifetimes(s, 600, 3600, 90);
	s->packet_interval_us = SECONDS(3);
	s->network.delay_max_us = 100 * US_PER_MS;
	if (!begin(s))
		return;
	SIM_CHECK(s, sim_run(s, SECONDS(172800)), "failed");
	check_days(s, SECONDS(172800), 172800 / 600, 172800 / 3600);
}

static void days_with_loss(struct sim *s)
{
	lifetimes(s, 600, 3600, 120);
	s->packet_interval_us = SECONDS(2);
	s->network.loss_percent = 15;
	s->network.duplicate_percent = 5;
	s->network.delay_max_us = 200 * US_PER_MS;
	if (!begin(s))
		return;
	SIM_CHECK(s, sim_run(s, SECONDS(43200)), "failed");
	s->network.loss_percent = 0;
	check_days(s, SECONDS(43200), 43200 / 600, 43200 / 3600);
}

/* One end's lifetime is shorter, or only one end rekeys: the other follows. */
static void one_end_only(struct sim *s)
{
	lifetimes(s, 300, 900, 60);
	s->node[s->seed & 1].conn->rekey = false;
	s->packet_interval_us = US_PER_S;
	if (!begin(s))
		return;
	SIM_CHECK(s, sim_run(s, SECONDS(7200)), "failed");
	check_days(s, SECONDS(7200), 7200 / 300, 7200 / 900);
}

/* Nobody rekeys: SAs end with their lifetime, and who wants the tunnel makes a new one. */
static void nobody(struct sim *s)
{
	lifetimes(s, 300, 900, 60);
	for (unsigned i = 0; i < SIM_NODES; i++)
		s->node[i].conn->rekey = false;
	s->node[0].wanted = true;
	if (!begin(s))
		return;
	SIM_CHECK(s, sim_run(s, SECONDS(290)) && s->path_up, "ended before its time");
	SIM_CHECK(s, sim_run(s, SECONDS(60)), "failed");
	SIM_CHECK(s, s->node[0].told[IKE_EVENT_CHILD_DOWN] >= 1, "did not end");
	SIM_CHECK(s, s->node[0].reason == REASON_EXPIRED || s->node[0].reason == REASON_PEER_DELETED,
		  "ended for %s", ike_reason_name(s->node[0].reason));
	SIM_CHECK(s, sim_run_until(s, SECONDS(60), sim_is_up), "not up again");
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

/* By command, on either side, ten times each. */
static void by_command(struct sim *s)
{
	s->packet_interval_us = 10 * US_PER_MS;
	s->network.delay_max_us = 20 * US_PER_MS;
	if (!begin(s))
		return;
	for (unsigned i = 0; i < 40; i++) {
		rekey(s, i & 3);
		SIM_CHECK(s, sim_run(s, SECONDS(1)), "failed");
	}
	for (unsigned i = 0; i < SIM_NODES; i++) {
		SIM_CHECK(s, s->node[i].told[IKE_EVENT_CHILD_REKEYED] == 20, "node %u: %u Child SAs rekeyed", i,
			  s->node[i].told[IKE_EVENT_CHILD_REKEYED]);
		SIM_CHECK(s, s->node[i].told[IKE_EVENT_IKE_REKEYED] == 20, "node %u: %u IKE SAs rekeyed", i,
			  s->node[i].told[IKE_EVENT_IKE_REKEYED]);
	}
	SIM_CHECK(s, sim_run_until(s, SECONDS(120), sim_is_quiet), "not quiet");
}

/* Without a key exchange of its own, and where only the responder insists on one. */
static void pfs(struct sim *s)
{
	s->node[0].conn->pfs = s->seed & 1;
	s->node[1].conn->pfs = s->seed & 2;
	s->packet_interval_us = 10 * US_PER_MS;
	if (!begin(s))
		return;
	for (unsigned i = 0; i < 8; i++) {
		rekey(s, i & 1);
		SIM_CHECK(s, sim_run(s, SECONDS(2)), "failed");
	}
	for (unsigned i = 0; i < SIM_NODES; i++)
		SIM_CHECK(s, s->node[i].told[IKE_EVENT_CHILD_REKEYED] == 8, "node %u: %u Child SAs rekeyed", i,
			  s->node[i].told[IKE_EVENT_CHILD_REKEYED]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(120), sim_is_quiet), "not quiet");
}

/* Exchanges that cross on the wire, again and again; then one of each SA is left. */
static void collide(struct sim *s, unsigned a, unsigned b)
{
	s->packet_interval_us = 5 * US_PER_MS;
	s->network.delay_min_us = US_PER_MS;
	s->network.delay_max_us = (1 + prng_below(&s->chance, 30)) * US_PER_MS;
	if (!begin(s))
		return;
	for (unsigned i = 0; i < 5; i++) {
		sim_at(s, prng_below(&s->chance, 40 * US_PER_MS), rekey, a);
		sim_at(s, prng_below(&s->chance, 40 * US_PER_MS), rekey, b);
		SIM_CHECK(s, sim_run(s, SECONDS(1) + prng_below(&s->chance, SECONDS(8))), "failed");
	}
	SIM_CHECK(s, sim_run_until(s, SECONDS(200), sim_is_quiet), "not quiet: %zu %zu, %zu %zu",
		  sim_count_ike(&s->node[0]), sim_count_child(&s->node[0]), sim_count_ike(&s->node[1]),
		  sim_count_child(&s->node[1]));
	for (unsigned i = 0; i < SIM_NODES; i++)
		SIM_CHECK(s, s->node[i].told[IKE_EVENT_CHILD_DOWN] == 0, "node %u went down", i);
	SIM_CHECK(s, sim_run(s, SECONDS(60)) && sim_is_quiet(s), "not quiet for long");
}

/* RFC 7296 §2.8.1 */
static void collide_child(struct sim *s)
{
	collide(s, 0, 1);
}

/* RFC 7296 §2.8.2 */
static void collide_ike(struct sim *s)
{
	collide(s, 2, 3);
}

/* RFC 7296 §2.25.1, §2.25.2 */
static void collide_both_kinds(struct sim *s)
{
	collide(s, 0, 3);
}

/* One end does both, the other one of them. */
static void collide_all(struct sim *s)
{
	s->packet_interval_us = 5 * US_PER_MS;
	s->network.delay_min_us = US_PER_MS;
	s->network.delay_max_us = (1 + prng_below(&s->chance, 30)) * US_PER_MS;
	if (!begin(s))
		return;
	for (unsigned i = 0; i < 12; i++) {
		for (unsigned n = 2 + (unsigned)prng_below(&s->chance, 4); n > 0; n--)
			sim_at(s, prng_below(&s->chance, 60 * US_PER_MS), rekey,
			       (unsigned)prng_below(&s->chance, 4));
		SIM_CHECK(s, sim_run(s, prng_below(&s->chance, SECONDS(4))), "failed");
	}
	SIM_CHECK(s, sim_run_until(s, SECONDS(300), sim_is_quiet), "not quiet: %zu %zu, %zu %zu",
		  sim_count_ike(&s->node[0]), sim_count_child(&s->node[0]), sim_count_ike(&s->node[1]),
		  sim_count_child(&s->node[1]));
	for (unsigned i = 0; i < SIM_NODES; i++)
		SIM_CHECK(s, s->node[i].told[IKE_EVENT_CHILD_DOWN] == 0, "node %u went down", i);
}

/* The same over a network that loses, doubles and reorders. */
static void collide_with_loss(struct sim *s)
{
	s->network.loss_percent = 20;
	s->network.duplicate_percent = 20;
	s->network.delay_max_us = 200 * US_PER_MS;
	s->packet_interval_us = 50 * US_PER_MS;
	s->node[0].wanted = true;
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(600), sim_is_up), "not up");
	for (unsigned i = 0; i < 8; i++) {
		for (unsigned n = 2 + (unsigned)prng_below(&s->chance, 3); n > 0; n--)
			sim_at(s, prng_below(&s->chance, 500 * US_PER_MS), rekey,
			       (unsigned)prng_below(&s->chance, 4));
		SIM_CHECK(s, sim_run(s, prng_below(&s->chance, SECONDS(20))), "failed");
	}
	s->network.loss_percent = s->network.duplicate_percent = 0;
	SIM_CHECK(s, sim_run_until(s, SECONDS(300), sim_is_quiet), "not quiet: %zu %zu, %zu %zu",
		  sim_count_ike(&s->node[0]), sim_count_child(&s->node[0]), sim_count_ike(&s->node[1]),
		  sim_count_child(&s->node[1]));
}

static void down(struct sim *s, unsigned node)
{
	sim_down(&s->node[node]);
}

/* A rekey of one end meets the other's delete: RFC 7296 §2.25. */
static void collide_with_down(struct sim *s)
{
	s->network.delay_min_us = US_PER_MS;
	s->network.delay_max_us = 20 * US_PER_MS;
	s->packet_interval_us = 5 * US_PER_MS;
	if (!begin(s))
		return;
	sim_at(s, prng_below(&s->chance, 30 * US_PER_MS), rekey, (unsigned)prng_below(&s->chance, 4));
	sim_at(s, prng_below(&s->chance, 60 * US_PER_MS), down, (unsigned)prng_below(&s->chance, 2));
	SIM_CHECK(s, sim_run(s, SECONDS(150)), "failed");
	SIM_CHECK(s, sim_is_empty(s), "SAs are left: %zu %zu, %zu %zu", sim_count_ike(&s->node[0]),
		  sim_count_child(&s->node[0]), sim_count_ike(&s->node[1]), sim_count_child(&s->node[1]));
}

static void down_at_once(struct sim *s)
{
	s->network.delay_max_us = 20 * US_PER_MS;
	if (!begin(s))
		return;
	sim_at(s, prng_below(&s->chance, 20 * US_PER_MS), down, 0);
	sim_at(s, prng_below(&s->chance, 20 * US_PER_MS), down, 1);
	SIM_CHECK(s, sim_run(s, SECONDS(100)), "failed");
	SIM_CHECK(s, sim_is_empty(s), "SAs are left");
}

/* Limits of packets: soft ones rekey, hard ones end the SA. */
static void expire(struct sim *s)
{
	s->packet_interval_us = 10 * US_PER_MS;
	if (!begin(s))
		return;
	for (unsigned i = 0; i < 6; i++) {
		struct sim_node *n = &s->node[i & 1];

		ike_engine_expire(n->engine, n->outbound[0]->spi, SA_OUT, false);
		sim_node_called(n);
		SIM_CHECK(s, sim_run(s, SECONDS(5)), "failed");
		SIM_CHECK(s, n->told[IKE_EVENT_CHILD_REKEYED] == i + 1, "node %u: %u rekeys, not %u", n->index,
			  n->told[IKE_EVENT_CHILD_REKEYED], i + 1);
	}
	SIM_CHECK(s, sim_run_until(s, SECONDS(60), sim_is_quiet), "not quiet");
}

int main(int argc, char **argv)
{
	static const struct scenario scenarios[] = {
		{ "two days", days, 2 },
		{ "half a day with loss", days_with_loss, 3 },
		{ "one end rekeys", one_end_only, 4 },
		{ "nobody rekeys", nobody, 2 },
		{ "by command", by_command, 3 },
		{ "with and without PFS", pfs, 4 },
		{ "a soft limit of packets", expire, 2 },
		{ "Child SA against Child SA", collide_child, 60 },
		{ "IKE SA against IKE SA", collide_ike, 60 },
		{ "Child SA against IKE SA", collide_both_kinds, 60 },
		{ "everything against everything", collide_all, 60 },
		{ "everything, with loss", collide_with_loss, 40 },
		{ "a rekey against down", collide_with_down, 100 },
		{ "down against down", down_at_once, 40 },
	};

	return sim_main(argc, argv, scenarios, sizeof(scenarios) / sizeof(scenarios[0]));
}
