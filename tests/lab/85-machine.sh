#!/bin/bash
# A machine that lacks something: one clear line and a non-zero exit, or the fall-back that the
# configuration allows.
. "$(dirname "$0")/../lib.sh"
need_product
lab_up
user_space
both auto=add
# foreground PATTERN SHELL-PREFIX...: pluto has to end by itself with a non-zero status and one line that matches
foreground() {
	local want=$1 out rc
	shift
	out=$(on router1 sh -c "$* timeout 5 pluto --nofork --stderrlog" 2>&1)
	rc=$?
	printf '%s\n' "$out" | tail -n 20
	[ $rc != 0 ] && [ $rc != 124 ] || { echo "exit $rc"; return 1; }
	grep -Eiq -- "$want" <<<"$out" || { echo "(nothing matches: $want)"; return 1; }
}
bg holder "$WORK/holder" ip netns exec "$LAB-router1" python3 -c '
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("192.168.20.10", 500))
print("bound", flush=True)
time.sleep(60)'
waitfor 5 grep -q bound "$WORK/holder"
check "port 500 in use: one line, non-zero exit" foreground '500.*(in use|EADDRINUSE)|(in use).*500'
check "port 500 in use: ipsec start fails too" not gw start router1
bg_stop holder KILL
check "nothing is left of it" nothing_left router1

check "no TUN device: one line, non-zero exit" foreground 'tun' 'unshare -m sh -c "mount -t tmpfs none /dev/net; \"\$@\"" --'
check "no privileges: one line, non-zero exit" foreground 'privilege|permi|capab|root' \
	'capsh --drop=cap_net_admin,cap_net_raw,cap_net_bind_service -- -c "\"\$@\"" --'
if netns router1 ip xfrm state add src 10.9.9.1 dst 10.9.9.2 proto esp spi 0x9999 mode tunnel aead 'rfc4106(gcm(aes))' 0x"$(printf '0%.0s' $(seq 40))" 128 2>/dev/null; then
	netns router1 ip xfrm state flush
	skip "protostack=xfrm without kernel ESP" "this kernel has ESP"
	skip "protostack=auto falls back to user space" "this kernel has ESP"
else
	setup router1 protostack=xfrm
	check "protostack=xfrm without kernel ESP: one line, non-zero exit" foreground 'ESP|xfrm'
	setup router1 protostack=auto
	setup router2 protostack=auto
	check "protostack=auto without kernel ESP: user space" tunnel
	check "the log says so once" equal "$(logged router1 'using user-space ESP: the kernel has no ESP' | grep -c .)" 1
	check "a ping goes through" ping_ok
	check "status gives the reason" json router1 '.protostack == "user" and (.protostack_reason | length > 0)' status
	gw stop router1 router2 >/dev/null
fi
user_space

check "no configuration file: one line, non-zero exit" sh -c "$TOP/lab/lab exec router1 sh -c 'timeout 5 pluto --nofork --stderrlog --config /etc/nosuch.conf' 2>&1 | tee $WORK/o; grep -q nosuch $WORK/o"
check "an unknown option: usage and non-zero exit" not on router1 timeout 5 pluto --nofork --nosuch
check "a run directory that cannot be made: one line, non-zero exit" fails_saying '/proc/nosuch' on router1 timeout 5 pluto --nofork --stderrlog --rundir /proc/nosuch

# a full disk stops no tunnel
on router1 mount -t tmpfs -o size=16k full /var/log
on router1 sh -c 'dd if=/dev/zero of=/var/log/filler bs=1k count=64' >/dev/null 2>&1
check "a full disk under the log: it starts" gw start router1
gw start router2 >/dev/null
waitfor 5 answers router2 >/dev/null
check "a full disk: up" up
check "a full disk: a ping goes through" ping_ok
check "a full disk: rekey" on router1 ipsec rekey-ike net1
gw stop router1 router2 >/dev/null
on router1 umount /var/log

on router1 chmod 644 /etc/ipsec.d/net1.secrets
check "secrets that anyone can read are warned about" says 'net1\.secrets.*(read|perm|mode|world)' on router1 ipsec checkconfig
