/*
 * NAT: detection, the move to port 4500, peers whose mapping changes, and
 * keepalives. RFC 7296 §2.23, RFC 3948 §2.3.
 */
#include <string.h>

#include "crypto/prf.h"
#include "ike/internal.h"

enum { IKE_PORT = 500, NAT_PORT = 4500, HASH_BYTES = 20 };

static bool nat_hash(uint64_t spi_i, uint64_t spi_r, const struct ip_endpoint *p, uint8_t out[HASH_BYTES])
{
	uint8_t buf[34];
	struct writer w = writer_new(buf, sizeof(buf));
	struct bytes part;

	writer_u64(&w, spi_i);
	writer_u64(&w, spi_r);
	writer_put_bytes(&w, ip_address_bytes(&p->address));
	writer_u16(&w, p->port);
	part = writer_bytes(&w);
	return hash_sha1(&part, 1, out);
}

void nat_put(struct ike_engine *e, const struct ike_sa *sa, struct message_builder *b)
{
	uint8_t source[HASH_BYTES], destination[HASH_BYTES];

	if (sa->conn->encapsulation == ENCAP_NO)
		return; /* a peer that hears nothing of it never encapsulates */
	if (!nat_hash(sa->spi_i, sa->spi_r, &sa->local, source) ||
	    !nat_hash(sa->spi_i, sa->spi_r, &sa->remote, destination))
		return;
	if (sa->conn->encapsulation == ENCAP_YES)
		engine_random(e, source, sizeof(source)); /* so that both ends see a NAT */
	builder_notify(b, N_NAT_DETECTION_SOURCE_IP, 0, BYTES(NULL, 0), BYTES(source, sizeof(source)));
	builder_notify(b, N_NAT_DETECTION_DESTINATION_IP, 0, BYTES(NULL, 0),
		       BYTES(destination, sizeof(destination)));
}

void nat_detect(struct ike_engine *e, struct ike_sa *sa, const struct message *m)
{
	uint8_t local[HASH_BYTES], remote[HASH_BYTES];
	bool source = false, destination = false, source_ok = false, destination_ok = false;

	if (sa->conn->encapsulation == ENCAP_NO)
		return;
	if (!nat_hash(m->header.spi_i, m->header.spi_r, &sa->local, local) ||
	    !nat_hash(m->header.spi_i, m->header.spi_r, &sa->remote, remote))
		return;
	for (size_t i = 0; i < m->notify_count; i++) {
		const struct notify *n = &m->notifies[i];

		if (n->type == N_NAT_DETECTION_SOURCE_IP) {
			source = true; /* there may be several: one must match */
			source_ok |= bytes_equal(n->data, BYTES(remote, sizeof(remote)));
		} else if (n->type == N_NAT_DETECTION_DESTINATION_IP) {
			destination = true;
			destination_ok |= bytes_equal(n->data, BYTES(local, sizeof(local)));
		}
	}
	sa->nat_known = source && destination;
	if (!sa->nat_known)
		return;
	sa->nat_remote = !source_ok;
	sa->nat_local = !destination_ok;
	sa->encap = sa->nat_remote || sa->nat_local || sa->conn->encapsulation == ENCAP_YES;
	if (sa->nat_remote || sa->nat_local)
		event_debug(e, ABOUT_IKE(sa), "NAT detected: %s%s%s", sa->nat_local ? "we are behind NAT" : "",
			    sa->nat_local && sa->nat_remote ? ", " : "",
			    sa->nat_remote ? "the peer is behind NAT" : "");
}

void nat_float(struct ike_sa *sa)
{
	if (!sa->encap)
		return;
	if (sa->local.port == IKE_PORT)
		sa->local.port = NAT_PORT;
	if (sa->remote.port == IKE_PORT)
		sa->remote.port = NAT_PORT;
}

void nat_follow(struct ike_engine *e, struct ike_sa *sa, const struct ip_endpoint *local,
		const struct ip_endpoint *remote)
{
	struct child *c;
	bool floated = sa->state == IKE_STATE_INIT_R; /* the initiator moves to 4500 with IKE_AUTH */

	if (ip_endpoint_equal(&sa->remote, remote) && ip_endpoint_equal(&sa->local, local))
		return;
	/* Only a peer behind NAT may move, and only when we are not: nobody else's mapping changes. */
	if (!floated && (!sa->nat_remote || sa->nat_local))
		return;
	sa->local = *local;
	sa->remote = *remote;
	TAILQ_FOREACH(c, &sa->children, of_ike)
		child_move(e, sa, c);
}

void nat_keepalive_arm(struct ike_engine *e, struct ike_sa *sa)
{
	if (sa->nat_local && sa->conn->nat_keepalive_us && ike_sa_is_up(sa))
		timer_arm(e->wheel, &sa->keepalive_timer, e->now + sa->conn->nat_keepalive_us);
}

/** When we last sent anything that keeps the mapping: IKE or ESP. */
static uint64_t nat_last_sent(struct ike_engine *e, const struct ike_sa *sa)
{
	uint64_t last = sa->last_sent_us;
	struct child *c;

	TAILQ_FOREACH(c, &sa->children, of_ike) {
		struct child_sa_usage usage;

		if (!child_usage(e, c, &usage))
			continue;
		if (usage.out_last_s < e->now / US_PER_S && e->now - usage.out_last_s * US_PER_S > last)
			last = e->now - usage.out_last_s * US_PER_S;
	}
	return last;
}

void nat_keepalive_due(struct timer *t, void *context)
{
	struct ike_engine *e = context;
	struct ike_sa *sa = (struct ike_sa *)((char *)t - offsetof(struct ike_sa, keepalive_timer));
	uint8_t one = 0xff;

	if (e->now - nat_last_sent(e, sa) + US_PER_S >= sa->conn->nat_keepalive_us)
		e->host->send(e->host->context, &sa->local, &sa->remote, BYTES(&one, 1));
	nat_keepalive_arm(e, sa);
}
