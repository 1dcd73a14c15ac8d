/*
 * Value parsers of ipsec.conf: text to checked values, without files or lists
 * of keywords. Each gives false with what is wrong, and what would be right, in
 * struct value_error; both are sentences' parts for struct diag.
 */
#ifndef CONFIG_VALUES_H
#define CONFIG_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "config/keywords.h"

struct value_error {
	char what[256];   /* continues `KEYWORD=VALUE `: "is not a number" */
	char remedy[256]; /* "" : what keyword_describe() says */
};

/** Set `what`; always false, so that a parser can return it. */
bool value_wrong(struct value_error *e, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/** Set `remedy` as well. */
void value_remedy(struct value_error *e, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** `text` for a message: control bytes replaced, cut to a length that a line bears. */
const char *value_printable(const char *text, char *buf, size_t len);

bool value_yes_no(const char *text, bool *out, struct value_error *e);
/** One of `values`, case does not matter. */
bool value_choice(const struct keyword_value *values, const char *text, int *out,
		  struct value_error *e);
/**
 * A time with an optional decimal fraction and unit (us ms s m h d w); `unit_us` is the default
 * unit. Microseconds; 1,000 years at most.
 */
bool value_time(const char *text, uint64_t unit_us, uint64_t *out_us, struct value_error *e);
/** A number with KiB to EiB. */
bool value_bytes(const char *text, uint64_t *out, struct value_error *e);
/** A decimal number from min to max. */
bool value_number(const char *text, uint64_t min, uint64_t max, uint64_t *out,
		  struct value_error *e);
bool value_percent(const char *text, uint64_t max, uint32_t *out, struct value_error *e);
/** `n[/mask]`, decimal or 0x; the mask is all ones when not given. */
bool value_mark(const char *text, uint32_t *mark, uint32_t *mask, struct value_error *e);

/** left= and right=. Sets host, address and name (allocated by the caller from `name`). */
bool value_host(const char *text, enum host_kind *kind, struct ip_address *address,
		const char **name, struct value_error *e);
/** A list of selectors for one end; `*host_bits` tells that some were cleared. */
bool value_subnet_list(const char *text, struct ts_list *out, bool *host_bits,
		       struct value_error *e);
/** One selector `prefix[/mask][/proto[/port]]`. */
bool value_selector(const char *text, struct traffic_selector *out, bool *host_bits,
		    struct value_error *e);
/** `proto[/port]`. */
bool value_protoport(const char *text, uint8_t *protocol, uint16_t *port_lo, uint16_t *port_hi,
		     struct value_error *e);
/** leftid=; sets id, id_any and id_from_host_name of `end`. */
bool value_id(const char *text, struct end_config *end, struct value_error *e);

/** `tcp` for 6 and so on; NULL for a number without a name here. */
const char *protocol_name(uint8_t protocol);

/**
 * The next word of a list with commas (and blanks, if `blanks`) between its words: copied to `buf`.
 * False at the end of the list. A word that is longer than `buf` is cut and sets `*too_long`.
 */
bool list_next(const char **list, bool blanks, char *buf, size_t len, bool *too_long);

#endif
