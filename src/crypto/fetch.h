/*
 * OpenSSL's algorithms, looked up once in the life of the process: a look-up costs more than
 * protecting a packet. Internal to this folder.
 */
#ifndef CRYPTO_FETCH_H
#define CRYPTO_FETCH_H

#include <openssl/evp.h>

/** A cipher by OpenSSL's name, NULL when it has none. Owned by this module, never freed. */
const EVP_CIPHER *fetch_cipher(const char *name);

/** A digest by OpenSSL's name, NULL when it has none. Owned by this module, never freed. */
const EVP_MD *fetch_digest(const char *name);

/** A new HMAC over a digest, not keyed yet; NULL on error. The caller frees it. */
EVP_MAC_CTX *fetch_hmac(const char *digest);

#endif
