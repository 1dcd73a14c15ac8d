#include "pluto/addresses.h"

#include <errno.h>
#include <ifaddrs.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool is_link_local(const struct ip_address *a)
{
	return a->family == AF_INET6 && a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

bool addresses_read(struct addresses *a)
{
	struct ifaddrs *all = NULL;
	size_t n = 0;

	if (getifaddrs(&all) != 0)
		return false;
	for (struct ifaddrs *i = all; i != NULL; i = i->ifa_next)
		n++;
	struct local_address *list = calloc(n > 0 ? n : 1, sizeof(*list));
	if (list == NULL) {
		freeifaddrs(all);
		return false;
	}
	n = 0;
	for (struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
		struct ip_endpoint e;

		if (i->ifa_addr == NULL || !ip_endpoint_from_sockaddr(i->ifa_addr, &e) ||
		    e.address.family == AF_UNSPEC || is_link_local(&e.address) || !(i->ifa_flags & IFF_UP))
			continue;
		snprintf(list[n].interface, sizeof(list[n].interface), "%.15s", i->ifa_name);
		list[n++].address = e.address;
	}
	freeifaddrs(all);
	free(a->list);
	a->list = list;
	a->count = n;
	return true;
}

/* Of routes only the default ones count: others, our own among them, come and go. */
static int on_change(const struct nlmsghdr *nlh, void *data)
{
	bool *news = data;
	const struct rtmsg *rt = mnl_nlmsg_get_payload(nlh);

	if (nlh->nlmsg_type != RTM_NEWROUTE && nlh->nlmsg_type != RTM_DELROUTE)
		*news = true;
	else if (mnl_nlmsg_get_payload_len(nlh) >= sizeof(*rt) && rt->rtm_dst_len == 0 &&
		 rt->rtm_table == RT_TABLE_MAIN)
		*news = true;
	return MNL_CB_OK;
}

/* What changed does not matter: the whole list is read again. */
static void on_netlink(evutil_socket_t fd, short what, void *context)
{
	struct addresses *a = context;
	char buf[16384];
	bool news = false;

	(void)what;
	for (int i = 0; i < 64; i++) {
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n > 0)
			mnl_cb_run(buf, (size_t)n, 0, 0, on_change, &news);
		else if (n < 0 && errno == ENOBUFS)
			news = true; /* some were lost */
		else
			break;
	}
	if (news)
		a->changed(a->context);
}

static bool watch(struct addresses *a, struct event_base *base)
{
	struct sockaddr_nl nl = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
	};

	a->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (a->fd < 0 || bind(a->fd, (struct sockaddr *)&nl, sizeof(nl)) != 0)
		return false;
	a->event = event_new(base, a->fd, EV_READ | EV_PERSIST, on_netlink, a);
	return a->event != NULL && event_add(a->event, NULL) == 0;
}

struct addresses *addresses_new(struct event_base *base, void (*changed)(void *), void *context)
{
	struct addresses *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->fd = -1;
	a->changed = changed;
	a->context = context;
	/* watch first: what changes while the list is read is then not missed */
	if (!watch(a, base) || !addresses_read(a)) {
		int err = errno;

		addresses_free(a);
		errno = err;
		return NULL;
	}
	return a;
}

void addresses_free(struct addresses *a)
{
	if (a == NULL)
		return;
	if (a->event != NULL)
		event_free(a->event);
	if (a->fd >= 0)
		close(a->fd);
	free(a->list);
	free(a);
}

const struct local_address *addresses_find(const struct addresses *a, const struct ip_address *address)
{
	for (size_t i = 0; i < a->count; i++) {
		if (ip_address_equal(&a->list[i].address, address))
			return &a->list[i];
	}
	return NULL;
}

bool addresses_of_interface(const struct addresses *a, const char *interface, uint8_t family,
			    struct ip_address *out)
{
	static const uint8_t either[] = { AF_INET, AF_INET6 };

	for (size_t f = 0; f < 2; f++) {
		if (family != AF_UNSPEC && family != either[f])
			continue;
		for (size_t i = 0; i < a->count; i++) {
			if (a->list[i].address.family != either[f] ||
			    strcmp(a->list[i].interface, interface) != 0)
				continue;
			*out = a->list[i].address;
			return true;
		}
	}
	return false;
}

struct default_route {
	const struct addresses *addresses;
	bool found;
	uint32_t metric;
	struct ip_address source;
};

static int on_attr(const struct nlattr *attr, void *data)
{
	const struct nlattr **tb = data;

	if (mnl_attr_type_valid(attr, RTA_MAX) >= 0)
		tb[mnl_attr_get_type(attr)] = attr;
	return MNL_CB_OK;
}

static uint32_t attr_u32(const struct nlattr *attr, uint32_t otherwise)
{
	return attr != NULL && mnl_attr_validate(attr, MNL_TYPE_U32) >= 0 ? mnl_attr_get_u32(attr) : otherwise;
}

static int on_route(const struct nlmsghdr *nlh, void *data)
{
	struct default_route *best = data;
	const struct rtmsg *rt = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *tb[RTA_MAX + 1] = { NULL };
	char name[IF_NAMESIZE];

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*rt) || rt->rtm_dst_len != 0 ||
	    rt->rtm_type != RTN_UNICAST)
		return MNL_CB_OK;
	mnl_attr_parse(nlh, sizeof(*rt), on_attr, tb);
	uint32_t metric = attr_u32(tb[RTA_PRIORITY], 0), oif = attr_u32(tb[RTA_OIF], 0);
	if (attr_u32(tb[RTA_TABLE], rt->rtm_table) != RT_TABLE_MAIN || oif == 0 ||
	    (best->found && best->metric <= metric))
		return MNL_CB_OK;
	struct ip_address source = { 0 };
	if (tb[RTA_PREFSRC] != NULL)
		source = ip_address_from_bytes(BYTES(mnl_attr_get_payload(tb[RTA_PREFSRC]),
						     mnl_attr_get_payload_len(tb[RTA_PREFSRC])));
	else if (if_indextoname(oif, name) != NULL)
		addresses_of_interface(best->addresses, name, rt->rtm_family, &source);
	if (source.family == AF_UNSPEC)
		return MNL_CB_OK;
	best->found = true;
	best->metric = metric;
	best->source = source;
	return MNL_CB_OK;
}

static bool default_route_of(const struct addresses *a, uint8_t family, struct ip_address *out)
{
	char buf[16384]; /* at least what the kernel puts into one message of a dump */
	struct default_route best = { .addresses = a };
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	unsigned seq = (unsigned)time(NULL);

	if (nl == NULL)
		return false;
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = RTM_GETROUTE;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = seq;
	struct rtmsg *rt = mnl_nlmsg_put_extra_header(nlh, sizeof(*rt));
	rt->rtm_family = family;
	int rc = mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
		 mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0 ? MNL_CB_ERROR : MNL_CB_OK;
	while (rc > MNL_CB_STOP) {
		ssize_t n = mnl_socket_recvfrom(nl, buf, sizeof(buf));

		rc = n > 0 ? mnl_cb_run(buf, (size_t)n, seq, mnl_socket_get_portid(nl), on_route, &best) :
			     MNL_CB_ERROR;
	}
	mnl_socket_close(nl);
	if (best.found)
		*out = best.source;
	return best.found;
}

bool addresses_of_default_route(const struct addresses *a, uint8_t family, struct ip_address *out)
{
	if (family != AF_UNSPEC)
		return default_route_of(a, family, out);
	return default_route_of(a, AF_INET, out) || default_route_of(a, AF_INET6, out);
}
