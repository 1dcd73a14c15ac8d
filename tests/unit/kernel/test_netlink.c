/* Batches: their limits, their order, and every answer at its place. */
#include "messages.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#include "base/secret.h"
#include "kernel/netlink.h"

/** A request about the link with index `index`; the kernel refuses those that there are not. */
static void add_request(struct netlink_batch *batch, int index)
{
	size_t room;
	struct nlmsghdr *m = netlink_batch_next(batch, &room);
	struct ifinfomsg *i;

	assert_non_null(m);
	mnl_nlmsg_put_header(m);
	m->nlmsg_type = RTM_GETLINK;
	i = mnl_nlmsg_put_extra_header(m, sizeof(*i));
	i->ifi_index = index;
	assert_true(netlink_batch_commit(batch, true));
}

static void every_answer_at_its_place(void **state)
{
	struct netlink nl;
	struct netlink_batch *b = secret_alloc(sizeof(*b));

	(void)state;
	assert_non_null(b);
	assert_true(netlink_open(&nl, NETLINK_ROUTE));
	assert_true(netlink_run(&nl, b)); /* nothing to do is no failure */
	for (int i = 0; i < 40; i++)
		add_request(b, i % 3 == 1 ? 0x7ffffff0 : 1);
	assert_false(netlink_run(&nl, b));
	for (int i = 0; i < 40; i++)
		assert_int_equal(b->error[i], i % 3 == 1 ? ENODEV : 0);
	assert_int_equal(netlink_batch_error(b), ENODEV);
	/* what was sent is wiped: it may have been keys */
	for (size_t i = 0; i < b->len; i++)
		assert_int_equal(b->bytes[i], 0);
	netlink_batch_reset(b);
	add_request(b, 1);
	assert_true(netlink_run(&nl, b));
	assert_int_equal(nl.requests, 41);
	assert_int_equal(nl.refused, 13);
	netlink_close(&nl);
	secret_free(b);
}

static void a_batch_has_an_end(void **state)
{
	struct netlink_batch *b = secret_alloc(sizeof(*b));
	size_t room, n = 0;

	(void)state;
	assert_non_null(b);
	while (netlink_batch_has_room(b, 1)) {
		add_request(b, 1);
		n++;
	}
	assert_int_equal(n, NETLINK_BATCH_MAX);
	assert_null(netlink_batch_next(b, &room));
	assert_true(b->bad);
	netlink_batch_reset(b);
	assert_non_null(netlink_batch_next(b, &room));
	/* a message that could not be encoded spoils the batch: none of it is sent */
	assert_false(netlink_batch_commit(b, false));
	assert_int_equal(netlink_batch_error(b), EMSGSIZE);
	secret_free(b);
}

static void count_links(const struct nlmsghdr *m, void *context)
{
	assert_int_equal(m->nlmsg_type, RTM_NEWLINK);
	++*(unsigned *)context;
}

static void answers_of_queries(void **state)
{
	union message m;
	unsigned links = 0;
	struct netlink nl;
	char why[NETLINK_WHY_MAX];
	struct ifinfomsg *i;

	(void)state;
	assert_true(netlink_open(&nl, NETLINK_ROUTE));
	mnl_nlmsg_put_header(m.bytes);
	m.header.nlmsg_type = RTM_GETLINK;
	m.header.nlmsg_flags = NLM_F_DUMP;
	mnl_nlmsg_put_extra_header(&m.header, sizeof(struct ifinfomsg));
	assert_int_equal(netlink_query(&nl, &m.header, count_links, &links, why), 0);
	assert_true(links >= 1);
	links = 0;
	mnl_nlmsg_put_header(m.bytes);
	m.header.nlmsg_type = RTM_GETLINK;
	i = mnl_nlmsg_put_extra_header(&m.header, sizeof(*i));
	i->ifi_index = 1;
	assert_int_equal(netlink_query(&nl, &m.header, count_links, &links, NULL), 0);
	assert_int_equal(links, 1);
	i->ifi_index = 0x7ffffff0;
	m.header.nlmsg_flags = 0;
	assert_int_equal(netlink_query(&nl, &m.header, count_links, &links, why), ENODEV);
	netlink_close(&nl);
}

static void no_such_protocol(void **state)
{
	struct netlink nl;

	(void)state;
	assert_false(netlink_open(&nl, 31));
	assert_int_equal(errno, EPROTONOSUPPORT);
	assert_int_equal(nl.fd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_answer_at_its_place),
		cmocka_unit_test(a_batch_has_an_end),
		cmocka_unit_test(answers_of_queries),
		cmocka_unit_test(no_such_protocol),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
