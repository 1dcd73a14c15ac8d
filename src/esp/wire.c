/* The sockets of the protected side, and what comes in: protocol 50, and ESP in UDP (RFC 3948). */
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "esp/esp.h"
#include "esp/worker.h"

enum {
	CONTROL_BYTES = 96,
	SOCKET_BUFFER = 8 << 20,
	TURNS = 4, /* batches before another descriptor gets its turn */
	SEGMENTS_MAX = 128, /* of one UDP_SEGMENT message; 64 before Linux 6.9 */
	SEGMENTS_OLD = 64,
};

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO 104
#endif
#ifndef SO_ATTACH_REUSEPORT_CBPF
#define SO_ATTACH_REUSEPORT_CBPF 51
#endif

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

/*
 * Of the packets that every raw socket gets a copy of, those whose SPI names one of `owners`: behind an
 * IPv4 header with its options, and at once on IPv6.
 */
bool wire_raw_filter(int fd, enum raw_family family, uint64_t owners)
{
	struct sock_filter by_spi[] = {
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0), /* IPv4's */
		BPF_STMT(BPF_LD | BPF_W | BPF_IND, 0),
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, SPI_INDEX_BITS),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, WORKERS_MAX - 1),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 32, 3, 0),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_IMM, (uint32_t)owners),
		BPF_STMT(BPF_JMP | BPF_JA, 3),
		BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, 32),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_IMM, (uint32_t)(owners >> 32)),
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_X, 0),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog p = { .len = sizeof(by_spi) / sizeof(by_spi[0]), .filter = by_spi };

	_Static_assert(WORKERS_MAX == 64, "the words of `owners`");
	if (owners == UINT64_MAX) {
		int none = 0;

		return setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none)) == 0 || errno == ENOENT;
	}
	if (family == RAW_V6) {
		by_spi[1] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
		p.filter++;
		p.len--;
	}
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &p, sizeof(p)) == 0;
}

/* The kernel adds a raw socket as it makes it: what came before there was a filter, others have got as well. */
static bool begin_to_hear(int fd, enum raw_family family, uint64_t owners)
{
	char byte;

	if (!wire_raw_filter(fd, family, 0))
		return false;
	while (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT | MSG_TRUNC) >= 0 || errno == EINTR)
		;
	return wire_raw_filter(fd, family, owners);
}

int wire_raw_open(enum raw_family family, uint64_t owners)
{
	int fd = socket(family == RAW_V4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ESP);
	bool ok;

	if (fd < 0)
		return -1;
	if (family == RAW_V4)
		/* DF stands in the header that we write; of ICMP errors the kernel learns nothing */
		ok = set_int(fd, IPPROTO_IP, IP_HDRINCL, 1) &&
		     set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_INTERFACE);
	else
		ok = set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) &&
		     set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) && wire_send_whole(fd, AF_INET6);
	ok = ok && wire_want_errors(fd, family == RAW_V4 ? AF_INET : AF_INET6);
	set_buffers(fd);
	if (!ok || !set_int(fd, SOL_SOCKET, SO_MARK, ESP_MARK) || !begin_to_hear(fd, family, owners)) {
		int e = errno;

		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

/* Kernels before 5.12 have UDP_GRO, but it is not to be relied on there. */
static bool gro_sound(void)
{
	struct utsname u;
	unsigned major = 0, minor = 0;

	return uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 5 || (major == 5 && minor >= 12));
}

void wire_probe(struct esp_features *features)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	features->udp_segment &= fd >= 0 && set_int(fd, IPPROTO_UDP, UDP_SEGMENT, 1000);
	features->udp_gro &= gro_sound() && fd >= 0 && set_int(fd, IPPROTO_UDP, UDP_GRO, 1);
	features->udp_segments_max = SEGMENTS_OLD;
	if (fd >= 0)
		close(fd);
}

bool wire_udp_prepare(int fd, const struct ip_endpoint *local, const struct esp_features *features)
{
	/* whichever of an address's sockets an ICMP error reaches, it may be about ESP of another one's */
	bool ok = set_int(fd, SOL_SOCKET, SO_MARK, ESP_MARK) && wire_want_errors(fd, local->address.family);

	if (local->address.family == AF_INET6)
		ok = ok && set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
	else
		ok = ok && set_int(fd, IPPROTO_IP, IP_RECVTOS, 1);
	if (features->udp_gro)
		set_int(fd, IPPROTO_UDP, UDP_GRO, 1);
	set_buffers(fd);
	return ok;
}

void wire_udp_release(int fd)
{
	set_int(fd, IPPROTO_UDP, UDP_GRO, 0);
}

int wire_udp_beside(const struct ip_endpoint *local, const struct esp_features *features)
{
	int fd = socket(local->address.family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
	struct sockaddr_storage ss;
	socklen_t len = ip_endpoint_to_sockaddr(local, &ss);
	bool ok = fd >= 0 && set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) &&
		  wire_udp_prepare(fd, local, features) && wire_send_whole(fd, local->address.family);

	if (ok && local->address.family == AF_INET6)
		ok = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (ok && bind(fd, (struct sockaddr *)&ss, len) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

bool wire_udp_steer(int fd, unsigned workers)
{
	/*
	 * IKE (four zero bytes, RFC 3948 §2.2), what is too short and what names no worker goes to the
	 * daemon's socket, which is the first one.
	 */
	struct sock_filter by_spi[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 5, 0),
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, SPI_INDEX_BITS),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, WORKERS_MAX - 1),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, workers, 2, 0),
		BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1),
		BPF_STMT(BPF_RET | BPF_A, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog p = { .len = sizeof(by_spi) / sizeof(by_spi[0]), .filter = by_spi };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &p, sizeof(p)) == 0;
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
	return w->recv_buf + i * RECV_STRIDE + RECV_HEADROOM;
}

static int receive(struct esp_worker *w, int fd, struct recv_batch *b, unsigned max)
{
	for (size_t i = 0; i < max; i++) {
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
	int n = recvmmsg(fd, b->msgs, max, MSG_DONTWAIT, NULL);

	if (n > 0)
		counter_add(&w->wire_receives, 1);
	return n;
}

/*
 * TOS or traffic class, and the address the packet came to, if the socket tells; of several datagrams
 * in one buffer the length of each but the last, else 0.
 */
static size_t read_control(struct msghdr *m, struct in_packet *p)
{
	size_t each = 0;

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
		} else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
			memcpy(&v, CMSG_DATA(c), sizeof(v));
			each = v > 0 ? (size_t)v : 0;
		}
	}
	return each;
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

void wire_raw4_ready(struct esp_worker *w, bool error)
{
	int fd = atomic_load_explicit(&w->raw_fd[RAW_V4], memory_order_acquire);
	struct in_packet packets[RECV_BATCH];
	struct recv_batch b;

	if (error)
		wire_read_errors(w, fd, true);
	for (int turn = 0; turn < TURNS; turn++) {
		int n = receive(w, fd, &b, RECV_BATCH);
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
		inbound_flush(w);
		if (n < RECV_BATCH)
			return;
	}
}

void wire_raw6_ready(struct esp_worker *w, bool error)
{
	int fd = atomic_load_explicit(&w->raw_fd[RAW_V6], memory_order_acquire);
	struct in_packet packets[RECV_BATCH];
	struct recv_batch b;

	if (error)
		wire_read_errors(w, fd, false);
	for (int turn = 0; turn < TURNS; turn++) {
		int n = receive(w, fd, &b, RECV_BATCH);

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
		inbound_flush(w);
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

/* One datagram of a UDP socket; true if it is ESP. */
static bool udp_packet(struct esp_worker *w, const struct udp_slot *u, const struct in_packet *like,
		       uint8_t *data, size_t len, struct in_packet *p)
{
	if (len < 4) { /* RFC 3948 §2.3: a lone 0xff keeps the NAT's mapping */
		if (len != 1 || data[0] != 0xff)
			worker_drop(w, DROP_IN_SHORT);
		return false;
	}
	if (load_be32(data) == 0) { /* RFC 3948 §2.2 */
		pass_ike(w, &u->local, &like->src, data + 4, len - 4);
		return false;
	}
	*p = *like;
	p->esp = data;
	p->len = len;
	return true;
}

/* What one message of a UDP socket brought: a datagram, or several that the kernel put together. */
static void udp_message(struct esp_worker *w, const struct udp_slot *u, struct recv_batch *b, size_t i)
{
	struct in_packet packets[IN_BATCH], like = { .udp = true };
	uint8_t *data = recv_slot(w, i);
	size_t len = b->msgs[i].msg_len, each, count = 0;

	if (!ip_endpoint_from_sockaddr((struct sockaddr *)&b->from[i], &like.src))
		return;
	each = read_control(&b->msgs[i].msg_hdr, &like);
	like.dst = u->local.address;
	if (each == 0 || each > len)
		each = len;
	do {
		size_t n = len < each ? len : each;

		count += udp_packet(w, u, &like, data, n, &packets[count]);
		if (count == IN_BATCH) {
			inbound_batch(w, packets, count);
			count = 0;
		}
		data += n;
		len -= n;
	} while (len > 0);
	inbound_batch(w, packets, count);
}

void wire_udp_ready(struct esp_worker *w, size_t slot, bool daemons, bool error)
{
	struct udp_slot *u = &w->udp[slot];
	const _Atomic int *which = daemons ? &u->daemon_fd : &u->fd;
	struct recv_batch b;

	for (int turn = 0; turn < TURNS; turn++) {
		int fd = atomic_load_explicit(which, memory_order_acquire);
		int n;

		if (fd < 0)
			return;
		if (error && turn == 0)
			wire_read_errors(w, fd, false);
		n = receive(w, fd, &b, RECV_BATCH_UDP);

		if (n <= 0)
			return;
		for (int i = 0; i < n; i++)
			udp_message(w, u, &b, (size_t)i);
		inbound_flush(w);
		if (n < RECV_BATCH_UDP)
			return;
	}
}
