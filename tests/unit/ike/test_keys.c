/* Key derivation and AUTH against recorded exchanges: RFC 7296 §2.13 to §2.18. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hex.h"
#include "ike/keys.h"
#include "ike/message.h"
#include "vectors.h"

static const char psk[] = "net1234567890";

static const struct algorithm *alg(enum transform_type type, uint16_t id)
{
	const struct algorithm *a = algorithm_find(type, id);

	assert_non_null(a);
	return a;
}

static void check_key(const struct key *got, const char *want)
{
	struct blob b = hex(want);

	assert_int_equal(got->len, b.len);
	assert_memory_equal(got->bytes, b.ptr, b.len);
	free(b.ptr);
}

/* What the parties know of a recorded exchange. */
struct known {
	struct message m[2]; /* request, response */
	struct blob raw[2];
};

static void read_clear(struct known *k, const char *request, const char *response)
{
	k->raw[0] = hex(request);
	k->raw[1] = hex(response);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(message_decode_clear(BYTES(k->raw[i].ptr, k->raw[i].len), &k->m[i]),
				 DECODE_OK);
}

static void read_sealed(struct known *k, const char *request, const char *response,
			const struct cipher_suite *suite, const struct ike_keys *keys)
{
	struct sk *sk[2] = { sk_new(suite, key_bytes(&keys->ei), key_bytes(&keys->ai)),
			     sk_new(suite, key_bytes(&keys->er), key_bytes(&keys->ar)) };

	k->raw[0] = hex(request);
	k->raw[1] = hex(response);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(message_decode_protected(k->raw[i].ptr, k->raw[i].len, sk[i], &k->m[i]),
				 DECODE_OK);
		sk_free(sk[i]);
	}
}

static void forget(struct known *k)
{
	free(k->raw[0].ptr);
	free(k->raw[1].ptr);
}

static void check_child(const struct cipher_suite *ike, const struct cipher_suite *esp,
			const struct key *d, const char *shared, struct bytes ni, struct bytes nr,
			const char *const want[4])
{
	struct blob g = hex(shared);

	/* Both ends come to the same keys, one as initiator of the exchange and one as responder. */
	for (int initiator = 0; initiator < 2; initiator++) {
		struct child_sa sa = { .suite = *esp };
		const struct esp_half *i = initiator ? &sa.out : &sa.in;
		const struct esp_half *r = initiator ? &sa.in : &sa.out;

		assert_true(child_keys_derive(ike->prf, d, BYTES(g.ptr, g.len), ni, nr, initiator, &sa));
		check_key(&i->encr_key, want[0]);
		check_key(&r->encr_key, want[1]);
		check_key(&i->integ_key, want[2]);
		check_key(&r->integ_key, want[3]);
	}
	free(g.ptr);
}

static void check_auth(const struct exchange *x, const struct cipher_suite *suite,
		       const struct ike_keys *keys, const struct known *init, struct known *auth)
{
	uint8_t out[64];
	struct blob want = hex(x->auth_i);
	const struct bytes secret = BYTES(psk, strlen(psk));

	assert_true(auth_psk_compute(suite->prf, secret, BYTES(init->raw[0].ptr, init->raw[0].len),
				     init->m[1].nonce, &keys->pi, auth->m[0].idi_body, out));
	assert_int_equal(want.len, suite->prf->key_bytes);
	assert_memory_equal(out, want.ptr, want.len);
	free(want.ptr);
	want = hex(x->auth_r);
	assert_true(auth_psk_compute(suite->prf, secret, BYTES(init->raw[1].ptr, init->raw[1].len),
				     init->m[0].nonce, &keys->pr, auth->m[1].idr_body, out));
	assert_memory_equal(out, want.ptr, want.len);
	/* Another secret, another AUTH. */
	assert_true(auth_psk_compute(suite->prf, BYTES("net1234567891", 13),
				     BYTES(init->raw[1].ptr, init->raw[1].len), init->m[0].nonce,
				     &keys->pr, auth->m[1].idr_body, out));
	assert_memory_not_equal(out, want.ptr, want.len);
	free(want.ptr);
}

static uint64_t spi_of(const struct proposal *p)
{
	struct reader r = reader_new(p->spi, p->spi_size);

	return reader_u64(&r);
}

static void check_exchange(const struct exchange *x, const struct cipher_suite *suite,
			   const struct cipher_suite *esp)
{
	struct known *init = calloc(1, sizeof(*init)), *next = calloc(1, sizeof(*next));
	struct blob shared = hex(x->shared);
	struct ike_keys keys, fresh;

	read_clear(init, x->init_request, x->init_response);
	assert_true(ike_keys_derive(suite, init->m[0].nonce, init->m[1].nonce,
				    BYTES(shared.ptr, shared.len), init->m[1].header.spi_i,
				    init->m[1].header.spi_r, &keys));
	check_key(&keys.d, x->sk_d);
	check_key(&keys.ai, x->sk_ai);
	check_key(&keys.ar, x->sk_ar);
	check_key(&keys.ei, x->sk_ei);
	check_key(&keys.er, x->sk_er);
	check_key(&keys.pi, x->sk_pi);
	check_key(&keys.pr, x->sk_pr);
	free(shared.ptr);

	read_sealed(next, x->auth_request, x->auth_response, suite, &keys);
	check_auth(x, suite, &keys, init, next);
	check_child(suite, esp, &keys.d, "", init->m[0].nonce, init->m[1].nonce,
		    (const char *const[]){ x->child_encr_i, x->child_encr_r, x->child_integ_i,
					   x->child_integ_r });
	forget(next);

	read_sealed(next, x->child_request, x->child_response, suite, &keys);
	check_child(suite, esp, &keys.d, x->child2_shared, next->m[0].nonce, next->m[1].nonce,
		    (const char *const[]){ x->child2_encr_i, x->child2_encr_r, x->child2_integ_i,
					   x->child2_integ_r });
	forget(next);

	read_sealed(next, x->rekey_request, x->rekey_response, suite, &keys);
	shared = hex(x->rekey_shared);
	assert_true(ike_keys_rekey(suite->prf, &keys.d, suite, next->m[0].nonce, next->m[1].nonce,
				   BYTES(shared.ptr, shared.len), spi_of(&next->m[0].sa.p[0]),
				   spi_of(&next->m[1].sa.p[0]), &fresh));
	check_key(&fresh.d, x->rekey_sk_d);
	check_key(&fresh.ai, x->rekey_sk_ai);
	check_key(&fresh.ar, x->rekey_sk_ar);
	check_key(&fresh.ei, x->rekey_sk_ei);
	check_key(&fresh.er, x->rekey_sk_er);
	check_key(&fresh.pi, x->rekey_sk_pi);
	check_key(&fresh.pr, x->rekey_sk_pr);
	free(shared.ptr);
	forget(next);
	forget(init);
	free(next);
	free(init);
}

static void gcm(void **state)
{
	const struct cipher_suite ike = { .encr = alg(TRANSFORM_ENCR, ENCR_AES_GCM_16), .encr_bits = 256,
					  .prf = alg(TRANSFORM_PRF, PRF_HMAC_SHA2_384),
					  .ke = alg(TRANSFORM_KE, KE_ECP384) };
	const struct cipher_suite esp = { .encr = ike.encr, .encr_bits = 256 };

	(void)state;
	check_exchange(&exchange_gcm, &ike, &esp);
}

static void cbc(void **state)
{
	const struct cipher_suite ike = { .encr = alg(TRANSFORM_ENCR, ENCR_AES_CBC), .encr_bits = 128,
					  .integ = alg(TRANSFORM_INTEG, INTEG_HMAC_SHA2_256_128),
					  .prf = alg(TRANSFORM_PRF, PRF_HMAC_SHA2_256),
					  .ke = alg(TRANSFORM_KE, KE_MODP2048) };
	const struct cipher_suite esp = { .encr = ike.encr, .encr_bits = 256,
					  .integ = alg(TRANSFORM_INTEG, INTEG_HMAC_SHA2_512_256) };

	(void)state;
	check_exchange(&exchange_cbc, &ike, &esp);
}

/* §2.18: SKEYSEED of the new SA is of the old SA's PRF, the keys are of the new one's. */
static void rekey_to_another_prf(void **state)
{
	const struct cipher_suite to = { .encr = alg(TRANSFORM_ENCR, ENCR_AES_GCM_16), .encr_bits = 128,
					 .prf = alg(TRANSFORM_PRF, PRF_HMAC_SHA2_512),
					 .ke = alg(TRANSFORM_KE, KE_CURVE25519) };
	const struct bytes ni = BYTES("ni ni ni ni ni ni", 17), nr = BYTES("nr nr nr nr nr nr nr", 20);
	const struct bytes shared = BYTES("shared", 6);
	struct ike_keys a, b;
	struct key d;

	(void)state;
	assert_true(key_set(&d, "an old SK_d of 32 bytes.........", 32));
	assert_true(ike_keys_rekey(alg(TRANSFORM_PRF, PRF_HMAC_SHA2_256), &d, &to, ni, nr, shared, 1, 2, &a));
	assert_true(ike_keys_rekey(alg(TRANSFORM_PRF, PRF_HMAC_SHA2_512), &d, &to, ni, nr, shared, 1, 2, &b));
	assert_int_equal(a.d.len, 64);
	assert_int_equal(a.ei.len, 20);
	assert_int_equal(a.ai.len, 0);
	assert_memory_not_equal(a.d.bytes, b.d.bytes, 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gcm),
		cmocka_unit_test(cbc),
		cmocka_unit_test(rekey_to_another_prf),
	};

	return cmocka_run_group_tests_name("ike.keys", tests, NULL, NULL);
}
