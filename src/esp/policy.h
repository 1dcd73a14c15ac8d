/*
 * Policies as the worker sees them: an ordered list of pairs of selectors, each
 * leading to the state of its reqid, which has the outbound SAs. RFC 4301 §4.4.1.
 *
 * A list never changes: the daemon's thread makes a new one, publishes it and
 * frees the old one when the worker has passed a quiescent point.
 */
#ifndef ESP_POLICY_H
#define ESP_POLICY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "esp/headers.h"
#include "esp/sa_table.h"
#include "sa/child_sa.h"

/** Outbound SAs of a reqid, newest first; never changes. */
struct sa_list {
	size_t count;
	struct sa_out *sa[];
};

/** What policies and SAs of one reqid share; outlives both. */
struct policy_state {
	uint32_t reqid;
	_Atomic(const struct sa_list *) out;
	counter_t acquire_us; /* workers': when one last asked for an SA; 0 never */
};

struct policy_entry {
	struct traffic_selector local, remote;
	uint32_t priority;
	enum policy_action action;
	struct policy_state *state;
};

struct policy_list {
	size_t count;
	struct policy_entry entries[]; /* lower priority value first */
};

/**
 * A copy of `old` (NULL: empty) in which the pairs of `policy` stand in place of those of
 * the same state. `policy` NULL: without them. NULL when there is no memory.
 */
struct policy_list *policy_list_replace(const struct policy_list *old, struct policy_state *state,
					const struct sa_policy *policy);

/** The first entry that covers an outbound packet, NULL when none does. */
const struct policy_entry *policy_list_find(const struct policy_list *list, const struct flow *f);

/** The packet goes out (in) by selectors of this SA. RFC 4301 §5.1 and §5.2 step 4. */
bool sa_covers_outbound(const struct sa_common *c, const struct flow *f);
bool sa_covers_inbound(const struct sa_common *c, const struct flow *f);

/** Copies of `old` (NULL: empty) with `sa` in front, or without it; NULL without memory. */
struct sa_list *sa_list_with(const struct sa_list *old, struct sa_out *sa);
struct sa_list *sa_list_without(const struct sa_list *old, const struct sa_out *sa);

#endif
