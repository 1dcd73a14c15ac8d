# shellcheck shell=bash
# strongSwan with its user-space ESP (kernel-libipsec) on a router of the lab, where /etc and
# /run are the router's own.
#
#   ss_conf router2 [KEY=VALUE...]   write its configuration (keys: see below)
#   ss_start router2                 start charon and load it
#   ss_ctl router2 --initiate --child net1
#   ss_stop router2 / ss_crash router2
#
# kernel-libipsec does tunnel mode in UDP 4500 only, whatever the peer: it makes both ends see a
# NAT. It has no ESN, one replay window, and does not follow a change of address.
CHARON=${CHARON:-/usr/lib/ipsec/charon}
[ -x "$CHARON" ] || CHARON=/usr/libexec/strongswan/charon

ss_need() {
	need_root
	[ -x "$CHARON" ] || skip_all "strongSwan's charon is not installed: lab/deps test"
	command -v swanctl >/dev/null || skip_all "swanctl is not installed: lab/deps test"
	local dir
	for dir in /usr/lib/ipsec /usr/lib64/strongswan /usr/lib/strongswan; do
		[ ! -e $dir/plugins/libstrongswan-kernel-libipsec.so ] || return 0
	done
	skip_all "strongSwan's kernel-libipsec plugin is not installed: lab/deps test"
}

# Keys: proposals, esp_proposals ("default" leaves them to strongSwan), secret, start_action,
# dpd_delay, dpd_action, rekey_time (of the Child SA), ike_rekey_time, local_ts, remote_ts.
ss_conf() { # ROUTER KEY=VALUE...
	local h=$1 kv
	shift
	local -A c=([proposals]=default [esp_proposals]=default [secret]=net1234567890 [start_action]=none
		[dpd_delay]=0s [dpd_action]=clear [rekey_time]=1h [ike_rekey_time]=4h)
	if [ "$h" = router1 ]; then
		c+=([local]=192.168.20.10 [remote]=192.168.20.20 [local_ts]=192.168.10.0/24 [remote_ts]=192.168.30.0/24)
	else
		c+=([local]=192.168.20.20 [remote]=192.168.20.10 [local_ts]=192.168.30.0/24 [remote_ts]=192.168.10.0/24)
	fi
	for kv; do c[${kv%%=*}]=${kv#*=}; done
	put "$h" /etc/strongswan.conf <<-C
		charon {
			load_modular = yes
			retransmit_tries = 3
			retransmit_timeout = 1.0
			plugins {
				include strongswan.d/charon/*.conf
				kernel-libipsec {
					load = yes
				}
			}
			filelog {
				stderr {
					time_format = %H:%M:%S
					default = 1
					ike = 2
					cfg = 2
					flush_line = yes
				}
			}
			syslog {
			}
		}
	C
	# its stroke plugin reads the gateway's secrets as well, which would let a wrong one pass
	on "$h" sh -c 'mkdir -p /etc/swanctl; : >/etc/ipsec.secrets'
	put "$h" /etc/swanctl/swanctl.conf <<-C
		connections {
			net1 {
				version = 2
				mobike = no
				local_addrs = ${c[local]}
				remote_addrs = ${c[remote]}
				proposals = ${c[proposals]}
				dpd_delay = ${c[dpd_delay]}
				rekey_time = ${c[ike_rekey_time]}
				keyingtries = 1
				local {
					auth = psk
					id = ${c[local]}
				}
				remote {
					auth = psk
					id = ${c[remote]}
				}
				children {
					net1 {
						local_ts = ${c[local_ts]}
						remote_ts = ${c[remote_ts]}
						esp_proposals = ${c[esp_proposals]}
						rekey_time = ${c[rekey_time]}
						start_action = ${c[start_action]}
						dpd_action = ${c[dpd_action]}
					}
				}
			}
		}
		secrets {
			ike-net1 {
				id-1 = ${c[local]}
				id-2 = ${c[remote]}
				secret = "${c[secret]}"
			}
		}
	C
}
ss_ctl() { local h=$1; shift; on "$h" swanctl "$@"; }
# In the background for good: nsenter's child is process 1's, as any daemon's.
ss_start() { # ROUTER
	on "$1" sh -c 'exec setsid "$0" >>/var/log/charon.log 2>&1 </dev/null &' "$CHARON"
	waitfor 15 ss_ctl "$1" --stats || return 1
	ss_ctl "$1" --load-all --noprompt
}
ss_reload() { ss_ctl "$1" --load-creds --clear --noprompt && ss_ctl "$1" --load-all --noprompt; }
ss_gone() { not on "$1" pgrep -x charon; }
ss_stop() { on "$1" pkill -x charon; waitfor 10 ss_gone "$1"; }
ss_crash() { # ROUTER; its TUN device goes with it, its routes with the device
	on "$1" pkill -KILL -x charon
	waitfor 5 ss_gone "$1"
	on "$1" rm -f /run/charon.pid /run/charon.vici
}
ss_up() { ss_ctl "$1" --initiate --child net1 --timeout 10; }
ss_has_child() { ss_ctl "$1" --list-sas | grep -q 'net1: #.*INSTALLED'; }
ss_no_ike() { [ -z "$(ss_ctl "$1" --list-sas)" ]; }
ss_children() { ss_ctl "$1" --list-sas | grep -c 'net1: #.*INSTALLED'; }
ss_log() { cat "$(state "$1")/log/charon.log"; }
# The SPIs of the Child SA and of the IKE SA, to see that a rekey made new ones.
ss_esp_spis() { ss_ctl "$1" --list-sas | awk '/^ *(in|out) / {print $1, $2}' | sort | tr '\n' ' '; }
ss_ike_spis() { ss_ctl "$1" --list-sas | grep -oE '[0-9a-f]{16}_[ir]\*?' | tr -d '*' | tr '\n' ' '; }
