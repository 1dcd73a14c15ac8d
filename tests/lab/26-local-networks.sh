#!/bin/bash
# 10,000 policies of as many local networks (hosts: policies.sh).
#
# Policy i leads from 10.160.0.0/24, 10.160.1.0/24, ... to 10.50.0.0/16, or if i is odd to a network of
# its own, 10.1.1.0/24, 10.1.3.0/24, ... 10.40.249.0/24.
. "$(dirname "$0")/policies.sh"
local_net() { echo "10.$((160 + $1 / 250)).$(($1 % 250))"; }
of() { [ $(($1 % 2)) = 0 ] && echo 10.50.0.1 || echo "$(remote "$1").1"; } # POLICY: an address in its remote network
ODD=$((COUNT - 1)) EVEN=$((COUNT / 2)) OWN=19999 NARROW=19998 OTHER=10.201.0.0/16
{
	echo "policy $OWN trap 192.0.2.1/32 10.51.0.0/16"
	echo "policy $NARROW trap 10.202.0.0/16 10.50.0.0/16 mtu=1300"
	awk -v n=$COUNT 'BEGIN { for (i = 0; i < n; i++) printf "policy %d trap 10.%d.%d.0/24 %s\n", 20000 + i,
		160 + int(i / 250), i % 250, i % 2 ? sprintf("10.%d.%d.0/24", 1 + int(i / 250), i % 250) : "10.50.0.0/16" }'
} >"$WORK/locals"

# own_clear ADDRESS [SOURCE]: the gateway's own ping goes in clear, from 192.0.2.1 if it has no other
own_clear() {
	local rc
	tap "$PCAP"
	in_g ping -n -q -c 1 -W 2 ${2:+-I "$2"} "$1"
	rc=$?
	tap_stop
	[ $rc = 0 ] && has_packets "$PCAP" "icmp and src ${2-192.0.2.1} and dst $1" 1
}
own_secret() { # ADDRESS [SOURCE]
	tap "$PCAP"
	in_g ping -n -q -c 1 -W 0.3 ${2:+-I "$2"} "$1"
	tap_stop
	equal "$(packets "$PCAP" "host $1")" 0
}
# kept_apart: exactly the policies' packets are led into the tunnel. Another source to the same network, one
# to another's own network and the other way round go in clear.
kept_apart() {
	local i rc=0
	tap "$PCAP"
	for i in 0 $EVEN $ODD; do ping_from "$(local_net $i).2" "$(of $i)" 0.1; done
	ping_from 10.201.0.2 10.50.0.1 2 && ping_from "$(local_net 0).2" "$(of $ODD)" 2 &&
		ping_from "$(local_net $ODD).2" 10.50.0.1 2
	rc=$?
	tap_stop
	for i in 0 $EVEN $ODD; do
		equal "$(packets "$PCAP" "src $(local_net $i).2 and dst $(of $i)")" 0 || rc=1
	done
	return $rc
}

hosts_up
in_g nft list tables >/dev/null 2>&1 || skip_all "nf_tables does not work here"
for i in 0 $EVEN $ODD; do ip -n "$C" addr add "$(local_net $i).2/32" dev eth0; done
for net in 10.160.0.0/11 10.192.0.0/13; do
	ip -n "$G" route add $net dev eth0
	ip -n "$W" route add $net via 192.0.2.1
done
ip -n "$G" addr add "$(local_net 2).1/32" dev lo
check "the gateway starts" start
check "it takes policies of $COUNT different local networks" told_all "$WORK/locals"
check "settle" told settle
check "nine rules for all" equal "$(rules)" 9
check "a route for each remote network" equal "$(in_g ip route show table 22998 | grep -c 'dev ipsec0')" $((COUNT / 2 + 2))
check "exactly what they cover is covered" kept_apart
for i in 0 $EVEN $ODD; do
	check "policy $i asked for an SA" says "^acquire $((20000 + i)) $(local_net $i)\.2/32" cat "$WORK/out"
done
check "the narrowest counts for a network of several" says 'ipsec0 .*mtu 1300' in_g ip route show table 22998 10.50.0.0/16
check "without it" told unpolicy $NARROW
check "the next does" says 'ipsec0 .*mtu 1400' in_g ip route show table 22998 10.50.0.0/16
check "one gets an SA" told sa 1 $((20000 + EVEN)) out 0 $((0x1000000 + EVEN)) "$(local_net $EVEN).0/24" 10.50.0.0/16
check "its packets go by it" secret "$(local_net $EVEN).2" 10.50.0.1 $((0x1000000 + EVEN))
check "another one gets one" told sa 2 $((20000 + ODD)) out 0 $((0x1000000 + ODD)) "$(local_net $ODD).0/24" "$(remote $ODD).0/24"
check "its route has what that leaves" waitfor 3 says 'ipsec0 .*mtu 1446' in_g ip route show table 22998 "$(remote $ODD).0/24"
check "the gateway's own packets go in clear" own_clear 10.50.0.1
check "from any address without a policy" own_clear 10.50.0.1 10.200.0.1
check "not from one with a policy" own_secret 10.50.0.1 "$(local_net 2).1"
check "nor where they get such a source" own_secret 10.51.0.1
check "those asked for SAs" says "^acquire 20002 $(local_net 2)\.1/32" cat "$WORK/out"
check "both" says "^acquire $OWN 192\.0\.2\.1/32" cat "$WORK/out"
check "by the routes of packets without a source" equal "$(in_g ip route show table 22999 | grep -c 'dev ipsec0 .*src 192.0.2.1')" 1

# --- one more, one less, exceptions, ports ---
check "before its policy a network is left alone" clear 10.201.0.2 10.52.0.1
check "one more policy" told policy 40000 trap $OTHER 10.50.0.0/16
check "covers at once" secret 10.201.0.2 10.50.0.1
check "a second pair for it" told policy 40001 trap 10.201.0.2/32 10.52.0.0/16
check "covers" secret 10.201.0.2 10.52.0.1
check "without it" told unpolicy 40001
check "its packets go in clear" clear 10.201.0.2 10.52.0.1
check "without the first" told unpolicy 40000
check "its packets go in clear" clear 10.201.0.2 10.50.0.1
check "without one of the many" told unpolicy 20000
check "its packets go in clear" clear "$(local_net 0).2" 10.50.0.1
check "another's do not" secret "$(local_net $EVEN).2" 10.50.0.1
check "with it again" told policy 20000 trap "$(local_net 0).0/24" 10.50.0.0/16
check "they are covered" secret "$(local_net 0).2" 10.50.0.1
check "an exception for one address" told policy 60000 pass "$(local_net 0).2/32" 10.50.0.9/32
check "goes in clear" clear "$(local_net 0).2" 10.50.0.9
check "its neighbour does not" secret "$(local_net 0).2" 10.50.0.10
check "nor another policy's" secret "$(local_net $EVEN).2" 10.50.0.9
check "without it" told unpolicy 60000
check "nothing in clear" secret "$(local_net 0).2" 10.50.0.9
check "a policy of a port" told policy 60001 drop 10.201.0.0/16@6 10.50.0.0/16@6,5001
check "is not in the way of pings" clear 10.201.0.2 10.50.0.1
check "without it" told unpolicy 60001

# --- marks of others ---
# a mark of the administrator, as a connection's restored in a mangle chain; with our bit set, too
foreign_mark() {
	in_g nft "add table ip foreign; flush table ip foreign
		add chain ip foreign in { type filter hook prerouting priority mangle; }
		add chain ip foreign out { type route hook output priority mangle; }
		add rule ip foreign in meta mark set $1
		add rule ip foreign out meta mark set $1"
}
for mark in 0x1 0x10001; do
	check "mark $mark of another" foreign_mark $mark
	check "with mark $mark: exactly what policies cover" kept_apart
	check "with mark $mark: the gateway's own packets go in clear" own_clear 10.50.0.1
	check "with mark $mark: those of a policy do not" own_secret 10.50.0.1 "$(local_net 2).1"
done
in_g nft delete table ip foreign

# --- the packet filter is flushed ---
marks_back() { in_g nft list table ip sekisho_marks && in_g nft list table inet sekisho; }
shut_or_back() { secret "$@" || marks_back; } # the gateway may look for its tables at any moment
check "someone flushes the packet filter" in_g nft flush ruleset
check "nothing of a policy goes in clear" secret "$(local_net $EVEN).2" 10.50.0.1
check "others' packets to its network are dropped until that is mended" shut_or_back 10.201.0.2 10.50.0.1
check "others still are not" clear 10.201.0.2 10.53.0.1
check "the gateway puts its marks back" waitfor 15 marks_back
check "and covers exactly what it covered" kept_apart

# --- kill -9 and adoption ---
before=$(in_g ip rule)
tap "$WORK/kill.pcap"
bg_stop g KILL
exec 8>&-
for i in 0 $EVEN $ODD; do
	check "killed: policy $i's packets go nowhere" not ping_from "$(local_net $i).2" "$(of $i)"
done
check "killed: others go on" ping_from 10.201.0.2 10.50.0.1 2
grep -v "^policy 20001 " "$WORK/locals" >"$WORK/fewer"
check "the next one starts" start
head -n $((COUNT / 2)) "$WORK/fewer" >"$WORK/half"
tail -n +$((COUNT / 2 + 1)) "$WORK/fewer" >"$WORK/other_half"
check "it takes half of the policies" told_all "$WORK/half"
for i in 0 $EVEN $ODD; do
	check "half taken: policy $i's packets go nowhere" not ping_from "$(local_net $i).2" "$(of $i)"
done
check "half taken: others go on" ping_from 10.201.0.2 10.50.0.1 2
check "it takes the rest but one" told_all "$WORK/other_half"
check "settle" told settle
tap_stop
check "in all this nothing of a policy went in clear" equal "$(packets "$WORK/kill.pcap" 'net 10.160.0.0/11 or net 10.192.0.0/13')" 0
check "rules are as before" equal "$(in_g ip rule | grep -cvxFf <(echo "$before"))" 0
check "few" equal "$(rules)" 9
check "the marks are laid once" equal "$(in_g nft list chain ip sekisho_marks covered | grep -c accept)" 4
check "exactly what policies cover is covered" kept_apart
ip -n "$C" addr add "$(local_net 1).2/32" dev eth0
check "what has no policy any more is free" clear "$(local_net 1).2" "$(of 1)"

# --- the end of policies ---
sed -n "2,\$s/^policy \([0-9]*\) .*/unpolicy \1/p" "$WORK/fewer" >"$WORK/unpolicies"
check "all policies but the first go" told_all "$WORK/unpolicies"
check "soon the packet filter follows" waitfor 20 ping_from "$(local_net $ODD).2" "$(of $ODD)"
check "the last one's packets go in clear" clear "$(local_net $ODD).2" "$(of $ODD)"
check "the first one's do not" own_secret 10.51.0.1
check "no route is left over" equal "$(routes 'dev ipsec0')" 2
check "it goes, too" told unpolicy $OWN
check "the marks are gone" not in_g nft list table ip sekisho_marks
check "and the rules" equal "$(rules)" 0

# --- IPv6 ---
ip6_up() {
	local i
	ip -n "$C" addr add 2001:db8:c::2/64 dev eth0 nodad
	ip -n "$G" addr add 2001:db8:c::1/64 dev eth0 nodad
	ip -n "$G" addr add 2001:db8:a::1/64 dev eth1 nodad
	ip -n "$W" addr add 2001:db8:a::2/64 dev eth0 nodad
	ip -n "$W" addr add 2001:db8:ff::1/128 dev lo nodad
	for i in 1 99; do ip -n "$C" addr add 2001:db8:1:$i::2/128 dev eth0 nodad; done
	ip -n "$C" -6 route add default via 2001:db8:c::1
	ip -n "$G" -6 route add 2001:db8:1::/48 dev eth0
	ip -n "$G" -6 route add default via 2001:db8:a::2
	ip -n "$W" -6 route add default via 2001:db8:a::1
	in_g sysctl -qw net.ipv6.conf.all.forwarding=1
}
clear6() { # SOURCE
	tap "$PCAP"
	in_c ping -6 -n -q -c 2 -i 0.2 -W 2 -I "$1" 2001:db8:ff::1
	tap_stop
	has_packets "$PCAP" "icmp6 and src $1 and dst 2001:db8:ff::1" 1
}
secret6() { # SOURCE
	tap "$PCAP"
	in_c ping -6 -n -q -c 1 -W 0.3 -I "$1" 2001:db8:ff::1
	tap_stop
	equal "$(packets "$PCAP" "src $1 or dst $1")" 0
}
if [ -e /proc/sys/net/ipv6 ] && ip6_up; then
	for i in $(seq 0 99); do echo "policy $((70000 + i)) trap 2001:db8:1:$i::/64 2001:db8:ff::/48"; done >"$WORK/v6"
	check "in IPv6 a source without policy is reached" waitfor 5 in_c ping -6 -q -c 1 -W 1 2001:db8:ff::1
	check "policies of different local networks in IPv6" told_all "$WORK/v6"
	check "few rules" less "$(in_g ip -6 rule | grep -c '^216:')" 68
	check "the first one's packets are covered" secret6 2001:db8:1:1::2
	check "the last one's, too" secret6 2001:db8:1:99::2
	check "another source is not" clear6 2001:db8:c::2
	check "nor are the gateway's own packets" in_g ping -6 -q -c 1 -W 2 2001:db8:ff::1
	sed 's/^policy \([0-9]*\) .*/unpolicy \1/' "$WORK/v6" >"$WORK/unpolicies"
	check "they go" told_all "$WORK/unpolicies"
	check "and leave nothing" equal "$(in_g ip -6 rule | grep -c '^216:')" 0
else
	skip "many local networks in IPv6" "no IPv6"
fi

# --- where the common table would be in the way ---
echo close remove >&8
check "the gateway ends" bg_wait g
check "and leaves nothing behind" equal "$(in_g sh -c 'ip -o link show type tun; ip rule; ip route show table all proto 94; nft list tables' | grep -vE 'lookup (local|main|default)')" ""
in_g sysctl -qw net.ipv4.conf.eth1.rp_filter=1
check "with strict reverse path filtering the gateway starts" start
head -n 100 "$WORK/locals" >"$WORK/some"
check "takes policies" told_all "$WORK/some"
check "and leaves them their own rules" equal "$(rules)" 101
check "it says why" grep -q 'rp_filter=1' "$LOGS/router.$SUITE.log"
check "they are covered" secret "$(local_net 0).2" 10.50.0.1
check "others are not" clear 10.201.0.2 10.50.0.1
in_g sysctl -qw net.ipv4.conf.eth1.rp_filter=2
moved() { less "$(rules)" 20; }
check "settle" told settle
check "when that is over, they are moved" waitfor 15 moved
check "and still covered" secret "$(local_net 0).2" 10.50.0.1
echo close remove >&8
check "the gateway ends" bg_wait g
check "someone has a table of our name" in_g nft 'add table ip sekisho_marks; add set ip sekisho_marks to_16 { type inet_service; }'
check "the gateway starts" start
check "takes policies" told_all "$WORK/some"
check "and leaves them their own rules" equal "$(rules)" 101
check "it says why" grep -q 'refuses our marks' "$LOGS/router.$SUITE.log"
check "they are covered" secret "$(local_net 0).2" 10.50.0.1
check "settle" told settle
check "when the other's table is gone, they are moved" waitfor 15 moved
check "and still covered" secret "$(local_net 0).2" 10.50.0.1
check "others are not" clear 10.201.0.2 10.50.0.1
echo close remove >&8
check "the gateway ends" bg_wait g
check "no report of a sanitizer" not grep -E 'Sanitizer|runtime error' "$LOGS/router.$SUITE.log"
