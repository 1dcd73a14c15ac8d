#!/bin/bash
# What lies between the gateways: a NAT, a small MTU, fragments, ECN.
. "$(dirname "$0")/../lib.sh"
need_product
lab_up
user_space

# encapsulation=yes: ESP in UDP without a NAT
both auto=add encapsulation=yes
check "encapsulation=yes: up" tunnel
WIRE=$WORK/udp.pcap
capture router1 eth1 "$WIRE"
check "encapsulation=yes: a ping goes through" ping_ok 3
capture_stop "$WIRE"
check "encapsulation=yes: tshark sees ESP in UDP 4500" seen "$WIRE" 'udp.port == 4500 && udpencap && esp'
check "encapsulation=yes: no protocol 50" equal "$(packets "$WIRE" 'ip proto 50')" 0
check "encapsulation=yes: rekey-child" on router1 ipsec rekey-child net1
check "encapsulation=yes: rekey-ike" on router1 ipsec rekey-ike net1
check "encapsulation=yes: a ping goes through" ping_ok

# sizes
for how in yes no; do
	both auto=add encapsulation=$how
	reload >/dev/null
	up >/dev/null
	check "encapsulation=$how: a ping of 4000 bytes (fragments)" on client ping -n -q -c 3 -i 0.1 -W 1 -s 4000 192.168.30.20
	check "encapsulation=$how: of 1472 bytes" on client ping -n -q -c 3 -i 0.1 -W 1 -s 1472 192.168.30.20
	check "encapsulation=$how: of 20000 bytes, the other way" on server ping -n -q -c 3 -i 0.1 -W 1 -s 20000 192.168.10.10
	check "encapsulation=$how: with DF, what fits passes" on client ping -n -q -c 3 -i 0.1 -W 1 -M "do" -s 1300 192.168.30.20
	on client ip route flush cache
	check "encapsulation=$how: with DF, what does not fit is told the MTU" fails_saying '[Ff]rag needed|message too long|Message too long' \
		on client ping -n -c 3 -i 0.2 -W 1 -M "do" -s 1472 192.168.30.20
	down >/dev/null
done

# a smaller MTU on the way: TCP finds its size
ip -n "$LAB-router1" link set eth1 mtu 1300
ip -n "$LAB-router2" link set eth1 mtu 1300
up >/dev/null
# the first packets teach the gateways the new size
on client ping -n -q -c 3 -i 0.1 -W 1 -s 2000 192.168.30.20 >/dev/null
check "MTU 1300 between the gateways: a ping of 2000 bytes" on client ping -n -q -c 2 -i 0.1 -W 1 -s 2000 192.168.30.20
check "MTU 1300: TCP gets through" sh -c "
	ip netns exec $LAB-server timeout 20 python3 -c '
import socket
c = socket.create_server((\"192.168.30.20\", 5000)).accept()[0]
n = 0
while (b := c.recv(65536)): n += len(b)
print(n)' >$WORK/tcp &
	sleep 0.5
	ip netns exec $LAB-client timeout 20 python3 -c '
import socket
s = socket.create_connection((\"192.168.30.20\", 5000), timeout=5)
s.sendall(bytes(1 << 20))
s.close()'
	wait
	grep -qx 1048576 $WORK/tcp"
ip -n "$LAB-router1" link set eth1 mtu 1500
ip -n "$LAB-router2" link set eth1 mtu 1500
down >/dev/null

# ECN goes over to the outer header (RFC 6040)
up >/dev/null
WIRE=$WORK/ecn.pcap
capture router1 eth1 "$WIRE"
on client ping -n -q -c 2 -i 0.1 -W 1 -Q 0x02 192.168.30.20 >/dev/null
capture_stop "$WIRE"
check "ECT(0) is copied to the outer header" has_packets "$WIRE" "ip proto 50 and ip[1] & 3 == 2" 2
down >/dev/null
gw stop router1 router2 >/dev/null

# a NAT: router1 appears as another address, with another port
lab_down
lab_up
user_space
netns router1 nft -f - <<'N'
table ip nat {
	chain post {
		type nat hook postrouting priority 100;
		oifname "eth1" udp sport { 500, 4500 } masquerade to :30000-40000 random
	}
}
N
conf router1 auto=add leftid=@one rightid=@two
conf router2 auto=add leftid=@two rightid=@one right=%any
secret router1 '@one @two : PSK "net1234567890"'
secret router2 '@one @two : PSK "net1234567890"'
check "a NAT in front of router1: the daemons start" start_both
WIRE=$WORK/nat.pcap
capture router2 eth1 "$WIRE"
check "a NAT in front of router1: up" up
check "a NAT in front of router1: a ping goes through" ping_ok 3
check "and one the other way" ping_back 3
check "rekey-child from inside" on router1 ipsec rekey-child net1
check "rekey-ike from inside" on router1 ipsec rekey-ike net1
check "a ping goes through" ping_ok
capture_stop "$WIRE"
check "ESP is in UDP" seen "$WIRE" 'udp.port == 4500 && esp'
check "from a port that is not 4500" has_packets "$WIRE" 'src host 192.168.20.10 and udp dst port 4500 and not udp src port 4500' 3
check "status tells of the NAT" says '"nat": *"(local|both)"' on router1 ipsec status --json
for r in router1 router2; do check "$r is well" healthy $r; done
