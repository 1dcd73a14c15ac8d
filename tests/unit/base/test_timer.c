/* timer.h: the wheel against a plain array that is searched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/timer.h"

enum { TIMERS = 300, STEPS = 30000 };

/* The model: when each timer is due, in milliseconds; 0 when it is not armed. */
struct model {
	struct timer_wheel *wheel;
	struct timer timers[TIMERS];
	uint64_t due[TIMERS];
	uint64_t armed_at[TIMERS]; /* the time when it was armed, for those armed late */
	uint64_t start_ms, target_ms, last_ms;
	unsigned fired, seed;
	bool meddle;
};

static uint64_t random_us(unsigned *seed)
{
	/* All scales, from less than a tick to years. */
	unsigned bits = (unsigned)rand_r(seed) % 48;
	uint64_t r = (uint64_t)rand_r(seed) << 31 ^ (uint64_t)rand_r(seed);

	return r & ((UINT64_C(1) << bits) - 1);
}

static uint64_t ceil_ms(uint64_t us)
{
	return us / 1000 + (us % 1000 != 0);
}

static void model_arm(struct model *m, unsigned i, uint64_t now_ms, uint64_t due_us)
{
	timer_arm(m->wheel, &m->timers[i], due_us);
	m->due[i] = ceil_ms(due_us);
	if (m->due[i] < now_ms)
		m->due[i] = now_ms;
}

static void fire(struct timer *timer, void *context)
{
	struct model *m = context;
	unsigned i = (unsigned)(timer - m->timers);

	assert_false(timer->armed);
	assert_true(m->due[i] != 0);
	/* Not early, and in order. */
	assert_true(m->due[i] <= m->target_ms || m->due[i] <= m->start_ms);
	assert_true(m->due[i] >= m->last_ms);
	m->last_ms = m->due[i];
	m->due[i] = 0;
	m->fired++;
	if (!m->meddle)
		return;
	switch (rand_r(&m->seed) % 4) {
	case 0: /* itself, in the future of the one that is running */
		model_arm(m, i, 0, (m->last_ms + 1) * 1000 + random_us(&m->seed));
		break;
	case 1: { /* another one */
		unsigned other = (unsigned)rand_r(&m->seed) % TIMERS;

		timer_cancel(m->wheel, &m->timers[other]);
		m->due[other] = 0;
		break;
	}
	case 2: {
		unsigned other = (unsigned)rand_r(&m->seed) % TIMERS;

		model_arm(m, other, 0, (m->last_ms + 1) * 1000 + random_us(&m->seed));
		break;
	}
	}
}

static void check_next(struct model *m, uint64_t now_us)
{
	uint64_t next = timer_wheel_next_us(m->wheel);
	uint64_t first = UINT64_MAX;

	for (unsigned i = 0; i < TIMERS; i++) {
		if (m->due[i] != 0 && m->due[i] < first)
			first = m->due[i];
	}
	if (first == UINT64_MAX)
		assert_true(next == UINT64_MAX);
	else
		assert_true(next <= first * 1000);
	/* Early, but not so that the host would turn in circles. */
	if (first != UINT64_MAX && first > now_us / 1000)
		assert_true(next > now_us);
}

static void random_operations(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 6; seed++) {
		struct model *m = calloc(1, sizeof(*m));
		uint64_t now_us = UINT64_C(1234567890123) * seed;

		assert_non_null(m);
		m->seed = seed;
		m->wheel = timer_wheel_new(now_us);
		m->meddle = seed % 2 == 0;
		for (unsigned i = 0; i < TIMERS; i++)
			timer_init(&m->timers[i], fire, m);
		for (unsigned step = 0; step < STEPS; step++) {
			unsigned i = (unsigned)rand_r(&m->seed) % TIMERS;

			switch (rand_r(&m->seed) % 4) {
			case 0:
			case 1:
				model_arm(m, i, now_us / 1000,
					  now_us + random_us(&m->seed) -
						  (rand_r(&m->seed) % 8 == 0 ? 5000 : 0));
				break;
			case 2:
				timer_cancel(m->wheel, &m->timers[i]);
				m->due[i] = 0;
				break;
			default:
				m->start_ms = now_us / 1000;
				now_us += random_us(&m->seed) >> (rand_r(&m->seed) % 20);
				m->target_ms = now_us / 1000;
				m->last_ms = 0;
				timer_wheel_advance(m->wheel, now_us);
				for (unsigned k = 0; k < TIMERS; k++)
					assert_true(m->due[k] == 0 || m->due[k] > m->target_ms);
			}
			assert_int_equal(m->timers[i].armed, m->due[i] != 0);
			check_next(m, now_us);
		}
		assert_true(m->fired > 1000);
		timer_wheel_free(m->wheel);
		free(m);
	}
}

struct counter {
	struct timer_wheel *wheel;
	uint64_t again_us;
	unsigned count;
};

static void count_and_rearm(struct timer *timer, void *context)
{
	struct counter *c = context;

	c->count++;
	if (c->again_us)
		timer_arm(c->wheel, timer, c->again_us);
}

/* A handler that arms itself for the past or for now runs once an advance. */
static void rearm_now_does_not_loop(void **state)
{
	struct counter c = { .wheel = timer_wheel_new(5000000) };
	struct timer t;

	(void)state;
	timer_init(&t, count_and_rearm, &c);
	c.again_us = 1;
	timer_arm(c.wheel, &t, 5000000);
	for (unsigned i = 1; i <= 5; i++) {
		assert_true(timer_wheel_next_us(c.wheel) <= 5000000 + i * 1000);
		timer_wheel_advance(c.wheel, 5000000 + i * 1000);
		assert_int_equal(c.count, i);
	}
	timer_cancel(c.wheel, &t);
	timer_wheel_free(c.wheel);
}

/* A timer is never early, even within a tick. */
static void not_early(void **state)
{
	struct counter c = { .wheel = timer_wheel_new(1000) };
	struct timer t;

	(void)state;
	timer_init(&t, count_and_rearm, &c);
	timer_arm(c.wheel, &t, 2001);
	timer_wheel_advance(c.wheel, 2999);
	assert_int_equal(c.count, 0);
	assert_true(timer_wheel_next_us(c.wheel) == 3000);
	timer_wheel_advance(c.wheel, 3000);
	assert_int_equal(c.count, 1);
	timer_wheel_free(c.wheel);
}

static void end_of_time(void **state)
{
	struct counter c = { .wheel = timer_wheel_new(0) };
	struct timer t;

	(void)state;
	timer_init(&t, count_and_rearm, &c);
	timer_arm(c.wheel, &t, UINT64_MAX);
	timer_wheel_advance(c.wheel, UINT64_MAX / 2);
	assert_int_equal(c.count, 0);
	assert_true(timer_wheel_next_us(c.wheel) > UINT64_MAX / 2);
	timer_wheel_advance(c.wheel, 5); /* time does not go back */
	assert_true(t.armed);
	timer_wheel_free(c.wheel);
	assert_false(t.armed);
}

/* A year, with one timer each day, costs as little as its events. */
static void jump_of_a_year(void **state)
{
	struct counter c = { .wheel = timer_wheel_new(0) };
	static struct timer t[365];
	clock_t begin = clock();

	(void)state;
	for (unsigned i = 0; i < 365; i++) {
		timer_init(&t[i], count_and_rearm, &c);
		timer_arm(c.wheel, &t[i], (i + 1) * UINT64_C(86400) * US_PER_S);
	}
	timer_wheel_advance(c.wheel, 366 * UINT64_C(86400) * US_PER_S);
	assert_int_equal(c.count, 365);
	assert_true(timer_wheel_next_us(c.wheel) == UINT64_MAX);
	assert_true(clock() - begin < CLOCKS_PER_SEC / 10);
	timer_wheel_free(c.wheel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations), cmocka_unit_test(rearm_now_does_not_loop),
		cmocka_unit_test(not_early),	     cmocka_unit_test(end_of_time),
		cmocka_unit_test(jump_of_a_year),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
