/*
 * Marks for the routing rules: nftables' tables `ip sekisho_marks` and `ip6 sekisho_marks`.
 *
 * A routing rule asks one source or all of them; which of 10,000 belongs to a destination it
 * cannot ask. So a packet to one of our remote networks, but from none of the local ones that
 * belong to it, gets a mark, ESP_UNCOVERED, that keeps it out of the common table (route.h). All
 * other packets are left as they are. Whoever takes our tables away therefore takes traffic from
 * others, which goes to the device and is dropped there, and lets nothing out in clear.
 *
 *   arrive, send: prerouting and output, after address translation and the mangle chains
 *   judge: to a remote network (a set for each prefix length) go to uncovered
 *   uncovered: leave at a pair of local and remote network (a set for each two lengths), else mark
 *
 * Daemon's thread only.
 */
#ifndef ESP_MARKER_H
#define ESP_MARKER_H

#include <stdbool.h>

#include "base/text.h"
#include "net/address.h"

struct nft_ctx;
struct mark_set;
struct mark_element;

struct marker {
	struct nft_ctx *nft; /* NULL: not available */
	bool built[2];       /* IPv4, IPv6: the table exists */
	bool inherited[2];   /* and is a predecessor's, with what it had, until marker_settle() */
	struct mark_set *sets;         /* hash */
	struct mark_element *elements; /* hash */
	struct text pending; /* commands that are not in force yet, without elements of sets */
	bool waiting;        /* there are some, or elements */
	bool broken;         /* what the kernel has is not known: all has to be laid anew */
};

/** Zeroed memory is a marker that is not available. Sees what a predecessor left. */
void marker_open(struct marker *m);
/** Forget all; what is in the kernel stays. */
void marker_close(struct marker *m);

/** One user more (less) of a pair of networks, in force from marker_flush() on. */
void marker_add(struct marker *m, const struct ip_prefix *local, const struct ip_prefix *remote);
void marker_remove(struct marker *m, const struct ip_prefix *local, const struct ip_prefix *remote);
/** Put what waits in force, in one step. False if the kernel refuses: then all may be as before. */
bool marker_flush(struct marker *m);
/** Lay everything anew, in one step. */
bool marker_rebuild(struct marker *m);
/** Our tables were built and one is gone: someone flushed the packet filter. */
bool marker_gone(const struct marker *m);

/** A predecessor's tables are still there. */
bool marker_has_stale(const struct marker *m);
/** Remove what a predecessor had and nobody added. No rule asks for the mark of those any more. */
void marker_settle(struct marker *m);
/** Remove the tables, a predecessor's as well, and forget all; true if they are not there afterwards. */
bool marker_clear(struct marker *m);

#endif
