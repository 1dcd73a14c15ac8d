/*
 * The packet filter that drops in clear what policies say has to be protected:
 * nftables' table `inet sekisho`.
 *
 * Inbound it is the only thing that does so (a packet that came in clear and one
 * that was decrypted look alike to routing); outbound it stands behind the routing
 * rules. Like them it stays when the process is killed. Without nf_tables in the
 * kernel everything else works; that is said once.
 *
 * A policy of addresses alone is an element of a set, so that a packet costs the same
 * however many there are: a set has all pairs of one prefix length with another (`ip daddr
 * & 255.255.255.0 . ip saddr & 255.255.0.0 @...`), for those never overlap. What has
 * protocols, ports or ranges has rules of its own, and exceptions cut all that into bands,
 * so that everything has its place by priority.
 */
#ifndef ESP_GUARD_H
#define ESP_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "esp/policy.h"
#include "sa/child_sa.h"

struct guard {
	struct nft_ctx *nft; /* NULL: not available */
	const char *tun;     /* borrowed */
	bool built;          /* the table exists */
	uint32_t bands;      /* the exceptions before what comes last */
	struct pair_set *sets; /* hash */
	struct pair_element *elements; /* hash */
	struct ip_address own; /* that was added last */
	struct text pending; /* commands that are not in force yet, without elements of sets */
	bool waiting;        /* there are some, or elements */
	bool removing;       /* and they remove what was there */
};

/** `tun`: name of the device whose packets are exempt; outlives the guard. */
void guard_open(struct guard *g, const char *tun);
void guard_close(struct guard *g);

/** One policy more, in force from guard_flush() on. False if the whole has to be rebuilt instead. */
bool guard_append(struct guard *g, const struct sa_policy *policy);
/** One policy less, from guard_flush() on. False if the whole has to be rebuilt instead. */
bool guard_remove(struct guard *g, const struct sa_policy *policy);
/** Put what was appended or removed in force, in one step. False if the whole has to be rebuilt instead. */
bool guard_flush(struct guard *g);
/** Something was appended or removed and is not in force yet. */
static inline bool guard_waits(const struct guard *g)
{
	return g->waiting;
}
/**
 * Replace everything by these, in one step: pairs of selectors, first to last, and the `own_n`
 * addresses at which ESP and IKE arrive.
 */
void guard_rebuild(struct guard *g, const struct policy_entry *const *pairs, size_t n,
		   const struct ip_address *own, size_t own_n);
/** Our table was built and is gone: someone flushed the packet filter. */
bool guard_gone(struct guard *g);
/** Remove the table; true if it is not there afterwards. */
bool guard_clear(struct guard *g);

/** For status: "nftables", or why not. */
const char *guard_state(const struct guard *g);

#endif
