#include "pluto/status.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "build-config.h"
#include "pluto/addresses.h"
#include "pluto/daemon.h"
#include "pluto/sockets.h"


/* Which SAs a connection has, found in one pass over the engine. */
struct sa_of_conn {
	const struct ike_conn *conn;
	uint32_t ike, child;
	char ike_algorithms[128], esp_algorithms[128];
	UT_hash_handle hh;
};

struct builder {
	struct daemon *d;
	const char *name;
	json_t *states;
	struct sa_of_conn *by_conn;
};

static json_t *text_json(const char *s)
{
	json_t *v = s != NULL ? json_string(s) : json_null();

	return v != NULL ? v : json_string("(unprintable)");
}

static json_t *seconds_json(uint64_t s)
{
	return s == UINT64_MAX ? json_null() : json_integer((json_int_t)s);
}

static json_t *address_json(const struct ip_address *a)
{
	char buf[IP_ADDRESS_TEXT];

	return a->family == AF_UNSPEC ? json_null() : json_string(ip_address_format(a, buf));
}

static json_t *endpoint_json(const struct ip_endpoint *e)
{
	char buf[IP_ENDPOINT_TEXT];

	return json_string(ip_endpoint_format(e, buf));
}

static json_t *identity_json(const struct identity *id)
{
	char buf[IDENTITY_TEXT];

	return id == NULL ? json_null() : text_json(identity_format(id, buf, sizeof(buf)));
}

static json_t *selectors_json(const struct ts_list *list)
{
	json_t *a = json_array();
	char buf[TS_TEXT];

	for (size_t i = 0; i < list->count; i++)
		json_array_append_new(a, json_string(ts_format(&list->ts[i], buf)));
	return a;
}

/* `AES_GCM_16_256-HMAC_SHA2_512-DH19` */
static const char *ike_algorithms(const struct cipher_suite *s, char *buf, size_t len)
{
	size_t n = 0;

	buf[0] = '\0';
	if (s->encr == NULL || s->prf == NULL || s->ke == NULL)
		return buf;
	n += (size_t)snprintf(buf, len, "%s", s->encr->name);
	if (s->encr_bits != 0 && n < len && s->encr->key_bits[1] != 0)
		n += (size_t)snprintf(buf + n, len - n, "_%u", s->encr_bits);
	if (n < len)
		n += (size_t)snprintf(buf + n, len - n, "-%s", s->prf->name);
	/* an integrity algorithm goes without saying when it is the PRF's */
	if (n < len && s->integ != NULL && strncmp(s->integ->name, s->prf->name, strlen(s->prf->name)) != 0)
		n += (size_t)snprintf(buf + n, len - n, "-%s", s->integ->name);
	if (n < len)
		snprintf(buf + n, len - n, "-%s", s->ke->name);
	return buf;
}

/* --- states -------------------------------------------------------------------------------- */

static struct sa_of_conn *sa_of(struct builder *b, const struct ike_conn *conn)
{
	struct sa_of_conn *e = NULL;

	HASH_FIND_PTR(b->by_conn, &conn, e);
	if (e == NULL && (e = calloc(1, sizeof(*e))) != NULL) {
		e->conn = conn;
		HASH_ADD_PTR(b->by_conn, conn, e);
	}
	return e;
}

static bool wanted(const struct builder *b, const struct ike_conn *conn)
{
	const struct conn *c = conn != NULL ? conn->owner : NULL;

	if (b->name == NULL)
		return true;
	if (c == NULL)
		return conn != NULL && strcmp(conn->name, b->name) == 0;
	for (const struct conn *x = conn_set_find(b->d->conns, b->name, NULL); x != NULL;
	     x = conn_set_find(b->d->conns, b->name, x)) {
		if (x == c)
			return true;
	}
	return false;
}

static const char *nat_text(const struct ike_sa_info *i)
{
	if (i->nat_local)
		return i->nat_remote ? "both" : "local";
	return i->nat_remote ? "remote" : "none";
}

static void add_ike(void *context, const struct ike_sa_info *i)
{
	struct builder *b = context;
	char spi_i[20], spi_r[20], alg[160];

	if (!wanted(b, i->conn))
		return;
	snprintf(spi_i, sizeof(spi_i), "%016llx", (unsigned long long)i->spi_i);
	snprintf(spi_r, sizeof(spi_r), "%016llx", (unsigned long long)i->spi_r);
	ike_algorithms(&i->suite, alg, sizeof(alg));
	json_t *o = json_pack("{s:I, s:s, s:o, s:i, s:s, s:b, s:b, s:s, s:s, s:o, s:o, s:o, s:o, s:s, s:s, s:o, s:o}",
			      "id", (json_int_t)i->id, "kind", "ike",
			      "connection", text_json(i->conn != NULL ? i->conn->name : NULL),
			      "port", (int)i->local.port, "state", i->state,
			      "initiator", i->initiator, "newest", i->newest, "spi_i", spi_i, "spi_r", spi_r,
			      "local", endpoint_json(&i->local), "remote", endpoint_json(&i->remote),
			      "local_id", identity_json(i->local_id), "remote_id", identity_json(i->remote_id),
			      "algorithms", alg, "nat", nat_text(i),
			      "rekey_in_s", seconds_json(i->rekey_in_s), "replace_in_s", seconds_json(i->replace_in_s));
	if (o != NULL) {
		json_object_set_new(o, "established", json_boolean(i->established));
		json_array_append_new(b->states, o);
	}
	struct sa_of_conn *e = i->established && i->newest && i->conn != NULL ? sa_of(b, i->conn) : NULL;
	if (e == NULL)
		return;
	e->ike = i->id;
	snprintf(e->ike_algorithms, sizeof(e->ike_algorithms), "%.127s", alg);
}

static void add_child_counters(struct builder *b, json_t *o, const struct child_sa *sa)
{
	struct child_sa_usage u = { 0 };

	if (!backend_ops(b->d->backend)->query(b->d->backend, sa, &u))
		memset(&u, 0, sizeof(u));
#define COUNT(key) json_object_set_new(o, #key, json_integer((json_int_t)u.key))
	COUNT(in_bytes);
	COUNT(in_packets);
	COUNT(out_bytes);
	COUNT(out_packets);
	COUNT(replay_dropped);
	COUNT(integrity_failed);
#undef COUNT
}

static void add_child(void *context, const struct child_sa_info *i)
{
	struct builder *b = context;
	const struct child_sa *sa = i->sa;
	char in[12], out[12], alg[160] = "";

	if (!wanted(b, i->conn))
		return;
	snprintf(in, sizeof(in), "0x%08x", sa->in.spi);
	snprintf(out, sizeof(out), "0x%08x", sa->out.spi);
	if (sa->suite.encr != NULL)
		suite_format_esp(&sa->suite, alg, sizeof(alg));
	uint64_t now = clock_wall_s();
	json_t *o = json_pack(
		"{s:I, s:s, s:o, s:i, s:I, s:s, s:b, s:b, s:s, s:s, s:s, s:o, s:o, s:s, s:b}",
		"id", (json_int_t)i->id, "kind", "child",
		"connection", text_json(i->conn != NULL ? i->conn->name : NULL),
		"port", sa->path.udp_encap ? (int)sa->path.local.port : 500, "ike_sa", (json_int_t)i->ike_id,
		"state", i->state, "initiator", i->initiator, "newest", i->newest,
		"mode", sa->mode == MODE_TUNNEL ? "tunnel" : "transport", "spi_in", in, "spi_out", out,
		"local", address_json(&sa->path.local.address), "remote", address_json(&sa->path.remote.address),
		"encap", sa->path.udp_encap ? "udp" : "none", "esn", sa->suite.esn);
	if (o == NULL)
		return;
	json_object_set_new(o, "local_ts", selectors_json(&sa->local_ts));
	json_object_set_new(o, "remote_ts", selectors_json(&sa->remote_ts));
	json_object_set_new(o, "algorithms", json_string(alg));
	json_object_set_new(o, "rekey_in_s", seconds_json(i->rekey_in_s));
	json_object_set_new(o, "replace_in_s", seconds_json(i->replace_in_s));
	json_object_set_new(o, "liveness_in_s", seconds_json(i->liveness_in_s));
	json_object_set_new(o, "add_time", json_integer((json_int_t)(now - (i->added_s < now ? i->added_s : now))));
	json_object_set_new(o, "peer_id", identity_json(i->remote_id));
	json_object_set_new(o, "resource", json_integer(sa->resource));
	json_object_set_new(o, "established", json_boolean(i->established));
	add_child_counters(b, o, sa);
	json_array_append_new(b->states, o);
	struct sa_of_conn *e = i->established && i->newest && i->conn != NULL ? sa_of(b, i->conn) : NULL;
	if (e == NULL)
		return;
	e->child = i->id;
	if (e->ike == 0)
		e->ike = i->ike_id;
	snprintf(e->esp_algorithms, sizeof(e->esp_algorithms), "%.127s", alg);
}

/* --- connections --------------------------------------------------------------------------- */

static const char *auth_text(enum conn_auth a)
{
	static const char *const names[] = {
		[CONN_AUTH_PSK] = "secret", [CONN_AUTH_NULL] = "null", [CONN_AUTH_NEVER] = "never",
		[CONN_AUTH_SIGNATURE] = "rsasig",
	};
	return names[a];
}

static json_t *end_json(const struct conn *c, bool local)
{
	const struct ike_conn *ike = c->ike;
	bool left = c->orientation.left_is_local == local;
	const struct end_config *end = left ? &c->config->left : &c->config->right;
	const struct identity *id = ike == NULL ? &end->id : local ? &ike->local_id : &ike->remote_id;
	const struct ip_address *a = ike == NULL ? &end->address :
				     local ? &ike->local.address : &ike->remote.address;
	const struct ts_list *ts = ike == NULL ? &end->subnets : local ? &ike->local_ts : &ike->remote_ts;

	return json_pack("{s:o, s:o, s:s, s:s, s:o}", "address", address_json(a), "id", identity_json(id),
			 "id_type", identity_type_name(id), "auth", auth_text(end->auth),
			 "subnets", selectors_json(ts));
}

static json_t *policy_json(const struct conn *c)
{
	const struct conn_config *config = c->config;
	struct text t = { 0 };

	text_add(&t, "IKEv2");
	if (config->left.auth == CONN_AUTH_PSK || config->right.auth == CONN_AUTH_PSK)
		text_add(&t, "+PSK");
	if (config->left.auth == CONN_AUTH_NULL || config->right.auth == CONN_AUTH_NULL)
		text_add(&t, "+AUTHNULL");
	if (config->type == CONN_TUNNEL || config->type == CONN_TRANSPORT)
		text_add(&t, "+ENCRYPT+%s", config->type == CONN_TUNNEL ? "TUNNEL" : "TRANSPORT");
	else
		text_add(&t, "+%s", config->type == CONN_PASS ? "PASS" : "DROP");
	if (config->pfs)
		text_add(&t, "+PFS");
	if (!config->rekey)
		text_add(&t, "+DONT_REKEY");
	if (config->overlap_ip)
		text_add(&t, "+OVERLAPIP");
	if (config->narrowing)
		text_add(&t, "+IKEV2_ALLOW_NARROWING");
	if (c->routed != WISH_NO)
		text_add(&t, "+ROUTE");
	if (c->want_up != WISH_NO)
		text_add(&t, "+UP");
	if (c->ike != NULL && c->ike->no_esn)
		text_add(&t, "+ESN_NO");
	if (c->ike != NULL && c->ike->esn)
		text_add(&t, "+ESN_YES");
	json_t *v = json_string(text_str(&t));
	text_free(&t);
	return v;
}

static uint32_t priority_of(const struct conn *c)
{
	if (c->config->priority != 0 || c->ike == NULL || c->ike->local_ts.count == 0 || c->ike->remote_ts.count == 0)
		return c->config->priority;
	return sa_policy_priority(&c->ike->local_ts.ts[0], &c->ike->remote_ts.ts[0]);
}

static void set_int(json_t *o, const char *key, uint64_t value)
{
	json_object_set_new(o, key, json_integer((json_int_t)value));
}

static void connection_numbers(json_t *o, const struct conn *c)
{
	const struct conn_config *config = c->config;

	set_int(o, "ike_lifetime_s", config->ike_lifetime_s);
	set_int(o, "ipsec_lifetime_s", config->ipsec_lifetime_s);
	set_int(o, "rekey_margin_s", config->rekey_margin_s);
	set_int(o, "rekey_fuzz_percent", config->rekey_fuzz_percent);
	set_int(o, "replay_window", config->replay_window);
	set_int(o, "retransmit_interval_ms", config->retransmit_interval_ms);
	set_int(o, "retransmit_timeout_s", config->retransmit_timeout_s);
	set_int(o, "dpd_delay_s", config->dpd_delay_s);
	set_int(o, "mtu", config->mtu);
	set_int(o, "metric", config->metric);
	set_int(o, "reqid", c->reqid);
	set_int(o, "priority", priority_of(c));
	set_int(o, "clones", c->ike != NULL && c->ike->resources > 1 ? c->ike->resources : 0);
}

static json_t *set_aside_json(const struct conn *c)
{
	if (c->problem.what == NULL)
		return json_null();
	return json_pack("{s:o, s:i, s:o, s:o}", "file", text_json(c->problem.file), "line", (int)c->problem.line,
			 "what", text_json(c->problem.what), "remedy", text_json(c->problem.remedy));
}

static json_t *interface_json(struct daemon *d, const struct conn *c)
{
	const struct local_address *a = c->ike != NULL ? addresses_find(d->addresses, &c->ike->local.address) : NULL;

	return a != NULL ? json_string(a->interface) : json_null();
}

static json_t *connection_json(struct builder *b, const struct conn *c)
{
	static const char *const autos[] = {
		[AUTO_IGNORE] = "ignore", [AUTO_ADD] = "add", [AUTO_ONDEMAND] = "ondemand",
		[AUTO_START] = "start", [AUTO_KEEP] = "keep",
	};
	static const char *const types[] = {
		[CONN_TUNNEL] = "tunnel", [CONN_TRANSPORT] = "transport", [CONN_PASS] = "passthrough", [CONN_DROP] = "drop",
	};
	static const char *const dpd[] = { [CONN_DPD_HOLD] = "hold", [CONN_DPD_CLEAR] = "clear", [CONN_DPD_RESTART] = "restart" };
	static const char *const encaps[] = { [CONN_ENCAP_AUTO] = "auto", [CONN_ENCAP_YES] = "yes", [CONN_ENCAP_NO] = "no" };
	const struct conn_config *config = c->config;
	json_t *o = json_pack("{s:s, s:s, s:o}", "name", c->name, "auto", autos[config->auto_mode],
			      "set_aside", set_aside_json(c));

	if (o == NULL || c->problem.what != NULL)
		return o;
	set_int(o, "serial", c->serial);
	if (c->template != NULL)
		set_int(o, "instance", c->instance);
	json_object_set_new(o, "type", json_string(types[config->type]));
	json_object_set_new(o, "state", json_string(conn_state_name(c)));
	json_object_set_new(o, "oriented", json_boolean(c->orientation.state == ORIENT_YES));
	json_object_set_new(o, "orientation",
			    c->orientation.state == ORIENT_YES ? json_null() : text_json(c->orientation.text));
	json_object_set_new(o, "interface", interface_json(b->d, c));
	json_object_set_new(o, "local", end_json(c, true));
	json_object_set_new(o, "remote", end_json(c, false));
	connection_numbers(o, c);
	json_object_set_new(o, "dpd_action", json_string(dpd[config->dpd_action]));
	json_object_set_new(o, "encapsulation", json_string(encaps[config->encapsulation]));
	json_object_set_new(o, "policy", policy_json(c));
	struct sa_of_conn *e = NULL;
	if (c->ike != NULL)
		HASH_FIND_PTR(b->by_conn, &c->ike, e);
	json_object_set_new(o, "ike_sa", e != NULL && e->ike != 0 ? json_integer(e->ike) : json_null());
	json_object_set_new(o, "child_sa", e != NULL && e->child != 0 ? json_integer(e->child) : json_null());
	json_object_set_new(o, "ike_algorithms", e != NULL && e->ike != 0 ? json_string(e->ike_algorithms) : json_null());
	json_object_set_new(o, "esp_algorithms", e != NULL && e->child != 0 ? json_string(e->esp_algorithms) : json_null());
	json_object_set_new(o, "failure", failure_json(c->failure));
	return o;
}

/* --- the whole ----------------------------------------------------------------------------- */

static void add_interface(void *context, const char *interface, const struct ip_endpoint *local)
{
	json_t *o = json_pack("{s:s, s:o, s:i, s:b}", "name", interface, "address", address_json(&local->address),
			      "port", (int)local->port, "nat", local->port != 500);

	if (o != NULL)
		json_array_insert_new(context, 0, o);
}

static json_t *counters_json(const struct ike_counters *k)
{
	json_t *o = json_object();

#define X(name) json_object_set_new(o, #name, json_integer((json_int_t)k->name));
	IKE_COUNTERS(X)
	X(half_open)
	X(ike_total)
	X(child_total)
#undef X
	return o;
}

static json_t *setup_json(const struct setup_config *s)
{
	static const char *const ddos[] = { [DDOS_AUTO] = "auto", [DDOS_BUSY] = "busy", [DDOS_UNLIMITED] = "unlimited" };

	return json_pack("{s:b, s:b, s:o, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:i, s:o, s:o, s:o, s:b}",
			 "uniqueids", s->uniqueids, "logappend", s->logappend, "logfile", text_json(s->logfile),
			 "logip", s->logip, "logtime", s->logtime,
			 "keep_alive_s", (json_int_t)s->keep_alive_s, "shunt_lifetime_s", (json_int_t)s->shunt_lifetime_s,
			 "expire_lifetime_s", (json_int_t)s->expire_lifetime_s,
			 "ddos_threshold", (json_int_t)s->ddos_threshold, "max_halfopen", (json_int_t)s->max_halfopen,
			 "ikebuf", (json_int_t)s->ike_bufsize, "ddos_mode", ddos[s->ddos_mode],
			 "nhelpers", s->nhelpers, "dumpdir", text_json(s->dumpdir), "ipsecdir", text_json(s->ipsecdir),
			 "listen", address_json(&s->listen), "debug", s->debug);
}

static json_t *connections_json(struct builder *b)
{
	json_t *a = json_array();

	if (b->name == NULL) {
		for (const struct conn *c = conn_set_first(b->d->conns); c != NULL; c = conn_next(c))
			json_array_append_new(a, connection_json(b, c));
		return a;
	}
	for (const struct conn *c = conn_set_find(b->d->conns, b->name, NULL); c != NULL;
	     c = conn_set_find(b->d->conns, b->name, c))
		json_array_append_new(a, connection_json(b, c));
	return a;
}

static void builder_clear(struct builder *b)
{
	struct sa_of_conn *e = b->by_conn, *next;

	HASH_CLEAR(hh, b->by_conn); /* the table only: `next` still links what it held */
	for (; e != NULL; e = next) {
		next = e->hh.next;
		free(e);
	}
}

json_t *status_json(struct daemon *d, const char *name)
{
	struct builder b = { .d = d, .name = name, .states = json_array() };
	json_t *interfaces = json_array();

	sockets_each(d->sockets, add_interface, interfaces);
	ike_engine_each_ike(d->engine, add_ike, &b);
	ike_engine_each_child(d->engine, add_child, &b);
	json_t *connections = connections_json(&b);
	builder_clear(&b);
	return json_pack("{s:s, s:i, s:I, s:s, s:s, s:o?, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}",
			 "version", SEKISHO_VERSION, "pid", (int)getpid(),
			 "uptime_s", (json_int_t)((clock_now_us() - d->started_us) / US_PER_S),
			 "protostack", backend_ops(d->backend)->name, "protostack_reason", d->protostack_reason,
			 "backend", backend_ops(d->backend)->status(d->backend),
			 "rundir", d->rundir, "configfile", d->options->config, "secretsfile", d->secretsfile,
			 "interfaces", interfaces, "setup", setup_json(d->setup),
			 "counters", counters_json(ike_engine_counters(d->engine)),
			 "connections", connections, "states", b.states);
}

json_t *status_failures(struct daemon *d, const char *name)
{
	const struct failure_log *log = conn_set_failures(d->conns);
	json_t *a = json_array();

	for (size_t i = 0; i < failure_log_count(log); i++) {
		const struct failure *f = failure_log_at(log, i);

		if (name == NULL || (f->conn != NULL && strcmp(f->conn, name) == 0))
			json_array_append_new(a, failure_json(f));
	}
	return json_pack("{s:o}", "failures", a);
}

json_t *status_secrets(struct daemon *d)
{
	struct text t = { 0 };

	if (d->secrets != NULL)
		secrets_list(d->secrets, &t);
	json_t *o = json_pack("{s:o}", "text", text_json(text_str(&t)));
	text_free(&t);
	return o;
}
