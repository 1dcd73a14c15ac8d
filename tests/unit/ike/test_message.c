/* The codec of IKEv2 messages: RFC 7296 §3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hex.h"
#include "ike/message.h"
#include "vectors.h"

static struct message m; /* large; one is enough */

static enum decode_status decode(const char *s)
{
	struct blob b = hex(s);
	enum decode_status status = message_decode_clear(BYTES(b.ptr, b.len), &m);

	free(b.ptr);
	return status;
}

static struct sk *sk_make(const struct cipher_suite *suite, const char *e, const char *a)
{
	struct blob eb = hex(e), ab = hex(a);
	struct sk *sk = sk_new(suite, BYTES(eb.ptr, eb.len), BYTES(ab.ptr, ab.len));

	assert_non_null(sk);
	free(eb.ptr);
	free(ab.ptr);
	return sk;
}

static struct cipher_suite suite_gcm(void)
{
	return (struct cipher_suite){ .encr = algorithm_find(TRANSFORM_ENCR, ENCR_AES_GCM_16),
				      .encr_bits = 256,
				      .prf = algorithm_find(TRANSFORM_PRF, PRF_HMAC_SHA2_384),
				      .ke = algorithm_find(TRANSFORM_KE, KE_ECP384) };
}

static struct cipher_suite suite_cbc(void)
{
	return (struct cipher_suite){ .encr = algorithm_find(TRANSFORM_ENCR, ENCR_AES_CBC),
				      .encr_bits = 128,
				      .integ = algorithm_find(TRANSFORM_INTEG, INTEG_HMAC_SHA2_256_128),
				      .prf = algorithm_find(TRANSFORM_PRF, PRF_HMAC_SHA2_256),
				      .ke = algorithm_find(TRANSFORM_KE, KE_MODP2048) };
}

static void check_transform(const struct proposal *p, size_t i, uint8_t type, uint16_t id, uint16_t bits)
{
	assert_true(i < p->count);
	assert_int_equal(p->transforms[i].type, type);
	assert_int_equal(p->transforms[i].id, id);
	assert_int_equal(p->transforms[i].key_bits, bits);
}

static void libreswan_request(void **state)
{
	struct blob b = hex(libreswan_init_request);
	static const uint8_t need[] = { PAYLOAD_SA, PAYLOAD_KE, PAYLOAD_NONCE };
	const struct proposal *p;
	struct ike_header h;
	uint8_t missing;
	char text[256];

	(void)state;
	assert_int_equal(message_decode_header(BYTES(b.ptr, b.len), &h), DECODE_OK);
	assert_int_equal(h.exchange, EXCHANGE_IKE_SA_INIT);
	assert_true(h.initiator);
	assert_false(h.response);
	assert_int_equal(h.length, b.len);
	assert_true(h.spi_i != 0);
	assert_true(h.spi_r == 0);

	assert_int_equal(message_decode_clear(BYTES(b.ptr, b.len), &m), DECODE_OK);
	assert_true(message_require(&m, need, 3, &missing));
	assert_int_equal(m.sa.count, 4);
	p = &m.sa.p[0];
	assert_int_equal(p->number, 1);
	assert_int_equal(p->protocol, PROTOCOL_IKE);
	assert_int_equal(p->spi_size, 0);
	assert_int_equal(p->count, 11);
	check_transform(p, 0, TRANSFORM_ENCR, ENCR_AES_GCM_16, 256);
	check_transform(p, 1, TRANSFORM_PRF, PRF_HMAC_SHA2_512, 0);
	check_transform(p, 3, TRANSFORM_KE, KE_MODP2048, 0);
	check_transform(p, 10, TRANSFORM_KE, KE_CURVE25519, 0);
	check_transform(&m.sa.p[2], 0, TRANSFORM_ENCR, ENCR_AES_CBC, 256);
	check_transform(&m.sa.p[2], 3, TRANSFORM_INTEG, INTEG_HMAC_SHA2_512_256, 0);
	assert_int_equal(m.ke_method, KE_MODP2048);
	assert_int_equal(m.ke.len, 256);
	assert_int_equal(m.nonce.len, 32);
	assert_non_null(message_notify(&m, N_NAT_DETECTION_SOURCE_IP));
	assert_int_equal(message_notify(&m, N_NAT_DETECTION_DESTINATION_IP)->data.len, 20);
	assert_null(message_notify(&m, N_COOKIE));
	assert_null(message_error(&m));
	assert_int_equal(m.unknown_critical, 0);
	assert_string_equal(message_describe(&m, text, sizeof(text)),
			    "SA,KE,Ni,N(FRAGMENTATION_SUPPORTED),"
			    "N(NAT_DETECTION_SOURCE_IP),N(NAT_DETECTION_DESTINATION_IP)");
	assert_string_equal(message_describe(&m, text, 10), "SA,KE,Ni,");
	free(b.ptr);
}

static void libreswan_response(void **state)
{
	(void)state;
	assert_int_equal(decode(libreswan_init_response), DECODE_OK);
	assert_true(m.header.response);
	assert_false(m.header.initiator);
	assert_true(m.header.spi_r != 0);
	assert_int_equal(m.sa.count, 1);
	assert_int_equal(m.sa.p[0].count, 3);
	check_transform(&m.sa.p[0], 0, TRANSFORM_ENCR, ENCR_AES_GCM_16, 256);
	check_transform(&m.sa.p[0], 1, TRANSFORM_PRF, PRF_HMAC_SHA2_512, 0);
	check_transform(&m.sa.p[0], 2, TRANSFORM_KE, KE_MODP2048, 0);
	assert_int_equal(m.ke_method, KE_MODP2048);
}

static void check_identity(const struct identity *id, const char *want)
{
	char text[IDENTITY_TEXT];

	assert_string_equal(identity_format(id, text, sizeof(text)), want);
}

static void check_ts(const struct ts_list *ts, const char *want)
{
	char text[256];

	assert_string_equal(ts_list_format(ts, text, sizeof(text)), want);
}

static void check_exchange(const struct exchange *x, const struct cipher_suite *suite, uint16_t ke)
{
	struct sk *from_i = sk_make(suite, x->sk_ei, x->sk_ai);
	struct sk *from_r = sk_make(suite, x->sk_er, x->sk_ar);
	struct blob b = hex(x->auth_request), auth = hex(x->auth_i);

	assert_int_equal(message_decode_protected(b.ptr, b.len, from_i, &m), DECODE_OK);
	assert_int_equal(m.header.exchange, EXCHANGE_IKE_AUTH);
	assert_int_equal(m.header.message_id, 1);
	check_identity(&m.idi, "192.168.20.10");
	check_identity(&m.idr, "192.168.20.20");
	assert_int_equal(m.idi_body.len, 8);
	assert_memory_equal(m.idi_body.ptr, "\1\0\0\0\xc0\xa8\x14\x0a", 8);
	assert_int_equal(m.auth_method, AUTH_METHOD_SHARED_KEY);
	assert_int_equal(m.auth.len, auth.len);
	assert_memory_equal(m.auth.ptr, auth.ptr, auth.len);
	assert_int_equal(m.sa.p[0].protocol, PROTOCOL_ESP);
	assert_int_equal(m.sa.p[0].spi_size, 4);
	check_ts(&m.tsi, "192.168.10.0/24");
	check_ts(&m.tsr, "192.168.30.0/24");
	assert_non_null(message_notify(&m, N_INITIAL_CONTACT));
	free(b.ptr);
	free(auth.ptr);

	b = hex(x->auth_response);
	auth = hex(x->auth_r);
	assert_int_equal(message_decode_protected(b.ptr, b.len, from_r, &m), DECODE_OK);
	check_identity(&m.idr, "192.168.20.20");
	assert_memory_equal(m.auth.ptr, auth.ptr, auth.len);
	assert_int_equal(m.sa.count, 1);
	free(b.ptr);
	free(auth.ptr);

	b = hex(x->child_request);
	assert_int_equal(message_decode_protected(b.ptr, b.len, from_i, &m), DECODE_OK);
	assert_int_equal(m.header.exchange, EXCHANGE_CREATE_CHILD_SA);
	assert_int_equal(message_notify(&m, N_REKEY_SA)->spi.len, 4);
	assert_int_equal(message_notify(&m, N_REKEY_SA)->protocol, PROTOCOL_ESP);
	assert_int_equal(m.ke_method, ke);
	free(b.ptr);

	b = hex(x->rekey_response);
	assert_int_equal(message_decode_protected(b.ptr, b.len, from_r, &m), DECODE_OK);
	assert_int_equal(m.sa.p[0].protocol, PROTOCOL_IKE);
	assert_int_equal(m.sa.p[0].spi_size, 8);
	free(b.ptr);

	/* With the other direction's keys nothing opens, and nothing is left behind. */
	b = hex(x->auth_request);
	assert_int_equal(message_decode_protected(b.ptr, b.len, from_r, &m), DECODE_INTEGRITY);
	assert_true(m.present == 0);
	free(b.ptr);
	sk_free(from_i);
	sk_free(from_r);
}

static void strongswan_gcm(void **state)
{
	const struct cipher_suite suite = suite_gcm();

	(void)state;
	assert_int_equal(decode(exchange_gcm.init_request), DECODE_OK);
	assert_int_equal(m.ke_method, KE_ECP384);
	assert_int_equal(m.ke.len, 96);
	check_exchange(&exchange_gcm, &suite, KE_ECP384);
}

static void strongswan_cbc(void **state)
{
	const struct cipher_suite suite = suite_cbc();

	(void)state;
	assert_int_equal(decode(exchange_cbc.init_response), DECODE_OK);
	check_transform(&m.sa.p[0], 0, TRANSFORM_ENCR, ENCR_AES_CBC, 128);
	check_exchange(&exchange_cbc, &suite, KE_MODP2048);
}

static const char *const clear_messages[] = { libreswan_init_request, libreswan_init_response };

/* A message that is cut off never decodes, whether its header knows it or not. */
static void truncated_clear(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct blob b = hex(clear_messages[i]);

		for (size_t len = 0; len < b.len; len++) {
			uint8_t *p = malloc(len ? len : 1);

			memcpy(p, b.ptr, len);
			assert_int_equal(message_decode_clear(BYTES(p, len), &m), DECODE_SHORT);
			if (len >= IKE_HEADER_BYTES) {
				p[26] = (uint8_t)(len >> 8);
				p[27] = (uint8_t)len;
				assert_int_not_equal(message_decode_clear(BYTES(p, len), &m), DECODE_OK);
				assert_true(m.present == 0);
			}
			free(p);
		}
		free(b.ptr);
	}
}

static void truncated_protected(void **state)
{
	const struct cipher_suite suites[2] = { suite_gcm(), suite_cbc() };
	const struct exchange *x[2] = { &exchange_gcm, &exchange_cbc };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct sk *sk = sk_make(&suites[i], x[i]->sk_ei, x[i]->sk_ai);
		struct blob b = hex(x[i]->auth_request);

		for (size_t len = IKE_HEADER_BYTES; len < b.len; len++) {
			uint8_t *p = malloc(len);
			size_t sk_len = len - IKE_HEADER_BYTES;

			memcpy(p, b.ptr, len);
			p[26] = (uint8_t)(len >> 8);
			p[27] = (uint8_t)len;
			assert_int_equal(message_decode_protected(p, len, sk, &m), DECODE_SHORT);
			if (sk_len >= 4) {
				memcpy(p, b.ptr, len);
				p[26] = (uint8_t)(len >> 8);
				p[27] = (uint8_t)len;
				p[30] = (uint8_t)(sk_len >> 8);
				p[31] = (uint8_t)sk_len;
				assert_int_not_equal(message_decode_protected(p, len, sk, &m), DECODE_OK);
			}
			free(p);
		}
		free(b.ptr);
		sk_free(sk);
	}
}

static void mutated(void **state)
{
	static const uint8_t flips[] = { 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff, 0x7f };
	const struct cipher_suite suite = suite_gcm();
	struct sk *sk = sk_make(&suite, exchange_gcm.sk_ei, exchange_gcm.sk_ai);
	struct blob sealed = hex(exchange_gcm.auth_request);
	uint8_t *p = malloc(sealed.len);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct blob b = hex(clear_messages[i]);

		for (size_t at = 0; at < b.len * sizeof(flips); at++) {
			b.ptr[at / sizeof(flips)] ^= flips[at % sizeof(flips)];
			if (message_decode_clear(BYTES(b.ptr, b.len), &m) != DECODE_OK)
				assert_true(m.present == 0);
			b.ptr[at / sizeof(flips)] ^= flips[at % sizeof(flips)];
		}
		free(b.ptr);
	}
	/* Every byte of a protected message counts. */
	for (size_t at = 0; at < sealed.len * sizeof(flips); at++) {
		memcpy(p, sealed.ptr, sealed.len);
		p[at / sizeof(flips)] ^= flips[at % sizeof(flips)];
		assert_int_not_equal(message_decode_protected(p, sealed.len, sk, &m), DECODE_OK);
	}
	free(p);
	free(sealed.ptr);
	sk_free(sk);
}

/* --- what we build, we read --- */

static const struct ike_header some_header = { .spi_i = 0x0102030405060708,
					       .spi_r = 0x1112131415161718,
					       .exchange = EXCHANGE_CREATE_CHILD_SA,
					       .initiator = true,
					       .message_id = 0xfffffffe };

static struct proposal_list some_proposals(void)
{
	struct proposal_list l = { .count = 2 };

	l.p[0] = (struct proposal){ .number = 1, .protocol = PROTOCOL_ESP, .spi_size = 4,
				    .spi = { 0xde, 0xad, 0xbe, 0xef }, .count = 3,
				    .transforms = { { TRANSFORM_ENCR, ENCR_AES_GCM_16, 256 },
						    { TRANSFORM_ENCR, ENCR_CHACHA20_POLY1305, 0 },
						    { TRANSFORM_SN, SN_ESN, 0 } } };
	l.p[1] = (struct proposal){ .number = 2, .protocol = PROTOCOL_ESP, .spi_size = 4,
				    .spi = { 1, 2, 3, 4 }, .count = 4,
				    .transforms = { { TRANSFORM_ENCR, ENCR_AES_CBC, 128 },
						    { TRANSFORM_INTEG, INTEG_HMAC_SHA2_256_128, 0 },
						    { TRANSFORM_KE, KE_ECP256, 0 },
						    { TRANSFORM_SN, SN_32, 0 } } };
	return l;
}

static struct ts_list some_selectors(void)
{
	struct ts_list l = { .count = 3 };
	struct ip_prefix p;

	assert_true(ip_prefix_parse("192.0.2.0/24", &p, NULL));
	l.ts[0] = ts_from_prefix(&p);
	assert_true(ip_prefix_parse("2001:db8::/32", &p, NULL));
	l.ts[1] = ts_from_prefix(&p);
	l.ts[1].protocol = 6;
	l.ts[1].port_lo = l.ts[1].port_hi = 80;
	l.ts[2] = l.ts[0];
	l.ts[2].protocol = 132;
	l.ts[2].port_lo = 65535; /* OPAQUE */
	l.ts[2].port_hi = 0;
	return l;
}

static void add_everything(struct message_builder *b)
{
	const struct proposal_list proposals = some_proposals();
	const struct ts_list ts = some_selectors();
	const uint32_t spis[] = { 0x01020304, 0xfffefdfc };
	struct identity id;
	char err[128];

	builder_sa(b, &proposals);
	builder_nonce(b, BYTES("0123456789abcdef", 16));
	builder_ke(b, KE_ECP256, BYTES("public", 6));
	assert_true(identity_parse("@gw.example.org", &id, err, sizeof(err)));
	builder_id(b, PAYLOAD_IDI, &id);
	assert_true(identity_parse("192.0.2.1", &id, err, sizeof(err)));
	builder_id(b, PAYLOAD_IDR, &id);
	builder_auth(b, AUTH_METHOD_SHARED_KEY, BYTES("authentic", 9));
	builder_ts(b, PAYLOAD_TSI, &ts);
	builder_ts(b, PAYLOAD_TSR, &ts);
	builder_notify(b, N_REKEY_SA, PROTOCOL_ESP, BYTES("\x11\x22\x33\x44", 4), BYTES(NULL, 0));
	builder_notify(b, N_COOKIE, 0, BYTES(NULL, 0), BYTES("cookie", 6));
	builder_delete_ike(b);
	builder_delete_esp(b, spis, 2);
}

static void check_everything(void)
{
	const struct proposal_list proposals = some_proposals();
	const struct ts_list ts = some_selectors();

	assert_true(m.header.spi_i == some_header.spi_i);
	assert_true(m.header.spi_r == some_header.spi_r);
	assert_int_equal(m.header.message_id, 0xfffffffe);
	assert_int_equal(m.sa.count, 2);
	for (size_t i = 0; i < 2; i++) {
		const struct proposal *got = &m.sa.p[i], *want = &proposals.p[i];

		assert_int_equal(got->number, want->number);
		assert_int_equal(got->count, want->count);
		assert_memory_equal(got->spi, want->spi, 4);
		for (size_t t = 0; t < want->count; t++)
			check_transform(got, t, want->transforms[t].type, want->transforms[t].id,
					want->transforms[t].key_bits);
	}
	assert_int_equal(m.nonce.len, 16);
	assert_memory_equal(m.nonce.ptr, "0123456789abcdef", 16);
	assert_int_equal(m.ke_method, KE_ECP256);
	assert_memory_equal(m.ke.ptr, "public", 6);
	check_identity(&m.idi, "@gw.example.org");
	assert_int_equal(m.idi_body.len, 4 + 14);
	check_identity(&m.idr, "192.0.2.1");
	assert_int_equal(m.auth.len, 9);
	assert_true(ts_list_equal(&m.tsi, &ts));
	assert_true(ts_list_equal(&m.tsr, &ts));
	assert_int_equal(m.notify_count, 2);
	assert_memory_equal(m.notifies[0].spi.ptr, "\x11\x22\x33\x44", 4);
	assert_memory_equal(message_notify(&m, N_COOKIE)->data.ptr, "cookie", 6);
	assert_int_equal(m.delete_count, 2);
	assert_int_equal(m.deletes[0].protocol, PROTOCOL_IKE);
	assert_int_equal(m.deletes[0].count, 0);
	assert_int_equal(m.deletes[1].protocol, PROTOCOL_ESP);
	assert_int_equal(m.deletes[1].count, 2);
	assert_true(m.deletes[1].spis[1] == 0xfffefdfc);
}

static struct bytes build_clear(uint8_t *buf, size_t cap)
{
	struct message_builder b;

	builder_begin(&b, buf, cap, &some_header);
	add_everything(&b);
	return builder_end(&b);
}

static void round_trip_clear(void **state)
{
	uint8_t buf[1024];
	struct bytes d = build_clear(buf, sizeof(buf));

	(void)state;
	assert_true(d.len > 0);
	assert_int_equal(message_decode_clear(d, &m), DECODE_OK);
	check_everything();
}

/* All payload types, every byte changed: nothing is read past its end. */
static void mutated_everything(void **state)
{
	uint8_t buf[1024];
	struct bytes d = build_clear(buf, sizeof(buf));
	uint8_t *p = malloc(d.len);

	(void)state;
	memcpy(p, d.ptr, d.len);
	for (size_t at = 0; at < d.len; at++) {
		for (unsigned v = 0; v < 256; v++) {
			p[at] = (uint8_t)v;
			if (message_decode_clear(BYTES(p, d.len), &m) != DECODE_OK)
				assert_true(m.present == 0);
		}
		p[at] = d.ptr[at];
	}
	free(p);
}

static void round_trip_protected(void **state)
{
	const struct cipher_suite suites[2] = { suite_gcm(), suite_cbc() };
	const struct exchange *x[2] = { &exchange_gcm, &exchange_cbc };
	static const uint8_t iv[16] = { 9, 8, 7, 6, 5, 4, 3, 2, 1 };
	uint8_t buf[1200];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct sk *sk = sk_make(&suites[i], x[i]->sk_ei, x[i]->sk_ai);
		struct message_builder b;
		struct bytes d;

		builder_begin(&b, buf, sizeof(buf), &some_header);
		builder_protect(&b, sk, iv);
		add_everything(&b);
		d = builder_end_protected(&b, sk);
		assert_true(d.len > 0);
		assert_int_equal(buf[16], PAYLOAD_SK);
		assert_int_equal(message_decode_protected(buf, d.len, sk, &m), DECODE_OK);
		assert_true(message_has(&m, PAYLOAD_SK));
		check_everything();

		/* §1.4: an empty INFORMATIONAL has an empty Encrypted payload. */
		builder_begin(&b, buf, sizeof(buf), &some_header);
		builder_protect(&b, sk, iv);
		d = builder_end_protected(&b, sk);
		assert_int_equal(message_decode_protected(buf, d.len, sk, &m), DECODE_OK);
		assert_true(m.present == UINT64_C(1) << (PAYLOAD_SK - 32));
		sk_free(sk);
	}
}

/* A buffer of any smaller size gives an empty result, and nothing is written behind it. */
static void builder_overflow(void **state)
{
	const struct cipher_suite suite = suite_gcm();
	struct sk *sk = sk_make(&suite, exchange_gcm.sk_ei, exchange_gcm.sk_ai);
	static const uint8_t iv[16];
	uint8_t buf[1200];
	size_t clear = build_clear(buf, sizeof(buf)).len;

	(void)state;
	for (size_t cap = 0; cap < clear + 30; cap++) {
		uint8_t *p = malloc(cap ? cap : 1);
		struct message_builder b;
		struct bytes d = build_clear(p, cap);

		assert_int_equal(d.len, cap < clear ? 0 : clear);
		builder_begin(&b, p, cap, &some_header);
		builder_protect(&b, sk, iv);
		add_everything(&b);
		d = builder_end_protected(&b, sk);
		/* generic header, IV of 8, pad length, ICV of 16 */
		assert_int_equal(d.len, cap < clear + 29 ? 0 : clear + 29);
		free(p);
	}
	sk_free(sk);
}

static void builder_misuse(void **state)
{
	static struct proposal_list none;
	static const struct ts_list no_ts;
	struct message_builder b;
	uint8_t buf[256];

	(void)state;
	builder_begin(&b, buf, sizeof(buf), &some_header);
	builder_sa(&b, &none);
	assert_int_equal(builder_end(&b).len, 0);
	builder_begin(&b, buf, sizeof(buf), &some_header);
	builder_ts(&b, PAYLOAD_TSI, &no_ts);
	assert_int_equal(builder_end(&b).len, 0);
	builder_begin(&b, buf, sizeof(buf), &some_header);
	builder_nonce(&b, BYTES("short", 5));
	assert_int_equal(builder_end(&b).len, 0);
	builder_begin(&b, buf, sizeof(buf), &some_header);
	builder_delete_esp(&b, NULL, 0);
	assert_int_equal(builder_end(&b).len, 0);
}

/* The Encrypted payload is all there is (§3.14); nothing in the clear stands beside it. */
static void not_protected(void **state)
{
	const struct cipher_suite suite = suite_gcm();
	struct sk *sk = sk_make(&suite, exchange_gcm.sk_ei, exchange_gcm.sk_ai);
	static const uint8_t iv[16];
	struct message_builder b;
	uint8_t buf[256];
	struct bytes d;

	(void)state;
	builder_begin(&b, buf, sizeof(buf), &some_header);
	builder_nonce(&b, BYTES("0123456789abcdef", 16));
	d = builder_end(&b);
	assert_int_equal(message_decode_protected(buf, d.len, sk, &m), DECODE_NOT_PROTECTED);
	builder_begin(&b, buf, sizeof(buf), &some_header);
	d = builder_end(&b);
	assert_int_equal(message_decode_protected(buf, d.len, sk, &m), DECODE_NOT_PROTECTED);
	builder_begin(&b, buf, sizeof(buf), &some_header);
	builder_nonce(&b, BYTES("0123456789abcdef", 16));
	builder_protect(&b, sk, iv);
	assert_int_equal(builder_end_protected(&b, sk).len, 0);

	/* A payload behind it, in the clear. */
	builder_begin(&b, buf, sizeof(buf), &some_header);
	builder_protect(&b, sk, iv);
	d = builder_end_protected(&b, sk);
	memcpy(buf + d.len, "\0\0\0\4", 4);
	buf[27] += 4;
	assert_int_equal(message_decode_protected(buf, d.len + 4, sk, &m), DECODE_SHORT);

	/* An Encrypted payload in an Encrypted payload. */
	builder_begin(&b, buf, sizeof(buf), &some_header);
	builder_protect(&b, sk, iv);
	writer_patch_u8(&b.w, b.next_at, PAYLOAD_SK);
	writer_u32(&b.w, 4);
	d = builder_end_protected(&b, sk);
	assert_true(d.len > 0);
	assert_int_equal(message_decode_protected(buf, d.len, sk, &m), DECODE_NOT_PROTECTED);
	assert_true(m.present == UINT64_C(1) << (PAYLOAD_SK - 32)); /* it was authentic */
	assert_true(m.header.spi_i == some_header.spi_i);
	sk_free(sk);
}

static void names(void **state)
{
	char buf[24];

	(void)state;
	assert_string_equal(notify_name(N_TS_UNACCEPTABLE, buf), "TS_UNACCEPTABLE");
	assert_string_equal(notify_name(65000, buf), "unknown(65000)");
	assert_string_equal(exchange_name(EXCHANGE_CREATE_CHILD_SA), "CREATE_CHILD_SA");
	assert_string_equal(exchange_name(1), "unknown exchange");
	assert_string_equal(payload_name(PAYLOAD_TSR), "TSr");
	for (int s = DECODE_OK; s <= DECODE_NOT_PROTECTED; s++)
		assert_string_not_equal(decode_status_text(s), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(libreswan_request),
		cmocka_unit_test(libreswan_response),
		cmocka_unit_test(strongswan_gcm),
		cmocka_unit_test(strongswan_cbc),
		cmocka_unit_test(truncated_clear),
		cmocka_unit_test(truncated_protected),
		cmocka_unit_test(mutated),
		cmocka_unit_test(round_trip_clear),
		cmocka_unit_test(mutated_everything),
		cmocka_unit_test(round_trip_protected),
		cmocka_unit_test(builder_overflow),
		cmocka_unit_test(builder_misuse),
		cmocka_unit_test(not_protected),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests_name("ike.message", tests, NULL, NULL);
}
