/*
 * The back end's batches against a kernel of this test's own, which remembers the names of states
 * and policies, refuses the messages it is told to, and answers as the real one does: each failure,
 * each message that asks for it, and dumps of nothing.
 */
#include "messages.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "kernel/netlink.h"
#include "kernel/xfrm.h"
#include "kernel/xfrm_policy.h"
#include "kernel/xfrm_state.h"

enum { MANY = 256, ANSWER_BYTES = 64 };

static struct {
	unsigned sends, messages;
	unsigned refuse; /* the number of the message to refuse; 0: none */
	int refuse_errno;
	bool lose_answers;
	uint32_t refuse_net; /* policies to or from this network are refused; 0: none */
	uint32_t states[MANY]; /* SPIs */
	size_t state_count;
	struct policy_name {
		struct xfrm_selector sel;
		uint32_t dir;
	} policies[MANY];
	size_t policy_count;
	uint16_t order[MANY]; /* types of messages as they came */
	struct nlmsgerr answers[MANY];
	size_t answer_count, answer_next;
	struct nlmsghdr done; /* of a dump */
	bool dumped;
} kernel;

int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);
ssize_t __wrap_sendto(int fd, const void *buf, size_t len, int flags, const void *to, socklen_t size);
ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags);

/* Any netlink socket will do: nothing goes through it. */
int __wrap_socket(int domain, int type, int protocol)
{
	return __real_socket(domain, type, domain == AF_NETLINK ? NETLINK_ROUTE : protocol);
}

static int state_at(uint32_t spi)
{
	for (size_t i = 0; i < kernel.state_count; i++)
		if (kernel.states[i] == spi)
			return (int)i;
	return -1;
}

static int state_new(uint32_t spi)
{
	if (state_at(spi) >= 0)
		return EEXIST;
	kernel.states[kernel.state_count++] = spi;
	return 0;
}

static int state_delete(uint32_t spi)
{
	int i = state_at(spi);

	if (i < 0)
		return ESRCH;
	kernel.states[i] = kernel.states[--kernel.state_count];
	return 0;
}

/** Make (or replace) a policy, or delete it. */
static int policy_change(const struct xfrm_selector *sel, uint8_t dir, bool set)
{
	struct policy_name *p = kernel.policies, *end = p + kernel.policy_count;

	while (p < end && (p->dir != dir || memcmp(&p->sel, sel, sizeof(*sel)) != 0))
		p++;
	if (!set && p == end)
		return ENOENT;
	if (!set)
		*p = kernel.policies[--kernel.policy_count];
	else if (p == end)
		kernel.policies[kernel.policy_count++] = (struct policy_name){ *sel, dir };
	return 0;
}

static int obey(const struct nlmsghdr *m)
{
	const void *payload = (const uint8_t *)m + NLMSG_HDRLEN;
	const struct xfrm_usersa_info *sa = payload;
	const struct xfrm_usersa_id *id = payload;
	const struct xfrm_userpolicy_info *policy = payload;
	const struct xfrm_userpolicy_id *policy_id = payload;

	if (++kernel.messages == kernel.refuse)
		return kernel.refuse_errno;
	if (m->nlmsg_type == XFRM_MSG_UPDPOLICY && kernel.refuse_net != 0 &&
	    (policy->sel.daddr.a4 == kernel.refuse_net || policy->sel.saddr.a4 == kernel.refuse_net))
		return EINVAL;
	switch (m->nlmsg_type) {
	case XFRM_MSG_NEWSA:
		return state_new(__builtin_bswap32(sa->id.spi));
	case XFRM_MSG_DELSA:
		return state_delete(__builtin_bswap32(id->spi));
	case XFRM_MSG_UPDPOLICY:
		return policy_change(&policy->sel, policy->dir, true);
	case XFRM_MSG_DELPOLICY:
		return policy_change(&policy_id->sel, policy_id->dir, false);
	default:
		return 0;
	}
}

ssize_t __wrap_sendto(int fd, const void *buf, size_t len, int flags, const void *to, socklen_t size)
{
	const uint8_t *p = buf;
	struct nlmsghdr m;

	(void)fd, (void)flags, (void)to, (void)size;
	kernel.sends++;
	for (size_t at = 0; at + sizeof(m) <= len; at += NLMSG_ALIGN(m.nlmsg_len)) {
		uint64_t aligned[NETLINK_MESSAGE_MAX / sizeof(uint64_t)];

		memcpy(&m, p + at, sizeof(m));
		assert_in_range(m.nlmsg_len, sizeof(m), len - at);
		assert_in_range(m.nlmsg_len, sizeof(m), sizeof(aligned));
		memcpy(aligned, p + at, m.nlmsg_len);
		if ((m.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP) {
			kernel.done = m;
			kernel.dumped = true;
			continue;
		}
		kernel.order[kernel.messages % MANY] = m.nlmsg_type;
		int error = obey((const struct nlmsghdr *)(const void *)aligned);

		if (error != 0 || (m.nlmsg_flags & NLM_F_ACK) != 0)
			kernel.answers[kernel.answer_count++] = (struct nlmsgerr){ -error, m };
	}
	return (ssize_t)len;
}

/** One answer is one datagram. */
ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
	struct sockaddr_nl from = { .nl_family = AF_NETLINK };
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
	} a = { 0 };

	(void)fd, (void)flags;
	if (kernel.dumped) {
		kernel.dumped = false;
		a.header = kernel.done;
		a.header.nlmsg_type = NLMSG_DONE;
		a.header.nlmsg_flags = NLM_F_MULTI;
		a.header.nlmsg_len = sizeof(a.header) + sizeof(int);
	} else if (kernel.answer_next < kernel.answer_count && !kernel.lose_answers) {
		a.error = kernel.answers[kernel.answer_next++];
		a.header = a.error.msg;
		a.header.nlmsg_type = NLMSG_ERROR;
		a.header.nlmsg_flags = NLM_F_CAPPED;
		a.header.nlmsg_len = sizeof(a);
	} else {
		errno = kernel.lose_answers ? ENOBUFS : EAGAIN;
		return -1;
	}
	memcpy(msg->msg_name, &from, sizeof(from));
	msg->msg_namelen = sizeof(from);
	msg->msg_flags = 0;
	memcpy(msg->msg_iov->iov_base, &a, a.header.nlmsg_len);
	return (ssize_t)a.header.nlmsg_len;
}

static struct sa_policy policy_of(uint32_t reqid)
{
	struct sa_policy p = { .reqid = reqid, .conn = "net1", .action = POLICY_PROTECT,
			       .mode = MODE_TUNNEL, .local = address("192.0.2.1"),
			       .remote = address("192.0.2.2") };
	struct ip_prefix near = { address("10.1.0.0"), 16 }, far = { address("10.2.0.0"), 16 };
	struct traffic_selector l = ts_from_prefix(&near), r = ts_from_prefix(&far);

	ts_list_add(&p.local_ts, &l);
	ts_list_add(&p.remote_ts, &r);
	return p;
}

static struct child_sa child_of(uint32_t id, uint32_t spi_in, uint32_t spi_out)
{
	struct sa_policy p = policy_of(XFRM_REQID_FIRST);
	struct child_sa sa = { .id = id, .reqid = p.reqid, .mode = MODE_TUNNEL,
			       .path = { .local = { p.local, 4500 }, .remote = { p.remote, 4500 } },
			       .local_ts = p.local_ts, .remote_ts = p.remote_ts, .replay_window = 64 };
	uint8_t key[36] = { 7 };

	sa.suite = (struct cipher_suite){ .encr = algorithm_find(TRANSFORM_ENCR, ENCR_AES_GCM_16),
					  .encr_bits = 256 };
	sa.in.spi = spi_in;
	sa.out.spi = spi_out;
	key_set(&sa.in.encr_key, key, sizeof(key));
	key_set(&sa.out.encr_key, key, sizeof(key));
	return sa;
}

/** Forget what was counted, not what is installed; refuse the `refuse`th message from here. */
static void count_anew(unsigned refuse, int error)
{
	kernel.sends = kernel.messages = 0;
	kernel.answer_count = kernel.answer_next = 0;
	kernel.refuse = refuse;
	kernel.refuse_errno = error;
	kernel.lose_answers = false;
	kernel.refuse_net = 0;
}

static int open_backend(void **state)
{
	struct backend_events events = { 0 };
	struct backend_error err;

	memset(&kernel, 0, sizeof(kernel));
	*state = xfrm_backend_new(&events, NULL, &err);
	if (*state == NULL)
		return -1;
	count_anew(0, 0);
	return 0;
}

static int close_backend(void **state)
{
	count_anew(0, 0);
	backend_ops(*state)->close(*state, false);
	return 0;
}

static void both_halves_at_once(void **state)
{
	struct backend *b = *state;
	struct child_sa sa = child_of(1, 0x11111, 0x22222);
	struct backend_error err;

	assert_true(backend_ops(b)->add(b, &sa, SA_BOTH, &err));
	assert_int_equal(kernel.sends, 1);
	assert_int_equal(kernel.answer_count, 1);
	assert_true(kernel.states[0] == 0x11111 && kernel.states[1] == 0x22222);
	count_anew(0, 0);
	backend_ops(b)->remove(b, &sa, SA_BOTH);
	assert_int_equal(kernel.sends, 1);
	assert_int_equal(kernel.state_count, 0);
}

static void a_refused_half_takes_the_other(void **state)
{
	struct backend *b = *state;
	struct child_sa sa = child_of(1, 0x11111, 0x22222);
	struct backend_error err;

	for (unsigned half = 1; half <= 2; half++) {
		count_anew(half, ENOSYS);
		assert_false(backend_ops(b)->add(b, &sa, SA_BOTH, &err));
		assert_non_null(strstr(err.text, half == 1 ? "inbound SA 0x00011111" :
							     "outbound SA 0x00022222"));
		assert_int_equal(kernel.state_count, 0);
	}
	count_anew(0, 0);
	assert_true(backend_ops(b)->add(b, &sa, SA_BOTH, &err));
	assert_int_equal(kernel.state_count, 2);
}

static void lost_answers_leave_nothing(void **state)
{
	struct backend *b = *state;
	struct child_sa sa = child_of(1, 0x11111, 0x22222);
	struct backend_error err;

	kernel.lose_answers = true;
	assert_false(backend_ops(b)->add(b, &sa, SA_BOTH, &err));
	assert_non_null(strstr(err.text, "did not answer"));
	assert_int_equal(kernel.state_count, 0);
}

static void states_of_others(void **state)
{
	struct backend *b = *state;
	struct child_sa sa = child_of(1, 0x11111, 0x22222), same = child_of(2, 0x33333, 0x22222);
	struct backend_error err;

	/* under the SPI that we receive by: it stays, and ours is refused */
	state_new(0x11111);
	assert_false(backend_ops(b)->add(b, &sa, SA_BOTH, &err));
	assert_non_null(strstr(err.text, "another program"));
	assert_true(kernel.state_count == 1 && kernel.states[0] == 0x11111);
	state_delete(0x11111);
	/* under the SPI that the peer chose: ours takes its place */
	state_new(0x22222);
	assert_true(backend_ops(b)->add(b, &sa, SA_BOTH, &err));
	assert_int_equal(kernel.state_count, 2);
	/* one of another Child SA of ours goes on */
	assert_false(backend_ops(b)->add(b, &same, SA_BOTH, &err));
	assert_int_equal(kernel.state_count, 2);
	assert_true(state_at(0x11111) >= 0 && state_at(0x22222) >= 0);
}

static void spis_are_not_asked_for(void **state)
{
	struct backend *b = *state;
	struct ip_address here = address("192.0.2.1"), there = address("192.0.2.2");
	struct backend_error err;
	uint32_t spi[MANY];

	for (size_t i = 0; i < MANY; i++) {
		spi[i] = backend_ops(b)->alloc_spi(b, &here, &there, XFRM_REQID_FIRST, 0, &err);
		assert_true(spi[i] >= 0x1000);
		for (size_t k = 0; k < i; k++)
			assert_int_not_equal(spi[i], spi[k]);
	}
	for (size_t i = 0; i < MANY; i += 2)
		backend_ops(b)->free_spi(b, &here, spi[i]);
	backend_ops(b)->free_spi(b, &here, spi[0]); /* once more does no harm */
	assert_int_equal(kernel.sends, 0);
}

static void policies_at_once(void **state)
{
	struct backend *b = *state;
	struct sa_policy p = policy_of(XFRM_REQID_FIRST);
	struct backend_error err;
	size_t before = kernel.policy_count;

	assert_true(backend_ops(b)->policy_set(b, &p, &err));
	assert_int_equal(kernel.sends, 1);
	assert_int_equal(kernel.policy_count, before + 3);
	backend_ops(b)->policy_remove(b, p.reqid);
	assert_int_equal(kernel.sends, 2);
	assert_int_equal(kernel.policy_count, before);
}

static void a_policy_refused_in_the_middle(void **state)
{
	struct backend *b = *state;
	struct sa_policy p = policy_of(XFRM_REQID_FIRST);
	struct backend_error err;
	size_t before = kernel.policy_count;

	count_anew(2, EINVAL);
	assert_false(backend_ops(b)->policy_set(b, &p, &err));
	assert_non_null(strstr(err.text, "policy of \"net1\" not installed: Invalid argument"));
	assert_int_equal(kernel.policy_count, before);
	for (unsigned i = 3; i < kernel.messages; i++)
		assert_int_equal(kernel.order[i], XFRM_MSG_DELPOLICY);
	assert_int_equal(kernel.messages, 6);
}

/* --- policies that are gathered --- */

static struct {
	unsigned count;
	uint32_t reqid; /* of the last */
	char why[BACKEND_ERROR_TEXT];
} told;

static void on_policy_failed(void *context, uint32_t reqid, const char *why)
{
	(void)context;
	told.count++;
	told.reqid = reqid;
	strncpy(told.why, why, sizeof(told.why) - 1);
}

static int open_gathering(void **state)
{
	struct backend_events events = { .policy_failed = on_policy_failed };
	struct xfrm_options options = { .gather = true };
	struct backend_error err;

	memset(&kernel, 0, sizeof(kernel));
	memset(&told, 0, sizeof(told));
	*state = xfrm_backend_new(&events, &options, &err);
	if (*state == NULL)
		return -1;
	count_anew(0, 0);
	return 0;
}

/** Connection `i` of many: another network behind the peer, three rules. */
static struct sa_policy policy_number(unsigned i)
{
	struct sa_policy p = policy_of(XFRM_REQID_FIRST + i);
	struct ip_prefix far = { address("10.3.0.0"), 24 };

	far.address.bytes[2] = (uint8_t)i;
	p.remote_ts.ts[0] = ts_from_prefix(&far);
	return p;
}

static uint32_t network_number(unsigned i)
{
	struct sa_policy p = policy_number(i);
	uint32_t net;

	memcpy(&net, p.remote_ts.ts[0].lo.bytes, sizeof(net));
	return net;
}

static void set_number(struct backend *b, unsigned i)
{
	struct sa_policy p = policy_number(i);
	struct backend_error err;

	assert_true(backend_ops(b)->policy_set(b, &p, &err));
}

enum { GATHERED = 70 }; /* their 210 rules fill three batches and begin a fourth */

static void set_many(struct backend *b)
{
	for (unsigned i = 0; i < GATHERED; i++)
		set_number(b, i);
}

static bool is_set(unsigned i)
{
	uint32_t net = network_number(i);
	size_t rules = 0;

	for (size_t k = 0; k < kernel.policy_count; k++)
		rules += kernel.policies[k].sel.daddr.a4 == net || kernel.policies[k].sel.saddr.a4 == net;
	assert_true(rules == 0 || rules == 3);
	return rules == 3;
}

static void gathered_in_few_sends(void **state)
{
	struct backend *b = *state;
	size_t before = kernel.policy_count;

	set_many(b);
	assert_in_range(kernel.sends, 1, 3);
	xfrm_backend_settle(b);
	assert_int_equal(kernel.sends, 4);
	assert_int_equal(kernel.policy_count, before + 3 * GATHERED);
	/* one by one and in the order in which they were set */
	for (unsigned i = 0; i < GATHERED; i++)
		assert_true(kernel.policies[before + 3 * (size_t)i].sel.saddr.a4 == network_number(i));
	assert_int_equal(told.count, 0);
	/* those that come later are there at once */
	set_number(b, GATHERED);
	assert_int_equal(kernel.sends, 5);
	assert_true(is_set(GATHERED));
}

static void a_gathered_policy_is_refused(void **state)
{
	struct backend *b = *state;

	/* its rules are spread over two batches */
	kernel.refuse_net = network_number(NETLINK_BATCH_MAX / 3);
	set_many(b);
	assert_int_equal(told.count, 0);
	xfrm_backend_settle(b);
	assert_int_equal(told.count, 1);
	assert_int_equal(told.reqid, XFRM_REQID_FIRST + NETLINK_BATCH_MAX / 3);
	assert_non_null(strstr(told.why, "policy not installed: Invalid argument"));
	for (unsigned i = 0; i < GATHERED; i++)
		assert_int_equal(is_set(i), i != NETLINK_BATCH_MAX / 3);
	/* it can be set later */
	kernel.refuse_net = 0;
	set_number(b, NETLINK_BATCH_MAX / 3);
	assert_true(is_set(NETLINK_BATCH_MAX / 3));
}

/* What fails once, as for want of memory, is tried again: nobody need know. */
static void a_gathered_policy_fails_once(void **state)
{
	struct backend *b = *state;

	/* the last message of the first batch, the first of a connection: the others are in the next */
	count_anew(NETLINK_BATCH_MAX, ENOMEM);
	set_many(b);
	xfrm_backend_settle(b);
	assert_int_equal(told.count, 0);
	for (unsigned i = 0; i < GATHERED; i++)
		assert_true(is_set(i));
}

static void gathered_answers_are_lost(void **state)
{
	struct backend *b = *state;
	size_t before = kernel.policy_count;

	set_number(b, 0);
	set_number(b, 1);
	kernel.lose_answers = true;
	xfrm_backend_settle(b);
	assert_int_equal(told.count, 2);
	assert_non_null(strstr(told.why, "did not answer"));
	assert_int_equal(kernel.policy_count, before);
}

/* Changes to what is still on its way come after it. */
static void gathered_and_changed(void **state)
{
	struct backend *b = *state;
	struct sa_policy p = policy_number(1);
	struct ip_prefix other = { address("10.4.0.0"), 24 };
	struct backend_error err;
	size_t before = kernel.policy_count;

	for (unsigned i = 0; i < 3; i++)
		set_number(b, i);
	p.remote_ts.ts[0] = ts_from_prefix(&other);
	assert_true(backend_ops(b)->policy_set(b, &p, &err));
	assert_true(is_set(0) && !is_set(1) && is_set(2));
	set_number(b, 3);
	backend_ops(b)->policy_remove(b, XFRM_REQID_FIRST + 3);
	assert_false(is_set(3));
	xfrm_backend_settle(b);
	assert_int_equal(kernel.policy_count, before + 9);
	assert_int_equal(told.count, 0);
}

/* Two connections have the same selectors: the last has its way, and gives it back. */
static void gathered_twice(void **state)
{
	struct backend *b = *state;
	struct sa_policy p = policy_number(0);
	struct backend_error err;
	size_t before = kernel.policy_count;

	set_number(b, 0);
	p.reqid++;
	assert_true(backend_ops(b)->policy_set(b, &p, &err));
	xfrm_backend_settle(b);
	assert_int_equal(kernel.policy_count, before + 3);
	backend_ops(b)->policy_remove(b, p.reqid);
	assert_true(is_set(0));
	backend_ops(b)->policy_remove(b, XFRM_REQID_FIRST);
	assert_int_equal(kernel.policy_count, before);
}

/* The daemon could not start: what it had gathered is nobody's, what was there goes on dropping. */
static void gathered_and_closed(void **state)
{
	struct backend *b = *state;
	size_t before = kernel.policy_count;

	set_number(b, 0);
	backend_ops(b)->close(b, true);
	assert_int_equal(kernel.policy_count, before);
	assert_int_equal(open_gathering(state), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(both_halves_at_once, open_backend, close_backend),
		cmocka_unit_test_setup_teardown(a_refused_half_takes_the_other, open_backend, close_backend),
		cmocka_unit_test_setup_teardown(lost_answers_leave_nothing, open_backend, close_backend),
		cmocka_unit_test_setup_teardown(states_of_others, open_backend, close_backend),
		cmocka_unit_test_setup_teardown(spis_are_not_asked_for, open_backend, close_backend),
		cmocka_unit_test_setup_teardown(policies_at_once, open_backend, close_backend),
		cmocka_unit_test_setup_teardown(a_policy_refused_in_the_middle, open_backend, close_backend),
		cmocka_unit_test_setup_teardown(gathered_in_few_sends, open_gathering, close_backend),
		cmocka_unit_test_setup_teardown(a_gathered_policy_is_refused, open_gathering, close_backend),
		cmocka_unit_test_setup_teardown(a_gathered_policy_fails_once, open_gathering, close_backend),
		cmocka_unit_test_setup_teardown(gathered_answers_are_lost, open_gathering, close_backend),
		cmocka_unit_test_setup_teardown(gathered_and_changed, open_gathering, close_backend),
		cmocka_unit_test_setup_teardown(gathered_twice, open_gathering, close_backend),
		cmocka_unit_test_setup_teardown(gathered_and_closed, open_gathering, close_backend),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
