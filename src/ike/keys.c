/* Key derivation of IKEv2: RFC 7296 §2.13 to §2.18. */
#include "ike/keys.h"

#include <string.h>

#include "base/writer.h"
#include "crypto/esp_aead.h"
#include "crypto/prf.h"
#include "crypto/sk.h"

enum { NONCES_MAX = 2 * 256, SPIS_BYTES = 16 };

/* Takes the next `len` bytes of key material as a key. */
static bool key_take(struct reader *material, struct key *out, size_t len)
{
	struct bytes b = reader_bytes(material, len);

	return reader_ok(material) && key_set(out, b.ptr, b.len);
}

/* The seven keys from prf+(SKEYSEED, Ni | Nr | SPIi | SPIr), in their order. §2.14 */
static bool keys_expand(const struct cipher_suite *suite, struct bytes seed_key, struct bytes ni,
			struct bytes nr, uint64_t spi_i, uint64_t spi_r, struct ike_keys *out)
{
	size_t d = suite->prf->key_bytes;
	size_t a = sk_integ_key_bytes(suite);
	size_t e = sk_encr_key_bytes(suite);
	size_t total = 3 * d + 2 * a + 2 * e;
	uint8_t material[7 * KEY_MAX], seed[NONCES_MAX + SPIS_BYTES];
	struct writer w = writer_new(seed, sizeof(seed));
	struct reader r;
	bool ok;

	writer_put_bytes(&w, ni);
	writer_put_bytes(&w, nr);
	writer_u64(&w, spi_i);
	writer_u64(&w, spi_r);
	if (!writer_ok(&w) || total > sizeof(material))
		return false;
	r = reader_new(material, total);
	ok = prf_plus(suite->prf, seed_key, writer_bytes(&w), material, total) &&
	     key_take(&r, &out->d, d) && key_take(&r, &out->ai, a) && key_take(&r, &out->ar, a) &&
	     key_take(&r, &out->ei, e) && key_take(&r, &out->er, e) && key_take(&r, &out->pi, d) &&
	     key_take(&r, &out->pr, d);
	secret_wipe(material, sizeof(material));
	if (!ok)
		secret_wipe(out, sizeof(*out));
	return ok;
}

bool ike_keys_derive(const struct cipher_suite *suite, struct bytes ni, struct bytes nr,
		     struct bytes shared, uint64_t spi_i, uint64_t spi_r, struct ike_keys *out)
{
	uint8_t nonces[NONCES_MAX], skeyseed[PRF_OUTPUT_MAX];
	struct writer w = writer_new(nonces, sizeof(nonces));
	bool ok;

	memset(out, 0, sizeof(*out));
	writer_put_bytes(&w, ni);
	writer_put_bytes(&w, nr);
	ok = writer_ok(&w) && prf_compute(suite->prf, writer_bytes(&w), &shared, 1, skeyseed) &&
	     keys_expand(suite, BYTES(skeyseed, suite->prf->key_bytes), ni, nr, spi_i, spi_r, out);
	secret_wipe(skeyseed, sizeof(skeyseed));
	return ok;
}

bool ike_keys_rekey(const struct algorithm *old_prf, const struct key *old_d,
		    const struct cipher_suite *suite, struct bytes ni, struct bytes nr,
		    struct bytes shared, uint64_t spi_i, uint64_t spi_r, struct ike_keys *out)
{
	const struct bytes parts[] = { shared, ni, nr };
	uint8_t skeyseed[PRF_OUTPUT_MAX];
	bool ok;

	memset(out, 0, sizeof(*out));
	ok = prf_compute(old_prf, key_bytes(old_d), parts, 3, skeyseed) &&
	     keys_expand(suite, BYTES(skeyseed, old_prf->key_bytes), ni, nr, spi_i, spi_r, out);
	secret_wipe(skeyseed, sizeof(skeyseed));
	return ok;
}

bool child_keys_derive(const struct algorithm *prf, const struct key *sk_d, struct bytes shared,
		       struct bytes ni, struct bytes nr, bool initiator, struct child_sa *sa)
{
	/* §2.17: keys of the initiator's packets come first, encryption before integrity. */
	struct esp_half *first = initiator ? &sa->out : &sa->in;
	struct esp_half *second = initiator ? &sa->in : &sa->out;
	size_t e = esp_cipher_encr_key_bytes(&sa->suite);
	size_t a = esp_cipher_integ_key_bytes(&sa->suite);
	size_t total = 2 * (e + a);
	uint8_t seed[SECRET_MAX + NONCES_MAX], material[4 * KEY_MAX];
	struct writer w = writer_new(seed, sizeof(seed));
	struct reader r;
	bool ok;

	writer_put_bytes(&w, shared);
	writer_put_bytes(&w, ni);
	writer_put_bytes(&w, nr);
	if (total > sizeof(material))
		return false;
	r = reader_new(material, total);
	ok = writer_ok(&w) && prf_plus(prf, key_bytes(sk_d), writer_bytes(&w), material, total) &&
	     key_take(&r, &first->encr_key, e) && key_take(&r, &first->integ_key, a) &&
	     key_take(&r, &second->encr_key, e) && key_take(&r, &second->integ_key, a);
	secret_wipe(material, sizeof(material));
	secret_wipe(seed, sizeof(seed));
	return ok;
}

bool auth_psk_compute(const struct algorithm *prf, struct bytes secret, struct bytes message,
		      struct bytes nonce, const struct key *sk_p, struct bytes id_body, uint8_t *out)
{
	static const char pad[] = "Key Pad for IKEv2";
	const struct bytes pad_bytes = BYTES(pad, sizeof(pad) - 1);
	uint8_t padded[PRF_OUTPUT_MAX], maced_id[PRF_OUTPUT_MAX];
	struct bytes signed_octets[3] = { message, nonce, BYTES(maced_id, prf->key_bytes) };
	bool ok = prf_compute(prf, secret, &pad_bytes, 1, padded) &&
		  prf_compute(prf, key_bytes(sk_p), &id_body, 1, maced_id) &&
		  prf_compute(prf, BYTES(padded, prf->key_bytes), signed_octets, 3, out);

	secret_wipe(padded, sizeof(padded));
	secret_wipe(maced_id, sizeof(maced_id));
	return ok;
}
