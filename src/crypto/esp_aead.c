/* Choosing a provider for ESP's packet protection; see esp_aead.h. */
#include "crypto/esp_aead.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "build-config.h"
#include "crypto/esp_provider.h"

static bool openssl_forced;

static void read_choice(void)
{
	const char *choice = getenv("SEKISHO_ESP_PROVIDER");

	openssl_forced = choice && strcmp(choice, "openssl") == 0;
}

/* The fastest provider that has the suite; the choice does not change while the process lives. */
static const struct esp_provider *choose(const struct cipher_suite *suite)
{
	static const struct esp_provider *const fast[] = {
#ifdef __x86_64__
		&esp_provider_vaes,
#endif
#ifdef HAVE_IPSEC_MB
		&esp_provider_mb, &esp_provider_burst,
#endif
		NULL,
	};
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, read_choice);
	for (size_t i = 0; fast[i] && !openssl_forced; i++)
		if (fast[i]->name() && fast[i]->has(suite))
			return fast[i];
	return esp_provider_openssl.has(suite) ? &esp_provider_openssl : NULL;
}

/* The suite makes sense for ESP (RFC 4303 §3.2), whoever computes it. */
static bool suite_sound(const struct cipher_suite *suite)
{
	return suite->encr && (suite->encr->use & ALG_ESP) &&
	       algorithm_key_bits_ok(suite->encr, suite->encr_bits) &&
	       suite->encr->aead == (suite->integ == NULL);
}

size_t esp_cipher_encr_key_bytes(const struct cipher_suite *suite)
{
	return suite->encr_bits / 8u + suite->encr->salt_bytes;
}

size_t esp_cipher_integ_key_bytes(const struct cipher_suite *suite)
{
	return suite->integ ? suite->integ->key_bytes : 0;
}

size_t esp_cipher_bytes(const struct cipher_suite *suite)
{
	const struct esp_provider *provider = suite_sound(suite) ? choose(suite) : NULL;

	return provider ? provider->bytes(suite) : 0;
}

static bool keys_sound(const struct cipher_suite *suite, struct bytes encr_key, struct bytes integ_key)
{
	return suite_sound(suite) && encr_key.len == esp_cipher_encr_key_bytes(suite) &&
	       integ_key.len == esp_cipher_integ_key_bytes(suite);
}

struct esp_cipher *esp_cipher_init(void *room, const struct cipher_suite *suite, struct bytes encr_key,
				   struct bytes integ_key, bool inbound)
{
	struct esp_cipher *c = room;

	if (!keys_sound(suite, encr_key, integ_key))
		return NULL;
	c->provider = choose(suite);
	return c->provider && c->provider->init(c, suite, encr_key, integ_key, inbound) ? c : NULL;
}

void esp_cipher_release(struct esp_cipher *c)
{
	if (c && c->provider->release)
		c->provider->release(c);
}

struct esp_cipher *esp_provider_new(const struct esp_provider *provider, const struct cipher_suite *suite,
				    struct bytes encr_key, struct bytes integ_key, bool inbound)
{
	struct esp_cipher *c = secret_alloc(provider->bytes(suite));

	if (!c)
		return NULL;
	c->provider = provider;
	if (provider->init(c, suite, encr_key, integ_key, inbound))
		return c;
	secret_free(c);
	return NULL;
}

struct esp_cipher *esp_cipher_new(const struct cipher_suite *suite, struct bytes encr_key,
				  struct bytes integ_key, bool inbound)
{
	const struct esp_provider *provider = keys_sound(suite, encr_key, integ_key) ? choose(suite) : NULL;

	return provider ? esp_provider_new(provider, suite, encr_key, integ_key, inbound) : NULL;
}

void esp_cipher_free(struct esp_cipher *c)
{
	esp_cipher_release(c);
	secret_free(c);
}

void esp_cipher_seal(struct esp_cipher *c, struct esp_packet_job *jobs, size_t count)
{
	c->provider->seal(c, jobs, count);
}

void esp_cipher_open(struct esp_cipher *c, struct esp_packet_job *jobs, size_t count)
{
	c->provider->open(c, jobs, count);
}

const char *esp_cipher_provider(const struct esp_cipher *c)
{
	return c->provider->name();
}

const char *esp_provider_for(const struct cipher_suite *suite)
{
	const struct esp_provider *provider = suite_sound(suite) ? choose(suite) : NULL;

	return provider ? provider->name() : NULL;
}
