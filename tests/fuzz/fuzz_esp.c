/*
 * Fuzzing of user-space ESP: what a stranger sends, what an authenticated peer may put into its
 * packets, and what the host puts into TUN. The first byte of an input says which, and how the
 * SA is:
 *
 *   bits 0-1   0 an ESP packet; 1 the text inside one, sealed here; 2 a packet of TUN;
 *              3 headers and selectors only
 *   bit 2      transport mode      bit 3  ESN
 *   bit 4      CBC and HMAC        bit 5  in UDP
 *   bit 6      decap-dscp          bit 7  IPv6 outside
 *
 * A packet of TUN that was sealed has to open again and give the same bytes.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "esp/worker.h"

enum { SPI = 0x01000001, VARIANTS = 64 };

static struct esp_worker worker;
static struct sa_table table;
static struct sa_in *inbound[VARIANTS];
static struct sa_out *outbound[VARIANTS];
static uint8_t buffer[RECV_HEADROOM + RECV_BYTES + SLOT_BYTES];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static struct traffic_selector any_of(uint8_t family)
{
	struct traffic_selector ts = { .port_hi = UINT16_MAX };

	ts.lo.family = ts.hi.family = family;
	memset(ts.hi.bytes, 0xff, family == AF_INET ? 4 : 16);
	return ts;
}

static void make_variant(unsigned v)
{
	struct child_sa sa = { .id = v, .reqid = 16384, .replay_window = 0, .in.spi = SPI, .out.spi = SPI };
	struct traffic_selector v4 = any_of(AF_INET), v6 = any_of(AF_INET6);
	struct sa_path path;
	const char *why;

	sa.mode = v & 1 ? MODE_TRANSPORT : MODE_TUNNEL;
	sa.suite.encr = algorithm_find(TRANSFORM_ENCR, v & 4 ? ENCR_AES_CBC : ENCR_AES_GCM_16);
	sa.suite.encr_bits = 128;
	sa.suite.integ = v & 4 ? algorithm_find(TRANSFORM_INTEG, INTEG_HMAC_SHA2_256_128) : NULL;
	sa.suite.esn = v & 2;
	sa.in.encr_key.len = sa.out.encr_key.len = (uint8_t)esp_cipher_encr_key_bytes(&sa.suite);
	sa.in.integ_key.len = sa.out.integ_key.len = (uint8_t)esp_cipher_integ_key_bytes(&sa.suite);
	sa.decap_dscp = v & 16;
	sa.path.udp_encap = v & 8;
	ts_list_add(&sa.local_ts, &v4);
	ts_list_add(&sa.local_ts, &v6);
	sa.remote_ts = sa.local_ts;
	check(ip_address_parse(v & 32 ? "2001:db8::1" : "192.0.2.1", &sa.path.local.address));
	check(ip_address_parse(v & 32 ? "2001:db8::2" : "192.0.2.2", &sa.path.remote.address));
	inbound[v] = sa_in_new(&sa, &why);
	outbound[v] = sa_out_new(&sa, &why);
	check(inbound[v] && outbound[v]);
	path = sa_path_make(&sa.path, 0);
	sa_out_set_path(outbound[v], &path);
	atomic_store(&outbound[v]->inner_mtu, 1280);
}

static void set_up(void)
{
	check(sa_table_init(&table));
	check(worker_init(&worker, 0, open("/dev/null", O_RDWR | O_CLOEXEC), &table));
	for (unsigned v = 0; v < VARIANTS; v++)
		make_variant(v);
}

static struct in_packet received(const struct sa_out *sa, uint8_t *esp, size_t len, uint8_t tos)
{
	const struct sa_path *path = atomic_load(&sa->path);

	return (struct in_packet){
		.esp = esp, .len = len, .src = path->remote, .dst = path->local.address,
		.tos = tos, .udp = path->udp_encap,
	};
}

static void forget_events(void)
{
	size_t len;

	while (ring_peek(&worker.events, &len))
		ring_pop(&worker.events);
}

/* A stranger's packet; its SPI is made ours, or hardly any would get further. */
static void fuzz_packet(unsigned v, const uint8_t *data, size_t size)
{
	uint8_t *esp = malloc(RECV_HEADROOM + size);
	struct in_packet p;

	check(esp != NULL);
	memcpy(esp + RECV_HEADROOM, data, size);
	if (size >= 4 && data[0] & 1)
		store_be32(esp + RECV_HEADROOM, SPI);
	p = received(outbound[v], esp + RECV_HEADROOM, size, 0);
	inbound_batch(&worker, &p, 1);
	inbound_flush(&worker);
	free(esp);
}

/* What a peer with the key may say. */
static void fuzz_text(unsigned v, const uint8_t *data, size_t size)
{
	const struct sa_common *c = &outbound[v]->c;
	size_t len = size / c->align * c->align;
	uint8_t *buf = malloc(RECV_HEADROOM + ESP_HEADER + 16 + len + 64), *esp = buf + RECV_HEADROOM;
	struct esp_packet_job job = { .esp = esp, .iv = esp + ESP_HEADER, .text = esp + ESP_HEADER + c->iv_bytes,
				      .len = len, .aad_len = c->esn ? 12 : 8 };
	struct in_packet p;

	check(buf != NULL);
	inbound[v]->replay->top = 0;
	store_be32(esp, SPI);
	store_be32(esp + 4, 1);
	memset(job.iv, 0, c->iv_bytes);
	store_be32(job.aad, SPI);
	store_be32(job.aad + (c->esn ? 8 : 4), 1);
	memcpy(job.text, data, len);
	job.icv = job.text + len;
	esp_cipher_seal(c->cipher, &job, 1);
	check(job.ok || len == 0);
	p = received(outbound[v], esp, ESP_HEADER + c->iv_bytes + len + c->icv_bytes, size ? data[0] : 0);
	inbound_batch(&worker, &p, 1);
	inbound_flush(&worker);
	free(buf);
}

/* What the host sends: it comes out again as it went in. */
static void fuzz_tun(unsigned v, const uint8_t *data, size_t size)
{
	struct sa_out *sa = outbound[v];
	uint8_t *packet = buffer + SLOT_HEADROOM, *inner;
	struct esp_packet_job job;
	struct out_packet out;
	struct in_packet p;
	enum esp_drop why;
	struct flow f;
	size_t len;

	memcpy(packet, data, size);
	if (!flow_parse(packet, size, &f) || !protect_wrap(&worker, sa, packet, &f, &out, &job, &why))
		return;
	esp_cipher_seal(sa->c.cipher, &job, 1);
	check(job.ok);
	esp_cipher_open(inbound[v]->c.cipher, &job, 1);
	check(job.ok);
	p = received(sa, (uint8_t *)(uintptr_t)job.esp, 0, f.tos & ~ECN_MASK);
	if (!inbound_unwrap(inbound[v], &p, job.text, job.len, &inner, &len, &why)) {
		/* transport mode: next header 59 would be a dummy; nothing else may be lost */
		check(sa->c.transport && f.base_next == 59);
		return;
	}
	if (sa->c.transport) {
		check(len == f.total_len);
		check(memcmp(inner + f.base_len, data + f.base_len, len - f.base_len) == 0);
	} else {
		if (inbound[v]->decap_dscp)
			ip_set_tos(inner, f.tos);
		check(len == f.total_len);
		check(inbound[v]->decap_dscp || memcmp(inner, data, len) == 0);
	}
}

static void fuzz_headers(const uint8_t *data, size_t size)
{
	struct traffic_selector ts;
	uint8_t *copy = malloc(size ? size : 1);
	struct flow f;

	check(copy != NULL);
	memcpy(copy, data, size);
	if (flow_parse(copy, size, &f)) {
		check(f.total_len <= size && f.base_len <= f.total_len);
		ts = any_of(f.src.family);
		check(selector_matches(&ts, &f.src, f.protocol, f.sport, f.ports_known));
		ip_set_tos(copy, data[size - 1]);
		check(flow_parse(copy, size, &f) && f.tos == data[size - 1]);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned v;

	if (!table.slots)
		set_up();
	if (size < 1 || size > PACKET_MAX)
		return 0;
	v = data[0] >> 2;
	sa_table_put(&table, SPI, inbound[v]);
	switch (data[0] & 3) {
	case 0:
		fuzz_packet(v, data + 1, size - 1);
		break;
	case 1:
		fuzz_text(v, data + 1, size - 1);
		break;
	case 2:
		fuzz_tun(v, data + 1, size - 1);
		break;
	default:
		fuzz_headers(data + 1, size - 1);
	}
	forget_events();
	return 0;
}
