/* log.h: files, rotation, levels, rate limits. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"

static char dir[] = "/tmp/test-log-XXXXXX";
static char path[64], old[64];

static char *slurp(const char *name)
{
	static char buf[65536];
	FILE *f = fopen(name, "r");
	size_t n;

	assert_non_null(f);
	n = fread(buf, 1, sizeof(buf) - 1, f);
	buf[n] = '\0';
	fclose(f);
	return buf;
}

static int make_dir(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/log", dir);
	snprintf(old, sizeof(old), "%s/log.1", dir);
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	unlink(path);
	unlink(old);
	return rmdir(dir);
}

static void lines_and_levels(void **state)
{
	struct log_config config = { .level = LOG_LEVEL_INFO, .file = path };

	(void)state;
	unlink(path);
	assert_true(log_open(&config));
	errno = EAGAIN;
	log_info("hello %d", 1);
	assert_int_equal(errno, EAGAIN);
	log_debug("not shown");
	log_error("a\nb\x1b[0m");
	log_warning("w");
	assert_string_equal(slurp(path), "hello 1\nERROR: a\\x0ab\\x1b[0m\nWARNING: w\n");
	log_close();
}

static void very_long_line(void **state)
{
	struct log_config config = { .level = LOG_LEVEL_INFO, .file = path, .timestamps = true };
	static char big[20000];
	char *text;

	(void)state;
	unlink(path);
	assert_true(log_open(&config));
	memset(big, '\n', sizeof(big) - 1);
	log_error("%s", big);
	log_info("next");
	log_close();
	text = slurp(path);
	assert_ptr_equal(strchr(text, '\n') + strlen(strchr(text, '\n')), text + strlen(text));
	assert_non_null(strstr(text, ": next\n"));
	assert_int_equal(text[3], ' ');
	assert_int_equal(text[15], '.');
}

static void rotation(void **state)
{
	struct log_config config = { .level = LOG_LEVEL_INFO, .file = path };

	(void)state;
	unlink(path);
	assert_true(log_open(&config));
	log_info("before");
	assert_int_equal(rename(path, old), 0);
	log_info("between");
	log_reopen();
	log_info("after");
	log_close();
	assert_string_equal(slurp(old), "before\nbetween\n");
	assert_string_equal(slurp(path), "after\n");
}

static void cannot_open(void **state)
{
	struct log_config config = { .level = LOG_LEVEL_INFO, .file = "/nonexistent/dir/log" };

	(void)state;
	assert_false(log_open(&config));
	assert_int_equal(errno, ENOENT);
}

static void bucket(void **state)
{
	struct rate_limit limit = { .burst = 3, .per_second = 2 };
	uint64_t now = 1000000;
	unsigned taken = 0;

	(void)state;
	for (int i = 0; i < 10; i++)
		taken += rate_limit_take(&limit, now);
	assert_int_equal(taken, 3);
	assert_int_equal(limit.suppressed, 7);
	assert_false(rate_limit_take(&limit, now + 499999));
	assert_true(rate_limit_take(&limit, now + 500000));
	assert_false(rate_limit_take(&limit, now + 500001));
	/* Not more than the burst after a long rest, and time that goes back gives nothing. */
	now += UINT64_C(86400000000);
	for (taken = 0; rate_limit_take(&limit, now); taken++)
		;
	assert_int_equal(taken, 3);
	assert_false(rate_limit_take(&limit, 5));
}

static void limited_lines_are_counted(void **state)
{
	struct log_config config = { .level = LOG_LEVEL_INFO, .file = path };
	struct rate_limit limit = { .burst = 2, .per_second = 50 };

	(void)state;
	unlink(path);
	assert_true(log_open(&config));
	for (int i = 0; i < 7; i++)
		log_limited(&limit, "junk");
	usleep(60000);
	log_limited(&limit, "junk");
	log_close();
	assert_string_equal(slurp(path), "junk\njunk\njunk (5 similar lines left out)\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_and_levels), cmocka_unit_test(very_long_line),
		cmocka_unit_test(rotation),	    cmocka_unit_test(cannot_open),
		cmocka_unit_test(bucket),	    cmocka_unit_test(limited_lines_are_counted),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
