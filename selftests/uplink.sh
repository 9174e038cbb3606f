#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What the uplink's device may do, and what others may do to it, while guests send and receive numbered frames.
. "$(dirname "$0")/lib.sh"

WINDOW=64

# A far bridge at the wire's end whose guest sends numbered frames; ours sends them back. FRAMES that come back are checked.
up() { # QUEUES ARGUMENTS...
	local q=$1; shift
	make_nic "$q" && start_viaduct "$@" --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" || return 1
	start_guest --echo --json
	wait_for 10 port_is_up && start_far_bridge
}
# The stream begins; it ends by stop_stream.
start_stream() {
	"$BUILD/viaduct-guest" "path=$FAR_SOCK,mac=$FAR_MAC" --json --generate 256 --dst $GUEST_MAC --window $WINDOW >"$WORK/stream.json" 2>"$WORK/stream.log" &
	STREAM=$!
	wait_for 10 stream_runs
}
frames() { status '.ports[0].totals.rx_packets'; }
stream_runs() { [ "$(frames)" -gt 1000 ]; }
# stream_goes_on: a thousand more frames come to the guest, or it says no.
stream_goes_on() {
	local now; now=$(frames)
	wait_for 15 more_than $((now + 1000)) || die "the stream stands still: $(status '.uplink | {interface, up, reason, trouble}' | jq -c .)"
}
more_than() { [ "$(frames 2>/dev/null)" -gt "$1" ]; }
# Nothing but losses, and those are told; the guest has stayed connected.
stop_stream() { # WHAT
	kill -INT "$STREAM"; wait "$STREAM"
	OUT=$(tail -n 1 "$WORK/stream.json")
	summary_is "$OUT" '.reordered == 0 and .duplicated == 0 and .damaged == 0 and .returned > 1000' || return 1
	report "$1: lost $(echo "$OUT" | jq .lost) of $(echo "$OUT" | jq .tx_packets) frames, repeated 0, reordered 0"
	[ "$(status '.ports[0].connections')" = 1 ] || die "the guest had to connect again"
}
uplink_is() { status_is "$1" "$2"; }

test_a_carrier_that_flaps_a_hundred_times_costs_frames_and_nothing_else() {
	local i
	up 1 --uplink nic0 && start_stream || return 1
	for i in $(seq 100); do
		in_wire ip link set wire0 down && wait_for 5 link_map_is_raw 0 up 0 || return 1
		in_wire ip link set wire0 up && wait_for 5 link_map_is_raw 0 up 1 || return 1
	done
	stream_goes_on && stop_stream "carrier flapped 100 times" && ledger_balances
}
link_map_is_raw() { link_map_is "$@"; }
test_a_nic_that_is_set_down_and_up_goes_on() {
	up 1 --uplink nic0 && start_stream || return 1
	ip link set nic0 down && wait_for 5 link_map_is 0 reason VD_REASON_ADMIN_DOWN && ip link set nic0 up && wait_for 5 link_map_is 0 up 1 || return 1
	stream_goes_on && stop_stream "NIC down and up" && ledger_balances
}
test_a_nic_that_moves_to_another_namespace_and_back_goes_on() {
	up 1 --uplink nic0 && start_stream || return 1
	ip netns add away && ip link set nic0 netns away && wait_for 5 link_map_is 0 reason VD_REASON_GONE || return 1
	wait_for 5 has_no_program away nic0 && status_is '.ports[0].connected' true || return 1
	in_ns away ip link set nic0 netns 1 && ip link set nic0 up || return 1
	wait_for 10 link_map_is 0 up 1 && stream_goes_on && stop_stream "NIC moved away and back" && ledger_balances
}
has_no_program() { ! in_ns "$1" ip -d link show dev "$2" | grep -q prog/xdp; }
test_a_nic_that_is_deleted_and_made_again_goes_on() {
	make_behind_switch && start_stream || return 1
	ip link del nic0 && wait_for 5 link_map_is 0 reason VD_REASON_GONE && status_is '.ports[0].connected' true || return 1
	ip link add nic0 type veth peer name wire0 netns wire && plain_veth /run/netns/wire wire0 && ip link set nic0 up && in_wire ip link set wire0 up master br0 || return 1
	wait_for 10 link_map_is 0 up 1 && stream_goes_on && stop_stream "NIC deleted and made again" && ledger_balances
}
# One NIC, and the guest that sends behind a switch, so that it stays when the NIC goes.
make_behind_switch() {
	make_two && ip link del nic1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" || return 1
	start_guest --echo --json
	wait_for 10 port_is_up && start_far_on_bridge
}
test_a_nic_that_was_away_gets_its_settings_back_at_the_end() {
	up 1 --uplink nic0 && rxvlan_is off && ip netns add away && ip link set nic0 netns away && wait_for 5 link_map_is 0 reason VD_REASON_GONE || return 1
	in_ns away ip link set nic0 netns 1 && ip link set nic0 up && wait_for 10 link_map_is 0 up 1 && rxvlan_is off && stop_far_bridge && stop_viaduct && nothing_is_left && rxvlan_is on
}
test_the_end_comes_while_the_nic_is_away_and_another_has_its_name() {
	up 1 --uplink nic0 && ip netns add away && ip link set nic0 netns away && wait_for 5 link_map_is 0 reason VD_REASON_GONE && stop_far_bridge || return 1
	another_program && ip link add nic0 type veth peer name nic8 && bpftool net attach xdp pinned /sys/fs/bpf/other/to_socket dev nic0 && ethtool -K nic0 rxvlan off && ip link set nic0 up || return 1
	wait_for 5 link_map_is 0 reason VD_REASON_ERROR && stop_viaduct && bpftool net detach xdp dev nic0 && rxvlan_is off && nothing_is_left
}
test_a_nic_that_is_renamed_goes_on_and_is_known_by_its_new_name() {
	up 1 --uplink nic0 && start_stream || return 1
	ip link set nic0 down; ip link set nic0 name nicnew && ip link set nicnew up || return 1
	wait_for 5 status_is '.uplink.interface + " " + (.uplink.up | tostring)' "nicnew true" && stream_goes_on &&
		[ "$(link_map 0 name)" = nicnew ] && stop_stream "NIC renamed" && ledger_balances
}
test_a_larger_mtu_gets_longer_buffers_without_a_restart() {
	up 1 --uplink nic0 && start_stream || return 1
	in_wire ip link set wire0 mtu 9000 && ip link set nic0 mtu 9000 && wait_for 10 status_is '.uplink.mtu' 9000 && wait_for 10 status_is '.uplink.repaired.mtu' 1 &&
		stream_goes_on && status_is '.uplink.xdp.multi_buffer and .uplink.trouble == []' true && stop_stream "MTU 1500 to 9000" && ledger_balances
}
# The far end has as many queues as ours may get, for veth wants no more senders than receivers.
test_more_channels_and_fewer_are_served_without_a_restart() {
	make_nic 4 && ethtool -L nic0 rx 2 tx 4 && start_viaduct --uplink nic0 --cpus 0,1 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC,queues=4" || return 1
	status_is '.uplink.queues | length' 2 || return 1
	GUEST_ARGS=queues=4 start_guest --echo --json
	wait_for 10 port_is_up && start_far_bridge && start_stream || return 1
	ethtool -L nic0 rx 4 && wait_for 10 status_is '[.uplink.queues[] | select(.state == "ready")] | length' 4 && stream_goes_on || return 1
	status_is '.uplink.repaired.channels' 1 && status_is '.uplink.trouble' '[]' && stop_stream "channels 2 to 4" && ledger_balances
}
test_a_program_that_is_detached_is_put_back() {
	up 1 --uplink nic0 && start_stream || return 1
	bpftool link detach pinned /sys/fs/bpf/viaduct/nic0/link || return 1
	wait_for 5 status_is '.uplink.repaired.program' 1 && stream_goes_on && link_map_is 0 up 1 && link_map_is 0 repairs 1 && stop_stream "XDP program detached" && ledger_balances
}
test_a_program_that_another_tool_puts_in_the_place_of_ours_is_replaced_by_ours() {
	up 1 --uplink nic0 && start_stream && another_program || return 1
	replace_program /sys/fs/bpf/viaduct/nic0/link /sys/fs/bpf/other/to_socket && wait_for 5 status_is '.uplink.repaired.program' 1 && stream_goes_on &&
		link_map_is 0 up 1 && stop_stream "XDP program replaced in its link" && ledger_balances
}
# A program of somebody else, pinned: frames pass it.
another_program() { rm -rf /sys/fs/bpf/other && bpftool prog loadall "$BUILD/reflect.bpf.o" /sys/fs/bpf/other type xdp; }
# BPF_LINK_UPDATE, which bpftool does not have: replace_program LINK-PIN PROGRAM-PIN
replace_program() {
	python3 -c 'import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def bpf(cmd, attr):
    buf = ctypes.create_string_buffer(attr, 128)
    ret = libc.syscall(321, cmd, buf, 128)
    if ret < 0: sys.exit(os.strerror(ctypes.get_errno()))
    return ret
def get(path):
    name = ctypes.create_string_buffer(path.encode())
    return bpf(7, struct.pack("QII", ctypes.addressof(name), 0, 0))
bpf(29, struct.pack("IIII", get(sys.argv[1]), get(sys.argv[2]), 0, 0))' "$1" "$2"
}
test_a_program_that_another_tool_attached_instead_of_ours_is_told_and_ours_comes_back_when_that_is_gone() {
	up 1 --uplink nic0 && start_stream || return 1
	another_program || return 1
	kill -STOP $VIADUCT_PID	# or it is the faster one
	bpftool link detach pinned /sys/fs/bpf/viaduct/nic0/link && bpftool net attach xdp pinned /sys/fs/bpf/other/to_socket dev nic0
	kill -CONT $VIADUCT_PID
	wait_for 5 link_map_is 0 reason VD_REASON_ERROR && wait_for 5 status_is '.uplink.trouble | tostring' '["program"]' && link_map_is 0 trouble 1 || return 1
	bpftool net detach xdp dev nic0
	wait_for 5 status_is '.uplink.repaired.program' 1 && stream_goes_on && link_map_is 0 up 1 && status_is '.uplink.trouble | length' 0 &&
		stop_stream "XDP program of another tool" && ledger_balances
}
test_vlan_offload_that_another_tool_switches_on_is_switched_off_again() {
	up 1 --uplink nic0 && start_stream && rxvlan_is off && ethtool -K nic0 rxvlan on || return 1
	wait_for 5 status_is '.uplink.repaired.offload' 1 && rxvlan_is off && stream_goes_on && stop_stream "rxvlan switched on"
	stop_viaduct && rxvlan_is on
}
rxvlan_is() { ethtool -k nic0 | grep -q "rx-vlan-offload: $1"; }
test_a_guests_address_that_another_tool_takes_out_of_the_receive_filter_is_entered_again() {
	up 1 --uplink nic0 && start_stream && in_filter && bridge fdb del $GUEST_MAC dev nic0 self || return 1
	wait_for 5 status_is '.uplink.repaired.filter' 1 && in_filter && stream_goes_on && stop_stream "receive filter changed"
}
in_filter() { bridge fdb show dev nic0 | grep -q $GUEST_MAC; }
up_two() { # ARGUMENTS...
	make_two && start_viaduct "$@" --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" || return 1
	start_guest --echo --json
	wait_for 10 port_is_up && start_far_on_bridge && start_stream
}
in_use() { wait_for 10 status_is '.uplink.interface + " " + .uplink.device.in_use' "$1" && stream_goes_on; }
test_a_standby_takes_over_and_gives_back() {
	up_two --uplink nic0 --standby nic1 && in_use "nic0 first" || return 1
	in_wire ip link set wire0 down && in_use "nic1 standby" || return 1
	in_wire ip link set wire0 up && in_use "nic0 first" || return 1
	ip link del nic0 && in_use "nic1 standby" || return 1
	ip link add nic0 type veth peer name wire0 netns wire && ip link set nic0 up && in_wire ip link set wire0 up master br0 && in_use "nic0 first" || return 1
	stop_stream "standby took over twice, gave back twice" && ledger_balances && [ "$(link_map 0 moves)" = 4 ] && stop_far_bridge && stop_viaduct && nothing_is_left &&
		! ip -d link show dev nic1 | grep -q prog/xdp
}
test_with_no_device_up_it_stays_where_it_is_and_with_none_at_all_guests_stay_connected() {
	up_two --uplink nic0 --standby nic1 || return 1
	in_wire ip link set wire1 down; in_wire ip link set wire0 down
	wait_for 5 link_map_is 0 reason VD_REASON_NO_CARRIER && status_is .uplink.interface nic0 || return 1
	ip link del nic0 && wait_for 5 status_is .uplink.interface nic1 && link_map_is 0 up 0 && ip link del nic1 && wait_for 5 link_map_is 0 reason VD_REASON_GONE &&
		status_is .uplink.device.in_use none && status_is '.ports[0].connected' true || return 1
	ip link add nic1 type veth peer name wire1 netns wire && ip link set nic1 up && in_wire ip link set wire1 up master br0 && in_use "nic1 standby" &&
		stop_stream "no device for a while" && ledger_balances
}
# Two NICs, whose wires are ports of one switch: a bridge in the wire's namespace.
make_two() {
	make_nic "${NIC_QUEUES:-1}" || return 1
	ip link add nic1 type veth peer name wire1 netns wire && plain_veth /run/netns/wire wire1 && ip link set nic1 up || return 1
	in_wire ip link add br0 type bridge && in_wire ip link set br0 up && in_wire ip link set wire0 master br0 && in_wire ip link set wire1 up master br0 &&
		in_wire ip link add far0 type veth peer name far1 && in_wire ip link set far0 up master br0 && in_wire ip link set far1 up
}
stop_far_bridge() { pkill -TERM -f 'run --uplink (far1|wire0)' && wait_for 5 far_bridge_is_gone; }
far_bridge_is_gone() { ! pgrep -f 'run --uplink (far1|wire0)'; }
start_far_on_bridge() {
	: >"$WORK/far.log"
	in_wire "$BUILD/viaduct" run --uplink far1 --port "name=far,socket=$FAR_SOCK,mac=$FAR_MAC" >"$WORK/far.log" 2>&1 &
	FAR_PID=$!
	wait_for 20 grep -q ' ready' "$WORK/far.log" || { cat "$WORK/far.log" >&2; return 1; }
}

# Both have the address, and the host has none on them.
make_pair() {
	make_two && ip addr flush dev nic0 && ip link set nic0 address $PAIR_MAC && ip link set nic1 address $PAIR_MAC
}
PAIR_MAC=02:00:5e:00:00:77
up_pair() { # ARGUMENTS...
	start_viaduct --name nic0 "$@" --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" || return 1
	start_guest --echo --json
	wait_for 10 port_is_up && start_far_on_bridge && start_stream
}
test_an_uplink_is_named_by_its_address_and_both_devices_that_have_it_are_used() {
	make_pair && up_pair --uplink mac=$PAIR_MAC && in_use "nic0 first" || return 1
	in_wire ip link set wire0 down && in_use "nic1 standby" || return 1
	in_wire ip link set wire0 up && in_use "nic0 first" || return 1
	stop_stream "by address: standby took over and gave back" && ledger_balances
}
test_a_device_that_appears_later_with_the_address_takes_over() {
	make_pair && ip link set nic1 netns wire && up_pair --uplink mac=$PAIR_MAC && in_use "nic0 first" || return 1
	in_wire ip link set nic1 netns 1 && ip link set nic1 up && ip link set nic0 down && in_use "nic1 standby" &&
		stop_stream "a device appeared" && ledger_balances
}
test_a_device_that_the_host_routes_through_is_taken_only_by_force() {
	make_pair && ip addr add $HOST_IP/24 dev nic0 && ip addr add 10.78.0.1/24 dev nic1 || return 1
	! start_viaduct --name nic0 --uplink mac=$PAIR_MAC && grep -q -- '--force' "$VIADUCT_LOG" || return 1
	up_pair --uplink mac=$PAIR_MAC --force on && in_use "nic0 first"
}
# A hypervisor is played: what tells its synthetic device is in sysfs, over which a copy is mounted.
play_hypervisor() { # SYNTHETIC
	local d
	mkdir -p "$WORK/sys" && for d in nic0 nic1 lo; do mkdir -p "$WORK/sys/$d"; done
	mkdir -p "$WORK/sys/$1/device" && echo '{f8615163-df3e-46c5-913f-f2d2f965ed0e}' >"$WORK/sys/$1/device/class_id" &&
		mount --bind "$WORK/sys" /sys/class/net
}
test_auto_takes_the_one_synthetic_device_and_the_fast_one_with_its_address() {
	make_pair && play_hypervisor nic1 && up_pair --uplink auto && in_use "nic0 first" || return 1
	ip link del nic0 && in_use "nic1 standby" && stop_stream "auto: the fast device went" && ledger_balances; umount /sys/class/net
}
test_a_killed_instance_on_its_standby_is_followed_by_one_on_the_first_device() {
	up_two --uplink nic0 --standby nic1 && in_wire ip link set wire0 down && in_use "nic1 standby" || return 1
	kill -KILL $VIADUCT_PID; wait $VIADUCT_PID 2>/dev/null
	in_wire ip link set wire0 up && start_viaduct --uplink nic0 --standby nic1 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" && in_use "nic0 first" || return 1
	! ip -d link show dev nic1 | grep -q prog/xdp && ethtool -k nic1 | grep -q 'rx-vlan-offload: on' && stop_far_bridge && stop_viaduct && nothing_is_left
}
test_a_take_over_on_the_standby_goes_on_there_and_gives_back() {
	up_two --uplink nic0 --standby nic1 && in_wire ip link set wire0 down && in_use "nic1 standby" || return 1
	"$BUILD/viaduct" run --take-over --uplink nic0 --standby nic1 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" >"$WORK/heir.log" 2>&1 &
	wait_for 10 grep -q ' ready' "$WORK/heir.log" && wait $VIADUCT_PID && in_use "nic1 standby" && in_wire ip link set wire0 up && in_use "nic0 first" &&
		stop_stream "take-over on the standby" && ledger_balances
}
test_a_take_over_on_a_standby_with_fewer_queues_goes_back_to_all_of_them() {
	NIC_QUEUES=4 make_two && start_viaduct --uplink nic0 --standby nic1 --cpus 0,1 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC,queues=4" || return 1
	GUEST_ARGS=queues=4 start_guest --echo --json
	wait_for 10 port_is_up && start_far_on_bridge && start_stream && served 4 && in_wire ip link set wire0 down && in_use "nic1 standby" && served 1 || return 1
	"$BUILD/viaduct" run --take-over --uplink nic0 --standby nic1 --cpus 0,1 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC,queues=4" >"$WORK/heir.log" 2>&1 &
	wait_for 10 grep -q ' ready' "$WORK/heir.log" && wait $VIADUCT_PID && in_use "nic1 standby" && served 1 && in_wire ip link set wire0 up && in_use "nic0 first" && served 4 &&
		stop_stream "take-over on a standby with fewer queues" && ledger_balances && [ "$(status '.workers | length')" = 2 ]
}
served() { wait_for 5 status_is '[.uplink.queues[] | select(.state == "ready")] | length' "$1" || die "queues: $(status .uplink.queues | jq -c 'map(.state)')"; }
# The network learns where guests are from a frame that each of them seems to send by the new device.
test_every_guests_address_is_announced_when_another_device_takes_over() {
	up_two --uplink nic0 --standby nic1 || return 1
	in_wire python3 "$TOP/selftests/announced.py" $GUEST_MAC wire1 >"$WORK/announced" 2>&1 &
	wait_for 5 grep -q listening "$WORK/announced" && in_wire ip link set wire0 down && wait_for 5 grep -q 'wire1 rarp' "$WORK/announced" && in_use "nic1 standby"
}
test_an_uplink_that_cannot_be_used_is_tried_again() {
	up 1 --uplink nic0 && start_stream && another_program || return 1
	ip netns add away && ip link set nic0 netns away && wait_for 5 link_map_is 0 reason VD_REASON_GONE || return 1
	in_ns away bpftool net attach xdp pinned /sys/fs/bpf/other/to_socket dev nic0 && in_ns away ip link set nic0 netns 1 && ip link set nic0 up || return 1
	wait_for 5 link_map_is 0 reason VD_REASON_ERROR && status '.uplink.trouble_why' | grep -q 'has an XDP program' && status_is '.ports[0].connected' true || return 1
	bpftool net detach xdp dev nic0 && wait_for 10 link_map_is 0 up 1 && stream_goes_on && stop_stream "an uplink that was taken"
}

run_tests
