/* The daemon's command line. */
#ifndef PLUTO_OPTIONS_H
#define PLUTO_OPTIONS_H

#include <stdbool.h>

struct options {
	bool nofork;
	bool stderrlog;
	bool leak_detective;
	const char *logfile;     /* NULL: what the configuration says */
	const char *rundir;      /* NULL: what the configuration says, or /run/pluto */
	const char *config;
	const char *secretsfile; /* NULL: what the configuration says */
};

enum options_result { OPTIONS_RUN, OPTIONS_DONE, OPTIONS_WRONG };

/**
 * Parse; --help and --version print and give OPTIONS_DONE, a mistake prints what is wrong and the
 * usage and gives OPTIONS_WRONG. Strings are borrowed from argv.
 */
enum options_result options_parse(int argc, char **argv, struct options *out);

#endif
