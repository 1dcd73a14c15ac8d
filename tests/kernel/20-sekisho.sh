#!/bin/bash
# Sekisho to Sekisho with the kernel's ESP: the article's files; what `ip xfrm` shows; rekeys,
# liveness, restarts; and nothing in clear in any of it.
. "$(dirname "$0")/lab.sh"
need_product
lab_up
kernel_esp router1
kernel_esp router2
check "without gateways a ping passes in clear" ping_ok 1
bg monitor "$WORK/monitor" nsenter --net=/run/netns/$LAB-router1 ip xfrm monitor
watch_link

# --- the article -------------------------------------------------------------------------------
check "both gateways start" start_both
check "the tunnel comes up by itself" waitfor 20 child_up router1
check "on both sides" waitfor 10 child_up router2
one_pair() { equal "$(states router1)" 2 && equal "$(states router2)" 2; }
check "one pair of SAs stays, also when both ends began" waitfor 10 one_pair
check "pings pass" ping_ok 3
check "and back" ping_back 2
bg_stop monitor

article_state() { # ROUTER: two states as the article shows them
	x "$1" state
	local s
	s=$(x "$1" state) || return 1
	equal "$(grep -cE '^src 192\.168\.20\.[12]0 dst 192\.168\.20\.[12]0 *$' <<<"$s")" 2 &&
		equal "$(grep -cE '^	proto esp spi 0x[0-9a-f]{8} reqid 1638[4-9] mode tunnel$' <<<"$s")" 2 &&
		equal "$(grep -cE '^	replay-window 0 flag af-unspec esn$' <<<"$s")" 2 &&
		equal "$(grep -cE '^	aead rfc4106\(gcm\(aes\)\) 0x[0-9a-f]{72} 128$' <<<"$s")" 2 &&
		equal "$(grep -cE '^	 replay_window 128, bitmap-length 4$' <<<"$s")" 2
}
article_policy() { # ROUTER LOCAL REMOTE LOCALNET REMOTENET
	x "$1" policy
	local p want
	p=$(x "$1" policy | grep -A 3 "^src $4 dst $5\|^src $5 dst $4" | grep -v '^--' | sed 's/ *$//; s/reqid [0-9]*/reqid N/')
	want=$(
		for d in "out $4 $5 $2 $3" "fwd $5 $4 $3 $2" "in $5 $4 $3 $2"; do
			set -- $d
			printf 'src %s dst %s\n\tdir %s priority 1757393\n\ttmpl src %s dst %s\n\t\tproto esp reqid N mode tunnel\n' \
				"$2" "$3" "$1" "$4" "$5"
		done
	)
	equal "$(sed 's/ ptype main//' <<<"$p")" "$want"
}
check "ip xfrm state is the article's on router1" article_state router1
check "ip xfrm state is the article's on router2" article_state router2
check "ip xfrm policy is the article's on router1" article_policy router1 192.168.20.10 192.168.20.20 192.168.10.0/24 192.168.30.0/24
check "ip xfrm policy is the article's on router2" article_policy router2 192.168.20.20 192.168.20.10 192.168.30.0/24 192.168.10.0/24
check "IKE's own sockets pass outside of every policy" says 'socket (in|out) ' x router1 policy
monitored() { grep -qE "$1" "$WORK/monitor" || { cat "$WORK/monitor"; return 1; }; }
check "ip xfrm monitor shows the policies" monitored '^Updated src 192\.168\.10\.0/24 dst 192\.168\.30\.0/24'
check "and the states" monitored '^	aead rfc4106\(gcm\(aes\)\) 0x[0-9a-f]{72} 128$'
same_spis() { # what we say and what the kernel says
	local k o
	k=$(x "$1" state | sed -n 's/.*spi \(0x[0-9a-f]*\).*/\1/p' | sort)
	o=$(on "$1" ipsec sa | sed -n 's/.*spi \(0x[0-9a-f]*\).*/\1/p' | sort)
	equal "$o" "$k"
}
check "ipsec sa shows the same SAs" same_spis router1
check "without keys" says_not '0x[0-9a-f]{72}' on router1 ipsec sa
check "with keys when asked" says 'aead rfc4106\(gcm\(aes\)\) 0x[0-9a-f]{72} 128' on router1 ipsec sa --show-keys
check "traffic is counted" json router1 '.[0].in_packets >= 5' trafficstatus
check "the back end is the kernel's" json router1 '.protostack == "xfrm"' status

# --- rekeys ------------------------------------------------------------------------------------
flow_start 0.02
for r in router1 router2; do
	check "$r rekeys the Child SA" on $r ipsec rekey-child net1
	check "the old one goes" waitfor 10 one_pair
	check "$r rekeys the IKE SA" on $r ipsec rekey-ike net1
done
flow_stop
check "no ping is lost" flow_lost_none

# --- a crash, and liveness ---------------------------------------------------------------------
check "router2 is killed" crash router2
check "its kernel goes on with the SAs" ping_ok 2
check "and is started again" gw start router2
check "traffic comes back by itself" waitfor 30 ping_ok 1
check "one pair of SAs is left" waitfor 15 one_pair

# --- stop and start ----------------------------------------------------------------------------
check "router2 stops" gw stop router2
check "router1 has no SA then" waitfor 5 no_child router1
check "and lets nothing out" ping_fails
check "nothing is left of router2" nothing_left router2
check "router2 starts" gw start router2
check "traffic comes back by itself" waitfor 30 ping_ok 1
check "router1 starts anew at once" gw restart router1
check "traffic comes back by itself" waitfor 30 ping_ok 1
check "one pair of SAs is left" waitfor 15 one_pair
check "router1 is well" healthy router1
check "router2 is well" healthy router2
watch_end
check "nothing of the protected networks was sent in clear" link_clean
check "but as ESP" link_esp 50
check "both stop" gw stop router1 router2
check "nothing is left of router1" nothing_left router1
check "nor of router2" nothing_left router2
