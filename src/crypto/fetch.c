/* Looking up OpenSSL's algorithms once; see fetch.h. */
#include "crypto/fetch.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>

enum { CACHE_MAX = 16 }; /* more than the table of algorithms has names */

enum kind { KIND_CIPHER, KIND_DIGEST, KIND_HMAC };

static struct {
	pthread_mutex_t lock;
	size_t count;
	struct {
		enum kind kind;
		const char *name;
		void *object;
	} entries[CACHE_MAX];
} cache = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* A keyless HMAC that others are copied from. */
static EVP_MAC_CTX *new_hmac(const char *digest)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)digest, 0),
		OSSL_PARAM_construct_end(),
	};

	EVP_MAC_free(mac);
	if (ctx && EVP_MAC_CTX_set_params(ctx, params) != 1) {
		EVP_MAC_CTX_free(ctx);
		ctx = NULL;
	}
	return ctx;
}

static void *look_up(enum kind kind, const char *name)
{
	switch (kind) {
	case KIND_CIPHER: return EVP_CIPHER_fetch(NULL, name, NULL);
	case KIND_DIGEST: return EVP_MD_fetch(NULL, name, NULL);
	case KIND_HMAC: return new_hmac(name);
	}
	return NULL;
}

static void *find(enum kind kind, const char *name)
{
	void *object = NULL;

	if (!name)
		return NULL;
	pthread_mutex_lock(&cache.lock);
	for (size_t i = 0; i < cache.count && !object; i++) {
		if (cache.entries[i].kind == kind && strcmp(cache.entries[i].name, name) == 0)
			object = cache.entries[i].object;
	}
	if (!object && cache.count < CACHE_MAX) {
		object = look_up(kind, name);
		if (object) {
			cache.entries[cache.count].kind = kind;
			cache.entries[cache.count].name = name;
			cache.entries[cache.count++].object = object;
		} else {
			ERR_clear_error();
		}
	}
	pthread_mutex_unlock(&cache.lock);
	return object;
}

const EVP_CIPHER *fetch_cipher(const char *name)
{
	return find(KIND_CIPHER, name);
}

const EVP_MD *fetch_digest(const char *name)
{
	return find(KIND_DIGEST, name);
}

EVP_MAC_CTX *fetch_hmac(const char *digest)
{
	EVP_MAC_CTX *model = find(KIND_HMAC, digest);

	return model ? EVP_MAC_CTX_dup(model) : NULL;
}
