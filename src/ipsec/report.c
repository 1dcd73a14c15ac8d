/* Reports: ask the daemon, choose the part that was asked for, show it as text or JSON. */
#include <string.h>

#include "ipsec/client.h"
#include "ipsec/command.h"

const char *report_prefix(const struct options *o)
{
	return o->style == STYLE_4 ? "000 " : "";
}

json_t *select_all(json_t *data)
{
	return json_incref(data);
}

int run_report(const struct options *o, const struct command *c, int argc, char **argv)
{
	int rc = EXIT_OK;

	if (argc > (strstr(c->args, "CONN") != NULL ? 1 : 0))
		return command_usage(c);
	json_t *data = client_report(o, c->request, argc == 1 ? argv[0] : NULL, &rc);
	if (data == NULL)
		return rc;
	json_t *selected = c->select(data);
	if (o->json)
		rc = client_print_json(selected);
	else
		c->print(o, selected);
	json_decref(selected);
	json_decref(data);
	return rc;
}
