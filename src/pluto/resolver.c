#include "pluto/resolver.h"

#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum { THREADS_MAX = 8, RETRY_S = 10, AGAIN_S = 300, SWEEP_S = 5 };

struct name {
	SLIST_ENTRY(name) entry;
	char *text;
	uint8_t family;
	enum lookup_result result;
	struct ip_address address;
	bool running; /* a thread looks it up */
	uint64_t asked_us;
};

/* What a thread has: nothing of the resolver's, which may be gone before it is done. */
struct job {
	int fd; /* its own copy of the pipe */
	char *text;
	uint8_t family;
	enum lookup_result result;
	struct ip_address address;
};

struct resolver {
	SLIST_HEAD(, name) names;
	int pipe[2];
	struct event *answers, *sweep;
	unsigned threads;
	void (*changed)(void *);
	void *context;
};

static void job_free(struct job *job)
{
	close(job->fd);
	free(job->text);
	free(job);
}

static void *job_run(void *p)
{
	struct job *job = p;
	struct addrinfo hints = { .ai_family = job->family, .ai_socktype = SOCK_DGRAM }, *found = NULL;
	struct ip_endpoint e;

	job->result = LOOKUP_FAILED;
	if (getaddrinfo(job->text, NULL, &hints, &found) == 0 && found != NULL &&
	    ip_endpoint_from_sockaddr(found->ai_addr, &e)) {
		job->result = LOOKUP_OK;
		job->address = e.address;
	}
	if (found != NULL)
		freeaddrinfo(found);
	if (write(job->fd, &job, sizeof(job)) != (ssize_t)sizeof(job))
		job_free(job); /* nobody is there any more */
	return NULL;
}

static void name_start(struct resolver *r, struct name *n)
{
	struct job *job;
	pthread_attr_t attr;
	pthread_t thread;

	if (n->running || r->threads >= THREADS_MAX || (job = calloc(1, sizeof(*job))) == NULL)
		return;
	job->fd = dup(r->pipe[1]);
	job->text = strdup(n->text);
	job->family = n->family;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	/* signals are the loop's */
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int rc = job->fd < 0 || job->text == NULL ? -1 : pthread_create(&thread, &attr, job_run, job);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	n->asked_us = clock_now_us();
	if (rc != 0) {
		job_free(job);
		return;
	}
	n->running = true;
	r->threads++;
}

static bool name_answered(struct resolver *r, const struct job *job)
{
	struct name *n;

	SLIST_FOREACH(n, &r->names, entry) {
		if (!n->running || n->family != job->family || strcmp(n->text, job->text) != 0)
			continue;
		n->running = false;
		/* a name that cannot be looked up any more keeps the address it had */
		if (job->result != LOOKUP_OK && n->result == LOOKUP_OK)
			return false;
		bool news = n->result != job->result || !ip_address_equal(&n->address, &job->address);
		n->result = job->result;
		n->address = job->address;
		if (news && n->result != LOOKUP_OK)
			log_warning("cannot resolve \"%s\"; trying again", n->text);
		return news;
	}
	return false;
}

static void on_answer(evutil_socket_t fd, short what, void *context)
{
	struct resolver *r = context;
	struct job *job;
	bool news = false;

	(void)what;
	while (read(fd, &job, sizeof(job)) == (ssize_t)sizeof(job)) {
		r->threads--;
		news |= name_answered(r, job);
		job_free(job);
	}
	if (news)
		r->changed(r->context);
}

static void on_sweep(evutil_socket_t fd, short what, void *context)
{
	struct resolver *r = context;
	struct name *n;
	uint64_t now = clock_now_us();

	(void)fd;
	(void)what;
	SLIST_FOREACH(n, &r->names, entry) {
		uint64_t wait_s = n->result == LOOKUP_OK ? AGAIN_S : RETRY_S;

		if (!n->running && (n->result == LOOKUP_PENDING || now - n->asked_us >= wait_s * US_PER_S))
			name_start(r, n);
	}
}

struct resolver *resolver_new(struct event_base *base, void (*changed)(void *), void *context)
{
	struct resolver *r = calloc(1, sizeof(*r));
	struct timeval period = { .tv_sec = SWEEP_S };

	if (r == NULL)
		return NULL;
	r->changed = changed;
	r->context = context;
	if (pipe2(r->pipe, O_CLOEXEC | O_NONBLOCK) != 0) {
		free(r);
		return NULL;
	}
	r->answers = event_new(base, r->pipe[0], EV_READ | EV_PERSIST, on_answer, r);
	r->sweep = event_new(base, -1, EV_PERSIST, on_sweep, r);
	if (r->answers == NULL || r->sweep == NULL || event_add(r->answers, NULL) != 0 ||
	    event_add(r->sweep, &period) != 0) {
		resolver_free(r);
		return NULL;
	}
	return r;
}

void resolver_free(struct resolver *r)
{
	struct name *n;
	struct job *job;

	if (r == NULL)
		return;
	while (read(r->pipe[0], &job, sizeof(job)) == (ssize_t)sizeof(job))
		job_free(job);
	if (r->answers != NULL)
		event_free(r->answers);
	if (r->sweep != NULL)
		event_free(r->sweep);
	close(r->pipe[0]);
	close(r->pipe[1]);
	while ((n = SLIST_FIRST(&r->names)) != NULL) {
		SLIST_REMOVE_HEAD(&r->names, entry);
		free(n->text);
		free(n);
	}
	free(r);
}

enum lookup_result resolver_lookup(struct resolver *r, const char *text, uint8_t family,
				   struct ip_address *out)
{
	struct name *n;

	SLIST_FOREACH(n, &r->names, entry) {
		if (n->family == family && strcmp(n->text, text) == 0) {
			*out = n->address;
			return n->result;
		}
	}
	n = calloc(1, sizeof(*n));
	if (n == NULL || (n->text = strdup(text)) == NULL) {
		free(n);
		return LOOKUP_FAILED;
	}
	n->family = family;
	n->result = LOOKUP_PENDING;
	SLIST_INSERT_HEAD(&r->names, n, entry);
	name_start(r, n);
	return LOOKUP_PENDING;
}
