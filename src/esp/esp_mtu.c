/*
 * What fits through a tunnel. RFC 4301 §8.
 *
 * A way is what is known of the path to a peer: what our routes and links take, and what ICMP errors told. It leaves
 * each of its SAs so much for inner packets, and the routes of a policy have what the narrowest of its SAs leaves.
 * So the kernel tells senders (fragmentation needed, Packet Too Big) and fragments what may be, for each peer by
 * itself. The device has what the widest policy wants. Where the kernel forwards by the device's MTU alone, that of
 * the narrowest, for all.
 *
 * The kernel says when links, routes and rules change: then all ways are asked again. There may be 100,000, so that
 * all work that grows with them is done in slices, between which others have their turn.
 */
#include <stdlib.h>
#include <sys/timerfd.h>

#include "base/clock.h"
#include "base/log.h"
#include "esp/esp_backend.h"
#include "esp/tun.h"

enum {
	SLICE_US = 2000,
	PAUSE_US = 20000,      /* between two slices */
	SOON_US = 1000000,     /* a change seldom comes alone */
	ROUND_US = 10000000,   /* between two rounds of asking all */
	ICMP_EVERY_US = 50000, /* of one way */
};
#define LEARNED_US (600 * US_PER_S) /* RFC 1191 §6.3: then the path may have got better */

/* --- the device --------------------------------------------------------------------------------- */

static void set_device(struct esp_backend *b, uint32_t mtu)
{
	int rc = netlink_link_set(&b->routing.nl, b->ifindex, mtu, false);

	if (rc) {
		log_warning("cannot set the MTU of %s to %u: %s", b->tun_name, mtu, strerror(-rc));
		return;
	}
	log_debug("MTU of %s: %u", b->tun_name, mtu);
	b->mtu = mtu;
}

void esp_mtu_device(struct esp_backend *b)
{
	const struct mtu_work *w = &b->mtu_work;
	uint32_t mtu = w->per_route ? mtu_set_greatest(&w->wanted) : mtu_set_least(&w->wanted);

	if (!mtu)
		mtu = b->mtu ? b->mtu : MTU_WITHOUT_SA;
	/* below 1280 the device would lose IPv6 altogether */
	if (mtu < MTU_MIN_V6 && policy_list_has(b->policies, AF_INET6))
		mtu = MTU_MIN_V6;
	if (mtu != b->mtu)
		set_device(b, mtu);
}

void esp_mtu_allow_v6(struct esp_backend *b)
{
	if (b->mtu >= MTU_MIN_V6)
		return;
	set_device(b, MTU_MIN_V6);
	tun_configure(b->tun_name); /* IPv6's part of the device is a new one */
}

/* --- policies ----------------------------------------------------------------------------------- */

static bool has_v6(const struct sa_policy *policy)
{
	for (size_t i = 0; i < policy->remote_ts.count; i++)
		if (policy->remote_ts.ts[i].lo.family == AF_INET6)
			return true;
	return false;
}

uint32_t esp_mtu_of_routes(const struct esp_backend *b, const struct policy_record *p,
			   const struct sa_policy *policy)
{
	if (!b->mtu_work.per_route)
		return policy->mtu;
	return mtu_of_policy(p->leaves, has_v6(policy), policy->mtu);
}

/* What its SAs leave has changed, or which these are. */
static void policy_update(struct esp_backend *b, struct policy_record *p)
{
	const struct sa_record *r;
	uint32_t least = 0, wants, mtu;
	int rc;

	LIST_FOREACH(r, &p->outs, of_policy) {
		uint32_t leaves = atomic_load(&r->out->inner_mtu);

		if (leaves && (!least || leaves < least))
			least = leaves;
	}
	if (least)
		p->leaves = least;
	wants = least ? mtu_of_policy(least, p->v6, 0) : 0;
	if (mtu_set_change(&b->mtu_work.wanted, p->wants, wants))
		p->wants = wants;
	if (!p->set)
		return;
	mtu = esp_mtu_of_routes(b, p, &p->policy);
	if (mtu == p->mtu)
		return;
	rc = routing_set_mtu(&b->routing, p->routes, mtu);
	if (rc)
		log_warning("\"%s\": cannot set the MTU of its routes to %u: %s", p->policy.conn, mtu, strerror(-rc));
	p->mtu = mtu;
}

void esp_mtu_policy_set(struct esp_backend *b, struct policy_record *p)
{
	p->v6 = has_v6(&p->policy);
	policy_update(b, p);
	esp_mtu_device(b);
}

/* --- ways and their SAs ------------------------------------------------------------------------- */

static struct path_mtu *way_to(struct esp_backend *b, const struct ip_address *remote)
{
	struct mtu_work *w = &b->mtu_work;
	struct path_mtu *p;

	HASH_FIND(hh, w->ways, remote, sizeof(*remote), p);
	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->remote = *remote;
	LIST_INIT(&p->sas);
	HASH_ADD(hh, w->ways, remote, sizeof(p->remote), p);
	TAILQ_INSERT_TAIL(&w->ring, p, in_ring);
	return p;
}

static void way_put(struct esp_backend *b, struct path_mtu *p)
{
	struct mtu_work *w = &b->mtu_work;

	if (!LIST_EMPTY(&p->sas))
		return;
	HASH_DEL(w->ways, p);
	TAILQ_REMOVE(&w->ring, p, in_ring);
	if (p->changed)
		TAILQ_REMOVE(&w->changed, p, in_changed);
	if (p->ageing)
		TAILQ_REMOVE(&w->ageing, p, in_ageing);
	free(p);
}

/* What the way takes, 0 if that is not known. */
static uint32_t way_takes(const struct path_mtu *p)
{
	return p->learned && p->learned < p->route ? p->learned : p->route;
}

static void sa_update(struct esp_backend *b, const struct sa_record *r)
{
	uint32_t takes = way_takes(r->way);

	atomic_store_explicit(&r->out->path_mtu, takes, memory_order_relaxed);
	if (!takes)
		return;
	atomic_store(&r->out->inner_mtu, (uint32_t)sa_inner_mtu(&r->out->c, atomic_load(&r->out->path), takes));
	policy_update(b, r->policy);
}

/* Its SAs are told by slices. */
static void way_changed(struct esp_backend *b, struct path_mtu *p)
{
	p->next = LIST_FIRST(&p->sas);
	if (!p->changed)
		TAILQ_INSERT_TAIL(&b->mtu_work.changed, p, in_changed);
	p->changed = true;
}

/* It may be wider some time, and nobody will say so. */
static void way_ages(struct esp_backend *b, struct path_mtu *p)
{
	if (p->ageing)
		TAILQ_REMOVE(&b->mtu_work.ageing, p, in_ageing);
	TAILQ_INSERT_TAIL(&b->mtu_work.ageing, p, in_ageing);
	p->ageing = true;
	p->learned_us = clock_now_us();
}

static void ask_route(struct esp_backend *b, struct path_mtu *p)
{
	uint32_t mtu = netlink_route_mtu(&b->routing.nl, &p->remote, ESP_MARK);

	if (mtu)
		p->route = mtu;
}

static void ask_again(struct esp_backend *b, struct path_mtu *p)
{
	uint32_t before = way_takes(p);

	ask_route(b, p);
	if (way_takes(p) != before)
		way_changed(b, p);
}

static void detach(struct esp_backend *b, struct sa_record *r)
{
	struct path_mtu *p = r->way;

	if (p->next == r)
		p->next = LIST_NEXT(r, on_way);
	LIST_REMOVE(r, on_way);
	LIST_REMOVE(r, of_policy);
	HASH_DELETE(by_key, b->mtu_work.outs, r);
	r->way = NULL;
	way_put(b, p);
}

static void attach(struct esp_backend *b, struct sa_record *r, struct path_mtu *p)
{
	memset(&r->key, 0, sizeof(r->key));
	r->key.remote = p->remote;
	r->key.spi = r->sa.out.spi;
	r->way = p;
	LIST_INSERT_HEAD(&p->sas, r, on_way);
	LIST_INSERT_HEAD(&r->policy->outs, r, of_policy);
	HASH_ADD(by_key, b->mtu_work.outs, key, sizeof(r->key), r);
}

void esp_mtu_added(struct esp_backend *b, struct sa_record *r)
{
	struct path_mtu *p = way_to(b, &r->sa.path.remote.address);

	if (r->way && r->way != p)
		detach(b, r);
	if (!p)
		return;
	if (!r->way)
		attach(b, r, p);
	if (!p->route)
		ask_route(b, p);
	sa_update(b, r);
	esp_mtu_device(b);
}

void esp_mtu_removed(struct esp_backend *b, struct sa_record *r)
{
	if (!r->way)
		return;
	detach(b, r);
	policy_update(b, r->policy);
	esp_mtu_device(b);
}

/* --- slices ------------------------------------------------------------------------------------- */

/* One step of what there is to do; false if there is nothing. */
static bool step(struct esp_backend *b, uint64_t now)
{
	struct mtu_work *w = &b->mtu_work;
	struct path_mtu *p = TAILQ_FIRST(&w->changed);

	if (p && p->next) {
		const struct sa_record *r = p->next;

		p->next = LIST_NEXT(r, on_way);
		sa_update(b, r);
		return true;
	}
	if (p) {
		TAILQ_REMOVE(&w->changed, p, in_changed);
		p->changed = false;
		return true;
	}
	p = TAILQ_FIRST(&w->ageing);
	if (p && now - p->learned_us > LEARNED_US) {
		TAILQ_REMOVE(&w->ageing, p, in_ageing);
		p->ageing = false;
		if (p->learned)
			way_changed(b, p);
		p->learned = 0;
		ask_again(b, p);
		return true;
	}
	p = TAILQ_FIRST(&w->ring);
	if (!p || w->left == 0)
		return false;
	w->left--;
	TAILQ_REMOVE(&w->ring, p, in_ring);
	TAILQ_INSERT_TAIL(&w->ring, p, in_ring);
	ask_again(b, p);
	return true;
}

static void timer_at(const struct esp_backend *b, uint64_t now, uint64_t at)
{
	uint64_t in = at > now ? at - now : 1;
	struct itimerspec due = { .it_value = { .tv_sec = (time_t)(in / US_PER_S),
						.tv_nsec = (long)(in % US_PER_S) * 1000 } };

	timerfd_settime(b->timer_fd, 0, &due, NULL);
}

void esp_mtu_tick(struct esp_backend *b)
{
	struct mtu_work *w = &b->mtu_work;
	uint64_t start = clock_now_us(), now = start, next = b->checked_us + SYSTEM_CHECK_US;
	bool more = true;

	if (w->stale && start >= w->round_us && w->left == 0) {
		w->stale = !w->watch.socket;
		w->left = HASH_COUNT(w->ways);
		w->round_us = start + ROUND_US;
	}
	while (now - start < SLICE_US && (more = step(b, now)))
		now = clock_now_us();
	esp_mtu_device(b);
	now = w->slice_us = clock_now_us();
	if (more)
		next = now + PAUSE_US;
	else if (w->stale && w->round_us < next)
		next = w->round_us;
	timer_at(b, now, next); /* or for esp_check_system() */
}

/* There is something to do: at once, unless there was a slice just now. */
static void go_on(struct esp_backend *b)
{
	uint64_t now = clock_now_us(), at = b->mtu_work.slice_us + PAUSE_US;

	if (now >= at)
		esp_mtu_tick(b);
	else
		timer_at(b, now, at);
}

/* --- what the kernel and the workers say ---------------------------------------------------------- */

void esp_mtu_start(struct esp_backend *b)
{
	struct mtu_work *w = &b->mtu_work;
	int rc = rtnetlink_listen(&w->watch, ESP_PROTOCOL);

	TAILQ_INIT(&w->ring);
	TAILQ_INIT(&w->changed);
	TAILQ_INIT(&w->ageing);
	w->per_route = b->routing.lock_v6 = b->features.route_mtu;
	if (rc)
		log_debug("the kernel does not say when routes change: asked every %d s (%s)", ROUND_US / 1000000,
			  strerror(-rc));
	w->stale = rc != 0;
	b->checked_us = clock_now_us();
	timer_at(b, b->checked_us, b->checked_us + SYSTEM_CHECK_US);
}

int esp_mtu_fd(const struct esp_backend *b)
{
	const struct mtu_work *w = &b->mtu_work;

	return w->watch.socket ? mnl_socket_get_fd(w->watch.socket) : -1;
}

struct heard {
	const struct routing *routing;
	bool foreign;
};

static void on_heard(const struct nlmsghdr *h, void *context)
{
	struct heard *heard = context;

	heard->foreign |= routing_foreign(heard->routing, h);
}

void esp_mtu_heard(struct esp_backend *b)
{
	struct mtu_work *w = &b->mtu_work;
	struct heard heard = { .routing = &b->routing };
	uint64_t soon = clock_now_us() + SOON_US;
	bool all = netlink_hear(&w->watch, on_heard, &heard);

	if ((all && !heard.foreign) || w->stale)
		return;
	w->stale = true;
	if (w->round_us < soon)
		w->round_us = soon;
	go_on(b);
}

/* A packet was too large for our own link, or for what the kernel learned of the path. */
static void link_refused(struct esp_backend *b, uint32_t child_id)
{
	struct sa_record *r;

	HASH_FIND(hh, b->sa_records, &child_id, sizeof(child_id), r);
	if (!r || !r->way)
		return;
	ask_again(b, r->way);
	way_ages(b, r->way);
	go_on(b);
}

void esp_mtu_event(struct esp_backend *b, const struct worker_event *e)
{
	uint32_t floor = e->endpoint.address.family == AF_INET6 ? MTU_MIN_V6 : MTU_MIN_V4;
	struct out_key key;
	struct sa_record *r;
	struct path_mtu *p;

	if (e->spi == 0) {
		link_refused(b, e->child_id);
		return;
	}
	/* anyone can forge an ICMP error: it counts only with the SPI of an SA to that peer */
	memset(&key, 0, sizeof(key));
	key.remote = e->endpoint.address;
	key.spi = e->spi;
	HASH_FIND(by_key, b->mtu_work.outs, &key, sizeof(key), r);
	p = r ? r->way : NULL;
	if (!p || e->mtu < floor || (p->learned && e->mtu >= p->learned) ||
	    (p->route && e->mtu >= p->route))
		return;
	/* of what is genuine every dropped packet brings one more */
	if (p->learned && clock_now_us() - p->learned_us < ICMP_EVERY_US)
		return;
	p->learned = e->mtu;
	way_ages(b, p);
	way_changed(b, p);
	log_info("the path to the peer of SPI 0x%08x takes %u bytes", e->spi, e->mtu);
	go_on(b);
}

void esp_mtu_free(struct esp_backend *b)
{
	struct mtu_work *w = &b->mtu_work;
	struct path_mtu *p = w->ways, *next;

	HASH_CLEAR(by_key, w->outs);
	HASH_CLEAR(hh, w->ways);
	for (; p; p = next) {
		next = p->hh.next;
		free(p);
	}
	mtu_set_free(&w->wanted);
	rtnetlink_close(&w->watch);
}
