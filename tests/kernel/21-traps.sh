#!/bin/bash
# Sekisho to Sekisho with the kernel's ESP, on demand: traps, refusals, liveness, UDP and
# transport mode.
. "$(dirname "$0")/lab.sh"
need_product
lab_up
kernel_esp router1
kernel_esp router2
watch_link

# --- on demand ---------------------------------------------------------------------------------
conf router1 auto=ondemand dpddelay=1 retransmit-timeout=3s
conf router2 auto=add dpddelay=0
check "both gateways start" start_both
check "no tunnel is made for nothing" no_child router1
check "the first ping brings it up" waitfor 15 ping_ok 1
check "by an acquire" child_up router1
check "down" down router1
check "no SA is left" waitfor 5 no_child router2

# --- a peer that vanishes ----------------------------------------------------------------------
conf router1 auto=add dpddelay=1 retransmit-timeout=3s dpdaction=restart
check "the connection is replaced" replace router1
check "up" up router1
check "pings pass" ping_ok
check "router2 is killed" crash router2
x router2 state flush
check "router1 notices" waitfor 15 no_child router1
check "and lets nothing out" ping_fails
check "router2 is started again" gw start router2
check "and the tunnel is made anew" waitfor 30 ping_ok 1

# --- other shapes ------------------------------------------------------------------------------
reshape() { # KEY=VALUE...: both ends get these
	down router1
	both auto=add "$@" && reload && up router1 && ping_ok 2
}
check "ESP in UDP" reshape encapsulation=yes
check "as the kernel has it" says 'encap type espinudp sport 4500 dport 4500' x router1 state
check "rekeyed" on router2 ipsec rekey-child net1
check "pings pass" ping_ok 2
check "AES-CBC with SHA-2" reshape esp=aes256-sha2_256
check "as the kernel has it" says 'auth-trunc hmac\(sha256\) 0x[0-9a-f]{64} 128' x router1 state
check "ChaCha20-Poly1305 without ESN" reshape esp=chacha20_poly1305 esn=no
check "as the kernel has it" says 'aead rfc7539esp\(chacha20,poly1305\)' x router1 state
several() {
	down router1
	conf router1 auto=add leftsubnet=192.168.10.0/24,192.168.110.0/24
	conf router2 auto=add rightsubnet=192.168.10.0/24,192.168.110.0/24
	reload && up router1 && ping_ok 2
}
check "several subnets in one SA" several
check "a policy for each" says 'src 192\.168\.110\.0/24 dst 192\.168\.30\.0/24' x router1 policy
check "one pair of states" equal "$(states router1)" 2
watch_end
check "nothing of the protected networks was sent in clear" link_clean
hosts() {
	down router1
	both auto=add leftsubnet= rightsubnet= type=transport && reload && up router1 &&
		on router1 ping -n -q -c 2 -i 0.1 -W 1 192.168.20.20
}
check "transport mode between the two routers" hosts
check "as the kernel has it" says 'mode transport' x router1 state
check "router1 is well" healthy router1
check "router2 is well" healthy router2
check "both stop" gw stop router1 router2
check "nothing is left of router1" nothing_left router1
