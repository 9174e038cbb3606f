#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Many ports: they come and go while others work, and cost nothing while they are idle.
. "$(dirname "$0")/lib.sh"

entries() { bpftool -j map dump pinned "/sys/fs/bpf/viaduct/nic0/$1" 2>/dev/null | jq length; }
descriptors() { find "/proc/$VIADUCT_PID/fd" -mindepth 1 | wc -l; }
resident() { awk '/VmRSS/ {print $2}' "/proc/$VIADUCT_PID/status"; }
# Everything that a port has and that must go with it.
inventory() {
	echo "descriptors $(descriptors), fdb $(entries fdb), flow_pairs $(entries flow_pairs), filter $(status .uplink.receive_filter.entries)," \
		"bridge fdb $(bridge fdb show dev nic0 | wc -l), ports in map $(bpftool -j map dump pinned /sys/fs/bpf/viaduct/nic0/ports | jq '[.[] | select(.formatted.value.enabled > 0)] | length')," \
		"ports $(status '.ports | length'), sockets $(find "$WORK" -name '*.sock' | wc -l), threads $(find "/proc/$VIADUCT_PID/task" -mindepth 1 -maxdepth 1 | wc -l)"
}
is_as_before() { [ "$(inventory)" = "$BEFORE" ]; }
# Two guests with a closed loop of numbered frames between them, for as long as the test lasts.
start_pair_at_work() {
	start_peer 2 --echo && ports_are_up 2 && start_peer 1 --generate 200,20000 --window 64 --dst "$(mac_of 2)" && ports_are_up 1 &&
		wait_for 10 port_status_is 1 '.totals.rx_packets > 1000' true
}
the_pair_lost_nothing() {
	kill -INT "${PEER[1]}"; peer_ends 1
	say "meanwhile: $(echo "$OUT" | jq -c '[.tx_packets, .returned, .lost]') frames sent, returned, lost"
	summary_is "$OUT" "$all_came_back and .tx_packets > 1000" || die "$(status '[.ports[] | [.name, .totals, .forwarded, .drops]]' | jq -c .)"
}

test_a_thousand_ports_come_and_go_beside_a_pair_of_guests_and_leave_nothing_behind() {
	local i rss
	make_nic 1 && start_viaduct --uplink nic0 --log-level error --port "$(port 1 "mac=$(mac_of 1)")" --port "$(port 2 "mac=$(mac_of 2)")" && start_pair_at_work || return 1
	BEFORE=$(inventory)
	for i in $(seq 1 1000); do
		"$BUILD/viaduct" port add "$(port 3 "queues=$((i % 4 + 1)),mac=$(mac_of 3),vlan=$((i % 5 + 1))")" && "$BUILD/viaduct" port del p3 || return 1
		[ "$i" != 100 ] || rss=$(resident)
	done
	say "resident: $rss KiB after 100, $(resident) KiB after 1000"
	wait_for 5 is_as_before || { diff <(echo "$BEFORE") <(inventory); return 1; }
	[ "$(resident)" -lt $((rss + 2048)) ] || die "memory grows" || return 1
	the_pair_lost_nothing && ledger_balances
}
# With a guest each time: it connects, is learned, sends to one that stays, and every other time is still there when its port goes.
test_a_hundred_guests_come_and_go_with_their_ports_and_leave_nothing_behind() {
	local i rss
	make_nic 2 && start_viaduct --uplink nic0 --log-level error $(for i in 1 2 4; do echo --port "$(port $i "mac=$(mac_of $i)")"; done) || return 1
	start_peer 4 --sink && ports_are_up 4 && start_pair_at_work || return 1
	BEFORE=$(inventory)
	for i in $(seq 1 100); do
		"$BUILD/viaduct" port add "$(port 3 queues=2)" || return 1
		PEER_ARGS=queues=2 start_peer 3 --generate 100,1000 --flows 4 --dst "$(mac_of 4)"
		wait_for 10 port_status_is 3 '.forwarded.to_ports > 4 and .addresses != []' true || return 1
		[ $((i % 2)) = 0 ] || { kill -KILL "${PEER[3]}"; wait "${PEER[3]}" 2>/dev/null; }
		"$BUILD/viaduct" port del p3 || return 1
		kill -KILL "${PEER[3]}" 2>/dev/null; wait "${PEER[3]}" 2>/dev/null
		[ "$i" != 20 ] || rss=$(resident)
	done
	say "resident: $rss KiB after 20, $(resident) KiB after 100"
	wait_for 5 is_as_before || { diff <(echo "$BEFORE") <(inventory); return 1; }
	[ "$(resident)" -lt $((rss + 2048)) ] || die "memory grows" || return 1
	the_pair_lost_nothing && ledger_balances
}
test_a_port_goes_while_the_wire_floods_it_and_its_successor_gets_its_own_frames_only() {
	local i flood
	make_nic 1 && start_viaduct --uplink nic0 --port "$(port 1 "mac=$(mac_of 1)")" --port "$(port 2 "mac=$(mac_of 2)")" && start_pair_at_work || return 1
	nsenter --net=/run/netns/wire "$TOP/selftests/flood.py" wire0 64 "$(mac_of 3)" "$(mac_of 4)" >/dev/null & flood=$!
	for i in $(seq 1 30); do
		"$BUILD/viaduct" port add "$(port 3 "mac=$(mac_of 3)")" && start_peer 3 --sink && wait_for 10 port_status_is 3 '.totals.rx_packets > 0' true &&
			"$BUILD/viaduct" port del p3 || return 1
		stop_peer 3
	done
	kill $flood; wait $flood 2>/dev/null
	wait_for 5 status_is '[.ports[].held] | add' 0 && the_pair_lost_nothing && ledger_balances
}

# --- idle ports -------------------------------------------------------------------------------------

ticks() { awk '{print $14 + $15}' "/proc/$VIADUCT_PID/stat"; }
test_256_idle_ports_start_at_once_and_cost_nothing_and_all_of_them_work() {
	local n args=() t0 t1 least=1000 start alone
	make_nic 1 && start_viaduct --uplink nic0 --port "$(port 1)" || return 1
	alone=$(resident); stop_viaduct
	for n in $(seq 1 256); do args+=(--port "$(port "$n" "mac=$(mac_of "$n")")"); done
	start=$(date +%s%N)
	start_viaduct --uplink nic0 "${args[@]}" || return 1
	say "ready after $((($(date +%s%N) - start) / 1000000)) ms; $(descriptors) descriptors; $((($(resident) - alone) / 255)) KiB a port"
	[ $((($(resident) - alone) / 255)) -lt 256 ] || die "$(resident) KiB" || return 1
	"$BUILD/vd-idle-guests" $(for n in $(seq 3 256); do echo "$WORK/p$n.sock"; done) >"$WORK/idle.log" 2>&1 &
	wait_for 30 status_is '[.ports[] | select(.up)] | length' 254 || { cat "$WORK/idle.log"; return 1; }
	for n in 1 2 3; do
		t0=$(ticks); sleep 1; t1=$(ticks)
		[ $((t1 - t0)) -ge $least ] || least=$((t1 - t0))
	done
	say "254 guests that do nothing: $least hundredths of a second of CPU a second; $((($(resident) - alone) / 255)) KiB a port"
	[ $least -le 5 ] || die "an idle bridge is busy" || return 1
	start_peer 2 --echo; ports_are_up 2 || return 1
	OUT=$(peer 1 --generate 200 --count 20000 --window 64 --dst "$(mac_of 2)")
	summary_is "$OUT" "$all_came_back and .tx_packets == 20000" && ledger_balances
}
test_a_257th_port_is_refused_and_a_place_that_was_given_back_is_taken() {
	local n args=()
	for n in $(seq 1 256); do args+=(--port "$(port "$n")"); done
	make_nic 1 && start_viaduct --uplink nic0 "${args[@]}" || return 1
	! "$BUILD/viaduct" port add "$(port 257)" 2>"$WORK/err" && grep -q "all a bridge can have" "$WORK/err" || die "$(cat "$WORK/err")" || return 1
	"$BUILD/viaduct" port del p100 && "$BUILD/viaduct" port add "$(port 257)" && status_is '.ports | length' 256 && start_peer 257 --sink && ports_are_up 257
}
test_ports_of_a_file_and_of_the_command_line_work_together() {
	cat >"$WORK/bridge.conf" <<-END
	[uplink]
	interface = nic0
	unknown = drop
	aging = 60

	[port p1]
	socket = $WORK/p1.sock
	mac = $(mac_of 1)
	vlan = 10

	[port p2]
	socket = $WORK/p2.sock
	vlan = 10
	END
	make_nic 1 && start_viaduct --config "$WORK/bridge.conf" --port "$(port 3)" || return 1
	tap_guest 1 && tap_guest 2 && tap_guest 3 && ports_are_up 1 2 3 && reaches g1 "$(ip_of 2)" && reaches g3 $WIRE_IP && reaches g3 $HOST_IP &&
		does_not_reach g1 tap0 "$(ip_of 3)" "$(mac_of 3)" && status_is .forwarding.unknown drop && status_is .forwarding.aging_s 60 && port_status_is 1 .config.vlan 10
}

run_tests
