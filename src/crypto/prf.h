/* Pseudo-random functions of IKEv2: RFC 7296 §2.13, RFC 4868. */
#ifndef CRYPTO_PRF_H
#define CRYPTO_PRF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/reader.h"
#include "base/secret.h"
#include "crypto/algorithms.h"

enum { PRF_OUTPUT_MAX = 64 };

/** prf(key, parts[0] | parts[1] | ...): writes `prf->key_bytes` bytes to `out`; false on error. */
__attribute__((warn_unused_result)) bool prf_compute(const struct algorithm *prf, struct bytes key,
						     const struct bytes *parts, size_t count,
						     uint8_t *out);

/** prf+(key, seed): RFC 7296 §2.13, `len` bytes (at most 255 blocks) to `out`. */
__attribute__((warn_unused_result)) bool prf_plus(const struct algorithm *prf, struct bytes key,
						  struct bytes seed, uint8_t *out, size_t len);

/** SHA-256 of parts, 32 bytes; SHA-1 (NAT detection, RFC 7296 §2.23), 20 bytes. */
__attribute__((warn_unused_result)) bool hash_sha256(const struct bytes *parts, size_t count,
						     uint8_t out[32]);
__attribute__((warn_unused_result)) bool hash_sha1(const struct bytes *parts, size_t count,
						   uint8_t out[20]);

#endif
