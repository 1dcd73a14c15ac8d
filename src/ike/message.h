/*
 * IKEv2 messages as structures: RFC 7296 §3. The only code of ike/ that knows
 * wire formats. Decoding never reads past the datagram, borrows from it, and
 * fails as a whole: a struct message that was decoded has well-formed payloads,
 * each at most as often as the RFC allows. What an exchange must have is asked
 * by message_require(), so no handler searches for payloads.
 */
#ifndef IKE_MESSAGE_H
#define IKE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/reader.h"
#include "base/writer.h"
#include "crypto/proposal.h"
#include "crypto/sk.h"
#include "net/identity.h"
#include "net/selector.h"

/** Exchange types, RFC 7296 §3.1. */
enum exchange_type { EXCHANGE_IKE_SA_INIT = 34, EXCHANGE_IKE_AUTH = 35, EXCHANGE_CREATE_CHILD_SA = 36, EXCHANGE_INFORMATIONAL = 37 };

/** Payload types, RFC 7296 §3.2. */
enum payload_type {
	PAYLOAD_NONE = 0, PAYLOAD_SA = 33, PAYLOAD_KE = 34, PAYLOAD_IDI = 35, PAYLOAD_IDR = 36, PAYLOAD_CERT = 37,
	PAYLOAD_CERTREQ = 38, PAYLOAD_AUTH = 39, PAYLOAD_NONCE = 40, PAYLOAD_NOTIFY = 41, PAYLOAD_DELETE = 42,
	PAYLOAD_VENDOR = 43, PAYLOAD_TSI = 44, PAYLOAD_TSR = 45, PAYLOAD_SK = 46, PAYLOAD_CP = 47, PAYLOAD_EAP = 48,
	PAYLOAD_SKF = 53,
};

/** Notify message types used by us, RFC 7296 §3.10.1; message_notify_name() knows more. */
enum notify_type {
	N_UNSUPPORTED_CRITICAL_PAYLOAD = 1, N_INVALID_IKE_SPI = 4, N_INVALID_MAJOR_VERSION = 5, N_INVALID_SYNTAX = 7,
	N_INVALID_MESSAGE_ID = 9, N_INVALID_SPI = 11, N_NO_PROPOSAL_CHOSEN = 14, N_INVALID_KE_PAYLOAD = 17,
	N_AUTHENTICATION_FAILED = 24, N_SINGLE_PAIR_REQUIRED = 34, N_NO_ADDITIONAL_SAS = 35, N_TS_UNACCEPTABLE = 38,
	N_INVALID_SELECTORS = 39, N_TEMPORARY_FAILURE = 43, N_CHILD_SA_NOT_FOUND = 44, N_TS_MAX_QUEUE = 48,
	N_INITIAL_CONTACT = 16384, N_SET_WINDOW_SIZE = 16385, N_NAT_DETECTION_SOURCE_IP = 16388,
	N_NAT_DETECTION_DESTINATION_IP = 16389, N_COOKIE = 16390, N_USE_TRANSPORT_MODE = 16391, N_REKEY_SA = 16393,
	N_ESP_TFC_PADDING_NOT_SUPPORTED = 16394, N_FRAGMENTATION_SUPPORTED = 16430, N_SA_RESOURCE_INFO = 16444,
};
#define NOTIFY_IS_ERROR(t) ((t) < 16384)

enum auth_method { AUTH_METHOD_RSA = 1, AUTH_METHOD_SHARED_KEY = 2, AUTH_METHOD_NULL = 13, AUTH_METHOD_SIGNATURE = 14 };

enum { IKE_HEADER_BYTES = 28, IKE_MESSAGE_MAX = 65507, MESSAGE_NOTIFIES_MAX = 32, MESSAGE_DELETES_MAX = 4, DELETE_SPIS_MAX = 64,
       MESSAGE_PAYLOADS_MAX = 64, NONCE_MIN = 16, NONCE_MAX = 256 };

struct ike_header {
	uint64_t spi_i, spi_r;
	uint8_t next_payload, version, exchange;
	bool initiator; /* flag I: sent by the original initiator of the IKE SA */
	bool response;  /* flag R */
	uint32_t message_id;
	uint32_t length;
};

struct notify {
	uint16_t type;
	uint8_t protocol;
	struct bytes spi, data;
};

struct delete_payload {
	uint8_t protocol;
	uint8_t spi_size;
	size_t count;
	uint32_t spis[DELETE_SPIS_MAX]; /* ESP, AH; empty for an IKE SA */
};

/** A decoded message; its struct bytes point into the datagram. Large: keep it off small stacks. */
struct message {
	struct ike_header header;
	uint64_t present;          /* bit (type - 32) of each payload type seen, all types 33..95 */
	struct proposal_list sa;
	uint16_t ke_method;
	struct bytes ke;
	struct bytes nonce;
	struct identity idi, idr;
	struct bytes idi_body, idr_body; /* payload bodies after the generic header, for AUTH */
	uint8_t auth_method;
	struct bytes auth;
	struct ts_list tsi, tsr;
	size_t notify_count;
	struct notify notifies[MESSAGE_NOTIFIES_MAX];
	size_t delete_count;
	struct delete_payload deletes[MESSAGE_DELETES_MAX];
	uint8_t unknown_critical;  /* type of the first critical payload that we do not know, 0: none */
};

enum decode_status {
	DECODE_OK,
	DECODE_SHORT,         /* header or a payload is cut off, or lengths do not add up */
	DECODE_VERSION,       /* major version is not 2 */
	DECODE_SYNTAX,        /* a payload's content is malformed */
	DECODE_TWICE,         /* a payload that must be single is there twice */
	DECODE_LIMIT,         /* more payloads, notifies or proposals than we take */
	DECODE_INTEGRITY,     /* the Encrypted payload does not verify */
	DECODE_NOT_PROTECTED, /* SK is missing, or payloads beside it */
};
const char *decode_status_text(enum decode_status s);

/** Header only; for dispatch. Length must be the datagram's. */
enum decode_status message_decode_header(struct bytes datagram, struct ike_header *out);
/** A message in the clear (IKE_SA_INIT, and unprotected notifies). */
enum decode_status message_decode_clear(struct bytes datagram, struct message *out);
/**
 * A protected message: decrypts in place (so `datagram` is written to) with `sk`, then decodes what
 * was inside. On any failure nothing of the plaintext is left in `out`.
 * PAYLOAD_SK is `present` once the message has been authenticated, even if the rest fails.
 */
enum decode_status message_decode_protected(uint8_t *datagram, size_t len, struct sk *sk,
					    struct message *out);

static inline bool message_has(const struct message *m, enum payload_type t)
{
	return t >= 32 && t < 96 && (m->present >> (t - 32)) & 1;
}
/** All of `count` payload types are there; else the first that is missing goes to `*missing`. */
bool message_require(const struct message *m, const uint8_t *types, size_t count, uint8_t *missing);
/** First notify of `type`, NULL when there is none. */
const struct notify *message_notify(const struct message *m, uint16_t type);
/** First notify of an error type, NULL. */
const struct notify *message_error(const struct message *m);
/** `SA,KE,Ni,N(COOKIE)` for logs. */
const char *message_describe(const struct message *m, char *buf, size_t len);
const char *notify_name(uint16_t type, char *buf /* 24 bytes */);
const char *exchange_name(uint8_t type);
const char *payload_name(uint8_t type);

/*
 * Building: begin, add payloads in the order wanted, end. Overflow and misuse are sticky;
 * builder_end*() gives empty bytes then.
 */
struct message_builder {
	struct writer w;
	size_t next_at;     /* where the type of the next payload goes */
	size_t payload_at;  /* start of the payload that is open, 0: none */
	size_t sk_at;       /* start of the Encrypted payload, 0: clear message */
	size_t text_at;     /* first byte of plaintext */
};

/** `buf` of `cap` bytes; header->length and next_payload are filled in at the end. */
void builder_begin(struct message_builder *b, void *buf, size_t cap, const struct ike_header *h);
/** Start the Encrypted payload: what follows is inside. `iv`: sk_iv_bytes(sk) bytes, unique or random. */
void builder_protect(struct message_builder *b, const struct sk *sk, const uint8_t *iv);
void builder_sa(struct message_builder *b, const struct proposal_list *proposals);
void builder_ke(struct message_builder *b, uint16_t method, struct bytes public_value);
void builder_nonce(struct message_builder *b, struct bytes nonce);
/** `type` PAYLOAD_IDI or PAYLOAD_IDR; the body (for AUTH) can be had from identity_body(). */
void builder_id(struct message_builder *b, enum payload_type type, const struct identity *id);
void builder_auth(struct message_builder *b, uint8_t method, struct bytes data);
void builder_ts(struct message_builder *b, enum payload_type type, const struct ts_list *ts);
void builder_notify(struct message_builder *b, uint16_t type, uint8_t protocol, struct bytes spi,
		    struct bytes data);
void builder_delete_ike(struct message_builder *b);
void builder_delete_esp(struct message_builder *b, const uint32_t *spis, size_t count);
struct bytes builder_end(struct message_builder *b);
struct bytes builder_end_protected(struct message_builder *b, struct sk *sk);

/** Body of an ID payload after the generic header (type, 3 zero bytes, data): what AUTH covers. */
size_t identity_body(const struct identity *id, uint8_t *out /* IDENTITY_MAX + 4 */);

#endif
