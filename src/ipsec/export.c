/*
 * `ipsec export-keys DIR`: the keys of every SA, as the two tables that
 * Wireshark reads. The one way in which secrets leave the daemon, and it says so.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipsec/client.h"
#include "ipsec/command.h"

/* One line for each string of `lines`, readable by its owner only. */
static bool write_table(const char *dir, const char *name, const json_t *lines)
{
	char path[PATH_MAX];
	size_t i;
	const json_t *line;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (f == NULL) {
		fprintf(stderr, "ipsec: cannot write %s: %s\n", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return false;
	}
	bool ok = fchmod(fd, 0600) == 0;
	json_array_foreach(lines, i, line)
		ok = fprintf(f, "%s\n", json_string_value(line)) > 0 && ok;
	ok = fclose(f) == 0 && ok;
	if (!ok)
		fprintf(stderr, "ipsec: cannot write %s: %s\n", path, strerror(errno));
	return ok;
}

int run_export_keys(const struct options *o, const struct command *c, int argc, char **argv)
{
	static const char *const tables[] = { "ikev2_decryption_table", "esp_sa" };
	int rc = EXIT_OK;

	if (argc != 1)
		return command_usage(c);
	json_t *data = client_report(o, c->request, NULL, &rc);
	if (data == NULL)
		return rc;
	if (mkdir(argv[0], 0700) != 0 && errno != EEXIST) {
		fprintf(stderr, "ipsec: cannot make %s: %s\n", argv[0], strerror(errno));
		rc = EXIT_PROBLEM;
	}
	for (size_t i = 0; rc == EXIT_OK && i < 2; i++) {
		if (!write_table(argv[0], tables[i], json_object_get(data, tables[i])))
			rc = EXIT_PROBLEM;
	}
	if (rc == EXIT_OK)
		printf("wrote %s/%s and %s/%s: whoever has them can read all traffic of the present SAs\n",
		       argv[0], tables[0], argv[0], tables[1]);
	json_decref(data);
	return rc;
}
