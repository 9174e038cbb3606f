#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Several guests on one NIC: what reaches whom.
. "$(dirname "$0")/lib.sh"

# tap_guest NUMBER [ARGUMENTS]: an ordinary interface tap0 in the namespace gNUMBER, address 10.77.0.(10 + NUMBER).
tap_guest() {
	local n=$1 ns=g$1; shift
	ip netns add "$ns" || return 1
	nsenter --net=/run/netns/"$ns" ip link set lo up
	"$BUILD/viaduct-guest" "path=$WORK/p$n.sock,mac=52:54:00:00:01:$(printf %02x "$n")${*:+,$*}" --tap tap0 --netns "$ns" >"$WORK/g$n.log" 2>&1 &
	wait_for 10 in_ns "$ns" ip link show dev tap0 || return 1
	in_ns "$ns" ip addr add 10.77.0.$((10 + n))/24 dev tap0
	in_ns "$ns" ip link set tap0 up
}
in_ns() { local ns=$1; shift; nsenter --net=/run/netns/"$ns" "$@"; }
port() { echo "name=p$1,socket=$WORK/p$1.sock${2:+,$2}"; }
named_port_is_up() { status_is ".ports[] | select(.name == \"$1\") | .up" true; }

test_three_guests_the_wire_and_the_host_all_reach_each_other() {
	local a b
	make_nic 1 && start_viaduct --uplink nic0 --port "$(port 1)" --port "$(port 2)" --port "$(port 3)" || return 1
	for a in 1 2 3; do tap_guest $a || return 1; done
	for a in 1 2 3; do wait_for 10 named_port_is_up p$a || return 1; done
	for a in 1 2 3; do
		for b in 10.77.0.11 10.77.0.12 10.77.0.13 $WIRE_IP $HOST_IP; do
			in_ns g$a ping -q -c 3 -i 0.05 -W 2 $b >"$WORK/ping.log" 2>&1 || { cat "$WORK/ping.log"; die "g$a to $b"; return 1; }
		done
		in_wire ping -q -c 3 -i 0.05 -W 2 10.77.0.$((10 + a)) >/dev/null || { die "wire to $a"; return 1; }
		ping -q -c 3 -i 0.05 -W 2 10.77.0.$((10 + a)) >/dev/null || { die "host to $a"; return 1; }
	done
	ledger_balances
}

run_tests
