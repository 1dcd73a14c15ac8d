/*
 * Sends and counts small UDP packets, in batches.
 *
 *   udppps recv PORT IDLE                     until IDLE seconds pass without a packet
 *   udppps send ADDR PORT SIZE SECONDS PPS    PPS 0: as fast as it goes
 *
 * Prints {"packets":N,"seconds":S,"pps":R}; the receiver times from its first packet to its last.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 32

static struct mmsghdr msgs[BATCH];
static struct iovec iovs[BATCH];
static char buffers[BATCH][2048];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void prepare(size_t size)
{
	for (int i = 0; i < BATCH; i++) {
		iovs[i] = (struct iovec){ buffers[i], size };
		msgs[i].msg_hdr.msg_iov = &iovs[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
}

static int report(unsigned long n, double seconds)
{
	printf("{\"packets\":%lu,\"seconds\":%.3f,\"pps\":%.0f}\n", n, seconds, n / seconds);
	return 0;
}

static int receive(int s, double idle)
{
	struct timeval tv = { (int)idle, (int)((idle - (int)idle) * 1e6) };
	double start = now(), first = 0, last = 0;
	unsigned long n = 0;

	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	prepare(sizeof(buffers[0]));
	for (;;) {
		int got = recvmmsg(s, msgs, BATCH, MSG_WAITFORONE, NULL);

		if (got <= 0) {
			if (n || now() - start > 5)
				break;
			continue;
		}
		last = now();
		if (!n)
			first = last;
		n += got;
	}
	return report(n, last > first ? last - first : 1);
}

static int transmit(int s, double seconds, double pps)
{
	double start = now(), t;
	unsigned long n = 0;

	while ((t = now()) < start + seconds) {
		int want = BATCH;

		if (pps > 0) {
			double due = (t - start) * pps - n;

			if (due < 1) {
				nanosleep(&(struct timespec){ 0, 50000 }, NULL);
				continue;
			}
			if (due < BATCH)
				want = (int)due;
		}
		int sent = sendmmsg(s, msgs, want, 0);

		if (sent > 0)
			n += sent;
	}
	return report(n, now() - start);
}

int main(int argc, char **argv)
{
	int s = socket(AF_INET, SOCK_DGRAM, 0), size = 4 << 20;
	struct sockaddr_in a = { .sin_family = AF_INET };

	if (argc == 4 && !strcmp(argv[1], "recv")) {
		a.sin_port = htons(atoi(argv[2]));
		setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
		if (bind(s, (struct sockaddr *)&a, sizeof(a)))
			return perror("bind"), 1;
		return receive(s, atof(argv[3]));
	}
	if (argc == 7 && !strcmp(argv[1], "send")) {
		a.sin_port = htons(atoi(argv[3]));
		setsockopt(s, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
		if (inet_pton(AF_INET, argv[2], &a.sin_addr) != 1 || connect(s, (struct sockaddr *)&a, sizeof(a)))
			return perror("connect"), 1;
		size = atoi(argv[4]);
		prepare(size > 0 && size <= 1472 ? size : 64);
		return transmit(s, atof(argv[5]), atof(argv[6]));
	}
	fprintf(stderr, "usage: udppps recv PORT IDLE | send ADDR PORT SIZE SECONDS PPS\n");
	return 2;
}
