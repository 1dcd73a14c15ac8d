/*
 * The three tables of callbacks: the engine's host, the connections' host, and
 * the back end's events.
 */
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "pluto/addresses.h"
#include "pluto/daemon.h"
#include "pluto/resolver.h"
#include "pluto/sockets.h"
#include "pluto/waiter.h"

void daemon_say(struct daemon *d, const struct conn *c, uint32_t sa, enum log_level level,
		const char *text)
{
	char label[128] = "", number[16] = "";

	if (c != NULL)
		conn_label(c, label, sizeof(label));
	if (sa != 0)
		snprintf(number, sizeof(number), "%s#%u", c != NULL ? " " : "", sa);
	log_line(level, "%s%s%s%s", label, number, c != NULL || sa != 0 ? ": " : "", text);
	if (c != NULL && level != LOG_LEVEL_DEBUG)
		waiter_line(d, c, sa, level, text);
}

/* --- the engine's host --------------------------------------------------------------------- */

static uint64_t host_now(void *context)
{
	(void)context;
	return clock_now_us();
}

static void host_random(void *context, uint8_t *buf, size_t len)
{
	(void)context;
	/* an unusable random source leaves nothing that would be safe to go on with */
	if (RAND_bytes(buf, (int)len) != 1) {
		log_error("the system gives no random numbers");
		_exit(1);
	}
}

static void host_send(void *context, const struct ip_endpoint *local, const struct ip_endpoint *remote,
		      struct bytes datagram)
{
	struct daemon *d = context;

	sockets_send(d->sockets, local, remote, datagram);
}

static size_t host_connections(void *context, const struct ip_address *local, const struct ip_address *remote,
			       struct ike_conn **out, size_t max)
{
	struct daemon *d = context;

	return d->stopping ? 0 : conn_set_candidates(d->conns, local, remote, out, max);
}

static bool host_psk(void *context, const struct ike_conn *conn, const struct identity *local,
		     const struct identity *remote, struct secret *out)
{
	struct daemon *d = context;

	(void)conn;
	return d->secrets != NULL && secrets_psk(d->secrets, local, remote, out, NULL);
}

static unsigned host_resources(void *context)
{
	struct daemon *d = context;

	return d->backend != NULL ? backend_ops(d->backend)->resources(d->backend) : 1;
}

static uint32_t host_alloc_spi(void *context, const struct ike_conn *conn, const struct ip_address *local,
			       const struct ip_address *remote, unsigned resource)
{
	struct daemon *d = context;
	struct backend_error err = { "" };
	uint32_t spi = backend_ops(d->backend)->alloc_spi(d->backend, local, remote, conn->reqid, resource, &err);

	if (spi == 0)
		log_error("\"%s\": no SPI: %s", conn->name, err.text);
	return spi;
}

static void host_free_spi(void *context, const struct ip_address *local, uint32_t spi)
{
	struct daemon *d = context;

	backend_ops(d->backend)->free_spi(d->backend, local, spi);
}

/* The connection that a Child SA belongs to; NULL when it is gone. */
static struct conn *conn_of_sa(struct daemon *d, const struct child_sa *sa)
{
	struct conn *c = conn_set_by_reqid(d->conns, sa->reqid);

	/* reqid= may give several connections the same: then the name tells them apart */
	if (c != NULL && strncmp(c->name, sa->conn, sizeof(sa->conn) - 1) != 0)
		for (c = conn_set_first(d->conns); c != NULL; c = conn_next(c))
			if (c->reqid == sa->reqid && strncmp(c->name, sa->conn, sizeof(sa->conn) - 1) == 0)
				break;
	return c;
}

static bool host_sa_add(void *context, const struct child_sa *sa, enum sa_direction which, char *err)
{
	struct daemon *d = context;
	struct conn *c = conn_of_sa(d, sa);
	struct backend_error e = { "" };

	if (c != NULL && !conn_child_adding(c, sa, err))
		return false;
	bool ok = backend_ops(d->backend)->add(d->backend, sa, which, &e);
	if (!ok)
		snprintf(err, BACKEND_ERROR_TEXT, "%s", e.text);
	return ok;
}

static void host_sa_remove(void *context, const struct child_sa *sa, enum sa_direction which)
{
	struct daemon *d = context;

	backend_ops(d->backend)->remove(d->backend, sa, which);
}

static bool host_sa_move(void *context, const struct child_sa *sa, const struct esp_path *to)
{
	struct daemon *d = context;
	struct backend_error e = { "" };

	if (backend_ops(d->backend)->move(d->backend, sa, to, &e))
		return true;
	log_error("\"%s\" #%u: cannot follow the peer to its new address: %s", sa->conn, sa->id, e.text);
	return false;
}

static bool host_sa_query(void *context, const struct child_sa *sa, struct child_sa_usage *out)
{
	struct daemon *d = context;

	return backend_ops(d->backend)->query(d->backend, sa, out);
}

static void log_sides(const char *which, const char *value)
{
	if (value != NULL)
		log_info("  %s: %s", which, value);
}

/* What a stranger sent: a few lines and records a second, whatever comes. */
static void on_remote(struct daemon *d, const struct ike_event *ev)
{
	static struct rate_limit limit = { .burst = 8, .per_second = 1 };
	const char *text = ev->text != NULL ? ev->text : ike_reason_text(ev->reason);

	if (ev->ours == NULL && ev->theirs == NULL) {
		log_remote("%s", text);
		return;
	}
	log_remote("%s; ours: %s; theirs: %s", text, ev->ours != NULL ? ev->ours : "?",
		   ev->theirs != NULL ? ev->theirs : "?");
	if (rate_limit_take(&limit, clock_now_us()))
		conn_set_event(d->conns, ev);
}

static void host_event(void *context, const struct ike_event *ev)
{
	struct daemon *d = context;
	struct conn *c = ev->conn != NULL ? ev->conn->owner : NULL;
	uint32_t sa = ev->child_id != 0 ? ev->child_id : ev->ike_id;

	if (ev->type == IKE_EVENT_REMOTE) {
		on_remote(d, ev);
		return;
	}
	if (ev->text != NULL)
		daemon_say(d, c, sa, ev->level, ev->text);
	if (ev->ours != NULL || ev->theirs != NULL) {
		log_sides("ours", ev->ours);
		log_sides("theirs", ev->theirs);
	}
	conn_set_event(d->conns, ev);
	if (c == NULL)
		return;
	if (ev->type == IKE_EVENT_IKE_REKEYED)
		waiter_tell(d, c, AWAIT_IKE_REKEY, CONN_RC_OK, REASON_NONE, "");
	else if (ev->type == IKE_EVENT_CHILD_REKEYED)
		waiter_tell(d, c, AWAIT_CHILD_REKEY, CONN_RC_OK, REASON_NONE, "");
}

/* --- the connections' host ----------------------------------------------------------------- */

static uint64_t host_wall(void *context)
{
	(void)context;
	return clock_wall_s();
}

static uint32_t host_random_below(void *context, uint32_t limit)
{
	uint32_t r = 0;

	host_random(context, (uint8_t *)&r, sizeof(r));
	return limit > 0 ? r % limit : 0;
}

static bool host_is_local(void *context, const struct ip_address *a)
{
	struct daemon *d = context;

	return addresses_find(d->addresses, a) != NULL;
}

static enum lookup_result host_lookup(void *context, enum host_kind kind, const char *name, uint8_t family,
				      struct ip_address *out)
{
	struct daemon *d = context;

	switch (kind) {
	case HOST_NAME:
		return resolver_lookup(d->resolver, name, family, out);
	case HOST_INTERFACE:
		return addresses_of_interface(d->addresses, name, family, out) ? LOOKUP_OK : LOOKUP_FAILED;
	case HOST_DEFAULTROUTE:
		return addresses_of_default_route(d->addresses, family, out) ? LOOKUP_OK : LOOKUP_FAILED;
	default:
		return LOOKUP_FAILED;
	}
}

static bool host_policy_set(void *context, const struct sa_policy *policy, char *err)
{
	struct daemon *d = context;
	struct backend_error e = { "" };
	bool ok = backend_ops(d->backend)->policy_set(d->backend, policy, &e);

	if (!ok)
		snprintf(err, BACKEND_ERROR_TEXT, "%s", e.text);
	return ok;
}

static void host_policy_remove(void *context, uint32_t reqid)
{
	struct daemon *d = context;

	backend_ops(d->backend)->policy_remove(d->backend, reqid);
}

static enum ike_up host_up(void *context, struct ike_conn *conn)
{
	struct daemon *d = context;

	return ike_engine_up(d->engine, conn);
}

static void host_down(void *context, struct ike_conn *conn, enum ike_reason reason)
{
	struct daemon *d = context;

	if (d->engine != NULL)
		ike_engine_down(d->engine, conn, reason);
}

static bool host_has_key(void *context, const struct ike_conn *conn, struct text *why)
{
	struct daemon *d = context;
	struct text detail = { 0 };

	if (conn->local_auth != IKE_AUTH_PSK && conn->remote_auth != IKE_AUTH_PSK)
		return true;
	/* which secret serves a peer of any identity is known when it comes */
	if (conn->remote_id.type == IDENTITY_NONE && d->secrets != NULL && secrets_count(d->secrets) > 0)
		return true;
	struct secret *secret = secret_alloc(sizeof(*secret));
	bool ok = secret != NULL && d->secrets != NULL &&
		  secrets_psk(d->secrets, &conn->local_id, &conn->remote_id, secret, &detail);
	secret_free(secret);
	if (!ok) {
		char local[IDENTITY_TEXT], remote[IDENTITY_TEXT];

		text_add(why, "no pre-shared key for '%s' and '%s'",
			 identity_format(&conn->local_id, local, sizeof(local)),
			 identity_format(&conn->remote_id, remote, sizeof(remote)));
		if (detail.len > 0)
			text_add(why, ": %s", text_str(&detail));
	}
	text_free(&detail);
	return ok;
}

static void host_say(void *context, const struct conn *c, enum log_level level, const char *text)
{
	daemon_say(context, c, 0, level, text);
}

static void host_came_up(void *context, const struct conn *c)
{
	waiter_tell(context, c, AWAIT_UP, CONN_RC_OK, REASON_NONE, "");
}

/* The sentence that ends `up`: reason, what each side wanted, and what would help. */
static void host_failed(void *context, const struct conn *c, const struct failure *f, bool final)
{
	struct daemon *d = context;
	struct text t = { 0 };

	(void)final; /* an unprotected refusal ends the waiting too; the daemon goes on trying */
	text_add(&t, "%s: %s", ike_reason_name(f->reason), f->text != NULL ? f->text : ike_reason_text(f->reason));
	if (f->ours != NULL)
		text_add(&t, "; ours: %s", f->ours);
	if (f->theirs != NULL)
		text_add(&t, "; theirs: %s", f->theirs);
	if (f->remedy != NULL)
		text_add(&t, "; %s", f->remedy);
	waiter_tell(d, c, AWAIT_UP, conn_rc_of(f->reason), f->reason, text_str(&t));
	text_free(&t);
}

/* --- the back end's events ----------------------------------------------------------------- */

static void backend_acquire(void *context, uint32_t reqid, const struct traffic_selector *local,
			    const struct traffic_selector *remote)
{
	struct daemon *d = context;

	(void)local;
	(void)remote;
	conn_set_acquire(d->conns, reqid);
}

static void backend_policy_failed(void *context, uint32_t reqid, const char *why)
{
	struct daemon *d = context;

	conn_set_policy_failed(d->conns, reqid, why);
}

static void backend_expire(void *context, uint32_t spi, enum sa_direction direction, bool hard)
{
	struct daemon *d = context;

	ike_engine_expire(d->engine, spi, direction, hard);
}

static void backend_first_packet(void *context, uint32_t child_id)
{
	struct daemon *d = context;

	ike_engine_first_packet(d->engine, child_id);
}

static void backend_peer_moved(void *context, uint32_t child_id, const struct ip_endpoint *to)
{
	struct daemon *d = context;

	ike_engine_peer_moved(d->engine, child_id, to);
}

static void backend_ike_datagram(void *context, const struct ip_endpoint *local, const struct ip_endpoint *remote,
				 const uint8_t *data, size_t len)
{
	struct daemon *d = context;

	ike_engine_receive(d->engine, local, remote, BYTES(data, len));
}

void daemon_events_init(struct daemon *d)
{
	d->ike_host = (struct ike_host){
		.context = d, .now_us = host_now, .random = host_random, .send = host_send,
		.connections = host_connections, .psk = host_psk, .alloc_spi = host_alloc_spi,
		.free_spi = host_free_spi, .sa_add = host_sa_add, .sa_remove = host_sa_remove,
		.sa_move = host_sa_move, .sa_query = host_sa_query, .event = host_event,
	};
	d->conn_host = (struct conn_host){
		.context = d, .now_us = host_now, .wall_s = host_wall, .random_below = host_random_below,
		.orient = { .context = d, .is_local = host_is_local, .lookup = host_lookup },
		.resources = host_resources, .policy_set = host_policy_set, .policy_remove = host_policy_remove, .up = host_up,
		.down = host_down, .has_key = host_has_key, .say = host_say, .came_up = host_came_up,
		.failed = host_failed,
	};
	d->backend_events = (struct backend_events){
		.context = d, .acquire = backend_acquire, .policy_failed = backend_policy_failed, .expire = backend_expire,
		.first_packet = backend_first_packet, .peer_moved = backend_peer_moved,
		.ike_datagram = backend_ike_datagram,
	};
}
