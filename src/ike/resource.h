/*
 * A Child SA for each resource: RFC 9611.
 *
 * The first Child SA of a connection, in whose exchange both ends sent
 * SA_RESOURCE_INFO, is the fallback of a group: it is for all traffic, and the
 * group ends with it. Each end then sees to it that every resource of its own
 * (a worker, a processor) has one more Child SA with the same properties: first
 * the end that asked for the fallback, one exchange after the other, then the
 * other, for what it has more. Who is asked gives the new SA to its own resource
 * that has the fewest. A rekey stays in the group and with its resource.
 */
#ifndef IKE_RESOURCE_H
#define IKE_RESOURCE_H

#include "ike/child.h"

/** Resources of ours, and Child SAs of one group beside the fallback: where a peer that has more is stopped. */
enum { RESOURCES_MAX = 64 };

/** The connection has SAs of resources. */
static inline bool resource_wanted(const struct ike_conn *conn)
{
	return conn->resources > 1;
}
/** SA_RESOURCE_INFO, if `c` is of a group or may become its first. */
void resource_put(struct message_builder *b, const struct child *c);
/** `c` was answered (or is the answer): it becomes a fallback when both ends said so. */
void resource_agree(struct child *c, const struct message *m);
/** `c` is established: go on with what its group lacks, or let the peer go first. */
void resource_established(struct ike_engine *e, struct ike_sa *sa, struct child *c);
/** `c` replaces `old` by a rekey. */
void resource_inherit(struct ike_engine *e, struct child *old, struct child *c);
/** It is gone and nothing replaces it: a group ends with its fallback; another SA is made anew. */
void resource_lost(struct ike_engine *e, struct ike_sa *sa, struct child *c, enum ike_reason reason);
/** The fallback of `c`'s group, NULL when it is gone (or `c` is of none). */
struct child *resource_fallback(struct ike_engine *e, const struct child *c);

/** Responder: the fallback whose group the request wants to add to, NULL: it asks for something else. */
struct child *resource_request(struct ike_sa *sa, const struct message *m);
/** Responder: the resource of ours that gets the new SA; 0 with the error to answer. */
uint16_t resource_choose(struct ike_engine *e, struct ike_sa *sa, const struct child *fallback, uint16_t *notify);

/** A task of the queue: make the next one that is lacking. */
bool resource_start(struct ike_engine *e, struct ike_sa *sa, struct task *t);
/** Its SA is still wanted when the answer comes. */
bool resource_useful(struct ike_engine *e, const struct ike_sa *sa, const struct child *c);
/** It was refused, or could not be used: whether and when to ask again. */
void resource_refused(struct ike_engine *e, struct ike_sa *sa, const struct task *t, uint16_t notify);
void resource_due(struct timer *t, void *context);

#endif
