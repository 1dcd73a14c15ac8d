/*
 * ESP in user space, behind struct backend_ops (sa/backend.h). RFC 4301, 4303, 3948, 6040.
 *
 * What a policy covers is led into the TUN device by policy routing; a worker
 * thread protects it and sends it as IP protocol 50 or in UDP. The worker reads
 * the UDP sockets of port 4500 as well and hands IKE messages to the daemon's
 * thread. What must hold: device, rules, routes and packet filter stay when the
 * process is killed, so that covered traffic is then dropped; the next start
 * finds and adopts them.
 *
 * Everything here is called from the daemon's thread.
 */
#ifndef ESP_ESP_H
#define ESP_ESP_H

#include <stdbool.h>
#include <stdint.h>

#include "sa/backend.h"

/** Names that the back end has in the system (docs/internals.md). */
enum {
	ESP_ROUTE_TABLE = 220,
	ESP_GROUP_TABLE = 22000, /* and up: of policies that differ in the remote side alone */
	ESP_GROUP_TABLE_END = 22998,
	ESP_COMMON_TABLE = 22998,     /* of many policies with different local sides */
	ESP_COMMON_OWN_TABLE = 22999, /* the same for this host's own packets without a source */
	ESP_RULE_BYPASS = 215, /* what never enters the tunnel: our own packets */
	ESP_RULE_POLICY = 216, /* one or more for each policy */
	ESP_RULE_END = 217,    /* does nothing: where the bypass rules jump to */
	ESP_PROTOCOL = 94,     /* of our routes and rules */
	ESP_MARK = 0x5e60,     /* of packets that the policy rules leave alone */
	ESP_MARK_MASK = 0xffff,
	ESP_UNCOVERED = 0x10000, /* a bit of packets that the common table leaves alone */
};
#define ESP_TUN_NAME "ipsec0"
#define ESP_NFT_TABLE "sekisho"
#define ESP_NFT_MARKS "sekisho_marks"

struct esp_options {
	const char *tun_name; /* NULL: ESP_TUN_NAME */
	bool no_guard;        /* without the packet filter (tests) */
	unsigned workers;     /* 0: one for each core that we may use */
	/* policies set before esp_backend_settle() reach packet filter and worker there, all at once */
	bool gather;
};

/**
 * A back end with its TUN device, raw sockets and worker. Adopts what a killed
 * predecessor left; that stays in force until esp_backend_settle(). NULL with a
 * sentence in `err` if there is no TUN device, or no right to make one.
 *
 * IKE's own sockets have to carry the mark as well (SO_MARK, ESP_MARK), or a
 * policy that contains the peer's address would swallow its messages;
 * backend_ops.udp_socket() sets it for those it gets.
 */
struct backend *esp_backend_new(const struct backend_events *events,
				const struct esp_options *options, struct backend_error *err);

/** All policies of the configuration are set: remove what is left of a predecessor's. */
void esp_backend_settle(struct backend *b);

/** A socket given by udp_socket() is about to be closed: forget it. */
void esp_backend_udp_forget(struct backend *b, int fd);

/**
 * Remove what a killed predecessor left (rules, routes, filter, device), for a
 * start that uses another back end or for `ipsec stop`. Returns false if something
 * could not be removed. `tun_name` NULL: ESP_TUN_NAME.
 */
bool esp_backend_sweep(const char *tun_name);

#endif
