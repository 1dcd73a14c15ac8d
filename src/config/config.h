/*
 * Configuration as checked values: what ipsec.conf says, for conn/.
 *
 * config_load() reads a file with its includes. A bad line sets only its own
 * connection aside (`set_aside`), with a diagnostic that has file and line.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/diag.h"
#include "crypto/proposal.h"
#include "net/address.h"
#include "net/identity.h"
#include "net/selector.h"

enum host_kind { HOST_ADDRESS, HOST_NAME, HOST_ANY, HOST_DEFAULTROUTE, HOST_INTERFACE, HOST_UNSET };
enum auto_mode { AUTO_IGNORE, AUTO_ADD, AUTO_ONDEMAND, AUTO_START, AUTO_KEEP };
enum conn_type { CONN_TUNNEL, CONN_TRANSPORT, CONN_PASS, CONN_DROP };
enum conn_auth { CONN_AUTH_PSK, CONN_AUTH_NULL, CONN_AUTH_NEVER, CONN_AUTH_SIGNATURE };
enum conn_dpd { CONN_DPD_HOLD, CONN_DPD_CLEAR, CONN_DPD_RESTART };
enum conn_encap { CONN_ENCAP_AUTO, CONN_ENCAP_YES, CONN_ENCAP_NO };

/** One end, left or right; which is ours is decided by conn/ (orientation). */
struct end_config {
	enum host_kind host;
	struct ip_address address;  /* HOST_ADDRESS */
	char *name;                 /* HOST_NAME: name to resolve; HOST_INTERFACE: interface */
	struct identity id;         /* IDENTITY_NONE: not given */
	const char *id_text;        /* id as written; NULL: not given */
	bool id_any;                /* id=%any */
	bool id_from_host_name;     /* id= a bare name, to be resolved; else FQDN */
	struct ts_list subnets;     /* empty: the host itself */
	uint8_t protocol;           /* protoport=; 0: any */
	uint16_t port_lo, port_hi;  /* protoport=; 0 to 65535 when not given */
	enum conn_auth auth;
	struct ip_address next_hop; /* AF_UNSPEC: automatic */
	struct ip_address source_ip;
	uint16_t ike_port;          /* 0: 500/4500 */
	char *updown;               /* NULL: none */
};

struct config_extra; /* keywords without effect, kept for config_write(); private */

/**
 * A connection; owned by its struct config. Numbers are 0 where nothing was given and nothing is
 * the default (max_bytes, mtu, metric, priority, tfc, reqid, dpd_*).
 */
struct conn_config {
	char *name;                 /* `net1`, or `net1/1x2` of subnets= */
	char *alias;                /* `net1` for both; also names of connalias=, comma separated */
	const char *file;
	unsigned line;
	bool set_aside;             /* has an error; `problem` says which (first) */
	const struct diag *problem; /* owned by the struct config */
	bool section_only;          /* set aside, but not wrong: an incomplete base for also= */

	struct end_config left, right;
	enum auto_mode auto_mode;
	enum conn_type type;
	const struct proposal_list *ike, *esp; /* shared by equal ones, owned by struct config */
	const char *ike_text, *esp_text; /* as written; NULL with the defaults */
	bool ike_default, esp_default;
	bool pfs, pfs_written;
	bool esn, no_esn;
	bool rekey, narrowing, initial_contact, nat_keepalive, decap_dscp, encap_dscp, no_pmtu_disc;
	bool overlap_ip;
	uint64_t ike_lifetime_s, ipsec_lifetime_s, rekey_margin_s, dpd_delay_s, dpd_timeout_s;
	uint32_t rekey_fuzz_percent, replay_window, tfc, mtu, metric, priority, reqid, clones;
	uint64_t retransmit_interval_ms, retransmit_timeout_s;
	uint64_t max_bytes, max_packets;
	enum conn_dpd dpd_action;
	enum conn_encap encapsulation;
	uint32_t mark_in, mark_in_mask, mark_out, mark_out_mask;
	enum { SHUNT_NONE, SHUNT_PASS, SHUNT_DROP } failure_shunt, negotiation_shunt;
	const struct config_extra *extra;
};

enum protostack { PROTOSTACK_AUTO, PROTOSTACK_XFRM, PROTOSTACK_USER };

struct setup_config {
	enum protostack protostack;
	struct ip_address listen; /* AF_UNSPEC: all */
	char *logfile, *secretsfile, *dumpdir, *rundir, *ipsecdir;
	bool logappend, logtime, logip, uniqueids, listen_udp;
	uint64_t keep_alive_s, shunt_lifetime_s, expire_lifetime_s;
	uint32_t ddos_threshold, max_halfopen, ike_bufsize;
	enum { DDOS_AUTO, DDOS_BUSY, DDOS_UNLIMITED } ddos_mode;
	int nhelpers;
	bool debug; /* plutodebug= anything but none */
	const struct config_extra *extra;
};

struct config {
	struct setup_config setup;
	struct conn_config *conns; /* in file order */
	size_t count;
	/* owned storage behind the above; private to config/ */
	struct config_storage *storage;
};

/**
 * Read `path` and its includes. Always gives a config (NULL only without memory), with as many
 * good connections as there are; what is wrong goes to `diags`. An unreadable main file is an
 * error there. Free with config_free().
 */
struct config *config_load(const char *path, struct diag_list *diags);
void config_free(struct config *config);
/**
 * By name or alias, in file order: the first at or after `*from` (0 first), which is set to where
 * to go on; NULL when there is no more. Constant time; set-aside connections are found too.
 */
struct conn_config *config_find(struct config *config, const char *name, size_t *from);
/** Print the normalised configuration (`ipsec readwriteconf`) to `out`. */
struct text;
void config_write(const struct config *config, struct text *out);

#endif
