/*
 * The configuration as text again: every connection complete, without what is
 * the default. Loading it gives the same connections.
 */
#include <string.h>
#include <stdio.h>

#include "base/text.h"
#include "config/load.h"

/** A value so that the scanner reads it back. */
static void write_quoted(struct text *out, const char *value)
{
	bool bare = *value && !strpbrk(value, " \t\f\v") && !strchr("\"'{#", *value);

	if (bare)
		text_add(out, "%s", value);
	else if (!strchr(value, '"'))
		text_add(out, "\"%s\"", value);
	else if (!strchr(value, '\''))
		text_add(out, "'%s'", value);
	else
		text_add(out, "{%s}", value);
}

static const char *choice_name(const struct keyword *k, int value)
{
	for (const struct keyword_value *v = k->values; v && v->name; v++)
		if (v->value == value)
			return v->name;
	return "";
}

static void write_ports(struct text *out, uint16_t lo, uint16_t hi)
{
	if (lo == 65535 && hi == 0)
		text_add(out, "%%opaque");
	else if (lo == hi)
		text_add(out, "%u", lo);
	else
		text_add(out, "%u-%u", lo, hi);
}

static void write_protoport(struct text *out, uint8_t protocol, uint16_t lo, uint16_t hi)
{
	const char *name = protocol_name(protocol);

	if (name)
		text_add(out, "%s", name);
	else
		text_add(out, "%u", protocol);
	if (lo == 0 && hi == 65535)
		return;
	text_add(out, "/");
	write_ports(out, lo, hi);
}

static void write_subnets(struct text *out, const struct ts_list *list)
{
	char buf[IP_PREFIX_TEXT];

	for (size_t i = 0; i < list->count; i++) {
		const struct traffic_selector *ts = &list->ts[i];
		struct ip_prefix prefix;

		// What subnet= reads is always a prefix.
		if (!ip_prefix_from_range(&ts->lo, &ts->hi, &prefix))
			continue;
		text_add(out, "%s%s", i ? "," : "", ip_prefix_format(&prefix, buf));
		if (!ts->protocol)
			continue;
		text_add(out, "/");
		write_protoport(out, ts->protocol, ts->port_lo, ts->port_hi);
	}
}

static void write_host(struct text *out, const struct end_config *e)
{
	char buf[IP_ADDRESS_TEXT];

	switch (e->host) {
	case HOST_ADDRESS:
		text_add(out, "%s", ip_address_format(&e->address, buf));
		break;
	case HOST_NAME:
	case HOST_INTERFACE:
		text_add(out, "%s%s", e->host == HOST_INTERFACE ? "%" : "", e->name);
		break;
	case HOST_ANY:
		text_add(out, "%%any");
		break;
	case HOST_DEFAULTROUTE:
		text_add(out, "%%defaultroute");
		break;
	case HOST_UNSET:
		break;
	}
}

/** A field of a plain type as text; nothing when there is none. */
static void write_plain(struct text *out, const struct keyword *k, const void *field)
{
	char buf[IP_ADDRESS_TEXT];
	const struct ip_address *a = field;

	switch (k->type) {
	case KEYWORD_YN:
		text_add(out, *(const bool *)field ? "yes" : "no");
		break;
	case KEYWORD_DEBUG:
		text_add(out, *(const bool *)field ? "all" : "none");
		break;
	case KEYWORD_CHOICE:
		text_add(out, "%s", choice_name(k, *(const int *)field));
		break;
	case KEYWORD_SECONDS:
		text_add(out, "%llus", (unsigned long long)*(const uint64_t *)field);
		break;
	case KEYWORD_MILLISECONDS:
		text_add(out, "%llums", (unsigned long long)*(const uint64_t *)field);
		break;
	case KEYWORD_BYTES:
	case KEYWORD_COUNT:
		text_add(out, "%llu", (unsigned long long)*(const uint64_t *)field);
		break;
	case KEYWORD_NUMBER:
	case KEYWORD_PERCENT:
		text_add(out, "%u%s", *(const uint32_t *)field,
			 k->type == KEYWORD_PERCENT ? "%" : "");
		break;
	case KEYWORD_INTEGER:
		text_add(out, "%d", *(const int *)field);
		break;
	case KEYWORD_PORT:
		text_add(out, "%u", *(const uint16_t *)field);
		break;
	case KEYWORD_STRING:
	case KEYWORD_FILE:
	case KEYWORD_NAMES:
		if (*(char *const *)field)
			write_quoted(out, *(char *const *)field);
		break;
	case KEYWORD_ADDRESS:
	case KEYWORD_ADDRESSES:
		if (a->family != AF_UNSPEC)
			text_add(out, "%s", ip_address_format(a, buf));
		break;
	default:
		break;
	}
}

static void write_line(struct text *out, const char *side, const struct keyword *k,
		       const struct text *value)
{
	if (value->len)
		text_add(out, "\t%s%s=%s\n", side, k->name, text_str(value));
}

static void write_end_keyword(struct text *out, const struct keyword *k,
			      const struct conn_config *c, const struct end_config *e,
			      const char *side)
{
	struct text value = { 0 };

	switch (k->type) {
	case KEYWORD_HOST:
		write_host(&value, e);
		break;
	case KEYWORD_ID:
		if (e->id_text)
			write_quoted(&value, e->id_text);
		break;
	case KEYWORD_SUBNET:
		write_subnets(&value, &e->subnets);
		break;
	case KEYWORD_PROTOPORT:
		if (e->protocol)
			write_protoport(&value, e->protocol, e->port_lo, e->port_hi);
		break;
	case KEYWORD_AUTH:
		if (c->left.auth != c->right.auth)
			text_add(&value, "%s", choice_name(k, (int)e->auth));
		break;
	case KEYWORD_PORT:
		if (e->ike_port)
			text_add(&value, "%u", e->ike_port);
		break;
	default:
		if (k->stored)
			write_plain(&value, k, (const char *)e + k->offset);
		break;
	}
	write_line(out, side, k, &value);
	text_free(&value);
}

static void write_mark(struct text *value, const struct keyword *k, const struct conn_config *c)
{
	bool in = k->offset == offsetof(struct conn_config, mark_in);
	uint32_t mark = in ? c->mark_in : c->mark_out;
	uint32_t mask = in ? c->mark_in_mask : c->mark_out_mask;

	if (mask)
		text_add(value, "0x%x/0x%x", mark, mask);
}

static void write_conn_keyword(struct text *out, const struct keyword *k,
			       const struct conn_config *c, const struct conn_config *blank)
{
	struct text value = { 0 }, usual = { 0 };

	switch (k->type) {
	case KEYWORD_AUTHBY:
		if (c->left.auth == c->right.auth && c->type <= CONN_TRANSPORT)
			text_add(&value, "%s", choice_name(k, (int)c->left.auth));
		break;
	case KEYWORD_PROPOSALS_IKE:
		if (c->ike_text)
			write_quoted(&value, c->ike_text);
		break;
	case KEYWORD_PROPOSALS_ESP:
		if (c->esp_text)
			write_quoted(&value, c->esp_text);
		break;
	case KEYWORD_ESN:
		if (!c->esn || !c->no_esn)
			text_add(&value, c->esn ? "yes" : "no");
		break;
	case KEYWORD_MARK:
		if (k->stored)
			write_mark(&value, k, c);
		break;
	case KEYWORD_YN:
		// pfs=yes that was written says more than the default does.
		if (k->offset == offsetof(struct conn_config, pfs) && k->stored && c->pfs_written) {
			write_plain(&value, k, &c->pfs);
			break;
		}
		/* fallthrough */
	default:
		if (!k->stored)
			break;
		write_plain(&value, k, (const char *)c + k->offset);
		write_plain(&usual, k, (const char *)blank + k->offset);
		if (strcmp(text_str(&value), text_str(&usual)) == 0)
			text_free(&value);
		break;
	}
	write_line(out, "", k, &value);
	text_free(&value);
	text_free(&usual);
}

static void write_extra(struct text *out, const struct config_extra *extra)
{
	for (; extra; extra = extra->next) {
		text_add(out, "\t%s=", extra->keyword);
		write_quoted(out, extra->value);
		text_add(out, "\n");
	}
}

static void write_setup(struct text *out, const struct setup_config *setup,
			const struct setup_config *blank)
{
	const struct keyword *k;

	text_add(out, "config setup\n");
	for (size_t i = 0; (k = keyword_at(i)); i++) {
		struct text value = { 0 }, usual = { 0 };

		if (k->scope != KEYWORD_SETUP || !k->stored || k->status == KEYWORD_NO_EFFECT)
			continue;
		write_plain(&value, k, (const char *)setup + k->offset);
		write_plain(&usual, k, (const char *)blank + k->offset);
		if (strcmp(text_str(&value), text_str(&usual)) != 0)
			write_line(out, "", k, &value);
		text_free(&value);
		text_free(&usual);
	}
	write_extra(out, setup->extra);
}

static void write_conn(struct text *out, const struct conn_config *c,
		       const struct conn_config *blank)
{
	const struct keyword *k;

	text_add(out, "\nconn ");
	write_quoted(out, c->name);
	text_add(out, "\n");
	for (size_t i = 0; (k = keyword_at(i)); i++) {
		if (k->status == KEYWORD_NO_EFFECT)
			continue;
		if (k->scope == KEYWORD_END) {
			write_end_keyword(out, k, c, &c->left, "left");
			write_end_keyword(out, k, c, &c->right, "right");
		} else if (k->scope == KEYWORD_CONN) {
			write_conn_keyword(out, k, c, blank);
		}
	}
	write_extra(out, c->extra);
}

void config_write(const struct config *config, struct text *out)
{
	struct config defaults = { 0 };
	struct loader l = { .config = &defaults };

	if (!set_defaults(&l))
		return;
	write_setup(out, &config->setup, &defaults.setup);
	for (size_t i = 0; i < config->count; i++) {
		const struct conn_config *c = &config->conns[i];
		const struct diag *p = c->problem;

		if (c->section_only)
			continue; // what it says stands in the connections that include it
		if (!c->set_aside)
			write_conn(out, c, &l.blank);
		else
			text_add(out, "\n# conn %s is set aside: %s:%u: %s\n", c->name,
				 p && p->file ? p->file : c->file, p ? p->line : c->line,
				 p && p->what ? p->what : "it has an error");
	}
}
