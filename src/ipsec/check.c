/* checkconfig, addconn, readwriteconf, algparse: what needs no daemon. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/text.h"
#include "config/config.h"
#include "config/secrets.h"
#include "crypto/proposal.h"
#include "ipsec/client.h"
#include "ipsec/command.h"

static json_t *diag_json(const struct diag *d)
{
	return json_pack("{s:s,s:s?,s:i,s:s?,s:s,s:s?}", "severity",
			 d->severity == DIAG_ERROR ? "error" : "warning", "file", d->file, "line",
			 (int)d->line, "connection", d->conn, "what", d->what, "remedy", d->remedy);
}

static int print_diags(const struct options *o, const struct diag_list *diags)
{
	const struct diag *d;
	json_t *list = json_array();

	STAILQ_FOREACH(d, &diags->head, entry) {
		if (o->json) {
			json_array_append_new(list, diag_json(d));
			continue;
		}
		char *line = diag_format(d);

		puts(line != NULL ? line : d->what);
		free(line);
	}
	if (o->json)
		client_print_json(list);
	json_decref(list);
	return diags->errors > 0 ? EXIT_PROBLEM : EXIT_OK;
}

int run_checkconfig(const struct options *o, const struct command *c, int argc, char **argv)
{
	struct diag_list diags;

	if (argc > 1)
		return command_usage(c);
	diag_list_init(&diags);
	struct config *config = config_load(argc == 1 ? argv[0] : o->config, &diags);
	/* secrets belong to the installed configuration; a file named by hand is checked alone */
	if (config != NULL && argc == 0) {
		const char *file = o->secretsfile != NULL ? o->secretsfile : config->setup.secretsfile;

		secrets_free(secrets_load(file, &diags));
	}
	int rc = config == NULL ? EXIT_PROBLEM : print_diags(o, &diags);
	config_free(config);
	diag_list_free(&diags);
	return rc;
}

int run_addconn(const struct options *o, const struct command *c, int argc, char **argv)
{
	struct options mine = *o;
	bool check = false;
	char *name = NULL;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--checkconfig") == 0)
			check = true;
		else if (argv[i][0] != '-' && name == NULL)
			name = argv[i];
		else
			return command_usage(c);
	}
	if (check)
		return run_checkconfig(&mine, c, 0, NULL);
	if (name == NULL)
		return command_usage(c);
	return run_connection(&mine, command_find("add"), 1, &name);
}

int run_readwriteconf(const struct options *o, const struct command *c, int argc, char **argv)
{
	struct diag_list diags;
	struct text out = { 0 };
	const struct diag *d;

	if (argc > 1)
		return command_usage(c);
	diag_list_init(&diags);
	struct config *config = config_load(argc == 1 ? argv[0] : o->config, &diags);
	STAILQ_FOREACH(d, &diags.head, entry) {
		char *line = diag_format(d);

		fprintf(stderr, "%s\n", line != NULL ? line : d->what);
		free(line);
	}
	if (config != NULL)
		config_write(config, &out);
	fputs(text_str(&out), stdout);
	int rc = config == NULL || diags.errors > 0 ? EXIT_PROBLEM : EXIT_OK;
	text_free(&out);
	config_free(config);
	diag_list_free(&diags);
	return rc;
}

static int print_proposals(const struct options *o, const char *arg, const struct proposal_list *list)
{
	char line[PROPOSAL_TEXT];
	json_t *all = json_array();

	if (!o->json)
		printf("algparse -v2 '%s'\n", arg);
	for (size_t i = 0; i < list->count; i++) {
		proposal_format(&list->p[i], line, sizeof(line));
		json_array_append_new(all, json_string(line));
		if (!o->json)
			printf("  %s\n", line);
	}
	int rc = o->json ? client_print_json(all) : EXIT_OK;
	json_decref(all);
	return rc;
}

int run_algparse(const struct options *o, const struct command *c, int argc, char **argv)
{
	struct proposal_list list;
	char err[256];
	int rc = EXIT_OK, given = 0;

	for (int i = 0; i < argc; i++) {
		enum ike_protocol protocol;
		const char *value = strchr(argv[i], '=');

		if (strcmp(argv[i], "--ikev2") == 0 || strcmp(argv[i], "-v2") == 0)
			continue;
		if (strncmp(argv[i], "ike", 3) == 0 && (argv[i][3] == '=' || argv[i][3] == '\0'))
			protocol = PROTOCOL_IKE;
		else if (strncmp(argv[i], "esp", 3) == 0 && (argv[i][3] == '=' || argv[i][3] == '\0'))
			protocol = PROTOCOL_ESP;
		else
			return command_usage(c);
		given++;
		if (value == NULL || value[1] == '\0') {
			proposal_default(protocol, &list);
		} else if (!proposal_parse(protocol, value + 1, &list, err, sizeof(err))) {
			fprintf(o->json ? stderr : stdout, "algparse -v2 '%s'\n  ERROR: %s\n", argv[i], err);
			rc = EXIT_PROBLEM;
			continue;
		}
		if (print_proposals(o, argv[i], &list) != EXIT_OK)
			rc = EXIT_PROBLEM;
	}
	return given > 0 ? rc : command_usage(c);
}
