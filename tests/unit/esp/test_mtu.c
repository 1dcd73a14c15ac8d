/* What a policy's packets may have, and the least and greatest of what many want. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "esp/mtu.h"
#include "esp/worker.h"

static void policy_has_what_its_path_leaves(void **state)
{
	(void)state;
	assert_int_equal(mtu_of_policy(1446, false, 0), 1446);
	assert_int_equal(mtu_of_policy(1446, true, 0), 1446);
	assert_int_equal(mtu_of_policy(0, false, 0), MTU_WITHOUT_SA);
}

static void policy_never_has_more_than_is_configured(void **state)
{
	(void)state;
	assert_int_equal(mtu_of_policy(1446, false, 1300), 1300);
	assert_int_equal(mtu_of_policy(1446, false, 1446), 1446);
	assert_int_equal(mtu_of_policy(1446, false, 1500), 1446);
	assert_int_equal(mtu_of_policy(0, false, 1300), 1300);
	assert_int_equal(mtu_of_policy(0, false, 1500), MTU_WITHOUT_SA);
	assert_int_equal(mtu_of_policy(300, true, 1000), 1000);
}

static void narrow_paths_have_the_floor_of_the_family(void **state)
{
	(void)state;
	assert_int_equal(mtu_of_policy(1246, false, 0), 1246);
	assert_int_equal(mtu_of_policy(1246, true, 0), MTU_MIN_V6);
	assert_int_equal(mtu_of_policy(300, false, 0), MTU_MIN_V4);
	assert_int_equal(mtu_of_policy(1, true, 0), MTU_MIN_V6);
}

static void wide_paths_have_what_a_worker_takes(void **state)
{
	(void)state;
	assert_int_equal(mtu_of_policy(65000, false, 0), MTU_MAX);
	assert_int_equal(mtu_of_policy(65000, true, 65000), MTU_MAX);
	assert_true((int)MTU_MAX < (int)PACKET_MAX);
}

static void set_knows_its_ends(void **state)
{
	struct mtu_set s = { 0 };

	(void)state;
	assert_int_equal(mtu_set_least(&s), 0);
	assert_int_equal(mtu_set_greatest(&s), 0);
	assert_true(mtu_set_change(&s, 0, 1446));
	assert_true(mtu_set_change(&s, 0, 1246));
	assert_true(mtu_set_change(&s, 0, 1446));
	assert_int_equal(mtu_set_least(&s), 1246);
	assert_int_equal(mtu_set_greatest(&s), 1446);
	assert_true(mtu_set_change(&s, 1446, 1300));
	assert_int_equal(mtu_set_greatest(&s), 1446);
	assert_true(mtu_set_change(&s, 1446, 0));
	assert_int_equal(mtu_set_greatest(&s), 1300);
	assert_true(mtu_set_change(&s, 1246, 1400));
	assert_int_equal(mtu_set_least(&s), 1300);
	assert_true(mtu_set_change(&s, 999, 0)); /* nobody's */
	assert_true(mtu_set_change(&s, 1300, 0));
	assert_true(mtu_set_change(&s, 1400, 0));
	assert_int_equal(mtu_set_least(&s), 0);
	assert_null(s.of); /* nothing to free */
}

/* Against an array of all users. */
static void set_agrees_with_counting(void **state)
{
	enum { USERS = 200, CHANGES = 20000 };
	static uint32_t wanted[USERS];
	struct mtu_set s = { 0 };

	(void)state;
	srandom(7);
	for (int i = 0; i < CHANGES; i++) {
		size_t at = (size_t)random() % USERS;
		uint32_t to = random() % 3 ? 552 + (uint32_t)random() % 30 : 0, least = 0, greatest = 0;

		assert_true(mtu_set_change(&s, wanted[at], to));
		wanted[at] = to;
		for (size_t u = 0; u < USERS; u++) {
			if (wanted[u] && (!least || wanted[u] < least))
				least = wanted[u];
			if (wanted[u] > greatest)
				greatest = wanted[u];
		}
		assert_int_equal(mtu_set_least(&s), least);
		assert_int_equal(mtu_set_greatest(&s), greatest);
	}
	mtu_set_free(&s);
	assert_int_equal(mtu_set_least(&s), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policy_has_what_its_path_leaves),
		cmocka_unit_test(policy_never_has_more_than_is_configured),
		cmocka_unit_test(narrow_paths_have_the_floor_of_the_family),
		cmocka_unit_test(wide_paths_have_what_a_worker_takes),
		cmocka_unit_test(set_knows_its_ends),
		cmocka_unit_test(set_agrees_with_counting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
