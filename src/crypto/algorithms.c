/* The one table of algorithms; see algorithms.h. */
#include "crypto/algorithms.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* In order of preference within a type: this is also the order of listings. */
static const struct algorithm table[] = {
	{ .type = TRANSFORM_ENCR, .id = ENCR_AES_GCM_16, .name = "AES_GCM_16",
	  .aliases = "aes_gcm_16 aes_gcm aes_gcm_c", .use = ALG_IKE | ALG_ESP, .aead = true,
	  .key_bits = { 256, 192, 128 }, .salt_bytes = 4, .iv_bytes = 8, .block_bytes = 4,
	  .icv_bytes = 16, .openssl = { "AES-256-GCM", "AES-192-GCM", "AES-128-GCM" },
	  .xfrm = "rfc4106(gcm(aes))", .wireshark = "AES-GCM with 16 octet ICV [RFC4106]",
	  .wireshark_ike = { "AES-GCM-256 with 16 octet ICV [RFC5282]",
			     "AES-GCM-192 with 16 octet ICV [RFC5282]",
			     "AES-GCM-128 with 16 octet ICV [RFC5282]" },
	  .strength = 256 },
	{ .type = TRANSFORM_ENCR, .id = ENCR_CHACHA20_POLY1305, .name = "CHACHA20_POLY1305",
	  .aliases = "chacha20_poly1305 chacha20poly1305 chacha20",
	  .use = ALG_IKE | ALG_ESP, .aead = true, .key_bits = { 256 }, .salt_bytes = 4,
	  .iv_bytes = 8, .block_bytes = 4, .icv_bytes = 16, .openssl = { "ChaCha20-Poly1305" },
	  .xfrm = "rfc7539esp(chacha20,poly1305)",
	  .wireshark = "ChaCha20 with Poly1305 [RFC7634]", .strength = 256 },
	{ .type = TRANSFORM_ENCR, .id = ENCR_AES_CBC, .name = "AES_CBC", .aliases = "aes_cbc aes",
	  .use = ALG_IKE | ALG_ESP, .key_bits = { 256, 192, 128 }, .iv_bytes = 16,
	  .block_bytes = 16, .openssl = { "AES-256-CBC", "AES-192-CBC", "AES-128-CBC" },
	  .xfrm = "cbc(aes)", .wireshark = "AES-CBC [RFC3602]",
	  .wireshark_ike = { "AES-CBC-256 [RFC3602]", "AES-CBC-192 [RFC3602]",
			     "AES-CBC-128 [RFC3602]" },
	  .strength = 256 },
	{ .type = TRANSFORM_ENCR, .id = ENCR_NULL, .name = "NULL", .aliases = "null",
	  .use = ALG_ESP, .block_bytes = 4, .xfrm = "ecb(cipher_null)", .wireshark = "NULL",
	  .wireshark_ike = { "NULL [RFC2410]" } },

	{ .type = TRANSFORM_PRF, .id = PRF_HMAC_SHA2_512, .name = "HMAC_SHA2_512",
	  .aliases = "hmac_sha2_512 sha2_512 sha512", .use = ALG_IKE, .key_bytes = 64,
	  .openssl = { "SHA512" }, .strength = 256 },
	{ .type = TRANSFORM_PRF, .id = PRF_HMAC_SHA2_384, .name = "HMAC_SHA2_384",
	  .aliases = "hmac_sha2_384 sha2_384 sha384", .use = ALG_IKE, .key_bytes = 48,
	  .openssl = { "SHA384" }, .strength = 192 },
	{ .type = TRANSFORM_PRF, .id = PRF_HMAC_SHA2_256, .name = "HMAC_SHA2_256",
	  .aliases = "hmac_sha2_256 sha2_256 sha256 sha2 hmac_sha2", .use = ALG_IKE,
	  .key_bytes = 32, .openssl = { "SHA256" }, .strength = 128 },

	{ .type = TRANSFORM_INTEG, .id = INTEG_HMAC_SHA2_512_256, .name = "HMAC_SHA2_512_256",
	  .aliases = "hmac_sha2_512_256 hmac_sha2_512 sha2_512_256 sha2_512 sha512",
	  .use = ALG_IKE | ALG_ESP, .icv_bytes = 32, .key_bytes = 64, .openssl = { "SHA512" },
	  .xfrm = "hmac(sha512)", .wireshark = "HMAC-SHA-512-256 [RFC4868]",
	  .wireshark_ike = { "HMAC_SHA2_512_256 [RFC4868]" }, .strength = 256 },
	{ .type = TRANSFORM_INTEG, .id = INTEG_HMAC_SHA2_384_192, .name = "HMAC_SHA2_384_192",
	  .aliases = "hmac_sha2_384_192 hmac_sha2_384 sha2_384_192 sha2_384 sha384",
	  .use = ALG_IKE | ALG_ESP, .icv_bytes = 24, .key_bytes = 48, .openssl = { "SHA384" },
	  .xfrm = "hmac(sha384)", .wireshark = "HMAC-SHA-384-192 [RFC4868]",
	  .wireshark_ike = { "HMAC_SHA2_384_192 [RFC4868]" }, .strength = 192 },
	{ .type = TRANSFORM_INTEG, .id = INTEG_HMAC_SHA2_256_128, .name = "HMAC_SHA2_256_128",
	  .aliases = "hmac_sha2_256_128 hmac_sha2_256 sha2_256_128 sha2_256 sha256 sha2 hmac_sha2",
	  .use = ALG_IKE | ALG_ESP, .icv_bytes = 16, .key_bytes = 32, .openssl = { "SHA256" },
	  .xfrm = "hmac(sha256)", .wireshark = "HMAC-SHA-256-128 [RFC4868]",
	  .wireshark_ike = { "HMAC_SHA2_256_128 [RFC4868]" }, .strength = 128 },
	{ .type = TRANSFORM_INTEG, .id = INTEG_NONE, .name = "NONE", .aliases = "none null",
	  .use = ALG_IKE | ALG_ESP, .wireshark = "NULL", .wireshark_ike = { "NONE [RFC4306]" } },

	{ .type = TRANSFORM_KE, .id = KE_ECP256, .name = "DH19",
	  .aliases = "dh19 ecp256 ecp_256 secp256r1 p256", .use = ALG_IKE | ALG_ESP,
	  .public_bytes = 64, .openssl = { "P-256" }, .strength = 128 },
	{ .type = TRANSFORM_KE, .id = KE_ECP384, .name = "DH20",
	  .aliases = "dh20 ecp384 ecp_384 secp384r1 p384", .use = ALG_IKE | ALG_ESP,
	  .public_bytes = 96, .openssl = { "P-384" }, .strength = 192 },
	{ .type = TRANSFORM_KE, .id = KE_ECP521, .name = "DH21",
	  .aliases = "dh21 ecp521 ecp_521 secp521r1 p521", .use = ALG_IKE | ALG_ESP,
	  .public_bytes = 132, .openssl = { "P-521" }, .strength = 256 },
	{ .type = TRANSFORM_KE, .id = KE_CURVE25519, .name = "DH31",
	  .aliases = "dh31 curve25519 x25519 ecp25519 ecp_25519", .use = ALG_IKE | ALG_ESP,
	  .public_bytes = 32, .openssl = { "X25519" }, .strength = 128 },
	{ .type = TRANSFORM_KE, .id = KE_MODP4096, .name = "MODP4096", .aliases = "modp4096 dh16",
	  .use = ALG_IKE | ALG_ESP, .public_bytes = 512, .openssl = { "modp_4096" },
	  .strength = 152 },
	{ .type = TRANSFORM_KE, .id = KE_MODP3072, .name = "MODP3072", .aliases = "modp3072 dh15",
	  .use = ALG_IKE | ALG_ESP, .public_bytes = 384, .openssl = { "modp_3072" },
	  .strength = 128 },
	{ .type = TRANSFORM_KE, .id = KE_MODP2048, .name = "MODP2048", .aliases = "modp2048 dh14",
	  .use = ALG_IKE | ALG_ESP, .public_bytes = 256, .openssl = { "modp_2048" },
	  .strength = 112 },
	{ .type = TRANSFORM_KE, .id = KE_MODP8192, .name = "MODP8192", .aliases = "modp8192 dh18",
	  .use = ALG_IKE | ALG_ESP, .public_bytes = 1024, .openssl = { "modp_8192" },
	  .strength = 200 },
	{ .type = TRANSFORM_KE, .id = KE_NONE, .name = "NONE", .aliases = "none null dh0",
	  .use = ALG_ESP },
};

#define WEAK_BLOCK "its blocks of 64 bits are too small (RFC 8247); use aes_gcm or aes"
#define WEAK_HASH "RFC 8247 advises against it; use sha2_256 or sha2_512"
#define WEAK_GROUP "it is too small (RFC 8247); use dh19, dh31 or modp2048 and larger"
#define ODD_GROUP "use dh19, dh20, dh21, dh31 or modp2048 and larger"
#define ODD_CIPHER "use aes_gcm, chacha20_poly1305 or aes"
#define SHORT_ICV "its integrity check value is short; use aes_gcm (16 octets)"

/* Names of IANA's registry that we have nothing for; texts for refusals. */
static const struct algorithm_known known[] = {
	{ TRANSFORM_ENCR, 2, "DES", "des des_cbc", WEAK_BLOCK },
	{ TRANSFORM_ENCR, 3, "3DES", "3des 3des_cbc des3", WEAK_BLOCK },
	{ TRANSFORM_ENCR, 4, "RC5", "rc5", WEAK_BLOCK },
	{ TRANSFORM_ENCR, 5, "IDEA", "idea", WEAK_BLOCK },
	{ TRANSFORM_ENCR, 6, "CAST", "cast cast_cbc cast128", WEAK_BLOCK },
	{ TRANSFORM_ENCR, 7, "BLOWFISH", "blowfish", WEAK_BLOCK },
	{ TRANSFORM_ENCR, 13, "AES_CTR", "aes_ctr aesctr", ODD_CIPHER },
	{ TRANSFORM_ENCR, 14, "AES_CCM_8", "aes_ccm_8 aes_ccm_a", ODD_CIPHER },
	{ TRANSFORM_ENCR, 15, "AES_CCM_12", "aes_ccm_12 aes_ccm_b", ODD_CIPHER },
	{ TRANSFORM_ENCR, 16, "AES_CCM_16", "aes_ccm_16 aes_ccm_c aes_ccm", ODD_CIPHER },
	{ TRANSFORM_ENCR, 18, "AES_GCM_8", "aes_gcm_8 aes_gcm_a", SHORT_ICV },
	{ TRANSFORM_ENCR, 19, "AES_GCM_12", "aes_gcm_12 aes_gcm_b", SHORT_ICV },
	{ TRANSFORM_ENCR, 21, "NULL_AUTH_AES_GMAC", "null_auth_aes_gmac aes_gmac", ODD_CIPHER },
	{ TRANSFORM_ENCR, 23, "CAMELLIA_CBC", "camellia camellia_cbc", ODD_CIPHER },
	{ TRANSFORM_ENCR, 24, "CAMELLIA_CTR", "camellia_ctr", ODD_CIPHER },
	{ TRANSFORM_ENCR, 25, "CAMELLIA_CCM_8", NULL, NULL },
	{ TRANSFORM_ENCR, 26, "CAMELLIA_CCM_12", NULL, NULL },
	{ TRANSFORM_ENCR, 27, "CAMELLIA_CCM_16", NULL, NULL },
	{ TRANSFORM_ENCR, 29, "AES_CCM_8_IIV", NULL, NULL },
	{ TRANSFORM_ENCR, 30, "AES_GCM_16_IIV", NULL, NULL },
	{ TRANSFORM_ENCR, 31, "CHACHA20_POLY1305_IIV", NULL, NULL },
	{ TRANSFORM_ENCR, 32, "KUZNYECHIK_MGM_KTREE", NULL, NULL },
	{ TRANSFORM_ENCR, 33, "MAGMA_MGM_KTREE", NULL, NULL },
	{ TRANSFORM_ENCR, 65289, "SERPENT_CBC", "serpent", ODD_CIPHER },
	{ TRANSFORM_ENCR, 65290, "TWOFISH_CBC", "twofish", ODD_CIPHER },

	{ TRANSFORM_PRF, 1, "HMAC_MD5", "md5 hmac_md5", WEAK_HASH },
	{ TRANSFORM_PRF, 2, "HMAC_SHA1", "sha1 sha hmac_sha1", WEAK_HASH },
	{ TRANSFORM_PRF, 3, "HMAC_TIGER", NULL, NULL },
	{ TRANSFORM_PRF, 4, "AES128_XCBC", "aes_xcbc aes128_xcbc", "use sha2_256 or sha2_512" },
	{ TRANSFORM_PRF, 8, "AES128_CMAC", "aes_cmac aes128_cmac", "use sha2_256 or sha2_512" },
	{ TRANSFORM_PRF, 9, "HMAC_STREEBOG_512", NULL, NULL },

	{ TRANSFORM_INTEG, 1, "HMAC_MD5_96", "md5 hmac_md5 hmac_md5_96", WEAK_HASH },
	{ TRANSFORM_INTEG, 2, "HMAC_SHA1_96", "sha1 sha hmac_sha1 hmac_sha1_96 sha1_96",
	  WEAK_HASH },
	{ TRANSFORM_INTEG, 3, "DES_MAC", NULL, NULL },
	{ TRANSFORM_INTEG, 4, "KPDK_MD5", NULL, NULL },
	{ TRANSFORM_INTEG, 5, "AES_XCBC_96", "aes_xcbc aes_xcbc_96 aes128_xcbc", ODD_CIPHER },
	{ TRANSFORM_INTEG, 6, "HMAC_MD5_128", NULL, NULL },
	{ TRANSFORM_INTEG, 7, "HMAC_SHA1_160", NULL, NULL },
	{ TRANSFORM_INTEG, 8, "AES_CMAC_96", "aes_cmac aes_cmac_96", ODD_CIPHER },
	{ TRANSFORM_INTEG, 9, "AES_128_GMAC", NULL, NULL },
	{ TRANSFORM_INTEG, 10, "AES_192_GMAC", NULL, NULL },
	{ TRANSFORM_INTEG, 11, "AES_256_GMAC", NULL, NULL },

	{ TRANSFORM_KE, 1, "MODP768", "modp768 dh1", WEAK_GROUP },
	{ TRANSFORM_KE, 2, "MODP1024", "modp1024 dh2", WEAK_GROUP },
	{ TRANSFORM_KE, 5, "MODP1536", "modp1536 dh5", WEAK_GROUP },
	{ TRANSFORM_KE, 17, "MODP6144", "modp6144 dh17", ODD_GROUP },
	{ TRANSFORM_KE, 22, "DH22", "dh22 modp1024s160", WEAK_GROUP },
	{ TRANSFORM_KE, 23, "DH23", "dh23 modp2048s224", ODD_GROUP },
	{ TRANSFORM_KE, 24, "DH24", "dh24 modp2048s256", ODD_GROUP },
	{ TRANSFORM_KE, 25, "ECP192", "dh25 ecp192 ecp_192", WEAK_GROUP },
	{ TRANSFORM_KE, 26, "ECP224", "dh26 ecp224 ecp_224", ODD_GROUP },
	{ TRANSFORM_KE, 27, "BRAINPOOL_P224R1", "dh27", ODD_GROUP },
	{ TRANSFORM_KE, 28, "BRAINPOOL_P256R1", "dh28 ecp256bp", ODD_GROUP },
	{ TRANSFORM_KE, 29, "BRAINPOOL_P384R1", "dh29 ecp384bp", ODD_GROUP },
	{ TRANSFORM_KE, 30, "BRAINPOOL_P512R1", "dh30 ecp512bp", ODD_GROUP },
	{ TRANSFORM_KE, 32, "CURVE448", "dh32 curve448 x448", ODD_GROUP },
	{ TRANSFORM_KE, 33, "GOST3410_2012_256", "dh33", ODD_GROUP },
	{ TRANSFORM_KE, 34, "GOST3410_2012_512", "dh34", ODD_GROUP },
	{ TRANSFORM_KE, 35, "ML_KEM_512", "ml_kem_512 mlkem512", ODD_GROUP },
	{ TRANSFORM_KE, 36, "ML_KEM_768", "ml_kem_768 mlkem768", ODD_GROUP },
	{ TRANSFORM_KE, 37, "ML_KEM_1024", "ml_kem_1024 mlkem1024", ODD_GROUP },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const struct algorithm *algorithm_at(size_t i)
{
	return i < COUNT(table) ? &table[i] : NULL;
}

const struct algorithm *algorithm_find(enum transform_type type, uint16_t id)
{
	for (size_t i = 0; i < COUNT(table); i++) {
		if (table[i].type == type && table[i].id == id)
			return &table[i];
	}
	return NULL;
}

/* `name` is one of the words of `aliases`. */
static bool among(const char *aliases, const char *name)
{
	size_t len = strlen(name);

	while (aliases && *aliases != '\0') {
		size_t word = strcspn(aliases, " ");

		if (word == len && strncasecmp(aliases, name, len) == 0)
			return true;
		aliases += word + (aliases[word] == ' ');
	}
	return false;
}

const struct algorithm *algorithm_find_name(enum transform_type type, const char *name)
{
	for (size_t i = 0; i < COUNT(table); i++) {
		if (table[i].type == type && among(table[i].aliases, name))
			return &table[i];
	}
	return NULL;
}

const struct algorithm_known *algorithm_known_find(enum transform_type type, const char *name)
{
	for (size_t i = 0; i < COUNT(known); i++) {
		if (known[i].type == type && among(known[i].aliases, name))
			return &known[i];
	}
	return NULL;
}

/* The name from the tables; NULL for a number that is in none. */
static const char *name_of(enum transform_type type, uint16_t id)
{
	const struct algorithm *a = algorithm_find(type, id);

	if (a)
		return a->name;
	for (size_t i = 0; i < COUNT(known); i++) {
		if (known[i].type == type && known[i].id == id)
			return known[i].name;
	}
	if (type == TRANSFORM_SN && id <= SN_ESN)
		return id == SN_ESN ? "ESN" : "NO_ESN";
	return NULL;
}

const char *transform_name(enum transform_type type, uint16_t id, char *buf)
{
	const char *name = name_of(type, id);

	/* Always into `buf`, so that whoever keeps the buffer and not the result has the name too. */
	if (name)
		snprintf(buf, TRANSFORM_NAME_TEXT, "%s", name);
	else
		snprintf(buf, TRANSFORM_NAME_TEXT, "unknown(%u)", id);
	return buf;
}

/* Index of a key size in the row; -1 when it has no such size. */
static int bits_index(const struct algorithm *a, uint16_t bits)
{
	for (size_t i = 0; i < COUNT(a->key_bits) && a->key_bits[i] != 0; i++) {
		if (a->key_bits[i] == bits)
			return (int)i;
	}
	return a->key_bits[0] == 0 && bits == 0 ? 0 : -1;
}

bool algorithm_key_bits_ok(const struct algorithm *a, uint16_t bits)
{
	return bits_index(a, bits) >= 0;
}

const char *algorithm_cipher(const struct algorithm *a, uint16_t bits)
{
	int i = bits_index(a, bits);

	return i >= 0 ? a->openssl[i] : NULL;
}

const char *algorithm_wireshark_ike(const struct algorithm *a, uint16_t bits)
{
	int i = bits_index(a, bits);

	return i >= 0 ? a->wireshark_ike[i] : NULL;
}

const struct algorithm *algorithm_integ_of_prf(const struct algorithm *prf)
{
	switch (prf->id) {
	case PRF_HMAC_SHA2_256: return algorithm_find(TRANSFORM_INTEG, INTEG_HMAC_SHA2_256_128);
	case PRF_HMAC_SHA2_384: return algorithm_find(TRANSFORM_INTEG, INTEG_HMAC_SHA2_384_192);
	case PRF_HMAC_SHA2_512: return algorithm_find(TRANSFORM_INTEG, INTEG_HMAC_SHA2_512_256);
	default: return NULL;
	}
}
