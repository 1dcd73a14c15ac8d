/* The queue between two threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>

#include "esp/ring.h"

enum { RECORDS = 200000 };

static void records_come_in_order_and_whole(void **state)
{
	struct ring r;
	uint8_t data[200];
	size_t len;

	(void)state;
	assert_true(ring_init(&r, 1024));
	assert_null(ring_peek(&r, &len));
	for (unsigned i = 0; i < 5000; i++) { /* lengths that wrap at every offset */
		size_t n = i % sizeof(data);
		void *slot = ring_reserve(&r, n);

		assert_non_null(slot);
		memset(data, (int)i, n);
		memcpy(slot, data, n);
		assert_null(ring_peek(&r, &len)); /* not handed over yet */
		ring_commit(&r);
		slot = (void *)(uintptr_t)ring_peek(&r, &len);
		assert_non_null(slot);
		assert_int_equal(len, n);
		assert_memory_equal(slot, data, n);
		ring_pop(&r);
	}
	ring_free(&r);
}

static void full_ring_refuses(void **state)
{
	struct ring r;
	size_t len, n = 0;

	(void)state;
	assert_true(ring_init(&r, 1024));
	assert_null(ring_reserve(&r, 2000));
	while (ring_reserve(&r, 56)) {
		ring_commit(&r);
		n++;
	}
	assert_int_equal(n, 1024 / 64);
	assert_non_null(ring_peek(&r, &len));
	ring_pop(&r);
	assert_non_null(ring_reserve(&r, 56));
	ring_free(&r);
}

static void *produce(void *arg)
{
	struct ring *r = arg;

	for (uint32_t i = 0; i < RECORDS; i++) {
		size_t n = 4 + i % 60;
		uint8_t *slot;

		while (!(slot = ring_reserve(r, n)))
			sched_yield();
		memset(slot, (int)(i & 0xff), n);
		memcpy(slot, &i, 4);
		ring_commit(r);
	}
	return NULL;
}

static void two_threads_lose_nothing(void **state)
{
	struct ring r;
	pthread_t t;

	(void)state;
	assert_true(ring_init(&r, 4096));
	assert_int_equal(pthread_create(&t, NULL, produce, &r), 0);
	for (uint32_t i = 0; i < RECORDS; i++) {
		const uint8_t *slot;
		uint32_t v;
		size_t len;

		while (!(slot = ring_peek(&r, &len)))
			sched_yield();
		memcpy(&v, slot, 4);
		assert_int_equal(v, i);
		assert_int_equal(len, 4 + i % 60);
		if (len > 4)
			assert_int_equal(slot[len - 1], i & 0xff);
		ring_pop(&r);
	}
	pthread_join(t, NULL);
	ring_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_come_in_order_and_whole),
		cmocka_unit_test(full_ring_refuses),
		cmocka_unit_test(two_threads_lose_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
