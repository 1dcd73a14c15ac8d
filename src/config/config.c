/*
 * Loading: the loader's life, diagnostics, what connections share, and names.
 */
#include "config/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "config/load.h"

/** A diagnostic is one line, whatever the file that it speaks of has in it. */
static void one_line(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

static const struct diag *keep_problem(struct loader *l, enum diag_severity severity,
				       struct diag_at at, const char *remedy, const char *what)
{
	struct diag *d = arena_alloc(l->keep, sizeof(*d));

	if (!d)
		return NULL;
	d->severity = severity;
	d->file = at.file ? arena_strdup(l->keep, at.file) : NULL;
	d->line = at.line;
	d->conn = at.conn ? arena_strdup(l->keep, at.conn) : NULL;
	d->what = arena_strdup(l->keep, what);
	d->remedy = remedy && *remedy ? arena_strdup(l->keep, remedy) : NULL;
	return d;
}

static void add_problem(struct loader *l, enum diag_severity severity, struct diag_at at,
			const char *remedy, const char *what)
{
	diag_add(l->diags, severity, at, remedy && *remedy ? remedy : NULL, "%s", what);
}

const struct diag *problem_at(struct loader *l, enum diag_severity severity, struct diag_at at,
			      const char *remedy, const char *format, ...)
{
	char what[512];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	one_line(what);
	add_problem(l, severity, at, remedy, what);
	// Only what sets a connection aside is looked at again.
	return severity == DIAG_ERROR ? keep_problem(l, severity, at, remedy, what) : NULL;
}

const struct diag *problem_quiet(struct loader *l, struct diag_at at, const char *remedy,
				 const char *format, ...)
{
	char what[512];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	one_line(what);
	return keep_problem(l, DIAG_ERROR, at, remedy, what);
}

static struct diag_at item_at(const struct loader *l, const struct item *item)
{
	return (struct diag_at){ .file = item->file, .line = item->line,
				 .conn = item->section == l->setup ? NULL : item->section->name };
}

const struct diag *problem_item(struct loader *l, struct item *item, const struct value_error *e)
{
	struct text remedy = { 0 };
	char what[512], shown[100];

	if (item->problem)
		return item->problem;
	snprintf(what, sizeof(what), "%s=%s%s%s", item->spelled,
		 value_printable(item->value, shown, sizeof(shown)), e->what[0] == ':' ? "" : " ",
		 e->what);
	one_line(what);
	if (e->remedy[0]) {
		text_add(&remedy, "%s", e->remedy);
	} else {
		text_add(&remedy, "write ");
		keyword_describe(item->keyword, &remedy);
	}
	add_problem(l, DIAG_ERROR, item_at(l, item), text_str(&remedy), what);
	item->problem = keep_problem(l, DIAG_ERROR, item_at(l, item), text_str(&remedy), what);
	text_free(&remedy);
	return item->problem;
}

void warn_item(struct loader *l, struct item *item, const char *remedy, const char *format, ...)
{
	char what[512];
	va_list args;

	if (!item || item->warned)
		return;
	item->warned = true;
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	one_line(what);
	add_problem(l, DIAG_WARNING, item_at(l, item), remedy, what);
}

void use_count(struct loader *l, struct item *item)
{
	struct keyword_use *use = &l->uses[item->keyword - keyword_at(0)];

	if (item->counted)
		return;
	item->counted = true;
	if (use->count++ == 0)
		use->first = item;
}

static const char *use_text(const struct keyword *k)
{
	switch (k->status) {
	case KEYWORD_OBSOLETE:
		return "is obsolete and ignored";
	case KEYWORD_REPLACED:
		return "is an old spelling";
	case KEYWORD_NO_EFFECT:
		return "has no effect: it is not built yet";
	default: // dpdtimeout, the one active keyword that is counted
		return "has no effect in IKEv2";
	}
}

void uses_report(struct loader *l)
{
	for (size_t i = 0; i < keyword_count(); i++) {
		const struct keyword_use *use = &l->uses[i];
		const struct keyword *k = keyword_at(i);
		const char *remedy = k->hint ? k->hint : "remove it";
		char shown[80], more[48] = "";

		if (!use->count)
			continue;
		if (k->status == KEYWORD_NO_EFFECT)
			remedy = k->hint; // it may stay, for the day that it is built
		else if (k->status == KEYWORD_ACTIVE)
			remedy = "write retransmit-timeout= for how long a dead peer is waited for";
		if (use->count > 1)
			snprintf(more, sizeof(more), " (%u times)", use->count);
		problem_at(l, DIAG_WARNING, item_at(l, use->first), remedy, "%s=%s %s%s",
			   use->first->spelled,
			   value_printable(use->first->value, shown, sizeof(shown)), use_text(k),
			   more);
	}
}

const struct config_list *lists_get(struct loader *l, enum ike_protocol protocol, const char *text)
{
	struct config_storage *storage = l->config->storage;
	struct config_list *list;
	char *key;
	int len = asprintf(&key, "%d:%s", protocol, text);

	if (len < 0)
		return NULL;
	HASH_FIND(hh, storage->lists, key, (size_t)len, list);
	if (!list && (list = arena_alloc(l->keep, sizeof(*list))) != NULL) {
		if (*text)
			list->bad = !proposal_parse(protocol, text, &list->list, list->error,
						    sizeof(list->error));
		else
			proposal_default(protocol, &list->list);
		list->key = arena_strdup(l->keep, key);
		if (list->key)
			HASH_ADD_KEYPTR(hh, storage->lists, list->key, (size_t)len, list);
	}
	free(key);
	return list;
}

static bool name_add(struct config *config, const char *name, size_t len, size_t conn)
{
	struct config_storage *storage = config->storage;
	struct name_entry *entry;

	HASH_FIND(hh, storage->names, name, len, entry);
	if (!entry) {
		entry = arena_alloc(&storage->arena, sizeof(*entry));
		if (!entry)
			return false;
		entry->name = arena_strndup(&storage->arena, name, len);
		if (!entry->name)
			return false;
		HASH_ADD_KEYPTR(hh, storage->names, entry->name, len, entry);
		if (!entry->hh.tbl)
			return false;
	}
	if (entry->count && entry->conns[entry->count - 1] == conn)
		return true;
	if (entry->count == entry->cap) {
		size_t cap = entry->cap ? entry->cap * 2 : 1;
		size_t *bigger = realloc(entry->conns, cap * sizeof(*bigger));

		if (!bigger)
			return false;
		entry->conns = bigger;
		entry->cap = cap;
	}
	entry->conns[entry->count++] = conn;
	return true;
}

/** Index all names and aliases. A good connection whose name is taken already is set aside. */
static bool names_build(struct loader *l)
{
	struct config *config = l->config;

	for (size_t i = 0; i < config->count; i++) {
		struct conn_config *c = &config->conns[i];
		struct name_entry *entry;

		HASH_FIND_STR(config->storage->names, c->name, entry);
		for (size_t j = 0; entry && !c->set_aside && j < entry->count; j++) {
			const struct conn_config *other = &config->conns[entry->conns[j]];

			if (strcmp(other->name, c->name) != 0)
				continue;
			c->set_aside = true;
			c->problem = problem_at(l, DIAG_ERROR,
						(struct diag_at){ c->file, c->line, c->name },
						"rename one of them",
						"the name is taken by the conn at %s:%u",
						other->file, other->line);
		}
		if (!name_add(config, c->name, strlen(c->name), i))
			return false;
		for (const char *a = c->alias; a && *a; a += strspn(a, ",")) {
			size_t len = strcspn(a, ",");

			if (len && !name_add(config, a, len, i))
				return false;
			a += len;
		}
	}
	return true;
}

/** A diagnostic and where it stood. */
struct sort_entry {
	struct diag *diag;
	size_t number;
};

static int compare_places(const void *a, const void *b)
{
	const struct sort_entry *x = a, *y = b;
	int order = strcmp(x->diag->file ? x->diag->file : "", y->diag->file ? y->diag->file : "");

	if (order == 0 && x->diag->line != y->diag->line)
		order = x->diag->line < y->diag->line ? -1 : 1;
	if (order == 0)
		order = x->number < y->number ? -1 : 1;
	return order;
}

/** Order by file and line, and by when it was said. */
static void sort_diags(struct diag_list *list)
{
	struct sort_entry *entries;
	struct diag *d;
	size_t count = 0;

	STAILQ_FOREACH(d, &list->head, entry)
		count++;
	entries = calloc(count + 1, sizeof(*entries));
	if (!entries)
		return;
	count = 0;
	STAILQ_FOREACH(d, &list->head, entry) {
		entries[count].diag = d;
		entries[count].number = count;
		count++;
	}
	qsort(entries, count, sizeof(*entries), compare_places);
	STAILQ_INIT(&list->head);
	for (size_t i = 0; i < count; i++)
		STAILQ_INSERT_TAIL(&list->head, entries[i].diag, entry);
	free(entries);
}

/** Move all of `from` behind what `to` has; `to` may be NULL. */
static void move_diags(struct diag_list *from, struct diag_list *to)
{
	if (!to) {
		diag_list_free(from);
		return;
	}
	to->errors += from->errors;
	to->warnings += from->warnings;
	STAILQ_CONCAT(&to->head, &from->head);
}

static void loader_free(struct loader *l)
{
	HASH_CLEAR(hh, l->by_name);
	slots_free(&l->now);
	slots_free(&l->fallback);
	free(l->uses);
	keyword_index_free(l->index);
	file_set_free(&l->files);
	arena_free(&l->temp);
}

static bool loader_run(struct loader *l, const char *path)
{
	const struct config_list *ike, *esp;

	l->index = keyword_index_new();
	l->uses = calloc(keyword_count(), sizeof(*l->uses));
	if (!l->index || !l->uses || !slots_new(&l->now) || !slots_new(&l->fallback))
		return false;
	ike = lists_get(l, PROTOCOL_IKE, "");
	esp = lists_get(l, PROTOCOL_ESP, "");
	if (!ike || !esp)
		return false;
	l->blank.ike = &ike->list;
	l->blank.esp = &esp->list;
	scanner_read(l, path);
	return !l->temp.bad && build_config(l) && names_build(l) && !l->keep->bad && !l->temp.bad;
}

struct config *config_load(const char *path, struct diag_list *diags)
{
	struct config *config = calloc(1, sizeof(*config));
	struct diag_list said;
	struct loader l = { .diags = &said, .config = config };
	bool ok;

	if (!config)
		return NULL;
	config->storage = calloc(1, sizeof(*config->storage));
	if (!config->storage) {
		free(config);
		return NULL;
	}
	l.keep = &config->storage->arena;
	diag_list_init(&said);
	ok = loader_run(&l, path);
	loader_free(&l);
	sort_diags(&said);
	move_diags(&said, diags);
	if (ok)
		return config;
	config_free(config);
	return NULL;
}

void config_free(struct config *config)
{
	struct name_entry *entry;

	if (!config)
		return;
	for (entry = config->storage->names; entry; entry = entry->hh.next)
		free(entry->conns);
	HASH_CLEAR(hh, config->storage->names);
	HASH_CLEAR(hh, config->storage->lists);
	arena_free(&config->storage->arena);
	free(config->storage);
	free(config->conns);
	free(config);
}

struct conn_config *config_find(struct config *config, const char *name, size_t *from)
{
	struct name_entry *entry;
	size_t low = 0, high;

	HASH_FIND_STR(config->storage->names, name, entry);
	if (!entry)
		return NULL;
	high = entry->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (entry->conns[middle] < *from)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == entry->count)
		return NULL;
	*from = entry->conns[low] + 1;
	return &config->conns[entry->conns[low]];
}
