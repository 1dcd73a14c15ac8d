/* Key derivation of IKEv2: RFC 7296 §2.13 to §2.18. */
#ifndef IKE_KEYS_H
#define IKE_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/reader.h"
#include "base/secret.h"
#include "crypto/proposal.h"
#include "sa/child_sa.h"

/** SK_* of an IKE SA; lives in secret memory. */
struct ike_keys {
	struct key d, ai, ar, ei, er, pi, pr;
};

/** SKEYSEED = prf(Ni | Nr, g^ir), then the seven keys. §2.14 */
__attribute__((warn_unused_result)) bool
ike_keys_derive(const struct cipher_suite *suite, struct bytes ni, struct bytes nr, struct bytes shared,
		uint64_t spi_i, uint64_t spi_r, struct ike_keys *out);
/** Rekeyed IKE SA: SKEYSEED = prf(SK_d (old), g^ir | Ni | Nr) with the OLD SA's PRF. §2.18 */
__attribute__((warn_unused_result)) bool
ike_keys_rekey(const struct algorithm *old_prf, const struct key *old_d, const struct cipher_suite *suite,
	       struct bytes ni, struct bytes nr, struct bytes shared, uint64_t spi_i, uint64_t spi_r,
	       struct ike_keys *out);
/**
 * KEYMAT of a Child SA: prf+(SK_d, [g^ir |] Ni | Nr). §2.17. `initiator`: we initiated this exchange;
 * fills the keys of both halves of `sa` (suite is taken from it). `shared` is empty without a KE.
 */
__attribute__((warn_unused_result)) bool
child_keys_derive(const struct algorithm *prf, const struct key *sk_d, struct bytes shared, struct bytes ni,
		  struct bytes nr, bool initiator, struct child_sa *sa);
/**
 * AUTH by shared key: prf(prf(secret, "Key Pad for IKEv2"), message | nonce | prf(SK_p, ID body)). §2.15
 * `message` is the signer's whole IKE_SA_INIT message, `nonce` the other side's. Writes
 * prf->key_bytes bytes.
 */
__attribute__((warn_unused_result)) bool
auth_psk_compute(const struct algorithm *prf, struct bytes secret, struct bytes message, struct bytes nonce,
		 const struct key *sk_p, struct bytes id_body, uint8_t *out);

#endif
