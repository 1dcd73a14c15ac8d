#!/bin/bash
# strongSwan on router2 initiates to Sekisho on router1; otherwise as 20-initiate.sh.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/strongswan.sh"
. "$(dirname "$0")/steps.sh"
ss_need
need_product
lab_up
setup router1 protostack=user
capture router1 eth1 "$WORK/link.pcap"
both_started
each_proposal strongswan
capture_stop "$WORK/link.pcap"
check "ESP in UDP crossed the link" has_packets "$WORK/link.pcap" "$ESP_FILTER" 100
check "the gateway is well" healthy router1
