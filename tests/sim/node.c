/* A node: the engine's host, a reconciler in small, and its connection. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

static uint64_t host_now(void *context)
{
	const struct sim_node *n = context;

	return n->sim->now_us;
}

static void host_random(void *context, uint8_t *buf, size_t len)
{
	struct sim_node *n = context;

	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)prng_next(&n->random);
}

static void host_send(void *context, const struct ip_endpoint *local, const struct ip_endpoint *remote,
		      struct bytes datagram)
{
	sim_network_send(context, local, remote, datagram);
}

static size_t host_connections(void *context, const struct ip_address *local,
			       const struct ip_address *remote, struct ike_conn **out, size_t max)
{
	const struct sim_node *n = context;
	struct ike_conn *all[] = { n->conn, n->other };
	size_t count = 0;

	if (!ip_address_equal(local, &n->conn->local.address) ||
	    (n->conn->remote.address.family != AF_UNSPEC &&
	     !ip_address_equal(remote, &n->conn->remote.address)))
		return 0;
	for (size_t i = 0; i < 2 && count < max; i++)
		if (all[i] && all[i] != n->deleted)
			out[count++] = all[i];
	return count;
}

static bool host_psk(void *context, const struct ike_conn *conn, const struct identity *local,
		     const struct identity *remote, struct secret *out)
{
	const struct sim_node *n = context;

	(void)conn;
	(void)local;
	(void)remote;
	if (!n->psk)
		return false;
	out->len = strlen(n->psk);
	memcpy(out->bytes, n->psk, out->len);
	return true;
}

/* Down, and it should not be: again, after 1 s, 2 s, 4 s … of back-off. */
static void reconcile_later(struct sim_node *n)
{
	uint64_t back_off = US_PER_S << (n->retries < 5 ? n->retries : 5);

	if (!n->wanted || n->retry_us)
		return;
	n->retries++;
	n->retry_us = n->sim->now_us + back_off + prng_below(&n->sim->chance, back_off / 4);
}

static void keep_text(char *to, size_t len, const char *from)
{
	to[0] = '\0';
	if (from)
		strncat(to, from, len - 1);
}

static void host_event(void *context, const struct ike_event *event)
{
	static const char *const names[] = { "progress", "refused", "failed", "ike-up", "ike-down", "child-up",
					     "child-down", "ike-rekeyed", "child-rekeyed", "remote" };
	struct sim_node *n = context;

	sim_trace(n->sim, "%u %s #%u/#%u %s: %s%s%s%s%s", n->index, names[event->type], event->ike_id,
		  event->child_id, ike_reason_name(event->reason), event->text ? event->text : "",
		  event->ours ? "; ours " : "", event->ours ? event->ours : "",
		  event->theirs ? "; theirs " : "", event->theirs ? event->theirs : "");
	if (n->other && event->conn == n->other) {
		n->other_told[event->type]++;
		n->other_up = event->type == IKE_EVENT_CHILD_UP ||
			      (n->other_up && event->type != IKE_EVENT_CHILD_DOWN);
		return;
	}
	n->told[event->type]++;
	if (event->reason != REASON_NONE) {
		n->reason = event->reason;
		keep_text(n->text, sizeof(n->text), event->text);
		keep_text(n->ours, sizeof(n->ours), event->ours);
		keep_text(n->theirs, sizeof(n->theirs), event->theirs);
	}
	switch (event->type) {
	case IKE_EVENT_CHILD_UP:
		n->up = true;
		n->up_us = n->sim->now_us;
		n->retries = 0;
		n->retry_us = 0;
		break;
	case IKE_EVENT_CHILD_DOWN:
		n->up = false;
		n->sim->path_up = false;
		reconcile_later(n);
		break;
	case IKE_EVENT_FAILED:
		n->failed_us = n->sim->now_us;
		if (!n->up)
			reconcile_later(n);
		break;
	default:
		break;
	}
}

void sim_node_start(struct sim_node *n)
{
	n->host = (struct ike_host){ .context = n, .now_us = host_now, .random = host_random,
				     .send = host_send, .connections = host_connections,
				     .psk = host_psk, .event = host_event };
	sim_backend_host(&n->host);
	n->engine = ike_engine_new(&n->host, &n->config);
	if (!n->engine)
		abort();
	sim_trace(n->sim, "%u starts", n->index);
	sim_node_called(n);
}

void sim_node_crash(struct sim_node *n)
{
	sim_trace(n->sim, "%u dies", n->index);
	ike_engine_free(n->engine);
	n->engine = NULL;
	n->wake_us = UINT64_MAX;
	n->retry_us = 0;
	n->up = false;
	n->sim->path_up = false;
	sim_backend_clear(n);
}

static void traffic_start(struct sim *s)
{
	for (unsigned i = 0; s->packet_interval_us && i < SIM_NODES; i++)
		sim_event_add(s, (struct sim_event){ .at_us = s->now_us + i, .kind = SIM_TRAFFIC, .node = i });
}

void sim_start(struct sim *s)
{
	for (size_t i = 0; i < SIM_NODES; i++)
		sim_node_start(&s->node[i]);
	traffic_start(s);
}

enum ike_up sim_conn_up(struct sim_node *n, struct ike_conn *c)
{
	enum ike_up up;

	sim_trace(n->sim, "%u up %s", n->index, c->name);
	up = ike_engine_up(n->engine, c);
	sim_node_called(n);
	return up;
}

void sim_conn_down(struct sim_node *n, struct ike_conn *c)
{
	sim_trace(n->sim, "%u down %s", n->index, c->name);
	if (c == n->conn) {
		n->wanted = false;
		n->sim->path_up = false;
	}
	ike_engine_down(n->engine, c, REASON_ADMIN);
	sim_node_called(n);
}

enum ike_up sim_up(struct sim_node *n)
{
	return sim_conn_up(n, n->conn);
}

void sim_down(struct sim_node *n)
{
	sim_conn_down(n, n->conn);
}

static void count_ike(void *context, const struct ike_sa_info *info)
{
	(void)info;
	++*(size_t *)context;
}

static void count_child(void *context, const struct child_sa_info *info)
{
	(void)info;
	++*(size_t *)context;
}

size_t sim_count_ike(struct sim_node *n)
{
	size_t count = 0;

	if (n->engine)
		ike_engine_each_ike(n->engine, count_ike, &count);
	return count;
}

size_t sim_count_child(struct sim_node *n)
{
	size_t count = 0;

	if (n->engine)
		ike_engine_each_child(n->engine, count_child, &count);
	return count;
}

/* --- connections --- */

/* Lists live as long as the program: connections share them. */
static const struct proposal_list *proposals(enum ike_protocol protocol, const char *text)
{
	static struct kept {
		struct kept *next;
		enum ike_protocol protocol;
		char text[128];
		struct proposal_list list;
	} *all;
	struct kept *k;
	char err[256];

	for (k = all; k; k = k->next)
		if (k->protocol == protocol && strcmp(k->text, text) == 0)
			return &k->list;
	k = calloc(1, sizeof(*k));
	if (!k || !proposal_parse(protocol, text, &k->list, err, sizeof(err)))
		abort();
	k->protocol = protocol;
	keep_text(k->text, sizeof(k->text), text);
	k->next = all;
	all = k;
	return &k->list;
}

void sim_conn_algorithms(struct ike_conn *c, const char *ike, const char *esp)
{
	c->ike_proposals = proposals(PROTOCOL_IKE, ike);
	c->esp_proposals = proposals(PROTOCOL_ESP, esp);
}

static void networks(struct ts_list *list, const char *text)
{
	char copy[256], *save = NULL;

	list->count = 0;
	keep_text(copy, sizeof(copy), text);
	for (char *t = strtok_r(copy, ",", &save); t; t = strtok_r(NULL, ",", &save)) {
		struct traffic_selector ts;
		struct ip_prefix p;

		if (!ip_prefix_parse(t, &p, NULL))
			abort();
		ts = ts_from_prefix(&p);
		ts_list_add(list, &ts);
	}
}

void sim_conn_networks(struct ike_conn *c, const char *local, const char *remote)
{
	networks(&c->local_ts, local);
	networks(&c->remote_ts, remote);
}

struct ike_conn *sim_conn_new(const struct sim_node *n)
{
	static const char *const nets[] = { "192.168.10.0/24", "192.168.30.0/24" };
	struct ike_conn *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	c->refs = 1;
	strcpy(c->name, "net1");
	c->serial = 1;
	c->reqid = 16384;
	c->local = n->address;
	ip_address_parse(n->index ? "192.168.20.10" : "192.168.20.20", &c->remote.address);
	c->remote.port = 500;
	c->local_id = identity_from_address(&c->local.address);
	c->remote_id = identity_from_address(&c->remote.address);
	sim_conn_algorithms(c, "aes_gcm256-sha2_256-dh31", "aes_gcm256");
	sim_conn_networks(c, nets[n->index], nets[1 - n->index]);
	c->pfs = true;
	c->esn = c->no_esn = true;
	c->replay_window = 128;
	c->ike_lifetime_us = c->child_lifetime_us = 28800 * US_PER_S;
	c->rekey_margin_us = 540 * US_PER_S;
	c->rekey_fuzz_percent = 100;
	c->rekey = true;
	c->retransmit_interval_us = US_PER_S / 2;
	c->retransmit_timeout_us = 60 * US_PER_S;
	c->initial_contact = true;
	c->unique_ids = true;
	c->decap_dscp = false;
	return c;
}

struct ike_conn *sim_conn_other(struct sim_node *n)
{
	static const char *const nets[] = { "192.168.11.0/24", "192.168.31.0/24" };
	struct ike_conn *c = sim_conn_new(n);

	strcpy(c->name, "net2");
	c->serial = 2;
	c->reqid += 4;
	sim_conn_networks(c, nets[n->index], nets[1 - n->index]);
	n->other = c;
	return c;
}
