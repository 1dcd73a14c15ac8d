/*
 * up, down, add, ...: a request to the daemon about a connection, whose
 * progress is shown while it comes. Also the older spellings of the same:
 * `ipsec auto --up NAME` and `ipsec whack --name NAME --initiate`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipsec/client.h"
#include "ipsec/command.h"

/* The result's sentence, for people or, with --json, the whole of it. */
static int finish(const struct options *o, json_t *result, int rc)
{
	if (result == NULL)
		return rc;
	const char *text = json_text(result, "text");

	rc = client_exit_code(o->style, rc);
	if (o->json) {
		client_print_json(result);
	} else if (text[0] != '\0') {
		FILE *to = rc == 0 ? stdout : stderr;

		if (o->style == STYLE_4)
			fprintf(to, "%03d ", rc == 0 ? 2 : rc);
		fprintf(to, "%s\n", text);
	}
	json_decref(result);
	return rc;
}

static int request(const struct options *o, const char *command, const char *name)
{
	json_t *req = client_command(command, name);
	int rc = 0;

	if (req != NULL && o->async)
		json_object_set_new(req, "async", json_true());
	json_t *result = client_request(o, req, o->json ? NULL : client_print_line, false, &rc);
	return finish(o, result, rc);
}

int run_connection(const struct options *o, const struct command *c, int argc, char **argv)
{
	if (argc != 1)
		return command_usage(c);
	return request(o, c->request, argv[0]);
}

int run_daemon_request(const struct options *o, const struct command *c, int argc, char **argv)
{
	(void)argv;
	if (argc != 0)
		return command_usage(c);
	return request(o, c->request, NULL);
}

/* An option of `ipsec auto` or `ipsec whack` and the subcommand it stands for. */
struct old_option {
	const char *option;
	const char *command;
};

static const struct old_option auto_options[] = {
	{ "--add", "add" }, { "--replace", "replace" }, { "--delete", "delete" }, { "--up", "up" },
	{ "--down", "down" }, { "--start", "start-connection" }, { "--route", "route" },
	{ "--unroute", "unroute" }, { "--ondemand", "ondemand" }, { "--status", "status" },
	{ "--ready", "listen" }, { "--rereadsecrets", "rereadsecrets" }, { "--rereadall", "rereadsecrets" },
	{ NULL, NULL },
};

static const struct old_option whack_options[] = {
	{ "--initiate", "up" }, { "--terminate", "down" }, { "--delete", "delete" },
	{ "--route", "route" }, { "--unroute", "unroute" }, { "--rekey-ike", "rekey-ike" },
	{ "--rekey-ipsec", "rekey-child" }, { "--rekey-child", "rekey-child" }, { "--listen", "listen" },
	{ "--status", "status" }, { "--trafficstatus", "trafficstatus" }, { "--showstates", "showstates" },
	{ "--briefstatus", "briefstatus" }, { "--rereadsecrets", "rereadsecrets" },
	{ "--listpsks", "listsecrets" }, { "--shutdown", "shutdown" }, { "--version", "version" },
	{ NULL, NULL },
};

static const char *old_command(const struct old_option *table, const char *option)
{
	for (; table->option != NULL; table++) {
		if (strcmp(table->option, option) == 0)
			return table->command;
	}
	return NULL;
}

/* Translate `--up net1` or `--name net1 --initiate` and run the subcommand in 4.x style. */
static int run_old(const struct options *o, const struct command *c,
		   const struct old_option *table, int argc, char **argv)
{
	struct options old = *o;
	const char *action = NULL;
	char *name = NULL;

	old.style = STYLE_4;
	for (int i = 0; i < argc; i++) {
		const char *command = old_command(table, argv[i]);

		if (strcmp(argv[i], "--name") == 0 && i + 1 < argc) {
			name = argv[++i];
		} else if (command != NULL && action == NULL) {
			action = command;
		} else if (argv[i][0] != '-' && name == NULL) {
			name = argv[i];
		} else {
			fprintf(stderr, "ipsec %s: unknown or superfluous argument \"%s\"\n", c->name, argv[i]);
			return command_usage(c);
		}
	}
	const struct command *to = action != NULL ? command_find(action) : NULL;
	if (to == NULL)
		return command_usage(c);
	return to->run(&old, to, name != NULL ? 1 : 0, &name);
}

int run_auto(const struct options *o, const struct command *c, int argc, char **argv)
{
	return run_old(o, c, auto_options, argc, argv);
}

int run_whack(const struct options *o, const struct command *c, int argc, char **argv)
{
	return run_old(o, c, whack_options, argc, argv);
}
