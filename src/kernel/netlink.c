/* Requests to the kernel, their answers, and events: the socket side of netlink. */
#include "kernel/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/secret.h"

enum {
	RECEIVE_BYTES = 32 * 1024,       /* the kernel's dumps fill at most this */
	EVENT_BUFFER_BYTES = 1024 * 1024, /* acquires of many connections at once */
	EVENTS_AT_ONCE = 64,             /* then the event loop gets its turn again */
	UNANSWERED = -1,
};

static void set_option(int fd, int option)
{
	int on = 1;

	/* kernels that do not know it answer without the extra words, that is all */
	(void)setsockopt(fd, SOL_NETLINK, option, &on, sizeof(on));
}

bool netlink_open(struct netlink *nl, int protocol)
{
	struct sockaddr_nl self = { .nl_family = AF_NETLINK };
	socklen_t len = sizeof(self);
	int saved;

	*nl = (struct netlink){ .fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol) };
	if (nl->fd < 0)
		return false;
	if (bind(nl->fd, (const struct sockaddr *)&self, sizeof(self)) != 0 ||
	    getsockname(nl->fd, (struct sockaddr *)&self, &len) != 0) {
		saved = errno;
		netlink_close(nl);
		errno = saved;
		return false;
	}
	nl->port = self.nl_pid;
	set_option(nl->fd, NETLINK_EXT_ACK);
	set_option(nl->fd, NETLINK_CAP_ACK);
	return true;
}

void netlink_close(struct netlink *nl)
{
	if (nl->fd >= 0)
		close(nl->fd);
	nl->fd = -1;
}

bool netlink_join(struct netlink *nl, unsigned group)
{
	int bytes = EVENT_BUFFER_BYTES;

	(void)setsockopt(nl->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	return setsockopt(nl->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) == 0;
}

void netlink_batch_reset(struct netlink_batch *batch)
{
	secret_wipe(batch->bytes, batch->len);
	batch->count = 0;
	batch->len = 0;
	batch->bad = false;
	batch->why[0] = '\0';
}

bool netlink_batch_has_room(const struct netlink_batch *batch, size_t messages)
{
	return batch->count + messages <= NETLINK_BATCH_MAX &&
	       batch->len + messages * NETLINK_MESSAGE_MAX <= NETLINK_BATCH_BYTES;
}

struct nlmsghdr *netlink_batch_next(struct netlink_batch *batch, size_t *room)
{
	struct nlmsghdr *message;

	if (batch->count == NETLINK_BATCH_MAX || batch->len == NETLINK_BATCH_BYTES) {
		batch->bad = true;
		return NULL;
	}
	message = (struct nlmsghdr *)(void *)(batch->bytes + batch->len);
	*room = NETLINK_BATCH_BYTES - batch->len;
	return message;
}

bool netlink_batch_commit(struct netlink_batch *batch, bool encoded)
{
	struct nlmsghdr *message = (struct nlmsghdr *)(void *)(batch->bytes + batch->len);

	if (batch->bad || !encoded) {
		batch->bad = true;
		return false;
	}
	message->nlmsg_flags |= NLM_F_REQUEST;
	batch->len += MNL_ALIGN(message->nlmsg_len);
	batch->count++;
	return true;
}

int netlink_batch_error(const struct netlink_batch *batch)
{
	if (batch->bad)
		return EMSGSIZE;
	for (size_t i = 0; i < batch->count; i++)
		if (batch->error[i] != 0)
			return batch->error[i];
	return 0;
}

/** Send bytes to the kernel; 0 or errno. */
static int send_bytes(struct netlink *nl, const void *bytes, size_t len)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t n;

	do
		n = sendto(nl->fd, bytes, len, 0, (const struct sockaddr *)&kernel, sizeof(kernel));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno;
	return (size_t)n == len ? 0 : EMSGSIZE;
}

/**
 * Receive one datagram that the kernel (nl_pid 0) sent; others are thrown away. Returns its
 * length, 0 when there was one of another sender, -1 with errno.
 */
static ssize_t receive(struct netlink *nl, void *buf, int flags)
{
	struct sockaddr_nl from = { 0 };
	struct iovec iov = { .iov_base = buf, .iov_len = RECEIVE_BYTES };
	struct msghdr msg = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov,
			      .msg_iovlen = 1 };
	ssize_t n = recvmsg(nl->fd, &msg, flags);

	if (n < 0)
		return -1;
	if (msg.msg_namelen != sizeof(from) || from.nl_family != AF_NETLINK || from.nl_pid != 0)
		return 0;
	if ((msg.msg_flags & MSG_TRUNC) != 0) {
		errno = EMSGSIZE;
		return -1;
	}
	return n;
}

/**
 * The same, waiting if nothing has come yet: until `*deadline_us`, which 0 begins. The kernel has
 * mostly answered before sending returns, so that there is no clock to ask. ETIMEDOUT past it.
 */
static ssize_t receive_until(struct netlink *nl, void *buf, uint64_t *deadline_us)
{
	struct pollfd p = { .fd = nl->fd, .events = POLLIN };

	for (;;) {
		ssize_t n = receive(nl, buf, MSG_DONTWAIT);

		if (n > 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return n;
		uint64_t now = clock_now_us();

		if (*deadline_us == 0)
			*deadline_us = now + NETLINK_TIMEOUT_MS * US_PER_MS;
		if (now >= *deadline_us) {
			errno = ETIMEDOUT;
			return -1;
		}
		if (poll(&p, 1, (int)((*deadline_us - now) / US_PER_MS) + 1) < 0 && errno != EINTR)
			return -1;
	}
}

/** The kernel's own words in an acknowledgement (NETLINK_EXT_ACK), copied to `why`. */
static void extended_words(const struct nlmsghdr *ack, char *why)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(ack);
	size_t offset = sizeof(*e);
	const struct nlattr *attr;

	if ((ack->nlmsg_flags & NLM_F_ACK_TLVS) == 0)
		return;
	/* the request follows the header only if the kernel does not cap its answers */
	if ((ack->nlmsg_flags & NLM_F_CAPPED) == 0 && e->msg.nlmsg_len >= sizeof(e->msg))
		offset += MNL_ALIGN(e->msg.nlmsg_len - sizeof(e->msg));
	if (mnl_nlmsg_get_payload_len(ack) < offset)
		return;
	mnl_attr_for_each(attr, ack, offset) {
		if (mnl_attr_get_type(attr) != NLMSGERR_ATTR_MSG ||
		    mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) < 0)
			continue;
		strncpy(why, mnl_attr_get_str(attr), NETLINK_WHY_MAX - 1);
		why[NETLINK_WHY_MAX - 1] = '\0';
	}
}

/** The errno of an acknowledgement; its words go to `why` (may be NULL). */
static int acknowledgement(const struct nlmsghdr *m, char *why)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(m);

	if (mnl_nlmsg_get_payload_len(m) < sizeof(*e))
		return EBADMSG;
	if (e->error != 0 && why != NULL && why[0] == '\0')
		extended_words(m, why);
	return e->error < 0 ? -e->error : e->error;
}

/** Number the messages; only the last is to be acknowledged if all goes well. */
static void number_messages(struct netlink *nl, struct netlink_batch *batch)
{
	struct nlmsghdr *m = (struct nlmsghdr *)(void *)batch->bytes;
	int left = (int)batch->len;

	for (size_t i = 0; i < batch->count; i++, m = mnl_nlmsg_next(m, &left)) {
		m->nlmsg_seq = ++nl->seq;
		m->nlmsg_pid = nl->port;
		if (i == batch->count - 1)
			m->nlmsg_flags |= NLM_F_ACK;
		batch->error[i] = UNANSWERED;
	}
	nl->requests += batch->count;
}

/**
 * Take what one datagram says of the batch. The kernel works in order and tells of every failure,
 * so with the answer to the last message those that nothing was said of are done: true.
 */
static bool take_answers(struct netlink_batch *batch, uint32_t first, const void *buf, int len)
{
	for (const struct nlmsghdr *m = buf; mnl_nlmsg_ok(m, len); m = mnl_nlmsg_next(m, &len)) {
		size_t i = m->nlmsg_seq - first;

		if (m->nlmsg_type != NLMSG_ERROR || i >= batch->count ||
		    batch->error[i] != UNANSWERED)
			continue;
		batch->error[i] = acknowledgement(m, batch->why);
		if (i < batch->count - 1)
			continue;
		for (size_t k = 0; k < i; k++)
			if (batch->error[k] == UNANSWERED)
				batch->error[k] = 0;
		return true;
	}
	return false;
}

bool netlink_run(struct netlink *nl, struct netlink_batch *batch)
{
	uint32_t first = nl->seq + 1;
	uint8_t buf[RECEIVE_BYTES] __attribute__((aligned(8)));
	uint64_t deadline = 0;
	int rc;

	if (batch->bad || batch->count == 0)
		return !batch->bad;
	number_messages(nl, batch);
	rc = send_bytes(nl, batch->bytes, batch->len);
	secret_wipe(batch->bytes, batch->len);
	for (bool done = rc != 0; !done;) {
		ssize_t n = receive_until(nl, buf, &deadline);

		if (n < 0)
			break;
		done = take_answers(batch, first, buf, (int)n);
	}
	for (size_t i = 0; i < batch->count; i++) {
		if (batch->error[i] == UNANSWERED)
			batch->error[i] = rc != 0 ? rc : ETIMEDOUT;
		nl->refused += batch->error[i] != 0;
	}
	return netlink_batch_error(batch) == 0;
}

int netlink_query(struct netlink *nl, struct nlmsghdr *request, netlink_message_fn *fn,
		  void *context, char *why)
{
	uint64_t deadline = 0;
	uint8_t *buf = secret_alloc(RECEIVE_BYTES); /* answers about SAs have keys in them */
	bool dump = (request->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	int rc = buf == NULL ? ENOMEM : 0;
	bool done = rc != 0;

	if (why != NULL)
		why[0] = '\0';
	/* a dump ends by NLMSG_DONE, anything else by its acknowledgement */
	request->nlmsg_flags |= dump ? NLM_F_REQUEST : NLM_F_REQUEST | NLM_F_ACK;
	request->nlmsg_seq = ++nl->seq;
	request->nlmsg_pid = nl->port;
	nl->requests++;
	if (!done && (rc = send_bytes(nl, request, request->nlmsg_len)) != 0)
		done = true;
	while (!done) {
		ssize_t n = receive_until(nl, buf, &deadline);
		int rest = (int)n;

		if (n < 0) {
			rc = errno;
			break;
		}
		for (struct nlmsghdr *m = (struct nlmsghdr *)(void *)buf;
		     !done && mnl_nlmsg_ok(m, rest); m = mnl_nlmsg_next(m, &rest)) {
			if (m->nlmsg_seq != nl->seq)
				continue; /* the late answer to a request that had timed out */
			if (m->nlmsg_type == NLMSG_DONE) {
				done = true;
			} else if (m->nlmsg_type == NLMSG_ERROR) {
				rc = acknowledgement(m, why);
				done = true;
			} else {
				fn(m, context);
			}
		}
	}
	nl->refused += rc != 0;
	secret_free(buf);
	return rc;
}

bool netlink_events(struct netlink *nl, netlink_message_fn *fn, void *context)
{
	uint8_t buf[RECEIVE_BYTES] __attribute__((aligned(8)));
	bool complete = true;

	for (int i = 0; i < EVENTS_AT_ONCE; i++) {
		ssize_t n = receive(nl, buf, MSG_DONTWAIT);
		int rest = (int)n;

		if (n < 0 && errno == ENOBUFS) {
			complete = false;
			continue;
		}
		if (n < 0)
			break;
		for (struct nlmsghdr *m = (struct nlmsghdr *)(void *)buf; mnl_nlmsg_ok(m, rest);
		     m = mnl_nlmsg_next(m, &rest))
			fn(m, context);
	}
	return complete;
}
