#include "conn/orient.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* One end as far as its address can be known. */
struct end_address {
	enum lookup_result result;
	struct ip_address address; /* AF_UNSPEC: any */
	bool ours;                 /* on this machine */
};

static uint8_t end_family(const struct end_config *end)
{
	return end->host == HOST_ADDRESS ? end->address.family : AF_UNSPEC;
}

static struct end_address end_address(const struct end_config *end, const struct end_config *other,
				      const struct orient_host *host)
{
	struct end_address a = { .result = LOOKUP_OK };

	switch (end->host) {
	case HOST_ADDRESS:
		a.address = end->address;
		break;
	case HOST_NAME:
	case HOST_INTERFACE:
	case HOST_DEFAULTROUTE:
		a.result = host->lookup(host->context, end->host, end->name, end_family(other), &a.address);
		break;
	case HOST_ANY:
	case HOST_UNSET:
		return a;
	}
	a.ours = a.result == LOOKUP_OK && host->is_local(host->context, &a.address);
	return a;
}

static const char *end_text(const struct end_config *end, char *buf, size_t len)
{
	char address[IP_ADDRESS_TEXT];

	switch (end->host) {
	case HOST_ADDRESS:
		snprintf(buf, len, "%s", ip_address_format(&end->address, address));
		break;
	case HOST_NAME:
		snprintf(buf, len, "%.80s", end->name);
		break;
	case HOST_INTERFACE:
		snprintf(buf, len, "%%%.20s", end->name);
		break;
	case HOST_DEFAULTROUTE:
		snprintf(buf, len, "%%defaultroute");
		break;
	case HOST_ANY:
	case HOST_UNSET:
		snprintf(buf, len, "%%any");
		break;
	}
	return buf;
}

/* The identity as written, or the address of the name that it is. */
static enum lookup_result end_identity(const struct end_config *end, uint8_t family,
				       const struct orient_host *host, struct identity *out)
{
	struct ip_address address = { 0 };
	char name[IDENTITY_MAX + 1];

	*out = end->id;
	if (end->id_any)
		out->type = IDENTITY_NONE;
	if (!end->id_from_host_name || end->id.type != IDENTITY_FQDN || end->id.len >= sizeof(name))
		return LOOKUP_OK;
	memcpy(name, end->id.data, end->id.len);
	name[end->id.len] = '\0';
	enum lookup_result r = host->lookup(host->context, HOST_NAME, name, family, &address);
	if (r == LOOKUP_OK)
		*out = identity_from_address(&address);
	/* a name without an address is still a good identity */
	return r == LOOKUP_PENDING ? r : LOOKUP_OK;
}

/* One end is ours, and the other one's name has no address. */
static void orient_half(const struct end_address *left, const struct end_address *right, struct orientation *out)
{
	const struct end_address *local = left->ours ? left : right, *remote = left->ours ? right : left;

	out->half = local->ours && remote->result != LOOKUP_OK;
	out->left_is_local = left->ours;
	out->local = local->address;
}

static void orient_decide(const struct conn_config *c, const struct end_address *left,
			  const struct end_address *right, struct orientation *out)
{
	char l[100], r[100];

	end_text(&c->left, l, sizeof(l));
	end_text(&c->right, r, sizeof(r));
	if (left->result == LOOKUP_PENDING || right->result == LOOKUP_PENDING) {
		out->state = ORIENT_WAITING;
		snprintf(out->text, sizeof(out->text), "waiting for the address of %s",
			 left->result == LOOKUP_PENDING ? l : r);
		orient_half(left, right, out);
		return;
	}
	out->state = ORIENT_NO;
	if (left->result == LOOKUP_FAILED || right->result == LOOKUP_FAILED)
		snprintf(out->text, sizeof(out->text), "no address for %s",
			 left->result == LOOKUP_FAILED ? l : r);
	else if (left->ours && right->ours)
		snprintf(out->text, sizeof(out->text),
			 "both left=%s and right=%s are addresses of this machine", l, r);
	else if (!left->ours && !right->ours)
		snprintf(out->text, sizeof(out->text),
			 "neither left=%s nor right=%s match an interface", l, r);
	else
		out->state = ORIENT_YES;
	out->left_is_local = left->ours;
	orient_half(left, right, out);
}

void orient(const struct conn_config *config, const struct orient_host *host,
	    struct orientation *out)
{
	struct end_address left = end_address(&config->left, &config->right, host);
	struct end_address right = end_address(&config->right, &config->left, host);

	memset(out, 0, sizeof(*out));
	orient_decide(config, &left, &right, out);
	if (out->state != ORIENT_YES)
		return;
	out->local = out->left_is_local ? left.address : right.address;
	out->remote = out->left_is_local ? right.address : left.address;
	const struct end_config *local = orient_local(config, out->left_is_local);
	const struct end_config *remote = orient_remote(config, out->left_is_local);
	if (out->remote.family != AF_UNSPEC && out->remote.family != out->local.family) {
		out->state = ORIENT_NO;
		snprintf(out->text, sizeof(out->text), "left= and right= are of different address families");
		return;
	}
	if (end_identity(local, out->local.family, host, &out->local_id) == LOOKUP_PENDING ||
	    end_identity(remote, out->local.family, host, &out->remote_id) == LOOKUP_PENDING) {
		out->state = ORIENT_WAITING;
		snprintf(out->text, sizeof(out->text), "waiting for the address of an id=");
	}
}

static bool auth_usable(enum conn_auth auth)
{
	return auth == CONN_AUTH_PSK || auth == CONN_AUTH_NULL;
}

bool orient_usable(const struct conn_config *c, const char **what, const char **remedy)
{
	if (c->type == CONN_PASS || c->type == CONN_DROP)
		return true;
	if (!auth_usable(c->left.auth) || !auth_usable(c->right.auth)) {
		*what = "authentication by certificates and raw public keys is not available in this version";
		*remedy = "write authby=secret and add a line to ipsec.secrets";
		return false;
	}
	return true;
}

/* Selectors of an end; `self` is the host itself, for an end without subnet. */
static void end_selectors(const struct end_config *end, const struct ip_address *self,
			  struct ts_list *out)
{
	*out = end->subnets;
	if (out->count == 0 && self->family != AF_UNSPEC) {
		struct ip_prefix p = { .address = *self, .length = (uint8_t)(ip_address_size(self) * 8) };
		struct traffic_selector ts = ts_from_prefix(&p);

		ts_list_add(out, &ts);
	}
	for (size_t i = 0; end->protocol != 0 && i < out->count; i++) {
		struct traffic_selector *ts = &out->ts[i];

		if (ts->protocol != 0)
			continue; /* written with the subnet itself */
		ts->protocol = end->protocol;
		ts->port_lo = end->port_lo;
		ts->port_hi = end->port_hi;
	}
}

static bool covers_everything(const struct traffic_selector *ts)
{
	for (size_t i = 0; i < ip_address_size(&ts->lo); i++)
		if (ts->lo.bytes[i] != 0 || ts->hi.bytes[i] != 0xff)
			return false;
	return true;
}

bool orient_selectors(const struct conn_config *config, const struct orientation *o,
		      struct ts_list *local, struct ts_list *remote)
{
	const struct end_config *other = orient_remote(config, o->left_is_local);

	if (!o->half || other->subnets.count == 0)
		return false;
	end_selectors(orient_local(config, o->left_is_local), &o->local, local);
	end_selectors(other, &o->remote, remote);
	for (size_t i = 0; i < remote->count; i++)
		if (covers_everything(&remote->ts[i]))
			return false;
	return true;
}

static void build_ends(struct ike_conn *ike, const struct conn_config *c, const struct orientation *o)
{
	const struct end_config *local = orient_local(c, o->left_is_local);
	const struct end_config *remote = orient_remote(c, o->left_is_local);

	ike->local = (struct ip_endpoint){ .address = o->local,
					   .port = local->ike_port != 0 ? local->ike_port : 500 };
	ike->remote = (struct ip_endpoint){ .address = o->remote,
					    .port = remote->ike_port != 0 ? remote->ike_port : 500 };
	ike->local_id = o->local_id;
	if (ike->local_id.type == IDENTITY_NONE)
		ike->local_id = identity_from_address(&o->local);
	ike->remote_id = o->remote_id;
	if (ike->remote_id.type == IDENTITY_NONE && !remote->id_any && o->remote.family != AF_UNSPEC)
		ike->remote_id = identity_from_address(&o->remote);
	ike->local_auth = local->auth == CONN_AUTH_NULL ? IKE_AUTH_NULL : IKE_AUTH_PSK;
	ike->remote_auth = remote->auth == CONN_AUTH_NULL ? IKE_AUTH_NULL : IKE_AUTH_PSK;
	end_selectors(local, &o->local, &ike->local_ts);
	end_selectors(remote, &o->remote, &ike->remote_ts);
}

static void build_times(struct ike_conn *ike, const struct conn_config *c,
			const struct setup_config *setup)
{
	ike->ike_lifetime_us = c->ike_lifetime_s * US_PER_S;
	ike->child_lifetime_us = c->ipsec_lifetime_s * US_PER_S;
	ike->rekey_margin_us = c->rekey_margin_s * US_PER_S;
	ike->rekey_fuzz_percent = c->rekey_fuzz_percent;
	ike->rekey = c->rekey;
	ike->max_bytes = c->max_bytes;
	ike->max_packets = c->max_packets;
	ike->retransmit_interval_us = c->retransmit_interval_ms * US_PER_MS;
	ike->retransmit_timeout_us = c->retransmit_timeout_s * US_PER_S;
	ike->dpd_delay_us = c->dpd_delay_s * US_PER_S;
	ike->nat_keepalive_us = c->nat_keepalive ? setup->keep_alive_s * US_PER_S : 0;
	static const enum dpd_action actions[] = {
		[CONN_DPD_HOLD] = DPD_HOLD, [CONN_DPD_CLEAR] = DPD_CLEAR, [CONN_DPD_RESTART] = DPD_RESTART,
	};
	ike->dpd_action = actions[c->dpd_action];
}

struct ike_conn *orient_build(const struct conn_config *c, const struct orientation *o,
			      const struct orient_build *with)
{
	static const enum encap_policy encaps[] = {
		[CONN_ENCAP_AUTO] = ENCAP_AUTO, [CONN_ENCAP_YES] = ENCAP_YES, [CONN_ENCAP_NO] = ENCAP_NO,
	};
	struct ike_conn *ike = calloc(1, sizeof(*ike));

	if (ike == NULL)
		return NULL;
	ike->refs = 1;
	ike->owner = with->owner;
	ike->serial = with->serial;
	ike->reqid = with->reqid;
	snprintf(ike->name, sizeof(ike->name), "%s", with->name);
	ike->ike_proposals = with->ike;
	ike->esp_proposals = with->esp;
	build_ends(ike, c, o);
	build_times(ike, c, with->setup);
	ike->mode = c->type == CONN_TRANSPORT ? MODE_TRANSPORT : MODE_TUNNEL;
	ike->narrowing = c->narrowing;
	ike->pfs = c->pfs;
	ike->pfs_required = c->pfs && c->pfs_written;
	ike->replay_window = c->replay_window;
	/* without a replay window the high half of an extended number cannot be inferred */
	ike->esn = c->esn && c->replay_window > 0;
	ike->no_esn = c->no_esn || c->replay_window == 0;
	ike->encapsulation = encaps[c->encapsulation];
	ike->initial_contact = c->initial_contact;
	ike->unique_ids = with->setup->uniqueids;
	ike->decap_dscp = c->decap_dscp;
	ike->encap_dscp = c->encap_dscp;
	ike->no_pmtu_disc = c->no_pmtu_disc;
	ike->tfc_pad = c->tfc;
	ike->mark_in = c->mark_in;
	ike->mark_in_mask = c->mark_in_mask;
	ike->mark_out = c->mark_out;
	ike->mark_out_mask = c->mark_out_mask;
	ike->resources = (uint16_t)(c->clones < with->resources ? c->clones : with->resources);
	return ike;
}

static bool same_ends(const struct ike_conn *a, const struct ike_conn *b)
{
	return ip_endpoint_equal(&a->local, &b->local) && ip_endpoint_equal(&a->remote, &b->remote) &&
	       identity_equal(&a->local_id, &b->local_id) &&
	       identity_equal(&a->remote_id, &b->remote_id) && a->local_auth == b->local_auth &&
	       a->remote_auth == b->remote_auth && ts_list_equal(&a->local_ts, &b->local_ts) &&
	       ts_list_equal(&a->remote_ts, &b->remote_ts);
}

bool ike_conn_same(const struct ike_conn *a, const struct ike_conn *b)
{
#define SAME(field) if (a->field != b->field) return false
	SAME(reqid);
	SAME(ike_proposals);
	SAME(esp_proposals);
	SAME(mode);
	SAME(narrowing);
	SAME(pfs);
	SAME(pfs_required);
	SAME(esn);
	SAME(no_esn);
	SAME(replay_window);
	SAME(ike_lifetime_us);
	SAME(child_lifetime_us);
	SAME(rekey_margin_us);
	SAME(rekey_fuzz_percent);
	SAME(rekey);
	SAME(max_bytes);
	SAME(max_packets);
	SAME(retransmit_interval_us);
	SAME(retransmit_timeout_us);
	SAME(dpd_delay_us);
	SAME(dpd_action);
	SAME(nat_keepalive_us);
	SAME(encapsulation);
	SAME(initial_contact);
	SAME(unique_ids);
	SAME(decap_dscp);
	SAME(encap_dscp);
	SAME(no_pmtu_disc);
	SAME(tfc_pad);
	SAME(mark_in);
	SAME(mark_in_mask);
	SAME(mark_out);
	SAME(mark_out_mask);
	SAME(resources);
#undef SAME
	return same_ends(a, b);
}
