/*
 * What sealing or opening one packet costs: every provider, suite, size and direction, with one
 * and two threads, one key and many. Nanoseconds a packet, the median of batches, so that a
 * busy machine spoils few; rounds with one and with two threads take turns.
 *
 *   build/tests/bench/cipher [--json] [--keys N] [--rounds N] [--provider TEXT] [--suite TEXT]
 *
 * TEXT selects rows whose name contains it. With many keys every packet has a key of its own,
 * taken at random and prefetched some packets ahead, as a worker does.
 */
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/secret.h"
#include "build-config.h"
#include "crypto/esp_provider.h"

enum { BATCH = 64, SAMPLES_MAX = 4096, THREADS_MAX = 2, AHEAD = 8, ROUND_NS = 2000000 };
enum { WIRE_MAX = 8 + 16 + 9008 + 32 };

static struct {
	bool json;
	size_t keys;
	int rounds;
	const char *provider, *suite;
} options = { .keys = 100000, .rounds = 7, .provider = "", .suite = "" };

static const struct {
	uint16_t encr, bits, integ;
} suites[] = {
	{ ENCR_AES_GCM_16, 128, 0 },
	{ ENCR_AES_GCM_16, 192, 0 },
	{ ENCR_AES_GCM_16, 256, 0 },
	{ ENCR_CHACHA20_POLY1305, 256, 0 },
	{ ENCR_AES_CBC, 128, INTEG_HMAC_SHA2_256_128 },
	{ ENCR_AES_CBC, 192, INTEG_HMAC_SHA2_384_192 },
	{ ENCR_AES_CBC, 256, INTEG_HMAC_SHA2_512_256 },
	{ ENCR_NULL, 0, INTEG_HMAC_SHA2_256_128 },
};
static const size_t sizes[] = { 64, 256, 1420, 9000 };

static const struct esp_provider *const providers[] = {
	&esp_provider_openssl,
#ifdef HAVE_IPSEC_MB
	&esp_provider_mb,    &esp_provider_burst,
#endif
#ifdef __x86_64__
	&esp_provider_vaes,
#endif
};

/* The ciphers of all threads; a thread has an equal share of them. */
struct keys {
	size_t count, bytes; /* bytes: of each */
	struct esp_cipher **out, **in;
};

struct thread {
	pthread_t id;
	int cpu;
	bool opening;
	struct esp_cipher **out, **in;
	size_t keys, key_bytes;
	uint64_t seed;
	struct esp_packet_job jobs[BATCH];
	size_t key_of[BATCH + AHEAD];
	uint8_t (*wire)[WIRE_MAX];
	double samples[SAMPLES_MAX]; /* ns a packet */
	size_t count;
};

static struct thread threads[THREADS_MAX];
static atomic_int waiting;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t random_next(uint64_t *seed)
{
	*seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return *seed >> 33;
}

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "cipher: %s\n", what);
	exit(1);
}

static void suite_name(const struct cipher_suite *s, char *buf, size_t size)
{
	int n = snprintf(buf, size, "%s", s->encr->name);

	if (s->encr_bits > 0)
		n += snprintf(buf + n, size - (size_t)n, "_%u", s->encr_bits);
	if (s->integ)
		snprintf(buf + n, size - (size_t)n, "+%s", s->integ->name);
}

static struct keys keys_new(const struct esp_provider *provider, const struct cipher_suite *s,
			    size_t count)
{
	struct keys k = { .count = count, .bytes = provider->bytes(s) };
	uint64_t seed = 7;
	uint8_t key[36], mac[64];

	k.out = calloc(count, sizeof(*k.out));
	k.in = calloc(count, sizeof(*k.in));
	if (!k.out || !k.in)
		fail("no memory");
	for (size_t i = 0; i < count; i++) {
		for (size_t b = 0; b < sizeof(key); b++)
			key[b] = (uint8_t)random_next(&seed);
		memset(mac, key[0], sizeof(mac));
		struct bytes encr = BYTES(key, esp_cipher_encr_key_bytes(s));
		struct bytes integ = BYTES(mac, esp_cipher_integ_key_bytes(s));
		k.out[i] = esp_provider_new(provider, s, encr, integ, false);
		k.in[i] = esp_provider_new(provider, s, encr, integ, true);
		if (!k.out[i] || !k.in[i])
			fail("no cipher");
	}
	return k;
}

static void keys_free(struct keys *k)
{
	for (size_t i = 0; i < k->count; i++) {
		esp_cipher_free(k->out[i]);
		esp_cipher_free(k->in[i]);
	}
	free(k->out);
	free(k->in);
}

static void jobs_init(struct thread *t, const struct cipher_suite *s, size_t size)
{
	size_t iv = s->encr->iv_bytes;
	size_t block = s->encr->block_bytes > 4 ? s->encr->block_bytes : 4;
	size_t len = (size + block - 1) / block * block;

	for (size_t i = 0; i < BATCH; i++) {
		uint8_t *wire = t->wire[i];

		memset(wire, (int)i + 1, WIRE_MAX);
		t->jobs[i] = (struct esp_packet_job){
			.aad_len = 8,
			.esp = wire,
			.iv = wire + 8,
			.text = wire + 8 + iv,
			.len = len,
			.icv = wire + 8 + iv + len,
		};
	}
}

static void run_batch(struct thread *t, struct esp_cipher **ciphers, bool opening)
{
	void (*run)(struct esp_cipher *, struct esp_packet_job *, size_t) =
		opening ? esp_cipher_open : esp_cipher_seal;

	if (t->keys == 1) {
		run(ciphers[0], t->jobs, BATCH);
		return;
	}
	for (size_t i = 0; i < AHEAD; i++)
		esp_cipher_prefetch(ciphers[t->key_of[i]], t->key_bytes);
	for (size_t i = 0; i < BATCH; i++) {
		esp_cipher_prefetch(ciphers[t->key_of[i + AHEAD]], t->key_bytes);
		run(ciphers[t->key_of[i]], &t->jobs[i], 1);
	}
}

static void check(const struct thread *t)
{
	for (size_t i = 0; i < BATCH; i++)
		if (!t->jobs[i].ok)
			fail("a packet was refused");
}

static void *thread_run(void *arg)
{
	struct thread *t = arg;
	uint64_t end;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(t->cpu, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	for (atomic_fetch_sub(&waiting, 1); atomic_load(&waiting) > 0;)
		sched_yield();
	end = now_ns() + ROUND_NS;
	while (t->count < SAMPLES_MAX && now_ns() < end) {
		uint64_t start;

		for (size_t i = 0; i < BATCH + AHEAD; i++)
			t->key_of[i] = random_next(&t->seed) % t->keys;
		if (t->opening)
			run_batch(t, t->out, false);
		start = now_ns();
		run_batch(t, t->opening ? t->in : t->out, t->opening);
		t->samples[t->count++] = (double)(now_ns() - start) / BATCH;
		check(t);
	}
	return NULL;
}

static void run_round(int count, bool opening, const struct keys *keys)
{
	size_t share = keys->count > THREADS_MAX ? keys->count / (size_t)count : 1;

	atomic_store(&waiting, count);
	for (int i = 0; i < count; i++) {
		struct thread *t = &threads[i];
		size_t first = (size_t)i * share;

		t->cpu = i;
		t->opening = opening;
		t->keys = share;
		t->key_bytes = keys->bytes;
		t->out = keys->out + first;
		t->in = keys->in + first;
		t->seed = now_ns() + first;
		t->count = 0;
		if (pthread_create(&t->id, NULL, thread_run, t) != 0)
			fail("no thread");
	}
	for (int i = 0; i < count; i++)
		pthread_join(threads[i].id, NULL);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Medians of all rounds with one thread and with two. */
static void measure(bool opening, const struct keys *keys, int count_max, double ns[THREADS_MAX])
{
	static double all[THREADS_MAX][SAMPLES_MAX * 64];
	size_t have[THREADS_MAX] = { 0 };

	for (int round = 0; round < options.rounds; round++) {
		for (int count = 1; count <= count_max; count++) {
			run_round(count, opening, keys);
			for (int i = 0; i < count; i++) {
				struct thread *t = &threads[i];
				size_t room = SAMPLES_MAX * 64 - have[count - 1];
				size_t n = t->count < room ? t->count : room;

				memcpy(all[count - 1] + have[count - 1], t->samples,
				       n * sizeof(double));
				have[count - 1] += n;
			}
		}
	}
	for (int c = 0; c < count_max; c++) {
		if (have[c] == 0)
			fail("no sample");
		qsort(all[c], have[c], sizeof(double), compare);
		ns[c] = all[c][have[c] / 2];
	}
}

static void print_row(const char *provider, const char *suite, bool opening, size_t size,
		      int count, size_t keys, double ns)
{
	static bool more;

	if (options.json)
		printf("%s\n  {\"provider\": \"%s\", \"suite\": \"%s\", \"op\": \"%s\", \"bytes\": %zu,"
		       " \"threads\": %d, \"keys\": %zu, \"ns\": %.1f}",
		       more ? "," : "[", provider, suite, opening ? "open" : "seal", size, count,
		       keys, ns);
	else
		printf("%-16s %-30s %-5s %6zu %8d %8zu %9.1f\n", provider, suite,
		       opening ? "open" : "seal", size, count, keys, ns);
	more = true;
}

static void bench_suite(const struct esp_provider *provider, const struct cipher_suite *s,
			const char *name, size_t keys_count, int count_max)
{
	struct keys keys = keys_new(provider, s, keys_count);
	double ns[THREADS_MAX];

	for (size_t z = 0; z < sizeof(sizes) / sizeof(sizes[0]); z++) {
		for (int op = 0; op < 2; op++) {
			for (int i = 0; i < count_max; i++)
				jobs_init(&threads[i], s, sizes[z]);
			measure(op == 1, &keys, count_max, ns);
			for (int i = 0; i < count_max; i++)
				print_row(provider->name(), name, op == 1, sizes[z], i + 1,
					  keys_count > 2 ? keys_count : 1, ns[i]);
		}
		fflush(stdout);
	}
	keys_free(&keys);
}

static void bench_provider(const struct esp_provider *provider, int count_max)
{
	for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
		struct cipher_suite s = {
			.encr = algorithm_find(TRANSFORM_ENCR, suites[i].encr),
			.encr_bits = suites[i].bits,
			.integ = suites[i].integ ? algorithm_find(TRANSFORM_INTEG, suites[i].integ)
						 : NULL,
		};
		char name[64];

		suite_name(&s, name, sizeof(name));
		if (!strstr(name, options.suite) || !provider->has(&s))
			continue;
		bench_suite(provider, &s, name, THREADS_MAX, count_max);
		if (options.keys > THREADS_MAX)
			bench_suite(provider, &s, name, options.keys, count_max);
	}
}

static bool read_options(int argc, char **argv)
{
	static const struct option table[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "keys", required_argument, NULL, 'k' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "provider", required_argument, NULL, 'p' },
		{ "suite", required_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (c) {
		case 'j': options.json = true; break;
		case 'k': options.keys = strtoul(optarg, NULL, 10); break;
		case 'r': options.rounds = atoi(optarg); break;
		case 'p': options.provider = optarg; break;
		case 's': options.suite = optarg; break;
		default: return false;
		}
	}
	return optind == argc && options.rounds > 0 && options.keys > 0;
}

int main(int argc, char **argv)
{
	cpu_set_t cpus;
	int count_max;

	if (!read_options(argc, argv)) {
		fprintf(stderr, "usage: cipher [--json] [--keys N] [--rounds N]"
				" [--provider TEXT] [--suite TEXT]\n");
		return 2;
	}
	secret_init();
	count_max = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_ISSET(0, &cpus) &&
		    CPU_ISSET(1, &cpus) ? 2 : 1;
	for (int i = 0; i < THREADS_MAX; i++) {
		threads[i].wire = aligned_alloc(64, sizeof(*threads[i].wire) * BATCH);
		if (!threads[i].wire)
			fail("no memory");
	}
	if (!options.json)
		printf("%-16s %-30s %-5s %6s %8s %8s %9s\n", "provider", "suite", "op", "bytes",
		       "threads", "keys", "ns/packet");
	for (size_t i = 0; i < sizeof(providers) / sizeof(providers[0]); i++)
		if (providers[i]->name() && strstr(providers[i]->name(), options.provider))
			bench_provider(providers[i], count_max);
	if (options.json)
		printf("\n]\n");
	for (int i = 0; i < THREADS_MAX; i++)
		free(threads[i].wire);
	return 0;
}
