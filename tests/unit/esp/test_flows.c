/*
 * Random flows all the way: cut by gso.c, sealed, opened, merged by gro.c, and cut again the plain
 * way (segments.h). What comes out of each flow is what the plain way makes of what went in, byte
 * for byte and in its order; a packet that was changed on the way comes out as it was.
 *
 *     FLOWS=1000000 SEED=7 test_flows
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crypto/esp_aead.h"
#include "esp/gro.h"
#include "esp/gso.h"
#include "esp/headers.h"
#include "tests/unit/esp/segments.h"

enum {
	FLOWS_DEFAULT = 50000,
	FLOWS_ROUND = 24, /* more than GRO_ITEMS */
	PACKETS_UNIT = 2000,
	PACKETS_ROUND = 6000,
	ARENA_ROUND = 4 << 20,
	SUPER_MAX = 65535,
	OVERHEAD = 8 + 16 + 32 + 32, /* ESP's header, IV, trailer, ICV */
	NONE = -1,
};

struct held {
	const uint8_t *was; /* as the plain way makes it */
	uint8_t *now;       /* as it was opened */
	uint32_t len;
	unsigned flow;
};

struct suite {
	const char *name;
	struct esp_cipher *out, *in;
	size_t iv, icv, align;
	uint8_t aad;
};

static struct {
	uint64_t random;
	unsigned long round, packets, writes, merged;
	struct suite suites[6];
	uint8_t *arena;
	size_t used;
	struct held held[2 * (PACKETS_ROUND + PACKETS_UNIT)];
	unsigned held_count;
	unsigned begin[FLOWS_ROUND], end[FLOWS_ROUND]; /* of held */
	struct held *order[2 * (PACKETS_ROUND + PACKETS_UNIT)];
	int next[2 * (PACKETS_ROUND + PACKETS_UNIT)]; /* of the same flow */
	unsigned order_count;
	int due[FLOWS_ROUND]; /* in order[] */
	struct gro gro;
} t;

static uint64_t rnd64(void)
{
	t.random ^= t.random >> 12;
	t.random ^= t.random << 25;
	t.random ^= t.random >> 27;
	return t.random * UINT64_C(0x2545f4914f6cdd1d);
}

static uint32_t rnd(uint32_t below)
{
	return (uint32_t)((rnd64() >> 32) * below >> 32);
}

static bool one_in(uint32_t n)
{
	return rnd(n) == 0;
}

static void add_suite(size_t i, const char *name, enum encr_id encr, uint16_t bits, bool esn)
{
	struct cipher_suite s = { .encr = algorithm_find(TRANSFORM_ENCR, encr), .encr_bits = bits, .esn = esn };
	uint8_t key[128];
	struct bytes e, a;

	if (!s.encr->aead)
		s.integ = algorithm_find(TRANSFORM_INTEG, INTEG_HMAC_SHA2_256_128);
	for (size_t n = 0; n < sizeof(key); n++)
		key[n] = (uint8_t)rnd(256);
	e = BYTES(key, esp_cipher_encr_key_bytes(&s));
	a = BYTES(key + 64, esp_cipher_integ_key_bytes(&s));
	t.suites[i] = (struct suite){ name, esp_cipher_new(&s, e, a, false), esp_cipher_new(&s, e, a, true), s.encr->iv_bytes,
				      s.integ ? s.integ->icv_bytes : s.encr->icv_bytes, s.integ ? 16 : 4, esn ? 12 : 8 };
	assert_non_null(t.suites[i].out);
	assert_non_null(t.suites[i].in);
}

static uint8_t *arena_take(size_t len)
{
	uint8_t *p = t.arena + t.used;

	t.used += len;
	assert_true(t.used <= 4u * ARENA_ROUND);
	return p;
}

/* Through ESP: from where the packet stands, with the trailer behind it, and opened in place. */
static uint8_t *through_esp(const struct suite *s, uint8_t *packet, size_t len)
{
	uint8_t *esp = arena_take(len + OVERHEAD), next = 0;
	struct esp_packet_job job = { .esp = esp, .iv = esp + 8, .text = esp + 8 + s->iv, .src = packet, .aad_len = s->aad };
	size_t got;

	job.len = esp_trailer_put(packet, len, 0, s->align, 4);
	job.icv = job.text + job.len;
	for (size_t i = 0; i < 8 + s->iv; i += 8)
		store_be64(esp + i, rnd64());
	memcpy(job.aad, esp, 8);
	esp_cipher_seal(s->out, &job, 1);
	assert_true(job.ok);
	job.src = NULL;
	job.ok = false;
	esp_cipher_open(s->in, &job, 1);
	assert_true(job.ok);
	got = job.len;
	assert_true(esp_trailer_take(job.text, &got, &next));
	assert_int_equal(next, 4);
	assert_int_equal(got, len);
	return job.text;
}

static void hold(unsigned flow, const uint8_t *was, uint8_t *now, size_t len)
{
	t.held[t.held_count++] = (struct held){ was, now, (uint32_t)len, flow };
	t.packets++;
}

static void fill(uint8_t *p, size_t len)
{
	uint64_t v;

	for (; len >= 8; p += 8, len -= 8) {
		v = rnd64();
		memcpy(p, &v, 8);
	}
	v = rnd64();
	memcpy(p, &v, len);
}

static uint8_t random_flags(void)
{
	static const uint8_t some[] = { ACK | PSH, ACK | PSH, ACK | FIN, ACK | ECE, ACK | CWR, ACK | PSH | FIN | CWR, ACK | URG, 0xff };

	return one_in(3) ? some[rnd(sizeof(some))] : ACK;
}

static size_t random_size(void)
{
	switch (rnd(64)) {
	case 0:
		return 1 + rnd(8);
	case 1:
		return 1461 + rnd(7500);
	case 2: case 3: case 4: case 5: case 6: case 7:
		return 9 + rnd(100);
	case 8: case 9: case 10: case 11:
		return 1460 - rnd(100);
	default:
		return 100 + rnd(900);
	}
}

/* A super-packet: cut the plain way, then by gso.c and each packet through ESP. */
static void add_super(unsigned flow, struct recipe *r)
{
	const struct suite *s = &t.suites[rnd(6)];
	size_t size = random_size(), want = size * (1 + rnd(one_in(32) ? 1000 : 10)) - rnd((uint32_t)size), len, n;
	unsigned first = t.held_count;
	uint8_t headers[256], *super, *p;
	struct virtio_net_hdr h;
	struct gso g;

	len = make_headers(headers, r);
	if (want > size * PACKETS_UNIT)
		want = size * PACKETS_UNIT;
	r->payload = want < SUPER_MAX - len ? want : SUPER_MAX - len;
	super = malloc(len + r->payload + GSO_TAIL);
	assert_non_null(super);
	memcpy(super, headers, len);
	fill(super + len, r->payload);
	len += r->payload;
	complete(super, len);
	for (size_t i = 0;; i++) {
		p = arena_take(2048 > size + 256 ? 2048 : size + 256);
		if (!cut(super, len, (uint16_t)size, i, p, &n)) {
			t.used -= 2048 > size + 256 ? 2048 : size + 256;
			break;
		}
		t.used -= (2048 > size + 256 ? 2048 : size + 256) - n;
		hold(flow, p, NULL, n);
	}
	h = make_super(super, len, (uint16_t)size);
	assert_true(gso_open(&g, &h, super, len));
	assert_int_equal(gso_count(&g), t.held_count - first);
	for (unsigned i = first; gso_next(&g, &p, &n); i++) {
		assert_int_equal(n, t.held[i].len);
		assert_memory_equal(p, t.held[i].was, n);
		t.held[i].now = through_esp(s, p, n);
	}
	free(super);
	r->seq += (uint32_t)r->payload + !!(r->flags & FIN);
	r->id = (uint16_t)(r->id + t.held_count - first);
}

static void complete_ip(uint8_t *p)
{
	if (p[0] >> 4 == 4) {
		put16(p + 10, 0);
		put16(p + 10, ~plain_sum(p, (size_t)(p[0] & 15) * 4, 0));
	}
}

static void make_icmp(uint8_t *p, unsigned flow)
{
	bool v4 = p[0] >> 4 == 4;

	p[v4 ? 9 : 6] = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	put16(p + (v4 ? (size_t)(p[0] & 15) * 4 : 40) + 4, flow + 1);
	complete_ip(p);
}

/* Packets that no rule merges, and that may not overtake those of their flow. */
static void make_strange(uint8_t *p, size_t len, unsigned flow)
{
	uint8_t protocol;
	size_t l4 = upper_at(p, &protocol);

	if (one_in(2)) { /* a fragment; its flow stands where a header would be */
		if (p[0] >> 4 == 4)
			put16(p + 6, one_in(2) ? 0x2000 : 1 + rnd(8191));
		else if (l4 > 40)
			p[6] = IPPROTO_FRAGMENT, put16(p + 44, flow + 1);
	} else if (protocol == IPPROTO_UDP) { /* wrong length, or no checksum */
		put16(p + l4 + 4 + 2 * rnd(2), 0);
	} else if (len > l4 + 13) {
		p[l4 + 12] ^= (uint8_t)(1 << rnd(8));
	}
	complete_ip(p);
}

/* Packets of the host's that came one by one. */
static void add_singles(unsigned flow, struct recipe *r, bool icmp)
{
	const struct suite *s = &t.suites[rnd(6)];
	size_t size = random_size(), len;
	bool strange = !icmp && one_in(4);

	for (uint32_t n = 1 + rnd(10); n; n--) {
		uint8_t *p = malloc(size + 256 + GSO_TAIL), *was;

		assert_non_null(p);
		r->flags = random_flags();
		r->payload = one_in(8) ? rnd((uint32_t)size) : size;
		len = make_headers(p, r);
		fill(p + len, r->payload);
		len += r->payload;
		complete(p, len);
		if (strange)
			make_strange(p, len, flow);
		if (icmp)
			make_icmp(p, flow);
		was = arena_take(len);
		memcpy(was, p, len);
		if (!strange && !icmp && one_in(2)) {
			struct virtio_net_hdr h = make_super(p, len, 0);

			assert_true(gso_checksum(&h, p, len));
			/* -0 and 0 are the same to TCP */
			if (!r->udp && get16(was + h.csum_start + 16) == 0)
				put16(p + h.csum_start + 16, 0);
			assert_memory_equal(p, was, len);
		}
		hold(flow, was, through_esp(s, p, len), len);
		free(p);
		r->seq += (uint32_t)r->payload;
		r->id++;
	}
}

static void add_flow(unsigned flow)
{
	struct recipe r = { .v6 = one_in(2), .udp = one_in(3), .df = one_in(2), .tos = one_in(4) ? (uint8_t)rnd(256) : 0,
			    .host = (uint8_t)(flow >> 2), .sport = (uint16_t)(flow + 1), .window = (uint16_t)rnd(65536),
			    .id = (uint16_t)rnd(65536), .label = rnd(1 << 20), .seq = (uint32_t)rnd64(), .ack = (uint32_t)rnd64() };

	bool icmp = one_in(16);

	t.begin[flow] = t.held_count;
	r.tcp_options = one_in(2) ? 12 : (uint8_t)(4 * rnd(11));
	for (uint32_t n = 1 + rnd(3); n; n--) {
		r.flags = random_flags();
		r.ip_options = one_in(16) ? (uint8_t)(8 * rnd(r.v6 ? 8 : 5)) : 0;
		if (icmp || one_in(4))
			add_singles(flow, &r, icmp);
		else
			add_super(flow, &r);
		if (one_in(16))
			r.ack += 1000;
	}
	t.end[flow] = t.held_count;
}

/* Bits fall over: anything that does not make it another flow's. */
static void corrupt(struct held *h)
{
	uint8_t protocol, *p = arena_take(h->len);
	size_t l4 = upper_at(h->was, &protocol), at = rnd(h->len);

	memcpy(p, h->was, h->len);
	h->was = p;
	if (at >= l4 + 8 || (p[0] >> 4 == 4 ? at == 1 || at == 5 || at == 8 || at == 10 : at == 3 || at == 7)) {
		p[at] ^= (uint8_t)(1 << rnd(8));
		h->now[at] = p[at];
	}
}

static void push(struct held *h)
{
	t.order[t.order_count++] = h;
}

static void push_again(const struct held *h)
{
	struct held *copy = &t.held[t.held_count++];

	*copy = *h;
	copy->now = arena_take(h->len);
	memcpy(copy->now, h->now, h->len);
	push(copy);
}

/* All flows' packets among each other, as a network does it. */
static void mix(unsigned flows)
{
	unsigned left = t.held_count;
	bool bad = one_in(2);

	while (left) {
		unsigned flow = rnd(flows), run = 1 + rnd(1u << rnd(7));

		while (t.begin[flow] == t.end[flow])
			flow = (flow + 1) % flows;
		for (; run && t.begin[flow] < t.end[flow]; run--, left--) {
			struct held *h = &t.held[t.begin[flow]++];

			if (bad && one_in(64))
				corrupt(h);
			push(h);
			if (bad && one_in(64))
				push_again(h);
			if (bad && one_in(64) && t.order_count > 1) {
				struct held **o = &t.order[t.order_count - 2], *first = o[0];

				o[0] = o[1];
				o[1] = first;
			}
		}
	}
	for (unsigned f = 0; f < flows; f++)
		t.due[f] = NONE;
	for (unsigned i = t.order_count; i-- > 0;) {
		t.next[i] = t.due[t.order[i]->flow];
		t.due[t.order[i]->flow] = (int)i;
	}
}

/* It stands in the packet, from 1 on: as source port, ICMP's or a fragment's ID. */
static unsigned flow_of(const uint8_t *p)
{
	uint8_t protocol;
	size_t l4 = upper_at(p, &protocol);

	return get16(p + l4 + (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP ? 0 : 4)) - 1;
}

/* Was and is the same, but for an ID that means nothing (RFC 6864). */
static bool same(const uint8_t *was, uint8_t *is, size_t len)
{
	if (was[0] >> 4 != 4 || !(was[6] & 0x40))
		return memcmp(was, is, len) == 0;
	return memcmp(was, is, 4) == 0 && memcmp(was + 6, is + 6, 4) == 0 && memcmp(was + 12, is + 12, len - 12) == 0 &&
	       plain_sum(was, 20, 0) == 0xffff && plain_sum(is, 20, 0) == 0xffff;
}

static void came_out(uint8_t *p, size_t len, bool alone)
{
	unsigned flow = flow_of(p);
	const struct held *h;

	assert_in_range(flow, 0, FLOWS_ROUND - 1);
	assert_int_not_equal(t.due[flow], NONE);
	h = t.order[t.due[flow]];
	t.due[flow] = t.next[t.due[flow]];
	assert_int_equal(len, h->len);
	assert_true(alone ? memcmp(p, h->was, len) == 0 : same(h->was, p, len));
}

static void on_write(void *context, const struct iovec *iov, int count, size_t packets, size_t bytes)
{
	static uint8_t super[SUPER_MAX], out[SUPER_MAX];
	const struct virtio_net_hdr *h = iov[0].iov_base;
	size_t n = 0, i = 0;

	(void)context;
	t.writes++;
	for (int v = 1; v < count; v++) {
		assert_true(n + iov[v].iov_len <= SUPER_MAX);
		memcpy(super + n, iov[v].iov_base, iov[v].iov_len);
		n += iov[v].iov_len;
	}
	assert_int_equal(n, bytes);
	if (h->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		assert_int_equal(packets, 1);
		came_out(super, bytes, true);
		return;
	}
	for (; cut(super, bytes, h->gso_size, i, out, &n); i++)
		came_out(out, n, false);
	assert_int_equal(i, packets);
	t.merged += packets;
}

static void run_round(unsigned flows)
{
	static const int tags[3];

	t.used = t.held_count = t.order_count = 0;
	for (unsigned f = 0; f < flows; f++) {
		t.begin[f] = t.end[f] = t.held_count;
		if (t.held_count < PACKETS_ROUND / 2 && t.used < ARENA_ROUND)
			add_flow(f);
	}
	mix(flows);
	for (unsigned i = 0; i < t.order_count; i++) {
		const struct held *h = t.order[i];
		const void *tag = &tags[one_in(256) ? 2 : h->flow & 1];

		if (!gro_continue(&t.gro, h->now, h->len, tag))
			gro_add(&t.gro, h->now, h->len, tag);
		if (one_in(128))
			gro_flush(&t.gro);
	}
	gro_flush(&t.gro);
	for (unsigned f = 0; f < flows; f++)
		assert_int_equal(t.due[f], NONE);
}

static unsigned long setting(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : otherwise;
}

static void flows_come_out_as_they_went_in(void **state)
{
	unsigned long flows = setting("FLOWS", FLOWS_DEFAULT), seed = setting("SEED", 1), done = 0;

	(void)state;
	t.random = UINT64_C(0x9e3779b97f4a7c15) * (seed + 1) | 1;
	t.arena = malloc(4u * ARENA_ROUND);
	assert_non_null(t.arena);
	add_suite(0, "AES-128-GCM", ENCR_AES_GCM_16, 128, false);
	add_suite(1, "AES-256-GCM, ESN", ENCR_AES_GCM_16, 256, true);
	add_suite(2, "ChaCha20-Poly1305", ENCR_CHACHA20_POLY1305, 256, false);
	add_suite(3, "AES-128-CBC", ENCR_AES_CBC, 128, false);
	add_suite(4, "AES-256-CBC, ESN", ENCR_AES_CBC, 256, true);
	add_suite(5, "AES-256-GCM", ENCR_AES_GCM_16, 256, false);
	gro_init(&t.gro, on_write, NULL, true, true);
	printf("# SEED=%lu FLOWS=%lu\n", seed, flows);
	fflush(stdout);
	while (done < flows) {
		unsigned n = 1 + rnd(FLOWS_ROUND);

		run_round(n);
		done += n;
		t.round++;
	}
	printf("# %lu flows, %lu packets, %lu written, %lu of them merged\n", done, t.packets, t.writes, t.merged);
	assert_true(t.writes < t.packets && t.merged > t.packets / 4);
	for (size_t i = 0; i < 6; i++) {
		esp_cipher_free(t.suites[i].out);
		esp_cipher_free(t.suites[i].in);
	}
	free(t.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flows_come_out_as_they_went_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
