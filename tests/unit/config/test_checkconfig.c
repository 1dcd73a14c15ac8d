/*
 * What is said of good and bad configurations, word for word. The first table has the cases
 * whose treatment by Libreswan 4.10 is known; the second what is ours alone.
 */
#include "config_files.h"

#include "config/config.h"

struct check_case {
	const char *name;
	const char *text;
	const char *said;      /* all diagnostics */
	unsigned good;         /* connections that are not set aside */
};

#define ENDS "\tleft=192.168.20.10\n\tright=192.168.20.20\n"
#define PSK "\tauthby=secret\n"

static const struct check_case observed[] = {
#include "observed_cases.h"
};

static const struct check_case more[] = {
#include "more_cases.h"
};

static void check(const struct check_case *cases, size_t count)
{
	unsigned failed = 0;

	for (size_t i = 0; i < count; i++) {
		const char *path = files_write("t.conf", cases[i].text, strlen(cases[i].text));
		struct diag_list diags;
		struct config *config;
		unsigned good = 0;
		char *said;

		diag_list_init(&diags);
		config = config_load(path, &diags);
		assert_non_null(config);
		for (size_t j = 0; j < config->count; j++) {
			good += !config->conns[j].set_aside;
			// Whatever is set aside says why.
			assert_true(!config->conns[j].set_aside ||
				    (config->conns[j].problem && config->conns[j].problem->what));
		}
		said = files_diags(&diags);
		if (strcmp(said, cases[i].said) != 0 || good != cases[i].good) {
			print_message("%s: %u good (want %u), said\n%swant\n%s", cases[i].name,
				      good, cases[i].good, said, cases[i].said);
			failed++;
		}
		free(said);
		config_free(config);
		diag_list_free(&diags);
	}
	assert_int_equal(failed, 0);
}

static void observed_cases(void **state)
{
	(void)state;
	check(observed, sizeof(observed) / sizeof(observed[0]));
}

static void more_cases(void **state)
{
	(void)state;
	check(more, sizeof(more) / sizeof(more[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(observed_cases),
		cmocka_unit_test(more_cases),
	};

	return cmocka_run_group_tests_name("config.checkconfig", tests, files_setup,
					   files_teardown);
}
