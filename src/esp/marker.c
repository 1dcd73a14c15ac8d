#include "esp/marker.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uthash.h>

#include "esp/esp.h"
#include "esp/nftables.h"

enum { NAME = 32, ANY_LOCAL = UINT8_MAX };

/* Networks of one prefix length, or pairs of two: those never overlap. Compared as bytes. */
struct mark_set_key {
	uint8_t family, local_len, remote_len; /* ANY_LOCAL: the set has remote networks */
};

struct mark_set {
	struct mark_set_key key;
	struct text additions, removals; /* elements, not in force yet */
	UT_hash_handle hh;
};

struct mark_element {
	struct mark_element_key {
		struct mark_set_key set;
		struct ip_address local, remote;
	} key;
	unsigned users;
	UT_hash_handle hh;
};

static const uint8_t families[] = { AF_INET, AF_INET6 }; /* NFPROTO_IPV4 and IPV6 are the same numbers */

static size_t index_of(uint8_t family)
{
	return family == AF_INET6;
}

static const char *ip_name(uint8_t family)
{
	return family == AF_INET6 ? "ip6" : "ip";
}

/* --- sets --------------------------------------------------------------------------------------- */

static const char *set_name(const struct mark_set_key *k, char *buf)
{
	if (k->local_len == ANY_LOCAL)
		snprintf(buf, NAME, "to_%u", k->remote_len);
	else
		snprintf(buf, NAME, "pair_%u_%u", k->local_len, k->remote_len);
	return buf;
}

static void declare_table(struct text *t, uint8_t family)
{
	const char *ip = ip_name(family);

	text_add(t, "add table %s %s\n", ip, ESP_NFT_MARKS);
	/* after the mangle chains (-150), which may restore a connection's mark, and after
	 * translation of the destination (-100): routing asks for what that left */
	text_add(t, "add chain %s %s arrive { type filter hook prerouting priority -90; }\n"
		 "add chain %s %s send { type route hook output priority -90; }\n",
		 ip, ESP_NFT_MARKS, ip, ESP_NFT_MARKS);
	for (size_t i = 0; i < 3; i++)
		text_add(t, "add chain %s %s %s\n", ip, ESP_NFT_MARKS,
			 (const char *const[]){ "covered", "uncovered", "judge" }[i]);
	text_add(t, "add rule %s %s uncovered jump covered\n"
		 "add rule %s %s uncovered meta mark set meta mark | 0x%x\n",
		 ip, ESP_NFT_MARKS, ip, ESP_NFT_MARKS, ESP_UNCOVERED);
	text_add(t, "add rule %s %s judge meta mark & 0x%x == 0x%x return\n", ip, ESP_NFT_MARKS,
		 ESP_MARK_MASK, ESP_MARK);
	if (family == AF_INET6) /* neighbour discovery is the link's own */
		text_add(t, "add rule %s %s judge meta l4proto 58 icmpv6 type 133-137 return\n", ip,
			 ESP_NFT_MARKS);
	/* one that came back with a connection's mark is of another packet, perhaps the other way */
	text_add(t, "add rule %s %s judge meta mark & 0x%x != 0 meta mark set meta mark & 0x%x\n", ip,
		 ESP_NFT_MARKS, ESP_UNCOVERED, ~(uint32_t)ESP_UNCOVERED);
	text_add(t, "add rule %s %s arrive goto judge\nadd rule %s %s send goto judge\n", ip,
		 ESP_NFT_MARKS, ip, ESP_NFT_MARKS);
}

static void declare_set(struct text *t, const struct mark_set_key *k)
{
	const char *ip = ip_name(k->family), *type = k->family == AF_INET6 ? "ipv6_addr" : "ipv4_addr";
	bool pairs = k->local_len != ANY_LOCAL;
	char name[NAME];

	set_name(k, name);
	text_add(t, "add set %s %s %s { type %s%s%s; }\n", ip, ESP_NFT_MARKS, name, type,
		 pairs ? " . " : "", pairs ? type : "");
	text_add(t, "add rule %s %s %s ", ip, ESP_NFT_MARKS, pairs ? "covered" : "judge");
	if (pairs) {
		nftables_masked(t, "saddr", k->family, k->local_len);
		text_add(t, " . ");
	}
	nftables_masked(t, "daddr", k->family, k->remote_len);
	text_add(t, " @%s %s\n", name, pairs ? "accept" : "goto uncovered");
}

static struct mark_set *set_of(struct marker *m, const struct mark_set_key *k)
{
	struct mark_set *set;
	size_t i = index_of(k->family);

	HASH_FIND(hh, m->sets, k, sizeof(*k), set);
	if (set)
		return set;
	set = calloc(1, sizeof(*set));
	if (!set)
		return NULL;
	set->key = *k;
	HASH_ADD(hh, m->sets, key, sizeof(set->key), set);
	if (!m->built[i])
		declare_table(&m->pending, k->family);
	m->built[i] = true;
	declare_set(&m->pending, k);
	return set;
}

/* --- elements ----------------------------------------------------------------------------------- */

static void put_element(struct text *t, const struct mark_element_key *k)
{
	char local[IP_ADDRESS_TEXT], remote[IP_ADDRESS_TEXT];

	text_add(t, "%s%s%s%s", t->len ? ", " : "",
		 k->set.local_len == ANY_LOCAL ? "" : ip_address_format(&k->local, local),
		 k->set.local_len == ANY_LOCAL ? "" : " . ", ip_address_format(&k->remote, remote));
}

/* `local` NULL: of the set of remote networks. */
static struct mark_element_key element_key(const struct ip_prefix *local, const struct ip_prefix *remote)
{
	struct mark_element_key k;

	memset(&k, 0, sizeof(k));
	k.set = (struct mark_set_key){ remote->address.family, local ? local->length : ANY_LOCAL,
				       remote->length };
	if (local)
		k.local = local->address;
	k.remote = remote->address;
	return k;
}

static void add_element(struct marker *m, const struct mark_element_key *k)
{
	struct mark_element *e;
	struct mark_set *set;

	HASH_FIND(hh, m->elements, k, sizeof(*k), e);
	if (e) {
		e->users++;
		return;
	}
	m->waiting = true;
	e = calloc(1, sizeof(*e));
	set = set_of(m, &k->set);
	if (!e || !set) {
		free(e);
		m->pending.bad = true;
		return;
	}
	e->key = *k;
	e->users = 1;
	HASH_ADD(hh, m->elements, key, sizeof(e->key), e);
	put_element(&set->additions, k);
}

static void remove_element(struct marker *m, const struct mark_element_key *k)
{
	struct mark_element *e;
	struct mark_set *set;

	HASH_FIND(hh, m->elements, k, sizeof(*k), e);
	if (!e || --e->users > 0)
		return;
	HASH_FIND(hh, m->sets, &k->set, sizeof(k->set), set);
	if (set)
		put_element(&set->removals, k);
	m->waiting = true;
	HASH_DEL(m->elements, e);
	free(e);
}

void marker_add(struct marker *m, const struct ip_prefix *local, const struct ip_prefix *remote)
{
	struct mark_element_key pair = element_key(local, remote), to = element_key(NULL, remote);

	add_element(m, &pair);
	add_element(m, &to);
}

void marker_remove(struct marker *m, const struct ip_prefix *local, const struct ip_prefix *remote)
{
	struct mark_element_key pair = element_key(local, remote), to = element_key(NULL, remote);

	remove_element(m, &pair);
	remove_element(m, &to);
}

/* --- in force ----------------------------------------------------------------------------------- */

static void put_elements(struct text *t, const struct mark_set *set, const char *verb, struct text *elements)
{
	char name[NAME];

	t->bad |= elements->bad;
	if (elements->len)
		text_add(t, "%s element %s %s %s { %s }\n", verb, ip_name(set->key.family), ESP_NFT_MARKS,
			 set_name(&set->key, name), text_str(elements));
	text_free(elements);
}

/* All that waits, as one transaction. */
static bool commit(struct marker *m, bool quiet)
{
	struct mark_set *set;
	bool ok;

	/* what was removed may have come again since */
	for (set = m->sets; set; set = set->hh.next)
		put_elements(&m->pending, set, "delete", &set->removals);
	for (set = m->sets; set; set = set->hh.next)
		put_elements(&m->pending, set, "add", &set->additions);
	ok = !m->pending.bad && nftables_run(m->nft, text_str(&m->pending), quiet);
	text_free(&m->pending);
	m->waiting = false;
	m->broken = !ok;
	return ok;
}

bool marker_rebuild(struct marker *m)
{
	struct mark_element *e;
	struct mark_set *set;

	text_free(&m->pending);
	for (size_t i = 0; i < sizeof(families); i++)
		if (m->built[i]) {
			text_add(&m->pending, "add table %s %s\ndelete table %s %s\n", ip_name(families[i]),
				 ESP_NFT_MARKS, ip_name(families[i]), ESP_NFT_MARKS);
			declare_table(&m->pending, families[i]);
		}
	for (set = m->sets; set; set = set->hh.next) {
		text_free(&set->additions);
		text_free(&set->removals);
		declare_set(&m->pending, &set->key);
	}
	for (e = m->elements; e; e = e->hh.next) {
		HASH_FIND(hh, m->sets, &e->key.set, sizeof(e->key.set), set);
		if (set)
			put_element(&set->additions, &e->key);
	}
	if (!commit(m, false))
		return false;
	m->inherited[0] = m->inherited[1] = false;
	return true;
}

bool marker_flush(struct marker *m)
{
	if (!m->waiting && !m->broken)
		return true;
	if (!m->broken && commit(m, true))
		return true;
	/* before settling, a predecessor's pairs are still needed */
	m->waiting = false;
	return !marker_has_stale(m) && marker_rebuild(m);
}

bool marker_gone(const struct marker *m)
{
	for (size_t i = 0; i < sizeof(families); i++)
		if (m->nft && m->built[i] && nftables_find_table(families[i], ESP_NFT_MARKS) == -ENOENT)
			return true;
	return false;
}

/* --- life --------------------------------------------------------------------------------------- */

void marker_open(struct marker *m)
{
	memset(m, 0, sizeof(*m));
	m->nft = nftables_open();
	for (size_t i = 0; m->nft && i < sizeof(families); i++) {
		int rc = nftables_find_table(families[i], ESP_NFT_MARKS);

		m->built[i] = m->inherited[i] = rc == 0;
		if (rc != 0 && rc != -ENOENT)
			marker_close(m);
	}
}

static void forget(struct marker *m)
{
	struct mark_element *element = m->elements, *after;
	struct mark_set *set = m->sets, *next;

	HASH_CLEAR(hh, m->elements);
	for (; element; element = after) {
		after = element->hh.next;
		free(element);
	}
	HASH_CLEAR(hh, m->sets);
	for (; set; set = next) {
		next = set->hh.next;
		text_free(&set->additions);
		text_free(&set->removals);
		free(set);
	}
	text_free(&m->pending);
	m->waiting = m->broken = false;
}

void marker_close(struct marker *m)
{
	forget(m);
	nftables_close(m->nft);
	*m = (struct marker){ 0 };
}

bool marker_has_stale(const struct marker *m)
{
	return m->inherited[0] || m->inherited[1];
}

void marker_settle(struct marker *m)
{
	if (!marker_has_stale(m))
		return;
	if (m->elements)
		marker_rebuild(m);
	else
		marker_clear(m);
}

bool marker_clear(struct marker *m)
{
	bool ok = true;

	forget(m);
	for (size_t i = 0; i < sizeof(families); i++) {
		const char *ip = ip_name(families[i]);

		if (!m->built[i])
			continue;
		text_add(&m->pending, "add table %s %s\ndelete table %s %s\n", ip, ESP_NFT_MARKS, ip,
			 ESP_NFT_MARKS);
		ok = nftables_run(m->nft, text_str(&m->pending), false) && ok;
		text_free(&m->pending);
		m->built[i] = m->inherited[i] = false;
	}
	return ok;
}
