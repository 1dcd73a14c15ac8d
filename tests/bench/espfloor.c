/*
 * The floor of a user-space ESP data plane: what a gateway reaches with everything that the kernel
 * offers for batches (virtio headers and TSO on the TUN, UDP_SEGMENT, UDP_GRO) and libipsec-mb's
 * direct AES-128-GCM. It is the yardstick of several bars and no VPN: fixed keys, one SA each
 * way, no policy, no IPv6, no UDP super-packets, no check of what is inside.
 *
 *   espfloor TUN LOCAL PEER ROLE      ROLE 0 on one side, 1 on the other; one thread a direction
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <intel-ipsec-mb.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	ESP_HEAD = 16,  /* SPI, sequence number, IV */
	ESP_ICV = 16,
	SPI = 0x1001,
	TRAILER_ROOM = 32,
	BUFFER = 70000,
	SEND_MAX = 65000,
	MERGE_MAX = 64000,
	MERGE_PARTS = 100,
	WINDOW_WORDS = 16,
};

struct sa {
	IMB_MGR *mb;
	struct gcm_key_data key;
	struct gcm_context_data context;
	uint64_t seq;
	uint8_t salt[4];
};

/* The super-packet under construction: its first packet, and pieces of those that followed. */
struct merge {
	struct iovec parts[MERGE_PARTS + 2]; /* 0: the virtio header */
	int count;
	uint8_t *first;
	int header, segment, payload;
	uint32_t next_seq;
};

static int tun, udp, role;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* --- checksums ------------------------------------------------------------------------------- */

static uint16_t sum(const uint8_t *p, int n, uint64_t s)
{
	int i = 0;

	for (; i + 4 <= n; i += 4) {
		uint32_t w;

		memcpy(&w, p + i, 4);
		s += w;
	}
	if (n - i >= 2) {
		uint16_t w;

		memcpy(&w, p + i, 2);
		s += w;
		i += 2;
	}
	if (i < n)
		s += p[i];
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)s;
}

static uint16_t pseudo(const struct iphdr *ip, int len)
{
	return sum((const uint8_t *)&ip->saddr, 8,
		   (uint64_t)htons(ip->protocol) + htons((uint16_t)len));
}

static void ip_finish(struct iphdr *ip, int header, int total)
{
	ip->tot_len = htons((uint16_t)total);
	ip->check = 0;
	ip->check = (uint16_t)~sum((const uint8_t *)ip, header, 0);
}

/* --- sealing --------------------------------------------------------------------------------- */

static void sa_init(struct sa *s, int direction)
{
	static const uint8_t keys[2][16] = { "0123456789abcde", "fedcba987654321" };

	s->mb = alloc_mb_mgr(0);
	if (!s->mb)
		die("alloc_mb_mgr");
	init_mb_mgr_auto(s->mb, NULL);
	IMB_AES128_GCM_PRE(s->mb, keys[direction], &s->key);
	memcpy(s->salt, direction ? "pepp" : "salt", 4);
	s->seq = 0;
}

/* Seals `len` bytes at `src`, behind which the trailer is written, to `dst`. */
static int seal(struct sa *s, uint8_t *dst, uint8_t *src, int len)
{
	int pad = -(len + 2) & 3, n = len + pad + 2;
	uint64_t iv = htobe64(++s->seq);
	uint32_t head[2] = { htonl(SPI), htonl((uint32_t)s->seq) };
	uint8_t nonce[12];

	for (int i = 0; i < pad; i++)
		src[len + i] = (uint8_t)(i + 1);
	src[len + pad] = (uint8_t)pad;
	src[len + pad + 1] = IPPROTO_IPIP;
	memcpy(dst, head, 8);
	memcpy(dst + 8, &iv, 8);
	memcpy(nonce, s->salt, 4);
	memcpy(nonce + 4, &iv, 8);
	IMB_AES128_GCM_ENC(s->mb, &s->key, &s->context, dst + ESP_HEAD, src, (uint64_t)n, nonce, dst,
			   8, dst + ESP_HEAD + n, ESP_ICV);
	return ESP_HEAD + n + ESP_ICV;
}

static void transmit(uint8_t *data, int total, int segment)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(2)] = { 0 };
	struct iovec v = { data, (size_t)total };
	struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1 };

	if (total == 0)
		return;
	if (total > segment) {
		uint16_t size = (uint16_t)segment;
		struct cmsghdr *c;

		h.msg_control = control;
		h.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_len = CMSG_LEN(2);
		c->cmsg_level = IPPROTO_UDP;
		c->cmsg_type = UDP_SEGMENT;
		memcpy(CMSG_DATA(c), &size, 2);
	}
	if (sendmsg(udp, &h, 0) < 0 && errno != ENOBUFS)
		perror("send");
}

/*
 * Each slice of a super-packet becomes a packet: its header goes into the bytes in front of the
 * slice, which have been sealed already; the trailer lands on the next slice, which is put back.
 */
static void split(struct sa *s, uint8_t *out, uint8_t *p, int len, int mss)
{
	int ihl = ((struct iphdr *)p)->ihl * 4;
	int hl = ihl + ((struct tcphdr *)(p + ihl))->doff * 4;
	int total = 0, segment = 0;
	_Alignas(4) uint8_t header[128];
	uint8_t save[TRAILER_ROOM];
	struct iphdr *ip = (struct iphdr *)header;
	struct tcphdr *tcp = (struct tcphdr *)(header + ihl);

	memcpy(header, p, (size_t)hl);
	uint32_t seq = ntohl(tcp->seq);
	uint16_t id = ntohs(ip->id);
	bool psh = tcp->psh, fin = tcp->fin;

	for (int off = hl; off < len;) {
		int n = len - off < mss ? len - off : mss, tcp_len = hl - ihl + n;
		bool last = off + n == len;
		uint8_t *q = p + off - hl;

		ip->id = htons(id++);
		ip_finish(ip, ihl, hl + n);
		tcp->seq = htonl(seq);
		seq += (uint32_t)n;
		tcp->psh = last && psh;
		tcp->fin = last && fin;
		tcp->check = 0;
		memcpy(q, header, (size_t)hl);
		((struct tcphdr *)(q + ihl))->check = (uint16_t)~sum(q + ihl, tcp_len, pseudo(ip, tcp_len));
		memcpy(save, q + hl + n, sizeof(save));
		if (total + hl + n + 40 > SEND_MAX) {
			transmit(out, total, segment);
			total = 0;
		}
		int sealed = seal(s, out + total, q, hl + n);

		memcpy(q + hl + n, save, sizeof(save));
		if (total == 0)
			segment = sealed;
		total += sealed;
		off += n;
		tcp->res2 &= 1; /* CWR: in the first segment only */
	}
	transmit(out, total, segment);
}

static void *outbound(void *unused)
{
	static _Alignas(64) uint8_t in[BUFFER], out[BUFFER];
	const int vh = sizeof(struct virtio_net_hdr);
	static struct sa s;

	(void)unused;
	sa_init(&s, role);
	for (;;) {
		ssize_t got = read(tun, in, sizeof(in) - 64);
		int len = (int)got - vh;
		uint8_t *p = in + vh;
		struct virtio_net_hdr h;

		if (got < 0 && errno != EINTR && errno != EAGAIN)
			die("read of the TUN");
		if (len < (int)sizeof(struct iphdr) || p[0] >> 4 != 4)
			continue;
		memcpy(&h, in, sizeof(h));
		if ((h.gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_TCPV4) {
			split(&s, out, p, len, h.gso_size);
			continue;
		}
		if (h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
			uint16_t c = (uint16_t)~sum(p + h.csum_start, len - h.csum_start, 0);

			memcpy(p + h.csum_start + h.csum_offset, &c, 2);
		}
		transmit(out, seal(&s, out, p, len), BUFFER);
	}
	return NULL;
}

/* --- opening --------------------------------------------------------------------------------- */

static void merge_flush(struct merge *m)
{
	struct virtio_net_hdr h = { 0 };

	if (m->count == 0)
		return;
	if (m->count > 2) {
		struct iphdr *ip = (struct iphdr *)m->first;
		int ihl = ip->ihl * 4;

		ip_finish(ip, ihl, m->header + m->payload);
		((struct tcphdr *)(m->first + ihl))->check = pseudo(ip, m->header - ihl + m->payload);
		h = (struct virtio_net_hdr){
			.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
			.hdr_len = (uint16_t)m->header,
			.gso_size = (uint16_t)m->segment,
			.csum_start = (uint16_t)ihl,
			.csum_offset = 16,
		};
	}
	m->parts[0] = (struct iovec){ &h, sizeof(h) };
	if (writev(tun, m->parts, m->count) < 0 && errno != EINVAL)
		perror("write to the TUN");
	m->parts[0] = (struct iovec){ 0 };
	m->count = 0;
}

static void merge_start(struct merge *m, uint8_t *p, int len)
{
	merge_flush(m);
	m->first = p;
	m->parts[1] = (struct iovec){ p, (size_t)len };
	m->count = 2;
}

static bool merge_fits(const struct merge *m, const uint8_t *p, int ihl, int hl, int payload)
{
	const struct tcphdr *t = (const struct tcphdr *)(p + ihl);
	const struct tcphdr *f = (const struct tcphdr *)(m->first + ihl);

	return hl == m->header && payload <= m->segment && m->payload + payload < MERGE_MAX &&
	       ntohl(t->seq) == m->next_seq && memcmp(p + 12, m->first + 12, 8) == 0 &&
	       t->source == f->source && t->dest == f->dest && t->ack_seq == f->ack_seq &&
	       memcmp(t + 1, f + 1, (size_t)hl - (size_t)ihl - sizeof(*t)) == 0;
}

static void deliver(struct merge *m, uint8_t *p, int len)
{
	struct iphdr *ip = (struct iphdr *)p;
	int ihl = ip->ihl * 4;
	struct tcphdr *t = (struct tcphdr *)(p + ihl);

	if (len < 40 || ip->protocol != IPPROTO_TCP || (ip->frag_off & htons(0x3fff))) {
		merge_start(m, p, len);
		merge_flush(m);
		return;
	}
	int hl = ihl + t->doff * 4, payload = len - hl;

	if (payload <= 0 || t->syn || t->fin || t->rst || t->urg ||
	    sum(p + ihl, len - ihl, pseudo(ip, len - ihl)) != 0xffff) {
		merge_start(m, p, len);
		merge_flush(m);
		return;
	}
	if (m->count && m->count < MERGE_PARTS && merge_fits(m, p, ihl, hl, payload)) {
		m->parts[m->count++] = (struct iovec){ p + hl, (size_t)payload };
		m->payload += payload;
		if (t->psh)
			((struct tcphdr *)(m->first + ihl))->psh = 1;
	} else {
		merge_start(m, p, len);
		m->header = hl;
		m->segment = m->payload = payload;
	}
	m->next_seq = ntohl(t->seq) + (uint32_t)payload;
	if (payload < m->segment || t->psh)
		merge_flush(m);
}

/* The ESP packet at `e`: opened in place and given on, or dropped. */
static void open_one(struct sa *s, struct merge *m, uint8_t *e, int len)
{
	static uint64_t top, window[WINDOW_WORDS];
	int n = len - ESP_HEAD - ESP_ICV;
	uint8_t nonce[12], tag[ESP_ICV];
	uint32_t low;

	if (n < 24)
		return;
	memcpy(&low, e + 4, 4);
	uint64_t seq = ntohl(low);

	if (seq + WINDOW_WORDS * 64 <= top ||
	    (seq <= top && (window[seq / 64 % WINDOW_WORDS] >> (seq % 64) & 1)))
		return;
	memcpy(nonce, s->salt, 4);
	memcpy(nonce + 4, e + 8, 8);
	IMB_AES128_GCM_DEC(s->mb, &s->key, &s->context, e + ESP_HEAD, e + ESP_HEAD, (uint64_t)n, nonce,
			   e, 8, tag, sizeof(tag));
	if (memcmp(tag, e + ESP_HEAD + n, sizeof(tag)) != 0)
		return;
	for (; top < seq; top++)
		if ((top + 1) % 64 == 0)
			window[(top + 1) / 64 % WINDOW_WORDS] = 0;
	window[seq / 64 % WINDOW_WORDS] |= UINT64_C(1) << (seq % 64);
	deliver(m, e + ESP_HEAD, n - 2 - e[ESP_HEAD + n - 2]);
}

static void inbound(void)
{
	static _Alignas(64) uint8_t in[BUFFER];
	static struct merge m;
	static struct sa s;

	sa_init(&s, !role);
	for (;;) {
		_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
		struct iovec v = { in, 65536 };
		struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
				    .msg_controllen = sizeof(control) };
		int n = (int)recvmsg(udp, &h, 0), segment = n;

		if (n <= 0)
			continue;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c))
			if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
				memcpy(&segment, CMSG_DATA(c), sizeof(segment));
		for (int off = 0; off < n; off += segment)
			open_one(&s, &m, in + off, n - off < segment ? n - off : segment);
		merge_flush(&m);
	}
}

static void open_tun(const char *name)
{
	struct ifreq r = { .ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR };

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	tun = open("/dev/net/tun", O_RDWR);
	if (tun < 0 || ioctl(tun, TUNSETIFF, &r))
		die("TUNSETIFF");
	if (ioctl(tun, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4))
		die("TUNSETOFFLOAD");
}

static void open_udp(const char *local, const char *peer)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(4500) };
	int big = 8 << 20, one = 1;

	udp = socket(AF_INET, SOCK_DGRAM, 0);
	setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
	setsockopt(udp, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof(big));
	if (setsockopt(udp, IPPROTO_UDP, UDP_GRO, &one, sizeof(one)))
		die("UDP_GRO");
	if (inet_pton(AF_INET, local, &a.sin_addr) != 1 || bind(udp, (struct sockaddr *)&a, sizeof(a)))
		die(local);
	if (inet_pton(AF_INET, peer, &a.sin_addr) != 1 || connect(udp, (struct sockaddr *)&a, sizeof(a)))
		die(peer);
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc != 5) {
		fprintf(stderr, "usage: espfloor TUN LOCAL PEER 0|1\n");
		return 2;
	}
	role = atoi(argv[4]) != 0;
	open_tun(argv[1]);
	open_udp(argv[2], argv[3]);
	if (pthread_create(&thread, NULL, outbound, NULL))
		die("pthread_create");
	inbound();
	return 0;
}
