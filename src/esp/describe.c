/* Reports: `ipsec sa` in the shape that both back ends share, and the back end's part of status. */
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/secret.h"
#include "crypto/esp_aead.h"
#include "esp/esp_backend.h"
#include "net/address.h"

enum { HEX_KEY = 2 + 2 * KEY_MAX + 1, POLICY_DIRS = 3 };

static void set(json_t *o, const char *key, json_t *value)
{
	json_object_set_new(o, key, value);
}

static json_t *address_json(const struct ip_address *a)
{
	char text[IP_ADDRESS_TEXT];

	return json_string(ip_address_format(a, text));
}

static json_t *number(uint64_t v)
{
	return json_integer((json_int_t)v);
}

static void set_key(json_t *o, const struct key *k, bool show)
{
	char hex[HEX_KEY] = "0x";

	if (!show || k->len > KEY_MAX)
		return;
	for (size_t i = 0; i < k->len; i++)
		snprintf(hex + 2 + 2 * i, 3, "%02x", k->bytes[i]);
	set(o, "key", json_string(hex));
	secret_wipe(hex, sizeof(hex));
}

static json_t *algorithm_json(const struct algorithm *a, const struct key *k, unsigned bits,
			      unsigned icv_bits, bool show_keys)
{
	json_t *o = json_object();

	set(o, "name", json_string(a->xfrm ? a->xfrm : a->name));
	set_key(o, k, show_keys);
	set(o, "bits", json_integer(bits));
	if (icv_bits)
		set(o, "icv_bits", json_integer(icv_bits));
	return o;
}

static void set_algorithms(json_t *o, const struct cipher_suite *suite, const struct esp_half *half,
			   bool show_keys)
{
	if (suite->encr->aead) {
		set(o, "aead", algorithm_json(suite->encr, &half->encr_key, half->encr_key.len * 8u,
					      suite->encr->icv_bytes * 8u, show_keys));
		return;
	}
	set(o, "enc", algorithm_json(suite->encr, &half->encr_key, half->encr_key.len * 8u, 0,
				     show_keys));
	if (suite->integ)
		set(o, "auth", algorithm_json(suite->integ, &half->integ_key,
					      half->integ_key.len * 8u, suite->integ->icv_bytes * 8u,
					      show_keys));
}

static json_t *encap_json(const struct ip_endpoint *src, const struct ip_endpoint *dst, bool encap)
{
	json_t *o;

	if (!encap)
		return json_null();
	o = json_object();
	set(o, "type", json_string("espinudp"));
	set(o, "sport", json_integer(src->port));
	set(o, "dport", json_integer(dst->port));
	return o;
}

static json_t *flags_json(const struct sa_record *r, const struct sa_common *c)
{
	json_t *a = json_array();

	if (c->transport)
		return a;
	json_array_append_new(a, json_string("af-unspec"));
	if (r->sa.no_pmtu_disc)
		json_array_append_new(a, json_string("nopmtudisc"));
	if (r->sa.decap_dscp)
		json_array_append_new(a, json_string("decap-dscp"));
	if (c->esn)
		json_array_append_new(a, json_string("esn"));
	return a;
}

static json_t *selectors_json(const struct ts_list *list)
{
	json_t *a = json_array();
	char text[TS_TEXT];

	for (size_t i = 0; i < list->count; i++)
		json_array_append_new(a, json_string(ts_format(&list->ts[i], text)));
	return a;
}

static json_t *state_json(const struct sa_record *r, bool in, bool show_keys)
{
	const struct sa_common *c = in ? &r->in->c : &r->out->c;
	const struct ip_endpoint *src = in ? &r->sa.path.remote : &r->sa.path.local;
	const struct ip_endpoint *dst = in ? &r->sa.path.local : &r->sa.path.remote;
	uint64_t last_us = counter_get(&c->last_us), now_us = clock_now_us();
	json_t *o = json_object();
	char spi[16];

	snprintf(spi, sizeof(spi), "0x%08x", c->spi);
	set(o, "src", address_json(&src->address));
	set(o, "dst", address_json(&dst->address));
	set(o, "proto", json_string("esp"));
	set(o, "spi", json_string(spi));
	set(o, "direction", json_string(in ? "in" : "out"));
	set(o, "reqid", number(c->reqid));
	set(o, "mode", json_string(c->transport ? "transport" : "tunnel"));
	set(o, "replay_window", number(in ? r->sa.replay_window : 0));
	set(o, "flags", flags_json(r, c));
	set(o, "esn", json_boolean(c->esn));
	set_algorithms(o, &r->sa.suite, in ? &r->sa.in : &r->sa.out, show_keys);
	set(o, "encap", encap_json(src, dst, r->sa.path.udp_encap));
	set(o, "seq", number(in ? counter_get(&r->in->top) : 0));
	set(o, "oseq", number(in ? 0 : counter_get(&r->out->seq_shown)));
	if (!in)
		set(o, "mtu", number(atomic_load(&r->out->inner_mtu)));
	set(o, "bytes", number(counter_get(&c->bytes)));
	set(o, "packets", number(counter_get(&c->packets)));
	set(o, "add_time", number(r->added_s));
	set(o, "use_time", last_us ? number(clock_wall_s() - (now_us - last_us) / US_PER_S) :
				     json_null());
	if (in) {
		set(o, "replay_dropped", number(counter_get(&r->in->replay_dropped)));
		set(o, "integrity_failed", number(counter_get(&r->in->integrity_failed)));
	}
	set(o, "local_ts", selectors_json(&r->sa.local_ts));
	set(o, "remote_ts", selectors_json(&r->sa.remote_ts));
	set(o, "connection", json_string(r->sa.conn));
	set(o, "provider", json_string(esp_cipher_provider(c->cipher)));
	set(o, "worker", json_integer((json_int_t)(in ? r->in->worker : r->out->worker)));
	return o;
}

/* A selector's addresses as `ip xfrm` writes them: a prefix, or the range if it is none. */
static json_t *range_json(const struct traffic_selector *ts)
{
	char lo[IP_PREFIX_TEXT], hi[IP_ADDRESS_TEXT];
	struct ip_prefix p;

	if (ip_prefix_from_range(&ts->lo, &ts->hi, &p))
		return json_string(ip_prefix_format(&p, lo));
	return json_sprintf("%s-%s", ip_address_format(&ts->lo, lo), ip_address_format(&ts->hi, hi));
}

static json_t *ports_json(const struct traffic_selector *ts)
{
	if (ts->port_lo == 0 && ts->port_hi == UINT16_MAX)
		return json_null();
	if (ts->port_lo > ts->port_hi)
		return json_string("opaque");
	if (ts->port_lo == ts->port_hi)
		return json_integer(ts->port_lo);
	return json_sprintf("%u-%u", ts->port_lo, ts->port_hi);
}

static json_t *template_json(const struct sa_policy *p, bool out)
{
	json_t *list = json_array(), *o;

	if (p->action == POLICY_PASS || p->action == POLICY_DROP)
		return list;
	o = json_object();
	set(o, "src", address_json(out ? &p->local : &p->remote));
	set(o, "dst", address_json(out ? &p->remote : &p->local));
	set(o, "proto", json_string("esp"));
	set(o, "reqid", number(p->reqid));
	set(o, "mode", json_string(p->mode == MODE_TRANSPORT ? "transport" : "tunnel"));
	json_array_append_new(list, o);
	return list;
}

static json_t *policy_json(const struct sa_policy *p, const struct policy_entry *e, const char *dir)
{
	bool out = dir[0] == 'o';
	const struct traffic_selector *src = out ? &e->local : &e->remote;
	const struct traffic_selector *dst = out ? &e->remote : &e->local;
	uint8_t proto = src->protocol ? src->protocol : dst->protocol;
	json_t *o = json_object();

	set(o, "src", range_json(src));
	set(o, "dst", range_json(dst));
	set(o, "proto", proto ? json_integer(proto) : json_null());
	set(o, "sport", ports_json(src));
	set(o, "dport", ports_json(dst));
	set(o, "dir", json_string(dir));
	set(o, "priority", number(e->priority));
	set(o, "action", json_string(e->action == POLICY_DROP ? "block" : "allow"));
	set(o, "connection", json_string(p->conn));
	set(o, "tmpl", template_json(p, out));
	return o;
}

static json_t *policies_json(const struct esp_backend *b)
{
	static const char *const dirs[POLICY_DIRS] = { "out", "fwd", "in" };
	const struct policy_entry **sorted = b->policies ? policy_list_sorted(b->policies) : NULL;
	json_t *list = json_array();

	for (size_t i = 0; sorted && i < b->policies->count; i++) {
		const struct policy_entry *e = sorted[i];
		const struct policy_record *p;

		HASH_FIND(hh, b->policy_records, &e->state->reqid, sizeof(e->state->reqid), p);
		for (size_t d = 0; p && d < POLICY_DIRS; d++) {
			if (p->policy.mode == MODE_TRANSPORT && d == 1)
				continue; /* host to host: nothing is forwarded */
			json_array_append_new(list, policy_json(&p->policy, e, dirs[d]));
			if (d == 0)
				set(json_array_get(list, json_array_size(list) - 1), "mtu",
				    json_integer(p->mtu ? p->mtu : b->mtu));
		}
	}
	free(sorted);
	return list;
}

struct json_t *esp_describe(struct backend *base, bool show_keys)
{
	const struct esp_backend *b = (const struct esp_backend *)base;
	json_t *o = json_object(), *states = json_array();
	const struct sa_record *r;

	for (r = b->sa_records; r; r = r->hh.next) {
		if (r->out)
			json_array_append_new(states, state_json(r, false, show_keys));
		if (r->in)
			json_array_append_new(states, state_json(r, true, show_keys));
	}
	set(o, "states", states);
	set(o, "policies", policies_json(b));
	return o;
}

/* What a counter of every worker adds up to. */
static json_t *total(const struct esp_backend *b, size_t offset)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < b->worker_count; i++)
		sum += counter_get((const counter_t *)(const void *)((const char *)b->workers[i] + offset));
	return number(sum);
}

static json_t *drops_json(const struct esp_backend *b)
{
	static const char *const names[ESP_DROP_COUNT] = {
#define X(name, text) [DROP_##name] = text,
		ESP_DROPS(X)
#undef X
	};
	json_t *o = json_object();

	for (size_t i = 0; i < ESP_DROP_COUNT; i++)
		set(o, names[i], total(b, offsetof(struct esp_worker, drops) + i * sizeof(counter_t)));
	return o;
}

static json_t *traffic_json(const struct esp_backend *b)
{
	static const struct {
		const char *name;
		size_t offset;
	} counters[] = {
		{ "in_packets", offsetof(struct esp_worker, in_packets) },
		{ "in_bytes", offsetof(struct esp_worker, in_bytes) },
		{ "out_packets", offsetof(struct esp_worker, out_packets) },
		{ "out_bytes", offsetof(struct esp_worker, out_bytes) },
		{ "device_reads", offsetof(struct esp_worker, tun_reads) },
		{ "device_writes", offsetof(struct esp_worker, tun_writes) },
		{ "wire_receives", offsetof(struct esp_worker, wire_receives) },
		{ "wire_sends", offsetof(struct esp_worker, wire_sends) },
		{ "handed_over", offsetof(struct esp_worker, handed_over) },
	};
	json_t *o = json_object();

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		set(o, counters[i].name, total(b, counters[i].offset));
	return o;
}

static json_t *features_json(const struct esp_backend *b)
{
	const struct esp_features *f = &b->features;
	json_t *o = json_object();

	set(o, "device_tcp", json_boolean(f->tun_tso));
	set(o, "device_udp", json_boolean(f->tun_uso));
	set(o, "udp_segmentation", json_boolean(f->udp_segment));
	set(o, "udp_coalescing", json_boolean(f->udp_gro));
	set(o, "ipv6", json_boolean(b->raw[RAW_V6].here));
	set(o, "route_mtu", json_boolean(f->route_mtu));
	return o;
}

/* What the SAs' packets look like on the wire, and what the other way would bring. */
static json_t *encapsulation_json(const struct esp_backend *b)
{
	const struct esp_features *f = &b->features;
	size_t udp = 0, native = 0;
	const struct sa_record *r;

	for (r = b->sa_records; r; r = r->hh.next) {
		udp += r->sa.path.udp_encap;
		native += !r->sa.path.udp_encap;
	}
	if (!f->udp_segment && !f->udp_gro)
		return json_sprintf("native ESP: %zu, in UDP: %zu; this kernel takes and gives the packets of both one by one",
				    native, udp);
	if (native)
		return json_sprintf("native ESP: %zu, in UDP: %zu; the kernel takes and gives packets of native ESP one by one, "
				    "of ESP in UDP (encapsulation=yes) up to %u at once: several times faster",
				    native, udp, f->udp_segments_max);
	return json_sprintf("native ESP: 0, in UDP: %zu; the kernel takes and gives up to %u packets at once, of native ESP one",
			    udp, f->udp_segments_max);
}

static const char *default_provider(void)
{
	struct cipher_suite suite = { .encr = algorithm_find(TRANSFORM_ENCR, ENCR_AES_GCM_16),
				      .encr_bits = 256 };
	const char *name = suite.encr ? esp_provider_for(&suite) : NULL;

	return name ? name : "none";
}

struct json_t *esp_status(struct backend *base)
{
	const struct esp_backend *b = (const struct esp_backend *)base;
	json_t *o = json_object();

	set(o, "name", json_string("user"));
	set(o, "device", json_string(b->tun_name));
	set(o, "mtu", json_integer(b->mtu));
	set(o, "provider", json_string(default_provider()));
	set(o, "workers", json_integer(b->worker_count));
	set(o, "inbound_filter", json_string(b->use_guard ? guard_state(&b->guard) : "off"));
	set(o, "features", features_json(b));
	set(o, "encapsulation", encapsulation_json(b));
	set(o, "traffic", traffic_json(b));
	set(o, "drops", drops_json(b));
	return o;
}
