# From the rows of a run (slurped) to the report: medians, and the bars with what was measured.

def median: sort | if length == 0 then null
	elif length % 2 == 1 then .[(length - 1) / 2] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def medians: # of the rows of one driver, links and test: each number
	. as $rows | (map(keys[]) | unique - ["driver", "links", "test", "round", "quiet"]) as $keys
	| (reduce $keys[] as $k ({}; . + {($k): [$rows[] | .[$k] | select(. != null)] | median}))
	+ {rounds: length, busy: (map(select(.quiet | not)) | length)};
def over($reference): if . == null or $reference == null or $reference == 0 then null else . / $reference end;

# Each bar: what, unit, value; "least" or "most" so many times the reference, or an absolute limit
# when there is no reference.
def bar($figure; $unit; $value; $least; $times; $name; $reference):
	($value | over($reference)) as $ratio
	| {figure: $figure, unit: $unit, value: $value, against: $name, reference: $reference, least: $least, bar: $times, ratio: $ratio,
	holds: (if $ratio == null then null elif $least then $ratio >= $times else $ratio <= $times end)};
def least($figure; $unit; $value; $times; $name; $reference): bar($figure; $unit; $value; true; $times; $name; $reference);
def most($figure; $unit; $value; $times; $name; $reference): bar($figure; $unit; $value; false; $times; $name; $reference);
def limit($figure; $unit; $value; $limit):
	{figure: $figure, unit: $unit, value: $value, against: null, reference: null, least: false, bar: $limit,
	ratio: ($value | over($limit)), holds: (if $value == null then null else $value <= $limit end)};

. as $rows
| [$rows[] | select(.failed | not)] as $good
| (reduce ($good | group_by([.links, .driver, .test])[]) as $g ({};
	setpath([$g[0].links, $g[0].driver, $g[0].test]; $g | medians))) as $m
| ($m[$links] // {}) as $on | ($m.wire // {}) as $wire
| $on["sekisho-udp"] as $udp | $on["wireguard-go-new"] as $wg | $on.espfloor as $floor | $on.plain as $plain
| ($memory[0].rows // []) as $inmem
| def ns($what; $sas): [$inmem[] | select(.what == $what and .suite == "aes_gcm128" and .size == 1420 and .sas == $sas) | .ns] | first;
{
	taken: $at, rounds: $rounds, seconds: $secs, links: $links, machine: $machine, versions: $versions,
	order: ($order | split(" ")),
	median: $m,
	bars: [
		least("one TCP stream, ESP in UDP"; "Gb/s"; $udp.tcp1.gbps; 1; "espfloor"; $floor.tcp1.gbps),
		least("one TCP stream, ESP in UDP"; "Gb/s"; $udp.tcp1.gbps; 2.6; "wireguard-go-new"; $wg.tcp1.gbps),
		least("four TCP streams"; "Gb/s"; $udp.tcp4.gbps; 1; "espfloor"; $floor.tcp4.gbps),
		least("four TCP streams"; "Gb/s"; $udp.tcp4.gbps; 2.5; "wireguard-go-new"; $wg.tcp4.gbps),
		least("one TCP stream, reverse"; "Gb/s"; $udp.tcp1r.gbps; 1; "espfloor"; $floor.tcp1r.gbps),
		least("one TCP stream, reverse"; "Gb/s"; $udp.tcp1r.gbps; 2.5; "wireguard-go-new"; $wg.tcp1r.gbps),
		least("one TCP stream, MTU frames"; "Gb/s"; $wire["sekisho-udp"].tcp1.gbps; 0.62; "plain"; $wire.plain.tcp1.gbps),
		least("one TCP stream, MTU frames"; "Gb/s"; $wire["sekisho-udp"].tcp1.gbps; 1.8; "wireguard-go-new"; $wire["wireguard-go-new"].tcp1.gbps),
		least("one TCP stream, native ESP"; "Gb/s"; $on.sekisho.tcp1.gbps; 0.12; "plain"; $plain.tcp1.gbps),
		least("one TCP stream, native ESP"; "Gb/s"; $on.sekisho.tcp1.gbps; 5; "strongswan"; $on.strongswan.tcp1.gbps),
		most("processor time, both daemons"; "s/GB"; $udp.tcp1.cpu_s_per_gb; 1; "espfloor"; $floor.tcp1.cpu_s_per_gb),
		most("processor time, both daemons"; "s/GB"; $udp.tcp1.cpu_s_per_gb; 1 / 3; "wireguard-go-new"; $wg.tcp1.cpu_s_per_gb),
		least("64-byte UDP, < 1 % lost"; "kpps"; $udp.udp64.kpps; 0.6; "plain"; $plain.udp64.kpps),
		least("64-byte UDP, < 1 % lost"; "kpps"; $udp.udp64.kpps; 2; "wireguard-go-new"; $wg.udp64.kpps),
		most("ping, median"; "us"; $udp.ping.p50_us; 0.5; "wireguard-go-new"; $wg.ping.p50_us),
		most("ping, 99 of 100"; "us"; $udp.ping.p99_us; 0.5; "wireguard-go-new"; $wg.ping.p99_us),
		limit("seal in memory, 1,420 bytes"; "ns"; ns("seal"; 1); 220),
		limit("open in memory, 1,420 bytes"; "ns"; ns("open"; 1); 220),
		most("seal, 100,000 SAs at random"; "ns"; ns("seal"; 100000); 1.5; "one SA"; ns("seal"; 1)),
		most("open, 100,000 SAs at random"; "ns"; ns("open"; 100000); 1.5; "one SA"; ns("open"; 1)),
		limit("memory of the daemon, one tunnel"; "MiB"; ([$on.sekisho, $udp | select(.) | .tcp1.rss_mib, .tcp4.rss_mib] | max); 20),
		limit("heap calls and locks a packet"; ""; $heap[0].a_packet; 0)
	],
	heap: $heap[0], memory: $memory[0], start: $start[0],
	failed: [$rows[] | select(.failed)],
	rows: $good
}
