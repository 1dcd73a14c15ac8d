/*
 * SAs as the worker sees them, and the table of inbound SPIs.
 *
 * SPI layout: 8 bits generation (never 0, random), 6 bits worker, 18 bits index:
 * lookup is an array access and a comparison of the whole SPI. Values up to 255 are
 * reserved (RFC 4303 §2.1) and never come about.
 *
 * The daemon's thread makes and frees these; between, all but the atomic
 * members belong to the worker. Freeing waits until the worker cannot hold one any more
 * (worker_quiesce()).
 *
 * All that a packet touches of an SA is one block of secret memory: the structure with its path or its
 * replay window, the cipher's context, the selectors. With many tunnels it is not in the cache, nor is its
 * page in the TLB, and then lines that lie together cost little more than one of them.
 */
#ifndef ESP_SA_TABLE_H
#define ESP_SA_TABLE_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/prefetch.h"
#include "crypto/esp_aead.h"
#include "esp/counters.h"
#include "esp/replay.h"
#include "sa/child_sa.h"

enum { SPI_INDEX_BITS = 18, SPI_WORKER_BITS = 6, SA_SLOTS = 1 << SPI_INDEX_BITS };
#define SPI_INDEX(spi) ((spi) & (SA_SLOTS - 1))
#define SPI_WORKER(spi) ((spi) >> SPI_INDEX_BITS & ((1 << SPI_WORKER_BITS) - 1))

/** Limits of an SA; UINT64_MAX: none. */
struct sa_limits {
	uint64_t soft_packets, hard_packets, soft_bytes, hard_bytes;
};

/** What both directions have. Counters are of inner packets. */
struct sa_common {
	uint32_t spi, reqid, child_id;
	bool transport, esn;
	uint8_t iv_bytes, icv_bytes, align; /* align: of the text to encrypt */
	bool random_iv;                     /* CBC; else the IV is a counter */
	uint16_t cipher_bytes;
	struct esp_cipher *cipher;                     /* like all that follows it: in the same block */
	struct sa_limits limits;
	bool soft_told, hard_told;          /* worker's */
	counter_t packets, bytes, last_us;  /* last_us: 0 never */
	size_t local_count, remote_count;
	const struct traffic_selector *local, *remote;
};

struct sa_in {
	struct sa_common c;
	unsigned worker;               /* that owns it: as its SPI says */
	struct replay_window *replay;  /* worker's */
	bool replay_check;             /* no: the window only infers ESN's high half */
	bool decap_dscp;
	bool first_told;               /* worker's */
	uint64_t delivered;            /* worker's: flushes of its GRO when a packet of this one came there last; 0: never */
	_Atomic bool udp_encap;
	struct ip_endpoint peer;       /* worker's: from where the newest packet came */
	counter_t replay_dropped, integrity_failed, top;
};

/** Where an outbound SA's packets go; replaced as a whole. */
struct sa_path {
	struct ip_endpoint local, remote;
	bool udp_encap;
	uint8_t socket; /* index of the UDP socket, with udp_encap */
	socklen_t to_len;
	union {
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} to;
};

struct sa_out {
	struct sa_common c;
	unsigned worker;     /* that owns it: the inbound SA's of the pair */
	uint16_t resource;   /* RFC 9611; 0: for all traffic */
	uint64_t seq;        /* worker's: of the last packet */
	bool encap_dscp, no_pmtu_disc;
	uint32_t tfc_pad;
	_Atomic uint32_t path_mtu;  /* what the way to the peer takes in one piece, 0: not known */
	_Atomic uint32_t inner_mtu; /* the largest inner packet that fits on its path */
	_Atomic(const struct sa_path *) path; /* one of `paths`; NULL before sa_out_set_path() */
	counter_t seq_shown;
	struct sa_path paths[2];
};

/** Outer header, ESP, IV, worst padding, trailer and ICV of `c` on a path of `family`. */
size_t sa_overhead(const struct sa_common *c, const struct sa_path *path);
/** The largest inner packet that fits in `path_mtu` bytes. */
size_t sa_inner_mtu(const struct sa_common *c, const struct sa_path *path, size_t path_mtu);

/** NULL with a sentence when there is no provider for the suite or no memory. */
struct sa_in *sa_in_new(const struct child_sa *sa, const char **why);
void sa_in_free(struct sa_in *sa);
struct sa_out *sa_out_new(const struct child_sa *sa, const char **why);
void sa_out_free(struct sa_out *sa);
struct sa_path sa_path_make(const struct esp_path *path, uint8_t socket);
/** Send by a copy of `path` from now on; worker_quiesce() has to come between this call and the next. */
void sa_out_set_path(struct sa_out *sa, const struct sa_path *path);

/** Inbound SAs by index; the worker reads, the daemon's thread writes. */
struct sa_table {
	_Atomic(struct sa_in *) *slots; /* SA_SLOTS, memory comes with use */
	uint8_t *generation;            /* last one given out; 0: never */
	uint64_t *taken;                /* bitmap: SPI given out or in use */
	size_t next, used;
};

bool sa_table_init(struct sa_table *t);
void sa_table_free(struct sa_table *t);
/** A fresh SPI, 0 when all are taken. */
uint32_t sa_table_alloc(struct sa_table *t, unsigned worker);
/** Take an SPI that was chosen elsewhere (tests); false if its index is taken. */
bool sa_table_claim(struct sa_table *t, uint32_t spi);
/** Give an SPI back that no SA uses. */
void sa_table_release(struct sa_table *t, uint32_t spi);
bool sa_table_taken(const struct sa_table *t, uint32_t spi);

static inline void sa_table_put(struct sa_table *t, uint32_t spi, struct sa_in *sa)
{
	atomic_store_explicit(&t->slots[SPI_INDEX(spi)], sa, memory_order_seq_cst);
}

/** The SA of `spi`, NULL if there is none. */
static inline struct sa_in *sa_table_get(const struct sa_table *t, uint32_t spi)
{
	struct sa_in *sa = atomic_load_explicit(&t->slots[SPI_INDEX(spi)], memory_order_acquire);

	return sa && sa->c.spi == spi ? sa : NULL;
}

enum { SA_HEAD_BYTES = 256 }; /* what a packet touches in front of the cipher's context */
_Static_assert(sizeof(struct sa_in) + sizeof(struct replay_window) + 4 * sizeof(uint64_t) <= SA_HEAD_BYTES,
	       "with a window of 128 packets");
_Static_assert(offsetof(struct sa_out, paths[1]) <= SA_HEAD_BYTES, "with the path that it had from the start");

/** Three steps of sa_table_get() for those who have other things to do in between: the slot, */
static inline void sa_table_prefetch(const struct sa_table *t, uint32_t spi)
{
	prefetch_lines((const void *)&t->slots[SPI_INDEX(spi)], sizeof(*t->slots));
}

/** the SA, whose SPI is still to be compared (NULL: there is none), */
static inline struct sa_in *sa_table_get_soon(const struct sa_table *t, uint32_t spi)
{
	struct sa_in *sa = atomic_load_explicit(&t->slots[SPI_INDEX(spi)], memory_order_acquire);

	if (sa)
		prefetch_lines(sa, SA_HEAD_BYTES);
	return sa;
}

static inline void sa_cipher_prefetch(const struct sa_common *c)
{
	esp_cipher_prefetch(c->cipher, c->cipher_bytes);
}

/** and the rest of its block. */
static inline void sa_in_prefetch(const struct sa_in *sa)
{
	sa_cipher_prefetch(&sa->c);
	prefetch_lines(sa->c.local, 2 * sizeof(*sa->c.local));
}

static inline void sa_out_prefetch(const struct sa_out *sa)
{
	prefetch_lines(sa, SA_HEAD_BYTES);
}

#endif
