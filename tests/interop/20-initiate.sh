#!/bin/bash
# Sekisho on router1 initiates to strongSwan on router2: three proposals, both kinds of rekey by
# either side, delete by either side. Every flow of pings goes on through all of it.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/strongswan.sh"
. "$(dirname "$0")/steps.sh"
ss_need
need_product
lab_up
setup router1 protostack=user
capture router1 eth1 "$WORK/link.pcap"
both_started
each_proposal sekisho
ss_conf router2
no_more_than_one
capture_stop "$WORK/link.pcap"
asked "$WORK/link.pcap"
check "ESP in UDP crossed the link" has_packets "$WORK/link.pcap" "$ESP_FILTER" 100
check "nothing of the protected networks crossed in clear" no_clear "$WORK/link.pcap"
check "the gateway is well" healthy router1
