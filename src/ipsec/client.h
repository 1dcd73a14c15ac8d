/* The control socket's client: one request, its lines of progress, one result. */
#ifndef IPSEC_CLIENT_H
#define IPSEC_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "ipsec/command.h"

/** The path of the control socket into `buf`. */
const char *client_path(const struct options *o, char *buf, size_t len);

/** Called for each `line` of progress. */
typedef void client_line_fn(const json_t *line, const struct options *o);

/**
 * Send `request` (the reference is taken) and wait for the result, which is returned (caller
 * releases). NULL when the daemon could not be asked: `*rc` then is the exit code, and, unless
 * `quiet`, stderr has the reason. Otherwise `*rc` is the daemon's.
 */
json_t *client_request(const struct options *o, json_t *request, client_line_fn *line, bool quiet,
		       int *rc);

/** request {"command":NAME, "name":CONN}; CONN NULL: without. */
json_t *client_command(const char *command, const char *name);

/** The daemon's exit code in the numbers of `style`. */
int client_exit_code(enum style style, int rc);

/** A line of progress to stdout in the shape of `o->style`. */
void client_print_line(const json_t *line, const struct options *o);

/**
 * Ask for a report: `data` of the result (new reference). NULL after having said why; `*rc` is
 * the exit code.
 */
json_t *client_report(const struct options *o, const char *command, const char *name, int *rc);

/** Print `data` as JSON; EXIT_OK. */
int client_print_json(const json_t *data);

/* Members of an object, with a default when they are absent or of another type. */
const char *json_text(const json_t *o, const char *key);        /* "" */
json_int_t json_number(const json_t *o, const char *key);       /* 0 */
bool json_flag(const json_t *o, const char *key);               /* false */

#endif
