/*
 * Fuzzing of cutting: a virtio header and what it calls a super-packet, neither of which can be
 * trusted. What can be cut is, the trailers of ESP are written behind each packet, and then:
 *
 *   - the packets are those of the plain way (tests/unit/esp/segments.h);
 *   - with nothing in the headers that forbids merging, gro.c makes the super-packet again.
 *
 * The first 10 bytes are the virtio header.
 */
#include <stdlib.h>

#include "esp/gro.h"
#include "esp/gso.h"
#include "tests/unit/esp/segments.h"

enum { SUPER_MAX = 65535 + 40, PACKETS_MAX = 4000 };

static struct gro gro;
static uint8_t want[SUPER_MAX], merged[SUPER_MAX];
static size_t merged_len, merged_writes;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static uint8_t *copy_of(const uint8_t *data, size_t size, size_t more)
{
	uint8_t *p = malloc(size + more ? size + more : 1);

	check(p != NULL);
	memcpy(p, data, size);
	memset(p + size, 0x5a, more);
	return p;
}

/* Put back together what is written, as if it were one super-packet's. */
static void on_write(void *context, const struct iovec *iov, int count, size_t packets, size_t bytes)
{
	size_t n = 0;

	(void)context;
	(void)packets;
	for (int i = 1; i < count; i++)
		n += iov[i].iov_len;
	check(n == bytes && bytes <= SUPER_MAX);
	if (merged_writes++ > 0)
		return;
	for (int i = 1; i < count; i++) {
		memcpy(merged + merged_len, iov[i].iov_base, iov[i].iov_len);
		merged_len += iov[i].iov_len;
	}
}

/* gro.c may merge all of it. */
static bool ordinary(const uint8_t *p, size_t packets)
{
	uint8_t protocol;
	size_t l4 = upper_at(p, &protocol);

	if (packets < 2 || packets > GRO_SEGMENTS || l4 != (p[0] >> 4 == 4 ? 20 : 40))
		return false;
	if (p[0] >> 4 == 4 && p[6] & 0x80)
		return false;
	return protocol == IPPROTO_UDP || (get16(p + l4 + 12) & 0xfff & ~PSH) == ACK;
}

static void merge(uint8_t **packets, const size_t *lens, size_t count, const uint8_t *super, size_t len)
{
	static const int tag;
	uint8_t protocol;
	size_t l4;

	merged_len = merged_writes = 0;
	gro_init(&gro, on_write, NULL, true, true);
	for (size_t i = 0; i < count; i++)
		if (!gro_continue(&gro, packets[i], lens[i], &tag))
			gro_add(&gro, packets[i], lens[i], &tag);
	gro_flush(&gro);
	if (!ordinary(super, count) || len > 65535)
		return;
	l4 = upper_at(super, &protocol);
	check(merged_writes == 1 && merged_len == len);
	memcpy(want, super, len); /* but for the checksums, which were anything */
	complete(want, len);
	make_super(want, len, 1);
	check(memcmp(merged, want, len) == 0);
	check(get16(merged + l4 + (protocol == IPPROTO_TCP ? 16 : 6)) == pseudo_sum(merged, protocol, len - l4));
}

static void cut_and_merge(const struct virtio_net_hdr *h, const uint8_t *data, size_t size)
{
	static uint8_t *packets[PACKETS_MAX];
	static size_t lens[PACKETS_MAX];
	uint8_t *super = copy_of(data, size, GSO_TAIL), *p;
	size_t n, want_len, count = 0;
	struct gso g;
	bool open = gso_open(&g, h, super, size);
	size_t told = gso_count(&g);

	check(told <= size);
	if (!open) {
		check(told == 0 && !gso_next(&g, &p, &n));
		check(memcmp(super, data, size) == 0);
	} else if (told <= PACKETS_MAX) {
		for (; gso_next(&g, &p, &n); count++) {
			check(cut(data, size, h->gso_size, count, want, &want_len));
			check(n == want_len && memcmp(p, want, n) == 0);
			packets[count] = copy_of(p, n, 0);
			lens[count] = n;
			memset(p + n, 0xee, GSO_TAIL);
		}
		check(count == told && !cut(data, size, h->gso_size, count, want, &want_len));
		for (size_t i = 0; i < GSO_TAIL; i++)
			check(super[size + i] == 0x5a);
		merge(packets, lens, count, data, size);
	}
	while (count > 0)
		free(packets[--count]);
	free(super);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_net_hdr h;
	uint8_t *single;

	if (size < sizeof(h) || size > sizeof(h) + SUPER_MAX)
		return 0;
	memcpy(&h, data, sizeof(h));
	data += sizeof(h);
	size -= sizeof(h);
	cut_and_merge(&h, data, size);
	single = copy_of(data, size, 0);
	if (!gso_checksum(&h, single, size))
		check(memcmp(single, data, size) == 0);
	else
		check(h.csum_start + h.csum_offset + 2u <= size && (size - h.csum_start == 0 || get16(single + h.csum_start + h.csum_offset) != 0));
	free(single);
	return 0;
}
