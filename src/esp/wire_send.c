/* ESP packets on their way out: as many as the kernel takes at once, in order. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "esp/worker.h"

enum {
	CONTROL_BYTES = 96,
	SEND_WAIT_MS = 20, /* for a device that does not keep up, once a turn */
	UDP_PAYLOAD_MAX = 65507, /* RFC 768 in IPv4; IPv6 would take 20 more */
};

#define SEGMENTS_AGAIN_US UINT64_C(10000000)

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

/* Messages of one sendmmsg; message i has packets first[i] up to first[i + 1]. */
struct send_batch {
	size_t count, iov_count;
	size_t first[OUT_MESSAGES + 1];
	struct mmsghdr msgs[OUT_MESSAGES];
	struct iovec iov[OUT_BATCH];
	_Alignas(struct cmsghdr) uint8_t control[OUT_MESSAGES][CONTROL_BYTES];
};

/* --- what goes into one message --------------------------------------------------------------- */

static bool takes_segments(const struct esp_worker *w, const struct out_packet *p)
{
	const struct sa_path *path = p->path;

	return w->features->udp_segment && path->udp_encap && !p->too_large &&
	       w->now_us >= w->udp[path->socket].segments_from_us;
}

bool wire_joins(const struct esp_worker *w, const struct out_packet *first, const struct out_packet *last,
		const struct out_packet *p, size_t count, size_t bytes)
{
	return p->path == first->path && p->tos == first->tos && last->len == first->len &&
	       p->len <= first->len && count < w->features->udp_segments_max && !first->too_large &&
	       bytes + p->len <= UDP_PAYLOAD_MAX && takes_segments(w, p);
}

bool wire_full(const struct esp_worker *w, const struct out_packet *p, size_t count, size_t bytes)
{
	return takes_segments(w, p) &&
	       (count >= w->features->udp_segments_max || bytes + p->len > UDP_PAYLOAD_MAX);
}

static struct cmsghdr *add_control(struct msghdr *m, size_t *used, int level, int type,
				   const void *data, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)(void *)((uint8_t *)m->msg_control + *used);

	memset(c, 0, CMSG_SPACE(len)); /* the kernel reads whole messages */
	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	*used += CMSG_SPACE(len);
	return c;
}

/* What the kernel has to put into the outer header where we do not write it; `count` packets like `p`. */
static void put_control(struct msghdr *m, const struct out_packet *p, size_t count, uint8_t *control)
{
	const struct sa_path *path = p->path;
	uint16_t segment = (uint16_t)p->len;
	int tos = p->tos;
	size_t used = 0;

	m->msg_control = control;
	if (count > 1)
		add_control(m, &used, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment));
	if (path->remote.address.family == AF_INET6) {
		if (tos)
			add_control(m, &used, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
		if (!path->udp_encap) {
			struct in6_pktinfo info = { 0 };

			memcpy(&info.ipi6_addr, path->local.address.bytes, 16);
			add_control(m, &used, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
		}
	} else if (path->udp_encap && tos) {
		add_control(m, &used, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
	}
	m->msg_controllen = used;
	if (used == 0)
		m->msg_control = NULL;
}

/* Packets that lie behind each other are one piece to the kernel. */
static void add_piece(struct send_batch *b, struct msghdr *m, const struct out_packet *p)
{
	struct iovec *last = m->msg_iovlen ? &m->msg_iov[m->msg_iovlen - 1] : NULL;

	if (last && (uint8_t *)last->iov_base + last->iov_len == p->wire) {
		last->iov_len += p->len;
		return;
	}
	b->iov[b->iov_count++] = (struct iovec){ p->wire, p->len };
	m->msg_iovlen++;
}

/* The message that begins with packets[at]; returns where the next one begins. */
static size_t add_message(const struct esp_worker *w, struct send_batch *b, const struct out_packet *packets,
			  size_t at, size_t n)
{
	const struct out_packet *first = &packets[at];
	struct msghdr *m = &b->msgs[b->count].msg_hdr;
	size_t end = at + 1, bytes = first->len;

	*m = (struct msghdr){
		.msg_name = (void *)(uintptr_t)&first->path->to,
		.msg_namelen = first->path->to_len,
		.msg_iov = &b->iov[b->iov_count],
	};
	add_piece(b, m, first);
	for (; end < n && wire_joins(w, first, &packets[end - 1], &packets[end], end - at, bytes); end++) {
		add_piece(b, m, &packets[end]);
		bytes += packets[end].len;
	}
	put_control(m, first, end - at, b->control[b->count]);
	b->first[b->count++] = at;
	b->first[b->count] = end;
	return end;
}

/* --- sending ---------------------------------------------------------------------------------- */

static void tell_too_big(struct esp_worker *w, const struct out_packet *p, size_t count)
{
	struct worker_event e = {
		.kind = EVENT_PATH_MTU,
		.child_id = p->sa->c.child_id,
		.endpoint = p->path->remote,
		.mtu = (uint32_t)p->len,
	};

	counter_add(&w->drops[DROP_OUT_PATH_MTU], count);
	if (w->now_us - w->mtu_told_us < UINT64_C(100000))
		return;
	w->mtu_told_us = w->now_us;
	worker_tell(w, &e);
}

/* There is room again. The daemon's thread may wait for the end of this turn: it has one such wait at most. */
static bool wait_for_room(struct esp_worker *w, int fd)
{
	struct pollfd wait = { .fd = fd, .events = POLLOUT };

	if (w->stalled_us == w->now_us)
		return false;
	if (poll(&wait, 1, SEND_WAIT_MS) > 0)
		return true;
	w->stalled_us = w->now_us;
	return false;
}

/* The first message could not be sent: true to try it again, false to leave it out. */
static bool send_again(struct esp_worker *w, int fd, const struct out_packet *p, size_t count, int error,
		       int tries)
{
	switch (error) {
	case EINTR:
		return true;
	case EAGAIN:
	case ENOBUFS:
		if (tries == 0 && wait_for_room(w, fd))
			return true;
		counter_add(&w->drops[DROP_OUT_BUFFERS], count);
		return false;
	case EMSGSIZE:
		if (tries == 0)
			return true; /* perhaps an ICMP error that was waiting on the socket */
		tell_too_big(w, p, count);
		return false;
	default:
		if (tries == 0)
			return true; /* likewise */
		counter_add(&w->drops[DROP_OUT_SEND], count);
		return false;
	}
}

/*
 * The device (or this kernel) does not cut UDP: one by one from now on. But older kernels say the same
 * of packets that one path is too narrow for, so it is tried again. By the daemon's socket those go one by
 * one as well: it fragments. True if that is news.
 */
static bool segments_refused(struct esp_worker *w, const struct out_packet *p, size_t count, int error)
{
	struct udp_slot *u = &w->udp[p->path->socket];

	if (count < 2 || (error != EIO && error != EINVAL && (error != EMSGSIZE || u->own)))
		return false;
	u->segments_from_us = w->now_us + SEGMENTS_AGAIN_US;
	return true;
}

static void count_sent(struct esp_worker *w, const struct send_batch *b, size_t from, size_t to,
		       const struct out_packet *packets)
{
	counter_add(&w->wire_sends, 1);
	counter_add(&w->out_packets, b->first[to] - b->first[from]);
	for (size_t i = b->first[from]; i < b->first[to]; i++)
		counter_add(&w->out_bytes, packets[i].len);
}

/* Returns how many packets are done with: all, or those before the ones to be sent one by one. */
static size_t send_batch(struct esp_worker *w, int fd, struct send_batch *b, const struct out_packet *packets)
{
	size_t done = 0;
	int tries = 0;

	while (done < b->count) {
		const struct out_packet *p = &packets[b->first[done]];
		size_t packets_in = b->first[done + 1] - b->first[done];
		int sent = sendmmsg(fd, b->msgs + done, (unsigned)(b->count - done), MSG_DONTWAIT);

		if (sent > 0) {
			count_sent(w, b, done, done + (size_t)sent, packets);
			done += (size_t)sent;
			tries = 0;
		} else if (segments_refused(w, p, packets_in, errno)) {
			return b->first[done];
		} else if (send_again(w, fd, p, packets_in, errno, tries)) {
			tries++;
		} else {
			done++;
			tries = 0;
		}
	}
	return b->first[b->count];
}

static int socket_of(const struct esp_worker *w, const struct out_packet *p)
{
	const struct sa_path *path = p->path;

	if (path->udp_encap)
		return atomic_load_explicit(&w->udp[path->socket].fd, memory_order_acquire);
	return atomic_load_explicit(&w->raw_fd[path->remote.address.family == AF_INET6 ? RAW_V6 : RAW_V4],
				    memory_order_acquire);
}

/*
 * Whether packets may be fragmented is a matter of the socket, and changes seldom. IPv4's raw socket has DF
 * in the header that we write; the daemon's socket fragments what the kernel's path MTU asks for.
 */
static void set_fragments(struct esp_worker *w, int fd, const struct out_packet *p)
{
	struct udp_slot *u = &w->udp[p->path->socket];
	int family = p->path->remote.address.family;
	bool *now = p->path->udp_encap ? &u->fragments : &w->raw6_fragments;

	if (p->path->udp_encap ? !u->own : family == AF_INET)
		return;
	if (*now != p->fragments &&
	    (p->fragments ? wire_send_fragments(fd, family) : wire_send_whole(fd, family)))
		*now = p->fragments;
}

void wire_send(struct esp_worker *w, const struct out_packet *packets, size_t n)
{
	struct send_batch b;
	size_t at = 0;

	while (at < n) {
		const struct out_packet *first = &packets[at];
		int fd = socket_of(w, first);
		size_t end = at;

		if (fd < 0) {
			worker_drop(w, DROP_OUT_SOCKET);
			at++;
			continue;
		}
		set_fragments(w, fd, first);
		b.count = b.iov_count = 0;
		do { /* the first one by this socket, even if it is being closed at this moment */
			end = add_message(w, &b, packets, end, n);
		} while (end < n && b.count < OUT_MESSAGES && socket_of(w, &packets[end]) == fd &&
			 packets[end].fragments == first->fragments);
		at = send_batch(w, fd, &b, packets);
	}
}
