#include "ike/reason.h"

#include <stddef.h>

static const struct {
	const char *name, *text, *remedy;
} reasons[] = {
#define X(id, text, remedy) { #id, text, remedy },
	IKE_REASONS(X)
#undef X
};

enum { REASONS = sizeof(reasons) / sizeof(reasons[0]) };

const char *ike_reason_name(enum ike_reason r)
{
	return (size_t)r < REASONS ? reasons[r].name : "UNKNOWN";
}

const char *ike_reason_text(enum ike_reason r)
{
	return (size_t)r < REASONS ? reasons[r].text : "unknown";
}

const char *ike_reason_remedy(enum ike_reason r)
{
	return (size_t)r < REASONS ? reasons[r].remedy : NULL;
}
