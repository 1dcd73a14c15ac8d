/*
 * The packet filter that drops in clear what policies say has to be protected:
 * nftables' table `inet sekisho`.
 *
 * Inbound it is the only thing that does so (a packet that came in clear and one
 * that was decrypted look alike to routing); outbound it stands behind the routing
 * rules. Like them it stays when the process is killed. Without nf_tables in the
 * kernel everything else works; that is said once.
 */
#ifndef ESP_GUARD_H
#define ESP_GUARD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "sa/child_sa.h"

struct guard {
	struct nft_ctx *nft; /* NULL: not available */
	const char *tun;     /* borrowed */
	bool built;          /* the table exists */
	bool ordered;        /* has passthrough rules: appending would not do */
	struct text pending; /* rules that guard_append() collected */
};

/** `tun`: name of the device whose packets are exempt; outlives the guard. */
void guard_open(struct guard *g, const char *tun);
void guard_close(struct guard *g);

/** One policy more, in force from guard_flush() on. False if the whole has to be rebuilt instead. */
bool guard_append(struct guard *g, const struct sa_policy *policy);
/** Put what was appended in force, in one step. False if the whole has to be rebuilt instead. */
bool guard_flush(struct guard *g);
/** Replace everything by these, in one step. */
void guard_rebuild(struct guard *g, const struct sa_policy *const *policies, size_t n);
/** Our table was built and is gone: someone flushed the packet filter. */
bool guard_gone(struct guard *g);
/** Remove the table; true if it is not there afterwards. */
bool guard_clear(struct guard *g);

/** For status: "nftables", or why not. */
const char *guard_state(const struct guard *g);

#endif
