/*
 * Records of what went wrong: kept for `ipsec why`, status and JSON.
 *
 * A record says at which stage a connection failed, why, what each side wanted,
 * which configuration line decided, and what would help. The last FAILURES_MAX
 * of all connections are kept in a ring, and the last one of each connection.
 */
#ifndef CONN_FAILURE_H
#define CONN_FAILURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ike/engine.h"

struct json_t;
struct conn_config;

enum { FAILURES_MAX = 64 };

struct failure {
	uint64_t time_s;        /* seconds since 1970 */
	enum ike_reason reason;
	const char *stage;      /* `IKE_SA_INIT`, `IKE_AUTH`, `Child SA`, `policy`, ...; static */
	uint32_t ike_id, child_id;
	struct ip_endpoint peer; /* AF_UNSPEC: not known */
	unsigned line;          /* of the configuration; 0: none */
	char *conn, *file;      /* NULL: none; owned, as all text here */
	char *text, *ours, *theirs, *remedy;
};

/** The ring; zeroed memory is an empty one. */
struct failure_log {
	struct failure ring[FAILURES_MAX];
	uint64_t count; /* ever recorded */
};

/** A new record of an event; `config` (may be NULL) gives file and line. NULL without memory. */
struct failure *failure_from_event(const struct ike_event *ev, const struct conn_config *config,
				   uint64_t wall_s);
/** A record of a failure found before the engine was asked; strings are copied, may be NULL. */
struct failure *failure_new(const char *conn, const struct conn_config *config,
			    enum ike_reason reason, const char *stage, const char *text,
			    const char *remedy, uint64_t wall_s);
void failure_free(struct failure *f);

/** Keep a copy in the ring, over the oldest if it is full. */
void failure_log_add(struct failure_log *log, const struct failure *f);
/** Number kept; record `i` of them, the oldest first. */
size_t failure_log_count(const struct failure_log *log);
const struct failure *failure_log_at(const struct failure_log *log, size_t i);
void failure_log_clear(struct failure_log *log);

/** The JSON object of docs/internals.md; `null` for NULL. New reference. */
struct json_t *failure_json(const struct failure *f);

#endif
