#include "esp/worker.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"

enum {
	EVENT_RING_BYTES = 256 << 10,
	IKE_RING_BYTES = 1 << 20,
	STRANGERS_RING_BYTES = 4 << 20, /* from each of the other workers; memory comes with use */
	STRANGERS_RING_SMALL = 256 << 10,
	WORKERS_MANY = 8,
	HELD_WAIT_MS = 250, /* while packets wait for an SA */
	EPOLL_EVENTS = 16,
};

/* What an epoll event is about; UDP sockets follow by their slot: the worker's own, and the daemon's. */
enum { TAG_TUN, TAG_RAW4, TAG_RAW6, TAG_KICK, TAG_UDP, TAG_DAEMON = TAG_UDP + UDP_SOCKETS_MAX };

/* Of a worker that nobody told better (tests). */
static const struct esp_features no_features;

/* --- for the daemon's thread -------------------------------------------------------------- */

/* Zeroed by the kernel, page by page when a flow comes to stand there. */
static struct flow_entry *flows_new(void)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	/* cppcheck-suppress invalidFunctionArg ; no file, so -1 */
	void *p = mmap(NULL, FLOW_CACHE * sizeof(struct flow_entry), PROT_READ | PROT_WRITE, flags, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	return p;
}

bool worker_init(struct esp_worker *w, unsigned index, int tun_fd, struct sa_table *sas)
{
	memset(w, 0, sizeof(*w));
	w->index = index;
	w->tun_fd = tun_fd;
	w->sas = sas;
	for (size_t i = 0; i < RAW_FAMILIES; i++)
		atomic_init(&w->raw_fd[i], -1);
	for (size_t i = 0; i < UDP_SOCKETS_MAX; i++) {
		atomic_init(&w->udp[i].fd, -1);
		atomic_init(&w->udp[i].daemon_fd, -1);
	}
	atomic_init(&w->epoch, 1);
	w->flushes = 1; /* no SA has that */
	_Static_assert(sizeof(*w->flows) == 64, "a cache line");
	w->flows = flows_new();
	w->held = calloc(HELD_MAX, sizeof(*w->held));
	w->arena = aligned_alloc(64, ARENA_BYTES);
	w->sealed = aligned_alloc(64, SEALED_BYTES);
	w->recv_buf = aligned_alloc(64, (size_t)RECV_BATCH * RECV_STRIDE);
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	w->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->count = 1;
	w->features = &no_features;
	inbound_init(w);
	return ring_init(&w->events, EVENT_RING_BYTES) && ring_init(&w->ike, IKE_RING_BYTES) &&
	       w->flows && w->held && w->arena && w->sealed && w->recv_buf && w->epoll_fd >= 0 &&
	       w->kick_fd >= 0;
}

bool worker_join(struct esp_worker *w, struct esp_worker *const *all, unsigned count,
		 const struct esp_features *features)
{
	w->all = all;
	w->count = count;
	w->features = features;
	inbound_init(w);
	if (count < 2)
		return true;
	w->strangers = calloc(count, sizeof(*w->strangers));
	for (unsigned i = 0; w->strangers && i < count; i++)
		if (i != w->index &&
		    !ring_init(&w->strangers[i],
			       count > WORKERS_MANY ? STRANGERS_RING_SMALL : STRANGERS_RING_BYTES))
			return false;
	return w->strangers != NULL;
}

static bool watch(struct esp_worker *w, int fd, uint32_t tag)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = tag };

	return fd < 0 || epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &e) == 0;
}

static void *worker_main(void *arg);

bool worker_start(struct esp_worker *w)
{
	sigset_t all, old;
	int err;

	if (!watch(w, w->tun_fd, TAG_TUN) || !watch(w, w->kick_fd, TAG_KICK))
		return false;
	sigfillset(&all); /* signals are the daemon's */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	w->started = err == 0;
	errno = err;
	return w->started;
}

bool worker_watch_tun(struct esp_worker *w)
{
	return watch(w, w->tun_fd, TAG_TUN);
}

bool worker_watch_raw(struct esp_worker *w, enum raw_family family)
{
	return watch(w, atomic_load(&w->raw_fd[family]), family == RAW_V4 ? TAG_RAW4 : TAG_RAW6);
}

bool worker_watch_udp(struct esp_worker *w, size_t slot)
{
	const struct udp_slot *u = &w->udp[slot];

	return (!u->own || watch(w, atomic_load(&u->fd), TAG_UDP + (uint32_t)slot)) &&
	       watch(w, atomic_load(&u->daemon_fd), TAG_DAEMON + (uint32_t)slot);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void worker_stop(struct esp_worker *w)
{
	if (!w->started)
		return;
	atomic_store(&w->stop, true);
	eventfd_write(w->kick_fd, 1);
	pthread_join(w->thread, NULL);
	w->started = false;
}

/* Packets in the clear were here: nothing of them stays in freed memory. */
static void free_wiped(void *p, size_t len)
{
	if (p)
		secret_wipe(p, len);
	free(p);
}

void worker_close(struct esp_worker *w)
{
	worker_stop(w);
	for (size_t i = 0; i < UDP_SOCKETS_MAX; i++)
		if (w->udp[i].own && w->udp[i].fd >= 0)
			close(w->udp[i].fd);
	for (size_t i = 0; i < RAW_FAMILIES; i++)
		if (w->raw_fd[i] >= 0)
			close(w->raw_fd[i]);
	close_fd(&w->epoll_fd);
	close_fd(&w->kick_fd);
	ring_free(&w->events);
	ring_free(&w->ike);
	for (unsigned i = 0; w->strangers && i < w->count; i++)
		ring_free(&w->strangers[i]);
	free(w->strangers);
	if (w->flows)
		munmap(w->flows, FLOW_CACHE * sizeof(*w->flows));
	free_wiped(w->held, HELD_MAX * sizeof(*w->held));
	free_wiped(w->arena, ARENA_BYTES);
	free_wiped(w->recv_buf, (size_t)RECV_BATCH * RECV_STRIDE);
	free(w->sealed);
	w->strangers = NULL;
	w->flows = NULL;
	w->held = NULL;
	w->arena = w->sealed = w->recv_buf = NULL;
}

void worker_quiesce(struct esp_worker *w)
{
	const struct timespec nap = { .tv_nsec = 20000 };
	uint64_t seen;

	if (!w->started)
		return;
	atomic_thread_fence(memory_order_seq_cst);
	seen = atomic_load(&w->quiet);
	/* even: it waits, and reads everything anew when it wakes */
	while ((seen & 1) && atomic_load(&w->quiet) == seen)
		nanosleep(&nap, NULL);
}

void worker_changed(struct esp_worker *w)
{
	atomic_fetch_add(&w->epoch, 1);
	eventfd_write(w->kick_fd, 1);
}

/* --- for the worker ---------------------------------------------------------------------- */

bool worker_tell(struct esp_worker *w, const struct worker_event *e)
{
	struct worker_event *slot = ring_reserve(&w->events, sizeof(*e));

	if (!slot) {
		worker_drop(w, DROP_EVENT_QUEUE);
		return false;
	}
	*slot = *e;
	ring_commit(&w->events);
	w->events_pending = true;
	return true;
}

bool worker_limits_near(struct esp_worker *w, struct sa_common *c, enum sa_direction direction)
{
	uint64_t packets = counter_get(&c->packets), bytes = counter_get(&c->bytes);
	bool hard = packets >= c->limits.hard_packets || bytes >= c->limits.hard_bytes;
	struct worker_event e = {
		.kind = EVENT_EXPIRE, .spi = c->spi, .child_id = c->child_id, .direction = direction,
	};

	if (!c->soft_told &&
	    (packets >= c->limits.soft_packets || bytes >= c->limits.soft_bytes))
		c->soft_told = worker_tell(w, &e);
	e.hard = true;
	if (hard && !c->hard_told)
		c->hard_told = worker_tell(w, &e);
	return hard;
}

void worker_device_gone(struct esp_worker *w)
{
	struct worker_event e = { .kind = EVENT_DEVICE_GONE };

	/* before it is told: the daemon's thread puts the new device in this one's place, and watches that */
	epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, w->tun_fd, NULL);
	if (!worker_tell(w, &e))
		worker_watch_tun(w);
}

void worker_random(struct esp_worker *w, uint8_t *out, size_t len)
{
	if (w->random_left < len) {
		size_t got = 0;

		while (got < sizeof(w->random)) {
			ssize_t n = getrandom(w->random + got, sizeof(w->random) - got, 0);

			if (n > 0)
				got += (size_t)n;
		}
		w->random_left = sizeof(w->random);
	}
	w->random_left -= len;
	memcpy(out, w->random + w->random_left, len);
}

static void handle(struct esp_worker *w, uint32_t tag, bool error)
{
	eventfd_t v;

	switch (tag) {
	case TAG_TUN:
		outbound_ready(w);
		return;
	case TAG_RAW4:
		wire_raw4_ready(w, error);
		return;
	case TAG_RAW6:
		wire_raw6_ready(w, error);
		return;
	case TAG_KICK:
		eventfd_read(w->kick_fd, &v);
		handover_take(w);
		return;
	default:
		if (tag >= TAG_DAEMON && tag - TAG_DAEMON < UDP_SOCKETS_MAX)
			wire_udp_ready(w, tag - TAG_DAEMON, true, error);
		else if (tag < TAG_DAEMON)
			wire_udp_ready(w, tag - TAG_UDP, false, error);
	}
}

/* One turn: from here on the pointers of this moment are in use. */
static void turn(struct esp_worker *w, const struct epoll_event *events, int n)
{
	w->now_us = clock_now_us();
	w->batch_epoch = atomic_load(&w->epoch);
	w->batch_policies = atomic_load(&w->policies);
	for (int i = 0; i < n; i++)
		handle(w, events[i].data.u32, events[i].events & EPOLLERR);
	if (w->held_count)
		outbound_release(w);
	if (w->to_kick)
		handover_kick(w);
	if (w->events_pending) {
		w->events_pending = false;
		eventfd_write(w->event_fd, 1);
	}
}

/* What the thread needs is open; nothing that reaches it may use more. */
static void drop_privileges(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };

	if (syscall(SYS_capset, &header, none) != 0)
		log_debug("the ESP worker keeps its capabilities: %s", strerror(errno));
}

static void *worker_main(void *arg)
{
	struct esp_worker *w = arg;
	struct epoll_event events[EPOLL_EVENTS];
	char name[16];

	snprintf(name, sizeof(name), "esp%u", w->index);
	pthread_setname_np(pthread_self(), name);
	drop_privileges();
	while (!atomic_load(&w->stop)) {
		int n = epoll_wait(w->epoll_fd, events, EPOLL_EVENTS,
				   w->held_count ? HELD_WAIT_MS : -1);

		atomic_fetch_add(&w->quiet, 1); /* odd: see worker_quiesce() */
		atomic_thread_fence(memory_order_seq_cst);
		turn(w, events, n);
		atomic_fetch_add(&w->quiet, 1);
	}
	return NULL;
}
