/* Pseudo-random functions and hashes; see prf.h. */
#include "crypto/prf.h"

#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>

#include "crypto/fetch.h"

enum { PRF_PLUS_BLOCKS_MAX = 255 };

/* A keyed HMAC, NULL on error. */
static EVP_MAC_CTX *prf_begin(const struct algorithm *prf, struct bytes key)
{
	static const uint8_t empty[1];
	EVP_MAC_CTX *ctx;

	if (prf->type != TRANSFORM_PRF)
		return NULL;
	ctx = fetch_hmac(prf->openssl[0]);
	/* A null pointer would mean "the key you have", not "the empty key". */
	if (ctx && EVP_MAC_init(ctx, key.len > 0 ? key.ptr : empty, key.len, NULL) != 1) {
		EVP_MAC_CTX_free(ctx);
		ctx = NULL;
	}
	return ctx;
}

static bool prf_add(EVP_MAC_CTX *ctx, struct bytes part)
{
	return part.len == 0 || EVP_MAC_update(ctx, part.ptr, part.len) == 1;
}

static bool prf_end(EVP_MAC_CTX *ctx, size_t size, uint8_t *out)
{
	size_t len = 0;

	return EVP_MAC_final(ctx, out, &len, size) == 1 && len == size;
}

bool prf_compute(const struct algorithm *prf, struct bytes key, const struct bytes *parts,
		 size_t count, uint8_t *out)
{
	EVP_MAC_CTX *ctx = prf_begin(prf, key);
	bool ok = ctx != NULL;

	memset(out, 0, prf->key_bytes);
	for (size_t i = 0; ok && i < count; i++)
		ok = prf_add(ctx, parts[i]);
	ok = ok && prf_end(ctx, prf->key_bytes, out);
	EVP_MAC_CTX_free(ctx);
	if (!ok)
		ERR_clear_error();
	return ok;
}

bool prf_plus(const struct algorithm *prf, struct bytes key, struct bytes seed, uint8_t *out,
	      size_t len)
{
	uint8_t block[PRF_OUTPUT_MAX];
	struct bytes last = BYTES(block, 0);
	EVP_MAC_CTX *ctx = prf_begin(prf, key);
	size_t size = prf->key_bytes, done = 0;
	bool ok = ctx && len <= PRF_PLUS_BLOCKS_MAX * size;

	memset(out, 0, len);
	for (uint8_t n = 1; ok && done < len; n++) {
		size_t take = len - done < size ? len - done : size;

		/* Tn = prf(K, Tn-1 | S | n); the key stays from block to block. */
		ok = (n == 1 || EVP_MAC_init(ctx, NULL, 0, NULL) == 1) && prf_add(ctx, last) &&
		     prf_add(ctx, seed) && prf_add(ctx, BYTES(&n, 1)) && prf_end(ctx, size, block);
		if (ok)
			memcpy(out + done, block, take);
		done += take;
		last.len = size;
	}
	if (!ok) {
		secret_wipe(out, len);
		ERR_clear_error();
	}
	secret_wipe(block, sizeof(block));
	EVP_MAC_CTX_free(ctx);
	return ok;
}

static bool hash(const char *name, const struct bytes *parts, size_t count, uint8_t *out,
		 size_t size)
{
	const EVP_MD *md = fetch_digest(name);
	EVP_MD_CTX *ctx = md ? EVP_MD_CTX_new() : NULL;
	bool ok = ctx && EVP_DigestInit_ex2(ctx, md, NULL) == 1;

	memset(out, 0, size);
	for (size_t i = 0; ok && i < count; i++)
		ok = parts[i].len == 0 || EVP_DigestUpdate(ctx, parts[i].ptr, parts[i].len) == 1;
	ok = ok && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
	EVP_MD_CTX_free(ctx);
	if (!ok)
		ERR_clear_error();
	return ok;
}

bool hash_sha256(const struct bytes *parts, size_t count, uint8_t out[32])
{
	return hash("SHA256", parts, count, out, 32);
}

bool hash_sha1(const struct bytes *parts, size_t count, uint8_t out[20])
{
	return hash("SHA1", parts, count, out, 20);
}
