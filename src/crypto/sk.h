/*
 * Protection of the Encrypted payload of IKE: RFC 7296 §3.14, RFC 5282 (AEAD), RFC 7634.
 *
 * One context for each direction, keyed once. Plaintext exists only after the
 * integrity check.
 */
#ifndef CRYPTO_SK_H
#define CRYPTO_SK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/reader.h"
#include "base/secret.h"
#include "crypto/proposal.h"

/* OpenSSL 1's names for its stacks, which <openssl/stack.h> still defines. */
#undef sk_new
#undef sk_free

struct sk;

/** Key sizes that KEYMAT must give for the suite: SK_e (with salt) and SK_a (0 with an AEAD). */
size_t sk_encr_key_bytes(const struct cipher_suite *suite);
size_t sk_integ_key_bytes(const struct cipher_suite *suite);

/** NULL on error; keys are copied. Free with sk_free(). */
struct sk *sk_new(const struct cipher_suite *suite, struct bytes encr_key, struct bytes integ_key);
void sk_free(struct sk *sk);

/** Bytes of IV, and of ICV. */
size_t sk_iv_bytes(const struct sk *sk);
size_t sk_icv_bytes(const struct sk *sk);
/** Length of ciphertext for `plain` bytes of payloads: with padding and the pad length byte. */
size_t sk_cipher_len(const struct sk *sk, size_t plain);

/**
 * Seal in place. `aad` is everything from the IKE header to the end of the generic header of the
 * Encrypted payload; it stands right before `iv`, which is followed by sk_cipher_len() bytes whose
 * first `plain` are the payloads, and by room for the ICV. `iv` has been filled with unique
 * (AEAD) or random (CBC) bytes by the caller. Padding, pad length and ICV are written.
 */
__attribute__((warn_unused_result)) bool sk_seal(struct sk *sk, struct bytes aad, uint8_t *iv,
						 uint8_t *text, size_t plain);
/**
 * Open in place: `iv` is followed by `len` bytes of ciphertext and the ICV. On success `*plain` is
 * the length without padding. On failure the text is not to be used (it is wiped).
 */
__attribute__((warn_unused_result)) bool sk_open(struct sk *sk, struct bytes aad, const uint8_t *iv,
						 uint8_t *text, size_t len, size_t *plain);

#endif
