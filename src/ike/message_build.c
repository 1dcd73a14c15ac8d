/* Building IKEv2 messages: RFC 7296 §3. All bytes are written through struct writer. */
#include "ike/message.h"

#include "ike/message_wire.h"

void builder_begin(struct message_builder *b, void *buf, size_t cap, const struct ike_header *h)
{
	*b = (struct message_builder){ .w = writer_new(buf, cap), .next_at = WIRE_HEADER_NEXT };
	writer_u64(&b->w, h->spi_i);
	writer_u64(&b->w, h->spi_r);
	writer_u8(&b->w, PAYLOAD_NONE);
	writer_u8(&b->w, WIRE_VERSION);
	writer_u8(&b->w, h->exchange);
	writer_u8(&b->w, (h->initiator ? WIRE_FLAG_INITIATOR : 0) |
				 (h->response ? WIRE_FLAG_RESPONSE : 0));
	writer_u32(&b->w, h->message_id);
	writer_u32(&b->w, 0);
}

static void payload_open(struct message_builder *b, enum payload_type type)
{
	if (b->payload_at != 0)
		b->w.bad = true;
	writer_patch_u8(&b->w, b->next_at, type);
	b->payload_at = b->next_at = b->w.len;
	writer_u8(&b->w, PAYLOAD_NONE);
	writer_u8(&b->w, 0);
	writer_u16(&b->w, 0);
}

/* Fills the 16-bit length two bytes after `at` with all that was written since `at`. */
static void length_patch(struct writer *w, size_t at)
{
	size_t len = w->len - at;

	if (len > UINT16_MAX)
		w->bad = true;
	writer_patch_u16(w, at + 2, (uint16_t)len);
}

static void payload_close(struct message_builder *b)
{
	length_patch(&b->w, b->payload_at);
	b->payload_at = 0;
}

void builder_protect(struct message_builder *b, const struct sk *sk, const uint8_t *iv)
{
	/* Only one, and nothing may stand before it in the clear. */
	if (b->sk_at != 0 || b->w.len != IKE_HEADER_BYTES)
		b->w.bad = true;
	payload_open(b, PAYLOAD_SK);
	b->sk_at = b->payload_at;
	b->payload_at = 0;
	writer_put(&b->w, iv, sk_iv_bytes(sk));
	b->text_at = b->w.len;
}

static void write_transform(struct writer *w, const struct transform *t, bool last)
{
	size_t at = w->len;

	writer_u8(w, last ? 0 : WIRE_MORE_TRANSFORMS);
	writer_u8(w, 0);
	writer_u16(w, 0);
	writer_u8(w, t->type);
	writer_u8(w, 0);
	writer_u16(w, t->id);
	if (t->key_bits != 0) {
		writer_u16(w, WIRE_ATTRIBUTE_TV | WIRE_KEY_LENGTH);
		writer_u16(w, t->key_bits);
	}
	length_patch(w, at);
}

static void write_proposal(struct writer *w, const struct proposal *p, bool last)
{
	size_t at = w->len;

	if (p->spi_size > sizeof(p->spi) || p->count > PROPOSAL_TRANSFORMS_MAX || p->count == 0) {
		w->bad = true;
		return;
	}
	writer_u8(w, last ? 0 : WIRE_MORE_PROPOSALS);
	writer_u8(w, 0);
	writer_u16(w, 0);
	writer_u8(w, p->number);
	writer_u8(w, p->protocol);
	writer_u8(w, p->spi_size);
	writer_u8(w, p->count);
	writer_put(w, p->spi, p->spi_size);
	for (size_t i = 0; i < p->count; i++)
		write_transform(w, &p->transforms[i], i + 1 == p->count);
	length_patch(w, at);
}

void builder_sa(struct message_builder *b, const struct proposal_list *proposals)
{
	payload_open(b, PAYLOAD_SA);
	if (proposals->count == 0 || proposals->count > PROPOSALS_MAX)
		b->w.bad = true;
	for (size_t i = 0; !b->w.bad && i < proposals->count; i++)
		write_proposal(&b->w, &proposals->p[i], i + 1 == proposals->count);
	payload_close(b);
}

void builder_ke(struct message_builder *b, uint16_t method, struct bytes public_value)
{
	payload_open(b, PAYLOAD_KE);
	writer_u16(&b->w, method);
	writer_u16(&b->w, 0);
	writer_put_bytes(&b->w, public_value);
	payload_close(b);
}

void builder_nonce(struct message_builder *b, struct bytes nonce)
{
	payload_open(b, PAYLOAD_NONCE);
	if (nonce.len < NONCE_MIN || nonce.len > NONCE_MAX)
		b->w.bad = true;
	writer_put_bytes(&b->w, nonce);
	payload_close(b);
}

void builder_id(struct message_builder *b, enum payload_type type, const struct identity *id)
{
	uint8_t body[IDENTITY_MAX + 4];

	payload_open(b, type);
	writer_put(&b->w, body, identity_body(id, body));
	payload_close(b);
}

void builder_auth(struct message_builder *b, uint8_t method, struct bytes data)
{
	payload_open(b, PAYLOAD_AUTH);
	writer_u8(&b->w, method);
	writer_reserve(&b->w, 3);
	writer_put_bytes(&b->w, data);
	payload_close(b);
}

static void write_selector(struct writer *w, const struct traffic_selector *ts)
{
	struct bytes lo = ip_address_bytes(&ts->lo), hi = ip_address_bytes(&ts->hi);

	if (lo.len == 0 || lo.len != hi.len)
		w->bad = true;
	writer_u8(w, lo.len == 4 ? WIRE_TS_IPV4 : WIRE_TS_IPV6);
	writer_u8(w, ts->protocol);
	writer_u16(w, (uint16_t)(WIRE_TS_BYTES + lo.len + hi.len));
	writer_u16(w, ts->port_lo);
	writer_u16(w, ts->port_hi);
	writer_put_bytes(w, lo);
	writer_put_bytes(w, hi);
}

void builder_ts(struct message_builder *b, enum payload_type type, const struct ts_list *ts)
{
	payload_open(b, type);
	if (ts->count == 0 || ts->count > TS_LIST_MAX)
		b->w.bad = true;
	writer_u8(&b->w, (uint8_t)ts->count);
	writer_reserve(&b->w, 3);
	for (size_t i = 0; !b->w.bad && i < ts->count; i++)
		write_selector(&b->w, &ts->ts[i]);
	payload_close(b);
}

void builder_notify(struct message_builder *b, uint16_t type, uint8_t protocol, struct bytes spi,
		    struct bytes data)
{
	payload_open(b, PAYLOAD_NOTIFY);
	if (spi.len > UINT8_MAX)
		b->w.bad = true;
	writer_u8(&b->w, protocol);
	writer_u8(&b->w, (uint8_t)spi.len);
	writer_u16(&b->w, type);
	writer_put_bytes(&b->w, spi);
	writer_put_bytes(&b->w, data);
	payload_close(b);
}

void builder_delete_ike(struct message_builder *b)
{
	payload_open(b, PAYLOAD_DELETE);
	writer_u8(&b->w, PROTOCOL_IKE);
	writer_u8(&b->w, 0);
	writer_u16(&b->w, 0);
	payload_close(b);
}

void builder_delete_esp(struct message_builder *b, const uint32_t *spis, size_t count)
{
	payload_open(b, PAYLOAD_DELETE);
	if (count == 0 || count > DELETE_SPIS_MAX)
		b->w.bad = true;
	writer_u8(&b->w, PROTOCOL_ESP);
	writer_u8(&b->w, 4);
	writer_u16(&b->w, (uint16_t)count);
	for (size_t i = 0; !b->w.bad && i < count; i++)
		writer_u32(&b->w, spis[i]);
	payload_close(b);
}

struct bytes builder_end(struct message_builder *b)
{
	if (b->payload_at != 0 || b->sk_at != 0 || b->w.len > IKE_MESSAGE_MAX)
		b->w.bad = true;
	writer_patch_u32(&b->w, WIRE_HEADER_LENGTH, (uint32_t)b->w.len);
	return writer_bytes(&b->w);
}

struct bytes builder_end_protected(struct message_builder *b, struct sk *sk)
{
	size_t plain = b->w.len - b->text_at;
	struct writer *w = &b->w;
	uint8_t *text;

	if (b->sk_at == 0 || b->payload_at != 0)
		w->bad = true;
	if (w->bad)
		return writer_bytes(w);
	writer_reserve(w, sk_cipher_len(sk, plain) - plain + sk_icv_bytes(sk));
	if (w->len > IKE_MESSAGE_MAX)
		w->bad = true;
	length_patch(w, b->sk_at);
	writer_patch_u32(w, WIRE_HEADER_LENGTH, (uint32_t)w->len);
	text = w->base + b->text_at;
	if (!w->bad && !sk_seal(sk, BYTES(w->base, b->sk_at + WIRE_GENERIC_BYTES),
				w->base + b->sk_at + WIRE_GENERIC_BYTES, text, plain))
		w->bad = true;
	return writer_bytes(w);
}
