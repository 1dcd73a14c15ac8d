#include "pluto/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "build-config.h"
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

static bool stderr_kept;
static bool detached; /* stderr is not the caller's any more */
static int ready_fd = -1; /* to the parent that waits; closed once told */

/* The parent: the child says that it is ready, or ends. */
static void __attribute__((noreturn)) wait_for_child(int fd, pid_t child)
{
	char byte;
	int status = 0;
	ssize_t n;

	do {
		n = read(fd, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(0);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	_exit(WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 1);
}

bool process_daemonise(bool keep_stderr)
{
	int fds[2];

	fflush(NULL);
	if (pipe2(fds, O_CLOEXEC) != 0)
		return false;
	pid_t child = fork();
	if (child < 0) {
		close(fds[0]);
		close(fds[1]);
		return false;
	}
	if (child > 0) {
		close(fds[1]);
		wait_for_child(fds[0], child);
	}
	close(fds[0]);
	ready_fd = fds[1];
	setsid();
	stderr_kept = keep_stderr;
	return true;
}

static void redirect(const char *path, int flags, int to)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0 || fd == to)
		return;
	dup2(fd, to);
	close(fd);
}

static void detach(const char *logfile)
{
	redirect("/dev/null", O_RDONLY, STDIN_FILENO);
	redirect("/dev/null", O_WRONLY, STDOUT_FILENO);
	if (stderr_kept)
		return;
	redirect("/dev/null", O_WRONLY, STDERR_FILENO);
	if (logfile != NULL)
		redirect(logfile, O_WRONLY | O_APPEND, STDERR_FILENO);
	detached = true;
}

void process_log_reopened(const char *logfile)
{
	if (detached && logfile != NULL)
		redirect(logfile, O_WRONLY | O_APPEND, STDERR_FILENO);
}

void process_ready(const char *logfile)
{
	if (ready_fd >= 0) {
		detach(logfile);
		if (write(ready_fd, "", 1) != 1) {
			/* the parent was killed; the daemon is up all the same */
		}
		close(ready_fd);
		ready_fd = -1;
	}
#ifdef HAVE_SYSTEMD
	sd_notify(0, "READY=1\nSTATUS=listening for IKE messages");
#endif
}

void process_stopping(void)
{
#ifdef HAVE_SYSTEMD
	sd_notify(0, "STOPPING=1");
#endif
}

uint64_t process_watchdog_us(void)
{
	uint64_t usec = 0;

#ifdef HAVE_SYSTEMD
	if (sd_watchdog_enabled(0, &usec) <= 0)
		usec = 0;
#endif
	return usec / 2;
}

void process_alive(void)
{
#ifdef HAVE_SYSTEMD
	sd_notify(0, "WATCHDOG=1");
#endif
}

/* The lock counts while the file has its name: a daemon that ends takes that away first. */
static bool same_file(int fd, const char *path)
{
	struct stat held, named;

	return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_dev == named.st_dev &&
	       held.st_ino == named.st_ino;
}

int process_lock(const char *rundir, char *err, size_t len)
{
	char path[512], text[32];

	if (mkdir(rundir, 0755) != 0 && errno != EEXIST) {
		snprintf(err, len, "cannot make the run directory %s: %s", rundir, strerror(errno));
		return -1;
	}
	snprintf(path, sizeof(path), "%s/pluto.pid", rundir);
	int fd = -1;
	do {
		if (fd >= 0)
			close(fd);
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (fd < 0) {
			snprintf(err, len, "cannot write %s: %s", path, strerror(errno));
			return -1;
		}
		if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
			ssize_t n = read(fd, text, sizeof(text) - 1);

			text[n > 0 ? n : 0] = '\0';
			text[strcspn(text, "\n")] = '\0';
			snprintf(err, len, "pluto is already running (process %s holds %s)", text, path);
			close(fd);
			return -1;
		}
	} while (!same_file(fd, path));
	int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) != 0 || write(fd, text, (size_t)n) != n) {
		snprintf(err, len, "cannot write %s: %s", path, strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

void process_unlock(int fd, const char *rundir)
{
	char path[512];

	if (fd < 0)
		return;
	snprintf(path, sizeof(path), "%s/pluto.pid", rundir);
	unlink(path);
	close(fd);
}
