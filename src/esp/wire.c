/* The sockets of the protected side: protocol 50, and ESP in UDP (RFC 3948). */
#include <errno.h>
#include <time.h>

#include <linux/errqueue.h> /* needs <time.h> */
#include <linux/filter.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "esp/esp.h"
#include "esp/worker.h"

enum {
	CONTROL_BYTES = 96,
	SOCKET_BUFFER = 8 << 20,
	TURNS = 4,         /* batches before another descriptor gets its turn */
	SEND_WAIT_MS = 20, /* for a device that does not keep up */
	ICMP_ERRORS_A_TURN = 8,
};

/* --- opening ---------------------------------------------------------------------------- */

static bool set_int(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

static void set_buffers(int fd)
{
	/* beyond rmem_max with the privilege, up to it without */
	if (!set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER))
		set_int(fd, SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER);
	if (!set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_BUFFER))
		set_int(fd, SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER);
}

static int open_raw(int family)
{
	int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ESP);
	bool ok;

	if (fd < 0)
		return -1;
	if (family == AF_INET)
		/* INTERFACE: the kernel believes no ICMP error about these packets by itself; we
		 * look at the SPI in it first */
		ok = set_int(fd, IPPROTO_IP, IP_HDRINCL, 1) &&
		     set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_INTERFACE) &&
		     set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
	else
		ok = set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) &&
		     set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) &&
		     set_int(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
	if (!ok || !set_int(fd, SOL_SOCKET, SO_MARK, ESP_MARK)) {
		close(fd);
		return -1;
	}
	set_buffers(fd);
	return fd;
}

bool wire_open(struct esp_worker *w)
{
	w->raw4_fd = open_raw(AF_INET);
	if (w->raw4_fd < 0)
		return false;
	w->raw6_fd = open_raw(AF_INET6); /* a system without IPv6 has none */
	return true;
}

bool wire_udp_prepare(int fd, const struct ip_endpoint *local)
{
	bool ok = set_int(fd, SOL_SOCKET, SO_MARK, ESP_MARK);

	if (local->address.family == AF_INET6)
		ok = ok && set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
	else
		ok = ok && set_int(fd, IPPROTO_IP, IP_RECVTOS, 1);
	set_buffers(fd);
	return ok;
}

/* --- receiving -------------------------------------------------------------------------- */

struct recv_batch {
	struct mmsghdr msgs[RECV_BATCH];
	struct iovec iov[RECV_BATCH];
	struct sockaddr_storage from[RECV_BATCH];
	_Alignas(struct cmsghdr) uint8_t control[RECV_BATCH][CONTROL_BYTES];
};

static uint8_t *recv_slot(struct esp_worker *w, size_t i)
{
	return w->recv_buf + i * (RECV_HEADROOM + RECV_BYTES) + RECV_HEADROOM;
}

static int receive(struct esp_worker *w, int fd, struct recv_batch *b)
{
	for (size_t i = 0; i < RECV_BATCH; i++) {
		b->iov[i] = (struct iovec){ recv_slot(w, i), RECV_BYTES };
		b->msgs[i].msg_hdr = (struct msghdr){
			.msg_name = &b->from[i],
			.msg_namelen = sizeof(b->from[i]),
			.msg_iov = &b->iov[i],
			.msg_iovlen = 1,
			.msg_control = b->control[i],
			.msg_controllen = CONTROL_BYTES,
		};
	}
	return recvmmsg(fd, b->msgs, RECV_BATCH, MSG_DONTWAIT, NULL);
}

/* TOS or traffic class, and the address the packet came to, if the socket tells. */
static void read_control(struct msghdr *m, struct in_packet *p)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		int v = 0;

		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			p->tos = *CMSG_DATA(c);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
			memcpy(&v, CMSG_DATA(c), sizeof(v));
			p->tos = (uint8_t)v;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			p->dst = ip_address_from_bytes(BYTES(&info.ipi6_addr, 16));
		}
	}
}

/* An ICMP error about a packet of ours: `esp` begins with the SPI that it had. */
static void tell_path_mtu(struct esp_worker *w, const struct ip_endpoint *to, uint32_t spi,
			  uint32_t mtu)
{
	struct worker_event e = { .kind = EVENT_PATH_MTU, .endpoint = *to, .spi = spi, .mtu = mtu };

	worker_tell(w, &e);
}

static void read_icmp_errors(struct esp_worker *w, int fd, bool v6)
{
	for (int i = 0; i < ICMP_ERRORS_A_TURN; i++) {
		uint8_t data[128];
		_Alignas(struct cmsghdr) uint8_t control[256];
		struct sockaddr_storage to;
		struct iovec iov = { data, sizeof(data) };
		struct msghdr m = {
			.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &iov,
			.msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control),
		};
		struct sock_extended_err err = { 0 };
		struct ip_endpoint dst;
		ssize_t n = recvmsg(fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT);
		size_t at = 0;

		if (n < 0)
			return;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
			if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
			    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
				memcpy(&err, CMSG_DATA(c), sizeof(err));
		if (v6 ? err.ee_origin != SO_EE_ORIGIN_ICMP6 || err.ee_type != ICMP6_PACKET_TOO_BIG :
			 err.ee_origin != SO_EE_ORIGIN_ICMP || err.ee_type != ICMP_DEST_UNREACH ||
				 err.ee_code != ICMP_FRAG_NEEDED)
			continue;
		if (!v6 && n > 0) /* with IP_HDRINCL the quoted packet begins with its IP header */
			at = (size_t)(data[0] & 15) * 4;
		if ((size_t)n < at + 4 || m.msg_namelen == 0 ||
		    !ip_endpoint_from_sockaddr((struct sockaddr *)&to, &dst))
			continue;
		tell_path_mtu(w, &dst, load_be32(data + at), err.ee_info);
	}
}

/* An IPv4 datagram of a raw socket comes with its header. */
static bool raw4_packet(uint8_t *data, size_t len, struct in_packet *p)
{
	size_t header;

	if (len < IPV4_HEADER || data[0] >> 4 != 4)
		return false;
	header = (size_t)(data[0] & 15) * 4;
	if (header < IPV4_HEADER || header > len)
		return false;
	*p = (struct in_packet){
		.esp = data + header,
		.len = len - header,
		.src.address = ip_address_from_bytes(BYTES(data + 12, 4)),
		.dst = ip_address_from_bytes(BYTES(data + 16, 4)),
		.tos = data[1],
	};
	return true;
}

void wire_raw4_ready(struct esp_worker *w)
{
	struct in_packet packets[RECV_BATCH];
	struct recv_batch b;

	read_icmp_errors(w, w->raw4_fd, false);
	for (int turn = 0; turn < TURNS; turn++) {
		int n = receive(w, w->raw4_fd, &b);
		size_t count = 0;

		if (n <= 0)
			return;
		for (int i = 0; i < n; i++) {
			if (raw4_packet(recv_slot(w, (size_t)i), b.msgs[i].msg_len, &packets[count]))
				count++;
			else
				worker_drop(w, DROP_IN_SHORT);
		}
		inbound_batch(w, packets, count);
		if (n < RECV_BATCH)
			return;
	}
}

void wire_raw6_ready(struct esp_worker *w)
{
	struct in_packet packets[RECV_BATCH];
	struct recv_batch b;

	read_icmp_errors(w, w->raw6_fd, true);
	for (int turn = 0; turn < TURNS; turn++) {
		int n = receive(w, w->raw6_fd, &b);

		if (n <= 0)
			return;
		for (int i = 0; i < n; i++) {
			struct in_packet *p = &packets[i];

			*p = (struct in_packet){ .esp = recv_slot(w, (size_t)i),
						 .len = b.msgs[i].msg_len };
			ip_endpoint_from_sockaddr((struct sockaddr *)&b.from[i], &p->src);
			p->src.port = 0;
			read_control(&b.msgs[i].msg_hdr, p);
		}
		inbound_batch(w, packets, (size_t)n);
		if (n < RECV_BATCH)
			return;
	}
}

/* IKE for the daemon's thread, without its marker. */
static void pass_ike(struct esp_worker *w, const struct ip_endpoint *local,
		     const struct ip_endpoint *remote, const uint8_t *data, size_t len)
{
	struct ike_record *r = ring_reserve(&w->ike, sizeof(*r) + len);

	if (!r) {
		worker_drop(w, DROP_IKE_QUEUE);
		return;
	}
	r->local = *local;
	r->remote = *remote;
	memcpy(r->data, data, len);
	ring_commit(&w->ike);
	w->events_pending = true;
}

void wire_udp_ready(struct esp_worker *w, size_t slot)
{
	struct udp_slot *u = &w->udp[slot];
	struct in_packet packets[RECV_BATCH];
	struct recv_batch b;

	for (int turn = 0; turn < TURNS; turn++) {
		int fd = atomic_load_explicit(&u->fd, memory_order_acquire);
		int n = fd < 0 ? -1 : receive(w, fd, &b);
		size_t count = 0;

		if (n <= 0)
			return;
		for (int i = 0; i < n; i++) {
			uint8_t *data = recv_slot(w, (size_t)i);
			size_t len = b.msgs[i].msg_len;
			struct ip_endpoint from;

			if (!ip_endpoint_from_sockaddr((struct sockaddr *)&b.from[i], &from))
				continue;
			if (len < 4) { /* RFC 3948 §2.3: a lone 0xff keeps the NAT's mapping */
				if (len != 1 || data[0] != 0xff)
					worker_drop(w, DROP_IN_SHORT);
				continue;
			}
			if (load_be32(data) == 0) { /* RFC 3948 §2.2 */
				pass_ike(w, &u->local, &from, data + 4, len - 4);
				continue;
			}
			packets[count] = (struct in_packet){
				.esp = data, .len = len, .src = from, .dst = u->local.address, .udp = true,
			};
			read_control(&b.msgs[i].msg_hdr, &packets[count]);
			packets[count++].dst = u->local.address;
		}
		inbound_batch(w, packets, count);
		if (n < RECV_BATCH)
			return;
	}
}

/* --- sending ---------------------------------------------------------------------------- */

struct send_batch {
	struct mmsghdr msgs[ESP_BATCH];
	struct iovec iov[ESP_BATCH];
	_Alignas(struct cmsghdr) uint8_t control[ESP_BATCH][CONTROL_BYTES];
};

static int socket_of(const struct esp_worker *w, const struct out_packet *p)
{
	if (p->path->udp_encap)
		return atomic_load_explicit(&w->udp[p->path->socket].fd, memory_order_acquire);
	return p->path->remote.address.family == AF_INET6 ? w->raw6_fd : w->raw4_fd;
}

static struct cmsghdr *add_control(struct msghdr *m, size_t *used, int level, int type,
				   const void *data, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)(void *)((uint8_t *)m->msg_control + *used);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	*used += CMSG_SPACE(len);
	return c;
}

/* What the kernel has to put into the outer header where we do not write it. */
static void put_control(struct msghdr *m, const struct out_packet *p, uint8_t *control)
{
	const struct sa_path *path = p->path;
	int tos = p->tos;
	size_t used = 0;

	m->msg_control = control;
	memset(control, 0, CONTROL_BYTES);
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

static void tell_too_big(struct esp_worker *w, const struct out_packet *p)
{
	struct worker_event e = {
		.kind = EVENT_PATH_MTU,
		.child_id = p->sa->c.child_id,
		.endpoint = p->path->remote,
		.mtu = (uint32_t)p->len,
	};

	worker_drop(w, DROP_OUT_PATH_MTU);
	if (w->now_us - w->mtu_told_us < UINT64_C(100000))
		return;
	w->mtu_told_us = w->now_us;
	worker_tell(w, &e);
}

/* The first message could not be sent: true to try it again, false to leave it out. */
static bool send_again(struct esp_worker *w, int fd, const struct out_packet *p, int error, int tries)
{
	struct pollfd wait = { .fd = fd, .events = POLLOUT };

	switch (error) {
	case EINTR:
		return true;
	case EAGAIN:
	case ENOBUFS:
		if (tries == 0 && poll(&wait, 1, SEND_WAIT_MS) > 0)
			return true;
		worker_drop(w, DROP_OUT_BUFFERS);
		return false;
	case EMSGSIZE:
		if (tries == 0)
			return true; /* perhaps an ICMP error that was waiting on the socket */
		tell_too_big(w, p);
		return false;
	default:
		if (tries == 0)
			return true; /* likewise */
		worker_drop(w, DROP_OUT_SEND);
		return false;
	}
}

static void send_run(struct esp_worker *w, int fd, struct send_batch *b, const struct out_packet *p,
		     size_t n)
{
	size_t done = 0;
	int tries = 0;

	while (done < n) {
		int sent = sendmmsg(fd, b->msgs + done, (unsigned)(n - done), MSG_DONTWAIT);

		if (sent > 0) {
			counter_add(&w->out_packets, (uint64_t)sent);
			for (int i = 0; i < sent; i++)
				counter_add(&w->out_bytes, p[done + (size_t)i].len);
			done += (size_t)sent;
			tries = 0;
		} else if (send_again(w, fd, &p[done], errno, tries)) {
			tries++;
		} else {
			done++;
			tries = 0;
		}
	}
}

void wire_send(struct esp_worker *w, const struct out_packet *packets, size_t n)
{
	struct send_batch b;

	for (size_t first = 0, end; first < n; first = end) {
		int fd = socket_of(w, &packets[first]);

		for (end = first; end < n && socket_of(w, &packets[end]) == fd; end++) {
			const struct out_packet *p = &packets[end];
			size_t i = end - first;

			b.iov[i] = (struct iovec){ p->wire, p->len };
			b.msgs[i].msg_hdr = (struct msghdr){
				.msg_name = (void *)(uintptr_t)&p->path->to,
				.msg_namelen = p->path->to_len,
				.msg_iov = &b.iov[i],
				.msg_iovlen = 1,
			};
			put_control(&b.msgs[i].msg_hdr, p, b.control[i]);
		}
		if (fd < 0)
			counter_add(&w->drops[DROP_OUT_SOCKET], end - first);
		else
			send_run(w, fd, &b, packets + first, end - first);
	}
}
