#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What the uplink's device may do, and what others may do to it, while guests send and receive numbered frames.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/links_lib.sh"
. "$(dirname "$0")/uplink_lib.sh"

# A far bridge at the wire's end whose guest sends numbered frames; ours sends them back. FRAMES that come back are checked.
up() { # QUEUES ARGUMENTS...
	local q=$1; shift
	make_nic "$q" && start_viaduct "$@" --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" || return 1
	start_guest --echo --json
	wait_for 10 port_is_up && start_far_bridge
}

test_a_carrier_that_flaps_a_hundred_times_costs_frames_and_nothing_else() {
	local i
	up 1 --uplink nic0 && start_stream || return 1
	for i in $(seq 100); do
		flap 0 mark "$GUEST_LOG" "link down" && flap 1 mark "$GUEST_LOG" "link up" || return 1
	done
	report_times "carrier: event to map" map; report_times "carrier: event to guest" mark
	stream_goes_on && stop_stream "carrier flapped 100 times" && ledger_balances
}
test_a_nic_that_is_set_down_and_up_goes_on() {
	local i
	up 1 --uplink nic0 && start_stream || return 1
	for i in 1 2 3 4 5; do
		timed event nic0 down map $PINS/links 0 up 0 mark "$GUEST_LOG" "link down" -- ip link set nic0 down && link_map_is 0 reason VD_REASON_ADMIN_DOWN &&
			timed event nic0 up map $PINS/links 0 up 1 mark "$GUEST_LOG" "link up" -- ip link set nic0 up && stream_goes_on || return 1
	done
	report_times "NIC down, up: event to map" map; report_times "NIC down, up: event to guest" mark
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
	local i
	make_behind_switch && start_stream || return 1
	for i in 1 2 3 4 5; do
		timed event nic0 down map $PINS/links 0 up 0 mark "$GUEST_LOG" "link down" event2 nic0 gone map2 $PINS/links 0 reason $GONE -- ip link del nic0 &&
			status_is '.ports[0].connected' true && make_again && wait_for 10 link_map_is 0 up 1 && stream_goes_on || return 1
	done
	report_times "NIC deleted: event to map" map; report_times "NIC deleted: event to guest" mark
	report_times "NIC deleted: event that it is gone to its being so in the map" map2 event2
	stream_goes_on && stop_stream "NIC deleted and made again" && ledger_balances
}
GONE=4	# VD_REASON_GONE
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
	# Not every kernel renames a device that is up.
	ip link set nic0 down; timed event nic0 name=nicnew map $PINS/links 0 name nicnew -- ip link set nic0 name nicnew && ip link set nicnew up || return 1
	report_times "NIC renamed: event to map" map
	wait_for 5 status_is '.uplink.interface + " " + (.uplink.up | tostring)' "nicnew true" && stream_goes_on &&
		[ "$(link_map 0 name)" = nicnew ] && stop_stream "NIC renamed" && ledger_balances
}
test_a_larger_mtu_gets_longer_buffers_without_a_restart() {
	up 1 --uplink nic0 && start_stream || return 1
	in_wire ip link set wire0 mtu 9000 &&
		timed event nic0 mtu=9000 map $PINS/links 0 mtu 9000 map2 $PINS/links 0 repairs 1 mark "$GUEST_LOG" "MTU 9000" -- ip link set nic0 mtu 9000 || return 1
	report_times "MTU: event to map" map; report_times "MTU: event to guest" mark; report_times "MTU: event to longer buffers" map2 event ""
	wait_for 10 status_is '.uplink.mtu' 9000 && wait_for 10 status_is '.uplink.repaired.mtu' 1 &&
		stream_goes_on && status_is '.uplink.xdp.multi_buffer and .uplink.trouble == []' true && stop_stream "MTU 1500 to 9000" && ledger_balances
}
# The far end has as many queues as ours may get, for veth wants no more senders than receivers.
test_more_channels_are_served_without_a_restart_and_the_kernel_refuses_fewer() {
	make_nic 4 && ethtool -L nic0 rx 2 tx 4 && start_viaduct --uplink nic0 --cpus 0,1 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC,queues=4" || return 1
	status_is '.uplink.queues | length' 2 || return 1
	GUEST_ARGS=queues=4 start_guest --echo --json
	wait_for 10 port_is_up && start_far_bridge && start_stream || return 1
	ethtool -L nic0 rx 4 && wait_for 10 queues_are_ready 4 && stream_goes_on && status_is '.uplink.repaired.channels' 1 && status_is '.uplink.trouble' '[]' || return 1
	! ethtool -L nic0 rx 1 2>"$WORK/ethtool" && ethtool -l nic0 | grep -q '^RX:.*4' || die "the kernel takes queues away that have sockets" || return 1
	report "ethtool -L nic0 rx 1: $(tail -n 1 "$WORK/ethtool")"
	stream_goes_on && queues_are_ready 4 && status_is '.uplink.repaired.channels' 1 && status_is '.uplink.trouble' '[]' &&
		stop_stream "channels 2 to 4, 1 refused" && ledger_balances
}
queues_are_ready() { status_is '[.uplink.queues[] | select(.state == "ready")] | length' "$1"; }
test_a_program_that_is_detached_is_put_back() {
	local i
	up 1 --uplink nic0 && start_stream || return 1
	# The kernel has no event for this. The program is gone at some time between the command's start and its end.
	for i in 1 2 3; do
		timed map $PINS/links 0 repairs $i end -- bpftool link detach pinned $PINS/link && stream_goes_on || return 1
	done
	report_times "XDP program detached: start of bpftool to its being put back, in the map" map start
	report_times "XDP program detached: end of bpftool to the same" map end
	status_is '.uplink.repaired.program' 3 && link_map_is 0 up 1 && link_map_is 0 repairs 3 && stop_stream "XDP program detached" && ledger_balances
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
	wait_for 5 status_is '.uplink.repaired.offload' 1 && rxvlan_is off && stream_goes_on && stop_stream "rxvlan switched on" || return 1
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
test_a_standby_takes_over_and_gives_back() {
	local i
	up_two --uplink nic0 --standby nic1 && in_use "nic0 first" || return 1
	for i in 1 2 3; do
		timed event nic0 down map $PINS/links 0 moves $((4 * i - 3)) -- nsenter --net=/run/netns/wire ip link set wire0 down && in_use "nic1 standby" || return 1
		in_wire ip link set wire0 up && in_use "nic0 first" || return 1
		timed event nic0 down map2 $PINS/links 0 moves $((4 * i - 1)) -- ip link del nic0 && in_use "nic1 standby" || return 1
		make_again && in_use "nic0 first" || return 1
	done
	report_times "carrier lost: event to the standby in the map" map; report_times "NIC deleted: event to the standby in the map" map2
	[ "$(grep -c 'link down' "$GUEST_LOG")" = 0 ] || die "the guest was told of a link that is down" || return 1
	stop_stream "standby took over 6 times, gave back 6 times" && ledger_balances && [ "$(link_map 0 moves)" = 12 ] && stop_far_bridge && stop_viaduct && nothing_is_left &&
		! ip -d link show dev nic1 | grep -q prog/xdp
}
test_with_no_device_up_it_stays_where_it_is_and_with_none_at_all_guests_stay_connected() {
	up_two --uplink nic0 --standby nic1 || return 1
	in_wire ip link set wire1 down; in_wire ip link set wire0 down
	wait_for 5 link_map_is 0 reason VD_REASON_NO_CARRIER && status_is .uplink.interface nic0 || return 1
	ip link del nic0 && wait_for 5 status_is .uplink.interface nic1 && link_map_is 0 up 0 && ip link del nic1 && wait_for 5 link_map_is 0 reason VD_REASON_GONE &&
		status_is .uplink.device.in_use none && status_is '.ports[0].connected' true || return 1
	make_again nic1 && in_use "nic1 standby" &&
		stop_stream "no device for a while" && ledger_balances
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
	make_pair && play_hypervisor nic1 && up_pair --uplink auto && in_use "nic0 first" && ip link del nic0 && in_use "nic1 standby" && stop_stream "auto: the fast device went" && ledger_balances
	local rc=$?
	umount /sys/class/net; return $rc
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
served() { wait_for 5 queues_are_ready "$1" || die "queues: $(status .uplink.queues | jq -c 'map(.state)')"; }
test_a_take_over_while_there_is_no_device_is_refused_and_nothing_changes() {
	up 1 --uplink nic0 && ip link del nic0 && wait_for 5 link_map_is 0 reason VD_REASON_GONE || return 1
	! "$BUILD/viaduct" run --take-over --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" >"$WORK/heir.log" 2>&1 && grep -q 'did not take over: the uplink is away' "$WORK/heir.log" &&
		status_is '.ports[0].connected' true && status_is .pid "$VIADUCT_PID"
}
# The first device comes up, but somebody else has it; then the standby goes, and comes back.
test_a_device_that_cannot_be_used_does_not_keep_the_others_from_being_used() {
	up_two --uplink nic0 --standby nic1 && another_program && in_wire ip link set wire0 down && in_use "nic1 standby" || return 1
	bpftool net attach xdp pinned /sys/fs/bpf/other/to_socket dev nic0 && in_wire ip link set wire0 up && wait_for 10 status_is '.uplink.trouble | tostring' '["device"]' && in_use "nic1 standby" || return 1
	ip link del nic1 && wait_for 5 status_is .uplink.device.in_use none && make_again nic1 && in_use "nic1 standby" || return 1
	ip link del nic0 && wait_for 5 status_is '.uplink.trouble | length' 0 && make_again && in_use "nic0 first" && stop_stream "a device that cannot be used" && ledger_balances
}
program_on() { ip -j -d link show dev "$1" | jq '.[].xdp.prog.id'; }
# The driver's tags are put back by a program that is made for one device.
test_after_a_device_that_could_not_be_used_the_program_of_the_one_in_use_is_still_the_right_one() {
	up_two --uplink nic0 --standby nic1 && in_wire ip link set wire0 down && in_use "nic1 standby" && status_is .uplink.vlan.tags restored && another_program || return 1
	bpftool net attach xdp pinned /sys/fs/bpf/other/to_socket dev nic0 && in_wire ip link set wire0 up && wait_for 10 status_is '.uplink.trouble | tostring' '["device"]' || return 1
	local tag; tag=$(bpftool -j prog show id "$(program_on nic1)" | jq -r .tag)
	bpftool link detach pinned /sys/fs/bpf/viaduct/nic0/link && wait_for 5 status_is .uplink.repaired.program 1 && status_is .uplink.vlan.tags restored || return 1
	[ "$(bpftool -j prog show id "$(program_on nic1)" | jq -r .tag)" = "$tag" ] && in_use "nic1 standby" && ethtool -K nic1 rxvlan on && wait_for 5 status_is .uplink.repaired.offload 1 &&
		status_is .uplink.vlan.tags restored && stop_stream "the program after a failure" && ledger_balances
}
# A veth whose peer sends by more queues than it receives by has no native XDP, and without that nobody puts tags back.
generic_only() { ip link add "$1" numrxqueues 1 numtxqueues 1 type veth peer name "${1/nic/wire}" numrxqueues 2 numtxqueues 2 netns wire && ip link set "$1" up && in_wire ip link set "${1/nic/wire}" up master br0; }
test_a_device_that_loses_vlan_tags_is_not_used_while_a_port_needs_them() {
	make_two && ip link del nic1 && generic_only nic1 && start_viaduct --uplink nic0 --standby nic1 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC,vlan=7" || return 1
	in_wire ip link set wire0 down && wait_for 10 status_is '.uplink.trouble | tostring' '["device"]' && status '.uplink.trouble_why' | grep -q 'vlan=' && status_is .uplink.interface nic0 || return 1
	"$BUILD/viaduct" port del vm0 --name nic0 >/dev/null && wait_for 40 status_is .uplink.interface nic1 && status_is .uplink.vlan.tags lost
}
test_a_standby_with_many_more_queues_is_served() {
	make_two && ip link del nic1 && ip link add nic1 numrxqueues 32 numtxqueues 32 type veth peer name wire1 numrxqueues 32 numtxqueues 32 netns wire && ip link set nic1 up && in_wire ip link set wire1 up master br0 || return 1
	start_viaduct --uplink nic0 --standby nic1 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" || return 1
	start_guest --echo --json
	wait_for 10 port_is_up && start_far_on_bridge && start_stream && in_wire ip link set wire0 down && in_use "nic1 standby" && served 32 && in_wire ip link set wire0 up && in_use "nic0 first" &&
		stop_stream "a standby with 32 queues" && ledger_balances && stop_far_bridge && stop_viaduct && nothing_is_left
}
test_a_link_that_somebody_else_holds_does_not_keep_the_program_on_a_device() {
	up_two --uplink nic0 --standby nic1 && bpftool link pin id "$(bpftool -j link show pinned /sys/fs/bpf/viaduct/nic0/link | jq .id)" /sys/fs/bpf/held || return 1
	in_wire ip link set wire0 down && in_use "nic1 standby" && has_no_program_here nic0 && in_wire ip link set wire0 up && in_use "nic0 first"; local rc=$?
	rm -f /sys/fs/bpf/held; return $rc
}
has_no_program_here() { wait_for 5 shows_no_program "$1"; }
shows_no_program() { ! ip -d link show dev "$1" | grep -q prog/xdp; }
test_pins_that_somebody_removed_do_not_keep_a_device_from_being_opened_again() {
	up 1 --uplink nic0 && start_stream && rm -r /sys/fs/bpf/viaduct/nic0 && in_wire ip link set wire0 mtu 9000 && ip link set nic0 mtu 9000 &&
		wait_for 10 status_is '.uplink.repaired.mtu' 1 && stream_goes_on && stop_stream "pins removed" && ledger_balances
}
test_a_standby_that_is_not_taken_is_told_at_the_start() {
	make_two && ip addr add 10.78.0.1/24 dev nic1 && start_viaduct --uplink nic0 --standby nic1 --port "name=vm0,socket=$SOCK" || return 1
	wait_for 5 status_is '.uplink.device.refused // "" | contains("--force")' true && wait_for 5 grep -q 'the host routes through nic1' "$VIADUCT_LOG" && ip addr flush dev nic1 && wait_for 15 status_is '.uplink.device.refused' null
}
test_a_device_that_is_made_again_under_the_same_index_gets_native_xdp() {
	make_behind_switch && start_stream && status_is .uplink.xdp.mode copy && local index=$(ip -j link show dev nic0 | jq '.[].ifindex') || return 1
	ip link del nic0 && wait_for 5 link_map_is 0 reason VD_REASON_GONE || return 1
	ip link add nic0 index "$index" type veth peer name wire0 netns wire && plain_veth /run/netns/wire wire0 && ip link set nic0 up && in_wire ip link set wire0 up master br0 || return 1
	wait_for 10 link_map_is 0 up 1 && stream_goes_on && status_is .uplink.xdp.mode copy && status_is .uplink.vlan.tags restored && stop_stream "the same index again"
}
# The one that is renamed keeps its settings and its notes; who has its old name is nobody of ours.
test_a_take_over_after_a_rename_leaves_alone_who_has_the_old_name() {
	up 1 --uplink nic0 && ip link set nic0 down && ip link set nic0 name nicnew && ip link set nicnew up && ip link add nic0 type veth peer name nic8 && ip link set nic0 up || return 1
	wait_for 5 status_is .uplink.interface nicnew && stop_far_bridge || return 1
	"$BUILD/viaduct" run --take-over --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" >"$WORK/heir.log" 2>&1 &
	local heir=$!
	wait_for 10 grep -q ' ready' "$WORK/heir.log" && wait $VIADUCT_PID && status_is .uplink.interface nicnew && rxvlan_is on || return 1
	kill -TERM $heir; wait $heir && nothing_is_left && ethtool -k nicnew | grep -q 'rx-vlan-offload: on'
}
test_notes_of_a_device_that_is_away_are_gone_at_the_end_after_a_take_over_and_a_rename() {
	make_two && start_viaduct --uplink nic0 --standby nic1 && ip link set nic0 down && ip link set nic0 name nicnew && ip link set nicnew up || return 1
	wait_for 5 status_is .uplink.interface nicnew && wait_for 10 status_is .uplink.up true && ip link del nicnew && wait_for 5 status_is .uplink.interface nic1 || return 1
	"$BUILD/viaduct" run --take-over --uplink nic0 --standby nic1 >"$WORK/heir.log" 2>&1 &
	local heir=$!
	wait_for 10 grep -q ' ready' "$WORK/heir.log" && wait $VIADUCT_PID; kill -TERM $heir; wait $heir && nothing_is_left
}
test_a_device_without_a_carrier_since_it_was_taken_is_left_for_one_that_has_it() {
	make_two && in_wire ip link set wire0 down && in_wire ip link set wire1 down && start_viaduct --uplink nic0 --standby nic1 && in_wire ip link set wire1 up && wait_for 8 status_is .uplink.device.in_use standby
}
test_a_trouble_that_comes_again_is_told_again() {
	local i
	up 1 --uplink nic0 && another_program || return 1
	for i in 1 2; do
		kill -STOP $VIADUCT_PID
		bpftool link detach pinned /sys/fs/bpf/viaduct/nic0/link && bpftool net attach xdp pinned /sys/fs/bpf/other/to_socket dev nic0
		kill -CONT $VIADUCT_PID
		wait_for 5 told_as_often $i && bpftool net detach xdp dev nic0 && wait_for 5 status_is .uplink.repaired.program $i && wait_for 5 status_is '.uplink.trouble | length' 0 || return 1
	done
}
told_as_often() { [ "$(grep -c 'has an XDP program already' "$VIADUCT_LOG")" = "$1" ]; }
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

# --- ordinary interfaces as guests -------------------------------------------------------------------------------------

# Two guests, the host and the wire, all with addresses. Guests that follow the uplink's carrier send nothing without it.
up_with_interfaces() { # ARGUMENTS...
	make_two && address_behind_switch && start_viaduct "$@" --port "$(port 1 link=always-up)" --port "$(port 2 link=always-up)" || return 1
	tap_guest 1 && tap_guest 2 && ports_are_up 1 2
}
# asks WHO ADDRESS: the first frame is a broadcast.
asks() {
	local who=(in_ns "$1"); [ "$1" != host ] || who=()
	"${who[@]}" ip neigh flush all
	"${who[@]}" ping -q -c 3 -i 0.05 -W 2 "$2" >"$WORK/ping.log" 2>&1 || { cat "$WORK/ping.log" >&2; die "$1 does not reach $2"; }
}
all_reach_each_other() {
	asks wire "$(ip_of 1)" && asks g1 $WIRE_IP && asks host "$(ip_of 1)" && asks g1 $HOST_IP && asks host $WIRE_IP && asks wire $HOST_IP && asks g2 "$(ip_of 1)" && asks g1 "$(ip_of 2)"
}
all_stayed() { status_is '[.ports[].connections] | tostring' '[1,1]' && ledger_balances; }
test_guests_reach_each_other_while_there_is_no_device_and_everybody_when_it_is_made_again() {
	local i
	up_with_interfaces --uplink nic0 && all_reach_each_other || return 1
	for i in 1 2; do
		ip link del nic0 && wait_for 5 link_map_is 0 reason VD_REASON_GONE && asks g1 "$(ip_of 2)" && asks g2 "$(ip_of 1)" || return 1
		make_again && ip addr add $HOST_IP/24 dev nic0 && wait_for 10 link_map_is 0 up 1 && all_reach_each_other || return 1
	done
	all_stayed
}
test_guests_host_and_wire_reach_each_other_on_the_standby_and_after_it() {
	up_with_interfaces --uplink nic0 --standby nic1 && all_reach_each_other || return 1
	ip link del nic0 && wait_for 5 status_is .uplink.interface nic1 && ip addr add $HOST_IP/24 dev nic1 && all_reach_each_other || return 1
	ip addr del $HOST_IP/24 dev nic1 && make_again && ip addr add $HOST_IP/24 dev nic0 && wait_for 10 status_is .uplink.interface nic0 && all_reach_each_other && all_stayed
}
# longest_pause EVERY-MS COMMAND...: how long no answer came to a ping every so often, while the command took place.
longest_pause() {
	local every=$1 pid; shift
	: >"$WORK/pings"
	nsenter --net=/run/netns/wire ping -D -n -i "$(awk "BEGIN {print $every / 1000}")" $GUEST_IP >"$WORK/pings" 2>/dev/null & pid=$!
	wait_for 5 at_least_lines 100 && "$@" || return 1
	at_least_lines 0; wait_for 10 at_least_lines $((LINES_NOW + 200)) || return 1
	kill -INT $pid; wait $pid
	awk -F'[][]' '/icmp_seq/ {if (last && $2 - last > most) most = $2 - last; last = $2} END {printf "%.1f\n", most * 1000}' "$WORK/pings"
}
at_least_lines() { LINES_NOW=$(wc -l <"$WORK/pings"); [ "$LINES_NOW" -ge "$1" ]; }
test_how_long_traffic_stands_still_when_another_device_takes_over() {
	local lost=() back=() gone=() i
	make_two && address_behind_switch && start_viaduct --uplink nic0 --standby nic1 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" && start_tap_guest && pings in_wire $GUEST_IP || return 1
	for i in 1 2 3; do
		lost+=("$(longest_pause 2 wire_goes)") && back+=("$(longest_pause 2 wire_comes)") && gone+=("$(longest_pause 2 nic_goes)") && nic_comes || return 1
	done
	report "ping every 2 ms, longest time without an answer: carrier lost ${lost[*]} ms; gave back ${back[*]} ms; NIC deleted ${gone[*]} ms"
	status_is '.ports[0].connections' 1 && ledger_balances
}
wire_goes() { in_wire ip link set wire0 down && wait_for 10 status_is .uplink.interface nic1; }
wire_comes() { in_wire ip link set wire0 up && wait_for 10 status_is .uplink.interface nic0; }
nic_goes() { ip link del nic0 && wait_for 10 status_is .uplink.interface nic1; }
nic_comes() { make_again && wait_for 10 status_is .uplink.interface nic0; }
test_an_interfaces_carrier_follows_what_becomes_of_the_devices() {
	local i file="file /run/netns/guest /sys/class/net/tap0/carrier"
	make_two && address_behind_switch && start_viaduct --uplink nic0 --standby nic1 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" && start_tap_guest && pings in_wire $GUEST_IP || return 1
	for i in 1 2 3; do
		wire_goes && tap_carrier_is 1 || return 1
		# shellcheck disable=SC2086
		timed event nic1 down map $PINS/links 0 up 0 $file 0 -- nsenter --net=/run/netns/wire ip link set wire1 down || return 1
		# shellcheck disable=SC2086
		timed event nic1 up map $PINS/links 0 up 1 $file 1 -- nsenter --net=/run/netns/wire ip link set wire1 up && wait_for 5 pings in_wire $GUEST_IP && wire_comes || return 1
	done
	report_times "both wires down, one up: event to map" map; report_times "both wires down, one up: event to the guest's carrier" file
	rm "$WORK/flaps"; ip link del nic1
	for i in 1 2 3; do
		# shellcheck disable=SC2086
		timed event nic0 down map $PINS/links 0 up 0 $file 0 -- ip link del nic0 && make_again && wait_for 5 tap_carrier_is 1 && wait_for 5 pings in_wire $GUEST_IP || return 1
	done
	report_times "the only NIC deleted: event to map" map; report_times "the only NIC deleted: event to the guest's carrier" file
	status_is '.ports[0].connections' 1 && ledger_balances
}
tap_carrier_is() { [ "$(ip netns exec guest cat /sys/class/net/tap0/carrier)" = "$1" ]; }

run_tests
