/* Time, events and the network. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SENT_PER_SECOND_MAX = 200, /* datagrams of one node: more is a storm */
	WAKES_PER_SECOND_MAX = 2000,
	DATAGRAM_MAX = 4000,
};
#define SIM_EPOCH_US (1000 * US_PER_S)

uint64_t prng_next(struct prng *p)
{
	/* splitmix64 */
	uint64_t z = p->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t prng_below(struct prng *p, uint64_t bound)
{
	return bound ? prng_next(p) % bound : 0;
}

bool prng_chance(struct prng *p, unsigned percent)
{
	return percent && prng_below(p, 100) < percent;
}

/* --- what happened --- */

static void hash_add(struct sim *s, const void *p, size_t len)
{
	const uint8_t *b = p;

	while (len-- > 0)
		s->trace_hash = (s->trace_hash ^ *b++) * UINT64_C(0x100000001b3);
}

void sim_trace(struct sim *s, const char *format, ...)
{
	char line[1400];
	char **slot = &s->tail[s->tail_count++ % (sizeof(s->tail) / sizeof(s->tail[0]))];
	va_list args;
	int n = snprintf(line, sizeof(line), "%12.6f ", (double)(s->now_us - SIM_EPOCH_US) / 1e6);

	va_start(args, format);
	vsnprintf(line + n, sizeof(line) - (size_t)n, format, args);
	va_end(args);
	hash_add(s, line, strlen(line));
	if (s->verbose)
		printf("# %s\n", line);
	free(*slot);
	*slot = strdup(line);
}

void sim_fail(struct sim *s, const char *format, ...)
{
	va_list args;

	if (s->failed)
		return;
	s->failed = true;
	va_start(args, format);
	vsnprintf(s->why, sizeof(s->why), format, args);
	va_end(args);
	sim_trace(s, "FAILED: %s", s->why);
}

/* --- events: a binary heap by time, then by the order in which they were made --- */

static bool event_before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->serial < b->serial;
}

void sim_event_add(struct sim *s, struct sim_event event)
{
	size_t i = s->heap_count;

	if (s->heap_count == s->heap_cap) {
		s->heap_cap = s->heap_cap ? 2 * s->heap_cap : 64;
		s->heap = realloc(s->heap, s->heap_cap * sizeof(*s->heap));
		if (!s->heap)
			abort();
	}
	event.serial = s->event_serial++;
	s->heap_count++;
	while (i > 0 && event_before(&event, &s->heap[(i - 1) / 2])) {
		s->heap[i] = s->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	s->heap[i] = event;
}

static struct sim_event event_take(struct sim *s)
{
	struct sim_event first = s->heap[0], last = s->heap[--s->heap_count];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= s->heap_count)
			break;
		if (child + 1 < s->heap_count && event_before(&s->heap[child + 1], &s->heap[child]))
			child++;
		if (!event_before(&s->heap[child], &last))
			break;
		s->heap[i] = s->heap[child];
		i = child;
	}
	s->heap[i] = last;
	return first;
}

void sim_at(struct sim *s, uint64_t us, void (*fn)(struct sim *s, unsigned arg), unsigned arg)
{
	sim_event_add(s, (struct sim_event){ .at_us = s->now_us + us, .kind = SIM_CALL, .fn = fn, .arg = arg });
}

/* --- the network --- */

static uint64_t network_delay(struct sim *s)
{
	return s->network.delay_min_us +
	       prng_below(&s->chance, s->network.delay_max_us - s->network.delay_min_us + 1);
}

static void wire_send(struct sim *s, unsigned to, const struct sim_wire *w)
{
	struct sim_wire *copy = malloc(sizeof(*copy) + w->len);

	if (!copy)
		abort();
	memcpy(copy, w, sizeof(*copy) + w->len);
	sim_event_add(s, (struct sim_event){ .at_us = s->now_us + network_delay(s), .kind = SIM_DATAGRAM,
					     .node = to, .wire = copy });
}

/* A stranger changes some bytes, cuts, or makes longer. */
static void wire_spoil(struct sim *s, struct sim_wire *w)
{
	size_t cap = w->len;

	for (unsigned n = 1 + (unsigned)prng_below(&s->chance, 3); n > 0 && w->len > 0; n--) {
		size_t at = prng_below(&s->chance, prng_chance(&s->chance, 50) && w->len > 60 ? 60 : w->len);

		w->bytes[at] = prng_chance(&s->chance, 50) ? (uint8_t)prng_next(&s->chance) :
							      w->bytes[at] ^ (uint8_t)(1U << prng_below(&s->chance, 8));
	}
	if (prng_chance(&s->chance, 20))
		w->len = prng_below(&s->chance, cap + 1);
	/* with a length that is right it gets further */
	if (w->len >= 28 && prng_chance(&s->chance, 70)) {
		w->bytes[24] = w->bytes[25] = 0;
		w->bytes[26] = (uint8_t)(w->len >> 8);
		w->bytes[27] = (uint8_t)w->len;
	}
}

static void wire_hostile(struct sim *s, unsigned to, const struct sim_wire *w)
{
	const struct sim_wire *from = s->old && prng_chance(&s->chance, 30) ? s->old : w;
	struct sim_wire *copy = malloc(sizeof(*copy) + from->len);

	if (!copy)
		abort();
	memcpy(copy, from, sizeof(*copy) + from->len);
	if (!prng_chance(&s->chance, 20))
		wire_spoil(s, copy);
	/* to either end: a message that comes back to its sender is hostile as well */
	if (prng_chance(&s->chance, 20)) {
		struct ip_endpoint swap = copy->from;

		copy->from = copy->to;
		copy->to = swap;
		to = 1 - to;
	}
	wire_send(s, to, copy);
	if (prng_chance(&s->chance, 10)) {
		free(s->old);
		s->old = copy;
	} else {
		free(copy);
	}
}

void sim_network_send(struct sim_node *from, const struct ip_endpoint *local,
		      const struct ip_endpoint *remote, struct bytes datagram)
{
	struct sim *s = from->sim;
	unsigned to = 1 - from->index;
	struct sim_wire *w;

	from->sent++;
	if (++from->second_sent > SENT_PER_SECOND_MAX)
		sim_fail(s, "node %u sent %u datagrams in a second", from->index, SENT_PER_SECOND_MAX);
	if (datagram.len == 0 || datagram.len > DATAGRAM_MAX)
		sim_fail(s, "node %u sent a datagram of %zu bytes", from->index, datagram.len);
	hash_add(s, datagram.ptr, datagram.len);
	sim_trace(s, "%u sends %zu bytes: exchange %u message %u%s", from->index, datagram.len,
		  datagram.len > 18 ? datagram.ptr[18] : 0, datagram.len > 23 ? datagram.ptr[23] : 0,
		  datagram.len > 19 && datagram.ptr[19] & 0x20 ? " (response)" : "");
	if (s->failed || datagram.len < 28 || s->network.cut ||
	    !ip_address_equal(&remote->address, &s->node[to].address.address))
		return;
	w = malloc(sizeof(*w) + datagram.len);
	if (!w)
		abort();
	*w = (struct sim_wire){ .from = *local, .to = *remote, .len = datagram.len };
	memcpy(w->bytes, datagram.ptr, datagram.len);
	if (!prng_chance(&s->chance, s->network.loss_percent))
		wire_send(s, to, w);
	if (prng_chance(&s->chance, s->network.duplicate_percent))
		wire_send(s, to, w);
	if (prng_chance(&s->chance, s->network.hostile_percent))
		wire_hostile(s, to, w);
	free(w);
}

/* --- time --- */

static void event_run(struct sim *s, struct sim_event *ev)
{
	struct sim_node *n = &s->node[ev->node];

	switch (ev->kind) {
	case SIM_DATAGRAM:
		if (n->engine && !s->network.cut) {
			n->received++;
			ike_engine_receive(n->engine, &ev->wire->to, &ev->wire->from,
					   BYTES(ev->wire->bytes, ev->wire->len));
			sim_node_called(n);
		}
		free(ev->wire);
		break;
	case SIM_PACKET:
		sim_packet_arrive(n, ev);
		break;
	case SIM_FIRST_PACKET:
		if (n->engine) {
			ike_engine_first_packet(n->engine, ev->arg);
			sim_node_called(n);
		}
		break;
	case SIM_TRAFFIC:
		if (s->packet_interval_us == 0)
			break;
		sim_packet_send(n);
		ev->at_us = s->now_us + 1 + prng_below(&s->chance, 2 * s->packet_interval_us);
		sim_event_add(s, *ev);
		break;
	case SIM_CALL:
		ev->fn(s, ev->arg);
		break;
	}
}

/* A node's timers, or its reconciler's, are due. */
static void node_wake(struct sim_node *n)
{
	struct sim *s = n->sim;

	if (n->retry_us && n->retry_us <= s->now_us) {
		n->retry_us = 0;
		if (n->engine && n->wanted && !n->up)
			sim_up(n);
	}
	if (n->engine)
		sim_node_called(n);
}

static uint64_t node_wake_us(const struct sim_node *n)
{
	return n->retry_us && n->retry_us < n->wake_us ? n->retry_us : n->wake_us;
}

void sim_node_called(struct sim_node *n)
{
	struct sim *s = n->sim;
	uint64_t second = s->now_us / US_PER_S;

	n->wake_us = n->engine ? ike_engine_advance(n->engine) : UINT64_MAX;
	/* a wheel may wake early, but time has to go on */
	if (n->wake_us <= s->now_us)
		n->wake_us = s->now_us + 1;
	if (n->second != second) {
		n->second = second;
		n->second_sent = n->second_wakes = 0;
	}
	if (++n->second_wakes > WAKES_PER_SECOND_MAX)
		sim_fail(s, "node %u woke up %u times in a second", n->index, WAKES_PER_SECOND_MAX);
	sim_path_check(s);
}

/* Runs what comes next, by `until` at the latest; false when there is nothing. */
static bool step(struct sim *s, uint64_t until)
{
	uint64_t next = s->heap_count ? s->heap[0].at_us : UINT64_MAX;
	struct sim_node *wake = NULL;

	for (size_t i = 0; i < SIM_NODES; i++) {
		if (node_wake_us(&s->node[i]) < next) {
			next = node_wake_us(&s->node[i]);
			wake = &s->node[i];
		}
	}
	if (next > until)
		return false;
	if (next > s->now_us)
		s->now_us = next;
	if (wake) {
		node_wake(wake);
	} else {
		struct sim_event ev = event_take(s);

		event_run(s, &ev);
	}
	return true;
}

bool sim_run_until(struct sim *s, uint64_t us, bool (*done)(struct sim *))
{
	uint64_t until = s->now_us + us;

	while (!s->failed) {
		if (done && done(s))
			return true;
		if (!step(s, until)) {
			s->now_us = until;
			return !done;
		}
	}
	return false;
}

bool sim_run(struct sim *s, uint64_t us)
{
	return sim_run_until(s, us, NULL);
}

struct sim *sim_new(uint64_t seed, bool verbose)
{
	struct sim *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	s->seed = seed;
	s->verbose = verbose;
	s->now_us = SIM_EPOCH_US;
	s->trace_hash = UINT64_C(0xcbf29ce484222325);
	s->chance.state = seed * 3;
	s->network = (struct sim_network){ .delay_min_us = 500, .delay_max_us = 2000 };
	for (unsigned i = 0; i < SIM_NODES; i++) {
		struct sim_node *n = &s->node[i];

		n->sim = s;
		n->index = i;
		ip_address_parse(i ? "192.168.20.20" : "192.168.20.10", &n->address.address);
		n->address.port = 500;
		n->random.state = seed * 3 + 1 + i;
		n->psk = "net1234567890";
		n->wake_us = UINT64_MAX;
		n->config = (struct ike_engine_config){ .cookie_threshold = 25000, .half_open_max = 50000,
							.sa_max = 100000 };
		n->conn = sim_conn_new(n);
	}
	return s;
}

void sim_free(struct sim *s)
{
	for (size_t i = 0; i < SIM_NODES; i++) {
		ike_engine_free(s->node[i].engine);
		ike_conn_unref(s->node[i].conn);
		ike_conn_unref(s->node[i].other);
	}
	while (s->heap_count > 0) {
		struct sim_event ev = event_take(s);

		free(ev.wire);
	}
	for (size_t i = 0; i < sizeof(s->tail) / sizeof(s->tail[0]); i++)
		free(s->tail[i]);
	free(s->old);
	free(s->heap);
	free(s);
}
