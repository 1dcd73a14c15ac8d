/* States as messages, byte by byte as `ip xfrm state` writes them, and read back. */
#include "messages.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <netinet/in.h>

#include "kernel/xfrm_state.h"
#include "recorded.h"

static const uint8_t gcm_key[36] = {
	0xb9, 0x05, 0x41, 0xe8, 0xed, 0x04, 0x1a, 0xd4, 0xb4, 0xbe, 0x43, 0x5c,
	0xdb, 0xb9, 0xb7, 0x56, 0x29, 0x5c, 0x39, 0x8d, 0xdb, 0x37, 0x2a, 0xf7,
	0xb9, 0xa5, 0x6b, 0x97, 0x94, 0x8e, 0x35, 0x94, 0xc2, 0x6d, 0xb5, 0xea,
};

static struct child_sa article(void)
{
	struct child_sa sa = {
		.id = 2, .reqid = 16389, .mode = MODE_TUNNEL, .replay_window = 128,
		.encap_dscp = true,
		.suite = { .encr = algorithm_find(TRANSFORM_ENCR, ENCR_AES_GCM_16),
			   .encr_bits = 256, .esn = true },
		.path = { .local = { address("192.168.20.10"), 500 },
			  .remote = { address("192.168.20.20"), 500 } },
		.in.spi = 0xb3a11c8b, .out.spi = 0xa2a94ea2,
	};

	key_set(&sa.in.encr_key, gcm_key, sizeof(gcm_key));
	key_set(&sa.out.encr_key, gcm_key, sizeof(gcm_key));
	return sa;
}

static void article_as_recorded(void **state)
{
	struct child_sa sa = article();
	union message m;

	(void)state;
	assert_true(xfrm_state_encode(&m.header, sizeof(m), XFRM_MSG_NEWSA, &sa, SA_OUT, NULL));
	assert_message(&m, recorded_state_gcm_esn);
}

static void cbc_in_udp_as_recorded(void **state)
{
	struct child_sa sa = article();
	uint8_t auth[32], encr[16];
	union message m;

	(void)state;
	for (size_t i = 0; i < sizeof(auth); i++)
		auth[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(encr); i++)
		encr[i] = (uint8_t)(0xa0 + i);
	sa.suite = (struct cipher_suite){ .encr = algorithm_find(TRANSFORM_ENCR, ENCR_AES_CBC),
					  .encr_bits = 128,
					  .integ = algorithm_find(TRANSFORM_INTEG,
								  INTEG_HMAC_SHA2_256_128) };
	key_set(&sa.out.encr_key, encr, sizeof(encr));
	key_set(&sa.out.integ_key, auth, sizeof(auth));
	sa.path = (struct esp_path){ .local = { address("2001:db8::1"), 4500 },
				     .remote = { address("2001:db8::2"), 4501 }, .udp_encap = true };
	sa.replay_window = 32;
	sa.reqid = 16384;
	sa.out.spi = 0x1001;
	assert_true(xfrm_state_encode(&m.header, sizeof(m), XFRM_MSG_NEWSA, &sa, SA_OUT, NULL));
	assert_message(&m, recorded_state_cbc_udp);
}

static void mark_flags_limits_as_recorded(void **state)
{
	struct child_sa sa = article();
	union message m;

	(void)state;
	sa.suite.esn = false;
	sa.replay_window = 0;
	sa.reqid = 16400;
	sa.in.spi = 0x2000;
	sa.mark_in = 5;
	sa.mark_in_mask = 0xff;
	sa.mark_out = 9;
	sa.mark_out_mask = 0xff;
	sa.decap_dscp = true;
	sa.no_pmtu_disc = true;
	sa.encap_dscp = false;
	sa.max_bytes = 1000000000;
	assert_true(xfrm_state_encode(&m.header, sizeof(m), XFRM_MSG_UPDSA, &sa, SA_IN, NULL));
	assert_message(&m, recorded_state_mark);
}

static void transport_as_recorded(void **state)
{
	struct child_sa sa = article();
	struct ip_prefix l = { address("192.168.20.10"), 32 }, r = { address("192.168.20.20"), 32 };
	struct traffic_selector lts = ts_from_prefix(&l), rts = ts_from_prefix(&r);
	union message m;

	(void)state;
	lts.protocol = rts.protocol = IPPROTO_TCP;
	rts.port_lo = rts.port_hi = 80;
	ts_list_add(&sa.local_ts, &lts);
	ts_list_add(&sa.remote_ts, &rts);
	sa.mode = MODE_TRANSPORT;
	sa.suite.esn = false;
	sa.replay_window = 32;
	sa.reqid = 16384;
	sa.out.spi = 0x3000;
	assert_true(xfrm_state_encode(&m.header, sizeof(m), XFRM_MSG_NEWSA, &sa, SA_OUT, NULL));
	assert_message(&m, recorded_state_transport);
}

static void names_as_recorded(void **state)
{
	struct child_sa sa = article();
	struct xfrm_state_id id = xfrm_state_id_of(&sa, SA_OUT);
	struct ip_address local = address("192.168.20.10"), remote = address("192.168.20.20");
	size_t n = sizeof(struct nlmsghdr) + sizeof(struct xfrm_usersa_id);
	union message m;

	(void)state;
	/* iproute2 adds the source address, which the kernel does not look at for ESP */
	assert_true(xfrm_state_encode_id(&m.header, sizeof(m), XFRM_MSG_DELSA, &id));
	assert_message_begins(&m, recorded_state_delete, n);
	assert_true(xfrm_state_encode_id(&m.header, sizeof(m), XFRM_MSG_GETSA, &id));
	assert_message_begins(&m, recorded_state_get, n);
	assert_true(xfrm_state_encode_alloc(&m.header, sizeof(m), &local, &remote, 16389,
					    MODE_TUNNEL, 0x1000, UINT32_MAX));
	assert_int_equal(m.header.nlmsg_type, XFRM_MSG_ALLOCSPI);
	assert_message(&m, recorded_state_alloc);
}

static void reads_what_it_writes(void **state)
{
	struct child_sa sa = article();
	struct xfrm_progress in = { .oseq = 7, .oseq_hi = 1, .seq = 9, .words = 4,
				    .bitmap = { 1, 2, 3, 4 }, .current = { 840, 10, 5, 6 } }, out;
	struct xfrm_state_view v;
	union message m;

	(void)state;
	assert_true(xfrm_state_encode(&m.header, sizeof(m), XFRM_MSG_NEWSA, &sa, SA_IN, &in));
	assert_true(xfrm_state_decode(&m.header, &v));
	assert_int_equal(v.id.spi, sa.in.spi);
	assert_true(ip_address_equal(&v.id.src, &sa.path.remote.address));
	assert_true(ip_address_equal(&v.id.dst, &sa.path.local.address));
	assert_string_equal(v.aead->alg_name, "rfc4106(gcm(aes))");
	assert_int_equal(v.aead->alg_icv_len, 128);
	assert_memory_equal(v.aead->alg_key, gcm_key, sizeof(gcm_key));
	assert_int_equal(v.esn->replay_window, 128);
	assert_int_equal(v.esn->bmp_len, 4);
	/* in a message of ours the numbers stand where the kernel has them; counters do not */
	v.info.curlft = in.current;
	xfrm_state_progress(&v, 0, &out);
	assert_memory_equal(&out, &in, sizeof(in));
}

static void a_move_never_uses_a_number_twice(void **state)
{
	struct xfrm_replay_state_esn esn = { .oseq = UINT32_MAX - 3, .oseq_hi = 2 };
	struct xfrm_state_view v = { .esn = &esn };
	struct xfrm_progress p;

	(void)state;
	v.info.flags = XFRM_STATE_ESN;
	xfrm_state_progress(&v, 65536, &p);
	assert_int_equal(p.oseq, 65532);
	assert_int_equal(p.oseq_hi, 3);
	/* 32-bit numbers end instead */
	v.info.flags = 0;
	xfrm_state_progress(&v, 65536, &p);
	assert_int_equal(p.oseq, UINT32_MAX);
	v.esn = NULL;
	v.replay.oseq = 10;
	xfrm_state_progress(&v, 65536, &p);
	assert_int_equal(p.oseq, 65546);
}

static void windows(void **state)
{
	static const struct { bool esn; uint32_t asked, legacy, bitmap; } cases[] = {
		{ false, 0, 0, 0 },     { false, 32, 32, 0 },       { false, 33, 0, 33 },
		{ false, 9999, 0, 4096 }, { true, 0, 0, 4096 },     { true, 32, 0, 32 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct child_sa sa = article();
		struct xfrm_state_view v;
		union message m;

		sa.suite.esn = cases[i].esn;
		sa.replay_window = cases[i].asked;
		assert_true(xfrm_state_encode(&m.header, sizeof(m), XFRM_MSG_NEWSA, &sa, SA_IN,
					      &(struct xfrm_progress){
						      .words = (cases[i].bitmap + 31) / 32 }));
		assert_true(xfrm_state_decode(&m.header, &v));
		assert_int_equal(v.info.replay_window, cases[i].legacy);
		assert_int_equal(v.esn != NULL ? v.esn->replay_window : 0, cases[i].bitmap);
		assert_int_equal((v.info.flags & XFRM_STATE_ESN) != 0, cases[i].esn);
	}
}

static void soft_limits(void **state)
{
	struct xfrm_lifetime_cfg l = xfrm_state_limits(0, 0, 0xff);

	(void)state;
	assert_true(l.soft_byte_limit == XFRM_INF && l.hard_packet_limit == XFRM_INF);
	for (uint32_t spi = 0; spi < 256; spi++) {
		l = xfrm_state_limits(1 << 20, 4096, spi);
		assert_true(l.hard_byte_limit == 1 << 20 && l.hard_packet_limit == 4096);
		assert_in_range(l.soft_byte_limit, (1 << 20) * 13 / 16, (1 << 20) * 7 / 8);
		assert_in_range(l.soft_packet_limit, 4096 * 13 / 16, 4096 * 7 / 8);
	}
	assert_true(xfrm_state_limits(1 << 20, 0, 1).soft_byte_limit !=
		    xfrm_state_limits(1 << 20, 0, 2).soft_byte_limit);
	assert_true(xfrm_state_limits(UINT64_MAX - 1, 0, 0xff).soft_byte_limit < UINT64_MAX / 8 * 7);
}

static void what_does_not_fit(void **state)
{
	struct child_sa sa = article();
	struct xfrm_state_view v;
	struct algorithm unnamed = *sa.suite.encr;
	union message m;

	(void)state;
	for (size_t room = 0; room < 380; room++)
		assert_false(xfrm_state_encode(&m.header, room, XFRM_MSG_NEWSA, &sa, SA_OUT, NULL));
	assert_true(xfrm_state_encode(&m.header, 380, XFRM_MSG_NEWSA, &sa, SA_OUT, NULL));
	unnamed.xfrm = NULL;
	sa.suite.encr = &unnamed;
	assert_false(xfrm_state_encode(&m.header, sizeof(m), XFRM_MSG_NEWSA, &sa, SA_OUT, NULL));
	sa.suite.encr = algorithm_find(TRANSFORM_ENCR, ENCR_AES_CBC);
	assert_false(xfrm_state_encode(&m.header, sizeof(m), XFRM_MSG_NEWSA, &sa, SA_OUT, NULL));
	/* attributes that are shorter than they say are not looked into */
	sa = article();
	assert_true(xfrm_state_encode(&m.header, sizeof(m), XFRM_MSG_NEWSA, &sa, SA_OUT, NULL));
	uint16_t fixed = sizeof(struct nlmsghdr) + sizeof(struct xfrm_usersa_info);

	((struct nlattr *)(void *)(m.bytes + fixed))->nla_len = 80;
	assert_true(xfrm_state_decode(&m.header, &v));
	assert_null(v.aead);
	m.header.nlmsg_len = fixed - 1;
	assert_false(xfrm_state_decode(&m.header, &v));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(article_as_recorded),
		cmocka_unit_test(cbc_in_udp_as_recorded),
		cmocka_unit_test(mark_flags_limits_as_recorded),
		cmocka_unit_test(transport_as_recorded),
		cmocka_unit_test(names_as_recorded),
		cmocka_unit_test(reads_what_it_writes),
		cmocka_unit_test(a_move_never_uses_a_number_twice),
		cmocka_unit_test(windows),
		cmocka_unit_test(soft_limits),
		cmocka_unit_test(what_does_not_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
