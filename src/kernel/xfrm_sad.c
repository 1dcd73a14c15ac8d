/* States: SPIs, adding and removing the halves of Child SAs, moving them to other addresses. */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/secret.h"
#include "kernel/xfrm_internal.h"

enum {
	SPI_MIN = 0x1000, /* those below 256 are reserved (RFC 4303 §2.1), the next are for tests */
	MOVE_SKIP = 1 << 16, /* numbers that may be used up between asking and moving */
};

/** A message for a single request. */
union request {
	struct nlmsghdr header;
	uint8_t bytes[1024];
};

struct xfrm_child *xfrm_child_find(struct xfrm_backend *x, uint32_t id)
{
	struct xfrm_child *c;

	HASH_FIND(hh, x->children, &id, sizeof(id), c);
	return c;
}

static struct xfrm_child *child_make(struct xfrm_backend *x, const struct child_sa *sa)
{
	struct xfrm_child *c = xfrm_child_find(x, sa->id);

	if (c != NULL)
		return c;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return NULL;
	c->id = sa->id;
	c->reqid = sa->reqid;
	HASH_ADD(hh, x->children, id, sizeof(c->id), c);
	return c;
}

void xfrm_child_gone(struct xfrm_backend *x, struct xfrm_child *c, enum sa_direction half)
{
	if ((half & SA_IN) != 0 && c->has_in) {
		HASH_DELETE(hh_spi, x->children_by_spi, c);
		c->has_in = false;
		xfrm_wait_end(x, c);
	}
	if ((half & SA_OUT) != 0)
		c->has_out = false;
	if (c->has_in || c->has_out)
		return;
	/* NOLINTNEXTLINE(clang-analyzer-*): uthash keeps its table while it has an element */
	HASH_DELETE(hh, x->children, c);
	free(c);
}

/** The inbound half is in the kernel under the SPI of `id`. */
static void child_has_in(struct xfrm_backend *x, struct xfrm_child *c,
			 const struct xfrm_state_id *id)
{
	if (c->has_in)
		HASH_DELETE(hh_spi, x->children_by_spi, c);
	c->in = *id;
	c->spi_in = id->spi;
	c->has_in = true;
	HASH_ADD(hh_spi, x->children_by_spi, spi_in, sizeof(c->spi_in), c);
}

struct new_spi {
	uint32_t spi;
};

static void take_spi(const struct nlmsghdr *m, void *context)
{
	struct xfrm_state_view v;
	struct new_spi *n = context;

	if (m->nlmsg_type == XFRM_MSG_NEWSA && xfrm_state_decode(m, &v))
		n->spi = v.id.spi;
}

static int alloc(struct xfrm_backend *x, const struct ip_address *local,
		 const struct ip_address *remote, uint32_t reqid, enum ipsec_mode mode,
		 uint32_t *spi, char *why)
{
	union request r;
	struct new_spi n = { 0 };
	int error;

	*spi = 0;
	if (why != NULL)
		why[0] = '\0';
	if (!xfrm_state_encode_alloc(&r.header, sizeof(r), local, remote, reqid, mode, SPI_MIN,
				     UINT32_MAX))
		return EMSGSIZE;
	error = netlink_query(&x->requests, &r.header, take_spi, &n, why);
	*spi = error == 0 ? n.spi : 0;
	return error;
}

uint32_t xfrm_alloc_spi(struct backend *b, const struct ip_address *local,
			const struct ip_address *remote, uint32_t reqid, struct backend_error *err)
{
	char why[NETLINK_WHY_MAX], text[IP_ADDRESS_TEXT];
	uint32_t spi;
	int error = alloc(xfrm_of(b), local, remote, reqid, MODE_TUNNEL, &spi, why);

	if (error != 0 || spi == 0)
		xfrm_fail(err, error != 0 ? error : EBADMSG, why, "no SPI for packets from %s",
			  ip_address_format(remote, text));
	return spi;
}

/** Delete one state; one that is not there is no error. */
static int delete_state(struct xfrm_backend *x, const struct xfrm_state_id *id)
{
	size_t room;
	struct nlmsghdr *m;

	netlink_batch_reset(x->batch);
	m = netlink_batch_next(x->batch, &room);
	netlink_batch_commit(x->batch, xfrm_state_encode_id(m, room, XFRM_MSG_DELSA, id));
	if (netlink_run(&x->requests, x->batch) || netlink_batch_error(x->batch) == ESRCH)
		return 0;
	return netlink_batch_error(x->batch);
}

void xfrm_free_spi(struct backend *b, const struct ip_address *local, uint32_t spi)
{
	struct xfrm_state_id id = { .src = *local, .dst = *local, .spi = spi };

	delete_state(xfrm_of(b), &id);
}

/** Send one state; 0 or errno, the kernel's words stay in the batch. */
static int send_state(struct xfrm_backend *x, uint16_t type, const struct child_sa *sa,
		      enum sa_direction direction)
{
	size_t room;
	struct nlmsghdr *m;

	netlink_batch_reset(x->batch);
	m = netlink_batch_next(x->batch, &room);
	netlink_batch_commit(x->batch, xfrm_state_encode(m, room, type, sa, direction, NULL));
	netlink_run(&x->requests, x->batch);
	return netlink_batch_error(x->batch);
}

/** Another child of ours has a state of this name. */
static bool outbound_taken(struct xfrm_backend *x, uint32_t id, const struct xfrm_state_id *out)
{
	struct xfrm_child *c, *tmp;

	HASH_ITER(hh, x->children, c, tmp)
		if (c->id != id && c->has_out && c->out.spi == out->spi &&
		    ip_address_equal(&c->out.dst, &out->dst))
			return true;
	return false;
}

static int add_half(struct xfrm_backend *x, const struct child_sa *sa, enum sa_direction direction,
		    const struct xfrm_state_id *id)
{
	int error;

	if (direction == SA_IN) {
		/* completes what ALLOCSPI began, unless the kernel has given it up meanwhile */
		error = send_state(x, XFRM_MSG_UPDSA, sa, SA_IN);
		return error == ESRCH ? send_state(x, XFRM_MSG_NEWSA, sa, SA_IN) : error;
	}
	error = send_state(x, XFRM_MSG_NEWSA, sa, SA_OUT);
	if (error == EEXIST && !outbound_taken(x, sa->id, id)) {
		/* the peer chose an SPI that something we no longer know of has left */
		delete_state(x, id);
		error = send_state(x, XFRM_MSG_NEWSA, sa, SA_OUT);
	}
	return error;
}

/** The encoder's only reason to refuse: an algorithm that XFRM has no name for. */
static bool suite_fits(const struct child_sa *sa, struct backend_error *err)
{
	const struct cipher_suite *s = &sa->suite;
	const struct algorithm *a = s->encr;

	if (a != NULL && a->xfrm != NULL && !a->aead)
		a = s->integ;
	if (a != NULL && a->xfrm != NULL)
		return true;
	snprintf(err->text, sizeof(err->text), "the kernel has no %s; choose another one with esp=",
		 a != NULL ? a->name : "ESP without protection");
	return false;
}

bool xfrm_add(struct backend *b, const struct child_sa *sa, enum sa_direction which,
	      struct backend_error *err)
{
	struct xfrm_backend *x = xfrm_of(b);
	struct xfrm_child *c = suite_fits(sa, err) ? child_make(x, sa) : NULL;
	enum sa_direction done = 0;

	if (c == NULL) {
		if (err->text[0] == '\0')
			xfrm_fail(err, ENOMEM, NULL, "no SA added");
		return false;
	}
	c->path = sa->path;
	for (enum sa_direction d = SA_IN; d <= SA_OUT; d++) {
		struct xfrm_state_id id = xfrm_state_id_of(sa, d);
		char alg[PROPOSAL_TEXT];
		int error;

		if ((which & d) == 0)
			continue;
		error = add_half(x, sa, d, &id);
		if (error != 0) {
			xfrm_fail(err, error, x->batch->why, "%s SA 0x%08x (%s) not added",
				  d == SA_IN ? "inbound" : "outbound", id.spi,
				  suite_format_esp(&sa->suite, alg, sizeof(alg)));
			if (done != 0)
				xfrm_remove(b, sa, done);
			else
				xfrm_child_gone(x, c, 0);
			return false;
		}
		done |= d;
		if (d == SA_IN) {
			child_has_in(x, c, &id);
		} else {
			c->out = id;
			c->has_out = true;
		}
	}
	if (c->has_out)
		xfrm_wait_end(x, c);
	else
		xfrm_wait_first_packet(x, c);
	return true;
}

void xfrm_remove(struct backend *b, const struct child_sa *sa, enum sa_direction which)
{
	struct xfrm_backend *x = xfrm_of(b);
	struct xfrm_child *c = xfrm_child_find(x, sa->id);

	if (c == NULL)
		return;
	/* what is sent ends first: the peer may still send what is under way */
	if ((which & SA_OUT) != 0 && c->has_out)
		delete_state(x, &c->out);
	if ((which & SA_IN) != 0 && c->has_in)
		delete_state(x, &c->in);
	xfrm_child_gone(x, c, which);
}

int xfrm_state_ask(struct xfrm_backend *x, const struct xfrm_state_id *id, netlink_message_fn *fn,
		   void *context, char *why)
{
	union request r;

	if (!xfrm_state_encode_id(&r.header, sizeof(r), XFRM_MSG_GETSA, id))
		return EMSGSIZE;
	return netlink_query(&x->requests, &r.header, fn, context, why);
}

struct moving {
	struct xfrm_progress progress;
	uint32_t skip;
	bool found;
};

static void take_progress(const struct nlmsghdr *m, void *context)
{
	struct xfrm_state_view v;
	struct moving *moving = context;

	if (m->nlmsg_type != XFRM_MSG_NEWSA || !xfrm_state_decode(m, &v))
		return;
	xfrm_state_progress(&v, moving->skip, &moving->progress);
	moving->found = true;
}

/** Ports alone have changed: the kernel takes new ones for a state in place. */
static bool only_ports_change(const struct esp_path *from, const struct esp_path *to)
{
	return from->udp_encap && to->udp_encap &&
	       ip_address_equal(&from->local.address, &to->local.address) &&
	       ip_address_equal(&from->remote.address, &to->remote.address);
}

/** Queue the move of one half: the old state goes and one with its keys and numbers comes. */
static int queue_move(struct xfrm_backend *x, const struct child_sa *sa, enum sa_direction d,
		      const struct xfrm_state_id *old)
{
	struct moving moving = { .skip = d == SA_OUT ? MOVE_SKIP : 0 };
	struct xfrm_state_id new = xfrm_state_id_of(sa, d);
	/* a state is known by its destination and SPI: the new one can come first if they differ */
	bool first = !ip_address_equal(&old->dst, &new.dst);
	int error = xfrm_state_ask(x, old, take_progress, &moving, NULL);

	if (error != 0 || !moving.found)
		return error != 0 ? error : EBADMSG;
	for (int step = 0; step < 2; step++) {
		size_t room;
		struct nlmsghdr *m = netlink_batch_next(x->batch, &room);
		bool add = (step == 0) == first, ok = m != NULL;

		if (ok && add)
			ok = xfrm_state_encode(m, room, XFRM_MSG_NEWSA, sa, d, &moving.progress);
		else if (ok)
			ok = xfrm_state_encode_id(m, room, XFRM_MSG_DELSA, old);
		if (!netlink_batch_commit(x->batch, ok))
			return EMSGSIZE;
	}
	return 0;
}

static int move_child(struct xfrm_backend *x, struct xfrm_child *c, const struct child_sa *sa)
{
	bool ports = only_ports_change(&c->path, &sa->path);
	int error = 0;

	netlink_batch_reset(x->batch);
	for (enum sa_direction d = SA_IN; d <= SA_OUT && error == 0; d++) {
		size_t room;

		if (!(d == SA_IN ? c->has_in : c->has_out))
			continue;
		if (!ports) {
			error = queue_move(x, sa, d, d == SA_IN ? &c->in : &c->out);
			continue;
		}
		struct nlmsghdr *m = netlink_batch_next(x->batch, &room);

		netlink_batch_commit(x->batch, xfrm_state_encode(m, room, XFRM_MSG_UPDSA, sa, d, NULL));
	}
	if (error != 0)
		return error;
	netlink_run(&x->requests, x->batch);
	return netlink_batch_error(x->batch);
}

bool xfrm_move(struct backend *b, const struct child_sa *sa, const struct esp_path *to,
	       struct backend_error *err)
{
	struct xfrm_backend *x = xfrm_of(b);
	struct xfrm_child *c = xfrm_child_find(x, sa->id);
	struct child_sa *moved = c != NULL ? secret_alloc(sizeof(*moved)) : NULL;
	char text[IP_ENDPOINT_TEXT];
	int error;

	if (moved == NULL)
		return xfrm_fail(err, c == NULL ? ESRCH : ENOMEM, NULL, "SA not moved");
	*moved = *sa;
	moved->path = *to;
	error = move_child(x, c, moved);
	if (error == 0) {
		struct xfrm_state_id in = xfrm_state_id_of(moved, SA_IN);

		c->path = *to;
		c->out = xfrm_state_id_of(moved, SA_OUT);
		if (c->has_in)
			child_has_in(x, c, &in);
	} else {
		xfrm_fail(err, error, x->batch->why, "SA not moved to %s",
			  ip_endpoint_format(&to->remote, text));
	}
	secret_free(moved);
	return error == 0;
}

/** States of ours that a dump has found. */
struct found {
	size_t count, cap;
	bool no_memory;
	struct found_state {
		struct xfrm_state_id id;
		uint32_t reqid;
		enum ipsec_mode mode;
	} *state;
};

static void collect(const struct nlmsghdr *m, void *context)
{
	struct found *f = context;
	struct xfrm_state_view v;

	if (m->nlmsg_type != XFRM_MSG_NEWSA || !xfrm_state_decode(m, &v) ||
	    v.info.reqid < XFRM_REQID_FIRST)
		return;
	if (f->count == f->cap) {
		size_t cap = f->cap == 0 ? 64 : f->cap * 2;
		struct found_state *s = realloc(f->state, cap * sizeof(*s));

		f->no_memory = s == NULL;
		if (s == NULL)
			return;
		f->state = s;
		f->cap = cap;
	}
	f->state[f->count++] = (struct found_state){
		.id = v.id,
		.reqid = v.info.reqid,
		.mode = v.info.mode == XFRM_MODE_TUNNEL ? MODE_TUNNEL : MODE_TRANSPORT,
	};
}

/** Delete what was found, in batches. States that wait for an acquire get an SPI to be named by. */
static void delete_found(struct xfrm_backend *x, struct found *f)
{
	size_t i = 0;

	for (size_t k = 0; k < f->count; k++) {
		struct found_state *s = &f->state[k];

		if (s->id.spi == 0)
			alloc(x, &s->id.dst, &s->id.src, s->reqid, s->mode, &s->id.spi, NULL);
	}
	while (i < f->count) {
		netlink_batch_reset(x->batch);
		for (; i < f->count && netlink_batch_has_room(x->batch, 1); i++) {
			size_t room;
			struct nlmsghdr *m = netlink_batch_next(x->batch, &room);

			netlink_batch_commit(x->batch, xfrm_state_encode_id(m, room, XFRM_MSG_DELSA,
									   &f->state[i].id));
		}
		netlink_run(&x->requests, x->batch); /* one that is gone already is no loss */
	}
}

bool xfrm_sad_clear(struct xfrm_backend *x, struct backend_error *err)
{
	struct found f = { 0 };
	struct xfrm_child *c, *tmp;
	char why[NETLINK_WHY_MAX];
	union request r;
	int error = EMSGSIZE;

	HASH_ITER(hh, x->children, c, tmp)
		xfrm_child_gone(x, c, SA_BOTH);
	if (xfrm_state_encode_dump(&r.header, sizeof(r)))
		error = netlink_query(&x->requests, &r.header, collect, &f, why);
	if (error == 0 && f.no_memory)
		error = ENOMEM;
	if (error != 0)
		xfrm_fail(err, error, why, "cannot list the kernel's SAs");
	else if (f.count > 0)
		delete_found(x, &f);
	free(f.state);
	return error == 0;
}
