/* ipsec.secrets: records, their indices, and which one serves two identities. */
#ifndef CONFIG_SECRETS_H
#define CONFIG_SECRETS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/diag.h"
#include "base/secret.h"
#include "base/text.h"
#include "net/identity.h"

struct secrets; /* secret memory */

/** Read a file with its includes; problems go to `diags`, never with anything of a secret. */
struct secrets *secrets_load(const char *path, struct diag_list *diags);
void secrets_free(struct secrets *s);
size_t secrets_count(const struct secrets *s);

/**
 * The pre-shared key for (local, remote), by the selection rules of libreswan (most exact
 * indices first, first in file of equals). False when there is none; then `why`, if not NULL,
 * gets what was searched and the nearest records (never a secret).
 */
bool secrets_psk(const struct secrets *s, const struct identity *local,
		 const struct identity *remote, struct secret *out, struct text *why);

/** `    1: PSK 192.168.20.20 192.168.20.10` for each record. */
void secrets_list(const struct secrets *s, struct text *out);

#endif
