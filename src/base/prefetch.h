/* Asking for memory before it is needed. */
#ifndef BASE_PREFETCH_H
#define BASE_PREFETCH_H

#include <stddef.h>
#include <stdint.h>

enum { CACHE_LINE = 64 };

/**
 * Have the cache lines of `bytes` bytes at `p` brought near; nothing is read, so nothing waits and any address will
 * do. They come into the second-level cache: what a batch of packets asks for, its texts beside it, would push
 * itself out of the first before its turn.
 */
static inline void prefetch_lines(const void *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += CACHE_LINE)
		__builtin_prefetch((const void *)((uintptr_t)p + i), 0, 2);
}

#endif
