# shellcheck shell=bash
# What the suites of many policies share: a gateway of user-space ESP (tests/unit/esp/esp_gateway.c, without
# IKE) between two hosts.
#
#   c 10.200.0.2 and 10.201.0.2 -- 10.200.0.1 g 192.0.2.1 == 192.0.2.2 w, which answers as all else of 10/8
#
# w captures what arrives: of each packet it is seen whether it came in clear, or with which SPI.
. "$(dirname "$0")/../lib.sh"
need_root
GATEWAY=$BUILD/tests/unit/esp/esp_gateway
[ -x "$GATEWAY" ] || { fail "$GATEWAY is built"; exit 1; }
[ -e /dev/net/tun ] || skip_all "no /dev/net/tun"

rm -f "$LOGS/router.$SUITE.log"

COUNT=10000
C=$LAB-pc G=$LAB-pg W=$LAB-pw
in_c() { ip netns exec "$C" "$@"; }
in_g() { ip netns exec "$G" "$@"; }
in_w() { ip netns exec "$W" "$@"; }
hosts_down() {
	local h
	for h in "$C" "$G" "$W"; do [ ! -e "/run/netns/$h" ] || ip netns del "$h"; done
}
hosts_up() {
	local h
	hosts_down
	for h in "$C" "$G" "$W"; do ip netns add "$h"; ip -n "$h" link set lo up; done
	ip -n "$C" link add eth0 type veth peer name eth0 netns "$G"
	ip -n "$G" link add eth1 type veth peer name eth0 netns "$W"
	ip -n "$C" addr add 10.200.0.2/16 dev eth0
	ip -n "$C" addr add 10.201.0.2/16 dev eth0
	ip -n "$G" addr add 10.200.0.1/16 dev eth0
	ip -n "$G" addr add 192.0.2.1/24 dev eth1
	ip -n "$W" addr add 192.0.2.2/24 dev eth0
	for h in "$C eth0" "$G eth0" "$G eth1" "$W eth0"; do ip -n "${h% *}" link set "${h#* }" up; done
	ip -n "$C" route add default via 10.200.0.1
	ip -n "$G" route add 10.201.0.0/16 dev eth0
	ip -n "$G" route add default via 192.0.2.2
	ip -n "$W" route add 10.200.0.0/15 via 192.0.2.1
	ip -n "$W" route add local 10.0.0.0/9 dev lo
	in_g sysctl -qw net.ipv4.ip_forward=1
}
end() {
	exec 8>&-
	stop_all
	hosts_down
}
trap 'end; finish' EXIT

start() {
	[ -p "$WORK/in" ] || mkfifo "$WORK/in"
	bg g "$WORK/out" ip netns exec "$G" sh -c "exec $GATEWAY 192.0.2.1 192.0.2.2 gather <$WORK/in 2>>$LOGS/router.$SUITE.log"
	exec 8>"$WORK/in"
	waitfor 20 grep -q ready "$WORK/out"
}
answers() { grep -cE '^(ok|error|closed|usage)' "$WORK/out"; }
answered() { [ "$(answers)" -ge "$1" ]; }
told() { # COMMAND...
	local n
	n=$(answers)
	echo "$*" >&8
	waitfor 20 answered $((n + 1)) && equal "$(grep -E '^(ok|error|closed|usage)' "$WORK/out" | tail -n 1)" ok
}
# told_all FILE: all commands of a file, each of which has to succeed
told_all() {
	local n errors
	n=$(answers)
	errors=$(grep -c '^error' "$WORK/out")
	cat "$1" >&8
	waitfor 60 answered $((n + $(wc -l <"$1"))) && equal "$(grep -c '^error' "$WORK/out")" "$errors"
}
used() { # ID PACKETS
	local n
	n=$(answers)
	echo "usage $1" >&8
	waitfor 2 answered $((n + 1)) && says "out=$2/" tail -n 1 "$WORK/out"
}
remote() { echo "10.$((1 + $1 / 250)).$(($1 % 250))"; } # POLICY: the first bytes of its remote network

tap() { # FILE
	rm -f "$1.err"
	bg tap "$1.err" ip netns exec "$W" tcpdump -Z root --immediate-mode -U -n -s 0 -B 8192 -i eth0 -w "$1"
	waitfor 5 grep -q 'listening on' "$1.err"
}
tap_stop() { sleep 0.3; bg_stop tap TERM; }
PCAP=$WORK/w.pcap
ping_from() { in_c ping -n -q -c 1 -W "${3:-0.3}" -I "$1" "$2"; }
# clear SOURCE ADDRESS: a ping goes in clear, and is answered. secret SOURCE ADDRESS [SPI]: not in
# clear; with this SPI. Each leaves PCAP behind.
clear() {
	local rc
	tap "$PCAP"
	ping_from "$1" "$2" 2
	rc=$?
	tap_stop
	[ $rc = 0 ] && has_packets "$PCAP" "icmp and src $1 and dst $2" 1 && equal "$(packets "$PCAP" 'ip proto 50')" 0
}
secret() {
	tap "$PCAP"
	ping_from "$1" "$2"
	tap_stop
	equal "$(packets "$PCAP" "src $1 or dst $2")" 0 &&
		{ [ -z "${3-}" ] || has_packets "$PCAP" "ip proto 50 and ip[20:4] == $3" 1; }
}
rules() { in_g ip rule | grep -c '^216:'; }
few_rules() { less "$(rules)" $(($1 + 1)); }
routes() { in_g ip route show table all proto 94 | grep -c "$@"; }
