/*
 * ESP's packet protection by OpenSSL: everything that the table has for ESP.
 *
 * Ciphers are looked up once in the process, and a context is keyed once; a packet only sets
 * its nonce.
 */
#include <limits.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "base/secret.h"
#include "crypto/esp_provider.h"
#include "crypto/fetch.h"

enum { NONCE_MAX = 16, ICV_MAX = 64, ESP_HEADER_BYTES = 8, ESN_AAD_BYTES = 12 };

struct openssl_cipher {
	struct esp_cipher head;
	const struct algorithm *encr;
	const struct algorithm *integ; /* NULL with an AEAD */
	EVP_CIPHER_CTX *cipher;        /* keyed; NULL with NULL encryption */
	EVP_MAC_CTX *mac;              /* keyed; NULL with an AEAD */
	uint8_t nonce[NONCE_MAX];      /* the salt, then the packet's IV */
};

static const char *name(void)
{
	return "OpenSSL";
}

static bool has(const struct cipher_suite *suite)
{
	const char *cipher = algorithm_cipher(suite->encr, suite->encr_bits);

	return (!cipher || fetch_cipher(cipher)) &&
	       (!suite->integ || fetch_digest(suite->integ->openssl[0]));
}

static size_t bytes(const struct cipher_suite *suite)
{
	(void)suite;
	return sizeof(struct openssl_cipher);
}

static void release(struct esp_cipher *head)
{
	struct openssl_cipher *c = (struct openssl_cipher *)head;

	EVP_CIPHER_CTX_free(c->cipher);
	EVP_MAC_CTX_free(c->mac);
}

static bool set_keys(struct openssl_cipher *c, const struct cipher_suite *suite,
		     struct bytes encr_key, struct bytes integ_key, bool inbound)
{
	const char *cipher = algorithm_cipher(suite->encr, suite->encr_bits);
	size_t salt = suite->encr->salt_bytes;

	if (cipher) {
		c->cipher = EVP_CIPHER_CTX_new();
		if (!c->cipher ||
		    EVP_CipherInit_ex2(c->cipher, fetch_cipher(cipher), encr_key.ptr, NULL,
				       inbound ? 0 : 1, NULL) != 1 ||
		    EVP_CIPHER_CTX_set_padding(c->cipher, 0) != 1)
			return false;
	}
	if (suite->integ) {
		c->mac = fetch_hmac(suite->integ->openssl[0]);
		if (!c->mac || EVP_MAC_init(c->mac, integ_key.ptr, integ_key.len, NULL) != 1)
			return false;
	}
	if (salt > 0)
		memcpy(c->nonce, encr_key.ptr + encr_key.len - salt, salt);
	return true;
}

static bool init(struct esp_cipher *head, const struct cipher_suite *suite, struct bytes encr_key,
		 struct bytes integ_key, bool inbound)
{
	struct openssl_cipher *c = (struct openssl_cipher *)head;

	c->encr = suite->encr;
	c->integ = suite->integ;
	if (set_keys(c, suite, encr_key, integ_key, inbound))
		return true;
	ERR_clear_error();
	release(head);
	return false;
}

/* Take the packet's IV; all else is set already. */
static bool set_iv(struct openssl_cipher *c, const uint8_t *iv)
{
	memcpy(c->nonce + c->encr->salt_bytes, iv, c->encr->iv_bytes);
	return EVP_CipherInit_ex2(c->cipher, NULL, NULL, c->nonce, -1, NULL) == 1;
}

static bool run(struct openssl_cipher *c, uint8_t *text, const uint8_t *src, size_t len)
{
	uint8_t rest[EVP_MAX_BLOCK_LENGTH];
	int n = 0, m = 0;

	if (len > INT_MAX)
		return false;
	/* No text at all would be taken for the end of it. */
	if (len > 0 && EVP_CipherUpdate(c->cipher, text, &n, src, (int)len) != 1)
		return false;
	return EVP_CipherFinal_ex(c->cipher, rest, &m) == 1 && (size_t)n == len && m == 0;
}

static const uint8_t *job_src(const struct esp_packet_job *job)
{
	return job->src ? job->src : job->text;
}

static bool add_aad(struct openssl_cipher *c, const struct esp_packet_job *job)
{
	int n;

	return EVP_CipherUpdate(c->cipher, NULL, &n, job->aad, job->aad_len) == 1;
}

static bool aead_seal(struct openssl_cipher *c, struct esp_packet_job *job)
{
	return set_iv(c, job->iv) && add_aad(c, job) && run(c, job->text, job_src(job), job->len) &&
	       EVP_CIPHER_CTX_ctrl(c->cipher, EVP_CTRL_AEAD_GET_TAG, c->encr->icv_bytes,
				   job->icv) == 1;
}

static bool aead_open(struct openssl_cipher *c, struct esp_packet_job *job)
{
	return set_iv(c, job->iv) &&
	       EVP_CIPHER_CTX_ctrl(c->cipher, EVP_CTRL_AEAD_SET_TAG, c->encr->icv_bytes,
				   job->icv) == 1 &&
	       add_aad(c, job) && run(c, job->text, job->text, job->len);
}

/* RFC 4303 §2.8: SPI to Next Header, then the high half of an extended sequence number. */
static bool mac(struct openssl_cipher *c, const struct esp_packet_job *job, uint8_t icv[ICV_MAX])
{
	size_t covered = ESP_HEADER_BYTES + c->encr->iv_bytes + job->len, n = 0;

	if (job->text != job->esp + ESP_HEADER_BYTES + c->encr->iv_bytes ||
	    job->icv != job->text + job->len)
		return false;
	return EVP_MAC_init(c->mac, NULL, 0, NULL) == 1 &&
	       EVP_MAC_update(c->mac, job->esp, covered) == 1 &&
	       (job->aad_len != ESN_AAD_BYTES || EVP_MAC_update(c->mac, job->aad + 4, 4) == 1) &&
	       EVP_MAC_final(c->mac, icv, &n, ICV_MAX) == 1 && n >= c->integ->icv_bytes;
}

static bool cbc(struct openssl_cipher *c, struct esp_packet_job *job, const uint8_t *src)
{
	if (!c->cipher) {
		if (src != job->text)
			memcpy(job->text, src, job->len);
		return true;
	}
	return job->len % c->encr->block_bytes == 0 && set_iv(c, job->iv) &&
	       run(c, job->text, src, job->len);
}

static bool mac_seal(struct openssl_cipher *c, struct esp_packet_job *job)
{
	uint8_t icv[ICV_MAX];

	if (!cbc(c, job, job_src(job)) || !mac(c, job, icv))
		return false;
	memcpy(job->icv, icv, c->integ->icv_bytes);
	return true;
}

static bool mac_open(struct openssl_cipher *c, struct esp_packet_job *job)
{
	uint8_t icv[ICV_MAX];

	return mac(c, job, icv) && CRYPTO_memcmp(icv, job->icv, c->integ->icv_bytes) == 0 &&
	       cbc(c, job, job->text);
}

static void finish(struct esp_packet_job *job, bool ok)
{
	job->ok = ok;
	if (ok)
		return;
	secret_wipe(job->text, job->len);
	ERR_clear_error();
}

static void seal(struct esp_cipher *head, struct esp_packet_job *jobs, size_t count)
{
	struct openssl_cipher *c = (struct openssl_cipher *)head;

	for (size_t i = 0; i < count; i++)
		finish(&jobs[i], c->integ ? mac_seal(c, &jobs[i]) : aead_seal(c, &jobs[i]));
}

static void open_jobs(struct esp_cipher *head, struct esp_packet_job *jobs, size_t count)
{
	struct openssl_cipher *c = (struct openssl_cipher *)head;

	for (size_t i = 0; i < count; i++)
		finish(&jobs[i], c->integ ? mac_open(c, &jobs[i]) : aead_open(c, &jobs[i]));
}

const struct esp_provider esp_provider_openssl = {
	.name = name,
	.has = has,
	.bytes = bytes,
	.init = init,
	.release = release,
	.seal = seal,
	.open = open_jobs,
};
