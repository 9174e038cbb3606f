#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# VLANs: access and trunk ports, tagged on the wire and on the host.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"

# tagged ID ADDRESS IFACE COMMAND...: an interface vID on top of IFACE in a namespace, as a kernel's VLAN interface would be.
tagged() {
	local id=$1 address=$2 iface=$3; shift 3
	"$@" "$TOP/selftests/vlan.py" "$iface" "v$id" "$id" &
	wait_for 10 "$@" ip link show dev "v$id" || return 1
	"$@" ip link set "v$id" address "$("$@" ip -j link show dev "$iface" | jq -r '.[].address')" &&
		"$@" ip addr add "$address/24" dev "v$id" && "$@" ip link set "v$id" up
}
bridge_with() { # KEYS-OF-PORT-1 KEYS-OF-PORT-2 ...: with a guest on each
	local n=0 ports=() k
	for k; do n=$((n + 1)); ports+=(--port "$(port $n "$k")"); done
	make_nic 1 && start_viaduct --uplink nic0 "${ports[@]}" || return 1
	for k in $(seq 1 $n); do tap_guest "$k" || return 1; done
	# shellcheck disable=SC2046
	ports_are_up $(seq 1 $n)
}
received() { port_status "$1" .totals.rx_packets; }
drops_of_vlan() { port_status "$1" '.drops.vlan // 0'; }

test_access_ports_of_two_vlans_do_not_hear_each_other() {
	local before
	bridge_with vlan=10 vlan=10 vlan=20 || return 1
	reaches g1 "$(ip_of 2)" && reaches g2 "$(ip_of 1)" || return 1
	# Let it be known where they are.
	in_ns g3 ping -q -c 1 -W 0.2 "$(ip_of 1)" >/dev/null
	before="$(received 3) $(received 2)"
	does_not_reach g1 tap0 "$(ip_of 3)" "$(mac_of 3)" && does_not_reach g3 tap0 "$(ip_of 1)" "$(mac_of 1)" || return 1
	in_ns g1 ping -q -b -c 5 -i 0.05 -W 0.2 10.77.0.255 >/dev/null 2>&1
	wait_for 5 port_status_is 2 ".totals.rx_packets >= $((${before#* } + 5))" true || die "g2 does not hear g1's broadcasts" || return 1
	say "g3 had ${before% *} packets before, $(received 3) after; g2 ${before#* } and $(received 2)"
	[ "$(received 3)" = "${before% *}" ] || die "a frame of VLAN 10 came to VLAN 20"
}
test_an_access_port_is_tagged_on_the_wire_and_not_in_the_guest() {
	local before
	bridge_with vlan=10 && in_wire ip addr flush dev wire0 && tagged 10 10.77.0.100 wire0 in_wire || return 1
	reaches g1 10.77.0.100 && pings in_wire "$(ip_of 1)" || return 1
	# Without a tag nothing comes to it.
	in_wire ip addr flush dev v10 && in_wire ip addr add $WIRE_IP/24 dev wire0
	before=$(received 1)
	in_wire ip neigh replace "$(ip_of 1)" lladdr "$(mac_of 1)" dev wire0
	! in_wire ping -q -c 2 -i 0.05 -W 0.3 -I wire0 "$(ip_of 1)" >/dev/null || return 1
	[ "$(received 1)" = "$before" ] || die "an untagged frame came in"
}
test_a_trunk_guest_talks_to_access_ports_of_its_vlans() {
	bridge_with vlan=10 trunk=10,20 vlan=20 vlan=30 || return 1
	in_ns g2 ip addr flush dev tap0
	in_ns g3 ip addr add 10.78.0.13/24 dev tap0 && in_ns g4 ip addr add 10.79.0.14/24 dev tap0 || return 1
	tagged 10 10.77.0.12 tap0 in_ns g2 && tagged 20 10.78.0.12 tap0 in_ns g2 && tagged 30 10.79.0.12 tap0 in_ns g2 || return 1
	reaches g1 "$(ip_of 2)" && reaches g3 10.78.0.12 && reaches g2 "$(ip_of 1)" && reaches g2 10.78.0.13 || return 1
	# It is not in this one, in neither direction.
	does_not_reach g2 v30 10.79.0.14 "$(mac_of 4)" && [ "$(drops_of_vlan 2)" -ge 2 ] || die "drops: $(port_status 2 .drops)" || return 1
	does_not_reach g4 tap0 10.79.0.12 "$(mac_of 2)" && [ "$(drops_of_vlan 4)" -ge 2 ] || die "drops: $(port_status 4 .drops)" || return 1
	# Nor does it send without a tag.
	in_ns g2 ip addr add 10.80.0.12/24 dev tap0 && does_not_reach g2 tap0 10.80.0.1 "$(mac_of 1)" && [ "$(drops_of_vlan 2)" -ge 4 ]
}
test_a_trunk_with_a_native_vlan_has_that_one_without_a_tag() {
	bridge_with vlan=10 trunk=20,vlan=10 vlan=20 || return 1
	in_ns g3 ip addr flush dev tap0
	in_wire ip addr flush dev wire0
	in_ns g3 ip addr add 10.78.0.13/24 dev tap0 && tagged 20 10.78.0.12 tap0 in_ns g2 && tagged 10 10.77.0.100 wire0 in_wire || return 1
	reaches g1 "$(ip_of 2)" && reaches g2 "$(ip_of 1)" && reaches g2 10.78.0.13 && reaches g3 10.78.0.12 && reaches g2 10.77.0.100
}
test_a_trunk_and_a_transparent_port_pass_wire_tags_as_they_are() {
	bridge_with trunk=0,10 "" || return 1
	tagged 10 10.78.0.100 wire0 in_wire && tagged 10 10.78.0.11 tap0 in_ns g1 && tagged 10 10.78.0.12 tap0 in_ns g2 || return 1
	# Tagged, and untagged on the same port.
	reaches g1 10.78.0.100 && reaches g2 10.78.0.100 && reaches g1 10.78.0.12 && reaches g1 $WIRE_IP && reaches g2 $WIRE_IP && reaches g1 "$(ip_of 2)" || return 1
	tagged 20 10.79.0.100 wire0 in_wire && tagged 20 10.79.0.11 tap0 in_ns g1 && tagged 20 10.79.0.12 tap0 in_ns g2 || return 1
	reaches g2 10.79.0.100 && does_not_reach g1 v20 10.79.0.100 "$(in_wire ip -j link show dev wire0 | jq -r '.[].address')" || return 1
	in_wire ip neigh replace 10.79.0.11 lladdr "$(mac_of 1)" dev v20
	! in_wire ping -q -c 2 -i 0.05 -W 0.3 10.79.0.11 >/dev/null && [ "$(port_status 1 '.xdp.drops.vlan // 0')" -ge 2 ] ||
		die "program's drops: $(port_status 1 .xdp.drops)"
}
test_the_host_is_in_a_vlan_with_an_interface_of_its_own() {
	bridge_with vlan=10 vlan=20 || return 1
	ip addr del $HOST_IP/24 dev nic0
	tagged 10 $HOST_IP nic0 command || return 1
	reaches g1 $HOST_IP && pings command "$(ip_of 1)" || return 1
	does_not_reach g2 tap0 $HOST_IP "$(mac_of_nic)" || return 1
	say "g1 sent $(port_status 1 .forwarded.to_host) packets to the host"
}

# --- what is large, or much -------------------------------------------------------------

listens() { "${@:2}" ss -ltn | grep -q ":$1 "; }
# carries TO-ADDRESS FROM-COMMAND -- TO-COMMAND: a file over TCP, compared.
carries() {
	local to=$1 from=() pid; shift
	while [ "$1" != -- ]; do from+=("$1"); shift; done; shift
	"$@" timeout 60 "$TOP/selftests/blob.py" receive 7001 "$WORK/back" & pid=$!
	wait_for 10 listens 7001 "$@" || return 1
	"${from[@]}" timeout 60 nc -N "$to" 7001 <"$WORK/part" >/dev/null; wait $pid
		cmp "$WORK/part" "$WORK/back" || die "to $to"
}
test_tcp_with_segmentation_passes_where_tags_come_and_go() {
	bridge_with vlan=10 trunk=10,offloads=off vlan=10,offloads=off || return 1
	in_ns g2 ip addr flush dev tap0; in_wire ip addr flush dev wire0
	tagged 10 10.77.0.12 tap0 in_ns g2 && tagged 10 10.77.0.100 wire0 in_wire && head -c 3000001 /dev/urandom >"$WORK/part" || return 1
	carries 10.77.0.100 in_ns g1 -- in_wire && carries "$(ip_of 1)" in_wire -- in_ns g1 || return 1
	carries 10.77.0.12 in_ns g1 -- in_ns g2 && carries "$(ip_of 1)" in_ns g2 -- in_ns g1 || return 1
	carries "$(ip_of 3)" in_ns g1 -- in_ns g3 && carries "$(ip_of 1)" in_ns g3 -- in_ns g1 || return 1
	status_is '.ports[0].pair[0].tx.offloads.large_packets > 0' true && ledger_balances
}
# A kernel with VLAN interfaces leaves segmentation to its device under the tag, and takes large packets with one.
test_large_packets_pass_between_an_access_port_and_the_trunk_of_a_virtual_machine() {
	local sum
	make_nic 1 && start_viaduct --uplink nic0 --port "$(port 1 vlan=42)" --port "$(port 2 trunk=42)" && guest_initramfs || return 1
	# shellcheck disable=SC2046
	start_vm guest $(GUEST_MAC=$(mac_of 2) vhost_net "$WORK/p2.sock") || return 1
	vm "ip link set eth0 up && ip link add link eth0 name tagged type vlan id 42" || skip "the guest's kernel has no VLAN interfaces" || return
	vm "ip addr add $(ip_of 2)/24 dev tagged && ip link set tagged up" && tap_guest 1 queue_size=1024 && ports_are_up 1 2 && reaches g1 "$(ip_of 2)" || return 1
	head -c 3000001 /dev/urandom >"$WORK/part"; sum=$(md5sum <"$WORK/part" | cut -d' ' -f1)
	in_ns g1 timeout 60 "$TOP/selftests/blob.py" send 7000 "$WORK/part" &
	wait_for 20 listens 7000 in_ns g1 && [ "$(vm "nc $(ip_of 1) 7000 | tee /tmp/data | md5sum" | cut -d' ' -f1)" = "$sum" ] || die "to the machine" || return 1
	in_ns g1 timeout 60 "$TOP/selftests/blob.py" receive 7001 "$WORK/back" & PEER[9]=$!
	wait_for 20 listens 7001 in_ns g1 && vm "nc $(ip_of 1) 7001 </tmp/data" >/dev/null && wait "${PEER[9]}" && cmp "$WORK/part" "$WORK/back" || die "from the machine" || return 1
	say "mean length: access port sent $(port_status 1 '.totals | .tx_bytes / .tx_packets | floor'), trunk received $(port_status 2 '.totals | .rx_bytes / .rx_packets | floor')"
	port_status_is 2 '.totals | .rx_bytes / .rx_packets > 1600' true && status_is '[.ports[] | .totals.tx_drops] | add' 0
}
test_numbered_frames_cross_a_tagged_wire_between_access_ports() {
	local out len
	make_nic 1 && start_viaduct --uplink nic0 --port "$(port 1 "vlan=10,mac=$(mac_of 1)")" && FAR_KEYS=vlan=10 start_far_bridge || return 1
	start_peer 1 --echo && ports_are_up 1 || return 1
	for len in 60 512 1514; do
		out=$(far_guest 1 --generate $len --count 20000 --window 64 --dst "$(mac_of 1)")
		summary_is "$out" "$all_came_back and .tx_packets == 20000" || return 1
	done
	ledger_balances && port_status_is 1 .lost_in_ring 0
}
test_a_port_changes_its_vlan_while_it_runs() {
	bridge_with vlan=10 vlan=10 vlan=20 && reaches g1 "$(ip_of 2)" || return 1
	"$BUILD/viaduct" port set p1 vlan=20 || return 1
	reaches g1 "$(ip_of 3)" && does_not_reach g1 tap0 "$(ip_of 2)" "$(mac_of 2)" && reaches g3 "$(ip_of 1)" || return 1
	bpftool -j map dump pinned /sys/fs/bpf/viaduct/nic0/fdb | jq -c '[.[].formatted | {vlan: .key.vlan, port: .value.port}]' >&2
	"$BUILD/viaduct" port set p1 vlan=off && "$BUILD/viaduct" port set p3 vlan=off && reaches g3 $WIRE_IP && reaches g1 $WIRE_IP && reaches g1 "$(ip_of 3)"
}

run_tests
