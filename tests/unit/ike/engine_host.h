/* A host of the engine for tests: two ends, datagrams by hand, time by hand, events written down. */
#ifndef TEST_ENGINE_HOST_H
#define TEST_ENGINE_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "ike/engine.h"
#include "ike/message.h"

enum { ENDS = 2, CONNS_MAX = 4, QUEUE_MAX = 256, HALVES_MAX = 128, EVENTS_MAX = 512 };

struct wire {
	struct ip_endpoint from, to;
	size_t len;
	uint8_t bytes[4096];
};

struct seen_event {
	enum ike_event_type type;
	enum ike_reason reason;
	uint32_t ike_id, child_id;
	char conn[64], text[512], ours[512], theirs[512];
};

struct end {
	struct world *world;
	unsigned index;
	struct ike_host host;
	struct ike_engine_config config;
	struct ike_engine *engine;
	struct ip_endpoint address;
	struct ike_conn *conns[CONNS_MAX];
	size_t conn_count;
	const char *psk;
	uint64_t random;
	uint32_t spi;
	struct child_sa in[HALVES_MAX], out[HALVES_MAX]; /* what is installed */
	size_t in_count, out_count;
	size_t spis_out;    /* given out and neither installed nor given back */
	uint64_t in_last_s; /* what sa_query says */
	bool refuse_add;
	struct seen_event events[EVENTS_MAX];
	size_t event_count;
	unsigned told[IKE_EVENT_REMOTE + 1];
	size_t keepalives;
};

struct world {
	uint64_t now_us;
	struct end end[ENDS];
	struct wire queue[QUEUE_MAX];
	size_t count;
	bool cut;          /* nothing arrives */
	uint16_t nat_port; /* not 0: end 0 is behind NAT, seen as nat_address and ports from here */
	struct ip_address nat_address;
	struct wire last;  /* the last datagram that was sent */
};

struct world *world_new(void);
void world_free(struct world *w);
/** One more connection of an end, like the article's; owned by the end. */
struct ike_conn *end_add_conn(struct end *n, const char *name, const char *local_net, const char *remote_net);
void conn_set_algorithms(struct ike_conn *c, const char *ike, const char *esp);
/** Engines of both ends, with `config` of each end. */
void world_start(struct world *w);
/** Deliver what is queued until nothing is. */
void world_settle(struct world *w);
/** Time passes, timers run, datagrams arrive. */
void world_run(struct world *w, uint64_t us);
/** The first event of `type`, NULL. */
const struct seen_event *end_event(const struct end *n, enum ike_event_type type);
bool end_said(const struct end *n, const char *text);
size_t end_ikes(struct end *n);
size_t end_children(struct end *n);
/** A datagram of ours, as if it came from the other end. */
void end_inject(struct end *n, const void *bytes, size_t len);

#endif
