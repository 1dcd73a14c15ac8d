/* What the daemon's side of the back end keeps. Private to esp/; daemon's thread only. */
#ifndef ESP_ESP_BACKEND_H
#define ESP_ESP_BACKEND_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uthash.h>

#include "esp/esp.h"
#include "esp/guard.h"
#include "esp/mtu.h"
#include "esp/policy.h"
#include "esp/route.h"
#include "esp/sa_table.h"
#include "esp/worker.h"
#include "sa/backend.h"

enum { SYSTEM_CHECK_US = 10000000 }; /* so often esp_check_system() looks */

/** An outbound SA as an ICMP error names it. Zeroed padding, compared as bytes. */
struct out_key {
	struct ip_address remote;
	uint32_t spi;
};

/** A Child SA; made by secret_alloc(). A half that is not installed is NULL. */
struct sa_record {
	struct child_sa sa; /* `id` is the key */
	struct sa_in *in;
	struct sa_out *out;
	struct policy_record *policy;
	enum raw_family raw; /* that it is counted for, RAW_NONE: in UDP */
	unsigned worker;     /* that its SPI names */
	uint64_t added_s; /* seconds since 1970 */
	/* of the outbound half (esp_mtu.c) */
	struct path_mtu *way;              /* NULL: not known */
	struct out_key key;
	LIST_ENTRY(sa_record) on_way, of_policy;
	UT_hash_handle hh, by_key;
};

/** A reqid: its policy, if `set`, and what its SAs share. Lives while it has one or the other. */
struct policy_record {
	uint32_t reqid; /* the key */
	bool set;
	size_t users; /* SAs */
	struct sa_policy policy;
	struct policy_state state;
	struct route_set *routes;
	LIST_HEAD(, sa_record) outs; /* outbound SAs whose way is known */
	bool v6;                     /* it has IPv6 */
	uint32_t leaves;             /* what the narrowest way of its SAs leaves, or left when it had some; 0: not known */
	uint32_t mtu;                /* of its routes; 0: the device's */
	uint32_t wants;              /* of the device; 0: nothing, it has no SAs */
	UT_hash_handle hh;
};

/** Who hears native ESP of one family, by worker. */
struct raw_sockets {
	bool here;                   /* the system has the family */
	size_t sas[WORKERS_MAX];     /* native ones */
	uint64_t heard[WORKERS_MAX]; /* owners whose packets its socket gets; 0: it has no socket */
};

/** What is known of the way to a peer; there is one while it has outbound SAs. */
struct path_mtu {
	struct ip_address remote; /* the key */
	uint32_t route;           /* by our own routes and links */
	uint32_t learned;         /* by ICMP, 0: nothing */
	uint64_t learned_us;      /* then, or when the kernel knew of a smaller one */
	LIST_HEAD(, sa_record) sas;
	struct sa_record *next;   /* `changed`: the first of them that does not know yet */
	bool changed, ageing;     /* is in the queue of this name */
	TAILQ_ENTRY(path_mtu) in_ring, in_changed, in_ageing;
	UT_hash_handle hh;
};

TAILQ_HEAD(path_queue, path_mtu);

/** What esp_mtu.c keeps. */
struct mtu_work {
	bool per_route;           /* the kernel forwards by the MTU of a route; else all packets have the device's */
	struct netlink watch;     /* hears of links, routes and rules; no socket: it must be asked without */
	struct path_mtu *ways;    /* hash */
	struct sa_record *outs;   /* hash by_key */
	struct path_queue ring;   /* all ways; what was asked goes to its end */
	struct path_queue changed; /* whose SAs have to be told */
	struct path_queue ageing; /* what may have got better, first to last */
	size_t left;              /* of this round: ways that are to be asked */
	bool stale;               /* something changed: another round */
	uint64_t round_us;        /* not before */
	uint64_t slice_us;        /* when the last one ended */
	struct mtu_set wanted;    /* of the device, by policies with SAs */
};

struct esp_backend {
	struct backend_base base;
	struct backend_events events;
	char tun_name[IF_NAMESIZE];
	int tun_fd; /* the device's first queue: worker 0's */
	int timer_fd, event_fd; /* event_fd: the workers' to us */
	unsigned ifindex;
	bool settled, guard_dirty, use_guard;
	bool gathering; /* packet filter and worker wait for esp_backend_settle() */
	struct routing routing;
	struct guard guard;
	struct sa_table sas;
	struct policy_list *policies; /* what the worker sees */
	struct sa_record *sa_records;
	struct policy_record *policy_records;
	struct mtu_work mtu_work;
	uint32_t mtu; /* the device's */
	uint64_t guard_flushed_us, checked_us;
	struct esp_features features;
	unsigned worker_count;
	struct esp_worker *workers[WORKERS_MAX];
	size_t out_sas[WORKERS_MAX]; /* outbound SAs of each */
	bool queue_used[WORKERS_MAX];
	struct raw_sockets raw[RAW_FAMILIES];
};

/* --- esp.c --- */

extern const struct backend_ops esp_backend_ops;
/** Write a sentence to `err`; returns false. */
bool esp_fail(struct backend_error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/** Bring the packet filter in step with the policies. */
void esp_rebuild_guard(struct esp_backend *b);

/* --- esp_workers.c --- */

/** The device's queues and the threads. `count` 0: one for each core. False with a sentence. */
bool esp_workers_start(struct esp_backend *b, unsigned count, struct backend_error *err);
void esp_workers_close(struct esp_backend *b);
/** What was published last is seen by all, and nobody uses anything older. */
void esp_workers_changed(struct esp_backend *b);
void esp_workers_quiesce(struct esp_backend *b);
/** The policies that packets are judged by. */
void esp_workers_policies(struct esp_backend *b, const struct policy_list *list);
/** Who owns the SAs of `reqid` and `resource` (RFC 9611; 0: the one for all traffic). */
unsigned esp_worker_of(const struct esp_backend *b, uint32_t reqid, unsigned resource);
/** An outbound SA of worker `index` more (less): the device's packets come to those that have one. */
void esp_workers_count_out(struct esp_backend *b, unsigned index, int change);
/** The device was made again: its queues anew. False with a sentence. */
bool esp_workers_device(struct esp_backend *b, struct backend_error *err);
/** A UDP socket of port 4500 for all, in `slot`. False with errno. */
bool esp_workers_add_udp(struct esp_backend *b, size_t slot, int fd, const struct ip_endpoint *local);
/** Forget the socket `fd`. */
void esp_workers_forget_udp(struct esp_backend *b, int fd);

/* --- esp_raw.c --- */

/** The first raw socket of each family that is here; before the workers start. False with a sentence. */
bool esp_raw_start(struct esp_backend *b, struct backend_error *err);
/**
 * The SA goes by `path` from now on. When this returns its worker hears native packets of the new path, and
 * still those of the old one. False with a sentence, and nothing changed.
 */
bool esp_raw_follow(struct esp_backend *b, struct sa_record *r, const struct esp_path *path,
		    struct backend_error *err);
/** The SA is gone. */
void esp_raw_forget(struct esp_backend *b, struct sa_record *r);
/** Close the sockets of workers that have no native SA any more. */
void esp_raw_tidy(struct esp_backend *b);

/* --- esp_life.c --- */

void esp_backend_close(struct backend *b, bool keep);
/** Make the TUN device anew after somebody removed it. */
void esp_device_again(struct esp_backend *b);
/** If it is time, put back what someone else removed: routing rules, routes, the table of the packet filter. */
void esp_check_system(struct esp_backend *b);

/* --- esp_mtu.c --- */

/** The workers are there: listen to what changes. */
void esp_mtu_start(struct esp_backend *b);
/** Give the device the MTU that policies want; one that was made again has b->mtu 0. */
void esp_mtu_device(struct esp_backend *b);
/** An outbound SA is about to be used, or it has moved: its policy's packets are to fit. */
void esp_mtu_added(struct esp_backend *b, struct sa_record *record);
/** It is used no more. */
void esp_mtu_removed(struct esp_backend *b, struct sa_record *record);
/** What routing_add() is to give the routes of `policy`, which is to be `p`'s. */
uint32_t esp_mtu_of_routes(const struct esp_backend *b, const struct policy_record *p,
			   const struct sa_policy *policy);
/** `p` has its policy, and the routes. */
void esp_mtu_policy_set(struct esp_backend *b, struct policy_record *p);
/** IPv6 is about to be routed to the device: its MTU must allow it. */
void esp_mtu_allow_v6(struct esp_backend *b);
/** The worker met a path that takes less. */
void esp_mtu_event(struct esp_backend *b, const struct worker_event *e);
/** esp_mtu_fd() is readable: links, routes or rules changed. */
void esp_mtu_heard(struct esp_backend *b);
/** -1: none. */
int esp_mtu_fd(const struct esp_backend *b);
/** The timer: do a slice of what there is to do, and set it for the next one. */
void esp_mtu_tick(struct esp_backend *b);
void esp_mtu_free(struct esp_backend *b);

/* --- describe.c --- */

struct json_t *esp_describe(struct backend *b, bool show_keys);
struct json_t *esp_status(struct backend *b);

#endif
