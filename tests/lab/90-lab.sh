#!/bin/bash
# The lab itself: two of them side by side, and nothing of it left in the machine.
. "$(dirname "$0")/../lib.sh"
need_root
machine() { # what a lab must not change
	ls -A /etc | sort
	ls -l /etc/ipsec* 2>/dev/null
	ls -d /etc/netns /run/sekisho-lab /run/netns/tx-* /run/netns/ty-* /run/pluto 2>/dev/null
	awk '$5 ~ /sekisho|tx-|ty-/ {print $5}' /proc/self/mountinfo
	ip -br link | grep -vE '^(lo|veth)' | awk '{print $1}'
	ip rule
	ip route
	sysctl -n net.ipv4.ip_forward net.ipv4.conf.all.rp_filter net.ipv4.conf.default.rp_filter
	return 0
}
before=$(machine)
X() { LAB=tx "$TOP/lab/lab" "$@"; }
Y() { LAB=ty OFFLOAD=off "$TOP/lab/lab" "$@"; }
trap 'X down; Y down; finish' EXIT
check "a lab comes up" X up
check "another beside it" Y up
check "the client of one reaches its server" X exec client ping -q -c 1 -W 1 192.168.30.20
check "so does the other's" Y exec client ping -q -c 1 -W 1 192.168.30.20
check "router1 has the article's file" X exec router1 grep -qx '    leftsubnet=192.168.10.0/24' /etc/ipsec.d/net1.conf
check "router2 has it swapped" X exec router2 grep -qx '    leftsubnet=192.168.30.0/24' /etc/ipsec.d/net1.conf
check "a host's files are its own" X exec router1 sh -c 'echo x >/etc/ipsec.d/only-here; echo x >/run/pluto/only-here; echo x >/var/log/only-here'
check_not "not the other router's" X exec router2 test -e /etc/ipsec.d/only-here
check_not "not the other lab's" Y exec router1 test -e /run/pluto/only-here
check_not "nor the machine's" test -e /etc/ipsec.d/only-here
check "the name of the host" equal "$(X exec router2 hostname)" router2
check "OFFLOAD=off: no segmentation on the links" sh -c "LAB=ty $TOP/lab/lab exec router1 ethtool -k eth1 | grep -q 'tcp-segmentation-offload: off'"
check_not "an unknown host is refused" X exec router3 true
X exec router1 sh -c 'sleep 1000 & sleep 1001 &'
check "up again replaces the old one" X up
check_not "whose files are gone" X exec router1 test -e /etc/ipsec.d/only-here
check_not "and whose processes" X exec router1 pgrep -x sleep -f 'sleep 100[01]'
check "down" X down
check "the other lab does not mind" Y exec client ping -q -c 1 -W 1 192.168.30.20
check "down" Y down
check "down again" Y down
check "nothing is left, nothing changed" equal "$(machine)" "$before"
