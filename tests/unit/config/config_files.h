/*
 * For the tests of src/config: files in a directory of their own, and what was
 * said of them as text, with the directory's name left out.
 */
#ifndef TESTS_CONFIG_FILES_H
#define TESTS_CONFIG_FILES_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/diag.h"
#include "base/text.h"

extern char files_dir[64];

/** A new directory; a cmocka group setup and its teardown. */
int files_setup(void **state);
int files_teardown(void **state);

/** Write `len` bytes into a file of the directory; its path is valid until the next call. */
const char *files_write(const char *name, const char *text, size_t len);
/** Remove what a test left in the directory. */
void files_clear(void);
/** All diagnostics, one a line, without the directory's name. Freed by the caller. */
char *files_diags(const struct diag_list *list);

#endif
