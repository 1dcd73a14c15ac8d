#include "pluto/sockets.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

enum { IKE_PORT = 500, NAT_PORT = 4500, BATCH = 16, DATAGRAM_MAX = 65536, MARKER = 4, PORTS_MAX = 32 };

struct sock {
	LIST_ENTRY(sock) entry;
	struct sockets *all;
	int fd;
	struct ip_endpoint local;
	char interface[INTERFACE_NAME];
	struct event *event; /* NULL: the back end reads it */
	bool wanted;
};

struct sockets {
	LIST_HEAD(, sock) list;
	struct event_base *base;
	const struct sockets_host *host;
	uint8_t *buffers; /* BATCH of DATAGRAM_MAX */
};

/* --- receiving ----------------------------------------------------------------------------- */

static void complain(struct sock *k, const struct sock_extended_err *e, const struct sockaddr *offender,
		     const struct sockaddr *to)
{
	struct ip_endpoint remote, from;
	char local[IP_ENDPOINT_TEXT], by[IP_ADDRESS_TEXT] = "unknown", text[400];

	if (e->ee_origin == SO_EE_ORIGIN_LOCAL && e->ee_errno == EMSGSIZE)
		return; /* path MTU: the kernel fragments */
	if (!ip_endpoint_from_sockaddr(to, &remote))
		return;
	if (ip_endpoint_from_sockaddr(offender, &from))
		ip_address_format(&from.address, by);
	snprintf(text, sizeof(text),
		 "ERROR: asynchronous network error report on %s (%s), complainant %s: %s "
		 "[errno %u, origin ICMP type %u code %u (not authenticated)]",
		 k->interface, ip_endpoint_format(&k->local, local), by, strerror((int)e->ee_errno),
		 e->ee_errno, e->ee_type, e->ee_code);
	k->all->host->unreachable(k->all->host->context, &remote, text);
}

/* Everything in the socket's error queue: what ICMP said about datagrams of ours. */
static void drain_errors(struct sock *k)
{
	for (int i = 0; i < BATCH; i++) {
		struct sockaddr_storage to = { 0 };
		uint8_t data[128];
		union {
			struct cmsghdr align;
			uint8_t bytes[512];
		} control;
		struct iovec iov = { .iov_base = data, .iov_len = sizeof(data) };
		struct msghdr msg = {
			.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
		};

		if (recvmsg(k->fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			return;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c)) {
			struct sock_extended_err e;
			struct sockaddr_storage offender = { 0 };
			bool ours = (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
				    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR);
			size_t len = c->cmsg_len - CMSG_LEN(0);

			if (!ours || len < sizeof(e))
				continue;
			memcpy(&e, CMSG_DATA(c), sizeof(e));
			len -= sizeof(e);
			memcpy(&offender, CMSG_DATA(c) + sizeof(e), len < sizeof(offender) ? len : sizeof(offender));
			complain(k, &e, (struct sockaddr *)&offender, (struct sockaddr *)&to);
		}
	}
}

static void deliver(struct sock *k, const struct sockaddr_storage *from, const uint8_t *data, size_t len)
{
	static const uint8_t marker[MARKER];
	struct ip_endpoint remote;

	if (!ip_endpoint_from_sockaddr((const struct sockaddr *)from, &remote))
		return;
	if (k->local.port != IKE_PORT) {
		/* RFC 3948 §2.2: four zero bytes, or it is ESP or a keepalive */
		if (len < MARKER || memcmp(data, marker, MARKER) != 0)
			return;
		data += MARKER;
		len -= MARKER;
	}
	if (len > 0)
		k->all->host->received(k->all->host->context, &k->local, &remote, data, len);
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	struct sock *k = context;
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_storage from[BATCH];

	(void)what;
	memset(msgs, 0, sizeof(msgs));
	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ .iov_base = k->all->buffers + (size_t)i * DATAGRAM_MAX,
					 .iov_len = DATAGRAM_MAX };
		msgs[i].msg_hdr = (struct msghdr){ .msg_name = &from[i], .msg_namelen = sizeof(from[i]),
						   .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	int n = recvmmsg(fd, msgs, BATCH, MSG_DONTWAIT, NULL);
	if (n < 0) {
		drain_errors(k);
		return;
	}
	for (int i = 0; i < n; i++) {
		if (!(msgs[i].msg_hdr.msg_flags & MSG_TRUNC))
			deliver(k, &from[i], iov[i].iov_base, msgs[i].msg_len);
	}
}

/* --- sending ------------------------------------------------------------------------------- */

static struct sock *sock_find(struct sockets *s, const struct ip_endpoint *local)
{
	struct sock *k;

	LIST_FOREACH(k, &s->list, entry) {
		if (ip_endpoint_equal(&k->local, local))
			return k;
	}
	return NULL;
}

void sockets_send(struct sockets *s, const struct ip_endpoint *local,
		  const struct ip_endpoint *remote, struct bytes datagram)
{
	static const uint8_t marker[MARKER];
	struct sock *k = sock_find(s, local);
	struct sockaddr_storage to;
	char a[IP_ENDPOINT_TEXT], b[IP_ENDPOINT_TEXT];
	struct iovec iov[2] = {
		{ .iov_base = (void *)marker, .iov_len = local->port != IKE_PORT ? MARKER : 0 },
		{ .iov_base = (void *)datagram.ptr, .iov_len = datagram.len },
	};
	struct msghdr msg = {
		.msg_name = &to, .msg_namelen = ip_endpoint_to_sockaddr(remote, &to),
		.msg_iov = iov, .msg_iovlen = 2,
	};

	if (k == NULL) {
		log_remote("cannot send to %s: not listening on %s", ip_endpoint_format(remote, a),
			   ip_endpoint_format(local, b));
		return;
	}
	ssize_t n = sendmsg(k->fd, &msg, MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN) {
		/* that may be what ICMP said about an earlier datagram, or about ESP from this port */
		if (k->event != NULL)
			drain_errors(k);
		n = sendmsg(k->fd, &msg, MSG_DONTWAIT);
	}
	if (n < 0) {
		char text[300];

		snprintf(text, sizeof(text), "ERROR: cannot send from %s to %s: %s",
			 ip_endpoint_format(local, a), ip_endpoint_format(remote, b), strerror(errno));
		s->host->unreachable(s->host->context, remote, text);
	}
}

/* --- binding ------------------------------------------------------------------------------- */

static void sock_close(struct sock *k)
{
	LIST_REMOVE(k, entry);
	if (k->event != NULL)
		event_free(k->event);
	else
		k->all->host->closing(k->all->host->context, k->fd);
	close(k->fd);
	free(k);
}

static bool sock_bind(int fd, const struct ip_endpoint *local)
{
	struct sockaddr_storage ss;
	socklen_t len = ip_endpoint_to_sockaddr(local, &ss);
	int on = 1;

	if (local->address.family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0)
		return false;
	/* a back end may set more sockets beside it, one for each core; port 500 tells of another daemon */
	if (local->port != IKE_PORT)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	return len > 0 && bind(fd, (struct sockaddr *)&ss, len) == 0;
}

static bool sock_watch(struct sock *k)
{
	int on = 1;
	bool v6 = k->local.address.family == AF_INET6;

	setsockopt(k->fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, &on, sizeof(on));
	k->event = event_new(k->all->base, k->fd, EV_READ | EV_PERSIST, on_readable, k);
	return k->event != NULL && event_add(k->event, NULL) == 0;
}

static bool sock_open(struct sockets *s, const struct local_address *a, uint16_t port, char *err, size_t len)
{
	struct sock *k = calloc(1, sizeof(*k));
	char text[IP_ENDPOINT_TEXT], why[200] = "";

	if (k == NULL)
		return false;
	k->all = s;
	k->wanted = true;
	k->local = (struct ip_endpoint){ .address = a->address, .port = port };
	memcpy(k->interface, a->interface, sizeof(k->interface));
	k->fd = socket(a->address.family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_UDP);
	bool ok = k->fd >= 0 && s->host->prepare(s->host->context, k->fd, a->address.family, why, sizeof(why)) &&
		  sock_bind(k->fd, &k->local);
	if (!ok) {
		bool gone = errno == EADDRNOTAVAIL; /* IPv6: not ready yet; news will come */

		snprintf(err, len, "cannot listen on %s: %s%s", ip_endpoint_format(&k->local, text),
			 why[0] != '\0' ? why : strerror(errno),
			 errno == EADDRINUSE ? " (is another IKE daemon running?)" : "");
		if (k->fd >= 0)
			close(k->fd);
		free(k);
		return gone;
	}
	LIST_INSERT_HEAD(&s->list, k, entry);
	if (port != IKE_PORT && s->host->encapsulated(s->host->context, k->fd, &k->local))
		return true;
	if (sock_watch(k))
		return true;
	snprintf(err, len, "cannot watch the socket of %s", ip_endpoint_format(&k->local, text));
	sock_close(k);
	return false;
}

static void sock_want(struct sockets *s, const struct local_address *a, uint16_t port, size_t *failed,
		      char *err, size_t len)
{
	struct ip_endpoint local = { .address = a->address, .port = port };
	struct sock *k = sock_find(s, &local);
	char why[300] = "";

	if (k != NULL) {
		k->wanted = true;
		return;
	}
	if (sock_open(s, a, port, why, sizeof(why)))
		return;
	log_error("%s", why);
	if ((*failed)++ == 0)
		snprintf(err, len, "%s", why);
}

size_t sockets_update(struct sockets *s, const struct addresses *addresses,
		      const struct ip_address *listen, const uint16_t *ports, size_t port_count,
		      char *err, size_t len)
{
	struct sock *k, *next;
	size_t failed = 0;

	LIST_FOREACH(k, &s->list, entry)
		k->wanted = false;
	for (size_t i = 0; i < addresses->count; i++) {
		const struct local_address *a = &addresses->list[i];

		if (listen->family != AF_UNSPEC && !ip_address_equal(listen, &a->address))
			continue;
		sock_want(s, a, IKE_PORT, &failed, err, len);
		sock_want(s, a, NAT_PORT, &failed, err, len);
		for (size_t p = 0; p < port_count; p++)
			sock_want(s, a, ports[p], &failed, err, len);
	}
	for (k = LIST_FIRST(&s->list); k != NULL; k = next) {
		next = LIST_NEXT(k, entry);
		if (!k->wanted)
			sock_close(k);
	}
	return failed;
}

struct sockets *sockets_new(struct event_base *base, const struct sockets_host *host)
{
	struct sockets *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	LIST_INIT(&s->list);
	s->base = base;
	s->host = host;
	s->buffers = malloc((size_t)BATCH * DATAGRAM_MAX);
	if (s->buffers == NULL) {
		free(s);
		return NULL;
	}
	return s;
}

void sockets_free(struct sockets *s)
{
	struct sock *k, *next;

	if (s == NULL)
		return;
	for (k = LIST_FIRST(&s->list); k != NULL; k = next) {
		next = LIST_NEXT(k, entry);
		sock_close(k);
	}
	free(s->buffers);
	free(s);
}

size_t sockets_count(const struct sockets *s)
{
	const struct sock *k;
	size_t n = 0;

	LIST_FOREACH(k, &s->list, entry)
		n++;
	return n;
}

void sockets_each(const struct sockets *s, void (*fn)(void *, const char *interface, const struct ip_endpoint *),
		  void *context)
{
	const struct sock *k;

	LIST_FOREACH(k, &s->list, entry)
		fn(context, k->interface, &k->local);
}
