/* The stage of the kernel tests: namespaces, back ends, pings and a look at the wire. */
#include "smoke.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <linux/if_packet.h>
#include <netinet/ip.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

struct side A, B;
static unsigned tests, failures;

bool tap(bool ok, const char *name, ...)
{
	va_list args;

	printf("%s %u - ", ok ? "ok" : "not ok", ++tests);
	va_start(args, name);
	vprintf(name, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	failures += !ok;
	return ok;
}

void tap_note(const char *format, ...)
{
	va_list args;

	fputs("# ", stdout);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

int tap_end(void)
{
	printf("1..%u\n", tests);
	return failures == 0 ? 0 : 1;
}

static void fail(const char *what)
{
	perror(what);
	tap(false, "%s", what);
	exit(tap_end());
}

void smoke_enter(const struct side *s)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/run/netns/%s", s->ns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
		fail(path);
	close(fd);
}

static void on_acquire(void *context, uint32_t reqid, const struct traffic_selector *local,
		       const struct traffic_selector *remote)
{
	struct told *t = context;

	t->acquires++;
	t->acquire_reqid = reqid;
	t->acquire_local = *local;
	t->acquire_remote = *remote;
}

static void on_expire(void *context, uint32_t spi, enum sa_direction direction, bool hard)
{
	struct told *t = context;

	t->hard += hard;
	t->soft += !hard;
	t->expire_spi = spi;
	t->expire_direction = direction;
}

static void on_first(void *context, uint32_t id)
{
	struct told *t = context;

	t->first++;
	t->first_id = id;
}

static void on_moved(void *context, uint32_t id, const struct ip_endpoint *to)
{
	struct told *t = context;

	t->moved++;
	t->moved_id = id;
	t->moved_to = *to;
}

bool smoke_backend(struct side *s)
{
	struct backend_events events = { .context = &s->told, .acquire = on_acquire,
					 .expire = on_expire, .first_packet = on_first,
					 .peer_moved = on_moved };
	struct xfrm_options options = { .poll_ms = 20 };
	struct backend_error err;

	smoke_enter(s);
	s->b = xfrm_backend_new(&events, &options, &err);
	if (s->b == NULL)
		tap_note("%s", err.text);
	return s->b != NULL;
}

struct ip_address smoke_address(const char *text)
{
	struct ip_address a = { 0 };

	if (!ip_address_parse(text, &a))
		fail(text);
	return a;
}

static void side_open(struct side *s, const char *ns)
{
	/* a socket for one protocol would not see what is sent */
	struct sockaddr_ll on = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };

	s->ns = ns;
	smoke_enter(s);
	on.sll_ifindex = (int)if_nametoindex("eth1");
	s->wire = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->wire < 0 || bind(s->wire, (struct sockaddr *)&on, sizeof(on)) != 0)
		fail("packet socket");
}

static void side_addresses(struct side *s, const char *outer, const char *inner, const char *net)
{
	s->outer = smoke_address(outer);
	s->inner = smoke_address(inner);
	if (!ip_prefix_parse(net, &s->net, NULL))
		fail(net);
}

void smoke_addresses(const char *outer[2], const char *inner[2], const char *nets[2])
{
	static const char *usual_outer[] = { "192.168.20.10", "192.168.20.20" };
	static const char *usual_inner[] = { "192.168.10.20", "192.168.30.10" };
	static const char *usual_nets[] = { "192.168.10.0/24", "192.168.30.0/24" };
	const char **o = outer != NULL ? outer : usual_outer;
	const char **i = inner != NULL ? inner : usual_inner;
	const char **n = nets != NULL ? nets : usual_nets;

	side_addresses(&A, o[0], i[0], n[0]);
	side_addresses(&B, o[1], i[1], n[1]);
}

void smoke_open(const char *ns_a, const char *ns_b)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	side_open(&A, ns_a);
	side_open(&B, ns_b);
	smoke_addresses(NULL, NULL, NULL);
}

void smoke_pump(int ms)
{
	uint64_t end = clock_now_us() + (uint64_t)ms * US_PER_MS;
	struct side *sides[] = { &A, &B };

	do {
		struct pollfd p[8];
		struct side *owner[8];
		size_t n = 0;

		for (size_t i = 0; i < 2; i++) {
			int fds[4];
			size_t got = sides[i]->b == NULL ? 0 : backend_ops(sides[i]->b)->fds(
								       sides[i]->b, fds, 4);

			for (size_t k = 0; k < got; k++, n++) {
				p[n] = (struct pollfd){ .fd = fds[k], .events = POLLIN };
				owner[n] = sides[i];
			}
		}
		if (poll(p, n, 10) <= 0)
			continue;
		for (size_t k = 0; k < n; k++)
			if (p[k].revents != 0)
				backend_ops(owner[k]->b)->process(owner[k]->b, p[k].fd);
	} while (clock_now_us() < end);
}

int smoke_sh(const struct side *s, const char *format, ...)
{
	char command[512], whole[700];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	snprintf(whole, sizeof(whole), "ip netns exec %s sh -c '%s' >/dev/null 2>&1", s->ns, command);
	return system(whole);
}

bool smoke_ping(int count)
{
	char from[IP_ADDRESS_TEXT], to[IP_ADDRESS_TEXT];

	return smoke_sh(&A, "ping -n -q -i 0.02 -c %d -W 1 -I %s %s | grep -q \" 0%% packet loss\"",
			count, ip_address_format(&A.inner, from), ip_address_format(&B.inner, to)) == 0;
}

/* What a side sends. What it receives is shown twice, the second time without its tunnel. */
static void count_sent(const struct side *s, struct crossed *c)
{
	struct sockaddr_ll from = { 0 };
	socklen_t len = sizeof(from);
	uint8_t packet[2048];
	ssize_t n;

	while ((n = recvfrom(s->wire, packet, sizeof(packet), 0, (struct sockaddr *)&from, &len)) > 0) {
		uint8_t protocol = n >= (ssize_t)sizeof(struct iphdr) ? packet[9] : 0;

		if (from.sll_protocol != htons(ETH_P_IP) || from.sll_pkttype != PACKET_OUTGOING)
			continue;
		c->esp += protocol == IPPROTO_ESP;
		c->udp += protocol == IPPROTO_UDP;
		c->clear += protocol == IPPROTO_ICMP;
	}
}

struct crossed smoke_crossed(void)
{
	struct crossed c = { 0 };

	count_sent(&A, &c);
	count_sent(&B, &c);
	return c;
}

static const struct side *other(const struct side *s)
{
	return s == &A ? &B : &A;
}

struct sa_policy smoke_policy(const struct side *s, uint32_t reqid, enum policy_action action)
{
	struct sa_policy p = { .reqid = reqid, .conn = "smoke", .action = action,
			       .mode = MODE_TUNNEL, .local = s->outer,
			       .remote = other(s)->outer };
	struct traffic_selector l = ts_from_prefix(&s->net), r = ts_from_prefix(&other(s)->net);

	ts_list_add(&p.local_ts, &l);
	ts_list_add(&p.remote_ts, &r);
	return p;
}

static void fresh_key(struct key *k, size_t len)
{
	static uint8_t next = 1;
	uint8_t bytes[KEY_MAX];

	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(next * 31 + i * 7);
	next++;
	key_set(k, bytes, len);
}

void smoke_suite(struct pair *p, uint16_t encr, uint16_t bits, uint16_t integ, bool esn)
{
	struct cipher_suite s = { .encr = algorithm_find(TRANSFORM_ENCR, encr), .encr_bits = bits,
				  .integ = integ ? algorithm_find(TRANSFORM_INTEG, integ) : NULL,
				  .esn = esn };

	p->a.suite = p->b.suite = s;
	fresh_key(&p->a.in.encr_key, bits / 8 + s.encr->salt_bytes);
	fresh_key(&p->a.out.encr_key, bits / 8 + s.encr->salt_bytes);
	fresh_key(&p->a.in.integ_key, s.integ != NULL ? s.integ->key_bytes : 0);
	fresh_key(&p->a.out.integ_key, s.integ != NULL ? s.integ->key_bytes : 0);
	p->b.in.encr_key = p->a.out.encr_key;
	p->b.in.integ_key = p->a.out.integ_key;
	p->b.out.encr_key = p->a.in.encr_key;
	p->b.out.integ_key = p->a.in.integ_key;
}

static struct child_sa half(const struct side *s, uint32_t id, uint32_t reqid)
{
	struct sa_policy p = smoke_policy(s, reqid, POLICY_PROTECT);
	struct child_sa sa = { .id = id, .reqid = reqid, .conn = "smoke", .mode = MODE_TUNNEL,
			       .path = { .local = { p.local, 4500 }, .remote = { p.remote, 4500 } },
			       .local_ts = p.local_ts, .remote_ts = p.remote_ts,
			       .replay_window = 128, .encap_dscp = true };

	return sa;
}

struct pair smoke_pair(uint32_t id, uint32_t reqid)
{
	struct pair p = { .a = half(&A, id, reqid), .b = half(&B, id, reqid) };
	struct backend_error err = { "" };

	smoke_suite(&p, ENCR_AES_GCM_16, 256, 0, true);
	p.a.in.spi = backend_ops(A.b)->alloc_spi(A.b, &A.outer, &B.outer, reqid, 0, &err);
	p.b.in.spi = backend_ops(B.b)->alloc_spi(B.b, &B.outer, &A.outer, reqid, 0, &err);
	if (p.a.in.spi == 0 || p.b.in.spi == 0)
		tap_note("%s", err.text);
	p.a.out.spi = p.b.in.spi;
	p.b.out.spi = p.a.in.spi;
	return p;
}

bool smoke_add(const struct side *s, const struct child_sa *sa, enum sa_direction which)
{
	struct backend_error err = { "" };

	if (backend_ops(s->b)->add(s->b, sa, which, &err))
		return true;
	tap_note("%s: %s", s->ns, err.text);
	return false;
}

struct child_sa_usage smoke_usage(const struct side *s, const struct child_sa *sa)
{
	struct child_sa_usage u = { 0 };

	backend_ops(s->b)->query(s->b, sa, &u);
	return u;
}
