/*
 * ipsec.conf from anyone: it loads or says why not, everything that is set aside has a reason, and
 * what readwriteconf prints loads again to the same, without an error.
 */
#include <strings.h>

#include "base/diag.h"
#include "base/text.h"
#include "config/config.h"
#include "fuzz_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct config *load(const uint8_t *data, size_t size, struct diag_list *diags)
{
	struct config *config;
	char path[40];
	int fd = file_in_memory(data, size, path);

	diag_list_init(diags);
	config = config_load(path, diags);
	close(fd);
	if (!config)
		abort();
	return config;
}

/** Comments tell of what was set aside, which is not there the second time. */
static void drop_comments(struct text *t)
{
	char *comment, *end;

	while (t->str && (comment = strstr(t->str, "\n# "))) {
		end = strchr(comment + 1, '\n');
		memmove(comment, end + 1, strlen(end));
		t->len = strlen(t->str);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text first = { 0 }, second = { 0 };
	struct diag_list diags;
	struct config *config;
	struct diag *d;

	if (size > 20000 || includes_files(data, size))
		return 0;
	config = load(data, size, &diags);
	STAILQ_FOREACH(d, &diags.head, entry) {
		char *line = diag_format(d);

		if (!line || strpbrk(line, "\n\r"))
			abort();
		free(line);
	}
	for (size_t i = 0; i < config->count; i++) {
		size_t from = 0;

		if (config->conns[i].set_aside != (config->conns[i].problem != NULL) ||
		    !config_find(config, config->conns[i].name, &from))
			abort();
	}
	config_write(config, &first);
	config_free(config);
	diag_list_free(&diags);
	drop_comments(&first);

	config = load((const uint8_t *)text_str(&first), first.len, &diags);
	config_write(config, &second);
	if (diags.errors || strcmp(text_str(&first), text_str(&second)) != 0) {
		STAILQ_FOREACH(d, &diags.head, entry)
			fprintf(stderr, "%u: %s\n", d->line, d->what);
		fprintf(stderr, "first\n%s\nsecond\n%s\n", text_str(&first), text_str(&second));
		abort();
	}
	config_free(config);
	diag_list_free(&diags);
	text_free(&first);
	text_free(&second);
	return 0;
}
