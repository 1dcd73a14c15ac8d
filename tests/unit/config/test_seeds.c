/*
 * A fuzz target's seeds, as they are and with mistakes put in by a fixed sequence: what the fuzzer
 * checks holds for them in every build. CORPUS is the directory of the seeds.
 */
#include "config_files.h"

#include <dirent.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEED_MAX = 8192, MISTAKES = 40 };

static uint32_t state_of_chance = 1;

static uint32_t chance(uint32_t below)
{
	state_of_chance = state_of_chance * 1664525 + 1013904223;
	return (state_of_chance >> 8) % below;
}

/** Change, remove or double some bytes in place; returns the new size. */
static size_t put_mistakes(uint8_t *data, size_t size)
{
	static const char odd[] = "\n\t =\"'{}#%:/,\\\0\r\xff" "0a";
	size_t count = 1 + chance(4);

	while (count-- > 0 && size > 1) {
		size_t at = chance((uint32_t)size), len = 1 + chance(8);

		switch (chance(3)) {
		case 0:
			data[at] = (uint8_t)odd[chance(sizeof(odd) - 1)];
			break;
		case 1:
			len = len < size - at ? len : size - at;
			memmove(data + at, data + at + len, size - at - len);
			size -= len;
			break;
		default:
			memmove(data + at + len, data + at, size - at);
			size += len;
			break;
		}
	}
	return size;
}

static void seeds(void **state)
{
	static uint8_t seed[SEED_MAX], data[SEED_MAX + 64];
	DIR *dir = opendir(CORPUS);
	struct dirent *entry;
	unsigned files = 0;

	(void)state;
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		char path[600];
		size_t size;
		FILE *f;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", CORPUS, entry->d_name);
		f = fopen(path, "r");
		assert_non_null(f);
		size = fread(seed, 1, sizeof(seed), f);
		fclose(f);
		files++;
		LLVMFuzzerTestOneInput(seed, size);
		for (int i = 0; i < MISTAKES; i++) {
			memcpy(data, seed, size);
			LLVMFuzzerTestOneInput(data, put_mistakes(data, size));
		}
	}
	closedir(dir);
	assert_true(files > 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(seeds) };

	return cmocka_run_group_tests_name("config.seeds", tests, NULL, NULL);
}
