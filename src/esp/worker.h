/*
 * The worker: one thread that owns its SAs and runs each batch of packets to completion.
 *
 *   TUN -> outbound.c -> wire.c (raw ESP, UDP)      clear to protected
 *   wire.c -> inbound.c -> TUN                      protected to clear
 *
 * No heap, no lock, no wait on the daemon's thread while there is a packet. What
 * the daemon's thread changes it publishes as one pointer; worker_quiesce() returns
 * when the worker cannot use the old one any more. What the worker has to say goes
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
#include "esp/headers.h"
#include "esp/policy.h"
#include "esp/ring.h"
#include "esp/sa_table.h"

enum {
	ESP_BATCH = 64,        /* packets from TUN, and one sendmmsg */
	RECV_BATCH = 32,       /* datagrams of one recvmmsg */
	RECV_HEADROOM = 64,    /* for the header that transport mode rebuilds */
	RECV_BYTES = 65536,
	SLOT_HEADROOM = 128,   /* outer IP, UDP, ESP header and IV */
	PACKET_MAX = 9216,     /* from TUN: its MTU stays below */
	SLOT_TAIL = 384,       /* padding, trailer, ICV */
	SLOT_BYTES = SLOT_HEADROOM + PACKET_MAX + SLOT_TAIL,
	UDP_SOCKETS_MAX = 64,
	HELD_MAX = 64,         /* packets that wait for an SA */
	HELD_PER_POLICY = 8,
	FLOW_CACHE = 1024,     /* a power of two */
	RANDOM_POOL = 4096,
};
#define HELD_US (2 * UINT64_C(1000000))
#define ACQUIRE_US UINT64_C(1000000)

struct udp_slot {
	_Atomic int fd;            /* -1: closed */
	struct ip_endpoint local;
};

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
};

struct flow_key {
	uint8_t src[16], dst[16];
	uint16_t sport, dport;
	uint8_t family, protocol, ports_known, zero;
};

struct flow_entry {
	struct flow_key key;
	uint64_t epoch; /* 0: empty */
	struct sa_out *sa;
};

struct held_packet {
	uint64_t since_us; /* 0: free */
	uint32_t reqid;
	size_t len;
	uint8_t packet[PACKET_MAX];
};

struct esp_worker {
	pthread_t thread;
	bool started;
	unsigned index;
	int epoll_fd, tun_fd, raw4_fd, raw6_fd;
	int kick_fd;  /* to the worker: look at what changed */
	int event_fd; /* to the daemon's thread: a ring has something */

	/* published by the daemon's thread */
	_Atomic bool stop;
	_Atomic(const struct policy_list *) policies;
	_Atomic uint64_t epoch; /* of policies and SAs; from 1 */
	_Atomic uint32_t tun_mtu;
	struct sa_table *sas;
	struct udp_slot udp[UDP_SOCKETS_MAX];

	/* published by the worker */
	_Atomic uint64_t quiet; /* even: holds no pointer; odd: in a batch */
	counter_t drops[ESP_DROP_COUNT];
	counter_t in_packets, out_packets, in_bytes, out_bytes, in_calls, out_calls;
	struct ring events, ike;

	/* the worker's own */
	uint64_t now_us, batch_epoch;
	const struct policy_list *batch_policies;
	bool events_pending;
	uint64_t mtu_told_us;
	size_t held_count;
	struct flow_entry *flows;   /* FLOW_CACHE */
	struct held_packet *held;   /* HELD_MAX */
	uint8_t *slots;             /* ESP_BATCH slots */
	uint8_t *recv_buf;          /* RECV_BATCH buffers */
	size_t out_count;
	struct out_packet out[ESP_BATCH];
	struct esp_packet_job jobs[ESP_BATCH];
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
/** Start the thread. False with errno. */
bool worker_start(struct esp_worker *w);
/** Stop the thread and free everything but the SAs and policies; closes the raw sockets. */
void worker_close(struct esp_worker *w);
/** Returns when nothing that was unpublished before the call is in use any more. */
void worker_quiesce(struct esp_worker *w);
/** Watch the UDP socket of `slot`, whose members are set. False with errno. */
bool worker_watch_udp(struct esp_worker *w, size_t slot);
/** Watch the TUN device (again, after EVENT_DEVICE_GONE). False with errno. */
bool worker_watch_tun(struct esp_worker *w);
/** SAs or policies changed: forget cached flows, look at the packets that wait. */
void worker_changed(struct esp_worker *w);

/* --- worker.c: for the worker ------------------------------------------------------------ */

/** Tell the daemon's thread; false (and counted) when its queue is full. */
bool worker_tell(struct esp_worker *w, const struct worker_event *e);
/** Events of an SA's limits, once each. True when the hard one is reached. */
bool worker_limits(struct esp_worker *w, struct sa_common *c, enum sa_direction direction);
/** TUN is no device any more: no longer watched, and the daemon's thread is told. */
void worker_device_gone(struct esp_worker *w);
/** `len` unpredictable bytes (RFC 3602 §2: the IV of CBC). */
void worker_random(struct esp_worker *w, uint8_t *out, size_t len);

/* --- outbound.c -------------------------------------------------------------------------- */

/** Read TUN until it is empty or some batches are done. */
void outbound_ready(struct esp_worker *w);
/** Send what waited and has an SA now; drop what waited too long. */
void outbound_release(struct esp_worker *w);
/** Take one packet of `len` bytes at `packet` (in a slot) to the batch; false if dropped or held. */
bool outbound_take(struct esp_worker *w, uint8_t *packet, size_t len);
/** Seal and send the batch. */
void outbound_flush(struct esp_worker *w);
/**
 * Build the ESP packet of `sa` around `packet`: trailer, IV, header, outer IPv4 header on a raw
 * socket; all but the encryption, which `job` describes. Returns false with the reason in `why`.
 */
bool outbound_wrap(struct esp_worker *w, struct sa_out *sa, uint8_t *packet, const struct flow *f,
		   struct out_packet *out, struct esp_packet_job *job, enum esp_drop *why);

/* --- inbound.c --------------------------------------------------------------------------- */

/** Open `n` ESP packets (RECV_BATCH at most) and write what they carry to TUN. */
void inbound_batch(struct esp_worker *w, struct in_packet *packets, size_t n);
/**
 * From decrypted text to the inner packet: padding, next header, ECN, selectors. RFC 4303
 * §3.4.4.1, RFC 4301 §5.2. May write in front of `text` (transport mode's header). False with
 * the reason in `why`. `payload` is what counts for the SA's limits.
 */
bool inbound_unwrap(const struct sa_in *sa, const struct in_packet *p, uint8_t *text, size_t len,
		    uint8_t **inner, size_t *inner_len, enum esp_drop *why);

/* --- wire.c ------------------------------------------------------------------------------ */

/** Open the raw sockets (IPv6's may be missing). False with errno. */
bool wire_open(struct esp_worker *w);
/** Set what ESP needs on a UDP socket. False with errno. */
bool wire_udp_prepare(int fd, const struct ip_endpoint *local);
void wire_raw4_ready(struct esp_worker *w);
void wire_raw6_ready(struct esp_worker *w);
void wire_udp_ready(struct esp_worker *w, size_t slot);
/** Send sealed packets in order. */
void wire_send(struct esp_worker *w, const struct out_packet *packets, size_t n);

#endif
