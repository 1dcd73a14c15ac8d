/*
 * The spelling of proposals in ipsec.conf, Libreswan's grammar:
 *
 *   list     = proposal *( "," proposal )
 *   proposal = algs *( "-" algs ) [ ";" algs ]       ";" comes before the key exchange
 *   algs     = alg *( "+" alg )
 *
 * IKE has ENCR-PRF-INTEG-KE (ENCR-INTEG-PRF-KE is taken too), ESP has ENCR-INTEG-KE; each part
 * but the first may be left out. A cipher's key size follows its name, with `_`, `-` or nothing
 * between. AEADs and other ciphers that are joined by `+` become two proposals, because RFC 7296
 * §3.3 does not allow both in one.
 */
#include "crypto/proposal.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

enum { TOKEN_MAX = 64, ALGS_MAX = 16 };

/* Algorithms of one part of a proposal, with the key size that was written (0: none was). */
struct algs {
	size_t count;
	const struct algorithm *a[ALGS_MAX];
	uint16_t bits[ALGS_MAX];
};

struct parser {
	enum ike_protocol protocol;
	const char *at; /* what is left of the text */
	char *err;
	size_t err_len;
	struct algs part[TRANSFORM_KE + 1]; /* of the proposal at hand, by type */
};

static bool fail(struct parser *ps, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(struct parser *ps, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (ps->err_len > 0)
		vsnprintf(ps->err, ps->err_len, format, args);
	va_end(args);
	return false;
}

static const char *protocol_name(const struct parser *ps)
{
	return ps->protocol == PROTOCOL_IKE ? "IKE" : "ESP";
}

static const char *type_name(enum transform_type type)
{
	switch (type) {
	case TRANSFORM_ENCR: return "encryption";
	case TRANSFORM_PRF: return "PRF";
	case TRANSFORM_INTEG: return "integrity";
	case TRANSFORM_KE: return "DH";
	default: return "";
	}
}

static bool ends_alg(char c)
{
	return c == '\0' || c == '-' || c == '+' || c == ',' || c == ';';
}

/* Copy the name at the cursor, without moving it; returns its length, 0 when there is none. */
static size_t peek(const struct parser *ps, char token[TOKEN_MAX])
{
	size_t len = 0, keep;

	while (!ends_alg(ps->at[len]))
		len++;
	keep = len < TOKEN_MAX ? len : TOKEN_MAX - 1;
	memcpy(token, ps->at, keep);
	token[keep] = '\0';
	return len;
}

/* `name` with a key size at its end: `aes256`, `aes_gcm_256`. */
static const struct algorithm *find_sized(const char *name, uint16_t *bits, bool *odd_size)
{
	const struct algorithm *a = algorithm_find_name(TRANSFORM_ENCR, name);
	size_t len = strlen(name), base = len;
	char stem[TOKEN_MAX];
	uint64_t size;

	*bits = 0;
	*odd_size = false;
	if (a || algorithm_known_find(TRANSFORM_ENCR, name))
		return a;
	while (base > 0 && isdigit((unsigned char)name[base - 1]))
		base--;
	if (base == len || !text_to_u64(name + base, UINT16_MAX, &size))
		return NULL;
	if (base > 0 && name[base - 1] == '_')
		base--;
	memcpy(stem, name, base);
	stem[base] = '\0';
	a = algorithm_find_name(TRANSFORM_ENCR, stem);
	*bits = (uint16_t)size;
	*odd_size = a && !algorithm_key_bits_ok(a, *bits);
	return a;
}

/* The same for a name that we know but do not have: `3des`, `aes_ctr256`. */
static const struct algorithm_known *find_known(enum transform_type type, const char *name)
{
	const struct algorithm_known *k = algorithm_known_find(type, name);
	size_t len = strlen(name);
	char stem[TOKEN_MAX];

	if (type != TRANSFORM_ENCR)
		return k;
	memcpy(stem, name, len + 1);
	while (!k && len > 0 && (isdigit((unsigned char)stem[len - 1]) || stem[len - 1] == '_')) {
		stem[--len] = '\0';
		k = algorithm_known_find(type, stem);
	}
	return k;
}

/* The token is an algorithm of the type, whether we have it or not. */
static bool is_a(enum transform_type type, const char *token)
{
	return algorithm_find_name(type, token) || algorithm_known_find(type, token);
}

static bool fail_odd_size(struct parser *ps, const struct algorithm *a, unsigned bits)
{
	struct text sizes = { 0 };
	bool result;

	for (size_t i = 0; i < 3 && a->key_bits[i] != 0; i++)
		text_add(&sizes, "%s%u", i > 0 ? ", " : "", a->key_bits[i]);
	result = fail(ps, "%s %s algorithm '%s' has no key of %u bits, but of %s",
		      protocol_name(ps), type_name(a->type), a->name, bits,
		      sizes.len > 0 ? text_str(&sizes) : "none");
	text_free(&sizes);
	return result;
}

static bool fail_unknown(struct parser *ps, enum transform_type type, const char *token)
{
	const struct algorithm_known *k = find_known(type, token);

	if (k)
		return fail(ps, "%s %s algorithm '%s' is not supported: %s", protocol_name(ps),
			    type_name(type), token, k->why);
	return fail(ps, "%s %s algorithm '%s' is not recognized", protocol_name(ps),
		    type_name(type), token);
}

/* A key size that stands by itself after the cipher, as in `aes-128`. */
static bool take_separate_size(struct parser *ps, const struct algorithm *a, uint16_t *bits)
{
	size_t len = 1;
	char digits[8];
	uint64_t size;

	if (*ps->at != '-' || a->type != TRANSFORM_ENCR || *bits != 0)
		return true;
	while (isdigit((unsigned char)ps->at[len]))
		len++;
	if (len == 1 || len > sizeof(digits) || !ends_alg(ps->at[len]))
		return true;
	memcpy(digits, ps->at + 1, len - 1);
	digits[len - 1] = '\0';
	if (!text_to_u64(digits, UINT16_MAX, &size))
		return fail(ps, "'%s' is not a key size", digits);
	if (!algorithm_key_bits_ok(a, (uint16_t)size))
		return fail_odd_size(ps, a, (unsigned)size);
	*bits = (uint16_t)size;
	ps->at += len;
	return true;
}

/* One algorithm of a known type at the cursor. */
static bool take_alg(struct parser *ps, enum transform_type type)
{
	struct algs *part = &ps->part[type];
	const struct algorithm *a;
	char token[TOKEN_MAX];
	size_t len = peek(ps, token);
	uint8_t use = ps->protocol == PROTOCOL_IKE ? ALG_IKE : ALG_ESP;
	uint16_t bits = 0;
	bool odd_size = false;

	if (len == 0)
		return fail(ps, "%s %s algorithm is empty", protocol_name(ps), type_name(type));
	if (type == TRANSFORM_ENCR)
		a = find_sized(token, &bits, &odd_size);
	else
		a = algorithm_find_name(type, token);
	if (!a || len >= TOKEN_MAX)
		return fail_unknown(ps, type, token);
	if (odd_size)
		return fail_odd_size(ps, a, bits);
	if (!(a->use & use))
		return fail(ps, "%s %s algorithm '%s' is not supported: it is for ESP only",
			    protocol_name(ps), type_name(type), token);
	if (part->count >= ALGS_MAX)
		return fail(ps, "%s proposal has more than %d %s algorithms", protocol_name(ps),
			    ALGS_MAX, type_name(type));
	ps->at += len;
	if (!take_separate_size(ps, a, &bits))
		return false;
	part->a[part->count] = a;
	part->bits[part->count++] = bits;
	return true;
}

/* Algorithms of one type, joined by `+`. */
static bool take_part(struct parser *ps, enum transform_type type)
{
	if (ps->part[type].count > 0)
		return fail(ps, "%s proposal has the %s algorithm twice", protocol_name(ps),
			    type_name(type));
	for (;;) {
		if (!take_alg(ps, type))
			return false;
		if (*ps->at != '+')
			return true;
		ps->at++;
	}
}

/* What the part after a `-` is: by its first name, and by what the proposal has already. */
static bool guess_type(struct parser *ps, enum transform_type *type)
{
	const struct algs *part = ps->part;
	bool prf_fits = ps->protocol == PROTOCOL_IKE && part[TRANSFORM_PRF].count == 0;
	bool integ_fits = part[TRANSFORM_INTEG].count == 0;
	char token[TOKEN_MAX];

	peek(ps, token);
	if (part[TRANSFORM_KE].count > 0)
		return fail(ps, "%s proposal goes on with '%s' after its DH algorithm",
			    protocol_name(ps), token);
	/* PRF and INTEG may have the same spelling, so the order decides: PRF first. */
	if (prf_fits && is_a(TRANSFORM_PRF, token))
		*type = TRANSFORM_PRF;
	else if (integ_fits && is_a(TRANSFORM_INTEG, token))
		*type = TRANSFORM_INTEG;
	else if (is_a(TRANSFORM_KE, token) || (!prf_fits && !integ_fits))
		*type = TRANSFORM_KE;
	else
		*type = prf_fits ? TRANSFORM_PRF : TRANSFORM_INTEG;
	return true;
}

static bool take_proposal(struct parser *ps)
{
	enum transform_type type;

	memset(ps->part, 0, sizeof(ps->part));
	if (!take_part(ps, TRANSFORM_ENCR))
		return false;
	while (*ps->at == '-' || *ps->at == ';') {
		type = TRANSFORM_KE;
		if (*ps->at++ == '-' && !guess_type(ps, &type))
			return false;
		if (ps->at[strcspn(ps->at, "=,-+;")] == '=')
			return fail(ps, "%s proposal has '%s': TYPE=ALGORITHM is not supported, "
					"write ENCR-PRF-INTEG-KE", protocol_name(ps), ps->at);
		if (!take_part(ps, type))
			return false;
	}
	return true;
}

/* RFC 7296 §3.3: an AEAD stands without an integrity algorithm, any other cipher with one. */
static bool check_integ(struct parser *ps)
{
	const struct algs *encr = &ps->part[TRANSFORM_ENCR];
	const struct algs *integ = &ps->part[TRANSFORM_INTEG];
	bool none = false, some = false, other = false;

	for (size_t i = 0; i < integ->count; i++) {
		none |= integ->a[i]->id == INTEG_NONE;
		some |= integ->a[i]->id != INTEG_NONE;
	}
	for (size_t i = 0; i < encr->count; i++)
		other |= !encr->a[i]->aead;
	for (size_t i = 0; i < encr->count; i++) {
		if (encr->a[i]->aead && some && !other)
			return fail(ps, "AEAD %s encryption algorithm %s must have 'NONE' as the "
					"integrity algorithm", protocol_name(ps), encr->a[i]->name);
		if (!encr->a[i]->aead && none)
			return fail(ps, "non-AEAD %s encryption algorithm %s cannot have 'NONE' as "
					"the integrity algorithm", protocol_name(ps),
				    encr->a[i]->name);
	}
	return true;
}

static void add_encr(struct proposal *p, const struct algs *encr, bool aead)
{
	for (size_t i = 0; i < encr->count; i++) {
		const struct algorithm *a = encr->a[i];

		if (a->aead != aead)
			continue;
		if (encr->bits[i] != 0 || a->key_bits[0] == 0) {
			proposal_add(p, TRANSFORM_ENCR, a->id,
				     transform_key_bits(a, encr->bits[i]));
			continue;
		}
		/* No size was written: the largest, then 128 bits; 192 only when asked for. */
		proposal_add(p, TRANSFORM_ENCR, a->id, transform_key_bits(a, a->key_bits[0]));
		if (algorithm_key_bits_ok(a, 128))
			proposal_add(p, TRANSFORM_ENCR, a->id, transform_key_bits(a, 128));
	}
}

static void add_part(struct proposal *p, const struct parser *ps, enum transform_type type)
{
	const struct algs *part = &ps->part[type];

	for (size_t i = 0; i < part->count; i++)
		proposal_add(p, type, part->a[i]->id, 0);
}

/* No PRF was written: those of the integrity algorithms' hashes, or the default ones. */
static void add_missing_prf(struct proposal *p, const struct algs *integ)
{
	const struct algorithm *a;
	bool any = false;

	for (size_t i = 0; i < integ->count; i++) {
		for (size_t k = 0; (a = algorithm_at(k)); k++) {
			if (a->type == TRANSFORM_PRF && algorithm_integ_of_prf(a) == integ->a[i])
				any |= proposal_add(p, TRANSFORM_PRF, a->id, 0);
		}
	}
	if (!any)
		proposal_add_default_prf(p);
}

/* The proposal of the parts for AEADs, or for the other ciphers. */
static bool emit(struct parser *ps, bool aead, struct proposal_list *out)
{
	struct proposal p = { .protocol = (uint8_t)ps->protocol };

	add_encr(&p, &ps->part[TRANSFORM_ENCR], aead);
	if (p.count == 0)
		return true;
	if (out->count >= PROPOSALS_MAX)
		return fail(ps, "there are more than %d %s proposals", PROPOSALS_MAX,
			    protocol_name(ps));
	add_part(&p, ps, TRANSFORM_PRF);
	if (ps->protocol == PROTOCOL_IKE && ps->part[TRANSFORM_PRF].count == 0)
		add_missing_prf(&p, &ps->part[TRANSFORM_INTEG]);
	if (!aead && ps->part[TRANSFORM_INTEG].count > 0)
		add_part(&p, ps, TRANSFORM_INTEG);
	else if (!aead)
		proposal_add_default_integ(&p);
	add_part(&p, ps, TRANSFORM_KE);
	if (ps->protocol == PROTOCOL_IKE && ps->part[TRANSFORM_KE].count == 0)
		proposal_add_default_ke(&p);
	p.number = (uint8_t)(out->count + 1);
	out->p[out->count++] = p;
	return true;
}

/* In the initiator's first message the KE payload must fit, whatever proposal is chosen. */
static bool check_ke(struct parser *ps, const struct proposal_list *list)
{
	size_t with = 0;

	if (ps->protocol == PROTOCOL_IKE)
		return true;
	for (size_t i = 0; i < list->count; i++) {
		const struct proposal_list one = { .count = 1, .p = { list->p[i] } };

		with += proposal_list_has_ke(&one) || proposal_has_ke(&list->p[i], KE_NONE);
	}
	if (with != 0 && with != list->count)
		return fail(ps, "either all or no ESP proposals should specify DH");
	return true;
}

static bool parse_list(struct parser *ps, struct proposal_list *out)
{
	for (;;) {
		bool aead_first;

		if (*ps->at == '\0' || *ps->at == ',')
			return fail(ps, "%s proposal is empty", protocol_name(ps));
		if (!take_proposal(ps) || !check_integ(ps))
			return false;
		aead_first = ps->part[TRANSFORM_ENCR].a[0]->aead;
		if (!emit(ps, aead_first, out) || !emit(ps, !aead_first, out))
			return false;
		if (*ps->at == '\0')
			return check_ke(ps, out);
		if (*ps->at != ',')
			return fail(ps, "%s proposal has '%c' where ',' or the end should be",
				    protocol_name(ps), *ps->at);
		ps->at++;
	}
}

bool proposal_parse(enum ike_protocol protocol, const char *text, struct proposal_list *out,
		    char *err, size_t err_len)
{
	struct parser ps = { .protocol = protocol, .err = err, .err_len = err_len };
	struct text compact = { 0 };
	bool ok;

	*out = (struct proposal_list){ 0 };
	/* Spaces mean nothing anywhere; a `!` at the end was "strict" once, as all are now. */
	for (const char *s = text; *s != '\0'; s++) {
		if (!isspace((unsigned char)*s) && !(*s == '!' && s[1] == '\0'))
			text_add(&compact, "%c", *s);
	}
	if (compact.bad) {
		text_free(&compact);
		return fail(&ps, "no memory");
	}
	ps.at = text_str(&compact);
	ok = parse_list(&ps, out);
	text_free(&compact);
	if (!ok)
		*out = (struct proposal_list){ 0 };
	return ok;
}
