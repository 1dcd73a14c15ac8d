/* Key exchange over OpenSSL; see ke.h. */
#include "crypto/ke.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>

enum { KE_PRIVATE_MAX = 66 }; /* a scalar of P-521 */
enum { SCALAR_TRIES = 100 };  /* each fails with a probability of 2^-32 at most */
enum { X25519_BYTES = 32 };

struct ke {
	const struct algorithm *method;
	size_t private_len;
	uint8_t private[KE_PRIVATE_MAX];
	uint8_t public[KE_PUBLIC_MAX];
};

/* Results of the arithmetic are written with leading zeros to this length. */
static bool bn_write(const BIGNUM *n, uint8_t *out, size_t len)
{
	return BN_bn2binpad(n, out, (int)len) == (int)len;
}

static BIGNUM *bn_private(const struct ke *ke)
{
	BIGNUM *n = BN_secure_new();

	if (n && !BN_bin2bn(ke->private, (int)ke->private_len, n)) {
		BN_clear_free(n);
		return NULL;
	}
	if (n)
		BN_set_flags(n, BN_FLG_CONSTTIME);
	return n;
}

/* --- MODP groups, RFC 3526 --- */

static BIGNUM *modp_prime(uint16_t id)
{
	switch (id) {
	case KE_MODP2048: return BN_get_rfc3526_prime_2048(NULL);
	case KE_MODP3072: return BN_get_rfc3526_prime_3072(NULL);
	case KE_MODP4096: return BN_get_rfc3526_prime_4096(NULL);
	case KE_MODP8192: return BN_get_rfc3526_prime_8192(NULL);
	default: return NULL;
	}
}

/* out = base ^ private mod p, in constant time. */
static bool modp_power(const struct ke *ke, const BIGNUM *base, const BIGNUM *p, uint8_t *out)
{
	BN_CTX *ctx = BN_CTX_secure_new();
	BN_MONT_CTX *mont = BN_MONT_CTX_new();
	BIGNUM *x = bn_private(ke);
	BIGNUM *r = BN_secure_new();
	bool ok = ctx && mont && x && r && BN_MONT_CTX_set(mont, p, ctx) == 1 &&
		  BN_mod_exp_mont_consttime(r, base, x, p, ctx, mont) == 1 &&
		  bn_write(r, out, ke->method->public_bytes);

	BN_clear_free(r);
	BN_clear_free(x);
	BN_MONT_CTX_free(mont);
	BN_CTX_free(ctx);
	return ok;
}

static bool modp_generate(struct ke *ke, random_fn *random, void *context)
{
	BIGNUM *p = modp_prime(ke->method->id);
	BIGNUM *g = BN_new();
	bool ok;

	/* RFC 3526 §8: an exponent of twice the strength, here in whole groups of 64 bits. */
	ke->private_len = ((size_t)ke->method->strength * 2 + 63) / 64 * 8;
	random(context, ke->private, ke->private_len);
	ke->private[0] |= 0x80;
	ok = p && g && BN_set_word(g, 2) == 1 && modp_power(ke, g, p, ke->public);
	BN_free(g);
	BN_free(p);
	return ok;
}

/* RFC 6989 §2.1: for safe primes, 1 < y < p - 1. */
static bool modp_derive(const struct ke *ke, struct bytes peer, struct secret *out)
{
	BIGNUM *p = modp_prime(ke->method->id);
	BIGNUM *y = BN_bin2bn(peer.ptr, (int)peer.len, NULL);
	BIGNUM *top = p ? BN_dup(p) : NULL;
	bool ok = top && y && BN_sub_word(top, 1) == 1 && BN_cmp(y, BN_value_one()) > 0 &&
		  BN_cmp(y, top) < 0 && modp_power(ke, y, p, out->bytes);

	if (ok)
		out->len = ke->method->public_bytes;
	BN_free(top);
	BN_free(y);
	BN_free(p);
	return ok;
}

/* --- ECP groups, RFC 5903: x | y on the wire, x is the shared secret --- */

static EC_GROUP *ecp_group(uint16_t id)
{
	switch (id) {
	case KE_ECP256: return EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	case KE_ECP384: return EC_GROUP_new_by_curve_name(NID_secp384r1);
	case KE_ECP521: return EC_GROUP_new_by_curve_name(NID_secp521r1);
	default: return NULL;
	}
}

/* A scalar of 1 to n-1, by trying (FIPS 186-5 A.2.2), so that none is more likely than others. */
static bool ecp_scalar(struct ke *ke, const BIGNUM *order, random_fn *random, void *context)
{
	unsigned spare = (unsigned)ke->private_len * 8 - (unsigned)BN_num_bits(order);
	BIGNUM *d = BN_secure_new();
	bool ok = false;

	for (int i = 0; d && !ok && i < SCALAR_TRIES; i++) {
		random(context, ke->private, ke->private_len);
		ke->private[0] &= (uint8_t)(0xff >> spare);
		ok = BN_bin2bn(ke->private, (int)ke->private_len, d) && !BN_is_zero(d) &&
		     BN_cmp(d, order) < 0;
	}
	BN_clear_free(d);
	return ok;
}

static bool ecp_write_point(const EC_GROUP *group, const EC_POINT *point, uint8_t *out, size_t len)
{
	uint8_t octets[1 + KE_PRIVATE_MAX * 2];

	if (EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, octets, sizeof(octets),
			       NULL) != len + 1)
		return false;
	memcpy(out, octets + 1, len);
	return true;
}

static bool ecp_generate(struct ke *ke, random_fn *random, void *context)
{
	EC_GROUP *group = ecp_group(ke->method->id);
	EC_POINT *q = group ? EC_POINT_new(group) : NULL;
	BIGNUM *d = NULL;
	bool ok = false;

	ke->private_len = ke->method->public_bytes / 2;
	if (q && ecp_scalar(ke, EC_GROUP_get0_order(group), random, context)) {
		d = bn_private(ke);
		ok = d && EC_POINT_mul(group, q, d, NULL, NULL, NULL) == 1 &&
		     ecp_write_point(group, q, ke->public, ke->method->public_bytes);
	}
	BN_clear_free(d);
	EC_POINT_free(q);
	EC_GROUP_free(group);
	return ok;
}

/* RFC 6989 §2.3: coordinates below p, and the point on the curve; the cofactor is one. */
static bool ecp_read_peer(const EC_GROUP *group, struct bytes peer, EC_POINT *point)
{
	uint8_t octets[1 + KE_PRIVATE_MAX * 2] = { POINT_CONVERSION_UNCOMPRESSED };

	if (peer.len + 1 > sizeof(octets))
		return false;
	memcpy(octets + 1, peer.ptr, peer.len);
	return EC_POINT_oct2point(group, point, octets, peer.len + 1, NULL) == 1 &&
	       EC_POINT_is_on_curve(group, point, NULL) == 1 &&
	       EC_POINT_is_at_infinity(group, point) == 0;
}

static bool ecp_derive(const struct ke *ke, struct bytes peer, struct secret *out)
{
	uint8_t shared[KE_PRIVATE_MAX * 2];
	EC_GROUP *group = ecp_group(ke->method->id);
	EC_POINT *point = group ? EC_POINT_new(group) : NULL;
	EC_POINT *result = group ? EC_POINT_new(group) : NULL;
	BIGNUM *d = bn_private(ke);
	bool ok = d && point && result && ecp_read_peer(group, peer, point) &&
		  EC_POINT_mul(group, result, NULL, point, d, NULL) == 1 &&
		  EC_POINT_is_at_infinity(group, result) == 0 &&
		  ecp_write_point(group, result, shared, peer.len);

	if (ok) {
		out->len = peer.len / 2;
		memcpy(out->bytes, shared, out->len);
	}
	secret_wipe(shared, sizeof(shared));
	BN_clear_free(d);
	EC_POINT_clear_free(result);
	EC_POINT_free(point);
	EC_GROUP_free(group);
	return ok;
}

/* --- Curve25519, RFC 8031 --- */

static EVP_PKEY *x25519_private(const struct ke *ke)
{
	return EVP_PKEY_new_raw_private_key_ex(NULL, "X25519", NULL, ke->private, X25519_BYTES);
}

static bool x25519_generate(struct ke *ke, random_fn *random, void *context)
{
	size_t len = X25519_BYTES;
	EVP_PKEY *key;
	bool ok;

	ke->private_len = X25519_BYTES;
	random(context, ke->private, ke->private_len);
	key = x25519_private(ke);
	ok = key && EVP_PKEY_get_raw_public_key(key, ke->public, &len) == 1 && len == X25519_BYTES;
	EVP_PKEY_free(key);
	return ok;
}

static bool x25519_derive(const struct ke *ke, struct bytes peer, struct secret *out)
{
	static const uint8_t zeros[X25519_BYTES];
	size_t len = X25519_BYTES;
	EVP_PKEY *key = x25519_private(ke);
	EVP_PKEY *other = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, peer.ptr, peer.len);
	EVP_PKEY_CTX *ctx = key ? EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL) : NULL;
	bool ok = ctx && other && EVP_PKEY_derive_init(ctx) == 1 &&
		  EVP_PKEY_derive_set_peer(ctx, other) == 1 &&
		  EVP_PKEY_derive(ctx, out->bytes, &len) == 1 && len == X25519_BYTES &&
		  /* RFC 8031 §3: a result of zeros tells of a point of small order. */
		  CRYPTO_memcmp(out->bytes, zeros, len) != 0;

	if (ok)
		out->len = len;
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(other);
	EVP_PKEY_free(key);
	return ok;
}

/* --- the methods together --- */

static bool is_ecp(const struct algorithm *method)
{
	return method->id == KE_ECP256 || method->id == KE_ECP384 || method->id == KE_ECP521;
}

struct ke *ke_generate(const struct algorithm *method, random_fn *random, void *context)
{
	struct ke *ke;
	bool ok;

	if (!method || method->type != TRANSFORM_KE || method->public_bytes == 0)
		return NULL;
	ke = secret_alloc(sizeof(*ke));
	if (!ke)
		return NULL;
	ke->method = method;
	if (method->id == KE_CURVE25519)
		ok = x25519_generate(ke, random, context);
	else if (is_ecp(method))
		ok = ecp_generate(ke, random, context);
	else
		ok = modp_generate(ke, random, context);
	if (ok)
		return ke;
	ERR_clear_error();
	secret_free(ke);
	return NULL;
}

const struct algorithm *ke_method(const struct ke *ke)
{
	return ke->method;
}

struct bytes ke_public(const struct ke *ke)
{
	return BYTES(ke->public, ke->method->public_bytes);
}

bool ke_derive(struct ke *ke, struct bytes peer, struct secret *out)
{
	bool ok = false;

	out->len = 0;
	if (peer.len != ke->method->public_bytes)
		return false;
	if (ke->method->id == KE_CURVE25519)
		ok = x25519_derive(ke, peer, out);
	else if (is_ecp(ke->method))
		ok = ecp_derive(ke, peer, out);
	else
		ok = modp_derive(ke, peer, out);
	if (!ok) {
		secret_wipe(out, sizeof(*out));
		ERR_clear_error();
	}
	return ok;
}

void ke_free(struct ke *ke)
{
	secret_free(ke);
}
