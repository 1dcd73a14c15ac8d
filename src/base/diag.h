/*
 * Diagnostics: what is wrong with an input, where, and what would be right.
 *
 * Configuration, secrets and command lines report through a list of these; the
 * log, `ipsec checkconfig` and JSON render the same records.
 */
#ifndef BASE_DIAG_H
#define BASE_DIAG_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

enum diag_severity { DIAG_WARNING, DIAG_ERROR };

struct diag {
	STAILQ_ENTRY(diag) entry;
	enum diag_severity severity;
	char *file;    /* NULL when not about a file; owned */
	unsigned line; /* from 1; 0 unknown */
	char *conn;    /* connection name, NULL when not about one; owned */
	char *what;    /* what is wrong; owned */
	char *remedy;  /* what would be right, NULL when there is nothing to say; owned */
};

/** A list of diagnostics; initialise with diag_list_init(). */
struct diag_list {
	STAILQ_HEAD(, diag) head;
	size_t errors;
	size_t warnings;
};

void diag_list_init(struct diag_list *list);
void diag_list_free(struct diag_list *list);

struct diag_at {
	const char *file;
	unsigned line;
	const char *conn;
};

/** Add a record; `remedy` may be NULL, strings are copied. NULL list: does nothing. */
void diag_add(struct diag_list *list, enum diag_severity severity, struct diag_at at,
	      const char *remedy, const char *format, ...) __attribute__((format(printf, 5, 6)));

/** `FILE:LINE: conn NAME: what; remedy` as one line without newline; caller frees. */
char *diag_format(const struct diag *d);

#endif
