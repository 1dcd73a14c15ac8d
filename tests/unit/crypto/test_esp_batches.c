/* Batches of ESP packets: every provider against OpenSSL, sealing from elsewhere, forgeries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/mman.h>

#include "esp_packet.h"

enum { BATCH_MAX = 300 };

/* A provider's two directions, and the packets in its hands. */
struct side {
	const struct esp_provider *provider;
	struct esp_cipher *out, *in;
	struct packet *packets;
	struct esp_packet_job jobs[BATCH_MAX];
};

static struct side side_new(const struct esp_provider *provider, const struct cipher_suite *s,
			    const uint8_t *key, const uint8_t *mac_key)
{
	struct bytes k = BYTES(key, esp_cipher_encr_key_bytes(s));
	struct bytes m = BYTES(mac_key, esp_cipher_integ_key_bytes(s));
	struct side side = { .provider = provider };

	side.out = esp_provider_new(provider, s, k, m, false);
	side.in = esp_provider_new(provider, s, k, m, true);
	side.packets = calloc(BATCH_MAX, sizeof(*side.packets));
	assert_non_null(side.out);
	assert_non_null(side.in);
	assert_non_null(side.packets);
	return side;
}

static void side_free(struct side *side)
{
	esp_cipher_free(side->out);
	esp_cipher_free(side->in);
	free(side->packets);
}

static size_t random_below(size_t n)
{
	uint32_t v;

	random_fill(&v, sizeof(v));
	return v % n;
}

static size_t icv_bytes(const struct cipher_suite *s)
{
	return s->integ ? s->integ->icv_bytes : s->encr->icv_bytes;
}

static size_t whole_bytes(const struct cipher_suite *s, size_t len)
{
	return 8 + s->encr->iv_bytes + len + icv_bytes(s);
}

/* The same packet for both sides; the second side's text stands elsewhere if `from_src`. */
static void make_pair(struct side *x, struct side *y, size_t i, const struct cipher_suite *s,
		      size_t len, bool esn, const uint8_t *plain, bool from_src)
{
	struct packet *a = &x->packets[i], *b = &y->packets[i];

	random_fill(a->wire, 24);
	memcpy(b->wire, a->wire, 24);
	packet_init(a, s, esn, len);
	packet_init(b, s, esn, len);
	memcpy(a->job.text, plain, len);
	if (from_src) {
		memset(b->job.text, 0x5a, len);
		b->job.src = plain;
	} else {
		memcpy(b->job.text, plain, len);
	}
	x->jobs[i] = a->job;
	y->jobs[i] = b->job;
}

/*
 * Both sides seal the same `count` packets and then open each other's. One packet in the middle
 * is forged; it alone is refused, and leaves nothing.
 */
static void exchange(struct side *x, struct side *y, const struct cipher_suite *s,
		     const size_t *lens, size_t count, bool from_src)
{
	static uint8_t plain[BATCH_MAX][TEXT_BYTES_MAX], copy[BATCH_MAX][TEXT_BYTES_MAX];
	static const uint8_t zeros[TEXT_BYTES_MAX];
	size_t forged = count / 2;

	for (size_t i = 0; i < count; i++) {
		random_fill(plain[i], lens[i]);
		memcpy(copy[i], plain[i], lens[i]);
		make_pair(x, y, i, s, lens[i], random_below(2), plain[i], from_src);
	}
	x->provider->seal(x->out, x->jobs, count);
	y->provider->seal(y->out, y->jobs, count);
	for (size_t i = 0; i < count; i++) {
		assert_true(x->jobs[i].ok && y->jobs[i].ok);
		assert_memory_equal(plain[i], copy[i], lens[i]);
		assert_memory_equal(x->packets[i].wire, y->packets[i].wire,
				    whole_bytes(s, lens[i]));
	}
	x->jobs[forged].icv[random_below(icv_bytes(s))] ^= 0x10;
	y->jobs[forged].icv[0] ^= 1;
	x->provider->open(x->in, y->jobs, count);
	y->provider->open(y->in, x->jobs, count);
	for (size_t i = 0; i < count; i++) {
		const uint8_t *want = i == forged ? zeros : plain[i];

		assert_int_equal(x->jobs[i].ok, i != forged);
		assert_int_equal(y->jobs[i].ok, i != forged);
		assert_memory_equal(x->jobs[i].text, want, lens[i]);
		assert_memory_equal(y->jobs[i].text, want, lens[i]);
	}
}

static void for_each_pair(void (*body)(struct side *, struct side *, const struct cipher_suite *))
{
	for (size_t i = 0; i < (size_t)SUITES * PROVIDERS; i++) {
		const struct esp_provider *provider = providers[i % PROVIDERS];
		size_t r = i / PROVIDERS;
		struct cipher_suite s = suite_of(all_suites[r].encr, all_suites[r].bits,
						 all_suites[r].integ);
		uint8_t key[36], mac_key[64];
		struct side x, y;

		if (!runs(provider, &s))
			continue;
		random_fill(key, sizeof(key));
		random_fill(mac_key, sizeof(mac_key));
		x = side_new(providers[0], &s, key, mac_key);
		y = side_new(provider, &s, key, mac_key);
		body(&x, &y, &s);
		side_free(&x);
		side_free(&y);
	}
}

static size_t round_up(const struct cipher_suite *s, size_t len)
{
	size_t block = s->encr->block_bytes;

	return block > 1 ? (len + block - 1) / block * block : len;
}

/* Every length to 1,200 bytes, so every place in a group of blocks, and some to 9,000. */
static void sizes(struct side *x, struct side *y, const struct cipher_suite *s)
{
	size_t lens[16], n = 0;
	bool from_src = false;

	for (size_t len = 0; len <= 9000; len += len < 1200 ? 1 : 77) {
		lens[n++] = round_up(s, len);
		if (n < 16 && len <= 8900)
			continue;
		exchange(x, y, s, lens, n, from_src);
		from_src = !from_src;
		n = 0;
	}
}

static void all_sizes(void **state)
{
	(void)state;
	for_each_pair(sizes);
}

static void batches(struct side *x, struct side *y, const struct cipher_suite *s)
{
	static const size_t counts[] = { 1, 2, 3, 4, 7, 8, 9, 16, 17, 63, 64, 65, 67, 128, 129, 300 };

	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		size_t lens[BATCH_MAX];

		for (size_t i = 0; i < counts[c]; i++)
			lens[i] = round_up(s, random_below(random_below(8) ? 300 : 9000));
		exchange(x, y, s, lens, counts[c], c % 2);
	}
}

static void mixed_batches(void **state)
{
	(void)state;
	for_each_pair(batches);
}

/* A job that cannot be done spoils none beside it. */
static void unsound(struct side *x, struct side *y, const struct cipher_suite *s)
{
	static uint8_t plain[64];

	if (!s->integ)
		return;
	for (size_t i = 0; i < 20; i++)
		make_pair(x, y, i, s, 64, true, plain, false);
	y->jobs[3].esp++;
	y->jobs[4].icv++;
	y->jobs[5].len = 60; /* no multiple of AES's block */
	y->jobs[5].icv = y->jobs[5].text + y->jobs[5].len;
	y->provider->seal(y->out, y->jobs, 20);
	for (size_t i = 0; i < 20; i++)
		assert_int_equal(y->jobs[i].ok,
				 i != 3 && i != 4 && (i != 5 || s->encr->id == ENCR_NULL));
}

static void unsound_jobs(void **state)
{
	(void)state;
	for_each_pair(unsound);
}

/* Packets that end where readable memory ends, and others that begin where it begins. */
static void edges(struct side *x, struct side *y, const struct cipher_suite *s)
{
	enum { ROOM = 4096 };
	uint8_t *map = mmap(NULL, 3 * ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)x;
	assert_true(map != MAP_FAILED);
	assert_int_equal(mprotect(map + ROOM, ROOM, PROT_READ | PROT_WRITE), 0);
	for (size_t want = 0; want < 700; want++) {
		size_t len = round_up(s, want), whole = whole_bytes(s, len);
		uint8_t *at = map + ROOM + (want % 2 ? 0 : ROOM - whole);
		struct esp_packet_job jobs[16];

		random_fill(at, whole);
		for (size_t i = 0; i < 16; i++) {
			packet_init(&y->packets[i], s, want % 4 < 2, len);
			jobs[i] = y->packets[i].job;
		}
		jobs[7].esp = at;
		jobs[7].iv = at + 8;
		jobs[7].text = jobs[7].iv + s->encr->iv_bytes;
		jobs[7].icv = jobs[7].text + len;
		y->provider->seal(y->out, jobs, 16);
		y->provider->open(y->in, jobs, 16);
		assert_true(jobs[7].ok);
	}
	munmap(map, 3 * ROOM);
}

static void edges_of_memory(void **state)
{
	(void)state;
	for_each_pair(edges);
}

struct thread {
	pthread_t id;
	const struct cipher_suite *suite;
	struct esp_cipher *out, *in;
	struct packet packets[20];
	size_t good;
};

static void *thread_run(void *arg)
{
	struct thread *t = arg;
	struct esp_packet_job jobs[20];

	for (int round = 0; round < 200; round++) {
		for (size_t i = 0; i < 20; i++) {
			memset(t->packets[i].wire, round, 24);
			packet_init(&t->packets[i], t->suite, true, 160);
			memset(t->packets[i].job.text, (int)i, 160);
			jobs[i] = t->packets[i].job;
		}
		esp_cipher_seal(t->out, jobs, 20);
		esp_cipher_open(t->in, jobs, 20);
		for (size_t i = 0; i < 20; i++)
			t->good += jobs[i].ok && jobs[i].text[0] == i && jobs[i].text[159] == i;
	}
	return NULL;
}

/* Threads with ciphers of their own share nothing that either can see. */
static void threads(void **state)
{
	static struct thread t[3];
	uint8_t key[36], mac_key[64];

	(void)state;
	for (size_t r = 0; r < SUITES; r++) {
		struct cipher_suite s = suite_of(all_suites[r].encr, all_suites[r].bits,
						 all_suites[r].integ);
		for (size_t i = 0; i < 3; i++) {
			random_fill(key, sizeof(key));
			random_fill(mac_key, sizeof(mac_key));
			struct bytes k = BYTES(key, esp_cipher_encr_key_bytes(&s));
			struct bytes m = BYTES(mac_key, esp_cipher_integ_key_bytes(&s));

			t[i].suite = &s;
			t[i].good = 0;
			t[i].out = esp_cipher_new(&s, k, m, false);
			t[i].in = esp_cipher_new(&s, k, m, true);
			assert_non_null(t[i].out);
			assert_non_null(t[i].in);
			esp_cipher_prefetch(t[i].out, esp_cipher_bytes(&s));
		}
		for (size_t i = 0; i < 3; i++)
			assert_int_equal(pthread_create(&t[i].id, NULL, thread_run, &t[i]), 0);
		for (size_t i = 0; i < 3; i++) {
			pthread_join(t[i].id, NULL);
			assert_int_equal(t[i].good, 200 * 20);
			esp_cipher_free(t[i].out);
			esp_cipher_free(t[i].in);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_sizes),
		cmocka_unit_test(mixed_batches),
		cmocka_unit_test(unsound_jobs),
		cmocka_unit_test(edges_of_memory),
		cmocka_unit_test(threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
