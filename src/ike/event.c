/* Events: what the engine tells its host, and the texts that several of them share. */
#include <stdarg.h>
#include <stdio.h>

#include "ike/internal.h"

const char *endpoint_text(const struct ip_endpoint *p, char *buf)
{
	char address[IP_ADDRESS_TEXT];

	snprintf(buf, IP_ENDPOINT_TEXT + 4, "%s:UDP/%u", ip_address_format(&p->address, address), p->port);
	return buf;
}

const char *identity_text(const struct identity *id, char *buf, size_t len)
{
	char value[IDENTITY_TEXT];

	if (id->type == IDENTITY_NONE)
		snprintf(buf, len, "%%any");
	else
		snprintf(buf, len, "%s '%s'", identity_type_name(id),
			 identity_format(id, value, sizeof(value)));
	return buf;
}

void event_emit(struct ike_engine *e, enum ike_event_type type, enum log_level level, enum ike_reason reason,
		struct event_about about, const char *format, ...)
{
	char text[TEXT_MAX];
	va_list args;
	struct ike_event event = {
		.type = type,
		.level = level,
		.reason = reason,
		.conn = about.conn,
		.ike_id = about.ike ? about.ike->id : 0,
		.child_id = about.child ? about.child->sa.id : about.child_id,
		.text = text,
		.ours = about.ours,
		.theirs = about.theirs,
		.peer = about.peer,
	};

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	e->host->event(e->host->context, &event);
}

enum ike_reason reason_from_notify(uint16_t type)
{
	switch (type) {
	case N_NO_PROPOSAL_CHOSEN: return REASON_NO_PROPOSAL_CHOSEN;
	case N_INVALID_KE_PAYLOAD: return REASON_INVALID_KE_PAYLOAD;
	case N_AUTHENTICATION_FAILED: return REASON_AUTHENTICATION_FAILED;
	case N_TS_UNACCEPTABLE: return REASON_TS_UNACCEPTABLE;
	case N_SINGLE_PAIR_REQUIRED: return REASON_TS_UNACCEPTABLE;
	case N_CHILD_SA_NOT_FOUND: return REASON_CHILD_SA_NOT_FOUND;
	case N_INVALID_SYNTAX: return REASON_INVALID_SYNTAX;
	case N_UNSUPPORTED_CRITICAL_PAYLOAD: return REASON_UNSUPPORTED_CRITICAL_PAYLOAD;
	case N_NO_ADDITIONAL_SAS:
	case N_TS_MAX_QUEUE: return REASON_NO_ADDITIONAL_SAS;
	case N_TEMPORARY_FAILURE: return REASON_TEMPORARY_FAILURE;
	default: return REASON_INTERNAL;
	}
}
