/*
 * Memory for keys and other secrets.
 *
 * struct secret is a fixed-size value for symmetric keys, nonces that become
 * keys and pre-shared keys; it may stand inside other structures, and whoever
 * owns that structure wipes it. Structures that hold secrets for long are
 * allocated with secret_alloc(): locked into memory, left out of core dumps and
 * of forked children, wiped when freed. There is no function that formats a
 * secret; the one command that exports keys does so by itself.
 */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/reader.h"

enum { SECRET_MAX = 1100 }; /* an MODP 8192 shared secret is 1024 bytes */
enum { KEY_MAX = 72 };      /* 64-byte PRF or HMAC key; AES-256 key and salt is 36 */

/** A key of at most KEY_MAX bytes. */
struct key {
	uint8_t len;
	uint8_t bytes[KEY_MAX];
};

/** A longer secret: a key exchange's result, a pre-shared key. */
struct secret {
	size_t len;
	uint8_t bytes[SECRET_MAX];
};

enum { SECRET_ALIGN = 64 }; /* what secret_alloc() returns is aligned so: key schedules want it */

/** Zeroed memory for a structure with secrets in it; NULL when there is none. */
void *secret_alloc(size_t size);

/** Wipe and free what secret_alloc() returned; NULL is allowed. */
void secret_free(void *p);

/** Overwrite with zeros in a way the compiler keeps. */
void secret_wipe(void *p, size_t len);

/** Set a key; false, and an empty key, if `len` is over KEY_MAX. */
bool key_set(struct key *k, const void *p, size_t len);

static inline struct bytes key_bytes(const struct key *k)
{
	return BYTES(k->bytes, k->len);
}

/**
 * Keep the process's secrets out of core dumps, and ask for locked memory as
 * far as the system's limits allow. Returns false, and keeps going, when
 * memory cannot be locked.
 */
bool secret_init(void);

#endif
