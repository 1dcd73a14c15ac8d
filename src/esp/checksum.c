#include "esp/checksum.h"

#include <string.h>

#include "esp/headers.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

static uint16_t fold64(uint64_t s)
{
	s = (s & UINT32_MAX) + (s >> 32);
	s = (s & UINT32_MAX) + (s >> 32);
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return (uint16_t)s;
}

static uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Halves are added apart, so that there is no carry to look after: 2^32 of them fit. */
static uint64_t halves(uint64_t v)
{
	return (v & UINT32_MAX) + (v >> 32);
}

/* Fewer than 8 bytes. */
static uint64_t rest(const uint8_t *p, size_t len)
{
	uint64_t s = 0;
	uint32_t w = 0;
	uint16_t h = 0;

	if (len & 4) {
		memcpy(&w, p, 4);
		p += 4;
		s = w;
	}
	if (len & 2) {
		memcpy(&h, p, 2);
		p += 2;
		s += h;
		h = 0;
	}
	if (len & 1)
		memcpy(&h, p, 1);
	return s + h;
}

static uint64_t add_plain(const uint8_t *p, size_t len, uint64_t s)
{
	for (; len >= 8; p += 8, len -= 8)
		s += halves(load64(p));
	return s + rest(p, len);
}

static uint16_t add_words(const uint8_t *p, size_t len)
{
	uint64_t a = 0, b = 0;

	for (; len >= 32; p += 32, len -= 32) {
		a += halves(load64(p)) + halves(load64(p + 8));
		b += halves(load64(p + 16)) + halves(load64(p + 24));
	}
	return fold64(add_plain(p, len, a + b));
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static uint16_t add_avx2(const uint8_t *p, size_t len)
{
	const __m256i low = _mm256_set1_epi64x(UINT32_MAX);
	__m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
	uint64_t s[4];

	for (; len >= 64; p += 64, len -= 64) {
		__m256i v = _mm256_loadu_si256((const __m256i *)(const void *)p);
		__m256i w = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));

		a = _mm256_add_epi64(a, _mm256_and_si256(v, low));
		b = _mm256_add_epi64(b, _mm256_srli_epi64(v, 32));
		c = _mm256_add_epi64(c, _mm256_and_si256(w, low));
		d = _mm256_add_epi64(d, _mm256_srli_epi64(w, 32));
	}
	a = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d));
	_mm256_storeu_si256((__m256i *)(void *)s, a);
	return fold64(add_plain(p, len, s[0] + s[1] + s[2] + s[3]));
}

/* VNNI adds the products of four bytes and four weights: even and odd bytes, each apart. */
__attribute__((target("avx512f,avx512bw,avx512vnni"))) static uint16_t add_avx512(const uint8_t *p, size_t len)
{
	const __m512i even = _mm512_set1_epi16(0x0001), odd = _mm512_set1_epi16(0x0100);
	__m512i a = _mm512_setzero_si512(), b = a, c = a, d = a, v;

	for (; len >= 128; p += 128, len -= 128) {
		v = _mm512_loadu_si512(p);
		a = _mm512_dpbusd_epi32(a, v, even);
		b = _mm512_dpbusd_epi32(b, v, odd);
		v = _mm512_loadu_si512(p + 64);
		c = _mm512_dpbusd_epi32(c, v, even);
		d = _mm512_dpbusd_epi32(d, v, odd);
	}
	for (; len > 0; p += 64, len -= len < 64 ? len : 64) {
		/* masked bytes are not touched */
		v = _mm512_maskz_loadu_epi8(len < 64 ? (UINT64_C(1) << len) - 1 : UINT64_MAX, p);
		a = _mm512_dpbusd_epi32(a, v, even);
		b = _mm512_dpbusd_epi32(b, v, odd);
	}
	a = _mm512_add_epi32(a, c);
	b = _mm512_add_epi32(b, d);
	return fold64((uint32_t)_mm512_reduce_add_epi32(a) + ((uint64_t)(uint32_t)_mm512_reduce_add_epi32(b) << 8));
}
#endif

static const struct checksum_variant all[] = {
	{ "words", add_words },
#ifdef __x86_64__
	{ "AVX2", add_avx2 },
	{ "AVX-512", add_avx512 },
#endif
};
static size_t usable = 1;
static uint16_t (*add)(const uint8_t *p, size_t len) = add_words;

__attribute__((constructor)) static void choose(void)
{
#ifdef __x86_64__
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2"))
		return;
	usable = 2;
	if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni"))
		usable = 3;
	add = all[usable - 1].add;
#endif
}

const struct checksum_variant *checksum_variant(size_t i)
{
	return i < usable ? &all[i] : NULL;
}

uint32_t checksum_add(const uint8_t *p, size_t len, uint32_t sum)
{
	uint16_t native = add(p, len);
	uint64_t s = (uint64_t)sum + load_be16((const uint8_t *)&native);

	return (uint32_t)(s + (s >> 32));
}
