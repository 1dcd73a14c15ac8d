#!/bin/bash
# From "up" on nothing that the policy covers leaves in clear: not between SAs, not after kill -9
# of the daemon, not while it starts again.
. "$(dirname "$0")/../lib.sh"
need_product
lab_up
user_space
both auto=start dpddelay=2 retransmit-timeout=4s
WIRE=$WORK/link.pcap
capture router1 eth1 "$WIRE"
bg flood "$WORK/flood" ip netns exec "$LAB-client" ping -n -i 0.01 192.168.30.20
bg flood2 "$WORK/flood2" ip netns exec "$LAB-server" ping -n -i 0.01 192.168.10.10
sleep 0.3
# until here the routers forward in clear: the capture has to see that, or it proves nothing
check "without gateways the pings cross in clear" has_packets "$WIRE" "$CLEAR_FILTER" 4
capture_stop "$WIRE"
check "router1 starts" gw start router1
check "router2 starts" gw start router2
check "both answer" waitfor 5 answers router2
capture router1 eth1 "$WIRE"
check "the tunnel is up" waitfor 10 ping_ok 1

crash router2
sleep 1
check "router2 is killed: no ping goes through" ping_fails
check "router2 starts again" gw start router2
t=$(now)
check "traffic resumes by itself" waitfor 20 ping_ok 1
note "after $(since "$t") s"

crash router1
sleep 1
check "router1 is killed: no ping goes through" ping_fails
check "router1 starts again" gw start router1
t=$(now)
check "traffic resumes by itself" waitfor 20 ping_ok 1
note "after $(since "$t") s"

crash router1
crash router2
sleep 0.5
check "both start again" gw start router1 router2
check "traffic resumes by itself" waitfor 20 ping_ok 1

capture_stop "$WIRE"
check "in all this nothing crossed in clear" no_clear "$WIRE"

capture router1 eth1 "$WIRE"
check "restart of router1" on router1 ipsec restart
check "traffic resumes by itself" waitfor 20 ping_ok 1
capture_stop "$WIRE"
check "restart: nothing crossed in clear" no_clear "$WIRE"
bg_stop flood INT
bg_stop flood2 INT
check "one IKE SA is left on router1" waitfor 10 equal_count ike_sas router1 1
check "one Child SA is left on router2" waitfor 10 equal_count children router2 1
for r in router1 router2; do check "$r is well" healthy $r; done
