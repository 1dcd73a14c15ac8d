/* What a provider of ESP's packet protection is. Internal to esp_aead*.c. */
#ifndef CRYPTO_ESP_PROVIDER_H
#define CRYPTO_ESP_PROVIDER_H

#include "crypto/esp_aead.h"

struct esp_provider {
	/* For status; NULL when the provider does not run on this machine. */
	const char *(*name)(void);
	bool (*has)(const struct cipher_suite *suite);
	/* Of a context for `suite`, which begins with struct esp_cipher. */
	size_t (*bytes)(const struct cipher_suite *suite);
	/* Fill a context that is zeroed but for its head. Keys have the suite's sizes. False on error, when
	 * nothing is left to release. */
	bool (*init)(struct esp_cipher *c, const struct cipher_suite *suite, struct bytes encr_key,
		     struct bytes integ_key, bool inbound);
	/* Release what a context points to; NULL: nothing. */
	void (*release)(struct esp_cipher *c);
	/* Set `ok` of each job; a job that fails leaves no plaintext in `text`. */
	void (*seal)(struct esp_cipher *c, struct esp_packet_job *jobs, size_t count);
	void (*open)(struct esp_cipher *c, struct esp_packet_job *jobs, size_t count);
};

/* The common head of every provider's context. */
struct esp_cipher {
	const struct esp_provider *provider;
};

/** A context of `provider` in memory of its own; keys have the suite's sizes. esp_cipher_free(); NULL on error. */
struct esp_cipher *esp_provider_new(const struct esp_provider *provider, const struct cipher_suite *suite,
				    struct bytes encr_key, struct bytes integ_key, bool inbound);

extern const struct esp_provider esp_provider_openssl;
/* These two where build-config.h has HAVE_IPSEC_MB: AEADs; AES-CBC and NULL with HMAC. */
extern const struct esp_provider esp_provider_mb;
extern const struct esp_provider esp_provider_burst;
extern const struct esp_provider esp_provider_vaes; /* on x86-64 */

#endif
