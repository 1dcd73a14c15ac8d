/*
 * Two XFRM back ends in one process, each in a network namespace of its own, joined by a veth:
 *
 *   192.168.10.20 (lo)  a  192.168.20.10 ===== 192.168.20.20  b  192.168.30.10 (lo)
 *
 * Tests make Child SAs by hand, ping through them, and watch what crosses the wire.
 */
#ifndef TESTS_KERNEL_SMOKE_H
#define TESTS_KERNEL_SMOKE_H

#include "kernel/xfrm.h"

/** What a back end has told so far. */
struct told {
	unsigned acquires, soft, hard, first, moved;
	uint32_t acquire_reqid, expire_spi, first_id, moved_id;
	enum sa_direction expire_direction;
	struct traffic_selector acquire_local, acquire_remote;
	struct ip_endpoint moved_to;
};

struct side {
	const char *ns;
	struct backend *b;
	struct told told;
	struct ip_address outer, inner; /* inner: an address of the protected net */
	struct ip_prefix net;
	int wire; /* packet socket on the veth */
};

extern struct side A, B;

/** One TAP line; returns `ok`. Failures are counted by tap_end(). */
bool tap(bool ok, const char *name, ...) __attribute__((format(printf, 2, 3)));
void tap_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
int tap_end(void);

void smoke_open(const char *ns_a, const char *ns_b);
/** Other addresses for both, or the usual ones when they are NULL. */
void smoke_addresses(const char *outer[2], const char *inner[2], const char *nets[2]);
/** Enter the namespace of `s` for what is opened next. */
void smoke_enter(const struct side *s);
/** A new back end in the place of one that was closed. */
bool smoke_backend(struct side *s);
/** Let both back ends work for `ms`. */
void smoke_pump(int ms);
/** Run a command of the shell in the namespace of `s`; its exit status. */
int smoke_sh(const struct side *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** A ping from a's inner address to b's: `count` sent, all answered. */
bool smoke_ping(int count);

/** Packets that crossed the wire since the last call. */
struct crossed {
	unsigned esp, udp, clear; /* clear: ICMP in the open */
};
struct crossed smoke_crossed(void);

struct ip_address smoke_address(const char *text);
/** The policy of `s` towards the other side, for the two nets. */
struct sa_policy smoke_policy(const struct side *s, uint32_t reqid, enum policy_action action);

/** The two ends of one Child SA. */
struct pair {
	struct child_sa a, b;
};
/** Tunnel mode, AES-GCM-16-256, ESN, window 128; SPIs from both back ends; fresh keys. */
struct pair smoke_pair(uint32_t id, uint32_t reqid);
/** Set algorithms by their numbers; `integ` 0 with an AEAD. Keys are made anew. */
void smoke_suite(struct pair *p, uint16_t encr, uint16_t bits, uint16_t integ, bool esn);
bool smoke_add(const struct side *s, const struct child_sa *sa, enum sa_direction which);
struct child_sa_usage smoke_usage(const struct side *s, const struct child_sa *sa);

#endif
