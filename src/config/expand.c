/*
 * From sections to one set of keywords for each connection: its own, those of
 * also=, and those of %default where it has none.
 *
 * The first of several definitions counts, in the order of reading, with also=
 * read as if the other section stood in its place.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/load.h"

bool slots_new(struct slot_table *t)
{
	size_t places = keyword_count() * 3;

	t->items = calloc(places, sizeof(*t->items));
	t->used = calloc(places, sizeof(*t->used));
	t->count = 0;
	return t->items && t->used;
}

void slots_free(struct slot_table *t)
{
	free(t->items);
	free(t->used);
	memset(t, 0, sizeof(*t));
}

static size_t place_of(const struct keyword *k, enum keyword_side side)
{
	return (size_t)(k - keyword_at(0)) * 3 + side;
}

struct item *slot_get(const struct slot_table *t, const struct keyword *k, enum keyword_side side)
{
	return t->items[place_of(k, side)];
}

struct item *slot_find(const struct loader *l, const char *keyword, enum keyword_side side)
{
	const struct keyword *k;
	enum keyword_side none;

	keyword_lookup(l->index, false, keyword, strlen(keyword), &k, &none);
	return k ? slot_get(&l->now, k, side) : NULL;
}

static void slots_clear(struct slot_table *t)
{
	for (size_t i = 0; i < t->count; i++)
		t->items[t->used[i]] = NULL;
	t->count = 0;
}

static void slot_put(struct slot_table *t, size_t place, struct item *item)
{
	if (!t->items[place])
		t->used[t->count++] = place;
	t->items[place] = item;
}

/** One walk through a section and what it includes. */
struct walk {
	struct loader *l;
	struct section *conn; /* whose keywords are collected */
	const struct diag *problem;
	unsigned sections;
	bool stopped; /* it goes too far: what it has so far is never used */
};

static void walk_problem(struct walk *w, const struct diag *problem)
{
	if (!w->problem)
		w->problem = problem;
}

static void also_error(struct walk *w, struct item *item, const char *what)
{
	struct value_error e = { 0 };

	value_wrong(&e, "%s", what);
	walk_problem(w, problem_item(w->l, item, &e));
}

/** An item that comes second: the first one stays. */
static void put_first(struct walk *w, struct item *item)
{
	size_t place = place_of(item->keyword, item->side);
	struct item *first = w->l->now.items[place];
	bool same_section;

	if (!first) {
		slot_put(&w->l->now, place, item);
		return;
	}
	same_section = first->section == item->section;
	// Between sections an equal value is how common parts look: only a conflict is told.
	if (same_section || !value_same(item->keyword, first->value, item->value))
		warn_item(w->l, item, same_section ? "remove one of them" : NULL,
			  "%s= is ignored: the first counts, at %s:%u", item->spelled, first->file,
			  first->line);
}

static void walk_section(struct walk *w, struct section *s, unsigned depth);

static void walk_also(struct walk *w, struct item *item, unsigned depth)
{
	struct section *other;

	if (!*item->value) {
		also_error(w, item, "is empty");
		return;
	}
	HASH_FIND_STR(w->l->by_name, item->value, other);
	if (!other) {
		also_error(w, item, "names no conn of the configuration");
		return;
	}
	other->referenced = true;
	if (other->open) {
		also_error(w, item, "comes back to itself");
		return;
	}
	if (other->stamp == w->l->stamp)
		return; // by another way already
	if (depth + 1 > ALSO_MAX_DEPTH || ++w->sections > ALSO_MAX_SECTIONS) {
		also_error(w, item, "stands too deep in other sections, or with too many");
		w->stopped = true;
		return;
	}
	walk_section(w, other, depth + 1);
}

static void walk_section(struct walk *w, struct section *s, unsigned depth)
{
	s->stamp = w->l->stamp;
	s->open = true;
	if (s->problem)
		walk_problem(w, s->problem);
	for (struct item *item = s->items; item && !w->stopped; item = item->next) {
		if (item->keyword->type == KEYWORD_ALSO && item->keyword->status == KEYWORD_ACTIVE)
			walk_also(w, item, depth);
		else
			put_first(w, item);
	}
	s->open = false;
}

const struct diag *expand_section(struct loader *l, struct section *s)
{
	struct walk w = { .l = l, .conn = s };

	l->stamp++;
	slots_clear(&l->now);
	walk_section(&w, s, 0);
	for (size_t i = 0; i < l->fallback.count; i++) {
		size_t place = l->fallback.used[i];

		if (!l->now.items[place])
			slot_put(&l->now, place, l->fallback.items[place]);
	}
	return w.problem ? w.problem : l->fallback_problem;
}

void expand_defaults(struct loader *l)
{
	for (struct section *s = l->defaults.first; s; s = s->next) {
		struct walk w = { .l = l, .conn = s };

		// Within a section the first counts, a later section before an earlier one.
		slots_clear(&l->now);
		if (s->problem)
			walk_problem(&w, s->problem);
		for (struct item *item = s->items; item; item = item->next) {
			if (item->keyword->type == KEYWORD_ALSO)
				also_error(&w, item, "is not allowed in conn %default");
			else
				put_first(&w, item);
		}
		for (size_t i = 0; i < l->now.count; i++)
			slot_put(&l->fallback, l->now.used[i], l->now.items[l->now.used[i]]);
		if (!l->fallback_problem)
			l->fallback_problem = w.problem;
	}
	slots_clear(&l->now);
}
