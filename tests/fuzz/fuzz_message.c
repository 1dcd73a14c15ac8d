/*
 * Any bytes as an IKEv2 message: in the clear, and as the content of an
 * Encrypted payload that verifies. The first byte chooses.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ike/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { SEALED_OVERHEAD = 128 };

static volatile uint8_t sum;

/* Reads what a handler would read of it, so that a wrong pointer shows. */
static void use(const struct message *m)
{
	char text[512], number[24];

	message_describe(m, text, sizeof(text));
	for (size_t i = 0; i < m->notify_count; i++) {
		notify_name(m->notifies[i].type, number);
		for (size_t j = 0; j < m->notifies[i].data.len; j++)
			sum = sum ^ m->notifies[i].data.ptr[j];
		for (size_t j = 0; j < m->notifies[i].spi.len; j++)
			sum = sum ^ m->notifies[i].spi.ptr[j];
	}
	for (size_t j = 0; j < m->ke.len; j++)
		sum = sum ^ m->ke.ptr[j];
	for (size_t j = 0; j < m->nonce.len; j++)
		sum = sum ^ m->nonce.ptr[j];
	for (size_t j = 0; j < m->auth.len; j++)
		sum = sum ^ m->auth.ptr[j];
	for (size_t j = 0; j < m->idi_body.len; j++)
		sum = sum ^ m->idi_body.ptr[j];
	for (size_t j = 0; j < m->idr_body.len; j++)
		sum = sum ^ m->idr_body.ptr[j];
	proposal_list_format(&m->sa, text, sizeof(text));
	ts_list_format(&m->tsi, text, sizeof(text));
	ts_list_format(&m->tsr, text, sizeof(text));
}

static struct sk *sk_get(bool aead)
{
	static struct sk *sks[2];
	static const uint8_t key[64] = "a key for everybody who fuzzes this";
	struct cipher_suite suite = { 0 };

	if (sks[aead])
		return sks[aead];
	suite.encr = algorithm_find(TRANSFORM_ENCR, aead ? ENCR_AES_GCM_16 : ENCR_AES_CBC);
	suite.encr_bits = 128;
	suite.prf = algorithm_find(TRANSFORM_PRF, PRF_HMAC_SHA2_256);
	suite.integ = aead ? NULL : algorithm_find(TRANSFORM_INTEG, INTEG_HMAC_SHA2_256_128);
	sks[aead] = sk_new(&suite, BYTES(key, sk_encr_key_bytes(&suite)),
			   BYTES(key, sk_integ_key_bytes(&suite)));
	return sks[aead];
}

/* data: exchange, flags, first payload, then the plaintext */
static void sealed(struct sk *sk, const uint8_t *data, size_t len)
{
	struct ike_header h = { .spi_i = 1, .spi_r = 2, .message_id = 1 };
	static const uint8_t iv[16] = { 1 };
	struct message_builder b;
	struct message *m;
	struct bytes d;
	uint8_t *buf;

	if (len < 3)
		return;
	m = malloc(sizeof(*m));
	buf = malloc(len + SEALED_OVERHEAD);
	h.exchange = data[0];
	h.response = data[1] & 1;
	builder_begin(&b, buf, len + SEALED_OVERHEAD, &h);
	builder_protect(&b, sk, iv);
	writer_patch_u8(&b.w, b.next_at, data[2]);
	writer_put(&b.w, data + 3, len - 3);
	d = builder_end_protected(&b, sk);
	if (d.len > 0 && message_decode_protected(buf, d.len, sk, m) == DECODE_OK)
		use(m);
	free(buf);
	free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct message *m;
	uint8_t *copy;

	if (len < 1)
		return 0;
	if (data[0] & 1) {
		sealed(sk_get(data[0] & 2), data + 1, len - 1);
		return 0;
	}
	m = malloc(sizeof(*m));
	copy = malloc(len);
	memcpy(copy, data + 1, len - 1);
	/* The header's length has to be right to get further. */
	if (len - 1 >= IKE_HEADER_BYTES && data[0] & 4) {
		copy[24] = copy[25] = 0;
		copy[26] = (uint8_t)((len - 1) >> 8);
		copy[27] = (uint8_t)(len - 1);
	}
	if (message_decode_clear(BYTES(copy, len - 1), m) == DECODE_OK)
		use(m);
	if (message_decode_protected(copy, len - 1, sk_get(data[0] & 2), m) == DECODE_OK)
		use(m);
	free(copy);
	free(m);
	return 0;
}
