/*
 * How long a counter stands still while it should not: finds the stalls of a flow.
 *
 *   stalls FILE SECONDS        FILE: a number, such as a link's statistics/rx_bytes
 *
 * Looks every 2 ms. A stall is the time during which the counter was seen to be the same; what
 * happened while this program itself did not run is not known and not counted as one, but
 * reported as `blind_ms`. Prints JSON; `worst` has the longest stalls and when they ended.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STEP_NS = 2000000, WORST = 10 };

struct stall {
	double at, ms;
};

static struct stall worst[WORST];
static unsigned long over_50, over_20;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool look(int fd, char value[32])
{
	ssize_t n = pread(fd, value, 31, 0);

	if (n <= 0)
		return false;
	value[n] = 0;
	return true;
}

static void keep(double at, double ms)
{
	int i = WORST - 1;

	over_20 += ms > 20;
	over_50 += ms > 50;
	if (ms <= worst[i].ms)
		return;
	for (; i > 0 && worst[i - 1].ms < ms; i--)
		worst[i] = worst[i - 1];
	worst[i] = (struct stall){ at, ms };
}

static double watch(int fd, double seconds)
{
	char last[32] = "", value[32];
	double start = now(), seen = start, same = start, before = start, blind = 0, t;

	while ((t = now()) < start + seconds && look(fd, value)) {
		if (t - before > blind)
			blind = t - before;
		before = t;
		if (strcmp(value, last) == 0) {
			same = t;
		} else {
			keep(t - start, (same - seen) * 1e3);
			strcpy(last, value);
			seen = same = t;
		}
		nanosleep(&(struct timespec){ 0, STEP_NS }, NULL);
	}
	keep(t - start, (same - seen) * 1e3); /* one that never ended */
	return blind * 1e3;
}

int main(int argc, char **argv)
{
	struct sched_param first = { .sched_priority = 1 };
	int fd = argc == 3 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	double blind;

	if (fd < 0) {
		fprintf(stderr, "usage: stalls FILE SECONDS\n");
		return 2;
	}
	/* the busier the machine, the more it matters to look in time */
	if (sched_setscheduler(0, SCHED_FIFO, &first))
		perror("stalls: without real-time priority");
	blind = watch(fd, atof(argv[2]));
	printf("{\"longest_ms\":%.1f,\"over_20ms\":%lu,\"over_50ms\":%lu,\"blind_ms\":%.1f,\"worst\":[",
	       worst[0].ms, over_20, over_50, blind);
	for (int i = 0; i < WORST && worst[i].ms > 0; i++)
		printf("%s{\"at_s\":%.2f,\"ms\":%.1f}", i ? "," : "", worst[i].at, worst[i].ms);
	printf("]}\n");
	return 0;
}
