/*
 * Packets that reached the wrong worker, to the one that owns their SA: a flow's first packets, before
 * the kernel knows its queue; what GRO put together although the SPIs differ; what one worker
 * reads because it has the only socket.
 */
#include <string.h>
#include <sys/eventfd.h>

#include "esp/worker.h"

enum { HANDOVER_A_TURN = 512 };
enum handover_kind { HANDOVER_CLEAR, HANDOVER_ESP };

struct handover {
	enum handover_kind kind;
	uint8_t tos;
	bool udp;
	struct virtio_net_hdr vnet;
	struct ip_endpoint src;
	struct ip_address dst;
	uint8_t data[];
};

static struct handover *reserve(struct esp_worker *w, unsigned to, size_t len)
{
	struct handover *h = NULL;

	if (to < w->count && w->all[to]->strangers)
		h = ring_reserve(&w->all[to]->strangers[w->index], sizeof(*h) + len);
	if (!h)
		worker_drop(w, DROP_HANDOVER_QUEUE);
	return h;
}

static void commit(struct esp_worker *w, unsigned to)
{
	ring_commit(&w->all[to]->strangers[w->index]);
	counter_add(&w->handed_over, 1);
	w->to_kick |= UINT64_C(1) << to;
}

void handover_clear(struct esp_worker *w, unsigned to, const struct virtio_net_hdr *vnet,
		    const uint8_t *packet, size_t len)
{
	struct handover *h = reserve(w, to, len);

	if (!h)
		return;
	h->kind = HANDOVER_CLEAR;
	h->vnet = *vnet;
	memcpy(h->data, packet, len);
	commit(w, to);
}

void handover_esp(struct esp_worker *w, unsigned to, const struct in_packet *p)
{
	struct handover *h = reserve(w, to, p->len);

	if (!h)
		return;
	h->kind = HANDOVER_ESP;
	h->tos = p->tos;
	h->udp = p->udp;
	h->src = p->src;
	h->dst = p->dst;
	memcpy(h->data, p->esp, p->len);
	commit(w, to);
}

void handover_kick(struct esp_worker *w)
{
	for (unsigned i = 0; i < w->count; i++)
		if (w->to_kick >> i & 1)
			eventfd_write(w->all[i]->kick_fd, 1);
	w->to_kick = 0;
}

/* ESP into the worker's own memory, where the packets' neighbourhood is its own as well. */
static void take_esp(struct esp_worker *w, const struct handover *h, size_t len, struct in_packet *p,
		     size_t i)
{
	*p = (struct in_packet){
		.esp = w->recv_buf + i * RECV_STRIDE + RECV_HEADROOM,
		.len = len,
		.src = h->src,
		.dst = h->dst,
		.tos = h->tos,
		.udp = h->udp,
	};
	memcpy(p->esp, h->data, len);
}

/* What one worker handed over, up to a bound; true if there may be more. */
static bool take_from(struct esp_worker *w, struct ring *from)
{
	struct in_packet packets[RECV_BATCH];
	const struct handover *h;
	size_t len, count = 0;
	int n;

	for (n = 0; n < HANDOVER_A_TURN && (h = ring_peek(from, &len)); n++) {
		len -= sizeof(*h);
		if (h->kind == HANDOVER_CLEAR && len <= IP_BYTES_MAX) {
			memcpy(outbound_room(w), h->data, len);
			outbound_take(w, &h->vnet, len);
		} else if (h->kind == HANDOVER_ESP && len <= RECV_BYTES) {
			take_esp(w, h, len, &packets[count], count);
			count++;
		}
		ring_pop(from);
		if (count == RECV_BATCH) {
			inbound_batch(w, packets, count);
			inbound_flush(w);
			count = 0;
		}
	}
	inbound_batch(w, packets, count);
	inbound_flush(w);
	return n == HANDOVER_A_TURN;
}

void handover_take(struct esp_worker *w)
{
	for (unsigned i = 0; w->strangers && i < w->count; i++)
		if (i != w->index && take_from(w, &w->strangers[i]))
			w->to_kick |= UINT64_C(1) << w->index; /* again, after others had their turn */
	outbound_flush(w);
}
