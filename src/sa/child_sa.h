/*
 * What a Child SA pair is: the one description that the IKE engine produces
 * and every back end consumes. RFC 4301 §4.4.2, RFC 7296 §2.17.
 */
#ifndef SA_CHILD_SA_H
#define SA_CHILD_SA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/secret.h"
#include "crypto/proposal.h"
#include "net/address.h"
#include "net/selector.h"

enum ipsec_mode { MODE_TUNNEL, MODE_TRANSPORT };

/** One half of a pair. Keys are secret: allocate with secret_alloc() or wipe. */
struct esp_half {
	uint32_t spi; /* host order; inbound: chosen by us, outbound: by the peer */
	struct key encr_key;  /* with the salt at its end */
	struct key integ_key; /* empty with an AEAD */
};

/** How addresses of the packets on the wire look. */
struct esp_path {
	struct ip_endpoint local, remote; /* ports matter with `udp_encap` only */
	bool udp_encap;                   /* RFC 3948 */
};

struct child_sa {
	uint32_t id;       /* serial number, the `#N` of status; unique in the daemon's life */
	uint32_t reqid;    /* ties SAs and policies of a connection together; 16384 and up */
	uint16_t resource; /* RFC 9611: 1..n: carries what this one of ours sends; 0: the fallback of all */
	char conn[64];     /* connection (instance) name, for logs and device names */
	enum ipsec_mode mode;
	struct cipher_suite suite;
	struct esp_half in, out;
	struct esp_path path;
	struct ts_list local_ts, remote_ts;
	uint32_t replay_window; /* packets; 0: no replay protection */
	uint64_t max_bytes, max_packets; /* hard limits, 0: none */
	bool decap_dscp, encap_dscp, no_pmtu_disc;
	uint32_t tfc_pad;  /* pad to this many bytes, 0: none */
	uint32_t mark_in, mark_in_mask, mark_out, mark_out_mask;
};

enum sa_direction { SA_IN = 1, SA_OUT = 2, SA_BOTH = 3 };

/** Counters of a pair; bytes are of the inner packets (as XFRM counts them for the lifetime). */
struct child_sa_usage {
	uint64_t in_bytes, in_packets, out_bytes, out_packets;
	uint64_t in_last_s;  /* seconds since the last good inbound packet, UINT64_MAX: never */
	uint64_t out_last_s;
	uint64_t replay_dropped, integrity_failed;
};

/** What a policy asks for while (or because) there is no SA. */
enum policy_action {
	POLICY_TRAP,   /* drop, and report an acquire once */
	POLICY_DROP,   /* drop (type=drop, negotiationshunt=drop) */
	POLICY_PASS,   /* let through in the clear (type=passthrough) */
	POLICY_PROTECT,/* protect by the SA of `reqid`; drop while there is none */
};

/** Traffic that a connection covers; installed before its SAs and outliving them. */
struct sa_policy {
	uint32_t reqid;
	char conn[64];
	enum policy_action action;
	enum ipsec_mode mode;
	struct ts_list local_ts, remote_ts;
	struct ip_address local, remote; /* tunnel end points (template); remote AF_UNSPEC: unknown */
	uint32_t priority; /* lower wins; 0: computed from the selectors */
	uint32_t mark_in, mark_in_mask, mark_out, mark_out_mask;
	uint32_t mtu;      /* route MTU, 0: automatic */
	struct ip_address source_ip; /* preferred source of routes we add; AF_UNSPEC: none */
};

/** Kernel's priority in Libreswan's way: 1757393 for /24 <-> /24; more exact selectors win. */
uint32_t sa_policy_priority(const struct traffic_selector *local,
			    const struct traffic_selector *remote);

#endif
