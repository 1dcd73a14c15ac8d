/* Lists of diagnostics; see diag.h. */
#include "base/diag.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

void diag_list_init(struct diag_list *list)
{
	STAILQ_INIT(&list->head);
	list->errors = 0;
	list->warnings = 0;
}

static void diag_free(struct diag *d)
{
	free(d->file);
	free(d->conn);
	free(d->what);
	free(d->remedy);
	free(d);
}

void diag_list_free(struct diag_list *list)
{
	struct diag *d;

	while ((d = STAILQ_FIRST(&list->head))) {
		STAILQ_REMOVE_HEAD(&list->head, entry);
		diag_free(d);
	}
	diag_list_init(list);
}

static char *copy_or_null(const char *s)
{
	return s ? strdup(s) : NULL;
}

void diag_add(struct diag_list *list, enum diag_severity severity, struct diag_at at,
	      const char *remedy, const char *format, ...)
{
	struct diag *d;
	va_list args;

	if (!list)
		return;
	/* Counted even when there is no memory to say more: an error must not look like success. */
	if (severity == DIAG_ERROR)
		list->errors++;
	else
		list->warnings++;
	d = calloc(1, sizeof(*d));
	if (!d)
		return;
	d->severity = severity;
	d->file = copy_or_null(at.file);
	d->line = at.line;
	d->conn = copy_or_null(at.conn);
	d->remedy = copy_or_null(remedy);
	va_start(args, format);
	if (vasprintf(&d->what, format, args) < 0)
		d->what = NULL;
	va_end(args);
	STAILQ_INSERT_TAIL(&list->head, d, entry);
}

char *diag_format(const struct diag *d)
{
	struct text t = { 0 };

	if (d->file && d->line > 0)
		text_add(&t, "%s:%u: ", d->file, d->line);
	else if (d->file)
		text_add(&t, "%s: ", d->file);
	if (d->conn)
		text_add(&t, "conn %s: ", d->conn);
	if (d->severity == DIAG_WARNING)
		text_add(&t, "warning: ");
	text_add(&t, "%s", d->what ? d->what : "(no memory for the message)");
	if (d->remedy)
		text_add(&t, "; %s", d->remedy);
	if (t.bad) {
		text_free(&t);
		return NULL;
	}
	return t.str;
}
