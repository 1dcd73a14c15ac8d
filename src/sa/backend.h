/*
 * The interface of a back end: what turns Child SAs into protected packets.
 *
 * Two exist: kernel/ (XFRM over netlink) and esp/ (user space over TUN).
 * Calls are made from the daemon's thread; events come back from
 * backend_process(), called when one of backend_fds() is readable.
 * What must hold: from the time a policy is set, traffic that it covers is
 * protected or dropped, whatever happens to SAs or to the daemon.
 */
#ifndef SA_BACKEND_H
#define SA_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sa/child_sa.h"

struct json_t; /* jansson's */

enum { BACKEND_ERROR_TEXT = 256 };

/** Why a call failed: a sentence for the log, "" when it did not. */
struct backend_error {
	char text[BACKEND_ERROR_TEXT];
};

/** What a back end tells; all run on the daemon's thread. Pointers are valid during the call. */
struct backend_events {
	void *context;
	/** A packet met a trap: bring up what `reqid` names; selectors of the packet. */
	void (*acquire)(void *context, uint32_t reqid, const struct traffic_selector *local,
			const struct traffic_selector *remote);
	/** A policy that was gathered (policy_set) cannot be installed, `why`: the back end has forgotten it. */
	void (*policy_failed)(void *context, uint32_t reqid, const char *why);
	/** A byte or packet limit was reached (hard: the SA is unusable). */
	void (*expire)(void *context, uint32_t spi, enum sa_direction direction, bool hard);
	/** First valid packet on an inbound SA (the responder of a rekey then switches outbound). */
	void (*first_packet)(void *context, uint32_t child_id);
	/** NAT mapping of the peer changed (authenticated ESP from another address or port). */
	void (*peer_moved)(void *context, uint32_t child_id, const struct ip_endpoint *to);
	/** A datagram on UDP 4500 that is IKE (marker removed), from back ends that read the socket. */
	void (*ike_datagram)(void *context, const struct ip_endpoint *local,
			     const struct ip_endpoint *remote, const uint8_t *data, size_t len);
};

struct backend; /* opaque to callers; an implementation embeds `struct backend_base` first */

struct backend_ops {
	const char *name; /* "xfrm" or "user" */

	/** Free everything. `keep`: leave policies (drop) behind; otherwise remove all we made. */
	void (*close)(struct backend *b, bool keep);

	/** How many resources (workers, processors) may have an SA of their own, RFC 9611; 1 and up, constant. */
	unsigned (*resources)(struct backend *b);

	/**
	 * A fresh inbound SPI; 0 on failure. A child that is never added gives it back by free_spi.
	 * `resource`: 1..resources() who is to receive on it; 0: any.
	 */
	uint32_t (*alloc_spi)(struct backend *b, const struct ip_address *local,
			      const struct ip_address *remote, uint32_t reqid, unsigned resource,
			      struct backend_error *err);
	void (*free_spi)(struct backend *b, const struct ip_address *local, uint32_t spi);

	/**
	 * Add the halves that `which` names. Adding SA_OUT makes it the one that traffic of its resource
	 * uses; a resource without one uses the newest of resource 0. SAs of one reqid with different
	 * resources live side by side, and there may be several of one resource.
	 */
	bool (*add)(struct backend *b, const struct child_sa *sa, enum sa_direction which,
		    struct backend_error *err);
	/** Remove halves; those that are not there are no error. */
	void (*remove)(struct backend *b, const struct child_sa *sa, enum sa_direction which);
	/** New addresses or ports, same keys and counters. */
	bool (*move)(struct backend *b, const struct child_sa *sa, const struct esp_path *to,
		     struct backend_error *err);
	bool (*query)(struct backend *b, const struct child_sa *sa, struct child_sa_usage *out);

	/**
	 * Set or replace the policy of `policy->reqid`. A back end may gather policies while the daemon
	 * loads: the event policy_failed tells what the kernel refused then.
	 */
	bool (*policy_set)(struct backend *b, const struct sa_policy *policy,
			   struct backend_error *err);
	void (*policy_remove)(struct backend *b, uint32_t reqid);

	/** UDP sockets of port 4500 (and others with encapsulation): before any SA that uses them. */
	bool (*udp_socket)(struct backend *b, int fd, const struct ip_endpoint *local,
			   struct backend_error *err);

	/** Descriptors to watch for reading; returns how many of `max`. */
	size_t (*fds)(struct backend *b, int *fds, size_t max);
	void (*process)(struct backend *b, int fd);

	/** What `ipsec sa` shows: {"states":[..],"policies":[..]}, keys only if asked. New reference. */
	struct json_t *(*describe)(struct backend *b, bool show_keys);
	/** Counters and features in use, for status: a JSON object. New reference. */
	struct json_t *(*status)(struct backend *b);
};

struct backend_base {
	const struct backend_ops *ops;
};

static inline const struct backend_ops *backend_ops(struct backend *b)
{
	return ((struct backend_base *)b)->ops;
}

#endif
