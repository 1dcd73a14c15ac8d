/* From ESP packets to inner packets. RFC 4303 §3.4, RFC 4301 §5.2. */
#include <netinet/in.h>
#include <sys/uio.h>

#include "esp/worker.h"

enum { NEXT_IPV4 = 4, NEXT_IPV6 = 41, NEXT_NONE = 59 };

/* Transport mode: the IP header that ESP replaced, in front of the upper layer's bytes. */
static bool rebuild_header(const struct in_packet *p, uint8_t next, uint8_t *text, size_t len,
			   uint8_t **inner, size_t *inner_len)
{
	size_t header = p->dst.family == AF_INET6 ? IPV6_HEADER : IPV4_HEADER;
	struct ip_header_fields f = {
		.src = p->src.address,
		.dst = p->dst,
		.protocol = next,
		.tos = p->tos,
		.dont_fragment = true,
		.payload_len = (uint16_t)len,
	};

	if (p->src.address.family != p->dst.family || len + IPV4_HEADER > UINT16_MAX)
		return false;
	*inner = text - header;
	*inner_len = header + len;
	ip_header_put(*inner, &f);
	return true;
}

/* RFC 6040 §4.2 and, with decap-dscp, RFC 4301 §5.1.2.1. */
static bool decapsulate_tos(const struct sa_in *sa, const struct in_packet *p, uint8_t *inner,
			    uint8_t inner_tos)
{
	int ecn = ecn_decapsulate(inner_tos, p->tos);
	uint8_t tos;

	if (ecn < 0)
		return false;
	tos = (uint8_t)(((sa->decap_dscp ? p->tos : inner_tos) & ~ECN_MASK) | ecn);
	if (tos != inner_tos)
		ip_set_tos(inner, tos);
	return true;
}

bool inbound_unwrap(const struct sa_in *sa, const struct in_packet *p, uint8_t *text, size_t len,
		    uint8_t **inner, size_t *inner_len, enum esp_drop *why)
{
	struct flow f;
	uint8_t next;

	*why = DROP_IN_PADDING;
	if (!esp_trailer_take(text, &len, &next))
		return false;
	*why = DROP_IN_DUMMY; /* RFC 4303 §2.6 */
	if (next == NEXT_NONE)
		return false;
	*why = DROP_IN_NEXT_HEADER;
	if (sa->c.transport) {
		if (!rebuild_header(p, next, text, len, inner, inner_len))
			return false;
	} else {
		if (len == 0 || !((next == NEXT_IPV4 && text[0] >> 4 == 4) ||
				  (next == NEXT_IPV6 && text[0] >> 4 == 6)))
			return false;
		*inner = text;
		*inner_len = len;
	}
	*why = DROP_IN_NOT_IP;
	if (!flow_parse(*inner, *inner_len, &f))
		return false;
	*inner_len = f.total_len; /* what follows is traffic flow padding, RFC 4303 §2.7 */
	*why = DROP_IN_SELECTOR;
	if (!sa_covers_inbound(&sa->c, &f))
		return false;
	*why = DROP_IN_ECN;
	return sa->c.transport || decapsulate_tos(sa, p, *inner, f.tos);
}

static void deliver(struct esp_worker *w, uint8_t *inner, size_t len)
{
	struct virtio_net_hdr vnet = { 0 };
	struct iovec iov[2] = { { &vnet, sizeof(vnet) }, { inner, len } };

	if (writev(w->tun_fd, iov, 2) < 0) {
		worker_drop(w, DROP_IN_DEVICE);
		return;
	}
	counter_add(&w->in_packets, 1);
	counter_add(&w->in_bytes, len);
	counter_add(&w->in_calls, 1);
}

/* Find the SA and the sequence number, and describe the work; what fails here costs no cryptography. */
static bool admit(struct esp_worker *w, struct in_packet *p, struct esp_packet_job *job)
{
	struct sa_common *c;
	struct sa_in *sa;
	uint32_t low;

	if (p->len < ESP_HEADER) {
		worker_drop(w, DROP_IN_SHORT);
		return false;
	}
	sa = p->sa = sa_table_get(w->sas, load_be32(p->esp));
	if (!sa) {
		worker_drop(w, DROP_IN_NO_SA);
		return false;
	}
	c = &sa->c;
	if (p->len < (size_t)ESP_HEADER + c->iv_bytes + c->icv_bytes + 2 ||
	    (c->align > 4 && (p->len - ESP_HEADER - c->iv_bytes - c->icv_bytes) % c->align)) {
		worker_drop(w, DROP_IN_SHORT);
		return false;
	}
	if (worker_limits(w, c, SA_IN)) {
		worker_drop(w, DROP_IN_EXPIRED);
		return false;
	}
	low = load_be32(p->esp + 4);
	p->seq = c->esn ? replay_window_infer(sa->replay, low) : low;
	if (p->seq == 0 || (sa->replay_check && !replay_window_check(sa->replay, p->seq))) {
		worker_drop(w, DROP_IN_REPLAY);
		counter_add(&sa->replay_dropped, 1);
		return false;
	}
	*job = (struct esp_packet_job){
		.esp = p->esp,
		.iv = p->esp + ESP_HEADER,
		.text = p->esp + ESP_HEADER + c->iv_bytes,
		.len = p->len - ESP_HEADER - c->iv_bytes - c->icv_bytes,
		.icv = p->esp + p->len - c->icv_bytes,
		.aad_len = c->esn ? 12 : 8,
	};
	store_be32(job->aad, c->spi);
	if (c->esn)
		store_be32(job->aad + 4, (uint32_t)(p->seq >> 32));
	store_be32(job->aad + (c->esn ? 8 : 4), low);
	return true;
}

/* The packet is genuine: the first, or from a new place (RFC 7296 §2.23)? */
static void note_genuine(struct esp_worker *w, struct sa_in *sa, const struct in_packet *p,
			 bool newest)
{
	struct worker_event e = { .child_id = sa->c.child_id, .spi = sa->c.spi };

	if (!sa->first_told) {
		e.kind = EVENT_FIRST_PACKET;
		sa->first_told = worker_tell(w, &e);
	}
	if (newest && p->udp && sa->udp_encap && !ip_endpoint_equal(&p->src, &sa->peer)) {
		e.kind = EVENT_PEER_MOVED;
		e.endpoint = p->src;
		if (worker_tell(w, &e))
			sa->peer = p->src;
	}
}

static void finish(struct esp_worker *w, const struct in_packet *p, const struct esp_packet_job *job)
{
	struct sa_in *sa = p->sa;
	enum esp_drop why;
	uint8_t *inner;
	size_t len;
	bool newest;

	if (!job->ok) {
		worker_drop(w, DROP_IN_INTEGRITY);
		counter_add(&sa->integrity_failed, 1);
		return;
	}
	/* again: the same packet may stand in the batch twice */
	if (sa->replay_check && !replay_window_check(sa->replay, p->seq)) {
		worker_drop(w, DROP_IN_REPLAY);
		counter_add(&sa->replay_dropped, 1);
		return;
	}
	newest = p->seq > sa->replay->top;
	replay_window_update(sa->replay, p->seq);
	counter_set(&sa->top, sa->replay->top);
	counter_set(&sa->c.last_us, w->now_us);
	note_genuine(w, sa, p, newest);
	counter_add(&sa->c.packets, 1);
	if (!inbound_unwrap(sa, p, job->text, job->len, &inner, &len, &why)) {
		worker_drop(w, why);
		return;
	}
	counter_add(&sa->c.bytes, len);
	deliver(w, inner, len);
}

void inbound_batch(struct esp_worker *w, struct in_packet *packets, size_t n)
{
	struct esp_packet_job jobs[RECV_BATCH];
	struct in_packet *admitted[RECV_BATCH];
	size_t count = 0;

	for (size_t i = 0; i < n && i < RECV_BATCH; i++)
		if (admit(w, &packets[i], &jobs[count]))
			admitted[count++] = &packets[i];
	for (size_t first = 0, end; first < count; first = end) {
		struct sa_in *sa = admitted[first]->sa;

		for (end = first + 1; end < count && admitted[end]->sa == sa; end++)
			;
		esp_cipher_open(sa->c.cipher, &jobs[first], end - first);
		for (size_t i = first; i < end; i++)
			finish(w, admitted[i], &jobs[i]);
	}
}
