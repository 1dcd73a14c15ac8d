/* The replay window against a model that remembers everything. RFC 4303 §3.4.3, appendix A2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "esp/replay.h"

enum { HISTORY = 1 << 17, STEPS = 200000 };

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(random_state >> 33) % n;
}

/* Every number seen, from `base` on; the window's rules written down as naively as can be. */
struct model {
	uint64_t base, top;
	uint32_t size;
	uint8_t seen[HISTORY];
};

static int model_accepts(const struct model *m, uint64_t seq)
{
	if (seq == 0 || seq + m->size <= m->top)
		return 0;
	return !m->seen[seq - m->base];
}

static struct replay_window *window_new(uint32_t size)
{
	struct replay_window *w = calloc(1, replay_window_bytes(size));

	assert_non_null(w);
	replay_window_init(w, size);
	return w;
}

static void run_against_model(uint32_t size, uint64_t start)
{
	struct replay_window *w = window_new(size);
	struct model *m = calloc(1, sizeof(*m));
	uint32_t reach = size * 3;

	assert_non_null(m);
	m->size = size;
	m->top = w->top = start;
	m->base = start > reach ? start - reach : 0;
	if (start)
		m->seen[start - m->base] = 1;
	replay_window_update(w, start ? start : 1);
	if (!start)
		m->top = 1, m->seen[1] = 1;
	for (int i = 0; i < STEPS && m->top - m->base < HISTORY - 2 * reach; i++) {
		/* mostly near the top, sometimes far behind, sometimes a jump */
		uint64_t seq = m->top + 3 - random_below(i % 7 == 0 ? reach : size / 2 + 4);
		int accepts;

		if (i % 1009 == 0)
			seq = m->top + random_below(reach);
		if (seq < m->base || seq > m->top + reach)
			continue;
		accepts = model_accepts(m, seq);
		assert_int_equal(replay_window_check(w, seq), accepts);
		/* what the low half on the wire stands for, while it is within the window */
		if (accepts)
			assert_true(replay_window_infer(w, (uint32_t)seq) == seq);
		if (!accepts)
			continue;
		replay_window_update(w, seq);
		m->seen[seq - m->base] = 1;
		if (seq > m->top)
			m->top = seq;
		assert_false(replay_window_check(w, seq));
	}
	free(m);
	free(w);
}

static void window_agrees_with_the_model(void **state)
{
	(void)state;
	for (uint32_t size = REPLAY_WINDOW_MIN; size <= REPLAY_WINDOW_MAX; size *= 2) {
		run_against_model(size, 0);
		run_against_model(size + 1 > REPLAY_WINDOW_MAX ? size : size + 1, 0);
	}
}

static void window_goes_on_over_the_wrap_of_the_low_half(void **state)
{
	(void)state;
	for (uint32_t size = REPLAY_WINDOW_MIN; size <= REPLAY_WINDOW_MAX; size *= 4) {
		run_against_model(size, UINT32_MAX - 10);
		run_against_model(size, (UINT64_C(7) << 32) - 1);
	}
}

static void size_is_brought_into_its_limits(void **state)
{
	struct replay_window *w = window_new(0);

	(void)state;
	assert_int_equal(w->size, REPLAY_WINDOW_MIN);
	free(w);
	w = window_new(UINT32_MAX);
	assert_int_equal(w->size, REPLAY_WINDOW_MAX);
	free(w);
}

static void zero_is_never_valid(void **state)
{
	struct replay_window *w = window_new(64);

	(void)state;
	assert_false(replay_window_check(w, 0));
	assert_true(replay_window_check(w, 1));
	/* before the first packet: the high half would be -1 */
	assert_true(replay_window_infer(w, UINT32_MAX) == 0);
	free(w);
}

static void jump_forgets_everything_before(void **state)
{
	struct replay_window *w = window_new(128);

	(void)state;
	for (uint64_t s = 1; s <= 300; s++)
		replay_window_update(w, s);
	replay_window_update(w, 1000000);
	assert_false(replay_window_check(w, 1000000));
	for (uint64_t s = 1000000 - 127; s < 1000000; s++)
		assert_true(replay_window_check(w, s));
	assert_false(replay_window_check(w, 1000000 - 128));
	free(w);
}

/* RFC 4303 appendix A2.2, by cases. */
static void high_half_is_inferred(void **state)
{
	static const struct {
		uint64_t top;
		uint32_t low;
		uint64_t want;
	} table[] = {
		{ 1000, 1001, 1001 },                                       /* A, ahead */
		{ 1000, 1000 - 63, 1000 - 63 },                             /* A, at the bottom */
		{ 1000, 1000 - 64, (UINT64_C(1) << 32) + 1000 - 64 },       /* A, below: next subspace */
		{ UINT64_C(0x1fffffff0), 5, UINT64_C(0x200000005) },        /* A, across the wrap */
		{ UINT64_C(0x200000005), 0xfffffff0, UINT64_C(0x1fffffff0) }, /* B, behind the wrap */
		{ UINT64_C(0x200000005), 4, UINT64_C(0x200000004) },        /* B, this side */
		{ UINT64_C(0x200000005), 100, UINT64_C(0x200000064) },      /* B, ahead */
	};
	struct replay_window *w = window_new(64);

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		w->top = table[i].top;
		assert_true(replay_window_infer(w, table[i].low) == table[i].want);
	}
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(window_agrees_with_the_model),
		cmocka_unit_test(window_goes_on_over_the_wrap_of_the_low_half),
		cmocka_unit_test(size_is_brought_into_its_limits),
		cmocka_unit_test(zero_is_never_valid),
		cmocka_unit_test(jump_forgets_everything_before),
		cmocka_unit_test(high_half_is_inferred),
	};

	random_state = 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
