/*
 * Packet protection for user-space ESP, in batches, with a provider chosen at start:
 * our own AES-GCM and libipsec-mb on x86-64, OpenSSL elsewhere. RFC 4106, 7634, 3602, 4868, 4303.
 */
#ifndef CRYPTO_ESP_AEAD_H
#define CRYPTO_ESP_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prefetch.h"
#include "base/reader.h"
#include "crypto/proposal.h"

/**
 * One packet: `aad` (8, or 12 bytes with ESN's high half) and text. Opened in place; sealed in place or
 * from `src`, which may not overlap what is written (text and ICV) and stays as it is.
 */
struct esp_packet_job {
	uint8_t aad[12];
	uint8_t aad_len;
	bool ok;        /* result */
	uint8_t *iv;    /* iv_bytes in the packet */
	uint8_t *text;  /* plaintext or ciphertext, already padded */
	const uint8_t *src; /* seal: the plaintext; NULL: it stands at `text` */
	size_t len;
	uint8_t *icv;   /* written by seal, checked by open */
	/* with HMAC the ICV covers SPI, sequence number, IV, text and then the high half, and all
	 * of them and the ICV must stand behind one another */
	const uint8_t *esp; /* start of the ESP header, which stands right before the IV */
};

enum { ESP_CIPHER_HOT_MAX = 512 }; /* of a longer context the rest is not asked for in advance */

struct esp_cipher; /* keyed for one direction; used by one thread at a time */

/** Key bytes that KEYMAT gives (with salt), and of the integrity key (0 with an AEAD). */
size_t esp_cipher_encr_key_bytes(const struct cipher_suite *suite);
size_t esp_cipher_integ_key_bytes(const struct cipher_suite *suite);

/** Size of a context for `suite`; 0 when no provider has it. */
size_t esp_cipher_bytes(const struct cipher_suite *suite);
/**
 * Make a context at `room`: zeroed memory of secret_alloc(), at a multiple of SECRET_ALIGN, with
 * esp_cipher_bytes(suite) bytes left. `inbound` selects the key schedule. NULL when no provider has the suite, or
 * keys have the wrong length.
 */
struct esp_cipher *esp_cipher_init(void *room, const struct cipher_suite *suite, struct bytes encr_key,
				   struct bytes integ_key, bool inbound);
/** Release what a context has elsewhere; NULL is allowed. Its room is its owner's, who wipes it (secret_free()). */
void esp_cipher_release(struct esp_cipher *c);
/** Both in memory of the context's own. */
struct esp_cipher *esp_cipher_new(const struct cipher_suite *suite, struct bytes encr_key,
				  struct bytes integ_key, bool inbound);
void esp_cipher_free(struct esp_cipher *c);
void esp_cipher_seal(struct esp_cipher *c, struct esp_packet_job *jobs, size_t count);
void esp_cipher_open(struct esp_cipher *c, struct esp_packet_job *jobs, size_t count);
/**
 * Ask for what a packet reads of `c`, whose suite has `bytes` of it, to be brought near, some packets before it is
 * needed. Reads nothing itself, so it never waits: not even for the size of the key.
 */
static inline void esp_cipher_prefetch(const struct esp_cipher *c, size_t bytes)
{
	prefetch_lines(c, bytes < ESP_CIPHER_HOT_MAX ? bytes : ESP_CIPHER_HOT_MAX);
}
/** `VAES AVX512`, `ipsec-mb AVX2`, `OpenSSL`: for status. */
const char *esp_cipher_provider(const struct esp_cipher *c);
/** The provider that will be used for `suite` by default, NULL when none. */
const char *esp_provider_for(const struct cipher_suite *suite);

#endif
