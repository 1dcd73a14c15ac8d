#!/bin/bash
# A clean stop tells the peer and leaves nothing in the system; a start removes what a killed
# daemon left.
. "$(dirname "$0")/../lib.sh"
need_product
lab_up
user_space
both auto=add
rules_before=$(on router1 sh -c 'ip rule; ip route; ip -br link')
check "the tunnel is up" tunnel
check "something is in the system to be removed" not nothing_left router1
check "router1 stops" gw stop router1
check "its process is gone" waitfor 5 not on router1 pgrep -x pluto
check "the peer was told" waitfor 3 no_states router2
check "no device, rule, route, state, policy or socket is left" nothing_left router1
check "rules, routes and links are as before" equal "$(on router1 sh -c 'ip rule; ip route; ip -br link')" "$rules_before"
check "stop again: exit 0" gw stop router1
check "the command says that nothing runs: exit 33" exits 33 on router1 ipsec showstates

check "router1 starts" gw start router1
check "it answers" waitfor 5 answers router1
check "up" up
crash router1
check "killed: something is left, and keeps traffic in" not nothing_left router1
both auto=ignore
check "it starts over what was left" gw start router1
check "it answers" waitfor 5 answers router1
check "the stale policy is gone with its connection" waitfor 5 json router1 '.connections == []' status
check "stop" gw stop router1
check "nothing is left" nothing_left router1

both auto=add
check "start" gw start router1
waitfor 5 answers router1
check "a second start: exit 0 or said clearly" says 'already|running|^$' on router1 ipsec start
check "the control socket works" answers router1
check "restart" on router1 ipsec restart
check "it answers" waitfor 5 answers router1
check "up" up
check "SIGTERM is a clean stop" on router1 sh -c 'kill -TERM "$(cat /run/pluto/pluto.pid)"'
check "its process is gone" waitfor 5 not on router1 pgrep -x pluto
check "the peer was told" waitfor 3 no_states router2
check "nothing is left" nothing_left router1

# in the foreground, with options, and a second instance beside it in its own directory
check "--nofork --stderrlog" sh -c "$TOP/lab/lab exec router1 sh -c 'pluto --nofork --stderrlog --rundir /run/second >/run/second.log 2>&1 & echo \$! >/run/second.pid; for i in 1 2 3 4 5 6 7 8 9 10; do ipsec --rundir /run/second briefstatus && exit 0; sleep 0.1; done; cat /run/second.log; exit 1'"
check "--rundir: its socket is there" on router1 test -S /run/second/pluto.ctl
check "--leak-detective is accepted, and finds nothing" on router1 sh -c 'kill $(cat /run/second.pid); sleep 0.5; ! grep -i leak /run/second.log'
