/* Inside config/: records of ipsec.secrets, between secrets_read.c and secrets.c. */
#ifndef CONFIG_SECRETS_STORE_H
#define CONFIG_SECRETS_STORE_H

#include <stdint.h>

#include "config/arena.h"
#include "config/files.h"
#include "config/secrets.h"

// A hash without memory is an error that is passed on, not the end of the process.
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct secret_record;

/** An identity that some record has as index, once. */
struct secret_id {
	char *key; /* canonical form: equal keys are equal identities */
	const char *text;
	unsigned number;
	struct secret_record **records; /* that have it, in file order */
	size_t count, cap;
	struct secret_record *first_any;    /* first with it and %any */
	struct secret_record *first_single; /* first with it alone */
	UT_hash_handle hh;
};

struct secret_record {
	const char *file;
	unsigned line;
	size_t index_count;
	struct secret_id **index; /* NULL in it: %any */
	bool any;                 /* one index is %any, or there is none */
	bool specific;            /* one index is not %any */
	uint8_t *bytes;           /* secret memory */
	size_t len;
	void *set_key;            /* its indices as a set: the hash of the first of equal ones */
	UT_hash_handle hh;
};

struct secrets {
	struct arena arena;
	struct secret_id *ids;
	unsigned id_count;
	struct secret_record **records;
	size_t count, cap;
	struct secret_record *first_any; /* first for everyone */
	struct secret_record *sets;
};

/**
 * The identity of an index; NULL without memory. `*any`: it stands for everyone (and NULL is
 * returned too).
 */
struct secret_id *secrets_intern(struct secrets *s, const struct identity *id, bool *any);
/**
 * Add a record with a copy of `len` bytes of a secret; false without memory. An earlier record of
 * the same identities with another secret comes back in `*rival`.
 */
bool secrets_add(struct secrets *s, const char *file, unsigned line, struct secret_id **index,
		 size_t index_count, const uint8_t *bytes, size_t len,
		 const struct secret_record **rival);
/** Read `path` and its includes into `s`. */
void secrets_read(struct secrets *s, const char *path, struct diag_list *diags);

#endif
