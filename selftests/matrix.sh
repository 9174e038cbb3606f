#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Every kind of ring with every set of offloads, with every front-end: one row each, the same questions to each row.
# Ping, TCP and UDP both ways with payload compared, and the features that were negotiated and used.
# The table at the end has a row for each test, also for those that failed or were skipped.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"

TABLE=/run/matrix.table		# survives clean_scene
printf '%s|%s|%s|%s|%s|%s|%s|%s|%s\n' front-end rings pairs offloads ping TCP UDP "large packets out/in, frames in them" result >$TABLE
DATA=$WORK/data
TCP_BYTES=3000001 UDP_BYTES=150001
unset MTU			# MTU=9000 before a row: jumbo frames

# row FRONT-END RINGS PAIRS OFFLOADS: what is known of the test's row before it is tried.
row() { ROW_WHO=$1${MTU:+, MTU $MTU} ROW_RINGS=$2 ROW_PAIRS=$3 ROW_OFFLOADS=$4 ROW_PING=- ROW_TCP=- ROW_UDP=- ROW_LARGE=-; }
# rings_of FEATURES: what a list for features_are says of the rings.
rings_of() {
	local kind=split
	[[ " $1 " != *" ring_packed "* ]] || kind=packed
	[[ " $1 " != *" in_order "* ]] || kind+=", in order"
	[[ " $1 " != *" mrg_rxbuf "* ]] || kind+=", mergeable"
	echo "$kind"
}
after_test() { # RETURN-CODE
	local result=ok
	case $1 in 0) ;; 77) result="skipped: $SKIP_REASON" ;; *) result=FAILED ;; esac
	echo "$ROW_WHO|$ROW_RINGS|$ROW_PAIRS|$ROW_OFFLOADS|$ROW_PING|$ROW_TCP|$ROW_UDP|$ROW_LARGE|$result" >>$TABLE
}

# G COMMAND: a shell command in the guest, whatever kind it is.
G() { in_guest sh -c "$*"; }
listens() { in_wire ss -ltn | grep -q ":$1 "; }
sum_of() { md5sum | cut -d' ' -f1; }

scene() {
	make_nic 1 || return 1
	[ -z "${MTU:-}" ] || { ip link set nic0 mtu "$MTU" && in_wire ip link set wire0 mtu "$MTU"; }
}
ping_both_ways() {
	wait_for 20 G "ping -q -c 1 -W 1 $WIRE_IP" && G "ping -q -c 3 -W 2 $WIRE_IP" >/dev/null && pings in_wire $GUEST_IP || return 1
	[ -z "${MTU:-}" ] || { G "/bin/ping -q -c 3 -W 2 -M do -s $((MTU - 28)) $WIRE_IP" &&
		in_wire ping -q -c 3 -i 0.05 -W 2 -M do -s $((MTU - 28)) $GUEST_IP >/dev/null; } || die "ping of $MTU bytes"
}
tcp_both_ways() {
	local sum pid
	head -c $TCP_BYTES /dev/urandom >"$DATA"
	sum=$(sum_of <"$DATA")
	in_wire "$TOP/selftests/blob.py" send 7000 "$DATA" &
	wait_for 20 listens 7000 || return 1
	[ "$(G "nc $WIRE_IP 7000 </dev/null >$1; md5sum <$1" | cut -d' ' -f1)" = "$sum" ] || die "TCP to the guest" || return 1
	in_wire "$TOP/selftests/blob.py" receive 7001 "$WORK/back" & pid=$!
	wait_for 20 listens 7001 || return 1
	G "nc $2 $WIRE_IP 7001 <$1" >/dev/null; wait $pid
	[ "$(sum_of <"$WORK/back")" = "$sum" ] || die "TCP from the guest"
}
# A virtual machine's nc writes little at once, less than one long frame takes, so whether there ever was more to send than
# a frame is left to chance; iperf3 writes more, where it is still to be seen.
tcp_in_large_writes() {
	status_is '.ports[0].features | index("host_tso4") != null' true && [ "$(counter tx large_packets)" = 0 ] || return 0
	in_wire iperf3 -s -1 >/dev/null 2>&1 &
	wait_for 20 listens 5201 && G "iperf3 -c $WIRE_IP -n 2M -l 64K" >/dev/null || die "TCP in large writes"
}
udp_both_ways() {
	local sum
	mkdir -p "$WORK/tftp"
	head -c $UDP_BYTES /dev/urandom >"$WORK/tftp/out"
	sum=$(sum_of <"$WORK/tftp/out")
	in_wire "$TOP/selftests/blob.py" tftp 69 "$WORK/tftp" &
	wait_for 20 sh -c "nsenter --net=/run/netns/wire ss -lun | grep -q ':69 '" || return 1
	[ "$(G "busybox tftp -b 1428 -g -r out -l $1 $WIRE_IP && md5sum <$1" | cut -d' ' -f1)" = "$sum" ] ||
		die "UDP to the guest" || return 1
	G "busybox tftp -b 1428 -p -l $1 -r back $WIRE_IP" && [ "$(sum_of <"$WORK/tftp/back")" = "$sum" ] || die "UDP from the guest"
}

# features_are LIST: "name" must have been negotiated, "-name" must not.
features_are() {
	local f have
	have=" $(status '.ports[0].features | join(" ")') "
	for f in $1; do
		case $f in
		-*) [[ $have != *" ${f#-} "* ]] || { say "negotiated ${f#-}, which it must not: $have"; return 1; } ;;
		*) [[ $have == *" $f "* ]] || { say "did not negotiate $f: $have"; return 1; } ;;
		esac
	done
}
counter() { status "[.ports[0].pair[].$1.offloads.$2 // 0] | add"; }
# What was negotiated was used, and what was not was not.
offloads_were_used_as_negotiated() {
	local have out in
	have=" $(status '.ports[0].features | join(" ")') "
	out=$(counter tx large_packets) in=$(counter rx large_packets)
	if [[ $have == *" host_tso4 "* ]]; then
		[ "$out" -gt 0 ] || die "the guest sent no large packet" || return 1
	else
		[ "$out" = 0 ] || die "$out large packets without host_tso4" || return 1
	fi
	if [[ $have == *" guest_tso4 "* && $have == *" mrg_rxbuf "* ]]; then
		[ "$in" -gt 0 ] || die "nothing was joined for the guest"
	else
		[ "$in" = 0 ] || die "$in joined packets for a guest that takes none"
	fi
}
nothing_was_dropped_for_its_form() {
	[ "$(status '[.ports[0].pair[] | .rx.drops[], .tx.drops[]] | add // 0')" = 0 ] || { status '.ports[0].pair' >&2; die "drops"; }
}

# asks CELL COMMAND...: one question; what became of it goes to the cell of the row.
asks() {
	local cell=ROW_$1; shift
	printf -v "$cell" FAILED
	"$@" && printf -v "$cell" ok
}
# answers FEATURES FILE [NC-OPTIONS]: all questions to the guest that is up. FILE: a path in the guest.
answers() {
	wait_for 20 port_is_up && features_are "$1" || return 1
	ROW_RINGS=$(status '.ports[0].pair[0].rx.kind')$(status '.ports[0].features | if index("in_order") then ", in order" else "" end +
		if index("mrg_rxbuf") then ", mergeable" else "" end')
	ROW_PAIRS=$(status .ports[0].pairs.enabled)
	ROW_OFFLOADS=$(status '.ports[0].features | map(select(test("csum|tso|uso|ecn"))) | if length == 0 then "off" else "\(length) on" end')
	asks PING ping_both_ways && asks TCP tcp_both_ways "$2" "${3:-}" && asks TCP tcp_in_large_writes && asks UDP udp_both_ways "$2" || return 1
	ROW_LARGE="$(counter tx large_packets) / $(counter rx large_packets), $(counter tx frames_of_large_packets) / $(counter rx frames_of_large_packets)"
	offloads_were_used_as_negotiated && nothing_was_dropped_for_its_form && ledger_balances
}

# --- viaduct-guest: a tap whose virtio-net header goes through ---------------------

# guest_row ARGUMENTS FEATURES [PAIRS] [PORT-ARGUMENTS]
guest_row() {
	row viaduct-guest "$(rings_of "$2")" "${3:-1}" "$(case "$1,${4:-}" in *offloads=0* | *offloads=off*) echo off ;; *) echo on ;; esac)"
	scene && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,queues=${3:-1}${4:+,$4}" || return 1
	GUEST_ARGS="queues=${3:-1}${1:+,$1}" start_tap_guest && in_guest ip link set tap0 mtu ${MTU:-1500} &&
		answers "$2" "$WORK/here" -N
}
test_viaduct_guest_with_split_rings_and_default_offloads() { guest_row packed_vq=0 "-ring_packed mrg_rxbuf in_order host_tso4 host_tso6 host_uso guest_tso4 guest_uso4"; }
test_viaduct_guest_with_packed_rings_and_default_offloads() { guest_row packed_vq=1 "ring_packed mrg_rxbuf in_order host_tso4 guest_tso4"; }
test_viaduct_guest_with_split_rings_without_offloads() { guest_row packed_vq=0,offloads=0 "-ring_packed -csum -host_tso4 -guest_csum"; }
test_viaduct_guest_with_packed_rings_without_offloads() { guest_row packed_vq=1,offloads=0 "ring_packed -csum -host_tso4 -guest_csum"; }
test_viaduct_guest_with_split_rings_not_in_order() { guest_row packed_vq=0,in_order=0 "-ring_packed -in_order"; }
test_viaduct_guest_with_packed_rings_not_in_order() { guest_row packed_vq=1,in_order=0 "ring_packed -in_order"; }
test_viaduct_guest_with_split_rings_without_mergeable_buffers() { guest_row packed_vq=0,mrg_rxbuf=0 "-mrg_rxbuf -guest_tso4 host_tso4"; }
test_viaduct_guest_with_packed_rings_without_mergeable_buffers() { guest_row packed_vq=1,mrg_rxbuf=0 "ring_packed -mrg_rxbuf -guest_tso4 host_tso4"; }
test_viaduct_guest_with_split_rings_neither_in_order_nor_with_mergeable_buffers() {
	guest_row packed_vq=0,in_order=0,mrg_rxbuf=0 "-ring_packed -in_order -mrg_rxbuf -guest_tso4 host_tso4"
}
test_viaduct_guest_with_packed_rings_neither_in_order_nor_with_mergeable_buffers() {
	guest_row packed_vq=1,in_order=0,mrg_rxbuf=0 "ring_packed -in_order -mrg_rxbuf -guest_tso4 host_tso4"
}
test_viaduct_guest_with_packed_rings_of_a_size_that_is_no_power_of_two() { guest_row packed_vq=1,queue_size=300 ring_packed; }
test_viaduct_guest_with_four_pairs_of_split_rings() { guest_row packed_vq=0 "mq -ring_packed" 4; }
test_viaduct_guest_with_four_pairs_of_packed_rings() { guest_row packed_vq=1 "mq ring_packed" 4; }
test_viaduct_guest_with_four_pairs_of_split_rings_without_offloads() { guest_row packed_vq=0,offloads=0 "mq -ring_packed -csum -host_tso4 -guest_csum" 4; }
test_viaduct_guest_with_four_pairs_of_packed_rings_without_offloads() { guest_row packed_vq=1,offloads=0 "mq ring_packed -csum -host_tso4 -guest_csum" 4; }
test_viaduct_guest_gets_no_offload_that_the_port_does_not_offer() { guest_row packed_vq=0 "-csum -host_tso4 -guest_csum -guest_tso4" 1 offloads=off; }
test_viaduct_guest_gets_only_the_offloads_that_the_port_offers() { guest_row packed_vq=1 "csum host_tso4 -host_uso -guest_csum -guest_tso4" 1 offloads=csum,host_tso4; }
test_viaduct_guest_gets_no_feature_that_the_port_does_not_offer() { guest_row packed_vq=0 "-in_order -mrg_rxbuf -event_idx -indirect_desc -guest_tso4" 1 features=-packed,-in_order,-mrg_rxbuf,-event_idx,-indirect; }
test_viaduct_guest_with_jumbo_frames_in_packed_rings() { MTU=9000 guest_row packed_vq=1 "ring_packed mrg_rxbuf host_tso4 guest_tso4"; }
test_viaduct_guest_with_jumbo_frames_in_packed_rings_without_offloads() { MTU=9000 guest_row packed_vq=1,offloads=0 "ring_packed mrg_rxbuf -csum"; }

# --- DPDK: testpmd between virtio-user and a tap of its own ------------------------

# dpdk_row VIRTIO-USER-ARGUMENTS FEATURES [PAIRS]
dpdk_row() {
	local pairs=${3:-1} simd=
	row "DPDK virtio-user$([[ $1 != *vectorized=1* ]] || echo ', vectorised')" "$(rings_of "$2")" "$pairs" -
	if [[ $1 = *packed_vq=1*vectorized=1* ]]; then
		grep -qw avx512f /proc/cpuinfo || skip "DPDK's vectorised path for packed rings needs a CPU with AVX512F" || return
		simd=--force-max-simd-bitwidth=512
	fi
	scene && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,queues=$pairs" && ip netns add guest || return 1
	in_guest dpdk-testpmd --no-huge -m 256 --no-pci --file-prefix "m$RANDOM" -l 0,1 --no-telemetry --log-level=pmd.net.virtio.init:info $simd \
		--vdev "net_virtio_user0,path=$SOCK,mac=$GUEST_MAC,queues=$pairs,queue_size=256,$1" --vdev "net_tap0,iface=tap0,mac=$GUEST_MAC" \
		-- --total-num-mbufs=8192 --rxq="$pairs" --txq="$pairs" --forward-mode=io --auto-start --no-lsc-interrupt --stats-period 1 \
		>"$WORK/testpmd.log" 2>&1 &
	wait_for 20 in_guest ip link show dev tap0 || { tail -n 20 "$WORK/testpmd.log" >&2; return 1; }
	in_guest ip addr add $GUEST_IP/24 dev tap0
	in_guest ip link set tap0 up
	[[ $1 != *vectorized=1* ]] || wait_for 10 grep -qi vectorized "$WORK/testpmd.log" ||
		{ grep -i 'using' "$WORK/testpmd.log" >&2; die "the vectorised path is not in use"; } || return 1
	answers "$2" "$WORK/here" -N || { tail -n 30 "$WORK/testpmd.log" >&2; return 1; }
}
test_dpdk_with_split_rings() { dpdk_row packed_vq=0,in_order=0,mrg_rxbuf=0 "-ring_packed -in_order -mrg_rxbuf"; }
test_dpdk_with_split_rings_and_mergeable_buffers() { dpdk_row packed_vq=0,in_order=0,mrg_rxbuf=1 "-ring_packed -in_order mrg_rxbuf"; }
test_dpdk_with_split_rings_in_order() { dpdk_row packed_vq=0,in_order=1,mrg_rxbuf=0 "-ring_packed in_order -mrg_rxbuf"; }
test_dpdk_with_split_rings_in_order_and_mergeable_buffers() { dpdk_row packed_vq=0,in_order=1,mrg_rxbuf=1 "-ring_packed in_order mrg_rxbuf"; }
test_dpdk_with_split_rings_vectorised() { dpdk_row packed_vq=0,in_order=0,mrg_rxbuf=0,vectorized=1 "-ring_packed -in_order -mrg_rxbuf"; }
test_dpdk_with_packed_rings() { dpdk_row packed_vq=1,in_order=0,mrg_rxbuf=0 "ring_packed -in_order -mrg_rxbuf"; }
test_dpdk_with_packed_rings_and_mergeable_buffers() { dpdk_row packed_vq=1,in_order=0,mrg_rxbuf=1 "ring_packed -in_order mrg_rxbuf"; }
test_dpdk_with_packed_rings_in_order() { dpdk_row packed_vq=1,in_order=1,mrg_rxbuf=0 "ring_packed in_order -mrg_rxbuf"; }
test_dpdk_with_packed_rings_in_order_and_mergeable_buffers() { dpdk_row packed_vq=1,in_order=1,mrg_rxbuf=1 "ring_packed in_order mrg_rxbuf"; }
test_dpdk_with_packed_rings_vectorised() { dpdk_row packed_vq=1,in_order=1,mrg_rxbuf=0,vectorized=1 "ring_packed in_order -mrg_rxbuf"; }
test_dpdk_with_four_pairs_of_split_rings() { dpdk_row packed_vq=0,in_order=1,mrg_rxbuf=1 "-ring_packed mq" 4; }
test_dpdk_with_four_pairs_of_packed_rings() { dpdk_row packed_vq=1,in_order=1,mrg_rxbuf=1 "ring_packed mq" 4; }

# --- QEMU ------------------------------------------------------------------------

NO_OFFLOADS=,csum=off,guest_csum=off,gso=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off
INSTALLED_QEMU=$QEMU_PROGRAM
# qemu_row WHICH PAIRS DEVICE-OPTIONS FEATURES; WHICH: installed or newer
qemu_row() {
	row "QEMU, the $1 one" "$(rings_of "$4")" "$2" "$(case $3 in *csum=off*) echo off ;; *) echo on ;; esac)"
	QEMU_PROGRAM=$INSTALLED_QEMU
	if [ "$1" = newer ]; then
		QEMU_PROGRAM=$(newer_qemu) || skip "the installed QEMU is older than 9 and the backports could not be reached" || return
	fi
	ROW_WHO="QEMU $($QEMU_PROGRAM --version | grep -oE '[0-9]+\.[0-9]+' | head -n 1)${MTU:+, MTU $MTU}"
	G() { vm "$*"; }
	scene && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,queues=$2" && start_qemu_guest "$2" "$3${MTU:+,host_mtu=$MTU}" || return 1
	# A guest uses as many pairs as it has CPUs unless it is told.
	[ "$2" = 1 ] || { vm "ethtool -L eth0 combined $2" && wait_for 20 status_is .ports[0].pairs.enabled "$2"; } || return 1
	answers "$4" /tmp/here
}
DEFAULT="csum host_tso4 host_tso6 guest_csum guest_tso4 guest_tso6 mrg_rxbuf event_idx indirect_desc"
NONE="-csum -host_tso4 -host_tso6 -guest_csum -guest_tso4 -guest_tso6 mrg_rxbuf"
test_qemu_7_with_split_rings_and_default_offloads() { qemu_row installed 1 "" "-ring_packed $DEFAULT"; }
test_qemu_7_with_split_rings_without_offloads() { qemu_row installed 1 "$NO_OFFLOADS" "-ring_packed $NONE"; }
test_qemu_7_with_packed_rings_and_default_offloads() { qemu_row installed 1 ",packed=on" "ring_packed $DEFAULT"; }
test_qemu_7_with_packed_rings_without_offloads() { qemu_row installed 1 ",packed=on$NO_OFFLOADS" "ring_packed $NONE"; }
test_qemu_7_with_four_pairs_of_split_rings() { qemu_row installed 4 "" "mq -ring_packed $DEFAULT"; }
test_qemu_7_with_four_pairs_of_split_rings_without_offloads() { qemu_row installed 4 "$NO_OFFLOADS" "mq -ring_packed $NONE"; }
test_qemu_7_with_four_pairs_of_packed_rings() { qemu_row installed 4 ",packed=on" "mq ring_packed $DEFAULT"; }
test_qemu_7_with_four_pairs_of_packed_rings_without_offloads() { qemu_row installed 4 ",packed=on$NO_OFFLOADS" "mq ring_packed $NONE"; }
test_qemu_10_with_split_rings_and_default_offloads() { qemu_row newer 1 "" "-ring_packed $DEFAULT"; }
test_qemu_10_with_split_rings_without_offloads() { qemu_row newer 1 "$NO_OFFLOADS" "-ring_packed $NONE"; }
test_qemu_10_with_packed_rings_and_default_offloads() { qemu_row newer 1 ",packed=on" "ring_packed $DEFAULT"; }
test_qemu_10_with_packed_rings_without_offloads() { qemu_row newer 1 ",packed=on$NO_OFFLOADS" "ring_packed $NONE"; }
test_qemu_10_with_four_pairs_of_split_rings() { qemu_row newer 4 "" "mq -ring_packed $DEFAULT"; }
test_qemu_10_with_four_pairs_of_split_rings_without_offloads() { qemu_row newer 4 "$NO_OFFLOADS" "mq -ring_packed $NONE"; }
test_qemu_10_with_four_pairs_of_packed_rings() { qemu_row newer 4 ",packed=on" "mq ring_packed $DEFAULT"; }
test_qemu_10_with_four_pairs_of_packed_rings_without_offloads() { qemu_row newer 4 ",packed=on$NO_OFFLOADS" "mq ring_packed $NONE"; }
test_qemu_with_jumbo_frames_in_split_rings() { MTU=9000 qemu_row installed 1 "" "-ring_packed mtu $DEFAULT"; }
test_qemu_with_jumbo_frames_in_packed_rings() { MTU=9000 qemu_row installed 1 ",packed=on" "ring_packed mtu $DEFAULT"; }

run_tests
rc=$?
echo
column -t -s '|' <$TABLE
exit $rc
