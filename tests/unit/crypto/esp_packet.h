/* What the tests of ESP's packet protection share: providers, suites, packets. */
#ifndef TEST_ESP_PACKET_H
#define TEST_ESP_PACKET_H

#include <stdlib.h>
#include <string.h>

#include "build-config.h"
#include "crypto/esp_aead.h"
#include "crypto/esp_provider.h"

/* The first is what the others are compared with. */
static const struct esp_provider *const providers[] = {
	&esp_provider_openssl,
#ifdef HAVE_IPSEC_MB
	&esp_provider_mb,
	&esp_provider_burst,
#endif
#ifdef __x86_64__
	&esp_provider_vaes,
#endif
};
enum { PROVIDERS = sizeof(providers) / sizeof(providers[0]) };

static const struct {
	uint16_t encr, bits, integ;
} all_suites[] = {
	{ ENCR_AES_GCM_16, 256, 0 },
	{ ENCR_AES_GCM_16, 192, 0 },
	{ ENCR_AES_GCM_16, 128, 0 },
	{ ENCR_CHACHA20_POLY1305, 256, 0 },
	{ ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_512_256 },
	{ ENCR_AES_CBC, 192, INTEG_HMAC_SHA2_384_192 },
	{ ENCR_AES_CBC, 128, INTEG_HMAC_SHA2_256_128 },
	{ ENCR_NULL, 0, INTEG_HMAC_SHA2_256_128 },
};
enum { SUITES = sizeof(all_suites) / sizeof(all_suites[0]) };

static inline bool runs(const struct esp_provider *p, const struct cipher_suite *suite)
{
	return p->name() && p->has(suite);
}

static inline struct cipher_suite suite_of(uint16_t encr, uint16_t bits, uint16_t integ)
{
	return (struct cipher_suite){
		.encr = algorithm_find(TRANSFORM_ENCR, encr),
		.encr_bits = bits,
		.integ = integ ? algorithm_find(TRANSFORM_INTEG, integ) : NULL,
	};
}

/* A packet in one piece of memory, as it is on the wire, and the job that points into it. */
enum { TEXT_BYTES_MAX = 9008 };
struct packet {
	struct esp_packet_job job;
	uint8_t wire[8 + 16 + TEXT_BYTES_MAX + 32];
};

static inline void packet_init(struct packet *p, const struct cipher_suite *s, bool esn,
			       size_t len)
{
	size_t iv = s->encr->iv_bytes;

	p->job = (struct esp_packet_job){
		.aad_len = esn ? 12 : 8,
		.esp = p->wire,
		.iv = p->wire + 8,
		.text = p->wire + 8 + iv,
		.len = len,
		.icv = p->wire + 8 + iv + len,
	};
	memcpy(p->job.aad, p->wire, 4);
	if (esn)
		memcpy(p->job.aad + 4, "\x00\x00\x00\x07", 4);
	memcpy(p->job.aad + (esn ? 8 : 4), p->wire + 4, 4);
}

/* Bytes of a fixed sequence. */
static inline void random_fill(void *to, size_t len)
{
	static unsigned seed = 11;
	uint8_t *p = to;

	while (len-- > 0)
		*p++ = (uint8_t)(rand_r(&seed) >> 7);
}

#endif
