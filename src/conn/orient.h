/*
 * From a connection's configuration to what the engine needs.
 *
 * Orientation decides which end is ours: the one whose address this machine
 * has. Then the ends' addresses, identities, selectors and all parameters are
 * put into a struct ike_conn.
 */
#ifndef CONN_ORIENT_H
#define CONN_ORIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "ike/conn.h"

enum lookup_result { LOOKUP_OK, LOOKUP_PENDING, LOOKUP_FAILED };

/** What orientation asks of the machine. */
struct orient_host {
	void *context;
	bool (*is_local)(void *context, const struct ip_address *a);
	/**
	 * Address of a HOST_NAME (`name`), HOST_INTERFACE (`name`) or HOST_DEFAULTROUTE (`toward` may
	 * help to choose). Does not wait: PENDING, and reorientation follows.
	 */
	enum lookup_result (*lookup)(void *context, enum host_kind kind, const char *name,
				     uint8_t family, struct ip_address *out);
};

enum orientation_state { ORIENT_NO, ORIENT_YES, ORIENT_WAITING };

struct orientation {
	enum orientation_state state;
	bool left_is_local;
	bool half; /* not ORIENT_YES, but `local` is known: the other end's name has no address yet */
	struct ip_address local, remote; /* remote AF_UNSPEC: any */
	struct identity local_id, remote_id; /* as resolved; NONE: take the address */
	char text[256]; /* why not, a sentence */
};

/** Why a connection cannot be used at all, found here or by the configuration; zeroed: none. */
struct conn_problem {
	char *what, *remedy; /* owned */
	const char *file;    /* of the configuration */
	unsigned line;
};

/** Decide the orientation of `config` on this machine. */
void orient(const struct conn_config *config, const struct orient_host *host,
	    struct orientation *out);

/**
 * Selectors before the peer's address is known (`half`), so that what is to be protected does not
 * go in clear while a name is looked up. False where that cannot be: the other end is the peer
 * itself, or everything, the name servers among it.
 */
bool orient_selectors(const struct conn_config *config, const struct orientation *o,
		      struct ts_list *local, struct ts_list *remote);

/** What config/ accepts and this version cannot do; false with both sentences set (static). */
bool orient_usable(const struct conn_config *config, const char **what, const char **remedy);

/** Parts of struct ike_conn that the configuration does not tell. */
struct orient_build {
	const char *name;
	uint32_t serial, reqid;
	void *owner;
	const struct setup_config *setup;
	const struct proposal_list *ike, *esp; /* outlive the connection */
	unsigned resources;          /* of the back end */
};
/** A new description with one reference; NULL without memory. `o` is ORIENT_YES. */
struct ike_conn *orient_build(const struct conn_config *config, const struct orientation *o,
			      const struct orient_build *with);

/** Both describe the same connection to the engine: SAs of one serve the other. */
bool ike_conn_same(const struct ike_conn *a, const struct ike_conn *b);

/** The end that is ours, and the other. */
static inline const struct end_config *orient_local(const struct conn_config *c, bool left)
{
	return left ? &c->left : &c->right;
}
static inline const struct end_config *orient_remote(const struct conn_config *c, bool left)
{
	return left ? &c->right : &c->left;
}

#endif
