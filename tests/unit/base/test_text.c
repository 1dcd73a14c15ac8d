/* text.h and diag.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/diag.h"
#include "base/text.h"

static void text_grows(void **state)
{
	struct text t = { 0 };

	(void)state;
	assert_string_equal(text_str(&t), "");
	for (int i = 0; i < 1000; i++)
		text_add(&t, "%03d,", i);
	assert_false(t.bad);
	assert_int_equal(t.len, 4000);
	assert_int_equal(strlen(text_str(&t)), 4000);
	assert_memory_equal(text_str(&t) + 3996, "999,", 5);
	text_free(&t);
	assert_string_equal(text_str(&t), "");
}

/* Lengths around the first capacity: the terminator must always fit. */
static void text_boundaries(void **state)
{
	(void)state;
	for (int n = 0; n < 300; n++) {
		struct text t = { 0 };

		text_add(&t, "%*s", n, "");
		text_add(&t, "%s", "");
		assert_int_equal(strlen(text_str(&t)), n);
		text_free(&t);
	}
}

static void numbers(void **state)
{
	static const char *const bad[] = { "", "-1", "+1", " 1", "1 ", "0x10", "1a",
					   "18446744073709551616", "99999999999999999999999" };
	uint64_t v = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(text_to_u64(bad[i], UINT64_MAX, &v));
	assert_true(v == 7);
	assert_true(text_to_u64("18446744073709551615", UINT64_MAX, &v));
	assert_true(v == UINT64_MAX);
	assert_true(text_to_u64("007", 7, &v));
	assert_true(v == 7);
	assert_false(text_to_u64("8", 7, &v));
}

static void diagnostics(void **state)
{
	struct diag_list list;
	struct diag_at at = { .file = "/etc/ipsec.conf", .line = 12, .conn = "net1" };
	char *line;

	(void)state;
	diag_list_init(&list);
	diag_add(NULL, DIAG_ERROR, at, NULL, "nobody listens");
	diag_add(&list, DIAG_ERROR, at, "use yes or no", "bad value '%s'", "maybe");
	diag_add(&list, DIAG_WARNING, (struct diag_at){ 0 }, NULL, "odd");
	assert_int_equal(list.errors, 1);
	assert_int_equal(list.warnings, 1);
	line = diag_format(STAILQ_FIRST(&list.head));
	assert_string_equal(line, "/etc/ipsec.conf:12: conn net1: bad value 'maybe'; use yes or no");
	free(line);
	line = diag_format(STAILQ_NEXT(STAILQ_FIRST(&list.head), entry));
	assert_string_equal(line, "warning: odd");
	free(line);
	diag_list_free(&list);
	assert_int_equal(list.errors, 0);
	assert_true(STAILQ_EMPTY(&list.head));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_grows),
		cmocka_unit_test(text_boundaries),
		cmocka_unit_test(numbers),
		cmocka_unit_test(diagnostics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
