/* secret.h: many objects, wiping, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/secret.h"

#if defined(__SANITIZE_ADDRESS__)
#define ON_HEAP 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ON_HEAP 1
#endif
#endif

static bool all_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != 0)
			return false;
	}
	return true;
}

static void zeroed_and_apart(void **state)
{
	static const size_t sizes[] = { 0, 1, 63, 64, 65, 1023, 1024, 1025, 4096, 4100, 8192, 8193,
					32768, 32769, 300000, 3000000 };
	enum { N = sizeof(sizes) / sizeof(sizes[0]) };
	uint8_t *p[N];

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < N; i++) {
			p[i] = secret_alloc(sizes[i]);
			assert_non_null(p[i]);
			assert_int_equal((uintptr_t)p[i] % SECRET_ALIGN, 0);
			assert_true(all_zero(p[i], sizes[i]));
			memset(p[i], (int)i + 1, sizes[i]);
		}
		for (size_t i = 0; i < N; i++) {
			for (size_t k = 0; k < sizes[i]; k++)
				assert_int_equal(p[i][k], i + 1);
		}
		for (size_t i = 0; i < N; i++)
			secret_free(p[i]);
	}
	secret_free(NULL);
}

/* Every object of a random life: nothing overlaps, everything comes back zeroed. */
static void random_life(void **state)
{
	enum { SLOTS = 500, STEPS = 20000 };
	static struct {
		uint8_t *p;
		size_t size;
	} live[SLOTS];
	unsigned seed = 7;

	(void)state;
	for (int step = 0; step < STEPS; step++) {
		unsigned i = (unsigned)rand_r(&seed) % SLOTS;

		if (live[i].p) {
			assert_int_equal(live[i].p[0], i & 0xff);
			assert_int_equal(live[i].p[live[i].size - 1], i & 0xff);
			secret_free(live[i].p);
			live[i].p = NULL;
			continue;
		}
		live[i].size = 1 + (unsigned)rand_r(&seed) % 6000;
		live[i].p = secret_alloc(live[i].size);
		assert_non_null(live[i].p);
		assert_true(all_zero(live[i].p, live[i].size));
		memset(live[i].p, (int)i & 0xff, live[i].size);
	}
	for (int i = 0; i < SLOTS; i++)
		secret_free(live[i].p);
}

static long resident_kb(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

/* In a child with its small limit of locked memory: only a warning. */
static void hundred_thousand(void **state)
{
	enum { COUNT = 100000, SIZE = 4000 };
	pid_t pid;
	int status;

	(void)state;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct rlimit limit = { .rlim_cur = 65536, .rlim_max = 65536 };
		void **p = calloc(COUNT, sizeof(*p));
		long before = resident_kb();

		(void)!freopen("/dev/null", "w", stderr);
		/* Privileges lift the limit, so they go. */
		if (!p || setrlimit(RLIMIT_MEMLOCK, &limit) < 0 ||
		    (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0))
			_exit(2);
		secret_init();
		for (int i = 0; i < COUNT; i++) {
			p[i] = secret_alloc(SIZE);
			if (!p[i])
				_exit(3);
			memset(p[i], 1, SIZE);
		}
#ifndef ON_HEAP
		/* 400 MB of objects; a page for each would be 800. */
		if (resident_kb() - before > 430000)
			_exit(4);
#else
		(void)before;
#endif
		for (int i = 0; i < COUNT; i++)
			secret_free(p[i]);
		free(p);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* With AddressSanitizer every secret is on the heap, and there is no mapping to look at. */
#ifndef ON_HEAP
/* What the kernel says of the mapping: locked, not dumped, wiped on fork. */
static void mapping_flags(void **state)
{
	void *p = secret_alloc(4000);
	FILE *maps = fopen("/proc/self/smaps", "r");
	char line[512];
	bool here = false, found = false;
	unsigned long lo, hi;

	(void)state;
	assert_non_null(p);
	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx ", &lo, &hi) == 2)
			here = (uintptr_t)p >= lo && (uintptr_t)p < hi;
		if (here && strncmp(line, "VmFlags:", 8) == 0) {
			found = true;
			assert_non_null(strstr(line, " dd"));
			assert_non_null(strstr(line, " wf"));
		}
	}
	fclose(maps);
	assert_true(found);
	secret_free(p);
}

/* A freed object is wiped at once: its chunk still stands as another object lives in it. */
static void wiped_when_freed(void **state)
{
	void *neighbour = secret_alloc(200);
	volatile uint8_t *p = secret_alloc(200);

	(void)state;
	assert_non_null(neighbour);
	assert_non_null((void *)p);
	for (int i = 0; i < 200; i++)
		p[i] = 0xa5;
	secret_free((void *)p);
	for (int i = 0; i < 200; i++)
		assert_int_equal(p[i], 0);
	secret_free(neighbour);
}

static void forked_child_sees_zeros(void **state)
{
	uint8_t *p = secret_alloc(100);
	int status;
	pid_t pid;

	(void)state;
	assert_non_null(p);
	memset(p, 0x5a, 100);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		uint8_t *q = secret_alloc(100);
		bool ok = all_zero(p, 100) && q && q != p;

		secret_free(q);
		secret_free(p);
		_exit(ok ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(p[99], 0x5a);
	secret_free(p);
}
#endif

static void keys(void **state)
{
	uint8_t raw[KEY_MAX + 1];
	struct key k;

	(void)state;
	memset(raw, 7, sizeof(raw));
	assert_true(key_set(&k, raw, KEY_MAX));
	assert_int_equal(key_bytes(&k).len, KEY_MAX);
	assert_false(key_set(&k, raw, KEY_MAX + 1));
	assert_int_equal(k.len, 0);
	assert_true(all_zero(k.bytes, KEY_MAX));
	assert_true(key_set(&k, NULL, 0));
	secret_wipe(raw, sizeof(raw));
	assert_true(all_zero(raw, sizeof(raw)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zeroed_and_apart), cmocka_unit_test(random_life),
		cmocka_unit_test(hundred_thousand), cmocka_unit_test(keys),
#ifndef ON_HEAP
		cmocka_unit_test(mapping_flags), cmocka_unit_test(wiped_when_freed),
		cmocka_unit_test(forked_child_sees_zeros),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
