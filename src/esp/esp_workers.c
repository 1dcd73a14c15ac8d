/* The workers as the daemon's thread sees them: how many, what they read from, who owns what. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "esp/esp_backend.h"
#include "esp/tun.h"

/* --- how many ------------------------------------------------------------------------------- */

static unsigned cores(void)
{
	const char *choice = getenv("SEKISHO_ESP_WORKERS");
	cpu_set_t set;

	if (choice && atoi(choice) > 0)
		return (unsigned)atoi(choice);
	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/* All that a kernel may have; SEKISHO_ESP_WITHOUT names what to do without, to see how it is then. */
static struct esp_features features_wanted(void)
{
	const char *without = getenv("SEKISHO_ESP_WITHOUT");

	if (!without)
		without = "";
	return (struct esp_features){
		.tun_tso = !strstr(without, "device_tcp"),
		.tun_uso = !strstr(without, "device_udp"),
		.udp_segment = !strstr(without, "udp_segmentation"),
		.udp_gro = !strstr(without, "udp_coalescing"),
		.route_mtu = !strstr(without, "route_mtu"),
	};
}

static struct esp_worker *worker_new(struct esp_backend *b, unsigned index, struct backend_error *err)
{
	struct esp_worker *w = calloc(1, sizeof(*w));
	int tun = index == 0 ? b->tun_fd : tun_open(b->tun_name, err);

	if (tun < 0) {
		free(w);
		return NULL;
	}
	if (w && worker_init(w, index, tun, &b->sas))
		return w;
	if (w)
		worker_close(w);
	free(w);
	if (index > 0)
		close(tun);
	esp_fail(err, "out of memory or descriptors for ESP worker %u", index);
	return NULL;
}

/* --- start and end -------------------------------------------------------------------------- */

bool esp_workers_start(struct esp_backend *b, unsigned count, struct backend_error *err)
{
	if (count == 0)
		count = cores();
	if (count > WORKERS_MAX)
		count = WORKERS_MAX;
	b->features = features_wanted();
	wire_probe(&b->features);
	b->features.route_mtu &= routing_forwards_by_mtu();
	for (unsigned i = 0; i < count; i++) {
		struct esp_worker *w = worker_new(b, i, err);

		if (!w)
			return false;
		b->workers[b->worker_count++] = w;
		b->queue_used[i] = true;
		w->event_fd = b->event_fd;
	}
	tun_offload(b->workers[0]->tun_fd, &b->features);
	for (unsigned i = 0; i < count; i++) {
		if (!worker_join(b->workers[i], b->workers, count, &b->features))
			return esp_fail(err, "out of memory for the ESP workers' queues");
	}
	if (!esp_raw_start(b, err))
		return false;
	for (unsigned i = 0; i < count; i++)
		if (!worker_start(b->workers[i]))
			return esp_fail(err, "cannot start an ESP worker: %s", strerror(errno));
	esp_workers_count_out(b, 0, 0);
	return true;
}

void esp_workers_close(struct esp_backend *b)
{
	/* all stop before any goes: they hand packets to each other */
	for (unsigned i = 0; i < b->worker_count; i++)
		worker_stop(b->workers[i]);
	for (unsigned i = 0; i < b->worker_count; i++) {
		int tun = b->workers[i]->tun_fd;

		worker_close(b->workers[i]);
		if (i > 0)
			close(tun);
		free(b->workers[i]);
	}
	b->worker_count = 0;
}

/* --- publishing ----------------------------------------------------------------------------- */

void esp_workers_changed(struct esp_backend *b)
{
	for (unsigned i = 0; i < b->worker_count; i++)
		worker_changed(b->workers[i]);
}

void esp_workers_quiesce(struct esp_backend *b)
{
	for (unsigned i = 0; i < b->worker_count; i++)
		worker_quiesce(b->workers[i]);
}

void esp_workers_policies(struct esp_backend *b, const struct policy_list *list)
{
	for (unsigned i = 0; i < b->worker_count; i++)
		atomic_store(&b->workers[i]->policies, list);
	esp_workers_changed(b);
	esp_workers_quiesce(b);
}

/* --- who owns what -------------------------------------------------------------------------- */

unsigned esp_worker_of(const struct esp_backend *b, uint32_t reqid, unsigned resource)
{
	/* reqids of connections lie four apart */
	return (resource ? resource - 1 : reqid / 4) % b->worker_count;
}

/*
 * A queue that belongs to a worker without an outbound SA only makes detours: with a single tunnel all
 * packets come to the one that owns it. At least one queue stays in use.
 */
void esp_workers_count_out(struct esp_backend *b, unsigned index, int change)
{
	size_t all = 0;

	b->out_sas[index] += (size_t)change;
	for (unsigned i = 0; i < b->worker_count; i++)
		all += b->out_sas[i];
	for (int attach = 1; attach >= 0; attach--) /* first what comes, then what goes */
		for (unsigned i = 0; i < b->worker_count; i++) {
			bool use = b->out_sas[i] > 0 || (all == 0 && i == 0);

			if (use != (attach == 1) || use == b->queue_used[i])
				continue;
			if (tun_queue_use(b->workers[i]->tun_fd, use))
				b->queue_used[i] = use;
			else
				log_debug("queue %u of %s stays %s use: %s", i, b->tun_name,
					  use ? "out of" : "in", strerror(errno));
		}
}

bool esp_workers_device(struct esp_backend *b, struct backend_error *err)
{
	for (unsigned i = 0; i < b->worker_count; i++) {
		struct esp_worker *w = b->workers[i];
		int fd = tun_open(b->tun_name, err);

		if (fd < 0)
			return false;
		if (dup3(fd, w->tun_fd, O_CLOEXEC) < 0) {
			close(fd);
			return esp_fail(err, "cannot take the device: %s", strerror(errno));
		}
		close(fd);
		b->queue_used[i] = true;
		if (i == 0)
			tun_offload(w->tun_fd, &b->features);
		if (!worker_watch_tun(w) && errno != EEXIST)
			return esp_fail(err, "cannot watch %s: %s", b->tun_name, strerror(errno));
	}
	esp_workers_count_out(b, 0, 0);
	return true;
}

/* --- UDP sockets ---------------------------------------------------------------------------- */

bool esp_workers_add_udp(struct esp_backend *b, size_t slot, int fd, const struct ip_endpoint *local)
{
	bool steered = true;

	for (unsigned i = 0; i < b->worker_count; i++) {
		struct udp_slot *u = &b->workers[i]->udp[slot];
		int own = wire_udp_beside(local, &b->features);

		/* without a socket of its own a worker sends by the daemon's, and is handed what comes */
		steered &= own >= 0;
		u->local = *local;
		u->own = own >= 0;
		u->fragments = false;
		atomic_store(&u->fd, own >= 0 ? own : fd);
		atomic_store(&u->daemon_fd, i == 0 ? fd : -1);
		if (!worker_watch_udp(b->workers[i], slot)) {
			int e = errno;

			esp_workers_forget_udp(b, fd);
			errno = e;
			return false;
		}
	}
	if (!steered || !wire_udp_steer(fd, b->worker_count))
		log_debug("packets of UDP take a detour to their worker: %s", strerror(errno));
	return true;
}

void esp_workers_forget_udp(struct esp_backend *b, int fd)
{
	for (size_t slot = 0; slot < UDP_SOCKETS_MAX; slot++) {
		if (atomic_load(&b->workers[0]->udp[slot].daemon_fd) != fd)
			continue;
		for (unsigned i = b->worker_count; i-- > 0;) {
			struct udp_slot *u = &b->workers[i]->udp[slot];
			int own = atomic_load(&u->fd);

			if (u->own)
				epoll_ctl(b->workers[i]->epoll_fd, EPOLL_CTL_DEL, own, NULL);
			if (i == 0)
				epoll_ctl(b->workers[i]->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
			atomic_store(&u->fd, -1);
			atomic_store(&u->daemon_fd, -1);
			worker_quiesce(b->workers[i]);
			if (u->own)
				close(own);
			u->own = false;
		}
	}
}
