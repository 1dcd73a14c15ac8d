/*
 * Policy routing: what leads the traffic of policies into the TUN device and
 * nothing else.
 *
 *   215  our marked packets; a peer inside its own policy   goto 217
 *   216  from LOCAL to REMOTE, one or more for each policy  lookup 220 (or goto 217)
 *   217  nop
 *   table 220: REMOTE dev ipsec0 mtu MTU, and beneath it unreachable REMOTE
 *
 * The kernel asks rules one after the other, but finds a route at once. So policies that
 * differ in REMOTE alone are a group; one of more than a few has a table of its own, with
 * all their REMOTEs, and one rule: from LOCAL lookup 22000 (22001, ...). A packet that its table
 * has no route for goes on to the next rule. What an exception overlaps keeps its own rule,
 * for only there the order counts.
 *
 * Many policies that differ in LOCAL are led by a common table, by their REMOTEs alone. A packet
 * to one of these from a LOCAL that does not belong to it has a mark from the packet filter
 * (marker.h) and passes by:
 *
 *   216  without the mark ESP_UNCOVERED, from any source    lookup 22998
 *   216  this host's own packets without a source (yet)     lookup 22999
 *
 * A policy has its own rule first, and those are moved together, when there are more than a few. What has
 * protocols or ports stays, and so do all where marks cannot be had (route_common.c).
 *
 * Rules and routes carry protocol number 94, by which the next start finds what
 * a killed process left. Removed is only what no policy needs any more, and new
 * comes before old goes. Daemon's thread only.
 */
#ifndef ESP_ROUTE_H
#define ESP_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "esp/marker.h"
#include "esp/netlink.h"
#include "sa/backend.h"
#include "sa/child_sa.h"

struct rule_item;
struct route_item;
struct route_group;
struct pass_pair;
struct destination;
struct member;

/** Rules that are in force, each used once more for being here. */
struct rule_array {
	size_t count;
	struct rule_item **items;
};

/** The table for policies with different local sides. */
struct common_table {
	struct marker marker;
	struct rule_array rules;          /* that lead into it */
	struct destination *destinations; /* hash */
	struct member *waiting; /* list: those that have rules of their own until they are moved */
	size_t waits, tables;   /* how many these are; groups with a table of their own */
	bool families[2];       /* IPv4, IPv6: rules are there */
	bool refused, told;     /* it cannot be had (at the moment), and that was logged */
};

struct routing {
	struct netlink nl;
	unsigned ifindex;
	struct rule_item *rules;   /* hash */
	struct route_item *routes; /* hash */
	struct route_group *groups; /* hash */
	struct pass_pair *passes;  /* exceptions */
	struct common_table common;
	uint64_t position;         /* of the last rule added */
	bool have_v6;
	bool lock_v6; /* the kernel forwards IPv6 by a route's MTU only if that is locked */
};

/** What one policy uses. */
struct route_set;

/** Open netlink and read what a predecessor left; 0 or a negative errno. */
int routing_open(struct routing *r);
/** Add the rules that all need. The device's index is known by now. */
bool routing_start(struct routing *r, unsigned ifindex, struct backend_error *err);
/** Policies may be told apart by marks of the packet filter; sees what a predecessor left there. */
void routing_use_marks(struct routing *r);
/** Close; what is installed stays. */
void routing_close(struct routing *r);

/**
 * Install what `policy` needs, with routes of `mtu` (0: as the device); NULL with a sentence and nothing changed if
 * that fails.
 */
struct route_set *routing_add(struct routing *r, const struct sa_policy *policy, uint32_t mtu,
			      struct backend_error *err);
/**
 * Another MTU for a policy's routes (`set` NULL: it has none). One that several policies use has the smallest of
 * theirs. 0 or a negative errno, if it could not be set everywhere.
 */
int routing_set_mtu(struct routing *r, struct route_set *set, uint32_t mtu);
/** Remove what no other policy needs and free `set` (NULL is allowed). */
void routing_remove(struct routing *r, struct route_set *set);
/** Free `set` (NULL is allowed) without removing anything, before routing_close(). */
void route_set_free(struct route_set *set);

/**
 * See whether all that is installed is still there, and put rules back that someone removed (a network
 * manager, by hand). False when routes are missing: those come by routing_add() of every policy.
 */
bool routing_check(struct routing *r);

/** What the kernel forwards has the MTU of its route: in IPv6 of a locked one. */
bool routing_forwards_by_mtu(void);
/** A message that netlink_hear() gave is about a link, a route or a rule of others. */
bool routing_foreign(const struct routing *r, const struct nlmsghdr *h);
/** Bring into force what changed in marks since the last call: from time to time, soon after a removal. */
void routing_flush(struct routing *r);

/** A predecessor left rules that no policy has taken over (yet). */
bool routing_has_stale(const struct routing *r);
/** Remove a predecessor's that no policy took over. */
void routing_settle(struct routing *r);
/** Remove all rules and routes of ours; false if one could not be removed. */
bool routing_clear(struct routing *r);

#endif
