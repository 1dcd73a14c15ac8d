/*
 * ipsec.secrets from anyone: a look-up gives a secret or a reason, and the list has a line for each
 * record.
 */
#include <strings.h>

#include "base/diag.h"
#include "base/text.h"
#include "config/secrets.h"
#include "fuzz_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_up(const struct secrets *s, const char *local, const char *remote)
{
	struct identity a, b;
	struct text why = { 0 };
	struct secret found;
	char err[200];

	if (!identity_parse(local, &a, err, sizeof(err)) ||
	    !identity_parse(remote, &b, err, sizeof(err)))
		abort();
	if (secrets_psk(s, &a, &b, &found, &why) != (found.len > 0) ||
	    (found.len > 0) == (why.len > 0))
		abort();
	text_free(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text list = { 0 };
	struct diag_list diags;
	struct secrets *s;
	struct diag *d;
	char path[40];
	size_t lines = 0;
	int fd;

	if (size > 20000 || includes_files(data, size))
		return 0;
	fd = file_in_memory(data, size, path);
	diag_list_init(&diags);
	s = secrets_load(path, &diags);
	close(fd);
	if (!s)
		abort();
	STAILQ_FOREACH(d, &diags.head, entry) {
		char *line = diag_format(d);

		if (!line || strpbrk(line, "\n\r"))
			abort();
		free(line);
	}
	look_up(s, "192.168.20.10", "192.168.20.20");
	look_up(s, "@a", "@b");
	look_up(s, "@a", "%any");
	look_up(s, "C=JP, CN=x", "me@x");
	secrets_list(s, &list);
	for (size_t i = 0; i < list.len; i++)
		lines += list.str[i] == '\n';
	if (lines != secrets_count(s))
		abort();
	text_free(&list);
	secrets_free(s);
	diag_list_free(&diags);
	return 0;
}
