#!/bin/bash
# The verbs of `ipsec auto` and their 5.x forms: what each does, that it is safe to repeat, and
# its exit code.
. "$(dirname "$0")/../lib.sh"
need_product
lab_up
user_space
both auto=ignore
check "the daemons start" start_both
check "auto=ignore: nothing is loaded" json router1 '.connections == []' status
check "auto --up of what is not loaded: exit 21" exits 21 on router1 ipsec auto --up net1
check "auto --up of a name that does not exist: exit 21" exits 21 on router1 ipsec auto --up nosuch
check "and it is named" says 'nosuch' on router1 ipsec auto --up nosuch
check "up nosuch: exit 21" exits 21 on router1 ipsec up nosuch
check "add nosuch: exit 21" exits 21 on router1 ipsec add nosuch

check "auto --add" on router1 ipsec auto --add net1
check "auto --add says so as 4.x does" says '002 "net1":.* added .*IKEv2 connection' on router1 ipsec auto --add net1
check "add on router2" on router2 ipsec add net1
check "add warns of the article's dpdtimeout" says 'dpdtimeout' on router1 ipsec add net1
check "auto --up" says '^004 "net1" #[0-9]+: initiator established Child SA' up
check "auto --up shows the exchange" says '18[0-9] "net1" #[0-9]+: sent IKE_AUTH request' sh -c "true; $TOP/lab/lab exec router1 ipsec auto --down net1; $TOP/lab/lab exec router1 ipsec auto --up net1"
check "a ping goes through" ping_ok
before=$(spis router1)
check "up on an up connection: exit 0" up
check "it makes no second Child SA" equal "$(children router1)" 1
check "the Child SA is the same" equal "$(spis router1)" "$before"
check "up on the peer makes none either" up router2
check "one Child SA on both" equal "$(children router1) $(children router2)" "1 1"
check "now both want it up: a --down on one side alone is followed by the other's revival" sh -c "$TOP/lab/lab exec router1 ipsec down net1"
check "it is back" waitfor 5 child_up router2
check "--down on both" down router2
up >/dev/null

check "auto --down" says 'terminating SAs using this connection|initiating delete' down
check "down: nothing is left" waitfor 3 no_states router1
check "down: the peer knows" waitfor 3 no_states router2
check "down again: exit 0" down
check "up (5.x)" says '^"net1" #[0-9]+: initiator established Child SA using #[0-9]+; IPsec tunnel \[192\.168\.10\.0/24===192\.168\.30\.0/24\]' on router1 ipsec up net1
check "down (5.x)" on router1 ipsec down net1
check "start (5.x): add and up" on router1 ipsec start net1
check "a ping goes through" ping_ok
on router1 ipsec down net1 >/dev/null

WIRE=$WORK/link.pcap
capture router1 eth1 "$WIRE"
check "auto --route" on router1 ipsec auto --route net1
check "it is routed on demand" json router1 '.connections[0].state == "routed-ondemand"' status
check "traffic brings it up" waitfor 5 ping_ok 1
check "the Child SA is there" child_up router1
capture_stop "$WIRE"
check "the first packets were held, not sent in clear" no_clear "$WIRE"
check "auto --unroute while it is up does not harm" on router1 ipsec auto --unroute net1
check "the daemon is alive" answers router1
on router1 ipsec auto --down net1 >/dev/null 2>&1
check "auto --route once more" on router1 ipsec auto --route net1
check "auto --unroute" on router1 ipsec auto --unroute net1
check "its policy is gone" waitfor 3 json router1 '.connections[0].state == "unrouted"' status
check "route, ondemand, unroute (5.x)" sh -c "for v in route unroute ondemand unroute; do $TOP/lab/lab exec router1 ipsec \$v net1 || exit 1; done"

up >/dev/null
check "auto --replace" on router1 ipsec auto --replace net1
check "it is still one connection" json router1 '.connections | length == 1' status
check "up again" up
check "auto --delete" on router1 ipsec auto --delete net1
check "delete: nothing is left" waitfor 3 no_states router1
check "delete: the peer knows" waitfor 3 no_states router2
check "delete: the connection is gone" json router1 '.connections == []' status
check "delete again: there is none any more" fails_saying 'no connection' on router1 ipsec auto --delete net1
check "auto --rereadsecrets" on router1 ipsec auto --rereadsecrets
check "rereadsecrets" on router1 ipsec rereadsecrets
check "checkconfig of the article's files: exit 0" on router1 ipsec checkconfig
check "it warns of dpdtimeout below dpddelay" says 'net1\.conf:[0-9]+: conn net1: .*dpdtimeout' on router1 ipsec checkconfig
check "readwriteconf" says 'leftsubnet=192\.168\.10\.0/24' on router1 ipsec readwriteconf
check "algparse" says 'AES_GCM_16_256' on router1 ipsec algparse 'ike=aes_gcm256-sha2_512-dh19'
check "algparse: an error, exit 1" not on router1 ipsec algparse 'esp=rot13'
check "rekey-child of what is down: fails" not on router1 ipsec rekey-child net1
for r in router1 router2; do check "$r is well" healthy $r; done
