/*
 * ESP's packet protection by Intel's libipsec-mb: AES-GCM and ChaCha20-Poly1305.
 *
 * Only its direct calls are used, one for each packet: its burst interface has nothing faster
 * for an AEAD. They only read function pointers from the manager, so that all threads share
 * one. For AES-CBC with HMAC see esp_aead_burst.c.
 */
#include "build-config.h"

#ifdef HAVE_IPSEC_MB

/* The library aligns its key structure, which its AVX512 code relies on, under this name only. */
#ifndef LINUX
#define LINUX
#endif
#include <intel-ipsec-mb.h>

#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/secret.h"
#include "crypto/esp_provider.h"

enum { SALT_BYTES = 4, IV_BYTES = 8, ICV_BYTES = 16, CHACHA_KEY_BYTES = 32 };
enum { TEXT_MAX = 1 << 24 }; /* far below the library's own limit, far above a packet */

/* Packets only read it. */
struct mb_cipher {
	struct esp_cipher head;
	aes_gcm_enc_dec_t gcm; /* the direction's; NULL: ChaCha20-Poly1305 */
	uint8_t salt[SALT_BYTES];
	union {
		struct gcm_key_data gcm;
		uint8_t chacha[CHACHA_KEY_BYTES];
	} key;
};

/* The library's notes on the packet in hand. */
static _Thread_local union {
	struct gcm_context_data gcm;
	struct chacha20_poly1305_context_data chacha;
} state;

static IMB_MGR *manager; /* NULL when the library does not run here */
static char manager_name[32];

static void start(void)
{
	/* As in IMB_ARCH; the first two have no AES instructions, and OpenSSL is no slower. */
	static const char *const names[IMB_ARCH_NUM] = { NULL,	NULL,	"SSE",
							 "AVX", "AVX2", "AVX512" };
	IMB_ARCH arch = IMB_ARCH_NONE;
	IMB_MGR *m;

	/* The manager is a public structure: header and library must be of one version. */
	if (imb_get_version() != IMB_VERSION_NUM)
		return;
	m = alloc_mb_mgr(0);
	if (!m)
		return;
	init_mb_mgr_auto(m, &arch);
	if (arch >= IMB_ARCH_NUM || !names[arch] ||
	    ((m->features & IMB_FEATURE_SELF_TEST) &&
	     !(m->features & IMB_FEATURE_SELF_TEST_PASS))) {
		free_mb_mgr(m);
		return;
	}
	snprintf(manager_name, sizeof(manager_name), "ipsec-mb %s", names[arch]);
	manager = m;
}

static const char *name(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, start);
	return manager ? manager_name : NULL;
}

static bool has(const struct cipher_suite *suite)
{
	return suite->encr->id == ENCR_AES_GCM_16 || suite->encr->id == ENCR_CHACHA20_POLY1305;
}

/* One bare key is small beside a key schedule with powers of H: take no more than it needs. */
static size_t bytes(const struct cipher_suite *suite)
{
	if (suite->encr->id == ENCR_CHACHA20_POLY1305)
		return offsetof(struct mb_cipher, key) + CHACHA_KEY_BYTES;
	return sizeof(struct mb_cipher);
}

/* Expand the key and pick the function of its size and direction. */
static bool set_gcm_key(struct mb_cipher *c, unsigned bits, const uint8_t *key, bool inbound)
{
	switch (bits) {
	case 128:
		IMB_AES128_GCM_PRE(manager, key, &c->key.gcm);
		c->gcm = inbound ? manager->gcm128_dec : manager->gcm128_enc;
		return true;
	case 192:
		IMB_AES192_GCM_PRE(manager, key, &c->key.gcm);
		c->gcm = inbound ? manager->gcm192_dec : manager->gcm192_enc;
		return true;
	case 256:
		IMB_AES256_GCM_PRE(manager, key, &c->key.gcm);
		c->gcm = inbound ? manager->gcm256_dec : manager->gcm256_enc;
		return true;
	default: return false;
	}
}

static bool init(struct esp_cipher *head, const struct cipher_suite *suite, struct bytes encr_key,
		 struct bytes integ_key, bool inbound)
{
	struct mb_cipher *c = (struct mb_cipher *)head;

	(void)integ_key;
	memcpy(c->salt, encr_key.ptr + encr_key.len - SALT_BYTES, SALT_BYTES);
	if (suite->encr->id != ENCR_CHACHA20_POLY1305)
		return set_gcm_key(c, suite->encr_bits, encr_key.ptr, inbound);
	memcpy(c->key.chacha, encr_key.ptr, CHACHA_KEY_BYTES);
	return true;
}

/* One packet; `icv` is written, whichever the direction. */
static void run(const struct mb_cipher *c, const struct esp_packet_job *job, bool inbound,
		uint8_t icv[ICV_BYTES])
{
	const uint8_t *src = inbound || !job->src ? job->text : job->src;
	uint8_t nonce[SALT_BYTES + IV_BYTES];

	memcpy(nonce, c->salt, SALT_BYTES);
	memcpy(nonce + SALT_BYTES, job->iv, IV_BYTES);
	if (c->gcm) {
		c->gcm(&c->key.gcm, &state.gcm, job->text, src, job->len, nonce, job->aad,
		       job->aad_len, icv, ICV_BYTES);
		return;
	}
	IMB_CHACHA20_POLY1305_INIT(manager, c->key.chacha, &state.chacha, nonce, job->aad,
				   job->aad_len);
	if (inbound)
		IMB_CHACHA20_POLY1305_DEC_UPDATE(manager, c->key.chacha, &state.chacha, job->text,
						 src, job->len);
	else
		IMB_CHACHA20_POLY1305_ENC_UPDATE(manager, c->key.chacha, &state.chacha, job->text,
						 src, job->len);
	IMB_CHACHA20_POLY1305_ENC_FINALIZE(manager, &state.chacha, icv, ICV_BYTES);
}

static void seal(struct esp_cipher *head, struct esp_packet_job *jobs, size_t count)
{
	const struct mb_cipher *c = (struct mb_cipher *)head;

	for (size_t i = 0; i < count; i++) {
		jobs[i].ok = jobs[i].len <= TEXT_MAX;
		if (jobs[i].ok)
			run(c, &jobs[i], false, jobs[i].icv);
		else
			secret_wipe(jobs[i].text, jobs[i].len);
	}
}

static void open_jobs(struct esp_cipher *head, struct esp_packet_job *jobs, size_t count)
{
	const struct mb_cipher *c = (struct mb_cipher *)head;
	uint8_t icv[ICV_BYTES];

	for (size_t i = 0; i < count; i++) {
		/* Another value for sure: should the library refuse, that must not pass. */
		for (size_t k = 0; k < ICV_BYTES; k++)
			icv[k] = (uint8_t)~jobs[i].icv[k];
		if (jobs[i].len <= TEXT_MAX)
			run(c, &jobs[i], true, icv);
		jobs[i].ok = CRYPTO_memcmp(icv, jobs[i].icv, ICV_BYTES) == 0;
		/* It decrypts before it knows: what is not authentic is not to be seen. */
		if (!jobs[i].ok)
			secret_wipe(jobs[i].text, jobs[i].len);
	}
}

const struct esp_provider esp_provider_mb = {
	.name = name,
	.has = has,
	.bytes = bytes,
	.init = init,
	.seal = seal,
	.open = open_jobs,
};

#endif /* HAVE_IPSEC_MB */
