#!/bin/bash
# The path MTU of user-space ESP, without IKE: what ICMP errors do and what they do not, and paths that
# are too narrow. The hosts are those of tests/esp.sh.
. "$(dirname "$0")/../lib.sh"
. "$TESTS/esp.sh"
WIRE=$WORK/wire.pcap
hosts_up

# --- forged ICMP errors: the kernel believes them, ESP does not ---
gateways() { # WORKERS ADDRESS1 ADDRESS2 [OPTION...]: both back ends and their SAs
	local -x SEKISHO_ESP_WORKERS=$1
	local a=$2 b=$3 alone='' n
	shift 3
	case " $* " in *" alone "*) alone=alone ;; esac
	start 1 "$a" "$b" && start 2 "$b" "$a" && told 1 policy 16384 trap $NET1 $NET2 &&
		told 2 policy 16384 trap $NET2 $NET1 || return 1
	for n in 1 2; do told $n udp 4500 $alone || return 1; done
	for n in c s 1 2; do forget $n; done
	sas 1 0x01000201 0x02000202 "$@"
}
forget() { at "$1" sh -c 'ip route flush cache; ip -6 route flush cache'; } # HOST: what ICMP taught its kernel
gateways_stop() { stop 1 remove && stop 2 remove; }
kernel_believes() { says "mtu $2 " at 1 ip route get "$1" mark 0x5e60; } # ADDRESS MTU
whole_ping() { at c ping -n -q -c 3 -i 0.1 -W 1 -M 'do' -s $(($1 - 28)) 192.168.30.20; } # SIZE
FRAGMENTS='(ip and ip[6:2] & 0x3fff != 0) or ip6 proto 44'
ike_arrived() { said 2 '^ike .* 3000 iiii' | wc -l; }
ike_more() { less "$1" "$(ike_arrived)"; } # BEFORE
ike_passes() { # from 1 to 2, larger than any packet
	local before
	before=$(ike_arrived)
	told 1 ike 3000 && waitfor 3 ike_more "$before"
}
forged() { # NAME WORKERS 4|6 esp|udp MTU [OPTION...]: MTU is the device's at first
	local name=$1 workers=$2 version=$3 how=$4 mtu=$5 net=192.168.20. low=100 i
	shift 5
	if [ "$version" = 6 ]; then net=2001:db8:20:: low=1200; fi
	check "$name: both start" gateways "$workers" "${net}10" "${net}20" "$@"
	check "$name: the MTU is what ESP leaves of 1500" waitfor 15 mtu_is 1 "$mtu"
	for i in 1 2 3; do icmp_to_1 "$version" "$how" 0x020002ff 1300; done
	check "$name: the kernel believes an ICMP error about an SPI that is none" waitfor 2 kernel_believes "${net}20" 1300
	sleep 1.2 # the routes are asked again
	check "$name: ESP does not" mtu_is 1 "$mtu"
	tap "$WIRE"
	check "$name: a packet of full size goes through" whole_ping "$mtu"
	check "$name: and TCP" tcp 5003 5000000
	tap_stop "$WIRE"
	check "$name: in one piece" equal "$(packets "$WIRE" "$FRAGMENTS")" 0
	icmp_to_1 "$version" "$how" 0x02000202 $low
	icmp_to_1 "$version" "$how" 0 1300
	sleep 0.3
	check "$name: an absurd size changes nothing, nor does an error about IKE" mtu_is 1 "$mtu"
	icmp_to_1 "$version" "$how" 0x02000202 1300
	check "$name: an error about an SA of ours lowers the MTU" waitfor 2 mtu_is 1 $((mtu - 200))
	check "$name: large packets go on" at c ping -n -q -c 3 -i 0.1 -W 1 -s 4000 192.168.30.20
	check "$name: IKE, too, in fragments" ike_passes
	check "$name: no worker spins" idle 1
	check "$name: both stop" gateways_stop
}
idle() { # N: the back end waits for events, rather than to read one in vain again and again
	local pid before
	pid=${BG[g$1]}
	before=$(awk '{ print $14 + $15 }' "/proc/$pid/stat")
	sleep 1
	less "$(awk '{ print $14 + $15 }' "/proc/$pid/stat")" $((before + 20))
}
forged "forged ICMP, UDP" 2 4 udp 1438 udp
forged "forged ICMP, UDP, one worker" 1 4 udp 1438 udp
forged "forged ICMP, UDP over IPv6" 2 6 udp 1418 udp
forged "forged ICMP, IPv6" 1 6 esp 1426

check "without sockets of the workers' own: both start" gateways 2 192.168.20.10 192.168.20.20 udp alone
check "client reaches server" pings
check "TCP goes through" tcp 5003 5000000
check "IKE goes" ike_passes
udp_from_2 00000000494b45
check "and comes" waitfor 2 said 1 '^ike 192\.168\.20\.10:4500 192\.168\.20\.20:5555 3 IKE$'
check "both stop" gateways_stop

# --- a narrow router on the way ---
# esp-1 .40.10 -- .40.30 esp-m .41.30 -- .41.40 esp-n .42.40 -- .42.20 esp-2; the middle takes 1300 bytes
for h in m n; do
	ip netns add esp-$h
	at $h sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
done
link_pair 1 eth2 40.10 m eth0 40.30
link_pair m eth1 41.30 n eth0 41.40
link_pair n eth1 42.40 2 eth2 42.20
for r in "1 42 40::30" "m 42 41::40" "n 40 41::30" "2 40 42::40"; do
	set -- $r
	ip -n "esp-$1" route add "192.168.$2.0/24" via "192.168.${3/::/.}"
	ip -n "esp-$1" route add "2001:db8:$2::/64" via "2001:db8:$3"
done
ip -n esp-m link set eth1 mtu 1300
ip -n esp-n link set eth0 mtu 1300
narrow() { # NAME WORKERS ADDRESS1 ADDRESS2 MTU [OPTION...]: MTU is the device's at last
	local name=$1 workers=$2 a=$3 b=$4 mtu=$5
	shift 5
	check "$name: both start" gateways "$workers" "$a" "$b" "$@"
	check "$name: TCP finds its size" tcp 5004 5000000
	check "$name: which is the device's MTU now" waitfor 3 mtu_is 1 "$mtu"
	check "$name: a packet of that size goes through" waitfor 5 whole_ping "$mtu"
	told 1 policy 16500 protect $V6NET1 $V6NET2
	told 2 policy 16500 protect $V6NET2 $V6NET1
	told 1 sa 41 16500 both 0x010002c1 0x020002c2 $V6NET1 $V6NET2 "$@"
	told 2 sa 41 16500 both 0x020002c2 0x010002c1 $V6NET2 $V6NET1 "$@"
	bg "tap $WIRE" "$WIRE.err" ip netns exec esp-2 tcpdump -Z root --immediate-mode -U -n -s 0 -i eth2 -w "$WIRE"
	waitfor 5 grep -q 'listening on' "$WIRE.err"
	check "$name: IPv6 has its 1280 bytes" waitfor 5 at c ping -n -q -c 2 -i 0.1 -W 1 -M 'do' -s 1232 2001:db8:30::20
	tap_stop "$WIRE"
	check "$name: in fragments outside" has_packets "$WIRE" "$FRAGMENTS" 2
	check "$name: TCP over IPv6" tcp 5005 2000000 2001:db8:30::20
	forget c
	check "$name: IPv4 keeps its own size" waitfor 5 whole_ping "$mtu"
	check "$name: no more than that" not whole_ping 1280
	check "$name: IKE" ike_passes
	check "$name: both stop" gateways_stop
}
narrow "a narrow path" 2 192.168.40.10 192.168.42.20 1246
narrow "a narrow path, UDP" 2 192.168.40.10 192.168.42.20 1238 udp
narrow "a narrow path, IPv6" 1 2001:db8:40::10 2001:db8:42::20 1226
narrow "a narrow path, UDP over IPv6" 2 2001:db8:40::10 2001:db8:42::20 1218 udp
check "1 left nothing behind" nothing_there 1
check "2 left nothing behind" nothing_there 2
check "no report of a sanitizer" not grep -E 'Sanitizer|runtime error' "$LOGS"/router."$SUITE".g[12].log
