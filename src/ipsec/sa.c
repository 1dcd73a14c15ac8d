/* `ipsec sa`: states and policies in the shape of `ip xfrm state` and `ip xfrm policy`. */
#include <stdio.h>
#include <string.h>

#include "ipsec/client.h"
#include "ipsec/command.h"

static void print_algorithm(const char *kind, const json_t *a)
{
	const char *key = json_text(a, "key");

	if (!json_is_object(a))
		return;
	printf("\t%s %s %s", kind, json_text(a, "name"), key[0] != '\0' ? key : "<hidden>");
	if (json_number(a, "icv_bits") > 0)
		printf(" %lld", (long long)json_number(a, "icv_bits"));
	putchar('\n');
}

static void print_state(const json_t *s)
{
	size_t i;
	const json_t *flag, *encap = json_object_get(s, "encap");

	printf("src %s dst %s\n", json_text(s, "src"), json_text(s, "dst"));
	printf("\tproto esp spi %s reqid %lld mode %s\n", json_text(s, "spi"),
	       (long long)json_number(s, "reqid"), json_text(s, "mode"));
	/* with an ESN context the kernel keeps the window there and 0 here */
	printf("\treplay-window %lld", json_flag(s, "esn") ? 0LL : (long long)json_number(s, "replay_window"));
	if (json_array_size(json_object_get(s, "flags")) > 0)
		fputs(" flag", stdout);
	json_array_foreach(json_object_get(s, "flags"), i, flag)
		printf(" %s", json_string_value(flag));
	putchar('\n');
	print_algorithm("auth-trunc", json_object_get(s, "auth"));
	print_algorithm("enc", json_object_get(s, "enc"));
	print_algorithm("aead", json_object_get(s, "aead"));
	if (json_is_object(encap))
		printf("\tencap type %s sport %lld dport %lld\n", json_text(encap, "type"),
		       (long long)json_number(encap, "sport"), (long long)json_number(encap, "dport"));
	json_int_t seq = json_number(s, "seq"), oseq = json_number(s, "oseq");
	if (json_flag(s, "esn")) {
		printf("\tanti-replay esn context:\n\t seq-hi 0x%llx, seq 0x%llx, oseq-hi 0x%llx, oseq 0x%llx\n",
		       (unsigned long long)seq >> 32, (unsigned long long)seq & 0xffffffff,
		       (unsigned long long)oseq >> 32, (unsigned long long)oseq & 0xffffffff);
		printf("\t replay_window %lld\n", (long long)json_number(s, "replay_window"));
	} else {
		printf("\tanti-replay context: seq 0x%llx, oseq 0x%llx\n", (unsigned long long)seq,
		       (unsigned long long)oseq);
	}
	printf("\tlifetime current:\n\t  %lld(bytes), %lld(packets)\n", (long long)json_number(s, "bytes"),
	       (long long)json_number(s, "packets"));
}

static void print_policy(const json_t *p)
{
	size_t i;
	const json_t *tmpl;

	printf("src %s dst %s", json_text(p, "src"), json_text(p, "dst"));
	if (json_number(p, "proto") > 0)
		printf(" proto %lld", (long long)json_number(p, "proto"));
	if (json_number(p, "sport") > 0)
		printf(" sport %lld", (long long)json_number(p, "sport"));
	if (json_number(p, "dport") > 0)
		printf(" dport %lld", (long long)json_number(p, "dport"));
	printf(" \n\tdir %s%s priority %lld ptype main \n", json_text(p, "dir"),
	       strcmp(json_text(p, "action"), "block") == 0 ? " action block" : "",
	       (long long)json_number(p, "priority"));
	json_array_foreach(json_object_get(p, "tmpl"), i, tmpl)
		printf("\ttmpl src %s dst %s\n\t\tproto esp reqid %lld mode %s\n", json_text(tmpl, "src"),
		       json_text(tmpl, "dst"), (long long)json_number(tmpl, "reqid"), json_text(tmpl, "mode"));
	if (json_number(p, "mtu") > 0)
		printf("\tmtu %lld\n", (long long)json_number(p, "mtu"));
}

void print_sas(const struct options *o, const json_t *data)
{
	size_t i;
	const json_t *item;

	(void)o;
	json_array_foreach(json_object_get(data, "states"), i, item)
		print_state(item);
	json_array_foreach(json_object_get(data, "policies"), i, item)
		print_policy(item);
}
