#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Whose an address is: learned, kept, moved, forgotten; and where frames go to an address that nobody has.
. "$(dirname "$0")/lib.sh"

# What happens, a JSON object a line.
watch_events() {
	"$BUILD/viaduct" monitor --name nic0 >"$WORK/events" 2>&1 &
}
has_happened() { jq -e "select(.event == \"$1\" and .subject == \"p$2\" and .detail == \"$3\")" "$WORK/events" | grep -q .; }
happens() { # EVENT PORT-NUMBER ADDRESS
	wait_for 15 has_happened "$@" || { cat "$WORK/events"; die "no $1 of port p$2"; }
}
learned_is() { port_status_is "$1" '[.addresses[] | select(.kind == "learned") | .mac] | join(",")' "$2"; }
two_ports() { # ARGUMENTS
	make_nic 1 && start_viaduct --uplink nic0 "$@" --port "$(port 1)" --port "$(port 2)" && watch_events
}
# Ends it, and its interface with it.
tap_guest_ends() { kill -KILL "${PEER[$1]}"; wait "${PEER[$1]}" 2>/dev/null; ip netns del "g$1"; wait_for 10 port_status_is "$1" .connected false; }

test_a_silent_address_is_forgotten_and_one_that_sends_is_kept() {
	two_ports --aging 4 && tap_guest 1 && tap_guest 2 && ports_are_up 1 2 || return 1
	in_ns g2 ping -q -i 0.1 $WIRE_IP >/dev/null & PEER[3]=$!
	happens address_learned 2 "$(mac_of 2)" && reaches g1 $WIRE_IP && happens address_learned 1 "$(mac_of 1)" || return 1
	# The wire would ask who has it once in a while, and the answer would be heard.
	in_wire ip neigh flush dev wire0; ip neigh flush dev nic0
	happens address_forgotten 1 "$(mac_of 1)" || return 1
	learned_is 2 "$(mac_of 2)" && ! has_happened address_forgotten 2 "$(mac_of 2)" || die "$(port_status 2 .addresses)" || return 1
	reaches g1 $WIRE_IP && wait_for 5 learned_is 1 "$(mac_of 1)" && kill "${PEER[3]}"
}
test_an_address_moves_with_its_guest_to_another_port_and_the_log_says_so() {
	two_ports && tap_guest 1 && ports_are_up 1 && reaches g1 $WIRE_IP && happens address_learned 1 "$(mac_of 1)" && tap_guest_ends 1 || return 1
	tap_guest 2 && ports_are_up 2 || return 1
	in_ns g2 ip link set tap0 address "$(mac_of 1)"
	# As soon as its old port has been silent for long enough.
	wait_for 30 in_ns g2 ping -q -c 1 -W 0.3 $WIRE_IP && happens address_moved 2 "$(mac_of 1)" || return 1
	grep -q "port p2: address $(mac_of 1) moved here from port p1" "$VIADUCT_LOG" || die "the log does not say it" || return 1
	learned_is 2 "$(mac_of 1)" && learned_is 1 "" && pings in_wire "$(ip_of 2)"
}
test_a_guest_does_not_get_the_address_of_another_that_uses_it() {
	local before pid
	two_ports && tap_guest 1 && tap_guest 2 && ports_are_up 1 2 && reaches g1 $WIRE_IP && wait_for 5 learned_is 1 "$(mac_of 1)" || return 1
	in_ns g2 ip link set tap0 address "$(mac_of 1)"
	before=$(port_status 2 .totals.rx_packets)
	in_ns g1 ping -q -c 60 -i 0.05 -W 2 $WIRE_IP >"$WORK/owner" & pid=$!
	# Whatever it sends, the answers are the other's.
	in_ns g2 ip neigh replace $WIRE_IP lladdr "$(in_wire ip -j link show dev wire0 | jq -r ".[].address")" dev tap0
	! in_ns g2 ping -q -c 40 -i 0.05 -W 0.3 $WIRE_IP >/dev/null || die "the thief got answers" || return 1
	wait $pid || { cat "$WORK/owner"; return 1; }
	grep -q ' 60 received' "$WORK/owner" && learned_is 1 "$(mac_of 1)" && learned_is 2 "" &&
		port_status_is 2 '.addresses_refused.address_of_another_port > 0' true || die "$(port_status 2 .addresses_refused), got $before, then $(port_status 2 .totals.rx_packets)"
}
test_an_address_that_is_heard_from_the_wire_is_the_wires() {
	two_ports && tap_guest 1 && tap_guest 2 && ports_are_up 1 2 && reaches g1 $WIRE_IP && reaches g2 $WIRE_IP && wait_for 5 learned_is 1 "$(mac_of 1)" && tap_guest_ends 1 || return 1
	# It went to another host: one with the same address sends there.
	in_wire ip link set wire0 address "$(mac_of 1)"
	in_wire ping -q -i 0.1 -c 1000 "$(ip_of 2)" >/dev/null & PEER[3]=$!
	happens address_forgotten 1 "$(mac_of 1)" || return 1
	in_ns g2 ip neigh flush dev tap0; reaches g2 $WIRE_IP && kill "${PEER[3]}"
}
test_frames_to_nobody_go_to_the_guest_that_is_named() {
	two_ports --unknown guest=p2 && start_far_bridge && start_peer 1 --sink && start_peer 2 --sink && ports_are_up 1 2 || return 1
	far_guest 1 --generate 100,4000 --count 1000 --dst 02:00:00:00:00:77 >/dev/null
	# A veth's queue is short, and what it loses nobody on this side has seen: all that came is the guest's.
	wait_for 5 status_is '(.uplink.queues[0].rx_packets as $n | .ports[1].totals.rx_packets == $n and $n > 900) and .ports[0].totals.rx_packets == 0' true ||
		die "$(status '[.uplink.queues[0].rx_packets, .ports[].totals]' | jq -c .)"
}

run_tests
