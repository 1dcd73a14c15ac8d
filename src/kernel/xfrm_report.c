/* What the back end tells: counters of a Child SA, all states and policies, its own condition. */
#include <arpa/inet.h>
#include <jansson.h>
#include <libmnl/libmnl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/clock.h"
#include "base/secret.h"
#include "kernel/xfrm_internal.h"

struct counted {
	bool found;
	struct xfrm_lifetime_cur current;
	struct xfrm_stats stats;
	uint64_t last_used_s;
};

static void take_counters(const struct nlmsghdr *m, void *context)
{
	struct xfrm_state_view v;
	struct counted *c = context;

	if (m->nlmsg_type != XFRM_MSG_NEWSA || !xfrm_state_decode(m, &v))
		return;
	*c = (struct counted){ .found = true, .current = v.info.curlft, .stats = v.info.stats,
			       .last_used_s = v.last_used_s };
}

/**
 * Seconds since the last packet; UINT64_MAX: none yet. Kernels before 6.2 do not tell, then it
 * is when we first saw the count that stands now.
 */
static uint64_t idle_s(const struct counted *c, struct xfrm_seen *seen)
{
	uint64_t wall = clock_wall_s(), now = clock_now_us();

	if (c->current.packets != seen->packets) {
		seen->packets = c->current.packets;
		seen->changed_us = now;
	}
	if (c->current.packets == 0)
		return UINT64_MAX;
	if (c->last_used_s != 0)
		return wall > c->last_used_s ? wall - c->last_used_s : 0;
	return (now - seen->changed_us) / US_PER_S;
}

bool xfrm_query(struct backend *b, const struct child_sa *sa, struct child_sa_usage *out)
{
	struct xfrm_backend *x = xfrm_of(b);
	struct xfrm_child *c = xfrm_child_find(x, sa->id);
	struct counted in = { 0 }, sent = { 0 };

	*out = (struct child_sa_usage){ .in_last_s = UINT64_MAX, .out_last_s = UINT64_MAX };
	if (c == NULL)
		return false;
	if (c->has_in)
		xfrm_state_ask(x, &c->in, take_counters, &in, NULL);
	if (c->has_out)
		xfrm_state_ask(x, &c->out, take_counters, &sent, NULL);
	if (in.found) {
		out->in_bytes = in.current.bytes;
		out->in_packets = in.current.packets;
		out->in_last_s = idle_s(&in, &c->seen_in);
		out->replay_dropped = (uint64_t)in.stats.replay_window + in.stats.replay;
		out->integrity_failed = in.stats.integrity_failed;
	}
	if (sent.found) {
		out->out_bytes = sent.current.bytes;
		out->out_packets = sent.current.packets;
		out->out_last_s = idle_s(&sent, &c->seen_out);
	}
	return in.found || sent.found;
}

static json_t *json_address(const struct ip_address *a, const char *any)
{
	char text[IP_ADDRESS_TEXT];

	return json_string(a->family != AF_UNSPEC ? ip_address_format(a, text) : any);
}

static json_t *json_prefix(const xfrm_address_t *a, uint16_t family, uint8_t length)
{
	struct ip_prefix p = { .address = xfrm_address_get(a, family), .length = length };
	char text[IP_PREFIX_TEXT];

	return json_string(ip_prefix_format(&p, text));
}

/** {"name","bits","icv_bits"} and "key" if it is to be shown. */
static json_t *json_algorithm(const char *name, const char *key, unsigned bits, unsigned icv_bits,
			      bool show)
{
	json_t *a = json_pack("{s:s#, s:i}", "name", name, (int)strnlen(name, 64), "bits", (int)bits);

	if (icv_bits != 0)
		json_object_set_new(a, "icv_bits", json_integer(icv_bits));
	if (show && bits / 8 <= KEY_MAX) {
		char hex[2 * KEY_MAX + 3] = "0x";

		for (unsigned i = 0; i < bits / 8; i++)
			snprintf(hex + 2 + 2 * i, 3, "%02x", (uint8_t)key[i]);
		json_object_set_new(a, "key", json_string(hex));
		secret_wipe(hex, sizeof(hex));
	}
	return a;
}

static void add_algorithms(json_t *o, const struct xfrm_state_view *v, bool keys)
{
	if (v->aead != NULL)
		json_object_set_new(o, "aead",
				    json_algorithm(v->aead->alg_name, v->aead->alg_key,
						   v->aead->alg_key_len, v->aead->alg_icv_len, keys));
	if (v->auth != NULL)
		json_object_set_new(o, "auth",
				    json_algorithm(v->auth->alg_name, v->auth->alg_key,
						   v->auth->alg_key_len, v->auth->alg_trunc_len,
						   keys));
	if (v->encr != NULL)
		json_object_set_new(o, "enc",
				    json_algorithm(v->encr->alg_name, v->encr->alg_key,
						   v->encr->alg_key_len, 0, keys));
}

static json_t *json_flags(uint8_t flags)
{
	static const struct {
		uint8_t flag;
		const char *name;
	} names[] = {
		{ XFRM_STATE_NOECN, "noecn" },           { XFRM_STATE_DECAP_DSCP, "decap-dscp" },
		{ XFRM_STATE_NOPMTUDISC, "nopmtudisc" }, { XFRM_STATE_AF_UNSPEC, "af-unspec" },
		{ XFRM_STATE_ESN, "esn" },
	};
	json_t *a = json_array();

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if ((flags & names[i].flag) != 0)
			json_array_append_new(a, json_string(names[i].name));
	return a;
}

static json_t *json_encap(const struct xfrm_encap_tmpl *e)
{
	if (e == NULL)
		return json_null();
	return json_pack("{s:s, s:i, s:i}", "type", "espinudp", "sport", ntohs(e->encap_sport),
			 "dport", ntohs(e->encap_dport));
}

static const char *mode_name(uint8_t mode)
{
	return mode == XFRM_MODE_TUNNEL ? "tunnel" : "transport";
}

static json_t *json_state(const struct xfrm_state_view *v, bool keys)
{
	struct xfrm_progress p;
	char spi[16];
	json_t *o = json_object();

	xfrm_state_progress(v, 0, &p);
	snprintf(spi, sizeof(spi), "0x%08x", v->id.spi);
	json_object_set_new(o, "src", json_address(&v->id.src, "0.0.0.0"));
	json_object_set_new(o, "dst", json_address(&v->id.dst, "0.0.0.0"));
	json_object_set_new(o, "proto", json_string("esp"));
	json_object_set_new(o, "spi", json_string(spi));
	json_object_set_new(o, "reqid", json_integer(v->info.reqid));
	json_object_set_new(o, "mode", json_string(mode_name(v->info.mode)));
	json_object_set_new(o, "replay_window",
			    json_integer(v->esn != NULL ? v->esn->replay_window :
							  v->info.replay_window));
	json_object_set_new(o, "flags", json_flags(v->info.flags));
	json_object_set_new(o, "esn", json_boolean((v->info.flags & XFRM_STATE_ESN) != 0));
	add_algorithms(o, v, keys);
	json_object_set_new(o, "encap", json_encap(v->encap));
	json_object_set_new(o, "seq", json_integer((json_int_t)((uint64_t)p.seq_hi << 32 | p.seq)));
	json_object_set_new(o, "oseq",
			    json_integer((json_int_t)((uint64_t)p.oseq_hi << 32 | p.oseq)));
	json_object_set_new(o, "bytes", json_integer((json_int_t)p.current.bytes));
	json_object_set_new(o, "packets", json_integer((json_int_t)p.current.packets));
	json_object_set_new(o, "add_time", json_integer((json_int_t)p.current.add_time));
	json_object_set_new(o, "use_time", p.current.use_time != 0 ?
						   json_integer((json_int_t)p.current.use_time) :
						   json_null());
	return o;
}

static json_t *json_template(const struct xfrm_user_tmpl *t)
{
	const char *any = t->family == AF_INET6 ? "::" : "0.0.0.0";
	struct ip_address src = xfrm_address_get(&t->saddr, t->family);
	struct ip_address dst = xfrm_address_get(&t->id.daddr, t->family);

	return json_pack("[{s:o, s:o, s:s, s:i, s:s}]", "src", json_address(&src, any), "dst",
			 json_address(&dst, any), "proto", "esp", "reqid", (int)t->reqid, "mode",
			 mode_name(t->mode));
}

static json_t *json_rule(const struct xfrm_rule *r)
{
	static const char *const directions[] = { [XFRM_POLICY_IN] = "in", [XFRM_POLICY_OUT] = "out",
						  [XFRM_POLICY_FWD] = "fwd" };
	const struct xfrm_selector *s = &r->key.sel;
	json_t *o = json_object();

	json_object_set_new(o, "src", json_prefix(&s->saddr, s->family, s->prefixlen_s));
	json_object_set_new(o, "dst", json_prefix(&s->daddr, s->family, s->prefixlen_d));
	json_object_set_new(o, "proto", json_integer(s->proto));
	json_object_set_new(o, "sport", json_integer(ntohs(s->sport)));
	json_object_set_new(o, "dport", json_integer(ntohs(s->dport)));
	json_object_set_new(o, "dir", json_string(directions[r->key.direction]));
	json_object_set_new(o, "priority", json_integer(r->priority));
	json_object_set_new(o, "action", json_string(r->block ? "block" : "allow"));
	json_object_set_new(o, "tmpl", r->has_template ? json_template(&r->template) : json_array());
	return o;
}

struct describing {
	struct xfrm_backend *x;
	json_t *states, *policies;
	bool keys;
};

static void describe_state(const struct nlmsghdr *m, void *context)
{
	struct describing *d = context;
	struct xfrm_state_view v;

	if (m->nlmsg_type == XFRM_MSG_NEWSA && xfrm_state_decode(m, &v) &&
	    v.info.reqid >= XFRM_REQID_FIRST && v.id.spi != 0)
		json_array_append_new(d->states, json_state(&v, d->keys));
}

static void describe_policy(const struct nlmsghdr *m, void *context)
{
	struct describing *d = context;
	struct xfrm_slot *slot;
	struct xfrm_rule r;

	if (m->nlmsg_type != XFRM_MSG_NEWPOLICY || !xfrm_rule_decode(m, &r))
		return;
	HASH_FIND(hh, d->x->slots, &r.key, sizeof(r.key), slot);
	if (slot != NULL)
		json_array_append_new(d->policies, json_rule(&r));
}

json_t *xfrm_describe(struct backend *b, bool show_keys)
{
	struct describing d = { .x = xfrm_of(b), .states = json_array(), .policies = json_array(),
				.keys = show_keys };
	union {
		struct nlmsghdr header;
		uint8_t bytes[64];
	} r;

	if (xfrm_state_encode_dump(&r.header, sizeof(r)))
		netlink_query(&d.x->requests, &r.header, describe_state, &d, NULL);
	if (xfrm_rule_encode_dump(&r.header, sizeof(r)))
		netlink_query(&d.x->requests, &r.header, describe_policy, &d, NULL);
	return json_pack("{s:o, s:o}", "states", d.states, "policies", d.policies);
}

/** What the kernel counts for the whole network namespace, as far as it is not zero. */
static json_t *kernel_counters(void)
{
	json_t *o = json_object();
	FILE *f = fopen("/proc/net/xfrm_stat", "re");
	char name[64];
	unsigned long value;

	if (f == NULL)
		return o; /* a kernel without XFRM_STATISTICS */
	while (fscanf(f, "%63s %lu", name, &value) == 2)
		if (value != 0)
			json_object_set_new(o, name, json_integer((json_int_t)value));
	fclose(f);
	return o;
}

json_t *xfrm_status(struct backend *b)
{
	const struct xfrm_backend *x = xfrm_of(b);
	struct utsname u = { 0 };

	(void)uname(&u);
	return json_pack("{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "name",
			 backend_ops(b)->name, "kernel", u.release,
			 "replay_window_max", (int)XFRM_REPLAY_WINDOW_MAX, "children",
			 (json_int_t)HASH_COUNT(x->children), "policies",
			 (json_int_t)HASH_CNT(hh, x->slots), "requests",
			 (json_int_t)x->requests.requests, "refused",
			 (json_int_t)x->requests.refused, "acquires", (json_int_t)x->acquires,
			 "expires", (json_int_t)x->expires, "moves", (json_int_t)x->moves,
			 "lost_events", (json_int_t)x->lost_events, "counters", kernel_counters());
}
