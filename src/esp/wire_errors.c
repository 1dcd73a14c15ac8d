/*
 * Path MTU of the protected side. Anyone can forge an ICMP error, and the kernel checks no more of it than
 * addresses and ports: so ESP leaves by sockets that heed nothing that the kernel learned in this way, and
 * what an error says counts only with the SPI of an SA of ours (esp_mtu_event()). RFC 4301 §8.2.1.
 */
#include <time.h>

#include <linux/errqueue.h> /* needs <time.h> */
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/socket.h>

#include "esp/worker.h"

enum {
	ERRORS_A_TURN = 64, /* a flood of them takes from the room that packets have in the socket */
	ERRORS_TOLD_A_TURN = 8,
};

static bool set_int(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

bool wire_want_errors(int fd, int family)
{
	return family == AF_INET6 ? set_int(fd, IPPROTO_IPV6, IPV6_RECVERR, 1) :
				    set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
}

bool wire_send_whole(int fd, int family)
{
	return family == AF_INET6 ? set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE) :
				    set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
}

bool wire_send_fragments(int fd, int family)
{
	/* only the sender fragments in IPv6, as the kernel has learned; in IPv4 each router where it must */
	return family == AF_INET6 ? set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_WANT) :
				    set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT);
}

/* MTU that an ICMP or ICMPv6 error tells of, 0 if it is about something else. */
static uint32_t told_mtu(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct sock_extended_err e;
		bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
		bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;

		if ((!v4 && !v6) || c->cmsg_len < CMSG_LEN(sizeof(e)))
			continue;
		memcpy(&e, CMSG_DATA(c), sizeof(e));
		if (v4 && e.ee_origin == SO_EE_ORIGIN_ICMP && e.ee_type == ICMP_DEST_UNREACH &&
		    e.ee_code == ICMP_FRAG_NEEDED)
			return e.ee_info;
		if (v6 && e.ee_origin == SO_EE_ORIGIN_ICMP6 && e.ee_type == ICMP6_PACKET_TOO_BIG)
			return e.ee_info;
	}
	return 0;
}

/* The next error in the queue of `fd`; false when there is none. `e` has an SPI if it is one to tell. */
static bool read_error(int fd, bool with_header, struct worker_event *e)
{
	uint8_t data[128];
	_Alignas(struct cmsghdr) uint8_t control[256];
	struct sockaddr_storage to;
	struct iovec iov = { data, sizeof(data) };
	struct msghdr m = {
		.msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &iov,
		.msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT);
	size_t at = 0;

	*e = (struct worker_event){ .kind = EVENT_PATH_MTU };
	if (n < 0)
		return false;
	if (with_header && n > 0)
		at = (size_t)(data[0] & 15) * 4;
	e->mtu = told_mtu(&m);
	if (e->mtu && (size_t)n >= at + 4 && m.msg_namelen > 0 &&
	    ip_endpoint_from_sockaddr((struct sockaddr *)&to, &e->endpoint))
		e->spi = load_be32(data + at); /* 0: it was IKE (RFC 3948 §2.2), about which the kernel knows */
	return true;
}

void wire_read_errors(struct esp_worker *w, int fd, bool with_header)
{
	struct worker_event e;
	int told = 0;

	for (int i = 0; i < ERRORS_A_TURN && read_error(fd, with_header, &e); i++)
		if (e.spi && told++ < ERRORS_TOLD_A_TURN)
			worker_tell(w, &e);
}
