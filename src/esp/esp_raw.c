/*
 * Native ESP: which worker has a raw socket, and what it gets.
 *
 * The kernel copies a packet of protocol 50 for every raw socket and asks its filter afterwards, so only workers
 * with native SAs have one. The first of them (worker 0 where there is none) gets what names no such worker as
 * well: strays are counted, a peer that leaves out UDP is heard, and the kernel never finds that nobody takes
 * the protocol, of which it would tell the sender by ICMP.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "esp/esp_backend.h"

/* Nobody sends by it any more, for no path leads to it; what is left in it is read by nobody. */
static void stop_hearing(struct esp_backend *b, enum raw_family family, unsigned worker)
{
	struct esp_worker *w = b->workers[worker];
	int fd = atomic_exchange(&w->raw_fd[family], -1);

	worker_quiesce(w);
	if (fd >= 0)
		close(fd);
}

static bool hear(struct esp_backend *b, enum raw_family family, unsigned worker, uint64_t owners)
{
	struct raw_sockets *raw = &b->raw[family];
	struct esp_worker *w = b->workers[worker];
	int fd = atomic_load(&w->raw_fd[family]);

	if (raw->heard[worker] == owners)
		return true;
	if (owners == 0) {
		stop_hearing(b, family, worker);
	} else if (fd >= 0) {
		if (!wire_raw_filter(fd, family, owners))
			return false;
	} else {
		fd = wire_raw_open(family, owners);
		if (fd < 0)
			return false;
		if (family == RAW_V6)
			w->raw6_fragments = false; /* the worker looks at it only while it has a socket */
		atomic_store(&w->raw_fd[family], fd);
		if (!worker_watch_raw(w, family)) {
			int e = errno;

			stop_hearing(b, family, worker);
			errno = e;
			return false;
		}
	}
	raw->heard[worker] = owners;
	return true;
}

/* First what comes, then what goes: a packet in between is heard twice (the replay window knows), never not at all. */
static bool arrange(struct esp_backend *b, enum raw_family family)
{
	struct raw_sockets *raw = &b->raw[family];
	uint64_t want[WORKERS_MAX] = { 0 }, native = 0;
	unsigned first = 0;

	for (unsigned i = b->worker_count; i-- > 0;)
		if (raw->sas[i]) {
			want[i] = UINT64_C(1) << i;
			native |= want[i];
			first = i;
		}
	want[first] |= ~native;
	for (unsigned i = 0; i < b->worker_count; i++)
		if (!hear(b, family, i, raw->heard[i] | want[i]))
			return false;
	for (unsigned i = 0; i < b->worker_count; i++)
		if (!hear(b, family, i, want[i]))
			return false;
	return true;
}

bool esp_raw_start(struct esp_backend *b, struct backend_error *err)
{
	if (!arrange(b, RAW_V4))
		return esp_fail(err, "cannot open a raw socket for ESP: %s%s", strerror(errno),
				errno == EPERM ? "; user-space ESP needs CAP_NET_RAW" : "");
	b->raw[RAW_V4].here = true;
	b->raw[RAW_V6].here = arrange(b, RAW_V6); /* a system without IPv6 has none */
	return true;
}

static enum raw_family family_of(const struct esp_path *path)
{
	if (path->udp_encap)
		return RAW_NONE;
	return path->remote.address.family == AF_INET6 ? RAW_V6 : RAW_V4;
}

/* The socket stays until esp_raw_tidy(): for packets under way, and for the next SA. */
void esp_raw_forget(struct esp_backend *b, struct sa_record *r)
{
	if (r->raw != RAW_NONE)
		b->raw[r->raw].sas[r->worker]--;
	r->raw = RAW_NONE;
}

bool esp_raw_follow(struct esp_backend *b, struct sa_record *r, const struct esp_path *path,
		    struct backend_error *err)
{
	enum raw_family to = family_of(path);

	if (to == r->raw)
		return true;
	if (to != RAW_NONE) {
		b->raw[to].sas[r->worker]++;
		if (b->raw[to].here && !arrange(b, to)) {
			int e = errno;

			b->raw[to].sas[r->worker]--;
			return esp_fail(err, "cannot open a raw socket for ESP: %s", strerror(e));
		}
	}
	esp_raw_forget(b, r);
	r->raw = to;
	return true;
}

void esp_raw_tidy(struct esp_backend *b)
{
	for (enum raw_family f = RAW_V4; f < RAW_FAMILIES; f++)
		if (b->raw[f].here && !arrange(b, f))
			log_debug("raw sockets stay as they are: %s", strerror(errno));
}
