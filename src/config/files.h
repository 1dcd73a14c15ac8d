/*
 * Reading a file with its includes: whole, bounded, each file once.
 * ipsec.conf and ipsec.secrets share this.
 */
#ifndef CONFIG_FILES_H
#define CONFIG_FILES_H

#include <stdbool.h>
#include <stddef.h>

struct file_seen;

/** Files that a load has read; zeroed memory is an empty set. */
struct file_set {
	struct file_seen *seen;
};

enum {
	INCLUDE_MAX_DEPTH = 10,
	FILE_MAX_BYTES = 64 * 1024 * 1024,
};

enum file_result {
	FILE_READ,
	FILE_SEEN,   /* read before; `why` says as what */
	FILE_ABSENT, /* there is none */
	FILE_FAILED, /* `why` says what is wrong */
};

struct file_text {
	char *data; /* len bytes and a terminating 0 */
	size_t len;
	unsigned mode;
	bool secret; /* data is secret memory */
};

/**
 * Read a file (with `included`: a regular one only) once. `secret`: into memory that is wiped by
 * file_text_free(). `why` of `why_len` bytes gets what is wrong.
 */
enum file_result file_read(struct file_set *set, const char *path, bool included, bool secret,
			   struct file_text *out, char *why, size_t why_len);
void file_text_free(struct file_text *text);
void file_set_free(struct file_set *set);

/**
 * The pattern of an include as a path: relative ones are relative to the directory of `includer`.
 * Allocated; NULL without memory.
 */
char *file_include_path(const char *includer, const char *pattern);

/** The next line of `len` bytes at `*pos`, without its end (LF or CRLF); false at the end. */
bool file_next_line(const struct file_text *text, size_t *pos, char **line, size_t *len);

#endif
