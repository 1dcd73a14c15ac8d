/*
 * Inside config/: from text to sections (scanner.c), to one list of keywords for
 * each connection (expand.c), to values (build.c).
 */
#ifndef CONFIG_LOAD_H
#define CONFIG_LOAD_H

// A hash without memory is an error that is passed on, not the end of the process.
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "config/arena.h"
#include "config/config.h"
#include "config/files.h"
#include "config/keywords.h"
#include "config/values.h"

enum {
	LINE_MAX_LEN = 64 * 1024,
	CONN_NAME_MAX = 63,      /* struct ike_conn's name */
	ALSO_MAX_DEPTH = 32,
	ALSO_MAX_SECTIONS = 256, /* in one connection */
	COMBINATIONS_MAX = 10000, /* of subnets= in one connection */
};

/** `keyword=value` on a line. */
struct item {
	struct item *next;
	const struct keyword *keyword;
	enum keyword_side side;
	const struct diag *problem; /* its error: one, however many connections have it */
	bool warned;         /* its warning was told: once as well */
	bool counted;        /* the same for what uses_report() tells */
	unsigned line;
	const char *file;
	const char *spelled; /* the keyword as written */
	const char *value;
	struct section *section;
};

/** `conn NAME` and what stands under it; also `config setup`. */
struct section {
	struct section *next;
	const char *name;
	const char *file;
	unsigned line;
	struct item *items, **tail;
	const struct diag *problem; /* its first line that could not be read */
	bool referenced;            /* by an also= */
	unsigned stamp;             /* also= has been here for the connection of this number */
	bool open;                  /* also= is inside of it */
	UT_hash_handle hh;
};

struct sections {
	struct section *first, **tail;
};

/** Use of a keyword that says something once for all of its uses. */
struct keyword_use {
	const struct item *first;
	unsigned count;
};

/** The keywords of one connection: three places for each row of the table, by side. */
struct slot_table {
	struct item **items;
	size_t *used; /* the places that are not NULL */
	size_t count;
};

/** A name or alias of a connection, for config_find(). */
struct name_entry {
	const char *name;
	size_t count, cap;
	size_t *conns; /* indices, ascending */
	UT_hash_handle hh;
};

struct config_list {
	char *key; /* protocol and text */
	struct proposal_list list;
	bool bad;
	char error[200];
	UT_hash_handle hh;
};

struct config_extra {
	const struct config_extra *next;
	const char *keyword; /* with left or right */
	const char *value;
};

struct config_storage {
	struct arena arena;
	struct name_entry *names;
	struct config_list *lists; /* hash over `protocol text` */
};

/** All that one config_load() needs. */
struct loader {
	struct diag_list *diags;
	struct config *config;
	struct arena *keep;  /* lives as long as the config */
	struct arena temp;   /* lives as long as the load */
	struct keyword_index *index;
	struct section *setup;        /* all `config setup` of all files in one */
	struct sections defaults, conns;
	struct section *by_name;      /* hash of conns: the first of each name */
	struct keyword_use *uses;     /* by row of the table */
	struct file_set files;
	size_t conns_cap;
	unsigned stamp;
	unsigned guesses;             /* nearest keywords looked for */
	struct slot_table now;        /* of the connection that is being built */
	struct slot_table fallback;   /* of %default */
	const struct diag *fallback_problem;
	struct conn_config blank;     /* a connection of defaults only */
};

/** Read `path` and its includes into sections. */
void scanner_read(struct loader *l, const char *path);

/** Build setup and connections out of the sections; false without memory. */
bool build_config(struct loader *l);

/** Collect all %default sections in `l->fallback`. */
void expand_defaults(struct loader *l);
/**
 * Collect a section's keywords in `l->now`, with those of also= and %default. Returns what sets
 * the connection aside, NULL when nothing does.
 */
const struct diag *expand_section(struct loader *l, struct section *s);
bool slots_new(struct slot_table *t);
void slots_free(struct slot_table *t);
/** The item in a place, NULL when it has none. */
struct item *slot_get(const struct slot_table *t, const struct keyword *k, enum keyword_side side);
struct item *slot_find(const struct loader *l, const char *keyword, enum keyword_side side);

/** Give an item's value to the field that it is for; false with an error. */
bool set_setup(struct loader *l, struct item *item, struct value_error *e);
bool set_conn(struct loader *l, struct conn_config *c, struct item *item, struct value_error *e);
/** The defaults of the table into `setup` and `l->blank`. */
bool set_defaults(struct loader *l);
/** Values mean the same to `k`. */
bool value_same(const struct keyword *k, const char *a, const char *b);

/**
 * What only the whole connection shows; the first error, or NULL. `broken`: the connection has an
 * error already, and nothing is said of what is missing.
 */
const struct diag *check_conn(struct loader *l, struct section *s, struct conn_config *c,
			      bool broken);

/** Add a diagnostic about a line; returns a copy that lives as long as the config. */
const struct diag *problem_at(struct loader *l, enum diag_severity severity, struct diag_at at,
			      const char *remedy, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
/** The copy only, for what the user has been told at another place. */
const struct diag *problem_quiet(struct loader *l, struct diag_at at, const char *remedy,
				 const char *format, ...) __attribute__((format(printf, 4, 5)));
/** An error or a warning of an item, told once; the error comes back as a problem for `conn`. */
const struct diag *problem_item(struct loader *l, struct item *item, const struct value_error *e);
void warn_item(struct loader *l, struct item *item, const char *remedy, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/** Count a use of a keyword that is told once: no effect, obsolete, replaced. */
void use_count(struct loader *l, struct item *item);
void uses_report(struct loader *l);

/** The list for `text`, shared by all connections with the same; NULL with an error. */
const struct config_list *lists_get(struct loader *l, enum ike_protocol protocol,
				    const char *text);

#endif
