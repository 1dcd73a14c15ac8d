#include "esp/esp.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "esp/esp_backend.h"

enum { IKE_A_TURN = 256, EVENTS_A_TURN = 256, GUARD_BURST_US = 20000 };

static struct esp_backend *self(struct backend *b)
{
	return (struct esp_backend *)b;
}

bool esp_fail(struct backend_error *err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	return false;
}

/* --- records ---------------------------------------------------------------------------- */

static struct policy_record *policy_record_get(struct esp_backend *b, uint32_t reqid)
{
	struct policy_record *p;

	HASH_FIND(hh, b->policy_records, &reqid, sizeof(reqid), p);
	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->reqid = p->state.reqid = reqid;
	HASH_ADD(hh, b->policy_records, reqid, sizeof(p->reqid), p);
	return p;
}

/* Only when the worker cannot see it: not in the list of policies, no SAs. */
static void policy_record_put(struct esp_backend *b, struct policy_record *p)
{
	if (p->set || p->users)
		return;
	HASH_DEL(b->policy_records, p);
	free((void *)(uintptr_t)atomic_load(&p->state.out));
	free(p);
}

static struct sa_record *sa_record_find(struct esp_backend *b, uint32_t id)
{
	struct sa_record *r;

	HASH_FIND(hh, b->sa_records, &id, sizeof(id), r);
	return r;
}

static struct sa_record *sa_record_new(struct esp_backend *b, const struct child_sa *sa)
{
	struct sa_record *r = secret_alloc(sizeof(*r));
	struct policy_record *p = r ? policy_record_get(b, sa->reqid) : NULL;

	if (!p) {
		secret_free(r);
		return NULL;
	}
	r->sa = *sa;
	r->policy = p;
	r->raw = RAW_NONE;
	r->worker = SPI_WORKER(sa->in.spi) % b->worker_count;
	r->added_s = clock_wall_s();
	p->users++;
	HASH_ADD(hh, b->sa_records, sa.id, sizeof(r->sa.id), r);
	return r;
}

static void sa_record_put(struct esp_backend *b, struct sa_record *r)
{
	if (r->in || r->out)
		return;
	esp_raw_forget(b, r);
	HASH_DEL(b->sa_records, r);
	r->policy->users--;
	policy_record_put(b, r->policy);
	secret_free(r);
}

/* --- SPIs ------------------------------------------------------------------------------- */

static unsigned op_resources(struct backend *base)
{
	return self(base)->worker_count;
}

static uint32_t op_alloc_spi(struct backend *base, const struct ip_address *local,
			     const struct ip_address *remote, uint32_t reqid, unsigned resource,
			     struct backend_error *err)
{
	uint32_t spi = sa_table_alloc(&self(base)->sas, esp_worker_of(self(base), reqid, resource));

	(void)local;
	(void)remote;
	if (!spi)
		esp_fail(err, "all %d SPIs of user space are in use", SA_SLOTS);
	return spi;
}

static void op_free_spi(struct backend *base, const struct ip_address *local, uint32_t spi)
{
	(void)local;
	sa_table_release(&self(base)->sas, spi);
}

/* --- SAs -------------------------------------------------------------------------------- */

/* The UDP socket that packets from `local` leave by; UDP_SOCKETS_MAX if there is none. */
static size_t udp_slot_for(const struct esp_backend *b, const struct ip_endpoint *local)
{
	size_t best = UDP_SOCKETS_MAX;

	for (size_t i = 0; i < UDP_SOCKETS_MAX; i++) {
		const struct udp_slot *u = &b->workers[0]->udp[i];

		if (atomic_load(&u->fd) < 0 || u->local.address.family != local->address.family)
			continue;
		if (ip_endpoint_equal(&u->local, local))
			return i;
		if (ip_address_equal(&u->local.address, &local->address) ||
		    (best == UDP_SOCKETS_MAX && ip_address_is_any(&u->local.address)))
			best = i;
	}
	return best;
}

static bool path_for(const struct esp_backend *b, const struct esp_path *path, struct sa_path *out,
		     struct backend_error *err)
{
	size_t slot = path->udp_encap ? udp_slot_for(b, &path->local) : 0;
	char text[IP_ENDPOINT_TEXT];

	if (slot == UDP_SOCKETS_MAX)
		return esp_fail(err, "no UDP socket is bound to %s for ESP in UDP",
				ip_endpoint_format(&path->local, text));
	if (path->local.address.family != path->remote.address.family ||
	    ip_address_size(&path->local.address) == 0)
		return esp_fail(err, "the SA's end points have no common address family");
	if (!path->udp_encap && path->remote.address.family == AF_INET6 && !b->raw[RAW_V6].here)
		return esp_fail(err, "this system has no IPv6");
	*out = sa_path_make(path, (uint8_t)slot);
	return true;
}

static bool add_in(struct esp_backend *b, struct sa_record *r, const struct child_sa *sa,
		   struct backend_error *err)
{
	const char *why;

	if (r->in)
		return esp_fail(err, "inbound SA 0x%08x is there already", sa->in.spi);
	if (!sa_table_taken(&b->sas, sa->in.spi) && !sa_table_claim(&b->sas, sa->in.spi))
		return esp_fail(err, "SPI 0x%08x is not free", sa->in.spi);
	if (!esp_raw_follow(b, r, &r->sa.path, err))
		return false;
	r->in = sa_in_new(sa, &why);
	if (!r->in)
		return esp_fail(err, "%s", why);
	r->in->worker %= b->worker_count;
	r->sa.in = sa->in;
	sa_table_put(&b->sas, sa->in.spi, r->in);
	return true;
}

/* Publish the outbound SAs of a reqid; the old list is freed when nobody reads it. */
static void publish_out(struct esp_backend *b, struct policy_record *p, struct sa_list *list)
{
	void *old = (void *)(uintptr_t)atomic_load(&p->state.out);

	atomic_store(&p->state.out, list);
	esp_workers_changed(b);
	esp_workers_quiesce(b);
	free(old);
}

static bool add_out(struct esp_backend *b, struct sa_record *r, const struct child_sa *sa,
		    struct backend_error *err)
{
	struct sa_path path;
	struct sa_list *list;
	const char *why;

	if (r->out)
		return esp_fail(err, "outbound SA 0x%08x is there already", sa->out.spi);
	if (!path_for(b, &sa->path, &path, err))
		return false;
	if (!esp_raw_follow(b, r, &sa->path, err))
		return false;
	r->out = sa_out_new(sa, &why);
	if (!r->out)
		return esp_fail(err, "%s", why);
	sa_out_set_path(r->out, &path);
	r->out->worker %= b->worker_count;
	list = sa_list_with(atomic_load(&r->policy->state.out), r->out);
	if (!list) {
		sa_out_free(r->out);
		r->out = NULL;
		return esp_fail(err, "out of memory");
	}
	r->sa.out = sa->out;
	r->sa.path = sa->path;
	esp_mtu_added(b, r);
	publish_out(b, r->policy, list);
	esp_workers_count_out(b, r->out->worker, 1);
	return true;
}

static void remove_in(struct esp_backend *b, struct sa_record *r)
{
	sa_table_put(&b->sas, r->in->c.spi, NULL);
	esp_workers_quiesce(b);
	sa_table_release(&b->sas, r->in->c.spi);
	sa_in_free(r->in);
	r->in = NULL;
	secret_wipe(&r->sa.in, sizeof(r->sa.in));
}

static void remove_out(struct esp_backend *b, struct sa_record *r)
{
	/* without memory all of the reqid's SAs go out of use: dropping is always safe */
	publish_out(b, r->policy, sa_list_without(atomic_load(&r->policy->state.out), r->out));
	esp_workers_count_out(b, r->out->worker, -1);
	esp_mtu_removed(b, r);
	sa_out_free(r->out);
	r->out = NULL;
	secret_wipe(&r->sa.out, sizeof(r->sa.out));
}

static void op_remove(struct backend *base, const struct child_sa *sa, enum sa_direction which)
{
	struct esp_backend *b = self(base);
	struct sa_record *r = sa_record_find(b, sa->id);

	if (!r)
		return;
	if ((which & SA_OUT) && r->out)
		remove_out(b, r);
	if ((which & SA_IN) && r->in)
		remove_in(b, r);
	sa_record_put(b, r);
}

static bool op_add(struct backend *base, const struct child_sa *sa, enum sa_direction which,
		   struct backend_error *err)
{
	struct esp_backend *b = self(base);
	struct sa_record *r = sa_record_find(b, sa->id);
	bool in = false, ok;

	err->text[0] = '\0';
	if (sa->mark_in_mask || sa->mark_out_mask)
		return esp_fail(err, "marks need the kernel's ESP (protostack=xfrm)");
	if (!r)
		r = sa_record_new(b, sa);
	if (!r)
		return esp_fail(err, "out of memory");
	ok = !(which & SA_IN) || (in = add_in(b, r, sa, err));
	ok = ok && (!(which & SA_OUT) || add_out(b, r, sa, err));
	if (!ok && in)
		remove_in(b, r);
	if (!ok)
		sa_record_put(b, r);
	return ok;
}

static bool op_move(struct backend *base, const struct child_sa *sa, const struct esp_path *to,
		    struct backend_error *err)
{
	struct esp_backend *b = self(base);
	struct sa_record *r = sa_record_find(b, sa->id);
	struct sa_path path;

	err->text[0] = '\0';
	if (!r)
		return esp_fail(err, "there is no such SA");
	if (r->out && !path_for(b, to, &path, err))
		return false;
	if (!esp_raw_follow(b, r, to, err))
		return false;
	if (r->out) {
		sa_out_set_path(r->out, &path);
		esp_workers_quiesce(b);
	}
	if (r->in)
		atomic_store(&r->in->udp_encap, to->udp_encap);
	r->sa.path = *to;
	if (r->out)
		esp_mtu_added(b, r);
	return true;
}

static uint64_t age_s(uint64_t last_us, uint64_t now_us)
{
	if (last_us == 0)
		return UINT64_MAX;
	return now_us > last_us ? (now_us - last_us) / US_PER_S : 0;
}

static bool op_query(struct backend *base, const struct child_sa *sa, struct child_sa_usage *out)
{
	struct sa_record *r = sa_record_find(self(base), sa->id);
	uint64_t now = clock_now_us();

	*out = (struct child_sa_usage){ .in_last_s = UINT64_MAX, .out_last_s = UINT64_MAX };
	if (!r)
		return false;
	if (r->in) {
		out->in_bytes = counter_get(&r->in->c.bytes);
		out->in_packets = counter_get(&r->in->c.packets);
		out->in_last_s = age_s(counter_get(&r->in->c.last_us), now);
		out->replay_dropped = counter_get(&r->in->replay_dropped);
		out->integrity_failed = counter_get(&r->in->integrity_failed);
	}
	if (r->out) {
		out->out_bytes = counter_get(&r->out->c.bytes);
		out->out_packets = counter_get(&r->out->c.packets);
		out->out_last_s = age_s(counter_get(&r->out->c.last_us), now);
	}
	return true;
}

/* --- policies --------------------------------------------------------------------------- */

static void publish_policies(struct esp_backend *b, struct policy_list *list)
{
	struct policy_list *old = b->policies;

	b->policies = list;
	if (!b->gathering) /* else no worker has seen any of them yet */
		esp_workers_policies(b, list);
	policy_list_free(old);
}

void esp_rebuild_guard(struct esp_backend *b)
{
	size_t own_n = 0, n = b->policies ? b->policies->count : 0;
	const struct policy_entry **pairs = NULL;
	struct ip_address *own;
	struct policy_record *p, *tmp;

	b->guard_dirty = false;
	if (!b->use_guard)
		return;
	own = calloc(HASH_COUNT(b->policy_records) + 1, sizeof(*own));
	if (n)
		pairs = policy_list_sorted(b->policies);
	if (!own || (n && !pairs)) {
		log_error("out of memory: the packet filter stays as it is");
	} else {
		HASH_ITER(hh, b->policy_records, p, tmp)
			if (p->set)
				own[own_n++] = p->policy.local;
		guard_rebuild(&b->guard, pairs, n, own, own_n);
		b->guard_flushed_us = clock_now_us();
	}
	free(own);
	free(pairs);
}

/* Removal may wait for the next turn of the daemon's loop: many go at once. */
static void remove_from_guard(struct esp_backend *b, const struct sa_policy *policy)
{
	if (!b->settled || b->guard_dirty || b->policies->count == 0 || !guard_remove(&b->guard, policy))
		b->guard_dirty = true;
	eventfd_write(b->event_fd, 1);
}

static bool same_guard(const struct sa_policy *a, const struct sa_policy *b)
{
	return a->action == b->action && a->priority == b->priority &&
	       ip_address_equal(&a->local, &b->local) && ts_list_equal(&a->local_ts, &b->local_ts) &&
	       ts_list_equal(&a->remote_ts, &b->remote_ts);
}

static void flush_guard(struct esp_backend *b)
{
	if (!guard_flush(&b->guard))
		esp_rebuild_guard(b);
	else
		b->guard_flushed_us = clock_now_us();
}

static void update_guard(struct esp_backend *b, const struct policy_record *p,
			 const struct sa_policy *old)
{
	bool append;

	if (!b->use_guard || b->gathering || (old && same_guard(old, &p->policy)))
		return;
	/* before settling, a predecessor's rules stay in force, and ours come behind them */
	append = !(old && b->settled) && guard_append(&b->guard, &p->policy);
	/* one policy takes effect at once; of many in a row, all but the first together */
	if (clock_now_us() - b->guard_flushed_us < GUARD_BURST_US && (append || b->settled)) {
		b->guard_dirty |= !append;
		eventfd_write(b->event_fd, 1);
		return;
	}
	if (append)
		flush_guard(b);
	else
		esp_rebuild_guard(b);
}

static bool op_policy_set(struct backend *base, const struct sa_policy *policy,
			  struct backend_error *err)
{
	struct esp_backend *b = self(base);
	struct policy_record *p;
	struct policy_list *list;
	struct route_set *routes;
	struct sa_policy old;
	bool replaced;

	err->text[0] = '\0';
	if (policy->mark_in_mask || policy->mark_out_mask)
		return esp_fail(err, "marks need the kernel's ESP (protostack=xfrm)");
	p = policy_record_get(b, policy->reqid);
	list = p ? policy_list_replace(b->policies, &p->state, p->set ? &p->policy : NULL, policy) : NULL;
	if (!list) {
		if (p)
			policy_record_put(b, p);
		return esp_fail(err, "out of memory");
	}
	for (size_t i = 0; i < policy->remote_ts.count; i++)
		if (policy->remote_ts.ts[i].lo.family == AF_INET6)
			esp_mtu_allow_v6(b);
	/* packets come only with the routes, and go only where the worker knows them */
	routes = routing_add(&b->routing, policy, esp_mtu_of_routes(b, p, policy), err);
	if (!routes) {
		policy_list_free(list);
		policy_record_put(b, p);
		return false;
	}
	replaced = p->set;
	old = p->policy;
	p->policy = *policy;
	p->set = true;
	publish_policies(b, list);
	update_guard(b, p, replaced ? &old : NULL);
	routing_remove(&b->routing, p->routes);
	p->routes = routes;
	esp_mtu_policy_set(b, p);
	return true;
}

static void op_policy_remove(struct backend *base, uint32_t reqid)
{
	struct esp_backend *b = self(base);
	struct policy_record *p;
	struct policy_list *list;

	HASH_FIND(hh, b->policy_records, &reqid, sizeof(reqid), p);
	if (!p || !p->set)
		return;
	list = policy_list_replace(b->policies, &p->state, &p->policy, NULL);
	if (!list) {
		log_error("out of memory: the policy of \"%s\" stays", p->policy.conn);
		return;
	}
	routing_remove(&b->routing, p->routes);
	p->routes = NULL;
	publish_policies(b, list);
	p->set = false;
	remove_from_guard(b, &p->policy);
	policy_record_put(b, p);
}

/* --- sockets and events ------------------------------------------------------------------- */

static bool op_udp_socket(struct backend *base, int fd, const struct ip_endpoint *local,
			  struct backend_error *err)
{
	struct esp_backend *b = self(base);
	char text[IP_ENDPOINT_TEXT];
	size_t slot = UDP_SOCKETS_MAX;

	err->text[0] = '\0';
	for (size_t i = UDP_SOCKETS_MAX; i-- > 0;) {
		const struct udp_slot *u = &b->workers[0]->udp[i];
		int used = atomic_load(&u->daemon_fd);

		if (used == fd && ip_endpoint_equal(&u->local, local))
			return true;
		if (used < 0)
			slot = i;
	}
	/* the SAs of an address find their socket again after it was bound anew */
	for (size_t i = 0; i < UDP_SOCKETS_MAX; i++)
		if (atomic_load(&b->workers[0]->udp[i].fd) < 0 &&
		    ip_endpoint_equal(&b->workers[0]->udp[i].local, local))
			slot = i;
	if (slot == UDP_SOCKETS_MAX)
		return esp_fail(err, "more than %d UDP sockets", UDP_SOCKETS_MAX);
	if (wire_udp_prepare(fd, local, &b->features) && esp_workers_add_udp(b, slot, fd, local))
		return true;
	esp_fail(err, "cannot take the UDP socket of %s: %s", ip_endpoint_format(local, text), strerror(errno));
	wire_udp_release(fd);
	return false;
}

void esp_backend_udp_forget(struct backend *base, int fd)
{
	struct esp_backend *b = self(base);

	esp_workers_forget_udp(b, fd);
}

static size_t op_fds(struct backend *base, int *fds, size_t max)
{
	const struct esp_backend *b = self(base);
	const int all[] = { b->event_fd, b->timer_fd, esp_mtu_fd(b) };
	size_t n = all[2] >= 0 ? 3 : 2;

	if (n > max)
		n = max;
	memcpy(fds, all, n * sizeof(all[0]));
	return n;
}

/* The peer's NAT has a new mapping: our packets follow at once. */
static void peer_moved(struct esp_backend *b, const struct worker_event *e)
{
	struct sa_record *r = sa_record_find(b, e->child_id);
	struct backend_error err;
	struct esp_path to;

	if (!r || ip_endpoint_equal(&r->sa.path.remote, &e->endpoint))
		return;
	to = r->sa.path;
	to.remote = e->endpoint;
	if (!op_move((struct backend *)b, &r->sa, &to, &err))
		log_warning("cannot follow the peer of \"%s\": %s", r->sa.conn, err.text);
	else if (b->events.peer_moved)
		b->events.peer_moved(b->events.context, e->child_id, &to.remote);
}

static void on_event(struct esp_backend *b, const struct worker_event *e)
{
	const struct backend_events *to = &b->events;

	switch (e->kind) {
	case EVENT_ACQUIRE:
		if (to->acquire)
			to->acquire(to->context, e->reqid, &e->local, &e->remote);
		return;
	case EVENT_EXPIRE:
		if (to->expire)
			to->expire(to->context, e->spi, e->direction, e->hard);
		return;
	case EVENT_FIRST_PACKET:
		if (to->first_packet)
			to->first_packet(to->context, e->child_id);
		return;
	case EVENT_PEER_MOVED:
		peer_moved(b, e);
		return;
	case EVENT_PATH_MTU:
		esp_mtu_event(b, e);
		return;
	case EVENT_DEVICE_GONE:
		esp_device_again(b);
		return;
	}
}

static void drain_ike(struct esp_backend *b, struct esp_worker *w)
{
	const struct ike_record *r;
	size_t len;
	int n;

	for (n = 0; n < IKE_A_TURN && (r = ring_peek(&w->ike, &len)); n++) {
		if (b->events.ike_datagram)
			b->events.ike_datagram(b->events.context, &r->local, &r->remote, r->data,
					       len - sizeof(*r));
		ring_pop(&w->ike);
	}
	if (n == IKE_A_TURN) /* perhaps more: after others had their turn */
		eventfd_write(b->event_fd, 1);
}

static void drain_events(struct esp_backend *b, struct esp_worker *w)
{
	const struct worker_event *next;
	size_t len;
	int n;

	for (n = 0; n < EVENTS_A_TURN && (next = ring_peek(&w->events, &len)); n++) {
		struct worker_event e = *next;

		ring_pop(&w->events);
		on_event(b, &e);
	}
	if (n == EVENTS_A_TURN)
		eventfd_write(b->event_fd, 1);
}

static void op_process(struct backend *base, int fd)
{
	struct esp_backend *b = self(base);
	uint64_t v;

	if (fd == esp_mtu_fd(b)) {
		esp_mtu_heard(b);
		return;
	}
	if (read(fd, &v, sizeof(v)) < 0 && errno != EAGAIN)
		return;
	if (fd == b->timer_fd) {
		esp_check_system(b);
		esp_mtu_tick(b);
		return;
	}
	for (unsigned i = 0; i < b->worker_count; i++) {
		drain_events(b, b->workers[i]);
		drain_ike(b, b->workers[i]);
	}
	routing_flush(&b->routing);
	if (b->guard_dirty && b->settled)
		esp_rebuild_guard(b);
	else if (guard_waits(&b->guard))
		flush_guard(b);
}

const struct backend_ops esp_backend_ops = {
	.name = "user",
	.close = esp_backend_close,
	.resources = op_resources,
	.alloc_spi = op_alloc_spi,
	.free_spi = op_free_spi,
	.add = op_add,
	.remove = op_remove,
	.move = op_move,
	.query = op_query,
	.policy_set = op_policy_set,
	.policy_remove = op_policy_remove,
	.udp_socket = op_udp_socket,
	.fds = op_fds,
	.process = op_process,
	.describe = esp_describe,
	.status = esp_status,
};
