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

/* Policies that differ in the remote addresses alone. Zeroed padding, compared as bytes. */
struct group_key {
	struct rule base;          /* without addresses and table */
	struct ip_address lo, hi;  /* local addresses */
	uint8_t own;               /* this host's own packets without a source as well */
	uint8_t zero[5];
};

struct route_group {
	struct group_key key;
	uint32_t table;             /* 0: none, few destinations */
	size_t in_table;            /* members that are */
	struct rule_array rules;    /* that lead into the table */
	struct member *members;     /* hash */
	UT_hash_handle hh;
};

enum place {
	PLACE_NONE,
	PLACE_RULES,  /* rules of its own, and a route in table 220 */
	PLACE_GROUP,  /* a route in the group's table */
	PLACE_COMMON, /* a route in the common table */
};

/* A destination of a group. */
struct member {
	struct ip_prefix dst;
	struct route_group *group;
	unsigned refs;
	uint32_t priority;
	struct mtu_set mtus;          /* of the policies that use it */
	struct route_options options; /* of the route */
	enum place place;
	struct rule_array rules;
	struct route_item *route;
	bool waits;                       /* in the list of those to be moved to the common table */
	struct member *prev, *next;       /* there */
	struct destination *destination;  /* in the common table, or NULL */
	struct member *prev_same, *next_same; /* of this destination */
	UT_hash_handle hh;
};

enum { PREFIXES_MAX = 256 };

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

/** As rule_ref() and rule_unref(), into and out of an array. */
int rules_ref(struct routing *r, struct rule_array *rules, const struct rule *rule, uint32_t priority);
void rules_unref(struct routing *r, struct rule_array *rules);
/** The group's local addresses as PREFIXES_MAX prefixes at most; how many. */
size_t group_prefixes(const struct route_group *g, struct ip_prefix *out);
/** Packets of this destination may be an exception's: the order of rules counts. */
bool meets_pass(const struct routing *r, const struct route_group *g, const struct ip_prefix *dst);
/** `m` is in the common table: give up what led it until now. */
void member_moved(struct routing *r, struct member *m);

/** Free the memory of groups; what is installed stays. */
void route_groups_free(struct routing *r);

/* --- route_common.c --- */

/** Groups of this kind may be led by the common table. */
bool common_suits(const struct route_group *g);
/** It is in use. */
static inline bool common_used(const struct routing *r)
{
	return r->common.destinations != NULL;
}
/** It is where new policies of this group go sooner or later. */
static inline bool common_takes(const struct routing *r, const struct route_group *g)
{
	return common_used(r) && !r->common.refused && common_suits(g);
}
/** `m` has (no longer) rules of its own that it could do without. */
void common_wait(struct routing *r, struct member *m, bool wait);
/** Move those that wait, if they are more than a few; `all`: however few, if the table is in use. */
void common_gather(struct routing *r, bool all);
/** Write the routes of `m`, which is in the table, again: 0 or a negative errno. */
int common_update(struct routing *r, struct member *m);
/** The MTU of `m`, which is in the table, changed: 0 or a negative errno. */
int common_change_mtu(struct routing *r, struct member *m);
/** Take `m` out of the table; what leads it from now on is there. */
void common_leave(struct routing *r, struct member *m);
/** From time to time: what could not be had is tried again, what someone took away is put back. */
void common_check(struct routing *r);
/** Free the memory; what is installed stays. */
void common_free(struct routing *r);

#endif
