#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Several guests on one NIC: what reaches whom, and that nothing is lost on the way.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"

test_three_guests_the_wire_and_the_host_all_reach_each_other() {
	local a b
	make_nic 1 && start_viaduct --uplink nic0 --port "$(port 1)" --port "$(port 2)" --port "$(port 3)" || return 1
	for a in 1 2 3; do tap_guest $a || return 1; done
	ports_are_up 1 2 3 || return 1
	for a in 1 2 3; do
		for b in $(ip_of 1) $(ip_of 2) $(ip_of 3) $WIRE_IP $HOST_IP; do reaches g$a "$b" || return 1; done
		pings in_wire "$(ip_of $a)" && pings command "$(ip_of $a)" || return 1
	done
	ledger_balances
}

# DPDK between virtio-user and a tap of its own: an interface as the others have, but every frame passes a DPDK driver.
dpdk_guest() { # NUMBER
	local n=$1
	ip netns add "g$n" || return 1
	in_ns "g$n" ip link set lo up
	in_ns "g$n" sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'
	in_ns "g$n" dpdk-testpmd --no-huge -m 128 --no-pci --file-prefix "m$RANDOM" -l 0,1 --no-telemetry \
		--vdev "net_virtio_user0,path=$WORK/p$n.sock,mac=$(mac_of "$n"),queues=1,queue_size=256" --vdev "net_tap0,iface=tap0,mac=$(mac_of "$n")" \
		-- --total-num-mbufs=4096 --forward-mode=io --auto-start --no-lsc-interrupt --stats-period 1 >"$WORK/g$n.log" 2>&1 &
	PEER[n]=$!
	wait_for 20 in_ns "g$n" ip link show dev tap0 && in_ns "g$n" ip addr add "$(ip_of "$n")"/24 dev tap0 && in_ns "g$n" ip link set tap0 up
}
test_guests_of_dpdk_of_qemu_and_of_our_own_all_reach_each_other() {
	local a b
	make_nic 1 && start_viaduct --uplink nic0 $(for a in 1 2 3 4; do echo --port "$(port $a)"; done) && guest_initramfs || return 1
	# shellcheck disable=SC2046
	start_vm guest $(GUEST_MAC=$(mac_of 2) vhost_net "$WORK/p2.sock") || return 1
	vm "ip addr add $(ip_of 2)/24 dev eth0 && ip link set eth0 up" && dpdk_guest 1 && tap_guest 3 && tap_guest 4 && ports_are_up 1 2 3 4 || return 1
	# Its forwarding starts some time after its rings do.
	wait_for 20 in_ns g1 ping -q -c 1 -W 1 $WIRE_IP || { tail "$WORK/g1.log"; return 1; }
	for b in $(ip_of 1) $(ip_of 2) $(ip_of 3) $(ip_of 4) $WIRE_IP $HOST_IP; do
		for a in 1 3 4; do reaches g$a "$b" || return 1; done
		vm "/bin/ping -q -c 3 -i 0.05 -W 2 $b" >"$WORK/vmping.log" || { cat "$WORK/vmping.log"; die "the virtual machine does not reach $b"; return 1; }
	done
	for b in 1 2 3 4; do pings in_wire "$(ip_of $b)" && pings command "$(ip_of $b)" || return 1; done
	ledger_balances
}

# --- numbered frames -------------------------------------------------------------

# returned NUMBER TO COUNT LENGTH [ARGUMENTS]: so many frames from one guest to another that returns them.
returned() {
	local out from=$1 to=$2 count=$3 len=$4; shift 4
	out=$(peer "$from" --generate "$len" --count "$count" --window 64 --dst "$(mac_of "$to")" "$@")
	summary_is "$out" "$all_came_back and .tx_packets == $count" || return 1
	say "$from to $to and back, $len bytes: $(echo "$out" | jq -c '[.tx_packets, .returned, .lost, (.tx_pps | floor)]')"
}
test_numbered_frames_go_from_guest_to_guest_and_back_without_loss() {
	local len kind
	make_nic 1 && start_viaduct --uplink nic0 --port "$(port 1 "mac=$(mac_of 1)")" --port "$(port 2 "mac=$(mac_of 2)")" || return 1
	for kind in packed_vq=0 packed_vq=1 packed_vq=0,mrg_rxbuf=0; do
		PEER_ARGS=$kind start_peer 2 --echo && ports_are_up 2 || return 1
		for len in 60 65 512 1514; do PEER_ARGS=$kind returned 1 2 20000 $len || return 1; done
		stop_peer 2; summary_is "$OUT" '.rx_packets == 80000' && wait_for 10 port_status_is 2 .connected false || return 1
	done
	# They never saw the NIC.
	status_is '[.uplink.queues[].tx_packets] | add' 0 && forwarding_adds_up && ledger_balances
}
test_several_pairs_of_guests_exchange_numbered_frames_over_two_workers_at_once() {
	local a
	make_nic 2 && start_viaduct --uplink nic0 --cpus 0,1 $(for a in 1 2 3 4; do echo --port "$(port $a "queues=2,mac=$(mac_of $a)")"; done) || return 1
	for a in 2 4; do PEER_ARGS=queues=2 start_peer $a --answer || return 1; done
	ports_are_up 2 4 || return 1
	for a in 1 3; do PEER_ARGS=queues=2 start_peer $a --generate 300 --count 40000 --window 128 --flows 16 --dst "$(mac_of $((a + 1)))"; done
	for a in 1 3; do
		peer_ends $a
		summary_is "$OUT" "$all_came_back and .tx_packets == 40000 and ([.rx_per_pair[] > 0] | all)" || return 1
	done
	forwarding_adds_up && ledger_balances
}
test_guest_to_guest_and_guest_to_wire_at_once_lose_nothing() {
	local out
	make_nic 1 && start_viaduct --uplink nic0 --port "$(port 1 "mac=$(mac_of 1)")" --port "$(port 2 "mac=$(mac_of 2)")" --port "$(port 3 "mac=$(mac_of 3)")" &&
		start_far_bridge || return 1
	start_peer 2 --echo; start_peer 3 --echo; ports_are_up 2 3 || return 1
	start_peer 1 --generate 200 --count 40000 --window 64 --dst "$(mac_of 2)"
	out=$(far_guest 1 --generate 200 --count 40000 --window 64 --dst "$(mac_of 3)") || return 1
	summary_is "$out" "$all_came_back and .tx_packets == 40000" || return 1
	peer_ends 1; summary_is "$OUT" "$all_came_back and .tx_packets == 40000" && ledger_balances && status_is '[.ports[].lost_in_ring] | add' 0
}
# The host's part is played by an ordinary UDP server.
test_numbered_frames_go_from_guest_to_the_host_and_back_without_loss() {
	local out
	make_nic 1 && ip addr add 10.77.0.2/32 dev lo && ip neigh add 10.77.0.3 lladdr "$(mac_of 1)" dev nic0 || return 1
	start_viaduct --uplink nic0 --port "$(port 1 "mac=$(mac_of 1)")" || return 1
	"$TOP/selftests/datagrams.py" echo 9009 & wait_for 10 sh -c "ss -lun | grep -q ':9009 '" || return 1
	out=$(peer 1 --generate 1000 --count 20000 --window 64 --dst "$(mac_of_nic)")
	summary_is "$out" "$all_came_back and .tx_packets == 20000" && status_is '[.uplink.queues[].tx_packets] | add' 0 &&
		port_status_is 1 .forwarded.to_host 20000 && port_status_is 1 '.forwarded.from_this_host >= 20000' true
}
# As fast as it goes, into a guest that cannot keep up: what did not arrive is in a counter.
test_what_a_slow_receiver_does_not_take_is_counted() {
	local sent=200000
	make_nic 1 && start_viaduct --uplink nic0 --port "$(port 1 "mac=$(mac_of 1)")" --port "$(port 2 "mac=$(mac_of 2)")" --port "$(port 3 "mac=$(mac_of 3)")" || return 1
	start_peer 3 --sink; PEER_ARGS=queue_size=16 start_peer 2 --sink; ports_are_up 2 3 || return 1
	kill -STOP "${PEER[2]}"
	start_peer 1 --generate 64 --count $sent --dst "$(mac_of 2)"; peer_ends 1
	kill -CONT "${PEER[2]}"
	summary_is "$OUT" ".tx_packets == $sent" && wait_for 5 port_status_is 1 .forwarded.to_ports $sent || return 1
	wait_for 5 forwarding_adds_up || { forwarding_adds_up; return 1; }
	stop_peer 2
	say "$sent sent, $(echo "$OUT" | jq .rx_packets) arrived, $(port_status 2 .drops.no_guest_buffers) dropped for want of buffers"
	summary_is "$OUT" ".damaged == 0 and .duplicated == 0 and .reordered == 0 and .rx_packets + $(port_status 2 '.drops.no_guest_buffers // 0') == $sent"
}

# --- TCP, with what guests leave to their devices ------------------------------------

listens() { in_ns "$1" ss -ltn | grep -q ":$2 "; }
# carries FROM TO BYTES: a file over TCP, compared.
carries() {
	local pid
	in_ns "g$2" timeout 60 "$TOP/selftests/blob.py" receive 7001 "$WORK/back" & pid=$!
	wait_for 10 listens "g$2" 7001 || return 1
	in_ns "g$1" timeout 60 nc -N "$(ip_of "$2")" 7001 <"$WORK/part" >/dev/null; wait $pid
	cmp "$WORK/part" "$WORK/back" || die "$3 bytes from g$1 to g$2"
}
mean_length() { port_status "$1" ".totals | .$2_bytes / .$2_packets | floor"; }
test_large_packets_between_guests_stay_whole() {
	local out
	make_nic 1 && start_viaduct --uplink nic0 --port "$(port 1)" --port "$(port 2)" && tap_guest 1 queue_size=1024 && tap_guest 2 queue_size=1024 && ports_are_up 1 2 || return 1
	head -c 20000000 /dev/urandom >"$WORK/part"
	carries 1 2 20000000 && carries 2 1 20000000 || return 1
	in_ns g2 iperf3 -s -1 -D >/dev/null && wait_for 5 listens g2 5201 || return 1
	out=$(in_ns g1 iperf3 -J -t 2 -c "$(ip_of 2)") && [ "$(echo "$out" | jq '.end.sum_received.bytes > 10000000')" = true ] || die "$out" || return 1
	say "iperf3: $(echo "$out" | jq '.end.sum_received.bits_per_second / 1e9') Gbit/s; mean length sent $(mean_length 1 tx), received $(mean_length 2 rx)"
	[ "$(mean_length 1 tx)" -gt 3000 ] && [ "$(mean_length 2 rx)" -gt 3000 ] && status_is '[.uplink.queues[].tx_packets] | add < 20' true && forwarding_adds_up
}
test_guests_with_and_without_offloads_understand_each_other() {
	local a b
	make_nic 1 && start_viaduct --uplink nic0 --port "$(port 1)" --port "$(port 2 offloads=off)" --port "$(port 3 offloads=csum,tso)" --port "$(port 4 features=-mrg_rxbuf)" || return 1
	for a in 1 2 3 4; do tap_guest $a || return 1; done
	ports_are_up 1 2 3 4 || return 1
	head -c 3000001 /dev/urandom >"$WORK/part"
	for a in 1 2 3 4; do
		for b in 1 2 3 4; do [ $a = $b ] || carries $a $b 3000001 || return 1; done
	done
	ledger_balances && status_is '[.ports[].totals.tx_drops] | add' 0
}
test_udp_datagrams_that_are_left_to_be_cut_arrive_as_they_were_sent() {
	local to
	make_nic 1 && start_viaduct --uplink nic0 --port "$(port 1)" --port "$(port 2)" --port "$(port 3 offloads=off)" || return 1
	for to in 1 2 3; do tap_guest $to || return 1; done
	ports_are_up 1 2 3 && head -c 240003 /dev/urandom >"$WORK/part" || return 1
	for to in 2 3; do
		reaches g1 "$(ip_of $to)" || return 1
		in_ns g$to "$TOP/selftests/datagrams.py" receive 9010 "$WORK/back" 1200 plain & PEER[9]=$!
		wait_for 10 sh -c "nsenter --net=/run/netns/g$to ss -lun | grep -q ':9010 '" || return 1
		in_ns g1 "$TOP/selftests/datagrams.py" send "$(ip_of $to)" 9010 "$WORK/part" 1200 large && wait "${PEER[9]}" && cmp "$WORK/part" "$WORK/back" || die "to g$to" || return 1
	done
}

run_tests
