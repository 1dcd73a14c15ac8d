/* Requests that wait for a connection: `up`, `rekey-ike`, `rekey-child`. */
#ifndef PLUTO_WAITER_H
#define PLUTO_WAITER_H

#include "pluto/control.h"

enum await { AWAIT_NOTHING, AWAIT_UP, AWAIT_IKE_REKEY, AWAIT_CHILD_REKEY };

/** `c` is one of the connections that the request's name stands for. */
bool waiter_names(const struct request *r, const struct conn *c);
/** Wait for `c` too. */
void waiter_add(struct request *r, const struct conn *c);
/**
 * Begin to wait, `limit_us` at most; a request that waits for nothing (or has all answers
 * already) ends at once.
 */
void waiter_begin(struct request *r, enum await what, uint64_t limit_us);
/** What happened to `c`; rc OK: it came up, or was rekeyed. Requests may end by this. */
void waiter_tell(struct daemon *d, const struct conn *c, enum await what, enum conn_rc rc,
		 enum ike_reason reason, const char *text);
/** A line about `c`, to every request that it concerns. */
void waiter_line(struct daemon *d, const struct conn *c, uint32_t sa, enum log_level level,
		 const char *text);

#endif
