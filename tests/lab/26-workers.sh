#!/bin/bash
# Several workers: who owns which SA, packets that reach the wrong one, and what each of the kernel's
# offers is worth having a fall-back for. What goes in comes out, byte for byte.
. "$(dirname "$0")/../lib.sh"
need_product
lab_up
user_space
TUNNELS="0 1 2 3 4"

connections() { # KEY=VALUE...: five connections, to five addresses of the server
	local n
	for n in $TUNNELS; do
		conf router1 conn="t$n" rightsubnet="192.168.30.2$n/32" "$@"
		conf router2 conn="t$n" leftsubnet="192.168.30.2$n/32" "$@"
	done
	on router1 rm -f /etc/ipsec.d/net1.conf
	on router2 rm -f /etc/ipsec.d/net1.conf
}
for n in 1 2 3 4 0; do ip -n "$LAB-server" addr add "192.168.30.2$n/24" dev eth0 2>/dev/null; done

gateways() { # WORKERS1 WORKERS2 WITHOUT
	on router1 env SEKISHO_ESP_WORKERS="$1" SEKISHO_ESP_WITHOUT="$3" ipsec start &&
		on router2 env SEKISHO_ESP_WORKERS="$2" SEKISHO_ESP_WITHOUT="$3" ipsec start &&
		waitfor 5 answers router1 && waitfor 5 answers router2
}
all_up() { local n; for n in $TUNNELS; do on router1 timeout 20 ipsec auto --up "t$n" || return 1; done; }
owners() { json "$1" '[.states[] | select(.direction == "in") | .worker] | unique | length' sa; } # ROUTER
backend() { json "$1" ".backend.$2" status; } # ROUTER FILTER

# transfer HOST-ADDRESS BYTES: TCP from client to server and back; both ends agree on what it was
transfer() {
	: >"$WORK/server"
	bg server "$WORK/server" ip netns exec "$LAB-server" timeout 30 python3 -c "
import hashlib, socket
s = socket.create_server(('$1', 5000))
print('listening', flush=True)
c = s.accept()[0]
h = hashlib.sha256()
while (b := c.recv(1 << 20)): h.update(b)
c.sendall(h.digest())
c.close()"
	waitfor 5 grep -q listening "$WORK/server" || return 1
	ip netns exec "$LAB-client" timeout 30 python3 -c "
import hashlib, os, socket
c = socket.create_connection(('$1', 5000), timeout=10)
data = os.urandom($2)
c.sendall(data)
c.shutdown(socket.SHUT_WR)
got = b''
while len(got) < 32 and (b := c.recv(32)): got += b
raise SystemExit(got != hashlib.sha256(data).digest())"
	local rc=$?
	bg_stop server KILL
	return $rc
}
# datagrams ADDRESS COUNT BYTES: UDP from client to server; how many arrived as they were
datagrams() {
	: >"$WORK/server"
	bg server "$WORK/server" ip netns exec "$LAB-server" timeout 20 python3 -c "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
s.bind(('$1', 5001)); s.settimeout(10)
print('listening', flush=True)
n = 0
try:
    while True:
        b = s.recv(65536)
        s.settimeout(1.5)
        n += len(b) == $3 and b[8:] == bytes([b[7]]) * ($3 - 8)
except TimeoutError: pass
print(n)"
	waitfor 5 grep -q listening "$WORK/server" || return 1
	ip netns exec "$LAB-client" timeout 10 python3 -c "
import socket, struct, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(('$1', 5001))
for i in range($2):
    s.send(struct.pack('!Q', i) + bytes([i & 255]) * ($3 - 8))
    if i % $((10000 / $3 + 1)) == 0: time.sleep(0.002)"
	bg_wait server
	equal "$(tail -n 1 "$WORK/server")" "$2"
}

round() { # NAME WORKERS1 WORKERS2 WITHOUT KEY=VALUE...
	local name=$1 w1=$2 w2=$3 without=$4 n
	shift 4
	connections "$@"
	check "$name: the gateways start" gateways "$w1" "$w2" "$without"
	check "$name: five tunnels" all_up
	for n in $TUNNELS; do
		check "$name: a ping through tunnel $n" on client ping -n -q -c 2 -i 0.1 -W 1 "192.168.30.2$n"
		check "$name: 8 MB of TCP through tunnel $n" transfer "192.168.30.2$n" 8000000
	done
	check "$name: datagrams" datagrams 192.168.30.21 2000 200
	check "$name: large datagrams, in fragments" datagrams 192.168.30.22 50 20000
	check "$name: nothing failed to decrypt" equal "$(backend router1 'drops | .in_integrity + .in_replay')" 0
	check "$name: nor at the other end" equal "$(backend router2 'drops | .in_integrity + .in_replay')" 0
	check "$name: no queue between workers was full" equal "$(backend router1 drops.handover_queue)" 0
}
quit() { gw stop router1 router2; }

# Raw sockets: each gets a copy of every native packet, so only workers with native SAs have one.
raw_sockets() { netns "$1" awk '$2 ~ /:0032$/ {n[FILENAME]++} END {print n["/proc/net/raw"] + 0, n["/proc/net/raw6"] + 0}' /proc/net/raw /proc/net/raw6; } # ROUTER: IPv4's and IPv6's
unreachables() { netns "$1" awk '/^Icmp:/ {if (at) print $at; for (i = 2; i <= NF; i++) if ($i == "OutDestUnreachs") at = i}' /proc/net/snmp; } # ROUTER: that it sent
strays() { # native packets from router2 for SPIs of each worker that there could be: each is counted, and no ICMP error sent
	local drops errors
	drops=$(backend router1 drops.in_no_sa) errors=$(unreachables router1)
	netns router2 python3 -c "
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 50)
for worker in range(64):
    s.sendto(struct.pack('!II', 1 << 24 | worker << 18 | 0x3ffff, 1) + bytes(64), ('192.168.20.10', 0))" || return 1
	waitfor 3 stray_count $((drops + 64)) && sleep 0.2 && stray_count $((drops + 64)) && equal "$(unreachables router1)" "$errors"
}
stray_count() { equal "$(backend router1 drops.in_no_sa)" "$1"; }
down_but() { local n; for n in $TUNNELS; do [ "$n" = "$1" ] || on router1 timeout 10 ipsec auto --down "t$n" || return 1; done; } # TUNNEL

round "native ESP" 3 2 "" auto=add
check "the SAs have all three workers of router1 as owners" equal "$(owners router1)" 3
check "and both of router2" equal "$(owners router2)" 2
check "each worker has a raw socket, and none of them more than one for IPv6: router1" equal "$(raw_sockets router1)" "3 1"
check "router2" equal "$(raw_sockets router2)" "2 1"
check "strays are counted once each, whoever's they would be" strays
check "status names the workers" equal "$(backend router1 workers)" 3
check "and the encapsulation, with what the other would bring" says 'encapsulation: native ESP: 5, in UDP: 0;.*encapsulation=yes' on router1 ipsec status
check "with several tunnels some packets reached the wrong worker first, and then the right one" less 0 "$(backend router1 traffic.handed_over)"
removed() { local i; for i in 1 2 3; do on router1 ip link del ipsec0 && waitfor 5 on router1 ip link show ipsec0 || return 1; done; }
check "the device is removed three times, and comes again" removed
for n in $TUNNELS; do check "a ping goes through tunnel $n" waitfor 5 on client ping -n -q -c 1 -W 1 "192.168.30.2$n"; done
check "and TCP" transfer 192.168.30.20 8000000
one=$(json router1 '[.states[] | select(.direction == "in" and .worker > 0) | .connection][0] | ltrimstr("t") | tonumber' sa)
wakeups() { # ROUTER: how often its workers have slept so far
	on "$1" sh -c 'for t in /proc/$(pgrep -x pluto)/task/*; do case $(cat "$t/comm") in esp[0-9]*) cat "$t/status" ;; esac; done' |
		awk '/^voluntary/ {n += $2} END {print n}'
}
sleepy() { local n; n=$(wakeups router1) && sleep 2.2 && less "$(wakeups router1)" $((n + 3)); }
check "without traffic the three workers sleep" waitfor 10 sleepy
check "all tunnels but one go down" down_but "$one"
check "its owner's raw socket stays alone: router1" waitfor 15 equal_count raw_sockets router1 "1 1"
check "router2" waitfor 15 equal_count raw_sockets router2 "1 1"
check "TCP through the tunnel" transfer "192.168.30.2$one" 8000000
check "strays are counted as before" strays
check "the others come up again" all_up
check "and so do the raw sockets" equal "$(raw_sockets router1) $(raw_sockets router2)" "3 1 2 1"
for n in $TUNNELS; do check "a ping through tunnel $n" on client ping -n -q -c 2 -i 0.1 -W 1 "192.168.30.2$n"; done
check "nothing was taken twice" equal "$(backend router1 'drops.in_replay') $(backend router2 'drops.in_replay')" "0 0"
check "stop" quit

round "ESP in UDP" 3 2 "" auto=add encapsulation=yes
check "status names the kernel's offers in use" says 'features: device_tcp device_udp udp_segmentation udp_coalescing' on router1 ipsec status
check "many packets went out by one call" less "$(backend router1 traffic.wire_sends)" "$(backend router1 'traffic.out_packets / 2')"
check "and came in by one" less "$(backend router2 traffic.device_writes)" "$(backend router2 'traffic.in_packets / 2')"
check "without native SAs there is one raw socket" equal "$(raw_sockets router1) $(raw_sockets router2)" "1 1 1 1"
check "which counts strays" strays
check "the kernel steered by SPI: few detours" less "$(backend router2 traffic.handed_over)" "$(backend router2 'traffic.in_packets / 4')"
check "stop" quit

# RFC 9611: beside the SA for all traffic one more for each worker, as many as the end with more of them has
resources() { # ROUTER: how many workers have SAs of their own in each of the five tunnels
	on "$1" ipsec status --json | jq -c '[.states[] | select(.kind == "child" and .resource > 0 and .state == "established")] |
		group_by(.connection) | map([.[].resource] | unique | length)'
}
carriers() { json "$1" '[.states[] | select(.direction == "out" and .packets > 100) | .worker] | unique | length' sa; } # ROUTER
rekey_all() { local n; for n in $TUNNELS; do on router1 ipsec rekey-child "t$n" || return 1; done; }
none_of() { [ -z "$(tr ' ' '\n' <<<"$1 $(spis router1)" | sort | uniq -d)" ]; } # SPIS: none is in use any more
moving() { # transfers, one after the other, until there is no $WORK/move; prints how many
	local n=0
	while [ -e "$WORK/move" ]; do transfer 192.168.30.23 20000000 || return 1; n=$((n + 1)); done
	echo "$n"
}

round "SAs of workers" 3 2 "" auto=add encapsulation=yes clones=yes
check "each of router1's three workers has SAs of all tunnels" waitfor 10 equal_count resources router1 "[3,3,3,3,3]"
check "and each of router2's two" waitfor 10 equal_count resources router2 "[2,2,2,2,2]"
check "showstates tells which" says 'resource 3; idle;' on router1 ipsec showstates
check "more than one worker of router1 sent" less 1 "$(carriers router1)"
old=$(spis router1)
touch "$WORK/move"
bg move "$WORK/moved" moving
flow_start
check "all are rekeyed under traffic" rekey_all
check "the old SAs are gone" waitfor 10 none_of "$old"
flow_stop
rm "$WORK/move"
check "the transfers went through" bg_wait move
check "there were some" less 0 "$(cat "$WORK/moved")"
check "no ping was lost" flow_lost_none
check "each worker has SAs again: router1" waitfor 10 equal_count resources router1 "[3,3,3,3,3]"
check "router2" waitfor 10 equal_count resources router2 "[2,2,2,2,2]"
for r in router1 router2; do
	check "nothing failed to decrypt: $r" equal "$(backend $r 'drops | .in_integrity + .in_replay')" 0
done
check "stop" quit

round "ESP in UDP with CBC and HMAC" 2 2 "" auto=add encapsulation=yes esp=aes256-sha2_256
check "stop" quit
round "without offers" 2 1 "device_tcp udp_segmentation udp_coalescing" auto=add encapsulation=yes
check "status says what is missing" says 'not here: device_tcp device_udp udp_segmentation udp_coalescing' on router1 ipsec status
check "stop" quit
round "only segmentation" 1 2 "udp_coalescing device_udp" auto=add encapsulation=yes
check "stop" quit
