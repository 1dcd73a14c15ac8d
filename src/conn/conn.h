/*
 * Connections: what the configuration wants, what there is, and the loop that
 * makes them agree.
 *
 * A struct conn is one connection (or one instance of a template, a connection
 * whose peer has no address). Commands and events only change what is wanted or
 * known; conn_set_reconcile() then compares and acts: first policies, so that
 * nothing leaks before there is an SA, then negotiations. Start, `up`, revival
 * after a failure, on-demand and reload all go through that one function.
 *
 * What must hold: while a policy is wanted and could not be installed, nothing
 * is initiated; a policy that protects stays until `down`, `unroute` or
 * `delete`. No I/O here: effects go through struct conn_host.
 */
#ifndef CONN_CONN_H
#define CONN_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uthash.h>

#include "base/text.h"
#include "base/timer.h"
#include "config/config.h"
#include "conn/failure.h"
#include "conn/orient.h"
#include "ike/engine.h"
#include "sa/child_sa.h"

/** Results of commands: `rc` of the control protocol (docs/internals.md). */
enum conn_rc {
	CONN_RC_OK = 0,
	CONN_RC_DUPLICATE = 20,
	CONN_RC_UNKNOWN = 21,
	CONN_RC_ORIENT = 22,
	CONN_RC_ROUTE = 25,
	CONN_RC_NO_KEY = 28,
	CONN_RC_NO_PEER = 29,
	CONN_RC_BAD_REQUEST = 50,
	CONN_RC_NO_ANSWER = 51,
	CONN_RC_INTERNAL = 52,
	CONN_RC_FATAL = 56,
};

/** The exit code that a reason leads to. */
enum conn_rc conn_rc_of(enum ike_reason reason);

enum conn_phase { CONN_IDLE, CONN_TRYING, CONN_UP };

/** Something wanted, and by whom: a reload changes only what the configuration wanted. */
enum conn_wish { WISH_NO, WISH_CONFIG, WISH_COMMAND };

enum {
	CONN_REQID_FIRST = 16384, /* below are those that reqid= may choose */
	CONN_REQID_STEP = 4,      /* as Libreswan: room for what shares a connection */
	CONN_RETRY_STEP_S = 5,
	CONN_RETRY_MAX_S = 300,
	CONN_STABLE_S = 10,       /* an SA that lived this long ends the back-off */
	CONN_FRESH_S = 2,         /* an attempt of this age is not worth beginning anew */
	CONN_BURST = 128,         /* negotiations that we start in ... */
	CONN_BURST_MS = 50,       /* ... this time, so that answers are not kept waiting */
	CONN_INSTANCES_MAX = 10000,
	CONN_INSTANCE_IDLE_S = 120,
};

/** A configuration that connections still point into. */
struct conn_source {
	unsigned refs;
	struct config *config;
};
/** Takes `config` over; NULL (and `config` freed) without memory. One reference. */
struct conn_source *conn_source_new(struct config *config);
void conn_source_unref(struct conn_source *s);

struct conn_set;

struct conn {
	TAILQ_ENTRY(conn) entry;       /* of the set, in order of loading */
	TAILQ_ENTRY(conn) dirty_entry; /* of those that the reconciler has to look at */
	TAILQ_ENTRY(conn) peer_entry;  /* of those with the same peer address */
	UT_hash_handle hh;             /* by name; instances are not in it */
	UT_hash_handle hh_reqid;       /* the first of its reqid */
	struct conn_set *set;
	char *name;
	struct conn_source *source;
	const struct conn_config *config; /* in `source` */
	struct conn *template;         /* of an instance, else NULL */
	uint32_t instance;             /* its number, from 1 */
	uint32_t serial, reqid;

	struct orientation orientation;
	struct conn_problem problem;   /* set aside, and why */
	struct ike_conn *ike;          /* NULL until oriented */
	struct peer_bucket *bucket;

	/* wanted */
	enum conn_wish want_up; /* auto=start, or `up` */
	enum conn_wish routed;  /* auto=ondemand, or `route` */
	bool held;              /* dpdaction=hold: traffic brings it back */
	bool protect;           /* an SA came up: traffic stays protected until down */
	bool once;              /* one attempt, because of traffic or auto=keep */

	/* known */
	enum conn_phase phase;
	bool dirty;
	bool policy_installed, policy_stale;
	bool policy_failed; /* it could not be set; tried again when `retry` is due */
	enum policy_action policy_action;
	struct ts_list *narrowed_local, *narrowed_remote; /* of the SA, when less than ours; NULL */
	struct ip_endpoint narrowed_peer;
	uint64_t up_since_us, tried_us; /* when it came up; when the attempt under way began */
	unsigned attempts; /* failed in a row */
	struct timer retry;
	struct failure *failure; /* the last one; NULL when it is up */
};

/** Effects and questions; none may call back into the set. */
struct conn_host {
	void *context;
	uint64_t (*now_us)(void *context);
	uint64_t (*wall_s)(void *context);
	uint32_t (*random_below)(void *context, uint32_t limit);
	struct orient_host orient;
	/** The back end's, which may have an SA of their own: RFC 9611. */
	unsigned (*resources)(void *context);
	/** False with a sentence in `err` (BACKEND_ERROR_TEXT bytes). */
	bool (*policy_set)(void *context, const struct sa_policy *policy, char *err);
	void (*policy_remove)(void *context, uint32_t reqid);
	/** The engine's. Its events may come during the call, through conn_set_event(). */
	enum ike_up (*up)(void *context, struct ike_conn *conn);
	void (*down)(void *context, struct ike_conn *conn, enum ike_reason reason);
	/** There is a secret for its identities; else `why` names what was searched. */
	bool (*has_key)(void *context, const struct ike_conn *conn, struct text *why);
	/** A line about the connection, for the log and who waits. */
	void (*say)(void *context, const struct conn *conn, enum log_level level, const char *text);
	/** It came up; an attempt failed (`final`: this attempt is over). For who waits. */
	void (*came_up)(void *context, const struct conn *conn);
	void (*failed)(void *context, const struct conn *conn, const struct failure *failure,
		       bool final);
};

/** A command's result; `text` is a sentence when `rc` is not 0. */
struct conn_reply {
	enum conn_rc rc;
	enum ike_reason reason;
	char text[512];
};

/** `host` must outlive the set. NULL without memory. */
struct conn_set *conn_set_new(const struct conn_host *host);
/** Frees all, without any effect. SAs of the engine must be gone or go before. */
void conn_set_free(struct conn_set *set);

/** Load what is not auto=ignore; policies and negotiations come with the next reconcile. */
void conn_set_load(struct conn_set *set, struct conn_source *source);
/**
 * Add `config`, or give an existing connection of that name this configuration: if it differs in
 * what the engine needs, its SAs are taken down and, if they were wanted, come up again; the
 * policy stays in place meanwhile. NULL without memory.
 */
struct conn *conn_set_add(struct conn_set *set, struct conn_source *source,
			  const struct conn_config *config);
/**
 * Delete the connections `name` and NAME/LxR that `source` did not give their configuration: after
 * all that it has of that name were added.
 */
void conn_set_prune(struct conn_set *set, const char *name, const struct conn_source *source);
/** Take down, remove the policy, forget. Its instances go too. */
void conn_delete(struct conn *c);

struct conn *conn_set_first(const struct conn_set *set);
struct conn *conn_next(const struct conn *c);
size_t conn_set_count(const struct conn_set *set);
/** `name` is the connection's own, or one of its aliases. */
bool conn_named(const struct conn *c, const char *name);
/** By name, or alias (NAME of NAME/1x2 and connalias=): the next after `after`, NULL: the first. */
struct conn *conn_set_find(const struct conn_set *set, const char *name, const struct conn *after);

/** The (first) connection of a reqid, NULL. */
struct conn *conn_set_by_reqid(const struct conn_set *set, uint32_t reqid);

/** Wanted up from now on. OK when it is up or on its way (see `phase` after the reconcile). */
void conn_up(struct conn *c, struct conn_reply *reply);
/** No longer wanted: SAs go, and the policy, unless it is routed by configuration or command. */
void conn_down(struct conn *c);
/** Install the policy that waits for traffic; its result is known at once. */
void conn_route(struct conn *c, struct conn_reply *reply);
/** Remove it, and the SAs with it. */
void conn_unroute(struct conn *c);

/** Machine's addresses or a name's have changed, or secrets were read: look at all again. */
void conn_set_reorient(struct conn_set *set);
void conn_set_retry_now(struct conn_set *set);

/** While held, policies are installed and nothing is initiated: for the daemon's start and end. */
void conn_set_hold(struct conn_set *set, bool hold);
/** Compare and act; returns when to be called again (host's clock), UINT64_MAX: not by time. */
uint64_t conn_set_reconcile(struct conn_set *set);

/** The engine's events (of IKE_EVENT_REMOTE: those to be recorded), callbacks and questions. */
void conn_set_event(struct conn_set *set, const struct ike_event *ev);
size_t conn_set_candidates(struct conn_set *set, const struct ip_address *local,
			   const struct ip_address *remote, struct ike_conn **out, size_t max);
/** Before a Child SA goes in: its policy must be there, so that what it opens is protected. */
bool conn_child_adding(struct conn *c, const struct child_sa *sa, char *err);
/** The back end met a packet of `reqid`. */
void conn_set_acquire(struct conn_set *set, uint32_t reqid);
/** The policy that was set for `reqid` is not there after all: `why`. It is set again later. */
void conn_set_policy_failed(struct conn_set *set, uint32_t reqid, const char *why);

/** The records of all connections. */
const struct failure_log *conn_set_failures(const struct conn_set *set);
/** `unrouted`, `routed-ondemand`, `routed-tunnel` */
const char *conn_state_name(const struct conn *c);
/** Remote is any: it only responds, and each peer gets an instance. */
bool conn_is_template(const struct conn *c);
/** `"net1"`, `"road"[1] 192.0.2.7` as it starts a line; `buf` of `len`. */
const char *conn_label(const struct conn *c, char *buf, size_t len);

#endif
