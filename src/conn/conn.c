#include "conn/conn.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn/set.h"

struct conn_source *conn_source_new(struct config *config)
{
	struct conn_source *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		config_free(config);
		return NULL;
	}
	s->refs = 1;
	s->config = config;
	return s;
}

void conn_source_unref(struct conn_source *s)
{
	if (s == NULL || --s->refs > 0)
		return;
	config_free(s->config);
	free(s);
}

struct conn_set *conn_set_new(const struct conn_host *host)
{
	struct conn_set *set = calloc(1, sizeof(*set));

	if (set == NULL)
		return NULL;
	set->host = host;
	set->next_serial = 1;
	set->next_reqid = CONN_REQID_FIRST;
	set->next_instance = 1;
	TAILQ_INIT(&set->conns);
	TAILQ_INIT(&set->dirty);
	SLIST_INIT(&set->proposals);
	set->wheel = timer_wheel_new(host->now_us(host->context));
	if (set->wheel == NULL) {
		free(set);
		return NULL;
	}
	return set;
}

void conn_mark(struct conn *c)
{
	if (c->dirty)
		return;
	c->dirty = true;
	TAILQ_INSERT_TAIL(&c->set->dirty, c, dirty_entry);
}

void conn_say(struct conn *c, enum log_level level, const char *format, ...)
{
	struct text t = { 0 };
	va_list args;

	va_start(args, format);
	text_vadd(&t, format, args);
	va_end(args);
	c->set->host->say(c->set->host->context, c, level, text_str(&t));
	text_free(&t);
}

static bool proposals_equal(const struct proposal_list *a, const struct proposal_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct proposal *p = &a->p[i], *q = &b->p[i];

		if (p->protocol != q->protocol || p->count != q->count)
			return false;
		for (size_t t = 0; t < p->count; t++) {
			const struct transform *x = &p->transforms[t], *y = &q->transforms[t];

			if (x->type != y->type || x->id != y->id || x->key_bits != y->key_bits)
				return false;
		}
	}
	return true;
}

const struct proposal_list *conn_proposals(struct conn_set *set, const struct proposal_list *list)
{
	struct proposal_entry *e;

	SLIST_FOREACH(e, &set->proposals, entry) {
		if (proposals_equal(&e->list, list))
			return &e->list;
	}
	e = malloc(sizeof(*e));
	if (e == NULL)
		return NULL;
	e->list = *list;
	SLIST_INSERT_HEAD(&set->proposals, e, entry);
	return &e->list;
}

struct conn *conn_set_by_reqid(const struct conn_set *set, uint32_t reqid)
{
	struct conn *c = NULL;

	HASH_FIND(hh_reqid, set->by_reqid, &reqid, sizeof(reqid), c);
	return c;
}

uint32_t conn_reqid_new(struct conn_set *set)
{
	uint32_t reqid = set->next_reqid;

	/* once round, numbers may still be in use */
	while (reqid < CONN_REQID_FIRST || conn_set_by_reqid(set, reqid) != NULL)
		reqid = reqid < CONN_REQID_FIRST ? CONN_REQID_FIRST : reqid + CONN_REQID_STEP;
	set->next_reqid = reqid + CONN_REQID_STEP;
	return reqid;
}

static void conn_peer_unlink(struct conn *c)
{
	struct peer_bucket *b = c->bucket;

	if (b == NULL)
		return;
	TAILQ_REMOVE(&b->conns, c, peer_entry);
	c->bucket = NULL;
	if (TAILQ_EMPTY(&b->conns)) {
		HASH_DEL(c->set->by_peer, b);
		free(b);
	}
}

void conn_peer_link(struct conn *c, const struct ip_address *peer)
{
	struct peer_bucket *b = NULL;
	struct ip_address key; /* no padding: family and bytes */

	memcpy(&key, peer, sizeof(key));
	conn_peer_unlink(c);
	HASH_FIND(hh, c->set->by_peer, &key, sizeof(key), b);
	if (b == NULL) {
		b = calloc(1, sizeof(*b));
		if (b == NULL)
			return;
		b->address = key;
		TAILQ_INIT(&b->conns);
		HASH_ADD(hh, c->set->by_peer, address, sizeof(b->address), b);
	}
	TAILQ_INSERT_TAIL(&b->conns, c, peer_entry);
	c->bucket = b;
}

static void problem_clear(struct conn_problem *p)
{
	free(p->what);
	free(p->remedy);
	memset(p, 0, sizeof(*p));
}

static void problem_set(struct conn_problem *p, const struct conn_config *config, const char *what,
			const char *remedy)
{
	problem_clear(p);
	p->file = config->file;
	p->line = config->line;
	p->what = strdup(what);
	p->remedy = remedy != NULL ? strdup(remedy) : NULL;
}

/* What the configuration found wrong, or what this version cannot do. */
static void conn_judge(struct conn *c)
{
	const struct conn_config *config = c->config;
	const char *what, *remedy;

	problem_clear(&c->problem);
	if (config->set_aside && config->problem != NULL) {
		problem_set(&c->problem, config, config->problem->what, config->problem->remedy);
		if (config->problem->line != 0) {
			c->problem.file = config->problem->file;
			c->problem.line = config->problem->line;
		}
	} else if (config->set_aside) {
		problem_set(&c->problem, config, "it has an error", NULL);
	} else if (!orient_usable(config, &what, &remedy)) {
		problem_set(&c->problem, config, what, remedy);
	}
}

struct conn *conn_new(struct conn_set *set, const char *name, struct conn_source *source,
		      const struct conn_config *config)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->name = strdup(name);
	if (c->name == NULL) {
		free(c);
		return NULL;
	}
	c->set = set;
	c->source = source;
	source->refs++;
	c->config = config;
	c->serial = set->next_serial++;
	/* policies are known by it: one that is taken would take away the other connection's policy */
	bool own = config->reqid != 0 && conn_set_by_reqid(set, config->reqid) == NULL;
	c->reqid = own ? config->reqid : conn_reqid_new(set);
	timer_init(&c->retry, conn_retry_due, c);
	TAILQ_INSERT_TAIL(&set->conns, c, entry);
	set->count++;
	HASH_ADD(hh_reqid, set->by_reqid, reqid, sizeof(c->reqid), c);
	return c;
}

/* Frees without any effect outside. */
static void conn_free(struct conn *c)
{
	struct conn_set *set = c->set;

	timer_cancel(set->wheel, &c->retry);
	conn_peer_unlink(c);
	TAILQ_REMOVE(&set->conns, c, entry);
	set->count--;
	HASH_DELETE(hh_reqid, set->by_reqid, c);
	if (c->dirty)
		TAILQ_REMOVE(&set->dirty, c, dirty_entry);
	if (c->template == NULL)
		HASH_DEL(set->by_name, c);
	else
		set->instances--;
	if (c->ike != NULL)
		c->ike->owner = NULL;
	ike_conn_unref(c->ike);
	problem_clear(&c->problem);
	failure_free(c->failure);
	conn_widen(c);
	conn_source_unref(c->source);
	free(c->name);
	free(c);
}

void conn_set_free(struct conn_set *set)
{
	struct conn *c, *before;
	struct proposal_entry *e;

	if (set == NULL)
		return;
	for (c = TAILQ_LAST(&set->conns, conn_list); c != NULL; c = before) {
		before = TAILQ_PREV(c, conn_list, entry);
		conn_free(c);
	}
	while ((e = SLIST_FIRST(&set->proposals)) != NULL) {
		SLIST_REMOVE_HEAD(&set->proposals, entry);
		free(e);
	}
	failure_log_clear(&set->failures);
	timer_wheel_free(set->wheel);
	free(set);
}

static void conn_instances_delete(struct conn *template)
{
	struct conn *c, *next;

	for (c = TAILQ_FIRST(&template->set->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, entry);
		if (c->template == template)
			conn_delete(c);
	}
}

/* Another description took the place of `old`: its SAs end, the policy stays for the new one. */
static void conn_replace_ike(struct conn *c, struct ike_conn *ike)
{
	struct ike_conn *old = c->ike;

	c->ike = ike;
	c->policy_stale = true;
	conn_widen(c);
	conn_peer_link(c, &ike->remote.address);
	if (old == NULL)
		return;
	old->owner = NULL;
	if (old->remote.address.family == AF_UNSPEC)
		conn_instances_delete(c);
	c->phase = CONN_IDLE;
	c->set->host->down(c->set->host->context, old, REASON_REPLACED);
	ike_conn_unref(old);
}

void conn_orient(struct conn *c)
{
	struct conn_set *set = c->set;
	struct orientation o;

	orient(c->config, &set->host->orient, &o);
	if (o.state != ORIENT_YES) {
		/* an address that went may come back: SAs and policy stay */
		c->orientation.state = o.state;
		memcpy(c->orientation.text, o.text, sizeof(o.text));
		if (c->ike == NULL)
			c->orientation = o;
		return;
	}
	c->orientation = o;
	struct orient_build with = {
		.name = c->name, .serial = c->serial, .reqid = c->reqid, .owner = c,
		.setup = &c->source->config->setup,
		.ike = c->config->ike != NULL ? conn_proposals(set, c->config->ike) : NULL,
		.esp = c->config->esp != NULL ? conn_proposals(set, c->config->esp) : NULL,
		.resources = set->host->resources(set->host->context),
	};
	struct ike_conn *ike = orient_build(c->config, &o, &with);
	if (ike == NULL)
		return;
	if (c->ike != NULL && ike_conn_same(c->ike, ike)) {
		ike->owner = NULL;
		ike_conn_unref(ike);
		return;
	}
	conn_replace_ike(c, ike);
}

/* Said when it is added, and again before it is tried in vain. */
static void conn_check_key(struct conn *c)
{
	struct text why = { 0 };

	if (c->ike == NULL || !conn_negotiates(c))
		return;
	if (!c->set->host->has_key(c->set->host->context, c->ike, &why))
		conn_say(c, LOG_LEVEL_WARNING, "%s", text_str(&why));
	text_free(&why);
}

/* Wanted by the configuration alone. */
static void conn_apply_auto(struct conn *c)
{
	if (c->want_up != WISH_COMMAND)
		c->want_up = c->config->auto_mode == AUTO_START ? WISH_CONFIG : WISH_NO;
	if (c->routed != WISH_COMMAND)
		c->routed = c->config->auto_mode == AUTO_ONDEMAND ? WISH_CONFIG : WISH_NO;
}

static void conn_set_aside(struct conn *c)
{
	conn_say(c, LOG_LEVEL_ERROR, "set aside: %s:%u: %s%s%s", c->problem.file ? c->problem.file : "?",
		 c->problem.line, c->problem.what ? c->problem.what : "it has an error",
		 c->problem.remedy ? "; " : "", c->problem.remedy ? c->problem.remedy : "");
}

static void conn_loaded(struct conn *c)
{
	conn_judge(c);
	if (c->problem.what != NULL) {
		conn_set_aside(c);
		return;
	}
	conn_orient(c);
	if (c->orientation.state == ORIENT_YES)
		conn_say(c, LOG_LEVEL_INFO, "added oriented IKEv2 connection");
	else
		conn_say(c, LOG_LEVEL_INFO, "added unoriented IKEv2 connection (%s)", c->orientation.text);
	conn_apply_auto(c);
	conn_check_key(c);
	conn_mark(c);
}

/* What is there gets another configuration. */
static void conn_reconfigure(struct conn *c, struct conn_source *source,
			     const struct conn_config *config)
{
	struct conn_source *old = c->source;

	source->refs++;
	c->source = source;
	c->config = config;
	conn_source_unref(old);
	c->policy_stale = true;
	c->attempts = 0;
	timer_cancel(c->set->wheel, &c->retry);
	conn_loaded(c);
	if (c->problem.what != NULL && c->ike != NULL)
		conn_down(c);
}

struct conn *conn_set_add(struct conn_set *set, struct conn_source *source,
			  const struct conn_config *config)
{
	struct conn *c = NULL;

	HASH_FIND(hh, set->by_name, config->name, strlen(config->name), c);
	if (c != NULL) {
		conn_reconfigure(c, source, config);
		return c;
	}
	c = conn_new(set, config->name, source, config);
	if (c == NULL)
		return NULL;
	HASH_ADD_KEYPTR(hh, set->by_name, c->name, strlen(c->name), c);
	if (config->reqid != 0 && config->reqid != c->reqid)
		conn_say(c, LOG_LEVEL_WARNING, "reqid=%u is another connection's: it gets %u", config->reqid, c->reqid);
	conn_loaded(c);
	return c;
}

void conn_set_load(struct conn_set *set, struct conn_source *source)
{
	struct config *config = source->config;

	for (size_t i = 0; i < config->count; i++) {
		const struct conn_config *c = &config->conns[i];

		if ((c->auto_mode != AUTO_IGNORE || c->set_aside) && !c->section_only)
			conn_set_add(set, source, c);
	}
}

void conn_delete(struct conn *c)
{
	if (conn_is_template(c))
		conn_instances_delete(c);
	if (c->ike != NULL)
		c->set->host->down(c->set->host->context, c->ike, REASON_ADMIN);
	conn_policy_forget(c);
	conn_free(c);
}

struct conn *conn_set_first(const struct conn_set *set)
{
	return TAILQ_FIRST(&set->conns);
}

struct conn *conn_next(const struct conn *c)
{
	return TAILQ_NEXT(c, entry);
}

size_t conn_set_count(const struct conn_set *set)
{
	return set->count;
}

/* `name` is one of the comma separated `list`. */
static bool alias_matches(const char *list, const char *name)
{
	size_t len = strlen(name);

	while (list != NULL && *list != '\0') {
		size_t n = strcspn(list, ", ");

		if (n == len && memcmp(list, name, len) == 0)
			return true;
		list += n;
		list += strspn(list, ", ");
	}
	return false;
}

bool conn_named(const struct conn *c, const char *name)
{
	return strcmp(c->name, name) == 0 || alias_matches(c->config->alias, name);
}

/* `c` or the first after it that is no instance. */
static struct conn *skip_instances(struct conn *c)
{
	while (c != NULL && c->template != NULL)
		c = TAILQ_NEXT(c, entry);
	return c;
}

void conn_set_prune(struct conn_set *set, const char *name, const struct conn_source *source)
{
	struct conn *c, *next;
	size_t len = strlen(name);

	for (c = skip_instances(TAILQ_FIRST(&set->conns)); c != NULL; c = next) {
		bool part = strncmp(c->name, name, len) == 0 &&
			    (c->name[len] == '\0' || (c->name[len] == '/' && alias_matches(c->config->alias, name)));

		next = skip_instances(TAILQ_NEXT(c, entry)); /* its instances go with it */
		if (c->source == source || !part)
			continue;
		conn_say(c, LOG_LEVEL_INFO, "is no longer in the configuration: deleted");
		conn_delete(c);
	}
}

struct conn *conn_set_find(const struct conn_set *set, const char *name, const struct conn *after)
{
	struct conn *c = after != NULL ? TAILQ_NEXT(after, entry) : TAILQ_FIRST(&set->conns);
	struct conn *exact = NULL;

	HASH_FIND(hh, set->by_name, name, strlen(name), exact);
	for (; c != NULL; c = TAILQ_NEXT(c, entry)) {
		if (c == exact || (c->template != NULL && c->template == exact) ||
		    alias_matches(c->config->alias, name))
			return c;
	}
	return NULL;
}

void conn_set_reorient(struct conn_set *set)
{
	struct conn *c;

	TAILQ_FOREACH(c, &set->conns, entry) {
		if (c->template != NULL || c->problem.what != NULL)
			continue;
		enum orientation_state before = c->orientation.state;

		conn_orient(c);
		if (before != ORIENT_YES && c->orientation.state == ORIENT_YES) {
			conn_say(c, LOG_LEVEL_INFO, "oriented");
			conn_check_key(c);
		}
		conn_mark(c);
	}
}

const struct failure_log *conn_set_failures(const struct conn_set *set)
{
	return &set->failures;
}

bool conn_is_template(const struct conn *c)
{
	return c->template == NULL && conn_negotiates(c) && c->ike != NULL &&
	       c->ike->remote.address.family == AF_UNSPEC;
}

const char *conn_state_name(const struct conn *c)
{
	if (!c->policy_installed)
		return "unrouted";
	return c->policy_action == POLICY_TRAP ? "routed-ondemand" : "routed-tunnel";
}

const char *conn_label(const struct conn *c, char *buf, size_t len)
{
	char address[IP_ADDRESS_TEXT];

	if (c->template != NULL && c->ike != NULL)
		snprintf(buf, len, "\"%s\"[%u] %s", c->template->name, c->instance,
			 ip_address_format(&c->ike->remote.address, address));
	else
		snprintf(buf, len, "\"%s\"", c->name);
	return buf;
}
