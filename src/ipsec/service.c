/*
 * The daemon as a service: through systemd where it runs the host, directly
 * otherwise (containers, network namespaces).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipsec/client.h"
#include "ipsec/command.h"

enum { STOP_TIMEOUT_MS = 10000, POLL_MS = 20 };

/*
 * systemd is asked only for the daemon it would run: with another run directory, or in a
 * network namespace of its own, the daemon is ours to start.
 */
static bool service_by_systemd(const struct options *o)
{
	struct stat st, ours, init;

	if (lstat("/run/systemd/system", &st) != 0 || !S_ISDIR(st.st_mode))
		return false;
	if (strcmp(o->rundir, "/run/pluto") != 0)
		return false;
	return stat("/proc/self/ns/net", &ours) == 0 && stat("/proc/1/ns/net", &init) == 0 &&
	       ours.st_ino == init.st_ino;
}

static int run_program(const struct options *o, char *const argv[])
{
	if (o->dry_run) {
		for (int i = 0; argv[i] != NULL; i++)
			printf("%s%s", i > 0 ? " " : "", argv[i]);
		putchar('\n');
		return EXIT_OK;
	}
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		execvp(argv[0], argv);
		fprintf(stderr, "ipsec: cannot run %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	int status = 0;
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid < 0 || !WIFEXITED(status))
		return EXIT_PROBLEM;
	return WEXITSTATUS(status);
}

static int systemctl(const struct options *o, const char *verb)
{
	char *argv[] = { (char *)"systemctl", (char *)verb, (char *)"ipsec.service", NULL };

	printf("Redirecting to: systemctl %s ipsec.service\n", verb);
	return run_program(o, argv);
}

/* argv of the daemon with the options of this command; `extra` are the caller's. */
static char **pluto_argv(const struct options *o, char *path, int argc, char **extra)
{
	char **argv = calloc((size_t)argc + 8, sizeof(*argv));
	int n = 0;

	if (argv == NULL)
		return NULL;
	argv[n++] = path;
	argv[n++] = (char *)"--config";
	argv[n++] = (char *)o->config;
	argv[n++] = (char *)"--rundir";
	argv[n++] = (char *)o->rundir;
	if (o->secretsfile != NULL) {
		argv[n++] = (char *)"--secretsfile";
		argv[n++] = (char *)o->secretsfile;
	}
	for (int i = 0; i < argc; i++)
		argv[n++] = extra[i];
	return argv;
}

int run_pluto(const struct options *o, const struct command *c, int argc, char **argv)
{
	char path[PATH_MAX];

	(void)c;
	snprintf(path, sizeof(path), "%s/pluto", o->execdir);
	char **args = pluto_argv(o, path, argc, argv);
	if (args == NULL)
		return EXIT_PROBLEM;
	if (!o->dry_run)
		execv(path, args);
	int rc = run_program(o, args);
	free(args);
	return rc;
}

int run_start(const struct options *o, const struct command *c, int argc, char **argv)
{
	char path[PATH_MAX];
	int rc = 0;

	if (argc == 1) {
		const struct command *start = command_find("start-connection");

		return start->run(o, start, argc, argv);
	}
	if (argc != 0)
		return command_usage(c);
	if (service_by_systemd(o))
		return systemctl(o, "start");
	json_t *running = client_request(o, client_command("briefstatus", NULL), NULL, true, &rc);
	if (running != NULL) {
		json_decref(running);
		puts("Pluto is already running");
		return EXIT_OK;
	}
	snprintf(path, sizeof(path), "%s/pluto", o->execdir);
	char **args = pluto_argv(o, path, 0, NULL);
	if (args == NULL)
		return EXIT_PROBLEM;
	rc = run_program(o, args);
	free(args);
	return rc;
}

/* The process in RUNDIR/pluto.pid, 0 when there is none. */
static pid_t pluto_pid(const struct options *o)
{
	char path[PATH_MAX];
	long pid = 0;

	snprintf(path, sizeof(path), "%s/pluto.pid", o->rundir);
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return 0;
	if (fscanf(f, "%ld", &pid) != 1 || pid <= 1 || kill((pid_t)pid, 0) != 0)
		pid = 0;
	fclose(f);
	return (pid_t)pid;
}

/* `keep`: policies stay in force, so that nothing leaves in clear until the next start. */
static int stop_daemon(const struct options *o, bool quiet, bool keep)
{
	int rc = 0;
	pid_t pid = pluto_pid(o);
	json_t *request = client_command("shutdown", NULL);

	if (request != NULL && keep)
		json_object_set_new(request, "keep", json_true());
	json_t *result = client_request(o, request, NULL, quiet, &rc);

	if (result == NULL)
		return rc;
	json_decref(result);
	/* the file goes last; the process may stay, as a zombie of a process 1 that reaps none */
	for (int waited = 0; pid > 0 && pluto_pid(o) == pid; waited += POLL_MS) {
		if (waited >= STOP_TIMEOUT_MS) {
			fprintf(stderr, "ipsec: pluto (process %ld) does not end\n", (long)pid);
			return EXIT_PROBLEM;
		}
		usleep(POLL_MS * 1000);
	}
	return rc;
}

int run_stop(const struct options *o, const struct command *c, int argc, char **argv)
{
	char path[PATH_MAX];

	(void)argv;
	if (argc != 0)
		return command_usage(c);
	if (service_by_systemd(o))
		return systemctl(o, "stop");
	/* what systemctl says to the same */
	if (access(client_path(o, path, sizeof(path)), F_OK) != 0 && errno == ENOENT) {
		puts("Pluto is not running");
		return EXIT_OK;
	}
	int rc = stop_daemon(o, false, false);
	if (rc == EXIT_OK)
		puts("Pluto is shutting down");
	return rc;
}

int run_restart(const struct options *o, const struct command *c, int argc, char **argv)
{
	if (argc != 0)
		return command_usage(c);
	if (service_by_systemd(o))
		return systemctl(o, "restart");
	int rc = stop_daemon(o, true, true);
	if (rc != EXIT_OK && rc != EXIT_NO_DAEMON)
		return rc;
	return run_start(o, command_find("start"), argc, argv);
}

int run_setup(const struct options *o, const struct command *c, int argc, char **argv)
{
	if (argc != 1)
		return command_usage(c);
	const char *verb = argv[0][0] == '-' ? argv[0] + 2 : argv[0];

	if (strcmp(verb, "start") == 0)
		return run_start(o, command_find("start"), 0, NULL);
	if (strcmp(verb, "stop") == 0)
		return run_stop(o, command_find("stop"), 0, NULL);
	if (strcmp(verb, "restart") == 0)
		return run_restart(o, command_find("restart"), 0, NULL);
	if (strcmp(verb, "status") == 0)
		return run_report(o, command_find("status"), 0, NULL);
	return command_usage(c);
}
