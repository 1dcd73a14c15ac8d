/*
 * Whole packets through both directions, without a network: TUN is one end of a socket pair.
 * RFC 4303 §3.3 and §3.4, RFC 7634 appendix A.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "esp/worker.h"

enum { SPI = 0x01000001, TEXT_MAX = 4096 };

struct rig {
	struct esp_worker w;
	struct sa_table table;
	struct child_sa sa;
	struct sa_in *in;
	struct sa_out *out;
	int tun; /* the host's end */
	uint8_t slot[SLOT_BYTES];
	uint8_t wire[RECV_HEADROOM + 2 * SLOT_BYTES]; /* what the last packet became */
};

static struct traffic_selector any_of(const char *prefix)
{
	struct ip_prefix p;

	assert_true(ip_prefix_parse(prefix, &p, NULL));
	return ts_from_prefix(&p);
}

static struct child_sa make_sa(enum encr_id encr, unsigned bits, bool esn, enum ipsec_mode mode)
{
	struct child_sa sa = { .id = 7, .reqid = 16384, .mode = mode, .replay_window = 64 };
	struct traffic_selector v4 = any_of("0.0.0.0/0"), v6 = any_of("::/0");

	sa.in.spi = sa.out.spi = SPI;
	sa.suite.encr = algorithm_find(TRANSFORM_ENCR, encr);
	sa.suite.encr_bits = (uint16_t)bits;
	sa.suite.esn = esn;
	if (!sa.suite.encr->aead)
		sa.suite.integ = algorithm_find(TRANSFORM_INTEG, INTEG_HMAC_SHA2_256_128);
	for (size_t i = 0; i < KEY_MAX; i++) {
		sa.in.encr_key.bytes[i] = (uint8_t)(3 * i);
		sa.in.integ_key.bytes[i] = (uint8_t)(5 * i);
	}
	sa.in.encr_key.len = (uint8_t)esp_cipher_encr_key_bytes(&sa.suite);
	sa.in.integ_key.len = (uint8_t)esp_cipher_integ_key_bytes(&sa.suite);
	sa.out.encr_key = sa.in.encr_key;
	sa.out.integ_key = sa.in.integ_key;
	ts_list_add(&sa.local_ts, &v4);
	ts_list_add(&sa.local_ts, &v6);
	sa.remote_ts = sa.local_ts;
	assert_true(ip_address_parse("192.0.2.1", &sa.path.local.address));
	assert_true(ip_address_parse("192.0.2.2", &sa.path.remote.address));
	return sa;
}

static struct rig *rig_new(const struct child_sa *sa)
{
	struct sa_path path = sa_path_make(&sa->path, 0);
	struct rig *r = calloc(1, sizeof(*r));
	const char *why = "";
	int pair[2];

	assert_non_null(r);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	r->tun = pair[1];
	r->sa = *sa;
	assert_true(sa_table_init(&r->table));
	assert_true(worker_init(&r->w, 0, pair[0], &r->table));
	r->in = sa_in_new(sa, &why);
	r->out = sa_out_new(sa, &why);
	if (!r->in || !r->out)
		fail_msg("%s", why);
	sa_out_set_path(r->out, &path);
	atomic_store(&r->out->inner_mtu, 1400);
	assert_true(sa_table_claim(&r->table, SPI));
	sa_table_put(&r->table, SPI, r->in);
	return r;
}

static void rig_free(struct rig *r)
{
	close(r->tun);
	close(r->w.tun_fd);
	worker_close(&r->w);
	sa_in_free(r->in);
	sa_out_free(r->out);
	sa_table_free(&r->table);
	free(r);
}

static void take(struct rig *r, struct in_packet *packets, size_t n)
{
	inbound_batch(&r->w, packets, n);
	inbound_flush(&r->w);
}

static uint64_t drops(const struct rig *r, enum esp_drop why)
{
	return counter_get(&r->w.drops[why]);
}

static size_t make_v4(uint8_t *p, size_t payload)
{
	struct ip_header_fields h = { .protocol = IPPROTO_UDP, .payload_len = (uint16_t)payload };

	assert_true(ip_address_parse("10.1.0.1", &h.src) && ip_address_parse("10.2.0.1", &h.dst));
	ip_header_put(p, &h);
	for (size_t i = 0; i < payload; i++)
		p[IPV4_HEADER + i] = (uint8_t)(i * 13 + payload);
	return IPV4_HEADER + payload;
}

static size_t make_v6(uint8_t *p, size_t payload)
{
	struct ip_header_fields h = { .protocol = IPPROTO_UDP, .payload_len = (uint16_t)payload };

	assert_true(ip_address_parse("2001:db8:1::1", &h.src) &&
		    ip_address_parse("2001:db8:2::1", &h.dst));
	ip_header_put(p, &h);
	for (size_t i = 0; i < payload; i++)
		p[IPV6_HEADER + i] = (uint8_t)(i * 17 + payload);
	return IPV6_HEADER + payload;
}

/* Protect `len` bytes at `packet`; the ESP packet (without an outer IP header) for inbound_batch(). */
static struct in_packet protect(struct rig *r, const uint8_t *packet, size_t len)
{
	uint8_t *slot = r->slot + SLOT_HEADROOM;
	struct in_packet p = { 0 };
	struct esp_packet_job job;
	struct out_packet out;
	enum esp_drop why = DROP_OUT_NOT_IP;
	struct flow f;
	size_t skip;

	memcpy(slot, packet, len);
	assert_true(flow_parse(slot, len, &f));
	if (!protect_wrap(&r->w, r->out, slot, &f, &out, &job, &why))
		fail_msg("dropped: %d", why);
	esp_cipher_seal(r->out->c.cipher, &job, 1);
	assert_true(job.ok);
	skip = r->sa.path.udp_encap ? 0 : IPV4_HEADER;
	p.esp = r->wire + RECV_HEADROOM;
	p.len = out.len - skip;
	memcpy(p.esp, out.wire + skip, p.len);
	p.src = r->sa.path.remote;
	p.dst = r->sa.path.local.address;
	p.udp = r->sa.path.udp_encap;
	return p;
}

/* Seal any text with the outbound key: what a peer could send. */
static struct in_packet protect_text(struct rig *r, const uint8_t *text, size_t len)
{
	struct in_packet p = { .esp = r->wire + RECV_HEADROOM, .src = r->sa.path.remote,
			       .dst = r->sa.path.local.address };
	const struct sa_common *c = &r->out->c;
	struct esp_packet_job job = { .esp = p.esp, .iv = p.esp + 8, .text = p.esp + 8 + c->iv_bytes,
				      .len = len, .aad_len = 8 };

	store_be32(p.esp, SPI);
	store_be32(p.esp + 4, (uint32_t)++r->out->seq);
	memset(job.iv, 0, c->iv_bytes);
	store_be32(job.iv, (uint32_t)r->out->seq);
	memcpy(job.aad, p.esp, 8);
	memcpy(job.text, text, len);
	job.icv = job.text + len;
	esp_cipher_seal(c->cipher, &job, 1);
	p.len = 8u + c->iv_bytes + len + c->icv_bytes;
	return p;
}

/* What came out of TUN, without its virtio header; 0 when nothing did. */
static size_t delivered(struct rig *r, uint8_t *out, size_t max)
{
	uint8_t buf[TEXT_MAX + 64];
	ssize_t n = recv(r->tun, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0)
		return 0;
	assert_true(n > (ssize_t)sizeof(struct virtio_net_hdr));
	n -= (ssize_t)sizeof(struct virtio_net_hdr);
	assert_true((size_t)n <= max);
	memcpy(out, buf + sizeof(struct virtio_net_hdr), (size_t)n);
	return (size_t)n;
}

static void nothing_delivered(struct rig *r, enum esp_drop why)
{
	uint8_t got[TEXT_MAX];

	assert_int_equal(delivered(r, got, sizeof(got)), 0);
	assert_true(drops(r, why) == 1);
}

static void there_and_back(const struct child_sa *sa, bool v6, size_t payload)
{
	uint8_t packet[TEXT_MAX], got[TEXT_MAX];
	struct rig *r = rig_new(sa);
	size_t len = v6 ? make_v6(packet, payload) : make_v4(packet, payload);
	struct in_packet p = protect(r, packet, len);

	assert_int_equal(load_be32(p.esp), SPI);
	assert_int_equal(load_be32(p.esp + 4), 1);
	if (payload >= 16) /* it is encrypted */
		assert_null(memmem(p.esp, p.len, packet + len - 16, 16));
	take(r, &p, 1);
	assert_int_equal(delivered(r, got, sizeof(got)), len);
	assert_memory_equal(got, packet, len);
	assert_true(counter_get(&r->in->c.packets) == 1);
	assert_true(counter_get(&r->in->c.bytes) == len);
	rig_free(r);
}

static void every_suite_size_and_family(void **state)
{
	static const struct {
		enum encr_id encr;
		unsigned bits;
	} suites[] = {
		{ ENCR_AES_GCM_16, 128 },	{ ENCR_AES_GCM_16, 256 }, { ENCR_CHACHA20_POLY1305, 256 },
		{ ENCR_AES_CBC, 128 },		{ ENCR_AES_CBC, 192 },	  { ENCR_AES_CBC, 256 },
	};

	(void)state;
	for (size_t s = 0; s < sizeof(suites) / sizeof(suites[0]); s++)
		for (int esn = 0; esn < 2; esn++)
			for (int v6 = 0; v6 < 2; v6++) {
				struct child_sa sa =
					make_sa(suites[s].encr, suites[s].bits, esn, MODE_TUNNEL);

				sa.path.udp_encap = v6;
				for (size_t payload = 8; payload < 1400; payload += payload < 48 ? 1 : 331)
					there_and_back(&sa, v6, payload);
			}
}

static void transport_mode_rebuilds_the_header(void **state)
{
	struct child_sa sa = make_sa(ENCR_AES_GCM_16, 128, false, MODE_TRANSPORT);
	struct rig *r = rig_new(&sa);
	uint8_t packet[TEXT_MAX], got[TEXT_MAX];
	size_t len = make_v4(packet, 100), n;
	struct in_packet p;
	struct flow f;

	(void)state;
	packet[1] = 0x2a;
	packet[6] = 0x40;
	store_be16(packet + 10, 0);
	p = protect(r, packet, len);
	/* SPI, sequence number, IV, 100 bytes, padding and trailer (104), ICV */
	assert_int_equal(p.len, 8 + 8 + 104 + 16);
	p.tos = 0x2a;
	take(r, &p, 1);
	n = delivered(r, got, sizeof(got));
	assert_int_equal(n, len);
	assert_true(flow_parse(got, n, &f));
	assert_true(ip_address_equal(&f.src, &sa.path.remote.address));
	assert_true(ip_address_equal(&f.dst, &sa.path.local.address));
	assert_int_equal(f.protocol, IPPROTO_UDP);
	assert_int_equal(f.tos, 0x2a);
	assert_memory_equal(got + 20, packet + 20, 100);
	rig_free(r);
}

/* The kernel puts datagrams together without a gap, and IPv6's header is longer than what it replaces. */
static void transport_mode_leaves_its_neighbour_whole(void **state)
{
	static const struct esp_features tcp = { .tun_tso = true };
	enum { TCP = 20, PAYLOAD = 10 /* and no padding */ };
	struct child_sa sa = make_sa(ENCR_AES_GCM_16, 128, false, MODE_TRANSPORT);
	uint8_t packet[2][TEXT_MAX] = { { 0 } }, got[TEXT_MAX], both[RECV_HEADROOM + 512];
	struct in_packet p[2];
	struct rig *r;
	size_t at = RECV_HEADROOM, len = 0;

	(void)state;
	assert_true(ip_address_parse("2001:db8:1::1", &sa.path.local.address));
	assert_true(ip_address_parse("2001:db8:2::1", &sa.path.remote.address));
	sa.path.udp_encap = true;
	r = rig_new(&sa);
	r->w.features = &tcp;
	inbound_init(&r->w);
	for (size_t i = 0; i < 2; i++) {
		len = make_v6(packet[i], TCP + PAYLOAD);
		packet[i][6] = IPPROTO_TCP;
		packet[i][IPV6_HEADER] = (uint8_t)i; /* two flows: both are kept until the end of the batch */
		packet[i][IPV6_HEADER + 12] = TCP << 2;
		packet[i][IPV6_HEADER + 13] = 0x10; /* ACK */
		p[i] = protect(r, packet[i], len);
		memcpy(both + at, p[i].esp, p[i].len);
		p[i].esp = both + at;
		at += p[i].len;
	}
	take(r, p, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(delivered(r, got, sizeof(got)), len);
		assert_memory_equal(got + IPV6_HEADER, packet[i] + IPV6_HEADER, TCP + PAYLOAD);
	}
	rig_free(r);
}

static void transport_mode_takes_no_fragments_or_options(void **state)
{
	struct child_sa sa = make_sa(ENCR_AES_GCM_16, 128, false, MODE_TRANSPORT);
	struct rig *r = rig_new(&sa);
	uint8_t *packet = r->slot + SLOT_HEADROOM;
	size_t len = make_v4(packet, 100);
	struct esp_packet_job job;
	struct out_packet out;
	enum esp_drop why;
	struct flow f;

	(void)state;
	packet[6] = 0x20;
	assert_true(flow_parse(packet, len, &f));
	assert_false(protect_wrap(&r->w, r->out, packet, &f, &out, &job, &why));
	assert_int_equal(why, DROP_OUT_FRAGMENT);
	packet[6] = 0;
	packet[0] = 0x46;
	assert_true(flow_parse(packet, len, &f));
	assert_false(protect_wrap(&r->w, r->out, packet, &f, &out, &job, &why));
	assert_int_equal(why, DROP_OUT_HEADERS);
	assert_true(r->out->seq == 0);
	rig_free(r);
}

/* The packet of RFC 7634 appendix A, byte for byte. */
static void published_packet_opens(void **state)
{
	static const uint8_t esp[] = {
		0x01, 0x02, 0x03, 0x04, 0x00, 0x00, 0x00, 0x05, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15,
		0x16, 0x17, 0x24, 0x03, 0x94, 0x28, 0xb9, 0x7f, 0x41, 0x7e, 0x3c, 0x13, 0x75, 0x3a,
		0x4f, 0x05, 0x08, 0x7b, 0x67, 0xc3, 0x52, 0xe6, 0xa7, 0xfa, 0xb1, 0xb9, 0x82, 0xd4,
		0x66, 0xef, 0x40, 0x7a, 0xe5, 0xc6, 0x14, 0xee, 0x80, 0x99, 0xd5, 0x28, 0x44, 0xeb,
		0x61, 0xaa, 0x95, 0xdf, 0xab, 0x4c, 0x02, 0xf7, 0x2a, 0xa7, 0x1e, 0x7c, 0x4c, 0x4f,
		0x64, 0xc9, 0xbe, 0xfe, 0x2f, 0xac, 0xc6, 0x38, 0xe8, 0xf3, 0xcb, 0xec, 0x16, 0x3f,
		0xac, 0x46, 0x9b, 0x50, 0x27, 0x73, 0xf6, 0xfb, 0x94, 0xe6, 0x64, 0xda, 0x91, 0x65,
		0xb8, 0x28, 0x29, 0xf6, 0x41, 0xe0, 0x76, 0xaa, 0xa8, 0x26, 0x6b, 0x7f, 0xb0, 0xf7,
		0xb1, 0x1b, 0x36, 0x99, 0x07, 0xe1, 0xad, 0x43,
	};
	static const uint8_t inner[] = {
		0x45, 0x00, 0x00, 0x54, 0xa6, 0xf2, 0x00, 0x00, 0x40, 0x01, 0xe7, 0x78, 0xc6, 0x33, 0x64,
		0x05, 0xc0, 0x00, 0x02, 0x05, 0x08, 0x00, 0x5b, 0x7a, 0x3a, 0x08, 0x00, 0x00, 0x55, 0x3b,
		0xec, 0x10, 0x00, 0x07, 0x36, 0x27,
	};
	struct child_sa sa = make_sa(ENCR_CHACHA20_POLY1305, 256, false, MODE_TUNNEL);
	uint8_t buf[RECV_HEADROOM + sizeof(esp)], got[TEXT_MAX];
	struct in_packet p = { .esp = buf + RECV_HEADROOM, .len = sizeof(esp) };
	struct rig *r;

	(void)state;
	for (size_t i = 0; i < 32; i++)
		sa.in.encr_key.bytes[i] = (uint8_t)(0x80 + i);
	for (size_t i = 0; i < 4; i++)
		sa.in.encr_key.bytes[32 + i] = (uint8_t)(0xa0 + i);
	r = rig_new(&sa);
	r->in->c.spi = 0x01020304;
	sa_table_put(&r->table, 0x01020304, r->in);
	memcpy(p.esp, esp, sizeof(esp));
	take(r, &p, 1);
	assert_int_equal(delivered(r, got, sizeof(got)), 84);
	assert_memory_equal(got, inner, sizeof(inner));
	rig_free(r);
}

static void replayed_packet_is_dropped(void **state)
{
	struct child_sa sa = make_sa(ENCR_AES_GCM_16, 128, false, MODE_TUNNEL);
	struct rig *r = rig_new(&sa);
	uint8_t packet[TEXT_MAX], got[TEXT_MAX], copy[TEXT_MAX];
	size_t len = make_v4(packet, 64);
	struct in_packet p[2] = { protect(r, packet, len) };

	(void)state;
	/* twice in one batch: the check before the cipher cannot know yet */
	memcpy(copy, p[0].esp, p[0].len);
	p[1] = p[0];
	p[1].esp = r->wire + RECV_HEADROOM + SLOT_BYTES;
	memcpy(p[1].esp, copy, p[0].len);
	take(r, p, 2);
	assert_int_equal(delivered(r, got, sizeof(got)), len);
	nothing_delivered(r, DROP_IN_REPLAY);
	/* and later */
	memcpy(p[0].esp, copy, p[0].len);
	take(r, p, 1);
	assert_true(drops(r, DROP_IN_REPLAY) == 2);
	assert_true(counter_get(&r->in->replay_dropped) == 2);
	rig_free(r);
}

static void without_replay_protection_a_copy_is_taken(void **state)
{
	struct child_sa sa = make_sa(ENCR_AES_GCM_16, 128, false, MODE_TUNNEL);
	struct rig *r;
	uint8_t packet[TEXT_MAX], got[TEXT_MAX], copy[TEXT_MAX];
	size_t len = make_v4(packet, 64);
	struct in_packet p;

	(void)state;
	sa.replay_window = 0;
	r = rig_new(&sa);
	p = protect(r, packet, len);
	memcpy(copy, p.esp, p.len);
	for (int i = 0; i < 3; i++) {
		memcpy(p.esp, copy, p.len);
		take(r, &p, 1);
		assert_int_equal(delivered(r, got, sizeof(got)), len);
	}
	rig_free(r);
}

static void every_changed_bit_is_noticed(void **state)
{
	static const enum encr_id ciphers[] = { ENCR_AES_GCM_16, ENCR_AES_CBC };

	(void)state;
	for (size_t c = 0; c < 2; c++) {
		struct child_sa sa = make_sa(ciphers[c], 256, true, MODE_TUNNEL);
		struct rig *r = rig_new(&sa);
		uint8_t packet[TEXT_MAX], got[TEXT_MAX], copy[TEXT_MAX];
		struct in_packet p = protect(r, packet, make_v4(packet, 20));

		memcpy(copy, p.esp, p.len);
		for (size_t bit = 32; bit < p.len * 8; bit++) {
			memcpy(p.esp, copy, p.len);
			p.esp[bit / 8] ^= (uint8_t)(1 << bit % 8);
			take(r, &p, 1);
			assert_int_equal(delivered(r, got, sizeof(got)), 0);
		}
		/* none of them moved the window, nor made an event */
		assert_true(counter_get(&r->in->top) == 0);
		assert_false(r->in->first_told);
		memcpy(p.esp, copy, p.len);
		take(r, &p, 1);
		assert_true(delivered(r, got, sizeof(got)) > 0);
		rig_free(r);
	}
}

static void truncated_packets_are_dropped(void **state)
{
	static const enum encr_id ciphers[] = { ENCR_AES_GCM_16, ENCR_AES_CBC };

	(void)state;
	for (size_t c = 0; c < 2; c++) {
		struct child_sa sa = make_sa(ciphers[c], 256, false, MODE_TUNNEL);
		struct rig *r = rig_new(&sa);
		uint8_t packet[TEXT_MAX], got[TEXT_MAX];
		struct in_packet p = protect(r, packet, make_v4(packet, 20));

		for (size_t n = 0; n < p.len; n++) {
			struct in_packet cut = p;
			uint8_t *copy = malloc(RECV_HEADROOM + n); /* ASan sees what lies behind */

			cut.len = n;
			cut.esp = copy + RECV_HEADROOM;
			memcpy(cut.esp, p.esp, n);
			take(r, &cut, 1);
			assert_int_equal(delivered(r, got, sizeof(got)), 0);
			free(copy);
		}
		assert_true(drops(r, DROP_IN_SHORT) + drops(r, DROP_IN_INTEGRITY) == p.len);
		rig_free(r);
	}
}

static void unknown_spi_is_dropped(void **state)
{
	struct child_sa sa = make_sa(ENCR_AES_GCM_16, 128, false, MODE_TUNNEL);
	struct rig *r = rig_new(&sa);
	uint8_t packet[TEXT_MAX];
	struct in_packet p = protect(r, packet, make_v4(packet, 20));

	(void)state;
	p.esp[0] ^= 2; /* another generation */
	take(r, &p, 1);
	nothing_delivered(r, DROP_IN_NO_SA);
	rig_free(r);
}

/* What an authenticated peer may still send wrong. */
static void lying_peer_is_dropped(void **state)
{
	struct child_sa sa = make_sa(ENCR_AES_GCM_16, 128, false, MODE_TUNNEL);
	uint8_t packet[TEXT_MAX];
	size_t len = make_v4(packet, 40);

	(void)state;
	for (int lie = 0; lie < 8; lie++) {
		static const enum esp_drop want[] = {
			DROP_IN_PADDING, DROP_IN_PADDING, DROP_IN_DUMMY, DROP_IN_NEXT_HEADER,
			DROP_IN_NEXT_HEADER, DROP_IN_NOT_IP, DROP_IN_NOT_IP, DROP_IN_NEXT_HEADER,
		};
		struct rig *r = rig_new(&sa);
		uint8_t text[TEXT_MAX];
		struct in_packet p;
		size_t n;

		memcpy(text, packet, len);
		n = esp_trailer_put(text, len, 0, 8, 4);
		switch (lie) {
		case 0: /* padding longer than the text */
			text[n - 2] = 255;
			break;
		case 1: /* not 1, 2, 3, ... */
			text[n - 3] ^= 1;
			break;
		case 2: /* a dummy packet, RFC 4303 §2.6 */
			text[n - 1] = 59;
			break;
		case 3: /* says IPv6, is IPv4 */
			text[n - 1] = 41;
			break;
		case 4: /* transport mode's TCP in a tunnel */
			text[n - 1] = 6;
			break;
		case 5: /* inner length beyond the text */
			text[3] = 255;
			break;
		case 6: /* inner header cut */
			n = esp_trailer_put(text, 12, 0, 4, 4);
			break;
		default: /* empty */
			n = esp_trailer_put(text, 0, 0, 4, 4);
		}
		p = protect_text(r, text, n);
		take(r, &p, 1);
		nothing_delivered(r, want[lie]);
		rig_free(r);
	}
}

static void traffic_flow_padding_is_made_and_ignored(void **state)
{
	struct child_sa sa = make_sa(ENCR_AES_GCM_16, 128, false, MODE_TUNNEL);
	uint8_t packet[TEXT_MAX], got[TEXT_MAX];
	size_t len = make_v4(packet, 40);
	struct in_packet p;
	struct rig *r;

	(void)state;
	sa.tfc_pad = 1000;
	r = rig_new(&sa);
	p = protect(r, packet, len);
	assert_int_equal(p.len, 8 + 8 + 1004 + 16);
	take(r, &p, 1);
	assert_int_equal(delivered(r, got, sizeof(got)), len);
	assert_memory_equal(got, packet, len);
	rig_free(r);
	sa.tfc_pad = 100000; /* no more than the MTU */
	r = rig_new(&sa);
	assert_int_equal(protect(r, packet, len).len, 8 + 8 + 1404 + 16);
	rig_free(r);
}

static void inner_packet_outside_the_selectors_is_dropped(void **state)
{
	struct child_sa sa = make_sa(ENCR_AES_GCM_16, 128, false, MODE_TUNNEL);
	uint8_t packet[TEXT_MAX];
	size_t len = make_v4(packet, 40);
	struct rig *r;
	struct in_packet p;

	(void)state;
	sa.remote_ts.count = sa.local_ts.count = 1;
	sa.remote_ts.ts[0] = any_of("10.1.0.0/24"); /* the packet comes from 10.1.0.1 to 10.2.0.1 */
	sa.local_ts.ts[0] = any_of("10.3.0.0/24");
	r = rig_new(&sa);
	p = protect(r, packet, len);
	take(r, &p, 1);
	nothing_delivered(r, DROP_IN_SELECTOR);
	rig_free(r);
}

static void congestion_marks_come_through(void **state)
{
	struct child_sa sa = make_sa(ENCR_AES_GCM_16, 128, false, MODE_TUNNEL);
	uint8_t packet[TEXT_MAX], got[TEXT_MAX];
	struct rig *r = rig_new(&sa);
	struct in_packet p;
	size_t len;

	(void)state;
	len = make_v4(packet, 40);
	ip_set_tos(packet, ECN_ECT0);
	p = protect(r, packet, len);
	p.tos = ECN_CE | 0x44;
	take(r, &p, 1);
	assert_int_equal(delivered(r, got, sizeof(got)), len);
	assert_int_equal(got[1], ECN_CE); /* and the outer DSCP stays outside */
	assert_int_equal(checksum_fold(checksum_add(got, 20, 0)), 0xffff);
	make_v4(packet, 40); /* not ECN-capable: RFC 6040 says drop */
	p = protect(r, packet, len);
	p.tos = ECN_CE;
	take(r, &p, 1);
	nothing_delivered(r, DROP_IN_ECN);
	rig_free(r);
}

static void outer_header_follows_the_inner(void **state)
{
	struct child_sa sa = make_sa(ENCR_AES_GCM_16, 128, false, MODE_TUNNEL);

	(void)state;
	for (int variant = 0; variant < 8; variant++) {
		bool df = variant & 1, dscp = variant & 2, no_pmtu = variant & 4;
		uint8_t slot[SLOT_BYTES], *packet = slot + SLOT_HEADROOM;
		size_t len = make_v4(packet, 40);
		struct esp_packet_job job;
		struct out_packet out;
		enum esp_drop why;
		struct rig *r;
		struct flow f;

		sa.encap_dscp = dscp;
		sa.no_pmtu_disc = no_pmtu;
		r = rig_new(&sa);
		packet[1] = 0xb8 | ECN_ECT0;
		packet[6] = df ? 0x40 : 0;
		assert_true(flow_parse(packet, len, &f));
		assert_true(protect_wrap(&r->w, r->out, packet, &f, &out, &job, &why));
		assert_int_equal(out.wire[0], 0x45);
		assert_int_equal(out.wire[1], dscp ? 0xb8 | ECN_ECT0 : ECN_ECT0);
		assert_int_equal(out.wire[6], df && !no_pmtu ? 0x40 : 0);
		assert_int_equal(out.wire[8], OUTER_TTL);
		assert_int_equal(out.wire[9], IPPROTO_ESP);
		assert_int_equal(load_be16(out.wire + 2), out.len);
		assert_memory_equal(out.wire + 12, "\xc0\x00\x02\x01\xc0\x00\x02\x02", 8);
		rig_free(r);
	}
}

static struct out_packet protect_one(struct rig *r, uint32_t path_mtu)
{
	uint8_t *packet = r->slot + SLOT_HEADROOM;
	size_t len = make_v4(packet, 500);
	struct esp_packet_job job;
	struct out_packet out;
	enum esp_drop why;
	struct flow f;

	packet[6] = 0x40;
	atomic_store(&r->out->path_mtu, path_mtu);
	assert_true(flow_parse(packet, len, &f));
	assert_true(protect_wrap(&r->w, r->out, packet, &f, &out, &job, &why));
	return out;
}

static void what_the_path_does_not_take_may_be_fragmented(void **state)
{
	static const struct esp_features features = { .udp_segment = true, .udp_segments_max = 64 };

	(void)state;
	for (int variant = 0; variant < 4; variant++) {
		bool v6 = variant & 1, udp = variant & 2;
		struct child_sa sa = make_sa(ENCR_AES_GCM_16, 128, false, MODE_TUNNEL);
		struct out_packet whole, large;
		uint32_t bytes;
		struct rig *r;

		sa.path.udp_encap = udp;
		assert_true(!v6 || (ip_address_parse("2001:db8::1", &sa.path.local.address) &&
				    ip_address_parse("2001:db8::2", &sa.path.remote.address)));
		r = rig_new(&sa);
		r->w.features = &features;
		whole = protect_one(r, 0);
		assert_false(whole.too_large || whole.fragments);
		/* with IP_HDRINCL the header is there already */
		bytes = (uint32_t)whole.len + (udp ? 8 : 0) + (v6 ? 40 : udp ? 20 : 0);
		whole = protect_one(r, bytes);
		assert_false(whole.too_large || whole.fragments);
		assert_true(udp || v6 || whole.wire[6] == 0x40);
		assert_int_equal(wire_joins(&r->w, &whole, &whole, &whole, 1, whole.len), udp);
		large = protect_one(r, bytes - 1);
		assert_true(large.too_large && large.fragments);
		assert_true(udp || v6 || large.wire[6] == 0);
		assert_false(wire_joins(&r->w, &whole, &whole, &large, 1, whole.len));
		assert_false(wire_joins(&r->w, &large, &large, &whole, 1, large.len));
		rig_free(r);
		sa.no_pmtu_disc = true;
		r = rig_new(&sa);
		whole = protect_one(r, bytes);
		assert_true(whole.fragments && !whole.too_large);
		rig_free(r);
	}
}

static bool next_event(struct rig *r, struct worker_event *e)
{
	const struct worker_event *next;
	size_t len;

	next = ring_peek(&r->w.events, &len);
	if (!next)
		return false;
	*e = *next;
	ring_pop(&r->w.events);
	return true;
}

static void genuine_packets_make_events_once(void **state)
{
	struct child_sa sa = make_sa(ENCR_AES_GCM_16, 128, false, MODE_TUNNEL);
	uint8_t packet[TEXT_MAX], old[TEXT_MAX];
	struct in_packet p, late;
	struct worker_event e;
	struct rig *r;
	size_t len;

	(void)state;
	sa.path.udp_encap = true;
	sa.path.remote.port = 4500;
	r = rig_new(&sa);
	len = make_v4(packet, 40);
	late = protect(r, packet, len); /* arrives late, from the old place */
	memcpy(old, late.esp, late.len);
	p = protect(r, packet, len);
	take(r, &p, 1);
	assert_true(next_event(r, &e));
	assert_int_equal(e.kind, EVENT_FIRST_PACKET);
	assert_int_equal(e.child_id, 7);
	assert_false(next_event(r, &e));
	/* the NAT has a new mapping */
	p = protect(r, packet, len);
	p.src.port = 40000;
	take(r, &p, 1);
	assert_true(next_event(r, &e));
	assert_int_equal(e.kind, EVENT_PEER_MOVED);
	assert_int_equal(e.endpoint.port, 40000);
	/* an older packet from elsewhere does not lead back */
	memcpy(late.esp, old, late.len);
	late.src.port = 4500;
	take(r, &late, 1);
	assert_false(next_event(r, &e));
	/* nor does a forged one */
	p = protect(r, packet, len);
	p.esp[20] ^= 1;
	p.src.port = 50000;
	take(r, &p, 1);
	assert_false(next_event(r, &e));
	rig_free(r);
}

static void limits_are_told_and_kept(void **state)
{
	struct child_sa sa = make_sa(ENCR_AES_GCM_16, 128, false, MODE_TUNNEL);
	uint8_t packet[TEXT_MAX], got[TEXT_MAX];
	unsigned soft = 0, hard = 0, passed = 0;
	struct worker_event e;
	struct rig *r;
	size_t len;

	(void)state;
	sa.max_packets = 100;
	r = rig_new(&sa);
	len = make_v4(packet, 40);
	for (int i = 0; i < 120; i++) {
		struct in_packet p = protect(r, packet, len);

		take(r, &p, 1);
		passed += delivered(r, got, sizeof(got)) > 0;
		while (next_event(r, &e))
			if (e.kind == EVENT_EXPIRE) {
				assert_int_equal(e.spi, SPI);
				assert_int_equal(e.direction, SA_IN);
				*(e.hard ? &hard : &soft) += 1;
				if (!e.hard)
					assert_in_range(i, 80, 90);
			}
	}
	assert_int_equal(passed, 100);
	assert_int_equal(soft, 1);
	assert_int_equal(hard, 1);
	assert_true(drops(r, DROP_IN_EXPIRED) == 20);
	rig_free(r);
}

static void sequence_numbers_end_without_esn_and_go_on_with_it(void **state)
{
	(void)state;
	for (int esn = 0; esn < 2; esn++) {
		struct child_sa sa = make_sa(ENCR_AES_GCM_16, 128, esn, MODE_TUNNEL);
		struct rig *r = rig_new(&sa);
		uint8_t *packet = r->slot + SLOT_HEADROOM, got[TEXT_MAX], copy[TEXT_MAX];
		size_t len = make_v4(packet, 40);
		struct esp_packet_job job;
		struct out_packet out;
		enum esp_drop why;
		struct flow f;

		memcpy(copy, packet, len);
		r->out->seq = r->in->replay->top = UINT32_MAX;
		assert_true(flow_parse(packet, len, &f));
		if (!esn) {
			assert_false(protect_wrap(&r->w, r->out, packet, &f, &out, &job, &why));
			assert_int_equal(why, DROP_OUT_EXPIRED);
		} else {
			struct in_packet p = protect(r, copy, len);

			assert_int_equal(load_be32(p.esp + 4), 0);
			take(r, &p, 1);
			assert_int_equal(delivered(r, got, sizeof(got)), len);
			assert_true(r->in->replay->top == UINT64_C(1) << 32);
		}
		rig_free(r);
	}
}

/* RFC 3602 §2 wants CBC's IVs unpredictable; counters must not repeat. */
static void ivs_differ(void **state)
{
	static const enum encr_id ciphers[] = { ENCR_AES_GCM_16, ENCR_AES_CBC };

	(void)state;
	for (size_t c = 0; c < 2; c++) {
		struct child_sa sa = make_sa(ciphers[c], 256, false, MODE_TUNNEL);
		struct rig *r = rig_new(&sa);
		uint8_t packet[TEXT_MAX], ivs[400][16] = { { 0 } };
		size_t len = make_v4(packet, 40);

		for (int i = 0; i < 400; i++) {
			memcpy(ivs[i], protect(r, packet, len).esp + 8, r->out->c.iv_bytes);
			for (int j = 0; j < i; j++)
				assert_memory_not_equal(ivs[i], ivs[j], 16);
		}
		rig_free(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_suite_size_and_family),
		cmocka_unit_test(transport_mode_rebuilds_the_header),
		cmocka_unit_test(transport_mode_leaves_its_neighbour_whole),
		cmocka_unit_test(transport_mode_takes_no_fragments_or_options),
		cmocka_unit_test(published_packet_opens),
		cmocka_unit_test(replayed_packet_is_dropped),
		cmocka_unit_test(without_replay_protection_a_copy_is_taken),
		cmocka_unit_test(every_changed_bit_is_noticed),
		cmocka_unit_test(truncated_packets_are_dropped),
		cmocka_unit_test(unknown_spi_is_dropped),
		cmocka_unit_test(lying_peer_is_dropped),
		cmocka_unit_test(traffic_flow_padding_is_made_and_ignored),
		cmocka_unit_test(inner_packet_outside_the_selectors_is_dropped),
		cmocka_unit_test(congestion_marks_come_through),
		cmocka_unit_test(outer_header_follows_the_inner),
		cmocka_unit_test(what_the_path_does_not_take_may_be_fragmented),
		cmocka_unit_test(genuine_packets_make_events_once),
		cmocka_unit_test(limits_are_told_and_kept),
		cmocka_unit_test(sequence_numbers_end_without_esn_and_go_on_with_it),
		cmocka_unit_test(ivs_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
