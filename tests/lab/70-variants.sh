#!/bin/bash
# Algorithms, groups, modes, selectors and sequence numbers: each comes up, carries a ping, and
# is what the report says.
. "$(dirname "$0")/../lib.sh"
need_product
lab_up
user_space
both auto=add
check "the daemons start" start_both

try() { # NAME PATTERN-OF-ALGORITHMS KEY=VALUE...
	local name=$1 want=$2
	shift 2
	both auto=add "$@"
	if ! reload >"$WORK/reload" 2>&1; then check "$name: loaded" cat "$WORK/reload"; fi
	check "$name: up" up || return 0
	check "$name: a ping goes through" ping_ok
	check "$name: status says so" says "$want" on router1 ipsec status --json
	down >/dev/null 2>&1
}
for a in aes_gcm256:AES_GCM_16_256 aes_gcm128:AES_GCM_16_128 chacha20_poly1305:CHACHA20_POLY1305 \
	aes256-sha2_512:AES_CBC_256-HMAC_SHA2_512 aes256-sha2_384:AES_CBC_256-HMAC_SHA2_384 aes192-sha2_256:AES_CBC_192-HMAC_SHA2_256 \
	aes128-sha2_256:AES_CBC_128-HMAC_SHA2_256; do
	try "esp=${a%:*}" "\"esp_algorithms\": *\"${a#*:}" "esp=${a%:*}"
done
for a in aes_gcm256-sha2_512:AES_GCM_16_256-HMAC_SHA2_512 aes_gcm128-sha2_256:AES_GCM_16_128-HMAC_SHA2_256 \
	chacha20_poly1305-sha2_256:CHACHA20_POLY1305-HMAC_SHA2_256 aes256-sha2_512:AES_CBC_256-HMAC_SHA2_512 \
	aes192-sha2_384:AES_CBC_192-HMAC_SHA2_384 aes128-sha2_256:AES_CBC_128-HMAC_SHA2_256; do
	try "ike=${a%:*}" "\"ike_algorithms\": *\"${a#*:}" "ike=${a%:*}-dh19"
done
for g in dh14:MODP2048 dh15:MODP3072 dh16:MODP4096 dh18:MODP8192 dh19:DH19 dh20:DH20 dh21:DH21 dh31:DH31; do
	try "group ${g%:*}" "\"ike_algorithms\": *\"AES_GCM_16_256-HMAC_SHA2_512-(${g#*:}|${g%:*}|DH${g#dh}|[A-Z0-9_]+)\"" "ike=aes_gcm256-sha2_512-${g%:*}" "esp=aes_gcm256-${g%:*}"
done
# a group of its own in the rekey of the Child SA
both auto=add ike=aes_gcm256-sha2_512-dh19 esp=aes_gcm256-dh31
reload >/dev/null
check "pfs with another group: up" up
check "pfs with another group: rekey-child" on router1 ipsec rekey-child net1
check "pfs with another group: a ping goes through" ping_ok
down >/dev/null

try "esn=yes" '"esn": *true' esn=yes
try "esn=no" '"esn": *false' esn=no
try "esn=either" '"esn": *true' esn=either
try "replay-window=0" '"replay_window": *0' replay-window=0
try "replay-window=1024" '"replay_window": *1024' replay-window=1024
try "pfs=no" '"esp_algorithms"' pfs=no

# the first group of the initiator is not one of the responder's
conf router1 auto=add ike=aes_gcm256-sha2_512-dh14+dh19
conf router2 auto=add ike=aes_gcm256-sha2_512-dh19
reload >/dev/null
WIRE=$WORK/ke.pcap
capture router1 eth1 "$WIRE"
check "INVALID_KE_PAYLOAD: it comes up all the same" up
check "INVALID_KE_PAYLOAD: a ping goes through" ping_ok
capture_stop "$WIRE"
check "INVALID_KE_PAYLOAD: the notify is on the wire" seen "$WIRE" 'isakmp.notify.msgtype == 17'
down >/dev/null

# COOKIE
setup router2 protostack=user ddos-mode=busy
gw stop router2 >/dev/null
both auto=add
gw start router2 >/dev/null
waitfor 5 answers router2 >/dev/null
reload >/dev/null 2>&1
WIRE=$WORK/cookie.pcap
capture router1 eth1 "$WIRE"
check "COOKIE demanded: it comes up" up
check "COOKIE demanded: a ping goes through" ping_ok
capture_stop "$WIRE"
check "COOKIE demanded: the notify goes both ways" equal \
	"$(shark "$WIRE" 'isakmp.notify.msgtype == 16390' -T fields -e ip.src | sort -u | tr '\n' ' ')" "192.168.20.10 192.168.20.20 "
down >/dev/null
conf router1 auto=add ike=aes_gcm256-sha2_512-dh14+dh19
conf router2 auto=add ike=aes_gcm256-sha2_512-dh19
reload >/dev/null
check "COOKIE and INVALID_KE_PAYLOAD together: it comes up" up
down >/dev/null
setup router2 protostack=user
gw stop router2 >/dev/null
both auto=add
gw start router2 >/dev/null
waitfor 5 answers router2 >/dev/null

# transport mode, host to host
both auto=add type=transport leftsubnet= rightsubnet=
reload >/dev/null
WIRE=$WORK/transport.pcap
capture router1 eth1 "$WIRE" 'not arp and not icmp6'
check "transport: up" up
check "transport: the mode is agreed" says 'IPsec transport|mode transport' sh -c "$TOP/lab/lab exec router1 ipsec sa; $TOP/lab/lab exec router1 ipsec status"
check "transport: gateway reaches gateway" on router1 ping -n -q -c 3 -i 0.1 -W 1 192.168.20.20
capture_stop "$WIRE"
check "transport: ESP on the wire" has_packets "$WIRE" "$ESP_FILTER" 6
check "transport: no ICMP in clear" equal "$(packets "$WIRE" icmp)" 0
down >/dev/null

# several selectors in one Child SA
for n in 1 2; do
	ip -n "$LAB-client" addr add 10.1.$n.1/32 dev lo
	ip -n "$LAB-server" addr add 10.2.$n.1/32 dev lo
	ip -n "$LAB-router1" route add 10.1.$n.0/24 via 192.168.10.10
	ip -n "$LAB-router2" route add 10.2.$n.0/24 via 192.168.30.20
	ip -n "$LAB-router1" route add 10.2.$n.0/24 via 192.168.20.20
	ip -n "$LAB-router2" route add 10.1.$n.0/24 via 192.168.20.10
done
conf router1 auto=add leftsubnet=192.168.10.0/24,10.1.1.0/24,10.1.2.0/24 rightsubnet=192.168.30.0/24,10.2.1.0/24,10.2.2.0/24
conf router2 auto=add leftsubnet=192.168.30.0/24,10.2.1.0/24,10.2.2.0/24 rightsubnet=192.168.10.0/24,10.1.1.0/24,10.1.2.0/24
reload >/dev/null
WIRE=$WORK/many.pcap
capture router1 eth1 "$WIRE" 'net 10.0.0.0/8 or net 192.168.10.0/24 or net 192.168.30.0/24'
check "several selectors: up" up
check "several selectors: one Child SA" equal "$(children router1)" 1
for p in "10.1.1.1 10.2.1.1" "10.1.1.1 10.2.2.1" "10.1.2.1 10.2.1.1" "10.1.2.1 192.168.30.20" "192.168.10.10 10.2.2.1" "192.168.10.10 192.168.30.20"; do
	check "several selectors: ${p/ / to }" on client ping -n -q -c 2 -i 0.1 -W 1 -I "${p% *}" "${p#* }"
done
check "several selectors: rekey-child keeps them" on router1 ipsec rekey-child net1
check "several selectors: 10.1.2.1 to 10.2.2.1" on client ping -n -q -c 2 -i 0.1 -W 1 -I 10.1.2.1 10.2.2.1
capture_stop "$WIRE"
check "several selectors: nothing in clear" equal "$(packets "$WIRE" '')" 0
down >/dev/null

# protocols and ports: only what the selectors name goes in; the rest is left as it was
conf router1 auto=add leftprotoport=icmp rightprotoport=icmp
conf router2 auto=add leftprotoport=icmp rightprotoport=icmp
reload >/dev/null
WIRE=$WORK/icmp.pcap
capture router1 eth1 "$WIRE"
check "protoport=icmp: up" up
check "protoport=icmp: a ping goes through" ping_ok
on client sh -c 'echo hello >/dev/udp/192.168.30.20/9' 2>/dev/null || on client bash -c 'echo hello >/dev/udp/192.168.30.20/9'
capture_stop "$WIRE"
check "protoport=icmp: ICMP is protected" equal "$(packets "$WIRE" 'icmp[icmptype] == icmp-echo')" 0
check "protoport=icmp: UDP is not covered" has_packets "$WIRE" 'udp dst port 9' 1
down >/dev/null

# the responder narrows
conf router1 auto=add rightsubnet=192.168.30.0/25
conf router2 auto=add narrowing=yes
reload >/dev/null
check "narrowing: up with the smaller subnet" up
check "narrowing: a ping goes through" ping_ok
check "narrowing: the Child SA has it" json router2 '[.states[] | select(.kind == "child") | .local_ts[]] | any(. == "192.168.30.0/25")' status
for r in router1 router2; do check "$r is well" healthy $r; done
