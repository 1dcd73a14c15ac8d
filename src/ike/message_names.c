/* Names of what stands in messages, for logs: IANA "IKEv2 Parameters". */
#include "ike/message.h"

#include <stdarg.h>
#include <stdio.h>

struct name {
	uint16_t value;
	const char *name;
};

static const struct name notify_names[] = {
	{ 1, "UNSUPPORTED_CRITICAL_PAYLOAD" },
	{ 4, "INVALID_IKE_SPI" },
	{ 5, "INVALID_MAJOR_VERSION" },
	{ 7, "INVALID_SYNTAX" },
	{ 9, "INVALID_MESSAGE_ID" },
	{ 11, "INVALID_SPI" },
	{ 14, "NO_PROPOSAL_CHOSEN" },
	{ 17, "INVALID_KE_PAYLOAD" },
	{ 24, "AUTHENTICATION_FAILED" },
	{ 34, "SINGLE_PAIR_REQUIRED" },
	{ 35, "NO_ADDITIONAL_SAS" },
	{ 36, "INTERNAL_ADDRESS_FAILURE" },
	{ 37, "FAILED_CP_REQUIRED" },
	{ 38, "TS_UNACCEPTABLE" },
	{ 39, "INVALID_SELECTORS" },
	{ 40, "UNACCEPTABLE_ADDRESSES" },
	{ 41, "UNEXPECTED_NAT_DETECTED" },
	{ 42, "USE_ASSIGNED_HoA" },
	{ 43, "TEMPORARY_FAILURE" },
	{ 44, "CHILD_SA_NOT_FOUND" },
	{ 47, "STATE_NOT_FOUND" },
	{ 48, "TS_MAX_QUEUE" },
	{ 16384, "INITIAL_CONTACT" },
	{ 16385, "SET_WINDOW_SIZE" },
	{ 16386, "ADDITIONAL_TS_POSSIBLE" },
	{ 16387, "IPCOMP_SUPPORTED" },
	{ 16388, "NAT_DETECTION_SOURCE_IP" },
	{ 16389, "NAT_DETECTION_DESTINATION_IP" },
	{ 16390, "COOKIE" },
	{ 16391, "USE_TRANSPORT_MODE" },
	{ 16392, "HTTP_CERT_LOOKUP_SUPPORTED" },
	{ 16393, "REKEY_SA" },
	{ 16394, "ESP_TFC_PADDING_NOT_SUPPORTED" },
	{ 16395, "NON_FIRST_FRAGMENTS_ALSO" },
	{ 16396, "MOBIKE_SUPPORTED" },
	{ 16397, "ADDITIONAL_IP4_ADDRESS" },
	{ 16398, "ADDITIONAL_IP6_ADDRESS" },
	{ 16399, "NO_ADDITIONAL_ADDRESSES" },
	{ 16400, "UPDATE_SA_ADDRESSES" },
	{ 16401, "COOKIE2" },
	{ 16402, "NO_NATS_ALLOWED" },
	{ 16403, "AUTH_LIFETIME" },
	{ 16404, "MULTIPLE_AUTH_SUPPORTED" },
	{ 16405, "ANOTHER_AUTH_FOLLOWS" },
	{ 16406, "REDIRECT_SUPPORTED" },
	{ 16407, "REDIRECT" },
	{ 16408, "REDIRECTED_FROM" },
	{ 16409, "TICKET_LT_OPAQUE" },
	{ 16410, "TICKET_REQUEST" },
	{ 16411, "TICKET_ACK" },
	{ 16412, "TICKET_NACK" },
	{ 16413, "TICKET_OPAQUE" },
	{ 16414, "LINK_ID" },
	{ 16415, "USE_WESP_MODE" },
	{ 16416, "ROHC_SUPPORTED" },
	{ 16417, "EAP_ONLY_AUTHENTICATION" },
	{ 16418, "CHILDLESS_IKEV2_SUPPORTED" },
	{ 16419, "QUICK_CRASH_DETECTION" },
	{ 16420, "IKEV2_MESSAGE_ID_SYNC_SUPPORTED" },
	{ 16421, "IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED" },
	{ 16422, "IKEV2_MESSAGE_ID_SYNC" },
	{ 16423, "IPSEC_REPLAY_COUNTER_SYNC" },
	{ 16424, "SECURE_PASSWORD_METHODS" },
	{ 16425, "PSK_PERSIST" },
	{ 16426, "PSK_CONFIRM" },
	{ 16427, "ERX_SUPPORTED" },
	{ 16428, "IFOM_CAPABILITY" },
	{ 16430, "FRAGMENTATION_SUPPORTED" },
	{ 16431, "SIGNATURE_HASH_ALGORITHMS" },
	{ 16432, "CLONE_IKE_SA_SUPPORTED" },
	{ 16433, "CLONE_IKE_SA" },
	{ 16434, "PUZZLE" },
	{ 16435, "USE_PPK" },
	{ 16436, "PPK_IDENTITY" },
	{ 16437, "NO_PPK_AUTH" },
	{ 16438, "INTERMEDIATE_EXCHANGE_SUPPORTED" },
	{ 16441, "ADDITIONAL_KEY_EXCHANGE" },
	{ 16442, "USE_AGGFRAG" },
	{ 16443, "SUPPORTED_AUTH_METHODS" },
	{ 16444, "SA_RESOURCE_INFO" },
};

static const struct name exchange_names[] = {
	{ EXCHANGE_IKE_SA_INIT, "IKE_SA_INIT" },
	{ EXCHANGE_IKE_AUTH, "IKE_AUTH" },
	{ EXCHANGE_CREATE_CHILD_SA, "CREATE_CHILD_SA" },
	{ EXCHANGE_INFORMATIONAL, "INFORMATIONAL" },
};

static const struct name payload_names[] = {
	{ PAYLOAD_SA, "SA" },	      { PAYLOAD_KE, "KE" },
	{ PAYLOAD_IDI, "IDi" },	      { PAYLOAD_IDR, "IDr" },
	{ PAYLOAD_CERT, "CERT" },     { PAYLOAD_CERTREQ, "CERTREQ" },
	{ PAYLOAD_AUTH, "AUTH" },     { PAYLOAD_NONCE, "Nonce" },
	{ PAYLOAD_NOTIFY, "N" },      { PAYLOAD_DELETE, "D" },
	{ PAYLOAD_VENDOR, "V" },      { PAYLOAD_TSI, "TSi" },
	{ PAYLOAD_TSR, "TSr" },	      { PAYLOAD_SK, "SK" },
	{ PAYLOAD_CP, "CP" },	      { PAYLOAD_EAP, "EAP" },
	{ PAYLOAD_SKF, "SKF" },
};

#define NAME_FIND(table, value) name_find(table, sizeof(table) / sizeof((table)[0]), value)

static const char *name_find(const struct name *table, size_t count, uint16_t value)
{
	for (size_t i = 0; i < count; i++) {
		if (table[i].value == value)
			return table[i].name;
	}
	return NULL;
}

const char *notify_name(uint16_t type, char *buf)
{
	const char *name = NAME_FIND(notify_names, type);

	if (name)
		return name;
	snprintf(buf, 24, "unknown(%u)", type);
	return buf;
}

const char *exchange_name(uint8_t type)
{
	const char *name = NAME_FIND(exchange_names, type);

	return name ? name : "unknown exchange";
}

const char *payload_name(uint8_t type)
{
	const char *name = NAME_FIND(payload_names, type);

	return name ? name : "unknown payload";
}

const char *decode_status_text(enum decode_status s)
{
	switch (s) {
	case DECODE_OK:
		return "well-formed";
	case DECODE_SHORT:
		return "lengths do not add up";
	case DECODE_VERSION:
		return "not IKE version 2";
	case DECODE_SYNTAX:
		return "malformed payload";
	case DECODE_TWICE:
		return "a payload that must be single is there twice";
	case DECODE_LIMIT:
		return "more payloads, or larger ones, than we take";
	case DECODE_INTEGRITY:
		return "integrity check failed";
	case DECODE_NOT_PROTECTED:
		return "not protected as it must be";
	}
	return "unknown";
}

/* Appends to `buf` of `len` bytes at `*at`, cutting off what does not fit. */
__attribute__((format(printf, 4, 5))) static void append(char *buf, size_t len, size_t *at,
							 const char *format, ...)
{
	va_list args;
	int n;

	if (*at >= len)
		return;
	va_start(args, format);
	n = vsnprintf(buf + *at, len - *at, format, args);
	va_end(args);
	if (n > 0)
		*at += (size_t)n;
}

const char *message_describe(const struct message *m, char *buf, size_t len)
{
	static const uint8_t order[] = { PAYLOAD_IDI,	  PAYLOAD_CERT,	  PAYLOAD_CERTREQ, PAYLOAD_IDR,
					 PAYLOAD_AUTH,	  PAYLOAD_CP,	  PAYLOAD_EAP,	   PAYLOAD_SA,
					 PAYLOAD_KE,	  PAYLOAD_NONCE,  PAYLOAD_TSI,	   PAYLOAD_TSR,
					 PAYLOAD_NOTIFY, PAYLOAD_DELETE, PAYLOAD_VENDOR };
	const char *comma = "";
	size_t at = 0;

	if (len > 0)
		buf[0] = '\0';
	for (size_t i = 0; i < sizeof(order); i++) {
		const char *name = payload_name(order[i]);

		if (!message_has(m, order[i]))
			continue;
		if (order[i] == PAYLOAD_NONCE)
			name = m->header.response ? "Nr" : "Ni";
		if (order[i] != PAYLOAD_NOTIFY) {
			append(buf, len, &at, "%s%s", comma, name);
			comma = ",";
			continue;
		}
		for (size_t n = 0; n < m->notify_count; n++) {
			char number[24];

			append(buf, len, &at, "%sN(%s)", comma,
			       notify_name(m->notifies[n].type, number));
			comma = ",";
		}
	}
	return buf;
}
