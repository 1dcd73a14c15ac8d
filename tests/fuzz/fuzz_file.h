/* An input as a file for the readers of configuration: in memory, with a path. */
#ifndef TESTS_FUZZ_FILE_H
#define TESTS_FUZZ_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/** An include of the machine's own files would make a run depend on the machine. */
static inline bool includes_files(const uint8_t *data, size_t size)
{
	bool include = false, path = false;

	for (size_t i = 0; i < size; i++) {
		path |= strchr("/*?[{", data[i] ? data[i] : ' ') != NULL;
		include |= i + 7 <= size && strncasecmp((const char *)data + i, "include", 7) == 0;
	}
	return include && path;
}

/** `path` of 40 bytes gets the file's path; close the result. */
static inline int file_in_memory(const uint8_t *data, size_t size, char *path)
{
	int fd = memfd_create("input", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, 40, "/proc/self/fd/%d", fd);
	return fd;
}

#endif
