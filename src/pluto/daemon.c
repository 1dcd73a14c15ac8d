#include "pluto/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/diag.h"
#include "base/log.h"
#include "build-config.h"
#include "esp/esp.h"
#include "kernel/xfrm.h"
#include "pluto/addresses.h"
#include "pluto/commands.h"
#include "pluto/control.h"
#include "pluto/process.h"
#include "pluto/resolver.h"
#include "pluto/sockets.h"
#include "pluto/waiter.h"

enum { SA_MAX = 200000, PORTS_MAX = 32, STOP_WAIT_MS = 300, FILES_WANTED = 65536 };

void daemon_fail(const struct daemon *d, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_error("%s", text);
	/* until the start is over, who started us reads stderr */
	if (!d->options->stderrlog)
		fprintf(stderr, "pluto: %s\n", text);
}

/* --- configuration ------------------------------------------------------------------------- */

static void log_diags(struct diag_list *diags, struct request *r)
{
	struct diag *i;

	STAILQ_FOREACH(i, &diags->head, entry) {
		char *text = diag_format(i);

		/* the text has its severity in it */
		if (text != NULL)
			log_info("%s", text);
		if (text != NULL && r != NULL)
			request_line(r, LOG_LEVEL_WARNING, NULL, 0, text);
		free(text);
	}
	diag_list_free(diags);
}

void daemon_read_secrets(struct daemon *d, struct request *r)
{
	struct diag_list diags;

	diag_list_init(&diags);
	log_info("loading secrets from \"%s\"", d->secretsfile);
	struct secrets *s = secrets_load(d->secretsfile, &diags);
	log_diags(&diags, r);
	if (s == NULL)
		return; /* the old ones still serve */
	if (d->secrets != NULL)
		secrets_free(d->secrets);
	d->secrets = s;
	/* what waited for a secret need not wait any longer */
	if (d->conns != NULL)
		conn_set_retry_now(d->conns);
}

static void open_log(struct daemon *d)
{
	const char *file = d->logfile;
	struct log_config log = {
		.level = d->setup != NULL && d->setup->debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
		.to_stderr = d->options->stderrlog,
		.file = file,
		.to_syslog = file == NULL && !d->options->stderrlog,
		.timestamps = d->setup == NULL || d->setup->logtime,
	};

	if (!log_open(&log)) {
		/* a log that cannot be written stops no tunnel */
		fprintf(stderr, "pluto: cannot open the log %s: %s\n", file, strerror(errno));
		log.file = NULL;
		log.to_syslog = !d->options->stderrlog;
		log_open(&log);
	}
}

/* The configuration, in two steps: `config setup` says where the log is, so it is read first. */
static bool read_configuration(struct daemon *d, struct diag_list *diags)
{
	const struct options *o = d->options;

	if (access(o->config, R_OK) != 0) {
		open_log(d);
		daemon_fail(d, "cannot read the configuration %s: %s", o->config, strerror(errno));
		return false;
	}
	struct config *config = config_load(o->config, diags);
	d->source = config != NULL ? conn_source_new(config) : NULL;
	if (d->source == NULL) {
		daemon_fail(d, "out of memory while reading %s", o->config);
		return false;
	}
	d->setup = &d->source->config->setup;
	d->logfile = o->logfile != NULL ? o->logfile : d->setup->logfile;
	const char *rundir = o->rundir != NULL ? o->rundir : d->setup->rundir;
	const char *secrets = o->secretsfile != NULL ? o->secretsfile : d->setup->secretsfile;
	d->rundir = strdup(rundir != NULL ? rundir : "/run/pluto");
	d->secretsfile = strdup(secrets != NULL ? secrets : IPSEC_SYSCONFDIR "/ipsec.secrets");
	open_log(d);
	return d->rundir != NULL && d->secretsfile != NULL;
}

/* --- sockets ------------------------------------------------------------------------------- */

static void on_received(void *context, const struct ip_endpoint *local, const struct ip_endpoint *remote,
			const uint8_t *data, size_t len)
{
	struct daemon *d = context;

	ike_engine_receive(d->engine, local, remote, BYTES(data, len));
}

static void on_unreachable(void *context, const struct ip_endpoint *remote, const char *text)
{
	struct daemon *d = context;

	log_remote("%s", text);
	if (control_first(d->control) == NULL)
		return;
	for (struct conn *c = conn_set_first(d->conns); c != NULL; c = conn_next(c)) {
		if (c->ike != NULL && c->phase == CONN_TRYING && ip_address_equal(&c->ike->remote.address, &remote->address))
			waiter_line(d, c, 0, LOG_LEVEL_WARNING, text);
	}
}

static bool on_prepare(void *context, int fd, uint8_t family, char *err, size_t len)
{
	struct daemon *d = context;
	struct backend_error why = { "" };
	int mark = ESP_MARK, size = d->setup->ike_bufsize > 0 ? (int)d->setup->ike_bufsize : 0;

	if (size > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) != 0)
		log_warning("cannot set ikebuf=%d: %s", size, strerror(errno));
	if (d->user_space) {
		if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) == 0)
			return true;
		snprintf(err, len, "cannot mark the socket: %s", strerror(errno));
		return false;
	}
	if (xfrm_socket_bypass(fd, family, &why))
		return true;
	snprintf(err, len, "%s", why.text);
	return false;
}

static bool on_encapsulated(void *context, int fd, const struct ip_endpoint *local)
{
	struct daemon *d = context;
	struct backend_error why = { "" };

	if (!backend_ops(d->backend)->udp_socket(d->backend, fd, local, &why)) {
		log_warning("no ESP in UDP on this socket: %s", why.text);
		return false;
	}
	return d->user_space;
}

static void on_closing(void *context, int fd)
{
	struct daemon *d = context;

	if (d->user_space && d->backend != NULL)
		esp_backend_udp_forget(d->backend, fd);
}

/* Ports that connections ask for, beside 500 and 4500. */
static size_t other_ports(struct daemon *d, uint16_t *ports, size_t max)
{
	size_t n = 0;

	for (struct conn *c = conn_set_first(d->conns); c != NULL && n < max; c = conn_next(c)) {
		uint16_t port = c->ike != NULL ? c->ike->local.port : 500;
		bool known = port == 500 || port == 4500;

		for (size_t i = 0; i < n; i++)
			known |= ports[i] == port;
		if (!known)
			ports[n++] = port;
	}
	return n;
}

static size_t update_sockets(struct daemon *d, char *err, size_t len)
{
	uint16_t ports[PORTS_MAX];
	size_t n = other_ports(d, ports, PORTS_MAX);
	size_t failed = sockets_update(d->sockets, d->addresses, &d->setup->listen, ports, n, err, len);

	daemon_watch_backend(d);
	return failed;
}

bool daemon_listen(struct daemon *d)
{
	char err[512] = "";

	if (!addresses_read(d->addresses))
		log_error("cannot read this machine's addresses: %s", strerror(errno));
	size_t failed = update_sockets(d, err, sizeof(err));
	conn_set_reorient(d->conns);
	return failed == 0;
}

static bool open_sockets(struct daemon *d)
{
	static struct sockets_host host;
	char err[512] = "";

	host = (struct sockets_host){ .context = d, .received = on_received, .unreachable = on_unreachable,
				      .prepare = on_prepare, .encapsulated = on_encapsulated, .closing = on_closing };
	d->sockets = sockets_new(d->base, &host);
	if (d->sockets == NULL) {
		daemon_fail(d, "out of memory");
		return false;
	}
	/* at the start a socket that cannot be had is an error: later it may be news of an interface */
	if (update_sockets(d, err, sizeof(err)) > 0) {
		if (!d->options->stderrlog)
			fprintf(stderr, "pluto: %s\n", err);
		return false;
	}
	if (sockets_count(d->sockets) == 0) {
		daemon_fail(d, "no address to listen on%s",
			    d->setup->listen.family != AF_UNSPEC ? ": listen= is no address of this machine" : "");
		return false;
	}
	return true;
}

/* --- start --------------------------------------------------------------------------------- */

static void on_addresses(void *context)
{
	struct daemon *d = context;

	d->addresses_changed = true;
}

static void on_names(void *context)
{
	struct daemon *d = context;

	d->reorient = true;
}

static void on_signal(evutil_socket_t sig, short what, void *context)
{
	struct daemon *d = context;

	(void)what;
	if (sig == SIGHUP) {
		log_reopen();
		process_log_reopened(d->logfile);
		log_info("the log was opened anew");
		return;
	}
	log_info("%s: shutting down", strsignal(sig));
	/* the end of this daemon, but not of the protection: another is about to start */
	daemon_quit(d, sig == SIGUSR2);
}

static void on_watchdog(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	(void)context;
	process_alive();
}

/* Only wakes the loop: every turn looks at what is due. */
static void on_tick(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	(void)context;
}

/* Two sockets for each address, and what is made on the way: the usual 1024 do not reach far. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= FILES_WANTED)
		return;
	limit.rlim_cur = limit.rlim_max < FILES_WANTED ? limit.rlim_max : FILES_WANTED;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static bool start_loop(struct daemon *d)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR2 };

	signal(SIGPIPE, SIG_IGN);
	raise_file_limit();
	d->base = event_base_new();
	if (d->base == NULL)
		return false;
	d->tick = evtimer_new(d->base, on_tick, d);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		d->signals[i] = evsignal_new(d->base, signals[i], on_signal, d);
		if (d->signals[i] == NULL || evsignal_add(d->signals[i], NULL) != 0)
			return false;
	}
	d->addresses = addresses_new(d->base, on_addresses, d);
	d->resolver = resolver_new(d->base, on_names, d);
	return d->tick != NULL && d->addresses != NULL && d->resolver != NULL;
}

static bool start_engine(struct daemon *d)
{
	const struct setup_config *s = d->setup;
	struct ike_engine_config config = {
		.cookie_threshold = s->ddos_threshold,
		.half_open_max = s->max_halfopen,
		.always_cookie = s->ddos_mode == DDOS_BUSY,
		.never_cookie = s->ddos_mode == DDOS_UNLIMITED,
		.sa_max = SA_MAX,
	};

	daemon_events_init(d);
	d->conns = conn_set_new(&d->conn_host);
	d->engine = ike_engine_new(&d->ike_host, &config);
	return d->conns != NULL && d->engine != NULL;
}

static bool start_control(struct daemon *d)
{
	char path[512], err[512];

	snprintf(path, sizeof(path), "%s/pluto.ctl", d->rundir);
	d->control = control_new(d, d->base, path, command_run, err, sizeof(err));
	if (d->control == NULL)
		daemon_fail(d, "%s", err);
	return d->control != NULL;
}

static void start_watchdog(struct daemon *d)
{
	uint64_t us = process_watchdog_us();
	struct timeval tv = { .tv_sec = (time_t)(us / US_PER_S), .tv_usec = (suseconds_t)(us % US_PER_S) };

	if (us == 0)
		return;
	d->watchdog = event_new(d->base, -1, EV_PERSIST, on_watchdog, d);
	if (d->watchdog != NULL)
		event_add(d->watchdog, &tv);
}

bool daemon_start(struct daemon *d, const struct options *options)
{
	struct diag_list diags;
	char err[512];

	memset(d, 0, sizeof(*d));
	d->lock_fd = -1;
	d->options = options;
	d->started_us = clock_now_us();
	diag_list_init(&diags);
	bool ok = read_configuration(d, &diags);
	if (ok) {
		log_info("Starting Pluto (Sekisho %s) pid:%ld", SEKISHO_VERSION, (long)getpid());
		log_diags(&diags, NULL);
	} else {
		log_diags(&diags, NULL);
		return false;
	}
	d->lock_fd = process_lock(d->rundir, err, sizeof(err));
	if (d->lock_fd < 0 || !process_privileged(err, sizeof(err))) {
		daemon_fail(d, "%s", err);
		return false;
	}
	/* not before the lock: the log may be that of a daemon that runs */
	if (d->logfile != NULL && !d->setup->logappend && truncate(d->logfile, 0) != 0)
		log_warning("cannot empty the log %s: %s", d->logfile, strerror(errno));
	if (!process_harden())
		log_warning("privileges could not be given up: %s", strerror(errno));
	if (!start_loop(d) || !start_engine(d)) {
		daemon_fail(d, "cannot start: %s", strerror(errno));
		return false;
	}
	daemon_read_secrets(d, NULL);
	if (!daemon_choose_backend(d))
		return false;
	/* policies first: what a predecessor left in force is replaced without a gap */
	conn_set_hold(d->conns, true);
	conn_set_load(d->conns, d->source);
	conn_set_reconcile(d->conns);
	daemon_settle_backend(d);
	if (!open_sockets(d) || !start_control(d))
		return false;
	start_watchdog(d);
	log_info("loaded %zu connections; listening on %zu sockets", conn_set_count(d->conns), sockets_count(d->sockets));
	process_ready(d->logfile);
	conn_set_hold(d->conns, false);
	return true;
}

/* --- the loop ------------------------------------------------------------------------------ */

/* Everything that is due, until nothing is; returns when something will be. */
static uint64_t turn(struct daemon *d)
{
	uint64_t next = 0;

	if (d->addresses_changed) {
		d->addresses_changed = false;
		daemon_listen(d);
	}
	if (d->reorient) {
		d->reorient = false;
		conn_set_reorient(d->conns);
	}
	/* each pass of one may give the other something to do; a few settle it, the rest can wait */
	for (int i = 0; i < 4; i++) {
		uint64_t conns = conn_set_reconcile(d->conns);
		uint64_t engine = ike_engine_advance(d->engine);

		next = conns < engine ? conns : engine;
		if (next > clock_now_us())
			break;
	}
	return next;
}

static void sleep_until(struct daemon *d, uint64_t next)
{
	uint64_t now = clock_now_us(), us = next > now ? next - now : 0;
	struct timeval tv = { .tv_sec = (time_t)(us / US_PER_S), .tv_usec = (suseconds_t)(us % US_PER_S) };

	if (next == UINT64_MAX)
		evtimer_del(d->tick);
	else
		evtimer_add(d->tick, &tv);
	event_base_loop(d->base, EVLOOP_ONCE);
}

void daemon_run(struct daemon *d)
{
	while (!d->stopping)
		sleep_until(d, turn(d));
}

void daemon_quit(struct daemon *d, bool keep)
{
	d->stopping = true;
	d->keep_policies = keep;
}

/* --- the end ------------------------------------------------------------------------------- */

/* Deletes go out, and their answers may come in, for a moment. */
static void say_goodbye(struct daemon *d)
{
	uint64_t end = clock_now_us() + STOP_WAIT_MS * US_PER_MS;

	conn_set_hold(d->conns, true);
	ike_engine_shutdown(d->engine);
	control_flush(d->control);
	for (;;) {
		uint64_t next = ike_engine_advance(d->engine), now = clock_now_us();

		if (now >= end || ike_engine_counters(d->engine)->ike_total == 0)
			break;
		sleep_until(d, next < end ? next : end);
	}
}

void daemon_stop(struct daemon *d)
{
	process_stopping();
	if (d->engine != NULL && d->sockets != NULL && d->control != NULL)
		say_goodbye(d);
	control_free(d->control);
	/* the engine's references first, then the connections, then what carried them */
	if (d->engine != NULL)
		ike_engine_free(d->engine);
	d->engine = NULL;
	conn_set_free(d->conns);
	sockets_free(d->sockets);
	daemon_close_backend(d);
	addresses_free(d->addresses);
	resolver_free(d->resolver);
	for (size_t i = 0; i < sizeof(d->signals) / sizeof(d->signals[0]); i++) {
		if (d->signals[i] != NULL)
			event_free(d->signals[i]);
	}
	if (d->tick != NULL)
		event_free(d->tick);
	if (d->watchdog != NULL)
		event_free(d->watchdog);
	if (d->base != NULL)
		event_base_free(d->base);
	if (d->secrets != NULL)
		secrets_free(d->secrets);
	conn_source_unref(d->source);
	process_unlock(d->lock_fd, d->rundir);
	free(d->rundir);
	free(d->secretsfile);
	log_info("shut down");
	log_close();
}
