/*
 * The back end of the kernel: Child SAs as XFRM states, policies as XFRM policies.
 *
 * What holds: policies stay while SAs come and go, so covered traffic is protected or dropped; a
 * policy is replaced in place; states and policies of a predecessor that was killed are found
 * again (reqid 16384 and up, our mark in the index), its policies go on dropping until the new
 * ones took their place and xfrm_backend_settle() was called. All calls come from one thread.
 * RFC 4301 §4.4, RFC 4303, RFC 3948.
 */
#ifndef KERNEL_XFRM_H
#define KERNEL_XFRM_H

#include <stdbool.h>

#include "sa/backend.h"

struct xfrm_options {
	bool gather; /* policies that are new reach the kernel many at once, by xfrm_backend_settle() at the latest */
	unsigned poll_ms; /* how often to look for the first packet of a new SA; 0: 100 */
};

/**
 * Does this kernel do ESP? Adds an SA that nothing uses, with AES-GCM, and removes it. False
 * with the kernel's reason and a remedy in `why`.
 */
bool xfrm_probe(struct backend_error *why);

/** The back end; `events` is copied, its context borrowed. NULL with words. */
struct backend *xfrm_backend_new(const struct backend_events *events,
				 const struct xfrm_options *options, struct backend_error *err);

/**
 * The daemon has set its policies: what was gathered goes in, and one by one what comes after;
 * those that a predecessor left and nothing replaced go. Events: policy_failed.
 */
void xfrm_backend_settle(struct backend *b);

/**
 * Let the IKE datagrams of socket `fd` pass outside of every policy, in both directions.
 * `family` is the socket's. Needs CAP_NET_ADMIN. False with words.
 */
bool xfrm_socket_bypass(int fd, int family, struct backend_error *err);

#endif
