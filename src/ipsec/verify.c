/*
 * `ipsec verify`: Libreswan 4.5's list of checks in its order and with its labels;
 * under each that is not OK stand the reason and the exact remedy.
 */
#include "ipsec/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipsec/client.h"

void check_result_free(struct check_result *r)
{
	text_free(&r->detail);
	text_free(&r->reason);
	text_free(&r->remedy);
}

static void print_indented(const char *lead, const struct text *t)
{
	const char *line = text_str(t);

	while (line[0] != '\0') {
		size_t len = strcspn(line, "\n");

		printf("%s%.*s\n", lead, (int)len, line);
		line += len + (line[len] == '\n');
		lead = "    ";
	}
}

static void print_result(const struct check *c, const struct check_result *r)
{
	static const char *const colours[] = { "\033[92m", "\033[93m", "\033[91m", "" };
	bool colour = isatty(STDOUT_FILENO);

	printf("%-50s\t%s[%s]%s\n", c->label, colour ? colours[r->grade] : "", r->word, colour ? "\033[0m" : "");
	print_indented("", &r->detail);
	print_indented("  reason: ", &r->reason);
	print_indented("  remedy: ", &r->remedy);
}

static json_t *result_json(const struct check *c, const struct check_result *r)
{
	static const char *const grades[] = { "ok", "warning", "failed", "skipped" };

	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "check", c->name, "label", c->label + strspn(c->label, " "),
			 "grade", grades[r->grade], "result", r->word, "detail", text_str(&r->detail),
			 "reason", text_str(&r->reason), "remedy", text_str(&r->remedy));
}

/* Run all; returns the number that failed. `list` collects JSON, NULL: print. */
static int run_checks(const struct host_facts *host, json_t *list)
{
	int failed = 0;

	for (const struct check *c = checks; c->label != NULL; c++) {
		struct check_result r = { .grade = CHECK_OK, .word = "OK" };

		if (c->needs_daemon && !host->running)
			continue;
		if (c->run == NULL) { /* a heading */
			if (list == NULL)
				puts(c->label);
			continue;
		}
		c->run(host, &r);
		failed += r.grade == CHECK_FAIL;
		if (list != NULL)
			json_array_append_new(list, result_json(c, &r));
		else
			print_result(c, &r);
		check_result_free(&r);
	}
	return failed;
}

int run_verify(const struct options *o, const struct command *c, int argc, char **argv)
{
	int rc = 0;

	(void)argv;
	if (argc != 0)
		return command_usage(c);
	json_t *result = client_request(o, client_command("status", NULL), NULL, true, &rc);
	const json_t *status = json_object_get(result, "data");
	struct host_facts host = {
		.options = o,
		.status = status,
		.running = status != NULL,
		.user_space = strcmp(json_text(status, "protostack"), "user") == 0,
	};
	json_t *list = o->json ? json_array() : NULL;

	if (!o->json)
		puts("Verifying installed system and configuration files\n");
	int failed = run_checks(&host, list);
	if (o->json)
		client_print_json(list);
	else
		putchar('\n');
	if (failed > 0 && !o->json) {
		fflush(stdout);
		fprintf(stderr, "ipsec verify: encountered %d error%s - see 'man ipsec_verify' for help\n", failed,
			failed == 1 ? "" : "s");
	}
	json_decref(list);
	json_decref(result);
	return failed;
}
