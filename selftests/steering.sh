#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Any NIC queue feeds any queue pair: N queues and M pairs, driven by a guest on the far end that sends on all N.
. "$(dirname "$0")/lib.sh"

FRAMES=20000
all_queues_received() { status "[.uplink.queues[].rx_packets > 0] | all" | grep -qx true; }
# steers QUEUES PAIRS ENABLED [WORKERS]
steers() {
	local n=$1 m=$2 enabled=$3 cpus=${4:-} out echo
	make_nic "$n" && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,queues=$m,mac=$GUEST_MAC" ${cpus:+--cpus $cpus} || return 1
	start_far_bridge "$n" || return 1
	"$BUILD/viaduct-guest" "path=$SOCK,mac=$GUEST_MAC,queues=$m" --echo --enable "$enabled" --json >"$WORK/echo.json" 2>"$WORK/echo.log" &
	echo=$!
	wait_for 10 status_is '.ports[0].pairs.enabled' "$enabled" || return 1
	out=$(far_guest "$n" --generate 128 --count $FRAMES --window 64 --flows 64 --dst $GUEST_MAC) || return 1
	summary_is "$out" "$all_came_back and .tx_packets == $FRAMES" || return 1
	kill -INT $echo; wait $echo
	out=$(tail -n 1 "$WORK/echo.json")
	summary_is "$out" ".rx_packets == $FRAMES" || return 1
	summary_is "$out" "([.rx_per_pair[:$enabled][] > 0] | all) and ([.rx_per_pair[$enabled:][]] | add // 0) == 0" || return 1
	all_queues_received || die "a NIC queue saw nothing: $(status '[.uplink.queues[].rx_packets]')" || return 1
	status_is .ports[0].lost_in_ring 0 && ledger_balances
}
test_one_nic_queue_feeds_two_pairs() { steers 1 2 2; }
test_two_nic_queues_feed_one_pair() { steers 2 1 1; }
test_two_nic_queues_feed_two_pairs() { steers 2 2 2; }
test_two_nic_queues_feed_four_pairs() { steers 2 4 4; }
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

# --- the table, changed while it is used --------------------------------------------

steer() { "$BUILD/viaduct" steer "$@" --name nic0; }
table_has() { steer p1 --json | jq -e "[.. | numbers] | any(. == $1)"; }
per_pair() { port_status 1 '[.pair[].rx.packets]' | jq -c .; }
# Frames for a guest of four pairs, one flow, from the wire and back.
one_flow_starts() {
	make_nic 2 && start_viaduct --uplink nic0 --port "$(port 1 "queues=4,mac=$(mac_of 1),steering=hash")" --port "$(port 2 "mac=$(mac_of 2)")" && start_far_bridge || return 1
	PEER_ARGS=queues=4 start_peer 1 --echo && wait_for 10 port_status_is 1 .pairs.enabled 4 || return 1
	steer p1 0-127=0 || return 1
	far_guest 1 --generate 128,10000 --count 30000 --window 32 --dst "$(mac_of 1)" >"$WORK/stream" & STREAM=$!
	wait_for 10 port_status_is 1 '.pair[0].rx.packets > 500' true
}
moves_to() { wait_for 10 port_status_is 1 ".pair[$1].rx.packets > 500" true || die "pairs: $(per_pair)"; }
# Not in order where it changes pairs: the guest empties them in turn.
one_flow_came_back() {
	wait $STREAM; stop_peer 1
	say "per pair: $(per_pair)"
	summary_is "$(cat "$WORK/stream")" '.tx_packets == 30000 and .returned == 30000 and .damaged == 0 and .duplicated == 0'
}
test_viaduct_steer_moves_a_flow_to_another_pair_and_nothing_is_lost() {
	one_flow_starts && steer p1 0-127=3 && moves_to 3 && port_status_is 1 '[.pair[1,2].rx.packets] | add' 0 || return 1
	steer p1 0-63=1,64-127=1 && moves_to 1 && steer p1 spread && one_flow_came_back
}
# What an operator writes into the map: mode 1 (by hash only), and one pair in all entries.
table_of() { printf '1 0 0 0 0 0 0 0'; for _ in $(seq 128); do printf ' %d 0' "$1"; done; }
test_an_entry_that_bpftool_writes_moves_a_flow_and_what_guests_send_each_other() {
	local before
	one_flow_starts || return 1
	# shellcheck disable=SC2046
	bpftool map update pinned /sys/fs/bpf/viaduct/nic0/steering key 0 0 0 0 value $(table_of 2) && moves_to 2 && one_flow_came_back || return 1
	PEER_ARGS=queues=4 start_peer 1 --echo && wait_for 10 port_status_is 1 .pairs.enabled 4 || return 1
	# The daemon has seen it, and does not write over it.
	wait_for 5 table_has 2 || return 1
	before=$(port_status 1 .pair[2].rx.packets)
	peer 2 --generate 128 --count 2000 --window 32 --flows 8 --dst "$(mac_of 1)" >/dev/null
	port_status_is 1 .pair[2].rx.packets $((before + 2000)) || die "pairs: $(per_pair)" || return 1
	[ "$(bpftool -j map lookup pinned /sys/fs/bpf/viaduct/nic0/steering key 0 0 0 0 | jq -c '[.formatted.value.pair[]] | unique')" = '[2]' ]
}

# --- automatic steering: a flow comes back on the pair on which it was sent ------------

# Answers to a guest with four pairs: on the same pair, as soon as it is noted.
answers_come_home() { # WHO MODE ENABLED MIN-PERCENT MAX-PERCENT
	local same
	summary_is "$OUT" "$all_came_back and ([.rx_per_pair[$3:][]] | add // 0) == 0" || return 1
	same=$(echo "$OUT" | jq '.same_pair * 100 / .returned | floor')
	say "$2, answers by $1: $same % on the pair of the question; per pair $(echo "$OUT" | jq -c .rx_per_pair)"
	[ "$same" -ge "$4" ] && [ "$same" -le "$5" ] || die "$(echo "$OUT" | jq -c '[.same_pair, .returned]')"
}
asks() { # ENABLED DESTINATION
	OUT=$(PEER_ARGS=queues=4 peer 1 --generate 128 --count 40000 --window 64 --flows 64 --enable "$1" --dst "$2")
}
test_a_flow_comes_back_on_the_pair_on_which_the_guest_sent_it() {
	local far
	make_nic 4 && start_viaduct --uplink nic0 --port "$(port 1 "queues=4,mac=$(mac_of 1)")" --port "$(port 2 "queues=2,mac=$(mac_of 2)")" && start_far_bridge 1 || return 1
	"$BUILD/viaduct-guest" "path=$FAR_SOCK,mac=$FAR_MAC" --answer >/dev/null 2>&1 & far=$!
	PEER_ARGS=queues=2 start_peer 2 --answer && ports_are_up 2 || return 1
	asks 4 $FAR_MAC && answers_come_home "the wire" automatic 4 95 100 || return 1
	say "flows noted: $(bpftool -j map dump pinned /sys/fs/bpf/viaduct/nic0/flow_pairs | jq length)"
	asks 4 "$(mac_of 2)" && answers_come_home "a guest" automatic 4 95 100 || return 1
	# With fewer pairs the flows are sent on others, and nothing comes to those that are not enabled.
	asks 2 $FAR_MAC && answers_come_home "the wire" automatic 2 95 100 && asks 2 "$(mac_of 2)" && answers_come_home "a guest" automatic 2 95 100 || return 1
	steer p1 hash || return 1
	asks 4 $FAR_MAC && answers_come_home "the wire" "by hash" 4 5 60 && asks 4 "$(mac_of 2)" && answers_come_home "a guest" "by hash" 4 5 60 && ledger_balances
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
