/* The checks of `ipsec verify`. Each looks at the host itself and changes nothing. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/diag.h"
#include "build-config.h"
#include "config/config.h"
#include "config/secrets.h"
#include "ipsec/client.h"
#include "ipsec/verify.h"

static void fail(struct check_result *r, enum check_grade grade, const char *word)
{
	r->grade = grade;
	r->word = word;
}

/* A number from a file under /proc; -1 when it cannot be read. */
static long proc_number(const char *path)
{
	long value = -1;
	FILE *f = fopen(path, "re");

	if (f == NULL)
		return -1;
	if (fscanf(f, "%ld", &value) != 1)
		value = -1;
	fclose(f);
	return value;
}

static bool on_path(const char *program, char *where, size_t len)
{
	const char *path = getenv("PATH");

	if (path == NULL)
		path = "/usr/sbin:/usr/bin:/sbin:/bin";
	while (path[0] != '\0') {
		size_t n = strcspn(path, ":");

		snprintf(where, len, "%.*s/%s", (int)n, path, program);
		if (access(where, X_OK) == 0)
			return true;
		path += n + (path[n] == ':');
	}
	return false;
}

static void check_version(const struct host_facts *host, struct check_result *r)
{
	char where[PATH_MAX];
	char *line = version_line(host->options);

	if (line != NULL)
		text_add(&r->detail, "%s", line + (strncmp(line, "Linux ", 6) == 0 ? 6 : 0));
	free(line);
	if (!on_path("ipsec", where, sizeof(where))) {
		fail(r, CHECK_FAIL, "FAILED");
		text_add(&r->reason, "the ipsec command is not on the PATH");
		text_add(&r->remedy, "PATH=$PATH:%s", IPSEC_SBINDIR);
	}
}

static void check_kernel(const struct host_facts *host, struct check_result *r)
{
	const char *why = json_text(host->status, "protostack_reason");

	if (host->running && host->user_space) {
		text_add(&r->detail, " ESP is done in user space%s%s", why[0] ? ": " : "", why);
		return;
	}
	if (host->running || access("/proc/sys/net/core/xfrm_acq_expires", F_OK) == 0)
		return;
	if (access("/dev/net/tun", R_OK | W_OK) == 0) {
		text_add(&r->detail, " the kernel has no XFRM; ESP will be done in user space");
		return;
	}
	fail(r, CHECK_FAIL, "FAILED");
	text_add(&r->reason, "the kernel has no XFRM, and there is no usable /dev/net/tun for ESP in user space");
	text_add(&r->remedy, "modprobe tun; mkdir -p /dev/net; mknod /dev/net/tun c 10 200");
}

/*
 * Names of interfaces for which /proc/sys/net/ipv4/conf/NAME/`what` and conf/all together give
 * `bad`; `both`: the kernel wants both set, else the larger one counts.
 */
static size_t interfaces_with(const char *what, long bad, bool both, struct text *names)
{
	char path[PATH_MAX];
	size_t n = 0;
	DIR *dir = opendir("/proc/sys/net/ipv4/conf");

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/all/%s", what);
	long all = proc_number(path);
	const struct dirent *e;
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.' || strcmp(e->d_name, "all") == 0 || strcmp(e->d_name, "default") == 0 ||
		    strcmp(e->d_name, "lo") == 0)
			continue;
		snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/%s", e->d_name, what);
		long value = proc_number(path);
		/* of the two the larger counts: for rp_filter 2 (loose) hides 1 (strict) */
		if (both ? value == bad && all == bad : (value > all ? value : all) == bad) {
			text_add(names, "%s%s", n > 0 ? " " : "", e->d_name);
			n++;
		}
	}
	if (dir != NULL)
		closedir(dir);
	return n;
}

static void check_send_redirects(const struct host_facts *host, struct check_result *r)
{
	struct text names = { 0 };

	/* a redirect is sent only for a packet that leaves where it came in; ipsec0 is never that */
	if (host->user_space) {
		text_add(&r->detail, "         (cannot arise: protected traffic leaves by a device of its own)");
	} else if (interfaces_with("send_redirects", 1, false, &names) > 0) {
		fail(r, CHECK_WARN, "NOT DISABLED");
		text_add(&r->reason, "a gateway with one interface would tell its clients to go around it (%s)", text_str(&names));
		text_add(&r->remedy, "sysctl -w net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0; "
			 "for i in %s; do sysctl -w net.ipv4.conf.$i.send_redirects=0; done", text_str(&names));
	}
	text_free(&names);
}

static void check_accept_redirects(const struct host_facts *host, struct check_result *r)
{
	struct text names = { 0 };
	bool router = proc_number("/proc/sys/net/ipv4/ip_forward") == 1;

	(void)host;
	if (interfaces_with("accept_redirects", 1, router, &names) > 0) {
		fail(r, CHECK_WARN, "NOT DISABLED");
		text_add(&r->reason, "a neighbour could divert this host's routes by ICMP redirects (%s)", text_str(&names));
		text_add(&r->remedy, "sysctl -w net.ipv4.conf.all.accept_redirects=0 net.ipv4.conf.default.accept_redirects=0%s",
			 router ? "" : "; for i in /proc/sys/net/ipv4/conf/*/accept_redirects; do echo 0 > $i; done");
	}
	text_free(&names);
}

static void check_larval_drop(const struct host_facts *host, struct check_result *r)
{
	long value = proc_number("/proc/sys/net/core/xfrm_larval_drop");

	if (value == 1 || host->user_space)
		return;
	if (value < 0 && !host->running)
		return; /* no XFRM: said above */
	fail(r, CHECK_FAIL, value < 0 ? "OLD OR BROKEN KERNEL" : "NOT ENABLED");
	text_add(&r->reason, "a program that sends before the tunnel is up would be blocked instead of getting an error");
	text_add(&r->remedy, "sysctl -w net.core.xfrm_larval_drop=1");
}

/* All diagnostics of `list` as lines of detail. */
static void add_diags(struct check_result *r, const struct diag_list *list, enum diag_severity least)
{
	const struct diag *d;

	STAILQ_FOREACH(d, &list->head, entry) {
		char *line = diag_format(d);

		if (d->severity >= least && line != NULL)
			text_add(&r->detail, " %s\n", line);
		free(line);
	}
}

static void check_conf(const struct host_facts *host, struct check_result *r)
{
	struct diag_list diags;

	diag_list_init(&diags);
	config_free(config_load(host->options->config, &diags));
	if (diags.errors > 0) {
		fail(r, CHECK_FAIL, "PARSE ERROR");
		add_diags(r, &diags, DIAG_ERROR);
		text_add(&r->remedy, "mend the lines named above; ipsec checkconfig lists them with warnings");
	}
	diag_list_free(&diags);
}

static void check_rp_filter(const struct host_facts *host, struct check_result *r)
{
	struct text names = { 0 };

	(void)host;
	/* decrypted packets are exempt in XFRM (their security path is checked instead), and in user space
	 * the route back leads to the device that they come from */
	if (interfaces_with("rp_filter", 1, false, &names) > 0)
		text_add(&r->detail, " strict on %s; decrypted packets pass it", text_str(&names));
	text_free(&names);
}

static void check_running(const struct host_facts *host, struct check_result *r)
{
	if (host->running)
		return;
	fail(r, CHECK_FAIL, "FAILED");
	text_add(&r->reason, "the daemon does not answer on %s/pluto.ctl", host->options->rundir);
	text_add(&r->remedy, "ipsec start");
}

/* Some socket of this network namespace is bound to UDP `port`. */
static bool udp_bound(const char *table, unsigned port)
{
	char line[512];
	unsigned bound;
	bool found = false;
	FILE *f = fopen(table, "re");

	while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL) {
		const char *colon = strchr(line, ':');

		colon = colon != NULL ? strchr(colon + 1, ':') : NULL; /* after `sl:` */
		found = colon != NULL && sscanf(colon + 1, "%x", &bound) == 1 && bound == port;
	}
	if (f != NULL)
		fclose(f);
	return found;
}

static void check_port(unsigned port, struct check_result *r)
{
	if (udp_bound("/proc/net/udp", port) || udp_bound("/proc/net/udp6", port))
		return;
	fail(r, CHECK_FAIL, port == 500 ? "FAILED" : "DISABLED");
	text_add(&r->reason, "nothing listens on UDP %u here", port);
	text_add(&r->remedy, "ipsec listen (the log of pluto says why an address was left out)");
}

static void check_port_500(const struct host_facts *host, struct check_result *r)
{
	(void)host;
	check_port(500, r);
}

static void check_port_4500(const struct host_facts *host, struct check_result *r)
{
	(void)host;
	check_port(4500, r);
}

static void check_secrets(const struct host_facts *host, struct check_result *r)
{
	struct diag_list diags;
	const char *file = json_text(host->status, "secretsfile");

	if (host->options->secretsfile != NULL)
		file = host->options->secretsfile;
	if (access(file, R_OK) != 0 && errno == EACCES) {
		fail(r, CHECK_SKIPPED, "UNKNOWN");
		text_add(&r->reason, "%s cannot be read", file);
		text_add(&r->remedy, "run ipsec verify as root");
		return;
	}
	diag_list_init(&diags);
	secrets_free(secrets_load(file, &diags));
	if (diags.errors > 0 || diags.warnings > 0) {
		fail(r, diags.errors > 0 ? CHECK_FAIL : CHECK_WARN, diags.errors > 0 ? "PARSE ERROR" : "WARNING");
		add_diags(r, &diags, DIAG_WARNING);
		text_add(&r->remedy, "mend the lines named above, then: ipsec rereadsecrets");
	}
	diag_list_free(&diags);
}

static void check_program(const char *program, const char *package, struct check_result *r)
{
	char where[PATH_MAX];

	if (on_path(program, where, sizeof(where)))
		return;
	fail(r, CHECK_WARN, "MISSING");
	text_add(&r->reason, "%s is not on the PATH; Sekisho does not need it, its administrators do", program);
	text_add(&r->remedy, "apt-get install %s   (dnf install %s)", package, package);
}

static void check_ip(const struct host_facts *host, struct check_result *r)
{
	(void)host;
	check_program("ip", "iproute2", r);
}

static void check_iptables(const struct host_facts *host, struct check_result *r)
{
	char where[PATH_MAX];

	(void)host;
	if (!on_path("nft", where, sizeof(where)))
		check_program("iptables", "nftables", r);
}

static void check_prelink(const struct host_facts *host, struct check_result *r)
{
	char where[PATH_MAX];

	(void)host;
	if (!on_path("prelink", where, sizeof(where)))
		return;
	fail(r, CHECK_WARN, "PRESENT");
	text_add(&r->reason, "prelink changes programs on disk, which breaks FIPS integrity checks");
	text_add(&r->remedy, "prelink -ua && apt-get remove prelink   (dnf remove prelink)");
}

static void check_obsolete(const struct host_facts *host, struct check_result *r)
{
	struct diag_list diags;
	const struct diag *d;

	diag_list_init(&diags);
	config_free(config_load(host->options->config, &diags));
	STAILQ_FOREACH(d, &diags.head, entry) {
		if (strstr(d->what, "obsolete") == NULL)
			continue;
		char *line = diag_format(d);

		fail(r, CHECK_WARN, "OBSOLETE KEYWORD");
		text_add(&r->detail, " %s\n", line != NULL ? line : d->what);
		free(line);
	}
	diag_list_free(&diags);
}

const struct check checks[] = {
	{ "Version check and ipsec on-path", "version", check_version, false },
	{ "Checking for IPsec support in kernel", "kernel", check_kernel, false },
	{ " NETKEY: Testing XFRM related proc values", NULL, NULL, false },
	{ "         ICMP default/send_redirects", "send_redirects", check_send_redirects, false },
	{ "         ICMP default/accept_redirects", "accept_redirects", check_accept_redirects, false },
	{ "         XFRM larval drop", "xfrm_larval_drop", check_larval_drop, false },
	{ "Pluto ipsec.conf syntax", "ipsec.conf", check_conf, false },
	{ "Checking rp_filter", "rp_filter", check_rp_filter, false },
	{ "Checking that pluto is running", "pluto", check_running, false },
	{ " Pluto listening for IKE on udp 500", "udp500", check_port_500, true },
	{ " Pluto listening for IKE/NAT-T on udp 4500", "udp4500", check_port_4500, true },
	{ " Pluto ipsec.secret syntax", "ipsec.secrets", check_secrets, true },
	{ "Checking 'ip' command", "ip", check_ip, false },
	{ "Checking 'iptables' command", "iptables", check_iptables, false },
	{ "Checking 'prelink' command does not interfere with FIPS", "prelink", check_prelink, false },
	{ "Checking for obsolete ipsec.conf options", "obsolete", check_obsolete, false },
	{ 0 },
};
