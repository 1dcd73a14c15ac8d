/*
 * The one table of keywords of ipsec.conf.
 *
 * A row has everything that is known of a keyword: its spellings, where it may
 * stand, its type, default and values, what became of it, and a line of help.
 * The parser, checkconfig, readwriteconf and the manual page come from it.
 */
#ifndef CONFIG_KEYWORDS_H
#define CONFIG_KEYWORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text;

/** Where a keyword may stand. */
enum keyword_scope {
	KEYWORD_SETUP, /* config setup */
	KEYWORD_CONN,  /* conn, once */
	KEYWORD_END,   /* conn, as left... and right... */
};

/** What its value is, and with that the type of the field that it goes to. */
enum keyword_type {
	KEYWORD_YN,          /* bool */
	KEYWORD_CHOICE,      /* int, one of `values` */
	KEYWORD_CHOICES,     /* comma separated `values`; no field */
	KEYWORD_SECONDS,     /* uint64_t, default unit s */
	KEYWORD_MILLISECONDS, /* uint64_t, default unit ms */
	KEYWORD_BYTES,       /* uint64_t, KiB to EiB */
	KEYWORD_COUNT,       /* uint64_t, a number that may be as large as that */
	KEYWORD_NUMBER,      /* uint32_t, min to max, or one of `values` */
	KEYWORD_INTEGER,     /* int, -1 or a number up to max */
	KEYWORD_PORT,        /* uint16_t */
	KEYWORD_PERCENT,     /* uint32_t */
	KEYWORD_STRING,      /* char * */
	KEYWORD_FILE,        /* char * */
	KEYWORD_LIST,        /* words with commas or blanks between them; no field */
	KEYWORD_ADDRESS,     /* struct ip_address, or one of `values`, which mean none */
	KEYWORD_ADDRESSES,   /* struct ip_address: the first of a list */
	KEYWORD_HOST,
	KEYWORD_SUBNET,
	KEYWORD_SUBNETS,
	KEYWORD_ID,
	KEYWORD_PROTOPORT,
	KEYWORD_AUTH,
	KEYWORD_AUTHBY,
	KEYWORD_PROPOSALS_IKE,
	KEYWORD_PROPOSALS_ESP,
	KEYWORD_ESN,
	KEYWORD_MARK,
	KEYWORD_VERSION,
	KEYWORD_NAMES,       /* connalias= */
	KEYWORD_ALSO,
	KEYWORD_ENCAPS_OLD,  /* forceencaps= */
	KEYWORD_DEBUG,
};

enum keyword_status {
	KEYWORD_ACTIVE,
	KEYWORD_ACCEPTED,  /* taken; says nothing that is not so anyway */
	KEYWORD_NO_EFFECT, /* its feature is not there yet */
	KEYWORD_OBSOLETE,  /* means nothing any more; warned and ignored */
	KEYWORD_REPLACED,  /* works, warned once; `hint` has the new way */
	KEYWORD_IKEV1,     /* needs IKEv1; an error unless the value is in `noop` */
	KEYWORD_REMOVED,   /* an error; `hint` says what to do */
};

/** A named value; several names of one value stand together, the usual one first. */
struct keyword_value {
	const char *name; /* NULL ends the table */
	int value;
};

struct keyword {
	const char *name; /* without left or right; "" is left= and right= themselves */
	enum keyword_scope scope;
	enum keyword_type type;
	enum keyword_status status;
	const char *fallback; /* default as it would be written; NULL: nothing */
	const char *since;    /* first version of Libreswan that has it, "4.5" for all older */
	const char *help;
	const char *aliases;  /* space separated, NULL: none */
	const char *noop;     /* space separated values that change nothing, beside the default */
	const char *hint;     /* remedy when it is obsolete, replaced or removed */
	const struct keyword_value *values;
	uint64_t min, max;    /* numbers; max 0: as large as the type */
	bool stored;          /* there is a field, `offset` bytes into its structure */
	size_t offset;        /* into setup_config, conn_config or end_config, by scope */
};

/** Row `i` in the order of the table (and of readwriteconf), NULL past the end. */
const struct keyword *keyword_at(size_t i);
/** How many rows there are. */
size_t keyword_count(void);
/** What its values look like (`yes or no`, `a time: ...`), appended to `out`. */
void keyword_describe(const struct keyword *k, struct text *out);
/** `status` in words for help: `no effect yet`, `obsolete`, ...; "" when active. */
const char *keyword_status_name(enum keyword_status status);

/** An index over the table for fast look-up; made once for each load. */
struct keyword_index;
struct keyword_index *keyword_index_new(void);
void keyword_index_free(struct keyword_index *index);

enum keyword_side { SIDE_NONE, SIDE_LEFT, SIDE_RIGHT };

/** What a spelling turned out to be. */
enum keyword_match {
	KEYWORD_FOUND,
	KEYWORD_UNKNOWN,
	KEYWORD_NEEDS_SIDE, /* `subnet=` without left or right */
	KEYWORD_HAS_NO_SIDE, /* `leftauto=` */
};

/**
 * Look up a spelling (case does not matter; left-foo is leftfoo) of `len` bytes in a `config
 * setup` (`setup`) or a conn.
 */
enum keyword_match keyword_lookup(const struct keyword_index *index, bool setup, const char *name,
				  size_t len, const struct keyword **out, enum keyword_side *side);
/** The spelling that is nearest to an unknown one, in `buf`; false when none is near. */
bool keyword_nearest(bool setup, const char *name, char *buf, size_t len);

#endif
