#include "config_files.h"

#include <fcntl.h>
#include <ftw.h>

char files_dir[64];

int files_setup(void **state)
{
	(void)state;
	strcpy(files_dir, "/tmp/sekisho-config-XXXXXX");
	return mkdtemp(files_dir) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	return ftw->level == 0 ? 0 : remove(path);
}

void files_clear(void)
{
	nftw(files_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int files_teardown(void **state)
{
	(void)state;
	files_clear();
	return rmdir(files_dir);
}

const char *files_write(const char *name, const char *text, size_t len)
{
	static char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", files_dir, name);
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	close(fd);
	return path;
}

/** Add `s` without any mention of the directory. */
static void add_without_dir(struct text *t, const char *s)
{
	size_t len = strlen(files_dir);

	while (*s) {
		if (strncmp(s, files_dir, len) == 0 && s[len] == '/')
			s += len + 1;
		else
			text_add(t, "%c", *s++);
	}
}

char *files_diags(const struct diag_list *list)
{
	struct text t = { 0 };
	const struct diag *d;

	STAILQ_FOREACH(d, &list->head, entry) {
		char *line = diag_format(d);

		add_without_dir(&t, line);
		text_add(&t, "\n");
		free(line);
	}
	return t.str ? t.str : strdup("");
}
