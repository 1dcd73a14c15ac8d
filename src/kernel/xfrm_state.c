/* States of XFRM as netlink messages, and back. */
#include "kernel/xfrm_state.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/udp.h>
#include <netinet/in.h>

enum { BITS_OF_BYTE = 8, WORD_BITS = 32 };

struct xfrm_state_id xfrm_state_id_of(const struct child_sa *sa, enum sa_direction direction)
{
	const struct ip_address *local = &sa->path.local.address;
	const struct ip_address *remote = &sa->path.remote.address;

	if (direction == SA_IN)
		return (struct xfrm_state_id){ .src = *remote, .dst = *local, .spi = sa->in.spi,
					       .mark = { sa->mark_in, sa->mark_in_mask } };
	return (struct xfrm_state_id){ .src = *local, .dst = *remote, .spi = sa->out.spi,
				       .mark = { sa->mark_out, sa->mark_out_mask } };
}

/** A limit and the point before it where a rekey should begin: an eighth, up to three sixteenths. */
static void limit(uint64_t max, uint32_t spi, __u64 *soft, __u64 *hard)
{
	uint64_t jitter = max / 4096 * (spi & 0xff);

	*hard = max == 0 ? XFRM_INF : max;
	*soft = max == 0 ? XFRM_INF : max - max / 8 - jitter;
}

struct xfrm_lifetime_cfg xfrm_state_limits(uint64_t max_bytes, uint64_t max_packets, uint32_t spi)
{
	struct xfrm_lifetime_cfg l = { 0 };

	limit(max_bytes, spi, &l.soft_byte_limit, &l.hard_byte_limit);
	limit(max_packets, spi, &l.soft_packet_limit, &l.hard_packet_limit);
	return l;
}

/** The selector of a transport SA: exact when there is one pair, the two hosts otherwise. */
static void put_selector(struct xfrm_selector *sel, const struct child_sa *sa,
			 const struct xfrm_state_id *id, enum sa_direction direction)
{
	const struct traffic_selector *l = &sa->local_ts.ts[0], *r = &sa->remote_ts.ts[0];
	uint8_t bits = id->dst.family == AF_INET6 ? 128 : 32;

	sel->family = id->dst.family;
	sel->saddr = xfrm_address_put(&id->src);
	sel->daddr = xfrm_address_put(&id->dst);
	sel->prefixlen_s = bits;
	sel->prefixlen_d = bits;
	if (sa->local_ts.count != 1 || sa->remote_ts.count != 1)
		return;
	sel->proto = l->protocol != 0 ? l->protocol : r->protocol;
	if (sel->proto == IPPROTO_ICMP || sel->proto == IPPROTO_ICMPV6)
		return; /* type and code are the policy's business */
	const struct traffic_selector *s = direction == SA_OUT ? l : r;
	const struct traffic_selector *d = direction == SA_OUT ? r : l;

	if (s->port_lo == s->port_hi) {
		sel->sport = htons(s->port_lo);
		sel->sport_mask = UINT16_MAX;
	}
	if (d->port_lo == d->port_hi) {
		sel->dport = htons(d->port_lo);
		sel->dport_mask = UINT16_MAX;
	}
}

/** An algorithm as the kernel takes it: a name of 64 bytes, numbers, and then the key. */
static bool put_aead(struct nlmsghdr *m, size_t room, const struct cipher_suite *suite,
		     const struct key *key)
{
	uint8_t bytes[sizeof(struct xfrm_algo_aead) + KEY_MAX] = { 0 };
	struct xfrm_algo_aead *a = (struct xfrm_algo_aead *)(void *)bytes;

	strncpy(a->alg_name, suite->encr->xfrm, sizeof(a->alg_name) - 1);
	a->alg_key_len = key->len * BITS_OF_BYTE;
	a->alg_icv_len = suite->encr->icv_bytes * BITS_OF_BYTE;
	memcpy(a->alg_key, key->bytes, key->len);
	bool ok = mnl_attr_put_check(m, room, XFRMA_ALG_AEAD, sizeof(*a) + key->len, bytes);

	secret_wipe(bytes, sizeof(bytes));
	return ok;
}

static bool put_auth(struct nlmsghdr *m, size_t room, const struct algorithm *integ,
		     const struct key *key)
{
	uint8_t bytes[sizeof(struct xfrm_algo_auth) + KEY_MAX] = { 0 };
	struct xfrm_algo_auth *a = (struct xfrm_algo_auth *)(void *)bytes;

	/* the truncation is said, as the kernel's own for SHA-256 is an old draft's 96 bits */
	strncpy(a->alg_name, integ->xfrm, sizeof(a->alg_name) - 1);
	a->alg_key_len = key->len * BITS_OF_BYTE;
	a->alg_trunc_len = integ->icv_bytes * BITS_OF_BYTE;
	memcpy(a->alg_key, key->bytes, key->len);
	bool ok = mnl_attr_put_check(m, room, XFRMA_ALG_AUTH_TRUNC, sizeof(*a) + key->len, bytes);

	secret_wipe(bytes, sizeof(bytes));
	return ok;
}

static bool put_encr(struct nlmsghdr *m, size_t room, const struct algorithm *encr,
		     const struct key *key)
{
	uint8_t bytes[sizeof(struct xfrm_algo) + KEY_MAX] = { 0 };
	struct xfrm_algo *a = (struct xfrm_algo *)(void *)bytes;

	strncpy(a->alg_name, encr->xfrm, sizeof(a->alg_name) - 1);
	a->alg_key_len = key->len * BITS_OF_BYTE;
	memcpy(a->alg_key, key->bytes, key->len);
	bool ok = mnl_attr_put_check(m, room, XFRMA_ALG_CRYPT, sizeof(*a) + key->len, bytes);

	secret_wipe(bytes, sizeof(bytes));
	return ok;
}

static bool put_algorithms(struct nlmsghdr *m, size_t room, const struct cipher_suite *suite,
			   const struct esp_half *half)
{
	if (suite->encr == NULL || suite->encr->xfrm == NULL)
		return false;
	if (suite->encr->aead)
		return put_aead(m, room, suite, &half->encr_key);
	if (suite->integ == NULL || suite->integ->xfrm == NULL)
		return false;
	return put_auth(m, room, suite->integ, &half->integ_key) &&
	       put_encr(m, room, suite->encr, &half->encr_key);
}

/** The window that the kernel is to keep. With ESN it must keep one: the widest it has. */
static uint32_t window_of(const struct child_sa *sa)
{
	if (sa->suite.esn && sa->replay_window == 0)
		return XFRM_REPLAY_WINDOW_MAX;
	return sa->replay_window < XFRM_REPLAY_WINDOW_MAX ? sa->replay_window :
							    XFRM_REPLAY_WINDOW_MAX;
}

static bool put_replay_esn(struct nlmsghdr *m, size_t room, uint32_t window,
			   const struct xfrm_progress *p)
{
	uint32_t bytes[sizeof(struct xfrm_replay_state_esn) / sizeof(uint32_t) + XFRM_REPLAY_WORDS];
	struct xfrm_replay_state_esn *e = (struct xfrm_replay_state_esn *)(void *)bytes;
	size_t len = sizeof(*e);

	memset(bytes, 0, sizeof(bytes));
	e->replay_window = window;
	e->bmp_len = (window + WORD_BITS - 1) / WORD_BITS;
	if (p != NULL) {
		e->oseq = p->oseq;
		e->oseq_hi = p->oseq_hi;
		e->seq = p->seq;
		e->seq_hi = p->seq_hi;
		/* without the bitmap, which the kernel allows, nothing has been seen */
		if (p->words == e->bmp_len) {
			memcpy(e->bmp, p->bitmap, p->words * sizeof(uint32_t));
			len += p->words * sizeof(uint32_t);
		}
	}
	return mnl_attr_put_check(m, room, XFRMA_REPLAY_ESN_VAL, len, bytes);
}

static bool put_progress(struct nlmsghdr *m, size_t room, const struct xfrm_progress *p, bool esn)
{
	struct xfrm_replay_state r = { .oseq = p->oseq, .seq = p->seq, .bitmap = p->bitmap[0] };

	return (esn || mnl_attr_put_check(m, room, XFRMA_REPLAY_VAL, sizeof(r), &r)) &&
	       mnl_attr_put_check(m, room, XFRMA_LTIME_VAL, sizeof(p->current), &p->current);
}

static bool put_encap(struct nlmsghdr *m, size_t room, const struct esp_path *path,
		      enum sa_direction direction)
{
	bool out = direction == SA_OUT;
	struct xfrm_encap_tmpl e = {
		.encap_type = UDP_ENCAP_ESPINUDP,
		.encap_sport = htons(out ? path->local.port : path->remote.port),
		.encap_dport = htons(out ? path->remote.port : path->local.port),
	};

	return mnl_attr_put_check(m, room, XFRMA_ENCAP, sizeof(e), &e);
}

static bool put_mark(struct nlmsghdr *m, size_t room, const struct xfrm_mark *mark)
{
	return mark->m == 0 || mnl_attr_put_check(m, room, XFRMA_MARK, sizeof(*mark), mark);
}

static uint8_t mode_number(enum ipsec_mode mode)
{
	return mode == MODE_TUNNEL ? XFRM_MODE_TUNNEL : XFRM_MODE_TRANSPORT;
}

static uint8_t flags_of(const struct child_sa *sa)
{
	return (uint8_t)((sa->mode == MODE_TUNNEL ? XFRM_STATE_AF_UNSPEC : 0) |
			 (sa->suite.esn ? XFRM_STATE_ESN : 0) |
			 (sa->decap_dscp ? XFRM_STATE_DECAP_DSCP : 0) |
			 (sa->no_pmtu_disc ? XFRM_STATE_NOPMTUDISC : 0));
}

/** A header and the fixed part. Copied: messages in a batch are not aligned for 64-bit numbers. */
static bool start(struct nlmsghdr *m, size_t room, uint16_t type, const void *fixed, size_t size)
{
	if (room < (size_t)MNL_NLMSG_HDRLEN + MNL_ALIGN(size))
		return false;
	mnl_nlmsg_put_header(m);
	m->nlmsg_type = type;
	memcpy(mnl_nlmsg_put_extra_header(m, size), fixed, size);
	return true;
}

bool xfrm_state_encode(struct nlmsghdr *m, size_t room, uint16_t type, const struct child_sa *sa,
		       enum sa_direction direction, const struct xfrm_progress *progress)
{
	struct xfrm_state_id id = xfrm_state_id_of(sa, direction);
	uint32_t window = window_of(sa);
	bool bitmap = sa->suite.esn || window > XFRM_REPLAY_LEGACY_MAX;
	uint32_t extra = sa->mode == MODE_TUNNEL && !sa->encap_dscp ? XFRM_SA_XFLAG_DONT_ENCAP_DSCP : 0;
	struct xfrm_usersa_info info = {
		.id = { .daddr = xfrm_address_put(&id.dst), .spi = htonl(id.spi), .proto = IPPROTO_ESP },
		.saddr = xfrm_address_put(&id.src),
		.lft = xfrm_state_limits(sa->max_bytes, sa->max_packets, id.spi),
		.reqid = sa->reqid,
		.family = id.dst.family,
		.mode = mode_number(sa->mode),
		.replay_window = bitmap ? 0 : (uint8_t)window,
		.flags = flags_of(sa),
	};

	if (sa->mode == MODE_TRANSPORT)
		put_selector(&info.sel, sa, &id, direction);
	return start(m, room, type, &info, sizeof(info)) &&
	       put_algorithms(m, room, &sa->suite, direction == SA_IN ? &sa->in : &sa->out) &&
	       (!bitmap || put_replay_esn(m, room, window, progress)) &&
	       (progress == NULL || put_progress(m, room, progress, bitmap)) &&
	       (!sa->path.udp_encap || put_encap(m, room, &sa->path, direction)) &&
	       (extra == 0 || mnl_attr_put_u32_check(m, room, XFRMA_SA_EXTRA_FLAGS, extra)) &&
	       put_mark(m, room, &id.mark) &&
	       (sa->tfc_pad == 0 || direction == SA_IN || sa->mode != MODE_TUNNEL ||
		mnl_attr_put_u32_check(m, room, XFRMA_TFCPAD, sa->tfc_pad));
}

bool xfrm_state_encode_id(struct nlmsghdr *m, size_t room, uint16_t type,
			  const struct xfrm_state_id *id)
{
	struct xfrm_usersa_id p = {
		.daddr = xfrm_address_put(&id->dst),
		.spi = htonl(id->spi),
		.family = id->dst.family,
		.proto = IPPROTO_ESP,
	};

	return start(m, room, type, &p, sizeof(p)) && put_mark(m, room, &id->mark);
}

bool xfrm_state_encode_alloc(struct nlmsghdr *m, size_t room, const struct ip_address *local,
			     const struct ip_address *remote, uint32_t reqid,
			     enum ipsec_mode mode, uint32_t min, uint32_t max)
{
	struct xfrm_userspi_info p = {
		.info = { .id = { .daddr = xfrm_address_put(local), .proto = IPPROTO_ESP },
			  .saddr = xfrm_address_put(remote),
			  .reqid = reqid,
			  .family = local->family,
			  .mode = mode_number(mode) },
		.min = min,
		.max = max,
	};

	return start(m, room, XFRM_MSG_ALLOCSPI, &p, sizeof(p));
}

bool xfrm_state_encode_dump(struct nlmsghdr *m, size_t room)
{
	/* in a dump the attributes stand first: there is no structure that names one state */
	if (!start(m, room, XFRM_MSG_GETSA, "", 0))
		return false;
	m->nlmsg_flags |= NLM_F_DUMP;
	return mnl_attr_put_u8_check(m, room, XFRMA_PROTO, IPPROTO_ESP);
}

/** The payload of `attr` if it has `fixed` bytes and, after them, `variable` bits of key. */
static bool has_key(const struct nlattr *attr, size_t fixed, unsigned bits)
{
	return mnl_attr_get_payload_len(attr) >= fixed + (bits + 7) / BITS_OF_BYTE;
}

static void decode_attribute(const struct nlattr *attr, struct xfrm_state_view *out)
{
	const void *p = mnl_attr_get_payload(attr);
	size_t len = mnl_attr_get_payload_len(attr);
	const struct xfrm_algo_aead *aead = p;
	const struct xfrm_algo_auth *auth = p;
	const struct xfrm_algo *encr = p;
	const struct xfrm_replay_state_esn *esn = p;

	switch (mnl_attr_get_type(attr)) {
	case XFRMA_ALG_AEAD:
		if (len >= sizeof(*aead) && has_key(attr, sizeof(*aead), aead->alg_key_len))
			out->aead = aead;
		break;
	case XFRMA_ALG_CRYPT:
		if (len >= sizeof(*encr) && has_key(attr, sizeof(*encr), encr->alg_key_len))
			out->encr = encr;
		break;
	case XFRMA_ALG_AUTH_TRUNC:
		if (len >= sizeof(*auth) && has_key(attr, sizeof(*auth), auth->alg_key_len))
			out->auth = auth;
		break;
	case XFRMA_ENCAP:
		if (len >= sizeof(*out->encap))
			out->encap = p;
		break;
	case XFRMA_REPLAY_ESN_VAL:
		if (len >= sizeof(*esn) && esn->bmp_len <= XFRM_REPLAY_WORDS &&
		    len >= sizeof(*esn) + esn->bmp_len * sizeof(uint32_t))
			out->esn = esn;
		break;
	case XFRMA_REPLAY_VAL:
		if (len >= sizeof(out->replay))
			memcpy(&out->replay, p, sizeof(out->replay));
		break;
	case XFRMA_LASTUSED:
		if (len >= sizeof(out->last_used_s))
			memcpy(&out->last_used_s, p, sizeof(out->last_used_s));
		break;
	case XFRMA_MARK:
		if (len >= sizeof(out->id.mark))
			memcpy(&out->id.mark, p, sizeof(out->id.mark));
		break;
	default:
		break;
	}
}

bool xfrm_state_decode(const struct nlmsghdr *m, struct xfrm_state_view *out)
{
	const struct nlattr *attr;

	memset(out, 0, sizeof(*out));
	if (mnl_nlmsg_get_payload_len(m) < sizeof(out->info))
		return false;
	memcpy(&out->info, mnl_nlmsg_get_payload(m), sizeof(out->info));
	if (out->info.id.proto != IPPROTO_ESP)
		return false;
	out->id.src = xfrm_address_get(&out->info.saddr, out->info.family);
	out->id.dst = xfrm_address_get(&out->info.id.daddr, out->info.family);
	out->id.spi = ntohl(out->info.id.spi);
	mnl_attr_for_each(attr, m, sizeof(out->info))
		decode_attribute(attr, out);
	return true;
}

void xfrm_state_progress(const struct xfrm_state_view *state, uint32_t skip,
			 struct xfrm_progress *out)
{
	const struct xfrm_replay_state_esn *e = state->esn;

	memset(out, 0, sizeof(*out));
	out->current = state->info.curlft;
	if (e != NULL) {
		out->seq = e->seq;
		out->seq_hi = e->seq_hi;
		out->oseq = e->oseq;
		out->oseq_hi = e->oseq_hi;
		out->words = e->bmp_len;
		memcpy(out->bitmap, e->bmp, e->bmp_len * sizeof(uint32_t));
	} else {
		out->seq = state->replay.seq;
		out->oseq = state->replay.oseq;
		out->words = 1;
		out->bitmap[0] = state->replay.bitmap;
	}
	if (skip == 0)
		return;
	bool wraps = out->oseq > UINT32_MAX - skip;

	if (wraps && (state->info.flags & XFRM_STATE_ESN) == 0) {
		out->oseq = UINT32_MAX; /* the SA is at its end: better none than a number twice */
	} else {
		out->oseq += skip;
		out->oseq_hi += wraps;
	}
}
