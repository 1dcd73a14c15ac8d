/*
 * Super-packets of TUN into packets of the path's size, without copying the payload: what the
 * kernel would have done for a device without segmentation. RFC 9293, 768, 791, 8200.
 *
 * The packets are made one after the other in the buffer of the super-packet: each header is
 * written in front of its payload, over payload that was taken before.
 */
#ifndef ESP_GSO_H
#define ESP_GSO_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	GSO_TAIL = 64,        /* writable bytes behind each packet; what stood there comes back */
	GSO_HEADER_MAX = 256, /* IP with options or extensions, and TCP or UDP */
};

/* <linux/virtio_net.h> of older systems has it not */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/** A super-packet on its way; the members are the functions' own. */
struct gso {
	uint8_t *packet;        /* borrowed; GSO_TAIL bytes behind `len` belong to it as well */
	size_t len, l4, header; /* bytes: of all; in front of TCP or UDP; in front of the payload */
	size_t at;              /* payload that was taken */
	uint16_t size;          /* payload bytes a packet */
	bool tcp;
	uint16_t id;            /* the first packet's, of IPv4 */
	uint32_t seq;           /* the first packet's, of TCP */
	uint8_t flags;          /* TCP's, of the super-packet */
	uint32_t count, done;   /* packets */
	uint32_t ip_sum, l4_sum; /* of what is the same in all headers */
	uint8_t *over;          /* where `tail` stood; NULL: nothing to put back */
	uint8_t tail[GSO_TAIL];
	uint8_t head[GSO_HEADER_MAX]; /* the next packet's headers */
};

/**
 * Begin with the super-packet of `len` bytes at `packet` that `h` describes. False if it is none or
 * not what `h` says: nothing in `h` is believed without looking (hdr_len least of all). No super-packet
 * is longer than 65,535 bytes, so that no packet is.
 */
bool gso_open(struct gso *g, const struct virtio_net_hdr *h, uint8_t *packet, size_t len);

/** How many packets gso_next() will give. */
size_t gso_count(const struct gso *g);

/**
 * The next packet, complete with lengths and checksums; false after the last. Valid until the next
 * call, which puts back what was written over the GSO_TAIL bytes behind it.
 */
bool gso_next(struct gso *g, uint8_t **packet, size_t *len);

/** A single packet whose checksum `h` leaves to us (NEEDS_CSUM): complete it. False if malformed. */
bool gso_checksum(const struct virtio_net_hdr *h, uint8_t *packet, size_t len);

#endif
