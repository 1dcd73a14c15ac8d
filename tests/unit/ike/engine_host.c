#include "engine_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t now_us(void *context)
{
	return ((struct end *)context)->world->now_us;
}

static void random_bytes(void *context, uint8_t *buf, size_t len)
{
	struct end *n = context;

	for (size_t i = 0; i < len; i++) {
		n->random = n->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		buf[i] = (uint8_t)(n->random >> 56);
	}
}

static void send_datagram(void *context, const struct ip_endpoint *local, const struct ip_endpoint *remote,
			  struct bytes datagram)
{
	struct end *n = context;
	struct world *w = n->world;
	struct wire *d = &w->last;

	if (datagram.len == 1) {
		n->keepalives++;
		return;
	}
	if (datagram.len > sizeof(d->bytes))
		abort();
	d->from = *local;
	d->to = *remote;
	d->len = datagram.len;
	memcpy(d->bytes, datagram.ptr, datagram.len);
	if (w->cut || w->count == QUEUE_MAX)
		return;
	if (w->nat_port && n->index == 0) {
		d->from.address = w->nat_address;
		d->from.port = (uint16_t)(w->nat_port + local->port);
	} else if (w->nat_port) {
		if (!ip_address_equal(&remote->address, &w->nat_address))
			return;
		d->to.address = w->end[0].address.address;
		d->to.port = (uint16_t)(remote->port - w->nat_port);
	}
	w->queue[w->count++] = *d;
}

static size_t connections(void *context, const struct ip_address *local, const struct ip_address *remote,
			  struct ike_conn **out, size_t max)
{
	struct end *n = context;
	size_t count = 0;

	for (size_t i = 0; i < n->conn_count && count < max; i++) {
		struct ike_conn *c = n->conns[i];

		if (ip_address_equal(&c->local.address, local) &&
		    (c->remote.address.family == AF_UNSPEC || ip_address_equal(&c->remote.address, remote)))
			out[count++] = c;
	}
	return count;
}

static bool psk(void *context, const struct ike_conn *conn, const struct identity *local,
		const struct identity *remote, struct secret *out)
{
	struct end *n = context;

	(void)conn;
	(void)local;
	(void)remote;
	if (!n->psk)
		return false;
	out->len = strlen(n->psk);
	memcpy(out->bytes, n->psk, out->len);
	return true;
}

static uint32_t alloc_spi(void *context, const struct ike_conn *conn, const struct ip_address *local,
			  const struct ip_address *remote, unsigned resource)
{
	struct end *n = context;

	(void)conn;
	(void)local;
	(void)remote;
	(void)resource;
	n->spis_out++;
	return ++n->spi;
}

static void free_spi(void *context, const struct ip_address *local, uint32_t spi)
{
	(void)local;
	(void)spi;
	((struct end *)context)->spis_out--;
}

static void drop(struct child_sa *list, size_t *count, uint32_t id)
{
	for (size_t i = 0; i < *count; i++)
		if (list[i].id == id) {
			memmove(&list[i], &list[i + 1], (--*count - i) * sizeof(*list));
			return;
		}
}

static bool sa_add(void *context, const struct child_sa *sa, enum sa_direction which, char *err)
{
	struct end *n = context;

	if (n->refuse_add || n->in_count == HALVES_MAX || n->out_count == HALVES_MAX) {
		snprintf(err, 256, "refused by the test");
		return false;
	}
	if (which & SA_IN) {
		n->in[n->in_count++] = *sa;
		n->spis_out--;
	}
	if (which & SA_OUT)
		n->out[n->out_count++] = *sa;
	return true;
}

static void sa_remove(void *context, const struct child_sa *sa, enum sa_direction which)
{
	struct end *n = context;

	if (which & SA_IN)
		drop(n->in, &n->in_count, sa->id);
	if (which & SA_OUT)
		drop(n->out, &n->out_count, sa->id);
}

static bool sa_move(void *context, const struct child_sa *sa, const struct esp_path *to)
{
	struct end *n = context;

	for (size_t i = 0; i < n->in_count; i++)
		if (n->in[i].id == sa->id)
			n->in[i].path = *to;
	for (size_t i = 0; i < n->out_count; i++)
		if (n->out[i].id == sa->id)
			n->out[i].path = *to;
	return true;
}

static bool sa_query(void *context, const struct child_sa *sa, struct child_sa_usage *out)
{
	struct end *n = context;

	(void)sa;
	*out = (struct child_sa_usage){ .in_last_s = n->in_last_s, .out_last_s = UINT64_MAX };
	return true;
}

static void keep(char *to, size_t len, const char *from)
{
	snprintf(to, len, "%s", from ? from : "");
}

static void event(void *context, const struct ike_event *ev)
{
	struct end *n = context;
	struct seen_event *s;

	n->told[ev->type]++;
	if (getenv("VERBOSE"))
		fprintf(stderr, "%10.3f %u [%u] #%u/#%u %s: %s\n", (double)n->world->now_us / 1e6, n->index, ev->type,
			ev->ike_id, ev->child_id, ike_reason_name(ev->reason), ev->text);
	if (ev->level == LOG_LEVEL_DEBUG || n->event_count == EVENTS_MAX)
		return;
	s = &n->events[n->event_count++];
	s->type = ev->type;
	s->reason = ev->reason;
	s->ike_id = ev->ike_id;
	s->child_id = ev->child_id;
	keep(s->conn, sizeof(s->conn), ev->conn ? ev->conn->name : NULL);
	keep(s->text, sizeof(s->text), ev->text);
	keep(s->ours, sizeof(s->ours), ev->ours);
	keep(s->theirs, sizeof(s->theirs), ev->theirs);
}

static void parse(enum ike_protocol protocol, const char *text, struct proposal_list *out)
{
	char err[256];

	if (!proposal_parse(protocol, text, out, err, sizeof(err))) {
		fprintf(stderr, "%s: %s\n", text, err);
		abort();
	}
}

void conn_set_algorithms(struct ike_conn *c, const char *ike, const char *esp)
{
	parse(PROTOCOL_IKE, ike, (struct proposal_list *)c->ike_proposals);
	parse(PROTOCOL_ESP, esp, (struct proposal_list *)c->esp_proposals);
}

static void set_net(struct ts_list *list, const char *net)
{
	struct ip_prefix p;
	struct traffic_selector ts;

	list->count = 0;
	if (!ip_prefix_parse(net, &p, NULL))
		abort();
	ts = ts_from_prefix(&p);
	ts_list_add(list, &ts);
}

struct ike_conn *end_add_conn(struct end *n, const char *name, const char *local_net, const char *remote_net)
{
	struct ike_conn *c = calloc(1, sizeof(*c));

	c->refs = 1;
	snprintf(c->name, sizeof(c->name), "%s", name);
	c->reqid = 16384 + 4 * (uint32_t)n->conn_count;
	c->local = n->address;
	c->remote = n->world->end[1 - n->index].address;
	c->local_id = identity_from_address(&c->local.address);
	c->remote_id = identity_from_address(&c->remote.address);
	c->ike_proposals = calloc(1, sizeof(struct proposal_list));
	c->esp_proposals = calloc(1, sizeof(struct proposal_list));
	conn_set_algorithms(c, "aes_gcm256-sha2_256-dh31", "aes_gcm256");
	set_net(&c->local_ts, local_net);
	set_net(&c->remote_ts, remote_net);
	c->pfs = c->esn = c->no_esn = c->rekey = c->unique_ids = true;
	c->replay_window = 128;
	c->ike_lifetime_us = c->child_lifetime_us = 8 * 3600 * US_PER_S;
	c->rekey_margin_us = 540 * US_PER_S;
	c->rekey_fuzz_percent = 100;
	c->retransmit_interval_us = 500 * US_PER_MS;
	c->retransmit_timeout_us = 60 * US_PER_S;
	c->nat_keepalive_us = 20 * US_PER_S;
	n->conns[n->conn_count++] = c;
	return c;
}

struct world *world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));

	w->now_us = 1000 * US_PER_S;
	ip_address_parse("198.51.100.1", &w->nat_address);
	for (unsigned i = 0; i < ENDS; i++) {
		struct end *n = &w->end[i];

		n->world = w;
		n->index = i;
		n->psk = "net1234567890";
		n->random = 17 + i;
		n->spi = 0x1000 * (i + 1);
		n->in_last_s = UINT64_MAX;
		n->config = (struct ike_engine_config){ .cookie_threshold = 1000, .half_open_max = 2000, .sa_max = 4000 };
		n->host = (struct ike_host){ n, now_us, random_bytes, send_datagram, connections, psk, alloc_spi,
					     free_spi, sa_add, sa_remove, sa_move, sa_query, event };
		n->address.port = 500;
		ip_address_parse(i ? "192.168.20.20" : "192.168.20.10", &n->address.address);
	}
	end_add_conn(&w->end[0], "net1", "192.168.10.0/24", "192.168.30.0/24");
	end_add_conn(&w->end[1], "net1", "192.168.30.0/24", "192.168.10.0/24");
	return w;
}

void world_start(struct world *w)
{
	for (unsigned i = 0; i < ENDS; i++)
		w->end[i].engine = ike_engine_new(&w->end[i].host, &w->end[i].config);
}

void world_free(struct world *w)
{
	for (unsigned i = 0; i < ENDS; i++) {
		struct end *n = &w->end[i];

		ike_engine_free(n->engine);
		for (size_t k = 0; k < n->conn_count; k++) {
			struct ike_conn *c = n->conns[k];

			free((void *)c->ike_proposals);
			free((void *)c->esp_proposals);
			if (c->refs != 1)
				abort(); /* somebody kept it */
			ike_conn_unref(c);
		}
	}
	free(w);
}

void world_settle(struct world *w)
{
	while (w->count) {
		struct wire d = w->queue[0];

		memmove(&w->queue[0], &w->queue[1], --w->count * sizeof(d));
		for (unsigned i = 0; i < ENDS; i++)
			if (w->end[i].engine && ip_address_equal(&w->end[i].address.address, &d.to.address))
				ike_engine_receive(w->end[i].engine, &d.to, &d.from, BYTES(d.bytes, d.len));
	}
}

void world_run(struct world *w, uint64_t us)
{
	uint64_t until = w->now_us + us;

	world_settle(w);
	while (w->now_us < until) {
		uint64_t next = until;

		for (unsigned i = 0; i < ENDS; i++) {
			uint64_t due = w->end[i].engine ? ike_engine_advance(w->end[i].engine) : UINT64_MAX;

			next = due < next ? due : next;
		}
		world_settle(w);
		w->now_us = next > w->now_us ? next : w->now_us + US_PER_MS;
	}
	w->now_us = until;
	for (unsigned i = 0; i < ENDS; i++)
		if (w->end[i].engine)
			ike_engine_advance(w->end[i].engine);
	world_settle(w);
}

const struct seen_event *end_event(const struct end *n, enum ike_event_type type)
{
	for (size_t i = 0; i < n->event_count; i++)
		if (n->events[i].type == type)
			return &n->events[i];
	return NULL;
}

bool end_said(const struct end *n, const char *text)
{
	for (size_t i = 0; i < n->event_count; i++)
		if (strstr(n->events[i].text, text))
			return true;
	return false;
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

size_t end_ikes(struct end *n)
{
	size_t count = 0;

	ike_engine_each_ike(n->engine, count_ike, &count);
	return count;
}

size_t end_children(struct end *n)
{
	size_t count = 0;

	ike_engine_each_child(n->engine, count_child, &count);
	return count;
}

void end_inject(struct end *n, const void *bytes, size_t len)
{
	ike_engine_receive(n->engine, &n->address, &n->world->end[1 - n->index].address, BYTES(bytes, len));
}
