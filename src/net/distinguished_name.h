/* Distinguished names (X.501) between text and DER, by OpenSSL. RFC 4514, RFC 5280 §7.1. */
#ifndef NET_DISTINGUISHED_NAME_H
#define NET_DISTINGUISHED_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/reader.h"

/**
 * `C=JP, O=Example, CN=x` (also with `/` between, as in `/C=JP/CN=x`): attributes separated by
 * commas, a value may be quoted, `\,` or `,,` is a comma within it, `\E3` a byte, `+` joins the
 * attributes of one RDN. Writes at most `max` bytes of DER. False with a sentence in `err`.
 */
bool dn_parse(const char *s, uint8_t *der, size_t max, size_t *len, char *err, size_t err_len);

/** `C=JP, O=Example, CN=x`, RFC 4514's escapes; hexadecimal when it is no DN. Returns `buf`. */
const char *dn_format(struct bytes der, char *buf, size_t len);

/** Equal as RFC 5280 §7.1 compares names: case and runs of spaces do not matter. */
bool dn_equal(struct bytes a, struct bytes b);

/** One DER name and nothing after it. */
bool dn_valid(struct bytes der);

#endif
