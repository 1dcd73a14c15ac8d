/* Rendering of states, shared by the reports that show them. */
#ifndef IPSEC_STATES_H
#define IPSEC_STATES_H

#include <jansson.h>

#include "ipsec/command.h"

/** The lines of showstates for one member of `states`. */
void states_print(const struct options *o, const json_t *state);
/** The three lines of briefstatus. */
void states_print_counts(const struct options *o, const json_t *status);
/** `000 ` in 4.x style, else nothing: what stands before a line of a report. */
const char *report_prefix(const struct options *o);

#endif
