/* When packets of TUN go out: TUN is one end of a socket pair, the peer a UDP socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "esp/worker.h"

enum { PAYLOAD = 40, SPI_OUT = 0x01000001 };

static struct {
	struct esp_worker w;
	struct policy_state state;
	struct policy_list *policies;
	struct sa_list *list;
	struct sa_out *out;
	int tun, peer; /* the host's end of TUN; where ESP arrives */
	uint8_t next;  /* in the next packet */
} t;

static int udp_socket(struct ip_endpoint *local)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(a);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	assert_true(ip_endpoint_from_sockaddr((struct sockaddr *)&a, local));
	return fd;
}

static int setup(void **state)
{
	struct child_sa sa = { .id = 7, .reqid = 16384, .mode = MODE_TUNNEL };
	struct sa_policy policy = { .reqid = 16384, .action = POLICY_PROTECT, .mode = MODE_TUNNEL };
	struct ip_prefix all;
	struct traffic_selector any;
	struct sa_path path;
	const char *why = "";
	int pair[2];

	(void)state;
	memset(&t, 0, sizeof(t));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	t.tun = pair[1];
	assert_true(worker_init(&t.w, 0, pair[0], NULL));
	assert_true(ip_prefix_parse("0.0.0.0/0", &all, NULL));
	any = ts_from_prefix(&all);
	ts_list_add(&sa.local_ts, &any);
	sa.remote_ts = policy.local_ts = policy.remote_ts = sa.local_ts;
	sa.out.spi = SPI_OUT;
	sa.suite.encr = algorithm_find(TRANSFORM_ENCR, ENCR_AES_GCM_16);
	sa.suite.encr_bits = 128;
	sa.out.encr_key.len = (uint8_t)esp_cipher_encr_key_bytes(&sa.suite);
	sa.path.udp_encap = true;
	t.peer = udp_socket(&sa.path.remote);
	atomic_store(&t.w.udp[0].fd, udp_socket(&sa.path.local));
	t.out = sa_out_new(&sa, &why);
	if (!t.out)
		fail_msg("%s", why);
	path = sa_path_make(&sa.path, 0);
	sa_out_set_path(t.out, &path);
	t.list = sa_list_with(NULL, t.out);
	t.state.reqid = 16384;
	atomic_store(&t.state.out, t.list);
	t.policies = policy_list_replace(NULL, &t.state, NULL, &policy);
	assert_true(t.list && t.policies);
	t.w.batch_policies = t.policies;
	t.w.batch_epoch = 1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(atomic_load(&t.w.udp[0].fd));
	close(t.peer);
	close(t.tun);
	close(t.w.tun_fd);
	worker_close(&t.w);
	policy_list_free(t.policies);
	free(t.list);
	sa_out_free(t.out);
	return 0;
}

/* `n` packets wait on TUN when the worker looks there: how many calls send them all. */
static uint64_t calls_for(size_t n)
{
	uint64_t sends = counter_get(&t.w.wire_sends), packets = counter_get(&t.w.out_packets);
	uint8_t esp[256];

	for (size_t i = 0; i < n; i++) {
		uint8_t data[sizeof(struct virtio_net_hdr) + IPV4_HEADER + PAYLOAD] = { 0 };
		struct ip_header_fields h = { .protocol = IPPROTO_UDP, .payload_len = PAYLOAD };

		assert_true(ip_address_parse("10.1.0.1", &h.src) && ip_address_parse("10.2.0.1", &h.dst));
		ip_header_put(data + sizeof(struct virtio_net_hdr), &h);
		assert_int_equal(send(t.tun, data, sizeof(data), 0), sizeof(data));
	}
	outbound_ready(&t.w);
	assert_int_equal(counter_get(&t.w.out_packets) - packets, n);
	for (size_t i = 0; i < n; i++) { /* in order */
		assert_true(recv(t.peer, esp, sizeof(esp), 0) > ESP_HEADER);
		assert_int_equal(load_be32(esp), SPI_OUT);
		assert_int_equal(load_be32(esp + 4), ++t.next);
	}
	assert_true(recv(t.peer, esp, sizeof(esp), 0) < 0);
	return counter_get(&t.w.wire_sends) - sends;
}

static void what_waits_goes_out_together(void **state)
{
	(void)state;
	assert_int_equal(calls_for(9), 1);
	assert_int_equal(calls_for(9), 1);
}

static void after_a_lone_packet_the_next_waits_for_no_other(void **state)
{
	(void)state;
	assert_int_equal(calls_for(1), 1);
	assert_int_equal(calls_for(9), 2); /* the first, then the rest */
	assert_int_equal(calls_for(9), 1); /* they come in numbers now */
	assert_int_equal(calls_for(1), 1);
	assert_int_equal(calls_for(0), 0);
	assert_int_equal(calls_for(2), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_waits_goes_out_together, setup, teardown),
		cmocka_unit_test_setup_teardown(after_a_lone_packet_the_next_waits_for_no_other, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
