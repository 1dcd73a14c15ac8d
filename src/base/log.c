/* The daemon's log; see log.h. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { LINE_MAX_BYTES = 4096 };

/* Until log_open() is called, errors and warnings go to stderr. */
static struct {
	pthread_mutex_t lock;
	enum log_level level;
	bool to_stderr;
	bool to_syslog;
	bool timestamps;
	bool write_failed; /* told once, until a write succeeds again */
	char *file;
	int fd;
} state = { .lock = PTHREAD_MUTEX_INITIALIZER,
	    .level = LOG_LEVEL_WARNING,
	    .to_stderr = true,
	    .fd = -1 };

static int open_file(const char *path)
{
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
}

bool log_open(const struct log_config *config)
{
	int fd = -1;
	char *file = NULL;

	if (config->file) {
		fd = open_file(config->file);
		if (fd < 0)
			return false;
		file = strdup(config->file);
		if (!file) {
			close(fd);
			errno = ENOMEM;
			return false;
		}
	}
	log_close();
	pthread_mutex_lock(&state.lock);
	state.level = config->level;
	state.to_stderr = config->to_stderr;
	state.to_syslog = config->to_syslog;
	state.timestamps = config->timestamps;
	state.file = file;
	state.fd = fd;
	if (config->to_syslog)
		openlog("pluto", LOG_PID, LOG_AUTHPRIV);
	pthread_mutex_unlock(&state.lock);
	return true;
}

void log_reopen(void)
{
	int fd;

	pthread_mutex_lock(&state.lock);
	if (state.file) {
		fd = open_file(state.file);
		/* Without the new file the old one is better than none. */
		if (fd >= 0) {
			if (state.fd >= 0)
				close(state.fd);
			state.fd = fd;
		}
	}
	pthread_mutex_unlock(&state.lock);
}

void log_close(void)
{
	pthread_mutex_lock(&state.lock);
	if (state.fd >= 0)
		close(state.fd);
	state.fd = -1;
	free(state.file);
	state.file = NULL;
	if (state.to_syslog)
		closelog();
	state.to_syslog = false;
	state.to_stderr = true;
	state.level = LOG_LEVEL_WARNING;
	state.timestamps = false;
	pthread_mutex_unlock(&state.lock);
}

static const char *level_prefix(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR: return "ERROR: ";
	case LOG_LEVEL_WARNING: return "WARNING: ";
	case LOG_LEVEL_INFO: return "";
	case LOG_LEVEL_DEBUG: return "| ";
	}
	return "";
}

static int level_priority(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR: return LOG_ERR;
	case LOG_LEVEL_WARNING: return LOG_WARNING;
	case LOG_LEVEL_INFO: return LOG_NOTICE;
	case LOG_LEVEL_DEBUG: return LOG_DEBUG;
	}
	return LOG_NOTICE;
}

/* `Nov 23 17:21:09.123456: ` as Libreswan writes it. */
static size_t format_time(char *buf, size_t size)
{
	struct timespec ts;
	struct tm tm;
	size_t n;
	int m;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (!localtime_r(&ts.tv_sec, &tm))
		return 0;
	n = strftime(buf, size, "%b %e %H:%M:%S", &tm);
	m = snprintf(buf + n, size - n, ".%06ld: ", ts.tv_nsec / 1000);
	return m > 0 ? n + (size_t)m : n;
}

/* A line is one line: control characters, which a peer may have sent, are shown as \xNN. */
static size_t escape_controls(char *out, size_t size, const char *in)
{
	size_t n = 0;

	for (; *in != '\0' && n + 5 < size; in++) {
		unsigned char c = (unsigned char)*in;

		if (c < 0x20 || c == 0x7f)
			n += (size_t)snprintf(out + n, size - n, "\\x%02x", c);
		else
			out[n++] = *in;
	}
	out[n] = '\0';
	return n;
}

static void write_line(int fd, const char *line, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, line, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (fd == state.fd && !state.write_failed) {
				state.write_failed = true;
				dprintf(STDERR_FILENO, "cannot write the log %s: %s\n", state.file,
					strerror(errno));
			}
			return;
		}
		line += n;
		len -= (size_t)n;
	}
	if (fd == state.fd)
		state.write_failed = false;
}

static void emit(enum log_level level, const char *message)
{
	char line[LINE_MAX_BYTES + 64];
	size_t start = 0, n;

	if (state.timestamps)
		start = format_time(line, sizeof(line));
	n = start + (size_t)snprintf(line + start, sizeof(line) - start, "%s", level_prefix(level));
	n += escape_controls(line + n, sizeof(line) - n - 1, message);
	if (state.to_syslog)
		syslog(level_priority(level) | LOG_AUTHPRIV, "%s", line + start);
	line[n++] = '\n';
	if (state.to_stderr)
		write_line(STDERR_FILENO, line, n);
	if (state.fd >= 0)
		write_line(state.fd, line, n);
}

static void log_vline(enum log_level level, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));

static void log_vline(enum log_level level, const char *format, va_list args)
{
	char message[LINE_MAX_BYTES - 128];
	int saved = errno;

	vsnprintf(message, sizeof(message), format, args);
	pthread_mutex_lock(&state.lock);
	if (level <= state.level)
		emit(level, message);
	pthread_mutex_unlock(&state.lock);
	errno = saved;
}

void log_line(enum log_level level, const char *format, ...)
{
	va_list args;

	if (level > state.level)
		return;
	va_start(args, format);
	log_vline(level, format, args);
	va_end(args);
}

bool rate_limit_take(struct rate_limit *limit, uint64_t now_us)
{
	uint64_t cost = limit->per_second ? US_PER_S / limit->per_second : UINT64_MAX / UINT32_MAX;
	uint64_t full = cost * limit->burst;
	uint64_t since = now_us > limit->last_us ? now_us - limit->last_us : 0;

	/* Zeroed memory is a full bucket. */
	if (limit->last_us == 0 || since >= full - limit->tokens_us)
		limit->tokens_us = full;
	else
		limit->tokens_us += since;
	if (now_us > limit->last_us)
		limit->last_us = now_us;
	if (limit->tokens_us < cost) {
		limit->suppressed++;
		return false;
	}
	limit->tokens_us -= cost;
	return true;
}

void log_limited(struct rate_limit *limit, const char *format, ...)
{
	char message[LINE_MAX_BYTES - 128];
	uint64_t left_out;
	va_list args;
	bool take;

	pthread_mutex_lock(&state.lock);
	take = rate_limit_take(limit, clock_now_us());
	left_out = limit->suppressed;
	if (take)
		limit->suppressed = 0;
	pthread_mutex_unlock(&state.lock);
	if (!take)
		return;
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (left_out > 0)
		log_info("%s (%llu similar lines left out)", message, (unsigned long long)left_out);
	else
		log_info("%s", message);
}
