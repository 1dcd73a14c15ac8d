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

/* --- towards TUN ------------------------------------------------------------------------- */

static void write_tun(void *context, const struct iovec *iov, int count, size_t packets, size_t bytes)
{
	struct esp_worker *w = context;

	if (writev(w->tun_fd, iov, count) < 0) {
		counter_add(&w->drops[DROP_IN_DEVICE], packets);
		return;
	}
	counter_add(&w->in_packets, packets);
	counter_add(&w->in_bytes, bytes);
	counter_add(&w->tun_writes, 1);
}

void inbound_init(struct esp_worker *w)
{
	gro_init(&w->gro, write_tun, w, w->features->tun_tso, w->features->tun_uso);
}

void inbound_flush(struct esp_worker *w)
{
	gro_flush(&w->gro);
	w->flushes++;
}

/* The ECN field outside changes nothing inside (RFC 6040 §4.2), and nor does the DSCP. */
static bool tos_stays(const struct sa_in *sa, const struct in_packet *p)
{
	uint8_t ecn = p->tos & ECN_MASK;

	return !sa->decap_dscp && (ecn == ECN_NOT_ECT || ecn == ECN_ECT0);
}

/* A packet of a flow whose last one came by the same SA: its selectors were looked at. */
static bool deliver_next(struct esp_worker *w, const struct sa_in *sa, const struct in_packet *p,
			 uint8_t *text, size_t len, size_t *inner_len)
{
	uint8_t next;

	if (sa->c.transport || !tos_stays(sa, p) || !esp_trailer_take(text, &len, &next) || len == 0 ||
	    next != (text[0] >> 4 == 6 ? NEXT_IPV6 : NEXT_IPV4))
		return false;
	*inner_len = len;
	return gro_continue(&w->gro, text, len, sa);
}

static bool deliver(struct esp_worker *w, struct sa_in *sa, const struct in_packet *p,
		    uint8_t *text, size_t len, size_t *inner_len, enum esp_drop *why)
{
	uint8_t *inner;

	/* the first of its SA since the last flush can continue nothing */
	if (sa->delivered == w->flushes && deliver_next(w, sa, p, text, len, inner_len))
		return true;
	/* IPv6's header is longer than what it replaces: it reaches into a packet in front of this one */
	if (sa->c.transport && p->udp && p->dst.family == AF_INET6)
		inbound_flush(w);
	if (!inbound_unwrap(sa, p, text, len, &inner, inner_len, why))
		return false;
	gro_add(&w->gro, inner, *inner_len, sa);
	sa->delivered = w->flushes;
	return true;
}

/* --- the SA ------------------------------------------------------------------------------ */

/* Look at the sequence number, and describe the work; what fails here costs no cryptography. */
static bool admit(struct esp_worker *w, struct in_packet *p, struct esp_packet_job *job)
{
	struct sa_in *sa = p->sa;
	struct sa_common *c;
	uint32_t low;

	if (!sa) {
		worker_drop(w, p->len < ESP_HEADER ? DROP_IN_SHORT : DROP_IN_NO_SA);
		return false;
	}
	if (sa->worker != w->index && w->count > 1) {
		handover_esp(w, sa->worker, p);
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
	if (deliver(w, sa, p, job->text, job->len, &len, &why))
		counter_add(&sa->c.bytes, len);
	else
		worker_drop(w, why);
}

/*
 * The SAs of a batch. With many tunnels none of what belongs to one is in the cache: the loops ask for
 * everybody's table slot, then for everybody's SA, and wait for none of them. Their page walks overlap then, too.
 */
static void find_sas(struct esp_worker *w, struct in_packet *packets, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (packets[i].len >= ESP_HEADER)
			sa_table_prefetch(w->sas, load_be32(packets[i].esp));
	for (size_t i = 0; i < n; i++) {
		struct in_packet *p = &packets[i];

		p->sa = p->len < ESP_HEADER ? NULL : sa_table_get_soon(w->sas, load_be32(p->esp));
	}
	for (size_t i = 0; i < n; i++)
		if (packets[i].sa && packets[i].sa->c.spi != load_be32(packets[i].esp))
			packets[i].sa = NULL;
}

/* Ask for the keys of packets from `asked` on, if the next one's turn is near; returns how far. */
static size_t ask_for_keys(struct in_packet *const *admitted, size_t count, size_t next, size_t asked)
{
	size_t to = next + 2 * KEYS_AHEAD < count ? next + 2 * KEYS_AHEAD : count;

	if (asked >= next + KEYS_AHEAD)
		return asked;
	for (; asked < to; asked++)
		if (asked == 0 || admitted[asked]->sa != admitted[asked - 1]->sa)
			sa_in_prefetch(admitted[asked]->sa);
	return asked;
}

void inbound_batch(struct esp_worker *w, struct in_packet *packets, size_t n)
{
	struct esp_packet_job jobs[IN_BATCH];
	struct in_packet *admitted[IN_BATCH];
	size_t count = 0, asked = 0;

	if (n > IN_BATCH)
		n = IN_BATCH;
	find_sas(w, packets, n);
	for (size_t i = 0; i < n; i++)
		if (admit(w, &packets[i], &jobs[count]))
			admitted[count++] = &packets[i];
	for (size_t first = 0, end; first < count; first = end) {
		struct sa_in *sa = admitted[first]->sa;

		for (end = first + 1; end < count && admitted[end]->sa == sa; end++)
			;
		asked = ask_for_keys(admitted, count, first, asked);
		esp_cipher_open(sa->c.cipher, &jobs[first], end - first);
		for (size_t i = first; i < end; i++)
			finish(w, admitted[i], &jobs[i]);
	}
}
