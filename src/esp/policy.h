/*
 * Policies as the worker sees them: pairs of selectors in order, each leading to the
 * state of its reqid, which has the outbound SAs. RFC 4301 §4.4.1.
 *
 * Pairs hang in a trie by the remote addresses, in each node of which a trie by the
 * local ones begins: what a lookup costs hardly depends on how many there are. A list
 * never changes. The daemon's thread makes a new one, which shares with the old one all
 * but the few nodes on the way to what changed, publishes it, and frees the old one when
 * no worker can be reading it any more. Only that thread counts references.
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
	uint64_t order; /* in which pairs came: the earlier wins among equal priorities */
	unsigned refs;  /* nodes that have it */
};

struct policy_node;

struct policy_list {
	size_t count;                 /* of pairs */
	uint64_t next_order;
	struct policy_node *roots[2]; /* IPv4, IPv6 */
};

/**
 * A list like `old` (NULL: empty) in which the pairs of `policy` (NULL: none) stand in place of
 * those that `was` (NULL: none) had brought for the same state. Both lists have to be freed.
 * NULL when there is no memory.
 */
struct policy_list *policy_list_replace(const struct policy_list *old, struct policy_state *state,
					const struct sa_policy *was, const struct sa_policy *policy);
void policy_list_free(struct policy_list *list);

/** The first entry that covers an outbound packet, NULL when none does. */
const struct policy_entry *policy_list_find(const struct policy_list *list, const struct flow *f);

/** There are pairs of this family (AF_INET, AF_INET6). */
bool policy_list_has(const struct policy_list *list, uint8_t family);
/** All `list->count` entries, first to last; to be freed by the caller. NULL without memory. */
const struct policy_entry **policy_list_sorted(const struct policy_list *list);

/** The packet goes out (in) by selectors of this SA. RFC 4301 §5.1 and §5.2 step 4. */
bool sa_covers_outbound(const struct sa_common *c, const struct flow *f);
bool sa_covers_inbound(const struct sa_common *c, const struct flow *f);

/** Copies of `old` (NULL: empty) with `sa` in front, or without it; NULL without memory. */
struct sa_list *sa_list_with(const struct sa_list *old, struct sa_out *sa);
struct sa_list *sa_list_without(const struct sa_list *old, const struct sa_out *sa);

#endif
