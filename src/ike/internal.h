/*
 * Inside the engine: its own structure, its limits, and the calls between its files.
 * Nothing outside ike/ includes this.
 */
#ifndef IKE_INTERNAL_H
#define IKE_INTERNAL_H

#include "base/clock.h"
#include "ike/child.h"
#include "ike/engine.h"
#include "ike/ike_sa.h"

/* glibc's <sys/queue.h> lacks it */
#ifndef TAILQ_FOREACH_SAFE
#define TAILQ_FOREACH_SAFE(var, head, field, next)                                             \
	for ((var) = TAILQ_FIRST(head); (var) && ((next) = TAILQ_NEXT(var, field), 1); (var) = (next))
#endif

/** Every limit of the engine. */
enum {
	OUT_BYTES_MAX = 16384,     /* the largest message that we send */
	CANDIDATES_MAX = 4096,      /* connections looked at for one peer */
	COOKIES_MAX = 4,           /* times that an IKE_SA_INIT is sent again with a cookie */
	KE_RETRIES_MAX = 3,        /* times that it is sent again with another group */
	TASKS_MAX = 8192,          /* exchanges waiting on one IKE SA */
	CHILDREN_MAX = 4096,       /* Child SAs of one IKE SA */
	TEXT_MAX = 1024,
};
#define HALF_OPEN_US (30 * US_PER_S)     /* a responder waits for IKE_AUTH */
#define CLOSED_US (10 * US_PER_S)        /* an SA that ended answers retransmissions */
#define LINGER_US (3 * US_PER_S)         /* an inbound half outlives its delete */
#define SUPERSEDED_US (90 * US_PER_S)    /* the peer should have deleted what it replaced */
#define REDUNDANT_US (2 * US_PER_S)      /* then a redundant IKE SA goes */
#define DELETE_TIMEOUT_US (20 * US_PER_S)/* for the answer to a delete of an IKE SA */
#define IDLE_INITIATOR_US (3 * US_PER_S) /* an IKE SA without Child SAs */
#define IDLE_RESPONDER_US (30 * US_PER_S)
#define COOKIE_ROTATION_US (60 * US_PER_S)

/** A connection, as long as an SA or a task of it exists. */
struct conn_entry {
	const struct ike_conn *conn;
	struct ike_list ikes;
	struct child_list children;
	size_t tasks;
	UT_hash_handle hh;
};
/** IKE SAs of one pair of identities. */
struct peer_entry {
	uint64_t key;
	struct ike_list ikes;
	UT_hash_handle hh;
};

struct ike_engine {
	const struct ike_host *host;
	struct ike_engine_config config;
	struct timer_wheel *wheel;
	uint64_t now;              /* of the call under way */
	uint32_t serial;
	struct ike_sa *by_id, *by_spi, *by_half;
	struct child *child_by_id, *child_by_spi;
	struct conn_entry *conns;
	struct peer_entry *peers;
	struct ike_list dirty, dead;
	struct child_list dead_children;
	struct ike_counters counters;
	uint8_t cookie_version;
	uint64_t cookie_since_us;
	uint8_t cookie_secret[2][32]; /* this version's and the one before */
	struct rate_limit version_limit;
	struct rate_limit stranger_limit; /* IKE_SA_INIT requests; cookies are demanded above it */
	uint32_t dropping;         /* the IKE SA that is ending: its Child SAs are no help to each other */
	struct ip_endpoint from, at; /* where the datagram under way came from, and to: answers go back */
	struct message in;         /* the message under way */
	struct proposal_list list;  /* what is offered or answered, while it is built */
	struct ike_conn *candidates[CANDIDATES_MAX];
	uint8_t *datagram;         /* its bytes, decrypted in place; IKE_MESSAGE_MAX */
	struct bytes datagram_bytes; /* the whole datagram under way, in `datagram` */
	uint8_t out[OUT_BYTES_MAX];
};

/* engine.c */
/** Around every public call: sets the time, then runs queues and frees what ended. */
void engine_enter(struct ike_engine *e);
void engine_leave(struct ike_engine *e);
void engine_random(struct ike_engine *e, void *buf, size_t len);
/** 0 <= n < bound. */
uint64_t engine_random_below(struct ike_engine *e, uint64_t bound);
void engine_send(struct ike_engine *e, const struct ip_endpoint *local, const struct ip_endpoint *remote,
		 struct bytes datagram);
struct conn_entry *conn_entry_get(struct ike_engine *e, const struct ike_conn *conn);
struct conn_entry *conn_entry_find(struct ike_engine *e, const struct ike_conn *conn);
void conn_entry_release(struct ike_engine *e, struct conn_entry *c);

/* event.c */
struct event_about {
	const struct ike_conn *conn;
	const struct ike_sa *ike;
	const struct child *child;
	uint32_t child_id;
	const char *ours, *theirs;
	const struct ip_endpoint *peer;
};
void event_emit(struct ike_engine *e, enum ike_event_type type, enum log_level level, enum ike_reason reason,
		struct event_about about, const char *format, ...) __attribute__((format(printf, 6, 7)));
#define event_progress(e, about, ...) event_emit(e, IKE_EVENT_PROGRESS, LOG_LEVEL_INFO, REASON_NONE, about, __VA_ARGS__)
#define event_debug(e, about, ...) event_emit(e, IKE_EVENT_PROGRESS, LOG_LEVEL_DEBUG, REASON_NONE, about, __VA_ARGS__)
#define ABOUT_IKE(sa) ((struct event_about){ .conn = (sa)->conn, .ike = (sa), .peer = &(sa)->remote })
#define ABOUT_CHILD(sa, c) ((struct event_about){ .conn = (c)->conn, .ike = (sa), .child = (c), .peer = &(sa)->remote })
/** `192.0.2.1:UDP/500` into `buf` of IP_ENDPOINT_TEXT + 4. */
const char *endpoint_text(const struct ip_endpoint *p, char *buf);
/** `IPV4_ADDR '192.0.2.1'` */
const char *identity_text(const struct identity *id, char *buf, size_t len);
enum ike_reason reason_from_notify(uint16_t type);

/* cookie.c: RFC 7296 §2.6 */
enum { COOKIE_BYTES = 33 };
bool cookie_wanted(struct ike_engine *e);
bool cookie_make(struct ike_engine *e, const struct ip_endpoint *remote, uint64_t spi_i, struct bytes ni,
		 uint8_t out[COOKIE_BYTES]);
bool cookie_verify(struct ike_engine *e, const struct ip_endpoint *remote, uint64_t spi_i, struct bytes ni,
		   struct bytes cookie);

/* nat.c: RFC 7296 §2.23 */
void nat_put(struct ike_engine *e, const struct ike_sa *sa, struct message_builder *b);
void nat_detect(struct ike_engine *e, struct ike_sa *sa, const struct message *m);
/** To port 4500 when there is NAT, or it is asked for. */
void nat_float(struct ike_sa *sa);
/** An authenticated message came from, and to, these. */
void nat_follow(struct ike_engine *e, struct ike_sa *sa, const struct ip_endpoint *local,
		const struct ip_endpoint *remote);
void nat_keepalive_arm(struct ike_engine *e, struct ike_sa *sa);
void nat_keepalive_due(struct timer *t, void *context);

/* conn_select.c: which connection */
/** The host's connections for these addresses, into e->candidates; returns how many. */
size_t conn_candidates(struct ike_engine *e, const struct ip_address *local, const struct ip_address *remote);
/** Identity that we use as `conn` at this address. */
struct identity conn_local_id(const struct ike_conn *conn, const struct ip_address *local);
/** The peer's, as configured; %any stays so. */
bool conn_matches_ids(const struct ike_conn *conn, const struct ip_address *local, const struct identity *idr,
		      const struct identity *idi);
/** Responder: the connection whose selectors, mode and proposals fit the request best; NULL: none. */
struct ike_conn *conn_select_child(struct ike_engine *e, struct ike_sa *sa, const struct message *m);

/* init_initiator.c, init_responder.c, auth_initiator.c, auth_responder.c: RFC 7296 §1.2 */
typedef void message_fn(struct ike_engine *e, struct ike_sa *sa, const struct message *m);
bool init_start(struct ike_engine *e, struct ike_sa *sa);
message_fn init_response, auth_response, auth_request;
void init_request(struct ike_engine *e, const struct ip_endpoint *local, const struct ip_endpoint *remote,
		  struct bytes datagram);
void auth_start(struct ike_engine *e, struct ike_sa *sa);
/** Responder: the keys, when the first IKE_AUTH comes (no key derivation for who never does). */
bool auth_derive(struct ike_engine *e, struct ike_sa *sa);

/* auth.c: RFC 7296 §2.15 */
enum auth_outcome { AUTH_OK, AUTH_NO_SECRET, AUTH_ERROR };
/** What one side's AUTH payload must hold. */
enum auth_outcome auth_compute(struct ike_engine *e, struct ike_sa *sa, const struct ike_conn *conn,
			       const struct identity *local, const struct identity *remote, bool of_initiator,
			       uint8_t *out /* 64 */);
/** The peer's AUTH payload is what it must be; compared in constant time. */
enum auth_outcome auth_verify(struct ike_engine *e, struct ike_sa *sa, const struct ike_conn *conn,
			      const struct identity *local, const struct identity *remote, const struct message *m);
uint8_t auth_method(enum ike_auth how);
void auth_report_up(struct ike_engine *e, struct ike_sa *sa);

/* create_child.c, rekey_ike.c: RFC 7296 §1.3 */
message_fn create_child_request, create_child_response;
void rekey_ike_request(struct ike_engine *e, struct ike_sa *sa, const struct message *m);
void rekey_ike_response(struct ike_engine *e, struct ike_sa *sa, struct task *t, const struct message *m);
bool rekey_ike_start(struct ike_engine *e, struct ike_sa *sa, struct task *t);
/**
 * The SA that still has the Child SAs of `sa`, which the peer made while we rekey the same one
 * ourselves (§2.8.2) and our response has not come; NULL when that is settled.
 */
struct ike_sa *rekey_ike_undecided(struct ike_engine *e, const struct ike_sa *sa);
/** The peer closes the SA that we are rekeying (§2.25.2): its own successor, if any, takes over. */
void rekey_ike_forget(struct ike_engine *e, struct ike_sa *sa);
/**
 * The peer deletes a Child SA that we do not know: the one that we are asking for, if the delete has
 * overtaken the answer. It is remembered until that comes.
 */
void child_ended_early(struct ike_sa *sa, uint32_t peer_spi);
bool child_create_start(struct ike_engine *e, struct ike_sa *sa, struct task *t);
bool child_rekey_start(struct ike_engine *e, struct ike_sa *sa, struct task *t);
/** A new key pair of `method`, noted as tried. */
bool negotiation_set_ke(struct ike_engine *e, struct negotiation *n, uint16_t method);
/** The method that the peer asked for by INVALID_KE_PAYLOAD, 0: none that may be tried. */
uint16_t ke_retry(struct negotiation *n, const struct message *m, const struct proposal_list *offer);

/* command.c */
/** An attempt or a waiting task of the connection exists. */
bool conn_is_pending(struct ike_engine *e, const struct ike_conn *conn);

/* informational.c: RFC 7296 §1.4 */
message_fn informational_request, informational_response;
bool probe_start(struct ike_engine *e, struct ike_sa *sa, struct task *t);
bool child_delete_start(struct ike_engine *e, struct ike_sa *sa, struct task *t);
bool ike_delete_start(struct ike_engine *e, struct ike_sa *sa, struct task *t);
/** One INFORMATIONAL for which no answer is waited. */
void informational_send_once(struct ike_engine *e, struct ike_sa *sa, uint16_t notify);

/* timers.c */
void ike_arm_life(struct ike_engine *e, struct ike_sa *sa);
void ike_life_due(struct timer *t, void *context);
void child_life_due(struct timer *t, void *context);
/** Rekey it now, or when its turn in the queue comes. */
void child_rekey_soon(struct ike_engine *e, struct child *c);
/** An IKE SA that no Child SA uses goes after a moment, by its initiator first. */
void idle_arm(struct ike_engine *e, struct ike_sa *sa);
void idle_due(struct timer *t, void *context);
void dpd_arm(struct ike_engine *e, struct ike_sa *sa);
void dpd_due(struct timer *t, void *context);

/* duplicate.c: several IKE SAs of one pair of identities */
bool duplicate_exists(struct ike_engine *e, const struct ike_sa *sa);
void duplicate_resolve(struct ike_engine *e, struct ike_sa *sa, bool initial_contact);
/** A redundant SA of ours may go now. */
void duplicate_due(struct ike_engine *e, struct ike_sa *sa);

#include "ike/exchange.h"

#endif
