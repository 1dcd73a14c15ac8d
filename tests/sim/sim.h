/*
 * The simulator: engines in virtual time over a simulated network.
 *
 * Two hosts of the IKE engine without socket, clock or thread. Everything that
 * is left to chance comes from one seed, so a run that fails is replayed by
 * `sim_NAME --seed N -v`. After every call into an engine the world is checked:
 *
 *  - the keys of SAs that name each other by SPI are the same at both ends;
 *  - once the tunnel carries packets both ways it goes on doing so until an end
 *    says that it is down: what one end sends on, the other receives on;
 *  - no packet arrives that has no inbound SA, while the network loses none;
 *  - timers and datagrams are bounded;
 *  - SPIs are used, or given back.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "ike/engine.h"

/* --- chance --- */

struct prng {
	uint64_t state;
};

uint64_t prng_next(struct prng *p);
/** 0 <= n < bound; 0 for bound 0. */
uint64_t prng_below(struct prng *p, uint64_t bound);
bool prng_chance(struct prng *p, unsigned percent);

/* --- the world --- */

enum { SIM_NODES = 2, SIM_HALVES_MAX = 256, SIM_SPIS_MAX = 256, SIM_CONNS_MAX = 4, SIM_RESOURCES_MAX = 8 };

struct sim;

/** What the network does with datagrams and with packets of the tunnel. */
struct sim_network {
	unsigned loss_percent, duplicate_percent; /* of datagrams only */
	unsigned hostile_percent; /* a changed or an old copy arrives as well */
	uint64_t delay_min_us, delay_max_us;
	bool cut; /* nothing arrives */
};

/** One half of a Child SA in a node's back end. */
struct sim_half {
	bool used, seen; /* seen: a packet has arrived on it */
	enum sa_direction direction;
	uint32_t child_id, spi, reqid;
	unsigned resource;
	struct key encr_key, integ_key;
	uint64_t since_us, last_us, packets;
};

struct sim_node {
	struct sim *sim;
	unsigned index;
	struct ip_endpoint address;
	struct ike_engine *engine; /* NULL: it does not run */
	struct ike_host host;
	struct ike_engine_config config;
	struct ike_conn *conn;
	struct ike_conn *other;         /* a second one, which shares the IKE SA; NULL: none */
	const struct ike_conn *deleted; /* of the two: the host has it no longer */
	struct prng random;
	const char *psk; /* NULL: none */
	uint64_t wake_us;

	/* a reconciler in small */
	bool wanted;       /* bring it up again when it is down */
	uint64_t retry_us; /* 0: not waiting */
	unsigned retries;

	/* the back end */
	struct sim_half halves[SIM_HALVES_MAX];
	uint32_t spis[SIM_SPIS_MAX]; /* given out, not yet an SA nor given back; 0: free */
	unsigned resources[SIM_SPIS_MAX]; /* for whom */
	/* what traffic of each resource uses, 0: of all without; of `conn` alone, whose packets are sent */
	struct sim_half *outbound[SIM_RESOURCES_MAX + 1];
	bool refuse_add;             /* sa_add fails */

	/* what the engine told */
	unsigned told[IKE_EVENT_REMOTE + 1], other_told[IKE_EVENT_REMOTE + 1];
	enum ike_reason reason; /* of the last failure or end */
	char text[512], ours[768], theirs[768];
	bool up, other_up; /* CHILD_UP has come, CHILD_DOWN has not */
	uint64_t up_us, failed_us;

	uint64_t sent, received; /* datagrams */
	uint64_t second, second_sent, second_wakes; /* of the second under way */
	uint64_t packets_sent, packets_received;
};

struct sim {
	uint64_t seed, now_us, trace_hash;
	struct prng chance;
	struct sim_network network;
	struct sim_node node[SIM_NODES];
	uint64_t packet_interval_us; /* mean, of each node; 0: no packets */
	bool path_up;                /* both directions have worked; see above */
	uint64_t packets_lost;
	struct sim_event *heap;
	size_t heap_count, heap_cap;
	uint64_t event_serial;
	struct sim_wire *old; /* a datagram that went over the wire before, for replays */
	bool failed, verbose;
	char why[1024];
	char *tail[64]; /* last lines of the trace */
	uint64_t tail_count;
};

struct sim *sim_new(uint64_t seed, bool verbose);
void sim_free(struct sim *s);
/** Start a node's engine; the connection must be set. */
void sim_node_start(struct sim_node *n);
/** Its process dies: SAs in its back end are gone, the peer is told nothing. */
void sim_node_crash(struct sim_node *n);
/** Start both. */
void sim_start(struct sim *s);

/** Let time pass. False when an invariant failed. */
bool sim_run(struct sim *s, uint64_t us);
/** Until `done` says so; false when `us` have passed first, or an invariant failed. */
bool sim_run_until(struct sim *s, uint64_t us, bool (*done)(struct sim *));
/** Call `fn` in `us`. */
void sim_at(struct sim *s, uint64_t us, void (*fn)(struct sim *s, unsigned arg), unsigned arg);
/** After a call into a node's engine from outside: its timers, and the checks. */
void sim_node_called(struct sim_node *n);

/** Commands, as `ipsec` gives them. */
enum ike_up sim_up(struct sim_node *n);
void sim_down(struct sim_node *n);
/** The same for one of its two connections. */
enum ike_up sim_conn_up(struct sim_node *n, struct ike_conn *c);
void sim_conn_down(struct sim_node *n, struct ike_conn *c);

/** Both ends are up, and packets pass both ways. */
bool sim_is_up(struct sim *s);
/**
 * Both ends have one IKE SA, one Child SA and one pair of halves, and one more of both for each resource,
 * and nothing else.
 */
bool sim_is_quiet(struct sim *s);
/** Neither end has any SA. */
bool sim_is_empty(struct sim *s);
/** SAs of a node, of all states. */
size_t sim_count_ike(struct sim_node *n);
size_t sim_count_child(struct sim_node *n);
/** SPIs that the back end gave out and no Child SA uses (yet). */
size_t sim_count_spis(const struct sim_node *n);

/** The run has failed: the first reason is kept. */
void sim_fail(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** In a scenario: ends it unless `cond` holds. */
#define SIM_CHECK(s, cond, ...)                                                                \
	do {                                                                                   \
		if ((s)->failed)                                                               \
			return;                                                                \
		if (!(cond)) {                                                                 \
			sim_fail(s, __VA_ARGS__);                                              \
			return;                                                                \
		}                                                                              \
	} while (0)

/* --- connections --- */

/** A connection like the article's: PSK, one network at each end, fast algorithms. */
struct ike_conn *sim_conn_new(const struct sim_node *n);
/** A second one between other networks, as n->other: same peer and identities. */
struct ike_conn *sim_conn_other(struct sim_node *n);
/** Algorithms in ipsec.conf's spelling. */
void sim_conn_algorithms(struct ike_conn *c, const char *ike, const char *esp);
/** Networks in ipsec.conf's spelling, comma separated. */
void sim_conn_networks(struct ike_conn *c, const char *local, const char *remote);

/* --- between the simulator's files --- */

void sim_network_send(struct sim_node *from, const struct ip_endpoint *local,
		      const struct ip_endpoint *remote, struct bytes datagram);
void sim_backend_host(struct ike_host *host);
void sim_backend_clear(struct sim_node *n);
struct sim_half *sim_backend_find(struct sim_node *n, enum sa_direction direction, uint32_t spi);
/** A packet of the protected network leaves; it arrives at the other node. */
void sim_packet_send(struct sim_node *n);
/** Both directions work: outbound halves have their inbound halves. */
bool sim_path_works(struct sim *s);
void sim_path_check(struct sim *s);

struct sim_wire {
	struct ip_endpoint from, to;
	size_t len;
	uint8_t bytes[];
};
enum sim_event_kind { SIM_DATAGRAM, SIM_PACKET, SIM_CALL, SIM_FIRST_PACKET, SIM_TRAFFIC };
struct sim_event {
	uint64_t at_us, serial;
	enum sim_event_kind kind;
	unsigned node, arg;
	uint64_t epoch;
	uint32_t spi;
	struct key key;
	struct sim_wire *wire;
	void (*fn)(struct sim *s, unsigned arg);
};
void sim_event_add(struct sim *s, struct sim_event event);
void sim_packet_arrive(struct sim_node *n, const struct sim_event *ev);

/* --- programs --- */

struct scenario {
	const char *name;
	void (*run)(struct sim *s);
	unsigned seeds;
};
/** Runs scenarios and prints TAP. Options: --seed N, --only NAME, --seeds N, -v. */
int sim_main(int argc, char **argv, const struct scenario *scenarios, size_t count);

#endif
