# shellcheck shell=bash
# The four hosts inside User-Mode Linux, for the programs of this suite: tests/lib.sh with another
# way of making them. Processes are slow to start there, so a router is a network namespace and
# a root of its own (an overlay), entered at once, instead of a whole set of namespaces.
#
# A router runs Sekisho, or Libreswan when "lab_up router2=libreswan" says so: what is in
# $PEERS (see peers) is then its root. conf, secret, capture and the rest work for both.
export LAB=k
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
PEERS=${PEERS:-${TMPDIR:-/tmp}/sekisho-peers}
ROOTS=/run/lab
declare -A KIND=() LSW=()

state() { echo "$ROOTS/$1/var"; }
root_of() { echo "$ROOTS/$1/root"; }
enter() { # HOST CMD...: replaces this shell
	local h=$1
	shift
	case ${KIND[$h]-} in
	sekisho)
		export IPSEC_EXECDIR=$BUILD/src/pluto IPSEC_SBINDIR=$BUILD/src/ipsec
		PATH=$BUILD/src/ipsec:$BUILD/src/pluto:$PATH
		exec nsenter --net="/run/netns/$LAB-$h" --root="$(root_of "$h")" --wd=/ -- "$@"
		;;
	libreswan) exec nsenter --net="/run/netns/$LAB-$h" --root="$(root_of "$h")" --wd=/ -- "$@" ;;
	*) exec nsenter --net="/run/netns/$LAB-$h" -- "$@" ;;
	esac
}
on() { (enter "$@"); }
netns() { local h=$1; shift; nsenter --net="/run/netns/$LAB-$h" -- "$@"; }
put() { cat >"$(root_of "$1")$2"; }
secret() { printf '%s\n' "$2" | put "$1" /etc/ipsec.d/net1.secrets; chmod 600 "$(root_of "$1")/etc/ipsec.d/net1.secrets"; }
crash() { # ROUTER
	local p
	p=$(cat "$(root_of "$1")/run/pluto/pluto.pid") && kill -KILL "$p" && waitfor 5 not kill -0 "$p"
}
healthy() { not logged "$1" 'runtime error:' && kill -0 "$(cat "$(root_of "$1")/run/pluto/pluto.pid")"; }

make_root() { # HOST KIND
	local d=$ROOTS/$1 r=$ROOTS/$1/root lower=/
	[ "$2" = sekisho ] || lower=$PEERS/libreswan:$PEERS/base
	mkdir -p "$d"
	mount -t tmpfs -o mode=755 root "$d"
	mkdir -p "$d"/{upper,work,root,var/log}
	mount -t overlay overlay -o "lowerdir=$lower,upperdir=$d/upper,workdir=$d/work" "$r" || return 1
	mkdir -p "$r"/{proc,sys,dev,run,tmp,var/log,etc/ipsec.d}
	mount -t proc proc "$r/proc"
	mount --rbind /sys "$r/sys"
	mount --rbind /dev "$r/dev"
	mount -t tmpfs -o mode=755 run "$r/run"
	mount --bind "$d/var/log" "$r/var/log"
	mkdir -p "$r/run/pluto" "$r/run/lock"
	KIND[$1]=$2
	# the article's files for either
	cp "$TOP/lab/etc/$1"/ipsec.d/* "$r/etc/ipsec.d/"
	chmod 600 "$r"/etc/ipsec.d/*.secrets
	if [ "$2" = sekisho ]; then
		cp "$TOP/lab/etc/$1"/ipsec.conf "$TOP/lab/etc/$1"/ipsec.secrets "$r/etc/"
		chmod 600 "$r/etc/ipsec.secrets"
	else
		cp /etc/nsswitch.conf /etc/hosts "$r/etc/"
		: >"$r/etc/resolv.conf"
	fi
}
link() { echo "link add $2 netns $LAB-$1 type veth peer name $4 netns $LAB-$3"; }
addresses() { # HOST IF ADDRESS [IF ADDRESS] [-- ROUTE...]
	local h=$1
	shift
	{
		echo link set lo up
		while [ $# -gt 0 ] && [ "$1" != -- ]; do
			echo "addr add $2/24 dev $1"
			echo "link set $1 up"
			shift 2
		done
		[ $# = 0 ] || { shift; echo "route add $*"; }
	} | ip -n "$LAB-$h" -batch -
}
lab_up() { # [ROUTER=libreswan]
	local h kind
	for h in client router1 router2 server; do ip netns add "$LAB-$h"; done
	{
		link client eth0 router1 eth0
		link router1 eth1 router2 eth1
		link router2 eth0 server eth0
	} | ip -batch -
	addresses client eth0 192.168.10.10 -- default via 192.168.10.20
	addresses router1 eth0 192.168.10.20 eth1 192.168.20.10 -- 192.168.30.0/24 via 192.168.20.20
	addresses router2 eth1 192.168.20.20 eth0 192.168.30.10 -- 192.168.10.0/24 via 192.168.20.10
	addresses server eth0 192.168.30.20 -- default via 192.168.30.10
	for h in router1 router2; do
		kind=sekisho
		[ "${1-}" != "$h=libreswan" ] || kind=libreswan
		netns $h sh -c 'cd /proc/sys/net/ipv4; echo 1 >ip_forward
			for i in conf/*; do echo 1 >$i/rp_filter; done; echo 0 >conf/all/rp_filter'
		make_root $h $kind || { fail "$h gets a root"; exit 1; }
	done
	LAB_IS_UP=1
}
lab_down() { # the UML goes, and everything with it: only the logs are to stay
	local r f
	[ -n "$LAB_IS_UP" ] || return 0
	captures_stop
	for r in router1 router2; do
		for f in "$(state $r)"/log/*.log; do
			[ ! -s "$f" ] || cp "$f" "$LOGS/router.$SUITE.$r.$(basename "$f")"
		done
	done
	LAB_IS_UP=
}

# --- XFRM --------------------------------------------------------------------------------------
kernel_esp() { setup "$1" protostack=xfrm "${@:2}"; } # ROUTER
x() { local h=$1; shift; netns "$h" ip xfrm "$@"; }   # ROUTER state|policy
states() { x "$1" state | grep -c '^src'; }
# What a router sends. What it receives is shown twice, the second time without its tunnel, and
# so it is not looked at.
watch_link() {
	capture router1 eth1 "$WORK/1.pcap" -Q out
	capture router2 eth1 "$WORK/2.pcap" -Q out
}
watch_end() { capture_stop "$WORK/1.pcap"; capture_stop "$WORK/2.pcap"; }
link_clean() { no_clear "$WORK/1.pcap" && no_clear "$WORK/2.pcap"; }
link_esp() { has_packets "$WORK/1.pcap" "$ESP_FILTER" "$1" && has_packets "$WORK/2.pcap" "$ESP_FILTER" "$1"; }

# --- Libreswan ---------------------------------------------------------------------------------
lsw_start() { # ROUTER: what its service does, without loading modules
	local h=$1
	on "$h" ipsec checknss >/dev/null 2>&1
	on "$h" /usr/libexec/ipsec/pluto --leak-detective --config /etc/ipsec.conf --nofork --stderrlog \
		>>"$(state "$h")/log/pluto.log" 2>&1 </dev/null &
	LSW[$h]=$!
	waitfor 20 on "$h" ipsec whack --briefstatus
}
lsw_end() { # ROUTER: wait for the process, and sweep up what only its own service would
	local h=$1
	wait "${LSW[$h]}" 2>/dev/null
	unset "LSW[$h]"
	rm -f "$(root_of "$h")"/run/pluto/pluto.{ctl,pid}
}
lsw_stop() { on "$1" /usr/libexec/ipsec/whack --shutdown >/dev/null 2>&1; lsw_end "$1"; x "$1" state flush; x "$1" policy flush; }
lsw_crash() { kill -KILL "$(cat "$(root_of "$1")/run/pluto/pluto.pid")"; lsw_end "$1"; }
lsw_up() { on "$1" timeout 40 ipsec auto --up net1; }
lsw_down() { on "$1" timeout 20 ipsec auto --down net1; }
lsw_rekey_child() { on "$1" timeout 30 ipsec whack --rekey-ipsec --name net1; }
lsw_rekey_ike() { on "$1" timeout 30 ipsec whack --rekey-ike --name net1; }
lsw_has() { on "$1" ipsec trafficstatus | grep -q '"net1"'; }
