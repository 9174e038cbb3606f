#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Any NIC queue feeds any queue pair: N queues and M pairs, driven by a guest on the far end that sends on all N.
. "$(dirname "$0")/lib.sh"

FRAMES=20000
all_queues_received() { status "[.uplink.queues[].rx_packets > 0] | all" | grep -qx true; }
# steers QUEUES PAIRS ENABLED [WORKERS]
steers() {
	local n=$1 m=$2 enabled=$3 cpus=${4:-} out sink
	make_nic "$n" && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,queues=$m,mac=$GUEST_MAC" ${cpus:+--cpus $cpus} || return 1
	start_far_bridge "$n" || return 1
	"$BUILD/viaduct-guest" "path=$SOCK,mac=$GUEST_MAC,queues=$m" --sink --enable "$enabled" --json >"$WORK/sink.json" 2>"$WORK/sink.log" &
	sink=$!
	wait_for 10 status_is '.ports[0].pairs.enabled' "$enabled" || return 1
	out=$(far_guest "$n" --generate 128,40000 --count $FRAMES --flows 64 --dst $GUEST_MAC) || return 1
	summary_is "$out" ".tx_packets == $FRAMES" || return 1
	wait_for 5 status_is '[.ports[0].pair[].rx.packets] | add' $FRAMES
	kill -INT $sink; wait $sink
	out=$(tail -n 1 "$WORK/sink.json")
	summary_is "$out" ".rx_packets == $FRAMES and .damaged == 0 and .duplicated == 0 and .reordered == 0" || return 1
	summary_is "$out" "([.rx_per_pair[:$enabled][] > 0] | all) and ([.rx_per_pair[$enabled:][]] | add // 0) == 0" || return 1
	all_queues_received || die "a NIC queue saw nothing: $(status '[.uplink.queues[].rx_packets]')" || return 1
	status_is .ports[0].lost_in_ring 0 && ledger_balances
}
test_one_nic_queue_feeds_four_pairs() { steers 1 4 4; }
test_four_nic_queues_feed_one_pair() { steers 4 1 1; }
test_four_nic_queues_feed_four_pairs() { steers 4 4 4; }
test_four_nic_queues_feed_two_pairs() { steers 4 2 2; }
test_four_nic_queues_feed_the_one_enabled_pair_of_four() { steers 4 4 1; }
test_four_nic_queues_of_two_workers_feed_four_pairs() { steers 4 4 4 0,1; }

# To how many pairs the program goes, whatever the steering table says.
routes() { bpftool -j map lookup pinned /sys/fs/bpf/viaduct/nic0/ports key 0 0 0 0 | jq '.formatted.value.route | unique | length'; }
test_a_guest_that_enables_pairs_is_steered_to_them_at_once() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,queues=4,mac=$GUEST_MAC" || return 1
	GUEST_ARGS=queues=4 start_guest --sink --enable 1
	wait_for 10 status_is '.ports[0].pairs.enabled' 1 || return 1
	kill -USR1 "$GUEST_PID"; wait_for 5 status_is '.ports[0].pairs.enabled' 4 || return 1
	[ "$(routes)" = 4 ] || return 1
	kill -USR2 "$GUEST_PID"; wait_for 5 status_is '.ports[0].pairs.enabled' 1 || return 1
	[ "$(routes)" = 1 ]
}
test_a_flow_stays_on_its_pair() {
	local out sink
	make_nic 4 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,queues=4,mac=$GUEST_MAC" && start_far_bridge 1 || return 1
	"$BUILD/viaduct-guest" "path=$SOCK,mac=$GUEST_MAC,queues=4" --sink --json >"$WORK/sink.json" 2>/dev/null & sink=$!
	wait_for 10 status_is '.ports[0].pairs.enabled' 4 || return 1
	far_guest 1 --generate 128,20000 --count 2000 --flows 1 --dst $GUEST_MAC >/dev/null
	wait_for 5 status_is '[.ports[0].pair[].rx.packets] | add' 2000
	kill -INT $sink; wait $sink
	summary_is "$(tail -n 1 "$WORK/sink.json")" '[.rx_per_pair[] | select(. > 0)] == [2000]'
}
test_unknown_unicast_passes_is_dropped_or_goes_to_the_guest_as_asked() {
	local policy
	for policy in pass drop guest; do
		clean_scene
		make_nic 1 && start_viaduct --uplink nic0 --unknown $policy --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" && start_far_bridge || return 1
		start_guest --sink && wait_for 10 port_is_up || return 1
		far_guest 1 --generate 100,20000 --count 1000 --dst 02:00:00:00:00:77 >/dev/null
		case $policy in
		pass) wait_for 5 status_is '.uplink.host.packets >= 1000' true && status_is .ports[0].xdp.packets 0 ;;
		drop) wait_for 5 status_is '.uplink.host.drops.unknown' 1000 && status_is .ports[0].xdp.packets 0 ;;
		guest) wait_for 5 status_is '.ports[0].pair[0].rx.packets' 1000 ;;
		esac || die "policy $policy" || return 1
	done
}
test_a_stalled_guest_costs_its_own_share_only_and_every_frame_is_accounted_for() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" && start_far_bridge || return 1
	start_guest --sink && wait_for 10 port_is_up || return 1
	kill -STOP "$GUEST_PID"
	far_guest 1 --generate 64,40000 --count 20000 --dst $GUEST_MAC >/dev/null
	pings in_wire $HOST_IP || die "the host starves with the guest" || return 1
	wait_for 5 status_is '.ports[0].held' 0
	# redirected = delivered + dropped for want of buffers + lost; offered = redirected + beyond the share
	status_is '(.ports[0] | .xdp.packets == .pair[0].rx.packets + (.drops.no_guest_buffers // 0) + .lost_in_ring) and
		(.ports[0].xdp | .packets + (.drops.share // 0) == 20000)' true ||
		die "$(status '.ports[0] | [.xdp, .pair[0].rx.packets, .drops, .lost_in_ring]')" || return 1
	ledger_balances && kill -CONT "$GUEST_PID" && far_guest 1 --generate 64,20000 --count 1000 --dst $GUEST_MAC >/dev/null &&
		wait_for 5 status_is '.ports[0].pair[0].rx.packets >= 1000' true
}

run_tests
