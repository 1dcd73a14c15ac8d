/*
 * The daemon's log: one line for each event, to stderr, a file or syslog.
 *
 * Lines about what strangers send go through log_remote(), which limits them
 * to a few each second for each call site and says how many were left out.
 * No function here takes a secret.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR,   /* something that we were asked to do failed */
	LOG_LEVEL_WARNING, /* works, but not as its owner would want */
	LOG_LEVEL_INFO,    /* what `ipsec up` shows too */
	LOG_LEVEL_DEBUG,   /* plutodebug= */
};

struct log_config {
	enum log_level level;
	bool to_stderr;
	const char *file;  /* NULL: none; appended to */
	bool to_syslog;    /* facility authpriv */
	bool timestamps;
};

/** Open the log as configured; returns false with errno if `file` cannot be opened. */
bool log_open(const struct log_config *config);

/** Open the log file anew after it was rotated (SIGHUP). */
void log_reopen(void);

void log_close(void);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/** A bucket of tokens: `burst` at once, then `per_second`. Zeroed memory with the two set. */
struct rate_limit {
	uint32_t burst;
	uint32_t per_second;
	uint64_t last_us;
	uint64_t tokens_us;
	uint64_t suppressed;
};

/** Take a token; false when there is none (counted in `suppressed`). */
bool rate_limit_take(struct rate_limit *limit, uint64_t now_us);

/** Log about remote input, at most 5 lines a second for each place that calls it. */
#define log_remote(...)                                                                        \
	do {                                                                                   \
		static struct rate_limit limit_ = { .burst = 10, .per_second = 5 };            \
		log_limited(&limit_, __VA_ARGS__);                                             \
	} while (0)
void log_limited(struct rate_limit *limit, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
