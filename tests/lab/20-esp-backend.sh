#!/bin/bash
# User-space ESP without IKE, between the hosts of tests/esp.sh. What crosses esp-1's eth1 is captured, and
# decrypted by tshark with the keys of the SAs.
. "$(dirname "$0")/../lib.sh"
. "$TESTS/esp.sh"

hosts_up
WIRE=$WORK/wire.pcap
tap "$WIRE"
check "without back ends the routers forward in clear" pings 1
tap_stop "$WIRE"
check "the capture shows it" has_packets "$WIRE" "$CLEAR_FILTER" 2

# --- errors ---
check "without privileges: one sentence" says '^error cannot .*CAP_NET_ADMIN' \
	at 1 setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all "$GATEWAY" 192.168.20.10 192.168.20.20
check "without the device: one sentence" says '^error cannot open /dev/net/tun: .*load the module tun' \
	at 1 unshare -m sh -c "mount -t tmpfs none /dev/net && exec $GATEWAY 192.168.20.10 192.168.20.20"
check "a failed start leaves nothing behind" nothing_there 1

# --- before an SA ---
check "back end 1 starts" start 1 192.168.20.10 192.168.20.20
check "back end 2 starts" start 2 192.168.20.20 192.168.20.10
check "it says ready" said 1 '^ready'
check "a trap on 1" told 1 policy 16384 trap $NET1 $NET2
check "a policy on 2" told 2 policy 16384 protect $NET2 $NET1
check "a rule leads into table 220" says "216:.*from $NET1 to $NET2 lookup 220" at 1 ip rule
check "beneath the device's route is an unreachable one" says "unreachable $NET2" at 1 ip route show table 220
tap "$WIRE"
check_not "without an SA no ping goes through" pings 1
check "the trap asked for an SA, with the packet's selectors" said 1 '^acquire 16384 192\.168\.10\.10/32.* 192\.168\.30\.20/32'
check "once" equal "$(said 1 ^acquire | wc -l)" 1
check "the source address of the gateway inside the policy is covered as well" not at 1 ping -n -q -c 1 -W 1 -I 192.168.10.20 192.168.30.20
tap_stop "$WIRE"
check "nothing crossed in clear" equal "$(clear_of "$WIRE")" 0
check "what no policy covers is left alone" at 1 ping -n -q -c 1 -W 1 192.168.20.20

# --- every cipher, both encapsulations ---
tap "$WIRE"
bg first "$WORK/first" ip netns exec esp-c ping -n -q -c 1 -W 3 192.168.30.20
sleep 0.3
check "SAs are added" sas 1 0x01000001 0x02000002
check "the ping that asked for them was not lost" bg_wait first
check "client reaches server" pings
check "server reaches client" pings_back
check "the gateway's own packets go too" at 1 ping -n -q -c 1 -W 1 -I 192.168.10.20 192.168.30.20
check "the first packet was told, once" equal "$(said 2 '^first_packet 1' | wc -l)" 1
check "traceroute shows the gateway" says '192\.168\.30\.20' at c traceroute -n -w 1 -q 1 192.168.30.20
tap_stop "$WIRE"
check "nothing crossed in clear" equal "$(clear_of "$WIRE")" 0
check "it crossed as protocol 50" has_packets "$WIRE" 'ip proto 50' 12
check "tshark decrypts all pings" equal "$(decrypted "$WIRE" gcm 'esp && icmp.type == 8' 0x01000001 0x02000002)" "$(decrypted "$WIRE" gcm 'esp && icmp.type == 0' 0x01000001 0x02000002)"
check "and finds them" less 5 "$(decrypted "$WIRE" gcm 'esp && icmp.type == 8' 0x01000001 0x02000002)"
check "usage counts inner packets" says '^usage in=[1-9][0-9]*/[0-9]* out=[1-9]' tell 1 usage 1

pings_lost() { # FILE: requests without an answer, but for the very last, which may be under way
	awk '/bytes from/ { for (i = 1; i <= NF; i++) if (sub(/^icmp_seq=/, "", $i) && !($i in seen)) { seen[$i] = 1; n++ } }
		/packets transmitted/ { tx = $1 }
		END { if (!(tx in seen)) tx--; print tx - n }' "$1"
}
id=1
variant() { # NAME CIPHER [OPTION...]: new SAs in place of the old, under a ping
	local name=$1 cipher=$2 y=icmp.type==8 new
	shift 2
	id=$((id + 1))
	new=$(printf '0x010000%02x 0x020000%02x' $((id * 2)) $((id * 2 + 1)))
	bg ping "$WORK/ping" ip netns exec esp-c ping -n -i 0.01 192.168.30.20
	sleep 0.2
	check "$name: SAs are added" sas $id $new "$@"
	sleep 0.3 # as long as packets are under way
	check "$name: the old ones are removed" no_sas $((id - 1))
	sleep 0.3
	bg_stop ping INT
	check "$name: no ping was lost" equal "$(pings_lost "$WORK/ping")" 0
	tap "$WIRE"
	check "$name: client reaches server" pings
	check "$name: large packets, fragmented inside, come through" at c ping -n -q -c 2 -i 0.1 -W 1 -s 4000 192.168.30.20
	tap_stop "$WIRE"
	check "$name: nothing in clear" equal "$(clear_of "$WIRE")" 0
	[ -z "$cipher" ] ||
		check "$name: tshark decrypts it" less 2 "$(decrypted "$WIRE" "$cipher" "esp && $y" $new)"
}
variant ChaCha20-Poly1305 "" chacha # tshark 4.0 has no ChaCha20 for ESP
variant AES-CBC-HMAC cbc cbc
variant AES-GCM-ESN "" esn
variant AES-CBC-ESN "" cbc esn
variant traffic-flow-padding gcm tfc=1000
check "packets that are padded have one size" equal "$(tshark -n -r "$WIRE" -Y 'esp && frame.len < 1100' -T fields -e frame.len 2>/dev/null | sort -u | tr '\n' ' ')" '1070 '
check "a socket of UDP 4500 on 1" told 1 udp 4500
check "a socket of UDP 4500 on 2" told 2 udp 4500
variant ESP-in-UDP gcm udp
check "it crossed in UDP" has_packets "$WIRE" 'udp port 4500' 6
check "not as protocol 50" equal "$(packets "$WIRE" 'ip proto 50')" 0

# One end takes the path for free of NATs, the other does not: what is heard does not depend on it. The raw
# socket that is always there hears for the worker that has none.
raw_sockets() { at "$1" awk '$2 ~ /:0032$/' /proc/net/raw | wc -l; }
id=$((id + 1))
half() { told "$1" sa $id 16384 "$2" "$3" "$4" "$5" "$6" $7; } # N in|out SPI_IN SPI_OUT LOCAL_TS REMOTE_TS OPTION
for way in in out; do # 2's inbound SA is the second worker's
	check "1 adds an SA without UDP: $way" half 1 $way 0x010400a1 0x020400a2 $NET1 $NET2 ""
	check "2 adds it with UDP: $way" half 2 $way 0x020400a2 0x010400a1 $NET2 $NET1 udp
done
check "the old ones are removed" no_sas $((id - 1))
check "2 has one raw socket" equal "$(raw_sockets 2)" 1
tap "$WIRE"
check "client reaches server" pings
check "server reaches client" pings_back
tap_stop "$WIRE"
check "there without UDP" has_packets "$WIRE" 'src host 192.168.20.10 and ip proto 50' 6
check "and back in UDP" has_packets "$WIRE" 'src host 192.168.20.20 and udp port 4500' 6

# --- UDP: IKE and keepalives beside ESP, and a NAT that moves ---
udp_from_2 00000000494b45 # marker, "IKE"
check "an IKE message is handed over without its marker" waitfor 2 said 1 '^ike 192\.168\.20\.10:4500 192\.168\.20\.20:5555 3 IKE$'
udp_from_2 ff
udp_from_2 0102
check "a keepalive is no error, another short datagram is counted" waitfor 2 drops_are 1 in_short 1
check "2 sends from another port, as behind a NAT" told 2 udp 4501
id=$((id + 1))
check "SAs over the new mapping" sas $id 0x01000091 0x02000092 udp
check "old ones removed" no_sas $((id - 1))
check "client reaches server over the new mapping" pings
check "1 noticed that the peer moved" said 1 "^peer_moved $id 192\.168\.20\.20:4501"
check "and sends there" pings_back

# --- path MTU ---
id=$((id + 1))
check "SAs without UDP" sas $id 0x010000a1 0x020000a2
check "old ones removed" no_sas $((id - 1))
check "the device's MTU is what ESP leaves of 1500" waitfor 15 mtu_is 1 1446
check "a packet of that size goes through" at c ping -n -q -c 1 -W 1 -M 'do' -s 1418 192.168.30.20
check "a larger one that may not be fragmented is refused to its sender, with the MTU" says 'mtu.*1446' at c ping -n -c 2 -i 0.2 -W 1 -M 'do' -s 1419 192.168.30.20
icmp_to_1 4 esp 0x020000ff 1300
sleep 0.3
check "an ICMP error about an SPI that is none changes nothing" mtu_is 1 1446
icmp_to_1 4 esp 0x020000a2 100
sleep 0.3
check "nor does an absurd size" mtu_is 1 1446
icmp_to_1 4 esp 0x020000a2 1300
check "one about an SA of ours lowers the MTU" waitfor 2 mtu_is 1 1246
ip -n esp-1 link set eth1 mtu 1200
ip -n esp-2 link set eth1 mtu 1200
at c ping -n -q -c 3 -i 0.2 -W 1 -s 1170 192.168.30.20 >/dev/null
check "a smaller link lowers it" waitfor 12 mtu_is 1 1146
check "large packets go on" at c ping -n -q -c 3 -i 0.1 -W 1 -s 3000 192.168.30.20
ip -n esp-1 link set eth1 mtu 1500
ip -n esp-2 link set eth1 mtu 1500
# a link below 1280 loses its IPv6
ip -n esp-1 addr replace 2001:db8:20::10/64 dev eth1 nodad
ip -n esp-2 addr replace 2001:db8:20::20/64 dev eth1 nodad

# --- what comes in clear ---
ip -n esp-2 addr add 192.168.30.99/32 dev lo
bg inside "$WORK/inside" ip netns exec esp-c tcpdump -Z root --immediate-mode -n -l -i eth0 src 192.168.30.99
waitfor 5 grep -q 'listening on' "$WORK/inside"
tap "$WIRE"
at 2 ping -n -q -c 3 -i 0.1 -W 0.2 -m 24160 -I 192.168.30.99 192.168.10.10 >/dev/null 2>&1
tap_stop "$WIRE"
if at 1 nft list ruleset >/dev/null 2>&1; then
	check "clear packets that claim to come from the other network arrive" has_packets "$WIRE" 'src 192.168.30.99 and icmp' 3
	check "and are dropped by the filter" says 'counter packets [1-9]' at 1 nft list chain inet sekisho from_clear
	check "none reaches the client" not grep -q 'ICMP echo' "$WORK/inside"
else
	skip "clear packets from outside are dropped" "nf_tables does not work here"
fi
bg_stop inside TERM

# --- strict reverse path filtering; host to host in transport mode ---
for h in 1 2; do at $h sysctl -qw net.ipv4.conf.all.rp_filter=1; done
check "with rp_filter=1 the tunnel goes on" pings
check "a policy from host to host on 1" told 1 policy 16400 trap 192.168.20.10/32 192.168.20.20/32 transport
check "a policy from host to host on 2" told 2 policy 16400 trap 192.168.20.20/32 192.168.20.10/32 transport
tap "$WIRE"
check_not "without an SA no packet goes from host to host" at 1 ping -n -q -c 1 -W 0.5 192.168.20.20
check "the networks' tunnel between the same hosts goes on" pings
check "SA of 1" told 1 sa 40 16400 both 0x010000b1 0x020000b2 192.168.20.10/32 192.168.20.20/32 transport
check "SA of 2" told 2 sa 40 16400 both 0x020000b2 0x010000b1 192.168.20.20/32 192.168.20.10/32 transport
check "host reaches host, whichever source the kernel picks" at 1 ping -n -q -c 3 -i 0.1 -W 1 192.168.20.20
check "and back" at 2 ping -n -q -c 3 -i 0.1 -W 1 192.168.20.10
tap_stop "$WIRE"
check "not one packet in clear" equal "$(packets "$WIRE" 'icmp')" 0
check "tshark decrypts transport mode" less 2 "$(decrypted "$WIRE" gcm 'esp && icmp.type == 8 && !(ip.addr == 192.168.30.20)' 0x010000b1 0x020000b2)"
for n in 1 2; do tell $n rm 40 both >/dev/null; tell $n unpolicy 16400 >/dev/null; done
check "without the policy they speak in clear again" waitfor 2 at 1 ping -n -q -c 1 -W 1 192.168.20.20
for h in 1 2; do at $h sysctl -qw net.ipv4.conf.all.rp_filter=0; done

# --- IPv6 within ---
check "IPv6 policy on 1" told 1 policy 16500 protect $V6NET1 $V6NET2
check "IPv6 policy on 2" told 2 policy 16500 protect $V6NET2 $V6NET1
tap "$WIRE"
check_not "IPv6 without an SA: nothing" at c ping -n -q -c 1 -W 0.5 2001:db8:30::20
check "IPv6 SA of 1" told 1 sa 41 16500 both 0x010000c1 0x020000c2 $V6NET1 $V6NET2
check "IPv6 SA of 2" told 2 sa 41 16500 both 0x020000c2 0x010000c1 $V6NET2 $V6NET1
check "IPv6 goes through the IPv4 tunnel" at c ping -n -q -c 3 -i 0.1 -W 1 2001:db8:30::20
check "IPv6 learns the path's size by itself" at c ping -n -q -c 4 -i 0.2 -W 1 -s 1452 2001:db8:30::20
tap_stop "$WIRE"
check "no IPv6 of the networks in clear" equal "$(packets "$WIRE" 'net 2001:db8:30::/64 and icmp6')" 0

# --- exceptions, and policies of ports ---
check "passthrough inside the tunnel's policy" told 1 policy 16600 pass 192.168.10.10/32 192.168.30.20/32
check "and on the other side" told 2 policy 16600 pass 192.168.30.20/32 192.168.10.10/32
tap "$WIRE"
check "the exception goes" pings 1
tap_stop "$WIRE"
check "in clear" has_packets "$WIRE" "$CLEAR_FILTER" 2
for n in 1 2; do tell $n unpolicy 16600 >/dev/null; done
tap "$WIRE"
check "without it" waitfor 2 pings 1
tap_stop "$WIRE"
check "traffic is protected again" equal "$(clear_of "$WIRE")" 0
check "a policy that drops TCP to port 5001" told 1 policy 16700 drop $NET1@6 $NET2@6,5001
check_not "drops it" tcp 5001 1000
check "and no other" tcp 5002 20000000
tell 1 unpolicy 16700 >/dev/null

# --- somebody removes the device ---
ip -n esp-1 link del ipsec0
tap "$WIRE"
check "the device that was removed comes again" waitfor 3 at 1 ip link show ipsec0
check "client reaches server again" waitfor 3 pings 1
tap_stop "$WIRE"
check "nothing crossed in clear" equal "$(clear_of "$WIRE")" 0

# --- limits ---
id=$((id + 1))
check "SAs for 40 packets" sas $id 0x010000d1 0x020000d2 packets=40
check "old ones removed" no_sas $((id - 1))
at c ping -n -q -c 50 -i 0.01 -W 0.2 192.168.30.20 >"$WORK/limit"
check "40 of 50 pings go, then the SA is dead" says '50 packets transmitted, 40 received' cat "$WORK/limit"
check "the soft limit was told" said 1 '^expire 0x020000d2 out soft'
check "the hard one as well" said 1 '^expire 0x020000d2 out hard'
check "it is counted" less 0 "$(drop_counter 1 out_expired)"

# --- kill -9 and adoption ---
id=$((id + 1))
check "fresh SAs" sas $id 0x010000e1 0x020000e2
check "old ones removed" no_sas $((id - 1))
check "client reaches server" pings 1
tap "$WIRE"
bg flood "$WORK/flood" ip netns exec esp-c ping -n -i 0.01 192.168.30.20
sleep 0.2
bg_stop g1 KILL
exec 8>&-
check_not "killed: nothing goes through" pings 1
check "its rule is there" says "216:.*from $NET1 to $NET2 lookup 220" at 1 ip rule
check "the next one starts" start 1 192.168.20.10 192.168.20.20
sleep 0.2
check "before it has a policy, nothing goes" not pings 1
check "policy" told 1 policy 16384 trap $NET1 $NET2
check "settle" told 1 settle
check "what it did not take over is gone" not grep -q 2001 <<<"$(leftovers 1)"
check "its own rule stays" says "216:.*from $NET1 to $NET2 lookup 220" at 1 ip rule
check "once" equal "$(at 1 ip rule | grep -c '^216:')" 1
check "SAs anew" told 1 sa $id 16384 both 0x010000e1 0x020000e2 $NET1 $NET2
id=$((id + 1))
check "and rekeyed, as the old sequence numbers are behind" sas $id 0x010000f1 0x020000f2
check "client reaches server" waitfor 3 pings 1
bg_stop flood INT
tap_stop "$WIRE"
check "in all this nothing crossed in clear" equal "$(clear_of "$WIRE")" 0

# --- describing, and the end ---
tell 1 describe keys >"$WORK/keys.json"
tell 1 describe >"$WORK/plain.json"
check "describe shows two states of the newest pair" jq -e '[.states[] | select(.spi == "0x010000f1" or .spi == "0x020000f2")] | length == 2' "$WORK/plain.json"
check "and three policies" jq -e '[.policies[].dir] | sort == ["fwd", "in", "out"]' "$WORK/plain.json"
check "keys only when asked" equal "$(grep -c "$(hex_key 0x010000f1 7 20)" "$WORK/plain.json" "$WORK/keys.json" | cut -d: -f2 | tr '\n' ' ')" "0 1 "
check "status counts its drops by reason" jq -e '.drops.out_no_policy >= 0 and .mtu > 0' <(tell 1 status)
check "2 stops and keeps its policies" stop 2 keep
check_not "nothing goes through" pings 1
check "sweep" start 2 192.168.20.20 192.168.20.10
check "settle without a policy removes all" told 2 settle
check "but the rules that every start makes" equal "$(at 2 ip rule | grep -c '^216:')" 0
check "1 stops" stop 1 remove
check "2 stops" stop 2 remove

# --- IPv6 outside ---
check "1 starts over IPv6" start 1 2001:db8:20::10 2001:db8:20::20
check "2 starts over IPv6" start 2 2001:db8:20::20 2001:db8:20::10
check "policy on 1" told 1 policy 16384 trap $NET1 $NET2
check "policy on 2" told 2 policy 16384 trap $NET2 $NET1
tap "$WIRE"
check "SAs" sas 1 0x01000101 0x02000102 encap-dscp
check "IPv4 goes through the IPv6 tunnel" pings
check "with its DSCP outside, as was asked" at c ping -n -q -c 2 -i 0.1 -W 1 -Q 0xb8 192.168.30.20
check "large packets, too" at c ping -n -q -c 2 -i 0.1 -W 1 -s 4000 192.168.30.20
check "the MTU fits" waitfor 3 mtu_is 1 1426
check "sockets of UDP 4500 on 1" told 1 udp 4500
check "sockets of UDP 4500 on 2" told 2 udp 4500
check "SAs in UDP" sas 2 0x01000103 0x02000104 udp esn
check "IPv4 goes through UDP over IPv6" pings
check "both ways" pings_back
tap_stop "$WIRE"
check "as IPv6 next header 50" has_packets "$WIRE" 'ip6 proto 50' 10
check "and in UDP" has_packets "$WIRE" 'ip6 and udp port 4500' 10
check "the traffic class is outside" less 1 "$(tshark -n -r "$WIRE" -Y 'esp && ipv6.tclass == 0xb8' 2>/dev/null | wc -l)"
check "nothing in clear" equal "$(clear_of "$WIRE")" 0
check "1 stops" stop 1 remove
check "2 stops" stop 2 remove

check "1 left nothing behind" nothing_there 1
check "2 left nothing behind" nothing_there 2
check "and the routers forward in clear again" pings 1
check "no report of a sanitizer" not grep -E 'Sanitizer|runtime error' "$LOGS"/router."$SUITE".g[12].log
