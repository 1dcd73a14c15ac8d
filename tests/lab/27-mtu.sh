#!/bin/bash
# Each policy has its own MTU: a gateway (tests/unit/esp/esp_gateway.c, without IKE) with two peers, of which
# one comes to lie behind a narrow link.
#
#                                        eth1 == 192.0.2.2    a  10.1.0.1 2001:db8:1::1
#   c 10.200.0.2 -- 10.200.0.1 g 192.0.2.1
#     2001:db8:200::2                    eth2 == 198.51.100.2 b  10.2.0.1 2001:db8:2::1
. "$(dirname "$0")/../lib.sh"
need_root
GATEWAY=$BUILD/tests/unit/esp/esp_gateway
[ -x "$GATEWAY" ] || { fail "$GATEWAY is built"; exit 1; }
[ -e /dev/net/tun ] || skip_all "no /dev/net/tun"

in_ns() { local h=$1; shift; ip netns exec "$LAB-m$h" "$@"; }
hosts_down() {
	local h
	for h in c g a b; do [ ! -e "/run/netns/$LAB-m$h" ] || ip netns del "$LAB-m$h"; done
}
link() { # HOST IF ADDRESS/LENGTH ADDRESS6/64 HOST IF ADDRESS/LENGTH ADDRESS6/64
	ip -n "$LAB-m$1" link add "$2" type veth peer name "$6" netns "$LAB-m$5"
	local h i a a6
	for h in "$1 $2 $3 $4" "$5 $6 $7 $8"; do
		read -r h i a a6 <<<"$h"
		ip -n "$LAB-m$h" addr add "$a" dev "$i"
		ip -n "$LAB-m$h" addr add "$a6" dev "$i" nodad
		ip -n "$LAB-m$h" link set "$i" up
	done
}
hosts_up() {
	local h
	hosts_down
	for h in c g a b; do ip netns add "$LAB-m$h"; ip -n "$LAB-m$h" link set lo up; done
	link c eth0 10.200.0.2/16 2001:db8:200::2/64 g eth0 10.200.0.1/16 2001:db8:200::1/64
	link g eth1 192.0.2.1/24 2001:db8:f1::1/64 a eth0 192.0.2.2/24 2001:db8:f1::2/64
	link g eth2 198.51.100.1/24 2001:db8:f2::1/64 b eth0 198.51.100.2/24 2001:db8:f2::2/64
	ip -n "$LAB-ma" addr add 10.1.0.1/32 dev lo
	ip -n "$LAB-ma" addr add 2001:db8:1::1/128 dev lo
	ip -n "$LAB-mb" addr add 10.2.0.1/32 dev lo
	ip -n "$LAB-mb" addr add 2001:db8:2::1/128 dev lo
	ip -n "$LAB-mc" route add default via 10.200.0.1
	ip -n "$LAB-mc" route add default via 2001:db8:200::1
	ip -n "$LAB-mb" route add 192.0.2.0/24 via 198.51.100.1
	# peers that do not answer, half of them behind each link
	ip -n "$LAB-mg" route add 198.18.0.0/16 via 192.0.2.2
	ip -n "$LAB-mg" route add 198.19.0.0/16 via 198.51.100.2
	ip -n "$LAB-mc" link set eth0 mtu 9000
	ip -n "$LAB-mg" link set eth0 mtu 9000
	in_ns g sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
}
end() {
	exec 7>&- 8>&- 9>&-
	stop_all
	hosts_down
}
trap 'end; finish' EXIT

declare -A FD=([g]=7 [a]=8 [b]=9)
start() { # HOST LOCAL REMOTE [VARIABLE=VALUE...]
	local h=$1 to="$2 $3"
	shift 3
	[ -p "$WORK/$h.in" ] || mkfifo "$WORK/$h.in"
	bg "$h" "$WORK/$h.out" ip netns exec "$LAB-m$h" env SEKISHO_ESP_WORKERS=1 "$@" sh -c "exec $GATEWAY $to <$WORK/$h.in 2>>$LOGS/router.$SUITE.$h.log"
	eval "exec ${FD[$h]}>$WORK/$h.in"
	waitfor 5 grep -q ready "$WORK/$h.out"
}
answers() { grep -cE '^(ok|error|closed|longest|\{)' "$WORK/$1.out"; }
answered() { [ "$(answers "$1")" -ge "$2" ]; }
tell() { # HOST COMMAND...: its answer
	local h=$1 n
	shift
	n=$(answers "$h")
	echo "$*" >&"${FD[$h]}"
	waitfor 5 answered "$h" $((n + 1)) && grep -E '^(ok|error|closed|longest|\{)' "$WORK/$h.out" | tail -n 1
}
told() { equal "$(tell "$@")" ok; }
told_all() { # HOST FILE: commands, each of which has to succeed
	local n errors
	n=$(answers "$1")
	errors=$(grep -c '^error' "$WORK/$1.out")
	cat "$2" >&"${FD[$1]}"
	waitfor 60 answered "$1" $((n + $(wc -l <"$2"))) && equal "$(grep -c '^error' "$WORK/$1.out")" "$errors"
}
stop() { # HOST
	tell "$1" close remove >/dev/null
	bg_wait "$1"
}

declare -A NET=([a]=10.1.0.0/16 [b]=10.2.0.0/16) NET6=([a]=2001:db8:1::/64 [b]=2001:db8:2::/64)
declare -A OUTER=([a]=192.0.2.2 [b]=198.51.100.2)
HERE=10.200.0.0/16 HERE6=2001:db8:200::/64
# tunnel NUMBER PEER LOCAL REMOTE: policies and SAs at both ends
tunnel_to() {
	local n=$1 p=$2 here=$3 there=$4 in out
	in=$(printf '0x010000%02x' "$n")
	out=$(printf '0x020000%02x' "$n")
	told g policy "$n" protect "$here" "$there" peer="${OUTER[$p]}" && told "$p" policy "$n" protect "$there" "$here" &&
		told g sa "$n" "$n" both "$in" "$out" "$here" "$there" peer="${OUTER[$p]}" &&
		told "$p" sa "$n" "$n" both "$out" "$in" "$there" "$here"
}
tunnels() {
	tunnel_to 1 a $HERE "${NET[a]}" && tunnel_to 2 a $HERE6 "${NET6[a]}" &&
		tunnel_to 3 b $HERE "${NET[b]}" && tunnel_to 4 b $HERE6 "${NET6[b]}"
}
device_is() { says "mtu $1 " ip -n "$LAB-mg" link show ipsec0; }
route_is() { # NETWORK MTU
	case $1 in
	*:*) says "dev ipsec0 .*mtu lock $2( |\$)" ip -n "$LAB-mg" -6 route show "$1" table 220 ;;
	*) says "dev ipsec0 .*mtu $2( |\$)" ip -n "$LAB-mg" route show "$1" table 220 ;;
	esac
}
narrow() { # MTU
	ip -n "$LAB-mg" link set eth2 mtu "$1"
	ip -n "$LAB-mb" link set eth0 mtu "$1"
}
forget() { in_ns c ip route flush cache; in_ns c ip -6 route flush cache; in_ns g ip route flush cache; in_ns g ip -6 route flush cache; }
# whole ADDRESS BYTES: an inner packet of this size goes through as it is. refused ADDRESS BYTES MTU: its sender is
# told this MTU. From HOST, or c.
sized() { local head=28; case $2 in *:*) head=48 ;; esac; in_ns "$1" ping -n -c 2 -i 0.2 -W 1 -M "do" -s $(($3 - head)) ${4:+-I "$4"} "$2"; }
whole() { sized "${3:-c}" "$1" "$2" "${4-}"; }
refused() { forget; fails_saying "mtu[=: ]+$3" sized "${4:-c}" "$1" "$2" "${5-}"; }
transfer() { # ADDRESS HOST: 1 MB of TCP from c
	: >"$WORK/server"
	bg server "$WORK/server" ip netns exec "$LAB-m$2" timeout 60 python3 -c "
import socket
s = socket.create_server(('$1', 5000), family=socket.AF_INET6 if ':' in '$1' else socket.AF_INET)
print('listening', flush=True)
c = s.accept()[0]
n = 0
while (b := c.recv(65536)): n += len(b)
c.sendall(str(n).encode())"
	waitfor 40 grep -q listening "$WORK/server" || { cat "$WORK/server"; return 1; }
	in_ns c timeout 60 python3 -c "
import socket
c = socket.create_connection(('$1', 5000), timeout=20)
c.sendall(bytes(1 << 20))
c.shutdown(socket.SHUT_WR)
raise SystemExit(c.recv(100) != b'1048576')"
	local rc=$?
	bg_stop server KILL
	return $rc
}

hosts_up
check "the gateways start" start g 192.0.2.1 192.0.2.2
check "and peer a" start a 192.0.2.2 192.0.2.1
check "and peer b" start b 198.51.100.2 192.0.2.1
check "a policy without an SA has an MTU that suits most" told g policy 9 trap $HERE 10.9.0.0/16
check "in its route" route_is 10.9.0.0/16 1400
check "without its policy the route is gone" told g unpolicy 9
check "tunnels to both, of both families" tunnels
if tell g status | jq -e .features.route_mtu >/dev/null; then
	for net in "${NET[@]}" "${NET6[@]}"; do check "the route to $net has what ESP leaves of 1500" route_is "$net" 1446; done
	check "the device as well" device_is 1446

	# --- one narrow link ---
	narrow 1300
	check "a narrow link lowers the MTU of the peer behind it" waitfor 5 route_is "${NET[b]}" 1246
	check "for IPv6 to 1280" route_is "${NET6[b]}" 1280
	check "not the other's" route_is "${NET[a]}" 1446
	check "nor in IPv6" route_is "${NET6[a]}" 1446
	check "nor the device's" device_is 1446
	check "status of each policy tells it" equal "$(tell g describe | jq -c '[.policies[] | select(.dir == "out") | {(.dst): .mtu}] | add')" \
		'{"2001:db8:1::/64":1446,"2001:db8:2::/64":1280,"10.1.0.0/16":1446,"10.2.0.0/16":1246}'
	check "and of each SA" equal "$(tell g describe | jq -c '[.states[] | select(.direction == "out") | .mtu] | sort')" '[1246,1246,1446,1446]'
	check "full size goes to the other peer" whole 10.1.0.1 1446
	check "in IPv6 too" whole 2001:db8:1::1 1446
	check "and from the gateway itself" whole 10.1.0.1 1446 g 10.200.0.1
	check "one byte more is refused, with the MTU" refused 10.1.0.1 1447 1446
	check "what fits goes to the narrow one" whole 10.2.0.1 1246
	check "one byte more is refused, with its MTU" refused 10.2.0.1 1247 1246
	check "to the gateway itself as well" refused 10.2.0.1 1247 1246 g 10.200.0.1
	check "the other's size in IPv6 is told too" refused 2001:db8:1::1 1447 1446
	forget
	check "TCP reaches the narrow one" transfer 10.2.0.1 b
	check "and the other" transfer 10.1.0.1 a
	check "in IPv6" transfer 2001:db8:1::1 a
	narrow 1340
	check "a link that leaves IPv6 a little more" waitfor 15 route_is "${NET6[b]}" 1286
	check "what fits goes there in IPv6" whole 2001:db8:2::1 1286
	check "one byte more is refused, with its MTU" refused 2001:db8:2::1 1287 1286
	check "to the gateway itself as well" refused 2001:db8:2::1 1287 1286 g 2001:db8:200::1
	forget
	check "TCP reaches it in IPv6" transfer 2001:db8:2::1 b
	narrow 1300
	check "narrow again" waitfor 15 route_is "${NET[b]}" 1246

	# --- mtu= ---
	check "mtu= lowers it" told g policy 1 protect $HERE "${NET[a]}" mtu=1400
	check "in the route" route_is "${NET[a]}" 1400
	check "a larger mtu= does not raise it" told g policy 1 protect $HERE "${NET[a]}" mtu=1500
	check "in the route" route_is "${NET[a]}" 1446

	# --- a route that two policies use ---
	check "from two networks to one, by way of a" told g policy 20 protect $HERE 10.3.0.0/16
	check "with an SA" told g sa 20 20 both 0x01000020 0x02000020 $HERE 10.3.0.0/16
	check "the route has a's MTU" route_is 10.3.0.0/16 1446
	check "and by way of b" told g policy 24 protect 10.201.0.0/16 10.3.0.0/16 peer=198.51.100.2
	check "the MTU is not known yet" route_is 10.3.0.0/16 1400
	check "with an SA" told g sa 24 24 both 0x01000024 0x02000024 10.201.0.0/16 10.3.0.0/16 peer=198.51.100.2
	check "the route has the smaller one" route_is 10.3.0.0/16 1246
	check "b's SA goes" told g rm 24 both
	check "the MTU stays: it will come again" route_is 10.3.0.0/16 1246
	check "b's policy goes" told g unpolicy 24
	check "the route has a's again" route_is 10.3.0.0/16 1446
	check "a's SA and policy go" told g rm 20 both
	check "and leave no route" told g unpolicy 20
	check "none" says_not . ip -n "$LAB-mg" route show 10.3.0.0/16 table 220

	# --- the device is made again ---
	ip -n "$LAB-mg" link del ipsec0
	check "after the device was removed the routes come again with their MTUs" waitfor 5 route_is "${NET[b]}" 1246
	check "each with its own" waitfor 5 route_is "${NET6[a]}" 1446
	check "and the device" device_is 1446

	# --- and wide again ---
	narrow 1500
	check "a wider link raises it, without a restart" waitfor 15 route_is "${NET[b]}" 1446
	check "in IPv6" waitfor 2 route_is "${NET6[b]}" 1446
	forget
	check "full size goes to both" whole 10.2.0.1 1446
	check "in IPv6" whole 2001:db8:2::1 1446
	narrow 9000
	check "a much wider link" waitfor 15 route_is "${NET[b]}" 8946
	check "raises the device" device_is 8946
	check "not the other peer" route_is "${NET[a]}" 1446
	check "a large packet goes through" whole 10.2.0.1 8946
	check "the other peer's are refused above its size" refused 10.1.0.1 1447 1446
	check "and its TCP goes on" transfer 10.1.0.1 a
	narrow 1500
	check "back to 1500" waitfor 15 device_is 1446

	# --- many peers: their routes follow, slice by slice ---
	MANY=2000
	awk -v n=$MANY -v l=$HERE 'BEGIN { for (i = 0; i < n; i++) {
		net = sprintf("10.%d.%d.0/24", 16 + int(i / 250), i % 250); peer = sprintf("198.%d.%d.%d", 18 + i % 2, int(i / 250), i % 250)
		printf "policy %d protect %s %s peer=%s\n", 1000 + i, l, net, peer
		printf "sa %d %d both 0x%08x 0x%08x %s %s peer=%s\n", 1000 + i, 1000 + i, 16777216 + 4096 + i, 33554432 + 4096 + i, l, net, peer } }' >"$WORK/many"
	many() { ip -n "$LAB-mg" route show table all proto 94 | grep -cE "^10\.[0-9]+\.[0-9]+\.0/24 .*dev ipsec0.* mtu $1( |\$)"; }
	check "$MANY more peers" told_all g "$WORK/many"
	check "have routes of full size" equal_count many 1446 $MANY
	narrow 1300
	check "half of them lie behind the narrow link" waitfor 30 equal_count many 1246 $((MANY / 2))
	check "the others keep theirs" equal_count many 1446 $((MANY / 2))
	check "traffic went on meanwhile" whole 10.1.0.1 1446
	narrow 1500
	check "wide again: all of them" waitfor 30 equal_count many 1446 $MANY
else
	skip "a policy has its own MTU" "this kernel forwards by the device's MTU"
fi
check "g stops" stop g
check "without routes" says_not . ip -n "$LAB-mg" route show table 220

# --- a kernel that forwards by the device's MTU alone ---
check "it starts where routes have no MTU" start g 192.0.2.1 192.0.2.2 SEKISHO_ESP_WITHOUT=route_mtu
stop a
stop b
check "and peer a again" start a 192.0.2.2 192.0.2.1
check "and peer b again" start b 198.51.100.2 192.0.2.1
check "tunnels to both" tunnels
check "status says that the feature is missing" equal "$(tell g status | jq .features.route_mtu)" false
check "routes have no MTU" says_not mtu ip -n "$LAB-mg" route show table 220
check "the device has" device_is 1446
narrow 1300
check "the narrow link lowers it for all, to what IPv6 needs" waitfor 5 device_is 1280
forget
check "the other peer's packets are refused above that" refused 10.1.0.1 1281 1280
check "in IPv6" refused 2001:db8:1::1 1281 1280
narrow 1500
check "the wider link raises it" waitfor 15 device_is 1446
check "full size goes to both" whole 10.2.0.1 1446
check "stop" stop g
