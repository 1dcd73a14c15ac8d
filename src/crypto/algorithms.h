/*
 * The one table of algorithms.
 *
 * A row has every name and number that an algorithm has anywhere: configuration
 * spellings, IKEv2 transform, key sizes, OpenSSL's and XFRM's names, Wireshark's
 * name, strength. Parser, negotiation, back ends, status and manual come from it.
 * Numbers: IANA "IKEv2 Parameters", transform types 1 to 5.
 */
#ifndef CRYPTO_ALGORITHMS_H
#define CRYPTO_ALGORITHMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Transform types, RFC 7296 §3.3.2. */
enum transform_type {
	TRANSFORM_ENCR = 1,
	TRANSFORM_PRF = 2,
	TRANSFORM_INTEG = 3,
	TRANSFORM_KE = 4,
	TRANSFORM_SN = 5, /* "Sequence Numbers", once ESN */
};

enum encr_id {
	ENCR_NULL = 11,
	ENCR_AES_CBC = 12,
	ENCR_AES_GCM_16 = 20,
	ENCR_CHACHA20_POLY1305 = 28,
};
enum prf_id { PRF_HMAC_SHA2_256 = 5, PRF_HMAC_SHA2_384 = 6, PRF_HMAC_SHA2_512 = 7 };
enum integ_id {
	INTEG_NONE = 0,
	INTEG_HMAC_SHA2_256_128 = 12,
	INTEG_HMAC_SHA2_384_192 = 13,
	INTEG_HMAC_SHA2_512_256 = 14,
};
enum ke_id {
	KE_NONE = 0,
	KE_MODP2048 = 14,
	KE_MODP3072 = 15,
	KE_MODP4096 = 16,
	KE_MODP8192 = 18,
	KE_ECP256 = 19,
	KE_ECP384 = 20,
	KE_ECP521 = 21,
	KE_CURVE25519 = 31,
};
enum sn_id { SN_32 = 0, SN_ESN = 1 };

/** Where an algorithm can be used. */
enum { ALG_IKE = 1, ALG_ESP = 2 };

/** One algorithm; fields that do not concern its type are zero. */
struct algorithm {
	enum transform_type type;
	uint16_t id;           /* IANA transform ID */
	const char *name;      /* as in logs and status: AES_GCM_16, HMAC_SHA2_512, DH19, ... */
	const char *aliases;   /* space separated configuration spellings, lower case */
	uint8_t use;           /* ALG_IKE | ALG_ESP */
	bool aead;             /* ENCR only */
	uint16_t key_bits[3];  /* ENCR: allowed sizes, preferred (largest) first; 0 ends */
	uint8_t salt_bytes;    /* ENCR: implicit part of the nonce taken from KEYMAT */
	uint8_t iv_bytes;      /* ENCR: explicit IV in the packet */
	uint8_t block_bytes;   /* ENCR: padding granularity */
	uint8_t icv_bytes;     /* AEAD, INTEG */
	uint8_t key_bytes;     /* INTEG: key; PRF: preferred key and output size */
	uint16_t public_bytes; /* KE: size of the public value on the wire */
	const char *openssl[3]; /* ENCR: cipher for each of key_bits; else digest, or group */
	const char *xfrm;      /* name in the kernel, NULL when it has none */
	const char *wireshark; /* name in Wireshark's table of ESP SAs; NULL: it has none */
	const char *wireshark_ike[3]; /* in its table of IKEv2 keys, for each of key_bits */
	uint16_t strength;     /* security bits at the largest key size */
};

/** An algorithm that we know by name and do not have, and why. */
struct algorithm_known {
	enum transform_type type;
	uint16_t id;
	const char *name;    /* as in logs */
	const char *aliases; /* as in struct algorithm; NULL when it cannot be written */
	const char *why;     /* reason for not having it, and what to take instead */
};

/** NULL when we do not have it. */
const struct algorithm *algorithm_find(enum transform_type type, uint16_t id);
/** By a configuration spelling, case does not matter (`aes_gcm`, `sha2`, `dh19`, `modp2048`). */
const struct algorithm *algorithm_find_name(enum transform_type type, const char *name);
/** By a spelling, among those that we do not have; NULL when it is no such name either. */
const struct algorithm_known *algorithm_known_find(enum transform_type type, const char *name);
/** Row `i` of the table in its order, NULL past the end. */
const struct algorithm *algorithm_at(size_t i);
enum { TRANSFORM_NAME_TEXT = 32 };
/**
 * Name of any IANA transform, ours or not: "3DES"; "unknown(N)" otherwise. Writes to `buf` of
 * TRANSFORM_NAME_TEXT bytes and returns it.
 */
const char *transform_name(enum transform_type type, uint16_t id, char *buf);
/** `bits` is a key size of `a`. */
bool algorithm_key_bits_ok(const struct algorithm *a, uint16_t bits);
/** Name of an ENCR row in Wireshark's table of IKEv2 keys; NULL when it has none. */
const char *algorithm_wireshark_ike(const struct algorithm *a, uint16_t bits);
/** The integrity algorithm that goes with a PRF (HMAC_SHA2_256_128 with HMAC_SHA2_256). */
const struct algorithm *algorithm_integ_of_prf(const struct algorithm *prf);
/** OpenSSL's cipher name of an ENCR row at `bits`. */
const char *algorithm_cipher(const struct algorithm *a, uint16_t bits);

#endif
