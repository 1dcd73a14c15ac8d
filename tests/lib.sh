# shellcheck shell=bash
# What the suites written in bash share: TAP output, the lab, captures, pings, gateways.
#
#   . "$(dirname "$0")/../lib.sh"
#   lab_up
#   check "a ping goes through" on client ping -c 1 192.168.30.20
#
# A suite prints one line a check and its plan at the end; the trap takes the lab down, whatever
# happened. Every waiting has a limit.
set -u
TESTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOP=$(dirname "$TESTS")
SUITE=$(basename "$0" .sh)
export LAB=${LAB:-t} BUILD=${BUILD:-$TOP/build}
case $BUILD in /*) ;; *) BUILD=$TOP/$BUILD ;; esac
LOGS=${LOGS:-$BUILD/test-logs}
WORK=$(mktemp -d "${TMPDIR:-/tmp}/sekisho-test.XXXXXX")
mkdir -p "$LOGS"

# --- TAP ---------------------------------------------------------------------------------------
TAP_N=0
TAP_FAILED=0
exec 5>&1
say() { printf '%s\n' "$*" >&5; }
note() { printf '%s\n' "$*" | sed 's/^/# /' >&5; }
pass() { TAP_N=$((TAP_N + 1)); say "ok $TAP_N - $1"; }
fail() { TAP_N=$((TAP_N + 1)); TAP_FAILED=$((TAP_FAILED + 1)); say "not ok $TAP_N - $1"; }
skip() { TAP_N=$((TAP_N + 1)); say "ok $TAP_N - $1 # SKIP $2"; } # NAME REASON
skip_all() { say "1..0 # SKIP $1"; TAP_N=-1; exit 0; }

# check NAME CMD...: one test; its output is shown only when it fails.
check() {
	local name=$1
	shift
	if "$@" >"$WORK/check" 2>&1 </dev/null; then
		pass "$name"
	else
		local rc=$?
		fail "$name"
		note "$(printf '%q ' "$@") -> exit $rc"
		[ ! -s "$WORK/check" ] || tail -n 40 "$WORK/check" | sed 's/^/#   /' >&5
		return 1
	fi
}
# check_not NAME CMD...: the command has to fail.
check_not() {
	local name=$1
	shift
	check "$name" not "$@"
}
not() { ! "$@"; }
# exits N CMD...: the command has to exit with exactly N.
exits() {
	local want=$1 rc
	shift
	"$@"
	rc=$?
	[ $rc = "$want" ] || { echo "exit $rc, not $want"; return 1; }
}
# says PATTERN CMD...: the command's output (both streams) has to match the extended expression.
says() {
	local want=$1 out
	shift
	out=$("$@" 2>&1)
	printf '%s\n' "$out"
	grep -Eq -- "$want" <<<"$out" || { echo "(nothing matches: $want)"; return 1; }
}
says_not() {
	local want=$1 out
	shift
	out=$("$@" 2>&1)
	printf '%s\n' "$out"
	! grep -Eq -- "$want" <<<"$out" || { echo "(something matches: $want)"; return 1; }
}
# fails_saying PATTERN CMD...: it has to fail, and its output to match.
fails_saying() {
	local want=$1 out rc
	shift
	out=$("$@" 2>&1)
	rc=$?
	printf '%s\n' "$out"
	[ $rc != 0 ] || { echo "(exit 0)"; return 1; }
	grep -Eq -- "$want" <<<"$out" || { echo "(nothing matches: $want)"; return 1; }
}
equal() { [ "$1" = "$2" ] || { echo "got: $1"; echo "expected: $2"; return 1; }; }
# equal_count FUNCTION ROUTER N: for waitfor, which has to call it anew every time.
equal_count() { equal "$($1 "$2")" "$3"; }
# less A B: A < B, decimals allowed.
less() { awk -v a="$1" -v b="$2" 'BEGIN {exit !(a < b)}' || { echo "$1 is not below $2"; return 1; }; }

# waitfor SECONDS CMD...: repeats CMD until it succeeds.
waitfor() {
	local end=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
	shift
	until "$@" >/dev/null 2>&1 </dev/null; do
		[ "${EPOCHREALTIME/[.,]/}" -lt $end ] || { echo "waited in vain for: $*"; "$@"; return 1; }
		sleep 0.05
	done
}
now() { echo "$EPOCHREALTIME"; }
since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.2f", b - a}'; }

# --- the lab -----------------------------------------------------------------------------------
lab() { "$TOP/lab/lab" "$@"; }
on() { "$TOP/lab/lab" exec "$@"; }
# In the network namespace only, with the machine's own process ids: for what is killed by id.
netns() { local h=$1; shift; ip netns exec "$LAB-$h" "$@"; }
state() { echo "/run/sekisho-lab/$LAB/$1"; }

LAB_IS_UP=
need_root() { [ "$(id -u)" = 0 ] || skip_all "needs root"; }
need_product() {
	[ -x "$BUILD/src/pluto/pluto" ] && [ -x "$BUILD/src/ipsec/ipsec" ] ||
		{ say "not ok 1 - $BUILD has both programs"; say "1..1"; TAP_N=-1; exit 1; }
}
lab_up() {
	need_root
	[ -z "$LAB_IS_UP" ] || lab_down
	lab up || { say "not ok 1 - the lab comes up"; say "1..1"; TAP_N=-1; exit 1; }
	LAB_IS_UP=1
}
lab_down() {
	local r f
	[ -n "$LAB_IS_UP" ] || return 0
	captures_stop
	for r in router1 router2; do
		for f in "$(state $r)"/log/*; do
			[ ! -s "$f" ] || { echo "--- $SUITE $r"; cat "$f"; } >>"$LOGS/router.$SUITE.$r.$(basename "$f")"
		done
	done
	lab down
	LAB_IS_UP=
}
finish() {
	local rc=$?
	trap - EXIT
	stop_all
	lab_down
	rm -rf "$WORK"
	[ $TAP_N -lt 0 ] || say "1..$TAP_N"
	[ $TAP_FAILED = 0 ] || [ $rc != 0 ] || rc=1
	exit $rc
}
trap finish EXIT
trap 'exit 143' TERM INT HUP
rm -f "$LOGS/router.$SUITE".*

# Processes that a suite has in the background, by name of our own: ended at the latest by the trap.
declare -A BG=()
bg() { # NAME FILE CMD...: output goes to FILE
	local n=$1 f=$2
	shift 2
	"$@" >"$f" 2>&1 </dev/null &
	BG[$n]=$!
}
bg_stop() { # NAME [SIGNAL]
	local p=${BG[$1]-}
	[ -n "$p" ] || return 0
	unset "BG[$1]"
	kill -"${2:-TERM}" "$p" 2>/dev/null
	wait "$p" 2>/dev/null
}
bg_wait() { # NAME: its exit status
	local p=${BG[$1]-}
	unset "BG[$1]"
	wait "$p"
}
stop_all() { local n; for n in "${!BG[@]}"; do bg_stop "$n" KILL; done; }

# --- captures ----------------------------------------------------------------------------------
# capture HOST IF FILE [FILTER]: tcpdump in the background, listening when this returns.
capture() {
	local h=$1 i=$2 f=$3
	shift 3
	bg "capture $f" "$f.err" ip netns exec "$LAB-$h" tcpdump -Z root --immediate-mode -U -n -s 0 -B 8192 -i "$i" -w "$f" "$@"
	waitfor 5 grep -q 'listening on' "$f.err"
}
capture_stop() { # FILE
	sleep 0.3
	bg_stop "capture $1" TERM
	rm -f "$1.err"
}
captures_stop() { local n; for n in "${!BG[@]}"; do case $n in capture*) bg_stop "$n" TERM ;; esac; done; }
# packets FILE FILTER: how many packets of a capture match a filter of tcpdump's.
packets() { tcpdump -n -r "$1" "$2" 2>/dev/null | wc -l; }
# Native ESP, and ESP in UDP (4500 with anything but the non-ESP marker and keepalives).
ESP_FILTER='ip proto 50 or (udp port 4500 and udp[4:2] > 9 and udp[8:4] != 0)'
# What the article's policy covers, by the outer header.
CLEAR_FILTER='(src net 192.168.10.0/24 and dst net 192.168.30.0/24) or (src net 192.168.30.0/24 and dst net 192.168.10.0/24)'
no_clear() { # FILE: no packet of the protected networks, by the outer header
	local n
	n=$(packets "$1" "$CLEAR_FILTER")
	[ "$n" = 0 ] || { tcpdump -n -r "$1" "$CLEAR_FILTER" 2>/dev/null | head -n 5; echo "$n packets in clear"; return 1; }
}
has_packets() { # FILE FILTER [AT LEAST]
	local n
	n=$(packets "$1" "$2")
	echo "$n packets match $2"
	[ "$n" -ge "${3:-1}" ]
}
# shark FILE DISPLAY-FILTER [OPTIONS]: what tshark makes of a capture.
shark() {
	local f=$1 y=$2
	shift 2
	tshark -n -r "$f" -Y "$y" "$@" 2>/dev/null
}

seen() { [ -n "$(shark "$@")" ]; } # FILE DISPLAY-FILTER

# --- pings -------------------------------------------------------------------------------------
ping_ok() { on client ping -n -q -c "${1:-2}" -i 0.1 -W 1 192.168.30.20; }
ping_back() { on server ping -n -q -c "${1:-2}" -i 0.1 -W 1 192.168.10.10; }
ping_fails() { not on client ping -n -q -c 2 -i 0.2 -W 0.5 192.168.30.20; }
# flow_start [INTERVAL] / flow_stop: a steady ping from client to server. flow_lost prints how
# many of its requests had no answer (the very last one may still have been under way).
flow_start() {
	bg flow "$WORK/flow" ip netns exec "$LAB-client" ping -n -i "${1:-0.01}" 192.168.30.20
	waitfor 3 grep -q 'bytes from' "$WORK/flow"
}
flow_stop() { bg_stop flow INT; }
flow_lost() {
	awk '/bytes from/ {
			for (i = 1; i <= NF; i++) if (sub(/^icmp_seq=/, "", $i) && !($i in seen)) { seen[$i] = 1; n++ }
		}
		/packets transmitted/ { tx = $1 }
		END { if (!(tx in seen)) tx--; print tx - n }' "$WORK/flow"
}
flow_lost_none() {
	local n
	n=$(flow_lost)
	tail -n 3 "$WORK/flow"
	[ "$n" = 0 ] || { echo "$n lost, after the answers to:"; awk '/bytes from/ {for (i = 1; i <= NF; i++) if (sub(/^icmp_seq=/, "", $i)) {if ($i > last + 1) print last; last = $i}}' "$WORK/flow" | head; return 1; }
}

# --- gateways ----------------------------------------------------------------------------------
# conf ROUTER [KEY=VALUE...]: the article's connection with these keys changed or added; KEY=
# alone takes one out; "conn=NAME" names it.
conf() {
	local h=$1 kv k name=net1
	shift
	local -A c=()
	local order="left leftsubnet right rightsubnet auto authby dpddelay dpdtimeout dpdaction"
	if [ "$h" = router1 ]; then
		c=([left]=192.168.20.10 [leftsubnet]=192.168.10.0/24 [right]=192.168.20.20 [rightsubnet]=192.168.30.0/24)
	else
		c=([left]=192.168.20.20 [leftsubnet]=192.168.30.0/24 [right]=192.168.20.10 [rightsubnet]=192.168.10.0/24)
	fi
	c+=([auto]=add [authby]=secret [dpddelay]=10 [dpdtimeout]=5 [dpdaction]=restart)
	for kv; do
		k=${kv%%=*}
		if [ "$k" = conn ]; then name=${kv#*=}; continue; fi
		[ -n "${c[$k]+x}" ] || order+=" $k"
		c[$k]=${kv#*=}
	done
	{
		echo "conn $name"
		for k in $order; do [ -z "${c[$k]}" ] || printf '    %s=%s\n' "$k" "${c[$k]}"; done
	} | put "$h" "/etc/ipsec.d/$name.conf"
}
both() { conf router1 "$@"; conf router2 "$@"; } # the same keys on both
# setup ROUTER KEY=VALUE...: more lines of "config setup".
setup() {
	local h=$1 kv
	shift
	{
		echo 'config setup'
		printf '\tlogfile=/var/log/pluto.log\n'
		for kv; do printf '\t%s\n' "$kv"; done
		echo 'include /etc/ipsec.d/*.conf'
	} | put "$h" /etc/ipsec.conf
}
secret() { printf '%s\n' "$2" | put "$1" /etc/ipsec.d/net1.secrets; on "$1" chmod 600 /etc/ipsec.d/net1.secrets; } # ROUTER TEXT
put() { on "$1" tee "$2" >/dev/null; } # ROUTER FILE <text
gw() { # start|stop ROUTER...
	local verb=$1 h
	shift
	for h; do on "$h" ipsec "$verb" || return 1; done
}
answers() { on "$1" ipsec briefstatus; }
crash() { on "$1" pkill -KILL -x pluto; waitfor 5 not on "$1" pgrep -x pluto; } # ROUTER: only its own process ids are in reach
child_up() { on "$1" ipsec trafficstatus | grep -q "\"${2:-net1}\".*type=ESP"; }
no_child() { not child_up "$@"; }
no_states() { [ -z "$(on "$1" ipsec showstates 2>/dev/null | grep '#[0-9]')" ]; }
# Those for all traffic: with several workers each has one more, as a resource (RFC 9611).
children() { on "$1" ipsec showstates | grep "\"${2:-net1}\".*established Child SA" | grep -vc ' resource [0-9]'; }
clones() { on "$1" ipsec status --json | jq -r '[.connections[] | select(.name == "net1") | .clones][0]'; }
ike_sas() { on "$1" ipsec showstates | grep -c "\"${2:-net1}\".*established IKE SA"; }
plog() { cat "$(state "$1")/log/pluto.log"; } # ROUTER: its log so far
logged() { plog "$1" | grep -E -- "$2"; } # ROUTER PATTERN
# The back end under test. The suites of the lab run user space, which is there everywhere.
user_space() { setup router1 protostack=user "$@"; setup router2 protostack=user "$@"; }
up() { on "${1:-router1}" timeout "${2:-30}" ipsec auto --up net1; } # [ROUTER [LIMIT]]
down() { on "${1:-router1}" timeout 10 ipsec auto --down net1; }
replace() { on "$1" ipsec auto --replace "${2:-net1}"; } # ROUTER [NAME]
reload() { replace router1 && replace router2; } # after conf: both take the new configuration
json() { # ROUTER FILTER CMD...: what jq makes of the command's --json; the filter has to hold
	local h=$1 f=$2 out
	shift 2
	out=$(on "$h" ipsec "$@" --json) || { echo "$out"; return 1; }
	jq -e "$f" <<<"$out" || { echo "$out" | head -c 2000; return 1; }
}
spis() { on "$1" ipsec showstates | grep -oE 'esp\.[0-9a-f]+@' | sort | tr '\n' ' '; }
left_behind() { # ROUTER: what a gateway has in the system besides its process
	on "$1" sh -c '
		ip -o link show type tun 2>/dev/null | cut -d: -f2
		ip rule | grep -vE "lookup (local|main|default)"
		ip route show table all | grep -E "proto 94|table 220|dev ipsec"
		ip xfrm policy | grep -v "socket"
		ip xfrm state
		nft list tables 2>/dev/null | grep sekisho
		ls /run/pluto' 2>/dev/null
}
nothing_left() { local l; l=$(left_behind "$1"); [ -z "$l" ] || { echo "$l"; return 1; }; }
# The daemons of both routers run with the configuration written; then the tunnel is up.
start_both() { gw start router1 router2 && waitfor 5 answers router1 && waitfor 5 answers router2; }
tunnel() {
	start_both || return 1
	on router1 ipsec auto --up net1 || return 1
	waitfor 5 child_up router2
}
healthy() { # ROUTER: no report of a sanitizer, and the daemon is alive
	not logged "$1" 'Sanitizer|runtime error:' && on "$1" pgrep -x pluto
}
