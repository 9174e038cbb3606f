#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# DPDK as the guest: testpmd with net_virtio_user, in both socket roles.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/uplink_lib.sh"

PMD_LOG=$WORK/testpmd.log
# start_testpmd PAIRS SERVER(0|1) [OPTIONS...]: a DPDK program that answers ARP and ping on the socket.
start_testpmd() {
	local sock=$SOCK
	# virtio-user in server mode learns of a lost back-end only when somebody asks for its link state.
	while [ "$2" = 1 ] && sleep 0.5; do echo "show port info 0"; done | dpdk-testpmd --no-huge -m 256 --no-pci --file-prefix "g$RANDOM" -l 0,1 --no-telemetry \
		--vdev "net_virtio_user0,path=$sock,mac=$GUEST_MAC,queues=$1,queue_size=256,server=$2${VIRTIO_USER:+,$VIRTIO_USER}" \
		-- --total-num-mbufs=8192 --rxq="$1" --txq="$1" --forward-mode=icmpecho --auto-start \
		--no-lsc-interrupt $([ "$2" = 1 ] && echo -i || echo --stats-period 1) "${@:3}" >"$PMD_LOG" 2>&1 &
	PMD_PID=$!
}
# Its forwarding starts some time after its rings do.
guest_pings() { in_wire ip neigh replace $GUEST_IP lladdr $GUEST_MAC dev wire0; wait_for 20 in_wire ping -q -c 1 -W 1 $GUEST_IP && pings in_wire $GUEST_IP 5; }
stop_testpmd() { kill -"${1:-INT}" "$PMD_PID"; wait "$PMD_PID" 2>/dev/null; }
port_is_down() { status_is '.ports[0].up' false; }
# Many flows, so that every pair gets some: one ping per source address.
ping_from_many_addresses() {
	local i
	for i in $(seq 1 16); do
		in_wire ip addr add 10.77.0.$((100 + i))/24 dev wire0 2>/dev/null
		in_wire ping -q -c 2 -i 0.02 -W 2 -I 10.77.0.$((100 + i)) $GUEST_IP >/dev/null || { say "no answer for flow $i"; return 1; }
	done
}

guest_answers() { # PAIRS ROLE
	local pairs=$1 role=$2 server=0
	[ "$role" = client ] && server=1
	make_nic 1 && start_viaduct --uplink nic0 \
		--port "name=vm0,socket=$SOCK,mode=$role,queues=$pairs,mac=$GUEST_MAC" || return 1
	start_testpmd "$pairs" $server
	wait_for 30 port_is_up || { tail -n 20 "$PMD_LOG" >&2; return 1; }
	guest_pings && ping_from_many_addresses || return 1
	status_is '.ports[0].pairs.enabled' "$pairs" && ledger_balances && status_is .ports[0].lost_in_ring 0 || return 1
	stop_testpmd
	wait_for 10 port_is_down && stop_viaduct && { [ "$role" = client ] && rm -f "$SOCK"; nothing_is_left; }
}
test_a_dpdk_guest_with_one_pair_is_served_by_a_listening_port() { guest_answers 1 server; }
test_a_dpdk_guest_with_four_pairs_is_served_by_a_listening_port() { guest_answers 4 server; }
test_a_dpdk_guest_with_one_pair_is_served_by_a_connecting_port() { guest_answers 1 client; }
test_a_dpdk_guest_with_four_pairs_is_served_by_a_connecting_port() { guest_answers 4 client; }

# jumbo_echo VIRTIO-USER-ARGUMENTS RING-KIND OPTIONS...: frames of the largest size come back from the guest as they were.
# No TCP here: the only interfaces that testpmd could pass such frames on to, net_tap's, end at 1522 bytes.
jumbo_echo() {
	local virtio=$1 kind=$2; shift 2
	make_nic 1 && ip link set nic0 mtu 9000 && in_wire ip link set wire0 mtu 9000 &&
		start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" || return 1
	VIRTIO_USER=$virtio start_testpmd 1 0 --max-pkt-len=9018 "$@"
	wait_for 30 port_is_up && status_is '.ports[0].pair[0].rx.kind' "$kind" && guest_pings || { tail -n 20 "$PMD_LOG" >&2; return 1; }
	in_wire ping -c 20 -i 0.02 -W 2 -M do -s 8972 $GUEST_IP >"$WORK/ping.log" && ! grep -q wrong "$WORK/ping.log" &&
		status_is '[.ports[0].pair[0] | .rx.drops[], .tx.drops[]] | add // 0' 0 && ledger_balances || { cat "$WORK/ping.log" >&2; return 1; }
}
test_jumbo_frames_pass_both_ways() { jumbo_echo packed_vq=0 split --mbuf-size=10240; }
test_jumbo_frames_pass_both_ways_with_packed_rings() { jumbo_echo packed_vq=1 packed --mbuf-size=10240; }
test_jumbo_frames_pass_both_ways_in_several_buffers() { jumbo_echo packed_vq=0,mrg_rxbuf=1 split --rx-offloads=0x2000 --tx-offloads=0x8000; }
# DPDK calls the header that it sends writable, in the indirect tables of packed rings.
test_jumbo_frames_pass_both_ways_in_several_buffers_with_packed_rings() { jumbo_echo packed_vq=1,mrg_rxbuf=1 packed --rx-offloads=0x2000 --tx-offloads=0x8000; }

test_an_arp_broadcast_from_the_wire_reaches_the_dpdk_guest() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" || return 1
	start_testpmd 1 0
	wait_for 30 port_is_up && wait_for 20 in_wire arping -c 1 -w 1 -I wire0 $GUEST_IP
}
test_the_guests_negotiated_features_are_shown_by_name() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK" || return 1
	start_testpmd 1 0
	wait_for 30 port_is_up && status '.ports[0].features | join(" ")' | grep -qi 'mrg_rxbuf' &&
		status '.ports[0].protocol_features | join(" ")' | grep -qi 'reply_ack'
}
test_a_killed_dpdk_guest_returns_and_gets_traffic_without_touching_the_uplink() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" || return 1
	local prog
	prog=$(status .uplink.xdp.program_id)
	start_testpmd 1 0
	wait_for 30 port_is_up && guest_pings || return 1
	stop_testpmd KILL
	wait_for 10 port_is_down || return 1
	start_testpmd 1 0
	wait_for 30 port_is_up && guest_pings && ledger_balances &&
		[ "$(status .uplink.xdp.program_id)" = "$prog" ] && status_is '.ports[0].connections' 2
}
test_a_dpdk_guest_that_listens_survives_sigkill_of_viaduct() {
	local args="--uplink nic0 --port name=vm0,socket=$SOCK,mode=client,mac=$GUEST_MAC"
	make_nic 1 && start_viaduct $args || return 1
	start_testpmd 1 1
	wait_for 30 port_is_up && guest_pings || return 1
	kill -KILL "$VIADUCT_PID"; wait "$VIADUCT_PID" 2>/dev/null
	start_viaduct $args && wait_for 30 port_is_up && guest_pings
}
test_a_second_front_end_is_refused_and_the_first_unharmed() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" || return 1
	start_testpmd 1 0
	wait_for 30 port_is_up || return 1
	[ -z "$(timeout 5 nc -U "$SOCK" </dev/null)" ] && wait_for 5 status_is '.ports[0].refused' 1 || return 1
	guest_pings
}

# device_changes VIRTIO-USER-ARGUMENTS RING-KIND: numbered frames come back from it while its uplink's device is another
# one, comes back, is deleted and made again, and while there is none.
device_changes() {
	local kind=$2
	make_two && start_viaduct --uplink nic0 --standby nic1 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" || return 1
	VIRTIO_USER=$1 start_testpmd 1 0 --forward-mode=macswap
	wait_for 30 port_is_up && status_is '.ports[0].pair[0].rx.kind' "$kind" && start_far_on_bridge && start_stream && in_use "nic0 first" || { tail -n 20 "$PMD_LOG" >&2; return 1; }
	in_wire ip link set wire0 down && in_use "nic1 standby" && in_wire ip link set wire0 up && in_use "nic0 first" || return 1
	ip link del nic0 && in_use "nic1 standby" && make_again && in_use "nic0 first" || return 1
	in_wire ip link set wire1 down && in_wire ip link set wire0 down && wait_for 5 link_map_is 0 up 0 && in_wire ip link set wire0 up && in_use "nic0 first" || return 1
	ip link del nic1 && ip link del nic0 && wait_for 5 link_map_is 0 reason VD_REASON_GONE && status_is '.ports[0].connected' true && make_again nic1 && in_use "nic1 standby" || return 1
	kill -0 $PMD_PID && stop_stream "standby took over twice, gave back twice, no device once, $kind rings" && ledger_balances
}
test_a_dpdk_guest_stays_connected_whatever_becomes_of_the_uplinks_device() { device_changes packed_vq=0 split; }
test_a_dpdk_guest_with_packed_rings_stays_connected_whatever_becomes_of_the_uplinks_device() { device_changes packed_vq=1 packed; }

run_tests
