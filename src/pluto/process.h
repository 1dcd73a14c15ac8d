/* The process: its place in the background, its pid file, privileges, the service manager. */
#ifndef PLUTO_PROCESS_H
#define PLUTO_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The privileges that the daemon cannot do without are there; else a sentence in `err`. */
bool process_privileged(char *err, size_t len);
/**
 * Give up the privileges that are not needed any more, for all threads that are made later, and
 * the way to get others (no_new_privs, and a filter of system calls). False with errno if that failed.
 */
bool process_harden(void);

/**
 * Continue in a child of its own session; the parent waits for process_ready() or the child's end
 * and exits accordingly. `keep_stderr`: the log goes there. False with errno when there is no child.
 */
bool process_daemonise(bool keep_stderr);
/**
 * Tell the waiting parent (and systemd) that the daemon answers. In the background nothing of the
 * terminal is kept: what libraries and sanitizers print goes to `logfile`, NULL: nowhere.
 */
void process_ready(const char *logfile);
/** The log file was rotated: let stderr follow it, if it goes there. */
void process_log_reopened(const char *logfile);
void process_stopping(void);
/** How often process_alive() has to be called, 0: not at all. */
uint64_t process_watchdog_us(void);
void process_alive(void);

/** Write and lock RUNDIR/pluto.pid; a descriptor, -1 with a sentence in `err`. */
int process_lock(const char *rundir, char *err, size_t len);
void process_unlock(int fd, const char *rundir);

#endif
