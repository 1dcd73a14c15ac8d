/*
 * Choosing among proposals, RFC 7296 §3.3.6.
 *
 * A type of transform that is missing counts as its "nothing" where there is one: no
 * integrity algorithm is INTEG NONE, no key exchange is KE NONE. ESN has none: RFC 7296
 * §3.3.3 makes the type mandatory in ESP.
 */
#include "crypto/proposal.h"

/* The transform of `p` that is equal to `t`, NULL when it has none. */
static const struct transform *find_equal(const struct proposal *p, const struct transform *t)
{
	for (uint8_t i = 0; i < p->count; i++) {
		const struct transform *x = &p->transforms[i];

		if (x->type == t->type && x->id == t->id && x->key_bits == t->key_bits)
			return x;
	}
	return NULL;
}

static bool has_type(const struct proposal *p, uint8_t type)
{
	for (uint8_t i = 0; i < p->count; i++) {
		if (p->transforms[i].type == type)
			return true;
	}
	return false;
}

/* What a proposal without any transform of the type stands for; false when for nothing. */
static bool implied(uint8_t type, struct transform *out)
{
	*out = (struct transform){ .type = type };
	if (type == TRANSFORM_INTEG)
		out->id = INTEG_NONE;
	else if (type == TRANSFORM_KE)
		out->id = KE_NONE;
	else
		return false;
	return true;
}

/* Types that a proposal must settle, in the order of the answer. */
static bool type_concerns(enum ike_protocol protocol, uint8_t type)
{
	if (type == TRANSFORM_PRF)
		return protocol == PROTOCOL_IKE;
	if (type == TRANSFORM_SN)
		return protocol != PROTOCOL_IKE;
	return true;
}

/* Our first transform of a type that they have too. */
static bool choose_type(const struct proposal *ours, const struct proposal *theirs, uint8_t type,
			struct transform *out)
{
	struct transform nothing;
	bool can_miss = implied(type, &nothing);

	if (type == TRANSFORM_SN && !has_type(ours, type)) {
		/* proposal_set_esn() was not asked for ESN. */
		*out = (struct transform){ .type = TRANSFORM_SN, .id = SN_32 };
		return find_equal(theirs, out);
	}
	if (!has_type(ours, type)) {
		*out = nothing;
		return can_miss && (!has_type(theirs, type) || find_equal(theirs, &nothing));
	}
	for (uint8_t i = 0; i < ours->count; i++) {
		const struct transform *t = &ours->transforms[i];

		if (t->type != type)
			continue;
		*out = *t;
		if (find_equal(theirs, t))
			return true;
		if (can_miss && !has_type(theirs, type) && t->id == nothing.id)
			return true;
	}
	return false;
}

/* RFC 7296 §3.3.6: a type that we do not know makes the whole proposal unfit. */
static bool only_known_types(const struct proposal *p)
{
	for (uint8_t i = 0; i < p->count; i++) {
		uint8_t type = p->transforms[i].type;

		if (type < TRANSFORM_ENCR || type > TRANSFORM_SN ||
		    !type_concerns((enum ike_protocol)p->protocol, type))
			return false;
	}
	return true;
}

/* Put one transform into the suite; false when its algorithm is not ours. */
static bool suite_set(struct cipher_suite *suite, const struct transform *t)
{
	const struct algorithm *a = algorithm_find(t->type, t->id);

	if (t->type == TRANSFORM_SN) {
		suite->esn = t->id == SN_ESN;
		return t->id <= SN_ESN;
	}
	if (!a)
		return false;
	switch (t->type) {
	case TRANSFORM_ENCR:
		suite->encr = a;
		suite->encr_bits = t->key_bits ? t->key_bits : a->key_bits[0];
		return algorithm_key_bits_ok(a, suite->encr_bits);
	case TRANSFORM_PRF: suite->prf = a; return true;
	case TRANSFORM_INTEG: suite->integ = a->id == INTEG_NONE ? NULL : a; return true;
	case TRANSFORM_KE: suite->ke = a->id == KE_NONE ? NULL : a; return true;
	default: return false;
	}
}

/* An AEAD has no integrity algorithm beside it, every other cipher needs one. */
static bool suite_sound(enum ike_protocol protocol, const struct cipher_suite *suite)
{
	if (!suite->encr || suite->encr->aead == (suite->integ != NULL))
		return false;
	return protocol != PROTOCOL_IKE || (suite->prf && suite->ke);
}

static bool choose_pair(const struct proposal *ours, const struct proposal *theirs,
			struct proposal *chosen, struct cipher_suite *suite)
{
	enum ike_protocol protocol = (enum ike_protocol)ours->protocol;

	if (ours->protocol != theirs->protocol || !only_known_types(theirs))
		return false;
	*suite = (struct cipher_suite){ 0 };
	*chosen = (struct proposal){ .number = theirs->number,
				     .protocol = theirs->protocol,
				     .spi_size = theirs->spi_size };
	for (size_t i = 0; i < sizeof(chosen->spi); i++)
		chosen->spi[i] = theirs->spi[i];
	for (unsigned n = TRANSFORM_ENCR; n <= TRANSFORM_SN; n++) {
		uint8_t type = (uint8_t)n;
		struct transform t;

		if (!type_concerns(protocol, type))
			continue;
		if (!choose_type(ours, theirs, type, &t) || !suite_set(suite, &t))
			return false;
		/* The answer has one of each type that they offered, and no other. */
		if (has_type(theirs, type))
			chosen->transforms[chosen->count++] = t;
	}
	return suite_sound(protocol, suite);
}

bool proposal_choose(const struct proposal_list *ours, const struct proposal_list *theirs,
		     struct proposal *chosen, struct cipher_suite *suite)
{
	for (size_t i = 0; i < ours->count; i++) {
		for (size_t k = 0; k < theirs->count; k++) {
			if (choose_pair(&ours->p[i], &theirs->p[k], chosen, suite))
				return true;
		}
	}
	*chosen = (struct proposal){ 0 };
	*suite = (struct cipher_suite){ 0 };
	return false;
}

/* One transform of each type at most. */
static bool one_of_each(const struct proposal *p)
{
	for (uint8_t i = 0; i < p->count; i++) {
		for (uint8_t k = 0; k < i; k++) {
			if (p->transforms[i].type == p->transforms[k].type)
				return false;
		}
	}
	return true;
}

bool proposal_accept(const struct proposal_list *ours, const struct proposal *answer,
		     struct cipher_suite *suite)
{
	struct proposal chosen;

	*suite = (struct cipher_suite){ 0 };
	if (!one_of_each(answer))
		return false;
	for (size_t i = 0; i < ours->count; i++) {
		/* §3.3.1: the answer bears the number of the proposal that it accepts. */
		if (ours->p[i].number == answer->number &&
		    choose_pair(&ours->p[i], answer, &chosen, suite))
			return true;
	}
	*suite = (struct cipher_suite){ 0 };
	return false;
}
