/*
 * The workers: threads, one a core, each of which owns its SAs and runs each batch of packets to
 * completion.
 *
 *   TUN queue -> outbound.c -> protect.c -> wire_send.c (UDP, raw ESP)      clear to protected
 *   wire.c -> inbound.c -> gro.c -> TUN queue                               protected to clear
 *   wire_errors.c                                   what ICMP says about protected packets
 *   handover.c                                      to the worker that owns the packet's SA
 *
 * No heap, no lock, no wait on the daemon's thread while there is a packet. What
 * the daemon's thread changes it publishes as one pointer; worker_quiesce() returns
 * when the worker cannot use the old one any more. What a worker has to say goes
 * into rings that process() empties.
 */
#ifndef ESP_WORKER_H
#define ESP_WORKER_H

#include <linux/virtio_net.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/esp_aead.h"
#include "esp/counters.h"
#include "esp/gro.h"
#include "esp/headers.h"
#include "esp/policy.h"
#include "esp/ring.h"
#include "esp/sa_table.h"

enum {
	WORKERS_MAX = 1 << SPI_WORKER_BITS,
	IP_BYTES_MAX = 65535,
	PACKET_MAX = 9216,     /* single packets of TUN: its MTU stays below */
	SLOT_HEADROOM = 128,   /* outer IP, UDP, ESP header and IV */
	SLOT_TAIL = 384,       /* padding, trailer, ICV */
	SLOT_BYTES = SLOT_HEADROOM + PACKET_MAX + SLOT_TAIL,
	OUT_BATCH = 256,       /* ESP packets that are sealed and sent together */
	OUT_MESSAGES = 64,     /* of one sendmmsg */
	ARENA_BYTES = 256 << 10, /* packets of TUN */
	ARENA_READ = SLOT_HEADROOM + IP_BYTES_MAX + SLOT_TAIL, /* room that a read needs */
	SEALED_BYTES = 160 << 10, /* ESP packets made of super-packets */
	RECV_BATCH = 64,       /* datagrams of one recvmmsg */
	RECV_BATCH_UDP = 8,    /* where each may be many packets */
	RECV_HEADROOM = 64,    /* for the header that transport mode rebuilds */
	RECV_BYTES = 65536,
	/* not a multiple of the caches' ways: what stands at the same place of every buffer would collide */
	RECV_STRIDE = RECV_HEADROOM + RECV_BYTES + 1472,
	IN_BATCH = 128,        /* ESP packets that are opened together */
	KEYS_AHEAD = 8,        /* keys are asked for at least so many packets before their turn, as many at a time */
	UDP_SOCKETS_MAX = 64,
	HELD_MAX = 64,         /* packets that wait for an SA */
	HELD_PER_POLICY = 8,
	FLOW_CACHE = 1 << 19,  /* a power of two; memory comes with use */
	FLOW_WAYS = 4,         /* entries that one flow may stand in */
	RANDOM_POOL = 4096,
};
#define HELD_US (2 * UINT64_C(1000000))
#define ACQUIRE_US UINT64_C(1000000)

/**
 * A worker's socket for one of our UDP addresses. The daemon's, beside which it is bound, sends IKE by the
 * kernel's path MTU; ESP goes by its own (wire_errors.c).
 */
struct udp_slot {
	_Atomic int fd;            /* -1: closed */
	_Atomic int daemon_fd;     /* what worker 0 reads besides; -1 with the others */
	struct ip_endpoint local;
	bool own;                  /* of this worker; else the daemon's */
	bool fragments;            /* worker's: what `fd` is set to at the moment */
	uint64_t segments_from_us; /* worker's: before this the device refuses UDP_SEGMENT */
};

/** The families of native ESP: what a raw socket is for. */
enum raw_family { RAW_V4, RAW_V6, RAW_FAMILIES, RAW_NONE = RAW_FAMILIES };

enum worker_event_kind {
	EVENT_ACQUIRE,
	EVENT_EXPIRE,
	EVENT_FIRST_PACKET,
	EVENT_PEER_MOVED,
	EVENT_DEVICE_GONE,
	EVENT_PATH_MTU, /* spi 0: EMSGSIZE of child_id; else an ICMP error about this SPI */
};

/** What the worker tells; which members count depends on `kind`. */
struct worker_event {
	enum worker_event_kind kind;
	uint32_t child_id, reqid, spi, mtu;
	enum sa_direction direction;
	bool hard;
	struct ip_endpoint endpoint;
	struct traffic_selector local, remote;
};

/** A record of the ring of IKE datagrams; the marker is taken off. */
struct ike_record {
	struct ip_endpoint local, remote;
	uint8_t data[];
};

/** A datagram with ESP in it. */
struct in_packet {
	uint8_t *esp;
	size_t len;
	struct ip_endpoint src;
	struct ip_address dst;
	uint8_t tos;
	bool udp;
	struct sa_in *sa;
	uint64_t seq;
};

/** A packet on its way out; `wire` has the outer header on IPv4 raw sockets. */
struct out_packet {
	struct sa_out *sa;
	const struct sa_path *path;
	uint8_t *wire;
	size_t len;
	uint8_t tos;
	bool fragments; /* it may be fragmented, on the way too */
	bool too_large; /* for the path: it has to be */
};

struct flow_key {
	uint8_t src[16], dst[16];
	uint16_t sport, dport;
	uint8_t family, protocol, ports_known, zero;
};

/** A flow whose SA is known, in a cache line. */
struct flow_entry {
	struct flow_key key;
	uint64_t epoch; /* 0: empty */
	struct sa_out *sa;
	uint64_t unused;
};

/** A packet of TUN on its way to an SA. */
struct taken_packet {
	struct sa_out *sa;
	struct flow_entry *ways; /* where its flow may be known */
	const struct policy_entry *entry;
	uint8_t *packet;
	struct flow flow;
	struct flow_key key;
};

struct held_packet {
	uint64_t since_us; /* 0: free */
	uint32_t reqid;
	size_t len;
	uint8_t packet[PACKET_MAX];
};

/** What the kernel does for us here; found out at start. */
struct esp_features {
	bool tun_tso, tun_uso;         /* super-packets of TCP and of UDP on the device */
	bool udp_segment, udp_gro;     /* and on UDP sockets */
	unsigned udp_segments_max;     /* packets of one super-packet */
	bool route_mtu;                /* what is forwarded has the MTU of its route, not of the device */
};

struct esp_worker {
	pthread_t thread;
	bool started;
	unsigned index;
	int epoll_fd, tun_fd;
	bool raw6_fragments; /* what the raw socket of IPv6 is set to at the moment */
	int kick_fd;  /* to the worker: look at what changed, or was handed over */
	int event_fd; /* to the daemon's thread: a ring has something; shared by the workers */
	const struct esp_features *features;
	struct esp_worker *const *all; /* all workers by index, this one among them */
	unsigned count;

	/* published by the daemon's thread */
	_Atomic bool stop;
	_Atomic(const struct policy_list *) policies;
	_Atomic uint64_t epoch; /* of policies and SAs; from 1 */
	struct sa_table *sas;
	_Atomic int raw_fd[RAW_FAMILIES]; /* native ESP; -1: none (esp_raw.c) */
	struct udp_slot udp[UDP_SOCKETS_MAX];

	/* published by the worker */
	_Atomic uint64_t quiet; /* even: holds no pointer; odd: in a batch */
	counter_t drops[ESP_DROP_COUNT];
	counter_t in_packets, out_packets, in_bytes, out_bytes;
	counter_t tun_reads, tun_writes, wire_receives, wire_sends; /* system calls that moved something */
	counter_t handed_over;
	struct ring events, ike;
	struct ring *strangers; /* by the worker that fills it: packets of SAs that are ours */

	/* the worker's own */
	uint64_t now_us, batch_epoch;
	const struct policy_list *batch_policies;
	bool events_pending;
	uint64_t to_kick; /* bit i: worker i has something from us */
	uint64_t mtu_told_us, stalled_us; /* stalled: in that turn a socket had no room for long */
	size_t held_count;
	struct flow_entry *flows;   /* FLOW_CACHE */
	struct held_packet *held;   /* HELD_MAX */
	uint8_t *arena, *sealed;    /* ARENA_BYTES, SEALED_BYTES */
	size_t arena_used, sealed_used;
	uint8_t *recv_buf;          /* RECV_BATCH buffers */
	size_t made; /* ESP packets in this turn */
	bool lone;   /* TUN had one packet at most in its last turn */
	size_t taken_count, out_count, run_count, run_bytes; /* run: what can go in one message at the end of `out` */
	struct taken_packet taken[OUT_BATCH];
	struct out_packet out[OUT_BATCH];
	struct esp_packet_job jobs[OUT_BATCH]; /* of `out`; `ok`: sealed already */
	struct gro gro;
	uint64_t flushes; /* of `gro`; from 1 */
	uint8_t random[RANDOM_POOL];
	size_t random_left;
};

static inline void worker_drop(struct esp_worker *w, enum esp_drop why)
{
	counter_add(&w->drops[why], 1);
}

/* --- worker.c: for the daemon's thread ---------------------------------------------------- */

/** Memory, rings and descriptors but no sockets and no thread. False with errno. */
bool worker_init(struct esp_worker *w, unsigned index, int tun_fd, struct sa_table *sas);
/** One of `count` workers at `all`; that and `features` outlive it. Before worker_start(). False without memory. */
bool worker_join(struct esp_worker *w, struct esp_worker *const *all, unsigned count,
		 const struct esp_features *features);
/** Start the thread. False with errno. */
bool worker_start(struct esp_worker *w);
/** Stop the thread; what it holds is still there. */
void worker_stop(struct esp_worker *w);
/** Stop the thread and free everything but the SAs and policies; closes the sockets of its own. */
void worker_close(struct esp_worker *w);
/** Returns when nothing that was unpublished before the call is in use any more. */
void worker_quiesce(struct esp_worker *w);
/** Watch the UDP sockets of `slot`, whose members are set. False with errno. */
bool worker_watch_udp(struct esp_worker *w, size_t slot);
/** Watch the raw socket of `family`. False with errno. */
bool worker_watch_raw(struct esp_worker *w, enum raw_family family);
/** Watch the TUN device (again, after EVENT_DEVICE_GONE). False with errno. */
bool worker_watch_tun(struct esp_worker *w);
/** SAs or policies changed: forget cached flows, look at the packets that wait. */
void worker_changed(struct esp_worker *w);

/* --- worker.c: for the worker ------------------------------------------------------------ */

/** Tell the daemon's thread; false (and counted) when its queue is full. */
bool worker_tell(struct esp_worker *w, const struct worker_event *e);
/** Events of an SA's limits, once each. True when the hard one is reached. */
bool worker_limits_near(struct esp_worker *w, struct sa_common *c, enum sa_direction direction);
static inline bool worker_limits(struct esp_worker *w, struct sa_common *c, enum sa_direction direction)
{
	if (counter_get(&c->packets) < c->limits.soft_packets && counter_get(&c->bytes) < c->limits.soft_bytes)
		return false; /* as nearly always */
	return worker_limits_near(w, c, direction);
}
/** TUN is no device any more: no longer watched, and the daemon's thread is told. */
void worker_device_gone(struct esp_worker *w);
/** `len` unpredictable bytes (RFC 3602 §2: the IV of CBC). */
void worker_random(struct esp_worker *w, uint8_t *out, size_t len);

/* --- outbound.c -------------------------------------------------------------------------- */

/** Read TUN until it is empty or some batches are done. */
void outbound_ready(struct esp_worker *w);
/** Send what waited and has an SA now; drop what waited too long. */
void outbound_release(struct esp_worker *w);
/** Room for one more packet in the arena (SLOT_HEADROOM bytes in front, SLOT_TAIL behind). */
uint8_t *outbound_room(struct esp_worker *w);
/** Take the packet or super-packet of `len` bytes at outbound_room(); goes out at the latest by outbound_flush(). */
void outbound_take(struct esp_worker *w, const struct virtio_net_hdr *vnet, size_t len);
/** Seal and send what was taken. */
void outbound_flush(struct esp_worker *w);

/* --- protect.c --------------------------------------------------------------------------- */

/**
 * Build the ESP packet of `sa` around `packet`: trailer, IV, header, outer IPv4 header on a raw
 * socket; all but the encryption, which `job` describes. Returns false with the reason in `why`.
 */
bool protect_wrap(struct esp_worker *w, struct sa_out *sa, uint8_t *packet, const struct flow *f,
		  struct out_packet *out, struct esp_packet_job *job, enum esp_drop *why);
/** Wrap the packet, to be sealed and sent at the latest by protect_flush(); it is changed, and stays until then. */
void protect_packet(struct esp_worker *w, struct sa_out *sa, uint8_t *packet, const struct flow *f);
/** Seal and send all. */
void protect_flush(struct esp_worker *w);
/** Cut the super-packet of `len` bytes at `packet`, a packet of `f`, into ESP packets of `sa`, sealed. */
void protect_super(struct esp_worker *w, struct sa_out *sa, const struct virtio_net_hdr *vnet,
		   uint8_t *packet, const struct flow *f);

/* --- inbound.c --------------------------------------------------------------------------- */

/** What the device takes is known (features). */
void inbound_init(struct esp_worker *w);
/** Open `n` ESP packets (IN_BATCH at most); what they carry reaches TUN by inbound_flush(). */
void inbound_batch(struct esp_worker *w, struct in_packet *packets, size_t n);
/** Write what was coalesced; from then on the packets' memory is free. */
void inbound_flush(struct esp_worker *w);
/**
 * From decrypted text to the inner packet: padding, next header, ECN, selectors. RFC 4303
 * §3.4.4.1, RFC 4301 §5.2. May write in front of `text` (transport mode's header). False with
 * the reason in `why`. `payload` is what counts for the SA's limits.
 */
bool inbound_unwrap(const struct sa_in *sa, const struct in_packet *p, uint8_t *text, size_t len,
		    uint8_t **inner, size_t *inner_len, enum esp_drop *why);

/* --- handover.c -------------------------------------------------------------------------- */

/** A packet of TUN whose SA worker `to` owns. */
void handover_clear(struct esp_worker *w, unsigned to, const struct virtio_net_hdr *vnet,
		    const uint8_t *packet, size_t len);
/** A datagram with ESP whose SA worker `to` owns. */
void handover_esp(struct esp_worker *w, unsigned to, const struct in_packet *p);
/** Wake those who got something. */
void handover_kick(struct esp_worker *w);
/** Work off what others handed over. */
void handover_take(struct esp_worker *w);

/* --- wire.c ------------------------------------------------------------------------------ */

/** Take out of `features` what UDP sockets have not here, and learn the rest. */
void wire_probe(struct esp_features *features);
/**
 * A raw socket for native ESP of `family`, which gets what comes from now on for the workers that SPIs name:
 * bit i of `owners`, worker i. -1 with errno.
 */
int wire_raw_open(enum raw_family family, uint64_t owners);
/** It gets what comes for `owners` from now on. False with errno. */
bool wire_raw_filter(int fd, enum raw_family family, uint64_t owners);
/** Set what ESP needs on a UDP socket. False with errno. */
bool wire_udp_prepare(int fd, const struct ip_endpoint *local, const struct esp_features *features);
/** The daemon reads the socket itself after all: it gets its datagrams one by one again. */
void wire_udp_release(int fd);
/** A socket of a worker's own beside the daemon's, bound to the same address; -1 with errno. */
int wire_udp_beside(const struct ip_endpoint *local, const struct esp_features *features);
/** Let the kernel choose among the sockets bound to `fd`'s address by the SPI's worker: the daemon's, then theirs. */
bool wire_udp_steer(int fd, unsigned workers);
/** `error`: its error queue has something. */
void wire_raw4_ready(struct esp_worker *w, bool error);
void wire_raw6_ready(struct esp_worker *w, bool error);
/** `daemons`: the daemon's socket, not the worker's own. */
void wire_udp_ready(struct esp_worker *w, size_t slot, bool daemons, bool error);

/* --- wire_errors.c ----------------------------------------------------------------------- */

/** ICMP errors about what `fd` sent are queued for wire_read_errors(). False with errno. */
bool wire_want_errors(int fd, int family);
/** Packets leave `fd` as they are, whatever the kernel has learned of the path. False with errno. */
bool wire_send_whole(int fd, int family);
/** Packets of `fd` may be fragmented, where the path needs it. False with errno. */
bool wire_send_fragments(int fd, int family);
/** Tell of the path MTUs in the error queue of `fd`, some a turn. `with_header`: of a socket with IP_HDRINCL. */
void wire_read_errors(struct esp_worker *w, int fd, bool with_header);

/* --- wire_send.c ------------------------------------------------------------------------- */

/** Whether `p` can follow `last` in one message, which begins with `first` and has `count` packets and `bytes` bytes. */
bool wire_joins(const struct esp_worker *w, const struct out_packet *first, const struct out_packet *last,
		const struct out_packet *p, size_t count, size_t bytes);
/** No other packet could follow `p` in its message of `count` packets and `bytes` bytes. */
bool wire_full(const struct esp_worker *w, const struct out_packet *p, size_t count, size_t bytes);
/** Send sealed packets in order, OUT_BATCH at most. */
void wire_send(struct esp_worker *w, const struct out_packet *packets, size_t n);

#endif
