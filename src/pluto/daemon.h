/*
 * The daemon: one event loop (libevent) around the IKE engine, the connections
 * and a back end. Everything here runs on one thread; name lookups and the
 * workers of a back end have their own.
 *
 * The loop is: run what is due in the engine and in the connections, sleep
 * until a descriptor or the next timer. Callbacks of the engine only note what
 * happened; what follows from it is done by the next turn.
 */
#ifndef PLUTO_DAEMON_H
#define PLUTO_DAEMON_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/secrets.h"
#include "conn/conn.h"
#include "ike/engine.h"
#include "pluto/options.h"
#include "sa/backend.h"

struct addresses;
struct control;
struct request;
struct resolver;
struct sockets;

enum { BACKEND_FDS_MAX = 64 };

struct daemon {
	const struct options *options;
	char *rundir, *secretsfile;
	int lock_fd;                        /* of the pid file */
	const char *logfile;
	struct event_base *base;
	struct event *tick, *signals[4], *watchdog;

	struct conn_source *source;         /* the configuration read at start */
	const struct setup_config *setup;   /* in `source` */
	struct secrets *secrets;

	struct addresses *addresses;
	struct resolver *resolver;
	struct sockets *sockets;
	struct control *control;

	struct backend *backend;
	struct backend_events backend_events;
	bool user_space;                    /* the back end is esp/ */
	char protostack_reason[BACKEND_ERROR_TEXT];
	struct event *backend_watch[BACKEND_FDS_MAX];
	int backend_fds[BACKEND_FDS_MAX];
	size_t backend_fd_count;

	struct ike_host ike_host;
	struct ike_engine *engine;
	struct conn_host conn_host;
	struct conn_set *conns;

	uint64_t started_us;
	bool stopping, keep_policies;
	bool addresses_changed, reorient;
};

/**
 * Bring everything up to the point where it answers. False after having said why (on the log,
 * and on stderr while a caller waits for the start).
 */
bool daemon_start(struct daemon *d, const struct options *options);
/** Turn the loop until told to stop. */
void daemon_run(struct daemon *d);
/** Tell the peers, remove what we made, free everything. */
void daemon_stop(struct daemon *d);
/**
 * Ask for the end of daemon_run(). `keep`: policies stay in force, so that traffic that they cover
 * is dropped until the next start adopts them (restart).
 */
void daemon_quit(struct daemon *d, bool keep);

/** Read the secrets anew; problems are logged and told to `r` (NULL: nobody asked). */
void daemon_read_secrets(struct daemon *d, struct request *r);
/** Look at the addresses and bind sockets for them; false when that could not be done for one. */
bool daemon_listen(struct daemon *d);
/** The back end may have other descriptors now. */
void daemon_watch_backend(struct daemon *d);

/** Log an error that ends the start, and show it to who started us. */
void daemon_fail(const struct daemon *d, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* backend.c: which back end, and why */
bool daemon_choose_backend(struct daemon *d);
/** What a killed predecessor left and no connection asked for goes. */
void daemon_settle_backend(struct daemon *d);
void daemon_close_backend(struct daemon *d);

/* events.c: the tables of callbacks */
void daemon_events_init(struct daemon *d);
/** One line about a connection (NULL: none) and SA (0: none): to the log and to who waits. */
void daemon_say(struct daemon *d, const struct conn *c, uint32_t sa, enum log_level level,
		const char *text);

#endif
