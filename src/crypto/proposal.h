/*
 * Proposals: RFC 7296 §3.3 as values, their configuration spelling, the defaults,
 * and the choice that a responder makes.
 */
#ifndef CRYPTO_PROPOSAL_H
#define CRYPTO_PROPOSAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto/algorithms.h"

enum ike_protocol { PROTOCOL_IKE = 1, PROTOCOL_AH = 2, PROTOCOL_ESP = 3 };

enum { PROPOSAL_TRANSFORMS_MAX = 96, PROPOSALS_MAX = 24, PROPOSAL_TEXT = 768 };

/** One transform as on the wire; `key_bits` is 0 when there is no Key Length attribute. */
struct transform {
	uint8_t type;
	uint16_t id;
	uint16_t key_bits;
};

struct proposal {
	uint8_t number;   /* on the wire, from 1 */
	uint8_t protocol; /* enum ike_protocol */
	uint8_t spi_size;
	uint8_t spi[8];
	uint8_t count;
	struct transform transforms[PROPOSAL_TRANSFORMS_MAX]; /* within a type, by preference */
};

struct proposal_list {
	size_t count;
	struct proposal p[PROPOSALS_MAX];
};

/** What was chosen: one algorithm of each kind; NULL where the protocol has none. */
struct cipher_suite {
	const struct algorithm *encr;
	uint16_t encr_bits;
	const struct algorithm *prf;   /* IKE only */
	const struct algorithm *integ; /* NULL with an AEAD */
	const struct algorithm *ke;    /* NULL: no key exchange */
	bool esn;                      /* ESP only */
};

/**
 * Parse `ike=` (PROTOCOL_IKE) or `esp=` (PROTOCOL_ESP) in Libreswan's grammar:
 * `aes_gcm256-sha2_512-dh19`, `aes256-sha2_256;modp2048`, `aes+aes_gcm-sha2_512+sha2_256-...`,
 * commas between proposals. On an error returns false with a full sentence in `err`.
 * For ESP, `esn_either/esn_only` come from esn=: SN transforms are added by
 * proposal_set_esn(), not here. `pfs_group` NULL or the IKE SA's group: not added here either.
 */
bool proposal_parse(enum ike_protocol protocol, const char *text, struct proposal_list *out,
		    char *err, size_t err_len);
/** The default lists, in the order of Libreswan 5.x. */
void proposal_default(enum ike_protocol protocol, struct proposal_list *out);

/** Add a transform in order of its type; true also when it was there, false when it is full. */
bool proposal_add(struct proposal *p, enum transform_type type, uint16_t id, uint16_t key_bits);
/** Add the default PRFs, KEs; integrity algorithms that go with the PRFs, or the default ones. */
void proposal_add_default_prf(struct proposal *p);
void proposal_add_default_ke(struct proposal *p);
void proposal_add_default_integ(struct proposal *p);
/** The Key Length attribute of `a` at `bits`: 0 when it has one size only. */
uint16_t transform_key_bits(const struct algorithm *a, uint16_t bits);

/** ESN transforms of every ESP proposal: ESN then no ESN, in that order, as asked. */
void proposal_set_esn(struct proposal_list *list, bool esn, bool no_esn);
/** Remove all KE transforms, or add `ke` to every proposal that has none. */
void proposal_strip_ke(struct proposal_list *list);
void proposal_add_ke(struct proposal_list *list, uint16_t ke);
bool proposal_has_ke(const struct proposal *p, uint16_t ke);
/** The list has one proposal at least with a KE transform other than NONE. */
bool proposal_list_has_ke(const struct proposal_list *list);
/** First KE transform of the list, KE_NONE when it has none. */
uint16_t proposal_first_ke(const struct proposal_list *list);

/**
 * Responder: our first proposal that some proposal of theirs satisfies. `chosen` is the
 * answer to send (their number, one transform of each type that they have; their SPI stands in it
 * until the caller puts its own there), `suite` the same in algorithms.
 * A transform type that they offer and we do not understand makes their proposal unfit
 * (RFC 7296 §3.3.6). Returns false when nothing fits.
 */
bool proposal_choose(const struct proposal_list *ours, const struct proposal_list *theirs,
		     struct proposal *chosen, struct cipher_suite *suite);
/**
 * Initiator: `answer` is one transform of each type, all from one proposal of ours.
 */
bool proposal_accept(const struct proposal_list *ours, const struct proposal *answer,
		     struct cipher_suite *suite);
/** The proposal list that offers exactly `suite` (a rekey). */
void proposal_from_suite(enum ike_protocol protocol, const struct cipher_suite *suite,
			 struct proposal_list *out);

/** `AES_GCM_16_256-HMAC_SHA2_512+HMAC_SHA2_256-DH19+DH20`, `len` bytes at most. */
const char *proposal_format(const struct proposal *p, char *buf, size_t len);
/** Joined with ", ". */
const char *proposal_list_format(const struct proposal_list *list, char *buf, size_t len);
/** `{cipher=AES_GCM_16_256 integ=n/a prf=HMAC_SHA2_512 ke=DH19}` (IKE). */
const char *suite_format_ike(const struct cipher_suite *s, char *buf, size_t len);
/** `AES_GCM_16_256` or `AES_CBC_256-HMAC_SHA2_256_128`, with `-DH19` when there is a KE. */
const char *suite_format_esp(const struct cipher_suite *s, char *buf, size_t len);

#endif
