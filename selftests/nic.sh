#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# What the NIC side owes: broadcasts for both, tags and checksums whole, addresses learned by the rules.
. "$(dirname "$0")/lib.sh"

up() { make_nic "${1:-1}" && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK"; }
# send_raw NETNS-FUNCTION IFACE HEX...: one frame as it is.
send_raw() {
	local fn=$1 dev=$2; shift 2
	$fn python3 -c 'import socket,sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind((sys.argv[1], 0)); s.send(bytes.fromhex("".join(sys.argv[2:])))' "$dev" "$@"
}
# hears NETNS-FUNCTION IFACE HEX-PREFIX OUTPUT: in the background; ends when a frame that begins so has come.
hears() {
	$1 timeout 10 python3 -c 'import socket,sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); s.bind((sys.argv[1], 3))
s.setsockopt(263, 8, 1)  # PACKET_AUXDATA: where the kernel keeps a VLAN tag
want = bytes.fromhex(sys.argv[2])
open(sys.argv[3] + ".ready", "w").close()
while True:
    data, anc, flags, addr = s.recvmsg(65536, 256)
    if addr[2] == 4: continue
    for level, kind, aux in anc:
        status = int.from_bytes(aux[0:4], "little"); tci = int.from_bytes(aux[16:18], "little"); tpid = int.from_bytes(aux[18:20], "little")
        if status & 0x10: data = data[:12] + tpid.to_bytes(2, "big") + tci.to_bytes(2, "big") + data[12:]
    if data.startswith(want):
        open(sys.argv[3], "w").write(data.hex()); break' "$2" "$3" "$4" &
	wait_for 5 test -e "$4.ready"
}
PAYLOAD=$(printf 'ab%.0s' $(seq 1 60))

test_a_broadcast_reaches_the_guest_and_the_host() {
	up && start_tap_guest || return 1
	hears in_guest tap0 ffffffffffff0200000000bb88b5 "$WORK/g" && hears env nic0 ffffffffffff0200000000bb88b5 "$WORK/h" || return 1
	send_raw in_wire wire0 ffffffffffff 0200000000bb 88b5 $PAYLOAD
	wait_for 5 test -s "$WORK/g" && wait_for 5 test -s "$WORK/h"
}
test_a_multicast_reaches_the_guest_and_the_host() {
	up && start_tap_guest || return 1
	hears in_guest tap0 01005e0000fb0200000000bb88b5 "$WORK/g" && hears env nic0 01005e0000fb0200000000bb88b5 "$WORK/h" || return 1
	send_raw in_wire wire0 01005e0000fb 0200000000bb 88b5 $PAYLOAD
	wait_for 5 test -s "$WORK/g" && wait_for 5 test -s "$WORK/h"
}
test_a_tagged_broadcast_reaches_the_guest_with_its_tag() {
	up && start_tap_guest || return 1
	hears in_guest tap0 ffffffffffff0200000000bb8100002a88b5 "$WORK/g" || return 1
	send_raw in_wire wire0 ffffffffffff 0200000000bb 8100 002a 88b5 $PAYLOAD
	wait_for 5 test -s "$WORK/g"
}
test_tagged_unicast_passes_both_ways_with_its_tag() {
	up && start_tap_guest && pings in_guest $WIRE_IP || return 1
	hears in_guest tap0 ${GUEST_MAC//:/}0200000000bb8100602a88b5 "$WORK/g" || return 1
	send_raw in_wire wire0 ${GUEST_MAC//:/} 0200000000bb 8100 602a 88b5 $PAYLOAD
	wait_for 5 test -s "$WORK/g" || return 1
	hears in_wire wire0 0200000000bb${GUEST_MAC//:/}8100602a88b5 "$WORK/w" || return 1
	send_raw in_guest tap0 0200000000bb ${GUEST_MAC//:/} 8100 602a 88b5 $PAYLOAD
	wait_for 5 test -s "$WORK/w"
}
test_a_broadcast_with_a_partial_checksum_reaches_the_guest_with_a_whole_one() {
	up && start_tap_guest || return 1
	in_wire ethtool -K wire0 tx on >/dev/null 2>&1	# the veth peer leaves checksums to a NIC that is none
	in_guest timeout 10 python3 -c 'import socket,sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.bind(("", 6767)); open(sys.argv[1] + ".ready", "w").close()
open(sys.argv[1], "wb").write(s.recv(100))' "$WORK/dhcp" &
	wait_for 5 test -e "$WORK/dhcp.ready" || return 1
	in_wire python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"wire0"); s.sendto(b"offer", ("10.77.0.255", 6767))'
	wait_for 5 test -s "$WORK/dhcp" && [ "$(cat "$WORK/dhcp")" = offer ]
}
test_the_guests_own_address_is_learned_entered_in_the_filter_and_shown() {
	up && start_tap_guest && pings in_guest $WIRE_IP || return 1
	status_is '.ports[0].addresses[0] | .mac + " " + .kind' "$GUEST_MAC learned" &&
		bridge fdb show dev nic0 | grep -q $GUEST_MAC && bpftool map dump pinned /sys/fs/bpf/viaduct/nic0/fdb | grep -q VD_FDB_LEARNED
}
refuses() { wait_for 5 status_is ".ports[0].addresses_refused.$1 >= 1" true; }
test_a_guest_cannot_take_the_hosts_address() {
	local mac
	up && start_tap_guest || return 1
	mac=$(ip -j link show dev nic0 | jq -r '.[0].address' | tr -d :)
	send_raw in_guest tap0 0200000000bb $mac 88b5 $PAYLOAD
	refuses host_address && pings in_wire $HOST_IP
}
test_multicast_and_zero_sources_are_never_learned() {
	up && start_tap_guest || return 1
	send_raw in_guest tap0 0200000000bb 010000000001 88b5 $PAYLOAD
	send_raw in_guest tap0 0200000000bb 000000000000 88b5 $PAYLOAD
	refuses group_address && refuses zero_address
}
test_an_address_heard_from_the_wire_lately_is_not_learned() {
	up && start_tap_guest && pings in_guest $WIRE_IP || return 1
	send_raw in_wire wire0 ffffffffffff 0200000000cc 88b5 $PAYLOAD
	wait_for 5 status_is '.uplink.multicast.packets >= 1' true
	send_raw in_guest tap0 0200000000bb 0200000000cc 88b5 $PAYLOAD
	refuses seen_from_the_wire
}
test_a_port_learns_eight_addresses_and_no_more() {
	local i
	up && start_tap_guest || return 1
	for i in 1 2 3 4 5 6 7 8 9 a; do send_raw in_guest tap0 0200000000bb 02000000dd0$i 88b5 $PAYLOAD; done
	refuses limit && status_is '.ports[0].addresses | length' 8
}
test_addresses_of_an_earlier_guest_make_room_for_those_of_the_next() {
	local i
	up && start_tap_guest || return 1
	for i in 1 2 3 4 5 6 7 8; do send_raw in_guest tap0 0200000000bb 02000000dd0$i 88b5 $PAYLOAD; done
	wait_for 5 status_is '.ports[0].addresses | length' 8 || return 1
	kill -KILL "$GUEST_PID"; wait "$GUEST_PID" 2>/dev/null
	wait_for 5 status_is '.ports[0].connected' false && ip netns del guest && start_tap_guest && pings in_guest $WIRE_IP &&
		status '.ports[0].addresses[].mac' | grep -q $GUEST_MAC && status_is '.ports[0].addresses | length' 8
}
test_a_port_with_a_given_address_learns_nothing() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" && start_tap_guest || return 1
	send_raw in_guest tap0 0200000000bb 02000000dd01 88b5 $PAYLOAD
	pings in_guest $WIRE_IP && status_is '.ports[0].addresses | length' 1
}
# The kernel of a tap guest sends no frame that is shorter than its header; unit tests do.
test_oversized_frames_of_a_guest_are_dropped_and_counted_and_the_largest_and_the_shortest_pass() {
	up && start_tap_guest && in_guest ip link set tap0 mtu 9000 || return 1
	send_raw in_guest tap0 0200000000bb ${GUEST_MAC//:/} 88b5 "$(printf 'cd%.0s' $(seq 1 3000))"
	wait_for 5 status_is '.ports[0].pair[0].tx.drops.drop_long' 1 || return 1
	hears in_wire wire0 0200000000bb${GUEST_MAC//:/}8100002a "$WORK/w" || return 1
	send_raw in_guest tap0 0200000000bb ${GUEST_MAC//:/} 8100002a 88b5 "$(printf 'cd%.0s' $(seq 1 1498))"
	wait_for 5 test -s "$WORK/w" && [ "$(wc -c <"$WORK/w")" = $((2 * 1516)) ] || return 1
	hears in_wire wire0 0200000000cc${GUEST_MAC//:/}88b5 "$WORK/s" || return 1
	send_raw in_guest tap0 0200000000cc ${GUEST_MAC//:/} 88b5
	wait_for 5 test -s "$WORK/s" && [ "$(wc -c <"$WORK/s")" = $((2 * 14)) ] && status_is '.ports[0].pair[0].tx.drops | add' 1
}
test_the_monitor_streams_events_as_json_lines() {
	up || return 1
	"$BUILD/viaduct" monitor --name nic0 >"$WORK/events" 2>&1 &
	wait_for 5 status_is '.name' nic0
	start_tap_guest || return 1
	in_wire ip link set wire0 down
	wait_for 5 grep -q uplink_down "$WORK/events" && in_wire ip link set wire0 up && wait_for 5 grep -q uplink_up "$WORK/events" || return 1
	kill -KILL "$GUEST_PID"
	wait_for 5 grep -q port_lost "$WORK/events" && jq -e .time "$WORK/events" >/dev/null && grep -q port_connected "$WORK/events"
}
test_an_xdp_program_taken_away_is_put_back_and_the_exit_is_clean() {
	up || return 1
	bpftool link detach pinned /sys/fs/bpf/viaduct/nic0/link || return 1
	wait_for 5 link_map_is 0 repairs 1 && stop_viaduct && nothing_is_left
}
# tcp_passes FROM TO ADDRESS MIB: bytes sent from one namespace arrive in the other as they were, both ways at once.
tcp_passes() {
	local sum="$WORK/tcp.$RANDOM"
	"$2" timeout 60 python3 -c 'import hashlib, random, socket, sys, threading
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("", 5001)); s.listen(1)
open(sys.argv[1] + ".ready", "w").close()
c, _ = s.accept()
def send():
    c.sendall(random.Random(2).randbytes(int(sys.argv[2]) << 20)); c.shutdown(socket.SHUT_WR)
t = threading.Thread(target=send); t.start()
h = hashlib.sha256()
while d := c.recv(1 << 20): h.update(d)
t.join()
open(sys.argv[1], "w").write(h.hexdigest())' "$sum" "$4" &
	wait_for 20 test -e "$sum.ready" || return 1
	"$1" timeout 60 python3 -c 'import hashlib, random, socket, sys, threading, time
a, b = (random.Random(n).randbytes(int(sys.argv[2]) << 20) for n in (1, 2))
c = socket.create_connection((sys.argv[1], 5001), 10)
def send():
    c.sendall(a); c.shutdown(socket.SHUT_WR)
t = threading.Thread(target=send); t.start()
h = hashlib.sha256()
while d := c.recv(1 << 20): h.update(d)
t.join()
assert h.digest() == hashlib.sha256(b).digest(), "other bytes than were sent"
open(sys.argv[3], "w").write(hashlib.sha256(a).hexdigest())' "$3" "$4" "$sum.want" || return 1
	wait_for 10 test -s "$sum" && cmp "$sum" "$sum.want"
}
jumbo_up() {
	make_nic 1 && ip link set nic0 mtu 9000 && in_wire ip link set wire0 mtu 9000 &&
		start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK" "$@" && start_tap_guest && in_guest ip link set tap0 mtu 9000
}
# Pings with frames of the largest size, which may not be fragmented.
pings_large() { "$1" timeout 20 ping -q -c 5 -i 0.05 -W 2 -M do -s "${3:-8972}" "$2" >"$WORK/ping.log" 2>&1 || { cat "$WORK/ping.log" >&2; return 1; }; }
test_jumbo_frames_pass_both_ways() {
	local s
	jumbo_up && status_is .uplink.xdp.multi_buffer true || return 1
	pings_large in_guest $WIRE_IP && pings_large in_wire $GUEST_IP || return 1
	for s in 3000 3770 3800 3840 5000 7600 7680 8000; do
		pings_large in_guest $WIRE_IP $s && pings_large in_wire $GUEST_IP $s || return 1
	done
	! pings_large in_guest $WIRE_IP 8973 2>/dev/null && ledger_balances
}
test_tcp_with_jumbo_frames_arrives_as_it_was_sent() {
	jumbo_up && pings in_guest $WIRE_IP && tcp_passes in_guest in_wire $WIRE_IP 10 && tcp_passes in_wire in_guest $GUEST_IP 10 &&
		ledger_balances
}
test_a_jumbo_broadcast_reaches_the_guest_and_the_host() {
	jumbo_up || return 1
	hears in_guest tap0 ffffffffffff0200000000bb88b5 "$WORK/g" && hears env nic0 ffffffffffff0200000000bb88b5 "$WORK/h" || return 1
	send_raw in_wire wire0 ffffffffffff 0200000000bb 88b5 "$(printf 'ab%.0s' $(seq 1 9000))"
	wait_for 5 test -s "$WORK/g" && wait_for 5 test -s "$WORK/h" || return 1
	[ "$(wc -c <"$WORK/g")" = 18028 ] && [ "$(wc -c <"$WORK/h")" = 18028 ]
}
test_tcp_with_segmentation_by_us_arrives_as_it_was_sent() {
	up && start_tap_guest && pings in_guest $WIRE_IP && tcp_passes in_guest in_wire $WIRE_IP 10 &&
		tcp_passes in_wire in_guest $GUEST_IP 10 || return 1
	status_is '.ports[0].pair[0].tx.offloads.large_packets > 0' true && ledger_balances
}
# Datagrams of one size and a shorter one: 108 of them, which are sent as 3 large ones where the sender leaves the cutting
# to others.
DATAGRAM=1400 DATAGRAMS_BYTES=150001
datagrams_up() { # PACKED(0|1) FEATURE
	up && GUEST_ARGS=packed_vq=$1 start_tap_guest && pings in_guest $WIRE_IP || return 1
	status '.ports[0].features[]' | grep -qx "$2" || skip "tap interfaces of this kernel have no UDP segmentation: no $2" || return
	head -c $DATAGRAMS_BYTES /dev/urandom >"$WORK/data"
}
datagrams_expected() { # NETNS-FUNCTION [joined]
	"$1" "$TOP/selftests/datagrams.py" receive 7000 "$WORK/back" $DATAGRAM "${2:-plain}" & RECEIVER=$!
	wait_for 5 sh -c "nsenter --net=/run/netns/${1#in_} ss -lun | grep -q ':7000 '"
}
datagrams_from_the_guest() { # PACKED(0|1)
	datagrams_up "$1" host_uso && datagrams_expected in_wire || return
	in_guest "$TOP/selftests/datagrams.py" send $WIRE_IP 7000 "$WORK/data" $DATAGRAM large && wait $RECEIVER || return 1
	cmp "$WORK/data" "$WORK/back" && status_is '.ports[0].pair[0].tx.offloads | "\(.large_packets) \(.frames_of_large_packets)"' "3 108" ||
		{ status '.ports[0].pair[0].tx' >&2; return 1; }
}
# While viaduct stands still the frames gather, so that they are there to be joined.
datagrams_to_the_guest() { # PACKED(0|1) joined|plain
	datagrams_up "$1" guest_uso4 && pings in_wire $GUEST_IP && datagrams_expected in_guest "$2" || return
	kill -STOP "$VIADUCT_PID"
	in_wire "$TOP/selftests/datagrams.py" send $GUEST_IP 7000 "$WORK/data" $DATAGRAM plain || return 1
	kill -CONT "$VIADUCT_PID"
	wait $RECEIVER && cmp "$WORK/data" "$WORK/back" || return 1
	status_is '.ports[0].pair[0].rx.offloads.large_packets > 0' true && ledger_balances ||
		{ status '.ports[0].pair[0].rx' >&2; return 1; }
}
test_datagrams_that_the_guest_leaves_to_us_to_cut_arrive_as_they_were_meant() { datagrams_from_the_guest 0; }
test_datagrams_that_the_guest_leaves_to_us_to_cut_arrive_as_they_were_meant_with_packed_rings() { datagrams_from_the_guest 1; }
test_datagrams_that_we_join_arrive_one_by_one() { datagrams_to_the_guest 0 plain; }
test_datagrams_that_we_join_arrive_one_by_one_with_packed_rings() { datagrams_to_the_guest 1 plain; }
test_datagrams_that_we_join_arrive_right_where_joined_ones_are_taken() { datagrams_to_the_guest 0 joined; }
# The ring has 2048 frames; one of 9000 bytes takes three of them.
test_the_room_that_ports_share_is_measured_in_frames_of_the_mtu() {
	jumbo_up && wait_for 5 status_is .uplink.room 682 && ip link set nic0 mtu 1500 && wait_for 5 status_is .uplink.room 2048 &&
		ip link set nic0 mtu 9000 && wait_for 5 status_is .uplink.room 682
}
test_the_drivers_hash_serves_ping_and_tcp() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,queues=2" --rx-hash driver && GUEST_ARGS=queues=2 start_tap_guest &&
		wait_for 5 status_is .ports[0].pairs.enabled 2 || return 1
	status_is .uplink.xdp.rx_hash.by driver || skip "$(status .uplink.xdp.rx_hash.why_not_driver)" || return
	pings in_guest $WIRE_IP && pings in_wire $GUEST_IP && tcp_passes in_guest in_wire $WIRE_IP 10 &&
		tcp_passes in_wire in_guest $GUEST_IP 10
}
test_checksums_left_to_the_kernel_serve_ping_and_tcp() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK" --tx-checksum driver && start_tap_guest || return 1
	status_is .uplink.xdp.tx_checksum.by kernel || skip "$(status .uplink.xdp.tx_checksum.why_not_driver)" || return
	pings in_guest $WIRE_IP && pings in_wire $GUEST_IP && tcp_passes in_guest in_wire $WIRE_IP 10 &&
		tcp_passes in_wire in_guest $GUEST_IP 10 && ledger_balances
}
test_checksums_and_hashes_left_to_the_kernel_serve_jumbo_frames() {
	jumbo_up --tx-checksum driver --rx-hash driver || return 1
	status_is .uplink.xdp.rx_hash.by driver || skip "$(status .uplink.xdp.rx_hash.why_not_driver)" || return
	status_is .uplink.xdp.tx_checksum.by kernel || skip "$(status .uplink.xdp.tx_checksum.why_not_driver)" || return
	pings_large in_guest $WIRE_IP && pings_large in_wire $GUEST_IP && tcp_passes in_guest in_wire $WIRE_IP 10 &&
		tcp_passes in_wire in_guest $GUEST_IP 10 && ledger_balances
}
loops_now() { status '[.workers[].loops] | add'; }
# A worker that spins makes hundreds of thousands of loops a second; one that sleeps makes some tens.
worker_is_quiet() {
	local a b
	a=$(loops_now); sleep 0.5; b=$(loops_now)
	[ $((b - a)) -lt 2000 ]
}
test_a_nic_that_is_down_keeps_no_worker_busy_and_traffic_returns_with_it() {
	up && start_tap_guest && pings in_guest $WIRE_IP || return 1
	ip link set nic0 down && wait_for 5 link_map_is 0 up 0 && wait_for 5 worker_is_quiet || return 1
	ip link set nic0 up && wait_for 5 link_map_is 0 up 1 && in_guest ip neigh flush dev tap0 && wait_for 5 pings in_guest $WIRE_IP &&
		pings in_wire $GUEST_IP
}
test_a_nic_that_is_gone_keeps_no_worker_busy() {
	up && start_tap_guest && pings in_guest $WIRE_IP || return 1
	ip link del nic0 && wait_for 5 link_map_is 0 reason VD_REASON_GONE && wait_for 5 worker_is_quiet
}
test_a_removed_nic_is_noticed_and_the_exit_is_clean() {
	up && start_tap_guest || return 1
	ip link del nic0
	wait_for 5 link_map_is 0 reason VD_REASON_GONE && status_is .ports[0].connected true && stop_viaduct &&
		[ ! -e /sys/fs/bpf/viaduct/nic0 ] && [ ! -e "$SOCK" ]
}
test_truncated_guest_memory_is_contained_and_the_port_serves_the_next() {
	make_nic 1 && start_viaduct --uplink nic0 --port "name=vm0,socket=$SOCK,mac=$GUEST_MAC" && start_far_bridge || return 1
	start_guest --echo && wait_for 10 port_is_up || return 1
	far_guest 1 --generate 64,5000 --dst $GUEST_MAC --time 6 >/dev/null &
	wait_for 5 status_is '.ports[0].pair[0].rx.packets > 100' true || return 1
	local fd
	for fd in /proc/"$GUEST_PID"/fd/*; do
		case $(readlink "$fd") in /memfd:*) python3 -c 'import os,sys; os.truncate(sys.argv[1], 0)' "$fd" ;; esac
	done
	kill -KILL "$GUEST_PID" 2>/dev/null
	wait_for 5 status_is '.ports[0].connected' false || return 1
	start_guest --echo && wait_for 10 port_is_up && wait_for 5 status_is '.ports[0].pair[0].rx.packets > 100' true && ledger_balances
}

run_tests
