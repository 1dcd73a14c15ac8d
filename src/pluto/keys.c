/*
 * The export of keys for Wireshark: the only code of the daemon that writes
 * secrets, on the explicit request of root.
 */
#include <stdio.h>
#include <string.h>

#include "base/secret.h"
#include "base/text.h"
#include "pluto/daemon.h"
#include "pluto/status.h"

struct export {
	json_t *ike, *esp;
};

static void add_hex(struct text *t, struct bytes b)
{
	for (size_t i = 0; i < b.len; i++)
		text_add(t, "%02x", b.ptr[i]);
}

static void append(json_t *to, struct text *line)
{
	json_array_append_new(to, json_string(text_str(line)));
	if (line->str != NULL)
		secret_wipe(line->str, line->len);
	text_free(line);
}

/* Wireshark's names of IKEv2's ciphers carry the key size. */
static void ike_cipher(struct text *t, const struct cipher_suite *s)
{
	switch (s->encr->id) {
	case ENCR_AES_GCM_16:
		text_add(t, "\"AES-GCM-%u with 16 octet ICV [RFC5282]\"", s->encr_bits);
		break;
	case ENCR_AES_CBC:
		text_add(t, "\"AES-CBC-%u [RFC3602]\"", s->encr_bits);
		break;
	default:
		text_add(t, "\"%s\"", s->encr->wireshark != NULL ? s->encr->wireshark : s->encr->name);
		break;
	}
}

static const char *ike_integrity(const struct cipher_suite *s)
{
	if (s->integ == NULL)
		return "NONE [RFC4306]";
	switch (s->integ->id) {
	case INTEG_HMAC_SHA2_256_128:
		return "HMAC_SHA2_256_128 [RFC4868]";
	case INTEG_HMAC_SHA2_384_192:
		return "HMAC_SHA2_384_192 [RFC4868]";
	default:
		return "HMAC_SHA2_512_256 [RFC4868]";
	}
}

/* SPIi,SPIr,SK_ei,SK_er,"cipher",SK_ai,SK_ar,"integrity" */
static void export_ike(void *context, const struct ike_sa_info *i, struct bytes ei, struct bytes er,
		       struct bytes ai, struct bytes ar)
{
	struct export *x = context;
	struct text t = { 0 };

	if (i->suite.encr == NULL)
		return;
	text_add(&t, "%016llx,%016llx,", (unsigned long long)i->spi_i, (unsigned long long)i->spi_r);
	add_hex(&t, ei);
	text_add(&t, ",");
	add_hex(&t, er);
	text_add(&t, ",");
	ike_cipher(&t, &i->suite);
	text_add(&t, ",");
	add_hex(&t, ai);
	text_add(&t, ",");
	add_hex(&t, ar);
	text_add(&t, ",\"%s\"", ike_integrity(&i->suite));
	append(x->ike, &t);
}

static const char *esp_cipher_name(const struct cipher_suite *s)
{
	switch (s->encr->id) {
	case ENCR_AES_GCM_16:
		return "AES-GCM with 16 octet ICV [RFC4106]";
	case ENCR_AES_CBC:
		return "AES-CBC [RFC3602]";
	case ENCR_CHACHA20_POLY1305:
		return "ChaCha20 with Poly1305 [RFC7634]";
	default:
		return "NULL";
	}
}

static const char *esp_integrity(const struct cipher_suite *s)
{
	if (s->integ == NULL)
		return "NULL";
	switch (s->integ->id) {
	case INTEG_HMAC_SHA2_256_128:
		return "HMAC-SHA-256-128 [RFC4868]";
	case INTEG_HMAC_SHA2_384_192:
		return "HMAC-SHA-384-192 [RFC4868]";
	default:
		return "HMAC-SHA-512-256 [RFC4868]";
	}
}

/* "IPv4","source","destination","0xspi","cipher","0xkey","integrity","0xkey","SN","0xhigh" */
static void export_half(json_t *to, const struct child_sa *sa, const struct esp_half *half,
			const struct ip_address *from, const struct ip_address *at)
{
	struct text t = { 0 };
	char a[IP_ADDRESS_TEXT], b[IP_ADDRESS_TEXT];

	if (half->spi == 0 || half->encr_key.len == 0)
		return;
	text_add(&t, "\"%s\",\"%s\",\"%s\",\"0x%08x\",\"%s\",\"0x", from->family == AF_INET6 ? "IPv6" : "IPv4",
		 ip_address_format(from, a), ip_address_format(at, b), half->spi, esp_cipher_name(&sa->suite));
	add_hex(&t, key_bytes(&half->encr_key));
	text_add(&t, "\",\"%s\",\"%s", esp_integrity(&sa->suite), half->integ_key.len > 0 ? "0x" : "");
	add_hex(&t, key_bytes(&half->integ_key));
	text_add(&t, "\",\"%s\",\"0x0\"", sa->suite.esn ? "64-bit" : "32-bit");
	append(to, &t);
}

static void export_child(void *context, const struct child_sa *sa)
{
	struct export *x = context;

	if (sa->suite.encr == NULL)
		return;
	export_half(x->esp, sa, &sa->in, &sa->path.remote.address, &sa->path.local.address);
	export_half(x->esp, sa, &sa->out, &sa->path.local.address, &sa->path.remote.address);
}

json_t *status_export_keys(struct daemon *d)
{
	struct export x = { .ike = json_array(), .esp = json_array() };

	ike_engine_export_keys(d->engine, export_ike, export_child, &x);
	return json_pack("{s:o, s:o}", "ikev2_decryption_table", x.ike, "esp_sa", x.esp);
}
