/*
 * Key exchange methods: MODP groups (RFC 3526), ECP groups (RFC 5903), Curve25519 (RFC 8031).
 *
 * Private values are made from the caller's random source, so that a simulated
 * engine is deterministic. Public values of the peer are checked (RFC 6989).
 */
#ifndef CRYPTO_KE_H
#define CRYPTO_KE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/reader.h"
#include "base/secret.h"
#include "crypto/algorithms.h"

enum { KE_PUBLIC_MAX = 1024 };

struct ke; /* our private value and its public one */

/** Fills `buf` with `len` unpredictable bytes. */
typedef void random_fn(void *context, uint8_t *buf, size_t len);

/** A new key pair of `method` (a KE row); NULL on error. Free with ke_free(). */
struct ke *ke_generate(const struct algorithm *method, random_fn *random, void *context);
const struct algorithm *ke_method(const struct ke *ke);
/** Our public value as it goes on the wire (`public_bytes` long); valid while `ke` lives. */
struct bytes ke_public(const struct ke *ke);
/**
 * The shared secret g^ir with the peer's public value, as RFC 7296 §2.14 wants it
 * (ECP: x coordinate; MODP: padded to the modulus). False when the peer's value is
 * of the wrong size or fails the checks.
 */
__attribute__((warn_unused_result)) bool ke_derive(struct ke *ke, struct bytes peer,
						   struct secret *out);
void ke_free(struct ke *ke);

#endif
