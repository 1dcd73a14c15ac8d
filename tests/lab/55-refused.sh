#!/bin/bash
# What goes wrong between two gateways: each end says why, with both sides' values, `up` exits
# with a code, and nothing half-open is left.
. "$(dirname "$0")/../lib.sh"
need_product
lab_up
user_space
both auto=add retransmit-timeout=4s
check "the daemons start" start_both
clean() { waitfor 6 no_states router1 && waitfor 6 no_states router2; }
again() { down router1; down router2; reload; } >/dev/null 2>&1
mark() { M1=$(plog router1 | wc -l) M2=$(plog router2 | wc -l); } # what follows is news
news() { local m=M${1#router}; plog "$1" | tail -n +$((${!m} + 1)); }
told() { says "$2" news "$1"; } # ROUTER PATTERN

secret router2 '192.168.20.10 192.168.20.20 : PSK "anotherone"'
on router2 ipsec rereadsecrets >/dev/null
mark
check "wrong PSK: up fails with AUTHENTICATION_FAILED" fails_saying 'AUTHENTICATION_FAILED' up
check "wrong PSK: the exit code is 4.x's" exits 36 up
check "wrong PSK: 5.x's with the 5.x form" exits 56 on router1 timeout 30 ipsec up net1
check "wrong PSK: the initiator names both identities" told router1 '192\.168\.20\.10.*192\.168\.20\.20|192\.168\.20\.20.*192\.168\.20\.10'
check "wrong PSK: so does the responder" told router2 '[Aa]uthentication.*192\.168\.20\.10'
check "wrong PSK: why tells" says 'AUTHENTICATION_FAILED' on router1 ipsec why
down >/dev/null 2>&1
check "wrong PSK: nothing half-open is left" clean
secret router2 '192.168.20.10 192.168.20.20 : PSK "net1234567890"'
on router2 ipsec rereadsecrets >/dev/null
check "the right PSK again: it comes up" up

again
conf router1 ike=aes_gcm256-sha2_512-dh19 retransmit-timeout=4s
conf router2 ike=chacha20_poly1305-sha2_256-dh31 retransmit-timeout=4s
again
mark
t=$(now)
check "no common IKE proposal: up fails with NO_PROPOSAL_CHOSEN" fails_saying 'NO_PROPOSAL_CHOSEN' up
check "no common IKE proposal: the user is told at once" less "$(since "$t")" 2
check "no common IKE proposal: the initiator prints its list" told router1 'AES_GCM'
check "no common IKE proposal: the responder prints its own" told router2 'CHACHA20'
check "no common IKE proposal: and the initiator's" told router2 'AES_GCM'
down >/dev/null 2>&1
check "no common IKE proposal: nothing is left" clean

conf router1 esp=aes_gcm256 retransmit-timeout=4s
conf router2 esp=aes128-sha2_256 retransmit-timeout=4s
again
mark
check "no common ESP proposal: up fails with NO_PROPOSAL_CHOSEN" fails_saying 'NO_PROPOSAL_CHOSEN' up
check "no common ESP proposal: the responder prints its list" told router2 'AES_CBC'
check "no common ESP proposal: and the initiator's" told router2 'AES_GCM'
down >/dev/null 2>&1
check "no common ESP proposal: nothing is left" clean

conf router1 rightsubnet=192.168.31.0/24 retransmit-timeout=4s
conf router2 retransmit-timeout=4s
again
mark
check "no common selectors: up fails with TS_UNACCEPTABLE" fails_saying 'TS_UNACCEPTABLE' up
check "no common selectors: the responder prints the initiator's" told router2 '192\.168\.31\.0'
check "no common selectors: and its own" told router2 '192\.168\.30\.0'
down >/dev/null 2>&1
check "no common selectors: nothing is left" clean

both retransmit-timeout=4s
secret router1 '192.168.99.1 192.168.99.2 : PSK "net1234567890"'
on router1 ipsec rereadsecrets >/dev/null
mark
check "no secret: said when the connection is added" says '[Ss]ecret|PSK|pre-shared' on router1 ipsec add net1
check "no secret: the identities that were searched are named" says '192\.168\.20\.10.*192\.168\.20\.20' on router1 ipsec add net1
check "no secret: up fails" not up
secret router1 '192.168.20.10 192.168.20.20 : PSK "net1234567890"'
on router1 ipsec rereadsecrets >/dev/null

again
on router2 ipsec auto --delete net1 >/dev/null 2>&1
mark
check "the peer has no such connection: up fails at once" fails_saying 'NO_PROPOSAL_CHOSEN|AUTHENTICATION_FAILED' up
down >/dev/null 2>&1
gw stop router2 >/dev/null 2>&1
t=$(now)
check "the peer does not run: up fails" not up
check "within its retransmission timeout" less "$(since "$t")" 6
check "no one at the address: up says so" fails_saying 'timeout|refused|unreachable|No response|no response' up
down >/dev/null 2>&1
check "nothing is left" waitfor 6 no_states router1
gw start router2 >/dev/null
waitfor 5 answers router2

# a bad connection hurts only itself
printf 'conn bad\n    left=192.168.20.10\n    right=192.168.20.21\n    authby=secret\n    ike=rot13\n    auto=add\nconn worse\n    nosuchkeyword=1\n' | put router1 /etc/ipsec.d/bad.conf
both auto=add
check "checkconfig: exit 1" exits 1 on router1 ipsec checkconfig
check "checkconfig: file, line, connection and what is wrong" says '/etc/ipsec\.d/bad\.conf:5: conn bad: .*rot13' on router1 ipsec checkconfig
check "checkconfig: the unknown keyword" says 'bad\.conf:8: conn worse: .*nosuchkeyword' on router1 ipsec checkconfig
check "addconn --checkconfig likewise" exits 1 on router1 ipsec addconn --checkconfig
check "a restart with it loads the rest" on router1 ipsec restart
waitfor 5 answers router1
check "the good connection comes up" up
check "the bad one is set aside, and status says why" json router1 '.connections[] | select(.name == "bad") | .set_aside.what | length > 0' status
for r in router1 router2; do check "$r is well" healthy $r; done
