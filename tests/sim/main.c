/* Runs scenarios with their seeds and prints TAP. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
	const char *only;
	uint64_t seed, seeds;
	bool has_seed, verbose;
};

static void show_tail(const struct sim *s)
{
	const uint64_t max = sizeof(s->tail) / sizeof(s->tail[0]);
	uint64_t from = s->tail_count > max ? s->tail_count - max : 0;

	for (uint64_t i = from; i < s->tail_count; i++)
		printf("# %s\n", s->tail[i % max]);
}

/* True when it held; says what to type when it did not. */
static bool run_one(const char *program, const struct scenario *sc, uint64_t seed, bool verbose)
{
	struct sim *s = sim_new(seed, verbose);
	bool ok;

	sc->run(s);
	ok = !s->failed;
	if (!ok) {
		printf("# seed %llu: %s\n", (unsigned long long)seed, s->why);
		if (!verbose)
			show_tail(s);
		printf("# again: %s --only '%s' --seed %llu -v\n", program, sc->name, (unsigned long long)seed);
	}
	sim_free(s);
	return ok;
}

int sim_main(int argc, char **argv, const struct scenario *scenarios, size_t count)
{
	struct options o = { 0 };
	unsigned tests = 0, failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-v") == 0) {
			o.verbose = true;
		} else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0) {
			o.seed = strtoull(argv[++i], NULL, 0);
			o.has_seed = true;
		} else if (i + 1 < argc && strcmp(argv[i], "--seeds") == 0) {
			o.seeds = strtoull(argv[++i], NULL, 0);
		} else if (i + 1 < argc && strcmp(argv[i], "--only") == 0) {
			o.only = argv[++i];
		} else {
			fprintf(stderr, "usage: %s [--only NAME] [--seed N] [--seeds N] [-v]\n", argv[0]);
			return 2;
		}
	}
	for (size_t i = 0; i < count; i++) {
		const struct scenario *sc = &scenarios[i];
		uint64_t seeds = o.has_seed ? 1 : o.seeds ? o.seeds : sc->seeds;
		bool ok = true;

		if (o.only && strcmp(o.only, sc->name) != 0)
			continue;
		for (uint64_t n = 0; ok && n < seeds; n++)
			ok = run_one(argv[0], sc, o.has_seed ? o.seed : n + 1, o.verbose);
		failed += !ok;
		printf("%sok %u - %s (%llu seed%s)\n", ok ? "" : "not ", ++tests, sc->name,
		       (unsigned long long)seeds, seeds == 1 ? "" : "s");
	}
	printf("1..%u\n", tests);
	return failed ? 1 : 0;
}
