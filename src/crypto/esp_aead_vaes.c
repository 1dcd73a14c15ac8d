/*
 * ESP's AES-GCM by our own AVX-512 code, on CPUs with VAES and VPCLMULQDQ.
 *
 * libipsec-mb does as well with one thread, but each of its calls writes one variable of the
 * process, which costs two threads a third of their speed, and its key context is four times as
 * large, which is what counts when every packet has another key. Sixteen blocks at a time are
 * enciphered and hashed with one reduction (NIST SP 800-38D; RFC 4106 for ESP). Of the sixteen
 * powers of the hash key that this takes four are kept. The others are made for every call, while
 * the first blocks are enciphered, before which there is nothing to hash: fetching them from memory
 * would take longer than that. Packets of one key that come in one call share them.
 *
 * GHASH runs in the representation of POLYVAL (RFC 8452 appendix A): bytes of a block reversed,
 * and H times x. That makes its product the plain carry-less one and its reduction two short
 * multiplications. Nothing here branches or addresses memory by keys or text.
 */
#include "crypto/esp_provider.h"

#ifdef __x86_64__

#include <cpuid.h>
#include <immintrin.h>
#include <pthread.h>
#include <string.h>

#include "base/secret.h"

#define VAES __attribute__((target("avx512f,avx512bw,avx512vl,vaes,vpclmulqdq,pclmul,aes,bmi2")))
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#define VAES_INLINE VAES __attribute__((always_inline)) static inline

enum { BLOCK_BYTES = 16, GROUP_BLOCKS = 16, GROUP_BYTES = 256, ROUND_KEYS_MAX = 15, POWERS_KEPT = 4 };
enum { LAST_BYTES = GROUP_BYTES - BLOCK_BYTES }; /* that leave room for the block of lengths */
enum { SALT_BYTES = 4, IV_BYTES = 8 };
enum { LEN_MAX = 1 << 24 }; /* the counter of blocks has 32 bits; far above a packet */

/* Packets only read it; no longer than its number of round keys. */
struct vaes_cipher {
	struct esp_cipher head;
	uint8_t salt[SALT_BYTES];
	uint32_t rounds;
	uint8_t powers[POWERS_KEPT][BLOCK_BYTES]; /* of H: 4th to first */
	uint8_t round_keys[][BLOCK_BYTES];
};

/* A sum of products before its reduction, in each of the four lanes. */
struct product {
	__m512i low, middle, high;
};

static bool runs_here;

/* Asked once: in a virtual machine the instruction costs microseconds. */
static void start(void)
{
	unsigned a, b, c, d;

	runs_here = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("vpclmulqdq") &&
		    __builtin_cpu_supports("bmi2") && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
		    (c & bit_VAES);
}

static const char *name(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, start);
	return runs_here ? "VAES AVX512" : NULL;
}

static bool has(const struct cipher_suite *suite)
{
	return suite->encr->id == ENCR_AES_GCM_16;
}

VAES_INLINE __m128i reverse(__m128i block)
{
	return _mm_shuffle_epi8(block, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
						    14, 15));
}

VAES_INLINE __m512i reverse_each(__m512i blocks)
{
	return _mm512_shuffle_epi8(blocks, _mm512_broadcast_i32x4(_mm_set_epi8(
						   0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
						   14, 15)));
}

/* Half of Montgomery's reduction by x^128 + x^127 + x^126 + x^121 + 1: divide by x^64. */
VAES_INLINE __m128i fold(__m128i x)
{
	const __m128i poly = _mm_set_epi64x((long long)0xc200000000000000, 1);

	return _mm_xor_si128(_mm_shuffle_epi32(x, 0x4e), _mm_clmulepi64_si128(x, poly, 0x10));
}

/* The same in each of the four lanes. */
VAES_INLINE __m512i fold_each(__m512i x)
{
	const __m512i poly = _mm512_broadcast_i32x4(_mm_set_epi64x((long long)0xc200000000000000, 1));

	return _mm512_xor_si512(_mm512_shuffle_epi32(x, 0x4e), _mm512_clmulepi64_epi128(x, poly, 0x10));
}

VAES_INLINE __m128i xor_lanes(__m512i x)
{
	__m256i y = _mm256_xor_si256(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));

	return _mm_xor_si128(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
}

VAES_INLINE __m128i reduce(struct product p)
{
	__m512i low = _mm512_xor_si512(p.low, _mm512_bslli_epi128(p.middle, 8));
	__m512i high = _mm512_xor_si512(p.high, _mm512_bsrli_epi128(p.middle, 8));

	return _mm_xor_si128(xor_lanes(high), fold(fold(xor_lanes(low))));
}

VAES_INLINE __m512i reduce_each(struct product p)
{
	__m512i low = _mm512_xor_si512(p.low, _mm512_bslli_epi128(p.middle, 8));
	__m512i high = _mm512_xor_si512(p.high, _mm512_bsrli_epi128(p.middle, 8));

	return _mm512_xor_si512(high, fold_each(fold_each(low)));
}

VAES_INLINE __m512i xor3(__m512i a, __m512i b, __m512i c)
{
	return _mm512_ternarylogic_epi64(a, b, c, 0x96);
}

VAES_INLINE struct product multiply(__m512i a, __m512i b)
{
	return (struct product){
		.low = _mm512_clmulepi64_epi128(a, b, 0x00),
		.middle = _mm512_xor_si512(_mm512_clmulepi64_epi128(a, b, 0x01),
					   _mm512_clmulepi64_epi128(a, b, 0x10)),
		.high = _mm512_clmulepi64_epi128(a, b, 0x11),
	};
}

VAES_INLINE void multiply_add(struct product *p, __m512i a, __m512i b)
{
	p->low = _mm512_xor_si512(p->low, _mm512_clmulepi64_epi128(a, b, 0x00));
	p->middle = xor3(p->middle, _mm512_clmulepi64_epi128(a, b, 0x01),
			 _mm512_clmulepi64_epi128(a, b, 0x10));
	p->high = _mm512_xor_si512(p->high, _mm512_clmulepi64_epi128(a, b, 0x11));
}

/* From the four powers that are kept to all sixteen, 16th to first. */
VAES_INLINE void make_powers(__m512i powers[4], const struct vaes_cipher *c)
{
	__m512i fourth, eighth;

	powers[3] = _mm512_loadu_si512(c->powers);
	fourth = _mm512_shuffle_i32x4(powers[3], powers[3], 0);
	powers[2] = reduce_each(multiply(powers[3], fourth));
	eighth = _mm512_shuffle_i32x4(powers[2], powers[2], 0);
	powers[1] = reduce_each(multiply(powers[2], fourth));
	powers[0] = reduce_each(multiply(powers[2], eighth));
}

/* One AES round of sixteen blocks. */
VAES_INLINE void round_each(__m512i x[4], __m512i key)
{
	UNROLL
	for (int i = 0; i < 4; i++)
		x[i] = _mm512_aesenc_epi128(x[i], key);
}

VAES_INLINE void encipher(__m512i x[4], const __m512i *keys, int rounds)
{
	UNROLL
	for (int i = 0; i < 4; i++)
		x[i] = _mm512_xor_si512(x[i], keys[0]);
	UNROLL
	for (int r = 1; r < rounds; r++)
		round_each(x, keys[r]);
	UNROLL
	for (int i = 0; i < 4; i++)
		x[i] = _mm512_aesenclast_epi128(x[i], keys[rounds]);
}

/*
 * Encipher the blocks `x`, and meanwhile hash the sixteen blocks `text`, which were made before:
 * the instructions alternate because the CPU does not look far enough ahead to find both.
 */
VAES_INLINE __m128i encipher_and_hash(__m512i x[4], const __m512i *keys, int rounds, __m128i hash,
				      const __m512i text[4], const __m512i powers[4])
{
	struct product p;
	__m128i low, high;

	UNROLL
	for (int i = 0; i < 4; i++)
		x[i] = _mm512_xor_si512(x[i], keys[0]);
	p = multiply(_mm512_xor_si512(reverse_each(text[0]), _mm512_zextsi128_si512(hash)),
		     powers[0]);
	UNROLL
	for (int i = 1; i < 4; i++) {
		round_each(x, keys[i]);
		multiply_add(&p, reverse_each(text[i]), powers[i]);
	}
	round_each(x, keys[4]);
	low = xor_lanes(_mm512_xor_si512(p.low, _mm512_bslli_epi128(p.middle, 8)));
	round_each(x, keys[5]);
	high = xor_lanes(_mm512_xor_si512(p.high, _mm512_bsrli_epi128(p.middle, 8)));
	round_each(x, keys[6]);
	low = fold(low);
	round_each(x, keys[7]);
	low = fold(low);
	UNROLL
	for (int r = 8; r < rounds; r++)
		round_each(x, keys[r]);
	UNROLL
	for (int i = 0; i < 4; i++)
		x[i] = _mm512_aesenclast_epi128(x[i], keys[rounds]);
	return _mm_xor_si128(high, low);
}

/* Sixteen blocks of counters; `counter` has the next four, reversed. */
VAES_INLINE void counter_blocks(__m512i x[4], __m512i *counter)
{
	const __m512i four = _mm512_set_epi32(0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4);

	UNROLL
	for (int i = 0; i < 4; i++) {
		x[i] = reverse_each(*counter);
		*counter = _mm512_add_epi32(*counter, four);
	}
}

VAES_INLINE __mmask64 byte_mask(size_t len, size_t before)
{
	size_t n = len > before ? len - before : 0;

	return _bzhi_u64(~UINT64_C(0), n < 64 ? (unsigned)n : 64);
}

/* Put the key stream `x` on sixteen blocks; `x` becomes the ciphertext. */
VAES_INLINE void apply(__m512i x[4], uint8_t *to, const uint8_t *from, bool inbound)
{
	UNROLL
	for (int i = 0; i < 4; i++) {
		__m512i in = _mm512_loadu_si512(from + 64 * i);
		__m512i out = _mm512_xor_si512(x[i], in);

		_mm512_storeu_si512(to + 64 * i, out);
		x[i] = inbound ? in : out;
	}
}

/* The same for `len` bytes, at most sixteen blocks. */
VAES_INLINE void apply_partial(__m512i x[4], uint8_t *to, const uint8_t *from, size_t len,
			       bool inbound)
{
	UNROLL
	for (int i = 0; i < 4; i++) {
		__mmask64 mask = byte_mask(len, 64 * (size_t)i);
		__m512i in = _mm512_maskz_loadu_epi8(mask, from + 64 * i);
		__m512i out = _mm512_maskz_mov_epi8(mask, _mm512_xor_si512(x[i], in));

		_mm512_mask_storeu_epi8(to + 64 * i, mask, out);
		x[i] = inbound ? in : out;
	}
}

/* The same for a group that is followed by another; returns how many bytes it was. */
VAES_INLINE size_t apply_group(__m512i x[4], uint8_t *to, const uint8_t *from, size_t len, bool inbound)
{
	if (len < GROUP_BYTES) {
		apply_partial(x, to, from, len, inbound);
		return len;
	}
	apply(x, to, from, inbound);
	return GROUP_BYTES;
}

/* The hash after the AAD's block; the first power stands in the last lane. */
VAES_INLINE __m128i hash_first(__m128i aad, __m512i powers)
{
	return reduce(multiply(_mm512_inserti32x4(_mm512_setzero_si512(), reverse(aad), 3), powers));
}

/* The hash after the last blocks, fifteen at most, and the block of lengths behind them. */
VAES_INLINE __m128i hash_rest(__m128i hash, const __m512i blocks[4], unsigned count,
			      __m128i lengths, const __m512i all[4])
{
	uint32_t used = _bzhi_u32(~0u, 2 * (count + 1)), last = 3u << (2 * count);
	const uint8_t *powers = (const uint8_t *)all + (size_t)(GROUP_BLOCKS - 1 - count) * BLOCK_BYTES;
	struct product p = { _mm512_setzero_si512(), _mm512_setzero_si512(),
			     _mm512_setzero_si512() };

	UNROLL
	for (int i = 0; i < 4; i++) {
		__mmask8 in = (__mmask8)(used >> (8 * i)), at = (__mmask8)(last >> (8 * i));
		__m512i x = _mm512_mask_mov_epi64(reverse_each(blocks[i]), at,
						  _mm512_broadcast_i32x4(lengths));

		if (i == 0)
			x = _mm512_xor_si512(x, _mm512_zextsi128_si512(hash));
		multiply_add(&p, x, _mm512_maskz_loadu_epi64(in, powers + 64 * i));
	}
	return reduce(p);
}

/* SP 800-38D §7.1: the counter block of the tag; the text's are those after it. */
VAES_INLINE __m128i first_counter(const struct vaes_cipher *c, const uint8_t *iv)
{
	int salt, half[2];

	memcpy(&salt, c->salt, SALT_BYTES);
	memcpy(half, iv, IV_BYTES);
	return _mm_set_epi32(1 << 24, half[1], half[0], salt);
}

/*
 * One packet; its ICV is written, or compared: false when it is another. `rounds` and `inbound`
 * are constants where this is called.
 */
VAES_INLINE bool run(const struct vaes_cipher *c, const __m512i powers[4],
		     const struct esp_packet_job *job, int rounds, bool inbound)
{
	const uint8_t *from = inbound || !job->src ? job->text : job->src;
	uint8_t *to = job->text;
	size_t len = job->len;
	__m128i first = first_counter(c, job->iv), hash, lengths, icv;
	__m128i aad = _mm_maskz_loadu_epi8((__mmask16)((1u << job->aad_len) - 1), job->aad);
	__m512i counter = _mm512_add_epi32(
		_mm512_broadcast_i32x4(reverse(first)),
		_mm512_set_epi32(0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1));
	__m512i keys[ROUND_KEYS_MAX], x[4], text[4];

	UNROLL
	for (int i = 0; i <= rounds; i++)
		keys[i] = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)c->round_keys[i]));
	hash = hash_first(aad, powers[3]);
	counter_blocks(x, &counter);
	if (len > LAST_BYTES) {
		encipher(x, keys, rounds);
		for (;;) {
			size_t n = apply_group(x, to, from, len, inbound);

			to += n;
			from += n;
			len -= n;
			memcpy(text, x, sizeof(text));
			counter_blocks(x, &counter);
			if (len <= LAST_BYTES)
				break;
			hash = encipher_and_hash(x, keys, rounds, hash, text, powers);
		}
		x[3] = _mm512_inserti32x4(x[3], first, 3);
		hash = encipher_and_hash(x, keys, rounds, hash, text, powers);
	} else {
		x[3] = _mm512_inserti32x4(x[3], first, 3);
		encipher(x, keys, rounds);
	}
	first = _mm512_extracti32x4_epi32(x[3], 3);
	apply_partial(x, to, from, len, inbound);
	lengths = _mm_set_epi64x(job->aad_len * 8, (long long)job->len * 8);
	hash = hash_rest(hash, x, (unsigned)(len + BLOCK_BYTES - 1) / BLOCK_BYTES, lengths, powers);
	icv = _mm_xor_si128(reverse(hash), first);
	if (inbound)
		return _mm_cmpneq_epi8_mask(icv, _mm_loadu_si128((const void *)job->icv)) == 0;
	_mm_storeu_si128((void *)job->icv, icv);
	return true;
}

static bool job_sound(const struct esp_packet_job *job)
{
	return job->len <= LEN_MAX && job->aad_len <= sizeof(job->aad);
}

/* Packets of one key: what is made of it is made once. */
VAES_INLINE void run_all(const struct vaes_cipher *c, struct esp_packet_job *jobs, size_t count,
			 int rounds, bool inbound)
{
	__m512i powers[4];

	make_powers(powers, c);
	for (size_t i = 0; i < count; i++) {
		struct esp_packet_job *job = &jobs[i];

		job->ok = job_sound(job) && run(c, powers, job, rounds, inbound);
		/* one that is refused leaves nothing: opening deciphers before it knows the ICV */
		if (!job->ok)
			secret_wipe(job->text, job->len);
	}
}

VAES static void seal(struct esp_cipher *head, struct esp_packet_job *jobs, size_t count)
{
	const struct vaes_cipher *c = (struct vaes_cipher *)head;

	switch (c->rounds) {
	case 10: run_all(c, jobs, count, 10, false); return;
	case 12: run_all(c, jobs, count, 12, false); return;
	default: run_all(c, jobs, count, 14, false);
	}
}

VAES static void open_jobs(struct esp_cipher *head, struct esp_packet_job *jobs, size_t count)
{
	const struct vaes_cipher *c = (struct vaes_cipher *)head;

	switch (c->rounds) {
	case 10: run_all(c, jobs, count, 10, true); return;
	case 12: run_all(c, jobs, count, 12, true); return;
	default: run_all(c, jobs, count, 14, true);
	}
}

/* FIPS 197 §5.2; the instruction substitutes bytes without a table. */
VAES static void expand_key(struct vaes_cipher *c, const uint8_t *key, unsigned key_words)
{
	uint32_t w[4 * ROUND_KEYS_MAX], rcon = 1;

	memcpy(w, key, key_words * 4u);
	for (unsigned i = key_words; i < 4 * (c->rounds + 1); i++) {
		__m128i s = _mm_aeskeygenassist_si128(_mm_set1_epi32((int)w[i - 1]), 0);
		uint32_t t = w[i - 1];

		if (i % key_words == 0) {
			t = (uint32_t)_mm_extract_epi32(s, 1) ^ rcon;
			rcon = rcon << 1 ^ (rcon & 0x80 ? 0x11b : 0);
		} else if (key_words > 6 && i % key_words == 4) {
			t = (uint32_t)_mm_extract_epi32(s, 0);
		}
		w[i] = w[i - key_words] ^ t;
	}
	memcpy(c->round_keys, w, (c->rounds + 1) * BLOCK_BYTES);
	secret_wipe(w, sizeof(w));
}

/* RFC 8452 appendix A: mulX_POLYVAL(ByteReverse(H)), and its powers. */
VAES static void set_powers(struct vaes_cipher *c)
{
	__m128i h = _mm_setzero_si128(), power;
	uint64_t half[2], carry;

	for (unsigned r = 0; r <= c->rounds; r++) {
		__m128i k = _mm_loadu_si128((const void *)c->round_keys[r]);

		if (r == 0)
			h = _mm_xor_si128(h, k);
		else if (r < c->rounds)
			h = _mm_aesenc_si128(h, k);
		else
			h = _mm_aesenclast_si128(h, k);
	}
	_mm_storeu_si128((void *)half, reverse(h));
	carry = 0 - (half[1] >> 63);
	h = _mm_set_epi64x((long long)((half[1] << 1 | half[0] >> 63) ^
				       (carry & 0xc200000000000000)),
			   (long long)(half[0] << 1 ^ (carry & 1)));
	power = h;
	for (int i = POWERS_KEPT - 1; i >= 0; i--) {
		_mm_storeu_si128((void *)c->powers[i], power);
		power = reduce(multiply(_mm512_zextsi128_si512(power), _mm512_zextsi128_si512(h)));
	}
	secret_wipe(half, sizeof(half));
}

static unsigned rounds_of(const struct cipher_suite *suite)
{
	return suite->encr_bits / 32u + 6;
}

static size_t bytes(const struct cipher_suite *suite)
{
	return sizeof(struct vaes_cipher) + (rounds_of(suite) + 1) * BLOCK_BYTES;
}

static bool init(struct esp_cipher *head, const struct cipher_suite *suite, struct bytes encr_key,
		 struct bytes integ_key, bool inbound)
{
	struct vaes_cipher *c = (struct vaes_cipher *)head;

	(void)integ_key;
	(void)inbound;
	c->rounds = rounds_of(suite);
	memcpy(c->salt, encr_key.ptr + encr_key.len - SALT_BYTES, SALT_BYTES);
	expand_key(c, encr_key.ptr, suite->encr_bits / 32u);
	set_powers(c);
	return true;
}

const struct esp_provider esp_provider_vaes = {
	.name = name,
	.has = has,
	.bytes = bytes,
	.init = init,
	.seal = seal,
	.open = open_jobs,
};

#endif
