/*
 * Host names to addresses, without making the loop wait.
 *
 * A name is looked up by a thread of its own and remembered; the answer of a
 * lookup is what is known at the moment. Names that failed, and those that may
 * have moved, are looked up again from time to time.
 */
#ifndef PLUTO_RESOLVER_H
#define PLUTO_RESOLVER_H

#include <event2/event.h>

#include "conn/orient.h"
#include "net/address.h"

struct resolver;

/** `changed` is called from the loop when an answer is new. NULL without memory. */
struct resolver *resolver_new(struct event_base *base, void (*changed)(void *), void *context);
void resolver_free(struct resolver *r);
enum lookup_result resolver_lookup(struct resolver *r, const char *name, uint8_t family,
				   struct ip_address *out);

#endif
