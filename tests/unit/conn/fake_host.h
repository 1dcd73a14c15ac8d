/*
 * A host of the connections without machine, engine or back end: it writes down
 * what it is asked to do, in order, and the tests read that.
 */
#ifndef TESTS_CONN_FAKE_HOST_H
#define TESTS_CONN_FAKE_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "conn/conn.h"

struct fake {
	struct conn_host host;
	struct conn_set *set;
	uint64_t now_us;
	uint32_t random;          /* what random_below gives, below the limit */
	const char *local[4];     /* the machine's addresses */
	const char *name_address; /* of every host name; NULL: not known yet */
	const char *route_address; /* of the default route */
	bool policy_fails, no_key;
	unsigned resources;       /* of the back end */
	enum ike_up up_result;
	struct text log;          /* `policy 16384 protect`, `up net1`, `down net1 ADMIN`, ... */
	struct sa_policy last_policy;
	enum ike_reason last_failure;
};

void fake_init(struct fake *f);
void fake_free(struct fake *f);
/** Load configuration text; every connection that is not auto=ignore. */
void fake_load(struct fake *f, const char *text);
/** The named connections of `text` as `ipsec replace` gives them. */
void fake_replace(struct fake *f, const char *text, const char *name);
struct conn *fake_conn(struct fake *f, const char *name);
/** Turn the reconciler at `after_us` from now; the log starts anew. */
const char *fake_turn(struct fake *f, uint64_t after_us);
/** An event of the engine about `c`. */
void fake_event(struct fake *f, struct conn *c, enum ike_event_type type, enum ike_reason reason);
/** Microseconds until the set wants to be called. */
uint64_t fake_wait(struct fake *f);

#endif
