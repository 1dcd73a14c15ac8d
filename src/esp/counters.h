/* Counters that a worker writes and the daemon's thread reads at any time; reasons for drops. */
#ifndef ESP_COUNTERS_H
#define ESP_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint64_t counter_t;

/* One writer only: no atomic addition is needed. */
static inline void counter_add(counter_t *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static inline void counter_set(counter_t *c, uint64_t v)
{
	atomic_store_explicit(c, v, memory_order_relaxed);
}

static inline uint64_t counter_get(const counter_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

/** Every packet that goes in and does not come out is counted by one of these. */
#define ESP_DROPS(X)                                                                       \
	X(OUT_NOT_IP, "out_not_ip")                 /* no IP packet, or cut short */       \
	X(OUT_NO_POLICY, "out_no_policy")           /* no policy covers it (any more) */   \
	X(OUT_POLICY, "out_policy")                 /* a policy says drop */               \
	X(OUT_NO_SA, "out_no_sa")                   /* covered, and there is no SA */      \
	X(OUT_EXPIRED, "out_expired")               /* SA at its hard limit */             \
	X(OUT_TOO_BIG, "out_too_big")               /* larger than a packet can get */     \
	X(OUT_FRAGMENT, "out_fragment")             /* transport mode takes whole packets */ \
	X(OUT_HEADERS, "out_headers")               /* transport mode: options, extensions */ \
	X(OUT_CIPHER, "out_cipher")                 /* the provider failed */              \
	X(OUT_SOCKET, "out_socket")                 /* its UDP socket was closed */        \
	X(OUT_PATH_MTU, "out_path_mtu")             /* larger than the path takes */       \
	X(OUT_BUFFERS, "out_buffers")               /* the device did not keep up */       \
	X(OUT_SEND, "out_send")                     /* no route, or another send error */  \
	X(IN_SHORT, "in_short")                     /* no room for what ESP has */         \
	X(IN_NO_SA, "in_no_sa")                     /* SPI is not ours (any more) */       \
	X(IN_EXPIRED, "in_expired")                 /* SA at its hard limit */             \
	X(IN_REPLAY, "in_replay")                   /* seen, or older than the window */   \
	X(IN_INTEGRITY, "in_integrity")             /* ICV is wrong */                     \
	X(IN_PADDING, "in_padding")                 /* padding is not 1, 2, 3, ... */      \
	X(IN_DUMMY, "in_dummy")                     /* next header 59: made to be dropped */ \
	X(IN_NEXT_HEADER, "in_next_header")         /* not what the SA's mode carries */   \
	X(IN_NOT_IP, "in_not_ip")                   /* inner packet malformed */           \
	X(IN_SELECTOR, "in_selector")               /* inner packet outside the SA's selectors */ \
	X(IN_ECN, "in_ecn")                         /* congestion marked, inner without ECN */ \
	X(IN_DEVICE, "in_device")                   /* TUN did not take it */              \
	X(HANDOVER_QUEUE, "handover_queue")         /* for a worker that did not keep up */ \
	X(IKE_QUEUE, "ike_queue")                   /* IKE datagrams faster than the daemon */ \
	X(EVENT_QUEUE, "event_queue")               /* events faster than the daemon */

enum esp_drop {
#define X(name, text) DROP_##name,
	ESP_DROPS(X)
#undef X
	ESP_DROP_COUNT,
};

#endif
