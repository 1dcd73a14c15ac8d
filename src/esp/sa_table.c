#include "esp/sa_table.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/secret.h"
#include "esp/headers.h"

/* --- SPIs ------------------------------------------------------------------------------- */

bool sa_table_init(struct sa_table *t)
{
	uint32_t start = 0;

	memset(t, 0, sizeof(*t));
	t->slots = calloc(SA_SLOTS, sizeof(*t->slots));
	t->generation = calloc(SA_SLOTS, 1);
	t->taken = calloc(SA_SLOTS / 64, sizeof(uint64_t));
	/* a peer may still have an outbound SA to a predecessor's SPI, and could not add another like it */
	if (getrandom(&start, sizeof(start), 0) == (ssize_t)sizeof(start))
		t->next = SPI_INDEX(start);
	return t->slots && t->generation && t->taken;
}

void sa_table_free(struct sa_table *t)
{
	free(t->slots);
	free(t->generation);
	free(t->taken);
	memset(t, 0, sizeof(*t));
}

static bool taken(const struct sa_table *t, size_t index)
{
	return t->taken[index / 64] >> (index % 64) & 1;
}

static void take(struct sa_table *t, uint32_t spi)
{
	size_t i = SPI_INDEX(spi);

	t->taken[i / 64] |= UINT64_C(1) << (i % 64);
	t->generation[i] = (uint8_t)(spi >> 24);
	t->used++;
}

uint32_t sa_table_alloc(struct sa_table *t, unsigned worker)
{
	uint8_t gen = 0;
	size_t i;

	if (t->used >= SA_SLOTS)
		return 0;
	while (taken(t, t->next))
		t->next = (t->next + 1) % SA_SLOTS;
	i = t->next;
	t->next = (t->next + 1) % SA_SLOTS;
	/* random, so that what belongs to a predecessor's SA hits none of ours */
	if (getrandom(&gen, 1, 0) != 1)
		gen = (uint8_t)(t->generation[i] + 1);
	while (gen == 0 || gen == t->generation[i])
		gen++;
	take(t, (uint32_t)gen << 24 | (uint32_t)worker << SPI_INDEX_BITS | (uint32_t)i);
	return (uint32_t)gen << 24 | (uint32_t)worker << SPI_INDEX_BITS | (uint32_t)i;
}

bool sa_table_taken(const struct sa_table *t, uint32_t spi)
{
	return taken(t, SPI_INDEX(spi)) && t->generation[SPI_INDEX(spi)] == spi >> 24;
}

bool sa_table_claim(struct sa_table *t, uint32_t spi)
{
	if (spi < 256 || taken(t, SPI_INDEX(spi)))
		return false;
	take(t, spi);
	return true;
}

void sa_table_release(struct sa_table *t, uint32_t spi)
{
	size_t i = SPI_INDEX(spi);

	if (!sa_table_taken(t, spi) || atomic_load(&t->slots[i]))
		return;
	t->taken[i / 64] &= ~(UINT64_C(1) << (i % 64));
	t->used--;
}

/* --- SAs -------------------------------------------------------------------------------- */

size_t sa_overhead(const struct sa_common *c, const struct sa_path *path)
{
	size_t outer = path->local.address.family == AF_INET6 ? IPV6_HEADER : IPV4_HEADER;

	return outer + (path->udp_encap ? UDP_HEADER : 0) + ESP_HEADER + c->iv_bytes +
	       c->icv_bytes;
}

size_t sa_inner_mtu(const struct sa_common *c, const struct sa_path *path, size_t path_mtu)
{
	size_t overhead = sa_overhead(c, path), text;

	if (path_mtu < overhead + 2 * (size_t)c->align)
		return 0;
	text = (path_mtu - overhead) / c->align * c->align - 2;
	if (c->transport) /* the inner IP header does not go along */
		text += path->local.address.family == AF_INET6 ? IPV6_HEADER : IPV4_HEADER;
	return text;
}

/* Soft limits at seven eighths, less up to a sixteenth so that peers do not rekey in step. */
static uint64_t soft_limit(uint64_t hard)
{
	uint16_t fuzz = 0;

	if (hard == UINT64_MAX)
		return hard;
	if (getrandom(&fuzz, sizeof(fuzz), 0) != (ssize_t)sizeof(fuzz))
		fuzz = 0;
	return hard - hard / 8 - (hard / 16 >> 16) * fuzz - ((hard / 16 & 0xffff) * fuzz >> 16);
}

/* Where the parts of an SA's block lie. */
struct parts {
	size_t cipher, replay, selectors, bytes;
};

static size_t rounded(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

/* `size`: of the structure in front; `window`: bytes of the replay window. The cipher's context is aligned for it. */
static struct parts parts_of(size_t size, const struct child_sa *sa, size_t window)
{
	struct parts p;

	p.replay = rounded(size, _Alignof(struct replay_window));
	p.cipher = rounded(p.replay + window, SECRET_ALIGN);
	p.selectors = rounded(p.cipher + esp_cipher_bytes(&sa->suite), _Alignof(struct traffic_selector));
	p.bytes = p.selectors + (sa->local_ts.count + sa->remote_ts.count) * sizeof(struct traffic_selector);
	return p;
}

static void put_selectors(struct sa_common *c, struct traffic_selector *ts, const struct child_sa *sa)
{
	c->local = ts;
	c->local_count = sa->local_ts.count;
	c->remote = ts + c->local_count;
	c->remote_count = sa->remote_ts.count;
	memcpy(ts, sa->local_ts.ts, c->local_count * sizeof(*ts));
	memcpy(ts + c->local_count, sa->remote_ts.ts, c->remote_count * sizeof(*ts));
}

static void put_limits(struct sa_common *c, const struct child_sa *sa)
{
	c->limits.hard_packets = sa->max_packets ? sa->max_packets : UINT64_MAX;
	c->limits.hard_bytes = sa->max_bytes ? sa->max_bytes : UINT64_MAX;
	/* RFC 4303 §3.3.3: the counter must not cycle */
	if (!c->esn && c->limits.hard_packets > UINT32_MAX)
		c->limits.hard_packets = UINT32_MAX;
	c->limits.soft_packets = soft_limit(c->limits.hard_packets);
	c->limits.soft_bytes = soft_limit(c->limits.hard_bytes);
}

static void *common_new(const struct parts *p, const struct child_sa *sa, bool inbound, const char **why)
{
	const struct cipher_suite *suite = &sa->suite;
	const struct esp_half *half = inbound ? &sa->in : &sa->out;
	uint8_t *block;
	struct sa_common *c;

	*why = "the SA has no encryption algorithm";
	if (!suite->encr || sa->local_ts.count > TS_LIST_MAX || sa->remote_ts.count > TS_LIST_MAX)
		return NULL;
	*why = "out of memory";
	block = secret_alloc(p->bytes);
	if (!block)
		return NULL;
	c = (struct sa_common *)(void *)block;
	put_selectors(c, (struct traffic_selector *)(void *)(block + p->selectors), sa);
	c->spi = half->spi;
	c->reqid = sa->reqid;
	c->child_id = sa->id;
	c->transport = sa->mode == MODE_TRANSPORT;
	c->esn = suite->esn;
	c->iv_bytes = suite->encr->iv_bytes;
	c->icv_bytes = suite->encr->aead ? suite->encr->icv_bytes :
		       suite->integ	 ? suite->integ->icv_bytes :
					   0;
	/* RFC 4303 §2.4: the trailer ends on a multiple of 4 whatever the cipher */
	c->align = suite->encr->aead || suite->encr->block_bytes < 4 ? 4 : suite->encr->block_bytes;
	c->random_iv = !suite->encr->aead;
	put_limits(c, sa);
	*why = "no provider has its algorithms, or its keys have the wrong length";
	c->cipher_bytes = (uint16_t)(p->selectors - p->cipher);
	c->cipher = esp_cipher_init(block + p->cipher, suite, key_bytes(&half->encr_key),
				    key_bytes(&half->integ_key), inbound);
	if (!c->cipher) {
		secret_free(block);
		return NULL;
	}
	return block;
}

struct sa_in *sa_in_new(const struct child_sa *sa, const char **why)
{
	struct parts p = parts_of(sizeof(struct sa_in), sa, replay_window_bytes(sa->replay_window));
	struct sa_in *in = common_new(&p, sa, true, why);

	if (!in)
		return NULL;
	in->worker = SPI_WORKER(sa->in.spi);
	in->replay_check = sa->replay_window != 0;
	in->decap_dscp = sa->decap_dscp;
	in->udp_encap = sa->path.udp_encap;
	in->peer = sa->path.remote;
	in->replay = (struct replay_window *)(void *)((uint8_t *)in + p.replay);
	replay_window_init(in->replay, sa->replay_window);
	return in;
}

void sa_in_free(struct sa_in *sa)
{
	if (!sa)
		return;
	esp_cipher_release(sa->c.cipher);
	secret_free(sa);
}

struct sa_out *sa_out_new(const struct child_sa *sa, const char **why)
{
	struct parts p = parts_of(sizeof(struct sa_out), sa, 0);
	struct sa_out *out = common_new(&p, sa, false, why);

	if (!out)
		return NULL;
	out->worker = SPI_WORKER(sa->in.spi);
	out->resource = sa->resource;
	out->encap_dscp = sa->encap_dscp;
	out->no_pmtu_disc = sa->no_pmtu_disc;
	out->tfc_pad = sa->tfc_pad;
	return out;
}

void sa_out_free(struct sa_out *sa)
{
	if (!sa)
		return;
	esp_cipher_release(sa->c.cipher);
	secret_free(sa);
}

struct sa_path sa_path_make(const struct esp_path *path, uint8_t socket)
{
	struct sa_path p = { .local = path->local, .remote = path->remote, .udp_encap = path->udp_encap, .socket = socket };
	struct ip_endpoint to = path->remote;
	struct sockaddr_storage ss;

	if (!path->udp_encap)
		to.port = 0; /* a raw socket takes a port for a protocol */
	p.to_len = ip_endpoint_to_sockaddr(&to, &ss);
	memcpy(&p.to, &ss, p.to_len);
	return p;
}

void sa_out_set_path(struct sa_out *sa, const struct sa_path *path)
{
	struct sa_path *unused = &sa->paths[atomic_load(&sa->path) == &sa->paths[0]];

	*unused = *path;
	atomic_store(&sa->path, unused);
}
