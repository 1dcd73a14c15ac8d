#include "pluto/options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "build-config.h"

enum { OPT_NOFORK = 256, OPT_STDERRLOG, OPT_LOGFILE, OPT_RUNDIR, OPT_CONFIG, OPT_SECRETSFILE, OPT_LEAK,
       OPT_HELP, OPT_VERSION };

static const struct option table[] = {
	{ "nofork", no_argument, NULL, OPT_NOFORK },
	{ "stderrlog", no_argument, NULL, OPT_STDERRLOG },
	{ "logfile", required_argument, NULL, OPT_LOGFILE },
	{ "rundir", required_argument, NULL, OPT_RUNDIR },
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "secretsfile", required_argument, NULL, OPT_SECRETSFILE },
	{ "leak-detective", no_argument, NULL, OPT_LEAK },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static void usage(FILE *to)
{
	fputs("usage: pluto [--nofork] [--stderrlog] [--logfile FILE] [--rundir DIRECTORY]\n"
	      "             [--config FILE] [--secretsfile FILE] [--leak-detective]\n"
	      "             [--help] [--version]\n"
	      "\n"
	      "  --nofork         stay in the foreground\n"
	      "  --stderrlog      log to standard error\n"
	      "  --logfile        log to FILE (default: logfile= of the configuration, or syslog)\n"
	      "  --rundir         where the control socket and the process id are (default: /run/pluto)\n"
	      "  --config         configuration (default: " IPSEC_SYSCONFDIR "/ipsec.conf)\n"
	      "  --secretsfile    secrets (default: " IPSEC_SYSCONFDIR "/ipsec.secrets)\n"
	      "  --leak-detective free everything at the end and report memory that is left\n",
	      to);
}

enum options_result options_parse(int argc, char **argv, struct options *out)
{
	int c;

	memset(out, 0, sizeof(*out));
	out->config = IPSEC_SYSCONFDIR "/ipsec.conf";
	while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (c) {
		case OPT_NOFORK:
			out->nofork = true;
			break;
		case OPT_STDERRLOG:
			out->stderrlog = true;
			break;
		case OPT_LOGFILE:
			out->logfile = optarg;
			break;
		case OPT_RUNDIR:
			out->rundir = optarg;
			break;
		case OPT_CONFIG:
			out->config = optarg;
			break;
		case OPT_SECRETSFILE:
			out->secretsfile = optarg;
			break;
		case OPT_LEAK:
			out->leak_detective = true;
			break;
		case OPT_HELP:
			usage(stdout);
			return OPTIONS_DONE;
		case OPT_VERSION:
			printf("Sekisho %s\n", SEKISHO_VERSION);
			return OPTIONS_DONE;
		default:
			usage(stderr);
			return OPTIONS_WRONG;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "pluto: superfluous argument: %s\n", argv[optind]);
		usage(stderr);
		return OPTIONS_WRONG;
	}
	return OPTIONS_RUN;
}
