/*
 * Arithmetic of MTUs: what a policy's packets may have, and the least and the greatest of what many
 * users want. No system call, no thread of its own.
 */
#ifndef ESP_MTU_H
#define ESP_MTU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	MTU_WITHOUT_SA = 1400,
	MTU_MAX = 9000,    /* below PACKET_MAX */
	MTU_MIN_V4 = 552,  /* the kernel's own floor for learned values (min_pmtu) */
	MTU_MIN_V6 = 1280, /* RFC 8200 §5 */
};

/**
 * The MTU in bytes of the routes of a policy: `leaves` is what the narrowest path of its SAs leaves (0: not
 * known). Below the floor of its family (`v6`: it has IPv6 as well) packets are fragmented outside. What is
 * `configured` (0: nothing) is never exceeded.
 */
uint32_t mtu_of_policy(uint32_t leaves, bool v6, uint32_t configured);

/** How many users want which MTU; zeroed: none. */
struct mtu_set {
	size_t count;
	struct mtu_users *of; /* `count`, from small to large */
};

/**
 * A user that wanted `from` (0: a new one) wants `to` (0: it leaves). False without memory, and nothing is changed.
 * A `from` that nobody wants is passed over.
 */
bool mtu_set_change(struct mtu_set *s, uint32_t from, uint32_t to);
/** 0 when nobody wants any. */
uint32_t mtu_set_least(const struct mtu_set *s);
uint32_t mtu_set_greatest(const struct mtu_set *s);
void mtu_set_free(struct mtu_set *s);

#endif
