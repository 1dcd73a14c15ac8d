#!/bin/bash
# Sekisho on router1, Libreswan 4.10 on router2, both with the kernel's ESP and the article's
# files: either initiates, either rekeys both kinds, either closes, either starts anew.
. "$(dirname "$0")/lab.sh"
need_product
lab_up router2=libreswan
kernel_esp router1
# its script for routes takes a second in here, and answers nobody meanwhile
both auto=add leftupdown=%disabled
conf router1 auto=add
check "Libreswan starts" lsw_start router2
check "Sekisho starts" gw start router1
watch_link

rekeyed() { [ "$(x router1 state | sed -n 's/.*spi \(0x[0-9a-f]*\).*/\1/p' | sort | tr '\n' ' ')" != "$1" ]; }
kernel_spis() { x router1 state | sed -n 's/.*spi \(0x[0-9a-f]*\).*/\1/p' | sort | tr '\n' ' '; }
two_states() { equal "$(states router1)" 2; }
# When we ask for a rekey, Libreswan sends by the new SA before its answer, with which we can make keys, is
# here: the kernel may find no SA for a packet, and that many pings may get lost, but no other.
no_state() { netns router1 awk '/^XfrmInNoStates/ {print $2}' /proc/net/xfrm_stat; }
flow_lost_early() { # NO_STATE BEFORE
	local early=$(($(no_state) - $1))
	less "$early" 3 && less "$(flow_lost)" $((early + 1)) || { flow_lost_none; return 1; }
}
each_rekey() {
	local s early
	early=$(no_state)
	flow_start 0.05
	s=$(kernel_spis)
	check "Sekisho rekeys the Child SA" on router1 ipsec rekey-child net1
	check "there are new ones" waitfor 5 rekeyed "$s"
	check "and the old ones go" waitfor 10 two_states
	s=$(kernel_spis)
	check "Libreswan rekeys the Child SA" lsw_rekey_child router2
	check "there are new ones" waitfor 10 rekeyed "$s"
	check "and the old ones go" waitfor 15 two_states
	check "Sekisho rekeys the IKE SA" on router1 ipsec rekey-ike net1
	sleep 1.5
	check "Libreswan rekeys the IKE SA" lsw_rekey_ike router2
	sleep 1.5
	check "and once more the Child SA, by Sekisho" on router1 ipsec rekey-child net1
	flow_stop
	check "no ping is lost but by a new SA's first packets" flow_lost_early "$early"
}
no_states_here() { equal "$(states router1)" 0; }

# --- Sekisho initiates -------------------------------------------------------------------------
check "Sekisho initiates" up router1 40
check "pings pass" ping_ok 3
check "and back" ping_back 2
check "AES-GCM with ESN, as Libreswan would have it" says 'flag af-unspec esn' x router1 state
each_rekey
check "Sekisho closes" down router1
check "Libreswan has no SA then" waitfor 10 not lsw_has router2
check "nor has the kernel" waitfor 5 no_states_here

# --- Libreswan initiates -----------------------------------------------------------------------
check "Libreswan initiates" lsw_up router2
check "pings pass" ping_ok 3
each_rekey
check "Libreswan closes" lsw_down router2
check "Sekisho has no SA then" waitfor 10 no_child router1
check "nor has the kernel" waitfor 5 no_states_here

# --- the article's own files, and starts anew --------------------------------------------------
conf router1 auto=start
check "Sekisho takes auto=start" replace router1
check "the tunnel comes up by itself" waitfor 20 ping_ok 1
check "Libreswan stops" lsw_stop router2
check "Sekisho has no SA then" waitfor 10 no_child router1
check "and lets nothing out" ping_fails
conf router2 auto=start
check "Libreswan starts again, with auto=start" lsw_start router2
check "traffic comes back by itself" waitfor 40 ping_ok 1
check "by one pair of SAs, also when both ends began" waitfor 15 two_states
check "Sekisho is killed" crash router1
check "and started again" gw start router1
check "traffic comes back by itself" waitfor 40 ping_ok 1
check "by one pair of SAs" waitfor 15 two_states
check "Sekisho stops" gw stop router1
check "Libreswan has no SA then" waitfor 10 not lsw_has router2
check "Sekisho starts" gw start router1
check "traffic comes back by itself" waitfor 40 ping_ok 1
check "Sekisho is well" healthy router1
watch_end
check "Sekisho sent nothing of the protected networks in clear" no_clear "$WORK/1.pcap"
lsw_stop router2
gw stop router1
check "nothing is left" nothing_left router1
