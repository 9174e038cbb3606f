#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Guard rails: what a guest may send and receive, and that neighbours do not feel what others do.
. "$(dirname "$0")/lib.sh"

bridge_of() { # KEYS-OF-PORT-1 KEYS-OF-PORT-2 ...
	local n=0 ports=() k
	for k; do n=$((n + 1)); ports+=(--port "$(port $n "$k")"); done
	make_nic 1 && start_viaduct --uplink nic0 "${ports[@]}"
}
# Frames that came to a port from others: its guest has them, or had no buffers in time.
came() { port_status "$1" '.totals.rx_packets + (.drops.no_guest_buffers // 0)'; }
came_to_be() { [ "$(came "$1")" = "$2" ]; }
drops() { port_status "$1" ".drops.$2 // 0"; }
uplink_sent() { status '[.uplink.queues[].tx_packets] | add'; }
FOREIGN_MAC=52:54:00:00:02:99

test_a_locked_port_sends_from_its_own_addresses_only() {
	bridge_of "mac=$(mac_of 1),mac-lock=on" "mac=$(mac_of 2)" || return 1
	start_peer 2 --sink && ports_are_up 2 || return 1
	PEER_MAC=$FOREIGN_MAC peer 1 --generate 100 --count 1000 --dst "$(mac_of 2)" >/dev/null
	PEER_MAC=$FOREIGN_MAC peer 1 --generate 100 --count 1000 --dst ff:ff:ff:ff:ff:ff >/dev/null
	PEER_MAC=$FOREIGN_MAC peer 1 --generate 100 --count 1000 --dst 02:00:00:00:00:77 >/dev/null
	wait_for 5 port_status_is 1 .drops.mac_lock 3000 || die "counted: $(port_status 1 .drops)" || return 1
	port_status_is 2 .totals.rx_packets 0 && [ "$(uplink_sent)" = 0 ] || die "something came through" || return 1
	peer 1 --generate 100,20000 --count 1000 --dst "$(mac_of 2)" >/dev/null
	wait_for 5 came_to_be 2 1000 && [ "$(drops 1 mac_lock)" = 3000 ] || return 1
	# A second address is its own, too, once it is given.
	"$BUILD/viaduct" port set p1 "mac=$(mac_of 1),$FOREIGN_MAC" || return 1
	PEER_MAC=$FOREIGN_MAC peer 1 --generate 100,20000 --count 1000 --dst "$(mac_of 2)" >/dev/null
	wait_for 5 came_to_be 2 2000 && [ "$(drops 1 mac_lock)" = 3000 ]
}
test_a_storm_of_broadcasts_is_cut_to_its_limit_and_unicast_is_not() {
	local heard sent=5000
	bridge_of "mac=$(mac_of 1),storm=1000" "mac=$(mac_of 2)" && start_peer 2 --sink && ports_are_up 2 || return 1
	peer 1 --generate 100,40000 --count $sent --dst ff:ff:ff:ff:ff:ff >/dev/null
	wait_for 5 port_status_is 1 ".forwarded.to_groups + .drops.storm == $sent" true || die "$(port_status 1 '[.forwarded, .drops]')" || return 1
	heard=$(came 2)
	say "$sent broadcasts sent, $heard heard, $(drops 1 storm) dropped"
	[ "$(drops 1 storm)" -gt 0 ] && port_status_is 1 .forwarded.to_groups "$((heard + $(drops 2 multicast)))" && [ "$(uplink_sent)" = "$(port_status 1 .forwarded.to_groups)" ] || return 1
	peer 1 --generate 100,20000 --count $sent --dst "$(mac_of 2)" >/dev/null
	wait_for 5 came_to_be 2 $((heard + sent)) || return 1
	"$BUILD/viaduct" port set p1 storm=off && peer 1 --generate 100,40000 --count 5000 --dst ff:ff:ff:ff:ff:ff >/dev/null &&
		wait_for 5 port_status_is 1 ".forwarded.to_groups == $(port_status 1 .forwarded.to_groups)" true && [ "$(uplink_sent)" -ge 5000 ]
}

# What a guest may send is held back in its ring: it takes longer, and nothing is lost. Only the shortest time is judged.
held_back() { # KEY LENGTH COUNT LEAST-SECONDS
	bridge_of "mac=$(mac_of 1),$1" "mac=$(mac_of 2)" && start_peer 2 --sink && ports_are_up 2 || return 1
	OUT=$(peer 1 --generate "$2" --count "$3" --dst "$(mac_of 2)")
	wait_for 10 port_status_is 2 .totals.rx_packets "$3" || die "arrived: $(port_status 2 .totals.rx_packets)" || return 1
	say "$1: $3 frames of $2 bytes took $(echo "$OUT" | jq .seconds) s"
	summary_is "$OUT" ".tx_packets == $3 and .seconds > $4" && forwarding_adds_up
	stop_peer 2; summary_is "$OUT" '.lost == 0 and .reordered == 0'
}
test_a_guest_that_may_send_so_many_frames_a_second_is_held_back_and_loses_nothing() { held_back tx-pps=2000 60 3000 1.0; }
test_a_guest_that_may_send_so_many_bits_a_second_is_held_back_and_loses_nothing() { held_back tx-rate=8M 1000 1500 1.0; }

# limited_in KEY LENGTH: from another guest and from the wire at once; one limit for both, and what is beyond it is counted.
limited_in() {
	local n=10000 arrived
	bridge_of "mac=$(mac_of 1)" "mac=$(mac_of 2),$1" && start_far_bridge && start_peer 2 --sink && ports_are_up 2 || return 1
	start_peer 1 --generate "$2,20000" --count $n --dst "$(mac_of 2)"
	far_guest 1 --generate "$2,20000" --count $n --dst "$(mac_of 2)" >/dev/null
	peer_ends 1
	wait_for 5 port_status_is 2 "(.forwarded.from_this_host // 0) + .xdp.packets + (.xdp.drops | (.rate // 0) + (.share // 0)) == $((2 * n))" true || die "$(port_status 2 '[.forwarded, .xdp]')" || return 1
	arrived=$(port_status 2 .totals.rx_packets)
	say "$1: $((2 * n)) sent, $arrived arrived, $(port_status 2 '.xdp.drops.rate // 0') from the wire and $(drops 2 rate) from the guest dropped"
	port_status_is 2 "(.xdp.drops.rate // 0) + (.xdp.drops.share // 0) + (.drops.rate // 0) + (.drops.no_guest_buffers // 0) + .lost_in_ring + .totals.rx_packets == $((2 * n))" true || return 1
	[ "$(port_status 2 '.xdp.drops.rate // 0')" -gt 0 ] && [ "$(drops 2 rate)" -gt 0 ] && stop_peer 2 && summary_is "$OUT" ".rx_packets == $arrived and .damaged == 0"
}
test_a_guest_gets_so_many_frames_a_second_and_the_rest_is_counted() { limited_in rx-pps=4000 60; }
test_a_guest_gets_so_many_bits_a_second_and_the_rest_is_counted() { limited_in rx-rate=20M 1000; }

test_isolated_ports_reach_the_wire_and_neither_each_other_nor_the_host() {
	local a before
	bridge_of isolated=on isolated=on "" || return 1
	for a in 1 2 3; do tap_guest $a || return 1; done
	ports_are_up 1 2 3 && reaches g1 $WIRE_IP && reaches g2 $WIRE_IP && reaches g3 $WIRE_IP && reaches g3 $HOST_IP || return 1
	does_not_reach g1 tap0 "$(ip_of 2)" "$(mac_of 2)" && does_not_reach g1 tap0 "$(ip_of 3)" "$(mac_of 3)" &&
		does_not_reach g3 tap0 "$(ip_of 1)" "$(mac_of 1)" && does_not_reach g1 tap0 $HOST_IP "$(mac_of_nic)" || return 1
	[ "$(drops 1 isolated)" -ge 6 ] && [ "$(drops 3 isolated)" -ge 2 ] || die "counted: $(drops 1 isolated), $(drops 3 isolated)" || return 1
	ip neigh replace "$(ip_of 1)" lladdr "$(mac_of 1)" dev nic0
	! ping -q -c 2 -i 0.05 -W 0.3 "$(ip_of 1)" >/dev/null || die "the host reaches it" || return 1
	# Broadcasts, too, go to the wire only, and come from there.
	before=$(asked g3)
	in_ns g1 ping -q -b -c 5 -i 0.05 -W 0.2 10.77.0.255 >/dev/null 2>&1
	[ "$(asked g3)" = "$before" ] || die "a neighbour hears an isolated port" || return 1
	before=$(asked g1)
	in_ns g3 ping -q -b -c 5 -i 0.05 -W 0.2 10.77.0.255 >/dev/null 2>&1
	[ "$(asked g1)" = "$before" ] || die "an isolated port hears a neighbour" || return 1
	in_wire ping -q -b -c 5 -i 0.05 -W 0.2 10.77.0.255 >/dev/null 2>&1
	wait_for 5 asked_at_least g1 $((before + 5)) && pings in_wire "$(ip_of 1)"
}
test_link_local_frames_are_never_forwarded() {
	bridge_of "mac=$(mac_of 1)" "mac=$(mac_of 2)" && start_peer 2 --sink && ports_are_up 2 || return 1
	peer 1 --generate 100 --count 500 --dst 01:80:c2:00:00:0e >/dev/null
	wait_for 5 port_status_is 1 .drops.link_local 500 && [ "$(uplink_sent)" = 0 ] || return 1
	in_wire "$TOP/selftests/frames.py" wire0 100 01:80:c2:00:00:00 01:80:c2:00:00:0e && "$TOP/selftests/frames.py" nic0 100 01:80:c2:00:00:02 || return 1
	wait_for 5 status_is '.uplink.host.multicast >= 200' true && port_status_is 2 .totals.rx_packets 0
}

# --- under overload ----------------------------------------------------------------------------

test_a_guest_keeps_its_rate_while_fifteen_neighbours_send_as_much_as_they_can() {
	local n far sent=6000
	make_nic 1 && start_viaduct --uplink nic0 $(for n in $(seq 1 16); do echo --port "$(port "$n" "mac=$(mac_of "$n")")"; done) && start_far_bridge || return 1
	"$BUILD/viaduct-guest" "path=$FAR_SOCK,mac=$FAR_MAC" --sink --json >"$WORK/far.json" 2>/dev/null & far=$!
	for n in $(seq 1 15); do start_peer "$n" --generate 1514 --dst 02:00:00:00:00:77; done
	# shellcheck disable=SC2046
	ports_are_up $(seq 1 15) && wait_for 10 status_is '[.ports[:15][].totals.tx_packets > 1000] | all' true || return 1
	OUT=$(peer 16 --generate 200,3000 --count $sent --dst $FAR_MAC)
	summary_is "$OUT" ".tx_packets == $sent" || return 1
	kill -INT $far; wait $far
	OUT=$(tail -n 1 "$WORK/far.json")
	say "of $sent frames $(echo "$OUT" | jq .rx_packets) arrived; packets of the others: $(status '[.ports[:15][].totals.tx_packets]' | jq -c .)"
	summary_is "$OUT" ".rx_packets >= $sent * 95 / 100 and .damaged == 0" && ledger_balances
}

run_tests
