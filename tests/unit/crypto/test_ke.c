/* ke.h: RFC 5903 §8, RFC 7748 §6.1, RFC 3526, RFC 6989. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/bn.h>

#include "crypto/ke.h"
#include "hex.h"

/* A random source that gives what the test put into it, then a counter's bytes. */
struct source {
	struct bytes fixed;
	uint8_t counter;
	unsigned calls;
};

static void give(void *context, uint8_t *buf, size_t len)
{
	struct source *s = context;

	s->calls++;
	if (s->fixed.len == len) {
		memcpy(buf, s->fixed.ptr, len);
		s->fixed.len = 0;
		return;
	}
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(++s->counter * 167 + 13);
}

static struct ke *with_private(uint16_t id, const char *private)
{
	struct source s = { .fixed = hex(private) };
	struct ke *ke = ke_generate(algorithm_find(TRANSFORM_KE, id), give, &s);

	assert_non_null(ke);
	return ke;
}

static void published(void **state)
{
	static const struct {
		uint16_t id;
		const char *i, *gi, *r, *gr, *gir;
	} rows[] = {
		{ KE_ECP256, "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
		  "dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180"
		  "5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3",
		  "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
		  "d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63"
		  "56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab",
		  "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de" },
		{ KE_ECP384,
		  "099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655"
		  "e35b538041e649ee3faef896783ab194",
		  "667842d7d180ac2cde6f74f37551f55755c7645c20ef73e31634fe72b4c55ee6"
		  "de3ac808acb4bdb4c88732aee95f41aa9482ed1fc0eeb9cafc4984625ccfc23f"
		  "65032149e0e144ada024181535a0f38eeb9fcff3c2c947dae69b4c634573a81c",
		  "41cb0779b4bdb85d47846725fbec3c9430fab46cc8dc5060855cc9bda0aa2942"
		  "e0308312916b8ed2960e4bd55a7448fc",
		  "e558dbef53eecde3d3fccfc1aea08a89a987475d12fd950d83cfa41732bc509d"
		  "0d1ac43a0336def96fda41d0774a3571dcfbec7aacf3196472169e838430367f"
		  "66eebe3c6e70c416dd5f0c68759dd1fff83fa40142209dff5eaad96db9e6386c",
		  "11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4"
		  "d603135569b9e9d09cf5d4a270f59746" },
		{ KE_ECP521,
		  "0037ade9319a89f4dabdb3ef411aaccca5123c61acab57b5393dce47608172a0"
		  "95aa85a30fe1c2952c6771d937ba9777f5957b2639bab072462f68c27a57382d4a52",
		  "0015417e84dbf28c0ad3c278713349dc7df153c897a1891bd98bab4357c9ecbe"
		  "e1e3bf42e00b8e380aeae57c2d107564941885942af5a7f4601723c4195d176ced3e"
		  "017cae20b6641d2eeb695786d8c946146239d099e18e1d5a514c739d7cb4a10a"
		  "d8a788015ac405d7799dc75e7b7d5b6cf2261a6a7f1507438bf01beb6ca3926f9582",
		  "0145ba99a847af43793fdd0e872e7cdfa16be30fdc780f97bccc3f078380201e"
		  "9c677d600b343757a3bdbf2a3163e4c2f869cca7458aa4a4effc311f5cb151685eb9",
		  "00d0b3975ac4b799f5bea16d5e13e9af971d5e9b984c9f39728b5e5739735a21"
		  "9b97c356436adc6e95bb0352f6be64a6c2912d4ef2d0433ced2b6171640012d9460f"
		  "015c68226383956e3bd066e797b623c27ce0eac2f551a10c2c724d9852077b87"
		  "220b6536c5c408a1d2aebb8e86d678ae49cb57091f4732296579ab44fcd17f0fc56a",
		  "01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04"
		  "d1427e73ca4baa240a34786859810c06b3c715a3a8cc3151f2bee417996d19f3ddea" },
		/* RFC 7748 §6.1 */
		{ KE_CURVE25519, "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
		  "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
		  "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
		  "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
		  "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742" },
	};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct ke *a = with_private(rows[i].id, rows[i].i);
		struct ke *b = with_private(rows[i].id, rows[i].r);
		struct secret s;

		assert_bytes(ke_public(a).ptr, ke_public(a).len, rows[i].gi);
		assert_bytes(ke_public(b).ptr, ke_public(b).len, rows[i].gr);
		assert_true(ke_derive(a, ke_public(b), &s));
		assert_bytes(s.bytes, s.len, rows[i].gir);
		assert_true(ke_derive(b, ke_public(a), &s));
		assert_bytes(s.bytes, s.len, rows[i].gir);
		ke_free(a);
		ke_free(b);
	}
}

/* Both sides agree; the value has the size of the wire, with leading zeros when it is small. */
static void agree(void **state)
{
	const struct algorithm *method;

	(void)state;
	for (size_t i = 0; (method = algorithm_at(i)); i++) {
		struct source s = { .counter = (uint8_t)i }, t = { .counter = (uint8_t)(i + 100) };
		struct secret x, y;
		struct ke *a, *b;

		if (method->type != TRANSFORM_KE || method->id == KE_NONE)
			continue;
		a = ke_generate(method, give, &s);
		b = ke_generate(method, give, &t);
		assert_non_null(a);
		assert_non_null(b);
		assert_ptr_equal(ke_method(a), method);
		assert_int_equal(ke_public(a).len, method->public_bytes);
		assert_false(bytes_equal(ke_public(a), ke_public(b)));
		assert_true(ke_derive(a, ke_public(b), &x));
		assert_true(ke_derive(b, ke_public(a), &y));
		assert_int_equal(x.len, y.len);
		assert_memory_equal(x.bytes, y.bytes, x.len);
		assert_false(ke_derive(a, BYTES(ke_public(b).ptr, ke_public(b).len - 1), &x));
		assert_int_equal(x.len, 0);
		assert_false(ke_derive(a, BYTES(NULL, 0), &x));
		ke_free(a);
		ke_free(b);
	}
	assert_null(ke_generate(algorithm_find(TRANSFORM_KE, KE_NONE), give, NULL));
	assert_null(ke_generate(NULL, give, NULL));
}

/* MODP by plain square and multiply, with the primes built from RFC 3526's formula. */
static void modp_by_hand(void **state)
{
	static const struct {
		uint16_t id;
		unsigned bits;
		size_t exponent_bytes;
	} rows[] = { { KE_MODP2048, 2048, 32 }, { KE_MODP3072, 3072, 32 },
		     { KE_MODP4096, 4096, 40 }, { KE_MODP8192, 8192, 56 } };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		uint8_t private[56], want[1024];
		struct source s = { .fixed = BYTES(private, rows[i].exponent_bytes) };
		BN_CTX *ctx = BN_CTX_new();
		BIGNUM *p = NULL, *r = BN_new(), *x;
		struct ke *ke;

		for (size_t k = 0; k < sizeof(private); k++)
			private[k] = (uint8_t)(k * 37 + 200);
		ke = ke_generate(algorithm_find(TRANSFORM_KE, rows[i].id), give, &s);
		assert_non_null(ke);
		p = rows[i].bits == 2048   ? BN_get_rfc3526_prime_2048(NULL)
		    : rows[i].bits == 3072 ? BN_get_rfc3526_prime_3072(NULL)
		    : rows[i].bits == 4096 ? BN_get_rfc3526_prime_4096(NULL)
					   : BN_get_rfc3526_prime_8192(NULL);
		assert_int_equal(BN_num_bits(p), rows[i].bits);
		/* RFC 3526: the top and the bottom 64 bits are ones. */
		for (int k = 0; k < 64; k++)
			assert_true(BN_is_bit_set(p, k) && BN_is_bit_set(p, (int)rows[i].bits - 1 - k));
		x = BN_bin2bn(private, (int)rows[i].exponent_bytes, NULL);
		BN_one(r);
		for (int k = BN_num_bits(x) - 1; k >= 0; k--) {
			assert_int_equal(BN_mod_sqr(r, r, p, ctx), 1);
			if (BN_is_bit_set(x, k))
				assert_int_equal(BN_mod_lshift1(r, r, p, ctx), 1);
		}
		assert_int_equal(BN_bn2binpad(r, want, (int)rows[i].bits / 8), rows[i].bits / 8);
		assert_int_equal(ke_public(ke).len, rows[i].bits / 8);
		assert_memory_equal(ke_public(ke).ptr, want, rows[i].bits / 8);
		BN_free(p);
		BN_free(r);
		BN_free(x);
		BN_CTX_free(ctx);
		ke_free(ke);
	}
}

/* RFC 6989 §2.1: 0, 1, p-1 and what is above are refused. */
static void bad_modp(void **state)
{
	struct source s = { .counter = 1 };
	struct ke *ke = ke_generate(algorithm_find(TRANSFORM_KE, KE_MODP2048), give, &s);
	BIGNUM *p = BN_get_rfc3526_prime_2048(NULL);
	uint8_t peer[256] = { 0 };
	struct secret out;

	(void)state;
	assert_false(ke_derive(ke, BYTES(peer, 256), &out));
	peer[255] = 1;
	assert_false(ke_derive(ke, BYTES(peer, 256), &out));
	peer[255] = 2;
	assert_true(ke_derive(ke, BYTES(peer, 256), &out));
	assert_int_equal(out.len, 256);
	BN_bn2binpad(p, peer, 256);
	assert_false(ke_derive(ke, BYTES(peer, 256), &out));
	BN_sub_word(p, 1);
	BN_bn2binpad(p, peer, 256);
	assert_false(ke_derive(ke, BYTES(peer, 256), &out));
	BN_sub_word(p, 1);
	BN_bn2binpad(p, peer, 256);
	assert_true(ke_derive(ke, BYTES(peer, 256), &out));
	memset(peer, 0xff, 256);
	assert_false(ke_derive(ke, BYTES(peer, 256), &out));
	for (size_t i = 0; i < sizeof(out.bytes); i++)
		assert_int_equal(out.bytes[i], 0);
	BN_free(p);
	ke_free(ke);
}

/* RFC 6989 §2.3: points off the curve, coordinates of p or more, and (0, 0). */
static void bad_ecp(void **state)
{
	static const uint16_t ids[] = { KE_ECP256, KE_ECP384, KE_ECP521 };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		const struct algorithm *method = algorithm_find(TRANSFORM_KE, ids[i]);
		struct source s = { .counter = 1 }, t = { .counter = 2 };
		struct ke *a = ke_generate(method, give, &s), *b = ke_generate(method, give, &t);
		struct bytes good = ke_public(b);
		uint8_t peer[132];
		struct secret out;

		memcpy(peer, good.ptr, good.len);
		assert_true(ke_derive(a, BYTES(peer, good.len), &out));
		peer[good.len - 1] ^= 1;
		assert_false(ke_derive(a, BYTES(peer, good.len), &out));
		assert_int_equal(out.len, 0);
		memset(peer, 0, sizeof(peer));
		assert_false(ke_derive(a, BYTES(peer, good.len), &out));
		memset(peer, 0xff, sizeof(peer));
		assert_false(ke_derive(a, BYTES(peer, good.len), &out));
		ke_free(a);
		ke_free(b);
	}
}

/* Scalars that are zero or not below the order are thrown away, and a source that gives no other
 * ends in an error, not in a loop. */
static void give_zero(void *context, uint8_t *buf, size_t len)
{
	(void)context;
	memset(buf, 0, len);
}

static void give_ones(void *context, uint8_t *buf, size_t len)
{
	(void)context;
	memset(buf, 0xff, len);
}

static void bad_random(void **state)
{
	const struct algorithm *p256 = algorithm_find(TRANSFORM_KE, KE_ECP256);
	struct source s = { .fixed = hex("ffffffff00000000ffffffffffffffff"
					 "bce6faada7179e84f3b9cac2fc632551") };
	struct ke *ke = ke_generate(p256, give, &s);

	(void)state;
	assert_non_null(ke);
	assert_int_equal(s.calls, 2);
	ke_free(ke);
	assert_null(ke_generate(p256, give_zero, NULL));
	assert_null(ke_generate(p256, give_ones, NULL));
}

/* RFC 7748 §6: points of small order give zero, which RFC 8031 refuses. */
static void bad_x25519(void **state)
{
	static const char *const small[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	};
	struct source s = { .counter = 9 };
	struct ke *ke = ke_generate(algorithm_find(TRANSFORM_KE, KE_CURVE25519), give, &s);
	struct secret out;

	(void)state;
	for (size_t i = 0; i < sizeof(small) / sizeof(small[0]); i++) {
		assert_false(ke_derive(ke, hex(small[i]), &out));
		assert_int_equal(out.len, 0);
	}
	ke_free(ke);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published), cmocka_unit_test(agree),
		cmocka_unit_test(modp_by_hand), cmocka_unit_test(bad_modp), cmocka_unit_test(bad_ecp),
		cmocka_unit_test(bad_random), cmocka_unit_test(bad_x25519),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
