/* The back end of a node, and the packets that it protects. */
#include "sim.h"

#include <stdio.h>
#include <string.h>

struct sim_half *sim_backend_find(struct sim_node *n, enum sa_direction direction, uint32_t spi)
{
	for (size_t i = 0; i < SIM_HALVES_MAX; i++) {
		struct sim_half *h = &n->halves[i];

		if (h->used && h->direction == direction && h->spi == spi)
			return h;
	}
	return NULL;
}

static bool key_equal(const struct key *a, const struct key *b)
{
	return bytes_equal(key_bytes(a), key_bytes(b));
}

static uint32_t *spi_slot(struct sim_node *n, uint32_t spi)
{
	for (size_t i = 0; i < SIM_SPIS_MAX; i++)
		if (n->spis[i] == spi)
			return &n->spis[i];
	return NULL;
}

static uint32_t backend_alloc_spi(void *context, const struct ike_conn *conn, const struct ip_address *local,
				  const struct ip_address *remote, unsigned resource)
{
	struct sim_node *n = context;
	uint32_t *slot = spi_slot(n, 0), spi;

	(void)conn;
	(void)local;
	(void)remote;
	if (!slot) {
		sim_fail(n->sim, "node %u has no SPI left: they are never given back", n->index);
		return 0;
	}
	do {
		spi = 256 + (uint32_t)prng_below(&n->sim->chance, UINT32_MAX - 256);
	} while (spi_slot(n, spi) || sim_backend_find(n, SA_IN, spi));
	*slot = spi;
	n->resources[slot - n->spis] = resource;
	return spi;
}

static void backend_free_spi(void *context, const struct ip_address *local, uint32_t spi)
{
	struct sim_node *n = context;
	uint32_t *slot = spi_slot(n, spi);

	(void)local;
	if (spi == 0 || !slot)
		sim_fail(n->sim, "node %u gives back SPI %08x, which is not given out", n->index, spi);
	else
		*slot = 0;
}

static void half_add(struct sim_node *n, const struct child_sa *sa, enum sa_direction direction)
{
	const struct esp_half *from = direction == SA_IN ? &sa->in : &sa->out;
	struct sim *s = n->sim;
	struct sim_half *h = NULL, *other;
	uint32_t *slot;

	sim_trace(s, "%u adds %s %08x of #%u", n->index, direction == SA_IN ? "in" : "out", from->spi, sa->id);
	if (sim_backend_find(n, direction, from->spi)) {
		sim_fail(s, "node %u adds SPI %08x twice", n->index, from->spi);
		return;
	}
	for (size_t i = 0; i < SIM_HALVES_MAX && !h; i++)
		if (!n->halves[i].used)
			h = &n->halves[i];
	if (!h) {
		sim_fail(s, "node %u has %u SAs", n->index, SIM_HALVES_MAX);
		return;
	}
	if (direction == SA_IN) {
		slot = spi_slot(n, from->spi);
		if (from->spi == 0 || !slot)
			sim_fail(s, "node %u adds inbound SPI %08x, which was not given out", n->index, from->spi);
		else if (n->resources[slot - n->spis] != sa->resource || sa->resource > SIM_RESOURCES_MAX)
			sim_fail(s, "node %u adds SPI %08x to resource %u, which is for %u", n->index, from->spi,
				 sa->resource, n->resources[slot - n->spis]);
		else
			*slot = 0;
	}
	*h = (struct sim_half){ .used = true, .direction = direction, .child_id = sa->id, .spi = from->spi,
				.reqid = sa->reqid, .resource = sa->resource, .encr_key = from->encr_key, .integ_key = from->integ_key, .since_us = s->now_us };
	if (h->encr_key.len == 0)
		sim_fail(s, "node %u adds an SA without a key", n->index);
	other = sim_backend_find(&s->node[1 - n->index], direction == SA_IN ? SA_OUT : SA_IN, h->spi);
	if (other && (!key_equal(&other->encr_key, &h->encr_key) || !key_equal(&other->integ_key, &h->integ_key)))
		sim_fail(s, "the ends have different keys for SPI %08x", h->spi);
	if (direction == SA_OUT && h->reqid == n->conn->reqid)
		n->outbound[sa->resource] = h;
}

static bool backend_add(void *context, const struct child_sa *sa, enum sa_direction which, char *err)
{
	struct sim_node *n = context;

	if (n->refuse_add) {
		snprintf(err, 256, "the simulated back end refuses it");
		return false;
	}
	if (which & SA_IN)
		half_add(n, sa, SA_IN);
	if (which & SA_OUT)
		half_add(n, sa, SA_OUT);
	return true;
}

/* Traffic goes back to what is left. */
static struct sim_half *newest_outbound(struct sim_node *n, unsigned resource)
{
	struct sim_half *newest = NULL;

	for (size_t i = 0; i < SIM_HALVES_MAX; i++) {
		struct sim_half *h = &n->halves[i];

		if (h->used && h->direction == SA_OUT && h->reqid == n->conn->reqid && h->resource == resource &&
		    (!newest || h->since_us > newest->since_us))
			newest = h;
	}
	return newest;
}

static void half_remove(struct sim_node *n, const struct child_sa *sa, enum sa_direction direction)
{
	struct sim_half *h = sim_backend_find(n, direction, direction == SA_IN ? sa->in.spi : sa->out.spi);

	if (!h)
		return;
	sim_trace(n->sim, "%u removes %s %08x of #%u", n->index, direction == SA_IN ? "in" : "out", h->spi, sa->id);
	h->used = false;
	if (n->outbound[h->resource] == h)
		n->outbound[h->resource] = newest_outbound(n, h->resource);
}

static void backend_remove(void *context, const struct child_sa *sa, enum sa_direction which)
{
	struct sim_node *n = context;

	if (which & SA_IN)
		half_remove(n, sa, SA_IN);
	if (which & SA_OUT)
		half_remove(n, sa, SA_OUT);
}

static bool backend_move(void *context, const struct child_sa *sa, const struct esp_path *to)
{
	struct sim_node *n = context;

	(void)to;
	sim_trace(n->sim, "%u moves #%u", n->index, sa->id);
	return true;
}

static bool backend_query(void *context, const struct child_sa *sa, struct child_sa_usage *out)
{
	struct sim_node *n = context;
	const struct sim_half *in = sim_backend_find(n, SA_IN, sa->in.spi);
	const struct sim_half *out_half = sim_backend_find(n, SA_OUT, sa->out.spi);

	*out = (struct child_sa_usage){ .in_last_s = UINT64_MAX, .out_last_s = UINT64_MAX };
	if (in && in->packets) {
		out->in_packets = in->packets;
		out->in_last_s = (n->sim->now_us - in->last_us) / US_PER_S;
	}
	if (out_half && out_half->packets) {
		out->out_packets = out_half->packets;
		out->out_last_s = (n->sim->now_us - out_half->last_us) / US_PER_S;
	}
	return in || out_half;
}

void sim_backend_host(struct ike_host *host)
{
	host->alloc_spi = backend_alloc_spi;
	host->free_spi = backend_free_spi;
	host->sa_add = backend_add;
	host->sa_remove = backend_remove;
	host->sa_move = backend_move;
	host->sa_query = backend_query;
}

void sim_backend_clear(struct sim_node *n)
{
	memset(n->halves, 0, sizeof(n->halves));
	memset(n->spis, 0, sizeof(n->spis));
	memset(n->outbound, 0, sizeof(n->outbound));
}

/* --- packets --- */

/* The outbound half that nobody receives on; a node without any says so by its index 0. */
static bool direction_works(struct sim_node *from, struct sim_node *to, unsigned *broken)
{
	for (unsigned r = 0; r <= SIM_RESOURCES_MAX; r++) {
		const struct sim_half *out = from->outbound[r], *in;

		*broken = r;
		if (!out && r > 0)
			continue; /* it uses the one of all */
		in = out ? sim_backend_find(to, SA_IN, out->spi) : NULL;
		if (!in || !key_equal(&in->encr_key, &out->encr_key))
			return false;
	}
	return true;
}

bool sim_path_works(struct sim *s)
{
	unsigned broken;

	return direction_works(&s->node[0], &s->node[1], &broken) &&
	       direction_works(&s->node[1], &s->node[0], &broken);
}

void sim_path_check(struct sim *s)
{
	if (s->failed || !s->node[0].up || !s->node[1].up)
		return;
	if (!s->path_up) {
		s->path_up = sim_path_works(s);
		return;
	}
	for (unsigned i = 0; i < SIM_NODES; i++) {
		struct sim_node *n = &s->node[i];
		unsigned broken;

		if (!direction_works(n, &s->node[1 - i], &broken))
			sim_fail(s, "node %u sends on %08x, and node %u does not receive on it", i,
				 n->outbound[broken] ? n->outbound[broken]->spi : 0, 1 - i);
	}
}

void sim_packet_send(struct sim_node *n)
{
	struct sim *s = n->sim;
	uint64_t delay = s->network.delay_min_us +
			 prng_below(&s->chance, s->network.delay_max_us - s->network.delay_min_us + 1);
	struct sim_half *out = n->outbound[0];

	/* whichever resource it is that sends */
	if (n->conn->resources > 1) {
		unsigned r = 1 + (unsigned)prng_below(&s->chance, n->conn->resources);

		out = n->outbound[r] ? n->outbound[r] : out;
	}
	if (!s->path_up || !out || s->network.cut)
		return;
	n->packets_sent++;
	out->packets++;
	out->last_us = s->now_us;
	sim_event_add(s, (struct sim_event){ .at_us = s->now_us + delay, .kind = SIM_PACKET, .node = 1 - n->index,
					     .spi = out->spi, .key = out->encr_key });
}

void sim_packet_arrive(struct sim_node *n, const struct sim_event *ev)
{
	struct sim *s = n->sim;
	struct sim_half *in = sim_backend_find(n, SA_IN, ev->spi);

	if (s->network.cut || !n->engine)
		return;
	if (!in || !key_equal(&in->encr_key, &ev->key)) {
		/* after a command or an end the packets on their way are nobody's fault */
		if (s->path_up) {
			s->packets_lost++;
			sim_fail(s, "node %u has no inbound SA for a packet on %08x", n->index, ev->spi);
		}
		return;
	}
	n->packets_received++;
	in->packets++;
	in->last_us = s->now_us;
	if (!in->seen) {
		in->seen = true;
		sim_event_add(s, (struct sim_event){ .at_us = s->now_us, .kind = SIM_FIRST_PACKET,
						     .node = n->index, .arg = in->child_id });
	}
}

/* --- questions --- */

bool sim_is_up(struct sim *s)
{
	return s->path_up;
}

static size_t halves(const struct sim_node *n)
{
	size_t count = 0;

	for (size_t i = 0; i < SIM_HALVES_MAX; i++)
		count += n->halves[i].used;
	return count;
}

size_t sim_count_spis(const struct sim_node *n)
{
	size_t count = 0;

	for (size_t i = 0; i < SIM_SPIS_MAX; i++)
		count += n->spis[i] != 0;
	return count;
}

/* Each resource has one SA of its own in each direction; it may have more when the other end has more. */
static bool each_has_its_own(const struct sim_node *n, size_t more)
{
	for (unsigned r = 1; n->conn->resources > 1 && more && r <= n->conn->resources; r++) {
		size_t in = 0, out = 0;

		for (size_t i = 0; i < SIM_HALVES_MAX; i++)
			if (n->halves[i].used && n->halves[i].resource == r)
				++*(n->halves[i].direction == SA_IN ? &in : &out);
		if (!in || in != out || (n->conn->resources == more && in != 1))
			return false;
	}
	return true;
}

/* Child SAs of single resources that there should be. */
static size_t more_children(const struct sim *s)
{
	unsigned a = s->node[0].conn->resources, b = s->node[1].conn->resources;

	return a < 2 || b < 2 ? 0 : a > b ? a : b;
}

bool sim_is_quiet(struct sim *s)
{
	size_t children = 1 + more_children(s);

	for (size_t i = 0; i < SIM_NODES; i++) {
		struct sim_node *n = &s->node[i];

		if (!n->up || halves(n) != 2 * children || sim_count_spis(n) != 0 || sim_count_ike(n) != 1 ||
		    sim_count_child(n) != children || !each_has_its_own(n, children - 1))
			return false;
	}
	return sim_path_works(s);
}

bool sim_is_empty(struct sim *s)
{
	for (size_t i = 0; i < SIM_NODES; i++) {
		struct sim_node *n = &s->node[i];

		if (n->up || halves(n) != 0 || sim_count_spis(n) != 0 || sim_count_ike(n) != 0 || sim_count_child(n) != 0)
			return false;
	}
	return true;
}
