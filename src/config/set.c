/*
 * One keyword's value into the field that it is for.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/load.h"

static bool word_in(const char *words, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = words; p && len && *p; p += strcspn(p, " ")) {
		p += strspn(p, " ");
		if (strncasecmp(p, word, len) == 0 && (p[len] == ' ' || !p[len]))
			return true;
	}
	return false;
}

bool value_same(const struct keyword *k, const char *a, const char *b)
{
	struct value_error e;
	uint64_t na, nb;
	bool ba, bb;
	int ca, cb;

	if (strcmp(a, b) == 0)
		return true;
	switch (k->type) {
	case KEYWORD_YN:
		return value_yes_no(a, &ba, &e) && value_yes_no(b, &bb, &e) && ba == bb;
	case KEYWORD_CHOICE:
	case KEYWORD_VERSION:
		return value_choice(k->values, a, &ca, &e) && value_choice(k->values, b, &cb, &e) &&
		       ca == cb;
	case KEYWORD_SECONDS:
		return value_time(a, 1000000, &na, &e) && value_time(b, 1000000, &nb, &e) &&
		       na == nb;
	case KEYWORD_NUMBER:
		if (k->values && value_choice(k->values, a, &ca, &e) && value_choice(k->values, b, &cb, &e))
			return ca == cb;
		return value_number(a, 0, UINT32_MAX, &na, &e) &&
		       value_number(b, 0, UINT32_MAX, &nb, &e) && na == nb;
	default:
		return strcasecmp(a, b) == 0;
	}
}

/** The value changes nothing: the default, one of `noop`, or no text at all. */
static bool is_noop(const struct keyword *k, const char *value)
{
	bool yn;
	struct value_error e;

	if (!*value || (k->fallback && value_same(k, k->fallback, value)) ||
	    word_in(k->noop, value))
		return true;
	return k->type == KEYWORD_YN && value_yes_no(value, &yn, &e) &&
	       word_in(k->noop, yn ? "yes" : "no");
}

static bool set_seconds(struct loader *l, const struct keyword *k, struct item *item,
			const char *text, uint64_t *out, struct value_error *e)
{
	uint64_t us, s;

	if (!value_time(text, 1000000, &us, e))
		return false;
	s = us / 1000000 + (us % 1000000 ? 1 : 0);
	if (s < k->min) {
		value_remedy(e, "write %llus or more", (unsigned long long)k->min);
		return value_wrong(e, "is too short");
	}
	if (k->max && s > k->max) {
		warn_item(l, item, NULL, "%s=%s is above the maximum of %lluh, which is used instead",
			  item->spelled, text, (unsigned long long)k->max / 3600);
		s = k->max;
	}
	*out = s;
	return true;
}

static bool set_number(const struct keyword *k, const char *text, void *field,
		       struct value_error *e)
{
	uint64_t max = k->max ? k->max : UINT32_MAX, n;
	struct value_error unnamed;
	int named;

	if (k->type == KEYWORD_NUMBER && k->values && value_choice(k->values, text, &named, &unnamed)) {
		*(uint32_t *)field = (uint32_t)named;
		return true;
	}
	if (k->type == KEYWORD_INTEGER && strcmp(text, "-1") == 0) {
		*(int *)field = -1;
		return true;
	}
	if (k->type == KEYWORD_COUNT)
		max = INT64_MAX;
	if (!value_number(text, k->min, max, &n, e))
		return false;
	if (k->type == KEYWORD_COUNT)
		*(uint64_t *)field = n;
	else if (k->type == KEYWORD_PORT)
		*(uint16_t *)field = (uint16_t)n;
	else if (k->type == KEYWORD_INTEGER)
		*(int *)field = (int)n;
	else
		*(uint32_t *)field = (uint32_t)n;
	return true;
}

static bool set_address(struct loader *l, const struct keyword *k, struct item *item,
			const char *text, struct ip_address *out, struct value_error *e)
{
	char word[64];
	bool too_long;
	int none;

	memset(out, 0, sizeof(*out));
	if (k->values && value_choice(k->values, text, &none, e))
		return true;
	if (k->type == KEYWORD_ADDRESS)
		return ip_address_parse(text, out) || value_wrong(e, "is not an address");
	for (unsigned i = 0; list_next(&text, true, word, sizeof(word), &too_long); i++) {
		struct ip_address a;

		if (too_long || !ip_address_parse(word, &a))
			return value_wrong(e, "is not an address");
		if (i == 0)
			*out = a;
		else
			warn_item(l, item, NULL, "%s= has several addresses: the first is used",
				  item->spelled);
	}
	return out->family != AF_UNSPEC || value_wrong(e, "is not an address");
}

static bool set_debug(struct loader *l, struct item *item, const char *text, bool *out)
{
	static const char kinds[] =
		"all none base tmi crypt crypt-low crypto private updown routing cpu-usage refcnt "
		"raw control controlmore lifecycle kernel netkey xfrm klips dns dpd dpdinfo oppo "
		"oppoinfo whackwatch x509 natt nattraversal parsing emitting proposal-parser unbound";
	char word[40];
	bool too_long;

	*out = false;
	while (list_next(&text, true, word, sizeof(word), &too_long)) {
		const char *name = strncasecmp(word, "no-", 3) == 0 ? word + 3 : word;

		if (too_long || !word_in(kinds, name))
			warn_item(l, item, "write none, base or all", "%s= has an unknown kind",
				  item->spelled);
		else if (name == word && strcasecmp(word, "none") != 0)
			*out = true;
	}
	return true;
}

/**
 * A value of the plain types. `field` NULL: only look whether it is good.
 */
static bool set_plain(struct loader *l, const struct keyword *k, struct item *item,
		      const char *text, void *field, struct value_error *e)
{
	uint64_t number = 0;
	union { struct ip_address a; uint64_t u; bool b; int i; } nowhere;
	void *to = field ? field : &nowhere;

	switch (k->type) {
	case KEYWORD_YN:
		return value_yes_no(text, to, e);
	case KEYWORD_CHOICE:
		return value_choice(k->values, text, to, e);
	case KEYWORD_SECONDS:
		return set_seconds(l, k, item, text, to, e);
	case KEYWORD_MILLISECONDS:
		if (!value_time(text, 1000, &number, e))
			return false;
		number = (number + 999) / 1000;
		if (number < k->min || number > k->max)
			return value_wrong(e, "is out of range");
		*(uint64_t *)to = number;
		return true;
	case KEYWORD_BYTES:
		if (!value_bytes(text, to, e))
			return false;
		return *(uint64_t *)to >= k->min || value_wrong(e, "is too little");
	case KEYWORD_COUNT:
	case KEYWORD_NUMBER:
	case KEYWORD_INTEGER:
	case KEYWORD_PORT:
		return set_number(k, text, to, e);
	case KEYWORD_PERCENT:
		return value_percent(text, k->max, to, e);
	case KEYWORD_STRING:
	case KEYWORD_FILE:
		// Values live as long as the config; no text is the same as none.
		if (field)
			*(const char **)field = *text ? text : NULL;
		return true;
	case KEYWORD_ADDRESS:
	case KEYWORD_ADDRESSES:
		return set_address(l, k, item, text, to, e);
	case KEYWORD_DEBUG:
		return set_debug(l, item, text, to);
	default:
		return true;
	}
}

static bool takes_empty(enum keyword_type type)
{
	return type == KEYWORD_STRING || type == KEYWORD_FILE || type == KEYWORD_LIST ||
	       type == KEYWORD_NAMES || type == KEYWORD_DEBUG;
}

static bool add_extra(struct loader *l, const struct config_extra **list, const struct item *item)
{
	struct config_extra *x = arena_alloc(l->keep, sizeof(*x));
	static const char *const sides[] = { "", "left", "right" };
	const char *side = sides[item->side];
	size_t len = strlen(side) + strlen(item->keyword->name) + 1;
	char *name = arena_alloc(l->keep, len);

	if (!x || !name)
		return false;
	strcpy(name, side);
	strcat(name, item->keyword->name);
	*x = (struct config_extra){ .keyword = name, .value = item->value };
	while (*list)
		list = &((struct config_extra *)*list)->next;
	*list = x;
	return true;
}

enum treatment { SET_VALUE, IGNORE_VALUE, REFUSE_VALUE };

/** What the keyword's status says of this value, before it is looked at any closer. */
static enum treatment treat_status(struct loader *l, struct item *item,
				   const struct config_extra **extra, struct value_error *e)
{
	const struct keyword *k = item->keyword;

	switch (k->status) {
	case KEYWORD_ACTIVE:
	case KEYWORD_ACCEPTED:
		break;
	case KEYWORD_REPLACED:
		break;
	case KEYWORD_NO_EFFECT:
		if (!is_noop(k, item->value))
			add_extra(l, extra, item);
		break; // counted when its value turns out to be good
	case KEYWORD_OBSOLETE:
		use_count(l, item);
		return IGNORE_VALUE;
	case KEYWORD_IKEV1:
		if (!is_noop(k, item->value)) {
			value_remedy(e, "%s", k->hint);
			value_wrong(e, "is for IKEv1, which is not supported");
			return REFUSE_VALUE;
		}
		break;
	case KEYWORD_REMOVED:
		if (is_noop(k, item->value))
			return IGNORE_VALUE;
		value_remedy(e, "%s", k->hint);
		value_wrong(e, "is not supported");
		return REFUSE_VALUE;
	}
	if (!*item->value && !takes_empty(k->type)) {
		value_wrong(e, "is empty");
		return REFUSE_VALUE;
	}
	return SET_VALUE;
}

/** Count what is told once, of a value that is good. */
static void count_status(struct loader *l, struct item *item)
{
	const struct keyword *k = item->keyword;

	if (k->status == KEYWORD_REPLACED ||
	    (k->status == KEYWORD_NO_EFFECT && !is_noop(k, item->value)))
		use_count(l, item);
}

bool set_setup(struct loader *l, struct item *item, struct value_error *e)
{
	const struct keyword *k = item->keyword;
	struct setup_config *setup = &l->config->setup;
	void *field = k->stored ? (char *)setup + k->offset : NULL;

	switch (treat_status(l, item, &setup->extra, e)) {
	case REFUSE_VALUE:
		return false;
	case IGNORE_VALUE:
		return true;
	case SET_VALUE:
		break;
	}
	// These stacks are gone; what the daemon finds by itself is the best answer to them.
	if (field == &setup->protostack &&
	    word_in("klips mast bsd pfkey bsdkame none", item->value)) {
		warn_item(l, item, "write protostack=auto", "protostack=%s is gone: auto is used",
			  item->value);
		setup->protostack = PROTOSTACK_AUTO;
		return true;
	}
	if (!set_plain(l, k, item, item->value, field, e))
		return false;
	count_status(l, item);
	return true;
}

static bool set_auth(const struct keyword *k, const char *text, enum conn_auth *out,
		     struct value_error *e)
{
	int auth;

	if (!value_choice(k->values, text, &auth, e))
		return false;
	*out = (enum conn_auth)auth;
	if (auth == CONN_AUTH_SIGNATURE) {
		value_remedy(e, "use secret");
		return value_wrong(e, "needs certificates, which are not built yet");
	}
	return true;
}

static bool set_authby(struct loader *l, struct conn_config *c, struct item *item,
		       struct value_error *e)
{
	const char *list = item->value;
	bool too_long, have[4] = { false };
	char word[40], shown[40];
	int auth;

	while (list_next(&list, true, word, sizeof(word), &too_long)) {
		if (too_long || !value_choice(item->keyword->values, word, &auth, e)) {
			value_remedy(e, "write authby=secret or null");
			return value_wrong(e, "has \"%s\", which is not known",
					   value_printable(word, shown, sizeof(shown)));
		}
		have[auth] = true;
	}
	value_remedy(e, "write one of them");
	if (have[CONN_AUTH_PSK] + have[CONN_AUTH_NULL] + have[CONN_AUTH_NEVER] > 1)
		return value_wrong(e, "has several that exclude each other");
	if (have[CONN_AUTH_PSK] && have[CONN_AUTH_SIGNATURE])
		warn_item(l, item, "write authby=secret",
			  "%s=%s: certificates are not built yet, secret is used", item->spelled,
			  item->value);
	auth = have[CONN_AUTH_PSK]     ? CONN_AUTH_PSK
	       : have[CONN_AUTH_NULL]  ? CONN_AUTH_NULL
	       : have[CONN_AUTH_NEVER] ? CONN_AUTH_NEVER
				       : CONN_AUTH_SIGNATURE;
	if (auth == CONN_AUTH_SIGNATURE) {
		value_remedy(e, "use authby=secret");
		return value_wrong(e, "needs certificates, which are not built yet");
	}
	c->left.auth = c->right.auth = (enum conn_auth)auth;
	return true;
}

static bool set_proposals(struct loader *l, struct conn_config *c, const struct item *item,
			  struct value_error *e)
{
	bool ike = item->keyword->type == KEYWORD_PROPOSALS_IKE;
	const struct config_list *list =
		lists_get(l, ike ? PROTOCOL_IKE : PROTOCOL_ESP, item->value);

	if (!list)
		return value_wrong(e, "cannot be kept: out of memory");
	if (list->bad) {
		const char *remedy = strstr(list->error, "; ");

		if (remedy)
			value_remedy(e, "%s", remedy + 2);
		return value_wrong(e, ": %.*s",
				   remedy ? (int)(remedy - list->error) : (int)strlen(list->error),
				   list->error);
	}
	if (ike) {
		c->ike = &list->list;
		c->ike_text = item->value;
		c->ike_default = false;
	} else {
		c->esp = &list->list;
		c->esp_text = item->value;
		c->esp_default = false;
	}
	return true;
}

static bool set_mark(const struct keyword *k, struct conn_config *c, const char *text,
		     struct value_error *e)
{
	uint32_t mark, mask;

	if (!value_mark(text, &mark, &mask, e))
		return false;
	if (!k->stored || k->offset == offsetof(struct conn_config, mark_in)) {
		c->mark_in = mark;
		c->mark_in_mask = mask;
	}
	if (!k->stored || k->offset == offsetof(struct conn_config, mark_out)) {
		c->mark_out = mark;
		c->mark_out_mask = mask;
	}
	return true;
}

static bool set_version(const struct keyword *k, const char *text, struct value_error *e)
{
	int version;

	if (!value_choice(k->values, text, &version, e))
		return false;
	if (version == 1) {
		value_remedy(e, "write keyexchange=ikev2 on both sides");
		return value_wrong(e, "asks for IKEv1, which RFC 9395 deprecates and this does not have");
	}
	return true;
}

static bool set_names(struct loader *l, struct conn_config *c, const char *text,
		      struct value_error *e)
{
	char *names = arena_alloc(l->keep, strlen(text) + 1), *to = names;
	char word[CONN_NAME_MAX + 1];
	bool too_long;

	if (!names)
		return value_wrong(e, "cannot be kept: out of memory");
	while (list_next(&text, true, word, sizeof(word), &too_long)) {
		if (too_long)
			return value_wrong(e, "has a name of over %d bytes", CONN_NAME_MAX);
		if (to != names)
			*to++ = ',';
		to = stpcpy(to, word);
	}
	c->alias = *names ? names : NULL;
	return true;
}

static bool set_end(struct loader *l, struct conn_config *c, struct item *item,
		    struct value_error *e)
{
	struct end_config *end = item->side == SIDE_LEFT ? &c->left : &c->right;
	const struct keyword *k = item->keyword;
	const char *name;
	bool host_bits;

	switch (k->type) {
	case KEYWORD_HOST:
		if (!value_host(item->value, &end->host, &end->address, &name, e))
			return false;
		end->name = name ? arena_strdup(l->keep, name) : NULL;
		return !name || end->name || value_wrong(e, "cannot be kept: out of memory");
	case KEYWORD_ID:
		end->id_text = strcasecmp(item->value, "%none") == 0 ? NULL : item->value;
		return value_id(item->value, end, e);
	case KEYWORD_SUBNET:
		if (!value_subnet_list(item->value, &end->subnets, &host_bits, e))
			return false;
		if (host_bits)
			warn_item(l, item, "write the first address of the network",
				  "%s=%s has host bits that are set: they are cleared",
				  item->spelled, item->value);
		return true;
	case KEYWORD_SUBNETS:
		return true; // each combination is a connection: build.c
	case KEYWORD_PROTOPORT:
		return value_protoport(item->value, &end->protocol, &end->port_lo, &end->port_hi,
				       e);
	case KEYWORD_AUTH:
		return set_auth(k, item->value, &end->auth, e);
	default:
		return set_plain(l, k, item, item->value,
				 k->stored ? (char *)end + k->offset : NULL, e);
	}
}

/** A keyword of the connection itself. */
static bool set_own(struct loader *l, struct conn_config *c, struct item *item,
		    struct value_error *e)
{
	const struct keyword *k = item->keyword;
	bool yes;
	int choice;

	switch (k->type) {
	case KEYWORD_AUTHBY:
		return set_authby(l, c, item, e);
	case KEYWORD_PROPOSALS_IKE:
	case KEYWORD_PROPOSALS_ESP:
		return set_proposals(l, c, item, e);
	case KEYWORD_ESN:
		if (!value_choice(k->values, item->value, &choice, e))
			return false;
		c->esn = choice & 1;
		c->no_esn = choice & 2;
		return true;
	case KEYWORD_MARK:
		return set_mark(k, c, item->value, e);
	case KEYWORD_VERSION:
		return set_version(k, item->value, e);
	case KEYWORD_NAMES:
		return set_names(l, c, item->value, e);
	case KEYWORD_ENCAPS_OLD:
		if (!value_yes_no(item->value, &yes, e))
			return false;
		c->encapsulation = yes ? CONN_ENCAP_YES : CONN_ENCAP_AUTO;
		return true;
	default:
		return set_plain(l, k, item, item->value,
				 k->stored ? (char *)c + k->offset : NULL, e);
	}
}

bool set_conn(struct loader *l, struct conn_config *c, struct item *item, struct value_error *e)
{
	bool good = false;

	switch (treat_status(l, item, &c->extra, e)) {
	case REFUSE_VALUE:
		return false;
	case IGNORE_VALUE:
		return true;
	case SET_VALUE:
		good = item->keyword->scope == KEYWORD_END ? set_end(l, c, item, e)
							   : set_own(l, c, item, e);
		break;
	}
	if (good)
		count_status(l, item);
	return good;
}

bool set_defaults(struct loader *l)
{
	struct conn_config *c = &l->blank;
	struct value_error e;
	const struct keyword *k;

	c->left.port_hi = c->right.port_hi = 65535;
	c->left.host = c->right.host = HOST_UNSET;
	c->left.auth = c->right.auth = CONN_AUTH_SIGNATURE;
	c->esn = c->no_esn = true;
	c->ike_default = c->esp_default = true;
	for (size_t i = 0; (k = keyword_at(i)); i++) {
		char *base = k->scope == KEYWORD_SETUP ? (char *)&l->config->setup : (char *)c;
		// `warned`: nobody wrote it, so there is no line to warn of
		struct item item = { .keyword = k, .spelled = k->name, .value = k->fallback,
				     .warned = true };

		if (!k->stored || !k->fallback || k->scope == KEYWORD_END)
			continue;
		if (!set_plain(l, k, &item, k->fallback, base + k->offset, &e))
			return false;
	}
	return true;
}
