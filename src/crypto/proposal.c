/* Proposals as values: building, changing and showing them; see proposal.h. */
#include "crypto/proposal.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

bool proposal_add(struct proposal *p, enum transform_type type, uint16_t id, uint16_t key_bits)
{
	struct transform t = { .type = (uint8_t)type, .id = id, .key_bits = key_bits };
	uint8_t at = p->count;

	for (uint8_t i = 0; i < p->count; i++) {
		const struct transform *have = &p->transforms[i];

		if (have->type == type && have->id == id && have->key_bits == key_bits)
			return true;
	}
	if (p->count >= PROPOSAL_TRANSFORMS_MAX)
		return false;
	/* Kept in order of type, and in order of preference within a type. */
	while (at > 0 && p->transforms[at - 1].type > type) {
		p->transforms[at] = p->transforms[at - 1];
		at--;
	}
	p->transforms[at] = t;
	p->count++;
	return true;
}

uint16_t transform_key_bits(const struct algorithm *a, uint16_t bits)
{
	/* A cipher with one key size has no Key Length attribute (RFC 7296 §3.3.5, RFC 7634). */
	return a->key_bits[1] != 0 ? bits : 0;
}

void proposal_add_default_ke(struct proposal *p)
{
	static const uint16_t order[] = { KE_ECP256,   KE_ECP384,   KE_ECP521,	 KE_CURVE25519,
					  KE_MODP4096, KE_MODP3072, KE_MODP2048, KE_MODP8192 };

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		proposal_add(p, TRANSFORM_KE, order[i], 0);
}

void proposal_add_default_prf(struct proposal *p)
{
	proposal_add(p, TRANSFORM_PRF, PRF_HMAC_SHA2_512, 0);
	proposal_add(p, TRANSFORM_PRF, PRF_HMAC_SHA2_256, 0);
}

void proposal_add_default_integ(struct proposal *p)
{
	const struct proposal from = *p;
	bool any = false;

	for (uint8_t i = 0; i < from.count; i++) {
		const struct algorithm *prf, *integ;

		if (from.transforms[i].type != TRANSFORM_PRF)
			continue;
		prf = algorithm_find(TRANSFORM_PRF, from.transforms[i].id);
		integ = prf ? algorithm_integ_of_prf(prf) : NULL;
		if (integ)
			any |= proposal_add(p, TRANSFORM_INTEG, integ->id, 0);
	}
	if (any)
		return;
	proposal_add(p, TRANSFORM_INTEG, INTEG_HMAC_SHA2_512_256, 0);
	proposal_add(p, TRANSFORM_INTEG, INTEG_HMAC_SHA2_256_128, 0);
}

void proposal_default(enum ike_protocol protocol, struct proposal_list *out)
{
	static const struct {
		uint16_t encr, bits;
	} order[] = {
		{ ENCR_AES_GCM_16, 256 }, { ENCR_AES_GCM_16, 128 }, { ENCR_CHACHA20_POLY1305, 256 },
		{ ENCR_AES_CBC, 256 },	  { ENCR_AES_CBC, 128 },
	};

	*out = (struct proposal_list){ 0 };
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		const struct algorithm *encr = algorithm_find(TRANSFORM_ENCR, order[i].encr);
		struct proposal *p = &out->p[out->count++];

		p->number = (uint8_t)out->count;
		p->protocol = (uint8_t)protocol;
		proposal_add(p, TRANSFORM_ENCR, encr->id, transform_key_bits(encr, order[i].bits));
		if (protocol == PROTOCOL_IKE)
			proposal_add_default_prf(p);
		if (!encr->aead)
			proposal_add_default_integ(p);
		if (protocol == PROTOCOL_IKE)
			proposal_add_default_ke(p);
	}
}

static void remove_type(struct proposal *p, enum transform_type type)
{
	uint8_t kept = 0;

	for (uint8_t i = 0; i < p->count; i++) {
		if (p->transforms[i].type != type)
			p->transforms[kept++] = p->transforms[i];
	}
	p->count = kept;
}

static bool has_type(const struct proposal *p, enum transform_type type)
{
	for (uint8_t i = 0; i < p->count; i++) {
		if (p->transforms[i].type == type)
			return true;
	}
	return false;
}

void proposal_set_esn(struct proposal_list *list, bool esn, bool no_esn)
{
	for (size_t i = 0; i < list->count; i++) {
		if (list->p[i].protocol == PROTOCOL_IKE)
			continue;
		remove_type(&list->p[i], TRANSFORM_SN);
		if (esn)
			proposal_add(&list->p[i], TRANSFORM_SN, SN_ESN, 0);
		if (no_esn)
			proposal_add(&list->p[i], TRANSFORM_SN, SN_32, 0);
	}
}

void proposal_strip_ke(struct proposal_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		remove_type(&list->p[i], TRANSFORM_KE);
}

void proposal_add_ke(struct proposal_list *list, uint16_t ke)
{
	for (size_t i = 0; i < list->count; i++) {
		if (!has_type(&list->p[i], TRANSFORM_KE))
			proposal_add(&list->p[i], TRANSFORM_KE, ke, 0);
	}
}

bool proposal_has_ke(const struct proposal *p, uint16_t ke)
{
	for (uint8_t i = 0; i < p->count; i++) {
		if (p->transforms[i].type == TRANSFORM_KE && p->transforms[i].id == ke)
			return true;
	}
	return false;
}

uint16_t proposal_first_ke(const struct proposal_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct proposal *p = &list->p[i];

		for (uint8_t k = 0; k < p->count; k++) {
			if (p->transforms[k].type == TRANSFORM_KE && p->transforms[k].id != KE_NONE)
				return p->transforms[k].id;
		}
	}
	return KE_NONE;
}

bool proposal_list_has_ke(const struct proposal_list *list)
{
	return proposal_first_ke(list) != KE_NONE;
}

void proposal_from_suite(enum ike_protocol protocol, const struct cipher_suite *suite,
			 struct proposal_list *out)
{
	struct proposal *p = &out->p[0];

	*out = (struct proposal_list){ .count = 1 };
	p->number = 1;
	p->protocol = (uint8_t)protocol;
	proposal_add(p, TRANSFORM_ENCR, suite->encr->id,
		     transform_key_bits(suite->encr, suite->encr_bits));
	if (suite->prf && protocol == PROTOCOL_IKE)
		proposal_add(p, TRANSFORM_PRF, suite->prf->id, 0);
	if (suite->integ && !suite->encr->aead)
		proposal_add(p, TRANSFORM_INTEG, suite->integ->id, 0);
	if (suite->ke)
		proposal_add(p, TRANSFORM_KE, suite->ke->id, 0);
	if (protocol != PROTOCOL_IKE)
		proposal_add(p, TRANSFORM_SN, suite->esn ? SN_ESN : SN_32, 0);
}

static void add_encr(struct text *t, const char *name, unsigned bits)
{
	text_add(t, bits ? "%s_%u" : "%s", name, bits);
}

/* The integrity algorithms are just those that go with the PRFs, so they need not be shown. */
static bool integ_follows_prf(const struct proposal *p)
{
	uint8_t prfs[PROPOSAL_TRANSFORMS_MAX], integs[PROPOSAL_TRANSFORMS_MAX];
	uint8_t prf_count = 0, integ_count = 0;

	for (uint8_t i = 0; i < p->count; i++) {
		if (p->transforms[i].type == TRANSFORM_PRF)
			prfs[prf_count++] = i;
		else if (p->transforms[i].type == TRANSFORM_INTEG)
			integs[integ_count++] = i;
	}
	if (prf_count != integ_count)
		return false;
	for (uint8_t i = 0; i < prf_count; i++) {
		const struct algorithm *prf =
			algorithm_find(TRANSFORM_PRF, p->transforms[prfs[i]].id);
		const struct algorithm *integ = prf ? algorithm_integ_of_prf(prf) : NULL;

		if (!integ || integ->id != p->transforms[integs[i]].id)
			return false;
	}
	return true;
}

/* What stands before the first transform of a type; after `-`, NONE would be taken for INTEG. */
static const char *lead(const struct transform *first)
{
	if (first->type == TRANSFORM_SN)
		return "-ESN:";
	return first->type == TRANSFORM_KE && first->id == KE_NONE ? ";" : "-";
}

/* All transforms of a type, joined by `+`; nothing when there is none. */
static void add_type(struct text *t, const struct proposal *p, enum transform_type type)
{
	bool first = true;
	char buf[32];

	for (uint8_t i = 0; i < p->count; i++) {
		const struct transform *x = &p->transforms[i];

		if (x->type != type)
			continue;
		if (!first)
			text_add(t, "+");
		else if (t->len > 0)
			text_add(t, "%s", lead(x));
		first = false;
		if (type == TRANSFORM_SN && x->id <= SN_ESN)
			text_add(t, "%s", x->id == SN_ESN ? "YES" : "NO");
		else
			add_encr(t, transform_name(type, x->id, buf), x->key_bits);
	}
}

static void add_proposal(struct text *t, const struct proposal *p)
{
	struct text one = { 0 };

	add_type(&one, p, TRANSFORM_ENCR);
	add_type(&one, p, TRANSFORM_PRF);
	if (!integ_follows_prf(p))
		add_type(&one, p, TRANSFORM_INTEG);
	add_type(&one, p, TRANSFORM_KE);
	add_type(&one, p, TRANSFORM_SN);
	for (uint8_t i = 0; i < p->count; i++) {
		if (p->transforms[i].type == 0 || p->transforms[i].type > TRANSFORM_SN)
			text_add(&one, "-type%u:%u", p->transforms[i].type, p->transforms[i].id);
	}
	text_add(t, "%s", one.len > 0 ? text_str(&one) : "(empty)");
	text_free(&one);
}

/* Hand out the text, cut with "..." when it is too long. */
static const char *give(struct text *t, char *buf, size_t len)
{
	if (len > 0)
		snprintf(buf, len, "%s", text_str(t));
	if (t->len >= len && len > 3)
		memcpy(buf + len - 4, "...", 4);
	text_free(t);
	return buf;
}

const char *proposal_format(const struct proposal *p, char *buf, size_t len)
{
	struct text t = { 0 };

	add_proposal(&t, p);
	return give(&t, buf, len);
}

const char *proposal_list_format(const struct proposal_list *list, char *buf, size_t len)
{
	struct text t = { 0 };

	for (size_t i = 0; i < list->count; i++) {
		if (i > 0)
			text_add(&t, ", ");
		add_proposal(&t, &list->p[i]);
	}
	return give(&t, buf, len);
}

const char *suite_format_ike(const struct cipher_suite *s, char *buf, size_t len)
{
	struct text t = { 0 };

	text_add(&t, "{cipher=");
	add_encr(&t, s->encr ? s->encr->name : "none",
		 s->encr ? transform_key_bits(s->encr, s->encr_bits) : 0);
	text_add(&t, " integ=%s prf=%s ke=%s}", s->integ ? s->integ->name : "n/a",
		 s->prf ? s->prf->name : "none", s->ke ? s->ke->name : "none");
	return give(&t, buf, len);
}

const char *suite_format_esp(const struct cipher_suite *s, char *buf, size_t len)
{
	struct text t = { 0 };

	add_encr(&t, s->encr ? s->encr->name : "none",
		 s->encr ? transform_key_bits(s->encr, s->encr_bits) : 0);
	if (s->integ)
		text_add(&t, "-%s", s->integ->name);
	if (s->ke)
		text_add(&t, "-%s", s->ke->name);
	return give(&t, buf, len);
}
