/* The `ipsec` command: global options, the table of subcommands, help. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "build-config.h"
#include "ipsec/client.h"
#include "ipsec/command.h"

/* Rows of the table: asks the daemon and passes its progress on; shows a report; needs no daemon. */
#define ASKS(name, args, help, run, request, in_help) { name, args, help, run, request, in_help, NULL, NULL }
#define SHOWS(request, aliases, args, help, select, print)                                     \
	{ request aliases, args, help, run_report, request, true, select, print }
#define DOES(name, args, help, run, in_help) { name, args, help, run, NULL, in_help, NULL, NULL }

const struct command commands[] = {
	DOES("start", "[CONN]", "start the service, or add CONN and bring it up", run_start, true),
	DOES("stop", "", "stop the service", run_stop, true),
	DOES("restart", "", "stop and start the service", run_restart, true),
	SHOWS("status", "", "[CONN]", "everything about the daemon, connections and SAs", select_all,
	      print_status),
	ASKS("add", "CONN", "load a connection from the configuration", run_connection, "add", true),
	ASKS("replace", "CONN", "load a connection anew", run_connection, "replace", true),
	ASKS("delete", "CONN", "take a connection down and unload it", run_connection, "delete", true),
	ASKS("up initiate", "CONN", "bring a connection up and wait for it", run_connection, "up", true),
	ASKS("down terminate", "CONN", "take a connection down", run_connection, "down", true),
	ASKS("route", "CONN", "bring a connection up when there is traffic for it", run_connection,
	      "route", true),
	ASKS("unroute", "CONN", "undo route", run_connection, "unroute", true),
	ASKS("ondemand", "CONN", "add and route", run_connection, "ondemand", true),
	ASKS("start-connection", "CONN", "add and up", run_connection, "start", false),
	ASKS("rekey-ike", "CONN", "rekey the IKE SA now", run_connection, "rekey-ike", true),
	ASKS("rekey-child rekey-ipsec", "CONN", "rekey the Child SA now", run_connection, "rekey-child", true),
	SHOWS("briefstatus", "", "", "counts of SAs", select_counts, print_counts),
	SHOWS("connectionstatus", "", "[CONN]", "connections", select_connections, print_connections),
	SHOWS("trafficstatus", " traffic", "[CONN]", "traffic of each Child SA", select_traffic,
	      print_traffic),
	SHOWS("showstates", " --statestatus", "[CONN]", "each SA and what it waits for", select_states,
	      print_states),
	SHOWS("sa", "", "[--show-keys]", "SAs and policies as ip-xfrm shows them", select_all, print_sas),
	SHOWS("why", "", "[CONN]", "why connections failed, and what would help", select_failures, print_failures),
	ASKS("rereadsecrets secrets", "", "read ipsec.secrets again", run_daemon_request,
	      "rereadsecrets", true),
	ASKS("listen --ready", "", "look for new addresses", run_daemon_request, "listen", true),
	ASKS("shutdown", "", "end the daemon", run_daemon_request, "shutdown", false),
	SHOWS("listsecrets", "", "", "which identities have a secret", select_all, print_secrets),
	DOES("checkconfig", "[FILE]", "every problem of the configuration", run_checkconfig, true),
	DOES("addconn", "--checkconfig | CONN", "checkconfig or add", run_addconn, true),
	DOES("readwriteconf", "[FILE]", "print the configuration normalised", run_readwriteconf, true),
	DOES("algparse", "ike=PROPOSALS | esp=PROPOSALS ...",
	      "what a proposal string means", run_algparse, true),
	DOES("verify", "", "is this host fit for IPsec?", run_verify, true),
	ASKS("export-keys", "DIR", "write the keys of all SAs for Wireshark", run_export_keys,
	      "export-keys", true),
	DOES("auto", "--add|--up|--down|--delete|--replace|--start|--route|--unroute|--ondemand CONN | --status | --rereadsecrets",
	      "the older spelling of the above", run_auto, true),
	DOES("whack", "--name CONN --initiate|--terminate|... | --status|--trafficstatus|--shutdown|...",
	      "the oldest spelling of the above", run_whack, false),
	DOES("setup", "start|stop|restart|status", "the service", run_setup, false),
	DOES("pluto", "[OPTIONS]", "run the daemon", run_pluto, true),
	DOES("version --version", "", "version of this program", run_version, true),
	ASKS("--versioncode", "", "version number alone", run_version, "code", false),
	ASKS("--directory", "", "where the programs are", run_version, "directory", false),
	DOES("help --help -h", "", "this list", run_help, true),
	{ .name = NULL },
};

bool command_is(const char *names, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = names; len > 0 && (p = strstr(p, name)) != NULL; p++) {
		bool begins = p == names || p[-1] == ' ';

		if (begins && (p[len] == '\0' || p[len] == ' '))
			return true;
	}
	return false;
}

const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name != NULL; c++) {
		if (command_is(c->name, name))
			return c;
	}
	return NULL;
}

int command_usage(const struct command *c)
{
	fprintf(stderr, "usage: ipsec %.*s %s\n", (int)strcspn(c->name, " "), c->name, c->args);
	return EXIT_USAGE;
}

char *version_line(const struct options *o)
{
	struct utsname u;
	char *line = NULL;
	int rc = 0;

	if (uname(&u) != 0)
		return NULL;
	json_t *result = client_request(o, client_command("briefstatus", NULL), NULL, true, &rc);
	const char *stack = json_text(json_object_get(result, "data"), "protostack");
	const char *what = strcmp(stack, "xfrm") == 0 ? "XFRM" : strcmp(stack, "user") == 0 ? "user-space ESP" : "not running";
	if (asprintf(&line, "Linux Sekisho %s (%s) on %s", SEKISHO_VERSION, what, u.release) < 0)
		line = NULL;
	json_decref(result);
	return line;
}

int run_version(const struct options *o, const struct command *c, int argc, char **argv)
{
	(void)argv;
	if (argc != 0)
		return command_usage(c);
	if (c->request != NULL) {
		puts(strcmp(c->request, "directory") == 0 ? o->execdir : SEKISHO_VERSION);
		return EXIT_OK;
	}
	char *line = version_line(o);
	if (line == NULL)
		return EXIT_PROBLEM;
	int rc = EXIT_OK;
	if (o->json) {
		json_t *version = json_pack("{s:s,s:s}", "version", SEKISHO_VERSION, "text", line);

		rc = client_print_json(version);
		json_decref(version);
	} else {
		puts(line);
	}
	free(line);
	return rc;
}

int run_help(const struct options *o, const struct command *c, int argc, char **argv)
{
	(void)o;
	(void)c;
	(void)argc;
	(void)argv;
	puts("Usage: ipsec {command} [argument] ...\nwhere {command} is one of:\n");
	for (const struct command *each = commands; each->name != NULL; each++) {
		if (each->in_help)
			printf("    %-16.*s %s\n", (int)strcspn(each->name, " "), each->name, each->help);
	}
	puts("\nOptions of every command:\n"
	     "    --config FILE, --secretsfile FILE, --rundir DIR, --ctlsocket FILE\n"
	     "    --json           reports as JSON\n"
	     "    --asynchronous   do not wait for the result\n"
	     "    -n, --dry-run    only say what would be run");
	return EXIT_OK;
}

static const char *from_env(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value != NULL && value[0] != '\0' ? value : otherwise;
}

/* An option with a value: `--rundir DIR` or `--rundir=DIR`; *i moves on. */
static bool option_value(const char *name, const char **out, int *i, int argc, char **argv)
{
	size_t len = strlen(name);

	if (strncmp(argv[*i], name, len) != 0)
		return false;
	if (argv[*i][len] == '=') {
		*out = argv[*i] + len + 1;
		return true;
	}
	if (argv[*i][len] != '\0' || *i + 1 >= argc)
		return false;
	*out = argv[++*i];
	return true;
}

/* Take `argv[*i]` if it is an option that every command has. */
static bool take_option(struct options *o, int *i, int argc, char **argv)
{
	struct {
		const char *names;
		bool *flag;
	} flags[] = {
		{ "--json", &o->json },
		{ "--asynchronous --async --bg", &o->async },
		{ "--verbose --utc", &o->verbose },
		{ "-n --dry-run --showonly", &o->dry_run },
		{ "--show-keys", &o->show_keys },
	};

	if (option_value("--config", &o->config, i, argc, argv) ||
	    option_value("--secretsfile", &o->secretsfile, i, argc, argv) ||
	    option_value("--rundir", &o->rundir, i, argc, argv) ||
	    option_value("--ctlsocket", &o->ctlsocket, i, argc, argv))
		return true;
	for (size_t f = 0; f < sizeof(flags) / sizeof(flags[0]); f++) {
		if (command_is(flags[f].names, argv[*i])) {
			*flags[f].flag = true;
			return true;
		}
	}
	return false;
}

static int usage(void)
{
	puts("Usage: ipsec {command} [argument] ...\n"
	     "Use --help for a list of commands, or see the ipsec(8) manual page\n"
	     "Sekisho " SEKISHO_VERSION);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct options o = {
		.program = argc > 0 ? argv[0] : "ipsec",
		.config = from_env("IPSEC_CONF", IPSEC_SYSCONFDIR "/ipsec.conf"),
		.secretsfile = from_env("IPSEC_SECRETS", NULL),
		.rundir = from_env("IPSEC_RUNDIR", "/run/pluto"),
		.execdir = from_env("IPSEC_EXECDIR", IPSEC_EXECDIR),
	};
	const struct command *c = NULL;
	char **rest = calloc((size_t)argc + 1, sizeof(*rest));
	int count = 0, rc = EXIT_OK;

	if (rest == NULL)
		return EXIT_PROBLEM;
	for (int i = 1; i < argc && rc == EXIT_OK; i++) {
		bool daemon_options = c != NULL && c->run == run_pluto;

		if (!daemon_options && take_option(&o, &i, argc, argv))
			continue;
		if (c != NULL) {
			rest[count++] = argv[i];
		} else if ((c = command_find(argv[i])) == NULL) {
			fprintf(stderr, "ipsec: unknown IPsec command \"%s\" (\"ipsec help\" for list)\n", argv[i]);
			rc = EXIT_USAGE;
		}
	}
	if (rc == EXIT_OK && c == NULL)
		rc = usage();
	else if (rc == EXIT_OK && c->run != run_pluto && count > 0 && strcmp(rest[0], "--help") == 0)
		printf("usage: ipsec %.*s %s\n    %s\n", (int)strcspn(c->name, " "), c->name, c->args, c->help);
	else if (rc == EXIT_OK)
		rc = c->run(&o, c, count, rest);
	free(rest);
	return rc;
}
