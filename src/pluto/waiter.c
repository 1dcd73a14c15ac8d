#include "pluto/waiter.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "pluto/daemon.h"

bool waiter_names(const struct request *r, const struct conn *c)
{
	return r->name != NULL && conn_named(c, r->name);
}

void waiter_add(struct request *r, const struct conn *c)
{
	uint32_t *more = realloc(r->pending, (r->pending_count + 1) * sizeof(*more));

	if (more == NULL)
		return;
	r->pending = more;
	r->pending[r->pending_count++] = c->serial;
}

static void waiter_end(struct request *r)
{
	request_finish(r, r->outcome.rc, r->outcome.reason, r->outcome.text, NULL);
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
	struct request *r = context;

	(void)fd;
	(void)what;
	if (r->outcome.rc == CONN_RC_OK) {
		r->outcome.rc = CONN_RC_NO_ANSWER;
		r->outcome.reason = REASON_TIMEOUT;
		snprintf(r->outcome.text, sizeof(r->outcome.text), "\"%s\": no answer within the retransmission timeout",
			 r->name);
	}
	waiter_end(r);
}

void waiter_begin(struct request *r, enum await what, uint64_t limit_us)
{
	struct timeval tv = { .tv_sec = (time_t)(limit_us / US_PER_S), .tv_usec = (suseconds_t)(limit_us % US_PER_S) };

	r->awaits = what;
	if (r->pending_count == 0) {
		waiter_end(r);
		return;
	}
	r->deadline = evtimer_new(r->daemon->base, on_deadline, r);
	if (r->deadline != NULL)
		evtimer_add(r->deadline, &tv);
}

/* The serial number is no longer waited for; false when it was not. */
static bool waiter_strike(struct request *r, uint32_t serial)
{
	for (size_t i = 0; i < r->pending_count; i++) {
		if (r->pending[i] != serial)
			continue;
		r->pending[i] = r->pending[--r->pending_count];
		return true;
	}
	return false;
}

void waiter_tell(struct daemon *d, const struct conn *c, enum await what, enum conn_rc rc,
		 enum ike_reason reason, const char *text)
{
	struct request *r, *next;

	for (r = control_first(d->control); r != NULL; r = next) {
		next = control_next(r);
		/* a failure ends whatever waits; a success only what was asked for */
		if (r->awaits == AWAIT_NOTHING || (rc == CONN_RC_OK && r->awaits != (int)what) ||
		    !waiter_strike(r, c->serial))
			continue;
		if (rc != CONN_RC_OK && r->outcome.rc == CONN_RC_OK) {
			r->outcome.rc = rc;
			r->outcome.reason = reason;
			snprintf(r->outcome.text, sizeof(r->outcome.text), "\"%s\": %s", c->name, text);
		}
		if (r->pending_count == 0)
			waiter_end(r);
	}
}

void waiter_line(struct daemon *d, const struct conn *c, uint32_t sa, enum log_level level,
		 const char *text)
{
	struct request *r;

	for (r = control_first(d->control); r != NULL; r = control_next(r)) {
		if (waiter_names(r, c))
			request_line(r, level, c->name, sa, text);
	}
}
