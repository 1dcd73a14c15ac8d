/*
 * libnftables, as the files with tables of ours in the kernel's packet filter need it. Where it is
 * missing at build or run time, nftables_open() says so and nothing else is called. Daemon's
 * thread only.
 */
#ifndef ESP_NFTABLES_H
#define ESP_NFTABLES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

struct nft_ctx;

/** NULL: not available. To be closed. */
struct nft_ctx *nftables_open(void);
/** NULL is allowed. */
void nftables_close(struct nft_ctx *nft);
/** Run commands as one transaction. What nft says about a failure goes to the log, unless `quiet`. */
bool nftables_run(struct nft_ctx *nft, const char *commands, bool quiet);
/** Whether there is a table `name` of a family (NFPROTO_INET, ...): 0, -ENOENT, or why that is not known. */
int nftables_find_table(uint8_t family, const char *name);

/** The first `length` bits of an address of the packet, e.g. "ip saddr & 255.255.0.0". */
void nftables_masked(struct text *t, const char *which, uint8_t family, uint8_t length);

#endif
