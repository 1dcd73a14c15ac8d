/* `ipsec verify`: checks of the host, each a row of one table. */
#ifndef IPSEC_VERIFY_H
#define IPSEC_VERIFY_H

#include <jansson.h>
#include <stdbool.h>

#include "base/text.h"
#include "ipsec/command.h"

enum check_grade { CHECK_OK, CHECK_WARN, CHECK_FAIL, CHECK_SKIPPED };

/** Outcome of one check. Texts are owned by it; check_result_free(). */
struct check_result {
	enum check_grade grade;
	const char *word;     /* in the brackets: OK, FAILED, NOT DISABLED, ... */
	struct text detail;   /* lines under the result: facts */
	struct text reason;   /* why this is a problem */
	struct text remedy;   /* the exact command or line that mends it */
};

/** What the checks look at. */
struct host_facts {
	const struct options *options;
	const json_t *status;  /* of the daemon; NULL when it does not run */
	bool user_space;       /* ESP is done in user space */
	bool running;
};

struct check {
	const char *label;     /* as Libreswan's verify prints it */
	const char *name;      /* in JSON */
	void (*run)(const struct host_facts *host, struct check_result *r);
	bool needs_daemon;     /* left out when it does not run */
};

/** In Libreswan's order; ends with a NULL label. */
extern const struct check checks[];

void check_result_free(struct check_result *r);

#endif
