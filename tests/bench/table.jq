# The report as text: tables of tab-separated lines with a blank line between them.

def f($n): if . == null then "-" else (. * pow(10; $n) | round) / pow(10; $n) | tostring end;
def digits: if . == null then "-" elif . >= 100 then f(0) elif . >= 10 then f(1) else f(2) end;
def over($x): if . == null or $x == null or $x == 0 then "-" else . / $x | digits end;
def mark: if . == null then "" else [.[] | .busy] | max | if . > 0 then "*" else "" end end;

. as $r
| def table($links):
	(.median[$links] // {}) as $m
	| ($m.plain.tcp1.gbps) as $plain | ($m["wireguard-go-new"].tcp1.gbps) as $wg | ($m.strongswan.tcp1.gbps) as $ss
	| ["links: " + $links, "1 TCP Gb/s", "4 TCP", "reverse", "64 B kpps", "ping p50 us", "p99", "CPU s/GB", "machine", "RSS MiB", "/ plain", "/ wg-go-new", "/ strongSwan"],
	(.order[] as $d | select($m[$d]) | $m[$d]
		| [$d + mark, (.tcp1.gbps | digits), (.tcp4.gbps | digits), (.tcp1r.gbps | digits), (.udp64.kpps | digits), (.ping.p50_us | f(0)), (.ping.p99_us | f(0)),
		(.tcp1.cpu_s_per_gb | digits), (.tcp1.machine_cpu_s_per_gb | digits), (.tcp1.rss_mib | f(1)),
		(.tcp1.gbps | over($plain)), (.tcp1.gbps | over($wg)), (.tcp1.gbps | over($ss))])
	| @tsv;
"medians of \(.rounds) rounds, \(.seconds) s a TCP run; \(.machine.cpu), \(.machine.cores) cores, kernel \(.machine.kernel)"
	+ (if any(.rows[]; .quiet | not) then "\n* some rounds began on a busy machine" else "" end),
"",
table(.links),
(if .links != "wire" and .median.wire then "", table("wire") else empty end),
(if (.failed | length) > 0 then "", (.failed[] | ["no figures: " + .driver, .links, "round \(.round)", .failed] | @tsv) else empty end),
"",
(["bar", "measured", "against", "", "ratio", "bar", "holds"],
(.bars[] | [.figure, (if .value == null then "-" else (.value | digits) + " " + .unit end), (.against // "-"), (.reference | digits),
	(.ratio | digits), (if .least then ">= " else "<= " end) + (.bar | digits) + (if .against then "" else " " + .unit end),
	(if .holds == null then "not measured" elif .holds then "hold" else "MISS" end)]) | @tsv),
(if .start then "",
	"start of both gateways to the first ping through the tunnel: \(.start.first_ping_s) s (goal: below 0.3 s)",
	"start until 1,000 connections are loaded: \(.start.load_1000_s) s; until one is: \(.start.load_1_s) s; for the 999 more: \(.start.load_1000_s - .start.load_1_s | f(2)) s (goal: below 0.2 s)"
	else empty end)
