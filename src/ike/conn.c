#include "ike/conn.h"

#include <stdlib.h>

struct ike_conn *ike_conn_ref(struct ike_conn *c)
{
	if (c)
		c->refs++;
	return c;
}

void ike_conn_unref(struct ike_conn *c)
{
	if (c && --c->refs == 0)
		free(c);
}
