#include "esp/policy.h"

#include <stdlib.h>
#include <string.h>

static size_t entries_of(const struct policy_list *list, const struct policy_state *state)
{
	size_t n = 0;

	for (size_t i = 0; list && i < list->count; i++)
		n += list->entries[i].state == state;
	return n;
}

/* Entries are few or sorted already: insertion keeps equals in the order they came. */
static void insert(struct policy_list *list, const struct policy_entry *e)
{
	size_t at = list->count;

	while (at > 0 && list->entries[at - 1].priority > e->priority)
		at--;
	memmove(&list->entries[at + 1], &list->entries[at], (list->count - at) * sizeof(*e));
	list->entries[at] = *e;
	list->count++;
}

struct policy_list *policy_list_replace(const struct policy_list *old, struct policy_state *state,
					const struct sa_policy *policy)
{
	size_t max = old ? old->count - entries_of(old, state) : 0;
	struct policy_list *list;

	if (policy)
		max += policy->local_ts.count * policy->remote_ts.count;
	list = calloc(1, sizeof(*list) + max * sizeof(list->entries[0]));
	if (!list)
		return NULL;
	for (size_t i = 0; old && i < old->count; i++)
		if (old->entries[i].state != state)
			list->entries[list->count++] = old->entries[i];
	for (size_t l = 0; policy && l < policy->local_ts.count; l++)
		for (size_t r = 0; r < policy->remote_ts.count; r++) {
			struct policy_entry e = {
				.local = policy->local_ts.ts[l],
				.remote = policy->remote_ts.ts[r],
				.priority = policy->priority,
				.action = policy->action,
				.state = state,
			};

			if (e.local.lo.family != e.remote.lo.family)
				continue;
			if (e.priority == 0)
				e.priority = sa_policy_priority(&e.local, &e.remote);
			insert(list, &e);
		}
	return list;
}

static bool pair_matches(const struct traffic_selector *local,
			 const struct traffic_selector *remote, const struct flow *f)
{
	return selector_matches(local, &f->src, f->protocol, f->sport, f->ports_known) &&
	       selector_matches(remote, &f->dst, f->protocol, f->dport, f->ports_known);
}

const struct policy_entry *policy_list_find(const struct policy_list *list, const struct flow *f)
{
	for (size_t i = 0; list && i < list->count; i++)
		if (pair_matches(&list->entries[i].local, &list->entries[i].remote, f))
			return &list->entries[i];
	return NULL;
}

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
