#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# One viaduct hands a running bridge to the next: under traffic, with everything that can be connected, and with
# either side killed at every point. What was lost and repeated is printed, and so is the gap.
. "$(dirname "$0")/lib.sh"

HANDOVER=/run/viaduct/nic0.handover
run_args() { echo --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC${KEYS:+,$KEYS}" "$@"; }	# mac=: not one frame comes before it is known

# heir ARGUMENTS...: a process that takes over, in the background.
HEIRS=0
heir() {
	HEIRS=$((HEIRS + 1)) HEIR_LOG=$WORK/heir$HEIRS.log
	"$BUILD/viaduct" run --take-over "$@" >"$HEIR_LOG" 2>&1 &
	HEIR_PID=$!
}
heir_is_ready_or_gone() { grep -q ' ready' "$HEIR_LOG" || gone "$HEIR_PID"; }
# The running one is the heir from here on.
succeeded() {
	wait_for 20 heir_is_ready_or_gone
	grep -q ' ready' "$HEIR_LOG" || { say "the heir is not ready:"; sed 's/^/      /' "$HEIR_LOG" >&2; return 1; }
	wait_for 10 gone "$VIADUCT_PID" || { say "the old process did not end"; return 1; }
	VIADUCT_PID=$HEIR_PID VIADUCT_LOG=$HEIR_LOG
}
# The heir gave up, and said why: TEXT.
gave_up() {
	wait_for 40 gone "$HEIR_PID" || return 1
	grep -q -- "$1" "$HEIR_LOG" || { say "wanted '$1', the heir said:"; sed 's/^/      /' "$HEIR_LOG" >&2; return 1; }
}
take_over() { heir "$@" && succeeded; }
gap() { grep -oE 'nothing moved for [0-9.]+ ms' "$HEIR_LOG" | grep -oE '[0-9.]+'; }
connections() { status '.ports[0].connections'; }

# A guest that sends numbered frames to an echo on the other side of the wire, as fast as they come back.
LEN=${LEN:-200}
start_traffic() { # ARGUMENTS OF THE GUEST
	start_far_bridge && { "$BUILD/viaduct-guest" path="$FAR_SOCK",mac=$FAR_MAC --echo >/dev/null 2>&1 & ECHO_PID=$!; } || return 1
	wait_for 10 far_is_up || return 1
	"$BUILD/viaduct-guest" path="$SOCK",mac=$GUEST_MAC${GUEST_ARGS:+,$GUEST_ARGS} --json --generate "$LEN" --window 128 --dst $FAR_MAC "$@" >"$WORK/guest.json" 2>"$GUEST_LOG" &
	GUEST_PID=$!
	wait_for 10 port_is_up && wait_for 10 frames_flow
}
far_status() { "$BUILD/viaduct" status --name wire0 --json | jq -r "$1"; }
far_is_up() { [ "$(far_status '.ports[0].up')" = true ]; }
frames_flow() { [ "$(status '.ports[0].totals.tx_packets')" -gt 2000 ]; }
stop_traffic() {
	kill -TERM "$GUEST_PID"; wait "$GUEST_PID"
	OUT=$(tail -n 1 "$WORK/guest.json")
	report "sent $(echo "$OUT" | jq .tx_packets), lost $(echo "$OUT" | jq .lost), repeated $(echo "$OUT" | jq .duplicated), reordered $(echo "$OUT" | jq .reordered)"
}
nothing_lost='.lost == 0 and .duplicated == 0 and .reordered == 0 and .damaged == 0 and .returned == .tx_packets'
more_frames() { # COUNT, from now on
	local from; from=$(status '.ports[0].totals.tx_packets')
	wait_for 20 eval "[ \"\$(status '.ports[0].totals.tx_packets')\" -gt $((from + $1)) ]"
}

hands_over_under_traffic() {
	local i gaps=""
	make_nic "${QUEUES:-1}" && start_viaduct $(run_args "$@") && start_traffic || return 1
	for i in 1 2 3 4 5; do
		take_over $(run_args "$@") || return 1
		gaps="$gaps $(gap)"
		more_frames 2000 || return 1
	done
	[ "$(connections)" = 1 ] || die "the guest connected $(connections) times" || return 1
	stop_traffic
	report "gaps, ms:$gaps"
	summary_is "$OUT" "$nothing_lost" && ledger_balances || return 1
	stop_viaduct || die "exit code $?"
}
test_five_take_overs_under_traffic_lose_and_repeat_nothing() { hands_over_under_traffic; }
test_a_take_over_with_packed_rings_loses_and_repeats_nothing() { GUEST_ARGS=packed_vq=1 hands_over_under_traffic; }
test_a_take_over_with_several_pairs_queues_and_workers_loses_and_repeats_nothing() {
	QUEUES=2 KEYS=queues=4 GUEST_ARGS=queues=4 hands_over_under_traffic --cpus 0,1
}
test_sixty_four_ports_are_handed_over_at_once() {
	local i gaps="" more; more=$(for i in $(seq 2 64); do echo "--port name=p$i,socket=$WORK/p$i.sock"; done)
	# shellcheck disable=SC2086
	make_nic 1 && start_viaduct $(run_args) $more || return 1
	# shellcheck disable=SC2046
	"$BUILD/vd-idle-guests" $(for i in $(seq 2 64); do echo "$WORK/p$i.sock"; done) >"$WORK/idle.log" 2>&1 &
	start_traffic && wait_for 20 status_is '[.ports[].up] | all' true || return 1
	# shellcheck disable=SC2086
	for i in 1 2 3; do take_over $(run_args) $more || return 1; gaps="$gaps $(gap)"; more_frames 2000 || return 1; done
	status_is '[.ports[].connections] | add' 64 && status_is '[.ports[].up] | all' true || return 1
	stop_traffic; report "gaps, ms:$gaps"; summary_is "$OUT" "$nothing_lost" && ledger_balances
}

# What comes from the wire does not wait for anybody: it has to find room.
test_a_steady_stream_from_the_wire_goes_through_take_overs_whole() {
	local i gaps=""
	make_nic 1 && start_viaduct $(run_args) && start_far_bridge || return 1
	start_guest --sink --json; wait_for 10 port_is_up || return 1
	"$BUILD/viaduct-guest" path="$FAR_SOCK",mac=$FAR_MAC --json --generate 64,20000 --dst $GUEST_MAC >"$WORK/far.json" 2>/dev/null & FAR_GUEST=$!
	wait_for 10 far_is_up && wait_for 10 frames_arrive || return 1
	for i in 1 2 3 4 5; do take_over $(run_args) || return 1; gaps="$gaps $(gap)"; more_arrive 2000 || return 1; done
	kill -TERM $FAR_GUEST; wait $FAR_GUEST
	i=$(tail -n 1 "$WORK/far.json" | jq .tx_packets)
	wait_for 10 status_is '.ports[0].totals.rx_packets' "$i"; report "gaps, ms:$gaps; sent $i, arrived $(status '.ports[0].totals.rx_packets'), lost in the ring $(status '.ports[0].lost_in_ring')"
	status_is '.ports[0].totals.rx_packets' "$i" && [ "$(connections)" = 1 ] && ledger_balances || return 1
	kill -TERM "$GUEST_PID"; wait "$GUEST_PID"; summary_is "$(grep -E '^\{' "$GUEST_LOG" | tail -n 1)" ".rx_packets == $i and .good == $i and .reordered == 0 and .duplicated == 0"
}
frames_arrive() { [ "$(status '.ports[0].totals.rx_packets')" -gt 2000 ]; }
more_arrive() { # COUNT, from now on
	local from; from=$(status '.ports[0].totals.rx_packets')
	wait_for 20 eval "[ \"\$(status '.ports[0].totals.rx_packets')\" -gt $((from + $1)) ]"
}

# --- either side killed, in each phase -------------------------------------------------

# between ACTION: something that stands between the two, and does it. They know nothing of each other but this.
between() {
	mv $HANDOVER $HANDOVER.real && { OLD_PID=$VIADUCT_PID "$TOP/selftests/between.py" $HANDOVER $HANDOVER.real "$1" >"$WORK/between.log" 2>&1 & BETWEEN_PID=$!; } &&
		wait_for 10 grep -q listening "$WORK/between.log"
}
# Back to how it was: the old one can be asked again.
nobody_between() { kill "$BETWEEN_PID" 2>/dev/null; wait "$BETWEEN_PID" 2>/dev/null; mv -f $HANDOVER.real $HANDOVER; }
scene() { make_nic 1 && start_viaduct $(run_args) && start_traffic; }
as_if_nothing_had_been() {
	more_frames 5000 && [ "$(connections)" = 1 ] || die "the guest connected $(connections) times" || return 1
	nobody_between
	take_over $(run_args) && more_frames 2000 || return 1	# and it can still be handed over
	stop_traffic; summary_is "$OUT" "$nothing_lost" && ledger_balances
}
new_one_dies_at() {
	scene && between "kill-new@$1" || return 1
	heir $(run_args)
	wait_for 20 gone "$HEIR_PID" && wait_for 10 grep -q 'going on' "$VIADUCT_LOG" && as_if_nothing_had_been
}
test_the_new_one_is_killed_after_it_asked() { new_one_dies_at hello; }
test_the_new_one_is_killed_when_it_has_what_lasts() { new_one_dies_at lasting; }
test_the_new_one_is_killed_when_it_is_prepared() { new_one_dies_at prepared; }
test_the_new_one_is_killed_when_it_has_everything() { new_one_dies_at moving; }
test_the_new_one_is_killed_when_it_said_that_it_is_ready() {
	# Whether COMMIT was sent before it died is a matter of luck; either way there is one owner, and the guest goes on.
	scene && between kill-new@ready || return 1
	heir $(run_args)
	wait_for 20 gone "$HEIR_PID" || return 1
	wait_for 10 eval "grep -q 'going on' '$VIADUCT_LOG' || gone $VIADUCT_PID" || return 1
	if ! gone "$VIADUCT_PID"; then as_if_nothing_had_been; return; fi
	guest_goes_on_with_a_new_process
}
test_the_new_one_is_frozen_and_the_old_one_goes_on_in_time() {
	scene && between stop-new@moving || return 1
	heir $(run_args)
	wait_for 20 grep -q 'going on' "$VIADUCT_LOG" && more_frames 5000 || return 1
	kill -CONT "$HEIR_PID"		# too late: it must not touch anything
	gave_up "did not wait" && more_frames 5000 && [ "$(connections)" = 1 ] || return 1
	nobody_between; take_over $(run_args) && more_frames 2000 || return 1
	# For a second nothing came back, so the generator sent its window once more; both at once were too much for the far ring.
	stop_traffic; summary_is "$OUT" ".lost == $(far_status '.ports[0].lost_in_ring') and .duplicated == 0 and .reordered == 0 and .damaged == 0" && ledger_balances
}
# A guest connects again to whatever is started in their place.
guest_goes_on_with_a_new_process() {
	nobody_between
	wait "$HEIR_PID" "$VIADUCT_PID"
	start_viaduct $(run_args) && wait_for 20 port_is_up && more_frames 5000 || return 1
	stop_traffic; summary_is "$OUT" ".lost <= 256 and .duplicated <= 128 and .damaged == 0 and .reordered == 0"
}
old_one_dies_early_at() {
	scene && between "kill-old@$1" || return 1
	heir $(run_args)
	wait_for 20 heir_is_ready_or_gone; grep -q 'starting anew' "$HEIR_LOG" && grep -q ' ready' "$HEIR_LOG" || { cat "$HEIR_LOG" >&2; return 1; }
	VIADUCT_PID=$HEIR_PID VIADUCT_LOG=$HEIR_LOG
	wait_for 20 port_is_up && more_frames 5000 || return 1
	stop_traffic; summary_is "$OUT" ".lost <= 256 and .duplicated <= 128 and .damaged == 0 and .reordered == 0"
}
test_the_old_one_is_killed_when_it_was_asked_and_the_new_one_starts_anew() { old_one_dies_early_at hello; }
test_the_old_one_is_killed_when_it_gave_what_lasts_and_the_new_one_starts_anew() { old_one_dies_early_at lasting; }
old_one_dies_frozen_at() {
	scene && between "kill-old@$1" || return 1
	heir $(run_args) && succeeded || return 1
	more_frames 5000 && [ "$(connections)" = 1 ] || die "the guest connected $(connections) times" || return 1
	stop_traffic; summary_is "$OUT" "$nothing_lost" && ledger_balances
}
test_the_old_one_is_killed_when_it_gave_everything_and_the_new_one_goes_on() { old_one_dies_frozen_at moving; }
test_the_old_one_is_killed_before_it_can_commit_and_the_new_one_goes_on() { old_one_dies_frozen_at ready; }
test_the_old_one_is_killed_as_it_commits_and_the_new_one_goes_on() { old_one_dies_frozen_at commit; }
test_a_commit_that_nobody_hears_ends_the_old_one() {
	scene && between drop-commit || return 1
	heir $(run_args)
	wait_for 20 gone "$HEIR_PID" && wait_for 10 gone "$VIADUCT_PID" && grep -q 'handed over' "$VIADUCT_LOG" || return 1
	guest_goes_on_with_a_new_process
}

# --- what cannot be taken over -----------------------------------------------------------

test_a_process_that_reads_another_form_is_refused_politely_and_nothing_changes() {
	scene && between version=999 || return 1
	heir $(run_args)
	gave_up 'form 1, and .* reads form 999: restart without --take-over' && as_if_nothing_had_been
}
test_an_option_that_is_not_as_it_was_is_named_and_nothing_changes() {
	local what
	scene || return 1
	for what in "--queues 1" "--xdp-mode generic" "--rx-hash software" "--host-port off"; do
		heir $(run_args $what); gave_up "${what%% *} is not as the running instance has it" || return 1
	done
	KEYS=queues=2; heir $(run_args); gave_up 'port vm0: queues cannot change' || return 1
	KEYS=features=-mrg_rxbuf; heir $(run_args); gave_up 'port vm0: features and offloads cannot change' || return 1
	KEYS=; more_frames 2000 && [ "$(connections)" = 1 ] || return 1
	stop_traffic; summary_is "$OUT" "$nothing_lost"
}
test_without_a_running_instance_it_starts_as_usual() {
	make_nic 1 || return 1
	heir $(run_args)
	wait_for 20 heir_is_ready_or_gone; grep -q 'no instance named nic0 is running' "$HEIR_LOG" && grep -q ' ready' "$HEIR_LOG" || return 1
	VIADUCT_PID=$HEIR_PID; stop_viaduct && nothing_is_left
}
test_something_else_at_the_socket_is_refused_and_it_goes_on() {
	scene || return 1
	printf 'GET / HTTP/1.1\r\nHost: example.org\r\n\r\n' | timeout 5 nc -N -U $HANDOVER >/dev/null
	wait_for 15 grep -q 'going on' "$VIADUCT_LOG" && more_frames 2000 || return 1
	stop_traffic; summary_is "$OUT" "$nothing_lost"
}

# --- what goes along -----------------------------------------------------------------------

test_ports_of_every_kind_go_along_and_the_new_configuration_is_followed() {
	local many i
	make_nic 1 && start_viaduct $(run_args) --port "name=idle,socket=$WORK/idle.sock" --port "name=far,socket=$WORK/client.sock,mode=client" || return 1
	"$BUILD/viaduct" port add "name=late,socket=$WORK/late.sock,vlan=7" --name nic0 && start_traffic || return 1
	take_over $(run_args) --port "name=idle,socket=$WORK/idle.sock,storm=50" --port "name=far,socket=$WORK/client.sock,mode=client" --port "name=new,socket=$WORK/new.sock" || return 1
	many=$("$BUILD/viaduct" port list --name nic0 --json | jq -c '[.[].name]') && [ "$many" = '["vm0","idle","far","late","new"]' ] || die "ports: $many" || return 1
	[ -S "$WORK/new.sock" ] && status_is '.ports[] | select(.name == "late") | .config.vlan' 7 && more_frames 2000 || return 1
	stop_traffic; summary_is "$OUT" "$nothing_lost" || return 1
	# A guest that comes now finds its port, and one whose socket viaduct connects to, too.
	SOCK=$WORK/idle.sock GUEST_MAC=52:54:00:00:00:77 start_guest --sink
	"$BUILD/viaduct-guest" "path=$WORK/client.sock,server=1" --sink >/dev/null 2>&1 & i=$!
	wait_for 10 status_is '[.ports[] | select(.name == "idle" or .name == "far") | .up] | all' true && stop_viaduct || return 1
	kill -TERM $i; wait $i; ! [ -e "$WORK/late.sock" ]
}
test_learned_addresses_and_the_host_and_its_neighbours_go_along() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK" && start_tap_guest && pings in_guest $WIRE_IP && pings in_guest $HOST_IP || return 1
	take_over --uplink nic0 --port "name=vm0,socket=$SOCK" || return 1
	[ "$(status '.ports[0].addresses | length')" = 1 ] || die "$(status .ports[0].addresses)" || return 1
	pings in_guest $WIRE_IP && pings in_guest $HOST_IP && pings in_wire $GUEST_IP && pings command $GUEST_IP || ping -q -c 2 $GUEST_IP >&2 || return 1
	in_wire ip neigh flush all; in_guest ip neigh flush all; ip neigh flush all
	pings in_wire $GUEST_IP && pings in_guest $HOST_IP && stop_viaduct && nothing_is_left
}
test_two_take_overs_in_a_row_and_a_clean_exit_leave_nothing_behind() {
	make_nic 2 || return 1
	local before; before=$(ethtool -k nic0)
	start_viaduct $(run_args) && take_over $(run_args) && take_over $(run_args) || return 1
	[ "$(bpftool -j net show dev nic0 | jq '.[0].xdp | length')" = 1 ] && stop_viaduct && nothing_is_left &&
		[ "$(ethtool -k nic0)" = "$before" ] || die "NIC settings changed"
}
test_a_service_manager_is_told_whom_to_follow() {
	make_nic 1 || return 1
	service_manager 3 || return 1
	NOTIFY_SOCKET=$WORK/notify start_viaduct $(run_args) && take_over $(run_args) && wait_for 5 grep -q "MAINPID=$VIADUCT_PID" "$WORK/told"
}

run_tests
