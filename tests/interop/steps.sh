# shellcheck shell=bash
# The steps that both directions of initiation share.

# Sekisho's ike= and esp=, strongSwan's proposals and esp_proposals.
PROPOSALS="
aes_gcm256-sha2_512-dh19|aes_gcm256-dh19|aes256gcm16-prfsha512-ecp256|aes256gcm16-ecp256
chacha20_poly1305-sha2_256-dh31|chacha20_poly1305-dh31|chacha20poly1305-prfsha256-x25519|chacha20poly1305-x25519
aes128-sha2_256-dh14|aes128-sha2_256-dh14|aes128-sha256-modp2048|aes128-sha256-modp2048
"

sekisho_up() { on router1 ipsec auto --up net1 && child_up router1; }
sekisho_down() { on router1 ipsec auto --down net1; }
sekisho_load() { # KEY=VALUE...
	conf router1 auto=add "$@"
	on router1 ipsec auto --replace net1
}
esp_spis() { on router1 ipsec showstates | grep -oE 'esp\.[0-9a-f]+@' | sort | tr '\n' ' '; }

both_started() {
	ss_conf router2
	conf router1 auto=add
	check "strongSwan starts" ss_start router2
	check "the gateway starts" gw start router1
	check "the gateway answers" waitfor 5 answers router1
}

# renewed WHAT CMD...: what WHAT prints has to change within a few seconds of the command.
renewed() {
	local what=$1 before
	shift
	before=$($what)
	"$@" || return 1
	waitfor 5 differs "$before" "$what"
}
differs() { local n; n=$($2); [ -n "$n" ] && [ "$n" != "$1" ]; }
ss2_ike_spis() { ss_ike_spis router2; }
ss2_esp_spis() { ss_esp_spis router2; }
one_of_each() { [ "$(ike_sas router1)" = 1 ] && [ "$(children router1)" = 1 ] && [ "$(ss_children router2)" = 1 ]; }

# A peer that does not know RFC 9611 gets one Child SA and refuses nothing, whether our IKE_AUTH says
# SA_RESOURCE_INFO (16444: with several workers) or not. Once the capture is whole: asked FILE.
no_more_than_one() {
	check "strongSwan loads what it began with" ss_reload router2
	check "the gateway loads it" sekisho_load
	check "the gateway initiates" sekisho_up
	sleep 5 # it would have asked for more by now
	check "both have one Child SA" one_of_each
	check_not "nothing was refused" logged router1 'rejected with|was answered with|TS_MAX_QUEUE|NO_ADDITIONAL_SAS'
	mkdir "$WORK/keys"
	check "the keys are exported" on router1 ipsec export-keys "$WORK/keys"
	WORKERS=$(clones router1)
	check "the gateway closes" sekisho_down
}
asked() {
	local f=$1 want=0
	keyed() { WIRESHARK_CONFIG_DIR=$WORK/keys tshark -n -r "$f" -Y "$1" 2>/dev/null | wc -l; }
	[ "$WORKERS" = 0 ] || want=1
	check "tshark reads the IKE_AUTH request" equal "$(keyed 'isakmp.exchangetype == 35 && isakmp.flag_r == 0 && isakmp.id.type')" 1
	check "SA_RESOURCE_INFO is in it when there are several workers ($WORKERS)" \
		equal "$(keyed 'isakmp.exchangetype == 35 && isakmp.flag_r == 0 && isakmp.notify.msgtype == 16444')" $want
	check "and in nothing else: no other Child SA was asked for" equal "$(keyed 'isakmp.notify.msgtype == 16444')" $want
}

each_proposal() { # INITIATOR
	local who=$1 ike esp ss_p ss_esp line
	while IFS='|' read -r ike esp ss_p ss_esp; do
		[ -n "$ike" ] || continue
		note "ike=$ike esp=$esp"
		ss_conf router2 proposals="$ss_p" esp_proposals="$ss_esp"
		check "$ss_p: strongSwan loads it" ss_reload router2
		check "$ss_p: the gateway loads it" sekisho_load ike="$ike" esp="$esp"
		if [ "$who" = sekisho ]; then
			check "$ss_p: the gateway initiates" sekisho_up || { sekisho_down; continue; }
		else
			check "$ss_p: strongSwan initiates" ss_up router2 || { ss_ctl router2 --terminate --ike net1 >/dev/null 2>&1; continue; }
		fi
		check "$ss_p: strongSwan has the Child SA" waitfor 3 ss_has_child router2
		check "$ss_p: the gateway has the Child SA" waitfor 3 child_up router1
		check "$ss_p: a ping goes through" ping_ok
		check "$ss_p: and one the other way" ping_back
		flow_start
		check "$ss_p: the gateway rekeys the Child SA" renewed ss2_esp_spis on router1 ipsec rekey-child net1
		check "$ss_p: the gateway rekeys the IKE SA" renewed ss2_ike_spis on router1 ipsec rekey-ike net1
		sleep 0.3
		check "$ss_p: strongSwan rekeys the Child SA" renewed ss2_esp_spis ss_ctl router2 --rekey --child net1
		check "$ss_p: strongSwan rekeys the IKE SA" renewed ss2_ike_spis ss_ctl router2 --rekey --ike net1
		sleep 0.3
		check "$ss_p: the gateway rekeys the Child SA once more" renewed ss2_esp_spis on router1 ipsec rekey-child net1
		sleep 0.5
		flow_stop
		check "$ss_p: no ping was lost in five rekeys" flow_lost_none
		check "$ss_p: one IKE SA and one Child SA are left" waitfor 10 one_of_each
		if [ "$who" = sekisho ]; then
			check "$ss_p: the gateway closes" sekisho_down
		else
			check "$ss_p: strongSwan closes" ss_ctl router2 --terminate --ike net1
		fi
		check "$ss_p: nothing is left at strongSwan" waitfor 5 ss_no_ike router2
		check "$ss_p: nothing is left at the gateway" waitfor 5 no_child router1
	done <<<"$PROPOSALS"
}
