/*
 * What good configurations become: fields, defaults, includes, also=, combinations, names, the
 * way back to text, and how long many connections take.
 */
#include "config_files.h"

#include <sys/stat.h>
#include <time.h>

#include "config/config.h"

#define ENDS "\tleft=192.168.20.10\n\tright=192.168.20.20\n\tauthby=secret\n"

static struct diag_list diags;

static struct config *load_path(const char *path)
{
	struct config *config;

	diag_list_init(&diags);
	config = config_load(path, &diags);
	assert_non_null(config);
	return config;
}

static struct config *load(const char *text)
{
	return load_path(files_write("t.conf", text, strlen(text)));
}

/** Nothing was said. */
static void assert_silent(void)
{
	char *said = files_diags(&diags);

	assert_string_equal(said, "");
	free(said);
}

static void done(struct config *config)
{
	config_free(config);
	diag_list_free(&diags);
	files_clear();
}

static void assert_address(const struct ip_address *a, const char *text)
{
	char buf[IP_ADDRESS_TEXT];

	assert_string_equal(ip_address_format(a, buf), text);
}

static void assert_subnets(const struct ts_list *list, const char *text)
{
	char buf[400];

	assert_string_equal(ts_list_format(list, buf, sizeof(buf)), text);
}

static const char article[] = "conn net1\n"
			      "    left=192.168.20.10\n"
			      "    leftsubnet=192.168.10.0/24\n"
			      "    right=192.168.20.20\n"
			      "    rightsubnet=192.168.30.0/24\n"
			      "    auto=start\n"
			      "    authby=secret\n"
			      "    dpddelay=10\n"
			      "    dpdtimeout=5\n"
			      "    dpdaction=restart\n";

static void the_article(void **state)
{
	static const char main_file[] = "config setup\n\tlogfile=/var/log/pluto.log\n\n"
					"include ipsec.d/*.conf\n";
	struct config *config;
	struct conn_config *c;
	char dir[100], *said;
	size_t from = 0;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/ipsec.d", files_dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	files_write("ipsec.d/net1.conf", article, strlen(article));
	config = load_path(files_write("ipsec.conf", main_file, strlen(main_file)));
	said = files_diags(&diags);
	assert_string_equal(said,
			    "ipsec.d/net1.conf:9: conn net1: warning: dpdtimeout=5 is below "
			    "dpddelay=10 and has no effect in IKEv2; a dead peer is noticed dpddelay "
			    "plus the retransmission timeout (retransmit-timeout=60s) after it falls "
			    "silent; remove dpdtimeout=\n");
	free(said);
	assert_int_equal(config->count, 1);
	assert_string_equal(config->setup.logfile, "/var/log/pluto.log");
	c = config_find(config, "net1", &from);
	assert_ptr_equal(c, config->conns);
	assert_null(config_find(config, "net1", &from));
	assert_false(c->set_aside);
	assert_int_equal(c->line, 1);
	assert_non_null(strstr(c->file, "/ipsec.d/net1.conf"));
	assert_int_equal(c->left.host, HOST_ADDRESS);
	assert_address(&c->left.address, "192.168.20.10");
	assert_address(&c->right.address, "192.168.20.20");
	assert_subnets(&c->left.subnets, "192.168.10.0/24");
	assert_subnets(&c->right.subnets, "192.168.30.0/24");
	assert_int_equal(c->auto_mode, AUTO_START);
	assert_int_equal(c->left.auth, CONN_AUTH_PSK);
	assert_int_equal(c->right.auth, CONN_AUTH_PSK);
	assert_int_equal(c->dpd_delay_s, 10);
	assert_int_equal(c->dpd_timeout_s, 5);
	assert_int_equal(c->dpd_action, CONN_DPD_RESTART);
	done(config);
}

static void defaults(void **state)
{
	struct config *config = load("conn a\n" ENDS);
	const struct conn_config *c = config->conns;
	const struct setup_config *s = &config->setup;
	struct proposal_list list;

	(void)state;
	assert_silent();
	assert_int_equal(c->auto_mode, AUTO_IGNORE);
	assert_int_equal(c->type, CONN_TUNNEL);
	assert_true(c->pfs && !c->pfs_written && c->esn && c->no_esn && c->rekey && c->encap_dscp);
	assert_true(c->initial_contact && c->nat_keepalive);
	assert_false(c->narrowing || c->decap_dscp || c->no_pmtu_disc || c->overlap_ip);
	assert_int_equal(c->ike_lifetime_s, 8 * 3600);
	assert_int_equal(c->ipsec_lifetime_s, 8 * 3600);
	assert_int_equal(c->rekey_margin_s, 540);
	assert_int_equal(c->rekey_fuzz_percent, 100);
	assert_int_equal(c->replay_window, 128);
	assert_int_equal(c->clones, 0); /* one Child SA for all traffic */
	assert_int_equal(c->retransmit_interval_ms, 500);
	assert_int_equal(c->retransmit_timeout_s, 60);
	assert_int_equal(c->dpd_delay_s, 0);
	assert_int_equal(c->dpd_action, CONN_DPD_HOLD);
	assert_int_equal(c->encapsulation, CONN_ENCAP_AUTO);
	assert_int_equal(c->failure_shunt, SHUNT_NONE);
	assert_int_equal(c->negotiation_shunt, SHUNT_DROP);
	assert_int_equal(c->max_bytes, 0);
	assert_int_equal(c->mark_in_mask, 0);
	assert_int_equal(c->left.subnets.count, 0);
	assert_int_equal(c->left.port_hi, 65535);
	assert_int_equal(c->left.id.type, IDENTITY_NONE);
	assert_false(c->left.id_any);
	assert_true(c->ike_default && c->esp_default);
	proposal_default(PROTOCOL_IKE, &list);
	assert_int_equal(c->ike->count, list.count);
	assert_int_equal(c->esp->p[0].protocol, PROTOCOL_ESP);

	assert_int_equal(s->protostack, PROTOSTACK_AUTO);
	assert_true(s->logappend && s->logtime && s->logip && s->uniqueids && s->listen_udp);
	assert_false(s->debug);
	assert_null(s->logfile);
	assert_string_equal(s->rundir, "/run/pluto");
	assert_non_null(strstr(s->secretsfile, "/ipsec.secrets"));
	assert_int_equal(s->keep_alive_s, 20);
	assert_int_equal(s->ddos_threshold, 25000);
	assert_int_equal(s->max_halfopen, 50000);
	assert_int_equal(s->nhelpers, -1);
	assert_int_equal(s->shunt_lifetime_s, 900);
	done(config);
}

static void every_field(void **state)
{
	struct config *config = load(
		"config setup\n\tprotostack=netkey\n\tlisten=192.168.20.10\n\tlogappend=no\n"
		"\tuniqueids=0\n\tplutodebug=base\n\tddos-mode=busy\n\tlisten-udp=on\n"
		"conn a\n"
		"\tleft=%defaultroute\n\tright=gw.example.org\n\tauthby=null\n"
		"\tleftid=@west\n\trightid=%any\n"
		"\tleftsubnet=10.0.0.0/8/tcp/80,10.1.0.1\n\trightprotoport=17/1701\n"
		"\tleftnexthop=192.168.20.1\n\tleftsourceip=10.0.0.1\n\trightikeport=5000\n"
		"\tauto=route\n\ttype=tunnel\n\tike=aes256-sha2_256-modp2048\n\tphase2alg=aes_gcm256\n"
		"\tikelifetime=1.5h\n\tlifetime=30m\n\tipsec-max-bytes=2GiB\n\tipsec-max-packets=1000\n"
		"\trekey=no\n\trekeymargin=1m\n\trekeyfuzz=50%\n\treplay-window=64\n\tpfs=yes\n\tesn=yes\n"
		"\tencapsulation=yes\n\tnarrowing=yes\n\tnat-keepalive=no\n\tdpddelay=30\n"
		"\tdpdaction=clear\n\tretransmit-timeout=10\n\tretransmit-interval=250\n"
		"\tinitial-contact=no\n\tdecap-dscp=yes\n\tencap-dscp=no\n\tnopmtudisc=yes\n\tmtu=1400\n"
		"\tmetric=7\n\tpriority=4000000000\n\ttfc=1200\n\treqid=100\n\tmark=0x10/0xff\n\tmark-out=5\n"
		"\tfailureshunt=hold\n\tnegotiationshunt=pass\n\tconnalias=\"x y\"\n\toverlapip=yes\n");
	const struct conn_config *c = config->conns;

	(void)state;
	assert_silent();
	assert_int_equal(config->setup.protostack, PROTOSTACK_XFRM);
	assert_address(&config->setup.listen, "192.168.20.10");
	assert_false(config->setup.logappend || config->setup.uniqueids);
	assert_true(config->setup.debug && config->setup.listen_udp);
	assert_int_equal(config->setup.ddos_mode, DDOS_BUSY);

	assert_int_equal(c->left.host, HOST_DEFAULTROUTE);
	assert_int_equal(c->right.host, HOST_NAME);
	assert_string_equal(c->right.name, "gw.example.org");
	assert_int_equal(c->left.id.type, IDENTITY_FQDN);
	assert_false(c->left.id_from_host_name);
	assert_true(c->right.id_any);
	assert_int_equal(c->left.auth, CONN_AUTH_NULL);
	assert_int_equal(c->left.subnets.count, 2);
	assert_int_equal(c->left.subnets.ts[0].protocol, 6);
	assert_int_equal(c->left.subnets.ts[0].port_lo, 80);
	assert_int_equal(c->left.subnets.ts[0].port_hi, 80);
	assert_int_equal(c->right.protocol, 17);
	assert_int_equal(c->right.port_lo, 1701);
	assert_address(&c->left.next_hop, "192.168.20.1");
	assert_address(&c->left.source_ip, "10.0.0.1");
	assert_int_equal(c->right.ike_port, 5000);
	assert_int_equal(c->auto_mode, AUTO_ONDEMAND);
	assert_int_equal(c->ike->count, 1);
	assert_false(c->ike_default || c->esp_default);
	assert_int_equal(c->esp->p[0].transforms[0].id, ENCR_AES_GCM_16);
	assert_int_equal(c->ike_lifetime_s, 5400);
	assert_int_equal(c->ipsec_lifetime_s, 1800);
	assert_true(c->max_bytes == 2ull << 30);
	assert_int_equal(c->max_packets, 1000);
	assert_false(c->rekey);
	assert_int_equal(c->rekey_margin_s, 60);
	assert_int_equal(c->rekey_fuzz_percent, 50);
	assert_int_equal(c->replay_window, 64);
	assert_true(c->pfs && c->pfs_written && c->esn && !c->no_esn);
	assert_int_equal(c->encapsulation, CONN_ENCAP_YES);
	assert_true(c->narrowing && !c->nat_keepalive);
	assert_int_equal(c->dpd_delay_s, 30);
	assert_int_equal(c->dpd_action, CONN_DPD_CLEAR);
	assert_int_equal(c->retransmit_timeout_s, 10);
	assert_int_equal(c->retransmit_interval_ms, 250);
	assert_true(!c->initial_contact && c->decap_dscp && !c->encap_dscp && c->no_pmtu_disc);
	assert_int_equal(c->mtu, 1400);
	assert_int_equal(c->metric, 7);
	assert_true(c->priority == 4000000000u);
	assert_int_equal(c->tfc, 1200);
	assert_int_equal(c->reqid, 100);
	assert_int_equal(c->mark_in, 0x10);
	assert_int_equal(c->mark_in_mask, 0xff);
	assert_int_equal(c->mark_out, 5);
	assert_true(c->mark_out_mask == UINT32_MAX);
	assert_int_equal(c->failure_shunt, SHUNT_DROP);
	assert_int_equal(c->negotiation_shunt, SHUNT_PASS);
	assert_string_equal(c->alias, "x,y");
	assert_true(c->overlap_ip);
	done(config);
}

static void identities(void **state)
{
	struct config *config = load("conn a\n" ENDS "\tleftid=gw.example.org\n\trightid=@east\n"
				     "conn b\n" ENDS "\tleftid=\"C=JP, CN=x\"\n\trightid=%null\n"
				     "conn c\n" ENDS "\tleftid=%none\n\trightid=0.0.0.0\n"
				     "conn d\n" ENDS "\tleftid=@[key 1]\n");
	const struct conn_config *c = config->conns;

	(void)state;
	assert_true(c[0].left.id_from_host_name && !c[0].right.id_from_host_name);
	assert_int_equal(c[1].left.id.type, IDENTITY_DN);
	assert_int_equal(c[1].right.id.type, IDENTITY_NULL);
	assert_int_equal(c[2].left.id.type, IDENTITY_NONE);
	assert_true(!c[2].left.id_any && c[2].right.id_any);
	assert_true(c[3].set_aside); // blanks without quotes
	done(config);
}

static void defaults_and_also(void **state)
{
	struct config *config = load(
		"conn late\n\tleft=192.168.20.11\n\talso=base\n"
		"conn %default\n\tauthby=null\n\tmtu=1300\n"
		"conn base\n\tright=192.168.20.20\n\tmtu=1400\n\talso=deep\n"
		"conn deep\n\tmetric=3\n\tmtu=1500\n\tauto=add\n"
		"conn plain\n\tleft=192.168.20.12\n\tright=192.168.20.20\n"
		"conn %default\n\tauthby=secret\n"
		"conn own\n\tleft=192.168.20.13\n\tmtu=1200\n\talso=base\n");
	struct conn_config *c;
	size_t from;

	(void)state;
	assert_int_equal(diags.errors, 0); // `base` and `deep` alone are no connections, nor wrong
	c = config_find(config, "late", &(size_t){ 0 });
	assert_false(c->set_aside);
	assert_int_equal(c->left.auth, CONN_AUTH_PSK); // the later %default, though it stands below
	assert_int_equal(c->mtu, 1400);
	assert_int_equal(c->metric, 3);
	assert_int_equal(c->auto_mode, AUTO_ADD);
	assert_int_equal(config_find(config, "plain", &(size_t){ 0 })->mtu, 1300);
	assert_int_equal(config_find(config, "own", &(size_t){ 0 })->mtu, 1200);
	from = 0;
	c = config_find(config, "base", &from);
	assert_true(c->set_aside && c->problem);
	done(config);
}

static void base_sections_are_silent(void **state)
{
	struct config *config = load("conn base\n\tright=192.168.20.20\n\tauthby=secret\n"
				     "conn t\n\tleft=192.168.20.10\n\talso=base\n");

	(void)state;
	assert_silent();
	assert_true(config->conns[0].set_aside && config->conns[0].section_only);
	assert_string_equal(config->conns[0].problem->what, "left= is not set");
	assert_false(config->conns[1].set_aside || config->conns[1].section_only);
	done(config);
}

static void combinations(void **state)
{
	static const char *const names[] = { "t/1x1", "t/1x2", "t/2x1", "t/2x2", "one/1x0",
					     "one/2x0", "zero/0x0", "zero/0x1" };
	struct config *config = load(
		"conn t\n" ENDS "\tleftsubnets={10.1.0.0/16 10.2.0.0/16}\n"
		"\trightsubnets=\"10.3.0.0/16, 10.4.0.0/16\"\n\tconnalias=all\n"
		"conn one\n" ENDS "\tleftsubnets=10.1.0.0/16,10.2.0.0/16\n\trightsubnet=10.3.0.0/16\n"
		"conn zero\n" ENDS "\tleftsubnet=10.1.0.0/16\n\trightsubnet=10.2.0.0/16\n"
		"\trightsubnets=10.3.0.0/16\n");
	size_t from = 0, found = 0;

	(void)state;
	assert_silent();
	assert_int_equal(config->count, 8);
	for (size_t i = 0; i < config->count; i++)
		assert_string_equal(config->conns[i].name, names[i]);
	assert_subnets(&config->conns[1].left.subnets, "10.1.0.0/16");
	assert_subnets(&config->conns[1].right.subnets, "10.4.0.0/16");
	assert_subnets(&config->conns[5].left.subnets, "10.2.0.0/16");
	assert_subnets(&config->conns[5].right.subnets, "10.3.0.0/16");
	assert_subnets(&config->conns[6].right.subnets, "10.2.0.0/16");
	assert_subnets(&config->conns[7].right.subnets, "10.3.0.0/16");
	assert_string_equal(config->conns[0].alias, "t,all");
	while (config_find(config, "t", &from))
		found++;
	assert_int_equal(found, 4);
	assert_int_equal(from, 4);
	from = 2;
	assert_string_equal(config_find(config, "all", &from)->name, "t/2x1");
	assert_ptr_equal(config_find(config, "t/2x2", &(size_t){ 0 }), &config->conns[3]);
	assert_null(config_find(config, "nosuch", &(size_t){ 0 }));
	done(config);
}

static void proposals_are_shared(void **state)
{
	struct config *config = load("conn a\n" ENDS "\tike=aes256-sha2_256-dh19\n"
				     "conn b\n" ENDS "\tike=aes256-sha2_256-dh19\n"
				     "conn c\n" ENDS "\tike=aes128-sha2_256-dh19\n"
				     "conn d\n" ENDS "conn e\n" ENDS);
	const struct conn_config *c = config->conns;

	(void)state;
	assert_ptr_equal(c[0].ike, c[1].ike);
	assert_ptr_not_equal(c[0].ike, c[2].ike);
	assert_ptr_equal(c[3].ike, c[4].ike);
	assert_ptr_equal(c[0].esp, c[4].esp);
	done(config);
}

static void includes(void **state)
{
	char text[200], name[40], *said;
	struct config *config;

	(void)state;
	// Each file includes the next one: the eleventh is too deep.
	for (int i = 1; i <= 12; i++) {
		snprintf(name, sizeof(name), "f%d.conf", i);
		snprintf(text, sizeof(text), "conn c%d\n" ENDS "include f%d.conf\n", i, i + 1);
		files_write(name, text, strlen(text));
	}
	config = load("include f1.conf\n");
	assert_int_equal(config->count, 10);
	said = files_diags(&diags);
	assert_string_equal(said, "f10.conf:5: includes stand more than 10 deep in each other\n");
	free(said);
	done(config);

	// A directory, braces, a loop, and a glob that finds two.
	files_write("x.conf", "conn x\n" ENDS, strlen("conn x\n" ENDS));
	files_write("y.conf", "include t.conf\nconn y\n" ENDS,
		    strlen("include t.conf\nconn y\n" ENDS));
	snprintf(name, sizeof(name), "include %.30s", files_dir);
	snprintf(text, sizeof(text), "%s\ninclude {x,y}.conf\ninclude *.nothing\n", name);
	config = load(text);
	assert_int_equal(config->count, 2);
	said = files_diags(&diags);
	assert_non_null(strstr(said, "it is a directory"));
	assert_non_null(strstr(said, "y.conf:1: warning: t.conf is included already"));
	free(said);
	done(config);
}

static void unreadable(void **state)
{
	char path[100], *said;
	struct config *config;

	(void)state;
	snprintf(path, sizeof(path), "%s/nosuch.conf", files_dir);
	config = load_path(path);
	assert_int_equal(config->count, 0);
	assert_int_equal(diags.errors, 1);
	said = files_diags(&diags);
	assert_string_equal(said,
			    "nosuch.conf: cannot read nosuch.conf: No such file or directory\n");
	free(said);
	done(config);
	config = load_path(files_dir);
	assert_int_equal(diags.errors, 1);
	done(config);
}

static void odd_bytes(void **state)
{
	static const char nul[] = "conn a\n" ENDS "\tmtu=1\0" "400\nconn b\n" ENDS;
	static const char bom[] = "\xef\xbb\xbf" "conn a\r\n\tleft=%any\r\n\tright=192.0.2.1\r\n"
				  "\tauthby=secret\r\n";
	char *longest = malloc(200000), *said;
	struct config *config;

	(void)state;
	diag_list_init(&diags);
	config = load_path(files_write("t.conf", nul, sizeof(nul) - 1));
	said = files_diags(&diags);
	assert_string_equal(said, "t.conf:5: conn a: a NUL byte; remove it\n");
	free(said);
	assert_true(config->conns[0].set_aside && !config->conns[1].set_aside);
	done(config);

	config = load_path(files_write("t.conf", bom, sizeof(bom) - 1));
	assert_silent();
	assert_int_equal(config->count, 1);
	done(config);

	memset(longest, 'x', 200000);
	memcpy(longest, "conn a\n\tlogfile=", 16);
	config = load_path(files_write("t.conf", longest, 200000));
	said = files_diags(&diags);
	assert_string_equal(said, "t.conf:2: conn a: a line of over 65536 bytes; split it\n");
	free(said);
	done(config);
	free(longest);
}

/** Cut out the lines that tell of connections that are set aside. */
static void drop_comments(struct text *t)
{
	char *comment, *end;

	while (t->str && (comment = strstr(t->str, "\n# "))) {
		end = strchr(comment + 1, '\n');
		memmove(comment, end + 1, strlen(end));
		t->len = strlen(t->str);
	}
}

/** Load `text`, write it, load that and write it again: both texts are the same. */
static void assert_round_trip(const char *text)
{
	struct text first = { 0 }, second = { 0 };
	struct config *config = load(text);
	size_t good = 0;

	for (size_t i = 0; i < config->count; i++)
		good += !config->conns[i].set_aside;
	config_write(config, &first);
	config_free(config);
	diag_list_free(&diags);
	config = load(text_str(&first));
	assert_int_equal(diags.errors, 0);
	assert_int_equal(config->count, good);
	config_write(config, &second);
	drop_comments(&first);
	assert_string_equal(text_str(&first), text_str(&second));
	text_free(&first);
	text_free(&second);
	done(config);
}

static void round_trip(void **state)
{
	(void)state;
	assert_round_trip(article);
	assert_round_trip("config setup\n\tprotostack=user\n\tlogfile=\"/tmp/a b\"\n\tdumpdir=/x\n"
			  "\tuniqueids=no\n\tplutodebug=all\n\tnhelpers=2\n\tkeep-alive=1m\n"
			  "\tddos-mode=busy\n\tlisten=::1\n\tcrl-strict=yes\n"
			  "conn \"a b\"\n" ENDS "\tleftid=\"@x 'y'\"\n\trightid='@\"z'\n"
			  "\tleftupdown={it's \"x\"}\n\tcompress=yes\n\trightaddresspool=10.0.0.0/24\n");
	assert_round_trip("conn t\n" ENDS "\tleftsubnets=10.1.0.0/16,10.2.0.0/16\n"
			  "\trightsubnets=10.3.0.0/16,10.4.0.0/16/tcp/80\n\tconnalias=all\n");
	assert_round_trip("conn t\n\tleft=%eth0\n\tright=%any\n\tleftauth=secret\n\trightauth=null\n"
			  "\tleftid=gw.example.org\n\trightid=%any\n\tleftprotoport=udp/%opaque\n"
			  "\trightprotoport=17/1000-2000\n\tmark=0x10/0xff\n\tmark-out=5\n\tpfs=yes\n"
			  "\tesn=no\n\tike=aes256-sha2;modp2048\n\tesp=aes_gcm256\n\trekeyfuzz=0%\n"
			  "\tipsec-max-bytes=1KiB\n\tretransmit-interval=250\n\tforceencaps=yes\n"
			  "\tleftikeport=4501\n\tfailureshunt=reject\n");
	assert_round_trip("conn bypass\n\tleft=192.168.20.10\n\tright=0.0.0.0\n\ttype=passthrough\n"
			  "\tauthby=never\n\tleftsubnet=0/0\n\trightsubnet=10.0.0.0/8\n"
			  "conn %default\n\tmtu=1400\nconn bad\n\tpfs=maybe\n"
			  "conn base\n\tright=1.2.3.4\nconn t\n\talso=base\n\tleft=1.2.3.5\n"
			  "\tauthby=secret\n");
}

static double seconds_to_load(const char *path, size_t expected)
{
	struct timespec a, b;
	struct config *config;

	clock_gettime(CLOCK_MONOTONIC, &a);
	config = load_path(path);
	clock_gettime(CLOCK_MONOTONIC, &b);
	assert_int_equal(config->count, expected);
	assert_int_equal(diags.errors, 0);
	config_free(config);
	diag_list_free(&diags);
	return (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
}

/** Twice the connections take about twice the time: nothing looks at each for each. */
static void many_connections(void **state)
{
	double few, many;

	(void)state;
	for (int pass = 0; pass < 2; pass++) {
		size_t count = pass ? 10000 : 1000;
		struct text t = { 0 };
		const char *path;

		text_add(&t, "conn %%default\n\tauthby=secret\n\tike=aes256-sha2_256-dh19\n"
			     "conn base\n\tleft=192.168.20.10\n\tleftsubnet=192.168.10.0/24\n");
		for (size_t i = 0; i < count; i++)
			text_add(&t, "conn c%zu\n\talso=base\n\tright=10.%zu.%zu.%zu\n"
				     "\trightsubnet=172.16.%zu.0/24\n\trightid=@c%zu\n\tauto=add\n",
				 i, i >> 16, i >> 8 & 255, i & 255, i & 255, i);
		path = files_write("many.conf", text_str(&t), t.len);
		*(pass ? &many : &few) = seconds_to_load(path, count + 1);
		text_free(&t);
		files_clear();
	}
	print_message("1,000 connections: %.0f ms, 10,000: %.0f ms\n", few * 1e3, many * 1e3);
	assert_true(few < 2 && many < 10); // far off, for slow and busy machines
	assert_true(many < few * 40 + 0.2);
}

/** Sections that all include each other: errors, but neither hours nor gigabytes of them. */
static void tangled_sections(void **state)
{
	enum { COUNT = 3000 };
	struct text t = { 0 };
	struct timespec a, b;
	struct config *config;

	(void)state;
	text_add(&t, "conn hub\n");
	for (int i = 0; i < COUNT; i++)
		text_add(&t, "\talso=s%d\n", i);
	for (int i = 0; i < COUNT; i++)
		text_add(&t, "conn s%d\n\talso=hub\n\tfrob%d=1\n", i, i);
	clock_gettime(CLOCK_MONOTONIC, &a);
	config = load(text_str(&t));
	clock_gettime(CLOCK_MONOTONIC, &b);
	assert_int_equal(config->count, COUNT + 1);
	for (size_t i = 0; i < config->count; i++)
		assert_true(config->conns[i].set_aside);
	assert_true(diags.errors < 2 * COUNT);
	assert_true(b.tv_sec - a.tv_sec < 20);
	text_free(&t);
	done(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_article),
		cmocka_unit_test(defaults),
		cmocka_unit_test(every_field),
		cmocka_unit_test(identities),
		cmocka_unit_test(defaults_and_also),
		cmocka_unit_test(base_sections_are_silent),
		cmocka_unit_test(combinations),
		cmocka_unit_test(proposals_are_shared),
		cmocka_unit_test(includes),
		cmocka_unit_test(unreadable),
		cmocka_unit_test(odd_bytes),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(many_connections),
		cmocka_unit_test(tangled_sections),
	};

	return cmocka_run_group_tests_name("config.config", tests, files_setup, files_teardown);
}
