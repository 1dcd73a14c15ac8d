/* The XFRM back end against a real kernel: see smoke.h for the stage. Prints TAP. */
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "smoke.h"

enum { REQID = 16384 };

static bool set_policy(const struct side *s, const struct sa_policy *p)
{
	struct backend_error err = { "" };

	if (backend_ops(s->b)->policy_set(s->b, p, &err))
		return true;
	tap_note("%s: %s", s->ns, err.text);
	return false;
}

static void remove_pair(const struct pair *p)
{
	backend_ops(A.b)->remove(A.b, &p->a, SA_BOTH);
	backend_ops(B.b)->remove(B.b, &p->b, SA_BOTH);
}

static bool add_pair(const struct pair *p)
{
	return smoke_add(&A, &p->a, SA_BOTH) && smoke_add(&B, &p->b, SA_BOTH);
}

/** Nothing of ours is in the kernel: no state, and no policy but those of sockets. */
static bool empty(const struct side *s)
{
	return smoke_sh(s, "test -z \"$(ip xfrm state; ip xfrm policy | grep -v socket)\"") == 0;
}

static void test_trap(void)
{
	struct sa_policy a = smoke_policy(&A, REQID, POLICY_TRAP);
	struct sa_policy b = smoke_policy(&B, REQID, POLICY_PROTECT);
	struct crossed c;
	char l[TS_TEXT], r[TS_TEXT];

	smoke_crossed();
	tap(smoke_ping(1), "without policies a ping passes in clear");
	c = smoke_crossed();
	tap(c.clear >= 2 && c.esp == 0, "and the wire shows it");
	tap(set_policy(&A, &a) && set_policy(&B, &b), "policies without SAs");
	tap(!smoke_ping(2), "then nothing passes");
	smoke_pump(50);
	c = smoke_crossed();
	tap(c.clear == 0 && c.esp == 0, "and nothing is on the wire");
	tap(A.told.acquires == 1 && A.told.acquire_reqid == REQID, "the trap tells an acquire, once");
	ts_format(&A.told.acquire_local, l);
	ts_format(&A.told.acquire_remote, r);
	tap_note("%s -> %s", l, r);
	tap(ip_address_equal(&A.told.acquire_local.lo, &A.inner) &&
		    ip_address_equal(&A.told.acquire_remote.hi, &B.inner) &&
		    A.told.acquire_local.protocol == IPPROTO_ICMP &&
		    A.told.acquire_local.port_lo == 0x0800,
	    "with the packet's addresses, protocol, type and code");
	smoke_sh(&B, "ping -n -q -c 1 -W 1 -I 192.168.30.10 192.168.10.20");
	smoke_pump(50);
	tap(B.told.acquires == 0, "a policy that only protects tells none");
}

static void test_traffic(struct pair *p)
{
	struct child_sa_usage u;
	struct crossed c;

	*p = smoke_pair(1, REQID);
	tap(add_pair(p), "an SA on both sides");
	smoke_crossed();
	tap(smoke_ping(5), "pings pass");
	c = smoke_crossed();
	tap(c.esp == 10 && c.clear == 0, "as ESP and nothing else");
	u = smoke_usage(&A, &p->a);
	tap(u.out_packets == 5 && u.in_packets == 5 && u.out_bytes == 5 * 84 && u.in_bytes == 5 * 84,
	    "and are counted");
	tap(u.in_last_s <= 2 && u.out_last_s <= 2 && u.integrity_failed == 0 && u.replay_dropped == 0,
	    "with the time of the last");
}

static void test_rekey(struct pair *old)
{
	struct pair p = smoke_pair(2, REQID);
	struct child_sa_usage u;

	tap(smoke_add(&B, &p.b, SA_IN) && smoke_add(&A, &p.a, SA_BOTH),
	    "a rekey: the responder's inbound half, and the initiator's both");
	smoke_pump(60);
	tap(B.told.first == 0, "no first packet before there is one");
	tap(smoke_ping(3), "pings pass");
	smoke_pump(100);
	tap(B.told.first == 1 && B.told.first_id == 2, "the responder is told of the first packet");
	u = smoke_usage(&A, &p.a);
	tap(u.out_packets == 3 && u.in_packets == 0, "which came by the new SA, answered by the old");
	tap(smoke_add(&B, &p.b, SA_OUT), "the responder's outbound half");
	tap(smoke_ping(3), "pings pass");
	u = smoke_usage(&B, &p.b);
	tap(u.out_packets == 3 && u.in_packets == 6, "by the new SA both ways");
	remove_pair(old);
	tap(smoke_ping(3), "and after the old one is gone");
	smoke_pump(60);
	tap(B.told.first == 1, "the first packet is told once");
	*old = p;
}

static bool moved_to(uint16_t port)
{
	return B.told.moved > 0 && B.told.moved_to.port == port;
}

/** A socket on UDP `port` in the namespace of `s`, as the daemon has it. */
static int udp_open(const struct side *s, uint16_t port)
{
	struct ip_endpoint at = { s->outer, port };
	struct sockaddr_storage ss;
	struct backend_error err = { "" };
	int fd;

	smoke_enter(s);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (bind(fd, (struct sockaddr *)&ss, ip_endpoint_to_sockaddr(&at, &ss)) == 0 &&
	    xfrm_socket_bypass(fd, AF_INET, &err) &&
	    backend_ops(s->b)->udp_socket(s->b, fd, &at, &err))
		return fd;
	tap_note("%s: %s %s", s->ns, err.text, strerror(errno));
	return -1;
}

static void test_udp(struct pair *p)
{
	int fds[] = { udp_open(&A, 4500), udp_open(&A, 4511), udp_open(&B, 4500) };
	struct esp_path to;
	struct backend_error err = { "" };
	struct crossed c;

	remove_pair(p);
	*p = smoke_pair(3, REQID);
	p->a.path.udp_encap = p->b.path.udp_encap = true;
	tap(fds[0] >= 0 && fds[1] >= 0 && fds[2] >= 0, "UDP sockets for ESP");
	tap(add_pair(p), "an SA in UDP");
	smoke_crossed();
	tap(smoke_ping(3), "pings pass");
	c = smoke_crossed();
	tap(c.udp == 6 && c.esp == 0 && c.clear == 0, "in UDP");
	to = p->a.path;
	to.local.port = 4511;
	tap(backend_ops(A.b)->move(A.b, &p->a, &to, &err), "one side goes to another port %s", err.text);
	p->a.path = to;
	smoke_ping(1);
	smoke_pump(50);
	tap(moved_to(4511) && B.told.moved_id == 3, "its peer is told where it is");
	to = p->b.path;
	to.remote = B.told.moved_to;
	tap(backend_ops(B.b)->move(B.b, &p->b, &to, &err), "and follows %s", err.text);
	p->b.path = to;
	tap(smoke_ping(3), "pings pass");
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		close(fds[i]);
}

static uint64_t number_sent(const struct side *s, const char *spi)
{
	json_t *d = backend_ops(s->b)->describe(s->b, false), *state;
	uint64_t oseq = 0;
	size_t i;

	json_array_foreach(json_object_get(d, "states"), i, state)
		if (strcmp(json_string_value(json_object_get(state, "spi")), spi) == 0)
			oseq = (uint64_t)json_integer_value(json_object_get(state, "oseq"));
	json_decref(d);
	return oseq;
}

static void test_move(struct pair *p)
{
	struct backend_error err = { "" };
	struct ip_address outer = A.outer;
	struct sa_policy policy;
	struct esp_path to;
	char spi[16];
	struct child_sa_usage u;

	remove_pair(p);
	*p = smoke_pair(4, REQID);
	add_pair(p);
	tap(smoke_ping(4), "an SA before it moves");
	snprintf(spi, sizeof(spi), "0x%08x", p->a.out.spi);
	smoke_sh(&A, "ip addr add 192.168.20.11/24 dev eth1");
	A.outer = smoke_address("192.168.20.11");
	to = p->a.path;
	to.local.address = A.outer;
	policy = smoke_policy(&A, REQID, POLICY_TRAP);
	tap(backend_ops(A.b)->move(A.b, &p->a, &to, &err) && set_policy(&A, &policy),
	    "one side gets another address %s", err.text);
	p->a.path = to;
	to = p->b.path;
	to.remote.address = A.outer;
	policy = smoke_policy(&B, REQID, POLICY_PROTECT);
	tap(backend_ops(B.b)->move(B.b, &p->b, &to, &err) && set_policy(&B, &policy),
	    "and its peer follows %s", err.text);
	p->b.path = to;
	tap(smoke_ping(4), "pings pass");
	tap(number_sent(&A, spi) > 1 << 16, "no number is sent twice");
	u = smoke_usage(&B, &p->b);
	tap(u.in_packets == 8 && u.out_packets == 8, "and counting goes on");
	A.outer = outer;
	policy = smoke_policy(&A, REQID, POLICY_TRAP);
	set_policy(&A, &policy);
	policy = smoke_policy(&B, REQID, POLICY_PROTECT);
	set_policy(&B, &policy);
	smoke_sh(&A, "ip addr del 192.168.20.11/24 dev eth1");
	remove_pair(p);
}

static void test_limits(void)
{
	struct pair p = smoke_pair(5, REQID);

	p.a.max_packets = 32;
	A.told.soft = A.told.hard = 0;
	tap(add_pair(&p), "an SA for 32 packets");
	smoke_ping(30);
	smoke_pump(50);
	tap(A.told.soft > 0 && A.told.hard == 0, "its end is told before it comes");
	smoke_ping(4);
	smoke_pump(50);
	tap(A.told.hard > 0 && !smoke_ping(1), "and is one");
	tap(A.told.expire_spi == p.a.in.spi || A.told.expire_spi == p.a.out.spi, "by its SPI");
	remove_pair(&p);
}

static void test_suites(void)
{
	static const struct {
		const char *name;
		uint16_t encr, bits, integ;
		bool esn;
		uint32_t window;
	} cases[] = {
		{ "AES_GCM_16_128, no ESN, window 32", ENCR_AES_GCM_16, 128, 0, false, 32 },
		{ "AES_GCM_16_256, no ESN, window 0", ENCR_AES_GCM_16, 256, 0, false, 0 },
		{ "AES_GCM_16_256, ESN, window 0", ENCR_AES_GCM_16, 256, 0, true, 0 },
		{ "AES_GCM_16_256, no ESN, window 2048", ENCR_AES_GCM_16, 256, 0, false, 2048 },
		{ "CHACHA20_POLY1305", ENCR_CHACHA20_POLY1305, 256, 0, true, 128 },
		{ "AES_CBC_128-HMAC_SHA2_256_128", ENCR_AES_CBC, 128, INTEG_HMAC_SHA2_256_128, true, 64 },
		{ "AES_CBC_192-HMAC_SHA2_384_192", ENCR_AES_CBC, 192, INTEG_HMAC_SHA2_384_192, true, 64 },
		{ "AES_CBC_256-HMAC_SHA2_512_256", ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_512_256, false, 64 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pair p = smoke_pair(10 + (uint32_t)i, REQID);

		smoke_suite(&p, cases[i].encr, cases[i].bits, cases[i].integ, cases[i].esn);
		p.a.replay_window = p.b.replay_window = cases[i].window;
		tap(add_pair(&p) && smoke_ping(2), "%s", cases[i].name);
		remove_pair(&p);
	}
}

/** One more SA with the addresses as they are now, with policies of its own. */
static bool passes(uint32_t id)
{
	struct sa_policy a = smoke_policy(&A, REQID + 4, POLICY_TRAP);
	struct sa_policy b = smoke_policy(&B, REQID + 4, POLICY_TRAP);
	struct pair p = smoke_pair(id, REQID + 4);
	bool dropped, passed;

	set_policy(&A, &a);
	set_policy(&B, &b);
	dropped = !smoke_ping(1);
	passed = add_pair(&p) && smoke_ping(3);
	if (smoke_usage(&B, &p.b).in_packets != 3)
		passed = false;
	remove_pair(&p);
	backend_ops(A.b)->policy_remove(A.b, REQID + 4);
	backend_ops(B.b)->policy_remove(B.b, REQID + 4);
	return dropped && passed;
}

static void test_ipv6(void)
{
	const char *outer[] = { "fd00:20::10", "fd00:20::20" };
	const char *inner[] = { "fd00:10::20", "fd00:30::10" };
	const char *nets[] = { "fd00:10::/64", "fd00:30::/64" };
	const char *hosts[] = { "fd00:20::10/128", "fd00:20::20/128" };

	smoke_addresses(outer, NULL, NULL);
	backend_ops(A.b)->policy_remove(A.b, REQID);
	backend_ops(B.b)->policy_remove(B.b, REQID);
	tap(passes(31), "IPv4 in IPv6");
	smoke_addresses(NULL, inner, nets);
	tap(passes(32), "IPv6 in IPv4");
	smoke_addresses(outer, inner, nets);
	tap(passes(33), "IPv6 in IPv6");
	smoke_sh(&A, "ip -6 neigh flush dev eth1");
	smoke_sh(&B, "ip -6 neigh flush dev eth1");
	smoke_addresses(outer, outer, hosts);
	tap(passes(34), "between neighbours that have yet to find each other");
	smoke_addresses(NULL, NULL, NULL);
	struct sa_policy a = smoke_policy(&A, REQID, POLICY_TRAP);
	struct sa_policy b = smoke_policy(&B, REQID, POLICY_PROTECT);

	tap(set_policy(&A, &a) && set_policy(&B, &b), "and back to the usual");
}

/** What is in the way of an SA, or has gone before it came. */
static void test_obstacles(void)
{
	struct pair p = smoke_pair(35, REQID);
	struct child_sa same;
	struct backend_error err = { "" };

	backend_ops(A.b)->free_spi(A.b, &A.outer, p.a.in.spi);
	tap(smoke_add(&A, &p.a, SA_IN), "an SPI that had been given back");
	smoke_sh(&A, "ip xfrm state add src 192.168.20.10 dst 192.168.20.20 proto esp spi 0x%x "
		     "reqid 1 mode tunnel aead \"rfc4106(gcm(aes))\" "
		     "0x0102030405060708090a0b0c0d0e0f1011121314 128", p.a.out.spi);
	tap(smoke_add(&A, &p.a, SA_OUT) && smoke_add(&B, &p.b, SA_BOTH) && smoke_ping(2),
	    "an outbound state that something else has left");
	same = p.a;
	same.id = 36;
	tap(!backend_ops(A.b)->add(A.b, &same, SA_OUT, &err) && strstr(err.text, "0x") != NULL,
	    "an SPI that another Child SA has: %s", err.text);
	tap(smoke_ping(2), "which goes on");
	smoke_suite(&p, ENCR_AES_GCM_16, 256, 0, true);
	p.b.out.encr_key = p.b.in.encr_key;
	backend_ops(B.b)->remove(B.b, &p.b, SA_OUT);
	/* its numbers begin anew: four of them the other side has seen already */
	tap(smoke_add(&B, &p.b, SA_OUT) && !smoke_ping(7), "a wrong key and numbers of old");
	struct child_sa_usage u = smoke_usage(&A, &p.a);

	tap(u.replay_dropped == 4 && u.integrity_failed == 3, "are counted apart");
	remove_pair(&p);
	p = smoke_pair(37, REQID);
	smoke_sh(&A, "ip xfrm state add src 192.168.20.20 dst 192.168.20.10 proto esp spi 0x%x "
		     "reqid 1 mode tunnel aead \"rfc4106(gcm(aes))\" "
		     "0x0102030405060708090a0b0c0d0e0f1011121314 128", p.a.in.spi);
	tap(!backend_ops(A.b)->add(A.b, &p.a, SA_BOTH, &err) && strstr(err.text, "inbound") != NULL,
	    "an inbound SPI that another program has: %s", err.text);
	tap(smoke_sh(&A, "ip xfrm state | grep -q \"spi 0x%08x\"", p.a.out.spi) != 0 &&
		    smoke_sh(&A, "ip xfrm state | grep -q \"reqid 1 \"") == 0,
	    "leaves no outbound half, and the other program's state");
	smoke_sh(&A, "ip xfrm state delete dst 192.168.20.10 proto esp spi 0x%x", p.a.in.spi);
}

/** As many Child SAs, with policies of their own. */
static void test_many(void)
{
	enum { MANY = 2000 };
	const struct backend_ops *ops = backend_ops(A.b);
	struct child_sa *sa = calloc(MANY, sizeof(*sa));
	struct pair p = smoke_pair(100, REQID);
	struct backend_error err = { "" };
	size_t added = 0;

	for (size_t i = 0; sa != NULL && i < MANY; i++) {
		struct sa_policy policy = smoke_policy(&A, REQID + 100 + (uint32_t)i, POLICY_PROTECT);
		struct traffic_selector *ts = &policy.remote_ts.ts[0];
		uint8_t host[] = { 10, 1, (uint8_t)(i >> 8), (uint8_t)i };

		ts->lo = ts->hi = ip_address_from_bytes(BYTES(host, sizeof(host)));
		sa[i] = p.a;
		sa[i].id = 1000 + (uint32_t)i;
		sa[i].reqid = policy.reqid;
		sa[i].out.spi = 0x40000000 + (uint32_t)i;
		sa[i].in.spi = ops->alloc_spi(A.b, &A.outer, &B.outer, policy.reqid, 0, &err);
		added += ops->policy_set(A.b, &policy, &err) && ops->add(A.b, &sa[i], SA_BOTH, &err);
	}
	tap(added == MANY, "%d Child SAs %s", MANY, err.text);
	tap(smoke_sh(&A, "ip xfrm state count | grep -q \"SAD count %d\"", 2 * MANY) == 0,
	    "are that many pairs of states");
	for (size_t i = 0; i < added; i++) {
		ops->remove(A.b, &sa[i], SA_BOTH);
		ops->policy_remove(A.b, sa[i].reqid);
	}
	tap(smoke_sh(&A, "ip xfrm state count | grep -q \"SAD count 0\"") == 0 &&
		    smoke_sh(&A, "ip xfrm policy | grep -q 10.1.") != 0,
	    "and all go again");
	ops->free_spi(A.b, &A.outer, p.a.in.spi);
	backend_ops(B.b)->free_spi(B.b, &B.outer, p.b.in.spi);
	free(sa);
}

static void test_describe(void)
{
	struct pair p = smoke_pair(30, REQID);
	json_t *d, *state, *policies;
	char *hidden, *shown;

	add_pair(&p);
	d = backend_ops(A.b)->describe(A.b, true);
	shown = json_dumps(d, 0);
	json_decref(d);
	d = backend_ops(A.b)->describe(A.b, false);
	hidden = json_dumps(d, 0);
	state = json_array_get(json_object_get(d, "states"), 0);
	policies = json_object_get(d, "policies");
	tap(json_array_size(json_object_get(d, "states")) == 2, "describe has both states");
	tap(strcmp(json_string_value(json_object_get(json_object_get(state, "aead"), "name")),
		   "rfc4106(gcm(aes))") == 0 &&
		    json_integer_value(json_object_get(state, "replay_window")) == 128,
	    "with their algorithm and window");
	tap(strstr(shown, "\"key\"") != NULL && strstr(hidden, "\"key\"") == NULL,
	    "and keys only when asked");
	tap(json_array_size(policies) == 3 + 6, "describe has the policies");
	json_decref(d);
	d = backend_ops(A.b)->status(A.b);
	tap(json_integer_value(json_object_get(d, "children")) == 1, "status counts");
	json_decref(d);
	free(hidden);
	free(shown);
	remove_pair(&p);
}

static bool udp_passes(bool bypass)
{
	struct ip_endpoint to = { B.outer, 500 }, from = { A.outer, 500 };
	struct sockaddr_storage ss;
	struct backend_error err = { "" };
	char byte = 0;
	int tx, rx;
	bool ok;

	smoke_enter(&A);
	tx = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (bind(tx, (struct sockaddr *)&ss, ip_endpoint_to_sockaddr(&from, &ss)) != 0)
		return false;
	smoke_enter(&B);
	rx = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bind(rx, (struct sockaddr *)&ss, ip_endpoint_to_sockaddr(&to, &ss)) != 0)
		return false;
	if (bypass && (!xfrm_socket_bypass(tx, AF_INET, &err) || !xfrm_socket_bypass(rx, AF_INET, &err)))
		tap_note("%s", err.text);
	sendto(tx, &byte, 1, 0, (struct sockaddr *)&ss, ip_endpoint_to_sockaddr(&to, &ss));
	usleep(20000);
	ok = recv(rx, &byte, 1, 0) == 1;
	close(tx);
	close(rx);
	return ok;
}

static void test_hosts(void)
{
	struct sa_policy a = smoke_policy(&A, REQID + 4, POLICY_TRAP);
	struct sa_policy b = smoke_policy(&B, REQID + 4, POLICY_PROTECT);
	struct pair p;
	struct ip_prefix l = { A.outer, 32 }, r = { B.outer, 32 };

	a.mode = b.mode = MODE_TRANSPORT;
	a.local_ts.ts[0] = b.remote_ts.ts[0] = ts_from_prefix(&l);
	a.remote_ts.ts[0] = b.local_ts.ts[0] = ts_from_prefix(&r);
	tap(set_policy(&A, &a) && set_policy(&B, &b), "policies between the two hosts");
	tap(!udp_passes(false), "a common socket does not get through");
	tap(udp_passes(true), "a socket of IKE does");
	p = smoke_pair(40, REQID + 4);
	p.a.mode = p.b.mode = MODE_TRANSPORT;
	p.a.local_ts = a.local_ts;
	p.a.remote_ts = a.remote_ts;
	p.b.local_ts = b.local_ts;
	p.b.remote_ts = b.remote_ts;
	smoke_crossed();
	tap(add_pair(&p) && udp_passes(false), "a transport SA lets it");
	struct crossed c = smoke_crossed();

	tap(c.esp == 1 && c.udp == 0, "as ESP");
	remove_pair(&p);
	backend_ops(A.b)->policy_remove(A.b, REQID + 4);
	backend_ops(B.b)->policy_remove(B.b, REQID + 4);
}

static void test_actions(void)
{
	struct sa_policy p = smoke_policy(&A, REQID, POLICY_DROP);
	struct sa_policy other;

	backend_ops(B.b)->policy_remove(B.b, REQID);
	tap(set_policy(&A, &p) && !smoke_ping(1), "a policy that drops");
	p.action = POLICY_PASS;
	tap(set_policy(&A, &p) && smoke_ping(1), "one that passes");
	other = smoke_policy(&A, REQID + 8, POLICY_DROP);
	tap(set_policy(&A, &other) && !smoke_ping(1), "another connection's takes its place");
	backend_ops(A.b)->policy_remove(A.b, REQID + 8);
	tap(smoke_ping(1), "and gives it back");
	backend_ops(A.b)->policy_remove(A.b, REQID);
}

static void test_predecessor(void)
{
	struct sa_policy p = smoke_policy(&A, REQID, POLICY_PROTECT), old;
	struct pair pair = smoke_pair(50, REQID);
	struct ip_prefix gone;

	old = smoke_policy(&A, REQID + 4, POLICY_PROTECT);
	ip_prefix_parse("192.168.99.0/24", &gone, NULL);
	old.remote_ts.ts[0] = ts_from_prefix(&gone);
	set_policy(&A, &p);
	set_policy(&A, &old);
	add_pair(&pair);
	backend_ops(A.b)->close(A.b, true);
	A.b = NULL;
	tap(!smoke_ping(1), "closed, policies kept: nothing passes");
	tap(smoke_sh(&A, "ip xfrm state add src 192.168.20.20 dst 192.168.20.10 proto esp spi 0x12345 "
			 "reqid 16400 mode tunnel aead \"rfc4106(gcm(aes))\" "
			 "0x0102030405060708090a0b0c0d0e0f1011121314 128") == 0,
	    "a state that a killed predecessor left");
	tap(smoke_backend(&A), "the next one starts");
	tap(smoke_sh(&A, "ip xfrm state | grep -q spi") != 0, "its states are gone");
	tap(!smoke_ping(1), "its policies still drop");
	p.reqid = REQID + 12;
	tap(set_policy(&A, &p), "new policies take their place");
	xfrm_backend_settle(A.b);
	tap(smoke_sh(&A, "ip xfrm policy | grep -q 192.168.99.0") != 0 &&
		    smoke_sh(&A, "ip xfrm policy | grep -q \"reqid 16396\"") == 0,
	    "those that nothing replaced go when it has settled");
	tap(!smoke_ping(1), "nothing passes all the while");
	backend_ops(A.b)->policy_remove(A.b, p.reqid);
}

int main(int argc, char **argv)
{
	struct backend_error why = { "" };
	struct pair p;

	if (argc != 3) {
		fprintf(stderr, "usage: xfrm_smoke NETNS-A NETNS-B\n");
		return 2;
	}
	smoke_open(argv[1], argv[2]);
	tap(xfrm_probe(&why), "the kernel has ESP %s", why.text);
	if (!tap(smoke_backend(&A) && smoke_backend(&B), "a back end on each side"))
		return tap_end();
	test_trap();
	test_traffic(&p);
	test_rekey(&p);
	test_udp(&p);
	test_move(&p);
	test_limits();
	test_suites();
	test_ipv6();
	test_obstacles();
	test_many();
	test_describe();
	test_hosts();
	test_actions();
	test_predecessor();
	backend_ops(A.b)->close(A.b, false);
	backend_ops(B.b)->close(B.b, false);
	tap(empty(&A) && empty(&B), "closed: nothing is left");
	return tap_end();
}
