/*
 * The IKEv2 engine: RFC 7296, as a pure function.
 *
 * It is given events (a datagram arrived, time passed, a command) and answers
 * with effects through struct ike_host (send, install an SA, report). It has no
 * socket, clock, file, random source or thread of its own, so the daemon, the
 * simulator and the fuzzers are hosts of the same code. Callbacks run inside
 * the call that caused them and must not call back into the engine, except
 * for the lookups that say so; what they would do next they do afterwards.
 */
#ifndef IKE_ENGINE_H
#define IKE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "crypto/ke.h"
#include "ike/conn.h"
#include "ike/reason.h"

enum ike_event_type {
	IKE_EVENT_PROGRESS,       /* a line for the log and for who waits (`ipsec up`) */
	IKE_EVENT_REFUSED,        /* an unauthenticated refusal: told at once, retries go on */
	IKE_EVENT_FAILED,         /* this attempt (IKE SA or Child SA of `conn`) is over */
	IKE_EVENT_IKE_UP,
	IKE_EVENT_IKE_DOWN,
	IKE_EVENT_CHILD_UP,
	IKE_EVENT_CHILD_DOWN,     /* the last Child SA of `conn` is gone; conn/ decides what next */
	IKE_EVENT_IKE_REKEYED,
	IKE_EVENT_CHILD_REKEYED,
	IKE_EVENT_REMOTE,         /* something a stranger sent; the host limits the rate */
};

/** Kept as it is for `ipsec why`: what was offered, what was wanted. */
struct ike_event {
	enum ike_event_type type;
	enum log_level level;
	enum ike_reason reason;
	const struct ike_conn *conn; /* NULL: none yet */
	uint32_t ike_id, child_id;   /* serial numbers, 0: none */
	const char *text;            /* without the `"conn" #N: ` in front */
	const char *ours, *theirs;   /* both sides of a mismatch, NULL when not known */
	const struct ip_endpoint *peer;
};

struct ike_host {
	void *context;
	uint64_t (*now_us)(void *context);
	random_fn *random;
	/**
	 * A datagram without the non-ESP marker; the host puts it in front unless local port is 500.
	 * One byte 0xff is a NAT keepalive (RFC 3948 §2.3) and goes out as it is.
	 */
	void (*send)(void *context, const struct ip_endpoint *local,
		     const struct ip_endpoint *remote, struct bytes datagram);
	/**
	 * Connections that may serve a peer at `remote` reaching us at `local`, most exact first;
	 * fills `out` and returns how many (at most `max`). Borrowed: the engine refs what it keeps.
	 */
	size_t (*connections)(void *context, const struct ip_address *local,
			      const struct ip_address *remote, struct ike_conn **out, size_t max);
	/** The pre-shared key; false when there is none. */
	bool (*psk)(void *context, const struct ike_conn *conn, const struct identity *local,
		    const struct identity *remote, struct secret *out);

	/** `resource` as in struct child_sa: who is to receive on it. */
	uint32_t (*alloc_spi)(void *context, const struct ike_conn *conn,
			      const struct ip_address *local, const struct ip_address *remote, unsigned resource);
	void (*free_spi)(void *context, const struct ip_address *local, uint32_t spi);
	/** False with a sentence in `err` (256 bytes). */
	bool (*sa_add)(void *context, const struct child_sa *sa, enum sa_direction which,
		       char *err);
	void (*sa_remove)(void *context, const struct child_sa *sa, enum sa_direction which);
	bool (*sa_move)(void *context, const struct child_sa *sa, const struct esp_path *to);
	bool (*sa_query)(void *context, const struct child_sa *sa, struct child_sa_usage *out);

	void (*event)(void *context, const struct ike_event *event);
};

struct ike_engine_config {
	uint32_t cookie_threshold;  /* half-open IKE SAs from which cookies are demanded (ddos-ike-threshold) */
	uint32_t half_open_max;     /* refuse new ones from here (max-halfopen-ike) */
	bool always_cookie;         /* ddos-mode=busy */
	bool never_cookie;          /* ddos-mode=unlimited */
	uint32_t sa_max;            /* IKE SAs in all */
};

struct ike_engine;

/** `host` must outlive the engine. NULL when there is no memory. */
struct ike_engine *ike_engine_new(const struct ike_host *host,
				  const struct ike_engine_config *config);
void ike_engine_configure(struct ike_engine *e, const struct ike_engine_config *config);
/** Frees all, sending nothing and leaving SAs in the back end as they are. */
void ike_engine_free(struct ike_engine *e);

/** A datagram that arrived; the non-ESP marker has been removed. Contents may be anything. */
void ike_engine_receive(struct ike_engine *e, const struct ip_endpoint *local,
			const struct ip_endpoint *remote, struct bytes datagram);
/** Run timers that are due; returns when to call again (host's clock), UINT64_MAX: nothing armed. */
uint64_t ike_engine_advance(struct ike_engine *e);

enum ike_up {
	IKE_UP_STARTED, /* IKE_EVENT_CHILD_UP or IKE_EVENT_FAILED will follow */
	IKE_UP_ALREADY, /* it is up (no second Child SA is made) */
	IKE_UP_PENDING, /* an attempt is under way; its events will follow */
	IKE_UP_FAILED,  /* could not start; an IKE_EVENT_FAILED was given */
};

/** Bring a connection up: an IKE SA to the same peer and identities is used if there is one. */
enum ike_up ike_engine_up(struct ike_engine *e, struct ike_conn *conn);
/**
 * Take it down: its Child SAs, and the IKE SA too when no other connection uses it. Attempts under
 * way end. Deletes are sent; SAs leave the back end at once.
 */
void ike_engine_down(struct ike_engine *e, struct ike_conn *conn, enum ike_reason reason);
/** Start a rekey of its newest established SA; false when there is none. Events follow. */
bool ike_engine_rekey_ike(struct ike_engine *e, struct ike_conn *conn);
/** All of its resources too, before. */
bool ike_engine_rekey_child(struct ike_engine *e, struct ike_conn *conn);
/** Delete every SA at its peer (daemon's stop). Nothing is waited for. */
void ike_engine_shutdown(struct ike_engine *e);

/** Events of the back end. */
void ike_engine_expire(struct ike_engine *e, uint32_t spi, enum sa_direction direction, bool hard);
void ike_engine_first_packet(struct ike_engine *e, uint32_t child_id);
void ike_engine_peer_moved(struct ike_engine *e, uint32_t child_id, const struct ip_endpoint *to);

/** For status; times in seconds from now, UINT64_MAX: not armed. */
struct ike_sa_info {
	uint32_t id;
	const struct ike_conn *conn;
	bool initiator, established, newest;
	const char *state; /* name of the state, "established" when it is */
	uint64_t spi_i, spi_r;
	struct ip_endpoint local, remote;
	const struct identity *local_id, *remote_id; /* NULL before IKE_AUTH */
	struct cipher_suite suite;
	bool nat_local, nat_remote;
	uint64_t rekey_in_s, replace_in_s, established_s;
};
struct child_sa_info {
	uint32_t id, ike_id;
	const struct ike_conn *conn;
	bool established, newest, initiator;
	const char *state;
	const struct child_sa *sa;
	const struct identity *remote_id;
	uint64_t rekey_in_s, replace_in_s, liveness_in_s, added_s;
};
void ike_engine_each_ike(struct ike_engine *e, void (*fn)(void *, const struct ike_sa_info *), void *context);
void ike_engine_each_child(struct ike_engine *e, void (*fn)(void *, const struct child_sa_info *), void *context);
/**
 * Keys of every IKE SA and Child SA, for Wireshark: the one way that secrets leave.
 * IKE SA: SPIs and SK_ei, SK_er, SK_ai, SK_ar; the strings of Wireshark's tables.
 */
void ike_engine_export_keys(struct ike_engine *e,
			    void (*ike)(void *, const struct ike_sa_info *, struct bytes sk_ei, struct bytes sk_er,
					struct bytes sk_ai, struct bytes sk_ar),
			    void (*child)(void *, const struct child_sa *), void *context);

/** Counters for status, metrics and tests. */
#define IKE_COUNTERS(X)                                                                        \
	X(received) X(sent) X(retransmitted) X(dropped_malformed) X(dropped_unknown_spi)       \
	X(dropped_integrity) X(dropped_replay) X(dropped_limit) X(cookies_sent)                \
	X(ike_established) X(child_established) X(ike_rekeyed) X(child_rekeyed)                \
	X(auth_failed) X(no_proposal) X(ts_unacceptable) X(timeouts) X(dpd_probes)
struct ike_counters {
#define X(name) uint64_t name;
	IKE_COUNTERS(X)
#undef X
	uint64_t half_open, ike_total, child_total; /* now */
};
const struct ike_counters *ike_engine_counters(struct ike_engine *e);

#endif
