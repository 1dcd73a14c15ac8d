/*
 * Policies of XFRM as netlink messages, and back; and the rules that one struct sa_policy becomes.
 *
 * A rule is one policy of the kernel: one pair of prefixes, one protocol, ports as value and
 * mask, one direction. A policy with several selectors, with ranges that are no prefixes or with
 * ranges of ports becomes many. Nothing here sends.
 */
#ifndef KERNEL_XFRM_POLICY_H
#define KERNEL_XFRM_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/netlink.h>
#include <linux/xfrm.h>

#include "sa/backend.h"

enum {
	XFRM_RULES_MAX = 3072, /* of one policy */
	XFRM_REQID_FIRST = 16384,
	/*
	 * Policies that we make have this in their index, so that they are known as ours
	 * after the process that made them is gone; the kernel's own numbers start at 0.
	 */
	XFRM_INDEX_MARK = 0x5e000000,
	XFRM_INDEX_MASK = 0x7f000000,
	XFRM_INDEX_STEP = 8, /* the low bits are the direction */
};

/** What the kernel tells policies apart by. All bytes count: zero it before filling it in. */
struct xfrm_rule_key {
	struct xfrm_selector sel;
	struct xfrm_mark mark;
	uint32_t direction; /* XFRM_POLICY_IN, _OUT or _FWD */
};

struct xfrm_rule {
	struct xfrm_rule_key key;
	uint32_t priority, index;
	bool block;
	bool has_template;
	struct xfrm_user_tmpl template;
};

/** A growing list of rules; zeroed memory is empty. Free with xfrm_rules_free(). */
struct xfrm_rules {
	size_t count, cap;
	struct xfrm_rule *rule;
};

void xfrm_rules_free(struct xfrm_rules *rules);
/** The rules of `policy`: in, fwd and out of each pair. False with words: too many, no memory. */
bool xfrm_rules_expand(const struct sa_policy *policy, struct xfrm_rules *out,
		       struct backend_error *err);
/**
 * Neighbour solicitation and advertisement pass outside of every tunnel: without them no IPv6
 * policy that covers the link could ever reach its peer.
 */
bool xfrm_rules_neighbour_discovery(struct xfrm_rules *out);

/** XFRM_MSG_UPDPOLICY (makes or replaces) of `rule`. */
bool xfrm_rule_encode(struct nlmsghdr *m, size_t room, const struct xfrm_rule *rule);
/** XFRM_MSG_DELPOLICY by selector, mark and direction. */
bool xfrm_rule_encode_delete(struct nlmsghdr *m, size_t room, const struct xfrm_rule_key *key);
/** XFRM_MSG_GETPOLICY of all policies. */
bool xfrm_rule_encode_dump(struct nlmsghdr *m, size_t room);
/** XFRM_MSG_NEWPOLICY as the kernel tells it; false if it is too short or a socket's. */
bool xfrm_rule_decode(const struct nlmsghdr *m, struct xfrm_rule *out);
/** It was made by us, or by another IKE daemon of this family: by index or template. */
bool xfrm_rule_is_ours(const struct xfrm_rule *rule);

#endif
