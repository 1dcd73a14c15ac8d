/*
 * The `ipsec` command: one table of subcommands, one file for each family.
 *
 * A subcommand gets the options that every one has, already parsed, and its own
 * arguments. Reports are JSON from the daemon (docs/internals.md); text is
 * rendered from it. `ipsec auto ...` and `ipsec whack ...` print as Libreswan
 * 4.x did (three-digit codes), everything else as 5.x does.
 */
#ifndef IPSEC_COMMAND_H
#define IPSEC_COMMAND_H

#include <jansson.h>
#include <stdbool.h>

/** Exit codes of the daemon's answers (Libreswan 5.x numbers) and of our own. */
enum exit_code {
	EXIT_OK = 0,
	EXIT_PROBLEM = 1,
	EXIT_USAGE = 2,
	EXIT_UNKNOWN_NAME = 21,
	EXIT_NO_DAEMON = 33,
	EXIT_BAD_REQUEST = 50,
	EXIT_NO_ANSWER = 51,
	EXIT_INTERNAL = 52,
	EXIT_FATAL = 56,
};

enum style { STYLE_5, STYLE_4 };

/** Options that every subcommand takes, before or after its name. */
struct options {
	const char *program;      /* argv[0] */
	const char *config;       /* --config, IPSEC_CONF */
	const char *secretsfile;  /* --secretsfile, IPSEC_SECRETS; NULL: what the configuration says */
	const char *rundir;       /* --rundir, IPSEC_RUNDIR */
	const char *ctlsocket;    /* --ctlsocket; NULL: RUNDIR/pluto.ctl */
	const char *execdir;      /* IPSEC_EXECDIR: where pluto is */
	bool json;                /* --json */
	bool async;               /* --asynchronous */
	bool verbose;
	bool dry_run;             /* -n: say what would be run */
	bool show_keys;           /* --show-keys, of `sa` */
	enum style style;
};

struct command {
	const char *name;    /* with the other names it goes by, space separated */
	const char *args;    /* for usage */
	const char *help;    /* one line */
	int (*run)(const struct options *o, const struct command *c, int argc, char **argv);
	const char *request; /* command of the control socket, for those that ask the daemon */
	bool in_help;
	/* of a report (run_report): the part of the daemon's answer that is shown, a new reference,
	 * and how it looks as text */
	json_t *(*select)(json_t *data);
	void (*print)(const struct options *o, const json_t *selected);
};

/** The whole table; ends with a NULL name. */
extern const struct command commands[];
const struct command *command_find(const char *name);
/** One of several space separated `names` is `name`. */
bool command_is(const char *names, const char *name);
/** "usage: ipsec NAME ARGS" to stderr; returns EXIT_USAGE. */
int command_usage(const struct command *c);

/* connection.c: up, down, add, ...: pass a request on and show its progress */
int run_connection(const struct options *, const struct command *, int, char **);
int run_daemon_request(const struct options *, const struct command *, int, char **);
int run_auto(const struct options *, const struct command *, int, char **);
int run_whack(const struct options *, const struct command *, int, char **);
/* report.c: ask the daemon, show the answer as text or JSON */
int run_report(const struct options *, const struct command *, int, char **);
json_t *select_all(json_t *data);
/* status.c, states.c, sa.c: what reports show */
json_t *select_connections(json_t *status);
json_t *select_states(json_t *status);
json_t *select_traffic(json_t *status);
json_t *select_counts(json_t *status);
json_t *select_failures(json_t *data);
void print_status(const struct options *, const json_t *status);
void print_connections(const struct options *, const json_t *connections);
void print_states(const struct options *, const json_t *states);
void print_traffic(const struct options *, const json_t *children);
void print_counts(const struct options *, const json_t *counts);
void print_sas(const struct options *, const json_t *data);
void print_failures(const struct options *, const json_t *failures);
void print_secrets(const struct options *, const json_t *data);
/** `000 ` in 4.x style, else nothing: what stands before a line of a report. */
const char *report_prefix(const struct options *o);
/* service.c: the daemon as a service */
int run_start(const struct options *, const struct command *, int, char **);
int run_stop(const struct options *, const struct command *, int, char **);
int run_restart(const struct options *, const struct command *, int, char **);
int run_setup(const struct options *, const struct command *, int, char **);
int run_pluto(const struct options *, const struct command *, int, char **);
/* check.c: what needs no daemon */
int run_checkconfig(const struct options *, const struct command *, int, char **);
int run_addconn(const struct options *, const struct command *, int, char **);
int run_readwriteconf(const struct options *, const struct command *, int, char **);
int run_algparse(const struct options *, const struct command *, int, char **);
/* verify.c */
int run_verify(const struct options *, const struct command *, int, char **);
/* export.c */
int run_export_keys(const struct options *, const struct command *, int, char **);
/* main.c */
int run_version(const struct options *, const struct command *, int, char **);
int run_help(const struct options *, const struct command *, int, char **);

/** `Linux Sekisho 0.1.0 (user-space ESP) on 6.18.44`; caller frees. */
char *version_line(const struct options *o);

#endif
