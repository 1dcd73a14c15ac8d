#!/bin/bash
# Rekeys lose nothing: ten of each kind on either side under a ping every 10 ms, both sides at
# once, and by themselves when lifetimes are short.
. "$(dirname "$0")/../lib.sh"
need_product
lab_up
user_space
both auto=add
check "the tunnel is up" tunnel
WIRE=$WORK/link.pcap
capture router1 eth1 "$WIRE"

ten() { local i; for i in 1 2 3 4 5 6 7 8 9 10; do on "$1" ipsec "$2" net1 || return 1; sleep 0.1; done; }
# each worker has one more Child SA, as many at both ends; none with one worker
of_workers() { on "$1" ipsec status --json | jq -r '[.states[] | select(.kind == "child" and .resource > 0 and .state == "established") | .resource] | sort | join(" ")'; }
most() { local a b; a=$(clones router1) b=$(clones router2); echo $((a == 0 || b == 0 ? 0 : a > b ? a : b)); }
one_of_each_worker() { local r; for r in router1 router2; do [ "$(of_workers $r | wc -w)" = "$(most)" ] || return 1; done; }
one_each() { local r; for r in router1 router2; do [ "$(ike_sas $r)" = 1 ] && [ "$(children $r)" = 1 ] || return 1; done; }
for r in router1 router2; do
	for kind in rekey-child rekey-ike; do
		before=$(spis router1)
		flow_start
		check "$r: ten times $kind" ten $r $kind
		sleep 0.3
		flow_stop
		check "$r: $kind lost no ping" flow_lost_none
		[ $kind = rekey-ike ] || check "$r: the SPIs are new" not equal "$(spis router1)" "$before"
		[ $kind = rekey-child ] || check "$r: the Child SA moved along" equal "$(spis router1)" "$before"
		check "$r: one IKE SA and one Child SA are left on both" waitfor 5 one_each
	done
done

# both at the same time (RFC 7296 §2.8.1, §2.8.2): one SA of each survives
flow_start
collide() { local i p; for i in 1 2 3 4 5; do on router1 ipsec "$1" net1 & p=$!; on router2 ipsec "$1" net1; wait $p; sleep 0.3; done; true; }
check "both rekey the Child SA at once" collide rekey-child
check "one IKE SA and one Child SA are left on both" waitfor 10 one_each
check "both rekey the IKE SA at once" collide rekey-ike
check "one IKE SA and one Child SA are left on both" waitfor 10 one_each
sleep 0.3
flow_stop
check "collisions lost no ping" flow_lost_none
check "the Child SAs of workers are as many as there were" waitfor 40 one_of_each_worker

# by themselves: the Child SA after 3 to 4 s, the IKE SA after 7 to 8 s
both auto=add salifetime=6s ikelifetime=10s rekeymargin=2s rekeyfuzz=10%
check "short lifetimes are loaded" reload
check "the tunnel is up" up
child_before=$(spis router1)
ike_before=$(on router1 ipsec status --json | jq -r '[.states[] | select(.kind == "ike") | .spi_i] | sort | join(" ")')
flow_start
sleep 20
flow_stop
check "20 s of short lifetimes lost no ping" flow_lost_none
check "the Child SA has been rekeyed" not equal "$(spis router1)" "$child_before"
check "the IKE SA has been rekeyed" not equal \
	"$(on router1 ipsec status --json | jq -r '[.states[] | select(.kind == "ike") | .spi_i] | sort | join(" ")')" "$ike_before"
check "one IKE SA and one Child SA are left on both" waitfor 10 one_each
capture_stop "$WIRE"
check "nothing crossed in clear" no_clear "$WIRE"
check "the Child SAs' sequence numbers never repeat" equal "$(shark "$WIRE" esp -T fields -e ip.dst -e esp.spi -e esp.sequence | sort | uniq -d)" ""
for r in router1 router2; do check "$r is well" healthy $r; done
