/*
 * An IKE SA: its state, its negotiation and its queue of exchanges.
 *
 * Only ike_sa_set_state() changes a state, only ike_sa_establish() reaches
 * ESTABLISHED, only ike_sa_close() ends an SA. An SA that ended is out of every
 * index at once; its memory goes at the end of the engine call, so a handler
 * may go on holding it. SAs keep each other's serial numbers, never pointers.
 */
#ifndef IKE_IKE_SA_H
#define IKE_IKE_SA_H

#include <sys/queue.h>

#include "base/timer.h"
#include "crypto/ke.h"
#include "crypto/sk.h"
#include "ike/conn.h"
#include "ike/hash.h"
#include "ike/keys.h"
#include "ike/message.h"
#include "ike/reason.h"

/* name, name in status: as Libreswan calls them */
#define IKE_STATES(X)                                                                          \
	X(INIT_I, "IKE_SA_INIT_I")   /* asked IKE_SA_INIT */                                   \
	X(AUTH_I, "IKE_AUTH_I")      /* asked IKE_AUTH */                                      \
	X(INIT_R, "IKE_SA_INIT_R")   /* answered IKE_SA_INIT: half-open */                     \
	X(REKEY_I, "REKEY_IKE_I")    /* asked to replace another IKE SA; has no keys yet */    \
	X(ESTABLISHED, "established")                                                          \
	X(REKEYED, "rekeyed")        /* a newer one has its children; waits for its delete */  \
	X(DELETING, "deleting")      /* asked to delete it */                                  \
	X(CLOSED, "closed")          /* gone; still answers a retransmitted last request */    \
	X(DEAD, "dead")              /* on the reap list */

enum ike_state {
#define X(id, name) IKE_STATE_##id,
	IKE_STATES(X)
#undef X
};

/** A copy of bytes that is owned; empty when `ptr` is NULL. */
struct packet {
	uint8_t *ptr;
	size_t len;
};

/** What both sides bring to new keys; secret memory, freed when the exchange is over. */
struct negotiation {
	struct ke *ke; /* ours; NULL without a key exchange */
	uint8_t ni[NONCE_MAX], nr[NONCE_MAX];
	uint16_t ni_len, nr_len;
	uint16_t ke_tried[4]; /* methods that have been tried, in order */
	uint8_t ke_tries, cookies;
	struct packet peer_ke;  /* responder: kept until IKE_AUTH comes */
	struct packet cookie;   /* to be returned */
	struct packet request;  /* IKE_SA_INIT messages, which AUTH covers */
	struct packet response;
	uint8_t request_hash[32]; /* responder: to know a retransmission */
};

enum task_type {
	TASK_PROBE, TASK_CHILD_CREATE, TASK_CHILD_REKEY, TASK_CHILD_DELETE, TASK_IKE_REKEY, TASK_IKE_DELETE,
	TASK_RESOURCE_CREATE,
};

enum { TASK_ENDED_MAX = 8 };

/** An exchange that we want to initiate, or (sa->active) are initiating. */
struct task {
	TAILQ_ENTRY(task) entry;
	enum task_type type;
	struct ike_conn *conn;  /* CHILD_CREATE: for whom; counted */
	uint32_t child_id;      /* Child SA to rekey or delete; RESOURCE_CREATE: the fallback of the group */
	uint32_t new_id;        /* what the request under way makes: Child SA or IKE SA */
	uint32_t collision_id;  /* what the peer's own rekey of the same SA made; RFC 7296 §2.8 */
	uint64_t not_before_us; /* back-off */
	uint8_t temporary;      /* TEMPORARY_FAILUREs so far */
	uint8_t refusals;       /* of a rekey, which is tried until the SA expires */
	bool without_ke;        /* refused with a key exchange: try once without */
	bool wide;              /* IKE_REKEY: refused with the suite in use: offer all */
	bool forced;            /* CHILD_CREATE: although another IKE SA has one */
	bool has_first;         /* `first` is offered first; RESOURCE_CREATE: nothing else */
	struct cipher_suite first;
	uint16_t ke_method;     /* the peer's wish by INVALID_KE_PAYLOAD, 0: the first of the offer */
	bool abandoned;         /* taken down meanwhile: delete what comes of it */
	/* the last SPIs that the peer deleted while we asked, and that we did not know; 0: none */
	uint32_t ended[TASK_ENDED_MAX];
	uint8_t ended_next;
	struct negotiation *nego;
};
TAILQ_HEAD(task_list, task);

struct child;
TAILQ_HEAD(child_list, child);

struct ike_sa {
	uint32_t id;
	enum ike_state state;
	bool initiator;          /* original initiator: role in the SPIs and keys */
	uint64_t spi_i, spi_r;
	struct ike_conn *conn;   /* counted */
	struct ip_endpoint local, remote;
	struct identity local_id, remote_id; /* remote: once authenticated, or as configured */
	struct cipher_suite suite;
	struct ike_keys keys;
	struct sk *sk_in, *sk_out;
	uint64_t iv_counter;

	bool nat_local, nat_remote, nat_known; /* known: the peer sent NAT detection payloads */
	bool encap;              /* ESP in UDP */
	uint8_t nonce_min[32];   /* lowest nonce it was made with; RFC 7296 §2.8.1 */
	uint8_t nonce_min_len;

	/* our requests: a window of one */
	uint32_t request_id;     /* next, or that of the request under way */
	struct packet request;   /* under way, for retransmission */
	uint8_t request_exchange;
	uint16_t retransmits;
	uint64_t request_since_us;
	struct timer request_timer; /* retransmission, or the next delayed task */
	struct task *active;     /* whose request it is; NULL: IKE_SA_INIT or IKE_AUTH */
	struct task_list tasks;
	size_t task_count;

	/* the peer's requests */
	uint32_t expected_id;
	struct packet response;  /* to expected_id - 1 */

	uint32_t unproved_child; /* answered by us; the peer has shown no sign of having the answer */
	bool answer_proves;      /* it answered IKE_AUTH: responses are such a sign too, not only requests */

	struct negotiation *nego;
	uint32_t first_child;    /* AUTH_I: larval Child SA of IKE_AUTH */
	bool abandoned;          /* AUTH_I: taken down meanwhile: delete when it is up */
	bool redundant;          /* another with the same peer stays; RFC 7296 §2.8.1's rule chose */
	uint8_t redundant_tries;
	bool forgotten;          /* the peer started anew: nothing of this SA comes any more */
	enum ike_reason refused; /* unauthenticated refusal that was seen */
	uint64_t refused_told;   /* bit of each refusal that was told */
	char *refused_theirs;    /* what came with it, for the last event */

	uint32_t rekeyed_by, rekeys; /* the newer, the older SA */
	uint32_t established_serial; /* serial numbers that were given when it was established: a clock */
	uint64_t established_us, rekey_due_us, expire_us;
	uint64_t last_received_us, last_sent_us; /* authenticated messages */
	uint64_t dpd_delay_us;
	struct timer life_timer, dpd_timer, keepalive_timer, idle_timer;

	struct child_list children;
	size_t child_count;

	UT_hash_handle hh_id, hh_spi, hh_half;
	struct half_open_key {
		struct ip_address address;
		uint8_t pad;
		uint16_t port;
		uint64_t spi_i;
	} half_key;
	uint64_t peer_key; /* hash of both identities, 0: not in that index */
	TAILQ_ENTRY(ike_sa) of_peer, of_conn, of_dirty, of_dead;
	bool dirty, in_id, in_spi, in_half;
};
TAILQ_HEAD(ike_list, ike_sa);

struct ike_engine;
_Static_assert((int)REASON_LIMIT < 64, "a bit for each reason");

const char *ike_state_name(enum ike_state s);
/** Our own SPI. */
static inline uint64_t ike_sa_spi(const struct ike_sa *sa)
{
	return sa->initiator ? sa->spi_i : sa->spi_r;
}
/** Traffic and exchanges may use it. */
static inline bool ike_sa_is_up(const struct ike_sa *sa)
{
	return sa->state == IKE_STATE_ESTABLISHED;
}

/** A new SA with a serial number and an SPI of ours, indexed by both. NULL without memory. */
struct ike_sa *ike_sa_new(struct ike_engine *e, struct ike_conn *conn, bool initiator,
			  enum ike_state state);
void ike_sa_set_state(struct ike_engine *e, struct ike_sa *sa, enum ike_state state);
/** Also moves the SA between the indexes by connection. */
void ike_sa_set_conn(struct ike_engine *e, struct ike_sa *sa, struct ike_conn *conn);
/** The one way to ESTABLISHED: keys are there, and the peer is authenticated (or an SA that was). */
void ike_sa_establish(struct ike_engine *e, struct ike_sa *sa);
/** Key of the index by identities; 0: the peer may be anybody. */
uint64_t identities_key(const struct identity *local, const struct identity *remote);
/** Index by identities, or by new ones. */
void ike_sa_index_peer(struct ike_engine *e, struct ike_sa *sa);
bool ike_sa_index_half_open(struct ike_engine *e, struct ike_sa *sa);
void ike_sa_unindex_half_open(struct ike_engine *e, struct ike_sa *sa);
/**
 * The one way an SA ends: children go, waiting tasks fail with `reason`, IKE_EVENT_IKE_DOWN if it
 * was up. `linger`: go on answering a retransmission of the last request for a while.
 */
void ike_sa_close(struct ike_engine *e, struct ike_sa *sa, enum ike_reason reason, bool linger);
/** Ask the peer to delete it; children leave the back end at once, events are given now. */
void ike_sa_delete(struct ike_engine *e, struct ike_sa *sa, enum ike_reason reason);
/** All Child SAs go to `to`. */
void ike_sa_move_children(struct ike_engine *e, struct ike_sa *from, struct ike_sa *to);
/** Keys have been derived: contexts of both directions. */
bool ike_sa_set_keys(struct ike_sa *sa);
void ike_sa_free(struct ike_sa *sa);

struct ike_sa *ike_sa_by_id(struct ike_engine *e, uint32_t id);
struct ike_sa *ike_sa_by_spi(struct ike_engine *e, uint64_t spi);
struct ike_sa *ike_sa_half_open(struct ike_engine *e, const struct ip_endpoint *remote, uint64_t spi_i);

struct negotiation *negotiation_new(void);
void negotiation_free(struct negotiation *n);
void packet_set(struct packet *p, struct bytes from);
void packet_free(struct packet *p);
static inline struct bytes packet_bytes(const struct packet *p)
{
	return BYTES(p->ptr, p->len);
}
/** Lower of two nonces in RFC 7296 §2.8.1's order, cut to 32 bytes. */
void nonce_lowest(struct bytes a, struct bytes b, uint8_t out[32], uint8_t *out_len);
int nonce_compare(struct bytes a, struct bytes b);

#endif
