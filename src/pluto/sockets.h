/*
 * IKE's UDP sockets: ports 500 and 4500 of every address of this machine (or of
 * listen=), and those of leftikeport=. One socket an address, so that an answer
 * leaves from where the request came.
 *
 * Sockets of other ports than 500 carry ESP in UDP too (RFC 3948): they are
 * given to the back end. Where it reads them itself, it hands the IKE messages
 * back; where the kernel takes the ESP out of them, they are read here.
 */
#ifndef PLUTO_SOCKETS_H
#define PLUTO_SOCKETS_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/reader.h"
#include "net/address.h"
#include "pluto/addresses.h"

struct sockets;

struct sockets_host {
	void *context;
	/** An IKE message; the non-ESP marker has been removed. */
	void (*received)(void *context, const struct ip_endpoint *local,
			 const struct ip_endpoint *remote, const uint8_t *data, size_t len);
	/** ICMP told that `remote` cannot be reached. */
	void (*unreachable)(void *context, const struct ip_endpoint *remote, const char *text);
	/** Prepare a new socket before it is bound; false with a sentence in `err`. */
	bool (*prepare)(void *context, int fd, uint8_t family, char *err, size_t len);
	/** A bound socket for ESP in UDP: true when the back end reads it from now on. */
	bool (*encapsulated)(void *context, int fd, const struct ip_endpoint *local);
	void (*closing)(void *context, int fd);
};

/** NULL without memory. */
struct sockets *sockets_new(struct event_base *base, const struct sockets_host *host);
void sockets_free(struct sockets *s);

/**
 * Bind what is missing for `addresses` and `ports` (beside 500 and 4500), close what has gone.
 * `listen` AF_UNSPEC: all addresses. Returns how many sockets could not be bound; each was logged,
 * the first into `err`.
 */
size_t sockets_update(struct sockets *s, const struct addresses *addresses,
		      const struct ip_address *listen, const uint16_t *ports, size_t port_count,
		      char *err, size_t len);
size_t sockets_count(const struct sockets *s);

/** Send an IKE message from `local`, with the non-ESP marker unless its port is 500. */
void sockets_send(struct sockets *s, const struct ip_endpoint *local,
		  const struct ip_endpoint *remote, struct bytes datagram);

/** For status: each socket's interface and address. */
void sockets_each(const struct sockets *s, void (*fn)(void *, const char *interface, const struct ip_endpoint *),
		  void *context);

#endif
