/*
 * A hierarchical timer wheel: arming, moving and cancelling are O(1).
 *
 * The wheel has no clock: timer_wheel_advance() is told the time, so the IKE
 * engine runs in virtual time as well. Resolution is 1 ms. A struct timer
 * stands inside its owner, and the owner cancels it before it goes away.
 */
#ifndef BASE_TIMER_H
#define BASE_TIMER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct timer;
typedef void timer_fn(struct timer *timer, void *context);

struct timer {
	TAILQ_ENTRY(timer) entry;
	uint64_t due_ms;
	timer_fn *fn; /* set once by timer_init() */
	void *context;
	uint16_t slot;
	bool armed;
};

struct timer_wheel;

/** `now_us`: the time it starts at. NULL when there is no memory. */
struct timer_wheel *timer_wheel_new(uint64_t now_us);
void timer_wheel_free(struct timer_wheel *wheel);

void timer_init(struct timer *timer, timer_fn *fn, void *context);

/** Arm, or move, `timer` to `due_us` (in the past: at the next advance). */
void timer_arm(struct timer_wheel *wheel, struct timer *timer, uint64_t due_us);
void timer_cancel(struct timer_wheel *wheel, struct timer *timer);

/** Run what is due by `now_us`, in order of time; handlers may arm and cancel any timer. */
void timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_us);

/** The time of the next timer, UINT64_MAX when none is armed. May be early, never late. */
uint64_t timer_wheel_next_us(const struct timer_wheel *wheel);

#endif
