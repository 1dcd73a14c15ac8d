/* This machine's addresses, interfaces and default route, and changes of them. */
#ifndef PLUTO_ADDRESSES_H
#define PLUTO_ADDRESSES_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

#include "net/address.h"

enum { INTERFACE_NAME = 16 };

struct local_address {
	char interface[INTERFACE_NAME];
	struct ip_address address;
};

struct addresses {
	struct local_address *list;
	size_t count;
	int fd; /* netlink: told of changes */
	struct event *event;
	void (*changed)(void *context);
	void *context;
};

/** Read them and watch for changes; `changed` is then called from the loop. NULL with errno. */
struct addresses *addresses_new(struct event_base *base, void (*changed)(void *), void *context);
void addresses_free(struct addresses *a);
/** Read them again; false, and the old list, when that fails. */
bool addresses_read(struct addresses *a);

/** Entry of an address of ours, NULL. */
const struct local_address *addresses_find(const struct addresses *a, const struct ip_address *address);
/** First address of an interface; `family` AF_UNSPEC: any, IPv4 first. */
bool addresses_of_interface(const struct addresses *a, const char *interface, uint8_t family,
			    struct ip_address *out);
/** The source address that the default route of the main table has; AF_UNSPEC: IPv4 first. */
bool addresses_of_default_route(const struct addresses *a, uint8_t family, struct ip_address *out);

#endif
