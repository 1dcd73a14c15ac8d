/*
 * pluto: the daemon that keeps the tunnels.
 */
#include <errno.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/secret.h"
#include "pluto/daemon.h"
#include "pluto/options.h"
#include "pluto/process.h"

/* AddressSanitizer's; there only in a build with it. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

/*
 * Everything has been freed. LeakSanitizer knows what was not. Without it there is only the
 * allocator's count, which says something when it has grown by more than libraries keep.
 */
static int detect_leaks(size_t before)
{
	enum { LIBRARIES_KEEP = 1024 * 1024 };
	OPENSSL_cleanup();
	size_t after = mallinfo2().uordblks;

	if (__lsan_do_recoverable_leak_check != NULL)
		return __lsan_do_recoverable_leak_check();
	if (after <= before + LIBRARIES_KEEP)
		return 0;
	fprintf(stderr, "leak detective: %zu bytes more are in use than at the start\n", after - before);
	return 0;
}

int main(int argc, char **argv)
{
	struct options options;
	struct daemon *d;
	size_t before = mallinfo2().uordblks;

	switch (options_parse(argc, argv, &options)) {
	case OPTIONS_DONE:
		return 0;
	case OPTIONS_WRONG:
		return 1;
	case OPTIONS_RUN:
		break;
	}
	if (!options.nofork && !process_daemonise(options.stderrlog)) {
		fprintf(stderr, "pluto: cannot go to the background: %s\n", strerror(errno));
		return 1;
	}
	secret_init();
	d = calloc(1, sizeof(*d));
	if (d == NULL)
		return 1;
	bool ok = daemon_start(d, &options);
	if (ok)
		daemon_run(d);
	daemon_stop(d);
	free(d);
	int leaks = options.leak_detective ? detect_leaks(before) : 0;
	return ok ? leaks : 1;
}
