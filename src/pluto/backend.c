/* Which back end: protostack=, and what to say when there is none. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "esp/esp.h"
#include "kernel/xfrm.h"
#include "pluto/daemon.h"

static bool open_xfrm(struct daemon *d, const char *reason)
{
	static const struct xfrm_options options = { .gather = true };
	struct backend_error err = { "" };

	d->backend = xfrm_backend_new(&d->backend_events, &options, &err);
	if (d->backend == NULL) {
		daemon_fail(d, "cannot use the kernel's IPsec (XFRM): %s", err.text);
		return false;
	}
	snprintf(d->protostack_reason, sizeof(d->protostack_reason), "%s", reason);
	/* rules and device of a predecessor that used the other back end would take our traffic */
	esp_backend_sweep(NULL);
	return true;
}

static bool open_user(struct daemon *d, const char *reason)
{
	struct backend_error err = { "" };

	/* a thousand policies one by one would take the packet filter seconds */
	static const struct esp_options options = { .gather = true };

	d->backend = esp_backend_new(&d->backend_events, &options, &err);
	if (d->backend == NULL) {
		daemon_fail(d, "cannot use user-space ESP: %s", err.text);
		return false;
	}
	d->user_space = true;
	snprintf(d->protostack_reason, sizeof(d->protostack_reason), "%s", reason);
	return true;
}

bool daemon_choose_backend(struct daemon *d)
{
	struct backend_error why = { "" };
	bool ok = false;

	switch (d->setup->protostack) {
	case PROTOSTACK_USER:
		ok = open_user(d, "protostack=user");
		break;
	case PROTOSTACK_XFRM:
		if (xfrm_probe(&why)) {
			ok = open_xfrm(d, "protostack=xfrm");
			break;
		}
		daemon_fail(d, "protostack=xfrm, but %s; protostack=auto or user takes user-space ESP", why.text);
		break;
	case PROTOSTACK_AUTO:
		if (xfrm_probe(&why))
			ok = open_xfrm(d, "the kernel has ESP");
		else
			ok = open_user(d, why.text);
		break;
	}
	if (!ok)
		return false;
	log_info("using %s: %s", d->user_space ? "user-space ESP" : "kernel interface xfrm", d->protostack_reason);
	daemon_watch_backend(d);
	return true;
}

void daemon_settle_backend(struct daemon *d)
{
	if (d->user_space)
		esp_backend_settle(d->backend);
	else
		xfrm_backend_settle(d->backend);
}

void daemon_close_backend(struct daemon *d)
{
	for (size_t i = 0; i < d->backend_fd_count; i++)
		event_free(d->backend_watch[i]);
	d->backend_fd_count = 0;
	if (d->backend != NULL)
		backend_ops(d->backend)->close(d->backend, d->keep_policies);
	d->backend = NULL;
}

static void on_backend(evutil_socket_t fd, short what, void *context)
{
	struct daemon *d = context;

	(void)what;
	backend_ops(d->backend)->process(d->backend, fd);
}

void daemon_watch_backend(struct daemon *d)
{
	int fds[BACKEND_FDS_MAX];
	size_t n = backend_ops(d->backend)->fds(d->backend, fds, BACKEND_FDS_MAX);

	if (n == d->backend_fd_count && memcmp(fds, d->backend_fds, n * sizeof(fds[0])) == 0)
		return;
	for (size_t i = 0; i < d->backend_fd_count; i++)
		event_free(d->backend_watch[i]);
	d->backend_fd_count = 0;
	for (size_t i = 0; i < n; i++) {
		struct event *e = event_new(d->base, fds[i], EV_READ | EV_PERSIST, on_backend, d);

		if (e == NULL || event_add(e, NULL) != 0) {
			if (e != NULL)
				event_free(e);
			continue;
		}
		d->backend_fds[d->backend_fd_count] = fds[i];
		d->backend_watch[d->backend_fd_count++] = e;
	}
}
