/*
 * Exchanges: message IDs, windows of one, retransmission, and the queue of
 * what we want to initiate. RFC 7296 §2.1 to §2.3.
 */
#ifndef IKE_EXCHANGE_H
#define IKE_EXCHANGE_H

#include "ike/ike_sa.h"

struct ike_engine;

/** Begin a protected request; payloads are added to `b`, then exchange_request_send(). */
void request_begin(struct ike_engine *e, struct ike_sa *sa, enum exchange_type exchange, struct message_builder *b);
/** Ends, keeps and sends it; false on overflow or without memory. */
bool request_send(struct ike_engine *e, struct ike_sa *sa, enum exchange_type exchange, struct message_builder *b);
/** The same for bytes that are ready (IKE_SA_INIT). `restart`: a new time-out. */
bool request_send_bytes(struct ike_engine *e, struct ike_sa *sa, enum exchange_type exchange, struct bytes bytes,
			bool restart);
/** Its response has come: no more retransmission, the next ID. */
void request_done(struct ike_engine *e, struct ike_sa *sa);
/** Nobody waits for the response any more. */
void request_cancel(struct ike_engine *e, struct ike_sa *sa);
static inline bool request_under_way(const struct ike_sa *sa)
{
	return sa->request.ptr != NULL;
}

/** Begin the response to the request under way (e->in). */
void response_begin(struct ike_engine *e, struct ike_sa *sa, struct message_builder *b);
/** Ends, keeps and sends it. */
void response_send(struct ike_engine *e, struct ike_sa *sa, struct message_builder *b);
/** A response of one notify. */
void response_notify(struct ike_engine *e, struct ike_sa *sa, uint16_t type, struct bytes data);
void response_resend(struct ike_engine *e, struct ike_sa *sa);

/** A task for the end of the queue (`conn` only for CHILD_CREATE); NULL without memory or room. */
struct task *task_add(struct ike_engine *e, struct ike_sa *sa, enum task_type type, struct ike_conn *conn,
		      uint32_t child_id);
/** Put `t`, which is not in a queue, into that of `sa` for later. */
void task_requeue(struct ike_engine *e, struct ike_sa *sa, struct task *t, uint64_t delay_us);
void task_unqueue(struct ike_sa *sa, struct task *t);
/**
 * What it asks for is no longer wanted, and the request is under way: the response undoes what the
 * peer has made. The task is its connection's no more, which may ask anew.
 */
void task_abandon(struct ike_engine *e, struct task *t);
void task_free(struct ike_engine *e, struct task *t);
/** Seconds of back-off after TEMPORARY_FAILURE number `n`, with jitter. */
uint64_t task_backoff_us(struct ike_engine *e, unsigned n);
/** A task of `type` for this Child SA (0: any) waits or is under way. */
struct task *task_find(struct ike_sa *sa, enum task_type type, uint32_t child_id);
/** Start what can be started. */
void tasks_run(struct ike_engine *e, struct ike_sa *sa);
void tasks_mark(struct ike_engine *e, struct ike_sa *sa);
/** Every waiting task fails with `reason`, which is told for those of connections. */
void tasks_fail(struct ike_engine *e, struct ike_sa *sa, enum ike_reason reason);

void request_timer_due(struct timer *t, void *context);

#endif
