/* What a provider of ESP's packet protection is. Internal to esp_aead*.c. */
#ifndef CRYPTO_ESP_PROVIDER_H
#define CRYPTO_ESP_PROVIDER_H

#include "crypto/esp_aead.h"

struct esp_provider {
	/* For status; NULL when the provider does not run on this machine. */
	const char *(*name)(void);
	bool (*has)(const struct cipher_suite *suite);
	/* Keys have the suite's sizes. NULL on error; the result begins with struct esp_cipher. */
	struct esp_cipher *(*new)(const struct cipher_suite *suite, struct bytes encr_key,
				  struct bytes integ_key, bool inbound);
	void (*free)(struct esp_cipher *c);
	/* Set `ok` of each job; a job that fails leaves no plaintext in `text`. */
	void (*seal)(struct esp_cipher *c, struct esp_packet_job *jobs, size_t count);
	void (*open)(struct esp_cipher *c, struct esp_packet_job *jobs, size_t count);
};

/* The common head of every provider's context. */
struct esp_cipher {
	const struct esp_provider *provider;
};

extern const struct esp_provider esp_provider_openssl;
/* These two where build-config.h has HAVE_IPSEC_MB: AEADs; AES-CBC and NULL with HMAC. */
extern const struct esp_provider esp_provider_mb;
extern const struct esp_provider esp_provider_burst;
extern const struct esp_provider esp_provider_vaes; /* on x86-64 */

#endif
