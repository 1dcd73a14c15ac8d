/*
 * Why something failed or ended: one typed reason reaches the log, `ipsec up`,
 * status, metrics and tests.
 */
#ifndef IKE_REASON_H
#define IKE_REASON_H

#include <stdint.h>

/* name, text for people, what usually helps (or NULL) */
#define IKE_REASONS(X)                                                                         \
	X(NONE, "none", NULL)                                                                  \
	X(TIMEOUT, "no response from the peer",                                                \
	  "check that the peer runs and that UDP 500 and 4500 reach it")                       \
	X(NO_PROPOSAL_CHOSEN, "no common proposal", "make ike= (or esp=) the same on both ends") \
	X(INVALID_KE_PAYLOAD, "no common key exchange method", "add a common DH group to ike=") \
	X(AUTHENTICATION_FAILED, "authentication failed",                                      \
	  "compare the secrets and the identities (leftid=, rightid=) of both ends")           \
	X(NO_SECRET, "no pre-shared key for these identities", "add a line to ipsec.secrets")  \
	X(NO_CONNECTION, "no connection matches the peer", "compare left= and right= of both ends") \
	X(TS_UNACCEPTABLE, "no common traffic selectors",                                      \
	  "make leftsubnet= and rightsubnet= mirror images of each other")                     \
	X(CHILD_SA_NOT_FOUND, "the peer does not know the Child SA", NULL)                     \
	X(INVALID_SYNTAX, "malformed message", NULL)                                           \
	X(UNSUPPORTED_CRITICAL_PAYLOAD, "critical payload not understood", NULL)               \
	X(NO_ADDITIONAL_SAS, "the peer wants no more SAs", NULL)                               \
	X(TEMPORARY_FAILURE, "the peer is busy", NULL)                                         \
	X(INTERNAL, "internal error", NULL)                                                    \
	X(BACKEND, "the SA could not be installed", NULL)                                      \
	X(DPD, "the peer does not answer any more", NULL)                                      \
	X(PEER_DELETED, "deleted by the peer", NULL)                                           \
	X(ADMIN, "by command", NULL)                                                           \
	X(REPLACED, "replaced by a newer SA", NULL)                                            \
	X(EXPIRED, "lifetime over", NULL)                                                      \
	X(LIMIT, "too many SAs or requests", NULL)

enum ike_reason {
#define X(id, text, remedy) REASON_##id,
	IKE_REASONS(X)
#undef X
};

/** `NO_PROPOSAL_CHOSEN` */
const char *ike_reason_name(enum ike_reason r);
/** `no common proposal` */
const char *ike_reason_text(enum ike_reason r);
/** What usually helps, NULL when there is nothing general to say. */
const char *ike_reason_remedy(enum ike_reason r);

#endif
