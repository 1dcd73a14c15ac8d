/* uthash, told to survive a lack of memory: an element that cannot be added is simply not there. */
#ifndef IKE_HASH_H
#define IKE_HASH_H

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((void)(element))
#include <uthash.h>

#endif
