#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A real virtual machine as the guest: QEMU with a Debian kernel's virtio_net.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"

PORT_ARGS="name=vm0,socket=$SOCK,queues=4"
bring_up_guest() { # NIC-QUEUES PAIRS [MORE]
	make_nic "$1" && start_viaduct --uplink nic0 --port "$PORT_ARGS" && start_qemu_guest "$2" "${3:-}"
}
guest_pings_wire() { vm "ping -q -c 3 -W 2 $WIRE_IP" >"$WORK/vmping.log" || { cat "$WORK/vmping.log" >&2; return 1; }; }
guest_is_reachable() { guest_pings_wire && pings in_wire $GUEST_IP; }
iperf_server() {
	in_wire iperf3 -s -D -I "$WORK/iperf.pid" >/dev/null
	wait_for 5 sh -c "nsenter --net=/run/netns/wire ss -ltn | grep -q 5201"
}
# Bytes through an iperf3 run of the guest's, from its summary; more than a megabyte is a working path.
iperf_moves_data() { # ARGUMENTS
	local out
	out=$(vm "iperf3 -J -t 2 -c $WIRE_IP $*") || { say "iperf3 $*: $out"; return 1; }
	[ "$(echo "$out" | jq '[.end.sum_received.bytes, .end.sum.bytes] | map(. // 0) | max | floor')" -gt 1000000 ] ||
		{ say "iperf3 $*: $(echo "$out" | jq -c .end.sum)"; return 1; }
}

test_a_qemu_guest_pings_and_is_pinged() {
	bring_up_guest 1 1 && guest_is_reachable && status '.ports[0].features | join(" ")' | grep -qi version_1
}
test_iperf3_works_both_ways_over_tcp_and_udp() {
	bring_up_guest 1 1 && iperf_server || return 1
	iperf_moves_data && iperf_moves_data -R && iperf_moves_data -u -b 50M -l 1400 && iperf_moves_data -u -b 50M -l 1400 -R &&
		ledger_balances
}
listens() { in_wire ss -ltn | grep -q ":$1 "; }
# round_trip BYTES [ADDRESS]: known bytes, there and back over TCP; both ends compare checksums.
round_trip() {
	local sum pid to=${2:-$WIRE_IP}
	head -c "$1" /dev/urandom >"$WORK/part"
	sum=$(md5sum <"$WORK/part" | cut -d' ' -f1)
	in_wire "$TOP/selftests/blob.py" send 7000 "$WORK/part" &
	wait_for 20 listens 7000 || return 1
	[ "$(vm "nc $to 7000 | tee /tmp/data | md5sum" | cut -d' ' -f1)" = "$sum" ] || die "$1 bytes to the guest" || return 1
	in_wire "$TOP/selftests/blob.py" receive 7001 "$WORK/back" & pid=$!
	wait_for 20 listens 7001 || return 1
	vm "nc $to 7001 </tmp/data" >/dev/null; wait $pid
	[ "$(md5sum <"$WORK/back" | cut -d' ' -f1)" = "$sum" ] || die "$1 bytes from the guest"
}
test_payload_of_odd_sizes_survives_a_round_trip() {
	bring_up_guest 1 1 || return 1
	local size
	for size in 1 59 1447 1448 1449 65537 3000001; do round_trip $size || return 1; done
}
# The guest's kernel leaves segmentation to us under its VLAN interface too.
test_tcp_with_segmentation_passes_under_a_vlan_tag() {
	bring_up_guest 1 1 || return 1
	vm "ip link add link eth0 name tagged type vlan id 42" || skip "the guest's kernel has no VLAN interfaces" || return
	vm "ip addr add 10.78.0.3/24 dev tagged && ip link set tagged up" || return 1
	in_wire "$TOP/selftests/vlan.py" wire0 tagged 42 &
	wait_for 5 in_wire ip link show dev tagged && in_wire ip addr add 10.78.0.2/24 dev tagged && in_wire ip link set tagged up &&
		wait_for 10 vm "ping -q -c 1 -W 1 10.78.0.2" && pings in_wire 10.78.0.3 && round_trip 3000001 10.78.0.2 || return 1
	status_is '.ports[0].pair[0].tx.offloads.large_packets > 0' true && ledger_balances
}
enabled_pairs_are() { status_is '.ports[0].pairs.enabled' "$1"; }
# Every rx virtqueue of the guest that got packets, as a list.
pairs_with_traffic() { status '[.ports[0].pair[] | select(.rx.packets > 0) | .pair] | join(",")'; }
flows_from_wire() { # many flows; no answer expected
	local i
	for i in $(seq 1 64); do echo x | in_wire nc -u -w 0 $GUEST_IP $((9000 + i)) 2>/dev/null; done
	return 0
}
test_the_guests_ethtool_changes_its_queue_count_and_steering_follows_at_once() {
	bring_up_guest 1 4 && vm "ethtool -L eth0 combined 1" && wait_for 5 enabled_pairs_are 1 || return 1
	local before
	before=$(status '[.ports[0].pair[1,2,3].rx.packets] | add')
	flows_from_wire; guest_is_reachable && [ "$(status '[.ports[0].pair[1,2,3].rx.packets] | add')" = "$before" ] ||
		die "frames went to a disabled pair" || return 1
	vm "ethtool -L eth0 combined 4" && wait_for 5 enabled_pairs_are 4 && guest_is_reachable || return 1
	flows_from_wire; guest_is_reachable
	wait_for 5 all_four_have_traffic || die "pairs with traffic: $(pairs_with_traffic)" || return 1
	vm "ethtool -L eth0 combined 2" && wait_for 5 enabled_pairs_are 2 && guest_is_reachable || return 1
	before=$(status '[.ports[0].pair[2,3].rx.packets] | add')
	flows_from_wire; guest_is_reachable || return 1
	[ "$(status '[.ports[0].pair[2,3].rx.packets] | add')" = "$before" ] || die "frames went to a disabled pair"
}
all_four_have_traffic() { [ "$(pairs_with_traffic)" = 0,1,2,3 ]; }

test_four_nic_queues_feed_a_guest_with_four_pairs() {
	bring_up_guest 4 4 && vm "ethtool -L eth0 combined 4" && guest_is_reachable && iperf_server && iperf_moves_data -P 4 &&
		iperf_moves_data -P 4 -R && ledger_balances
}
ring_is() { status_is '.ports[0].pair[0].rx.kind' "$1"; }
reboots() { # MORE KIND
	bring_up_guest 1 1 "$1" && ring_is "$2" && guest_is_reachable || return 1
	"$TOP/selftests/qmp.py" "$WORK/vm.qmp" system_reset || return 1
	wait_for 10 status_is '.ports[0].up' false
	wait_for 90 vm_answers && vm "ip addr add $GUEST_IP/24 dev eth0 && ip link set eth0 up" && wait_for 20 port_is_up &&
		ring_is "$2" && guest_is_reachable && round_trip 65537 && status_is '.ports[0].connections' 1
}
test_the_guest_reboots_and_has_its_network_again() { reboots "" split; }
test_the_guest_reboots_and_has_its_network_again_with_packed_rings() { reboots ,packed=on packed; }
more_packets_than() { status_is ".ports[0].pair[0] | .rx.packets > $1 and .tx.packets > $2" true; }
# Stopped in the middle of a stream both ways, which has no end before it was.
test_a_guest_with_packed_rings_that_is_stopped_and_continued_loses_no_byte() {
	local pid i seen
	bring_up_guest 1 1 ,packed=on && ring_is packed && guest_is_reachable || return 1
	in_wire "$TOP/selftests/blob.py" echoed 7000 "$WORK/enough" & pid=$!
	wait_for 20 listens 7000 && vm "nc $WIRE_IP 7000 -e cat &" || return 1
	for i in 1 2; do
		seen=$(status '.ports[0].pair[0] | "\(.rx.packets + 100) \(.tx.packets + 100)"')
		wait_for 20 more_packets_than $seen && "$TOP/selftests/qmp.py" "$WORK/vm.qmp" stop && wait_for 10 status_is '.ports[0].up' false &&
			"$TOP/selftests/qmp.py" "$WORK/vm.qmp" cont && wait_for 20 port_is_up || return 1
	done
	kill -0 $pid || die "the stream ended" || return 1
	: >"$WORK/enough"
	wait $pid && guest_is_reachable && round_trip 65537 && ledger_balances
}
test_a_killed_qemu_leaves_the_port_ready_for_the_next() {
	bring_up_guest 1 1 && guest_is_reachable || return 1
	kill -KILL "$VM_PID"
	wait_for 10 status_is '.ports[0].connected' false && start_qemu_guest 1 && guest_is_reachable && ledger_balances
}
test_the_guest_stays_up_while_viaduct_is_killed_and_restarted() {
	bring_up_guest 1 1 && guest_is_reachable || return 1
	local boot
	boot=$(vm cat /proc/sys/kernel/random/boot_id)
	kill -KILL "$VIADUCT_PID"; wait "$VIADUCT_PID" 2>/dev/null
	start_viaduct --uplink nic0 --port "$PORT_ARGS" && wait_for 20 port_is_up && guest_is_reachable || return 1
	[ "$(vm cat /proc/sys/kernel/random/boot_id)" = "$boot" ] || die "the guest rebooted" || return 1
	stop_viaduct && start_viaduct --uplink nic0 --port "$PORT_ARGS" && wait_for 20 port_is_up && guest_is_reachable
}
test_traffic_returns_after_the_carrier_of_the_uplink_was_gone() {
	bring_up_guest 1 1 && guest_is_reachable || return 1
	in_wire ip link set wire0 down && wait_for 5 link_map_is 0 up 0 && ! guest_pings_wire 2>/dev/null || return 1
	in_wire ip link set wire0 up && wait_for 5 link_map_is 0 up 1 && wait_for 10 guest_is_reachable
}
test_a_legacy_guest_without_version_1_is_served() {
	bring_up_guest 1 1 ",disable-modern=on,disable-legacy=off" && guest_is_reachable &&
		! status '.ports[0].features | join(" ")' | grep -qi version_1
}
test_a_guest_without_mergeable_buffers_indirect_or_event_index_is_served() {
	bring_up_guest 1 1 ",mrg_rxbuf=off,indirect_desc=off,event_idx=off" && guest_is_reachable && iperf_server &&
		iperf_moves_data && iperf_moves_data -R
}
# idle_ticks SECONDS: CPU time of viaduct in hundredths of a second, the least of three windows: other things stir too.
idle_ticks() {
	local i t0 t1 least=1000
	for i in 1 2 3; do
		t0=$(awk '{print $14 + $15}' /proc/"$VIADUCT_PID"/stat); sleep "$1"
		t1=$(awk '{print $14 + $15}' /proc/"$VIADUCT_PID"/stat)
		[ $((t1 - t0)) -lt $least ] && least=$((t1 - t0))
	done
	echo $least
}
test_a_connected_idle_guest_costs_less_than_one_percent_of_a_core() {
	local mode ticks
	for mode in adaptive interrupt; do
		clean_scene
		make_nic 1 && start_viaduct --uplink nic0 --wait $mode --port "$PORT_ARGS" && start_qemu_guest 1 && guest_is_reachable || return 1
		ticks=$(idle_ticks 3)
		[ "$ticks" -lt 3 ] || die "$mode: $ticks ticks in 300" || return 1
	done
}

run_tests
