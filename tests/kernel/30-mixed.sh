#!/bin/bash
# Sekisho with the kernel's ESP to Sekisho with its own, in both roles.
. "$(dirname "$0")/lab.sh"
need_product
lab_up
kernel_esp router1
setup router2 protostack=user
both auto=add
watch_link
check "both gateways start" start_both
check "one with the kernel's ESP" json router1 '.protostack == "xfrm"' status
check "the other one with its own" json router2 '.protostack == "user"' status
each_way() {
	local r o
	for r in router1 router2; do
		o=router1
		[ $r != router1 ] || o=router2
		check "$1: $r initiates" up $r
		check "pings pass" ping_ok 3
		check "and back" ping_back 2
		flow_start 0.02
		check "$r rekeys the Child SA" on $r ipsec rekey-child net1
		check "$o rekeys the Child SA" on $o ipsec rekey-child net1
		check "$r rekeys the IKE SA" on $r ipsec rekey-ike net1
		sleep 0.5
		flow_stop
		check "no ping is lost" flow_lost_none
		# the other one would bring it up again, as it was told to
		check "$r closes" down $r
		check "no SA is left" waitfor 5 no_child $o
		check "nor here" waitfor 5 no_child $r
	done
}
each_way "native ESP"
both auto=add encapsulation=yes
check "both take another configuration" reload
each_way "ESP in UDP"
both auto=add esp=aes256-sha2_512 esn=no
check "both take another configuration" reload
each_way "AES-CBC"
watch_end
check "nothing of the protected networks was sent in clear" link_clean
check "router1 is well" healthy router1
check "router2 is well" healthy router2
check "both stop" gw stop router1 router2
check "nothing is left of router1" nothing_left router1
