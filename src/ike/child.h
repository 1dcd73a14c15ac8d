/*
 * Child SAs: their life in the back end, and their negotiation.
 *
 * Make before break: an inbound half is installed before the peer can use it
 * and stays a while after the pair was deleted; the outbound half changes over
 * when the peer is known to have its inbound half. child_close() is the one
 * way a Child SA ends.
 */
#ifndef IKE_CHILD_H
#define IKE_CHILD_H

#include <sys/queue.h>

#include "ike/engine.h"
#include "ike/ike_sa.h"

#define CHILD_STATES(X)                                                                        \
	X(LARVAL, "larval")           /* asked for; has an SPI only */                         \
	X(ESTABLISHED, "established")                                                          \
	X(REKEYED, "rekeyed")         /* a newer one exists; waits for its delete */           \
	X(DELETING, "deleting")       /* asked to delete it */                                 \
	X(LINGER, "lingering")        /* deleted; packets on their way are still taken */      \
	X(DEAD, "dead")

enum child_state {
#define X(id, name) CHILD_STATE_##id,
	CHILD_STATES(X)
#undef X
};

struct child {
	struct child_sa sa;    /* what the back end has */
	enum child_state state;
	bool initiator;        /* we initiated the exchange that made it */
	uint32_t ike_id;
	struct ike_conn *conn; /* counted */
	uint8_t nonce_min[32];
	uint8_t nonce_min_len;
	bool in_installed, out_installed;
	bool was_installed;    /* the back end has taken the SPI */
	bool out_pending;      /* responder of a rekey: outbound half waits for the peer */
	bool redundant;        /* lost a collision: never used outbound, deleted by its creator */
	uint32_t replaces;     /* the Child SA that it was made to replace */
	uint32_t replaced_by;
	uint64_t established_us, rekey_due_us, expire_us;
	uint32_t group;            /* RFC 9611: the serial number of its first fallback; 0: of no group */
	bool resource_full;        /* fallback: the peer wants no more of the group */
	struct timer life_timer;   /* rekey, then expiry; lingering: the end */
	struct timer resource_timer; /* fallback: look at what the group lacks */
	UT_hash_handle hh_id, hh_spi;
	bool in_spi, in_id;
	bool counted;              /* among what is up: its end is to be told */
	enum ike_reason closing;   /* DELETING: why */
	TAILQ_ENTRY(child) of_ike, of_conn, of_dead;
};

/** What the exchange brings to a Child SA beside its payloads. */
struct child_exchange {
	struct bytes ni, nr, shared; /* of the exchange; `shared` empty without a key exchange */
	bool initiator;
};

/** A larval Child SA with a serial number and an inbound SPI; NULL with `err` (256) set. */
struct child *child_new(struct ike_engine *e, struct ike_sa *ike, struct ike_conn *conn, uint16_t resource, char *err);
struct child *child_by_id(struct ike_engine *e, uint32_t id);
/** By the SPI that the peer receives on. */
struct child *child_by_peer_spi(struct ike_sa *ike, uint32_t spi);
struct child *child_by_own_spi(struct ike_engine *e, uint32_t spi);
/** Newest established Child SA of a connection that is not for a single resource, NULL. */
struct child *child_newest(struct ike_engine *e, const struct ike_conn *conn);
const char *child_state_name(enum child_state s);
static inline bool child_is_up(const struct child *c)
{
	return c->state == CHILD_STATE_ESTABLISHED || c->state == CHILD_STATE_REKEYED;
}
/** One of its halves may still be in the back end, and the peer may name it. */
static inline bool child_is_known(const struct child *c)
{
	return child_is_up(c) || c->state == CHILD_STATE_DELETING;
}

/** Install halves and make it ESTABLISHED. `outbound` false: wait for child_switch_outbound(). */
bool child_install(struct ike_engine *e, struct ike_sa *ike, struct child *c, bool outbound, char *err);
/** Traffic goes out on `c` from now on; the one it replaces stops. */
void child_switch_outbound(struct ike_engine *e, struct child *c);
/**
 * A message has come that shows that the peer has our answer (its window is one, so its next request
 * does): the Child SA that we answered can be used. A time would not do: while the answer is lost and
 * asked for again, the peer cannot receive on it.
 */
void child_proved(struct ike_engine *e, struct ike_sa *ike, uint32_t child_id);
/** Its outbound half leaves the back end; what comes in is still taken. */
void child_stop_outbound(struct ike_engine *e, struct child *c);
/** `old` was replaced by `c`: nobody rekeys it again. */
void child_replaced(struct ike_engine *e, struct child *old, struct child *c);
/**
 * The one way a Child SA ends. `linger`: its inbound half stays for a moment, because the peer's
 * packets may still be on their way. IKE_EVENT_CHILD_DOWN if it was the connection's last.
 */
void child_close(struct ike_engine *e, struct child *c, enum ike_reason reason, bool linger);
/** Ask the peer to delete it; with `now` it leaves the back end at once. */
void child_delete(struct ike_engine *e, struct ike_sa *ike, struct child *c, enum ike_reason reason, bool now);
/** A larval one that the peer has made and we do not want: it is told to delete it. */
void child_discard(struct ike_engine *e, struct ike_sa *ike, struct child *c);
void child_arm_life(struct ike_engine *e, struct child *c);
/** New addresses: the IKE SA's. */
void child_move(struct ike_engine *e, struct ike_sa *ike, struct child *c);
/** Its counters; false when the back end does not have it. */
bool child_usage(struct ike_engine *e, const struct child *c, struct child_sa_usage *out);
void child_free(struct child *c);

/* create_child.c: what is common to requests for Child SAs */

/** The request of `t` for `c`, in place of `old` (NULL: a new one). */
bool child_send_request(struct ike_engine *e, struct ike_sa *sa, struct task *t, struct child *c, const struct child *old);
/** It could not be sent: told, and `c` (may be NULL) ends. */
void child_could_not_start(struct ike_engine *e, struct ike_sa *sa, const struct task *t, struct child *c,
			   struct ike_conn *conn, const char *err);

/* child_negotiate.c: the payloads SA, TSi, TSr, KE and notifies about a Child SA, both roles */

/**
 * Initiator: the connection's ESP proposals, after `first` (the suite that is rekeyed, or NULL).
 * `t` NULL: IKE_AUTH, without key exchange; else with one as pfs= and the task say.
 */
void child_offer(const struct ike_conn *conn, const struct ike_sa *ike, const struct task *t,
		 const struct cipher_suite *first, struct proposal_list *out);
/** The SA payload; puts our SPI into `offer`. */
void child_put_sa(struct message_builder *b, const struct child *c, struct proposal_list *offer);
/** TSi, TSr and, in transport mode, its notify. `initiator` of this exchange. */
void child_put_ts(struct message_builder *b, const struct child *c, bool initiator);

/** Why a Child SA was refused: what to answer, and what to say. */
struct child_refusal {
	uint16_t notify;
	enum ike_reason reason;
	uint16_t ke; /* with INVALID_KE_PAYLOAD: the method that we want */
	const struct ike_conn *conn;
	char text[256];
	char ours[768], theirs[768];
};
/**
 * Responder: choose suite and selectors into larval `c`; `chosen` is the proposal to answer.
 * `like`: both must be those of this one; NULL: what the connection allows.
 */
bool child_choose(struct ike_sa *ike, struct child *c, const struct message *m, bool create_child_sa,
		  const struct child *like, struct proposal *chosen, struct child_refusal *why);
/** Initiator: check the answer's SA, TSi, TSr and mode, and take them into `c`. */
bool child_accept(struct child *c, const struct message *m, const struct proposal_list *offer,
		  struct child_refusal *why);
/** The event of a refusal, with both sides' lists, and counters. IKE_EVENT_FAILED: our attempt is over. */
void child_tell_refused(struct ike_engine *e, enum ike_event_type type, struct ike_sa *ike, const struct child *c,
			const struct child_refusal *why, const char *format, ...) __attribute__((format(printf, 6, 7)));
/**
 * How to tell that the peer's attempt has failed: as the connection's failure, unless it is up or
 * has an attempt of its own, which what a peer does must not seem to end.
 */
enum ike_event_type child_failure_of_peer(struct ike_engine *e, const struct ike_conn *conn);
/** Derive keys into `c` and remember the lower nonce. */
bool child_derive(struct ike_sa *ike, struct child *c, const struct child_exchange *x);
/** `initiator established Child SA using #1; ...` as event and its kind. */
void child_report(struct ike_engine *e, struct ike_sa *ike, struct child *c, struct child *old);

#endif
