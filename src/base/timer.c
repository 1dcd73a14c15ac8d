/*
 * The hierarchical timer wheel.
 *
 * Ten levels of 64 slots; a slot of level L is 64^L ms wide. A timer stands at the level of
 * the highest group of six bits in which its due time differs from the wheel's time, so that
 *
 *   - every timer of a level is due before every timer of the levels above it, and
 *   - within a level, slots are due in order of their index.
 *
 * The next thing to do is therefore the first occupied slot of the lowest occupied level,
 * which a bitmap for each level gives at once: time may jump by days without a walk over
 * empty slots. A slot of level 0 is run; a slot above is spread over the levels below.
 *
 * Timers whose time has come before they are armed wait in a list of their own, which the
 * next advance runs first. A handler that arms its timer for "now" so cannot loop.
 */
#include "base/timer.h"

#include <stdlib.h>

#include "base/clock.h"

enum { LEVEL_BITS = 6, SLOTS = 1 << LEVEL_BITS, LEVELS = 10 };
enum { SLOT_LATE = LEVELS * SLOTS, SLOT_RUNNING, LISTS };

/* The last millisecond that ten levels can tell; beyond a uint64_t of microseconds. */
#define LAST_MS ((UINT64_C(1) << (LEVEL_BITS * LEVELS)) - 1)

TAILQ_HEAD(timer_list, timer);

struct timer_wheel {
	uint64_t now_ms;
	bool advancing;
	uint64_t occupied[LEVELS];
	struct timer_list lists[LISTS];
};

struct timer_wheel *timer_wheel_new(uint64_t now_us)
{
	struct timer_wheel *wheel = calloc(1, sizeof(*wheel));

	if (!wheel)
		return NULL;
	wheel->now_ms = now_us / US_PER_MS;
	for (size_t i = 0; i < LISTS; i++)
		TAILQ_INIT(&wheel->lists[i]);
	return wheel;
}

void timer_wheel_free(struct timer_wheel *wheel)
{
	struct timer *timer;

	if (!wheel)
		return;
	for (size_t i = 0; i < LISTS; i++) {
		TAILQ_FOREACH(timer, &wheel->lists[i], entry)
			timer->armed = false;
	}
	free(wheel);
}

void timer_init(struct timer *timer, timer_fn *fn, void *context)
{
	*timer = (struct timer){ .fn = fn, .context = context };
}

static void slot_insert(struct timer_wheel *wheel, struct timer *timer, uint16_t slot)
{
	timer->slot = slot;
	TAILQ_INSERT_TAIL(&wheel->lists[slot], timer, entry);
	if (slot < SLOT_LATE)
		wheel->occupied[slot / SLOTS] |= UINT64_C(1) << (slot % SLOTS);
}

static void slot_remove(struct timer_wheel *wheel, struct timer *timer)
{
	uint16_t slot = timer->slot;

	TAILQ_REMOVE(&wheel->lists[slot], timer, entry);
	if (slot < SLOT_LATE && TAILQ_EMPTY(&wheel->lists[slot]))
		wheel->occupied[slot / SLOTS] &= ~(UINT64_C(1) << (slot % SLOTS));
}

/* The slot of a time that is not before the wheel's. */
static uint16_t slot_of(const struct timer_wheel *wheel, uint64_t due_ms)
{
	uint64_t differ = due_ms ^ wheel->now_ms;
	unsigned level = differ ? (63 - (unsigned)__builtin_clzll(differ)) / LEVEL_BITS : 0;

	return (uint16_t)(level * SLOTS + ((due_ms >> (level * LEVEL_BITS)) & (SLOTS - 1)));
}

void timer_arm(struct timer_wheel *wheel, struct timer *timer, uint64_t due_us)
{
	/* Rounded up: a timer may run late by less than a tick, but not early. */
	uint64_t due_ms = due_us / US_PER_MS + (due_us % US_PER_MS != 0);

	timer_cancel(wheel, timer);
	timer->armed = true;
	timer->due_ms = due_ms;
	if (due_ms <= wheel->now_ms)
		slot_insert(wheel, timer, SLOT_LATE);
	else
		slot_insert(wheel, timer, slot_of(wheel, due_ms));
}

void timer_cancel(struct timer_wheel *wheel, struct timer *timer)
{
	if (!timer->armed)
		return;
	slot_remove(wheel, timer);
	timer->armed = false;
}

/* The first occupied slot and the time at which it begins; false when there is none. */
static bool next_slot(const struct timer_wheel *wheel, uint16_t *slot, uint64_t *begin_ms)
{
	for (unsigned level = 0; level < LEVELS; level++) {
		if (wheel->occupied[level] == 0)
			continue;
		uint64_t index = (uint64_t)__builtin_ctzll(wheel->occupied[level]);
		uint64_t width = (uint64_t)1 << (level * LEVEL_BITS);
		uint64_t above = wheel->now_ms & ~(width * SLOTS - 1);

		*slot = (uint16_t)(level * SLOTS + index);
		*begin_ms = above + index * width;
		return true;
	}
	return false;
}

/* Run a list that handlers may change under way: only what is in it at the start. */
static void run_list(struct timer_wheel *wheel, uint16_t slot)
{
	struct timer *timer;

	while ((timer = TAILQ_FIRST(&wheel->lists[slot]))) {
		slot_remove(wheel, timer);
		slot_insert(wheel, timer, SLOT_RUNNING);
	}
	while ((timer = TAILQ_FIRST(&wheel->lists[SLOT_RUNNING]))) {
		timer_cancel(wheel, timer);
		timer->fn(timer, timer->context);
	}
}

/* The wheel's time has come to the begin of a wide slot: its timers move down. */
static void spread_slot(struct timer_wheel *wheel, uint16_t slot)
{
	struct timer *timer;

	while ((timer = TAILQ_FIRST(&wheel->lists[slot]))) {
		slot_remove(wheel, timer);
		slot_insert(wheel, timer, slot_of(wheel, timer->due_ms));
	}
}

void timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_us)
{
	uint64_t target = now_us / US_PER_MS;
	uint64_t begin;
	uint16_t slot;

	if (wheel->advancing)
		return;
	wheel->advancing = true;
	run_list(wheel, SLOT_LATE);
	while (next_slot(wheel, &slot, &begin) && begin <= target) {
		wheel->now_ms = begin;
		if (slot < SLOTS)
			run_list(wheel, slot);
		else
			spread_slot(wheel, slot);
	}
	if (target > wheel->now_ms)
		wheel->now_ms = target;
	wheel->advancing = false;
}

uint64_t timer_wheel_next_us(const struct timer_wheel *wheel)
{
	uint64_t begin;
	uint16_t slot;

	if (!TAILQ_EMPTY(&wheel->lists[SLOT_LATE]))
		return wheel->now_ms * US_PER_MS;
	if (!next_slot(wheel, &slot, &begin))
		return UINT64_MAX;
	/* A timer for the end of time has its tick rounded up past what microseconds can tell. */
	return begin > UINT64_MAX / US_PER_MS ? UINT64_MAX : begin * US_PER_MS;
}

_Static_assert(UINT64_MAX / 1000 < LAST_MS, "every time in microseconds has a slot");
