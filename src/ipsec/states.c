/* showstates, trafficstatus, briefstatus: the lines that scripts parse. */
#include <stdio.h>
#include <string.h>

#include "ipsec/client.h"
#include "ipsec/command.h"

static bool is_child(const json_t *state)
{
	return strcmp(json_text(state, "kind"), "child") == 0;
}

static bool is_up(const json_t *state)
{
	return strcmp(json_text(state, "state"), "established") == 0;
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

static void print_child_lines(const struct options *o, const json_t *state)
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

static void print_state(const struct options *o, const json_t *state)
{
	bool child = is_child(state), established = is_up(state);
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
	if (json_number(state, "resource") > 0)
		printf(" resource %lld;", (long long)json_number(state, "resource"));
	fputs(" idle;\n", stdout);
	if (child && established)
		print_child_lines(o, state);
}

void print_states(const struct options *o, const json_t *states)
{
	size_t i;
	const json_t *state;

	json_array_foreach(states, i, state)
		print_state(o, state);
}

json_t *select_states(json_t *status)
{
	return json_incref(json_object_get(status, "states"));
}

json_t *select_traffic(json_t *status)
{
	json_t *children = json_array(), *state;
	size_t i;

	json_array_foreach(json_object_get(status, "states"), i, state) {
		if (is_child(state) && is_up(state))
			json_array_append(children, state);
	}
	return children;
}

void print_traffic(const struct options *o, const json_t *children)
{
	size_t i;
	const json_t *state;

	json_array_foreach(children, i, state) {
		printf("%s#%lld: \"%s\", type=ESP, add_time=%lld, inBytes=%lld, outBytes=%lld",
		       o->style == STYLE_4 ? "006 " : "", (long long)json_number(state, "id"),
		       json_text(state, "connection"), (long long)json_number(state, "add_time"),
		       (long long)json_number(state, "in_bytes"), (long long)json_number(state, "out_bytes"));
		if (o->style == STYLE_5)
			fputs(", maxBytes=2^63B", stdout);
		printf(", id='%s'\n", json_text(state, "peer_id"));
	}
}

static json_int_t count(const json_t *status, bool child, bool up)
{
	size_t i;
	json_int_t n = 0;
	const json_t *state;

	json_array_foreach(json_object_get(status, "states"), i, state)
		n += is_child(state) == child && is_up(state) == up;
	return n;
}

json_t *select_counts(json_t *status)
{
	return json_pack("{s:O?,s:b,s:I,s:I,s:I}", "counters", json_object_get(status, "counters"),
			 "cookies_required", json_flag(status, "cookies_required"), "ike_established",
			 count(status, false, true), "ike_half_open", count(status, false, false),
			 "child_established", count(status, true, true));
}

void print_counts(const struct options *o, const json_t *counts)
{
	const char *prefix = report_prefix(o);
	long long ike = json_number(counts, "ike_established"), half = json_number(counts, "ike_half_open");
	long long child = json_number(counts, "child_established");

	printf("%sState Information: DDoS cookies %s, Accepting new IKE connections\n", prefix,
	       json_flag(counts, "cookies_required") ? "required" : "not required");
	printf("%sIKE SAs: total(%lld), half-open(%lld), open(0), authenticated(%lld), anonymous(0)\n", prefix,
	       ike + half, half, ike);
	printf("%sIPsec SAs: total(%lld), authenticated(%lld), anonymous(0)\n", prefix, child, child);
}
