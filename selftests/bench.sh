#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# bench.sh [a] [b] [c] [d] [e] [f] [g]: the benchmarks, or those that are named. As root.
#
#   a  a data path between rings in memory, split and packed: packets/s, instructions per packet
#   b  guest - bridge - veth - reflecting XDP program - bridge - guest, viaduct beside DPDK's testpmd
#      (net_vhost + net_af_xdp) with the same guest program, for each kind of ring, round by round; then 120 % of the
#      best rate
#   c  a bare AF_XDP socket on the same veth: what the kernel's part of (b) allows
#   d  TCP between the wire and the host's own address, without and with viaduct on the interface
#   e  TCP of a QEMU guest: default offloads, offloads off, and testpmd as the bridge
#   f  guest to guest, viaduct beside testpmd between two net_vhost ports, with the same guests: a testpmd whose two
#      virtio-user ports return to each other what they receive; round by round; then every loss by name
#   g  what a packet costs with 1, 16, 64 and 256 ports, of which one is busy, in memory and on the veth of (b)
#
# ROUNDS=7 SECONDS_PER_ROUND=2 WINDOW=128 (frames under way) PATIENCE=120 (seconds to wait in all for CPUs to share a
# cache, f). Bridges run on CPU 0, everything else on CPU 1.
# Every figure is the median of the rounds, every ratio that of the rounds' ratios. Figures of one run compare with each
# other only. "-" was not measured; a bar that needs it is missed. What the machine lacks is named instead: such a bar
# counts neither as met nor as missed.
ROUNDS=${ROUNDS:-7}
TIME=${SECONDS_PER_ROUND:-2}
WINDOW=${WINDOW:-128}
PATIENCE=${PATIENCE:-120}
RETRIES=${RETRIES:-2}
[ "$(id -u)" = 0 ] || { echo "bench.sh: run as root" >&2; exit 1; }
[ -n "${BENCH_ISOLATED:-}" ] || exec env BENCH_ISOLATED=1 "$(dirname "$0")/isolate.sh" "$0" "$@"
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"

SIZES="64 1500"
OUT=/run/bench		# survives clean_scene
mkdir -p $OUT
PARTS=${*:-a c b f g d e}
MISSED=0

title() { printf '\n%s\n' "$*"; }
note() { printf '  %s\n' "$*"; }
median() { sort -n "$1" | awk '{v[NR] = $1} END {if (NR) print v[int((NR + 1) / 2)]; else print "-"}'; }
# record FILE VALUE: a figure of round $r.
record() { echo "$2" >>"$1"; echo "$r $2" >>"$1.rounds"; }
# paired A B: the median of A / B over rounds that have both. What comes and goes on the machine meets both of a round.
paired() {
	join <(sort -k1,1 "$1.rounds") <(sort -k1,1 "$2.rounds") 2>/dev/null | awk '$2 > 0 && $3 > 0 {printf "%.3f\n", $2 / $3}' >$OUT/paired
	median $OUT/paired
}
# The median of rates; where nothing moved nothing was measured.
rate() { median "$1" | awk '{print ($1 > 0 ? $1 : "-")}'; }
calc() { awk "BEGIN {printf \"%.${2:-2}f\", $1}" 2>/dev/null || printf -- -; }
mpps() { calc "$1 / 1e6" 3; }
ratio() { calc "$1 / $2"; }
sum() { awk '{s += $1} END {print NR ? s : "-"}'; }
# bar CONDITION [REASON]: an awk condition; a bare "-" in it is a figure that was not measured. REASON: why it cannot be.
bar() {
	local v=MISSED
	if [ -n "${2:-}" ]; then
		echo "not measured: $2"
		touch $OUT/left_out
		return
	fi
	case " $1 " in
	*" - "*) v="not measured" ;;
	*) awk "BEGIN {exit !($1)}" && v=ok ;;
	esac
	echo "$v"
	[ "$v" = ok ] || touch $OUT/missed
}

# The veth of lib.sh without background noise, its far end reflecting.
bench_nic() { # QUEUES
	clean_scene
	rm -rf /sys/fs/bpf/bench
	make_nic "$1" || return 1
	sysctl -qw net.ipv6.conf.nic0.disable_ipv6=1
	in_wire sysctl -qw net.ipv6.conf.wire0.disable_ipv6=1
	bpftool prog loadall "$BUILD/reflect.bpf.o" /sys/fs/bpf/bench pinmaps /sys/fs/bpf/bench/maps &&
		in_wire bpftool net attach xdpdrv pinned /sys/fs/bpf/bench/reflect dev wire0
}

# --- (a) ---------------------------------------------------------------------

# instructions DIRECTION LEN PACKETS KIND [IDLE-PORTS]: of datapath_rx() or datapath_tx() and all they call
instructions() {
	local f=datapath_tx
	[ "$1" != rx ] || f=datapath_rx
	timeout 120 valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect=$f \
		"$BUILD/vd-bench-memory" "$@" 2>&1 | awk '/Collected :/ {print $4}'
}
direction_name() {
	case $1 in tx) echo "guest -> NIC" ;; rx) echo "NIC -> guest" ;; *) echo "guest -> guest" ;; esac
}

bench_a() {
	local n=20000 million=10 d len r p i k
	title "(a) data path between rings in memory, one core, all ends played by the same loop"
	note "instructions: datapath_rx() / datapath_tx() with all they call, (I(2N) - I(N)) / N"
	note "a guest's part of a packed ring, which has to be rewritten for every packet, is in the packets/s"
	printf '  %-14s %-7s %6s %14s %12s %18s\n' direction ring bytes "Mpackets/s" "ns/packet" "instructions/packet"
	for d in tx rx local; do
		for k in split packed; do
			for len in $SIZES; do
				: >$OUT/a
				for r in $(seq "$ROUNDS"); do
					timeout 60 taskset -c 0 "$BUILD/vd-bench-memory" $d "$len" ${million}000000 $k | jq .pps >>$OUT/a
				done
				p=$(rate $OUT/a)
				i=-
				command -v valgrind >/dev/null &&
					i=$(calc "($(instructions $d "$len" $((2 * n)) $k) - $(instructions $d "$len" $n $k)) / $n" 1)
				printf '  %-14s %-7s %6s %14s %12s %18s\n' "$(direction_name $d)" $k "$len" \
					 "$(mpps "$p")" "$(calc "1e9 / $p" 1)" "$i"
			done
		done
	done
}

# --- (c) ---------------------------------------------------------------------

bench_c() {
	local len r q
	title "(c) bare AF_XDP sockets: send, be reflected, receive; no guest (copy mode, one core, $WINDOW frames under way)"
	for q in 1 4; do
		bench_nic $q && bpftool net attach xdpdrv pinned /sys/fs/bpf/bench/to_socket dev nic0 || return 1
		for len in $SIZES; do
			: >$OUT/c$q.$len
			for r in $(seq "$ROUNDS"); do
				timeout 60 taskset -c 0 "$BUILD/vd-bench-xsk" nic0 /sys/fs/bpf/bench/maps/sockets "$len" \
					"$WINDOW" "$TIME" $q | jq .pps >>$OUT/c$q.$len
			done
		done
	done
	printf '  %6s %14s %14s %10s   (Mpackets/s)\n' bytes "1 NIC queue" "4 NIC queues" "4 / 1"
	for len in $SIZES; do
		printf '  %6s %14s %14s %10s\n' "$len" "$(mpps "$(rate $OUT/c1.$len)")" "$(mpps "$(rate $OUT/c4.$len)")" \
			"$(ratio "$(rate $OUT/c4.$len)" "$(rate $OUT/c1.$len)")"
	done
}

# --- (b) ---------------------------------------------------------------------

bridge_viaduct() { # PAIRS
	start_viaduct --uplink nic0 --wait busy --cpus 0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC,queues=$1"
}
bridge_testpmd() {
	timeout 60 dpdk-testpmd --no-huge -m 512 --no-pci --file-prefix "bench$$" --no-telemetry -l 0,1 --main-lcore 1 \
		--vdev "net_vhost0,iface=$SOCK,queues=1" --vdev "net_af_xdp0,iface=nic0" \
		-- --total-num-mbufs=16384 --forward-mode=io --auto-start --no-lsc-interrupt --stats-period 60 \
		>"$WORK/testpmd.log" 2>&1 &
	VIADUCT_PID=$!
	wait_for 20 test -S "$SOCK"
}
stop_bridge() {
	kill -TERM "$VIADUCT_PID" 2>/dev/null
	wait "$VIADUCT_PID" 2>/dev/null
	rm -f "$SOCK"
}

# generate PAIRS SECONDS LEN[,PPS] OPTIONS...: the guest; prints its totals as JSON
generate() {
	local pairs=$1 time=$2 what=$3; shift 3
	timeout 60 "$BUILD/viaduct-guest" "path=$SOCK,mac=$GUEST_MAC,queues=$pairs,packed_vq=${PACKED:-0}" --generate "$what" \
		--time "$time" --busy --cpu 1 --json "$@" 2>"$GUEST_LOG" || { tail -n 5 "$GUEST_LOG" >&2; return 1; }
}

# waited [PID...]: seconds that the threads of the bridge (or of these) have waited for a CPU although they were ready.
waited() {
	local p
	for p in "${@:-$VIADUCT_PID}"; do cat /proc/"$p"/task/*/schedstat; done | awk '{s += $2} END {printf "%.3f", s / 1e9}'
}
# The same for a program that never sleeps: its time minus what it had of the CPU.
TIMEFORMAT='%R %U %S'

# closed_loop NAME PAIRS LEN: one measurement, appended to $OUT/NAME.LEN; what was lost to $OUT/NAME.lost.
# When others took the CPUs away for more than 5 % of the time it is made again, at most $RETRIES times.
closed_loop() {
	local json before noise try
	for try in $(seq 0 "$RETRIES"); do
		before=$(waited)
		{ time json=$(generate "$2" "$TIME" "$3" --window "$WINDOW" --flows "$((4 * $2))"); } 2>$OUT/time
		[ -n "$json" ] || return 1
		noise=$(calc "($(waited) - $before + $(tail -n 1 $OUT/time | awk '{print $1 - $2 - $3}')) / $TIME" 3)
		awk "BEGIN {exit !($noise > 0.05)}" || break
	done
	echo "$noise" >>$OUT/noise
	record "$OUT/$1.$3" "$(jq '.returned / .seconds' <<<"$json")"
	jq '.lost + .damaged + .duplicated' <<<"$json" >>"$OUT/$1.lost"
}

# What viaduct lost inside, over all places that count.
lost_inside() {
	status '[.ports[] | .lost_in_ring, .drops[], .xdp.drops[], (.pair[] | .rx.drops[], .tx.drops[])] | add // 0'
}

round() { # NAME: one round of one bridge, from making the veth to taking it away
	local pairs=1 queues=1 ok=0 len PACKED=0
	case $1 in viaduct4) pairs=4 ;; viaduct44) pairs=4 queues=4 ;; *-packed) PACKED=1 ;; esac
	bench_nic $queues || return 1
	if [[ $1 = testpmd* ]]; then bridge_testpmd; else bridge_viaduct $pairs; fi || return 1
	# Warm-up: a bridge that has just started may lose what comes before it forwards.
	generate $pairs 1 64 --count 1000 --window 32 >/dev/null
	for len in $SIZES; do
		closed_loop "$1" $pairs "$len" || ok=1
	done
	[[ $1 = testpmd* || $ok != 0 ]] || lost_inside >>"$OUT/$1.inside"
	stop_bridge
	return $ok
}

bench_b() {
	local r who len bridges="viaduct viaduct-packed viaduct4 viaduct44" without= v t x f g k
	title "(b) guest - bridge - veth - reflected - bridge - guest; bridge on CPU 0, guest on CPU 1, $WINDOW frames under way"
	if command -v dpdk-testpmd >/dev/null; then
		bridges="viaduct testpmd viaduct-packed testpmd-packed viaduct4 viaduct44"
	else
		without="dpdk-testpmd is not installed (apt-get install dpdk)"
	fi
	rm -f $OUT/viaduct* $OUT/testpmd* $OUT/noise
	for r in $(seq "$ROUNDS"); do
		for who in $bridges; do
			round $who || { note "round $r of $who failed"; sed 's/^/    /' "$WORK"/*.log | tail -n 20; }
		done
	done
	touch $OUT/noise $OUT/{viaduct,testpmd,viaduct-packed,testpmd-packed,viaduct4,viaduct44}.{64,1500,lost,inside}
	printf '  %6s %-7s %10s %10s %16s %8s\n' bytes ring viaduct testpmd "viaduct/testpmd" "of (c)"
	for len in $SIZES; do
		for k in split packed; do
			f=; [ $k = packed ] && f=-packed
			v=$(rate $OUT/viaduct$f.$len) t=$(rate $OUT/testpmd$f.$len) x=$(paired $OUT/viaduct$f.$len $OUT/testpmd$f.$len)
			printf '  %6s %-7s %10s %10s %16s %8s   at least as fast as testpmd: %s\n' "$len" $k "$(mpps "$v")" "$(mpps "$t")" \
				"$(calc "$x")" "$([ -s $OUT/c1.$len ] && ratio "$v" "$(rate $OUT/c1.$len)")" "$(bar "$x >= 1" "$without")"
		done
	done
	printf '  %6s %10s %10s %8s %20s %8s   (split rings)\n' bytes "1 pair" "4 pairs" "4 / 1" "4 pairs, 4 queues" "4 / 1"
	for len in $SIZES; do
		v=$(rate $OUT/viaduct.$len)
		f=$(paired $OUT/viaduct4.$len $OUT/viaduct.$len) g=$(paired $OUT/viaduct44.$len $OUT/viaduct.$len)
		printf '  %6s %10s %10s %8s %20s %8s\n' "$len" "$(mpps "$v")" "$(mpps "$(rate $OUT/viaduct4.$len)")" "$(calc "$f")" \
			"$(mpps "$(rate $OUT/viaduct44.$len)")" "$(calc "$g")"
		note "  $len bytes: 4 pairs no slower than 1: on the same NIC $(bar "$f >= 1"), on one with 4 queues $(bar "$g >= 1")"
	done
	note "  4 NIC queues on one core cost the kernel more than one queue does, without viaduct as well: see (c)"
	note "  lost inside viaduct: $(cat $OUT/viaduct*.inside | sum): $(bar "$(cat $OUT/viaduct*.inside | sum) == 0")"
	note "  lost end to end: viaduct $(cat $OUT/viaduct*.lost | sum), testpmd $(cat $OUT/testpmd*.lost | sum)"
	note "  CPU time taken away from bridge and guest by others: $(calc "100 * $(sort -n $OUT/noise | tail -n 1)" 0) % in the worst round, $(calc "100 * $(median $OUT/noise)" 0) % in the median"
	for len in $SIZES; do
		open_loop "$len" "$(calc "1.2 * $(rate $OUT/viaduct.$len)" 0)" || { note "did not finish"; MISSED=1; }
	done
}

# --- (b), open loop: every loss by name ----------------------------------------

ethtool_sum() { # STATISTICS-PATTERN, `ethtool -S` on stdin
	awk -v p="$1" '$1 ~ p {s += $2} END {print s + 0}'
}

# ledger NAME COUNT...: one line of the account each; the sum to $LOST
account() {
	[ "$2" = 0 ] || printf '    %-52s %12d\n' "$1" "$2"
	LOST=$((LOST + $2))
}

open_loop() { # LEN PPS
	local json st nic wire sent got
	title "(b) open loop: $1 bytes, $(mpps "$2") Mpackets/s asked of the guest (120 % of the above), $TIME s"
	[ "$2" != - ] || { note "not measured: there is no best rate to go beyond"; return 1; }
	bench_nic 1 && bridge_viaduct 1 || return 1
	json=$(generate 1 "$TIME" "$1,$2" --flows 4) && status . >$OUT/status.json && [ -s $OUT/status.json ] ||
		{ stop_bridge; return 1; }
	nic=$(ethtool -S nic0) wire=$(in_wire ethtool -S wire0)
	ip -j -s link show nic0 >$OUT/nic.json
	in_wire ip -j -s link show wire0 >$OUT/wire.json
	stop_bridge
	sent=$(jq '.tx_packets // 0' <<<"$json") got=$(jq '.rx_packets // 0' <<<"$json")
	LOST=0
	note "sent by the guest $sent ($(mpps "$(jq .tx_pps <<<"$json")") Mpackets/s), received by the guest $got"
	note "not sent because the guest's tx ring was full (back-pressure, no loss): $(calc "($2 * $TIME > $sent) * ($2 * $TIME - $sent)" 0)"
	st() { jq "$1 // 0" $OUT/status.json; }
	for k in $(jq -r '.ports[0].pair[0].tx.drops | keys[]' $OUT/status.json); do
		account "viaduct, tx virtqueue: $k" "$(st ".ports[0].pair[0].tx.drops.$k")"
	done
	account "viaduct: uplink_down" "$(st .ports[0].drops.uplink_down)"
	account "viaduct: tx_errors of the NIC queue" "$(st '[.uplink.queues[].tx_errors] | add')"
	account "veth: not accepted by the far end (nic0 tx dropped)" "$(jq '.[0].stats64.tx.dropped' $OUT/nic.json)"
	account "far end: dropped before its program (wire0 drops)" "$(ethtool_sum 'rx_queue_[0-9]+_drops:' <<<"$wire")"
	account "far end: dropped by its program" "$(ethtool_sum 'rx_queue_[0-9]+_xdp_drops:' <<<"$wire")"
	account "far end: could not be sent back (xdp_tx_errors)" "$(ethtool_sum 'rx_queue_[0-9]+_xdp_tx_errors:' <<<"$wire")"
	for k in $(jq -r '.ports[0].xdp.drops | keys[]' $OUT/status.json); do
		account "XDP program: $k" "$(st ".ports[0].xdp.drops.$k")"
	done
	account "between program and ring (lost_in_ring)" "$(st .ports[0].lost_in_ring)"
	account "viaduct: no_guest_buffers" "$(st .ports[0].drops.no_guest_buffers)"
	account "viaduct: ring_not_running" "$(st .ports[0].drops.ring_not_running)"
	for k in $(jq -r '.ports[0].pair[0].rx.drops | keys[]' $OUT/status.json); do
		account "viaduct, rx virtqueue: $k" "$(st ".ports[0].pair[0].rx.drops.$k")"
	done
	note "sent = received + named losses: $sent = $got + $LOST: $(bar "$sent == $got + $LOST && $sent > 0 && $got > 0")"
}

# --- (d) ---------------------------------------------------------------------

tcp() { # FILE [-R]
	in_wire timeout 60 taskset -c 1 iperf3 -J -c $HOST_IP -t "$TIME" ${2:-} | jq '.end.sum_received.bits_per_second / 1e9' >>"$1"
}
bench_d() {
	local r how
	title "(d) TCP between the wire and the host's own address, Gbit/s (iperf3; frames of MTU size, far end without offloads)"
	rm -f $OUT/d.*
	for r in $(seq "$ROUNDS"); do
		for how in without with; do
			clean_scene
			make_nic 1 || return 1
			[ $how = without ] || start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" || return 1
			taskset -c 0 iperf3 -s -D --pidfile /run/iperf.pid >/dev/null
			wait_for 5 sh -c 'ss -ltn | grep -q :5201' || return 1
			tcp $OUT/d.in.$how
			tcp $OUT/d.out.$how -R
			kill "$(tr -d '\0' </run/iperf.pid)"
			[ $how = without ] || stop_viaduct
		done
	done
	printf '  %-14s %14s %14s %10s\n' direction without with ratio
	for how in in out; do
		printf '  %-14s %14s %14s %10s\n' "$([ $how = in ] && echo "wire -> host" || echo "host -> wire")" \
			"$(calc "$(rate $OUT/d.$how.without)")" "$(calc "$(rate $OUT/d.$how.with)")" \
			"$(ratio "$(rate $OUT/d.$how.with)" "$(rate $OUT/d.$how.without)")"
	done
}

# --- (e) ---------------------------------------------------------------------

vm_tcp() { # FILE [-R]
	local out
	out=$(vm "timeout $((TIME + 8)) iperf3 -J -c $WIRE_IP -t $TIME ${2:-}" | jq '(.end.sum_received.bits_per_second // 0) / 1e9' 2>/dev/null)
	record "$1" "${out:-0}"
}
# Emulated string instructions move one byte at a time, which would hide everything but the copy in the guest.
BENCH_CPU=max,la57=off,erms=off,fsrm=off
# vm_round HOW: a virtual machine on a bridge of its own, TCP both ways
vm_round() {
	local device=
	clean_scene
	make_nic 1 || return 1
	# First: a bridge that polls leaves little of its CPU to others.
	in_wire iperf3 -s >/dev/null 2>&1 &	# not -D: in a session of its own it would have less of the CPU than the bridge
	wait_for 5 sh -c "nsenter --net=/run/netns/wire ss -ltn | grep -q :5201" || return 1
	case $1 in
	on) start_viaduct --uplink nic0 --cpus 0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" ;;
	off) start_viaduct --uplink nic0 --cpus 0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC,offloads=off" ;;
	testpmd) bridge_testpmd ;;
	testpmd-off) bridge_testpmd && device=,csum=off,guest_csum=off,gso=off ;;
	esac || return 1
	guest_initramfs && VM_PREFIX="taskset -c 1" VM_CPUS=1 VM_CPU=$BENCH_CPU start_vm guest $(vhost_net "$SOCK" 1 "$device") && vm "ip addr add $GUEST_IP/24 dev eth0 && ip link set eth0 up" &&
		wait_for 20 vm "ping -q -c 1 -W 1 $WIRE_IP" || return 1
	vm_tcp $OUT/e.out.$1 && vm_tcp $OUT/e.in.$1 -R
	stop_bridge
}
no_vm() { # prints why there can be none
	if [ ! -e "$VM_DIR/vmlinuz" ]; then
		echo "no kernel for a virtual machine (selftests/vm-images.sh fetches it)"
	elif ! newer_qemu >/dev/null && ! command -v qemu-system-x86_64 >/dev/null; then
		echo "QEMU is not installed (apt-get install qemu-system-x86)"
	elif ! guest_initramfs >&2; then
		echo "no initramfs could be made for it"
	else
		return 1
	fi
}
bench_e() {
	local r how dir a b t o x hows="on off" why
	title "(e) TCP of a guest in QEMU (emulated: only the factors mean something), Gbit/s"
	why=$(no_vm) && { note "at least twice as fast with default offloads as without: $(bar 0 "$why")"; return; }
	QEMU_PROGRAM=$(newer_qemu || echo qemu-system-x86_64)
	note "QEMU $($QEMU_PROGRAM --version | grep -oE '[0-9]+\.[0-9]+' | head -n 1)"
	if command -v dpdk-testpmd >/dev/null; then
		hows="on off testpmd testpmd-off"
	else
		note "testpmd is not measured: it is not installed (apt-get install dpdk)"
	fi
	rm -f $OUT/e.*
	taskset -cp 0 $$ >/dev/null	# bridge and wire; the guest has CPU 1 for itself
	for r in $(seq "$ROUNDS"); do
		for how in $hows; do
			vm_round $how || { note "round $r of $how failed"; tail -n 5 "$WORK"/*.log | sed 's/^/    /'; }
		done
	done
	taskset -cp 1 $$ >/dev/null
	touch $OUT/e.{out,in}.{on,off,testpmd,testpmd-off}
	printf '  %-14s %16s %14s %10s %10s %14s %16s %18s\n' direction "default offloads" "offloads off" "factor" testpmd "on / testpmd" \
		"testpmd, off" "off / testpmd off"
	for dir in out in; do
		a=$(rate $OUT/e.$dir.on) b=$(rate $OUT/e.$dir.off) t=$(rate $OUT/e.$dir.testpmd)
		o=$(rate $OUT/e.$dir.testpmd-off) x=$(paired $OUT/e.$dir.on $OUT/e.$dir.off)
		printf '  %-14s %16s %14s %10s %10s %14s %16s %18s   at least twice as fast as off: %s\n' \
			"$([ $dir = out ] && echo "guest -> wire" || echo "wire -> guest")" "$(calc "$a" 3)" "$(calc "$b" 3)" "$(calc "$x")" \
			"$(calc "$t" 3)" "$(calc "$(paired $OUT/e.$dir.on $OUT/e.$dir.testpmd)")" "$(calc "$o" 3)" \
			"$(calc "$(paired $OUT/e.$dir.off $OUT/e.$dir.testpmd-off)")" "$(bar "$x >= 2")"
	done
	note "guest on CPU 1, bridge and wire on CPU 0 (testpmd, which polls, shares it with the wire)"
	note "off: the port offers no offloads; testpmd, off: the guest's device has none"
}

# --- (f) ---------------------------------------------------------------------

LOCAL_MAC=(52:54:00:00:00:0a 52:54:00:00:00:0b)
local_sock() { echo "$WORK/local$1.sock"; }
local_viaduct() {
	bench_nic 1 && start_viaduct --uplink nic0 --wait busy --cpus 0 \
		--port "name=a,socket=$(local_sock 0),mac=${LOCAL_MAC[0]}" --port "name=b,socket=$(local_sock 1),mac=${LOCAL_MAC[1]}"
	BRIDGE_PID=$VIADUCT_PID
}
local_testpmd() {
	clean_scene
	timeout 60 dpdk-testpmd --no-huge -m 512 --no-pci --file-prefix "bench$$" --no-telemetry -l 0,1 --main-lcore 1 \
		--vdev "net_vhost0,iface=$(local_sock 0),queues=1" --vdev "net_vhost1,iface=$(local_sock 1),queues=1" \
		-- --total-num-mbufs=16384 --forward-mode=io --auto-start --no-lsc-interrupt --stats-period 60 \
		>"$WORK/testpmd.log" 2>&1 &
	VIADUCT_PID=$!
	wait_for 20 test -S "$(local_sock 1)" && BRIDGE_PID=$(pgrep -P "$VIADUCT_PID")
}
# Both guests: one testpmd on CPU 1, told what to do line by line. Of what virtio-user offers, the fastest for each kind of
# ring, so that the bridge is what is measured.
start_pair() { # LEN
	local log=$WORK/pair.log device=queue_size=256
	[ $PACKED = 1 ] && device+=,packed_vq=1 || device+=,mrg_rxbuf=0,in_order=0,vectorized=1
	mkfifo "$WORK/pair.in" && : >"$log" || return 1
	stdbuf -oL timeout 60 dpdk-testpmd --no-huge -m 512 --no-pci --file-prefix "pair$$" --no-telemetry -l 0,1 --main-lcore 0 \
		--vdev "net_virtio_user0,path=$(local_sock 0),mac=${LOCAL_MAC[0]},$device" \
		--vdev "net_virtio_user1,path=$(local_sock 1),mac=${LOCAL_MAC[1]},$device" \
		-- -i --total-num-mbufs=16384 --eth-peer=0,${LOCAL_MAC[1]} --eth-peer=1,${LOCAL_MAC[0]} --forward-mode=io \
		--txpkts="$1" --no-flush-rx --no-lsc-interrupt <"$WORK/pair.in" >"$log" 2>&1 &
	PAIR_PID=$!
	exec 9>"$WORK/pair.in"
	wait_for 20 grep -q 'testpmd>' "$log" && PAIR_PID=$(pgrep -P "$PAIR_PID")
}
tell_pair() { echo "$*" >&9; }
# Rates of its ports since the last time, summed up.
pair_rate() {
	local n
	n=$(($(grep -c 'Rx-pps' "$WORK/pair.log") + 2))
	tell_pair show port stats all
	wait_for 5 sh -c "[ \$(grep -c Rx-pps $WORK/pair.log) -ge $n ]" && grep Rx-pps "$WORK/pair.log" | tail -n 2 | awk '{print $2}' | sum
}
# What is still on its way is received, and no more is sent. Prints how many frames did not come back.
pair_lost() {
	tell_pair stop
	tell_pair set fwd rxonly
	tell_pair start
	sleep 0.3
	tell_pair stop
	tell_pair quit
	exec 9>&-
	wait_for 10 sh -c "! kill -0 $PAIR_PID" || return 1
	# Of both runs; the first burst counts as sent.
	sed -n '/Accumulated/,/+++++$/p' "$WORK/pair.log" | tr -s ' ' '\n' |
		awk 'last == "RX-packets:" {rx += $1} last == "TX-total:" {tx += $1} last == "TX-dropped:" {lost += $1}
			{last = $1} END {print tx - rx + 0}'
}
# Nanoseconds that a cache line takes from CPU 0 to CPU 1, while nothing else runs there. In a virtual machine that comes and
# goes, by a factor of six. When they are far apart the guests' CPU, which waits for lines, is the bottleneck.
apart() { "$BUILD/vd-bench-cores" 0 1; }
FAR=80
# near_or_far NS NS: before and after; "mixed" is neither.
near_or_far() {
	awk "BEGIN {print ($1 < $FAR && $2 < $FAR) ? \"near\" : ($1 >= $FAR && $2 >= $FAR) ? \"far\" : \"mixed\"}"
}
# Waits until they are near, for $PATIENCE seconds in all.
wait_near() {
	while [ "$PATIENCE" -gt 0 ] && [ "$(apart)" -ge $FAR ]; do
		sleep 1
		PATIENCE=$((PATIENCE - 1))
	done
}
# local_round BRIDGE LEN: one measurement, made again when others took the CPUs away
local_round() {
	local before noise pps try name=f.$1-$PACKED r=$r distance
	wait_near
	distance=$(apart)
	"local_$1" || return 1
	start_pair "$2" || { tail -n 5 "$WORK/pair.log"; return 1; }
	sleep 0.5	# a bridge whose ports are not ready yet loses some of the frames that are to go round
	tell_pair start tx_first $((WINDOW / 32))
	sleep 0.3
	for try in $(seq 0 "$RETRIES"); do
		pair_rate >/dev/null
		before=$(waited "$BRIDGE_PID" "$PAIR_PID")
		sleep "$TIME"
		noise=$(calc "($(waited "$BRIDGE_PID" "$PAIR_PID") - $before) / $TIME" 3)
		pps=$(pair_rate) || return 1
		awk "BEGIN {exit !($noise > 0.05)}" || break
	done
	echo "$noise" >>$OUT/f.noise
	pair_lost >>"$OUT/$name.lost" || return 1
	[ "$1" != viaduct ] || lost_inside >>"$OUT/$name.inside"
	stop_bridge
	# Figures are compared with those of the same round and the same distance only.
	distance=$(near_or_far "$distance" "$(apart)")
	[ "$distance" != mixed ] || return 0
	r=$r-$distance
	record "$OUT/$name.$2" "$pps"
	echo "$r $pps" >>"$OUT/$name.$2-$distance.rounds"
}

# A receiver that stops for a moment: every loss by name.
local_open_loop() { # LEN
	local k got sent sink source
	title "(f) open loop: $1 bytes as fast as the sender can, $TIME s; the receiver stands still for 0.3 s of it"
	local_viaduct || return 1
	timeout 60 "$BUILD/viaduct-guest" "path=$(local_sock 1),mac=${LOCAL_MAC[1]}" --sink --cpu 1 --json >"$WORK/sink.json" 2>"$WORK/sink.log" &
	sink=$!
	wait_for 10 grep -q ready "$WORK/sink.log" || return 1
	timeout 60 "$BUILD/viaduct-guest" "path=$(local_sock 0),mac=${LOCAL_MAC[0]}" --generate "$1" --dst "${LOCAL_MAC[1]}" \
		--time "$TIME" --cpu 1 --json >"$WORK/source.json" 2>"$WORK/source.log" &
	source=$!
	wait_for 10 grep -q ready "$WORK/source.log" && sleep 0.3 || return 1
	kill -STOP "$(pgrep -P $sink)" && sleep 0.3 && kill -CONT "$(pgrep -P $sink)"
	wait $source
	sleep 0.3
	status . >$OUT/status.json
	kill -TERM $sink
	wait $sink
	sent=$(jq '.tx_packets // 0' "$WORK/source.json") got=$(jq '.rx_packets // 0' "$WORK/sink.json")
	stop_bridge
	LOST=0
	note "sent by the guest $sent, received by the other $got"
	for k in $(jq -r '.ports[0].drops | keys[]' $OUT/status.json); do
		account "viaduct, from the sender: $k" "$(jq ".ports[0].drops.$k" $OUT/status.json)"
	done
	for k in $(jq -r '.ports[0].pair[0].tx.drops | keys[]' $OUT/status.json); do
		account "viaduct, tx virtqueue: $k" "$(jq ".ports[0].pair[0].tx.drops.$k" $OUT/status.json)"
	done
	for k in $(jq -r '.ports[1].drops | keys[]' $OUT/status.json); do
		account "viaduct, to the receiver: $k" "$(jq ".ports[1].drops.$k" $OUT/status.json)"
	done
	for k in $(jq -r '.ports[1].pair[0].rx.drops | keys[]' $OUT/status.json); do
		account "viaduct, rx virtqueue: $k" "$(jq ".ports[1].pair[0].rx.drops.$k" $OUT/status.json)"
	done
	note "sent = received + named losses: $sent = $got + $LOST: $(bar "$sent == $got + $LOST && $sent > 0 && $got > 0")"
}

# ratio_of A B: and of how many rounds
ratio_of() { echo "$(calc "$(paired "$1" "$2")") ($(grep -c . $OUT/paired))"; }

bench_f() {
	local r who len v t x k least why PACKED bridges="viaduct testpmd"
	title "(f) guest to guest; bridge on CPU 0 (viaduct --wait busy), both guests on CPU 1, $WINDOW frames under way each way"
	if ! command -v dpdk-testpmd >/dev/null; then
		note "dpdk-testpmd is not installed (apt-get install dpdk): it is also the guests"
		for len in $SIZES; do note "$len bytes: $(bar 0 "no testpmd")"; done
		return
	fi
	rm -f $OUT/f.*
	note "of the rounds' ratios those count whose two sides both found the CPUs sharing a cache (lines pass in less than $FAR ns)"
	for r in $(seq "$ROUNDS"); do
		for PACKED in 0 1; do
			for len in $SIZES; do
				for who in $bridges; do
					local_round $who "$len" || { note "round $r of $who failed"; sed 's/^/    /' "$WORK"/*.log | tail -n 20; }
				done
			done
		done
	done
	touch $OUT/f.{viaduct,testpmd}-{0,1}.{64,1500,lost,inside} $OUT/f.noise
	touch $OUT/f.{viaduct,testpmd}-{0,1}.{64,1500}{,-near,-far}.rounds
	printf '  %6s %-7s %10s %10s %16s %14s   (Mpackets/s, both directions together; ratios: in brackets, of how many rounds)\n' \
		bytes ring viaduct testpmd "viaduct/testpmd" "far apart"
	for len in $SIZES; do
		for PACKED in 0 1; do
			k=split; [ $PACKED = 0 ] || k=packed
			v=$OUT/f.viaduct-$PACKED.$len t=$OUT/f.testpmd-$PACKED.$len
			x=$(paired $v $t)
			least=1.2; [ "$len" = 64 ] || least=1.5
			why=; x=$(paired $v-near $t-near)
			[ "$x" != - ] || [ ! -s $v-far.rounds ] || why="the two CPUs' caches are far apart, the guests are the bottleneck"
			printf '  %6s %-7s %10s %10s %16s %14s   at least %s when near: %s\n' "$len" $k "$(mpps "$(rate $v)")" \
				"$(mpps "$(rate $t)")" "$(ratio_of $v-near $t-near)" "$(ratio_of $v-far $t-far)" \
				$least "$(bar "$x >= $least" "$why")"
		done
	done
	v=$(cat $OUT/f.viaduct-*.lost | sum) t=$(cat $OUT/f.testpmd-*.lost | sum)
	note "  lost end to end: viaduct $v, of that counted inside $(cat $OUT/f.viaduct-*.inside | sum), testpmd $t"
	note "  nothing lost between viaduct's guests: $(bar "$v == 0")"
	note "  CPU time taken away from bridge and guests by others: $(calc "100 * $(sort -n $OUT/f.noise | tail -n 1)" 0) % in the worst round, $(calc "100 * $(median $OUT/f.noise)" 0) % in the median"
	for len in $SIZES; do
		local_open_loop "$len" || { note "did not finish"; MISSED=1; }
	done
}

# --- (g) ---------------------------------------------------------------------

# many_round PORTS: the guest of (b), beside others that are connected and idle
many_round() {
	local n=$1 i ports=() socks=() len PACKED=0
	bench_nic 1 || return 1
	for i in $(seq 1 $((n - 1))); do
		socks+=("$WORK/idle$i.sock")
		ports+=(--port "name=idle$i,socket=$WORK/idle$i.sock,mac=52:54:00:00:01:$(printf %02x "$i")")
	done
	start_viaduct --uplink nic0 --wait busy --cpus 0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" "${ports[@]}" || return 1
	if [ "$n" -gt 1 ]; then
		"$BUILD/vd-idle-guests" "${socks[@]}" 2>"$WORK/idle.log" &
		wait_for 60 grep -q ready "$WORK/idle.log" || return 1
	fi
	generate 1 1 64 --count 1000 --window 32 >/dev/null
	for len in $SIZES; do
		closed_loop "many$n" 1 "$len" || return 1
	done
	stop_bridge
}

bench_g() {
	local r n len a x counts="1 16 64 256" idle i= k
	title "(g) cost of a packet beside idle ports: one guest is busy, all others are connected and send nothing"
	note "in memory: guest -> NIC, 64 bytes, split ring, medians of $ROUNDS"
	for n in $counts; do
		idle=$((n - 1)) i=-
		: >$OUT/g.$n
		for r in $(seq "$ROUNDS"); do
			timeout 60 taskset -c 0 "$BUILD/vd-bench-memory" tx 64 5000000 split $idle | jq .pps >>$OUT/g.$n
		done
		if command -v valgrind >/dev/null; then
			i=$(calc "($(instructions tx 64 40000 split $idle) - $(instructions tx 64 20000 split $idle)) / 20000" 1)
		fi
		printf '  %6s ports %10s ns/packet %12s instructions/packet\n' $n "$(calc "1e9 / $(rate $OUT/g.$n)" 1)" "$i"
	done
	note "on the veth of (b), bridge on CPU 0 (--wait busy), guest on CPU 1, $WINDOW frames under way; us/packet"
	rm -f $OUT/many* $OUT/noise
	for r in $(seq "$ROUNDS"); do
		for n in $counts; do
			many_round "$n" || { note "round $r with $n ports failed"; sed 's/^/    /' "$WORK"/*.log | tail -n 20; }
		done
	done
	for n in $counts; do touch $OUT/many$n.{64,1500,lost}{,.rounds}; done
	printf '  %6s' bytes; printf ' %10s' $counts; printf ' %10s\n' "256 / 1"
	for len in $SIZES; do
		printf '  %6s' "$len"
		for n in $counts; do printf ' %10s' "$(calc "1e6 / $(rate $OUT/many$n.$len)" 3)"; done
		x=$(paired $OUT/many1.$len $OUT/many256.$len)
		printf ' %10s   at most 1.3: %s\n' "$(calc "$x")" "$(bar "$x <= 1.3")"
	done
	note "  lost end to end: $(cat $OUT/many*.lost | sum)"
}

mkdir -p "$WORK"
taskset -cp 1 $$ >/dev/null	# and all it starts, unless told otherwise
renice -n -20 -p $$ >/dev/null	# what else runs on the machine must not decide
[ ! -w /proc/$$/autogroup ] || echo -20 >/proc/$$/autogroup
echo "viaduct benchmarks: $(uname -r), $(nproc --all) CPUs, $ROUNDS rounds of $TIME s, medians"
for part in $PARTS; do
	"bench_$part" || { note "($part) did not finish"; MISSED=1; }
done
clean_scene
echo
if [ $MISSED != 0 ] || [ -e $OUT/missed ]; then
	echo "bench: a bar was missed"
	exit 1
elif [ -e $OUT/left_out ]; then
	echo "bench: every bar that could be measured was met, not all could"
else
	echo "bench: every bar was met"
fi
