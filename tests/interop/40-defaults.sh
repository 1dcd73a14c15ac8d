#!/bin/bash
# What people have: the defaults of both. strongSwan's default for ESP names no key exchange,
# Sekisho's (pfs=yes by default) prefers one: the first Child SA and every rekey have to work all
# the same. strongSwan expands the keys of a rekeyed IKE SA with the old SA's PRF, where RFC 7296
# §2.18 asks for the new SA's: the two agree only when a rekey keeps the PRF.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/strongswan.sh"
. "$(dirname "$0")/steps.sh"
ss_need
need_product
lab_up
setup router1 protostack=user
both_started
for who in sekisho strongswan; do
	if [ $who = sekisho ]; then
		check "defaults: the gateway initiates" sekisho_up
	else
		check "defaults: strongSwan initiates" ss_up router2
	fi
	check "defaults, $who: a ping goes through" ping_ok
	flow_start
	check "defaults, $who: the gateway rekeys the Child SA" renewed ss2_esp_spis on router1 ipsec rekey-child net1
	check "defaults, $who: strongSwan rekeys the Child SA" renewed ss2_esp_spis ss_ctl router2 --rekey --child net1
	check "defaults, $who: strongSwan rekeys the IKE SA" renewed ss2_ike_spis ss_ctl router2 --rekey --ike net1
	sleep 0.3
	check "defaults, $who: the gateway rekeys the IKE SA" renewed ss2_ike_spis on router1 ipsec rekey-ike net1
	sleep 0.3
	check "defaults, $who: strongSwan rekeys the Child SA under the new keys" renewed ss2_esp_spis ss_ctl router2 --rekey --child net1
	sleep 0.5
	flow_stop
	check "defaults, $who: no ping was lost" flow_lost_none
	if [ $who = sekisho ]; then
		# what was brought up is to stay up: a peer that closes is called again
		check "defaults, $who: strongSwan closes" ss_ctl router2 --terminate --ike net1
		check "defaults, $who: the gateway calls it again" waitfor 5 ping_ok 1
	fi
	check "defaults, $who: the gateway closes" sekisho_down
	check "defaults, $who: nothing is left at strongSwan" waitfor 5 ss_no_ike router2
	check "defaults, $who: nothing is left at the gateway" waitfor 5 no_child router1
done

# With the group written on the gateway's side only, what it wrote is what it asks for.
ss_conf router2 esp_proposals=aes256gcm16
ss_reload router2 >/dev/null
sekisho_load ike=aes_gcm256-sha2_512-dh19 esp=aes_gcm256 pfs=no >/dev/null
check "pfs=no: it comes up" sekisho_up
check "pfs=no: the gateway rekeys the Child SA" renewed ss2_esp_spis on router1 ipsec rekey-child net1
check "pfs=no: a ping goes through" ping_ok
sekisho_down >/dev/null

check "the gateway is well" healthy router1
