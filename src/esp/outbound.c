/* From packets of TUN to ESP packets. RFC 4303 §3.3, RFC 4301 §5.1. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "esp/worker.h"

enum { NEXT_IPV4 = 4, NEXT_IPV6 = 41, BATCHES_A_TURN = 4, IPV6_MTU_MIN = 1280 };

/* --- which SA --------------------------------------------------------------------------- */

static void flow_key_of(const struct flow *f, struct flow_key *k)
{
	memset(k, 0, sizeof(*k));
	memcpy(k->src, f->src.bytes, sizeof(k->src));
	memcpy(k->dst, f->dst.bytes, sizeof(k->dst));
	k->sport = f->sport;
	k->dport = f->dport;
	k->family = f->src.family;
	k->protocol = f->protocol;
	k->ports_known = f->ports_known;
}

static size_t flow_slot(const struct flow_key *k)
{
	uint64_t words[sizeof(*k) / 8], h = 0;

	_Static_assert(sizeof(*k) % 8 == 0, "the key is hashed by words");
	memcpy(words, k, sizeof(words));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		h = (h ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
	return (size_t)(h >> 40) & (FLOW_CACHE - 1);
}

/* Ask for an SA, once a second for each policy. */
static void acquire(struct esp_worker *w, struct policy_state *state, const struct flow *f)
{
	struct worker_event e = {
		.kind = EVENT_ACQUIRE,
		.reqid = state->reqid,
		.local = { .lo = f->src, .hi = f->src, .protocol = f->protocol, .port_hi = UINT16_MAX },
		.remote = { .lo = f->dst, .hi = f->dst, .protocol = f->protocol, .port_hi = UINT16_MAX },
	};

	if (state->acquire_us && w->now_us - state->acquire_us < ACQUIRE_US)
		return;
	if (f->ports_known) {
		e.local.port_lo = e.local.port_hi = f->sport;
		e.remote.port_lo = e.remote.port_hi = f->dport;
	}
	if (worker_tell(w, &e))
		state->acquire_us = w->now_us;
}

/* Keep the packet for the SA that was asked for: the first of a connection is not lost then. */
static void hold(struct esp_worker *w, uint32_t reqid, const uint8_t *packet, size_t len)
{
	struct held_packet *free_slot = NULL;
	size_t same = 0;

	for (size_t i = 0; i < HELD_MAX; i++) {
		struct held_packet *h = &w->held[i];

		if (h->since_us == 0) {
			if (!free_slot)
				free_slot = h;
		} else if (h->reqid == reqid) {
			same++;
		}
	}
	if (!free_slot || same >= HELD_PER_POLICY || len > PACKET_MAX) {
		worker_drop(w, DROP_OUT_NO_SA);
		return;
	}
	free_slot->since_us = w->now_us;
	free_slot->reqid = reqid;
	free_slot->len = len;
	memcpy(free_slot->packet, packet, len);
	w->held_count++;
}

static struct sa_out *sa_of_policy(struct policy_state *state, const struct flow *f)
{
	const struct sa_list *list = atomic_load_explicit(&state->out, memory_order_acquire);

	for (size_t i = 0; list && i < list->count; i++)
		if (sa_covers_outbound(&list->sa[i]->c, f))
			return list->sa[i];
	return NULL;
}

/* The SA of a flow, from the cache or the policies; else NULL and the policy, NULL if none. */
static struct sa_out *lookup(struct esp_worker *w, const struct flow *f,
			     const struct policy_entry **entry)
{
	struct flow_entry *cached;
	struct flow_key key;
	struct sa_out *sa;

	flow_key_of(f, &key);
	cached = &w->flows[flow_slot(&key)];
	if (cached->epoch == w->batch_epoch && memcmp(&cached->key, &key, sizeof(key)) == 0)
		return cached->sa;
	*entry = policy_list_find(w->batch_policies, f);
	if (!*entry || (*entry)->action == POLICY_PASS || (*entry)->action == POLICY_DROP)
		return NULL;
	sa = sa_of_policy((*entry)->state, f);
	if (sa)
		*cached = (struct flow_entry){ .key = key, .epoch = w->batch_epoch, .sa = sa };
	return sa;
}

/* The packet of a flow without an SA: kept, or dropped for a reason. */
static void no_sa(struct esp_worker *w, const struct policy_entry *entry, const struct flow *f,
		  const uint8_t *packet)
{
	if (!entry || entry->action == POLICY_PASS) {
		worker_drop(w, DROP_OUT_NO_POLICY);
	} else if (entry->action == POLICY_DROP) {
		worker_drop(w, DROP_OUT_POLICY);
	} else {
		acquire(w, entry->state, f);
		hold(w, entry->state->reqid, packet, f->total_len);
	}
}

/* --- ESP -------------------------------------------------------------------------------- */

/* What goes into ESP, and the next header that says so; false if the mode cannot carry it. */
static bool select_text(const struct sa_out *sa, uint8_t *packet, const struct flow *f,
			const struct sa_path *path, uint8_t **text, size_t *len, uint8_t *next,
			enum esp_drop *why)
{
	if (!sa->c.transport) {
		*text = packet;
		*len = f->total_len;
		*next = f->src.family == AF_INET6 ? NEXT_IPV6 : NEXT_IPV4;
		return true;
	}
	*why = DROP_OUT_FRAGMENT; /* RFC 4303 §3.3.4: whole datagrams only */
	if (f->fragment)
		return false;
	*why = DROP_OUT_HEADERS;
	if (f->src.family != path->remote.address.family)
		return false;
	if (f->src.family == AF_INET ? f->base_len != IPV4_HEADER :
				       (f->base_next == IPPROTO_HOPOPTS ||
					f->base_next == IPPROTO_ROUTING))
		return false;
	*text = packet + f->base_len;
	*len = f->total_len - f->base_len;
	*next = f->base_next;
	return true;
}

static bool outer_df(const struct sa_out *sa, const struct flow *f)
{
	if (sa->no_pmtu_disc)
		return false;
	/* IPv6 has to get 1280 bytes through whatever the path (RFC 8200 §5) */
	if (f->src.family == AF_INET6)
		return f->total_len > IPV6_MTU_MIN;
	return f->dont_fragment;
}

/* Traffic flow padding in tunnel mode, as far as the path takes it. RFC 4303 §2.7. */
static size_t tfc_bytes(const struct esp_worker *w, const struct sa_out *sa, size_t len)
{
	size_t to = sa->tfc_pad, mtu = atomic_load_explicit(&w->tun_mtu, memory_order_relaxed);

	if (sa->c.transport || to == 0)
		return 0;
	if (to > mtu)
		to = mtu;
	return to > len ? to - len : 0;
}

static void put_header_and_iv(struct esp_worker *w, struct sa_out *sa, uint8_t *esp,
			      struct esp_packet_job *job)
{
	const struct sa_common *c = &sa->c;
	uint64_t seq = ++sa->seq;

	counter_set(&sa->seq_shown, seq);
	store_be32(esp, c->spi);
	store_be32(esp + 4, (uint32_t)seq);
	/* a key belongs to one SA, so its sequence numbers make IVs that never repeat */
	if (c->random_iv)
		worker_random(w, esp + ESP_HEADER, c->iv_bytes);
	else
		store_be64(esp + ESP_HEADER, seq);
	store_be32(job->aad, c->spi);
	if (c->esn)
		store_be32(job->aad + 4, (uint32_t)(seq >> 32));
	store_be32(job->aad + (c->esn ? 8 : 4), (uint32_t)seq);
	job->aad_len = c->esn ? 12 : 8;
}

bool outbound_wrap(struct esp_worker *w, struct sa_out *sa, uint8_t *packet, const struct flow *f,
		   struct out_packet *out, struct esp_packet_job *job, enum esp_drop *why)
{
	const struct sa_path *path = atomic_load_explicit(&sa->path, memory_order_acquire);
	const struct sa_common *c = &sa->c;
	uint8_t *text, *esp, next;
	size_t len, tfc;

	if (!select_text(sa, packet, f, path, &text, &len, &next, why))
		return false;
	tfc = tfc_bytes(w, sa, len);
	*why = DROP_OUT_TOO_BIG;
	if (len + tfc > PACKET_MAX)
		return false;
	*why = DROP_OUT_EXPIRED; /* RFC 4303 §3.3.3 */
	if (!c->esn && sa->seq >= UINT32_MAX)
		return false;
	len = esp_trailer_put(text, len, tfc, c->align, next);
	esp = text - c->iv_bytes - ESP_HEADER;
	*job = (struct esp_packet_job){
		.esp = esp, .iv = text - c->iv_bytes, .text = text, .len = len, .icv = text + len,
	};
	put_header_and_iv(w, sa, esp, job);
	*out = (struct out_packet){
		.sa = sa,
		.path = path,
		.wire = esp,
		.len = ESP_HEADER + c->iv_bytes + len + c->icv_bytes,
		.tos = c->transport || sa->encap_dscp ? f->tos : f->tos & ECN_MASK,
	};
	if (!path->udp_encap && path->remote.address.family == AF_INET) {
		struct ip_header_fields h = {
			.src = path->local.address,
			.dst = path->remote.address,
			.protocol = IPPROTO_ESP,
			.tos = out->tos,
			.dont_fragment = outer_df(sa, f),
			.payload_len = (uint16_t)out->len,
		};

		out->wire -= IPV4_HEADER;
		out->len += ip_header_put(out->wire, &h);
	}
	return true;
}

bool outbound_take(struct esp_worker *w, uint8_t *packet, size_t len)
{
	struct esp_packet_job *job = &w->jobs[w->out_count];
	struct out_packet *out = &w->out[w->out_count];
	const struct policy_entry *entry = NULL;
	enum esp_drop why;
	struct sa_out *sa;
	struct flow f;

	if (!flow_parse(packet, len, &f)) {
		worker_drop(w, DROP_OUT_NOT_IP);
		return false;
	}
	sa = lookup(w, &f, &entry);
	if (!sa) {
		no_sa(w, entry, &f, packet);
		return false;
	}
	if (worker_limits(w, &sa->c, SA_OUT)) {
		worker_drop(w, DROP_OUT_EXPIRED);
		return false;
	}
	if (!outbound_wrap(w, sa, packet, &f, out, job, &why)) {
		worker_drop(w, why);
		return false;
	}
	counter_add(&sa->c.packets, 1);
	counter_add(&sa->c.bytes, f.total_len);
	counter_set(&sa->c.last_us, w->now_us);
	w->out_count++;
	return true;
}

void outbound_flush(struct esp_worker *w)
{
	size_t sealed = 0;

	for (size_t first = 0, end; first < w->out_count; first = end) {
		struct sa_out *sa = w->out[first].sa;

		for (end = first + 1; end < w->out_count && w->out[end].sa == sa; end++)
			;
		esp_cipher_seal(sa->c.cipher, &w->jobs[first], end - first);
	}
	for (size_t i = 0; i < w->out_count; i++) {
		if (w->jobs[i].ok)
			w->out[sealed++] = w->out[i];
		else
			worker_drop(w, DROP_OUT_CIPHER);
	}
	if (sealed)
		wire_send(w, w->out, sealed);
	w->out_count = 0;
}

/* --- where packets come from -------------------------------------------------------------- */

static uint8_t *slot_packet(struct esp_worker *w, size_t i)
{
	return w->slots + i * SLOT_BYTES + SLOT_HEADROOM;
}

void outbound_ready(struct esp_worker *w)
{
	for (int turn = 0; turn < BATCHES_A_TURN; turn++) {
		bool empty = false;

		for (int tries = 0; tries < 2 * ESP_BATCH && w->out_count < ESP_BATCH; tries++) {
			struct virtio_net_hdr vnet;
			uint8_t *packet = slot_packet(w, w->out_count);
			struct iovec iov[2] = { { &vnet, sizeof(vnet) }, { packet, PACKET_MAX } };
			ssize_t n = readv(w->tun_fd, iov, 2);

			if (n <= 0) {
				if (n < 0 && errno == EBADFD)
					worker_device_gone(w);
				empty = true;
				break;
			}
			counter_add(&w->out_calls, 1);
			if (n > (ssize_t)sizeof(vnet))
				outbound_take(w, packet, (size_t)n - sizeof(vnet));
		}
		outbound_flush(w);
		if (empty)
			return;
	}
}

void outbound_release(struct esp_worker *w)
{
	for (size_t i = 0; i < HELD_MAX && w->held_count; i++) {
		const struct policy_entry *entry = NULL;
		struct held_packet *h = &w->held[i];
		uint8_t *packet = slot_packet(w, w->out_count);
		struct flow f;

		if (h->since_us == 0)
			continue;
		if (w->now_us - h->since_us > HELD_US)
			worker_drop(w, DROP_OUT_NO_SA);
		else if (flow_parse(h->packet, h->len, &f) && !lookup(w, &f, &entry))
			continue; /* still none */
		else
			outbound_take(w, memcpy(packet, h->packet, h->len), h->len);
		h->since_us = 0;
		w->held_count--;
		if (w->out_count == ESP_BATCH)
			outbound_flush(w);
	}
	outbound_flush(w);
}
