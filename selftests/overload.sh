#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Fifteen of sixteen guests are stalled, or get more than they can take: the sixteenth does not notice.
. "$(dirname "$0")/lib.sh"

# What is looked at is how the bridge divides what it has, not how the kernel divides two CPUs among twenty processes:
# both bridges and the two ends of the stream come before the flood and the fifteen.
OFFERED=12000 PPS=4000 OTHERS=$(seq 1 15)
first() { local t; for t in "$@"; do chrt -f -p 1 "$t" || return 1; done; }
# shellcheck disable=SC2046
all_threads_first() { first $(cd /proc/"$1"/task && echo *); }

sixteen_ports() {
	local n
	# shellcheck disable=SC2046
	make_nic 1 && start_viaduct --uplink nic0 $(for n in $(seq 1 16); do echo --port "$(port "$n" "mac=$(mac_of "$n")")"; done) &&
		start_far_bridge && all_threads_first "$VIADUCT_PID" && all_threads_first "$FAR_PID"
}
# The fifteen count what they get; the sixteenth checks its numbers.
sixteen_guests() { # ARGUMENTS-OF-THE-SIXTEENTH
	local n
	for n in $OTHERS; do start_peer "$n" --sink; done
	start_peer 16 "$@"; first "${PEER[16]}"
	# shellcheck disable=SC2046
	ports_are_up $(seq 1 16)
}
stall_the_others() { local n; for n in $OTHERS; do kill -STOP "${PEER[n]}"; done; }
# Frames to all of the fifteen, in turn, as fast as they go, until flood_ends; how many is in $FLOOD then.
flood_starts() {
	local n
	# shellcheck disable=SC2046
	nsenter --net=/run/netns/wire "$TOP/selftests/flood.py" wire0 64 $(for n in $OTHERS; do mac_of "$n"; echo; done) >"$WORK/flood" & PEER[0]=$!
	wait_for 10 port_status_is 15 '.xdp.packets + (.xdp.drops.share // 0) > 100' true
}
flood_ends() { kill -TERM "${PEER[0]}"; wait "${PEER[0]}"; FLOOD=$(cat "$WORK/flood"); }

# Of what was offered to the sixteenth at least 95 % must be there, in order and whole.
sixteenth_got() { # ARRIVED
	local others; others=$(status '[.ports[:15][] | [.xdp.packets, .totals.rx_packets, (.xdp.drops.share // 0), (.drops.no_guest_buffers // 0), .lost_in_ring]] | transpose | map(add)' | jq -c .)
	say "$FLOOD frames of flood: $others redirected, delivered, beyond the share, without buffers, lost between program and ring"
	say "$1 of $OFFERED arrived"
	[ "$1" -ge $((OFFERED * 95 / 100)) ] || die "the sixteenth: $(port_status 16 '[.xdp, .drops, .lost_in_ring]' | jq -c .), flood $FLOOD"
}
stream_from_the_wire() {
	(first $BASHPID; far_guest 1 --generate 200,$PPS --count $OFFERED --dst "$(mac_of 16)") >"$WORK/stream"
	summary_is "$(cat "$WORK/stream")" ".tx_packets == $OFFERED"
}
test_fifteen_stalled_guests_under_a_flood_from_the_wire_do_not_hold_up_the_sixteenth() {
	sixteen_ports && sixteen_guests --sink && stall_the_others && flood_starts && stream_from_the_wire || return 1
	flood_ends; stop_peer 16
	sixteenth_got "$(echo "$OUT" | jq .rx_packets)" && summary_is "$OUT" '.damaged == 0 and .duplicated == 0 and .reordered == 0' && ledger_balances
}
test_fifteen_guests_flooded_from_the_wire_do_not_hold_up_the_sixteenth() {
	sixteen_ports && sixteen_guests --sink && flood_starts && stream_from_the_wire || return 1
	flood_ends; stop_peer 16
	sixteenth_got "$(echo "$OUT" | jq .rx_packets)" && summary_is "$OUT" '.damaged == 0 and .duplicated == 0 and .reordered == 0' && ledger_balances
}

run_tests
