/*
 * The engine under hostile datagrams, including ones that it can decrypt.
 *
 * Two engines talk over a wire that the input rules. The first byte chooses
 * how far they get by themselves, and how many resources they have; then each record of the input is a datagram
 * as it stands, the content of an Encrypted payload sealed with the true keys
 * and message ID, a datagram of the other engine changed, or time that passes.
 * Random bytes are the same in every run, so an input always does the same.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ike/engine.h"
#include "ike/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define SECOND UINT64_C(1000000)
enum { QUEUE_MAX = 64, DATAGRAM_MAX = 2048, RECORDS_MAX = 64, OVERHEAD = 128 };

struct datagram {
	struct ip_endpoint from, to;
	size_t len;
	uint8_t bytes[DATAGRAM_MAX];
};

struct end {
	struct ike_engine *engine;
	struct ike_host host;
	struct ike_conn *conn;
	uint64_t chance;
	uint32_t spi;
	size_t halves;
};

static struct {
	uint64_t now;
	struct end end[2]; /* [1] is under attack */
	struct datagram queue[QUEUE_MAX];
	size_t queued;
} world;

static struct proposal_list ike_list, esp_list;

static uint64_t host_now(void *context)
{
	(void)context;
	return world.now;
}

static void host_random(void *context, uint8_t *buf, size_t len)
{
	struct end *e = context;

	while (len-- > 0) {
		e->chance = e->chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		*buf++ = (uint8_t)(e->chance >> 56);
	}
}

static void host_send(void *context, const struct ip_endpoint *local, const struct ip_endpoint *remote,
		      struct bytes b)
{
	struct datagram *d = &world.queue[world.queued];

	(void)context;
	if (b.len == 0 || b.len > DATAGRAM_MAX)
		abort();
	if (world.queued == QUEUE_MAX)
		return;
	world.queued++;
	d->from = *local;
	d->to = *remote;
	d->len = b.len;
	memcpy(d->bytes, b.ptr, b.len);
}

static size_t host_connections(void *context, const struct ip_address *local,
			       const struct ip_address *remote, struct ike_conn **out, size_t max)
{
	struct end *e = context;

	(void)local;
	(void)remote;
	if (max > 0)
		out[0] = e->conn;
	return max > 0;
}

static bool host_psk(void *context, const struct ike_conn *conn, const struct identity *local,
		     const struct identity *remote, struct secret *out)
{
	(void)context;
	(void)conn;
	(void)local;
	(void)remote;
	out->len = 4;
	memcpy(out->bytes, "fuzz", 4);
	return true;
}

static uint32_t host_alloc_spi(void *context, const struct ike_conn *conn, const struct ip_address *local,
			       const struct ip_address *remote, unsigned resource)
{
	struct end *e = context;

	(void)conn;
	(void)local;
	(void)remote;
	if (resource > (e->conn->resources > 1 ? e->conn->resources : 0))
		abort();
	return ++e->spi;
}

static void host_free_spi(void *context, const struct ip_address *local, uint32_t spi)
{
	(void)context;
	(void)local;
	(void)spi;
}

static bool host_sa_add(void *context, const struct child_sa *sa, enum sa_direction which, char *err)
{
	struct end *e = context;

	(void)err;
	if (which & SA_IN && (sa->in.spi == 0 || sa->in.encr_key.len == 0))
		abort();
	if (which & SA_OUT && sa->out.encr_key.len == 0)
		abort();
	if (sa->local_ts.count == 0 || sa->remote_ts.count == 0 || !sa->suite.encr)
		abort();
	/* a peer, even an authentic one, gets no more than the connection gives */
	if (!ts_list_contains(&e->conn->local_ts, &sa->local_ts) ||
	    !ts_list_contains(&e->conn->remote_ts, &sa->remote_ts))
		abort();
	e->halves++;
	return true;
}

static void host_sa_remove(void *context, const struct child_sa *sa, enum sa_direction which)
{
	(void)context;
	(void)sa;
	(void)which;
}

static bool host_sa_move(void *context, const struct child_sa *sa, const struct esp_path *to)
{
	(void)context;
	(void)sa;
	(void)to;
	return true;
}

static bool host_sa_query(void *context, const struct child_sa *sa, struct child_sa_usage *out)
{
	(void)context;
	(void)sa;
	*out = (struct child_sa_usage){ .in_last_s = UINT64_MAX, .out_last_s = UINT64_MAX };
	return true;
}

static void host_event(void *context, const struct ike_event *event)
{
	static char sink[4096];

	(void)context;
	snprintf(sink, sizeof(sink), "%s %s %s", event->text ? event->text : "", event->ours ? event->ours : "",
		 event->theirs ? event->theirs : "");
}

static struct ike_conn *conn_new(unsigned i)
{
	static const char *const addresses[] = { "192.0.2.1", "192.0.2.2" };
	static const char *const nets[] = { "10.1.0.0/16", "10.2.0.0/16" };
	struct ike_conn *c = calloc(1, sizeof(*c));
	struct traffic_selector ts;
	struct ip_prefix p;

	c->refs = 1;
	strcpy(c->name, "fuzz");
	c->reqid = 16384;
	ip_address_parse(addresses[i], &c->local.address);
	ip_address_parse(addresses[1 - i], &c->remote.address);
	c->local.port = c->remote.port = 500;
	c->local_id = identity_from_address(&c->local.address);
	c->remote_id = identity_from_address(&c->remote.address);
	c->ike_proposals = &ike_list;
	c->esp_proposals = &esp_list;
	ip_prefix_parse(nets[i], &p, NULL);
	ts = ts_from_prefix(&p);
	ts_list_add(&c->local_ts, &ts);
	ip_prefix_parse(nets[1 - i], &p, NULL);
	ts = ts_from_prefix(&p);
	ts_list_add(&c->remote_ts, &ts);
	c->esn = c->no_esn = true;
	c->narrowing = true;
	c->ike_lifetime_us = 3600 * SECOND;
	c->child_lifetime_us = 600 * SECOND;
	c->rekey_margin_us = 60 * SECOND;
	c->rekey_fuzz_percent = 50;
	c->rekey = c->initial_contact = c->unique_ids = true;
	c->retransmit_interval_us = SECOND / 2;
	c->retransmit_timeout_us = 60 * SECOND;
	c->dpd_delay_us = 10 * SECOND;
	return c;
}

static void begin(void)
{
	const struct ike_engine_config config = { .cookie_threshold = 25, .half_open_max = 50, .sa_max = 1000 };
	char err[128];

	if (!ike_list.count && (!proposal_parse(PROTOCOL_IKE, "aes_gcm128-sha2_256-dh31", &ike_list, err, sizeof(err)) ||
				!proposal_parse(PROTOCOL_ESP, "aes_gcm128", &esp_list, err, sizeof(err))))
		abort();
	world.now = 1000 * SECOND;
	world.queued = 0;
	for (unsigned i = 0; i < 2; i++) {
		struct end *e = &world.end[i];

		*e = (struct end){ .chance = i + 1, .spi = 1000 };
		e->conn = conn_new(i);
		e->host = (struct ike_host){ .context = e, .now_us = host_now, .random = host_random,
					     .send = host_send, .connections = host_connections, .psk = host_psk,
					     .alloc_spi = host_alloc_spi, .free_spi = host_free_spi,
					     .sa_add = host_sa_add, .sa_remove = host_sa_remove,
					     .sa_move = host_sa_move, .sa_query = host_sa_query,
					     .event = host_event };
		e->engine = ike_engine_new(&e->host, &config);
	}
}

/* Hands over the oldest datagram; false when there is none. */
static bool deliver(void)
{
	static struct datagram d;
	unsigned to;

	if (world.queued == 0)
		return false;
	d = world.queue[0];
	memmove(world.queue, world.queue + 1, --world.queued * sizeof(d));
	to = ip_address_equal(&d.to.address, &world.end[1].conn->local.address);
	ike_engine_receive(world.end[to].engine, &d.to, &d.from, BYTES(d.bytes, d.len));
	return true;
}

static void deliver_all(void)
{
	for (unsigned n = 0; n < 16 && deliver(); n++)
		;
}

static void attack(const void *p, size_t len)
{
	const struct ip_endpoint *to = &world.end[1].conn->local, *from = &world.end[1].conn->remote;
	uint8_t *exact = malloc(len ? len : 1); /* of its own size, so that a read past its end is seen */

	memcpy(exact, p, len);
	ike_engine_receive(world.end[1].engine, to, from, BYTES(exact, len));
	free(exact);
}

/* What the export of keys tells of the newest IKE SA of the engine under attack. */
static struct {
	bool found, initiator;
	uint64_t spi_i, spi_r;
	uint8_t key[128];
	size_t key_len;
	struct cipher_suite suite;
} target;

static void target_ike(void *context, const struct ike_sa_info *info, struct bytes ei, struct bytes er,
		       struct bytes ai, struct bytes ar)
{
	struct bytes key = info->initiator ? er : ei;

	(void)context;
	(void)ai;
	(void)ar;
	if (key.len == 0 || key.len > sizeof(target.key) || !info->suite.encr)
		return;
	target.found = true;
	target.initiator = info->initiator;
	target.spi_i = info->spi_i;
	target.spi_r = info->spi_r;
	target.suite = info->suite;
	target.key_len = key.len;
	memcpy(target.key, key.ptr, key.len);
}

static void target_child(void *context, const struct child_sa *sa)
{
	(void)context;
	(void)sa;
}

/* data: message ID and direction, exchange, first payload, then plaintext. */
static void attack_sealed(const uint8_t *data, size_t len)
{
	struct ike_header h = { 0 };
	struct message_builder b;
	static uint8_t iv[8];
	struct bytes d;
	struct sk *sk;
	uint8_t *buf;

	if (len < 3)
		return;
	target.found = false;
	ike_engine_export_keys(world.end[1].engine, target_ike, target_child, NULL);
	if (!target.found)
		return;
	sk = sk_new(&target.suite, BYTES(target.key, target.key_len), BYTES(NULL, 0));
	buf = malloc(len + OVERHEAD);
	h.spi_i = target.spi_i;
	h.spi_r = target.spi_r;
	h.initiator = !target.initiator;
	h.message_id = data[0] & 7;
	h.response = data[0] & 8;
	h.exchange = 34 + (data[1] & 3);
	iv[0]++;
	builder_begin(&b, buf, len + OVERHEAD, &h);
	builder_protect(&b, sk, iv);
	writer_patch_u8(&b.w, b.next_at, data[2]);
	writer_put(&b.w, data + 3, len - 3);
	d = builder_end_protected(&b, sk);
	attack(d.ptr, d.len);
	free(buf);
	sk_free(sk);
}

/* data: pairs of offset and value, for the datagram that is next on the wire. */
static void attack_changed(const uint8_t *data, size_t len)
{
	static struct datagram d;

	if (world.queued == 0)
		return;
	d = world.queue[0];
	for (; len >= 2; data += 2, len -= 2)
		d.bytes[data[0] % d.len] = data[1];
	attack(d.bytes, d.len);
}

static void record(uint8_t op, const uint8_t *data, size_t len)
{
	struct end *e = &world.end[1];

	switch (op & 7) {
	case 0:
		attack(data, len);
		break;
	case 1:
	case 2:
		attack_sealed(data, len);
		break;
	case 3:
		attack_changed(data, len);
		break;
	case 4:
		deliver();
		break;
	case 5:
		world.now += (uint64_t)op * SECOND;
		ike_engine_advance(world.end[0].engine);
		break;
	case 6:
		deliver_all();
		break;
	default:
		if (op & 8)
			ike_engine_rekey_child(e->engine, e->conn);
		else if (op & 16)
			ike_engine_rekey_ike(e->engine, e->conn);
		else if (op & 32)
			ike_engine_up(e->engine, e->conn);
		else
			ike_engine_down(e->engine, e->conn, REASON_ADMIN);
		break;
	}
	ike_engine_advance(e->engine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 1)
		return 0;
	begin();
	for (unsigned i = 0; data[0] & 0x40 && i < 2; i++)
		world.end[i].conn->resources = 3;
	/* who initiates, and how far it goes by itself */
	if (data[0] & 0x80)
		ike_engine_up(world.end[data[0] & 1].engine, world.end[data[0] & 1].conn);
	for (unsigned n = (data[0] >> 1) & 7; n > 0; n--)
		deliver();
	data++;
	len--;
	for (unsigned n = 0; n < RECORDS_MAX && len >= 2; n++) {
		uint8_t op = data[0];
		size_t size = data[1];

		data += 2;
		len -= 2;
		if (size > len)
			size = len;
		record(op, data, size);
		data += size;
		len -= size;
	}
	for (unsigned i = 0; i < 2; i++) {
		ike_engine_free(world.end[i].engine);
		ike_conn_unref(world.end[i].conn);
	}
	return 0;
}
