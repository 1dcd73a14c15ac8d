/*
 * The store of pre-shared keys, and which one serves a pair of identities.
 */
#include "config/secrets.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "config/secrets_store.h"

/**
 * A form of `id` that is equal for equal identities: names without case and the dot at their end,
 * DNs as text without case and with single blanks. Allocated.
 */
static char *canonical(const struct identity *id)
{
	char buf[IDENTITY_TEXT];
	struct text t = { 0 };
	struct identity copy = *id;

	if (copy.type == IDENTITY_FQDN || copy.type == IDENTITY_EMAIL) {
		if (copy.len > 1 && copy.data[copy.len - 1] == '.')
			copy.len--;
		for (size_t i = 0; i < copy.len; i++)
			copy.data[i] = (uint8_t)tolower(copy.data[i]);
	}
	text_add(&t, "%u:", copy.type);
	if (copy.type == IDENTITY_DN) {
		char last = '\0';

		identity_format(&copy, buf, sizeof(buf));
		for (const char *p = buf; *p; last = *p++)
			if (*p != ' ' || last != ' ')
				text_add(&t, "%c", tolower((unsigned char)*p));
	} else {
		for (size_t i = 0; i < copy.len; i++)
			text_add(&t, "%02x", copy.data[i]);
	}
	if (t.bad) {
		text_free(&t);
		return NULL;
	}
	return t.str;
}

static bool stands_for_all(const struct identity *id)
{
	static const uint8_t zero[16];

	return id->type == IDENTITY_NONE ||
	       ((id->type == IDENTITY_IPV4 || id->type == IDENTITY_IPV6) && id->len <= 16 &&
		memcmp(id->data, zero, id->len) == 0);
}

static struct secret_id *find_id(const struct secrets *s, const struct identity *id)
{
	struct secret_id *found = NULL;
	char *key;

	if (stands_for_all(id))
		return NULL;
	key = canonical(id);
	if (key)
		HASH_FIND_STR(s->ids, key, found);
	free(key);
	return found;
}

struct secret_id *secrets_intern(struct secrets *s, const struct identity *id, bool *any)
{
	char text[IDENTITY_TEXT], *key;
	struct secret_id *found;

	*any = stands_for_all(id);
	if (*any)
		return NULL;
	found = find_id(s, id);
	if (found)
		return found;
	key = canonical(id);
	found = key ? arena_alloc(&s->arena, sizeof(*found)) : NULL;
	if (found) {
		found->key = arena_strdup(&s->arena, key);
		found->text = arena_strdup(&s->arena, identity_format(id, text, sizeof(text)));
		found->number = s->id_count++;
		if (found->key && found->text)
			HASH_ADD_KEYPTR(hh, s->ids, found->key, strlen(found->key), found);
	}
	free(key);
	return found && found->hh.tbl ? found : NULL;
}

/** Grow an array of pointers for one more. */
static bool grow(void *array, size_t count, size_t *cap)
{
	void **old, **bigger;

	if (count < *cap)
		return true;
	memcpy(&old, array, sizeof(old));
	bigger = realloc(old, (*cap ? *cap * 2 : 4) * sizeof(*bigger));
	if (!bigger)
		return false;
	*cap = *cap ? *cap * 2 : 4;
	memcpy(array, &bigger, sizeof(bigger));
	return true;
}

static int compare_numbers(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

	return x < y ? -1 : x > y;
}

/** The numbers of a record's indices, sorted and each once; %any is UINT_MAX. */
static unsigned *index_set(struct secrets *s, const struct secret_record *r, size_t *count)
{
	unsigned *set = arena_alloc(&s->arena, (r->index_count + 1) * sizeof(*set));
	size_t n = 0, unique = 0;

	if (!set)
		return NULL;
	for (size_t i = 0; i < r->index_count; i++)
		set[n++] = r->index[i] ? r->index[i]->number : UINT32_MAX;
	if (n == 0)
		set[n++] = UINT32_MAX;
	qsort(set, n, sizeof(*set), compare_numbers);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || set[i] != set[i - 1])
			set[unique++] = set[i];
	*count = unique;
	return set;
}

/** Enter a record under each of its indices. */
static bool link_record(struct secret_record *r, size_t different)
{
	for (size_t i = 0; i < r->index_count; i++) {
		struct secret_id *id = r->index[i];

		if (!id || (id->count && id->records[id->count - 1] == r))
			continue;
		if (!grow(&id->records, id->count, &id->cap))
			return false;
		id->records[id->count++] = r;
		if (r->any && !id->first_any)
			id->first_any = r;
		if (different == 1 && !id->first_single)
			id->first_single = r;
	}
	return true;
}

bool secrets_add(struct secrets *s, const char *file, unsigned line, struct secret_id **index,
		 size_t index_count, const uint8_t *bytes, size_t len,
		 const struct secret_record **rival)
{
	struct secret_record *r = arena_alloc(&s->arena, sizeof(*r)), *twin = NULL;
	size_t different;

	*rival = NULL;
	if (!r || !grow(&s->records, s->count, &s->cap))
		return false;
	*r = (struct secret_record){ .file = file, .line = line, .index_count = index_count,
				     .len = len, .any = index_count == 0 };
	r->index = arena_alloc(&s->arena, (index_count + 1) * sizeof(*r->index));
	r->bytes = secret_alloc(len);
	if (!r->index || !r->bytes) {
		secret_free(r->bytes);
		return false;
	}
	memcpy(r->bytes, bytes, len);
	s->records[s->count++] = r;
	for (size_t i = 0; i < index_count; i++) {
		r->index[i] = index[i];
		r->any |= !index[i];
		r->specific |= index[i] != NULL;
	}
	r->set_key = index_set(s, r, &different);
	if (!r->set_key || !link_record(r, different))
		return false;
	if (!r->specific && !s->first_any)
		s->first_any = r;
	HASH_FIND(hh, s->sets, r->set_key, different * sizeof(unsigned), twin);
	if (!twin)
		HASH_ADD_KEYPTR(hh, s->sets, r->set_key, different * sizeof(unsigned), r);
	else if (twin->len != len || CRYPTO_memcmp(twin->bytes, bytes, len) != 0)
		*rival = twin;
	return true;
}

struct secrets *secrets_load(const char *path, struct diag_list *diags)
{
	struct secrets *s = calloc(1, sizeof(*s));

	if (s)
		secrets_read(s, path, diags);
	return s;
}

void secrets_free(struct secrets *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++)
		secret_free(s->records[i]->bytes);
	for (struct secret_id *id = s->ids; id; id = id->hh.next)
		free(id->records);
	HASH_CLEAR(hh, s->ids);
	HASH_CLEAR(hh, s->sets);
	free(s->records);
	arena_free(&s->arena);
	free(s);
}

size_t secrets_count(const struct secrets *s)
{
	return s->count;
}

static bool has_index(const struct secret_record *r, const struct secret_id *id)
{
	for (size_t i = 0; i < r->index_count; i++)
		if (r->index[i] == id)
			return true;
	return false;
}

/** First record with both; the shorter of the two lists is searched. */
static const struct secret_record *find_pair(const struct secret_id *a, const struct secret_id *b)
{
	const struct secret_id *shorter = a->count <= b->count ? a : b;
	const struct secret_id *other = shorter == a ? b : a;

	for (size_t i = 0; i < shorter->count; i++)
		if (has_index(shorter->records[i], other))
			return shorter->records[i];
	return NULL;
}

/**
 * Best first: both identities; ours and %any; ours alone; theirs and %any; everyone's. A record
 * that has %any beside both (`A B %any`) serves the pair as one without it does, and one that
 * names somebody else is never everyone's.
 */
static const struct secret_record *select_record(const struct secrets *s,
						 const struct secret_id *local,
						 const struct secret_id *remote)
{
	const struct secret_record *both = local && remote ? find_pair(local, remote) : NULL;

	if (both)
		return both;
	if (local && local->first_any)
		return local->first_any;
	if (local && local->first_single)
		return local->first_single;
	if (remote && remote->first_any)
		return remote->first_any;
	return s->first_any;
}

static void add_indices(struct text *out, const struct secret_record *r, bool backwards)
{
	if (r->index_count == 0)
		text_add(out, "(none) (none)");
	for (size_t i = 0; i < r->index_count; i++) {
		const struct secret_id *id = r->index[backwards ? r->index_count - 1 - i : i];

		text_add(out, "%s%s", i ? " " : "", id ? id->text : "%any");
	}
}

static void explain(const struct secrets *s, const struct identity *local,
		    const struct identity *remote, const struct secret_id *near,
		    struct text *why)
{
	enum { NEAREST_MAX = 3 };
	char a[IDENTITY_TEXT], b[IDENTITY_TEXT];

	text_add(why, "no pre-shared key for %s and %s: searched %zu record%s",
		 identity_format(local, a, sizeof(a)), identity_format(remote, b, sizeof(b)),
		 s->count, s->count == 1 ? "" : "s");
	for (size_t i = 0; near && i < near->count && i < NEAREST_MAX; i++) {
		const struct secret_record *r = near->records[i];

		text_add(why, "%s%s:%u (", i ? ", " : "; nearest: ", r->file, r->line);
		add_indices(why, r, false);
		text_add(why, ")");
	}
}

bool secrets_psk(const struct secrets *s, const struct identity *local,
		 const struct identity *remote, struct secret *out, struct text *why)
{
	const struct secret_id *ours = find_id(s, local), *theirs = find_id(s, remote);
	const struct secret_record *r = select_record(s, ours, theirs);

	memset(out, 0, sizeof(*out));
	if (!r) {
		if (why)
			explain(s, local, remote, ours ? ours : theirs, why);
		return false;
	}
	out->len = r->len;
	memcpy(out->bytes, r->bytes, r->len);
	return true;
}

void secrets_list(const struct secrets *s, struct text *out)
{
	// The last one first and its indices from behind, as this family of commands lists them.
	for (size_t i = s->count; i-- > 0;) {
		text_add(out, "%5u: PSK ", s->records[i]->line);
		add_indices(out, s->records[i], true);
		text_add(out, "\n");
	}
}
