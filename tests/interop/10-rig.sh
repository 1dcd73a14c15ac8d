#!/bin/bash
# The rig itself: strongSwan on both routers. When this fails, the other programs of this suite
# say nothing about the gateway.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/strongswan.sh"
ss_need
lab_up
ss_conf router1
ss_conf router2
check "strongSwan starts on router1" ss_start router1
check "strongSwan starts on router2" ss_start router2
capture router1 eth1 "$WORK/rig.pcap"
check "strongSwan initiates" ss_up router1
check "a ping goes through" ping_ok
flow_start
check "it rekeys the Child SA" ss_ctl router1 --rekey --child net1
sleep 0.5
check "it rekeys the IKE SA" ss_ctl router2 --rekey --ike net1
sleep 0.5
flow_stop
note "strongSwan to strongSwan: $(flow_lost) pings lost in two rekeys"
check "it closes" ss_ctl router1 --terminate --ike net1
check "nothing is left at its peer" waitfor 5 ss_no_ike router2
capture_stop "$WORK/rig.pcap"
check "ESP in UDP crossed the link" has_packets "$WORK/rig.pcap" "$ESP_FILTER" 4
ss_crash router2
check "strongSwan stops" ss_stop router1
