#!/bin/bash
# Strangers and hostile peers: random, truncated, mutated and replayed datagrams against both
# ports and protocol 50, under a tunnel that has to go on as if nothing were there.
. "$(dirname "$0")/../lib.sh"
need_product
lab_up
user_space
both auto=add
WIRE=$WORK/link.pcap
capture router1 eth1 "$WIRE"
check "the tunnel is up" tunnel
on router1 ipsec rekey-ike net1 >/dev/null
on router1 ipsec rekey-child net1 >/dev/null
ping_ok 5 >/dev/null
capture_stop "$WIRE"

rss() { on router1 sh -c 'awk "/^VmRSS/{print \$2}" /proc/$(pgrep -xo pluto)/status'; }
fds() { on router1 sh -c 'ls /proc/$(pgrep -xo pluto)/fd | wc -l'; }
pid=$(on router1 pgrep -x pluto | tr '\n' ' ')
before=$(spis router1)
rss0=$(rss)
fds0=$(fds)
# router2's namespace has a second address: the strangers are not the peer (their datagrams are),
# and the spoofing part uses the peer's own address
ip -n "$LAB-router2" addr add 192.168.20.66/24 dev eth1
attack() { netns router2 timeout 60 python3 "$TESTS/lab/hostile.py" --to 192.168.20.10 "$@"; }
flow_start
check "random datagrams" attack --from 192.168.20.66 --kind random --count 3000
check "truncated messages of a real exchange" attack --from 192.168.20.66 --kind truncated --pcap "$WIRE" --count 3000
check "mutated messages" attack --from 192.168.20.66 --kind mutated --pcap "$WIRE" --count 6000
check "the same, from the peer's own address" attack --from 192.168.20.20 --kind mutated --pcap "$WIRE" --count 6000
check "replayed messages, from the peer's own address" attack --from 192.168.20.20 --kind replayed --pcap "$WIRE" --count 3000
check "forged ESP" attack --from 192.168.20.20 --kind esp --pcap "$WIRE" --count 3000
check "forged errors without protection" attack --from 192.168.20.20 --kind notify --pcap "$WIRE" --count 500
check "a flood of IKE_SA_INIT" attack --from 192.168.20.66 --kind init --pcap "$WIRE" --count 3000
sleep 0.5
flow_stop
check "no ping was lost" flow_lost_none
check "the Child SA is the same" equal "$(spis router1)" "$before"
check "the daemon is the same" equal "$(on router1 pgrep -x pluto | tr '\n' ' ')" "$pid"
check "its counters tell of drops" json router1 '[.counters | .. | numbers] | add > 1000' status
check "memory stays small" less "$(rss)" $((rss0 + 32768))
note "RSS $rss0 -> $(rss) KiB"
check "no descriptor leaks" equal "$(fds)" "$fds0"
check "the log has not been flooded" less "$(plog router1 | wc -l)" 2500
note "$(plog router1 | wc -l) lines of log"
check "a rekey works" on router1 ipsec rekey-child net1
check "rekey-ike works" on router1 ipsec rekey-ike net1
check "a ping goes through" ping_ok
check "a new start of the exchange works" sh -c "$TOP/lab/lab exec router1 ipsec auto --down net1 && $TOP/lab/lab exec router1 ipsec auto --up net1"
for r in router1 router2; do check "$r is well" healthy $r; done

# the control socket gets garbage as well
check "garbage on the control socket" on router1 python3 -c '
import os, socket
for i in range(300):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(2)
    s.connect("/run/pluto/pluto.ctl")
    try:
        s.sendall(os.urandom(i * 7 + 1).replace(b"\n", b"") + (b"\n" if i % 2 else b""))
        if i % 3 == 0: s.sendall(b"{" * 70000)
        if i % 5 == 0: s.sendall(b"{\"command\":\"" + b"x" * i + b"\"}\n")
    except OSError:
        pass
    s.close()'
check "the daemon answers" answers router1
check "router1 is well" healthy router1
