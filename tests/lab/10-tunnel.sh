#!/bin/bash
# The article's files, unchanged: the tunnel comes up by itself, carries traffic both ways, and
# nothing but IKE and ESP crosses the link, also before the first SA. tshark judges the packets:
# with the exported keys it reads what both encrypted.
. "$(dirname "$0")/../lib.sh"
need_product
lab_up
WIRE=$WORK/link.pcap
capture router1 eth1 "$WIRE"

check "router1 starts" gw start router1
check "router1 answers" waitfor 5 answers router1
check "alone, it lets no ping through" ping_fails
check "and none out in clear" no_clear "$WIRE"
t=$(now)
check "router2 starts" gw start router2
check "the tunnel comes up by itself" waitfor 10 ping_ok 1
note "from the start of router2 to the first answer: $(since "$t") s"
check "client reaches server" ping_ok 3
check "server reaches client" ping_back 3
check "traceroute shows the path" says '192\.168\.30\.20' on client traceroute -n -w 1 -q 1 192.168.30.20
check "it shows router1 on the way" says '192\.168\.10\.20' on client traceroute -n -w 1 -q 1 192.168.30.20
check "TCP goes through" sh -c "
	ip netns exec $LAB-server timeout 20 python3 -c '
import socket
s = socket.create_server((\"192.168.30.20\", 5000))
c = s.accept()[0]
n = 0
while (b := c.recv(65536)): n += len(b)
print(n)' >$WORK/tcp &
	sleep 0.5
	ip netns exec $LAB-client timeout 20 python3 -c '
import socket
s = socket.create_connection((\"192.168.30.20\", 5000), timeout=5)
s.sendall(bytes(4 << 20))
s.close()'
	wait
	grep -qx 4194304 $WORK/tcp"
check "what the policy does not cover is left alone" on client ping -n -q -c 1 -W 1 192.168.20.20
mkdir "$WORK/keys"
check "the keys are exported" on router1 ipsec export-keys "$WORK/keys"
capture_stop "$WIRE"

check "nothing of the protected networks crossed in clear" no_clear "$WIRE"
check "ESP crossed the link as protocol 50" has_packets "$WIRE" 'ip proto 50' 12
check "no ESP in UDP" equal "$(packets "$WIRE" 'udp port 4500')" 0
check "tshark sees a request of IKE_SA_INIT" seen "$WIRE" 'isakmp.exchangetype == 34 && isakmp.flag_r == 0'
check "and a response" seen "$WIRE" 'isakmp.exchangetype == 34 && isakmp.flag_r == 1'
check "tshark sees IKE_AUTH in both directions" seen "$WIRE" 'isakmp.exchangetype == 35 && isakmp.flag_r == 1'
check "tshark finds no IKE message malformed" equal "$(shark "$WIRE" 'isakmp && _ws.malformed' | wc -l)" 0
check "an IKE_SA_INIT request of the article's gateway names AES-GCM (20) first" \
	says '^20' shark "$WIRE" 'isakmp.exchangetype == 34 && isakmp.flag_r == 0' -T fields -e isakmp.tf.id.encr
# tshark reads its tables of keys from its configuration folder
keyed() { WIRESHARK_CONFIG_DIR=$WORK/keys tshark -n -r "$WIRE" -o esp.enable_encryption_decode:TRUE "$@" 2>/dev/null; }
check "the export has a table for IKE" test -s "$WORK/keys/ikev2_decryption_table"
check "and one for ESP" test -s "$WORK/keys/esp_sa"
check "no one else can read them" equal "$(stat -c %a "$WORK/keys/ikev2_decryption_table" "$WORK/keys/esp_sa" | sort -u)" 600
check "tshark decrypts IKE_AUTH: the identity is there" says '192\.168\.20\.10' keyed -Y 'isakmp.exchangetype == 35' -T fields -e isakmp.id.data.ipv4_addr
check "it decrypts IKE_AUTH: the traffic selectors are there" says '192\.168\.30\.0' keyed -Y 'isakmp.exchangetype == 35' -T fields -e isakmp.ts.start_ipv4
check "tshark decrypts ESP: the ping is there" says 'Echo \(ping\) request' keyed -Y 'esp && icmp.type == 8'
check "and its answer" says 'Echo \(ping\) reply' keyed -Y 'esp && icmp.type == 0'
check "the next header says IPv4 in every one" equal "$(keyed -Y 'esp && icmp' -T fields -e esp.protocol | sort -u)" 0x04
check "sequence numbers of a direction never repeat" equal \
	"$(shark "$WIRE" esp -T fields -e ip.dst -e esp.spi -e esp.sequence | sort | uniq -d)" ""
for r in router1 router2; do check "$r is well" healthy $r; done
