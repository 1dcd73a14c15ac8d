# shellcheck shell=bash
# User-space ESP without IKE: two back ends with fixed keys (tests/unit/esp/esp_gateway.c), between
#
#   esp-c .10.10 -- .10.20 esp-1 .20.10 == .20.20 esp-2 .30.10 -- .30.20 esp-s
#
# (192.168.x; 2001:db8:x for IPv6). The routers would forward in clear without the back ends. Sourced
# after lib.sh; hosts_up makes the hosts, a trap takes them down.
need_root
GATEWAY=$BUILD/tests/unit/esp/esp_gateway
[ -x "$GATEWAY" ] || { fail "$GATEWAY is built"; exit 1; }
[ -e /dev/net/tun ] || skip_all "no /dev/net/tun"

at() { local h=$1; shift; ip netns exec "esp-$h" "$@"; }
link_pair() { # HOST IF NET.HOST HOST IF NET.HOST
	ip -n "esp-$1" link add "$2" type veth peer name "$5" netns "esp-$4"
	local h i a
	for h in "$1 $2 $3" "$4 $5 $6"; do
		read -r h i a <<<"$h"
		ip -n "esp-$h" addr add "192.168.$a/24" dev "$i"
		ip -n "esp-$h" addr add "2001:db8:${a%.*}::${a#*.}/64" dev "$i" nodad
		ip -n "esp-$h" link set "$i" up
	done
}
hosts_down() {
	local h
	for h in c 1 2 s m n; do
		[ ! -e "/run/netns/esp-$h" ] || ip netns del "esp-$h"
	done
}
hosts_up() {
	local h
	hosts_down
	for h in c 1 2 s; do ip netns add "esp-$h"; ip -n "esp-$h" link set lo up; done
	link_pair c eth0 10.10 1 eth0 10.20
	link_pair 1 eth1 20.10 2 eth1 20.20
	link_pair 2 eth0 30.10 s eth0 30.20
	for h in "c 0/0 192.168.10.20 ::/0 2001:db8:10::20" "s 0/0 192.168.30.10 ::/0 2001:db8:30::10" \
		"1 192.168.30.0/24 192.168.20.20 2001:db8:30::/64 2001:db8:20::20" \
		"2 192.168.10.0/24 192.168.20.10 2001:db8:10::/64 2001:db8:20::10"; do
		set -- $h
		ip -n "esp-$1" route add "$2" via "$3"
		ip -n "esp-$1" -6 route add "$4" via "$5"
	done
	for h in 1 2; do at $h sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; done
}

# start N LOCAL REMOTE: the back end of router N; its answers are in $WORK/gN.out
start() {
	local n=$1
	[ -p "$WORK/g$n.in" ] || mkfifo "$WORK/g$n.in"
	bg "g$n" "$WORK/g$n.out" ip netns exec "esp-$n" sh -c "exec $GATEWAY $2 $3 <$WORK/g$n.in 2>>$LOGS/router.$SUITE.g$n.log"
	eval "exec $((n + 7))>$WORK/g$n.in"
	waitfor 5 grep -q . "$WORK/g$n.out"
}
answers_of() { grep -cE '^(ok|error|closed|usage|\{)' "$WORK/g$1.out"; }
tell() { # N COMMAND...: its answer
	local n=$1 before t
	shift
	before=$(answers_of "$n")
	eval "echo \"\$*\" >&$((n + 7))"
	for t in $(seq 100); do
		[ "$(answers_of "$n")" = "$before" ] || break
		sleep 0.02
	done
	grep -E '^(ok|error|closed|usage|\{)' "$WORK/g$n.out" | tail -n 1
}
told() { equal "$(tell "$@")" ok; }
said() { grep -E -- "$2" "$WORK/g$1.out"; } # N PATTERN
stop() { # N keep|remove
	tell "$1" close "$2" >/dev/null
	bg_wait "g$1"
	eval "exec $(($1 + 7))>&-"
}
NET1=192.168.10.0/24 NET2=192.168.30.0/24
V6NET1=2001:db8:10::/64 V6NET2=2001:db8:30::/64
# sas ID SPI1 SPI2 [OPTION...]: a pair on both routers; SPI1 is inbound at esp-1. The inbound
# halves come first, as a rekey does it.
sas() {
	local id=$1 a=$2 b=$3
	shift 3
	told 1 sa "$id" 16384 in "$a" "$b" "${T1:-$NET1}" "${T2:-$NET2}" "$@" &&
		told 2 sa "$id" 16384 in "$b" "$a" "${T2:-$NET2}" "${T1:-$NET1}" "$@" &&
		told 1 sa "$id" 16384 out "$a" "$b" "${T1:-$NET1}" "${T2:-$NET2}" "$@" &&
		told 2 sa "$id" 16384 out "$b" "$a" "${T2:-$NET2}" "${T1:-$NET1}" "$@"
}
no_sas() { told 1 rm "$1" both && told 2 rm "$1" both; }
pings() { at c ping -n -q -c "${1:-3}" -i 0.1 -W 1 192.168.30.20; }
pings_back() { at s ping -n -q -c 3 -i 0.1 -W 1 192.168.10.10; }
tap() { # FILE [FILTER]: what crosses the link between the routers
	local f=$1
	shift
	rm -f "$f.err" # an earlier one's says that it listens
	bg "tap $f" "$f.err" ip netns exec esp-1 tcpdump -Z root --immediate-mode -U -n -s 0 -i eth1 -w "$f" "$@"
	waitfor 5 grep -q 'listening on' "$f.err"
}
tap_stop() { sleep 0.2; bg_stop "tap $1" TERM; }
# keys of tshark's table for an SPI: the same bytes that esp_gateway makes
hex_key() { # SPI STEP BYTES
	local i out=0x
	for ((i = 0; i < $3; i++)); do out+=$(printf %02x $((($1 + i * $2) & 255))); done
	echo "$out"
}
# decrypted FILE CIPHER FILTER SPI...: packets that tshark reads inside of ESP
decrypted() {
	local f=$1 cipher=$2 y=$3 spi o=()
	shift 3
	for spi; do
		case $cipher in
		gcm) o+=(-o "uat:esp_sa:\"IPv4\",\"*\",\"*\",\"$spi\",\"AES-GCM with 16 octet ICV [RFC4106]\",\"$(hex_key "$spi" 7 20)\",\"NULL\",\"\"") ;;
		cbc) o+=(-o "uat:esp_sa:\"IPv4\",\"*\",\"*\",\"$spi\",\"AES-CBC [RFC3602]\",\"$(hex_key "$spi" 7 16)\",\"HMAC-SHA-256-128 [RFC4868]\",\"$(hex_key "$spi" 11 32)\"") ;;
		esac
	done
	tshark -n -r "$f" -o esp.enable_encryption_decode:TRUE -o esp.enable_authentication_check:TRUE "${o[@]}" -Y "$y" 2>/dev/null | wc -l
}
clear_of() { packets "$1" "$CLEAR_FILTER"; }
drop_counter() { # N NAME
	tell "$1" status | jq ".drops.$2"
}
leftovers() { # N: what a back end has in the system
	at "$1" sh -c 'ip -o link show type tun 2>/dev/null; ip rule; ip -6 rule; ip route show table 220 2>/dev/null
		ip -6 route show table 220 2>/dev/null; nft list tables 2>/dev/null' |
		grep -vE 'lookup (local|main|default)'
}
drops_are() { equal "$(drop_counter "$1" "$2")" "$3"; }
nothing_there() { equal "$(leftovers "$1")" ""; }
end() {
	local n
	for n in 1 2; do eval "exec $((n + 7))>&-"; done
	stop_all
	hosts_down
}
udp_from_2() { # HEX
	at 2 python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 36, 0x5e60)
s.bind(("192.168.20.20", 5555))
s.sendto(bytes.fromhex(sys.argv[1]), ("192.168.20.10", 4500))' "$1"
}
mtu_is() { says "mtu $2 " at "$1" ip link show ipsec0; }
icmp_to_1() { # 4|6 esp|udp SPI MTU: "fragmentation needed" or "packet too big" about an ESP packet of esp-1
	at 2 python3 -c '
import socket, struct, sys
def sum16(b):
    t = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    while t >> 16: t = (t & 0xffff) + (t >> 16)
    return ~t & 0xffff
version, how, spi, mtu = sys.argv[1], sys.argv[2], int(sys.argv[3], 0), int(sys.argv[4])
quoted, protocol = struct.pack("!II", spi, 99), 50
if how == "udp":
    quoted, protocol = struct.pack("!HHHH", 4500, 4500, 1400, 0) + quoted, 17
if version == "4":
    src, dst = socket.inet_aton("192.168.20.10"), socket.inet_aton("192.168.20.20")
    quoted = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 1420, 0, 0x4000, 64, protocol, 0, src, dst) + quoted
    body = struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + quoted
    body = body[:2] + struct.pack("!H", sum16(body)) + body[4:]
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    to = ("192.168.20.10", 0)
else:
    src, dst = (socket.inet_pton(socket.AF_INET6, a) for a in ("2001:db8:20::10", "2001:db8:20::20"))
    quoted = struct.pack("!IHBB16s16s", 6 << 28, 1400, protocol, 64, src, dst) + quoted
    body = struct.pack("!BBHI", 2, 0, 0, mtu) + quoted
    s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    to = ("2001:db8:20::10", 0)
s.setsockopt(socket.SOL_SOCKET, 36, 0x5e60)
s.sendto(body, to)' "$@"
}
listens() { [ -n "$(at "$1" ss -Hltn "sport = :$2")" ]; } # HOST PORT
tcp() { # PORT BYTES [ADDRESS]: from client to server, counted there
	local to=${3:-192.168.30.20}
	at s timeout 20 python3 -c "
import socket, sys
s = socket.create_server(('$to', $1), family=socket.AF_INET6 if ':' in '$to' else socket.AF_INET); s.settimeout(6)
c = s.accept()[0]; n = 0
while (b := c.recv(65536)): n += len(b)
print(n)" >"$WORK/tcp" &
	local p=$!
	waitfor 10 listens s "$1" || return 1
	at c timeout 20 python3 -c "
import socket
s = socket.create_connection(('$to', $1), timeout=2)
s.sendall(bytes($2)); s.close()" 2>/dev/null
	wait $p 2>/dev/null
	grep -qx "$2" "$WORK/tcp"
}
trap 'end; finish' EXIT
