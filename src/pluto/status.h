/* Reports of the daemon as JSON: docs/internals.md. All return new references. */
#ifndef PLUTO_STATUS_H
#define PLUTO_STATUS_H

#include <jansson.h>

struct daemon;

/** The status object; `name`: only this connection (or alias) and its SAs, NULL: all. */
json_t *status_json(struct daemon *d, const char *name);
/** {"failures":[...]}, of one connection or all. */
json_t *status_failures(struct daemon *d, const char *name);
/** {"text":"..."}: the secrets' indices. */
json_t *status_secrets(struct daemon *d);
/** Lines of Wireshark's tables of keys (keys.c). */
json_t *status_export_keys(struct daemon *d);

#endif
