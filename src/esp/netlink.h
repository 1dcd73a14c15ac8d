/*
 * rtnetlink for the back end: links, routes and rules, over libmnl.
 *
 * Requests are synchronous: each waits for its acknowledgement. Errors are
 * negative errno values, as the kernel gives them.
 */
#ifndef ESP_NETLINK_H
#define ESP_NETLINK_H

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/address.h"

enum {
	NETLINK_BUFFER = 32768,
	DEVICE_QUEUE = 1000, /* packets that wait in a queue of the device: a burst of small ones */
	ROUTE_LINKS_MAX = 16, /* ways of one route that are looked at */
};

struct netlink {
	struct mnl_socket *socket;
	unsigned port, seq;
};

/** A request under construction. */
struct netlink_request {
	struct nlmsghdr *header;
	char buf[1024];
};

/** 0, or a negative errno. */
int rtnetlink_open(struct netlink *nl);
/**
 * A socket that hears of changes of links, routes and rules, but not of routes of `protocol` (our own): read it by
 * netlink_hear(), never ask by it. 0 or a negative errno.
 */
int rtnetlink_listen(struct netlink *nl, uint8_t protocol);
/** The same to another part of the kernel (NETLINK_NETFILTER, ...); to be closed as that. */
int netlink_open_to(struct netlink *nl, int protocol);
void rtnetlink_close(struct netlink *nl);

/** Begin a request; returns its family header of `size` bytes, zeroed. */
void *netlink_begin(struct netlink_request *r, uint16_t type, uint16_t flags, size_t size);
void netlink_put_address(struct netlink_request *r, uint16_t attr, const struct ip_address *a);

/** Send and wait for the acknowledgement: 0 or a negative errno. */
int netlink_do(struct netlink *nl, struct netlink_request *r);
/** Send and give each message of the answer to `cb`: 0 or a negative errno. */
int netlink_ask(struct netlink *nl, struct netlink_request *r,
		void (*cb)(const struct nlmsghdr *h, void *context), void *context);
/** All of a kind (RTM_GETRULE, RTM_GETROUTE) in `family`. */
int netlink_dump(struct netlink *nl, uint16_t type, uint8_t family,
		 void (*cb)(const struct nlmsghdr *h, void *context), void *context);
/** Give messages that have come to `cb`, up to some hundreds; false when some were lost. Never waits. */
bool netlink_hear(struct netlink *nl, void (*cb)(const struct nlmsghdr *h, void *context), void *context);

/** With `mtu` (0: as it is); `up`: up, as a tunnel's device. 0 or a negative errno. */
int netlink_link_set(struct netlink *nl, unsigned ifindex, uint32_t mtu, bool up);
int netlink_link_delete(struct netlink *nl, unsigned ifindex);
/** MTU of a link, 0 if it is not known. */
uint32_t netlink_link_mtu(struct netlink *nl, unsigned ifindex);

/** How the kernel would send to `to` with `mark`: what it chose. */
struct netlink_route {
	struct ip_address source; /* AF_UNSPEC: none */
	unsigned ifindex;
};
/** 0 or a negative errno (-ENETUNREACH, ...). */
int netlink_route_get(struct netlink *nl, const struct ip_address *to, uint32_t mark, struct netlink_route *out);
/**
 * Bytes that our own routes and links take on the way to `to` with `mark`: the least of all ways of the route.
 * What the kernel learned from ICMP does not count. 0 if there is no route.
 */
uint32_t netlink_route_mtu(struct netlink *nl, const struct ip_address *to, uint32_t mark);

#endif
