#include "conn/failure.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

/* In which exchange an event of this reason comes up, as far as the reason tells. */
static const char *failure_stage(const struct ike_event *ev)
{
	if (ev->child_id != 0)
		return "Child SA";
	switch (ev->reason) {
	case REASON_AUTHENTICATION_FAILED:
	case REASON_NO_SECRET:
		return "IKE_AUTH";
	case REASON_TS_UNACCEPTABLE:
	case REASON_CHILD_SA_NOT_FOUND:
	case REASON_BACKEND:
		return "Child SA";
	case REASON_NO_PROPOSAL_CHOSEN:
	case REASON_INVALID_KE_PAYLOAD:
	case REASON_NO_CONNECTION:
		return "IKE_SA_INIT";
	default:
		return "IKE";
	}
}

static char *copy(const char *s)
{
	return s != NULL ? strdup(s) : NULL;
}

struct failure *failure_new(const char *conn, const struct conn_config *config,
			    enum ike_reason reason, const char *stage, const char *text,
			    const char *remedy, uint64_t wall_s)
{
	struct failure *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->time_s = wall_s;
	f->reason = reason;
	f->stage = stage;
	f->conn = copy(conn);
	f->file = config != NULL ? copy(config->file) : NULL;
	f->line = config != NULL ? config->line : 0;
	f->text = copy(text != NULL ? text : ike_reason_text(reason));
	f->remedy = copy(remedy != NULL ? remedy : ike_reason_remedy(reason));
	return f;
}

struct failure *failure_from_event(const struct ike_event *ev, const struct conn_config *config,
				   uint64_t wall_s)
{
	struct failure *f = failure_new(ev->conn != NULL ? ev->conn->name : NULL, config,
					ev->reason, failure_stage(ev), ev->text, NULL, wall_s);

	if (f == NULL)
		return NULL;
	f->ike_id = ev->ike_id;
	f->child_id = ev->child_id;
	f->ours = copy(ev->ours);
	f->theirs = copy(ev->theirs);
	if (ev->peer != NULL)
		f->peer = *ev->peer;
	else if (ev->conn != NULL)
		f->peer = ev->conn->remote;
	return f;
}

static void failure_release(struct failure *f)
{
	free(f->conn);
	free(f->file);
	free(f->text);
	free(f->ours);
	free(f->theirs);
	free(f->remedy);
	memset(f, 0, sizeof(*f));
}

void failure_free(struct failure *f)
{
	if (f == NULL)
		return;
	failure_release(f);
	free(f);
}

void failure_log_add(struct failure_log *log, const struct failure *f)
{
	struct failure *slot = &log->ring[log->count++ % FAILURES_MAX];

	failure_release(slot);
	*slot = *f;
	slot->conn = copy(f->conn);
	slot->file = copy(f->file);
	slot->text = copy(f->text);
	slot->ours = copy(f->ours);
	slot->theirs = copy(f->theirs);
	slot->remedy = copy(f->remedy);
}

size_t failure_log_count(const struct failure_log *log)
{
	return log->count < FAILURES_MAX ? (size_t)log->count : FAILURES_MAX;
}

const struct failure *failure_log_at(const struct failure_log *log, size_t i)
{
	size_t n = failure_log_count(log);

	return i < n ? &log->ring[(log->count - n + i) % FAILURES_MAX] : NULL;
}

void failure_log_clear(struct failure_log *log)
{
	for (size_t i = 0; i < FAILURES_MAX; i++)
		failure_release(&log->ring[i]);
	log->count = 0;
}

/* A string that may hold a peer's bytes: jansson refuses what is no UTF-8. */
static json_t *text_or_null(const char *s)
{
	json_t *v = s != NULL ? json_string(s) : json_null();

	return v != NULL ? v : json_string("(unprintable)");
}

struct json_t *failure_json(const struct failure *f)
{
	char peer[IP_ENDPOINT_TEXT];

	if (f == NULL)
		return json_null();
	bool known = f->peer.address.family != AF_UNSPEC;
	return json_pack("{s:I, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:i, s:o}",
			 "time", (json_int_t)f->time_s,
			 "connection", text_or_null(f->conn),
			 "stage", f->stage,
			 "reason", ike_reason_name(f->reason),
			 "text", text_or_null(f->text),
			 "ours", text_or_null(f->ours),
			 "theirs", text_or_null(f->theirs),
			 "remedy", text_or_null(f->remedy),
			 "file", text_or_null(f->file),
			 "line", (int)f->line,
			 "peer", text_or_null(known ? ip_endpoint_format(&f->peer, peer) : NULL));
}
