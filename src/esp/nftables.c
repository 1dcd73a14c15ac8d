#include "esp/nftables.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "esp/netlink.h"
#include "net/address.h"

#ifdef HAVE_NFTABLES

#include <nftables/libnftables.h>

struct nft_ctx *nftables_open(void)
{
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);

	if (nft && (nft_ctx_buffer_output(nft) || nft_ctx_buffer_error(nft))) {
		nft_ctx_free(nft);
		nft = NULL;
	}
	return nft;
}

void nftables_close(struct nft_ctx *nft)
{
	if (nft)
		nft_ctx_free(nft);
}

bool nftables_run(struct nft_ctx *nft, const char *commands, bool quiet)
{
	bool ok;

	if (!nft)
		return false;
	ok = nft_run_cmd_from_buffer(nft, commands) == 0;
	if (!ok && !quiet) {
		const char *why = nft_ctx_get_error_buffer(nft);

		log_error("the packet filter refuses our rules: %.*s", (int)strcspn(why, "\n"), why);
	}
	nft_ctx_get_output_buffer(nft);
	nft_ctx_get_error_buffer(nft);
	return ok;
}

#else /* built without libnftables */

struct nft_ctx *nftables_open(void)
{
	return NULL;
}

void nftables_close(struct nft_ctx *nft)
{
	(void)nft;
}

bool nftables_run(struct nft_ctx *nft, const char *commands, bool quiet)
{
	(void)nft;
	(void)commands;
	(void)quiet;
	return false;
}

#endif

/* libnftables would read all elements of all sets to answer this. */
int nftables_find_table(uint8_t family, const char *name)
{
	struct netlink_request r;
	struct nfgenmsg *m = netlink_begin(&r, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE, 0, sizeof(*m));
	struct netlink nl;
	int rc = netlink_open_to(&nl, NETLINK_NETFILTER);

	if (rc)
		return rc;
	m->nfgen_family = family;
	m->version = NFNETLINK_V0;
	mnl_attr_put_strz(r.header, NFTA_TABLE_NAME, name);
	rc = netlink_ask(&nl, &r, NULL, NULL);
	rtnetlink_close(&nl);
	return rc;
}

void nftables_masked(struct text *t, const char *which, uint8_t family, uint8_t length)
{
	struct ip_prefix all = { .address.family = family, .length = length };
	struct ip_address lo, mask;
	char text[IP_ADDRESS_TEXT];

	memset(all.address.bytes, 0, sizeof(all.address.bytes));
	ip_prefix_range(&all, &lo, &mask);
	for (size_t i = 0; i < ip_address_size(&mask); i++)
		mask.bytes[i] = (uint8_t)~mask.bytes[i];
	text_add(t, "%s %s", family == AF_INET6 ? "ip6" : "ip", which);
	if (length < ip_address_size(&mask) * 8)
		text_add(t, " & %s", ip_address_format(&mask, text));
}
