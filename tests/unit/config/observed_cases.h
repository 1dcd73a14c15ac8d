/* name, text, what is said, good connections */
{
	"good",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	,
	"t.conf:1: conn t: authby= is not set, and its default, certificates, is not built yet; write authby=secret\n"
	, 0,
},
{
	"missing file include",
	"include /etc/nosuch.conf\n"
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:1: warning: could not open include file /etc/nosuch.conf: there is none; make the file, or remove the line\n"
	, 1,
},
{
	"include glob without match",
	"include /etc/nosuch.d/*.conf\n"
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	""
	, 1,
},
{
	"unknown keyword",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tfoo=bar\n"
	"\tauthby=secret\n"
	,
	"t.conf:4: conn t: unknown keyword \"foo\"\n"
	, 0,
},
{
	"unknown keyword in config setup",
	"config setup\n"
	"\tfoo=bar\n"
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:2: unknown keyword \"foo\" in config setup\n"
	, 1,
},
{
	"unknown section",
	"foo bar\n"
	"\tleft=192.168.20.10\n"
	"\tauthby=secret\n"
	,
	"t.conf:1: unknown section \"foo bar\"; write config setup, conn NAME or include FILE\n"
	, 0,
},
{
	"conn without name",
	"conn\n"
	"\tleft=192.168.20.10\n"
	"\tauthby=secret\n"
	,
	"t.conf:1: conn without a name; write conn NAME\n"
	, 0,
},
{
	"parameter without indentation",
	"conn t\n"
	"left=192.168.20.10\n"
	"right=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:2: conn t: left= stands in column 0; indent it: write a blank or a tab before left\n"
	"t.conf:3: conn t: right= stands in column 0; indent it: write a blank or a tab before right\n"
	, 0,
},
{
	"parameter before any section",
	"\tleft=192.168.20.10\n"
	"\tauthby=secret\n"
	,
	"t.conf:1: a keyword before any section; write it under config setup or conn NAME\n"
	"t.conf:2: a keyword before any section; write it under config setup or conn NAME\n"
	, 0,
},
{
	"no equals sign",
	"conn t\n"
	"\tleft 192.168.20.10\n"
	,
	"t.conf:2: conn t: \"left 192.168.20.10\" has no =; write KEYWORD=VALUE\n"
	, 0,
},
{
	"empty value",
	"conn t\n"
	"\tleft=\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:2: conn t: left= is empty; write an address, a name, %any, %defaultroute or %INTERFACE\n"
	, 0,
},
{
	"bad address",
	"conn t\n"
	"\tleft=192.168.20.300\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:2: conn t: left=192.168.20.300 is not an address; write an address, a name, %any, %defaultroute or %INTERFACE\n"
	, 0,
},
{
	"bad subnet",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tleftsubnet=192.168.10.0/33\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:3: conn t: leftsubnet=192.168.10.0/33 has a prefix length over 32; write a list of networks, as in 192.0.2.0/24 or 192.0.2.0/24/tcp/80\n"
	, 0,
},
{
	"subnet with host bits",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tleftsubnet=192.168.10.1/24\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:3: conn t: warning: leftsubnet=192.168.10.1/24 has host bits that are set: they are cleared; write the first address of the network\n"
	, 1,
},
{
	"bad auto",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauto=maybe\n"
	"\tauthby=secret\n"
	,
	"t.conf:4: conn t: auto=maybe is not known; write ignore, add, ondemand, route, start, up or keep\n"
	, 0,
},
{
	"bad authby",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=wish\n"
	,
	"t.conf:4: conn t: authby=wish has \"wish\", which is not known; write authby=secret or null\n"
	, 0,
},
{
	"bad boolean",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tpfs=perhaps\n"
	"\tauthby=secret\n"
	,
	"t.conf:4: conn t: pfs=perhaps is neither yes nor no; write yes or no\n"
	, 0,
},
{
	"bad ikev2",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tikev2=maybe\n"
	"\tauthby=secret\n"
	,
	"t.conf:4: conn t: ikev2=maybe is not known; write insist, yes, always, propose, permit, no or never\n"
	, 0,
},
{
	"bad time",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tikelifetime=8x\n"
	"\tauthby=secret\n"
	,
	"t.conf:4: conn t: ikelifetime=8x is not a time: its unit \"x\" is unknown; write a time: a number and s, m, h, d or w, as in 8h\n"
	, 0,
},
{
	"time units",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tikelifetime=90m\n"
	"\tsalifetime=1d\n"
	"\trekeymargin=540\n"
	"\tauthby=secret\n"
	,
	""
	, 1,
},
{
	"too long lifetime",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tikelifetime=100d\n"
	"\tauthby=secret\n"
	,
	"t.conf:4: conn t: warning: ikelifetime=100d is above the maximum of 24h, which is used instead\n"
	, 1,
},
{
	"bad number",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\treplay-window=many\n"
	"\tauthby=secret\n"
	,
	"t.conf:4: conn t: replay-window=many is not a number; write a number from 0 to 4096\n"
	, 0,
},
{
	"bad ike",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tike=rot13-sha1\n"
	"\tauthby=secret\n"
	,
	"t.conf:4: conn t: ike=rot13-sha1: IKE encryption algorithm 'rot13' is not recognized; write proposals, as in aes_gcm256-sha2_512-dh19\n"
	, 0,
},
{
	"bad dh group",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tike=aes256-sha2;modp1024\n"
	"\tauthby=secret\n"
	,
	"t.conf:4: conn t: ike=aes256-sha2;modp1024: IKE DH algorithm 'modp1024' is not supported: it is too small (RFC 8247); use dh19, dh31 or modp2048 and larger\n"
	, 0,
},
{
	"bad esp",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tesp=aes256-rot13\n"
	"\tauthby=secret\n"
	,
	"t.conf:4: conn t: esp=aes256-rot13: ESP integrity algorithm 'rot13' is not recognized; write proposals, as in aes_gcm256 or aes256-sha2_256\n"
	, 0,
},
{
	"esp forms",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tike=aes256-sha2_512;dh14,aes_gcm256-sha2_256+sha2_512-dh19+dh14,chacha20_poly1305\n"
	"\tesp=aes_gcm256-null,aes128-sha1;modp2048,chacha20_poly1305\n"
	"\tauthby=secret\n"
	,
	"t.conf:5: conn t: esp=aes_gcm256-null,aes128-sha1;modp2048,chacha20_poly1305: ESP integrity algorithm 'sha1' is not supported: RFC 8247 advises against it; use sha2_256 or sha2_512\n"
	, 0,
},
{
	"phase2alg",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tphase2alg=aes256-sha2\n"
	"\tauthby=secret\n"
	,
	""
	, 1,
},
{
	"aes-sha1 dpd lint",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tdpddelay=10\n"
	"\tdpdtimeout=5\n"
	"\tdpdaction=restart\n"
	"\tauthby=secret\n"
	,
	"t.conf:5: conn t: warning: dpdtimeout=5 is below dpddelay=10 and has no effect in IKEv2; a dead peer is noticed dpddelay plus the retransmission timeout (retransmit-timeout=60s) after it falls silent; remove dpdtimeout=\n"
	, 1,
},
{
	"dpddelay only",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tdpddelay=10\n"
	"\tauthby=secret\n"
	,
	""
	, 1,
},
{
	"dpdtimeout only",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tdpdtimeout=60\n"
	"\tauthby=secret\n"
	,
	"t.conf:4: conn t: warning: dpdtimeout=60 has no effect in IKEv2; write retransmit-timeout= for how long a dead peer is waited for\n"
	, 1,
},
{
	"ikev1 dpd",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tikev2=no\n"
	"\tdpddelay=10\n"
	"\tdpdtimeout=5\n"
	"\tdpdaction=restart\n"
	"\tauthby=secret\n"
	,
	"t.conf:4: conn t: ikev2=no asks for IKEv1, which RFC 9395 deprecates and this does not have; write keyexchange=ikev2 on both sides\n"
	"t.conf:6: conn t: warning: dpdtimeout=5 is below dpddelay=10 and has no effect in IKEv2; a dead peer is noticed dpddelay plus the retransmission timeout (retransmit-timeout=60s) after it falls silent; remove dpdtimeout=\n"
	, 0,
},
{
	"bad dpdaction",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tdpddelay=10\n"
	"\tdpdtimeout=50\n"
	"\tdpdaction=explode\n"
	"\tauthby=secret\n"
	,
	"t.conf:5: conn t: warning: dpdtimeout=50 has no effect in IKEv2; write retransmit-timeout= for how long a dead peer is waited for\n"
	"t.conf:6: conn t: dpdaction=explode is not known; write hold, clear or restart\n"
	, 0,
},
{
	"duplicate keyword",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tleft=192.168.20.11\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:3: conn t: warning: left= is ignored: the first counts, at t.conf:2; remove one of them\n"
	, 1,
},
{
	"duplicate conn",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.21\n"
	"\tauthby=secret\n"
	,
	"t.conf:1: conn t: authby= is not set, and its default, certificates, is not built yet; write authby=secret\n"
	"t.conf:4: conn t: the name is taken by the conn at t.conf:1; rename one of them\n"
	, 0,
},
{
	"also",
	"conn base\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"conn t\n"
	"\talso=base\n"
	"\tleft=192.168.20.10\n"
	,
	""
	, 1,
},
{
	"also unknown",
	"conn t\n"
	"\talso=nosuch\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:2: conn t: also=nosuch names no conn of the configuration; write the name of a conn section\n"
	, 0,
},
{
	"also loop",
	"conn a\n"
	"\talso=t\n"
	"conn t\n"
	"\talso=a\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:1: conn a: it includes conn t, which has an error at t.conf:4\n"
	"t.conf:2: conn a: also=t comes back to itself; write the name of a conn section\n"
	"t.conf:3: conn t: it includes conn a, which has an error at t.conf:2\n"
	"t.conf:4: conn t: also=a comes back to itself; write the name of a conn section\n"
	, 0,
},
{
	"conn %default",
	"conn %default\n"
	"\tauthby=secret\n"
	"\tright=192.168.20.20\n"
	"conn t\n"
	"\tleft=192.168.20.10\n"
	,
	""
	, 1,
},
{
	"no right",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tauthby=secret\n"
	,
	"t.conf:1: conn t: right= is not set; write right=, one end's address\n"
	, 0,
},
{
	"any both",
	"conn t\n"
	"\tleft=%any\n"
	"\tright=%any\n"
	"\tauthby=secret\n"
	,
	"t.conf:3: conn t: left= and right= are both %any; write this host's address on one side\n"
	, 0,
},
{
	"defaultroute",
	"conn t\n"
	"\tleft=%defaultroute\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	""
	, 1,
},
{
	"defaultroute auto start",
	"conn t\n"
	"\tleft=%defaultroute\n"
	"\tright=192.168.20.20\n"
	"\tauto=start\n"
	"\tauthby=secret\n"
	,
	""
	, 1,
},
{
	"tabs spaces comments",
	"# a comment\n"
	"conn t   # trailing comment\n"
	"    left = 192.168.20.10     # comment\n"
	"\tright\t=\t192.168.20.20\n"
	"\n"
	"\t# comment inside\n"
	"\tauthby=secret\n"
	,
	""
	, 1,
},
{
	"quoted values",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tleftid=\"@host name\"\n"
	"\trightid='@other'\n"
	"\tauthby=secret\n"
	,
	""
	, 1,
},
{
	"unterminated quote",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tleftid=\"@host\n"
	"\tauthby=secret\n"
	,
	"t.conf:4: conn t: leftid= has an unterminated quote; end it with another quote\n"
	, 0,
},
{
	"subnets list",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tleftsubnets={192.168.10.0/24 192.168.11.0/24}\n"
	"\tright=192.168.20.20\n"
	"\trightsubnet=192.168.30.0/24\n"
	"\tauthby=secret\n"
	,
	""
	, 2,
},
{
	"crlf",
	"conn t\r\n"
	"\tleft=192.168.20.10\r\n"
	"\tright=192.168.20.20\r\n"
	"\tauthby=secret\r\n"
	,
	""
	, 1,
},
{
	"transport with subnets",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tleftsubnet=192.168.10.0/24\n"
	"\tright=192.168.20.20\n"
	"\trightsubnet=192.168.30.0/24\n"
	"\ttype=transport\n"
	"\tauthby=secret\n"
	,
	"t.conf:3: conn t: type=transport is between the two hosts: leftsubnet= does not fit; remove it, or write type=tunnel\n"
	"t.conf:5: conn t: type=transport is between the two hosts: rightsubnet= does not fit; remove it, or write type=tunnel\n"
	, 0,
},
{
	"passthrough",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=0.0.0.0\n"
	"\ttype=passthrough\n"
	"\tauthby=never\n"
	,
	""
	, 1,
},
{
	"obsolete keywords",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tkeyexchange=ike\n"
	"\tikev2=insist\n"
	"\tnat_traversal=yes\n"
	"\tike_frag=yes\n"
	"\tsha2_truncbug=yes\n"
	"\tcompress=no\n"
	"\ttype=tunnel\n"
	"\tauthby=secret\n"
	,
	"t.conf:5: conn t: warning: ikev2=insist is an old spelling; remove it: IKEv2 is what is used\n"
	"t.conf:6: conn t: unknown keyword \"nat_traversal\"\n"
	"t.conf:7: conn t: warning: ike_frag=yes is obsolete and ignored; write fragmentation=\n"
	"t.conf:8: conn t: warning: sha2_truncbug=yes has no effect: it is not built yet\n"
	, 0,
},
{
	"obsolete setup keywords",
	"config setup\n"
	"\tprotostack=netkey\n"
	"\tnat_traversal=yes\n"
	"\tvirtual_private=%v4:10.0.0.0/8\n"
	"\tvirtual-private=%v4:10.0.0.0/8,%v4:!192.168.10.0/24\n"
	"\toe=off\n"
	"\tplutodebug=all\n"
	"\tklipsdebug=none\n"
	"\tuniqueids=no\n"
	"\tinterfaces=%defaultroute\n"
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:3: warning: nat_traversal=yes is obsolete and ignored; remove it: NAT traversal is always on\n"
	"t.conf:4: warning: virtual_private=%v4:10.0.0.0/8 is obsolete and ignored; write virtual-private=\n"
	"t.conf:6: warning: oe=off is obsolete and ignored; remove it\n"
	"t.conf:8: warning: klipsdebug=none is obsolete and ignored; remove it\n"
	"t.conf:10: warning: interfaces=%defaultroute is obsolete and ignored; remove it\n"
	, 1,
},
{
	"ipv6",
	"conn t\n"
	"\tleft=2001:db8::1\n"
	"\tright=2001:db8::2\n"
	"\tleftsubnet=2001:db8:1::/64\n"
	"\trightsubnet=2001:db8:2::/64\n"
	"\tauthby=secret\n"
	,
	""
	, 1,
},
{
	"mixed families",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=2001:db8::2\n"
	"\tauthby=secret\n"
	,
	"t.conf:3: conn t: left= and right= are not of the same family; use addresses of one family\n"
	, 0,
},
{
	"version line",
	"version 2.0\n"
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	""
	, 1,
},
{
	"x keywords",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tx-anything=1\n"
	"\tx_other=2\n"
	"\tauthby=secret\n"
	,
	"t.conf:4: conn t: warning: X- style comment ignored: x-anything=\n"
	"t.conf:5: conn t: warning: X- style comment ignored: x_other=\n"
	, 1,
},
{
	"narrowing mobike fragmentation",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tnarrowing=yes\n"
	"\tmobike=yes\n"
	"\tfragmentation=force\n"
	"\tencapsulation=yes\n"
	"\tauthby=secret\n"
	,
	"t.conf:5: conn t: warning: mobike=yes has no effect: it is not built yet\n"
	"t.conf:6: conn t: warning: fragmentation=force has no effect: it is not built yet\n"
	, 1,
},
{
	"ike rekey settings",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\trekey=no\n"
	"\treauth=yes\n"
	"\tkeyingtries=3\n"
	"\tretransmit-timeout=10s\n"
	"\tretransmit-interval=250\n"
	"\tauthby=secret\n"
	,
	"t.conf:5: conn t: warning: reauth=yes has no effect: it is not built yet\n"
	"t.conf:6: conn t: warning: keyingtries=3 is obsolete and ignored; remove it: auto=start tries for ever, ipsec up once\n"
	, 1,
},
