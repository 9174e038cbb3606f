#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# viaduct-guest: a guest without a VM, against viaduct and against DPDK's net_vhost.
. "$(dirname "$0")/lib.sh"

iperf_server() {
	in_wire iperf3 -s -D >/dev/null
	wait_for 5 sh -c "nsenter --net=/run/netns/wire ss -ltn | grep -q ':5201 '"
}
iperf_moves_data() {
	[ "$(in_guest iperf3 -J -t 1 -c $WIRE_IP "$@" | jq '[.end.sum_received.bytes, .end.sum.bytes] | map(. // 0) | max | floor')" -gt 1000000 ] ||
		die "iperf3 $*"
}
test_a_namespace_gets_an_ordinary_interface_that_pings_and_carries_tcp_and_udp_both_ways() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK" && start_tap_guest || return 1
	pings in_guest $WIRE_IP 5 && pings in_wire $GUEST_IP 5 && iperf_server || return 1
	iperf_moves_data && iperf_moves_data -R && iperf_moves_data -u -b 100M -l 1400 && iperf_moves_data -u -b 100M -l 1400 -R &&
		ledger_balances
}
test_a_multi_queue_interface_over_four_pairs_and_four_nic_queues_carries_parallel_streams() {
	make_nic 4 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,queues=4" || return 1
	GUEST_ARGS=queues=4 start_tap_guest && pings in_guest $WIRE_IP && iperf_server && iperf_moves_data -P 8 && iperf_moves_data -P 8 -R &&
		status_is '.ports[0].pairs.enabled' 4 && ledger_balances
}
carrier_of_tap0_is() { [ "$(in_guest cat /proc/self/mounts >/dev/null; in_guest ip -br link show dev tap0 | grep -c LOWER_UP)" = "$1" ]; }
test_the_carrier_of_the_interface_follows_the_bridge() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK" && start_tap_guest && carrier_of_tap0_is 1 || return 1
	stop_viaduct && wait_for 10 carrier_of_tap0_is 0 || return 1
	start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK" && wait_for 15 carrier_of_tap0_is 1 && wait_for 10 port_is_up &&
		pings in_guest $WIRE_IP
}
test_a_guest_that_listens_is_found_by_a_connecting_port_and_found_again_after_sigkill() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mode=client" || return 1
	GUEST_ARGS=server=1 start_tap_guest && pings in_guest $WIRE_IP || return 1
	kill -KILL "$VIADUCT_PID"; wait "$VIADUCT_PID" 2>/dev/null
	start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mode=client" && wait_for 15 port_is_up && pings in_guest $WIRE_IP
}
test_a_killed_guest_comes_back_without_touching_the_uplink() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK" && start_tap_guest && pings in_guest $WIRE_IP || return 1
	local link
	link=$(bpftool -j link show pinned /sys/fs/bpf/viaduct/nic0/link)
	kill -KILL "$GUEST_PID"; wait "$GUEST_PID" 2>/dev/null
	wait_for 5 status_is '.ports[0].connected' false && ip netns del guest && start_tap_guest && pings in_guest $WIRE_IP &&
		[ "$(bpftool -j link show pinned /sys/fs/bpf/viaduct/nic0/link)" = "$link" ] && ledger_balances
}
test_numbered_frames_cross_two_bridges_without_loss_damage_or_reordering() {
	local out
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" && start_far_bridge || return 1
	start_guest --echo && wait_for 10 port_is_up || return 1
	for len in 60 64 65 512 1514; do
		out=$(far_guest 1 --generate $len --count 20000 --window 64 --dst $GUEST_MAC) || return 1
		summary_is "$out" '.tx_packets == 20000 and .rx_packets == 20000 and .lost == 0 and .damaged == 0 and .reordered == 0 and .duplicated == 0' || return 1
	done
	ledger_balances && status_is .ports[0].lost_in_ring 0
}
test_arguments_that_do_not_work_yet_say_so() {
	local a
	for a in cq=1 iface=x; do
		timeout 5 "$BUILD/viaduct-guest" "path=$SOCK,$a" --echo 2>&1 | grep -q "not yet" || die "$a" || return 1
	done
}
# net_vhost as the back-end: the front-end of ours is no private dialect.
against_net_vhost() { # PAIRS CLIENT(0|1) [ARGUMENTS]
	local out pmd server=0
	[ "$2" = 1 ] && server=1
	# A net_vhost that returns each frame to where it came from.
	start_pmd() {
		dpdk-testpmd --no-huge -m 256 --no-pci --no-telemetry --file-prefix "b$RANDOM" -l 0,1 \
			--vdev "net_vhost0,iface=$SOCK,queues=$1,client=$2" -- --total-num-mbufs=8192 --rxq="$1" --txq="$1" \
			--forward-mode=macswap --auto-start --no-lsc-interrupt --stats-period 1 >"$WORK/pmd.log" 2>&1 &
		pmd=$!
	}
	start_pmd "$1" "$2"
	out=$(timeout 60 "$BUILD/viaduct-guest" "path=$SOCK,mac=$GUEST_MAC,queues=$1,server=$server${3:+,$3}" --generate 64 --count 20000 --window 32 \
		--flows "$1" --json 2>"$WORK/g.log" | tail -n 1)
	summary_is "$out" '.rx_packets > 19000 and .damaged == 0' || { tail -n 5 "$WORK/g.log" "$WORK/pmd.log" >&2; return 1; }
	kill -INT $pmd
}
test_it_works_against_dpdk_net_vhost_that_listens() { against_net_vhost 1 0; }
test_it_works_against_dpdk_net_vhost_that_connects() { against_net_vhost 1 1; }
test_it_works_against_dpdk_net_vhost_with_four_pairs() { against_net_vhost 4 0; }
test_it_works_against_dpdk_net_vhost_with_packed_rings() { against_net_vhost 1 0 packed_vq=1,in_order=0; }
test_it_works_against_dpdk_net_vhost_with_packed_rings_in_order() { against_net_vhost 1 0 packed_vq=1,in_order=1; }
test_it_works_against_dpdk_net_vhost_with_four_pairs_of_packed_rings() { against_net_vhost 4 0 packed_vq=1; }
test_a_back_end_that_does_not_offer_packed_rings_is_named_as_the_reason() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,features=-packed" || return 1
	GUEST_ARGS=packed_vq=1 start_guest --echo
	wait_for 10 grep -q "does not offer packed_vq" "$GUEST_LOG" && kill -0 "$GUEST_PID"
}

run_tests
