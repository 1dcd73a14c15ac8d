/*
 * States of XFRM (one direction of a Child SA) as netlink messages, and back.
 *
 * Encoders write one whole message, header included, into memory of the caller and return
 * false when it does not fit or the kernel has no name for an algorithm. Nothing here sends.
 */
#ifndef KERNEL_XFRM_STATE_H
#define KERNEL_XFRM_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <linux/netlink.h>
#include <linux/xfrm.h>

#include "net/address.h"
#include "sa/child_sa.h"

enum {
	XFRM_REPLAY_WINDOW_MAX = XFRMA_REPLAY_ESN_MAX,
	XFRM_REPLAY_LEGACY_MAX = 32, /* what the kernel keeps without a bitmap of its own */
	XFRM_REPLAY_WORDS = XFRM_REPLAY_WINDOW_MAX / 32,
};

/** What an SA has counted so far; carried over when it moves, so that no number is used twice. */
struct xfrm_progress {
	uint32_t oseq, oseq_hi, seq, seq_hi;
	uint32_t words;                     /* of the bitmap in use */
	uint32_t bitmap[XFRM_REPLAY_WORDS]; /* bitmap[0] alone without a window of its own */
	struct xfrm_lifetime_cur current;
};

/** What names a state to the kernel. `mark` of zero mask: none. */
struct xfrm_state_id {
	struct ip_address src, dst;
	uint32_t spi; /* host order */
	struct xfrm_mark mark;
};

/** A decoded state; the pointers lead into the message and may be NULL. */
struct xfrm_state_view {
	struct xfrm_usersa_info info;
	struct xfrm_state_id id;
	const struct xfrm_algo_aead *aead;
	const struct xfrm_algo *encr;
	const struct xfrm_algo_auth *auth;
	const struct xfrm_encap_tmpl *encap;
	const struct xfrm_replay_state_esn *esn;
	struct xfrm_replay_state replay;
	uint64_t last_used_s; /* seconds since 1970; 0: never, or the kernel does not tell */
};

static inline struct ip_address xfrm_address_get(const xfrm_address_t *a, uint16_t family)
{
	return ip_address_from_bytes(family == AF_INET6 ? BYTES(a, 16) :
				     family == AF_INET  ? BYTES(a, 4) :
							  BYTES(NULL, 0));
}

static inline xfrm_address_t xfrm_address_put(const struct ip_address *a)
{
	xfrm_address_t x = { .a6 = { 0 } };

	memcpy(&x, a->bytes, ip_address_size(a));
	return x;
}

/** The name of one direction of `sa`: addresses of the path, SPI, mark. */
struct xfrm_state_id xfrm_state_id_of(const struct child_sa *sa, enum sa_direction direction);

/**
 * XFRM_MSG_NEWSA, or XFRM_MSG_UPDSA of what is there, for one direction. `progress` NULL: a
 * new SA, counting from zero.
 */
bool xfrm_state_encode(struct nlmsghdr *m, size_t room, uint16_t type, const struct child_sa *sa,
		       enum sa_direction direction, const struct xfrm_progress *progress);
/** XFRM_MSG_DELSA or XFRM_MSG_GETSA of one state. */
bool xfrm_state_encode_id(struct nlmsghdr *m, size_t room, uint16_t type,
			  const struct xfrm_state_id *id);
/** XFRM_MSG_ALLOCSPI: an SPI between `min` and `max` for packets from `remote` to `local`. */
bool xfrm_state_encode_alloc(struct nlmsghdr *m, size_t room, const struct ip_address *local,
			     const struct ip_address *remote, uint32_t reqid,
			     enum ipsec_mode mode, uint32_t min, uint32_t max);
/** XFRM_MSG_GETSA of all states. */
bool xfrm_state_encode_dump(struct nlmsghdr *m, size_t room);

/** XFRM_MSG_NEWSA as the kernel tells it; false when it is too short or not about ESP. */
bool xfrm_state_decode(const struct nlmsghdr *m, struct xfrm_state_view *out);
/** What is to be carried over. An outbound number is moved on by `skip`. */
void xfrm_state_progress(const struct xfrm_state_view *state, uint32_t skip,
			 struct xfrm_progress *out);

/** Limits for `spi`: soft ones come earlier, and not at the same time at both ends. */
struct xfrm_lifetime_cfg xfrm_state_limits(uint64_t max_bytes, uint64_t max_packets, uint32_t spi);

#endif
