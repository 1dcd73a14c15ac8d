/*
 * The TUN device's MTU: what the narrowest path leaves after ESP. The kernel then tells senders
 * (fragmentation needed, Packet Too Big) and fragments what may be. RFC 4301 §8.
 */
#include <stdlib.h>
#include <sys/timerfd.h>

#include "base/clock.h"
#include "base/log.h"
#include "esp/esp_backend.h"
#include "esp/tun.h"

enum {
	MTU_WITHOUT_SA = 1400,
	MTU_MAX = 9000,          /* below PACKET_MAX */
	MTU_MIN_V4 = 552,        /* the kernel's own floor for learned values (min_pmtu) */
	MTU_MIN_V6 = 1280,       /* RFC 8200 §5; RFC 8201 §4: a Packet Too Big with less is none */
	REFRESH_S = 10,
	SOON_S = 1,
	ICMP_EVERY_US = 50000,
	LEARNED_S = 600,         /* RFC 1191 §6.3: then the path may have got better */
};

static struct path_mtu *path_of(struct esp_backend *b, const struct ip_address *remote)
{
	struct path_mtu *p;

	HASH_FIND(hh, b->path_mtus, remote, sizeof(*remote), p);
	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return NULL;
		p->remote = *remote;
		HASH_ADD(hh, b->path_mtus, remote, sizeof(p->remote), p);
	}
	return p;
}

static void ask_route(struct esp_backend *b, struct path_mtu *p)
{
	uint32_t mtu = netlink_route_mtu(&b->routing.nl, &p->remote, ESP_MARK);

	if (mtu)
		p->route = mtu;
	if (p->learned && clock_now_us() - p->learned_us > LEARNED_S * US_PER_S)
		p->learned = 0;
}

/* The SA's packets are fragmented by this path from now on. What fits into one, 0 if the way is not known. */
static uint32_t take_path(const struct sa_record *r, const struct path_mtu *p)
{
	uint32_t mtu = p->learned && p->learned < p->route ? p->learned : p->route;

	atomic_store_explicit(&r->out->path_mtu, mtu, memory_order_relaxed);
	if (!mtu)
		return 0;
	return (uint32_t)sa_inner_mtu(&r->out->c, atomic_load(&r->out->path), mtu);
}

static void set_mtu(struct esp_backend *b, uint32_t mtu)
{
	uint32_t floor = MTU_MIN_V4;
	int rc;

	/* below 1280 the device would lose IPv6 altogether; larger ones are fragmented outside */
	if (policy_list_has(b->policies, AF_INET6))
		floor = MTU_MIN_V6;
	if (mtu < floor)
		mtu = floor;
	if (mtu > MTU_MAX)
		mtu = MTU_MAX;
	if (mtu == b->mtu)
		return;
	rc = netlink_link_set(&b->routing.nl, b->ifindex, mtu, false);
	if (rc) {
		log_warning("cannot set the MTU of %s to %u: %s", b->tun_name, mtu, strerror(-rc));
		return;
	}
	log_debug("MTU of %s: %u", b->tun_name, mtu);
	b->mtu = mtu;
	for (unsigned i = 0; i < b->worker_count; i++)
		atomic_store(&b->workers[i]->tun_mtu, mtu);
}

void esp_mtu_added(struct esp_backend *b, const struct sa_record *record)
{
	struct path_mtu *p = path_of(b, &record->sa.path.remote.address);
	uint32_t mtu;

	if (!p)
		return;
	if (!p->route)
		ask_route(b, p);
	mtu = take_path(record, p);
	/* the first SA may raise it from the guess; otherwise the timer does that */
	if (mtu && (mtu < b->mtu || HASH_COUNT(b->sa_records) == 1))
		set_mtu(b, mtu);
	esp_mtu_refresh_soon(b);
}

void esp_mtu_allow_v6(struct esp_backend *b)
{
	if (b->mtu >= MTU_MIN_V6)
		return;
	set_mtu(b, MTU_MIN_V6);
	tun_configure(b->tun_name); /* IPv6's part of the device is a new one */
}

void esp_mtu_refresh_soon(struct esp_backend *b)
{
	struct itimerspec soon = { .it_interval.tv_sec = REFRESH_S, .it_value.tv_sec = SOON_S };

	timerfd_settime(b->timer_fd, 0, &soon, NULL);
}

void esp_mtu_refresh(struct esp_backend *b)
{
	uint32_t lowest = 0;
	struct path_mtu *p, *t1;
	struct sa_record *r, *t2;

	HASH_ITER(hh, b->path_mtus, p, t1)
		ask_route(b, p);
	HASH_ITER(hh, b->sa_records, r, t2) {
		uint32_t mtu = 0;

		p = r->out ? path_of(b, &r->sa.path.remote.address) : NULL;
		if (p)
			mtu = take_path(r, p);
		if (mtu && (!lowest || mtu < lowest))
			lowest = mtu;
	}
	set_mtu(b, lowest ? lowest : b->mtu ? b->mtu : MTU_WITHOUT_SA);
}

void esp_mtu_event(struct esp_backend *b, const struct worker_event *e)
{
	uint32_t floor = e->endpoint.address.family == AF_INET6 ? MTU_MIN_V6 : MTU_MIN_V4;
	struct sa_record *r, *tmp;
	struct path_mtu *p = NULL;

	if (e->spi == 0) { /* our own link refused the size */
		esp_mtu_refresh(b);
		return;
	}
	/* each costs a look at all SAs, and of what is genuine every dropped packet brings one more */
	if (clock_now_us() - b->icmp_heeded_us < ICMP_EVERY_US)
		return;
	b->icmp_heeded_us = clock_now_us();
	/* anyone can forge an ICMP error: it counts only with the SPI of an SA to that peer */
	HASH_ITER(hh, b->sa_records, r, tmp)
		if (r->out && r->sa.out.spi == e->spi &&
		    ip_address_equal(&r->sa.path.remote.address, &e->endpoint.address))
			p = path_of(b, &e->endpoint.address);
	if (!p || e->mtu < floor || (p->learned && e->mtu >= p->learned) ||
	    (p->route && e->mtu >= p->route))
		return;
	p->learned = e->mtu;
	p->learned_us = clock_now_us();
	log_info("the path to the peer of SPI 0x%08x takes %u bytes", e->spi, e->mtu);
	esp_mtu_refresh(b);
}

void esp_mtu_free(struct esp_backend *b)
{
	struct path_mtu *p = b->path_mtus, *next;

	HASH_CLEAR(hh, b->path_mtus);
	for (; p; p = next) {
		next = p->hh.next;
		free(p);
	}
}
