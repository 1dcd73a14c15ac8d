/*
 * Fuzzing of merging: a batch of packets as an authenticated peer may send them. What is written,
 * cut again the plain way (tests/unit/esp/segments.h), is what came in: every packet once, those of
 * a flow in their order, each byte as it was but an ID that means nothing (RFC 6864).
 *
 * An input is a chain of: a length of two bytes; a byte of flags; a packet.
 *
 *   bit 0  instead of a packet: the length of one that follows the last by TCP's sequence number
 *          and IPv4's ID, a copy of it else
 *   bit 1  lengths and checksums are made right      bit 2  another tag      bit 3  flush first
 *   bit 4  with bit 0: a bit of its headers falls over before they are made right; bits 5-7 and
 *          the length's upper four say of which byte
 */
#include <stdlib.h>

#include "esp/gro.h"
#include "tests/unit/esp/segments.h"

enum { PACKETS_MAX = 300, PACKET_MAX = 4096, SUPER_MAX = 65535 };
enum { FOLLOWS = 1, RIGHT = 2, OTHER_TAG = 4, FLUSH = 8, CHANGE = 16 };

static struct gro gro;
static uint8_t *came[PACKETS_MAX], *was[PACKETS_MAX];
static size_t len[PACKETS_MAX], count;
static bool gone[PACKETS_MAX];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

/* TCP or UDP with whole headers, and nothing between them and IP's. */
static bool has_flow(const uint8_t *p, size_t n)
{
	bool v4 = n >= 28 && p[0] == 0x45, v6 = n >= 48 && p[0] >> 4 == 6;
	uint8_t protocol = v4 ? p[9] : p[6];

	return (v4 || v6) && (protocol == IPPROTO_UDP || (protocol == IPPROTO_TCP && n >= (v4 ? 40 : 60)));
}

static bool same_flow(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	if (!has_flow(a, a_len) || !has_flow(b, b_len) || a[0] >> 4 != b[0] >> 4)
		return false;
	if (a[0] >> 4 == 4)
		return a[9] == b[9] && memcmp(a + 12, b + 12, 12) == 0;
	return a[6] == b[6] && memcmp(a + 8, b + 8, 36) == 0;
}

static bool same(const uint8_t *a, const uint8_t *b, size_t n, bool alone)
{
	if (alone || n < 20 || a[0] >> 4 != 4 || !(a[6] & 0x40))
		return memcmp(a, b, n) == 0;
	return memcmp(a, b, 4) == 0 && memcmp(a + 6, b + 6, 4) == 0 && memcmp(a + 12, b + 12, n - 12) == 0 &&
	       plain_sum(a, 20, 0) == 0xffff && plain_sum(b, 20, 0) == 0xffff;
}

/* It is the first of its flow that is not gone yet; of what has no flow, any. */
static void take(const uint8_t *p, size_t n, bool alone)
{
	for (size_t i = 0; i < count; i++) {
		if (gone[i])
			continue;
		if (len[i] == n && same(was[i], p, n, alone)) {
			gone[i] = true;
			return;
		}
		check(!same_flow(was[i], len[i], p, n));
	}
	abort();
}

static void on_write(void *context, const struct iovec *iov, int iovs, size_t packets, size_t bytes)
{
	static uint8_t super[SUPER_MAX], out[SUPER_MAX];
	const struct virtio_net_hdr *h = iov[0].iov_base;
	size_t n = 0, i = 0;

	(void)context;
	check(iov[0].iov_len == sizeof(*h));
	for (int v = 1; v < iovs; v++) {
		check(n + iov[v].iov_len <= SUPER_MAX);
		memcpy(super + n, iov[v].iov_base, iov[v].iov_len);
		n += iov[v].iov_len;
	}
	check(n == bytes);
	if (packets == 1) {
		check(h->flags == 0 && h->gso_type == 0 && h->gso_size == 0);
		take(super, n, true);
		return;
	}
	check(h->gso_size > 0 && h->gso_type != 0);
	for (; cut(super, bytes, h->gso_size, i, out, &n); i++)
		take(out, n, false);
	check(i == packets);
}

/* The packet that would come after the last. */
static size_t follow(uint8_t *p, size_t n, size_t payload, uint8_t flags)
{
	size_t change = (payload >> 12 << 3) | flags >> 5;
	bool v4 = p[0] >> 4 == 4, tcp;
	size_t l4 = v4 ? 20 : 40, header;

	if (!has_flow(p, n))
		return n;
	tcp = p[v4 ? 9 : 6] == IPPROTO_TCP;
	header = l4 + (tcp ? (size_t)(p[l4 + 12] >> 4) * 4 : 8);
	if (header > n || header < l4 + (tcp ? 20 : 8))
		return n;
	if (v4)
		put16(p + 4, get16(p + 4) + 1);
	if (tcp)
		put32(p + l4 + 4, get32(p + l4 + 4) + (uint32_t)(n - header));
	payload = (payload & 0xfff) % (PACKET_MAX - header);
	memset(p + header, (int)payload, payload);
	if (flags & CHANGE && change > 0 && change < header)
		p[change] ^= (uint8_t)(1 << payload % 8);
	if (!has_flow(p, header + payload))
		return header + payload;
	complete(p, header + payload);
	return header + payload;
}

static void add(const uint8_t *p, size_t n, uint8_t flags)
{
	static const int tags[2];
	const void *tag = &tags[flags & OTHER_TAG ? 1 : 0];

	came[count] = malloc(n ? n : 1);
	was[count] = malloc(n ? n : 1);
	check(came[count] && was[count]);
	memcpy(came[count], p, n);
	memcpy(was[count], p, n);
	len[count] = n;
	gone[count++] = false;
	if (flags & FLUSH)
		gro_flush(&gro);
	if (!gro_continue(&gro, came[count - 1], n, tag))
		gro_add(&gro, came[count - 1], n, tag);
	else
		check(has_flow(p, n) && n == (p[0] >> 4 == 4 ? get16(p + 2) : 40 + get16(p + 4)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t last[PACKET_MAX];
	size_t last_len = 0;

	count = 0;
	gro_init(&gro, on_write, NULL, true, true);
	while (size >= 3 && count < PACKETS_MAX) {
		size_t n = get16(data);
		uint8_t flags = data[2];

		data += 3;
		size -= 3;
		if (flags & FOLLOWS) {
			last_len = follow(last, last_len, n, flags);
		} else {
			last_len = n < size ? n : size;
			if (last_len > PACKET_MAX)
				last_len = PACKET_MAX;
			memcpy(last, data, last_len);
			data += last_len;
			size -= last_len;
			if (flags & RIGHT && has_flow(last, last_len))
				complete(last, last_len);
		}
		add(last, last_len, flags);
	}
	gro_flush(&gro);
	for (size_t i = 0; i < count; i++) {
		check(gone[i]);
		free(came[i]);
		free(was[i]);
	}
	return 0;
}
