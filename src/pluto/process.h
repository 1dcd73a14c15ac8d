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
 * the way to get others (no_new_privs). False if that failed.
 */
bool process_harden(void);

/**
 * Continue in a child of its own session; the parent waits for process_ready() or the child's end
 * and exits accordingly. False with errno when there is no child.
 */
bool process_daemonise(void);
/** Tell the waiting parent (and systemd) that the daemon answers. */
void process_ready(void);
void process_stopping(void);
/** How often process_alive() has to be called, 0: not at all. */
uint64_t process_watchdog_us(void);
void process_alive(void);

/** Write and lock RUNDIR/pluto.pid; a descriptor, -1 with a sentence in `err`. */
int process_lock(const char *rundir, char *err, size_t len);
void process_unlock(int fd, const char *rundir);

#endif
