/*
 * Memory that lives and dies together: the many small strings and records of
 * a configuration, freed in one call.
 */
#ifndef CONFIG_ARENA_H
#define CONFIG_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena_block;

/** Zeroed memory is an empty arena. A failed allocation sets `bad`, which stays. */
struct arena {
	struct arena_block *head;
	bool bad;
};

/** Zeroed and aligned memory, NULL when there is none. */
void *arena_alloc(struct arena *a, size_t size);
char *arena_strndup(struct arena *a, const char *s, size_t len);
char *arena_strdup(struct arena *a, const char *s);
void arena_free(struct arena *a);

#endif
