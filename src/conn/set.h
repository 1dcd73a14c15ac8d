/* The set of connections from inside: for the files of conn/ only. */
#ifndef CONN_SET_H
#define CONN_SET_H

#include "conn/conn.h"

TAILQ_HEAD(conn_list, conn);
TAILQ_HEAD(conn_peers, conn);

/** Connections by the peer's address; that of templates is AF_UNSPEC. */
struct peer_bucket {
	struct ip_address address;
	struct conn_peers conns;
	UT_hash_handle hh;
};

/** Equal proposals are kept once, for as long as the daemon lives: SAs outlive connections. */
struct proposal_entry {
	SLIST_ENTRY(proposal_entry) entry;
	struct proposal_list list;
};

struct conn_set {
	const struct conn_host *host;
	struct conn_list conns, dirty;
	struct conn *by_name, *by_reqid;
	struct peer_bucket *by_peer;
	SLIST_HEAD(, proposal_entry) proposals;
	struct timer_wheel *wheel;
	struct failure_log failures;
	size_t count, instances;
	uint64_t burst_us;   /* when this burst of negotiations began */
	unsigned burst;      /* how many it has */
	bool hold;
	uint32_t next_serial, next_reqid, next_instance;
};

/* conn.c */
void conn_mark(struct conn *c);
void conn_say(struct conn *c, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/** Make `ike` anew for the orientation of now; keeps it, and its SAs, when nothing changed. */
void conn_orient(struct conn *c);
/** A connection of `name` in the set and its lists, not oriented. NULL without memory. */
struct conn *conn_new(struct conn_set *set, const char *name, struct conn_source *source,
		      const struct conn_config *config);
uint32_t conn_reqid_new(struct conn_set *set);
const struct proposal_list *conn_proposals(struct conn_set *set, const struct proposal_list *list);
/** Into the bucket of its peer's address, out of the one where it was. */
void conn_peer_link(struct conn *c, const struct ip_address *peer);

/* reconcile.c */
bool conn_policy_apply(struct conn *c, char *err);
void conn_policy_forget(struct conn *c);
/** The policy is of all that is configured again, not of what an SA was narrowed to. */
void conn_widen(struct conn *c);
timer_fn conn_retry_due;

/* event.c */
/** Record, log and tell a failure; takes `f` over (NULL is allowed). */
void conn_fail(struct conn *c, struct failure *f, bool final);
/** Keep it as the connection's last and in the ring; takes `f` over. */
void conn_record(struct conn *c, struct failure *f);

/** It carries traffic by SAs: not a template, not type=passthrough or drop. */
static inline bool conn_negotiates(const struct conn *c)
{
	return c->config->type == CONN_TUNNEL || c->config->type == CONN_TRANSPORT;
}

#endif
