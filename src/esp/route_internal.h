/* What the files of policy routing share. Private to route*.c; daemon's thread only. */
#ifndef ESP_ROUTE_INTERNAL_H
#define ESP_ROUTE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "esp/mtu.h"
#include "esp/route.h"
#include "net/address.h"
#include "net/selector.h"

enum { PRIORITY_NONE = UINT32_MAX }; /* of rules whose order does not count */

/* A rule as the kernel has it; zeroed padding, compared as bytes. */
struct rule {
	struct ip_prefix src, dst; /* AF_UNSPEC: any */
	uint32_t pref, action, target, mark, mask, flags; /* target: table, or preference of a goto */
	uint16_t sport_lo, sport_hi, dport_lo, dport_hi;  /* 0, 0: any */
	uint8_t family, ipproto;
	uint8_t zero[2];
};

struct rule_item {
	struct rule rule;
	unsigned refs; /* 0: a predecessor's, nobody's yet */
	uint32_t priority;
	uint64_t position; /* order in which the kernel got it */
	UT_hash_handle hh;
};

/* A destination in one of our tables; zeroed padding, compared as bytes. */
struct route_key {
	struct ip_prefix dst;
	uint8_t zero[2];
	uint32_t table;
};

struct route_item {
	struct route_key key;
	unsigned refs; /* 0: a predecessor's, nobody's yet */
	struct ip_address source;
	struct mtu_set mtus; /* of its users: it has the smallest */
	UT_hash_handle hh;
};

struct route_options {
	struct ip_address source; /* AF_UNSPEC: the kernel chooses */
	uint32_t mtu;             /* 0: the device's */
};

/* --- route_kernel.c --- */

/** RTM_NEWRULE or RTM_DELRULE; 0 or a negative errno. */
int rule_send(struct routing *r, const struct rule *rule, uint16_t type, uint16_t flags);
/** RTM_NEWROUTE or RTM_DELROUTE, of the device's route or the one beneath; `options` may be NULL. */
int route_send(struct routing *r, const struct route_key *key, bool unreachable,
	       const struct route_options *options, uint16_t type);
/** A message of a dump; false if it is not ours. */
bool rule_read(const struct nlmsghdr *h, struct rule *rule);
bool route_read(const struct nlmsghdr *h, struct route_key *key);

/* --- route.c --- */

/** Table 220, or one that a group of policies may have. */
bool routing_owns_table(uint32_t table);
/** One user more of a rule, which is added if it is not there: 0 or a negative errno. */
int rule_ref(struct routing *r, const struct rule *rule, uint32_t priority, struct rule_item **out);
void rule_unref(struct routing *r, struct rule_item *item);
/** One user more of both routes, which are written (again): 0 or a negative errno. */
int route_ref(struct routing *r, const struct route_key *key, const struct route_options *options,
	      struct route_item **out);
/** A user that has the MTU `from` gets `to`: 0 or a negative errno. */
int route_change_mtu(struct routing *r, struct route_item *item, uint32_t from, uint32_t to);
/** `mtu`: what the user that leaves has. */
void route_unref(struct routing *r, struct route_item *item, uint32_t mtu);
/** Lay the rules of policies anew if their order is not right and matters. */
void routing_keep_order(struct routing *r);

/* --- route_policy.c --- */

/** Free the memory of groups; what is installed stays. */
void route_groups_free(struct routing *r);

#endif
