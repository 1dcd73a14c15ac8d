/* Decoding IKEv2 messages: RFC 7296 §3. All bytes are read through struct reader. */
#include "ike/message.h"

#include <string.h>

#include "ike/message_wire.h"

enum { COOKIE_MAX = 64 };

static enum decode_status decode_header(struct reader *r, size_t datagram_len,
					struct ike_header *out)
{
	uint8_t flags;

	out->spi_i = reader_u64(r);
	out->spi_r = reader_u64(r);
	out->next_payload = reader_u8(r);
	out->version = reader_u8(r);
	out->exchange = reader_u8(r);
	flags = reader_u8(r);
	out->initiator = flags & WIRE_FLAG_INITIATOR;
	out->response = flags & WIRE_FLAG_RESPONSE;
	out->message_id = reader_u32(r);
	out->length = reader_u32(r);
	if (!reader_ok(r) || out->length != datagram_len)
		return DECODE_SHORT;
	if (out->version >> 4 != WIRE_VERSION >> 4)
		return DECODE_VERSION;
	/* §3.1: the initiator's SPI is never zero. */
	if (out->spi_i == 0 || out->exchange < EXCHANGE_IKE_SA_INIT ||
	    out->exchange > EXCHANGE_INFORMATIONAL)
		return DECODE_SYNTAX;
	return DECODE_OK;
}

/*
 * §3.3.5. `usable` becomes false when there is an attribute that we do not
 * understand, for such a transform must not be chosen (§3.3.6).
 */
static enum decode_status decode_attributes(struct reader *r, struct transform *t, bool *usable)
{
	*usable = true;
	while (reader_left(r) > 0) {
		uint16_t type = reader_u16(r);
		uint16_t value = reader_u16(r);

		if (!(type & WIRE_ATTRIBUTE_TV))
			reader_skip(r, value);
		if (!reader_ok(r))
			return DECODE_SHORT;
		if (type == (WIRE_ATTRIBUTE_TV | WIRE_KEY_LENGTH) && t->type == TRANSFORM_ENCR &&
		    t->key_bits == 0 && value != 0)
			t->key_bits = value;
		else
			*usable = false;
	}
	return DECODE_OK;
}

static enum decode_status decode_transform(struct reader *r, bool last, struct transform *out)
{
	uint8_t more = reader_u8(r);
	struct reader body;
	enum decode_status status;
	uint16_t len;
	bool usable;

	reader_skip(r, 1);
	len = reader_u16(r);
	if (len < WIRE_TRANSFORM_BYTES)
		return DECODE_SHORT;
	body = reader_sub(r, len - 4);
	out->type = reader_u8(&body);
	reader_skip(&body, 1);
	out->id = reader_u16(&body);
	out->key_bits = 0;
	if (!reader_ok(r) || !reader_ok(&body))
		return DECODE_SHORT;
	if (more != (last ? 0 : WIRE_MORE_TRANSFORMS))
		return DECODE_SYNTAX;
	status = decode_attributes(&body, out, &usable);
	if (!usable) {
		/* It stays, with an ID that is nobody's, so that its type still counts as offered. */
		out->id = UINT16_MAX;
		out->key_bits = 0;
	}
	return status;
}

/* §3.3.1: an SPI of 8 bytes only where an IKE SA is rekeyed, of 4 bytes for ESP and AH. */
static bool proposal_spi_size_ok(uint8_t protocol, uint8_t size, const struct ike_header *h)
{
	if (protocol == PROTOCOL_IKE)
		return size == (h->exchange == EXCHANGE_CREATE_CHILD_SA ? 8 : 0);
	if (protocol == PROTOCOL_ESP || protocol == PROTOCOL_AH)
		return size == 4;
	return size <= 8;
}

static enum decode_status decode_proposal(struct reader *r, bool *last, const struct ike_header *h,
					  struct proposal *out)
{
	uint8_t more = reader_u8(r), transforms;
	struct reader body;
	uint16_t len;

	reader_skip(r, 1);
	len = reader_u16(r);
	if (len < WIRE_PROPOSAL_BYTES)
		return DECODE_SHORT;
	body = reader_sub(r, len - 4);
	out->number = reader_u8(&body);
	out->protocol = reader_u8(&body);
	out->spi_size = reader_u8(&body);
	transforms = reader_u8(&body);
	if (!reader_ok(r) || !reader_ok(&body))
		return DECODE_SHORT;
	if ((more != 0 && more != WIRE_MORE_PROPOSALS) || transforms == 0 ||
	    !proposal_spi_size_ok(out->protocol, out->spi_size, h))
		return DECODE_SYNTAX;
	if (!reader_copy(&body, out->spi, out->spi_size))
		return DECODE_SHORT;
	if (transforms > PROPOSAL_TRANSFORMS_MAX)
		return DECODE_LIMIT;
	for (out->count = 0; out->count < transforms; out->count++) {
		enum decode_status status = decode_transform(&body, out->count + 1 == transforms,
							     &out->transforms[out->count]);

		if (status != DECODE_OK)
			return status;
	}
	*last = more == 0;
	return reader_done(&body) ? DECODE_OK : DECODE_SHORT;
}

static enum decode_status decode_sa(struct reader *r, struct message *m)
{
	bool last = false;

	while (!last) {
		enum decode_status status;
		struct proposal *p;

		if (m->sa.count == PROPOSALS_MAX)
			return DECODE_LIMIT;
		p = &m->sa.p[m->sa.count];
		status = decode_proposal(r, &last, &m->header, p);
		if (status != DECODE_OK)
			return status;
		m->sa.count++;
		/* §3.3.1: an offer counts from 1; an answer has the number that it accepts. */
		if (m->header.response ? p->number == 0 || !last : p->number != m->sa.count)
			return DECODE_SYNTAX;
	}
	return reader_done(r) ? DECODE_OK : DECODE_SHORT;
}

static enum decode_status decode_ke(struct reader *r, struct message *m)
{
	m->ke_method = reader_u16(r);
	reader_skip(r, 2);
	m->ke = reader_rest(r);
	if (!reader_ok(r))
		return DECODE_SHORT;
	return m->ke.len > 0 ? DECODE_OK : DECODE_SYNTAX;
}

static enum decode_status decode_id(struct reader *r, struct identity *id, struct bytes *whole)
{
	uint8_t type;
	struct bytes data;

	*whole = BYTES(r->pos, reader_left(r));
	type = reader_u8(r);
	reader_skip(r, 3);
	data = reader_rest(r);
	if (!reader_ok(r))
		return DECODE_SHORT;
	if (data.len > IDENTITY_MAX)
		return DECODE_LIMIT;
	return identity_from_wire(type, data, id) ? DECODE_OK : DECODE_SYNTAX;
}

static enum decode_status decode_auth(struct reader *r, struct message *m)
{
	m->auth_method = reader_u8(r);
	reader_skip(r, 3);
	m->auth = reader_rest(r);
	if (!reader_ok(r))
		return DECODE_SHORT;
	return m->auth.len > 0 ? DECODE_OK : DECODE_SYNTAX;
}

static enum decode_status decode_nonce(struct reader *r, struct message *m)
{
	m->nonce = reader_rest(r);
	return m->nonce.len >= NONCE_MIN && m->nonce.len <= NONCE_MAX ? DECODE_OK : DECODE_SYNTAX;
}

/* What a notify must look like for its readers to need no further check. */
static bool notify_content_ok(const struct notify *n)
{
	if (n->spi.len != 0 && n->spi.len != 4 && n->spi.len != 8)
		return false;
	switch (n->type) {
	case N_INVALID_KE_PAYLOAD:
		return n->data.len == 2;
	case N_COOKIE:
		return n->data.len >= 1 && n->data.len <= COOKIE_MAX;
	case N_REKEY_SA:
		return n->spi.len == 4 && (n->protocol == PROTOCOL_ESP || n->protocol == PROTOCOL_AH);
	default:
		return true;
	}
}

static enum decode_status decode_notify(struct reader *r, struct message *m)
{
	struct notify *n;
	uint8_t spi_size;

	if (m->notify_count == MESSAGE_NOTIFIES_MAX)
		return DECODE_LIMIT;
	n = &m->notifies[m->notify_count];
	n->protocol = reader_u8(r);
	spi_size = reader_u8(r);
	n->type = reader_u16(r);
	n->spi = reader_bytes(r, spi_size);
	n->data = reader_rest(r);
	if (!reader_ok(r))
		return DECODE_SHORT;
	if (!notify_content_ok(n))
		return DECODE_SYNTAX;
	m->notify_count++;
	return DECODE_OK;
}

static enum decode_status decode_delete(struct reader *r, struct message *m)
{
	struct delete_payload *d;
	uint16_t count;

	if (m->delete_count == MESSAGE_DELETES_MAX)
		return DECODE_LIMIT;
	d = &m->deletes[m->delete_count];
	d->protocol = reader_u8(r);
	d->spi_size = reader_u8(r);
	count = reader_u16(r);
	if (!reader_ok(r))
		return DECODE_SHORT;
	/* §3.11: an IKE SA is named by the header, ESP and AH SAs by their SPIs. */
	if (d->protocol == PROTOCOL_IKE) {
		if (d->spi_size != 0 || count != 0)
			return DECODE_SYNTAX;
	} else if ((d->protocol != PROTOCOL_ESP && d->protocol != PROTOCOL_AH) || d->spi_size != 4) {
		return DECODE_SYNTAX;
	}
	if (reader_left(r) != (size_t)count * d->spi_size)
		return DECODE_SHORT;
	if (count > DELETE_SPIS_MAX)
		return DECODE_LIMIT;
	for (d->count = 0; d->count < count; d->count++)
		d->spis[d->count] = reader_u32(r);
	m->delete_count++;
	return DECODE_OK;
}

/* §3.13.1. A selector of a type that we do not know is left out: the others stand beside it. */
static enum decode_status decode_selector(struct reader *r, struct ts_list *list)
{
	struct traffic_selector ts = { 0 };
	uint8_t type = reader_u8(r);
	struct reader body;
	size_t size = type == WIRE_TS_IPV4 ? 4 : 16;
	uint16_t len;

	ts.protocol = reader_u8(r);
	len = reader_u16(r);
	if (len < 4)
		return DECODE_SHORT;
	body = reader_sub(r, len - 4);
	if (!reader_ok(r))
		return DECODE_SHORT;
	if (type != WIRE_TS_IPV4 && type != WIRE_TS_IPV6)
		return DECODE_OK;
	if (len != WIRE_TS_BYTES + 2 * size)
		return DECODE_SHORT;
	ts.port_lo = reader_u16(&body);
	ts.port_hi = reader_u16(&body);
	ts.lo = ip_address_from_bytes(reader_bytes(&body, size));
	ts.hi = ip_address_from_bytes(reader_bytes(&body, size));
	if (!reader_done(&body))
		return DECODE_SHORT;
	if (!ts_valid(&ts))
		return DECODE_SYNTAX;
	if (list->count == TS_LIST_MAX)
		return DECODE_LIMIT;
	list->ts[list->count++] = ts;
	return DECODE_OK;
}

static enum decode_status decode_ts(struct reader *r, struct ts_list *list)
{
	uint8_t count = reader_u8(r);

	reader_skip(r, 3);
	if (!reader_ok(r))
		return DECODE_SHORT;
	if (count == 0)
		return DECODE_SYNTAX;
	if (count > TS_LIST_MAX)
		return DECODE_LIMIT;
	while (count-- > 0) {
		enum decode_status status = decode_selector(r, list);

		if (status != DECODE_OK)
			return status;
	}
	return reader_done(r) ? DECODE_OK : DECODE_SHORT;
}

/* Payloads that we know and do not use: only that they are as long as they must be. */
static enum decode_status decode_unused(struct reader *r, size_t least)
{
	return reader_skip(r, least) ? DECODE_OK : DECODE_SHORT;
}

static enum decode_status decode_payload(uint8_t type, bool critical, struct reader *r,
					 struct message *m)
{
	switch (type) {
	case PAYLOAD_SA:
		return decode_sa(r, m);
	case PAYLOAD_KE:
		return decode_ke(r, m);
	case PAYLOAD_IDI:
		return decode_id(r, &m->idi, &m->idi_body);
	case PAYLOAD_IDR:
		return decode_id(r, &m->idr, &m->idr_body);
	case PAYLOAD_AUTH:
		return decode_auth(r, m);
	case PAYLOAD_NONCE:
		return decode_nonce(r, m);
	case PAYLOAD_NOTIFY:
		return decode_notify(r, m);
	case PAYLOAD_DELETE:
		return decode_delete(r, m);
	case PAYLOAD_TSI:
		return decode_ts(r, &m->tsi);
	case PAYLOAD_TSR:
		return decode_ts(r, &m->tsr);
	case PAYLOAD_CERT:
	case PAYLOAD_CERTREQ:
		return decode_unused(r, 1);
	case PAYLOAD_CP:
	case PAYLOAD_EAP:
		return decode_unused(r, 4);
	case PAYLOAD_VENDOR:
		return DECODE_OK;
	case PAYLOAD_SK:
		/* Not where a payload of a clear message, or of an Encrypted one, may stand. */
		return DECODE_NOT_PROTECTED;
	default:
		/* §2.5: unknown payloads are skipped, unless the sender says that they matter. */
		if (critical && m->unknown_critical == 0)
			m->unknown_critical = type;
		return DECODE_OK;
	}
}

static bool payload_is_single(uint8_t type)
{
	switch (type) {
	case PAYLOAD_SA:
	case PAYLOAD_KE:
	case PAYLOAD_NONCE:
	case PAYLOAD_IDI:
	case PAYLOAD_IDR:
	case PAYLOAD_AUTH:
	case PAYLOAD_TSI:
	case PAYLOAD_TSR:
		return true;
	default:
		return false;
	}
}

static enum decode_status decode_chain(struct reader *r, uint8_t type, struct message *m)
{
	for (size_t payloads = 0; type != PAYLOAD_NONE; payloads++) {
		uint8_t next = reader_u8(r);
		bool critical = reader_u8(r) & WIRE_CRITICAL;
		uint16_t len = reader_u16(r);
		enum decode_status status;
		struct reader body;

		if (!reader_ok(r) || len < WIRE_GENERIC_BYTES)
			return DECODE_SHORT;
		body = reader_sub(r, len - WIRE_GENERIC_BYTES);
		if (!reader_ok(r))
			return DECODE_SHORT;
		if (payloads == MESSAGE_PAYLOADS_MAX)
			return DECODE_LIMIT;
		if (payload_is_single(type) && message_has(m, type))
			return DECODE_TWICE;
		status = decode_payload(type, critical, &body, m);
		if (status != DECODE_OK)
			return status;
		if (type >= 32 && type < 96)
			m->present |= UINT64_C(1) << (type - 32);
		type = next;
	}
	return reader_done(r) ? DECODE_OK : DECODE_SHORT;
}

/* Keeps the header, by which the caller answers, and nothing of the payloads. */
static void message_forget(struct message *m)
{
	struct ike_header header = m->header;

	secret_wipe(m, sizeof(*m));
	m->header = header;
}

enum decode_status message_decode_header(struct bytes datagram, struct ike_header *out)
{
	struct reader r = reader_of(datagram);

	memset(out, 0, sizeof(*out));
	return decode_header(&r, datagram.len, out);
}

enum decode_status message_decode_clear(struct bytes datagram, struct message *out)
{
	struct reader r = reader_of(datagram);
	enum decode_status status;

	memset(out, 0, sizeof(*out));
	status = decode_header(&r, datagram.len, &out->header);
	if (status == DECODE_OK)
		status = decode_chain(&r, out->header.next_payload, out);
	if (status != DECODE_OK)
		message_forget(out);
	return status;
}

/* Finds the parts of the Encrypted payload (§3.14), which must be all that there is. */
static enum decode_status decode_encrypted(struct reader *r, const struct ike_header *h,
					   const struct sk *sk, uint8_t *first, struct bytes *iv,
					   struct bytes *text)
{
	size_t iv_len = sk_iv_bytes(sk), icv_len = sk_icv_bytes(sk);
	size_t left = reader_left(r);
	uint16_t len;

	if (h->next_payload != PAYLOAD_SK)
		return DECODE_NOT_PROTECTED;
	*first = reader_u8(r);
	reader_skip(r, 1);
	len = reader_u16(r);
	if (!reader_ok(r) || len != left)
		return DECODE_SHORT;
	left = reader_left(r);
	if (left < iv_len + sk_cipher_len(sk, 0) + icv_len)
		return DECODE_SHORT;
	*iv = reader_bytes(r, iv_len);
	*text = reader_bytes(r, left - iv_len - icv_len);
	return DECODE_OK;
}

enum decode_status message_decode_protected(uint8_t *datagram, size_t len, struct sk *sk,
					    struct message *out)
{
	struct reader r = reader_new(datagram, len), inner;
	enum decode_status status;
	struct bytes iv, text;
	uint8_t first;
	size_t plain;

	memset(out, 0, sizeof(*out));
	status = decode_header(&r, len, &out->header);
	if (status != DECODE_OK)
		return status;
	status = decode_encrypted(&r, &out->header, sk, &first, &iv, &text);
	if (status != DECODE_OK)
		return status;
	if (!sk_open(sk, BYTES(datagram, iv.ptr - datagram), iv.ptr,
		     datagram + (text.ptr - datagram), text.len, &plain))
		return DECODE_INTEGRITY;
	inner = reader_new(text.ptr, plain);
	status = decode_chain(&inner, first, out);
	if (status != DECODE_OK)
		message_forget(out);
	/* also when what was inside is malformed: the sender is who it should be */
	out->present |= UINT64_C(1) << (PAYLOAD_SK - 32);
	return status;
}

bool message_require(const struct message *m, const uint8_t *types, size_t count, uint8_t *missing)
{
	for (size_t i = 0; i < count; i++) {
		if (!message_has(m, types[i])) {
			*missing = types[i];
			return false;
		}
	}
	return true;
}

const struct notify *message_notify(const struct message *m, uint16_t type)
{
	for (size_t i = 0; i < m->notify_count; i++) {
		if (m->notifies[i].type == type)
			return &m->notifies[i];
	}
	return NULL;
}

const struct notify *message_error(const struct message *m)
{
	for (size_t i = 0; i < m->notify_count; i++) {
		if (NOTIFY_IS_ERROR(m->notifies[i].type))
			return &m->notifies[i];
	}
	return NULL;
}

size_t identity_body(const struct identity *id, uint8_t *out)
{
	out[0] = id->type;
	memset(out + 1, 0, 3);
	memcpy(out + 4, id->data, id->len);
	return 4 + (size_t)id->len;
}
