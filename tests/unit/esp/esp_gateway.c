/*
 * A gateway without IKE: one user-space back end, told what to do by lines on its standard
 * input, answering and reporting events on its standard output. For tests/lab/20-esp-backend.sh.
 *
 *   esp_gateway LOCAL REMOTE [gather]
 *   policy REQID trap|drop|pass|protect LOCAL_TS REMOTE_TS [transport] [mtu=N] [peer=ADDRESS]
 *   unpolicy REQID
 *   sa ID REQID in|out|both SPI_IN SPI_OUT LOCAL_TS REMOTE_TS [OPTION...]
 *       cbc chacha esn transport udp window=N packets=N tfc=N nodf encap-dscp decap-dscp peer=ADDRESS
 *   rm ID in|out|both
 *   usage ID, udp PORT [alone], ike BYTES, status, describe, settle, close keep|remove
 *       alone: no other socket can be bound beside it; ike: a message to the peer from the newest socket
 *   longest: how much of the processor's time the back end has taken at once at most since it was last asked,
 *       in microseconds
 *
 * A peer=ADDRESS stands in place of REMOTE.
 * The keys of an SA are made from its SPI, so two gateways that name the same SPI agree.
 */
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "crypto/esp_aead.h"
#include "esp/esp.h"

enum { WORDS_MAX = 24, SAS_MAX = 131072, IKE_MAX = 8192, MARKER = 4, SHOWN_MAX = 32 };

static struct backend *backend;
static struct ip_endpoint local, remote;
static struct child_sa sas[SAS_MAX];
static int udp_fd = -1; /* the newest */
static uint64_t longest_us;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

static void on_acquire(void *context, uint32_t reqid, const struct traffic_selector *from,
		       const struct traffic_selector *to)
{
	char a[TS_TEXT], b[TS_TEXT];

	(void)context;
	say("acquire %u %s %s", reqid, ts_format(from, a), ts_format(to, b));
}

static void on_expire(void *context, uint32_t spi, enum sa_direction direction, bool hard)
{
	(void)context;
	say("expire 0x%08x %s %s", spi, direction == SA_IN ? "in" : "out", hard ? "hard" : "soft");
}

static void on_first_packet(void *context, uint32_t child_id)
{
	(void)context;
	say("first_packet %u", child_id);
}

static void on_peer_moved(void *context, uint32_t child_id, const struct ip_endpoint *to)
{
	char text[IP_ENDPOINT_TEXT];

	(void)context;
	say("peer_moved %u %s", child_id, ip_endpoint_format(to, text));
}

static void on_ike(void *context, const struct ip_endpoint *to, const struct ip_endpoint *from,
		   const uint8_t *data, size_t len)
{
	char a[IP_ENDPOINT_TEXT], b[IP_ENDPOINT_TEXT];

	(void)context;
	say("ike %s %s %zu %.*s", ip_endpoint_format(to, a), ip_endpoint_format(from, b), len,
	    (int)(len < SHOWN_MAX ? len : SHOWN_MAX), (const char *)data);
}

/* TS or TS:PROTOCOL:PORT */
static bool read_ts(const char *word, struct ts_list *out)
{
	struct traffic_selector ts;
	struct ip_prefix prefix;
	char text[128], *at;
	unsigned proto = 0, port = 0;

	snprintf(text, sizeof(text), "%s", word);
	at = strchr(text, '@');
	if (at) {
		*at = '\0';
		if (sscanf(at + 1, "%u,%u", &proto, &port) < 1)
			return false;
	}
	if (!ip_prefix_parse(text, &prefix, NULL))
		return false;
	ts = ts_from_prefix(&prefix);
	ts.protocol = (uint8_t)proto;
	if (port)
		ts.port_lo = ts.port_hi = (uint16_t)port;
	out->count = 0;
	return ts_list_add(out, &ts);
}

static unsigned option(char **words, int n, const char *name)
{
	size_t len = strlen(name);

	for (int i = 0; i < n; i++) {
		if (strcmp(words[i], name) == 0)
			return 1;
		if (strncmp(words[i], name, len) == 0 && words[i][len] == '=')
			return (unsigned)strtoul(words[i] + len + 1, NULL, 0);
	}
	return 0;
}

static bool read_peer(char **words, int n, struct ip_address *peer)
{
	for (int i = 0; i < n; i++)
		if (strncmp(words[i], "peer=", 5) == 0)
			return ip_address_parse(words[i] + 5, peer);
	return true;
}

static void make_keys(const struct cipher_suite *suite, struct esp_half *half)
{
	half->encr_key.len = (uint8_t)esp_cipher_encr_key_bytes(suite);
	half->integ_key.len = (uint8_t)esp_cipher_integ_key_bytes(suite);
	for (size_t i = 0; i < KEY_MAX; i++) {
		half->encr_key.bytes[i] = (uint8_t)(half->spi + i * 7);
		half->integ_key.bytes[i] = (uint8_t)(half->spi + i * 11);
	}
}

static enum sa_direction which(const char *word)
{
	return strcmp(word, "in") == 0 ? SA_IN : strcmp(word, "out") == 0 ? SA_OUT : SA_BOTH;
}

static void result(bool ok, const struct backend_error *err)
{
	if (ok)
		say("ok");
	else
		say("error %s", err->text);
}

static void command_policy(char **w, int n)
{
	static const char *const actions[] = { "trap", "drop", "pass", "protect" };
	struct sa_policy p = { .local = local.address, .remote = remote.address };
	struct backend_error err = { "usage" };

	if (n < 5 || !read_ts(w[3], &p.local_ts) || !read_ts(w[4], &p.remote_ts) || !read_peer(w, n, &p.remote)) {
		result(false, &err);
		return;
	}
	p.reqid = (uint32_t)strtoul(w[1], NULL, 0);
	for (unsigned i = 0; i < 4; i++)
		if (strcmp(w[2], actions[i]) == 0)
			p.action = (enum policy_action)i;
	p.mode = option(w, n, "transport") ? MODE_TRANSPORT : MODE_TUNNEL;
	p.mtu = option(w, n, "mtu");
	snprintf(p.conn, sizeof(p.conn), "c%u", p.reqid);
	result(backend_ops(backend)->policy_set(backend, &p, &err), &err);
}

static void command_sa(char **w, int n)
{
	struct backend_error err = { "usage" };
	struct child_sa sa = { 0 };

	if (n < 8 || !read_ts(w[6], &sa.local_ts) || !read_ts(w[7], &sa.remote_ts)) {
		result(false, &err);
		return;
	}
	sa.id = (uint32_t)strtoul(w[1], NULL, 0) % SAS_MAX;
	sa.reqid = (uint32_t)strtoul(w[2], NULL, 0);
	sa.in.spi = (uint32_t)strtoul(w[4], NULL, 0);
	sa.out.spi = (uint32_t)strtoul(w[5], NULL, 0);
	snprintf(sa.conn, sizeof(sa.conn), "c%u", sa.reqid);
	sa.mode = option(w, n, "transport") ? MODE_TRANSPORT : MODE_TUNNEL;
	sa.suite.encr = algorithm_find(TRANSFORM_ENCR, ENCR_AES_GCM_16);
	sa.suite.encr_bits = 128;
	if (option(w, n, "chacha")) {
		sa.suite.encr = algorithm_find(TRANSFORM_ENCR, ENCR_CHACHA20_POLY1305);
		sa.suite.encr_bits = 256;
	} else if (option(w, n, "cbc")) {
		sa.suite.encr = algorithm_find(TRANSFORM_ENCR, ENCR_AES_CBC);
		sa.suite.integ = algorithm_find(TRANSFORM_INTEG, INTEG_HMAC_SHA2_256_128);
	}
	sa.suite.esn = option(w, n, "esn");
	make_keys(&sa.suite, &sa.in);
	make_keys(&sa.suite, &sa.out);
	sa.path = (struct esp_path){ local, remote, option(w, n, "udp") };
	if (!read_peer(w, n, &sa.path.remote.address)) {
		result(false, &err);
		return;
	}
	sa.replay_window = option(w, n, "window") ? option(w, n, "window") : 128;
	sa.max_packets = option(w, n, "packets");
	sa.tfc_pad = option(w, n, "tfc");
	sa.no_pmtu_disc = option(w, n, "nodf");
	sa.encap_dscp = option(w, n, "encap-dscp");
	sa.decap_dscp = option(w, n, "decap-dscp");
	sas[sa.id] = sa;
	result(backend_ops(backend)->add(backend, &sa, which(w[3]), &err), &err);
}

static void command_usage(char **w)
{
	const struct child_sa *sa = &sas[strtoul(w[1], NULL, 0) % SAS_MAX];
	struct child_sa_usage u;

	if (!backend_ops(backend)->query(backend, sa, &u)) {
		say("error no such SA");
		return;
	}
	say("usage in=%llu/%llu out=%llu/%llu replay=%llu integrity=%llu",
	    (unsigned long long)u.in_packets, (unsigned long long)u.in_bytes,
	    (unsigned long long)u.out_packets, (unsigned long long)u.out_bytes,
	    (unsigned long long)u.replay_dropped, (unsigned long long)u.integrity_failed);
}

static void command_udp(char **w, int n)
{
	struct backend_error err = { "socket" };
	int on = option(w, n, "alone") ? 0 : 1;
	struct sockaddr_storage ss;
	struct ip_endpoint at = local;
	int fd = socket(at.address.family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len;

	at.port = (uint16_t)strtoul(w[1], NULL, 0);
	local.port = at.port;
	remote.port = 4500;
	len = ip_endpoint_to_sockaddr(&at, &ss);
	result(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0 &&
		       bind(fd, (struct sockaddr *)&ss, len) == 0 &&
		       backend_ops(backend)->udp_socket(backend, fd, &at, &err), &err);
	udp_fd = fd;
}

/* As the daemon sends it: an ICMP error that waits on the socket costs one attempt. */
static void command_ike(char **w)
{
	char message[IKE_MAX] = { 0 };
	struct backend_error err;
	struct sockaddr_storage ss;
	socklen_t len = ip_endpoint_to_sockaddr(&remote, &ss);
	size_t size = MARKER + strtoul(w[1], NULL, 0);
	bool ok = false;

	if (size > sizeof(message))
		size = sizeof(message);
	memset(message + MARKER, 'i', size - MARKER);
	for (int i = 0; i < 2 && !ok; i++)
		ok = sendto(udp_fd, message, size, 0, (struct sockaddr *)&ss, len) == (ssize_t)size;
	snprintf(err.text, sizeof(err.text), "%s", strerror(errno));
	result(ok, &err);
}

static void print_json(json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT);

	say("%s", text ? text : "{}");
	free(text);
	json_decref(o);
}

static bool command(char *line)
{
	const struct backend_ops *ops = backend_ops(backend);
	struct backend_error err = { "unknown command" };
	char *w[WORDS_MAX], *save = NULL;
	int n = 0;

	for (char *t = strtok_r(line, " \n", &save); t && n < WORDS_MAX; t = strtok_r(NULL, " \n", &save))
		w[n++] = t;
	if (n == 0)
		return true;
	if (strcmp(w[0], "policy") == 0) {
		command_policy(w, n);
	} else if (strcmp(w[0], "unpolicy") == 0 && n > 1) {
		ops->policy_remove(backend, (uint32_t)strtoul(w[1], NULL, 0));
		say("ok");
	} else if (strcmp(w[0], "sa") == 0) {
		command_sa(w, n);
	} else if (strcmp(w[0], "rm") == 0 && n > 2) {
		ops->remove(backend, &sas[strtoul(w[1], NULL, 0) % SAS_MAX], which(w[2]));
		say("ok");
	} else if (strcmp(w[0], "usage") == 0 && n > 1) {
		command_usage(w);
	} else if (strcmp(w[0], "udp") == 0 && n > 1) {
		command_udp(w, n);
	} else if (strcmp(w[0], "ike") == 0 && n > 1) {
		command_ike(w);
	} else if (strcmp(w[0], "status") == 0) {
		print_json(ops->status(backend));
	} else if (strcmp(w[0], "describe") == 0) {
		print_json(ops->describe(backend, n > 1));
	} else if (strcmp(w[0], "settle") == 0) {
		esp_backend_settle(backend);
		say("ok");
	} else if (strcmp(w[0], "longest") == 0) {
		say("longest %llu", (unsigned long long)longest_us);
		longest_us = 0;
	} else if (strcmp(w[0], "close") == 0 && n > 1) {
		ops->close(backend, strcmp(w[1], "keep") == 0);
		say("closed");
		return false;
	} else {
		result(false, &err);
	}
	return true;
}

/* Do what complete lines of standard input say; false at its end or when told to close. */
static bool read_commands(void)
{
	static char text[65536];
	static size_t len;
	ssize_t n = read(STDIN_FILENO, text + len, sizeof(text) - 1 - len);
	char *line = text, *end;

	if (n <= 0)
		return false;
	len += (size_t)n;
	text[len] = '\0';
	for (; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		if (!command(line))
			return false;
	}
	len -= (size_t)(line - text);
	memmove(text, line, len);
	return true;
}

/* Of this thread: how busy the machine is does not count. */
static uint64_t processor_us(void)
{
	struct timespec t = { 0 };

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void process(int fd)
{
	uint64_t start = processor_us(), took;

	backend_ops(backend)->process(backend, fd);
	took = processor_us() - start;
	if (took > longest_us)
		longest_us = took;
}

int main(int argc, char **argv)
{
	const struct backend_events events = {
		.acquire = on_acquire, .expire = on_expire, .first_packet = on_first_packet,
		.peer_moved = on_peer_moved, .ike_datagram = on_ike,
	};
	const struct log_config log = { .level = LOG_LEVEL_DEBUG, .to_stderr = true };
	const struct esp_options options = { .gather = argc > 3 && strcmp(argv[3], "gather") == 0 };
	struct backend_error err;

	log_open(&log);
	if (argc < 3 || !ip_address_parse(argv[1], &local.address) ||
	    !ip_address_parse(argv[2], &remote.address))
		return 2;
	backend = esp_backend_new(&events, &options, &err);
	if (!backend) {
		say("error %s", err.text);
		return 1;
	}
	say("ready");
	for (;;) {
		struct pollfd p[4] = { { .fd = STDIN_FILENO, .events = POLLIN } };
		int fds[3];
		size_t n = backend_ops(backend)->fds(backend, fds, 3);

		for (size_t i = 0; i < n; i++)
			p[i + 1] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
		if (poll(p, n + 1, -1) < 0 && errno != EINTR)
			return 1;
		for (size_t i = 1; i <= n; i++)
			if (p[i].revents)
				process(p[i].fd);
		if (p[0].revents && !read_commands())
			return 0;
	}
}
