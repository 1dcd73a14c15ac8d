/* What the kernel tells: acquires, expiries, NAT mappings; and the first packet of an SA. */
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "kernel/xfrm_internal.h"

enum {
	WAITING_AT_ONCE = 64,   /* states asked about in one tick */
	REPORT_AGAIN_MS = 1000, /* the kernel tells a new mapping with every packet */
};

bool xfrm_events_open(struct xfrm_backend *x)
{
	static const unsigned groups[] = { XFRMNLGRP_ACQUIRE, XFRMNLGRP_EXPIRE, XFRMNLGRP_MAPPING };

	if (!netlink_open(&x->multicast, NETLINK_XFRM))
		return false;
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (!netlink_join(&x->multicast, groups[i]))
			return false;
	x->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	return x->timer >= 0;
}

size_t xfrm_fds(struct backend *b, int *fds, size_t max)
{
	const struct xfrm_backend *x = xfrm_of(b);
	size_t n = 0;

	if (n < max)
		fds[n++] = x->multicast.fd;
	if (n < max)
		fds[n++] = x->timer;
	return n;
}

static void timer_set(struct xfrm_backend *x, bool on)
{
	struct timespec every = { .tv_sec = x->poll_ms / 1000,
				  .tv_nsec = (long)(x->poll_ms % 1000) * 1000000 };
	struct itimerspec t = { 0 };

	if (on)
		t = (struct itimerspec){ .it_interval = every, .it_value = every };
	(void)timerfd_settime(x->timer, 0, &t, NULL);
}

void xfrm_wait_first_packet(struct xfrm_backend *x, struct xfrm_child *c)
{
	if (c->waiting)
		return;
	if (TAILQ_EMPTY(&x->waiting))
		timer_set(x, true);
	TAILQ_INSERT_TAIL(&x->waiting, c, waiting_entry);
	c->waiting = true;
}

void xfrm_wait_end(struct xfrm_backend *x, struct xfrm_child *c)
{
	if (!c->waiting)
		return;
	TAILQ_REMOVE(&x->waiting, c, waiting_entry);
	c->waiting = false;
	if (TAILQ_EMPTY(&x->waiting))
		timer_set(x, false);
}

static void take_packets(const struct nlmsghdr *m, void *context)
{
	struct xfrm_state_view v;
	uint64_t *packets = context;

	if (m->nlmsg_type == XFRM_MSG_NEWSA && xfrm_state_decode(m, &v))
		*packets = v.info.curlft.packets;
}

/** Ask about the SAs that wait, and tell of those that have had a packet. */
static void look_for_packets(struct xfrm_backend *x)
{
	uint32_t ids[WAITING_AT_ONCE];
	size_t n = 0;
	struct xfrm_child *c;

	TAILQ_FOREACH(c, &x->waiting, waiting_entry) {
		if (n == WAITING_AT_ONCE)
			break;
		ids[n++] = c->id;
	}
	/* the list may change in every callback, so each is looked up anew */
	for (size_t i = 0; i < n; i++) {
		uint64_t packets = 0;

		c = xfrm_child_find(x, ids[i]);
		if (c == NULL || !c->waiting)
			continue;
		xfrm_state_ask(x, &c->in, take_packets, &packets, NULL);
		if (packets > 0) {
			xfrm_wait_end(x, c);
			x->events.first_packet(x->events.context, c->id);
			continue;
		}
		/* those that were not asked about this time come first next time */
		TAILQ_REMOVE(&x->waiting, c, waiting_entry);
		TAILQ_INSERT_TAIL(&x->waiting, c, waiting_entry);
	}
}

/** One end of the packet that met a trap. */
static struct traffic_selector end_of(const struct xfrm_selector *sel, bool source)
{
	struct traffic_selector ts = { .protocol = sel->proto };
	uint16_t port = ntohs(source ? sel->sport : sel->dport);
	uint16_t mask = source ? sel->sport_mask : sel->dport_mask;

	ts.lo = xfrm_address_get(source ? &sel->saddr : &sel->daddr, sel->family);
	ts.hi = ts.lo;
	if (sel->proto == IPPROTO_ICMP || sel->proto == IPPROTO_ICMPV6) {
		port = (uint16_t)((ntohs(sel->sport) & 0xff) << 8 | (ntohs(sel->dport) & 0xff));
		mask = UINT16_MAX;
	}
	ts.port_lo = mask != 0 ? port : 0;
	ts.port_hi = mask != 0 ? port : UINT16_MAX;
	return ts;
}

static void on_acquire(struct xfrm_backend *x, const struct nlmsghdr *m)
{
	struct xfrm_user_acquire a;
	const struct xfrm_user_tmpl *t = NULL;
	const struct nlattr *attr;
	struct xfrm_entry *e;

	if (mnl_nlmsg_get_payload_len(m) < sizeof(a))
		return;
	memcpy(&a, mnl_nlmsg_get_payload(m), sizeof(a));
	mnl_attr_for_each(attr, m, sizeof(a))
		if (mnl_attr_get_type(attr) == XFRMA_TMPL &&
		    mnl_attr_get_payload_len(attr) >= sizeof(*t))
			t = mnl_attr_get_payload(attr);
	if (t == NULL || a.id.proto != IPPROTO_ESP)
		return;
	HASH_FIND(hh, x->entries, &t->reqid, sizeof(t->reqid), e);
	if (e == NULL || e->action != POLICY_TRAP)
		return; /* of another program; or dropping it is all there is to do */
	struct traffic_selector local = end_of(&a.sel, true), remote = end_of(&a.sel, false);

	x->acquires++;
	x->events.acquire(x->events.context, t->reqid, &local, &remote);
}

static struct xfrm_child *by_state(struct xfrm_backend *x, const struct ip_address *dst,
				   uint32_t spi, enum sa_direction *direction)
{
	struct xfrm_child *c;

	HASH_FIND(hh_spi, x->children_by_spi, &spi, sizeof(spi), c);
	*direction = SA_IN;
	if (c != NULL && ip_address_equal(&c->in.dst, dst))
		return c;
	*direction = SA_OUT;
	return xfrm_child_by_out(x, dst, spi);
}

static void on_expire(struct xfrm_backend *x, const struct nlmsghdr *m)
{
	struct xfrm_user_expire e;
	enum sa_direction direction;
	struct ip_address dst;
	struct xfrm_child *c;

	if (mnl_nlmsg_get_payload_len(m) < sizeof(e))
		return;
	memcpy(&e, mnl_nlmsg_get_payload(m), sizeof(e));
	if (e.state.id.proto != IPPROTO_ESP)
		return;
	dst = xfrm_address_get(&e.state.id.daddr, e.state.family);
	c = by_state(x, &dst, ntohl(e.state.id.spi), &direction);
	if (c == NULL)
		return; /* an acquire that came to nothing, or not ours */
	x->expires++;
	if (e.hard)
		xfrm_child_gone(x, c, direction); /* the kernel has removed it */
	x->events.expire(x->events.context, ntohl(e.state.id.spi), direction, e.hard != 0);
}

/** An authenticated packet came from another address or port (RFC 7296 §2.23). */
static void on_mapping(struct xfrm_backend *x, const struct nlmsghdr *m)
{
	const struct xfrm_user_mapping *p = mnl_nlmsg_get_payload(m);
	uint64_t now = clock_now_us();
	struct ip_endpoint to;
	struct xfrm_child *c;
	uint32_t spi;

	if (mnl_nlmsg_get_payload_len(m) < sizeof(*p))
		return;
	spi = ntohl(p->id.spi);
	HASH_FIND(hh_spi, x->children_by_spi, &spi, sizeof(spi), c);
	if (c == NULL)
		return;
	to = (struct ip_endpoint){ .address = xfrm_address_get(&p->new_saddr, p->id.family),
				   .port = ntohs(p->new_sport) };
	if (ip_endpoint_equal(&to, &c->path.remote) ||
	    (ip_endpoint_equal(&to, &c->reported) &&
	     now - c->reported_us < REPORT_AGAIN_MS * US_PER_MS))
		return;
	c->reported = to;
	c->reported_us = now;
	x->moves++;
	x->events.peer_moved(x->events.context, c->id, &to);
}

static void on_event(const struct nlmsghdr *m, void *context)
{
	struct xfrm_backend *x = context;

	switch (m->nlmsg_type) {
	case XFRM_MSG_ACQUIRE:
		on_acquire(x, m);
		break;
	case XFRM_MSG_EXPIRE:
		on_expire(x, m);
		break;
	case XFRM_MSG_MAPPING:
		on_mapping(x, m);
		break;
	default:
		break;
	}
}

void xfrm_process(struct backend *b, int fd)
{
	struct xfrm_backend *x = xfrm_of(b);
	static struct rate_limit limit = { .burst = 1, .per_second = 1 };
	uint64_t ticks;

	if (fd == x->timer) {
		if (read(x->timer, &ticks, sizeof(ticks)) == (ssize_t)sizeof(ticks))
			look_for_packets(x);
		return;
	}
	if (fd != x->multicast.fd || netlink_events(&x->multicast, on_event, x))
		return;
	/* what was lost comes again: packets meet the trap anew, limits are queried */
	x->lost_events++;
	log_limited(&limit, "the kernel's events came faster than they were read; some were lost");
}
