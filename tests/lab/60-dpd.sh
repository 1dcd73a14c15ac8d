#!/bin/bash
# A peer that vanishes is noticed within dpddelay and the retransmission timeout, and is looked
# for again until it is back.
. "$(dirname "$0")/../lib.sh"
need_product
lab_up
user_space
both auto=start dpddelay=2 retransmit-timeout=3s
check "the daemons start" start_both
check "the tunnel is up" waitfor 10 ping_ok 1
sleep 5
check "an idle tunnel stays up" child_up router1
before=$(spis router1)
check "and is the same" equal "$(spis router1)" "$before"

WIRE=$WORK/link.pcap
capture router1 eth1 "$WIRE"
sleep 3
capture_stop "$WIRE"
check "liveness checks cross the link (INFORMATIONAL)" seen "$WIRE" 'isakmp.exchangetype == 37'

ip -n "$LAB-router2" link set eth1 down
t=$(now)
check "the link is cut: router1 notices" waitfor 12 no_child router1
note "after $(since "$t") s; dpddelay + retransmit-timeout = 5 s"
check "in time" less "$(since "$t")" 7
check "router2 notices" waitfor 12 no_child router2
check "no ping goes through" ping_fails
ip -n "$LAB-router2" link set eth1 up
ip -n "$LAB-router2" route replace 192.168.10.0/24 via 192.168.20.10
t=$(now)
check "the link is back: so is the tunnel" waitfor 30 ping_ok 1
note "after $(since "$t") s"

# loss on the way is no death
netns router2 sh -c 'nft add table ip lost; nft add chain ip lost in "{ type filter hook input priority 0; }"; nft add rule ip lost in udp dport 500 numgen random mod 2 == 0 drop'
before=$(spis router1)
sleep 8
netns router2 nft delete table ip lost
check "half of the IKE messages lost: the tunnel stays" waitfor 5 child_up router1

# dpdaction=clear lets go
both auto=add dpddelay=1 retransmit-timeout=2s dpdaction=clear
reload >/dev/null
check "dpdaction=clear: up" up
crash router2
check "dpdaction=clear: noticed" waitfor 8 no_child router1
sleep 2
check "dpdaction=clear: not tried again" no_states router1
check "router1 is well" healthy router1
