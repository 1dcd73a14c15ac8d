/* From packets to ESP packets. RFC 4303 §3.3, RFC 4106, RFC 3948, RFC 6040 §4.1. */
#include <netinet/in.h>
#include <string.h>

#include "esp/gso.h"
#include "esp/worker.h"

enum { NEXT_IPV4 = 4, NEXT_IPV6 = 41, IPV6_MTU_MIN = 1280 };

/* --- one packet --------------------------------------------------------------------------- */

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

static bool outer_df(const struct out_packet *out, const struct flow *f)
{
	if (out->fragments)
		return false;
	/* IPv6 has to get 1280 bytes through whatever the path (RFC 8200 §5) */
	if (f->src.family == AF_INET6)
		return f->total_len > IPV6_MTU_MIN;
	return f->dont_fragment;
}

/* Traffic flow padding in tunnel mode, as far as the path takes it. RFC 4303 §2.7. */
static size_t tfc_bytes(const struct sa_out *sa, size_t len)
{
	size_t to = sa->tfc_pad, mtu;

	if (sa->c.transport || to == 0)
		return 0;
	mtu = atomic_load_explicit(&sa->inner_mtu, memory_order_relaxed);
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

static bool exhausted(const struct sa_out *sa)
{
	return !sa->c.esn && sa->seq >= UINT32_MAX; /* RFC 4303 §3.3.3 */
}

/* IPv4's outer header where the kernel does not write it: on raw sockets. */
static size_t outer_header_len(const struct sa_path *path)
{
	return !path->udp_encap && path->remote.address.family == AF_INET ? IPV4_HEADER : 0;
}

/* Larger than the path takes: what no MTU of the device could prevent, or was on its way when that sank. */
static bool too_large(const struct sa_out *sa, const struct sa_path *path, size_t esp_len)
{
	size_t mtu = atomic_load_explicit(&sa->path_mtu, memory_order_relaxed);
	size_t headers = path->remote.address.family == AF_INET6 ? IPV6_HEADER : IPV4_HEADER;

	return mtu && esp_len + headers + (path->udp_encap ? UDP_HEADER : 0) > mtu;
}

/* `out` begins with the ESP header, of which `esp_len` bytes follow; put the outer one in front. */
static void describe_out(struct sa_out *sa, const struct sa_path *path, const struct flow *f,
			 uint8_t *esp, size_t esp_len, struct out_packet *out)
{
	*out = (struct out_packet){
		.sa = sa,
		.path = path,
		.wire = esp,
		.len = esp_len,
		.tos = sa->c.transport || sa->encap_dscp ? f->tos : f->tos & ECN_MASK,
		.too_large = too_large(sa, path, esp_len),
	};
	out->fragments = sa->no_pmtu_disc || out->too_large;
	if (outer_header_len(path)) {
		struct ip_header_fields h = {
			.src = path->local.address,
			.dst = path->remote.address,
			.protocol = IPPROTO_ESP,
			.tos = out->tos,
			.dont_fragment = outer_df(out, f),
			.payload_len = (uint16_t)esp_len,
		};

		out->wire -= IPV4_HEADER;
		out->len += ip_header_put(out->wire, &h);
	}
}

bool protect_wrap(struct esp_worker *w, struct sa_out *sa, uint8_t *packet, const struct flow *f,
		  struct out_packet *out, struct esp_packet_job *job, enum esp_drop *why)
{
	const struct sa_path *path = atomic_load_explicit(&sa->path, memory_order_acquire);
	const struct sa_common *c = &sa->c;
	uint8_t *text, *esp, next;
	size_t len, tfc;

	if (!select_text(sa, packet, f, path, &text, &len, &next, why))
		return false;
	tfc = tfc_bytes(sa, len);
	*why = DROP_OUT_TOO_BIG;
	if (len + tfc > PACKET_MAX)
		return false;
	*why = DROP_OUT_EXPIRED;
	if (exhausted(sa))
		return false;
	len = esp_trailer_put(text, len, tfc, c->align, next);
	esp = text - c->iv_bytes - ESP_HEADER;
	*job = (struct esp_packet_job){
		.esp = esp, .iv = text - c->iv_bytes, .text = text, .len = len, .icv = text + len,
	};
	put_header_and_iv(w, sa, esp, job);
	describe_out(sa, path, f, esp, ESP_HEADER + c->iv_bytes + len + c->icv_bytes, out);
	return true;
}

/* --- batches ------------------------------------------------------------------------------ */

/* Ask for the keys of packets from `asked` on, if the next one's turn is near; returns how far. */
static size_t ask_for_keys(const struct esp_worker *w, size_t next, size_t asked)
{
	size_t to = next + 2 * KEYS_AHEAD < w->out_count ? next + 2 * KEYS_AHEAD : w->out_count;

	if (asked >= next + KEYS_AHEAD)
		return asked;
	for (; asked < to; asked++)
		if (asked == 0 || w->out[asked].sa != w->out[asked - 1].sa)
			sa_cipher_prefetch(&w->out[asked].sa->c);
	return asked;
}

static void seal_pending(struct esp_worker *w)
{
	size_t asked = 0;

	for (size_t first = 0, end; first < w->out_count; first = end) {
		struct sa_out *sa = w->out[first].sa;

		end = first + 1;
		if (w->jobs[first].ok)
			continue;
		asked = ask_for_keys(w, first, asked);
		for (; end < w->out_count && w->out[end].sa == sa && !w->jobs[end].ok; end++)
			;
		esp_cipher_seal(sa->c.cipher, &w->jobs[first], end - first);
	}
}

/* What `out` has, sealed and sent. */
static void send_out(struct esp_worker *w)
{
	size_t sealed = 0;

	seal_pending(w);
	for (size_t i = 0; i < w->out_count; i++) {
		if (w->jobs[i].ok)
			w->out[sealed++] = w->out[i];
		else
			worker_drop(w, DROP_OUT_CIPHER);
	}
	if (sealed)
		wire_send(w, w->out, sealed);
	w->out_count = w->run_count = w->run_bytes = 0;
	w->sealed_used = 0;
}

/*
 * The packet that was described at the end of `out` counts. Once it fills a message of the kernel's,
 * all goes at once: what follows then begins a message of its own, and the memory is still warm.
 */
static void count_out(struct esp_worker *w, const struct flow *f)
{
	const struct out_packet *p = &w->out[w->out_count];
	struct sa_common *c = &p->sa->c;

	counter_add(&c->packets, 1);
	counter_add(&c->bytes, f->total_len);
	counter_set(&c->last_us, w->now_us);
	if (w->run_count && wire_joins(w, p - w->run_count, p - 1, p, w->run_count, w->run_bytes)) {
		w->run_count++;
		w->run_bytes += p->len;
	} else {
		w->run_count = 1;
		w->run_bytes = p->len;
	}
	w->out_count++;
	w->made++;
	if (w->out_count == OUT_BATCH || wire_full(w, p, w->run_count, w->run_bytes))
		send_out(w);
}

static void wrap_single(struct esp_worker *w, struct sa_out *sa, uint8_t *packet, const struct flow *f)
{
	enum esp_drop why = DROP_OUT_EXPIRED;

	if (worker_limits(w, &sa->c, SA_OUT) ||
	    !protect_wrap(w, sa, packet, f, &w->out[w->out_count], &w->jobs[w->out_count], &why)) {
		worker_drop(w, why);
		return;
	}
	count_out(w, f);
}

void protect_flush(struct esp_worker *w)
{
	if (w->out_count)
		send_out(w);
}

/* --- super-packets -------------------------------------------------------------------------- */

static bool room_sealed(struct esp_worker *w, size_t len)
{
	if (SEALED_BYTES - w->sealed_used < len)
		send_out(w);
	return SEALED_BYTES - w->sealed_used >= len;
}

/* One packet of a super-packet: encrypted from where it stands into `sealed`. */
static void seal_segment(struct esp_worker *w, struct sa_out *sa, uint8_t *packet, const struct flow *f)
{
	const struct sa_path *path = atomic_load_explicit(&sa->path, memory_order_acquire);
	const struct sa_common *c = &sa->c;
	struct esp_packet_job *job;
	enum esp_drop why = DROP_OUT_EXPIRED;
	uint8_t *text, *esp, next;
	size_t len, esp_len;

	if (worker_limits(w, &sa->c, SA_OUT) || exhausted(sa) ||
	    !select_text(sa, packet, f, path, &text, &len, &next, &why)) {
		worker_drop(w, why);
		return;
	}
	len = esp_trailer_put(text, len, 0, c->align, next);
	esp_len = (size_t)ESP_HEADER + c->iv_bytes + len + c->icv_bytes;
	if (f->total_len > PACKET_MAX || !room_sealed(w, IPV4_HEADER + esp_len)) {
		worker_drop(w, DROP_OUT_TOO_BIG);
		return;
	}
	esp = w->sealed + w->sealed_used + outer_header_len(path);
	job = &w->jobs[w->out_count];
	*job = (struct esp_packet_job){
		.esp = esp,
		.iv = esp + ESP_HEADER,
		.text = esp + ESP_HEADER + c->iv_bytes,
		.src = text,
		.len = len,
		.icv = esp + ESP_HEADER + c->iv_bytes + len,
	};
	put_header_and_iv(w, sa, esp, job);
	esp_cipher_seal(c->cipher, job, 1);
	if (!job->ok) {
		worker_drop(w, DROP_OUT_CIPHER);
		return;
	}
	describe_out(sa, path, f, esp, esp_len, &w->out[w->out_count]);
	w->sealed_used += w->out[w->out_count].len;
	count_out(w, f);
}

/* The same by way of a copy, which leaves the packet as it is and has room behind it. */
static void copy_segment(struct esp_worker *w, struct sa_out *sa, const uint8_t *packet, const struct flow *f)
{
	uint8_t *slot;

	if (!room_sealed(w, SLOT_BYTES) || f->total_len > PACKET_MAX) {
		worker_drop(w, DROP_OUT_TOO_BIG);
		return;
	}
	slot = w->sealed + w->sealed_used + SLOT_HEADROOM;
	memcpy(slot, packet, f->total_len);
	w->sealed_used += sa->tfc_pad ? SLOT_BYTES : SLOT_HEADROOM + f->total_len + SLOT_TAIL;
	wrap_single(w, sa, slot, f);
}

void protect_packet(struct esp_worker *w, struct sa_out *sa, uint8_t *packet, const struct flow *f)
{
	if (sa->tfc_pad)
		copy_segment(w, sa, packet, f);
	else
		wrap_single(w, sa, packet, f);
}

void protect_super(struct esp_worker *w, struct sa_out *sa, const struct virtio_net_hdr *vnet,
		   uint8_t *packet, const struct flow *f)
{
	bool copy = sa->tfc_pad || sa->c.random_iv; /* CBC is faster in batches */
	struct flow one = *f;
	struct gso gso;
	uint8_t *segment;
	size_t len;

	if (!gso_open(&gso, vnet, packet, f->total_len)) {
		worker_drop(w, DROP_OUT_NOT_IP);
		return;
	}
	while (gso_next(&gso, &segment, &len)) {
		one.total_len = (uint32_t)len;
		if (copy)
			copy_segment(w, sa, segment, &one);
		else
			seal_segment(w, sa, segment, &one);
	}
}
