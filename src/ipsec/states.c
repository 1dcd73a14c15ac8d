/* showstates, trafficstatus, briefstatus: the lines that scripts parse. */
#include "ipsec/states.h"

#include <stdio.h>
#include <string.h>

#include "ipsec/client.h"

const char *report_prefix(const struct options *o)
{
	return o->style == STYLE_4 ? "000 " : "";
}

static bool is_child(const json_t *state)
{
	return strcmp(json_text(state, "kind"), "child") == 0;
}

static void print_due(const json_t *state, const char *key, const char *event)
{
	const json_t *due = json_object_get(state, key);

	if (json_is_integer(due))
		printf(" %s in %llds;", event, (long long)json_integer_value(due));
}

/* `esp.a2a94ea2@192.168.20.20`: no 0x and no leading zeros, as scripts know it. */
static void print_spi(const json_t *state, const char *spi_key, const char *address_key)
{
	const char *spi = json_text(state, spi_key);

	spi += strncmp(spi, "0x", 2) == 0 ? 2 : 0;
	while (spi[0] == '0' && spi[1] != '\0')
		spi++;
	printf(" esp.%s@%s", spi, json_text(state, address_key));
}

static void print_traffic(const struct options *o, const json_t *state)
{
	printf("%s#%lld: \"%s\"", report_prefix(o), (long long)json_number(state, "id"),
	       json_text(state, "connection"));
	print_spi(state, "spi_out", "remote");
	print_spi(state, "spi_in", "local");
	if (strcmp(json_text(state, "mode"), "tunnel") == 0)
		printf(" tun.0@%s tun.0@%s", json_text(state, "remote"), json_text(state, "local"));
	printf(" Traffic: ESPin=%lldB ESPout=%lldB ESPmax=2^63B \n",
	       (long long)json_number(state, "in_bytes"), (long long)json_number(state, "out_bytes"));
}

void states_print(const struct options *o, const json_t *state)
{
	bool child = is_child(state), established = strcmp(json_text(state, "state"), "established") == 0;
	const char *story = child ? "established Child SA" : "established IKE SA";

	printf("%s#%lld: \"%s\":%lld ", report_prefix(o), (long long)json_number(state, "id"),
	       json_text(state, "connection"), (long long)json_number(state, "port"));
	if (!established)
		printf("%s;", json_text(state, "state"));
	else if (o->style == STYLE_4)
		printf("STATE_V2_ESTABLISHED_%s_SA (%s);", child ? "CHILD" : "IKE", story);
	else
		printf("%s;", story);
	print_due(state, "liveness_in_s", "LIVENESS");
	print_due(state, "rekey_in_s", "REKEY");
	print_due(state, "replace_in_s", "REPLACE");
	if (json_flag(state, "newest"))
		fputs(" newest;", stdout);
	if (child && json_flag(state, "newest"))
		fputs(" eroute owner;", stdout);
	if (child)
		printf(" IKE SA #%lld;", (long long)json_number(state, "ike_sa"));
	fputs(" idle;\n", stdout);
	if (child && established)
		print_traffic(o, state);
}

static size_t count_states(const json_t *states, bool child, bool established)
{
	size_t i, n = 0;
	const json_t *state;

	json_array_foreach(states, i, state) {
		bool up = strcmp(json_text(state, "state"), "established") == 0;

		n += is_child(state) == child && up == established;
	}
	return n;
}

void states_print_counts(const struct options *o, const json_t *status)
{
	const json_t *states = json_object_get(status, "states");
	const char *prefix = report_prefix(o);
	size_t ike = count_states(states, false, true), half = count_states(states, false, false);
	size_t child = count_states(states, true, true);

	printf("%sState Information: DDoS cookies %s, Accepting new IKE connections\n", prefix,
	       json_flag(status, "cookies_required") ? "required" : "not required");
	printf("%sIKE SAs: total(%zu), half-open(%zu), open(0), authenticated(%zu), anonymous(0)\n", prefix,
	       ike + half, half, ike);
	printf("%sIPsec SAs: total(%zu), authenticated(%zu), anonymous(0)\n", prefix, child, child);
}

int run_showstates(const struct options *o, const struct command *c, int argc, char **argv)
{
	int rc = EXIT_OK;
	size_t i;
	const json_t *state;

	if (argc > 1)
		return command_usage(c);
	json_t *status = client_report(o, c->request, argc == 1 ? argv[0] : NULL, &rc);
	if (status == NULL)
		return rc;
	if (o->json) {
		rc = client_print_json(json_object_get(status, "states"));
	} else {
		json_array_foreach(json_object_get(status, "states"), i, state)
			states_print(o, state);
	}
	json_decref(status);
	return rc;
}

static void print_child_traffic(const struct options *o, const json_t *state)
{
	printf("%s#%lld: \"%s\", type=ESP, add_time=%lld, inBytes=%lld, outBytes=%lld",
	       o->style == STYLE_4 ? "006 " : "", (long long)json_number(state, "id"),
	       json_text(state, "connection"), (long long)json_number(state, "add_time"),
	       (long long)json_number(state, "in_bytes"), (long long)json_number(state, "out_bytes"));
	if (o->style == STYLE_5)
		fputs(", maxBytes=2^63B", stdout);
	printf(", id='%s'\n", json_text(state, "peer_id"));
}

int run_trafficstatus(const struct options *o, const struct command *c, int argc, char **argv)
{
	int rc = EXIT_OK;
	size_t i;
	json_t *state;

	if (argc > 1)
		return command_usage(c);
	json_t *status = client_report(o, c->request, argc == 1 ? argv[0] : NULL, &rc);
	if (status == NULL)
		return rc;
	json_t *children = json_array();
	json_array_foreach(json_object_get(status, "states"), i, state) {
		if (is_child(state) && strcmp(json_text(state, "state"), "established") == 0)
			json_array_append(children, state);
	}
	if (o->json)
		rc = client_print_json(children);
	json_array_foreach(children, i, state) {
		if (!o->json)
			print_child_traffic(o, state);
	}
	json_decref(children);
	json_decref(status);
	return rc;
}

int run_briefstatus(const struct options *o, const struct command *c, int argc, char **argv)
{
	int rc = EXIT_OK;

	(void)argv;
	if (argc != 0)
		return command_usage(c);
	json_t *status = client_report(o, c->request, NULL, &rc);
	if (status == NULL)
		return rc;
	if (!o->json) {
		states_print_counts(o, status);
	} else {
		const json_t *states = json_object_get(status, "states");
		json_t *counts = json_pack("{s:o,s:I,s:I,s:I}", "counters",
					   json_incref(json_object_get(status, "counters")),
					   "ike_established", (json_int_t)count_states(states, false, true),
					   "ike_half_open", (json_int_t)count_states(states, false, false),
					   "child_established", (json_int_t)count_states(states, true, true));

		rc = client_print_json(counts);
		json_decref(counts);
	}
	json_decref(status);
	return rc;
}
