/*
 * Finding a row by what was written, and what to say when there is none.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "config/keywords.h"

enum { INDEX_SLOTS = 1024, NAME_MAX_LEN = 48 };

struct index_slot {
	const char *name; /* not terminated: aliases share one string */
	size_t len;
	const struct keyword *keyword;
};

/** Open addressing; setup and conn names are told apart by the hash and by the row's scope. */
struct keyword_index {
	struct index_slot slots[INDEX_SLOTS];
};

static uint32_t name_hash(bool setup, const char *name, size_t len)
{
	uint32_t h = setup ? 2166136261u : 40503u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint32_t)tolower((unsigned char)name[i])) * 16777619u;
	return h;
}

static void index_add(struct keyword_index *index, const struct keyword *k, const char *name,
		      size_t len)
{
	uint32_t i = name_hash(k->scope == KEYWORD_SETUP, name, len) % INDEX_SLOTS;

	while (index->slots[i].keyword)
		i = (i + 1) % INDEX_SLOTS;
	index->slots[i] = (struct index_slot){ .name = name, .len = len, .keyword = k };
}

/** The next word of a space separated list; NULL at its end. */
static const char *next_word(const char **list, size_t *len)
{
	const char *word;

	if (!*list)
		return NULL;
	*list += strspn(*list, " ");
	if (!**list)
		return NULL;
	word = *list;
	*len = strcspn(word, " ");
	*list += *len;
	return word;
}

struct keyword_index *keyword_index_new(void)
{
	struct keyword_index *index = calloc(1, sizeof(*index));
	const struct keyword *k;

	if (!index)
		return NULL;
	for (size_t i = 0; (k = keyword_at(i)); i++) {
		const char *aliases = k->aliases, *word;
		size_t len;

		index_add(index, k, k->name, strlen(k->name));
		while ((word = next_word(&aliases, &len)))
			index_add(index, k, word, len);
	}
	return index;
}

void keyword_index_free(struct keyword_index *index)
{
	free(index);
}

static const struct keyword *index_find(const struct keyword_index *index, bool setup,
					const char *name, size_t len)
{
	uint32_t i = name_hash(setup, name, len) % INDEX_SLOTS;

	for (; index->slots[i].keyword; i = (i + 1) % INDEX_SLOTS) {
		const struct index_slot *s = &index->slots[i];

		if ((s->keyword->scope == KEYWORD_SETUP) == setup && s->len == len &&
		    strncasecmp(s->name, name, len) == 0)
			return s->keyword;
	}
	return NULL;
}

/** Cut `left` or `right` and a dash off the front. */
static enum keyword_side side_cut(const char **name, size_t *len)
{
	enum keyword_side side = SIDE_NONE;
	size_t cut = 0;

	if (*len >= 4 && strncasecmp(*name, "left", 4) == 0) {
		side = SIDE_LEFT;
		cut = 4;
	} else if (*len >= 5 && strncasecmp(*name, "right", 5) == 0) {
		side = SIDE_RIGHT;
		cut = 5;
	}
	if (cut && cut + 1 < *len && (*name)[cut] == '-')
		cut++;
	*name += cut;
	*len -= cut;
	return side;
}

enum keyword_match keyword_lookup(const struct keyword_index *index, bool setup, const char *name,
				  size_t len, const struct keyword **out, enum keyword_side *side)
{
	*out = NULL;
	*side = SIDE_NONE;
	if (len == 0)
		return KEYWORD_UNKNOWN;
	if (setup) {
		*out = index_find(index, true, name, len);
		return *out ? KEYWORD_FOUND : KEYWORD_UNKNOWN;
	}
	*out = index_find(index, false, name, len);
	if (*out)
		return (*out)->scope == KEYWORD_END ? KEYWORD_NEEDS_SIDE : KEYWORD_FOUND;
	*side = side_cut(&name, &len);
	if (*side == SIDE_NONE)
		return KEYWORD_UNKNOWN;
	*out = index_find(index, false, name, len);
	if (!*out)
		return KEYWORD_UNKNOWN;
	return (*out)->scope == KEYWORD_END ? KEYWORD_FOUND : KEYWORD_HAS_NO_SIDE;
}

/** Levenshtein's distance of two short names; large when one is too long for it. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);
	size_t row[NAME_MAX_LEN + 1];

	if (la > NAME_MAX_LEN || lb > NAME_MAX_LEN)
		return SIZE_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t up = row[j];
			bool same = tolower((unsigned char)a[i - 1]) == b[j - 1];
			size_t best = diagonal + (same ? 0 : 1);

			if (up + 1 < best)
				best = up + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
			diagonal = up;
		}
	}
	return row[lb];
}

static void consider(const char *name, const char *prefix, const char *candidate, size_t clen,
		     size_t *best, char *buf, size_t len)
{
	char full[NAME_MAX_LEN + 1];
	size_t plen = strlen(prefix), d;

	if (plen + clen > NAME_MAX_LEN || plen + clen >= len)
		return;
	memcpy(full, prefix, plen);
	memcpy(full + plen, candidate, clen);
	full[plen + clen] = '\0';
	d = edit_distance(name, full);
	if (d < *best) {
		*best = d;
		memcpy(buf, full, plen + clen + 1);
	}
}

bool keyword_nearest(bool setup, const char *name, char *buf, size_t len)
{
	// One mistake in four letters: further away a guess only misleads.
	size_t limit = strlen(name) / 4 + 1, best = limit > 3 ? 4 : limit + 1, start = best;
	const struct keyword *k;

	for (size_t i = 0; (k = keyword_at(i)); i++) {
		const char *word = k->name, *aliases = k->aliases;
		size_t wlen = strlen(word);

		if ((k->scope == KEYWORD_SETUP) != setup || k->status == KEYWORD_REMOVED ||
		    k->status == KEYWORD_OBSOLETE)
			continue;
		do {
			if (k->scope == KEYWORD_END) {
				consider(name, "left", word, wlen, &best, buf, len);
				consider(name, "right", word, wlen, &best, buf, len);
			} else {
				consider(name, "", word, wlen, &best, buf, len);
			}
		} while ((word = next_word(&aliases, &wlen)));
	}
	return best < start;
}

static void describe_values(const struct keyword *k, struct text *out)
{
	const struct keyword_value *v = k->values;

	for (size_t i = 0; v && v[i].name; i++)
		text_add(out, "%s%s", i == 0 ? "" : v[i + 1].name ? ", " : " or ", v[i].name);
}

static void describe_number(const struct keyword *k, struct text *out)
{
	text_add(out, "a number from %llu", (unsigned long long)k->min);
	if (k->max)
		text_add(out, " to %llu", (unsigned long long)k->max);
}

void keyword_describe(const struct keyword *k, struct text *out)
{
	switch (k->type) {
	case KEYWORD_YN:
	case KEYWORD_ENCAPS_OLD:
		text_add(out, "yes or no");
		break;
	case KEYWORD_CHOICE:
	case KEYWORD_CHOICES:
	case KEYWORD_AUTH:
	case KEYWORD_AUTHBY:
	case KEYWORD_ESN:
	case KEYWORD_VERSION:
		describe_values(k, out);
		break;
	case KEYWORD_SECONDS:
		text_add(out, "a time: a number and s, m, h, d or w, as in 8h");
		break;
	case KEYWORD_MILLISECONDS:
		text_add(out, "a time: a number and ms or s, as in 500ms");
		break;
	case KEYWORD_BYTES:
		text_add(out, "a number of bytes, with KiB, MiB, GiB, TiB or PiB, as in 100MiB");
		break;
	case KEYWORD_INTEGER:
		text_add(out, "-1 or ");
		describe_number(k, out);
		break;
	case KEYWORD_COUNT:
	case KEYWORD_NUMBER:
	case KEYWORD_PORT:
		describe_number(k, out);
		if (k->values) {
			text_add(out, ", or ");
			describe_values(k, out);
		}
		break;
	case KEYWORD_PERCENT:
		text_add(out, "a number and %%, as in 100%%");
		break;
	case KEYWORD_STRING:
	case KEYWORD_LIST:
	case KEYWORD_NAMES:
		text_add(out, "%s", k->type == KEYWORD_STRING ? "text" : "a list of words");
		break;
	case KEYWORD_FILE:
		text_add(out, "a path");
		break;
	case KEYWORD_ADDRESS:
	case KEYWORD_ADDRESSES:
		text_add(out, "an address, as in 192.0.2.1 or 2001:db8::1");
		if (k->values) {
			text_add(out, ", or ");
			describe_values(k, out);
		}
		break;
	case KEYWORD_HOST:
		text_add(out, "an address, a name, %%any, %%defaultroute or %%INTERFACE");
		break;
	case KEYWORD_SUBNET:
	case KEYWORD_SUBNETS:
		text_add(out, "a list of networks, as in 192.0.2.0/24 or 192.0.2.0/24/tcp/80");
		break;
	case KEYWORD_ID:
		text_add(out, "an address, @name, user@name, @[key id], a DN in quotes, %%any or %%null");
		break;
	case KEYWORD_PROTOPORT:
		text_add(out, "a protocol and a port, as in tcp/80, 17/1701 or udp/%%any");
		break;
	case KEYWORD_PROPOSALS_IKE:
		text_add(out, "proposals, as in aes_gcm256-sha2_512-dh19");
		break;
	case KEYWORD_PROPOSALS_ESP:
		text_add(out, "proposals, as in aes_gcm256 or aes256-sha2_256");
		break;
	case KEYWORD_MARK:
		text_add(out, "a number, with a mask, as in 0x10/0xff");
		break;
	case KEYWORD_ALSO:
		text_add(out, "the name of a conn section");
		break;
	case KEYWORD_DEBUG:
		text_add(out, "none, all, base or a list of other kinds");
		break;
	}
}

const char *keyword_status_name(enum keyword_status status)
{
	switch (status) {
	case KEYWORD_ACTIVE:
		return "";
	case KEYWORD_ACCEPTED:
		return "accepted, without meaning here";
	case KEYWORD_NO_EFFECT:
		return "no effect yet";
	case KEYWORD_OBSOLETE:
		return "obsolete, ignored";
	case KEYWORD_REPLACED:
		return "replaced, still works";
	case KEYWORD_IKEV1:
		return "IKEv1 only";
	case KEYWORD_REMOVED:
		return "removed";
	}
	return "";
}
