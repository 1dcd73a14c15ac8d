#!/bin/bash
# What does not fit between the two: it is told, with both sides' values, and nothing is left.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/strongswan.sh"
. "$(dirname "$0")/steps.sh"
ss_need
need_product
lab_up
setup router1 protostack=user
both_started

ss_conf router2 secret=another
ss_reload router2 >/dev/null
check "wrong PSK: --up fails and says why" fails_saying 'AUTHENTICATION_FAILED' on router1 timeout 20 ipsec auto --up net1
on router1 ipsec auto --down net1 >/dev/null 2>&1
check "wrong PSK: nothing is left" waitfor 5 no_states router1
check_not "wrong PSK: strongSwan cannot come in either" ss_up router2
check "wrong PSK: nothing is left" waitfor 5 no_states router1
check "wrong PSK: the log names the identity" logged router1 'AUTHENTICATION_FAILED|authentication failed'

ss_conf router2 proposals=aes128-sha256-ecp384
ss_reload router2 >/dev/null
sekisho_load ike=aes_gcm256-sha2_512-dh19 >/dev/null
check "no common IKE proposal: --up fails and says why" fails_saying 'NO_PROPOSAL_CHOSEN' on router1 timeout 40 ipsec auto --up net1
on router1 ipsec auto --down net1 >/dev/null 2>&1
check_not "no common IKE proposal: strongSwan cannot come in either" ss_up router2

ss_conf router2 esp_proposals=aes128-sha256
ss_reload router2 >/dev/null
sekisho_load esp=aes_gcm256 >/dev/null
check "no common ESP proposal: --up fails and says why" fails_saying 'NO_PROPOSAL_CHOSEN' on router1 timeout 20 ipsec auto --up net1
on router1 ipsec auto --down net1 >/dev/null 2>&1
check_not "no common ESP proposal: strongSwan cannot come in either" ss_up router2

ss_conf router2 local_ts=192.168.40.0/24
ss_reload router2 >/dev/null
sekisho_load >/dev/null
check "no common selectors: --up fails and says why" fails_saying 'TS_UNACCEPTABLE' on router1 timeout 20 ipsec auto --up net1
on router1 ipsec auto --down net1 >/dev/null 2>&1
check "nothing is left" waitfor 5 no_states router1

# strongSwan asks for less than the connection has: the responder narrows where it may
ss_conf router2 local_ts=192.168.30.0/27 remote_ts=192.168.10.0/27
ss_reload router2 >/dev/null
sekisho_load narrowing=yes >/dev/null
check "narrower selectors: strongSwan initiates" ss_up router2
check "narrower selectors: a ping goes through" ping_ok
ss_ctl router2 --terminate --ike net1 >/dev/null 2>&1

# the first group does not fit, the second does
ss_conf router2 proposals=aes256gcm16-prfsha512-ecp256
ss_reload router2 >/dev/null
sekisho_load ike=aes_gcm256-sha2_512-dh14+dh19 >/dev/null
check "INVALID_KE_PAYLOAD: the gateway tries again with the group it is told" sekisho_up
check "INVALID_KE_PAYLOAD: a ping goes through" ping_ok
sekisho_down >/dev/null
ss_conf router2 proposals=aes256gcm16-prfsha512-modp2048-ecp256
ss_reload router2 >/dev/null
sekisho_load ike=aes_gcm256-sha2_512-dh19 >/dev/null
check "INVALID_KE_PAYLOAD: strongSwan is told the group" ss_up router2
check "INVALID_KE_PAYLOAD: a ping goes through" ping_ok
check "the gateway is well" healthy router1
