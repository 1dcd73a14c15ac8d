#include "esp/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { HEARD_A_TURN = 256 };

static int open_bound(struct netlink *nl, int protocol, int flags, unsigned groups)
{
	memset(nl, 0, sizeof(*nl));
	nl->socket = mnl_socket_open2(protocol, SOCK_CLOEXEC | flags);
	if (!nl->socket)
		return -errno;
	if (mnl_socket_bind(nl->socket, groups, MNL_SOCKET_AUTOPID) < 0) {
		int err = -errno;

		rtnetlink_close(nl);
		return err;
	}
	nl->port = mnl_socket_get_portid(nl->socket);
	nl->seq = (unsigned)time(NULL);
	return 0;
}

int rtnetlink_open(struct netlink *nl)
{
	return netlink_open_to(nl, NETLINK_ROUTE);
}

int netlink_open_to(struct netlink *nl, int protocol)
{
	return open_bound(nl, protocol, 0, 0);
}

static unsigned group(unsigned number)
{
	return 1u << (number - 1);
}

int rtnetlink_listen(struct netlink *nl, uint8_t protocol)
{
	const unsigned groups = group(RTNLGRP_LINK) | group(RTNLGRP_IPV4_ROUTE) | group(RTNLGRP_IPV6_ROUTE) |
				group(RTNLGRP_IPV4_RULE) | group(RTNLGRP_IPV6_RULE);
	/* there may be 100,000 routes of ours: they wake nobody. A filter loads in network order */
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWROUTE), 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELROUTE), 0, 2),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, NLMSG_HDRLEN + offsetof(struct rtmsg, rtm_protocol)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, protocol, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog filter = { sizeof(code) / sizeof(code[0]), code };
	int rc = open_bound(nl, NETLINK_ROUTE, SOCK_NONBLOCK, groups);

	if (rc)
		return rc;
	if (setsockopt(mnl_socket_get_fd(nl->socket), SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) != 0) {
		rc = -errno;
		rtnetlink_close(nl);
	}
	return rc;
}

void rtnetlink_close(struct netlink *nl)
{
	if (nl->socket)
		mnl_socket_close(nl->socket);
	nl->socket = NULL;
}

void *netlink_begin(struct netlink_request *r, uint16_t type, uint16_t flags, size_t size)
{
	r->header = mnl_nlmsg_put_header(r->buf);
	r->header->nlmsg_type = type;
	r->header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	return mnl_nlmsg_put_extra_header(r->header, size);
}

void netlink_put_address(struct netlink_request *r, uint16_t attr, const struct ip_address *a)
{
	mnl_attr_put(r->header, attr, ip_address_size(a), a->bytes);
}

struct reader_of_messages {
	void (*cb)(const struct nlmsghdr *h, void *context);
	void *context;
};

static int on_message(const struct nlmsghdr *h, void *data)
{
	struct reader_of_messages *r = data;

	if (r->cb)
		r->cb(h, r->context);
	return MNL_CB_OK;
}

static int exchange(struct netlink *nl, struct netlink_request *r, struct reader_of_messages *to)
{
	char buf[NETLINK_BUFFER];
	ssize_t n;
	int rc = MNL_CB_OK;

	r->header->nlmsg_seq = ++nl->seq;
	if (mnl_socket_sendto(nl->socket, r->header, r->header->nlmsg_len) < 0)
		return -errno;
	while (rc > MNL_CB_STOP) {
		n = mnl_socket_recvfrom(nl->socket, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		rc = mnl_cb_run(buf, (size_t)n, nl->seq, nl->port, on_message, to);
		if (rc < 0 && errno == EPROTO) /* an answer to an earlier request that failed */
			rc = MNL_CB_OK;
	}
	return rc < 0 ? -errno : 0;
}

int netlink_do(struct netlink *nl, struct netlink_request *r)
{
	struct reader_of_messages none = { 0 };

	r->header->nlmsg_flags |= NLM_F_ACK;
	return exchange(nl, r, &none);
}

int netlink_ask(struct netlink *nl, struct netlink_request *r,
		void (*cb)(const struct nlmsghdr *h, void *context), void *context)
{
	struct reader_of_messages to = { cb, context };

	r->header->nlmsg_flags |= NLM_F_ACK;
	return exchange(nl, r, &to);
}

int netlink_dump(struct netlink *nl, uint16_t type, uint8_t family,
		 void (*cb)(const struct nlmsghdr *h, void *context), void *context)
{
	struct reader_of_messages to = { cb, context };
	struct netlink_request r;
	struct rtmsg *m = netlink_begin(&r, type, NLM_F_DUMP, sizeof(*m));

	m->rtm_family = family;
	return exchange(nl, &r, &to);
}

bool netlink_hear(struct netlink *nl, void (*cb)(const struct nlmsghdr *h, void *context), void *context)
{
	struct reader_of_messages to = { cb, context };
	char buf[NETLINK_BUFFER];
	bool all = true;

	for (int i = 0; i < HEARD_A_TURN; i++) {
		ssize_t n = mnl_socket_recvfrom(nl->socket, buf, sizeof(buf));

		if (n > 0)
			mnl_cb_run(buf, (size_t)n, 0, 0, on_message, &to);
		else if (n < 0 && errno == ENOBUFS)
			all = false;
		else if (n == 0 || errno != EINTR)
			break;
	}
	return all;
}

int netlink_link_set(struct netlink *nl, unsigned ifindex, uint32_t mtu, bool up)
{
	struct netlink_request r;
	struct ifinfomsg *m = netlink_begin(&r, RTM_NEWLINK, 0, sizeof(*m));

	m->ifi_family = AF_UNSPEC;
	m->ifi_index = (int)ifindex;
	if (up) { /* without multicast: nobody on a tunnel wants its own chatter */
		m->ifi_flags = IFF_UP;
		m->ifi_change = IFF_UP | IFF_MULTICAST;
		mnl_attr_put_u32(r.header, IFLA_TXQLEN, DEVICE_QUEUE);
	}
	if (mtu)
		mnl_attr_put_u32(r.header, IFLA_MTU, mtu);
	return netlink_do(nl, &r);
}

int netlink_link_delete(struct netlink *nl, unsigned ifindex)
{
	struct netlink_request r;
	struct ifinfomsg *m = netlink_begin(&r, RTM_DELLINK, 0, sizeof(*m));

	m->ifi_index = (int)ifindex;
	return netlink_do(nl, &r);
}

static void read_link_mtu(const struct nlmsghdr *h, void *context)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, h, sizeof(struct ifinfomsg))
		if (mnl_attr_get_type(a) == IFLA_MTU && mnl_attr_get_payload_len(a) == 4)
			*(uint32_t *)context = mnl_attr_get_u32(a);
}

uint32_t netlink_link_mtu(struct netlink *nl, unsigned ifindex)
{
	struct netlink_request r;
	struct ifinfomsg *m = netlink_begin(&r, RTM_GETLINK, 0, sizeof(*m));
	uint32_t mtu = 0;

	m->ifi_index = (int)ifindex;
	return netlink_ask(nl, &r, read_link_mtu, &mtu) == 0 ? mtu : 0;
}

static void read_route(const struct nlmsghdr *h, void *context)
{
	struct netlink_route *out = context;
	const struct nlattr *a;

	if (h->nlmsg_type != RTM_NEWROUTE)
		return;
	mnl_attr_for_each(a, h, sizeof(struct rtmsg)) {
		if (mnl_attr_get_type(a) == RTA_PREFSRC)
			out->source = ip_address_from_bytes(
				BYTES(mnl_attr_get_payload(a), mnl_attr_get_payload_len(a)));
		else if (mnl_attr_get_type(a) == RTA_OIF)
			out->ifindex = mnl_attr_get_u32(a);
	}
}

static int ask_route(struct netlink *nl, const struct ip_address *to, uint32_t mark, unsigned flags,
		     void (*cb)(const struct nlmsghdr *h, void *context), void *context)
{
	struct netlink_request r;
	struct rtmsg *m = netlink_begin(&r, RTM_GETROUTE, 0, sizeof(*m));

	m->rtm_family = to->family;
	m->rtm_dst_len = (uint8_t)(ip_address_size(to) * 8);
	m->rtm_flags = flags;
	netlink_put_address(&r, RTA_DST, to);
	mnl_attr_put_u32(r.header, RTA_MARK, mark);
	return netlink_ask(nl, &r, cb, context);
}

int netlink_route_get(struct netlink *nl, const struct ip_address *to, uint32_t mark, struct netlink_route *out)
{
	memset(out, 0, sizeof(*out));
	return ask_route(nl, to, mark, 0, read_route, out);
}

/* A route as it stands in its table: it may have several ways. */
struct table_route {
	uint32_t mtu;
	unsigned links[ROUTE_LINKS_MAX];
	size_t link_count;
};

static void add_link(struct table_route *t, unsigned ifindex)
{
	if (ifindex && t->link_count < ROUTE_LINKS_MAX)
		t->links[t->link_count++] = ifindex;
}

static void read_ways(const struct nlattr *a, struct table_route *t)
{
	const uint8_t *at = mnl_attr_get_payload(a);
	size_t left = mnl_attr_get_payload_len(a);
	struct rtnexthop way;

	while (left >= sizeof(way)) {
		size_t len;

		memcpy(&way, at, sizeof(way));
		len = RTNH_ALIGN(way.rtnh_len);
		add_link(t, (unsigned)way.rtnh_ifindex);
		if (len < sizeof(way) || len > left)
			return;
		at += len;
		left -= len;
	}
}

static void read_table_route(const struct nlmsghdr *h, void *context)
{
	struct table_route *t = context;
	const struct nlattr *a, *metric;

	if (h->nlmsg_type != RTM_NEWROUTE)
		return;
	mnl_attr_for_each(a, h, sizeof(struct rtmsg)) {
		switch (mnl_attr_get_type(a)) {
		case RTA_OIF:
			add_link(t, mnl_attr_get_u32(a));
			break;
		case RTA_MULTIPATH:
			read_ways(a, t);
			break;
		case RTA_METRICS:
			mnl_attr_for_each_nested(metric, a)
				if (mnl_attr_get_type(metric) == RTAX_MTU)
					t->mtu = mnl_attr_get_u32(metric);
			break;
		default:
			break;
		}
	}
}

uint32_t netlink_route_mtu(struct netlink *nl, const struct ip_address *to, uint32_t mark)
{
	struct table_route t = { 0 };
	struct netlink_route chosen;

	/* as it stands in the table (since 4.13): without what the kernel believes of ICMP errors */
	if (ask_route(nl, to, mark, RTM_F_FIB_MATCH, read_table_route, &t) != 0)
		return 0;
	/* of a route with a next hop object a kernel may tell no more than the object's number */
	if (t.link_count == 0 && netlink_route_get(nl, to, mark, &chosen) == 0)
		add_link(&t, chosen.ifindex);
	for (size_t i = 0; i < t.link_count; i++) {
		uint32_t link = netlink_link_mtu(nl, t.links[i]);

		if (link && (t.mtu == 0 || link < t.mtu))
			t.mtu = link;
	}
	return t.mtu;
}
