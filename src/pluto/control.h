/*
 * The control socket: lines of JSON, as docs/internals.md has it.
 *
 * A client sends requests, one at a time; a request gets lines of progress and
 * ends with one result. Input and output of a client are bounded, and a client
 * that does not read is let go: none can hold up the daemon.
 */
#ifndef PLUTO_CONTROL_H
#define PLUTO_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "conn/conn.h"

struct control;
struct daemon;
struct event_base;

/** A request under way; it lives until request_finish(), even if its client goes. */
struct request {
	TAILQ_ENTRY(request) entry;
	struct client *client;    /* NULL: gone */
	struct daemon *daemon;
	const char *command;      /* in `json` */
	const char *name;         /* connection or alias; NULL: not given */
	bool async;
	json_t *json;
	/* waiting (waiter.c) */
	int awaits;               /* enum await */
	struct event *deadline;
	uint32_t *pending;        /* serials of connections that it waits for; owned */
	size_t pending_count;
	struct conn_reply outcome; /* of those that have ended; the first failure wins */
};

/**
 * Listen on `path` (mode 0600, a stale one is replaced); `run` is called for each request. NULL
 * with a sentence in `err`.
 */
struct control *control_new(struct daemon *d, struct event_base *base, const char *path,
			    void (*run)(struct request *), char *err, size_t len);
/** Removes the socket; requests end without a result. */
void control_free(struct control *c);

/** One line of progress. */
void request_line(struct request *r, enum log_level level, const char *connection, uint32_t sa,
		  const char *text);
/** The result; `data` (taken over) may be NULL. Frees the request. */
void request_finish(struct request *r, enum conn_rc rc, enum ike_reason reason, const char *text,
		    json_t *data);
/** Requests that are under way, in order. */
struct request *control_first(const struct control *c);
struct request *control_next(const struct request *r);
/** Stop taking new requests, and send out what is written (for the end of the daemon). */
void control_flush(struct control *c);

#endif
