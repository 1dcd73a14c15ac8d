/*
 * Netlink: the one place where requests to the kernel are sent and answered.
 *
 * Requests go out in batches, one system call for all of them, and the kernel
 * works on a batch before the call returns. It tells of what failed and of the
 * last message: a batch without failures takes two system calls. Multicast
 * events come by a socket of their own. Only the daemon's thread calls. Batches
 * may hold keys: they live in secret memory and are wiped after use.
 */
#ifndef KERNEL_NETLINK_H
#define KERNEL_NETLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/netlink.h>

#include "sa/backend.h"

enum {
	NETLINK_BATCH_MAX = 64,        /* messages */
	NETLINK_BATCH_BYTES = 48 * 1024,
	NETLINK_MESSAGE_MAX = 2 * 1024, /* room that is left for one message */
	NETLINK_WHY_MAX = 128,
	NETLINK_TIMEOUT_MS = 2000,
};

struct netlink {
	int fd;        /* -1: not open */
	uint32_t port; /* our address, which the kernel chose */
	uint32_t seq;
	uint64_t requests, refused; /* for status */
};

/** Messages that are sent together, and what became of each. Zeroed memory is empty. */
struct netlink_batch {
	size_t count, len;
	bool bad;                       /* a message did not fit */
	int error[NETLINK_BATCH_MAX];   /* errno of each, 0: done; ETIMEDOUT: no answer */
	char why[NETLINK_WHY_MAX];      /* the kernel's words on the first that failed, "" if none */
	_Alignas(8) uint8_t bytes[NETLINK_BATCH_BYTES];
};

/** What to do with one message of an answer or an event. */
typedef void netlink_message_fn(const struct nlmsghdr *message, void *context);

/** Open a socket of `protocol` (NETLINK_XFRM). False with errno. */
bool netlink_open(struct netlink *nl, int protocol);
void netlink_close(struct netlink *nl);
/** Join a multicast group (XFRMNLGRP_...). False with errno. */
bool netlink_join(struct netlink *nl, unsigned group);

/** Empty the batch and wipe what it held. */
void netlink_batch_reset(struct netlink_batch *batch);
/**
 * Where the next message goes, and in `*room` its limit; NULL when the batch is full. The
 * message belongs to the batch once netlink_batch_commit() was called, which completes its header.
 */
struct nlmsghdr *netlink_batch_next(struct netlink_batch *batch, size_t *room);
/** `encoded`: the result of the encoder; false makes the whole batch bad. */
bool netlink_batch_commit(struct netlink_batch *batch, bool encoded);
/** Room for `messages` more of any size is left. */
bool netlink_batch_has_room(const struct netlink_batch *batch, size_t messages);

/**
 * Send the batch and wait for every answer. True when the kernel did all of them. A failure
 * does not keep the kernel from those that follow in the batch. The bytes are wiped.
 */
bool netlink_run(struct netlink *nl, struct netlink_batch *batch);
/** The errno of the first message that failed; 0 when none did. */
int netlink_batch_error(const struct netlink_batch *batch);

/**
 * Send one request and give each message of the answer (a dump, or one) to `fn`. Returns 0 or
 * the kernel's errno; `why` (of NETLINK_WHY_MAX bytes, may be NULL) gets its words.
 */
int netlink_query(struct netlink *nl, struct nlmsghdr *request, netlink_message_fn *fn,
		  void *context, char *why);

/**
 * Read what has come without waiting and give each message that the kernel itself sent to `fn`.
 * Returns false when the kernel had to drop events because we were slow.
 */
bool netlink_events(struct netlink *nl, netlink_message_fn *fn, void *context);

#endif
