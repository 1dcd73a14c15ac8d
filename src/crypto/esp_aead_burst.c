/*
 * ESP's AES-CBC and NULL with HMAC-SHA2 by libipsec-mb's synchronous bursts (RFC 3602, 4868).
 *
 * A burst enciphers or hashes packets side by side in the lanes of the vector unit: first a
 * cipher burst and then a hash burst when sealing, the other way round when opening, where only
 * authentic packets are deciphered. A burst keeps its lanes in the manager, so each thread has a
 * manager of its own, made when it first needs one; lanes hold keys, so it is secret memory.
 * A burst takes as long for one packet as for one in every lane: a few are left to OpenSSL.
 *
 * The jobs are not checked by the library: what it would check is so by construction, except
 * the lengths, which are checked here (its lanes have 16 bits for them, and none for zero).
 */
#include "build-config.h"

#ifdef HAVE_IPSEC_MB

/* The library aligns its key structure, which its AVX512 code relies on, under this name only. */
#ifndef LINUX
#define LINUX
#endif
#include <intel-ipsec-mb.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/secret.h"
#include "crypto/esp_provider.h"

enum { BURST_MAX = 64, ESP_HEADER_BYTES = 8, ESN_AAD_BYTES = 12, HIGH_BYTES = 4 };
enum { LEN_MAX = 65000, ICV_MAX = 32, STATE_MAX = 64, SCHEDULE_BYTES = 16 * 15 };

struct hash {
	IMB_HASH_ALG id;
	size_t block_bytes;
	size_t one_block_offset; /* of the function that hashes one block, in the manager */
	uint8_t few;             /* up to so many packets are faster one by one, by OpenSSL */
};

/* Packets only read it. */
struct burst_cipher {
	struct esp_cipher head;
	struct esp_cipher *single; /* OpenSSL's, for a few packets */
	IMB_HASH_ALG hash;
	uint8_t few;
	uint8_t cipher_key_bytes; /* 0: NULL encryption */
	uint8_t iv_bytes, icv_bytes;
	uint8_t inner[STATE_MAX] __attribute__((aligned(16))); /* HMAC's two states */
	uint8_t outer[STATE_MAX];
	uint8_t schedule[SCHEDULE_BYTES] __attribute__((aligned(16))); /* the direction's */
};

/* What bursts of one thread need. */
struct lanes {
	IMB_JOB jobs[BURST_MAX];
	uint8_t icvs[BURST_MAX][ICV_MAX];
	uint8_t saved[BURST_MAX][HIGH_BYTES]; /* what stood where the high half must be hashed */
	IMB_MGR *manager;                     /* in the same memory, behind this */
};

static IMB_ARCH arch; /* IMB_ARCH_NONE when the library does not run here */
static char arch_name[32];
static pthread_key_t lanes_key;

static const struct hash *hash_of(const struct algorithm *integ)
{
	static const struct hash sha256 = { IMB_AUTH_HMAC_SHA_256, 64,
					    offsetof(IMB_MGR, sha256_one_block), 7 };
	static const struct hash sha384 = { IMB_AUTH_HMAC_SHA_384, 128,
					    offsetof(IMB_MGR, sha384_one_block), 3 };
	static const struct hash sha512 = { IMB_AUTH_HMAC_SHA_512, 128,
					    offsetof(IMB_MGR, sha512_one_block), 3 };

	switch (integ ? integ->id : INTEG_NONE) {
	case INTEG_HMAC_SHA2_256_128: return &sha256;
	case INTEG_HMAC_SHA2_384_192: return &sha384;
	case INTEG_HMAC_SHA2_512_256: return &sha512;
	default: return NULL;
	}
}

static struct lanes *lanes_new(IMB_ARCH *found)
{
	size_t before = (sizeof(struct lanes) + 63) / 64 * 64;
	struct lanes *l = secret_alloc(before + imb_get_mb_mgr_size());

	if (!l)
		return NULL;
	l->manager = imb_set_pointers_mb_mgr((uint8_t *)l + before, 0, 1);
	if (l->manager)
		init_mb_mgr_auto(l->manager, found);
	if (l->manager && imb_get_errno(l->manager) == 0 &&
	    (!(l->manager->features & IMB_FEATURE_SELF_TEST) ||
	     (l->manager->features & IMB_FEATURE_SELF_TEST_PASS)))
		return l;
	secret_free(l);
	return NULL;
}

static void start(void)
{
	/* As in IMB_ARCH; without AES instructions OpenSSL is no slower. */
	static const char *const names[IMB_ARCH_NUM] = { NULL,	NULL,	"SSE",
							 "AVX", "AVX2", "AVX512" };
	IMB_ARCH found = IMB_ARCH_NONE;
	struct lanes *l;

	/* The manager is a public structure: header and library must be of one version. */
	if (imb_get_version() != IMB_VERSION_NUM ||
	    pthread_key_create(&lanes_key, secret_free) != 0)
		return;
	l = lanes_new(&found);
	if (!l)
		return;
	secret_free(l);
	if (found >= IMB_ARCH_NUM || !names[found])
		return;
	snprintf(arch_name, sizeof(arch_name), "ipsec-mb %s", names[found]);
	arch = found;
}

static const char *name(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, start);
	return arch != IMB_ARCH_NONE ? arch_name : NULL;
}

/* The calling thread's; NULL when there is no memory for it. */
static struct lanes *lanes_get(void)
{
	static _Thread_local struct lanes *mine;
	IMB_ARCH found;

	if (mine)
		return mine;
	mine = lanes_new(&found);
	if (mine && pthread_setspecific(lanes_key, mine) != 0) {
		secret_free(mine);
		mine = NULL;
	}
	return mine;
}

static bool has(const struct cipher_suite *suite)
{
	return (suite->encr->id == ENCR_AES_CBC || suite->encr->id == ENCR_NULL) &&
	       hash_of(suite->integ);
}

/* RFC 2104: the state after the block of the key and `pad`. Keys are shorter than a block. */
static void set_state(const IMB_MGR *m, const struct hash *hash, struct bytes key, uint8_t pad,
		      uint8_t state[STATE_MAX])
{
	hash_one_block_t one_block;
	uint8_t block[128];

	memcpy(&one_block, (const uint8_t *)m + hash->one_block_offset, sizeof(one_block));
	memset(block, pad, sizeof(block));
	for (size_t i = 0; i < key.len && i < hash->block_bytes; i++)
		block[i] ^= key.ptr[i];
	one_block(block, state);
	secret_wipe(block, sizeof(block));
}

static void set_schedule(struct burst_cipher *c, const IMB_MGR *m, struct bytes key, bool inbound)
{
	uint8_t other[SCHEDULE_BYTES] __attribute__((aligned(16)));
	void *enc = inbound ? other : c->schedule, *dec = inbound ? c->schedule : other;

	switch (key.len) {
	case IMB_KEY_128_BYTES: IMB_AES_KEYEXP_128(m, key.ptr, enc, dec); break;
	case IMB_KEY_192_BYTES: IMB_AES_KEYEXP_192(m, key.ptr, enc, dec); break;
	default: IMB_AES_KEYEXP_256(m, key.ptr, enc, dec); break;
	}
	secret_wipe(other, sizeof(other));
}

static size_t bytes(const struct cipher_suite *suite)
{
	(void)suite;
	return sizeof(struct burst_cipher);
}

static bool init(struct esp_cipher *head, const struct cipher_suite *suite, struct bytes encr_key,
		 struct bytes integ_key, bool inbound)
{
	struct burst_cipher *c = (struct burst_cipher *)head;
	const struct hash *hash = hash_of(suite->integ);
	const struct lanes *l = lanes_get();

	if (!l || !hash)
		return false;
	c->single = esp_provider_new(&esp_provider_openssl, suite, encr_key, integ_key, inbound);
	if (!c->single)
		return false;
	c->hash = hash->id;
	c->few = hash->few;
	c->iv_bytes = suite->encr->iv_bytes;
	c->icv_bytes = suite->integ->icv_bytes;
	c->cipher_key_bytes = (uint8_t)encr_key.len;
	set_state(l->manager, hash, integ_key, 0x36, c->inner);
	set_state(l->manager, hash, integ_key, 0x5c, c->outer);
	if (encr_key.len > 0)
		set_schedule(c, l->manager, encr_key, inbound);
	return true;
}

static void release(struct esp_cipher *head)
{
	esp_cipher_free(((struct burst_cipher *)head)->single);
}

static size_t covered(const struct burst_cipher *c, const struct esp_packet_job *job)
{
	return ESP_HEADER_BYTES + c->iv_bytes + job->len;
}

static bool job_sound(const struct burst_cipher *c, const struct esp_packet_job *job)
{
	return job->len <= LEN_MAX && (c->cipher_key_bytes == 0 || job->len % 16 == 0) &&
	       job->text == job->esp + ESP_HEADER_BYTES + c->iv_bytes &&
	       job->icv == job->text + job->len;
}

/* Encipher or decipher the jobs that are still `ok`. */
static void cipher_burst(struct lanes *l, const struct burst_cipher *c,
			 struct esp_packet_job *jobs, size_t count, bool inbound)
{
	uint32_t n = 0;

	for (size_t i = 0; i < count; i++) {
		const uint8_t *src = inbound || !jobs[i].src ? jobs[i].text : jobs[i].src;

		if (!jobs[i].ok || jobs[i].len == 0)
			continue;
		if (c->cipher_key_bytes == 0) {
			if (src != jobs[i].text)
				memcpy(jobs[i].text, src, jobs[i].len);
			continue;
		}
		l->jobs[n++] = (IMB_JOB){
			.enc_keys = c->schedule,
			.dec_keys = c->schedule,
			.key_len_in_bytes = c->cipher_key_bytes,
			.src = src,
			.dst = jobs[i].text,
			.msg_len_to_cipher_in_bytes = jobs[i].len,
			.iv = jobs[i].iv,
			.iv_len_in_bytes = c->iv_bytes,
			.cipher_mode = IMB_CIPHER_CBC,
			.cipher_direction = inbound ? IMB_DIR_DECRYPT : IMB_DIR_ENCRYPT,
			.hash_alg = IMB_AUTH_NULL,
			.user_data = &jobs[i],
		};
	}
	if (n > 0)
		IMB_SUBMIT_CIPHER_BURST_NOCHECK(l->manager, l->jobs, n, IMB_CIPHER_CBC,
						inbound ? IMB_DIR_DECRYPT : IMB_DIR_ENCRYPT,
						(IMB_KEY_SIZE_BYTES)c->cipher_key_bytes);
	for (uint32_t i = 0; i < n; i++)
		if (l->jobs[i].status != IMB_STATUS_COMPLETED)
			((struct esp_packet_job *)l->jobs[i].user_data)->ok = false;
}

/*
 * Compute the ICVs of the jobs that are `ok`, into the lanes' memory. RFC 4303 §2.2.1: the high
 * half of an extended number follows the text; the burst wants it there, in the ICV's place.
 */
static void hash_burst(struct lanes *l, const struct burst_cipher *c, struct esp_packet_job *jobs,
		       size_t count)
{
	uint32_t n = 0;

	for (size_t i = 0; i < count; i++) {
		bool esn = jobs[i].aad_len == ESN_AAD_BYTES;

		if (!jobs[i].ok)
			continue;
		if (esn) {
			memcpy(l->saved[i], jobs[i].icv, HIGH_BYTES);
			memcpy(jobs[i].icv, jobs[i].aad + 4, HIGH_BYTES);
		}
		l->jobs[n++] = (IMB_JOB){
			.src = jobs[i].esp,
			.msg_len_to_hash_in_bytes = covered(c, &jobs[i]) + (esn ? HIGH_BYTES : 0),
			.auth_tag_output = l->icvs[i],
			.auth_tag_output_len_in_bytes = c->icv_bytes,
			.u.HMAC._hashed_auth_key_xor_ipad = c->inner,
			.u.HMAC._hashed_auth_key_xor_opad = c->outer,
			.cipher_mode = IMB_CIPHER_NULL,
			.cipher_direction = IMB_DIR_ENCRYPT,
			.hash_alg = c->hash,
			.user_data = &jobs[i],
		};
	}
	if (n > 0)
		IMB_SUBMIT_HASH_BURST_NOCHECK(l->manager, l->jobs, n, c->hash);
	for (size_t i = 0; i < count; i++)
		if (jobs[i].ok && jobs[i].aad_len == ESN_AAD_BYTES)
			memcpy(jobs[i].icv, l->saved[i], HIGH_BYTES);
	for (uint32_t i = 0; i < n; i++)
		if (l->jobs[i].status != IMB_STATUS_COMPLETED)
			((struct esp_packet_job *)l->jobs[i].user_data)->ok = false;
}

static void seal_burst(struct lanes *l, const struct burst_cipher *c, struct esp_packet_job *jobs,
		       size_t count)
{
	cipher_burst(l, c, jobs, count, false);
	hash_burst(l, c, jobs, count);
	for (size_t i = 0; i < count; i++)
		if (jobs[i].ok)
			memcpy(jobs[i].icv, l->icvs[i], c->icv_bytes);
}

static void open_burst(struct lanes *l, const struct burst_cipher *c, struct esp_packet_job *jobs,
		       size_t count)
{
	hash_burst(l, c, jobs, count);
	for (size_t i = 0; i < count; i++)
		jobs[i].ok = jobs[i].ok &&
			     CRYPTO_memcmp(l->icvs[i], jobs[i].icv, c->icv_bytes) == 0;
	cipher_burst(l, c, jobs, count, true);
}

static void run_burst(const struct burst_cipher *c, struct esp_packet_job *jobs, size_t count,
		      bool inbound)
{
	struct lanes *l = lanes_get();

	for (size_t i = 0; i < count; i++)
		jobs[i].ok = l && job_sound(c, &jobs[i]);
	if (l && inbound)
		open_burst(l, c, jobs, count);
	else if (l)
		seal_burst(l, c, jobs, count);
	for (size_t i = 0; i < count; i++)
		if (!jobs[i].ok)
			secret_wipe(jobs[i].text, jobs[i].len);
}

static void seal(struct esp_cipher *head, struct esp_packet_job *jobs, size_t count)
{
	const struct burst_cipher *c = (const struct burst_cipher *)head;

	for (size_t n; count > c->few; jobs += n, count -= n) {
		n = count < BURST_MAX ? count : BURST_MAX;
		run_burst(c, jobs, n, false);
	}
	esp_provider_openssl.seal(c->single, jobs, count);
}

static void open_jobs(struct esp_cipher *head, struct esp_packet_job *jobs, size_t count)
{
	const struct burst_cipher *c = (const struct burst_cipher *)head;

	for (size_t n; count > c->few; jobs += n, count -= n) {
		n = count < BURST_MAX ? count : BURST_MAX;
		run_burst(c, jobs, n, true);
	}
	esp_provider_openssl.open(c->single, jobs, count);
}

const struct esp_provider esp_provider_burst = {
	.name = name,
	.has = has,
	.bytes = bytes,
	.init = init,
	.release = release,
	.seal = seal,
	.open = open_jobs,
};

#endif /* HAVE_IPSEC_MB */
