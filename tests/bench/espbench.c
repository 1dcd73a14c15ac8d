/*
 * What a packet costs in the packet path without the kernel: nanoseconds to seal and to open one in
 * memory, by size, cipher and number of SAs, each packet taking an SA at random.
 *
 *   espbench [--json] [SUITE [SAS]]       SUITE: aes_gcm128; SAS: 1, 1000 or 100000
 *
 * The product's own functions run as a worker calls them, policy lookup, headers, sequence numbers,
 * replay window, selectors and counters included. Only what they would hand to the kernel is
 * taken from them here: sendmmsg() and writev() of this program stand in front of libc's. "split"
 * and "merge" are seal and open of TCP super-packets, with the work on inner headers and checksums.
 *
 * A batch of packets is sealed, copied to where a receive would have put it, and opened. Batches are
 * timed; the median batch is shown, which other load on the machine moves least. The numbers of SAs take
 * turns of some milliseconds, so that such load hits all of them, and their ratio stays what it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "esp/worker.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum {
	BATCH = 64,
	SAS_MAX = 100000,
	TIMES_MAX = 20000,
	PIECES_MAX = 4 * BATCH,
	SEGMENT = 1380,       /* of the super-packets; their inner packets have 1,420 bytes */
	SEGMENTS = 44,
	TURNS = 10,           /* for each row */
	TURN_MS = 15,
	COUNTS = 3,           /* numbers of SAs */
	ROOM = RECV_HEADROOM + 2048,
};

struct suite {
	const char *name;
	enum encr_id encr;
	uint16_t bits;
	bool all_counts; /* with 100,000 SAs as well */
};

struct bench {
	struct esp_worker w, *all[1];
	struct esp_features features;
	struct sa_table table;
	size_t count;
	struct sa_in **in;
	struct sa_out **out;
	struct policy_state *states;
	struct policy_list *policies;
	uint64_t random;
	size_t turns;  /* SAs that are still taken one after the other, before chance takes over */
	size_t sealed; /* packets of the last batch */
	uint8_t *wire; /* where they were received */
	struct in_packet packets[BATCH];
	size_t times;
	double seal_ns[TIMES_MAX], open_ns[TIMES_MAX];
};

static const struct suite suites[] = {
	{ "aes_gcm128", ENCR_AES_GCM_16, 128, true },
	{ "aes_gcm256", ENCR_AES_GCM_16, 256, false },
	{ "chacha20_poly1305", ENCR_CHACHA20_POLY1305, 256, false },
	{ "aes_cbc128-sha2_256", ENCR_AES_CBC, 128, false },
};

static void die(const char *what)
{
	fprintf(stderr, "espbench: %s\n", what);
	exit(1);
}

/* --- in the kernel's place ------------------------------------------------------------------- */

struct message {
	size_t first, count; /* pieces */
	size_t segment;      /* bytes of each packet; 0: it is one */
};

static struct iovec pieces[PIECES_MAX];
static struct message messages[BATCH];
static size_t piece_count, message_count;

int sendmmsg(int fd, struct mmsghdr *v, unsigned n, int flags)
{
	(void)fd;
	(void)flags;
	for (unsigned i = 0; i < n; i++) {
		struct msghdr *h = &v[i].msg_hdr;
		struct message m = { piece_count, h->msg_iovlen, 0 };

		if (message_count == BATCH || piece_count + h->msg_iovlen > PIECES_MAX)
			die("more messages than packets");
		for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c))
			if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_SEGMENT)
				m.segment = *(const uint16_t *)(const void *)CMSG_DATA(c);
		memcpy(&pieces[piece_count], h->msg_iov, h->msg_iovlen * sizeof(pieces[0]));
		piece_count += h->msg_iovlen;
		messages[message_count++] = m;
	}
	return (int)n;
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	ssize_t n = 0;

	(void)fd;
	for (int i = 0; i < count; i++)
		n += (ssize_t)iov[i].iov_len;
	return n;
}

/* What was sent arrives: each message in a buffer, as packets. */
static void receive(struct bench *b)
{
	uint8_t *to = b->wire + RECV_HEADROOM;

	b->sealed = 0;
	for (size_t i = 0; i < message_count; i++) {
		const struct message *m = &messages[i];
		uint8_t *start = to;

		for (size_t k = m->first; k < m->first + m->count; k++)
			to = (uint8_t *)memcpy(to, pieces[k].iov_base, pieces[k].iov_len) + pieces[k].iov_len;
		for (size_t size = m->segment ? m->segment : (size_t)(to - start); start < to; start += size) {
			size_t len = (size_t)(to - start) < size ? (size_t)(to - start) : size;

			if (b->sealed == BATCH)
				die("more packets than were given");
			b->packets[b->sealed++] = (struct in_packet){
				.esp = start, .len = len, .udp = true,
				.src = b->out[0]->path->local, .dst = b->out[0]->path->remote.address,
			};
		}
		to += RECV_HEADROOM;
	}
	message_count = piece_count = 0;
}

/* --- the rig --------------------------------------------------------------------------------- */

static struct traffic_selector prefix(const char *text)
{
	struct ip_prefix p;

	if (!ip_prefix_parse(text, &p, NULL))
		die(text);
	return ts_from_prefix(&p);
}

/* The remote end of SA `i`: an address of its own. */
static struct traffic_selector remote_of(size_t i)
{
	char text[32];

	snprintf(text, sizeof(text), "10.%zu.%zu.%zu/32", i >> 16 & 255, i >> 8 & 255, i & 255);
	return prefix(text);
}

static struct child_sa describe(const struct suite *s, size_t i, uint32_t spi)
{
	struct child_sa sa = { .id = (uint32_t)i + 1, .reqid = 16384 + (uint32_t)i, .mode = MODE_TUNNEL, .replay_window = 128 };
	struct traffic_selector local = prefix("192.168.10.0/24"), remote = remote_of(i);

	sa.in.spi = sa.out.spi = spi;
	sa.suite.encr = algorithm_find(TRANSFORM_ENCR, s->encr);
	sa.suite.encr_bits = s->bits;
	sa.suite.esn = true;
	if (!sa.suite.encr->aead)
		sa.suite.integ = algorithm_find(TRANSFORM_INTEG, INTEG_HMAC_SHA2_256_128);
	sa.in.encr_key.len = (uint8_t)esp_cipher_encr_key_bytes(&sa.suite);
	sa.in.integ_key.len = (uint8_t)esp_cipher_integ_key_bytes(&sa.suite);
	memcpy(sa.in.encr_key.bytes, &i, sizeof(i));
	sa.out.encr_key = sa.in.encr_key;
	sa.out.integ_key = sa.in.integ_key;
	ts_list_add(&sa.local_ts, &local);
	ts_list_add(&sa.remote_ts, &remote);
	sa.path.udp_encap = true;
	sa.path.local.port = sa.path.remote.port = 4500;
	if (!ip_address_parse("192.0.2.1", &sa.path.local.address) || !ip_address_parse("192.0.2.2", &sa.path.remote.address))
		die("addresses");
	return sa;
}

static void add_policy(struct bench *b, const struct child_sa *sa, struct policy_state *state)
{
	struct sa_policy p = { .reqid = sa->reqid, .action = POLICY_PROTECT, .mode = MODE_TUNNEL,
			       .local_ts = sa->local_ts, .remote_ts = sa->remote_ts };
	struct policy_list *list = policy_list_replace(b->policies, state, NULL, &p);

	if (!list)
		die("no memory for policies");
	policy_list_free(b->policies);
	b->policies = list;
}

static void add_sa(struct bench *b, const struct suite *s, size_t i)
{
	struct child_sa sa = describe(s, i, sa_table_alloc(&b->table, 0));
	struct ts_list local = sa.local_ts;
	struct sa_path path;
	const char *why = "";

	b->out[i] = sa_out_new(&sa, &why);
	if (!b->out[i])
		die(why);
	path = sa_path_make(&sa.path, 0);
	sa_out_set_path(b->out[i], &path);
	b->states[i].reqid = sa.reqid;
	atomic_store(&b->states[i].out, sa_list_with(NULL, b->out[i]));
	add_policy(b, &sa, &b->states[i]);
	/* the same packets come back in: the peer's SA, whose local end is our remote one */
	sa.local_ts = sa.remote_ts;
	sa.remote_ts = local;
	b->in[i] = sa_in_new(&sa, &why);
	if (!b->in[i])
		die(why);
	b->in[i]->first_told = true;
	b->in[i]->peer = sa.path.local;
	sa_table_put(&b->table, sa.in.spi, b->in[i]);
}

static struct bench *bench_new(const struct suite *s, size_t count, bool super)
{
	struct bench *b = calloc(1, sizeof(*b));

	if (!b)
		die("no memory");
	b->count = count;
	b->random = 88172645463325252;
	b->in = calloc(count, sizeof(*b->in));
	b->out = calloc(count, sizeof(*b->out));
	b->states = calloc(count, sizeof(*b->states));
	b->wire = calloc(BATCH, ROOM);
	b->features = (struct esp_features){ .udp_segment = true, .udp_gro = true, .udp_segments_max = 64,
					     .tun_tso = super, .tun_uso = super };
	b->all[0] = &b->w;
	if (!b->in || !b->out || !b->states || !b->wire || !sa_table_init(&b->table) ||
	    !worker_init(&b->w, 0, open("/dev/null", O_RDWR | O_CLOEXEC), &b->table) ||
	    !worker_join(&b->w, b->all, 1, &b->features))
		die("no worker");
	for (size_t i = 0; i < count; i++)
		add_sa(b, s, i);
	atomic_store(&b->w.udp[0].fd, 0); /* any: sendmmsg() is ours */
	b->w.batch_epoch = 1;
	b->w.batch_policies = b->policies;
	b->w.now_us = 1;
	return b;
}

static void bench_free(struct bench *b)
{
	worker_close(&b->w);
	for (size_t i = 0; i < b->count; i++) {
		free((void *)(uintptr_t)atomic_load(&b->states[i].out));
		sa_out_free(b->out[i]);
		sa_in_free(b->in[i]);
	}
	policy_list_free(b->policies);
	sa_table_free(&b->table);
	free(b->in);
	free(b->out);
	free(b->states);
	free(b->wire);
	free(b);
}

static size_t pick(struct bench *b)
{
	if (b->turns)
		return --b->turns % b->count;
	b->random ^= b->random << 13;
	b->random ^= b->random >> 7;
	b->random ^= b->random << 17;
	return b->random % b->count;
}

/* --- packets --------------------------------------------------------------------------------- */

static void put_inner(uint8_t *p, uint8_t protocol, size_t sa, size_t len)
{
	struct ip_header_fields h = { .protocol = protocol, .dont_fragment = true, .payload_len = (uint16_t)(len - IPV4_HEADER) };

	h.src.family = h.dst.family = AF_INET;
	memcpy(h.src.bytes, "\xc0\xa8\x0a\x0a", 4);
	store_be32(h.dst.bytes, 10u << 24 | (uint32_t)sa);
	ip_header_put(p, &h);
}

/* Single packets of UDP: a batch into the tunnel. Their headers are stamped, so that the making of
 * them hardly counts; what else lies in the worker's memory is the payload. */
static void give_singles(struct bench *b, size_t size)
{
	static const struct virtio_net_hdr plain;
	uint8_t header[IPV4_HEADER + UDP_HEADER];

	put_inner(header, IPPROTO_UDP, 0, size);
	store_be32(header + IPV4_HEADER, 5000u << 16 | 6000);
	store_be32(header + IPV4_HEADER + 4, (uint32_t)(size - IPV4_HEADER) << 16); /* no checksum */
	for (size_t i = 0; i < BATCH; i++) {
		uint8_t *p = outbound_room(&b->w);

		memcpy(p, header, sizeof(header));
		/* the header's checksum is the business of those who route it */
		store_be32(p + 16, 10u << 24 | (uint32_t)pick(b));
		outbound_take(&b->w, &plain, size);
	}
	outbound_flush(&b->w);
}

/* One super-packet of TCP. */
static void give_super(struct bench *b, size_t size)
{
	static uint32_t seq;
	struct virtio_net_hdr vnet = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = SEGMENT,
		.hdr_len = IPV4_HEADER + 20, .csum_start = IPV4_HEADER, .csum_offset = 16,
	};
	size_t len = IPV4_HEADER + 20 + SEGMENTS * SEGMENT;
	uint8_t *p = outbound_room(&b->w);

	(void)size;
	put_inner(p, IPPROTO_TCP, pick(b), len);
	memset(p + IPV4_HEADER, 0, 20);
	store_be32(p + IPV4_HEADER, 5000u << 16 | 6000);
	store_be32(p + IPV4_HEADER + 4, seq);
	store_be32(p + IPV4_HEADER + 12, 0x50100000u | 0xffff); /* 5 words, ACK */
	seq += SEGMENTS * SEGMENT;
	outbound_take(&b->w, &vnet, len);
	outbound_flush(&b->w);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), compare);
	return v[n / 2];
}

/* --- rows ------------------------------------------------------------------------------------ */

static bool json;

static void row(const char *what, const struct suite *s, size_t size, size_t sas, double ns)
{
	static bool more;

	if (json)
		printf("%s\n{\"what\":\"%s\",\"suite\":\"%s\",\"size\":%zu,\"sas\":%zu,\"ns\":%.1f}", more ? "," : "", what,
		       s->name, size, sas, ns);
	else
		printf("%-6s %-20s %5zu bytes %7zu SAs %8.1f ns %7.2f Gb/s\n", what, s->name, size, sas, ns,
		       (double)size * 8 / ns);
	more = true;
}

/* Every packet has to have come out of the other end. */
static void check_all_arrived(const struct bench *b, uint64_t given)
{
	uint64_t got = counter_get(&b->w.in_packets);

	for (size_t i = 0; i < ESP_DROP_COUNT; i++)
		if (counter_get(&b->w.drops[i]))
			fprintf(stderr, "espbench: %" PRIu64 " drops of reason %zu\n", counter_get(&b->w.drops[i]), i);
	if (got != given) {
		fprintf(stderr, "espbench: %" PRIu64 " packets went in, %" PRIu64 " came out\n", given, got);
		exit(1);
	}
}

/* Every SA has its turn: what is timed is a gateway at work, not its first second. */
static void warm(struct bench *b, bool super)
{
	for (b->turns = b->count; b->turns;) {
		(super ? give_super : give_singles)(b, 64);
		receive(b);
		inbound_batch(&b->w, b->packets, b->sealed);
		inbound_flush(&b->w);
	}
}

/* Some milliseconds of batches. */
static void run_turn(struct bench *b, size_t size, bool super)
{
	uint64_t end = now_ns() + TURN_MS * UINT64_C(1000000), given = counter_get(&b->w.in_packets);

	while (b->times < TIMES_MAX && (b->times < 20 || now_ns() < end)) {
		uint64_t t0 = now_ns(), t1, t2;

		b->w.now_us++;
		(super ? give_super : give_singles)(b, size);
		t1 = now_ns();
		receive(b);
		t2 = now_ns();
		inbound_batch(&b->w, b->packets, b->sealed);
		inbound_flush(&b->w);
		b->open_ns[b->times] = (double)(now_ns() - t2) / (double)b->sealed;
		b->seal_ns[b->times++] = (double)(t1 - t0) / (double)b->sealed;
		given += b->sealed;
	}
	check_all_arrived(b, given);
}

static void measure(struct bench *const *benches, size_t n, const struct suite *s, size_t size, bool super)
{
	for (size_t i = 0; i < n; i++) {
		benches[i]->times = 0;
		warm(benches[i], super);
	}
	for (size_t t = 0; t < TURNS; t++)
		for (size_t i = 0; i < n; i++)
			run_turn(benches[i], size, super);
	for (size_t i = 0; i < n; i++) {
		struct bench *b = benches[i];

		row(super ? "split" : "seal", s, size, b->count, median(b->seal_ns, b->times));
		row(super ? "merge" : "open", s, size, b->count, median(b->open_ns, b->times));
	}
}

static void measure_supers(const struct suite *s)
{
	struct bench *b = bench_new(s, 1, true);

	measure(&b, 1, s, IPV4_HEADER + 20 + SEGMENT, true);
	bench_free(b);
}

static void measure_suite(const struct suite *s, size_t only)
{
	static const size_t sizes[] = { 64, 256, 1420 }, counts[COUNTS] = { 1, 1000, SAS_MAX };
	struct bench *benches[COUNTS];
	size_t n = 0;

	if (!only || only == 1)
		measure_supers(s);
	for (size_t i = 0; i < COUNTS; i++)
		if (only ? only == counts[i] : counts[i] != SAS_MAX || s->all_counts)
			benches[n++] = bench_new(s, counts[i], false);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		measure(benches, n, s, sizes[i], false);
	while (n > 0)
		bench_free(benches[--n]);
}

int main(int argc, char **argv)
{
	int at = 1;

	json = argc > 1 && strcmp(argv[1], "--json") == 0;
	at += json;
	if (json)
		printf("{\"rows\":[");
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++)
		if (at >= argc || strcmp(argv[at], suites[i].name) == 0)
			measure_suite(&suites[i], at + 1 < argc ? strtoul(argv[at + 1], NULL, 10) : 0);
	if (json)
		printf("]}\n");
	return 0;
}
