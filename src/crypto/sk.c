/* Protection of the Encrypted payload; see sk.h. */
#include <limits.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

/* After OpenSSL's headers, whose names for stacks it takes back. */
#include "crypto/sk.h"

#include "crypto/fetch.h"

enum { ICV_MAX = 64 };
/* The numbers are OpenSSL's. */
enum direction { DIRECTION_NONE = -1, DIRECTION_OPEN = 0, DIRECTION_SEAL = 1 };

struct sk {
	const struct algorithm *encr;
	const struct algorithm *integ; /* NULL with an AEAD */
	uint16_t encr_bits;
	enum direction direction; /* that `cipher` is keyed for */
	EVP_CIPHER_CTX *cipher;
	EVP_MAC_CTX *mac; /* keyed; NULL with an AEAD */
	struct key key;   /* with the salt at its end */
};

size_t sk_encr_key_bytes(const struct cipher_suite *suite)
{
	return suite->encr_bits / 8u + suite->encr->salt_bytes;
}

size_t sk_integ_key_bytes(const struct cipher_suite *suite)
{
	return suite->integ ? suite->integ->key_bytes : 0;
}

/* The suite can protect IKE, and the keys have its sizes. */
static bool suite_fits(const struct cipher_suite *suite, struct bytes encr_key,
		       struct bytes integ_key)
{
	const struct algorithm *encr = suite->encr;

	return encr && (encr->use & ALG_IKE) && algorithm_key_bits_ok(encr, suite->encr_bits) &&
	       encr->aead == (suite->integ == NULL) && encr_key.len == sk_encr_key_bytes(suite) &&
	       integ_key.len == sk_integ_key_bytes(suite);
}

struct sk *sk_new(const struct cipher_suite *suite, struct bytes encr_key, struct bytes integ_key)
{
	struct sk *sk;

	if (!suite_fits(suite, encr_key, integ_key))
		return NULL;
	sk = secret_alloc(sizeof(*sk));
	if (!sk)
		return NULL;
	sk->encr = suite->encr;
	sk->encr_bits = suite->encr_bits;
	sk->integ = suite->integ;
	sk->direction = DIRECTION_NONE;
	sk->cipher = EVP_CIPHER_CTX_new();
	if (suite->integ)
		sk->mac = fetch_hmac(suite->integ->openssl[0]);
	if (sk->cipher && key_set(&sk->key, encr_key.ptr, encr_key.len) &&
	    (!suite->integ ||
	     (sk->mac && EVP_MAC_init(sk->mac, integ_key.ptr, integ_key.len, NULL) == 1)))
		return sk;
	ERR_clear_error();
	sk_free(sk);
	return NULL;
}

void sk_free(struct sk *sk)
{
	if (!sk)
		return;
	EVP_CIPHER_CTX_free(sk->cipher);
	EVP_MAC_CTX_free(sk->mac);
	secret_free(sk);
}

size_t sk_iv_bytes(const struct sk *sk)
{
	return sk->encr->iv_bytes;
}

size_t sk_icv_bytes(const struct sk *sk)
{
	return sk->integ ? sk->integ->icv_bytes : sk->encr->icv_bytes;
}

/* RFC 5282 §3: an AEAD needs no padding, only the Pad Length octet. */
static size_t pad_to(const struct sk *sk)
{
	return sk->encr->aead ? 1 : sk->encr->block_bytes;
}

size_t sk_cipher_len(const struct sk *sk, size_t plain)
{
	size_t block = pad_to(sk);

	return (plain + 1 + block - 1) / block * block;
}

/* Key the cipher on first use in a direction, which for one context is the only one. */
static bool turn(struct sk *sk, enum direction direction)
{
	const EVP_CIPHER *cipher;

	if (sk->direction == direction)
		return true;
	cipher = fetch_cipher(algorithm_cipher(sk->encr, sk->encr_bits));
	sk->direction = DIRECTION_NONE;
	if (!cipher || EVP_CipherInit_ex2(sk->cipher, cipher, sk->key.bytes, NULL, (int)direction,
					  NULL) != 1)
		return false;
	if (EVP_CIPHER_CTX_set_padding(sk->cipher, 0) != 1)
		return false;
	sk->direction = direction;
	return true;
}

/* Set the nonce: salt and IV for an AEAD (RFC 5282 §4), the IV itself for CBC. */
static bool set_iv(struct sk *sk, const uint8_t *iv)
{
	uint8_t nonce[EVP_MAX_IV_LENGTH];
	size_t salt = sk->encr->salt_bytes;

	memcpy(nonce, sk->key.bytes + sk->key.len - salt, salt);
	memcpy(nonce + salt, iv, sk->encr->iv_bytes);
	return EVP_CipherInit_ex2(sk->cipher, NULL, NULL, nonce, -1, NULL) == 1;
}

static bool add_aad(struct sk *sk, struct bytes aad)
{
	int n;

	return aad.len == 0 || EVP_CipherUpdate(sk->cipher, NULL, &n, aad.ptr, (int)aad.len) == 1;
}

/* Encrypt or decrypt in place; final() has no text left to give. */
static bool run(struct sk *sk, uint8_t *text, size_t len)
{
	uint8_t rest[EVP_MAX_BLOCK_LENGTH];
	int n = 0, m = 0;

	return EVP_CipherUpdate(sk->cipher, text, &n, text, (int)len) == 1 &&
	       EVP_CipherFinal_ex(sk->cipher, rest, &m) == 1 && (size_t)n == len && m == 0;
}

/* RFC 7296 §3.14: the checksum covers the message up to itself, in its encrypted form. */
static bool mac(struct sk *sk, struct bytes aad, const uint8_t *iv, const uint8_t *text, size_t len,
		uint8_t out[ICV_MAX])
{
	size_t n = 0;

	return EVP_MAC_init(sk->mac, NULL, 0, NULL) == 1 &&
	       EVP_MAC_update(sk->mac, aad.ptr, aad.len) == 1 &&
	       EVP_MAC_update(sk->mac, iv, sk->encr->iv_bytes) == 1 &&
	       EVP_MAC_update(sk->mac, text, len) == 1 &&
	       EVP_MAC_final(sk->mac, out, &n, ICV_MAX) == 1 && n >= sk->integ->icv_bytes;
}

bool sk_seal(struct sk *sk, struct bytes aad, uint8_t *iv, uint8_t *text, size_t plain)
{
	size_t len = sk_cipher_len(sk, plain);
	size_t icv_bytes = sk_icv_bytes(sk);
	uint8_t icv[ICV_MAX];
	bool ok;

	if (plain > INT_MAX / 2 || aad.len > INT_MAX)
		return false;
	memset(text + plain, 0, len - plain);
	text[len - 1] = (uint8_t)(len - plain - 1);
	ok = turn(sk, DIRECTION_SEAL) && set_iv(sk, iv);
	if (sk->encr->aead)
		ok = ok && add_aad(sk, aad) && run(sk, text, len) &&
		     EVP_CIPHER_CTX_ctrl(sk->cipher, EVP_CTRL_AEAD_GET_TAG, (int)icv_bytes,
					 icv) == 1;
	else
		ok = ok && run(sk, text, len) && mac(sk, aad, iv, text, len, icv);
	if (ok) {
		memcpy(text + len, icv, icv_bytes);
	} else {
		/* Never the plaintext in place of the ciphertext. */
		secret_wipe(text, len);
		ERR_clear_error();
	}
	return ok;
}

/* Check and decrypt `len` bytes; the caller wipes them when this fails. */
static bool open_text(struct sk *sk, struct bytes aad, const uint8_t *iv, uint8_t *text, size_t len)
{
	size_t icv_bytes = sk_icv_bytes(sk);
	uint8_t icv[ICV_MAX];

	if (sk->encr->aead) {
		memcpy(icv, text + len, icv_bytes);
		return turn(sk, DIRECTION_OPEN) && set_iv(sk, iv) &&
		       EVP_CIPHER_CTX_ctrl(sk->cipher, EVP_CTRL_AEAD_SET_TAG, (int)icv_bytes,
					   icv) == 1 &&
		       add_aad(sk, aad) && run(sk, text, len);
	}
	return mac(sk, aad, iv, text, len, icv) && CRYPTO_memcmp(icv, text + len, icv_bytes) == 0 &&
	       turn(sk, DIRECTION_OPEN) && set_iv(sk, iv) && run(sk, text, len);
}

bool sk_open(struct sk *sk, struct bytes aad, const uint8_t *iv, uint8_t *text, size_t len,
	     size_t *plain)
{
	size_t pad;

	*plain = 0;
	if (len == 0 || len % pad_to(sk) != 0 || len > INT_MAX || aad.len > INT_MAX)
		return false;
	if (!open_text(sk, aad, iv, text, len)) {
		secret_wipe(text, len);
		ERR_clear_error();
		return false;
	}
	/* The sender may pad more than it needs, but not with more than there is. */
	pad = text[len - 1];
	if (pad + 1 > len) {
		secret_wipe(text, len);
		return false;
	}
	*plain = len - pad - 1;
	return true;
}
