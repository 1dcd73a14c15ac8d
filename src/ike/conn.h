/*
 * What the IKE engine needs to know of a connection. Made by conn/ from the
 * configuration; immutable once the engine has seen it, and counted, because
 * SAs outlive a reload.
 */
#ifndef IKE_CONN_H
#define IKE_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto/proposal.h"
#include "net/address.h"
#include "net/identity.h"
#include "net/selector.h"
#include "sa/child_sa.h"

enum ike_auth { IKE_AUTH_PSK, IKE_AUTH_NULL };
enum dpd_action { DPD_HOLD, DPD_CLEAR, DPD_RESTART };
enum encap_policy { ENCAP_AUTO, ENCAP_YES, ENCAP_NO };

struct ike_conn {
	unsigned refs;
	void *owner; /* the host's own object, for its callbacks; NULL once it is gone */
	char name[64];
	uint32_t serial; /* `$1` of status */
	uint32_t reqid;

	struct ip_endpoint local, remote; /* remote AF_UNSPEC: any (a template, only responds) */
	struct identity local_id, remote_id; /* remote IDENTITY_NONE: any */
	enum ike_auth local_auth, remote_auth;
	const struct proposal_list *ike_proposals, *esp_proposals; /* outlive the connection */

	enum ipsec_mode mode;
	struct ts_list local_ts, remote_ts;
	bool narrowing;    /* as initiator, accept less than we asked for */
	bool pfs;          /* offer a key exchange when a Child SA is made or rekeyed */
	bool pfs_required; /* pfs=yes was written: never without */
	bool esn, no_esn;  /* which may be offered and accepted */
	uint32_t replay_window;

	uint64_t ike_lifetime_us, child_lifetime_us, rekey_margin_us;
	uint32_t rekey_fuzz_percent;
	bool rekey;
	uint64_t max_bytes, max_packets; /* 0: none */

	uint64_t retransmit_interval_us, retransmit_timeout_us;
	uint64_t dpd_delay_us; /* 0: no liveness checks */
	enum dpd_action dpd_action;
	uint64_t nat_keepalive_us; /* 0: none */
	enum encap_policy encapsulation;
	bool initial_contact;
	bool unique_ids; /* a new IKE SA of the same identities replaces the old */

	bool decap_dscp, encap_dscp, no_pmtu_disc;
	uint32_t tfc_pad;
	uint32_t mark_in, mark_in_mask, mark_out, mark_out_mask;
	uint16_t resources; /* RFC 9611: of ours that get a Child SA of their own; below 2: no such */
};

struct ike_conn *ike_conn_ref(struct ike_conn *c);
/** Frees with free() when the last reference is gone. NULL is allowed. */
void ike_conn_unref(struct ike_conn *c);

#endif
