/*
 * Cookies: a stranger proves that it receives at its address before anything is
 * kept for it. RFC 7296 §2.6. A cookie is the version of a secret and
 * HMAC-SHA-256(secret, Ni | address | port | SPIi); two secrets are alive, so
 * one that is on its way survives a rotation.
 */
#include <string.h>

#include "crypto/prf.h"
#include "ike/internal.h"

bool cookie_wanted(struct ike_engine *e)
{
	if (e->config.never_cookie)
		return false;
	return e->config.always_cookie || e->counters.half_open >= e->config.cookie_threshold ||
	       !rate_limit_take(&e->stranger_limit, e->now); /* also who leaves nothing half-open costs something */
}

static void cookie_rotate(struct ike_engine *e)
{
	uint64_t age = e->now - e->cookie_since_us;

	if (e->cookie_version && age < COOKIE_ROTATION_US)
		return;
	/* unused for two periods: neither secret is young enough */
	if (!e->cookie_version || age >= 2 * COOKIE_ROTATION_US)
		engine_random(e, e->cookie_secret[1], sizeof(e->cookie_secret[1]));
	else
		memcpy(e->cookie_secret[1], e->cookie_secret[0], sizeof(e->cookie_secret[1]));
	engine_random(e, e->cookie_secret[0], sizeof(e->cookie_secret[0]));
	e->cookie_version = (uint8_t)(e->cookie_version == 255 ? 1 : e->cookie_version + 1);
	e->cookie_since_us = e->now;
}

static bool cookie_compute(const uint8_t secret[32], const struct ip_endpoint *remote, uint64_t spi_i,
			   struct bytes ni, uint8_t out[32])
{
	const struct algorithm *prf = algorithm_find(TRANSFORM_PRF, PRF_HMAC_SHA2_256);
	uint8_t fixed[10];
	struct writer w = writer_new(fixed, sizeof(fixed));
	struct bytes parts[3];

	writer_u16(&w, remote->port);
	writer_u64(&w, spi_i);
	parts[0] = writer_bytes(&w);
	parts[1] = ip_address_bytes(&remote->address);
	parts[2] = ni;
	return prf && prf_compute(prf, BYTES(secret, 32), parts, 3, out);
}

bool cookie_make(struct ike_engine *e, const struct ip_endpoint *remote, uint64_t spi_i, struct bytes ni,
		 uint8_t out[COOKIE_BYTES])
{
	cookie_rotate(e);
	out[0] = e->cookie_version;
	return cookie_compute(e->cookie_secret[0], remote, spi_i, ni, out + 1);
}

bool cookie_verify(struct ike_engine *e, const struct ip_endpoint *remote, uint64_t spi_i, struct bytes ni,
		   struct bytes cookie)
{
	uint8_t want[32], previous;
	size_t which;

	if (cookie.len != COOKIE_BYTES)
		return false;
	cookie_rotate(e);
	previous = (uint8_t)(e->cookie_version == 1 ? 255 : e->cookie_version - 1);
	if (cookie.ptr[0] == e->cookie_version)
		which = 0;
	else if (cookie.ptr[0] == previous)
		which = 1;
	else
		return false;
	return cookie_compute(e->cookie_secret[which], remote, spi_i, ni, want) &&
	       bytes_equal(BYTES(want, sizeof(want)), BYTES(cookie.ptr + 1, cookie.len - 1));
}
