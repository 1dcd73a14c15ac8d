/*
 * Secret memory: slabs of equal-sized objects in chunks of 256 KB.
 *
 * A chunk is one mapping, aligned to its size so that an object finds its chunk by masking
 * its address. The first page holds the chunk's book-keeping and no secret; the other pages
 * are locked, left out of core dumps, and read as zeros in a forked child, which may go on
 * to use the allocator because the book-keeping is not among them. Objects too large for a
 * chunk have a mapping of their own with the same first page.
 *
 * Under AddressSanitizer objects come from the heap, where it can watch them; locking is then
 * left out, wiping is not.
 */
#include "base/secret.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/log.h"

#if defined(__SANITIZE_ADDRESS__)
#define SECRET_FROM_HEAP 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SECRET_FROM_HEAP 1
#endif
#endif

void secret_wipe(void *p, size_t len)
{
	if (len > 0)
		OPENSSL_cleanse(p, len);
}

bool key_set(struct key *k, const void *p, size_t len)
{
	*k = (struct key){ 0 };
	if (len > KEY_MAX)
		return false;
	if (len > 0)
		memcpy(k->bytes, p, len);
	k->len = (uint8_t)len;
	return true;
}

/* As much locked memory as we may have: without CAP_SYS_RESOURCE, up to the hard limit. */
static void raise_memlock_limit(void)
{
	struct rlimit limit = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };

	if (setrlimit(RLIMIT_MEMLOCK, &limit) == 0)
		return;
	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_MEMLOCK, &limit);
}

bool secret_init(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *probe;
	bool locked;

	/* Keys also pass through the stack and OpenSSL's heap: no dump of the process at all. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	raise_memlock_limit();
	/* cppcheck-suppress invalidFunctionArg ; no file, so -1 */
	probe = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (probe == MAP_FAILED)
		return false;
	locked = mlock(probe, page) == 0;
	munmap(probe, page);
	return locked;
}

#ifdef SECRET_FROM_HEAP

void *secret_alloc(size_t size)
{
	void *p;

	if (posix_memalign(&p, SECRET_ALIGN, size > 0 ? size : 1) != 0)
		return NULL;
	memset(p, 0, size);
	return p;
}

void secret_free(void *p)
{
	if (!p)
		return;
	secret_wipe(p, malloc_usable_size(p));
	free(p);
}

#else

enum { CHUNK_BYTES = 256 * 1024, HEADER_BYTES = 4096, OBJECT_MIN = 64 };
enum { OBJECTS_MAX = (CHUNK_BYTES - HEADER_BYTES) / OBJECT_MIN };
enum { FINE_STEP = 64, MIDDLE_STEP = 256, WIDE_STEP = 4096 };
enum { FINE_END = 1024, MIDDLE_END = 8192, SMALL_END = 32768 };
enum {
	FINE_CLASSES = FINE_END / FINE_STEP,
	MIDDLE_CLASSES = (MIDDLE_END - FINE_END) / MIDDLE_STEP,
	CLASSES = FINE_CLASSES + MIDDLE_CLASSES + (SMALL_END - MIDDLE_END) / WIDE_STEP,
	CLASS_LARGE = CLASSES, /* one object in a mapping of its own */
};

struct chunk {
	LIST_ENTRY(chunk) entry; /* among those of its class with room */
	size_t map_bytes;
	size_t object_bytes;
	unsigned class;
	unsigned count; /* objects it can hold */
	unsigned used;
	unsigned hint;  /* words of `taken` before this one are full */
	uint64_t taken[(OBJECTS_MAX + 63) / 64];
};
_Static_assert((int)FINE_STEP % (int)SECRET_ALIGN == 0, "every object of a slab is aligned");
_Static_assert(sizeof(struct chunk) <= HEADER_BYTES, "book-keeping fits the first page");

LIST_HEAD(chunk_list, chunk);

static struct {
	pthread_mutex_t lock;
	bool warned;
	struct chunk_list with_room[CLASSES];
} arena = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Class of a size, and the size of its objects. */
static unsigned class_of(size_t size, size_t *object_bytes)
{
	size_t step;

	if (size <= FINE_END) {
		step = size > 0 ? (size - 1) / FINE_STEP : 0;
		*object_bytes = (step + 1) * FINE_STEP;
		return (unsigned)step;
	}
	if (size <= MIDDLE_END) {
		step = (size - FINE_END - 1) / MIDDLE_STEP;
		*object_bytes = FINE_END + (step + 1) * MIDDLE_STEP;
		return (unsigned)(FINE_CLASSES + step);
	}
	if (size <= SMALL_END) {
		step = (size - MIDDLE_END - 1) / WIDE_STEP;
		*object_bytes = MIDDLE_END + (step + 1) * WIDE_STEP;
		return (unsigned)(FINE_CLASSES + MIDDLE_CLASSES + step);
	}
	*object_bytes = size;
	return CLASS_LARGE;
}

/* `bytes` of memory at a multiple of CHUNK_BYTES. */
static void *map_aligned(size_t bytes)
{
	size_t all = bytes + CHUNK_BYTES;
	/* cppcheck-suppress invalidFunctionArg ; no file, so -1 */
	uint8_t *p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before, after;

	if (p == MAP_FAILED)
		return NULL;
	before = (CHUNK_BYTES - (uintptr_t)p % CHUNK_BYTES) % CHUNK_BYTES;
	after = all - before - bytes;
	if (before > 0)
		munmap(p, before);
	if (after > 0)
		munmap(p + before + bytes, after);
	/* cppcheck-suppress deallocret ; only the ends are unmapped */
	return p + before;
}

/* Keep pages from disk, from core dumps and from children. */
static void guard_pages(void *p, size_t len)
{
	madvise(p, len, MADV_DONTDUMP);
	madvise(p, len, MADV_WIPEONFORK);
	if (mlock(p, len) == 0 || arena.warned)
		return;
	arena.warned = true;
	log_warning("cannot lock the memory of keys (RLIMIT_MEMLOCK): they may reach the swap");
}

static struct chunk *chunk_new(unsigned class, size_t object_bytes)
{
	size_t page = HEADER_BYTES;
	size_t bytes = CHUNK_BYTES;
	struct chunk *c;

	if (class == CLASS_LARGE) {
		if (object_bytes > SIZE_MAX / 2)
			return NULL;
		bytes = HEADER_BYTES + (object_bytes + page - 1) / page * page;
	}
	c = map_aligned(bytes);
	if (!c)
		return NULL;
	guard_pages((uint8_t *)c + HEADER_BYTES, bytes - HEADER_BYTES);
	c->map_bytes = bytes;
	c->object_bytes = object_bytes;
	c->class = class;
	c->count = class == CLASS_LARGE ? 1 : (CHUNK_BYTES - HEADER_BYTES) / (unsigned)object_bytes;
	return c;
}

/* Take an object of a chunk that has room; it is zeroed, as new memory and freed objects are. */
static void *chunk_take(struct chunk *c)
{
	unsigned word = c->hint;
	unsigned index;

	while (c->taken[word] == UINT64_MAX)
		word++;
	c->hint = word;
	index = word * 64 + (unsigned)__builtin_ctzll(~c->taken[word]);
	c->taken[word] |= UINT64_C(1) << (index % 64);
	c->used++;
	return (uint8_t *)c + HEADER_BYTES + index * c->object_bytes;
}

static void *alloc_small(unsigned class, size_t object_bytes)
{
	struct chunk *c = LIST_FIRST(&arena.with_room[class]);
	void *p;

	if (!c) {
		c = chunk_new(class, object_bytes);
		if (!c)
			return NULL;
		LIST_INSERT_HEAD(&arena.with_room[class], c, entry);
	}
	p = chunk_take(c);
	if (c->used == c->count)
		LIST_REMOVE(c, entry);
	return p;
}

void *secret_alloc(size_t size)
{
	size_t object_bytes;
	unsigned class = class_of(size, &object_bytes);
	struct chunk *large;
	void *p = NULL;

	pthread_mutex_lock(&arena.lock);
	if (class != CLASS_LARGE) {
		p = alloc_small(class, object_bytes);
	} else {
		large = chunk_new(class, object_bytes);
		if (large)
			p = chunk_take(large);
	}
	pthread_mutex_unlock(&arena.lock);
	return p;
}

/* An object of a small class goes back; a chunk that is empty too, unless it is the last one. */
static void free_small(struct chunk *c, unsigned index)
{
	c->taken[index / 64] &= ~(UINT64_C(1) << (index % 64));
	if (index / 64 < c->hint)
		c->hint = index / 64;
	if (c->used-- == c->count)
		LIST_INSERT_HEAD(&arena.with_room[c->class], c, entry);
	if (c->used > 0)
		return;
	if (LIST_FIRST(&arena.with_room[c->class]) == c && !LIST_NEXT(c, entry))
		return;
	LIST_REMOVE(c, entry);
	munmap(c, c->map_bytes);
}

void secret_free(void *p)
{
	struct chunk *c;

	if (!p)
		return;
	c = (struct chunk *)((uintptr_t)p & ~(uintptr_t)(CHUNK_BYTES - 1));
	secret_wipe(p, c->object_bytes);
	pthread_mutex_lock(&arena.lock);
	if (c->class == CLASS_LARGE)
		munmap(c, c->map_bytes);
	else
		free_small(c, (unsigned)(((uintptr_t)p - (uintptr_t)c - HEADER_BYTES) /
					 c->object_bytes));
	pthread_mutex_unlock(&arena.lock);
}

#endif
