#include "esp/mtu.h"

#include <stdlib.h>
#include <string.h>

struct mtu_users {
	uint32_t mtu;
	size_t users;
};

uint32_t mtu_of_policy(uint32_t leaves, bool v6, uint32_t configured)
{
	uint32_t mtu = leaves ? leaves : MTU_WITHOUT_SA, floor = v6 ? MTU_MIN_V6 : MTU_MIN_V4;

	if (mtu < floor)
		mtu = floor;
	if (mtu > MTU_MAX)
		mtu = MTU_MAX;
	return configured && configured < mtu ? configured : mtu;
}

/* Where `mtu` is, or belongs. */
static size_t place_of(const struct mtu_set *s, uint32_t mtu)
{
	size_t at = 0;

	while (at < s->count && s->of[at].mtu < mtu)
		at++;
	return at;
}

static bool add(struct mtu_set *s, uint32_t mtu)
{
	size_t at = place_of(s, mtu);
	struct mtu_users *more;

	if (at < s->count && s->of[at].mtu == mtu) {
		s->of[at].users++;
		return true;
	}
	more = realloc(s->of, (s->count + 1) * sizeof(*more));
	if (!more)
		return false;
	s->of = more;
	memmove(&s->of[at + 1], &s->of[at], (s->count - at) * sizeof(*more));
	s->of[at] = (struct mtu_users){ mtu, 1 };
	s->count++;
	return true;
}

static void take_out(struct mtu_set *s, uint32_t mtu)
{
	size_t at = place_of(s, mtu);

	if (at == s->count || s->of[at].mtu != mtu || --s->of[at].users > 0)
		return;
	s->count--;
	memmove(&s->of[at], &s->of[at + 1], (s->count - at) * sizeof(s->of[0]));
	if (s->count == 0)
		mtu_set_free(s);
}

bool mtu_set_change(struct mtu_set *s, uint32_t from, uint32_t to)
{
	if (from == to)
		return true;
	if (to && !add(s, to))
		return false;
	if (from)
		take_out(s, from);
	return true;
}

uint32_t mtu_set_least(const struct mtu_set *s)
{
	return s->count ? s->of[0].mtu : 0;
}

uint32_t mtu_set_greatest(const struct mtu_set *s)
{
	return s->count ? s->of[s->count - 1].mtu : 0;
}

void mtu_set_free(struct mtu_set *s)
{
	free(s->of);
	*s = (struct mtu_set){ 0 };
}
