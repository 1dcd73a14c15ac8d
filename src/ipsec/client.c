/* See client.h. */
#include "ipsec/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

const char *client_path(const struct options *o, char *buf, size_t len)
{
	if (o->ctlsocket != NULL)
		snprintf(buf, len, "%s", o->ctlsocket);
	else
		snprintf(buf, len, "%s/pluto.ctl", o->rundir);
	return buf;
}

static int client_connect(const struct options *o, bool quiet, int *rc)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	char path[512];

	*rc = EXIT_NO_DAEMON;
	client_path(o, path, sizeof(path));
	if (strlen(path) >= sizeof(sun.sun_path)) {
		fprintf(stderr, "ipsec: the path of the control socket is too long: %s\n", path);
		return -1;
	}
	memcpy(sun.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	if (quiet)
		;
	else if (errno == ENOENT || errno == ENOTDIR)
		fprintf(stderr, "whack: Pluto is not running (no \"%s\")\n", path);
	else if (errno == EACCES || errno == EPERM)
		fprintf(stderr, "ipsec: no permission to use \"%s\"; run it as root\n", path);
	else
		fprintf(stderr, "whack: is Pluto running?  connect() for \"%s\" failed (%d %s)\n",
			path, errno, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool client_send(int fd, json_t *request)
{
	char *text = json_dumps(request, JSON_COMPACT);

	json_decref(request);
	if (text == NULL)
		return false;
	size_t len = strlen(text), done = 0;
	text[len++] = '\n'; /* in place of the terminator */
	while (done < len) {
		ssize_t n = send(fd, text + done, len - done, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	free(text);
	return done == len;
}

json_t *client_request(const struct options *o, json_t *request, client_line_fn *line, bool quiet,
		       int *rc)
{
	int fd = client_connect(o, quiet, rc);
	json_t *result = NULL;

	if (fd < 0) {
		json_decref(request);
		return NULL;
	}
	FILE *in = client_send(fd, request) ? fdopen(fd, "r") : NULL;
	if (in == NULL) {
		close(fd);
		fputs("ipsec: the daemon closed the connection\n", stderr);
		return NULL;
	}
	char *text = NULL;
	size_t cap = 0;
	while (result == NULL && getline(&text, &cap, in) > 0) {
		json_t *answer = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

		if (answer != NULL && strcmp(json_text(answer, "type"), "result") == 0) {
			result = answer;
			continue;
		}
		if (answer != NULL && line != NULL)
			line(answer, o);
		json_decref(answer);
	}
	free(text);
	fclose(in);
	if (result == NULL && !quiet)
		fputs("ipsec: the daemon ended before it had answered\n", stderr);
	if (result != NULL)
		*rc = (int)json_number(result, "rc");
	return result;
}

json_t *client_command(const char *command, const char *name)
{
	json_t *request = json_pack("{s:s}", "command", command);

	if (request != NULL && name != NULL)
		json_object_set_new(request, "name", json_string(name));
	return request;
}

int client_exit_code(enum style style, int rc)
{
	static const int numbers[][2] = { { 50, 30 }, { 51, 31 }, { 52, 32 }, { 56, 36 } };

	for (size_t i = 0; style == STYLE_4 && i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (numbers[i][0] == rc)
			return numbers[i][1];
	}
	return rc;
}

/* What a 4.x whack put in front of a line; the first that matches its beginning. */
static const struct {
	const char *start;
	const char *code;
} codes[] = {
	{ "initiating IKEv2 connection", "181" },
	{ "sent IKE_SA_INIT request", "181" },
	{ "sent IKE_AUTH request", "182" },
	{ "sent CREATE_CHILD_SA request to rekey IKE SA", "191" },
	{ "sent CREATE_CHILD_SA request", "193" },
	{ "retransmitting", "010" },
	{ "initiator established IKE SA", "003" },
	{ "initiator established Child SA", "004" },
	{ "initiator rekeyed", "004" },
	{ "ESP traffic information", "005" },
};

static const char *line_code(const char *text, const char *level)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (strncmp(text, codes[i].start, strlen(codes[i].start)) == 0)
			return codes[i].code;
	}
	return strcmp(level, "error") == 0 || strcmp(level, "warning") == 0 ? "003" : "002";
}

void client_print_line(const json_t *line, const struct options *o)
{
	const char *text = json_text(line, "text"), *conn = json_text(line, "connection");
	json_int_t sa = json_number(line, "sa");

	if (o->style == STYLE_4)
		printf("%s ", line_code(text, json_text(line, "level")));
	if (conn[0] != '\0' && sa > 0)
		printf("\"%s\" #%lld: ", conn, (long long)sa);
	else if (conn[0] != '\0')
		printf("\"%s\": ", conn);
	puts(text);
	fflush(stdout);
}

json_t *client_report(const struct options *o, const char *command, const char *name, int *rc)
{
	json_t *request = client_command(command, name);

	if (request != NULL && o->show_keys)
		json_object_set_new(request, "show_keys", json_true());
	json_t *result = client_request(o, request, NULL, false, rc);
	json_t *data = json_incref(json_object_get(result, "data"));

	if (result != NULL && data == NULL) {
		fprintf(stderr, "ipsec: %s\n", json_text(result, "text"));
		*rc = client_exit_code(o->style, *rc != 0 ? *rc : EXIT_INTERNAL);
	}
	json_decref(result);
	return data;
}

int client_print_json(const json_t *data)
{
	json_dumpf(data, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	return ferror(stdout) || fflush(stdout) != 0 ? EXIT_PROBLEM : EXIT_OK;
}

const char *json_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "";
}

json_int_t json_number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

bool json_flag(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}
