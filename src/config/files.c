#include "config/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// A hash without memory is an error that is passed on, not the end of the process.
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "base/secret.h"

struct file_key {
	dev_t dev;
	ino_t ino;
};

struct file_seen {
	struct file_key key;
	char *path;
	UT_hash_handle hh;
};

/** Remember a file; false when it was there before (`why` says as what) or without memory. */
static bool file_set_add(struct file_set *set, const struct stat *st, const char *path, char *why,
			 size_t why_len)
{
	struct file_seen *f;
	struct file_key key;

	memset(&key, 0, sizeof(key));
	key.dev = st->st_dev;
	key.ino = st->st_ino;
	HASH_FIND(hh, set->seen, &key, sizeof(key), f);
	if (f) {
		snprintf(why, why_len, "%s", f->path);
		return false;
	}
	f = calloc(1, sizeof(*f));
	if (!f)
		return true; // without memory the file is read all the same; depth still bounds it
	f->key = key;
	f->path = strdup(path);
	if (!f->path) {
		free(f);
		return true;
	}
	HASH_ADD(hh, set->seen, key, sizeof(key), f);
	return true;
}

void file_set_free(struct file_set *set)
{
	struct file_seen *f = set->seen, *next;

	HASH_CLEAR(hh, set->seen); // the table only: `next` still links what it held
	for (; f; f = next) {
		next = f->hh.next;
		free(f->path);
		free(f);
	}
}

static char *text_alloc(size_t size, bool secret)
{
	return secret ? secret_alloc(size) : calloc(1, size);
}

static void text_drop(char *p, bool secret)
{
	if (secret)
		secret_free(p);
	else
		free(p);
}

/** Read to the end of `fd`; false with errno. */
static bool read_all(int fd, size_t guess, struct file_text *out)
{
	size_t cap = guess + 4096, len = 0;
	char *data = text_alloc(cap, out->secret), *bigger;

	while (data) {
		ssize_t n = read(fd, data + len, cap - len - 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		if (n == 0) {
			data[len] = '\0';
			out->data = data;
			out->len = len;
			return true;
		}
		len += (size_t)n;
		if (len > FILE_MAX_BYTES) {
			errno = EFBIG;
			break;
		}
		if (cap - len > 1)
			continue;
		bigger = text_alloc(cap * 2, out->secret);
		if (bigger) {
			memcpy(bigger, data, len);
			cap *= 2;
		}
		text_drop(data, out->secret);
		data = bigger;
	}
	if (!data)
		errno = ENOMEM;
	else
		text_drop(data, out->secret);
	return false;
}

enum file_result file_read(struct file_set *set, const char *path, bool included, bool secret,
			   struct file_text *out, char *why, size_t why_len)
{
	enum file_result result = FILE_FAILED;
	struct stat st;
	int fd;

	*out = (struct file_text){ .secret = secret };
	// An include of a FIFO must not hold the load up; the main file may be one (<(...)).
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | (included ? O_NONBLOCK : 0));
	if (fd < 0) {
		snprintf(why, why_len, "%s", strerror(errno));
		return errno == ENOENT || errno == ENOTDIR ? FILE_ABSENT : FILE_FAILED;
	}
	if (fstat(fd, &st) != 0)
		snprintf(why, why_len, "%s", strerror(errno));
	else if (S_ISDIR(st.st_mode))
		snprintf(why, why_len, "it is a directory");
	else if (included && !S_ISREG(st.st_mode))
		snprintf(why, why_len, "it is not a regular file");
	else if (S_ISREG(st.st_mode) && st.st_size > FILE_MAX_BYTES)
		snprintf(why, why_len, "it is larger than %d MiB", FILE_MAX_BYTES >> 20);
	else if (!file_set_add(set, &st, path, why, why_len))
		result = FILE_SEEN;
	else if (!read_all(fd, S_ISREG(st.st_mode) ? (size_t)st.st_size : 0, out))
		snprintf(why, why_len, "%s", strerror(errno));
	else
		result = FILE_READ;
	out->mode = st.st_mode & 07777;
	close(fd);
	return result;
}

void file_text_free(struct file_text *text)
{
	if (text->data)
		text_drop(text->data, text->secret);
	text->data = NULL;
	text->len = 0;
}

char *file_include_path(const char *includer, const char *pattern)
{
	const char *slash = strrchr(includer, '/');
	char *path;

	if (*pattern == '/' || !slash)
		return strdup(pattern);
	if (asprintf(&path, "%.*s%s", (int)(slash - includer + 1), includer, pattern) < 0)
		return NULL;
	return path;
}

bool file_next_line(const struct file_text *text, size_t *pos, char **line, size_t *len)
{
	char *end;

	if (*pos >= text->len)
		return false;
	*line = text->data + *pos;
	end = memchr(*line, '\n', text->len - *pos);
	*len = end ? (size_t)(end - *line) : text->len - *pos;
	*pos += *len + 1;
	if (*len && (*line)[*len - 1] == '\r')
		(*len)--;
	return true;
}
