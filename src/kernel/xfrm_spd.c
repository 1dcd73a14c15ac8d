/*
 * Policies: what is in the kernel, who of ours wants it there, and the changes between the two.
 *
 * The kernel knows a policy by its selector, mark and direction: a slot. Connections may share
 * one; the last who set it has its way, and when it goes, another one's rule takes the place.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kernel/xfrm_internal.h"

static struct xfrm_slot *slot_find(struct xfrm_backend *x, const struct xfrm_rule_key *key)
{
	struct xfrm_slot *s;

	HASH_FIND(hh, x->slots, key, sizeof(*key), s);
	return s;
}

static struct xfrm_slot *slot_make(struct xfrm_backend *x, const struct xfrm_rule_key *key)
{
	struct xfrm_slot *s = slot_find(x, key);

	if (s != NULL)
		return s;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return NULL;
	s->key = *key;
	s->index = XFRM_INDEX_MARK | (x->next_index & ~(uint32_t)XFRM_INDEX_MASK) | key->direction;
	x->next_index += XFRM_INDEX_STEP;
	HASH_ADD(hh, x->slots, key, sizeof(s->key), s);
	return s;
}

static void slot_free(struct xfrm_backend *x, struct xfrm_slot *s)
{
	/* NOLINTNEXTLINE(clang-analyzer-*): uthash keeps its table while it has an element */
	HASH_DELETE(hh, x->slots, s);
	free(s);
}

static struct xfrm_entry *entry_find(struct xfrm_backend *x, uint32_t reqid)
{
	struct xfrm_entry *e;

	HASH_FIND(hh, x->entries, &reqid, sizeof(reqid), e);
	return e;
}

static const struct xfrm_rule *rules_find(const struct xfrm_rules *rules,
					  const struct xfrm_rule_key *key)
{
	for (size_t i = 0; i < rules->count; i++)
		/* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): padding is zeroed */
		if (memcmp(&rules->rule[i].key, key, sizeof(*key)) == 0)
			return &rules->rule[i];
	return NULL;
}

/** Send what is in the batch, if anything; 0 or the first errno that is not `allowed`. */
static int flush(struct xfrm_backend *x, int allowed)
{
	int error = 0;

	netlink_run(&x->requests, x->batch);
	for (size_t i = 0; i < x->batch->count && error == 0; i++)
		if (x->batch->error[i] != allowed)
			error = x->batch->error[i];
	if (x->batch->bad)
		error = EMSGSIZE;
	return error;
}

/** Send all of `rules`, many in a system call. 0 or errno. */
static int send_rules(struct xfrm_backend *x, const struct xfrm_rules *rules)
{
	int error = 0;
	size_t i = 0;

	while (i < rules->count && error == 0) {
		netlink_batch_reset(x->batch);
		for (; i < rules->count && netlink_batch_has_room(x->batch, 1); i++) {
			size_t room;
			struct nlmsghdr *m = netlink_batch_next(x->batch, &room);

			netlink_batch_commit(x->batch, xfrm_rule_encode(m, room, &rules->rule[i]));
		}
		error = flush(x, 0);
	}
	return error;
}

/** The rule that another connection has for this slot. */
static const struct xfrm_rule *other_rule(struct xfrm_backend *x, const struct xfrm_rule_key *key,
					  const struct xfrm_entry *not)
{
	struct xfrm_entry *e, *tmp;
	const struct xfrm_rule *r = NULL;

	HASH_ITER(hh, x->entries, e, tmp) {
		if (e != not && (r = rules_find(&e->rules, key)) != NULL)
			break;
	}
	return r;
}

/**
 * `e` has no use for `rules` any more: slots that no one uses leave the kernel, those of others
 * get their rule. The slots' users are counted down.
 */
static void release_rules(struct xfrm_backend *x, const struct xfrm_rules *rules,
			  const struct xfrm_entry *e)
{
	size_t i = 0;

	while (i < rules->count) {
		netlink_batch_reset(x->batch);
		for (; i < rules->count && netlink_batch_has_room(x->batch, 1); i++) {
			struct xfrm_slot *s = slot_find(x, &rules->rule[i].key);
			const struct xfrm_rule *other = NULL;
			struct nlmsghdr *m;
			size_t room;

			if (s == NULL)
				continue;
			s->users -= s->users > 0;
			if (s->users > 0 && rules_find(&e->rules, &s->key) != NULL)
				continue; /* `e` goes on using it in its new shape */
			if (s->users > 0)
				other = other_rule(x, &s->key, e);
			m = netlink_batch_next(x->batch, &room);
			if (other != NULL) {
				netlink_batch_commit(x->batch, xfrm_rule_encode(m, room, other));
				continue;
			}
			netlink_batch_commit(x->batch, xfrm_rule_encode_delete(m, room, &s->key));
			slot_free(x, s);
		}
		if (flush(x, ENOENT) != 0)
			log_warning("a policy could not be removed from the kernel: %s",
				    x->batch->why);
	}
}

/** Count `rules` in, and give each the index of its slot. False: no memory. */
static bool take_slots(struct xfrm_backend *x, struct xfrm_rules *rules)
{
	for (size_t i = 0; i < rules->count; i++) {
		struct xfrm_slot *s = slot_make(x, &rules->rule[i].key);

		if (s == NULL) {
			while (i-- > 0)
				slot_find(x, &rules->rule[i].key)->users--;
			return false;
		}
		s->users++;
		rules->rule[i].index = s->index;
	}
	return true;
}

static struct xfrm_entry *entry_make(struct xfrm_backend *x, uint32_t reqid)
{
	struct xfrm_entry *e = entry_find(x, reqid);

	if (e != NULL)
		return e;
	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return NULL;
	e->reqid = reqid;
	HASH_ADD(hh, x->entries, reqid, sizeof(e->reqid), e);
	return e;
}

static void entry_free(struct xfrm_backend *x, struct xfrm_entry *e)
{
	/* NOLINTNEXTLINE(clang-analyzer-*): uthash keeps its table while it has an element */
	HASH_DELETE(hh, x->entries, e);
	xfrm_rules_free(&e->rules);
	free(e);
}

/**
 * Put `rules` (taken over) in the place of those that the entry has. New ones go in before old
 * ones go out, so that nothing is ever uncovered. 0 or errno, and then all is as it was.
 */
static int entry_replace(struct xfrm_backend *x, struct xfrm_entry *e, struct xfrm_rules *rules)
{
	struct xfrm_rules old = e->rules;
	int error = take_slots(x, rules) ? 0 : ENOMEM;

	if (error != 0)
		return error;
	error = send_rules(x, rules);
	if (error != 0) {
		char why[NETLINK_WHY_MAX];

		memcpy(why, x->batch->why, sizeof(why));
		release_rules(x, rules, e);
		send_rules(x, &old);
		memcpy(x->batch->why, why, sizeof(why));
		return error;
	}
	e->rules = *rules;
	e->refused = false;
	*rules = (struct xfrm_rules){ 0 };
	release_rules(x, &old, e);
	xfrm_rules_free(&old);
	return 0;
}

/* --- many at once -------------------------------------------------------------------------- */

bool xfrm_spd_gather(struct xfrm_backend *x)
{
	x->gathered.batch = calloc(1, sizeof(*x->gathered.batch)); /* policies are no secret */
	return x->gathered.batch != NULL;
}

/** Send what was gathered. Whose messages were refused is noted; the others are in force. */
static void gathered_send(struct xfrm_backend *x)
{
	struct netlink_batch *batch = x->gathered.batch;

	if (batch == NULL)
		return;
	netlink_run(&x->requests, batch);
	for (size_t i = 0; i < batch->count; i++) {
		struct xfrm_entry *e = NULL;

		if (batch->bad || batch->error[i] != 0)
			e = entry_find(x, x->gathered.reqids[i]);
		if (e != NULL)
			e->refused = true;
	}
	netlink_batch_reset(batch);
}

/** Queue the rules (taken over) of a new entry. 0 or errno. */
static int entry_gather(struct xfrm_backend *x, struct xfrm_entry *e, struct xfrm_rules *rules)
{
	struct netlink_batch *batch = x->gathered.batch;

	if (!take_slots(x, rules))
		return ENOMEM;
	e->rules = *rules;
	*rules = (struct xfrm_rules){ 0 };
	for (size_t i = 0; i < e->rules.count; i++) {
		struct nlmsghdr *m;
		size_t room;

		if (!netlink_batch_has_room(batch, 1))
			gathered_send(x);
		m = netlink_batch_next(batch, &room);
		x->gathered.reqids[batch->count] = e->reqid;
		netlink_batch_commit(batch, xfrm_rule_encode(m, room, &e->rules.rule[i]));
	}
	return 0;
}

/** Set the rules of an entry once more, alone: that tells why the kernel refuses them. 0 or errno. */
static int entry_repeat(struct xfrm_backend *x, struct xfrm_entry *e)
{
	struct xfrm_rules rules = { .count = e->rules.count, .cap = e->rules.count };
	int error;

	x->batch->why[0] = '\0';
	rules.rule = malloc(rules.count * sizeof(*rules.rule));
	if (rules.rule == NULL)
		return ENOMEM;
	memcpy(rules.rule, e->rules.rule, rules.count * sizeof(*rules.rule));
	error = entry_replace(x, e, &rules);
	xfrm_rules_free(&rules);
	return error;
}

/** From now on policies are sent as they come. Those that the kernel refuses are told and forgotten. */
static void gathered_end(struct xfrm_backend *x)
{
	struct xfrm_entry *e, *tmp;

	if (x->gathered.batch == NULL)
		return;
	gathered_send(x);
	free(x->gathered.batch);
	x->gathered.batch = NULL;
	HASH_ITER(hh, x->entries, e, tmp) {
		struct backend_error err = { "" };
		uint32_t reqid = e->reqid;
		int error = e->refused ? entry_repeat(x, e) : 0;

		if (error == 0)
			continue;
		xfrm_fail(&err, error, x->batch->why, "policy not installed");
		xfrm_policy_remove((struct backend *)x, reqid);
		x->events.policy_failed(x->events.context, reqid, err.text);
	}
}

/* --- what others call ---------------------------------------------------------------------- */

bool xfrm_policy_set(struct backend *b, const struct sa_policy *policy, struct backend_error *err)
{
	struct xfrm_backend *x = xfrm_of(b);
	struct xfrm_rules rules = { 0 };
	struct xfrm_entry *e = entry_find(x, policy->reqid);
	bool gather = x->gathered.batch != NULL && e == NULL;
	int error;

	err->text[0] = '\0';
	x->batch->why[0] = '\0';
	if (!xfrm_rules_expand(policy, &rules, err))
		return false;
	if (!gather)
		gathered_send(x);
	e = entry_make(x, policy->reqid);
	if (e == NULL)
		error = ENOMEM;
	else
		error = gather ? entry_gather(x, e, &rules) : entry_replace(x, e, &rules);
	xfrm_rules_free(&rules);
	if (error == 0) {
		e->action = policy->action;
		return true;
	}
	if (e != NULL && e->rules.count == 0)
		entry_free(x, e);
	return xfrm_fail(err, error, x->batch->why, "policy of \"%s\" not installed", policy->conn);
}

void xfrm_policy_remove(struct backend *b, uint32_t reqid)
{
	struct xfrm_backend *x = xfrm_of(b);
	struct xfrm_entry *e = entry_find(x, reqid);
	struct xfrm_rules old;

	if (e == NULL)
		return;
	gathered_send(x);
	old = e->rules;
	e->rules = (struct xfrm_rules){ 0 };
	release_rules(x, &old, e);
	xfrm_rules_free(&old);
	entry_free(x, e);
}

static void adopt(const struct nlmsghdr *m, void *context)
{
	struct xfrm_backend *x = context;
	struct xfrm_rule r;
	struct xfrm_slot *s;

	if (m->nlmsg_type != XFRM_MSG_NEWPOLICY || !xfrm_rule_decode(m, &r) || !xfrm_rule_is_ours(&r))
		return;
	s = slot_make(x, &r.key);
	if (s == NULL)
		return;
	s->index = r.index;
	/* numbers that we give out are to be free */
	if ((r.index & XFRM_INDEX_MASK) == XFRM_INDEX_MARK) {
		uint32_t n = (r.index & ~(uint32_t)XFRM_INDEX_MASK & ~(uint32_t)(XFRM_INDEX_STEP - 1)) +
			     XFRM_INDEX_STEP;

		if (n > x->next_index)
			x->next_index = n;
	}
}

bool xfrm_spd_adopt(struct xfrm_backend *x, struct backend_error *err)
{
	char why[NETLINK_WHY_MAX];
	union {
		struct nlmsghdr header;
		uint8_t bytes[64];
	} r;
	int error = EMSGSIZE;

	if (xfrm_rule_encode_dump(&r.header, sizeof(r)))
		error = netlink_query(&x->requests, &r.header, adopt, x, why);
	return error == 0 || xfrm_fail(err, error, why, "cannot list the kernel's policies");
}

bool xfrm_spd_basic(struct xfrm_backend *x, struct backend_error *err)
{
	struct xfrm_rules rules = { 0 };
	struct xfrm_entry *e = entry_make(x, 0);
	int error = ENOMEM;

	if (e != NULL && xfrm_rules_neighbour_discovery(&rules))
		error = entry_replace(x, e, &rules);
	xfrm_rules_free(&rules);
	if (error == 0 && e != NULL) {
		e->action = POLICY_PASS;
		return true;
	}
	if (e != NULL)
		entry_free(x, e);
	/* a kernel without IPv6 needs none of this */
	return error == EAFNOSUPPORT ||
	       xfrm_fail(err, error, x->batch->why, "policies for neighbour discovery not installed");
}

/** Policies that no entry of ours uses leave the kernel. */
static void remove_unused(struct xfrm_backend *x)
{
	struct xfrm_slot *s, *tmp;
	size_t gone = 0;

	netlink_batch_reset(x->batch);
	HASH_ITER(hh, x->slots, s, tmp) {
		size_t room;
		struct nlmsghdr *m;

		if (s->users > 0)
			continue;
		if (!netlink_batch_has_room(x->batch, 1)) {
			flush(x, ENOENT);
			netlink_batch_reset(x->batch);
		}
		m = netlink_batch_next(x->batch, &room);
		netlink_batch_commit(x->batch, xfrm_rule_encode_delete(m, room, &s->key));
		slot_free(x, s);
		gone++;
	}
	flush(x, ENOENT);
	if (gone > 0)
		log_info("removed %zu kernel policies that an earlier run had left", gone);
}

void xfrm_backend_settle(struct backend *b)
{
	struct xfrm_backend *x = xfrm_of(b);

	gathered_end(x);
	remove_unused(x);
}

void xfrm_spd_close(struct xfrm_backend *x, bool keep)
{
	struct xfrm_entry *e, *etmp;
	struct xfrm_slot *s, *stmp;

	if (!keep) {
		HASH_ITER(hh, x->slots, s, stmp)
			s->users = 0;
		remove_unused(x);
	}
	free(x->gathered.batch);
	x->gathered.batch = NULL;
	HASH_ITER(hh, x->slots, s, stmp)
		slot_free(x, s);
	HASH_ITER(hh, x->entries, e, etmp)
		entry_free(x, e);
}
