/*
 * Child SAs a second of the XFRM back end: policies, SPIs and both halves of N Child SAs of as
 * many connections, as the engine makes them, and their removal. Run it in a network namespace
 * of a User-Mode Linux, where the kernel has ESP:
 *
 *   tests/kernel/uml build/tests/kernel/xfrm_bench [N [ROUNDS]]
 *
 * First come the policies as a daemon loads them, one by one and gathered: with 0 rounds they are
 * all, and need a kernel with XFRM only. The last line of a round is what the kernel alone takes for the same states and policies: they
 * are sent in batches that are as full as they can be.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/secret.h"
#include "kernel/netlink.h"
#include "kernel/xfrm.h"
#include "kernel/xfrm_policy.h"
#include "kernel/xfrm_state.h"

/* System calls about netlink sockets, counted where the linker leads them here (--wrap). */
static uint64_t calls;
int __real_poll(void *fds, unsigned long n, int ms);
ssize_t __real_sendto(int fd, const void *buf, size_t len, int flags, const void *to, socklen_t size);
ssize_t __real_recvmsg(int fd, void *msg, int flags);
int __real_recvmmsg(int fd, void *msgs, unsigned n, int flags, void *timeout);
int __wrap_poll(void *fds, unsigned long n, int ms);
ssize_t __wrap_sendto(int fd, const void *buf, size_t len, int flags, const void *to, socklen_t size);
ssize_t __wrap_recvmsg(int fd, void *msg, int flags);
int __wrap_recvmmsg(int fd, void *msgs, unsigned n, int flags, void *timeout);

int __wrap_poll(void *fds, unsigned long n, int ms)
{
	calls++;
	return __real_poll(fds, n, ms);
}

ssize_t __wrap_sendto(int fd, const void *buf, size_t len, int flags, const void *to, socklen_t size)
{
	calls++;
	return __real_sendto(fd, buf, len, flags, to, size);
}

ssize_t __wrap_recvmsg(int fd, void *msg, int flags)
{
	calls++;
	return __real_recvmsg(fd, msg, flags);
}

int __wrap_recvmmsg(int fd, void *msgs, unsigned n, int flags, void *timeout)
{
	calls++;
	return __real_recvmmsg(fd, msgs, n, flags, timeout);
}

static void fail(const char *what)
{
	fprintf(stderr, "xfrm_bench: %s\n", what);
	exit(1);
}

static struct ip_address host(uint8_t first, size_t i)
{
	uint8_t bytes[] = { first, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i };

	return ip_address_from_bytes(BYTES(bytes, sizeof(bytes)));
}

/** Connection `i`: a peer and a /28 behind it of its own. */
static struct sa_policy policy_of(size_t i)
{
	struct sa_policy p = { .reqid = XFRM_REQID_FIRST + (uint32_t)i, .conn = "bench",
			       .action = POLICY_PROTECT, .mode = MODE_TUNNEL,
			       .local = host(127, 1), .remote = host(172, i) };
	struct ip_prefix near = { host(192, 0), 24 }, far = { host(10, i * 16), 28 };
	struct traffic_selector l = ts_from_prefix(&near), r = ts_from_prefix(&far);

	ts_list_add(&p.local_ts, &l);
	ts_list_add(&p.remote_ts, &r);
	return p;
}

static void child_of(struct child_sa *sa, size_t i)
{
	struct sa_policy p = policy_of(i);
	uint8_t key[36] = { 1 };

	memset(sa, 0, sizeof(*sa));
	sa->id = (uint32_t)i + 1;
	sa->reqid = p.reqid;
	sa->mode = MODE_TUNNEL;
	sa->path.local = (struct ip_endpoint){ p.local, 4500 };
	sa->path.remote = (struct ip_endpoint){ p.remote, 4500 };
	sa->local_ts = p.local_ts;
	sa->remote_ts = p.remote_ts;
	sa->replay_window = 128;
	sa->encap_dscp = true;
	sa->suite = (struct cipher_suite){ .encr = algorithm_find(TRANSFORM_ENCR, ENCR_AES_GCM_16),
					   .encr_bits = 256, .esn = true };
	sa->out.spi = 0x80000000 + (uint32_t)i;
	key_set(&sa->in.encr_key, key, sizeof(key));
	key_set(&sa->out.encr_key, key, sizeof(key));
}

static uint64_t begun_us;

static void begin(void)
{
	calls = 0;
	begun_us = clock_now_us();
}

/** What took how long; returns the microseconds. */
static uint64_t end(const char *what, size_t n)
{
	uint64_t us = clock_now_us() - begun_us;

	printf("%-28s %7zu: %7.1f us, %5.2f system calls each\n", what, n, (double)us / (double)n,
	       (double)calls / (double)n);
	return us;
}

static void on_policy_failed(void *context, uint32_t reqid, const char *why)
{
	(void)context;
	(void)reqid;
	fail(why);
}

/** The policies of N connections, as they are loaded at the start. */
static void load(size_t n, bool gather)
{
	struct backend_events events = { .policy_failed = on_policy_failed };
	struct xfrm_options options = { .gather = gather };
	struct backend_error err = { "" };
	struct backend *b = xfrm_backend_new(&events, &options, &err);

	if (b == NULL)
		fail(err.text);
	begin();
	for (size_t i = 0; i < n; i++) {
		struct sa_policy p = policy_of(i);

		if (!backend_ops(b)->policy_set(b, &p, &err))
			fail(err.text);
	}
	xfrm_backend_settle(b);
	end(gather ? "load, gathered" : "load, one by one", n);
	backend_ops(b)->close(b, false);
}

static void round_of(struct backend *b, struct child_sa *sa, size_t n)
{
	const struct backend_ops *ops = backend_ops(b);
	struct backend_error err = { "" };
	uint64_t us;

	begin();
	for (size_t i = 0; i < n; i++) {
		struct sa_policy p = policy_of(i);

		if (!ops->policy_set(b, &p, &err))
			fail(err.text);
	}
	us = end("policy_set", n);
	begin();
	for (size_t i = 0; i < n; i++)
		if ((sa[i].in.spi = ops->alloc_spi(b, &sa[i].path.local.address,
						   &sa[i].path.remote.address, sa[i].reqid, 0, &err)) == 0)
			fail(err.text);
	us += end("alloc_spi", n);
	begin();
	for (size_t i = 0; i < n; i++)
		if (!ops->add(b, &sa[i], SA_BOTH, &err))
			fail(err.text);
	us += end("add", n);
	printf("%-28s %7zu: %7.0f a second\n", "Child SAs with policies", n, 1e6 * (double)n / (double)us);
	begin();
	for (size_t i = 0; i < n; i++)
		ops->remove(b, &sa[i], SA_BOTH);
	us = end("remove", n);
	begin();
	for (size_t i = 0; i < n; i++)
		ops->policy_remove(b, policy_of(i).reqid);
	us += end("policy_remove", n);
	printf("%-28s %7zu: %7.0f a second\n", "Child SAs removed", n, 1e6 * (double)n / (double)us);
}

static void send_full(struct netlink *nl, struct netlink_batch *batch, size_t messages)
{
	if (netlink_batch_has_room(batch, messages))
		return;
	if (!netlink_run(nl, batch))
		fail(batch->why);
	netlink_batch_reset(batch);
}

/** The messages of Child SA `sa`: its three policies and two states, or their removal. */
static void queue_child(struct netlink_batch *batch, const struct child_sa *sa, bool add)
{
	struct sa_policy p = policy_of(sa->id - 1);
	struct xfrm_rules rules = { 0 };
	struct backend_error err;
	size_t room;

	if (!xfrm_rules_expand(&p, &rules, &err))
		fail(err.text);
	for (size_t i = 0; i < rules.count; i++) {
		struct nlmsghdr *m = netlink_batch_next(batch, &room);

		netlink_batch_commit(batch, add ? xfrm_rule_encode(m, room, &rules.rule[i]) :
						  xfrm_rule_encode_delete(m, room, &rules.rule[i].key));
	}
	xfrm_rules_free(&rules);
	for (enum sa_direction d = SA_IN; d <= SA_OUT; d++) {
		struct xfrm_state_id id = xfrm_state_id_of(sa, d);
		struct nlmsghdr *m = netlink_batch_next(batch, &room);

		netlink_batch_commit(batch, add ? xfrm_state_encode(m, room, XFRM_MSG_NEWSA, sa, d, NULL) :
						  xfrm_state_encode_id(m, room, XFRM_MSG_DELSA, &id));
	}
}

static void kernel_alone(struct child_sa *sa, size_t n)
{
	struct netlink_batch *batch = secret_alloc(sizeof(*batch));
	struct netlink nl;

	if (batch == NULL || !netlink_open(&nl, NETLINK_XFRM))
		fail("no netlink");
	for (int add = 1; add >= 0; add--) {
		begin();
		for (size_t i = 0; i < n; i++) {
			send_full(&nl, batch, 5);
			queue_child(batch, &sa[i], add == 1);
		}
		if (!netlink_run(&nl, batch))
			fail(batch->why);
		netlink_batch_reset(batch);
		end(add == 1 ? "kernel alone, all" : "kernel alone, removal", n);
	}
	netlink_close(&nl);
	secret_free(batch);
}

int main(int argc, char **argv)
{
	size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000;
	size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 3;
	struct backend_events events = { 0 };
	struct backend_error err;
	struct child_sa *sa = n > 0 ? calloc(n, sizeof(*sa)) : NULL;
	struct backend *b;

	if (sa == NULL)
		fail("usage: xfrm_bench [N [ROUNDS]]");
	load(n, false);
	load(n, true);
	if (rounds == 0) {
		free(sa);
		return 0;
	}
	b = xfrm_backend_new(&events, NULL, &err);
	if (b == NULL)
		fail(err.text);
	xfrm_backend_settle(b);
	for (size_t i = 0; i < n; i++)
		child_of(&sa[i], i);
	for (size_t r = 0; r < rounds; r++)
		round_of(b, sa, n);
	backend_ops(b)->close(b, false);
	kernel_alone(sa, n);
	free(sa);
	return 0;
}
