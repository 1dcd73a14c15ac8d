/* Bringing a tunnel up over a good network, and every way in which that is refused. */
#include "sim.h"

#include <string.h>

#define SECONDS(n) ((n) * US_PER_S)

/* Both ends are up, quiet, and down again when told. */
static void up_and_down(struct sim *s, unsigned initiator)
{
	struct sim_node *n = &s->node[initiator];

	s->packet_interval_us = 50 * US_PER_MS;
	sim_start(s);
	SIM_CHECK(s, sim_up(n) == IKE_UP_STARTED, "up does not start");
	SIM_CHECK(s, sim_run_until(s, SECONDS(1), sim_is_up), "not up within a second");
	SIM_CHECK(s, sim_run(s, SECONDS(60)), "failed");
	SIM_CHECK(s, sim_is_quiet(s), "more than one SA is left");
	for (unsigned i = 0; i < SIM_NODES; i++) {
		struct sim_node *x = &s->node[i];

		SIM_CHECK(s, x->told[IKE_EVENT_IKE_UP] == 1, "node %u: %u IKE SAs came up", i,
			  x->told[IKE_EVENT_IKE_UP]);
		SIM_CHECK(s, x->told[IKE_EVENT_CHILD_UP] == 1, "node %u: %u Child SAs came up", i,
			  x->told[IKE_EVENT_CHILD_UP]);
		SIM_CHECK(s, x->told[IKE_EVENT_FAILED] == 0, "node %u: failures", i);
		SIM_CHECK(s, x->packets_received > 100, "node %u: no packets", i);
	}
	SIM_CHECK(s, sim_up(n) == IKE_UP_ALREADY, "up on a tunnel that is up is not told so");
	SIM_CHECK(s, sim_run(s, SECONDS(1)) && sim_is_quiet(s), "up on a tunnel that is up made another SA");
	sim_down(n);
	SIM_CHECK(s, sim_run(s, SECONDS(30)), "failed");
	SIM_CHECK(s, sim_is_empty(s), "SAs are left after down");
	for (unsigned i = 0; i < SIM_NODES; i++)
		SIM_CHECK(s, s->node[i].told[IKE_EVENT_CHILD_DOWN] == 1, "node %u: %u times down", i,
			  s->node[i].told[IKE_EVENT_CHILD_DOWN]);
	SIM_CHECK(s, n->reason == REASON_ADMIN, "down is for %s", ike_reason_name(n->reason));
	SIM_CHECK(s, s->node[1 - initiator].reason == REASON_PEER_DELETED, "the peer is down for %s",
		  ike_reason_name(s->node[1 - initiator].reason));
}

static void up_by_first(struct sim *s)
{
	up_and_down(s, 0);
}

static void up_by_second(struct sim *s)
{
	up_and_down(s, 1);
}

/* Comes up from node 0 and stays so; then down. */
static void up_or_fail(struct sim *s)
{
	s->packet_interval_us = 20 * US_PER_MS;
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(2), sim_is_up), "not up: %s; ours %s; theirs %s", s->node[0].text,
		  s->node[0].ours, s->node[0].theirs);
	SIM_CHECK(s, sim_run(s, SECONDS(40)) && sim_is_quiet(s), "not quiet");
	sim_down(&s->node[0]);
	SIM_CHECK(s, sim_run(s, SECONDS(30)) && sim_is_empty(s), "SAs are left");
}

static void algorithms(struct sim *s)
{
	static const struct {
		const char *ike, *esp;
	} suites[] = {
		{ "aes_gcm128-sha2_256-dh19", "aes_gcm128" },
		{ "aes_gcm256-sha2_512-dh20", "aes_gcm256" },
		{ "aes_gcm256-sha2_384-dh21", "chacha20_poly1305" },
		{ "chacha20_poly1305-sha2_256-dh31", "aes128-sha2_256" },
		{ "aes128-sha2_256-dh14", "aes192-sha2_384" },
		{ "aes192-sha2_384-dh15", "aes256-sha2_512" },
		{ "aes256-sha2_512-dh16", "aes_gcm256-dh19" },
		{ "aes_gcm256-sha2_512-dh18", "aes_gcm256" },
	};
	size_t i = (s->seed - 1) % (sizeof(suites) / sizeof(suites[0]));

	for (unsigned n = 0; n < SIM_NODES; n++)
		sim_conn_algorithms(s->node[n].conn, suites[i].ike, suites[i].esp);
	up_or_fail(s);
}

/* RFC 7296 §1.2: the group is guessed, the responder says which it wants. */
static void invalid_ke(struct sim *s)
{
	sim_conn_algorithms(s->node[0].conn, "aes_gcm256-sha2_256-dh31+dh20+dh19", "aes_gcm256");
	sim_conn_algorithms(s->node[1].conn, "aes_gcm256-sha2_256-dh19", "aes_gcm256");
	up_or_fail(s);
}

/* RFC 7296 §2.6 */
static void cookie(struct sim *s)
{
	s->node[1].config.always_cookie = true;
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(2), sim_is_up), "not up");
	SIM_CHECK(s, ike_engine_counters(s->node[1].engine)->cookies_sent == 1, "no cookie");
}

/* RFC 7296 §2.6.1: the cookie is returned with the new group as well. */
static void cookie_and_invalid_ke(struct sim *s)
{
	s->node[1].config.always_cookie = true;
	invalid_ke(s);
	SIM_CHECK(s, s->node[1].told[IKE_EVENT_FAILED] == 0, "failures");
}

static void null_auth(struct sim *s)
{
	for (unsigned i = 0; i < SIM_NODES; i++) {
		s->node[i].psk = NULL;
		s->node[i].conn->local_auth = s->node[i].conn->remote_auth = IKE_AUTH_NULL;
	}
	up_or_fail(s);
}

static void transport_mode(struct sim *s)
{
	for (unsigned i = 0; i < SIM_NODES; i++) {
		s->node[i].conn->mode = MODE_TRANSPORT;
		sim_conn_networks(s->node[i].conn, i ? "192.168.20.20" : "192.168.20.10",
				  i ? "192.168.20.10" : "192.168.20.20");
	}
	up_or_fail(s);
}

static void esn(struct sim *s)
{
	/* one end must have it, the other may */
	s->node[s->seed & 1].conn->no_esn = false;
	up_or_fail(s);
}

/* Template: a responder that takes any peer. */
static void any_peer(struct sim *s)
{
	s->node[1].conn->remote = (struct ip_endpoint){ 0 };
	s->node[1].conn->remote_id = (struct identity){ 0 };
	up_or_fail(s);
}

/* --- selectors --- */

static char seen_ts[2][256];

static void look_at_ts(void *context, const struct child_sa_info *info)
{
	(void)context;
	ts_list_format(&info->sa->local_ts, seen_ts[0], sizeof(seen_ts[0]));
	ts_list_format(&info->sa->remote_ts, seen_ts[1], sizeof(seen_ts[1]));
}

static void check_ts(struct sim *s, unsigned node, const char *local, const char *remote)
{
	ike_engine_each_child(s->node[node].engine, look_at_ts, NULL);
	SIM_CHECK(s, strcmp(seen_ts[0], local) == 0 && strcmp(seen_ts[1], remote) == 0,
		  "node %u has %s === %s, not %s === %s", node, seen_ts[0], seen_ts[1], local, remote);
}

/* RFC 7296 §2.9: the responder takes what both have in common. */
static void narrowing(struct sim *s)
{
	s->node[0].conn->narrowing = true;
	sim_conn_networks(s->node[0].conn, "192.168.10.0/24", "192.168.0.0/16");
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(2), sim_is_up), "not up: %s", s->node[0].text);
	check_ts(s, 0, "192.168.10.0/24", "192.168.30.0/24");
	check_ts(s, 1, "192.168.30.0/24", "192.168.10.0/24");
}

static void several_selectors(struct sim *s)
{
	sim_conn_networks(s->node[0].conn, "192.168.10.0/24,10.1.0.0/16", "192.168.30.0/24,2001:db8:3::/48");
	sim_conn_networks(s->node[1].conn, "192.168.30.0/24,2001:db8:3::/48", "192.168.10.0/24,10.1.0.0/16");
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(2), sim_is_up), "not up: %s", s->node[0].text);
	check_ts(s, 0, "192.168.10.0/24,10.1.0.0/16", "192.168.30.0/24,2001:db8:3::/48");
}

/* --- refusals --- */

static bool has_failed(struct sim *s)
{
	return s->node[0].told[IKE_EVENT_FAILED] > 0;
}

/* Node 0 fails within `seconds` for `reason`, and nothing is left anywhere. */
static void expect_refusal(struct sim *s, unsigned seconds, enum ike_reason reason)
{
	struct sim_node *n = &s->node[0];

	if (!s->node[0].engine)
		sim_start(s);
	sim_up(n);
	SIM_CHECK(s, sim_run_until(s, SECONDS(seconds), has_failed), "no failure is told in %u s", seconds);
	SIM_CHECK(s, n->told[IKE_EVENT_FAILED] == 1, "%u failures", n->told[IKE_EVENT_FAILED]);
	SIM_CHECK(s, n->reason == reason, "failed for %s (%s), not %s", ike_reason_name(n->reason), n->text,
		  ike_reason_name(reason));
	SIM_CHECK(s, sim_run(s, SECONDS(60)), "failed");
	SIM_CHECK(s, sim_is_empty(s), "SAs are left: %zu %zu, %zu %zu", sim_count_ike(&s->node[0]),
		  sim_count_child(&s->node[0]), sim_count_ike(&s->node[1]), sim_count_child(&s->node[1]));
	for (unsigned i = 0; i < SIM_NODES; i++)
		SIM_CHECK(s, ike_engine_counters(s->node[i].engine)->half_open == 0, "node %u: half-open", i);
}

static void wrong_psk(struct sim *s)
{
	s->node[1].psk = "something else";
	expect_refusal(s, 2, REASON_AUTHENTICATION_FAILED);
	SIM_CHECK(s, s->node[1].reason == REASON_AUTHENTICATION_FAILED, "the responder says %s",
		  ike_reason_name(s->node[1].reason));
	SIM_CHECK(s, strstr(s->node[0].text, "192.168.20.20"), "the identities are not told: %s", s->node[0].text);
	SIM_CHECK(s, strstr(s->node[1].text, "192.168.20.10"), "the identities are not told: %s", s->node[1].text);
}

static void no_psk_here(struct sim *s)
{
	s->node[0].psk = NULL;
	expect_refusal(s, 2, REASON_NO_SECRET);
}

static void no_psk_there(struct sim *s)
{
	s->node[1].psk = NULL;
	expect_refusal(s, 2, REASON_AUTHENTICATION_FAILED);
	SIM_CHECK(s, s->node[1].reason == REASON_NO_SECRET, "the responder says %s",
		  ike_reason_name(s->node[1].reason));
}

static void wrong_identity(struct sim *s)
{
	char err[64];

	identity_parse("@other.example", &s->node[1].conn->remote_id, err, sizeof(err));
	expect_refusal(s, 2, REASON_AUTHENTICATION_FAILED);
}

/* The peer that answers is authentic, and not who was wanted. */
static void wrong_responder(struct sim *s)
{
	char err[64];

	identity_parse("@impostor.example", &s->node[1].conn->local_id, err, sizeof(err));
	expect_refusal(s, 2, REASON_AUTHENTICATION_FAILED);
}

/* It is told at once, and, being in the clear, not believed before the time-out. */
static void no_ike_proposal(struct sim *s)
{
	sim_conn_algorithms(s->node[1].conn, "aes128-sha2_256-dh19", "aes_gcm256");
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run(s, SECONDS(1)), "failed");
	SIM_CHECK(s, s->node[0].told[IKE_EVENT_REFUSED] == 1, "told %u times", s->node[0].told[IKE_EVENT_REFUSED]);
	SIM_CHECK(s, s->node[0].reason == REASON_NO_PROPOSAL_CHOSEN, "refused for %s",
		  ike_reason_name(s->node[0].reason));
	SIM_CHECK(s, s->node[1].theirs[0] && s->node[1].ours[0], "the responder does not say both sides");
	SIM_CHECK(s, sim_run_until(s, SECONDS(60), has_failed), "no failure is told");
	SIM_CHECK(s, s->node[0].reason == REASON_NO_PROPOSAL_CHOSEN, "failed for %s",
		  ike_reason_name(s->node[0].reason));
	SIM_CHECK(s, sim_run(s, SECONDS(60)) && sim_is_empty(s), "SAs are left");
}

/* A forged refusal keeps nobody from coming up: the true answer is taken. */
static void forged_refusal_mends(struct sim *s)
{
	sim_conn_algorithms(s->node[1].conn, "aes128-sha2_256-dh19", "aes_gcm256");
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run(s, SECONDS(3)), "failed");
	SIM_CHECK(s, s->node[0].told[IKE_EVENT_REFUSED] == 1, "not refused");
	/* what refused was not the peer; here it is */
	sim_conn_algorithms(s->node[1].conn, "aes_gcm256-sha2_256-dh31", "aes_gcm256");
	SIM_CHECK(s, sim_run_until(s, SECONDS(40), sim_is_up), "not up");
	SIM_CHECK(s, s->node[0].told[IKE_EVENT_FAILED] == 0, "failed before");
}

static void no_esp_proposal(struct sim *s)
{
	sim_conn_algorithms(s->node[1].conn, "aes_gcm256-sha2_256-dh31", "aes128-sha2_256");
	expect_refusal(s, 2, REASON_NO_PROPOSAL_CHOSEN);
	SIM_CHECK(s, s->node[1].theirs[0] && s->node[1].ours[0], "the responder does not say both sides");
}

static void ts_mismatch(struct sim *s)
{
	sim_conn_networks(s->node[1].conn, "192.168.99.0/24", "192.168.10.0/24");
	expect_refusal(s, 2, REASON_TS_UNACCEPTABLE);
	SIM_CHECK(s, strstr(s->node[1].ours, "192.168.99.0/24"), "the responder's side is not told: %s",
		  s->node[1].ours);
	SIM_CHECK(s, strstr(s->node[1].theirs, "192.168.30.0/24"), "the initiator's side is not told: %s",
		  s->node[1].theirs);
}

/* The responder narrows, and the initiator's narrowing=no means all or nothing. */
static void narrowed_against_will(struct sim *s)
{
	sim_conn_networks(s->node[0].conn, "192.168.10.0/24", "192.168.0.0/16");
	expect_refusal(s, 2, REASON_TS_UNACCEPTABLE);
}

static void mode_mismatch(struct sim *s)
{
	s->node[0].conn->mode = MODE_TRANSPORT;
	for (unsigned i = 0; i < SIM_NODES; i++)
		sim_conn_networks(s->node[i].conn, i ? "192.168.20.20" : "192.168.20.10",
				  i ? "192.168.20.10" : "192.168.20.20");
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run(s, SECONDS(90)), "failed");
	SIM_CHECK(s, !s->path_up || sim_is_quiet(s), "half of a tunnel is left");
	SIM_CHECK(s, s->path_up || sim_is_empty(s), "SAs are left");
}

static void no_connection(struct sim *s)
{
	s->node[1].conn->remote.address.bytes[3] = 99;
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(61), has_failed), "no failure is told");
	SIM_CHECK(s, sim_run(s, SECONDS(60)) && sim_is_empty(s), "SAs are left");
}

static void back_end_refuses(struct sim *s)
{
	s->node[s->seed & 1].refuse_add = true;
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run_until(s, SECONDS(5), has_failed), "no failure is told");
	SIM_CHECK(s, s->seed & 1 || s->node[0].reason == REASON_BACKEND, "failed for %s",
		  ike_reason_name(s->node[0].reason));
	SIM_CHECK(s, sim_run(s, SECONDS(90)) && sim_is_empty(s), "SAs are left");
}

/* Nobody answers: it is over within the time-out, after a bounded number of datagrams. */
static void no_answer(struct sim *s)
{
	uint64_t began;

	sim_start(s);
	s->network.cut = true;
	began = s->now_us;
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_up(&s->node[0]) == IKE_UP_PENDING, "the attempt is not told of");
	SIM_CHECK(s, sim_run_until(s, SECONDS(61), has_failed), "no failure is told");
	SIM_CHECK(s, s->node[0].reason == REASON_TIMEOUT, "failed for %s", ike_reason_name(s->node[0].reason));
	SIM_CHECK(s, s->now_us - began >= SECONDS(59), "given up too early");
	SIM_CHECK(s, s->node[0].sent >= 5 && s->node[0].sent <= 10, "%u datagrams", (unsigned)s->node[0].sent);
	SIM_CHECK(s, sim_run(s, SECONDS(60)) && sim_is_empty(s), "SAs are left");
}

/* Taken down while it comes up, at any moment: nothing is left. */
static void down_meanwhile(struct sim *s)
{
	s->network.delay_min_us = s->network.delay_max_us = 10 * US_PER_MS;
	sim_start(s);
	sim_up(&s->node[0]);
	SIM_CHECK(s, sim_run(s, prng_below(&s->chance, 60 * US_PER_MS)), "failed");
	sim_down(&s->node[s->seed % 4 == 0]);
	SIM_CHECK(s, sim_run(s, SECONDS(90)), "failed");
	SIM_CHECK(s, sim_is_empty(s) || (s->seed % 4 == 0 && sim_is_quiet(s)), "SAs are left: %zu %zu, %zu %zu",
		  sim_count_ike(&s->node[0]), sim_count_child(&s->node[0]), sim_count_ike(&s->node[1]),
		  sim_count_child(&s->node[1]));
}

int main(int argc, char **argv)
{
	static const struct scenario scenarios[] = {
		{ "the first end brings it up and down", up_by_first, 3 },
		{ "the second end brings it up and down", up_by_second, 3 },
		{ "every algorithm", algorithms, 8 },
		{ "INVALID_KE_PAYLOAD", invalid_ke, 2 },
		{ "COOKIE", cookie, 2 },
		{ "COOKIE and INVALID_KE_PAYLOAD", cookie_and_invalid_ke, 2 },
		{ "authentication by nobody", null_auth, 2 },
		{ "transport mode", transport_mode, 2 },
		{ "ESN where one end insists", esn, 2 },
		{ "a responder for any peer", any_peer, 2 },
		{ "narrowing by the responder", narrowing, 2 },
		{ "several selectors in one Child SA", several_selectors, 2 },
		{ "wrong PSK", wrong_psk, 2 },
		{ "no PSK at the initiator", no_psk_here, 2 },
		{ "no PSK at the responder", no_psk_there, 2 },
		{ "wrong identity of the initiator", wrong_identity, 2 },
		{ "wrong identity of the responder", wrong_responder, 2 },
		{ "no common IKE proposal", no_ike_proposal, 2 },
		{ "a refusal in the clear is not the last word", forged_refusal_mends, 2 },
		{ "no common ESP proposal", no_esp_proposal, 2 },
		{ "no common selectors", ts_mismatch, 2 },
		{ "narrowed against the initiator's will", narrowed_against_will, 2 },
		{ "tunnel against transport mode", mode_mismatch, 2 },
		{ "no connection for the peer", no_connection, 2 },
		{ "the back end refuses", back_end_refuses, 4 },
		{ "no answer", no_answer, 2 },
		{ "taken down while it comes up", down_meanwhile, 40 },
	};

	return sim_main(argc, argv, scenarios, sizeof(scenarios) / sizeof(scenarios[0]));
}
