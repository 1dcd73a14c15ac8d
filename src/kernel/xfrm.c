/* The XFRM back end: probing, opening, closing, and the table of its operations. */
#include <errno.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/secret.h"
#include "kernel/xfrm_internal.h"

enum { POLL_MS = 100, PROBE_REQID = 1, PROBE_KEY_BYTES = 20 };

static void xfrm_close(struct backend *b, bool keep)
{
	struct xfrm_backend *x = xfrm_of(b);
	struct backend_error err = { "" };

	/* policies first: a packet between the two would leave a state that waits for an acquire */
	if (x->requests.fd >= 0) {
		xfrm_spd_close(x, keep);
		if (!xfrm_sad_clear(x, &err))
			log_warning("%s", err.text);
	}
	netlink_close(&x->requests);
	netlink_close(&x->multicast);
	if (x->timer >= 0)
		close(x->timer);
	secret_free(x->batch);
	free(x);
}

static const struct backend_ops ops = {
	.name = "xfrm",
	.close = xfrm_close,
	.resources = xfrm_resources,
	.alloc_spi = xfrm_alloc_spi,
	.free_spi = xfrm_free_spi,
	.add = xfrm_add,
	.remove = xfrm_remove,
	.move = xfrm_move,
	.query = xfrm_query,
	.policy_set = xfrm_policy_set,
	.policy_remove = xfrm_policy_remove,
	.udp_socket = xfrm_udp_socket,
	.fds = xfrm_fds,
	.process = xfrm_process,
	.describe = xfrm_describe,
	.status = xfrm_status,
};

struct backend *xfrm_backend_new(const struct backend_events *events,
				 const struct xfrm_options *options, struct backend_error *err)
{
	struct xfrm_backend *x = calloc(1, sizeof(*x));
	bool ok;

	err->text[0] = '\0';
	if (x == NULL) {
		xfrm_fail(err, ENOMEM, NULL, "cannot use the kernel's ESP");
		return NULL;
	}
	x->base.ops = &ops;
	x->events = *events;
	x->poll_ms = options != NULL && options->poll_ms > 0 ? options->poll_ms : POLL_MS;
	x->multicast.fd = -1;
	x->timer = -1;
	TAILQ_INIT(&x->waiting);
	x->batch = secret_alloc(sizeof(*x->batch));
	ok = netlink_open(&x->requests, NETLINK_XFRM) && x->batch != NULL && xfrm_events_open(x);
	if (!ok)
		xfrm_fail(err, errno, NULL, "cannot use the kernel's ESP");
	ok = ok && xfrm_spd_adopt(x, err) && xfrm_sad_clear(x, err) && xfrm_spd_basic(x, err);
	if (ok && options != NULL && options->gather && !xfrm_spd_gather(x))
		ok = xfrm_fail(err, ENOMEM, NULL, "cannot use the kernel's ESP");
	if (!ok) {
		/* whatever a predecessor left goes on dropping */
		xfrm_close((struct backend *)x, true);
		return NULL;
	}
	return (struct backend *)x;
}

/** An SA from this host to itself that no policy refers to. */
static struct child_sa *probe_sa(void)
{
	static const uint8_t loopback[4] = { 127, 0, 0, 1 };
	struct child_sa *sa = secret_alloc(sizeof(*sa));
	uint8_t key[PROBE_KEY_BYTES] = { 0 };

	if (sa == NULL)
		return NULL;
	sa->reqid = PROBE_REQID;
	sa->mode = MODE_TUNNEL;
	sa->encap_dscp = true;
	sa->path.local.address = ip_address_from_bytes(BYTES(loopback, sizeof(loopback)));
	sa->path.remote.address = sa->path.local.address;
	sa->suite.encr = algorithm_find(TRANSFORM_ENCR, ENCR_AES_GCM_16);
	sa->suite.encr_bits = 128;
	sa->out.spi = 0x100 + (uint32_t)getpid();
	key_set(&sa->out.encr_key, key, sizeof(key));
	return sa;
}

static bool probe_with(struct netlink *nl, struct netlink_batch *batch, const struct child_sa *sa,
		       struct backend_error *why)
{
	struct xfrm_state_id id = xfrm_state_id_of(sa, SA_OUT);
	size_t room;
	struct nlmsghdr *m = netlink_batch_next(batch, &room);
	int error;

	netlink_batch_commit(batch, xfrm_state_encode(m, room, XFRM_MSG_NEWSA, sa, SA_OUT, NULL));
	m = netlink_batch_next(batch, &room);
	netlink_batch_commit(batch, xfrm_state_encode_id(m, room, XFRM_MSG_DELSA, &id));
	netlink_run(nl, batch);
	error = batch->error[0];
	if (error == 0 || error == EEXIST)
		return true;
	if (error == EPERM || error == ETIMEDOUT || error == ENOMEM)
		return xfrm_fail(why, error, batch->why, "the kernel's ESP cannot be tried");
	snprintf(why->text, sizeof(why->text),
		 "the kernel has no ESP with AES-GCM (%s); it needs CONFIG_INET_ESP and "
		 "CONFIG_CRYPTO_GCM, or their modules esp4 and gcm",
		 batch->why[0] != '\0' ? batch->why : strerror(error));
	return false;
}

bool xfrm_probe(struct backend_error *why)
{
	struct netlink nl;
	struct netlink_batch *batch = secret_alloc(sizeof(*batch));
	struct child_sa *sa = probe_sa();
	bool ok = false;

	why->text[0] = '\0';
	if (batch == NULL || sa == NULL) {
		xfrm_fail(why, ENOMEM, NULL, "the kernel's ESP cannot be tried");
	} else if (!netlink_open(&nl, NETLINK_XFRM)) {
		if (errno == EPROTONOSUPPORT || errno == EAFNOSUPPORT)
			snprintf(why->text, sizeof(why->text),
				 "the kernel has no XFRM; it needs CONFIG_XFRM_USER, or the "
				 "module xfrm_user");
		else
			xfrm_fail(why, errno, NULL, "the kernel's XFRM cannot be asked");
	} else {
		ok = probe_with(&nl, batch, sa, why);
		netlink_close(&nl);
	}
	secret_free(sa);
	secret_free(batch);
	return ok;
}
