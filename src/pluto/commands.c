#include "pluto/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "pluto/control.h"
#include "pluto/daemon.h"
#include "pluto/status.h"
#include "pluto/waiter.h"

enum { WAIT_EXTRA_US = 500000 }; /* beyond the retransmission timeout, which should tell by itself */

struct command {
	const char *name;
	void (*run)(struct request *r);
	bool wants_name;
};

static struct conn *first(const struct request *r)
{
	return conn_set_find(r->daemon->conns, r->name, NULL);
}

static struct conn *next(const struct request *r, const struct conn *c)
{
	return conn_set_find(r->daemon->conns, r->name, c);
}

static void done(struct request *r)
{
	request_finish(r, CONN_RC_OK, REASON_NONE, "", NULL);
}

static void unknown(struct request *r)
{
	char text[300];

	snprintf(text, sizeof(text), "no connection or alias named \"%.200s\"", r->name);
	request_finish(r, CONN_RC_UNKNOWN, REASON_NO_CONNECTION, text, NULL);
}

static void finish_with(struct request *r, const struct conn_reply *reply)
{
	request_finish(r, reply->rc, reply->reason, reply->text, NULL);
}

/* --- reports ------------------------------------------------------------------------------- */

static void run_status(struct request *r)
{
	if (r->name != NULL && first(r) == NULL) {
		unknown(r);
		return;
	}
	request_finish(r, CONN_RC_OK, REASON_NONE, "", status_json(r->daemon, r->name));
}

static void run_sa(struct request *r)
{
	struct backend *b = r->daemon->backend;
	json_t *data = backend_ops(b)->describe(b, json_is_true(json_object_get(r->json, "show_keys")));

	if (data != NULL)
		json_object_set_new(data, "backend", json_string(backend_ops(b)->name));
	request_finish(r, data != NULL ? CONN_RC_OK : CONN_RC_INTERNAL, REASON_NONE,
		       data != NULL ? "" : "the back end gives no report", data);
}

static void run_why(struct request *r)
{
	request_finish(r, CONN_RC_OK, REASON_NONE, "", status_failures(r->daemon, r->name));
}

static void run_listsecrets(struct request *r)
{
	request_finish(r, CONN_RC_OK, REASON_NONE, "", status_secrets(r->daemon));
}

static void run_export_keys(struct request *r)
{
	log_warning("keys of all SAs are exported, by command");
	request_finish(r, CONN_RC_OK, REASON_NONE, "", status_export_keys(r->daemon));
}

/* --- loading ------------------------------------------------------------------------------- */

/* What the configuration has to say about this connection. */
static void tell_diags(struct request *r, const struct diag_list *diags, const char *section)
{
	struct diag *d;

	STAILQ_FOREACH(d, &diags->head, entry) {
		if (d->conn == NULL || (strcmp(d->conn, r->name) != 0 && strcmp(d->conn, section) != 0))
			continue;
		char *text = diag_format(d);

		if (text == NULL)
			continue;
		log_info("%s", text); /* which has its severity in it */
		request_line(r, d->severity == DIAG_ERROR ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, NULL, 0, text);
		free(text);
	}
}

/* A broken new version leaves what runs alone. */
static bool refuse_broken(struct request *r, const struct conn_config *config, struct conn_reply *reply)
{
	struct conn *old = first(r);

	if (!config->set_aside || old == NULL || old->problem.what != NULL)
		return false;
	snprintf(reply->text, sizeof(reply->text), "\"%s\": not changed: %s:%u: %s", config->name, config->file,
		 config->line, config->problem != NULL ? config->problem->what : "it has an error");
	reply->rc = CONN_RC_FATAL;
	return true;
}

static void load_all_named(struct request *r, struct conn_source *source, const struct diag_list *diags,
			   struct conn_reply *reply)
{
	size_t from = 0, found = 0;
	const struct conn_config *config;

	while ((config = config_find(source->config, r->name, &from)) != NULL) {
		if (config->section_only)
			continue;
		if (found++ == 0)
			tell_diags(r, diags, config->name);
		if (refuse_broken(r, config, reply))
			continue;
		struct conn *c = conn_set_add(r->daemon->conns, source, config);
		if (c != NULL && c->problem.what == NULL)
			continue;
		reply->rc = c != NULL ? CONN_RC_FATAL : CONN_RC_INTERNAL;
		snprintf(reply->text, sizeof(reply->text), "\"%s\": failed to add connection: %s", config->name,
			 c != NULL ? c->problem.what : "out of memory");
	}
	/* of several networks there may be fewer now */
	if (found > 0 && reply->rc == CONN_RC_OK)
		conn_set_prune(r->daemon->conns, r->name, source);
	if (found > 0)
		return;
	reply->rc = CONN_RC_UNKNOWN;
	reply->reason = REASON_NO_CONNECTION;
	snprintf(reply->text, sizeof(reply->text), "conn %.200s: not found (tried aliases)", r->name);
}

/* Read the configuration anew and load what the request names. */
static void load(struct request *r, struct conn_reply *reply)
{
	struct diag_list diags;

	memset(reply, 0, sizeof(*reply));
	diag_list_init(&diags);
	struct config *config = config_load(r->daemon->options->config, &diags);
	struct conn_source *source = config != NULL ? conn_source_new(config) : NULL;
	if (source != NULL)
		load_all_named(r, source, &diags, reply);
	else
		reply->rc = CONN_RC_INTERNAL;
	conn_source_unref(source);
	diag_list_free(&diags);
}

static void run_add(struct request *r)
{
	struct conn_reply reply;

	load(r, &reply);
	finish_with(r, &reply);
}

static void run_delete(struct request *r)
{
	struct conn *c = first(r), *after;

	if (c == NULL) {
		unknown(r);
		return;
	}
	/* instances go with their template, so the search starts anew each time */
	for (; c != NULL; c = after) {
		while (c->template != NULL)
			c = c->template;
		waiter_tell(r->daemon, c, AWAIT_NOTHING, CONN_RC_FATAL, REASON_ADMIN, "deleted by command");
		conn_delete(c);
		after = first(r);
	}
	done(r);
}

/* --- up and down --------------------------------------------------------------------------- */

static void start_up(struct request *r)
{
	struct daemon *d = r->daemon;
	struct conn_reply reply;
	uint64_t limit_us = 0;

	for (struct conn *c = first(r); c != NULL; c = next(r, c)) {
		if (c->template != NULL)
			continue;
		conn_up(c, &reply);
		if (reply.rc != CONN_RC_OK) {
			if (r->outcome.rc == CONN_RC_OK)
				r->outcome = reply;
			continue;
		}
		if (c->phase == CONN_UP || c->config->type == CONN_PASS || c->config->type == CONN_DROP)
			continue;
		waiter_add(r, c);
		if (c->ike->retransmit_timeout_us > limit_us)
			limit_us = c->ike->retransmit_timeout_us;
	}
	if (r->async) {
		finish_with(r, &r->outcome);
		return;
	}
	/* what is known at once (no secret, no policy) may end the request within the next turn */
	waiter_begin(r, AWAIT_UP, limit_us + WAIT_EXTRA_US);
	(void)d;
}

static void run_up(struct request *r)
{
	if (first(r) == NULL)
		unknown(r);
	else
		start_up(r);
}

static void run_start(struct request *r)
{
	struct conn_reply reply;

	load(r, &reply);
	if (reply.rc != CONN_RC_OK)
		finish_with(r, &reply);
	else
		start_up(r);
}

static void run_down(struct request *r)
{
	if (first(r) == NULL) {
		unknown(r);
		return;
	}
	for (struct conn *c = first(r); c != NULL; c = next(r, c)) {
		daemon_say(r->daemon, c, 0, LOG_LEVEL_INFO, "terminating SAs using this connection");
		conn_down(c);
		/* who waits for `up` hears of it */
		waiter_tell(r->daemon, c, AWAIT_NOTHING, CONN_RC_FATAL, REASON_ADMIN, "taken down by command");
	}
	done(r);
}

static void route_named(struct request *r)
{
	struct conn_reply reply = { 0 }, worst = { 0 };

	for (struct conn *c = first(r); c != NULL; c = next(r, c)) {
		if (c->template != NULL)
			continue;
		conn_route(c, &reply);
		if (reply.rc != CONN_RC_OK)
			worst = reply;
	}
	finish_with(r, &worst);
}

static void run_route(struct request *r)
{
	if (first(r) == NULL)
		unknown(r);
	else
		route_named(r);
}

static void run_ondemand(struct request *r)
{
	struct conn_reply reply;

	load(r, &reply);
	if (reply.rc != CONN_RC_OK)
		finish_with(r, &reply);
	else
		route_named(r);
}

static void run_unroute(struct request *r)
{
	if (first(r) == NULL) {
		unknown(r);
		return;
	}
	for (struct conn *c = first(r); c != NULL; c = next(r, c))
		conn_unroute(c);
	done(r);
}

static void rekey(struct request *r, enum await what)
{
	struct daemon *d = r->daemon;
	uint64_t limit_us = 0;
	bool any = false;

	for (struct conn *c = first(r); c != NULL; c = next(r, c)) {
		if (c->ike == NULL || c->phase != CONN_UP)
			continue;
		/* before the call: its events may come during it */
		waiter_add(r, c);
		bool started = what == AWAIT_IKE_REKEY ? ike_engine_rekey_ike(d->engine, c->ike) :
							 ike_engine_rekey_child(d->engine, c->ike);
		if (!started && r->pending_count > 0)
			r->pending_count--;
		any |= started;
		if (c->ike->retransmit_timeout_us > limit_us)
			limit_us = c->ike->retransmit_timeout_us;
	}
	if (!any) {
		char text[300];

		snprintf(text, sizeof(text), "\"%.200s\": %s", r->name,
			 first(r) == NULL ? "no connection or alias of this name" : "there is no established SA to rekey");
		request_finish(r, first(r) == NULL ? CONN_RC_UNKNOWN : CONN_RC_FATAL, REASON_NO_CONNECTION, text, NULL);
		return;
	}
	if (r->async)
		done(r);
	else
		waiter_begin(r, what, limit_us + WAIT_EXTRA_US);
}

static void run_rekey_ike(struct request *r)
{
	rekey(r, AWAIT_IKE_REKEY);
}

static void run_rekey_child(struct request *r)
{
	rekey(r, AWAIT_CHILD_REKEY);
}

/* --- the daemon ---------------------------------------------------------------------------- */

static void run_rereadsecrets(struct request *r)
{
	char text[512];

	snprintf(text, sizeof(text), "loading secrets from \"%s\"", r->daemon->secretsfile);
	request_line(r, LOG_LEVEL_INFO, NULL, 0, "forgetting secrets");
	request_line(r, LOG_LEVEL_INFO, NULL, 0, text);
	daemon_read_secrets(r->daemon, r);
	done(r);
}

static void run_listen(struct request *r)
{
	request_line(r, LOG_LEVEL_INFO, NULL, 0, "listening for IKE messages");
	bool ok = daemon_listen(r->daemon);

	daemon_read_secrets(r->daemon, r);
	request_finish(r, ok ? CONN_RC_OK : CONN_RC_INTERNAL, REASON_NONE,
		       ok ? "" : "a socket could not be bound; the log says which", NULL);
}

static void run_shutdown(struct request *r)
{
	daemon_quit(r->daemon, json_is_true(json_object_get(r->json, "keep")));
	done(r);
}

static const struct command table[] = {
	{ "status", run_status, false },
	{ "trafficstatus", run_status, false },
	{ "showstates", run_status, false },
	{ "briefstatus", run_status, false },
	{ "connectionstatus", run_status, false },
	{ "sa", run_sa, false },
	{ "why", run_why, false },
	{ "listsecrets", run_listsecrets, false },
	{ "export-keys", run_export_keys, false },
	{ "add", run_add, true },
	{ "replace", run_add, true },
	{ "delete", run_delete, true },
	{ "up", run_up, true },
	{ "down", run_down, true },
	{ "start", run_start, true },
	{ "route", run_route, true },
	{ "ondemand", run_ondemand, true },
	{ "unroute", run_unroute, true },
	{ "rekey-ike", run_rekey_ike, true },
	{ "rekey-child", run_rekey_child, true },
	{ "rereadsecrets", run_rereadsecrets, false },
	{ "listen", run_listen, false },
	{ "shutdown", run_shutdown, false },
};

void command_run(struct request *r)
{
	char text[128];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strcmp(r->command, table[i].name) != 0)
			continue;
		if (!table[i].wants_name || r->name != NULL) {
			table[i].run(r);
			return;
		}
		snprintf(text, sizeof(text), "bad request: %s needs the name of a connection", table[i].name);
		request_finish(r, CONN_RC_BAD_REQUEST, REASON_NONE, text, NULL);
		return;
	}
	snprintf(text, sizeof(text), "bad request: unknown command \"%.60s\"", r->command);
	request_finish(r, CONN_RC_BAD_REQUEST, REASON_NONE, text, NULL);
}
