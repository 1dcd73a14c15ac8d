#include "esp/policy.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* --- addresses as bits -------------------------------------------------------------------- */

enum { ADDRESS_BITS = 128 }; /* IPv4's are the first 32 of them */

/* The first `length` bits count, the others are zero. */
struct bits {
	uint64_t high, low;
	unsigned length;
};

static uint64_t be64_at(const uint8_t *p)
{
	return (uint64_t)load_be32(p) << 32 | load_be32(p + 4);
}

static struct bits bits_of_address(const struct ip_address *a)
{
	if (a->family == AF_INET)
		return (struct bits){ (uint64_t)load_be32(a->bytes) << 32, 0, 32 };
	return (struct bits){ be64_at(a->bytes), be64_at(a->bytes + 8), ADDRESS_BITS };
}

static unsigned bits_common(const struct bits *a, const struct bits *b)
{
	unsigned same = ADDRESS_BITS, max = a->length < b->length ? a->length : b->length;

	if (a->high != b->high)
		same = (unsigned)__builtin_clzll(a->high ^ b->high);
	else if (a->low != b->low)
		same = 64 + (unsigned)__builtin_clzll(a->low ^ b->low);
	return same < max ? same : max;
}

static struct bits bits_cut(struct bits b, unsigned length)
{
	b.high &= length == 0 ? 0 : length >= 64 ? UINT64_MAX : UINT64_MAX << (64 - length);
	b.low &= length <= 64 ? 0 : length >= ADDRESS_BITS ? UINT64_MAX : UINT64_MAX << (ADDRESS_BITS - length);
	b.length = length;
	return b;
}

/* Bit number `at` from the left. */
static unsigned bits_at(const struct bits *b, unsigned at)
{
	return (at < 64 ? b->high >> (63 - at) : b->low >> (127 - at)) & 1;
}

/* The longest prefix that has all of a selector's addresses. */
static struct bits bits_around(const struct traffic_selector *ts)
{
	struct bits lo = bits_of_address(&ts->lo), hi = bits_of_address(&ts->hi);

	return bits_cut(lo, bits_common(&lo, &hi));
}

/* --- the trie ------------------------------------------------------------------------------- */

enum level { REMOTE, LOCAL };

struct policy_node {
	struct bits key;
	struct policy_node *child[2]; /* keys that go on with 0, with 1 */
	struct policy_node *locals;   /* level REMOTE: the trie by local addresses, or NULL */
	unsigned refs;                /* nodes and lists that have it */
	size_t count;                 /* level LOCAL */
	struct policy_entry *entries[]; /* first to last */
};

/* Where a pair hangs. */
struct place {
	struct bits key[2]; /* by level */
};

static struct policy_node *node_get(struct policy_node *n)
{
	if (n)
		n->refs++;
	return n;
}

static void entry_put(struct policy_entry *e)
{
	if (--e->refs == 0)
		free(e);
}

/* As deep as the bits of two addresses, at most. */
static void node_put(struct policy_node *n)
{
	if (!n || --n->refs > 0)
		return;
	node_put(n->child[0]);
	node_put(n->child[1]);
	node_put(n->locals);
	for (size_t i = 0; i < n->count; i++)
		entry_put(n->entries[i]);
	free(n);
}

static struct policy_node *node_new(const struct bits *key, size_t max)
{
	struct policy_node *n = calloc(1, sizeof(*n) + max * sizeof(n->entries[0]));

	if (n) {
		n->key = *key;
		n->refs = 1;
	}
	return n;
}

static void add_entry(struct policy_node *n, struct policy_entry *e)
{
	n->entries[n->count++] = e;
	e->refs++;
}

static bool entry_before(const struct policy_entry *a, const struct policy_entry *b)
{
	return a->priority != b->priority ? a->priority < b->priority : a->order < b->order;
}

/* A copy with room for one entry more; without those of `without`, unless it is NULL. */
static struct policy_node *node_copy(const struct policy_node *old, const struct policy_state *without)
{
	struct policy_node *n = node_new(&old->key, old->count + 1);

	if (!n)
		return NULL;
	n->child[0] = node_get(old->child[0]);
	n->child[1] = node_get(old->child[1]);
	n->locals = node_get(old->locals);
	for (size_t i = 0; i < old->count; i++)
		if (old->entries[i]->state != without || !without)
			add_entry(n, old->entries[i]);
	return n;
}

/* Put `to` in the place of what `at` refers to; false if it is none. */
static bool swap(struct policy_node **at, struct policy_node *to)
{
	if (!to)
		return false;
	node_put(*at);
	*at = to;
	return true;
}

static struct policy_node *insert(struct policy_node *old, enum level level, const struct place *at,
				  struct policy_entry *e);

/* To a node of its own that nobody else has yet: the pair, or at level REMOTE the way to it. */
static bool take(struct policy_node *n, enum level level, const struct place *at,
		 struct policy_entry *e)
{
	size_t to = n->count;

	if (level == REMOTE)
		return swap(&n->locals, insert(n->locals, LOCAL, at, e));
	add_entry(n, e);
	for (; to > 0 && entry_before(e, n->entries[to - 1]); to--)
		n->entries[to] = n->entries[to - 1];
	n->entries[to] = e;
	return true;
}

/* A node for `key` at or above `old`, which does not lie on the way to it. */
static struct policy_node *branch(struct policy_node *old, const struct bits *key, unsigned common)
{
	struct bits at = bits_cut(*key, common);
	struct policy_node *n = node_new(&at, 1);

	if (n)
		n->child[bits_at(&old->key, common)] = node_get(old);
	return n;
}

/* A copy of the trie `old` with the pair in it, NULL without memory. */
static struct policy_node *insert(struct policy_node *old, enum level level, const struct place *at,
				  struct policy_entry *e)
{
	const struct bits *key = &at->key[level];
	unsigned common = old ? bits_common(&old->key, key) : 0;
	struct policy_node *n;
	bool ok;

	if (!old)
		n = node_new(key, 1);
	else if (common < old->key.length)
		n = branch(old, key, common);
	else
		n = node_copy(old, NULL);
	if (!n)
		return NULL;
	if (n->key.length == key->length) {
		ok = take(n, level, at, e);
	} else {
		struct policy_node **child = &n->child[bits_at(key, n->key.length)];

		ok = swap(child, insert(*child, level, at, e));
	}
	if (ok)
		return n;
	node_put(n);
	return NULL;
}

/* A node without pairs and with one child or none is not needed: what stands for it. */
static struct policy_node *shortened(struct policy_node *n)
{
	struct policy_node *only = n->child[0] ? n->child[0] : n->child[1];

	if (n->count || n->locals || (n->child[0] && n->child[1]))
		return n;
	node_get(only);
	node_put(n);
	return only;
}

struct removal {
	struct place at;
	const struct policy_state *state;
	size_t removed;
	bool failed; /* no memory: what comes back is only to be put */
};

/* A copy of the trie `old` in which the state has no pairs at a place; NULL if it is empty then. */
static struct policy_node *without(struct policy_node *old, enum level level, struct removal *r)
{
	const struct bits *key = &r->at.key[level];
	struct policy_node *n, **down = NULL, *less;
	bool there = old && key->length == old->key.length;

	if (!old || bits_common(&old->key, key) < old->key.length)
		return node_get(old);
	n = node_copy(old, there && level == LOCAL ? r->state : NULL);
	if (!n) {
		r->failed = true;
		return NULL;
	}
	r->removed += old->count - n->count;
	if (!there)
		down = &n->child[bits_at(key, n->key.length)];
	else if (level == REMOTE)
		down = &n->locals;
	if (down) {
		less = without(*down, there ? LOCAL : level, r);
		node_put(*down);
		*down = less;
	}
	return shortened(n);
}

/* --- lists ---------------------------------------------------------------------------------- */

static size_t root_of(const struct traffic_selector *ts)
{
	return ts->lo.family == AF_INET6;
}

static struct place place_of(const struct traffic_selector *local,
			     const struct traffic_selector *remote)
{
	return (struct place){ { [REMOTE] = bits_around(remote), [LOCAL] = bits_around(local) } };
}

static bool remove_pair(struct policy_list *list, struct policy_state *state,
			const struct traffic_selector *local, const struct traffic_selector *remote)
{
	struct removal r = { .at = place_of(local, remote), .state = state };
	struct policy_node **root = &list->roots[root_of(local)], *less;

	less = without(*root, REMOTE, &r);
	node_put(*root);
	*root = less;
	list->count -= r.removed;
	return !r.failed;
}

static bool add_pair(struct policy_list *list, struct policy_state *state,
		     const struct sa_policy *policy, const struct traffic_selector *local,
		     const struct traffic_selector *remote)
{
	struct policy_node **root = &list->roots[root_of(local)];
	struct place at = place_of(local, remote);
	struct policy_entry *e = calloc(1, sizeof(*e));
	bool ok;

	if (!e)
		return false;
	*e = (struct policy_entry){ .local = *local, .remote = *remote, .priority = policy->priority,
				    .action = policy->action, .state = state, .refs = 1,
				    .order = list->next_order++ };
	if (e->priority == 0)
		e->priority = sa_policy_priority(local, remote);
	ok = swap(root, insert(*root, REMOTE, &at, e));
	list->count += ok;
	entry_put(e);
	return ok;
}

static bool remove_policy(struct policy_list *list, struct policy_state *state,
			  const struct sa_policy *p)
{
	bool ok = true;

	for (size_t l = 0; ok && l < p->local_ts.count; l++)
		for (size_t r = 0; ok && r < p->remote_ts.count; r++)
			if (p->local_ts.ts[l].lo.family == p->remote_ts.ts[r].lo.family)
				ok = remove_pair(list, state, &p->local_ts.ts[l], &p->remote_ts.ts[r]);
	return ok;
}

static bool add_policy(struct policy_list *list, struct policy_state *state,
		       const struct sa_policy *p)
{
	bool ok = true;

	for (size_t l = 0; ok && l < p->local_ts.count; l++)
		for (size_t r = 0; ok && r < p->remote_ts.count; r++)
			if (p->local_ts.ts[l].lo.family == p->remote_ts.ts[r].lo.family)
				ok = add_pair(list, state, p, &p->local_ts.ts[l], &p->remote_ts.ts[r]);
	return ok;
}

struct policy_list *policy_list_replace(const struct policy_list *old, struct policy_state *state,
					const struct sa_policy *was, const struct sa_policy *policy)
{
	struct policy_list *list = calloc(1, sizeof(*list));
	bool ok;

	if (!list)
		return NULL;
	if (old) {
		*list = *old;
		node_get(list->roots[0]);
		node_get(list->roots[1]);
	}
	ok = (!was || remove_policy(list, state, was)) && (!policy || add_policy(list, state, policy));
	if (ok)
		return list;
	policy_list_free(list);
	return NULL;
}

void policy_list_free(struct policy_list *list)
{
	if (!list)
		return;
	node_put(list->roots[0]);
	node_put(list->roots[1]);
	free(list);
}

/* --- for the worker --------------------------------------------------------------------------- */

static bool pair_matches(const struct policy_entry *e, const struct flow *f)
{
	return selector_matches(&e->local, &f->src, f->protocol, f->sport, f->ports_known) &&
	       selector_matches(&e->remote, &f->dst, f->protocol, f->dport, f->ports_known);
}

/* The next node on the way to an address, NULL at its end. */
static const struct policy_node *step(const struct policy_node *n, const struct bits *address)
{
	return n->key.length < address->length ? n->child[bits_at(address, n->key.length)] : NULL;
}

static bool on_the_way(const struct policy_node *n, const struct bits *address)
{
	return n && bits_common(&n->key, address) == n->key.length;
}

static const struct policy_entry *find_local(const struct policy_node *n, const struct bits *src,
					     const struct flow *f, const struct policy_entry *best)
{
	for (; on_the_way(n, src); n = step(n, src))
		for (size_t i = 0; i < n->count; i++) {
			if (best && !entry_before(n->entries[i], best))
				break;
			if (pair_matches(n->entries[i], f)) {
				best = n->entries[i];
				break;
			}
		}
	return best;
}

const struct policy_entry *policy_list_find(const struct policy_list *list, const struct flow *f)
{
	struct bits src = bits_of_address(&f->src), dst = bits_of_address(&f->dst);
	const struct policy_node *n = list ? list->roots[f->dst.family == AF_INET6] : NULL;
	const struct policy_entry *best = NULL;

	for (; on_the_way(n, &dst); n = step(n, &dst))
		best = find_local(n->locals, &src, f, best);
	return best;
}

/* --- for reports ------------------------------------------------------------------------------ */

bool policy_list_has(const struct policy_list *list, uint8_t family)
{
	return list && list->roots[family == AF_INET6];
}

static size_t collect(const struct policy_node *n, const struct policy_entry **to, size_t have)
{
	if (!n)
		return have;
	for (size_t i = 0; i < n->count; i++)
		to[have++] = n->entries[i];
	have = collect(n->locals, to, have);
	have = collect(n->child[0], to, have);
	return collect(n->child[1], to, have);
}

static int by_order(const void *x, const void *y)
{
	const struct policy_entry *a = *(const struct policy_entry *const *)x;
	const struct policy_entry *b = *(const struct policy_entry *const *)y;

	return entry_before(a, b) ? -1 : entry_before(b, a);
}

const struct policy_entry **policy_list_sorted(const struct policy_list *list)
{
	const struct policy_entry **all = calloc(list->count + 1, sizeof(const struct policy_entry *));

	if (!all)
		return NULL;
	for (size_t i = 0, n = 0; i < 2; i++)
		n = collect(list->roots[i], all, n);
	qsort(all, list->count, sizeof(const struct policy_entry *), by_order);
	return all;
}

/* --- SAs -------------------------------------------------------------------------------------- */

static bool any_matches(const struct traffic_selector *ts, size_t n, const struct ip_address *a,
			uint8_t protocol, uint16_t port, bool known)
{
	for (size_t i = 0; i < n; i++)
		if (selector_matches(&ts[i], a, protocol, port, known))
			return true;
	return false;
}

bool sa_covers_outbound(const struct sa_common *c, const struct flow *f)
{
	return any_matches(c->local, c->local_count, &f->src, f->protocol, f->sport,
			   f->ports_known) &&
	       any_matches(c->remote, c->remote_count, &f->dst, f->protocol, f->dport,
			   f->ports_known);
}

bool sa_covers_inbound(const struct sa_common *c, const struct flow *f)
{
	return any_matches(c->remote, c->remote_count, &f->src, f->protocol, f->sport,
			   f->ports_known) &&
	       any_matches(c->local, c->local_count, &f->dst, f->protocol, f->dport,
			   f->ports_known);
}

struct sa_list *sa_list_with(const struct sa_list *old, struct sa_out *sa)
{
	size_t n = old ? old->count : 0;
	struct sa_list *list = calloc(1, sizeof(*list) + (n + 1) * sizeof(void *));

	if (!list)
		return NULL;
	list->sa[list->count++] = sa;
	for (size_t i = 0; i < n; i++)
		if (old->sa[i] != sa)
			list->sa[list->count++] = old->sa[i];
	return list;
}

struct sa_list *sa_list_without(const struct sa_list *old, const struct sa_out *sa)
{
	size_t n = old ? old->count : 0;
	struct sa_list *list = calloc(1, sizeof(*list) + n * sizeof(void *));

	if (!list)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (old->sa[i] != sa)
			list->sa[list->count++] = old->sa[i];
	return list;
}
