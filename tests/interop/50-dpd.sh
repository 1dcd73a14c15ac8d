#!/bin/bash
# strongSwan dies without a word; the gateway notices within dpddelay and the retransmission
# timeout, does not let traffic out in clear meanwhile, and the tunnel is back by itself when
# strongSwan is. The other way round: strongSwan's own checks are answered.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/strongswan.sh"
. "$(dirname "$0")/steps.sh"
ss_need
need_product
lab_up
setup router1 protostack=user
ss_conf router2 dpd_delay=1s
conf router1 auto=start dpddelay=2 retransmit-timeout=4s
check "strongSwan starts" ss_start router2
capture router1 eth1 "$WORK/link.pcap"
check "the gateway starts" gw start router1
check "it initiates by itself" waitfor 10 ping_ok 1
sleep 3
check "strongSwan's liveness checks are answered" ss_has_child router2
check "the tunnel is still the first one" equal "$(ike_sas router1)" 1

ss_crash router2
t=$(now)
ping_ok 3 >/dev/null 2>&1
check "the gateway notices" waitfor 12 no_child router1
note "noticed after $(since "$t") s; dpddelay + retransmit-timeout = 6 s"
check "within dpddelay and retransmit-timeout" less "$(since "$t")" 8
check "meanwhile no ping goes through" ping_fails
check "strongSwan is back" ss_start router2
t=$(now)
check "and the tunnel with it, by itself" waitfor 20 ping_ok 1
note "back after $(since "$t") s"

# strongSwan restarts within the interval and initiates: the new SA replaces the old one
ss_crash router2
check "strongSwan is back at once" ss_start router2
check "it initiates" ss_up router2
check "a ping goes through" waitfor 5 ping_ok 1
check "one Child SA is left" waitfor 10 one_of_each
capture_stop "$WORK/link.pcap"
check "nothing of the protected networks crossed in clear" no_clear "$WORK/link.pcap"

check "the gateway stops" gw stop router1
check "and told strongSwan" waitfor 3 ss_no_ike router2
