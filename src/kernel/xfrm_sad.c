/* States: SPIs, adding and removing the halves of Child SAs, moving them to other addresses. */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/secret.h"
#include "kernel/xfrm_internal.h"

enum {
	SPI_MIN = 0x1000, /* those below 256 are reserved (RFC 4303 §2.1), the next are for tests */
	SPI_TRIES = 64, /* each hits one of n SPIs in use by n / 2^32 */
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
	if ((half & SA_OUT) != 0 && c->has_out) {
		/* NOLINTNEXTLINE(clang-analyzer-*): uthash keeps its table while it has an element */
		HASH_DELETE(hh_out, x->children_by_out, c);
		c->has_out = false;
	}
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

static struct xfrm_out_key out_key(const struct ip_address *dst, uint32_t spi)
{
	return (struct xfrm_out_key){ .dst = xfrm_address_put(dst), .family = dst->family, .spi = spi };
}

/** The outbound half is in the kernel under the name `id`. */
static void child_has_out(struct xfrm_backend *x, struct xfrm_child *c,
			  const struct xfrm_state_id *id)
{
	if (c->has_out)
		HASH_DELETE(hh_out, x->children_by_out, c);
	c->out = *id;
	c->out_key = out_key(&id->dst, id->spi);
	c->has_out = true;
	HASH_ADD(hh_out, x->children_by_out, out_key, sizeof(c->out_key), c);
}

struct xfrm_child *xfrm_child_by_out(struct xfrm_backend *x, const struct ip_address *dst,
				     uint32_t spi)
{
	struct xfrm_out_key key = out_key(dst, spi);
	struct xfrm_child *c;

	HASH_FIND(hh_out, x->children_by_out, &key, sizeof(key), c);
	return c;
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

/** Give the state that waits for an acquire of this kind an SPI, by which it can be named. */
static void name_larval(struct xfrm_backend *x, const struct ip_address *dst,
			const struct ip_address *src, uint32_t reqid, enum ipsec_mode mode,
			uint32_t *spi)
{
	union request r;
	struct new_spi n = { 0 };

	if (xfrm_state_encode_alloc(&r.header, sizeof(r), dst, src, reqid, mode, SPI_MIN, UINT32_MAX) &&
	    netlink_query(&x->requests, &r.header, take_spi, &n, NULL) == 0)
		*spi = n.spi;
}

static struct xfrm_spi *spi_find(struct xfrm_backend *x, uint32_t spi)
{
	struct xfrm_spi *s;

	HASH_FIND(hh, x->spis, &spi, sizeof(spi), s);
	return s;
}

static void spi_release(struct xfrm_backend *x, struct xfrm_spi *s)
{
	if (s == NULL)
		return;
	/* NOLINTNEXTLINE(clang-analyzer-*): uthash keeps its table while it has an element */
	HASH_DELETE(hh, x->spis, s);
	free(s);
}

/** A number that no child of ours has or was promised; 0 with errno. */
static uint32_t spi_choose(struct xfrm_backend *x)
{
	for (int i = 0; i < SPI_TRIES; i++) {
		struct xfrm_child *c;
		uint32_t spi;

		if (x->random_left == 0) {
			if (getrandom(x->random, sizeof(x->random), 0) != (ssize_t)sizeof(x->random))
				return 0;
			x->random_left = XFRM_RANDOM_WORDS;
		}
		spi = x->random[--x->random_left];
		HASH_FIND(hh_spi, x->children_by_spi, &spi, sizeof(spi), c);
		if (spi >= SPI_MIN && c == NULL && spi_find(x, spi) == NULL)
			return spi;
	}
	errno = ENOSPC;
	return 0;
}

unsigned xfrm_resources(struct backend *b)
{
	(void)b;
	return 1; /* SAs of a processor (XFRMA_SA_PCPU) are not asked for */
}

/*
 * The receiver chooses the SPI (RFC 4301 §4.1), and we know all that we receive by: the kernel
 * need not be asked. A state that something else made with the same number and address makes
 * the kernel refuse ours when it is added; nothing is replaced then.
 */
uint32_t xfrm_alloc_spi(struct backend *b, const struct ip_address *local,
			const struct ip_address *remote, uint32_t reqid, unsigned resource,
			struct backend_error *err)
{
	struct xfrm_backend *x = xfrm_of(b);
	struct xfrm_spi *s = calloc(1, sizeof(*s));
	char text[IP_ADDRESS_TEXT];

	(void)local;
	(void)reqid;
	(void)resource;
	if (s != NULL)
		s->spi = spi_choose(x);
	if (s == NULL || s->spi == 0) {
		xfrm_fail(err, errno, NULL, "no SPI for packets from %s", ip_address_format(remote, text));
		free(s);
		return 0;
	}
	HASH_ADD(hh, x->spis, spi, sizeof(s->spi), s);
	return s->spi;
}

void xfrm_free_spi(struct backend *b, const struct ip_address *local, uint32_t spi)
{
	struct xfrm_backend *x = xfrm_of(b);

	(void)local;
	spi_release(x, spi_find(x, spi));
}

static void queue_delete(struct xfrm_backend *x, const struct xfrm_state_id *id)
{
	size_t room;
	struct nlmsghdr *m = netlink_batch_next(x->batch, &room);

	netlink_batch_commit(x->batch, m != NULL && xfrm_state_encode_id(m, room, XFRM_MSG_DELSA, id));
}

static void queue_add(struct xfrm_backend *x, const struct child_sa *sa, enum sa_direction d)
{
	size_t room;
	struct nlmsghdr *m = netlink_batch_next(x->batch, &room);

	netlink_batch_commit(x->batch,
			     m != NULL && xfrm_state_encode(m, room, XFRM_MSG_NEWSA, sa, d, NULL));
}

/** What became of each half that was to be added: 0 or errno. */
struct added {
	int in, out;
	char why[NETLINK_WHY_MAX]; /* the kernel's words on the first that failed */
};

/** The peer chose an SPI that something we no longer know of has left: put ours in its place. */
static void replace_out(struct xfrm_backend *x, const struct child_sa *sa,
			const struct xfrm_state_id *id, struct added *a)
{
	netlink_batch_reset(x->batch);
	queue_delete(x, id);
	queue_add(x, sa, SA_OUT);
	netlink_run(&x->requests, x->batch);
	a->out = x->batch->error[1];
	memcpy(a->why, x->batch->why, sizeof(a->why));
}

/** Take back what was added of a Child SA that was refused. An answer that is lost may be a yes. */
static void take_back(struct xfrm_backend *x, const struct child_sa *sa, enum sa_direction which,
		      const struct added *a)
{
	netlink_batch_reset(x->batch);
	for (enum sa_direction d = SA_OUT; d >= SA_IN; d--) {
		int error = d == SA_IN ? a->in : a->out;
		struct xfrm_state_id id = xfrm_state_id_of(sa, d);

		if ((which & d) != 0 && (error == 0 || error == ETIMEDOUT))
			queue_delete(x, &id);
	}
	netlink_run(&x->requests, x->batch);
}

/**
 * Both halves by one system call, the inbound one first: what the peer sends in answer to the
 * first packet has to find it. False: nothing is left of either.
 */
static bool add_halves(struct xfrm_backend *x, const struct child_sa *sa, enum sa_direction which,
		       struct added *a)
{
	struct xfrm_state_id out = xfrm_state_id_of(sa, SA_OUT);
	const struct xfrm_child *has = xfrm_child_by_out(x, &out.dst, out.spi);
	size_t n = 0;

	*a = (struct added){ 0 };
	netlink_batch_reset(x->batch);
	for (enum sa_direction d = SA_IN; d <= SA_OUT; d++)
		if ((which & d) != 0)
			queue_add(x, sa, d);
	netlink_run(&x->requests, x->batch);
	if (x->batch->bad) {
		a->in = a->out = EMSGSIZE; /* none was sent */
		return false;
	}
	if ((which & SA_IN) != 0)
		a->in = x->batch->error[n++];
	if ((which & SA_OUT) != 0)
		a->out = x->batch->error[n];
	memcpy(a->why, x->batch->why, sizeof(a->why));
	if (a->in == 0 && a->out == EEXIST && (has == NULL || has->id == sa->id))
		replace_out(x, sa, &out, a);
	if (a->in == 0 && a->out == 0)
		return true;
	take_back(x, sa, which, a);
	return false;
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
	struct xfrm_state_id in = xfrm_state_id_of(sa, SA_IN), out = xfrm_state_id_of(sa, SA_OUT);
	char alg[PROPOSAL_TEXT];
	struct added a;

	if (c == NULL) {
		if (err->text[0] == '\0')
			xfrm_fail(err, ENOMEM, NULL, "no SA added");
		return false;
	}
	if (!add_halves(x, sa, which, &a)) {
		bool inbound = (which & SA_IN) != 0 && a.in != 0;

		xfrm_fail(err, inbound ? a.in : a.out, a.why, "%s SA 0x%08x (%s) not added",
			  inbound ? "inbound" : "outbound", inbound ? in.spi : out.spi,
			  suite_format_esp(&sa->suite, alg, sizeof(alg)));
		xfrm_child_gone(x, c, 0);
		return false;
	}
	c->path = sa->path;
	if ((which & SA_IN) != 0) {
		spi_release(x, spi_find(x, in.spi));
		child_has_in(x, c, &in);
	}
	if ((which & SA_OUT) != 0)
		child_has_out(x, c, &out);
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
	netlink_batch_reset(x->batch);
	if ((which & SA_OUT) != 0 && c->has_out)
		queue_delete(x, &c->out);
	if ((which & SA_IN) != 0 && c->has_in)
		queue_delete(x, &c->in);
	netlink_run(&x->requests, x->batch); /* one that is gone already is no loss */
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
		struct xfrm_state_id out = xfrm_state_id_of(moved, SA_OUT);

		c->path = *to;
		if (c->has_out)
			child_has_out(x, c, &out);
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
			name_larval(x, &s->id.dst, &s->id.src, s->reqid, s->mode, &s->id.spi);
	}
	while (i < f->count) {
		netlink_batch_reset(x->batch);
		for (; i < f->count && netlink_batch_has_room(x->batch, 1); i++)
			queue_delete(x, &f->state[i].id);
		netlink_run(&x->requests, x->batch); /* one that is gone already is no loss */
	}
}

bool xfrm_sad_clear(struct xfrm_backend *x, struct backend_error *err)
{
	struct found f = { 0 };
	struct xfrm_child *c, *tmp;
	struct xfrm_spi *s, *stmp;
	char why[NETLINK_WHY_MAX];
	union request r;
	int error = EMSGSIZE;

	HASH_ITER(hh, x->children, c, tmp)
		xfrm_child_gone(x, c, SA_BOTH);
	HASH_ITER(hh, x->spis, s, stmp)
		spi_release(x, s);
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
