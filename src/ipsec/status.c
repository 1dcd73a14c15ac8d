/* `ipsec status`: everything, in Libreswan's order; and a connection's part of it. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ipsec/client.h"
#include "ipsec/command.h"

/* A line of the report after its prefix; blocks are separated by a line of one blank. */
#define OUT(...) (fputs(prefix, stdout), printf(__VA_ARGS__), putchar('\n'))
#define SEPARATOR() OUT(" ")

static void print_interfaces(const char *prefix, const struct options *o, const json_t *status)
{
	size_t i;
	const json_t *n;

	json_array_foreach(json_object_get(status, "interfaces"), i, n) {
		if (o->style == STYLE_4)
			OUT("interface %s UDP %s:%lld", json_text(n, "name"), json_text(n, "address"),
			    (long long)json_number(n, "port"));
		else
			OUT("interface %s %s:UDP/%lld%s", json_text(n, "name"), json_text(n, "address"),
			    (long long)json_number(n, "port"), json_flag(n, "nat") ? " (NAT)" : "");
	}
}

/* `features: a b c; not here: d` */
static void print_features(const char *prefix, const char *name, const json_t *features)
{
	const char *key, *before = ":";
	const json_t *value;

	fputs(prefix, stdout);
	printf("  %s", name);
	for (int want = 1; want >= 0; want--) {
		json_object_foreach((json_t *)features, key, value) {
			if (json_is_true(value) != want)
				continue;
			printf("%s %s", before, key);
			before = "";
		}
		before = "; not here:";
	}
	putchar('\n');
}

static void print_backend(const char *prefix, const json_t *status)
{
	const json_t *backend = json_object_get(status, "backend");
	const char *reason = json_text(status, "protostack_reason");
	const char *key;
	const json_t *value;

	if (strcmp(json_text(status, "protostack"), "xfrm") == 0)
		OUT("using kernel interface: xfrm");
	else
		OUT("using user-space ESP%s%s%s", reason[0] ? " (" : "", reason, reason[0] ? ")" : "");
	json_object_foreach((json_t *)backend, key, value) {
		if (json_is_string(value))
			OUT("  %s: %s", key, json_string_value(value));
		else if (json_is_integer(value) && json_integer_value(value) != 0)
			OUT("  %s: %lld", key, (long long)json_integer_value(value));
		else if (json_is_boolean(value))
			OUT("  %s: %s", key, json_is_true(value) ? "yes" : "no");
		else if (strcmp(key, "features") == 0)
			print_features(prefix, key, value);
	}
}

static void print_setup(const char *prefix, const json_t *status)
{
	const char *key;
	const json_t *value;

	OUT("config setup options:");
	SEPARATOR();
	OUT("configfile=%s, secrets=%s, rundir=%s", json_text(status, "configfile"),
	    json_text(status, "secretsfile"), json_text(status, "rundir"));
	OUT("pluto_version=%s, pid=%lld, uptime=%llds", json_text(status, "version"),
	    (long long)json_number(status, "pid"), (long long)json_number(status, "uptime_s"));
	json_object_foreach(json_object_get(status, "setup"), key, value) {
		if (json_is_string(value))
			OUT("%s=%s", key, json_string_value(value));
		else if (json_is_integer(value))
			OUT("%s=%lld", key, (long long)json_integer_value(value));
		else
			OUT("%s=%s", key, json_is_null(value) ? "unset" : json_is_true(value) ? "yes" : "no");
	}
}

static void print_subnets(const json_t *end)
{
	size_t i;
	const json_t *subnet;

	json_array_foreach(json_object_get(end, "subnets"), i, subnet)
		printf("%s%s", i > 0 ? "," : "", json_string_value(subnet));
}

/* `192.168.20.10[@west]`; the identity only when it is not the address. */
static void print_host(const json_t *end)
{
	const char *address = json_text(end, "address"), *id = json_text(end, "id");

	fputs(address, stdout);
	if (id[0] != '\0' && strcmp(id, address) != 0)
		printf("[%s]", id);
}

static void print_topology(const char *prefix, const struct options *o, const json_t *conn)
{
	const json_t *local = json_object_get(conn, "local"), *remote = json_object_get(conn, "remote");
	const char *state = json_text(conn, "state");
	json_int_t child = json_number(conn, "child_sa");

	printf("%s\"%s\": ", prefix, json_text(conn, "name"));
	print_subnets(local);
	fputs("===", stdout);
	print_host(local);
	fputs("...", stdout);
	print_host(remote);
	fputs("===", stdout);
	print_subnets(remote);
	if (o->style == STYLE_5) {
		printf("; %s; my_ip=unset; their_ip=unset;\n", state);
		return;
	}
	if (strcmp(state, "routed-tunnel") == 0)
		state = "erouted";
	else if (strcmp(state, "routed-ondemand") == 0)
		state = "prospective erouted";
	printf("; %s; eroute owner: #%lld\n", state, (long long)child);
}

static void print_failure(const char *prefix, const char *name, const json_t *failure)
{
	static const char *const rows[][2] = {
		{ "reason", "reason" }, { "text", "said" }, { "ours", "our side" }, { "theirs", "their side" }, { "remedy", "remedy" },
	};

	if (!json_is_object(failure))
		return;
	OUT("\"%s\":   last failure: stage %s, peer %s, %s:%lld", name, json_text(failure, "stage"),
	    json_text(failure, "peer"), json_text(failure, "file"), (long long)json_number(failure, "line"));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *value = json_text(failure, rows[i][0]);

		if (value[0] != '\0')
			OUT("\"%s\":     %s: %s", name, rows[i][1], value);
	}
}

static void print_connection_ids(const char *prefix, const struct options *o, const json_t *conn)
{
	const char *name = json_text(conn, "name");
	const json_t *local = json_object_get(conn, "local"), *remote = json_object_get(conn, "remote");
	const char *id = o->style == STYLE_4 ? "ID_" : "";

	OUT("\"%s\":   our idtype: %s%s; our id=%s; their idtype: %s%s; their id=%s", name, id,
	    json_text(local, "id_type"), json_text(local, "id"), id, json_text(remote, "id_type"),
	    json_text(remote, "id"));
}

static void print_connection_sas(const char *prefix, const json_t *conn)
{
	const char *name = json_text(conn, "name");
	const char *ike = json_text(conn, "ike_algorithms"), *esp = json_text(conn, "esp_algorithms");

	OUT("\"%s\":   newest IKE SA: #%lld; newest IPsec SA: #%lld; conn serial: $%lld;", name,
	    (long long)json_number(conn, "ike_sa"), (long long)json_number(conn, "child_sa"),
	    (long long)json_number(conn, "serial"));
	if (ike[0] != '\0')
		OUT("\"%s\":   IKEv2 algorithm newest: %s", name, ike);
	if (esp[0] != '\0')
		OUT("\"%s\":   ESP algorithm newest: %s; pfsgroup=<Phase1>", name, esp);
}

static void print_connection(const struct options *o, const json_t *conn)
{
	const char *prefix = report_prefix(o), *name = json_text(conn, "name");
	const json_t *aside = json_object_get(conn, "set_aside");

	if (json_is_object(aside)) {
		const char *remedy = json_text(aside, "remedy");

		OUT("\"%s\": set aside: %s:%lld: %s%s%s", name, json_text(aside, "file"),
		    (long long)json_number(aside, "line"), json_text(aside, "what"), remedy[0] ? "; " : "", remedy);
		return;
	}
	print_topology(prefix, o, conn);
	OUT("\"%s\":   host: %s; type: %s; auto: %s; interface: %s;", name,
	    json_flag(conn, "oriented") ? "oriented" : "unoriented", json_text(conn, "type"),
	    json_text(conn, "auto"), json_text(conn, "interface"));
	OUT("\"%s\":   our auth:%s, their auth:%s;", name,
	    json_text(json_object_get(conn, "local"), "auth"), json_text(json_object_get(conn, "remote"), "auth"));
	OUT("\"%s\":   ike_life: %llds; ipsec_life: %llds; replay_window: %lld; rekey_margin: %llds; rekey_fuzz: %lld%%;",
	    name, (long long)json_number(conn, "ike_lifetime_s"), (long long)json_number(conn, "ipsec_lifetime_s"),
	    (long long)json_number(conn, "replay_window"), (long long)json_number(conn, "rekey_margin_s"),
	    (long long)json_number(conn, "rekey_fuzz_percent"));
	OUT("\"%s\":   retransmit-interval: %lldms; retransmit-timeout: %llds;", name,
	    (long long)json_number(conn, "retransmit_interval_ms"), (long long)json_number(conn, "retransmit_timeout_s"));
	OUT("\"%s\":   policy: %s;", name, json_text(conn, "policy"));
	OUT("\"%s\":   sa_prio:%lld; reqid: %lld;", name, (long long)json_number(conn, "priority"),
	    (long long)json_number(conn, "reqid"));
	print_connection_ids(prefix, o, conn);
	OUT("\"%s\":   liveness: %s; dpdaction:%s; dpddelay:%llds; retransmit-timeout:%llds", name,
	    json_number(conn, "dpd_delay_s") > 0 ? "active" : "passive", json_text(conn, "dpd_action"),
	    (long long)json_number(conn, "dpd_delay_s"), (long long)json_number(conn, "retransmit_timeout_s"));
	OUT("\"%s\":   nat-traversal: encapsulation:%s; keepalive:%llds", name, json_text(conn, "encapsulation"),
	    (long long)json_number(conn, "nat_keepalive_s"));
	print_connection_sas(prefix, conn);
	print_failure(prefix, name, json_object_get(conn, "failure"));
}

void print_connections(const struct options *o, const json_t *conns)
{
	const char *prefix = report_prefix(o);
	size_t i, active = 0, routed = 0;
	const json_t *conn;

	OUT("Connection list:");
	SEPARATOR();
	json_array_foreach(conns, i, conn) {
		print_connection(o, conn);
		active += json_number(conn, "child_sa") > 0;
		routed += strncmp(json_text(conn, "state"), "routed", 6) == 0;
	}
	SEPARATOR();
	if (o->style == STYLE_4)
		OUT("Total IPsec connections: loaded %zu, active %zu", json_array_size(conns), active);
	else
		OUT("Total IPsec connections: loaded %zu, routed %zu, active %zu", json_array_size(conns), routed, active);
}

void print_status(const struct options *o, const json_t *status)
{
	const char *prefix = report_prefix(o);

	print_backend(prefix, status);
	SEPARATOR();
	print_interfaces(prefix, o, status);
	SEPARATOR();
	print_setup(prefix, status);
	SEPARATOR();
	print_connections(o, json_object_get(status, "connections"));
	SEPARATOR();
	json_t *counts = select_counts((json_t *)status);
	print_counts(o, counts);
	json_decref(counts);
	SEPARATOR();
	print_states(o, json_object_get(status, "states"));
}

json_t *select_connections(json_t *status)
{
	return json_incref(json_object_get(status, "connections"));
}

json_t *select_failures(json_t *data)
{
	return json_incref(json_object_get(data, "failures"));
}

void print_failures(const struct options *o, const json_t *failures)
{
	size_t i;
	const json_t *failure;

	if (json_array_size(failures) == 0)
		puts("no failures");
	json_array_foreach(failures, i, failure) {
		char when[32] = "";
		time_t t = (time_t)json_number(failure, "time");
		struct tm tm;

		if (localtime_r(&t, &tm) != NULL)
			strftime(when, sizeof(when), "%F %T ", &tm);
		fputs(when, stdout);
		print_failure(report_prefix(o), json_text(failure, "connection"), failure);
	}
}

void print_secrets(const struct options *o, const json_t *data)
{
	const char *prefix = report_prefix(o);

	OUT("List of Pre-shared secrets");
	SEPARATOR();
	for (const char *line = json_text(data, "text"); line[0] != '\0';) {
		size_t len = strcspn(line, "\n");

		OUT("%.*s", (int)len, line);
		line += len + (line[len] == '\n');
	}
}
