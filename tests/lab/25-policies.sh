#!/bin/bash
# 10,000 policies of one local network (hosts: policies.sh).
#
# They lead from 10.200.0.0/16 to 10.1.0.0/24, 10.1.1.0/24, ... 10.40.249.0/24.
. "$(dirname "$0")/policies.sh"
LOCAL=10.200.0.0/16 OTHER=10.201.0.0/16
awk -v n=$COUNT -v l=$LOCAL 'BEGIN { for (i = 0; i < n; i++)
	printf "policy %d trap %s 10.%d.%d.0/24\n", 20000 + i, l, 1 + int(i / 250), i % 250 }' >"$WORK/policies"
MIDDLE=$((COUNT / 2)) LAST=$((COUNT - 1))
filter_rules() { in_g nft list table inet sekisho | grep -cE 'accept|drop'; }

hosts_up
check "without policies w is reached in clear" clear 10.200.0.2 "$(remote 0).1"
check "the gateway starts" start
check "it takes $COUNT policies" told_all "$WORK/policies"
check "settle" told settle
check "one rule for all" few_rules 1
check "each destination has a route to the device" equal "$(routes 'dev ipsec0')" $COUNT
check "and an unreachable one beneath" equal "$(routes '^unreachable')" $COUNT
if in_g nft list tables >/dev/null 2>&1; then
	check "the packet filter has few rules" less "$(filter_rules)" 25
else
	skip "the packet filter has few rules" "nf_tables does not work here"
fi

# --- exactly what policies cover ---
id=0
for i in 0 $MIDDLE $LAST; do
	id=$((id + 1))
	check "policy $i without an SA: nothing in clear" secret 10.200.0.2 "$(remote $i).77"
	check "it asked for an SA" says "^acquire $((20000 + i)) 10\.200\.0\.2/32.* $(remote $i)\.77/32" cat "$WORK/out"
	check "it gets one" told sa $id $((20000 + i)) out 0 $((0x1000000 + i)) $LOCAL "$(remote $i).0/24"
	check "policy $i: its packets go by its SA" secret 10.200.0.2 "$(remote $i).77" $((0x1000000 + i))
	check "so do the gateway's own" not in_g ping -n -q -c 1 -W 0.1 -I 10.200.0.1 "$(remote $i).78"
	check "usage counts them" waitfor 2 used $id 3
done
check "an address between the policies' is left alone" clear 10.200.0.2 10.1.250.1
check "one behind them, too" clear 10.200.0.2 10.41.0.1
check "another source to a policy's destination, too" clear 10.201.0.2 "$(remote 0).1"

# --- a second group ---
for i in $(seq 0 11); do echo "policy $((40000 + i)) trap $OTHER 10.41.$i.0/24"; done >"$WORK/others"
check "policies from another network" told_all "$WORK/others"
check "have a rule of their own" few_rules 2
check "its packets are covered" secret 10.201.0.2 10.41.11.1
check "the first network's to there are not" clear 10.200.0.2 10.41.11.1
check "nor are its own to the first group's destinations" clear 10.201.0.2 "$(remote $MIDDLE).1"

# --- ports ---
for i in $(seq 0 11); do echo "policy $((50000 + i)) drop $LOCAL@6 10.42.$i.0/24@6,5001"; done >"$WORK/ports"
syn() { in_c timeout 1 bash -c "exec 3<>/dev/tcp/$1/$2"; }
syn_clear() { # ADDRESS PORT: how many packets of it arrive
	tap "$PCAP"
	syn "$1" "$2"
	tap_stop
	packets "$PCAP" "dst $1 and tcp dst port $2"
}
check "policies of a port" told_all "$WORK/ports"
check "are not in the way of another port" less 0 "$(syn_clear 10.42.11.1 5002)"
check "cover theirs" equal "$(syn_clear 10.42.11.1 5001)" 0
check "and not pings" clear 10.200.0.2 10.42.11.1

# --- exceptions ---
check "an exception across 250 policies" told policy 60000 pass $LOCAL 10.20.0.0/16
check "is weaker than more exact policies" secret 10.200.0.2 10.20.5.1
check "an exception for one address of a policy" told policy 60001 pass 10.200.0.2/32 10.20.6.9/32
check "goes in clear" clear 10.200.0.2 10.20.6.9
check "its neighbour does not" secret 10.200.0.2 10.20.6.10
check "nor another policy's" secret 10.200.0.2 10.21.6.9
check "a strong exception across 250 policies" told policy 60002 pass 10.200.0.2/32@1 10.20.0.0/16@1
check "goes in clear" clear 10.200.0.2 10.20.5.1
check "but for a policy that is stronger still" told policy 60003 drop 10.200.0.2/32@1 10.20.7.7/32@1
check "which covers its own" secret 10.200.0.2 10.20.7.7
check "all others as before" secret 10.200.0.2 "$(remote $LAST).1" $((0x1000000 + LAST))
for i in 60000 60001 60002 60003; do told unpolicy $i >/dev/null; done
check "without exceptions: nothing in clear" secret 10.200.0.2 10.20.5.1
check "and few rules again" few_rules 3

# --- what arrives in clear ---
arrives() { in_w ping -n -q -c 1 -W 0.5 -I "$1" 10.200.0.2; }
if in_g nft list tables >/dev/null 2>&1; then
	check "clear packets from a policy's network are dropped" not arrives "$(remote $MIDDLE).1"
	check "by the filter" says 'counter packets [1-9]' in_g nft list chain inet sekisho from_clear
else
	skip "clear packets from a policy's network are dropped" "nf_tables does not work here"
fi
check "others are not" arrives 10.50.0.1

# --- kill -9 and adoption ---
before=$(in_g ip rule)
tap "$WORK/kill.pcap"
bg_stop g KILL
exec 8>&-
for i in 0 $MIDDLE $LAST; do
	check "killed: policy $i's packets go nowhere" not ping_from 10.200.0.2 "$(remote $i).1"
done
check "the next one starts" start
check "before it has policies they go nowhere" not ping_from 10.200.0.2 "$(remote $MIDDLE).1"
check "it takes the policies" told_all "$WORK/policies"
check "settle" told settle
check "they go nowhere without SAs" not ping_from 10.200.0.2 "$(remote $MIDDLE).1"
tap_stop
check "in all this nothing went in clear" equal "$(packets "$WORK/kill.pcap" 'net 10.200.0.0/16')" 0
check "rules are as before, but for what it has no policies for" equal "$(in_g ip rule | grep -cvxFf <(echo "$before"))" 0
check "that is gone" few_rules 1
check "its routes are" equal "$(routes 'dev ipsec0')" $COUNT
check "a source without policies is free again" clear 10.201.0.2 10.41.11.1

# --- the end of policies ---
sed -n "2,\$s/^policy \([0-9]*\) .*/unpolicy \1/p" "$WORK/policies" >"$WORK/unpolicies"
check "all policies but the first go" told_all "$WORK/unpolicies"
check "the last one's packets go in clear" clear 10.200.0.2 "$(remote $LAST).1"
check "the first one's do not" secret 10.200.0.2 "$(remote 0).1"
check "no route is left over" equal "$(routes 'dev ipsec0')" 1
echo close remove >&8
check "the gateway ends" bg_wait g
check "and leaves nothing behind" equal "$(in_g sh -c 'ip -o link show type tun; ip rule; ip route show table all proto 94; nft list tables 2>/dev/null' | grep -vE 'lookup (local|main|default)')" ""
check "no report of a sanitizer" not grep -E 'Sanitizer|runtime error' "$LOGS/router.$SUITE.log"
