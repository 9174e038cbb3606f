#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The life of the process: start, refusals, stop, what it leaves, what a successor finds.
. "$(dirname "$0")/lib.sh"

PORT="--port name=vm0,socket=$SOCK"
run_args() { echo --uplink nic0 $PORT "$@"; }
# refused TEXT ARGUMENTS...: a start that must fail, with one line that contains TEXT.
refused() {
	local want=$1 out; shift
	out=$(timeout 20 "$BUILD/viaduct" run "$@" 2>&1) && { say "started, but should not have: $*"; return 1; }
	[ "$(echo "$out" | grep -c .)" = 1 ] || { say "more than one line: $out"; return 1; }
	[[ $out == *"$want"* ]] || { say "wanted '$want', got: $out"; return 1; }
}

test_a_clean_exit_leaves_nothing_behind() {
	make_nic 2 || return 1
	local before after
	before=$(ethtool -k nic0)
	start_viaduct $(run_args) || return 1
	[ -S "$SOCK" ] && [ -S /run/viaduct/nic0.sock ] && [ -e /sys/fs/bpf/viaduct/nic0/link ] || die "not all there" || return 1
	stop_viaduct || die "exit code $?" || return 1
	after=$(ethtool -k nic0)
	[ "$before" = "$after" ] || die "NIC settings changed: $(diff <(echo "$before") <(echo "$after"))" || return 1
	nothing_is_left
}

test_positions_of_packed_rings_stay_until_an_exit_without_such_a_guest() {
	make_nic 1 && start_viaduct $(run_args) || return 1
	GUEST_ARGS=packed_vq=1 start_guest --sink && wait_for 10 port_is_up && stop_viaduct && nothing_is_left rings || return 1
	kill -KILL "$GUEST_PID"; wait "$GUEST_PID" 2>/dev/null
	start_viaduct $(run_args) && stop_viaduct && nothing_is_left || return 1
	start_viaduct $(run_args) || return 1
	GUEST_ARGS=packed_vq=0 start_guest --sink && wait_for 10 port_is_up && stop_viaduct && nothing_is_left
}
test_sigint_ends_it_as_cleanly_as_sigterm() {
	make_nic 1 && start_viaduct $(run_args) || return 1
	kill -INT "$VIADUCT_PID" && wait "$VIADUCT_PID" && nothing_is_left
}

test_every_map_of_the_promise_is_pinned_and_readable() {
	local m
	make_nic 1 && start_viaduct $(run_args) || return 1
	for m in links fdb steering ports vlans limits flow_pairs queues stats; do
		bpftool map dump pinned /sys/fs/bpf/viaduct/nic0/$m >"$WORK/$m" || return 1
	done
	grep -q VD_REASON_NOT_CONNECTED "$WORK/links" && grep -q VD_QUEUE_READY "$WORK/queues" &&
		grep -q VD_FDB_HOST "$WORK/fdb" && grep -q drop_share "$WORK/stats" && grep -q '"enabled": 0' "$WORK/ports" && grep -q VD_STEER_AUTO "$WORK/steering" &&
		bpftool link show pinned /sys/fs/bpf/viaduct/nic0/link | grep -q xdp
}

test_sockets_are_closed_to_others_and_owner_and_perm_are_obeyed() {
	make_nic 1 && start_viaduct $(run_args) || return 1
	[ "$(stat -c %a "$SOCK")" = 600 ] && [ "$(stat -c %a /run/viaduct/nic0.sock)" = 600 ] || die "mode" || return 1
	stop_viaduct || return 1
	start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,owner=nobody:nogroup,perm=0660" || return 1
	[ "$(stat -c '%U:%G %a' "$SOCK")" = "nobody:nogroup 660" ] || die "$(stat -c '%U:%G %a' "$SOCK")"
}

test_the_link_map_follows_carrier_and_admin_state_and_mtu_of_the_uplink() {
	make_nic 1 && start_viaduct $(run_args) || return 1
	local g
	link_map_is 0 up 1 || return 1
	g=$(link_map 0 generation)
	in_wire ip link set wire0 down
	wait_for 5 link_map_is 0 reason VD_REASON_NO_CARRIER && link_map_is 0 up 0 || return 1
	in_wire ip link set wire0 up
	wait_for 5 link_map_is 0 up 1 || return 1
	ip link set nic0 down
	wait_for 5 link_map_is 0 reason VD_REASON_ADMIN_DOWN || return 1
	ip link set nic0 up
	wait_for 5 link_map_is 0 up 1 || return 1
	ip link set nic0 mtu 1400
	wait_for 5 link_map_is 0 mtu 1400 || return 1
	[ "$(link_map 0 generation)" -ge $((g + 5)) ] || die "generation $(link_map 0 generation) after $g"
}

test_the_heartbeat_in_the_link_map_moves_while_it_lives_and_stops_when_it_is_dead() {
	make_nic 1 && start_viaduct $(run_args) || return 1
	local a
	a=$(link_map 0 heartbeat_ns)
	wait_for 5 heartbeat_differs_from "$a" || return 1
	kill -KILL "$VIADUCT_PID"; wait "$VIADUCT_PID" 2>/dev/null
	a=$(link_map 0 heartbeat_ns)
	! wait_for 1 heartbeat_differs_from "$a"
}
heartbeat_differs_from() { [ "$(link_map 0 heartbeat_ns)" != "$1" ]; }

test_a_start_after_sigkill_adopts_what_the_dead_one_left() {
	make_nic 2 && start_viaduct $(run_args) || return 1
	local before link
	link=$(bpftool -j link show pinned /sys/fs/bpf/viaduct/nic0/link | jq .id)
	kill -KILL "$VIADUCT_PID"; wait "$VIADUCT_PID" 2>/dev/null
	[ -S "$SOCK" ] && [ -e /sys/fs/bpf/viaduct/nic0/link ] || die "nothing was left to adopt" || return 1
	pings in_wire $HOST_IP || die "the host lost its network with the dead daemon" || return 1
	start_viaduct $(run_args) || return 1
	status_is .uplink.xdp.adopted true || return 1
	[ "$(bpftool -j link show pinned /sys/fs/bpf/viaduct/nic0/link | jq .id)" = "$link" ] || die "another link" || return 1
	stop_viaduct && nothing_is_left && ethtool -k nic0 | grep -q 'rx-vlan-offload: on'
}

test_the_host_keeps_its_own_network_on_the_interface() {
	make_nic 1 && start_viaduct $(run_args) || return 1
	pings in_wire $HOST_IP 5 && pings command $WIRE_IP 5 2>/dev/null || ping -q -c 3 -i 0.1 $WIRE_IP
}

test_vlan_stripping_is_off_while_it_runs_and_restored_after() {
	make_nic 1 || return 1
	ethtool -k nic0 | grep -q 'rx-vlan-offload: on' || { skip "this NIC has no rx-vlan-offload to switch"; return; }
	start_viaduct $(run_args) || return 1
	ethtool -k nic0 | grep -q 'rx-vlan-offload: off' && status_is .uplink.vlan.rxvlan_now off || return 1
	stop_viaduct && ethtool -k nic0 | grep -q 'rx-vlan-offload: on'
}

test_a_given_address_is_in_the_receive_filter_until_the_process_ends() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" || return 1
	bridge fdb show dev nic0 | grep -q "$GUEST_MAC" && status_is .uplink.receive_filter.entries 1 &&
		ip -d link show dev nic0 | grep -q 'allmulti 1' || return 1
	kill -KILL "$VIADUCT_PID"; wait "$VIADUCT_PID" 2>/dev/null
	! bridge fdb show dev nic0 | grep -q "$GUEST_MAC"
}

test_an_interface_that_does_not_exist_is_refused() { refused "nosuch0" --uplink nosuch0 $PORT; }
test_a_bridge_is_refused_and_the_mend_is_named() {
	ip link add br0 type bridge && refused "bridge" --uplink br0 $PORT
}
test_a_macvlan_is_refused_and_its_lower_device_named() {
	make_nic 1 && ip link add mv0 link nic0 type macvlan && ip link set mv0 up && refused "nic0" --uplink mv0 $PORT
}
test_an_interface_with_another_xdp_program_is_refused() {
	make_nic 1 && start_viaduct --uplink nic0 --name other --port "name=x,socket=$WORK/x.sock" || return 1
	refused "XDP program" $(run_args)
}
test_a_second_instance_of_a_name_is_refused_and_the_first_unharmed() {
	make_nic 1 && start_viaduct $(run_args) || return 1
	refused "running" $(run_args) && status_is .ports[0].name vm0
}
# As one whose /run is not ours would be: only the maps say that it lives.
test_a_second_instance_without_the_lock_of_the_first_is_refused_for_its_heartbeat() {
	make_nic 1 && start_viaduct $(run_args) && rm /run/viaduct/nic0.lock || return 1
	refused "running" --uplink nic0 --port "name=vm1,socket=$WORK/vm1.sock" && status_is .ports[0].name vm0
}
test_a_socket_path_in_use_is_refused_and_everything_undone() {
	make_nic 1 || return 1
	nc -lU "$SOCK" >/dev/null 2>&1 & local nc=$!
	wait_for 5 test -S "$SOCK" || return 1
	refused "$SOCK" $(run_args) || return 1
	kill $nc
	[ ! -e /sys/fs/bpf/viaduct/nic0 ] && ! ip -d link show dev nic0 | grep -q xdp
}
test_fewer_queues_than_rss_feeds_are_refused_with_the_mend() {
	make_nic 4 && refused "ethtool" --uplink nic0 --queues 2 $PORT
}
test_no_bpffs_is_refused_with_the_mount_command() {
	make_nic 1 || return 1
	while umount /sys/fs/bpf 2>/dev/null; do :; done	# below ours may be the machine's
	refused "mount -t bpf" $(run_args); local rc=$?
	mount -t bpf bpf /sys/fs/bpf; return $rc
}
test_no_privilege_is_refused() {
	make_nic 1 || return 1
	chmod 755 "$WORK"; cp "$BUILD/viaduct" "$WORK/v"; chmod 755 "$WORK/v"
	setpriv --reuid=65534 --regid=65534 --clear-groups "$WORK/v" run $(run_args) 2>&1 | grep -q "run as root"
}
test_too_few_open_files_are_refused() {
	make_nic 1 && (ulimit -n 100; refused "open files" $(run_args))
}
test_too_little_lockable_memory_is_refused() {
	make_nic 1 || return 1
	local out
	out=$(ulimit -l 64; timeout 20 setpriv --bounding-set=-ipc_lock,-sys_resource "$BUILD/viaduct" run $(run_args) 2>&1)
	[[ $out == *memlock* || $out == *MEMLOCK* || $out == *"ulimit -l"* ]] || die "said: $out" || return 1
	[ ! -e /sys/fs/bpf/viaduct/nic0 ] && ! ip -d link show dev nic0 | grep -q xdp
}
test_a_service_manager_is_told_when_it_is_ready_and_when_it_stops() {
	make_nic 1 || return 1
	service_manager 2 || return 1
	NOTIFY_SOCKET=$WORK/notify start_viaduct $(run_args) && wait_for 5 grep -q READY=1 "$WORK/told" || return 1
	stop_viaduct && wait_for 5 grep -q STOPPING=1 "$WORK/told"
}
test_a_removed_control_socket_or_pin_does_not_stop_a_clean_exit() {
	make_nic 1 && start_viaduct $(run_args) || return 1
	rm -f /run/viaduct/nic0.sock /sys/fs/bpf/viaduct/nic0/fdb "$SOCK"
	stop_viaduct && nothing_is_left
}
test_two_ports_of_one_name_or_socket_are_refused_clearly() {
	make_nic 1 && refused "vm0" $(run_args) --port "name=vm0,socket=$WORK/vm1.sock" &&
		refused "$SOCK" $(run_args) --port "name=vm1,socket=$SOCK"
}
test_the_dispatcher_is_used_or_its_refusal_named() {
	make_nic 1 || return 1
	if start_viaduct $(run_args --xdp-attach dispatcher) 2>/dev/null; then
		status_is .uplink.xdp.attach dispatcher
	else
		grep -q 'xdp-attach link' "$VIADUCT_LOG"
	fi
}
test_generic_mode_can_be_asked_for() {
	make_nic 1 && start_viaduct $(run_args --xdp-mode generic) && status_is .uplink.xdp.mode generic
}
test_status_says_why_not_a_better_mode() {
	make_nic 1 && start_viaduct $(run_args) && [ -n "$(status .uplink.xdp.why_not_better)" ] &&
		"$BUILD/viaduct" status --name nic0 | grep -q vm0
}

run_tests
