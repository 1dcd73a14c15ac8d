/* The XFRM back end inside: what its files share. Only src/kernel/ includes this. */
#ifndef KERNEL_XFRM_INTERNAL_H
#define KERNEL_XFRM_INTERNAL_H

#include <sys/queue.h>
#include <uthash.h>

#include "kernel/netlink.h"
#include "kernel/xfrm.h"
#include "kernel/xfrm_policy.h"
#include "kernel/xfrm_state.h"

enum { XFRM_RANDOM_WORDS = 32 }; /* one system call for as many SPIs */

/** What was counted when we last looked; for kernels that do not tell when an SA was used. */
struct xfrm_seen {
	uint64_t packets;
	uint64_t changed_us;
};

/** What an outbound state is known by. No padding: all bytes count. */
struct xfrm_out_key {
	xfrm_address_t dst;
	uint32_t family, spi;
};

/** An SPI that was given out and has no inbound state yet. */
struct xfrm_spi {
	UT_hash_handle hh; /* by spi */
	uint32_t spi;
};

/** A Child SA that is in the kernel, or half of it. No keys. */
struct xfrm_child {
	UT_hash_handle hh;     /* by id */
	UT_hash_handle hh_spi; /* by inbound SPI, while has_in */
	UT_hash_handle hh_out; /* by out_key, while has_out */
	struct xfrm_out_key out_key;
	TAILQ_ENTRY(xfrm_child) waiting_entry;
	uint32_t id, reqid, spi_in;
	bool has_in, has_out;
	bool waiting; /* for its first packet */
	struct xfrm_state_id in, out;
	struct esp_path path;
	struct xfrm_seen seen_in, seen_out;
	struct ip_endpoint reported; /* where the peer was said to have moved to */
	uint64_t reported_us;
};

/** One policy of the kernel that we answer for. */
struct xfrm_slot {
	UT_hash_handle hh; /* by key */
	struct xfrm_rule_key key;
	uint32_t index;
	unsigned users; /* entries that have such a rule; 0: left by a predecessor */
};

/** What policy_set() was told. */
struct xfrm_entry {
	UT_hash_handle hh; /* by reqid */
	uint32_t reqid;
	enum policy_action action;
	bool refused; /* gathered, and the kernel did not take all of it */
	struct xfrm_rules rules;
};

/** Policies on their way to the kernel. */
struct xfrm_gathered {
	struct netlink_batch *batch;       /* NULL: policies go one by one */
	uint32_t reqids[NETLINK_BATCH_MAX]; /* whose each message is */
};

struct xfrm_backend {
	struct backend_base base;
	struct backend_events events;
	struct netlink requests, multicast;
	struct netlink_batch *batch;
	int timer; /* timerfd, armed while children wait for their first packet */
	unsigned poll_ms;
	TAILQ_HEAD(xfrm_waiting, xfrm_child) waiting;
	struct xfrm_child *children, *children_by_spi, *children_by_out;
	struct xfrm_spi *spis;
	uint32_t random[XFRM_RANDOM_WORDS]; /* for SPIs to come: the last random_left of them */
	size_t random_left;
	struct xfrm_slot *slots;
	struct xfrm_entry *entries;
	struct xfrm_gathered gathered;
	uint32_t next_index;
	uint64_t acquires, expires, moves, lost_events; /* for status */
};

static inline struct xfrm_backend *xfrm_of(struct backend *b)
{
	return (struct xfrm_backend *)(void *)b;
}

/* xfrm_words.c: sentences */
/**
 * What an errno of the kernel means, into `err`: "WHAT: words (the kernel's own)". `what` says
 * what was being done. Always returns false.
 */
bool xfrm_fail(struct backend_error *err, int error, const char *why, const char *what, ...)
	__attribute__((format(printf, 4, 5)));

/* xfrm_sad.c: states */
unsigned xfrm_resources(struct backend *b);
uint32_t xfrm_alloc_spi(struct backend *b, const struct ip_address *local,
			const struct ip_address *remote, uint32_t reqid, unsigned resource,
			struct backend_error *err);
void xfrm_free_spi(struct backend *b, const struct ip_address *local, uint32_t spi);
bool xfrm_add(struct backend *b, const struct child_sa *sa, enum sa_direction which,
	      struct backend_error *err);
void xfrm_remove(struct backend *b, const struct child_sa *sa, enum sa_direction which);
bool xfrm_move(struct backend *b, const struct child_sa *sa, const struct esp_path *to,
	       struct backend_error *err);
/** Ask the kernel for one state; `fn` gets the message. 0 or errno. */
int xfrm_state_ask(struct xfrm_backend *x, const struct xfrm_state_id *id, netlink_message_fn *fn,
		   void *context, char *why);
struct xfrm_child *xfrm_child_find(struct xfrm_backend *x, uint32_t id);
/** The child with an outbound state to `dst` under `spi`; NULL: none of ours. */
struct xfrm_child *xfrm_child_by_out(struct xfrm_backend *x, const struct ip_address *dst,
				     uint32_t spi);
/** A half is no longer in the kernel; frees `c` when it was the last. */
void xfrm_child_gone(struct xfrm_backend *x, struct xfrm_child *c, enum sa_direction half);
/** Remove every state that is ours by reqid, whoever made it, and free all children. */
bool xfrm_sad_clear(struct xfrm_backend *x, struct backend_error *err);

/* xfrm_spd.c: policies */
bool xfrm_policy_set(struct backend *b, const struct sa_policy *policy, struct backend_error *err);
void xfrm_policy_remove(struct backend *b, uint32_t reqid);
/** From now on new policies are gathered. False without memory. */
bool xfrm_spd_gather(struct xfrm_backend *x);
/** Find the policies that a predecessor left. */
bool xfrm_spd_adopt(struct xfrm_backend *x, struct backend_error *err);
/** Policies that stand for as long as we run. */
bool xfrm_spd_basic(struct xfrm_backend *x, struct backend_error *err);
/** Forget all; `keep`: but leave them in the kernel. */
void xfrm_spd_close(struct xfrm_backend *x, bool keep);

/* xfrm_events.c: what the kernel tells */
bool xfrm_events_open(struct xfrm_backend *x);
size_t xfrm_fds(struct backend *b, int *fds, size_t max);
void xfrm_process(struct backend *b, int fd);
/** `c` has an inbound half only: look for its first packet. */
void xfrm_wait_first_packet(struct xfrm_backend *x, struct xfrm_child *c);
void xfrm_wait_end(struct xfrm_backend *x, struct xfrm_child *c);

/* xfrm_report.c: what we tell */
bool xfrm_query(struct backend *b, const struct child_sa *sa, struct child_sa_usage *out);
struct json_t *xfrm_describe(struct backend *b, bool show_keys);
struct json_t *xfrm_status(struct backend *b);

/* xfrm_socket.c: sockets */
bool xfrm_udp_socket(struct backend *b, int fd, const struct ip_endpoint *local,
		     struct backend_error *err);

#endif
