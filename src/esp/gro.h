/*
 * Packets that belong together into super-packets for TUN, without copying the payload: the rules
 * of the kernel's GRO. RFC 9293, 768, 3168, 6864.
 *
 * Nothing waits for later packets: gro_flush() ends every batch. Packets of one flow are written in
 * the order in which they came. A packet is merged only if its checksum was right, for the receiver
 * trusts that of a super-packet.
 */
#ifndef ESP_GRO_H
#define ESP_GRO_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
	GRO_ITEMS = 16,      /* super-packets in the making */
	GRO_SEGMENTS = 128,  /* packets of one: 1 + GRO_SEGMENTS iovecs */
	GRO_HEADER = 100,    /* IPv6 and TCP with all its options */
};

/** Write one packet of `bytes` bytes made of `packets`; iov[0] is the virtio header. */
typedef void (*gro_write)(void *context, const struct iovec *iov, int count, size_t packets, size_t bytes);

/** A flow of this batch, and the packets of it that are in the making. */
struct gro_item {
	const void *tag;
	uint8_t l4;               /* bytes in front of TCP or UDP */
	bool verified;            /* the first packet's checksums */
	uint16_t header;          /* bytes in front of the payload */
	uint16_t size;            /* payload bytes of the first packet */
	uint16_t count;           /* packets; 0: the flow is known, and nothing waits */
	uint16_t next_id;         /* of IPv4 without DF */
	uint32_t next_seq;        /* of TCP */
	uint32_t total;           /* bytes of all together, with one header */
	uint8_t head[GRO_HEADER]; /* the first packet's headers, as they came */
	struct virtio_net_hdr vnet;
	struct iovec iov[1 + GRO_SEGMENTS];
};

struct gro {
	gro_write write;
	void *context;
	bool tcp, udp; /* what may be merged: what the device takes */
	/* the rest is the functions' own */
	uint32_t used, last, victim; /* items: that know a flow; found last; to give up next */
	uint32_t key[GRO_ITEMS];     /* of each one's flow: most are told apart without a look at the item */
	struct gro_item items[GRO_ITEMS];
};

void gro_init(struct gro *g, gro_write write, void *context, bool tcp, bool udp);

/**
 * A packet of a flow that is in the making with the same `tag` (the SA that it came by): merge it,
 * or write what is there and begin anew with it. False, with nothing done, if there is no such flow:
 * then check what has to be checked of a flow's first packet, and call gro_add().
 *
 * `packet` stays readable and writable until gro_flush().
 */
bool gro_continue(struct gro *g, uint8_t *packet, size_t len, const void *tag);
void gro_add(struct gro *g, uint8_t *packet, size_t len, const void *tag);

/** Write all that is in the making. */
void gro_flush(struct gro *g);

#endif
