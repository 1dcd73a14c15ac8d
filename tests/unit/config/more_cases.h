/* name, text, what is said, good connections */
{
	"left without a side",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tsubnet=10.0.0.0/8\n"
	,
	"t.conf:5: conn t: keyword \"subnet\" requires \"left\" or \"right\" prefix; write leftsubnet= or rightsubnet=\n"
	, 0,
},
{
	"a side too many",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftauto=start\n"
	,
	"t.conf:5: conn t: keyword \"leftauto\" is not one of an end; write auto=\n"
	, 0,
},
{
	"dash behind the side, any case",
	"conn t\n"
	"\tLEFT=192.168.20.10\n"
	"\tRight=192.168.20.20\n"
	"\tLeft-Subnet=10.0.0.0/8\n"
	"\tauthby=secret\n"
	,
	""
	, 1,
},
{
	"near misses",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsubnt=10.0.0.0/8\n"
	"conn u\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tdpdelay=10\n"
	"conn v\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tikelifetme=1h\n"
	"\tzzzzzz=1\n"
	,
	"t.conf:5: conn t: unknown keyword \"leftsubnt\"; did you mean \"leftsubnet\"?\n"
	"t.conf:10: conn u: unknown keyword \"dpdelay\"; did you mean \"dpddelay\"?\n"
	"t.conf:15: conn v: unknown keyword \"ikelifetme\"; did you mean \"ikelifetime\"?\n"
	"t.conf:16: conn v: unknown keyword \"zzzzzz\"\n"
	, 0,
},
{
	"near miss in setup",
	"config setup\n"
	"\tlogfle=/tmp/x\n"
	"\tuniqeids=no\n"
	,
	"t.conf:2: unknown keyword \"logfle\" in config setup; did you mean \"logfile\"?\n"
	"t.conf:3: unknown keyword \"uniqeids\" in config setup; did you mean \"uniqueids\"?\n"
	, 0,
},
{
	"column 0 hurts the section above only",
	"conn a\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"conn b\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"dpddelay=10\n"
	"conn c\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:9: conn b: dpddelay= stands in column 0; indent it: write a blank or a tab before dpddelay\n"
	, 2,
},
{
	"column 0 unknown",
	"conn a\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"frob=1\n"
	,
	"t.conf:5: conn a: \"frob=1\" in column 0 is no section; indent it, and check its spelling\n"
	, 0,
},
{
	"column 0 in setup",
	"config setup\n"
	"logfile=/tmp/x\n"
	"conn a\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:2: logfile= stands in column 0; indent it: write a blank or a tab before logfile\n"
	, 1,
},
{
	"value with blanks",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftid=C=JP, CN=x\n"
	,
	"t.conf:5: conn t: leftid= has a second word, \"CN=x\"; put a value with blanks into quotes\n"
	, 0,
},
{
	"quoted DN",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftid=\"C=JP, CN=x\"\n"
	,
	""
	, 1,
},
{
	"comment behind a value",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftid=@a # b\n"
	"\trightid=@b#c\n"
	,
	""
	, 1,
},
{
	"text behind a quote",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftid=\"@a\" b\n"
	,
	"t.conf:5: conn t: leftid= has \"b\" behind its closing quote\n"
	, 0,
},
{
	"empty value, comment",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftupdown= # none\n"
	"\tleftsubnet=\n"
	,
	"t.conf:6: conn t: leftsubnet= is empty; write a list of networks, as in 192.0.2.0/24 or 192.0.2.0/24/tcp/80\n"
	, 0,
},
{
	"brace without end",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsubnets={10.0.0.0/8 10.0.0.0/9\n"
	,
	"t.conf:5: conn t: leftsubnets= has a { without a }; end it with }\n"
	, 0,
},
{
	"updown",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftupdown=/bin/true\n"
	"\trightupdown=%disabled\n"
	,
	"t.conf:5: conn t: warning: leftupdown=/bin/true has no effect: it is not built yet\n"
	, 1,
},
{
	"default updown",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftupdown=\"ipsec _updown\"\n"
	,
	""
	, 1,
},
{
	"no effect once for many",
	"conn a\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tcompress=yes\n"
	"\tmobike=no\n"
	"conn b\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tcompress=yes\n"
	"conn c\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tcompress=no\n"
	,
	"t.conf:5: conn a: warning: compress=yes has no effect: it is not built yet (2 times)\n"
	, 3,
},
{
	"no effect, bad value",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tmobike=perhaps\n"
	"\tcompress=2\n"
	,
	"t.conf:5: conn t: mobike=perhaps is neither yes nor no; write yes or no\n"
	"t.conf:6: conn t: compress=2 is neither yes nor no; write yes or no\n"
	, 0,
},
{
	"removed",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftfirewall=yes\n"
	"\talsoflip=x\n"
	,
	"t.conf:5: conn t: leftfirewall=yes is not supported; remove it and open the firewall for UDP 500, UDP 4500 and ESP yourself\n"
	"t.conf:6: conn t: alsoflip=x is not supported; use also= and write left and right for this host\n"
	, 0,
},
{
	"forceencaps",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tforceencaps=yes\n"
	,
	"t.conf:5: conn t: warning: forceencaps=yes is an old spelling; write encapsulation=yes\n"
	, 1,
},
{
	"aggressive mode and XAUTH",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\taggressive=yes\n"
	"\tleftxauthclient=yes\n"
	"\tkeyexchange=ikev1\n"
	,
	"t.conf:5: conn t: aggressive=yes is for IKEv1, which is not supported; remove it: IKEv2 has one mode only\n"
	"t.conf:6: conn t: leftxauthclient=yes is for IKEv1, which is not supported; use IKEv2 with EAP or certificates on both sides: XAUTH is IKEv1\n"
	"t.conf:7: conn t: keyexchange=ikev1 asks for IKEv1, which RFC 9395 deprecates and this does not have; write keyexchange=ikev2 on both sides\n"
	, 0,
},
{
	"no aggressive mode",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\taggrmode=no\n"
	"\trightxauthserver=no\n"
	"\tkeyexchange=ikev2\n"
	,
	""
	, 1,
},
{
	"certificates",
	"conn a\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=rsasig\n"
	"conn b\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=ecdsa-sha2_256\n"
	"conn c\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tleftauth=secret\n"
	"\trightauth=rsasig\n"
	,
	"t.conf:4: conn a: authby=rsasig needs certificates, which are not built yet; use authby=secret\n"
	"t.conf:8: conn b: authby=ecdsa-sha2_256 needs certificates, which are not built yet; use authby=secret\n"
	"t.conf:13: conn c: rightauth=rsasig needs certificates, which are not built yet; use secret\n"
	, 0,
},
{
	"several methods",
	"conn a\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret,rsasig\n"
	"conn b\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret,null\n"
	"conn c\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=never\n"
	,
	"t.conf:4: conn a: warning: authby=secret,rsasig: certificates are not built yet, secret is used; write authby=secret\n"
	"t.conf:8: conn b: authby=secret,null has several that exclude each other; write one of them\n"
	"t.conf:12: conn c: a connection with IPsec needs authentication; write authby=secret, or type=passthrough or drop\n"
	, 1,
},
{
	"auth of each end",
	"conn a\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tleftauth=secret\n"
	"\trightauth=null\n"
	"conn b\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tleftauth=secret\n"
	,
	"t.conf:9: conn b: leftauth= without rightauth=; write both\n"
	, 1,
},
{
	"AH",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tah=sha2_256\n"
	"\tphase2=ah\n"
	"conn u\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tphase2=esp\n"
	,
	"t.conf:5: conn t: ah=sha2_256 is not supported; use esp=: AH is not built\n"
	"t.conf:6: conn t: phase2=ah is not supported; use phase2=esp: AH is not built\n"
	, 1,
},
{
	"numbers",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tmtu=70000\n"
	"\tpriority=-1\n"
	"\tmetric=4294967296\n"
	"\treqid=16384\n"
	"\ttfc=1x\n"
	"\treplay-window=5000\n"
	"\tleftikeport=0\n"
	,
	"t.conf:5: conn t: mtu=70000 is out of range; write a number from 0 to 65535\n"
	"t.conf:6: conn t: priority=-1 is not a number; write a number from 0\n"
	"t.conf:7: conn t: metric=4294967296 is out of range; write a number from 0 to 4294967295\n"
	"t.conf:8: conn t: reqid=16384 is out of range; write a number from 0 to 16383\n"
	"t.conf:9: conn t: tfc=1x is not a number; write a number from 0 to 65535\n"
	"t.conf:10: conn t: replay-window=5000 is out of range; write a number from 0 to 4096\n"
	"t.conf:11: conn t: leftikeport=0 is out of range; write a number from 1 to 65535\n"
	, 0,
},
{
	"percent",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\trekeyfuzz=100\n"
	"conn u\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\trekeyfuzz=10foo\n"
	"conn v\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\trekeyfuzz=2000%\n"
	,
	"t.conf:5: conn t: rekeyfuzz=100 has no % behind it; write a number and %, as in 100%\n"
	"t.conf:10: conn u: rekeyfuzz=10foo does not end in %; write a number and %, as in 100%\n"
	"t.conf:15: conn v: rekeyfuzz=2000% is over 1000%; write a number and %, as in 100%\n"
	, 0,
},
{
	"times",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tikelifetime=0xA\n"
	"conn u\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tdpddelay=1.5.2\n"
	"conn v\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tdpddelay=99999999999999999999h\n"
	"conn w\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tikelifetime=0\n"
	"conn x\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tdpddelay=-5\n"
	,
	"t.conf:5: conn t: ikelifetime=0xA is not a time: its unit \"xA\" is unknown; write a time: a number and s, m, h, d or w, as in 8h\n"
	"t.conf:10: conn u: dpddelay=1.5.2 is not a time: its unit \".2\" is unknown; write a time: a number and s, m, h, d or w, as in 8h\n"
	"t.conf:15: conn v: dpddelay=99999999999999999999h is too long a time; write a time: a number and s, m, h, d or w, as in 8h\n"
	"t.conf:20: conn w: ikelifetime=0 is too short; write 1s or more\n"
	"t.conf:25: conn x: dpddelay=-5 is not a time; write a time: a number and s, m, h, d or w, as in 8h\n"
	, 0,
},
{
	"short lifetime",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tsalifetime=25s\n"
	,
	"t.conf:5: conn t: warning: rekeymargin=540s with rekeyfuzz=100% is not below ipsec-lifetime=25s; choose a rekeymargin= well below the lifetime\n"
	, 1,
},
{
	"bytes",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tipsec-max-bytes=10XiB\n"
	"conn u\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tipsec-max-bytes=16EiB\n"
	"conn v\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tipsec-max-packets=0\n"
	,
	"t.conf:5: conn t: ipsec-max-bytes=10XiB is not a number of bytes: its unit is unknown; write a number of bytes, with KiB, MiB, GiB, TiB or PiB, as in 100MiB\n"
	"t.conf:10: conn u: ipsec-max-bytes=16EiB is too many bytes; write a number of bytes, with KiB, MiB, GiB, TiB or PiB, as in 100MiB\n"
	"t.conf:15: conn v: ipsec-max-packets=0 is out of range; write a number from 1 to 9223372036854775807\n"
	, 0,
},
{
	"marks",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tmark=-1\n"
	"conn u\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tmark=0x10/0xzz\n"
	"conn v\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tmark=5/\n"
	,
	"t.conf:5: conn t: mark=-1 (a mark that is chosen) is not built yet; give the connection a mark of its own, as in 0x10/0xff\n"
	"t.conf:10: conn u: mark=0x10/0xzz is not a mark: its mask is no number; write a number, with a mask, as in 0x10/0xff\n"
	"t.conf:15: conn v: mark=5/ is not a mark: its mask is no number; write a number, with a mask, as in 0x10/0xff\n"
	, 0,
},
{
	"subnets of all kinds",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsubnet=10.0.0.0/8/tcp/80,10.1.0.0/255.255.0.0,10.2.0.1/udp,10.3.0.0/16/17/1000-2000\n"
	,
	""
	, 1,
},
{
	"bad subnets",
	"conn a\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsubnet=10.0.0.0/8/frob\n"
	"conn b\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsubnet=10.0.0.0/8/tcp/99999\n"
	"conn c\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsubnet=10.0.0.0/255.0.255.0\n"
	"conn d\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsubnet=10.0.0.0/8/\n"
	"conn e\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsubnet=vhost:%priv\n"
	"conn f\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsubnet=10.0.0.0/8,2001:db8::/32\n"
	"conn g\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsubnet=10.0.0.0/8/0/80\n"
	"conn h\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsubnet=10.0.0.0/8/tcp/1/2\n"
	,
	"t.conf:5: conn a: leftsubnet=10.0.0.0/8/frob has a protocol that is neither known nor a number up to 255; write a list of networks, as in 192.0.2.0/24 or 192.0.2.0/24/tcp/80\n"
	"t.conf:10: conn b: leftsubnet=10.0.0.0/8/tcp/99999 has a port that is no number up to 65535; write a list of networks, as in 192.0.2.0/24 or 192.0.2.0/24/tcp/80\n"
	"t.conf:15: conn c: leftsubnet=10.0.0.0/255.0.255.0 has a mask that is none; write a list of networks, as in 192.0.2.0/24 or 192.0.2.0/24/tcp/80\n"
	"t.conf:20: conn d: leftsubnet=10.0.0.0/8/ has a / without something beside it; write a list of networks, as in 192.0.2.0/24 or 192.0.2.0/24/tcp/80\n"
	"t.conf:25: conn e: leftsubnet=vhost:%priv is for IKEv1; remove it: IKEv2 agrees on the networks by itself\n"
	"t.conf:30: conn f: leftsubnet=10.0.0.0/8,2001:db8::/32 mixes IPv4 and IPv6; use two connections, one for each family\n"
	"t.conf:35: conn g: leftsubnet=10.0.0.0/8/0/80 has a port without a protocol; write a list of networks, as in 192.0.2.0/24 or 192.0.2.0/24/tcp/80\n"
	"t.conf:40: conn h: leftsubnet=10.0.0.0/8/tcp/1/2 has more than prefix, length, protocol and port; write a list of networks, as in 192.0.2.0/24 or 192.0.2.0/24/tcp/80\n"
	, 0,
},
{
	"families of the networks",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsubnet=10.0.0.0/8\n"
	"\trightsubnet=2001:db8::/32\n"
	"conn u\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsubnet=2001:db8::/32\n"
	,
	"t.conf:6: conn t: the networks of left and right are not of the same family; use networks of one family on both sides\n"
	"t.conf:11: conn u: the networks of left and right are not of the same family; use networks of one family on both sides\n"
	, 0,
},
{
	"nexthop and sourceip",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftnexthop=%defaultroute\n"
	"\trightnexthop=2001:db8::1\n"
	"\tleftsourceip=2001:db8::1\n"
	"\tleftsubnet=10.0.0.0/8\n"
	"conn u\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsourceip=10.0.0.1,10.0.0.2\n"
	"\trightsourceip=foo\n"
	,
	"t.conf:6: conn t: rightnexthop= is not of the family of right=\n"
	"t.conf:7: conn t: leftsourceip= is not of the family of leftsubnet=\n"
	"t.conf:13: conn u: warning: leftsourceip= has several addresses: the first is used\n"
	"t.conf:14: conn u: rightsourceip=foo is not an address; write an address, as in 192.0.2.1 or 2001:db8::1\n"
	, 0,
},
{
	"protoport",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftprotoport=17/1701\n"
	"\trightprotoport=udp/%any\n"
	"conn u\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftprotoport=tcp\n"
	"\trightprotoport=udp\n"
	"conn v\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftprotoport=%any/5\n"
	"conn w\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftprotoport=tcp\n"
	"\tleftsubnet=10.0.0.0/8/udp\n"
	,
	"t.conf:12: conn u: leftprotoport= and rightprotoport= have different protocols; write the same protocol on both sides\n"
	"t.conf:17: conn v: leftprotoport=%any/5 has a port without a protocol; write a protocol and a port, as in tcp/80, 17/1701 or udp/%any\n"
	"t.conf:23: conn w: leftsubnet= and leftprotoport= both have a protocol; write it in one of the two\n"
	, 1,
},
{
	"hosts",
	"conn a\n"
	"\tleft=%eth0\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"conn b\n"
	"\tleft=gw.example.org\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"conn c\n"
	"\tleft=%opportunistic\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"conn d\n"
	"\tleft=a_name-that.is/wrong\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"conn e\n"
	"\tleft=192.168.20.20\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"conn f\n"
	"\tleft=%any\n"
	"\tauto=start\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"conn g\n"
	"\tleft=%thisinterfacenameistoolong\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:10: conn c: left=%opportunistic (opportunistic encryption) is not built yet; write an address, a name or %any\n"
	"t.conf:14: conn d: left=a_name-that.is/wrong is neither an address nor a name; write an address, a name, %any, %defaultroute or %INTERFACE\n"
	"t.conf:19: conn e: left= and right= are both 192.168.20.20; write the other end's address\n"
	"t.conf:23: conn f: warning: auto=start cannot call an end that is %any: it waits to be called; write auto=add\n"
	"t.conf:27: conn g: left=%thisinterfacenameistoolong is not the name of an interface; write an address, a name, %any, %defaultroute or %INTERFACE\n"
	, 3,
},
{
	"identities",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftid=192.168.20.300\n"
	"conn u\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftid=%fromcert\n"
	"conn v\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftid=%frob\n"
	"conn w\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftid=@#zz\n"
	"conn x\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftid=me@example.org\n"
	"\trightid=%any\n"
	,
	"t.conf:5: conn t: leftid=192.168.20.300 is not an address; write an address, or @ before a name\n"
	"t.conf:10: conn u: leftid=%fromcert needs certificates, which are not built yet; write the identity itself, as in @name\n"
	"t.conf:15: conn v: leftid=%frob is not an identity; write an address, @name, user@name, @[key id], a DN in quotes, %any or %null\n"
	"t.conf:20: conn w: leftid=@#zz is not an identity: '@#zz' is not '@#' and hexadecimal digits; write an address, @name, user@name, @[key id], a DN in quotes, %any or %null\n"
	, 1,
},
{
	"transport to the hosts",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\ttype=transport\n"
	"\tleftsubnet=192.168.20.10/32\n"
	,
	""
	, 1,
},
{
	"esn without a window",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\treplay-window=0\n"
	"\tesn=yes\n"
	"conn u\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\treplay-window=0\n"
	,
	"t.conf:6: conn t: warning: esn=yes needs a replay window, and replay-window= is 0: esn=no is used; write esn=no, or a replay-window=\n"
	, 2,
},
{
	"also: the first counts",
	"conn base\n"
	"\tleftsubnet=10.0.0.0/8\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"conn t\n"
	"\talso=base\n"
	"\tleft=192.168.20.10\n"
	"\tleftsubnet=10.1.0.0/16\n"
	"\tauthby=secret\n"
	,
	"t.conf:8: conn t: warning: leftsubnet= is ignored: the first counts, at t.conf:2\n"
	, 1,
},
{
	"also: nested, twice, itself",
	"conn a\n"
	"\tauthby=secret\n"
	"conn b\n"
	"\talso=a\n"
	"\tright=192.168.20.20\n"
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\talso=a\n"
	"\talso=b\n"
	"conn u\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\talso=u\n"
	,
	"t.conf:14: conn u: also=u comes back to itself; write the name of a conn section\n"
	, 1,
},
{
	"also: a base with an error",
	"conn base\n"
	"\tauthby=secret\n"
	"\tpfs=perhaps\n"
	"conn broken\n"
	"\tauthby=secret\n"
	"\tfrob=1\n"
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\talso=base\n"
	"conn u\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\talso=broken\n"
	"conn v\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:3: conn base: pfs=perhaps is neither yes nor no; write yes or no\n"
	"t.conf:6: conn broken: unknown keyword \"frob\"\n"
	"t.conf:7: conn t: it includes conn base, which has an error at t.conf:3\n"
	"t.conf:11: conn u: it includes conn broken, which has an error at t.conf:6\n"
	, 1,
},
{
	"%default: also, unknown, overridden",
	"conn %default\n"
	"\tpfs=no\n"
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"conn %default\n"
	"\talso=t\n"
	,
	"t.conf:8: conn %default: also=t is not allowed in conn %default; write the name of a conn section\n"
	, 0,
},
{
	"%default with a bad value",
	"conn %default\n"
	"\tpfs=perhaps\n"
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"conn u\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tpfs=yes\n"
	,
	"t.conf:2: conn %default: pfs=perhaps is neither yes nor no; write yes or no\n"
	, 1,
},
{
	"%default without connections",
	"conn %default\n"
	"\tpfs=perhaps\n"
	,
	"t.conf:2: conn %default: pfs=perhaps is neither yes nor no; write yes or no\n"
	, 0,
},
{
	"names",
	"conn a b\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"conn \"a b\"\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"conn %x\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"conn nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"conn a,b\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:1: conn takes one word, and \"b\" stands behind it\n"
	"t.conf:9: \"%x\" is not a name for a connection: those with % in front are reserved; begin the name with a letter\n"
	"t.conf:13: \"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\" is not a name for a connection: it has more than 63 bytes; shorten it\n"
	"t.conf:17: \"a,b\" is not a name for a connection; use letters, digits, - and _\n"
	, 1,
},
{
	"section headers",
	"CONN a\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"config\n"
	"\tfoo=1\n"
	"config frob\n"
	"\tfoo=1\n"
	"conn \"b\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:5: unknown section \"config\"; write config setup\n"
	"t.conf:7: unknown section \"config frob\"; write config setup\n"
	"t.conf:9: unterminated quote; end it with another quote\n"
	, 1,
},
{
	"include",
	"include\n"
	"include a b\n"
	"include nosuch\n"
	"include t.conf\n"
	"include nosuch*\n"
	"\tinclude also-nosuch\n"
	,
	"t.conf:1: include without a file; write include FILE\n"
	"t.conf:2: include takes one word, and \"b\" stands behind it\n"
	"t.conf:3: warning: could not open include file nosuch: there is none; make the file, or remove the line\n"
	"t.conf:4: warning: t.conf is included already and is not read again; remove one of the includes\n"
	"t.conf:6: warning: could not open include file also-nosuch: there is none; make the file, or remove the line\n"
	, 0,
},
{
	"keyword behind an include",
	"conn a\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"include nosuch*\n"
	"\tpfs=no\n"
	"conn b\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:6: conn a: a keyword after an include belongs to no section; move it above the include\n"
	, 1,
},
{
	"setup",
	"config setup\n"
	"\tuniqueids=perhaps\n"
	"\tprotostack=klips\n"
	"\tlisten=nowhere\n"
	"\tkeep-alive=2d\n"
	"\tddos-mode=frob\n"
	"\tplutodebug=frob,all\n"
	"\tikev1-policy=accept\n"
	"\tnhelpers=-1\n"
	"\texampledir=/x\n"
	"\tnssdir=/x\n"
	"\tdumpdir=/run/pluto\n"
	"conn a\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:2: uniqueids=perhaps is neither yes nor no; write yes or no\n"
	"t.conf:3: warning: protostack=klips is gone: auto is used; write protostack=auto\n"
	"t.conf:4: listen=nowhere is not an address; write an address, as in 192.0.2.1 or 2001:db8::1, or %any\n"
	"t.conf:5: warning: keep-alive=2d is above the maximum of 24h, which is used instead\n"
	"t.conf:6: ddos-mode=frob is not known; write auto, busy or unlimited\n"
	"t.conf:7: warning: plutodebug= has an unknown kind; write none, base or all\n"
	"t.conf:8: ikev1-policy=accept is for IKEv1, which is not supported; remove it: IKEv1 is deprecated by RFC 9395; use IKEv2 on both sides\n"
	"t.conf:10: exampledir=/x is not supported; remove it\n"
	"t.conf:11: warning: nssdir=/x has no effect: it is not built yet\n"
	, 1,
},
{
	"setup: the last counts",
	"config setup\n"
	"\tuniqueids=yes\n"
	"\tuniqueids=no\n"
	"config setup\n"
	"\tuniqueids=no\n"
	,
	"t.conf:3: warning: uniqueids=no overrides the one at t.conf:2\n"
	, 0,
},
{
	"subnets and subnet",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsubnets=10.1.0.0/16,10.2.0.0/16\n"
	"\tleftsubnet=10.3.0.0/16,10.4.0.0/16\n"
	"conn u\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsubnets=10.1.0.0/16,frob\n"
	"conn v\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsubnets=10.0.0.0/8\n"
	"\trightsubnets=2001:db8::/32\n"
	,
	"t.conf:5: conn t: leftsubnets=10.1.0.0/16,10.2.0.0/16 cannot stand beside a subnet= with several networks; write a list of networks, as in 192.0.2.0/24 or 192.0.2.0/24/tcp/80\n"
	"t.conf:11: conn u: leftsubnets=10.1.0.0/16,frob has an address that is none: frob; write a list of networks, as in 192.0.2.0/24 or 192.0.2.0/24/tcp/80\n"
	"t.conf:16: conn v: leftsubnets=10.0.0.0/8 has no network of the other end's family; write a list of networks, as in 192.0.2.0/24 or 192.0.2.0/24/tcp/80\n"
	, 0,
},
{
	"subnets that collide with a name",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsubnets=10.1.0.0/16,10.2.0.0/16\n"
	"conn t/2x0\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	"t.conf:6: conn t/2x0: the name is taken by the conn at t.conf:1; rename one of them\n"
	, 2,
},
{
	"a file without an end of line",
	"conn a\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	,
	""
	, 1,
},
{
	"control bytes in a value",
	"conn t\n"
	"\tleft=192.168.20.10\n"
	"\tright=192.168.20.20\n"
	"\tauthby=secret\n"
	"\tleftsubnet=a\rb\n"
	"\tleftid=@x\001y\n"
	,
	"t.conf:5: conn t: leftsubnet=a?b has an address that is none: a?b; write a list of networks, as in 192.0.2.0/24 or 192.0.2.0/24/tcp/80\n"
	, 0,
},
{
	"nothing",
	""
	,
	""
	, 0,
},
