/* Packets of TUN, and the SAs that they go out by. RFC 4301 §5.1. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/prefetch.h"
#include "esp/gso.h"
#include "esp/worker.h"

enum { READS_A_TURN = 4 * OUT_BATCH, BYTES_A_TURN = 1 << 20, PACKETS_A_TURN = 16 * OUT_BATCH };

/* --- which SA --------------------------------------------------------------------------- */

static void flow_key_of(const struct flow *f, struct flow_key *k)
{
	memcpy(k->src, f->src.bytes, sizeof(k->src));
	memcpy(k->dst, f->dst.bytes, sizeof(k->dst));
	k->sport = f->sport;
	k->dport = f->dport;
	k->family = f->src.family;
	k->protocol = f->protocol;
	k->ports_known = f->ports_known;
	k->zero = 0;
}

/* The entries that a flow may stand in. */
static struct flow_entry *flow_ways(const struct esp_worker *w, const struct flow_key *k)
{
	static const uint64_t odd[] = {
		UINT64_C(0x9e3779b97f4a7c15), UINT64_C(0xbf58476d1ce4e5b9), UINT64_C(0x94d049bb133111eb),
		UINT64_C(0xd6e8feb86659fd93), UINT64_C(0xa0761d6478bd642f),
	};
	uint64_t words[sizeof(*k) / 8], h = 0;

	_Static_assert(sizeof(*k) == sizeof(odd), "the key is hashed by words");
	memcpy(words, k, sizeof(words));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		h += (words[i] ^ words[i] >> 32) * odd[i];
	return &w->flows[(h >> 40 & (FLOW_CACHE / FLOW_WAYS - 1)) * FLOW_WAYS];
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
	uint64_t last = counter_get(&state->acquire_us);

	if (last && w->now_us - last < ACQUIRE_US)
		return;
	if (f->ports_known) {
		e.local.port_lo = e.local.port_hi = f->sport;
		e.remote.port_lo = e.remote.port_hi = f->dport;
	}
	if (worker_tell(w, &e))
		counter_set(&state->acquire_us, w->now_us);
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

/* How well an SA suits this worker: its own, that of all in its own hands, that of all, another's. */
static int suits(const struct esp_worker *w, const struct sa_out *sa)
{
	return (sa->worker == w->index ? 2 : 0) + ((sa->resource != 0) == (sa->worker == w->index));
}

/* The newest of the SAs that cover the flow and suit best (RFC 9611). */
static struct sa_out *sa_of_policy(const struct esp_worker *w, struct policy_state *state,
				   const struct flow *f)
{
	const struct sa_list *list = atomic_load_explicit(&state->out, memory_order_acquire);
	struct sa_out *best = NULL;

	for (size_t i = 0; list && i < list->count; i++)
		if ((!best || suits(w, list->sa[i]) > suits(w, best)) && sa_covers_outbound(&list->sa[i]->c, f))
			best = list->sa[i];
	return best;
}

/* The SA of a flow, from the cache or the policies; else NULL and the policy, NULL if none. */
static struct sa_out *lookup(struct esp_worker *w, const struct flow *f, const struct flow_key *key,
			     struct flow_entry *ways, const struct policy_entry **entry)
{
	struct sa_out *sa;

	*entry = NULL;
	for (size_t i = 0; i < FLOW_WAYS; i++)
		if (ways[i].epoch == w->batch_epoch && memcmp(&ways[i].key, key, sizeof(*key)) == 0)
			return ways[i].sa;
	*entry = policy_list_find(w->batch_policies, f);
	if (!*entry || (*entry)->action == POLICY_PASS || (*entry)->action == POLICY_DROP)
		return NULL;
	sa = sa_of_policy(w, (*entry)->state, f);
	if (sa) {
		for (size_t i = FLOW_WAYS - 1; i > 0; i--) /* the oldest goes */
			ways[i] = ways[i - 1];
		ways[0] = (struct flow_entry){ .key = *key, .epoch = w->batch_epoch, .sa = sa };
	}
	return sa;
}

static struct sa_out *lookup_now(struct esp_worker *w, const struct flow *f, const struct policy_entry **entry)
{
	struct flow_key key;

	flow_key_of(f, &key);
	return lookup(w, f, &key, flow_ways(w, &key), entry);
}

/* The packet of a flow without an SA: kept (`packet` not NULL), or dropped for a reason. */
static void no_sa(struct esp_worker *w, const struct policy_entry *entry, const struct flow *f,
		  const uint8_t *packet)
{
	if (!entry || entry->action == POLICY_PASS) {
		worker_drop(w, DROP_OUT_NO_POLICY);
	} else if (entry->action == POLICY_DROP) {
		worker_drop(w, DROP_OUT_POLICY);
	} else {
		acquire(w, entry->state, f);
		if (packet)
			hold(w, entry->state->reqid, packet, f->total_len);
		else
			worker_drop(w, DROP_OUT_NO_SA);
	}
}

/* --- taking a packet ---------------------------------------------------------------------- */

static bool is_super(const struct virtio_net_hdr *vnet)
{
	return (vnet->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) != VIRTIO_NET_HDR_GSO_NONE;
}

/* True if this worker is to send by `sa`; else the packet was dealt with. `packet` is writable. */
static bool ours(struct esp_worker *w, struct sa_out *sa, const struct policy_entry *entry, const struct flow *f,
		 const struct virtio_net_hdr *vnet, uint8_t *packet)
{
	if (!sa) {
		/* a super-packet waits for no SA: its sender sends again, and less at once */
		no_sa(w, entry, f, is_super(vnet) ? NULL : packet);
		return false;
	}
	if (sa->worker == w->index || w->count == 1)
		return true;
	handover_clear(w, sa->worker, vnet, packet, f->total_len);
	return false;
}

/*
 * What was taken, in order. With many tunnels nothing that a packet needs is in the cache. The first loop asks for
 * all flows: one behind the other, for then even their page walks overlap; the second for their SAs; the third has
 * it all but the keys, which are asked for when it comes to sealing.
 */
static void flush_taken(struct esp_worker *w)
{
	static const struct virtio_net_hdr plain;

	for (size_t i = 0; i < w->taken_count; i++)
		prefetch_lines(w->taken[i].ways, 2 * sizeof(*w->taken[i].ways)); /* nearly all are found there */
	for (size_t i = 0; i < w->taken_count; i++) {
		struct taken_packet *t = &w->taken[i];

		t->sa = lookup(w, &t->flow, &t->key, t->ways, &t->entry);
		if (t->sa && (i == 0 || t->sa != t[-1].sa))
			sa_out_prefetch(t->sa);
	}
	for (size_t i = 0; i < w->taken_count; i++) {
		struct taken_packet *t = &w->taken[i];

		if (ours(w, t->sa, t->entry, &t->flow, &plain, t->packet))
			protect_packet(w, t->sa, t->packet, &t->flow);
	}
	w->taken_count = 0;
}

uint8_t *outbound_room(struct esp_worker *w)
{
	if (w->taken_count == OUT_BATCH || ARENA_BYTES - w->arena_used < ARENA_READ)
		outbound_flush(w);
	return w->arena + w->arena_used + SLOT_HEADROOM;
}

static void take_super(struct esp_worker *w, const struct virtio_net_hdr *vnet, uint8_t *packet, const struct flow *f)
{
	const struct policy_entry *entry;
	struct sa_out *sa;

	flush_taken(w); /* came before it, goes before it */
	sa = lookup_now(w, f, &entry);
	if (ours(w, sa, entry, f, vnet, packet))
		protect_super(w, sa, vnet, packet, f);
}

void outbound_take(struct esp_worker *w, const struct virtio_net_hdr *vnet, size_t len)
{
	uint8_t *packet = w->arena + w->arena_used + SLOT_HEADROOM;
	struct taken_packet *t = &w->taken[w->taken_count];

	if (!flow_parse(packet, len, &t->flow)) {
		worker_drop(w, DROP_OUT_NOT_IP);
		return;
	}
	if (is_super(vnet)) {
		struct flow f = t->flow;

		take_super(w, vnet, packet, &f);
		return;
	}
	if ((vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) && !gso_checksum(vnet, packet, t->flow.total_len)) {
		worker_drop(w, DROP_OUT_NOT_IP);
		return;
	}
	if (t->flow.total_len > PACKET_MAX) {
		worker_drop(w, DROP_OUT_TOO_BIG);
		return;
	}
	t->packet = packet;
	flow_key_of(&t->flow, &t->key);
	t->ways = flow_ways(w, &t->key);
	w->arena_used += (SLOT_HEADROOM + t->flow.total_len + SLOT_TAIL + 63) & ~(size_t)63;
	w->taken_count++;
}

void outbound_flush(struct esp_worker *w)
{
	flush_taken(w);
	protect_flush(w);
	w->arena_used = 0;
}

/* --- where packets come from -------------------------------------------------------------- */

void outbound_ready(struct esp_worker *w)
{
	size_t bytes = 0;
	int reads;

	w->made = 0; /* a super-packet of tiny segments is thousands of packets */
	for (reads = 0; reads < READS_A_TURN && bytes < BYTES_A_TURN && w->made < PACKETS_A_TURN; reads++) {
		struct virtio_net_hdr vnet;
		struct iovec iov[2] = { { &vnet, sizeof(vnet) }, { outbound_room(w), IP_BYTES_MAX } };
		ssize_t n = readv(w->tun_fd, iov, 2);

		if (n <= 0) {
			if (n < 0 && errno == EBADFD)
				worker_device_gone(w);
			break;
		}
		counter_add(&w->tun_reads, 1);
		bytes += (size_t)n;
		if (n > (ssize_t)sizeof(vnet))
			outbound_take(w, &vnet, (size_t)n - sizeof(vnet));
		if (reads == 0 && w->lone) /* once more, probably: it does not wait until there is known to be no other */
			outbound_flush(w);
	}
	w->lone = reads <= 1;
	outbound_flush(w);
}

void outbound_release(struct esp_worker *w)
{
	static const struct virtio_net_hdr plain;

	for (size_t i = 0; i < HELD_MAX && w->held_count; i++) {
		const struct policy_entry *entry;
		struct held_packet *h = &w->held[i];
		struct flow f;

		if (h->since_us == 0)
			continue;
		if (w->now_us - h->since_us > HELD_US) {
			worker_drop(w, DROP_OUT_NO_SA);
		} else if (flow_parse(h->packet, h->len, &f) && !lookup_now(w, &f, &entry)) {
			continue; /* still none */
		} else {
			memcpy(outbound_room(w), h->packet, h->len);
			outbound_take(w, &plain, h->len);
		}
		h->since_us = 0;
		w->held_count--;
	}
	outbound_flush(w);
}
