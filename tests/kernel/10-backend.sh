#!/bin/bash
# The XFRM back end by itself, between two network namespaces.
set -eu
BUILD=${BUILD:-$(cd "$(dirname "$0")/../.." && pwd)/build}
for n in a b; do
	ip netns add $n
	ip -n $n link set lo up
done
ip link add eth1 netns a type veth peer name eth1 netns b
ip -n a addr add 192.168.20.10/24 dev eth1
ip -n b addr add 192.168.20.20/24 dev eth1
ip -n a addr add 192.168.10.20/32 dev lo
ip -n b addr add 192.168.30.10/32 dev lo
ip -n a addr add fd00:20::10/64 dev eth1 nodad
ip -n b addr add fd00:20::20/64 dev eth1 nodad
ip -n a addr add fd00:10::20/128 dev lo
ip -n b addr add fd00:30::10/128 dev lo
ip -n a link set eth1 up
ip -n b link set eth1 up
ip -n a route add 192.168.30.0/24 via 192.168.20.20
ip -n b route add 192.168.10.0/24 via 192.168.20.10
ip -n a route add fd00:30::/64 via fd00:20::20
ip -n b route add fd00:10::/64 via fd00:20::10
exec "$BUILD/tests/kernel/xfrm_smoke" a b
