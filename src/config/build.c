/*
 * From sets of keywords to the connections of struct config.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/load.h"

static void build_setup(struct loader *l)
{
	// Here the last one counts, as files are included to override what stands before them.
	for (struct item *item = l->setup->items; item; item = item->next) {
		struct item *later = item->next;
		struct value_error e = { 0 };

		while (later && later->keyword != item->keyword)
			later = later->next;
		if (later) {
			if (!value_same(item->keyword, item->value, later->value))
				warn_item(l, later, NULL, "%s=%s overrides the one at %s:%u",
					  later->spelled, later->value, item->file, item->line);
			continue;
		}
		if (!set_setup(l, item, &e))
			problem_item(l, item, &e);
	}
}

/** The connection's place in the config; NULL without memory. Moves the ones before it. */
static struct conn_config *append_conn(struct loader *l, const struct conn_config *c)
{
	struct config *config = l->config;

	if (config->count == l->conns_cap) {
		size_t cap = l->conns_cap ? l->conns_cap * 2 : 16;
		struct conn_config *bigger = realloc(config->conns, cap * sizeof(*bigger));

		if (!bigger) {
			l->temp.bad = true;
			return NULL;
		}
		config->conns = bigger;
		l->conns_cap = cap;
	}
	config->conns[config->count] = *c;
	return &config->conns[config->count++];
}

/** Networks of one end as alternatives: subnet= if it is there, then those of subnets=. */
struct alternatives {
	struct traffic_selector *ts;
	size_t count;
	bool has_first; /* number 0, what subnet= says (or nothing), is one of them */
};

static bool alternatives_parse(struct loader *l, struct conn_config *c, struct item *item,
			       const struct item *subnet, struct alternatives *out,
			       struct value_error *e)
{
	const struct end_config *end = item && item->side == SIDE_RIGHT ? &c->right : &c->left;
	const char *list = item ? item->value : "";
	char word[128];
	bool too_long, bits;
	size_t words = 0;

	*out = (struct alternatives){ .has_first = !item || subnet };
	if (!item)
		return true;
	if (subnet && end->subnets.count > 1)
		return value_wrong(e, "cannot stand beside a subnet= with several networks");
	while (list_next(&list, true, word, sizeof(word), &too_long))
		words++;
	if (words == 0)
		return value_wrong(e, "is empty");
	if (words > COMBINATIONS_MAX)
		return value_wrong(e, "has over %d networks", COMBINATIONS_MAX);
	out->ts = arena_alloc(&l->temp, words * sizeof(*out->ts));
	if (!out->ts)
		return value_wrong(e, "cannot be kept: out of memory");
	list = item->value;
	while (list_next(&list, true, word, sizeof(word), &too_long)) {
		if (too_long || !value_selector(word, &out->ts[out->count], &bits, e))
			return too_long ? value_wrong(e, "has a network that is none") : false;
		if (bits)
			warn_item(l, item, "write the first address of the network",
				  "%s=%s has host bits that are set: they are cleared",
				  item->spelled, item->value);
		out->count++;
	}
	return true;
}

static bool name_expanded(struct loader *l, struct conn_config *c, const struct conn_config *from,
			  size_t left, size_t right)
{
	char *text;
	int n = asprintf(&text, "%s/%zux%zu", from->name, left, right);

	if (n < 0)
		return false;
	c->name = arena_strdup(l->keep, text);
	free(text);
	if (!c->name || n > CONN_NAME_MAX)
		return false;
	if (from->alias) {
		n = asprintf(&text, "%s,%s", from->name, from->alias);
		if (n < 0)
			return false;
		c->alias = arena_strdup(l->keep, text);
		free(text);
	} else {
		c->alias = from->name;
	}
	return c->alias != NULL;
}

static void set_alternative(struct end_config *end, const struct alternatives *a, size_t i)
{
	if (i == 0)
		return;
	end->subnets.count = 0;
	ts_list_add(&end->subnets, &a->ts[i - 1]);
}

/** All pairs of networks as connections NAME/LxR; false with an error that sets `c` aside. */
static bool append_combinations(struct loader *l, const struct conn_config *c,
				const struct alternatives *left, const struct alternatives *right,
				struct value_error *e)
{
	size_t pairs = (left->count + left->has_first) * (right->count + right->has_first);
	size_t first = l->config->count, skipped = 0;

	if (pairs > COMBINATIONS_MAX)
		return value_wrong(e, "makes %zu connections, over the limit of %d", pairs,
				   COMBINATIONS_MAX);
	for (size_t i = left->has_first ? 0 : 1; i <= left->count; i++) {
		for (size_t j = right->has_first ? 0 : 1; j <= right->count; j++) {
			struct conn_config one = *c;

			set_alternative(&one.left, left, i);
			set_alternative(&one.right, right, j);
			if (one.left.subnets.count && one.right.subnets.count &&
			    one.left.subnets.ts[0].lo.family != one.right.subnets.ts[0].lo.family) {
				skipped++; // a pair of two families carries nothing
				continue;
			}
			if (!name_expanded(l, &one, c, i, j) || !append_conn(l, &one)) {
				l->config->count = first;
				return value_wrong(e, "makes names of over %d bytes",
						   CONN_NAME_MAX);
			}
		}
	}
	if (skipped == pairs)
		return value_wrong(e, "has no network of the other end's family");
	return true;
}

/** Add a good connection, once for each combination of its networks. */
static const struct diag *append_good(struct loader *l, struct conn_config *c)
{
	struct item *left = slot_find(l, "leftsubnets", SIDE_LEFT);
	struct item *right = slot_find(l, "rightsubnets", SIDE_RIGHT);
	struct alternatives la, ra;
	struct value_error e = { 0 };

	if (!left && !right)
		return append_conn(l, c), NULL; // without memory the load as a whole fails
	if (!alternatives_parse(l, c, left, slot_find(l, "leftsubnet", SIDE_LEFT), &la, &e))
		return problem_item(l, left, &e);
	if (!alternatives_parse(l, c, right, slot_find(l, "rightsubnet", SIDE_RIGHT), &ra, &e))
		return problem_item(l, right, &e);
	if (!append_combinations(l, c, &la, &ra, &e))
		return problem_item(l, left ? left : right, &e);
	return NULL;
}

/** Keywords whose values others override: auth= before authby=, mark-in= before mark=. */
static bool comes_second(const struct keyword *k)
{
	return k->type == KEYWORD_AUTH || (k->type == KEYWORD_MARK && k->stored);
}

static const struct diag *apply_items(struct loader *l, struct conn_config *c)
{
	const struct diag *problem = NULL;

	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < l->now.count; i++) {
			struct item *item = l->now.items[l->now.used[i]];
			struct value_error e = { 0 };

			if (comes_second(item->keyword) != (pass == 1) ||
			    set_conn(l, c, item, &e))
				continue;
			const struct diag *p = problem_item(l, item, &e);

			problem = problem ? problem : p;
		}
	}
	return problem;
}

/** An error that came by also= was told of the other section: say who else it sets aside. */
static void tell_inherited(struct loader *l, const struct section *s, const struct diag *problem)
{
	if (!problem->conn || strcmp(problem->conn, s->name) == 0 || *problem->conn == '%')
		return;
	problem_at(l, DIAG_ERROR, (struct diag_at){ s->file, s->line, s->name }, NULL,
		   "it includes conn %s, which has an error at %s:%u", problem->conn,
		   problem->file, problem->line);
}

static bool build_conn(struct loader *l, struct section *s)
{
	struct conn_config c = l->blank;
	const struct diag *problem = expand_section(l, s), *p;

	c.name = (char *)s->name;
	c.file = s->file;
	c.line = s->line;
	p = apply_items(l, &c);
	problem = problem ? problem : p;
	c.pfs_written = slot_find(l, "pfs", SIDE_NONE) != NULL;
	p = check_conn(l, s, &c, problem != NULL);
	problem = problem ? problem : p;
	if (!problem)
		problem = append_good(l, &c);
	if (!problem)
		return true;
	tell_inherited(l, s, problem);
	c.set_aside = true;
	c.problem = problem;
	return append_conn(l, &c) != NULL;
}

/** %default alone, so that a wrong value in it is told even when no connection takes it. */
static void check_defaults(struct loader *l)
{
	struct conn_config c = l->blank;

	for (size_t i = 0; i < l->fallback.count; i++) {
		struct item *item = l->fallback.items[l->fallback.used[i]];
		struct value_error e = { 0 };

		if (!set_conn(l, &c, item, &e))
			problem_item(l, item, &e);
	}
}

static void mark_references(struct loader *l)
{
	for (struct section *s = l->conns.first; s; s = s->next) {
		for (struct item *item = s->items; item; item = item->next) {
			struct section *other;

			if (item->keyword->type != KEYWORD_ALSO)
				continue;
			HASH_FIND_STR(l->by_name, item->value, other);
			if (other && other != s)
				other->referenced = true;
		}
	}
}

bool build_config(struct loader *l)
{
	if (!set_defaults(l))
		return false;
	build_setup(l);
	mark_references(l);
	expand_defaults(l);
	check_defaults(l);
	for (struct section *s = l->conns.first; s; s = s->next)
		if (!build_conn(l, s))
			return false;
	uses_report(l);
	return true;
}
