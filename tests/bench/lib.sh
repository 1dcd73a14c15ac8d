# shellcheck shell=bash
# What run, profile and soak share: the drivers, the proof that their traffic is protected, and
# readings of processor time and memory.
#
#   . "$(dirname "$0")/lib.sh"
#   driver_up sekisho-udp || echo "not up: $(tail -n 3 "$WORK/up")"
#   driver_intact && ...                 after the measuring, before a figure is believed
#   lab_down
#
# A driver is a function NAME_up that makes a tunnel in a fresh lab, and in WIRE_OF the packets
# that have to be seen on the link between the gateways when a ping goes through it.
LAB=${BENCH_LAB:-${LAB:-b}}
export LAB OFFLOAD=${OFFLOAD:-on}
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
. "$TESTS/interop/strongswan.sh"
trap 'bench_end' EXIT
OUT=$BUILD/bench
TOOLS=$BUILD/tests/bench
SRV=192.168.30.20
HZ=$(getconf CLK_TCK)
mkdir -p "$OUT"
bench_end() { trap - EXIT; stop_all; lab_down; rm -rf "$WORK"; }
die() { echo "${0##*/}: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die "needs root"
[ -x "$TOOLS/udppps" ] || die "$BUILD is not built: make"

# --- drivers ---------------------------------------------------------------------------------------
declare -A WIRE_OF=(
	[strongswan]='udp port 4500' [espfloor]='udp port 4500'
	[wireguard-go]='udp port 51820' [wireguard-go-new]='udp port 51820'
	[sekisho]='ip proto 50' [sekisho-udp]='udp port 4500' [sekisho-udp-aes256]='udp port 4500'
	[sekisho-udp-chacha]='udp port 4500' [sekisho-udp-cbc]='udp port 4500'
)
plain_up() { :; }
strongswan_up() {
	local r
	for r in router1 router2; do
		ss_conf $r proposals=aes128gcm16-prfsha256-ecp256 esp_proposals=aes128gcm16 rekey_time=0
		ss_start $r || return 1
	done
	ss_up router1
}
sekisho_up() {
	user_space
	both auto=add ike=aes_gcm128-sha2_256-dh19 esp=aes_gcm128 "$@"
	tunnel
}
sekisho-udp_up() { sekisho_up encapsulation=yes "$@"; }
sekisho-udp-aes256_up() { sekisho-udp_up esp=aes_gcm256; }
sekisho-udp-chacha_up() { sekisho-udp_up esp=chacha20_poly1305; }
sekisho-udp-cbc_up() { sekisho-udp_up esp=aes_cbc128-sha2_256; }

# A daemon of a router for good: as a child of the router's process 1, gone with the lab.
start_on() { # ROUTER LOG CMD...
	local r=$1 log=$2
	shift 2
	on "$r" sh -c 'log=$1; shift; exec setsid "$@" >"/var/log/$log" 2>&1 </dev/null &' sh "$log" "$@"
}
has_device() { ip -n "$LAB-$1" link show "$2"; }
through_device() { # DEVICE: what the other network gets goes into it
	local r net
	for r in router1 router2; do
		[ $r = router1 ] && net=192.168.30.0/24 || net=192.168.10.0/24
		ip -n "$LAB-$r" link set "$1" mtu 1420 txqueuelen 1000 up && ip -n "$LAB-$r" route add $net dev "$1" || return 1
	done
}
espfloor_up() {
	[ -x "$TOOLS/espfloor" ] || { echo "espfloor is not built: it needs libipsec-mb"; return 1; }
	start_on router1 espfloor.log "$TOOLS/espfloor" tun0 192.168.20.10 192.168.20.20 0
	start_on router2 espfloor.log "$TOOLS/espfloor" tun0 192.168.20.20 192.168.20.10 1
	waitfor 3 has_device router1 tun0 && waitfor 3 has_device router2 tun0 && through_device tun0
}
wireguard-go_up() { # [PROGRAM]
	local r program=${1:-wireguard-go}
	command -v "$program" >/dev/null || { echo "no $program: lab/deps test"; return 1; }
	for r in router1 router2; do
		(umask 077; wg genkey >"$WORK/$r.key") && wg pubkey <"$WORK/$r.key" >"$WORK/$r.pub" || return 1
		start_on $r wireguard.log env LOG_LEVEL=error WG_PROCESS_FOREGROUND=1 "$program" -f wg0
	done
	for r in router1 router2; do
		waitfor 5 on $r test -S /run/wireguard/wg0.sock || return 1
	done
	on router1 wg set wg0 listen-port 51820 private-key "$WORK/router1.key" \
		peer "$(cat "$WORK/router2.pub")" endpoint 192.168.20.20:51820 allowed-ips 192.168.30.0/24 || return 1
	on router2 wg set wg0 listen-port 51820 private-key "$WORK/router2.key" \
		peer "$(cat "$WORK/router1.pub")" endpoint 192.168.20.10:51820 allowed-ips 192.168.10.0/24 || return 1
	through_device wg0
}
wireguard-go-new_up() { wireguard-go_up "$(BUILD=$BUILD "$TESTS/bench/get-wireguard-go" "$OUT/wireguard-go")"; }

# Takes away the way in clear: whatever then arrives has come through the tunnel.
close_clear() {
	ip -n "$LAB-router1" route del 192.168.30.0/24 && ip -n "$LAB-router2" route del 192.168.10.0/24
	not netns client ping -q -c 1 -W 0.3 $SRV || { echo "the routers still forward in clear"; return 1; }
}
# Pings are answered, and what crosses meanwhile is what the driver should send.
through_tunnel() { # DRIVER
	bg seen "$WORK/seen" ip netns exec "$LAB-router1" timeout 5 tcpdump -Z root --immediate-mode -n -i eth1 -c 6 "${WIRE_OF[$1]}"
	waitfor 3 grep -q 'listening on' "$WORK/seen"
	netns client ping -n -q -c 4 -i 0.05 -w 5 $SRV
	bg_wait seen || { echo "no ${WIRE_OF[$1]} between the gateways"; cat "$WORK/seen"; return 1; }
}
# driver_up NAME: a fresh lab and the tunnel in it. Its output is in $WORK/up.
driver_up() {
	lab_up
	{
		declare -F "$1_up" >/dev/null || { echo "no driver $1"; return 1; }
		if [ "$1" = plain ]; then
			netns client ping -n -q -c 2 -i 0.05 -w 5 $SRV || return 1
		else
			close_clear && "$1_up" && through_tunnel "$1" || return 1
		fi
		DAEMONS=$(daemons)
		[ "$1" = plain ] || [ "$(wc -w <<<"$DAEMONS")" = 2 ] || { echo "not two daemons: $DAEMONS"; return 1; }
	} >"$WORK/up" 2>&1
}
# The daemons of driver_up are still there, the same ones, and traffic still goes through them.
driver_intact() { # DRIVER
	[ "$(daemons)" = "$DAEMONS" ] || { echo "a daemon died: before $DAEMONS, after $(daemons)"; return 1; }
	[ "$1" = plain ] || through_tunnel "$1" >"$WORK/intact" 2>&1 || { tail -n 2 "$WORK/intact"; return 1; }
}
driver_version() { # NAME
	case $1 in
	plain) uname -r ;;
	strongswan) "$CHARON" --version 2>/dev/null | head -n 1 ;;
	wireguard-go) wireguard-go --version 2>/dev/null | head -n 1 ;;
	wireguard-go-new) "$OUT/wireguard-go/usr/bin/wireguard-go" --version 2>/dev/null | head -n 1 ;;
	sekisho*) git -C "$TOP" describe --always --dirty 2>/dev/null || "$BUILD/src/ipsec/ipsec" --version ;;
	esac
}

# --- readings --------------------------------------------------------------------------------------
daemons() { # the gateways' processes, as the machine numbers them
	local p
	for p in $(ip netns pids "$LAB-router1") $(ip netns pids "$LAB-router2"); do
		case $(cat "/proc/$p/comm" 2>/dev/null) in pluto* | charon* | wireguard-go* | espfloor*) echo "$p" ;; esac
	done | paste -sd ' '
}
cpu() { # seconds of processor time that the daemons have used
	local p
	for p in $DAEMONS; do sed 's/.*) //' "/proc/$p/stat" 2>/dev/null; done | awk -v h="$HZ" '{t += $12 + $13} END {printf "%.2f", t / h}'
}
machine_cpu() { # seconds that the processors of this machine were busy
	awk -v h="$HZ" '$1 == "cpu" {printf "%.2f", ($2 + $3 + $4 + $7 + $8) / h}' /proc/stat
}
rss() { # KiB, the largest daemon
	local p
	for p in $DAEMONS; do awk '/^VmRSS/ {print $2}' "/proc/$p/status" 2>/dev/null; done | sort -n | tail -n 1
}
busy() { awk '$1 == "cpu" {print $2 + $3 + $4 + $7 + $8 + $9, $5 + $6}' /proc/stat; }
# Waits until the machine is nearly idle for half a second, QUIET_WAIT seconds at most and QUIET_TOTAL
# in the whole run.
QUIET_LEFT=$((${QUIET_TOTAL:-240} * 2))
quiet() {
	local a i
	for ((i = 0; i == 0 || (i < ${QUIET_WAIT:-15} * 2 && QUIET_LEFT > 0); i++)); do
		a=$(busy)
		sleep 0.5
		echo "$a $(busy)" | awk '{b = $3 - $1; i = $4 - $2; exit !(b < 0.12 * (b + i))}' && return 0
		QUIET_LEFT=$((QUIET_LEFT - 1))
	done
	return 1
}
machine() { # JSON
	jq -n --arg kernel "$(uname -r)" --arg cpu "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" --argjson cores "$(nproc)" \
		--arg system "$(. /etc/os-release && echo "$PRETTY_NAME")" --arg sekisho "$(driver_version sekisho)" \
		--arg mitigations "$(cat /sys/devices/system/cpu/vulnerabilities/{spectre_v2,spec_rstack_overflow} 2>/dev/null | paste -sd ';')" \
		'{$kernel, $cpu, $cores, $system, $mitigations, $sekisho}'
}

# --- a flow ----------------------------------------------------------------------------------------
iperf_server() {
	bg iperf "$WORK/iperf-server" ip netns exec "$LAB-server" iperf3 -s -1 -p 5201 --forceflush
	waitfor 3 grep -q listening "$WORK/iperf-server"
}
iperf_client() { # SECONDS ARGS...: JSON
	local secs=$1
	shift
	netns client timeout $((secs + 15)) iperf3 -J -c $SRV -p 5201 -t "$secs" "$@"
}
