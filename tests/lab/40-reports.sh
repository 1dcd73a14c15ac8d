#!/bin/bash
# What the article's reader types to look at the tunnel, as text in the shapes that scripts parse
# and as JSON.
. "$(dirname "$0")/../lib.sh"
need_product
lab_up
user_space

check "not running: status says so and exits 33" exits 33 on router1 ipsec status
check "not running: it says what is missing" says 'Pluto is not running' on router1 ipsec status
check "the article's files start" start_both
check "the tunnel is up" waitfor 10 ping_ok 3

check "--version" says '^(Linux )?Sekisho [0-9]' on router1 ipsec --version
check "version" on router1 ipsec version
check "help lists the commands" says 'trafficstatus' on router1 ipsec help
check "no argument: usage, exit 2" exits 2 on router1 ipsec
check "an unknown command: exit 2" exits 2 on router1 ipsec nosuch
check "an unknown command is named" says 'unknown IPsec command "nosuch"' on router1 ipsec nosuch

check "trafficstatus" says '^(006 )?#[0-9]+: "net1", type=ESP, add_time=[0-9]{10}, inBytes=[0-9]+, outBytes=[0-9]+,( maxBytes=2\^63B,)? id='\''192\.168\.20\.20'\''' \
	on router1 ipsec trafficstatus
check "showstates: the IKE SA" says '#[0-9]+: "net1":500 .*established IKE SA.*; REKEY in [0-9]+s; REPLACE in [0-9]+s; newest;.* idle;' on router1 ipsec showstates
check "showstates: the Child SA" says '#[0-9]+: "net1":500 .*established Child SA.*; newest; eroute owner; IKE SA #[0-9]+; idle;' on router1 ipsec showstates
check "showstates: its SPIs and traffic" says '#[0-9]+: "net1" esp\.[0-9a-f]+@192\.168\.20\.20 esp\.[0-9a-f]+@192\.168\.20\.10 tun\.0@192\.168\.20\.20 tun\.0@192\.168\.20\.10 Traffic: ESPin=[0-9]+B ESPout=[0-9]+B ESPmax=2\^63B $' \
	on router1 ipsec showstates
check "briefstatus" says 'IKE SAs: total\(1\), half-open\(0\), open\(0\), authenticated\(1\), anonymous\(0\)' on router1 ipsec briefstatus
N=$((1 + $(clones router1))) # one for all traffic, and one for each worker when there are several
check "briefstatus: IPsec SAs" says "IPsec SAs: total\\($N\\), authenticated\\($N\\), anonymous\\(0\\)" on router1 ipsec briefstatus
check "status: the connection" says '"net1": 192\.168\.10\.0/24===192\.168\.20\.10.*\.\.\.192\.168\.20\.20.*===192\.168\.30\.0/24' on router1 ipsec status
check "status: the total" says 'Total IPsec connections: loaded 1' on router1 ipsec status
check "auto --status" says '000 .*"net1"' on router1 ipsec auto --status
check "sa: states as ip xfrm state shows them" says 'src 192\.168\.20\.10 dst 192\.168\.20\.20' on router1 ipsec sa
check "sa: proto esp, SPI, mode tunnel" says 'proto esp spi 0x[0-9a-f]{8} reqid [0-9]+ mode tunnel' on router1 ipsec sa
check "sa: policies" says 'src 192\.168\.10\.0/24 dst 192\.168\.30\.0/24' on router1 ipsec sa
check "sa shows no key" says_not '0x[0-9a-f]{32}' on router1 ipsec sa
check "sa --show-keys shows them" says '0x[0-9a-f]{40}' on router1 ipsec sa --show-keys
check "why has nothing to tell" on router1 ipsec why
check "listsecrets names the identities" says "192\.168\.20\.20" on router1 ipsec listsecrets
check "and no secret" says_not net1234567890 on router1 ipsec listsecrets

for c in status trafficstatus showstates briefstatus sa --version why checkconfig; do
	check "$c --json is JSON" json router1 . "$c"
done
check "verify --json is JSON" sh -c "$TOP/lab/lab exec router1 ipsec verify --json | jq -e ."
check "auto --status --json is JSON" json router1 . auto --status
check "status --json: the connection is up" json router1 '.connections[0] | .name == "net1" and .state == "routed-tunnel"' status
check "status --json: two states" json router1 '[.states[] | select((.resource // 0) == 0) | .kind] == ["ike", "child"]' status
check "status --json: bytes are counted" json router1 '.states[] | select(.kind == "child") | .in_bytes > 0 and .out_bytes > 0' status
check "status names the back end and why" json router1 '.protostack == "user" and (.protostack_reason | length > 0)' status

check "verify has the article's first line" says '^Verifying installed system and configuration files$' on router1 ipsec verify
v=$(on router1 ipsec verify 2>&1)
for label in "Version check and ipsec on-path" "Checking for IPsec support in kernel" "Pluto ipsec.conf syntax" \
	"Checking rp_filter" "Checking that pluto is running" " Pluto listening for IKE on udp 500" \
	" Pluto listening for IKE/NAT-T on udp 4500" " Pluto ipsec.secret syntax" "Checking 'ip' command" \
	"Checking 'iptables' command" "Checking 'prelink' command does not interfere with FIPS" "Checking for obsolete ipsec.conf options"; do
	check "verify: $label" says "^$label *	\[" printf '%s\n' "$v"
done
check "verify finds pluto" says '^Checking that pluto is running *	\[OK\]' printf '%s\n' "$v"
for s in status "sa" "showstates" "trafficstatus" "auto --status" "verify"; do
	# shellcheck disable=SC2086
	check "$s shows no secret" says_not 'net1234567890' on router1 ipsec $s
done
check "nor does the log" not logged router1 'net1234567890'
check "ps -C pluto shows the daemon" on router1 ps -C pluto
check "the control socket is root's alone" equal "$(on router1 stat -c '%a %u' /run/pluto/pluto.ctl)" "600 0"
