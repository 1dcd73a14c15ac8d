/* The life of a back end: its start, its end, and a device that goes away in between. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "esp/esp.h"
#include "esp/esp_backend.h"
#include "esp/tun.h"

static struct esp_backend *self(struct backend *b)
{
	return (struct esp_backend *)b;
}

static void free_records(struct esp_backend *b)
{
	struct policy_record *p = b->policy_records, *next_policy;
	struct sa_record *r = b->sa_records, *next_sa;

	HASH_CLEAR(hh, b->sa_records);
	HASH_CLEAR(hh, b->policy_records);
	for (; r; r = next_sa) {
		next_sa = r->hh.next;
		sa_in_free(r->in);
		sa_out_free(r->out);
		secret_free(r);
	}
	for (; p; p = next_policy) {
		next_policy = p->hh.next;
		free((void *)(uintptr_t)atomic_load(&p->state.out));
		route_set_free(p->routes);
		free(p);
	}
	policy_list_free(b->policies);
	b->policies = NULL;
}

void esp_backend_close(struct backend *base, bool keep)
{
	struct esp_backend *b = self(base);

	esp_workers_close(b);
	esp_mtu_free(b);
	free_records(b);
	sa_table_free(&b->sas);
	if (!keep) {
		routing_clear(&b->routing);
		if (b->use_guard)
			guard_clear(&b->guard);
		if (b->tun_fd >= 0)
			tun_release(b->tun_fd);
	}
	routing_close(&b->routing);
	guard_close(&b->guard);
	if (b->tun_fd >= 0)
		close(b->tun_fd);
	if (b->timer_fd >= 0)
		close(b->timer_fd);
	if (b->event_fd >= 0)
		close(b->event_fd);
	free(b);
}

void esp_backend_settle(struct backend *base)
{
	struct esp_backend *b = self(base);

	b->settled = true;
	if (b->gathering) {
		b->gathering = false;
		esp_workers_policies(b, b->policies);
	}
	routing_settle(&b->routing);
	esp_rebuild_guard(b);
}

bool esp_backend_sweep(const char *tun_name)
{
	struct routing routing;
	struct guard guard;
	bool ok;

	if (!tun_name)
		tun_name = ESP_TUN_NAME;
	ok = routing_open(&routing) == 0;
	routing_use_marks(&routing);
	ok = ok && routing_clear(&routing);
	routing_close(&routing);
	guard_open(&guard, tun_name);
	if (guard.built)
		ok = guard_clear(&guard) && ok;
	guard_close(&guard);
	return tun_remove(tun_name) && ok;
}

/* Device, rules and filter; false with a sentence. */
static bool start_system(struct esp_backend *b, struct backend_error *err)
{
	int rc;

	b->tun_fd = tun_open(b->tun_name, err);
	if (b->tun_fd < 0)
		return false;
	tun_configure(b->tun_name);
	b->ifindex = if_nametoindex(b->tun_name);
	rc = routing_open(&b->routing);
	if (rc)
		return esp_fail(err, "cannot read the system's routing rules: %s", strerror(-rc));
	esp_mtu_device(b);
	rc = netlink_link_set(&b->routing.nl, b->ifindex, 0, true);
	if (rc)
		return esp_fail(err, "cannot bring %s up: %s", b->tun_name, strerror(-rc));
	if (!routing_start(&b->routing, b->ifindex, err))
		return false;
	if (b->use_guard) {
		guard_open(&b->guard, b->tun_name);
		routing_use_marks(&b->routing);
	}
	b->settled = !routing_has_stale(&b->routing) && !b->guard.built;
	return true;
}

/* All policies' routes anew; rules that are there stay. */
static void routes_again(struct esp_backend *b)
{
	struct policy_record *p;
	struct backend_error err;

	for (p = b->policy_records; p; p = p->hh.next) {
		struct route_set *routes;

		if (!p->set)
			continue;
		routes = routing_add(&b->routing, &p->policy, p->mtu, &err);
		if (!routes) {
			log_error("\"%s\": traffic is dropped: %s", p->policy.conn, err.text);
			continue;
		}
		routing_remove(&b->routing, p->routes);
		p->routes = routes;
	}
}

void esp_check_system(struct esp_backend *b)
{
	uint64_t now = clock_now_us();

	if (now - b->checked_us < SYSTEM_CHECK_US)
		return;
	b->checked_us = now;
	esp_raw_tidy(b);
	if (!b->settled || b->gathering)
		return;
	if (if_nametoindex(b->tun_name) != b->ifindex) { /* it could not be made, or not with all queues, when a worker told that it was gone */
		esp_device_again(b);
		return;
	}
	if (!routing_check(&b->routing)) {
		log_warning("routes to %s were removed by someone: put back", b->tun_name);
		netlink_link_set(&b->routing.nl, b->ifindex, 0, true);
		routes_again(b);
	}
	if (b->use_guard && !b->guard_dirty && guard_gone(&b->guard)) {
		log_warning("the packet filter was flushed by someone: our table is put back");
		esp_rebuild_guard(b);
	}
}

/* Someone removed the device, and with it our routes; the unreachable ones beneath them held. */
void esp_device_again(struct esp_backend *b)
{
	struct backend_error err;

	if (if_nametoindex(b->tun_name) == b->ifindex) { /* another worker told already */
		for (unsigned i = 0; i < b->worker_count; i++)
			worker_watch_tun(b->workers[i]);
		return;
	}
	log_warning("%s was removed: making it again", b->tun_name);
	if (!esp_workers_device(b, &err)) {
		log_error("traffic of policies is dropped: %s", err.text);
		return;
	}
	tun_configure(b->tun_name);
	b->ifindex = b->routing.ifindex = if_nametoindex(b->tun_name);
	b->mtu = 0;
	esp_mtu_device(b);
	netlink_link_set(&b->routing.nl, b->ifindex, 0, true);
	routes_again(b);
}

static bool start_workers(struct esp_backend *b, unsigned count, struct backend_error *err)
{
	if (!sa_table_init(&b->sas))
		return esp_fail(err, "out of memory for the table of SAs");
	b->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	b->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (b->timer_fd < 0 || b->event_fd < 0)
		return esp_fail(err, "no descriptors for the ESP workers: %s", strerror(errno));
	if (!esp_workers_start(b, count, err))
		return false;
	esp_mtu_start(b);
	return true;
}

struct backend *esp_backend_new(const struct backend_events *events,
				const struct esp_options *options, struct backend_error *err)
{
	struct esp_backend *b = calloc(1, sizeof(*b));
	const char *name = options && options->tun_name ? options->tun_name : ESP_TUN_NAME;
	bool there = if_nametoindex(name) != 0;

	err->text[0] = '\0';
	if (!b) {
		esp_fail(err, "out of memory");
		return NULL;
	}
	b->base.ops = &esp_backend_ops;
	b->events = *events;
	b->use_guard = !options || !options->no_guard;
	b->gathering = options && options->gather;
	b->tun_fd = b->timer_fd = b->event_fd = -1;
	snprintf(b->tun_name, sizeof(b->tun_name), "%s", name);
	if (!start_system(b, err) || !start_workers(b, options ? options->workers : 0, err)) {
		/* what was there before us stays and goes on dropping */
		esp_backend_close((struct backend *)b, there);
		return NULL;
	}
	return (struct backend *)b;
}
